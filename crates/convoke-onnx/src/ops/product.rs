//! `MatMul` and `Gemm` of two values: products of the matrices along their last two axes.

use super::{Build, Call};
use crate::error::Reason;
use crate::fold::strides;
use crate::ir::{Op, Shape};
use crate::shapes::{broadcast, differ_dims};
use crate::view::{Factor, View};

/// The product of two tensors as NumPy has it, axes in front of the last two repeated where one has one element.
pub(super) fn of_values(build: &mut Build, call: &Call<'_, '_>, a: &View, b: &View) -> Result<View, Reason> {
    let (of_a, of_b) = (a.dims(), b.dims());
    let ([lead_a @ .., rows, inner], [lead_b @ .., b_inner, columns]) = (&of_a[..], &of_b[..]) else {
        let found = of_a.len().min(of_b.len());
        return Err(Reason::Axes { expected: "2 or more of both values", found });
    };
    if inner != b_inner {
        return Err(differ_dims("columns and rows", &of_a, &of_b));
    }
    let mut made = broadcast(lead_a, lead_b)?;
    let product = |sizes: &[usize]| sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
    let lead = product(&made).ok_or(Reason::Overflow)?;
    made.extend([*rows, *columns]);
    // One second matrix for all: the rows of the first ones are those of one.
    let is_one = build.batch == 1 && lead_b.iter().all(|&size| size == 1) && product(lead_a) == Some(lead);
    let (lead, rows) = if is_one { (1, lead * rows) } else { (lead, *rows) };
    if !lead.is_multiple_of(build.batch) {
        return Err(Reason::No("it multiplies images with each other"));
    }
    let (a, b) = if is_one {
        (a.clone(), b.clone())
    } else {
        let whole = |lead: &[usize], two: [usize; 2]| [lead, &two].concat();
        let lead = &made[..made.len() - 2];
        let (of_a, of_b) = (whole(lead, [rows, *inner]), whole(lead, [*inner, *columns]));
        (super::spread::spread(build, call, a, &of_a)?, super::spread::spread(build, call, b, &of_b)?)
    };
    let first = matrices(build, &a, (lead, rows, *inner))?;
    // Whichever axis has its elements side by side stays the last.
    let is_transposed = b.axes[b.axes.len() - 2].last().is_some_and(|factor| factor.stride == 1);
    let second = if is_transposed {
        let mut order: Vec<usize> = (0..b.axes.len()).collect();
        order.swap(b.axes.len() - 2, b.axes.len() - 1);
        matrices(build, &b.transposed(&order), (lead, *columns, *inner))?
    } else {
        matrices(build, &b, (lead, *inner, *columns))?
    };
    let shape = matrix_shape(build.batch, (lead, rows, *columns));
    let value = build.push(Op::Matmul(is_transposed), vec![first, second], vec![], shape, &call.hints)?;
    let axes = made.iter().zip(strides(&made));
    let axes = axes.map(|(&size, stride)| if size == 1 { vec![] } else { vec![Factor { size, stride }] });
    Ok(View { value, axes: axes.collect() })
}

/// So many matrices, of all images, whose columns are the channels.
fn matrix_shape(batch: usize, (lead, rows, columns): (usize, usize, usize)) -> Shape {
    let of_image = lead / batch;
    let sizes = if of_image == 1 { vec![rows] } else { vec![of_image, rows] };
    Shape { batch, channels: columns, sizes, last: true }
}

/// A value in which a view lies as so many matrices: of one the rows are all axes but the last.
fn matrices(build: &mut Build, view: &View, (lead, rows, columns): (usize, usize, usize)) -> Result<usize, Reason> {
    let rank = view.axes.len();
    let first = if lead == 1 { 0 } else { rank - 2 };
    let axes = vec![view.axes[..first].concat(), view.axes[first..rank - 1].concat(), view.axes[rank - 1].clone()];
    let view = View { value: view.value, axes };
    let one = |size: usize, stride: usize| if size == 1 { vec![] } else { vec![Factor { size, stride }] };
    let wanted = [one(lead, rows * columns), one(rows, columns), one(columns, 1)];
    let shape = matrix_shape(build.batch, (lead, rows, columns));
    let value = build.views.arranged(&mut build.net, &view, &wanted, &shape);
    value.ok_or_else(|| Reason::Moves(format!("{:?}", view.dims())))
}
