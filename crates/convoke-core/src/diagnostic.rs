//! What the compiler says when it refuses: one type for every stage, rendered in one place.
//!
//! A stage has its own error enum; each converts into a [`Diagnostic`], which carries the spans, the
//! arithmetic and the way out. Rendering with source excerpts needs the feature `render`.

#[cfg(feature = "render")]
mod render;

use crate::span::Span;
#[cfg(feature = "render")]
pub use render::render;

/// A refusal: what is wrong, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// One line without a full stop: "the kernel reaches past the padded input".
    pub message: String,
    /// Where, the most important first. Empty only when no source text is at fault.
    pub labels: Vec<Label>,
    /// What to do about it, without the word "help".
    pub help: Option<String>,
}

/// A place in the source and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The characters in question.
    pub span: Span,
    /// What is wrong with them, with the numbers; may be empty.
    pub text: String,
}

impl Diagnostic {
    /// A diagnostic with one label.
    pub fn at(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), labels: vec![Label { span, text: label.into() }], help: None }
    }

    /// The same with `help`.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The diagnostics as plain text without excerpts, a few lines each, positions as `line:column`, both from 1:
/// for where the feature `render` is off.
pub fn plain(diagnostics: &[Diagnostic], source: &str) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&format!("error: {}\n", diagnostic.message));
        for label in &diagnostic.labels {
            let (line, column) = position(source, label.span.start);
            out.push_str(&format!("  {line}:{column}: {}\n", label.text));
        }
        if let Some(help) = &diagnostic.help {
            out.push_str(&format!("  help: {help}\n"));
        }
    }
    out
}

/// Line and column, both from 1, the column in characters.
pub fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
}
