//! Where elements go in layers that compute nothing: as loops over memory, which whoever runs or prints a network follows.
//!
//! A [`Move`] copies a box of elements of one image. Its loops are merged where memory goes on without a gap, so that what is left is often one run.

use super::{NetworkSpec, Node, NodeKind, TensorShape};
use crate::spec::Layout;

/// What a layer that only moves elements does with an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Moves {
    /// What the elements are that nothing is moved to, if there are any.
    pub fill: Option<f64>,
    /// The boxes, which do not overlap where they are written.
    pub moves: Vec<Move>,
}

/// A box of elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which of the layer's inputs it is part of.
    pub input: usize,
    /// The first element read, of an image.
    pub from: usize,
    /// The first element written, of an image.
    pub to: usize,
    /// Its extents, outermost first: that which goes farthest where it is written.
    pub loops: Vec<Loop>,
}

/// One extent of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// How many.
    pub len: usize,
    /// Elements from one to the next where they are read; 0 if it is the same one again.
    pub from: usize,
    /// Elements from one to the next where they are written.
    pub to: usize,
}

impl Move {
    /// Elements, if they are side by side on both ends.
    pub fn run(&self) -> Option<usize> {
        match self.loops[..] {
            [] => Some(1),
            [Loop { len, from: 1, to: 1 }] => Some(len),
            _ => None,
        }
    }

    /// Puts the loops in order, leaves out those of one step and merges those that go on where another ends.
    fn tidy(mut self) -> Self {
        self.loops.retain(|one| one.len != 1);
        self.loops.sort_by_key(|one| std::cmp::Reverse((one.to, one.from)));
        let mut merged: Vec<Loop> = Vec::new();
        for inner in std::mem::take(&mut self.loops) {
            match merged.last_mut() {
                Some(outer) if outer.from == inner.len * inner.from && outer.to == inner.len * inner.to => {
                    *outer = Loop { len: outer.len * inner.len, ..inner };
                }
                _ => merged.push(inner),
            }
        }
        self.loops = merged;
        self
    }
}

/// What is taken along one axis, and where it goes.
#[derive(Clone, Copy)]
struct Along {
    /// The axis of the input, and that of the output.
    axes: (usize, usize),
    len: usize,
    /// First index and step on each side.
    from: (usize, usize),
    to: (usize, usize),
    /// How often each element is written, one behind the other.
    repeat: usize,
}

impl Along {
    fn whole(axis: usize, len: usize) -> Self {
        Self { axes: (axis, axis), len, from: (0, 1), to: (0, 1), repeat: 1 }
    }
}

impl TensorShape {
    /// The sizes of an image as the language writes them.
    pub fn axes(&self) -> Vec<usize> {
        self.layout.declared_shape(0, self.channels, &self.sizes)[1..].to_vec()
    }

    /// Which of [`axes`](Self::axes) is that of the channels.
    pub fn channel_axis(&self) -> usize {
        if self.layout == Layout::ChannelsLast { self.sizes.len() } else { 0 }
    }

    /// Elements from one index to the next along each of [`axes`](Self::axes). In blocks, channels are those of one block.
    fn strides(&self) -> Vec<usize> {
        let axes = self.axes();
        let mut strides = vec![1; axes.len()];
        for at in (0..axes.len() - 1).rev() {
            strides[at] = strides[at + 1] * axes[at + 1];
        }
        if self.layout == Layout::Blocked {
            strides[1..].iter_mut().for_each(|stride| *stride *= self.block());
            strides[0] = 1;
        }
        strides
    }

    /// Channels of a block; 1 if there are none.
    fn block(&self) -> usize {
        if self.layout == Layout::Blocked { self.dtype().block() } else { 1 }
    }

    /// Elements from one block of channels to the next, if blocks have that many.
    fn plane(&self, block: usize) -> usize {
        if self.layout == Layout::Blocked { self.pixels() * block } else { self.strides()[self.channel_axis()] * block }
    }
}

/// The moves of a box that has these extents.
fn boxes(input: usize, (from, to): (&TensorShape, &TensorShape), along: &[Along]) -> Vec<Move> {
    let (read, written) = (from.strides(), to.strides());
    let block = from.block().max(to.block());
    let mut whole = Move { input, from: 0, to: 0, loops: Vec::new() };
    let mut channels = None;
    for one in along {
        let (step_from, step_to) = (read[one.axes.0], written[one.axes.1]);
        if block > 1 && one.axes.0 == from.channel_axis() {
            channels = Some(*one);
            continue;
        }
        whole.from += one.from.0 * step_from;
        whole.to += one.to.0 * step_to;
        whole.loops.push(Loop { len: one.len, from: one.from.1 * step_from, to: one.to.1 * step_to });
        whole.loops.push(Loop { len: one.repeat, from: 0, to: step_to });
    }
    let Some(one) = channels else { return vec![whole.tidy()] };
    let (planes, lanes) = ((from.plane(block), to.plane(block)), (read[one.axes.0], written[one.axes.1]));
    let (blocks, rest) = (one.len / block, one.len % block);
    whole.from += one.from.0 / block * planes.0;
    whole.to += one.to.0 / block * planes.1;
    let part = |len: usize, first: usize, blocks: usize| {
        let mut part = whole.clone();
        part.from += first * planes.0;
        part.to += first * planes.1;
        part.loops.push(Loop { len: blocks, from: planes.0, to: planes.1 });
        part.loops.push(Loop { len, from: lanes.0, to: lanes.1 });
        part.tidy()
    };
    let full = (blocks > 0).then(|| part(block, 0, blocks));
    full.into_iter().chain((rest > 0).then(|| part(rest, blocks, 1))).collect()
}

impl NetworkSpec {
    /// How the elements move in a layer that does nothing else; `None` of one that computes, or whose output is its input.
    pub fn moves(&self, node: &Node) -> Option<Moves> {
        let shape = |value: usize| &self.values[value].shape;
        let to = shape(node.output);
        let from = shape(*node.inputs.first()?);
        let axes = from.axes();
        let all = |shape: &TensorShape| -> Vec<Along> {
            shape.axes().iter().enumerate().map(|(axis, &len)| Along::whole(axis, len)).collect()
        };
        let mut fill = None;
        let moves = match &node.kind {
            NodeKind::Concat { axis } => {
                let mut start = 0;
                let parts = node.inputs.iter().enumerate().flat_map(|(input, &value)| {
                    let part = shape(value);
                    let mut along = all(part);
                    along[*axis].to.0 = start;
                    start += part.axes()[*axis];
                    if *axis == to.channel_axis() && value >= self.inputs {
                        // What fills up the last block is zeros already.
                        along[*axis].len = part.stored(part.channels);
                    }
                    boxes(input, (part, to), &along)
                });
                parts.collect()
            }
            NodeKind::Slice { from: taken } => {
                let along = taken.iter().zip(to.axes()).enumerate();
                let along: Vec<_> =
                    along.map(|(axis, (&from, len))| Along { from, ..Along::whole(axis, len) }).collect();
                boxes(0, (from, to), &along)
            }
            NodeKind::Pad { before, value } => {
                fill = Some(*value);
                let along = all(from).into_iter().zip(before).map(|(one, &start)| Along { to: (start, 1), ..one });
                boxes(0, (from, to), &along.collect::<Vec<_>>())
            }
            NodeKind::Transpose { axes: order } => {
                let along = order[1..]
                    .iter()
                    .enumerate()
                    .map(|(axis, &source)| Along { axes: (source - 1, axis), ..Along::whole(axis, axes[source - 1]) });
                boxes(0, (from, to), &along.collect::<Vec<_>>())
            }
            NodeKind::Reorder => {
                // The channels, then the spatial axes, wherever each side has them.
                let places = |shape: &TensorShape| {
                    let channel = shape.channel_axis();
                    let mut places = vec![channel];
                    places.extend((0..=shape.sizes.len()).filter(|&axis| axis != channel));
                    places
                };
                let along = places(from).into_iter().zip(places(to));
                let along = along.map(|(a, b)| Along { axes: (a, b), ..Along::whole(a, axes[a]) });
                boxes(0, (from, to), &along.collect::<Vec<_>>())
            }
            NodeKind::Resize { scale } => {
                let along = all(from).into_iter().zip(scale);
                let along = along.map(|(one, &repeat)| Along { to: (0, repeat), repeat, ..one });
                boxes(0, (from, to), &along.collect::<Vec<_>>())
            }
            NodeKind::Layer(_)
            | NodeKind::Linear(_)
            | NodeKind::Elementwise(_)
            | NodeKind::BatchNorm(_)
            | NodeKind::Add(_)
            | NodeKind::Mul(_)
            | NodeKind::Matmul { .. }
            | NodeKind::Lrn { .. }
            | NodeKind::Norm(_)
            | NodeKind::QuantizeDynamic
            | NodeKind::Recurrent(_)
            | NodeKind::Interpolate(_)
            | NodeKind::Flatten
            | NodeKind::Reshape => return None,
        };
        let written: usize =
            moves.iter().map(|one: &Move| one.loops.iter().map(|one| one.len).product::<usize>()).sum();
        if written < to.image() {
            // Channels that fill up the last block, if nothing else is.
            fill = fill.or(Some(0.0));
        }
        Some(Moves { fill, moves })
    }
}

#[cfg(test)]
#[path = "moves_tests.rs"]
mod tests;
