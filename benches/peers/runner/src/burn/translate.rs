//! Convoke's description of a network as burn's operations.
//!
//! There are convolutions of one and two axes, maxima, averages, linear layers, sums and products, `lrn`, `concat`, `flatten`, `reshape` and
//! `transpose`, of `f32` with channels first. Anything else is a [`Skip`] that names the layer.

use std::collections::HashMap;

use burn::nn::LocalResponseNormConfig;
use burn::tensor::Device;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use convoke::{LayerSpec, NetworkSpec, Parameters, Storage};
use convoke_core::spec::{
    Batch, Divisor, Epilogue, Layout, Node, NodeKind, Operation as Kind, PaddingMode, Parameter, SpatialAxis,
    TensorShape, WeightsLayout,
};

use super::operations::{Operation, Shape, Source, Step, Then, Value, Windows, numbers};
use crate::protocol::{Result, Skip};

/// A step for each layer, with its parameters as burn's tensors.
pub(super) fn steps(spec: &NetworkSpec, parameters: &mut Parameters, device: &Device) -> Result<Vec<Step>> {
    if spec.inputs != 1 || spec.outputs.len() != 1 {
        let (inputs, outputs) = (spec.inputs, spec.outputs.len());
        return Err(
            Skip(format!("networks have one input and one output here, and this has {inputs} and {outputs}")).into()
        );
    }
    for value in &spec.values {
        check(&value.name, &value.shape)?;
    }
    // The step that takes a value last.
    let mut last: HashMap<usize, usize> = HashMap::new();
    for (at, node) in spec.nodes.iter().enumerate() {
        last.extend(node.inputs.iter().map(|&value| (value, at)));
    }
    last.remove(&spec.outputs[0]);
    let mut steps = Vec::new();
    for (at, node) in spec.nodes.iter().enumerate() {
        let mut layer = Layer { spec, node, parameters: &mut *parameters, device };
        let (operation, then) = (layer.operation()?, layer.then()?);
        // What `lrn` multiplies is its input, which burn does in one.
        let taken = node.residual().filter(|_| !matches!(node.kind, NodeKind::Lrn { .. }));
        let own = if matches!(node.kind, NodeKind::Concat { .. }) { node.inputs.len() } else { 1 };
        // Whatever is taken twice by one step is given away when it is taken the second time.
        let all: Vec<usize> = node.inputs[..own].iter().copied().chain(taken).collect();
        let mut sources: Vec<Source> = all
            .iter()
            .enumerate()
            .map(|(nth, &value)| Source {
                value,
                last: last.get(&value) == Some(&at) && !all[nth + 1..].contains(&value),
            })
            .collect();
        let residual = taken.and_then(|_| sources.pop());
        steps.push(Step { operation, then, inputs: sources, residual, output: node.output });
    }
    Ok(steps)
}

/// Refuses values that are not translated.
fn check(name: &str, shape: &TensorShape) -> Result<()> {
    let storage = shape.storage.name();
    let why = if shape.storage != Storage::F32 {
        format!("elements of {storage}; those of f32 are")
    } else if shape.layout != Layout::ChannelsFirst {
        format!("the layout {}; channels come first here", shape.layout.name(shape.sizes.len(), shape.dtype()))
    } else if shape.sizes.len() > 2 {
        format!("{} spatial axes; one and two are", shape.sizes.len())
    } else if matches!(shape.batch, Batch::Named(_)) {
        "a batch that is a name; a number is".to_owned()
    } else {
        return Ok(());
    };
    Err(skip(name, &why))
}

fn skip(layer: &str, what: &str) -> Box<dyn std::error::Error> {
    Skip(format!("`{layer}`: not translated for burn: {what}")).into()
}

/// A layer, and what it takes from the file.
struct Layer<'a> {
    spec: &'a NetworkSpec,
    node: &'a Node,
    parameters: &'a mut Parameters,
    device: &'a Device,
}

impl Layer<'_> {
    fn skip(&self, what: &str) -> Box<dyn std::error::Error> {
        skip(&self.node.name, what)
    }

    fn operation(&mut self) -> Result<Operation> {
        let node = self.node;
        match &node.kind {
            NodeKind::Layer(spec) => match spec.operation {
                Kind::Convolution => self.convolution(spec),
                Kind::MaxPool => self.maxima(spec),
                Kind::AvgPool => self.averages(spec),
                _ => Err(self.skip(spec.kind())),
            },
            NodeKind::Linear(spec) => self.linear(spec),
            NodeKind::Elementwise(_) => Ok(Operation::Same),
            NodeKind::Add(_) | NodeKind::Mul(_) if !node.kind.is_by_channel() => Ok(Operation::Same),
            NodeKind::Lrn { spec, alpha } => self.lrn(spec, *alpha),
            NodeKind::Concat { axis } => Ok(Operation::Concat(axis + 1)),
            NodeKind::Flatten => Ok(Operation::Flatten),
            NodeKind::Reshape => Ok(Operation::Reshape(sizes(&self.spec.values[node.output].shape))),
            NodeKind::Transpose { axes } => match axes[..] {
                [n, a, b] => Ok(Operation::Permute(Shape::Line([n, a, b]))),
                [n, a, b, c] => Ok(Operation::Permute(Shape::Plane([n, a, b, c]))),
                _ => Err(self.skip(&format!("a transpose of {} sizes", axes.len()))),
            },
            kind if kind.is_by_channel() => Err(self.skip(&format!("{} of a value for each channel", kind.name()))),
            kind => Err(self.skip(kind.name())),
        }
    }

    /// The steps behind it.
    fn then(&mut self) -> Result<Vec<Then>> {
        let node = self.node;
        // Those of `lrn` are part of what burn has for it.
        let Some(spec) = node.kind.spec().filter(|_| !matches!(node.kind, NodeKind::Lrn { .. })) else {
            return Ok(Vec::new());
        };
        // The last parameters are those of these steps.
        let all = node.parameters();
        let mut numbers = all[all.len() - spec.channel_steps().count()..].iter();
        let mut steps = Vec::new();
        for step in &spec.then {
            steps.push(match *step {
                Epilogue::Relu => Then::Relu,
                Epilogue::Relu6 => Then::Relu6,
                Epilogue::LeakyRelu { slope } => Then::LeakyRelu(slope),
                Epilogue::Clamp { lo, hi } => Then::Clamp(lo, hi),
                Epilogue::Sigmoid => Then::Sigmoid,
                Epilogue::Tanh => Then::Tanh,
                Epilogue::Silu => Then::Silu,
                Epilogue::HardSwish => Then::HardSwish,
                Epilogue::Gelu => Then::Gelu,
                Epilogue::Add { constant } => Then::Add(constant),
                Epilogue::Mul { factor } => Then::Mul(factor),
                Epilogue::Scale => Then::Scale(self.per_channel(numbers.next())?),
                Epilogue::Shift => Then::Shift(self.per_channel(numbers.next())?),
                Epilogue::Residual => Then::Residual,
                Epilogue::Multiply => Then::Multiply,
                Epilogue::Softmax => Then::Softmax,
                other => return Err(self.skip(&format!("the step {}", other.name()))),
            });
        }
        Ok(steps)
    }

    /// Numbers of channels, with the sizes that the output has for them.
    fn per_channel(&mut self, parameter: Option<&Parameter>) -> Result<Value> {
        let parameter = parameter.ok_or_else(|| format!("`{}` lacks numbers of channels", self.node.name))?;
        let axes = if matches!(self.node.kind, NodeKind::Linear(_)) { 0 } else { self.output().sizes.len() };
        let shape: Vec<_> = [1, parameter.len].into_iter().chain(std::iter::repeat_n(1, axes)).collect();
        Value::new(self.read(parameter)?, &shape, self.device)
    }

    fn output(&self) -> &TensorShape {
        &self.spec.values[self.node.output].shape
    }

    fn read(&mut self, parameter: &Parameter) -> Result<Vec<f32>> {
        let Parameter { name, len } = parameter;
        let elements: Vec<f32> = self.parameters.read(name)?.ok_or_else(|| format!("the parameters lack `{name}`"))?;
        match elements.len() {
            found if found == *len => Ok(elements),
            found => Err(format!("`{name}` has {found} elements in the file and should have {len}").into()),
        }
    }

    /// Weights as `[oc, ic / groups, taps…]`, and the bias.
    fn weights(&mut self, spec: &LayerSpec) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        if spec.weights_layout != WeightsLayout::Oihw {
            return Err(self.skip("weights whose output channels are not first"));
        }
        let all = self.node.parameters();
        let weights = self.read(&all[0])?;
        let bias = if spec.bias { Some(self.read(&all[1])?) } else { None };
        Ok((weights, bias))
    }

    fn convolution(&mut self, spec: &LayerSpec) -> Result<Operation> {
        if spec.padding_mode != PaddingMode::Zeros {
            return Err(self.skip("padding other than zeros"));
        }
        if spec.complex {
            return Err(self.skip("complex numbers"));
        }
        let (weights, bias) = self.weights(spec)?;
        let axes = &spec.spatial[3 - spec.rank..];
        let of_axes = |size: fn(&SpatialAxis) -> usize| axes.iter().map(size).collect::<Vec<_>>();
        let shape = [vec![spec.out_channels, spec.ic_per_group()], of_axes(|axis| axis.kernel)].concat();
        let weights = Value::new(weights, &shape, self.device)?;
        let (stride, dilation) = (of_axes(|axis| axis.stride), of_axes(|axis| axis.dilation));
        let padding: Vec<_> = axes.iter().map(padding).collect();
        let windows = Windows { stride: &stride, padding: &padding, dilation: &dilation };
        Operation::convolution(weights, bias, windows, spec.groups, self.device)
    }

    fn linear(&mut self, spec: &LayerSpec) -> Result<Operation> {
        let (weights, bias) = self.weights(spec)?;
        let (given, made) = (spec.in_channels, spec.out_channels);
        let turned = (0..given).flat_map(|i| (0..made).map(move |o| o * given + i)).map(|at| weights[at]).collect();
        let weight = Value::new(turned, &[given, made], self.device)?.flat();
        Ok(Operation::Linear { weight, bias: bias.map(|bias| numbers(bias, self.device)) })
    }

    fn maxima(&self, spec: &LayerSpec) -> Result<Operation> {
        let ceil_mode = self.is_rounded_up(spec)?;
        if spec.return_indices {
            return Err(self.skip("positions of maxima"));
        }
        let [_, h, w] = spec.spatial;
        Ok(if spec.rank == 1 {
            let options = MaxPoolOptions::new([w.kernel]).with_stride([w.stride]).with_dilation([w.dilation]);
            Operation::MaxPool1d(options.with_padding_pairs([padding(&w)]).with_ceil_mode(ceil_mode))
        } else {
            let options = MaxPoolOptions::new([h.kernel, w.kernel]).with_stride([h.stride, w.stride]);
            let options = options.with_dilation([h.dilation, w.dilation]);
            Operation::MaxPool2d(options.with_padding_pairs([padding(&h), padding(&w)]).with_ceil_mode(ceil_mode))
        })
    }

    fn averages(&self, spec: &LayerSpec) -> Result<Operation> {
        let axes = &spec.spatial[3 - spec.rank..];
        let is_padded = axes.iter().any(|axis| padding(axis) != (0, 0));
        if self.is_rounded_up(spec)? {
            return Err(self.skip("averages with ceil_mode"));
        }
        if axes.iter().any(|axis| axis.dilation != 1) {
            return Err(self.skip("averages with dilation"));
        }
        let with_padding = match spec.divisor {
            Divisor::Padded => true,
            Divisor::Inside => false,
            Divisor::Number(n) => return Err(self.skip(&format!("sums over {n}"))),
        };
        if !is_padded && axes.iter().all(|axis| axis.kernel == axis.input) {
            return Ok(Operation::GlobalAverage);
        }
        let [_, h, w] = spec.spatial;
        Ok(if spec.rank == 1 {
            let options = AvgPoolOptions::new([w.kernel]).with_stride([w.stride]);
            Operation::AvgPool1d(options.with_padding_pairs([padding(&w)]).with_count_include_pad(with_padding))
        } else {
            let options = AvgPoolOptions::new([h.kernel, w.kernel]).with_stride([h.stride, w.stride]);
            let options = options.with_padding_pairs([padding(&h), padding(&w)]);
            Operation::AvgPool2d(options.with_count_include_pad(with_padding))
        })
    }

    /// Whether the sizes of the output are those of `ceil_mode`, where that makes a difference.
    fn is_rounded_up(&self, spec: &LayerSpec) -> Result<bool> {
        let axes = &spec.spatial[3 - spec.rank..];
        if spec.adaptive {
            return Err(self.skip("windows that differ in size"));
        }
        let room = |axis: &SpatialAxis| axis.pad_lo + axis.input + axis.pad_hi - axis.extent();
        let down = |axis: &SpatialAxis| room(axis) / axis.stride + 1;
        // The last window begins in the input or before it.
        let up = |axis: &SpatialAxis| {
            let outputs = room(axis).div_ceil(axis.stride) + 1;
            if (outputs - 1) * axis.stride >= axis.input + axis.pad_lo { outputs - 1 } else { outputs }
        };
        if axes.iter().all(|axis| down(axis) == axis.output) {
            Ok(false)
        } else if axes.iter().all(|axis| up(axis) == axis.output) {
            Ok(true)
        } else {
            Err(self.skip("an output of other sizes than those of the windows that fit"))
        }
    }

    fn lrn(&self, spec: &LayerSpec, alpha: f64) -> Result<Operation> {
        let [_, _, Epilogue::Add { constant }, Epilogue::Pow { exponent }, Epilogue::Multiply] = spec.then[..] else {
            return Err(self.skip("lrn with steps behind it"));
        };
        let size = spec.taps();
        if size.is_multiple_of(2) {
            return Err(self.skip(&format!("lrn of {size} channels, which is even")));
        }
        let config = LocalResponseNormConfig::new(size).with_alpha(alpha).with_beta(-exponent).with_k(constant);
        Ok(Operation::Lrn(config.init()))
    }
}

fn padding(axis: &SpatialAxis) -> (usize, usize) {
    (axis.pad_lo, axis.pad_hi)
}

/// Of a value that has been [checked](check).
fn sizes(shape: &TensorShape) -> Shape {
    let n = if let Batch::Fixed(n) = shape.batch { n } else { 1 };
    match shape.sizes[..] {
        [h, w] => Shape::Plane([n, shape.channels, h, w]),
        _ => Shape::Line([n, shape.channels, shape.pixels()]),
    }
}
