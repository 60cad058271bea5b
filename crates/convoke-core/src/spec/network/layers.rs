//! The layers of a network that compute: what each is as a layer of its own.

use super::error::{NetworkError, Refusal};
use super::read::Graph;
use super::{Cell, Node, NodeKind, TensorShape};
use crate::front::ast::{self, Field, Layer, ValueKind};
use crate::span::{Span, Spanned};
use crate::spec::layer::read_layer;
use crate::spec::{Batch, Epilogue, LayerSpec, Layout, Operation};

/// The fields of `linear`: those of a `conv1d` that say nothing of windows.
const LINEAR_FIELDS: [&str; 8] = ["input", "out_channels", "groups", "bias", "weights", "then", "accuracy", "schedule"];

/// What a layer is, the values that it takes, and what it makes.
pub(super) type Made = (NodeKind, Vec<usize>, TensorShape);

impl Graph<'_> {
    /// Reads a layer and what it makes.
    pub(super) fn layer(&mut self, layer: &Layer) -> Option<()> {
        let (kind, inputs, shape) = match layer.kind.value.as_str() {
            "concat" => self.concat(layer)?,
            "slice" => self.slice(layer)?,
            "pad" => self.pad(layer)?,
            "transpose" => self.transpose(layer)?,
            "reorder" => self.reorder(layer)?,
            "resize" => self.resize(layer)?,
            "flatten" => self.flatten(layer)?,
            "reshape" => self.reshape(layer)?,
            "linear" => self.linear(layer)?,
            "elementwise" => self.elementwise(layer)?,
            "batch_norm" => self.batch_norm(layer)?,
            "add" => self.pair(layer, (Epilogue::Residual, Epilogue::Shift), NodeKind::Add)?,
            "mul" => self.pair(layer, (Epilogue::Multiply, Epilogue::Scale), NodeKind::Mul)?,
            "matmul" => self.matmul(layer)?,
            "lrn" => self.lrn(layer)?,
            "layer_norm" => self.layer_norm(layer)?,
            "group_norm" => self.group_norm(layer)?,
            "instance_norm" => self.instance_norm(layer)?,
            "quantize_dynamic" => self.quantize_dynamic(layer)?,
            "lstm" => self.recurrent(layer, Cell::Lstm)?,
            "gru" => self.recurrent(layer, Cell::Gru)?,
            kind => {
                let (from, span) = self.source(layer)?;
                let (spec, more) = self.compute(layer, kind, &self.shape(from), span, &[])?;
                if spec.is_deformable() || spec.takes_indices() || spec.return_indices || spec.complex {
                    return self.refuse(Refusal::Kind, layer.kind.span);
                }
                made(NodeKind::Layer, spec, [from].into_iter().chain(more).collect())
            }
        };
        self.name(&layer.name);
        let output = self.value(&layer.name, shape);
        let norms = std::mem::take(&mut self.norms);
        self.out.nodes.push(Node { name: layer.name.value.clone(), kind, inputs, output, norms });
        Some(())
    }

    pub(super) fn shape(&self, at: usize) -> TensorShape {
        self.out.values[at].shape.clone()
    }

    fn linear(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &LINEAR_FIELDS)?;
        let (from, span) = self.source(layer)?;
        let shape = self.shape(from);
        if shape.pixels() != 1 {
            return self.refuse(Refusal::LinearOfPixels { pixels: shape.pixels() }, span);
        }
        let shape = self.flat(shape, span)?;
        let (spec, more) = self.compute(layer, "conv1d", &shape, span, &["kernel_size"])?;
        Some(made(NodeKind::Linear, spec, [from].into_iter().chain(more).collect()))
    }

    fn elementwise(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "then"])?;
        let (from, span) = self.source(layer)?;
        let shape = self.shape(from);
        let (spec, more) = self.compute(layer, max_pool(&shape), &shape, span, &["kernel_size"])?;
        Some(made(NodeKind::Elementwise, spec, [from].into_iter().chain(more).collect()))
    }

    /// The steps behind the one that joins two values: that of elements, or that of numbers of channels.
    fn pair(
        &mut self,
        layer: &Layer,
        (of_elements, of_channels): (Epilogue, Epilogue),
        kind: fn(Box<LayerSpec>) -> NodeKind,
    ) -> Option<Made> {
        self.only(layer, &["inputs", "then"])?;
        let [(from, span), (second, second_span)] = self.sources(layer)?[..] else { return None };
        let (mut shape, other) = (self.shape(from), self.shape(second));
        let one_each = TensorShape { sizes: other.sizes.clone(), layout: other.layout, ..shape.clone() };
        let by_channel = shape != other && other == one_each && other.pixels() == 1;
        if by_channel {
            shape.batch = Batch::Fixed(1);
        } else {
            self.same(&shape, &other, second_span)?;
        }
        let (mut spec, more) = self.compute(layer, max_pool(&shape), &shape, span, &["kernel_size"])?;
        if !by_channel && more.is_some() || by_channel && spec.channel_steps().next().is_some() {
            return self.refuse(Refusal::PairSteps, layer.name.span);
        }
        spec.then.insert(0, if by_channel { of_channels } else { of_elements });
        self.norms.iter_mut().for_each(|norm| norm.step += 1);
        let (kind, inputs, dst) = made(kind, spec, [from, second].into_iter().chain(more).collect());
        Some((kind, inputs, TensorShape { batch: self.shape(from).batch, ..dst }))
    }

    /// `x / (k + alpha / size * (sum of squares of neighbours)) ^ beta`.
    fn lrn(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "size", "alpha", "beta", "k"])?;
        let (from, span) = self.source(layer)?;
        let shape = self.shape(from);
        if shape.layout == Layout::Blocked {
            return self.refuse(Refusal::Blocks, span);
        }
        let number = |name: &str, default: f64| match layer.fields.iter().find(|field| field.name.value == name) {
            None => Ok((default, layer.name.span)),
            Some(field) => match field.value.kind {
                ValueKind::Int(n) => Ok((n as f64, field.value.span)),
                ValueKind::Float(x) => Ok((x, field.value.span)),
                _ => Err(&field.value),
            },
        };
        let read = |graph: &mut Self, name: &'static str, default: f64| {
            number(name, default).map_err(|value| graph.form(name, "a number", value)).ok()
        };
        let (size, alpha) = (read(self, "size", 0.0)?, read(self, "alpha", 1e-4)?.0);
        let (beta, k) = (read(self, "beta", 0.75)?.0, read(self, "k", 1.0)?.0);
        if !(1.0..=1e6).contains(&size.0) || size.0.fract() != 0.0 {
            return self.refuse(Refusal::LrnSize { size: size.0 }, size.1);
        }
        let (behind, size) = (size.0 as i128 / 2, size.0 as i128);
        let before = size - 1 - behind;
        let at = |kind: ValueKind| ast::Value { kind, span: layer.name.span };
        let int = |n: i128| at(ValueKind::Int(n));
        let sides = at(ValueKind::Range(Box::new(int(before)), Box::new(int(behind))));
        let last = shape.layout == Layout::ChannelsLast;
        let order = |channels: ast::Value, pixels: ast::Value| {
            at(ValueKind::Tuple(if last { vec![pixels, channels] } else { vec![channels, pixels] }))
        };
        let step = |name: &str, x: f64| {
            let number = at(ValueKind::Float(x));
            at(ValueKind::Call(Spanned::new(name.to_owned(), layer.name.span), vec![number]))
        };
        let steps = vec![step("pow", 2.0), step("mul", alpha / size as f64), step("add", k), step("pow", -beta)];
        let field =
            |name: &str, value: ast::Value| Field { name: Spanned::new(name.to_owned(), layer.name.span), value };
        let alone = Layer {
            fields: vec![
                field("kernel_size", order(int(size), int(1))),
                field("stride", int(1)),
                field("padding", order(sides, int(0))),
                field("p", int(2)),
                field("then", at(ValueKind::List(steps))),
            ],
            ..layer.clone()
        };
        let (channels, pixels) = (shape.channels, shape.pixels());
        let sizes = if last { vec![pixels, channels] } else { vec![channels, pixels] };
        let plane = TensorShape { channels: 1, sizes, layout: Layout::ChannelsFirst, ..shape.clone() };
        let (mut spec, _) = self.compute(&alone, Operation::LpPool.kinds()[1], &plane, span, &[])?;
        spec.then.push(Epilogue::Multiply);
        Some((NodeKind::Lrn { spec, alpha }, vec![from, from], shape))
    }

    /// Any value: elements that fill up a block are zeros, and stay so.
    fn quantize_dynamic(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input"])?;
        let (from, _) = self.source(layer)?;
        Some((NodeKind::QuantizeDynamic, vec![from], self.shape(from)))
    }

    /// Refuses fields that are not among `known`.
    pub(super) fn only(&mut self, layer: &Layer, known: &'static [&'static str]) -> Option<()> {
        let other = layer.fields.iter().find(|field| !known.contains(&field.name.value.as_str()));
        let Some(field) = other else { return Some(()) };
        let (kind, layer, name) = (layer.kind.value.clone(), layer.name.value.clone(), field.name.clone());
        self.report(NetworkError::LayerField { kind, layer, name, known })
    }

    /// Reads a layer as the one of its own of `kind` whose input has that shape, and which has windows of one element if `ones` says so; and the
    /// value that a step `residual(name)` or `multiply(name)` takes.
    pub(super) fn compute(
        &mut self,
        layer: &Layer,
        kind: &str,
        shape: &TensorShape,
        span: Span,
        ones: &[&str],
    ) -> Option<(Box<LayerSpec>, Option<usize>)> {
        let mut alone = layer.clone();
        let more = self.taken_by_steps(&mut alone)?;
        self.norms = self.norms_of_steps(&mut alone)?;
        let spec = self.alone(alone, kind, shape, span, ones)?;
        if let Some(more) = more {
            let own = TensorShape { batch: self.shape(more).batch, ..TensorShape::of_dst(&spec) };
            self.same(&own, &self.shape(more), layer.name.span)?;
        }
        Some((Box::new(spec), more))
    }

    /// Reads a layer so, whose steps take no names.
    pub(super) fn alone(
        &mut self,
        mut alone: Layer,
        kind: &str,
        shape: &TensorShape,
        span: Span,
        ones: &[&str],
    ) -> Option<LayerSpec> {
        alone.kind.value = kind.to_owned();
        alone.fields.retain(|field| !["input", "inputs"].contains(&field.name.value.as_str()));
        let field = |name: &str, kind: ValueKind| Field {
            name: Spanned::new(name.to_owned(), span),
            value: ast::Value { kind, span },
        };
        alone.fields.insert(0, field("input", shape.as_type(span)));
        alone.fields.extend(ones.iter().map(|name| field(name, ValueKind::Int(1))));
        let mut errors = Vec::new();
        let spec = read_layer(&alone, self.limits, self.sizes, &mut errors);
        self.spec_errors(&errors);
        spec
    }

    /// Takes the name out of the step of a layer that takes a value: which one, if any.
    pub(super) fn taken_by_steps(&mut self, layer: &mut Layer) -> Option<Option<usize>> {
        match layer.fields.iter_mut().find(|field| field.name.value == "then") {
            Some(then) => self.tensor_of_step(&mut then.value),
            None => Some(None),
        }
    }

    /// Takes the names out of `residual(name)` and `multiply(name)`: the value of the last, if any. Several are left for the layer to refuse.
    fn tensor_of_step(&mut self, then: &mut ast::Value) -> Option<Option<usize>> {
        let steps = match &mut then.kind {
            ValueKind::List(steps) => steps.as_mut_slice(),
            _ => std::slice::from_mut(then),
        };
        let takes_tensor = |word: &str| {
            [Epilogue::Residual, Epilogue::Multiply].into_iter().map(Epilogue::name).find(|name| *name == word)
        };
        let mut taken = None;
        for step in steps {
            let (word, arguments) = match &step.kind {
                ValueKind::Word(word) => (word, None),
                ValueKind::Call(name, arguments) => (&name.value, Some(arguments)),
                _ => continue,
            };
            let Some(name) = takes_tensor(word) else { continue };
            let Some([ast::Value { kind: ValueKind::Word(value), span }]) = arguments.map(Vec::as_slice) else {
                return self.refuse(Refusal::BareStep { step: name }, step.span);
            };
            taken = Some(self.named(&Spanned::new(value.clone(), *span))?);
            step.kind = ValueKind::Word(name.to_owned());
        }
        Some(taken)
    }

    /// Refuses to join tensors that are not alike.
    pub(super) fn same(&mut self, first: &TensorShape, second: &TensorShape, span: Span) -> Option<()> {
        if first == second {
            return Some(());
        }
        let (first, second) = (first.to_string(), second.to_string());
        self.report(NetworkError::Differ {
            what: "only tensors of one type can be added or multiplied",
            first,
            second,
            span,
        })
    }
}

fn made(kind: fn(Box<LayerSpec>) -> NodeKind, spec: Box<LayerSpec>, inputs: Vec<usize>) -> Made {
    let dst = TensorShape::of_dst(&spec);
    (kind(spec), inputs, dst)
}

/// `max_pool2d` for a value of two axes.
pub(super) fn max_pool(shape: &TensorShape) -> &'static str {
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
