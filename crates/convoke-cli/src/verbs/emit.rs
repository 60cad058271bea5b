//! `emit`: the text of any stage.

use crate::args::{Emit, Stage};
use crate::compute::lower_layer;
use crate::data::write_whole;
use crate::failure::Failure;
use crate::source::{self, Selected, Source, Text};
use convoke_core::back::rust::{self, Detection, TARGETS};
use convoke_core::front;
use convoke_core::spec::Limits;
use convoke_core::target::Target;
use convoke_jit::JitError;
use std::io::Write;

mod crates;

pub(crate) fn run(args: &Emit, out: &mut dyn Write) -> Result<(), Failure> {
    let target = super::target(&args.target)?;
    if let Some(folder) = &args.crate_folder {
        return crates::run(args, folder, &target, out);
    }
    let stage = args.stage.unwrap_or(Stage::Spec);
    let text = if stage == Stage::Ast { trees(args)? } else { stages(args, stage, &target)? };
    match &args.output {
        Some(path) => write_whole(path, text.as_bytes()),
        None => Ok(out.write_all(text.as_bytes())?),
    }
}

/// The syntax trees, which exist even where a layer is not legal.
fn trees(args: &Emit) -> Result<String, Failure> {
    let mut all = String::new();
    let mut found = args.layers.layer.is_none();
    for path in &args.layers.files {
        let text = Text::read(path)?;
        let mut tree = front::parse(&text.text).map_err(|diagnostics| {
            text.report(&diagnostics);
            Failure::Reported
        })?;
        if let Some(name) = &args.layers.layer {
            tree.layers.retain(|layer| layer.name.value == *name);
            tree.comments.clear();
            found |= !tree.layers.is_empty();
        }
        all.push_str(&tree.to_string());
    }
    match &args.layers.layer {
        Some(name) if !found => Err(Failure::Usage(format!("there is no layer `{name}`"))),
        _ => Ok(all),
    }
}

fn stages(args: &Emit, which: Stage, target: &Target) -> Result<String, Failure> {
    let sources: Vec<Source> = source::read(&args.layers)?;
    let mut texts = Vec::new();
    for layer in source::select(&sources, &args.layers)? {
        let mut text = stage(layer, args, which, target)?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        texts.push(text);
    }
    Ok(texts.join("\n"))
}

fn stage(layer: Selected<'_>, args: &Emit, which: Stage, target: &Target) -> Result<String, Failure> {
    let lowered = || lower_layer(layer, layer.spec, target);
    let failed = |e| match e {
        JitError::Isa { isa, accepted, .. } => Failure::Usage(format!(
            "the stages clif and asm show the run-time backend, which encodes {accepted} here, not {isa}; leave --target out, or take --stage rust"
        )),
        e => Failure::layer(&layer.name(), e),
    };
    Ok(match which {
        Stage::Ast | Stage::Spec => layer.spec.to_string(),
        Stage::Plan => super::plan::choose(layer, target)?.to_string(),
        Stage::Ir => lowered()?.kernel.to_string(),
        Stage::Rust if args.target == "native" => rust_source(layer, &TARGETS)?,
        Stage::Rust if target.isa == Target::PORTABLE.isa => rust_source(layer, &[Target::PORTABLE])?,
        Stage::Rust => rust_source(layer, &[target.clone(), Target::PORTABLE])?,
        Stage::Clif => convoke_jit::clif::clif_text(&lowered()?.kernel).map_err(failed)?,
        Stage::Asm => convoke_jit::clif::asm_text(&lowered()?.kernel).map_err(failed)?,
    })
}

/// The module that `conv!` makes.
fn rust_source(layer: Selected<'_>, targets: &[Target]) -> Result<String, Failure> {
    let module = rust::module(layer.spec, targets, &Limits::default(), Detection::RunTime);
    let tokens = module.map_err(|diagnostic| layer.refuse(diagnostic))?;
    rust::to_source(tokens).map_err(|e| Failure::layer(&layer.name(), e))
}
