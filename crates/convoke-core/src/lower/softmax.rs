//! The nests behind the sums that replace each pixel's channels by their softmax, in `dst`.
//!
//! A tile passes three times over the channels: for the greatest, for the powers `exp(x - greatest)` and their sum, and for the quotients. The
//! sum has as many parts as a block of channels has elements, one for each place in a block, added one after the other; so it is the same in
//! every layout and on every target. Where many channels are neighbours in memory, a tile is one pixel and lanes are channels; else lanes
//! are pixels, and parts come one after the other.

use super::activation;
use super::emit::Emitter;
use super::geometry::View;
use super::nests::new_var;
use crate::ir::{
    Address, Affine, Arg, BinaryOp, Buffer, Call, Extent, Kernel, Loop, Nest, Ptr, Range, Reg, Role, Stmt, Tile, Var,
};
use crate::spec::{Batch, LayerSpec};

const DST: Ptr = Ptr(0);
const LOCAL: Ptr = Ptr(1);

/// Appends the nests, if the layer ends with a softmax.
pub(super) fn nests(spec: &LayerSpec, kernel: &mut Kernel) {
    if !spec.has_softmax() {
        return;
    }
    let softmax = Softmax { spec, view: View::of_dst(spec), block: spec.dtype.block(), lanes: kernel.lanes() };
    let pixels: usize = spec.spatial.iter().map(|a| a.output).product();
    let are_few = spec.out_channels <= softmax.block && pixels >= softmax.lanes;
    if softmax.are_neighbours() && !are_few {
        softmax.keep_parts(kernel);
        let tile = softmax.of_a_pixel(kernel);
        return softmax.nest(kernel, tile, 1, 0..pixels);
    }
    let full = pixels / softmax.lanes * softmax.lanes;
    if full > 0 {
        let tile = softmax.of_pixels(kernel, softmax.lanes, "softmax");
        softmax.nest(kernel, tile, softmax.lanes, 0..full);
    }
    if full < pixels {
        let tile = softmax.of_pixels(kernel, pixels - full, "softmax_rest");
        softmax.nest(kernel, tile, pixels - full, full..pixels);
    }
}

struct Softmax<'a> {
    spec: &'a LayerSpec,
    view: View,
    /// Channels of a block, and parts of a sum.
    block: usize,
    /// Elements of a vector.
    lanes: usize,
}

impl Softmax<'_> {
    /// Whether channels are neighbours in memory, at least those of a block.
    fn are_neighbours(&self) -> bool {
        self.view.lanes > 1 || self.view.plane == 1
    }

    /// Makes `local` hold at least the parts of a sum.
    fn keep_parts(&self, kernel: &mut Kernel) {
        let parts = self.block as i64;
        match kernel.buffers.iter_mut().find(|b| b.role == Role::Local) {
            Some(local) => local.len.constant = local.len.constant.max(parts),
            None => {
                let (storage, len) = (self.spec.dtype.storage(), Affine::constant(parts));
                kernel.buffers.push(Buffer { role: Role::Local, storage, len });
                kernel.buffers.sort_by_key(|b| b.role);
            }
        }
    }

    /// The loops around `tile`, which takes `step` of `pixels` at a time.
    fn nest(&self, kernel: &mut Kernel, tile: Tile, step: usize, pixels: std::ops::Range<usize>) {
        let label = format!("softmax{}", if pixels.start > 0 { "_rest" } else { "" });
        let (p, n) = (new_var(kernel, &format!("p_{label}")), new_var(kernel, &format!("n_{label}")));
        let pixel = self.view.spatial[2];
        let offset = Affine::constant(pixels.start as i64 * pixel);
        let offset = offset.plus(p, step as i64 * pixel).plus(n, self.view.n);
        let mut args = vec![Arg { role: Role::Dst, offset }];
        if tile.pointers.len() > 1 {
            args.push(Arg { role: Role::Local, offset: Affine::constant(0) });
        }
        kernel.tiles.push(tile);
        let call = Stmt::Call(Call { tile: kernel.tiles.len() - 1, args, ranges: Vec::new() });
        let batch = match self.spec.batch {
            Batch::Fixed(n) => Affine::constant(n as i64),
            Batch::Named(_) => Affine::var(Var::BATCH, 1),
        };
        let steps = (p, Range::count((pixels.len() / step) as i64));
        let images = (n, Range::of(Affine::constant(0), batch));
        let [outer, inner] = if pixels.len() == step { [images, steps] } else { [steps, images] };
        let inner = Loop { var: inner.0, range: inner.1, parallel: false, body: vec![call] };
        let outer = Loop { var: outer.0, range: outer.1, parallel: true, body: vec![Stmt::For(inner)] };
        kernel.nests.push(Nest { label, outer });
    }

    /// The tile of `pixels` neighbours, whose channels lie a plane apart, or are few.
    fn of_pixels(&self, kernel: &Kernel, pixels: usize, label: &str) -> Tile {
        let mut e = Emitter::new(self.spec.dtype, kernel.fma);
        let [greatest, sum, part, x, free] = [0, 1, 2, 3, 4].map(Reg);
        let (channels, stride) = (self.spec.out_channels, self.view.spatial[2]);
        let plane = if self.are_neighbours() { 1 } else { self.view.plane };
        let at = |channel: usize| Address { ptr: DST, offset: channel as i64 * plane };
        let every = |count: usize, step: usize| (Extent::Count(count as u64), [(DST, step as i64 * plane)]);
        e.constant(greatest, f64::NEG_INFINITY);
        let (all, steps) = every(channels, 1);
        e.repeat(all, &steps, |e| {
            e.load(x, at(0), pixels, stride);
            e.binary(BinaryOp::Maximum, greatest, x, greatest);
        });
        e.constant(sum, 0.0);
        // The first parts have a channel of the last block, which the others have not.
        let (full, rest) = (channels / self.block, channels % self.block);
        for (parts, each) in [(0..rest, full + 1), (rest..self.block, full)] {
            if parts.is_empty() || each == 0 {
                continue;
            }
            let (count, steps) = every(parts.len(), 1);
            e.repeat(count, &steps, |e| {
                e.constant(part, 0.0);
                let (count, steps) = every(each, self.block);
                e.repeat(count, &steps, |e| {
                    e.load(x, at(parts.start), pixels, stride);
                    power(e, x, greatest, free);
                    e.store(at(parts.start), x, pixels, stride);
                    e.binary(BinaryOp::Add, part, part, x);
                });
                e.binary(BinaryOp::Add, sum, sum, part);
            });
        }
        let (all, steps) = every(channels, 1);
        e.repeat(all, &steps, |e| {
            e.load(x, at(0), pixels, stride);
            e.binary(BinaryOp::Div, x, x, sum);
            e.store(at(0), x, pixels, stride);
        });
        self.tile(kernel, e, label, &["dst"])
    }

    /// The tile of one pixel, whose channels are neighbours, a block of them at a time. Parts are added up through `local`.
    fn of_a_pixel(&self, kernel: &Kernel) -> Tile {
        let mut e = Emitter::new(self.spec.dtype, kernel.fma);
        let vectors = self.block.div_ceil(self.lanes);
        let (whole, parts) = (Reg(0), |v: usize| Reg(1 + v as u32));
        let [x, free, mask] = [1, 2, 5].map(|i| Reg((vectors + i) as u32));
        (0..vectors).for_each(|v| e.constant(parts(v), f64::NEG_INFINITY));
        self.vectors(&mut e, |e, v, at, lanes| {
            e.load(x, at, lanes, 1);
            self.exclude(e, x, lanes, mask);
            e.binary(BinaryOp::Maximum, parts(v), x, parts(v));
        });
        self.across(&mut e, parts, whole, x, |e| e.binary(BinaryOp::Maximum, whole, x, whole));
        (0..vectors).for_each(|v| e.constant(parts(v), 0.0));
        self.vectors(&mut e, |e, v, at, lanes| {
            e.load(x, at, lanes, 1);
            self.exclude(e, x, lanes, mask);
            power(e, x, whole, free);
            e.store(at, x, lanes, 1);
            e.binary(BinaryOp::Add, parts(v), parts(v), x);
        });
        self.across(&mut e, parts, whole, x, |e| e.binary(BinaryOp::Add, whole, whole, x));
        self.vectors(&mut e, |e, _, at, lanes| {
            e.load(x, at, lanes, 1);
            e.binary(BinaryOp::Div, x, x, whole);
            e.store(at, x, lanes, 1);
        });
        self.tile(kernel, e, "softmax", &["dst", "local"])
    }

    /// Calls `body` for every vector of the channels, with which of a block it is, where it is and how many lanes it has.
    fn vectors(&self, e: &mut Emitter, body: impl Fn(&mut Emitter, usize, Address, usize)) {
        let (full, rest) = (self.spec.out_channels / self.block, self.spec.out_channels % self.block);
        let step = self.view.channel(self.block);
        let block = |e: &mut Emitter, start: i64, channels: usize| {
            for from in (0..channels).step_by(self.lanes) {
                let at = Address { ptr: DST, offset: start + from as i64 };
                body(e, from / self.lanes, at, self.lanes.min(channels - from));
            }
        };
        if full > 0 {
            e.repeat(Extent::Count(full as u64), &[(DST, step)], |e| block(e, 0, self.block));
        }
        if rest > 0 {
            block(e, full as i64 * step, rest);
        }
    }

    /// Makes lanes of `x` from `lanes` on, which are 0, minus infinity.
    fn exclude(&self, e: &mut Emitter, x: Reg, lanes: usize, mask: Reg) {
        if lanes < self.lanes {
            let at = Address { ptr: LOCAL, offset: 0 };
            e.constant(mask, f64::NEG_INFINITY);
            e.store(at, mask, self.lanes, 1);
            e.constant(mask, 0.0);
            e.store(at, mask, lanes, 1);
            e.load(mask, at, self.lanes, 1);
            e.binary(BinaryOp::Add, x, x, mask);
        }
    }

    /// Takes the parts together, from the first to the last that has a channel: `whole` is the first, and `take` takes up what is in `x`.
    fn across(&self, e: &mut Emitter, parts: impl Fn(usize) -> Reg, whole: Reg, x: Reg, take: impl Fn(&mut Emitter)) {
        for from in (0..self.block).step_by(self.lanes) {
            let at = Address { ptr: LOCAL, offset: from as i64 };
            e.store(at, parts(from / self.lanes), self.lanes, 1);
        }
        e.broadcast(whole, Address { ptr: LOCAL, offset: 0 });
        let others = self.block.min(self.spec.out_channels) - 1;
        if others == 0 {
            return;
        }
        e.repeat(Extent::Count(others as u64), &[(LOCAL, 1)], |e| {
            e.broadcast(x, Address { ptr: LOCAL, offset: 1 });
            take(e);
        });
    }

    fn tile(&self, kernel: &Kernel, e: Emitter, label: &str, pointers: &[&str]) -> Tile {
        let (body, registers) = e.finish();
        let pointers = pointers.iter().map(|&name| name.to_owned()).collect();
        Tile { name: format!("{}_{label}", kernel.name), pointers, ranges: Vec::new(), registers, body }
    }
}

/// `x = exp(x - greatest)`.
fn power(e: &mut Emitter, x: Reg, greatest: Reg, free: Reg) {
    e.binary(BinaryOp::Sub, x, x, greatest);
    activation::exp(e, x, free);
}
