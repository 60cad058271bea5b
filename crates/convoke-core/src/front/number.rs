//! What a numeric literal says.

use super::ast::ValueKind;
use super::error::SyntaxError;
use super::lexer::Token;
use crate::span::{Span, Spanned};

/// The value of a number token: `Int`, `Float` or `Sizes`.
pub(super) fn read(token: Token<'_>) -> Result<ValueKind, SyntaxError> {
    let Token { text, span, .. } = token;
    let odd = || SyntaxError::OddNumber { text: text.to_owned(), span };
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return integer(text, span.start).map(|n| ValueKind::Int(n.value.into()));
    }
    if text.contains('x') {
        return sizes(text, span).ok_or_else(odd)?.map(ValueKind::Sizes);
    }
    let plain = text.replace('_', "");
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(ValueKind::Float(value)),
        Ok(_) => Err(SyntaxError::BigFloat { text: text.to_owned(), span }),
        Err(_) => Err(odd()),
    }
}

/// `7x7`; nothing if a part is no number, or the text is hexadecimal to Rust.
fn sizes(text: &str, span: Span) -> Option<Result<Vec<Spanned<u64>>, SyntaxError>> {
    let digits = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_digit()) && part.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    };
    if text.starts_with("0x") || !text.split('x').all(digits) {
        return None;
    }
    let mut start = span.start;
    let parts = text.split('x').map(|part| {
        let number = integer(part, start);
        start += part.len() + 1;
        number
    });
    Some(parts.collect())
}

fn integer(text: &str, start: usize) -> Result<Spanned<u64>, SyntaxError> {
    let span = Span::new(start, start + text.len());
    let digits = text.bytes().filter(|b| *b != b'_');
    let value = digits.into_iter().try_fold(0_u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')));
    value
        .map(|n| Spanned::new(n, span))
        .ok_or_else(|| SyntaxError::BigInteger { text: text.chars().take(40).collect(), span })
}
