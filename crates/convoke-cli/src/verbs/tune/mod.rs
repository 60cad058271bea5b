//! `tune`: the plans that a layer may have, measured, and what the planner's choice costs against the fastest.
//!
//! The plans of a layer are run in turns, so that what slows the machine down slows all of them down. Times come from the cache
//! only if all plans that are asked for were measured there, in the same rounds. What was fastest can be pinned in the layer's
//! file; nothing else follows from a measurement.

mod report;
mod write;

use crate::args::Tune;
use crate::cache::{self, Cache, Record, Time};
use crate::candidates::Plans;
use crate::failure::{Failure, warn};
use crate::hash::hash;
use crate::measure::{Outcome, Timer, outcomes};
use crate::source::{self, Selected};
use crate::{progress, verbs};
use convoke::Kernel;
use convoke_core::plan::Plan;
use convoke_core::target::Target;
use indicatif::ProgressBar;
use report::Report;
use std::io::Write;

/// Plans that are measured whatever is predicted.
const LEAST: usize = 3;
/// Steps of the progress bar a layer.
const STEPS: usize = 1000;

pub(crate) fn run(args: &Tune, out: &mut dyn Write) -> Result<(), Failure> {
    if args.write {
        write::check_files(&args.layers.files)?;
    }
    let target = verbs::runnable_target(&args.target)?;
    let timer = Timer::new(&target, usize::from(args.threads), args.budget);
    let mut cache = open_cache(args, &target, &timer)?;
    if args.layers.files.is_empty() {
        return Ok(());
    }
    let sources = source::read(&args.layers)?;
    let selected = source::select(&sources, &args.layers)?;
    let chosen: Vec<Plan> =
        selected.iter().map(|layer| verbs::plan::choose(*layer, &target)).collect::<Result<_, _>>()?;
    let bar = progress::parts(selected.len() * STEPS, args.json);
    let report = Report { args, target: &target, timer: &timer };
    let mut all = Vec::new();
    report.head(out)?;
    for (at, (layer, chosen)) in selected.iter().zip(&chosen).enumerate() {
        bar.set_message(format!("{}/{} {}", at + 1, selected.len(), layer.name()));
        bar.set_position((at * STEPS) as u64);
        let plans = Plans::new(layer.spec, &target, chosen, usize::from(args.neighbours));
        let tuned = tune(args, *layer, plans, &timer, &mut cache, &bar)?;
        bar.suspend(|| report.layer(&tuned, out))?;
        all.push(tuned);
    }
    bar.finish_and_clear();
    report.summary(&all, out)?;
    if args.write { write::write(&sources, &all, &target, args, out) } else { Ok(()) }
}

/// The cache, unless it is not wanted or cannot be.
fn open_cache(args: &Tune, target: &Target, timer: &Timer) -> Result<Option<Cache>, Failure> {
    if args.no_cache {
        return Ok(None);
    }
    match cache::folder(args.cache_dir.as_deref()) {
        Ok(folder) => {
            if args.clear_cache {
                let removed = cache::clear(&folder)?;
                if args.layers.files.is_empty() {
                    let s = if removed == 1 { "layer" } else { "layers" };
                    anstream::eprintln!("forgot the times of {removed} {s}");
                }
            }
            Ok(Some(Cache::new(folder, target, timer)))
        }
        Err(why) if args.clear_cache => Err(Failure::Input(format!("{why}; say where the cache is with --cache-dir"))),
        Err(why) => {
            warn(format!("{why}: times are not kept; name a folder with --cache-dir, or say --no-cache"));
            Ok(None)
        }
    }
}

/// What was measured of a layer.
struct Tuned<'a> {
    layer: Selected<'a>,
    /// In the order of their predicted cost.
    plans: Vec<Plan>,
    /// The planner's choice.
    analytic: usize,
    /// The fastest.
    best: usize,
    /// The number of each plan that was not left out, and what became of it.
    tried: Vec<(usize, Outcome)>,
    /// Whether the times come from the cache.
    cached: bool,
}

impl Tuned<'_> {
    /// Seconds of a plan that was measured.
    fn seconds(&self, plan: usize) -> f64 {
        let tried = self.tried.iter().find(|(at, _)| *at == plan);
        tried.and_then(|(_, tried)| tried.as_ref().ok()).map_or(f64::INFINITY, |measured| measured.seconds)
    }

    /// The time of the planner's choice over that of the fastest.
    fn regret(&self) -> f64 {
        ratio(self.seconds(self.analytic), self.seconds(self.best))
    }

    fn best_plan(&self) -> &Plan {
        &self.plans[self.best]
    }
}

/// Of times that may be too short for the clock.
fn ratio(a: f64, b: f64) -> f64 {
    const TICK: f64 = 1e-12;
    a.max(TICK) / b.max(TICK)
}

fn tune<'a>(
    args: &Tune,
    layer: Selected<'a>,
    plans: Plans,
    timer: &Timer,
    cache: &mut Option<Cache>,
    bar: &ProgressBar,
) -> Result<Tuned<'a>, Failure> {
    let numbers = plans.promising(args.within, LEAST);
    let Plans { all: plans, analytic } = plans;
    let kernels: Vec<Result<Kernel, String>> = numbers.iter().map(|at| timer.kernel(layer.spec, &plans[*at])).collect();
    let keep = numbers.iter().position(|at| *at == analytic).unwrap_or(0);
    if let Some(Err(why)) = kernels.get(keep) {
        return Err(Failure::layer(&layer.name(), why));
    }
    let with_kernel = numbers.iter().zip(&kernels).filter_map(|(at, kernel)| Some((*at, kernel.as_ref().ok()?)));
    let wanted: Vec<Time> = with_kernel.map(|(at, kernel)| time_of(&plans[at], kernel)).collect();
    let known = cache.as_ref().and_then(|cache| {
        let record = cache.read(layer.spec).unwrap_or_else(|why| {
            bar.suspend(|| warn(why));
            None
        })?;
        times_of(&record, &wanted, args.budget)
    });
    let cached = known.is_some();
    let outcomes = match known {
        Some(seconds) => outcomes(&kernels, seconds),
        None => {
            let begin = bar.position();
            let mut moved = |part: f64| bar.set_position(begin + (part * STEPS as f64) as u64);
            let outcomes = timer.measure(layer, &kernels, keep, &mut moved)?;
            keep_times(cache, layer, wanted, &outcomes, args.budget, bar);
            outcomes
        }
    };
    let tried: Vec<(usize, Outcome)> = numbers.into_iter().zip(outcomes).collect();
    let mut tuned = Tuned { layer, plans, analytic, best: analytic, tried, cached };
    let fastest = tuned.tried.iter().map(|(at, _)| *at).min_by(|a, b| tuned.seconds(*a).total_cmp(&tuned.seconds(*b)));
    tuned.best = fastest.unwrap_or(analytic);
    Ok(tuned)
}

/// Puts what was measured into the cache. If it cannot be, the next layer would fare no better.
fn keep_times(
    cache: &mut Option<Cache>,
    layer: Selected<'_>,
    wanted: Vec<Time>,
    outcomes: &[Outcome],
    budget: f64,
    bar: &ProgressBar,
) {
    let seconds = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).map(|measured| measured.seconds);
    let times = wanted.into_iter().zip(seconds).map(|(time, seconds)| Time { seconds, ..time }).collect();
    let written = cache.as_ref().map(|cache| cache.write(layer.spec, Record { budget, times }));
    if let Some(Err(why)) = written {
        bar.suspend(|| warn(why));
        *cache = None;
    }
}

/// What the cache has to hold to know a plan's time.
fn time_of(plan: &Plan, kernel: &Kernel) -> Time {
    let code = format!("{:016x}", hash(&kernel.ir().to_string()));
    Time { schedule: plan.to_string(), code, seconds: 0.0 }
}

/// The times of all plans that are wanted, if they were measured long enough.
fn times_of(record: &Record, wanted: &[Time], budget: f64) -> Option<Vec<f64>> {
    if record.budget < budget {
        return None;
    }
    let of = |time: &Time| record.times.iter().find(|t| t.schedule == time.schedule && t.code == time.code);
    wanted.iter().map(|time| of(time).map(|t| t.seconds)).collect()
}
