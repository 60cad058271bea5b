//! What an import is refused for. Every message names what it is about, and the numbers that do not fit.

use std::fmt;
use std::io;
use std::path::PathBuf;

use convoke_core::diagnostic::{self, Diagnostic};

/// Bytes that an ONNX file may have, by the format's own rule.
pub(crate) const MAX_FILE: u64 = i32::MAX as u64;

/// Why a file could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// More bytes than a file of the format has.
    #[error("{} has {found} bytes, and an ONNX file has at most {MAX_FILE}; more data is in files beside it", path.display())]
    Large {
        /// Which file.
        path: PathBuf,
        /// Its bytes.
        found: u64,
    },
    /// The bytes are no ONNX file.
    #[error("this is not an ONNX file: {0}")]
    Decode(#[from] prost::DecodeError),
    /// It has no graph.
    #[error("this is not an ONNX file: there is no graph in it")]
    NoGraph,
    /// Constants of which only some elements are written.
    #[error("the model has {0} sparse constants, which are not read: write them with all their elements")]
    Sparse(usize),
    /// Operators of a version that is not known.
    #[error("the model has version {found} of ONNX's operators; known are 7 to {newest}")]
    Opset {
        /// The version; 0 if there is none.
        found: i64,
        /// The newest that is known.
        newest: i64,
    },
    /// Two values of one name.
    #[error("the value `{name}` is made twice: by {first} and by {second}")]
    Duplicate {
        /// The name.
        name: String,
        /// What makes it.
        first: String,
        /// What makes it again.
        second: String,
    },
    /// A value that nothing makes, or nothing before it is used.
    #[error("{node} takes the value `{name}`, which {}", if *.later {
        "is made behind it: the nodes are not in an order in which they can run, or form a circle"
    } else {
        "nothing makes"
    })]
    Missing {
        /// Who takes it.
        node: String,
        /// The name.
        name: String,
        /// Whether a node behind makes it.
        later: bool,
    },
    /// A size that is not known.
    #[error("the size of axis {axis} of the input `{input}` is not in the model: give it, such as `--size {key}=224`")]
    Unbound {
        /// Which input.
        input: String,
        /// Which axis, from 0.
        axis: usize,
        /// What it is called in [`Options::sizes`](crate::Options::sizes).
        key: String,
    },
    /// A value is given for an input that the model does not have.
    #[error("there is no input `{name}` in the model; it has {}", known.join(", "))]
    UnknownValue {
        /// What was given.
        name: String,
        /// What could be.
        known: Vec<String>,
    },
    /// Branches within branches.
    #[error("{node} is a branch within {limit} others, and no more are read")]
    Deep {
        /// Which.
        node: String,
        /// How many there may be.
        limit: usize,
    },
    /// A size is given that the model has no use for.
    #[error("there is no size `{name}` in the model; {}", if known.is_empty() {
        "all its sizes are numbers".to_owned()
    } else {
        format!("it has {}", known.join(", "))
    })]
    UnknownSize {
        /// What was given.
        name: String,
        /// What could be.
        known: Vec<String>,
    },
    /// An input that a network cannot have.
    #[error("the input `{input}`: {reason}")]
    Input {
        /// Which.
        input: String,
        /// Why not.
        reason: Reason,
    },
    /// An output that a network cannot have.
    #[error("the output `{output}`: {reason}")]
    Output {
        /// Which.
        output: String,
        /// Why not.
        reason: Reason,
    },
    /// A constant that cannot be read.
    #[error("the tensor `{name}`: {reason}")]
    Tensor {
        /// Which.
        name: String,
        /// Why not.
        reason: TensorError,
    },
    /// An operator that is not known.
    #[error("there is no translation of the operator {0}; known are {known}", known = crate::OPERATORS.join(", "))]
    Unsupported(Box<Place>),
    /// A node that cannot be translated.
    #[error("{at}: {reason}")]
    Node {
        /// Which.
        at: Box<Place>,
        /// Why not.
        reason: Reason,
    },
    /// A network that has no layers.
    #[error("nothing is computed: every output is an input or a constant")]
    Empty,
    /// More data than an import may make.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The network was read, but Convoke refuses it.
    #[error("the model was read, but Convoke refuses the network:\n{}", diagnostic::plain(diagnostics, text))]
    Refused {
        /// The network.
        text: String,
        /// Why.
        diagnostics: Vec<Diagnostic>,
    },
}

/// A node as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The operator, with its domain if that is not ONNX's own.
    pub op: String,
    /// The node's name, or what it makes.
    pub node: String,
    /// Its inputs with their sizes.
    pub inputs: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, which takes {})", self.op, self.node, self.inputs)
    }
}

/// More data than an import may make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the constants of the model need {needed} bytes, and the limit is {limit}")]
pub struct LimitError {
    /// Bytes of all so far.
    pub needed: u64,
    /// How many there may be.
    pub limit: u64,
}

/// Why a constant cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// A size below 0.
    #[error("axis {axis} has the size {size}")]
    Negative {
        /// Which axis.
        axis: usize,
        /// Its size.
        size: i64,
    },
    /// More axes than tensors have.
    #[error("it has {axes} axes, and the limit is {limit}")]
    Axes {
        /// How many.
        axes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A product of sizes that is no number of elements.
    #[error("its sizes {dims:?} are too large")]
    TooLarge {
        /// The sizes.
        dims: Vec<i64>,
    },
    /// Elements that no number is known for.
    #[error("its elements are of type {0}, which is not read")]
    Type(String),
    /// Another number of elements than the sizes say.
    #[error("its sizes {dims:?} are {expected} elements, and there are {found}")]
    Elements {
        /// The sizes.
        dims: Vec<usize>,
        /// Their product.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// Another number of bytes than the sizes say.
    #[error("its sizes {dims:?} are {expected} bytes, and there are {found}")]
    Bytes {
        /// The sizes.
        dims: Vec<usize>,
        /// What they need.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Data in another file, of which something is missing or no number.
    #[error("its data is in another file, and `{key}` is {}", if value.is_empty() { "not given" } else { value })]
    Entry {
        /// What is given.
        key: &'static str,
        /// As what.
        value: String,
    },
    /// A file that is not in the model's folder.
    #[error("its data is in `{location}`, which is not in the model's folder: only files below it are read")]
    Outside {
        /// Which file.
        location: String,
    },
    /// A link to a file that is not in the model's folder.
    #[error(
        "its data is in `{location}`, a link that leads out of the model's folder: only files below it are read, put the file itself there"
    )]
    Link {
        /// Which link.
        location: String,
    },
    /// A file that cannot be read.
    #[error("its data is in `{location}`, which cannot be read: {message}")]
    File {
        /// Which file.
        location: String,
        /// What the system says.
        message: String,
    },
    /// A piece of a file that is not in it.
    #[error("its data is bytes {offset} to {end} of `{location}`, which has {size}")]
    Range {
        /// Which file.
        location: String,
        /// The first byte.
        offset: u64,
        /// That behind the last.
        end: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// More than an import may read.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// Why a node, an input or an output cannot be translated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// An attribute whose value is not known.
    #[error("`{name}` is {value}; known {}", plural(known))]
    Attribute {
        /// Which.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        known: &'static str,
    },
    /// An attribute that has no default.
    #[error("the attribute `{0}` is missing")]
    NoAttribute(&'static str),
    /// An input that is missing.
    #[error("input {0} is missing")]
    NoInput(usize),
    /// An input that has to be a constant.
    #[error("input {input}, {what}, has to be a constant")]
    NotConstant {
        /// Which, from 0.
        input: usize,
        /// What it is.
        what: &'static str,
    },
    /// An input that may not be a constant.
    #[error("input {0} is a constant, and a layer takes a value")]
    IsConstant(usize),
    /// Another number of axes.
    #[error("it takes {expected} axes, here are {found}")]
    Axes {
        /// How many it takes.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// An axis that is not there.
    #[error("there is no axis {axis} of {count}")]
    NoAxis {
        /// Which.
        axis: i64,
        /// How many there are.
        count: usize,
    },
    /// Sizes that do not fit together.
    #[error("{what}: {first} and {second} do not fit together")]
    Differ {
        /// What they are of.
        what: &'static str,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A number that is none of those that are possible.
    #[error("{what} is {found}; {expected}")]
    Number {
        /// What it is.
        what: &'static str,
        /// Its value.
        found: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// Elements of another type.
    #[error("the elements are of type {0}; networks are imported with those of float32")]
    Type(String),
    /// An input of another type, without a value.
    #[error(
        "its elements are of type {dtype}, and networks take float32: give it a number that it always is, such as `--value {key}=1`"
    )]
    Valueless {
        /// Their type.
        dtype: &'static str,
        /// What the input is called in [`Options::values`](crate::Options::values).
        key: String,
    },
    /// Something that networks do not have.
    #[error("{0}")]
    No(&'static str),
    /// A second output, or one further behind.
    #[error("its output {0} is used, and only the first is translated")]
    Output(usize),
    /// An order of elements that no layer makes.
    #[error("the axes {0} mix the images of a batch, or cannot be cut into what a layer moves")]
    Moves(String),
    /// Numbers too large to be sizes.
    #[error("sizes are too large")]
    Overflow,
    /// An attribute that is a constant, which cannot be read.
    #[error("the attribute `value`: {0}")]
    Value(Box<TensorError>),
    /// More data than an import may make.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

fn plural(known: &str) -> String {
    if known.contains(", ") || known.contains(" and ") { format!("are {known}") } else { format!("is {known}") }
}
