//! A layer whose sizes are names: one text, and a layer for whatever numbers they are given.
//!
//! In comes the text of one layer whose spatial sizes may be names, as in `input: f32[N, 3, H, W]`. [`LayerTemplate`] says what
//! they are and which numbers a tensor gives them, and makes the [`LayerSpec`] that the text is with the numbers in their place.
//! A name that stands twice is one size. A name of the batch stays one, unless a spatial size has it too.
//!
//! Mistakes that no number mends are refused when the text is read, the others for the numbers that make them.

use super::layer::{validate_with_sizes, validate_without_sizes};
use super::layout::{LAYOUTS, MEANINGS};
use super::{COMPLEX_NAMES, DType, LayerSpec, Layout, Limits, PARTS, SpecTextError};
use crate::diagnostic::Diagnostic;
use crate::front::ast::{File, Layer, Value, ValueKind};
use crate::front::{checked, in_order};
use std::fmt;
use std::str::FromStr;

/// One layer whose spatial sizes may be names.
///
/// ```
/// # use convoke_core::spec::LayerTemplate;
/// let text = "conv2d edges { input: f32[N, 3, H, W], out_channels: 8, kernel_size: 3, padding: same, stride: 2 }";
/// let template: LayerTemplate = text.parse()?;
/// assert_eq!(template.names(), ["H", "W"]);
/// assert_eq!(template.bind(&[("H", 480), ("W", 640)])?.dst_type(), "f32[N, 8, 240, 320] @ nchw");
/// assert_eq!(template.sizes_of(&[16, 3, 32, 48])?, template.sizes(&[("W", 48), ("H", 32)])?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LayerTemplate {
    source: String,
    /// The tree of the one layer.
    file: File,
    names: Vec<String>,
    src: Vec<Size>,
}

/// One size of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size {
    /// Known.
    Number(usize),
    /// Of the batch or of an axis.
    Name(String),
}

/// A number for each name of a template, in the order of [`LayerTemplate::names`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sizes(Vec<usize>);

/// Why a template and numbers do not make a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The layer is illegal with these numbers.
    #[error("layer {layer} is not legal with {sizes}\n{source}")]
    Illegal {
        /// Name of the layer.
        layer: String,
        /// `H = 4, W = 5`.
        sizes: String,
        /// Why.
        source: SpecTextError,
    },
    /// A name that the layer has was given no number.
    #[error("layer {layer} needs a number for `{name}`")]
    Missing {
        /// Name of the layer.
        layer: String,
        /// The size.
        name: String,
    },
    /// A name that the layer does not have, or not as a spatial size.
    #[error("layer {layer} has no spatial size `{name}`: {}", of_names(.known))]
    Unknown {
        /// Name of the layer.
        layer: String,
        /// What was given.
        name: String,
        /// The layer's names.
        known: Vec<String>,
    },
    /// Two numbers for one name, or the same one twice.
    #[error("`{name}` of layer {layer} is one size, and was given as {first} and as {second}")]
    Twice {
        /// Name of the layer.
        layer: String,
        /// The size.
        name: String,
        /// The first number.
        first: usize,
        /// The next.
        second: usize,
    },
    /// The sizes are those of another template.
    #[error("layer {layer} has {expected} names of sizes, and {given} numbers were given")]
    Count {
        /// Name of the layer.
        layer: String,
        /// Names it has.
        expected: usize,
        /// Numbers given.
        given: usize,
    },
    /// A shape that has other numbers than the layer says, or more of them, or fewer.
    #[error("src is of shape {given:?}, and layer {layer} takes {expected}")]
    Shape {
        /// Name of the layer.
        layer: String,
        /// `[N, 3, H, W]`.
        expected: String,
        /// What was given.
        given: Vec<usize>,
    },
}

impl LayerTemplate {
    /// The layer's name.
    pub fn name(&self) -> &str {
        &self.layer().name.value
    }

    /// The names of spatial sizes, each once, outermost axis first; none where all are numbers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The sizes of `src` as memory has them, outermost first.
    pub fn src(&self) -> &[Size] {
        &self.src
    }

    /// The text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The layer with these numbers, in any order, within the default [`Limits`].
    ///
    /// # Errors
    /// As [`Self::sizes`] and [`Self::with`].
    pub fn bind(&self, sizes: &[(&str, usize)]) -> Result<LayerSpec, BindError> {
        self.with(&self.sizes(sizes)?, &Limits::default())
    }

    /// Numbers by name, in any order, as those of this template.
    ///
    /// # Errors
    /// If a name has no number, has two, or is none of the template's.
    pub fn sizes(&self, given: &[(&str, usize)]) -> Result<Sizes, BindError> {
        let layer = || self.name().to_owned();
        if let Some((name, _)) = given.iter().find(|(name, _)| !self.names.iter().any(|known| known == name)) {
            return Err(BindError::Unknown { layer: layer(), name: (*name).to_owned(), known: self.names.clone() });
        }
        let number = |name: &String| {
            let mut numbers = given.iter().filter(|(given, _)| given == name).map(|(_, number)| *number);
            match (numbers.next(), numbers.next()) {
                (Some(number), None) => Ok(number),
                (Some(first), Some(second)) => {
                    Err(BindError::Twice { layer: layer(), name: name.clone(), first, second })
                }
                (None, _) => Err(BindError::Missing { layer: layer(), name: name.clone() }),
            }
        };
        self.names.iter().map(number).collect::<Result<_, _>>().map(Sizes)
    }

    /// The numbers that a `src` of this shape gives the names.
    ///
    /// # Errors
    /// If the shape has another number of sizes than `src`, or another size where that is a number, or different sizes for one name.
    pub fn sizes_of(&self, shape: &[usize]) -> Result<Sizes, BindError> {
        let fits = |(size, given): (&Size, &usize)| match size {
            Size::Number(number) => number == given,
            Size::Name(_) => true,
        };
        if shape.len() != self.src.len() || !self.src.iter().zip(shape).all(fits) {
            let expected: Vec<_> = self.src.iter().map(ToString::to_string).collect();
            let expected = format!("[{}]", expected.join(", "));
            return Err(BindError::Shape { layer: self.name().to_owned(), expected, given: shape.to_vec() });
        }
        let of_name = |name: &String| {
            let mut sizes = self.src.iter().zip(shape).filter(|(size, _)| matches!(size, Size::Name(n) if n == name));
            let first = sizes.next().map_or(0, |(_, given)| *given);
            match sizes.find(|(_, given)| **given != first) {
                Some((_, second)) => {
                    let (layer, name, second) = (self.name().to_owned(), name.clone(), *second);
                    Err(BindError::Twice { layer, name, first, second })
                }
                None => Ok(first),
            }
        };
        self.names.iter().map(of_name).collect::<Result<_, _>>().map(Sizes)
    }

    /// The layer with the numbers of `sizes` in the place of its names.
    ///
    /// # Errors
    /// If it is not legal or needs more than `limits` allow, with the place in the text; and if `sizes` are those of a template that
    /// has another number of names.
    pub fn with(&self, sizes: &Sizes, limits: &Limits) -> Result<LayerSpec, BindError> {
        let (expected, given) = (self.names.len(), sizes.0.len());
        if expected != given {
            return Err(BindError::Count { layer: self.name().to_owned(), expected, given });
        }
        let numbers: Vec<_> = self.names.iter().map(String::as_str).zip(sizes.0.iter().copied()).collect();
        let diagnostics = match validate_with_sizes(&self.file, limits, &numbers).as_mut().map(Vec::pop) {
            Ok(Some(spec)) => return Ok(spec),
            Ok(None) => vec![],
            Err(diagnostics) => in_order(std::mem::take(diagnostics)),
        };
        let sizes: Vec<_> = numbers.iter().map(|(name, number)| format!("{name} = {number}")).collect();
        let source = SpecTextError { diagnostics, source: self.source.clone() };
        Err(BindError::Illegal { layer: self.name().to_owned(), sizes: sizes.join(", "), source })
    }

    /// The only layer of the text.
    fn layer(&self) -> &Layer {
        &self.file.layers[0]
    }
}

/// Reads a text with exactly one layer.
impl FromStr for LayerTemplate {
    type Err = SpecTextError;

    fn from_str(text: &str) -> Result<Self, SpecTextError> {
        let refuse = |diagnostics| SpecTextError { diagnostics, source: text.to_owned() };
        let validate = |file: &File| validate_without_sizes(file, &Limits::default());
        let (file, ()) = checked(text, validate).map_err(refuse)?;
        let [layer] = &file.layers[..] else { return Err(refuse(vec![not_one_layer(file.layers.len())])) };
        let (src, axes) = src_of(layer).unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        for size in &src[axes] {
            if let Size::Name(name) = size
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        }
        Ok(Self { source: text.to_owned(), file, names, src })
    }
}

/// Texts are compared, not what they mean.
impl PartialEq for LayerTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What is said of a text that is to be one layer and has another number of them.
pub(super) fn not_one_layer(count: usize) -> Diagnostic {
    let message = format!("expected exactly one layer, found {count}");
    let help = "split the text at its layers, or compile it as a file".to_owned();
    Diagnostic { message, labels: vec![], help: Some(help) }
}

/// The sizes of `src` as memory has them, and which of them are those of axes. None of a layer that has not been validated.
fn src_of(layer: &Layer) -> Option<(Vec<Size>, std::ops::Range<usize>)> {
    let input = layer.fields.iter().find(|field| field.name.value == "input")?;
    let ValueKind::Tensor { dtype, dims, layout } = &input.value.kind else { return None };
    let mut sizes = dims.iter().map(size).collect::<Option<Vec<_>>>()?;
    let rank = sizes.len().checked_sub(2)?;
    let word = layout.as_ref().map_or(LAYOUTS.get(rank.checked_sub(1)?)?[0], |layout| layout.value.as_str());
    let column = LAYOUTS.get(rank - 1)?.iter().position(|name| *name == word)?;
    let complex = COMPLEX_NAMES.iter().any(|(name, _)| *name == dtype.value);
    let (layout, dtype) = MEANINGS[column];
    match layout {
        Layout::ChannelsLast | Layout::ChannelsFirst | Layout::Pairs if complex => sizes.push(Size::Number(PARTS)),
        Layout::ChannelsLast | Layout::ChannelsFirst | Layout::Pairs => {}
        Layout::Blocked => {
            let block = dtype.unwrap_or(DType::F32).block();
            let Size::Number(channels) = sizes[1] else { return None };
            sizes[1] = Size::Number(channels.div_ceil(block));
            sizes.push(Size::Number(block));
        }
    }
    let first = if layout == Layout::ChannelsLast { 1 } else { 2 };
    Some((sizes, first..rank + first))
}

fn size(dim: &Value) -> Option<Size> {
    match &dim.kind {
        ValueKind::Int(number) => usize::try_from(*number).ok().map(Size::Number),
        ValueKind::Word(name) => Some(Size::Name(name.clone())),
        _ => None,
    }
}

/// `they are H, W`.
fn of_names(names: &[String]) -> String {
    if names.is_empty() { "all of them are numbers".to_owned() } else { format!("they are {}", names.join(", ")) }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
