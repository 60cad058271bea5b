//! A layer to a kernel.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use convoke_core::eval::Float;
use convoke_core::pipeline::{self, Compiled};
use convoke_core::plan::Plan;
use convoke_core::spec::{LayerSpec, LayerTemplate, Limits, NetworkSpec, Sizes, SpecTextError};
use convoke_core::target::Target;
use convoke_jit::{Element, Program};

use crate::dynamic::Dynamic;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::network::Network;
use crate::parameters::Parameters;
use crate::stream::Stream;
use crate::threads::Pools;

/// Compiles `spec` for this machine, to run on one thread unless told otherwise.
///
/// # Errors
/// As [`Compiler::compile`].
pub fn compile(spec: &LayerSpec) -> Result<Kernel, Error> {
    Compiler::new().compile(spec)
}

/// How layers are compiled. Kernels of one compiler share their threads.
///
/// ```
/// let compiler = convoke::Compiler::new().threads(2);
/// let kernel = compiler.compile(&"conv1d blur { input: f32[1, 1, 64], out_channels: 1, kernel_size: 5 }".parse()?)?;
/// assert_eq!(kernel.threads(), 2);
/// # Ok::<(), convoke::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Compiler {
    target: Target,
    limits: Limits,
    threads: usize,
    pools: Arc<Pools>,
}

impl Default for Compiler {
    fn default() -> Self {
        Self::new()
    }
}

impl Compiler {
    /// For this machine, with the default limits, one thread.
    pub fn new() -> Self {
        let target = convoke_jit::native_target();
        Self { target, limits: Limits::default(), threads: 1, pools: Arc::default() }
    }

    /// Plans for `target`. Its instruction set must be one that the run-time backend encodes.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// How many threads, and where they are from.
    pub(crate) fn team(&self) -> (usize, Arc<Pools>) {
        (self.threads, self.pools.clone())
    }

    /// What is planned for.
    pub(crate) fn target_ref(&self) -> &Target {
        &self.target
    }

    /// What a layer may ask for.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// On how many threads kernels and networks run; 0 counts as 1. The thread that calls is one of them. Of several runs at the same time one has the
    /// others, the rest run on their own threads alone.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Plans, lowers, verifies and compiles `spec`.
    ///
    /// # Errors
    /// If its schedule cannot hold, if it takes more code than the limits allow, or if this machine cannot run the
    /// target's code.
    pub fn compile(&self, spec: &LayerSpec) -> Result<Kernel, Error> {
        self.compile_planned(spec, None)
    }

    /// As [`Compiler::compile`], as `plan` says if there is one, which was chosen for the layer.
    pub(crate) fn compile_planned(&self, spec: &LayerSpec, plan: Option<Plan>) -> Result<Kernel, Error> {
        let compiled = match plan {
            Some(plan) => pipeline::compile_plan(spec, plan, &self.target, &self.limits),
            None => pipeline::compile(spec, &self.target, &self.limits),
        };
        let Compiled { plan, kernel } =
            compiled.map_err(|source| Error::Compile { layer: spec.name.clone(), source })?;
        let program = Program::compile(&kernel)?;
        Ok(Kernel::new(spec.clone(), plan, self.target.clone(), kernel, program, self.threads, self.pools.clone()))
    }

    /// Compiles every layer of a network and packs its weights: `parameters` gives the elements of those that
    /// [`Node::parameters`](convoke_core::spec::Node::parameters) names, such as `stem.weight`.
    ///
    /// # Errors
    /// As [`Compiler::compile`], and if a parameter is missing or of another length.
    pub fn network<'p, T: Float>(
        &self,
        spec: &NetworkSpec,
        parameters: impl Fn(&str) -> Option<&'p [T]>,
    ) -> Result<Network<T>, Error> {
        Network::new(self, spec, |name, _| Ok(parameters(name).map(Cow::Borrowed)))
    }

    /// As [`Compiler::network`], with the parameters in a file, which are read and packed one by one.
    ///
    /// # Errors
    /// As [`Compiler::network`] and [`Parameters::read`].
    pub fn network_from<T: Float>(&self, spec: &NetworkSpec, parameters: &mut Parameters) -> Result<Network<T>, Error> {
        Network::new(self, spec, |name, room| Ok(parameters.read_in(name, room)?.map(Cow::Owned)))
    }

    /// Reads a network and its parameters from files and compiles it, as [`Network::load`] does.
    ///
    /// # Errors
    /// As [`Compiler::network`], and if a file cannot be read or does not say what it should.
    pub fn load<T: Float>(&self, conv: &Path, parameters: &Path) -> Result<Network<T>, Error> {
        let failed = |reason: String| Error::File { path: conv.to_owned(), reason };
        let text = std::fs::read_to_string(conv).map_err(|e| failed(e.to_string()))?;
        let spec: NetworkSpec = text.parse().map_err(|e: SpecTextError| failed(format!("\n{e}")))?;
        self.network_from(&spec, &mut Parameters::open(parameters)?)
    }

    /// A layer for any numbers of the names in its text, which keeps the kernels of the `capacity` sizes that were used last; 0 counts as 1.
    pub fn dynamic(&self, template: LayerTemplate, capacity: usize) -> Dynamic {
        Dynamic::new(template, self.clone(), capacity)
    }

    /// Compiles the layer that `template` is with `sizes`.
    pub(crate) fn compile_bound(&self, template: &LayerTemplate, sizes: &Sizes) -> Result<Kernel, Error> {
        self.compile(&template.with(sizes, &self.limits)?)
    }

    /// Compiles a `conv1d` layer for a signal that comes in blocks, which may be longer or shorter in all than the layer's input. Weights, bias
    /// and numbers of channels are those that [`Kernel::pack_with`] takes.
    ///
    /// A stream plans for the blocks that come: of the layer's schedule and accuracy it keeps that sums are as exact as they stand.
    ///
    /// # Errors
    /// As [`Compiler::compile`] and [`Kernel::pack_with`], and if the layer has no stream: [`NotStreamed`](crate::NotStreamed) says why.
    pub fn stream<T: Element>(
        &self,
        spec: &LayerSpec,
        weights: &[T],
        bias: Option<&[T]>,
        channels: &[&[T]],
    ) -> Result<Stream<T>, Error> {
        Stream::new(self, spec, &self.limits, weights, bias, channels)
    }
}
