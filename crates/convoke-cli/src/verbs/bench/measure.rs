//! Times of one layer.

use crate::args::BenchBackend;
use crate::compute::{self, Output, Tensors};
use crate::failure::Failure;
use crate::integers::Integers;
use crate::measure::{self, Clock, gflops, gigabytes, tensors};
use crate::rustc::Program;
use crate::source::Selected;
use convoke::{Bf16, Compiler, F16, Float};
use convoke_core::pipeline::Compiled;
use convoke_core::spec::{LayerSpec, Storage};
use convoke_core::target::Target;
use std::time::Duration;

/// How long a layer is run for.
const RUN_FOR: Duration = Duration::from_millis(200);
/// How often at least, unless a single run takes longer than that.
const RUNS: usize = 5;

/// What is measured.
pub(super) struct Subject {
    backend: BenchBackend,
    target: Target,
    compiler: Compiler,
    threads: usize,
    clock: Clock,
    /// What the backend rust runs, and the layers that went into it.
    emitted: Option<(Program, Vec<Compiled>)>,
}

/// Times and speed of one layer.
pub(super) struct Measured {
    pub(super) plan: String,
    pub(super) gflops: f64,
    pub(super) gb_per_s: f64,
    /// From the layer to code that runs; `rustc` compiles all layers at once, so there is none for the backend rust.
    pub(super) compile_us: Option<f64>,
    pub(super) pack_us: f64,
    pub(super) run_us: f64,
}

impl Subject {
    pub(super) fn new(
        backend: BenchBackend,
        layers: &[Selected<'_>],
        target: &Target,
        threads: usize,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let emitted = match backend {
            BenchBackend::Rust => {
                let lower = |layer: &Selected<'_>| compute::lower_for_rust(*layer, layer.spec, target);
                let lowered = layers.iter().map(lower).collect::<Result<Vec<_>, _>>()?;
                Some((Program::compile(&lowered.iter().map(|l| &l.kernel).collect::<Vec<_>>())?, lowered))
            }
            BenchBackend::Jit | BenchBackend::Interp => None,
        };
        let compiler = Compiler::new().target(target.clone()).threads(threads);
        Ok(Self { backend, target: target.clone(), compiler, threads, clock, emitted })
    }

    /// How long `rustc` took, for the backend rust.
    pub(super) fn rustc_seconds(&self) -> Option<f64> {
        self.emitted.as_ref().map(|(program, _)| program.compiled.as_secs_f64())
    }

    /// Measures a layer, number `at`.
    pub(super) fn measure(&self, layer: Selected<'_>, at: usize) -> Result<Measured, Failure> {
        match layer.spec.src_storage() {
            Storage::F32 => self.measure_typed::<f32>(layer, at),
            Storage::F64 => self.measure_typed::<f64>(layer, at),
            Storage::F16 => self.measure_typed::<F16>(layer, at),
            Storage::Bf16 => self.measure_typed::<Bf16>(layer, at),
            Storage::I32 | Storage::U8 | Storage::I8 => self.measure_integers(layer, at),
        }
    }

    fn measure_typed<T: Float>(&self, layer: Selected<'_>, at: usize) -> Result<Measured, Failure> {
        let spec = layer.spec;
        let tensors = tensors::<T>(spec);
        let (plan, compile, pack, run) = match (self.backend, &self.emitted) {
            (BenchBackend::Jit, _) => self.jit(layer, &tensors)?,
            (_, None) => self.interp(layer, &tensors)?,
            (_, Some((program, lowered))) => self.emitted(layer, at, program, &lowered[at], &tensors)?,
        };
        Ok(Measured {
            plan,
            gflops: gflops(spec, run),
            gb_per_s: gigabytes(spec, run),
            compile_us: compile.map(|s| s * 1e6),
            pack_us: pack * 1e6,
            run_us: run * 1e6,
        })
    }

    fn measure_integers(&self, layer: Selected<'_>, at: usize) -> Result<Measured, Failure> {
        let spec = layer.spec;
        let failed = |e: String| Failure::layer(&layer.name(), e);
        let tensors = Integers::random(spec, 1, 1);
        let (src, mut output) = (tensors.src_bytes(spec), tensors.fresh(spec));
        let (short, long) = (Duration::from_millis(10), Duration::from_millis(20));
        let (plan, compile, pack, run) = match (self.backend, &self.emitted) {
            (BenchBackend::Jit, _) => {
                let compile = self.median(RUNS, long, || compute::compile(layer, spec, &self.compiler).map(drop))?;
                let kernel = compute::compile(layer, spec, &self.compiler)?;
                let pack = self.median(RUNS, short, || tensors.pack(&kernel).map(drop).map_err(failed))?;
                let packed = tensors.pack(&kernel).map_err(failed)?;
                let mut run = || tensors.run(&kernel, self.threads, &packed, &src, &mut output).map_err(failed);
                run()?;
                (kernel.name().to_owned(), Some(compile), pack, self.median(RUNS, RUN_FOR, run)?)
            }
            (_, None) => {
                let lower = || compute::lower_layer(layer, spec, &self.target);
                let compile = self.median(RUNS, long, || lower().map(drop))?;
                let lowered = lower()?;
                let pack = self.median(RUNS, short, || {
                    std::hint::black_box(tensors.packed_bytes(spec, &lowered));
                    Ok(())
                })?;
                let [weights, bias] = tensors.packed_bytes(spec, &lowered);
                let run = self.median(1, RUN_FOR, || {
                    let ran = tensors.interpret_packed(spec, &lowered, &weights, &bias, &mut output);
                    ran.map_err(|e| failed(e.to_string()))
                })?;
                (lowered.kernel.name.clone(), Some(compile), pack, run)
            }
            (_, Some((program, lowered))) => {
                let lowered = &lowered[at];
                let pack = self.median(RUNS, short, || {
                    std::hint::black_box(tensors.packed_bytes(spec, lowered));
                    Ok(())
                })?;
                let [weights, bias] = tensors.packed_bytes(spec, lowered);
                program.prepare_bytes(&src, &weights, &bias).map_err(failed)?;
                let run = self.emitted_seconds(program, at, tensors.batch).map_err(failed)?;
                (lowered.kernel.name.clone(), None, pack, run)
            }
        };
        Ok(Measured {
            plan,
            gflops: gflops(spec, run),
            gb_per_s: gigabytes(spec, run),
            compile_us: compile.map(|s| s * 1e6),
            pack_us: pack * 1e6,
            run_us: run * 1e6,
        })
    }

    fn emitted_seconds(&self, program: &Program, at: usize, batch: usize) -> Result<f64, String> {
        let once = program.time(at, batch, 3)?;
        let repeat = (RUN_FOR.as_secs_f64() / once.as_secs_f64().max(1e-9)).clamp(RUNS as f64, 1e5) as u32;
        Ok(program.time(at, batch, repeat)?.as_secs_f64())
    }

    fn jit<T: Float>(&self, layer: Selected<'_>, tensors: &Tensors<T>) -> Result<Times, Failure> {
        let failed = |e: String| Failure::layer(&layer.name(), e);
        let compile = self.median(RUNS, Duration::from_millis(20), || {
            compute::compile(layer, layer.spec, &self.compiler).map(drop)
        })?;
        let kernel = compute::compile(layer, layer.spec, &self.compiler)?;
        let pack = self.median(RUNS, Duration::from_millis(10), || tensors.pack(&kernel).map(drop).map_err(failed))?;
        let packed = tensors.pack(&kernel).map_err(failed)?;
        let mut output = Output::fresh(layer.spec, tensors.batch, T::default());
        let mut run = || tensors.run(&kernel, self.threads, &packed, &mut output).map_err(failed);
        run()?;
        let run = self.median(RUNS, RUN_FOR, run)?;
        Ok((kernel.name().to_owned(), Some(compile), pack, run))
    }

    fn interp<T: Float>(&self, layer: Selected<'_>, tensors: &Tensors<T>) -> Result<Times, Failure> {
        let lower = || compute::lower_layer(layer, layer.spec, &self.target);
        let compile = self.median(RUNS, Duration::from_millis(20), || lower().map(drop))?;
        let lowered = lower()?;
        let pack = self.pack(layer.spec, &lowered, tensors)?;
        let weights = compute::pack(layer.spec, &lowered, &tensors.weights);
        let mut output = Output::fresh(layer.spec, tensors.batch, T::default());
        let run = self.median(1, RUN_FOR, || {
            let run = compute::interpret_packed(&lowered, tensors, &weights, &mut output);
            run.map_err(|e| Failure::layer(&layer.name(), e))
        })?;
        Ok((lowered.kernel.name.clone(), Some(compile), pack, run))
    }

    fn emitted<T: Float>(
        &self,
        layer: Selected<'_>,
        at: usize,
        program: &Program,
        lowered: &Compiled,
        tensors: &Tensors<T>,
    ) -> Result<Times, Failure> {
        let failed = |e| Failure::layer(&layer.name(), e);
        let pack = self.pack(layer.spec, lowered, tensors)?;
        let weights = compute::pack(layer.spec, lowered, &tensors.weights);
        program.prepare(tensors, &weights).map_err(failed)?;
        let run = self.emitted_seconds(program, at, tensors.batch).map_err(failed)?;
        Ok((lowered.kernel.name.clone(), None, pack, run))
    }

    fn pack<T: Float>(&self, spec: &LayerSpec, lowered: &Compiled, tensors: &Tensors<T>) -> Result<f64, Failure> {
        self.median(RUNS, Duration::from_millis(10), || {
            std::hint::black_box(compute::pack(spec, lowered, &tensors.weights));
            Ok(())
        })
    }

    fn median(&self, runs: usize, duration: Duration, f: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
        measure::seconds(self.clock, runs, duration, f)
    }
}

/// Plan, and seconds to compile, pack and run.
type Times = (String, Option<f64>, f64, f64);
