//! Everything that can go wrong, in one type.

use convoke_core::pipeline::CompileError;
use convoke_core::spec::{BindError, SpecTextError};

/// Why a layer was not compiled, or a kernel not run. Nothing has been written to the output then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not one legal layer.
    #[error(transparent)]
    Spec(#[from] SpecTextError),
    /// The layer is not legal for the sizes, or they are not those that it has.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The weights were given to another dynamic layer.
    #[error("the weights were given to layer {given_to}, and the text of layer {layer} is another")]
    OtherText {
        /// Name of the layer that was run.
        layer: String,
        /// Name of the layer that took the weights.
        given_to: String,
    },
    /// The layer has no kernel: its schedule cannot hold, or it asks for more than the limits allow.
    #[error("layer {layer}: {source}")]
    Compile {
        /// Name of the layer.
        layer: String,
        /// Why.
        source: CompileError,
    },
    /// The kernel could not be compiled for, or run on, this machine.
    #[cfg(feature = "jit")]
    #[error(transparent)]
    Jit(#[from] convoke_jit::JitError),
    /// The data are not of the layer's element type.
    #[error("layer {layer} computes in {expected}, and the data are {given}")]
    DType {
        /// Name of the layer.
        layer: String,
        /// The layer's element type.
        expected: &'static str,
        /// The data's.
        given: &'static str,
    },
    /// Numbers of another type than the layer says.
    #[error("{what} of layer {layer} is {expected}, and what was given is {given}")]
    Storage {
        /// Name of the layer.
        layer: String,
        /// `src`, `dst` or `weights`.
        what: &'static str,
        /// The layer's type.
        expected: &'static str,
        /// The data's.
        given: &'static str,
    },
    /// A parameter of a layer of integers that makes no sense.
    #[error("{value} is no {what} of the weights of layer {layer}")]
    Parameter {
        /// Name of the layer.
        layer: String,
        /// `zero point` or `scale`.
        what: &'static str,
        /// What was given.
        value: f64,
    },
    /// Weights beyond what `reduce_range` allows.
    #[error(
        "layer {layer} has `reduce_range: true`, so weights are from -64 to 63 from what stands for 0, and one is at {distance}"
    )]
    ReducedRange {
        /// Name of the layer.
        layer: String,
        /// How far from there.
        distance: i32,
    },
    /// A tensor to add where the epilogue has no step for it, or the other way round.
    #[error("{}", residual(layer, *.given))]
    Residual {
        /// Name of the layer.
        layer: String,
        /// Whether one was given.
        given: bool,
    },
    /// Offsets of taps where the layer is not deformable, or the other way round.
    #[error("{}", deformable(layer, *.given))]
    Deformable {
        /// Name of the layer.
        layer: String,
        /// Whether they were given.
        given: bool,
    },
    /// Factors of taps where the layer has none, or the other way round.
    #[error("{}", mask(layer, *.given))]
    Mask {
        /// Name of the layer.
        layer: String,
        /// Whether they were given.
        given: bool,
    },
    /// Indices where the layer has none, or the other way round.
    #[error("layer {layer} {reason}")]
    Indices {
        /// Name of the layer.
        layer: String,
        /// What it has and takes.
        reason: &'static str,
    },
    /// An index that is of no element of a plane.
    #[error(
        "index {index}, element {at} of the indices, is of none of the {plane} elements of a plane of layer {layer}"
    )]
    Index {
        /// Name of the layer.
        layer: String,
        /// The index.
        index: i32,
        /// Which element it is.
        at: usize,
        /// Elements of a plane of the output.
        plane: usize,
    },
    /// A slice is too short or too long.
    #[error("{what} has {given} elements, and layer {layer} needs {expected}{}", at_batch(*.batch))]
    Length {
        /// Name of the layer.
        layer: String,
        /// `src`, `dst`, `weights`, `bias` or a step of the epilogue.
        what: &'static str,
        /// Elements it should have.
        expected: usize,
        /// Elements it has.
        given: usize,
        /// The batch size that says so, if one does.
        batch: Option<usize>,
    },
    /// The data are not of the network's element type.
    #[error("network {network} computes in {expected}, and the data are {given}")]
    NetworkType {
        /// Name of the network.
        network: String,
        /// Its element type.
        expected: &'static str,
        /// The data's.
        given: &'static str,
    },
    /// A parameter of a network that is missing, or of another length.
    #[error("network {network} needs {expected} elements for `{name}`, and {} given", given_elements(*.given))]
    NetworkParameter {
        /// Name of the network.
        network: String,
        /// Name of the parameter.
        name: String,
        /// Elements it should have.
        expected: usize,
        /// Elements it has.
        given: Option<usize>,
    },
    /// Too few or too many tensors.
    #[error("network {network} has {expected} {what}, and {given} were given")]
    NetworkCount {
        /// Name of the network.
        network: String,
        /// `inputs` or `outputs`.
        what: &'static str,
        /// How many it has.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// A tensor of a network that is too short or too long.
    #[error("`{value}` has {given} elements, and network {network} needs {expected} for {batch} images")]
    NetworkLength {
        /// Name of the network.
        network: String,
        /// Which tensor.
        value: String,
        /// Elements it should have.
        expected: usize,
        /// Elements it has.
        given: usize,
        /// Images of the run.
        batch: usize,
    },
    /// A file that cannot be read, or does not say what it should.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no memory for what lies between layers.
    #[error("there is no memory for {elements} elements between the layers of network {network}")]
    NetworkMemory {
        /// Name of the network.
        network: String,
        /// Elements.
        elements: usize,
    },
    /// `src` is no whole number of images.
    #[error("src has {given} elements, which is no multiple of the {image} of one image of layer {layer}")]
    Batch {
        /// Name of the layer.
        layer: String,
        /// Elements it has.
        given: usize,
        /// Elements of one image.
        image: usize,
    },
    /// A bias was given to a layer without, or not given to one with.
    #[error("layer {layer} {}", if *.expected == 0 { format!("has no bias, and one of {given} elements was given") }
        else { format!("has a bias of {expected} elements, and none was given") })]
    Bias {
        /// Name of the layer.
        layer: String,
        /// Elements it should have, 0 for none.
        expected: usize,
        /// Elements it has, 0 for none.
        given: usize,
    },
    /// Too many arrays of numbers for channels, or too few.
    #[error("the epilogue of layer {layer} takes {} of a number for each channel{}, and {given} were given", arrays(.steps.len()),
        if .steps.is_empty() { String::new() } else { format!(" ({})", .steps.join(", ")) })]
    Channels {
        /// Name of the layer.
        layer: String,
        /// The steps that take them.
        steps: Vec<&'static str>,
        /// How many arrays.
        given: usize,
    },
    /// The weights were packed by a kernel of another layer.
    #[error(
        "the weights were packed for layer {packed_for}, whose {given} do not fit layer {layer}, which takes {expected}"
    )]
    Packed {
        /// Name of the layer that was run.
        layer: String,
        /// Name of the layer that packed.
        packed_for: String,
        /// What the kernel takes.
        expected: String,
        /// What it was given.
        given: String,
    },
    /// The layer does not take its input in blocks.
    #[cfg(feature = "jit")]
    #[error("layer {layer} cannot be streamed: {reason}")]
    Stream {
        /// Name of the layer.
        layer: String,
        /// Why.
        reason: crate::stream::NotStreamed,
    },
    /// A block of a stream ends within a frame.
    #[error("a block has {given} elements, which is no multiple of the {frame} of one frame of layer {layer}")]
    Frames {
        /// Name of the layer.
        layer: String,
        /// Elements it has.
        given: usize,
        /// Elements of a frame, of all signals of the batch.
        frame: usize,
    },
    /// A stream has no state to hand over.
    #[error("a stream of layer {layer} has no state: {reason}")]
    State {
        /// Name of the layer.
        layer: String,
        /// Why.
        reason: crate::stream::NotStreamed,
    },
    /// The state of a stream ends within a frame, or is longer than one can be.
    #[error("a state has {given} elements, and that of layer {layer} has at most {most} frames of {frame}")]
    StateLength {
        /// Name of the layer.
        layer: String,
        /// Elements it has.
        given: usize,
        /// Elements of a frame, of all signals of the batch.
        frame: usize,
        /// Frames.
        most: usize,
    },
    /// A tensor's data do not fill its shape.
    #[error("a tensor of shape {shape:?} has {expected} elements, and {given} were given")]
    ShapeLength {
        /// The shape.
        shape: Vec<usize>,
        /// Product of the shape.
        expected: usize,
        /// Elements given.
        given: usize,
    },
    /// A shape has more elements than an address space holds.
    #[error("a tensor of shape {shape:?} has more than {} elements", isize::MAX)]
    ShapeOverflow {
        /// The shape.
        shape: Vec<usize>,
    },
    /// A tensor is not of the shape that the layer takes.
    #[error("{what} is of shape {given:?}, and layer {layer} takes {expected:?}")]
    Shape {
        /// Name of the layer.
        layer: String,
        /// `src` or `residual`.
        what: &'static str,
        /// What it takes; the batch size is the given one where any will do.
        expected: Vec<usize>,
        /// What it was given.
        given: Vec<usize>,
    },
    /// There is no memory for the scratch buffer and the threads' local ones.
    #[error("no memory for {elements} elements of scratch for layer {layer} at batch size {batch}")]
    Scratch {
        /// Name of the layer.
        layer: String,
        /// How many, all buffers together.
        elements: usize,
        /// Batch size.
        batch: usize,
    },
    /// There is no memory for packed weights.
    #[error("no memory for {elements} elements of packed weights for layer {layer}")]
    Weights {
        /// Name of the layer.
        layer: String,
        /// How many.
        elements: usize,
    },
    /// The threads could not be started.
    #[error("{threads} threads could not be started: {reason}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system says.
        reason: String,
    },
}

fn arrays(count: usize) -> String {
    format!(
        "{} array{}",
        if count == 0 { "no".to_owned() } else { count.to_string() },
        if count == 1 { "" } else { "s" }
    )
}

fn at_batch(batch: Option<usize>) -> String {
    batch.map_or_else(String::new, |n| format!(" at batch size {n}"))
}

fn deformable(layer: &str, given: bool) -> String {
    match given {
        true => format!("offsets were given, and layer {layer} is not deformable"),
        false => format!("layer {layer} is deformable, so it takes `run_deformable` or `apply_deformable`"),
    }
}

fn mask(layer: &str, given: bool) -> String {
    match given {
        true => format!("a mask was given, and layer {layer} has no `mask: true`"),
        false => format!("layer {layer} has `mask: true`, and no mask was given"),
    }
}

fn given_elements(given: Option<usize>) -> String {
    given.map_or_else(|| "nothing was".to_owned(), |given| format!("{given} were"))
}

fn residual(layer: &str, given: bool) -> String {
    match given {
        true => format!("a residual was given, and layer {layer} has no step `residual` in `then`"),
        false => format!("layer {layer} adds a residual, so it takes `run_residual` or `apply_residual`"),
    }
}
