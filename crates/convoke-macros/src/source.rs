//! The text of layers and networks, and where what is wrong with it is reported.

use crate::arguments::{Argument, Arguments};
use crate::report;
use crate::text::Text;
use convoke_core::diagnostic::Diagnostic;
use convoke_core::front::{self, ast};
use convoke_core::span::Span as Bytes;
use convoke_core::spec::NetworkSpec;
use proc_macro::{Span, TokenStream};
use std::path::{Path, PathBuf};

/// A text.
pub(crate) enum Source {
    /// The macro's own tokens.
    Tokens(Text),
    /// A file.
    File {
        /// As the user writes it.
        name: String,
        /// Where that stands.
        span: Span,
        /// Where the file is.
        path: PathBuf,
        /// What is in it.
        text: String,
    },
}

impl Source {
    /// The text that the arguments name, or that stands behind them.
    pub(crate) fn of(arguments: &Arguments) -> Result<Self, TokenStream> {
        let Some(Argument { value, span }) = &arguments.file else {
            return Ok(Self::Tokens(Text::of(arguments.text.clone())));
        };
        let path = in_package(value);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self::File { name: value.clone(), span: *span, path, text }),
            Err(e) => Err(unread(value, *span, &e)),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Tokens(text) => &text.source,
            Self::File { text, .. } => text,
        }
    }

    /// Where the name of a network stands, or that of a layer of it.
    pub(crate) fn name(&self, network: &NetworkSpec, layer: Option<&str>) -> Bytes {
        let found = |network: ast::Network| {
            let of_layer = network.items.iter().find_map(|item| match item {
                ast::Item::Layer(one) if Some(one.name.value.as_str()) == layer => Some(one.name.span),
                _ => None,
            });
            of_layer.unwrap_or(network.name.span)
        };
        self.tree(network).map(found).unwrap_or_default()
    }

    /// Where the types of a network's inputs stand.
    pub(crate) fn input(&self, network: &NetworkSpec) -> Bytes {
        let found = |network: ast::Network| {
            let of_input = network.items.iter().find_map(|item| match item {
                ast::Item::Field(field) if ["input", "inputs"].contains(&field.name.value.as_str()) => {
                    Some(field.value.span)
                }
                _ => None,
            });
            of_input.unwrap_or(network.name.span)
        };
        self.tree(network).map(found).unwrap_or_default()
    }

    fn tree(&self, network: &NetworkSpec) -> Option<ast::Network> {
        front::parse(self.text()).ok()?.networks.into_iter().find(|one| one.name.value == network.name)
    }

    /// What is wrong with the text: at its tokens, or at that which names the file.
    pub(crate) fn refused(&self, diagnostics: &[Diagnostic]) -> TokenStream {
        match self {
            Self::Tokens(text) => report::in_tokens(diagnostics, text),
            Self::File { name, span, text, .. } => report::in_file(diagnostics, text, name, *span),
        }
    }
}

/// A file's path, which is relative to the package.
pub(crate) fn in_package(name: &str) -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join(name)
}

/// That a file cannot be read, at the token that names it.
pub(crate) fn unread(name: &str, span: Span, error: &std::io::Error) -> TokenStream {
    let message = format!("cannot read `{name}`: {error}\nhelp: the path is relative to the package's folder");
    report::error(span, span, &message)
}

/// An item that makes the build depend on the file.
pub(crate) fn tracked(path: &Path) -> String {
    format!("const _: &[u8] = ::core::include_bytes!({:?});", path.display().to_string())
}
