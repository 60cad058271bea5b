//! Networks: a kernel for each layer, and one piece of memory for what lies between them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use convoke_core::eval::Float;
use convoke_core::plan::{Arena, Place, arrange_planned, like};
use convoke_core::spec::{LayerSpec, Moves, NetworkSpec, Node, Parameter};

use crate::compiler::Compiler;
use crate::error::Error;
use crate::kernel::{Kernel, Packed, Tensors};
use crate::memory::{Memory, as_bytes, as_bytes_mut};
use crate::workspace::Workspace;

mod moves;

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
    arranged: NetworkSpec,
    /// What makes the value of each layer.
    steps: Vec<Step<T>>,
    arena: Arena,
    /// Memory of runs that have ended.
    idle: Mutex<Vec<Room>>,
}

/// How a layer's value is made.
#[derive(Debug)]
enum Step<T> {
    /// It lies in the value that the layer takes.
    View,
    /// Elements are moved.
    Moves(Moves),
    /// A kernel runs, which layers that are alike share, with weights that have been packed.
    Kernel(Arc<Kernel>, Box<Packed<T>>),
    /// A kernel runs for each image, whose numbers of channels are another value.
    ByChannel(Arc<Kernel>),
}

/// What a run needs: the memory of the values, and that which kernels work in.
#[derive(Debug, Default)]
struct Room {
    values: Memory,
    workspace: Workspace,
}

impl<T: Float> Network<T> {
    /// Reads a network and its parameters from files and compiles it, to run on one thread: `conv` is text in Convoke's language, `parameters` is what the
    /// library safetensors writes. Parameters are read and packed one by one.
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
        let (arranged, mut plans) = arrange_planned(spec, compiler.target_ref());
        let arena = Arena::of(&arranged);
        let mut kernels: HashMap<String, Arc<Kernel>> = HashMap::new();
        let mut steps = Vec::new();
        // Memory of the parameters of earlier layers.
        let mut rooms: Vec<Vec<T>> = Vec::new();
        for (at, node) in arranged.nodes.iter().enumerate() {
            let Some(layer) = node.kind.spec() else {
                let moves = arranged.moves(node).filter(|_| !arena.views[at]);
                steps.push(moves.map_or(Step::View, Step::Moves));
                continue;
            };
            let given = Self::parameters_of(spec, node, |name| fetch(name, rooms.pop().unwrap_or_default()))?;
            let text = like(layer);
            let kernel = match kernels.get(&text) {
                Some(kernel) => kernel.clone(),
                None => {
                    let kernel = Arc::new(compiler.compile_planned(layer, plans.remove(&text))?);
                    kernels.insert(text, kernel.clone());
                    kernel
                }
            };
            steps.push(if node.kind.is_by_channel() {
                Step::ByChannel(kernel)
            } else {
                let packed = pack(&kernel, layer, &given.iter().map(Cow::as_ref).collect::<Vec<_>>())?;
                Step::Kernel(kernel, Box::new(packed))
            });
            // The first, the largest as a rule, is the first of the next layer.
            rooms.extend(given.into_iter().rev().filter_map(|given| match given {
                Cow::Owned(room) => Some(room),
                Cow::Borrowed(_) => None,
            }));
        }
        Ok(Self { spec: spec.clone(), arranged, steps, arena, idle: Mutex::default() })
    }

    /// The parameters of a layer, in the layer's order.
    fn parameters_of<'p>(
        spec: &NetworkSpec,
        node: &Node,
        mut fetch: impl FnMut(&str) -> Result<Option<Cow<'p, [T]>>, Error>,
    ) -> Result<Vec<Cow<'p, [T]>>, Error> {
        let mut one = |parameter: Parameter| match fetch(&parameter.name)? {
            Some(elements) if elements.len() == parameter.len => Ok(elements),
            given => Err(Error::NetworkParameter {
                network: spec.name.clone(),
                name: parameter.name,
                expected: parameter.len,
                given: given.map(|given| given.len()),
            }),
        };
        node.parameters().into_iter().map(&mut one).collect()
    }

    /// The network.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// The network that is computed in its place: layouts and order may be others, and layers may be one that were two.
    pub fn arranged(&self) -> &NetworkSpec {
        &self.arranged
    }

    /// The kernel of the layer of that name, if it has one.
    pub fn kernel(&self, layer: &str) -> Option<&Kernel> {
        let at = self.arranged.nodes.iter().position(|node| node.name == layer)?;
        match &self.steps[at] {
            Step::Kernel(kernel, _) | Step::ByChannel(kernel) => Some(kernel),
            Step::View | Step::Moves(_) => None,
        }
    }

    /// Bytes of the memory between layers that a run of `batch` images takes, what single kernels need for themselves not counted.
    pub fn arena_bytes(&self, batch: usize) -> usize {
        self.arena.len * batch * size_of::<T>()
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
        times.resize(self.steps.len(), Duration::ZERO);
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
        let result = self.run_in(&mut room, batch, inputs, outputs, watch);
        idle().push(room);
        result
    }

    fn run_in(
        &self,
        room: &mut Room,
        batch: usize,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        mut watch: impl FnMut(usize),
    ) -> Result<(), Error> {
        let elements = self.arena.len.saturating_mul(batch);
        let lines = elements.div_ceil(Memory::per_line::<T>());
        let arena = room.values.grow(lines).and_then(|()| Some(room.values.split::<T>(lines)?.0));
        let arena = arena.ok_or_else(|| Error::NetworkMemory { network: self.spec.name.clone(), elements })?;
        for (at, (node, step)) in self.arranged.nodes.iter().zip(&self.steps).enumerate() {
            watch(at);
            self.step(node, step, batch, inputs, arena, &mut room.workspace)?;
        }
        for (output, &value) in outputs.iter_mut().zip(&self.arranged.outputs) {
            output.copy_from_slice(match self.arena.places[value] {
                Place::Input(input, _) => &inputs[input][self.range(value, batch)],
                Place::Arena(_) => &arena[self.range(value, batch)],
            });
        }
        Ok(())
    }

    /// Makes the value of one layer.
    fn step(
        &self,
        node: &Node,
        step: &Step<T>,
        batch: usize,
        inputs: &[&[T]],
        arena: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<(), Error> {
        // What is seen as something else may lie in an input.
        if matches!(step, Step::View) {
            return Ok(());
        }
        let own = self.range(node.output, batch);
        let (before, rest) = arena.split_at_mut(own.start);
        let (dst, behind) = rest.split_at_mut(own.len());
        // Nothing that a layer reads lies where it writes, but for parts that have been made where they are joined.
        let source = |value: usize| {
            let at = self.range(value, batch);
            match self.arena.places[value] {
                Place::Input(input, _) => &inputs[input][at],
                Place::Arena(_) if at.end <= own.start => &before[at],
                Place::Arena(_) => &behind[at.start - own.end..at.end - own.end],
            }
        };
        match step {
            Step::View => {}
            Step::Kernel(kernel, packed) => {
                let residual = node.residual().map(|value| as_bytes(source(value)));
                let src = as_bytes(source(node.inputs[0]));
                let tensors = Tensors { residual, ..Tensors::new(src, as_bytes_mut(dst)) };
                kernel.run_with(kernel.threads(), workspace, packed, tensors)?;
            }
            Step::ByChannel(kernel) => {
                let (src, numbers) = (source(node.inputs[0]), source(node.inputs[1]));
                let residual = node.residual().map(source);
                let image = |values: &[T]| values.len() / batch.max(1);
                let (len, channels) = (image(src), self.arranged.values[node.inputs[0]].shape.channels);
                let images = dst.chunks_mut(len.max(1)).zip(src.chunks(len.max(1)));
                for (n, (dst, src)) in images.enumerate() {
                    let row = &numbers[n * image(numbers)..][..channels];
                    let packed = kernel.pack_with(&[], None, &[row])?;
                    let residual = residual.map(|residual| as_bytes(&residual[n * len..][..len]));
                    let tensors = Tensors { residual, ..Tensors::new(as_bytes(src), as_bytes_mut(dst)) };
                    kernel.run_with(kernel.threads(), workspace, &packed, tensors)?;
                }
            }
            Step::Moves(Moves { fill, moves: all }) => {
                if let Some(fill) = fill {
                    dst.fill(T::from_number(*fill));
                }
                for one in all {
                    let value = node.inputs[one.input];
                    let at = self.range(value, batch);
                    let is_here = matches!(self.arena.places[value], Place::Arena(_));
                    if is_here && own.start <= at.start && at.end <= own.end {
                        // A part of one image, that has been made here: where it belongs, or it stands twice.
                        let from = at.start - own.start;
                        if from != one.to {
                            dst.copy_within(from..at.end - own.start, one.to);
                        }
                        continue;
                    }
                    let image = |value: usize| self.arranged.values[value].shape.image();
                    moves::run(one, batch, (source(value), image(value)), (&mut *dst, image(node.output)));
                }
            }
        }
        Ok(())
    }

    /// Where a value is, in the arena or in the input that it lies in.
    fn range(&self, value: usize, batch: usize) -> Range<usize> {
        let (Place::Arena(offset) | Place::Input(_, offset)) = self.arena.places[value];
        let start = offset * batch;
        start..start + self.arranged.values[value].shape.image() * batch
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

fn pack<T: Float>(kernel: &Kernel, layer: &LayerSpec, given: &[&[T]]) -> Result<Packed<T>, Error> {
    let mut given = given.iter().copied();
    let weights = if layer.weights_len() > 0 { given.next().unwrap_or_default() } else { &[] };
    let bias = if layer.bias { given.next() } else { None };
    let channels: Vec<&[T]> = given.collect();
    kernel.pack_with(weights, bias, &channels)
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
