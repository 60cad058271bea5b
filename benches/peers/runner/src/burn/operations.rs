//! The steps of a network as burn's operations, and the tensors between them.

use burn::nn::LocalResponseNorm;
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData, activation, module};

use crate::protocol::Result;

/// A tensor, whose rank is part of burn's type.
#[derive(Clone)]
pub(super) enum Value {
    /// `[n, c]`.
    Flat(Tensor<2>),
    /// `[n, c, l]`.
    Line(Tensor<3>),
    /// `[n, c, h, w]`.
    Plane(Tensor<4>),
}

/// A value of the same rank, made of a tensor of any.
macro_rules! of_any_rank {
    ($value:expr, $tensor:ident => $made:expr) => {
        match $value {
            Value::Flat($tensor) => Value::Flat($made),
            Value::Line($tensor) => Value::Line($made),
            Value::Plane($tensor) => Value::Plane($made),
        }
    };
}

/// The same of two, where the first says the rank.
macro_rules! of_two {
    ($first:expr, $second:expr, ($a:ident, $b:ident) => $made:expr) => {
        match ($first, $second) {
            (Value::Flat($a), second) => {
                let $b = second.flat();
                Value::Flat($made)
            }
            (Value::Line($a), second) => {
                let $b = second.line();
                Value::Line($made)
            }
            (Value::Plane($a), second) => {
                let $b = second.plane();
                Value::Plane($made)
            }
        }
    };
}

impl Value {
    /// Elements in the order of `shape`, which has two to four sizes.
    pub(super) fn new(data: Vec<f32>, shape: &[usize], device: &Device) -> Result<Self> {
        let data = TensorData::new(data, shape.to_vec());
        match shape.len() {
            2 => Ok(Self::Flat(Tensor::from_data(data, device))),
            3 => Ok(Self::Line(Tensor::from_data(data, device))),
            4 => Ok(Self::Plane(Tensor::from_data(data, device))),
            rank => Err(format!("a tensor has {rank} sizes, and those of two to four are known").into()),
        }
    }

    /// Its sizes and its elements in their order.
    pub(super) fn into_elements(self) -> Result<(Vec<usize>, Vec<f32>)> {
        let data = match self {
            Self::Flat(tensor) => tensor.into_data(),
            Self::Line(tensor) => tensor.into_data(),
            Self::Plane(tensor) => tensor.into_data(),
        };
        let shape = data.shape().to_vec();
        let elements = data.try_into_vec::<f32>().map_err(|e| format!("no elements of f32: {e:?}"))?;
        Ok((shape, elements))
    }

    /// As `[n, c]`, where `c` counts all elements of an image.
    pub(super) fn flat(self) -> Tensor<2> {
        match self {
            Self::Flat(tensor) => tensor,
            Self::Line(tensor) => {
                let [n, c, l] = tensor.dims();
                tensor.reshape([n, c * l])
            }
            Self::Plane(tensor) => {
                let [n, c, h, w] = tensor.dims();
                tensor.reshape([n, c * h * w])
            }
        }
    }

    /// As `[n, c, l]`, where `l` counts all elements of a channel.
    fn line(self) -> Tensor<3> {
        match self {
            Self::Flat(tensor) => {
                let [n, c] = tensor.dims();
                tensor.reshape([n, c, 1])
            }
            Self::Line(tensor) => tensor,
            Self::Plane(tensor) => {
                let [n, c, h, w] = tensor.dims();
                tensor.reshape([n, c, h * w])
            }
        }
    }

    /// As `[n, c, h, w]`, `w` 1 where there was one axis.
    fn plane(self) -> Tensor<4> {
        match self {
            Self::Flat(tensor) => {
                let [n, c] = tensor.dims();
                tensor.reshape([n, c, 1, 1])
            }
            Self::Line(tensor) => {
                let [n, c, l] = tensor.dims();
                tensor.reshape([n, c, l, 1])
            }
            Self::Plane(tensor) => tensor,
        }
    }

    /// As a value of those sizes, which are three or four.
    fn reshaped(self, shape: &Shape) -> Self {
        match *shape {
            Shape::Line(to) => Self::Line(match self {
                Self::Flat(tensor) => tensor.reshape(to),
                Self::Line(tensor) => tensor.reshape(to),
                Self::Plane(tensor) => tensor.reshape(to),
            }),
            Shape::Plane(to) => Self::Plane(match self {
                Self::Flat(tensor) => tensor.reshape(to),
                Self::Line(tensor) => tensor.reshape(to),
                Self::Plane(tensor) => tensor.reshape(to),
            }),
        }
    }
}

/// A tensor of one size.
pub(super) fn numbers(data: Vec<f32>, device: &Device) -> Tensor<1> {
    let len = data.len();
    Tensor::from_data(TensorData::new(data, [len]), device)
}

/// Sizes, or numbers of sizes, of a [`Value::Line`] or [`Value::Plane`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Line([usize; 3]),
    Plane([usize; 4]),
}

/// What makes a value of others.
pub(super) enum Operation {
    /// The input, for the steps behind it.
    Same,
    Conv1d {
        weight: Tensor<3>,
        bias: Option<Tensor<1>>,
        options: ConvOptions<1>,
    },
    Conv2d {
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
        options: ConvOptions<2>,
    },
    /// Weights as `[ic, oc]`, the way of burn's own module.
    Linear {
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    },
    MaxPool1d(MaxPoolOptions<1>),
    MaxPool2d(MaxPoolOptions<2>),
    AvgPool1d(AvgPoolOptions<1>),
    AvgPool2d(AvgPoolOptions<2>),
    /// Of all elements of a channel.
    GlobalAverage,
    Lrn(LocalResponseNorm),
    /// All inputs, along that size.
    Concat(usize),
    Flatten,
    Reshape(Shape),
    /// For each size which one of the input it is.
    Permute(Shape),
}

/// What is done to the elements of a value.
pub(super) enum Then {
    Relu,
    Relu6,
    LeakyRelu(f64),
    Clamp(f64, f64),
    Sigmoid,
    Tanh,
    Silu,
    HardSwish,
    Gelu,
    Add(f64),
    Mul(f64),
    /// A number for each channel.
    Scale(Value),
    Shift(Value),
    /// The step's last input.
    Residual,
    Multiply,
    /// Over channels.
    Softmax,
}

/// A value that a step takes.
pub(super) struct Source {
    pub(super) value: usize,
    /// Whether no step behind takes it, nor the run gives it: then burn may write where it is.
    pub(super) last: bool,
}

/// A layer.
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) then: Vec<Then>,
    /// What the operation takes: one value, of [`Operation::Concat`] all parts.
    pub(super) inputs: Vec<Source>,
    /// What [`Then::Residual`] or [`Then::Multiply`] takes, if one is there.
    pub(super) residual: Option<Source>,
    pub(super) output: usize,
}

impl Step {
    /// Makes the output of what is in `values`.
    pub(super) fn run(&self, values: &mut [Option<Value>]) -> Result<()> {
        let mut take = |source: &Source| {
            let place = &mut values[source.value];
            let value = if source.last { place.take() } else { place.clone() };
            value.ok_or_else(|| format!("value {} is taken before it is made", source.value))
        };
        let mut made = match &self.operation {
            Operation::Concat(along) => {
                let parts = self.inputs.iter().map(&mut take).collect::<std::result::Result<Vec<_>, _>>()?;
                concatenated(parts, *along)
            }
            operation => operation.run(take(&self.inputs[0])?),
        };
        let mut residual = self.residual.as_ref().map(take).transpose()?;
        for then in &self.then {
            made = then.run(made, &mut residual)?;
        }
        values[self.output] = Some(made);
        Ok(())
    }
}

/// Values of one rank, which the first says, one behind the other.
fn concatenated(parts: Vec<Value>, along: usize) -> Value {
    match parts[0] {
        Value::Flat(_) => Value::Flat(Tensor::cat(parts.into_iter().map(Value::flat).collect(), along)),
        Value::Line(_) => Value::Line(Tensor::cat(parts.into_iter().map(Value::line).collect(), along)),
        Value::Plane(_) => Value::Plane(Tensor::cat(parts.into_iter().map(Value::plane).collect(), along)),
    }
}

/// How the windows of a layer lie, by axis.
pub(super) struct Windows<'a> {
    pub(super) stride: &'a [usize],
    /// Zeros before and after.
    pub(super) padding: &'a [(usize, usize)],
    pub(super) dilation: &'a [usize],
}

impl Operation {
    /// Of one or two axes, with weights as `[oc, ic / groups, taps…]`.
    pub(super) fn convolution(
        weights: Value,
        bias: Option<Vec<f32>>,
        windows: Windows<'_>,
        groups: usize,
        device: &Device,
    ) -> Result<Self> {
        let bias = bias.map(|bias| numbers(bias, device));
        match (weights, windows.stride, windows.padding, windows.dilation) {
            (Value::Line(weight), &[stride], &[padding], &[dilation]) => {
                let options = ConvOptions::new_with_padding([stride], [padding], [dilation], groups);
                Ok(Self::Conv1d { weight, bias, options })
            }
            (Value::Plane(weight), &[h, w], &[over_h, over_w], &[dilation_h, dilation_w]) => {
                let options = ConvOptions::new_with_padding([h, w], [over_h, over_w], [dilation_h, dilation_w], groups);
                Ok(Self::Conv2d { weight, bias, options })
            }
            (_, stride, ..) => Err(format!("weights of other axes than the {} of the layer", stride.len()).into()),
        }
    }

    fn run(&self, x: Value) -> Value {
        match self {
            Self::Same | Self::Concat(_) => x,
            Self::Conv1d { weight, bias, options } => {
                Value::Line(module::conv1d(x.line(), weight.clone(), bias.clone(), options.clone()))
            }
            Self::Conv2d { weight, bias, options } => {
                Value::Plane(module::conv2d(x.plane(), weight.clone(), bias.clone(), options.clone()))
            }
            Self::Linear { weight, bias } => Value::Flat(module::linear(x.flat(), weight.clone(), bias.clone())),
            Self::MaxPool1d(options) => Value::Line(module::max_pool1d(x.line(), options.clone())),
            Self::MaxPool2d(options) => Value::Plane(module::max_pool2d(x.plane(), options.clone())),
            Self::AvgPool1d(options) => Value::Line(module::avg_pool1d(x.line(), options.clone())),
            Self::AvgPool2d(options) => Value::Plane(module::avg_pool2d(x.plane(), options.clone())),
            Self::GlobalAverage => match x {
                Value::Flat(tensor) => Value::Flat(tensor),
                Value::Line(tensor) => Value::Line(module::adaptive_avg_pool1d(tensor, 1)),
                Value::Plane(tensor) => Value::Plane(module::adaptive_avg_pool2d(tensor, [1, 1])),
            },
            Self::Lrn(norm) => match x {
                Value::Plane(tensor) => Value::Plane(norm.forward(tensor)),
                other => Value::Line(norm.forward(other.line())),
            },
            Self::Flatten => Value::Flat(x.flat()),
            Self::Reshape(shape) => x.reshaped(shape),
            Self::Permute(Shape::Line(axes)) => Value::Line(x.line().permute(*axes)),
            Self::Permute(Shape::Plane(axes)) => Value::Plane(x.plane().permute(*axes)),
        }
    }
}

impl Then {
    fn run(&self, x: Value, residual: &mut Option<Value>) -> Result<Value> {
        let mut other = || residual.take().ok_or("a step lacks its tensor");
        Ok(match self {
            Self::Relu => of_any_rank!(x, x => activation::relu(x)),
            Self::Relu6 => of_any_rank!(x, x => activation::relu6(x)),
            Self::LeakyRelu(slope) => of_any_rank!(x, x => activation::leaky_relu(x, *slope)),
            Self::Clamp(lo, hi) => of_any_rank!(x, x => x.clamp(*lo, *hi)),
            Self::Sigmoid => of_any_rank!(x, x => activation::sigmoid(x)),
            Self::Tanh => of_any_rank!(x, x => activation::tanh(x)),
            Self::Silu => of_any_rank!(x, x => activation::silu(x)),
            Self::HardSwish => of_any_rank!(x, x => activation::hard_swish(x)),
            Self::Gelu => of_any_rank!(x, x => activation::gelu(x)),
            Self::Add(constant) => of_any_rank!(x, x => x.add_scalar(*constant)),
            Self::Mul(factor) => of_any_rank!(x, x => x.mul_scalar(*factor)),
            Self::Scale(factors) => of_two!(x, factors.clone(), (x, factors) => x * factors),
            Self::Shift(constants) => of_two!(x, constants.clone(), (x, constants) => x + constants),
            Self::Residual => of_two!(x, other()?, (x, y) => x + y),
            Self::Multiply => of_two!(x, other()?, (x, y) => x * y),
            Self::Softmax => of_any_rank!(x, x => activation::softmax(x, 1)),
        })
    }
}
