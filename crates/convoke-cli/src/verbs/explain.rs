//! `explain`: why a plan was chosen, what it should cost, and why not the others.

use super::plan_line::PlanLine;
use crate::args::{Explain, Planning};
use crate::failure::Failure;
use crate::measure::{Outcome, Timer, gflops};
use crate::numbers::{short, three_digits, time};
use crate::progress;
use crate::source::{self, Selected};
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::plan::{self, Candidate, Plan};
use convoke_core::spec::{Accuracy, Algorithm, LayerSpec, PackInput};
use convoke_core::target::Target;
use std::io::Write;

mod network;

pub(crate) fn run(args: &Explain, out: &mut dyn Write) -> Result<(), Failure> {
    let Planning { layers, target } = &args.planning;
    let target = if args.measure { super::runnable_target(target)? } else { super::target(target)? };
    let timer = args.measure.then(|| Timer::new(&target, usize::from(args.threads), args.budget));
    let sources = source::read(layers)?;
    // What is measured, or read by a program, is one layer after the other.
    let (selected, networks) = match args.json || args.measure {
        true => (source::select(&sources, layers)?, Vec::new()),
        false => source::select_whole(&sources, layers)?,
    };
    let alone = selected.len();
    let bar = progress::steps(selected.len(), args.json || timer.is_none());
    for (at, layer) in selected.into_iter().enumerate() {
        bar.set_message(layer.name());
        let explained = Explained::new(layer, &target, timer.as_ref())?;
        bar.suspend(|| {
            if args.json {
                return explained.lines(out);
            }
            if at > 0 {
                writeln!(out)?;
            }
            explained.text(&target, out)
        })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    for (at, (text, network)) in networks.into_iter().enumerate() {
        if alone + at > 0 {
            writeln!(out)?;
        }
        network::write(text, network, &target, out)?;
    }
    Ok(())
}

/// What is known of a layer's plans.
struct Explained<'a> {
    layer: Selected<'a>,
    chosen: Plan,
    /// Those with a plan in the order of its predicted cost, then those that cannot be.
    candidates: Vec<Candidate>,
    /// What became of each plan, if they were measured.
    times: Vec<Outcome>,
    timer: Option<&'a Timer>,
}

impl<'a> Explained<'a> {
    fn new(layer: Selected<'a>, target: &Target, timer: Option<&'a Timer>) -> Result<Self, Failure> {
        let chosen = super::plan::choose(layer, target)?;
        let mut candidates = plan::candidates(layer.spec, target);
        let cost = |c: &Candidate| c.outcome.as_ref().map_or(f64::INFINITY, |plan| plan.cost.total());
        candidates.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
        let times = match timer {
            None => Vec::new(),
            Some(timer) => measure(layer, &candidates, &chosen, timer)?,
        };
        Ok(Self { layer, chosen, candidates, times, timer })
    }

    fn text(&self, target: &Target, out: &mut dyn Write) -> Result<(), Failure> {
        let (spec, chosen) = (self.layer.spec, &self.chosen);
        writeln!(out, "{} on {}", self.layer.name(), target.name())?;
        writeln!(out, "\nChosen: {}, {}", title(chosen), chosen.why)?;
        for line in chosen.to_string().lines() {
            writeln!(out, "    {line}")?;
        }
        if let Some(error) = error(spec, chosen.algorithm) {
            writeln!(out, "\n{error}")?;
        }
        cost(chosen, spec.macs_per_image(), target, spec.dtype.bytes(), out)?;
        if let (Some(timer), Some(Ok(measured))) = (self.timer, self.time_of_chosen()) {
            let (time, speed) = (time(measured.seconds), three_digits(gflops(spec, measured.seconds)));
            writeln!(out, "Measured: {time}, {speed} GFLOP/s ({})", timer.text())?;
        }
        writeln!(out, "\nNot chosen:")?;
        for (at, candidate) in self.candidates.iter().enumerate() {
            if let Some(line) = passed_over(candidate, chosen) {
                writeln!(out, "    {line}{}", self.measured(at))?;
            }
        }
        let packing = WeightsPacking::of(spec, chosen, target.lanes(spec.dtype.bytes()));
        let bytes = packing.packed_len() * spec.dtype.bytes();
        let name = packing.name(spec.dtype);
        let algorithm = chosen.algorithm;
        let how = if algorithm.is_exact() { "packed" } else { "transformed and packed" };
        let everywhere = if packing.fft.is_none() { ", on every target" } else { "" };
        writeln!(out, "\nWeights for {algorithm} are {how} as {name}, {}B{everywhere}.", short(bytes as f64))?;
        writeln!(out, "{}", same_bits(algorithm, target))?;
        Ok(())
    }

    fn time_of_chosen(&self) -> Option<&Outcome> {
        let at = self.candidates.iter().position(|c| c.outcome.as_ref() == Ok(&self.chosen))?;
        self.times.get(at)
    }

    /// What a candidate's line says of its time.
    fn measured(&self, at: usize) -> String {
        match (self.times.get(at), self.time_of_chosen()) {
            (Some(Ok(m)), Some(Ok(chosen))) => {
                let change = 100.0 * (m.seconds / chosen.seconds.max(1e-12) - 1.0);
                let (percent, how) = (change.abs(), if change < 0.0 { "less" } else { "more" });
                format!("; measured {}, {percent:.0} % {how}", time(m.seconds))
            }
            (Some(Ok(m)), _) => format!("; measured {}", time(m.seconds)),
            (Some(Err(why)), _) => format!("; not measured: {why}"),
            (None, _) => String::new(),
        }
    }

    fn lines(&self, out: &mut dyn Write) -> Result<(), Failure> {
        for (at, candidate) in self.candidates.iter().enumerate() {
            let line = match &candidate.outcome {
                Ok(plan) => {
                    let analytic = *plan == self.chosen;
                    let status = if analytic { "chosen" } else { "passed_over" };
                    PlanLine { rank: Some(at + 1), analytic, ..PlanLine::new(self.layer, status).of(plan) }
                }
                Err(refusal) => PlanLine {
                    reason: Some(&refusal.reason),
                    algorithm: candidate.algorithm.name(),
                    vector: candidate.vector.name(),
                    pack_input: candidate.pack_input.name(),
                    ..PlanLine::new(self.layer, "refused")
                },
            };
            let line = match (self.times.get(at), self.timer) {
                (Some(Ok(measured)), Some(timer)) => line.measured(self.layer, timer, measured),
                (Some(Err(why)), _) => PlanLine { reason: Some(why), ..line },
                _ => line,
            };
            super::json_line(out, &line)?;
        }
        Ok(())
    }
}

/// Measures the candidates that have a plan, which come first.
fn measure(
    layer: Selected<'_>,
    candidates: &[Candidate],
    chosen: &Plan,
    timer: &Timer,
) -> Result<Vec<Outcome>, Failure> {
    let plans: Vec<&Plan> = candidates.iter().filter_map(|c| c.outcome.as_ref().ok()).collect();
    let kernels: Vec<_> = plans.iter().map(|plan| timer.kernel(layer.spec, plan)).collect();
    let keep = plans.iter().position(|plan| *plan == chosen).unwrap_or(0);
    timer.measure(layer, &kernels, keep, &mut |_| ())
}

fn cost(plan: &Plan, macs: u64, target: &Target, bytes: usize, out: &mut dyn Write) -> Result<(), Failure> {
    let c = &plan.cost;
    let ideal = macs as f64 / (target.lanes(bytes) * target.fma_per_cycle) as f64;
    writeln!(out, "\nEstimated cycles of one core for one image:")?;
    for (what, cycles) in
        [("in tiles", c.compute), ("moving data", c.memory), ("copying the input", c.packing), ("in all", c.total())]
    {
        writeln!(out, "    {what:18} {:>8}", short(cycles).trim_end())?;
    }
    let share = 100.0 * ideal / c.total().max(1.0);
    writeln!(out, "    multiply-adds alone would take {} ({} %)", short(ideal).trim_end(), three_digits(share))?;
    Ok(())
}

fn title(plan: &Plan) -> String {
    let pack = copied(plan.pack_input);
    format!("{}, vector {}{pack}, tile {}x{}", plan.algorithm, plan.vector, plan.tile.rows, plan.tile.vectors)
}

/// Why a candidate is not the chosen plan; nothing if it is.
fn passed_over(candidate: &Candidate, chosen: &Plan) -> Option<String> {
    match &candidate.outcome {
        Ok(plan) if plan == chosen => None,
        Ok(plan) => {
            let change = 100.0 * (plan.cost.total() / chosen.cost.total().max(1.0) - 1.0);
            let (percent, how) = (change.abs(), if change < 0.0 { "less" } else { "more" });
            let cycles = short(plan.cost.total());
            // What costs no more can only have been passed over for another algorithm.
            let first = if change <= 0.0 { format!(", but {} comes first", chosen.algorithm) } else { String::new() };
            Some(format!("{}: {} cycles, {percent:.0} % {how}{first}", title(plan), cycles.trim_end()))
        }
        Err(refusal) => {
            let pack = copied(candidate.pack_input);
            Some(format!("{}, vector {}{pack}: {}", candidate.algorithm, candidate.vector, refusal.reason))
        }
    }
}

/// What error the algorithm should have, if it may have another than the direct sum.
fn error(spec: &LayerSpec, algorithm: Algorithm) -> Option<String> {
    let times = (!algorithm.is_exact()).then(|| plan::error_times(spec, algorithm))?;
    let allowed = match spec.accuracy {
        Accuracy::Times(most) => format!("the layer allows {most}"),
        Accuracy::Fast => "the layer allows any".to_owned(),
        Accuracy::Exact => "the layer allows none".to_owned(),
    };
    Some(format!("Estimated error: about {times:.1} times that of a direct sum; {allowed} (`accuracy`)"))
}

/// The order of every sum follows from the algorithm, so only the rounding of a product tells targets apart that have the same.
fn same_bits(algorithm: Algorithm, target: &Target) -> String {
    if algorithm == Algorithm::Fft {
        return format!(
            "The result of {algorithm} has the same bits on any number of threads, and on targets of equal vectors."
        );
    }
    let (targets, others) = if target.fma {
        ("with fused multiply-adds (avx512, avx2, sse+fma, neon)", "")
    } else {
        let others = "; targets with them round once less a product";
        ("without fused multiply-adds (sse, portable)", others)
    };
    format!("The result of {algorithm} has the same bits on every target {targets}, on any number of threads{others}.")
}

/// How the input is read, if not as it comes.
fn copied(pack: PackInput) -> &'static str {
    match pack {
        PackInput::None => "",
        PackInput::Pad => ", input copied",
        PackInput::ChannelsLast => ", input copied to channels last",
    }
}
