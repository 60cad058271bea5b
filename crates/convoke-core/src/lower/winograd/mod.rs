//! Winograd's algorithm: F(m, 3) along every axis whose window has three taps.
//!
//! A tile of `m` outputs along an axis needs `m + 2` products instead of `3 m`: `y = A^T [(G g) . (B^T d)]`, nested for more axes.
//! The input is transformed tile by tile, a matrix product for each element of the tiles sums over the input channels, and the
//! sums are transformed back. The weights are transformed when they are packed.
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

use std::sync::LazyLock;

use crate::target::Target;
pub(crate) use linear::LinearProgram;
pub(crate) use nests::compute;
use schedule::{Registers, Schedule};
pub(crate) use shape::{Shape, TileAxis, spatial};
use surd::Surd;
pub(crate) use toom_cook::TAPS;
use toom_cook::{Matrices, Point};

/// How to compute `y = A^T [(G g) * (B^T d)]`, where `y_i = sum over k of g_k d_{i + k}`.
#[derive(Clone, Debug)]
pub(crate) struct Transforms {
    /// `B^T d`.
    pub input: LinearProgram,
    /// `A^T` of the products.
    pub output: LinearProgram,
    /// `G`.
    pub kernel: Vec<[f64; TAPS]>,
    /// `B^T`.
    pub input_matrix: Vec<Vec<f64>>,
    /// `A^T`.
    pub output_matrix: Vec<Vec<f64>>,
}

/// The transforms of `F(m, 3)`; `m` is 2, 4, 5 or 6. They are made once.
pub(crate) fn transforms(m: usize) -> &'static Transforms {
    static MADE: [LazyLock<Transforms>; 4] =
        [LazyLock::new(|| make(2)), LazyLock::new(|| make(4)), LazyLock::new(|| make(5)), LazyLock::new(|| make(6))];
    match m {
        2 => &MADE[0],
        4 => &MADE[1],
        5 => &MADE[2],
        _ => &MADE[3],
    }
}

fn make(m: usize) -> Transforms {
    let Matrices { output, kernel, input } = Matrices::new(points(m));
    let numbers = |matrix: &[Vec<Surd>]| matrix.iter().map(|row| row.iter().map(|c| c.to_f64()).collect()).collect();
    Transforms {
        input: LinearProgram::new(&input),
        output: LinearProgram::new(&output),
        kernel: kernel.iter().map(|row| [row[0], row[1], row[2]].map(Surd::to_f64)).collect(),
        input_matrix: numbers(&input),
        output_matrix: numbers(&output),
    }
}

/// The finite points of `F(m, 3)`.
fn points(m: usize) -> &'static [Point] {
    match m {
        2 => &POINTS_2,
        4 => &POINTS_4,
        5 => &POINTS_5,
        _ => &POINTS_6,
    }
}

// Chosen by their error: in f32, for random normal numbers, 64 channels and two dimensions, and with the root mean square
// error of the direct sum as the unit.
//
// | F | pairs of points | error |
// |---|---|---|
// | 4 | 1/2 sqrt 2 and sqrt 2 | 1.8 |
// | 4 | 2/3 and 3/2 | 1.7, with longer constants and a step more |
// | 4 | 1 and 2 | 3.9 |
// | 5 | 1/4, 4/5 and 2, without 0 | 3.7 |
// | 5 | 0, 1, 2 and a single 1/2 | 5.8 |
// | 5 | 0, 1/2 sqrt 2, sqrt 2 and a single 1 | 20 |
// | 6 | 1, 2 and 1/2 | 7.3 |
// | 6 | 1, sqrt 2 - 1 and sqrt 2 + 1 | 9.1 |
// | 6 | 1, 2/3 and 3/2 | 15 |
// | 6 | 1, 1/2 sqrt 2 and sqrt 2 | 23 |
//
// Most of it comes from rounding the sums over channels. Powers of two as factors of rows leave it as it is.

const POINTS_2: [Point; 3] = [Point::new(Surd::ZERO), Point::new(Surd::ONE), Point::new(Surd::ratio(-1, 1))];

const POINTS_4: [Point; 5] = [
    Point::new(Surd::ZERO),
    Point::scaled(Surd::root(1, 2), 2, 1),
    Point::scaled(Surd::root(-1, 2), 2, 1),
    Point::scaled(Surd::root(1, 1), 1, -2),
    Point::scaled(Surd::root(-1, 1), 1, -2),
];

const POINTS_5: [Point; 6] = [
    Point::new(Surd::ratio(1, 4)),
    Point::new(Surd::ratio(-1, 4)),
    Point::new(Surd::ratio(4, 5)),
    Point::new(Surd::ratio(-4, 5)),
    Point::new(Surd::ratio(2, 1)),
    Point::new(Surd::ratio(-2, 1)),
];

const POINTS_6: [Point; 7] = [
    Point::new(Surd::ZERO),
    Point::new(Surd::ONE),
    Point::new(Surd::ratio(-1, 1)),
    Point::scaled(Surd::ratio(2, 1), 1, 4),
    Point::scaled(Surd::ratio(-2, 1), 1, 4),
    Point::scaled(Surd::ratio(1, 2), 32, 1),
    Point::scaled(Surd::ratio(-1, 2), 32, 1),
];

/// The transforms of the input and of the products in the registers of `target`; `None` if those are too few.
fn schedules(transforms: &Transforms, target: &Target) -> Option<[Schedule; 2]> {
    let registers = Registers { first: 0, count: target.registers };
    let schedule = |program| Schedule::new(program, registers, target.fma);
    Some([schedule(&transforms.input)?, schedule(&transforms.output)?])
}

/// Registers that every transform fits.
pub(crate) const LEAST_REGISTERS: usize = 9;

/// Steps of the straight-line programs that transform a line of the input, and of the products, for tiles of `m` outputs.
pub(crate) fn steps(m: usize) -> [usize; 2] {
    let transforms = transforms(m);
    [transforms.input.steps.len(), transforms.output.steps.len()]
}

/// Elements of a window of `kernel` taps once it is transformed for tiles of `m` outputs.
pub(crate) fn transformed(kernel: usize, m: usize) -> usize {
    if kernel == TAPS { m + TAPS - 1 } else { kernel }
}

/// Transforms `lanes` windows side by side along every axis of three taps, the last first. The first of `values` holds them and
/// then the result; the second is room to work in.
pub(crate) fn transform_windows(matrix: &[[f64; TAPS]], window: [usize; 3], lanes: usize, values: &mut [Vec<f64>; 2]) {
    let mut sizes = window;
    for axis in (0..3).rev().filter(|&a| window[a] == TAPS) {
        let inner = sizes[axis + 1..].iter().product::<usize>() * lanes;
        let outer: usize = sizes[..axis].iter().product();
        let [before, after] = values;
        let slabs = before.chunks_exact(TAPS * inner).zip(after.chunks_exact_mut(matrix.len() * inner));
        for (from, to) in slabs.take(outer) {
            for (factors, line) in matrix.iter().zip(to.chunks_exact_mut(inner)) {
                let taps = from[..inner].iter().zip(&from[inner..2 * inner]).zip(&from[2 * inner..]);
                for (x, ((a, b), c)) in line.iter_mut().zip(taps) {
                    *x = factors[0] * a + factors[1] * b + factors[2] * c;
                }
            }
        }
        values.swap(0, 1);
        sizes[axis] = matrix.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs and matrices, against the correlation of small whole numbers.
    #[test]
    fn transforms_compute_the_correlation() {
        for m in [2, 4, 5, 6] {
            let Transforms { input, output, kernel, input_matrix, output_matrix } = transforms(m);
            assert_eq!((kernel.len(), input_matrix.len(), output_matrix.len()), (m + 2, m + 2, m));
            let d: Vec<f64> = (0..m + 2).map(|i| f64::from(i as u32 * 7 % 11) - 4.0).collect();
            let g = [3.0, -5.0, 2.0];
            let dots = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
            let transformed = input.apply(&d);
            let products: Vec<f64> = kernel.iter().zip(&transformed).map(|(row, x)| dots(row, &g) * x).collect();
            let y = output.apply(&products);
            for i in 0..m {
                let exact = dots(&d[i..i + TAPS], &g);
                assert!((y[i] - exact).abs() < 1e-12, "F({m}, 3), output {i}: {} is not {exact}", y[i]);
                assert!((dots(&output_matrix[i], &products) - exact).abs() < 1e-12);
            }
            for (row, x) in input_matrix.iter().zip(&transformed) {
                assert!((dots(row, &d) - x).abs() < 1e-12);
            }
        }
    }
}
