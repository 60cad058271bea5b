//! `import`: an ONNX file to a network's text, and its parameters beside it.

use crate::args::Import;
use crate::data::{write_file, write_whole};
use crate::failure::Failure;
use crate::numbers::short;
use convoke_onnx::{Imported, Options, Parameter, Port};
use safetensors::tensor::{Dtype, View};
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;
use std::path::PathBuf;

/// Bytes that all constants of a model may have.
const MAX_BYTES: u64 = 4 << 30;

pub(crate) fn run(args: &Import, out: &mut dyn Write) -> Result<(), Failure> {
    let conv = match &args.output {
        Some(path) => path.clone(),
        None => PathBuf::from(args.model.file_name().unwrap_or_default()).with_extension("conv"),
    };
    if conv.extension().is_none_or(|extension| extension != "conv") {
        return Err(Failure::Usage(format!("{}: the name of the network's file must end with .conv", conv.display())));
    }
    let parameters = conv.with_extension("safetensors");
    let (name, sizes, values) = (args.name.clone(), args.sizes.clone(), args.values.clone());
    let options = Options { name, sizes, values, limit: MAX_BYTES };
    let imported = convoke_onnx::import(&args.model, &options).map_err(|e| Failure::file(&args.model, e))?;
    // The parameters first, so that there is no network without them.
    let tensors = imported.parameters.iter().map(|parameter| (parameter.name.as_str(), Elements(parameter)));
    write_file(&parameters, |path| {
        safetensors::serialize_to_file(tensors, None, path).map_err(|e| std::io::Error::other(e.to_string()))
    })?;
    write_whole(&conv, imported.text.as_bytes())?;
    let Imported { inputs, outputs, parameters: all, .. } = &imported;
    if args.json {
        let [conv, parameters] = [&conv, &parameters].map(|path| path.display().to_string());
        let (inputs, outputs) = (ports(inputs), ports(outputs));
        return super::json_line(out, &Report { conv, parameters, inputs, outputs });
    }
    for (what, ports) in [("input", inputs), ("output", outputs)] {
        for Port { onnx, name, shape } in ports {
            let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
            let name = if onnx == name { String::new() } else { format!(", called {name}") };
            writeln!(out, "{what} {onnx} [{}]{name}", sizes.join(", "))?;
        }
    }
    writeln!(out, "wrote {}", conv.display())?;
    let elements: usize = all.iter().map(|parameter| parameter.values.len()).sum();
    writeln!(out, "wrote {}: {} parameters, {}elements", parameters.display(), all.len(), short(elements as f64))?;
    Ok(())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    conv: String,
    parameters: String,
    inputs: Vec<PortReport<'a>>,
    outputs: Vec<PortReport<'a>>,
}

#[derive(Serialize)]
struct PortReport<'a> {
    onnx: &'a str,
    name: &'a str,
    shape: &'a [usize],
}

fn ports(ports: &[Port]) -> Vec<PortReport<'_>> {
    ports.iter().map(|Port { onnx, name, shape }| PortReport { onnx, name, shape }).collect()
}

/// A parameter as the library safetensors takes it.
struct Elements<'a>(&'a Parameter);

impl View for Elements<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.to_le_bytes().into()
    }

    fn data_len(&self) -> usize {
        size_of_val(&self.0.values[..])
    }
}
