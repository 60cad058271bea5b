//! Thread pools, one for each number of threads that is asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use convoke_jit::Executor;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Error;

/// The pools of all kernels that come from one compiler. A pool starts when it is first used.
#[derive(Debug, Default)]
pub(crate) struct Pools(Mutex<BTreeMap<usize, Arc<ThreadPool>>>);

impl Pools {
    /// The pool of `threads` threads.
    pub(crate) fn get(&self, threads: usize) -> Result<Pool, Error> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&threads) {
            return Ok(Pool(pool.clone()));
        }
        let builder = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("convoke-{i}"));
        let pool = builder.build().map_err(|e| Error::Threads { threads, reason: e.to_string() })?;
        let pool = Arc::new(pool);
        pools.insert(threads, pool.clone());
        Ok(Pool(pool))
    }
}

/// A thread pool that runs parallel loops.
pub(crate) struct Pool(Arc<ThreadPool>);

impl Executor for Pool {
    fn threads(&self) -> usize {
        self.0.current_num_threads()
    }

    fn broadcast(&self, work: &(dyn Fn() + Sync)) {
        self.0.broadcast(|_| work());
    }
}
