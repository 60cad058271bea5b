//! The numbers that kernels compute with, `f32` and `f64`.

use std::fmt::{Debug, Display};
use std::ops::{Add, Div, Mul, Sub};

use crate::spec::DType;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// An element type: `f32` or `f64`, and no other.
pub trait Element:
    sealed::Sealed
    + super::Float<Lane = Self>
    + Copy
    + Debug
    + Default
    + Display
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + 'static
{
    /// The same type as a value.
    const DTYPE: DType;
    /// Half the distance between 1 and the next number: the relative error of one rounding.
    const UNIT_ROUNDOFF: f64;

    /// The nearest element.
    fn from_f64(value: f64) -> Self;
    /// The same number.
    fn to_f64(self) -> f64;
    /// `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// `d[i] = a[i] * b[i] + c[i]`, each rounded once.
    fn mul_add_lanes<const L: usize>(a: &[Self; L], b: &[Self; L], c: &[Self; L]) -> [Self; L];
    /// The IEEE 754 encoding, in the low bits.
    fn bits(self) -> u64;
    /// The element of that encoding, in the low bits.
    fn from_bits(bits: u64) -> Self;
    /// The number whose encoding is that of `self` shifted left by the width of the mantissa.
    fn exponent(self) -> Self;
    /// The square root, rounded once; a NaN below zero.
    fn sqrt(self) -> Self;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
    const UNIT_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

    fn from_f64(value: f64) -> Self {
        value as Self
    }

    fn to_f64(self) -> f64 {
        self.into()
    }

    fn mul_add(self, a: Self, b: Self) -> Self {
        fma_f32(self, a, b)
    }

    /// The product of two `f32` is exact in `f64`, so only the sum rounds twice. That shows only where the first
    /// rounding lands on a tie of the second, or where `f32` has fewer bits than usual; then all lanes are done again.
    #[inline]
    fn mul_add_lanes<const L: usize>(a: &[Self; L], b: &[Self; L], c: &[Self; L]) -> [Self; L] {
        let mut d = [0.0; L];
        let mut hard = false;
        for i in 0..L {
            let sum = f64::from(a[i]) * f64::from(b[i]) + f64::from(c[i]);
            let tie = (sum.to_bits() as u32) & 0x1fff_ffff == 0x1000_0000;
            let small = sum.abs() < f64::from(Self::MIN_POSITIVE) && sum != 0.0;
            hard |= tie | small;
            d[i] = sum as Self;
        }
        if hard {
            for i in 0..L {
                d[i] = fma_f32(a[i], b[i], c[i]);
            }
        }
        d
    }

    fn bits(self) -> u64 {
        self.to_bits().into()
    }

    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits as u32)
    }

    fn exponent(self) -> Self {
        Self::from_bits(self.to_bits() << 23)
    }

    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }
}

/// `a * b + c` rounded once, by way of a sum rounded to odd (Boldo and Melquiond, "Emulation of a FMA and correctly
/// rounded sums: proved algorithms using rounding to odd", 2008).
///
/// An inexact sum is replaced by whichever of its two `f64` neighbours is odd; that one is never a tie of `f32`, so
/// rounding it gives what rounding the exact sum gives.
fn fma_f32(a: f32, b: f32, c: f32) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let c = f64::from(c);
    let sum = product + c;
    let from_c = sum - product;
    let error = (product - (sum - from_c)) + (c - from_c);
    let bits = sum.to_bits();
    // A NaN error means that the sum is no number, which stays as it is.
    let inexact = error.abs() > 0.0;
    if !inexact || bits & 1 == 1 {
        return sum as f32;
    }
    let away_from_zero = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away_from_zero { bits + 1 } else { bits - 1 }) as f32
}

impl Element for f64 {
    const DTYPE: DType = DType::F64;
    const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;

    fn from_f64(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn mul_add(self, a: Self, b: Self) -> Self {
        Self::mul_add(self, a, b)
    }

    fn mul_add_lanes<const L: usize>(a: &[Self; L], b: &[Self; L], c: &[Self; L]) -> [Self; L] {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    fn bits(self) -> u64 {
        self.to_bits()
    }

    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }

    fn exponent(self) -> Self {
        Self::from_bits(self.to_bits() << 52)
    }

    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }
}

#[cfg(test)]
#[path = "element_tests.rs"]
mod tests;
