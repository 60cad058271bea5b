//! The natural logarithm as tile instructions.
//!
//! `x = 2^k m` with `m` from `sqrt(1/2)` to `sqrt(2)`, both exactly, also of subnormal numbers; then `log(x) = k ln 2 + log(1 + f)` with `f = m - 1`, exact
//! too, so that nothing cancels near 1. With `s = f / (2 + f)`, `log(1 + f)` is `2 atanh(s)`, which is taken as `f - (h - s (h + R))`, `h = f^2 / 2`
//! and `R` a series in `s^2`: what is rounded is small beside `f` (fdlibm, `e_log.c`). Results are within `2u` of the logarithm.
//!
//! `log(0)` is minus infinity, `log` of what is less is NaN, and infinity and NaN stay what they are.

use super::activation::{magic, polynomial};
use super::emit::Emitter;
use crate::ir::{BinaryOp, Conversion, Reg};
use crate::spec::DType;

/// Registers besides the value's own.
pub(super) const REGISTERS: usize = 6;

/// `x = log(x)`; uses `free` and the next five.
pub(super) fn log(e: &mut Emitter, x: Reg, free: Reg) {
    let t = |i: u32| Reg(free.0 + i);
    let (y, k) = (t(0), t(1));
    let of_two = match e.dtype() {
        DType::F32 => {
            by_bits(e, x, (y, k), (t(2), t(3), t(4)));
            (0.693359375, -2.12194440e-4)
        }
        DType::F64 => {
            by_halves(e, x, (y, k), (t(2), t(3), t(4)));
            (6.93145751953125e-1, 1.428_606_820_309_417_3e-6)
        }
    };
    of_parts(e, (y, k), of_two, (t(2), t(3), t(4), t(5)));
    edges(e, x, y, (t(1), t(2), t(3)));
}

/// `k` and `m` of an `f32`, `m` in `y`.
///
/// The bits as an integer are `2^23 (127 + k + m' - 1)` with `m'` from 1 to 2. As a float and over `2^23` that is near enough to the logarithm to tell
/// `k`, to which 1 is added where `m'` is past `sqrt(2)` or so. Numbers past 1 are made smaller before, others greater, so that
/// `2^-k` is a normal number.
fn by_bits(e: &mut Emitter, x: Reg, (y, k): (Reg, Reg), (n, t, u): (Reg, Reg, Reg)) {
    const NEARER: i32 = 25;
    e.constant(n, 1.0);
    e.constant(t, f64::powi(2.0, -NEARER));
    e.constant(u, f64::powi(2.0, NEARER));
    e.select(y, x, n, t, u);
    e.binary(BinaryOp::Mul, y, y, x);
    e.constant(t, NEARER.into());
    e.constant(u, (-NEARER).into());
    e.select(k, x, n, t, u);
    e.convert(Conversion::Float, n, y);
    e.constant(t, f64::powi(2.0, -23));
    // Half, less what `sqrt(2)` is above 1.
    e.constant(u, 0.5 - (std::f64::consts::SQRT_2 - 1.0) - 127.0);
    e.multiply_add(n, n, t, u, n);
    e.constant(t, magic(DType::F32));
    e.binary(BinaryOp::Add, n, n, t);
    e.binary(BinaryOp::Sub, n, n, t);
    e.binary(BinaryOp::Add, k, k, n);
    e.constant(t, magic(DType::F32) + 127.0);
    e.binary(BinaryOp::Sub, n, t, n);
    e.exponent(n, n);
    e.binary(BinaryOp::Mul, y, y, n);
}

/// The same of an `f64`, of which there is no integer: powers of two are taken away that halve what `k` may still be.
fn by_halves(e: &mut Emitter, x: Reg, (y, k): (Reg, Reg), (least, t, u): (Reg, Reg, Reg)) {
    const LEAST: f64 = std::f64::consts::FRAC_1_SQRT_2;
    e.constant(y, 0.0);
    e.binary(BinaryOp::Add, y, x, y);
    e.constant(k, 0.0);
    // Up, until the number is more than the least; subnormal ones need all three.
    for power in [512, 512, 64] {
        e.constant(least, LEAST);
        e.constant(t, f64::powi(2.0, power));
        e.binary(BinaryOp::Mul, t, t, y);
        e.constant(u, power.into());
        e.binary(BinaryOp::Sub, u, k, u);
        e.select(k, y, least, k, u);
        e.select(y, y, least, y, t);
    }
    // And down, until it is at most twice that. The greatest numbers are more than `LEAST * 2^1024`.
    for power in [512, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1] {
        e.constant(least, LEAST * f64::powi(2.0, power));
        e.constant(t, f64::powi(2.0, -power));
        e.binary(BinaryOp::Mul, t, t, y);
        e.constant(u, power.into());
        e.binary(BinaryOp::Add, u, k, u);
        e.select(k, y, least, u, k);
        e.select(y, y, least, t, y);
    }
}

/// `y = k ln 2 + log(y)`, `ln 2` in two parts of which the first times `k` is exact.
fn of_parts(e: &mut Emitter, (y, k): (Reg, Reg), (ln2_hi, ln2_lo): (f64, f64), (s, h, p, t): (Reg, Reg, Reg, Reg)) {
    e.constant(t, 1.0);
    e.binary(BinaryOp::Sub, y, y, t);
    e.constant(t, 2.0);
    e.binary(BinaryOp::Add, s, y, t);
    e.binary(BinaryOp::Div, s, y, s);
    e.binary(BinaryOp::Mul, h, s, s);
    // The first term that is left out is below a quarter of a unit in the last place.
    let terms = if e.dtype() == DType::F32 { 4 } else { 10 };
    let series: Vec<f64> = (1..=terms).rev().map(|n| 2.0 / f64::from(2 * n + 1)).collect();
    polynomial(e, p, h, &series, t);
    e.binary(BinaryOp::Mul, p, p, h);
    e.binary(BinaryOp::Mul, h, y, y);
    e.constant(t, 0.5);
    e.binary(BinaryOp::Mul, h, h, t);
    e.binary(BinaryOp::Add, p, p, h);
    e.binary(BinaryOp::Mul, s, s, p);
    e.constant(t, ln2_lo);
    e.multiply_add(s, k, t, s, p);
    e.binary(BinaryOp::Sub, h, h, s);
    e.binary(BinaryOp::Sub, y, y, h);
    e.constant(t, ln2_hi);
    e.multiply_add(y, k, t, y, p);
}

/// `x = y` where `x` is positive and finite, else what the logarithm is there.
fn edges(e: &mut Emitter, x: Reg, y: Reg, (t, other, infinity): (Reg, Reg, Reg)) {
    e.constant(t, 0.0);
    // The root of what is negative is the one NaN that no compiler makes another of.
    e.sqrt(other, x);
    e.select(other, t, x, other, x);
    e.constant(infinity, f64::NEG_INFINITY);
    e.binary(BinaryOp::Add, other, other, infinity);
    e.constant(infinity, if e.dtype() == DType::F32 { f32::MAX.into() } else { f64::MAX });
    e.select(y, x, infinity, x, y);
    e.select(x, x, t, y, other);
}
