//! Source text to a syntax tree.
//!
//! In comes the text of a `.conv` file, or of the body of `conv!`; out comes an [`ast::File`] in which every node has its
//! span. The grammar knows what a layer, a field and a value look like, not which fields there are or what they
//! take: that is for [`crate::spec`] to say. What does not fit the grammar is refused with a [`Diagnostic`] each, and the
//! parser goes on at the next field, so that one run reports every mistake.
//!
//! ```text
//! file   = { layer | network }
//! network = "network" word "{" { field [","] | layer } "}"
//! layer  = word word "{" { field [","] } "}"
//! field  = word ":" value | word "{" { word ":" value [","] } "}"
//! value  = number | number ".." number | word | word "(" items ")" | "(" items ")" | "[" items "]"
//!        | word "[" items "]" [ "@" word ]
//! items  = [ item { "," item } [","] ]
//! item   = value | word ":" value
//! number = ["-"] digits | ["-"] float | digits "x" digits { "x" digits }
//! ```
//!
//! The comma may be left out only after the last field and after a block. Every text that lexes here lexes as Rust.

pub mod ast;
mod error;
mod format;
mod lexer;
mod number;
mod parser;

use crate::diagnostic::Diagnostic;
use crate::spec::{self, LayerSpec, Limits, NetworkSpec};
pub use format::format;

/// Diagnostics that are reported of one text; the rest is counted.
const MAX_DIAGNOSTICS: usize = 100;

/// The syntax tree of `text`.
///
/// # Errors
/// Every place where the text does not fit the grammar, in the order of the text.
pub fn parse(text: &str) -> Result<ast::File, Vec<Diagnostic>> {
    let (file, errors) = parser::parse(text);
    if errors.is_empty() {
        Ok(file)
    } else {
        Err(in_order(errors.iter().map(error::SyntaxError::diagnostic).collect()))
    }
}

/// The layers of `text`, parsed and validated.
///
/// # Errors
/// Every mistake of syntax or of meaning, in the order of the text; what the parser could read around a mistake is
/// validated too.
pub fn layers(text: &str, limits: &Limits) -> Result<Vec<LayerSpec>, Vec<Diagnostic>> {
    layers_with_sizes(text, limits, &[])
}

/// As [`layers`], where names of sizes stand for the numbers in `sizes`.
///
/// # Errors
/// As [`layers`]; a spatial size whose name is not in `sizes` is such a mistake.
pub fn layers_with_sizes(
    text: &str,
    limits: &Limits,
    sizes: &[(&str, usize)],
) -> Result<Vec<LayerSpec>, Vec<Diagnostic>> {
    checked(text, |file| spec::validate_with_sizes(file, limits, sizes)).map(|(_, layers)| layers)
}

/// What a text may hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The layers that are no network's, in the order of the text.
    pub layers: Vec<LayerSpec>,
    /// The networks, in the order of the text.
    pub networks: Vec<NetworkSpec>,
}

/// The layers and networks of `text`, parsed and validated, where names of sizes stand for the numbers in `sizes`.
///
/// # Errors
/// As [`layers_with_sizes`].
pub fn contents(text: &str, limits: &Limits, sizes: &[(&str, usize)]) -> Result<Contents, Vec<Diagnostic>> {
    let validate = |file: &ast::File| {
        let networks = spec::validate_networks(file, limits, sizes);
        match (spec::validate_beside_networks(file, limits, sizes), networks) {
            (Ok(layers), Ok(networks)) => Ok(Contents { layers, networks }),
            (layers, networks) => Err([layers.err(), networks.err()].into_iter().flatten().flatten().collect()),
        }
    };
    checked(text, validate).map(|(_, contents)| contents)
}

/// The syntax tree of `text`, and what `validate` makes of it.
///
/// # Errors
/// Every mistake of syntax, and those that `validate` reports, in the order of the text.
pub(crate) fn checked<T>(
    text: &str,
    validate: impl FnOnce(&ast::File) -> Result<T, Vec<Diagnostic>>,
) -> Result<(ast::File, T), Vec<Diagnostic>> {
    let (file, errors) = parser::parse(text);
    let mut diagnostics: Vec<_> = errors.iter().map(error::SyntaxError::diagnostic).collect();
    match validate(&file) {
        Ok(valid) if diagnostics.is_empty() => return Ok((file, valid)),
        Ok(_) => {}
        Err(more) => diagnostics.extend(more),
    }
    Err(in_order(diagnostics))
}

/// Sorts by position and keeps at most [`MAX_DIAGNOSTICS`].
pub(crate) fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|d| d.labels.first().map_or(0, |l| l.span.start));
    let more = diagnostics.len().saturating_sub(MAX_DIAGNOSTICS);
    if more > 0 {
        diagnostics.truncate(MAX_DIAGNOSTICS);
        diagnostics.push(Diagnostic { message: format!("{more} more mistakes"), labels: vec![], help: None });
    }
    diagnostics
}

#[cfg(test)]
mod tests;
