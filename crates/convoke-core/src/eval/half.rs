//! Numbers of 16 bits in memory, `f16` and `bf16`, and their conversion from and to `f32`.
//!
//! Every one of them is an `f32`, so widening is exact; an `f32` becomes the nearest of them, of two the even one, subnormal numbers
//! among them, and infinite beyond the greatest. A NaN stays one.

use std::fmt;

/// IEEE 754 binary16: a sign, 5 bits of exponent, 10 of mantissa. The same memory as `half::f16`, and as numpy's `float16`.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct F16(u16);

/// The upper half of an `f32`: a sign, 8 bits of exponent, 7 of mantissa. The same memory as `half::bf16`, and as PyTorch's `bfloat16`.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Bf16(u16);

impl F16 {
    /// The nearest element, of two the even one.
    pub const fn from_f32(value: f32) -> Self {
        /// The least number that is out of range for certain, and the least normal one.
        const BEYOND: u32 = 65_536_f32.to_bits();
        const NORMAL: u32 = (127 - 14) << 23;
        /// The last bit of numbers from this on is that of subnormal ones.
        const SUBNORMAL: f32 = 0.5;
        let (sign, magnitude) = (value.to_bits() >> 16 & 0x8000, value.to_bits() & 0x7fff_ffff);
        let bits = if magnitude > f32::INFINITY.to_bits() {
            0x7e00 | magnitude >> 13 & 0x3ff
        } else if magnitude >= BEYOND {
            0x7c00
        } else if magnitude < NORMAL {
            (f32::from_bits(magnitude) + SUBNORMAL).to_bits() - SUBNORMAL.to_bits()
        } else {
            (magnitude - (112 << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13
        };
        Self((sign | bits) as u16)
    }

    /// The same number.
    pub const fn to_f32(self) -> f32 {
        /// From the exponents of `f16` to those of `f32`; exact for subnormal numbers too.
        const REBIASED: f32 = f32::from_bits((127 + 112) << 23);
        let (sign, magnitude) = ((self.0 as u32 & 0x8000) << 16, (self.0 as u32 & 0x7fff) << 13);
        let is_number = self.0 & 0x7c00 != 0x7c00;
        let bits = if is_number {
            (f32::from_bits(magnitude) * REBIASED).to_bits()
        } else {
            magnitude | f32::INFINITY.to_bits()
        };
        f32::from_bits(sign | bits)
    }
}

impl Bf16 {
    /// The nearest element, of two the even one.
    pub const fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        if value.is_nan() {
            return Self((bits >> 16) as u16 | 0x40);
        }
        Self(((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }

    /// The same number.
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }
}

/// An `f32` near `value` that rounds on to fewer bits as `value` does: where it is not the same number, the one of its two neighbours
/// that is odd (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008).
fn to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let error = value - f64::from(nearest);
    if error == 0.0 || error.is_nan() || nearest.is_infinite() {
        return nearest;
    }
    let away_from_zero = nearest != 0.0 && (error > 0.0) != (nearest > 0.0);
    let toward_zero = if away_from_zero { nearest.to_bits() - 1 } else { nearest.to_bits() };
    f32::from_bits(toward_zero | 1).copysign(value as f32)
}

macro_rules! half {
    ($($type:ident),*) => {
        $(
            impl $type {
                /// The element of that encoding.
                pub const fn from_bits(bits: u16) -> Self {
                    Self(bits)
                }

                /// The encoding.
                pub const fn to_bits(self) -> u16 {
                    self.0
                }

                /// In the machine's order.
                pub(super) const fn to_ne_bytes(self) -> [u8; 2] {
                    self.0.to_ne_bytes()
                }

                /// In the machine's order.
                pub(super) const fn from_ne_bytes(bytes: [u8; 2]) -> Self {
                    Self(u16::from_ne_bytes(bytes))
                }

                /// The nearest element, rounded once.
                pub fn from_f64(value: f64) -> Self {
                    Self::from_f32(to_odd(value))
                }
            }

            impl From<$type> for f32 {
                fn from(value: $type) -> Self {
                    value.to_f32()
                }
            }

            impl From<$type> for f64 {
                fn from(value: $type) -> Self {
                    value.to_f32().into()
                }
            }

            /// As numbers: a NaN equals nothing, and both zeros are equal.
            impl PartialEq for $type {
                fn eq(&self, other: &Self) -> bool {
                    self.to_f32() == other.to_f32()
                }
            }

            impl fmt::Debug for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Debug::fmt(&self.to_f32(), f)
                }
            }

            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(&self.to_f32(), f)
                }
            }
        )*
    };
}

half!(F16, Bf16);

#[cfg(test)]
#[path = "half_tests.rs"]
mod tests;
