//! ONNX files as networks of Convoke.
//!
//! [`import`] reads a file and writes the network in it as text of the language, one layer a line, with its parameters by name. What follows a convolution
//! is part of it: batch normalization in its weights, activations and sums in its steps. Tensors of ONNX are seen as values with channels and space, so that
//! transpositions and reshapes move nothing if they do not have to.
//!
//! ```no_run
//! use convoke_onnx::{Options, import};
//! use std::path::Path;
//!
//! let imported = import(Path::new("model.onnx"), &Options::default())?;
//! println!("{}", imported.text);
//! for parameter in &imported.parameters {
//!     println!("{} {:?}", parameter.name, parameter.shape);
//! }
//! # Ok::<(), convoke_onnx::ImportError>(())
//! ```
//!
//! A file is read as one from a stranger: every number in it is checked before memory is asked for, other files are read only in its folder, and
//! whatever the bytes are, the end is a network or an [`ImportError`] that says what is wrong. What the language cannot say is refused, never
//! something else in its place.
//!
//! | module | in | out |
//! |---|---|---|
//! | [`proto`] | bytes | messages |
//! | `graph` | messages | nodes and values, names resolved |
//! | `tensor`, `external` | constants of the file | numbers |
//! | `shapes`, `fold` | nodes of constants | constants |
//! | `ops`, `view`, `ir` | nodes of values | layers |
//! | `fuse` | layers | fewer layers |
//! | `names`, `text` | layers | text and parameters |

#![forbid(unsafe_code)]

mod error;
mod external;
mod fold;
mod fuse;
mod graph;
mod guarded;
mod import;
mod ir;
mod names;
mod ops;
pub mod proto;
mod shapes;
mod tensor;
mod text;
mod view;
mod written_out;

use std::path::Path;

use bytes::Bytes;
use prost::Message;

use convoke_core::{front, spec};

pub use error::{ImportError, LimitError, Place, Reason, TensorError};
pub use ops::OPERATORS;

use external::External;
use graph::Graph;
use proto::ModelProto;

/// How a file is to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The network's name; by default the file's.
    pub name: Option<String>,
    /// Sizes that the model does not know: by their name in it, or by input and axis, such as `x.2`. An unknown size of a first axis is 1.
    pub sizes: Vec<(String, usize)>,
    /// Numbers that inputs always are, all their elements: they are no inputs of the network then. An input that is not of floats needs one.
    pub values: Vec<(String, i64)>,
    /// Bytes that all constants may have together, those that are computed among them.
    pub limit: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: None, sizes: Vec::new(), values: Vec::new(), limit: 4 << 30 }
    }
}

/// A network that was imported.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network in the language.
    pub text: String,
    /// Its parameters, in the order of its layers.
    pub parameters: Vec<Parameter>,
    /// Its inputs, in the order of the model.
    pub inputs: Vec<Port>,
    /// Its outputs, in the order of the model.
    pub outputs: Vec<Port>,
}

/// Weights, a bias, or numbers of channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The network's name for it, such as `conv1.weight`.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its elements, the last axis innermost.
    pub values: Vec<f32>,
}

impl Parameter {
    /// Its elements as files of safetensors hold them: four bytes each, the lowest first.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; size_of_val(&self.values[..])];
        for (slot, x) in bytes.as_chunks_mut().0.iter_mut().zip(&self.values) {
            *slot = x.to_le_bytes();
        }
        bytes
    }
}

/// An input or an output of the model, and the value that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The model's name for it.
    pub onnx: String,
    /// The network's.
    pub name: String,
    /// Its sizes in the model; the network has its elements in the same order, whatever sizes it gives them.
    pub shape: Vec<usize>,
}

/// Imports the model at `path`.
///
/// # Errors
/// What cannot be read, is no ONNX model, or is one that networks cannot say.
pub fn import(path: &Path, options: &Options) -> Result<Imported, ImportError> {
    let failed = |source| ImportError::Read { path: path.to_owned(), source };
    let found = std::fs::metadata(path).map_err(failed)?.len();
    if found > error::MAX_FILE {
        return Err(ImportError::Large { path: path.to_owned(), found });
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let model = ModelProto::decode(Bytes::from(bytes))?;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("network");
    import_model(&model, path, options.name.as_deref().unwrap_or(stem), options)
}

/// Imports a model that is read already and was at `path`, where its data may be.
fn import_model(model: &ModelProto, path: &Path, name: &str, options: &Options) -> Result<Imported, ImportError> {
    let graph = Graph::read(model)?;
    let producer = [&model.producer_name, &model.producer_version].map(|text| import::printable(text));
    let producer = producer.join(" ");
    let producer = if producer.trim().is_empty() { String::new() } else { format!(", written by {}", producer.trim()) };
    let name = names::single(name, "imported", &[spec::NETWORK.to_owned()]);
    let mut imported = import::import(&graph, External::beside(path), options, &name, &producer)?;
    let text = std::mem::take(&mut imported.text);
    let checked = front::format(&text).and_then(|formatted| {
        front::contents(&formatted, &spec::Limits::default(), &[])?;
        Ok(formatted)
    });
    imported.text = checked.map_err(|diagnostics| ImportError::Refused { text, diagnostics })?;
    Ok(imported)
}

#[cfg(test)]
mod tests;
