//! What lies beyond the input.

use super::{LayerSpec, Operation, SpatialAxis};

/// What a window finds beyond the input: PyTorch's `padding_mode`, the modes of ONNX's `Pad`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PaddingMode {
    /// Nothing: those taps add no product to the sum.
    Zeros,
    /// One value everywhere; ONNX's `constant`.
    Constant(f64),
    /// The input read backwards from its second element on, `c b | a b c | b a`.
    Reflect,
    /// The nearest element, `a a | a b c | c c`; ONNX's `edge`.
    Replicate,
    /// The input again, `b c | a b c | a b`; ONNX's `wrap`.
    Circular,
}

impl PaddingMode {
    /// The word of the language; `constant` has its value in parentheses behind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zeros => "zeros",
            Self::Constant(_) => "constant",
            Self::Reflect => "reflect",
            Self::Replicate => "replicate",
            Self::Circular => "circular",
        }
    }

    /// The most padding that one side of `input` elements may have.
    pub(super) const fn most(self, input: usize) -> Option<usize> {
        match self {
            Self::Zeros | Self::Constant(_) | Self::Replicate => None,
            Self::Reflect => Some(input - 1),
            Self::Circular => Some(input),
        }
    }

    /// Whether elements of the input stand for the padding.
    pub const fn is_copied(self) -> bool {
        matches!(self, Self::Reflect | Self::Replicate | Self::Circular)
    }

    /// The input element that stands `position` elements after the first of `input`; `None` where no element does.
    pub fn element(self, position: i64, input: usize) -> Option<usize> {
        let last = input as i64 - 1;
        let found = match self {
            _ if (0..=last).contains(&position) => position,
            Self::Zeros | Self::Constant(_) => return None,
            Self::Reflect => last - (last - position.abs()).abs(),
            Self::Replicate => position.clamp(0, last),
            Self::Circular => position.rem_euclid(input as i64),
        };
        usize::try_from(found).ok()
    }
}

impl SpatialAxis {
    /// Whether there is padding at either side.
    pub const fn is_padded(&self) -> bool {
        self.pad_lo > 0 || self.pad_hi > 0
    }
}

impl LayerSpec {
    /// What stands in the padding if it is written out and no element of the input does: what changes no result, or what the layer says.
    pub(crate) fn padding_value(&self) -> f64 {
        match self.padding_mode {
            PaddingMode::Constant(value) => value,
            _ if self.operation == Operation::MaxPool => f64::NEG_INFINITY,
            _ => 0.0,
        }
    }

    /// Whether windows find something beyond the input that is to be multiplied.
    pub fn fills_padding(&self) -> bool {
        self.padding_mode != PaddingMode::Zeros && self.spatial.iter().any(SpatialAxis::is_padded)
    }
}

#[cfg(test)]
mod tests {
    use super::PaddingMode::{self, Circular, Reflect, Replicate, Zeros};

    #[test]
    fn elements_beyond_the_input() {
        let found = |mode: PaddingMode| (-2..5).map(|p| mode.element(p, 3)).collect::<Vec<_>>();
        let some = |each: [usize; 7]| each.map(Some).to_vec();
        assert_eq!(found(Reflect), some([2, 1, 0, 1, 2, 1, 0]));
        assert_eq!(found(Replicate), some([0, 0, 0, 1, 2, 2, 2]));
        assert_eq!(found(Circular), some([1, 2, 0, 1, 2, 0, 1]));
        assert_eq!(found(Zeros), [None, None, Some(0), Some(1), Some(2), None, None]);
    }
}
