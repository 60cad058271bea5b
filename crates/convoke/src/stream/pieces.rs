//! Kernels for a few numbers of outputs, and outputs cut into those.
//!
//! Sums of exact algorithms are the same bits whatever is computed beside them. So the outputs of a block may be cut anywhere, and
//! those that two pieces share come out equal twice.

use convoke_core::diagnostic::Diagnostic;
use convoke_core::front;
use convoke_core::pipeline::CompileError;
use convoke_core::spec::{Accuracy, LayerSpec, Limits, PaddingMode, Schedule, SpatialAxis, SpecTextError};

use crate::compiler::Compiler;
use crate::error::Error;
use crate::kernel::Kernel;

/// Outputs of a piece, in order; the first takes what no other does.
const LENGTHS: [usize; 7] = [1, 4, 16, 32, 64, 128, 256];

/// Bytes of input and output that a piece of several outputs has at most, so that they stay in a cache.
const MOST_BYTES: usize = 4 << 20;

/// A kernel that computes `outputs` outputs side by side, of windows that lie in its input.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) outputs: usize,
    pub(super) kernel: Kernel,
    pub(super) runs: Runs,
}

/// The frames that a piece reads: `count` runs of `frames`, the second of which starts `distance` frames after the first.
///
/// It is one run, or one a tap where taps are further apart than the outputs reach: what lies between them is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    pub(super) count: usize,
    pub(super) frames: usize,
    pub(super) distance: usize,
}

impl Runs {
    fn of(axis: &SpatialAxis, outputs: usize) -> Self {
        let reach = (outputs - 1) * axis.stride + 1;
        if reach < axis.dilation {
            return Self { count: axis.kernel, frames: reach, distance: axis.dilation };
        }
        Self { count: 1, frames: reach + axis.extent() - 1, distance: 0 }
    }
}

/// The pieces of a layer, shortest first. Of those of several outputs, such as would be too large are left out.
pub(super) fn compile(compiler: &Compiler, spec: &LayerSpec, limits: &Limits) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    for outputs in LENGTHS {
        match kernel(compiler, spec, limits, outputs) {
            Ok(Some(kernel)) => {
                let runs = Runs::of(&spec.spatial[2], outputs);
                pieces.push(Piece { outputs, kernel, runs });
            }
            Ok(None) => break,
            Err(error) if outputs > 1 && exceeds_limits(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(pieces)
}

/// The kernel of a piece; `None` if it has several outputs and is larger than is of use.
fn kernel(compiler: &Compiler, spec: &LayerSpec, limits: &Limits, outputs: usize) -> Result<Option<Kernel>, Error> {
    let axis = spec.spatial[2];
    let runs = Runs::of(&axis, outputs);
    let dilation = if runs.count > 1 { runs.frames } else { axis.dilation };
    let input = runs.count * runs.frames;
    let part = SpatialAxis { input, output: outputs, dilation, pad_lo: 0, pad_hi: 0, ..axis };
    let part = LayerSpec {
        spatial: [SpatialAxis::UNIT, SpatialAxis::UNIT, part],
        padding_mode: PaddingMode::Zeros,
        accuracy: Accuracy::Exact,
        schedule: Schedule::default(),
        ..spec.clone()
    };
    let part = validated(&part, limits)?;
    let elements = (part.src_image() + part.dst_image()) * part.fixed_batch().unwrap_or(1);
    if outputs > 1 && elements > MOST_BYTES / part.dtype.bytes() {
        return Ok(None);
    }
    compiler.compile(&part).map(Some)
}

/// The layer, if it keeps to the limits: it may be longer than the one that it was made of.
fn validated(spec: &LayerSpec, limits: &Limits) -> Result<LayerSpec, Error> {
    let source = spec.to_string();
    let refused = |diagnostics: Vec<Diagnostic>| SpecTextError { diagnostics, source: source.clone() };
    let mut layers = front::layers(&source, limits).map_err(refused)?;
    layers.pop().ok_or_else(|| refused(Vec::new()).into())
}

const fn exceeds_limits(error: &Error) -> bool {
    use CompileError::{TooMuchCode, TooMuchScratch};
    matches!(error, Error::Spec(_) | Error::Compile { source: TooMuchCode { .. } | TooMuchScratch { .. }, .. })
}

/// Where the next piece starts, and which it is, after `done` of `outputs`, which are more.
///
/// It is the longest that is not too long, or the next longer one, if that ends with the outputs and at least half of it is new.
pub(super) fn next(pieces: &[Piece], done: usize, outputs: usize) -> (usize, &Piece) {
    let left = outputs - done;
    let longer = pieces.partition_point(|piece| piece.outputs <= left);
    match pieces.get(longer) {
        Some(piece) if piece.outputs <= outputs && piece.outputs <= 2 * left => (outputs - piece.outputs, piece),
        _ => (done, &pieces[longer - 1]),
    }
}
