//! `Gemm` and `MatMul`: sums over all channels.

use std::rc::Rc;

use super::conv::weights;
use super::numbers::numbers;
use super::{Build, Call};
use crate::error::Reason;
use crate::fold::{places, strides, transpose};
use crate::ir::{Conv, Fill, Numbers, Op, Role, Shape, Step, Weights, Window};
use crate::shapes::differ_dims;
use crate::tensor::{Data, Tensor};
use crate::view::{Factor, View, default_roles, roles_with_channel};

/// A matrix as `[out][in]`.
fn matrix(build: &mut Build, tensor: &Rc<Tensor>, is_transposed: bool) -> Result<Rc<Tensor>, Reason> {
    if tensor.dims.len() != 2 || tensor.len() == 0 {
        return Err(Reason::Axes { expected: "2 of weights", found: tensor.dims.len() });
    }
    if is_transposed { Ok(Rc::clone(tensor)) } else { transpose(tensor, &[1, 0], &mut build.budget).map(Rc::new) }
}

pub(super) fn gemm(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let node = call.params.node;
    let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
    let mut view = call.view(0)?.clone();
    if view.axes.len() != 2 {
        return Err(Reason::Axes { expected: "2", found: view.axes.len() });
    }
    if node.flag("transA", false)? {
        view = view.transposed(&[1, 0]);
    }
    if let Some(Some(second)) = call.views.get(1) {
        let turned = node.flag("transB", false)? && second.axes.len() == 2;
        let second = if turned { second.transposed(&[1, 0]) } else { second.clone() };
        let mut out = super::product::of_values(build, call, &view, &second)?;
        if alpha != 1.0 {
            out = build.steps(&out, vec![Step::Affine(Numbers::One(alpha), Numbers::One(0.0))], &call.hints)?;
        }
        return plus(build, call, &out, beta);
    }
    let tensor = call.params.needed(1, "the weights")?;
    let tensor = matrix(build, tensor, node.flag("transB", false)?)?;
    let out = product(build, call, &view, tensor, alpha)?;
    plus(build, call, &out, beta)
}

/// `Gemm`'s third input, if there is one, times `beta`, plus a product.
fn plus(build: &mut Build, call: &Call<'_, '_>, out: &View, beta: f64) -> Result<View, Reason> {
    if let Some(Some(more)) = call.views.get(2) {
        let more = build.steps(more, vec![Step::Affine(Numbers::One(beta), Numbers::One(0.0))], &call.hints)?;
        return super::binary::both(build, call, &Op::Add, out, &more);
    }
    let Some(more) = call.params.constant(2, "the bias")? else { return Ok(out.clone()) };
    let (out, shift) = numbers(build, out, more)?;
    let shift = shift.zip(&Numbers::One(beta), |x, y| x * y);
    build.steps(&out, vec![Step::Affine(Numbers::One(1.0), shift)], &call.hints)
}

pub(super) fn matmul(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    if let [Some(first), Some(second)] = &call.views[..] {
        return super::product::of_values(build, call, first, second);
    }
    if call.views.first().is_some_and(Option::is_some) {
        return sums(build, call, call.view(0)?, call.params.needed(1, "the right matrix")?);
    }
    // A constant on the left: the sums are over the last axis but one.
    let tensor = call.params.needed(0, "the left matrix")?;
    let tensor = matrix(build, &flat_matrix(tensor), true)?;
    let view = call.view(1)?;
    let rank = view.axes.len();
    if rank < 2 {
        return Err(Reason::Axes { expected: "2 or more", found: rank });
    }
    pointwise(build, call, view, tensor, rank - 2, 1.0)
}

/// The last axis of a view times a matrix `[in][out]`.
pub(super) fn sums(build: &mut Build, call: &Call<'_, '_>, view: &View, matrix: &Rc<Tensor>) -> Result<View, Reason> {
    let tensor = self::matrix(build, &flat_matrix(matrix), false)?;
    product(build, call, view, tensor, 1.0)
}

/// A matrix without axes of one element in front.
fn flat_matrix(tensor: &Rc<Tensor>) -> Rc<Tensor> {
    let more = tensor.dims.len().saturating_sub(2);
    if more > 0 && tensor.dims[..more].iter().all(|&size| size == 1) {
        return Rc::new(Tensor { dims: tensor.dims[more..].to_vec(), ..Tensor::clone(tensor) });
    }
    Rc::clone(tensor)
}

/// The last axis times a matrix `[out][in]`.
fn product(
    build: &mut Build,
    call: &Call<'_, '_>,
    view: &View,
    tensor: Rc<Tensor>,
    alpha: f64,
) -> Result<View, Reason> {
    let dims = view.dims();
    let Some(last) = dims.len().checked_sub(1) else { return Err(Reason::Axes { expected: "1 or more", found: 0 }) };
    if dims[last] != tensor.dims[1] {
        return Err(differ_dims("columns and rows", &dims, &[tensor.dims[1], tensor.dims[0]]));
    }
    let others: usize = dims[..last].iter().product();
    if others != build.batch || dims[..last].iter().filter(|&&size| size > 1).count() > 1 {
        return pointwise(build, call, view, tensor, last, alpha);
    }
    // One element a channel: an image is a row.
    let own = build.net.shape(view.value).clone();
    let (value, tensor) = if own.pixels() == 1 {
        (view.value, tensor)
    } else {
        let flat = Shape { batch: own.batch, channels: own.image(), sizes: vec![1], last: false };
        let tensor = columns(build, &tensor, &view.axes[last])?;
        (build.push(Op::Flatten, vec![view.value], vec![], flat, &[])?, tensor)
    };
    let out_channels = tensor.dims[0];
    let shape = Shape { batch: build.batch, channels: out_channels, sizes: vec![1], last: false };
    let weights = Weights { scale: Numbers::One(alpha), ..weights(tensor, None, out_channels)? };
    let value =
        build.push(Op::Linear(Box::new(weights), out_channels), vec![value], vec![], shape.clone(), &call.hints)?;
    let mut axes: Vec<Vec<Factor>> = view.axes[..last].to_vec();
    for axis in &mut axes {
        if !axis.is_empty() {
            *axis = View::of(value, &shape, &[Role::Batch]).axes.remove(0);
        }
    }
    axes.push(View::of(value, &shape, &[Role::Channel]).axes.remove(0));
    Ok(View { value, axes })
}

/// The columns of a matrix in the order in which the elements of an image lie in memory, if those of the axis do not.
fn columns(build: &mut Build, tensor: &Rc<Tensor>, axis: &[Factor]) -> Result<Rc<Tensor>, Reason> {
    let (rows, len) = (tensor.dims[0], tensor.dims[1]);
    let Some(data) = tensor.data() else { return Err(Reason::Type(tensor.dtype.name().to_owned())) };
    if matches!(data, Data::Splat(_)) || matches!(axis, [Factor { stride: 1, .. }]) {
        return Ok(Rc::clone(tensor));
    }
    // The factors by where they are in memory, and how far apart their elements are along the axis.
    let sizes: Vec<_> = axis.iter().map(|factor| factor.size).collect();
    let mut steps: Vec<_> = axis.iter().zip(strides(&sizes)).collect();
    steps.sort_by_key(|(factor, _)| std::cmp::Reverse(factor.stride));
    let sizes = steps.iter().map(|(factor, _)| factor.size).collect();
    let order: Vec<_> = places(sizes, 0, steps.iter().map(|&(_, stride)| stride as i64).collect()).collect();
    let from = (0..rows).flat_map(|row| order.iter().map(move |&column| row * len + column));
    let data = data.moved(rows * len, from, &mut build.budget)?;
    Ok(Rc::new(Tensor { elements: crate::tensor::Elements::Float(data), ..Tensor::clone(tensor) }))
}

/// An axis times a matrix `[out][in]`, as a convolution whose window is one element.
fn pointwise(
    build: &mut Build,
    call: &Call<'_, '_>,
    view: &View,
    tensor: Rc<Tensor>,
    axis: usize,
    alpha: f64,
) -> Result<View, Reason> {
    let dims = view.dims();
    let (out_channels, in_channels) = (tensor.dims[0], tensor.dims[1]);
    if dims[axis] != in_channels {
        return Err(differ_dims("columns and rows", &dims, &[in_channels, out_channels]));
    }
    let roles = roles_with_channel(&dims, build.batch, axis).or_else(|| default_roles(&dims, build.batch));
    let roles = roles.filter(|roles| roles.get(axis) == Some(&Role::Channel));
    let roles = roles.ok_or(Reason::Axes { expected: "up to five", found: dims.len() })?;
    let input = build.value(view, &roles)?;
    let shape = build.net.shape(input).clone();
    let rank = shape.sizes.len();
    let mut kernel = vec![out_channels, in_channels];
    kernel.resize(2 + rank, 1);
    let tensor = Rc::new(Tensor { dims: kernel, ..Tensor::clone(&tensor) });
    let conv = Conv {
        transposed: false,
        out_channels,
        groups: 1,
        window: Window {
            kernel: vec![1; rank],
            stride: vec![1; rank],
            dilation: vec![1; rank],
            padding: vec![(0, 0); rank],
        },
        output_padding: vec![0; rank],
        fill: Fill::Number(0.0),
        weights: Weights { scale: Numbers::One(alpha), ..weights(tensor, None, out_channels)? },
    };
    let shape = Shape { channels: out_channels, ..shape };
    let value = build.push(Op::Conv(Box::new(conv)), vec![input], vec![], shape.clone(), &call.hints)?;
    Ok(View::of(value, &shape, &roles))
}
