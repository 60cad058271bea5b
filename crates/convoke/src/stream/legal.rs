//! What a stream takes, and why not the rest.

use convoke_core::spec::{Algorithm, Batch, LayerSpec, Layout, Operation, with_article};

use crate::error::Error;

/// Why a layer has no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotStreamed {
    /// Another kind of layer; its name.
    #[error("it is {}, and a stream takes a conv1d", with_article(.0))]
    Kind(&'static str),
    /// A layer of integers; the type of its elements.
    #[error("its elements are {0}, and a stream takes f32 and f64")]
    Integers(&'static str),
    /// Elements of 16 bits; their type.
    #[error("its elements are {0}, and a stream takes f32 and f64")]
    Half(&'static str),
    /// A blocked layout; its name.
    #[error("its layout is {0}, and a stream takes ncl and nlc")]
    Layout(&'static str),
    /// The number of signals is not known; the name that stands for it.
    #[error(
        "its batch is the name {0}, and a stream holds frames of a number of signals that is known: write the number"
    )]
    NamedBatch(String),
    /// There is no signal.
    #[error("its batch is 0, and a stream holds frames of at least one signal")]
    NoBatch,
    /// Padding that elements of the signal stand for; the name of the mode.
    #[error("its padding is made of the signal (`padding_mode: {0}`), and a stream pads with zeros or constant(x)")]
    PaddingMode(&'static str),
    /// The epilogue adds a tensor, which would have to come in blocks too.
    #[error("its epilogue has `residual`, and a stream takes steps without a tensor")]
    Residual,
    /// The schedule pins an algorithm whose sums depend on where a block starts.
    #[error(
        "its schedule pins `algorithm: {0}`, which rounds by where a block starts, and a stream takes sums as they stand"
    )]
    Algorithm(&'static str),
    /// It has no state to hand over, because windows lie apart: the stride, and what a window reaches over.
    #[error("its windows reach over {1} frames and are {0} apart, and a state is frames that windows share")]
    Apart(usize, usize),
    /// It has no state to hand over, because outputs come before any frame: the padding, and what a window reaches over.
    #[error(
        "its padding of {0} fills windows of {1} frames by itself, and a state is frames that a window still waits for"
    )]
    Padding(usize, usize),
}

/// # Errors
/// If what a stream of `spec` remembers is not frames alone.
pub(super) fn check_state(spec: &LayerSpec) -> Result<(), Error> {
    let axis = &spec.spatial[2];
    let refuse = |reason| Err(Error::State { layer: spec.name.clone(), reason });
    match axis.extent() {
        extent if axis.stride > extent => refuse(NotStreamed::Apart(axis.stride, extent)),
        extent if axis.pad_lo >= extent => refuse(NotStreamed::Padding(axis.pad_lo, extent)),
        _ => Ok(()),
    }
}

/// # Errors
/// If `spec` is of a layer that has no stream.
pub(super) fn check(spec: &LayerSpec) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Stream { layer: spec.name.clone(), reason });
    if spec.operation != Operation::Convolution || spec.rank != 1 {
        return refuse(NotStreamed::Kind(spec.kind()));
    }
    if let Some(integers) = &spec.integers {
        return refuse(NotStreamed::Integers(integers.src.name()));
    }
    if let Some(half) = spec.half {
        return refuse(NotStreamed::Half(half.storage().name()));
    }
    if spec.layout == Layout::Blocked {
        return refuse(NotStreamed::Layout(spec.layout.name(spec.rank, spec.dtype)));
    }
    match &spec.batch {
        Batch::Named(name) => return refuse(NotStreamed::NamedBatch(name.clone())),
        Batch::Fixed(0) => return refuse(NotStreamed::NoBatch),
        Batch::Fixed(_) => {}
    }
    if spec.padding_mode.is_copied() && spec.fills_padding() {
        return refuse(NotStreamed::PaddingMode(spec.padding_mode.name()));
    }
    if spec.has_residual() {
        return refuse(NotStreamed::Residual);
    }
    match spec.schedule.algorithm.as_ref().map(|pin| pin.value) {
        Some(algorithm) if !Algorithm::is_exact(algorithm) => refuse(NotStreamed::Algorithm(algorithm.name())),
        _ => Ok(()),
    }
}
