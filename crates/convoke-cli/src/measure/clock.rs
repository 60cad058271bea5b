//! What times are taken with.

use std::time::{Duration, Instant};

/// A clock. That of the CPU stands still while other programs have the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The time that the calling thread computes.
    #[cfg(target_os = "linux")]
    Cpu,
    /// The time that passes.
    Wall,
}

impl Clock {
    /// The clock for what runs on the calling thread alone.
    pub(crate) fn of_this_thread() -> Self {
        #[cfg(target_os = "linux")]
        return Self::Cpu;
        #[cfg(not(target_os = "linux"))]
        Self::Wall
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            #[cfg(target_os = "linux")]
            Self::Cpu => "cpu",
            Self::Wall => "wall",
        }
    }

    /// How long `f` takes.
    pub(crate) fn time<E>(self, f: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Cpu => {
                let start = cpu_time();
                f()?;
                Ok(cpu_time().saturating_sub(start))
            }
            Self::Wall => {
                let start = Instant::now();
                f()?;
                Ok(start.elapsed())
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
