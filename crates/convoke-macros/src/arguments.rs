//! What stands in front of the language, or in its place: `file = "…", layer = "…", parameters = "…"`.

use crate::report;
use proc_macro::{Span, TokenStream, TokenTree};

/// The arguments, and what stands behind them.
pub(crate) struct Arguments {
    /// The file of the text, which there is if `text` is empty.
    pub(crate) file: Option<Argument>,
    /// The layer or network of the file that is taken; all without it.
    pub(crate) layer: Option<Argument>,
    /// The file of the parameters.
    pub(crate) parameters: Option<Argument>,
    /// Layers and networks.
    pub(crate) text: TokenStream,
}

/// A string and where it stands.
pub(crate) struct Argument {
    pub(crate) value: String,
    pub(crate) span: Span,
}

/// The arguments that `input` begins with.
pub(crate) fn parse(input: TokenStream) -> Result<Arguments, TokenStream> {
    let tokens: Vec<TokenTree> = input.into_iter().collect();
    let (mut file, mut layer, mut parameters) = (None, None, None);
    let mut rest = tokens.as_slice();
    while matches!(rest, [TokenTree::Ident(_), TokenTree::Punct(p), ..] if p.as_char() == '=') {
        let end = rest.iter().position(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ','));
        let (argument, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind.get(1..).unwrap_or_default();
        let [TokenTree::Ident(name), _, TokenTree::Literal(literal)] = argument else {
            return Err(no_argument(argument));
        };
        let slot = match name.to_string().as_str() {
            "file" => &mut file,
            "layer" => &mut layer,
            "parameters" => &mut parameters,
            other => {
                let message = format!("conv! has no argument `{other}`; it has `file`, `layer` and `parameters`");
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
    match (&file, &layer) {
        (Some(_), _) if !rest.is_empty() => return Err(no_argument(rest)),
        (None, _) if rest.is_empty() && !tokens.is_empty() => {
            return Err(report::error(Span::call_site(), Span::call_site(), "the argument `file` is missing"));
        }
        (None, Some(layer)) => {
            return Err(report::error(layer.span, layer.span, "`layer` takes one of a file, and there is no `file`"));
        }
        _ => {}
    }
    Ok(Arguments { file, layer, parameters, text: rest.iter().cloned().collect() })
}

fn no_argument(tokens: &[TokenTree]) -> TokenStream {
    let place = |token: Option<&TokenTree>| token.map_or_else(Span::call_site, TokenTree::span);
    report::error(place(tokens.first()), place(tokens.last()), "an argument is written name = \"value\"")
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
