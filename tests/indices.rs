//! Random maxima with their positions, and random unpooling, on every engine: all give exactly what the reference says, on one thread and
//! on two.

use convoke_core::eval::{Bf16, F16, Stored, from_bytes, interp, reference, to_bytes};
use convoke_core::ir::{Role, Verified};
use convoke_core::lower::weights::{IntegerParameters, WeightsPacking};
use convoke_core::pipeline::{self, Compiled};
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::{Axis, Batch, DType, Half, LayerSpec, Limits, Schedule, Storage, VectorAxis, arbitrary};
use convoke_core::target::Target;
use convoke_jit::{Buffers, Executor, Program, Serial, native_target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use rayon::{ThreadPool, ThreadPoolBuilder};

const CASES: u32 = 1_000;

const TARGETS: [Target; 5] = [Target::AVX512, Target::AVX2, Target::PORTABLE, Target::NEON, Target::SSE];

#[test]
fn maxima_are_where_the_reference_says() {
    let vector = proptest::option::of(proptest::sample::select(VectorAxis::ALL));
    each((arbitrary::indices_spec(), vector, any::<u64>()), |(spec, vector, seed), pool| {
        let schedule =
            Schedule { vector: vector.map(|axis| Spanned::new(axis, Span::default())), ..Schedule::default() };
        let spec = LayerSpec { schedule, ..spec };
        let checked = match spec.src_storage() {
            Storage::F16 => check_maxima::<F16>(&spec, seed, pool),
            Storage::Bf16 => check_maxima::<Bf16>(&spec, seed, pool),
            Storage::U8 => check_maxima::<u8>(&spec, seed, pool),
            Storage::I8 => check_maxima::<i8>(&spec, seed, pool),
            _ => check_maxima::<f32>(&spec, seed, pool),
        };
        (spec, checked)
    });
}

#[test]
fn elements_go_where_their_indices_say() {
    let parallel = proptest::option::of(proptest::sample::select(&[Axis::N, Axis::Oc][..]));
    each((arbitrary::unpool_spec(), parallel, any::<u64>()), |(spec, parallel, seed), pool| {
        let parallel = parallel.map(|axis| Spanned::new(axis, Span::default()));
        let spec = LayerSpec { schedule: Schedule { parallel, ..Schedule::default() }, ..spec };
        let checked = match (spec.half, spec.dtype) {
            (Some(Half::F16), _) => check_unpool::<F16>(&spec, seed, pool),
            (Some(Half::Bf16), _) => check_unpool::<Bf16>(&spec, seed, pool),
            (None, DType::F32) => check_unpool::<f32>(&spec, seed, pool),
            (None, DType::F64) => check_unpool::<f64>(&spec, seed, pool),
        };
        (spec, checked)
    });
}

#[test]
fn texts_parse_back() {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let layers = prop_oneof![arbitrary::indices_spec(), arbitrary::unpool_spec()];
    let checked = TestRunner::new(config).run(&layers, |spec| {
        let text = spec.to_string();
        let parsed: LayerSpec = text.parse().map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(parsed, spec);
        Ok(())
    });
    checked.unwrap();
}

fn each<S: Strategy>(cases: S, check: impl Fn(S::Value, &Threads) -> (LayerSpec, Result<(), String>)) {
    let pool = Threads(ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&cases, |case| {
        let (spec, checked) = check(case, &pool);
        checked.map_err(|why| TestCaseError::fail(format!("{why}\n{spec}")))
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, range: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % range
    }

    fn batch(&mut self, spec: &LayerSpec) -> usize {
        match spec.batch {
            Batch::Fixed(n) => n,
            Batch::Named(_) => self.below(4) as usize,
        }
    }
}

/// Few numbers, so that several are the greatest; of floats often such as are none.
fn check_maxima<T: Stored>(spec: &LayerSpec, seed: u64, pool: &Threads) -> Result<(), String> {
    let mut random = Random(seed | 1);
    let batch = random.batch(spec);
    let odd = if spec.integers.is_some() { 0 } else { [0, 3, 12][random.below(3) as usize] };
    let number = |_| match random.below(9 + odd) {
        9 | 12 | 13 => T::from_number(f64::NAN),
        10 => T::from_number(f64::INFINITY),
        11 | 14.. => T::from_number(f64::NEG_INFINITY),
        x => T::from_number(x as f64 - if T::STORAGE == Storage::U8 { 0.0 } else { 4.0 }),
    };
    let src: Vec<T> = (0..batch * spec.src_image()).map(number).collect();
    let expected = reference::run_indices(spec, batch, &src);
    let [_, height, width] = spec.spatial.map(|axis| axis.input);
    let greatest = |(at, &index): (usize, &i32)| match reference::Position::of(spec, at) {
        None => T::from_number(0.0),
        Some(reference::Position { n, oc, .. }) => {
            let index = index as usize;
            let place = [index / width / height, index / width % height, index % width];
            src[reference::src_index(spec, n, oc, place)]
        }
    };
    let maxima: Vec<T> = expected.iter().enumerate().map(greatest).collect();
    for target in [native_target()].iter().chain(&TARGETS) {
        let Some((kernel, weights)) = compile(spec, target)? else { continue };
        let run = Memory { kernel: &kernel, batch, src: &to_bytes(&src), weights: &weights, positions: &[] };
        run.on_every_engine(target, pool, |who, dst, indices| {
            same(who, "indices", &from_bytes::<i32>(indices), &expected, |a, b| a == b)?;
            same(who, "dst", &from_bytes::<T>(dst), &maxima, |a, b| {
                a == b || a.to_number().is_nan() && b.to_number().is_nan()
            })
        })?;
    }
    Ok(())
}

fn check_unpool<T: Stored>(spec: &LayerSpec, seed: u64, pool: &Threads) -> Result<(), String> {
    let mut random = Random(seed | 1);
    let batch = random.batch(spec);
    let len = batch * spec.src_image();
    let src: Vec<T> = (0..len).map(|_| T::from_number(random.below(200) as f64 - 100.0)).collect();
    let plane = spec.indexed_plane() as u64;
    let indices: Vec<i32> = (0..len).map(|_| random.below(plane) as i32).collect();
    let expected = reference::run_unpool(spec, batch, &src, &indices);
    for target in [native_target()].iter().chain(&TARGETS) {
        let Some((kernel, weights)) = compile(spec, target)? else { continue };
        let positions = to_bytes(&indices);
        let run = Memory { kernel: &kernel, batch, src: &to_bytes(&src), weights: &weights, positions: &positions };
        run.on_every_engine(target, pool, |who, dst, _| {
            same(who, "dst", &from_bytes::<T>(dst), &expected, |a, b| a == b)
        })?;
    }
    Ok(())
}

/// The kernel and its packed weights; none if a pin cannot hold.
fn compile(spec: &LayerSpec, target: &Target) -> Result<Option<(Verified, Vec<u8>)>, String> {
    let Compiled { plan, kernel } = match pipeline::compile(spec, target, &Limits::default()) {
        Ok(compiled) => compiled,
        Err(_) if spec.schedule.vector.is_some() => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let packing = WeightsPacking::of(spec, &plan, kernel.lanes());
    if spec.integers.is_some() {
        let none = IntegerParameters::<i32> { weights: &[], bias: &[], zero_points: &[], scales: &[] };
        return Ok(Some((kernel, to_bytes(&none.pack(spec, &packing).0))));
    }
    let mut packed = vec![0.0_f32; packing.packed_len()];
    packing.pack::<f32>(&[], &mut packed);
    Ok(Some((kernel, to_bytes(&packed))))
}

fn same<T: Stored>(who: &str, what: &str, found: &[T], expected: &[T], is: fn(&T, &T) -> bool) -> Result<(), String> {
    match found.iter().zip(expected).position(|(a, b)| !is(a, b)) {
        None if found.len() == expected.len() => Ok(()),
        None => Err(format!("{who}: {} of {} elements of {what}", found.len(), expected.len())),
        Some(at) => Err(format!("{who}: {what}[{at}] is {}, and the reference says {}", found[at], expected[at])),
    }
}

/// A kernel and what it reads.
struct Memory<'a> {
    kernel: &'a Verified,
    batch: usize,
    src: &'a [u8],
    weights: &'a [u8],
    positions: &'a [u8],
}

impl Memory<'_> {
    /// Calls `check` with what each engine gives.
    fn on_every_engine(
        &self,
        target: &Target,
        pool: &Threads,
        check: impl Fn(&str, &[u8], &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let (kernel, batch) = (self.kernel, self.batch);
        let [dst, indices] =
            self.run(|buffers| interp::run_bytes(kernel, batch, buffers).map_err(|e| e.to_string()))?;
        check(&format!("the interpreter, {}", kernel.name), &dst, &indices)?;
        if convoke_jit::why_not_runnable(target).is_some() {
            return Ok(());
        }
        let program = Program::compile(kernel).map_err(|e| e.to_string())?;
        for executor in [&Serial as &dyn Executor, pool] {
            let [dst, indices] = self.run(|buffers| {
                let Buffers { src, weights, bias, residual, positions, dst, indices, scratch, local, .. } = buffers;
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
                program.run_bytes(batch, buffers, executor).map_err(|e| e.to_string())
            })?;
            check(&format!("{} on {} threads", kernel.name, executor.threads()), &dst, &indices)?;
        }
        Ok(())
    }

    /// What no one writes shows.
    fn run(&self, run: impl FnOnce(&mut Buffers<'_, u8>) -> Result<(), String>) -> Result<[Vec<u8>; 2], String> {
        let [mut dst, mut indices] = [Role::Dst, Role::Indices].map(|role| {
            let buffer = self.kernel.buffers.iter().find(|b| b.role == role);
            vec![0xa5; buffer.map_or(0, |b| b.len.eval(&[self.batch as i64]) as usize * b.storage.bytes())]
        });
        let &Self { src, weights, positions, .. } = self;
        let (to, at) = (&mut dst, &mut indices);
        run(&mut Buffers { src, weights, positions, dst: to, indices: at, ..Buffers::default() })?;
        Ok([dst, indices])
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
