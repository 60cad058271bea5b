//! `run` on layers of integers. A picture's values, from 0 to 1, become all that the input's type holds.

use super::{best_of, finish, no_weights};
use crate::args::{Run, RunBackend};
use crate::compute::{self, Output};
use crate::data::{self, Kind, fit};
use crate::failure::Failure;
use crate::filters::Filter;
use crate::integers::{self, Integers, elements_of};
use crate::numbers::{short, time};
use crate::source::Selected;
use convoke::{Compiler, shape};
use convoke_core::spec::{LayerSpec, Storage};
use convoke_core::target::Target;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(super) fn run(args: &Run, target: &Target, layer: Selected<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let tensors = read(args, layer.spec, out)?;
    let Output { dst, indices } = compute(args, target, layer, &tensors, out)?;
    let output = Output { dst: dst.into_iter().map(f64::from).collect(), indices };
    finish(args, layer.spec, tensors.batch, output, (args.output.first().map(PathBuf::as_path), None), out)
}

fn read(args: &Run, spec: &LayerSpec, out: &mut dyn Write) -> Result<Integers, Failure> {
    let path = &args.input[0];
    let mut array = data::read(path)?;
    if array.kind == Kind::Png {
        let (least, most) = spec.src_storage().range();
        let spread = f64::from(most - least);
        array.data.iter_mut().for_each(|x| *x = (*x * spread).round() + f64::from(least));
    }
    let input = fit::input(spec, &array).map_err(|e| Failure::file(path, e))?;
    let src = whole(path, &input.data, spec.src_storage())?;
    let random = Integers::random(spec, 1, 1);
    let pooling = spec.operation.is_pooling();
    if pooling && args.weights.is_some() {
        return Err(no_weights(spec));
    }
    let (weights, named) = match args.weights.as_deref().unwrap_or(Filter::DEFAULT) {
        Filter::DEFAULT => (random.weights, "random"),
        name => {
            let path = Path::new(name);
            if data::extension(path).is_none_or(|e| e != "npy") {
                let what = "the weights of a layer of integers are an .npy file, or random";
                return Err(Failure::Usage(format!("`{name}`: {what}")));
            }
            let weights = fit::same_shape("the weights are", &shape::weights(spec), &data::read(path)?);
            let weights = weights.map_err(|e| Failure::file(path, e))?;
            (whole(path, &weights, spec.weights_storage())?, name)
        }
    };
    let (points, scales) = integers::each(spec);
    let bias = match &args.bias {
        Some(path) if spec.bias => whole(path, &channels(path, spec, "the bias is")?, Storage::I32)?,
        Some(path) => {
            return Err(Failure::file(path, format!("layer {} has no bias; write `bias: true` in it", spec.name)));
        }
        None => vec![0; if spec.bias { spec.out_channels } else { 0 }],
    };
    let zero_points = match needed(&args.zero_points, points > 0, spec, "--zero-points", "weights_zero_point")? {
        Some(path) => whole(path, &channels(path, spec, "the zero points are")?, spec.weights_storage())?,
        None => Vec::new(),
    };
    let scales = match needed(&args.scales, scales > 0, spec, "--scales", "weights_scale")? {
        Some(path) => channels(path, spec, "the scales are")?.into_iter().map(|x| x as f32).collect(),
        None => Vec::new(),
    };
    let note = input.note.map_or(String::new(), |note| format!(", {note}"));
    let named = if pooling { String::new() } else { format!(", weights {named}") };
    writeln!(out, "{}: {}{note}{named}", spec.name, path.display())?;
    Ok(Integers { batch: input.batch, src, weights, bias, zero_points, scales })
}

/// A file that the layer needs, or that it has no use for.
fn needed<'a>(
    path: &'a Option<PathBuf>,
    is: bool,
    spec: &LayerSpec,
    option: &str,
    field: &str,
) -> Result<Option<&'a Path>, Failure> {
    match (path, is) {
        (Some(path), true) => Ok(Some(path)),
        (None, false) => Ok(None),
        (Some(path), false) => {
            let why = format!("layer {} says what it is; write `{field}: per_channel` in it", spec.name);
            Err(Failure::file(path, why))
        }
        (None, true) => {
            Err(Failure::Usage(format!("layer {} needs {option}: it has `{field}: per_channel`", spec.name)))
        }
    }
}

/// One number an output channel.
fn channels(path: &Path, spec: &LayerSpec, what: &'static str) -> Result<Vec<f64>, Failure> {
    fit::same_shape(what, &[spec.out_channels], &data::read(path)?).map_err(|e| Failure::file(path, e))
}

/// Numbers that `storage` holds.
fn whole(path: &Path, numbers: &[f64], storage: Storage) -> Result<Vec<i32>, Failure> {
    let (least, most) = storage.range();
    let fits = |x: f64| x.fract() == 0.0 && (f64::from(least)..=f64::from(most)).contains(&x);
    match numbers.iter().find(|x| !fits(**x)) {
        None => Ok(numbers.iter().map(|&x| x as i32).collect()),
        Some(x) => {
            let name = storage.name();
            Err(Failure::file(path, format!("it has {x}, and {name} holds whole numbers from {least} to {most}")))
        }
    }
}

fn compute(
    args: &Run,
    target: &Target,
    layer: Selected<'_>,
    tensors: &Integers,
    out: &mut dyn Write,
) -> Result<Output<i32>, Failure> {
    let spec = layer.spec;
    let failed = |e: String| Failure::layer(&spec.name, e);
    let start = Instant::now();
    match args.backend {
        RunBackend::Jit => {
            let threads = usize::from(args.threads);
            let kernel = compute::compile(layer, spec, &Compiler::new().target(target.clone()))?;
            let compiled = start.elapsed().as_secs_f64();
            let packed = tensors.pack(&kernel).map_err(failed)?;
            let (src, mut output) = (tensors.src_bytes(spec), tensors.fresh(spec));
            let seconds = best_of(|| tensors.run(&kernel, threads, &packed, &src, &mut output).map_err(failed))?;
            let speed = short(2.0 * spec.macs_per_image() as f64 * tensors.batch as f64 / seconds);
            let (name, s) = (kernel.name(), if threads == 1 { "" } else { "s" });
            let (compiled, run) = (time(compiled), time(seconds));
            writeln!(out, "{name}: compiled in {compiled}, run in {run} on {threads} thread{s}, {speed}op/s")?;
            Ok(elements_of(spec, output))
        }
        RunBackend::Interp => {
            let lowered = compute::lower_layer(layer, spec, target)?;
            let output = tensors.interpret(spec, &lowered).map_err(|e| failed(e.to_string()))?;
            writeln!(out, "{}: interpreted in {}", lowered.kernel.name, time(start.elapsed().as_secs_f64()))?;
            Ok(output)
        }
        RunBackend::Reference => {
            let output = tensors.reference(spec);
            writeln!(out, "reference: {}", time(start.elapsed().as_secs_f64()))?;
            Ok(output)
        }
    }
}
