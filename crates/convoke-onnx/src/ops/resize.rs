//! `Resize` and `Upsample`: each element repeated.

use super::{Build, Call};
use crate::error::Reason;
use crate::ir::{Op, Role, Shape};
use crate::shapes::differ;
use crate::view::View;

pub(super) fn resize(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let factors = factors(call, &dims)?;
    nearest(call, &factors)?;
    repeated(build, call, view, &factors)
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

/// How often each axis is repeated.
fn factors(call: &Call<'_, '_>, dims: &[usize]) -> Result<Vec<usize>, Reason> {
    let node = call.params.node;
    if node.has("axes") {
        return Err(Reason::No("the attribute `axes` is not translated"));
    }
    let whole = |scale: f64| {
        let factor = scale as usize;
        let fits = scale >= 1.0 && scale <= super::MAX_SIZE as f64 && factor as f64 == scale;
        fits.then_some(factor).ok_or(Reason::Number {
            what: "a scale",
            found: scale.to_string(),
            expected: "it has to be a whole number",
        })
    };
    let fits = |len: usize| {
        if len == dims.len() { Ok(()) } else { Err(differ("axes and scales", &[dims.len()], &[len as i64])) }
    };
    if let Some(scales) = node.floats("scales").filter(|_| node.has("scales")) {
        fits(scales.len())?;
        return scales.iter().map(|&scale| whole(f64::from(scale))).collect();
    }
    let at = if node.op() == "Upsample" || node.opset < 11 { 1 } else { 2 };
    if let Some(scales) = call.params.constant(at, "the scales")?.filter(|scales| scales.len() > 0) {
        fits(scales.len())?;
        return (0..scales.len()).map(|axis| whole(scales.float(axis))).collect();
    }
    let sizes = call.params.ints(3, "the sizes")?.ok_or(Reason::NoInput(2))?;
    fits(sizes.len())?;
    let policy = node.word("keep_aspect_ratio_policy", "stretch");
    if policy != "stretch" {
        return Err(Reason::Attribute { name: "keep_aspect_ratio_policy", value: policy.to_owned(), known: "stretch" });
    }
    sizes.iter().zip(dims).map(|(&size, &from)| whole(size as f64 / from as f64)).collect()
}

/// Refuses what is no plain repetition.
fn nearest(call: &Call<'_, '_>, factors: &[usize]) -> Result<(), Reason> {
    let node = call.params.node;
    if factors.iter().all(|&factor| factor == 1) {
        return Ok(());
    }
    let mode = node.word("mode", "nearest");
    if mode != "nearest" {
        return Err(Reason::Attribute { name: "mode", value: mode.to_owned(), known: "nearest" });
    }
    if node.op() == "Upsample" || node.opset < 11 {
        return Ok(());
    }
    let coordinates = node.word("coordinate_transformation_mode", "half_pixel");
    let rounding = node.word("nearest_mode", "round_prefer_floor");
    // Where element `x` of the output is read: `x / f` or `(x + 0.5) / f - 0.5`, rounded; for a repetition that has to be `x / f` rounded down.
    let is_repetition = |factor: usize| match coordinates {
        "asymmetric" => rounding == "floor" || rounding == "round_prefer_floor" && factor == 2,
        "half_pixel" | "half_pixel_symmetric" | "pytorch_half_pixel" => match rounding {
            "round_prefer_floor" | "round_prefer_ceil" => true,
            _ => factor == 1,
        },
        _ => false,
    };
    if factors.iter().all(|&factor| factor == 1 || is_repetition(factor)) {
        return Ok(());
    }
    Err(Reason::Attribute {
        name: "coordinate_transformation_mode",
        value: format!("{coordinates} with nearest_mode {rounding}"),
        known: "asymmetric with floor, and half_pixel with round_prefer_floor or round_prefer_ceil",
    })
}
