//! The files of a crate beside `src/lib.rs`.

use super::super::to_source;
use super::library::{self, Named, list, named};
use super::plan::Plan;
use super::{Budget, CrateError, Example, recurrent, weights};

/// What to do about a machine of the other order of bytes.
const BIG_ENDIAN: &str = ": write the crate's weights.bin in its order";

/// All of them.
///
/// # Errors
/// If a layer has no source.
pub(super) fn all<E>(
    plan: &Plan<'_>,
    bytes: Vec<u8>,
    example: Option<Example<'_>>,
    budget: &Budget,
) -> Result<Vec<(String, Vec<u8>)>, CrateError<E>> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut text = |path: &str, text: String| files.push((path.to_owned(), text.into_bytes()));
    text("Cargo.toml", manifest(plan));
    text("README.md", readme(plan, example.is_some()));
    let steps = recurrent::text(plan);
    let library = library::text(plan, budget, steps.as_deref());
    let has = |name: &str| library.contains(&format!("\nmod {name};"));
    let [has_interpolate, has_moves, has_norm, has_quantize] = ["interpolate", "moves", "norm", "quantize"].map(has);
    text("src/lib.rs", library);
    if let Some(steps) = steps {
        text("src/steps.rs", steps);
    }
    text("src/layers.rs", layers(plan));
    for layer in &plan.layers {
        let source = to_source(layer.code.clone());
        let source = source.map_err(|error| CrateError::Source { layer: layer.name.clone(), error })?;
        text(&format!("src/layers/{}.rs", layer.name), source);
    }
    text("src/cpu.rs", include_str!("emitted/cpu.rs").to_owned());
    if has_interpolate {
        text("src/interpolate.rs", include_str!("emitted/interpolate.rs").to_owned());
    }
    text("src/memory.rs", include_str!("emitted/memory.rs").to_owned());
    if has_moves {
        text("src/moves.rs", include_str!("emitted/moves.rs").to_owned());
    }
    if has_norm {
        text("src/norm.rs", include_str!("emitted/norm.rs").to_owned());
    }
    if has_quantize {
        text("src/quantize.rs", include_str!("emitted/quantize.rs").to_owned());
    }
    if !bytes.is_empty() {
        text("src/weights.rs", weights::text(plan, "include_bytes!(\"../weights.bin\")", BIG_ENDIAN));
    }
    if example.is_some() {
        text("tests/stored.rs", stored(plan));
    }
    if !bytes.is_empty() {
        files.push(("weights.bin".to_owned(), bytes));
    }
    if let Some((inputs, outputs)) = example {
        for (path, tensors) in [("tests/example_input.bin", inputs), ("tests/example_output.bin", outputs)] {
            files.push((path.to_owned(), tensors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect()));
        }
    }
    Ok(files)
}

/// The crate's name: the network's, but for names that Rust has itself.
fn package(plan: &Plan<'_>) -> String {
    let name = &plan.network.name;
    let is_taken = ["alloc", "core", "proc_macro", "std", "test"].contains(&name.as_str());
    if is_taken { format!("{name}_network") } else { name.clone() }
}

fn manifest(plan: &Plan<'_>) -> String {
    let name = package(plan);
    format!(
        "[package]
name = \"{name}\"
description = \"The network {}, compiled by Convoke.\"
version = \"0.1.0\"
edition = \"2024\"
rust-version = \"{}\"

[dependencies]

# These count where this is the crate that is built.
[profile.release]
opt-level = 3
panic = \"abort\"

# Kernels that are not optimized take a hundred times as long.
[profile.dev]
opt-level = 3
",
        plan.network.name,
        env!("CARGO_PKG_RUST_VERSION"),
    )
}

fn readme(plan: &Plan<'_>, has_example: bool) -> String {
    let (name, crate_name, [inputs, outputs]) = (&plan.network.name, package(plan), &named(plan));
    let sizes = library::sizes(plan);
    let arrays = |all: &[Named<'_>], is_mutable: &str| -> String {
        let one = |Named { argument, len, .. }: &Named<'_>| format!("let {is_mutable}{argument} = [0.0; {len}];\n");
        all.iter().map(one).collect()
    };
    let arguments: Vec<String> = inputs
        .iter()
        .map(|one| format!("&{}", one.argument))
        .chain(["&mut arena".to_owned()])
        .chain(outputs.iter().map(|one| format!("&mut {}", one.argument)))
        .collect();
    let tested = if has_example {
        "\n`cargo test` runs a stored example: the bound on the difference is in `tests/stored.rs`.\n"
    } else {
        ""
    };
    format!(
        "# {crate_name}

The network `{name}` as a function, written by Convoke. It needs neither the standard library nor
another crate, and allocates nothing.

{sizes}
```rust
use std::sync::{{Mutex, PoisonError}};
use {crate_name}::{{Arena, run}};

// A `static` takes neither stack nor heap.
static ARENA: Mutex<Arena> = Mutex::new(Arena::new());

let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
{}{}run({});
```

Each layer has these versions, of which the best that the CPU has is taken: {}. One thread runs it, and any number of
threads may each run it with an arena of their own. `weights.bin` is little-endian, and so must be the machine.
{tested}",
        arrays(inputs, ""),
        arrays(outputs, "mut "),
        arguments.join(", "),
        plan.versions.join(", "),
    )
}

fn layers(plan: &Plan<'_>) -> String {
    let modules: String = plan.layers.iter().map(|layer| format!("pub mod {};\n", layer.name)).collect();
    format!("//! {}\n\n{modules}", library::LAYERS)
}

fn stored(plan: &Plan<'_>) -> String {
    let [inputs, outputs] = &named(plan);
    let mut taken = String::new();
    for Named { argument, kind, len, .. } in inputs {
        taken += &format!("    let ({argument}, inputs) = inputs.split_at({len});\n");
        taken += &format!("    let {argument}: &network::{kind} = {argument}.try_into().expect(\"it is as long\");\n");
    }
    let (mut spaces, mut checks) = (String::new(), String::new());
    for (at, Named { argument, len, .. }) in outputs.iter().enumerate() {
        spaces += &format!("        let mut {argument} = vec![f32::NAN; {len}];\n");
        checks += &format!("    let (stored, outputs) = outputs.split_at({len});\n");
        checks += &format!("    check(\"{argument}\", &first[{at}], stored);\n");
    }
    let arguments: Vec<String> = inputs
        .iter()
        .map(|one| one.argument.clone())
        .chain(["&mut arena".to_owned()])
        .chain(outputs.iter().map(|one| format!("(&mut {}[..]).try_into().expect(\"it is as long\")", one.argument)))
        .collect();
    let has_capitals = inputs.iter().chain(outputs).any(|one| one.argument.contains(|c: char| c.is_ascii_uppercase()));
    let allowed = if has_capitals {
        "#![allow(non_snake_case, reason = \"values have the names that the network gives them\")]\n\n"
    } else {
        ""
    };
    let results: Vec<String> = outputs.iter().map(|one| one.argument.clone()).collect();
    format!(
        "//! A stored example: the outputs of the inputs, and that what is left in the arena does not matter.

{allowed}use std::sync::{{Mutex, PoisonError}};

use {} as network;

/// How far an output may be from the stored one, as part of the greatest.
const BOUND: f32 = 1e-4;

static ARENA: Mutex<network::Arena> = Mutex::new(network::Arena::new());

#[test]
fn the_stored_example_is_computed() {{
    let inputs = numbers(include_bytes!(\"example_input.bin\"));
    let outputs = numbers(include_bytes!(\"example_output.bin\"));
    let (inputs, outputs) = (&inputs[..], &outputs[..]);
{taken}    assert!(inputs.is_empty(), \"the stored inputs are the network's\");
    let run = || {{
        let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
{spaces}{}
{}
    }};
    let first = run();
{checks}    assert!(outputs.is_empty(), \"the stored outputs are the network's\");
    let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|x| x.to_bits()).collect::<Vec<u32>>();
    assert_eq!(bits(&first), bits(&run()), \"a second run in the same arena gives the same bits\");
}}

fn numbers(bytes: &[u8]) -> Vec<f32> {{
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
}}

fn check(name: &str, found: &[f32], stored: &[f32]) {{
    let greatest = stored.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    for (at, (found, stored)) in found.iter().zip(stored).enumerate() {{
        let off = (found - stored).abs();
        assert!(off <= BOUND * greatest, \"{{name}}[{{at}}] is {{found}}, and {{stored}} is stored\");
    }}
}}
",
        package(plan),
        list("        ", "network::run(", &arguments, ");"),
        list("        ", "[", &results, "]"),
    )
}
