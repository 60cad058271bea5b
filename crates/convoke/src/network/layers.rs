//! The layers of a network, compiled: what makes the value of each, and where it lies.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use convoke_core::eval::{Float, Interpolator, bound, quantize_dynamic};
use convoke_core::plan::{Arena, Place, Plans, like};
use convoke_core::spec::{LayerSpec, Moves, NetworkSpec, NetworkValue, Node, NodeKind, Parameter};
use convoke_jit::Executor;

use super::norm::{self, Normalize};
use super::recurrent::Recurring;
use super::{interpolate, moves};
use crate::compiler::Compiler;
use crate::error::Error;
use crate::kernel::{Kernel, Packed, Tensors};
use crate::memory::{Memory, as_bytes, as_bytes_mut};
use crate::workspace::Workspace;

/// A network as it is computed, with its weights packed.
#[derive(Debug)]
pub(super) struct Layers<T> {
    pub(super) arranged: NetworkSpec,
    pub(super) arena: Arena,
    /// What makes the value of each layer.
    pub(super) steps: Vec<Step<T>>,
    /// For each value where it begins and how long it is, of one image.
    spans: Vec<(usize, usize)>,
    cycles: f64,
}

/// How a layer's value is made.
#[derive(Debug)]
pub(super) enum Step<T> {
    /// It lies in the value that the layer takes.
    View,
    /// Elements are moved.
    Moves(Moves),
    /// Elements are quantized, of each image for itself.
    Quantize,
    /// Groups of elements are normalized.
    Norm(Box<dyn Normalize<T>>),
    /// Elements are interpolated.
    Interpolate(Box<Interpolator>),
    /// A kernel runs, which layers that are alike share, with weights that have been packed.
    Kernel(Arc<Kernel>, Box<Packed<T>>),
    /// A kernel runs for each image, whose numbers of channels are another value.
    ByChannel(Arc<Kernel>),
    /// A kernel runs for each of so many matrices of an image, whose weights are those of another value.
    Matmul(Arc<Kernel>, usize),
    /// Positions are taken one after the other, of one image after the other.
    Recurrent(Box<Recurring<T>>),
}

/// Cycles, about, that an element takes of layers that no kernel makes.
const CYCLES_OF_ELEMENT: f64 = 1.0;

impl<T: Float> Step<T> {
    /// Cycles that one image should take which the layer makes `elements` of.
    fn cycles(&self, elements: usize) -> f64 {
        match self {
            Self::Kernel(kernel, _) | Self::ByChannel(kernel) => kernel.cycles(1),
            Self::Matmul(kernel, matrices) => kernel.cycles(*matrices),
            Self::Recurrent(layer) => layer.cycles(),
            Self::Norm(_) | Self::Interpolate(_) => CYCLES_OF_ELEMENT * elements as f64,
            Self::View | Self::Moves(_) | Self::Quantize => 0.0,
        }
    }
}

/// Kernels of layers, one for all that are alike.
pub(super) struct Kernels<'c> {
    pub(super) compiler: &'c Compiler,
    /// Plans that have been made already.
    pub(super) plans: Plans,
    pub(super) done: HashMap<String, Arc<Kernel>>,
    /// Memory for packed weights: those of all layers lie side by side, in large pages.
    pub(super) room: Memory,
}

impl Kernels<'_> {
    pub(super) fn kernel(&mut self, layer: &LayerSpec) -> Result<Arc<Kernel>, Error> {
        let text = like(layer);
        if let Some(kernel) = self.done.get(&text) {
            return Ok(kernel.clone());
        }
        let kernel = Arc::new(self.compiler.compile_planned(layer, self.plans.remove(&text))?);
        self.done.insert(text, kernel.clone());
        Ok(kernel)
    }

    /// Lines of memory that the packed weights of a network take.
    pub(super) fn packed_lines(&mut self, arranged: &NetworkSpec) -> Result<usize, Error> {
        let mut lines = 0_usize;
        for node in &arranged.nodes {
            lines = lines.saturating_add(match (&node.kind, node.kind.spec()) {
                (NodeKind::Recurrent(layer), _) => {
                    let way =
                        self.kernel(&layer.projection)?.packed_lines().saturating_add(self.packed_lines(&layer.step)?);
                    way.saturating_mul(layer.direction.ways().len())
                }
                (NodeKind::Matmul { .. }, _) => 0,
                (kind, Some(layer)) if !kind.is_by_channel() => self.kernel(layer)?.packed_lines(),
                _ => 0,
            });
        }
        Ok(lines)
    }

    /// Packs the parameters of a layer, in its order.
    pub(super) fn pack<T: Float>(
        &mut self,
        kernel: &Kernel,
        layer: &LayerSpec,
        given: &[Cow<'_, [T]>],
    ) -> Result<Packed<T>, Error> {
        let mut given = given.iter().map(Cow::as_ref);
        let weights = if layer.weights_len() > 0 { given.next().unwrap_or_default() } else { &[] };
        let bias = if layer.bias { given.next() } else { None };
        let channels: Vec<&[T]> = given.collect();
        kernel.pack_in(&mut self.room, weights, bias, &channels)
    }
}

/// Bytes of memory that is kept from one layer's parameters to the next's.
const MOST_KEPT: usize = 32 << 20;

/// The elements of a parameter, if there is one.
type Fetched<'p, T> = Result<Option<Cow<'p, [T]>>, Error>;

/// Where parameters come from.
pub(super) struct Fetch<'f, 'p, T: Clone> {
    /// The network's name.
    pub(super) network: &'f str,
    pub(super) one: &'f mut (dyn FnMut(&str, Vec<T>) -> Fetched<'p, T> + 'f),
    /// Names that stand for others there.
    pub(super) names: HashMap<String, String>,
    /// Memory of the parameters of earlier layers.
    pub(super) rooms: Vec<Vec<T>>,
}

impl<'p, T: Float> Fetch<'_, 'p, T> {
    /// Those of a layer, in its order.
    pub(super) fn all(&mut self, parameters: Vec<Parameter>) -> Result<Vec<Cow<'p, [T]>>, Error> {
        let one = |Parameter { name, len }| {
            let name = self.names.get(&name).cloned().unwrap_or(name);
            match (self.one)(&name, self.rooms.pop().unwrap_or_default())? {
                Some(elements) if elements.len() == len => Ok(elements),
                given => Err(Error::NetworkParameter {
                    network: self.network.to_owned(),
                    name,
                    expected: len,
                    given: given.map(|given| given.len()),
                }),
            }
        };
        parameters.into_iter().map(one).collect()
    }

    /// Takes back what is packed, for the next.
    pub(super) fn done(&mut self, given: Vec<Cow<'p, [T]>>) {
        // The first, the largest as a rule, is the first of the next layer.
        self.rooms.extend(given.into_iter().rev().filter_map(|given| match given {
            // Very large ones would be there beside all weights.
            Cow::Owned(room) if room.capacity() * size_of::<T>() <= MOST_KEPT => Some(room),
            _ => None,
        }));
    }
}

/// What layers are run with: who shares their loops, and what kernels work in.
pub(super) struct Means<'m> {
    pub(super) executor: &'m dyn Executor,
    pub(super) workspace: &'m mut Workspace,
}

/// The memory of a run: that of the values, and that in which recurrent layers work, each as long as [`Arena`] says.
pub(super) type Room<'r, T> = (&'r mut [T], &'r mut [T]);

impl<T: Float> Layers<T> {
    /// Compiles a network that has been arranged.
    pub(super) fn new(
        arranged: NetworkSpec,
        kernels: &mut Kernels<'_>,
        fetch: &mut Fetch<'_, '_, T>,
    ) -> Result<Self, Error> {
        let arena = Arena::of(&arranged);
        let mut steps = Vec::new();
        for (at, node) in arranged.nodes.iter().enumerate() {
            if let NodeKind::Recurrent(layer) = &node.kind {
                steps.push(Step::Recurrent(Box::new(Recurring::new(layer, &node.name, kernels, fetch)?)));
                continue;
            }
            if node.kind == NodeKind::QuantizeDynamic {
                steps.push(Step::Quantize);
                continue;
            }
            if let NodeKind::Norm(one) = &node.kind {
                let given = fetch.all(node.parameters())?;
                steps.push(Step::Norm(norm::new(one, &arranged.values[node.output].shape, &given)));
                fetch.done(given);
                continue;
            }
            if let NodeKind::Interpolate(one) = &node.kind {
                let shape = &arranged.values[node.output].shape;
                steps.push(Step::Interpolate(Box::new(Interpolator::new(one, shape))));
                continue;
            }
            let Some(layer) = node.kind.spec() else {
                let moves = arranged.moves(node).filter(|_| !arena.views[at]);
                steps.push(moves.map_or(Step::View, Step::Moves));
                continue;
            };
            let given = bound(node, fetch.all(node.parameters())?);
            let kernel = kernels.kernel(layer)?;
            steps.push(match node.kind {
                NodeKind::Matmul { matrices, .. } => Step::Matmul(kernel, matrices),
                _ if node.kind.is_by_channel() => Step::ByChannel(kernel),
                _ => {
                    let packed = kernels.pack(&kernel, layer, &given)?;
                    Step::Kernel(kernel, Box::new(packed))
                }
            });
            fetch.done(given);
        }
        let span = |(place, value): (&Place, &NetworkValue)| {
            let (Place::Arena(offset) | Place::Input(_, offset)) = *place;
            (offset, value.shape.image())
        };
        let spans = arena.places.iter().zip(&arranged.values).map(span).collect();
        let made = arranged.nodes.iter().map(|node| arranged.values[node.output].shape.image());
        let cycles = steps.iter().zip(made).map(|(step, elements)| step.cycles(elements)).sum();
        Ok(Self { arranged, arena, steps, spans, cycles })
    }

    /// Cycles that one image should take, of one core; moves of elements and what lies between them are not counted.
    pub(super) fn cycles(&self) -> f64 {
        self.cycles
    }

    /// Computes the outputs of `batch` images, whose lengths are right, and tells `watch` before each layer which it is.
    ///
    /// # Errors
    /// If there is no memory for a kernel. The outputs are unchanged then.
    pub(super) fn run(
        &self,
        batch: usize,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        (arena, scratch): Room<'_, T>,
        means: &mut Means<'_>,
        watch: &mut dyn FnMut(usize),
    ) -> Result<(), Error> {
        for (at, (node, step)) in self.arranged.nodes.iter().zip(&self.steps).enumerate() {
            watch(at);
            self.step(node, step, batch, inputs, (&mut *arena, &mut *scratch), means)?;
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
        (arena, scratch): Room<'_, T>,
        means: &mut Means<'_>,
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
                kernel.run_fitting(batch, means.executor, means.workspace, packed, tensors)?;
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
                    kernel.run_on(means.executor, means.workspace, &packed, tensors)?;
                }
            }
            Step::Matmul(kernel, matrices) => {
                let count = batch * matrices;
                let (src, weights) = (source(node.inputs[0]), source(node.inputs[1]));
                let residual = node.residual().map(source);
                let lens = [src.len(), weights.len(), dst.len()].map(|len| len / count.max(1));
                let mut room = None;
                for (at, dst) in dst.chunks_mut(lens[2].max(1)).enumerate() {
                    let packed = kernel.pack_again(&weights[at * lens[1]..][..lens[1]], &mut room)?;
                    let residual = residual.map(|residual| as_bytes(&residual[at * lens[2]..][..lens[2]]));
                    let src = as_bytes(&src[at * lens[0]..][..lens[0]]);
                    let tensors = Tensors { residual, ..Tensors::new(src, as_bytes_mut(dst)) };
                    kernel.run_on(means.executor, means.workspace, packed, tensors)?;
                }
            }
            Step::Quantize => {
                let image = self.arranged.values[node.output].shape.image().max(1);
                let images = dst.chunks_mut(image).zip(source(node.inputs[0]).chunks(image));
                images.for_each(|(dst, src)| quantize_dynamic(src, dst));
            }
            Step::Norm(one) => one.run(means.executor, source(node.inputs[0]), dst),
            Step::Interpolate(one) => interpolate::run(means.executor, one, source(node.inputs[0]), dst),
            Step::Recurrent(layer) => {
                let image = |value: usize| self.arranged.values[value].shape.image();
                let (read, made) = (image(node.inputs[0]), image(node.output));
                let src = source(node.inputs[0]);
                for (n, dst) in dst.chunks_mut(made.max(1)).enumerate() {
                    let state = |at: usize| {
                        let value = *node.inputs.get(1 + at)?;
                        Some(&source(value)[n * image(value)..][..image(value)])
                    };
                    layer.run(&src[n * read..][..read], [state(0), state(1)], dst, scratch, means)?;
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
                    moves::run(
                        means.executor,
                        one,
                        batch,
                        (source(value), image(value)),
                        (&mut *dst, image(node.output)),
                    );
                }
            }
        }
        Ok(())
    }

    /// Where a value is, in the arena or in the input that it lies in.
    fn range(&self, value: usize, batch: usize) -> Range<usize> {
        let (offset, image) = self.spans[value];
        offset * batch..(offset + image) * batch
    }
}
