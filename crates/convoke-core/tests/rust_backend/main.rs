//! The Rust backend's source, compiled by rustc and run: bit for bit what the interpreter computes.
//!
//! Versions that this CPU lacks, AVX-512 and NEON, run on a model of their intrinsics; AVX-512 is also compiled as it is.

mod integers;
mod interface;
mod local;
mod machine;

use convoke_core::back::rust::Intrinsics;
use convoke_core::spec::arbitrary::layer_spec;
use convoke_core::target::Target;
use machine::{Case, Program, layers};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// Layers that take every path of the backend: each algorithm, both vector axes, every layout, tails, borders, strided
/// loads and stores, ranges, copies of the input, epilogues, both types, a named batch.
const LAYERS: &str = "
conv2d tails { input: f32[2, 3, 9, 11] @ nchw, out_channels: 13, kernel_size: 3, padding: 1, then: relu }
conv2d lanes_over_pixels { input: f32[1, 2, 7, 37] @ nchw, out_channels: 3, kernel_size: (3, 5), padding: (1, 2),
    then: [leaky_relu(0.1), clamp(-0.5, 0.5)], schedule { algorithm: direct, vector: ow } }
conv2d lanes_over_channels { input: f32[1, 2, 7, 23] @ nchw, out_channels: 21, kernel_size: 3, stride: (1, 2),
    schedule { algorithm: direct, vector: oc } }
conv2d keras { input: f32[1, 8, 9, 5] @ nhwc, out_channels: 10, kernel_size: 3, weights: hwio, padding: same }
conv2d keras_rows { input: f32[1, 8, 19, 5] @ nhwc, out_channels: 3, kernel_size: 3, schedule { vector: ow } }
conv2d copied { input: f32[N, 4, 6, 17] @ nchw, out_channels: 6, kernel_size: 3, padding: 2, bias: false,
    schedule { pack_input: pad } }
conv2d matrix { input: f64[3, 7, 5, 9] @ nchw, out_channels: 11, kernel_size: 1, then: sigmoid }
conv2d each_channel { input: f32[1, 6, 10, 19] @ nhwc, out_channels: 19, groups: 19, kernel_size: 3, padding: 1,
    then: hardswish }
conv1d thrice_each { input: f64[N, 5, 40] @ ncl, out_channels: 15, groups: 5, kernel_size: 4, dilation: 3, padding: 7 }
conv1d far_borders { input: f32[1, 2, 6] @ ncl, out_channels: 5, kernel_size: 4, stride: 3, padding: (9..5), then: tanh }
conv1d filter { input: f64[1, 1, 300] @ ncl, out_channels: 1, kernel_size: 31, padding: causal, then: gelu }
conv3d volume { input: f32[1, 2, 4, 5, 6] @ ncdhw, out_channels: 4, kernel_size: 3, padding: (1, 0, 2), groups: 2,
    dilation: (1, 2, 1), then: silu }
conv2d blocked { input: f32[2, 21, 5, 9] @ nChw16c, out_channels: 35, kernel_size: 3, padding: 1, bias: true, then: sigmoid }
conv1d blocked_rows { input: f64[N, 9, 19] @ nCw8c, out_channels: 13, kernel_size: 2, padding: 1, schedule { vector: ow, pack_input: pad } }
conv2d two_each { input: f32[1, 5, 9, 19] @ nhwc, out_channels: 38, groups: 19, kernel_size: 3, padding: 1, bias: true }
conv2d four_each { input: f32[1, 5, 9, 6] @ nhwc, out_channels: 24, groups: 6, kernel_size: 3, stride: 2 }
conv2d eight_each { input: f32[1, 5, 9, 6] @ nhwc, out_channels: 48, groups: 6, kernel_size: 3, stride: 2 }
conv2d two_each_in_rows { input: f32[1, 5, 5, 19] @ nchw, out_channels: 10, groups: 5, kernel_size: 3, padding: 1 }
conv2d two_each_from_planes { input: f32[1, 5, 5, 9] @ nchw, out_channels: 10, groups: 5, kernel_size: 3,
    schedule { algorithm: depthwise, vector: oc, pack_input: none } }
conv1d two_each_double { input: f64[1, 40, 9] @ nlc, out_channels: 18, groups: 9, kernel_size: 3 }
conv1d four_each_double { input: f64[1, 40, 5] @ nlc, out_channels: 20, groups: 5, kernel_size: 3 }
conv2d transformed { input: f32[2, 7, 9, 21] @ nhwc, out_channels: 19, kernel_size: 3, padding: 1, bias: true, then: gelu,
    accuracy: fast, schedule { algorithm: winograd4, block: (oh: 4) } }
conv1d transformed_row { input: f64[N, 5, 30] @ ncl, out_channels: 9, kernel_size: 3, dilation: 2, padding: 2,
    accuracy: fast, schedule { algorithm: winograd6, parallel: oc } }
conv3d transformed_volume { input: f32[1, 5, 5, 6, 3] @ ndhwc, out_channels: 33, kernel_size: 3, padding: 1,
    accuracy: fast, schedule { algorithm: winograd2, block: (oc: 16) } }
conv2d normalized { input: f32[2, 3, 5, 11] @ nchw, out_channels: 13, kernel_size: 3, padding: 1, bias: true, then: [scale, shift, prelu] }
conv1d curves { input: f32[1, 3, 40] @ ncl, out_channels: 5, kernel_size: 3, then: [softplus, elu(0.5), mish, gelu_tanh, celu(2)] }
conv1d curves_double { input: f64[1, 3, 40] @ nlc, out_channels: 9, kernel_size: 3,
    then: [abs, neg, log_sigmoid, add(2.5), selu, softsign, mul(-3), hard_sigmoid] }
conv1d logarithms { input: f32[1, 3, 40] @ ncl, out_channels: 5, kernel_size: 3, then: [log, add(1), reciprocal_no_nan, abs, log] }
conv1d logarithms_double { input: f64[1, 3, 40] @ nlc, out_channels: 9, kernel_size: 3, then: [abs, log, reciprocal_no_nan] }
max_pool2d maxima { input: f32[2, 9, 11, 19] @ nhwc, kernel_size: 3, stride: 2, padding: 1, ceil_mode: true, then: [scale, shift] }
max_pool2d maxima_of_planes { input: f64[1, 3, 9, 37] @ nchw, kernel_size: (2, 3), dilation: (1, 2), padding: 1 }
avg_pool2d means { input: f32[N, 5, 9, 21] @ nchw, kernel_size: 3, stride: 1, padding: 1, count_include_pad: false, then: sigmoid }
avg_pool3d means_of_volumes { input: f32[1, 5, 6, 7, 10] @ ndhwc, kernel_size: 2, padding: 1, ceil_mode: true }
avg_pool2d mean { input: f32[1, 21, 7, 7] @ nChw16c, kernel_size: global }
avg_pool2d shared { input: f32[2, 9, 10, 19] @ nhwc, output_size: (4, 7), then: relu }
max_pool2d shared_planes { input: f64[1, 3, 9, 37] @ nchw, output_size: (6, 5) }
lp_pool2d norms { input: f32[2, 9, 11, 19] @ nhwc, kernel_size: 3, stride: 2, padding: 1, ceil_mode: true, then: relu }
lp_pool2d norms_of_planes { input: f64[1, 3, 9, 37] @ nchw, kernel_size: (2, 3), dilation: (1, 2), padding: 1 }
lp_pool2d cubes { input: f32[1, 21, 7, 7] @ nChw16c, kernel_size: 2, p: 3 }
lp_pool1d sixths { input: f64[N, 5, 21] @ ncl, kernel_size: 3, stride: 1, padding: 1, p: 6 }
conv2d residual_block { input: f32[2, 3, 5, 11] @ nchw, out_channels: 13, kernel_size: 3, padding: 1, bias: true, then: [scale, residual, relu] }
conv2d residual_last { input: f32[N, 5, 6, 9] @ nhwc, out_channels: 21, kernel_size: 3, padding: 1, then: [residual, silu] }
conv2d residual_transformed { input: f32[2, 7, 9, 21] @ nhwc, out_channels: 19, kernel_size: 3, padding: 1, then: residual,
    accuracy: fast, schedule { algorithm: winograd4, block: (oh: 4) } }
conv2d complex_planes { input: c64[2, 3, 6, 19] @ nchw, out_channels: 5, kernel_size: 3, stride: (2, 1), padding: 1, bias: true,
    then: [shift, residual] }
conv1d complex_groups { input: c128[N, 40, 6] @ nlc, out_channels: 9, groups: 3, kernel_size: 4, dilation: 2, weights: lio }
conv_transpose2d complex_enlarged { input: c64[1, 5, 9, 4] @ nhwc, out_channels: 3, kernel_size: 3, stride: 2, padding: 1, then: mul(0.5) }
conv2d complex_transformed { input: c64[1, 9, 9, 5] @ nhwc, out_channels: 4, kernel_size: 3, accuracy: fast, schedule { algorithm: winograd4 } }
conv2d nothing { input: f32[0, 2, 4, 4] @ nchw, out_channels: 3, kernel_size: 3 }
";

/// Layers of integers: both lane formats of sums, both layouts, channels that fill no lane, borders, strides, groups, all types.
const INTEGERS: &str = "
conv2d sums { input: u8[2, 7, 6, 11] @ nchw, input_zero_point: 130, out_channels: 19, kernel_size: 3, padding: 1, bias: true }
conv2d signed { input: i8[1, 6, 19, 8] @ nhwc, out_channels: 21, kernel_size: 3, stride: 2, padding: 2, weights_zero_point: 3,
    input_scale: 0.1, weights_scale: 0.2, output: i8, output_scale: 3, output_zero_point: -7 }
conv2d bytes { input: u8[1, 6, 19, 9] @ nhwc, out_channels: 35, kernel_size: 3, padding: 1, reduce_range: true, bias: true,
    input_scale: 0.1, weights_scale: per_channel, output: u8, output_scale: 3, output_zero_point: 7 }
conv2d planes { input: u8[N, 10, 5, 37] @ nchw, out_channels: 9, kernel_size: 1, reduce_range: true, weights_type: u8,
    weights_zero_point: 100, input_scale: 0.1, weights_scale: 0.2, output: u8, output_scale: 3, schedule { vector: ow } }
max_pool2d maxima_of_bytes { input: u8[2, 9, 11, 19] @ nhwc, kernel_size: 3, stride: 2, padding: 1, ceil_mode: true }
max_pool2d signed_maxima { input: i8[N, 3, 9, 37] @ nchw, kernel_size: (2, 3), dilation: (1, 2), stride: 1, padding: 1 }
conv2d mirrored { input: u8[1, 6, 7, 9] @ nchw, input_zero_point: 3, out_channels: 5, kernel_size: 3, padding: 2, padding_mode: reflect }
conv1d wrapped { input: i8[2, 9, 6] @ nlc, out_channels: 4, kernel_size: 4, stride: 2, padding: 3, padding_mode: circular }
conv1d groups { input: u8[N, 50, 12] @ nlc, out_channels: 8, groups: 4, kernel_size: 4, dilation: 2, weights_zero_point: per_channel }
";

/// Layers of halves: every way to load and to store them, sums in every algorithm, NaN and infinity among their numbers.
const HALVES: &str = "
conv2d half_pixels { input: bf16[2, 7, 6, 19] @ nchw, out_channels: 19, kernel_size: 3, padding: 1, bias: true, then: [scale, residual, relu],
    schedule { vector: ow, pack_input: none } }
conv2d half_channels { input: f16[1, 6, 19, 8] @ nhwc, out_channels: 21, kernel_size: 3, stride: 2, padding: 2, bias: true,
    schedule { vector: oc, pack_input: none } }
conv2d half_widened { input: f16[N, 9, 5, 37] @ nchw, out_channels: 9, kernel_size: 1, bias: true, then: residual, schedule { pack_input: pad } }
conv2d half_last { input: bf16[1, 9, 5, 7] @ nchw, out_channels: 35, kernel_size: 3, padding_mode: reflect, padding: 1,
    schedule { vector: oc, pack_input: channels_last } }
conv2d half_two_each { input: f16[1, 5, 9, 19] @ nhwc, out_channels: 38, groups: 19, kernel_size: 3, padding: 1 }
conv2d half_two_each_in_rows { input: bf16[1, 5, 5, 19] @ nchw, out_channels: 10, groups: 5, kernel_size: 3, stride: 2, padding: 1 }
conv2d half_transformed { input: bf16[2, 7, 9, 21] @ nhwc, out_channels: 19, kernel_size: 3, padding: 1, bias: true, then: silu,
    accuracy: fast, schedule { algorithm: winograd4, block: (oh: 4) } }
conv2d half_blocked { input: f16[1, 21, 5, 9] @ nChw16c, out_channels: 35, kernel_size: 3, padding: 1, accuracy: fast,
    schedule { algorithm: winograd2 } }
max_pool2d half_maxima { input: f16[2, 9, 11, 19] @ nhwc, kernel_size: 3, stride: 2, padding: 1, ceil_mode: true, then: [scale, shift] }
avg_pool2d half_means { input: bf16[N, 5, 9, 21] @ nchw, kernel_size: 3, stride: 1, padding: 1, count_include_pad: false }
conv_transpose2d half_enlarged { input: f16[1, 5, 5, 9] @ nchw, out_channels: 7, kernel_size: 3, stride: 2, padding: 1, bias: true }
";

const DEFORMABLE: &str = "
deform_conv2d moved { input: f32[2, 3, 9, 13] @ nchw, out_channels: 19, kernel_size: 3, padding: 1, bias: true, mask: true, then: silu }
deform_conv2d moved_last { input: f32[N, 9, 7, 8] @ nhwc, out_channels: 5, kernel_size: 3x2, stride: 2, dilation: 2x1, padding: 2, offset_groups: 4 }
";

/// Positions of maxima, and unpooling: both vector axes, every layout and type, borders, windows of many taps, named batches.
const INDICES: &str = "
max_pool2d placed { input: f32[2, 9, 11, 19] @ nhwc, kernel_size: 3, stride: 2, padding: 1, ceil_mode: true, return_indices: true }
max_pool2d placed_planes { input: f32[N, 3, 9, 37] @ nchw, kernel_size: (2, 3), dilation: (1, 2), padding: 1, return_indices: true }
max_pool3d placed_volumes { input: f32[1, 5, 6, 7, 21] @ ndhwc, kernel_size: 2, padding: 1, return_indices: true }
max_pool2d placed_blocks { input: f16[1, 21, 7, 7] @ nChw16c, kernel_size: 3, stride: 2, return_indices: true }
max_pool1d placed_row { input: bf16[N, 2, 60] @ ncl, kernel_size: 19, stride: 3, padding: 9, return_indices: true }
max_pool2d placed_shares { input: f32[2, 3, 10, 19] @ nchw, output_size: (4, 7), return_indices: true }
max_pool2d placed_bytes { input: u8[2, 9, 11, 19] @ nhwc, kernel_size: 3, stride: 2, padding: 1, return_indices: true }
max_unpool2d back { input: f32[2, 3, 5, 7] @ nchw, kernel_size: 2 }
max_unpool2d back_last { input: f64[N, 5, 7, 21] @ nhwc, kernel_size: 3, stride: 2, padding: 1, output_size: (9, 14) }
max_unpool1d back_blocked { input: f16[N, 19, 6] @ nCw16c, kernel_size: 3 }
max_unpool3d back_halves { input: bf16[1, 3, 2, 3, 4] @ ncdhw, kernel_size: 2, schedule { parallel: n } }
";

#[track_caller]
fn check(name: &str, targets: &[Target], intrinsics: &Intrinsics, model: &str) {
    let mut cases: Vec<Case> =
        layers(LAYERS).iter().flat_map(|spec| targets.iter().map(|target| Case::new(spec, target))).collect();
    cases.extend(layers(INTEGERS).iter().flat_map(|spec| targets.iter().map(|target| Case::new(spec, target))));
    cases.extend(layers(HALVES).iter().flat_map(|spec| targets.iter().map(|target| Case::new(spec, target))));
    cases.extend(layers(DEFORMABLE).iter().flat_map(|spec| targets.iter().map(|target| Case::new(spec, target))));
    cases.extend(layers(INDICES).iter().flat_map(|spec| targets.iter().map(|target| Case::new(spec, target))));
    cases.extend(targets.iter().flat_map(|target| local::cases(target.isa)));
    // A model is plain Rust, which takes long to optimise and gives the same bits without.
    let program = Program::compile(name, &cases, intrinsics, model, model.is_empty());
    for (index, case) in cases.iter().enumerate() {
        case.check(index, &program);
    }
}

#[test]
fn avx2_runs_as_the_interpreter() {
    if machine::has_avx2_and_fma() {
        check("avx2", &[Target::AVX2], &Intrinsics::Core, "");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn sse_runs_as_the_interpreter() {
    let targets = if machine::has_avx2_and_fma() { vec![Target::SSE, Target::SSE_FMA] } else { vec![Target::SSE] };
    check("sse", &targets, &Intrinsics::Core, "");
}

#[test]
fn portable_runs_as_the_interpreter() {
    check("portable", &[Target::PORTABLE], &Intrinsics::Core, "");
}

/// Layers that no one thought of: 200 in all, a part of them an instruction set.
#[test]
fn random_layers_run_as_the_interpreter() {
    let mut runner = TestRunner::deterministic();
    let mut targets = vec![Target::PORTABLE];
    if cfg!(target_arch = "x86_64") {
        targets.push(Target::SSE);
    }
    if machine::has_avx2_and_fma() {
        targets.extend([Target::AVX2, Target::SSE_FMA]);
    }
    for chunk in 0..4 {
        let cases: Vec<Case> = (0..50)
            .map(|i| {
                let spec = layer_spec().new_tree(&mut runner).expect("a layer").current();
                Case::new(&spec, &targets[i % targets.len()])
            })
            .collect();
        let program = Program::compile(&format!("random{chunk}"), &cases, &Intrinsics::Core, "", false);
        cases.iter().enumerate().for_each(|(index, case)| case.check(index, &program));
    }
}

#[test]
fn avx512_runs_on_a_model_as_the_interpreter() {
    check("avx512_model", &[Target::AVX512, Target::AVX512_VNNI], &model(), include_str!("avx512_model.rs"));
}

#[test]
fn neon_runs_on_a_model_as_the_interpreter() {
    check("neon_model", &[Target::NEON], &model(), include_str!("neon_model.rs"));
}

/// The path under which the programs of the two tests above find their model.
fn model() -> Intrinsics {
    Intrinsics::Model("crate::model".to_owned())
}

/// Where the CPU has it, it also runs.
#[test]
#[cfg(target_arch = "x86_64")]
fn avx512_compiles_without_warnings() {
    let mut cases: Vec<Case> = layers(LAYERS).iter().map(|spec| Case::new(spec, &Target::AVX512)).collect();
    cases.extend(layers(INTEGERS).iter().map(|spec| Case::new(spec, &Target::AVX512)));
    // What of VNNI is compiled is not run.
    let vnni = [Target::AVX512_VNNI, Target::AVX2_VNNI];
    let vnni =
        layers(INTEGERS).iter().flat_map(|spec| vnni.iter().map(|target| Case::new(spec, target))).collect::<Vec<_>>();
    Program::compile("vnni", &vnni, &Intrinsics::Core, "", true);
    let program = Program::compile("avx512", &cases, &Intrinsics::Core, "", true);
    if machine::has_avx512() {
        cases.iter().enumerate().for_each(|(index, case)| case.check(index, &program));
    }
}
