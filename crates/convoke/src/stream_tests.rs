use super::*;
use crate::compile;
use convoke_core::spec::{Accuracy, Batch, DType, Layout, Operation, arbitrary};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, Error>, message: &str) {
    assert_eq!(result.unwrap_err().to_string(), message);
}

/// Numbers that look random, from -0.5 to 0.5.
fn numbers<T: Element>(count: usize, seed: usize) -> Vec<T> {
    let mut state = seed as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((state >> 40) as f64 / (1 << 24) as f64 - 0.5)
    };
    (0..count).map(|_| next()).collect()
}

/// A layer and parameters for it.
struct Case<T> {
    spec: LayerSpec,
    weights: Vec<T>,
    bias: Vec<T>,
    steps: Vec<Vec<T>>,
}

impl<T: Element> Case<T> {
    fn new(spec: LayerSpec) -> Self {
        let weights = numbers(spec.weights_len(), 1);
        let bias = numbers(if spec.bias { spec.out_channels } else { 0 }, 2);
        let steps = spec.channel_steps().map(|_| numbers(spec.out_channels, 3)).collect();
        Self { spec, weights, bias, steps }
    }

    /// The layer of one call for signals of `frames` frames, if they fill a window.
    fn spec(&self, frames: usize) -> Option<LayerSpec> {
        let mut spec = LayerSpec { accuracy: Accuracy::Exact, ..self.spec.clone() };
        let axis = &mut spec.spatial[2];
        let room = (axis.pad_lo + frames + axis.pad_hi).checked_sub(axis.extent())?;
        (axis.input, axis.output) = (frames, room / axis.stride + 1);
        Some(spec)
    }

    fn bias(&self) -> Option<&[T]> {
        (!self.bias.is_empty()).then_some(&self.bias)
    }

    fn steps(&self) -> Vec<&[T]> {
        self.steps.iter().map(Vec::as_slice).collect()
    }

    fn stream(&self, compiler: &Compiler) -> Stream<T> {
        compiler.stream(&self.spec, &self.weights, self.bias(), &self.steps()).unwrap()
    }

    /// What one call computes; nothing where the signal fills no window.
    fn at_once(&self, src: &[T], frames: usize) -> Vec<T> {
        let Some(mut spec) = self.spec(frames) else { return Vec::new() };
        let mut src = src.to_vec();
        if frames == 0 {
            // No layer has an empty input, but its padding may fill windows.
            let axis = &mut spec.spatial[2];
            (axis.input, axis.pad_lo, axis.pad_hi) = (axis.pad_lo + axis.pad_hi, 0, 0);
            src = vec![fill(&spec); spec.src_image() * spec.fixed_batch().unwrap()];
        }
        let kernel = compile(&spec).unwrap();
        let packed = kernel.pack_with(&self.weights, self.bias(), &self.steps()).unwrap();
        let mut dst = vec![T::default(); spec.dst_image() * spec.fixed_batch().unwrap()];
        kernel.run(&packed, &src, &mut dst).unwrap();
        dst
    }

    /// Holds the outputs of blocks of those sizes, one after the other and again until the signal ends, to the bits of one call.
    fn check(&self, stream: &mut Stream<T>, frames: usize, sizes: &[usize]) -> Result<(), String> {
        let layer = stream.layer.clone();
        let src = numbers(frames * layer.src.elements(), 7);
        let expected = self.at_once(&src, frames);
        let total = expected.len() / layer.dst.elements();
        let mut dst = vec![T::default(); expected.len()];
        let (mut from, mut to, mut out, mut state) = (0, 0, Vec::new(), Vec::new());
        let mut take = |expected: usize, given: usize, out: &[T]| {
            if expected != given || out.len() != given * layer.dst.elements() || to + given > total {
                return Err(format!("{given} outputs, {} numbers, behind {to} of {total}; said {expected}", out.len()));
            }
            paste(layer.dst, out, (&mut dst, total), to);
            to += given;
            Ok(())
        };
        for count in sizes.iter().cycle() {
            let count = (*count).min(frames - from);
            let block = part(layer.src, (&src, frames), from, count);
            let outputs = stream.outputs(count);
            take(outputs, stream.push(&block, &mut out).unwrap(), &out)?;
            from += count;
            if stream.state(&mut state).is_ok() {
                // Another signal, of which nothing stays.
                stream.push(&block, &mut out).unwrap();
                stream.resume(&state).unwrap();
            }
            if from == frames {
                break;
            }
        }
        let outputs = stream.outputs_at_end();
        take(outputs, stream.finish(&mut out).unwrap(), &out)?;
        let wrong = dst.iter().zip(&expected).position(|(a, b)| a.bits() != b.bits());
        match wrong {
            Some(at) => Err(format!("element {at} is {} and should be {}", dst[at], expected[at])),
            None if to != total => Err(format!("{to} outputs of {total}")),
            None => Ok(()),
        }
    }

    #[track_caller]
    fn holds(&self, stream: &mut Stream<T>, frames: usize, sizes: &[usize]) {
        self.check(stream, frames, sizes)
            .unwrap_or_else(|why| panic!("{why}\n{frames} frames in {sizes:?}\n{}", self.spec));
    }
}

/// Frames `from..from + count` of a signal.
fn part<T: Element>(shape: Frames, (all, frames): (&[T], usize), from: usize, count: usize) -> Vec<T> {
    let row = |row: usize| &all[(row * frames + from) * shape.inner..][..count * shape.inner];
    (0..shape.rows).flat_map(row).copied().collect()
}

/// Writes a block of frames into a signal, from frame `at` on.
fn paste<T: Element>(shape: Frames, block: &[T], (all, frames): (&mut [T], usize), at: usize) {
    let count = block.len() / shape.elements();
    for row in 0..shape.rows {
        let to = (row * frames + at) * shape.inner;
        all[to..to + count * shape.inner].copy_from_slice(&block[row * count * shape.inner..][..count * shape.inner]);
    }
}

/// Sizes of blocks from 0 to `most`, small ones as often as large ones.
fn random_sizes(most: f64) -> Vec<usize> {
    numbers::<f64>(997, 5).iter().map(|x| (most + 1.0).powf(x + 0.5) as usize - usize::from(*x < 0.0)).collect()
}

#[test]
fn a_million_samples_in_random_blocks_are_the_bits_of_one_call() {
    let compiler = Compiler::new();
    for fields in [
        "input: f32[1, 1, 9] @ ncl, out_channels: 1, kernel_size: 31, padding: 15",
        "input: f32[1, 9, 1] @ nlc, out_channels: 3, kernel_size: 31, stride: 2, padding: (30..0)",
        "input: f32[1, 2, 99] @ ncl, out_channels: 2, kernel_size: 31, groups: 2, dilation: 3, bias: true",
    ] {
        let case = Case::<f32>::new(format!("conv1d layer {{ {fields} }}").parse().unwrap());
        case.holds(&mut case.stream(&compiler), 1_000_000, &random_sizes(20_000.0));
    }
}

#[test]
fn every_cut_gives_the_same_bits() {
    let compiler = Compiler::new().threads(2);
    for fields in [
        "input: f32[1, 1, 9], out_channels: 1, kernel_size: 1",
        "input: f32[1, 16, 9], out_channels: 40, kernel_size: 2, dilation: 8, padding: causal, then: tanh",
        "input: f32[1, 9, 16] @ nlc, out_channels: 40, kernel_size: 2, dilation: 80, padding: causal, bias: true",
        "input: f32[1, 64, 9], out_channels: 64, kernel_size: 2, dilation: 50, padding: causal",
        "input: f32[3, 6, 9], out_channels: 9, kernel_size: 3, groups: 3, stride: 2, padding: (5..1), then: [scale, shift, relu]",
        "input: f32[2, 9, 6] @ nlc, out_channels: 9, kernel_size: 3, groups: 3, stride: 4, dilation: 3, padding: (1..9)",
        "input: f32[2, 20, 9], out_channels: 20, kernel_size: 5, groups: depthwise, padding: 2, padding_mode: constant(0.5)",
        "input: f32[1, 99, 20] @ nlc, out_channels: 40, kernel_size: 4, groups: depthwise, dilation: 7, then: prelu",
        "input: f32[1, 3, 9], out_channels: 2, kernel_size: 2, stride: 9, padding: (4..4), bias: true",
        "input: f32[1, 9, 3] @ nlc, out_channels: 2, kernel_size: 1, stride: 5, padding: (11..7)",
        "input: f32[1, 2, 9], out_channels: 2, kernel_size: 3, padding: (600..700), padding_mode: constant(-2), weights: lio",
    ] {
        let case = Case::<f32>::new(format!("conv1d layer {{ {fields} }}").parse().unwrap());
        let mut stream = case.stream(&compiler);
        // The stream starts anew after each.
        for frames in [0, 1, 2, 90, 300, 5000] {
            for sizes in [&[frames][..], &[1], &[0, 3, 1], &[64], &[17, 0, 0, 200], &[4096, 1]] {
                case.holds(&mut stream, frames, sizes);
            }
        }
    }
}

/// Makes a layer one that has a stream.
fn streamed(spec: LayerSpec) -> LayerSpec {
    let is_copied = spec.padding_mode.is_copied();
    LayerSpec {
        rank: 1,
        spatial: [SpatialAxis::UNIT, SpatialAxis::UNIT, spec.spatial[2]],
        batch: Batch::Fixed(spec.fixed_batch().unwrap_or(2).max(1)),
        layout: if spec.layout == Layout::Blocked { Layout::ChannelsLast } else { spec.layout },
        padding_mode: if is_copied { PaddingMode::Zeros } else { spec.padding_mode },
        then: spec.then.into_iter().filter(|step| !step.takes_tensor()).collect(),
        ..spec
    }
}

#[test]
fn random_layers_in_random_blocks_are_the_bits_of_one_call() {
    let convolutions = arbitrary::layer_spec().prop_filter("a convolution", |s| s.operation == Operation::Convolution);
    let blocks = vec(prop_oneof![0..=3_usize, 0..=90_usize], 0..=9);
    let cases = (convolutions.prop_map(streamed), 0..=400_usize, blocks);
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&cases, |(spec, frames, mut blocks)| {
        // One that has frames, so that the signal ends.
        blocks.push(7);
        let checked = match spec.dtype {
            DType::F32 => random_case::<f32>(&spec, frames, &blocks),
            DType::F64 => random_case::<f64>(&spec, frames, &blocks),
        };
        checked.map_err(|why| TestCaseError::fail(format!("{why}\n{frames} frames in {blocks:?}\n{spec}")))
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

fn random_case<T: Element>(spec: &LayerSpec, frames: usize, blocks: &[usize]) -> Result<(), String> {
    let case = Case::<T>::new(spec.clone());
    case.check(&mut case.stream(&Compiler::new()), frames, blocks)
}

const MEAN: &str = "conv1d mean { input: f64[1, 1, 9], out_channels: 1, kernel_size: 4, padding: (1..2) }";

#[test]
fn a_signal_may_be_shorter_than_the_window_or_empty() {
    let mut stream = Compiler::new().stream(&MEAN.parse().unwrap(), &[1.0, 10.0, 100.0, 1000.0], None, &[]).unwrap();
    let mut out = vec![7.0; 3];
    assert_eq!((stream.finish(&mut out).unwrap(), out.len()), (0, 0));
    assert_eq!(stream.push(&[1.0], &mut out).unwrap(), 0);
    assert_eq!(stream.outputs_at_end(), 1);
    assert_eq!((stream.finish(&mut out).unwrap(), &out[..]), (1, &[10.0][..]));
    assert_eq!(stream.push(&[1.0, 2.0], &mut out).unwrap(), 0);
    assert_eq!((stream.outputs(0), stream.outputs(1), stream.outputs(10)), (0, 1, 10));
    assert_eq!((stream.finish(&mut out).unwrap(), &out[..]), (2, &[210.0, 21.0][..]));
}

#[test]
fn a_stream_is_reset_and_cloned() {
    let mut stream = Compiler::new().stream(&MEAN.parse().unwrap(), &[1.0; 4], None, &[]).unwrap();
    let mut out = Vec::new();
    stream.push(&[5.0, 5.0, 5.0, 5.0], &mut out).unwrap();
    assert_eq!(out, [15.0, 20.0]);
    let mut other = stream.clone();
    stream.reset();
    stream.push(&[1.0, 1.0, 1.0], &mut out).unwrap();
    assert_eq!(out, [3.0]);
    other.push(&[1.0], &mut out).unwrap();
    assert_eq!(out, [16.0]);
}

#[test]
fn blocks_take_no_memory() {
    let spec =
        "conv1d wide { input: f32[1, 24, 9], out_channels: 24, kernel_size: 3, dilation: 5, groups: 2, padding: 5 }";
    let spec = spec.parse().unwrap();
    let mut stream = Compiler::new().stream(&spec, &[1.0f32; 24 * 12 * 3], None, &[]).unwrap();
    let held = |stream: &Stream<f32>| {
        let State { history, src, dst, workspace, .. } = &stream.state;
        (history.capacity(), src.capacity(), dst.capacity(), workspace.bytes())
    };
    let before = held(&stream);
    let mut out = Vec::new();
    for frames in [1, 1000, 0, 300, 77, 5] {
        stream.push(&vec![1.0; 24 * frames], &mut out).unwrap();
        stream.finish(&mut out).unwrap();
        assert_eq!(held(&stream), before, "after a block of {frames}");
    }
}

#[test]
fn a_block_that_ends_within_a_frame_changes_nothing() {
    let spec = "conv1d two { input: f32[2, 3, 9], out_channels: 1, kernel_size: 1 }";
    let mut stream = Compiler::new().stream(&spec.parse().unwrap(), &[1.0f32; 3], None, &[]).unwrap();
    let mut out = vec![7.0];
    let message = "a block has 7 elements, which is no multiple of the 6 of one frame of layer two";
    fails(stream.push(&[1.0; 7], &mut out), message);
    assert_eq!(out, [7.0]);
    stream.push(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut out).unwrap();
    assert_eq!(out, [6.0, 15.0]);
}

#[test]
fn states_are_handed_over_or_refused() {
    let stream = |fields: &str| {
        let layer = format!("conv1d a {{ input: f32[2, 1, 9], out_channels: 1, {fields} }}");
        Compiler::new().stream(&layer.parse().unwrap(), &[1.0f32; 3], None, &[]).unwrap()
    };
    let mut causal = stream("kernel_size: 3, padding: causal, padding_mode: constant(5)");
    let (mut state, mut out) = (vec![7.0], Vec::new());
    assert_eq!((causal.state(&mut state).unwrap(), &state[..]), (2, &[5.0; 4][..]));
    causal.push(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], &mut out).unwrap();
    assert_eq!((causal.state(&mut state).unwrap(), &state[..]), (2, &[2.0, 3.0, 20.0, 30.0][..]));
    fails(causal.resume(&[1.0; 3]), "a state has 3 elements, and that of layer a has at most 2 frames of 2");
    fails(causal.resume(&[1.0; 6]), "a state has 6 elements, and that of layer a has at most 2 frames of 2");
    causal.push(&[4.0, 40.0], &mut out).unwrap();
    assert_eq!(out, [9.0, 90.0]);
    // Fewer frames are fewer outputs.
    causal.resume(&[1.0, 10.0]).unwrap();
    assert_eq!((causal.push(&[2.0, 20.0], &mut out).unwrap(), causal.push(&[3.0, 30.0], &mut out).unwrap()), (0, 1));
    assert_eq!(out, [6.0, 60.0]);

    let apart = "a stream of layer a has no state: its windows reach over 3 frames and are 4 apart, and a state is frames that windows share";
    fails(stream("kernel_size: 3, stride: 4").state(&mut state), apart);
    let padded = "a stream of layer a has no state: its padding of 3 fills windows of 3 frames by itself, and a state is frames that a window still waits for";
    fails(stream("kernel_size: 3, padding: 3").resume(&[]), padded);
}

#[test]
fn what_has_no_stream_is_refused_by_name() {
    for (layer, reason) in [
        (
            "conv2d a { input: f32[1, 1, 9, 9], out_channels: 1, kernel_size: 3 }",
            "it is a conv2d, and a stream takes a conv1d",
        ),
        (
            "conv_transpose1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 }",
            "it is a conv_transpose1d, and a stream takes a conv1d",
        ),
        ("avg_pool1d a { input: f32[1, 1, 9], kernel_size: 3 }", "it is an avg_pool1d, and a stream takes a conv1d"),
        (
            "conv1d a { input: u8[1, 1, 9], out_channels: 1, kernel_size: 3 }",
            "its elements are u8, and a stream takes f32 and f64",
        ),
        (
            "conv1d a { input: f32[1, 1, 9] @ nCw16c, out_channels: 1, kernel_size: 3 }",
            "its layout is nCw16c, and a stream takes ncl and nlc",
        ),
        (
            "conv1d a { input: f32[N, 1, 9], out_channels: 1, kernel_size: 3 }",
            "its batch is the name N, and a stream holds frames of a number of signals that is known: write the number",
        ),
        (
            "conv1d a { input: f32[0, 1, 9], out_channels: 1, kernel_size: 3 }",
            "its batch is 0, and a stream holds frames of at least one signal",
        ),
        (
            "conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3, padding: 1, padding_mode: reflect }",
            "its padding is made of the signal (`padding_mode: reflect`), and a stream pads with zeros or constant(x)",
        ),
        (
            "conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3, then: [residual, relu] }",
            "its epilogue has `residual`, and a stream takes steps without a tensor",
        ),
        (
            "conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3, schedule { algorithm: fft } }",
            "its schedule pins `algorithm: fft`, which rounds by where a block starts, and a stream takes sums as they stand",
        ),
    ] {
        let stream = Compiler::new().stream(&layer.parse().unwrap(), &[1.0f32; 3], None, &[]);
        fails(stream, &format!("layer a cannot be streamed: {reason}"));
    }
    let spec: LayerSpec = MEAN.parse().unwrap();
    let stream = |weights: &[f64]| Compiler::new().stream(&spec, weights, None, &[]);
    fails(stream(&[1.0; 3]), "weights has 3 elements, and layer mean needs 4");
    let single = Compiler::new().stream(&spec, &[1.0f32; 4], None, &[]);
    fails(single, "layer mean computes in f64, and the data are f32");
}

#[test]
fn what_a_schedule_pins_for_one_length_is_left_out() {
    let spec = "conv1d a { input: f32[1, 1, 64], out_channels: 1, kernel_size: 3, accuracy: fast, schedule { tile: 1x1, block: (ow: 32) } }";
    let mut stream = Compiler::new().stream(&spec.parse().unwrap(), &[1.0f32; 3], None, &[]).unwrap();
    let mut out = Vec::new();
    stream.push(&[1.0; 5], &mut out).unwrap();
    assert_eq!(out, [3.0; 3]);
}
