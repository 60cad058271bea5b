//! How a picture becomes a network's input: what `preprocess` says, in its order.

use std::fmt;

use super::error::NetworkError;
use super::read::Graph;
use crate::front::ast::{self, Field, ValueKind};
use crate::span::Span;

/// A step. Pictures come as rows, columns and channels, from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Preprocess {
    /// The shorter side gets that many pixels and the other as many as keep the shape: torchvision's `Resize(n)`, bilinear with antialiasing.
    ResizeShorter(usize),
    /// Rows and columns.
    Resize(usize, usize),
    /// So many rows and columns in the middle: torchvision's `CenterCrop`.
    Crop(usize, usize),
    /// The channels in reverse order: colours as OpenCV has them.
    Bgr,
    /// Times a number: 255 for networks that take bytes.
    Mul(f64),
    /// A number for each channel is subtracted.
    Mean(Vec<f64>),
    /// A number for each channel divides it.
    Std(Vec<f64>),
}

/// As the language writes it.
impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &[f64]| numbers.iter().map(|x| format!("{x:?}")).collect::<Vec<_>>().join(", ");
        match self {
            Self::ResizeShorter(n) => write!(f, "resize({n})"),
            Self::Resize(h, w) => write!(f, "resize({h}, {w})"),
            Self::Crop(h, w) => write!(f, "crop({h}, {w})"),
            Self::Bgr => write!(f, "bgr"),
            Self::Mul(factor) => write!(f, "mul({factor:?})"),
            Self::Mean(numbers) => write!(f, "mean({})", list(numbers)),
            Self::Std(numbers) => write!(f, "std({})", list(numbers)),
        }
    }
}

/// What steps may be.
const KNOWN: &str = "`resize(256)`, `resize(224, 224)`, `crop(224)`, `bgr`, `mul(255)`, `mean(0.5)` and `std(0.5)`";

impl Graph<'_> {
    /// Reads the steps, which have to end with a picture of the input's sizes.
    pub(super) fn preprocess(&mut self, field: &Field) {
        let steps = match &field.value.kind {
            ValueKind::List(steps) => steps.as_slice(),
            _ => std::slice::from_ref(&field.value),
        };
        let Some(first) = self.out.values.first() else { return };
        let (shape, inputs) = (first.shape.clone(), self.out.values.len());
        if inputs != 1 || shape.sizes.len() != 2 {
            return self.wrong(
                format!("pictures are for networks of one input with height and width, and this has {shape}"),
                field.name.span,
            );
        }
        let mut size = None;
        for step in steps {
            match read(step, shape.channels) {
                Ok(read) => {
                    match read {
                        Preprocess::ResizeShorter(_) => size = None,
                        Preprocess::Resize(h, w) | Preprocess::Crop(h, w) => size = Some([h, w]),
                        _ => {}
                    }
                    self.out.preprocess.push(read);
                }
                Err(what) => return self.wrong(what, step.span),
            }
        }
        if let Some([h, w]) = size.filter(|size| size[..] != shape.sizes[..]) {
            let [height, width] = [shape.sizes[0], shape.sizes[1]];
            self.wrong(
                format!("the steps end with {h} x {w} pixels, and the input has {height} x {width}"),
                field.value.span,
            );
        }
    }

    fn wrong(&mut self, what: String, span: Span) {
        self.error(NetworkError::Preprocess { what, span });
    }
}

/// A step, of pictures of so many channels, or what is wrong with it.
fn read(step: &ast::Value, channels: usize) -> Result<Preprocess, String> {
    let (name, arguments) = match &step.kind {
        ValueKind::Word(word) => (word.as_str(), &[][..]),
        ValueKind::Call(name, arguments) => (name.value.as_str(), arguments.as_slice()),
        _ => return Err(format!("a step is one of {KNOWN}")),
    };
    let numbers: Option<Vec<f64>> = arguments
        .iter()
        .map(|argument| match argument.kind {
            ValueKind::Int(n) => Some(n as f64),
            ValueKind::Float(x) => Some(x),
            _ => None,
        })
        .collect();
    let numbers =
        numbers.filter(|all| all.iter().all(|x| x.is_finite())).ok_or_else(|| format!("`{name}` takes numbers"))?;
    // Sizes as files of pictures can have them.
    let sizes: Vec<usize> =
        numbers.iter().filter(|x| x.fract() == 0.0 && (1.0..=65535.0).contains(*x)).map(|&x| x as usize).collect();
    let each = |numbers: Vec<f64>| match numbers.len() {
        1 => Ok(vec![numbers[0]; channels]),
        found if found == channels => Ok(numbers),
        found => Err(format!("`{name}` takes a number for each of {channels} channels, or one, and here are {found}")),
    };
    match (name, sizes.as_slice()) {
        ("resize", &[n]) if numbers.len() == 1 => Ok(Preprocess::ResizeShorter(n)),
        ("resize", &[h, w]) if numbers.len() == 2 => Ok(Preprocess::Resize(h, w)),
        ("crop", &[n]) if numbers.len() == 1 => Ok(Preprocess::Crop(n, n)),
        ("crop", &[h, w]) if numbers.len() == 2 => Ok(Preprocess::Crop(h, w)),
        ("resize" | "crop", _) => Err(format!("`{name}` takes one or two sizes from 1 to 65535")),
        ("bgr", _) if numbers.is_empty() => Ok(Preprocess::Bgr),
        ("mul", _) if numbers.len() == 1 => Ok(Preprocess::Mul(numbers[0])),
        ("mean", _) => each(numbers).map(Preprocess::Mean),
        ("std", _) if numbers.contains(&0.0) => Err("`std` divides, and one of its numbers is 0".to_owned()),
        ("std", _) => each(numbers).map(Preprocess::Std),
        ("bgr" | "mul", _) => {
            Err(format!("`{name}` takes {}", if name == "mul" { "one number" } else { "no numbers" }))
        }
        _ => Err(format!("there is no step `{name}`; there are {KNOWN}")),
    }
}
