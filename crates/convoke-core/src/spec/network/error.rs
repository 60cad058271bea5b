//! What networks are refused for, beyond what their layers are.

use crate::diagnostic::{Diagnostic, Label};
use crate::span::{Span, Spanned};
use crate::spec::sizes::MAX_SIZE;
use crate::spec::suggest;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum NetworkError {
    #[error("there is no value `{}`", name.value)]
    UnknownValue { name: Spanned<String>, known: Vec<String>, later: Option<Span> },
    #[error("the name `{}` is taken", name.value)]
    Duplicate { name: Spanned<String>, first: Span },
    #[error("a network has no field `{}`", name.value)]
    UnknownField { name: Spanned<String> },
    #[error("{} `{}` has no field `{}`", kind, layer, name.value)]
    LayerField { kind: String, layer: String, name: Spanned<String>, known: &'static [&'static str] },
    #[error("`{field}` stands twice")]
    Twice { field: String, span: Span, first: Span },
    #[error("slice `{}` does not say what it takes", layer.value)]
    NoRange { layer: Spanned<String> },
    #[error("a value {shape} has no {name}")]
    NoSuchAxis { name: String, shape: String, span: Span },
    #[error("{kind} `{}` has no `{field}`", layer.value)]
    MissingHere { field: &'static str, example: &'static str, kind: &'static str, layer: Spanned<String> },
    #[error("there is no size {axis} among {sizes}")]
    Axis { axis: i128, sizes: usize, span: Span },
    #[error("`axes` does not name each of {sizes} sizes once, the batch first")]
    Axes { sizes: usize, span: Span },
    #[error("the value has no such layout")]
    Layout { known: Vec<String>, span: Span },
    #[error("network `{}` has no `{field}`", network.value)]
    Missing { field: &'static str, example: &'static str, network: Spanned<String> },
    #[error("`{field}` takes {expected}, not {found}")]
    Form { field: String, expected: &'static str, found: &'static str, span: Span },
    #[error("network `{}` has no layers", network.value)]
    Empty { network: Spanned<String> },
    #[error("{what}: one is {first}, the other {second}")]
    Differ { what: &'static str, first: String, second: String, span: Span },
    #[error("`{kind}` takes {expected} values, here are {found}")]
    Count { kind: &'static str, expected: &'static str, found: usize, span: Span },
    #[error("the value has {bytes} bytes, and the limit is {limit}")]
    TooLarge { bytes: u128, limit: u64, span: Span },
    #[error("{what} {start}..{end} of {size}")]
    Slice { what: &'static str, start: usize, end: usize, size: usize, span: Span },
    #[error("`{kind}` cannot be of that size: {what}")]
    Recurrent { kind: &'static str, what: String, span: Span },
    #[error("{0}", refusal(why))]
    Refused { why: Refusal, span: Span },
    #[error("{what}")]
    Preprocess { what: String, span: Span },
    #[error("a network stands among layers")]
    NotHere { network: Spanned<String> },
}

/// Divisors of a number that are tried for a better one.
const MOST_TRIED: usize = 4096;

/// What networks do not have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    /// A layer with a second output, or whose further inputs nothing names.
    Kind,
    /// A type where a value is meant.
    Type,
    /// A `residual` or `multiply` without a name.
    BareStep { step: &'static str },
    /// A sum or product of two values whose steps take another, or numbers of channels where the second value is such.
    PairSteps,
    /// A product of matrices whose elements do not lie in the order of their sizes.
    MatmulBlocks,
    /// A product of matrices whose steps take numbers of channels.
    MatmulChannels,
    /// A softmax over columns that are not the channels.
    MatmulSoftmax,
    /// Neighbours of a channel.
    LrnSize { size: f64 },
    /// A step `batch_norm` without a name, or with other numbers than it takes.
    BatchNormStep,
    /// Groups of channels that are not equally many.
    NormGroups { groups: usize, channels: usize },
    /// A norm of so many channels that lie in several blocks.
    NormBlocks { channels: usize, block: usize },
    /// A norm of elements that do not lie in the order of their sizes.
    LayerNormBlocks,
    /// What is added to a variance and would make it negative.
    Epsilon { epsilon: f64 },
    /// Halves in blocks of channels.
    HalfBlocks,
    /// A `linear` layer of an image.
    LinearOfPixels { pixels: usize },
    /// A recurrent layer of an image.
    Sequence { kind: &'static str, axes: usize },
    /// Channels in blocks that are cut or joined elsewhere than between blocks.
    Blocks,
    /// Elements that are integers.
    Integers,
    /// An input of another type or batch than the first.
    Unlike,
    /// More axes than layers have, or none.
    Axes { count: usize },
    /// A `resize` by a scale and to sizes.
    ScaleAndSize,
    /// Another number of scales than of axes.
    Scales { found: usize, expected: usize },
    /// A scale that leaves no elements, or makes more than there may be.
    Scale { scale: f64, from: usize },
    /// A rounding of what is not rounded.
    RoundOfLinear,
}

fn refusal(why: &Refusal) -> String {
    match why {
        Refusal::Kind => "networks have no such layer yet".to_owned(),
        Refusal::Type => "a layer of a network takes a value, and this is a type".to_owned(),
        Refusal::BareStep { step } => format!("`{step}` does not say which value it takes"),
        Refusal::PairSteps => "the steps behind two values take none of their own".to_owned(),
        Refusal::MatmulBlocks => {
            "`matmul` takes values whose sizes are in the order of memory, not blocks of channels".to_owned()
        }
        Refusal::MatmulChannels => "the steps behind a `matmul` take no numbers of channels".to_owned(),
        Refusal::MatmulSoftmax => "`softmax` is over channels, and here they are not the last size".to_owned(),
        Refusal::LrnSize { size } => format!("`size` is a whole number of neighbouring channels from 1 on, not {size}"),
        Refusal::BatchNormStep => "`batch_norm` takes a name, and may take `epsilon` and `affine`".to_owned(),
        Refusal::NormGroups { groups, channels } => {
            format!("`groups` has to divide the channels, and {groups} does not divide {channels}")
        }
        Refusal::NormBlocks { channels, block } => {
            format!("channels that are normalized together lie in one block, and {channels} do not divide {block}")
        }
        Refusal::LayerNormBlocks => {
            "`layer_norm` takes values whose sizes are in the order of memory, not blocks of channels".to_owned()
        }
        Refusal::Epsilon { epsilon } => format!("`epsilon` is a finite number from 0 on, not {epsilon:?}"),
        Refusal::HalfBlocks => "halves do not lie in blocks".to_owned(),
        Refusal::LinearOfPixels { pixels } => format!("`linear` takes one element a channel, here are {pixels}"),
        Refusal::Sequence { kind, axes } => format!("`{kind}` runs along one axis, here are {axes}"),
        Refusal::Blocks => "channels in blocks cannot be cut or joined between two blocks' borders".to_owned(),
        Refusal::Integers => "networks of integers are not there yet".to_owned(),
        Refusal::Unlike => "the inputs of a network have one type and one batch".to_owned(),
        Refusal::ScaleAndSize => "`resize` takes a `scale` or the sizes `to` which it scales, not both".to_owned(),
        Refusal::Scales { found, expected } => format!("`scale` takes one number or {expected}, here are {found}"),
        Refusal::Scale { scale, from } => {
            format!("`scale` makes of {from} elements from 1 to {MAX_SIZE}, and {scale:?} does not")
        }
        Refusal::RoundOfLinear => "`round` says which element is the nearest, and `mode: linear` takes both".to_owned(),
        Refusal::Axes { count } => format!("a value of a network has 2 to 5 sizes, here are {count}"),
    }
}

impl NetworkError {
    pub(super) fn diagnostic(&self) -> Diagnostic {
        let message = self.to_string();
        let at = |span: Span, label: &str| Diagnostic::at(span, message.clone(), label);
        let second = |mut diagnostic: Diagnostic, span: Span, text: &str| {
            diagnostic.labels.push(Label { span, text: text.to_owned() });
            diagnostic
        };
        match self {
            Self::UnknownValue { name, later: Some(later), .. } => {
                second(at(name.span, "used here"), *later, "made here")
                    .with_help("put the layer that makes it before those that use it")
            }
            Self::UnknownValue { name, known, later: None } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let meant = suggest::nearest(&name.value, &known);
                let label = meant.map_or_else(String::new, |meant| format!("did you mean `{meant}`?"));
                at(name.span, &label).with_help(format!("known here are {}", known.join(", ")))
            }
            Self::Duplicate { name, first } => second(at(name.span, "given again"), *first, "the first of that name")
                .with_help(
                    "networks and layers of a file, and inputs and layers of a network, each have a name of their own",
                ),
            Self::UnknownField { name } => at(name.span, "").with_help(format!(
                "known are {}, and layers such as `conv2d name {{ … }}`",
                super::NETWORK_FIELDS.join(", ")
            )),
            Self::LayerField { name, known, .. } => {
                at(name.span, "").with_help(format!("known are {}", known.join(", ")))
            }
            Self::Twice { span, first, .. } => second(at(*span, "given again"), *first, "first given here"),
            Self::Missing { network, example, field } => {
                at(network.span, &format!("`{field}` has no default")).with_help(format!("add `{field}: {example},`"))
            }
            Self::NoRange { layer } => at(layer.span, "").with_help("add `channels: 0..16`, or `height: 0..8`"),
            Self::NoSuchAxis { span, .. } => at(*span, ""),
            Self::MissingHere { layer, example, field, .. } => {
                at(layer.span, &format!("`{field}` has no default")).with_help(format!("add `{field}: {example}`"))
            }
            Self::Axis { sizes, span, .. } => at(*span, "counted as they are written, the batch is 0")
                .with_help(format!("write a number from 1 to {}", sizes - 1)),
            Self::Axes { sizes, span } => {
                let order: Vec<_> = (0..*sizes).map(|axis| axis.to_string()).collect();
                at(*span, "counted as they are written")
                    .with_help(format!("all in their places are `({})`", order.join(", ")))
            }
            Self::Layout { known, span } => at(*span, "").with_help(format!("known are {}", known.join(", "))),
            Self::Form { span, .. } => at(*span, ""),
            Self::Empty { network } => at(network.span, "")
                .with_help("write layers behind the input: `conv2d stem { out_channels: 8, kernel_size: 3 }`"),
            Self::Differ { span, .. } => at(*span, "these do not fit together"),
            Self::Recurrent { span, .. } => at(*span, "").with_help("make `hidden_size` smaller, or the input"),
            Self::Count { span, .. } | Self::TooLarge { span, .. } | Self::Preprocess { span, .. } => at(*span, ""),
            Self::Slice { what, size, span, .. } => at(*span, &format!("{what}: 0..{size} are there"))
                .with_help("a range begins before its end, and ends with the last at most"),
            Self::Refused { why, span } => {
                let diagnostic = at(*span, "");
                match why {
                    Refusal::Kind => diagnostic.with_help(
                        "known are convolutions, pooling without indices, and what `docs/networks.md` lists",
                    ),
                    Refusal::Type => diagnostic
                        .with_help("name a value, such as the layer before; types stand at the network's input"),
                    Refusal::BareStep { step } => diagnostic.with_help(format!("write which value: `{step}(name)`")),
                    Refusal::PairSteps => diagnostic.with_help("put them into an `elementwise` layer behind it"),
                    Refusal::MatmulBlocks => diagnostic.with_help("use a layout without blocks"),
                    Refusal::MatmulChannels => {
                        diagnostic.with_help("put them into an `elementwise` layer behind it")
                    }
                    Refusal::MatmulSoftmax => diagnostic
                        .with_help("multiply values whose channels are last, such as `nhwc`, or put an `elementwise` layer behind it"),
                    Refusal::LrnSize { .. } => diagnostic.with_help("add `size: 5`"),
                    Refusal::BatchNormStep => diagnostic.with_help(
                        "write what its parameters are called after: `batch_norm(name)`, or `batch_norm(name, 1e-3, false)`",
                    ),
                    Refusal::NormGroups { groups, channels } => {
                        let below = (1..=*groups.min(channels)).rev().take(MOST_TRIED);
                        let near = below.into_iter().find(|n| channels.is_multiple_of(*n)).unwrap_or(1);
                        diagnostic.with_help(format!("write a number that does, such as {near}"))
                    }
                    Refusal::NormBlocks { .. } | Refusal::LayerNormBlocks => {
                        diagnostic.with_help("use a layout without blocks, or put a `reorder` before it")
                    }
                    Refusal::Epsilon { .. } => diagnostic.with_help("leave it out, or write `epsilon: 1e-5`"),
                    Refusal::HalfBlocks => diagnostic.with_help("use a layout without blocks"),
                    Refusal::LinearOfPixels { .. } => {
                        diagnostic.with_help("put `flatten` before it, or pooling with `kernel_size: global`")
                    }
                    Refusal::Sequence { .. } => {
                        diagnostic.with_help("put a `reshape` before it, to channels and a length")
                    }
                    Refusal::Blocks => diagnostic.with_help("use a layout without blocks"),
                    Refusal::Integers => diagnostic.with_help("write `f32`, `f64`, `f16` or `bf16`"),
                    Refusal::Unlike => diagnostic.with_help("write those of the first"),
                    Refusal::ScaleAndSize => diagnostic.with_help("leave one of them out"),
                    Refusal::Scales { .. } => diagnostic.with_help("write one for every axis of space"),
                    Refusal::Scale { .. } => diagnostic.with_help("write another, or sizes: `to: (224, 224)`"),
                    Refusal::RoundOfLinear => diagnostic.with_help("leave it out, or write `mode: nearest`"),
                    Refusal::Axes { .. } => diagnostic.with_help("write a batch, channels and up to three axes"),
                }
            }
            Self::NotHere { network } => at(network.span, "").with_help(
                "what compiles single layers takes no networks; `conv!`, `Compiler::network` and `convoke run` do",
            ),
        }
    }
}
