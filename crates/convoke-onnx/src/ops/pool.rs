//! Pooling, means over space, and `LRN`.

use super::conv::{made, outputs, window};
use super::{Build, Call};
use crate::error::Reason;
use crate::ir::{Op, Pooling, Role, Shape, Window};
use crate::view::{View, default_roles};

/// The input as a value of channels and space.
fn input(build: &mut Build, call: &Call<'_, '_>) -> Result<usize, Reason> {
    let view = call.view(0)?;
    let rank = view.axes.len();
    if !(3..=5).contains(&rank) {
        return Err(Reason::Axes { expected: "3 to 5", found: rank });
    }
    let roles: Vec<_> = [Role::Batch, Role::Channel].into_iter().chain((0..rank - 2).map(Role::Space)).collect();
    build.value(view, &roles)
}

fn kind(call: &Call<'_, '_>, op: &str) -> Result<Pooling, Reason> {
    let node = call.params.node;
    Ok(match op {
        "MaxPool" | "GlobalMaxPool" => Pooling::Max,
        "AveragePool" => Pooling::Average(node.flag("count_include_pad", false)?),
        "GlobalAveragePool" => Pooling::Average(true),
        _ => {
            let p = node.int("p", 2);
            let known = usize::try_from(p).ok().filter(|p| (1..=64).contains(p));
            Pooling::Norm(known.ok_or(Reason::Number {
                what: "`p`",
                found: p.to_string(),
                expected: "it has to be from 1 to 64",
            })?)
        }
    })
}

pub(super) fn pool(build: &mut Build, call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let input = input(build, call)?;
    let shape = build.net.shape(input).clone();
    let mut pooling = kind(call, op)?;
    let window = window(call, None, &shape.sizes)?;
    let ceil = call.params.node.flag("ceil_mode", false)?;
    let sizes = outputs(&window, &shape.sizes, ceil)?;
    let floor = outputs(&window, &shape.sizes, false)?;
    if window.padding.iter().all(|&padding| padding == (0, 0)) && matches!(pooling, Pooling::Average(_)) {
        // Then what is counted is the same.
        pooling = Pooling::Average(true);
    }
    pushed(build, call, input, pooling, window, ceil && sizes != floor, sizes)
}

fn pushed(
    build: &mut Build,
    call: &Call<'_, '_>,
    input: usize,
    pooling: Pooling,
    window: Window,
    ceil: bool,
    sizes: Vec<usize>,
) -> Result<View, Reason> {
    let shape = build.net.shape(input).clone();
    let whole = window.kernel == shape.sizes && window.padding.iter().all(|&padding| padding == (0, 0));
    let window = if whole { None } else { Some(window) };
    let op = Op::Pool { pooling, window, ceil };
    let value = build.push(op, vec![input], vec![], Shape { sizes, ..shape }, &call.hints)?;
    Ok(made(build, value))
}

pub(super) fn global(build: &mut Build, call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let input = input(build, call)?;
    let shape = build.net.shape(input).clone();
    let op = Op::Pool { pooling: kind(call, op)?, window: None, ceil: false };
    let sizes = vec![1; shape.sizes.len()];
    let value = build.push(op, vec![input], vec![], Shape { sizes, ..shape }, &call.hints)?;
    Ok(made(build, value))
}

/// `ReduceMean` along spatial axes, or what can be seen as such.
pub(super) fn mean(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let given = call.view(0)?;
    let dims = given.dims();
    let rank = dims.len();
    let axes = call.params.axes(1, rank)?.filter(|axes| !axes.is_empty());
    let none = call.params.node.flag("noop_with_empty_axes", false)?;
    let axes = match axes {
        None if none => return Ok(given.clone()),
        None => (0..rank).collect(),
        Some(axes) => axes,
    };
    let is_space = |role: Option<Role>| matches!(role, None | Some(Role::Space(_)));
    let (mut view, mut roles) = build.aligned(given)?;
    if axes.iter().any(|&axis| !is_space(roles[axis])) {
        let other = default_roles(&dims, build.batch).ok_or(Reason::Axes { expected: "up to five", found: rank })?;
        let value = build.value(given, &other)?;
        view = View::of(value, build.net.shape(value), &other);
        roles = other.into_iter().map(Some).collect();
    }
    if axes.iter().any(|&axis| !is_space(roles[axis]) && dims[axis] != 1) {
        return Err(Reason::No("it takes means over channels or images, and pooling is over space"));
    }
    let shape = build.net.shape(view.value).clone();
    let mut window = Window {
        kernel: vec![1; shape.sizes.len()],
        stride: vec![1; shape.sizes.len()],
        dilation: vec![1; shape.sizes.len()],
        padding: vec![(0, 0); shape.sizes.len()],
    };
    for &axis in &axes {
        if let Some(Role::Space(at)) = roles[axis] {
            window.kernel[at] = shape.sizes[at];
        }
    }
    let sizes: Vec<_> = shape.sizes.iter().zip(&window.kernel).map(|(size, kernel)| size - kernel + 1).collect();
    let value = if sizes == shape.sizes {
        view.value
    } else {
        let made = Shape { sizes, ..shape.clone() };
        let window = if window.kernel == shape.sizes { None } else { Some(window) };
        let op = Op::Pool { pooling: Pooling::Average(true), window, ceil: false };
        build.push(op, vec![view.value], vec![], made, &call.hints)?
    };
    let keep = call.params.node.flag("keepdims", true)?;
    let made = build.net.shape(value).clone();
    let mut out = View { value, axes: Vec::new() };
    for (axis, role) in roles.iter().enumerate() {
        let reduced = axes.contains(&axis);
        if !reduced {
            out.axes.extend(View::of(value, &made, &role.map_or(vec![], |role| vec![role])).axes);
            if role.is_none() {
                out.axes.push(vec![]);
            }
        } else if keep {
            out.axes.push(vec![]);
        }
    }
    Ok(out)
}

pub(super) fn lrn(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let roles = default_roles(&dims, build.batch).filter(|roles| roles.first() == Some(&Role::Batch));
    let roles = roles.ok_or(Reason::Axes { expected: "2 to 5", found: dims.len() })?;
    let input = build.value(view, &roles)?;
    let node = call.params.node;
    let given = node.int("size", 0);
    // An even number would reach farther to one side, and ONNX and PyTorch take different ones.
    let size = usize::try_from(given).ok().filter(|size| size % 2 == 1);
    let size = size.ok_or(Reason::Number { what: "`size`", found: given.to_string(), expected: "it has to be odd" })?;
    let op = Op::Lrn {
        size,
        alpha: node.float("alpha", 0.0001),
        beta: node.float("beta", 0.75),
        k: node.float("bias", 1.0),
    };
    let shape = build.net.shape(input).clone();
    let value = build.push(op, vec![input], vec![], shape.clone(), &call.hints)?;
    Ok(View::of(value, &shape, &roles))
}
