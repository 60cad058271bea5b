//! Maxima that say where they are: the tables of positions, and the tile that looks them up.
//!
//! The position of an element in the plane of its channel is `(d * ih + h) * iw + w`. A tile does not know where it is; so there is a
//! table of `d * ih * iw`, one of `h * iw` and one of `w`, in the buffer `weights`, and what is read of each moves as the input does along
//! its axis. An element's position is the sum of three, of which the first two are made once for each row of the window.
//!
//! A position goes with its maximum: to the first of equal ones, and to the last NaN, as PyTorch has it. An element is a NaN where
//! `min x, 1` is greater than `max x, -1`. Elements that are minus infinity are never greater than what a maximum starts from; where
//! there are no others, the first tap that the window has is where the maximum is.

use super::emit::Emitter;
use super::pixels::Taps;
use super::pool::LONGEST_WRITTEN;
use super::tile::{Body, SRC, TileContext, TileKey, slide};
use crate::ir::{Address, Affine, Arg, BinaryOp, Conversion, Extent, Ptr, Reg, Role, Tile};
use crate::spec::LayerSpec;

/// Registers besides maxima and positions: see the constants below.
pub(crate) const REGISTERS: usize = 9;

/// What was loaded.
const X: usize = 0;
/// Which is a NaN where this is greater
const LOW: usize = 1;
/// than this.
const HIGH: usize = 2;
/// The position of what was loaded.
const AT: usize = 3;
/// That of the row of the window, at the first element of the plane's row.
const ROW: usize = 4;
const ONE: usize = 5;
const MINUS_ONE: usize = 6;
/// The position of the first row that there is, or of the first element.
const FIRST: usize = 7;
/// 1 until it is known, then -1.
const UNKNOWN: usize = 8;

const DST: Ptr = Ptr(1);
const INDICES: Ptr = Ptr(2);
/// The first of the tables.
const TABLES: u32 = 3;

/// Where the tables of `d`, `h` and `w` start among the packed, and where the last ends. Of an axis of one element there is none, but
/// for `w`.
pub(crate) fn table_starts([d, h, w]: [usize; 3]) -> [usize; 4] {
    let len = |size: usize| if size > 1 { size } else { 0 };
    [0, len(d), len(d) + len(h), len(d) + len(h) + w]
}

/// The tables, one after the other; nothing of an input without elements.
pub(crate) fn tables([d, h, w]: [usize; 3]) -> Vec<i32> {
    let table = |size: usize, step: usize| (0..if size > 1 { size } else { 0 }).map(move |i| (i * step) as i32);
    table(d, h * w).chain(table(h, w)).chain((0..w).map(|i| i as i32)).collect()
}

/// The axes that have a table.
fn axes(spec: &LayerSpec) -> impl Iterator<Item = usize> {
    let sizes = spec.spatial.map(|a| a.input);
    (0..3).filter(move |&i| i == 2 || sizes[i] > 1)
}

/// What a call passes behind `dst`: the indices, which are where that is, and the tables at the element under the first tap.
pub(super) fn arguments(spec: &LayerSpec, dst: Affine, first: &[Affine; 3]) -> Vec<Arg> {
    let starts = table_starts(spec.spatial.map(|a| a.input));
    let table = |i: usize| Arg { role: Role::Weights, offset: first[i].clone().offset(starts[i] as i64) };
    [Arg { role: Role::Indices, offset: dst }].into_iter().chain(axes(spec).map(table)).collect()
}

/// Writes the tile for `key`.
pub(super) fn emit(cx: &TileContext<'_>, key: &TileKey, name: String) -> Tile {
    let mut e = Emitter::new(cx.spec.dtype, cx.fma);
    let mut tables = [None; 3];
    for (number, i) in axes(cx.spec).enumerate() {
        tables[i] = Some(Ptr(TABLES + number as u32));
    }
    let maxima = Maxima { body: Body { cx, key }, tables };
    let pixels = maxima.body.pixels() as i64;
    let (src, dst) = (pixels * cx.pixel(), pixels * cx.geometry.dst.spatial[2]);
    let mut steps = vec![(SRC, src), (DST, dst), (INDICES, dst)];
    steps.extend(maxima.step(2, pixels * cx.geometry.spatial[2].stride as i64));
    if maxima.has_floats() {
        e.constant(maxima.free(ONE), 1.0);
        e.constant(maxima.free(MINUS_ONE), -1.0);
    }
    e.repeat(Extent::Count(key.run as u64), &steps, |e| {
        maxima.initialize(e);
        maxima.reduce(e);
        if maxima.has_floats() {
            maxima.settle(e);
        }
        maxima.store(e);
    });
    let (body, registers) = e.finish();
    let names = ["d", "h", "w"];
    let mut pointers = ["src", "dst", "indices"].map(str::to_owned).to_vec();
    pointers.extend(axes(cx.spec).map(|i| format!("positions_{}", names[i])));
    Tile { name, pointers, ranges: cx.range_names(&key.taps), registers, body }
}

struct Maxima<'a> {
    body: Body<'a>,
    /// The pointers into the tables of the axes that have one.
    tables: [Option<Ptr>; 3],
}

impl Maxima<'_> {
    fn cx(&self) -> &TileContext<'_> {
        self.body.cx
    }

    fn key(&self) -> &TileKey {
        self.body.key
    }

    /// How many maxima there are.
    fn count(&self) -> usize {
        self.key().rows * self.key().vectors
    }

    /// The register of the positions of those in `acc`.
    fn index(&self, acc: Reg) -> Reg {
        Reg(acc.0 + self.count() as u32)
    }

    /// A register besides maxima and positions.
    fn free(&self, number: usize) -> Reg {
        Reg((2 * self.count() + number) as u32)
    }

    /// What the table of axis `i` moves by with so many elements of the input.
    fn step(&self, i: usize, elements: i64) -> Option<(Ptr, i64)> {
        self.tables[i].map(|table| (table, elements))
    }

    fn dilation(&self, i: usize) -> i64 {
        self.cx().geometry.spatial[i].dilation as i64
    }

    /// Whether elements may be NaNs or infinite.
    fn has_floats(&self) -> bool {
        self.cx().spec.integers.is_none()
    }

    /// Whether the first row that there is, or of single pixels the first element, is another from call to call.
    fn looks_for_first(&self) -> bool {
        self.has_floats() && (self.cx().ranged != [false; 2] || self.is_single())
    }

    fn is_single(&self) -> bool {
        self.key().taps == Taps::Single
    }

    fn initialize(&self, e: &mut Emitter) {
        for acc in 0..self.count() {
            e.constant(Reg(acc as u32), f64::NEG_INFINITY);
            e.constant(self.index(Reg(acc as u32)), 0.0);
        }
        if self.looks_for_first() {
            e.constant(self.free(FIRST), 0.0);
            e.constant(self.free(UNKNOWN), 1.0);
        } else if self.has_floats() {
            self.row(e, FIRST);
        }
    }

    /// All taps of the window.
    fn reduce(&self, e: &mut Emitter) {
        let [kd, kh, kw] = self.body.window([0; 3]);
        let steps = |i: usize, src: i64| [Some((SRC, src)), self.step(i, self.dilation(i))].into_iter().flatten();
        let (d, h) = (steps(0, kd.src).collect::<Vec<_>>(), steps(1, kh.src).collect::<Vec<_>>());
        e.repeat(kd.extent, &d, |e| {
            e.repeat(kh.extent, &h, |e| {
                self.row(e, ROW);
                if !self.is_single() {
                    self.find(e, ROW);
                }
                self.columns(e, kw.extent, kw.src);
            });
        });
    }

    /// The position of the row that the tables stand at.
    fn row(&self, e: &mut Emitter, to: usize) {
        let at = |ptr: Ptr| Address { ptr, offset: 0 };
        let (to, other) = (self.free(to), self.free(AT));
        match [self.tables[0], self.tables[1]] {
            [None, None] => e.constant(to, 0.0),
            [Some(table), None] | [None, Some(table)] => e.broadcast(to, at(table)),
            [Some(d), Some(h)] => {
                e.broadcast(to, at(d));
                e.broadcast(other, at(h));
                e.binary(BinaryOp::AddInt, to, to, other);
            }
        }
    }

    /// Takes note of the first position.
    fn find(&self, e: &mut Emitter, position: usize) {
        if self.looks_for_first() {
            let [first, unknown, minus_one] = [FIRST, UNKNOWN, MINUS_ONE].map(|number| self.free(number));
            e.select(first, unknown, minus_one, self.free(position), first);
            e.constant(unknown, -1.0);
        }
    }

    /// One row of the window.
    fn columns(&self, e: &mut Emitter, extent: Extent, src: i64) {
        let short = self.cx().geometry.spatial[2].kernel <= LONGEST_WRITTEN;
        match &self.key().taps {
            Taps::All | Taps::Edge(_) if self.body.along_channels() && short => self.pass(e),
            Taps::Edge(taps) => {
                for (i, rows) in taps.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
                    self.tap(e, rows.clone(), i as i64, src);
                }
            }
            Taps::All | Taps::Single => {
                let unroll = match extent {
                    Extent::Count(count) => (self.cx().plan.unroll as u64).clamp(1, count),
                    Extent::Range(_) => 1,
                };
                let all = 0..self.key().rows;
                let (rounds, rest) = match extent {
                    Extent::Count(count) => (Extent::Count(count / unroll), count / unroll * unroll..count),
                    range => (range, 0..0),
                };
                let by = unroll as i64;
                let steps = [Some((SRC, by * src)), self.step(2, by * self.dilation(2))];
                e.repeat(rounds, &steps.into_iter().flatten().collect::<Vec<_>>(), |e| {
                    (0..by).for_each(|i| self.tap(e, all.clone(), i, src));
                });
                rest.for_each(|i| self.tap(e, all.clone(), i as i64, src));
            }
        }
    }

    /// Each vector of the input to every output that it is part of, along the channels.
    fn pass(&self, e: &mut Emitter) {
        let has = |row: usize, kw: usize| match &self.key().taps {
            Taps::Edge(taps) => taps[kw].contains(&row),
            _ => true,
        };
        for (distance, readers) in slide(&self.cx().geometry.spatial[2], self.key().rows) {
            let readers: Vec<_> = readers.into_iter().filter(|&(row, kw)| has(row, kw)).collect();
            if readers.is_empty() {
                continue;
            }
            self.position(e, ROW, distance as i64);
            for v in 0..self.key().vectors {
                let x = self.free(X);
                self.body.load_channels(e, x, v, distance as i64 * self.cx().geometry.src.spatial[2]);
                self.prepare(e);
                readers.iter().for_each(|&(row, _)| self.take_up(e, self.body.acc(row, v)));
            }
        }
    }

    /// Tap number `tap` of a row of the window, of every output of `rows`.
    fn tap(&self, e: &mut Emitter, rows: std::ops::Range<usize>, tap: i64, src: i64) {
        let (x, pixel) = (self.free(X), self.cx().pixel());
        let (stride, element) = (self.cx().geometry.spatial[2].stride as i64, tap * self.dilation(2));
        for row in rows {
            if self.body.along_channels() {
                self.position(e, ROW, row as i64 * stride + element);
            }
            for v in 0..self.key().vectors {
                if self.body.along_channels() {
                    self.body.load_channels(e, x, v, tap * src + row as i64 * pixel);
                } else {
                    self.positions(e, ROW, v, element);
                    let offset = tap * src + (v * self.cx().lanes) as i64 * pixel;
                    e.load(x, Address { ptr: SRC, offset }, self.body.lanes_of(v), pixel);
                }
                if self.is_single() && v == 0 {
                    self.find(e, AT);
                }
                self.prepare(e);
                self.take_up(e, self.body.acc(row, v));
            }
        }
    }

    /// The position of an element of the row that `row` is that of.
    fn position(&self, e: &mut Emitter, row: usize, element: i64) {
        let (at, table) = (self.free(AT), self.tables[2].unwrap_or(Ptr(TABLES)));
        e.broadcast(at, Address { ptr: table, offset: element });
        e.binary(BinaryOp::AddInt, at, at, self.free(row));
    }

    /// The positions of the elements that a vector of pixels reads.
    fn positions(&self, e: &mut Emitter, row: usize, vector: usize, element: i64) {
        let (at, table) = (self.free(AT), self.tables[2].unwrap_or(Ptr(TABLES)));
        let stride = self.cx().geometry.spatial[2].stride as i64;
        let offset = (vector * self.cx().lanes) as i64 * stride + element;
        e.load(at, Address { ptr: table, offset }, self.body.lanes_of(vector), stride);
        e.binary(BinaryOp::AddInt, at, at, self.free(row));
    }

    /// What was loaded as a float, or what says whether it is a NaN.
    fn prepare(&self, e: &mut Emitter) {
        let [x, low, high, one, minus_one] = [X, LOW, HIGH, ONE, MINUS_ONE].map(|number| self.free(number));
        if !self.has_floats() {
            return e.convert(Conversion::Float, x, x);
        }
        e.binary(BinaryOp::Min, low, x, one);
        e.binary(BinaryOp::Max, high, x, minus_one);
    }

    /// The maximum takes up what was loaded, and where that is.
    fn take_up(&self, e: &mut Emitter, acc: Reg) {
        let [x, low, high, at] = [X, LOW, HIGH, AT].map(|number| self.free(number));
        let index = self.index(acc);
        e.select(index, x, acc, at, index);
        if self.has_floats() {
            e.select(index, low, high, at, index);
        }
        e.binary(BinaryOp::Maximum, acc, x, acc);
    }

    /// Where all elements are minus infinity, the position is that of the first.
    fn settle(&self, e: &mut Emitter) {
        let [greatest, least, at] = [X, LOW, AT].map(|number| self.free(number));
        e.constant(least, f64::from(f32::MIN));
        let stride = self.cx().geometry.spatial[2].stride as i64;
        for row in 0..self.key().rows {
            let tap = match &self.key().taps {
                Taps::Edge(taps) => taps.iter().position(|rows| rows.contains(&row)).unwrap_or(0) as i64,
                _ => 0,
            };
            let element = tap * self.dilation(2);
            let first = if self.is_single() { self.free(FIRST) } else { at };
            if self.body.along_channels() && !self.is_single() {
                self.position(e, FIRST, row as i64 * stride + element);
            }
            for v in 0..self.key().vectors {
                if !self.body.along_channels() && !self.is_single() {
                    self.positions(e, FIRST, v, element);
                }
                let acc = self.body.acc(row, v);
                e.binary(BinaryOp::Max, greatest, acc, least);
                e.select(self.index(acc), greatest, acc, first, self.index(acc));
            }
        }
    }

    fn store(&self, e: &mut Emitter) {
        let dst = self.cx().geometry.dst;
        let pixel = dst.spatial[2];
        let along_channels = self.body.along_channels();
        let lane_step = if along_channels { dst.lane_step() } else { pixel };
        for row in 0..self.key().rows {
            for v in 0..self.key().vectors {
                let acc = self.body.acc(row, v);
                if !self.has_floats() {
                    e.convert(Conversion::Int, acc, acc);
                }
                let offset = match along_channels {
                    true => row as i64 * pixel + self.body.channel_of(&dst, v),
                    false => dst.channel(row) + (v * self.cx().lanes) as i64 * pixel,
                };
                e.store(Address { ptr: DST, offset }, acc, self.body.lanes_of(v), lane_step);
                e.store(Address { ptr: INDICES, offset }, self.index(acc), self.body.lanes_of(v), lane_step);
            }
        }
    }
}
