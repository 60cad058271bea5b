//! Tokens of the text form: words, numbers and symbols.

use super::{Parse, ParseKernelError, describe};

/// A piece of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
    start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    /// Starts with a digit; may have a fraction and an exponent.
    Number,
    Symbol,
}

/// Symbols of more than one character come first.
const SYMBOLS: [&str; 17] = ["..", "+=", "{", "}", "[", "]", "(", ")", ",", ";", ":", "=", "+", "-", "*", "/", ">"];

/// The tokens of a text and how many of them are read.
#[derive(Debug)]
pub(super) struct Tokens<'t> {
    text: &'t str,
    tokens: Vec<Token<'t>>,
    at: usize,
    nesting: usize,
}

impl<'t> Tokens<'t> {
    pub(super) fn new(text: &'t str) -> Parse<Self> {
        let mut all = Self { text, tokens: Vec::new(), at: 0, nesting: 0 };
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let start = text.len() - rest.len();
            let (kind, len) = token(rest).ok_or_else(|| {
                let found = rest.chars().take(1).map(|c| format!("`{}`", c.escape_debug())).collect();
                all.error(start, "a word, a number or a symbol".to_owned(), found)
            })?;
            all.tokens.push(Token { kind, text: &rest[..len], start });
            rest = rest[len..].trim_start();
        }
        Ok(all)
    }

    fn peek(&self) -> Option<&Token<'t>> {
        self.tokens.get(self.at)
    }

    fn error(&self, offset: usize, expected: String, found: String) -> ParseKernelError {
        let before = &self.text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        ParseKernelError { line, column, expected, found }
    }

    pub(super) fn expected(&self, what: &str) -> ParseKernelError {
        self.expected_at(self.at, what)
    }

    pub(super) fn expected_at(&self, at: usize, what: &str) -> ParseKernelError {
        let token = self.tokens.get(at);
        self.error(token.map_or(self.text.len(), |t| t.start), what.to_owned(), describe(token))
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn go_to(&mut self, position: usize) {
        self.at = position;
    }

    fn is(&self, kind: Kind, text: &str) -> bool {
        self.peek().is_some_and(|t| t.kind == kind && t.text == text)
    }

    fn take(&mut self, kind: Kind, text: &str) -> bool {
        let found = self.is(kind, text);
        self.at += usize::from(found);
        found
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.is(Kind::Word, word)
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        self.take(Kind::Word, word)
    }

    pub(super) fn word(&mut self, word: &str) -> Parse<()> {
        if self.take_word(word) { Ok(()) } else { Err(self.expected(&format!("`{word}`"))) }
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.is(Kind::Symbol, symbol)
    }

    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        self.take(Kind::Symbol, symbol)
    }

    pub(super) fn symbol(&mut self, symbol: &str) -> Parse<()> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    /// `name(`.
    pub(super) fn take_function(&mut self, name: &str) -> bool {
        let paren = self.tokens.get(self.at + 1).is_some_and(|t| t.text == "(");
        let found = self.is_word(name) && paren;
        self.at += 2 * usize::from(found);
        found
    }

    /// `{`, at most `limit` of them open.
    pub(super) fn open(&mut self, limit: usize) -> Parse<()> {
        if self.nesting >= limit {
            return Err(self.expected(&format!("at most {limit} blocks one inside the other")));
        }
        self.nesting += 1;
        self.symbol("{")
    }

    pub(super) fn close(&mut self) -> Parse<()> {
        self.nesting = self.nesting.saturating_sub(1);
        self.symbol("}")
    }

    /// Goes past `[ … ]`.
    pub(super) fn skip_brackets(&mut self) -> Parse<()> {
        self.symbol("[")?;
        while !self.take_symbol("]") {
            if self.peek().is_none() {
                return Err(self.expected("`]`"));
            }
            self.at += 1;
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Parse<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("the end of the text")) }
    }

    pub(super) fn take_any_word(&mut self) -> Option<&'t str> {
        let word = self.peek().filter(|t| t.kind == Kind::Word)?.text;
        self.at += 1;
        Some(word)
    }

    pub(super) fn name(&mut self, what: &str) -> Parse<String> {
        self.take_any_word().map(str::to_owned).ok_or_else(|| self.expected(what))
    }

    /// One or more names with commas between.
    pub(super) fn names(&mut self, what: &str) -> Parse<Vec<String>> {
        let mut names = vec![self.name(what)?];
        while self.take_symbol(",") {
            names.push(self.name(what)?);
        }
        Ok(names)
    }

    /// A word that `position` knows.
    pub(super) fn one_of_names<T>(&mut self, what: &str, position: impl Fn(&str) -> Option<T>) -> Parse<T> {
        let known = self.peek().filter(|t| t.kind == Kind::Word).and_then(|t| position(t.text));
        let found = known.ok_or_else(|| self.expected(what))?;
        self.at += 1;
        Ok(found)
    }

    pub(super) fn take_number(&mut self) -> Option<&'t str> {
        let number = self.peek().filter(|t| t.kind == Kind::Number)?.text;
        self.at += 1;
        Some(number)
    }

    /// `digits`, the token at `at`, with a sign.
    pub(super) fn signed(&self, at: usize, negative: bool, digits: &str) -> Parse<i64> {
        let sign = if negative { "-" } else { "" };
        format!("{sign}{digits}").parse().map_err(|_| self.expected_at(at, "a whole number of 64 bits"))
    }

    pub(super) fn integer(&mut self, what: &str) -> Parse<i64> {
        let negative = self.take_symbol("-");
        let at = self.at;
        let digits = self.take_number().ok_or_else(|| self.expected(what))?;
        self.signed(at, negative, digits)
    }

    pub(super) fn unsigned(&mut self, what: &str) -> Parse<u64> {
        let at = self.at;
        let digits = self.take_number().ok_or_else(|| self.expected(what))?;
        digits.parse().map_err(|_| self.expected_at(at, what))
    }

    /// What Rust prints for an `f64`, `inf`, `-inf`, or `nan(0x…)`.
    pub(super) fn float(&mut self) -> Parse<f64> {
        let negative = self.take_symbol("-");
        let at = self.at;
        let sign = if negative { -1.0 } else { 1.0 };
        if self.take_word("inf") {
            return Ok(sign * f64::INFINITY);
        }
        if !negative && self.take_function("nan") {
            let at = self.at;
            let bits = self.take_number().and_then(|n| u64::from_str_radix(n.strip_prefix("0x")?, 16).ok());
            let value = bits.map(f64::from_bits).filter(|v| v.is_nan());
            let value = value.ok_or_else(|| self.expected_at(at, "the bits of a NaN, like 0x7ff8000000000000"))?;
            self.symbol(")")?;
            return Ok(value);
        }
        let number: Option<f64> = self.take_number().and_then(|n| n.parse().ok());
        number.map(|n| sign * n).ok_or_else(|| self.expected_at(at, "a number, `inf` or `nan(0x…)`"))
    }
}

/// The kind and length of the token that `rest` starts with.
fn token(rest: &str) -> Option<(Kind, usize)> {
    let first = rest.chars().next()?;
    if first.is_ascii_alphabetic() || first == '_' {
        return Some((Kind::Word, rest.find(|c: char| !word(c)).unwrap_or(rest.len())));
    }
    if first.is_ascii_digit() {
        return Some((Kind::Number, number_len(rest.as_bytes())));
    }
    let symbol = SYMBOLS.iter().find(|s| rest.starts_with(**s))?;
    Some((Kind::Symbol, symbol.len()))
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Letters belong to a number (`0x7f`, `1e3`); a point does if a digit follows it, and a sign if it follows `e`.
fn number_len(rest: &[u8]) -> usize {
    let hex = rest.starts_with(b"0x");
    let mut len = 1;
    while let Some(&c) = rest.get(len) {
        let next_is_digit = rest.get(len + 1).is_some_and(u8::is_ascii_digit);
        let goes_on = match c {
            b'.' => next_is_digit && rest[len - 1].is_ascii_digit(),
            b'-' | b'+' => !hex && rest[len - 1] == b'e' && next_is_digit,
            c => c.is_ascii_alphanumeric() || c == b'_',
        };
        if !goes_on {
            break;
        }
        len += 1;
    }
    len
}
