//! What an instruction does to lanes: arithmetic alone, without memory.

use super::Element;
use crate::ir::{BinaryOp, Conversion};

/// An operation on every lane.
pub(super) fn binary<T: Element, const L: usize>(op: BinaryOp, a: &[T; L], b: &[T; L]) -> [T; L] {
    match op {
        BinaryOp::Add => std::array::from_fn(|i| a[i] + b[i]),
        BinaryOp::Sub => std::array::from_fn(|i| a[i] - b[i]),
        BinaryOp::Mul => std::array::from_fn(|i| a[i] * b[i]),
        BinaryOp::Div => std::array::from_fn(|i| a[i] / b[i]),
        BinaryOp::Max => std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] }),
        BinaryOp::Min => std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] }),
        BinaryOp::Maximum => std::array::from_fn(|i| if a[i] > b[i] || a[i].to_f64().is_nan() { a[i] } else { b[i] }),
        BinaryOp::AddInt | BinaryOp::Dot | BinaryOp::Join | BinaryOp::Splice | BinaryOp::Products => {
            std::array::from_fn(|i| binary_int(op, a[i], b[i]))
        }
    }
}

/// An integer operation on the bits of two lanes.
pub(super) fn binary_int<T: Element>(op: BinaryOp, a: T, b: T) -> T {
    let (a, b) = (a.bits() as i32, b.bits() as i32);
    let halves = |x: i32| (i32::from(x as i16), x >> 16);
    let value = match op {
        BinaryOp::Dot => {
            let ((a0, a1), (b0, b1)) = (halves(a), halves(b));
            (a0 * b0).wrapping_add(a1 * b1)
        }
        BinaryOp::Join => (a & 0xffff) | b << 16,
        BinaryOp::Splice => a | b << 8,
        BinaryOp::Products => {
            let products = products(a, b);
            let sum = |i: usize| (products[i] + products[i + 1]).clamp(i16::MIN.into(), i16::MAX.into());
            (sum(0) & 0xffff) | sum(2) << 16
        }
        _ => a.wrapping_add(b),
    };
    T::from_bits(u64::from(value as u32))
}

/// The products of the bytes of two lanes, those of the first from 0 on.
fn products(a: i32, b: i32) -> [i32; 4] {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    std::array::from_fn(|i| i32::from(a[i]) * i32::from(b[i] as i8))
}

/// The products of the bytes of `a` and `b`, added to `c`.
pub(super) fn dot4<T: Element>(a: T, b: T, c: T) -> T {
    let products = products(a.bits() as i32, b.bits() as i32);
    let sum = (c.bits() as i32).wrapping_add(products.iter().sum());
    T::from_bits(u64::from(sum as u32))
}

/// A lane as the other kind of number: rounded to the nearest whole one, to even where two are, or taken as a float.
pub(super) fn convert<T: Element>(op: Conversion, a: T) -> T {
    match op {
        Conversion::Float => T::from_f64(f64::from(a.bits() as i32)),
        Conversion::Int => {
            let nearest = a.to_f64().round_ties_even();
            let fits = (-2_147_483_648.0..2_147_483_648.0).contains(&nearest);
            let value = if fits { nearest as i32 } else { i32::MIN };
            T::from_bits(u64::from(value as u32))
        }
    }
}
