//! Kernels of one layer, compiled by their plans and timed beside each other.

use super::{Clock, Run, pin, seconds_in_rounds, tensors};
use crate::compute::Output;
use crate::failure::Failure;
use crate::integers::Integers;
use crate::source::Selected;
use convoke::{Bf16, Compiler, Error, F16, Float, Kernel};
use convoke_core::plan::Plan;
use convoke_core::spec::{LayerSpec, Storage};
use convoke_core::target::Target;
use std::time::Duration;

/// A kernel that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// The kernel's name.
    pub(crate) kernel: String,
    /// The median of its runs.
    pub(crate) seconds: f64,
}

/// What became of a plan: a time, or why there is no kernel.
pub(crate) type Outcome = Result<Measured, String>;

/// `seconds` of those kernels that there are.
pub(crate) fn outcomes(kernels: &[Result<Kernel, String>], seconds: Vec<f64>) -> Vec<Outcome> {
    let mut seconds = seconds.into_iter();
    let mut measured = |kernel: &Kernel| Measured {
        kernel: kernel.name().to_owned(),
        seconds: seconds.next().unwrap_or(f64::INFINITY),
    };
    kernels.iter().map(|kernel| kernel.as_ref().map(&mut measured).map_err(Clone::clone)).collect()
}

/// How kernels are made and timed.
pub(crate) struct Timer {
    compiler: Compiler,
    pub(crate) threads: usize,
    pub(crate) clock: Clock,
    /// How long the kernels of one layer are run, all together.
    budget: Duration,
    /// The core that the only thread keeps to.
    pub(crate) core: Option<usize>,
}

impl Timer {
    /// One thread is pinned to its core.
    pub(crate) fn new(target: &Target, threads: usize, budget: f64) -> Self {
        let alone = threads == 1;
        Self {
            compiler: Compiler::new().target(target.clone()).threads(threads),
            threads,
            clock: if alone { Clock::of_this_thread() } else { Clock::Wall },
            budget: Duration::from_secs_f64(budget),
            core: if alone { pin() } else { None },
        }
    }

    /// What the times are of: `1 thread on core 0, cpu time`.
    pub(crate) fn text(&self) -> String {
        let core = self.core.map_or(String::new(), |core| format!(" on core {core}"));
        let s = if self.threads == 1 { "" } else { "s" };
        format!("{} thread{s}{core}, {} time", self.threads, self.clock.text())
    }

    /// Native code for `spec`, computed as `plan` says, or why there is none.
    pub(crate) fn kernel(&self, spec: &LayerSpec, plan: &Plan) -> Result<Kernel, String> {
        let pinned = LayerSpec { schedule: plan.to_schedule(), ..spec.clone() };
        self.compiler.compile(&pinned).map_err(|e| match e {
            Error::Compile { source, .. } => source.to_string(),
            e => e.to_string(),
        })
    }

    /// Times of the kernels of a layer; number `keep` is measured to the end however slow it is.
    pub(crate) fn measure(
        &self,
        layer: Selected<'_>,
        kernels: &[Result<Kernel, String>],
        keep: usize,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Outcome>, Failure> {
        let good: Vec<&Kernel> = kernels.iter().filter_map(|kernel| kernel.as_ref().ok()).collect();
        let keep = kernels.iter().take(keep).filter(|kernel| kernel.is_ok()).count();
        let seconds = match layer.spec.src_storage() {
            Storage::F32 => self.seconds_of::<f32>(layer, &good, keep, progress)?,
            Storage::F64 => self.seconds_of::<f64>(layer, &good, keep, progress)?,
            Storage::F16 => self.seconds_of::<F16>(layer, &good, keep, progress)?,
            Storage::Bf16 => self.seconds_of::<Bf16>(layer, &good, keep, progress)?,
            Storage::I32 | Storage::U8 | Storage::I8 => self.seconds_of_integers(layer, &good, keep, progress)?,
        };
        Ok(outcomes(kernels, seconds))
    }

    fn seconds_of_integers(
        &self,
        layer: Selected<'_>,
        kernels: &[&Kernel],
        keep: usize,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<f64>, Failure> {
        let failed = |e: String| Failure::layer(&layer.name(), e);
        let tensors = Integers::random(layer.spec, 1, 1);
        let src = tensors.src_bytes(layer.spec);
        let output = std::cell::RefCell::new(tensors.fresh(layer.spec));
        let mut runs: Vec<Run<'_>> = Vec::with_capacity(kernels.len());
        for kernel in kernels {
            let packed = tensors.pack(kernel).map_err(failed)?;
            let (src, tensors, output) = (&src, &tensors, &output);
            runs.push(Box::new(move || {
                tensors.run(kernel, self.threads, &packed, src, &mut output.borrow_mut()).map_err(failed)
            }));
        }
        seconds_in_rounds(self.clock, self.budget, keep, &mut runs, progress)
    }

    fn seconds_of<T: Float>(
        &self,
        layer: Selected<'_>,
        kernels: &[&Kernel],
        keep: usize,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<f64>, Failure> {
        let failed = |e: String| Failure::layer(&layer.name(), e);
        let tensors = tensors::<T>(layer.spec);
        let output = std::cell::RefCell::new(Output::fresh(layer.spec, tensors.batch, T::default()));
        let mut runs: Vec<Run<'_>> = Vec::with_capacity(kernels.len());
        for kernel in kernels {
            let packed = tensors.pack(kernel).map_err(failed)?;
            let (tensors, output) = (&tensors, &output);
            runs.push(Box::new(move || {
                tensors.run(kernel, self.threads, &packed, &mut output.borrow_mut()).map_err(failed)
            }));
        }
        seconds_in_rounds(self.clock, self.budget, keep, &mut runs, progress)
    }
}
