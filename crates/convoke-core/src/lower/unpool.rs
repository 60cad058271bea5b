//! Unpooling: the planes of the output are zero, and then every element of the input goes where its index says.
//!
//! A tile does that for the planes of a few channels: for one, where these are planes of memory; where channels lie side by side for as
//! many as fill a line of the cache, so that threads share none. The elements of a channel come in the order of the input, so that of
//! several for one place the last stays.

use super::emit::Emitter;
use super::geometry::View;
use super::nests::new_var;
use crate::ir::{Address, Affine, Arg, Call, Extent, Kernel, Loop, Nest, Ptr, Range, Reg, Role, Stmt, Tile, Var};
use crate::plan::{Axis, Plan};
use crate::spec::{BLOCK_BYTES, Batch, LayerSpec};

const SRC: Ptr = Ptr(0);
const POSITIONS: Ptr = Ptr(1);
const DST: Ptr = Ptr(2);

/// Channels that tiles of one kind take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first.
    pub first: usize,
    /// How many tiles, one after the other.
    pub count: usize,
    /// Channels of each.
    pub width: usize,
    /// Channels whose places become zero: those that fill up a block, too.
    pub zeros: usize,
}

/// The channels, cut for tiles.
pub(crate) fn runs(spec: &LayerSpec) -> Vec<Run> {
    let (view, channels) = (View::of_dst(spec), spec.out_channels);
    let most = if view.lanes == 1 { 1 } else { view.lanes.min(BLOCK_BYTES / spec.dtype.bytes()) };
    let (full, rest) = (channels / most, channels % most);
    let mut runs = Vec::new();
    if full > 0 {
        runs.push(Run { first: 0, count: full, width: most, zeros: most });
    }
    if rest > 0 {
        let stored = spec.dst_channels() - full * most;
        runs.push(Run { first: full * most, count: 1, width: rest, zeros: stored });
    }
    runs
}

/// Appends the nests.
pub(super) fn compute(spec: &LayerSpec, plan: &Plan, kernel: &mut Kernel) {
    let (src, dst) = (View::of_src(spec), View::of_dst(spec));
    for run in runs(spec) {
        let tile = tile(spec, &src, &dst, run, kernel);
        kernel.tiles.push(tile);
        let (c, n) = (new_var(kernel, "c"), new_var(kernel, "n"));
        let offset = |view: &View| {
            let first = Affine::constant(view.channel(run.first));
            first.plus(c, view.channel(run.width)).plus(n, view.n)
        };
        let arg = |role: Role, view: &View| Arg { role, offset: offset(view) };
        let args = vec![arg(Role::Src, &src), arg(Role::Positions, &src), arg(Role::Dst, &dst)];
        let call = Stmt::Call(Call { tile: kernel.tiles.len() - 1, args, ranges: Vec::new() });
        let images = match spec.batch {
            Batch::Fixed(n) => Affine::constant(n as i64),
            Batch::Named(_) => Affine::var(Var::BATCH, 1),
        };
        let channels = (c, Range::count(run.count as i64));
        let images = (n, Range::of(Affine::constant(0), images));
        let [outer, inner] = if plan.parallel == Axis::N { [images, channels] } else { [channels, images] };
        let inner = Loop { var: inner.0, range: inner.1, parallel: false, body: vec![call] };
        let outer = Loop { var: outer.0, range: outer.1, parallel: true, body: vec![Stmt::For(inner)] };
        kernel.nests.push(Nest { label: "unpool".to_owned(), outer });
    }
}

/// The tile for the channels of `run`.
fn tile(spec: &LayerSpec, src: &View, dst: &View, run: Run, kernel: &Kernel) -> Tile {
    let mut e = Emitter::new(spec.dtype, kernel.fma);
    let pixels = |size: fn(&crate::spec::SpatialAxis) -> usize| spec.spatial.iter().map(size).product::<usize>();
    let (inputs, outputs) = (pixels(|a| a.input), pixels(|a| a.output));
    let at = |ptr: Ptr, offset: i64| Address { ptr, offset };
    e.constant(Reg(0), 0.0);
    let lanes = kernel.lanes();
    if dst.lanes == 1 {
        e.repeat(Extent::Count((outputs / lanes) as u64), &[(DST, lanes as i64)], |e| {
            e.store(at(DST, 0), Reg(0), lanes, 1);
        });
        if outputs % lanes > 0 {
            e.store(at(DST, (outputs / lanes * lanes) as i64), Reg(0), outputs % lanes, 1);
        }
    } else {
        e.repeat(Extent::Count(outputs as u64), &[(DST, dst.spatial[2])], |e| {
            for from in (0..run.zeros).step_by(lanes) {
                e.store(at(DST, from as i64), Reg(0), lanes.min(run.zeros - from), 1);
            }
        });
    }
    let pixel = src.spatial[2];
    e.repeat(Extent::Count(inputs as u64), &[(SRC, pixel), (POSITIONS, pixel)], |e| {
        e.repeat(Extent::Count(run.width as u64), &[(SRC, 1), (POSITIONS, 1), (DST, 1)], |e| {
            e.scatter((at(DST, 0), outputs as u64, dst.spatial[2]), at(SRC, 0), at(POSITIONS, 0));
        });
    });
    let (body, registers) = e.finish();
    let name =
        if run.count == 1 && kernel.tiles.len() == 1 { format!("{}_rest", kernel.name) } else { kernel.name.clone() };
    let pointers = ["src", "positions", "dst"].map(str::to_owned).to_vec();
    Tile { name, pointers, ranges: Vec::new(), registers, body }
}
