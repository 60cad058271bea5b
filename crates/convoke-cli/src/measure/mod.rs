//! Times of kernels: with which clock, on which core, on which data, and of several kernels beside each other.

mod clock;
mod rounds;
mod timer;

pub(crate) use clock::Clock;
pub(crate) use rounds::{Run, seconds_in_rounds};
pub(crate) use timer::{Measured, Outcome, Timer, outcomes};

use crate::compute::{Tensors, random_indices};
use crate::failure::Failure;
use crate::random::Random;
use convoke::Float;
use convoke_core::spec::{LayerSpec, Storage};
use std::time::{Duration, Instant};

/// Shorter runs are timed several together, since a look at the clock of the CPU is a system call.
const TIMED: Duration = Duration::from_micros(50);

/// How many runs are timed together if one takes `once`.
fn together(once: Duration) -> u32 {
    (TIMED.as_nanos() / once.as_nanos().max(1)).clamp(1, 1_000) as u32
}

/// Seconds that one run takes, `together` of them timed as one.
fn sample(clock: Clock, together: u32, mut f: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let time = clock.time(|| (0..together).try_for_each(|_| f()))?;
    Ok(time.as_secs_f64() / f64::from(together))
}

/// The median time of at least `runs` runs and at least `duration`, in seconds. One that takes longer than `duration` is
/// run no more than `runs` times.
pub(crate) fn seconds(
    clock: Clock,
    runs: usize,
    duration: Duration,
    mut f: impl FnMut() -> Result<(), Failure>,
) -> Result<f64, Failure> {
    const MOST: usize = 100_000;
    let begin = Instant::now();
    let first = clock.time(&mut f)?;
    let together = together(first);
    let mut times = if together == 1 { vec![first.as_secs_f64()] } else { Vec::new() };
    while times.len() < runs || (begin.elapsed() < duration && times.len() < MOST) {
        times.push(sample(clock, together, &mut f)?);
    }
    Ok(median(&mut times))
}

/// The middle of `times`, which it sorts; 0 if there is none.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

/// Random numbers, one image where the batch is a name.
pub(crate) fn tensors<T: Float>(spec: &LayerSpec) -> Tensors<T> {
    let mut random = Random::for_name(1, &spec.name);
    let batch = spec.fixed_batch().unwrap_or(1);
    Tensors {
        batch,
        src: random.units(batch * spec.src_image()),
        weights: random.units(spec.weights_len()),
        bias: random.units(spec.bias_len()),
        residual: random.units(if spec.has_residual() { batch * spec.dst_image() } else { 0 }),
        offset: random.units(batch * spec.offset_image()),
        mask: random.units(batch * spec.mask_image()),
        indices: random_indices(spec, batch, &mut random),
    }
}

/// 10^9 floating-point operations a second, as a direct sum counts them, of what [`tensors`] makes.
pub(crate) fn gflops(spec: &LayerSpec, seconds: f64) -> f64 {
    let batch = spec.fixed_batch().unwrap_or(1);
    spec.operations_per_image() as f64 * batch as f64 / seconds / 1e9
}

/// 10^9 bytes a second, of input, parameters, residual, offsets, output and indices, each counted once.
pub(crate) fn gigabytes(spec: &LayerSpec, seconds: f64) -> f64 {
    let batch = spec.fixed_batch().unwrap_or(1);
    let indices = |is: bool| if is { Storage::I32.bytes() } else { 0 };
    let tensors = spec.src_image() * (spec.src_storage().bytes() + indices(spec.takes_indices()))
        + spec.dst_image() * (spec.dst_storage().bytes() + indices(spec.return_indices));
    let residual = if spec.has_residual() { spec.dst_image() * spec.dst_storage().bytes() } else { 0 };
    let parameters = spec.parameters() * spec.weights_storage().bytes();
    let moved = (spec.offset_image() + spec.mask_image()) * spec.src_storage().bytes();
    (batch * (tensors + residual + moved) + parameters) as f64 / seconds / 1e9
}

/// The mean of what is compared as ratios.
pub(crate) fn geometric_mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), x| (sum + x.max(f64::MIN_POSITIVE).ln(), n + 1));
    (sum / f64::from(n.max(1))).exp()
}

/// Keeps this thread, and the programs that it starts, on the core where it is now.
#[cfg(target_os = "linux")]
pub(crate) fn pin() -> Option<usize> {
    let core = rustix::thread::sched_getcpu();
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).ok().map(|()| core)
}

/// Other systems have no such call, or none that holds.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin() -> Option<usize> {
    None
}
