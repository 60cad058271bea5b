//! A `linear` of a flattened image as the convolution that it is: a window as large as the image, of the same weights. So the image may stay in the
//! layout that the layers before it make, whatever order its elements are flattened in.

use super::layouts::like;
use crate::spec::{
    Accuracy, LayerSpec, Layout, NetworkSpec, NetworkValue, NodeKind, Schedule, SpatialAxis, TensorShape, WeightsLayout,
};

/// Output channels up to which moving an element is worth a thought beside its products.
const FEW: usize = 256;

/// Has each such layer take the image itself, and flattens what it makes instead, which is one pixel. Says whether there is one.
pub(super) fn widen(network: &mut NetworkSpec) -> bool {
    let before = network.values.len();
    while let Some((flatten, linear, spec)) = (0..network.nodes.len()).find_map(|at| widened(network, at)) {
        let name = network.nodes[linear].name.clone();
        let made = NetworkValue { name, shape: TensorShape::of_dst(&spec) };
        network.values.push(made);
        let (image, pixel) = (network.nodes[flatten].inputs[0], network.values.len() - 1);
        let node = &mut network.nodes[linear];
        let flat = node.output;
        (node.inputs, node.output, node.kind) = (vec![image], pixel, NodeKind::Layer(Box::new(spec)));
        let mut view = network.nodes.remove(flatten);
        network.values[flat].name.clone_from(&view.name);
        (view.inputs, view.output) = (vec![pixel], flat);
        network.nodes.insert(linear, view);
    }
    network.values.len() > before
}

/// The layer that flattens what the one at `at` takes, that one, and what it is then.
fn widened(network: &NetworkSpec, at: usize) -> Option<(usize, usize, LayerSpec)> {
    let node = &network.nodes[at];
    let (NodeKind::Linear(spec), &[flat]) = (&node.kind, &node.inputs[..]) else { return None };
    let flatten = network.nodes.iter().position(|maker| maker.output == flat)?;
    let uses = network.nodes.iter().flat_map(|node| &node.inputs).filter(|&&used| used == flat).count();
    let is_free = uses == 1 && !network.outputs.contains(&flat);
    let image = &network.values[network.nodes[flatten].inputs[0]].shape;
    let is_plain =
        spec.groups == 1 && spec.weights_layout == WeightsLayout::Oihw && spec.schedule == Schedule::default();
    let fits = matches!(network.nodes[flatten].kind, NodeKind::Flatten)
        && image.layout == Layout::ChannelsFirst
        && image.pixels() > 1
        && spec.out_channels <= FEW
        && is_free
        && is_plain;
    let window = || {
        let mut spatial = [SpatialAxis::UNIT; 3];
        let rank = image.sizes.len();
        for (axis, &size) in spatial[3 - rank..].iter_mut().zip(&image.sizes) {
            *axis = SpatialAxis { input: size, kernel: size, ..SpatialAxis::UNIT };
        }
        let layout = Layout::ChannelsFirst;
        // Sums of one pixel have nothing to transform.
        let accuracy = Accuracy::Exact;
        let spec = LayerSpec { rank, in_channels: image.channels, spatial, layout, accuracy, ..spec.as_ref().clone() };
        // What the language refuses stays a list.
        like(&spec).parse::<LayerSpec>().is_ok().then_some((flatten, at, spec))
    };
    if fits { window() } else { None }
}
