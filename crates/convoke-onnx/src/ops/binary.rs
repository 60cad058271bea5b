//! Operators of two tensors, element by element, and those of numbers for each channel.

use std::rc::Rc;

use super::numbers::numbers;
use super::{Build, Call};
use crate::error::Reason;
use crate::ir::{Numbers, Op, Role, Shape, Step};
use crate::shapes::{broadcast, differ_dims};
use crate::tensor::Tensor;
use crate::view::View;

/// An input of such an operator.
enum Operand<'c> {
    Value(&'c View),
    Constant(&'c Rc<Tensor>),
}

fn operand<'c>(call: &'c Call<'_, '_>, input: usize) -> Result<Operand<'c>, Reason> {
    match call.views.get(input) {
        Some(Some(view)) => Ok(Operand::Value(view)),
        _ => call.params.needed(input, "a part").map(Operand::Constant),
    }
}

fn two<'c>(call: &'c Call<'_, '_>) -> Result<(Operand<'c>, Operand<'c>), Reason> {
    Ok((operand(call, 0)?, operand(call, 1)?))
}

/// A value times and plus constants.
pub(super) fn affine(
    build: &mut Build,
    call: &Call<'_, '_>,
    view: &View,
    constant: &Tensor,
    f: impl Fn(Numbers) -> (Numbers, Numbers),
) -> Result<View, Reason> {
    let (view, each) = numbers(build, view, constant)?;
    let (scale, shift) = f(each);
    build.steps(&view, vec![Step::Affine(scale, shift)], &call.hints)
}

/// `Add`, `Sum`, and `Mean` of several.
pub(super) fn sum(build: &mut Build, call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let count = call.params.node.inputs.len();
    if count == 1 {
        return call.view(0).cloned();
    }
    let mut all = (0..count).map(|input| operand(call, input)).collect::<Result<Vec<_>, _>>()?;
    // Constants behind the values.
    all.sort_by_key(|operand| matches!(operand, Operand::Constant(_)));
    let mut all = all.into_iter();
    let mut out = match all.next() {
        Some(Operand::Value(view)) => view.clone(),
        _ => return Err(Reason::NoInput(0)),
    };
    for operand in all {
        out = match operand {
            Operand::Value(other) => both(build, call, &Op::Add, &out, other)?,
            Operand::Constant(constant) => affine(build, call, &out, constant, |each| (Numbers::One(1.0), each))?,
        };
    }
    if op != "Mean" {
        return Ok(out);
    }
    let factor = Numbers::One(1.0 / count as f64);
    build.steps(&out, vec![Step::Affine(factor, Numbers::One(0.0))], &call.hints)
}

pub(super) fn difference(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let minus = |each: &Numbers| each.zip(&Numbers::One(-1.0), |x, y| x * y);
    match two(call)? {
        (Operand::Value(view), Operand::Constant(constant)) => {
            affine(build, call, view, constant, |each| (Numbers::One(1.0), minus(&each)))
        }
        (Operand::Constant(constant), Operand::Value(view)) => {
            affine(build, call, view, constant, |each| (Numbers::One(-1.0), each))
        }
        (Operand::Value(first), Operand::Value(second)) => {
            let second = build.steps(second, vec![Step::Affine(Numbers::One(-1.0), Numbers::One(0.0))], &call.hints)?;
            both(build, call, &Op::Add, first, &second)
        }
        (Operand::Constant(_), Operand::Constant(_)) => Err(Reason::IsConstant(0)),
    }
}

pub(super) fn product(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    match two(call)? {
        (Operand::Value(view), Operand::Constant(constant)) | (Operand::Constant(constant), Operand::Value(view)) => {
            affine(build, call, view, constant, |each| (each, Numbers::One(0.0)))
        }
        (Operand::Value(first), Operand::Value(second)) => both(build, call, &Op::Mul, first, second),
        (Operand::Constant(_), Operand::Constant(_)) => Err(Reason::IsConstant(0)),
    }
}

pub(super) fn quotient(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    match two(call)? {
        (Operand::Value(view), Operand::Constant(constant)) => {
            affine(build, call, view, constant, |each| (each.zip(&Numbers::One(1.0), |x, y| y / x), Numbers::One(0.0)))
        }
        (Operand::Constant(constant), Operand::Value(view)) => {
            let view = build.steps(view, vec![call.reciprocal()], &call.hints)?;
            affine(build, call, &view, constant, |each| (each, Numbers::One(0.0)))
        }
        (Operand::Value(first), Operand::Value(second)) => {
            let second = build.steps(second, vec![call.reciprocal()], &call.hints)?;
            both(build, call, &Op::Mul, first, &second)
        }
        (Operand::Constant(_), Operand::Constant(_)) => Err(Reason::IsConstant(0)),
    }
}

pub(super) fn power(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let exponent = call.params.needed(1, "the exponent")?;
    let wrong = |found: String| {
        let expected = "it has to be one number, a multiple of 0.25 from -4 to 4 other than 0";
        Err(Reason::Number { what: "the exponent", found, expected })
    };
    let Some(one) = exponent.uniform() else { return wrong(format!("{:?} numbers", exponent.dims)) };
    if one == 0.0 || one.abs() > 4.0 || (4.0 * one).fract() != 0.0 {
        return wrong((one as f32).to_string());
    }
    let (view, _) = numbers(build, view, exponent)?;
    if one == 1.0 { Ok(view) } else { build.steps(&view, vec![Step::Pow(one)], &call.hints) }
}

/// `Max` and `Min` with one number.
pub(super) fn bound(build: &mut Build, call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let (view, constant) = match two(call)? {
        (Operand::Value(view), Operand::Constant(constant)) | (Operand::Constant(constant), Operand::Value(view))
            if call.params.node.inputs.len() == 2 =>
        {
            (view, constant)
        }
        _ => return Err(Reason::No("of a value and one number alone it is translated")),
    };
    let (view, each) = numbers(build, view, constant)?;
    let Numbers::One(one) = each else { return Err(Reason::No("of a value and one number alone it is translated")) };
    let (lower, upper) = if op == "Max" { (one, f64::INFINITY) } else { (f64::NEG_INFINITY, one) };
    build.steps(&view, vec![super::steps::clamp(lower, upper)?], &call.hints)
}

/// Sum or product of two values.
pub(super) fn both(
    build: &mut Build,
    call: &Call<'_, '_>,
    op: &Op,
    first: &View,
    second: &View,
) -> Result<View, Reason> {
    let dims = broadcast(&first.dims(), &second.dims())?;
    let wide = |view: &View| {
        let mut view = view.clone();
        while view.axes.len() < dims.len() {
            view.axes.insert(0, vec![]);
        }
        view
    };
    let (first, second) = (wide(first), wide(second));
    let (large, small) = match (first.dims() == dims, second.dims() == dims) {
        (true, true) => return alike(build, call, op, &first, &second),
        (true, false) => (first, second),
        (false, true) => (second, first),
        (false, false) => return super::spread::both_spread(build, call, op, (&first, &second), &dims),
    };
    // One element a channel of the smaller stands for all.
    let (large, roles) = build.aligned(&large)?;
    let shape = build.net.shape(large.value).clone();
    let one = Shape { sizes: vec![1; shape.sizes.len()], ..shape.clone() };
    let fits = |axis: usize, size: usize| match roles[axis] {
        Some(Role::Space(_)) | None => size == 1,
        Some(role) => size == shape.size(role),
    };
    let small_dims = small.dims();
    if !small_dims.iter().enumerate().all(|(axis, &size)| fits(axis, size)) {
        return super::spread::both_spread(build, call, op, (&large, &small), &dims);
    }
    let axes: Vec<_> =
        roles.iter().map(|role| role.map_or(vec![], |role| View::of(0, &one, &[role]).axes.remove(0))).collect();
    let small = build.views.arranged(&mut build.net, &small, &axes, &one);
    let small = small.ok_or_else(|| Reason::Moves(format!("{small_dims:?}")))?;
    let value = build.push(op.clone(), vec![large.value, small], vec![], shape, &call.hints)?;
    Ok(View { value, axes: large.axes })
}

/// Of two tensors of the same sizes.
pub(super) fn alike(
    build: &mut Build,
    call: &Call<'_, '_>,
    op: &Op,
    first: &View,
    second: &View,
) -> Result<View, Reason> {
    let shape = build.net.shape(first.value).clone();
    let other = build.views.arranged(&mut build.net, second, &first.axes, &shape);
    let other = other.ok_or_else(|| Reason::Moves(format!("{:?}", second.dims())))?;
    let value = build.push(op.clone(), vec![first.value, other], vec![], shape, &call.hints)?;
    Ok(View { value, axes: first.axes.clone() })
}

pub(super) fn batch_normalization(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let node = call.params.node;
    if node.flag("training_mode", false)? {
        return Err(Reason::Attribute { name: "training_mode", value: "1".to_owned(), known: "0" });
    }
    let dims = view.dims();
    let Some(&channels) = dims.get(1) else { return Err(Reason::Axes { expected: "2 or more", found: dims.len() }) };
    let read = |input, what| {
        let tensor = call.params.needed(input, what)?;
        if tensor.len() != channels || tensor.data().is_none() {
            return Err(differ_dims("channels and their numbers", &dims, &tensor.dims));
        }
        Ok(tensor)
    };
    let (factor, bias, mean, variance) =
        (read(1, "the factors")?, read(2, "the bias")?, read(3, "the means")?, read(4, "the variances")?);
    let epsilon = node.float("epsilon", 1e-5);
    build.budget.take(channels, 16)?;
    let scale: Vec<_> = (0..channels).map(|c| factor.float(c) / (variance.float(c) + epsilon).sqrt()).collect();
    let shift = (0..channels).map(|c| bias.float(c) - mean.float(c) * scale[c]).collect();
    let (scale, shift) = (Numbers::Each(Rc::new(scale)), Numbers::Each(Rc::new(shift)));
    let view = with_channels(build, view, 1)?;
    build.steps(&view, vec![Step::Affine(scale, shift)], &call.hints)
}

/// A view of a value whose channels are that axis.
pub(super) fn with_channels(build: &mut Build, view: &View, axis: usize) -> Result<View, Reason> {
    let shape = build.net.shape(view.value);
    let channel = View::of(view.value, shape, &[Role::Channel]).axes.remove(0);
    if view.axes[axis] == channel {
        return Ok(view.clone());
    }
    let dims = view.dims();
    let roles = crate::view::roles_with_channel(&dims, build.batch, axis)
        .ok_or(Reason::Axes { expected: "up to five", found: dims.len() })?;
    let value = build.value(view, &roles)?;
    Ok(View::of(value, build.net.shape(value), &roles))
}

pub(super) fn prelu(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let slope = call.params.needed(1, "the slope")?;
    let (view, each) = numbers(build, call.view(0)?, slope)?;
    let step = match each {
        Numbers::One(one) => Step::LeakyRelu(one),
        each => Step::Prelu(each),
    };
    build.steps(&view, vec![step], &call.hints)
}
