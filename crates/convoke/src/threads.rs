//! Threads that share the work of a run.
//!
//! A run has its threads from its begin to its end: between the loops that they share they look for the next, since waking a thread takes longer
//! than many a loop. Whoever runs something does most of it on the thread that calls; the others of the pool help.

use std::collections::BTreeMap;
use std::hint::spin_loop;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use convoke_jit::{Executor, Serial};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Error;

/// The pools of all kernels that come from one compiler, one for each number of threads that is asked for. A pool starts when it is first used.
#[derive(Debug, Default)]
pub(crate) struct Pools(Mutex<BTreeMap<usize, Arc<Pool>>>);

/// The threads beside the one that calls.
#[derive(Debug)]
struct Pool {
    helpers: ThreadPool,
    /// Held by the run that has them.
    run: Mutex<()>,
}

impl Pools {
    /// Calls `work` with who shares its loops among `threads` threads. If another run has these just now, it is the calling thread alone.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub(crate) fn team<R>(&self, threads: usize, work: impl FnOnce(&dyn Executor) -> R) -> Result<R, Error> {
        if threads <= 1 {
            return Ok(work(&Serial));
        }
        let pool = self.get(threads)?;
        let run = match pool.run.try_lock() {
            Ok(run) => run,
            Err(TryLockError::Poisoned(run)) => run.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(work(&Serial)),
        };
        let team = Team::new(threads);
        let result = pool.helpers.in_place_scope(|scope| {
            scope.spawn_broadcast(|_, _| team.help());
            let _end = OnDrop(|| team.open.0.store(OVER, Ordering::SeqCst));
            work(&team)
        });
        drop(run);
        Ok(result)
    }

    fn get(&self, threads: usize) -> Result<Arc<Pool>, Error> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&threads) {
            return Ok(pool.clone());
        }
        let builder = ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(|i| format!("convoke-{i}"));
        let helpers = builder.build().map_err(|e| Error::Threads { threads, reason: e.to_string() })?;
        let pool = Arc::new(Pool { helpers, run: Mutex::new(()) });
        pools.insert(threads, pool.clone());
        Ok(pool)
    }
}

/// No work is there to help with.
const CLOSED: usize = 0;
/// There will be none any more.
const OVER: usize = usize::MAX;
/// How often a helper looks for work before it lets others have the core in between.
const PATIENCE: usize = 1 << 12;

type Work<'a> = &'a (dyn Fn() + Sync);

/// On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Alone<T>(T);

/// The threads of a run. One leads: it has work done, piece by piece, and does it too. The others help while the work is open.
///
/// Nobody waits for a helper that has not begun: work is such that who does it takes what is left, and the leader leaves nothing.
#[derive(Debug)]
struct Team {
    threads: usize,
    /// The number of the work that is open, counted from 1, or [`CLOSED`], or [`OVER`].
    open: Alone<AtomicUsize>,
    /// Helpers that look whether it is, or do it.
    active: Alone<AtomicUsize>,
    /// Where the open work lies.
    work: AtomicPtr<Work<'static>>,
    /// How much there has been. Held by who leads.
    count: Mutex<usize>,
}

impl Team {
    fn new(threads: usize) -> Self {
        let (open, active, count) = Default::default();
        Self { threads, open, active, work: AtomicPtr::new(ptr::null_mut()), count }
    }

    /// Does what there is to do until the run is over.
    fn help(&self) {
        let (mut last, mut looks) = (CLOSED, 0_usize);
        loop {
            let open = self.open.0.load(Ordering::Acquire);
            if open == OVER {
                return;
            }
            if open == CLOSED || open == last {
                looks += 1;
                if looks < PATIENCE {
                    spin_loop()
                } else {
                    std::thread::yield_now()
                }
                continue;
            }
            self.active.0.fetch_add(1, Ordering::SeqCst);
            let _end = OnDrop(|| {
                self.active.0.fetch_sub(1, Ordering::SeqCst);
            });
            if self.open.0.load(Ordering::SeqCst) == open {
                (last, looks) = (open, 0);
                // SAFETY: the leader closed nothing before this thread was active, or `open` would be another number, as no two works have the
                // same. Since then it waits for active threads before it leaves `broadcast`, while which the work lives. What it
                // wrote before it opened the work is seen by who read that.
                let work = unsafe { *self.work.load(Ordering::Relaxed) };
                work();
            }
        }
    }
}

impl Executor for Team {
    fn threads(&self) -> usize {
        self.threads
    }

    fn broadcast(&self, work: &(dyn Fn() + Sync)) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        self.work.store(ptr::from_ref(&work).cast_mut().cast(), Ordering::Relaxed);
        self.open.0.store(*count, Ordering::SeqCst);
        // However the work ends, nobody is left with it.
        let _end = OnDrop(|| {
            self.open.0.store(CLOSED, Ordering::SeqCst);
            let mut looks = 0_usize;
            while self.active.0.load(Ordering::SeqCst) != 0 {
                looks += 1;
                if looks < PATIENCE { spin_loop() } else { std::thread::yield_now() }
            }
        });
        work();
    }
}

/// Calls what it holds when it goes.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

#[cfg(test)]
#[path = "threads_tests.rs"]
mod tests;
