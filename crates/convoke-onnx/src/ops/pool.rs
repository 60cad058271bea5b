//! Pooling and `LRN`.

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
