//! Random layers for property tests, legal by construction and small enough to run. Behind the feature `arbitrary`.
//!
//! They have what layers of real networks seldom combine: rank 1 to 3, padding that differs by side and may exceed the kernel,
//! stride with dilation, groups up to depthwise with a multiplier, channels that fill no vector, every layout of everything,
//! batch 0 to 3 or named, both types, bias, and epilogues. They shrink towards `conv1d` with sizes of 1.

use super::layout::fits_blocks;
use super::sizes;
use super::{
    Accuracy, Algorithm, Axis, Batch, DType, Divisor, Epilogue, Half, Integers, LayerSpec, Layout, Operation, PARTS,
    POW_STEP, PackInput, PaddingMode, PerChannel, Requantized, Schedule, SpatialAxis, Storage, VectorAxis,
    WeightsLayout,
};
use crate::span::{Span, Spanned};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Multiply-accumulates that a random layer has at most, over its whole batch (a named batch counts as 3).
pub const MAX_MACS: u64 = 200_000;

/// Random legal layers without pins; at most [`MAX_MACS`], or four times that of complex numbers.
pub fn layer_spec() -> impl Strategy<Value = LayerSpec> {
    prop_oneof![6 => real_spec().boxed(), 1 => complex_spec().boxed()]
}

/// Those of complex numbers.
fn complex_spec() -> impl Strategy<Value = LayerSpec> {
    let step = prop_oneof![
        select(&[Epilogue::Residual, Epilogue::Shift, Epilogue::Neg][..]),
        (-2.0..2.0).prop_map(|factor| Epilogue::Mul { factor })
    ];
    let layers = real_spec().prop_filter("a layer of complex numbers", |spec| !spec.operation.is_pooling());
    (layers, option::of(step)).prop_map(|(spec, step)| LayerSpec {
        complex: true,
        in_channels: PARTS * spec.in_channels,
        out_channels: PARTS * spec.out_channels,
        layout: if spec.layout == Layout::ChannelsFirst { Layout::Pairs } else { Layout::ChannelsLast },
        padding_mode: match spec.padding_mode {
            PaddingMode::Constant(_) => PaddingMode::Zeros,
            mode => mode,
        },
        then: step.into_iter().collect(),
        ..spec
    })
}

/// Those of real numbers.
fn real_spec() -> impl Strategy<Value = LayerSpec> {
    let head = (1..=3_usize, select(&[DType::F32, DType::F64][..]), batch(), channels());
    let layouts = (
        select(&[Layout::ChannelsFirst, Layout::ChannelsLast, Layout::Blocked][..]),
        any::<proptest::sample::Selector>(),
        any::<bool>(),
        padding_mode(),
    );
    let operation = (operation(), any::<bool>(), 0..4_usize).prop_map(|(operation, ceil_mode, shared)| {
        let adaptive = shared == 0 && matches!(operation, Operation::MaxPool | Operation::AvgPool);
        Windows { operation, ceil_mode, adaptive }
    });
    let operation = operation.prop_flat_map(|windows| {
        // The greatest of the data to that power fits `f32`.
        let p = select(&[1, 2, 2, 2, 3, 4, 5, 6, 7, 12, 25, 40][..]);
        (Just(windows), [(); 3].map(|()| axis(windows)), divisor(), p)
    });
    (head, layouts, operation, steps()).prop_map(|(head, layouts, (windows, axes, divisor, p), then)| {
        let operation = windows.operation;
        let (rank, dtype, batch, (groups, ic, oc)) = head;
        let (layout, weights_layout, bias, padding_mode) = layouts;
        let weights_layout = weights_layout.select(operation.weights_layouts());
        let mut spatial = [SpatialAxis::UNIT; 3];
        spatial[3 - rank..].copy_from_slice(&axes[3 - rank..]);
        let mut spec = LayerSpec {
            name: "layer".to_owned(),
            operation,
            rank,
            dtype,
            half: None,
            integers: None,
            complex: false,
            batch,
            in_channels: groups * ic,
            out_channels: groups * oc,
            groups,
            offset_groups: 1,
            mask: false,
            layout,
            weights_layout,
            spatial,
            padding_mode,
            divisor: Divisor::Padded,
            adaptive: false,
            p: 2,
            return_indices: false,
            bias,
            then,
            accuracy: Accuracy::default(),
            schedule: Schedule::default(),
        };
        if operation.is_pooling() {
            keep_to_pooling(&mut spec, if windows.adaptive { Divisor::Padded } else { divisor }, p);
        }
        keep_small(&mut spec, windows);
        spec.adaptive = windows.adaptive && spec.spatial.iter().any(|a| !a.input.is_multiple_of(a.output));
        keep_to_blocks(&mut spec);
        keep_to_mode(&mut spec);
        spec
    })
}

/// What the sizes of an axis follow from.
#[derive(Clone, Copy, Debug)]
struct Windows {
    operation: Operation,
    /// Of pooling.
    ceil_mode: bool,
    /// Of maxima and averages.
    adaptive: bool,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::{AvgPool, Convolution, LpPool, MaxPool, Transposed};
    prop_oneof![4 => Just(Convolution), 2 => Just(Transposed), 1 => Just(MaxPool), 2 => Just(AvgPool), 1 => Just(LpPool)]
}

fn divisor() -> impl Strategy<Value = Divisor> {
    prop_oneof![2 => Just(Divisor::Padded), 2 => Just(Divisor::Inside), 1 => (1..=10_usize).prop_map(Divisor::Number)]
}

/// Takes away what pooling has not: each channel is a group, without weights.
fn keep_to_pooling(spec: &mut LayerSpec, divisor: Divisor, p: usize) {
    let channels = spec.in_channels;
    (spec.groups, spec.out_channels) = (channels, channels);
    (spec.bias, spec.padding_mode, spec.weights_layout) = (false, PaddingMode::Zeros, WeightsLayout::Oihw);
    match spec.operation {
        Operation::AvgPool => spec.divisor = divisor,
        Operation::LpPool => spec.p = p,
        _ => {}
    }
}

/// Random legal deformable layers without pins; at most [`MAX_MACS`].
pub fn deformable_spec() -> impl Strategy<Value = LayerSpec> {
    let is_like = |spec: &LayerSpec| spec.operation == Operation::Convolution && spec.rank == 2;
    let sets = (any::<proptest::sample::Selector>(), any::<bool>(), any::<bool>());
    (real_spec().prop_filter("a convolution of two axes", is_like), sets).prop_map(|(spec, (sets, mask, last))| {
        LayerSpec {
            operation: Operation::Deformable,
            dtype: DType::F32,
            offset_groups: sets.select((1..=spec.in_channels).filter(|n| spec.in_channels.is_multiple_of(*n))),
            mask,
            layout: if last { Layout::ChannelsLast } else { Layout::ChannelsFirst },
            padding_mode: PaddingMode::Zeros,
            then: spec.then.iter().copied().filter(|step| !step.takes_tensor()).collect(),
            ..spec
        }
    })
}

/// Random legal layers of maxima whose positions are an output too, of every type that can have them, without pins; at most [`MAX_MACS`].
pub fn indices_spec() -> impl Strategy<Value = LayerSpec> {
    let is_max = |spec: &LayerSpec| spec.operation == Operation::MaxPool;
    let storage = select(&[Storage::F32, Storage::F32, Storage::F16, Storage::Bf16, Storage::U8, Storage::I8][..]);
    (real_spec().prop_filter("a layer of maxima", is_max), storage).prop_map(|(spec, storage)| LayerSpec {
        dtype: DType::F32,
        half: match storage {
            Storage::F16 => Some(Half::F16),
            Storage::Bf16 => Some(Half::Bf16),
            _ => None,
        },
        integers: storage.is_narrow().then(|| maxima(storage)),
        layout: if spec.layout == Layout::Blocked && storage.is_narrow() { Layout::ChannelsLast } else { spec.layout },
        return_indices: true,
        then: Vec::new(),
        ..spec
    })
}

/// Random legal layers of unpooling, of every type that can have it, without pins.
pub fn unpool_spec() -> impl Strategy<Value = LayerSpec> {
    let is_max = |spec: &LayerSpec| spec.operation == Operation::MaxPool && !spec.adaptive;
    let half = select(&[None, None, Some(Half::F16), Some(Half::Bf16)][..]);
    let more = [(); 3].map(|()| (-2..=2_i64, 0..=2_usize));
    (real_spec().prop_filter("a layer of maxima", is_max), half, more).prop_map(|(spec, half, more)| {
        let unpooled = |(axis, (more, pad)): (SpatialAxis, (i64, usize))| {
            let most = (axis.kernel - 1) / 2;
            let axis = SpatialAxis {
                input: axis.output,
                dilation: 1,
                pad_lo: pad.min(most),
                pad_hi: axis.pad_hi.min(most),
                ..axis
            };
            let reach = axis.stride as i64 - 1;
            let output = (sizes::unpooled(&axis) + more.clamp(-reach, reach)).max(1);
            SpatialAxis { output: output as usize, ..axis }
        };
        let mut all = spec.spatial.into_iter().zip(more).map(unpooled);
        let spatial = std::array::from_fn(|_| all.next().unwrap_or(SpatialAxis::UNIT));
        let half = half.filter(|_| spec.dtype == DType::F32);
        LayerSpec { operation: Operation::MaxUnpool, half, spatial, then: Vec::new(), ..spec }
    })
}

/// Random legal layers of halves without pins; at most [`MAX_MACS`].
pub fn half_spec() -> impl Strategy<Value = LayerSpec> {
    let half = select(&[Half::F16, Half::Bf16][..]);
    let layers = real_spec().prop_filter("a layer of f32", |spec| spec.dtype == DType::F32);
    (layers, half).prop_map(|(spec, half)| {
        let then = spec.then.iter().copied().filter(|step| step.is_elementwise()).collect();
        LayerSpec { half: Some(half), then, ..spec }
    })
}

/// Random legal layers of integers without pins; at most [`MAX_MACS`].
pub fn integer_spec() -> impl Strategy<Value = LayerSpec> {
    let has_integers = |spec: &LayerSpec| matches!(spec.operation, Operation::Convolution | Operation::MaxPool);
    (real_spec().prop_filter("a layer of integers", has_integers), integers()).prop_map(|(spec, integers)| LayerSpec {
        dtype: DType::F32,
        integers: Some(match spec.operation {
            Operation::MaxPool => maxima(integers.src),
            _ => integers,
        }),
        layout: if spec.layout == Layout::Blocked { Layout::ChannelsLast } else { spec.layout },
        padding_mode: if spec.padding_mode.is_copied() { spec.padding_mode } else { PaddingMode::Zeros },
        then: Vec::new(),
        ..spec
    })
}

/// What there is of integers without weights.
fn maxima(src: Storage) -> Integers {
    Integers {
        src,
        src_zero_point: 0,
        weights: Storage::I8,
        weights_zero_point: PerChannel::One(0),
        reduce_range: false,
        output: None,
    }
}

fn integers() -> impl Strategy<Value = Integers> {
    let narrow = || select(&[Storage::U8, Storage::I8][..]);
    let point = |storage: Storage| {
        let (least, most) = storage.range();
        prop_oneof![1 => Just(0), 2 => least..=most]
    };
    let scale = || 0.001..2.0_f64;
    let zero_point = move |storage| {
        let one = point(storage).prop_map(PerChannel::One);
        prop_oneof![3 => one, 1 => Just(PerChannel::Each)]
    };
    let weights_scale = move || prop_oneof![1 => scale().prop_map(PerChannel::One), 1 => Just(PerChannel::Each)];
    let output = (narrow(), scale(), weights_scale(), scale()).prop_flat_map(
        move |(dst, src_scale, weights_scale, dst_scale)| {
            // As if a few hundred products of middling size were summed.
            let dst_scale = dst_scale * 500.0 * src_scale;
            point(dst).prop_map(move |zero_point| Requantized { dst, src_scale, weights_scale, dst_scale, zero_point })
        },
    );
    (narrow(), narrow()).prop_flat_map(move |(src, weights)| {
        (point(src), zero_point(weights), any::<bool>(), option::of(output.clone())).prop_map(
            move |(src_zero_point, weights_zero_point, reduce_range, output)| Integers {
                src,
                src_zero_point,
                weights,
                weights_zero_point,
                reduce_range,
                output,
            },
        )
    })
}

/// Half of the layers with zeros, the others with each mode; transposed layers have no other.
fn padding_mode() -> impl Strategy<Value = PaddingMode> {
    use PaddingMode::{Circular, Constant, Reflect, Replicate, Zeros};
    prop_oneof![1 => Just(Zeros), 1 => select(&[Constant(1.0), Constant(-2.0), Reflect, Replicate, Circular][..])]
}

/// Gives layers a mode that they can have.
fn keep_to_mode(spec: &mut LayerSpec) {
    if spec.operation == Operation::Transposed {
        spec.padding_mode = PaddingMode::Zeros;
    }
    let too_much = |a: &SpatialAxis| spec.padding_mode.most(a.input).is_some_and(|most| a.pad_lo.max(a.pad_hi) > most);
    if spec.spatial.iter().any(too_much) {
        spec.padding_mode = PaddingMode::Replicate;
    }
}

fn batch() -> impl Strategy<Value = Batch> {
    prop_oneof![4 => (0..=3_usize).prop_map(Batch::Fixed), 1 => Just(Batch::Named("N".to_owned()))]
}

/// Groups, input and output channels of each: dense, grouped, or depthwise with a multiplier.
fn channels() -> impl Strategy<Value = (usize, usize, usize)> {
    prop_oneof![
        4 => (Just(1), 1..=40_usize, 1..=70_usize),
        2 => (2..=5_usize, 1..=9_usize, 1..=40_usize),
        2 => (1..=70_usize, Just(1), 1..=3_usize),
        1 => (1..=70_usize, Just(1), Just(1)),
        1 => (1..=20_usize, Just(1), select(&[2, 4, 8, 16][..])),
    ]
}

/// An axis whose window fits; padding that the kernel cannot reach past is allowed.
fn axis(windows: Windows) -> impl Strategy<Value = SpatialAxis> {
    let padding = || prop_oneof![3 => 0..=2_usize, 1 => 0..=9_usize];
    let output_padding = 0..=2_usize;
    (1..=20_usize, 1..=5_usize, 1..=3_usize, 1..=3_usize, padding(), padding(), output_padding).prop_map(
        move |(input, kernel, stride, dilation, pad_lo, pad_hi, output_padding)| {
            let mut axis = SpatialAxis { input, output: 0, kernel, stride, dilation, pad_lo, pad_hi };
            if windows.adaptive {
                // Up to six windows, of which there may be more than elements.
                return SpatialAxis::adaptive(1 + input % 13, 1 + (kernel + pad_lo) % 6);
            }
            if windows.operation != Operation::Transposed {
                axis.input = input.max(axis.extent().saturating_sub(pad_lo + pad_hi));
            }
            with_output(windows, axis, output_padding)
        },
    )
}

/// The axis with its output; of pooling with padding that leaves every window a tap, of a transposed layer at most `output_padding` is added, and padding that leaves nothing is lowered.
fn with_output(windows: Windows, axis: SpatialAxis, output_padding: usize) -> SpatialAxis {
    if windows.adaptive {
        return SpatialAxis::adaptive(axis.input, axis.output);
    }
    if windows.operation.is_pooling() {
        let most = axis.extent() - 1;
        let (pad_lo, pad_hi) = (axis.pad_lo.min(most), axis.pad_hi.min(most));
        let input = axis.input.max(axis.extent().saturating_sub(pad_lo + pad_hi));
        let axis = SpatialAxis { input, pad_lo, pad_hi, ..axis };
        let output = if windows.ceil_mode { sizes::output_rounded_up(&axis) } else { sizes::output(&axis) };
        let axis = SpatialAxis { output: output.unwrap_or(0), ..axis };
        if sizes::misses_input(&axis) {
            return with_output(windows, SpatialAxis { dilation: 1, ..axis }, 0);
        }
        return axis;
    }
    if windows.operation == Operation::Convolution {
        return SpatialAxis { output: sizes::output(&axis).unwrap_or(0), ..axis };
    }
    let all = (axis.input - 1) * axis.stride + axis.extent() + output_padding.min(axis.stride.max(axis.dilation) - 1);
    let pad_lo = axis.pad_lo.min(all - 1);
    let pad_hi = axis.pad_hi.min(all - 1 - pad_lo);
    SpatialAxis { output: all - pad_lo - pad_hi, pad_lo, pad_hi, ..axis }
}

/// Halves whatever is largest until the layer is within [`MAX_MACS`].
fn keep_small(spec: &mut LayerSpec, windows: Windows) {
    let images = spec.fixed_batch().unwrap_or(3).max(1) as u64;
    while spec.macs_per_image() * images > MAX_MACS {
        let (ic, oc, groups) = (spec.ic_per_group(), spec.oc_per_group(), spec.groups);
        let shrinkable = |axis: &SpatialAxis| match windows.operation {
            Operation::Transposed => axis.input,
            _ => axis.input.min((axis.pad_lo + axis.input + axis.pad_hi).saturating_sub(axis.extent())),
        };
        let widest = (0..3).max_by_key(|at| shrinkable(&spec.spatial[*at])).unwrap_or(2);
        let room = shrinkable(&spec.spatial[widest]);
        let (ic, oc, groups) = match ic.max(oc).max(groups) {
            most if room > 1 && room >= most / 4 => {
                let axis = spec.spatial[widest];
                spec.spatial[widest] = with_output(windows, SpatialAxis { input: axis.input - room / 2, ..axis }, 0);
                continue;
            }
            most if most == oc && oc > 1 => (ic, oc / 2, groups),
            most if most == ic && ic > 1 => (ic / 2, oc, groups),
            most if most == groups && groups > 1 => (ic, oc, groups / 2),
            _ => {
                // Only taps and padding are left.
                for axis in &mut spec.spatial {
                    let (pad_lo, kernel) = (axis.pad_lo / 2, axis.kernel.div_ceil(2));
                    *axis = with_output(windows, SpatialAxis { pad_lo, kernel, ..*axis }, 0);
                }
                continue;
            }
        };
        (spec.in_channels, spec.out_channels, spec.groups) = (groups * ic, groups * oc, groups);
    }
}

/// Takes channels off the groups of a blocked layer until the blocks hold them.
fn keep_to_blocks(spec: &mut LayerSpec) {
    if spec.layout == Layout::Blocked && spec.groups > 1 {
        let fitting = |most: usize| (1..=most).rev().find(|&c| fits_blocks(c, spec.dtype.block())).unwrap_or(1);
        let (ic, oc) = (fitting(spec.ic_per_group()), fitting(spec.oc_per_group()));
        (spec.in_channels, spec.out_channels) = (spec.groups * ic, spec.groups * oc);
    }
}

/// An epilogue, of whose steps at most one takes a tensor, and seldom the last is a softmax, or the first a power, a logarithm or a quotient of what is above 0.
fn steps() -> impl Strategy<Value = Vec<Epilogue>> {
    let quarters = prop_oneof![-16..=-1_i32, 1..=16_i32];
    (vec(epilogue(), 0..=2), 0..8_usize, quarters).prop_map(|(mut steps, last, quarters)| {
        let mut more = true;
        steps.retain(|step| !step.takes_tensor() || std::mem::take(&mut more));
        let of_positive = match last {
            1 => Some(Epilogue::Pow { exponent: f64::from(quarters) * POW_STEP }),
            2 => Some(if quarters > 0 { Epilogue::Log } else { Epilogue::ReciprocalNoNan }),
            _ => None,
        };
        if let Some(step) = of_positive {
            steps.splice(0..0, [Epilogue::Abs, Epilogue::Add { constant: 1.0 }, step]);
        }
        steps.extend((last == 0).then_some(Epilogue::Softmax));
        steps
    })
}

fn epilogue() -> impl Strategy<Value = Epilogue> {
    prop_oneof![
        select(&[Epilogue::Relu, Epilogue::Relu6, Epilogue::Sigmoid, Epilogue::Tanh][..]),
        select(&[Epilogue::Scale, Epilogue::Shift, Epilogue::PRelu, Epilogue::Residual, Epilogue::Multiply][..]),
        select(&[Epilogue::Silu, Epilogue::HardSwish, Epilogue::Gelu][..]),
        select(&[Epilogue::GeluTanh, Epilogue::Selu, Epilogue::Softplus, Epilogue::LogSigmoid][..]),
        select(&[Epilogue::Softsign, Epilogue::HardSigmoid, Epilogue::Mish, Epilogue::Abs, Epilogue::Neg][..]),
        (-2.0..2.0).prop_map(|slope| Epilogue::LeakyRelu { slope }),
        (-2.0..2.0).prop_map(|alpha| Epilogue::Elu { alpha }),
        (0.1..4.0).prop_map(|alpha| Epilogue::Celu { alpha }),
        (-4.0..4.0).prop_map(|constant| Epilogue::Add { constant }),
        (-2.0..2.0).prop_map(|factor| Epilogue::Mul { factor }),
        (-4.0..4.0, 0.0..4.0).prop_map(|(lo, width): (f64, f64)| Epilogue::Clamp { lo, hi: lo + width }),
    ]
}

/// Random pins, well-formed; most fit no layer.
pub fn schedule() -> impl Strategy<Value = Schedule> {
    fn pin<T: Clone + std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<Spanned<T>>> {
        option::of(value.prop_map(|value| Spanned::new(value, Span::default())))
    }
    let block = proptest::sample::subsequence(Axis::ALL, 0..=3)
        .prop_flat_map(|axes| (Just(axes.clone()), vec(1..=200_usize, axes.len())))
        .prop_map(|(axes, sizes)| axes.into_iter().zip(sizes).collect::<Vec<_>>());
    let loops = [Axis::ALL, Axis::ALL].concat();
    let order = proptest::sample::subsequence(loops, 0..=8).prop_shuffle();
    let tile = (1..=32_usize, 1..=4_usize);
    let first = (pin(select(Algorithm::ALL)), pin(select(VectorAxis::ALL)), pin(tile), pin(block));
    let second = (pin(order), pin(select(Axis::ALL)), pin(select(PackInput::ALL)), pin(1..=8_usize));
    (first, second).prop_map(|((algorithm, vector, tile, block), (order, parallel, pack_input, unroll))| Schedule {
        algorithm,
        vector,
        tile,
        block,
        order,
        parallel,
        pack_input,
        unroll,
    })
}
