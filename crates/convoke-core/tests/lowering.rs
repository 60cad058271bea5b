//! Lowered kernels against the reference, over random layers and, for each, every plan that can be pinned.
//!
//! What the planner would never choose is tested too: any algorithm that takes the layer, both vector axes, both
//! ways to read the input, odd tiles, blocks, loop orders and unrolling, on every target.

use convoke_core::eval::Element;
use convoke_core::eval::interp::{self, Buffers};
use convoke_core::eval::reference::{self, Tensors};
use convoke_core::ir::{self, Role, Verified};
use convoke_core::lower::{lower, weights::WeightsPacking};
use convoke_core::plan::{self, Axis, Plan};
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::arbitrary::{deformable_spec, layer_spec};
use convoke_core::spec::{Accuracy, Batch, DType, LayerSpec};
use convoke_core::target::Target;
use proptest::prelude::*;

const TARGETS: [Target; 6] =
    [Target::AVX512, Target::AVX2, Target::SSE, Target::SSE_FMA, Target::NEON, Target::PORTABLE];

/// A small generator, so that one seed makes a whole layer's data.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Integers small enough for every sum to be exact.
    fn integers<T: Element>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| T::from_f64(self.below(9) as f64 - 4.0)).collect()
    }

    fn reals<T: Element>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| T::from_f64(self.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0)).collect()
    }
}

/// A random plan that is legal: pins chosen one after the other, each dropped if it cannot hold.
fn random_plan(spec: &LayerSpec, target: &Target, r: &mut Random) -> (LayerSpec, Plan) {
    fn pin<T>(value: T) -> Option<Spanned<T>> {
        Some(Spanned::new(value, Span::default()))
    }
    // Pooling has no accuracy.
    let accuracy = if spec.operation.is_pooling() { spec.accuracy } else { Accuracy::Fast };
    let mut pinned = LayerSpec { accuracy, ..spec.clone() };
    for step in 0..7 {
        let before = pinned.schedule.clone();
        let s = &mut pinned.schedule;
        match step {
            0 if s.algorithm.is_some() => {}
            0 => s.algorithm = pin(plan::Algorithm::ALL[r.below(plan::Algorithm::ALL.len())]),
            1 => s.vector = pin(plan::VectorAxis::ALL[r.below(2)]),
            2 => s.pack_input = pin(plan::PackInput::ALL[r.below(3)]),
            3 => s.tile = pin((1 + r.below(14), 1 + r.below(4))),
            4 if s.algorithm.as_ref().is_some_and(|a| a.value == plan::Algorithm::Fft) => {
                let lanes = target.lanes(spec.dtype.bytes());
                s.block = pin(vec![(Axis::Ow, (1 + r.below(6)) * lanes)]);
            }
            4 => {
                let axis = [Axis::N, Axis::Od, Axis::Oh, Axis::Oh, Axis::Ow, Axis::Ow][r.below(6)];
                let mut block = vec![(axis, (1 + r.below(5)) * [1, 2, 4, 6][r.below(4)])];
                if r.below(2) == 0 {
                    block.push((Axis::Oc, (1 + r.below(3)) * [8, 16][r.below(2)]));
                }
                s.block = pin(block);
            }
            5 => s.unroll = pin(1 + r.below(9)),
            6 if s.algorithm.as_ref().is_some_and(|a| !a.value.is_exact()) => {
                s.parallel = pin(Axis::ALL[r.below(Axis::ALL.len())]);
            }
            _ => {
                let blocked = s.block.iter().flat_map(|b| b.value.iter().map(|b| b.0));
                let mut order: Vec<Axis> = Axis::ALL.iter().copied().chain(blocked).collect();
                for i in (1..order.len()).rev() {
                    order.swap(i, r.below(i + 1));
                }
                s.order = pin(order);
            }
        }
        if plan::choose(&pinned, target).is_err() {
            pinned.schedule = before;
        }
    }
    let plan = plan::choose(&pinned, target).expect("pins that cannot hold were dropped");
    (pinned, plan)
}

fn verified(spec: &LayerSpec, plan: &Plan, target: &Target) -> Verified {
    let kernel = lower(spec, plan, target);
    let text = kernel.to_string();
    ir::verify(kernel).unwrap_or_else(|e| panic!("{e}\n{spec}\n{plan}\n{text}"))
}

struct Data<T> {
    batch: usize,
    src: Vec<T>,
    weights: Vec<T>,
    bias: Vec<T>,
    residual: Vec<T>,
    offset: Vec<T>,
    mask: Vec<T>,
}

impl<T: Element> Data<T> {
    fn new(spec: &LayerSpec, r: &mut Random, make: fn(&mut Random, usize) -> Vec<T>) -> Self {
        let batch = match spec.batch {
            Batch::Fixed(n) => n,
            Batch::Named(_) => r.below(4),
        };
        let src = make(r, batch * spec.src_image());
        let weights = make(r, spec.weights_len());
        let bias = make(r, spec.bias_len());
        let residual = make(r, if spec.has_residual() { batch * spec.dst_image() } else { 0 });
        // Whole numbers are halved, so that taps are also between elements, where sums are exact all the same; random ones reach past borders.
        let offset: Vec<T> = make(r, batch * spec.offset_image());
        let offset =
            offset.into_iter().map(|x| T::from_f64(x.to_f64() * if x.to_f64().fract() == 0.0 { 0.5 } else { 3.0 }));
        let offset = offset.collect();
        let mask = make(r, batch * spec.mask_image());
        Self { batch, src, weights, bias, residual, offset, mask }
    }

    fn tensors(&self) -> Tensors<'_, T> {
        let Self { src, weights, bias, residual, offset, mask, .. } = self;
        Tensors { src, weights, bias, residual, offset, mask }
    }

    /// Runs `kernel`, its outer loops cut in two and the parts in reverse, as threads might.
    fn run(&self, spec: &LayerSpec, plan: &Plan, kernel: &Verified) -> Vec<T> {
        let packing = WeightsPacking::of(spec, plan, kernel.lanes());
        let mut packed = vec![T::from_f64(f64::NAN); packing.packed_len()];
        packing.pack(&self.weights, &mut packed);
        let len = |role| kernel.buffers.iter().find(|b| b.role == role).map_or(0, |b| b.len.eval(&[self.batch as i64]));
        let mut dst = vec![T::from_f64(f64::NAN); len(Role::Dst) as usize];
        let mut scratch = vec![T::from_f64(f64::NAN); len(Role::Scratch) as usize];
        let mut local = vec![T::default(); len(Role::Local) as usize];
        let residual = if spec.has_residual() { &self.residual[..] } else { &[] };
        let mut buffers = Buffers {
            src: &self.src,
            weights: &packed,
            bias: &self.bias[..spec.bias_len()],
            residual,
            offset: &self.offset,
            mask: &self.mask,
            dst: &mut dst,
            scratch: &mut scratch,
            local: &mut local,
            ..Buffers::default()
        };
        for (i, nest) in kernel.nests.iter().enumerate() {
            let all = interp::outer_range(kernel, i, self.batch).expect("the batch is not negative");
            let middle = if nest.outer.parallel { (all.start + all.end) / 2 } else { all.start };
            for part in [middle..all.end, all.start..middle] {
                interp::run_nest(kernel, i, part, self.batch, &mut buffers).expect("lengths are the kernel's");
            }
        }
        dst
    }
}

fn check<T: reference::Accumulator>(spec: &LayerSpec, seed: u64) {
    let mut r = Random(seed);
    for target in &TARGETS {
        let (pinned, plan) = random_plan(spec, target, &mut r);
        let kernel = verified(&pinned, &plan, target);
        let context = || format!("seed {seed}, {}\n{}\n{}", target.name(), with_pins(&pinned, &plan), *kernel);
        let exact_data = Data::<T>::new(spec, &mut r, Random::integers);
        let linear = LayerSpec { then: Vec::new(), ..spec.clone() };
        let linear_kernel = verified(&linear, &plan, target);
        let got = exact_data.run(&linear, &plan, &linear_kernel);
        if spec.is_exact(plan.algorithm) {
            let want = reference::run::<T, T>(&linear, exact_data.batch, &exact_data.tensors());
            assert_eq!(got, want, "integers are exact: {}", context());
        } else {
            exact_data.check(&linear, &plan, &got, context);
        }

        let data = Data::<T>::new(spec, &mut r, Random::reals);
        data.check(spec, &plan, &data.run(spec, &plan, &kernel), context);
    }
}

impl<T: Element> Data<T> {
    /// Whether every output lies within the bound.
    fn check(&self, spec: &LayerSpec, plan: &Plan, got: &[T], context: impl Fn() -> String) {
        let tensors = &self.tensors();
        let linear = LayerSpec { then: Vec::new(), ..spec.clone() };
        let sums = (0..got.len()).map(|i| {
            reference::Position::of(spec, i).map_or(0.0, |position| reference::output_at(&linear, tensors, position))
        });
        let outputs = reference::outputs_and_bounds::<T>(spec, plan.algorithm, self.batch, tensors, sums);
        for (i, (got, (exact, bound))) in got.iter().zip(outputs).enumerate() {
            let error = (got.to_f64() - exact).abs();
            assert!(error <= bound, "output {i}: {got} for {exact}, error {error:e} over {bound:e}: {}", context());
        }
    }
}

/// The layer with its plan written down.
fn with_pins(spec: &LayerSpec, plan: &Plan) -> LayerSpec {
    LayerSpec { schedule: plan.to_schedule(), ..spec.clone() }
}

/// Blocked layers that random ones seldom are: several blocks, tails of every kind, groups within blocks and of whole ones,
/// and an epilogue that turns 0 into something else, which what fills up a block must not see.
const BLOCKED: [&str; 8] = [
    "conv2d tails { input: f32[2, 37, 5, 7] @ nChw16c, out_channels: 35, kernel_size: 3, padding: 1, then: sigmoid }",
    "conv2d whole { input: f32[1, 32, 5, 20] @ nChw16c, out_channels: 64, kernel_size: 3, stride: 2, bias: true, then: sigmoid }",
    "conv2d pixels { input: f64[N, 19, 4, 5] @ nChw8c, out_channels: 21, kernel_size: 1, bias: true, then: sigmoid }",
    "conv2d each { input: f32[2, 37, 6, 6] @ nChw16c, out_channels: 37, groups: 37, kernel_size: 3, padding: 1, then: sigmoid }",
    "conv2d twice { input: f32[1, 19, 6, 6] @ nChw16c, out_channels: 38, groups: 19, kernel_size: 3, then: sigmoid }",
    "conv2d within { input: f32[1, 20, 5, 5] @ nChw16c, out_channels: 40, groups: 5, kernel_size: 3, padding: 1, then: sigmoid }",
    "conv2d blocks { input: f32[1, 96, 3, 3] @ nChw16c, out_channels: 12, groups: 3, kernel_size: 3, padding: 1, then: sigmoid }",
    "conv3d volume { input: f64[1, 17, 3, 4, 5] @ nCdhw8c, out_channels: 9, kernel_size: 2, padding: 1, then: sigmoid }",
];

/// Steps that take a number for each channel, by every algorithm: tails of vectors and of panels, groups, phases of channels, with a bias and
/// without.
const CHANNELS: [&str; 9] = [
    "conv2d tails { input: f32[2, 5, 6, 7] @ nchw, out_channels: 21, kernel_size: 3, padding: 1, bias: true, then: [scale, shift, relu] }",
    "conv2d last { input: f64[1, 5, 9, 6] @ nhwc, out_channels: 38, groups: 2, kernel_size: 2, then: [prelu, scale, prelu] }",
    "conv2d blocks { input: f32[2, 37, 6, 6] @ nChw16c, out_channels: 37, groups: 37, kernel_size: 3, padding: 1, then: [shift, sigmoid] }",
    "conv1d pointwise { input: f32[N, 7, 30] @ ncl, out_channels: 9, kernel_size: 1, bias: true, then: prelu }",
    "conv2d winograd { input: f32[1, 9, 9, 21] @ nchw, out_channels: 19, kernel_size: 3, padding: 1, then: [scale, shift], accuracy: fast, schedule { algorithm: winograd4 } }",
    "conv2d winograd_blocks { input: f32[1, 16, 9, 9] @ nChw16c, out_channels: 35, kernel_size: 3, padding: 1, bias: true, then: [shift, prelu], accuracy: fast, schedule { algorithm: winograd2 } }",
    "conv1d long { input: f32[2, 3, 300] @ ncl, out_channels: 5, kernel_size: 31, bias: true, then: [scale, prelu], accuracy: fast, schedule { algorithm: fft } }",
    "conv2d large { input: f32[1, 20, 21, 4] @ nhwc, out_channels: 4, groups: 4, kernel_size: 9, padding: 4, then: shift, accuracy: fast, schedule { algorithm: fft } }",
    "conv_transpose2d upsampled { input: f32[1, 5, 6, 7] @ nchw, out_channels: 19, kernel_size: 4, stride: 2, padding: 1, bias: true, then: [scale, shift, prelu] }",
];

/// Depthwise layers with several outputs a channel: fewer than a vector has lanes, as many, more; channels that fill no vector and
/// no panel; windows that slide and that do not; a number of outputs that divides no vector, which `direct` takes.
const MULTIPLIED: [&str; 14] = [
    "conv2d two { input: f32[2, 6, 9, 19] @ nhwc, out_channels: 38, groups: 19, kernel_size: 3, padding: 1, then: sigmoid }",
    "conv2d two_first { input: f32[2, 19, 5, 9] @ nchw, out_channels: 38, groups: 19, kernel_size: 3, padding: 1, bias: true }",
    "conv2d four { input: f32[1, 7, 8, 9] @ nhwc, out_channels: 36, groups: 9, kernel_size: 3, stride: 2, padding: 1, bias: true }",
    "conv2d four_first { input: f32[1, 9, 7, 8] @ nchw, out_channels: 36, groups: 9, kernel_size: (3, 1), stride: 2, padding: 1 }",
    "conv2d eight { input: f32[N, 5, 9, 5] @ nhwc, out_channels: 40, groups: 5, kernel_size: (2, 8), padding: (1, 4), weights: hwio }",
    "conv2d eight_first { input: f32[1, 5, 5, 19] @ nchw, out_channels: 40, groups: 5, kernel_size: 3, stride: (1, 2), bias: true }",
    "conv2d sixteen { input: f32[1, 5, 6, 3] @ nhwc, out_channels: 48, groups: 3, kernel_size: 3, padding: 1, bias: true }",
    "conv2d sixteen_first { input: f32[1, 3, 5, 20] @ nchw, out_channels: 48, groups: 3, kernel_size: 3, padding: (0, 2) }",
    "conv2d three { input: f32[1, 5, 6, 7] @ nhwc, out_channels: 21, groups: 7, kernel_size: 3, padding: 1 }",
    "conv2d two_double { input: f64[1, 5, 6, 13] @ nhwc, out_channels: 26, groups: 13, kernel_size: 3, padding: 1, bias: true }",
    "conv2d four_double { input: f64[1, 5, 6, 7] @ nhwc, out_channels: 28, groups: 7, kernel_size: 1, stride: 2 }",
    "conv2d eight_double { input: f64[1, 3, 5, 9] @ nchw, out_channels: 24, groups: 3, kernel_size: 3, padding: 1, bias: true }",
    "conv2d sixteen_double { input: f64[1, 3, 5, 9] @ nchw, out_channels: 48, groups: 3, kernel_size: 3, padding: 1 }",
    "conv3d volume { input: f32[1, 3, 4, 5, 6] @ ndhwc, out_channels: 24, groups: 6, kernel_size: 2, padding: 1, dilation: 2 }",
];

#[test]
fn multiplied_channels_by_any_plan() {
    by_any_plan(&MULTIPLIED, 24);
}

/// Layers of one input channel, a group or in all, whose `direct` tiles slide: strides that skip taps and that share them, dilation, borders on every side,
/// windows longer than registers allow for, channels that fill no vector, all layouts, transposed layers.
const GREY: [&str; 11] = [
    "conv2d digits { input: f32[2, 9, 13, 1] @ nhwc, out_channels: 8, kernel_size: 3, padding: 1, bias: true, then: relu }",
    "conv2d planes { input: f32[1, 1, 7, 30] @ nchw, out_channels: 19, kernel_size: 3, padding: (0, 2), bias: true }",
    "conv2d apart { input: f32[N, 12, 14, 1] @ nhwc, out_channels: 10, kernel_size: (2, 5), stride: (1, 2), padding: (0..1, 3..0), dilation: (1, 2) }",
    "conv2d skips { input: f32[1, 9, 17, 1] @ nhwc, out_channels: 16, kernel_size: 2, stride: 3, padding: 1, then: [shift, sigmoid] }",
    "conv2d blocks { input: f32[1, 1, 8, 9] @ nchw, out_channels: 32, kernel_size: (3, 7), padding: 3, padding_mode: reflect }",
    "conv2d three { input: f32[1, 6, 6, 5] @ nhwc, out_channels: 15, groups: 5, kernel_size: 3, padding: 1, bias: true }",
    "conv2d double { input: f64[1, 6, 11, 1] @ nhwc, out_channels: 6, kernel_size: 4, padding: (1, 2..0), then: residual }",
    "conv1d sound { input: f32[1, 90, 1] @ nlc, out_channels: 24, kernel_size: 7, stride: 2, padding: 3 }",
    "conv1d beyond { input: f32[1, 60, 1] @ nlc, out_channels: 8, kernel_size: 8, padding: 9, bias: true }",
    "conv3d volume { input: f32[1, 3, 4, 9, 1] @ ndhwc, out_channels: 8, kernel_size: (2, 3, 3), padding: 1 }",
    "conv_transpose2d up { input: f32[1, 4, 6, 1] @ nhwc, out_channels: 9, kernel_size: 4, stride: (1, 2), padding: 1, bias: true }",
];

#[test]
fn a_single_input_channel_by_any_plan() {
    by_any_plan(&GREY, 24);
}

/// Whatever the target, because the layout of packed weights depends on it.
#[test]
fn multipliers_that_divide_a_panel_are_depthwise_on_every_target() {
    for text in MULTIPLIED {
        let spec: LayerSpec = text.parse().expect("a legal layer");
        let spec = LayerSpec { accuracy: Accuracy::Exact, ..spec };
        let direct = ["three", "sixteen_double"].contains(&&spec.name[..]);
        let algorithm = if direct { plan::Algorithm::Direct } else { plan::Algorithm::Depthwise };
        for target in &TARGETS {
            assert_eq!(plan::choose(&spec, target).expect("a plan").algorithm, algorithm, "{text}");
        }
    }
}

/// What `fft` takes: windows of a row, several blocks and less than one, borders that reach past a block, dilation, groups, multipliers,
/// rows that are skipped, all layouts.
const FFT: [&str; 12] = [
    "conv1d taps { input: f32[1, 1, 300] @ ncl, out_channels: 1, kernel_size: 15, padding: same }",
    "conv1d long { input: f32[2, 1, 1500] @ ncl, out_channels: 1, kernel_size: 65, padding: causal, bias: true, then: relu }",
    "conv1d batch { input: f32[N, 2, 90] @ ncl, out_channels: 3, kernel_size: 31, padding: 20, bias: true, then: gelu }",
    "conv1d double { input: f64[2, 200, 3] @ nlc, out_channels: 5, kernel_size: 33, padding: (3..40), then: sigmoid }",
    "conv1d dilated { input: f32[1, 2, 170] @ ncl, out_channels: 2, kernel_size: 9, padding: 13, dilation: 3, bias: true }",
    "conv1d wide { input: f32[1, 1, 7] @ ncl, out_channels: 1, kernel_size: 9, padding: 20, dilation: 5 }",
    "conv1d each { input: f32[1, 5, 120] @ ncl, out_channels: 10, groups: 5, kernel_size: 17, padding: same, bias: true }",
    "conv1d groups { input: f32[2, 100, 6] @ nlc, out_channels: 9, groups: 3, kernel_size: 15, padding: 9, weights: lio }",
    "conv2d rows { input: f32[1, 2, 9, 60] @ nchw, out_channels: 3, kernel_size: (1, 21), stride: (2, 1), padding: (0, 10) }",
    "conv3d planes { input: f64[1, 2, 5, 40, 2] @ ndhwc, out_channels: 2, kernel_size: (1, 1, 2), stride: (1, 3, 1), padding: (0, 0, 1) }",
    "conv1d blocks { input: f32[1, 21, 50] @ nCw16c, out_channels: 35, kernel_size: 15, padding: 7, bias: true, then: sigmoid }",
    "conv2d whole { input: f32[1, 32, 2, 70] @ nChw16c, out_channels: 64, groups: 2, kernel_size: (1, 16), padding: (0, 8) }",
];

#[test]
fn fft_by_any_plan() {
    let pinned = FFT.map(|text| text.replace(" }", ", accuracy: fast, schedule { algorithm: fft } }"));
    by_any_plan(&pinned.each_ref().map(|text| &text[..]), 8);
}

/// Transposed layers at their borders: phases without taps, or none that meets the input; stride with dilation; `output_padding`;
/// padding that crops more than the window reaches, on one side and on both; inputs and outputs of one element; all layouts.
const TRANSPOSED: [&str; 14] = [
    "conv_transpose1d holes { input: f32[2, 5, 7], out_channels: 9, kernel_size: 2, stride: 4, bias: true, then: sigmoid }",
    "conv_transpose1d tail { input: f32[1, 3, 6], out_channels: 4, kernel_size: 3, dilation: 4, output_padding: 3, bias: true }",
    "conv_transpose1d crops { input: f32[N, 4, 12], out_channels: 17, kernel_size: 3, stride: 2, padding: 9..4, bias: true }",
    "conv_transpose1d last { input: f64[2, 9, 5], out_channels: 3, kernel_size: 5, stride: 3, padding: 16..0, weights: iol }",
    "conv_transpose1d one { input: f32[1, 6, 1], out_channels: 1, kernel_size: 7, stride: 3, padding: 3, bias: true, then: tanh }",
    "conv_transpose1d vocoder { input: f32[1, 20, 33], out_channels: 10, kernel_size: 16, stride: 8, padding: 4, bias: true }",
    "conv_transpose2d dilated { input: f32[1, 5, 4, 6], out_channels: 18, kernel_size: 3, stride: 2x3, dilation: 3x2, padding: (2..0, 3) }",
    "conv_transpose2d even { input: f32[2, 8, 6, 19], out_channels: 34, kernel_size: 4, stride: 2, padding: 1, then: gelu }",
    "conv_transpose2d keras { input: f32[1, 6, 9, 5] @ nhwc, out_channels: 7, kernel_size: 3, stride: 2, padding: same, weights: hwoi }",
    "conv_transpose2d groups { input: f32[1, 5, 4, 12] @ nhwc, out_channels: 6, groups: 3, kernel_size: 3, stride: 2, weights: hwoi }",
    "conv_transpose2d each { input: f32[1, 5, 8, 19] @ nhwc, out_channels: 38, groups: 19, kernel_size: 5, stride: 2, padding: 2 }",
    "conv_transpose2d scores { input: f32[1, 5, 4, 9], out_channels: 5, groups: 5, kernel_size: 8, stride: 4, weights: hwoi, bias: true }",
    "conv_transpose2d blocks { input: f32[2, 37, 4, 5] @ nChw16c, out_channels: 35, kernel_size: 2, stride: 2, bias: true, then: sigmoid }",
    "conv_transpose3d volume { input: f64[1, 3, 4, 5, 6] @ ndhwc, out_channels: 9, kernel_size: 2, stride: 2, bias: true, then: relu }",
];

#[test]
fn transposed_layers_by_any_plan() {
    by_any_plan(&TRANSPOSED, 6);
}

/// A residual on every path to a store: both vector axes, each algorithm, tails, blocks, strides, borders, rows of one tile, pooling.
const RESIDUALS: [&str; 13] = [
    "conv2d plain { input: f32[2, 3, 9, 21] @ nchw, out_channels: 19, kernel_size: 3, padding: 1, bias: true, then: [residual, relu] }",
    "conv2d keras { input: f32[1, 9, 7, 5] @ nhwc, out_channels: 37, kernel_size: 3, stride: 2, then: [sigmoid, residual] }",
    "conv2d matrix { input: f64[N, 7, 5, 9] @ nchw, out_channels: 11, kernel_size: 1, then: [scale, shift, residual, relu] }",
    "conv2d blocks { input: f32[2, 21, 5, 9] @ nChw16c, out_channels: 35, kernel_size: 3, padding: 1, then: [residual, sigmoid] }",
    "conv2d each { input: f32[1, 6, 10, 19] @ nhwc, out_channels: 19, groups: 19, kernel_size: 3, padding: 1, then: residual }",
    "conv2d each_plane { input: f32[1, 9, 8, 17] @ nchw, out_channels: 9, groups: 9, kernel_size: 3, padding: 1, then: [prelu, residual] }",
    "conv_transpose2d spread { input: f32[1, 5, 6, 7] @ nchw, out_channels: 10, kernel_size: 4, stride: 2, padding: 1, then: residual }",
    "conv2d winograd { input: f32[2, 9, 21, 7] @ nhwc, out_channels: 19, kernel_size: 3, padding: 1, bias: true, then: [residual, relu], accuracy: fast }",
    "conv2d winograd_planes { input: f32[1, 40, 9, 11] @ nchw, out_channels: 33, kernel_size: 3, padding: 1, then: [shift, residual], accuracy: fast }",
    "conv1d filter { input: f64[2, 1, 300] @ ncl, out_channels: 3, kernel_size: 31, padding: causal, bias: true, then: [residual, tanh], accuracy: fast }",
    "conv2d image { input: f32[1, 2, 30, 33] @ nchw, out_channels: 2, kernel_size: 9, padding: same, then: residual, accuracy: fast }",
    "avg_pool2d mean { input: f32[1, 9, 12, 35] @ nchw, kernel_size: 3, stride: 1, padding: 1, then: [residual, relu] }",
    "max_pool2d last { input: f32[2, 9, 11, 19] @ nhwc, kernel_size: 3, stride: 2, then: [scale, residual] }",
];

/// Deformable layers: both layouts, with factors and without, sets of offsets, groups within and across them, tails, strides with dilation,
/// padding on one side, sizes of one, batches by name and of none.
const DEFORMABLE: [&str; 10] = [
    "deform_conv2d plain { input: f32[1, 3, 9, 21] @ nchw, out_channels: 19, kernel_size: 3, padding: 1, bias: true, then: relu }",
    "deform_conv2d last { input: f32[2, 9, 7, 6] @ nhwc, out_channels: 37, kernel_size: 3, padding: 1, mask: true, offset_groups: 3 }",
    "deform_conv2d steps { input: f32[1, 4, 12, 20] @ nchw, out_channels: 5, kernel_size: 3x2, stride: 2x3, padding: (2..0, 1), dilation: 2x1, mask: true }",
    "deform_conv2d groups { input: f32[1, 9, 11, 12] @ nhwc, out_channels: 6, kernel_size: 2, groups: 3, offset_groups: 2, then: [scale, silu] }",
    "deform_conv2d each { input: f32[1, 6, 8, 17] @ nchw, out_channels: 12, groups: 6, offset_groups: 6, kernel_size: 3, padding: 1, weights: hwio }",
    "deform_conv2d one { input: f32[N, 1, 1, 1] @ nchw, out_channels: 1, kernel_size: 1, mask: true }",
    "deform_conv2d row { input: f32[2, 5, 1, 40] @ nchw, out_channels: 17, kernel_size: 1x5, padding: (0, 2) }",
    "deform_conv2d column { input: f32[N, 40, 1, 5] @ nhwc, out_channels: 16, kernel_size: 5x1, padding: (2, 0), mask: true }",
    "deform_conv2d none { input: f32[0, 3, 5, 5] @ nchw, out_channels: 4, kernel_size: 3 }",
    "deform_conv2d small { input: f32[3, 3, 3, 8] @ nhwc, out_channels: 33, kernel_size: 3, bias: true, offset_groups: 4 }",
];

#[test]
fn deformable_layers_by_any_plan() {
    by_any_plan(&DEFORMABLE, 6);
}

/// Softmax in every layout: fewer channels than a block, whole blocks, both with a rest; fewer pixels than a vector, one pixel; behind every kind
/// of nest.
const SOFTMAX: [&str; 16] = [
    "conv2d planes { input: f32[2, 3, 5, 7] @ nchw, out_channels: 37, kernel_size: 3, padding: 1, bias: true, then: softmax }",
    "conv2d few { input: f32[1, 3, 4, 9] @ nchw, out_channels: 2, kernel_size: 1, then: [relu, softmax] }",
    "conv2d single { input: f32[1, 3, 2, 3] @ nchw, out_channels: 1, kernel_size: 1, then: softmax }",
    "conv2d classes { input: f32[N, 20, 1, 1] @ nchw, out_channels: 101, kernel_size: 1, bias: true, then: softmax }",
    "conv1d last { input: f64[2, 9, 5] @ nlc, out_channels: 21, kernel_size: 3, then: [scale, softmax] }",
    "conv2d whole { input: f32[N, 3, 5, 6] @ nhwc, out_channels: 32, kernel_size: 2, then: softmax }",
    "conv2d blocks { input: f32[2, 19, 3, 5] @ nChw16c, out_channels: 37, kernel_size: 3, padding: 1, then: [residual, softmax] }",
    "conv3d volume { input: f64[1, 8, 2, 3, 4] @ nCdhw8c, out_channels: 16, kernel_size: 1, then: softmax }",
    "conv2d strided { input: f32[1, 9, 9, 4] @ nhwc, out_channels: 12, groups: 4, kernel_size: 3, stride: 2, dilation: 2, padding: (2..1, 0..3), then: softmax }",
    "conv_transpose2d up { input: f32[1, 5, 3, 4] @ nchw, out_channels: 18, kernel_size: 4, stride: 2, padding: 1, then: softmax }",
    "conv2d winograd { input: f32[1, 9, 9, 11] @ nchw, out_channels: 19, kernel_size: 3, padding: 1, then: softmax, accuracy: fast, schedule { algorithm: winograd4 } }",
    "conv1d long { input: f32[2, 3, 200] @ ncl, out_channels: 5, kernel_size: 31, then: softmax, accuracy: fast, schedule { algorithm: fft } }",
    "avg_pool2d means { input: f32[2, 6, 7, 20] @ nhwc, kernel_size: 3, then: softmax }",
    "conv2d pairs { input: f32[N, 5, 7, 3] @ nhwc, out_channels: 2, kernel_size: 1, bias: true, then: softmax }",
    "conv2d block { input: f32[2, 20, 4, 5] @ nChw16c, out_channels: 7, kernel_size: 3, padding: 1, then: [residual, softmax] }",
    "conv1d ones { input: f64[2, 9, 4] @ nlc, out_channels: 1, kernel_size: 1, then: softmax }",
];

/// A block of six pixels is more than half of a row of seven.
#[test]
fn blocks_of_nearly_a_row_keep_apart() {
    let text = "conv1d row { input: f64[2, 9, 5] @ nlc, out_channels: 21, kernel_size: 3, accuracy: fast, schedule { algorithm: winograd6, vector: oc, parallel: ow } }";
    by_any_plan(&[text], 2);
    let spec: LayerSpec = text.parse().expect("a legal layer");
    for target in &TARGETS {
        verified(&spec, &plan::choose(&spec, target).expect("a plan"), target);
    }
}

#[test]
fn softmax_by_any_plan() {
    by_any_plan(&SOFTMAX, 8);
}

/// The sum of powers has one order.
#[test]
fn softmax_is_the_same_in_every_layout_and_on_every_target() {
    // Of few channels vectors are pixels where there are enough of them, with a rest or without.
    for (channels, pixels) in [(37, 6), (37, 40), (17, 16), (16, 16), (16, 19), (5, 3), (2, 35), (1, 9)] {
        softmax_is_the_same(channels, pixels);
    }
}

fn softmax_is_the_same(channels: usize, pixels: usize) {
    let mut r = Random(7);
    let numbers: Vec<f32> = r.reals(channels * pixels);
    let mut results = Vec::new();
    for layout in ["ncl", "nlc", "nCw16c"] {
        for target in TARGETS.iter().filter(|target| target.fma) {
            let sizes = if layout == "nlc" { [pixels, channels] } else { [channels, pixels] };
            let text = format!(
                "conv1d each {{ input: f32[1, {}, {}] @ {layout}, out_channels: {channels}, groups: depthwise, kernel_size: 1, then: softmax }}",
                sizes[0], sizes[1]
            );
            let spec: LayerSpec = text.parse().expect("a legal layer");
            let plan = plan::choose(&spec, target).expect("a plan");
            let kernel = verified(&spec, &plan, target);
            let place = |channel: usize, pixel: usize| match layout {
                "ncl" => channel * pixels + pixel,
                "nlc" => pixel * channels + channel,
                _ => (channel / 16 * pixels + pixel) * 16 + channel % 16,
            };
            let mut data = Data::<f32>::new(&spec, &mut r, Random::reals);
            data.weights.fill(1.0);
            for (at, number) in numbers.iter().enumerate() {
                data.src[place(at / pixels, at % pixels)] = 30.0 * number;
            }
            let dst = data.run(&spec, &plan, &kernel);
            results.push(
                (0..channels * pixels).map(|at| dst[place(at / pixels, at % pixels)].to_bits()).collect::<Vec<_>>(),
            );
        }
    }
    assert_eq!(results.len(), 12);
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn residuals_by_any_plan() {
    by_any_plan(&RESIDUALS, 8);
}

#[test]
fn blocked_layers_by_any_plan() {
    by_any_plan(&BLOCKED, 6);
}

/// Pooling at its borders: windows that `ceil_mode` lets reach past the padding, divisors that differ by row and by pixel, windows that are
/// long, skip inputs, overlap or are the whole input, padding of more than half a window, one channel, all layouts.
const POOLING: [&str; 29] = [
    "max_pool2d halves { input: f32[2, 19, 9, 11] @ nhwc, kernel_size: 2 }",
    "max_pool2d overlapping { input: f32[1, 21, 13, 40] @ nchw, kernel_size: 3, stride: 2, padding: 1, then: [shift, sigmoid] }",
    "max_pool2d further { input: f32[1, 5, 8, 8] @ nchw, kernel_size: 3, stride: 2, ceil_mode: true }",
    "max_pool2d further_last { input: f64[1, 8, 10, 5] @ nhwc, kernel_size: (3, 2), stride: (2, 3), padding: (0, 1), ceil_mode: true }",
    "max_pool1d dilated { input: f32[N, 3, 31] @ ncl, kernel_size: 4, stride: 1, padding: 2, dilation: 3 }",
    "max_pool3d volume { input: f32[1, 6, 7, 5, 17] @ ndhwc, kernel_size: 3, stride: (1, 2, 2), padding: 1 }",
    "max_pool2d blocks { input: f32[1, 37, 9, 9] @ nChw16c, kernel_size: 3, stride: 1, padding: same, then: [scale, prelu] }",
    "avg_pool2d halves { input: f32[2, 19, 9, 11] @ nhwc, kernel_size: 2 }",
    "avg_pool2d inside { input: f32[1, 9, 12, 35] @ nchw, kernel_size: 3, stride: 1, padding: 1, count_include_pad: false }",
    "avg_pool2d inside_last { input: f32[1, 9, 12, 7] @ nhwc, kernel_size: (5, 3), padding: (4..0, 0..2), stride: 2, count_include_pad: false }",
    "avg_pool2d further { input: f32[1, 6, 7, 18] @ nchw, kernel_size: 3, stride: 2, padding: 1, ceil_mode: true }",
    "avg_pool2d further_last { input: f32[1, 8, 8, 20] @ nhwc, kernel_size: 3, stride: 2, padding: 1, ceil_mode: true, then: gelu }",
    "avg_pool3d volume { input: f64[1, 5, 6, 7, 10] @ ndhwc, kernel_size: 2, padding: 1, ceil_mode: true, count_include_pad: false }",
    "avg_pool1d long { input: f32[1, 50, 9] @ nlc, kernel_size: 13, stride: 3, padding: 6, count_include_pad: false, then: [shift, scale] }",
    "avg_pool2d global { input: f32[N, 40, 7, 7] @ nChw16c, kernel_size: global }",
    "avg_pool2d one { input: f64[1, 1, 5, 9] @ nhwc, kernel_size: 3, divisor: 4, stride: 1, dilation: 2, padding: 2 }",
    "lp_pool2d halves { input: f32[2, 19, 9, 11] @ nhwc, kernel_size: 2, p: 1 }",
    "lp_pool2d overlapping { input: f32[1, 21, 13, 40] @ nchw, kernel_size: 3, stride: 2, padding: 1, then: [shift, sigmoid] }",
    "lp_pool2d further { input: f32[1, 8, 8, 20] @ nhwc, kernel_size: 3, stride: 2, padding: 1, ceil_mode: true }",
    "lp_pool3d volume { input: f64[1, 5, 6, 7, 10] @ ndhwc, kernel_size: 2, padding: 1, ceil_mode: true, p: 3 }",
    "lp_pool1d dilated { input: f32[N, 3, 31] @ ncl, kernel_size: 4, stride: 1, padding: 2, dilation: 3, p: 4 }",
    "lp_pool2d blocks { input: f32[1, 37, 9, 9] @ nChw16c, kernel_size: 3, stride: 1, padding: same, p: 5, then: [scale, prelu] }",
    "lp_pool2d global { input: f32[N, 40, 7, 7] @ nhwc, kernel_size: global, p: 6 }",
    "max_pool2d shared { input: f32[2, 19, 9, 11] @ nhwc, output_size: (4, 3), then: [shift, sigmoid] }",
    "avg_pool2d shared_planes { input: f32[1, 5, 14, 40] @ nchw, output_size: (4, 15) }",
    "avg_pool3d shared_volume { input: f64[1, 3, 4, 5, 10] @ ncdhw, output_size: (3, 5, 4) }",
    "avg_pool2d spread { input: f32[1, 37, 3, 5] @ nChw16c, output_size: 7, then: [scale, residual] }",
    "max_pool1d shared_row { input: f32[N, 60, 8] @ nlc, output_size: 45 }",
    "lp_pool1d one { input: f64[1, 1, 9] @ nlc, kernel_size: 1, p: 64 }",
];

#[test]
fn pooling_by_any_plan() {
    by_any_plan(&POOLING, 12);
}

#[test]
fn numbers_of_channels_are_those_of_the_output() {
    by_any_plan(&CHANNELS, 6);
}

fn by_any_plan(layers: &[&str], seeds: u64) {
    for text in layers {
        let spec: LayerSpec = text.parse().expect("a legal layer");
        for seed in 0..seeds {
            match spec.dtype {
                DType::F32 => check::<f32>(&spec, seed),
                DType::F64 => check::<f64>(&spec, seed),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_computes_the_layer(spec in layer_spec(), seed in any::<u64>()) {
        match spec.dtype {
            DType::F32 => check::<f32>(&spec, seed),
            DType::F64 => check::<f64>(&spec, seed),
        }
    }

    #[test]
    fn any_plan_computes_the_deformable_layer(spec in deformable_spec(), seed in any::<u64>()) {
        check::<f32>(&spec, seed);
    }

    #[test]
    fn printed_plans_choose_themselves_again(spec in layer_spec(), seed in any::<u64>()) {
        let mut r = Random(seed);
        for target in &TARGETS {
            let (pinned, plan) = random_plan(&spec, target, &mut r);
            let text = with_pins(&pinned, &plan).to_string();
            let parsed: LayerSpec = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
            prop_assert_eq!(&parsed.schedule, &plan.to_schedule());
            let again = plan::choose(&parsed, target).unwrap_or_else(|e| panic!("{e}\n{text}"));
            prop_assert_eq!(Plan { why: String::new(), ..again }, Plan { why: String::new(), ..plan }, "{}", text);
        }
    }

}

/// Rows of a phase are two apart, and no two stores lie exactly a row apart.
#[test]
fn rows_of_phases_keep_apart() {
    let layer = "conv_transpose2d layer { input: f32[1, 39, 5, 7] @ nChw16c, out_channels: 35, kernel_size: 3x1, stride: 2x3,
        padding: (0, 2..0), dilation: 3, schedule { vector: oc, tile: 2x3, block: (ow: 4), order: (ow, g, oc, n, ow, oh, od), unroll: 6 } }";
    let spec: LayerSpec = layer.parse().unwrap();
    let plan = plan::choose(&spec, &Target::SSE).unwrap();
    verified(&spec, &plan, &Target::SSE);
}
