//! The loops around the tiles.

use std::collections::HashMap;

use super::channels::{self, ChannelPart};
use super::deformable;
use super::epilogue;
use super::geometry::Geometry;
use super::pixels::{self, PixelRun, Taps};
use super::pool;
use super::positions;
use super::tile::{self, TileContext, TileKey};
use super::weights::WeightsPacking;
use crate::ir::{Affine, Arg, Call, CeilDiv, Kernel, Loop, Nest, Range, Role, Stmt, Tile, Var};
use crate::plan::{Algorithm, Axis, Plan, VectorAxis};
use crate::spec::{Batch, LayerSpec, SpatialAxis};
use crate::target::Target;

/// Appends the nests that compute `dst`.
pub(crate) fn compute(
    spec: &LayerSpec,
    plan: &Plan,
    geometry: &Geometry,
    packing: &WeightsPacking,
    target: &Target,
    kernel: &mut Kernel,
) {
    let [d, h, _] = geometry.spatial;
    let lanes = kernel.lanes();
    let cx = TileContext {
        spec,
        plan,
        geometry,
        lanes,
        fma: kernel.fma,
        vnni: kernel.vnni,
        registers: target.registers,
        panel: packing.lanes,
        panel_len: packing.panel_len(),
        ranged: [is_cut(&d), is_cut(&h)],
        counted: [0, 1, 2].map(|i| pool::counts(spec, i)),
    };
    let full = TileKey {
        phase: 0,
        rows: plan.tile.rows,
        vectors: plan.tile.vectors,
        last_lanes: lanes,
        taps: Taps::All,
        run: 1,
    };
    let mut nests = Nests { cx, full, kernel, tiles: HashMap::new(), axes: HashMap::new() };
    let mut stmts = nests.expand(&plan.order, Cursor::new(geometry));
    if geometry.src.role == Role::Local && stmts.len() > 1 {
        // What is in `local` is there for one iteration of one loop.
        let var = nests.var("once");
        stmts = vec![Stmt::For(Loop { var, range: Range::count(1), parallel: false, body: stmts })];
    }
    for stmt in stmts {
        let mut outer = match stmt {
            Stmt::For(outer) => outer,
            call @ Stmt::Call(_) => {
                let var = nests.var("once");
                Loop { var, range: Range::count(1), parallel: false, body: vec![call] }
            }
        };
        outer.parallel = nests.axes.get(&outer.var) == Some(&plan.parallel);
        nests.kernel.nests.push(Nest { label: "compute".to_owned(), outer });
    }
}

/// A variable called `name`, or the like if there is one of that name.
pub(crate) fn new_var(kernel: &mut Kernel, name: &str) -> Var {
    let mut unique = name.to_owned();
    let mut i = 2;
    while kernel.vars.contains(&unique) {
        unique = format!("{name}_{i}");
        i += 1;
    }
    kernel.vars.push(unique);
    Var(kernel.vars.len() as u32 - 1)
}

/// Whether some output lacks taps along the axis.
fn is_cut(axis: &SpatialAxis) -> bool {
    let last = (axis.output.max(1) - 1) * axis.stride + axis.extent();
    axis.pad_lo > 0 || last > axis.pad_lo + axis.input
}

/// Where the tile stands as the axes are taken one after the other.
#[derive(Clone)]
struct Cursor {
    src: Affine,
    weights: Affine,
    dst: Affine,
    bias: Affine,
    /// The image, and the first row of the block, of a deformable layer.
    place: [Affine; 2],
    /// The element of the input under the first tap, along `d`, `h`, `w`.
    positions: [Affine; 3],
    /// Taps along `kd`, `kh` and, for single pixels, `kw`.
    taps: [Range; 3],
    /// Those that count for the divisor of an average.
    counted: [Range; 3],
    /// Outputs that an outer loop has left to the inner loop of the same axis.
    block: HashMap<Axis, Block>,
    channels: usize,
    phase: usize,
    pixels: usize,
    kw_taps: Taps,
    /// Tiles that one call computes.
    run: usize,
}

/// A cache block of an axis, between its two loops.
#[derive(Clone)]
struct Block {
    /// The outer loop's variable, if there is one.
    var: Option<Var>,
    /// Outputs of a full block.
    size: usize,
    /// First output of the part, and one past its last.
    from: usize,
    to: usize,
}

impl Cursor {
    fn new(geometry: &Geometry) -> Self {
        Self {
            src: Affine::constant(geometry.origin.src),
            weights: Affine::constant(geometry.origin.weights),
            dst: Affine::constant(geometry.origin.dst),
            bias: Affine::constant(0),
            place: [Affine::constant(0), Affine::constant(0)],
            positions: geometry.origin.first.map(Affine::constant),
            taps: geometry.spatial.map(|a| Range::count(a.kernel as i64)),
            counted: geometry.spatial.map(|a| Range::count(a.kernel as i64)),
            block: HashMap::new(),
            channels: 0,
            phase: 0,
            pixels: 0,
            kw_taps: Taps::All,
            run: 1,
        }
    }
}

impl Cursor {
    /// Puts the tile at output `o` of axis `i`.
    fn meet(&mut self, axis: &SpatialAxis, i: usize, o: &Affine) {
        let padded = SpatialAxis { input: axis.pad_lo + axis.input + axis.pad_hi, pad_lo: 0, pad_hi: 0, ..*axis };
        self.taps[i] = taps_at(axis, o);
        self.counted[i] = taps_at(&padded, o);
    }
}

struct Nests<'a> {
    cx: TileContext<'a>,
    full: TileKey,
    kernel: &'a mut Kernel,
    tiles: HashMap<TileKey, usize>,
    /// Which axis a loop runs along.
    axes: HashMap<Var, Axis>,
}

impl Nests<'_> {
    /// A new variable of a loop along `axis`.
    fn axis_var(&mut self, axis: Axis, name: &str) -> Var {
        let var = self.var(name);
        self.axes.insert(var, axis);
        var
    }

    /// A new variable.
    fn var(&mut self, name: &str) -> Var {
        new_var(self.kernel, name)
    }

    /// The statements for the axes of `order`, outermost first.
    fn expand(&mut self, order: &[Axis], at: Cursor) -> Vec<Stmt> {
        let mut at = at;
        let mut stmts = Vec::new();
        // The image and the rows are known.
        if self.cx.geometry.src.role == Role::Local && order.len() + 2 == self.cx.plan.order.len() {
            stmts = self.columns(&mut at);
        }
        let Some((&axis, rest)) = order.split_first() else {
            return self.phases(at);
        };
        stmts.extend(match axis {
            Axis::N => self.batch(rest, at),
            Axis::G => self.groups(rest, at),
            Axis::Oc => self.channels(rest, at),
            Axis::Od => self.slices(rest, at, axis, 0),
            Axis::Oh => self.slices(rest, at, axis, 1),
            Axis::Ow => self.pixels(rest, at),
        });
        stmts
    }

    /// What fills `local` for a block of rows of a deformable layer; the sums read from its start on.
    fn columns(&mut self, at: &mut Cursor) -> Vec<Stmt> {
        let row = self.cx.geometry.src.spatial[1];
        at.src = Affine::constant(0);
        let mut left = None;
        if let Some(Block { var: Some(var), size, .. }) = at.block.get(&Axis::Oh) {
            // The loop over the block's rows counts them from the image's first.
            let rows = *size as i64;
            at.src = Affine::var(*var, -rows * row);
            at.place[1] = Affine::var(*var, rows);
            left = Some(*var);
        }
        deformable::nests(self.cx.spec, self.cx.plan, self.cx.geometry, self.kernel, &at.place, left.is_some())
    }

    /// The call, in loops over the phases that differ in their weights only: what one of them has read is near for the next.
    fn phases(&mut self, mut at: Cursor) -> Vec<Stmt> {
        let geometry = self.cx.geometry;
        let taps = geometry.tap_steps(self.cx.panel);
        let mut loops = Vec::new();
        for (i, name) in ["pd", "ph", "pw"].into_iter().enumerate() {
            if geometry.phases[i] > 1 {
                let var = self.var(name);
                at.weights = at.weights.plus(var, geometry.spatial[i].kernel as i64 * taps[i]);
                at.dst = at.dst.plus(var, geometry.phase_dst[i]);
                loops.push((var, geometry.phases[i]));
            }
        }
        let mut body = vec![Stmt::Call(self.call(at))];
        for (var, count) in loops.into_iter().rev() {
            body = vec![Stmt::For(Loop { var, range: Range::count(count as i64), parallel: false, body })];
        }
        body
    }

    /// A loop of `count` iterations around `rest`; one iteration needs none.
    fn repeat(
        &mut self,
        (axis, name): (Axis, &str),
        count: Affine,
        rest: &[Axis],
        mut at: Cursor,
        advance: impl FnOnce(&mut Cursor, Var),
    ) -> Vec<Stmt> {
        if count.as_constant() == Some(1) {
            return self.expand(rest, at);
        }
        let var = self.axis_var(axis, name);
        advance(&mut at, var);
        let body = self.expand(rest, at);
        let range = Range::of(Affine::constant(0), count);
        vec![Stmt::For(Loop { var, range, parallel: false, body })]
    }

    fn batch(&mut self, rest: &[Axis], at: Cursor) -> Vec<Stmt> {
        let count = match self.cx.spec.batch {
            Batch::Fixed(n) => Affine::constant(n as i64),
            Batch::Named(_) => Affine::var(Var::BATCH, 1),
        };
        let (src, dst) = (self.cx.geometry.src.n, self.cx.geometry.dst.n);
        self.repeat((Axis::N, "n"), count, rest, at, |at, var| {
            at.place[0] = Affine::var(var, 1);
            at.src = at.src.clone().plus(var, src);
            at.dst = at.dst.clone().plus(var, dst);
        })
    }

    fn groups(&mut self, rest: &[Axis], at: Cursor) -> Vec<Stmt> {
        let g = self.cx.geometry;
        // Within a plane groups are as far apart as their channels, and planes are another distance apart.
        let together = [g.src.groups_together(g.ic), g.dst.groups_together(g.oc)];
        let mut steps: Vec<usize> = together.into_iter().flatten().filter(|&groups| groups < g.groups).collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        steps.dedup();
        steps.push(1);
        self.group_runs(g.groups, &steps, rest, at)
    }

    /// `count` groups: a loop over runs of `steps[0]` of them around one over runs of `steps[1]` and so on, then what is
    /// left over. The last step is 1.
    fn group_runs(&mut self, count: usize, steps: &[usize], rest: &[Axis], at: Cursor) -> Vec<Stmt> {
        let Some((&step, finer)) = steps.split_first().filter(|_| count > 0) else {
            return if count > 0 { self.expand(rest, at) } else { Vec::new() };
        };
        let g = self.cx.geometry;
        let panels = g.oc.div_ceil(self.cx.panel) * self.cx.panel_len;
        let (src, dst) = (g.src.channel(step * g.ic), g.dst.channel(step * g.oc));
        let (weights, bias) = ((step * panels) as i64, (step * g.oc) as i64);
        let full = count / step;
        let mut stmts = Vec::new();
        if full > 1 {
            let var = self.axis_var(Axis::G, "g");
            let inside = Cursor {
                src: at.src.clone().plus(var, src),
                weights: at.weights.clone().plus(var, weights),
                dst: at.dst.clone().plus(var, dst),
                bias: at.bias.clone().plus(var, bias),
                ..at.clone()
            };
            let body = self.group_runs(step, finer, rest, inside);
            stmts.push(Stmt::For(Loop { var, range: Range::count(full as i64), parallel: false, body }));
        } else if full == 1 {
            stmts = self.group_runs(step, finer, rest, at.clone());
        }
        let done = full as i64;
        let left = Cursor {
            src: at.src.offset(done * src),
            weights: at.weights.offset(done * weights),
            dst: at.dst.offset(done * dst),
            bias: at.bias.offset(done * bias),
            ..at
        };
        stmts.extend(self.group_runs(count % step, finer, rest, left));
        stmts
    }

    fn channels(&mut self, rest: &[Axis], at: Cursor) -> Vec<Stmt> {
        let run = match self.cx.plan.vector {
            VectorAxis::Oc => self.cx.plan.tile.vectors * self.cx.lanes,
            VectorAxis::Ow => self.cx.plan.tile.rows,
        };
        let cut = channels::cut(self.cx.geometry.oc, run, self.cx.panel, self.cx.plan.vector);
        let parts: Vec<_> = cut.iter().flat_map(|part| part.by_inputs(self.cx.geometry.multiplier)).collect();
        parts.iter().flat_map(|part| self.channel_part(part, rest, at.clone())).collect()
    }

    fn channel_part(&mut self, part: &ChannelPart, rest: &[Axis], mut at: Cursor) -> Vec<Stmt> {
        let by_channel = self.cx.plan.algorithm.is_by_channel();
        let multiplier = self.cx.geometry.multiplier;
        let (panel, panel_len) = (self.cx.panel, self.cx.panel_len);
        let (src, dst) = (self.cx.geometry.src, self.cx.geometry.dst);
        // Channels within a panel are neighbours; whole panels lie apart.
        let weights = |channels: usize| (channels / panel * panel_len + channels % panel) as i64;
        let advance = |at: &mut Cursor, channels: usize, var: Option<Var>| {
            let add = |affine: &mut Affine, factor: i64| {
                let old = std::mem::take(affine);
                *affine = match var {
                    Some(var) => old.plus(var, factor),
                    None => old.offset(factor),
                };
            };
            add(&mut at.weights, weights(channels));
            add(&mut at.dst, dst.channel(channels));
            add(&mut at.bias, channels as i64);
            if by_channel {
                add(&mut at.src, src.channel(channels / multiplier));
            }
        };
        at.channels = part.channels;
        at.phase = part.phase;
        advance(&mut at, part.start, None);
        let mut wrap = Vec::new();
        // Runs that read the same input channel are a loop of their own, so that each loop steps evenly.
        let shared = (multiplier / part.channels).clamp(1, part.inner);
        let (inner, step) = (part.inner / shared, part.channels * shared);
        let loops = [("oc", part.outer, part.outer_step), ("oci", inner, step), ("ocm", shared, part.channels)];
        for (name, count, step) in loops {
            if count > 1 {
                let var = self.axis_var(Axis::Oc, name);
                advance(&mut at, step, Some(var));
                wrap.push((var, count));
            }
        }
        let mut body = self.expand(rest, at);
        for (var, count) in wrap.into_iter().rev() {
            body = vec![Stmt::For(Loop { var, range: Range::count(count as i64), parallel: false, body })];
        }
        body
    }

    /// `od` and `oh`: one output a step, the taps a range where the window is cut.
    fn slices(&mut self, rest: &[Axis], mut at: Cursor, axis: Axis, i: usize) -> Vec<Stmt> {
        let size = self.cx.geometry.spatial[i].output;
        if rest.contains(&axis) {
            return self.blocks(axis, size, rest, at);
        }
        let geometry = self.cx.geometry;
        let a = geometry.spatial[i];
        let (src, dst) = (geometry.src.spatial[i], geometry.dst.spatial[i]);
        at.src = at.src.offset(-(a.pad_lo as i64) * src);
        at.positions[i].constant -= a.pad_lo as i64;
        let block = at.block.remove(&axis);
        if size == 1 {
            at.meet(&a, i, &Affine::constant(0));
            return self.expand(rest, at);
        }
        // Rows are counted from their block's first.
        let (first, range) = match block {
            Some(Block { var: Some(var), size: block, .. }) => {
                let first = Affine::var(var, block as i64);
                let left = Affine::constant(size as i64).plus_scaled(&first, -1);
                let hi = vec![CeilDiv::constant(block as i64), CeilDiv::whole(left)];
                (first, Range { lo: vec![CeilDiv::constant(0)], hi })
            }
            _ => (Affine::constant(0), Range::count(size as i64)),
        };
        let var = self.axis_var(axis, axis.name());
        let position = first.plus(var, 1);
        at.src = at.src.plus_scaled(&position, a.stride as i64 * src);
        at.positions[i] = at.positions[i].clone().plus_scaled(&position, a.stride as i64);
        at.dst = at.dst.plus_scaled(&position, dst);
        if axis == Axis::Oh {
            at.place[1] = position.clone();
        }
        at.meet(&a, i, &position);
        let body = self.expand(rest, at);
        vec![Stmt::For(Loop { var, range, parallel: false, body })]
    }

    /// The outer loop of a blocked axis.
    fn blocks(&mut self, axis: Axis, size: usize, rest: &[Axis], at: Cursor) -> Vec<Stmt> {
        let block = self.block_size(axis, size);
        if axis == Axis::Ow {
            return self.pixel_blocks(block, size, rest, &at);
        }
        let mut at = at;
        at.block.insert(axis, Block { var: None, size: block, from: 0, to: block.min(size) });
        // Rows can end anywhere, so that the last block may be shorter.
        let count = Affine::constant(size.div_ceil(block) as i64);
        self.repeat((axis, &format!("{axis}b")), count, rest, at, |at, var| {
            if let Some(b) = at.block.get_mut(&axis) {
                b.var = Some(var);
            }
        })
    }

    /// A loop over the blocks of pixels that have every tap. What lies before and behind them are parts of their own.
    fn pixel_blocks(&mut self, block: usize, size: usize, rest: &[Axis], at: &Cursor) -> Vec<Stmt> {
        let geometry = self.cx.geometry;
        let axis = &geometry.spatial[2];
        let interior = pixels::interior(axis);
        let (first, end) = (interior.start.div_ceil(block), interior.end / block);
        let (from, to) = if first < end { (first * block, end * block) } else { (size, size) };
        let part = |from: usize, to: usize| {
            let mut at = at.clone();
            at.block.insert(Axis::Ow, Block { var: None, size: block, from, to });
            at
        };
        let mut stmts = Vec::new();
        if from > 0 {
            stmts.extend(self.expand(rest, part(0, from)));
        }
        if from < to {
            let pixel = axis.stride as i64 * geometry.src.spatial[2];
            let dst = geometry.dst.spatial[2];
            let step = block as i64;
            let count = Affine::constant((end - first) as i64);
            stmts.extend(self.repeat((Axis::Ow, "owb"), count, rest, part(from, from + block), |at, var| {
                at.src = at.src.clone().plus(var, step * pixel);
                at.dst = at.dst.clone().plus(var, step * dst);
                at.positions[2] = at.positions[2].clone().plus(var, step * axis.stride as i64);
            }));
        }
        if to < size {
            stmts.extend(self.expand(rest, part(to, size)));
        }
        stmts
    }

    fn block_size(&self, axis: Axis, size: usize) -> usize {
        let block = self.cx.plan.block.iter().find(|b| b.0 == axis);
        block.map_or(size, |b| b.1).clamp(1, size.max(1))
    }

    fn pixels(&mut self, rest: &[Axis], mut at: Cursor) -> Vec<Stmt> {
        let axis = self.cx.geometry.spatial[2];
        if rest.contains(&Axis::Ow) {
            return self.blocks(Axis::Ow, axis.output, rest, at);
        }
        let tile = match self.cx.plan.vector {
            VectorAxis::Oc => self.cx.plan.tile.rows,
            VectorAxis::Ow => self.cx.plan.tile.vectors * self.cx.lanes,
        };
        let (from, to) = at.block.remove(&Axis::Ow).map_or((0, axis.output), |b| (b.from, b.to));
        let edges = self.cx.plan.vector == VectorAxis::Oc && !self.cx.counted[2];
        let runs = pixels::cut(&axis, from, to, tile, edges);
        runs.iter().flat_map(|run| self.pixel_run(run, rest, at.clone())).collect()
    }

    fn pixel_run(&mut self, run: &PixelRun, rest: &[Axis], mut at: Cursor) -> Vec<Stmt> {
        let axis = self.cx.geometry.spatial[2];
        let (src, dst) = (self.cx.geometry.src.spatial[2], self.cx.geometry.dst.spatial[2]);
        let pixel = axis.stride as i64 * src;
        let start = run.start as i64;
        at.src = at.src.offset(start * pixel - axis.pad_lo as i64 * src);
        at.positions[2].constant += start * axis.stride as i64 - axis.pad_lo as i64;
        at.dst = at.dst.offset(start * dst);
        at.pixels = run.pixels;
        at.kw_taps = run.taps.clone();
        let step = run.pixels as i64;
        if run.count == 1 {
            at.meet(&axis, 2, &Affine::constant(start));
        }
        // Threads divide a loop of the nest; any other innermost loop is the tile's own, which saves the calls.
        if run.taps == Taps::All && rest.is_empty() && self.cx.plan.order.first() != Some(&Axis::Ow) {
            at.run = run.count;
            return self.expand(rest, at);
        }
        self.repeat((Axis::Ow, "ow"), Affine::constant(run.count as i64), rest, at, |at, var| {
            at.src = at.src.clone().plus(var, step * pixel);
            at.dst = at.dst.clone().plus(var, step * dst);
            at.positions[2] = at.positions[2].clone().plus(var, step * axis.stride as i64);
            at.meet(&axis, 2, &Affine::var(var, step).offset(start));
        })
    }

    fn call(&mut self, at: Cursor) -> Call {
        let lanes = self.cx.lanes;
        let (rows, along) = match self.cx.plan.vector {
            VectorAxis::Oc => (at.pixels, at.channels),
            VectorAxis::Ow => (at.channels, at.pixels),
        };
        let vectors = along.div_ceil(lanes);
        let key = TileKey {
            phase: at.phase,
            rows,
            vectors,
            last_lanes: along - (vectors - 1) * lanes,
            taps: at.kw_taps,
            run: at.run,
        };
        let tile = self.tile(&key);
        let mut args = vec![Arg { role: self.cx.geometry.src.role, offset: at.src }];
        if self.cx.plan.algorithm != Algorithm::Pool {
            args.push(Arg { role: Role::Weights, offset: at.weights });
        }
        args.push(Arg { role: Role::Dst, offset: at.dst.clone() });
        if self.cx.spec.return_indices {
            args.extend(positions::arguments(self.cx.spec, at.dst.clone(), &at.positions));
        }
        args.extend(epilogue::arguments(self.cx.spec, at.bias, at.dst));
        let (single, counted) = (key.taps == Taps::Single, self.cx.counted);
        let ranged = [self.cx.ranged[0], self.cx.ranged[1], single, counted[0], counted[1], counted[2] && single];
        let ranges = at.taps.into_iter().chain(at.counted).zip(ranged).filter(|r| r.1).map(|r| r.0).collect();
        Call { tile, args, ranges }
    }

    /// The tile for `key`, written the first time it is asked for.
    fn tile(&mut self, key: &TileKey) -> usize {
        if let Some(&tile) = self.tiles.get(key) {
            return tile;
        }
        let name = format!("{}{}", self.kernel.name, key.suffix(&self.full, self.cx.lanes));
        let mut tile = match self.cx.plan.algorithm {
            Algorithm::Pool => pool::emit(&self.cx, key, name.clone()),
            _ => tile::emit(&self.cx, key, name.clone()),
        };
        let written = &mut self.kernel.tiles;
        // Phases of a transposed layer often have equal tiles.
        let equal = |t: &Tile| (&t.body, &t.ranges) == (&tile.body, &tile.ranges);
        let at = written.iter().position(equal).unwrap_or(written.len());
        if at == written.len() {
            let mut number = 1;
            while written.iter().any(|t| t.name == tile.name) {
                number += 1;
                let apart = if name.ends_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
                tile.name = format!("{name}{apart}{number}");
            }
            written.push(tile);
        }
        self.tiles.insert(key.clone(), at);
        at
    }
}

/// The taps that output `o` has: those whose input is not padding.
///
/// Tap `k` reads `o * stride - pad_lo + k * dilation`, which must lie in `0..input`.
fn taps_at(axis: &SpatialAxis, o: &Affine) -> Range {
    let (pad, input, dilation) = (axis.pad_lo as i64, axis.input as i64, axis.dilation as i64);
    let position = Affine::default().plus_scaled(o, axis.stride as i64);
    let below = Affine::constant(pad).plus_scaled(&position, -1);
    let above = Affine::constant(pad + input).plus_scaled(&position, -1);
    let divided = |numerator: Affine| CeilDiv { numerator, divisor: dilation };
    Range {
        lo: vec![CeilDiv::constant(0), divided(below)],
        hi: vec![CeilDiv::constant(axis.kernel as i64), divided(above)],
    }
}
