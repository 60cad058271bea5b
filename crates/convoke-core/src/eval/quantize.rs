//! What `quantize_dynamic` computes, in the arithmetic of the elements: the run-time network and the reference call it, and emitted code has the same
//! operations in the same order.

use super::{Element, Float};

/// The greatest of the 256 whole numbers, the least of which is 0.
const LEVELS: f64 = 255.0;

/// Elements that are compared side by side, those of a cache line.
const SIDE_BY_SIDE: usize = 16;

/// Makes of all elements of one image the nearest of 256 numbers that lie equally far apart from the least to the greatest of them, 0 among both.
///
/// It is ONNX's `DynamicQuantizeLinear`, and back to floats: `scale` is the greatest less the least over 255, `zero` is `-least / scale` rounded, and an
/// element is `round(x / scale)`, from `-zero` to `255 - zero`, times `scale`; of two whole numbers that are equally near the even one is taken. Where `scale`
/// is 0, as of nothing but zeros, all is 0. What is not a number stays so and counts neither as least nor as greatest; where the range is infinite, nothing
/// is a number. Halves are computed as `f32`.
pub fn quantize_dynamic<T: Float>(src: &[T], dst: &mut [T]) {
    let number = T::Lane::from_f64;
    let (least, most) = range(src);
    let scale = (most - least) / number(LEVELS);
    let scale = if scale > number(0.0) { scale } else { number(1.0) };
    let zero = rounded(limited(number(0.0) - least / scale, number(0.0), number(LEVELS)));
    let (low, high) = (number(0.0) - zero, number(LEVELS) - zero);
    for (to, from) in dst.iter_mut().zip(src) {
        *to = T::from_lane(rounded(limited(from.to_lane() / scale, low, high)) * scale);
    }
}

/// The least and the greatest, 0 among both.
fn range<T: Float>(src: &[T]) -> (T::Lane, T::Lane) {
    let mut least = [T::Lane::default(); SIDE_BY_SIDE];
    let mut most = least;
    let (chunks, rest) = src.as_chunks::<SIDE_BY_SIDE>();
    for chunk in chunks {
        for (at, x) in chunk.iter().enumerate() {
            let x = x.to_lane();
            least[at] = if x < least[at] { x } else { least[at] };
            most[at] = if x > most[at] { x } else { most[at] };
        }
    }
    let rest = rest.iter().map(|x| x.to_lane());
    let less = |a, b| if b < a { b } else { a };
    let more = |a, b| if b > a { b } else { a };
    let least = least.into_iter().chain(rest.clone()).fold(T::Lane::default(), less);
    (least, most.into_iter().chain(rest).fold(T::Lane::default(), more))
}

/// From `low` to `high`, or not a number.
fn limited<E: Element>(x: E, low: E, high: E) -> E {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// To the nearest whole number, of two the even one: numbers that are as large as what is added have no other bits.
fn rounded<E: Element>(x: E) -> E {
    let large = E::from_f64(0.75 / E::UNIT_ROUNDOFF);
    (x + large) - large
}

#[cfg(test)]
#[path = "quantize_tests.rs"]
mod tests;
