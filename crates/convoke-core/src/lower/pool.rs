//! The register tiles of pooling: what is taken up, in which order, into which registers.
//!
//! As in [`tile`](super::tile) an accumulator is a vector of outputs, and the taps come in the order `kd`, `kh`, `kw`; there are no
//! weights, and each vector of the input is that of the outputs it is taken up by. Where vectors run along the channels and the
//! window is short, the input passes once: each vector goes to every window that it is part of.
//!
//! Integers are compared as floats, which hold them exactly.
//!
//! Averages are sums, divided at the end by a constant, or, where windows have different divisors, by the product of the taps that
//! count along each axis: those that the call passes as ranges are counted in a register. Of a norm, what is taken up is a power, and the end a
//! root ([`norm`]).

use super::emit::Emitter;
use super::epilogue;
use super::norm;
use super::pixels::Taps;
use super::positions;
use super::tile::{Body, Level, SRC, TileContext, TileKey, merged, slide};
use crate::ir::{Address, BinaryOp, Conversion, Extent, Ptr, Reg, Tile};
use crate::spec::{Divisor, LayerSpec, Operation};

/// Registers besides the accumulators: what is loaded, and for its power another; afterwards the divisor, and two to count it, or three
/// for a root.
pub(crate) const REGISTERS: usize = 3;

/// Longest window along `w` that is written out, so that input passes once.
pub(super) const LONGEST_WRITTEN: usize = 7;

const DST: Ptr = Ptr(1);
const BIAS: Ptr = Ptr(2);

/// Whether the divisor of an average depends on how far windows reach past the padding along axis `i`, which `ceil_mode` lets them.
pub(crate) fn counts(spec: &LayerSpec, i: usize) -> bool {
    let axis = &spec.spatial[i];
    let end = (axis.output.max(1) - 1) * axis.stride + axis.extent();
    spec.operation == Operation::AvgPool
        && !spec.adaptive
        && spec.divisor == Divisor::Padded
        && end > axis.pad_lo + axis.input + axis.pad_hi
}

/// Writes the tile for `key`.
pub(super) fn emit(cx: &TileContext<'_>, key: &TileKey, name: String) -> Tile {
    if cx.spec.return_indices {
        return positions::emit(cx, key, name);
    }
    let mut e = Emitter::new(cx.spec.dtype, cx.fma);
    let pool = Pool { body: Body { cx, key } };
    let tile = pool.body.pixels() as i64;
    let (src, dst) = (tile * cx.pixel(), tile * cx.geometry.dst.spatial[2]);
    let mut steps = vec![(SRC, src), (DST, dst)];
    if cx.spec.has_residual() {
        steps.push((epilogue::residual(cx.spec, BIAS), dst));
    }
    e.repeat(Extent::Count(key.run as u64), &steps, |e| {
        pool.initialize(e);
        pool.reduce(e);
        match cx.spec.operation {
            Operation::AvgPool => pool.divide(e),
            Operation::LpPool => pool.root(e),
            _ if cx.spec.integers.is_some() => pool.round(e),
            _ => {}
        }
        pool.body.finish(e, DST);
    });
    let (stmts, registers) = e.finish();
    let mut pointers = vec!["src".to_owned(), "dst".to_owned()];
    pointers.extend(epilogue::pointers(cx.spec).into_iter().map(str::to_owned));
    Tile { name, pointers, ranges: cx.range_names(&key.taps), registers, body: stmts }
}

struct Pool<'a> {
    body: Body<'a>,
}

impl Pool<'_> {
    fn cx(&self) -> &TileContext<'_> {
        self.body.cx
    }

    fn key(&self) -> &TileKey {
        self.body.key
    }

    /// Every accumulator to what no element changes.
    fn initialize(&self, e: &mut Emitter) {
        let start = if self.cx().spec.operation == Operation::MaxPool { f64::NEG_INFINITY } else { 0.0 };
        for acc in 0..self.key().rows * self.key().vectors {
            e.constant(Reg(acc as u32), start);
        }
    }

    /// What was loaded, as accumulators take it up.
    fn prepare(&self, e: &mut Emitter, x: Reg) {
        if self.cx().spec.integers.is_some() {
            e.convert(Conversion::Float, x, x);
        }
        if self.cx().spec.operation == Operation::LpPool {
            norm::power(e, x, self.cx().spec.p, self.body.whole(1));
        }
    }

    /// The accumulator takes up what was loaded. Of a maximum a NaN stays.
    fn take_up(&self, e: &mut Emitter, acc: Reg, x: Reg) {
        match self.cx().spec.operation {
            Operation::MaxPool => e.binary(BinaryOp::Maximum, acc, x, acc),
            _ => e.binary(BinaryOp::Add, acc, acc, x),
        }
    }

    /// All taps of the window.
    fn reduce(&self, e: &mut Emitter) {
        let [kd, kh, kw] = self.body.window([0; 3]);
        let along_channels = self.body.along_channels();
        let short = self.cx().geometry.spatial[2].kernel <= LONGEST_WRITTEN;
        match &self.key().taps {
            Taps::All | Taps::Edge(_) if along_channels && short => {
                self.body.levels(e, &merged(&[kd, kh]), &mut |e| self.pass(e));
            }
            Taps::Edge(taps) => self.body.levels(e, &merged(&[kd, kh]), &mut |e| {
                for (i, rows) in taps.iter().enumerate() {
                    self.step(e, rows.clone(), i as i64 * kw.src);
                }
            }),
            Taps::All | Taps::Single => self.nested(e, &merged(&[kd, kh, kw])),
        }
    }

    /// One row of the window, each vector of the input to every output that it is part of.
    fn pass(&self, e: &mut Emitter) {
        let x = self.body.whole(0);
        let has = |row: usize, kw: usize| match &self.key().taps {
            Taps::Edge(taps) => taps[kw].contains(&row),
            _ => true,
        };
        for (distance, readers) in slide(&self.cx().geometry.spatial[2], self.key().rows) {
            let readers: Vec<_> = readers.into_iter().filter(|&(row, kw)| has(row, kw)).collect();
            for v in (0..self.key().vectors).filter(|_| !readers.is_empty()) {
                self.body.load_channels(e, x, v, distance as i64 * self.cx().geometry.src.spatial[2]);
                self.prepare(e, x);
                for &(row, _) in &readers {
                    self.take_up(e, self.body.acc(row, v), x);
                }
            }
        }
    }

    /// `levels` around steps, of which the plan says how many are written out.
    fn nested(&self, e: &mut Emitter, levels: &[Level]) {
        let all = 0..self.key().rows;
        let Some((&inner, outer)) = levels.split_last() else { return self.step(e, all, 0) };
        self.body.levels(e, outer, &mut |e| {
            let Extent::Count(count) = inner.extent else {
                return e.repeat(inner.extent, &[(SRC, inner.src)], |e| self.step(e, all.clone(), 0));
            };
            let unroll = (self.cx().plan.unroll as u64).clamp(1, count);
            let rounds = count / unroll;
            e.repeat(Extent::Count(rounds), &[(SRC, unroll as i64 * inner.src)], |e| {
                (0..unroll).for_each(|i| self.step(e, all.clone(), i as i64 * inner.src));
            });
            (rounds * unroll..count).for_each(|i| self.step(e, all.clone(), i as i64 * inner.src));
        });
    }

    /// One tap of every accumulator of `rows`.
    fn step(&self, e: &mut Emitter, rows: std::ops::Range<usize>, src: i64) {
        let (x, pixel) = (self.body.whole(0), self.cx().pixel());
        for row in rows {
            for v in 0..self.key().vectors {
                if self.body.along_channels() {
                    self.body.load_channels(e, x, v, src + row as i64 * pixel);
                } else {
                    let offset = src + (v * self.cx().lanes) as i64 * pixel;
                    e.load(x, Address { ptr: SRC, offset }, self.body.lanes_of(v), pixel);
                }
                self.prepare(e, x);
                self.take_up(e, self.body.acc(row, v), x);
            }
        }
    }

    /// Every maximum as the integer that it is.
    fn round(&self, e: &mut Emitter) {
        for acc in (0..self.key().rows * self.key().vectors).map(|acc| Reg(acc as u32)) {
            e.convert(Conversion::Int, acc, acc);
        }
    }

    /// Of every sum the root.
    fn root(&self, e: &mut Emitter) {
        for acc in 0..self.key().rows * self.key().vectors {
            norm::root(e, Reg(acc as u32), self.cx().spec.p, [0, 1, 2].map(|i| self.body.whole(i)));
        }
    }

    /// Every sum by its divisor.
    fn divide(&self, e: &mut Emitter) {
        let [product, other, one] = [0, 1, 2].map(|i| self.body.whole(i));
        let ranges = self.counted_ranges();
        if !ranges.is_empty() {
            e.constant(one, 1.0);
        }
        for (i, &range) in ranges.iter().enumerate() {
            let count = if i == 0 { product } else { other };
            e.constant(count, 0.0);
            e.repeat(Extent::Range(range), &[], |e| e.binary(BinaryOp::Add, count, count, one));
            if i > 0 {
                e.binary(BinaryOp::Mul, product, product, other);
            }
        }
        let along_channels = self.body.along_channels();
        for row in 0..self.key().rows {
            let known = self.known_factor(if along_channels { row } else { 0 });
            let divisor = match (ranges.is_empty(), known) {
                (true, 1) => continue,
                (false, 1) => product,
                _ => {
                    e.constant(other, known as f64);
                    if !ranges.is_empty() {
                        e.binary(BinaryOp::Mul, other, other, product);
                    }
                    other
                }
            };
            for v in 0..self.key().vectors {
                let acc = self.body.acc(row, v);
                e.binary(BinaryOp::Div, acc, acc, divisor);
            }
        }
    }

    /// The part of the divisor of pixel `row` of the tile that no call has to pass.
    fn known_factor(&self, row: usize) -> usize {
        let (cx, spatial) = (self.cx(), &self.cx().geometry.spatial);
        let single = self.key().taps == Taps::Single;
        let varies = |i: usize| match (cx.spec.divisor, i) {
            (Divisor::Inside, 2) => single,
            (Divisor::Inside, _) => cx.ranged[i],
            (Divisor::Padded, 2) => cx.counted[2] && single,
            (Divisor::Padded, _) => cx.counted[i],
            (Divisor::Number(_), _) => false,
        };
        let along = |i: usize| match &self.key().taps {
            _ if varies(i) => 1,
            Taps::Edge(taps) if i == 2 && cx.spec.divisor == Divisor::Inside => {
                taps.iter().filter(|rows| rows.contains(&row)).count()
            }
            _ => spatial[i].kernel,
        };
        match cx.spec.divisor {
            Divisor::Number(number) => number,
            Divisor::Padded | Divisor::Inside => along(0) * along(1) * along(2),
        }
    }

    /// The ranges whose lengths are factors of the divisor.
    fn counted_ranges(&self) -> Vec<u32> {
        let names = self.cx().range_names(&self.key().taps);
        let counted: &[&str] = match self.cx().spec.divisor {
            Divisor::Inside => &["kd", "kh", "kw"],
            Divisor::Padded => &["cd", "ch", "cw"],
            Divisor::Number(_) => &[],
        };
        (0..names.len() as u32).filter(|&i| counted.contains(&&names[i as usize][..])).collect()
    }
}
