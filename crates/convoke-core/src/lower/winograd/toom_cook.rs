//! The matrices of `F(m, r)`, by the construction of Toom and Cook.
//!
//! The product of the polynomials with the coefficients `g` (degree `r - 1`) and `y` (degree `m - 1`) is known from its values at
//! `m + r - 2` points and its leading coefficient, the value "at infinity". This is bilinear in `g` and `y`; transposing it
//! in `y` gives the correlation `y_i = sum over k of g_k d_{i + k}` with `m + r - 1` products.
//! See Blahut, *Fast Algorithms for Signal Processing*, and Lavin and Gray, *Fast Algorithms for Convolutional Neural
//! Networks*.

use super::surd::Surd;

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
    /// `G`, a row of all taps for each product.
    pub kernel: Vec<Vec<Surd>>,
    /// `B^T`, square: the polynomial that vanishes at the other finite points, from its constant on.
    pub input: Vec<Vec<Surd>>,
}

impl Matrices {
    /// From `m + taps - 2` points that differ. The last product is that of infinity.
    pub(crate) fn new(points: &[Point], taps: usize) -> Self {
        let (products, m) = (points.len() + 1, points.len() + 2 - taps);
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
            kernel.push(std::iter::successors(Some(factor), |&power| Some(power * point.at)).take(taps).collect());
            others.iter_mut().for_each(|c| *c = *c * Surd::ratio(point.input, 1));
            others.push(Surd::ZERO);
            input.push(others);
        }
        if let Some(last) = output.last_mut() {
            last[products - 1] = Surd::ONE;
        }
        let mut leading = vec![Surd::ZERO; taps];
        leading[taps - 1] = Surd::ONE;
        kernel.push(leading);
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
    use crate::lower::winograd::{all, points};

    /// `y_i` of the unit kernel `e_k` and the unit input `e_j` is 1 if `j = i + k`.
    fn check(points: &[Point], taps: usize) {
        let Matrices { output, kernel, input } = Matrices::new(points, taps);
        let (products, m) = (points.len() + 1, points.len() + 2 - taps);
        assert_eq!((output.len(), kernel.len(), input.len()), (m, products, products));
        let taps_and_inputs = || (0..taps).flat_map(|k| (0..products).map(move |j| (k, j)));
        for (i, row) in output.iter().enumerate() {
            for (k, j) in taps_and_inputs() {
                let terms = (0..row.len()).map(|p| row[p] * kernel[p][k] * input[p][j]);
                let found = terms.fold(Surd::ZERO, |sum, term| sum + term);
                let expected = if j == i + k { Surd::ONE } else { Surd::ZERO };
                assert_eq!(found, expected, "F({m}, {taps}): output {i}, tap {k}, input {j}: {found}");
            }
        }
    }

    #[test]
    fn the_identity_is_exact() {
        for (m, taps) in all() {
            assert_eq!(points(m + taps - 1).len(), m + taps - 2);
            check(points(m + taps - 1), taps);
        }
        let integers = (-3..3).map(|i| Point::new(Surd::ratio(i, 1)));
        check(&integers.collect::<Vec<_>>(), 3);
        let mixed = [Surd::root(1, 3), Surd::ratio(2, 3), Surd::root(-2, 1) + Surd::ONE, Surd::ratio(-1, 7)];
        check(&mixed.map(|at| Point::scaled(at, 3, -2)), 3);
    }
}
