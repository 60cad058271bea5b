//! What the lexer and the parser refuse.

use crate::diagnostic::{Diagnostic, Label};
use crate::span::Span;
use crate::spec::NETWORK;

/// A place where the text does not fit the grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    #[error("`{text}` is not part of the language")]
    NoToken { text: String, span: Span },
    #[error("the comment is never closed")]
    OpenComment { span: Span },
    #[error("`{text}` is not a number")]
    OddNumber { text: String, span: Span },
    #[error("the number is too large")]
    BigInteger { text: String, span: Span },
    #[error("the number is too large")]
    BigFloat { text: String, span: Span },
    #[error("expected {expected}, found {found}")]
    Expected { expected: &'static str, found: String, span: Span, help: Option<String> },
    #[error("expected `,` after the value of `{field}`")]
    MissingComma { field: String, span: Span, next: Span },
    #[error("the `{open}` is never closed")]
    Unclosed { open: char, close: char, span: Span, end: Span },
    #[error("the {} has no name", if kind == NETWORK { NETWORK } else { "layer" })]
    NoName { kind: String, span: Span },
    #[error("brackets are nested more than {limit} deep")]
    TooDeep { limit: usize, span: Span },
}

impl SyntaxError {
    /// With the spans and the way out.
    pub(super) fn diagnostic(&self) -> Diagnostic {
        let message = self.to_string();
        let at = |span: &Span, label: &str| Diagnostic::at(*span, message.clone(), label);
        match self {
            Self::NoToken { text, span } if text.starts_with(['"', '\'']) => {
                at(span, "quoted text").with_help("write words without quotes")
            }
            Self::NoToken { span, .. } => at(span, "not a character of the language")
                .with_help("outside comments only printable ASCII is used; names are ASCII letters, digits and `_`"),
            Self::OpenComment { span } => {
                at(span, "opened here").with_help("close it with `*/`; comments nest, each `/*` needs its own")
            }
            Self::OddNumber { text, span } if text.starts_with("0x") || text.starts_with("0X") => {
                at(span, "Rust reads this as hexadecimal")
                    .with_help("write numbers in decimal; no size of an axis may be 0")
            }
            Self::OddNumber { text, span } if text.contains('x') => at(span, "a number is missing next to an `x`")
                .with_help("write sizes as `7x7`, with a number on each side of every `x`"),
            Self::OddNumber { span, .. } => {
                at(span, "").with_help("write `3`, `0.5`, `1e-3` or sizes such as `7x7`; no type suffix")
            }
            Self::BigInteger { text, span } => {
                at(span, &format!("{text} does not fit in 64 bits, at most {}", u64::MAX))
                    .with_help("write a smaller number")
            }
            Self::BigFloat { text, span } => {
                at(span, &format!("{text} is beyond {:e}", f64::MAX)).with_help("write a smaller number")
            }
            Self::Expected { span, help, .. } => {
                let diagnostic = at(span, "");
                if let Some(help) = help { diagnostic.with_help(help) } else { diagnostic }
            }
            Self::MissingComma { span, next, .. } => {
                let mut diagnostic = at(span, "put a `,` after this");
                diagnostic.labels.push(Label { span: *next, text: "what comes next".to_owned() });
                diagnostic
            }
            Self::Unclosed { close, span, end, .. } => {
                let mut diagnostic = at(span, "opened here");
                diagnostic.labels.push(Label { span: *end, text: format!("`{close}` is missing before this") });
                diagnostic
            }
            Self::NoName { kind, span } => {
                at(span, "a name must follow").with_help(format!("write `{kind} some_name {{ … }}`"))
            }
            Self::TooDeep { span, .. } => at(span, "this one is too many").with_help("no field needs more than two"),
        }
    }
}
