//! How the output is cut into tiles, and the tiles into blocks.

use super::super::geometry::Geometry;
use super::{parts, transformed};
use crate::plan::Axis;
use crate::spec::{LayerSpec, SpatialAxis};

/// Elements of a cache line of `f32`, and two of `f64`: what rows of transformed data are apart at least.
const LINE: usize = 16;

/// The tiles along one axis of the image.
///
/// A window of several taps is transformed: a tile has `m` outputs, `step` apart, and of each part `m + r - 1` inputs, `input_step`
/// apart. Its *phase* is where among `step` neighbours the tile's outputs are. Along an axis with a window of one tap, every
/// output is a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileAxis {
    /// Outputs of a tile.
    pub m: usize,
    /// Inputs of a tile's part, and its elements when transformed.
    pub alpha: usize,
    /// Distance of the tile's neighbouring outputs: the dilation.
    pub step: usize,
    /// Distance of the neighbouring inputs of its parts: the dilation or the stride, of which one is 1.
    pub input_step: usize,
    /// Distance in the input of two neighbouring outputs.
    pub stride: usize,
    /// Parts that taps and inputs fall into.
    pub parts: usize,
    pub phases: usize,
    /// Tiles of a phase; the last ones may reach past the output, or have none.
    pub tiles: usize,
    pub pad_lo: usize,
    pub input: usize,
    pub output: usize,
}

impl TileAxis {
    pub(crate) fn new(axis: &SpatialAxis, m: usize) -> Self {
        let SpatialAxis { input, output, kernel, stride, dilation, pad_lo, .. } = *axis;
        let [parts, taps] = parts(kernel, stride);
        let all = Self {
            m: 1,
            alpha: transformed(taps, m),
            step: 1,
            input_step: 1,
            stride,
            parts,
            phases: 1,
            tiles: output,
            pad_lo,
            input,
            output,
        };
        if taps == 1 {
            return all;
        }
        let phases = dilation.min(output).max(1);
        let tiles = output.div_ceil(dilation).div_ceil(m);
        Self { m, step: dilation, input_step: dilation * stride, phases, tiles, ..all }
    }

    /// Outputs from one tile to the next of its phase.
    pub(crate) fn advance(&self) -> usize {
        self.m * self.step
    }

    /// Tiles that lie within the input and the output with all their elements, whatever the phase.
    pub(crate) fn interior(&self) -> std::ops::Range<usize> {
        let advance = self.advance();
        let first = self.pad_lo.div_ceil(advance * self.stride);
        let tiles_below = |room: Option<usize>, step: usize| room.map_or(0, |room| room / step + 1);
        let reach = (self.phases - 1) * self.stride + (self.alpha - 1) * self.input_step + self.parts - 1;
        let inputs = tiles_below((self.pad_lo + self.input).checked_sub(reach + 1), advance * self.stride);
        let outputs = tiles_below(self.output.checked_sub(self.phases + (self.m - 1) * self.step), advance);
        let end = inputs.min(outputs).min(self.tiles);
        first.min(end)..end
    }

    /// Whether some tile does not.
    pub(crate) fn is_cut(&self) -> bool {
        self.interior() != (0..self.tiles)
    }

    pub(crate) fn is_transformed(&self) -> bool {
        self.alpha > 1
    }
}

/// A loop over tiles: over images, over the phases of an axis, or over its tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Batch,
    Phase(usize),
    Tile(usize),
}

/// All loops over tiles, outermost first.
const LEVELS: [Level; 7] =
    [Level::Batch, Level::Phase(0), Level::Tile(0), Level::Phase(1), Level::Tile(1), Level::Phase(2), Level::Tile(2)];

/// A loop around a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outer {
    Each(Level),
    /// Over the blocks themselves.
    Blocks,
}

/// Where everything is, given the plan's blocks.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub axes: [TileAxis; 3],
    /// Images, if they are known.
    pub batch: Option<usize>,
    /// Loops around a block, outermost first.
    pub outer: Vec<Outer>,
    /// Whether the first of them runs along the plan's parallel axis.
    pub divided: bool,
    /// The loop that is cut into blocks.
    pub blocked: Level,
    /// Iterations of it that make a block.
    pub size: usize,
    /// Loops inside it.
    pub inner: Vec<Level>,
    /// Tiles of a full block.
    pub tiles: usize,
    /// Output channels of one group that are computed together.
    pub channels: usize,
    /// Elements of a transformed tile.
    pub elements: usize,
    /// Parts of a window, along all axes together: each has all input channels.
    pub parts: usize,
    /// Distances in the transformed input of two tiles, and of two elements of a tile.
    pub input: [usize; 2],
    /// The same in the products.
    pub output: [usize; 2],
}

impl Shape {
    /// The shape for tiles of `m` outputs and the plan's `block`.
    pub(crate) fn new(
        spec: &LayerSpec,
        geometry: &Geometry,
        m: usize,
        block: &[(Axis, usize)],
        parallel: Axis,
    ) -> Self {
        let axes = geometry.spatial.map(|a| TileAxis::new(&a, m));
        let batch = spec.fixed_batch();
        let image = block.iter().find(|b| b.0 != Axis::Oc);
        let (blocked, size) = match image {
            Some(&(axis, size)) => match spatial(axis) {
                Some(a) => (Level::Tile(a), (size / axes[a].m).max(1)),
                None => (Level::Batch, size),
            },
            None => (Level::Batch, batch.unwrap_or(1)),
        };
        let at = LEVELS.iter().position(|&l| l == blocked).unwrap_or(0);
        let count = |level: Level| match level {
            Level::Batch => batch,
            Level::Phase(a) => Some(axes[a].phases),
            Level::Tile(a) => Some(axes[a].tiles),
        };
        let runs =
            |levels: &[Level]| -> Vec<Level> { levels.iter().copied().filter(|&l| count(l) != Some(1)).collect() };
        let size = size.min(count(blocked).unwrap_or(size)).max(1);
        let mut outer: Vec<Outer> = runs(&LEVELS[..at]).into_iter().map(Outer::Each).collect();
        if count(blocked).is_none_or(|n| n > size) {
            outer.push(Outer::Blocks);
        }
        // What threads divide comes first.
        let lead = outer.iter().position(|&l| match l {
            Outer::Each(level) => is_along(level, parallel),
            Outer::Blocks => is_along(blocked, parallel),
        });
        if let Some(lead) = lead {
            let first = outer.remove(lead);
            outer.insert(0, first);
        }
        let inner = runs(&LEVELS[at + 1..]);
        let tiles = size * inner.iter().filter_map(|&l| count(l)).product::<usize>();
        let channels = block.iter().find(|b| b.0 == Axis::Oc).map_or(geometry.oc, |b| b.1).min(geometry.oc);
        let row = |channels: usize| {
            let pixel = channels.next_multiple_of(LINE);
            // An even number of lines would put the elements of a tile into few sets of the cache.
            [pixel, ((tiles.max(1) * pixel / LINE) | 1) * LINE]
        };
        let elements = axes.iter().map(|a| a.alpha).product();
        let parts = axes.iter().map(|a| a.parts).product::<usize>();
        let (input, output) = (row(spec.in_channels * parts), row(channels));
        Self {
            axes,
            batch,
            outer,
            divided: lead.is_some(),
            blocked,
            size,
            inner,
            tiles,
            channels,
            elements,
            parts,
            input,
            output,
        }
    }

    /// Iterations of a loop; `None` for a batch by name.
    pub(crate) fn count(&self, level: Level) -> Option<usize> {
        match level {
            Level::Batch => self.batch,
            Level::Phase(a) => Some(self.axes[a].phases),
            Level::Tile(a) => Some(self.axes[a].tiles),
        }
    }

    /// Iterations of a loop around a block; `None` for a batch by name.
    pub(crate) fn outer_count(&self, outer: Outer) -> Option<usize> {
        match outer {
            Outer::Each(level) => self.count(level),
            Outer::Blocks => self.count(self.blocked).map(|n| n.div_ceil(self.size)),
        }
    }

    /// The axis that a loop around a block runs along; `None` for phases.
    pub(crate) fn along(&self, outer: Outer) -> Option<Axis> {
        let level = match outer {
            Outer::Each(level) => level,
            Outer::Blocks => self.blocked,
        };
        Axis::ALL.iter().copied().find(|&axis| is_along(level, axis))
    }

    /// Tiles from one iteration of the `i`-th inner loop to the next.
    pub(crate) fn inner_step(&self, i: usize) -> usize {
        self.inner[i + 1..].iter().filter_map(|&l| self.count(l)).product()
    }

    /// Elements of a block of the transformed input.
    pub(crate) fn input_len(&self) -> usize {
        self.elements * self.input[1]
    }

    /// Elements of the products of a block.
    pub(crate) fn output_len(&self) -> usize {
        self.elements * self.output[1]
    }

    /// The axes whose windows have several taps, outermost first.
    pub(crate) fn transformed(&self) -> Vec<usize> {
        (0..3).filter(|&a| self.axes[a].is_transformed()).collect()
    }

    /// Distances of a tile's elements along each axis, `step` from one to the next.
    pub(crate) fn element_steps(&self, step: usize) -> [i64; 3] {
        let [_, h, w] = self.axes;
        [(h.alpha * w.alpha * step) as i64, (w.alpha * step) as i64, step as i64]
    }
}

/// Whether a loop runs over outputs along `axis`.
fn is_along(level: Level, axis: Axis) -> bool {
    match level {
        Level::Batch => axis == Axis::N,
        Level::Phase(_) => false,
        Level::Tile(a) => spatial(axis) == Some(a),
    }
}

/// The spatial axis that an axis of the output is.
pub(crate) fn spatial(axis: Axis) -> Option<usize> {
    match axis {
        Axis::Od => Some(0),
        Axis::Oh => Some(1),
        Axis::Ow => Some(2),
        Axis::N | Axis::G | Axis::Oc => None,
    }
}
