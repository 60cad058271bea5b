//! What is decided across the layers of a network, before each is planned for itself.

use super::layouts::{Plans, choose_layouts, like};
use super::windows::widen;
use crate::spec::{Layout, NetworkSpec, NodeKind};
use crate::target::Target;

/// The network that is compiled in place of `network`: the same inputs, outputs and parameters, with additions and steps that stand alone in the
/// layers before them, a `linear` of a flattened image as a window of its size if that is cheaper, and each value in the layout that makes the layers cheapest; the steps of recurrent layers too.
pub fn arrange(network: &NetworkSpec, target: &Target) -> NetworkSpec {
    arrange_planned(network, target).0
}

/// As [`arrange`], with the plans that were made on the way, of more layers than there are.
pub fn arrange_planned(network: &NetworkSpec, target: &Target) -> (NetworkSpec, Plans) {
    let mut fused = fuse(network);
    let mut of_steps = Plans::new();
    for node in &mut fused.nodes {
        if let NodeKind::Recurrent(recurrent) = &mut node.kind {
            let (step, plans) = arrange_planned(&recurrent.step, target);
            recurrent.step = step;
            of_steps.extend(plans);
        }
    }
    let (mut arranged, price, mut plans) = choose_layouts(&fused, target, of_steps);
    if widen(&mut fused) {
        let (widened, other, more) = choose_layouts(&fused, target, plans);
        plans = more;
        if other < price {
            arranged = widened;
        }
    }
    (arranged, plans)
}

/// The network that is compiled in place of `network`, as text can say it: as [`arrange`], with each plan pinned by a `schedule` where a layer may have one.
/// Of recurrent layers that is what they were.
pub fn pin(network: &NetworkSpec, target: &Target) -> NetworkSpec {
    let (mut arranged, plans) = arrange_planned(network, target);
    for node in &mut arranged.nodes {
        if let NodeKind::Layer(spec) | NodeKind::Linear(spec) = &mut node.kind
            && let Some(plan) = plans.get(&like(spec))
        {
            spec.schedule = plan.to_schedule();
        }
    }
    arranged
}

/// Puts layers that compute nothing but steps into the layers whose result they take, where nobody else takes it.
fn fuse(network: &NetworkSpec) -> NetworkSpec {
    let mut fused = network.clone();
    while let Some((maker, taker)) = (0..fused.nodes.len()).find_map(|at| Some((fusible(&fused, at)?, at))) {
        let first = fused.nodes[maker].clone();
        let second = &mut fused.nodes[taker];
        let other = second.inputs.iter().copied().find(|&value| value != first.output);
        if let (Some(steps), Some(spec)) = (second.kind.spec().map(|spec| spec.then.clone()), first.kind.spec()) {
            let mut spec = spec.clone();
            let before = spec.then.len();
            spec.then.extend(steps);
            second.norms.iter_mut().for_each(|norm| norm.step += before);
            second.norms.splice(0..0, first.norms.iter().cloned());
            let more = first.residual().or(other.filter(|_| second.kind.spec().is_some_and(|s| s.has_residual())));
            let own = if matches!(first.kind, NodeKind::Matmul { .. }) { 2 } else { 1 };
            second.inputs = first.inputs[..own].iter().copied().chain(more).collect();
            second.kind = match first.kind {
                NodeKind::Linear(_) => NodeKind::Linear(Box::new(spec)),
                NodeKind::BatchNorm(_) => NodeKind::BatchNorm(Box::new(spec)),
                NodeKind::Matmul { matrices, .. } => NodeKind::Matmul { spec: Box::new(spec), matrices },
                _ => NodeKind::Layer(Box::new(spec)),
            };
            fused.values[second.output].name.clone_from(&first.name);
            second.name = first.name;
        }
        fused.nodes.remove(maker);
    }
    fused
}

/// The layer that can take the steps of the one at `at`.
fn fusible(network: &NetworkSpec, at: usize) -> Option<usize> {
    let node = &network.nodes[at];
    let spec = match &node.kind {
        NodeKind::Elementwise(spec) | NodeKind::BatchNorm(spec) => spec,
        NodeKind::Add(spec) | NodeKind::Mul(spec) => spec,
        _ => return None,
    };
    // Numbers of channels have names of their own, but for those of a batch norm.
    let of_channels = spec.channel_steps().count();
    if of_channels > 2 * node.norms.len() || node.inputs.len() == 2 && node.inputs[0] == node.inputs[1] {
        return None;
    }
    let is_pair = matches!(node.kind, NodeKind::Add(_) | NodeKind::Mul(_));
    let candidates = if is_pair { node.inputs.as_slice() } else { &node.inputs[..1] };
    // The later of two, so that the other is there.
    candidates.iter().rev().find_map(|&value| {
        let maker = network.nodes.iter().position(|node| node.output == value)?;
        let first = match &network.nodes[maker].kind {
            NodeKind::Layer(spec) | NodeKind::Linear(spec) | NodeKind::BatchNorm(spec) => spec,
            NodeKind::Matmul { .. } if of_channels > 0 => return None,
            // A softmax is over channels, which are columns if they are last.
            NodeKind::Matmul { spec: of_matrix, .. }
                if !spec.has_softmax() || network.values[value].shape.layout == Layout::ChannelsLast =>
            {
                of_matrix
            }
            _ => return None,
        };
        let uses = network.nodes.iter().flat_map(|node| &node.inputs).filter(|&&used| used == value).count();
        let is_free = uses == 1 && !network.outputs.contains(&value);
        let fits = !(first.has_softmax() || first.has_residual() && spec.has_residual());
        (is_free && fits).then_some(maker)
    })
}
