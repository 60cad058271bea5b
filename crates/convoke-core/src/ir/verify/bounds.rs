//! Every access lies within its buffer.
//!
//! The element that lane `l` of an access touches is the call's offset, plus each tile loop's step times its variable,
//! plus a constant, plus `l` times the stride. Accesses that differ in the constant alone are bounded together: only the
//! least and the greatest matter.

use super::VerifyError;
use super::linear::{Bound, Bounds, Linear, Space};
use super::tiles::Group;
use crate::ir::{Extent, Role};

/// Pushes the loops around `group` onto `space`; gives the element at constant 0 and lane 0.
pub(super) fn enter(space: &mut Space, group: &Group, base: &Linear, ranges: &[Bounds]) -> Linear {
    let mut element = *base;
    for &(extent, step) in &group.loops {
        element.factors[space.next_slot()] = step.into();
        space.push(match extent {
            Extent::Range(range) => ranges[range as usize].clone(),
            Extent::Count(n) => {
                let bound = |n: i128| vec![Bound { numerator: Linear::constant(n), divisor: 1 }];
                Bounds { lo: bound(0), hi: bound(n.into()) }
            }
        });
    }
    element
}

/// Proves that `group`, whose element at constant 0 and lane 0 is `element`, stays within `0..len`.
pub(super) fn check(
    space: &Space,
    group: &Group,
    element: &Linear,
    len: &Linear,
    names: impl Fn() -> (String, String, Role),
) -> Result<(), VerifyError> {
    let first = group.offsets.iter().copied().min().unwrap_or(0);
    let last = group.offsets.iter().copied().max().unwrap_or(0);
    let last = i128::from(last) + (group.lanes as i128 - 1) * i128::from(group.stride);
    let mut low = *element;
    low.constant += i128::from(first);
    let mut element_last = *element;
    element_last.constant += last;
    let least = space.least(&low, 0);
    // How many elements are left after the last; the distance to the end, so that what the two share cancels.
    let left = len.combine(1, &element_last, -1).and_then(|left| space.least(&left, 1));
    if (least >= Some(0) && left >= Some(1)) || space.is_empty() {
        return Ok(());
    }
    let (nest, tile, role) = names();
    if least < Some(0) {
        return Err(VerifyError::Below { nest, tile, role, element: least });
    }
    Err(VerifyError::Above { nest, tile, role, past: left.map(|left| 1 - left) })
}
