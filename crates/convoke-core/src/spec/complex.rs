//! Layers of complex numbers.
//!
//! A complex number is two elements, the real and the imaginary part, one behind the other in every tensor: what PyTorch calls
//! `view_as_real`, and numpy's `complex64` and `complex128` in memory. Such a layer is one of real numbers with twice the
//! channels: of channel `c` the real part is channel `2 c` and the imaginary part `2 c + 1`, and a weight `a + b i` is four of
//! them, `a` and `-b` for the real part of the output, `b` and `a` for the imaginary one. So a [`LayerSpec`] counts the
//! channels of that layer, and only who reads the weights as the user has them has to know.

use super::error::SpecError;
use super::fields::Reader;
use super::{DType, Epilogue, LayerSpec, Layout, Operation, PaddingMode};
use crate::span::Span;

/// Parts of a complex number.
pub const PARTS: usize = 2;

/// What the language calls complex numbers of two `f32`, and of two `f64`: by their bits, as PyTorch and numpy do.
pub const COMPLEX_NAMES: [(&str, DType); 2] = [("c64", DType::F32), ("c128", DType::F64)];

impl LayerSpec {
    /// Elements that a number has: 2 of complex ones.
    pub const fn parts(&self) -> usize {
        if self.complex { PARTS } else { 1 }
    }

    /// What the elements of `src` and `dst` are called, `c64` or what `storage` is.
    pub fn element_name(&self, storage: super::Storage) -> &'static str {
        let complex = COMPLEX_NAMES.iter().find(|(_, dtype)| self.complex && *dtype == self.dtype);
        complex.map_or(storage.name(), |(name, _)| name)
    }

    /// The shape of a tensor in memory, of `channels` and `sizes` of axes, outermost first; complex numbers are a last axis of 2.
    pub fn shape(&self, batch: usize, channels: usize, sizes: &[usize]) -> Vec<usize> {
        match self.complex {
            true => self.declared_shape(batch, channels, sizes),
            false => self.layout.shape(batch, channels, sizes, self.dtype),
        }
    }

    /// The shape of a tensor as the language writes it, but that complex numbers are a last axis of 2.
    pub fn declared_shape(&self, batch: usize, channels: usize, sizes: &[usize]) -> Vec<usize> {
        let mut shape = self.layout.declared_shape(batch, channels / self.parts(), sizes);
        if self.complex {
            shape.push(PARTS);
        }
        shape
    }
}

/// Reports what a layer of complex numbers cannot have.
pub(super) fn check(reader: &mut Reader<'_>, spec: &LayerSpec, span: impl Fn(&str) -> Span) -> Option<()> {
    if !spec.complex {
        return Some(());
    }
    let elementwise =
        |step: &Epilogue| matches!(step, Epilogue::Residual | Epilogue::Shift | Epilogue::Mul { .. } | Epilogue::Neg);
    let refused = [
        (spec.layout == Layout::Blocked, "a blocked layout", "input", "use a layout without blocks"),
        (
            matches!(spec.padding_mode, PaddingMode::Constant(_)),
            "padding with a constant",
            "padding_mode",
            "use another `padding_mode`, or pad the input before",
        ),
        (
            !spec.then.iter().all(elementwise),
            "that epilogue",
            "then",
            "complex numbers have the steps `residual`, `shift`, `mul` and `neg`",
        ),
    ];
    let before = reader.errors.len();
    for (is, what, field, help) in refused {
        if is {
            reader.errors.push(SpecError::NotComplex { what, help, span: span(field) });
        }
    }
    (reader.errors.len() == before).then_some(())
}

/// Whether layers of `operation` may be of complex numbers.
pub(super) const fn has_complex(operation: Operation) -> bool {
    matches!(operation, Operation::Convolution | Operation::Transposed)
}
