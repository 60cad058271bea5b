//! The tree of a network to a [`NetworkSpec`].

use std::collections::HashMap;

use super::error::{NetworkError, Refusal};
use super::{BatchNorm, NETWORK_FIELDS, NETWORK_KINDS, NetworkSpec, TensorShape, Value};
use crate::diagnostic::Diagnostic;
use crate::front::ast::{self, Field, File, Item, Layer, ValueKind};
use crate::span::{Span, Spanned};
use crate::spec::error::SpecError;
use crate::spec::fields::{Names, Reader};
use crate::spec::layer::{check_name, read_input};
use crate::spec::{Limits, Operation};

/// The networks of a file, in order, where names of sizes stand for the numbers in `sizes`.
///
/// # Errors
/// Everything that makes a network illegal, in the order of the text.
pub fn validate(file: &File, limits: &Limits, sizes: &[(&str, usize)]) -> Result<Vec<NetworkSpec>, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let of_layers = file.layers.iter().map(|layer| (layer.name.value.as_str(), layer.name.span));
    let mut names: HashMap<&str, Span> = of_layers.collect();
    let networks: Vec<_> = file
        .networks
        .iter()
        .filter_map(|network| {
            let name = &network.name;
            if let Some(&first) = names.get(name.value.as_str()).filter(|_| !name.value.is_empty()) {
                errors.push(NetworkError::Duplicate { name: name.clone(), first }.diagnostic());
            }
            names.insert(&name.value, name.span);
            read(network, limits, Names::Numbers(sizes), &mut errors)
        })
        .collect();
    if errors.is_empty() { Ok(networks) } else { Err(errors) }
}

/// Refuses the networks of a file that may have none.
pub(in crate::spec) fn refuse(file: &File) -> Vec<Diagnostic> {
    file.networks.iter().map(|n| NetworkError::NotHere { network: n.name.clone() }.diagnostic()).collect()
}

fn read(
    network: &ast::Network,
    limits: &Limits,
    sizes: Names<'_>,
    errors: &mut Vec<Diagnostic>,
) -> Option<NetworkSpec> {
    let before = errors.len();
    let mut graph = Graph {
        limits,
        sizes,
        errors,
        places: HashMap::new(),
        spans: Vec::new(),
        all: network
            .items
            .iter()
            .filter_map(|item| if let Item::Layer(layer) = item { Some(&layer.name) } else { None })
            .collect(),
        norm_names: HashMap::new(),
        norms: Vec::new(),
        out: NetworkSpec {
            name: network.name.value.clone(),
            values: vec![],
            inputs: 0,
            nodes: vec![],
            outputs: vec![],
            preprocess: vec![],
        },
    };
    graph.name(&network.name);
    let fields = graph.fields(network);
    match (fields.get("input"), fields.get("inputs")) {
        (Some(field), None) => graph.input(&Spanned::new("input".to_owned(), field.name.span), &field.value),
        (None, Some(field)) => graph.inputs(field),
        (Some(one), Some(many)) => {
            let (field, span, first) = ("inputs".to_owned(), many.name.span, one.name.span);
            graph.error(NetworkError::Twice { field, span, first });
        }
        (None, None) if network.closed => {
            let (field, example) = ("input", "f32[1, 3, 224, 224]");
            graph.error(NetworkError::Missing { field, example, network: network.name.clone() });
        }
        (None, None) => {}
    }
    graph.out.inputs = graph.out.values.len();
    if let Some(field) = fields.get("preprocess") {
        graph.preprocess(field);
    }
    let mut whole = graph.out.inputs > 0 && graph.errors.len() == before;
    for item in &network.items {
        // Behind a layer that cannot be read, or that is too large, there is nothing to say of those that use it.
        let Item::Layer(layer) = item else { continue };
        whole = whole && graph.layer(layer).is_some() && graph.errors.len() == before;
    }
    if whole {
        graph.outputs(network, &fields);
    }
    let out = graph.out;
    (errors.len() == before).then_some(out)
}

/// A network that is being read.
pub(super) struct Graph<'a> {
    pub(super) limits: &'a Limits,
    pub(super) sizes: Names<'a>,
    errors: &'a mut Vec<Diagnostic>,
    /// Where among the values each name is.
    places: HashMap<String, usize>,
    /// Where each value was named.
    spans: Vec<Span>,
    /// The names of all layers of the text.
    all: Vec<&'a Spanned<String>>,
    /// Where each name of a step `batch_norm` was given.
    norm_names: HashMap<String, Span>,
    /// Those of the layer that is being read.
    pub(super) norms: Vec<BatchNorm>,
    pub(super) out: NetworkSpec,
}

impl Graph<'_> {
    pub(super) fn error(&mut self, error: NetworkError) {
        self.errors.push(error.diagnostic());
    }

    pub(super) fn report<T>(&mut self, error: NetworkError) -> Option<T> {
        self.error(error);
        None
    }

    pub(super) fn refuse<T>(&mut self, why: Refusal, span: Span) -> Option<T> {
        self.report(NetworkError::Refused { why, span })
    }

    pub(super) fn spec_errors(&mut self, errors: &[SpecError]) {
        self.errors.extend(errors.iter().map(SpecError::diagnostic));
    }

    /// Refuses names that Rust keeps for itself.
    pub(super) fn name(&mut self, name: &Spanned<String>) {
        let mut errors = Vec::new();
        check_name(name, &mut errors);
        self.spec_errors(&errors);
    }

    /// The fields that networks have, each once.
    fn fields<'n>(&mut self, network: &'n ast::Network) -> HashMap<&'n str, &'n Field> {
        let mut fields: HashMap<&str, &Field> = HashMap::new();
        for item in &network.items {
            let Item::Field(field) = item else { continue };
            let name = field.name.value.as_str();
            if !NETWORK_FIELDS.contains(&name) {
                self.error(NetworkError::UnknownField { name: field.name.clone() });
            } else if let Some(first) = fields.get(name) {
                let (span, first) = (field.name.span, first.name.span);
                self.error(NetworkError::Twice { field: name.to_owned(), span, first });
            } else {
                fields.insert(name, field);
            }
        }
        fields
    }

    /// `[left: f32[…], right: f32[…]]`.
    fn inputs(&mut self, field: &Field) {
        let expected = "named types: `[left: f32[1, 3, 8, 8], right: f32[1, 3, 8, 8]]`";
        let ValueKind::List(items) = &field.value.kind else { return self.form("inputs", expected, &field.value) };
        for item in items {
            match &item.kind {
                ValueKind::Pair(name, value) => self.input(name, value),
                _ => self.form("inputs", expected, item),
            }
        }
    }

    pub(super) fn form(&mut self, field: &str, expected: &'static str, value: &ast::Value) {
        if value.kind != ValueKind::Unreadable {
            let (field, found, span) = (field.to_owned(), value.form(), value.span);
            self.error(NetworkError::Form { field, expected, found, span });
        }
    }

    fn input(&mut self, name: &Spanned<String>, value: &ast::Value) {
        let Some(shape) = self.tensor_type(value) else { return };
        if shape.storage.is_narrow() {
            return self.error(NetworkError::Refused { why: Refusal::Integers, span: value.span });
        }
        let is_like = |first: &Value| first.shape.storage == shape.storage && first.shape.batch == shape.batch;
        if !self.out.values.first().is_none_or(is_like) {
            return self.error(NetworkError::Refused { why: Refusal::Unlike, span: value.span });
        }
        self.name(name);
        self.value(name, shape);
    }

    /// `f32[1, 3, 224, 224] @ nchw`, or `f32[1, 64]`.
    pub(super) fn tensor_type(&mut self, value: &ast::Value) -> Option<TensorShape> {
        let ValueKind::Tensor { dtype, dims, layout } = &value.kind else {
            self.form("input", "a tensor type such as `f32[1, 3, 224, 224]`", value);
            return None;
        };
        let count = dims.len();
        let (mut typed, flat) = (value.clone(), count == 2);
        if flat {
            // A vector of channels is a signal of one element.
            let one = ast::Value { kind: ValueKind::Int(1), span: value.span };
            let dims = dims.iter().cloned().chain([one]).collect();
            typed.kind = ValueKind::Tensor { dtype: dtype.clone(), dims, layout: layout.clone() };
        }
        let rank = if flat { 1 } else { count.wrapping_sub(2) };
        if !(1..=3).contains(&rank) {
            return self.refuse(Refusal::Axes { count }, value.span);
        }
        let mut errors = Vec::new();
        let operation = Operation::MaxPool;
        let mut reader =
            Reader { operation, rank, kind: operation.kinds()[rank - 1], names: self.sizes, errors: &mut errors };
        let read = read_input(&mut reader, &typed);
        self.spec_errors(&errors);
        let input = read.filter(|_| errors.is_empty())?;
        let sizes = input.spatial?[3 - rank..].to_vec();
        let channels = input.channels.value;
        Some(TensorShape { storage: input.storage, batch: input.batch, channels, sizes, layout: input.layout })
    }

    /// Another value, and where it is.
    pub(super) fn value(&mut self, name: &Spanned<String>, shape: TensorShape) -> usize {
        let (bytes, limit) = (shape.bytes(), self.limits.tensor_bytes);
        if bytes > u128::from(limit) {
            self.error(NetworkError::TooLarge { bytes, limit, span: name.span });
        }
        let at = self.out.values.len();
        let of_value = self.places.get(&name.value).map(|&value| self.spans[value]);
        if let Some(first) = of_value.or(self.norm_names.get(&name.value).copied()) {
            self.error(NetworkError::Duplicate { name: name.clone(), first });
        }
        self.places.insert(name.value.clone(), at);
        self.spans.push(name.span);
        self.out.values.push(Value { name: name.value.clone(), shape });
        at
    }

    /// Takes a name for parameters that are no layer's.
    pub(super) fn norm_name(&mut self, name: &Spanned<String>) -> Option<()> {
        let of_value = self.places.get(&name.value).map(|&value| self.spans[value]);
        if let Some(first) = of_value.or(self.norm_names.get(&name.value).copied()) {
            return self.report(NetworkError::Duplicate { name: name.clone(), first });
        }
        self.norm_names.insert(name.value.clone(), name.span);
        Some(())
    }

    /// Where the value is that a word names.
    pub(super) fn named(&mut self, name: &Spanned<String>) -> Option<usize> {
        if let Some(&at) = self.places.get(&name.value) {
            return Some(at);
        }
        let later = self.all.iter().find(|layer| layer.value == name.value).map(|layer| layer.span);
        let known = self.out.values.iter().map(|value| value.name.clone()).collect();
        self.report(NetworkError::UnknownValue { name: name.clone(), known, later })
    }

    /// The value that `input` names, or the one before; and the span that stands for it.
    pub(super) fn source(&mut self, layer: &Layer) -> Option<(usize, Span)> {
        let Some(field) = layer.fields.iter().find(|field| field.name.value == "input") else {
            // Behind several inputs it is the last.
            return Some((self.out.values.len() - 1, layer.name.span));
        };
        match &field.value.kind {
            ValueKind::Word(word) => {
                let span = field.value.span;
                Some((self.named(&Spanned::new(word.clone(), span))?, span))
            }
            ValueKind::Tensor { .. } => self.refuse(Refusal::Type, field.value.span),
            _ => {
                self.form("input", "the name of a value", &field.value);
                None
            }
        }
    }

    /// The values that `inputs: [a, b]` names.
    pub(super) fn sources(&mut self, layer: &Layer) -> Option<Vec<(usize, Span)>> {
        let Some(field) = layer.fields.iter().find(|field| field.name.value == "inputs") else {
            let (kind, found, span) = (self.kind(layer), 0, layer.name.span);
            return self.report(NetworkError::Count { kind, expected: "two or more", found, span });
        };
        let expected = "names of values in brackets";
        let ValueKind::List(items) = &field.value.kind else {
            self.form("inputs", expected, &field.value);
            return None;
        };
        let mut sources = Vec::new();
        for item in items {
            let ValueKind::Word(word) = &item.kind else {
                self.form("inputs", expected, item);
                return None;
            };
            sources.push((self.named(&Spanned::new(word.clone(), item.span))?, item.span));
        }
        let is_pair = ["add", "mul", "matmul"].contains(&self.kind(layer));
        if sources.len() < 2 || is_pair && sources.len() > 2 {
            let expected = if is_pair { "two" } else { "two or more" };
            let (kind, found, span) = (self.kind(layer), sources.len(), field.value.span);
            return self.report(NetworkError::Count { kind, expected, found, span });
        }
        Some(sources)
    }

    pub(super) fn kind(&self, layer: &Layer) -> &'static str {
        NETWORK_KINDS.into_iter().find(|kind| *kind == layer.kind.value).unwrap_or_default()
    }

    /// What a run gives: what the text says, or what the last layer makes.
    fn outputs(&mut self, network: &ast::Network, fields: &HashMap<&str, &Field>) {
        if self.out.nodes.is_empty() {
            return self.error(NetworkError::Empty { network: network.name.clone() });
        }
        let last = self.out.values.len() - 1;
        let expected = "the name of a value, or names in brackets";
        let (field, items) = match (fields.get("output"), fields.get("outputs")) {
            (None, None) => return self.out.outputs.push(last),
            (Some(one), Some(many)) => {
                let (field, span, first) = ("outputs".to_owned(), many.name.span, one.name.span);
                return self.error(NetworkError::Twice { field, span, first });
            }
            (Some(field), None) => (field, std::slice::from_ref(&field.value)),
            (None, Some(field)) => match &field.value.kind {
                ValueKind::List(items) if !items.is_empty() => (field, items.as_slice()),
                _ => return self.form("outputs", expected, &field.value),
            },
        };
        for item in items {
            let ValueKind::Word(word) = &item.kind else { return self.form(&field.name.value, expected, item) };
            if let Some(at) = self.named(&Spanned::new(word.clone(), item.span)) {
                self.out.outputs.push(at);
            }
        }
    }
}
