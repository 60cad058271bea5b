//! Tokens to the syntax tree, going on after a mistake.
//!
//! Values are nom parsers over a slice of tokens; a slice always ends with [`Kind::End`], so there is always a
//! first token to point at. Fields and layers are loops, so that they can record a mistake and go on.

use super::ast::{Comment, Field, File, Item, Layer, Network, Value, ValueKind};
use super::error::SyntaxError;
use super::lexer::{self, Kind, Token};
use super::number;
use crate::span::{Span, Spanned};
use crate::spec::{FIELD_NAMES, NETWORK, NETWORK_FIELDS, NETWORK_KINDS, Operation, SCHEDULE_NAMES};
use nom::IResult;

/// Brackets that may stand inside one another in a value.
const MAX_DEPTH: usize = 4;

type Tokens<'t, 'a> = &'t [Token<'a>];
type Parsed<'t, 'a, T> = IResult<Tokens<'t, 'a>, T, SyntaxError>;

/// The tree of everything that could be read, and every mistake.
pub(super) fn parse(text: &str) -> (File, Vec<SyntaxError>) {
    let (tokens, errors) = lexer::tokens(text);
    let is_comment = |t: &Token<'_>| matches!(t.kind, Kind::LineComment | Kind::BlockComment);
    let (comments, tokens): (Vec<_>, Vec<_>) = tokens.into_iter().partition(is_comment);
    let comments = comments.iter().map(|t| Comment { text: t.text.to_owned(), span: t.span }).collect();
    let mut parser = Parser { text, errors };
    let (layers, networks) = parser.items(&tokens);
    (File { layers, networks, comments }, parser.errors)
}

struct Parser<'a> {
    text: &'a str,
    errors: Vec<SyntaxError>,
}

impl<'a> Parser<'a> {
    /// Every layer and network up to the end of the text.
    fn items<'t>(&mut self, mut rest: Tokens<'t, 'a>) -> (Vec<Layer>, Vec<Network>) {
        let (mut layers, mut networks) = (Vec::new(), Vec::new());
        while rest[0].kind != Kind::End {
            if begins_network(rest) {
                let (after, network) = self.network(rest);
                networks.extend(network);
                rest = after;
            } else if rest[0].kind == Kind::Word {
                let (after, layer) = self.layer(rest);
                layers.extend(layer);
                rest = after;
            } else {
                self.report(unexpected(rest, "a layer such as `conv2d name { … }`"));
                rest = skip(&rest[1..], |tokens| begins_layer(tokens));
            }
        }
        (layers, networks)
    }

    fn network<'t>(&mut self, tokens: Tokens<'t, 'a>) -> (Tokens<'t, 'a>, Option<Network>) {
        let (rest, name) = self.head(tokens, "the network's name", "`{` after the network's name");
        let Some(name) = name else { return (rest, None) };
        let open = rest[0];
        let (mut rest, mut items) = (&rest[1..], Vec::new());
        let (end, closed) = loop {
            match rest[0].kind {
                Kind::Punct('}') => {
                    let end = rest[0].span;
                    rest = &rest[1..];
                    break (end, true);
                }
                Kind::Word if begins_network(rest) => break (self.unclosed(open, rest), false),
                Kind::Word if begins_layer(rest) || rest[1].kind == Kind::Word => {
                    let (after, layer) = self.layer(rest);
                    items.extend(layer.map(Item::Layer));
                    rest = if after[0].kind == Kind::Punct(',') { &after[1..] } else { after };
                }
                Kind::Word => {
                    let (after, field) = self.field_and_comma(rest, false);
                    let last = rest[rest.len() - after.len() - 1].kind;
                    let readable = field.value.kind != ValueKind::Unreadable;
                    if begins_layer(after) && last != Kind::Punct(',') && readable {
                        let (field, span) = (field.name.value.clone(), field.value.span);
                        self.report(SyntaxError::MissingComma { field, span, next: after[0].span });
                    }
                    items.push(Item::Field(field));
                    rest = after;
                }
                Kind::End => break (self.unclosed(open, rest), false),
                _ => {
                    self.report(unexpected(rest, "a layer such as `conv2d name { … }`, or a field of the network"));
                    rest = self.resume(&rest[1..]);
                }
            }
        };
        (rest, Some(Network { name, items, span: tokens[0].span.to(end), closed }))
    }

    fn layer<'t>(&mut self, tokens: Tokens<'t, 'a>) -> (Tokens<'t, 'a>, Option<Layer>) {
        let kind = tokens[0];
        let (rest, name) = self.head(tokens, "the layer's name", "`{` after the layer's name");
        let Some(name) = name else { return (rest, None) };
        let (rest, fields, end, closed) = self.fields(rest, true);
        (rest, Some(Layer { kind: word(kind), name, fields, span: kind.span.to(end), closed }))
    }

    /// The name of a layer or network, and what begins with its brace; no name if there is none.
    fn head<'t>(
        &mut self,
        tokens: Tokens<'t, 'a>,
        expected: &'static str,
        brace: &'static str,
    ) -> (Tokens<'t, 'a>, Option<Spanned<String>>) {
        let kind = tokens[0];
        let mut rest = &tokens[1..];
        let name = if rest[0].kind == Kind::Word {
            rest = &rest[1..];
            word(tokens[1])
        } else {
            if rest[0].kind == Kind::Punct('{') {
                self.report(SyntaxError::NoName { kind: kind.text.to_owned(), span: kind.span });
            } else {
                self.report(unexpected(rest, expected));
            }
            Spanned::new(String::new(), kind.span)
        };
        if rest[0].kind != Kind::Punct('{') {
            if !name.value.is_empty() {
                self.report(unexpected(rest, brace));
            }
            let brace = |tokens: Tokens<'_, '_>| begins_layer(tokens) || tokens[0].kind == Kind::Punct('{');
            rest = skip(rest, brace);
            if rest[0].kind != Kind::Punct('{') {
                return (rest, None);
            }
        }
        (rest, Some(name))
    }

    /// Reports that the brace `open` is still open at the first of `rest`; where that is.
    fn unclosed(&mut self, open: Token<'a>, rest: Tokens<'_, 'a>) -> Span {
        let end = if rest[0].kind == Kind::End { self.last_char() } else { rest[0].span };
        self.report(SyntaxError::Unclosed { open: '{', close: '}', span: open.span, end });
        end
    }

    /// The fields between braces, the span of the closing one, and whether it is there; `tokens` begins with the opening one.
    fn fields<'t>(&mut self, tokens: Tokens<'t, 'a>, blocks: bool) -> (Tokens<'t, 'a>, Vec<Field>, Span, bool) {
        let open = tokens[0];
        let mut rest = &tokens[1..];
        let mut fields = Vec::new();
        loop {
            match rest[0].kind {
                Kind::Punct('}') => return (&rest[1..], fields, rest[0].span, true),
                Kind::Word if !begins_layer(rest) => {
                    let (after, field) = self.field_and_comma(rest, blocks);
                    fields.push(field);
                    rest = after;
                }
                Kind::Word | Kind::End => {
                    let end = self.unclosed(open, rest);
                    return (rest, fields, end, false);
                }
                _ => {
                    self.report(unexpected(rest, "a field such as `stride: 2`"));
                    rest = self.resume(&rest[1..]);
                }
            }
        }
    }

    /// One field, and the comma behind it, which may be left out after the last and after a block.
    fn field_and_comma<'t>(&mut self, tokens: Tokens<'t, 'a>, blocks: bool) -> (Tokens<'t, 'a>, Field) {
        let (after, field) = self.field(tokens, blocks);
        let next = after[0];
        let optional = matches!(field.value.kind, ValueKind::Block(_) | ValueKind::Unreadable);
        if next.kind == Kind::Word && !optional && !begins_layer(after) {
            let (field, span) = (field.name.value.clone(), field.value.span);
            self.report(SyntaxError::MissingComma { field, span, next: next.span });
        }
        (if next.kind == Kind::Punct(',') { &after[1..] } else { after }, field)
    }

    /// One field, without the comma. After a mistake its value is `Unreadable` and the rest begins at a place to go on.
    fn field<'t>(&mut self, tokens: Tokens<'t, 'a>, blocks: bool) -> (Tokens<'t, 'a>, Field) {
        let name = word(tokens[0]);
        let rest = &tokens[1..];
        if rest[0].kind == Kind::Punct('{') && blocks {
            let (after, fields, end, _) = self.fields(rest, false);
            let span = rest[0].span.to(end);
            return (after, Field { name, value: Value { kind: ValueKind::Block(fields), span } });
        }
        let parsed = punct(':', "`:` and a value")(rest).and_then(|(rest, _)| {
            let (rest, value) = value(MAX_DEPTH)(rest)?;
            match rest[0].kind {
                Kind::Punct(',' | '}') | Kind::Word | Kind::End => Ok((rest, value)),
                _ => Err(nom::Err::Error(unexpected(rest, "`,` after the value"))),
            }
        });
        match parsed {
            Ok((rest, value)) => (rest, Field { name, value }),
            Err(error) => {
                if let nom::Err::Error(error) | nom::Err::Failure(error) = error {
                    self.report(error);
                }
                let value = Value { kind: ValueKind::Unreadable, span: name.span };
                (self.resume(rest), Field { name, value })
            }
        }
    }

    /// Skips to where the fields of a layer can go on: a comma or a brace outside brackets, or a line that begins with
    /// a field that exists, or a layer. Brackets that are open do not hide those last two.
    fn resume<'t>(&self, tokens: Tokens<'t, 'a>) -> Tokens<'t, 'a> {
        let mut open = 0_usize;
        skip(tokens, |rest| {
            match rest[0].kind {
                Kind::Punct('(' | '[' | '{') => open += 1,
                Kind::Punct(',') if open == 0 => return true,
                Kind::Punct('}') if open == 0 => return true,
                Kind::Punct(')' | ']' | '}') => open = open.saturating_sub(1),
                Kind::Word => return begins_layer(rest) || (begins_field(rest) && self.first_in_line(rest[0])),
                _ => {}
            }
            false
        })
    }

    fn first_in_line(&self, token: Token<'_>) -> bool {
        let before = self.text[..token.span.start].trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with('\n')
    }

    /// The last character of the text that is not white space.
    fn last_char(&self) -> Span {
        let text = self.text.trim_end();
        let width = text.chars().next_back().map_or(0, char::len_utf8);
        Span::new(text.len() - width, text.len())
    }

    /// Records a mistake, unless the lexer has recorded one at the same place.
    fn report(&mut self, error: SyntaxError) {
        if !matches!(&error, SyntaxError::Expected { found, .. } if found.is_empty()) {
            self.errors.push(error);
        }
    }
}

fn word(token: Token<'_>) -> Spanned<String> {
    Spanned::new(token.text.to_owned(), token.span)
}

/// `conv2d name {`: a layer even where something is still open; or a network.
fn begins_layer(tokens: Tokens<'_, '_>) -> bool {
    match tokens {
        [kind, name, ..] if Operation::of_kind(kind.text).is_some() => name.kind != Kind::Punct(':'),
        [kind, name, open, ..] if NETWORK_KINDS.contains(&kind.text) => {
            name.kind == Kind::Word && open.kind == Kind::Punct('{')
        }
        _ => begins_network(tokens),
    }
}

/// `network name {`.
fn begins_network(tokens: Tokens<'_, '_>) -> bool {
    matches!(tokens, [kind, name, ..] if kind.text == NETWORK && matches!(name.kind, Kind::Word | Kind::Punct('{')))
}

/// `stride:`, a field that exists; no name that stands inside brackets is one.
fn begins_field(tokens: Tokens<'_, '_>) -> bool {
    match tokens {
        [name, next, ..] if matches!(next.kind, Kind::Punct(':' | '{')) => {
            [&FIELD_NAMES[..], &SCHEDULE_NAMES, &NETWORK_FIELDS].iter().any(|names| names.contains(&name.text))
        }
        _ => false,
    }
}

/// `mask: f32[`, an input of a network, which may be called as fields are; but for the field that takes such a type.
fn is_named_type(tokens: Tokens<'_, '_>) -> bool {
    match tokens {
        [name, colon, dtype, open, ..] => {
            let kinds = [colon.kind, dtype.kind, open.kind];
            kinds == [Kind::Punct(':'), Kind::Word, Kind::Punct('[')] && name.text != "input"
        }
        _ => false,
    }
}

/// Drops tokens until `stop` holds, or up to the end.
fn skip<'t, 'a>(mut tokens: Tokens<'t, 'a>, mut stop: impl FnMut(Tokens<'t, 'a>) -> bool) -> Tokens<'t, 'a> {
    while tokens[0].kind != Kind::End && !stop(tokens) {
        tokens = &tokens[1..];
    }
    tokens
}

/// The mistake of finding the first of `tokens`; with nothing found where the lexer has reported it already.
fn unexpected(tokens: Tokens<'_, '_>, expected: &'static str) -> SyntaxError {
    let token = tokens[0];
    let found = match token.kind {
        Kind::Bad => String::new(),
        Kind::End => "the end of the text".to_owned(),
        _ => format!("`{}`", token.text.chars().take(40).collect::<String>()),
    };
    let help = match token.kind {
        Kind::Punct('=') => Some("fields are written `name: value`".to_owned()),
        Kind::Punct(';') => Some("fields are separated by commas".to_owned()),
        _ => None,
    };
    SyntaxError::Expected { expected, found, span: token.span, help }
}

fn fail<'t, 'a, T>(tokens: Tokens<'t, 'a>, expected: &'static str) -> Parsed<'t, 'a, T> {
    Err(nom::Err::Error(unexpected(tokens, expected)))
}

/// That punctuation character.
fn punct<'t, 'a: 't>(c: char, expected: &'static str) -> impl Fn(Tokens<'t, 'a>) -> Parsed<'t, 'a, Span> {
    move |tokens| {
        if tokens[0].kind == Kind::Punct(c) { Ok((&tokens[1..], tokens[0].span)) } else { fail(tokens, expected) }
    }
}

/// A value in which `depth` brackets may stand inside one another.
fn value<'t, 'a: 't>(depth: usize) -> impl Fn(Tokens<'t, 'a>) -> Parsed<'t, 'a, Value> {
    move |tokens| {
        let first = tokens[0];
        match first.kind {
            Kind::Number | Kind::Punct('-') => number_or_range(tokens),
            Kind::Punct('(') => bracketed(depth, ')', ValueKind::Tuple)(tokens),
            Kind::Punct('[') => bracketed(depth, ']', ValueKind::List)(tokens),
            Kind::Word => match tokens[1].kind {
                Kind::Punct('(') => {
                    let name = word(first);
                    let (rest, args) =
                        bracketed(depth, ')', move |args| ValueKind::Call(name.clone(), args))(&tokens[1..])?;
                    Ok((rest, Value { span: first.span.to(args.span), ..args }))
                }
                Kind::Punct('[') => tensor(depth, tokens),
                _ => Ok((&tokens[1..], Value { kind: ValueKind::Word(first.text.to_owned()), span: first.span })),
            },
            _ => fail(tokens, "a value"),
        }
    }
}

/// `f32[…] @ nchw`.
fn tensor<'t, 'a: 't>(depth: usize, tokens: Tokens<'t, 'a>) -> Parsed<'t, 'a, Value> {
    let dtype = word(tokens[0]);
    let (rest, list) = bracketed(depth, ']', ValueKind::List)(&tokens[1..])?;
    let ValueKind::List(dims) = list.kind else { return fail(tokens, "a tensor type") };
    let (rest, layout) = match (rest[0].kind, rest.get(1)) {
        (Kind::Punct('@'), Some(token)) if token.kind == Kind::Word => (&rest[2..], Some(word(*token))),
        (Kind::Punct('@'), Some(_)) => return fail(&rest[1..], "a layout such as `nchw`"),
        _ => (rest, None),
    };
    let span = dtype.span.to(layout.as_ref().map_or(list.span, |l| l.span));
    Ok((rest, Value { kind: ValueKind::Tensor { dtype, dims, layout }, span }))
}

/// Items between brackets, separated by commas; `tokens` begins with the opening bracket.
fn bracketed<'t, 'a: 't>(
    depth: usize,
    close: char,
    make: impl Fn(Vec<Value>) -> ValueKind,
) -> impl Fn(Tokens<'t, 'a>) -> Parsed<'t, 'a, Value> {
    move |tokens| {
        let open = tokens[0];
        if depth == 0 {
            return Err(nom::Err::Failure(SyntaxError::TooDeep { limit: MAX_DEPTH, span: open.span }));
        }
        let mut rest = &tokens[1..];
        let mut items = Vec::new();
        while rest[0].kind != Kind::Punct(close) {
            still_open(open, close, rest)?;
            let (after, item) = item(depth - 1)(rest)?;
            items.push(item);
            rest = match after[0].kind {
                Kind::Punct(',') => &after[1..],
                Kind::Punct(c) if c == close => after,
                _ => {
                    still_open(open, close, after)?;
                    return fail(after, if close == ')' { "`,` or `)`" } else { "`,` or `]`" });
                }
            };
        }
        Ok((&rest[1..], Value { kind: make(items), span: open.span.to(rest[0].span) }))
    }
}

/// Fails where a bracket must have been forgotten: at a field, a layer, a closing brace, or the end.
fn still_open(open: Token<'_>, close: char, rest: Tokens<'_, '_>) -> Result<(), nom::Err<SyntaxError>> {
    if begins_field(rest) && !is_named_type(rest)
        || begins_layer(rest)
        || matches!(rest[0].kind, Kind::End | Kind::Punct('}'))
    {
        let open_char = if close == ')' { '(' } else { '[' };
        let (span, end) = (open.span, rest[0].span);
        return Err(nom::Err::Failure(SyntaxError::Unclosed { open: open_char, close, span, end }));
    }
    Ok(())
}

/// A value, or `name: value`.
fn item<'t, 'a: 't>(depth: usize) -> impl Fn(Tokens<'t, 'a>) -> Parsed<'t, 'a, Value> {
    move |tokens| {
        if tokens[0].kind != Kind::Word || tokens[1].kind != Kind::Punct(':') {
            return value(depth)(tokens);
        }
        let name = word(tokens[0]);
        let (rest, value) = value(depth)(&tokens[2..])?;
        let span = name.span.to(value.span);
        Ok((rest, Value { kind: ValueKind::Pair(name, Box::new(value)), span }))
    }
}

fn number_or_range<'t, 'a: 't>(tokens: Tokens<'t, 'a>) -> Parsed<'t, 'a, Value> {
    let (rest, lo) = signed(tokens)?;
    if rest[0].kind != Kind::DotDot {
        return Ok((rest, lo));
    }
    let (rest, hi) = signed(&rest[1..])?;
    let span = lo.span.to(hi.span);
    Ok((rest, Value { kind: ValueKind::Range(Box::new(lo), Box::new(hi)), span }))
}

/// A number with or without a minus sign.
fn signed<'t, 'a: 't>(tokens: Tokens<'t, 'a>) -> Parsed<'t, 'a, Value> {
    let negative = tokens[0].kind == Kind::Punct('-');
    let rest = if negative { &tokens[1..] } else { tokens };
    if rest[0].kind != Kind::Number {
        return fail(rest, "a number");
    }
    let kind = match number::read(rest[0]).map_err(nom::Err::Failure)? {
        ValueKind::Int(n) if negative => ValueKind::Int(-n),
        ValueKind::Float(x) if negative => ValueKind::Float(-x),
        ValueKind::Sizes(_) if negative => return fail(rest, "a number"),
        kind => kind,
    };
    Ok((&rest[1..], Value { kind, span: tokens[0].span.to(rest[0].span) }))
}
