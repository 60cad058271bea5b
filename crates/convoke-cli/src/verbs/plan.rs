//! `plan`: the plan of each layer as the `schedule { }` block that pins it.

use crate::args::Planning;
use crate::failure::Failure;
use crate::source::{self, Selected};
use convoke_core::plan::{self, Plan};
use convoke_core::target::Target;
use std::io::Write;

pub(crate) fn run(args: &Planning, out: &mut dyn Write) -> Result<(), Failure> {
    let target = super::target(&args.target)?;
    let sources = source::read(&args.layers)?;
    let selected = source::select(&sources, &args.layers)?;
    for (at, layer) in selected.iter().enumerate() {
        let plan = choose(*layer, &target)?;
        if at > 0 {
            writeln!(out)?;
        }
        writeln!(out, "// {} on {}", layer.name(), target.name())?;
        writeln!(out, "{plan}")?;
    }
    Ok(())
}

/// The plan of a layer; a pin that cannot hold is shown in the source.
pub(crate) fn choose(layer: Selected<'_>, target: &Target) -> Result<Plan, Failure> {
    plan::choose(layer.spec, target).map_err(|e| layer.refuse(e.into()))
}
