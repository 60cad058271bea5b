//! The loops: over blocks of tiles, and in each over transforms and matrix products.
//!
//! A block's transformed input and its products are in `local`, and everything is one nest; or, where threads divide the
//! output channels, the transformed input of all blocks is in `scratch`, and a nest before the others makes it.

use std::collections::HashMap;

use super::super::channels;
use super::super::epilogue;
use super::super::geometry::Geometry;
use super::super::nests::new_var;
use super::super::pixels::Taps;
use super::super::tile::{self, TileContext, TileKey};
use super::super::weights::WeightsPacking;
use super::places::{Inner, Places};
use super::schedule::Schedule;
use super::shape::{Level, Outer, Shape};
use super::tiles::Transform;
use super::{schedules, taps, transforms};
use crate::ir::{Affine, Arg, Call, CeilDiv, Kernel, Loop, Nest, Range, Role, Stmt, Var};
use crate::plan::{Axis, Plan};
use crate::spec::{Batch, LayerSpec};
use crate::target::Target;

/// Appends the nests that compute `dst`, with what they need of `scratch` and `local`.
pub(crate) fn compute(
    spec: &LayerSpec,
    plan: &Plan,
    geometry: &Geometry,
    packing: &WeightsPacking,
    target: &Target,
    kernel: &mut Kernel,
) {
    let m = plan.algorithm.winograd().unwrap_or(2);
    let shape = Shape::new(spec, geometry, m, &plan.block, plan.parallel);
    let schedules = schedules(transforms(m, taps(spec)), target);
    let Some(schedules) = schedules else { unreachable!("the planner has asked whether the registers are enough") };
    let transform = Transform { spec, shape: &shape, fma: kernel.fma, lanes: kernel.lanes() };
    let inner = Inner::new(spec, geometry, &shape);
    let cx = TileContext {
        vnni: false,
        spec: &inner.spec,
        plan,
        geometry: &inner.geometry,
        lanes: kernel.lanes(),
        fma: kernel.fma,
        registers: target.registers,
        panel: packing.lanes,
        panel_len: packing.panel_len(),
        ranged: [false; 2],
        counted: [false; 3],
    };
    let places = Places::new(plan, &shape, &transform, kernel);
    let mut nests = Nests {
        spec,
        plan,
        geometry,
        packing,
        shape: &shape,
        schedules,
        transform: &transform,
        cx,
        places,
        kernel,
        products: HashMap::new(),
        transforms: HashMap::new(),
    };
    nests.all();
}

/// Where loops stand.
#[derive(Clone)]
struct At {
    src: Affine,
    dst: Affine,
    /// First output of the tile along each axis.
    first: [Affine; 3],
    /// The first iteration of the blocked loop that the block has.
    block: Affine,
    /// The block's transformed input.
    input: Affine,
    weights: Affine,
    /// First output channel, of all groups.
    channel: Affine,
    /// The tile, in its block.
    tile: Affine,
    /// The part of the input, along each axis.
    part: [usize; 3],
    /// Whether every axis so far has the tile's elements all within the image.
    inside: bool,
}

/// Which transform a loop over the tiles of a block calls.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Pass {
    Input,
    /// Of so many output channels.
    Output(usize),
}

struct Nests<'a> {
    spec: &'a LayerSpec,
    plan: &'a Plan,
    geometry: &'a Geometry,
    packing: &'a WeightsPacking,
    shape: &'a Shape,
    /// Of the input and of the output.
    schedules: [Schedule; 2],
    transform: &'a Transform<'a>,
    cx: TileContext<'a>,
    places: Places,
    kernel: &'a mut Kernel,
    products: HashMap<TileKey, usize>,
    transforms: HashMap<(Pass, bool), usize>,
}

impl Nests<'_> {
    fn all(&mut self) {
        let at = self.start();
        if self.plan.parallel != Axis::Oc {
            let stmts = self.outer(0, at, &mut |nests, at| {
                let mut stmts = nests.input(&at);
                stmts.extend(nests.groups(at, &mut |nests, at| {
                    nests.channel_blocks(at, &mut |nests, at, channels| nests.block(&at, channels))
                }));
                stmts
            });
            return self.each_nest("compute", stmts, self.shape.divided);
        }
        let stmts = self.outer(0, at.clone(), &mut |nests, at| nests.input(&at));
        // A copy of the input would be read from the buffer that is written.
        self.each_nest("transform", stmts, self.geometry.src.role != Role::Scratch);
        let stmts = self.channel_blocks(at, &mut |nests, at, channels| {
            let stmts =
                nests.groups(at, &mut |nests, at| nests.outer(0, at, &mut |nests, at| nests.block(&at, channels)));
            nests.grouped(stmts)
        });
        let blocks = self.geometry.oc / self.shape.channels;
        for (i, stmt) in stmts.into_iter().enumerate() {
            self.nest("compute", vec![stmt], i == 0 && blocks > 1);
        }
    }

    /// Nests of `stmts`: one each, if they are loops around blocks.
    fn each_nest(&mut self, label: &str, stmts: Vec<Stmt>, divided: bool) {
        if self.shape.outer.is_empty() {
            return self.nest(label, stmts, false);
        }
        for stmt in stmts {
            self.nest(label, vec![stmt], divided);
        }
    }

    /// A nest of `stmts`; where threads may divide it, they are one loop.
    fn nest(&mut self, label: &str, mut stmts: Vec<Stmt>, divided: bool) {
        let outer = match (stmts.pop(), stmts.is_empty()) {
            (Some(Stmt::For(outer)), true) => Loop { parallel: divided, ..outer },
            (last, _) => {
                stmts.extend(last);
                let var = new_var(self.kernel, "once");
                Loop { var, range: Range::count(1), parallel: false, body: stmts }
            }
        };
        self.kernel.nests.push(Nest { label: label.to_owned(), outer });
    }

    fn start(&self) -> At {
        let src = &self.geometry.src;
        let before: i64 = (0..3).map(|a| self.shape.axes[a].pad_lo as i64 * src.spatial[a]).sum();
        At {
            src: Affine::constant(-before),
            dst: Affine::constant(0),
            first: std::array::from_fn(|_| Affine::constant(0)),
            block: Affine::constant(0),
            input: self.places.input.clone(),
            weights: Affine::constant(0),
            channel: Affine::constant(0),
            tile: Affine::constant(0),
            part: [0; 3],
            inside: true,
        }
    }

    /// `body` for every index of `range`; one index needs no loop.
    fn repeat(&mut self, name: &str, range: Range, body: &mut dyn FnMut(&mut Self, Affine) -> Vec<Stmt>) -> Vec<Stmt> {
        if range == Range::count(1) {
            return body(self, Affine::constant(0));
        }
        self.looped(name, range, body)
    }

    /// A loop over `range`, for the outermost, which has to be there.
    fn looped(&mut self, name: &str, range: Range, body: &mut dyn FnMut(&mut Self, Affine) -> Vec<Stmt>) -> Vec<Stmt> {
        let var = new_var(self.kernel, name);
        let body = body(self, Affine::var(var, 1));
        vec![Stmt::For(Loop { var, range, parallel: false, body })]
    }

    /// `stmts` as one statement.
    fn grouped(&mut self, stmts: Vec<Stmt>) -> Vec<Stmt> {
        if stmts.len() == 1 {
            return stmts;
        }
        let var = new_var(self.kernel, "once");
        vec![Stmt::For(Loop { var, range: Range::count(1), parallel: false, body: stmts })]
    }

    fn batch(&self) -> Affine {
        match self.spec.batch {
            Batch::Fixed(n) => Affine::constant(n as i64),
            Batch::Named(_) => Affine::var(Var::BATCH, 1),
        }
    }

    fn count(&self, level: Level) -> Affine {
        self.shape.count(level).map_or_else(|| self.batch(), |n| Affine::constant(n as i64))
    }

    /// `at`, `index` iterations of `level` on.
    fn advanced(&self, at: &At, level: Level, index: &Affine) -> At {
        let (src, dst) = (&self.geometry.src, &self.geometry.dst);
        let mut at = at.clone();
        let mut along = |a: usize, outputs: i64| {
            let stride = self.shape.axes[a].stride as i64;
            at.first[a] = at.first[a].clone().plus_scaled(index, outputs);
            (outputs * stride * src.spatial[a], outputs * dst.spatial[a])
        };
        let (src, dst) = match level {
            Level::Batch => (src.n, dst.n),
            Level::Phase(a) => along(a, 1),
            Level::Tile(a) => along(a, self.shape.axes[a].advance() as i64),
        };
        at.src = at.src.plus_scaled(index, src);
        at.dst = at.dst.plus_scaled(index, dst);
        at
    }

    /// The loops around a block, from the `i`-th on.
    fn outer(&mut self, i: usize, at: At, body: &mut dyn FnMut(&mut Self, At) -> Vec<Stmt>) -> Vec<Stmt> {
        let Some(&outer) = self.shape.outer.get(i) else { return body(self, at) };
        let step = self.places.input_steps[i];
        let repeat = if i == 0 { Self::looped } else { Self::repeat };
        match outer {
            Outer::Each(level) => {
                let mut stmts = Vec::new();
                for (range, inside) in self.parts(level, &Affine::constant(0), self.count(level), None, at.inside) {
                    stmts.extend(repeat(self, level.name(), range, &mut |nests, index| {
                        let mut at = At { inside, ..nests.advanced(&at, level, &index) };
                        at.input = at.input.plus_scaled(&index, step);
                        nests.outer(i + 1, at, body)
                    }));
                }
                stmts
            }
            Outer::Blocks => {
                let (level, size) = (self.shape.blocked, self.shape.size as i64);
                let blocks = CeilDiv { numerator: self.count(level), divisor: size };
                let blocks = match blocks.numerator.as_constant() {
                    Some(_) => CeilDiv::constant(blocks.eval(&[])),
                    None => blocks,
                };
                let range = Range { lo: vec![CeilDiv::constant(0)], hi: vec![blocks] };
                repeat(self, level.block_name(), range, &mut |nests, index| {
                    let mut at = at.clone();
                    at.block = Affine::constant(0).plus_scaled(&index, size);
                    at.input = at.input.plus_scaled(&index, step);
                    nests.outer(i + 1, at, body)
                })
            }
        }
    }

    /// The loop over groups.
    fn groups(&mut self, at: At, body: &mut dyn FnMut(&mut Self, At) -> Vec<Stmt>) -> Vec<Stmt> {
        let g = self.geometry;
        let panels = (self.packing.panels() * self.packing.panel_len()) as i64;
        self.repeat("g", Range::count(g.groups as i64), &mut |nests, index| {
            let mut at = at.clone();
            at.input = at.input.plus_scaled(&index, (g.ic * nests.shape.parts) as i64);
            at.weights = at.weights.plus_scaled(&index, panels);
            at.channel = at.channel.plus_scaled(&index, g.oc as i64);
            at.dst = at.dst.plus_scaled(&index, g.dst.channel(g.oc));
            body(nests, at)
        })
    }

    /// The loop over full blocks of a group's output channels, and what is left.
    fn channel_blocks(&mut self, at: At, body: &mut dyn FnMut(&mut Self, At, usize) -> Vec<Stmt>) -> Vec<Stmt> {
        let (oc, size) = (self.geometry.oc, self.shape.channels);
        let (full, rest) = (oc / size, oc % size);
        let advanced = |nests: &Self, index: &Affine| {
            let mut at = at.clone();
            let panels = (size / nests.packing.lanes * nests.packing.panel_len()) as i64;
            at.weights = at.weights.plus_scaled(index, panels);
            at.channel = at.channel.plus_scaled(index, size as i64);
            at.dst = at.dst.plus_scaled(index, nests.geometry.dst.channel(size));
            at
        };
        let mut stmts = self.repeat("ocb", Range::count(full as i64), &mut |nests, index| {
            let at = advanced(nests, &index);
            body(nests, at, size)
        });
        if rest > 0 {
            let at = advanced(self, &Affine::constant(full as i64));
            stmts.extend(body(self, at, rest));
        }
        stmts
    }

    /// The input of a block, transformed.
    fn input(&mut self, at: &At) -> Vec<Stmt> {
        self.tiles(Pass::Input, 0, at.clone())
    }

    /// The products of a block for `channels` output channels, and their transform.
    fn block(&mut self, at: &At, channels: usize) -> Vec<Stmt> {
        let mut stmts = self.products(at, channels);
        stmts.extend(self.tiles(Pass::Output(channels), 0, at.clone()));
        stmts
    }

    /// The loops over the tiles of a block, from the `i`-th on.
    fn tiles(&mut self, pass: Pass, i: usize, at: At) -> Vec<Stmt> {
        let level = if i == 0 { Some(self.shape.blocked) } else { self.shape.inner.get(i - 1).copied() };
        let Some(level) = level else { return self.transforms(pass, &at) };
        let step = match i {
            0 => self.shape.tiles / self.shape.size,
            _ => self.shape.inner_step(i - 1),
        } as i64;
        let block = if i == 0 { at.block.clone() } else { Affine::constant(0) };
        let left = self.count(level).plus_scaled(&block, -1);
        let size = (i == 0).then_some(self.shape.size);
        let mut stmts = Vec::new();
        for (range, inside) in self.parts(level, &block, left, size, at.inside) {
            stmts.extend(self.repeat(level.name(), range, &mut |nests, index| {
                let place = index.clone().plus_scaled(&block, 1);
                let mut at = At { inside, ..nests.advanced(&at, level, &place) };
                at.tile = at.tile.plus_scaled(&index, step);
                nests.tiles(pass, i + 1, at)
            }));
        }
        stmts
    }

    /// The iterations of `level` from `block` on, `left` of them and at most `size`: those at borders of the image apart from those in
    /// its interior, and whether they are that.
    fn parts(
        &self,
        level: Level,
        block: &Affine,
        left: Affine,
        size: Option<usize>,
        inside: bool,
    ) -> Vec<(Range, bool)> {
        let size = size.map(|n| Affine::constant(n as i64));
        let (start, end) = (vec![Affine::constant(0)], [vec![left], size.into_iter().collect()].concat());
        let (axis, interior) = match level {
            Level::Tile(a) if inside && self.shape.axes[a].is_cut() => {
                (self.shape.axes[a], self.shape.axes[a].interior())
            }
            _ => return vec![(range(start, end), inside)],
        };
        if interior.is_empty() {
            return vec![(range(start, end), false)];
        }
        let from_block = |index: usize| Affine::constant(index as i64).plus_scaled(block, -1);
        let (first, last) = (from_block(interior.start), from_block(interior.end));
        let with = |bounds: &[Affine], bound: &Affine| [bounds, std::slice::from_ref(bound)].concat();
        let mut parts = Vec::new();
        if interior.start > 0 {
            parts.push((range(start.clone(), with(&end, &first)), false));
        }
        parts.push((range(with(&start, &first), with(&end, &last)), true));
        if interior.end < axis.tiles {
            parts.push((range(with(&start, &last), end), false));
        }
        parts
    }

    /// The calls of a transform: of the input one for each part.
    fn transforms(&mut self, pass: Pass, at: &At) -> Vec<Stmt> {
        if pass != Pass::Input {
            return vec![self.transform(pass, at)];
        }
        let [d, h, w] = self.shape.axes.map(|a| a.parts);
        let parts = (0..d * h * w).map(|i| [i / w / h, i / w % h, i % w]);
        let calls = parts.enumerate().map(|(i, part)| {
            let mut at = At { part, ..at.clone() };
            let apart: i64 = part.iter().zip(self.geometry.src.spatial).map(|(&part, step)| part as i64 * step).sum();
            at.src = at.src.offset(apart);
            at.input = at.input.offset((i * self.spec.in_channels) as i64);
            self.transform(pass, &at)
        });
        calls.collect()
    }

    /// The call of a transform.
    fn transform(&mut self, pass: Pass, at: &At) -> Stmt {
        // Axes of one tile have no loop that tells border from interior.
        let single = |a: usize| self.shape.count(Level::Tile(a)) == Some(1) && self.shape.axes[a].is_cut();
        let border = !at.inside || (0..3).any(single);
        let local = |offset: i64| Arg { role: Role::Local, offset: Affine::constant(offset) };
        let mut args = match pass {
            Pass::Input => {
                let to = at.input.clone().plus_scaled(&at.tile, self.shape.input[0] as i64);
                vec![
                    Arg { role: self.geometry.src.role, offset: at.src.clone() },
                    Arg { role: self.places.input_role, offset: to },
                ]
            }
            Pass::Output(_) => {
                let from = Affine::constant(self.places.output).plus_scaled(&at.tile, self.shape.output[0] as i64);
                vec![Arg { role: Role::Local, offset: from }, Arg { role: Role::Dst, offset: at.dst.clone() }]
            }
        };
        args.splice(1..1, self.places.spare.map(local));
        if pass != Pass::Input {
            args.extend(epilogue::arguments(self.spec, at.channel.clone(), at.dst.clone()));
        }
        let ranges = if border { self.transform.ranged() } else { Vec::new() };
        let ranges = ranges.into_iter().map(|a| self.present(pass, a, at)).collect();
        let tile = self.transform_tile(pass, border);
        Stmt::Call(Call { tile, args, ranges })
    }

    /// The elements of a tile along axis `a` that lie within the image.
    fn present(&self, pass: Pass, a: usize, at: &At) -> Range {
        let (axis, first) = (&self.shape.axes[a], &at.first[a]);
        let step = if pass == Pass::Input { axis.input_step } else { axis.step };
        let divided = |numerator: Affine| CeilDiv { numerator, divisor: step as i64 };
        let mut lo = vec![CeilDiv::constant(0)];
        let hi = match pass {
            Pass::Input => {
                let before = axis.pad_lo as i64 - at.part[a] as i64;
                let before = Affine::constant(before).plus_scaled(first, -(axis.stride as i64));
                lo.push(divided(before.clone()));
                vec![CeilDiv::constant(axis.alpha as i64), divided(before.offset(axis.input as i64))]
            }
            Pass::Output(_) => {
                let left = Affine::constant(axis.output as i64).plus_scaled(first, -1);
                vec![CeilDiv::constant(axis.m as i64), divided(left)]
            }
        };
        Range { lo, hi }
    }

    fn transform_tile(&mut self, pass: Pass, border: bool) -> usize {
        if let Some(&tile) = self.transforms.get(&(pass, border)) {
            return tile;
        }
        let mut name = self.kernel.name.clone();
        name += match pass {
            Pass::Input => "_input",
            Pass::Output(_) => "_output",
        };
        if border {
            name += "_border";
        }
        let (src, dst) = (&self.geometry.src, &self.geometry.dst);
        let tile = match pass {
            Pass::Input => self.transform.input(&self.schedules[0], src, border, name),
            Pass::Output(channels) => {
                if channels != self.shape.channels {
                    name += &format!("_oc{channels}");
                }
                self.transform.output(&self.schedules[1], dst, channels, border, name)
            }
        };
        self.kernel.tiles.push(tile);
        let tile = self.kernel.tiles.len() - 1;
        self.transforms.insert((pass, border), tile);
        tile
    }

    /// The matrix product of each element of the tiles: all tiles of the block, `channels` output channels.
    fn products(&mut self, at: &At, channels: usize) -> Vec<Stmt> {
        let run = self.plan.tile.vectors * self.cx.lanes;
        let panel = self.cx.panel;
        let weights = (self.packing.ic * panel) as i64;
        let (input, output) = (self.shape.input[1] as i64, self.shape.output[1] as i64);
        let cut = channels::cut(channels, run, panel, self.plan.vector);
        self.repeat("e", Range::count(self.shape.elements as i64), &mut |nests, index| {
            let mut stmts = Vec::new();
            for part in &cut {
                let to = |channels: usize| (channels / panel * nests.cx.panel_len + channels % panel) as i64;
                let weights = at.weights.clone().plus_scaled(&index, weights).offset(to(part.start));
                let input = at.input.clone().plus_scaled(&index, input);
                let output = Affine::constant(nests.places.output + part.start as i64).plus_scaled(&index, output);
                let (outer, inner) = (to(part.outer_step), to(part.channels));
                stmts.extend(nests.repeat("oc", Range::count(part.outer as i64), &mut |nests, o| {
                    let weights = weights.clone().plus_scaled(&o, outer);
                    let output = output.clone().plus_scaled(&o, part.outer_step as i64);
                    nests.repeat("oci", Range::count(part.inner as i64), &mut |nests, i| {
                        let weights = weights.clone().plus_scaled(&i, inner);
                        let output = output.clone().plus_scaled(&i, part.channels as i64);
                        nests.rows(part.phase, part.channels, [&input, &weights, &output])
                    })
                }));
            }
            stmts
        })
    }

    /// The product for one element and one run of channels: full tiles, then the rows that are left.
    fn rows(&mut self, phase: usize, channels: usize, at: [&Affine; 3]) -> Vec<Stmt> {
        let (tiles, rows) = (self.shape.tiles, self.plan.tile.rows.min(self.shape.tiles));
        let (full, rest) = (tiles / rows, tiles % rows);
        let mut stmts = vec![self.product(phase, channels, rows, full, at)];
        if rest > 0 {
            let done = (full * rows) as i64;
            let input = at[0].clone().offset(done * self.shape.input[0] as i64);
            let output = at[2].clone().offset(done * self.shape.output[0] as i64);
            stmts.push(self.product(phase, channels, rest, 1, [&input, at[1], &output]));
        }
        stmts
    }

    fn product(&mut self, phase: usize, channels: usize, rows: usize, run: usize, at: [&Affine; 3]) -> Stmt {
        let lanes = self.cx.lanes;
        let vectors = channels.div_ceil(lanes);
        let key = TileKey { phase, rows, vectors, last_lanes: channels - (vectors - 1) * lanes, taps: Taps::All, run };
        let tile = match self.products.get(&key) {
            Some(&tile) => tile,
            None => {
                let tile = self.plan.tile;
                let full = TileKey {
                    phase: 0,
                    rows: tile.rows,
                    vectors: tile.vectors,
                    last_lanes: lanes,
                    taps: Taps::All,
                    run: 1,
                };
                let name = format!("{}{}", self.kernel.name, key.suffix(&full, lanes));
                self.kernel.tiles.push(tile::emit(&self.cx, &key, name));
                self.products.insert(key, self.kernel.tiles.len() - 1);
                self.kernel.tiles.len() - 1
            }
        };
        let roles = [self.places.input_role, Role::Weights, Role::Local];
        let args = roles.into_iter().zip(at).map(|(role, offset)| Arg { role, offset: offset.clone() }).collect();
        Stmt::Call(Call { tile, args, ranges: Vec::new() })
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Batch => "n",
            Self::Phase(a) => ["pd", "ph", "pw"][a],
            Self::Tile(a) => ["od", "oh", "ow"][a],
        }
    }

    fn block_name(self) -> &'static str {
        match self {
            Self::Batch => "nb",
            Self::Phase(a) | Self::Tile(a) => ["odb", "ohb", "owb"][a],
        }
    }
}

/// From the greatest of `lo` to the least of `hi`; of the constants among them only the one that counts is kept.
fn range(lo: Vec<Affine>, hi: Vec<Affine>) -> Range {
    let side = |bounds: Vec<Affine>, best: fn(i64, i64) -> i64| {
        let (constants, others): (Vec<_>, Vec<_>) = bounds.into_iter().partition(|b| b.as_constant().is_some());
        let constant = constants.iter().filter_map(Affine::as_constant).reduce(best);
        let constant = constant.map(CeilDiv::constant);
        constant.into_iter().chain(others.into_iter().map(CeilDiv::whole)).collect()
    };
    Range { lo: side(lo, i64::max), hi: side(hi, i64::min) }
}
