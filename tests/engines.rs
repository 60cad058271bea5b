//! Random layers on every engine: the reference says whether the interpreter is right, the interpreter whether the JIT is.
//!
//! Small integers must come out exactly, other numbers within the bound that the core states; interpreter and machine code
//! must agree bit for bit, on one thread and on two. What fails is printed as a `.conv` text.

use convoke_core::eval::reference::{self, Tensors};
use convoke_core::eval::{Element, interp};
use convoke_core::ir::{Role, Verified};
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::pipeline::{self, Compiled};
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::{Algorithm, Batch, DType, LayerSpec, Limits, arbitrary};
use convoke_core::target::Target;
use convoke_jit::{Buffers, Executor, Program, Serial, native_target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Of each kind, integers and others.
const CASES: u32 = 1_000;
/// The same of deformable layers.
const DEFORMABLE: u32 = 300;

#[test]
fn integers_are_exact() {
    each_layer(arbitrary::layer_spec(), CASES, |spec, seed, pool| {
        spec.then.retain(|step| step.is_exact());
        by_type(spec, seed, pool, Numbers::Integers)
    });
}

#[test]
fn other_numbers_are_within_the_bound() {
    each_layer(arbitrary::layer_spec(), CASES, |spec, seed, pool| by_type(spec, seed, pool, Numbers::Fractions));
}

#[test]
fn deformable_layers() {
    for numbers in [Numbers::Integers, Numbers::Fractions] {
        each_layer(arbitrary::deformable_spec(), DEFORMABLE, |spec, seed, pool| {
            if numbers == Numbers::Integers {
                spec.then.retain(|step| step.is_exact());
            }
            Case::<f32>::new(spec, seed, numbers).check(pool)
        });
    }
}

/// Filters that are long enough for `fft`, which random layers have not: what threads divide is the row, the images, the rows of an
/// image, the groups.
#[test]
fn long_filters_are_within_the_bound() {
    let pool = Threads(ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    for layer in [
        "conv1d row { input: f32[1, 1, 9000] @ ncl, out_channels: 1, kernel_size: 255, padding: same, then: relu",
        "conv1d parts { input: f32[1, 1, 6000] @ ncl, out_channels: 1, kernel_size: 1500, padding: causal, bias: true",
        "conv1d images { input: f32[N, 3, 500] @ ncl, out_channels: 5, kernel_size: 41, padding: (20..7), bias: true",
        "conv1d double { input: f64[1, 2, 1500] @ ncl, out_channels: 1, kernel_size: 65, dilation: 3, padding: 90",
        "conv1d last { input: f32[1, 400, 3] @ nlc, out_channels: 12, groups: 3, kernel_size: 33, padding: same, then: gelu",
        "conv2d image { input: f32[1, 3, 24, 37] @ nchw, out_channels: 3, groups: 3, kernel_size: 15, padding: 7, bias: true",
        "conv2d blocks { input: f32[2, 40, 21, 2] @ nhwc, out_channels: 3, kernel_size: (9, 6), dilation: (2, 3), then: relu",
        "conv2d mirror { input: f64[N, 2, 19, 23] @ nchw, out_channels: 1, kernel_size: (11, 1), padding: (5, 0), padding_mode: reflect",
        "conv2d rows { input: f32[1, 4, 9, 150] @ nchw, out_channels: 7, kernel_size: (1, 21), stride: (2, 1), bias: true",
    ] {
        let text = format!("{layer}, accuracy: fast, schedule {{ algorithm: fft }} }}");
        let spec: LayerSpec = text.parse().unwrap();
        for seed in 1..4 {
            for numbers in [Numbers::Integers, Numbers::Fractions] {
                let result = match spec.dtype {
                    DType::F32 => Case::<f32>::new(&spec, seed, numbers).check(&pool),
                    DType::F64 => Case::<f64>::new(&spec, seed, numbers).check(&pool),
                };
                result.unwrap_or_else(|why| panic!("{why}\n{text}"));
            }
        }
    }
}

/// A maximum is NaN if an element of its window is, wherever that stands, on every engine.
#[test]
fn maxima_keep_what_is_no_number() {
    let pool = Threads(ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    for layout in ["nhwc", "nchw", "nChw16c"] {
        let dims = if layout == "nhwc" { "1, 9, 21, 18" } else { "1, 18, 9, 21" };
        let text = format!("max_pool2d a {{ input: f32[{dims}] @ {layout}, kernel_size: 3, stride: 2, padding: 1 }}");
        let spec: LayerSpec = text.parse().unwrap();
        let mut case = Case::<f32>::new(&spec, 7, Numbers::Fractions);
        for (i, x) in case.src.iter_mut().enumerate() {
            *x = match i * 7919 % 31 {
                0 => f32::NAN,
                1 => f32::INFINITY,
                2..9 => f32::NEG_INFINITY,
                _ => *x,
            };
        }
        let (kernel, packed, _) = case.lower(&spec, &case.target).unwrap();
        let program = Program::compile(&kernel).unwrap();
        let expected = reference::run::<f32, f32>(&spec, 1, &case.tensors());
        assert!(expected.iter().any(|x| x.is_nan()) && expected.iter().any(|x| x.is_infinite()));
        for found in [case.interpret(&kernel, &packed).unwrap(), case.run(&program, &packed, &pool).unwrap()] {
            let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
            assert!(found.len() == expected.len() && found.iter().zip(&expected).all(same), "{text}");
        }
    }
}

fn each_layer(
    layers: impl Strategy<Value = LayerSpec>,
    cases: u32,
    check: impl Fn(&mut LayerSpec, u64, &Threads) -> Result<(), String>,
) {
    let pool = Threads(ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&(layers, any::<u64>()), |(mut spec, seed)| {
        check(&mut spec, seed, &pool).map_err(|why| TestCaseError::fail(format!("{why}\nseed {seed} and\n{spec}")))
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

fn by_type(spec: &LayerSpec, seed: u64, pool: &Threads, numbers: Numbers) -> Result<(), String> {
    match spec.dtype {
        DType::F32 => Case::<f32>::new(spec, seed, numbers).check(pool),
        DType::F64 => Case::<f64>::new(spec, seed, numbers).check(pool),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Numbers {
    Integers,
    Fractions,
}

/// A layer with its data.
struct Case<'a, T> {
    spec: &'a LayerSpec,
    numbers: Numbers,
    target: Target,
    batch: usize,
    src: Vec<T>,
    weights: Vec<T>,
    bias: Vec<T>,
    residual: Vec<T>,
    offset: Vec<T>,
    mask: Vec<T>,
}

impl<'a, T: Element> Case<'a, T> {
    fn new(spec: &'a LayerSpec, seed: u64, numbers: Numbers) -> Self {
        let mut state = seed | 1;
        let mut next = |range: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % range
        };
        let batch = match spec.batch {
            Batch::Fixed(n) => n,
            Batch::Named(_) => next(4) as usize,
        };
        // One in four without fused multiply-adds, where the machine gives a choice.
        let native = native_target();
        let target = if native.name() == Target::SSE_FMA.name() && next(4) == 0 { Target::SSE } else { native };
        let mut fill = |len: usize| {
            let number = |_| match numbers {
                Numbers::Integers => T::from_f64(next(9) as f64 - 4.0),
                Numbers::Fractions => T::from_f64(next(1 << 20) as f64 / f64::from(1 << 18) - 2.0),
            };
            (0..len).map(number).collect::<Vec<T>>()
        };
        let src = fill(batch * spec.src_image());
        let weights = fill(spec.weights_len());
        let bias = fill(spec.bias_len());
        let residual = fill(if spec.has_residual() { batch * spec.dst_image() } else { 0 });
        // Taps lie between elements, of integers half way, and some beyond borders.
        let factor = if numbers == Numbers::Integers { 0.5 } else { 2.0 };
        let offset = fill(batch * spec.offset_image()).into_iter().map(|x| T::from_f64(x.to_f64() * factor)).collect();
        let mask = fill(batch * spec.mask_image());
        Self { spec, numbers, target, batch, src, weights, bias, residual, offset, mask }
    }

    fn tensors(&self) -> Tensors<'_, T> {
        let Self { src, weights, bias, residual, offset, mask, .. } = self;
        Tensors { src, weights, bias, residual, offset, mask }
    }

    fn check(&self, pool: &Threads) -> Result<(), String> {
        let (kernel, packed, algorithm) = self.lower(self.spec, &self.target)?;
        let expected = self.interpret(&kernel, &packed)?;
        self.check_reference(&expected, algorithm)?;
        let program = Program::compile(&kernel).map_err(|e| e.to_string())?;
        for executor in [&Serial as &dyn Executor, pool] {
            let dst = self.run(&program, &packed, executor)?;
            let what = format!("{} on {} threads", kernel.name, executor.threads());
            same_bits(&what, &dst, &expected)?;
        }
        // What can fuse gives the same bits, whatever its width; but blocks of `fft` depend on that.
        if self.target.fma && algorithm != Algorithm::Fft {
            let mut spec = self.spec.clone();
            spec.schedule.algorithm = Some(Spanned::new(algorithm, Span::default()));
            for other in [Target::AVX512, Target::AVX2] {
                let (kernel, packed, _) = self.lower(&spec, &other)?;
                same_bits(&kernel.name, &self.interpret(&kernel, &packed)?, &expected)?;
            }
        }
        Ok(())
    }

    fn lower(&self, spec: &LayerSpec, target: &Target) -> Result<(Verified, Vec<T>, Algorithm), String> {
        let compiled = pipeline::compile(spec, target, &Limits::default());
        let Compiled { plan, kernel } = compiled.map_err(|e| e.to_string())?;
        let packing = WeightsPacking::of(self.spec, &plan, kernel.lanes());
        let mut packed = vec![T::default(); packing.packed_len()];
        packing.pack(&self.weights, &mut packed);
        Ok((kernel, packed, plan.algorithm))
    }

    fn interpret(&self, kernel: &Verified, packed: &[T]) -> Result<Vec<T>, String> {
        let mut dst = self.poisoned(self.batch * self.spec.dst_image());
        let [mut scratch, mut local] = [Role::Scratch, Role::Local].map(|role| {
            let buffer = kernel.buffers.iter().find(|b| b.role == role);
            self.poisoned(buffer.map_or(0, |b| b.len.eval(&[self.batch as i64]) as usize))
        });
        let mut buffers = self.buffers(packed, &mut dst, &mut scratch, &mut local);
        interp::run(kernel, self.batch, &mut buffers).map_err(|e| e.to_string())?;
        Ok(dst)
    }

    fn run(&self, program: &Program, packed: &[T], executor: &dyn Executor) -> Result<Vec<T>, String> {
        let mut dst = self.poisoned(self.batch * self.spec.dst_image());
        let mut scratch = self.poisoned(program.len(Role::Scratch, self.batch) as usize);
        let mut local = self.poisoned(program.local_len(executor.threads()) as usize);
        let buffers = self.buffers(packed, &mut dst, &mut scratch, &mut local);
        program.run(self.batch, buffers, executor).map_err(|e| e.to_string())?;
        Ok(dst)
    }

    fn buffers<'b>(
        &'b self,
        packed: &'b [T],
        dst: &'b mut [T],
        scratch: &'b mut [T],
        local: &'b mut [T],
    ) -> Buffers<'b, T> {
        let Self { src, bias, residual, offset, mask, .. } = self;
        Buffers { src, weights: packed, bias, residual, offset, mask, dst, scratch, local, ..Buffers::default() }
    }

    /// Memory that shows what was not written, or read before it was.
    fn poisoned(&self, len: usize) -> Vec<T> {
        vec![T::from_f64(f64::NAN); len]
    }

    fn check_reference(&self, dst: &[T], algorithm: Algorithm) -> Result<(), String> {
        let sums = LayerSpec { then: Vec::new(), ..self.spec.clone() };
        let tensors = &self.tensors();
        let place = |index| reference::Position::of(self.spec, index);
        let sum = |index| place(index).map_or(0.0, |at| reference::output_at::<T, f64>(&sums, tensors, at));
        let exact = (0..dst.len()).map(sum);
        let outputs = reference::outputs_and_bounds(self.spec, algorithm, self.batch, tensors, exact);
        for (index, (value, (exact, bound))) in dst.iter().zip(outputs).enumerate() {
            if place(index).is_none() {
                if value.bits() != T::default().bits() {
                    return Err(format!("dst[{index}] is {value} and fills up a block of channels with zeros"));
                }
                continue;
            }
            let off = (value.to_f64() - exact).abs();
            let bound = match self.numbers {
                Numbers::Integers if self.spec.is_exact(algorithm) => (T::from_f64(exact).to_f64() - exact).abs(),
                _ => bound,
            };
            if off.is_nan() || off > bound {
                return Err(format!("dst[{index}] is {value} and should be {exact}, {off} off; allowed is {bound}"));
            }
        }
        Ok(())
    }
}

fn same_bits<T: Element>(what: &str, dst: &[T], expected: &[T]) -> Result<(), String> {
    match dst.iter().zip(expected).position(|(a, b)| a.bits() != b.bits()) {
        Some(i) => Err(format!("{what}: dst[{i}] is {}, and the interpreter says {}", dst[i], expected[i])),
        None if dst.len() != expected.len() => Err(format!("{what}: {} of {} elements", dst.len(), expected.len())),
        None => Ok(()),
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
