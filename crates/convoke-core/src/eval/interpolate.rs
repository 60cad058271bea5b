//! What a [`resize`](crate::spec::NodeKind::Interpolate) computes, in the arithmetic of the elements: the run-time network calls it, and emitted code has the
//! same operations in the same order.
//!
//! Of two elements it is `a * (1 - weight) + b * weight`, along the depth, then the height, then the width. Halves are computed as `f32` and rounded
//! once, at the end.

use super::{Element, Float};
use crate::spec::{Interpolation, Layout, TensorShape};

/// Columns of a row that lie ready at a time, where elements of a channel are side by side.
const COLUMNS: usize = 512;

/// Columns of the input for one of the output, from which on not all of them are made ready.
const SPARSE: usize = 4;

/// Channels of a column that lie ready at a time, where those are side by side.
const CHANNELS: usize = 64;

/// An index of the input, and how much of the one behind it.
type Weighed = (u32, f64);

/// A `resize`, with its tables. An image is planes of rows, of each of which some channels are side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Interpolator {
    planes: usize,
    lanes: usize,
    /// Those of the last plane that are channels; the others are zeros.
    last: usize,
    from: [usize; 3],
    to: [usize; 3],
    taps: [Vec<Weighed>; 3],
}

impl Interpolator {
    /// The tables of `interpolation` for what it makes.
    pub fn new(interpolation: &Interpolation, shape: &TensorShape) -> Self {
        let (planes, lanes) = shape.planes();
        let unused = 3 - interpolation.axes.len().min(3);
        let mut made = Self {
            planes,
            lanes,
            last: shape.channels - (planes - 1) * lanes,
            from: [1; 3],
            to: [1; 3],
            taps: [0; 3].map(|_| vec![(0, 0.0)]),
        };
        for (axis, size) in interpolation.axes.iter().enumerate() {
            (made.from[unused + axis], made.to[unused + axis]) = (size.from, size.to);
            // A size is at most that of an `i32`.
            let taps = interpolation.taps(axis, shape.dtype());
            made.taps[unused + axis] = taps.map(|tap| (tap.index as u32, tap.weight)).collect();
        }
        made
    }

    /// Rows of an image that it makes, each of [`row`](Self::row) elements.
    pub fn rows(&self) -> usize {
        self.planes * self.to[0] * self.to[1]
    }

    /// Elements of a row that it makes.
    pub fn row(&self) -> usize {
        self.to[2] * self.lanes
    }

    /// Makes the rows from `first` on, counted through all images, of all images.
    #[inline(always)]
    pub fn run<T: Float>(&self, src: &[T], dst: &mut [T], first: usize) {
        let ([depth, height, _], len) = (self.to, self.from[2] * self.lanes);
        for (row, dst) in (first..).zip(dst.chunks_exact_mut(self.row())) {
            let plane = row / height / depth;
            let (z, y) = (self.taps[0][row / height % depth], self.taps[1][row % height]);
            let of = |z: u32, y: u32| {
                let at = (plane * self.from[0] + z as usize) * self.from[1] + y as usize;
                &src[at * len..(at + 1) * len]
            };
            let lane = T::Lane::from_f64;
            let upright = match (z.1 == 0.0, y.1 == 0.0) {
                (true, true) => Upright::One(of(z.0, y.0)),
                (false, true) => Upright::Two([of(z.0, y.0), of(z.0 + 1, y.0)], lane(z.1)),
                (true, false) => Upright::Two([of(z.0, y.0), of(z.0, y.0 + 1)], lane(y.1)),
                (false, false) => {
                    let pair = |y: u32| [of(z.0, y), of(z.0 + 1, y)];
                    Upright::Four([pair(y.0), pair(y.0 + 1)], [lane(z.1), lane(y.1)])
                }
            };
            match self.lanes {
                1 => self.columns(&upright, dst),
                _ => self.channels(&upright, dst),
            }
            if self.last < self.lanes && plane % self.planes == self.planes - 1 {
                dst.chunks_exact_mut(self.lanes).for_each(|column| column[self.last..].fill(T::default()));
            }
        }
    }

    /// A row of one channel.
    #[inline(always)]
    fn columns<T: Float>(&self, upright: &Upright<'_, T>, dst: &mut [T]) {
        let mut ready = [T::Lane::default(); COLUMNS];
        let (mut taps, mut dst) = (&self.taps[2][..], dst);
        while let Some(&(start, _)) = taps.first() {
            // Indices never fall, and the one behind the last is taken too.
            let count = taps.partition_point(|tap| (tap.0 - start) as usize + 2 <= COLUMNS);
            let (now, later) = taps.split_at(count);
            let (made, rest) = dst.split_at_mut(count);
            let start = start as usize;
            let end = now.last().map_or(start, |tap| tap.0 as usize + 2).min(self.from[2]);
            if end - start > SPARSE * count {
                for (to, &(at, weight)) in made.iter_mut().zip(now) {
                    let taken = 1 + usize::from(weight != 0.0);
                    upright.write(at as usize, &mut ready[..taken]);
                    *to = T::from_lane(mixed(ready[0], ready[1], T::Lane::from_f64(weight)));
                }
            } else {
                upright.write(start, &mut ready[..end - start]);
                for (to, &(at, weight)) in made.iter_mut().zip(now) {
                    let at = at as usize - start;
                    // Where that is nothing of the row, its weight is 0.
                    *to = T::from_lane(mixed(ready[at], ready[at + 1], T::Lane::from_f64(weight)));
                }
            }
            (taps, dst) = (later, rest);
        }
    }

    /// A row of several channels.
    #[inline(always)]
    fn channels<T: Float>(&self, upright: &Upright<'_, T>, dst: &mut [T]) {
        for first in (0..self.lanes).step_by(CHANNELS) {
            let count = CHANNELS.min(self.lanes - first);
            // Of columns side by side one is even, the other odd.
            let mut ready = [[T::Lane::default(); CHANNELS]; 2];
            let mut held = [usize::MAX; 2];
            for (to, &(at, weight)) in dst.chunks_exact_mut(self.lanes).zip(&self.taps[2]) {
                let (at, to) = (at as usize, &mut to[first..first + count]);
                let is_alone = weight == 0.0;
                if let (Upright::One(row), true) = (upright, is_alone) {
                    to.copy_from_slice(&row[at * self.lanes + first..][..count]);
                    continue;
                }
                for column in at..=at + usize::from(!is_alone) {
                    if held[column % 2] != column {
                        upright.write(column * self.lanes + first, &mut ready[column % 2][..count]);
                        held[column % 2] = column;
                    }
                }
                let (a, b) = (&ready[at % 2][..count], &ready[(at + 1) % 2][..count]);
                let weight = T::Lane::from_f64(weight);
                if is_alone {
                    to.iter_mut().zip(a).for_each(|(to, &a)| *to = T::from_lane(a));
                } else {
                    to.iter_mut().zip(a).zip(b).for_each(|((to, &a), &b)| *to = T::from_lane(between(a, b, weight)));
                }
            }
        }
    }
}

/// What a row of the output is made of, before its columns are: one row, two, or two of each of two planes along the depth.
enum Upright<'a, T: Float> {
    One(&'a [T]),
    Two([&'a [T]; 2], T::Lane),
    /// First those of the first height; the weights of the depth and of the height.
    Four([[&'a [T]; 2]; 2], [T::Lane; 2]),
}

impl<T: Float> Upright<'_, T> {
    /// Writes the elements from `at` on.
    #[inline(always)]
    fn write(&self, at: usize, to: &mut [T::Lane]) {
        let len = to.len();
        match self {
            Self::One(row) => to.iter_mut().zip(&row[at..at + len]).for_each(|(to, from)| *to = from.to_lane()),
            Self::Two([a, b], weight) => {
                let rows = a[at..at + len].iter().zip(&b[at..at + len]);
                to.iter_mut().zip(rows).for_each(|(to, (a, b))| *to = between(a.to_lane(), b.to_lane(), *weight));
            }
            Self::Four([[a, b], [c, d]], [depth, height]) => {
                let first = a[at..at + len].iter().zip(&b[at..at + len]);
                let second = c[at..at + len].iter().zip(&d[at..at + len]);
                for (to, ((a, b), (c, d))) in to.iter_mut().zip(first.zip(second)) {
                    let first = between(a.to_lane(), b.to_lane(), *depth);
                    let second = between(c.to_lane(), d.to_lane(), *depth);
                    *to = between(first, second, *height);
                }
            }
        }
    }
}

#[inline(always)]
fn between<L: Element>(a: L, b: L, weight: L) -> L {
    a * (L::from_f64(1.0) - weight) + b * weight
}

/// The same, where the weight may be 0: then the second does not count, even if it is no number.
#[inline(always)]
fn mixed<L: Element>(a: L, b: L, weight: L) -> L {
    if weight == L::default() { a } else { between(a, b, weight) }
}

impl Interpolator {
    /// Planes of an image and the channels of each, also of the last.
    pub(crate) fn image(&self) -> [usize; 3] {
        [self.planes, self.lanes, self.last]
    }

    /// Depth, height and width of the input and of what is made.
    pub(crate) fn sizes(&self) -> [[usize; 3]; 2] {
        [self.from, self.to]
    }

    /// For each of those the indices that are read, and how much of the one behind each.
    pub(crate) fn taps(&self) -> &[Vec<Weighed>; 3] {
        &self.taps
    }
}

impl TensorShape {
    /// Planes of an image, each of all pixels, and how many channels lie side by side in one.
    pub(super) fn planes(&self) -> (usize, usize) {
        match self.layout {
            Layout::ChannelsLast => (1, self.channels),
            Layout::Blocked => (self.channels.div_ceil(self.dtype().block()), self.dtype().block()),
            Layout::ChannelsFirst | Layout::Pairs => (self.channels, 1),
        }
    }
}

#[cfg(test)]
#[path = "interpolate_tests.rs"]
mod tests;
