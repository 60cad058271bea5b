//! One file a verb. Each takes its arguments and where to write, and says what they mean.

mod bench;
mod check;
mod emit;
mod explain;
mod fmt;
mod import;
mod plan;
mod plan_line;
mod run;
mod tune;
mod verify;

use crate::args::{Cli, Verb};
use crate::failure::Failure;
use clap::CommandFactory as _;
use convoke_core::target::Target;
use std::io::Write;

/// Does what a verb asks for.
pub(crate) fn run(verb: Verb, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        Verb::Check(args) => check::run(&args, out),
        Verb::Import(args) => import::run(&args, out),
        Verb::Plan(args) => plan::run(&args, out),
        Verb::Explain(args) => explain::run(&args, out),
        Verb::Emit(args) => emit::run(&args, out),
        Verb::Run(args) => run::run(&args, out),
        Verb::Verify(args) => verify::run(&args, out),
        Verb::Bench(args) => bench::run(&args, out),
        Verb::Tune(args) => tune::run(&args, out),
        Verb::Fmt(args) => fmt::run(&args, out),
        Verb::Completions { shell } => {
            // The generator panics where it cannot write, so a closed pipe must not reach it.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "convoke", &mut script);
            Ok(out.write_all(&script)?)
        }
    }
}

/// The target of a name, `native` being what the run-time backend uses on this machine.
fn target(name: &str) -> Result<Target, Failure> {
    if name == "native" {
        return Ok(convoke::native_target());
    }
    Target::from_name(name).ok_or_else(|| {
        let known = "native, avx512+vnni, avx512, avx2+vnni, avx2, sse, sse+fma, neon and portable";
        Failure::Usage(format!("there is no target `{name}`; there are {known}"))
    })
}

/// The target of a name, with this machine's caches, if the machine can run its code.
fn runnable_target(name: &str) -> Result<Target, Failure> {
    let target = convoke::with_native_caches(target(name)?);
    match convoke_jit::why_not_runnable(&target) {
        Some(why) => Err(Failure::Usage(format!("code for {} cannot run here: {why}", target.name()))),
        None => Ok(target),
    }
}

/// A line of JSON.
fn json_line(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|e| Failure::Input(e.to_string()))?;
    Ok(writeln!(out, "{line}")?)
}
