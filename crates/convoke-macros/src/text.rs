//! A macro's tokens as the text that the user wrote: each at its line and column, so that the parser sees what an editor
//! shows, with a table from bytes back to tokens.

use convoke_core::span::Span as Bytes;
use proc_macro::{Delimiter, Span, TokenStream, TokenTree};

/// Blank columns that are kept between two tokens; more mean that the tokens come from different places.
const MAX_GAP: usize = 4096;

/// The text and its tokens.
pub(crate) struct Text {
    pub(crate) source: String,
    tokens: Vec<(Bytes, Span)>,
    line: usize,
    column: usize,
}

impl Text {
    /// Lays out `input`.
    pub(crate) fn of(input: TokenStream) -> Self {
        let mut text = Self { source: String::new(), tokens: Vec::new(), line: 0, column: 0 };
        text.stream(input);
        text
    }

    fn stream(&mut self, input: TokenStream) {
        for token in input {
            match token {
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        Delimiter::Parenthesis => ("(", ")"),
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        Delimiter::None => {
                            self.stream(group.stream());
                            continue;
                        }
                    };
                    self.token(open, group.span_open());
                    self.stream(group.stream());
                    self.token(close, group.span_close());
                }
                other => self.token(&other.to_string(), other.span()),
            }
        }
    }

    fn token(&mut self, text: &str, span: Span) {
        let (line, column) = (span.line(), span.column());
        let first = self.tokens.is_empty();
        if line == self.line && column >= self.column && column - self.column < MAX_GAP && !first {
            self.source.extend(std::iter::repeat_n(' ', column - self.column));
        } else if line > self.line && column < MAX_GAP && !first {
            self.source.push('\n');
            self.source.extend(std::iter::repeat_n(' ', column.saturating_sub(1)));
        } else if !first {
            // Tokens of another macro: their places say nothing about each other.
            self.source.push(' ');
        }
        let start = self.source.len();
        self.source.push_str(text);
        self.tokens.push((Bytes::new(start, self.source.len()), span));
        self.line = line;
        self.column = column + text.chars().count();
    }

    /// The first and last token of what `bytes` covers; of an empty span, the token at or before it.
    pub(crate) fn tokens(&self, bytes: Bytes) -> (Span, Span) {
        let end = bytes.end.max(bytes.start + 1);
        let mut covered = self.tokens.iter().filter(|t| t.0.start < end && t.0.end > bytes.start);
        match (covered.next(), covered.next_back()) {
            (Some(first), last) => (first.1, last.unwrap_or(first).1),
            (None, _) => {
                let before = self.tokens.iter().rev().find(|t| t.0.end <= bytes.start).or(self.tokens.first());
                before.map_or_else(|| (Span::call_site(), Span::call_site()), |t| (t.1, t.1))
            }
        }
    }
}
