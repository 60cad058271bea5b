//! The nest that copies the input to `scratch`, as the tiles want to read it.
//!
//! Along each axis the copy has the padding written out as zeros, or, where the window is one tap wide, only the elements
//! that outputs read. Its channels lie as those of the input or, transposed, side by side.
//!
//! One iteration writes one row of pixels: zeros first if there is padding, then the data over them.

use super::emit::Emitter;
use super::geometry::{Geometry, View};
use super::phases::{self, PhaseRun};
use crate::ir::{
    Address, Affine, Arg, Call, CeilDiv, Extent, Kernel, Loop, Nest, Ptr, Range, Reg, Role, Stmt, Tile, Var,
};
use crate::spec::{Batch, LayerSpec, Operation, SpatialAxis};

const SRC: Ptr = Ptr(0);
const SCRATCH: Ptr = Ptr(1);
/// Vectors that one iteration of a copy moves.
const UNROLL: usize = 4;

/// An axis from the input to the copy: element `i` of the copy is element `i * step - pad_lo` of the input, or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedAxis {
    /// Elements of the copy.
    pub size: usize,
    pub step: usize,
    pub pad_lo: usize,
    /// Elements of the input.
    pub input: usize,
}

impl PackedAxis {
    /// How `axis` is copied; of a transposed layer with the zeros that any of its phases reaches.
    pub(crate) fn of(operation: Operation, axis: &SpatialAxis) -> Self {
        let (pad_lo, input) = (axis.pad_lo, axis.input);
        if operation == Operation::Transposed {
            let (pad_lo, pad_hi) = phases::padding(axis);
            return Self { size: pad_lo + input + pad_hi, step: 1, pad_lo, input };
        }
        if axis.kernel == 1 {
            return Self { size: axis.output, step: axis.stride, pad_lo, input };
        }
        Self { size: pad_lo + input + axis.pad_hi, step: 1, pad_lo, input }
    }

    /// The axis as tiles that read the copy see it, and which element of the copy is its first.
    pub(crate) fn seen(self, run: &PhaseRun) -> (usize, SpatialAxis) {
        let axis = run.axis;
        let (input, stride) = match axis.kernel {
            1 => (axis.output, 1),
            _ => (axis.pad_lo + axis.input + axis.pad_hi, axis.stride),
        };
        (self.pad_lo + run.first - axis.pad_lo, SpatialAxis { input, pad_lo: 0, pad_hi: 0, stride, ..axis })
    }

    /// Whether the copy differs from the input.
    pub(crate) fn changes(self) -> bool {
        self.size != self.input || self.step != 1 || self.pad_lo != 0
    }

    /// The elements of the copy that are elements of the input.
    fn data(self) -> std::ops::Range<usize> {
        let lo = self.pad_lo.div_ceil(self.step).min(self.size);
        let hi = (self.pad_lo + self.input).div_ceil(self.step).min(self.size);
        lo..hi.max(lo)
    }
}

/// A loop of the nest: how often, and the steps of `src` and `scratch`.
struct Level {
    name: &'static str,
    count: Affine,
    src: i64,
    scratch: i64,
    /// The axis, where some of its elements are padding.
    padded: Option<PackedAxis>,
}

/// Appends the nest.
pub(crate) fn nest(spec: &LayerSpec, geometry: &Geometry, kernel: &mut Kernel) {
    let (src, scratch) = (View::of_src(spec), geometry.src);
    let [d, h, w] = spec.spatial.map(|a| PackedAxis::of(spec.operation, &a));
    let batch = match spec.batch {
        Batch::Fixed(n) => Affine::constant(n as i64),
        Batch::Named(_) => Affine::var(Var::BATCH, 1),
    };
    let mut levels = vec![Level { name: "n", count: batch, src: src.n, scratch: scratch.n, padded: None }];
    let transposed = src.lanes != scratch.lanes;
    if !transposed {
        let count = Affine::constant(src.planes as i64);
        levels.push(Level { name: "c", count, src: src.plane, scratch: scratch.plane, padded: None });
    }
    // The strides of the copy are those of the whole spatial sizes, which a pointwise layer's view has joined.
    let row = w.size as i64 * scratch.lanes as i64;
    for (name, axis, src, scratch) in [("id", d, src.spatial[0], row * h.size as i64), ("ih", h, src.spatial[1], row)] {
        let padded = (axis.data() != (0..axis.size)).then_some(axis);
        levels.push(Level {
            name,
            count: Affine::constant(axis.size as i64),
            src: src * axis.step as i64,
            scratch,
            padded,
        });
    }
    // An axis of one element needs no loop, unless it is the only one left or has padding to tell apart.
    let last = levels.len() - 1;
    let mut kept: Vec<Level> = Vec::new();
    for (i, level) in levels.into_iter().enumerate() {
        if level.count.as_constant() != Some(1) || level.padded.is_some() || (i == last && kept.is_empty()) {
            kept.push(level);
        }
    }
    let ranges: Vec<(String, i64)> =
        kept.iter().filter_map(|l| l.padded.map(|axis| (l.name.to_owned(), l.src / axis.step as i64))).collect();
    let copy = Copy { spec, src, scratch, w, lanes: kernel.lanes() };
    let tile = copy.tile(kernel, ranges, row);
    kernel.tiles.push(tile);
    let outer = build(kernel, &kept);
    kernel.nests.push(Nest { label: "pack".to_owned(), outer });
}

/// A row of the copy.
struct Copy<'a> {
    spec: &'a LayerSpec,
    src: View,
    scratch: View,
    w: PackedAxis,
    /// Elements a vector.
    lanes: usize,
}

impl Copy<'_> {
    /// Writes a row: zeros first, then the data over them if the row has any. `ranges` are empty in rows of padding; their
    /// numbers are the steps of `src`.
    fn tile(&self, kernel: &Kernel, ranges: Vec<(String, i64)>, row: i64) -> Tile {
        let mut e = Emitter::new(self.spec.dtype, kernel.fma);
        if !ranges.is_empty() || self.w.data() != (0..self.w.size) {
            e.constant(Reg(0), 0.0);
            self.stream(&mut e, row, |e, offset, lanes| {
                e.store(Address { ptr: SCRATCH, offset }, Reg(0), lanes, 1);
            });
        }
        let steps: Vec<i64> = ranges.iter().map(|r| r.1).collect();
        data(&mut e, &steps, 0, &mut |e| self.data(e));
        let (body, registers) = e.finish();
        let pointers = vec!["src".to_owned(), "scratch".to_owned()];
        let ranges = ranges.into_iter().map(|r| r.0).collect();
        Tile { name: format!("{}_pack", kernel.name), pointers, ranges, registers, body }
    }

    /// The data of a row.
    fn data(&self, e: &mut Emitter) {
        let data = self.w.data();
        if data.is_empty() {
            return;
        }
        let step = self.w.step as i64;
        let from = (data.start as i64 * step - self.w.pad_lo as i64) * self.src.spatial[2];
        let to = data.start as i64 * self.scratch.lanes as i64;
        let pixels = data.len();
        let lanes = self.src.lanes;
        if lanes == self.scratch.lanes && step == 1 {
            return self.stream(e, (pixels * lanes) as i64, |e, offset, n| {
                e.load(Reg(0), Address { ptr: SRC, offset: from + offset }, n, 1);
                e.store(Address { ptr: SCRATCH, offset: to + offset }, Reg(0), n, 1);
            });
        }
        if lanes == 1 {
            return self.transpose(e, pixels, (from, to));
        }
        // Pixels of `lanes` channels, plane by plane.
        let (read, write) = (step * self.src.spatial[2], self.scratch.lanes as i64);
        let planes = if lanes == self.scratch.lanes { 1 } else { self.src.planes };
        for plane in 0..planes {
            let used = lanes.min(self.spec.in_channels - plane * lanes);
            let (from, to) = (from + plane as i64 * self.src.plane, to + (plane * lanes) as i64);
            e.repeat(Extent::Count(pixels as u64), &[(SRC, read), (SCRATCH, write)], |e| {
                self.stream(e, used as i64, |e, offset, n| {
                    e.load(Reg(0), Address { ptr: SRC, offset: from + offset }, n, 1);
                    e.store(Address { ptr: SCRATCH, offset: to + offset }, Reg(0), n, 1);
                });
            });
        }
    }

    /// Channels first to wherever they go: vectors of pixels where channels are few or stay apart, else vectors of channels, a
    /// cache line of them at a time.
    fn transpose(&self, e: &mut Emitter, pixels: usize, (from, to): (i64, i64)) {
        let (step, pixel) = (self.w.step as i64, self.scratch.lanes as i64);
        let channels = if self.scratch.lanes == 1 { 1 } else { self.src.planes };
        let copy = |e: &mut Emitter, (from, read): (i64, i64), (to, write): (i64, i64), n: usize| {
            e.load(Reg(0), Address { ptr: SRC, offset: from }, n, read);
            e.store(Address { ptr: SCRATCH, offset: to }, Reg(0), n, write);
        };
        if channels < self.lanes {
            let of_channels = |e: &mut Emitter, n: usize, first: usize| {
                for c in 0..channels as i64 {
                    let from = from + first as i64 * step + c * self.src.plane;
                    copy(e, (from, step), (to + first as i64 * pixel + c, pixel), n);
                }
            };
            return self.vectors(e, pixels, self.lanes, (step, pixel), of_channels);
        }
        let line = self.spec.dtype.block();
        self.vectors(e, channels, line, (self.src.plane, 1), |e, n, first| {
            e.repeat(Extent::Count(pixels as u64), &[(SRC, step), (SCRATCH, pixel)], |e| {
                for at in (0..n).step_by(self.lanes) {
                    let c = (first + at) as i64;
                    copy(e, (from + c * self.src.plane, self.src.plane), (to + c, 1), self.lanes.min(n - at));
                }
            });
        });
    }

    /// Calls `body` with `run` of `count` elements that lie `src` and `scratch` apart, in a loop, and with the rest: how many,
    /// and the first of them from the pointers on.
    fn vectors(
        &self,
        e: &mut Emitter,
        count: usize,
        run: usize,
        (src, scratch): (i64, i64),
        body: impl Fn(&mut Emitter, usize, usize),
    ) {
        let (full, rest) = (count / run, count % run);
        if full > 0 {
            let steps = [(SRC, run as i64 * src), (SCRATCH, run as i64 * scratch)];
            e.repeat(Extent::Count(full as u64), &steps, |e| body(e, run, 0));
        }
        if rest > 0 {
            body(e, rest, full * run);
        }
    }

    /// Calls `at` for every vector of `len` elements, in a loop of [`UNROLL`] vectors where there are enough.
    fn stream(&self, e: &mut Emitter, len: i64, mut at: impl FnMut(&mut Emitter, i64, usize)) {
        let lanes = self.lanes as i64;
        let round = lanes * UNROLL as i64;
        let rounds = len / round;
        if rounds > 0 {
            e.repeat(Extent::Count(rounds as u64), &[(SRC, round), (SCRATCH, round)], |e| {
                for i in 0..UNROLL as i64 {
                    at(e, i * lanes, self.lanes);
                }
            });
        }
        let mut offset = rounds * round;
        while offset < len {
            let n = lanes.min(len - offset);
            at(e, offset, n as usize);
            offset += n;
        }
    }
}

/// Loops that run once where the row holds data and not at all where it is padding.
fn data(e: &mut Emitter, steps: &[i64], range: u32, body: &mut dyn FnMut(&mut Emitter)) {
    match steps.split_first() {
        None => body(e),
        Some((&step, rest)) => {
            e.repeat(Extent::Range(range), &[(SRC, step)], |e| data(e, rest, range + 1, body));
        }
    }
}

/// The loops of `levels` around the call.
fn build(kernel: &mut Kernel, levels: &[Level]) -> Loop {
    let mut src = Affine::constant(0);
    let mut scratch = Affine::constant(0);
    let mut ranges = Vec::new();
    let mut vars = Vec::new();
    for level in levels {
        kernel.vars.push(format!("{}_pack", level.name));
        let var = Var(kernel.vars.len() as u32 - 1);
        vars.push(var);
        src = src.plus(var, level.src);
        scratch = scratch.plus(var, level.scratch);
        if let Some(PackedAxis { step, pad_lo, input, .. }) = level.padded {
            // The one iteration i = 0 lies in the range where 0 <= var * step - pad_lo < input; counting the source
            // from there on keeps the offset within the buffer for every i of the range.
            let (step, pad, input) = (step as i64, pad_lo as i64, input as i64);
            src = src.offset(-pad * (level.src / step));
            let before = Affine::var(var, -step).offset(pad);
            let behind = Affine::var(var, -step).offset(pad + input);
            ranges.push(Range {
                lo: vec![CeilDiv::constant(0), CeilDiv::whole(before)],
                hi: vec![CeilDiv::constant(1), CeilDiv::whole(behind)],
            });
        }
    }
    let args = vec![Arg { role: Role::Src, offset: src }, Arg { role: Role::Scratch, offset: scratch }];
    let call = Call { tile: kernel.tiles.len() - 1, args, ranges };
    let mut nested = vec![Stmt::Call(call)];
    for (level, &var) in levels.iter().zip(&vars).skip(1).rev() {
        let range = Range::of(Affine::constant(0), level.count.clone());
        nested = vec![Stmt::For(Loop { var, range, parallel: false, body: nested })];
    }
    let range = Range::of(Affine::constant(0), levels[0].count.clone());
    Loop { var: vars[0], range, parallel: true, body: nested }
}
