//! Where the values of a network lie while it runs: in one piece of memory, two of them in the same place where one is made after the other is
//! used for the last time.
//!
//! Values are placed in the order of their sizes, the greatest first, each at the lowest offset at which nothing lies that lives when it does (Pisarchyk
//! and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020). That depends on the network alone.
//!
//! Some lie within another: what `flatten` makes is what it takes, and the parts of a `concat` of one image are made where they are joined, if their
//! channels are not side by side with those of the others.

use std::ops::RangeInclusive;

use crate::spec::{BLOCK_BYTES, Layout, NetworkSpec, NodeKind};

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The user gives it: the input of that number.
    Input(usize),
    /// From that element of the arena on, for each image: times the batch.
    Arena(usize),
}

/// The plan of a network's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// Where each value is.
    pub places: Vec<Place>,
    /// Elements for each image.
    pub len: usize,
}

impl Arena {
    /// Plans the memory of `network`. Outputs are kept to the end.
    pub fn of(network: &NetworkSpec) -> Self {
        let within = within(network);
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
            owner if owner < network.inputs => Place::Input(owner),
            owner => Place::Arena(offsets[owner] + from),
        };
        Self { places: within.iter().map(place).collect(), len: total }
    }
}

/// For each value the one in whose memory it lies, mostly itself, and from which element on.
fn within(network: &NetworkSpec) -> Vec<(usize, usize)> {
    let mut parents: Vec<Option<(usize, usize)>> = vec![None; network.values.len()];
    for node in network.nodes.iter().filter(|node| node.kind == NodeKind::Flatten) {
        parents[node.output] = Some((node.inputs[0], 0));
    }
    let joined = |shape: &crate::spec::TensorShape| {
        network.fixed_batch() == Some(1) && (shape.layout != Layout::ChannelsLast || shape.pixels() == 1)
    };
    for node in network.nodes.iter().filter(|node| node.kind == NodeKind::Concat) {
        let mut from = 0;
        for &part in &node.inputs {
            let shape = &network.values[part].shape;
            if part >= network.inputs && parents[part].is_none() && joined(shape) {
                parents[part] = Some((node.output, from));
            }
            from += shape.image();
        }
    }
    let mut all: Vec<(usize, usize)> = (0..parents.len()).map(|value| (value, 0)).collect();
    for place in &mut all {
        while let Some((parent, from)) = parents[place.0] {
            *place = (parent, place.1 + from);
        }
    }
    all
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
