//! The syntax tree: what was written, where, and nothing about what it means.

use crate::span::{Span, Spanned};
use std::fmt;

/// A source text.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// The layers that are no network's, in the order of the text.
    pub layers: Vec<Layer>,
    /// The networks, in the order of the text.
    pub networks: Vec<Network>,
    /// The comments, in the order of the text; those inside a layer too.
    pub comments: Vec<Comment>,
}

/// `network name { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The network's name; empty only where the parser went on after a missing one.
    pub name: Spanned<String>,
    /// What stands between the braces.
    pub items: Vec<Item>,
    /// From `network` to the closing brace.
    pub span: Span,
    /// Whether there is a closing brace.
    pub closed: bool,
}

/// A part of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `input: f32[1, 3, 8, 8]`.
    Field(Field),
    /// `conv2d name { … }`.
    Layer(Layer),
}

/// `// …` up to the end of the line, or `/* … */`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// With its slashes, without the end of the line.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// `conv2d name { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// `conv2d`, or whatever stands in its place.
    pub kind: Spanned<String>,
    /// The layer's name; empty only where the parser went on after a missing one.
    pub name: Spanned<String>,
    /// The fields as written, repeated ones too.
    pub fields: Vec<Field>,
    /// From the kind to the closing brace.
    pub span: Span,
    /// Whether there is a closing brace; false only where the parser went on without it.
    pub closed: bool,
}

/// `name: value`, or `name { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// What stands before the colon.
    pub name: Spanned<String>,
    /// What stands after it.
    pub value: Value,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What was written.
    pub kind: ValueKind,
    /// Where.
    pub span: Span,
}

/// The forms of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueKind {
    /// `3`, `-3`; any `u64` or its negative.
    Int(i128),
    /// `0.1`, `-1e-3`.
    Float(f64),
    /// `7x7`, at least two numbers.
    Sizes(Vec<Spanned<u64>>),
    /// `relu`.
    Word(String),
    /// `lo..hi`; both are `Int` or `Float`.
    Range(Box<Value>, Box<Value>),
    /// `(1, 2)`.
    Tuple(Vec<Value>),
    /// `[relu, tanh]`.
    List(Vec<Value>),
    /// `oh: 4`, inside brackets.
    Pair(Spanned<String>, Box<Value>),
    /// `clamp(0, 6)`.
    Call(Spanned<String>, Vec<Value>),
    /// `f32[1, 3, 8, 8] @ nchw`.
    Tensor {
        /// `f32`.
        dtype: Spanned<String>,
        /// The sizes.
        dims: Vec<Value>,
        /// What stands after the `@`.
        layout: Option<Spanned<String>>,
    },
    /// `{ tile: 6x2 }`.
    Block(Vec<Field>),
    /// Something that the parser could not read; it has reported it.
    Unreadable,
}

impl Layer {
    /// The field of that name, if there is one.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.value == name)
    }
}

impl Value {
    /// What form it has, for messages: "a number", "a list".
    pub fn form(&self) -> &'static str {
        match &self.kind {
            ValueKind::Int(_) | ValueKind::Float(_) => "a number",
            ValueKind::Sizes(_) => "sizes",
            ValueKind::Word(_) => "a word",
            ValueKind::Range(..) => "a pair lo..hi",
            ValueKind::Tuple(_) => "a list in parentheses",
            ValueKind::List(_) => "a list in brackets",
            ValueKind::Pair(..) => "a `name: value` pair",
            ValueKind::Call(..) => "a word with arguments",
            ValueKind::Tensor { .. } => "a tensor type",
            ValueKind::Block(_) => "a block in braces",
            ValueKind::Unreadable => "something unreadable",
        }
    }
}

impl fmt::Display for File {
    /// The tree as indented text, a node a line, each with the bytes it spans: `(layer 0..20 conv2d "name" …)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for comment in &self.comments {
            writeln!(f, "(comment {} {:?})", At(comment.span), comment.text)?;
        }
        for layer in &self.layers {
            write_layer(f, layer, 0)?;
            writeln!(f)?;
        }
        for network in &self.networks {
            write!(f, "(network {} (name {} {})", At(network.span), At(network.name.span), network.name.value)?;
            for item in &network.items {
                match item {
                    Item::Field(field) => write_fields(f, std::slice::from_ref(field), 1)?,
                    Item::Layer(layer) => {
                        write!(f, "\n  ")?;
                        write_layer(f, layer, 1)?;
                    }
                }
            }
            writeln!(f, ")")?;
        }
        Ok(())
    }
}

fn write_layer(f: &mut fmt::Formatter<'_>, layer: &Layer, depth: usize) -> fmt::Result {
    write!(f, "(layer {} ", At(layer.span))?;
    write!(f, "(kind {} {})", At(layer.kind.span), layer.kind.value)?;
    write!(f, " (name {} {})", At(layer.name.span), layer.name.value)?;
    write_fields(f, &layer.fields, depth + 1)?;
    write!(f, ")")
}

fn write_fields(f: &mut fmt::Formatter<'_>, fields: &[Field], depth: usize) -> fmt::Result {
    for field in fields {
        write!(f, "\n{:indent$}(field {} {} ", "", At(field.name.span), field.name.value, indent = depth * 2)?;
        match &field.value.kind {
            ValueKind::Block(inner) => {
                write!(f, "(block {}", At(field.value.span))?;
                write_fields(f, inner, depth + 1)?;
                write!(f, ")")?;
            }
            _ => write!(f, "{}", field.value)?,
        }
        write!(f, ")")?;
    }
    Ok(())
}

impl fmt::Display for Value {
    /// The value as one line: `(tuple 3..9 (int 4..5 1) (int 7..8 2))`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = At(self.span);
        let (head, items): (String, Vec<&Value>) = match &self.kind {
            ValueKind::Int(n) => return write!(f, "(int {at} {n})"),
            ValueKind::Float(x) => return write!(f, "(float {at} {x:?})"),
            ValueKind::Word(word) => return write!(f, "(word {at} {word})"),
            ValueKind::Unreadable => return write!(f, "(unreadable {at})"),
            ValueKind::Sizes(sizes) => {
                write!(f, "(sizes {at}")?;
                for size in sizes {
                    write!(f, " (int {} {})", At(size.span), size.value)?;
                }
                return write!(f, ")");
            }
            ValueKind::Block(fields) => {
                write!(f, "(block {at}")?;
                write_fields(f, fields, 2)?;
                return write!(f, ")");
            }
            ValueKind::Range(lo, hi) => (format!("range {at}"), vec![lo, hi]),
            ValueKind::Tuple(items) => (format!("tuple {at}"), items.iter().collect()),
            ValueKind::List(items) => (format!("list {at}"), items.iter().collect()),
            ValueKind::Pair(name, value) => (format!("pair {at} {}", name.value), vec![value]),
            ValueKind::Call(name, args) => (format!("call {at} {}", name.value), args.iter().collect()),
            ValueKind::Tensor { dtype, dims, layout } => {
                let layout = layout.as_ref().map_or(String::new(), |l| format!(" @ {}", l.value));
                (format!("tensor {at} {}{layout}", dtype.value), dims.iter().collect())
            }
        };
        write!(f, "({head}")?;
        items.iter().try_for_each(|item| write!(f, " {item}"))?;
        write!(f, ")")
    }
}

/// A span as `start..end`.
struct At(Span);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.0.start, self.0.end)
    }
}
