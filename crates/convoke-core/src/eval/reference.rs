//! What a layer computes, as plainly as it can be said: from the [`LayerSpec`] alone.
//!
//! In come the layer and its tensors as the user has them (weights not packed); out comes the output, each element
//! summed in the order bias, `kd`, `kh`, `kw`, `ic` (transposed with the taps from the last to the first, which is
//! the order of the inputs; pooling without bias and `ic`) and then sent through the epilogue. [`Accumulator`] chooses the
//! type of the sum.
//!
//! [`error_bound`] says how far a kernel may be away from the exact result.

mod bound;
mod deformable;
mod erf;
mod indices;
mod integers;
mod magnitude;
mod network;
mod softmax;

use super::Element;
use crate::spec::{
    Divisor, Epilogue, LayerSpec, Layout, Operation, PaddingMode, SELU_ALPHA, SELU_SCALE, SOFTPLUS_THRESHOLD,
    WeightsLayout,
};
use std::f64::consts::PI;

pub use bound::{error_bound, outputs_and_bounds};
pub use erf::{erf, erfc};
pub use indices::{run as run_indices, run_unpool};
pub use integers::run as run_integers;
pub use magnitude::magnitudes;
pub use network::run_network;
pub use softmax::softmax;

/// What a layer computes its output from, as its user has it: weights not packed. What the layer has not may be empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tensors<'a, T> {
    /// The input.
    pub src: &'a [T],
    /// The weights, in the layer's weights layout.
    pub weights: &'a [T],
    /// The bias, and then the numbers of channels for the steps of the epilogue that take them, a row a step.
    pub bias: &'a [T],
    /// What the epilogue adds, as long as the output.
    pub residual: &'a [T],
    /// How far taps are moved.
    pub offset: &'a [T],
    /// The factors of taps.
    pub mask: &'a [T],
}

/// A type that sums are made in.
pub trait Accumulator: Element {}
impl Accumulator for f32 {}
impl Accumulator for f64 {}

/// Where an output element is: image, output channel (of all groups), and `d`, `h`, `w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Image.
    pub n: usize,
    /// Output channel, of all groups.
    pub oc: usize,
    /// `od`, `oh`, `ow`.
    pub at: [usize; 3],
}

impl Position {
    /// The position of element `index` of `dst`; `None` for one that fills up a block of channels, which is zero.
    pub fn of(spec: &LayerSpec, index: usize) -> Option<Self> {
        let [d, h, w] = spec.spatial.map(|a| a.output);
        let split = |index: usize, size: usize| (index / size.max(1), index % size.max(1));
        let split3 = |index| {
            let (rest, w_at) = split(index, w);
            let (rest, h_at) = split(rest, h);
            let (rest, d_at) = split(rest, d);
            (rest, [d_at, h_at, w_at])
        };
        let position = match spec.layout {
            Layout::ChannelsFirst => {
                let (rest, at) = split3(index);
                let (n, oc) = split(rest, spec.out_channels);
                Self { n, oc, at }
            }
            Layout::ChannelsLast => {
                let (rest, oc) = split(index, spec.out_channels);
                let (n, at) = split3(rest);
                Self { n, oc, at }
            }
            Layout::Pairs => {
                let (rest, part) = split(index, 2);
                let (rest, at) = split3(rest);
                let (n, number) = split(rest, spec.out_channels / 2);
                Self { n, oc: 2 * number + part, at }
            }
            Layout::Blocked => {
                let block = spec.dtype.block();
                let (rest, lane) = split(index, block);
                let (rest, at) = split3(rest);
                let (n, block_at) = split(rest, spec.out_channels.div_ceil(block));
                Self { n, oc: block_at * block + lane, at }
            }
        };
        (position.oc < spec.out_channels).then_some(position)
    }
}

/// `dst` for `batch` images: `batch * spec.dst_image()` elements. For unpooling, which takes indices, see [`run_unpool`].
///
/// # Panics
/// If one of `tensors` is shorter than the layer says.
pub fn run<T: Element, Acc: Accumulator>(spec: &LayerSpec, batch: usize, tensors: &Tensors<'_, T>) -> Vec<T> {
    let output = |at| output_at::<T, Acc>(spec, tensors, at).to_f64();
    let places = (0..batch * spec.dst_image()).map(|index| Position::of(spec, index));
    let mut values: Vec<f64> = places.map(|place| place.map_or(0.0, output)).collect();
    softmax(spec, batch, &mut values);
    values.into_iter().map(T::from_f64).collect()
}

/// One element of `dst`, before it is rounded to `T`, and before a [`softmax`].
///
/// # Panics
/// If one of `tensors` is shorter than the layer says.
pub fn output_at<T: Element, Acc: Accumulator>(spec: &LayerSpec, tensors: &Tensors<'_, T>, position: Position) -> Acc {
    let &Tensors { src, weights, bias, .. } = tensors;
    let acc = |x: T| Acc::from_f64(x.to_f64());
    let mut sum = Acc::default();
    if spec.operation.is_pooling() {
        sum = pooled(spec, src, position, acc);
    } else {
        if spec.bias {
            sum = acc(bias[position.oc]);
        }
        if spec.is_deformable() {
            deformable::each_product(spec, tensors, position, |x, _, w| sum = sum + Acc::from_f64(x) * acc(w));
        } else {
            each_product(spec, src, weights, position, |x, w| sum = sum + acc(x) * acc(w));
        }
    }
    Acc::from_f64(steps_at(spec, tensors, position).fold(sum.to_f64(), |x, step| epilogue(step, x)))
}

/// The elementwise steps of the epilogue at an output, with numbers in place of those that `tensors` have one of for each channel or output.
///
/// # Panics
/// If one of `tensors` is shorter than the layer says.
pub fn steps_at<T: Element>(
    spec: &LayerSpec,
    tensors: &Tensors<'_, T>,
    position: Position,
) -> impl Iterator<Item = Epilogue> {
    let mut row = usize::from(spec.bias);
    spec.then.iter().filter(|step| step.is_elementwise()).map(move |&step| {
        let element = || tensors.residual[dst_index(spec, position)].to_f64();
        match step {
            Epilogue::Residual => return Epilogue::Add { constant: element() },
            Epilogue::Multiply => return Epilogue::Mul { factor: element() },
            _ => {}
        }
        if !step.is_per_channel() {
            return step;
        }
        let number = tensors.bias[row * spec.out_channels + position.oc].to_f64();
        row += 1;
        match step {
            Epilogue::Scale => Epilogue::Mul { factor: number },
            Epilogue::Shift => Epilogue::Add { constant: number },
            _ => Epilogue::LeakyRelu { slope: number },
        }
    })
}

/// The greatest element of a window, their norm, or their sum over the divisor.
fn pooled<T: Element, Acc: Accumulator>(
    spec: &LayerSpec,
    src: &[T],
    position: Position,
    acc: impl Fn(T) -> Acc,
) -> Acc {
    if spec.operation == Operation::MaxPool {
        let mut greatest = Acc::from_f64(f64::NEG_INFINITY);
        each_element(spec, src, position, |x| {
            if acc(x) > greatest || x.to_f64().is_nan() {
                greatest = acc(x);
            }
        });
        return greatest;
    }
    let mut sum = Acc::default();
    if spec.operation == Operation::LpPool {
        each_element(spec, src, position, |x| sum = sum + power(acc(x), spec.p));
        return root(sum, spec.p);
    }
    each_element(spec, src, position, |x| sum = sum + acc(x));
    sum / Acc::from_f64(divisor(spec, position.at) as f64)
}

/// `|x|^p`.
fn power<Acc: Accumulator>(x: Acc, p: usize) -> Acc {
    let magnitude = if x < Acc::default() { Acc::default() - x } else { x };
    (1..p).fold(magnitude, |power, _| power * magnitude)
}

/// The root of degree `p`, which of a power of a whole number is that.
fn root<Acc: Accumulator>(sum: Acc, p: usize) -> Acc {
    match p {
        1 => sum,
        2 => sum.sqrt(),
        _ => {
            let root = sum.to_f64().powf(1.0 / p as f64);
            let whole = root.round();
            Acc::from_f64(if whole.powi(p as i32) == sum.to_f64() { whole } else { root })
        }
    }
}

/// Calls `f` with each element of the window of pooling at an output, in order.
fn each_element<T: Element>(spec: &LayerSpec, src: &[T], position: Position, mut f: impl FnMut(T)) {
    each_position(spec, position, |at| f(src[src_index(spec, position.n, position.oc, at)]));
}

/// Calls `f` with where in the input each element of the window of pooling at an output is, in order.
fn each_position(spec: &LayerSpec, position: Position, mut f: impl FnMut([usize; 3])) {
    if spec.adaptive {
        let [d, h, w] = [0, 1, 2].map(|i| spec.spatial[i].adaptive_window(position.at[i]));
        let rows = d.flat_map(|d| h.clone().map(move |h| (d, h)));
        return rows.flat_map(|(d, h)| w.clone().map(move |w| [d, h, w])).for_each(f);
    }
    let [kd, kh, kw] = spec.spatial.map(|a| a.kernel);
    for tap in (0..kd * kh * kw).map(|t| [t / kw / kh, t / kw % kh, t % kw]) {
        let Some(at) = input_position(spec, position.at, tap) else { continue };
        if at.iter().zip(&spec.spatial).all(|(at, axis)| (0..axis.input as i64).contains(at)) {
            f(at.map(|i| i as usize));
        }
    }
}

/// What the sum of the window at `output` is divided by.
fn divisor(spec: &LayerSpec, output: [usize; 3]) -> usize {
    let counted = |i: usize| {
        let axis = &spec.spatial[i];
        if spec.adaptive {
            return axis.adaptive_window(output[i]).len();
        }
        let within = match spec.divisor {
            Divisor::Inside => axis.pad_lo..axis.pad_lo + axis.input,
            Divisor::Padded | Divisor::Number(_) => 0..axis.pad_lo + axis.input + axis.pad_hi,
        };
        (0..axis.kernel).filter(|tap| within.contains(&(output[i] * axis.stride + tap * axis.dilation))).count()
    };
    match spec.divisor {
        Divisor::Number(number) => number,
        Divisor::Padded | Divisor::Inside => counted(0) * counted(1) * counted(2),
    }
}

/// Calls `f` with the factors of each product of an output, in the order of the sum. Taps on the padding have none.
fn each_product<T: Element>(spec: &LayerSpec, src: &[T], weights: &[T], position: Position, mut f: impl FnMut(T, T)) {
    let group = position.oc / spec.oc_per_group();
    let [kd, kh, kw] = spec.spatial.map(|a| a.kernel);
    let taps = (0..kd * kh * kw).map(|t| match spec.operation {
        Operation::Transposed => kd * kh * kw - 1 - t,
        _ => t,
    });
    for tap in taps.map(|t| [t / kw / kh, t / kw % kh, t % kw]) {
        let Some(at) = input_position(spec, position.at, tap) else { continue };
        for ic in 0..spec.ic_per_group() {
            let channel = group * spec.ic_per_group() + ic;
            let Some(x) = input_at(spec, src, position.n, channel, at) else { continue };
            f(x, weight_at(spec, weights, position.oc, ic, tap));
        }
    }
}

/// Where in the input `tap` looks for `output`, from its first element on; `None` if it looks nowhere.
fn input_position(spec: &LayerSpec, output: [usize; 3], tap: [usize; 3]) -> Option<[i64; 3]> {
    let mut at = [0; 3];
    for (i, axis) in spec.spatial.iter().enumerate() {
        at[i] = match spec.operation {
            // The input that goes to `input * stride - pad_lo + tap * dilation`, which is the output.
            Operation::Transposed => {
                let distance = (output[i] + axis.pad_lo).checked_sub(tap[i] * axis.dilation)?;
                (distance % axis.stride == 0).then_some(distance / axis.stride)? as i64
            }
            // Under the tap of the window at the output.
            _ => (output[i] * axis.stride + tap[i] * axis.dilation) as i64 - axis.pad_lo as i64,
        };
    }
    Some(at)
}

/// The element of `channel` that stands at `position`, which may lie in the padding; `None` if nothing is there.
fn input_at<T: Element>(spec: &LayerSpec, src: &[T], n: usize, channel: usize, position: [i64; 3]) -> Option<T> {
    match (element_at(spec, position), spec.padding_mode) {
        (Some(at), _) => Some(src[src_index(spec, n, channel, at)]),
        (None, PaddingMode::Constant(value)) => Some(T::from_f64(value)),
        (None, _) => None,
    }
}

/// Where the element of the input is that stands at `position`, which may lie in the padding; `None` if none does.
fn element_at(spec: &LayerSpec, position: [i64; 3]) -> Option<[usize; 3]> {
    let mut at = [0; 3];
    for (i, axis) in spec.spatial.iter().enumerate() {
        at[i] = spec.padding_mode.element(position[i], axis.input)?;
    }
    Some(at)
}

/// Where an element of `src` is in memory.
pub fn src_index(spec: &LayerSpec, n: usize, channel: usize, at: [usize; 3]) -> usize {
    index(spec, spec.in_channels, spec.spatial.map(|a| a.input), Position { n, oc: channel, at })
}

/// Where an element of `dst` is in memory: what [`Position::of`] takes.
fn dst_index(spec: &LayerSpec, position: Position) -> usize {
    index(spec, spec.out_channels, spec.spatial.map(|a| a.output), position)
}

/// Where an element of a tensor in the layer's layout is.
fn index(spec: &LayerSpec, channels: usize, sizes: [usize; 3], position: Position) -> usize {
    let ([depth, height, width], Position { n, oc: channel, at: [d, h, w] }) = (sizes, position);
    match spec.layout {
        Layout::ChannelsFirst => (((n * channels + channel) * depth + d) * height + h) * width + w,
        Layout::ChannelsLast => (((n * depth + d) * height + h) * width + w) * channels + channel,
        Layout::Pairs => {
            let number = n * (channels / 2) + channel / 2;
            2 * (((number * depth + d) * height + h) * width + w) + channel % 2
        }
        Layout::Blocked => {
            let block = spec.dtype.block();
            let block_at = n * channels.div_ceil(block) + channel / block;
            (((block_at * depth + d) * height + h) * width + w) * block + channel % block
        }
    }
}

/// A weight; `ic` counts within the group of `oc`. Of a layer of complex numbers it is one of those of real numbers that it stands for.
fn weight_at<T: Element>(spec: &LayerSpec, weights: &[T], oc: usize, ic: usize, tap: [usize; 3]) -> T {
    if !spec.complex {
        return weights[weights_index(spec, oc, ic, tap)];
    }
    let numbers = LayerSpec {
        complex: false,
        in_channels: spec.in_channels / 2,
        out_channels: spec.out_channels / 2,
        ..spec.clone()
    };
    let first = 2 * weights_index(&numbers, oc / 2, ic / 2, tap);
    // (a + b i) (x + y i) = (a x - b y) + (b x + a y) i.
    match (oc % 2, ic % 2) {
        (0, 0) | (1, 1) => weights[first],
        (0, _) => T::from_f64(-weights[first + 1].to_f64()),
        _ => weights[first + 1],
    }
}

/// Where a weight is in memory, of a layer of real numbers; `ic` counts within the group of `oc`.
pub fn weights_index(spec: &LayerSpec, oc: usize, ic: usize, [d, h, w]: [usize; 3]) -> usize {
    let [kd, kh, kw] = spec.spatial.map(|a| a.kernel);
    // Transposed layers count output channels within the group, and input channels of all.
    let (group, group_oc) = (oc / spec.oc_per_group(), oc % spec.oc_per_group());
    let all_ic = group * spec.ic_per_group() + ic;
    match spec.weights_layout {
        WeightsLayout::Oihw => (((oc * spec.ic_per_group() + ic) * kd + d) * kh + h) * kw + w,
        WeightsLayout::Hwio => (((d * kh + h) * kw + w) * spec.ic_per_group() + ic) * spec.out_channels + oc,
        WeightsLayout::Iohw => (((all_ic * spec.oc_per_group() + group_oc) * kd + d) * kh + h) * kw + w,
        WeightsLayout::Hwoi => (((d * kh + h) * kw + w) * spec.oc_per_group() + group_oc) * spec.in_channels + all_ic,
    }
}

/// One step of the epilogue, in `f64`. `NaN` goes through, and `relu(-0.0)` is `-0.0`. It is `NaN`, too, for steps that lack the number
/// of a channel or an output, see [`steps_at`], and for a [`softmax`].
pub fn epilogue(step: Epilogue, x: f64) -> f64 {
    let clamp = |x: f64, lo: f64, hi: f64| {
        if x < lo {
            lo
        } else if x > hi {
            hi
        } else {
            x
        }
    };
    let elu = |x: f64, alpha: f64, divisor: f64| if x < 0.0 { alpha * (x / divisor).exp_m1() } else { x };
    match step {
        Epilogue::Relu => clamp(x, 0.0, f64::INFINITY),
        Epilogue::Relu6 => clamp(x, 0.0, 6.0),
        Epilogue::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                x * slope
            }
        }
        Epilogue::Clamp { lo, hi } => clamp(x, lo, hi),
        Epilogue::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Epilogue::Tanh => x.tanh(),
        Epilogue::Silu => x / (1.0 + (-x).exp()),
        Epilogue::HardSwish => x * clamp(x + 3.0, 0.0, 6.0) / 6.0,
        Epilogue::Gelu => x / 2.0 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        // (1 + tanh(v / 2)) / 2 as 1 / (1 + exp(-v)), where nothing cancels.
        Epilogue::GeluTanh => x / (1.0 + (-2.0 * (2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)).exp()),
        Epilogue::Elu { alpha } => elu(x, alpha, 1.0),
        Epilogue::Selu => SELU_SCALE * elu(x, SELU_ALPHA, 1.0),
        Epilogue::Celu { alpha } => elu(x, alpha, alpha),
        Epilogue::Softplus => {
            if x > SOFTPLUS_THRESHOLD {
                x
            } else {
                x.exp().ln_1p()
            }
        }
        Epilogue::Softsign => x / (1.0 + x.abs()),
        Epilogue::LogSigmoid => x.min(0.0) - (-x.abs()).exp().ln_1p(),
        Epilogue::HardSigmoid => clamp(x + 3.0, 0.0, 6.0) / 6.0,
        Epilogue::Mish => x * x.exp().ln_1p().tanh(),
        Epilogue::Abs => x.abs(),
        Epilogue::Neg => -x,
        Epilogue::Add { constant } => x + constant,
        Epilogue::Mul { factor } => x * factor,
        Epilogue::Pow { exponent } => x.powf(exponent),
        Epilogue::Log => x.ln(),
        Epilogue::ReciprocalNoNan => {
            if x == 0.0 {
                x
            } else {
                1.0 / x
            }
        }
        Epilogue::Scale | Epilogue::Shift | Epilogue::PRelu => f64::NAN,
        Epilogue::Residual | Epilogue::Multiply | Epilogue::Softmax => f64::NAN,
    }
}

#[cfg(test)]
mod tests;
