//! `check`: a line a layer, or what is wrong with it.

use crate::args::Check;
use crate::failure::Failure;
use crate::numbers::{input_sizes, layout_name, output_sizes, short};
use crate::source::{self, Selected, Text};
use convoke_core::diagnostic::position;
use convoke_core::plan::Arena;
use convoke_core::spec::{LayerSpec, NetworkSpec, Node};
use serde::Serialize;
use std::io::Write;

pub(crate) fn run(args: &Check, out: &mut dyn Write) -> Result<(), Failure> {
    if args.json {
        return run_json(args, out);
    }
    let sources = source::read(&args.layers)?;
    let selected = source::select_beside_networks(&sources, &args.layers)?;
    let alone = selected.iter().filter(|s| args.layers.layer.is_some() || !s.of_network);
    let input = |spec: &LayerSpec| {
        let element = spec.element_name(spec.src_storage());
        format!("{element}[{}] @ {}", input_sizes(spec).join(", "), layout_name(spec))
    };
    let name = |s: &Selected<'_>| if sources.len() > 1 { s.name() } else { s.spec.name.clone() };
    let rows: Vec<_> = alone
        .map(|s| Row {
            cells: [name(s), input(s.spec), format!("-> [{}]", output_sizes(s.spec).join(", "))],
            macs: short(macs(s.spec) as f64).trim_end().to_owned(),
            parameters: short(s.spec.parameters() as f64).trim_end().to_owned(),
        })
        .collect();
    write_rows(out, "", " ", &rows)?;
    if args.layers.layer.is_none() {
        for (i, network) in sources.iter().flat_map(|s| &s.networks).enumerate() {
            if i > 0 || !rows.is_empty() {
                writeln!(out)?;
            }
            write_network(out, network)?;
        }
    }
    Ok(())
}

/// A network's layers, what each makes, and what all take.
fn write_network(out: &mut dyn Write, network: &NetworkSpec) -> Result<(), Failure> {
    let inputs: Vec<_> = network.input_values().iter().map(|value| value.shape.to_string()).collect();
    let outputs: Vec<_> = network.output_values().map(|value| value.shape.to_string()).collect();
    writeln!(out, "network {}: {} -> {}", network.name, inputs.join(" and "), outputs.join(" and "))?;
    let row = |node: &Node| {
        let shape = &network.values[node.output].shape;
        let parameters: usize = node.parameters().iter().map(|parameter| parameter.len).sum();
        let macs = node.macs_per_image().saturating_mul(network.fixed_batch().unwrap_or(1) as u64);
        Row {
            cells: [node.name.clone(), node.kind.name().to_owned(), format!("[{}]", shape.dims().join(", "))],
            macs: short(macs as f64).trim_end().to_owned(),
            parameters: short(parameters as f64).trim_end().to_owned(),
        }
    };
    write_rows(out, "  ", "  ", &network.nodes.iter().map(row).collect::<Vec<_>>())?;
    let (macs, parameters) = (network.macs_per_image(), network.parameters_len());
    let bytes = network.storage().bytes() as f64;
    let arena = Arena::of(network);
    write!(
        out,
        "  in all: {} MACs an image, {} parameters of {}B, {}B an image between layers",
        short(macs as f64).trim_end(),
        short(parameters as f64).trim_end(),
        short(parameters as f64 * bytes),
        short(arena.len as f64 * bytes),
    )?;
    if arena.scratch > 0 {
        write!(out, ", {}B within recurrent ones", short(arena.scratch as f64 * bytes))?;
    }
    writeln!(out)?;
    Ok(())
}

/// The rows in columns, each behind `indent`; `between` stands before the third.
fn write_rows(out: &mut dyn Write, indent: &str, between: &str, rows: &[Row]) -> Result<(), Failure> {
    let width = |of: &dyn Fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let [first, second, third] = [0, 1, 2].map(|i| width(&|row| &row.cells[i]));
    let (macs, parameters) = (width(&|row| &row.macs), width(&|row| &row.parameters));
    for row in rows {
        let [a, b, c] = &row.cells;
        writeln!(
            out,
            "{indent}{a:first$}  {b:second$}{between}{c:third$}  {:>macs$} MACs  {:>parameters$} parameters",
            row.macs, row.parameters
        )?;
    }
    Ok(())
}

struct Row {
    cells: [String; 3],
    macs: String,
    parameters: String,
}

/// Multiply-accumulates of the whole batch; of one image where the batch is a name.
fn macs(spec: &LayerSpec) -> u64 {
    spec.macs_per_image().saturating_mul(spec.fixed_batch().unwrap_or(1) as u64)
}

/// A layer, or a mistake, as JSON.
#[derive(Default, Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    layer: Option<&'a str>,
    backend: Option<&'a str>,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    macs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<usize>,
}

/// Mistakes are lines too, on standard output; a file that cannot be read ends the command.
fn run_json(args: &Check, out: &mut dyn Write) -> Result<(), Failure> {
    let mut failed = false;
    let mut found = args.layers.layer.is_none();
    let sizes = source::sizes(&args.layers)?;
    let mut texts = Vec::new();
    for path in &args.layers.files {
        let text = Text::read(path)?;
        match text.contents(&sizes) {
            Ok(contents) => {
                let wanted = |spec: &&LayerSpec| args.layers.layer.as_ref().is_none_or(|name| *name == spec.name);
                for spec in contents.layers.iter().filter(wanted) {
                    found = true;
                    super::json_line(out, &legal(&text, spec))?;
                }
                for network in &contents.networks {
                    let name = |spec: &LayerSpec| format!("{}_{}", network.name, spec.name);
                    let wanted = |spec: &&LayerSpec| args.layers.layer.as_ref().is_none_or(|one| *one == name(spec));
                    for spec in network.layers().filter(wanted) {
                        found = true;
                        super::json_line(out, &Line { network: Some(&network.name), ..legal(&text, spec) })?;
                    }
                    if args.layers.layer.is_none() {
                        super::json_line(out, &whole(&text, network))?;
                    }
                }
            }
            Err(diagnostics) => {
                failed = true;
                for d in &diagnostics {
                    let at = d.labels.first().map(|label| position(&text.text, label.span.start));
                    let line = Line {
                        file: &text.name,
                        status: "invalid",
                        reason: Some(&d.message),
                        line: at.map(|at| at.0),
                        column: at.map(|at| at.1),
                        help: d.help.as_deref(),
                        ..Line::default()
                    };
                    super::json_line(out, &line)?;
                }
            }
        }
        texts.push(text);
    }
    match &args.layers.layer {
        _ if failed => Err(Failure::Reported),
        Some(name) if !found => Err(Failure::Usage(format!("there is no layer `{name}`"))),
        _ => source::check_sizes(&sizes, texts.iter()),
    }
}

/// A network as a whole.
fn whole<'a>(text: &'a Text, network: &'a NetworkSpec) -> Line<'a> {
    Line {
        file: &text.name,
        network: Some(&network.name),
        status: "ok",
        dtype: Some(network.storage().name()),
        macs: Some(network.macs_per_image().saturating_mul(network.fixed_batch().unwrap_or(1) as u64)),
        parameters: Some(network.parameters_len()),
        ..Line::default()
    }
}

fn legal<'a>(text: &'a Text, spec: &'a LayerSpec) -> Line<'a> {
    Line {
        file: &text.name,
        layer: Some(&spec.name),
        status: "ok",
        dtype: Some(spec.element_name(spec.src_storage())),
        layout: Some(layout_name(spec)),
        input: Some(input_sizes(spec)),
        output: Some(output_sizes(spec)),
        macs: Some(macs(spec)),
        parameters: Some(spec.parameters()),
        ..Line::default()
    }
}
