//! `emit --crate`: a network as a crate of its own.

use crate::args::Emit;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::Unfinished;
use crate::numbers::short;
use crate::random::Random;
use crate::source;
use convoke::{Compiler, Limits, Parameters};
use convoke_core::back::rust::{Budget, TARGETS, network_crate};
use convoke_core::spec::{NetworkSpec, NetworkValue, Storage};
use convoke_core::target::Target;
use std::io::Write;
use std::path::Path;

/// What random inputs of the stored example are made of.
const SEED: u64 = 1;

pub(super) fn run(args: &Emit, folder: &Path, target: &Target, out: &mut dyn Write) -> Result<(), Failure> {
    let is_free = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        Err(e) => return Err(Failure::file(folder, e)),
    };
    if !is_free {
        return Err(Failure::file(folder, "there is something in it; name a new folder"));
    }
    let sources = source::read(&args.layers)?;
    let network = source::select_network(&sources, &args.layers)
        .ok_or_else(|| Failure::Usage("--crate is for one network: name it with --layer".to_owned()))?;
    let file = source::parameters_file(args.parameters.as_deref(), &args.layers, network)?;
    let failed = |e: convoke::Error| Failure::Input(e.to_string());
    let mut parameters = file.as_deref().map(Parameters::open).transpose().map_err(failed)?;
    let example = example(network, target, parameters.as_mut())?;
    let mut fetch = |name: &str| -> Result<Vec<f32>, String> {
        let expected = network.parameters().find(|parameter| parameter.name == name).map_or(0, |found| found.len);
        let elements = match &mut parameters {
            Some(file) => file.read::<f32>(name).map_err(|e| e.to_string())?,
            None => None,
        };
        let (network, name, given) = (network.name.clone(), name.to_owned(), elements.as_ref().map(Vec::len));
        elements
            .filter(|elements| elements.len() == expected)
            .ok_or_else(|| convoke::Error::NetworkParameter { network, name, expected, given }.to_string())
    };
    let example = example.as_ref().map(|(inputs, outputs)| (inputs.as_slice(), outputs.as_slice()));
    let budget = |what: &str| args.budget.iter().find(|(name, _)| name == what).map(|(_, bytes)| *bytes);
    let budget = Budget { weights: budget("weights"), arena: budget("arena") };
    let made = network_crate(network, target, &TARGETS, &Limits::default(), &mut fetch, example, &budget);
    let made = made.map_err(|e| Failure::Input(e.to_string()))?;
    write(folder, &made.files)?;
    let [weights, arena] = [made.weights_bytes, made.arena_bytes].map(|bytes| short(bytes as f64));
    let (folder, files) = (folder.display(), made.files.len());
    Ok(writeln!(out, "wrote {folder}: {files} files, {weights}B of weights, {arena}B for a run")?)
}

/// Inputs and outputs.
type Tensors = (Vec<Vec<f32>>, Vec<Vec<f32>>);

/// Random inputs, and what comes out here; nothing where the batch is a name, which is refused with the crate.
fn example(
    network: &NetworkSpec,
    target: &Target,
    parameters: Option<&mut Parameters>,
) -> Result<Option<Tensors>, Failure> {
    let (Some(batch), Storage::F32) = (network.fixed_batch(), network.storage()) else { return Ok(None) };
    let failed = |e: convoke::Error| Failure::Input(e.to_string());
    let is_runnable = convoke_jit::why_not_runnable(target).is_none();
    let compiler = Compiler::new().target(if is_runnable { target.clone() } else { convoke::native_target() });
    let compiled = match parameters {
        Some(file) => compiler.network_from::<f32>(network, file),
        None => compiler.network(network, |_| None),
    };
    let compiled = compiled.map_err(failed)?;
    let mut random = Random::new(SEED);
    let len = |value: &NetworkValue| batch * value.shape.image();
    let inputs: Vec<Vec<f32>> = network.input_values().iter().map(|value| random.units(len(value))).collect();
    let mut outputs: Vec<Vec<f32>> = network.output_values().map(|value| vec![0.0; len(value)]).collect();
    let given: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    compiled.run(&given, &mut outputs.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).map_err(failed)?;
    Ok(Some((inputs, outputs)))
}

/// The files, in a folder that appears whole or not at all.
fn write(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), Failure> {
    let all = || -> std::io::Result<()> {
        let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent)?;
        let made = tempfile::Builder::new().prefix(data::TEMPORARY).tempdir_in(parent)?;
        let _unfinished = Unfinished::new(made.path());
        let root = made.path().join("crate");
        for (name, content) in files {
            let path = root.join(name);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&path, content)?;
        }
        if folder.exists() {
            // It is empty.
            std::fs::remove_dir(folder)?;
        }
        std::fs::rename(&root, folder)
    };
    all().map_err(|e| Failure::file(folder, e))
}
