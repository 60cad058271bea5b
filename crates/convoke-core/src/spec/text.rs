//! A layer back to text, and text to one layer.

use super::sizes::{output, unpooled};
use super::template::not_one_layer;
use super::{
    Accuracy, Batch, Divisor, Epilogue, Integers, LayerSpec, Limits, Operation, PaddingMode, PerChannel, Schedule,
    SpatialAxis, Storage,
};
use crate::diagnostic::{self, Diagnostic};
use std::fmt;
use std::str::FromStr;

/// The canonical text: every field that has no default or another value than it, in a fixed order; it parses to an
/// equal layer.
impl fmt::Display for LayerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes = &self.spatial[3 - self.rank..];
        writeln!(f, "{} {} {{", self.kind(), self.name)?;
        writeln!(f, "    input: {},", self.src_type())?;
        if let Some(integers) = &self.integers {
            if let Some(output) = &integers.output {
                writeln!(f, "    input_scale: {},", number(output.src_scale))?;
            }
            if integers.src_zero_point != 0 {
                writeln!(f, "    input_zero_point: {},", integers.src_zero_point)?;
            }
        }
        let pooling = self.operation.is_pooling();
        if !pooling {
            writeln!(f, "    out_channels: {},", self.out_channels / self.parts())?;
        }
        let kernel: Vec<_> = axes.iter().map(|a| a.kernel.to_string()).collect();
        if self.adaptive {
            writeln!(f, "    output_size: {},", sizes(axes.iter().map(|a| a.output)))?;
        } else {
            writeln!(f, "    kernel_size: {},", kernel.join("x"))?;
        }
        if !self.adaptive && axes.iter().any(|a| a.stride != if pooling { a.kernel } else { 1 }) {
            writeln!(f, "    stride: {},", sizes(axes.iter().map(|a| a.stride)))?;
        }
        if axes.iter().any(|a| (a.pad_lo, a.pad_hi) != (0, 0)) {
            writeln!(f, "    padding: {},", padding(axes))?;
        }
        match self.padding_mode {
            PaddingMode::Zeros => {}
            PaddingMode::Constant(value) => writeln!(f, "    padding_mode: constant({}),", number(value))?,
            mode => writeln!(f, "    padding_mode: {},", mode.name())?,
        }
        let unpooling = self.operation == Operation::MaxUnpool;
        if unpooling && axes.iter().any(|a| unpooled(a) != a.output as i64) {
            writeln!(f, "    output_size: {},", sizes(axes.iter().map(|a| a.output)))?;
        }
        if pooling && !unpooling && !self.adaptive && axes.iter().any(|a| output(a) != Some(a.output)) {
            writeln!(f, "    ceil_mode: true,")?;
        }
        if self.operation == Operation::Transposed && axes.iter().any(|a| a.output_padding() != 0) {
            let each: Vec<_> = axes.iter().map(|a| a.output_padding().to_string()).collect();
            writeln!(f, "    output_padding: {},", one_or_each(&each))?;
        }
        if axes.iter().any(|a| a.dilation != 1) {
            writeln!(f, "    dilation: {},", sizes(axes.iter().map(|a| a.dilation)))?;
        }
        if self.groups != 1 && !pooling {
            writeln!(f, "    groups: {},", self.groups)?;
        }
        if self.offset_groups != 1 {
            writeln!(f, "    offset_groups: {},", self.offset_groups)?;
        }
        if self.mask {
            writeln!(f, "    mask: true,")?;
        }
        if self.bias {
            writeln!(f, "    bias: true,")?;
        }
        match self.divisor {
            Divisor::Padded => {}
            Divisor::Inside => writeln!(f, "    count_include_pad: false,")?,
            Divisor::Number(n) => writeln!(f, "    divisor: {n},")?,
        }
        if self.p != 2 {
            writeln!(f, "    p: {},", self.p)?;
        }
        if self.return_indices {
            writeln!(f, "    return_indices: true,")?;
        }
        if self.weights_layout != self.operation.weights_layouts()[0] {
            writeln!(f, "    weights: {},", self.weights_layout.name(self.rank))?;
        }
        if let Some(integers) = &self.integers {
            fmt_integers(f, integers)?;
        }
        match self.then.as_slice() {
            [] => {}
            [step] => writeln!(f, "    then: {step},")?,
            steps => {
                let steps: Vec<_> = steps.iter().map(Epilogue::to_string).collect();
                writeln!(f, "    then: [{}],", steps.join(", "))?;
            }
        }
        match self.accuracy {
            default if default == Accuracy::default() => {}
            Accuracy::Exact => writeln!(f, "    accuracy: exact,")?,
            Accuracy::Fast => writeln!(f, "    accuracy: fast,")?,
            Accuracy::Times(times) => writeln!(f, "    accuracy: {},", number(times))?,
        }
        if self.schedule != Schedule::default() {
            for line in self.schedule.to_string().lines() {
                writeln!(f, "    {line}")?;
            }
        }
        writeln!(f, "}}")
    }
}

/// The fields of a layer of integers that stand behind `weights`.
fn fmt_integers(f: &mut fmt::Formatter<'_>, integers: &Integers) -> fmt::Result {
    if integers.weights != Storage::I8 {
        writeln!(f, "    weights_type: {},", integers.weights.name())?;
    }
    match integers.output.as_ref().map(|output| output.weights_scale) {
        None => {}
        Some(PerChannel::One(scale)) => writeln!(f, "    weights_scale: {},", number(scale))?,
        Some(PerChannel::Each) => writeln!(f, "    weights_scale: per_channel,")?,
    }
    match integers.weights_zero_point {
        PerChannel::One(0) => {}
        PerChannel::One(point) => writeln!(f, "    weights_zero_point: {point},")?,
        PerChannel::Each => writeln!(f, "    weights_zero_point: per_channel,")?,
    }
    if integers.reduce_range {
        writeln!(f, "    reduce_range: true,")?;
    }
    let Some(output) = &integers.output else { return Ok(()) };
    writeln!(f, "    output: {},", output.dst.name())?;
    writeln!(f, "    output_scale: {},", number(output.dst_scale))?;
    if output.zero_point != 0 {
        writeln!(f, "    output_zero_point: {},", output.zero_point)?;
    }
    Ok(())
}

impl LayerSpec {
    /// The type of `src` as the language writes it: `f32[1, 3, 224, 224] @ nchw`.
    pub fn src_type(&self) -> String {
        self.tensor_type(self.src_storage(), self.in_channels, |axis| axis.input)
    }

    /// The type of `dst`: `f32[1, 64, 112, 112] @ nchw`.
    pub fn dst_type(&self) -> String {
        self.tensor_type(self.dst_storage(), self.out_channels, |axis| axis.output)
    }

    /// The canonical text under a comment that says what validation has worked out: the output, the work and the
    /// parameters. It parses to an equal layer.
    pub fn to_annotated_text(&self) -> String {
        let (dst, macs, parameters) = (self.dst_type(), self.macs_per_image(), self.parameters());
        let image = if self.fixed_batch() == Some(1) { "" } else { " an image" };
        if self.operation.is_pooling() {
            let what = if self.operation == Operation::MaxUnpool { "elements" } else { "taps" };
            return format!("// dst: {dst}; {macs} {what}{image}\n{self}");
        }
        format!("// dst: {dst}; {macs} multiply-accumulates{image}; {parameters} parameters\n{self}")
    }

    fn tensor_type(&self, storage: Storage, channels: usize, size: impl Fn(&SpatialAxis) -> usize) -> String {
        let sizes: Vec<usize> = self.spatial[3 - self.rank..].iter().map(size).collect();
        let dims = self.layout.declared_shape(self.fixed_batch().unwrap_or(0), channels / self.parts(), &sizes);
        let mut dims: Vec<_> = dims.iter().map(ToString::to_string).collect();
        if let Batch::Named(name) = &self.batch {
            dims[0].clone_from(name);
        }
        format!("{}[{}] @ {}", self.element_name(storage), dims.join(", "), self.layout.name(self.rank, self.dtype))
    }
}

/// One number if all are equal, else `2x1`.
fn sizes(values: impl Iterator<Item = usize> + Clone) -> String {
    let mut all = values.clone();
    let first = all.next().unwrap_or(1);
    if all.all(|v| v == first) {
        return first.to_string();
    }
    values.map(|v| v.to_string()).collect::<Vec<_>>().join("x")
}

fn padding(axes: &[SpatialAxis]) -> String {
    let sides = |a: &SpatialAxis| {
        if a.pad_lo == a.pad_hi { a.pad_lo.to_string() } else { format!("{}..{}", a.pad_lo, a.pad_hi) }
    };
    one_or_each(&axes.iter().map(sides).collect::<Vec<_>>())
}

/// One value if all are equal, else `(2, 0)`, which may have a 0 where `2x0` may not.
fn one_or_each(each: &[String]) -> String {
    if each.windows(2).all(|two| two[0] == two[1]) { each[0].clone() } else { format!("({})", each.join(", ")) }
}

impl fmt::Display for Epilogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match *self {
            Self::Clamp { lo, hi } => write!(f, "{name}({}, {})", number(lo), number(hi)),
            Self::LeakyRelu { slope: x }
            | Self::Elu { alpha: x }
            | Self::Celu { alpha: x }
            | Self::Add { constant: x }
            | Self::Mul { factor: x }
            | Self::Pow { exponent: x } => write!(f, "{name}({})", number(x)),
            _ => f.write_str(name),
        }
    }
}

/// The shortest text that reads back as `value`.
fn number(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A `schedule { }` block with the pinned fields, without indentation.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| format!("({})", items.join(", "));
        let fields = [
            ("algorithm", self.algorithm.as_ref().map(|v| v.value.to_string())),
            ("vector", self.vector.as_ref().map(|v| v.value.to_string())),
            ("tile", self.tile.as_ref().map(|v| format!("{}x{}", v.value.0, v.value.1))),
            ("block", self.block.as_ref().map(|v| list(v.value.iter().map(|(a, n)| format!("{a}: {n}")).collect()))),
            ("order", self.order.as_ref().map(|v| list(v.value.iter().map(ToString::to_string).collect()))),
            ("parallel", self.parallel.as_ref().map(|v| v.value.to_string())),
            ("pack_input", self.pack_input.as_ref().map(|v| v.value.to_string())),
            ("unroll", self.unroll.as_ref().map(|v| v.value.to_string())),
        ];
        writeln!(f, "schedule {{")?;
        for (name, value) in fields {
            if let Some(value) = value {
                writeln!(f, "    {name}: {value},")?;
            }
        }
        writeln!(f, "}}")
    }
}

/// A text that is not exactly one legal layer.
#[derive(Clone, PartialEq, Eq)]
pub struct SpecTextError {
    /// What is wrong, in the order of the text; never empty.
    pub diagnostics: Vec<Diagnostic>,
    /// The text.
    pub source: String,
}

impl SpecTextError {
    pub(super) fn new(diagnostics: Vec<Diagnostic>, text: &str) -> Self {
        Self { diagnostics, source: text.to_owned() }
    }
}

impl fmt::Display for SpecTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(diagnostic::plain(&self.diagnostics, &self.source).trim_end())
    }
}

/// The same text as `Display`: it is what a `main` that returns the error prints.
impl fmt::Debug for SpecTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SpecTextError {}

/// Parses a text with exactly one layer and validates it against the default [`Limits`].
impl FromStr for LayerSpec {
    type Err = SpecTextError;

    fn from_str(text: &str) -> Result<Self, SpecTextError> {
        let diagnostics = match crate::front::layers(text, &Limits::default()) {
            Ok(mut layers) if layers.len() == 1 => return Ok(layers.remove(0)),
            Ok(layers) => vec![not_one_layer(layers.len())],
            Err(diagnostics) => diagnostics,
        };
        Err(SpecTextError::new(diagnostics, text))
    }
}
