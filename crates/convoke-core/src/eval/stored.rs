//! What buffers hold: the numbers of [`Storage`].

use super::Element;
use crate::spec::Storage;

mod sealed {
    pub trait Sealed {}
}

/// A type of elements in memory: `f32`, `f64`, `i32`, `u8` or `i8`, and no other. Every bit pattern is a value.
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
