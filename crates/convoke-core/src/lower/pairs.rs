//! Integers of 8 bits: the copy of the input in which several channels are a lane, their products, and how sums become outputs.
//!
//! A lane holds two channels of a group as integers of 16 bits, or four as they are; those that are missing are whatever, since their weights
//! are 0. Padding is the element that stands for 0, or elements of the input (`padding_mode`), so that what zero points add to a sum is the
//! same for every output of a channel, and is a part of its constant (`spec::Integers`).

use super::emit::Emitter;
use super::pack::{self, Copy, Run, SCRATCH, SRC};
use crate::ir::{Address, BinaryOp, Conversion, Extent, Kernel, Reg, Tile};
use crate::spec::{Integers, PAIR, QUAD, Requantized};

/// Registers besides the sums that [`requantize`] uses.
pub(crate) const REQUANTIZE_REGISTERS: usize = 4;

/// A copy whose lanes hold several channels.
pub(super) struct Lanes<'a> {
    pub(super) copy: &'a Copy<'a>,
    pub(super) integers: &'a Integers,
    /// Lanes of one group.
    pub(super) lanes: usize,
    /// Channels a lane.
    pub(super) per: usize,
}

impl Lanes<'_> {
    /// Writes a row, all channels: what stands for 0 first, if there is padding, then the data over it. `ranges` as in `pack`.
    pub(super) fn tile(&self, kernel: &Kernel, ranges: Vec<(String, i64)>, row: i64) -> Tile {
        let copy = self.copy;
        let mode = copy.spec.padding_mode;
        let mut e = Emitter::new(copy.spec.dtype, kernel.fma);
        if !mode.is_copied() && (!ranges.is_empty() || copy.w.data() != (0..copy.w.size)) {
            e.integer(Reg(0), self.integers.src_zero_point);
            if self.per == QUAD {
                e.binary(BinaryOp::Splice, Reg(0), Reg(0), Reg(0));
            }
            e.binary(BinaryOp::Join, Reg(0), Reg(0), Reg(0));
            let planes = if copy.scratch.lanes == 1 { copy.scratch.planes } else { 1 };
            e.repeat(Extent::Count(planes as u64), &[(SCRATCH, copy.scratch.plane)], |e| {
                copy.stream_by(e, row, (0, 1), |e, i, n| {
                    e.store(Address { ptr: SCRATCH, offset: i }, Reg(0), n, 1);
                });
            });
        }
        let steps: Vec<i64> = ranges.iter().map(|r| r.1).collect();
        pack::data(&mut e, &steps, 0, &mut |e| {
            copy.w.runs(mode).iter().for_each(|run| self.data(e, run));
        });
        let (body, registers) = e.finish();
        let pointers = vec!["src".to_owned(), "scratch".to_owned()];
        let ranges = ranges.into_iter().map(|r| r.0).collect();
        Tile { name: format!("{}_pack", kernel.name), pointers, ranges, registers, body }
    }

    /// The data of a row.
    fn data(&self, e: &mut Emitter, run: &Run) {
        let Copy { spec, src, scratch, .. } = *self.copy;
        let (channels, lanes, per) = (spec.ic_per_group(), self.lanes, self.per);
        let (from, to) = (run.from * src.spatial[2], run.start as i64 * scratch.lanes as i64);
        if src.lanes > 1 && channels.is_multiple_of(per) && run.step == 1 {
            // All channels of all pixels lie side by side.
            return self.neighbours(e, (from, to), run.count * spec.groups * lanes);
        }
        // Distances of two channels of the input and of two lanes of the copy.
        let channel = if src.lanes == 1 { src.plane } else { 1 };
        let lane = if scratch.lanes == 1 { scratch.plane } else { 1 };
        let group = [(SRC, channels as i64 * channel), (SCRATCH, lanes as i64 * lane)];
        let full = channels / per;
        let rest = channels % per;
        if src.lanes == 1 {
            let steps = [(SRC, per as i64 * channel), (SCRATCH, lane)];
            return e.repeat(Extent::Count(spec.groups as u64), &group, |e| {
                let row = |e: &mut Emitter, first: i64, count: usize| {
                    self.row(e, run, (from + first * per as i64 * channel, to + first * lane), count);
                };
                if full > 0 {
                    e.repeat(Extent::Count(full as u64), &steps, |e| row(e, 0, per));
                }
                if rest > 0 {
                    row(e, full as i64, rest);
                }
            });
        }
        let steps = [(SRC, run.step * src.spatial[2]), (SCRATCH, scratch.lanes as i64)];
        e.repeat(Extent::Count(run.count as u64), &steps, |e| {
            e.repeat(Extent::Count(spec.groups as u64), &group, |e| {
                self.neighbours(e, (from, to), full);
                if rest > 0 {
                    self.joined(e, from + (per * full) as i64, (1, 1), rest, 1);
                    e.store(Address { ptr: SCRATCH, offset: to + full as i64 }, Reg(0), 1, 1);
                }
            });
        });
    }

    /// A row of lanes of `count` channels, which lie in planes.
    fn row(&self, e: &mut Emitter, run: &Run, (from, to): (i64, i64), count: usize) {
        let Copy { src, scratch, .. } = *self.copy;
        let pixel = scratch.lanes as i64;
        if run.step <= 0 {
            // No load repeats an element or goes backwards.
            return e.repeat(Extent::Count(run.count as u64), &[(SRC, run.step), (SCRATCH, pixel)], |e| {
                self.joined(e, from, (src.plane, 1), count, 1);
                e.store(Address { ptr: SCRATCH, offset: to }, Reg(0), 1, 1);
            });
        }
        self.copy.stream_by(e, run.count as i64, (run.step, pixel), |e, i, n| {
            self.joined(e, from + i * run.step, (src.plane, run.step), count, n);
            e.store(Address { ptr: SCRATCH, offset: to + i * pixel }, Reg(0), n, pixel);
        });
    }

    /// Register 0 becomes `n` lanes, `step` apart in the input, of `count` channels that lie `channel` apart.
    fn joined(&self, e: &mut Emitter, from: i64, (channel, step): (i64, i64), count: usize, n: usize) {
        for i in 0..count {
            let at = Address { ptr: SRC, offset: from + i as i64 * channel };
            e.load(Reg(i as u32), at, n, step);
        }
        let per = self.per;
        if per == QUAD {
            for i in (0..count.saturating_sub(1)).step_by(2) {
                e.binary(BinaryOp::Splice, Reg(i as u32), Reg(i as u32), Reg(i as u32 + 1));
            }
        }
        let upper = per / 2;
        if count > upper {
            e.binary(BinaryOp::Join, Reg(0), Reg(0), Reg(upper as u32));
        }
    }

    /// `lanes` lanes of neighbouring elements.
    fn neighbours(&self, e: &mut Emitter, (from, to): (i64, i64), lanes: usize) {
        let per = self.per as i64;
        self.copy.stream_by(e, lanes as i64, (per, 1), |e, i, n| {
            let at = Address { ptr: SRC, offset: from + i * per };
            if self.per == PAIR {
                e.pairs(Reg(0), at, n)
            } else {
                e.quads(Reg(0), at, n)
            }
            e.store(Address { ptr: SCRATCH, offset: to + i }, Reg(0), n, 1);
        });
    }
}

/// What sums two integers of 16 bits: ones.
pub(super) fn ones(e: &mut Emitter, d: Reg) {
    e.integer(d, 1);
    e.binary(BinaryOp::Join, d, d, d);
}

/// `acc` takes the products of four bytes: in one instruction, or by way of `product`, with a register of [`ones`].
pub(super) fn dot4(e: &mut Emitter, acc: Reg, (x, w): (Reg, Reg), product: Reg, ones: Option<Reg>) {
    let Some(ones) = ones else { return e.dot4(acc, x, w, acc) };
    e.binary(BinaryOp::Products, product, x, w);
    e.binary(BinaryOp::Dot, product, product, ones);
    e.binary(BinaryOp::AddInt, acc, acc, product);
}

/// A sum to an element of the output; `free` holds its factor, and the next three registers are used.
///
/// The bounds of the type come before the rounding, as whole numbers, so that what is rounded is never more than an integer holds.
pub(super) fn requantize(e: &mut Emitter, output: &Requantized, x: Reg, free: Reg) {
    let [lo, hi, point] = [1, 2, 3].map(|i| Reg(free.0 + i));
    let (least, most) = output.dst.range();
    e.convert(Conversion::Float, x, x);
    e.binary(BinaryOp::Mul, x, x, free);
    e.constant(lo, f64::from(least - output.zero_point));
    e.binary(BinaryOp::Max, x, x, lo);
    e.constant(hi, f64::from(most - output.zero_point));
    e.binary(BinaryOp::Min, x, x, hi);
    e.convert(Conversion::Int, x, x);
    if output.zero_point != 0 {
        e.integer(point, output.zero_point);
        e.binary(BinaryOp::AddInt, x, x, point);
    }
}
