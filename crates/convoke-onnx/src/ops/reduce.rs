//! One number of many: means, sums, maxima and norms along axes, and what is normalized with them.

use std::rc::Rc;

use super::binary::{affine, both};
use super::moves::reshaped;
use super::{Build, Call};
use crate::error::Reason;
use crate::ir::{Numbers, Op, Pooling, Role, Step, Window};
use crate::shapes::{axis, differ_dims};
use crate::tensor::Tensor;
use crate::view::View;

/// An affine step of two numbers.
fn plain(scale: f64, shift: f64) -> Step {
    Step::Affine(Numbers::One(scale), Numbers::One(shift))
}

/// `ReduceMean` and its like.
pub(super) fn reduce(build: &mut Build, call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let axes = call.params.axes(1, dims.len())?.filter(|axes| !axes.is_empty());
    let axes = match axes {
        None if call.params.node.flag("noop_with_empty_axes", false)? => return Ok(view.clone()),
        None => (0..dims.len()).collect(),
        Some(axes) => axes,
    };
    let (before, pooling, after) = match op {
        "ReduceMean" => (None, Pooling::Average(true), None),
        "ReduceSum" => (None, Pooling::Average(true), Some(count(&dims, &axes))),
        "ReduceSumSquare" => (Some(Step::Pow(2.0)), Pooling::Average(true), Some(count(&dims, &axes))),
        "ReduceMax" => (None, Pooling::Max, None),
        "ReduceMin" => (Some(plain(-1.0, 0.0)), Pooling::Max, Some(-1.0)),
        "ReduceL1" => (None, Pooling::Norm(1), None),
        _ => (None, Pooling::Norm(2), None),
    };
    let view = match before {
        Some(step) => build.steps(view, vec![step], &call.hints)?,
        None => view.clone(),
    };
    let out = along(build, call, &view, &axes, pooling)?;
    let out = match after {
        Some(factor) => build.steps(&out, vec![plain(factor, 0.0)], &call.hints)?,
        None => out,
    };
    if call.params.node.flag("keepdims", true)? {
        return Ok(out);
    }
    let left = out.axes.into_iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, factors)| factors);
    Ok(View { value: out.value, axes: left.collect() })
}

/// Elements that become one.
fn count(dims: &[usize], axes: &[usize]) -> f64 {
    axes.iter().map(|&axis| dims[axis] as f64).product()
}

/// Pooling of whole axes, which have one element then.
fn along(
    build: &mut Build,
    call: &Call<'_, '_>,
    view: &View,
    axes: &[usize],
    pooling: Pooling,
) -> Result<View, Reason> {
    let dims = view.dims();
    let (view, roles) = match build.spatial(view, |axis| dims[axis] > 1 && axes.contains(&axis)) {
        Ok(placed) => placed,
        Err(reason) => {
            let (fewer, places) = merged(&dims, axes);
            if fewer.len() == dims.len() {
                return Err(reason);
            }
            let view = reshaped(build, view, &fewer)?;
            let out = along(build, call, &view, &places, pooling)?;
            let kept = dims.iter().enumerate().map(|(axis, &size)| if axes.contains(&axis) { 1 } else { size });
            return reshaped(build, &out, &kept.collect::<Vec<_>>());
        }
    };
    let shape = build.net.shape(view.value).clone();
    let ones = || vec![1; shape.sizes.len()];
    let padding = vec![(0, 0); shape.sizes.len()];
    let mut window = Window { kernel: ones(), stride: ones(), dilation: ones(), padding };
    let mut made = shape.clone();
    for &axis in axes {
        if let Role::Space(at) = roles[axis] {
            window.kernel[at] = shape.sizes[at];
            made.sizes[at] = 1;
        }
    }
    // Of single elements all but norms are those elements.
    if made == shape && !matches!(pooling, Pooling::Norm(_)) {
        return Ok(view);
    }
    let window = if window.kernel == shape.sizes { None } else { Some(window) };
    let op = Op::Pool { pooling, window, ceil: false };
    let value = build.push(op, vec![view.value], vec![], made.clone(), &call.hints)?;
    Ok(View::of(value, &made, &roles))
}

/// The sizes with neighbours, but for the first, as one axis where both are pooled or both are not; and which axes are pooled then.
fn merged(dims: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let (mut fewer, mut pooled) = (Vec::new(), Vec::new());
    for (axis, &size) in dims.iter().enumerate() {
        let is_pooled = axes.contains(&axis);
        match (fewer.last_mut(), pooled.last()) {
            (Some(last), Some(&before)) if axis > 1 && before == is_pooled => *last *= size,
            _ => {
                fewer.push(size);
                pooled.push(is_pooled);
            }
        }
    }
    let places = (0..fewer.len()).filter(|&place| pooled[place]).collect();
    (fewer, places)
}

/// The elements less their mean along axes, over their deviation.
fn normalized(build: &mut Build, call: &Call<'_, '_>, view: &View, axes: &[usize]) -> Result<View, Reason> {
    let epsilon = call.params.node.float("epsilon", 1e-5);
    let mean = along(build, call, view, axes, Pooling::Average(true))?;
    let mean = build.steps(&mean, vec![plain(-1.0, 0.0)], &call.hints)?;
    let view = both(build, call, &Op::Add, view, &mean)?;
    let squares = build.steps(&view, vec![Step::Pow(2.0)], &call.hints)?;
    let variance = along(build, call, &squares, axes, Pooling::Average(true))?;
    let factor = build.steps(&variance, vec![plain(1.0, epsilon), Step::Pow(-0.5)], &call.hints)?;
    both(build, call, &Op::Mul, &view, &factor)
}

/// Times and plus constants of `LayerNormalization`, as they are.
pub(super) fn layer_normalization(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let rank = view.axes.len();
    let first = axis(call.params.node.int("axis", -1), rank)?;
    let out = normalized(build, call, view, &(first..rank).collect::<Vec<_>>())?;
    let scale = call.params.needed(1, "the factors")?;
    let out = affine(build, call, &out, scale, |each| (each, Numbers::One(0.0)))?;
    match call.params.constant(2, "the bias")? {
        Some(shift) => affine(build, call, &out, shift, |each| (Numbers::One(1.0), each)),
        None => Ok(out),
    }
}

/// `InstanceNormalization`, and `GroupNormalization` of channels that are seen as fewer.
pub(super) fn instance_normalization(build: &mut Build, call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let [images, channels, ..] = dims[..] else {
        return Err(Reason::Axes { expected: "2 or more", found: dims.len() });
    };
    let out = if op == "InstanceNormalization" {
        normalized(build, call, view, &(2..dims.len()).collect::<Vec<_>>())?
    } else {
        let given = call.params.node.int("num_groups", 0);
        let groups = usize::try_from(given).ok().filter(|&groups| groups > 0 && channels.is_multiple_of(groups));
        let groups = groups.ok_or_else(|| crate::shapes::differ("channels and groups", &[channels], &[given]))?;
        let inner = dims[1..].iter().product::<usize>() / groups;
        let grouped = reshaped(build, view, &[images, groups, inner])?;
        let out = normalized(build, call, &grouped, &[2])?;
        reshaped(build, &out, &dims)?
    };
    let mut out = out;
    for (input, what) in [(1, "the factors"), (2, "the bias")] {
        let given = call.params.needed(input, what)?;
        let each = per_channel(given, channels)
            .ok_or_else(|| differ_dims("channels and their numbers", &dims, &given.dims))?;
        let each = Tensor { dims: [channels].into_iter().chain(dims[2..].iter().map(|_| 1)).collect(), ..each };
        out = match input {
            1 => affine(build, call, &out, &each, |each| (each, Numbers::One(0.0)))?,
            _ => affine(build, call, &out, &each, |each| (Numbers::One(1.0), each))?,
        };
    }
    Ok(out)
}

/// A number for each channel; of fewer each stands for as many neighbours.
fn per_channel(given: &Rc<Tensor>, channels: usize) -> Option<Tensor> {
    if given.dims.len() != 1 || given.len() == 0 || !channels.is_multiple_of(given.len()) {
        return None;
    }
    let each = channels / given.len();
    Some(Tensor::floats(vec![channels], (0..channels).map(|channel| given.float(channel / each) as f32).collect()))
}
