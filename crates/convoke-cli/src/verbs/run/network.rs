//! `run` of a network: one input, parameters by name from a file.

use super::{best_of, finish};
use crate::args::{Run, RunBackend};
use crate::compute::Output;
use crate::data::{self, Kind, fit, parameters};
use crate::failure::Failure;
use crate::numbers::{short, time};
use convoke::{Bf16, Compiler, F16, Float};
use convoke_core::eval::reference;
use convoke_core::spec::{LayerSpec, NetworkSpec, NetworkValue, Storage};
use convoke_core::target::Target;
use std::collections::HashMap;
use std::io::Write;
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
    if network.inputs != 1 {
        return usage(format!("it has {} inputs, and this takes networks of one", network.inputs));
    }
    if network.outputs.len() > 1 && args.output.is_some() {
        return usage(format!("it has {} outputs, and --output names one file", network.outputs.len()));
    }
    if args.backend == RunBackend::Interp {
        return usage("the backends of networks are jit and reference".to_owned());
    }
    match args.parameters {
        None if network.parameters_len() > 0 => usage("name the file of its parameters with --parameters".to_owned()),
        _ => Ok(()),
    }
}

fn run_typed<T: Float>(args: &Run, target: &Target, network: &NetworkSpec, out: &mut dyn Write) -> Result<(), Failure> {
    let array = data::read(&args.input)?;
    let rate = if let Kind::Wav { rate } = array.kind { Some(rate) } else { None };
    let input = fit::input(&alone(&network.values[0])?, &array).map_err(|e| Failure::file(&args.input, e))?;
    let note = input.note.map_or(String::new(), |note| format!(", {note}"));
    writeln!(out, "{}: {}{note}", network.name, args.input.display())?;
    let given = match &args.parameters {
        Some(path) => parameters::read(path)?,
        None => HashMap::new(),
    };
    let typed = |values: &[f64]| values.iter().map(|&x| T::from_number(x)).collect::<Vec<T>>();
    let (src, batch) = (typed(&input.data), input.batch);
    let given: HashMap<String, Vec<T>> = given.into_iter().map(|(name, values)| (name, typed(&values))).collect();
    let failed = |e: convoke::Error| match &args.parameters {
        Some(path) if matches!(e, convoke::Error::NetworkParameter { .. }) => Failure::file(path, e),
        _ => Failure::Input(e.to_string()),
    };
    let start = Instant::now();
    let threads = usize::from(args.threads);
    let compiler = Compiler::new().target(target.clone()).threads(threads);
    let compiled = compiler.network(network, |name| given.get(name).map(Vec::as_slice)).map_err(failed)?;
    let seconds = start.elapsed().as_secs_f64();
    let outputs: Vec<Vec<f64>> = if args.backend == RunBackend::Reference {
        let start = Instant::now();
        let numbers = |values: &[T]| values.iter().map(|x| x.to_number()).collect::<Vec<f64>>();
        let exact: HashMap<&str, Vec<f64>> = given.iter().map(|(name, p)| (name.as_str(), numbers(p))).collect();
        let outputs = reference::run_network(network, batch, &[&numbers(&src)[..]], |name| &exact[name]);
        writeln!(out, "reference: {}", time(start.elapsed().as_secs_f64()))?;
        outputs.iter().map(|output| numbers(&typed(output))).collect()
    } else {
        let mut dst: Vec<Vec<T>> =
            network.output_values().map(|value| vec![T::default(); batch * value.shape.image()]).collect();
        let run = || {
            let mut slices: Vec<&mut [T]> = dst.iter_mut().map(Vec::as_mut_slice).collect();
            compiled.run(&[&src], &mut slices).map_err(failed)
        };
        let best = best_of(run)?;
        let speed = short(2.0 * network.macs_per_image() as f64 * batch as f64 / best);
        let on = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        let (compiled, best) = (time(seconds), time(best));
        writeln!(out, "compiled and packed in {compiled}, run in {best} on {on}, {speed}FLOP/s")?;
        dst.iter().map(|output| output.iter().map(|x| x.to_number()).collect()).collect()
    };
    for (value, dst) in network.output_values().zip(outputs) {
        if network.outputs.len() > 1 {
            write!(out, "{}: ", value.name)?;
        }
        finish(args, &alone(value)?, batch, Output { dst, indices: Vec::new() }, rate, out)?;
    }
    Ok(())
}

/// A layer that has the value as its input and as its output, for who asks what its axes are.
fn alone(value: &NetworkValue) -> Result<LayerSpec, Failure> {
    let text = format!("max_pool{}d value {{ input: {}, kernel_size: 1 }}", value.shape.sizes.len(), value.shape);
    text.parse().map_err(|e: convoke_core::spec::SpecTextError| Failure::Input(e.to_string()))
}
