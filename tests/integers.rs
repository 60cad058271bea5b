//! Random layers of integers on every engine: all give exactly what the reference says, on one thread and on two.

#[path = "integers/modules.rs"]
mod modules;

use convoke_core::eval::{Stored, from_bytes, interp, reference, to_bytes};
use convoke_core::ir::{Role, Verified};
use convoke_core::lower::weights::{IntegerParameters, WeightsPacking};
use convoke_core::pipeline::{self, Compiled};
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::{Batch, Integers, LayerSpec, Limits, PerChannel, REDUCED, Storage, VectorAxis, arbitrary};
use convoke_core::target::Target;
use convoke_jit::{Buffers, Executor, Program, Serial, native_target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use rayon::{ThreadPool, ThreadPoolBuilder};

#[test]
fn every_engine_is_exact() {
    let pool = Threads(ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let config = Config { cases: 1_000, failure_persistence: None, ..Config::default() };
    let vector = proptest::option::of(proptest::sample::select(VectorAxis::ALL));
    let layers = (arbitrary::integer_spec(), vector, any::<u64>());
    let result = TestRunner::new(config).run(&layers, |(mut spec, vector, seed)| {
        spec.schedule.vector = vector.map(|axis| Spanned::new(axis, Span::default()));
        let case = Case::new(&spec, seed);
        let checked = match spec.src_storage() {
            Storage::U8 => case.check::<u8>(&pool),
            _ => case.check::<i8>(&pool),
        };
        checked.map_err(|why| TestCaseError::fail(format!("{why}\nseed {seed} and\n{spec}")))
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

/// Layers whose bytes are read where they are, four channels at a time: one pixel and many, groups, windows, strides and dilation, a batch that is
/// a name; sums and outputs of 8 bits.
const IN_PLACE: [&str; 6] = [
    "conv2d pixels { input: u8[2, 5, 7, 36] @ nhwc, out_channels: 21, kernel_size: 1, bias: true, reduce_range: true, schedule { algorithm: pointwise4, pack_input: none } }",
    "conv1d one { input: u8[1, 1, 4] @ nlc, out_channels: 3, kernel_size: 1, reduce_range: true, schedule { algorithm: pointwise4, pack_input: none } }",
    "conv2d groups { input: u8[N, 3, 5, 24] @ nhwc, input_scale: 0.02, input_zero_point: 9, out_channels: 18, groups: 3, kernel_size: 1, weights_scale: per_channel, reduce_range: true, output: u8, output_scale: 1.5, output_zero_point: 3, schedule { algorithm: pointwise4, pack_input: none } }",
    "conv2d window { input: u8[1, 7, 9, 8] @ nhwc, input_zero_point: 200, out_channels: 40, kernel_size: (3, 2), reduce_range: true, schedule { algorithm: direct4, pack_input: none } }",
    "conv2d stepped { input: u8[2, 11, 12, 8] @ nhwc, input_zero_point: 3, out_channels: 17, kernel_size: 3, stride: 2, dilation: (2, 1), reduce_range: true, schedule { algorithm: direct4, pack_input: none } }",
    "conv3d volume { input: u8[1, 3, 4, 5, 16] @ ndhwc, input_scale: 0.1, out_channels: 9, kernel_size: 2, weights_scale: 0.01, reduce_range: true, output: i8, output_scale: 0.7, schedule { algorithm: direct4, pack_input: none } }",
];

#[test]
fn bytes_are_read_where_they_are() {
    let pool = Threads(ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    for (seed, text) in IN_PLACE.iter().enumerate() {
        let spec: LayerSpec = text.parse().unwrap();
        for target in [Target::AVX2, Target::AVX2_VNNI, Target::AVX512_VNNI] {
            let kernel = pipeline::compile(&spec, &target, &Limits::default()).unwrap().kernel;
            assert!(kernel.buffers.iter().all(|buffer| buffer.role != Role::Scratch), "{text}");
        }
        Case::new(&spec, seed as u64).check::<u8>(&pool).unwrap();
    }
}

#[test]
fn texts_parse_back() {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let checked = TestRunner::new(config).run(&arbitrary::integer_spec(), |spec| {
        let text = spec.to_string();
        let parsed: LayerSpec = text.parse().map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(parsed, spec);
        Ok(())
    });
    checked.unwrap();
}

/// A layer with its data, as integers of 32 bits.
struct Case<'a> {
    spec: &'a LayerSpec,
    integers: &'a Integers,
    batch: usize,
    src: Vec<i32>,
    weights: Vec<i32>,
    bias: Vec<i32>,
    zero_points: Vec<i32>,
    scales: Vec<f32>,
}

impl<'a> Case<'a> {
    fn new(spec: &'a LayerSpec, seed: u64) -> Self {
        let integers = spec.integers.as_ref().unwrap();
        let mut state = seed | 1;
        let mut next = |(least, most): (i32, i32)| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            least + ((state >> 33) % (most - least + 1) as u64) as i32
        };
        let batch = match spec.batch {
            Batch::Fixed(n) => n,
            Batch::Named(_) => next((0, 3)) as usize,
        };
        let oc = spec.out_channels;
        let each = |is: bool| if is { oc } else { 0 };
        let mut fill = |len: usize, range: (i32, i32)| (0..len).map(|_| next(range)).collect::<Vec<_>>();
        let src = fill(batch * spec.src_image(), integers.src.range());
        // Of a reduced range, weights are near what stands for 0; that is the same for all then, so that there are such.
        let (least, most) = integers.weights.range();
        let point = match integers.weights_zero_point {
            PerChannel::One(point) => point,
            PerChannel::Each => (least + most) / 2,
        };
        let near = (least.max(point - REDUCED), most.min(point + REDUCED - 1));
        let weights = fill(spec.weights_len(), if integers.reduce_range { near } else { (least, most) });
        let bias = fill(each(spec.bias), (-100_000, 100_000));
        let zero_points = fill(
            each(integers.weights_zero_point == PerChannel::Each),
            if integers.reduce_range { (point, point) } else { (least, most) },
        );
        let scaled = integers.output.as_ref().is_some_and(|o| o.weights_scale == PerChannel::Each);
        let scales = fill(each(scaled), (1, 2_000)).into_iter().map(|x| x as f32 / 1e3).collect();
        Self { spec, integers, batch, src, weights, bias, zero_points, scales }
    }

    fn check<S: Stored>(&self, pool: &Threads) -> Result<(), String> {
        let src: Vec<S> = self.src.iter().map(|&x| S::from_number(x.into())).collect();
        match self.integers.weights {
            Storage::U8 => self.check_weights::<S, u8>(&src, pool),
            _ => self.check_weights::<S, i8>(&src, pool),
        }
    }

    fn check_weights<S: Stored, W: Stored>(&self, src: &[S], pool: &Threads) -> Result<(), String> {
        let weights: Vec<W> = self.weights.iter().map(|&w| W::from_number(w.into())).collect();
        let parameters = IntegerParameters {
            weights: &weights,
            bias: &self.bias,
            zero_points: &self.zero_points,
            scales: &self.scales,
        };
        let expected = reference::run_integers(self.spec, self.batch, src, &parameters);
        let src = to_bytes(src);
        for target in
            [native_target(), Target::AVX512_VNNI, Target::AVX2_VNNI, Target::PORTABLE, Target::NEON, Target::SSE]
        {
            let compiled = pipeline::compile(self.spec, &target, &Limits::default());
            // A pin may have no tile on a machine of few registers.
            let Ok(Compiled { plan, kernel }) = compiled else {
                if self.spec.schedule.vector.is_some() || self.spec.schedule.algorithm.is_some() {
                    continue;
                }
                return Err(compiled.unwrap_err().to_string());
            };
            let packing = WeightsPacking::of(self.spec, &plan, kernel.lanes());
            let (packed, bias) = parameters.pack(self.spec, &packing);
            let (packed, bias) = (to_bytes(&packed), to_bytes(&bias));
            let memory = Memory { kernel: &kernel, batch: self.batch, src: &src, weights: &packed, bias: &bias };
            let interpreted =
                memory.run(1, |buffers| interp::run_bytes(&kernel, self.batch, buffers).map_err(|e| e.to_string()))?;
            self.compare("the interpreter", &kernel, &interpreted, &expected)?;
            if target == native_target() || target == Target::PORTABLE {
                let program = Program::compile(&kernel).map_err(|e| e.to_string())?;
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
                    self.compare("machine code", &kernel, &dst, &expected)?;
                }
            }
        }
        Ok(())
    }

    fn compare(&self, who: &str, kernel: &Verified, dst: &[u8], expected: &[i32]) -> Result<(), String> {
        let found: Vec<i32> = match self.spec.dst_storage() {
            Storage::U8 => dst.iter().map(|&x| x.into()).collect(),
            Storage::I8 => dst.iter().map(|&x| (x as i8).into()).collect(),
            _ => from_bytes(dst),
        };
        match found.iter().zip(expected).position(|(a, b)| a != b) {
            None if found.len() == expected.len() => Ok(()),
            None => Err(format!("{who}, {}: {} of {} elements", kernel.name, found.len(), expected.len())),
            Some(at) => {
                let (found, expected) = (found[at], expected[at]);
                Err(format!("{who}, {}: dst[{at}] is {found}, and the reference says {expected}", kernel.name))
            }
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
}

impl Memory<'_> {
    fn run(
        &self,
        threads: usize,
        run: impl FnOnce(&mut Buffers<'_, u8>) -> Result<(), String>,
    ) -> Result<Vec<u8>, String> {
        // What no one writes, or reads before it is written, shows.
        let fresh = |role: Role, times: usize| {
            let buffer = self.kernel.buffers.iter().find(|b| b.role == role);
            let bytes = buffer.map_or(0, |b| b.len.eval(&[self.batch as i64]) as usize * b.storage.bytes());
            vec![0xa5; times * bytes]
        };
        let (mut dst, mut scratch, mut local) =
            (fresh(Role::Dst, 1), fresh(Role::Scratch, 1), fresh(Role::Local, threads));
        let (src, weights, bias) = (self.src, self.weights, self.bias);
        let (dst_memory, scratch, local) = (&mut dst, &mut scratch, &mut local);
        run(&mut Buffers { src, weights, bias, dst: dst_memory, scratch, local, ..Buffers::default() })?;
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
