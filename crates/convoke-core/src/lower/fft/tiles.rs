//! The tiles: transforms, products, and copies where a block reaches past the image.

use super::super::emit::Emitter;
use super::super::epilogue::{self, Outputs};
use super::butterfly::{Complex, Direction, butterfly};
use super::passes::{Pass, TWIDDLE};
use super::shape::{PARTS, Shape};
use crate::ir::{Address, BinaryOp, Extent, Ptr, Reg, Tile};
use crate::spec::LayerSpec;

/// Pointers of a transform: two lines of a block each, the transformed block, and the twiddle factors.
const LINES: [Ptr; 2] = [Ptr(0), Ptr(1)];
const WORK: Ptr = Ptr(2);
const TWIDDLES: Ptr = Ptr(3);

/// Everything that the tiles are written from.
pub(super) struct Transform<'a> {
    pub spec: &'a LayerSpec,
    pub shape: &'a Shape,
    pub fma: bool,
}

/// Where the elements of a butterfly are, from the first on.
#[derive(Clone, Copy)]
enum Place {
    /// Rows of lines, whose elements are `stride` apart.
    Lines {
        step: i64,
        stride: i64,
    },
    Work {
        step: i64,
    },
}

impl Transform<'_> {
    fn emitter(&self) -> Emitter {
        Emitter::new(self.spec.dtype, self.fma)
    }

    fn lanes(&self) -> i64 {
        self.shape.lanes as i64
    }

    fn row(&self) -> i64 {
        self.shape.row() as i64
    }

    fn access(&self, place: Place, i: usize) -> ([Address; 2], i64) {
        let i = i as i64;
        match place {
            Place::Lines { step, stride } => (LINES.map(|ptr| Address { ptr, offset: i * step * stride }), stride),
            Place::Work { step } => ([0, self.lanes()].map(|part| Address { ptr: WORK, offset: i * step + part }), 1),
        }
    }

    fn butterfly(&self, e: &mut Emitter, pass: &Pass, direction: Direction, from: Place, to: Place) {
        let twiddles = pass.has_twiddles().then_some(Address { ptr: TWIDDLES, offset: pass.twiddles as i64 });
        let lanes = self.shape.lanes;
        let mut read = |e: &mut Emitter, i: usize, x: Complex| {
            let (at, stride) = self.access(from, i);
            (0..2).for_each(|part| e.load(x[part], at[part], lanes, stride));
        };
        let mut write = |e: &mut Emitter, i: usize, x: Complex| {
            let (at, stride) = self.access(to, i);
            (0..2).for_each(|part| e.store(at[part], x[part], lanes, stride));
        };
        butterfly(e, pass.radix, direction, twiddles, &mut read, &mut write);
    }

    /// A pass over `rows` that lie one after the other, in place.
    fn pass(&self, e: &mut Emitter, pass: &Pass, rows: usize, direction: Direction) {
        let row = self.row();
        let place = Place::Work { step: pass.columns() as i64 * row };
        let columns = (pass.columns(), [(WORK, row), (TWIDDLES, self.twiddle_step(pass))]);
        let blocks = (rows / pass.len, [(WORK, pass.len as i64 * row), (TWIDDLES, 0)]);
        // The longer loop inside.
        let (outer, inner) = if blocks.0 > columns.0 { (columns, blocks) } else { (blocks, columns) };
        e.repeat(Extent::Count(outer.0 as u64), &outer.1, |e| {
            e.repeat(Extent::Count(inner.0 as u64), &inner.1, |e| self.butterfly(e, pass, direction, place, place));
        });
    }

    /// Elements of twiddle factors from one column to the next.
    fn twiddle_step(&self, pass: &Pass) -> i64 {
        if pass.has_twiddles() { (3 * TWIDDLE) as i64 } else { 0 }
    }

    /// The first pass, or the first two where the transform is taken part by part, between lines of that stride and the transformed
    /// block.
    fn outer_passes(&self, e: &mut Emitter, passes: &[Pass], direction: Direction, stride: i64) {
        let (lanes, row, forward) = (self.lanes(), self.row(), direction == Direction::Forward);
        let along =
            |e: &mut Emitter, count: usize, rows: i64, work: i64, twiddles: i64, body: &mut dyn FnMut(&mut Emitter)| {
                let line = rows * lanes * stride;
                let steps = [(LINES[0], line), (LINES[1], line), (WORK, work), (TWIDDLES, twiddles)];
                e.repeat(Extent::Count(count as u64), &steps, body);
            };
        let between = |lines: Place, work: Place| if forward { (lines, work) } else { (work, lines) };
        if !self.shape.parted {
            let Some(pass) = passes.first() else { return };
            let columns = pass.columns();
            let lines = Place::Lines { step: columns as i64 * lanes, stride };
            let (from, to) = between(lines, Place::Work { step: columns as i64 * row });
            return along(e, columns, 1, row, self.twiddle_step(pass), &mut |e| {
                self.butterfly(e, pass, direction, from, to);
            });
        }
        let [first, second, ..] = passes else { return };
        let (part, part_step) = (self.shape.part(), self.shape.part_step() as i64);
        let lines = Place::Lines { step: first.columns() as i64 * lanes, stride };
        let (from, to) = between(lines, Place::Work { step: 4 * part_step });
        let within = Place::Work { step: part_step };
        let twiddle = self.twiddle_step(first);
        along(e, part, 1, row, twiddle, &mut |e| {
            for level in if forward { [0, 1] } else { [1, 0] } {
                if level == 0 {
                    along(e, 4, part as i64, part_step, part as i64 * twiddle, &mut |e| {
                        self.butterfly(e, first, direction, from, to);
                    });
                } else {
                    along(e, 4, 0, 4 * part_step, 0, &mut |e| {
                        self.butterfly(e, second, direction, within, within);
                    });
                }
            }
        });
    }

    /// The passes inside the parts.
    fn inner_passes(&self, e: &mut Emitter, passes: &[Pass], direction: Direction) {
        let (parts, done) = if self.shape.parted { (PARTS, 2) } else { (1, 1) };
        let mut inner: Vec<&Pass> = passes.iter().skip(done).collect();
        if direction == Direction::Inverse {
            inner.reverse();
        }
        e.repeat(Extent::Count(parts as u64), &[(WORK, self.shape.part_step() as i64)], |e| {
            inner.iter().for_each(|pass| self.pass(e, pass, self.shape.part(), direction));
        });
    }

    /// Two blocks to one transformed block. The elements of the blocks are `stride` apart.
    pub(super) fn forward(&self, stride: i64, name: String) -> Tile {
        let (mut e, passes) = (self.emitter(), self.shape.passes());
        self.outer_passes(&mut e, &passes, Direction::Forward, stride);
        self.inner_passes(&mut e, &passes, Direction::Forward);
        tile(e, name, &["real", "imaginary", "transformed", "twiddles"], &[])
    }

    /// A block of products to two lines.
    pub(super) fn inverse(&self, name: String) -> Tile {
        let (mut e, passes) = (self.emitter(), self.shape.passes());
        self.inner_passes(&mut e, &passes, Direction::Inverse);
        self.outer_passes(&mut e, &passes, Direction::Inverse, 1);
        tile(e, name, &["real", "imaginary", "products", "twiddles"], &[])
    }

    /// The products of all frequencies for `channels` output channels, summed over the input channels.
    pub(super) fn product(&self, channels: usize, name: String) -> Tile {
        let (input, weights, output) = (Ptr(0), Ptr(1), Ptr(2));
        let shape = self.shape;
        let (lanes, pairs, work) = (self.lanes(), shape.pairs, shape.work() as i64);
        let packing = shape.packing(self.spec.dtype);
        let (bin, filters) = (packing.bin() as i64, packing.filters(shape.ic) as i64);
        let ic = shape.ic as i64;
        // For each channel and pair the sums of re re, im im, re im and im re.
        let sums = |channel: usize, pair: usize| {
            let first = 4 * (channel * pairs + pair) as u32;
            [0, 1, 2, 3].map(|i| Reg(first + i))
        };
        let next = 4 * (channels * pairs) as u32;
        let filter = |channel: usize| [0, 1].map(|i| Reg(next + 2 * channel as u32 + i));
        let [x_re, x_im, product] = [0, 1, 2].map(|i| Reg(next + 2 * channels as u32 + i));
        let mut e = self.emitter();
        let one = |e: &mut Emitter| {
            for channel in 0..channels {
                for pair in 0..pairs {
                    sums(channel, pair).into_iter().for_each(|sum| e.constant(sum, 0.0));
                }
            }
            e.repeat(Extent::Count(shape.ic as u64), &[(input, pairs as i64 * work), (weights, bin)], |e| {
                for phase in 0..lanes {
                    for channel in 0..channels {
                        let at = channel as i64 * filters + lanes - 1 - phase;
                        for (part, d) in filter(channel).into_iter().enumerate() {
                            let offset = at + part as i64 * 2 * lanes;
                            e.load(d, Address { ptr: weights, offset }, shape.lanes, 1);
                        }
                    }
                    for pair in 0..pairs {
                        let at = pair as i64 * work + phase;
                        e.broadcast(x_re, Address { ptr: input, offset: at });
                        e.broadcast(x_im, Address { ptr: input, offset: at + lanes });
                        for channel in 0..channels {
                            let ([re, im], sums) = (filter(channel), sums(channel, pair));
                            e.multiply_add(sums[0], x_re, re, sums[0], product);
                            e.multiply_add(sums[1], x_im, im, sums[1], product);
                            e.multiply_add(sums[2], x_re, im, sums[2], product);
                            e.multiply_add(sums[3], x_im, re, sums[3], product);
                        }
                    }
                }
            });
            for channel in 0..channels {
                for pair in 0..pairs {
                    let [a, b, c, d] = sums(channel, pair);
                    let to = (channel * pairs + pair) as i64 * work;
                    e.binary(BinaryOp::Sub, a, a, b);
                    e.binary(BinaryOp::Add, c, c, d);
                    e.store(Address { ptr: output, offset: to }, a, shape.lanes, 1);
                    e.store(Address { ptr: output, offset: to + lanes }, c, shape.lanes, 1);
                }
            }
        };
        let (parts, part) = (if shape.parted { PARTS } else { 1 }, shape.part() as i64);
        let part_step = shape.part_step() as i64;
        let steps = [(input, part_step), (output, part_step), (weights, part * ic * bin)];
        e.repeat(Extent::Count(parts as u64), &steps, |e| {
            let steps = [(input, self.row()), (output, self.row()), (weights, ic * bin)];
            e.repeat(Extent::Count(part as u64), &steps, one);
        });
        tile(e, name, &["transformed", "weights", "products"], &[])
    }

    /// One block of the input, `stride` from one element to the next, to a line, with zeros for what is not there: whole rows, and the
    /// elements before and behind.
    pub(super) fn border(&self, stride: i64, name: String) -> Tile {
        let (from, to) = (Ptr(0), Ptr(1));
        let (lanes, x) = (self.lanes(), Reg(0));
        let mut e = self.emitter();
        e.constant(x, 0.0);
        e.repeat(Extent::Count(self.shape.rows as u64), &[(to, lanes)], |e| {
            e.store(Address { ptr: to, offset: 0 }, x, self.shape.lanes, 1);
        });
        for (range, count) in [(0, lanes), (1, 1), (2, 1)] {
            e.repeat(Extent::Range(range), &[(from, count * stride), (to, count)], |e| {
                e.load(x, Address { ptr: from, offset: 0 }, count as usize, stride);
                e.store(Address { ptr: to, offset: 0 }, x, count as usize, 1);
            });
        }
        tile(e, name, &["src", "line"], &["rows", "before", "behind"])
    }

    /// The outputs of one block from a line: bias, epilogue, and stores `stride` apart of whole rows and of the elements behind.
    pub(super) fn output(&self, stride: i64, name: String) -> Tile {
        let (from, to, bias) = (Ptr(0), Ptr(1), Ptr(2));
        let (x, offset, free) = (Reg(0), Reg(1), Reg(2));
        let mut e = self.emitter();
        let channel = Address { ptr: bias, offset: 0 };
        if self.spec.bias {
            e.broadcast(offset, channel);
        }
        let residual = epilogue::residual(self.spec, bias);
        for (range, count) in [(0, self.lanes()), (1, 1)] {
            let mut steps = vec![(from, count), (to, count * stride)];
            if self.spec.has_residual() {
                steps.push((residual, count * stride));
            }
            e.repeat(Extent::Range(range), &steps, |e| {
                e.load(x, Address { ptr: from, offset: 0 }, count as usize, 1);
                if self.spec.bias {
                    e.binary(BinaryOp::Add, x, x, offset);
                }
                let outputs = Outputs {
                    channel,
                    channels: None,
                    residual: Address { ptr: residual, offset: 0 },
                    lanes: count as usize,
                    lane_step: stride,
                };
                epilogue::emit(e, self.spec, x, free, outputs);
                e.store(Address { ptr: to, offset: 0 }, x, count as usize, stride);
            });
        }
        let names = [&["line", "dst"][..], &epilogue::pointers(self.spec)].concat();
        tile(e, name, &names, &["rows", "behind"])
    }
}

fn tile(e: Emitter, name: String, pointers: &[&str], ranges: &[&str]) -> Tile {
    let (body, registers) = e.finish();
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
    Tile { name, pointers: names(pointers), ranges: names(ranges), registers, body }
}
