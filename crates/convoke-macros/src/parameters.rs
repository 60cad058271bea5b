//! The parameters of networks, from a file that the library safetensors wrote, or NumPy.

use crate::arguments::{Argument, Arguments};
use crate::report;
use crate::source::{Source, in_package, unread};
use convoke_core::diagnostic::{Diagnostic, Label};
use convoke_core::safetensors::{TensorError, TensorList};
use convoke_core::spec::{NetworkSpec, Parameter};
use proc_macro::{Span, TokenStream};
use std::path::{Path, PathBuf};

/// What files of parameters end with.
const EXTENSION: &str = "safetensors";

/// Names of tensors that an error lists.
const LISTED: usize = 4;

/// A file of parameters.
pub(crate) struct Parameters {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// As the user writes it, or would.
    name: String,
    /// The token that names it, or the file that it lies beside.
    span: Span,
    list: TensorList,
    /// All that is in the file.
    bytes: Vec<u8>,
    /// Where the list ends.
    start: usize,
}

impl Parameters {
    /// The file that the arguments name, or that beside the text's, if `networks` take parameters.
    pub(crate) fn of(
        arguments: &Arguments,
        source: &Source,
        networks: &[NetworkSpec],
    ) -> Result<Option<Self>, TokenStream> {
        let first = networks.iter().find_map(|network| Some((network, network.parameters().next()?)));
        match (&arguments.parameters, source, first) {
            (Some(Argument { span, .. }), ..) if networks.is_empty() => {
                Err(report::error(*span, *span, "`parameters` are a network's, and there is no network here"))
            }
            (Some(Argument { value, span }), ..) => {
                let bytes = std::fs::read(in_package(value)).map_err(|e| unread(value, *span, &e))?;
                Self::read(value.clone(), *span, bytes).map(Some)
            }
            (None, _, None) => Ok(None),
            (None, Source::File { name, span, .. }, Some((network, parameter))) => {
                let beside = Path::new(name).with_extension(EXTENSION).display().to_string();
                let bytes = std::fs::read(in_package(&beside)).map_err(|e| {
                    let message = format!(
                        "network `{}` takes parameters, such as `{}`, and `{beside}` cannot be read: {e}\nhelp: name their file: \
                         conv!(file = {name:?}, parameters = \"…\")",
                        network.name, parameter.name
                    );
                    report::error(*span, *span, &message)
                })?;
                Self::read(beside, *span, bytes).map(Some)
            }
            (None, Source::Tokens(_), Some((network, parameter))) => {
                let name = &network.name;
                let message = format!("network `{name}` takes parameters, such as `{}`", parameter.name);
                let help =
                    format!("name their file: conv!(parameters = \"{name}.{EXTENSION}\", network {name} {{ … }})");
                Err(source.refused(&[Diagnostic::at(source.name(network, None), message, "").with_help(help)]))
            }
        }
    }

    fn read(name: String, span: Span, bytes: Vec<u8>) -> Result<Self, TokenStream> {
        let (list, data) = TensorList::of_file(&bytes)
            .map(|(list, data)| (list, data.len()))
            .map_err(|e| report::error(span, span, &format!("`{name}`: {e}")))?;
        let start = bytes.len() - data;
        Ok(Self { path: in_package(&name), name, span, list, bytes, start })
    }

    /// The elements of a parameter, if there is one of that name.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Vec<f32>>, TensorError> {
        self.list.elements(name, &self.bytes[self.start..])
    }

    /// Whether all that `network` takes is there: at the layer that takes it, or, where the text is a file, at the name of the parameters' file.
    pub(crate) fn check(&self, network: &NetworkSpec, source: &Source) -> Result<(), TokenStream> {
        let mut refused = TokenStream::new();
        for Parameter { name, len } in network.parameters() {
            let (message, help) = match self.get(&name) {
                Ok(Some(elements)) if elements.len() == len => continue,
                Ok(Some(elements)) => (
                    format!("the parameter `{name}` has {} elements, and the network needs {len}", elements.len()),
                    None,
                ),
                Ok(None) => {
                    let what =
                        format!("`{}` has no parameter `{name}`, of which the network needs {len} elements", self.name);
                    (what, Some(self.names()))
                }
                Err(e) => (format!("`{}`: {e}", self.name), None),
            };
            refused.extend(match source {
                Source::Tokens(_) => {
                    let layer = name.split('.').next();
                    let labels = vec![Label { span: source.name(network, layer), text: String::new() }];
                    source.refused(&[Diagnostic { message, labels, help }])
                }
                Source::File { .. } => {
                    let help = help.map(|help| format!("\nhelp: {help}")).unwrap_or_default();
                    report::error(self.span, self.span, &(message + &help))
                }
            });
        }
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    /// What there is.
    fn names(&self) -> String {
        let mut names: Vec<String> = self.list.names().take(LISTED).map(|name| format!("`{name}`")).collect();
        let more = self.list.names().count() - names.len();
        names.extend((more > 0).then(|| format!("{more} more")));
        if names.is_empty() { "it is empty".to_owned() } else { format!("it has {}", names.join(", ")) }
    }
}
