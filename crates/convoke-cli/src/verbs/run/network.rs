//! `run` of a network: a file for each input and output, parameters by name from a file.

use super::{best_of, finish, profile};
use crate::args::{Run, RunBackend};
use crate::compute::Output;
use crate::data::{self, Array, Kind, fit, preprocess};
use crate::failure::Failure;
use crate::numbers::{short, time};
use crate::source;
use convoke::{Bf16, Compiler, F16, Float, Network, Parameters};
use convoke_core::eval::reference;
use convoke_core::spec::{LayerSpec, NetworkSpec, NetworkValue, Storage, TensorShape};
use convoke_core::target::Target;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(super) fn run(args: &Run, target: &Target, network: &NetworkSpec, out: &mut dyn Write) -> Result<(), Failure> {
    check(args, network)?;
    match network.storage() {
        Storage::F64 => run_typed::<f64>(args, target, network, out),
        Storage::F16 => run_typed::<F16>(args, target, network, out),
        Storage::Bf16 => run_typed::<Bf16>(args, target, network, out),
        _ => run_typed::<f32>(args, target, network, out),
    }
}

/// Refuses what is not for networks.
fn check(args: &Run, network: &NetworkSpec) -> Result<(), Failure> {
    let usage = |what: String| Err(Failure::Usage(format!("network {}: {what}", network.name)));
    let of_layers = [
        ("--weights", args.weights.is_some()),
        ("--bias", args.bias.is_some()),
        ("--channels", !args.channels.is_empty()),
        ("--residual", args.residual.is_some()),
        ("--offset", args.offset.is_some()),
        ("--mask", args.mask.is_some()),
        ("--indices", args.indices.is_some()),
        ("--zero-points", args.zero_points.is_some()),
        ("--scales", args.scales.is_some()),
    ];
    if let Some((option, _)) = of_layers.iter().find(|option| option.1) {
        return usage(format!("{option} is for single layers; a network has --parameters"));
    }
    let lists = [("input", network.inputs, args.input.len()), ("output", network.outputs.len(), args.output.len())];
    for (what, expected, given) in lists {
        if given != expected && (what == "input" || given > 0) {
            let plural = if expected == 1 { "" } else { "s" };
            return usage(format!("it has {expected} {what}{plural}, and --{what} is given {given} times"));
        }
    }
    if args.backend == RunBackend::Interp {
        return usage("the backends of networks are jit and reference".to_owned());
    }
    Ok(())
}

fn run_typed<T: Float>(args: &Run, target: &Target, network: &NetworkSpec, out: &mut dyn Write) -> Result<(), Failure> {
    let mut rate = None;
    let mut inputs: Vec<(Vec<T>, usize)> = Vec::new();
    for (path, value) in args.input.iter().zip(network.input_values()) {
        let array = prepared(data::read(path)?, network, value).map_err(|e| Failure::file(path, e))?;
        if let Kind::Wav { rate: found } = array.kind {
            rate = Some(found);
        }
        let input = fit::input(&alone(value)?, &array).map_err(|e| Failure::file(path, e))?;
        let note = input.note.map_or(String::new(), |note| format!(", {note}"));
        let named = if network.inputs > 1 { format!(" {}", value.name) } else { String::new() };
        writeln!(out, "{}{named}: {}{note}", network.name, path.display())?;
        inputs.push((typed(&input.data), input.batch));
    }
    let batch = inputs[0].1;
    let inputs: Vec<&[T]> = inputs.iter().map(|(input, _)| input.as_slice()).collect();
    let file = source::parameters_file(args.parameters.as_deref(), &args.layers, network)?;
    let failed = |e: convoke::Error| match &file {
        Some(path) if matches!(e, convoke::Error::NetworkParameter { .. }) => Failure::file(path, e),
        _ => Failure::Input(e.to_string()),
    };
    let mut parameters = file.as_deref().map(Parameters::open).transpose().map_err(failed)?;
    let outputs: Vec<Vec<f64>> = if args.backend == RunBackend::Reference {
        let exact = all_parameters(network, parameters.as_mut(), &failed)?;
        let start = Instant::now();
        let inputs: Vec<Vec<f64>> = inputs.iter().map(|input| numbers(input)).collect();
        let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let outputs = reference::run_network(network, batch, &inputs, |name| &exact[name]);
        writeln!(out, "reference: {}", time(start.elapsed().as_secs_f64()))?;
        outputs.iter().map(|output| numbers(&typed::<T>(output))).collect()
    } else {
        let start = Instant::now();
        let threads = usize::from(args.threads);
        let compiler = Compiler::new().target(target.clone()).threads(threads);
        let compiled = match &mut parameters {
            Some(parameters) => compiler.network_from(network, parameters),
            None => compiler.network(network, |_| None),
        };
        let compiled = compiled.map_err(failed)?;
        let seconds = start.elapsed().as_secs_f64();
        let mut dst: Vec<Vec<T>> =
            network.output_values().map(|value| vec![T::default(); batch * value.shape.image()]).collect();
        let run = || {
            let mut slices: Vec<&mut [T]> = dst.iter_mut().map(Vec::as_mut_slice).collect();
            compiled.run(&inputs, &mut slices).map_err(failed)
        };
        let best = best_of(run)?;
        let speed = short(2.0 * network.macs_per_image() as f64 * batch as f64 / best);
        let on = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        let (ready, best) = (time(seconds), time(best));
        writeln!(out, "compiled and packed in {ready}, run in {best} on {on}, {speed}FLOP/s")?;
        if let Some(file) = &args.profile {
            let mut slices: Vec<&mut [T]> = dst.iter_mut().map(Vec::as_mut_slice).collect();
            let parts = profiled(&compiled, &inputs, &mut slices)?;
            profile::table(&parts, out)?;
            if let Some(path) = file {
                profile::svg(&parts, path)?;
                writeln!(out, "wrote {}", path.display())?;
            }
        }
        dst.iter().map(|output| numbers(output)).collect()
    };
    let labels = args.labels.as_deref().map(labels).transpose()?;
    for (i, (value, dst)) in network.output_values().zip(outputs).enumerate() {
        if network.outputs.len() > 1 {
            write!(out, "{}: ", value.name)?;
        }
        let path = args.output.get(i).map(PathBuf::as_path);
        if (labels.is_some() || args.top.is_some()) && value.shape.pixels() == 1 {
            top(&value.shape, batch, &dst, labels.as_deref(), args.top.unwrap_or(TOP), out)?;
            if path.is_none() {
                continue;
            }
        }
        finish(args, &alone(value)?, batch, Output { dst, indices: Vec::new() }, (path, rate), out)?;
    }
    Ok(())
}

/// Channels that are listed of a result with labels.
const TOP: usize = 5;

/// A picture as the network takes it: its colours, then the steps of `preprocess`. Arrays and recordings are as they are.
fn prepared(array: Array, network: &NetworkSpec, value: &NetworkValue) -> Result<Array, String> {
    if array.kind != Kind::Png || network.preprocess.is_empty() {
        return Ok(array);
    }
    let picture = fit::colours(&array, value.shape.channels).ok_or_else(|| {
        format!("the picture has {} channels, and the network takes {}", array.shape[2], value.shape.channels)
    })?;
    preprocess::apply(&network.preprocess, picture)
}

/// A name a line.
fn labels(path: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file(path, e))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// The greatest channels of each image, with their names.
fn top(
    shape: &TensorShape,
    batch: usize,
    values: &[f64],
    labels: Option<&[String]>,
    count: usize,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if let Some(labels) = labels.filter(|labels| labels.len() != shape.channels) {
        let (channels, lines) = (shape.channels, labels.len());
        return Err(Failure::Input(format!("there are {lines} labels, and the output has {channels} channels")));
    }
    for n in 0..batch {
        let mut all: Vec<(usize, f64)> =
            (0..shape.channels).map(|c| (c, values[n * shape.image() + shape.index(c, 0)])).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for (channel, value) in all.into_iter().take(count) {
            let name = labels.map_or_else(|| channel.to_string(), |labels| labels[channel].clone());
            writeln!(out, "{value:10.4}  {name}")?;
        }
    }
    Ok(())
}

/// What each layer takes: the least of a few runs.
fn profiled<T: Float>(
    compiled: &Network<T>,
    inputs: &[&[T]],
    outputs: &mut [&mut [T]],
) -> Result<Vec<profile::Part>, Failure> {
    let arranged = compiled.arranged();
    let mut seconds = vec![f64::INFINITY; arranged.nodes.len()];
    for _ in 0..RUNS {
        let times = compiled.run_timed(inputs, outputs).map_err(|e| Failure::Input(e.to_string()))?;
        seconds.iter_mut().zip(times).for_each(|(least, time)| *least = least.min(time.as_secs_f64()));
    }
    let parts = arranged.nodes.iter().zip(seconds).map(|(node, seconds)| profile::Part {
        name: node.name.clone(),
        kind: node.kind.name(),
        plan: compiled.kernel(&node.name).map_or_else(String::new, |kernel| kernel.name().to_owned()),
        operations: node.operations_per_image() as f64,
        seconds,
    });
    Ok(parts.collect())
}

/// Runs of a profile.
const RUNS: usize = 5;

fn typed<T: Float>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::from_number(x)).collect()
}

fn numbers<T: Float>(values: &[T]) -> Vec<f64> {
    values.iter().map(|x| x.to_number()).collect()
}

/// All parameters of a network, as they are in the file.
fn all_parameters(
    network: &NetworkSpec,
    mut file: Option<&mut Parameters>,
    failed: &impl Fn(convoke::Error) -> Failure,
) -> Result<HashMap<String, Vec<f64>>, Failure> {
    let mut all = HashMap::new();
    for parameter in network.parameters() {
        let elements = match &mut file {
            Some(file) => file.read::<f64>(&parameter.name).map_err(failed)?,
            None => None,
        };
        let (given, expected) = (elements.as_ref().map(Vec::len), parameter.len);
        match elements.filter(|elements| elements.len() == expected) {
            Some(elements) => all.insert(parameter.name, elements),
            None => {
                let (network, name) = (network.name.clone(), parameter.name);
                return Err(failed(convoke::Error::NetworkParameter { network, name, expected, given }));
            }
        };
    }
    Ok(all)
}

/// A layer that has the value as its input and as its output, for who asks what its axes are.
fn alone(value: &NetworkValue) -> Result<LayerSpec, Failure> {
    let text = format!("max_pool{}d value {{ input: {}, kernel_size: 1 }}", value.shape.sizes.len(), value.shape);
    text.parse().map_err(|e: convoke_core::spec::SpecTextError| Failure::Input(e.to_string()))
}
