//! Where the values of a network lie while it runs: in one piece of memory, two of them in the same place where one is made after the other is
//! used for the last time.
//!
//! Values are placed in the order of their sizes, the greatest first, each at the lowest offset at which nothing lies that lives when it does (Pisarchyk
//! and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020). That depends on the network alone.
//!
//! Some lie within another: what `flatten` and `reshape` make is what they take, and of one image what is one run of elements on both ends of a
//! move. The parts of a `concat` are made where they are joined, and what a `slice` takes stays where it is.

use std::ops::RangeInclusive;

use super::StepMemory;
use crate::spec::{BLOCK_BYTES, Move, Moves, NetworkSpec, NodeKind};

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The user gives it: within the input of that number, from that element of an image on.
    Input(usize, usize),
    /// From that element of the arena on, for each image: times the batch.
    Arena(usize),
}

/// The plan of a network's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// Where each value is.
    pub places: Vec<Place>,
    /// For each layer whether its value lies in what it takes, so that there is nothing to do.
    pub views: Vec<bool>,
    /// Elements for each image.
    pub len: usize,
    /// Elements in which recurrent layers work, one layer and one image after the other: not times the batch.
    pub scratch: usize,
}

impl Arena {
    /// Plans the memory of `network`. Outputs are kept to the end.
    pub fn of(network: &NetworkSpec) -> Self {
        let (within, views) = within(network);
        let lives = lives(network, &within);
        // A cache line, so that no two values share one.
        let line = BLOCK_BYTES / network.storage().bytes();
        let len = |value: usize| network.values[value].shape.image().next_multiple_of(line);
        let mut order: Vec<usize> = (network.inputs..within.len()).filter(|&value| within[value].0 == value).collect();
        order.sort_by_key(|&value| (std::cmp::Reverse(len(value)), value));
        let mut placed: Vec<(usize, usize)> = Vec::new();
        let mut total = 0;
        for value in order {
            let overlaps =
                |other: usize| lives[other].start() <= lives[value].end() && lives[value].start() <= lives[other].end();
            let mut offset = 0;
            // Sorted by offset: the first gap that is large enough.
            for &(start, other) in placed.iter().filter(|&&(_, other)| overlaps(other)) {
                if offset + len(value) <= start {
                    break;
                }
                offset = offset.max(start + len(other));
            }
            let at = placed.partition_point(|&(start, _)| start <= offset);
            placed.insert(at, (offset, value));
            total = total.max(offset + len(value));
        }
        let mut offsets = vec![0; within.len()];
        placed.iter().for_each(|&(offset, value)| offsets[value] = offset);
        let place = |&(owner, from): &(usize, usize)| match owner {
            owner if owner < network.inputs => Place::Input(owner, from),
            owner => Place::Arena(offsets[owner] + from),
        };
        let places: Vec<Place> = within.iter().map(place).collect();
        let views = network.nodes.iter().map(|node| views[node.output]).collect();
        let recurrent = network.nodes.iter().map(|node| match &node.kind {
            NodeKind::Recurrent(recurrent) => StepMemory::of(recurrent).len,
            _ => 0,
        });
        let scratch = recurrent.max().unwrap_or(0);
        Self { places, views, len: total, scratch }
    }
}

/// For each value the one in whose memory it lies, mostly itself, and from which element on; and whether that is what its layer takes.
fn within(network: &NetworkSpec) -> (Vec<(usize, usize)>, Vec<bool>) {
    let mut parents: Vec<Option<(usize, usize)>> = vec![None; network.values.len()];
    let mut views = vec![false; network.values.len()];
    for node in network.nodes.iter().filter(|node| node.kind.is_view()) {
        parents[node.output] = Some((node.inputs[0], 0));
        views[node.output] = true;
    }
    let of_one_image = network.fixed_batch() == Some(1);
    let moving = network.nodes.iter().filter(|_| of_one_image).filter_map(|node| Some((node, network.moves(node)?)));
    for (node, Moves { fill, moves }) in moving.collect::<Vec<_>>() {
        let len = |value: usize| network.values[value].shape.image();
        if matches!(node.kind, NodeKind::Concat { .. }) {
            if fill.is_some() {
                continue;
            }
            for one in &moves {
                let part = node.inputs[one.input];
                let is_whole = one.from == 0 && one.run() == Some(len(part));
                if is_whole && part >= network.inputs && parents[part].is_none() {
                    parents[part] = Some((node.output, one.to));
                }
            }
        } else if let ([Move { from, .. }], None) = (&moves[..], fill)
            && moves[0].run() == Some(len(node.output))
            && parents[node.output].is_none()
        {
            parents[node.output] = Some((node.inputs[0], *from));
            views[node.output] = true;
        }
    }
    let mut all: Vec<(usize, usize)> = (0..parents.len()).map(|value| (value, 0)).collect();
    for place in &mut all {
        while let Some((parent, from)) = parents[place.0] {
            *place = (parent, place.1 + from);
        }
    }
    (all, views)
}

/// From which layer to which each value's memory is needed, counted so that an input is there before the first.
fn lives(network: &NetworkSpec, within: &[(usize, usize)]) -> Vec<RangeInclusive<usize>> {
    let mut ends: Vec<Option<(usize, usize)>> = vec![None; within.len()];
    let mut needed = |value: usize, at: usize| {
        let (from, to) = ends[within[value].0].get_or_insert((at, at));
        (*from, *to) = ((*from).min(at), (*to).max(at));
    };
    (0..network.inputs).for_each(|input| needed(input, 0));
    for (at, node) in network.nodes.iter().enumerate() {
        node.inputs.iter().chain([&node.output]).for_each(|&value| needed(value, at + 1));
    }
    network.outputs.iter().for_each(|&output| needed(output, network.nodes.len() + 1));
    ends.into_iter().map(|ends| ends.map_or(0..=0, |(from, to)| from..=to)).collect()
}

#[cfg(test)]
#[path = "arena_tests.rs"]
mod tests;
