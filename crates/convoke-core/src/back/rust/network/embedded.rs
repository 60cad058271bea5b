//! A network as a module of someone else's crate: what the crate has, in one text, weights too.

use std::fmt::Write;

use super::plan::Plan;
use super::{Budget, CrateError, library, recurrent, weights, within};
use crate::back::rust::Detection;
use crate::spec::{Limits, NetworkSpec};
use crate::target::Target;
use proc_macro2::Literal;

/// Not every program uses all that there is.
const ALLOW: &str = "#![allow(dead_code)]";

/// A module, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkModule {
    /// `pub mod name { … }`.
    pub code: String,
    /// Bytes of all packed weights, which are read only.
    pub weights_bytes: usize,
    /// Bytes of what a run needs beside inputs and outputs: values and scratch.
    pub arena_bytes: usize,
}

/// The module of `network`, which has what `src/lib.rs` of its crate has. Layouts, and whether windows are transformed, are chosen for `target`; each layer
/// has a version for each of `targets`, of which one is [`Target::PORTABLE`], and chooses among them as `detection` says. `parameters` gives each parameter by
/// its name. Packed weights are a string of bytes in the text, four characters a byte and fewer.
///
/// # Errors
/// See [`CrateError`].
pub fn network_module<E>(
    network: &NetworkSpec,
    target: &Target,
    targets: &[Target],
    limits: &Limits,
    detection: Detection,
    parameters: &mut dyn FnMut(&str) -> Result<Vec<f32>, E>,
    budget: &Budget,
) -> Result<NetworkModule, CrateError<E>> {
    let plan = within(network, target, targets, limits, detection, budget)?;
    let bytes = super::weights(&plan, parameters)?;
    let mut code = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut code, &plan, &bytes);
    Ok(NetworkModule { code, weights_bytes: plan.weights_bytes, arena_bytes: plan.arena_bytes() })
}

fn write(out: &mut String, plan: &Plan<'_>, bytes: &[u8]) -> std::fmt::Result {
    // What it takes is known now, and nothing changes it later.
    let (items, has_moves) = library::items(plan, &Budget::default());
    writeln!(out, "pub mod {} {{\n{}//!", plan.network.name, library::docs(plan))?;
    for row in library::sizes(plan).lines() {
        writeln!(out, "//! {row}")?;
    }
    writeln!(out, "//!\n//! Each layer has these versions: {}.\n{ALLOW}", plan.versions.join(", "))?;
    if let Some(allow) = library::capitals(plan) {
        writeln!(out, "{allow}")?;
    }
    writeln!(out, "\npub mod layers {{\n//! {}\n", library::LAYERS)?;
    for layer in &plan.layers {
        writeln!(out, "pub mod {} {{\n{}\n}}", layer.name, layer.code)?;
    }
    writeln!(out, "}}\n\nmod memory {{\n{}}}", include_str!("emitted/memory.rs"))?;
    let steps = recurrent::text(plan);
    if has_moves || steps.as_deref().is_some_and(library::moves_in) {
        writeln!(out, "\nmod moves {{\n{}}}", include_str!("emitted/moves.rs"))?;
    }
    if library::quantize_in(&items) || steps.as_deref().is_some_and(library::quantize_in) {
        writeln!(out, "\nmod quantize {{\n{}}}", include_str!("emitted/quantize.rs"))?;
    }
    if library::interpolate_in(&items) {
        writeln!(out, "\nmod interpolate {{\n{}}}", include_str!("emitted/interpolate.rs"))?;
    }
    if library::norm_in(&items) {
        writeln!(out, "\nmod norm {{\n{}}}", include_str!("emitted/norm.rs"))?;
    }
    if has_moves {
        writeln!(out, "use moves::{{Loop, Move}};")?;
    }
    if let Some(steps) = steps {
        writeln!(out, "\nmod steps {{\n{steps}}}")?;
    }
    if !bytes.is_empty() {
        let literal = Literal::byte_string(bytes).to_string();
        writeln!(out, "\npub mod weights {{\n{}}}", weights::text(plan, &literal, ""))?;
    }
    writeln!(out, "\n{items}}}")
}
