//! Integers of 8 bits: the copy of the input in which two channels are a lane, and how sums become outputs.
//!
//! A lane holds two channels of a group as integers of 16 bits; the second of an odd number is whatever, since its weights are 0. Padding is
//! the element that stands for 0, so that what zero points add to a sum is the same for every output of a channel, and is a part of
//! its constant (`spec::Integers`).

use super::emit::Emitter;
use super::pack::{self, Copy, Run, SCRATCH, SRC};
use crate::ir::{Address, BinaryOp, Conversion, Extent, Kernel, Reg, Tile};
use crate::spec::{Integers, PAIR, PaddingMode, Requantized};

/// Registers besides the sums that [`requantize`] uses.
pub(crate) const REQUANTIZE_REGISTERS: usize = 4;

/// Writes a row of the copy, all channels: what stands for 0 first, if there is padding, then the data over it. `ranges` as in `pack`.
pub(super) fn tile(copy: &Copy<'_>, integers: &Integers, kernel: &Kernel, ranges: Vec<(String, i64)>, row: i64) -> Tile {
    let mut e = Emitter::new(copy.spec.dtype, kernel.fma);
    if !ranges.is_empty() || copy.w.data() != (0..copy.w.size) {
        e.integer(Reg(0), integers.src_zero_point);
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
        for run in copy.w.runs(PaddingMode::Zeros) {
            data(copy, e, &run);
        }
    });
    let (body, registers) = e.finish();
    let pointers = vec!["src".to_owned(), "scratch".to_owned()];
    let ranges = ranges.into_iter().map(|r| r.0).collect();
    Tile { name: format!("{}_pack", kernel.name), pointers, ranges, registers, body }
}

/// The data of a row.
fn data(copy: &Copy<'_>, e: &mut Emitter, run: &Run) {
    let Copy { spec, src, scratch, .. } = *copy;
    let (channels, lanes) = (spec.ic_per_group(), spec.ic_lanes());
    let (from, to) = (run.from * src.spatial[2], run.start as i64 * scratch.lanes as i64);
    if src.lanes > 1 && channels.is_multiple_of(PAIR) && run.step == 1 {
        // All channels of all pixels lie side by side.
        return pairs_of(copy, e, (from, to), run.count * spec.groups * lanes);
    }
    // Distances of two channels of the input and of two lanes of the copy.
    let channel = if src.lanes == 1 { src.plane } else { 1 };
    let lane = if scratch.lanes == 1 { scratch.plane } else { 1 };
    let group = [(SRC, channels as i64 * channel), (SCRATCH, lanes as i64 * lane)];
    if src.lanes == 1 {
        let (pixel, full) = (scratch.lanes as i64, channels / PAIR);
        let pair = [(SRC, PAIR as i64 * channel), (SCRATCH, lane)];
        return e.repeat(Extent::Count(spec.groups as u64), &group, |e| {
            let row = |e: &mut Emitter, first: i64, second: bool| {
                let (from, to) = (from + first * channel, to + first / PAIR as i64 * lane);
                copy.stream_by(e, run.count as i64, (run.step, pixel), |e, i, n| {
                    let at = |channels: i64| Address { ptr: SRC, offset: from + i * run.step + channels * channel };
                    e.load(Reg(0), at(0), n, run.step);
                    if second {
                        e.load(Reg(1), at(1), n, run.step);
                        e.binary(BinaryOp::Join, Reg(0), Reg(0), Reg(1));
                    }
                    e.store(Address { ptr: SCRATCH, offset: to + i * pixel }, Reg(0), n, pixel);
                });
            };
            if full > 0 {
                e.repeat(Extent::Count(full as u64), &pair, |e| row(e, 0, true));
            }
            if full < lanes {
                row(e, (PAIR * full) as i64, false);
            }
        });
    }
    let steps = [(SRC, run.step * src.spatial[2]), (SCRATCH, scratch.lanes as i64)];
    e.repeat(Extent::Count(run.count as u64), &steps, |e| {
        e.repeat(Extent::Count(spec.groups as u64), &group, |e| {
            let full = channels / PAIR;
            pairs_of(copy, e, (from, to), full);
            if full < lanes {
                e.load(Reg(0), Address { ptr: SRC, offset: from + (PAIR * full) as i64 }, 1, 1);
                e.store(Address { ptr: SCRATCH, offset: to + full as i64 }, Reg(0), 1, 1);
            }
        });
    });
}

/// `lanes` lanes of neighbouring elements.
fn pairs_of(copy: &Copy<'_>, e: &mut Emitter, (from, to): (i64, i64), lanes: usize) {
    let pair = PAIR as i64;
    copy.stream_by(e, lanes as i64, (pair, 1), |e, i, n| {
        e.pairs(Reg(0), Address { ptr: SRC, offset: from + i * pair }, n);
        e.store(Address { ptr: SCRATCH, offset: to + i }, Reg(0), n, 1);
    });
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
