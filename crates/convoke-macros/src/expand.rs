//! Layers to modules: every stage of the compiler, once an instruction set.

use crate::arguments::Arguments;
use crate::report;
use crate::text::Text;
use convoke_core::back::rust::{Detection, Layer, ScratchFrom, layer};
use convoke_core::diagnostic::Diagnostic;
use convoke_core::front;
use convoke_core::ir::{Role, Verified};
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::pipeline::{CompileError, Compiled, compile};
use convoke_core::span::{Span as Bytes, Spanned};
use convoke_core::spec::{LayerSpec, Limits, PackInput, Schedule};
use convoke_core::target::Target;
use proc_macro::{Span, TokenStream};
use std::path::Path;

/// What an emitted layer has versions for.
const TARGETS: [Target; 5] = [Target::AVX512, Target::AVX2, Target::NEON, Target::SSE, Target::PORTABLE];

/// Bytes of scratch that `run` takes from the stack; more is an argument, if the schedule pins the copy, or not used.
const STACK_BYTES: i64 = 16 << 10;

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
        match module(spec, limits) {
            Ok(module) => code += &module.to_string(),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    code.parse().map_err(|e: proc_macro::LexError| vec![without_place(format!("the emitted code does not lex: {e}"))])
}

fn module(spec: &LayerSpec, limits: &Limits) -> Result<proc_macro2::TokenStream, Diagnostic> {
    let compiled = versions(spec, limits)?;
    let packing = WeightsPacking::new(spec, compiled[0].plan.algorithm);
    let scratch = match compiled.iter().all(|c| fits_on_stack(spec, c)) {
        true => ScratchFrom::Stack,
        false => ScratchFrom::Argument,
    };
    let versions: Vec<Verified> = compiled.into_iter().map(|c| c.kernel).collect();
    layer(&Layer { spec, packing: &packing, versions: &versions, detection: DETECTION, scratch })
        .map_err(|e| without_place(e.to_string()))
}

/// A kernel a target. Pins count where they hold; they must hold somewhere.
fn versions(spec: &LayerSpec, limits: &Limits) -> Result<Vec<Compiled>, CompileError> {
    let unplanned = |result: &Result<Compiled, CompileError>| matches!(result, Err(CompileError::Plan(_)));
    let pinned: Vec<_> = TARGETS.iter().map(|target| version(spec, target, limits)).collect();
    if pinned.iter().all(unplanned) {
        return pinned.into_iter().collect();
    }
    let algorithm = spec.schedule.algorithm;
    let free = LayerSpec { schedule: Schedule { algorithm, ..Schedule::default() }, ..spec.clone() };
    let either = |(pinned, target)| if unplanned(&pinned) { version(&free, target, limits) } else { pinned };
    pinned.into_iter().zip(&TARGETS).map(either).collect()
}

/// The kernel for `target`. Without a pin that asks for it, no plan may need more scratch than the stack has room for:
/// what `run` takes is not for the cost model to decide.
fn version(spec: &LayerSpec, target: &Target, limits: &Limits) -> Result<Compiled, CompileError> {
    let compiled = compile(spec, target, limits)?;
    if spec.schedule.pack_input.is_some() || fits_on_stack(spec, &compiled) {
        return Ok(compiled);
    }
    let mut direct = spec.clone();
    direct.schedule.pack_input = Some(Spanned::new(PackInput::None, Bytes::default()));
    compile(&direct, target, limits).or(Ok(compiled))
}

/// Whether a kernel's scratch, if it needs any, may lie on the stack; where the schedule pins the copy, `run` takes it.
fn fits_on_stack(spec: &LayerSpec, compiled: &Compiled) -> bool {
    let Some(scratch) = compiled.kernel.buffers.iter().find(|b| b.role == Role::Scratch) else {
        return true;
    };
    let elements = scratch.len.as_constant().filter(|_| spec.schedule.pack_input.is_none());
    elements.is_some_and(|n| n <= STACK_BYTES / spec.dtype.bytes() as i64)
}

fn without_place(message: String) -> Diagnostic {
    Diagnostic { message, labels: Vec::new(), help: None }
}
