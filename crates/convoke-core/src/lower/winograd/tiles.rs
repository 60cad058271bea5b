//! The tiles that transform the input, and those that transform the products back.
//!
//! Both work on vectors of channels, one vector at a time, and take the axes one after the other: each line of a tile along an
//! axis goes through the straight-line program of that transform. What lies between two axes is in `local`, in the first-level
//! cache. A tile at a border of the image first copies the elements that there are over zeros.

use super::super::emit::Emitter;
use super::super::epilogue::{self, Outputs};
use super::super::geometry::View;
use super::schedule::Schedule;
use super::shape::Shape;
use crate::ir::{Address, BinaryOp, Extent, Ptr, Reg, Tile};
use crate::spec::LayerSpec;

/// Pointers of both kinds of tiles: where they read, two places between axes, and where they write.
pub(super) const FROM: Ptr = Ptr(0);
pub(super) const SPARE: [Ptr; 2] = [Ptr(1), Ptr(2)];
pub(super) const TO: Ptr = Ptr(3);
pub(super) const BIAS: Ptr = Ptr(4);

/// Everything that the tiles are written from.
pub(super) struct Transform<'a> {
    pub spec: &'a LayerSpec,
    pub shape: &'a Shape,
    pub fma: bool,
    /// Elements of a register.
    pub lanes: usize,
}

/// Where lines of a tile are: a pointer, what is added to it, and the distances along each axis.
#[derive(Clone, Copy)]
struct Place {
    ptr: Ptr,
    offset: i64,
    steps: [i64; 3],
    lanes: usize,
    lane_step: i64,
}

impl Place {
    fn at(&self, axis: usize, i: usize) -> Address {
        Address { ptr: self.ptr, offset: self.offset + i as i64 * self.steps[axis] }
    }
}

impl Transform<'_> {
    /// Elements of one place between axes.
    pub(super) fn spare_len(&self) -> usize {
        self.shape.elements * self.lanes
    }

    /// The axes along which a call passes ranges, for tiles at borders.
    pub(super) fn ranged(&self) -> Vec<usize> {
        (0..3).filter(|&a| self.shape.axes[a].is_cut()).collect()
    }

    fn spare(&self, i: usize) -> Place {
        let steps = self.shape.element_steps(self.lanes);
        Place { ptr: SPARE[i], offset: 0, steps, lanes: self.lanes, lane_step: 1 }
    }

    fn range_names(&self, border: bool) -> Vec<String> {
        let names = ["d", "h", "w"];
        if border { self.ranged().into_iter().map(|a| names[a].to_owned()).collect() } else { Vec::new() }
    }

    /// How often something runs along each axis: `count` times, or as a call at a border says.
    fn extents(&self, border: bool, count: impl Fn(usize) -> usize) -> [Extent; 3] {
        let ranged = self.ranged();
        [0, 1, 2].map(|a| match ranged.iter().position(|&r| r == a) {
            Some(i) if border => Extent::Range(i as u32),
            _ => Extent::Count(count(a) as u64),
        })
    }

    /// Input to transformed input, one part of it, all channels of `src`.
    pub(super) fn input(&self, schedule: &Schedule, src: &View, border: bool, name: String) -> Tile {
        let mut e = Emitter::new(self.spec.dtype, self.fma);
        if !border {
            schedule.prologue(&mut e);
        }
        let element = self.shape.input[1];
        let axes = self.shape.axes;
        self.channels(&mut e, src, self.spec.in_channels, &[FROM], &[TO], &mut |e, from, channel, lanes, lane_step| {
            let steps = [0, 1, 2].map(|a| axes[a].input_step as i64 * src.spatial[a]);
            let mut place = Place { ptr: FROM, offset: from, steps, lanes, lane_step };
            if border {
                let spare = self.spare(0);
                let free = Reg(0);
                e.constant(free, 0.0);
                e.repeat(Extent::Count(self.shape.elements as u64), &[(spare.ptr, self.lanes as i64)], |e| {
                    e.store(spare.at(2, 0), free, self.lanes, 1);
                });
                let extents = self.extents(border, |a| axes[a].alpha);
                each(e, &[0, 1, 2], &extents, &[place, spare], &mut |e| {
                    e.load(free, place.at(2, 0), lanes, lane_step);
                    e.store(spare.at(2, 0), free, self.lanes, 1);
                });
                schedule.prologue(e);
                place = spare;
            }
            let order: Vec<usize> = self.shape.transformed().into_iter().rev().collect();
            for (i, &axis) in order.iter().enumerate() {
                let to = match i + 1 == order.len() {
                    true => Place {
                        ptr: TO,
                        offset: channel,
                        steps: self.shape.element_steps(element),
                        lanes,
                        lane_step: 1,
                    },
                    false => self.spare(if place.ptr == SPARE[1] { 0 } else { 1 }),
                };
                self.lines(e, schedule, axis, axes.map(|a| a.alpha), place, to);
                place = to;
            }
        });
        self.tile(e, name, &["src", "spare", "spare_2", "transformed"], border)
    }

    /// Products to outputs, `channels` of them: the transform, bias, epilogue, and the elements that lie within the output.
    pub(super) fn output(&self, schedule: &Schedule, dst: &View, channels: usize, border: bool, name: String) -> Tile {
        let mut e = Emitter::new(self.spec.dtype, self.fma);
        let element = self.shape.output[1];
        let axes = self.shape.axes;
        let residual = epilogue::residual(self.spec, BIAS);
        let others: &[Ptr] = if self.spec.bias_len() > 0 { &[FROM, BIAS] } else { &[FROM] };
        let moving: &[Ptr] = if self.spec.has_residual() { &[TO, residual] } else { &[TO] };
        self.channels(&mut e, dst, channels, moving, others, &mut |e, to, channel, lanes, lane_step| {
            // The epilogue takes any register.
            schedule.prologue(e);
            let mut place =
                Place { ptr: FROM, offset: channel, steps: self.shape.element_steps(element), lanes, lane_step: 1 };
            let mut extent = axes.map(|a| a.alpha);
            for axis in self.shape.transformed() {
                let to = self.spare(if place.ptr == SPARE[0] { 1 } else { 0 });
                self.lines(e, schedule, axis, extent, place, to);
                extent[axis] = axes[axis].m;
                place = to;
            }
            let steps = [0, 1, 2].map(|a| axes[a].step as i64 * dst.spatial[a]);
            let to = Place { ptr: TO, offset: to, steps, lanes, lane_step };
            self.finish(e, place, to, channel, border);
        });
        let names = [&["products", "spare", "spare_2", "dst"][..], &epilogue::pointers(self.spec)].concat();
        self.tile(e, name, &names, border)
    }

    /// Bias, epilogue and store of every output.
    fn finish(&self, e: &mut Emitter, from: Place, to: Place, channel: i64, border: bool) {
        let axes = self.shape.axes;
        let (x, bias, free) = (Reg(0), Reg(1), Reg(2));
        let channel = Address { ptr: BIAS, offset: channel };
        if self.spec.bias {
            e.load(bias, channel, to.lanes, 1);
        }
        let residual = Place { ptr: epilogue::residual(self.spec, BIAS), ..to };
        let extents = self.extents(border, |a| axes[a].m);
        // Along the last axis outputs are written out where their number is known.
        let written_out = match extents[2] {
            Extent::Count(n) => n as usize,
            Extent::Range(_) => 1,
        };
        let loops = if written_out > 1 { &[0, 1][..] } else { &[0, 1, 2] };
        let places = [from, to, residual];
        let places = if self.spec.has_residual() { &places[..] } else { &places[..2] };
        each(e, loops, &extents, places, &mut |e| {
            for i in 0..written_out {
                e.load(x, from.at(2, i), self.lanes, 1);
                if self.spec.bias {
                    e.binary(BinaryOp::Add, x, x, bias);
                }
                let outputs = Outputs {
                    channel,
                    channels: Some(to.lanes),
                    residual: residual.at(2, i),
                    lanes: to.lanes,
                    lane_step: to.lane_step,
                };
                epilogue::emit(e, self.spec, x, free, outputs);
                e.store(to.at(2, i), x, to.lanes, to.lane_step);
            }
        });
    }

    /// Every line along `axis` through the transform; `extent` says how many lines there are along the others.
    fn lines(&self, e: &mut Emitter, schedule: &Schedule, axis: usize, extent: [usize; 3], from: Place, to: Place) {
        let others: Vec<usize> = (0..3).filter(|&a| a != axis).collect();
        let extents = extent.map(|n| Extent::Count(n as u64));
        each(e, &others, &extents, &[from, to], &mut |e| {
            schedule.body(e, &mut |e, i, d| e.load(d, from.at(axis, i), from.lanes, from.lane_step), &mut |e, i, s| {
                e.store(to.at(axis, i), s, to.lanes, to.lane_step)
            });
        });
    }

    /// Calls `body` for every vector of `channels` of `view`, in loops: with what it must add to `moving`, which move through the view,
    /// and to `others`, which have channels side by side; then the vector's lanes and their distance in the view.
    fn channels(
        &self,
        e: &mut Emitter,
        view: &View,
        channels: usize,
        moving: &[Ptr],
        others: &[Ptr],
        body: &mut dyn FnMut(&mut Emitter, i64, i64, usize, i64),
    ) {
        let along = |channels: i64, step: i64| {
            let others = others.iter().map(move |&p| (p, channels));
            others.chain(moving.iter().map(move |&p| (p, step))).collect::<Vec<_>>()
        };
        let lane_step = view.lane_step();
        let mut run = |e: &mut Emitter, count: usize, (at, first): (i64, i64)| {
            let (full, rest) = (count / self.lanes, count % self.lanes);
            let lanes = self.lanes as i64;
            if full > 0 {
                e.repeat(Extent::Count(full as u64), &along(lanes, lanes * lane_step), |e| {
                    body(e, at, first, self.lanes, lane_step);
                });
            }
            if rest > 0 {
                let done = full as i64 * lanes;
                body(e, at + done * lane_step, first + done, rest, lane_step);
            }
        };
        if view.lanes == 1 {
            return run(e, channels, (0, 0));
        }
        for part in view.runs(channels) {
            let start = (view.channel(part.start), part.start as i64);
            e.repeat(Extent::Count(part.planes as u64), &along(part.lanes as i64, view.plane), |e| {
                run(e, part.lanes, start);
            });
        }
    }

    fn tile(&self, e: Emitter, name: String, pointers: &[&str], border: bool) -> Tile {
        let (body, registers) = e.finish();
        let pointers = pointers.iter().map(|&p| p.to_owned()).collect();
        Tile { name, pointers, ranges: self.range_names(border), registers, body }
    }
}

/// Loops along `axes` that move through all of `places`.
fn each(e: &mut Emitter, axes: &[usize], extents: &[Extent; 3], places: &[Place], body: &mut dyn FnMut(&mut Emitter)) {
    match axes.split_first() {
        None => body(e),
        Some((&axis, rest)) => {
            let steps: Vec<_> = places.iter().map(|p| (p.ptr, p.steps[axis])).collect();
            e.repeat(extents[axis], &steps, |e| each(e, rest, extents, places, body));
        }
    }
}
