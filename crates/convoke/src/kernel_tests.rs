use super::*;
use crate::{Compiler, compile};
use convoke_core::lower::weights::IntegerParameters;
use convoke_core::pipeline::CompileError;

fn kernel(text: &str) -> Kernel {
    compile(&text.parse().unwrap()).unwrap()
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, Error>, message: &str) {
    assert_eq!(result.unwrap_err().to_string(), message);
}

const PAIR: &str = "conv1d pair { input: f32[2, 1, 4], out_channels: 1, kernel_size: 2, bias: true }";
const NAMED: &str = "conv1d named { input: f32[N, 1, 4], out_channels: 1, kernel_size: 2 }";

#[test]
fn computes_with_bias() {
    let kernel = kernel(PAIR);
    let packed = kernel.pack(&[1.0f32, 10.0], Some(&[100.0])).unwrap();
    let mut dst = [0.0; 6];
    kernel.run(&packed, &[1., 2., 3., 4., 5., 6., 7., 8.], &mut dst).unwrap();
    assert_eq!(dst, [121., 132., 143., 165., 176., 187.]);
}

#[test]
fn a_named_batch_is_as_long_as_src() {
    let kernel = kernel(NAMED);
    let packed = kernel.pack(&[1.0f32, 1.0], None).unwrap();
    for n in 0..4 {
        let src: Vec<f32> = (0..4 * n).map(|i| i as f32).collect();
        let mut dst = vec![0.0; 3 * n];
        kernel.run(&packed, &src, &mut dst).unwrap();
        let expected: Vec<f32> = (0..n).flat_map(|n| (0..3).map(move |i| (8 * n + 2 * i + 1) as f32)).collect();
        assert_eq!(dst, expected);
    }
    let message = "src has 6 elements, which is no multiple of the 4 of one image of layer named";
    fails(kernel.run(&packed, &[0.0; 6], &mut [0.0; 3]), message);
    let message = "dst has 3 elements, and layer named needs 6 at batch size 2";
    fails(kernel.run(&packed, &[0.0; 8], &mut [0.0; 3]), message);
}

#[test]
fn wrong_sizes_are_errors_with_both_numbers() {
    let kernel = kernel(PAIR);
    fails(kernel.pack(&[1.0f32; 3], Some(&[0.0])), "weights has 3 elements, and layer pair needs 2");
    fails(kernel.pack(&[1.0f32; 2], Some(&[0.0; 2])), "bias has 2 elements, and layer pair needs 1");
    fails(kernel.pack(&[1.0f32; 2], None), "layer pair has a bias of 1 elements, and none was given");
    let packed = kernel.pack(&[1.0f32; 2], Some(&[0.0])).unwrap();
    let message = "src has 7 elements, and layer pair needs 8 at batch size 2";
    fails(kernel.run(&packed, &[0.0; 7], &mut [0.0; 6]), message);
    let message = "dst has 5 elements, and layer pair needs 6 at batch size 2";
    fails(kernel.run(&packed, &[0.0; 8], &mut [0.0; 5]), message);
    let unbiased = self::kernel(NAMED).pack(&[1.0f32; 2], Some(&[0.0]));
    fails(unbiased, "layer named has no bias, and one of 1 elements was given");
}

#[test]
fn wrong_types_are_errors() {
    let kernel = kernel(PAIR);
    fails(kernel.pack(&[1.0f64; 2], Some(&[0.0])), "layer pair computes in f32, and the data are f64");
}

#[test]
fn weights_of_another_layer_are_refused() {
    let other = kernel("conv1d other { input: f32[1, 1, 4], out_channels: 1, kernel_size: 3, bias: true }");
    let packed = other.pack(&[1.0f32; 3], Some(&[0.0])).unwrap();
    let message = "the weights were packed for layer other, whose 1 groups of 1 x 1 channels x 3 taps and 1 biases do not \
                   fit layer pair, which takes 1 groups of 1 x 1 channels x 2 taps and 1 biases";
    fails(kernel(PAIR).run(&packed, &[0.0; 8], &mut [0.0; 6]), message);
}

#[test]
fn threads_and_workspaces_change_no_bit() {
    let text = "conv2d c { input: f32[2, 24, 30, 31], out_channels: 40, kernel_size: 3, padding: 1, then: silu }";
    let kernel = Compiler::new().compile(&text.parse().unwrap()).unwrap();
    let numbers = |n: usize| (0..n).map(|i| ((i * 7919) % 1000) as f32 / 997.0 - 0.5).collect::<Vec<_>>();
    let packed = kernel.pack(&numbers(kernel.spec().weights_len()), None).unwrap();
    let src = numbers(2 * kernel.spec().src_image());
    let mut expected = vec![0.0; 2 * kernel.spec().dst_image()];
    kernel.run(&packed, &src, &mut expected).unwrap();
    let mut workspace = Workspace::new();
    for threads in [1, 2, 3, 8] {
        let mut dst = vec![f32::NAN; expected.len()];
        kernel.run_threads(threads, &packed, &src, &mut dst).unwrap();
        assert_eq!(dst, expected, "{threads} threads");
        dst.fill(f32::NAN);
        kernel.run_in(&mut workspace, &packed, &src, &mut dst).unwrap();
        assert_eq!(dst, expected);
    }
    let kernel = kernel.with_threads(2);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut dst = vec![f32::NAN; expected.len()];
                kernel.run(&packed, &src, &mut dst).unwrap();
                assert_eq!(dst, expected);
            });
        }
    });
}

/// A kernel made by hand, of the sizes of a layer that is worth several threads: a nest copies `src` to `scratch`, and each
/// iteration of another doubles 64 elements in `local`, shifts them there five times by one, and stores them.
const SHIFTED: &str = "
kernel shifted f32 portable {
    buffer src[65536] buffer weights[16384] buffer dst[65536] buffer scratch[65536] buffer local[68]
    vars N, c, p, i, r, j, k
    tile copy(from, to) registers 1 { v0 = load from[0] store to[0] = v0 }
    tile double(from, to) registers 1 { v0 = load from[0] v0 = add v0, v0 store to[0] = v0 }
    tile edge(to) registers 1 { v0 = const 0.5 store to[0] = v0 }
    nest copy { parallel for c in 0..16384 { call copy(src[4*c], scratch[4*c]) } }
    nest shift {
        parallel for p in 0..1024 {
            for i in 0..16 { call double(scratch[64*p + 4*i], local[4*i]) }
            call edge(local[64])
            for r in 0..5 { for j in 0..16 { call copy(local[4*j + 1], local[4*j]) } }
            for k in 0..16 { call copy(local[4*k], dst[64*p + 4*k]) }
        }
    }
}";

#[test]
fn every_thread_has_a_local_buffer() {
    let spec: LayerSpec = "conv1d c { input: f32[1, 128, 512], out_channels: 128, kernel_size: 1 }".parse().unwrap();
    let plain = compile(&spec).unwrap();
    let ir = convoke_core::ir::verify(SHIFTED.parse().unwrap()).unwrap();
    let program = Program::compile(&ir).unwrap();
    let Kernel { plan, target, pools, .. } = plain;
    let kernel = Kernel::new(spec, plan, target, ir, program, 1, pools);
    let packed = kernel.pack(&[0.0f32; 128 * 128], None).unwrap();
    let src: Vec<f32> = (0..65536).map(|i| (i * 7919 % 1000) as f32).collect();
    let expected = |i: usize| if i % 64 + 5 < 64 { 2.0 * src[i + 5] } else { 0.5 };
    let expected: Vec<f32> = (0..65536).map(expected).collect();
    let mut dst = vec![f32::NAN; 65536];
    // Scratch, and as much local memory as threads: 68 elements are five cache lines.
    for (threads, lines) in [(1, 5), (2, 10), (3, 15), (2, 15), (7, 35)] {
        for _ in 0..5 {
            dst.fill(f32::NAN);
            kernel.run_threads(threads, &packed, &src, &mut dst).unwrap();
            assert!(dst == expected, "{threads} threads");
        }
        assert_eq!(kernel.idle.lock().unwrap()[0].bytes(), 65536 * 4 + lines * 64);
    }
    let mut workspace = Workspace::new();
    kernel.run_in(&mut workspace, &packed, &src, &mut dst).unwrap();
    assert_eq!((dst == expected, workspace.bytes()), (true, 65536 * 4 + 5 * 64));
}

#[test]
fn kernels_can_be_sent_and_shared() {
    fn is_send_sync<T: Send + Sync>(_: &T) {}
    is_send_sync(&kernel(PAIR));
}

#[test]
fn too_much_code_is_refused_with_the_numbers() {
    let limits = crate::Limits { code_ops: 3, ..crate::Limits::default() };
    let error = Compiler::new().limits(limits).compile(&PAIR.parse().unwrap()).unwrap_err();
    let Error::Compile { source: CompileError::TooMuchCode { ops, limit: 3 }, .. } = error else { panic!("{error}") };
    let message = format!("layer pair: the layer needs {ops} tile instructions, and the limit is 3");
    assert_eq!(error.to_string(), message);
}

#[test]
fn targets_that_cannot_be_encoded_are_refused() {
    let foreign = if cfg!(target_arch = "aarch64") { Target::AVX512 } else { Target::NEON };
    let error = Compiler::new().target(foreign.clone()).compile(&PAIR.parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains(&format!("is for {}", foreign.name())), "{error}");
}

/// `-128` and the like are among the weights, so that nothing may saturate.
const SUMS: &str =
    "conv2d sums { input: u8[1, 2, 2, 3], input_zero_point: 1, out_channels: 1, kernel_size: (1, 2), padding: (0, 1) }";

/// ONNX's `ConvInteger` example with and without padding, and numbers at the ends of the types.
#[test]
fn integers_are_summed_exactly() {
    let example = "conv2d example { input: u8[1, 1, 3, 3], input_zero_point: 1, out_channels: 1, kernel_size: 2";
    let src = [2u8, 3, 4, 5, 6, 7, 8, 9, 10];
    let parameters = IntegerParameters { weights: &[1i8; 4], bias: &[], zero_points: &[], scales: &[] };
    for (padding, expected) in
        [(0, &[12, 16, 24, 28][..]), (1, &[1, 3, 5, 3, 5, 12, 16, 9, 11, 24, 28, 15, 7, 15, 17, 9])]
    {
        let kernel = kernel(&format!("{example}, padding: {padding} }}"));
        let packed = kernel.pack_integers(&parameters).unwrap();
        let mut dst = vec![0i32; expected.len()];
        kernel.run_integers(&packed, &src, &mut dst).unwrap();
        assert_eq!(dst, expected);
    }
    let kernel = kernel(SUMS);
    let parameters = IntegerParameters { weights: &[-128i8, -128, -128, 127], ..parameters };
    let packed = kernel.pack_integers(&parameters).unwrap();
    let mut dst = [0i32; 8];
    kernel.run_integers(&packed, &[255u8, 255, 255, 0, 0, 0, 255, 255, 255, 255, 255, 255], &mut dst).unwrap();
    // Of each channel the pixel before and the one at the place, less 1; what is beyond the border counts for nothing.
    let at = |a: i32, b: i32, c: i32, d: i32| -128 * a - 128 * b - 128 * c + 127 * d;
    let rows = [[254, 254], [-1, 254]].map(|[x, y]| [at(0, x, 0, y), at(x, x, y, y), at(x, x, y, y), at(x, 0, y, 0)]);
    assert_eq!(dst, *rows.concat());
}

/// ONNX's `QLinearConv` example.
#[test]
fn outputs_of_8_bits_are_rounded_and_bounded() {
    let kernel = kernel(
        "conv2d example { input: u8[1, 1, 7, 7], input_scale: 0.00369204697, input_zero_point: 132, out_channels: 1, kernel_size: 1,
            weights_type: u8, weights_scale: per_channel, weights_zero_point: per_channel,
            output: u8, output_scale: 0.00162681262, output_zero_point: 123 }",
    );
    let parameters = IntegerParameters { weights: &[0u8], bias: &[], zero_points: &[255], scales: &[0.001_727_945_8] };
    let packed = kernel.pack_integers(&parameters).unwrap();
    let src: [u8; 49] = [
        255, 174, 162, 25, 203, 168, 58, 15, 59, 237, 95, 129, 0, 64, 56, 242, 153, 221, 168, 12, 166, 232, 178, 186,
        195, 237, 162, 237, 188, 39, 124, 77, 80, 102, 43, 127, 230, 21, 83, 41, 40, 134, 255, 154, 92, 141, 42, 148,
        247,
    ];
    let mut dst = [0u8; 49];
    kernel.run_integers(&packed, &src, &mut dst).unwrap();
    let expected: [u8; 49] = [
        0, 81, 93, 230, 52, 87, 197, 240, 196, 18, 160, 126, 255, 191, 199, 13, 102, 34, 87, 243, 89, 23, 77, 69, 60,
        18, 93, 18, 67, 216, 131, 178, 175, 153, 212, 128, 25, 234, 172, 214, 215, 121, 0, 101, 163, 114, 213, 107, 8,
    ];
    assert_eq!(dst, expected);
}

#[test]
fn wrong_parameters_of_integers_are_errors() {
    let kernel = kernel(SUMS);
    let good = IntegerParameters { weights: &[1i8; 4], bias: &[], zero_points: &[], scales: &[] };
    let packed = kernel.pack_integers(&good).unwrap();
    fails(
        kernel.pack_integers(&IntegerParameters { weights: &[1i8; 3], ..good }),
        "weights has 3 elements, and layer sums needs 4",
    );
    fails(
        kernel.pack_integers(&IntegerParameters { bias: &[1], ..good }),
        "bias has 1 elements, and layer sums needs 0",
    );
    let unsigned = IntegerParameters { weights: &[1u8; 4], bias: &[], zero_points: &[], scales: &[] };
    fails(kernel.pack_integers(&unsigned), "weights of layer sums is i8, and what was given is u8");
    let large = IntegerParameters { weights: &[1i32, 2, 3, 128], bias: &[], zero_points: &[], scales: &[] };
    fails(kernel.pack_integers(&large), "128 is no element of the weights of layer sums");
    fails(kernel.pack(&[1.0f32; 4], None), "layer sums computes in u8, and the data are f32");
    fails(
        kernel.run_integers(&packed, &[1i8; 12], &mut [0i32; 8]),
        "src of layer sums is u8, and what was given is i8",
    );
    fails(
        kernel.run_integers(&packed, &[1u8; 12], &mut [0u8; 8]),
        "dst of layer sums is i32, and what was given is u8",
    );
    let message = "src has 11 elements, and layer sums needs 12 at batch size 1";
    fails(kernel.run_integers(&packed, &[1u8; 11], &mut [0i32; 8]), message);
    let reduced =
        self::kernel("conv1d reduced { input: u8[1, 1, 4], out_channels: 1, kernel_size: 2, reduce_range: true }");
    let beyond = IntegerParameters { weights: &[-64i8, 64], ..good };
    let message = "layer reduced has `reduce_range: true`, so weights are from -64 to 63 from what stands for 0, and one is at 64";
    fails(reduced.pack_integers(&beyond), message);
    let scaled = self::kernel(
        "conv1d scaled { input: u8[1, 1, 4], out_channels: 1, kernel_size: 1, input_scale: 1, weights_scale: per_channel, output: u8,
            output_scale: 1, weights_zero_point: per_channel }",
    );
    let each = IntegerParameters { weights: &[1i8], bias: &[], zero_points: &[0], scales: &[0.0] };
    fails(scaled.pack_integers(&each), "0 is no scale of the weights of layer scaled");
    fails(
        scaled.pack_integers(&IntegerParameters { zero_points: &[128], scales: &[1.0], ..each }),
        "128 is no zero point of the weights of layer scaled",
    );
}

#[test]
fn residuals_are_added_by_every_way_to_run() {
    let text =
        "conv2d block { input: f32[N, 3, 9, 9], out_channels: 5, kernel_size: 3, padding: 1, then: [residual, relu] }";
    let plain = compile(&text.replace(", then: [residual, relu]", "").parse().unwrap()).unwrap();
    let kernel = compile(&text.parse().unwrap()).unwrap();
    let weights: Vec<f32> = (0..3 * 5 * 9).map(|i| ((i * 7) % 5) as f32 - 2.0).collect();
    let (packed, packed_plain) = (kernel.pack(&weights, None).unwrap(), plain.pack(&weights, None).unwrap());
    let src = Tensor::from_fn([2, 3, 9, 9], |i| ((i * 11) % 7) as f32 - 3.0).unwrap();
    let residual = Tensor::from_fn([2, 5, 9, 9], |i| ((i * 13) % 9) as f32 - 4.0).unwrap();
    let sums = plain.apply(&packed_plain, &src).unwrap();
    let expected: Vec<f32> = sums.data().iter().zip(residual.data()).map(|(x, y)| (x + y).max(0.0)).collect();
    assert_eq!(kernel.apply_residual(&packed, &src, &residual).unwrap().data(), expected);
    let mut dst = vec![f32::NAN; expected.len()];
    kernel.run_residual_threads(2, &packed, src.data(), residual.data(), &mut dst).unwrap();
    assert_eq!(dst, expected);
    let mut dst = vec![f32::NAN; expected.len()];
    kernel.run_residual_in(&mut Workspace::default(), &packed, src.data(), residual.data(), &mut dst).unwrap();
    assert_eq!(dst, expected);

    let error = |result: Result<(), Error>| result.unwrap_err().to_string();
    let without = kernel.run(&packed, src.data(), &mut dst);
    assert_eq!(error(without), "layer block adds a residual, so it takes `run_residual` or `apply_residual`");
    let beside = plain.run_residual(&packed_plain, src.data(), residual.data(), &mut dst);
    assert_eq!(error(beside), "a residual was given, and layer block has no step `residual` in `then`");
    let short = kernel.run_residual(&packed, src.data(), &residual.data()[1..], &mut dst);
    assert_eq!(error(short), "residual has 809 elements, and layer block needs 810 at batch size 2");
    let misshapen = kernel.apply_residual(&packed, &src, &src).unwrap_err().to_string();
    assert_eq!(misshapen, "residual is of shape [2, 3, 9, 9], and layer block takes [2, 5, 9, 9]");
    assert_eq!(dst, expected, "an error changes nothing");
}

#[test]
fn deformable_layers_take_offsets_and_factors() {
    let text = "deform_conv2d moved { input: f32[N, 2, 3, 4], out_channels: 1, kernel_size: 1, mask: true }";
    let plain =
        compile(&"conv2d plain { input: f32[N, 2, 3, 4], out_channels: 1, kernel_size: 1 }".parse().unwrap()).unwrap();
    let kernel = compile(&text.parse().unwrap()).unwrap();
    let packed = kernel.pack(&[1.0f32, 2.0], None).unwrap();
    let src = Tensor::from_fn([2, 2, 3, 4], |i| i as f32).unwrap();
    // A pixel to the right, where nothing is behind the last.
    let offset = Tensor::from_fn([2, 2, 3, 4], |i| (i / 12 % 2) as f32).unwrap();
    let mask = Tensor::from_fn([2, 1, 3, 4], |i| if i < 12 { 1.0 } else { 0.5 }).unwrap();
    let dst = kernel.apply_deformable(&packed, &src, &offset, Some(&mask)).unwrap();
    let expected: Vec<f32> = (0..24)
        .map(|i| {
            let at = i / 12 * 24 + i % 12 + 1;
            let sum = if i % 4 == 3 { 0.0 } else { (at + 2 * (at + 12)) as f32 };
            if i < 12 { sum } else { sum / 2.0 }
        })
        .collect();
    assert_eq!(dst.data(), expected);
    let mut other = vec![0.0f32; 24];
    kernel.run_deformable_threads(2, &packed, src.data(), offset.data(), Some(mask.data()), &mut other).unwrap();
    assert_eq!(other, expected);

    let error = |result: Result<(), Error>| result.unwrap_err().to_string();
    let run =
        |offset: &[f32], mask: Option<&[f32]>| kernel.run_deformable(&packed, src.data(), offset, mask, &mut [0.0; 24]);
    let without = kernel.run(&packed, src.data(), &mut other);
    assert_eq!(error(without), "layer moved is deformable, so it takes `run_deformable` or `apply_deformable`");
    assert_eq!(error(run(offset.data(), None)), "layer moved has `mask: true`, and no mask was given");
    let short = error(run(&offset.data()[1..], Some(mask.data())));
    assert_eq!(short, "offset has 47 elements, and layer moved needs 48 at batch size 2");
    let short = error(run(offset.data(), Some(&mask.data()[2..])));
    assert_eq!(short, "mask has 22 elements, and layer moved needs 24 at batch size 2");
    let misshapen = kernel.apply_deformable(&packed, &src, &mask, Some(&mask)).unwrap_err().to_string();
    assert_eq!(misshapen, "offset is of shape [2, 1, 3, 4], and layer moved takes [2, 2, 3, 4]");
    let packed = plain.pack(&[1.0f32, 2.0], None).unwrap();
    let beside = plain.run_deformable(&packed, src.data(), offset.data(), None, &mut other);
    assert_eq!(error(beside), "offsets were given, and layer plain is not deformable");
}
