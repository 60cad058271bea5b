//! What networks are refused for, beyond what their layers are.

use crate::diagnostic::{Diagnostic, Label};
use crate::span::{Span, Spanned};
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
    #[error("slice `{}` has no `channels`", layer.value)]
    NoChannels { layer: Spanned<String> },
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
    #[error("channels {start}..{end} of {channels}")]
    Slice { start: usize, end: usize, channels: usize, span: Span },
    #[error("{0}", refusal(why))]
    Refused { why: Refusal, span: Span },
    #[error("a network stands among layers")]
    NotHere { network: Spanned<String> },
}

/// What networks do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A layer with a second output, or whose further inputs nothing names.
    Kind,
    /// A type where a value is meant.
    Type,
    /// A `residual` without a name.
    BareResidual,
    /// A `linear` layer of an image.
    LinearOfPixels { pixels: usize },
    /// Channels in blocks that are cut or joined elsewhere than between blocks.
    Blocks,
    /// Elements that are integers.
    Integers,
    /// An input of another type or batch than the first.
    Unlike,
    /// More axes than layers have, or none.
    Axes { count: usize },
}

fn refusal(why: &Refusal) -> String {
    match why {
        Refusal::Kind => "networks have no such layer yet".to_owned(),
        Refusal::Type => "a layer of a network takes a value, and this is a type".to_owned(),
        Refusal::BareResidual => "`residual` does not say what is added".to_owned(),
        Refusal::LinearOfPixels { pixels } => format!("`linear` takes one element a channel, here are {pixels}"),
        Refusal::Blocks => "channels in blocks cannot be cut or joined between two blocks' borders".to_owned(),
        Refusal::Integers => "networks of integers are not there yet".to_owned(),
        Refusal::Unlike => "the inputs of a network have one type and one batch".to_owned(),
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
            Self::NoChannels { layer } => {
                at(layer.span, "`channels` has no default").with_help("add `channels: 0..16`")
            }
            Self::Form { span, .. } => at(*span, ""),
            Self::Empty { network } => at(network.span, "")
                .with_help("write layers behind the input: `conv2d stem { out_channels: 8, kernel_size: 3 }`"),
            Self::Differ { span, .. } => at(*span, "these do not fit together"),
            Self::Count { span, .. } | Self::TooLarge { span, .. } => at(*span, ""),
            Self::Slice { channels, span, .. } => at(*span, &format!("the channels are 0..{channels}"))
                .with_help("a range begins before its end, and ends at the last channel at most"),
            Self::Refused { why, span } => {
                let diagnostic = at(*span, "");
                match why {
                    Refusal::Kind => diagnostic.with_help(
                        "known are convolutions, pooling without indices, and what `docs/networks.md` lists",
                    ),
                    Refusal::Type => diagnostic
                        .with_help("name a value, such as the layer before; types stand at the network's input"),
                    Refusal::BareResidual => diagnostic.with_help("write which value: `residual(name)`"),
                    Refusal::LinearOfPixels { .. } => {
                        diagnostic.with_help("put `flatten` before it, or pooling with `kernel_size: global`")
                    }
                    Refusal::Blocks => diagnostic.with_help("use a layout without blocks"),
                    Refusal::Integers => diagnostic.with_help("write `f32`, `f64`, `f16` or `bf16`"),
                    Refusal::Unlike => diagnostic.with_help("write those of the first"),
                    Refusal::Axes { .. } => diagnostic.with_help("write a batch, channels and up to three axes"),
                }
            }
            Self::NotHere { network } => at(network.span, "")
                .with_help("`conv!` and what compiles single layers take no networks yet; `convoke check` does"),
        }
    }
}
