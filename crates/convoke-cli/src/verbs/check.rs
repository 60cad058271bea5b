//! `check`: a line a layer, or what is wrong with it.

use crate::args::Check;
use crate::failure::Failure;
use crate::numbers::{input_sizes, layout_name, output_sizes, short};
use crate::source::{self, Text};
use convoke_core::diagnostic::position;
use convoke_core::spec::LayerSpec;
use serde::Serialize;
use std::io::Write;

pub(crate) fn run(args: &Check, out: &mut dyn Write) -> Result<(), Failure> {
    if args.json {
        return run_json(args, out);
    }
    let sources = source::read(&args.layers)?;
    let rows: Vec<_> = source::select(&sources, &args.layers)?
        .into_iter()
        .map(|s| Row {
            name: if sources.len() > 1 { s.name() } else { s.spec.name.clone() },
            input: format!(
                "{}[{}] @ {}",
                s.spec.element_name(s.spec.src_storage()),
                input_sizes(s.spec).join(", "),
                layout_name(s.spec)
            ),
            output: format!("[{}]", output_sizes(s.spec).join(", ")),
            macs: short(macs(s.spec) as f64).trim_end().to_owned(),
            parameters: short(s.spec.parameters() as f64).trim_end().to_owned(),
        })
        .collect();
    let width = |of: fn(&Row) -> &String| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (name, input) = (width(|r| &r.name), width(|r| &r.input));
    let (output, macs, parameters) = (width(|r| &r.output), width(|r| &r.macs), width(|r| &r.parameters));
    for r in &rows {
        writeln!(
            out,
            "{:name$}  {:input$} -> {:output$}  {:>macs$} MACs  {:>parameters$} parameters",
            r.name, r.input, r.output, r.macs, r.parameters
        )?;
    }
    Ok(())
}

struct Row {
    name: String,
    input: String,
    output: String,
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
        match text.layers(&sizes) {
            Ok(layers) => {
                for spec in layers.iter().filter(|l| args.layers.layer.as_ref().is_none_or(|name| *name == l.name)) {
                    found = true;
                    super::json_line(out, &legal(&text, spec))?;
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
