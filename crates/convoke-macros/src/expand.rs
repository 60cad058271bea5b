//! Layers to modules: finds the text, runs the compiler, hands out tokens.

use crate::arguments::Arguments;
use crate::report;
use crate::text::Text;
use convoke_core::back::rust::{Detection, TARGETS, module};
use convoke_core::diagnostic::Diagnostic;
use convoke_core::front;
use convoke_core::spec::{LayerSpec, Limits};
use proc_macro::{Span, TokenStream};
use std::path::Path;

const DETECTION: Detection = if cfg!(feature = "std") { Detection::RunTime } else { Detection::CompileTime };

/// The layers that the macro's own tokens describe.
pub(crate) fn tokens(input: TokenStream) -> TokenStream {
    let text = Text::of(input);
    let limits = Limits::default();
    match front::layers(&text.source, &limits).and_then(|layers| modules(&layers, &limits)) {
        Ok(code) => code,
        Err(diagnostics) => report::in_tokens(&diagnostics, &text),
    }
}

/// The layers of a file, or one of them.
pub(crate) fn file(arguments: &Arguments) -> TokenStream {
    let span = arguments.file.span;
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let path = Path::new(&root).join(&arguments.file.value);
    let source = match std::fs::read_to_string(&path) {
        Ok(source) => source,
        Err(e) => {
            let file = &arguments.file.value;
            let message = format!("cannot read `{file}`: {e}\nhelp: the path is relative to the package's folder");
            return report::error(span, span, &message);
        }
    };
    let limits = Limits::default();
    let failed = |diagnostics: Vec<Diagnostic>| report::in_file(&diagnostics, &source, &arguments.file.value, span);
    let mut layers = match front::layers(&source, &limits) {
        Ok(layers) => layers,
        Err(diagnostics) => return failed(diagnostics),
    };
    if let Some(wanted) = &arguments.layer {
        let names: Vec<String> = layers.iter().map(|l| format!("`{}`", l.name)).collect();
        layers.retain(|l| l.name == wanted.value);
        if layers.is_empty() {
            let (file, layer) = (&arguments.file.value, &wanted.value);
            let message = format!("{file} has no layer `{layer}`; it has {}", names.join(", "));
            return report::error(wanted.span, wanted.span, &message);
        }
    }
    match modules(&layers, &limits) {
        Ok(mut code) => {
            code.extend(tracked(&path, span));
            code
        }
        Err(diagnostics) => failed(diagnostics),
    }
}

/// An item that makes the build depend on the file.
fn tracked(path: &Path, span: Span) -> TokenStream {
    let text = format!("const _: &[u8] = ::core::include_bytes!({:?});", path.display().to_string());
    text.parse().unwrap_or_else(|e| report::error(span, span, &format!("the path cannot be written down: {e}")))
}

fn modules(layers: &[LayerSpec], limits: &Limits) -> Result<TokenStream, Vec<Diagnostic>> {
    // One conversion at the end is much cheaper than one a token.
    proc_macro2::fallback::force();
    let (mut code, mut diagnostics) = (String::new(), Vec::new());
    for spec in layers {
        match module(spec, &TARGETS, limits, DETECTION) {
            Ok(module) => code += &module.to_string(),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    code.parse().map_err(|e: proc_macro::LexError| vec![without_place(format!("the emitted code does not lex: {e}"))])
}

fn without_place(message: String) -> Diagnostic {
    Diagnostic { message, labels: Vec::new(), help: None }
}
