//! Operators that repeat elements along axes: `Expand` and `Tile`, and what sums and products do to a smaller value.

use super::moves::reshaped;
use super::{Build, Call};
use crate::error::Reason;
use crate::ir::Op;
use crate::shapes::{broadcast, differ};
use crate::view::View;

/// Each axis of one element as long as that of `dims`.
pub(super) fn spread(build: &mut Build, call: &Call<'_, '_>, view: &View, dims: &[usize]) -> Result<View, Reason> {
    let mut view = view.clone();
    while view.axes.len() < dims.len() {
        view.axes.insert(0, vec![]);
    }
    let own = view.dims();
    if own == dims {
        return Ok(view);
    }
    let factors: Vec<_> = own.iter().zip(dims).map(|(&own, &size)| if own == size { 1 } else { size }).collect();
    super::resize::repeated(build, call, &view, &factors)
}

pub(super) fn expand(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let given = call.params.ints(1, "the shape")?.ok_or(Reason::NoInput(1))?;
    let wanted = given.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
    let dims = broadcast(&view.dims(), &wanted.map_err(|_| Reason::Overflow)?)?;
    spread(build, call, view, &dims)
}

pub(super) fn tile(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let own = view.dims();
    let given = call.params.ints(1, "the repeats")?.ok_or(Reason::NoInput(1))?;
    let repeats: Vec<_> = given.iter().filter_map(|&n| usize::try_from(n).ok().filter(|&n| n > 0)).collect();
    if repeats.len() != given.len() || repeats.len() != own.len() {
        return Err(differ("sizes and repeats", &own, &given));
    }
    let mut out = view.clone();
    for (axis, &n) in repeats.iter().enumerate().filter(|&(_, &n)| n > 1) {
        out = super::moves::joined(build, call, &vec![&out; n.min(super::MAX_PARTS + 1)], axis)?;
    }
    Ok(out)
}

/// `DepthToSpace` and `SpaceToDepth`.
pub(super) fn depth_and_space(build: &mut Build, call: &Call<'_, '_>, op: &str) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let [n, c, h, w] = dims[..] else { return Err(Reason::Axes { expected: "4", found: dims.len() }) };
    let given = call.params.node.int("blocksize", 0);
    let number =
        || Reason::Number { what: "`blocksize`", found: given.to_string(), expected: "it has to divide the sizes" };
    let b = usize::try_from(given).ok().filter(|&b| (1..=super::MAX_SIZE).contains(&b)).ok_or_else(number)?;
    let square = b.checked_mul(b).ok_or(Reason::Overflow)?;
    let (apart, order, made) = if op == "DepthToSpace" {
        if !c.is_multiple_of(square) {
            return Err(number());
        }
        let (apart, order) = match call.params.node.word("mode", "DCR") {
            "DCR" => ([n, b, b, c / square, h, w], [0, 3, 4, 1, 5, 2]),
            "CRD" => ([n, c / square, b, b, h, w], [0, 1, 4, 2, 5, 3]),
            other => return Err(Reason::Attribute { name: "mode", value: other.to_owned(), known: "DCR and CRD" }),
        };
        (apart, order, [Some(n), Some(c / square), h.checked_mul(b), w.checked_mul(b)])
    } else {
        if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
            return Err(number());
        }
        ([n, c, h / b, b, w / b, b], [0, 3, 5, 1, 2, 4], [Some(n), c.checked_mul(square), Some(h / b), Some(w / b)])
    };
    let made: Option<Vec<_>> = made.into_iter().collect();
    let apart = reshaped(build, view, &apart)?;
    reshaped(build, &apart.transposed(&order), &made.ok_or(Reason::Overflow)?)
}

/// `Gather` by constant indices: a part, or parts one behind the other.
pub(super) fn gather(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let at = crate::shapes::axis(call.params.node.int("axis", 0), dims.len())?;
    let indices = call.params.needed(1, "the indices")?;
    let picked = call.params.ints(1, "the indices")?.ok_or(Reason::NoInput(1))?;
    let picked = picked.into_iter().map(|index| crate::shapes::axis(index, dims[at])).collect::<Result<Vec<_>, _>>()?;
    let out = super::moves::picked(build, call, view, at, &picked)?;
    let mut made = dims[..at].to_vec();
    made.extend(&indices.dims);
    made.extend(&dims[at + 1..]);
    reshaped(build, &out, &made)
}

/// Sum or product of two values of which one or both stand for more elements than they have.
pub(super) fn both_spread(
    build: &mut Build,
    call: &Call<'_, '_>,
    op: &Op,
    (first, second): (&View, &View),
    dims: &[usize],
) -> Result<View, Reason> {
    let (first, second) = (spread(build, call, first, dims)?, spread(build, call, second, dims)?);
    super::binary::alike(build, call, op, &first, &second)
}
