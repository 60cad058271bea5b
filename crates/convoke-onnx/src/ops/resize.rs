//! `Resize` and `Upsample`: each element repeated, or those of an image of other sizes.

use super::{Build, Call};
use crate::error::Reason;
use crate::ir::{Op, Role, Shape};
use crate::shapes::differ;
use crate::view::View;
use convoke_core::spec::{Align, Interpolation, Rounding, Sampling, Scaling};

/// How an axis is resized.
type Way = (Sampling, Align);

pub(super) fn resize(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let sizes = sizes(call, &view.dims())?;
    let is_changed = |axis: usize| sizes[axis].from != sizes[axis].to || sizes[axis].uneven().is_some();
    if !(0..sizes.len()).any(is_changed) {
        return Ok(view.clone());
    }
    let ways = sizes.iter().map(|size| way(call, size)).collect::<Result<Vec<_>, _>>()?;
    let (mut view, roles) = build.spatial(view, is_changed)?;
    // One layer, but where axes differ: then one for each way.
    let mut done: Vec<Way> = Vec::new();
    for way in (0..sizes.len()).filter(|&axis| is_changed(axis)).map(|axis| ways[axis]) {
        if !done.contains(&way) {
            let of_way = |axis: usize| (is_changed(axis) && ways[axis] == way).then_some(sizes[axis]);
            view = resized(build, call, (&view, &roles), way, of_way)?;
            done.push(way);
        }
    }
    Ok(view)
}

/// The axes that have sizes, in one way.
fn resized(
    build: &mut Build,
    call: &Call<'_, '_>,
    (view, roles): (&View, &[Role]),
    (sampling, align): Way,
    sizes: impl Fn(usize) -> Option<Scaling>,
) -> Result<View, Reason> {
    let shape = build.net.shape(view.value).clone();
    let mut axes: Vec<_> = shape.sizes.iter().map(|&size| Scaling { from: size, to: size, scale: None }).collect();
    for (axis, role) in roles.iter().enumerate() {
        match (sizes(axis), role) {
            (None, _) => {}
            (Some(size), Role::Space(at)) => axes[*at] = size,
            (Some(_), _) => return Err(Reason::No("it resizes another axis than those of space")),
        }
    }
    let made = Shape { sizes: axes.iter().map(|size| size.to).collect(), ..shape };
    let interpolation = Interpolation { sampling, align, axes };
    let op = match interpolation.repeats() {
        Some(scale) => Op::Resize(scale),
        None => Op::Interpolate(Box::new(interpolation)),
    };
    let value = build.push(op, vec![view.value], vec![], made.clone(), &call.hints)?;
    Ok(View::of(value, &made, roles))
}

/// Each element so often along each axis.
pub(super) fn repeated(build: &mut Build, call: &Call<'_, '_>, view: &View, factors: &[usize]) -> Result<View, Reason> {
    let (view, roles) = build.spatial(view, |axis| factors[axis] != 1)?;
    let shape = build.net.shape(view.value).clone();
    let mut scale = vec![1; shape.sizes.len()];
    for (axis, &factor) in factors.iter().enumerate() {
        match roles[axis] {
            _ if factor == 1 => {}
            Role::Space(at) => scale[at] = factor,
            _ => return Err(Reason::No("it resizes another axis than those of space")),
        }
    }
    if scale.iter().all(|&factor| factor == 1) {
        return Ok(view);
    }
    let sizes = shape.sizes.iter().zip(&scale).map(|(&size, &factor)| size.checked_mul(factor).ok_or(Reason::Overflow));
    let made = Shape { sizes: sizes.collect::<Result<_, _>>()?, ..shape };
    let value = build.push(Op::Resize(scale), vec![view.value], vec![], made.clone(), &call.hints)?;
    Ok(View::of(value, &made, &roles))
}

/// The sizes of each axis.
fn sizes(call: &Call<'_, '_>, dims: &[usize]) -> Result<Vec<Scaling>, Reason> {
    let node = call.params.node;
    let axes: Vec<usize> = match node.ints("axes").filter(|_| node.opset >= 18) {
        Some(axes) => axes.iter().map(|&axis| crate::shapes::axis(axis, dims.len())).collect::<Result<_, _>>()?,
        None => (0..dims.len()).collect(),
    };
    let mut all: Vec<_> = dims.iter().map(|&size| Scaling { from: size, to: size, scale: None }).collect();
    let at = if node.op() == "Upsample" || node.opset < 11 { 1 } else { 2 };
    let scales: Option<Vec<f64>> = match node.floats("scales").filter(|_| node.has("scales")) {
        Some(scales) => Some(scales.iter().map(|&scale| f64::from(scale)).collect()),
        None => {
            let scales = call.params.constant(at, "the scales")?.filter(|scales| scales.len() > 0);
            scales.map(|scales| {
                // More than there are axes are refused below.
                (0..scales.len().min(axes.len() + 1)).map(|axis| scales.float(axis)).collect()
            })
        }
    };
    let fits = |what: &'static str, len: usize| {
        if len == axes.len() { Ok(()) } else { Err(differ(what, &[axes.len()], &[len as i64])) }
    };
    let is_size = |size: &Scaling| size.to <= super::MAX_SIZE;
    if let Some(scales) = scales {
        fits("axes and scales", scales.len())?;
        for (&axis, scale) in axes.iter().zip(scales) {
            let size = Scaling::scaled(dims[axis], scale).filter(is_size);
            all[axis] = size.ok_or_else(|| Reason::Number {
                what: "a scale",
                found: (scale as f32).to_string(),
                expected: "it has to leave an element, and no more than sizes may be",
            })?;
        }
        return Ok(all);
    }
    let sizes = call.params.ints(3, "the sizes")?.ok_or(Reason::NoInput(2))?;
    fits("axes and sizes", sizes.len())?;
    let policy = node.word("keep_aspect_ratio_policy", "stretch");
    if policy != "stretch" {
        return Err(Reason::Attribute { name: "keep_aspect_ratio_policy", value: policy.to_owned(), known: "stretch" });
    }
    for (&axis, size) in axes.iter().zip(sizes) {
        let to = usize::try_from(size).ok().filter(|&to| (1..=super::MAX_SIZE).contains(&to));
        all[axis].to = to.ok_or_else(|| Reason::Number {
            what: "a size",
            found: size.to_string(),
            expected: "it has to be one that sizes may be",
        })?;
    }
    Ok(all)
}

/// How an axis is resized, by the attributes.
fn way(call: &Call<'_, '_>, size: &Scaling) -> Result<Way, Reason> {
    let node = call.params.node;
    for name in ["antialias", "exclude_outside"] {
        if node.flag(name, false)? {
            return Err(Reason::Attribute { name, value: "1".to_owned(), known: "0" });
        }
    }
    // Before there were words for it.
    let is_old = node.op() == "Upsample" || node.opset < 11;
    let rounding = match node.word("nearest_mode", "round_prefer_floor") {
        _ if is_old => {
            if size.to < size.from {
                Rounding::Ceil
            } else {
                Rounding::Floor
            }
        }
        "round_prefer_floor" => Rounding::PreferFloor,
        "round_prefer_ceil" => Rounding::PreferCeil,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => {
            let known = "round_prefer_floor, round_prefer_ceil, floor and ceil";
            return Err(Reason::Attribute { name: "nearest_mode", value: other.to_owned(), known });
        }
    };
    let sampling = match node.word("mode", "nearest") {
        "nearest" => Sampling::Nearest(rounding),
        "linear" => Sampling::Linear,
        other => {
            return Err(Reason::Attribute { name: "mode", value: other.to_owned(), known: "nearest and linear" });
        }
    };
    let align = match node.word("coordinate_transformation_mode", "half_pixel") {
        _ if is_old => Align::Asymmetric,
        "half_pixel" => Align::HalfPixel,
        // One element is the first.
        "pytorch_half_pixel" if size.to == 1 => Align::Asymmetric,
        "pytorch_half_pixel" => Align::HalfPixel,
        "half_pixel_symmetric" => Align::Symmetric,
        "align_corners" => Align::Corners,
        "asymmetric" => Align::Asymmetric,
        // Half an element behind, and rounded down.
        "tf_half_pixel_for_nn" if sampling == Sampling::Nearest(Rounding::Floor) => {
            return Ok((Sampling::Nearest(Rounding::PreferCeil), Align::HalfPixel));
        }
        other => {
            return Err(Reason::Attribute {
                name: "coordinate_transformation_mode",
                value: other.to_owned(),
                known: "half_pixel, pytorch_half_pixel, half_pixel_symmetric, align_corners and asymmetric",
            });
        }
    };
    Ok((sampling, align))
}
