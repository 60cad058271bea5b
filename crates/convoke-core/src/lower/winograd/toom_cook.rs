//! The matrices of `F(m, 3)`, by the construction of Toom and Cook.
//!
//! The product of the polynomials with the coefficients `g` (degree 2) and `y` (degree `m - 1`) is known from its values at
//! `m + 1` points and its leading coefficient, the value "at infinity". This is bilinear in `g` and `y`; transposing it
//! in `y` gives the correlation `y_i = sum over k of g_k d_{i + k}` with `m + 2` products.
//! See Blahut, *Fast Algorithms for Signal Processing*, and Lavin and Gray, *Fast Algorithms for Convolutional Neural
//! Networks*.

use super::surd::Surd;

/// Taps of the kernel.
pub(crate) const TAPS: usize = 3;

/// A finite point, and factors that its rows are multiplied by. What `output` and `input` multiply, the kernel's row is
/// divided by; powers of two change no rounding, and save constants and steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub at: Surd,
    pub output: i128,
    pub input: i128,
}

impl Point {
    pub(crate) const fn new(at: Surd) -> Self {
        Self { at, output: 1, input: 1 }
    }

    pub(crate) const fn scaled(at: Surd, output: i128, input: i128) -> Self {
        Self { at, output, input }
    }
}

/// `y = output [(kernel g) * (input d)]`, the product in brackets taken element by element.
#[derive(Clone, Debug)]
pub(crate) struct Matrices {
    /// `A^T`, a row for each of `m` outputs: powers of the points.
    pub output: Vec<Vec<Surd>>,
    /// `G`, `m + 2` rows of [`TAPS`].
    pub kernel: Vec<Vec<Surd>>,
    /// `B^T`, square: the polynomial that vanishes at the other finite points, from its constant on.
    pub input: Vec<Vec<Surd>>,
}

impl Matrices {
    /// From `m + 1` points that differ. The last product is that of infinity.
    pub(crate) fn new(points: &[Point]) -> Self {
        let (products, m) = (points.len() + 1, points.len() - 1);
        let vanishing = points.iter().fold(vec![Surd::ONE], |product, point| times_linear(&product, point.at));
        let mut output = vec![vec![Surd::ZERO; products]; m];
        let (mut kernel, mut input) = (Vec::new(), Vec::new());
        for (column, point) in points.iter().enumerate() {
            let mut power = Surd::ratio(point.output, 1);
            for row in &mut output {
                row[column] = power;
                power = power * point.at;
            }
            let mut others = divided_by_linear(&vanishing, point.at);
            let at_point = others.iter().rev().fold(Surd::ZERO, |value, &c| value * point.at + c);
            let factor = (Surd::ratio(point.output * point.input, 1) * at_point).inverse();
            kernel.push(vec![factor, factor * point.at, factor * point.at * point.at]);
            others.iter_mut().for_each(|c| *c = *c * Surd::ratio(point.input, 1));
            others.push(Surd::ZERO);
            input.push(others);
        }
        if let Some(last) = output.last_mut() {
            last[products - 1] = Surd::ONE;
        }
        kernel.push(vec![Surd::ZERO, Surd::ZERO, Surd::ONE]);
        input.push(vanishing);
        Self { output, kernel, input }
    }
}

/// The polynomial times `x - root`; coefficients from the constant on.
fn times_linear(polynomial: &[Surd], root: Surd) -> Vec<Surd> {
    let mut product = vec![Surd::ZERO; polynomial.len() + 1];
    for (i, &c) in polynomial.iter().enumerate() {
        product[i + 1] = product[i + 1] + c;
        product[i] = product[i] - c * root;
    }
    product
}

/// The polynomial, which vanishes at `root`, divided by `x - root`.
fn divided_by_linear(polynomial: &[Surd], root: Surd) -> Vec<Surd> {
    let mut carry = Surd::ZERO;
    let mut quotient: Vec<Surd> = polynomial[1..]
        .iter()
        .rev()
        .map(|&c| {
            carry = carry * root + c;
            carry
        })
        .collect();
    quotient.reverse();
    quotient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::winograd::points;

    /// `y_i` of the unit kernel `e_k` and the unit input `e_j` is 1 if `j = i + k`.
    fn check(points: &[Point]) {
        let Matrices { output, kernel, input } = Matrices::new(points);
        assert_eq!((output.len(), kernel.len(), input.len()), (points.len() - 1, points.len() + 1, points.len() + 1));
        let taps_and_inputs = || (0..TAPS).flat_map(|k| (0..points.len() + 1).map(move |j| (k, j)));
        for (i, row) in output.iter().enumerate() {
            for (k, j) in taps_and_inputs() {
                let products = (0..row.len()).map(|p| row[p] * kernel[p][k] * input[p][j]);
                let found = products.fold(Surd::ZERO, |sum, product| sum + product);
                let expected = if j == i + k { Surd::ONE } else { Surd::ZERO };
                assert_eq!(found, expected, "output {i}, tap {k}, input {j}: {found}");
            }
        }
    }

    #[test]
    fn the_identity_is_exact() {
        for m in [2, 4, 5, 6] {
            assert_eq!(points(m).len(), m + 1);
            check(points(m));
        }
        let integers = (-3..3).map(|i| Point::new(Surd::ratio(i, 1)));
        check(&integers.collect::<Vec<_>>());
        let mixed = [Surd::root(1, 3), Surd::ratio(2, 3), Surd::root(-2, 1) + Surd::ONE, Surd::ratio(-1, 7)];
        check(&mixed.map(|at| Point::scaled(at, 3, -2)));
    }
}
