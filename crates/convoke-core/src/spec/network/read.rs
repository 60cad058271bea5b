//! The tree of a network to a [`NetworkSpec`].

use std::collections::HashMap;

use super::error::{NetworkError, Refusal};
use super::{NETWORK_FIELDS, NETWORK_KINDS, NetworkSpec, Node, NodeKind, TensorShape, Value};
use crate::diagnostic::Diagnostic;
use crate::front::ast::{self, Field, File, Item, Layer, ValueKind};
use crate::span::{Span, Spanned};
use crate::spec::error::SpecError;
use crate::spec::fields::{Names, Reader};
use crate::spec::layer::{check_name, read_input, read_layer};
use crate::spec::{Batch, Epilogue, LayerSpec, Layout, Limits, Operation};

/// The fields of `linear`: those of a `conv1d` that say nothing of windows.
const LINEAR_FIELDS: [&str; 8] = ["input", "out_channels", "groups", "bias", "weights", "then", "accuracy", "schedule"];

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
        out: NetworkSpec {
            name: network.name.value.clone(),
            values: vec![],
            inputs: 0,
            nodes: vec![],
            outputs: vec![],
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

struct Graph<'a> {
    limits: &'a Limits,
    sizes: Names<'a>,
    errors: &'a mut Vec<Diagnostic>,
    /// Where among the values each name is.
    places: HashMap<String, usize>,
    /// Where each value was named.
    spans: Vec<Span>,
    /// The names of all layers of the text.
    all: Vec<&'a Spanned<String>>,
    out: NetworkSpec,
}

impl Graph<'_> {
    fn error(&mut self, error: NetworkError) {
        self.errors.push(error.diagnostic());
    }

    fn report<T>(&mut self, error: NetworkError) -> Option<T> {
        self.error(error);
        None
    }

    fn refuse<T>(&mut self, why: Refusal, span: Span) -> Option<T> {
        self.report(NetworkError::Refused { why, span })
    }

    fn spec_errors(&mut self, errors: &[SpecError]) {
        self.errors.extend(errors.iter().map(SpecError::diagnostic));
    }

    /// Refuses names that Rust keeps for itself.
    fn name(&mut self, name: &Spanned<String>) {
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

    fn form(&mut self, field: &str, expected: &'static str, value: &ast::Value) {
        if value.kind != ValueKind::Unreadable {
            let (field, found, span) = (field.to_owned(), value.form(), value.span);
            self.error(NetworkError::Form { field, expected, found, span });
        }
    }

    fn input(&mut self, name: &Spanned<String>, value: &ast::Value) {
        let ValueKind::Tensor { dtype, dims, layout } = &value.kind else {
            return self.form("input", "a tensor type such as `f32[1, 3, 224, 224]`", value);
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
            return self.error(NetworkError::Refused { why: Refusal::Axes { count }, span: value.span });
        }
        let mut errors = Vec::new();
        let operation = Operation::MaxPool;
        let mut reader =
            Reader { operation, rank, kind: operation.kinds()[rank - 1], names: self.sizes, errors: &mut errors };
        let read = read_input(&mut reader, &typed);
        self.spec_errors(&errors);
        if let Some(input) = read.filter(|_| errors.is_empty())
            && let Some(spatial) = input.spatial
        {
            let sizes = spatial[3 - rank..].to_vec();
            let channels = input.channels.value;
            let shape =
                TensorShape { storage: input.storage, batch: input.batch, channels, sizes, layout: input.layout };
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
    }

    /// Another value, and where it is.
    fn value(&mut self, name: &Spanned<String>, shape: TensorShape) -> usize {
        let (bytes, limit) = (shape.bytes(), self.limits.tensor_bytes);
        if bytes > u128::from(limit) {
            self.error(NetworkError::TooLarge { bytes, limit, span: name.span });
        }
        let at = self.out.values.len();
        if let Some(&first) = self.places.get(&name.value) {
            let first = self.spans[first];
            self.error(NetworkError::Duplicate { name: name.clone(), first });
        }
        self.places.insert(name.value.clone(), at);
        self.spans.push(name.span);
        self.out.values.push(Value { name: name.value.clone(), shape });
        at
    }

    /// Where the value is that a word names.
    fn named(&mut self, name: &Spanned<String>) -> Option<usize> {
        if let Some(&at) = self.places.get(&name.value) {
            return Some(at);
        }
        let later = self.all.iter().find(|layer| layer.value == name.value).map(|layer| layer.span);
        let known = self.out.values.iter().map(|value| value.name.clone()).collect();
        self.report(NetworkError::UnknownValue { name: name.clone(), known, later })
    }

    /// The value that `input` names, or the one before; and the span that stands for it.
    fn source(&mut self, layer: &Layer) -> Option<(usize, Span)> {
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
    fn sources(&mut self, layer: &Layer) -> Option<Vec<(usize, Span)>> {
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
        let is_pair = self.kind(layer) == "add";
        if sources.len() < 2 || is_pair && sources.len() > 2 {
            let expected = if is_pair { "two" } else { "two or more" };
            let (kind, found, span) = (self.kind(layer), sources.len(), field.value.span);
            return self.report(NetworkError::Count { kind, expected, found, span });
        }
        Some(sources)
    }

    fn kind(&self, layer: &Layer) -> &'static str {
        NETWORK_KINDS.into_iter().find(|kind| *kind == layer.kind.value).unwrap_or_default()
    }

    /// Reads a layer and what it makes.
    fn layer(&mut self, layer: &Layer) -> Option<()> {
        let shape_of = |graph: &Self, at: usize| graph.out.values[at].shape.clone();
        let (kind, inputs, shape) = match layer.kind.value.as_str() {
            "concat" => {
                self.only(layer, &["inputs"])?;
                let sources = self.sources(layer)?;
                let shape = self.concat(&sources)?;
                (NodeKind::Concat, sources.into_iter().map(|source| source.0).collect(), shape)
            }
            "slice" => {
                self.only(layer, &["input", "channels"])?;
                let (from, _) = self.source(layer)?;
                let (start, shape) = self.slice(layer, shape_of(self, from))?;
                (NodeKind::Slice { start }, vec![from], shape)
            }
            "flatten" => {
                self.only(layer, &["input"])?;
                let (from, span) = self.source(layer)?;
                (NodeKind::Flatten, vec![from], self.flat(shape_of(self, from), span)?)
            }
            "linear" => {
                self.only(layer, &LINEAR_FIELDS)?;
                let (from, span) = self.source(layer)?;
                let shape = shape_of(self, from);
                if shape.pixels() != 1 {
                    return self.refuse(Refusal::LinearOfPixels { pixels: shape.pixels() }, span);
                }
                let shape = self.flat(shape, span)?;
                let (spec, residual) = self.compute(layer, "conv1d", &shape, span, &["kernel_size"])?;
                let dst = TensorShape::of_dst(&spec);
                (NodeKind::Linear(spec), [from].into_iter().chain(residual).collect(), dst)
            }
            "elementwise" => {
                self.only(layer, &["input", "then"])?;
                let (from, span) = self.source(layer)?;
                let shape = shape_of(self, from);
                let (spec, residual) = self.compute(layer, max_pool(&shape), &shape, span, &["kernel_size"])?;
                let dst = TensorShape::of_dst(&spec);
                (NodeKind::Elementwise(spec), [from].into_iter().chain(residual).collect(), dst)
            }
            "add" => {
                self.only(layer, &["inputs", "then"])?;
                let [(from, span), (more, more_span)] = self.sources(layer)?[..] else { return None };
                let shape = shape_of(self, from);
                self.same(&shape, &shape_of(self, more), more_span)?;
                let (mut spec, residual) = self.compute(layer, max_pool(&shape), &shape, span, &["kernel_size"])?;
                if residual.is_some() {
                    return self.refuse(Refusal::BareResidual, layer.name.span);
                }
                spec.then.insert(0, Epilogue::Residual);
                let dst = TensorShape::of_dst(&spec);
                (NodeKind::Add(spec), vec![from, more], dst)
            }
            kind => {
                let (from, span) = self.source(layer)?;
                let shape = shape_of(self, from);
                let (spec, residual) = self.compute(layer, kind, &shape, span, &[])?;
                if spec.is_deformable() || spec.takes_indices() || spec.return_indices || spec.complex {
                    return self.refuse(Refusal::Kind, layer.kind.span);
                }
                let dst = TensorShape::of_dst(&spec);
                (NodeKind::Layer(spec), [from].into_iter().chain(residual).collect(), dst)
            }
        };
        self.name(&layer.name);
        let output = self.value(&layer.name, shape);
        self.out.nodes.push(Node { name: layer.name.value.clone(), kind, inputs, output });
        Some(())
    }

    /// Refuses fields that are not among `known`.
    fn only(&mut self, layer: &Layer, known: &'static [&'static str]) -> Option<()> {
        let other = layer.fields.iter().find(|field| !known.contains(&field.name.value.as_str()));
        let Some(field) = other else { return Some(()) };
        let (kind, layer, name) = (layer.kind.value.clone(), layer.name.value.clone(), field.name.clone());
        self.report(NetworkError::LayerField { kind, layer, name, known })
    }

    /// Reads a layer as the one of its own of `kind` whose input has that shape, and which has windows of one element if `ones` says so; and the
    /// value that a step `residual(name)` adds.
    fn compute(
        &mut self,
        layer: &Layer,
        kind: &str,
        shape: &TensorShape,
        span: Span,
        ones: &[&str],
    ) -> Option<(Box<LayerSpec>, Option<usize>)> {
        let mut alone = layer.clone();
        alone.kind.value = kind.to_owned();
        alone.fields.retain(|field| !["input", "inputs"].contains(&field.name.value.as_str()));
        let mut residual = None;
        if let Some(then) = alone.fields.iter_mut().find(|field| field.name.value == "then") {
            residual = self.residual(&mut then.value)?;
        }
        let field = |name: &str, kind: ValueKind| Field {
            name: Spanned::new(name.to_owned(), span),
            value: ast::Value { kind, span },
        };
        alone.fields.insert(0, field("input", shape.as_type(span)));
        alone.fields.extend(ones.iter().map(|name| field(name, ValueKind::Int(1))));
        let mut errors = Vec::new();
        let spec = read_layer(&alone, self.limits, self.sizes, &mut errors);
        self.spec_errors(&errors);
        let spec = spec?;
        if let Some(more) = residual {
            let other = self.out.values[more].shape.clone();
            self.same(&TensorShape::of_dst(&spec), &other, layer.name.span)?;
        }
        Some((Box::new(spec), residual))
    }

    /// Takes the names out of `residual(name)`: the value of the last, if any. Several are left for the layer to refuse.
    fn residual(&mut self, then: &mut ast::Value) -> Option<Option<usize>> {
        let steps = match &mut then.kind {
            ValueKind::List(steps) => steps.as_mut_slice(),
            _ => std::slice::from_mut(then),
        };
        let mut residual = None;
        for step in steps {
            match &step.kind {
                ValueKind::Word(word) if word == "residual" => return self.refuse(Refusal::BareResidual, step.span),
                ValueKind::Call(name, arguments) if name.value == "residual" => {
                    let [ast::Value { kind: ValueKind::Word(word), span }] = &arguments[..] else {
                        return self.refuse(Refusal::BareResidual, step.span);
                    };
                    residual = Some(self.named(&Spanned::new(word.clone(), *span))?);
                    step.kind = ValueKind::Word(name.value.clone());
                }
                _ => {}
            }
        }
        Some(residual)
    }

    /// Refuses to add tensors that are not alike.
    fn same(&mut self, first: &TensorShape, second: &TensorShape, span: Span) -> Option<()> {
        if first == second {
            return Some(());
        }
        let (first, second) = (first.to_string(), second.to_string());
        self.report(NetworkError::Differ { what: "only tensors of one type can be added", first, second, span })
    }

    fn concat(&mut self, sources: &[(usize, Span)]) -> Option<TensorShape> {
        let mut shape = self.out.values[sources[0].0].shape.clone();
        let block = shape.layout.lanes(1, shape.dtype());
        for (i, &(at, span)) in sources.iter().enumerate() {
            let other = self.out.values[at].shape.clone();
            if i > 0 {
                let like = TensorShape { channels: other.channels, ..shape.clone() };
                if like != other {
                    let (first, second) = (shape.to_string(), other.to_string());
                    let what = "only tensors that differ in their channels alone can be joined";
                    return self.report(NetworkError::Differ { what, first, second, span });
                }
                shape.channels += other.channels;
            }
            if i + 1 < sources.len() && other.layout == Layout::Blocked && !other.channels.is_multiple_of(block) {
                return self.refuse(Refusal::Blocks, span);
            }
        }
        Some(shape)
    }

    /// All elements of an image as channels.
    fn flat(&mut self, shape: TensorShape, span: Span) -> Option<TensorShape> {
        // Blocks are in no order that another layout has, and what fills up the last is no channel.
        let whole = shape.pixels() == 1 && shape.channels.is_multiple_of(shape.dtype().block());
        if shape.layout == Layout::Blocked && !whole {
            return self.refuse(Refusal::Blocks, span);
        }
        let channels = shape.channels * shape.pixels();
        Some(TensorShape { channels, sizes: vec![1], layout: Layout::ChannelsFirst, ..shape })
    }

    /// The first channel, and what is left.
    fn slice(&mut self, layer: &Layer, shape: TensorShape) -> Option<(usize, TensorShape)> {
        let expected = "a range such as `0..16`";
        let Some(field) = layer.fields.iter().find(|field| field.name.value == "channels") else {
            return self.report(NetworkError::NoChannels { layer: layer.name.clone() });
        };
        let number =
            |value: &ast::Value| if let ValueKind::Int(n) = value.kind { usize::try_from(n).ok() } else { None };
        let (start, end) = match &field.value.kind {
            ValueKind::Range(lo, hi) => (number(lo), number(hi)),
            _ => (None, None),
        };
        let (Some(start), Some(end)) = (start, end) else {
            self.form("channels", expected, &field.value);
            return None;
        };
        let (channels, span) = (shape.channels, field.value.span);
        if start >= end || end > channels {
            return self.report(NetworkError::Slice { start, end, channels, span });
        }
        let block = shape.layout.lanes(1, shape.dtype());
        let is_whole = |channel: usize| channel.is_multiple_of(block) || channel == channels;
        if shape.layout == Layout::Blocked && !(is_whole(start) && is_whole(end)) {
            return self.refuse(Refusal::Blocks, span);
        }
        Some((start, TensorShape { channels: end - start, ..shape }))
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

/// `max_pool2d` for a value of two axes.
fn max_pool(shape: &TensorShape) -> &'static str {
    Operation::MaxPool.kinds()[shape.sizes.len() - 1]
}

impl TensorShape {
    /// As a tree, all of it at `span`.
    fn as_type(&self, span: Span) -> ValueKind {
        let number = |n: usize| ValueKind::Int(n as i128);
        let shape = self.layout.declared_shape(0, self.channels, &self.sizes);
        let batch = match &self.batch {
            Batch::Fixed(n) => number(*n),
            Batch::Named(name) => ValueKind::Word(name.clone()),
        };
        let dims = std::iter::once(batch).chain(shape[1..].iter().map(|&n| number(n)));
        let layout = self.layout.name(self.sizes.len(), self.dtype()).to_owned();
        ValueKind::Tensor {
            dtype: Spanned::new(self.storage.name().to_owned(), span),
            dims: dims.map(|kind| ast::Value { kind, span }).collect(),
            layout: Some(Spanned::new(layout, span)),
        }
    }
}
