//! Winograd's algorithm: F(m, r) along every axis whose window has several taps.
//!
//! A tile of `m` outputs along an axis needs `m + r - 1` products instead of `r m`: `y = A^T [(G g) . (B^T d)]`, nested for more axes.
//! The input is transformed tile by tile, a matrix product for each element of the tiles sums over the input channels, and the
//! sums are transformed back. The weights are transformed when they are packed.
//!
//! Along an axis with stride `s`, taps and inputs fall into `s` *parts*, by their place modulo `s`. Each part is a convolution of
//! stride 1 with every `s`-th tap, and the layer is the sum of them: parts are further input channels, of windows with
//! `r = ceil(kernel / s)` taps. Where a part has a tap less, that is zero.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015.
//!
//! | module | what |
//! |---|---|
//! | `surd`, `toom_cook` | the matrices, exactly, from the points of interpolation |
//! | `linear`, `schedule` | a matrix as a straight-line program, and that in few registers |
//! | `shape` | tiles and blocks of them |
//! | `places` | where what lies between the transforms is |
//! | `tiles`, `nests` | the transforms and the loops |

mod linear;
mod nests;
mod places;
mod schedule;
mod shape;
mod surd;
mod tiles;
mod toom_cook;

use std::sync::OnceLock;

use crate::spec::LayerSpec;
use crate::target::Target;
pub(crate) use linear::LinearProgram;
pub(crate) use nests::compute;
use schedule::{Registers, Schedule};
pub(crate) use shape::{Shape, TileAxis, spatial};
use surd::Surd;
use toom_cook::{Matrices, Point};

/// How to compute `y = A^T [(G g) * (B^T d)]`, where `y_i = sum over k of g_k d_{i + k}`.
#[derive(Clone, Debug)]
pub(crate) struct Transforms {
    /// `B^T d`.
    pub input: LinearProgram,
    /// `A^T` of the products.
    pub output: LinearProgram,
    /// `G`.
    pub kernel: Vec<Vec<f64>>,
    /// `B^T`.
    pub input_matrix: Vec<Vec<f64>>,
    /// `A^T`.
    pub output_matrix: Vec<Vec<f64>>,
}

/// Products of the largest tile: `m + r - 1`.
pub(crate) const MOST_PRODUCTS: usize = 8;

/// The transforms of `F(m, taps)`, where both are at least 2 and `m + taps - 1` is at most [`MOST_PRODUCTS`]. They are made once.
pub(crate) fn transforms(m: usize, taps: usize) -> &'static Transforms {
    static MADE: [[OnceLock<Transforms>; MOST_PRODUCTS]; MOST_PRODUCTS] =
        [const { [const { OnceLock::new() }; MOST_PRODUCTS] }; MOST_PRODUCTS];
    MADE[m][taps].get_or_init(|| make(m, taps))
}

fn make(m: usize, taps: usize) -> Transforms {
    let Matrices { output, kernel, input } = Matrices::new(points(m + taps - 1), taps);
    let numbers = |matrix: &[Vec<Surd>]| matrix.iter().map(|row| row.iter().map(|c| c.to_f64()).collect()).collect();
    Transforms {
        input: LinearProgram::new(&input),
        output: LinearProgram::new(&output),
        kernel: numbers(&kernel),
        input_matrix: numbers(&input),
        output_matrix: numbers(&output),
    }
}

/// The finite points of so many products.
fn points(products: usize) -> &'static [Point] {
    match products {
        3 => &POINTS_3,
        4 => &POINTS_4,
        5 => &POINTS_5,
        6 => &POINTS_6,
        7 => &POINTS_7,
        _ => &POINTS_8,
    }
}

// Chosen by their error: in f32, for random normal numbers, 64 channels and two dimensions, and with the root mean square
// error of the direct sum as the unit.
//
// | F | pairs of points | error |
// |---|---|---|
// | (4, 3) | 0, 1/2 sqrt 2 and sqrt 2 | 1.8 |
// | (4, 3) | 0, 2/3 and 3/2 | 1.7, with longer constants and a step more |
// | (4, 3) | 0, 1 and 2 | 3.9 |
// | (5, 3) | 3/10, 5/6 and 7/4 | 3.5 |
// | (5, 3) | 1/4, 4/5 and 2 | 3.7 |
// | (5, 3) | 0, 1, 2 and a single 1/2 | 5.8 |
// | (6, 3) | 0, 1, 2 and 1/2 | 7.3 |
// | (6, 3) | 0, 1, sqrt 2 - 1 and sqrt 2 + 1 | 9.1 |
// | (6, 3) | 0, 1, 2/3 and 3/2 | 15 |
// | (6, 3) | 0, 1, 1/2 sqrt 2 and sqrt 2 | 23 |
//
// Most of it comes from rounding the sums over channels, see `plan/accuracy.rs`. What is best for F(m, r) is best for F(r, m), and
// nearly so for others with as many products. Powers of two as factors of rows leave it as it is.

const POINTS_3: [Point; 2] = pair(2, 3);

const POINTS_4: [Point; 3] = [Point::new(Surd::ZERO), Point::new(Surd::ONE), Point::new(Surd::ratio(-1, 1))];

const POINTS_5: [Point; 4] = {
    let ([a, b], [c, d]) = (pair(2, 5), pair(5, 4));
    [a, b, c, d]
};

const POINTS_6: [Point; 5] = [
    Point::new(Surd::ZERO),
    Point::scaled(Surd::root(1, 2), 2, 1),
    Point::scaled(Surd::root(-1, 2), 2, 1),
    Point::scaled(Surd::root(1, 1), 1, -2),
    Point::scaled(Surd::root(-1, 1), 1, -2),
];

const POINTS_7: [Point; 6] = {
    let ([a, b], [c, d], [e, f]) = (pair(3, 10), pair(5, 6), pair(7, 4));
    [a, b, c, d, e, f]
};

const POINTS_8: [Point; 7] = [
    Point::new(Surd::ZERO),
    Point::new(Surd::ONE),
    Point::new(Surd::ratio(-1, 1)),
    Point::scaled(Surd::ratio(2, 1), 1, 4),
    Point::scaled(Surd::ratio(-2, 1), 1, 4),
    Point::scaled(Surd::ratio(1, 2), 32, 1),
    Point::scaled(Surd::ratio(-1, 2), 32, 1),
];

/// A fraction and its opposite.
const fn pair(numerator: i128, denominator: i128) -> [Point; 2] {
    [Point::new(Surd::ratio(numerator, denominator)), Point::new(Surd::ratio(-numerator, denominator))]
}

/// The transforms of the input and of the products in the registers of `target`; `None` if those are too few.
fn schedules(transforms: &Transforms, target: &Target) -> Option<[Schedule; 2]> {
    let registers = Registers { first: 0, count: target.registers };
    let schedule = |program| Schedule::new(program, registers, target.fma);
    Some([schedule(&transforms.input)?, schedule(&transforms.output)?])
}

/// Registers that every transform fits.
pub(crate) const LEAST_REGISTERS: usize = 9;

/// Registers that values take, about, while a line is transformed; the others hold constants.
const VALUES: usize = 8;

/// Instructions that transform a line of the input, and of the products, of F(m, taps), about, besides loads and stores: steps, and
/// constants that are set each time because there are more of them than registers left.
pub(crate) fn steps(m: usize, taps: usize, registers: usize) -> [usize; 2] {
    let transforms = transforms(m, taps);
    let left = registers.saturating_sub(VALUES);
    [&transforms.input, &transforms.output].map(|p| p.steps.len() + p.constants().len().saturating_sub(left))
}

/// How many parts a window of `kernel` taps falls into along an axis with `stride`, and the taps that each has.
pub(crate) fn parts(kernel: usize, stride: usize) -> [usize; 2] {
    if kernel == 1 { [1, 1] } else { [stride, kernel.div_ceil(stride)] }
}

/// Taps that a part of the layer's window has along the axes where it has several; they are as many along each of these.
pub(crate) fn taps(spec: &LayerSpec) -> usize {
    spec.spatial.map(|a| parts(a.kernel, a.stride)[1]).into_iter().fold(1, usize::max)
}

/// Elements of a part of a window with so many taps, once it is transformed for tiles of `m` outputs.
pub(crate) fn transformed(taps: usize, m: usize) -> usize {
    if taps > 1 { m + taps - 1 } else { 1 }
}

/// Transforms windows side by side along every axis of several taps, the last first. The first of `values` holds them and
/// then the result; the second is room to work in.
#[inline(always)]
pub(crate) fn transform_windows<const LANES: usize>(
    matrix: &[Vec<f64>],
    window: [usize; 3],
    values: &mut [Vec<[f64; LANES]>; 2],
) {
    let mut sizes = window;
    for axis in (0..3).rev().filter(|&a| window[a] > 1) {
        let inner = sizes[axis + 1..].iter().product::<usize>();
        let outer: usize = sizes[..axis].iter().product();
        let [before, after] = values;
        let slabs = before.chunks_exact(window[axis] * inner).zip(after.chunks_exact_mut(matrix.len() * inner));
        for (from, to) in slabs.take(outer) {
            for (factors, line) in matrix.iter().zip(to.chunks_exact_mut(inner)) {
                // What each output is the sum of is read once; three taps are as mostly.
                if let [a, b, c] = factors[..] {
                    let (left, rest) = from.split_at(inner);
                    let (middle, right) = rest.split_at(inner);
                    for (to, ((l, m), r)) in line.iter_mut().zip(left.iter().zip(middle).zip(right)) {
                        *to = std::array::from_fn(|lane| a * l[lane] + b * m[lane] + c * r[lane]);
                    }
                    continue;
                }
                for (at, to) in line.iter_mut().enumerate() {
                    let mut sum = from[at].map(|x| factors[0] * x);
                    for (k, factor) in factors.iter().enumerate().skip(1) {
                        let tap = &from[k * inner + at];
                        sum = std::array::from_fn(|lane| sum[lane] + factor * tap[lane]);
                    }
                    *to = sum;
                }
            }
        }
        values.swap(0, 1);
        sizes[axis] = matrix.len();
    }
}

/// Every F(m, r) that there is.
#[cfg(test)]
fn all() -> impl Iterator<Item = (usize, usize)> {
    (2..MOST_PRODUCTS).flat_map(|m| (2..=MOST_PRODUCTS + 1 - m).map(move |taps| (m, taps)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs and matrices, against the correlation of small whole numbers.
    #[test]
    fn transforms_compute_the_correlation() {
        for (m, taps) in all() {
            let products = m + taps - 1;
            let Transforms { input, output, kernel, input_matrix, output_matrix } = transforms(m, taps);
            assert_eq!((kernel.len(), input_matrix.len(), output_matrix.len()), (products, products, m));
            let d: Vec<f64> = (0..products).map(|i| f64::from(i as u32 * 7 % 11) - 4.0).collect();
            let g = &[3.0, -5.0, 2.0, 1.0, -4.0, 6.0, -1.0][..taps];
            let dots = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
            let transformed = input.apply(&d);
            let products: Vec<f64> = kernel.iter().zip(&transformed).map(|(row, x)| dots(row, g) * x).collect();
            let y = output.apply(&products);
            for i in 0..m {
                let exact = dots(&d[i..i + taps], g);
                assert!((y[i] - exact).abs() < 1e-11, "F({m}, {taps}), output {i}: {} is not {exact}", y[i]);
                assert!((dots(&output_matrix[i], &products) - exact).abs() < 1e-11);
            }
            for (row, x) in input_matrix.iter().zip(&transformed) {
                assert!((dots(row, &d) - x).abs() < 1e-11);
            }
        }
    }
}
