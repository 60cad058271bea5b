//! Networks: a kernel for each layer, and one piece of memory for what lies between them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use convoke_core::eval::Float;
use convoke_core::plan::arrange_planned;
use convoke_core::spec::NetworkSpec;
use convoke_jit::Executor;

use crate::compiler::Compiler;
use crate::error::Error;
use crate::kernel::{CYCLES_TO_WAKE, Kernel};
use crate::memory::Memory;
use crate::threads::Pools;
use crate::workspace::Workspace;
use layers::{Fetch, Kernels, Layers, Means, Step};

mod interpolate;
mod layers;
mod moves;
mod norm;
mod recurrent;

/// A network whose elements are `T`, compiled and with its weights packed. Any number of threads may run it at the same time.
///
/// ```
/// use convoke::{Compiler, NetworkSpec};
///
/// let spec: NetworkSpec = "network net {
///     input: f32[N, 1, 4],
///     conv1d differences { out_channels: 1, kernel_size: 2 }
///     add doubled { inputs: [differences, differences], then: relu }
/// }".parse()?;
/// let weights = [-1.0, 1.0];
/// let network = Compiler::new().network(&spec, |name| (name == "differences.weight").then_some(&weights[..]))?;
/// let mut dst = [0.0f32; 3];
/// network.run(&[&[1.0, 2.0, 5.0, 3.0]], &mut [&mut dst])?;
/// assert_eq!(dst, [2.0, 6.0, 0.0]);
/// # Ok::<(), convoke::Error>(())
/// ```
#[derive(Debug)]
pub struct Network<T> {
    spec: NetworkSpec,
    /// The same, as it is computed.
    layers: Layers<T>,
    threads: usize,
    pools: Arc<Pools>,
    /// Memory of runs that have ended.
    idle: Mutex<Vec<Room>>,
}

/// What a run needs: the memory of the values and of recurrent layers, and that which kernels work in.
#[derive(Debug, Default)]
struct Room {
    values: Memory,
    workspace: Workspace,
}

impl<T: Float> Network<T> {
    /// Reads a network and its parameters from files and compiles it, to run on one thread: `conv` is text in Convoke's language, `parameters` is what the
    /// library safetensors writes, or NumPy's `savez`. Parameters are read and packed one by one.
    ///
    /// ```no_run
    /// let network = convoke::Network::<f32>::load("net.conv".as_ref(), "net.safetensors".as_ref())?;
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Compiler::load`].
    pub fn load(conv: &Path, parameters: &Path) -> Result<Self, Error> {
        Compiler::new().load(conv, parameters)
    }

    /// Compiles `spec`, whose parameters `fetch` gives where there are such, in the memory of the array that comes with the name if it needs any.
    pub(crate) fn new<'p>(
        compiler: &Compiler,
        spec: &NetworkSpec,
        mut fetch: impl FnMut(&str, Vec<T>) -> Result<Option<Cow<'p, [T]>>, Error>,
    ) -> Result<Self, Error> {
        if spec.storage() != T::STORAGE {
            let (expected, given) = (spec.storage().name(), T::STORAGE.name());
            return Err(Error::NetworkType { network: spec.name.clone(), expected, given });
        }
        let (arranged, plans) = arrange_planned(spec, compiler.target_ref());
        let mut kernels = Kernels { compiler, plans, done: HashMap::new(), room: Memory::default() };
        let lines = kernels.packed_lines(&arranged)?;
        // What cannot be had in one piece may be had in many.
        kernels.room = Memory::zeros(lines).unwrap_or_default();
        let mut fetch = Fetch { network: &spec.name, one: &mut fetch, names: HashMap::new(), rooms: Vec::new() };
        let layers = Layers::new(arranged, &mut kernels, &mut fetch)?;
        let (threads, pools) = compiler.team();
        Ok(Self { spec: spec.clone(), layers, threads, pools, idle: Mutex::default() })
    }

    /// The network.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// The network that is computed in its place: layouts and order may be others, and layers may be one that were two.
    pub fn arranged(&self) -> &NetworkSpec {
        &self.layers.arranged
    }

    /// The kernel of the layer of that name, if it has one.
    pub fn kernel(&self, layer: &str) -> Option<&Kernel> {
        let at = self.layers.arranged.nodes.iter().position(|node| node.name == layer)?;
        match &self.layers.steps[at] {
            Step::Kernel(kernel, _) | Step::ByChannel(kernel) | Step::Matmul(kernel, _) => Some(kernel),
            Step::View | Step::Moves(_) | Step::Quantize | Step::Norm(_) => None,
            Step::Interpolate(_) | Step::Recurrent(_) => None,
        }
    }

    /// Bytes of the memory between layers, and within recurrent ones, that a run of `batch` images takes, what single kernels need for themselves not counted.
    pub fn arena_bytes(&self, batch: usize) -> usize {
        (self.layers.arena.len * batch + self.layers.arena.scratch) * size_of::<T>()
    }

    /// Computes the outputs from the inputs, both in the order of the text. Where the batch is a name, the first input says how many images.
    ///
    /// # Errors
    /// If the number of inputs or outputs or a length is not the network's, or there is no memory. The outputs are unchanged then.
    pub fn run(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<(), Error> {
        self.run_watched(inputs, outputs, |_| {})
    }

    /// As [`Network::run`], and says how long each layer of [`Network::arranged`] took.
    ///
    /// # Errors
    /// As [`Network::run`].
    pub fn run_timed(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<Vec<Duration>, Error> {
        let mut ends = vec![Instant::now()];
        self.run_watched(inputs, outputs, |at| {
            if at == 0 {
                ends.clear();
            }
            ends.push(Instant::now());
        })?;
        ends.push(Instant::now());
        // Of no images nothing takes any time.
        let mut times: Vec<Duration> = ends.windows(2).map(|pair| pair[1] - pair[0]).collect();
        times.resize(self.layers.steps.len(), Duration::ZERO);
        Ok(times)
    }

    /// Runs, and tells `watch` before each layer which it is.
    fn run_watched(&self, inputs: &[&[T]], outputs: &mut [&mut [T]], watch: impl FnMut(usize)) -> Result<(), Error> {
        let batch = self.check(inputs, outputs)?;
        if batch == 0 {
            return Ok(());
        }
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = idle().pop().unwrap_or_default();
        let is_worth_it = self.layers.cycles() * batch as f64 >= 2.0 * CYCLES_TO_WAKE;
        let run = |executor: &dyn Executor| self.run_in(executor, &mut room, batch, inputs, outputs, watch);
        let result = self.pools.team(if is_worth_it { self.threads } else { 1 }, run);
        idle().push(room);
        result?
    }

    fn run_in(
        &self,
        executor: &dyn Executor,
        room: &mut Room,
        batch: usize,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        mut watch: impl FnMut(usize),
    ) -> Result<(), Error> {
        let arena = &self.layers.arena;
        let elements = arena.len.saturating_mul(batch);
        let [lines, more] = [elements, arena.scratch].map(|len| len.div_ceil(Memory::per_line::<T>()));
        let memory = lines.checked_add(more).and_then(|all| room.values.grow(all));
        let memory = memory.and_then(|()| room.values.split::<T>(lines)).ok_or_else(|| {
            let elements = elements.saturating_add(arena.scratch);
            Error::NetworkMemory { network: self.spec.name.clone(), elements }
        })?;
        let mut means = Means { executor, workspace: &mut room.workspace };
        self.layers.run(batch, inputs, outputs, memory, &mut means, &mut watch)
    }

    /// The batch, if all lengths fit.
    fn check(&self, inputs: &[&[T]], outputs: &[&mut [T]]) -> Result<usize, Error> {
        let network = || self.spec.name.clone();
        for (what, expected, given) in
            [("inputs", self.spec.inputs, inputs.len()), ("outputs", self.spec.outputs.len(), outputs.len())]
        {
            if expected != given {
                return Err(Error::NetworkCount { network: network(), what, expected, given });
            }
        }
        let image = self.spec.values[0].shape.image();
        let batch = self.spec.fixed_batch().unwrap_or_else(|| inputs[0].len() / image);
        let lengths = inputs.iter().map(|input| input.len()).chain(outputs.iter().map(|output| output.len()));
        let values = self.spec.input_values().iter().chain(self.spec.output_values());
        for (value, given) in values.zip(lengths) {
            let expected = batch * value.shape.image();
            if expected != given {
                let (network, value) = (network(), value.name.clone());
                return Err(Error::NetworkLength { network, value, expected, given, batch });
            }
        }
        Ok(batch)
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
