//! Times of calls, as every worker takes them.

use std::time::Instant;

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
const LEAST_US: f64 = 50.0;
/// A slice ends after this many times its length, however few calls there were.
const PATIENCE: f64 = 20.0;

/// Microseconds a call, one element a sample. The first call warms up; only one that lasts too long counts.
pub(crate) fn samples<E>(slice: &Slice, mut call: impl FnMut() -> Result<(), E>) -> Result<Vec<f64>, E> {
    let begin = Instant::now();
    let passed = || begin.elapsed().as_secs_f64() * 1e3;
    let mut time = |calls: usize| {
        let start = slice.clock.now();
        for _ in 0..calls {
            call()?;
        }
        Ok((slice.clock.now() - start) / calls as f64 * 1e6)
    };
    let first = time(1)?;
    let patience = slice.ms * PATIENCE;
    if passed() >= patience {
        return Ok(vec![first]);
    }
    let calls = (LEAST_US / time(1)?.max(0.01)).ceil().max(1.0) as usize;
    let mut samples = Vec::new();
    while samples.is_empty() || passed() < patience && (passed() < slice.ms || samples.len() * calls < slice.min_calls)
    {
        samples.push(time(calls)?);
    }
    Ok(samples)
}
