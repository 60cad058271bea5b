//! Times of calls, as every worker takes them.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;

/// How long to compute.
#[derive(Debug, Deserialize)]
pub(crate) struct Slice {
    ms: f64,
    min_calls: usize,
    clock: Clock,
}

/// `cpu` is the time that all threads of this process compute: it stands still while others have the core.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Clock {
    Cpu,
    Wall,
}

impl Clock {
    /// Seconds since some moment.
    fn now(self) -> f64 {
        let time = clock_gettime(match self {
            Self::Cpu => ClockId::ProcessCPUTime,
            Self::Wall => ClockId::Monotonic,
        });
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }
}

/// Short calls are timed together until they take this long.
const LEAST_SECONDS: f64 = 50e-6;
/// A slice ends after this many times its length, however few calls there were.
const PATIENCE: f64 = 20.0;

/// Microseconds a call, one element a sample. The first call warms up and is not timed.
pub(crate) fn samples<E>(slice: &Slice, mut call: impl FnMut() -> Result<(), E>) -> Result<Vec<f64>, E> {
    let begin = Instant::now();
    let enough = Duration::from_secs_f64(slice.ms / 1e3);
    let time = |calls: usize, call: &mut dyn FnMut() -> Result<(), E>| {
        let start = slice.clock.now();
        for _ in 0..calls {
            call()?;
        }
        Ok((slice.clock.now() - start) / calls as f64)
    };
    call()?;
    let once = time(1, &mut call)?;
    let calls = (LEAST_SECONDS / once.max(1e-8)).ceil().max(1.0) as usize;
    let mut samples = Vec::new();
    while (begin.elapsed() < enough || samples.len() * calls < slice.min_calls)
        && (samples.is_empty() || begin.elapsed() < enough.mul_f64(PATIENCE))
    {
        samples.push(time(calls, &mut call)? * 1e6);
    }
    Ok(samples)
}
