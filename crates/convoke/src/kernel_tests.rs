use super::*;
use crate::{Compiler, compile};
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
