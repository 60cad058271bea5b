//! Deformable layers: the input as the moved taps see it, a block of rows at a time, and a convolution over that.
//!
//! For a block of output rows a nest writes what each tap of each output is to `local`, bilinearly between the elements around its
//! position: *columns*, `[ic][kh][rows][kw][ow]`. In that a row of outputs is a row, and taps are as far apart as a block has rows and a row
//! has pixels: a convolution that is dilated by so much, whose tiles are those of any other.
//!
//! A vector is pixels of a row. Positions are those without offsets, which lie behind the packed weights
//! (see [`WeightsPacking`](super::weights::WeightsPacking)), and the offsets; one rounding makes them, so that they are the same everywhere.
//! Beyond the input they are taken to be just beyond, where no corner is in it. A corner that is not gets the index of no element.

use super::emit::Emitter;
use super::geometry::Geometry;
use super::nests::new_var;
use super::weights::WeightsPacking;
use crate::ir::{
    Address, Affine, Arg, BinaryOp, Call, CeilDiv, Conversion, Extent, Kernel, Loop, Ptr, Range, Reg, Role, Stmt, Tile,
};
use crate::plan::{Algorithm, Axis, Plan};
use crate::spec::{LayerSpec, Layout, SpatialAxis};
use crate::target::Target;

/// Rows of a block.
pub(super) fn rows(plan: &Plan) -> usize {
    plan.block.iter().find(|b| b.0 == Axis::Oh).map_or(1, |b| b.1)
}

/// The axes of the convolution over columns of `rows` rows, and the sizes of a channel of them.
pub(super) fn columns(spec: &LayerSpec, rows: usize) -> ([SpatialAxis; 3], [usize; 3]) {
    let [_, h, w] = &spec.spatial;
    let rows = rows.min(h.output);
    let axis = |a: &SpatialAxis, distance: usize| {
        let input = (a.kernel - 1) * distance + a.output;
        SpatialAxis { input, output: a.output, kernel: a.kernel, dilation: distance, ..SpatialAxis::UNIT }
    };
    ([SpatialAxis::UNIT, axis(h, rows), axis(w, w.output)], [1, h.kernel * rows, w.kernel * w.output])
}

/// Has `geometry`, which is that of single rows, be that of blocks of `rows`.
pub(super) fn fit_columns(spec: &LayerSpec, rows: usize, geometry: &mut Geometry) {
    let (spatial, [_, height, width]) = columns(spec, rows);
    geometry.spatial = spatial;
    geometry.src.plane = (height * width) as i64;
    geometry.src.n = geometry.src.plane * geometry.src.planes as i64;
    geometry.src.spatial = [geometry.src.plane, width as i64, 1];
}

/// Elements of the columns of one row.
pub(crate) fn column(spec: &LayerSpec) -> usize {
    spec.in_channels * spec.taps() * spec.spatial[2].output
}

/// Cycles to make the columns of one image, about: a few for each position, and a load for each corner of each channel.
pub(crate) fn cycles(spec: &LayerSpec, target: &Target) -> f64 {
    const POSITION: f64 = 40.0;
    const CORNERS: f64 = 4.0;
    let lanes = target.lanes(spec.dtype.bytes());
    let vectors = (spec.spatial[1].output * spec.spatial[2].output.div_ceil(lanes) * spec.taps()) as f64;
    let elements = (CORNERS * lanes as f64 / target.loads_per_cycle as f64 + CORNERS) * spec.in_channels as f64;
    vectors * (spec.offset_groups as f64 * POSITION + elements)
}

/// The loops that fill `local` for the rows from `place[1]` on of image `place[0]`: of a block, or one row.
pub(super) fn nests(
    spec: &LayerSpec,
    plan: &Plan,
    geometry: &Geometry,
    kernel: &mut Kernel,
    place: &[Affine; 2],
    blocked: bool,
) -> Vec<Stmt> {
    let sampler = Sampler { spec, geometry, lanes: kernel.lanes() };
    let name = format!("{}_columns", kernel.name);
    let tile = kernel.tiles.iter().position(|t| t.name == name).unwrap_or_else(|| {
        kernel.tiles.push(sampler.tile(kernel.fma, name));
        kernel.tiles.len() - 1
    });
    let [_, h, w] = &spec.spatial;
    let block = rows(plan).min(h.output) as i64;
    let range = match blocked {
        true => {
            let left = Affine::constant(h.output as i64).plus_scaled(&place[1], -1);
            Range { lo: vec![CeilDiv::constant(0)], hi: vec![CeilDiv::constant(block), CeilDiv::whole(left)] }
        }
        false => Range::count(block),
    };
    let [row, set, kh, kw] = ["row", "set", "kh", "kw"].map(|name| new_var(kernel, name));
    let at = |row_step: i64, set_step: i64, kh_step: i64, kw_step: i64| {
        Affine::var(row, row_step).plus(set, set_step).plus(kh, kh_step).plus(kw, kw_step)
    };
    let taps = (h.kernel * w.kernel) as i64;
    let [oh, ow, kernel_w] = [h.output as i64, w.output as i64, w.kernel as i64];
    // Of a tensor of as many channels in the layer's layout: of an image, a channel, a row.
    let steps = |channels: usize, channel: i64| {
        let image = Affine::default().plus_scaled(&place[0], channels as i64 * oh * ow);
        match spec.layout {
            Layout::ChannelsLast => {
                let row_step = ow * channels as i64;
                image
                    .plus_scaled(&place[1], row_step)
                    .plus_scaled(&at(row_step, channel * taps, channel * kernel_w, channel), 1)
            }
            _ => {
                let plane = channel * oh * ow;
                image.plus_scaled(&place[1], ow).plus_scaled(&at(ow, plane * taps, plane * kernel_w, plane), 1)
            }
        }
    };
    let channels = (spec.in_channels / spec.offset_groups) as i64;
    let src = sampler.src_steps();
    let columns = &geometry.src;
    let [down, across] = WeightsPacking::new(spec, Algorithm::Deformable).positions_at().map(|at| at as i64);
    let mut args = vec![
        Arg {
            role: Role::Src,
            offset: Affine::default().plus_scaled(&place[0], spec.src_image() as i64).plus(set, channels * src.channel),
        },
        Arg { role: Role::Offset, offset: steps(spec.offset_channels(), 2) },
        Arg { role: Role::Weights, offset: place[1].clone().plus(row, 1).plus(kh, oh).offset(down) },
        Arg { role: Role::Weights, offset: Affine::var(kw, ow).offset(across) },
        Arg {
            role: Role::Local,
            offset: at(columns.spatial[1], channels * columns.plane, block * columns.spatial[1], ow),
        },
    ];
    if spec.mask {
        args.push(Arg { role: Role::Mask, offset: steps(spec.mask_channels(), 1) });
    }
    let call = Stmt::Call(Call { tile, args, ranges: Vec::new() });
    let counts = [(set, spec.offset_groups as i64), (kh, h.kernel as i64), (kw, w.kernel as i64)];
    let inner = counts.into_iter().rev().fold(call, |body, (var, count)| {
        Stmt::For(Loop { var, range: Range::count(count), parallel: false, body: vec![body] })
    });
    vec![Stmt::For(Loop { var: row, range, parallel: false, body: vec![inner] })]
}

const SRC: Ptr = Ptr(0);
const OFFSET: Ptr = Ptr(1);
const DOWN: Ptr = Ptr(2);
const ACROSS: Ptr = Ptr(3);
const COLUMNS: Ptr = Ptr(4);
const MASK: Ptr = Ptr(5);

/// Below every position, in both axes together too.
const NOWHERE: f64 = -1_073_741_824.0;

/// Distances in the input.
struct SrcSteps {
    channel: i64,
    row: i64,
    pixel: i64,
    /// From the first element of a channel to behind its last.
    span: u32,
}

/// Writes the tile that fills a row of one tap for the channels of one set of offsets.
struct Sampler<'a> {
    spec: &'a LayerSpec,
    geometry: &'a Geometry,
    lanes: usize,
}

impl Sampler<'_> {
    fn src_steps(&self) -> SrcSteps {
        let [_, h, w] = &self.spec.spatial;
        let (plane, width) = ((h.input * w.input) as i64, w.input as i64);
        let channels = self.spec.in_channels as i64;
        match self.spec.layout {
            Layout::ChannelsLast => {
                let span = ((plane - 1) * channels + 1) as u32;
                SrcSteps { channel: 1, row: width * channels, pixel: channels, span }
            }
            _ => SrcSteps { channel: plane, row: width, pixel: 1, span: plane as u32 },
        }
    }

    /// Distances of two pixels in `offset` and in `mask`, and of the offset along `w` from that along `h`.
    fn offset_steps(&self) -> [i64; 3] {
        let [_, h, w] = &self.spec.spatial;
        match self.spec.layout {
            Layout::ChannelsLast => [self.spec.offset_channels() as i64, self.spec.mask_channels() as i64, 1],
            _ => [1, 1, (h.output * w.output) as i64],
        }
    }

    fn tile(&self, fma: bool, name: String) -> Tile {
        let mut e = Emitter::new(self.spec.dtype, fma);
        let ow = self.spec.spatial[2].output;
        let (full, rest) = (ow / self.lanes, ow % self.lanes);
        let lanes = self.lanes as i64;
        let [offset, mask, _] = self.offset_steps();
        let mut steps = vec![(OFFSET, offset * lanes), (ACROSS, lanes), (COLUMNS, lanes)];
        if self.spec.mask {
            steps.push((MASK, mask * lanes));
        }
        if full > 0 {
            e.repeat(Extent::Count(full as u64), &steps, |e| self.pixels(e, 0, self.lanes));
        }
        if rest > 0 {
            self.pixels(&mut e, full as i64 * lanes, rest);
        }
        let (body, registers) = e.finish();
        let mut pointers = vec!["src", "offset", "down", "across", "columns"];
        if self.spec.mask {
            pointers.push("mask");
        }
        let pointers = pointers.into_iter().map(str::to_owned).collect();
        Tile { name, pointers, ranges: Vec::new(), registers, body }
    }

    /// `lanes` pixels, from `first` on: where their corners are and what these weigh, and then every channel.
    fn pixels(&self, e: &mut Emitter, first: i64, lanes: usize) {
        let r = Reg;
        let [pixel, mask_pixel, other] = self.offset_steps();
        let src = self.src_steps();
        let [_, h, w] = &self.spec.spatial;
        let at = |ptr: Ptr, offset: i64| Address { ptr, offset };
        let (position, moved) = (r(8), r(9));

        e.broadcast(position, at(DOWN, 0));
        e.load(moved, at(OFFSET, first * pixel), lanes, pixel);
        e.binary(BinaryOp::Add, position, position, moved);
        corners(e, h.input, src.row, [r(0), r(1), r(4), r(5)]);
        e.load(position, at(ACROSS, first), lanes, 1);
        e.load(moved, at(OFFSET, first * pixel + other), lanes, pixel);
        e.binary(BinaryOp::Add, position, position, moved);
        corners(e, w.input, src.pixel, [r(2), r(3), r(6), r(7)]);
        let factor = r(13);
        if self.spec.mask {
            e.load(factor, at(MASK, first * mask_pixel), lanes, mask_pixel);
        }
        for (corner, [y, x]) in [[0, 2], [0, 3], [1, 2], [1, 3]].into_iter().enumerate() {
            let index = r(8 + corner as u32);
            e.binary(BinaryOp::Add, index, r(y), r(x));
            e.convert(Conversion::Int, index, index);
        }
        for (corner, [y, x]) in [[4, 6], [4, 7], [5, 6], [5, 7]].into_iter().enumerate() {
            e.binary(BinaryOp::Mul, r(corner as u32), r(y), r(x));
        }
        let channels = (self.spec.in_channels / self.spec.offset_groups) as u64;
        let steps = [(SRC, src.channel), (COLUMNS, self.geometry.src.plane)];
        e.repeat(Extent::Count(channels), &steps, |e| {
            let sum = r(12);
            for corner in 0..4 {
                e.gather(r(4 + corner), r(8 + corner), at(SRC, 0), src.span);
            }
            e.binary(BinaryOp::Mul, sum, r(4), r(0));
            for corner in 1..4 {
                e.multiply_add(sum, r(4 + corner), r(corner), sum, r(4 + corner));
            }
            if self.spec.mask {
                e.binary(BinaryOp::Mul, sum, sum, factor);
            }
            e.store(at(COLUMNS, first), sum, lanes, 1);
        });
    }
}

/// Of the positions in register 8 along an axis: where the elements before and behind are, times `step`, or nowhere, and what these weigh.
fn corners(e: &mut Emitter, size: usize, step: i64, [before, behind, near, far]: [Reg; 4]) {
    let [position, whole, bound, other] = [8, 9, 10, 11].map(Reg);
    // A NaN stays one.
    e.constant(bound, -2.0);
    e.binary(BinaryOp::Max, position, bound, position);
    e.constant(bound, size as f64);
    e.binary(BinaryOp::Min, position, bound, position);
    e.convert(Conversion::Int, whole, position);
    e.convert(Conversion::Float, whole, whole);
    e.constant(bound, 1.0);
    e.binary(BinaryOp::Sub, other, whole, bound);
    e.select(whole, whole, position, other, whole);
    e.binary(BinaryOp::Sub, far, position, whole);
    e.binary(BinaryOp::Sub, near, bound, far);
    e.binary(BinaryOp::Add, behind, whole, bound);
    e.constant(other, NOWHERE);
    for (index, from) in [(before, whole), (behind, behind)] {
        e.constant(bound, -0.5);
        e.select(index, from, bound, from, other);
        e.constant(bound, size as f64 - 0.5);
        e.select(index, index, bound, other, index);
    }
    if step != 1 {
        e.constant(bound, step as f64);
        e.binary(BinaryOp::Mul, before, before, bound);
        e.binary(BinaryOp::Mul, behind, behind, bound);
    }
}

#[cfg(test)]
#[path = "deformable_tests.rs"]
mod tests;
