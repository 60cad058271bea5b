//! What validation refuses.

use super::operation::with_article;
use super::{DType, Storage, suggest};
use crate::diagnostic::{Diagnostic, Label};
use crate::front::ast::{Value, ValueKind};
use crate::span::{Span, Spanned};
use std::fmt::Write as _;

/// A layer that is well-formed and not legal.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum SpecError {
    #[error("there is no {what} `{}`", word.value)]
    UnknownWord { what: &'static str, word: Spanned<String>, known: Vec<&'static str> },
    #[error("{} has no `{}`", with_article(kind), name.value)]
    OtherField { name: Spanned<String>, kind: &'static str, other: &'static str, known: Vec<&'static str> },
    #[error("`{}` is given twice", name.value)]
    Duplicate { name: Spanned<String>, first: Span },
    #[error("two layers are called `{}`", name.value)]
    DuplicateLayer { name: Spanned<String>, first: Span },
    #[error("the layer `{}` has no `{field}`", layer.value)]
    MissingField { field: &'static str, example: &'static str, layer: Spanned<String> },
    #[error("`{}` cannot be a name", name.value)]
    BadName { name: Spanned<String> },
    #[error("`{field}` takes {expected}, not {}", short(found))]
    Form { field: &'static str, expected: String, found: Box<Value> },
    #[error("{} has {expected} {what}, here are {found}", with_article(kind))]
    Count { kind: &'static str, what: &'static str, expected: usize, found: usize, span: Span, help: String },
    #[error("the layout `{}` is not for {kind}", layout.value)]
    LayoutRank { layout: Spanned<String>, kind: &'static str, want: Vec<&'static str> },
    #[error("the layout `{}` is for {}, and the layer is {}", layout.value, only.name(), dtype.name())]
    BlockOfType { layout: Spanned<String>, dtype: DType, only: DType, right: &'static str },
    #[error("groups of {channels} {what} do not fit the blocks of `{layout}`")]
    BlockOfGroups {
        what: &'static str,
        channels: usize,
        channels_span: Span,
        block: usize,
        layout: &'static str,
        span: Span,
    },
    #[error("{what} may not be a name")]
    NamedSize { what: &'static str, spatial: bool, span: Span },
    #[error("{what} may not be {value}")]
    Range { what: String, value: i128, least: u64, most: u64, span: Span },
    #[error("{groups} groups do not divide {channels} {what}")]
    Groups {
        what: &'static str,
        channels: usize,
        channels_span: Span,
        groups: usize,
        span: Span,
        depthwise: bool,
        in_channels: usize,
    },
    #[error("the kernel reaches past the padded input")]
    KernelTooLarge { axis: &'static str, size: super::SpatialAxis, span: Span },
    #[error("a window would have no tap in the input")]
    EmptyWindow { axis: &'static str, size: super::SpatialAxis, span: Span },
    #[error("`output_padding` may not be {}", size.output_padding())]
    OutputPadding { axis: &'static str, size: super::SpatialAxis, span: Span },
    #[error("`output_size` may not be {found}")]
    OutputSize { axis: &'static str, size: super::SpatialAxis, found: usize, least: usize, most: usize, span: Span },
    #[error("nothing is left of the output")]
    NoOutput { axis: &'static str, size: super::SpatialAxis, output_padding: usize, span: Span },
    #[error("`output_size` may not be {found}")]
    UnpooledSize { axis: &'static str, size: super::SpatialAxis, found: usize, least: i64, most: i64, span: Span },
    #[error("nothing is left of the output")]
    NothingUnpooled { axis: &'static str, size: super::SpatialAxis, span: Span },
    #[error("the padding of {} is in numbers", with_article(kind))]
    UnpoolPadding { kind: &'static str, span: Span },
    #[error("the {kind} has too many kinds of phases")]
    Parts { kind: &'static str, parts: Vec<usize>, count: usize, most: usize, span: Span },
    #[error("`output_size` says what `output_padding` is")]
    BothOutputs { padding: Span, size: Span },
    #[error("`output_size` says what `{field}` is about")]
    BothWindows { field: &'static str, span: Span, size: Span },
    #[error("`divisor` says what `count_include_pad` is about")]
    BothDivisors { count: Span, number: Span },
    #[error("{mode} padding of {padding} is more than there is to take")]
    PaddingMode { axis: &'static str, mode: &'static str, padding: usize, input: usize, most: usize, span: Span },
    #[error("`accuracy` may not be {times}, the least is 1")]
    Accuracy { times: f64, span: Span },
    #[error("`causal` padding is for conv1d")]
    Causal { kind: &'static str, span: Span },
    #[error("{what} {}", if *limit < u64::MAX { "is larger than the limit" } else { "does not fit in 64 bits" })]
    TooMuch {
        what: &'static str,
        unit: &'static str,
        factors: Vec<(&'static str, u64)>,
        product: Option<u64>,
        limit: u64,
        span: Span,
    },
    #[error("`{field}` is for layers of integers")]
    OnlyIntegers { field: &'static str, input: &'static str, span: Span },
    #[error("`{field}` is for layers whose output is u8 or i8")]
    OnlyRequantized { field: &'static str, span: Span },
    #[error("an output of {dst} needs `{field}`")]
    MissingScale { field: &'static str, dst: &'static str, span: Span },
    #[error("`{field}` may not be {value}")]
    ZeroPoint { field: &'static str, value: i128, storage: Storage, span: Span },
    #[error("`{field}` may not be {value:?}")]
    Scale { field: &'static str, value: f64, span: Span },
    #[error("a layer of integers cannot have {what}")]
    NotIntegers { what: &'static str, help: &'static str, span: Span },
    #[error("a layer of complex numbers cannot have {what}")]
    NotComplex { what: &'static str, help: &'static str, span: Span },
    #[error("a deformable layer cannot have {what}")]
    NotDeformable { what: &'static str, label: String, help: &'static str, span: Span },
    #[error("{offset_groups} offset groups do not divide {channels} input channels")]
    OffsetGroups { offset_groups: usize, channels: usize, span: Span },
    #[error("{what} has {found} {unit}, and a deformable layer takes at most {most}")]
    BeyondPositions { what: &'static str, unit: &'static str, found: usize, most: usize, span: Span },
    #[error("{}", with_indices(what))]
    Indices { what: IndicesOf, span: Span },
    #[error("`clamp` has its bounds in the wrong order")]
    ClampOrder { lo: f64, hi: f64, span: Span },
    #[error("`then` takes {count} tensors")]
    RepeatedResidual { count: usize, span: Span },
    #[error("`softmax` is not the last step of `then`")]
    EarlySoftmax { span: Span },
    #[error("a layer of {storage} cannot have the step `softmax`")]
    HalfSoftmax { storage: &'static str, span: Span },
    #[error("the alpha of `celu` may not be {alpha}")]
    CeluAlpha { alpha: f64, span: Span },
    #[error("the exponent of `pow` may not be {exponent}")]
    PowExponent { exponent: f64, span: Span },
    #[error("`{step}` takes {expected}, here are {found}")]
    Arguments { step: String, expected: &'static str, found: usize, span: Span },
    #[error("`{}` is not a finite number", word.value)]
    NotFinite { word: Spanned<String>, step: String },
    #[error("{value:e} does not fit in f32")]
    BeyondF32 { value: f64, span: Span },
    #[error("the axis `{}` stands {count} times in `{field}`", axis.value)]
    RepeatedAxis { axis: Spanned<String>, field: &'static str, count: usize, most: usize },
}

/// What indices cannot be of.
#[derive(Clone, Copy, Debug)]
pub(super) enum IndicesOf {
    F64,
    Steps,
    Plane { elements: u64 },
}

fn with_indices(what: &IndicesOf) -> &'static str {
    match what {
        IndicesOf::F64 => "a layer of f64 cannot have `return_indices: true`",
        IndicesOf::Steps => "a layer with `then` cannot have `return_indices: true`",
        IndicesOf::Plane { .. } => "a plane is too large for indices",
    }
}

impl SpecError {
    /// With the spans, the arithmetic and the way out.
    pub(super) fn diagnostic(&self) -> Diagnostic {
        let message = self.to_string();
        let at = |span: &Span, label: &str| Diagnostic::at(*span, message.clone(), label);
        match self {
            Self::UnknownWord { what, word, known } => {
                let meant = match suggest::elsewhere(what, &word.value) {
                    Some(ours) => format!("here it is {ours}"),
                    None => suggest::nearest(&word.value, known)
                        .map_or_else(String::new, |name| format!("did you mean `{name}`?")),
                };
                at(&word.span, &meant).with_help(format!("known are {}", known.join(", ")))
            }
            Self::OtherField { name, other, known, .. } => {
                at(&name.span, &format!("a field of {other}")).with_help(format!("known are {}", known.join(", ")))
            }
            Self::Duplicate { name, first } => {
                second(at(&name.span, "given again here"), *first, "first given here").with_help("keep one of them")
            }
            Self::DuplicateLayer { name, first } => second(at(&name.span, "taken"), *first, "the first of that name")
                .with_help("give each layer of a file its own name"),
            Self::MissingField { field, example, layer } => {
                at(&layer.span, &format!("`{field}` has no default")).with_help(format!("add `{field}: {example},`"))
            }
            Self::BadName { name } => at(&name.span, "Rust keeps this word for itself")
                .with_help(format!("choose another name, such as `{}_1`", name.value.trim_matches('_'))),
            Self::Form { found, .. } => at(&found.span, found.form()),
            Self::Count { span, expected, found, help, .. } => {
                at(span, &format!("{found} instead of {expected}")).with_help(help)
            }
            Self::LayoutRank { layout, want, kind } => {
                // What follows the axes of a blocked layout is the size of a block.
                let axes = layout.value.chars().take_while(|c| c.is_ascii_alphabetic()).count();
                let want: Vec<_> = want.iter().map(|name| format!("`{name}`")).collect();
                let (last, others) = want.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
                at(&layout.span, &format!("{axes} axes in all")).with_help(format!(
                    "write {} or {last} for {}",
                    others.join(", "),
                    with_article(kind)
                ))
            }
            Self::BlockOfType { layout, dtype, right, .. } => {
                let label = format!("a block is 64 bytes of channels, {} of {}", dtype.block(), dtype.name());
                at(&layout.span, &label).with_help(format!("write `{right}`"))
            }
            Self::BlockOfGroups { what, channels, channels_span, block, span, .. } => {
                let label = format!(
                    "{channels} channels a group neither divide the {block} of a block nor are a multiple of them"
                );
                second(at(span, &label), *channels_span, &format!("the {what}"))
                    .with_help("use another number of groups or of channels, or a layout without blocks")
            }
            Self::NamedSize { spatial: true, span, .. } => at(span, "a name").with_help(
                "write a number here, or say what it stands for: with `--size` of the command, or with `Dynamic` at run time",
            ),
            Self::NamedSize { spatial: false, span, .. } => at(span, "a name")
                .with_help("only the batch and the sizes of the axes can be names; write a number here"),
            Self::Range { span, value, least, most, .. } => {
                let label = if value < &i128::from(*least) {
                    format!("at least {least}")
                } else {
                    format!("{value} is more than {most}")
                };
                at(span, &label).with_help(format!("write a number from {least} to {most}"))
            }
            Self::Groups { .. } => self.groups(&message),
            Self::KernelTooLarge { axis, size, span } => kernel_too_large(&message, axis, size, *span),
            Self::EmptyWindow { axis, size, span } => {
                let super::SpatialAxis { input, pad_lo, pad_hi, dilation, .. } = *size;
                let label = format!(
                    "{axis}: a window of extent {}, dilation {dilation}, over {pad_lo} + {input} + {pad_hi}",
                    size.extent()
                );
                at(span, &label)
                    .with_help("lower the padding; without dilation, half the kernel at each side is always legal")
            }
            Self::OutputPadding { axis, size, span } => {
                let (stride, dilation) = (size.stride, size.dilation);
                let label = format!("{axis}: it must be less than stride {stride} or dilation {dilation}");
                at(span, &label).with_help(format!("write a number from 0 to {}", stride.max(dilation) - 1))
            }
            Self::OutputSize { axis, size, least, most, span, .. } => {
                let super::SpatialAxis { pad_lo, pad_hi, stride, .. } = *size;
                let label = format!(
                    "{axis}: {} - padding {pad_lo} - {pad_hi} = {least}, and fewer than stride {stride} can be added",
                    spread(size)
                );
                at(span, &label).with_help(format!("write a number from {least} to {most}"))
            }
            Self::NoOutput { axis, size, output_padding, span } => {
                let super::SpatialAxis { pad_lo, pad_hi, .. } = *size;
                let label = format!(
                    "{axis}: {} + output_padding {output_padding} - padding {pad_lo} - {pad_hi} is less than 1",
                    spread(size)
                );
                at(span, &label).with_help("lower the padding, which a transposed layer takes off its output")
            }
            Self::UnpooledSize { axis, size, least, most, span, .. } => {
                let label = format!("{axis}: {}, and less than stride {} more or less is legal", unpooled(size), size.stride);
                at(span, &label).with_help(format!("write a number from {} to {most}", least.max(&1)))
            }
            Self::NothingUnpooled { axis, size, span } => at(span, &format!("{axis}: {} is less than 1", unpooled(size)))
                .with_help("lower the padding, which unpooling takes off its output"),
            Self::UnpoolPadding { span, .. } => at(span, "which numbers it is depends on an input that is not there yet")
                .with_help("write the padding of the pooling that is undone, as in `padding: 1`"),
            Self::Parts { kind, parts, count, most, span } => {
                let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
                at(span, &format!("{} = {count} parts, each planned apart", parts.join(" x "))).with_help(match kind.contains("pool") {
                    true => format!("the limit is {most}; an output that divides the input is one along its axis"),
                    false => format!(
                        "the limit is {most}; a stride without dilation has at most five kinds of phases along each axis"
                    ),
                })
            }
            Self::BothOutputs { padding, size } => {
                second(at(padding, "given as well"), *size, "the size that the output gets")
                    .with_help("keep one of them")
            }
            Self::BothWindows { span, size, .. } => {
                second(at(span, "given as well"), *size, "how many windows share the input")
                    .with_help("keep one of them; windows that the input is shared out to follow from its size")
            }
            Self::BothDivisors { count, number } => {
                second(at(count, "given as well"), *number, "what the sums are divided by")
                    .with_help("keep one of them")
            }
            Self::PaddingMode { axis, mode, input, most, span, .. } => {
                let label = format!("{axis}: {mode} padding of an input of {input} is at most {most} a side");
                at(span, &label)
                    .with_help("lower the padding, or use `padding_mode: replicate`, which any padding can have")
            }
            Self::Accuracy { span, .. } => at(span, "times the error of a direct sum")
                .with_help("write `accuracy: exact` for direct sums, or at least 1"),
            Self::Causal { span, kind } => {
                let example = if kind.ends_with("1d") { "0..2" } else { "(2..0, 1)" };
                at(span, &format!("this is {}", with_article(kind)))
                    .with_help(format!("say what each axis gets, as in `padding: {example}`"))
            }
            Self::TooMuch { unit, factors, product, limit, span, .. } => {
                too_much(&message, unit, factors, *product, *limit, *span)
            }
            Self::OnlyIntegers { input, span, .. } => {
                at(span, &format!("the input is {input}")).with_help("leave it out, or make the input u8 or i8")
            }
            Self::OnlyRequantized { span, .. } => at(span, "the output is i32, which is the sums")
                .with_help("leave it out, or write `output: u8` or `output: i8`"),
            Self::MissingScale { field, span, .. } => at(span, "what a step of the numbers stands for")
                .with_help(format!("add `{field}: 0.05,`, or leave out `output` to get the sums as i32")),
            Self::ZeroPoint { storage, span, .. } => {
                let (least, most) = storage.range();
                at(span, &format!("it is an element of {}", storage.name()))
                    .with_help(format!("write a number from {least} to {most}"))
            }
            Self::Scale { span, .. } => at(span, "a scale is above 0 and an f32, and so is the factor that they make")
                .with_help("write a number such as 0.05"),
            Self::NotIntegers { help, span, .. } => at(span, "the input is u8 or i8").with_help(*help),
            Self::NotComplex { help, span, .. } => at(span, "the input is c64 or c128").with_help(*help),
            Self::NotDeformable { label, help, span, .. } => at(span, label).with_help(*help),
            Self::OffsetGroups { offset_groups, channels, span } => {
                let left = channels % offset_groups;
                at(span, &format!("{channels} = {offset_groups} x {} + {left}", channels / offset_groups)).with_help(
                    format!("write `offset_groups: {}`", largest_divisor(*channels, *channels, *offset_groups)),
                )
            }
            Self::BeyondPositions { span, .. } => at(span, "positions in it are numbers of f32, which are whole up to there")
                .with_help("make the layer smaller, or split it"),
            Self::Indices { what, span } => {
                let (label, help) = match what {
                    IndicesOf::F64 => ("the input is f64".to_owned(), "make the input f32, f16 or bf16"),
                    IndicesOf::Steps => {
                        ("what `then` makes of a maximum is at no place of the input".to_owned(), "leave it out, or put it into a layer behind")
                    }
                    IndicesOf::Plane { elements } => (
                        format!("a plane of {elements} elements, and an i32 counts {} of them", i32::MAX),
                        "make the planes smaller",
                    ),
                };
                at(span, &label).with_help(help)
            }
            Self::ClampOrder { lo, hi, span } => {
                at(span, &format!("the lower bound {lo} is greater than the upper bound {hi}"))
                    .with_help(format!("write `clamp({hi}, {lo})`"))
            }
            Self::RepeatedResidual { span, .. } => at(span, "a layer takes one tensor beside its input at most")
                .with_help("join the tensors before they are given to the layer"),
            Self::EarlySoftmax { span } => at(span, "what stands behind it would have to wait for all channels")
                .with_help("put the steps behind it into a layer of their own"),
            Self::HalfSoftmax { storage, span } => {
                at(span, &format!("its powers would be rounded to {storage} before they are added up"))
                    .with_help("leave it out, or write `f32` for the input")
            }
            Self::CeluAlpha { span, .. } => at(span, "it divides by alpha, which is greater than 0")
                .with_help("write `celu(1)`, or `elu` for any alpha"),
            Self::PowExponent { span, .. } => at(span, "powers are products of the number, its root and the root of that")
                .with_help("write a multiple of 0.25 between -4 and 4, other than 0"),
            Self::Arguments { step, span, expected, .. } => {
                let example = match step.as_str() {
                    "clamp" => "clamp(0, 6)",
                    "leaky_relu" => "leaky_relu(0.01)",
                    "constant" => "constant(1)",
                    "elu" => "elu(1)",
                    "celu" => "celu(1)",
                    "add" => "add(0.5)",
                    "mul" => "mul(0.5)",
                    other => other,
                };
                at(span, &format!("expected {expected}")).with_help(format!("write `{example}`"))
            }
            Self::NotFinite { word, step } => at(&word.span, "a number is needed here").with_help(if step == "clamp" {
                "for a lower bound alone write `relu`, or give the open side a bound that no result reaches"
            } else {
                "write a decimal number such as 0.01"
            }),
            Self::BeyondF32 { span, .. } => at(span, &format!("the largest f32 is {:e}", f32::MAX))
                .with_help("write a smaller number, or make the layer f64"),
            Self::RepeatedAxis { axis, most, .. } => at(
                &axis.span,
                &format!("at most {}", if *most == 1 { "once" } else { "twice: over blocks, and inside a block" }),
            )
            .with_help("name each axis as often as it is a loop"),
        }
    }

    fn groups(&self, message: &str) -> Diagnostic {
        let Self::Groups { what, channels, channels_span, groups, span, depthwise, in_channels } = self else {
            return Diagnostic::at(Span::default(), message, "");
        };
        let (per, left) = (channels / groups, channels % groups);
        let label = format!("{channels} = {groups} x {per} + {left}");
        let mut help = String::new();
        let below = channels - left;
        let numbers =
            if below == 0 { format!("{groups}") } else { format!("{below} or {}", below.saturating_add(*groups)) };
        if *depthwise {
            let _ = write!(
                help,
                "a depthwise layer has a multiple of its {in_channels} input channels as {what}: write {numbers}"
            );
        } else {
            let _ = write!(
                help,
                "write `groups: {}`, the largest number up to {groups} that divides both channel counts, or use {numbers} {what}",
                largest_divisor(*in_channels, *channels, *groups)
            );
        }
        second(Diagnostic::at(*span, message, label), *channels_span, &format!("{channels} {what}")).with_help(help)
    }
}

/// The largest number up to `most` that divides both.
fn largest_divisor(a: usize, b: usize, most: usize) -> usize {
    let (mut gcd, mut rest) = (a, b);
    while rest > 0 {
        (gcd, rest) = (rest, gcd % rest);
    }
    let small = (1..).take_while(|d| d * d <= gcd).filter(|d| gcd % d == 0);
    small.flat_map(|d| [d, gcd / d]).filter(|d| *d <= most).max().unwrap_or(1)
}

fn second(mut diagnostic: Diagnostic, span: Span, text: &str) -> Diagnostic {
    diagnostic.labels.push(Label { span, text: text.to_owned() });
    diagnostic
}

/// The output that unpooling has of itself, as a sum.
fn unpooled(size: &super::SpatialAxis) -> String {
    let super::SpatialAxis { input, kernel, stride, pad_lo, pad_hi, .. } = *size;
    let all = super::sizes::unpooled(size);
    format!("(input {input} - 1) x stride {stride} + kernel {kernel} - padding {pad_lo} - {pad_hi} = {all}")
}

/// How far a transposed layer spreads its input along an axis, as a sum.
fn spread(size: &super::SpatialAxis) -> String {
    let super::SpatialAxis { input, kernel, stride, dilation, .. } = *size;
    let all = (input - 1) * stride + size.extent();
    format!("(input {input} - 1) x stride {stride} + dilation {dilation} x ({kernel} - 1) + 1 = {all},")
}

fn kernel_too_large(message: &str, axis: &str, size: &super::SpatialAxis, span: Span) -> Diagnostic {
    let super::SpatialAxis { input, kernel, dilation, pad_lo, pad_hi, .. } = *size;
    let (padded, extent) = (pad_lo + input + pad_hi, size.extent());
    let label = format!(
        "{axis}: input {input} + padding {pad_lo} + {pad_hi} = {padded}, and dilation {dilation} x ({kernel} - 1) + 1 = {extent} is larger"
    );
    let padding = (extent - input).div_ceil(2);
    let fits = padded.saturating_sub(1) / dilation + 1;
    let mut help = format!("raise padding to at least {padding}, or lower kernel_size to at most {fits}");
    if dilation > 1 && padded >= kernel {
        let _ = write!(help, ", or dilation to at most {}", (padded - 1) / (kernel - 1));
    }
    Diagnostic::at(span, message, label).with_help(help)
}

fn too_much(
    message: &str,
    unit: &str,
    factors: &[(&str, u64)],
    product: Option<u64>,
    limit: u64,
    span: Span,
) -> Diagnostic {
    let names: Vec<_> = factors
        .iter()
        .map(|(name, value)| if *name == "bytes" { format!("{value} bytes") } else { format!("{name} {value}") })
        .collect();
    let product = product.map_or("more than 64 bits hold".to_owned(), |p| format!("{p} {unit}"));
    let label = format!("{} = {product}", names.join(" x "));
    let help = if limit < u64::MAX {
        format!("the limit is {limit} {unit}; make the layer smaller, or split it")
    } else {
        "make the layer smaller, or split it".to_owned()
    };
    Diagnostic::at(span, message, label).with_help(help)
}

/// A value in a few words: itself if it is short, else its form.
fn short(value: &Value) -> String {
    match &value.kind {
        ValueKind::Word(word) => format!("`{word}`"),
        ValueKind::Int(n) => n.to_string(),
        ValueKind::Float(x) => format!("{x:?}"),
        _ => value.form().to_owned(),
    }
}
