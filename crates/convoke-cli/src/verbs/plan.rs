//! `plan`: the plan of each layer as the `schedule { }` block that pins it, and that of a network as a network with such blocks.

use crate::args::Planning;
use crate::failure::Failure;
use crate::source::{self, Selected, Text};
use convoke_core::plan::{self, Plan};
use convoke_core::spec::{NetworkSpec, Schedule};
use convoke_core::target::Target;
use std::io::Write;

pub(crate) fn run(args: &Planning, out: &mut dyn Write) -> Result<(), Failure> {
    let target = super::target(&args.target)?;
    let sources = source::read(&args.layers)?;
    let (layers, networks) = source::select_whole(&sources, &args.layers)?;
    let mut is_first = true;
    let mut title = |name: String, out: &mut dyn Write| {
        let between = if std::mem::take(&mut is_first) { "" } else { "\n" };
        writeln!(out, "{between}// {name} on {}", target.name())
    };
    for layer in layers {
        let plan = choose(layer, &target)?;
        title(layer.name(), out)?;
        writeln!(out, "{plan}")?;
    }
    for (text, network) in networks {
        check_pins(text, network, &target)?;
        title(format!("{}:{}", text.name, network.name), out)?;
        write!(out, "{}", plan::pin(network, &target))?;
    }
    Ok(())
}

/// Refuses a network with a layer whose pins cannot hold.
pub(crate) fn check_pins(text: &Text, network: &NetworkSpec, target: &Target) -> Result<(), Failure> {
    let pinned = network.layers().filter(|spec| spec.schedule != Schedule::default());
    for spec in pinned {
        choose(Selected { text, spec, of_network: true }, target)?;
    }
    Ok(())
}

/// The plan of a layer; a pin that cannot hold is shown in the source.
pub(crate) fn choose(layer: Selected<'_>, target: &Target) -> Result<Plan, Failure> {
    plan::choose(layer.spec, target).map_err(|e| layer.refuse(e.into()))
}
