//! Token streams as formatted source.

use proc_macro2::TokenStream;

/// `code`, which must be the items of a file, as formatted text.
///
/// # Errors
/// If `code` is not a sequence of items; what the backend emits is.
pub fn to_source(code: TokenStream) -> Result<String, syn::Error> {
    syn::parse2(code).map(|file| prettyplease::unparse(&file))
}
