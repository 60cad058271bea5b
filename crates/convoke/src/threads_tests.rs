use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::*;

/// Adds up 0 to `count` on all threads that come, `rounds` times, each sum behind the one before.
fn sums(executor: &dyn Executor, rounds: usize, count: usize) -> Vec<usize> {
    let sum = |_| {
        let (next, total) = (AtomicUsize::new(0), AtomicUsize::new(0));
        executor.broadcast(&|| {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    return;
                }
                total.fetch_add(i, Ordering::Relaxed);
            }
        });
        total.into_inner()
    };
    (0..rounds).map(sum).collect()
}

#[test]
fn every_piece_is_done_once() {
    let pools = Pools::default();
    for threads in [0, 1, 2, 3, 8] {
        let found = pools.team(threads, |executor| {
            assert_eq!(executor.threads(), threads.max(1));
            sums(executor, 500, 100)
        });
        assert_eq!(found.unwrap(), [4950; 500], "{threads} threads");
    }
}

#[test]
fn threads_help() {
    let pools = Pools::default();
    let all = pools.team(3, |executor| {
        let (seen, end) = (Mutex::new(HashSet::new()), Instant::now() + Duration::from_secs(30));
        // Whoever comes stays until all are there.
        executor.broadcast(&|| {
            seen.lock().unwrap().insert(std::thread::current().id());
            while seen.lock().unwrap().len() < 3 && Instant::now() < end {
                std::thread::yield_now();
            }
        });
        seen.into_inner().unwrap().len()
    });
    assert_eq!(all.unwrap(), 3);
}

#[test]
fn a_second_run_is_alone_and_right() {
    let (pools, inside) = (Pools::default(), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let first = pools.team(2, |executor| {
                inside.wait();
                let found = sums(executor, 50, 50);
                inside.wait();
                (executor.threads(), found)
            });
            assert_eq!(first.unwrap(), (2, vec![1225; 50]));
        });
        inside.wait();
        let second = pools.team(2, |executor| (executor.threads(), sums(executor, 50, 50)));
        assert_eq!(second.unwrap(), (1, vec![1225; 50]));
        inside.wait();
    });
    // And later it has them again.
    assert_eq!(pools.team(2, |executor| executor.threads()).unwrap(), 2);
}

#[test]
fn a_panic_ends_the_run_and_no_other() {
    let pools = Pools::default();
    let panics = |who: &dyn Fn(&dyn Executor)| {
        catch_unwind(AssertUnwindSafe(|| pools.team(3, |executor| who(executor)).unwrap())).unwrap_err()
    };
    panics(&|_| panic!("between two works"));
    panics(&|executor| executor.broadcast(&|| panic!("in a work")));
    assert_eq!(pools.team(3, |executor| sums(executor, 3, 10)).unwrap(), [45; 3]);
}
