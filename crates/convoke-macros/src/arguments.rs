//! The form `file = "…", layer = "…"`.

use crate::report;
use proc_macro::{Span, TokenStream, TokenTree};

/// Which layers of which file.
pub(crate) struct Arguments {
    pub(crate) file: Argument,
    pub(crate) layer: Option<Argument>,
}

/// A string and where it stands.
pub(crate) struct Argument {
    pub(crate) value: String,
    pub(crate) span: Span,
}

/// The arguments, or `None` if `input` does not begin with `name =`: then it is the language itself.
pub(crate) fn parse(input: &TokenStream) -> Result<Option<Arguments>, TokenStream> {
    let tokens: Vec<TokenTree> = input.clone().into_iter().collect();
    if !matches!(tokens.get(1), Some(TokenTree::Punct(p)) if p.as_char() == '=') {
        return Ok(None);
    }
    let (mut file, mut layer) = (None, None);
    for argument in tokens.split(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ',')) {
        match argument {
            [] => {}
            [TokenTree::Ident(name), TokenTree::Punct(equals), TokenTree::Literal(literal)]
                if equals.as_char() == '=' =>
            {
                let slot = match name.to_string().as_str() {
                    "file" => &mut file,
                    "layer" => &mut layer,
                    other => {
                        let message = format!("conv! has no argument `{other}`; it has `file` and `layer`");
                        return Err(report::error(name.span(), name.span(), &message));
                    }
                };
                let span = literal.span();
                let Some(value) = unquoted(&literal.to_string()) else {
                    return Err(report::error(span, span, "a plain string is needed here, as in file = \"net.conv\""));
                };
                if slot.replace(Argument { value, span }).is_some() {
                    return Err(report::error(name.span(), name.span(), &format!("`{name}` is given twice")));
                }
            }
            [first, ..] => {
                let last = argument.last().unwrap_or(first).span();
                return Err(report::error(first.span(), last, "an argument is written name = \"value\""));
            }
        }
    }
    match file {
        Some(file) => Ok(Some(Arguments { file, layer })),
        None => Err(report::error(Span::call_site(), Span::call_site(), "the argument `file` is missing")),
    }
}

/// The text of a string literal without escapes other than `\\` and `\"`.
fn unquoted(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        return Some(raw.get(hashes + 1..raw.len().checked_sub(hashes + 1)?)?.to_owned());
    }
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let text = inner.replace("\\\\", "\u{0}").replace("\\\"", "\"");
    (!text.contains('\\')).then(|| text.replace('\u{0}', "\\"))
}
