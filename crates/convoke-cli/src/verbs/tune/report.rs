//! What `tune` prints.

use super::{Tuned, ratio};
use crate::args::Tune;
use crate::candidates::{block, tile, title};
use crate::failure::Failure;
use crate::measure::{Timer, geometric_mean, gflops};
use crate::numbers::{short, three_digits, time};
use crate::verbs::json_line;
use crate::verbs::plan_line::PlanLine;
use convoke_core::plan::Plan;
use convoke_core::target::Target;
use serde::Serialize;
use std::io::Write;

/// Layers that the summary names.
const WORST: usize = 10;

pub(super) struct Report<'a> {
    pub(super) args: &'a Tune,
    pub(super) target: &'a Target,
    pub(super) timer: &'a Timer,
}

impl Report<'_> {
    pub(super) fn head(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.args.json { Ok(()) } else { Ok(writeln!(out, "{}, {}", self.target.name(), self.timer.text())?) }
    }

    /// What came out for a layer.
    pub(super) fn layer(&self, tuned: &Tuned<'_>, out: &mut dyn Write) -> Result<(), Failure> {
        if self.args.json {
            self.lines(tuned, out)?;
        } else {
            self.table(tuned, out)?;
        }
        Ok(out.flush()?)
    }

    fn table(&self, tuned: &Tuned<'_>, out: &mut dyn Write) -> Result<(), Failure> {
        let failed: Vec<_> = tuned.tried.iter().filter_map(|(at, tried)| Some((*at, tried.as_ref().err()?))).collect();
        let measured = tuned.tried.len() - failed.len();
        let left_out = match tuned.plans.len() - tuned.tried.len() {
            0 => String::new(),
            n => format!(", {n} left out, which should take more than {} times as long as the best", self.args.within),
        };
        writeln!(out, "\n{}: {} measured{left_out}", tuned.layer.name(), plans(measured))?;
        let heads = [
            "algorithm",
            "vector",
            "input",
            "tile",
            "block",
            "unroll",
            "cycles",
            "rank",
            "time",
            "GFLOP/s",
            "ratio",
            "",
        ];
        let mut rows = vec![heads.map(str::to_owned)];
        let mut order: Vec<_> = tuned.tried.iter().filter(|(_, tried)| tried.is_ok()).map(|(at, _)| *at).collect();
        order.sort_by(|a, b| tuned.seconds(*a).total_cmp(&tuned.seconds(*b)));
        rows.extend(order.into_iter().map(|at| row(tuned, at)));
        print(&rows, out)?;
        for (at, why) in failed {
            writeln!(out, "  not {}: {why}", title(&tuned.plans[at]))?;
        }
        let from = if tuned.cached { "; times from the cache" } else { "" };
        let (analytic, best) = (time(tuned.seconds(tuned.analytic)), time(tuned.seconds(tuned.best)));
        let regret = tuned.regret();
        writeln!(out, "  regret {regret:.3}: the analytic choice takes {analytic}, the fastest {best}{from}")?;
        if self.args.schedule {
            writeln!(out, "// {} on {}", tuned.layer.name(), self.target.name())?;
            writeln!(out, "{}", tuned.best_plan())?;
        }
        Ok(())
    }

    fn lines(&self, tuned: &Tuned<'_>, out: &mut dyn Write) -> Result<(), Failure> {
        let layer = tuned.layer;
        for (at, plan) in tuned.plans.iter().enumerate() {
            let tried = tuned.tried.iter().find(|(number, _)| *number == at).map(|(_, tried)| tried);
            let line = match tried {
                None => PlanLine::new(layer, "left_out").of(plan),
                Some(Err(why)) => PlanLine { reason: Some(why), ..PlanLine::new(layer, "failed").of(plan) },
                Some(Ok(measured)) => PlanLine {
                    fastest: Some(at == tuned.best),
                    ratio: Some(ratio(measured.seconds, tuned.seconds(tuned.analytic))),
                    cached: Some(tuned.cached),
                    ..PlanLine::new(layer, "ok").of(plan).measured(layer, self.timer, measured)
                },
            };
            json_line(out, &PlanLine { rank: Some(at + 1), analytic: at == tuned.analytic, ..line })?;
        }
        json_line(out, &self.layer_line(tuned))
    }

    fn layer_line<'a>(&self, tuned: &'a Tuned<'_>) -> LayerLine<'a> {
        LayerLine {
            file: &tuned.layer.text.name,
            layer: &tuned.layer.spec.name,
            backend: "jit",
            status: "tuned",
            regret: tuned.regret(),
            analytic_us: tuned.seconds(tuned.analytic) * 1e6,
            run_us: tuned.seconds(tuned.best) * 1e6,
            measured: tuned.tried.iter().filter(|(_, tried)| tried.is_ok()).count(),
            left_out: tuned.plans.len() - tuned.tried.len(),
            cached: tuned.cached,
            threads: self.timer.threads,
            clock: self.timer.clock.text(),
            schedule: tuned.best_plan().to_string(),
        }
    }

    /// What came out for all layers.
    pub(super) fn summary(&self, all: &[Tuned<'_>], out: &mut dyn Write) -> Result<(), Failure> {
        let mut worst: Vec<_> = all.iter().map(|tuned| (tuned.regret(), tuned)).collect();
        worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        let geomean = geometric_mean(worst.iter().map(|(regret, _)| *regret));
        let p95 = worst.get(all.len() - (all.len() * 95).div_ceil(100)).map_or(1.0, |(regret, _)| *regret);
        if self.args.json {
            let line = Summary { status: "summary", layers: all.len(), regret_geomean: geomean, regret_p95: p95 };
            return json_line(out, &line);
        }
        let s = if all.len() == 1 { "" } else { "s" };
        writeln!(out, "\n{} layer{s}: regret {geomean:.3} in the geometric mean, 95th percentile {p95:.3}", all.len())?;
        worst.retain(|(_, tuned)| tuned.best != tuned.analytic);
        if worst.is_empty() {
            return Ok(());
        }
        writeln!(out, "Where another plan than the analytic choice was the fastest, the worst first:")?;
        for (regret, tuned) in worst.iter().take(WORST) {
            let said = |at: usize| format!("{} takes {}", title(&tuned.plans[at]), time(tuned.seconds(at)));
            let name = tuned.layer.name();
            writeln!(out, "  {regret:.3} {name}: {}, {}", said(tuned.analytic), said(tuned.best))?;
        }
        match worst.len().saturating_sub(WORST) {
            0 => Ok(()),
            more => Ok(writeln!(out, "  and {more} more")?),
        }
    }
}

fn plans(n: usize) -> String {
    format!("{n} plan{}", if n == 1 { "" } else { "s" })
}

/// The cells of a plan that was measured.
fn row(tuned: &Tuned<'_>, at: usize) -> [String; 12] {
    let plan: &Plan = &tuned.plans[at];
    let seconds = tuned.seconds(at);
    let mark = match (at == tuned.best, at == tuned.analytic) {
        (true, true) => "fastest, analytic",
        (true, false) => "fastest",
        (false, true) => "analytic",
        (false, false) => "",
    };
    [
        plan.algorithm.to_string(),
        plan.vector.to_string(),
        plan.pack_input.to_string(),
        tile(plan),
        block(plan).unwrap_or_default(),
        plan.unroll.to_string(),
        short(plan.cost.total()).trim_end().to_owned(),
        (at + 1).to_string(),
        time(seconds),
        three_digits(gflops(tuned.layer.spec, seconds)),
        format!("{:.3}", ratio(seconds, tuned.seconds(tuned.analytic))),
        mark.to_owned(),
    ]
}

/// Columns of words on the left, of numbers on the right.
fn print(rows: &[[String; 12]], out: &mut dyn Write) -> Result<(), Failure> {
    const WORDS: usize = 5;
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 12] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0..WORDS | 11 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[derive(Serialize)]
struct LayerLine<'a> {
    file: &'a str,
    layer: &'a str,
    backend: &'a str,
    status: &'a str,
    regret: f64,
    analytic_us: f64,
    run_us: f64,
    measured: usize,
    left_out: usize,
    cached: bool,
    threads: usize,
    clock: &'a str,
    schedule: String,
}

#[derive(Serialize)]
struct Summary<'a> {
    status: &'a str,
    layers: usize,
    regret_geomean: f64,
    regret_p95: f64,
}
