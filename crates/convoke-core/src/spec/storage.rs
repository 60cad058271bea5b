//! What an element is in memory.

use super::DType;

/// Type of the elements of a tensor or buffer, which need not be the type that is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// Integers of 32 bits.
    I32,
    /// Integers from 0 to 255.
    U8,
    /// Integers from -128 to 127.
    I8,
}

impl Storage {
    /// Every type.
    pub const ALL: [Self; 7] = [Self::F32, Self::F64, Self::F16, Self::Bf16, Self::I32, Self::U8, Self::I8];

    /// Bytes an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::U8 | Self::I8 => 1,
        }
    }

    /// As the language writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I32 => "i32",
            Self::U8 => "u8",
            Self::I8 => "i8",
        }
    }

    /// Whether lanes hold integers of the same value, and not the bits.
    pub const fn is_narrow(self) -> bool {
        matches!(self, Self::U8 | Self::I8)
    }

    /// Whether lanes hold the same number as an `f32`.
    pub const fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16)
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

/// Floats of 16 bits that tensors are stored as, while sums are `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
}

impl Half {
    /// What an element is in memory.
    pub const fn storage(self) -> Storage {
        match self {
            Self::F16 => Storage::F16,
            Self::Bf16 => Storage::Bf16,
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
