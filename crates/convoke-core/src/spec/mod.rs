//! What a layer is, once it is known to be legal.
//!
//! [`validate`] turns the syntax tree into [`LayerSpec`]s and is the only place that says what is legal:
//! defaults are filled in, output sizes are inferred, every product is checked for overflow against
//! [`Limits`]. Later stages rely on that and never check again.

#[cfg(feature = "arbitrary")]
pub mod arbitrary;
mod axes;
mod complex;
mod deformable;
mod error;
mod fields;
mod indices;
mod integers;
mod layer;
mod layout;
mod network;
mod operation;
mod padding;
mod schedule;
mod sizes;
mod storage;
mod suggest;
mod template;
mod text;

pub use complex::{COMPLEX_NAMES, PARTS};
pub use integers::{Integers, PAIR, PerChannel, QUAD, REDUCED, Requantized};
pub(crate) use layer::validate_beside_networks;
pub use layer::{validate, validate_with_sizes};
pub use layout::{BLOCK_BYTES, Layout};
pub use network::{
    Align, BatchNorm, Cell, Direction, Groups, Interpolation, Loop, Move, Moves, NETWORK, NETWORK_FIELDS,
    NETWORK_KINDS, NetworkSpec, Node, NodeKind, Norm, Parameter, Preprocess, Recurrent, Rounding, Sampling, Scaling,
    Tap, TensorShape, Value as NetworkValue, validate as validate_networks,
};
pub use operation::with_article;
pub use operation::{Divisor, FIELD_NAMES, Operation};
pub use padding::PaddingMode;
pub use schedule::{Algorithm, Axis, PackInput, Schedule, VectorAxis};
pub(crate) use sizes::depthwise;
pub use storage::{Half, Storage};
pub use template::{BindError, LayerTemplate, Size, Sizes};
pub use text::SpecTextError;

/// The fields of a `schedule { }` block, in the order of the canonical text.
pub const SCHEDULE_NAMES: [&str; 8] =
    ["algorithm", "vector", "tile", "block", "order", "parallel", "pack_input", "unroll"];

/// One layer, legal by construction when it comes out of validation.
///
/// Every layer has three spatial axes `d h w`; a `conv1d` uses only `w`, a `conv2d` only `h` and `w`, and the
/// axes that are not used are [`SpatialAxis::UNIT`].
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// The layer's name, a Rust identifier.
    pub name: String,
    /// What it computes.
    pub operation: Operation,
    /// 1, 2 or 3: how many spatial axes the source declares.
    pub rank: usize,
    /// What is computed in, and the element type of every tensor, unless [`half`](Self::half) or [`integers`](Self::integers) say another.
    pub dtype: DType,
    /// What the elements are where they have 16 bits: those of all tensors, also of weights and bias; sums are of
    /// [`F32`](DType::F32), and rounded once where `dst` is written.
    pub half: Option<Half>,
    /// What the elements are where they are integers.
    pub integers: Option<Integers>,
    /// Whether the numbers are complex: then the layer is that of twice the channels, of which every second one is an imaginary part,
    /// and everything here counts those, see [`PARTS`].
    pub complex: bool,
    /// Batch size `n`.
    pub batch: Batch,
    /// Input channels, all groups together.
    pub in_channels: usize,
    /// Output channels, all groups together.
    pub out_channels: usize,
    /// Number of groups; divides both channel counts. Of pooling as many as there are channels, each of which has its own windows.
    pub groups: usize,
    /// Of a deformable layer: how many sets of offsets there are. Each is for as many neighbouring input channels, so that it divides
    /// them. Set `s` moves tap `k` of the window (`kh * kw` of them) at an output by channels `2 * (s * kh * kw + k)` of the tensor of
    /// offsets, along `h`, and the next, along `w`. Of other layers 1.
    pub offset_groups: usize,
    /// Of a deformable layer: whether each tap has a factor, channel `s * kh * kw + k` of the tensor `mask`.
    pub mask: bool,
    /// Layout of `src` and `dst`.
    pub layout: Layout,
    /// Layout of the weights as the user gives them.
    pub weights_layout: WeightsLayout,
    /// The spatial axes `d`, `h`, `w`.
    pub spatial: [SpatialAxis; 3],
    /// What lies beyond the input where there is padding. Of pooling [`Zeros`](PaddingMode::Zeros): nothing does.
    pub padding_mode: PaddingMode,
    /// What average pooling divides by; of other layers the default.
    pub divisor: Divisor,
    /// Whether windows of pooling differ in size, where those of the output do not divide those of the input, see
    /// [`SpatialAxis::adaptive`].
    pub adaptive: bool,
    /// Which norm `lp_pool` takes, 1 to 64; of other layers 2.
    pub p: usize,
    /// Whether the positions of maxima are an output too: for each element of `dst` an `i32`, `(d * ih + h) * iw + w` of the element of the
    /// input in the plane of its channel. Of equal ones that of the first, of several NaNs that of the last, as PyTorch has it.
    pub return_indices: bool,
    /// Whether there is a bias, one element an output channel.
    pub bias: bool,
    /// The fused epilogue, applied in order.
    pub then: Vec<Epilogue>,
    /// What error an algorithm may have.
    pub accuracy: Accuracy,
    /// What the source pins of the plan.
    pub schedule: Schedule,
}

/// Sizes of one spatial axis. All are in elements; padding is zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpatialAxis {
    /// Input size `ih`.
    pub input: usize,
    /// Output size `oh`: of a convolution `(pad_lo + input + pad_hi - extent) / stride + 1`, or 0; transposed
    /// `(input - 1) * stride + extent + output_padding - pad_lo - pad_hi`; of pooling with `ceil_mode` rounded up, if the last window
    /// then starts in the input or before it; of unpooling as the layer says, or `(input - 1) * stride - pad_lo - pad_hi + kernel`.
    pub output: usize,
    /// Window size `kh`.
    pub kernel: usize,
    /// Step of the window, at least 1.
    pub stride: usize,
    /// Distance of the window's taps; 1 is dense.
    pub dilation: usize,
    /// Zeros before the first element; transposed, outputs that are left out there.
    pub pad_lo: usize,
    /// Zeros after the last element; transposed, outputs that are left out there.
    pub pad_hi: usize,
}

impl SpatialAxis {
    /// An axis that is not there: one element in, one out.
    pub const UNIT: Self = Self { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_lo: 0, pad_hi: 0 };

    /// An axis whose input is shared out to `output` windows: window `o` reaches from `floor(o * input / output)` to
    /// `ceil((o + 1) * input / output)`, as PyTorch's `AdaptiveAvgPool1d` has it. `kernel` is the longest of them.
    pub fn adaptive(input: usize, output: usize) -> Self {
        let axis = Self { input, output, kernel: 1, stride: (input / output).max(1), ..Self::UNIT };
        let kinds = axis.kinds_of_windows();
        let period = input * kinds / output;
        // Some window starts right before an element's end.
        Self { kernel: (period + kinds - 1).div_ceil(kinds), ..axis }
    }

    /// The elements of window `o` of an [adaptive](Self::adaptive) axis.
    pub const fn adaptive_window(&self, o: usize) -> std::ops::Range<usize> {
        o * self.input / self.output..((o + 1) * self.input).div_ceil(self.output)
    }

    /// How many windows of an [adaptive](Self::adaptive) axis there are before they come again, further on.
    pub(crate) fn kinds_of_windows(&self) -> usize {
        let (mut a, mut b) = (self.input, self.output);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        self.output / a
    }

    /// How many input elements one output sees, holes included: `dilation * (kernel - 1) + 1`.
    pub const fn extent(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Of a transposed layer: outputs after those that `pad_hi` ends, which fewer taps reach, or none.
    pub const fn output_padding(&self) -> usize {
        self.output + self.pad_lo + self.pad_hi - ((self.input - 1) * self.stride + self.extent())
    }
}

/// Element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl DType {
    /// Bytes an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// `f32` or `f64`, as the language and Rust write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// The batch size: a number, or a name bound at run time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Batch {
    /// Known when the layer is compiled; 0 is legal.
    Fixed(usize),
    /// An argument of the kernel.
    Named(String),
}

/// Layout of the weights as the user gives them. `ic / groups` and `oc / groups` are the channels of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightsLayout {
    /// `oil`, `oihw`, `oidhw`: `[oc][ic / groups][kd][kh][kw]`, PyTorch's.
    Oihw,
    /// `lio`, `hwio`, `dhwio`: `[kd][kh][kw][ic / groups][oc]`, Keras'.
    Hwio,
    /// `iol`, `iohw`, `iodhw`: `[ic][oc / groups][kd][kh][kw]`, PyTorch's of transposed layers; `ic` counts all groups.
    Iohw,
    /// `loi`, `hwoi`, `dhwoi`: `[kd][kh][kw][oc / groups][ic]`, Keras' of transposed layers; `ic` counts all groups.
    Hwoi,
}

/// What error an algorithm may have, relative to that of the sum as it stands.
///
/// Errors are those of the whole output in the Euclidean norm, for inputs and weights of a normal distribution around zero;
/// `docs/accuracy.md` has them for every algorithm, measured. Weights with a mean far from zero may double them. Single outputs that are
/// small beside others of their tile may be off by far more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accuracy {
    /// Sums of the products of the formula, in the order of the language.
    Exact,
    /// At most so many times the error of such a sum.
    Times(f64),
    /// Whatever is fastest.
    Fast,
}

impl Default for Accuracy {
    /// Four times the error of a direct sum.
    fn default() -> Self {
        Self::Times(4.0)
    }
}

/// One step of the fused epilogue, elementwise but for the last, which may be [`Softmax`](Self::Softmax).
///
/// `NaN` comes out of every step as `NaN`; infinities and -0.0 give what PyTorch gives. With `u` the unit roundoff of the layer's
/// type, results are within the following of the formula, for an input and arguments that the type holds, or within its least normal
/// number times `max(1, |x|, alpha)` if that is more, since `exp` is 0 below it:
///
/// - [`Relu`](Self::Relu), [`Relu6`](Self::Relu6), [`Clamp`](Self::Clamp), [`Abs`](Self::Abs), [`Neg`](Self::Neg): exact;
/// - [`Add`](Self::Add), [`Mul`](Self::Mul), [`Shift`](Self::Shift), [`Scale`](Self::Scale), [`Residual`](Self::Residual),
///   [`ReciprocalNoNan`](Self::ReciprocalNoNan): rounded once;
/// - [`LeakyRelu`](Self::LeakyRelu), [`PRelu`](Self::PRelu), [`Log`](Self::Log): `2u` of the result;
/// - [`Gelu`](Self::Gelu), [`GeluTanh`](Self::GeluTanh): `48u` of the result or of 0.01, whichever is more;
/// - [`Softmax`](Self::Softmax) of `c` channels: `(c + 40)u` of the result, and twice `u` times the distance from the greatest;
/// - the others: `8u` of the result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Epilogue {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` if positive, else `slope * x`.
    LeakyRelu {
        /// Factor below zero; PyTorch's default is 0.01.
        slope: f64,
    },
    /// `min(max(x, lo), hi)`, `lo <= hi`. PyTorch's `hardtanh` is `clamp(-1, 1)`.
    Clamp {
        /// Least result.
        lo: f64,
        /// Greatest result.
        hi: f64,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `x / 2 * (1 + erf(x / sqrt(2)))`, PyTorch's `gelu(approximate="none")`.
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`, PyTorch's `gelu(approximate="tanh")`.
    GeluTanh,
    /// `x` if it is not negative, else `alpha * (exp(x) - 1)`.
    Elu {
        /// What it tends to far below zero, negated; 1 by default, as in PyTorch, Keras and ONNX.
        alpha: f64,
    },
    /// [`SELU_SCALE`]` * elu(`[`SELU_ALPHA`]`)`.
    Selu,
    /// `x` if it is not negative, else `alpha * (exp(x / alpha) - 1)`.
    Celu {
        /// Greater than 0; 1 by default, as in PyTorch and ONNX.
        alpha: f64,
    },
    /// `log(1 + exp(x))`, and `x` above [`SOFTPLUS_THRESHOLD`]: PyTorch's with its defaults. ONNX and Keras have no threshold; in f32
    /// it makes no difference, in f64 one of up to `2.1e-9`.
    Softplus,
    /// `x / (1 + |x|)`; NaN for infinities, as in PyTorch.
    Softsign,
    /// `log(1 / (1 + exp(-x)))`.
    LogSigmoid,
    /// `min(max(x + 3, 0), 6) / 6`, the one of PyTorch and of Keras 3. ONNX's by default is `[mul(0.2), add(0.5), clamp(0, 1)]`.
    HardSigmoid,
    /// `x * tanh(log(1 + exp(x)))`.
    Mish,
    /// `|x|`.
    Abs,
    /// `-x`.
    Neg,
    /// `x + constant`.
    Add {
        /// Any finite number.
        constant: f64,
    },
    /// `x * factor`.
    Mul {
        /// Any finite number.
        factor: f64,
    },
    /// `x * factor`, with a factor for each output channel. `[scale, shift]` is batch normalization at inference: factors of
    /// `weight / sqrt(running_var + eps)`, and what is added of `bias - running_mean * factor`.
    Scale,
    /// `x + constant`, with a constant for each output channel.
    Shift,
    /// `x` if positive, else `slope * x`, with a slope for each output channel: PyTorch's `PReLU`, ONNX's `PRelu`.
    PRelu,
    /// `x` to a power: ONNX's `Pow` by a constant, its `Sqrt` and `Reciprocal`.
    Pow {
        /// A multiple of [`POW_STEP`] other than 0, at most [`POW_MOST`] and at least minus that: what roots and products make.
        exponent: f64,
    },
    /// The natural logarithm: ONNX's `Log`. Minus infinity for 0, NaN for what is less.
    Log,
    /// `1 / x`, and 0 for 0: TensorFlow's `math.reciprocal_no_nan`. Infinite, too, where `x` is so near to 0 that the quotient is more than any number.
    ReciprocalNoNan,
    /// `x` plus the element of a tensor of the output's shape and layout, which is given when the layer is run; one such tensor a layer.
    Residual,
    /// `x` times such an element.
    Multiply,
    /// `exp(x)` over the sum of those of all channels of the pixel: PyTorch's `softmax(dim=1)`. The last step.
    Softmax,
}

impl Epilogue {
    /// Whether it never rounds, so that whole numbers come out exactly.
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Relu | Self::Relu6 | Self::Clamp { .. } | Self::Abs | Self::Neg)
    }

    /// The word of the language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Clamp { .. } => "clamp",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Silu => "silu",
            Self::HardSwish => "hardswish",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Elu { .. } => "elu",
            Self::Selu => "selu",
            Self::Celu { .. } => "celu",
            Self::Softplus => "softplus",
            Self::Softsign => "softsign",
            Self::LogSigmoid => "log_sigmoid",
            Self::HardSigmoid => "hard_sigmoid",
            Self::Mish => "mish",
            Self::Abs => "abs",
            Self::Neg => "neg",
            Self::Add { .. } => "add",
            Self::Mul { .. } => "mul",
            Self::Scale => "scale",
            Self::Shift => "shift",
            Self::PRelu => "prelu",
            Self::Pow { .. } => "pow",
            Self::Log => "log",
            Self::ReciprocalNoNan => "reciprocal_no_nan",
            Self::Residual => "residual",
            Self::Multiply => "multiply",
            Self::Softmax => "softmax",
        }
    }

    /// Whether an output depends on what the step before made of that output alone.
    pub const fn is_elementwise(self) -> bool {
        !matches!(self, Self::Softmax)
    }

    /// Whether it takes an element for each output, of a tensor that is given to the run.
    pub const fn takes_tensor(self) -> bool {
        matches!(self, Self::Residual | Self::Multiply)
    }

    /// Whether it takes a number for each output channel, which is given with the weights.
    pub const fn is_per_channel(self) -> bool {
        matches!(self, Self::Scale | Self::Shift | Self::PRelu)
    }
}

/// Exponents of `pow` are multiples of it.
pub const POW_STEP: f64 = 0.25;

/// The greatest exponent of `pow`.
pub const POW_MOST: f64 = 4.0;

/// PyTorch's and ONNX's factor of `selu`.
pub const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// PyTorch's and ONNX's `alpha` of `selu`.
pub const SELU_ALPHA: f64 = 1.673_263_242_354_377_3;

/// Above it PyTorch's `softplus` is the identity.
pub const SOFTPLUS_THRESHOLD: f64 = 20.0;

/// `gelu_tanh(x) = x / (1 + exp(-x * (GELU_TANH[1] + GELU_TANH[0] * x^2)))`: `2 sqrt(2 / pi)`, in front 0.044715 times that.
pub(crate) const GELU_TANH: [f64; 2] = [0.044715 * 1.595_769_121_605_730_7, 1.595_769_121_605_730_7];

impl LayerSpec {
    /// Input channels of one group.
    pub const fn ic_per_group(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of one group.
    pub const fn oc_per_group(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Taps of the window: `kd * kh * kw`.
    pub fn taps(&self) -> usize {
        self.spatial.iter().map(|a| a.kernel).product()
    }

    /// Whether small whole numbers come out of `algorithm` as the formula has them, rounded once: not of transforms, nor of roots but
    /// square ones.
    pub const fn is_exact(&self, algorithm: Algorithm) -> bool {
        algorithm.is_exact() && self.p <= 2
    }

    /// Whether taps are moved by offsets, which are given to the run.
    pub const fn is_deformable(&self) -> bool {
        matches!(self.operation, Operation::Deformable)
    }

    /// Channels of the tensor of offsets, two a tap and set; 0 of layers that have none.
    pub fn offset_channels(&self) -> usize {
        if self.is_deformable() { 2 * self.offset_groups * self.taps() } else { 0 }
    }

    /// Channels of the tensor of factors of taps, one a tap and set; 0 of layers that have none.
    pub fn mask_channels(&self) -> usize {
        if self.mask { self.offset_groups * self.taps() } else { 0 }
    }

    /// Elements of one image of the offsets, which have the sizes of the output and the layer's layout.
    pub fn offset_image(&self) -> usize {
        self.offset_channels() * self.pixels(|axis| axis.output)
    }

    /// The same of the factors of taps.
    pub fn mask_image(&self) -> usize {
        self.mask_channels() * self.pixels(|axis| axis.output)
    }

    /// Elements of the weights, of complex ones two a number; pooling has none.
    pub fn weights_len(&self) -> usize {
        if self.operation.is_pooling() {
            return 0;
        }
        self.out_channels * self.ic_per_group() * self.taps() / self.parts()
    }

    /// Elements of the weights, of the bias, if there is one, and of the steps of the epilogue.
    pub fn parameters(&self) -> usize {
        self.weights_len() + self.out_channels * (usize::from(self.bias) + self.channel_steps().count())
    }

    /// The steps of the epilogue that take a number for each output channel, in order.
    pub fn channel_steps(&self) -> impl Iterator<Item = Epilogue> {
        self.then.iter().copied().filter(|step| step.is_per_channel())
    }

    /// Whether a tensor of the output's shape is added to it, or multiplied with it.
    pub fn has_residual(&self) -> bool {
        self.then.iter().any(|step| step.takes_tensor())
    }

    /// Whether the last step is over all channels of a pixel.
    pub fn has_softmax(&self) -> bool {
        self.then.last() == Some(&Epilogue::Softmax)
    }

    /// How many tensors of the output's size a run passes over: the output, and what is added to it.
    pub(crate) fn tensors_of_output(&self) -> f64 {
        if self.has_residual() { 2.0 } else { 1.0 }
    }

    /// The batch size if it is known before run time.
    pub fn fixed_batch(&self) -> Option<usize> {
        match self.batch {
            Batch::Fixed(n) => Some(n),
            Batch::Named(_) => None,
        }
    }

    /// Multiply-accumulates of one image, taps of pooling, or elements of unpooling; padding is counted as if it were data.
    pub fn macs_per_image(&self) -> u64 {
        let windows = match self.operation {
            Operation::MaxUnpool => return (self.in_channels * self.pixels(|axis| axis.input)) as u64,
            Operation::Transposed => self.pixels(|axis| axis.input),
            _ => self.pixels(|axis| axis.output),
        };
        (self.out_channels * windows) as u64 * (self.ic_per_group() * self.taps()) as u64
    }

    /// Floating-point operations of one image: a multiplication and an addition a multiply-accumulate; of pooling one a tap.
    pub fn operations_per_image(&self) -> u64 {
        if self.operation.is_pooling() { self.macs_per_image() } else { 2 * self.macs_per_image() }
    }
}

/// What a layer may ask for before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one tensor, `src`, `dst`, weights or scratch (for a named batch: of one image). A local buffer
    /// counts as scratch.
    pub tensor_bytes: u64,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Tile instructions that lowering may emit for one layer.
    pub code_ops: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tensor_bytes: 8 << 30, macs: 1 << 46, code_ops: 40_000 }
    }
}

#[cfg(test)]
mod tests;
