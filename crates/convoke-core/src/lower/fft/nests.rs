//! The loops: over rows, phases, sets of blocks and groups, and in each over transforms and products.

use std::collections::HashMap;

use super::super::epilogue;
use super::super::geometry::{Geometry, View};
use super::super::nests::new_var;
use super::shape::Shape;
use super::tiles::Transform;
use crate::ir::{Affine, Arg, Buffer, Call, CeilDiv, Kernel, Loop, Nest, Range, Role, Stmt, Tile, Var};
use crate::plan::{Axis, Plan};
use crate::spec::{Batch, LayerSpec, Storage};

/// Appends the nests that compute `dst`, and `local`.
pub(crate) fn compute(spec: &LayerSpec, plan: &Plan, geometry: &Geometry, kernel: &mut Kernel) {
    let shape = Shape::new(spec, geometry, kernel.lanes(), plan.tile, &plan.block);
    kernel.buffers.push(Buffer {
        role: Role::Local,
        storage: kernel.dtype.storage(),
        len: Affine::constant(shape.local() as i64),
    });
    let transform = Transform { spec, shape: &shape, fma: kernel.fma };
    let (d, h) = (geometry.spatial[0].output, geometry.spatial[1].output);
    let all = [
        (Level::Batch, spec.fixed_batch()),
        (Level::Depth, Some(d)),
        (Level::Height, Some(h)),
        (Level::Group, Some(geometry.groups)),
        (Level::Phase, Some(shape.phases)),
        (Level::Set, Some(shape.sets)),
    ];
    let mut levels: Vec<Level> = all.into_iter().filter(|l| l.1 != Some(1)).map(|l| l.0).collect();
    if let Some(at) = levels.iter().position(|l| l.axis(&shape) == Some(plan.parallel)) {
        levels[..=at].rotate_right(1);
    }
    let divided = levels.first().is_some_and(|l| l.axis(&shape) == Some(plan.parallel));
    let mut nests =
        Nests { spec, geometry, shape: &shape, transform: &transform, levels, kernel, tiles: HashMap::new() };
    let at = nests.start();
    let stmts = nests.outer(0, at);
    if nests.levels.is_empty() {
        let var = new_var(nests.kernel, "once");
        let outer = Loop { var, range: Range::count(1), parallel: false, body: stmts };
        return kernel.nests.push(Nest { label: "compute".to_owned(), outer });
    }
    for stmt in stmts {
        if let Stmt::For(outer) = stmt {
            let outer = Loop { parallel: divided, ..outer };
            kernel.nests.push(Nest { label: "compute".to_owned(), outer });
        }
    }
}

/// A loop around the transforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Batch,
    Depth,
    Height,
    Group,
    Phase,
    Set,
}

impl Level {
    fn axis(self, shape: &Shape) -> Option<Axis> {
        match self {
            Self::Batch => Some(Axis::N),
            Self::Depth => Some(Axis::Od),
            Self::Height => Some(Axis::Oh),
            Self::Group => Some(Axis::G),
            Self::Phase => None,
            Self::Set => Some(shape.axis()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Batch => "n",
            Self::Depth => "od",
            Self::Height => "oh",
            Self::Group => "g",
            Self::Phase => "pw",
            Self::Set => "set",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Border,
    /// Of blocks in such a buffer whose elements are so far apart.
    Forward(Storage, i64),
    /// Of so many output channels.
    Product(usize),
    Inverse,
    Output,
}

/// Where loops stand.
#[derive(Clone)]
struct At {
    /// The first input of the set's first block.
    src: Affine,
    dst: Affine,
    /// First output of the set, along the row.
    first: Affine,
    weights: Affine,
    /// First output channel, of all groups.
    channel: Affine,
    /// Whether the inputs of all blocks are in the image.
    inside: bool,
}

/// A run of output channels that are computed together.
struct Channels {
    count: usize,
    /// From channel 0 of the group on.
    first: Affine,
    /// Where the first is in `dst`, and the distance of two.
    dst: Affine,
    step: i64,
}

struct Nests<'a> {
    spec: &'a LayerSpec,
    geometry: &'a Geometry,
    shape: &'a Shape,
    transform: &'a Transform<'a>,
    /// The loops that there are, outermost first.
    levels: Vec<Level>,
    kernel: &'a mut Kernel,
    tiles: HashMap<Kind, usize>,
}

impl Nests<'_> {
    fn start(&self) -> At {
        let packing = self.shape.packing(self.spec.dtype);
        At {
            src: Affine::constant(-(self.shape.w.pad_lo as i64) * self.geometry.src.spatial[2]),
            dst: Affine::constant(0),
            first: Affine::constant(0),
            weights: Affine::constant(packing.twiddles() as i64),
            channel: Affine::constant(0),
            inside: self.shape.interior() == (0..self.shape.sets),
        }
    }

    /// `index` iterations of `level` on.
    fn advanced(&self, at: &At, level: Level, index: &Affine) -> At {
        let (g, mut at) = (self.geometry, at.clone());
        let mut first = 0;
        let row = |a: usize| (g.spatial[a].stride as i64 * g.src.spatial[a], g.dst.spatial[a]);
        let (src, dst) = match level {
            Level::Batch => (g.src.n, g.dst.n),
            Level::Depth => row(0),
            Level::Height => row(1),
            Level::Group => {
                let filters = self.shape.packing(self.spec.dtype).filters(g.ic);
                at.weights = at.weights.plus_scaled(index, (g.oc * filters) as i64);
                at.channel = at.channel.plus_scaled(index, g.oc as i64);
                (g.src.channel(g.ic), g.dst.channel(g.oc))
            }
            Level::Phase | Level::Set => {
                first = if level == Level::Set { self.shape.advance() as i64 } else { 1 };
                (first * g.src.spatial[2], self.outputs(first))
            }
        };
        at.src = at.src.plus_scaled(index, src);
        at.dst = at.dst.plus_scaled(index, dst);
        at.first = at.first.plus_scaled(index, first);
        at
    }

    /// How far `count` outputs reach in `dst`; of an image those of whole rows.
    fn outputs(&self, count: i64) -> i64 {
        match self.shape.image {
            Some(image) => count / image.pitch as i64 * self.geometry.dst.spatial[1],
            None => count * self.geometry.dst.spatial[2],
        }
    }

    /// The iterations of `level`, and whether the sets are within the image.
    fn parts(&self, level: Level, inside: bool) -> Vec<(Range, bool)> {
        let count = |n: usize| Range::count(n as i64);
        let all = match level {
            Level::Batch => match self.spec.batch {
                Batch::Fixed(n) => count(n),
                Batch::Named(_) => Range::of(Affine::constant(0), Affine::var(Var::BATCH, 1)),
            },
            Level::Depth => count(self.geometry.spatial[0].output),
            Level::Height => count(self.geometry.spatial[1].output),
            Level::Group => count(self.geometry.groups),
            Level::Phase => count(self.shape.phases),
            Level::Set => {
                let (interior, end) = (self.shape.interior(), self.shape.sets);
                let parts = match interior.is_empty() {
                    true => vec![(0..end, false)],
                    false => {
                        vec![(0..interior.start, false), (interior.clone(), true), (interior.end..end, false)]
                    }
                };
                let range = |r: &std::ops::Range<usize>| {
                    Range::of(Affine::constant(r.start as i64), Affine::constant(r.end as i64))
                };
                return parts.iter().filter(|p| !p.0.is_empty()).map(|p| (range(&p.0), p.1)).collect();
            }
        };
        vec![(all, inside)]
    }

    /// The loops from the `i`-th on.
    fn outer(&mut self, i: usize, at: At) -> Vec<Stmt> {
        let Some(&level) = self.levels.get(i) else { return self.set(&at) };
        let mut stmts = Vec::new();
        for (range, inside) in self.parts(level, at.inside) {
            let var = new_var(self.kernel, level.name());
            let at = At { inside, ..self.advanced(&at, level, &Affine::var(var, 1)) };
            let body = self.outer(i + 1, at);
            stmts.push(Stmt::For(Loop { var, range, parallel: false, body }));
        }
        stmts
    }

    /// `body` for every index below `count`; one index needs no loop.
    fn repeat(&mut self, name: &str, count: usize, body: &mut dyn FnMut(&mut Self, Affine) -> Vec<Stmt>) -> Vec<Stmt> {
        if count == 1 {
            return body(self, Affine::constant(0));
        }
        let var = new_var(self.kernel, name);
        let body = body(self, Affine::var(var, 1));
        vec![Stmt::For(Loop { var, range: Range::count(count as i64), parallel: false, body })]
    }

    /// One set of blocks.
    fn set(&mut self, at: &At) -> Vec<Stmt> {
        let mut stmts = self.forward(at);
        stmts.extend(self.backward(at));
        stmts
    }

    /// The transforms of all input channels.
    fn forward(&mut self, at: &At) -> Vec<Stmt> {
        let (src, work) = (self.geometry.src, self.shape.work());
        let (pairs, input) = (self.shape.pairs, self.shape.input_at() as i64);
        let mut stmts = Vec::new();
        for run in src.runs(self.geometry.ic) {
            stmts.extend(self.repeat("icb", run.planes, &mut |nests, plane| {
                nests.repeat("ic", run.lanes, &mut |nests, lane| {
                    nests.repeat("pair", pairs, &mut |nests, pair| {
                        let channel = Affine::constant(run.start as i64);
                        let channel = channel.plus_scaled(&plane, run.lanes as i64).plus_scaled(&lane, 1);
                        let from = at.src.clone().offset(src.channel(run.start));
                        let from = from.plus_scaled(&plane, src.plane).plus_scaled(&lane, 1);
                        let to = Affine::constant(input).plus_scaled(&channel, (pairs * work) as i64);
                        nests.forward_pair(at, &pair, from, to.plus_scaled(&pair, work as i64))
                    })
                })
            }));
        }
        stmts
    }

    /// The transform of two blocks of a channel at `from`, the channel's first of the set.
    fn forward_pair(&mut self, at: &At, pair: &Affine, from: Affine, to: Affine) -> Vec<Stmt> {
        let (step, lines) = (self.geometry.src.spatial[2], [0, 1].map(|block| self.line(block)));
        let place = |block: i64| {
            let distance = Affine::constant(block).plus_scaled(pair, 2);
            distance.clone().plus_scaled(&distance, (self.shape.hop * self.shape.step) as i64 - 1)
        };
        let blocks = [0, 1].map(|block| {
            let first = at.first.clone().plus_scaled(&place(block), 1);
            (Arg { role: self.geometry.src.role, offset: from.clone().plus_scaled(&place(block), step) }, first)
        });
        let mut stmts = Vec::new();
        let sources = match at.inside {
            true => blocks.map(|b| b.0),
            false => {
                for ((block, first), line) in blocks.into_iter().zip(&lines) {
                    let ranges = self.present(&first);
                    stmts.push(self.call(Kind::Border, vec![block, line.clone()], ranges));
                }
                lines
            }
        };
        let [real, imaginary] = sources;
        let to = Arg { role: Role::Local, offset: to };
        let stride = if at.inside { step * self.shape.step as i64 } else { 1 };
        let storage = self.kernel.storage(real.role);
        stmts.push(self.call(Kind::Forward(storage, stride), vec![real, imaginary, to, twiddles()], Vec::new()));
        stmts
    }

    /// The line of the first or the second block.
    fn line(&self, block: usize) -> Arg {
        Arg { role: Role::Local, offset: Affine::constant((block * self.shape.line()) as i64) }
    }

    /// The products, run by run of output channels, and what comes of them.
    fn backward(&mut self, at: &At) -> Vec<Stmt> {
        let (dst, most) = (self.geometry.dst, self.shape.channels);
        let mut stmts = Vec::new();
        for run in dst.runs(self.geometry.oc) {
            // Channels that are equally far apart, in a loop over planes where these hold several.
            let (outer, count, step) =
                if dst.lanes == 1 { (1, run.planes, dst.plane) } else { (run.planes, run.lanes, 1) };
            stmts.extend(self.repeat("ocb", outer, &mut |nests, plane| {
                let channels = |first: usize, index: Affine, count: usize| {
                    let index = index.clone().plus_scaled(&index, most as i64 - 1).offset(first as i64);
                    let place = Affine::constant(dst.channel(run.start)).plus_scaled(&plane, dst.plane);
                    Channels {
                        count,
                        first: index.clone().plus_scaled(&plane, run.lanes as i64).offset(run.start as i64),
                        dst: place.plus_scaled(&index, step),
                        step,
                    }
                };
                let (full, rest) = (count / most, count % most);
                let mut stmts = Vec::new();
                if full > 0 {
                    stmts.extend(
                        nests.repeat("oc", full, &mut |nests, index| nests.channels(at, &channels(0, index, most))),
                    );
                }
                if rest > 0 {
                    stmts.extend(nests.channels(at, &channels(full * most, Affine::constant(0), rest)));
                }
                stmts
            }));
        }
        stmts
    }

    fn channels(&mut self, at: &At, channels: &Channels) -> Vec<Stmt> {
        let shape = self.shape;
        let filters = shape.packing(self.spec.dtype).filters(shape.ic) as i64;
        let local = |offset: Affine| Arg { role: Role::Local, offset };
        let (input, products) = (shape.input_at() as i64, Affine::constant(shape.products_at() as i64));
        let weights = at.weights.clone().plus_scaled(&channels.first, filters);
        let args =
            vec![local(Affine::constant(input)), Arg { role: Role::Weights, offset: weights }, local(products.clone())];
        let mut stmts = vec![self.call(Kind::Product(channels.count), args, Vec::new())];
        let work = shape.work() as i64;
        stmts.extend(self.repeat("row", channels.count, &mut |nests, row| {
            nests.repeat("pair", shape.pairs, &mut |nests, pair| {
                let from = products.clone().plus_scaled(&row, shape.pairs as i64 * work).plus_scaled(&pair, work);
                let args = vec![nests.line(0), nests.line(1), local(from), twiddles()];
                let mut stmts = vec![nests.call(Kind::Inverse, args, Vec::new())];
                for block in 0..2 {
                    stmts.extend(nests.output(at, channels, &row, &pair, block));
                }
                stmts
            })
        }));
        stmts
    }

    /// The outputs of one block.
    fn output(&mut self, at: &At, channels: &Channels, row: &Affine, pair: &Affine, block: usize) -> Vec<Stmt> {
        let place = Affine::constant(0).plus_scaled(pair, 2).offset(block as i64);
        let hop = (self.shape.hop * self.shape.step) as i64;
        let first = at.first.clone().plus_scaled(&place, hop);
        let to = at.dst.clone().plus_scaled(&channels.dst, 1).plus_scaled(row, channels.step);
        let to = to.plus_scaled(&place, self.outputs(hop));
        let channel = at.channel.clone().plus_scaled(&channels.first, 1).plus_scaled(row, 1);
        let mut args = vec![self.line(block), Arg { role: Role::Dst, offset: to.clone() }];
        args.extend(epilogue::arguments(self.spec, channel, to));
        let Some(image) = self.shape.image else {
            let ranges = self.wanted(&first);
            return vec![self.call(Kind::Output, args, ranges)];
        };
        let var = new_var(self.kernel, "oh");
        let row = |arg: &mut Arg, step: i64| arg.offset = arg.offset.clone().plus(var, step);
        row(&mut args[0], image.pitch as i64);
        let of_outputs = args.iter_mut().filter(|arg| matches!(arg.role, Role::Dst | Role::Residual));
        of_outputs.for_each(|arg| row(arg, self.geometry.dst.spatial[1]));
        // Blocks are whole rows, so that what comes before this one is, too.
        let rows_of = |outputs: i64| outputs / image.pitch as i64;
        let mut left = Affine::constant(image.rows as i64).offset(-rows_of(first.constant));
        for &(var, outputs) in &first.terms {
            left = left.plus(var, -rows_of(outputs));
        }
        let rows = [CeilDiv::constant(self.shape.block() as i64), CeilDiv::whole(left)];
        let range = Range { lo: vec![CeilDiv::constant(0)], hi: rows.to_vec() };
        let (columns, lanes) = (image.columns as i64, self.shape.lanes as i64);
        let whole = columns / lanes;
        let ranges = vec![Range::count(whole), Range::of(Affine::constant(whole * lanes), Affine::constant(columns))];
        let body = vec![self.call(Kind::Output, args, ranges)];
        vec![Stmt::For(Loop { var, range, parallel: false, body })]
    }

    /// Of a block whose first output is `first` the elements that are in the image: whole rows of lanes, the elements before them, and
    /// those behind, each with some of the rows'.
    fn present(&self, first: &Affine) -> Vec<Range> {
        let shape = self.shape;
        let (step, lanes) = (shape.step as i64, shape.lanes as i64);
        let (pad, input) = (shape.w.pad_lo as i64, shape.w.input as i64);
        let before = Affine::constant(pad).plus_scaled(first, -1);
        let within = before.clone().offset(input);
        let over =
            |affine: &Affine, less: i64, divisor: i64| CeilDiv { numerator: affine.clone().offset(less), divisor };
        let (zero, points) = (CeilDiv::constant(0), CeilDiv::constant(shape.points() as i64));
        let whole = (lanes - 1) * step;
        vec![
            Range {
                lo: vec![zero.clone(), over(&before, 0, lanes * step)],
                hi: vec![CeilDiv::constant(shape.rows as i64), over(&within, -whole, lanes * step)],
            },
            Range {
                lo: vec![zero.clone(), over(&before, 0, step)],
                hi: vec![points.clone(), over(&within, 0, step), over(&before, whole, step)],
            },
            Range {
                lo: vec![zero, over(&before, 0, step), over(&within, -whole, step)],
                hi: vec![points, over(&within, 0, step)],
            },
        ]
    }

    /// Of a block whose first output is `first` those that there are: whole rows of lanes, and the elements behind.
    fn wanted(&self, first: &Affine) -> Vec<Range> {
        let shape = self.shape;
        let (step, lanes, hop) = (shape.step as i64, shape.lanes as i64, shape.hop as i64);
        let left = Affine::constant(shape.w.output as i64).plus_scaled(first, -1);
        let over = |less: i64, divisor: i64| CeilDiv { numerator: left.clone().offset(less), divisor };
        let (zero, whole) = (CeilDiv::constant(0), (lanes - 1) * step);
        vec![
            Range { lo: vec![zero.clone()], hi: vec![CeilDiv::constant(hop / lanes), over(-whole, lanes * step)] },
            Range { lo: vec![zero, over(-whole, step)], hi: vec![CeilDiv::constant(hop), over(0, step)] },
        ]
    }

    fn call(&mut self, kind: Kind, args: Vec<Arg>, ranges: Vec<Range>) -> Stmt {
        let tile = match self.tiles.get(&kind) {
            Some(&tile) => tile,
            None => {
                let tile = self.tile(kind);
                self.kernel.tiles.push(tile);
                self.tiles.insert(kind, self.kernel.tiles.len() - 1);
                self.kernel.tiles.len() - 1
            }
        };
        Stmt::Call(Call { tile, args, ranges })
    }

    fn tile(&self, kind: Kind) -> Tile {
        let along = |view: &View| view.spatial[2] * self.shape.step as i64;
        let (src, dst) = (along(&self.geometry.src), along(&self.geometry.dst));
        let name = |what: &str| format!("{}_{what}", self.kernel.name);
        match kind {
            Kind::Border => self.transform.border(src, name("border")),
            Kind::Forward(storage, stride) => {
                let strided = if stride == 1 { "" } else { "_strided" };
                let half = if storage.is_half() { format!("_{}", storage.name()) } else { String::new() };
                self.transform.forward(stride, name(&format!("forward{strided}{half}")))
            }
            Kind::Product(count) => self.transform.product(count, name(&format!("product_oc{count}"))),
            Kind::Inverse => self.transform.inverse(name("inverse")),
            Kind::Output => self.transform.output(dst, name("output")),
        }
    }
}

/// The twiddle factors, which weights begin with.
fn twiddles() -> Arg {
    Arg { role: Role::Weights, offset: Affine::constant(0) }
}
