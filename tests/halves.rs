//! Random layers of halves on every engine: each gives, bit for bit, what the layer of `f32` gives of the same numbers, rounded once. On one
//! thread and on two; for numbers of every kind.

use convoke_core::eval::{Bf16, F16, Float, from_bytes, interp, to_bytes};
use convoke_core::ir::{Role, Verified};
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::pipeline::{self, CompileError, Compiled};
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::{Accuracy, Algorithm, Half, LayerSpec, Limits, PackInput, VectorAxis, arbitrary};
use convoke_core::target::Target;
use convoke_jit::{Buffers, Executor, Program, Serial, native_target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use rayon::{ThreadPool, ThreadPoolBuilder};

#[test]
fn every_engine_rounds_once() {
    let pool = Threads(ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let config = Config { cases: 800, failure_persistence: None, ..Config::default() };
    let pins = (
        proptest::option::of(proptest::sample::select(VectorAxis::ALL)),
        proptest::option::of(proptest::sample::select(PackInput::ALL)),
    );
    let numbers = proptest::sample::select(&[Numbers::Middling, Numbers::Any][..]);
    let layers = (arbitrary::half_spec(), pins, numbers, any::<u64>());
    let result = TestRunner::new(config).run(&layers, |(mut spec, (vector, pack_input), numbers, seed)| {
        spec.schedule.vector = vector.map(|axis| Spanned::new(axis, Span::default()));
        spec.schedule.pack_input = pack_input.map(|pack| Spanned::new(pack, Span::default()));
        check(&spec, numbers, seed, &pool)
            .map_err(|why| TestCaseError::fail(format!("{why}\n{numbers:?}, seed {seed} and\n{spec}")))
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

#[test]
fn algorithms_that_round_otherwise() {
    let pool = Threads(ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    for (layer, algorithms) in [
        (
            "input: $[2, 20, 13, 11] @ nchw, out_channels: 18, kernel_size: 3, padding: 1, bias: true, then: relu",
            &["winograd2", "winograd4", "winograd6"][..],
        ),
        (
            "input: $[1, 13, 11, 20] @ nhwc, out_channels: 40, kernel_size: 3, padding: 2, dilation: 2, then: [scale, residual]",
            &["winograd2", "winograd4"],
        ),
        ("input: $[1, 40, 9, 9] @ nChw16c, out_channels: 20, kernel_size: 3, padding: 1", &["winograd4"]),
        (
            "input: $[1, 4, 9, 150] @ nchw, out_channels: 7, kernel_size: (1, 21), stride: (2, 1), padding: (0, 10), bias: true",
            &["fft"],
        ),
        (
            "input: $[2, 40, 21, 3] @ nhwc, out_channels: 3, kernel_size: (9, 6), dilation: (2, 3), padding: (3, 9), then: relu",
            &["fft"],
        ),
    ] {
        for (name, algorithm) in [("f16", 0), ("bf16", 1)].iter().flat_map(|t| algorithms.iter().map(|a| (t.0, *a))) {
            let layer = layer.replace('$', name);
            let text = format!("conv2d a {{ {layer}, accuracy: fast, schedule {{ algorithm: {algorithm} }} }}");
            let spec: LayerSpec = text.parse().unwrap();
            for seed in 1..4 {
                check(&spec, Numbers::Middling, seed, &pool).unwrap_or_else(|why| panic!("{why}\n{text}"));
            }
        }
    }
}

#[test]
fn texts_parse_back() {
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let checked = TestRunner::new(config).run(&arbitrary::half_spec(), |spec| {
        let text = spec.to_string();
        let parsed: LayerSpec = text.parse().map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(parsed, spec);
        Ok(())
    });
    checked.unwrap();
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Numbers {
    /// From -2 to 2.
    Middling,
    /// Any bits, but of weights: subnormal numbers, infinity and NaN among them.
    Any,
}

fn check(spec: &LayerSpec, numbers: Numbers, seed: u64, pool: &Threads) -> Result<(), String> {
    match spec.half {
        Some(Half::F16) => Case::<F16>::new(spec, numbers, seed, F16::from_bits).check(pool),
        _ => Case::<Bf16>::new(spec, numbers, seed, Bf16::from_bits).check(pool),
    }
}

/// A layer with its data.
struct Case<'a, T> {
    spec: &'a LayerSpec,
    batch: usize,
    src: Vec<T>,
    weights: Vec<T>,
    bias: Vec<T>,
    residual: Vec<T>,
}

impl<'a, T: Float<Lane = f32>> Case<'a, T> {
    fn new(spec: &'a LayerSpec, numbers: Numbers, seed: u64, from_bits: fn(u16) -> T) -> Self {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 40
        };
        let batch = spec.fixed_batch().unwrap_or_else(|| (next() % 4) as usize);
        let mut fill = |len: usize, numbers: Numbers| -> Vec<T> {
            let number = |_| match numbers {
                Numbers::Middling => T::from_number(next() as f64 / f64::from(1 << 22) - 2.0),
                Numbers::Any => from_bits(next() as u16),
            };
            (0..len).map(number).collect()
        };
        let src = fill(batch * spec.src_image(), numbers);
        // An infinite weight is a NaN over padding that is written out, and nothing over such that is not.
        let weights = fill(spec.weights_len(), Numbers::Middling);
        let bias = fill(spec.bias_len(), numbers);
        let residual = fill(if spec.has_residual() { batch * spec.dst_image() } else { 0 }, numbers);
        Self { spec, batch, src, weights, bias, residual }
    }

    fn check(&self, pool: &Threads) -> Result<(), String> {
        for target in [native_target(), Target::AVX512, Target::PORTABLE, Target::NEON, Target::SSE] {
            let pins = &self.spec.schedule;
            let is_pinned = pins.vector.is_some() || pins.pack_input.is_some();
            let compiled = match pipeline::compile(self.spec, &target, &Limits::default()) {
                Ok(compiled) => compiled,
                // A pin may not hold, and halves that are put together one by one, in every phase, may be too much code.
                Err(CompileError::TooMuchCode { .. }) => continue,
                Err(_) if is_pinned => continue,
                Err(e) => return Err(format!("{}: {e}", target.name())),
            };
            let expected = self.expected(&compiled, &target)?;
            let (weights, bias) = self.packed(&compiled);
            let (weights, bias) = (to_bytes(&weights), to_bytes(&bias));
            let (src, residual) = (to_bytes(&self.src), to_bytes(&self.residual));
            let kernel = &compiled.kernel;
            let memory =
                Memory { kernel, batch: self.batch, src: &src, weights: &weights, bias: &bias, residual: &residual };
            let interpreted =
                memory.run(1, |buffers| interp::run_bytes(kernel, self.batch, buffers).map_err(|e| e.to_string()))?;
            compare::<T>("the interpreter", kernel, &interpreted, &expected)?;
            let runs = convoke_jit::why_not_runnable(&target).is_none();
            if runs {
                let program = Program::compile(kernel).map_err(|e| e.to_string())?;
                for executor in [&Serial as &dyn Executor, pool] {
                    let dst = memory.run(executor.threads(), |buffers| {
                        let Buffers { src, weights, bias, residual, positions, dst, indices, scratch, local, .. } =
                            buffers;
                        let buffers = Buffers {
                            src,
                            weights,
                            bias,
                            residual,
                            positions,
                            dst,
                            indices,
                            scratch,
                            local,
                            ..Buffers::default()
                        };
                        program.run_bytes(self.batch, buffers, executor).map_err(|e| e.to_string())
                    })?;
                    compare::<T>("machine code", kernel, &dst, &expected)?;
                }
            }
        }
        Ok(())
    }

    fn packed(&self, compiled: &Compiled) -> (Vec<f32>, Vec<f32>) {
        let packing = WeightsPacking::of(self.spec, &compiled.plan, compiled.kernel.lanes());
        let mut weights = vec![0.0; packing.packed_len()];
        packing.pack(&self.weights, &mut weights);
        (weights, lanes(&self.bias))
    }

    /// What the layer of `f32` makes of the same numbers by the same algorithm, each rounded.
    fn expected(&self, compiled: &Compiled, target: &Target) -> Result<Vec<T>, String> {
        let algorithm = compiled.plan.algorithm;
        let mut schedule = compiled.plan.to_schedule();
        if algorithm != Algorithm::Fft {
            // How it is computed besides changes no bit, and a copy may be one that this layer has no use for.
            schedule = Default::default();
            schedule.algorithm = Some(Spanned::new(algorithm, Span::default()));
        }
        let spec = LayerSpec { half: None, accuracy: Accuracy::Fast, schedule, ..self.spec.clone() };
        let single = pipeline::compile(&spec, target, &Limits::default()).map_err(|e| format!("as f32: {e}"))?;
        let (weights, bias) = self.packed(&single);
        let (src, residual) = (lanes(&self.src), lanes(&self.residual));
        let fresh = |role| {
            let buffer = single.kernel.buffers.iter().find(|b| b.role == role);
            vec![f32::NAN; buffer.map_or(0, |b| b.len.eval(&[self.batch as i64]) as usize)]
        };
        let [mut dst, mut scratch, mut local] = [Role::Dst, Role::Scratch, Role::Local].map(fresh);
        let mut buffers = Buffers {
            src: &src,
            weights: &weights,
            bias: &bias,
            residual: &residual,
            dst: &mut dst,
            scratch: &mut scratch,
            local: &mut local,
            ..Buffers::default()
        };
        interp::run(&single.kernel, self.batch, &mut buffers).map_err(|e| e.to_string())?;
        Ok(dst.into_iter().map(T::from_lane).collect())
    }
}

fn lanes<T: Float<Lane = f32>>(elements: &[T]) -> Vec<f32> {
    elements.iter().map(|x| x.to_lane()).collect()
}

/// Bit for bit, but for the payload of a NaN.
fn compare<T: Float<Lane = f32>>(who: &str, kernel: &Verified, dst: &[u8], expected: &[T]) -> Result<(), String> {
    let found: Vec<T> = from_bytes(dst);
    let same = |a: &T, b: &T| {
        let (a, b) = (a.to_lane(), b.to_lane());
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    };
    match found.iter().zip(expected).position(|(a, b)| !same(a, b)) {
        None if found.len() == expected.len() => Ok(()),
        None => Err(format!("{who}, {}: {} of {} elements", kernel.name, found.len(), expected.len())),
        Some(at) => {
            let (found, expected) = (found[at], expected[at]);
            Err(format!("{who}, {}: dst[{at}] is {found}, and rounded the layer of f32 says {expected}", kernel.name))
        }
    }
}

/// What a kernel reads.
struct Memory<'a> {
    kernel: &'a Verified,
    batch: usize,
    src: &'a [u8],
    weights: &'a [u8],
    bias: &'a [u8],
    residual: &'a [u8],
}

impl Memory<'_> {
    fn run(
        &self,
        threads: usize,
        run: impl FnOnce(&mut Buffers<'_, u8>) -> Result<(), String>,
    ) -> Result<Vec<u8>, String> {
        // What no one writes, or reads before it is written, is a NaN.
        let fresh = |role: Role, times: usize| {
            let buffer = self.kernel.buffers.iter().find(|b| b.role == role);
            let bytes = buffer.map_or(0, |b| b.len.eval(&[self.batch as i64]) as usize * b.storage.bytes());
            // Local buffers of several threads lie cache lines apart.
            vec![0xff; times * bytes.next_multiple_of(if role == Role::Local { 64 } else { 1 })]
        };
        let (mut dst, mut scratch) = (fresh(Role::Dst, 1), fresh(Role::Scratch, 1));
        let bytes =
            self.kernel.buffers.iter().find(|b| b.role == Role::Local).map_or(0, |b| b.len.constant as usize * 4);
        let mut local = fresh(Role::Local, threads);
        local.truncate(if threads == 1 { bytes } else { local.len() });
        let &Self { src, weights, bias, residual, .. } = self;
        let (dst_memory, scratch, local) = (&mut dst, &mut scratch, &mut local);
        run(&mut Buffers { src, weights, bias, residual, dst: dst_memory, scratch, local, ..Buffers::default() })?;
        Ok(dst)
    }
}

struct Threads(ThreadPool);

impl Executor for Threads {
    fn threads(&self) -> usize {
        self.0.current_num_threads()
    }

    fn broadcast(&self, work: &(dyn Fn() + Sync)) {
        self.0.broadcast(|_| work());
    }
}
