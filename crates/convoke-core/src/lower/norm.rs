//! The powers of magnitudes that a norm sums, and its root, as sequences of tile instructions.
//!
//! A power is made of products, a root of square roots where `p` has factors of 2, and for what is left of it by Newton's method. Everything
//! is rounded one by one, never fused, so that every target has the same bits.

use super::activation;
use super::emit::Emitter;
use crate::ir::{BinaryOp, Reg};
use crate::spec::DType;

/// `x = |x|^p`; what is in `t` is lost.
pub(super) fn power(e: &mut Emitter, x: Reg, p: usize, t: Reg) {
    if p % 2 == 1 {
        activation::absolute(e, x, x, t);
    }
    raise(e, x, x, p, t);
}

/// `d = x^p` by squaring, with products in `t`; of the first power `d` is `x`.
fn raise(e: &mut Emitter, d: Reg, x: Reg, p: usize, t: Reg) {
    let digits = (0..p.ilog2()).rev().map(|bit| p >> bit & 1 == 1);
    let products: Vec<bool> = digits.flat_map(|one| [true, false].into_iter().take(1 + usize::from(one))).collect();
    let mut product = x;
    for (i, &is_square) in products.iter().enumerate() {
        let to = if i + 1 == products.len() { d } else { t };
        e.binary(BinaryOp::Mul, to, product, if is_square { product } else { x });
        product = t;
    }
}

/// Replaces `x`, which is not negative, by its root of degree `p`; what is in the others is lost.
///
/// Of degrees 1 and 2 it is rounded once, of others it is within a few roundings. An infinity and a NaN stay.
pub(super) fn root(e: &mut Emitter, x: Reg, p: usize, others: [Reg; 3]) {
    let halves = p.trailing_zeros();
    for _ in 0..halves {
        e.sqrt(x, x);
    }
    if p >> halves > 1 {
        odd_root(e, x, p >> halves, others);
    }
}

/// Of a degree `q` that is odd and at least 3.
///
/// `y` starts as `x^f` with `f` the first binary digits of `1 / q`, a product of repeated square roots, so many that `y^q` is at most an
/// eighth off. Where it is off by `s`, it is off by `s^2 / 2` after the next step.
fn odd_root(e: &mut Emitter, x: Reg, q: usize, [y, t, other]: [Reg; 3]) {
    // The greatest logarithm of a number, and the steps from an eighth to less than a rounding.
    let (logarithm, steps, greatest) = match e.dtype() {
        DType::F32 => (104, 3, f64::from(f32::MAX)),
        DType::F64 => (746, 4, f64::MAX),
    };
    let digits = (8 * q * logarithm).next_power_of_two().ilog2();
    let fraction = (1_usize << digits) / q;
    e.sqrt(other, x);
    e.sqrt(y, x);
    for bit in fraction.trailing_zeros() + 1..digits {
        e.sqrt(y, y);
        if fraction >> bit & 1 == 1 {
            e.binary(BinaryOp::Mul, y, y, other);
        }
    }
    for _ in 0..steps {
        raise(e, t, y, q - 1, t);
        e.binary(BinaryOp::Div, t, x, t);
        e.binary(BinaryOp::Sub, t, t, y);
        e.constant(other, q as f64);
        e.binary(BinaryOp::Div, t, t, other);
        e.binary(BinaryOp::Add, y, y, t);
    }
    // Of 0 and of infinity the steps make a NaN.
    e.constant(other, 0.0);
    e.select(y, x, other, y, x);
    e.constant(other, greatest);
    e.select(x, x, other, x, y);
}
