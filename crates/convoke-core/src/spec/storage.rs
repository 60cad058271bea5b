//! What an element is in memory.

use super::DType;

/// Type of the elements of a tensor or buffer, which need not be the type that is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// Integers of 32 bits.
    I32,
    /// Integers from 0 to 255.
    U8,
    /// Integers from -128 to 127.
    I8,
}

impl Storage {
    /// Every type.
    pub const ALL: [Self; 5] = [Self::F32, Self::F64, Self::I32, Self::U8, Self::I8];

    /// Bytes an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::U8 | Self::I8 => 1,
        }
    }

    /// As the language and Rust write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I32 => "i32",
            Self::U8 => "u8",
            Self::I8 => "i8",
        }
    }

    /// Whether lanes hold integers of the same value, and not the bits.
    pub const fn is_narrow(self) -> bool {
        matches!(self, Self::U8 | Self::I8)
    }

    /// The least and the greatest integer of a narrow type; of all of 32 bits for any other.
    pub const fn range(self) -> (i32, i32) {
        match self {
            Self::U8 => (0, 255),
            Self::I8 => (-128, 127),
            _ => (i32::MIN, i32::MAX),
        }
    }
}

impl DType {
    /// The same numbers in memory.
    pub const fn storage(self) -> Storage {
        match self {
            Self::F32 => Storage::F32,
            Self::F64 => Storage::F64,
        }
    }
}
