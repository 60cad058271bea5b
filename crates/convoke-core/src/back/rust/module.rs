//! A layer to its module: every stage of the compiler, once an instruction set.

use super::{Detection, Layer, RustError, ScratchFrom, Version, layer};
use crate::diagnostic::Diagnostic;
use crate::ir::Role;
use crate::lower::weights::WeightsPacking;
use crate::pipeline::{CompileError, Compiled, compile};
use crate::plan;
use crate::span::{Span, Spanned};
use crate::spec::{Accuracy, Algorithm, LayerSpec, Limits, PackInput, Schedule};
use crate::target::{Isa, Target};
use proc_macro2::TokenStream;

/// What an emitted layer has versions for; those with VNNI where the layer is one of integers that are multiplied so.
pub const TARGETS: [Target; 7] =
    [Target::AVX512_VNNI, Target::AVX512, Target::AVX2_VNNI, Target::AVX2, Target::NEON, Target::SSE, Target::PORTABLE];

/// Bytes of scratch that `run` takes from the stack; more is an argument where the schedule pins the copy or the layer's padding or its
/// integers ask for it, or not used.
const STACK_BYTES: i64 = 16 << 10;

/// `target` as the Rust compiler serves it: one register of AVX2's sixteen is its own, and a tile that uses all is spilled.
pub fn suited(target: &Target) -> Target {
    match target.isa {
        Isa::Avx2 => Target { registers: target.registers.min(15), ..target.clone() },
        _ => target.clone(),
    }
}

/// The module that `conv!` makes of `spec` (for [`TARGETS`]): a version a target behind one interface. One of the targets
/// is [`Target::PORTABLE`].
///
/// # Errors
/// If the schedule pins what holds on no target, or the layer exceeds `limits`.
pub fn module(
    spec: &LayerSpec,
    targets: &[Target],
    limits: &Limits,
    detection: Detection,
) -> Result<TokenStream, Diagnostic> {
    let exact = &exact(spec);
    let compiled = kernels(exact, targets, limits, ScratchFrom::Stack)?;
    let scratch = match compiled.iter().all(|c| fits_on_stack(exact, c)) {
        true => ScratchFrom::Stack,
        false => ScratchFrom::Argument,
    };
    let versions: Vec<Version> = compiled.into_iter().map(|c| Version::of(exact, c)).collect();
    layer(&Layer { spec: exact, versions: &versions, detection, scratch }).map_err(refused)
}

/// A layer as a file of its own, and what who calls its `run` has to know. Its scratch, however much, is an argument.
pub(super) struct File {
    /// Items, behind the attributes of the file.
    pub code: TokenStream,
    /// How `Packed` holds the weights.
    pub packing: WeightsPacking,
    /// Elements of `Scratch`, if `run` takes it, and whether that is for each image.
    pub scratch: Option<(i64, bool)>,
    /// Elements of `Local`, if `run` takes it.
    pub local: Option<i64>,
}

/// The layer, whose elements are floats, as [`module`] has it, but as a file. Weights are packed when it is written, so that a target, if there is one,
/// may say whether its windows are transformed.
///
/// # Errors
/// As [`module`].
pub(super) fn file(
    spec: &LayerSpec,
    target: Option<&Target>,
    targets: &[Target],
    limits: &Limits,
    detection: Detection,
) -> Result<File, Diagnostic> {
    let kernels = |spec: LayerSpec| -> Result<_, Diagnostic> {
        let compiled = kernels(&spec, targets, limits, ScratchFrom::Argument)?;
        let versions: Vec<Version> = compiled.into_iter().map(|c| Version::of(&spec, c)).collect();
        Ok((spec, versions))
    };
    // Not every instruction set may have it.
    let transformed = target.and_then(|target| kernels(transformed(spec, target)?).ok());
    let (spec, versions) = match transformed {
        Some(made) => made,
        None => kernels(exact(spec))?,
    };
    let longest = |role| versions.iter().filter_map(move |v| super::kernel::buffer_len(&v.kernel, role)).max();
    let code =
        super::layer::file(&Layer { spec: &spec, versions: &versions, detection, scratch: ScratchFrom::Argument });
    Ok(File {
        code: code.map_err(refused)?,
        packing: versions[0].packing,
        scratch: longest(Role::Scratch),
        local: longest(Role::Local).map(|len| len.0),
    })
}

/// The layer with Winograd's algorithm pinned, if that is what `target` takes for it.
fn transformed(spec: &LayerSpec, target: &Target) -> Option<LayerSpec> {
    let plan = plan::choose(spec, &suited(target)).ok().filter(|plan| plan.algorithm.winograd().is_some())?;
    let mut spec = spec.clone();
    spec.schedule.algorithm = Some(Spanned::new(plan.algorithm, Span::default()));
    Some(spec)
}

impl Version {
    fn of(spec: &LayerSpec, compiled: Compiled) -> Self {
        Self { packing: WeightsPacking::new(spec, compiled.plan.algorithm), kernel: compiled.kernel }
    }
}

fn refused(e: RustError) -> Diagnostic {
    Diagnostic { message: e.to_string(), labels: Vec::new(), help: None }
}

/// The layer as modules compute it: the arguments of `run` and the layout of packed weights are not for the cost model to decide.
fn exact(spec: &LayerSpec) -> LayerSpec {
    let accuracy = if spec.schedule.algorithm.is_some() { spec.accuracy } else { Accuracy::Exact };
    LayerSpec { accuracy, ..spec.clone() }
}

/// The kernels of a module, one a target, at least one.
fn kernels(
    spec: &LayerSpec,
    targets: &[Target],
    limits: &Limits,
    scratch: ScratchFrom,
) -> Result<Vec<Compiled>, Diagnostic> {
    let compiled = versions(spec, &distinct(spec, targets), limits, scratch)?;
    if compiled.is_empty() {
        return Err(refused(RustError::NoPortable { layer: spec.name.clone() }));
    }
    if let (Algorithm::Fft, Some(pin)) = (compiled[0].plan.algorithm, &spec.schedule.algorithm) {
        let reason = "each instruction set packs transformed filters in its own way, and a module packs them once";
        return Err(Diagnostic::at(pin.span, "a module cannot use fft", reason)
            .with_help("pin another algorithm, or compile the layer at run time"));
    }
    Ok(compiled)
}

/// `targets` without VNNI where the layer's plan does not use it, each once.
fn distinct(spec: &LayerSpec, targets: &[Target]) -> Vec<Target> {
    let uses_vnni = |target: &Target| {
        let plan = |spec: &LayerSpec| plan::choose(spec, &suited(target));
        let plan = plan(spec).or_else(|_| plan(&unpinned(spec)));
        plan.is_ok_and(|plan| plan.algorithm.is_by_four())
    };
    let mut wanted: Vec<Target> = Vec::new();
    for target in targets {
        let vnni = target.vnni && spec.integers.is_some() && uses_vnni(target);
        let target = Target { vnni, ..target.clone() };
        if !wanted.contains(&target) {
            wanted.push(target);
        }
    }
    wanted
}

/// The layer without its pins, where some target cannot hold them: but for the algorithm, which says how weights are packed. Integers
/// are packed for whichever a version has, and their sums are the same.
fn unpinned(spec: &LayerSpec) -> LayerSpec {
    let algorithm = spec.schedule.algorithm.filter(|_| spec.integers.is_none());
    LayerSpec { schedule: Schedule { algorithm, ..Schedule::default() }, ..spec.clone() }
}

/// A kernel a target. Pins count where they hold; they must hold somewhere.
fn versions(
    spec: &LayerSpec,
    targets: &[Target],
    limits: &Limits,
    scratch: ScratchFrom,
) -> Result<Vec<Compiled>, CompileError> {
    let unplanned = |result: &Result<Compiled, CompileError>| matches!(result, Err(CompileError::Plan(_)));
    let pinned: Vec<_> = targets.iter().map(|target| version(spec, target, limits, scratch)).collect();
    if pinned.iter().all(unplanned) {
        return pinned.into_iter().collect();
    }
    let free = unpinned(spec);
    let either = |(pinned, target)| if unplanned(&pinned) { version(&free, target, limits, scratch) } else { pinned };
    pinned.into_iter().zip(targets).map(either).collect()
}

/// The kernel for `target`. Where scratch is on the stack, no plan may need more than that has room for without a pin that asks for it:
/// what `run` takes is not for the cost model to decide.
fn version(spec: &LayerSpec, target: &Target, limits: &Limits, scratch: ScratchFrom) -> Result<Compiled, CompileError> {
    let target = &suited(target);
    // How weights are packed is not for the cost model to decide either.
    let mut spec = spec.clone();
    if spec.schedule.algorithm.is_none() {
        spec.accuracy = Accuracy::Exact;
    }
    let spec = &spec;
    let compiled = compile(spec, target, limits)?;
    let may_be_any = scratch == ScratchFrom::Argument || spec.schedule.pack_input.is_some();
    if may_be_any || fits_on_stack(spec, &compiled) {
        return Ok(compiled);
    }
    let mut direct = spec.clone();
    direct.schedule.pack_input = Some(Spanned::new(PackInput::None, Span::default()));
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
