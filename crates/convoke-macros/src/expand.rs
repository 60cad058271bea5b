//! Layers and networks to modules: finds the text, runs the compiler, hands out tokens.

use crate::arguments::Arguments;
use crate::parameters::Parameters;
use crate::source::{Source, tracked};
use crate::{networks, report};
use convoke_core::back::rust::{Detection, TARGETS, module};
use convoke_core::diagnostic::Diagnostic;
use convoke_core::front::{self, Contents};
use convoke_core::spec::{LayerSpec, Limits};
use proc_macro::{Span, TokenStream};

/// How modules find out what the CPU has.
pub(crate) const DETECTION: Detection = if cfg!(feature = "std") { Detection::RunTime } else { Detection::CompileTime };

/// The modules, or what is wrong.
pub(crate) fn modules(arguments: &Arguments) -> Result<TokenStream, TokenStream> {
    // One conversion at the end is much cheaper than one a token.
    proc_macro2::fallback::force();
    let (source, limits) = (Source::of(arguments)?, Limits::default());
    let contents = front::contents(source.text(), &limits, &[]).map_err(|all| source.refused(&all))?;
    let contents = selected(contents, arguments)?;
    networks::check_sizes(&contents.networks, &source)?;
    let parameters = Parameters::of(arguments, &source, &contents.networks)?;
    let layers = layers(&contents.layers, &limits).map_err(|all| source.refused(&all));
    let networks = networks::modules(&contents.networks, &source, parameters.as_ref(), &limits);
    let mut code = match (layers, networks) {
        (Ok(layers), Ok(networks)) => layers + &networks,
        (layers, networks) => return Err([layers.err(), networks.err()].into_iter().flatten().flatten().collect()),
    };
    if let Source::File { path, .. } = &source {
        code += &tracked(path);
    }
    if let Some(parameters) = &parameters {
        code += &tracked(&parameters.path);
    }
    code.parse().map_err(|e: proc_macro::LexError| {
        report::error(Span::call_site(), Span::call_site(), &format!("the emitted code does not lex: {e}"))
    })
}

/// That which the arguments name, or everything.
fn selected(mut contents: Contents, arguments: &Arguments) -> Result<Contents, TokenStream> {
    let (Some(file), Some(wanted)) = (&arguments.file, &arguments.layer) else { return Ok(contents) };
    let all = contents.layers.iter().map(|l| &l.name).chain(contents.networks.iter().map(|n| &n.name));
    let all: Vec<String> = all.map(|name| format!("`{name}`")).collect();
    contents.layers.retain(|layer| layer.name == wanted.value);
    contents.networks.retain(|network| network.name == wanted.value);
    if contents.layers.is_empty() && contents.networks.is_empty() {
        let message = format!("{} has no layer `{}`; it has {}", file.value, wanted.value, all.join(", "));
        return Err(report::error(wanted.span, wanted.span, &message));
    }
    Ok(contents)
}

fn layers(layers: &[LayerSpec], limits: &Limits) -> Result<String, Vec<Diagnostic>> {
    let (mut code, mut diagnostics) = (String::new(), Vec::new());
    for spec in layers {
        match module(spec, &TARGETS, limits, DETECTION) {
            Ok(module) => code += &module.to_string(),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    if diagnostics.is_empty() { Ok(code) } else { Err(diagnostics) }
}
