//! Networks: a kernel for each layer, and one piece of memory for what lies between them.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use convoke_core::eval::Float;
use convoke_core::plan::{Arena, Place};
use convoke_core::spec::{LayerSpec, Layout, NetworkSpec, Node, NodeKind, TensorShape};

use crate::compiler::Compiler;
use crate::error::Error;
use crate::kernel::{Kernel, Packed, Tensors};
use crate::memory::{Memory, as_bytes, as_bytes_mut};

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
    /// For each layer its kernel and what it is packed from; none for those that only move elements.
    kernels: Vec<Option<(Kernel, Packed<T>)>>,
    arena: Arena,
    /// Arenas of runs that have ended.
    idle: Mutex<Vec<Memory>>,
}

impl<T: Float> Network<T> {
    pub(crate) fn new<'p>(
        compiler: &Compiler,
        spec: &NetworkSpec,
        parameters: impl Fn(&str) -> Option<&'p [T]>,
    ) -> Result<Self, Error> {
        if spec.storage() != T::STORAGE {
            let (expected, given) = (spec.storage().name(), T::STORAGE.name());
            return Err(Error::NetworkType { network: spec.name.clone(), expected, given });
        }
        let kernel = |node: &Node| -> Result<_, Error> {
            let Some(layer) = node.kind.spec() else { return Ok(None) };
            let given = Self::parameters_of(spec, node, &parameters)?;
            let kernel = compiler.compile(layer)?;
            let packed = pack(&kernel, layer, &given)?;
            Ok(Some((kernel, packed)))
        };
        let kernels = spec.nodes.iter().map(kernel).collect::<Result<_, _>>()?;
        Ok(Self { spec: spec.clone(), kernels, arena: Arena::of(spec), idle: Mutex::default() })
    }

    /// What `parameters` has for a layer, in the layer's order.
    fn parameters_of<'p>(
        spec: &NetworkSpec,
        node: &Node,
        parameters: &impl Fn(&str) -> Option<&'p [T]>,
    ) -> Result<Vec<&'p [T]>, Error> {
        let one = |parameter: convoke_core::spec::Parameter| {
            let given = parameters(&parameter.name);
            match given {
                Some(elements) if elements.len() == parameter.len => Ok(elements),
                _ => Err(Error::NetworkParameter {
                    network: spec.name.clone(),
                    name: parameter.name,
                    expected: parameter.len,
                    given: given.map(<[T]>::len),
                }),
            }
        };
        node.parameters().into_iter().map(one).collect()
    }

    /// The network.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// The kernel of the layer of that name, if it has one.
    pub fn kernel(&self, layer: &str) -> Option<&Kernel> {
        let at = self.spec.nodes.iter().position(|node| node.name == layer)?;
        self.kernels[at].as_ref().map(|(kernel, _)| kernel)
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
        let batch = self.check(inputs, outputs)?;
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = idle().pop().unwrap_or_default();
        let result = self.run_in(&mut memory, batch, inputs, outputs);
        idle().push(memory);
        result
    }

    fn run_in(
        &self,
        memory: &mut Memory,
        batch: usize,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
    ) -> Result<(), Error> {
        let elements = self.arena.len.saturating_mul(batch);
        let lines = elements.div_ceil(Memory::per_line::<T>());
        let arena = memory.grow(lines).and_then(|()| Some(memory.split::<T>(lines)?.0));
        let arena = arena.ok_or_else(|| Error::NetworkMemory { network: self.spec.name.clone(), elements })?;
        for (node, kernel) in self.spec.nodes.iter().zip(&self.kernels) {
            if node.kind != NodeKind::Flatten {
                self.node(node, kernel.as_ref(), batch, inputs, arena)?;
            }
        }
        for (output, &value) in outputs.iter_mut().zip(&self.spec.outputs) {
            output.copy_from_slice(match self.arena.places[value] {
                Place::Input(input) => inputs[input],
                Place::Arena(_) => &arena[self.range(value, batch)],
            });
        }
        Ok(())
    }

    /// Makes the value of one layer.
    fn node(
        &self,
        node: &Node,
        kernel: Option<&(Kernel, Packed<T>)>,
        batch: usize,
        inputs: &[&[T]],
        arena: &mut [T],
    ) -> Result<(), Error> {
        let own = self.range(node.output, batch);
        let (before, rest) = arena.split_at_mut(own.start);
        let (dst, behind) = rest.split_at_mut(own.len());
        // Nothing that a layer reads lies where it writes.
        let source = |&value: &usize| match self.arena.places[value] {
            Place::Input(input) => inputs[input],
            Place::Arena(_) => {
                let at = self.range(value, batch);
                if at.end <= own.start { &before[at] } else { &behind[at.start - own.end..at.end - own.end] }
            }
        };
        match kernel {
            Some((kernel, packed)) => {
                let residual = node.inputs.get(1).map(|value| as_bytes(source(value)));
                let src = as_bytes(source(&node.inputs[0]));
                let tensors = Tensors { residual, ..Tensors::new(src, as_bytes_mut(dst)) };
                kernel.run_idle(kernel.threads(), packed, tensors)?;
            }
            None => {
                let start = if let NodeKind::Slice { start } = node.kind { start } else { 0 };
                let mut channel = 0;
                for value in &node.inputs {
                    let from = (&self.spec.values[*value].shape, start);
                    let to = (&self.spec.values[node.output].shape, channel);
                    channel += from.0.channels;
                    let at = self.range(*value, batch);
                    if matches!(self.arena.places[*value], Place::Arena(_))
                        && own.start <= at.start
                        && at.end <= own.end
                    {
                        // A part of one image, that has been made here: where it belongs, or it stands twice.
                        let (from, to) = (at.start - own.start, to.0.index(to.1, 0));
                        if from != to {
                            dst.copy_within(from..at.end - own.start, to);
                        }
                        continue;
                    }
                    copy_channels(batch, (from, source(value)), (to, dst));
                }
            }
        }
        Ok(())
    }

    /// Where in the arena a value is that lies there.
    fn range(&self, value: usize, batch: usize) -> Range<usize> {
        let Place::Arena(offset) = self.arena.places[value] else { return 0..0 };
        let start = offset * batch;
        start..start + self.spec.values[value].shape.image() * batch
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

/// Copies as many channels as both have, from a channel of one tensor on to a channel of the other. Both begin with a block, if there are such.
fn copy_channels<T: Copy>(
    batch: usize,
    ((from, first), src): ((&TensorShape, usize), &[T]),
    ((to, start), dst): ((&TensorShape, usize), &mut [T]),
) {
    let channels = (from.channels - first).min(to.channels - start);
    let pixels = from.pixels();
    // How many runs an image has, how long each is, and where a run starts.
    let (runs, len) = match from.layout {
        Layout::ChannelsLast => (pixels, channels),
        _ => (1, from.stored(channels) * pixels),
    };
    let at =
        |shape: &TensorShape, channel: usize, n: usize, pixel: usize| n * shape.image() + shape.index(channel, pixel);
    for n in 0..batch {
        for run in 0..runs {
            let (read, write) = (at(from, first, n, run), at(to, start, n, run));
            dst[write..write + len].copy_from_slice(&src[read..read + len]);
        }
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
