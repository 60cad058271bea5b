//! The register tiles: what is summed, in which order, into which registers.
//!
//! Accumulators are registers `0..rows * vectors`, row by row; then come the vectors of the operand that is loaded
//! whole, then one for the operand that is loaded for each row, and one for products where the target cannot fuse.
//! The sum starts from the bias and runs over `kd`, `kh`, `kw`, `ic`, the last innermost: the same order for every
//! tile, so that a layer has the same bits whatever its plan. Transposed, the taps of each axis come from the last to the first.

use super::emit::Emitter;
use super::epilogue::{self, Outputs};
use super::geometry::{Geometry, View};
use super::pairs;
use super::pixels::Taps;
use std::collections::BTreeMap;

use crate::ir::{Address, BinaryOp, Extent, Ptr, Reg, Tile};
use crate::plan::{Algorithm, Plan, VectorAxis};
use crate::spec::{LayerSpec, PAIR, QUAD, Requantized, SpatialAxis};
use crate::target::LINE_BYTES;

/// Steps of a sum that take longer than a line of the cache takes to come.
const LONG_SUM: usize = 32;
/// Longest window along `w` whose weights a sliding tile holds in registers.
const LONGEST_SLIDE: usize = 7;

/// Whether all tiles *slide*: the weights of a row of the window stay in registers while the input passes once, each vector
/// of it going to every sum that it is part of. It takes a register for each tap of the row and each vector of the tile.
pub(crate) fn slides(algorithm: Algorithm, vector: VectorAxis, w: &SpatialAxis) -> bool {
    algorithm == Algorithm::Depthwise && may_slide(vector, w)
}

/// Whether a tile of so many pixels and vectors slides that need not: a sum over one input channel, where the registers suffice.
pub(crate) fn slides_alone(
    geometry: &Geometry,
    (algorithm, vector): (Algorithm, VectorAxis),
    (rows, vectors): (usize, usize),
    (registers, fma): (usize, bool),
) -> bool {
    let w = &geometry.spatial[2];
    let held = (rows + w.kernel).saturating_mul(vectors).saturating_add(1 + usize::from(!fma));
    let is_one = geometry.ic == 1 && geometry.lane_channels == 1;
    algorithm == Algorithm::Direct && is_one && rows > 1 && may_slide(vector, w) && held <= registers
}

fn may_slide(vector: VectorAxis, w: &SpatialAxis) -> bool {
    vector == VectorAxis::Oc && (2..=LONGEST_SLIDE).contains(&w.kernel)
}

/// The distances from the first pixel's first tap at which `rows` pixels of a sliding tile read, in order, and who reads
/// there: the pixel and its tap.
pub(crate) fn slide(w: &SpatialAxis, rows: usize) -> BTreeMap<usize, Vec<(usize, usize)>> {
    let mut reads: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for row in 0..rows {
        for kw in 0..w.kernel {
            reads.entry(row * w.stride + kw * w.dilation).or_default().push((row, kw));
        }
    }
    reads
}

/// What tells the tiles of one kernel apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TileKey {
    /// Where in a panel of the weights the first channel is, if the channels go on into the next.
    pub phase: usize,
    /// Elements along the axis that is not vectorized.
    pub rows: usize,
    /// Vectors along the axis that is.
    pub vectors: usize,
    /// Elements in the last vector.
    pub last_lanes: usize,
    /// Which taps along `kw` the pixels have.
    pub taps: Taps,
    /// How many such tiles one call computes, one after the other along `ow`.
    pub run: usize,
}

impl TileKey {
    /// A suffix that keeps the symbol unique, empty for the full tile.
    pub(crate) fn suffix(&self, full: &Self, lanes: usize) -> String {
        let mut suffix = String::new();
        if self.rows != full.rows {
            suffix += &format!("_rows{}", self.rows);
        }
        if (self.vectors, self.last_lanes) != (full.vectors, lanes) {
            suffix += &format!("_lanes{}", (self.vectors - 1) * lanes + self.last_lanes);
        }
        match &self.taps {
            Taps::All => {}
            Taps::Single => suffix += "_single",
            Taps::Edge(_) => suffix += "_edge",
        }
        if self.phase > 0 {
            suffix += &format!("_from{}", self.phase);
        }
        if self.run > 1 {
            suffix += &format!("_run{}", self.run);
        }
        suffix
    }
}

pub(crate) const SRC: Ptr = Ptr(0);
pub(crate) const WEIGHTS: Ptr = Ptr(1);
pub(crate) const DST: Ptr = Ptr(2);
pub(crate) const BIAS: Ptr = Ptr(3);

/// Everything a tile is written from.
pub(crate) struct TileContext<'a> {
    pub spec: &'a LayerSpec,
    pub plan: &'a Plan,
    pub geometry: &'a Geometry,
    /// Elements a register.
    pub lanes: usize,
    pub fma: bool,
    pub vnni: bool,
    /// How many registers there are.
    pub registers: usize,
    /// Output channels a panel of the packed weights.
    pub panel: usize,
    /// Elements of one panel.
    pub panel_len: usize,
    /// Which of `kd`, `kh` are ranges that the call passes.
    pub ranged: [bool; 2],
    /// Along which axes the call passes the taps that count for the divisor of an average, beside those that there are.
    pub counted: [bool; 3],
}

/// Writes the tile for `key`.
pub(crate) fn emit(cx: &TileContext<'_>, key: &TileKey, name: String) -> Tile {
    let mut e = Emitter::new(cx.spec.dtype, cx.fma);
    let body = Body { cx, key };
    let tile = body.pixels() as i64;
    let (src, dst) = (tile * cx.pixel(), tile * cx.geometry.dst.spatial[2]);
    if let Some(ones) = body.ones() {
        pairs::ones(&mut e, ones);
    }
    let mut steps = vec![(SRC, src), (DST, dst)];
    if cx.spec.has_residual() {
        steps.push((epilogue::residual(cx.spec, BIAS), dst));
    }
    e.repeat(Extent::Count(key.run as u64), &steps, |e| {
        body.prefetch_output(e);
        body.initialize(e);
        body.reduce(e);
        body.finish(e, DST);
    });
    let (stmts, registers) = e.finish();
    let mut pointers = vec!["src".to_owned(), "weights".to_owned(), "dst".to_owned()];
    pointers.extend(epilogue::pointers(cx.spec).into_iter().map(str::to_owned));
    Tile { name, pointers, ranges: cx.range_names(&key.taps), registers, body: stmts }
}

impl TileContext<'_> {
    /// Distance in the input of two outputs along `ow`.
    pub(super) fn pixel(&self) -> i64 {
        self.geometry.spatial[2].stride as i64 * self.geometry.src.spatial[2]
    }

    /// The ranges that a call of a tile with `taps` passes, in order.
    pub(crate) fn range_names(&self, taps: &Taps) -> Vec<String> {
        let single = matches!(taps, Taps::Single);
        let [cd, ch, cw] = self.counted;
        let taps = [("kd", self.ranged[0]), ("kh", self.ranged[1]), ("kw", single)];
        let named = [taps, [("cd", cd), ("ch", ch), ("cw", cw && single)]].concat();
        named.iter().filter(|n| n.1).map(|n| n.0.to_owned()).collect()
    }
}

/// One level of the reduction: how often, and the steps of `src` and `weights`.
#[derive(Clone, Copy)]
pub(super) struct Level {
    pub(super) extent: Extent,
    pub(super) src: i64,
    pub(super) weights: i64,
}

/// A tile while it is written.
pub(super) struct Body<'a> {
    pub(super) cx: &'a TileContext<'a>,
    pub(super) key: &'a TileKey,
}

impl Body<'_> {
    pub(super) fn acc(&self, row: usize, vector: usize) -> Reg {
        Reg((row * self.key.vectors + vector) as u32)
    }

    pub(super) fn whole(&self, vector: usize) -> Reg {
        Reg((self.key.rows * self.key.vectors + vector) as u32)
    }

    /// The register for the operand of one row; the one after it holds products.
    fn single(&self) -> Reg {
        self.whole(self.key.vectors)
    }

    /// The register that sums two integers of 16 bits, where bytes are multiplied without `vnni`: through the whole tile, so behind all
    /// others.
    fn ones(&self) -> Option<Reg> {
        let is_used = self.cx.geometry.lane_channels == QUAD && !self.cx.vnni;
        is_used.then(|| self.whole((self.key.vectors + 2).max(pairs::REQUANTIZE_REGISTERS)))
    }

    /// Outputs along `ow`.
    pub(super) fn pixels(&self) -> usize {
        match self.cx.plan.vector {
            VectorAxis::Oc => self.key.rows,
            VectorAxis::Ow => (self.key.vectors - 1) * self.cx.lanes + self.key.last_lanes,
        }
    }

    /// Distance in the packed weights of the vector's first channel from that of the tile.
    fn weights_of(&self, vector: usize) -> i64 {
        let at = |channel: usize| (channel / self.cx.panel * self.cx.panel_len + channel % self.cx.panel) as i64;
        at(self.key.phase + vector * self.cx.lanes) - at(self.key.phase)
    }

    /// Distance in `view` of the vector's first channel from that of the tile.
    pub(super) fn channel_of(&self, view: &View, vector: usize) -> i64 {
        view.channel(self.key.phase + vector * self.cx.lanes) - view.channel(self.key.phase)
    }

    /// The same in the input, for tiles whose channels each have a window of their own.
    fn src_channel_of(&self, vector: usize) -> i64 {
        let (view, m) = (&self.cx.geometry.src, self.cx.geometry.multiplier);
        let at = |channel: usize| view.channel(channel / m);
        at(self.key.phase + vector * self.cx.lanes) - at(self.key.phase)
    }

    /// The vector's input channels, each into the lanes of the outputs that it is for. `pixel` is where the first is.
    pub(super) fn load_channels(&self, e: &mut Emitter, d: Reg, vector: usize, pixel: i64) {
        let (view, m) = (&self.cx.geometry.src, self.cx.geometry.multiplier);
        let at = Address { ptr: SRC, offset: pixel + self.src_channel_of(vector) };
        if m >= self.cx.lanes {
            // All lanes are outputs of one input channel.
            e.broadcast(d, at);
        } else {
            e.load_repeated(d, at, self.lanes_of(vector), view.lane_step(), m);
        }
    }

    pub(super) fn lanes_of(&self, vector: usize) -> usize {
        if vector + 1 == self.key.vectors { self.key.last_lanes } else { self.cx.lanes }
    }

    pub(super) fn along_channels(&self) -> bool {
        self.cx.plan.vector == VectorAxis::Oc
    }

    fn depthwise(&self) -> bool {
        self.cx.plan.algorithm == Algorithm::Depthwise
    }

    fn slides(&self) -> bool {
        let (plan, key, geometry) = (self.cx.plan, self.key, self.cx.geometry);
        let is_one_of_all = slides(plan.algorithm, plan.vector, &geometry.spatial[2]);
        let (kind, tile) = ((plan.algorithm, plan.vector), (key.rows, key.vectors));
        is_one_of_all || slides_alone(geometry, kind, tile, (self.cx.registers, self.cx.fma))
    }

    /// Asks for what [`finish`](Self::finish) will write, and for the residual that it will read, so that their lines come while a long
    /// sum is computed: no hardware foresees those of pixels that lie apart. BLIS does the same for C.
    fn prefetch_output(&self, e: &mut Emitter) {
        let (geometry, spec) = (self.cx.geometry, self.cx.spec);
        let [d, h, w] = &geometry.spatial;
        let steps = d.kernel * h.kernel * w.kernel * geometry.ic;
        let (dst, in_line) = (&geometry.dst, LINE_BYTES / spec.dst_storage().bytes());
        let is_apart = dst.lane_step() == 1 && dst.spatial[2] > in_line as i64;
        if !self.along_channels() || self.depthwise() || !is_apart || steps < LONG_SUM {
            return;
        }
        let residual = spec.has_residual().then(|| epilogue::residual(spec, BIAS));
        for ptr in residual.into_iter().chain([DST]) {
            for row in 0..self.key.rows {
                for v in (0..self.key.vectors).filter(|v| (v * self.cx.lanes).is_multiple_of(in_line)) {
                    let offset = row as i64 * dst.spatial[2] + self.channel_of(dst, v);
                    e.prefetch(Address { ptr, offset });
                }
            }
        }
    }

    /// Every accumulator to its bias, or zero.
    fn initialize(&self, e: &mut Emitter) {
        // Sums of integers have constants of their own.
        let starts_at_zero = !self.cx.spec.bias && self.cx.spec.integers.is_none();
        for row in 0..self.key.rows {
            for vector in 0..self.key.vectors {
                let d = self.acc(row, vector);
                let bias = |offset: usize| Address { ptr: BIAS, offset: offset as i64 };
                if starts_at_zero {
                    e.constant(d, 0.0);
                } else if self.along_channels() {
                    e.load(d, bias(vector * self.cx.lanes), self.lanes_of(vector), 1);
                } else {
                    e.broadcast(d, bias(row));
                }
            }
        }
    }

    /// The sum over taps and input channels.
    fn reduce(&self, e: &mut Emitter) {
        if self.cx.geometry.empty {
            return;
        }
        let [kd, kh, kw] = self.window(self.cx.geometry.tap_steps(self.cx.panel));
        let channels = self.channels();
        let all = 0..self.key.rows;
        if self.key.taps != Taps::Single && self.slides() {
            return self.levels(e, &merged(&[kd, kh]), &mut |e| self.slide(e, kw.weights));
        }
        match &self.key.taps {
            Taps::Edge(taps) => self.levels(e, &merged(&[kd, kh]), &mut |e| {
                for (i, rows) in taps.iter().enumerate() {
                    for (start, levels) in channels.iter().filter(|_| !rows.is_empty()) {
                        let base = (i as i64 * kw.src + start.0, i as i64 * kw.weights + start.1);
                        self.nested(e, levels, rows.clone(), base);
                    }
                }
            }),
            _ => match channels.as_slice() {
                [(start, levels)] => self.nested(e, &[&[kd, kh, kw], &levels[..]].concat(), all, *start),
                _ => self.levels(e, &merged(&[kd, kh, kw]), &mut |e| {
                    for (start, levels) in &channels {
                        self.nested(e, levels, all.clone(), *start);
                    }
                }),
            },
        }
    }

    /// The loops over the window, whose taps are `weights` apart.
    pub(super) fn window(&self, weights: [i64; 3]) -> [Level; 3] {
        let (spatial, steps) = (&self.cx.geometry.spatial, self.cx.geometry.src.spatial);
        let ranged = [self.cx.ranged[0], self.cx.ranged[1], self.key.taps == Taps::Single];
        let mut next_range = 0;
        [0, 1, 2].map(|i| {
            let extent = match ranged[i] {
                true => Extent::Range(next_range),
                false => Extent::Count(spatial[i].kernel as u64),
            };
            next_range += u32::from(ranged[i]);
            Level { extent, src: spatial[i].dilation as i64 * steps[i], weights: weights[i] }
        })
    }

    /// The sum over input channels: for each run of them what its first adds to `src` and `weights`, and its loops.
    fn channels(&self) -> Vec<((i64, i64), [Level; 2])> {
        let (src, panel) = (self.cx.geometry.src, self.cx.panel);
        let level = |count: usize, src: i64, channels: usize| {
            let extent = Extent::Count(count as u64);
            Level { extent, src, weights: (channels * panel) as i64 }
        };
        let runs = src.runs(self.cx.geometry.ic).into_iter();
        runs.map(|run| {
            let start = (src.channel(run.start), (run.start * panel) as i64);
            (start, [level(run.planes, src.plane, src.lanes), level(run.lanes, 1, 1)])
        })
        .collect()
    }

    /// `levels` around the innermost of them.
    fn nested(&self, e: &mut Emitter, levels: &[Level], rows: std::ops::Range<usize>, base: (i64, i64)) {
        let levels = merged(levels);
        let (inner, outer) = match levels.split_last() {
            Some((&inner, outer)) => (inner, outer),
            None => (Level { extent: Extent::Count(1), src: 0, weights: 0 }, &[][..]),
        };
        self.levels(e, outer, &mut |e| self.innermost(e, inner, rows.clone(), base));
    }

    pub(super) fn levels(&self, e: &mut Emitter, levels: &[Level], body: &mut dyn FnMut(&mut Emitter)) {
        match levels.split_first() {
            None => body(e),
            Some((level, rest)) => {
                e.repeat(level.extent, &[(SRC, level.src), (WEIGHTS, level.weights)], |e| {
                    self.levels(e, rest, body);
                });
            }
        }
    }

    /// The innermost level, `unroll` steps at a time; `base` is added to every address.
    fn innermost(&self, e: &mut Emitter, level: Level, rows: std::ops::Range<usize>, base: (i64, i64)) {
        let step = |e: &mut Emitter, i: u64| {
            let i = i as i64;
            self.step(e, rows.clone(), (base.0 + i * level.src, base.1 + i * level.weights));
        };
        let Extent::Count(count) = level.extent else {
            e.repeat(level.extent, &[(SRC, level.src), (WEIGHTS, level.weights)], |e| step(e, 0));
            return;
        };
        let unroll = (self.cx.plan.unroll as u64).clamp(1, count);
        let (rounds, rest) = (count / unroll, count % unroll);
        let by = unroll as i64;
        e.repeat(Extent::Count(rounds), &[(SRC, by * level.src), (WEIGHTS, by * level.weights)], |e| {
            for i in 0..unroll {
                step(e, i);
            }
        });
        for i in 0..rest {
            step(e, rounds * unroll + i);
        }
    }

    /// One row of the window, for pixels and channels that each have a window of their own, or for one input channel that is in all sums.
    fn slide(&self, e: &mut Emitter, tap: i64) {
        let (lanes, vectors) = (self.cx.lanes, self.key.vectors);
        let w = self.cx.geometry.spatial[2];
        let weight = |kw: usize, v: usize| self.whole(kw * vectors + v);
        let x = self.whole(w.kernel * vectors);
        let product = Reg(x.0 + 1);
        let has = |row: usize, kw: usize| match &self.key.taps {
            Taps::Edge(taps) => taps[kw].contains(&row),
            _ => true,
        };
        for kw in (0..w.kernel).filter(|&kw| (0..self.key.rows).any(|row| has(row, kw))) {
            for v in 0..vectors {
                let offset = kw as i64 * tap + self.weights_of(v);
                e.load(weight(kw, v), Address { ptr: WEIGHTS, offset }, lanes, 1);
            }
        }
        let src = self.cx.geometry.src;
        for (distance, readers) in slide(&w, self.key.rows) {
            let readers: Vec<_> = readers.into_iter().filter(|&(row, kw)| has(row, kw)).collect();
            if readers.is_empty() {
                continue;
            }
            let offset = distance as i64 * src.spatial[2];
            if !self.depthwise() {
                e.broadcast(x, Address { ptr: SRC, offset });
            }
            for v in 0..vectors {
                if self.depthwise() {
                    self.load_channels(e, x, v, offset);
                }
                for &(row, kw) in &readers {
                    let acc = self.acc(row, v);
                    e.multiply_add(acc, x, weight(kw, v), acc, product);
                }
            }
        }
    }

    /// One tap of one input channel: every accumulator of `rows` takes a product.
    fn step(&self, e: &mut Emitter, rows: std::ops::Range<usize>, (src, weights): (i64, i64)) {
        let lanes = self.cx.lanes;
        let at = |ptr: Ptr, offset: i64| Address { ptr, offset };
        let pixel = self.cx.pixel();
        for v in 0..self.key.vectors {
            if self.along_channels() {
                e.load(self.whole(v), at(WEIGHTS, weights + self.weights_of(v)), lanes, 1);
            } else {
                let from = at(SRC, src + (v * lanes) as i64 * pixel);
                e.load(self.whole(v), from, self.lanes_of(v), pixel);
            }
        }
        let product = Reg(self.single().0 + 1);
        for row in rows {
            if !self.depthwise() || !self.along_channels() {
                let from = match self.along_channels() {
                    true => at(SRC, src + row as i64 * pixel),
                    false => at(WEIGHTS, weights + row as i64),
                };
                e.broadcast(self.single(), from);
            }
            for v in 0..self.key.vectors {
                if self.depthwise() && self.along_channels() {
                    self.load_channels(e, self.single(), v, src + row as i64 * pixel);
                }
                let acc = self.acc(row, v);
                // Bytes of the input are the first operand.
                let (x, w) = match self.along_channels() {
                    true => (self.single(), self.whole(v)),
                    false => (self.whole(v), self.single()),
                };
                match self.cx.geometry.lane_channels {
                    QUAD => pairs::dot4(e, acc, (x, w), product, self.ones()),
                    PAIR => {
                        e.binary(BinaryOp::Dot, product, self.single(), self.whole(v));
                        e.binary(BinaryOp::AddInt, acc, acc, product);
                    }
                    _ => e.multiply_add(acc, self.single(), self.whole(v), acc, product),
                }
            }
        }
    }

    /// Epilogue and stores. What the epilogue takes comes behind `to` among the tile's pointers.
    pub(super) fn finish(&self, e: &mut Emitter, to: Ptr) {
        let bias = Ptr(to.0 + 1);
        let free = self.whole(0);
        let dst = self.cx.geometry.dst;
        let pixel = dst.spatial[2];
        let lane_step = if self.along_channels() { dst.lane_step() } else { pixel };
        if let Some(output) = self.cx.spec.integers.as_ref().and_then(|integers| integers.output.as_ref()) {
            self.requantize(e, output, free);
        }
        for row in 0..self.key.rows {
            for v in 0..self.key.vectors {
                let x = self.acc(row, v);
                let along = v * self.cx.lanes;
                let (first, offset) = match self.along_channels() {
                    true => (along, row as i64 * pixel + self.channel_of(&dst, v)),
                    false => (row, dst.channel(row) + along as i64 * pixel),
                };
                let outputs = Outputs {
                    channel: Address { ptr: bias, offset: first as i64 },
                    channels: self.along_channels().then(|| self.lanes_of(v)),
                    residual: Address { ptr: epilogue::residual(self.cx.spec, bias), offset },
                    lanes: self.lanes_of(v),
                    lane_step,
                };
                epilogue::emit(e, self.cx.spec, x, free, outputs);
                e.store(Address { ptr: to, offset }, x, self.lanes_of(v), lane_step);
            }
        }
    }
}

impl Body<'_> {
    /// Every sum to an element of the output. The factors of the channels lie behind the constants of their sums.
    fn requantize(&self, e: &mut Emitter, output: &Requantized, free: Reg) {
        let factors = self.cx.spec.out_channels as i64;
        let at = |offset: usize| Address { ptr: BIAS, offset: factors + offset as i64 };
        let (outer, inner) = match self.along_channels() {
            true => (self.key.vectors, self.key.rows),
            false => (self.key.rows, self.key.vectors),
        };
        for channels in 0..outer {
            if self.along_channels() {
                e.load(free, at(channels * self.cx.lanes), self.lanes_of(channels), 1);
            } else {
                e.broadcast(free, at(channels));
            }
            for other in 0..inner {
                let x = if self.along_channels() { self.acc(other, channels) } else { self.acc(channels, other) };
                pairs::requantize(e, output, x, free);
            }
        }
    }
}

/// Joins levels that run through memory as one, and drops those that run once.
pub(super) fn merged(levels: &[Level]) -> Vec<Level> {
    let mut out: Vec<Level> = Vec::new();
    for &level in levels {
        if level.extent == Extent::Count(1) {
            continue;
        }
        if let (Some(last), Extent::Count(inner)) = (out.last_mut(), level.extent)
            && let Extent::Count(outer) = last.extent
            && last.src == inner as i64 * level.src
            && last.weights == inner as i64 * level.weights
        {
            *last = Level { extent: Extent::Count(outer * inner), ..level };
            continue;
        }
        out.push(level);
    }
    out
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
