//! The network while it is made: values, layers, and the steps behind them.
//!
//! It has the words of the language, and nothing of ONNX but names. [`Network::push`] adds a layer and its value; `fuse` puts layers together, `text` writes
//! them.

use std::fmt;
use std::rc::Rc;

use crate::tensor::Tensor;
use convoke_core::spec::{Groups, Interpolation};

/// What an axis of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Batch,
    Channel,
    /// The spatial axis of that number, from 0.
    Space(usize),
}

/// Sizes of a value, and the order in which they lie in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    /// One to three.
    pub(crate) sizes: Vec<usize>,
    /// Whether channels are innermost.
    pub(crate) last: bool,
}

impl Shape {
    /// The axes in the order of memory.
    pub(crate) fn order(&self) -> Vec<Role> {
        let space = (0..self.sizes.len()).map(Role::Space);
        match self.last {
            false => [Role::Batch, Role::Channel].into_iter().chain(space).collect(),
            true => std::iter::once(Role::Batch).chain(space).chain([Role::Channel]).collect(),
        }
    }

    pub(crate) fn size(&self, role: Role) -> usize {
        match role {
            Role::Batch => self.batch,
            Role::Channel => self.channels,
            Role::Space(at) => self.sizes.get(at).copied().unwrap_or(1),
        }
    }

    /// Elements from one index of an axis to the next.
    pub(crate) fn stride(&self, role: Role) -> usize {
        let order = self.order();
        let behind = order.iter().skip_while(|&&other| other != role).skip(1);
        behind.map(|&other| self.size(other)).product()
    }

    /// The sizes in the order of memory, as the language writes them.
    pub(crate) fn memory(&self) -> Vec<usize> {
        self.order().into_iter().map(|role| self.size(role)).collect()
    }

    pub(crate) fn pixels(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Elements of an image.
    pub(crate) fn image(&self) -> usize {
        self.channels * self.pixels()
    }

    fn layout(&self) -> &'static str {
        match (self.sizes.len(), self.last) {
            (1, false) => "ncl",
            (1, true) => "nlc",
            (2, false) => "nchw",
            (2, true) => "nhwc",
            (_, false) => "ncdhw",
            (_, true) => "ndhwc",
        }
    }

    /// The word for its layout.
    pub(crate) fn layout_name(&self) -> &'static str {
        self.layout()
    }
}

/// `f32[1, 64, 56, 56] @ nchw`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.last && self.sizes == [1] {
            return write!(f, "f32[{}, {}]", self.batch, self.channels);
        }
        let sizes: Vec<_> = self.memory().iter().map(usize::to_string).collect();
        write!(f, "f32[{}] @ {}", sizes.join(", "), self.layout())
    }
}

/// One number for all channels, or one for each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    One(f64),
    Each(Rc<Vec<f64>>),
}

impl Numbers {
    pub(crate) fn at(&self, channel: usize) -> f64 {
        match self {
            Self::One(one) => *one,
            Self::Each(all) => all[channel],
        }
    }

    /// What `f` makes of both, channel by channel.
    pub(crate) fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::One(a), Self::One(b)) => Self::One(f(*a, *b)),
            (Self::Each(all), _) => {
                Self::Each(Rc::new(all.iter().enumerate().map(|(i, &a)| f(a, other.at(i))).collect()))
            }
            (_, Self::Each(all)) => Self::Each(Rc::new(all.iter().map(|&b| f(self.at(0), b)).collect())),
        }
    }

    /// The number as `f32` if all channels have the same.
    pub(crate) fn one(&self) -> Option<f32> {
        match self {
            Self::One(one) => Some(*one as f32),
            Self::Each(all) => {
                let first = *all.first()? as f32;
                all.iter().all(|&x| (x as f32).to_bits() == first.to_bits()).then_some(first)
            }
        }
    }
}

/// What is done to every element behind a layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Times the first, plus the second.
    Affine(Numbers, Numbers),
    /// A step that is one word.
    Plain(&'static str),
    LeakyRelu(f64),
    Clamp(f64, f64),
    Elu(f64),
    Celu(f64),
    /// A slope for each channel.
    Prelu(Numbers),
    /// No step of the language, but part of one: the error function.
    Erf,
    /// To a power, a multiple of a quarter.
    Pow(f64),
    /// Plus another value.
    Residual(usize),
    /// Times another value.
    Multiply(usize),
    Softmax,
}

/// Windows of convolutions and pooling, one number for each axis.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Window {
    pub(crate) kernel: Vec<usize>,
    pub(crate) stride: Vec<usize>,
    pub(crate) dilation: Vec<usize>,
    pub(crate) padding: Vec<(usize, usize)>,
}

/// What lies around a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fill {
    Number(f64),
    /// Elements of the value, by the language's word for which.
    Mode(&'static str),
}

/// A convolution, transposed or not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conv {
    pub(crate) transposed: bool,
    pub(crate) out_channels: usize,
    pub(crate) groups: usize,
    pub(crate) window: Window,
    pub(crate) output_padding: Vec<usize>,
    pub(crate) fill: Fill,
    pub(crate) weights: Weights,
}

/// Weights and what follows them, before they are numbers of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    /// `[out][in / groups][…]`, or `[in][out / groups][…]` of a transposed layer.
    pub(crate) tensor: Rc<Tensor>,
    /// What each output channel is multiplied with, and what is added.
    pub(crate) scale: Numbers,
    pub(crate) shift: Numbers,
    /// Whether there is a bias even if it is 0.
    pub(crate) bias: bool,
}

/// Groups of elements that are normalized, and what follows them, before it is numbers of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Norm {
    pub(crate) groups: Groups,
    pub(crate) epsilon: f64,
    /// Elements that have a factor and a summand of their own: those of a group, or channels.
    pub(crate) len: usize,
    pub(crate) scale: Numbers,
    pub(crate) shift: Numbers,
}

/// What pooling takes of its windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pooling {
    Max,
    /// Whether the padding counts.
    Average(bool),
    Norm(usize),
}

/// What a step of a recurrent layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Lstm,
    Gru,
}

/// A recurrent layer. It takes the signal, and the states before the first position where those are not zeros.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recurrent {
    pub(crate) cell: Cell,
    pub(crate) hidden: usize,
    /// Whether its one way begins with the last position.
    pub(crate) is_reverse: bool,
    /// Whether cell states are channels behind the hidden ones.
    pub(crate) cells: bool,
    /// Whether sums over hidden states take those quantized.
    pub(crate) quantize_hidden: bool,
    /// One or two.
    pub(crate) ways: Vec<Way>,
}

/// The numbers of one way: of the input, and of the hidden state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Way {
    /// `[gates][channels]` and `[gates][hidden]`.
    pub(crate) weights: [Rc<Tensor>; 2],
    pub(crate) bias: Option<[Rc<Tensor>; 2]>,
}

/// What a layer does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    Conv(Box<Conv>),
    Linear(Box<Weights>, usize),
    /// With no window of all.
    Pool {
        pooling: Pooling,
        window: Option<Window>,
        ceil: bool,
    },
    Elementwise,
    Add,
    Mul,
    /// The product of matrices; whether the second has a row for each column of what is made.
    Matmul(bool),
    Concat(Role),
    /// Channels and, for each spatial axis, start, end and step.
    Slice {
        channels: Option<(usize, usize)>,
        space: Vec<(usize, usize, usize)>,
    },
    Pad {
        padding: Vec<(usize, usize)>,
        fill: Fill,
    },
    /// Each element so often along each spatial axis.
    Resize(Vec<usize>),
    Interpolate(Box<Interpolation>),
    Lrn {
        size: usize,
        alpha: f64,
        beta: f64,
        k: f64,
    },
    Norm(Box<Norm>),
    QuantizeDynamic,
    Recurrent(Box<Recurrent>),
    Reshape,
    Reorder,
    Transpose(Vec<usize>),
    Flatten,
}

impl Step {
    /// Whether it takes numbers of channels.
    pub(crate) fn is_per_channel(&self) -> bool {
        let each = |numbers: &Numbers| numbers.one().is_none_or(|one| !one.is_finite());
        match self {
            Self::Affine(scale, shift) => each(scale) || each(shift),
            Self::Prelu(_) => true,
            _ => false,
        }
    }

    /// The other value that it takes.
    pub(crate) fn taken(&self) -> Option<usize> {
        match self {
            Self::Residual(value) | Self::Multiply(value) => Some(*value),
            _ => None,
        }
    }
}

impl Op {
    /// Whether steps may follow it.
    pub(crate) fn has_steps(&self) -> bool {
        matches!(
            self,
            Self::Conv(_)
                | Self::Linear(..)
                | Self::Pool { .. }
                | Self::Elementwise
                | Self::Add
                | Self::Mul
                | Self::Matmul(_)
        )
    }
}

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<usize>,
    pub(crate) then: Vec<Step>,
    /// The value that it makes.
    pub(crate) output: usize,
    /// Names that it could have, the best first.
    pub(crate) hints: Vec<String>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) shape: Shape,
    /// The layer that makes it; none of inputs.
    pub(crate) layer: Option<usize>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) values: Vec<Value>,
    pub(crate) layers: Vec<Layer>,
}

impl Network {
    pub(crate) fn input(&mut self, shape: Shape) -> usize {
        self.values.push(Value { shape, layer: None });
        self.values.len() - 1
    }

    /// Adds a layer; the value is what it makes.
    pub(crate) fn push(
        &mut self,
        op: Op,
        inputs: Vec<usize>,
        then: Vec<Step>,
        shape: Shape,
        hints: &[String],
    ) -> usize {
        let output = self.values.len();
        self.values.push(Value { shape, layer: Some(self.layers.len()) });
        self.layers.push(Layer { op, inputs, then, output, hints: hints.to_vec() });
        output
    }

    pub(crate) fn shape(&self, value: usize) -> &Shape {
        &self.values[value].shape
    }
}
