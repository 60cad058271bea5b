//! What a network computes: its layers, one after the other.

use super::{Position, Tensors, output_at, softmax};
use crate::eval::Element;
use crate::spec::{LayerSpec, NetworkSpec, Node, NodeKind, TensorShape};

/// The outputs of `network` for `batch` images, each summed and kept in `f64`: nothing is rounded in between. `parameters` gives the elements of
/// those that [`Node::parameters`] names.
///
/// # Panics
/// If an input or a parameter is shorter than the network says.
pub fn run_network<'p, T: Element>(
    network: &NetworkSpec,
    batch: usize,
    inputs: &[&[T]],
    parameters: impl Fn(&str) -> &'p [f64],
) -> Vec<Vec<f64>> {
    let mut values: Vec<Vec<f64>> = inputs.iter().map(|input| input.iter().map(|x| x.to_f64()).collect()).collect();
    for node in &network.nodes {
        let shape = |value: usize| &network.values[value].shape;
        let value = match &node.kind {
            NodeKind::Flatten => values[node.inputs[0]].clone(),
            NodeKind::Concat | NodeKind::Slice { .. } => {
                let parts: Vec<_> = node.inputs.iter().map(|&at| (shape(at), &values[at][..])).collect();
                channels(node, shape(node.output), batch, &parts)
            }
            NodeKind::Layer(spec) | NodeKind::Linear(spec) | NodeKind::Elementwise(spec) | NodeKind::Add(spec) => {
                let residual = node.inputs.get(1).map_or(&[][..], |&at| &values[at]);
                layer(node, spec, batch, &values[node.inputs[0]], residual, &parameters)
            }
        };
        values.push(value);
    }
    network.outputs.iter().map(|&at| values[at].clone()).collect()
}

fn layer<'p>(
    node: &Node,
    spec: &LayerSpec,
    batch: usize,
    src: &[f64],
    residual: &[f64],
    parameters: &impl Fn(&str) -> &'p [f64],
) -> Vec<f64> {
    let given: Vec<&[f64]> = node.parameters().iter().map(|parameter| parameters(&parameter.name)).collect();
    let (weights, rows) = if spec.weights_len() > 0 { (given[0], &given[1..]) } else { (&[][..], &given[..]) };
    let bias = rows.concat();
    let tensors = Tensors { src, weights, bias: &bias, residual, ..Tensors::default() };
    let output = |at| Position::of(spec, at).map_or(0.0, |at| output_at::<f64, f64>(spec, &tensors, at));
    let mut values: Vec<f64> = (0..batch * spec.dst_image()).map(output).collect();
    softmax(spec, batch, &mut values);
    values
}

/// The channels of a part, or of all parts.
fn channels(node: &Node, shape: &TensorShape, batch: usize, parts: &[(&TensorShape, &[f64])]) -> Vec<f64> {
    let mut out = vec![0.0; batch * shape.image()];
    let mut channel = 0;
    for (of, values) in parts {
        let first = if let NodeKind::Slice { start } = node.kind { start } else { 0 };
        for n in 0..batch {
            for c in first..of.channels.min(first + shape.channels) {
                for pixel in 0..of.pixels() {
                    let from = n * of.image() + of.index(c, pixel);
                    out[n * shape.image() + shape.index(channel + c - first, pixel)] = values[from];
                }
            }
        }
        channel += of.channels;
    }
    out
}
