//! `DynamicQuantizeLinear` and the operators of whole numbers behind it, as floats.
//!
//! The scale and the zero point of a dynamic quantization are known only when the network runs, and layers of whole numbers are not there. A value becomes
//! the layer `quantize_dynamic`, which gives the floats that the whole numbers stand for, and sums of products with constants become layers with
//! weights. What the graph has in between is followed as a [`Symbol`]: a constant or a value over the scale or times it. Where both meet, what is left is a
//! constant or a value again. Sums so differ from those of whole numbers by the rounding of `f32` alone.

use std::rc::Rc;

use super::{Build, Call, conv, linear};
use crate::error::Reason;
use crate::graph::Node;
use crate::ir::Op;
use crate::shapes::differ_dims;
use crate::tensor::{Budget, DType, Data, Elements, Tensor};
use crate::view::View;

/// What is said of a use that has no meaning without whole numbers.
const FOLLOWED: &str = "it takes whole numbers, a scale or a zero point of a `DynamicQuantizeLinear`; those are followed \
    through `ConvInteger`, `MatMulInteger`, sums, products with the scale and changes of sizes, to floats";

/// What stands for a value that no layer makes.
#[derive(Clone, Debug)]
pub(crate) struct Symbol {
    /// The value whose quantization it belongs to.
    of: usize,
    meaning: Meaning,
}

#[derive(Clone, Debug)]
enum Meaning {
    /// The whole numbers themselves, of which the view has the floats.
    Levels(View),
    /// Their zero point.
    Zero,
    /// A part times the scale to that power, 1 or -1.
    Scaled(Part, i32, Numbers),
}

/// What is multiplied with a power of the scale.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Constant(Rc<Tensor>),
    View(View),
}

/// What the numbers are that a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    Floats,
    /// Floats that have been rounded to whole numbers: constants, which are taken as they were.
    Rounded,
    /// Of a type of whole numbers.
    Whole,
}

/// What is to be done with a node that takes symbols.
pub(crate) enum Task {
    /// It makes what that is.
    Is(Symbol),
    /// It is computed or translated with the parts in place of the symbols, and what it makes is the part of this, if of any.
    Of(Option<Wrap>),
    /// Sums of products of whole numbers.
    Sums,
}

/// What a made part is a part of.
pub(crate) enum Wrap {
    /// Whole numbers of the quantization of that value.
    Levels(usize),
    /// A product with its scale to that power.
    Scaled(usize, i32, Numbers),
}

impl Wrap {
    pub(crate) fn around(&self, part: Part) -> Result<Symbol, Reason> {
        match (self, part) {
            (&Self::Scaled(of, power, numbers), part) => {
                Ok(Symbol { of, meaning: Meaning::Scaled(part, power, numbers) })
            }
            (&Self::Levels(of), Part::View(view)) => Ok(Symbol { of, meaning: Meaning::Levels(view) }),
            (Self::Levels(_), Part::Constant(_)) => Err(Reason::No(FOLLOWED)),
        }
    }
}

impl Symbol {
    /// What takes its place where a node is computed or translated; of a zero point there is none.
    pub(crate) fn part(&self) -> Option<Part> {
        match &self.meaning {
            Meaning::Levels(view) => Some(Part::View(view.clone())),
            Meaning::Scaled(part, ..) => Some(part.clone()),
            Meaning::Zero => None,
        }
    }
}

/// What a node makes of symbols, one for each input that is one.
pub(crate) fn task(node: &Node<'_>, symbols: &[Option<Symbol>]) -> Result<Task, Reason> {
    let refused = Err(Reason::No(FOLLOWED));
    let op = node.op();
    if let "ConvInteger" | "MatMulInteger" = op.as_str() {
        return Ok(Task::Sums);
    }
    let at = |input: usize| symbols.get(input).and_then(Option::as_ref);
    let (Some(of), is_one) = (symbols.iter().flatten().next().map(|one| one.of), symbols.len() == 1) else {
        return refused;
    };
    if symbols.iter().flatten().any(|one| one.of != of) {
        return Err(Reason::No("it joins numbers of two quantizations, whose scales are not the same"));
    }
    let wrap = |power: i32, numbers: Numbers| match power {
        0 => Ok(Task::Of(None)),
        -1 | 1 => Ok(Task::Of(Some(Wrap::Scaled(of, power, numbers)))),
        _ => Err(Reason::No("it makes a product with a power of a scale, which is neither 1 nor -1")),
    };
    let scaled = |input: usize| match at(input).map(|one| &one.meaning) {
        None => Some((0, Numbers::Floats)),
        Some(&Meaning::Scaled(_, power, numbers)) => Some((power, numbers)),
        Some(_) => None,
    };
    match (op.as_str(), at(0).map(|one| &one.meaning)) {
        ("Shape" | "Size", Some(Meaning::Levels(_) | Meaning::Scaled(..))) => Ok(Task::Of(None)),
        ("Identity", Some(meaning)) if is_one => Ok(Task::Is(Symbol { of, meaning: meaning.clone() })),
        ("Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose", Some(meaning)) if others(symbols) == 0 => {
            match *meaning {
                Meaning::Levels(_) => Ok(Task::Of(Some(Wrap::Levels(of)))),
                Meaning::Scaled(_, power, numbers) => wrap(power, numbers),
                Meaning::Zero => refused,
            }
        }
        ("Floor" | "Round" | "Ceil", Some(Meaning::Scaled(part @ Part::Constant(_), power, Numbers::Floats))) => {
            let meaning = Meaning::Scaled(part.clone(), *power, Numbers::Rounded);
            Ok(Task::Is(Symbol { of, meaning }))
        }
        ("Cast", Some(Meaning::Scaled(part, power, numbers))) => {
            let to = DType::of_onnx(i32::try_from(node.int("to", 1)).unwrap_or(-1)).map_err(Reason::Type)?;
            let numbers = match (to, numbers) {
                (DType::F32, _) => Numbers::Floats,
                (DType::I32 | DType::I64, Numbers::Rounded | Numbers::Whole) => Numbers::Whole,
                _ => return refused,
            };
            Ok(Task::Is(Symbol { of, meaning: Meaning::Scaled(part.clone(), *power, numbers) }))
        }
        ("Add" | "Sub", _) if symbols.len() == 2 => match (scaled(0), scaled(1)) {
            (Some((first, numbers)), Some((second, others))) if first == second && numbers == others => {
                wrap(first, numbers)
            }
            _ => refused,
        },
        ("Mul" | "Div", _) if symbols.len() == 2 => match (scaled(0), scaled(1)) {
            // Quotients of whole numbers are cut off.
            (Some((_, Numbers::Whole)), _) | (_, Some((_, Numbers::Whole))) => refused,
            (Some((first, _)), Some((second, _))) => {
                wrap(if op == "Mul" { first + second } else { first - second }, Numbers::Floats)
            }
            _ => refused,
        },
        _ => refused,
    }
}

/// How many inputs behind the first are symbols.
fn others(symbols: &[Option<Symbol>]) -> usize {
    symbols.iter().skip(1).flatten().count()
}

/// `DynamicQuantizeLinear`: the whole numbers, their scale, and their zero point.
pub(crate) fn quantize(build: &mut Build, call: &Call<'_, '_>) -> Result<Vec<Symbol>, Reason> {
    let view = quantized(build, call, call.view(0)?)?;
    let of = view.value;
    let one = Part::Constant(Rc::new(Tensor::floats(vec![], vec![1.0])));
    let meanings = [Meaning::Levels(view), Meaning::Scaled(one, 1, Numbers::Floats), Meaning::Zero];
    Ok(meanings.into_iter().map(|meaning| Symbol { of, meaning }).collect())
}

/// The floats that the whole numbers of a value stand for.
pub(super) fn quantized(build: &mut Build, call: &Call<'_, '_>, view: &View) -> Result<View, Reason> {
    if build.batch > 1 {
        return Err(Reason::Number {
            what: "the batch",
            found: build.batch.to_string(),
            expected: "the scale is that of all images together, and a layer has one for each: it has to be 1",
        });
    }
    let shape = build.net.shape(view.value).clone();
    let value = build.push(Op::QuantizeDynamic, vec![view.value], vec![], shape, &call.hints)?;
    Ok(View { value, axes: view.axes.clone() })
}

/// `ConvInteger` and `MatMulInteger`, of whole numbers and constants.
pub(crate) fn sums(build: &mut Build, call: &Call<'_, '_>, symbols: &[Option<Symbol>]) -> Result<Symbol, Reason> {
    let at = |input: usize| symbols.get(input).and_then(Option::as_ref);
    let Some(Symbol { of, meaning: Meaning::Levels(view) }) = at(0) else {
        return Err(Reason::No("its first input is none of `DynamicQuantizeLinear`"));
    };
    if !matches!(at(2), Some(Symbol { of: other, meaning: Meaning::Zero }) if other == of) {
        return Err(Reason::No("its third input is not the zero point of the first, of one `DynamicQuantizeLinear`"));
    }
    if at(1).is_some() || at(3).is_some() {
        return Err(Reason::No(FOLLOWED));
    }
    let weights = call.params.needed(1, "the weights")?;
    let zero = call.params.constant(3, "the zero point of the weights")?.map(Rc::as_ref);
    let is_conv = call.params.node.op() == "ConvInteger";
    let channels = if is_conv { 0 } else { weights.dims.len().saturating_sub(1) };
    let weights = Rc::new(floats(weights, zero, None, channels, &mut build.budget)?);
    let made = match is_conv {
        true => conv::convolution(build, call, view, &weights, None)?,
        false => linear::sums(build, call, view, &weights)?,
    };
    Ok(Symbol { of: *of, meaning: Meaning::Scaled(Part::View(made), -1, Numbers::Whole) })
}

/// Constant whole numbers as the floats that they stand for: less a zero point, times a scale, each one for all or one for each index of `axis`.
pub(super) fn floats(
    tensor: &Tensor,
    zero: Option<&Tensor>,
    scale: Option<&Tensor>,
    axis: usize,
    budget: &mut Budget,
) -> Result<Tensor, Reason> {
    if !matches!(tensor.dtype, DType::I8 | DType::U8) {
        return Err(Reason::Number {
            what: "the type of the weights",
            found: tensor.dtype.name().to_owned(),
            expected: "it has to be int8 or uint8",
        });
    }
    let (len, channels) = (tensor.len(), tensor.dims.get(axis).copied().unwrap_or(1));
    for numbers in [zero, scale].into_iter().flatten() {
        if numbers.len() != 1 && numbers.len() != channels {
            return Err(differ_dims("weights and their zero points or scales", &tensor.dims, &numbers.dims));
        }
    }
    let inner: usize = tensor.dims.iter().skip(axis + 1).product();
    let at = |numbers: Option<&Tensor>, default: f64, channel: usize| {
        numbers.map_or(default, |numbers| numbers.float(if numbers.len() == 1 { 0 } else { channel }))
    };
    budget.take(len, size_of::<f32>())?;
    let each = (0..len).map(|index| {
        let channel = index / inner.max(1) % channels.max(1);
        ((tensor.float(index) - at(zero, 0.0, channel)) * at(scale, 1.0, channel)) as f32
    });
    let elements = Elements::Float(Data::of(each.collect()));
    Ok(Tensor { dtype: DType::F32, dims: tensor.dims.clone(), elements })
}
