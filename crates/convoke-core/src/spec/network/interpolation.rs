//! What a `resize` computes that does more than repeat elements: where each element of the output lies between those of the input.
//!
//! An index of the output has a *position* along its axis of the input, which [`Align`] says, and takes the element there or, between two, either one
//! of them ([`Rounding`]) or both, each the more the nearer it is. Axis by axis those are a table of [`Tap`]s, so that a run neither divides nor rounds.

use crate::spec::DType;

/// How an image becomes one of other sizes, along each of its spatial axes for itself. PyTorch's `interpolate`, Keras' `Resizing`, ONNX's `Resize`.
#[derive(Clone, Debug, PartialEq)]
pub struct Interpolation {
    /// What is made of the elements around a position.
    pub sampling: Sampling,
    /// Where an element of the output lies in the input.
    pub align: Align,
    /// For each spatial axis its sizes.
    pub axes: Vec<Scaling>,
}

/// What is made of the two elements around a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// One of them.
    Nearest(Rounding),
    /// Their mean, each the more the nearer it is: linear along one axis, bilinear along two, trilinear along three.
    Linear,
}

/// Which of two elements is the nearest: ONNX's `nearest_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// The nearer one, in the middle the first.
    PreferFloor,
    /// The nearer one, in the middle the second: PyTorch's `nearest-exact` with [`Align::HalfPixel`].
    PreferCeil,
    /// The first: PyTorch's `nearest` with [`Align::Asymmetric`].
    Floor,
    /// The second.
    Ceil,
}

/// Where an element of the output lies in the input: ONNX's `coordinate_transformation_mode`. Elements beyond the first and the last are those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// The borders of both images lie on each other, elements in the middle of their pixels: `(x + 0.5) / scale - 0.5`. PyTorch's `align_corners=False`.
    HalfPixel,
    /// So, but the middles of both images lie on each other where a scale makes a size that is no whole number.
    Symmetric,
    /// The first and the last elements of both lie on each other: `x * (from - 1) / (to - 1)`. PyTorch's `align_corners=True`.
    Corners,
    /// The first elements lie on each other: `x / scale`.
    Asymmetric,
}

/// The sizes of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Elements of the input.
    pub from: usize,
    /// Elements of the output.
    pub to: usize,
    /// By how much it was scaled, where that is not the one size over the other: the output is as long as is left of `from * scale` without what is
    /// behind the point.
    pub scale: Option<f64>,
}

/// What an index of the output is made of: `weight` of the element behind `index`, the rest of the one at it; where the weight is 0, that one alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap {
    /// An index of the input.
    pub index: usize,
    /// From 0 up to 1, a number of the type that is asked for.
    pub weight: f64,
}

/// The words of `align`.
pub(super) const ALIGNS: [(&str, Align); 4] = [
    ("half_pixel", Align::HalfPixel),
    ("half_pixel_symmetric", Align::Symmetric),
    ("corners", Align::Corners),
    ("asymmetric", Align::Asymmetric),
];

/// The words of `round`.
pub(super) const ROUNDINGS: [(&str, Rounding); 4] = [
    ("round_prefer_floor", Rounding::PreferFloor),
    ("round_prefer_ceil", Rounding::PreferCeil),
    ("floor", Rounding::Floor),
    ("ceil", Rounding::Ceil),
];

impl Align {
    /// The word of the language.
    pub fn name(self) -> &'static str {
        ALIGNS.iter().find(|known| known.1 == self).map_or("", |known| known.0)
    }
}

impl Rounding {
    /// The word of the language.
    pub fn name(self) -> &'static str {
        ROUNDINGS.iter().find(|known| known.1 == self).map_or("", |known| known.0)
    }
}

impl Scaling {
    /// Elements of an axis that is scaled by a number, if they can be counted. The product is one of `f32`, as in ONNX Runtime, so that a third of
    /// three elements is one.
    pub fn scaled(from: usize, scale: f64) -> Option<Self> {
        let to = product(from, scale);
        (to >= 1.0 && to < usize::MAX as f32).then_some(Self { from, to: to as usize, scale: Some(scale) })
    }

    /// The scale, if it is not the one size over the other.
    pub fn uneven(&self) -> Option<f64> {
        self.scale.filter(|&scale| product(self.from, scale).fract() != 0.0)
    }
}

fn product(from: usize, scale: f64) -> f32 {
    from as f32 * scale as f32
}

impl Interpolation {
    /// What each index of an axis is made of, with weights that are numbers of that type.
    pub fn taps(&self, axis: usize, dtype: DType) -> impl Iterator<Item = Tap> {
        let Scaling { from, to, .. } = self.axes[axis];
        let last = from.saturating_sub(1);
        let alone = move |index: i128| Tap { index: usize::try_from(index).unwrap_or(0).min(last), weight: 0.0 };
        let one = move |x: usize| {
            let (index, part) = self.position(axis, x);
            match self.sampling {
                Sampling::Nearest(rounding) => alone(index + i128::from(rounding.is_second(part))),
                Sampling::Linear if index < 0 || index >= last as i128 => alone(index),
                Sampling::Linear => {
                    let weight = if dtype == DType::F32 { f64::from(part as f32) } else { part };
                    if weight < 1.0 { Tap { weight, ..alone(index) } } else { alone(index + 1) }
                }
            }
        };
        (0..to).map(one)
    }

    /// Where an index of the output is: the index of the input that it is at or behind, and how far behind.
    fn position(&self, axis: usize, x: usize) -> (i128, f64) {
        let size = self.axes[axis];
        let (x, from, to) = (x as i128, size.from as i128, size.to as i128);
        let Some(scale) = size.uneven().filter(|_| self.align != Align::Corners) else {
            // A quotient of whole numbers, so that it is exact where it lies on an element or between two.
            let (over, under) = match self.align {
                Align::HalfPixel | Align::Symmetric => ((2 * x + 1) * from - to, 2 * to),
                Align::Asymmetric => (x * from, to),
                Align::Corners => (x * (from - 1), (to - 1).max(1)),
            };
            return (over.div_euclid(under), over.rem_euclid(under) as f64 / under as f64);
        };
        let (middle, x) = (size.from as f64 / 2.0, x as f64);
        let position = match self.align {
            Align::Asymmetric => x / scale,
            Align::Symmetric => middle * (1.0 - size.to as f64 / (scale * size.from as f64)) + (x + 0.5) / scale - 0.5,
            Align::HalfPixel | Align::Corners => (x + 0.5) / scale - 0.5,
        };
        (position.floor() as i128, position - position.floor())
    }

    /// How often each element is repeated along each axis, if that is all; it follows from the sizes, however large they are.
    pub fn repeats(&self) -> Option<Vec<usize>> {
        let of_axis = |size: &Scaling| {
            let factor = size.to / size.from.max(1);
            let is_multiple = size.to == factor * size.from && size.uneven().is_none();
            // An element of the output lies a multiple of 1 / factor behind one of the input, or of 1 / (2 factor) around it.
            let is_repetition = match (self.sampling, self.align) {
                _ if factor == 1 || size.from == 1 => true,
                (
                    Sampling::Nearest(Rounding::PreferFloor | Rounding::PreferCeil),
                    Align::HalfPixel | Align::Symmetric,
                ) => true,
                (Sampling::Nearest(Rounding::Floor), Align::Asymmetric) => true,
                (Sampling::Nearest(Rounding::PreferFloor), Align::Asymmetric) => factor == 2,
                _ => false,
            };
            (is_multiple && is_repetition).then_some(factor)
        };
        self.axes.iter().map(of_axis).collect()
    }
}

impl Rounding {
    /// Whether it is the second of two elements, so far behind the first.
    fn is_second(self, part: f64) -> bool {
        match self {
            Self::PreferFloor => part > 0.5,
            Self::PreferCeil => part >= 0.5,
            Self::Floor => false,
            Self::Ceil => part > 0.0,
        }
    }
}

#[cfg(test)]
#[path = "interpolation_tests.rs"]
mod tests;
