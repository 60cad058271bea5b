//! The canonical layout of a source text.
//!
//! The rules, all of them: four spaces a level; every field on a line of its own, a value never broken; a comma after every
//! field except a block, and none before a closing `)` or `]`; one empty line between layers, and one wherever the author left
//! some between fields or comments. A layer of a network that is written on one line stays on one, without a comma behind its last field. The order of fields, the spelling of numbers and every comment stay. A comment that
//! follows something on its line stays on that line, any other has its own.
//!
//! It moves tokens and never drops or adds one but commas, so the result means the same and formatting it again
//! changes nothing.

use super::lexer::{self, Kind, Token};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::spec::NETWORK;

const INDENT: usize = 4;

/// `text` in the canonical layout.
///
/// # Errors
/// What [`super::parse`] refuses; fields need not make sense.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    super::parse(text)?;
    let tokens = lexer::tokens(text).0;
    let lines = one_liners(text, &tokens);
    let tokens = with_canonical_commas(tokens, &lines);
    let out = String::with_capacity(text.len());
    let mut layout = Layout { text, lines, out, braces: 0, brackets: 0, boundary: true, trails: false };
    for (at, token) in tokens.iter().enumerate() {
        if token.kind == Kind::Punct('}') {
            layout.braces = layout.braces.saturating_sub(1);
        }
        if at > 0 {
            layout.gap(tokens[at - 1], *token);
        }
        layout.push(*token);
    }
    if !layout.out.is_empty() {
        layout.out.push('\n');
    }
    Ok(layout.out)
}

/// The tokens without [`Kind::End`]; each comma right after the token that it follows, comments not counted.
fn with_canonical_commas<'a>(tokens: Vec<Token<'a>>, lines: &[Span]) -> Vec<Token<'a>> {
    let mut out: Vec<Token<'a>> = Vec::with_capacity(tokens.len());
    // Where a comma would be put, and whether one waits to be.
    let (mut after, mut waiting) = (0_usize, false);
    for token in tokens {
        match token.kind {
            Kind::End => break,
            Kind::LineComment | Kind::BlockComment => out.push(token),
            Kind::Punct(',') => waiting = true,
            kind => {
                let last = after.checked_sub(1).map(|at| out[at].kind);
                let wanted = match kind {
                    Kind::Punct(')' | ']') => false,
                    Kind::Punct('}') => last != Some(Kind::Punct('{')) && !is_within(lines, token),
                    _ => waiting,
                };
                if wanted && last != Some(Kind::Punct('}')) {
                    let end = after.checked_sub(1).map_or(0, |at| out[at].span.end);
                    out.insert(after, Token { kind: Kind::Punct(','), text: ",", span: Span::new(end, end) });
                }
                waiting = false;
                out.push(token);
                after = out.len();
            }
        }
    }
    out
}

/// What stands behind the opening braces of those layers of networks that are written on one line, each up to its closing brace.
fn one_liners(text: &str, tokens: &[Token<'_>]) -> Vec<Span> {
    let mut lines = Vec::new();
    // Where the braces are that are open, and whether the outermost is a network's.
    let (mut open, mut network): (Vec<Span>, bool) = (Vec::new(), false);
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Punct('{') => {
                if open.is_empty() {
                    network = at.checked_sub(2).is_some_and(|first| tokens[first].text == NETWORK);
                }
                open.push(token.span);
            }
            Kind::Punct('}') => {
                let Some(start) = open.pop() else { continue };
                let inside = text.get(start.end..token.span.start).unwrap_or_default();
                if open.len() == 1 && network && !inside.contains(['\n', '/']) {
                    lines.push(Span::new(start.end, token.span.end));
                }
            }
            _ => {}
        }
    }
    lines
}

/// Whether a token belongs to such a layer.
fn is_within(lines: &[Span], token: Token<'_>) -> bool {
    let behind = lines.partition_point(|line| line.start <= token.span.start);
    behind.checked_sub(1).is_some_and(|at| token.span.end <= lines[at].end)
}

struct Layout<'a> {
    text: &'a str,
    /// Layers that stay on one line.
    lines: Vec<Span>,
    out: String,
    /// Open `{`; one that is about to be closed is not counted.
    braces: usize,
    /// Open `(` and `[`.
    brackets: usize,
    /// Whether a layer, a field or a `}` comes next.
    boundary: bool,
    /// Whether the last token is a comment that follows something on its line.
    trails: bool,
}

impl Layout<'_> {
    fn push(&mut self, token: Token<'_>) {
        self.out.push_str(token.text);
        match token.kind {
            Kind::Punct('{') => self.braces += 1,
            Kind::Punct('(' | '[') => self.brackets += 1,
            Kind::Punct(')' | ']') => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        if !is_comment(token) {
            self.boundary = self.brackets == 0 && matches!(token.kind, Kind::Punct(',' | '{' | '}'));
            self.trails = false;
        }
    }

    /// Writes what stands between two tokens.
    fn gap(&mut self, previous: Token<'_>, next: Token<'_>) {
        let between = self.text.get(previous.span.end..next.span.start).unwrap_or("");
        let lines = between.bytes().filter(|b| *b == b'\n').count();
        let stays = previous.kind != Kind::LineComment && lines == 0;
        let (opens, closes) = (previous.kind == Kind::Punct('{'), next.kind == Kind::Punct('}'));
        let ends_layer = self.braces == 0 && (previous.kind == Kind::Punct('}') || self.trails);
        let after_trailing = std::mem::replace(&mut self.trails, is_comment(next) && stays);
        if !self.boundary {
            if previous.kind == Kind::LineComment || (is_comment(next) && !stays) {
                self.line(false, self.braces + 1);
            } else if spaced(previous, next) {
                self.out.push(' ');
            }
        } else if (is_comment(next) && stays) || (is_comment(previous) && stays && !after_trailing && !closes) {
            self.out.push(' ');
        } else if is_within(&self.lines, next) {
            self.out.push_str(if opens && closes { "" } else { " " });
        } else if !(opens && closes) {
            self.line(!opens && !closes && (lines > 1 || ends_layer), self.braces);
        }
    }

    fn line(&mut self, empty_line: bool, level: usize) {
        self.out.push_str(if empty_line { "\n\n" } else { "\n" });
        self.out.extend(std::iter::repeat_n(' ', level * INDENT));
    }
}

fn is_comment(token: Token<'_>) -> bool {
    matches!(token.kind, Kind::LineComment | Kind::BlockComment)
}

/// Whether two tokens on a line have a space between them.
fn spaced(previous: Token<'_>, next: Token<'_>) -> bool {
    match (previous.kind, next.kind) {
        (Kind::Punct('(' | '[' | '-') | Kind::DotDot, _) => false,
        (_, Kind::Punct(',' | ':' | ')' | ']')) => false,
        (Kind::Word, Kind::Punct('(' | '[')) => false,
        (_, Kind::DotDot) => previous.text.ends_with('.'),
        _ => true,
    }
}
