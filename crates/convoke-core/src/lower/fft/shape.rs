//! How rows are cut into blocks, and where everything is.

use super::passes::{Pass, passes};
use super::spectrum::FftPacking;
use crate::lower::geometry::Geometry;
use crate::plan::{Axis, TileShape};
use crate::spec::{DType, LayerSpec, SpatialAxis};

/// Bytes of a block up to which its passes come one after the other; beyond, the first two are taken together, column by column,
/// and the others part by part.
const NEAR_BYTES: usize = 16 << 10;
/// Parts of a block that is transformed part by part.
pub(crate) const PARTS: usize = 16;
/// Elements that places in `local` are multiples of.
const ALIGNED: usize = 16;

/// Elements of a block from whose first `outputs` windows of `taps` start: the least power of two that is enough, of two rows at least.
pub(crate) fn points(outputs: usize, taps: usize, lanes: usize) -> usize {
    outputs.saturating_add(taps - 1).checked_next_power_of_two().unwrap_or(usize::MAX).max(2 * lanes)
}

/// The rows of an image that are taken as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Elements from one row to the next.
    pub pitch: usize,
    /// Outputs of a row.
    pub columns: usize,
    /// Outputs of a column.
    pub rows: usize,
    /// Distance of the window's taps, along `h` and along `w`.
    pub dilation: [usize; 2],
}

impl Image {
    /// If the window has several rows.
    pub(crate) fn of(spec: &LayerSpec, geometry: &Geometry) -> Option<Self> {
        let [_, h, w] = &spec.spatial;
        let pitch = (geometry.src.spatial[1] / geometry.src.spatial[2]) as usize;
        let dilation = [h.dilation, w.dilation];
        (h.kernel > 1).then_some(Self { pitch, columns: w.output, rows: h.output, dilation })
    }
}

/// The blocks of a layer and the buffers of one iteration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub lanes: usize,
    /// Rows of a block: the length of a transform.
    pub rows: usize,
    /// Outputs from one block to the next: whole rows of lanes, or of the image.
    pub hop: usize,
    /// Whether the row is an image.
    pub image: Option<Image>,
    /// Distance of a block's neighbouring elements: the dilation. Where among so many neighbours a block is, is its phase.
    pub step: usize,
    pub phases: usize,
    /// Pairs of blocks that are transformed side by side.
    pub pairs: usize,
    /// Sets of so many pairs along a row; the last may reach past the output.
    pub sets: usize,
    /// Output channels of a product.
    pub channels: usize,
    /// Whether the transforms are taken part by part.
    pub parted: bool,
    /// Elements between parts that keep their rows out of the same sets of the cache.
    pub gap: usize,
    /// Input channels of a group, and output channels.
    pub ic: usize,
    pub oc: usize,
    pub w: SpatialAxis,
}

impl Shape {
    /// The shape for vectors of `lanes` and the plan's tile and `block`.
    pub(crate) fn new(
        spec: &LayerSpec,
        geometry: &Geometry,
        lanes: usize,
        tile: TileShape,
        block: &[(Axis, usize)],
    ) -> Self {
        let (w, dtype, image) = (geometry.spatial[2], spec.dtype, Image::of(spec, geometry));
        let size = |axis, default| block.iter().find(|b| b.0 == axis).map_or(default, |b| b.1).max(1);
        let (hop, outputs) = match image {
            Some(Image { pitch, columns, .. }) => {
                let rows = size(Axis::Oh, 1);
                (rows.saturating_mul(pitch), (rows - 1).saturating_mul(pitch).saturating_add(columns))
            }
            None => (size(Axis::Ow, lanes), size(Axis::Ow, lanes)),
        };
        let rows = points(outputs, w.kernel, lanes) / lanes;
        let phases = w.dilation.min(w.output).max(1);
        let blocks = w.output.div_ceil(w.dilation.max(1)).div_ceil(hop);
        let parted = rows >= PARTS * 4 && rows * 2 * lanes * dtype.bytes() > NEAR_BYTES;
        Self {
            lanes,
            rows,
            hop,
            image,
            step: w.dilation,
            phases,
            pairs: tile.vectors,
            sets: blocks.div_ceil(2 * tile.vectors.max(1)).max(1),
            channels: tile.rows.min(geometry.oc.max(1)),
            parted,
            gap: if parted { (2 * lanes).next_multiple_of(dtype.block()) } else { 0 },
            ic: geometry.ic,
            oc: geometry.oc,
            w,
        }
    }

    /// Inputs of a block.
    pub(crate) fn points(&self) -> usize {
        self.rows * self.lanes
    }

    /// The axis that is cut into blocks.
    pub(crate) fn axis(&self) -> Axis {
        if self.image.is_some() { Axis::Oh } else { Axis::Ow }
    }

    /// How many outputs or rows of outputs a block is.
    pub(crate) fn block(&self) -> usize {
        self.image.map_or(self.hop, |image| self.hop / image.pitch)
    }

    /// Outputs of a block.
    pub(crate) fn outputs(&self) -> usize {
        self.image.map_or(self.hop, |image| self.block() * image.columns)
    }

    /// Outputs from one set of a phase to the next.
    pub(crate) fn advance(&self) -> usize {
        2 * self.pairs * self.hop * self.step
    }

    /// Sets all of whose inputs lie within the image, whatever the phase.
    pub(crate) fn interior(&self) -> std::ops::Range<usize> {
        let first = self.w.pad_lo.div_ceil(self.advance());
        let reach = self.phases - 1 + ((2 * self.pairs - 1) * self.hop + self.points() - 1) * self.step;
        let room = (self.w.pad_lo + self.w.input).checked_sub(reach + 1);
        let end = room.map_or(0, |room| room / self.advance() + 1).min(self.sets);
        first.min(end)..end
    }

    /// The passes of a transform.
    pub(crate) fn passes(&self) -> Vec<Pass> {
        passes(self.rows)
    }

    pub(crate) fn packing(&self, dtype: DType) -> FftPacking {
        let taps = self.image.map_or([0, 1], |image| [image.dilation[0] * image.pitch, image.dilation[1]]);
        FftPacking { lanes: self.lanes, rows: self.rows, bytes: dtype.bytes(), taps }
    }

    /// Rows of a part; all, if there are no parts.
    pub(crate) fn part(&self) -> usize {
        if self.parted { self.rows / PARTS } else { self.rows }
    }

    /// Elements from one row of a transformed block to the next: real parts, then imaginary ones.
    pub(crate) fn row(&self) -> usize {
        2 * self.lanes
    }

    /// Elements from one part of a transformed block to the next.
    pub(crate) fn part_step(&self) -> usize {
        self.part() * self.row() + self.gap
    }

    /// Elements of a transformed pair of blocks.
    pub(crate) fn work(&self) -> usize {
        let parts = if self.parted { PARTS } else { 1 };
        (parts * self.part_step()).next_multiple_of(ALIGNED)
    }

    /// Elements of a pair of blocks before it is transformed, one after the other, and what keeps them apart in the cache.
    pub(crate) fn line(&self) -> usize {
        self.points() + 2 * ALIGNED
    }

    /// Whether the products replace the transformed input.
    pub(crate) fn in_place(&self) -> bool {
        self.ic == 1 && self.oc == 1
    }

    /// Where in `local` the transformed input is, behind the two lines.
    pub(crate) fn input_at(&self) -> usize {
        (2 * self.line()).next_multiple_of(ALIGNED)
    }

    /// Where in `local` the products are.
    pub(crate) fn products_at(&self) -> usize {
        self.input_at() + if self.in_place() { 0 } else { self.ic * self.pairs * self.work() }
    }

    /// Elements of `local`.
    pub(crate) fn local(&self) -> usize {
        self.products_at() + self.channels * self.pairs * self.work()
    }
}
