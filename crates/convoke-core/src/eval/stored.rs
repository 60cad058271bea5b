//! What buffers hold: the numbers of [`Storage`].

use super::{Bf16, Element, F16};
use crate::spec::Storage;

mod sealed {
    pub trait Sealed {}
}

/// A type of elements in memory: `f32`, `f64`, [`F16`], [`Bf16`], `i32`, `u8` or `i8`, and no other. Every bit pattern is a value.
pub trait Stored:
    sealed::Sealed + Copy + Default + PartialEq + std::fmt::Debug + std::fmt::Display + Send + Sync + 'static
{
    /// The same type as a value.
    const STORAGE: Storage;

    /// The nearest element; 0 for what is no number, unless there is such an element.
    fn from_number(value: f64) -> Self;
    /// The same number.
    fn to_number(self) -> f64;
    /// The bytes in memory.
    fn to_bytes(self) -> Vec<u8>;
    /// The element of so many bytes.
    fn from_bytes(bytes: &[u8]) -> Self;
}

/// Elements that stand for real numbers, which are computed with as `f32` or `f64`: `f32`, `f64`, [`F16`] or [`Bf16`].
pub trait Float: Stored {
    /// What a lane holds that an element is loaded into; weights are packed as those.
    type Lane: Element;

    /// The same number in a lane.
    fn to_lane(self) -> Self::Lane;
    /// The nearest element, of two the even one.
    fn from_lane(lane: Self::Lane) -> Self;
    /// The most that storing a lane near `value` changes it; 0 for elements that are lanes.
    fn rounding(value: f64) -> f64;
}

macro_rules! floats {
    ($($type:ident)*) => {
        $(
            impl Float for $type {
                type Lane = Self;

                fn to_lane(self) -> Self {
                    self
                }

                fn from_lane(lane: Self) -> Self {
                    lane
                }

                fn rounding(_: f64) -> f64 {
                    0.0
                }
            }
        )*
    };
}

floats! { f32 f64 }

/// Half the last bit, which of subnormal numbers is the least of them.
macro_rules! halves {
    ($($type:ident = $mantissa:literal;)*) => {
        $(
            impl Float for $type {
                type Lane = f32;

                fn to_lane(self) -> f32 {
                    self.to_f32()
                }

                fn from_lane(lane: f32) -> Self {
                    Self::from_f32(lane)
                }

                fn rounding(value: f64) -> f64 {
                    let least = f64::from(Self::from_bits(1)) / 2.0;
                    (value.abs() * 0.5_f64.powi($mantissa + 1)).max(least)
                }
            }
        )*
    };
}

halves! { F16 = 10; Bf16 = 7; }

macro_rules! stored {
    ($($type:ident = $storage:ident, $from:expr;)*) => {
        $(
            impl sealed::Sealed for $type {}
            impl Stored for $type {
                const STORAGE: Storage = Storage::$storage;

                fn from_number(value: f64) -> Self {
                    $from(value)
                }

                fn to_number(self) -> f64 {
                    f64::from(self)
                }

                fn to_bytes(self) -> Vec<u8> {
                    self.to_ne_bytes().to_vec()
                }

                fn from_bytes(bytes: &[u8]) -> Self {
                    let mut all = [0; size_of::<Self>()];
                    all.copy_from_slice(bytes);
                    Self::from_ne_bytes(all)
                }
            }
        )*
    };
}

stored! {
    f32 = F32, <f32 as Element>::from_f64;
    f64 = F64, <f64 as Element>::from_f64;
    F16 = F16, F16::from_f64;
    Bf16 = Bf16, Bf16::from_f64;
    i32 = I32, |x: f64| x.round_ties_even() as i32;
    u8 = U8, |x: f64| x.round_ties_even() as u8;
    i8 = I8, |x: f64| x.round_ties_even() as i8;
}

/// Elements as bytes, in the machine's order.
pub fn to_bytes<T: Stored>(elements: &[T]) -> Vec<u8> {
    elements.iter().flat_map(|x| x.to_bytes()).collect()
}

/// Bytes as elements; what is left over is none.
pub fn from_bytes<T: Stored>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(T::STORAGE.bytes()).map(T::from_bytes).collect()
}
