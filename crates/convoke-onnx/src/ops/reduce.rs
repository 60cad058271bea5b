//! One number of many: means, sums, maxima and norms along axes.

use super::moves::reshaped;
use super::{Build, Call};
use crate::error::Reason;
use crate::ir::{Numbers, Op, Pooling, Role, Step, Window};
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
