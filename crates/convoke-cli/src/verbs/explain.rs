//! `explain`: why a plan was chosen, what it should cost, and why not the others.

use crate::args::Planning;
use crate::failure::Failure;
use crate::numbers::{short, three_digits};
use crate::source::{self, Selected};
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::plan::{self, Candidate, Plan};
use convoke_core::spec::PackInput;
use convoke_core::target::Target;
use std::io::Write;

pub(crate) fn run(args: &Planning, out: &mut dyn Write) -> Result<(), Failure> {
    let target = super::target(&args.target)?;
    let sources = source::read(&args.layers)?;
    let selected = source::select(&sources, &args.layers)?;
    for (at, layer) in selected.into_iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        explain(layer, &target, out)?;
    }
    Ok(())
}

fn explain(layer: Selected<'_>, target: &Target, out: &mut dyn Write) -> Result<(), Failure> {
    let spec = layer.spec;
    let chosen = super::plan::choose(layer, target)?;
    writeln!(out, "{} on {}", layer.name(), target.name())?;
    writeln!(out, "\nChosen: {}, {}", title(&chosen), chosen.why)?;
    for line in chosen.to_string().lines() {
        writeln!(out, "    {line}")?;
    }
    cost(&chosen, spec.macs_per_image(), target, spec.dtype.bytes(), out)?;
    writeln!(out, "\nNot chosen:")?;
    for candidate in plan::candidates(spec, target) {
        if let Some(line) = passed_over(&candidate, &chosen) {
            writeln!(out, "    {line}")?;
        }
    }
    let packing = WeightsPacking::new(spec, chosen.algorithm);
    let bytes = packing.packed_len() * spec.dtype.bytes();
    writeln!(out, "\nWeights are packed as {}, {}B, on every target.", packing.name(spec.dtype), short(bytes as f64))?;
    writeln!(out, "{}", same_bits(target))?;
    Ok(())
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
        Ok(plan) if plan.algorithm == chosen.algorithm => {
            let more = 100.0 * (plan.cost.total() / chosen.cost.total().max(1.0) - 1.0);
            Some(format!("{}: {} cycles, {more:.0} % more", title(plan), short(plan.cost.total()).trim_end()))
        }
        Ok(plan) => Some(format!("{}: {} comes first and takes the layer", title(plan), chosen.algorithm)),
        Err(refusal) => {
            let pack = copied(candidate.pack_input);
            Some(format!("{}, vector {}{pack}: {}", candidate.algorithm, candidate.vector, refusal.reason))
        }
    }
}

/// The order of a sum is the language's, so only the rounding of a product tells targets apart.
fn same_bits(target: &Target) -> &'static str {
    if target.fma {
        "The result has the same bits on every target with fused multiply-adds (avx512, avx2, sse+fma, neon), on any number of threads."
    } else {
        "The result has the same bits on every target without fused multiply-adds (sse, portable), on any number of threads; targets with them round once less a product."
    }
}

/// How the input is read, if not as it comes.
fn copied(pack: PackInput) -> &'static str {
    match pack {
        PackInput::None => "",
        PackInput::Pad => ", input copied",
        PackInput::ChannelsLast => ", input copied to channels last",
    }
}
