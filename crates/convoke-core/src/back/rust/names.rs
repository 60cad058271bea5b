//! Identifiers for the IR's names: valid in Rust, and no two alike in one scope.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use std::collections::HashSet;

/// Words that emitted code uses itself, and Rust's keywords.
const RESERVED: &str = "src weights bias dst scratch local n lo hi V splat load store fma add sub mul div max min \
    select exponent ceil_div core std run crate self super Self as async await break const continue dyn else enum \
    extern false fn for gen if impl in let loop match mod move mut pub ref return static struct trait true type unsafe use \
    where while yield abstract become box do final macro override priv try typeof unsized virtual _";

/// The names of one scope.
pub(super) struct Names(HashSet<String>);

impl Names {
    /// A scope in which the words of emitted code are taken.
    pub(super) fn new() -> Self {
        Self(RESERVED.split_whitespace().map(str::to_owned).collect())
    }

    /// A scope for a tile, whose pointers bear the names of buffers.
    pub(super) fn of_tile() -> Self {
        let mut names = Self::new();
        crate::ir::Role::ALL.iter().for_each(|role| _ = names.0.remove(role.name()));
        names
    }

    /// An identifier like `wanted` that no earlier call has given.
    pub(super) fn fresh(&mut self, wanted: &str) -> Ident {
        let mut name: String = wanted.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let register = name.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
        if register || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name.insert_str(0, "x_");
        }
        let helper = name.starts_with("load_") || name.starts_with("store_");
        if helper {
            name.push('_');
        }
        let base = name.clone();
        let mut count = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{base}_{count}");
            count += 1;
        }
        ident(&name)
    }
}

/// `name` as an identifier.
pub(super) fn ident(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// Whether `name` stands anywhere in `code`.
pub(super) fn contains_ident(code: TokenStream, name: &str) -> bool {
    code.into_iter().any(|token| match token {
        TokenTree::Ident(i) => i == name,
        TokenTree::Group(g) => contains_ident(g.stream(), name),
        _ => false,
    })
}
