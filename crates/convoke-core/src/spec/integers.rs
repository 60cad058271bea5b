//! Layers of integers: what their elements stand for, and what becomes of the sums.

use super::error::SpecError;
use super::fields::Reader;
use super::{Algorithm, Half, LayerSpec, Layout, Operation, PaddingMode, Storage};
use crate::front::ast::{Value, ValueKind};
use crate::span::Span;

/// The types and zero points of a layer whose `src` and weights are integers of 8 bits: ONNX's `ConvInteger` and `QLinearConv`.
///
/// Its sums are those of `(x - src_zero_point) * (w - weights_zero_point)`, of which padding has none, and of the bias: integers of 32 bits
/// that wrap.
///
/// Of maxima only [`src`](Self::src) says anything, which is the type of the output too: ONNX's `MaxPool`.
#[derive(Clone, Debug, PartialEq)]
pub struct Integers {
    /// `u8` or `i8`.
    pub src: Storage,
    /// The element of `src` that stands for 0.
    pub src_zero_point: i32,
    /// `i8` or `u8`.
    pub weights: Storage,
    /// The weight that stands for 0.
    pub weights_zero_point: PerChannel<i32>,
    /// Whether weights are at most [`REDUCED`] away from what stands for 0, which allows faster sums on some CPUs.
    pub reduce_range: bool,
    /// How sums become elements of 8 bits; without, `dst` is the sums.
    pub output: Option<Requantized>,
}

/// What `dst` is made of the sums by: `round(sum * (src_scale * weights_scale / dst_scale)) + zero_point`, all in f32, rounded to the
/// nearest integer (of two the even one), and the nearest value that the type holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantized {
    /// `u8` or `i8`.
    pub dst: Storage,
    /// What a step of `src` stands for.
    pub src_scale: f64,
    /// What a step of the weights stands for.
    pub weights_scale: PerChannel<f64>,
    /// What a step of `dst` stands for.
    pub dst_scale: f64,
    /// The element of `dst` that stands for 0.
    pub zero_point: i32,
}

/// One number, or one an output channel, which is given with the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PerChannel<T> {
    /// The same for all.
    One(T),
    /// A parameter, like the bias.
    Each,
}

/// Input channels that a lane holds, where integers are multiplied as ones of 16 bits.
pub const PAIR: usize = 2;

/// Input channels that a lane holds, where integers are multiplied as they are.
pub const QUAD: usize = 4;

/// The greatest distance of a weight from what stands for 0, with `reduce_range`: two products of such and elements of `u8` fit 16 bits.
pub const REDUCED: i32 = 64;

impl Integers {
    /// Whether weights are `i8`, less what stands for 0.
    pub fn has_signed_weights(&self) -> bool {
        let least = self.weights.range().0;
        self.reduce_range || self.weights_zero_point == PerChannel::One(least + 128)
    }
}

impl LayerSpec {
    /// What the tensors hold of a layer that is none of integers.
    fn float_storage(&self) -> Storage {
        self.half.map_or(self.dtype.storage(), Half::storage)
    }

    /// Bytes of an element of `src` or `dst`, as the cost of a plan counts them: of integers those of a lane.
    pub(crate) fn tensor_bytes(&self) -> usize {
        self.float_storage().bytes()
    }

    /// What the elements of `src` are.
    pub fn src_storage(&self) -> Storage {
        self.integers.as_ref().map_or(self.float_storage(), |integers| integers.src)
    }

    /// What the weights are, as the user gives them.
    pub fn weights_storage(&self) -> Storage {
        self.integers.as_ref().map_or(self.float_storage(), |integers| integers.weights)
    }

    /// What the bias is, as the user gives it.
    pub fn bias_storage(&self) -> Storage {
        if self.integers.is_some() { Storage::I32 } else { self.float_storage() }
    }

    /// What the elements of `dst` are.
    pub fn dst_storage(&self) -> Storage {
        match &self.integers {
            Some(integers) if self.operation == Operation::MaxPool => integers.src,
            Some(Integers { output: Some(output), .. }) => output.dst,
            Some(_) => Storage::I32,
            None => self.float_storage(),
        }
    }

    /// Input channels of a group that a lane holds, where `algorithm` multiplies them: several of integers.
    pub fn lane_channels(&self, algorithm: Algorithm) -> usize {
        match (&self.integers, algorithm) {
            (None, _) | (_, Algorithm::Pool | Algorithm::Unpool) => 1,
            (Some(_), algorithm) if algorithm.is_by_four() => QUAD,
            (Some(_), _) => PAIR,
        }
    }

    /// Whether a lane of four channels is four neighbouring bytes of the input, and no tap is in its padding: so it can be read as it is.
    pub fn has_whole_quads(&self) -> bool {
        let unpadded = self.spatial.iter().all(|a| (a.pad_lo, a.pad_hi) == (0, 0));
        let quads = self.layout == Layout::ChannelsLast && self.ic_per_group().is_multiple_of(QUAD);
        self.integers.is_some() && quads && unpadded
    }

    /// Lanes that the input channels of one group take.
    pub fn ic_lanes(&self, algorithm: Algorithm) -> usize {
        self.ic_per_group().div_ceil(self.lane_channels(algorithm))
    }

    /// Elements of the buffer `bias`: a row of one an output channel for the bias, if there is one, and for each of
    /// [`channel_steps`](Self::channel_steps); of a layer of integers the sums' constants and, for each channel, the factor of its sum.
    pub fn bias_len(&self) -> usize {
        match &self.integers {
            Some(_) if self.operation.is_pooling() => 0,
            Some(integers) => self.out_channels * if integers.output.is_some() { 2 } else { 1 },
            None => self.out_channels * (usize::from(self.bias) + self.channel_steps().count()),
        }
    }
}

/// The fields that only layers of integers have.
pub(super) const FIELDS: [&str; 9] = [
    "input_scale",
    "input_zero_point",
    "weights_type",
    "weights_scale",
    "weights_zero_point",
    "reduce_range",
    "output",
    "output_scale",
    "output_zero_point",
];

/// Reads them, for an input of `src`. `get` is a field's value, if it is given.
pub(super) fn read<'v>(
    reader: &mut Reader<'_>,
    src: Storage,
    get: impl Fn(&str) -> Option<&'v Value>,
    missing: Span,
) -> Option<Option<Integers>> {
    let before = reader.errors.len();
    if !src.is_narrow() {
        for field in FIELDS {
            if let Some(value) = get(field) {
                let span = value.span;
                reader.errors.push(SpecError::OnlyIntegers { field, input: src.name(), span });
            }
        }
        return (reader.errors.len() == before).then_some(None);
    }
    let narrow = [("u8", Storage::U8), ("i8", Storage::I8)];
    let weights = match get("weights_type") {
        Some(value) => reader.choice("weights_type", "type of weights", value, &narrow)?.value,
        None => Storage::I8,
    };
    let all = [("i32", Storage::I32), narrow[0], narrow[1]];
    let dst = match get("output") {
        Some(value) => reader.choice("output", "type of output", value, &all)?.value,
        None => Storage::I32,
    };
    let point = |reader: &mut Reader<'_>, field: &'static str, storage: Storage| match get(field) {
        Some(value) => zero_point(reader, field, value, storage),
        None => Some(0),
    };
    let src_zero_point = point(reader, "input_zero_point", src);
    let weights_zero_point = match get("weights_zero_point") {
        Some(value) if is_each(value) => Some(PerChannel::Each),
        _ => point(reader, "weights_zero_point", weights).map(PerChannel::One),
    };
    let reduce_range = match get("reduce_range") {
        Some(value) => reader.flag("reduce_range", value),
        None => Some(false),
    };
    let output = if dst == Storage::I32 {
        for field in ["input_scale", "weights_scale", "output_scale", "output_zero_point"] {
            if let Some(value) = get(field) {
                let span = value.span;
                reader.errors.push(SpecError::OnlyRequantized { field, span });
            }
        }
        None
    } else {
        let mut scale = |field: &'static str| match get(field) {
            Some(value) => scale(reader, field, value),
            None => {
                let named = crate::span::Spanned::new(field.to_owned(), missing);
                reader.report(SpecError::MissingScale { field, dst: dst.name(), span: named.span })
            }
        };
        let src_scale = scale("input_scale");
        let weights_scale = match get("weights_scale") {
            Some(value) if is_each(value) => Some(PerChannel::Each),
            _ => scale("weights_scale").map(PerChannel::One),
        };
        let dst_scale = scale("output_scale");
        let zero_point = point(reader, "output_zero_point", dst);
        if let (Some(src), Some(PerChannel::One(weights)), Some(dst)) = (src_scale, weights_scale, dst_scale) {
            let factor = src as f32 * weights as f32 / dst as f32;
            if !factor.is_finite() {
                let span = get("weights_scale").map_or(missing, |value| value.span);
                return reader.report(SpecError::Scale { field: "weights_scale", value: weights, span });
            }
        }
        Some(Requantized {
            dst,
            src_scale: src_scale?,
            weights_scale: weights_scale?,
            dst_scale: dst_scale?,
            zero_point: zero_point?,
        })
    };
    let integers = Integers {
        src,
        src_zero_point: src_zero_point?,
        weights,
        weights_zero_point: weights_zero_point?,
        reduce_range: reduce_range?,
        output,
    };
    (reader.errors.len() == before).then_some(Some(integers))
}

fn is_each(value: &Value) -> bool {
    matches!(&value.kind, ValueKind::Word(word) if word == "per_channel")
}

/// A whole number that `storage` holds.
fn zero_point(reader: &mut Reader<'_>, field: &'static str, value: &Value, storage: Storage) -> Option<i32> {
    let ValueKind::Int(n) = value.kind else {
        let each = if field == "weights_zero_point" { ", or per_channel" } else { "" };
        return reader.form(field, format!("one whole number{each}"), value);
    };
    let (least, most) = storage.range();
    match i32::try_from(n).ok().filter(|n| (least..=most).contains(n)) {
        Some(n) => Some(n),
        None => reader.report(SpecError::ZeroPoint { field, value: n, storage, span: value.span }),
    }
}

/// A number above 0 that f32 holds.
fn scale(reader: &mut Reader<'_>, field: &'static str, value: &Value) -> Option<f64> {
    let number = match value.kind {
        ValueKind::Int(n) => n as f64,
        ValueKind::Float(x) => x,
        _ => {
            let each = if field == "weights_scale" { ", or per_channel" } else { "" };
            return reader.form(field, format!("one number above 0{each}"), value);
        }
    };
    let single = number as f32;
    if single > 0.0 && single.is_finite() {
        return Some(number);
    }
    reader.report(SpecError::Scale { field, value: number, span: value.span })
}

/// Reports what a layer of integers cannot have.
pub(super) fn check(reader: &mut Reader<'_>, spec: &LayerSpec, span: impl Fn(&str) -> Span) -> Option<()> {
    if spec.integers.is_none() {
        return Some(());
    }
    let refused = [
        (spec.layout == Layout::Blocked, "a blocked layout", "input", "use a layout without blocks"),
        (
            matches!(spec.padding_mode, PaddingMode::Constant(_)),
            "a constant as its padding",
            "padding_mode",
            "leave it out: padding is what stands for 0; or copy elements of the input, as `replicate` does",
        ),
        (
            !spec.then.is_empty(),
            "an epilogue",
            "then",
            "leave it out; the output's type and its zero point are bounds such as those of relu",
        ),
    ];
    let before = reader.errors.len();
    for (is, what, field, help) in refused {
        if is {
            reader.errors.push(SpecError::NotIntegers { what, help, span: span(field) });
        }
    }
    (reader.errors.len() == before).then_some(())
}
