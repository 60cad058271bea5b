//! What is normalized by means and deviations of its own.

use std::rc::Rc;

use super::binary::with_channels;
use super::moves::{contiguous, reshaped};
use super::{Build, Call};
use crate::error::Reason;
use crate::fold::{places, spread};
use crate::ir::{Norm, Numbers, Op};
use crate::shapes::{axis, broadcast, differ, differ_dims};
use crate::tensor::Tensor;
use crate::view::{View, roles_with_channel, shape_of};
use convoke_core::spec::Groups;

/// `LayerNormalization`.
pub(super) fn layer(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let first = axis(call.params.node.int("axis", -1), dims.len())?;
    let epsilon = call.params.node.float("epsilon", 1e-5);
    let scale = elements(build, &dims, first, call.params.needed(1, "the factors")?)?;
    let shift = match call.params.constant(2, "the bias")? {
        Some(shift) => elements(build, &dims, first, shift)?,
        None => Numbers::One(0.0),
    };
    of_axes(build, call, view, first, (epsilon, scale, shift))
}

/// What exporters have written out, along any axes, without factors and summands.
pub(super) fn written_out(
    build: &mut Build,
    call: &Call<'_, '_>,
    view: &View,
    axes: &[usize],
    epsilon: f64,
) -> Result<View, Reason> {
    // Those axes behind the others.
    let rank = view.axes.len();
    let order: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).chain(axes.iter().copied()).collect();
    let plain = (epsilon, Numbers::One(1.0), Numbers::One(0.0));
    let made = of_axes(build, call, &view.transposed(&order), rank - axes.len(), plain)?;
    let mut back = vec![0; rank];
    order.iter().enumerate().for_each(|(at, &axis)| back[axis] = at);
    Ok(made.transposed(&back))
}

/// A constant as numbers of the elements that are normalized together.
fn elements(build: &mut Build, dims: &[usize], first: usize, given: &Tensor) -> Result<Numbers, Reason> {
    let wrong = || differ_dims("what is normalized and its numbers", &dims[first..], &given.dims);
    if broadcast(dims, &given.dims)? != dims || given.data().is_none() {
        return Err(wrong());
    }
    if let Some(one) = given.uniform() {
        return Ok(Numbers::One(one));
    }
    let steps = spread(&given.dims, dims);
    if steps[..first].iter().zip(dims).any(|(&step, &size)| step != 0 && size > 1) {
        return Err(wrong());
    }
    build.budget.take(dims[first..].iter().product(), 8)?;
    let all = places(dims[first..].to_vec(), 0, steps[first..].to_vec()).map(|at| given.float(at));
    Ok(Numbers::Each(Rc::new(all.collect())))
}

/// The axes from `first` on, each element of which has its own factor and summand.
pub(super) fn of_axes(
    build: &mut Build,
    call: &Call<'_, '_>,
    view: &View,
    first: usize,
    (epsilon, scale, shift): (f64, Numbers, Numbers),
) -> Result<View, Reason> {
    let dims = view.dims();
    let len: usize = dims[first..].iter().product();
    let view = side_by_side(build, view, first)?;
    let mut shape = build.net.shape(view.value).clone();
    if !shape.image().is_multiple_of(len) {
        return Err(Reason::No("it normalizes images with each other"));
    }
    // The same memory, in which that is what the last sizes count.
    let memory = shape.memory();
    let mut value = view.value;
    let axis = match (1..memory.len()).rev().find(|&axis| memory[axis..].iter().product::<usize>() == len) {
        Some(axis) => axis,
        None => {
            shape =
                crate::ir::Shape { batch: shape.batch, channels: shape.image() / len, sizes: vec![len], last: false };
            value = build.push(Op::Reshape, vec![value], vec![], shape.clone(), &[])?;
            2
        }
    };
    let norm = Norm { groups: Groups::Elements { axis }, epsilon, len, scale, shift };
    let value = build.push(Op::Norm(Box::new(norm)), vec![value], vec![], shape, &call.hints)?;
    Ok(View { value, axes: view.axes })
}

/// A view whose axes from `first` on lie one element behind the other; of one such axis, in a value whose channels it is, and last.
fn side_by_side(build: &mut Build, view: &View, first: usize) -> Result<View, Reason> {
    let dims = view.dims();
    let roles = Some(first).filter(|&first| first + 1 == dims.len());
    let Some(roles) = roles.and_then(|axis| roles_with_channel(&dims, build.batch, axis)) else {
        return contiguous(build, view);
    };
    let shape = shape_of(&dims, &roles, build.batch, true);
    let axes = View::of(view.value, &shape, &roles).axes;
    let value = build.views.arranged(&mut build.net, view, &axes, &shape);
    Ok(View { value: value.ok_or_else(|| Reason::Moves(format!("{dims:?}")))?, axes })
}

/// `InstanceNormalization` and `GroupNormalization`.
pub(super) fn of_channels(build: &mut Build, call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let [images, channels, rest @ ..] = &dims[..] else {
        return Err(Reason::Axes { expected: "2 or more", found: dims.len() });
    };
    let epsilon = call.params.node.float("epsilon", 1e-5);
    let groups = match op {
        "InstanceNormalization" => *channels,
        _ => {
            let given = call.params.node.int("num_groups", 0);
            let groups = usize::try_from(given).ok().filter(|&groups| groups > 0 && channels.is_multiple_of(groups));
            groups.ok_or_else(|| differ("channels and groups", &[*channels], &[given]))?
        }
    };
    // Rows that are no images have channels of their own.
    let repeats = if *images == build.batch { 1 } else { *images };
    let view = match repeats {
        1 => view.clone(),
        _ => reshaped(build, view, &[&[1, images * channels], rest].concat())?,
    };
    let mut read = |input, what| -> Result<Numbers, Reason> {
        let given = call.params.needed(input, what)?;
        build.budget.take(channels * repeats, 8)?;
        per_channel(given, *channels, repeats)
            .ok_or_else(|| differ_dims("channels and their numbers", &dims, &given.dims))
    };
    let (scale, shift) = (read(1, "the factors")?, read(2, "the bias")?);
    let view = with_channels(build, &view, 1)?;
    let len = channels * repeats;
    let groups = if groups == *channels { Groups::Instance } else { Groups::Channels(groups * repeats) };
    let norm = Norm { groups, epsilon, len, scale, shift };
    let shape = build.net.shape(view.value).clone();
    let value = build.push(Op::Norm(Box::new(norm)), vec![view.value], vec![], shape, &call.hints)?;
    reshaped(build, &View { value, axes: view.axes }, &dims)
}

/// A number for each channel, so many times; of fewer each stands for as many neighbours.
fn per_channel(given: &Tensor, channels: usize, repeats: usize) -> Option<Numbers> {
    if given.dims.len() != 1 || given.len() == 0 || !channels.is_multiple_of(given.len()) || given.data().is_none() {
        return None;
    }
    let each = channels / given.len();
    let all = (0..channels * repeats).map(|at| given.float(at % channels / each));
    Some(Numbers::Each(Rc::new(all.collect())))
}
