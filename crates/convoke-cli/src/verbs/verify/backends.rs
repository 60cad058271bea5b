//! The backends that `verify` runs.

use super::oracle::{Cases, exact};
use crate::args::VerifyBackend;
use crate::compute::{self, Output};
use crate::failure::Failure;
use crate::integers::{Integers, elements_of};
use crate::rustc::Program;
use crate::source::Selected;
use convoke::{Compiler, Float};
use convoke_core::pipeline::Compiled;
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::{Algorithm, LayerSpec};
use convoke_core::target::Target;

/// A backend under check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Interp,
    Jit,
    Rust,
}

impl Name {
    /// The backends that an argument names, the one that says what the IR means first.
    pub(super) fn of(backend: VerifyBackend) -> Vec<Self> {
        match backend {
            VerifyBackend::All => vec![Self::Interp, Self::Jit, Self::Rust],
            VerifyBackend::Interp => vec![Self::Interp],
            VerifyBackend::Jit => vec![Self::Jit],
            VerifyBackend::Rust => vec![Self::Rust],
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Interp => "interp",
            Self::Jit => "jit",
            Self::Rust => "rust",
        }
    }
}

/// Everything that is made once for all layers.
pub(super) struct Backends {
    pub(super) names: Vec<Name>,
    pub(super) threads: usize,
    target: Target,
    compiler: Compiler,
    rust: Option<Emitted>,
}

/// The emitted program, and what its kernels are.
struct Emitted {
    program: Program,
    layers: Vec<EmittedLayer>,
}

struct EmittedLayer {
    full: EmittedKernel,
    /// The layer without what rounds, whose plan may be another.
    exact: EmittedKernel,
}

/// A kernel of the program.
#[derive(Clone)]
struct EmittedKernel {
    lowered: Compiled,
    index: usize,
}

/// What a backend computed.
pub(super) struct Results<T> {
    /// Of the layer, and of that without what rounds, which is computed on whole numbers.
    pub(super) algorithm: Algorithm,
    pub(super) whole_algorithm: Algorithm,
    pub(super) whole: Output<T>,
    /// On one thread, then on several if the backend has threads.
    pub(super) random: Vec<Output<T>>,
}

impl Backends {
    /// Compiles what takes long.
    pub(super) fn new(
        names: &[Name],
        layers: &[Selected<'_>],
        target: Target,
        threads: usize,
    ) -> Result<Self, Failure> {
        let rust = names.contains(&Name::Rust).then(|| emit(layers, &target)).transpose()?;
        let compiler = Compiler::new().target(target.clone());
        Ok(Self { names: names.to_vec(), threads, target, compiler, rust })
    }

    /// Runs one layer, number `at`, on both sets of data.
    pub(super) fn run<T: Float>(
        &self,
        backend: Name,
        layer: Selected<'_>,
        at: usize,
        cases: &Cases<T>,
    ) -> Result<Results<T>, String> {
        match backend {
            Name::Interp => interpret(layer, &self.target, cases),
            Name::Jit => self.jit(layer, cases),
            Name::Rust => match &self.rust {
                Some(emitted) => emitted.run(at, cases),
                None => Err("the Rust backend was not compiled".to_owned()),
            },
        }
    }

    /// Runs one layer of integers, number `at`; the backend jit on one thread and on several.
    pub(super) fn run_integers(
        &self,
        backend: Name,
        layer: Selected<'_>,
        at: usize,
        tensors: &Integers,
    ) -> Result<Vec<Output<i32>>, String> {
        let spec = layer.spec;
        match (backend, &self.rust) {
            (Name::Interp, _) => {
                let lowered = compute::lower_layer(layer, spec, &self.target).map_err(|e| e.to_string())?;
                Ok(vec![tensors.interpret(spec, &lowered).map_err(|e| e.to_string())?])
            }
            (Name::Jit, _) => {
                let kernel = compute::compile(layer, spec, &self.compiler).map_err(|e| e.to_string())?;
                let mut threads = vec![1, self.threads];
                threads.dedup();
                threads.into_iter().map(|threads| tensors.run_kernel(&kernel, threads)).collect()
            }
            (Name::Rust, Some(Emitted { program, layers })) => {
                let EmittedKernel { lowered, index } = &layers[at].full;
                let [weights, bias] = tensors.packed_bytes(spec, lowered);
                program.prepare_bytes(&tensors.src_bytes(spec), &weights, &bias)?;
                Ok(vec![elements_of(spec, program.run_bytes(spec, *index, tensors.batch)?)])
            }
            (Name::Rust, None) => Err("the Rust backend was not compiled".to_owned()),
        }
    }

    fn jit<T: Float>(&self, layer: Selected<'_>, cases: &Cases<T>) -> Result<Results<T>, String> {
        let kernel = compute::compile(layer, &cases.spec, &self.compiler).map_err(|e| e.to_string())?;
        let run = |threads| compute::run_kernel(&kernel, threads, &cases.random);
        let mut random = vec![run(1)?];
        if self.threads > 1 {
            random.push(run(self.threads)?);
        }
        let exact = compute::compile(layer, &cases.exact, &self.compiler).map_err(|e| e.to_string())?;
        let whole = compute::run_kernel(&exact, self.threads, &cases.whole)?;
        let [algorithm, whole_algorithm] = [kernel, exact].map(|kernel| kernel.plan().algorithm);
        Ok(Results { algorithm, whole_algorithm, whole, random })
    }
}

/// The two sets of data at the same time, since the interpreter uses one thread.
fn interpret<T: Float>(layer: Selected<'_>, target: &Target, cases: &Cases<T>) -> Result<Results<T>, String> {
    let run = |spec, tensors| {
        let lowered = compute::lower_layer(layer, spec, target).map_err(|e| e.to_string())?;
        let dst = compute::interpret(spec, &lowered, tensors).map_err(|e| e.to_string())?;
        Ok::<_, String>((lowered.plan.algorithm, dst))
    };
    let (whole, random) = rayon::join(|| run(&cases.exact, &cases.whole), || run(&cases.spec, &cases.random));
    let ((whole_algorithm, whole), (algorithm, random)) = (whole?, random?);
    Ok(Results { algorithm, whole_algorithm, whole, random: vec![random] })
}

/// Emits and compiles every layer.
fn emit(layers: &[Selected<'_>], target: &Target) -> Result<Emitted, Failure> {
    let mut kernels = Vec::new();
    let mut emitted = Vec::new();
    for layer in layers {
        let mut kernel = |spec: &LayerSpec| {
            // The algorithm of the other backends: fewer registers may make another one the fastest.
            let mut spec = spec.clone();
            let algorithm = compute::lower_layer(*layer, &spec, target)?.plan.algorithm;
            spec.schedule.algorithm = Some(Spanned::new(algorithm, Span::default()));
            let lowered = compute::lower_for_rust(*layer, &spec, target)?;
            kernels.push(lowered.kernel.clone());
            Ok::<_, Failure>(EmittedKernel { lowered, index: kernels.len() - 1 })
        };
        let full = kernel(layer.spec)?;
        let without = exact(layer.spec);
        let exact = if without == *layer.spec { full.clone() } else { kernel(&without)? };
        emitted.push(EmittedLayer { full, exact });
    }
    let program = Program::compile(&kernels.iter().collect::<Vec<_>>())?;
    Ok(Emitted { program, layers: emitted })
}

impl Emitted {
    fn run<T: Float>(&self, at: usize, cases: &Cases<T>) -> Result<Results<T>, String> {
        let layer = &self.layers[at];
        let run = |kernel: &EmittedKernel, spec, tensors: &compute::Tensors<T>| {
            let weights = compute::pack(spec, &kernel.lowered, &tensors.weights);
            self.program.prepare(tensors, &weights)?;
            self.program.run(spec, kernel.index, tensors.batch)
        };
        let random = vec![run(&layer.full, &cases.spec, &cases.random)?];
        let whole = run(&layer.exact, &cases.exact, &cases.whole)?;
        let [algorithm, whole_algorithm] = [&layer.full, &layer.exact].map(|kernel| kernel.lowered.plan.algorithm);
        Ok(Results { algorithm, whole_algorithm, whole, random })
    }
}
