//! Several runs beside each other: whatever slows the machine down for a while slows all of them down.

use super::{Clock, median, sample, together};
use crate::failure::Failure;
use std::time::{Duration, Instant};

/// What is timed.
pub(crate) type Run<'a> = Box<dyn FnMut() -> Result<(), Failure> + 'a>;

/// How long one has its turn, unless a single run takes longer.
const TURN: Duration = Duration::from_millis(5);
/// Rounds that there are however little time is given.
const LEAST_ROUNDS: usize = 3;
/// What is slower than the fastest by this factor gets no more turns: in the first rounds, and later.
const HOPELESS: (f64, f64) = (3.0, 1.25);

/// Median seconds of each of `runs`, which take turns for about `budget`. What is clearly slower than the fastest drops out, but
/// for number `keep`. `progress` hears which part of the time is over.
pub(crate) fn seconds_in_rounds(
    clock: Clock,
    budget: Duration,
    keep: usize,
    runs: &mut [Run<'_>],
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<f64>, Failure> {
    let begin = Instant::now();
    let mut many = Vec::with_capacity(runs.len());
    for run in &mut *runs {
        let mut once = clock.time(&mut *run)?;
        if once < TURN {
            // The first run found the caches cold.
            once = clock.time(run)?;
        }
        many.push(together(once));
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); runs.len()];
    let mut medians = vec![0.0; runs.len()];
    let mut round = 0;
    while round < LEAST_ROUNDS || begin.elapsed() < budget {
        let slack = if round < LEAST_ROUNDS { HOPELESS.0 } else { HOPELESS.1 };
        let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
        let remain = |at: &usize| round == 0 || *at == keep || medians[*at] <= slack * least;
        let mut turns: Vec<usize> = (0..runs.len()).filter(remain).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for at in turns {
            // The one before has left its own data in the caches.
            runs[at]()?;
            let turn = Instant::now();
            loop {
                times[at].push(sample(clock, many[at], &mut runs[at])?);
                if turn.elapsed() >= TURN {
                    break;
                }
            }
            progress((begin.elapsed().as_secs_f64() / budget.as_secs_f64().max(1e-9)).min(1.0));
        }
        for (median_of, times) in medians.iter_mut().zip(&mut times) {
            *median_of = median(times);
        }
        round += 1;
    }
    Ok(medians)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn all_take_turns_and_the_hopeless_drop_out() {
        let turns = RefCell::new(Vec::new());
        let wait = |who: usize, time: u64| -> Run<'_> {
            let turns = &turns;
            Box::new(move || {
                turns.borrow_mut().push(who);
                std::thread::sleep(Duration::from_millis(time));
                Ok(())
            })
        };
        let mut runs = vec![wait(0, 6), wait(1, 120), wait(2, 60)];
        let mut parts = Vec::new();
        let times = seconds_in_rounds(Clock::Wall, Duration::ZERO, 2, &mut runs, &mut |p| parts.push(p)).unwrap();
        drop(runs);
        assert_eq!(times.len(), 3);
        assert!(times[0] < times[2] && times[2] < times[1], "{times:?}");
        assert!(parts.iter().all(|p| (0.0..=1.0).contains(p)), "{parts:?}");
        // Once to see how long it takes; then, a round, once to fill the caches and once for the clock.
        let count = |who| turns.borrow().iter().filter(|w| **w == who).count();
        assert_eq!((count(1), count(2)), (3, 7), "the slowest has one turn, the one to keep three");
    }
}
