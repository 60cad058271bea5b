//! `run`: computes a layer or a network on an array, a picture or a recording.

use crate::args::{Run, RunBackend, Tone};
use crate::compute::{self, Output, Tensors};
use crate::data::{self, Array, Elements, Kind, fit};
use crate::failure::Failure;
use crate::filters::Filter;
use crate::numbers::{output_sizes, short, time};
use crate::preview;
use crate::source::{self, Selected};
use convoke::{Bf16, Compiler, F16, Float, shape};
use convoke_core::spec::{Epilogue, LayerSpec, PARTS, Storage, with_article};
use convoke_core::target::Target;
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod integers;
mod network;
mod profile;

/// Frames a second of a recording whose input does not tell.
const DEFAULT_RATE: u32 = 16_000;
/// Values that are shown of a result that is no picture.
const SHOWN: usize = 12;

pub(crate) fn run(args: &Run, out: &mut dyn Write) -> Result<(), Failure> {
    args.output.iter().try_for_each(|path| data::check_name(path))?;
    let target = super::runnable_target(&args.target)?;
    let sources = source::read(&args.layers)?;
    if let Some(network) = source::select_network(&sources, &args.layers) {
        return network::run(args, &target, network, out);
    }
    let layer = source::select_one(&sources, &args.layers)?;
    for (option, given) in [("--input", args.input.len()), ("--output", args.output.len())] {
        if given > 1 {
            let name = layer.name();
            return Err(Failure::Usage(format!(
                "{option} is given {given} times, and {name} is a layer, which has one"
            )));
        }
    }
    let of_networks = [
        ("--parameters", args.parameters.is_some()),
        ("--labels", args.labels.is_some()),
        ("--top", args.top.is_some()),
        ("--profile", args.profile.is_some()),
    ];
    if let Some((option, _)) = of_networks.iter().find(|option| option.1) {
        return Err(Failure::Usage(format!("{option} is for networks, and {} is a layer", layer.name())));
    }
    for (option, path) in [("--zero-points", &args.zero_points), ("--scales", &args.scales)] {
        if path.is_some() && layer.spec.integers.is_none() {
            return Err(Failure::Usage(format!("{option} is for layers of integers, and {} is none", layer.name())));
        }
    }
    check_channels(args, layer.spec)?;
    check_indices(args, layer.spec)?;
    match layer.spec.src_storage() {
        Storage::F32 => run_typed::<f32>(args, &target, layer, out),
        Storage::F64 => run_typed::<f64>(args, &target, layer, out),
        Storage::F16 => run_typed::<F16>(args, &target, layer, out),
        Storage::Bf16 => run_typed::<Bf16>(args, &target, layer, out),
        Storage::I32 | Storage::U8 | Storage::I8 => integers::run(args, &target, layer, out),
    }
}

fn run_typed<T: Float>(args: &Run, target: &Target, layer: Selected<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let (tensors, rate) = read_tensors::<T>(args, layer.spec, out)?;
    let Output { dst, indices } = compute(args, target, layer, &tensors, out)?;
    let output = Output { dst: dst.into_iter().map(T::to_number).collect(), indices };
    finish(args, layer.spec, tensors.batch, output, (args.output.first().map(PathBuf::as_path), rate), out)
}

/// Writes and shows the result, as memory has it.
fn finish(
    args: &Run,
    spec: &LayerSpec,
    batch: usize,
    output: Output<f64>,
    (path, rate): (Option<&Path>, Option<u32>),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Output { dst, indices } = output;
    let dst = fit::output(spec, dst);
    summarize(spec, &dst, out)?;
    if let Some(path) = path {
        write(path, spec, batch, &dst, args.tone, rate, out)?;
    }
    if let (Some(path), true) = (&args.indices, spec.return_indices) {
        let indices = fit::output(spec, indices.into_iter().map(f64::from).collect());
        let integers = Elements { storage: Storage::I32, complex: false };
        data::write(path, &fit::array(spec, batch, &indices), integers)?;
        writeln!(out, "wrote {}: where the maxima are", path.display())?;
    }
    if path.is_none() || args.preview {
        show(spec, batch, &dst, args.tone, out)?;
    }
    Ok(())
}

/// Reads input, weights and bias; also the sampling rate, if there is one.
fn read_tensors<T: Float>(
    args: &Run,
    spec: &LayerSpec,
    out: &mut dyn Write,
) -> Result<(Tensors<T>, Option<u32>), Failure> {
    let path = &args.input[0];
    let array = data::read(path)?;
    let rate = if let Kind::Wav { rate } = array.kind { Some(rate) } else { None };
    let input = fit::input(spec, &array).map_err(|e| Failure::file(path, e))?;
    let (weights, named) = weights(args, spec, rate)?;
    let mut bias = match &args.bias {
        Some(path) if spec.bias => channels("the bias is", spec, path)?,
        Some(path) => {
            return Err(Failure::file(path, format!("layer {} has no bias; write `bias: true` in it", spec.name)));
        }
        None if spec.bias => vec![0.0; spec.out_channels],
        None => Vec::new(),
    };
    for path in &args.channels {
        bias.extend(channels("the numbers of channels are", spec, path)?);
    }
    let note = input.note.map_or(String::new(), |note| format!(", {note}"));
    let zeros = if spec.bias && args.bias.is_none() { ", bias 0" } else { "" };
    let named = named.map_or(String::new(), |named| format!(", weights {named}"));
    writeln!(out, "{}: {}{note}{named}{zeros}", spec.name, path.display())?;
    let typed = |values: Vec<f64>| values.into_iter().map(T::from_number).collect();
    let residual = residual(args, spec, input.batch)?;
    let indices = indices(args, spec, input.batch)?;
    let [offset, mask] = moved(args, spec, input.batch)?;
    let all = [input.data, weights, bias, residual, offset, mask];
    let [src, weights, bias, residual, offset, mask] = all.map(typed);
    Ok((Tensors { batch: input.batch, src, weights, bias, residual, offset, mask, indices }, rate))
}

/// What the epilogue adds, as memory has it.
fn residual(args: &Run, spec: &LayerSpec, batch: usize) -> Result<Vec<f64>, Failure> {
    match (&args.residual, spec.has_residual()) {
        (Some(path), true) => fit::residual(spec, batch, &data::read(path)?).map_err(|e| Failure::file(path, e)),
        (None, false) => Ok(Vec::new()),
        (None, true) => {
            Err(Failure::Usage(format!("layer {} adds a residual; name its file with --residual", spec.name)))
        }
        (Some(_), false) => {
            let what = "has no step `residual` in `then`, and --residual was given";
            Err(Failure::Usage(format!("layer {} {what}", spec.name)))
        }
    }
}

/// How far taps are moved, and their factors.
fn moved(args: &Run, spec: &LayerSpec, batch: usize) -> Result<[Vec<f64>; 2], Failure> {
    let usage = |what: String| Err(Failure::Usage(format!("layer {} {what}", spec.name)));
    match (&args.offset, &args.mask) {
        (None, _) if spec.is_deformable() => {
            return usage("is deformable; name the file of its offsets with --offset".to_owned());
        }
        (Some(_), _) if !spec.is_deformable() => return usage("is not deformable, and --offset was given".to_owned()),
        (_, None) if spec.mask => return usage("has `mask: true`; name the file with --mask".to_owned()),
        (_, Some(_)) if !spec.mask => return usage("has no `mask: true`, and --mask was given".to_owned()),
        _ => {}
    }
    let read = |path: &Option<PathBuf>, what: &'static str, shape: Vec<usize>| match path {
        Some(path) => fit::same_shape(what, &shape, &data::read(path)?).map_err(|e| Failure::file(path, e)),
        None => Ok(Vec::new()),
    };
    let offset = read(&args.offset, "the offsets are", shape::offset(spec, batch))?;
    Ok([offset, read(&args.mask, "the mask is", shape::mask(spec, batch))?])
}

/// Whether there are as many arrays as steps that take one.
fn check_channels(args: &Run, spec: &LayerSpec) -> Result<(), Failure> {
    let names: Vec<_> = spec.channel_steps().map(Epilogue::name).collect();
    if names.len() == args.channels.len() {
        return Ok(());
    }
    let steps = if names.is_empty() { String::new() } else { format!(" (for {})", names.join(", ")) };
    Err(Failure::Usage(format!(
        "layer {} takes --channels FILE {} times{steps}, and was given it {} times",
        spec.name,
        names.len(),
        args.channels.len()
    )))
}

/// Whether indices are named where the layer has some, and only there.
fn check_indices(args: &Run, spec: &LayerSpec) -> Result<(), Failure> {
    let name = &spec.name;
    let Some(path) = &args.indices else {
        return match spec.takes_indices() {
            true => {
                Err(Failure::Usage(format!("layer {name} is unpooling; name the file of its indices with --indices")))
            }
            false => Ok(()),
        };
    };
    if !spec.return_indices && !spec.takes_indices() {
        let what = "has no `return_indices: true` and is no unpooling, and --indices was given";
        return Err(Failure::Usage(format!("layer {name} {what}")));
    }
    match data::extension(path).as_deref() {
        Some("npy") => Ok(()),
        _ => Err(Failure::Usage(format!("{}: indices are an .npy file", path.display()))),
    }
}

/// Where unpooling puts each element, as memory has it.
fn indices(args: &Run, spec: &LayerSpec, batch: usize) -> Result<Vec<i32>, Failure> {
    let Some(path) = args.indices.as_ref().filter(|_| spec.takes_indices()) else { return Ok(Vec::new()) };
    let indices = fit::indices(spec, batch, &data::read(path)?).map_err(|e| Failure::file(path, e))?;
    let plane = spec.indexed_plane();
    match indices.iter().find(|index| index.fract() != 0.0 || !(0.0..plane as f64).contains(*index)) {
        None => Ok(indices.into_iter().map(|index| index as i32).collect()),
        Some(index) => {
            let what = format!("it has the index {index}, and a plane of the output has {plane} elements");
            Err(Failure::file(path, what))
        }
    }
}

/// A file with a number for each output channel.
fn channels(what: &'static str, spec: &LayerSpec, path: &Path) -> Result<Vec<f64>, Failure> {
    let numbers = spec.out_channels / spec.parts();
    let shape: Vec<usize> = [numbers].into_iter().chain(spec.complex.then_some(PARTS)).collect();
    fit::same_shape(what, &shape, &data::read(path)?).map_err(|e| Failure::file(path, e))
}

/// What is said to weights for pooling.
fn no_weights(spec: &LayerSpec) -> Failure {
    Failure::Usage(format!("layer {} is {} and has no weights", spec.name, with_article(spec.kind())))
}

/// The weights and what to call them; pooling has none.
fn weights(args: &Run, spec: &LayerSpec, rate: Option<u32>) -> Result<(Vec<f64>, Option<String>), Failure> {
    if spec.operation.is_pooling() {
        return match args.weights {
            Some(_) => Err(no_weights(spec)),
            None => Ok((Vec::new(), None)),
        };
    }
    let name = args.weights.clone().unwrap_or_else(|| Filter::DEFAULT.to_owned());
    let path = Path::new(&name);
    if data::extension(path).is_some_and(|e| e == "npy") {
        let array = data::read(path)?;
        let weights = fit::same_shape("the weights are", &shape::weights(spec), &array);
        return Ok((weights.map_err(|e| Failure::file(path, e))?, Some(name)));
    }
    let filter = Filter::parse(&name).map_err(|e| Failure::Usage(e.to_string()))?;
    let weights = filter.weights(spec, rate).map_err(|e| Failure::layer(&spec.name, e))?;
    Ok((weights, Some(name)))
}

/// Computes, and says how fast.
fn compute<T: Float>(
    args: &Run,
    target: &Target,
    layer: Selected<'_>,
    tensors: &Tensors<T>,
    out: &mut dyn Write,
) -> Result<Output<T>, Failure> {
    let spec = layer.spec;
    let failed = |e: &dyn std::fmt::Display| Failure::layer(&spec.name, e);
    match args.backend {
        RunBackend::Jit => {
            let start = Instant::now();
            let threads = usize::from(args.threads);
            let kernel = compute::compile(layer, spec, &Compiler::new().target(target.clone()).threads(threads))?;
            let compiled = start.elapsed().as_secs_f64();
            let packed = tensors.pack(&kernel).map_err(|e| failed(&e))?;
            let mut output = Output::fresh(spec, tensors.batch, T::default());
            let seconds = best_of(|| tensors.run(&kernel, threads, &packed, &mut output).map_err(|e| failed(&e)))?;
            let flops = spec.operations_per_image() as f64 * tensors.batch as f64;
            let (speed, on) =
                (short(flops / seconds), if threads == 1 { "1 thread".into() } else { format!("{threads} threads") });
            let name = kernel.name();
            writeln!(out, "{name}: compiled in {}, run in {} on {on}, {speed}FLOP/s", time(compiled), time(seconds))?;
            Ok(output)
        }
        RunBackend::Interp => {
            let lowered = compute::lower_layer(layer, spec, target)?;
            let start = Instant::now();
            let output = compute::interpret(spec, &lowered, tensors).map_err(|e| failed(&e))?;
            writeln!(out, "{}: interpreted in {}", lowered.kernel.name, time(start.elapsed().as_secs_f64()))?;
            Ok(output)
        }
        RunBackend::Reference => {
            let start = Instant::now();
            let output = compute::reference(spec, tensors);
            writeln!(out, "reference: {}", time(start.elapsed().as_secs_f64()))?;
            Ok(output)
        }
    }
}

/// The shortest time of as many runs as 50 ms have, or of one.
fn best_of(mut run: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while best.is_infinite() || begin.elapsed() < Duration::from_millis(50) {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn summarize(spec: &LayerSpec, dst: &[f64], out: &mut dyn Write) -> Result<(), Failure> {
    let sizes = output_sizes(spec).join(", ");
    let numbers: Vec<f64> = dst.iter().copied().filter(|x| !x.is_nan()).collect();
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
    write!(out, "result [{sizes}]")?;
    if !numbers.is_empty() {
        write!(out, ": from {least:.4} to {greatest:.4}, mean {mean:.4}")?;
    }
    match dst.len() - numbers.len() {
        0 => writeln!(out)?,
        nans => writeln!(out, ", {nans} NaN")?,
    }
    Ok(())
}

fn write(
    path: &Path,
    spec: &LayerSpec,
    batch: usize,
    dst: &[f64],
    tone: Tone,
    rate: Option<u32>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let unfit = |e| Failure::file(path, e);
    let (array, note): (Array, String) = match data::extension(path).as_deref() {
        Some("png") => {
            let (array, note) = fit::to_picture(spec, batch, dst, tone).map_err(unfit)?;
            (array, format!(": {note}"))
        }
        Some("wav") => {
            let rate = rate.unwrap_or(DEFAULT_RATE);
            (fit::to_recording(spec, batch, dst, rate).map_err(unfit)?, format!(": {rate} Hz"))
        }
        _ => (fit::array(spec, batch, dst), String::new()),
    };
    data::write(path, &array, Elements::of_dst(spec))?;
    Ok(writeln!(out, "wrote {}{note}", path.display())?)
}

/// A picture as text, or the first values.
fn show(spec: &LayerSpec, batch: usize, dst: &[f64], tone: Tone, out: &mut dyn Write) -> Result<(), Failure> {
    if let Ok((picture, _)) = fit::to_picture(spec, batch, dst, tone) {
        let stdout = std::io::stdout();
        let colour = stdout.is_terminal() && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        return Ok(preview::print(out, &picture, colour)?);
    }
    let values: Vec<_> = dst.iter().take(SHOWN).map(|x| format!("{x:.4}")).collect();
    let more = if dst.len() > SHOWN { " …" } else { "" };
    Ok(writeln!(out, "{}{more}", values.join(" "))?)
}
