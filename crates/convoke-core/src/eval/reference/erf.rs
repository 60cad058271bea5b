//! The error function, which `std` lacks.
//!
//! Near 0 the Maclaurin series of `erf`; further out Lentz' continued fraction of `erfc` (Abramowitz and Stegun 7.1.5,
//! 7.1.14). Both are plain enough to check by eye, and are carried on until they no longer change.

use std::f64::consts::FRAC_2_SQRT_PI;

/// `2 / sqrt(pi)` times the integral of `exp(-t^2)` from 0 to `x`.
pub fn erf(x: f64) -> f64 {
    if x.abs() < 2.0 { series(x) } else { (1.0 - fraction(x.abs())).copysign(x) }
}

/// `1 - erf(x)`, without cancellation for large `x`.
pub fn erfc(x: f64) -> f64 {
    if x >= 0.5 { fraction_or_series(x) } else { 1.0 - erf(x) }
}

fn fraction_or_series(x: f64) -> f64 {
    if x < 1.0 { 1.0 - series(x) } else { fraction(x) }
}

/// `erf(x) = 2 / sqrt(pi) * exp(-x^2) * sum of 2^k x^(2k+1) / (1 * 3 * … * (2k+1))`; every term has the sign of `x`.
fn series(x: f64) -> f64 {
    let (mut sum, mut term) = (x, x);
    for k in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * k + 1);
        let next = sum + term;
        if next == sum {
            break;
        }
        sum = next;
    }
    if sum.is_nan() { x } else { FRAC_2_SQRT_PI * (-x * x).exp() * sum }
}

/// `erfc(x) = exp(-x^2) / sqrt(pi) / (x + (1/2) / (x + 1 / (x + (3/2) / (x + …))))` for `x >= 1`, from the inside out.
fn fraction(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x > 30.0 {
        return 0.0;
    }
    let terms = 24 + (600.0 / (x * x)) as i32;
    let tail = (1..=terms).rev().fold(x, |tail, k| x + 0.5 * f64::from(k) / tail);
    exp_minus_square(x) * (FRAC_2_SQRT_PI / 2.0) / tail
}

/// `exp(-x^2)`; the square is split so that its rounding does not grow with `x`.
fn exp_minus_square(x: f64) -> f64 {
    let head = f64::from_bits(x.to_bits() & 0xffff_ffff_0000_0000);
    (-head * head).exp() * ((head - x) * (head + x)).exp()
}
