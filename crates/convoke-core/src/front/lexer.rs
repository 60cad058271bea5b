//! Text to tokens. Every text that lexes here lexes as Rust, and into the same pieces.

use super::error::SyntaxError;
use crate::span::Span;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while, take_while1};
use nom::character::complete::{char, one_of, satisfy};
use nom::combinator::{not, opt, recognize, value};
use nom::{IResult, Parser};

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ASCII identifier or keyword.
    Word,
    /// A literal with whatever suffix: `7`, `7x7`, `1.5e3`.
    Number,
    /// One ASCII punctuation character.
    Punct(char),
    /// `..`
    DotDot,
    /// `// …` without the end of the line.
    LineComment,
    /// `/* … */`, nested ones included.
    BlockComment,
    /// Not a token; the lexer has reported it.
    Bad,
    /// After the last token; empty.
    End,
}

/// The tokens of `text`, comments among them, an [`Kind::End`] last; and what is no token.
pub(super) fn tokens(text: &str) -> (Vec<Token<'_>>, Vec<SyntaxError>) {
    let (mut tokens, mut errors) = (Vec::new(), Vec::new());
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
        let start = text.len() - rest.len();
        if rest.is_empty() {
            tokens.push(Token { kind: Kind::End, text: "", span: Span::new(start, start) });
            return (tokens, errors);
        }
        let (after, kind) = token(rest).unwrap_or_else(|_: nom::Err<nom::error::Error<&str>>| bad(rest));
        let text = &rest[..rest.len() - after.len()];
        let span = Span::new(start, start + text.len());
        match kind {
            Kind::Bad => errors.push(SyntaxError::NoToken { text: printable(text), span }),
            Kind::BlockComment if !closed(text) => {
                errors.push(SyntaxError::OpenComment { span: Span::new(start, start + 2) })
            }
            _ => {}
        }
        let text = if kind == Kind::LineComment { text.trim_end() } else { text };
        tokens.push(Token { kind, text, span: Span::new(start, start + text.len()) });
        rest = after;
    }
}

fn token(text: &str) -> IResult<&str, Kind> {
    alt((
        value(Kind::LineComment, (tag("//"), take_till(|c| c == '\n'))),
        block_comment,
        value(Kind::Word, (satisfy(word_start), take_while(word_part))),
        value(Kind::Number, number),
        value(Kind::DotDot, tag("..")),
        satisfy(|c| c.is_ascii_punctuation() && c != '"' && c != '\'').map(Kind::Punct),
    ))
    .parse(text)
}

fn word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn digit_part(c: char) -> bool {
    c.is_ascii_digit() || c == '_'
}

/// A numeric literal as Rust cuts it: `1..2` begins with `1`, and `7x7` is one literal with the suffix `x7`.
fn number(text: &str) -> IResult<&str, &str> {
    let digits = (satisfy(|c| c.is_ascii_digit()), take_while(digit_part));
    let fraction = (char('.'), not(alt((char('.'), satisfy(word_start)))), take_while(digit_part));
    let exponent = (one_of("eE"), opt(one_of("+-")), take_while(|c| c == '_'), satisfy(|c| c.is_ascii_digit()));
    recognize((digits, opt(fraction), opt((exponent, take_while(digit_part))), take_while(word_part))).parse(text)
}

/// A block comment; one that is not closed runs to the end of the text.
fn block_comment(text: &str) -> IResult<&str, Kind> {
    let (mut rest, _) = tag("/*")(text)?;
    let mut open = 1_usize;
    while open > 0 && !rest.is_empty() {
        (rest, _) = take_till(|c| c == '/' || c == '*')(rest)?;
        let step = match rest.as_bytes() {
            [b'/', b'*', ..] => {
                open += 1;
                2
            }
            [b'*', b'/', ..] => {
                open -= 1;
                2
            }
            [] => 0,
            _ => 1,
        };
        rest = &rest[step..];
    }
    Ok((rest, Kind::BlockComment))
}

/// Whether a block comment has as many ends as beginnings.
fn closed(comment: &str) -> bool {
    let (mut rest, mut open) = (comment, 0_usize);
    while let Some(at) = rest.find(['/', '*']) {
        rest = &rest[at..];
        let step = if rest.starts_with("/*") {
            open += 1;
            2
        } else if rest.starts_with("*/") {
            open -= 1;
            2
        } else {
            1
        };
        rest = &rest[step..];
        if open == 0 {
            return true;
        }
    }
    false
}

/// What is no token: quoted text up to its closing quote, or a run of characters that are control characters or not ASCII.
fn bad(text: &str) -> (&str, Kind) {
    let quoted = |quote: char| move |c: char| c != quote && c != '\n';
    let run: IResult<&str, &str> = alt((
        recognize((char('"'), take_while(quoted('"')), opt(char('"')))),
        recognize((char('\''), take_while(quoted('\'')), opt(char('\'')))),
        take_while1(|c: char| !c.is_ascii() || (c.is_ascii_control() && !c.is_ascii_whitespace())),
    ))
    .parse(text);
    let rest = run.map_or_else(|_| &text[text.chars().next().map_or(0, char::len_utf8)..], |(rest, _)| rest);
    (rest, Kind::Bad)
}

/// The first characters, those that would not show as escapes.
fn printable(text: &str) -> String {
    let quotes = |c: char| matches!(c, '"' | '\'');
    let mut out = String::new();
    for c in text.chars().take(20) {
        if quotes(c) { out.push(c) } else { out.extend(c.escape_debug()) }
    }
    out
}
