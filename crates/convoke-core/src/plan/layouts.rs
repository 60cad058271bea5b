//! Which layout each value of a network has inside: plain at the edges, between them what makes the layers cheapest.
//!
//! A layer has one layout for what it takes and makes. Each layout of each layer has a price, the planner's estimate; where a value is wanted in
//! another layout than it is made in, its elements are moved once. From all layers in one layout each, and from each layer in its own cheapest,
//! layers are changed one by one as long as that lowers the sum: the least of those ends is taken.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Plan;
use super::choose::choose_with;
use super::winograd::Products;
use crate::spec::{
    Groups, LayerSpec, Layout, Loop, Moves, NetworkSpec, NetworkValue, Node, NodeKind, Recurrent, Schedule, TensorShape,
};
use crate::target::Target;

const LAYOUTS: [Layout; 3] = [Layout::ChannelsFirst, Layout::ChannelsLast, Layout::Blocked];

/// Cycles to move an element that has no neighbour beside it on both ends.
const SINGLE: f64 = 2.5;
/// Cycles to start a run of elements.
const RUN: f64 = 8.0;
/// Cycles to move a byte of a run.
const BYTE: f64 = 0.15;
/// Times as long as moving it that it takes to make a byte of others.
const MIXED: f64 = 2.0;
/// Channels from which on sums over them have nothing to gain from channels that lie apart.
const DENSE: usize = 16;
/// Times that all layers are looked at; they are hardly ever changed in the third.
const ROUNDS: usize = 8;

/// Plans of layers, by [`like`].
pub type Plans = HashMap<String, Plan>;

/// The text that layers share which are alike but for their names.
pub fn like(spec: &LayerSpec) -> String {
    LayerSpec { name: "like".to_owned(), ..spec.clone() }.to_string()
}

/// The same network with other layouts inside: what it takes and gives is as it was, and parameters have the same names. And its price, and the plans of its
/// layers beside those that are known.
pub(super) fn choose_layouts(network: &NetworkSpec, target: &Target, known: Plans) -> (NetworkSpec, f64, Plans) {
    let prices = Prices::of(network, target, known);
    let starts = LAYOUTS.map(|layout| prices.start(|options| options.iter().find(|option| option.0 == layout)));
    let own = prices.start(|options| options.iter().min_by(|a, b| a.1.total_cmp(&b.1)));
    let ends = starts.into_iter().chain([own]).map(|start| prices.improve(start));
    let best = ends.min_by(|a, b| prices.total(a).total_cmp(&prices.total(b)));
    let price = best.as_ref().map_or(0.0, |layouts| prices.total(layouts));
    let arranged = best.map_or_else(|| network.clone(), |layouts| rewrite(network, &layouts));
    (arranged, price, prices.plans)
}

type Priced = (Layout, f64);

/// What it costs to have layers and values in layouts.
struct Prices<'a> {
    network: &'a NetworkSpec,
    plans: Plans,
    /// For each layer the layouts that it may have, of what it takes.
    options: Vec<Vec<Priced>>,
    /// For each value the layer that makes it and those that take it.
    makers: Vec<Option<usize>>,
    takers: Vec<Vec<usize>>,
    /// For each value what moving it costs.
    moving: Vec<f64>,
}

impl<'a> Prices<'a> {
    fn of(network: &'a NetworkSpec, target: &Target, mut plans: Plans) -> Self {
        let mut known = Products::new();
        let mut alone = network.clone();
        let mut price = |spec: &LayerSpec| -> Option<f64> {
            let text = like(spec);
            if let Some(plan) = plans.get(&text) {
                return Some(plan.cost.total());
            }
            // What is legal in another layout is for the language to say.
            let plan = choose_with(&text.parse().ok()?, target, &mut known).ok()?;
            let cost = plan.cost.total();
            plans.insert(text, plan);
            Some(cost)
        };
        let options = network.nodes.iter().map(|node| {
            let own = network.values[node.inputs[0]].shape.layout;
            let may = |layout: Layout| {
                layout == own && !may_change(node) || may_change(node) && is_worth_a_look(node, layout)
            };
            let all = LAYOUTS.into_iter().filter(|&layout| may(layout));
            let priced = all.filter_map(|layout| {
                let changed = relaid(network, node, layout)?;
                match changed.kind.spec() {
                    Some(spec) => Some((layout, price(spec)?)),
                    // Those cost the same in every layout that they may have.
                    None if matches!(node.kind, NodeKind::Recurrent(_) | NodeKind::QuantizeDynamic) => {
                        Some((layout, 0.0))
                    }
                    None if matches!(node.kind, NodeKind::Interpolate(_)) => {
                        Some((layout, interpolated(&network.values[node.output].shape, layout)))
                    }
                    None if matches!(node.kind, NodeKind::Norm(_)) => {
                        Some((layout, normalized(&network.values[node.output].shape)))
                    }
                    None => Some((layout, moved(&mut alone, &changed, layout)?)),
                }
            });
            let mut options: Vec<Priced> = priced.collect();
            if options.is_empty() {
                options.push((own, 0.0));
            }
            options
        });
        let options: Vec<Vec<Priced>> = options.collect();
        let mut makers = vec![None; network.values.len()];
        let mut takers = vec![Vec::new(); network.values.len()];
        for (at, node) in network.nodes.iter().enumerate() {
            makers[node.output] = Some(at);
            node.inputs.iter().for_each(|&value| takers[value].push(at));
        }
        let moving = |value: &NetworkValue| match &value.shape {
            shape if shape.pixels() == 1 => RUN,
            shape => shape.image() as f64 * SINGLE,
        };
        Self { network, plans, options, makers, takers, moving: network.values.iter().map(moving).collect() }
    }

    /// The option of each layer that is picked, or its first.
    fn start<'s>(&'s self, pick: impl Fn(&'s [Priced]) -> Option<&'s Priced>) -> Vec<Layout> {
        self.options.iter().map(|options| pick(options).unwrap_or(&options[0]).0).collect()
    }

    fn own(&self, at: usize, layout: Layout) -> f64 {
        self.options[at].iter().find(|option| option.0 == layout).map_or(0.0, |option| option.1)
    }

    /// What is paid for a value's moves.
    fn value(&self, value: usize, layouts: &[Layout]) -> f64 {
        let shape = &self.network.values[value].shape;
        let made = match self.makers[value] {
            Some(maker) => made_in(&self.network.nodes[maker], shape, layouts[maker]),
            None => shape.layout,
        };
        let given = self.network.outputs.contains(&value).then_some(shape.layout);
        let mut wanted: Vec<Layout> = self.takers[value].iter().map(|&taker| layouts[taker]).chain(given).collect();
        wanted.retain(|layout| *layout != made);
        LAYOUTS.iter().filter(|layout| wanted.contains(layout)).count() as f64 * self.moving[value]
    }

    /// What is paid for a layer and the values around it.
    fn around(&self, at: usize, layouts: &[Layout]) -> f64 {
        let node = &self.network.nodes[at];
        let values: HashSet<usize> = node.inputs.iter().copied().chain([node.output]).collect();
        self.own(at, layouts[at]) + values.into_iter().map(|value| self.value(value, layouts)).sum::<f64>()
    }

    fn total(&self, layouts: &[Layout]) -> f64 {
        let layers: f64 = layouts.iter().enumerate().map(|(at, &layout)| self.own(at, layout)).sum();
        layers + (0..self.network.values.len()).map(|value| self.value(value, layouts)).sum::<f64>()
    }

    fn improve(&self, mut layouts: Vec<Layout>) -> Vec<Layout> {
        for _ in 0..ROUNDS {
            let before = layouts.clone();
            for at in 0..layouts.len() {
                let mut best = (self.around(at, &layouts), layouts[at]);
                for &(layout, _) in &self.options[at] {
                    layouts[at] = layout;
                    let price = self.around(at, &layouts);
                    if price < best.0 {
                        best = (price, layout);
                    }
                }
                layouts[at] = best.1;
            }
            if layouts == before {
                break;
            }
        }
        layouts
    }
}

/// Whether a layout is looked at: recurrent layers have their channels last, and dense sums over many channels are never cheapest where channels lie apart.
fn is_worth_a_look(node: &Node, layout: Layout) -> bool {
    let is_dense = |spec: &LayerSpec| spec.groups == 1 && spec.weights_len() > 0 && spec.in_channels >= DENSE;
    // Each position is one piece of memory then, which a step takes as it is.
    if matches!(node.kind, NodeKind::Recurrent(_)) {
        return layout == Layout::ChannelsLast;
    }
    layout != Layout::ChannelsFirst || !node.kind.spec().is_some_and(is_dense)
}

/// Whether a layer may have another layout than in the text.
fn may_change(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Layer(spec) => spec.schedule == Schedule::default(),
        NodeKind::Elementwise(_) | NodeKind::BatchNorm(_) | NodeKind::Add(_) | NodeKind::Mul(_) => true,
        NodeKind::Concat { .. } | NodeKind::Slice { .. } | NodeKind::Pad { .. } | NodeKind::Resize { .. } => true,
        NodeKind::Reorder | NodeKind::QuantizeDynamic | NodeKind::Recurrent(_) | NodeKind::Interpolate(_) => true,
        // What follows what in memory is part of what it does.
        NodeKind::Norm(norm) => !matches!(norm.groups, Groups::Elements { .. }),
        NodeKind::Linear(_) | NodeKind::Lrn { .. } | NodeKind::Transpose { .. } => false,
        // Which sizes are the last two follows from the layout.
        NodeKind::Matmul { .. } => false,
        NodeKind::Flatten | NodeKind::Reshape => false,
    }
}

/// Whether what a layer takes there is one number a channel.
fn is_of_channels(node: &Node, input: usize) -> bool {
    node.kind.is_by_channel() && input == 1 || matches!(node.kind, NodeKind::Recurrent(_)) && input > 0
}

/// The layout of what a layer makes that takes its input in `layout`.
fn made_in(node: &Node, shape: &TensorShape, layout: Layout) -> Layout {
    if may_change(node) { layout } else { shape.layout }
}

/// The layer as it is if what it takes is in `layout`; `None` if it cannot be. Values keep their numbers.
fn relaid(network: &NetworkSpec, node: &Node, layout: Layout) -> Option<Node> {
    let shape = |value: usize| &network.values[value].shape;
    let own = shape(node.inputs[0]).layout;
    if layout == own {
        return Some(node.clone());
    }
    let dtype = shape(node.output).dtype();
    if layout == Layout::Blocked && shape(node.output).storage.bytes() != dtype.bytes() {
        return None;
    }
    // A number for each axis, in the order of the new layout.
    let rank = shape(node.output).sizes.len();
    let place = |layout: Layout| if layout == Layout::ChannelsLast { rank } else { 0 };
    let whole = |channels: usize| layout != Layout::Blocked || channels.is_multiple_of(dtype.block());
    let kind = match &node.kind {
        NodeKind::Layer(spec) => NodeKind::Layer(Box::new(with_layout(spec, layout))),
        NodeKind::Elementwise(spec) => NodeKind::Elementwise(Box::new(with_layout(spec, layout))),
        NodeKind::BatchNorm(spec) => NodeKind::BatchNorm(Box::new(with_layout(spec, layout))),
        NodeKind::Add(spec) => NodeKind::Add(Box::new(with_layout(spec, layout))),
        NodeKind::Mul(spec) => NodeKind::Mul(Box::new(with_layout(spec, layout))),
        NodeKind::Recurrent(recurrent) => {
            let projection = with_layout(&recurrent.projection, layout);
            NodeKind::Recurrent(Box::new(Recurrent { projection, ..recurrent.as_ref().clone() }))
        }
        NodeKind::Concat { axis } => {
            let (from, to) = (place(own), place(layout));
            let is_channels = *axis == from;
            let parts = &node.inputs[..node.inputs.len() - 1];
            if is_channels && !parts.iter().all(|&part| whole(shape(part).channels)) {
                return None;
            }
            let spatial = if from == 0 { axis.wrapping_sub(1) } else { *axis };
            NodeKind::Concat { axis: if is_channels { to } else { spatial + usize::from(to == 0) } }
        }
        NodeKind::Slice { from } => {
            let (start, step) = from[place(own)];
            let end = start + shape(node.output).channels;
            let is_last = end == shape(node.inputs[0]).channels;
            if layout == Layout::Blocked && !(whole(start) && (whole(end) || is_last) && step == 1) {
                return None;
            }
            NodeKind::Slice { from: permuted(from, place(own), place(layout)) }
        }
        NodeKind::Pad { before, value } if layout != Layout::Blocked || *value == 0.0 => {
            NodeKind::Pad { before: permuted(before, place(own), place(layout)), value: *value }
        }
        NodeKind::Resize { scale } => NodeKind::Resize { scale: permuted(scale, place(own), place(layout)) },
        NodeKind::Norm(norm) if norm.takes(shape(node.output), layout) => node.kind.clone(),
        // Of axes of space alone.
        NodeKind::Reorder | NodeKind::QuantizeDynamic | NodeKind::Interpolate(_) => node.kind.clone(),
        _ => return None,
    };
    Some(Node { kind, ..node.clone() })
}

fn with_layout(spec: &LayerSpec, layout: Layout) -> LayerSpec {
    LayerSpec { layout, ..spec.clone() }
}

/// The number of the channels at another place.
fn permuted<T: Clone>(of_axes: &[T], from: usize, to: usize) -> Vec<T> {
    let mut all = of_axes.to_vec();
    let channels = all.remove(from);
    all.insert(to, channels);
    all
}

/// What the moves of a layer of `network` cost whose values are in `layout`.
fn moved(network: &mut NetworkSpec, node: &Node, layout: Layout) -> Option<f64> {
    if matches!(node.kind, NodeKind::Reorder) || node.kind.is_view() {
        return Some(0.0);
    }
    let around: Vec<usize> = node.inputs.iter().copied().chain([node.output]).collect();
    let as_given: Vec<Layout> = around.iter().map(|&value| network.values[value].shape.layout).collect();
    if may_change(node) {
        around.iter().for_each(|&value| network.values[value].shape.layout = layout);
    }
    let moves = network.moves(node);
    around.iter().zip(as_given).for_each(|(&value, layout)| network.values[value].shape.layout = layout);
    let Moves { moves, .. } = moves?;
    let in_place = network.fixed_batch() == Some(1);
    let bytes = network.storage().bytes() as f64;
    let cost = moves.iter().map(|one| {
        let elements: usize = one.loops.iter().map(|one| one.len).product();
        match one.loops.last() {
            _ if one.run().is_some() && in_place => 0.0,
            Some(&Loop { len, from: 0 | 1, to: 1 }) => (elements / len) as f64 * RUN + elements as f64 * bytes * BYTE,
            _ => elements as f64 * SINGLE,
        }
    });
    Some(cost.sum())
}

/// What it costs to make an image of other sizes: an element at a time, or all channels that are side by side.
fn interpolated(made: &TensorShape, layout: Layout) -> f64 {
    let runs = match layout {
        Layout::ChannelsFirst | Layout::Pairs => return made.image() as f64 * SINGLE,
        Layout::ChannelsLast => made.pixels(),
        Layout::Blocked => made.pixels() * made.channels.div_ceil(made.dtype().block()),
    };
    let elements = (made.channels * made.pixels()) as f64;
    runs as f64 * RUN + MIXED * elements * made.storage.bytes() as f64 * BYTE
}

/// What a norm costs, which reads all elements three times: as much in any layout.
fn normalized(made: &TensorShape) -> f64 {
    3.0 * made.image() as f64 * made.storage.bytes() as f64 * BYTE
}

/// The network whose layers take what they take in `layouts`.
fn rewrite(network: &NetworkSpec, layouts: &[Layout]) -> NetworkSpec {
    // What only reorders is made anew where it is wanted, under the name that it has.
    let stays = |value: &usize| {
        !network.nodes.iter().any(|node| node.output == *value && matches!(node.kind, NodeKind::Reorder))
    };
    let stay = (0..network.values.len()).filter(stays);
    let mut names: HashSet<String> = stay.map(|value| network.values[value].name.clone()).collect();
    names.extend(network.nodes.iter().flat_map(|node| &node.norms).map(|norm| norm.name.clone()));
    let mut out = NetworkSpec { nodes: vec![], outputs: vec![], ..network.clone() };
    out.values.truncate(network.inputs);
    // Where each value is, by its layout.
    let mut places: Vec<BTreeMap<u8, usize>> = vec![BTreeMap::new(); network.values.len()];
    for (input, place) in places.iter_mut().enumerate().take(network.inputs) {
        place.insert(key(network.values[input].shape.layout), input);
    }
    for (node, &layout) in network.nodes.iter().zip(layouts) {
        let changed = relaid(network, node, layout).unwrap_or_else(|| node.clone());
        let wanted = |value: usize| if may_change(node) { layout } else { network.values[value].shape.layout };
        let inputs: Vec<usize> = node
            .inputs
            .iter()
            .enumerate()
            .map(|(i, &value)| {
                // Channels of one element lie in any layout as they are.
                if is_of_channels(node, i)
                    && let Some(&at) = places[value].values().next()
                {
                    return at;
                }
                reordered(network, &mut out, &mut places, &mut names, value, wanted(value))
            })
            .collect();
        let made = made_in(node, &network.values[node.output].shape, layout);
        if matches!(node.kind, NodeKind::Reorder) {
            places[node.output].insert(key(made), inputs[0]);
            continue;
        }
        let value = &network.values[node.output];
        let shape = TensorShape { layout: made, ..value.shape.clone() };
        out.values.push(NetworkValue { name: value.name.clone(), shape });
        let output = out.values.len() - 1;
        places[node.output].insert(key(made), output);
        out.nodes.push(Node { inputs, output, ..changed });
    }
    for &value in &network.outputs {
        let layout = network.values[value].shape.layout;
        let at = reordered(network, &mut out, &mut places, &mut names, value, layout);
        out.outputs.push(at);
    }
    out
}

fn key(layout: Layout) -> u8 {
    match layout {
        Layout::ChannelsFirst | Layout::Pairs => 0,
        Layout::ChannelsLast => 1,
        Layout::Blocked => 2,
    }
}

/// Where a value is in a layout, to which it is moved if it is not there yet.
fn reordered(
    network: &NetworkSpec,
    out: &mut NetworkSpec,
    places: &mut [BTreeMap<u8, usize>],
    names: &mut HashSet<String>,
    value: usize,
    layout: Layout,
) -> usize {
    if let Some(&at) = places[value].get(&key(layout)) {
        return at;
    }
    let from = places[value].values().next().copied().unwrap_or_default();
    let NetworkValue { name, shape } = &network.values[value];
    let is_own = layout == shape.layout && !names.contains(name);
    let shape = TensorShape { layout, ..shape.clone() };
    let mut name = match is_own {
        true => name.clone(),
        false => format!("{name}_{}", layout.name(shape.sizes.len(), shape.dtype())),
    };
    while !names.insert(name.clone()) {
        name.push('_');
    }
    out.values.push(NetworkValue { name: name.clone(), shape });
    let output = out.values.len() - 1;
    out.nodes.push(Node { name, kind: NodeKind::Reorder, inputs: vec![from], output, norms: Vec::new() });
    places[value].insert(key(layout), output);
    output
}

#[cfg(test)]
#[path = "layouts_tests.rs"]
mod tests;
