//! Operators that move elements, or only name them otherwise.

use super::{Build, Call, MAX_PARTS, filled};
use crate::error::Reason;
use crate::ir::{Fill, Op, Role, Shape};
use crate::shapes::{Cut, axis, differ_dims};
use crate::tensor::DType;
use crate::view::{Factor, View, default_roles, merged, shape_of};

/// What is joined of more parts.
const MANY: Reason = Reason::No("it is made of more than 1024 parts");

/// `Identity` and what is that here.
pub(super) fn same(call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let node = call.params.node;
    if op == "Dropout"
        && node.opset >= 12
        && call.params.known.get(2).is_some_and(|mode| mode.as_ref().is_some_and(|mode| mode.uniform() != Some(0.0)))
    {
        return Err(Reason::No("it is in training mode"));
    }
    if op == "Cast" {
        let to = DType::of_onnx(i32::try_from(node.int("to", 1)).unwrap_or(-1)).map_err(Reason::Type)?;
        if to != DType::F32 {
            return Err(Reason::Type(to.name().to_owned()));
        }
    }
    call.view(0).cloned()
}

/// Operators that change only sizes and their order.
pub(super) fn renamed(build: &mut Build, call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let dims = match op {
        "Transpose" => return Ok(view.transposed(&call.params.order(dims.len())?)),
        "Reshape" => call.params.reshaped(&dims)?,
        "Flatten" => call.params.flattened(&dims)?,
        "Squeeze" => call.params.squeezed(&dims)?,
        _ => call.params.unsqueezed(&dims)?,
    };
    reshaped(build, view, &dims)
}

/// The elements in ONNX's order with other sizes.
pub(super) fn reshaped(build: &mut Build, view: &View, dims: &[usize]) -> Result<View, Reason> {
    if let Some(view) = view.reshaped(dims) {
        return Ok(view);
    }
    let view = contiguous(build, view)?;
    view.reshaped(dims).ok_or_else(|| differ_dims("sizes", &view.dims(), dims))
}

/// A view whose elements lie in memory in ONNX's order.
pub(crate) fn contiguous(build: &mut Build, view: &View) -> Result<View, Reason> {
    let dims = view.dims();
    let axes: Vec<Vec<Factor>> = dims
        .iter()
        .zip(crate::fold::strides(&dims))
        .map(|(&size, stride)| if size == 1 { vec![] } else { vec![Factor { size, stride }] })
        .collect();
    if axes == view.axes {
        return Ok(view.clone());
    }
    let own = build.net.shape(view.value);
    let shape = match default_roles(&dims, build.batch) {
        Some(roles) => shape_of(&dims, &roles, build.batch, false),
        None => Shape { channels: own.image(), sizes: vec![1], last: false, ..own.clone() },
    };
    let value = build.views.arranged(&mut build.net, view, &axes, &shape);
    let value = value.ok_or_else(|| Reason::Moves(format!("{dims:?}")))?;
    Ok(View { value, axes })
}

pub(super) fn concat(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    // Constants without elements are what exporters begin lists with.
    let is_empty = |input: &usize| matches!(call.params.known.get(*input), Some(Some(tensor)) if tensor.len() == 0);
    let parts: Vec<_> = (0..call.params.node.inputs.len()).filter(|input| !is_empty(input)).collect();
    let first = call.view(parts.first().copied().unwrap_or(0))?;
    let rank = first.axes.len();
    let at = axis(call.params.node.int("axis", 1), rank)?;
    if parts.len() == 1 {
        return Ok(first.clone());
    }
    let views = parts.into_iter().map(|input| call.view(input)).collect::<Result<Vec<_>, _>>()?;
    joined(build, call, &views, at)
}

/// Tensors one behind the other along an axis.
pub(super) fn joined(build: &mut Build, call: &Call<'_, '_>, parts: &[&View], at: usize) -> Result<View, Reason> {
    if parts.len() > MAX_PARTS {
        return Err(MANY);
    }
    let first = parts[0];
    let rank = first.axes.len();
    let mut views = Vec::new();
    for view in parts {
        let (dims, other) = (first.dims(), view.dims());
        if other.len() != rank || (0..rank).any(|axis| axis != at && dims[axis] != other[axis]) {
            return Err(differ_dims("parts", &dims, &other));
        }
        views.push(view);
    }
    // Axes of a value that all parts can have; of one element along the axis nothing says what it is.
    let known = views.iter().find_map(|view| {
        let roles = view.roles(build.net.shape(view.value))?;
        let last = build.net.shape(view.value).last;
        let rank = build.net.shape(view.value).sizes.len();
        filled(roles, build.batch, rank).map(|roles| (roles, last))
    });
    let dims = first.dims();
    let (roles, last) = match known {
        Some(known) => known,
        None => {
            let roles = default_roles(&dims, build.batch);
            (roles.ok_or(Reason::Axes { expected: "up to five", found: rank })?, build.net.shape(first.value).last)
        }
    };
    // Of one image a first axis of one element is any axis.
    let (roles, last) = match roles[at] {
        Role::Batch if build.batch == 1 && rank <= 4 => {
            (std::iter::once(Role::Channel).chain((0..rank - 1).map(Role::Space)).collect(), false)
        }
        Role::Batch => return Err(Reason::No("it joins images of a batch")),
        _ => (roles, last),
    };
    let mut values = Vec::new();
    let mut total = 0;
    for view in &views {
        let dims = view.dims();
        let shape = shape_of(&dims, &roles, build.batch, last);
        let axes = View::of(0, &shape, &roles).axes;
        let value = build.views.arranged(&mut build.net, view, &axes, &shape);
        values.push(value.ok_or_else(|| Reason::Moves(format!("{dims:?}")))?);
        total += dims[at];
    }
    let mut dims = dims;
    dims[at] = total;
    let shape = shape_of(&dims, &roles, build.batch, last);
    let value = build.push(Op::Concat(roles[at]), values, vec![], shape.clone(), &call.hints)?;
    Ok(View::of(value, &shape, &roles))
}

/// The parts of a view, cut along its axes.
fn cut(build: &mut Build, call: &Call<'_, '_>, view: &View, cuts: &[Cut]) -> Result<View, Reason> {
    let dims = view.dims();
    let is_whole = |axis: usize| {
        cuts[axis].start == 0 && cuts[axis].len == dims[axis] && (cuts[axis].step == 1 || dims[axis] == 1)
    };
    if cuts.iter().any(|cut| cut.len == 0) {
        return Err(Reason::No("it takes nothing"));
    }
    let own = build.net.shape(view.value);
    let is_placed = view.roles(own).and_then(|roles| filled(roles, build.batch, own.sizes.len())).is_some();
    if !is_placed && let Some(view) = cut_within(build, call, view, cuts)? {
        return Ok(view);
    }
    let placed = build.placed(view);
    let is_fit = |(axis, role): (usize, &Role)| match role {
        Role::Batch => is_whole(axis),
        Role::Channel => is_whole(axis) || cuts[axis].step == 1,
        Role::Space(_) => true,
    };
    let (view, roles) = match placed {
        Ok((view, roles)) if roles.iter().enumerate().all(is_fit) => (view, roles),
        _ => build.spatial(view, |axis| !is_whole(axis))?,
    };
    let shape = build.net.shape(view.value).clone();
    let (mut made, mut channels) = (shape.clone(), None);
    let mut space: Vec<_> = shape.sizes.iter().map(|&size| (0, size, 1)).collect();
    for (axis, &cut) in cuts.iter().enumerate().filter(|&(axis, _)| !is_whole(axis)) {
        let step = usize::try_from(cut.step).unwrap_or(1);
        let end = cut.start + (cut.len - 1) * step + 1;
        match roles[axis] {
            Role::Space(at) => {
                space[at] = (cut.start, end, step);
                made.sizes[at] = cut.len;
            }
            _ => {
                channels = Some((cut.start, end));
                made.channels = cut.len;
            }
        }
    }
    let value = if (0..cuts.len()).all(is_whole) {
        view.value
    } else {
        build.push(Op::Slice { channels, space }, vec![view.value], vec![], made.clone(), &call.hints)?
    };
    Ok(View::of(value, &made, &roles))
}

/// A part of a view whose axes are none of its value, if each that is cut is one run of elements that are equally far apart: a slice of the value, seen as
/// an image of what lies in front of the run, the run, and what lies behind.
fn cut_within(build: &mut Build, call: &Call<'_, '_>, view: &View, cuts: &[Cut]) -> Result<Option<View>, Reason> {
    let is_cut = |&(axis, cut): &(usize, &Cut)| {
        let factors = &view.axes[axis];
        cut.len < factors.iter().map(|factor| factor.size).product() || cut.start > 0
    };
    let cut: Vec<_> = cuts.iter().enumerate().filter(is_cut).collect();
    let image = build.net.shape(view.value).image();
    let is_one = |&(axis, cut): &(usize, &Cut)| {
        cut.step > 0 && matches!(view.axes[axis][..], [Factor { size, stride }] if image.is_multiple_of(size * stride))
    };
    if cut.is_empty() || !cut.iter().all(is_one) {
        return Ok(None);
    }
    let mut out = view.clone();
    for (axis, cut) in cut {
        let [factor] = out.axes[axis][..] else { return Ok(None) };
        out = cut_factor(build, call, &out, factor, cut)?;
    }
    Ok(Some(out))
}

/// The part of a view that has some of the elements that a factor runs over.
fn cut_factor(build: &mut Build, call: &Call<'_, '_>, view: &View, factor: Factor, cut: &Cut) -> Result<View, Reason> {
    let Factor { size, stride } = factor;
    let own = build.net.shape(view.value).clone();
    let step = usize::try_from(cut.step).unwrap_or(1);
    let end = cut.start + (cut.len - 1) * step + 1;
    // As channels one behind the other, where that is what they are.
    let unit = own.stride(Role::Channel);
    let is_of_channels = step == 1 && stride.is_multiple_of(unit) && stride / unit * size == own.channels;
    let (value, op, made) = if is_of_channels {
        let each = stride / unit;
        let made = Shape { channels: each * cut.len, ..own.clone() };
        let space = own.sizes.iter().map(|&size| (0, size, 1)).collect();
        (view.value, Op::Slice { channels: Some((cut.start * each, end * each)), space }, made)
    } else if !own.image().is_multiple_of(size * stride) {
        return Err(Reason::Moves(format!("{:?}", view.dims())));
    } else {
        let cube =
            Shape { channels: own.image() / (size * stride), sizes: vec![size, stride], last: false, ..own.clone() };
        let all = [vec![Factor { size: own.image() * own.batch, stride: 1 }]];
        let whole = View { value: view.value, axes: all.to_vec() };
        let value = build.views.arranged(&mut build.net, &whole, &all, &cube);
        let value = value.ok_or_else(|| Reason::Moves(format!("{:?}", view.dims())))?;
        let made = Shape { sizes: vec![cut.len, stride], ..cube };
        (value, Op::Slice { channels: None, space: vec![(cut.start, end, step), (0, stride, 1)] }, made)
    };
    let value = build.push(op, vec![value], vec![], made, &call.hints)?;
    // What is farther apart than the whole run has come nearer.
    let moved = |&one: &Factor| match one {
        one if one == factor => Factor { size: cut.len, stride },
        one if one.stride >= size * stride => Factor { stride: one.stride / size * cut.len, ..one },
        one => one,
    };
    let axes = view.axes.iter().map(|axis| merged(axis.iter().map(moved)));
    Ok(View { value, axes: axes.collect() })
}

/// What lies at these indices along an axis.
pub(super) fn picked(
    build: &mut Build,
    call: &Call<'_, '_>,
    view: &View,
    axis: usize,
    indices: &[usize],
) -> Result<View, Reason> {
    let dims = view.dims();
    let mut parts = Vec::new();
    let mut at = 0;
    while at < indices.len() {
        let (start, next) = (indices[at], indices.get(at + 1).copied());
        let step = next.and_then(|next| next.checked_sub(start)).filter(|&step| step > 0).unwrap_or(1);
        let rest = indices[at..].iter().enumerate();
        let len =
            rest.take_while(|&(i, &index)| i.checked_mul(step).and_then(|far| far.checked_add(start)) == Some(index));
        let len = len.count();
        if parts.len() == MAX_PARTS {
            return Err(MANY);
        }
        let mut cuts: Vec<_> = dims.iter().map(|&len| Cut { start: 0, step: 1, len }).collect();
        cuts[axis] = Cut { start, step: step as i64, len };
        parts.push(cut(build, call, view, &cuts)?);
        at += len;
    }
    match &parts[..] {
        [] => Err(Reason::No("it takes nothing")),
        [one] => Ok(one.clone()),
        many => joined(build, call, &many.iter().collect::<Vec<_>>(), axis),
    }
}

pub(super) fn slice(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let mut cuts = call.params.cuts(&view.dims())?;
    let mut view = view.clone();
    for (axis, own) in cuts.iter_mut().enumerate() {
        if let Cut { start, step: step @ ..0, len } = *own
            && len > 1
        {
            let back = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
            let indices: Vec<_> = (0..len).map(|at| start.saturating_sub(at.saturating_mul(back))).collect();
            view = picked(build, call, &view, axis, &indices)?;
            *own = Cut { start: 0, step: 1, len };
        }
    }
    cut(build, call, &view, &cuts)
}

pub(super) fn split(build: &mut Build, call: &Call<'_, '_>) -> Result<Vec<View>, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let at = axis(call.params.node.int("axis", 0), dims.len())?;
    let (mut start, mut parts) = (0, Vec::new());
    for len in call.params.parts(dims[at], call.params.node.outputs.len())? {
        let mut cuts: Vec<_> = dims.iter().map(|&len| Cut { start: 0, step: 1, len }).collect();
        cuts[at] = Cut { start, step: 1, len };
        parts.push(cut(build, call, view, &cuts)?);
        start += len;
    }
    Ok(parts)
}

pub(super) fn pad(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let node = call.params.node;
    let (given, value) = match node.ints("pads") {
        Some(pads) => (pads.to_vec(), node.float("value", 0.0)),
        None => (
            call.params.ints(1, "the padding")?.ok_or(Reason::NoInput(1))?,
            call.params.number(2, "the value")?.unwrap_or(0.0),
        ),
    };
    let fill = match node.word("mode", "constant") {
        "constant" if value.is_finite() => Fill::Number(value),
        "constant" => {
            let (found, expected) = (value.to_string(), "it has to be a finite number");
            return Err(Reason::Number { what: "the value", found, expected });
        }
        "reflect" => Fill::Mode("reflect"),
        "edge" => Fill::Mode("replicate"),
        "wrap" => Fill::Mode("circular"),
        other => {
            let known = "constant, reflect, edge and wrap";
            return Err(Reason::Attribute { name: "mode", value: other.to_owned(), known });
        }
    };
    let axes = match call.params.ints(3, "the axes")? {
        Some(axes) => axes.iter().map(|&at| axis(at, dims.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..dims.len()).collect(),
    };
    if given.len() != 2 * axes.len() {
        return Err(crate::shapes::differ("axes and padding", &axes, &given));
    }
    let mut each = vec![(0, 0); dims.len()];
    for (at, &axis) in axes.iter().enumerate() {
        let number = |n: i64| {
            let number = usize::try_from(n).ok().filter(|&n| n <= super::MAX_SIZE);
            number.ok_or(Reason::Number {
                what: "a padding",
                found: n.to_string(),
                expected: "it has to be from 0 to 2147483647",
            })
        };
        each[axis] = (number(given[at])?, number(given[at + axes.len()])?);
    }
    let (view, roles) = build.spatial(view, |axis| each[axis] != (0, 0))?;
    let shape = build.net.shape(view.value).clone();
    let (mut padding, mut made) = (vec![(0, 0); shape.sizes.len()], shape.clone());
    for (&role, &(lower, upper)) in roles.iter().zip(&each) {
        if let Role::Space(at) = role {
            padding[at] = (lower, upper);
            made.sizes[at] = shape.sizes[at] + lower + upper;
        }
    }
    if made == shape {
        return Ok(view);
    }
    let value = build.push(Op::Pad { padding, fill }, vec![view.value], vec![], made.clone(), &call.hints)?;
    Ok(View::of(value, &made, &roles))
}
