//! What a [`Norm`] computes, in the arithmetic of the elements: the run-time network calls it, and emitted code has the same operations in the same order.
//!
//! Elements are read three times: for the mean, for the variance of what they differ from it, and to be normalized. Sums are of so many partial sums of
//! a few hundred elements each, which are added in `f64`, and so are statistics. Halves are computed as `f32` and rounded once, at the end.
//!
//! Where the elements of a group lie side by side they are a row. Otherwise channels lie side by side, and are summed side by side, pixel by pixel.

use super::{Element, Float};
use crate::spec::{Groups, Layout, Norm, TensorShape};

/// Partial sums of a row.
const SUMS: usize = 32;

/// Elements of a row that are added before their sum is added in `f64`.
const RUN: usize = 2048;

/// Channels that are summed side by side.
const SIDE_BY_SIDE: usize = 32;

/// Pixels that are added before their sum is added in `f64`.
const PIXELS: usize = 64;

/// Channels from which on a thread takes no more, if they are whole groups.
const PIECE: usize = 64;

/// Weight and bias: a number each for what has one of its own.
pub type Numbers<'n, L> = Option<[&'n [L]; 2]>;

/// A norm of values of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    epsilon: f64,
    lies: Lies,
}

/// How the elements of a group lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lies {
    /// One behind the other.
    Rows {
        len: usize,
        /// Elements side by side that share a weight.
        run: usize,
        /// Rows from one to the next with the same weights.
        cycle: usize,
    },
    /// Pixel behind pixel, channels side by side.
    Pixels {
        planes: usize,
        pixels: usize,
        lanes: usize,
        /// Channels of the last plane; the others are zeros.
        last: usize,
        /// Channels of a group.
        group: usize,
    },
}

impl Normalizer {
    /// What `norm` does with values of that shape.
    pub fn new(norm: &Norm, shape: &TensorShape) -> Self {
        let (pixels, (planes, lanes)) = (shape.pixels(), shape.planes());
        let lies = match (norm.groups, norm.channels(shape).unwrap_or(1)) {
            (Groups::Elements { axis }, _) => {
                let written = shape.layout.declared_shape(0, shape.channels, &shape.sizes);
                Lies::Rows { len: written[axis..].iter().product(), run: 1, cycle: 1 }
            }
            (_, group) if matches!(shape.layout, Layout::ChannelsFirst | Layout::Pairs) => {
                Lies::Rows { len: group * pixels, run: pixels, cycle: shape.channels / group }
            }
            (_, group) => Lies::Pixels { planes, pixels, lanes, last: shape.channels - (planes - 1) * lanes, group },
        };
        Self { epsilon: norm.epsilon, lies }
    }

    pub(crate) fn lies(&self) -> Lies {
        self.lies
    }

    pub(crate) fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// Elements side by side that are normalized without the others: a row, or a plane.
    pub fn unit(&self) -> usize {
        match self.lies {
            Lies::Rows { len, .. } => len,
            Lies::Pixels { pixels, lanes, .. } => pixels * lanes,
        }
    }

    /// Numbers that are kept of a unit between its statistics and its elements; 0 where those are made at once.
    pub fn kept(&self) -> usize {
        match self.lies {
            Lies::Rows { .. } => 0,
            Lies::Pixels { lanes, .. } => 2 * lanes,
        }
    }

    /// Numbers that are kept of one piece of a unit, whose statistics are made without the others'.
    pub fn piece(&self) -> usize {
        match self.lies {
            Lies::Rows { .. } => 1,
            Lies::Pixels { group, .. } => 2 * PIECE.next_multiple_of(group),
        }
    }

    /// Elements side by side that are made at once: a row, or the channels of a pixel.
    pub fn row(&self) -> usize {
        match self.lies {
            Lies::Rows { len, .. } => len,
            Lies::Pixels { lanes, .. } => lanes,
        }
    }

    /// Normalizes rows, of which the first has that number among those of all images. `src` is as long as `dst`.
    #[inline(always)]
    pub fn rows<T: Float>(&self, src: &[T], dst: &mut [T], first: usize, numbers: Numbers<'_, T::Lane>) {
        let Lies::Rows { len, run, cycle } = self.lies else { return };
        for (row, (src, dst)) in (first..).zip(src.chunks_exact(len).zip(dst.chunks_exact_mut(len))) {
            let mean = T::Lane::from_f64(sum(src, |x| x) / len as f64);
            let squares = sum(src, |x| {
                let x = x - mean;
                x * x
            });
            let scale = reciprocal_root(squares / len as f64 + self.epsilon);
            let scale = T::Lane::from_f64(scale);
            let (elements, at) = (dst.iter_mut().zip(src), row % cycle * (len / run));
            match numbers {
                None => elements.for_each(|(to, x)| *to = T::from_lane((x.to_lane() - mean) * scale)),
                Some(numbers) if run == 1 => {
                    let [weights, biases] = numbers.map(|numbers| &numbers[at..at + len]);
                    for ((to, x), (&weight, &bias)) in elements.zip(weights.iter().zip(biases)) {
                        *to = T::from_lane((x.to_lane() - mean) * scale * weight + bias);
                    }
                }
                Some([weights, biases]) => {
                    let runs = dst.chunks_exact_mut(run).zip(src.chunks_exact(run));
                    for (at, (dst, src)) in (at..).zip(runs) {
                        let (scale, bias) = (scale * weights[at], biases[at]);
                        for (to, x) in dst.iter_mut().zip(src) {
                            *to = T::from_lane((x.to_lane() - mean) * scale + bias);
                        }
                    }
                }
            }
        }
    }

    /// The statistics of a piece: for each channel its mean, and behind those for each what its elements are multiplied with. `src` is the unit of that
    /// number among those of all images, and the piece begins with its channel `first`.
    #[inline(always)]
    pub fn statistics<T: Float>(
        &self,
        src: &[T],
        (unit, first): (usize, usize),
        weights: Option<&[T::Lane]>,
        kept: &mut [T::Lane],
    ) {
        let Lies::Pixels { planes, pixels, lanes, last, group } = self.lies else { return };
        let there = if unit % planes == planes - 1 { last } else { lanes };
        let (means, scales) = kept.split_at_mut(kept.len() / 2);
        let count = means.len().min(there.saturating_sub(first));
        let (means, scales) = (&mut means[..count], &mut scales[..count]);
        let elements = (group * pixels) as f64;
        means.fill(T::Lane::default());
        let mut sums = [0.0; PIECE];
        add(src, (lanes, first), means, group, &mut sums, |x, _| x);
        for (mean, sum) in means.chunks_mut(group).zip(&sums) {
            mean.fill(T::Lane::from_f64(sum / elements));
        }
        let mut squares = [0.0; PIECE];
        add(src, (lanes, first), means, group, &mut squares, |x, mean| {
            let x = x - mean;
            x * x
        });
        for (scale, squares) in scales.chunks_mut(group).zip(&squares) {
            scale.fill(T::Lane::from_f64(reciprocal_root(squares / elements + self.epsilon)));
        }
        if let Some(weights) = weights {
            let weights = &weights[unit % planes * lanes + first..];
            scales.iter_mut().zip(weights).for_each(|(scale, &weight)| *scale = *scale * weight);
        }
    }

    /// Makes pixels of the unit of that number, of whose pieces `kept` are the statistics. `src` is as long as `dst`.
    #[inline(always)]
    pub fn pixels<T: Float>(
        &self,
        src: &[T],
        dst: &mut [T],
        unit: usize,
        biases: Option<&[T::Lane]>,
        kept: &[T::Lane],
    ) {
        let Lies::Pixels { planes, lanes, last, .. } = self.lies else { return };
        let (plane, piece) = (unit % planes, self.piece());
        let there = if plane == planes - 1 { last } else { lanes };
        for (src, dst) in src.chunks_exact(lanes).zip(dst.chunks_exact_mut(lanes)) {
            let (made, beyond) = dst.split_at_mut(there);
            let pieces = made.chunks_mut(piece / 2).zip(src.chunks(piece / 2)).zip(kept.chunks(piece));
            for (at, ((dst, src), kept)) in pieces.enumerate() {
                let (means, scales) = kept.split_at(kept.len() / 2);
                let elements = dst.iter_mut().zip(src).zip(means.iter().zip(scales));
                match biases {
                    None => elements.for_each(|((to, x), (&mean, &scale))| {
                        *to = T::from_lane((x.to_lane() - mean) * scale);
                    }),
                    Some(biases) => {
                        let biases = &biases[plane * lanes + at * (piece / 2)..];
                        elements.zip(biases).for_each(|(((to, x), (&mean, &scale)), &bias)| {
                            *to = T::from_lane((x.to_lane() - mean) * scale + bias);
                        });
                    }
                }
            }
            beyond.fill(T::default());
        }
    }
}

/// The sum of what `f` makes of each element.
#[inline(always)]
fn sum<T: Float>(row: &[T], f: impl Fn(T::Lane) -> T::Lane) -> f64 {
    let mut total = 0.0;
    for run in row.chunks(RUN) {
        let mut sums = [T::Lane::default(); SUMS];
        let (chunks, rest) = run.as_chunks::<SUMS>();
        for chunk in chunks {
            for at in 0..SUMS {
                sums[at] = sums[at] + f(chunk[at].to_lane());
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            *sum = *sum + f(x.to_lane());
        }
        let mut half = SUMS / 2;
        while half > 0 {
            for at in 0..half {
                sums[at] = sums[at] + sums[at + half];
            }
            half /= 2;
        }
        total += sums[0].to_f64();
    }
    total
}

/// Adds to the sum of each group what `f` makes of each element of its channels and the mean of that. `src` has `lanes` channels side by side, of
/// which those from `first` on are meant, as many as there are means.
#[inline(always)]
fn add<T: Float>(
    src: &[T],
    (lanes, first): (usize, usize),
    means: &[T::Lane],
    group: usize,
    groups: &mut [f64; PIECE],
    f: impl Fn(T::Lane, T::Lane) -> T::Lane,
) {
    for (at, means) in means.chunks(SIDE_BY_SIDE).enumerate() {
        let at = at * SIDE_BY_SIDE;
        let mut totals = [0.0; SIDE_BY_SIDE];
        for pixels in src.chunks(PIXELS * lanes) {
            let mut sums = [T::Lane::default(); SIDE_BY_SIDE];
            let pixels = pixels.chunks_exact(lanes).map(|pixel| &pixel[first + at..][..means.len()]);
            if let Some(means) = means.first_chunk::<SIDE_BY_SIDE>() {
                for pixel in pixels {
                    let Some(pixel) = pixel.first_chunk::<SIDE_BY_SIDE>() else { continue };
                    for lane in 0..SIDE_BY_SIDE {
                        sums[lane] = sums[lane] + f(pixel[lane].to_lane(), means[lane]);
                    }
                }
            } else {
                for pixel in pixels {
                    for ((sum, x), &mean) in sums.iter_mut().zip(pixel).zip(means) {
                        *sum = *sum + f(x.to_lane(), mean);
                    }
                }
            }
            totals.iter_mut().zip(&sums).for_each(|(total, sum)| *total += sum.to_f64());
        }
        for (lane, total) in totals[..means.len()].iter().enumerate() {
            groups[(at + lane) / group] += total;
        }
    }
}

/// `1 / sqrt(x)` in sums and products alone, which are the same everywhere: Newton's method, from a number that is right to a thirtieth (Lomont, "Fast
/// Inverse Square Root", 2003). What is no number, or below 0, stays no number.
#[inline(always)]
fn reciprocal_root(x: f64) -> f64 {
    // Below that a number has fewer bits.
    let (x, scale) = if x < f64::MIN_POSITIVE { (x * TWO_POW_108, TWO_POW_54) } else { (x, 1.0) };
    if x == 0.0 {
        return f64::INFINITY;
    }
    if x == f64::INFINITY {
        return 0.0;
    }
    let mut root = f64::from_bits(0x5FE6_EB50_C7B5_37A9_u64.wrapping_sub(x.to_bits() >> 1));
    for _ in 0..4 {
        root = root * (1.5 - 0.5 * x * root * root);
    }
    root * scale
}

const TWO_POW_54: f64 = 18_014_398_509_481_984.0;
const TWO_POW_108: f64 = TWO_POW_54 * TWO_POW_54;

#[cfg(test)]
#[path = "normalize_tests.rs"]
mod tests;
