//! Networks: values, and the layers that make them of others.
//!
//! In comes the tree of `network name { … }`, out comes a [`NetworkSpec`]: every layer with its sizes, which follow from those of the network's
//! input, in the order of the text, in which a value is made before it is used. What a convolution, pooling or whatever else with a [`LayerSpec`]
//! may be is said by [`layer`](super::layer): a layer of a network is read as the layer of its own that has the type of the value in place of its
//! name. Everything else, and what does not fit together, is refused here.

mod batch_norm;
mod error;
mod interpolation;
mod layers;
mod moves;
mod moving;
mod norm;
mod preprocess;
mod product;
mod read;
mod recurrent;
mod resizing;
mod text;

#[cfg(test)]
mod tests;

use super::{Batch, DType, LayerSpec, Layout, Storage};
pub use batch_norm::BatchNorm;
pub use interpolation::{Align, Interpolation, Rounding, Sampling, Scaling, Tap};
pub use moves::{Loop, Move, Moves};
pub use norm::{Groups, Norm};
pub use preprocess::Preprocess;
pub(super) use read::refuse;
pub use read::validate;
pub use recurrent::{Cell, Direction, Recurrent};

/// The word that a network begins with.
pub const NETWORK: &str = "network";

/// The fields of a network.
pub const NETWORK_FIELDS: [&str; 5] = ["input", "inputs", "output", "outputs", "preprocess"];

/// The kinds of layers that only networks have.
pub const NETWORK_KINDS: [&str; 21] = [
    "linear",
    "elementwise",
    "add",
    "mul",
    "matmul",
    "lrn",
    "batch_norm",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "quantize_dynamic",
    "lstm",
    "gru",
    "concat",
    "slice",
    "pad",
    "transpose",
    "reorder",
    "resize",
    "flatten",
    "reshape",
];

/// A network, legal by construction when it comes out of [`validate`].
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSpec {
    /// Its name, a Rust identifier.
    pub name: String,
    /// Every tensor: first the inputs, then what each layer makes.
    pub values: Vec<Value>,
    /// How many of the values are inputs.
    pub inputs: usize,
    /// The layers, each behind those whose values it takes.
    pub nodes: Vec<Node>,
    /// Which values a run gives, in order; at least one.
    pub outputs: Vec<usize>,
    /// How a picture becomes the input; nothing of it is part of a run.
    pub preprocess: Vec<Preprocess>,
}

/// A tensor of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The name of the input, or of the layer that makes it.
    pub name: String,
    /// What it is.
    pub shape: TensorShape,
}

/// Type, sizes and layout of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorShape {
    /// What the elements are.
    pub storage: Storage,
    /// How many images.
    pub batch: Batch,
    /// Channels of each.
    pub channels: usize,
    /// Sizes of the one to three axes.
    pub sizes: Vec<usize>,
    /// How they lie in memory.
    pub layout: Layout,
}

/// A layer of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, and that of the value that it makes.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// The values that it takes: the input; of a sum or product its second, of a `concat` its parts; and behind them the tensor of a step
    /// `residual` or `multiply`.
    pub inputs: Vec<usize>,
    /// The value that it makes.
    pub output: usize,
    /// Of which of its steps the numbers follow from parameters of other names.
    pub norms: Vec<BatchNorm>,
}

/// What a layer of a network does.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// What a layer of its own does, `conv2d` and the others.
    Layer(Box<LayerSpec>),
    /// Sums over all channels: a `conv1d` whose window is one element, over an input of one. PyTorch's `Linear`, ONNX's `Gemm`.
    Linear(Box<LayerSpec>),
    /// The steps of `then` alone: a `max_pool` whose window is one element.
    Elementwise(Box<LayerSpec>),
    /// Numbers of channels that follow from statistics, and the steps behind: the same, with the steps `scale` and `shift` first, which are the first of
    /// [`Node::norms`].
    BatchNorm(Box<LayerSpec>),
    /// The sum of two values, and the steps behind it: the same, with the step `residual` first. Where the second has one element a channel, that is
    /// added to all pixels: a layer for one image, whose first step is `shift`, and whose numbers are those elements.
    Add(Box<LayerSpec>),
    /// Their product: the same, with the step `multiply` or `scale` first.
    Mul(Box<LayerSpec>),
    /// The products of the matrices that two values are along their last two sizes, PyTorch's and ONNX's `matmul`: for each of them a `conv1d` whose window
    /// is one element, from the rows of the first as pixels to those of the product, with the second as its weights.
    Matmul {
        /// What is computed of each.
        spec: Box<LayerSpec>,
        /// How many there are in an image.
        matrices: usize,
    },
    /// The value over a power of the squares of neighbouring channels, PyTorch's `LocalResponseNorm`: an `lp_pool2d` whose windows are channels, over the
    /// same memory, and which takes its input a second time.
    Lrn {
        /// What is computed.
        spec: Box<LayerSpec>,
        /// What squares are multiplied with, as many times as there are neighbours.
        alpha: f64,
    },
    /// Groups of elements as those of mean 0 and variance 1, times weights and plus a bias.
    Norm(Norm),
    /// Each element as the nearest of 256 numbers that are equally far apart from the least to the greatest of its image, 0 among both: ONNX's
    /// `DynamicQuantizeLinear`, and back to floats. [`quantize_dynamic`](crate::eval::quantize_dynamic) is what it computes.
    QuantizeDynamic,
    /// An LSTM or a GRU. It takes the signal, and behind it the states before the first position where zeros are not meant.
    Recurrent(Box<Recurrent>),
    /// The inputs one behind the other, along one of [`TensorShape::axes`].
    Concat {
        /// Which.
        axis: usize,
    },
    /// Some elements along each of [`TensorShape::axes`].
    Slice {
        /// The first, and the step to the next.
        from: Vec<(usize, usize)>,
    },
    /// Elements of one value around it.
    Pad {
        /// How many in front along each of [`TensorShape::axes`].
        before: Vec<usize>,
        /// Their value.
        value: f64,
    },
    /// The sizes in another order, and the elements with them: PyTorch's `permute`.
    Transpose {
        /// For each size, as the language writes them, which one of the input it is; the batch stays first.
        axes: Vec<usize>,
    },
    /// The same elements in another layout.
    Reorder,
    /// Each element several times, side by side: PyTorch's `Upsample`, nearest.
    Resize {
        /// How often along each of [`TensorShape::axes`].
        scale: Vec<usize>,
    },
    /// An image of other sizes, whose elements lie between those of the input: PyTorch's `interpolate`, where it does more than repeat them.
    Interpolate(Box<Interpolation>),
    /// All elements of an image as channels, in the order of memory: PyTorch's `flatten(1)` of `nchw`, Keras' `Flatten` of `nhwc`.
    Flatten,
    /// The same memory as an image of other sizes: PyTorch's `view`.
    Reshape,
}

impl NodeKind {
    /// What is computed, if it is a layer of its own.
    pub fn spec(&self) -> Option<&LayerSpec> {
        match self {
            Self::Layer(spec) | Self::Linear(spec) | Self::Elementwise(spec) | Self::BatchNorm(spec) => Some(spec),
            Self::Add(spec) | Self::Mul(spec) | Self::Lrn { spec, .. } | Self::Matmul { spec, .. } => Some(spec),
            _ => None,
        }
    }

    /// Whether the numbers of the first step are a value's elements, one a channel.
    pub fn is_by_channel(&self) -> bool {
        match self {
            Self::Add(spec) | Self::Mul(spec) => spec.then.first().is_some_and(|step| step.is_per_channel()),
            _ => false,
        }
    }

    /// Whether the output is the input, seen as something else.
    pub fn is_view(&self) -> bool {
        matches!(self, Self::Flatten | Self::Reshape)
    }

    /// The word of the language.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Layer(spec) => spec.kind(),
            Self::Linear(_) => "linear",
            Self::Elementwise(_) => "elementwise",
            Self::BatchNorm(_) => "batch_norm",
            Self::Add(_) => "add",
            Self::Mul(_) => "mul",
            Self::Matmul { .. } => "matmul",
            Self::Lrn { .. } => "lrn",
            Self::Norm(norm) => norm.name(),
            Self::QuantizeDynamic => "quantize_dynamic",
            Self::Recurrent(recurrent) => recurrent.cell.name(),
            Self::Concat { .. } => "concat",
            Self::Slice { .. } => "slice",
            Self::Pad { .. } => "pad",
            Self::Transpose { .. } => "transpose",
            Self::Reorder => "reorder",
            Self::Resize { .. } | Self::Interpolate(_) => "resize",
            Self::Flatten => "flatten",
            Self::Reshape => "reshape",
        }
    }
}

impl TensorShape {
    /// What a layer makes.
    pub(crate) fn of_dst(spec: &LayerSpec) -> Self {
        Self {
            storage: spec.dst_storage(),
            batch: spec.batch.clone(),
            channels: spec.out_channels,
            sizes: spec.spatial[3 - spec.rank..].iter().map(|axis| axis.output).collect(),
            layout: spec.layout,
        }
    }

    /// Channels that there is memory for, of so many: with those that fill up the last block.
    pub fn stored(&self, channels: usize) -> usize {
        self.layout.stored_channels(channels, self.dtype())
    }

    /// Elements of one image, those that fill up a block of channels too.
    pub fn image(&self) -> usize {
        self.stored(self.channels) * self.pixels()
    }

    /// Elements of a channel.
    pub fn pixels(&self) -> usize {
        self.sizes.iter().product()
    }

    /// What is computed in.
    pub fn dtype(&self) -> DType {
        if self.storage == Storage::F64 { DType::F64 } else { DType::F32 }
    }

    /// Bytes of all images; of one, where the batch is a name. Sizes that have not been checked may be any.
    pub(super) fn bytes(&self) -> u128 {
        let batch = if let Batch::Fixed(n) = self.batch { n } else { 1 };
        let stored = self.layout.stored_channels(self.channels, self.dtype());
        let sizes = [batch, stored, self.storage.bytes()].into_iter().chain(self.sizes.iter().copied());
        sizes.fold(1, |product, size| product.saturating_mul(size as u128))
    }

    /// Where in an image an element is.
    pub fn index(&self, channel: usize, pixel: usize) -> usize {
        self.layout.index((self.channels, self.pixels()), self.dtype(), 0, channel, pixel)
    }

    /// Bytes of one image.
    pub fn image_bytes(&self) -> u64 {
        self.image() as u64 * self.storage.bytes() as u64
    }

    /// The sizes as the language writes them: `1, 3, 224, 224`.
    pub fn dims(&self) -> Vec<String> {
        let batch = match &self.batch {
            Batch::Fixed(n) => n.to_string(),
            Batch::Named(name) => name.clone(),
        };
        let shape = self.layout.declared_shape(0, self.channels, &self.sizes);
        std::iter::once(batch).chain(shape[1..].iter().map(usize::to_string)).collect()
    }
}

/// Weights, a bias, or the numbers of a step that takes one for each channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// `stem.weight`, `stem.bias`, `stem.scale`, `stem.scale_2`: PyTorch's names, where it has such.
    pub name: String,
    /// Elements.
    pub len: usize,
}

impl Node {
    /// The value that a step `residual` or `multiply` takes, if there is one.
    pub fn residual(&self) -> Option<usize> {
        self.kind.spec().filter(|spec| spec.has_residual())?;
        let is_pair = self.kind.is_by_channel() || matches!(self.kind, NodeKind::Matmul { .. });
        self.inputs.get(if is_pair { 2 } else { 1 }).copied()
    }

    /// What the layer takes besides values, in order: the weights, the bias, the numbers of channels of each step; of a recurrent layer those of the input
    /// and of the hidden state in turn, for each direction.
    pub fn parameters(&self) -> Vec<Parameter> {
        if let NodeKind::Recurrent(recurrent) = &self.kind {
            return recurrent.parameters(&self.name);
        }
        if let NodeKind::Norm(norm) = &self.kind {
            return norm.parameters(&self.name);
        }
        let Some(spec) = self.kind.spec().filter(|_| !matches!(self.kind, NodeKind::Matmul { .. })) else {
            return Vec::new();
        };
        let parameter = |what: &str, len: usize| Parameter { name: format!("{}.{what}", self.name), len };
        let mut all = Vec::new();
        if spec.weights_len() > 0 {
            all.push(parameter("weight", spec.weights_len()));
        }
        if spec.bias {
            all.push(parameter("bias", spec.out_channels));
        }
        let steps = spec.then.iter().enumerate().filter(|(_, step)| step.is_per_channel());
        for (at, step) in steps.skip(usize::from(self.kind.is_by_channel())) {
            if let Some(norm) = self.norms.iter().find(|norm| norm.step <= at && at < norm.step + 2) {
                if norm.step == at {
                    all.extend(norm.parameters(spec.out_channels));
                }
                continue;
            }
            let first = parameter(step.name(), spec.out_channels);
            let like =
                all.iter().filter(|p| p.name == first.name || p.name.starts_with(&format!("{}_", first.name))).count();
            all.push(if like == 0 {
                first
            } else {
                parameter(&format!("{}_{}", step.name(), like + 1), spec.out_channels)
            });
        }
        all
    }
}

impl NetworkSpec {
    /// The layers that have a [`LayerSpec`], in order.
    pub fn layers(&self) -> impl Iterator<Item = &LayerSpec> {
        self.nodes.iter().filter_map(|node| node.kind.spec())
    }

    /// The inputs.
    pub fn input_values(&self) -> &[Value] {
        &self.values[..self.inputs]
    }

    /// The outputs, in order.
    pub fn output_values(&self) -> impl Iterator<Item = &Value> {
        self.outputs.iter().map(|&at| &self.values[at])
    }

    /// Multiply-accumulates of one image, taps of pooling, steps of elements.
    pub fn macs_per_image(&self) -> u64 {
        self.nodes.iter().map(Node::macs_per_image).fold(0, u64::saturating_add)
    }

    /// The type of all elements: that of the inputs.
    pub fn storage(&self) -> Storage {
        self.values.first().map_or(Storage::F32, |value| value.shape.storage)
    }

    /// Images of a run, if that is a number.
    pub fn fixed_batch(&self) -> Option<usize> {
        self.values.first().and_then(|value| match value.shape.batch {
            Batch::Fixed(n) => Some(n),
            Batch::Named(_) => None,
        })
    }

    /// What all layers take besides values, in order.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> {
        self.nodes.iter().flat_map(Node::parameters)
    }

    /// Elements of all weights, biases and numbers of channels.
    pub fn parameters_len(&self) -> usize {
        self.parameters().map(|parameter| parameter.len).sum()
    }
}
