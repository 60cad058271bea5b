//! The nest that copies the input to `scratch`, as the tiles want to read it.
//!
//! Along each axis the copy has the padding written out as zeros, or, where the window is one tap wide, only the elements
//! that outputs read. Its channels lie as those of the input or, transposed, side by side.
//!
//! One iteration writes one row of pixels: zeros, or the constant that stands for the padding, first if there is any, then the
//! data over them. Padding that elements of the input stand for is made of [`Run`]s of them: rows at the borders are copied from
//! the rows that they repeat, and so are the pixels at a row's ends.

use super::emit::Emitter;
use super::geometry::{Geometry, View};
use super::nests::new_var;
use super::pairs;
use super::phases::{self, PhaseRun};
use crate::ir::{
    Address, Affine, Arg, Call, CeilDiv, Extent, Kernel, Loop, Nest, Ptr, Range, Reg, Role, Stmt, Tile, Var,
};
use crate::spec::{Batch, LayerSpec, Operation, PaddingMode, SpatialAxis};

pub(super) const SRC: Ptr = Ptr(0);
pub(super) const SCRATCH: Ptr = Ptr(1);
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
    pub(super) fn data(self) -> std::ops::Range<usize> {
        let lo = self.pad_lo.div_ceil(self.step).min(self.size);
        let hi = (self.pad_lo + self.input).div_ceil(self.step).min(self.size);
        lo..hi.max(lo)
    }

    /// The copy as runs of elements of the input, in order; without its padding if no elements stand for that.
    pub(super) fn runs(self, mode: PaddingMode) -> Vec<Run> {
        let (step, last) = (self.step as i64, self.input as i64 - 1);
        let position = |i: usize| i as i64 * step - self.pad_lo as i64;
        let data = self.data();
        let side = |range: std::ops::Range<usize>, before: bool| {
            let at = position(range.start);
            let (from, step) = match mode {
                PaddingMode::Zeros | PaddingMode::Constant(_) => return None,
                PaddingMode::Reflect if before => (-at, -step),
                PaddingMode::Reflect => (2 * last - at, -step),
                PaddingMode::Replicate => (if before { 0 } else { last }, 0),
                PaddingMode::Circular if before => (at + last + 1, step),
                PaddingMode::Circular => (at - last - 1, step),
            };
            Some(Run { start: range.start, count: range.len(), from, step })
        };
        let inside = Run { start: data.start, count: data.len(), from: position(data.start), step };
        let all = [side(0..data.start, true), Some(inside), side(data.end..self.size, false)];
        all.into_iter().flatten().filter(|run| run.count > 0).collect()
    }
}

/// Neighbouring elements of the copy that come from elements of the input at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First element of the copy.
    pub(super) start: usize,
    pub(super) count: usize,
    /// The element of the input that it is,
    pub(super) from: i64,
    /// and how much further the next one is: 0 repeats it, a negative number goes backwards.
    pub(super) step: i64,
}

/// Loops of the nest along one axis, one after the other; each knows what runs inside.
struct Level {
    name: &'static str,
    parts: Vec<Part>,
    /// The axis, where some of its elements are padding that no element of the input stands for.
    padded: Option<PackedAxis>,
}

/// One of these loops: how often, and where it starts and what its steps are in `src` and `scratch`.
struct Part {
    count: Affine,
    src: (i64, i64),
    scratch: (i64, i64),
}

impl Part {
    fn whole(count: Affine, src: i64, scratch: i64) -> Self {
        Self { count, src: (0, src), scratch: (0, scratch) }
    }

    /// A run along an axis whose elements lie `src` and `scratch` apart.
    fn of(run: &Run, src: i64, scratch: i64) -> Self {
        Self {
            count: Affine::constant(run.count as i64),
            src: (run.from * src, run.step * src),
            scratch: (run.start as i64 * scratch, scratch),
        }
    }

    /// Whether it needs no loop.
    fn is_nothing(&self) -> bool {
        self.count.as_constant() == Some(1) && self.src.0 == 0 && self.scratch.0 == 0
    }
}

/// Appends the nest.
pub(crate) fn nest(spec: &LayerSpec, geometry: &Geometry, kernel: &mut Kernel) {
    let (src, scratch) = (View::of_src(spec), geometry.src);
    let [d, h, w] = spec.spatial.map(|a| PackedAxis::of(spec.operation, &a));
    let batch = match spec.batch {
        Batch::Fixed(n) => Affine::constant(n as i64),
        Batch::Named(_) => Affine::var(Var::BATCH, 1),
    };
    let mode = spec.padding_mode;
    let level = |name, part| Level { name, parts: vec![part], padded: None };
    let mut levels = vec![level("n", Part::whole(batch, src.n, scratch.n))];
    let transposed = src.lanes != scratch.lanes;
    if !transposed && spec.integers.is_none() {
        levels.push(level("c", Part::whole(Affine::constant(src.planes as i64), src.plane, scratch.plane)));
    }
    // The strides of the copy are those of the whole spatial sizes, which a pointwise layer's view has joined.
    let row = w.size as i64 * scratch.lanes as i64;
    for (name, axis, src, scratch) in [("id", d, src.spatial[0], row * h.size as i64), ("ih", h, src.spatial[1], row)] {
        if mode.is_copied() {
            let parts = axis.runs(mode).iter().map(|run| Part::of(run, src, scratch)).collect();
            levels.push(Level { name, parts, padded: None });
            continue;
        }
        let padded = (axis.data() != (0..axis.size)).then_some(axis);
        let count = Affine::constant(axis.size as i64);
        levels.push(Level { padded, ..level(name, Part::whole(count, src * axis.step as i64, scratch)) });
    }
    // An axis of one element needs no loop, unless it is the only one left or has padding to tell apart.
    let last = levels.len() - 1;
    let mut kept: Vec<Level> = Vec::new();
    for (i, level) in levels.into_iter().enumerate() {
        let nothing = level.padded.is_none() && level.parts.len() == 1 && level.parts[0].is_nothing();
        if !nothing || (i == last && kept.is_empty()) {
            kept.push(level);
        }
    }
    let ranges: Vec<(String, i64)> = kept
        .iter()
        .filter_map(|l| l.padded.map(|axis| (l.name.to_owned(), l.parts[0].src.1 / axis.step as i64)))
        .collect();
    let copy = Copy { spec, src, scratch, w, lanes: kernel.lanes() };
    let tile = match &spec.integers {
        Some(integers) => {
            let lanes = pairs::Lanes { copy: &copy, integers, lanes: geometry.ic, per: geometry.lane_channels };
            lanes.tile(kernel, ranges, row)
        }
        None => copy.tile(kernel, ranges, row),
    };
    kernel.tiles.push(tile);
    let start = Start { src: Affine::constant(0), scratch: Affine::constant(0), ranges: Vec::new() };
    for stmt in build(kernel, &kept, start) {
        if let Stmt::For(outer) = stmt {
            kernel.nests.push(Nest { label: "pack".to_owned(), outer: Loop { parallel: true, ..outer } });
        }
    }
}

/// A row of the copy.
pub(super) struct Copy<'a> {
    pub(super) spec: &'a LayerSpec,
    pub(super) src: View,
    pub(super) scratch: View,
    pub(super) w: PackedAxis,
    /// Elements a vector.
    pub(super) lanes: usize,
}

impl Copy<'_> {
    /// Writes a row: what stands in the padding first, then the data over them if the row has any. `ranges` are empty in rows of padding; their
    /// numbers are the steps of `src`.
    fn tile(&self, kernel: &Kernel, ranges: Vec<(String, i64)>, row: i64) -> Tile {
        let mut e = Emitter::new(self.spec.dtype, kernel.fma);
        let mode = self.spec.padding_mode;
        if !mode.is_copied() && (!ranges.is_empty() || self.w.data() != (0..self.w.size)) {
            e.constant(Reg(0), self.spec.padding_value());
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
        self.w.runs(self.spec.padding_mode).iter().for_each(|run| self.run(e, run));
    }

    fn run(&self, e: &mut Emitter, run: &Run) {
        let step = run.step;
        let from = run.from * self.src.spatial[2];
        let to = run.start as i64 * self.scratch.lanes as i64;
        let pixels = run.count;
        let lanes = self.src.lanes;
        if lanes == self.scratch.lanes && step == 1 {
            return self.stream(e, (pixels * lanes) as i64, |e, offset, n| {
                e.load(Reg(0), Address { ptr: SRC, offset: from + offset }, n, 1);
                e.store(Address { ptr: SCRATCH, offset: to + offset }, Reg(0), n, 1);
            });
        }
        if lanes == 1 {
            return self.transpose(e, pixels, step, (from, to));
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
    fn transpose(&self, e: &mut Emitter, pixels: usize, step: i64, (from, to): (i64, i64)) {
        let pixel = self.scratch.lanes as i64;
        let channels = if self.scratch.lanes == 1 { 1 } else { self.src.planes };
        let copy = |e: &mut Emitter, (from, read): (i64, i64), (to, write): (i64, i64), n: usize| {
            e.load(Reg(0), Address { ptr: SRC, offset: from }, n, read);
            e.store(Address { ptr: SCRATCH, offset: to }, Reg(0), n, write);
        };
        if channels < self.lanes && step <= 0 {
            return e.repeat(Extent::Count(pixels as u64), &[(SRC, step), (SCRATCH, pixel)], |e| {
                (0..channels as i64).for_each(|c| copy(e, (from + c * self.src.plane, 1), (to + c, 1), 1));
            });
        }
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
    fn stream(&self, e: &mut Emitter, len: i64, at: impl FnMut(&mut Emitter, i64, usize)) {
        self.stream_by(e, len, (1, 1), at);
    }

    /// The same for elements that lie `src` and `scratch` apart.
    pub(super) fn stream_by(
        &self,
        e: &mut Emitter,
        len: i64,
        (src, scratch): (i64, i64),
        mut at: impl FnMut(&mut Emitter, i64, usize),
    ) {
        let lanes = self.lanes as i64;
        let round = lanes * UNROLL as i64;
        let rounds = len / round;
        if rounds > 0 {
            e.repeat(Extent::Count(rounds as u64), &[(SRC, round * src), (SCRATCH, round * scratch)], |e| {
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
pub(super) fn data(e: &mut Emitter, steps: &[i64], range: u32, body: &mut dyn FnMut(&mut Emitter)) {
    match steps.split_first() {
        None => body(e),
        Some((&step, rest)) => {
            e.repeat(Extent::Range(range), &[(SRC, step)], |e| data(e, rest, range + 1, body));
        }
    }
}

/// Where the loops so far have brought the pointers.
#[derive(Clone)]
struct Start {
    src: Affine,
    scratch: Affine,
    ranges: Vec<Range>,
}

/// The loops of `levels` around the call, one after the other.
fn build(kernel: &mut Kernel, levels: &[Level], start: Start) -> Vec<Stmt> {
    let Some((level, inner)) = levels.split_first() else {
        let args = vec![Arg { role: Role::Src, offset: start.src }, Arg { role: Role::Scratch, offset: start.scratch }];
        return vec![Stmt::Call(Call { tile: kernel.tiles.len() - 1, args, ranges: start.ranges })];
    };
    let mut loops = Vec::new();
    for part in &level.parts {
        let var = new_var(kernel, &format!("{}_pack", level.name));
        let mut at = start.clone();
        at.src = at.src.plus(var, part.src.1).offset(part.src.0);
        at.scratch = at.scratch.plus(var, part.scratch.1).offset(part.scratch.0);
        if let Some(PackedAxis { step, pad_lo, input, .. }) = level.padded {
            // The one iteration i = 0 lies in the range where 0 <= var * step - pad_lo < input; counting the source
            // from there on keeps the offset within the buffer for every i of the range.
            let (step, pad, input) = (step as i64, pad_lo as i64, input as i64);
            at.src = at.src.offset(-pad * (part.src.1 / step));
            let before = Affine::var(var, -step).offset(pad);
            let behind = Affine::var(var, -step).offset(pad + input);
            at.ranges.push(Range {
                lo: vec![CeilDiv::constant(0), CeilDiv::whole(before)],
                hi: vec![CeilDiv::constant(1), CeilDiv::whole(behind)],
            });
        }
        let range = Range::of(Affine::constant(0), part.count.clone());
        loops.push(Stmt::For(Loop { var, range, parallel: false, body: build(kernel, inner, at) }));
    }
    loops
}
