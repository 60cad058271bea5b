//! Networks to modules, with their weights in them.

use crate::expand::DETECTION;
use crate::parameters::Parameters;
use crate::source::Source;
use convoke_core::back::rust::{Budget, CrateError, TARGETS, network_module};
use convoke_core::diagnostic::{Diagnostic, Label};
use convoke_core::spec::{Limits, NetworkSpec};
use convoke_core::target::Target;
use proc_macro::TokenStream;

/// Bytes of packed weights that a network may have: a string of them in the source is slow to compile where it is long.
const LIMIT: usize = 16 << 20;

/// What layouts, and whether windows are transformed, are chosen for: what a module is must not depend on the machine that compiles it.
const TARGET: Target = Target::AVX2;

/// Refuses networks that are too large, before their parameters are read.
pub(crate) fn check_sizes(networks: &[NetworkSpec], source: &Source) -> Result<(), TokenStream> {
    // Packed they are no fewer.
    let bytes = |network: &NetworkSpec| network.parameters_len().saturating_mul(size_of::<f32>());
    let beyond = networks.iter().filter(|network| bytes(network) > LIMIT);
    let refused: Vec<Diagnostic> = beyond.map(|network| too_large(network, source, bytes(network))).collect();
    if refused.is_empty() { Ok(()) } else { Err(source.refused(&refused)) }
}

/// The modules of all.
pub(crate) fn modules(
    networks: &[NetworkSpec],
    source: &Source,
    parameters: Option<&Parameters>,
    limits: &Limits,
) -> Result<String, TokenStream> {
    let (mut code, mut refused) = (String::new(), TokenStream::new());
    for network in networks {
        match module(network, source, parameters, limits) {
            Ok(module) => code += &module,
            Err(one) => refused.extend(one),
        }
    }
    if refused.is_empty() { Ok(code) } else { Err(refused) }
}

fn module(
    network: &NetworkSpec,
    source: &Source,
    parameters: Option<&Parameters>,
    limits: &Limits,
) -> Result<String, TokenStream> {
    if let Some(parameters) = parameters {
        parameters.check(network, source)?;
    }
    let mut fetch = |name: &str| -> Result<Vec<f32>, String> {
        let elements = parameters.map(|file| file.get(name)).transpose().map_err(|e| e.to_string())?;
        elements.flatten().ok_or_else(|| format!("there is no parameter `{name}`"))
    };
    let budget = Budget { weights: Some(LIMIT), arena: None };
    match network_module(network, &TARGET, &TARGETS, limits, DETECTION, &mut fetch, &budget) {
        Ok(module) => Ok(module.code),
        Err(e) => Err(source.refused(&[diagnostic(network, source, e)])),
    }
}

fn too_large(network: &NetworkSpec, source: &Source, bytes: usize) -> Diagnostic {
    let message =
        format!("network `{}` takes {bytes} bytes for its weights, and conv! writes at most {LIMIT}", network.name);
    let help = "`convoke emit --crate` writes it as a crate, with the weights in a file of their own";
    Diagnostic::at(source.name(network, None), message, "").with_help(help)
}

/// Where in the text it is that a network has no module.
fn diagnostic(network: &NetworkSpec, source: &Source, error: CrateError<String>) -> Diagnostic {
    let at = |layer: Option<&str>, message: String| Diagnostic::at(source.name(network, layer), message, "");
    match error {
        CrateError::Budget { bytes, .. } => too_large(network, source, bytes),
        CrateError::Type { .. } | CrateError::Batch { .. } => {
            Diagnostic::at(source.input(network), error.to_string(), "")
        }
        CrateError::Scratch { ref layer, .. } => at(Some(layer), error.to_string()),
        CrateError::Layer { ref layer, ref diagnostic } => {
            let message = error.to_string();
            let place = Label { span: source.name(network, Some(layer)), text: String::new() };
            // What the compiler pins itself stands nowhere.
            let mut labels: Vec<Label> =
                diagnostic.labels.iter().filter(|l| !l.span.range().is_empty()).cloned().collect();
            if labels.is_empty() {
                labels.push(place);
            }
            Diagnostic { message, labels, help: diagnostic.help.clone() }
        }
        other => at(None, other.to_string()),
    }
}
