//! Constants that stand beside a value, as numbers of its channels.

use std::rc::Rc;

use super::{Build, checked};
use crate::error::Reason;
use crate::fold::{places, spread};
use crate::ir::{Numbers, Op, Role, Shape};
use crate::shapes::{broadcast, differ_dims};
use crate::tensor::Tensor;
use crate::view::{View, roles_with_channel};

/// A view of the value and numbers for its channels, so that what is done to both is done to the tensor and the constant.
///
/// Where the constant changes along another axis than the channels, the view is of a value in which that axis is the channels; where it changes along
/// several, of one in which all elements of an image are.
pub(super) fn numbers(build: &mut Build, view: &View, constant: &Tensor) -> Result<(View, Numbers), Reason> {
    let dims = broadcast(&view.dims(), &constant.dims)?;
    let mut view = view.clone();
    while view.axes.len() < dims.len() {
        view.axes.insert(0, vec![]);
    }
    if view.dims() != dims {
        return Err(differ_dims("a value and a larger constant", &view.dims(), &constant.dims));
    }
    if let Some(one) = constant.uniform() {
        return Ok((view, Numbers::One(one)));
    }
    let steps = spread(&constant.dims, &dims);
    let varying: Vec<_> = (0..dims.len()).filter(|&axis| steps[axis] != 0 && dims[axis] > 1).collect();
    if let [axis] = varying[..] {
        let shape = build.net.shape(view.value);
        let is_channel = view.axes[axis] == View::of(view.value, shape, &[Role::Channel]).axes[0];
        let roles = if is_channel { None } else { roles_with_channel(&dims, build.batch, axis) };
        if let Some(roles) = &roles {
            let value = build.value(&view, roles)?;
            view = View::of(value, build.net.shape(value), roles);
        }
        if is_channel || roles.is_some() {
            build.budget.take(dims[axis], 8)?;
            let each = (0..dims[axis]).map(|at| constant.float(at * steps[axis] as usize)).collect();
            return Ok((view, Numbers::Each(Rc::new(each))));
        }
    }
    flat(build, &view, constant, &steps)
}

/// Of a value whose channels are all elements of an image.
fn flat(build: &mut Build, view: &View, constant: &Tensor, steps: &[i64]) -> Result<(View, Numbers), Reason> {
    let own = build.net.shape(view.value).clone();
    let image = own.image();
    let shape = Shape { batch: own.batch, channels: image, sizes: vec![1], last: false };
    checked(&shape)?;
    // Every factor of every axis, with how far apart its elements are in the constant and in memory.
    let (mut sizes, mut from, mut to) = (Vec::new(), Vec::new(), Vec::new());
    for (axis, factors) in view.axes.iter().enumerate() {
        let mut inner: usize = factors.iter().map(|factor| factor.size).product();
        for factor in factors {
            inner /= factor.size;
            let step = steps[axis].saturating_mul(inner as i64);
            if factor.stride >= image {
                if step != 0 {
                    return Err(Reason::No("a constant that is another for each image of a batch is not translated"));
                }
                continue;
            }
            if factor.stride * factor.size > image {
                return Err(Reason::Moves(format!("{:?}", view.dims())));
            }
            sizes.push(factor.size);
            from.push(step);
            to.push(factor.stride as i64);
        }
    }
    build.budget.take(image, 8)?;
    let mut each = vec![0.0; image];
    for (from, to) in places(sizes.clone(), 0, from).zip(places(sizes, 0, to)) {
        each[to] = constant.float(from);
    }
    let value = if own == shape {
        view.value
    } else if own.pixels() > 1 {
        build.push(Op::Flatten, vec![view.value], vec![], shape, &[])?
    } else {
        build.push(Op::Reshape, vec![view.value], vec![], shape, &[])?
    };
    Ok((View { value, axes: view.axes.clone() }, Numbers::Each(Rc::new(each))))
}
