//! What a network computes: its layers, one after the other.

mod interpolation;
mod norm;
mod recurrent;

use std::borrow::Cow;

use super::{Position, Tensors, output_at, softmax};
use crate::eval::{Element, bound, quantize_dynamic};
use crate::spec::{DType, LayerSpec, Layout, NetworkSpec, Node, NodeKind, TensorShape};

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
    let inputs = inputs.iter().map(|input| input.iter().map(|x| x.to_f64()).collect()).collect();
    run_values(network, batch, inputs, &parameters)
}

/// The outputs, from values that are those of the inputs at first.
fn run_values<'p>(
    network: &NetworkSpec,
    batch: usize,
    mut values: Vec<Vec<f64>>,
    parameters: &dyn Fn(&str) -> &'p [f64],
) -> Vec<Vec<f64>> {
    for node in &network.nodes {
        let shape = |value: usize| &network.values[value].shape;
        let value = match (&node.kind, node.kind.spec()) {
            (_, Some(spec)) => layer(node, spec, batch, &values, parameters),
            (NodeKind::Recurrent(recurrent), _) => recurrent::run(network, node, recurrent, batch, &values, parameters),
            (NodeKind::Norm(one), _) => {
                let given: Vec<&[f64]> = node.parameters().iter().map(|one| parameters(&one.name)).collect();
                norm::run(one, shape(node.output), batch, &values[node.inputs[0]], &given)
            }
            (NodeKind::QuantizeDynamic, _) => quantized(shape(node.output), &values[node.inputs[0]]),
            (NodeKind::Interpolate(one), _) => {
                interpolation::run(one, [shape(node.inputs[0]), shape(node.output)], batch, &values[node.inputs[0]])
            }
            (kind, _) if kind.is_view() => values[node.inputs[0]].clone(),
            _ => {
                let parts: Vec<_> = node.inputs.iter().map(|&at| (shape(at), &values[at][..])).collect();
                moved(node, shape(node.output), batch, &parts)
            }
        };
        values.push(value);
    }
    network.outputs.iter().map(|&at| values[at].clone()).collect()
}

/// The one layer that rounds here too: to numbers that elements can be, of elements.
fn quantized(shape: &TensorShape, src: &[f64]) -> Vec<f64> {
    fn of<T: Element>(shape: &TensorShape, src: &[f64]) -> Vec<f64> {
        let src: Vec<T> = src.iter().map(|&x| T::from_f64(x)).collect();
        let mut dst = vec![T::default(); src.len()];
        let image = shape.image().max(1);
        dst.chunks_mut(image).zip(src.chunks(image)).for_each(|(dst, src)| quantize_dynamic(src, dst));
        dst.into_iter().map(T::to_f64).collect()
    }
    match shape.dtype() {
        DType::F64 => of::<f64>(shape, src),
        _ => of::<f32>(shape, src),
    }
}

fn layer<'p>(
    node: &Node,
    spec: &LayerSpec,
    batch: usize,
    values: &[Vec<f64>],
    parameters: &dyn Fn(&str) -> &'p [f64],
) -> Vec<f64> {
    let src = &values[node.inputs[0]];
    let residual = node.residual().map_or(&[][..], |at| &values[at]);
    let given = node.parameters().iter().map(|parameter| Cow::Borrowed(parameters(&parameter.name))).collect();
    let given = bound(node, given);
    let run = |batch: usize, src: &[f64], weights: &[f64], bias: &[f64], residual: &[f64]| {
        let tensors = Tensors { src, weights, bias, residual, ..Tensors::default() };
        let output = |at| Position::of(spec, at).map_or(0.0, |at| output_at::<f64, f64>(spec, &tensors, at));
        let mut values: Vec<f64> = (0..batch * spec.dst_image()).map(output).collect();
        softmax(spec, batch, &mut values);
        values
    };
    // What is a value is that of each image, or of each matrix.
    let part =
        |values: &[f64], at: usize, of: usize| values[at * values.len() / of..(at + 1) * values.len() / of].to_vec();
    if let NodeKind::Matmul { matrices, .. } = node.kind {
        let (second, count) = (&values[node.inputs[1]], batch * matrices);
        let of = |values: &[f64], at: usize| part(values, at, count);
        let each = (0..count).map(|at| run(1, &of(src, at), &of(second, at), &[], &of(residual, at)));
        return each.collect::<Vec<_>>().concat();
    }
    if node.kind.is_by_channel() {
        let numbers = &values[node.inputs[1]];
        let image = |values: &[f64], n: usize| part(values, n, batch);
        let each = (0..batch).map(|n| run(1, &image(src, n), &[], &image(numbers, n), &image(residual, n)));
        return each.collect::<Vec<_>>().concat();
    }
    let (weights, rows) = if spec.weights_len() > 0 { (&given[0][..], &given[1..]) } else { (&[][..], &given[..]) };
    run(batch, src, weights, &rows.concat(), residual)
}

/// What a layer of one image makes of its weights and bias.
fn layer_of_one(spec: &LayerSpec, src: &[f64], given: &[&[f64]]) -> Vec<f64> {
    let bias = given[1..].concat();
    let tensors = Tensors { src, weights: given[0], bias: &bias, ..Tensors::default() };
    let output = |at| Position::of(spec, at).map_or(0.0, |at| output_at::<f64, f64>(spec, &tensors, at));
    (0..spec.dst_image()).map(output).collect()
}

/// What a layer makes that only moves elements, each of them looked up for itself.
fn moved(node: &Node, shape: &TensorShape, batch: usize, parts: &[(&TensorShape, &[f64])]) -> Vec<f64> {
    let mut out = vec![0.0; batch * shape.image()];
    let sizes = shape.axes();
    for n in 0..batch {
        for flat in 0..sizes.iter().product() {
            let mut index = vec![0; sizes.len()];
            let mut left = flat;
            for (slot, size) in index.iter_mut().zip(&sizes).rev() {
                (*slot, left) = (left % size, left / size);
            }
            out[element(shape, n, &index)] = match source(node, parts, shape, &index) {
                Ok((part, from)) => parts[part].1[element(parts[part].0, n, &from)],
                Err(fill) => fill,
            };
        }
    }
    out
}

/// Where in memory an element is, by its index along each of [`TensorShape::axes`].
fn element(shape: &TensorShape, n: usize, index: &[usize]) -> usize {
    let mut spatial = index.to_vec();
    let channel = spatial.remove(shape.channel_axis());
    let pixel = spatial.iter().zip(&shape.sizes).fold(0, |pixel, (at, size)| pixel * size + at);
    n * shape.image() + shape.index(channel, pixel)
}

/// The part, and the index there, of the element that ends up at `index`; or what is there instead.
fn source(
    node: &Node,
    parts: &[(&TensorShape, &[f64])],
    to: &TensorShape,
    index: &[usize],
) -> Result<(usize, Vec<usize>), f64> {
    let mut from = index.to_vec();
    match &node.kind {
        NodeKind::Concat { axis } => {
            let mut part = 0;
            while from[*axis] >= parts[part].0.axes()[*axis] {
                from[*axis] -= parts[part].0.axes()[*axis];
                part += 1;
            }
            return Ok((part, from));
        }
        NodeKind::Slice { from: taken } => {
            from.iter_mut().zip(taken).for_each(|(at, &(start, step))| *at = start + *at * step);
        }
        NodeKind::Pad { before, value } => {
            for ((at, &before), size) in from.iter_mut().zip(before).zip(parts[0].0.axes()) {
                *at = at.checked_sub(before).filter(|at| *at < size).ok_or(*value)?;
            }
        }
        NodeKind::Transpose { axes } => {
            for (at, &axis) in index.iter().zip(&axes[1..]) {
                from[axis - 1] = *at;
            }
        }
        NodeKind::Reorder => {
            let channel = from.remove(to.channel_axis());
            let last = parts[0].0.layout == Layout::ChannelsLast;
            from.insert(if last { from.len() } else { 0 }, channel);
        }
        NodeKind::Resize { scale } => from.iter_mut().zip(scale).for_each(|(at, factor)| *at /= factor),
        _ => {}
    }
    Ok((0, from))
}
