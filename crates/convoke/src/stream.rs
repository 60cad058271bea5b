//! A layer over a signal that comes in blocks.
//!
//! [`Compiler::stream`] makes a [`Stream`] of a `conv1d` layer with its weights. It keeps the last frames of what came, so that blocks
//! of any sizes give the same bits as one long call of the layer with `accuracy: exact`.
//!
//! ```
//! # use convoke::Compiler;
//! let layer = "conv1d sums { input: f32[1, 1, 6], out_channels: 1, kernel_size: 3, padding: 1 }";
//! let mut stream = Compiler::new().stream(&layer.parse()?, &[1.0f32; 3], None, &[])?;
//! let mut out = Vec::new(); // of the last call
//! let mut all: Vec<f32> = Vec::new();
//! for block in [&[1.0, 2.0][..], &[3.0], &[], &[4.0, 5.0, 6.0]] {
//!     stream.push(block, &mut out)?;
//!     all.extend(&out);
//! }
//! assert_eq!(all, [3.0, 6.0, 9.0, 12.0, 15.0]); // the window of the last output reaches behind the signal
//! stream.finish(&mut out)?;
//! assert_eq!(out, [11.0]);
//! # Ok::<(), convoke::Error>(())
//! ```
//!
//! A block has the layer's layout: `ncl` blocks are `[n][channels][frames]`, `nlc` `[n][frames][channels]`, and so are the outputs. The
//! signal may be longer or shorter than the layer's input says. Its padding comes before the first frame and, with
//! [`Stream::finish`], after the last.
//!
//! The weights must be finite: in a stream padding with zeros is multiplied. Of a sum that is zero the sign may then be another too, where
//! all of its products are zeros or too small for the type.

mod history;
mod legal;
mod pieces;

use std::sync::Arc;

use convoke_core::spec::{LayerSpec, Limits, PaddingMode, SpatialAxis};
use convoke_jit::Element;

use crate::compiler::Compiler;
use crate::error::Error;
use crate::kernel::Packed;
use crate::workspace::Workspace;
use history::{Block, Frames, History, Rows, copy_rows, zeros};
pub use legal::NotStreamed;
use pieces::{Piece, Runs};

/// A `conv1d` layer that takes its input in blocks and remembers what later outputs need.
///
/// A clone goes on from the same place by itself, and shares the code and the weights. Pushing takes no memory but what `out` lacks.
#[derive(Clone, Debug)]
pub struct Stream<T> {
    layer: Arc<Layer<T>>,
    state: State<T>,
}

/// What no block changes.
#[derive(Debug)]
struct Layer<T> {
    spec: LayerSpec,
    pieces: Vec<Piece>,
    packed: Packed<T>,
    src: Frames,
    dst: Frames,
    /// Frames of padding, as many as are taken up at once.
    padding: Vec<T>,
}

/// Frames of padding that are taken up at once.
const PADDING: usize = 256;

#[derive(Clone, Debug)]
struct State<T> {
    /// Frames of padding before the signal that are still to be taken up.
    before: usize,
    /// From the first frame of the next window on.
    history: History<T>,
    /// Frames still to come before those of the next window, where a stride leaves some out.
    ahead: usize,
    /// Input and output of a piece.
    src: Vec<T>,
    dst: Vec<T>,
    workspace: Workspace,
}

/// Where outputs go: behind the `done` frames of `frames` that are there.
struct Output<'a, T> {
    data: &'a mut [T],
    frames: usize,
    done: usize,
}

impl<T: Element> Stream<T> {
    pub(crate) fn new(
        compiler: &Compiler,
        spec: &LayerSpec,
        limits: &Limits,
        weights: &[T],
        bias: Option<&[T]>,
        channels: &[&[T]],
    ) -> Result<Self, Error> {
        legal::check(spec)?;
        let pieces = pieces::compile(compiler, spec, limits)?;
        let packed = pieces[0].kernel.pack_with(weights, bias, channels)?;
        let batch = spec.fixed_batch().unwrap_or(1);
        let [src, dst] = [spec.in_channels, spec.out_channels].map(|c| Frames::of(spec.layout, batch, c));
        let axis = spec.spatial[2];
        let padding = vec![fill(spec); axis.pad_lo.max(axis.pad_hi).min(PADDING) * src.elements()];
        let layer = Layer { spec: spec.clone(), pieces, packed, src, dst, padding };
        let mut state = State::new(&layer)?;
        state.warm_up(&layer)?;
        Ok(Self { layer: Arc::new(layer), state })
    }

    /// The layer.
    pub fn spec(&self) -> &LayerSpec {
        &self.layer.spec
    }

    /// Frames of output that a block of `frames` frames will give.
    pub fn outputs(&self, frames: usize) -> usize {
        self.state.outputs(&self.layer.axis(), frames)
    }

    /// Frames of output that [`Stream::finish`] will give.
    pub fn outputs_at_end(&self) -> usize {
        self.outputs(self.layer.axis().pad_hi)
    }

    /// Takes up a block, of any number of frames, and writes to `out` all outputs that are known with it and were not before: as many
    /// frames as it returns, and nothing else.
    ///
    /// # Errors
    /// If the block is not a whole number of frames; nothing has changed then. If threads or memory that a first run has shown to be
    /// there are not; the stream must be [`reset`](Self::reset) then.
    pub fn push(&mut self, block: &[T], out: &mut Vec<T>) -> Result<usize, Error> {
        let (layer, frame) = (&*self.layer, self.layer.src.elements());
        if !block.len().is_multiple_of(frame) {
            let (layer, given) = (layer.spec.name.clone(), block.len());
            return Err(Error::Frames { layer, given, frame });
        }
        let frames = block.len() / frame;
        let mut out = Output::new(layer, out, self.outputs(frames));
        self.state.begin(layer, &mut out)?;
        self.state.take_up(layer, Block { data: block, first: 0, frames }, &mut out)?;
        Ok(out.frames)
    }

    /// Takes up the padding behind the signal, writes the outputs that are left to `out`, and returns how many frames they are. The
    /// next block starts a new signal.
    ///
    /// # Errors
    /// As [`Stream::push`], but for the block.
    pub fn finish(&mut self, out: &mut Vec<T>) -> Result<usize, Error> {
        let layer = &*self.layer;
        let mut out = Output::new(layer, out, self.outputs_at_end());
        self.state.begin(layer, &mut out)?;
        self.state.pad(layer, layer.axis().pad_hi, &mut out)?;
        self.state.reset(layer);
        Ok(out.frames)
    }

    /// Forgets what came: the next block starts a new signal.
    pub fn reset(&mut self) {
        self.state.reset(&self.layer);
    }

    /// Writes the frames that later outputs need to `state`, in the layer's layout, and returns how many they are: at most one less than a
    /// window reaches over, and, with `padding: causal`, always that many. Before the first block they are the padding.
    ///
    /// With [`Stream::resume`] any stream of the layer goes on from there: what ONNX's `CausalConvWithState` calls `present_state` and
    /// `past_state`.
    ///
    /// # Errors
    /// If a state is not all that there is to remember: where windows lie apart, or the padding alone fills one.
    pub fn state(&self, state: &mut Vec<T>) -> Result<usize, Error> {
        let layer = &*self.layer;
        legal::check_state(&layer.spec)?;
        let frames = if self.state.before > 0 { self.state.before } else { self.state.history.len() };
        state.clear();
        state.resize(frames * layer.src.elements(), fill(&layer.spec));
        if self.state.before == 0 {
            let to = Rows { data: &mut state[..], at: 0, stride: frames * layer.src.inner };
            self.state.history.copy(&Block { data: &[], first: 0, frames: 0 }, 0, frames, to);
        }
        Ok(frames)
    }

    /// Forgets what came and starts behind the frames of `state`, which stand in place of the padding before a signal.
    ///
    /// ```
    /// # use convoke::Compiler;
    /// let layer = "conv1d sums { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3, padding: causal }";
    /// let mut stream = Compiler::new().stream(&layer.parse()?, &[1.0f32; 3], None, &[])?;
    /// let (mut out, mut state) = (Vec::new(), Vec::new());
    /// stream.push(&[1.0, 2.0, 3.0], &mut out)?;
    /// assert_eq!((stream.state(&mut state)?, &state[..]), (2, &[2.0, 3.0][..]));
    /// stream.push(&[9.0], &mut out)?; // another signal's
    /// stream.resume(&state)?;
    /// stream.push(&[4.0], &mut out)?;
    /// assert_eq!(out, [9.0]);
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Stream::state`], and if there are more frames than that can give, or no whole number; nothing has changed then.
    pub fn resume(&mut self, state: &[T]) -> Result<(), Error> {
        let layer = &*self.layer;
        legal::check_state(&layer.spec)?;
        let (frame, most) = (layer.src.elements(), layer.axis().extent() - 1);
        let frames = state.len() / frame;
        if !state.len().is_multiple_of(frame) || frames > most {
            let (layer, given) = (layer.spec.name.clone(), state.len());
            return Err(Error::StateLength { layer, given, frame, most });
        }
        self.state.reset(layer);
        self.state.before = 0;
        self.state.history.advance(&Block { data: state, first: 0, frames }, 0);
        Ok(())
    }
}

/// What padding is filled with.
fn fill<T: Element>(spec: &LayerSpec) -> T {
    match spec.padding_mode {
        PaddingMode::Constant(value) => T::from_f64(value),
        _ => T::default(),
    }
}

impl<T> Layer<T> {
    const fn axis(&self) -> SpatialAxis {
        self.spec.spatial[2]
    }
}

impl<T: Element> State<T> {
    fn new(layer: &Layer<T>) -> Result<Self, Error> {
        let axis = layer.axis();
        let most = |len: fn(&Piece) -> usize| layer.pieces.iter().map(len).max().unwrap_or(0);
        let src = most(|piece| piece.runs.count * piece.runs.frames) * layer.src.elements();
        let dst = most(|piece| piece.outputs) * layer.dst.elements();
        let held = axis.extent() - 1;
        let no_memory = || Error::Scratch {
            layer: layer.spec.name.clone(),
            elements: (2 * held).saturating_mul(layer.src.elements()).saturating_add(src + dst),
            batch: layer.spec.fixed_batch().unwrap_or(1),
        };
        Ok(Self {
            before: axis.pad_lo,
            history: History::new(layer.src, held).ok_or_else(no_memory)?,
            ahead: 0,
            src: zeros(src).ok_or_else(no_memory)?,
            dst: zeros(dst).ok_or_else(no_memory)?,
            workspace: Workspace::new(),
        })
    }

    /// Runs every kernel once: so it is known that it takes the packed weights, and memory and threads are there.
    fn warm_up(&mut self, layer: &Layer<T>) -> Result<(), Error> {
        for Piece { outputs, kernel, runs } in &layer.pieces {
            let src = &self.src[..runs.count * runs.frames * layer.src.elements()];
            let dst = &mut self.dst[..outputs * layer.dst.elements()];
            kernel.run_in(&mut self.workspace, &layer.packed, src, dst)?;
        }
        Ok(())
    }

    fn reset(&mut self, layer: &Layer<T>) {
        self.history.clear();
        (self.before, self.ahead) = (layer.axis().pad_lo, 0);
    }

    /// Outputs that `frames` frames more will give.
    fn outputs(&self, axis: &SpatialAxis, frames: usize) -> usize {
        let frames = (self.history.len() + self.before + frames).saturating_sub(self.ahead);
        frames.checked_sub(axis.extent()).map_or(0, |room| room / axis.stride + 1)
    }

    /// Takes up the padding before a signal that starts.
    fn begin(&mut self, layer: &Layer<T>, out: &mut Output<'_, T>) -> Result<(), Error> {
        let before = std::mem::take(&mut self.before);
        self.pad(layer, before, out)
    }

    fn pad(&mut self, layer: &Layer<T>, mut frames: usize, out: &mut Output<'_, T>) -> Result<(), Error> {
        while frames > 0 {
            let some = frames.min(PADDING);
            let data = &layer.padding[..some * layer.src.elements()];
            self.take_up(layer, Block { data, first: 0, frames: some }, out)?;
            frames -= some;
        }
        Ok(())
    }

    /// Computes what `block` makes known, and keeps of it what later outputs need.
    fn take_up(&mut self, layer: &Layer<T>, block: Block<'_, T>, out: &mut Output<'_, T>) -> Result<(), Error> {
        let axis = layer.axis();
        let skipped = self.ahead.min(block.frames);
        let outputs = self.outputs(&axis, block.frames);
        let block = Block { first: skipped, ..block };
        let mut done = 0;
        while done < outputs {
            let (at, piece) = pieces::next(&layer.pieces, done, outputs);
            self.compute(layer, piece, &block, at, out)?;
            done = at + piece.outputs;
        }
        out.done += outputs;
        self.ahead -= skipped;
        self.ahead += self.history.advance(&block, outputs * axis.stride);
        Ok(())
    }

    /// Computes a piece of the outputs that `block` makes known, from output `at` of them on.
    fn compute(
        &mut self,
        layer: &Layer<T>,
        piece: &Piece,
        block: &Block<'_, T>,
        at: usize,
        out: &mut Output<'_, T>,
    ) -> Result<(), Error> {
        let Self { history, src, dst, workspace, .. } = self;
        let Runs { count, frames, .. } = piece.runs;
        let from = at * layer.axis().stride;
        let there = if count == 1 { history.side_by_side(block, from, frames) } else { None };
        let src = there.unwrap_or_else(|| gather(layer, piece.runs, (history, block), from, src));
        let at = out.done + at;
        let mut run = |dst: &mut [T]| piece.kernel.run_in(workspace, &layer.packed, src, dst);
        let Frames { rows, inner } = layer.dst;
        let count = piece.outputs * inner;
        if rows == 1 || piece.outputs == out.frames {
            return run(&mut out.data[at * inner..at * inner + rows * count]);
        }
        let dst = &mut dst[..rows * count];
        run(dst)?;
        let to = Rows { data: &mut *out.data, at: at * inner, stride: out.frames * inner };
        copy_rows(rows, count, Rows { data: dst, at: 0, stride: count }, to);
        Ok(())
    }
}

/// The frames of `runs`, the first of which starts at `from`, side by side in `room`.
fn gather<'a, T: Element>(
    layer: &Layer<T>,
    runs: Runs,
    (history, block): (&History<T>, &Block<'_, T>),
    from: usize,
    room: &'a mut [T],
) -> &'a [T] {
    let Runs { count, frames, distance } = runs;
    let Frames { rows, inner } = layer.src;
    let (run, stride) = (frames * inner, count * frames * inner);
    let src = &mut room[..rows * stride];
    for at in 0..count {
        history.copy(block, from + at * distance, frames, Rows { data: &mut *src, at: at * run, stride });
    }
    src
}

impl<'a, T: Element> Output<'a, T> {
    /// `frames` frames, for which `out` has room then.
    fn new(layer: &Layer<T>, out: &'a mut Vec<T>, frames: usize) -> Self {
        out.resize(frames * layer.dst.elements(), T::default());
        Self { data: out, frames, done: 0 }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
