//! Groups of elements as those of mean 0 and variance 1, times weights and plus a bias.
#![allow(dead_code, reason = "not every network needs all of it")]

/// Groups whose elements lie one behind the other.
pub(crate) struct Rows {
    pub(crate) len: usize,
    /// Elements side by side that share a weight.
    pub(crate) run: usize,
    /// Rows from one to the next with the same weights.
    pub(crate) cycle: usize,
    pub(crate) epsilon: f64,
}

/// Groups of channels that lie side by side, pixel behind pixel.
pub(crate) struct Pixels {
    pub(crate) planes: usize,
    pub(crate) pixels: usize,
    pub(crate) lanes: usize,
    /// Channels of the last plane; the others are zeros.
    pub(crate) last: usize,
    /// Channels of a group.
    pub(crate) group: usize,
    pub(crate) epsilon: f64,
}

/// Partial sums of a row.
const SUMS: usize = 32;

/// Elements of a row that are added before their sum is added in `f64`.
const RUN: usize = 2048;

/// Channels that are summed side by side.
const SIDE_BY_SIDE: usize = 32;

/// Pixels that are added before their sum is added in `f64`.
const PIXELS: usize = 64;

/// Channels from which on no more are taken together, if they are whole groups.
const PIECE: usize = 64;

/// Makes all rows. The numbers are weights and biases.
pub(crate) fn rows(one: &Rows, src: &[f32], dst: &mut [f32], numbers: Option<[&[f32]; 2]>) {
    let (len, run) = (one.len, one.run);
    for (row, (src, dst)) in src.chunks_exact(len).zip(dst.chunks_exact_mut(len)).enumerate() {
        let mean = (sum(src, |x| x) / len as f64) as f32;
        let squares = sum(src, |x| {
            let x = x - mean;
            x * x
        });
        let scale = reciprocal_root(squares / len as f64 + one.epsilon) as f32;
        let at = row % one.cycle * (len / run);
        match numbers {
            None => dst.iter_mut().zip(src).for_each(|(to, x)| *to = (x - mean) * scale),
            Some(numbers) if run == 1 => {
                let [weights, biases] = numbers.map(|numbers| &numbers[at..at + len]);
                for ((to, x), (weight, bias)) in dst.iter_mut().zip(src).zip(weights.iter().zip(biases)) {
                    *to = (x - mean) * scale * weight + bias;
                }
            }
            Some([weights, biases]) => {
                let runs = dst.chunks_exact_mut(run).zip(src.chunks_exact(run));
                for (at, (dst, src)) in (at..).zip(runs) {
                    let (scale, bias) = (scale * weights[at], biases[at]);
                    dst.iter_mut().zip(src).for_each(|(to, x)| *to = (x - mean) * scale + bias);
                }
            }
        }
    }
}

/// Makes all pixels, in the memory for two numbers of each channel that lie side by side. The numbers are weights and biases.
pub(crate) fn pixels(one: &Pixels, src: &[f32], dst: &mut [f32], kept: &mut [f32], numbers: Option<[&[f32]; 2]>) {
    let (unit, piece) = (one.pixels * one.lanes, PIECE.next_multiple_of(one.group));
    for (at, (src, dst)) in src.chunks_exact(unit).zip(dst.chunks_exact_mut(unit)).enumerate() {
        let plane = at % one.planes;
        let there = if plane == one.planes - 1 { one.last } else { one.lanes };
        let numbers = numbers.map(|numbers| numbers.map(|numbers| &numbers[plane * one.lanes..][..there]));
        let (means, scales) = kept.split_at_mut(one.lanes);
        let (means, scales) = (&mut means[..there], &mut scales[..there]);
        let pieces = means.chunks_mut(piece).zip(scales.chunks_mut(piece)).zip((0..).step_by(piece));
        pieces.for_each(|((means, scales), first)| statistics(one, src, first, means, scales));
        if let Some([weights, _]) = numbers {
            scales.iter_mut().zip(weights).for_each(|(scale, weight)| *scale *= weight);
        }
        for (src, dst) in src.chunks_exact(one.lanes).zip(dst.chunks_exact_mut(one.lanes)) {
            let (made, beyond) = dst.split_at_mut(there);
            let elements = made.iter_mut().zip(src).zip(means.iter().zip(&*scales));
            match numbers {
                None => elements.for_each(|((to, x), (mean, scale))| *to = (x - mean) * scale),
                Some([_, biases]) => elements.zip(biases).for_each(|(((to, x), (mean, scale)), bias)| {
                    *to = (x - mean) * scale + bias;
                }),
            }
            beyond.fill(0.0);
        }
    }
}

/// The means of some channels, and what their elements are multiplied with.
fn statistics(one: &Pixels, src: &[f32], first: usize, means: &mut [f32], scales: &mut [f32]) {
    let (group, elements) = (one.group, (one.group * one.pixels) as f64);
    means.fill(0.0);
    let mut sums = [0.0; PIECE];
    add(src, (one.lanes, first), means, group, &mut sums, |x, _| x);
    for (mean, sum) in means.chunks_mut(group).zip(&sums) {
        mean.fill((sum / elements) as f32);
    }
    let mut squares = [0.0; PIECE];
    add(src, (one.lanes, first), means, group, &mut squares, |x, mean| {
        let x = x - mean;
        x * x
    });
    for (scale, squares) in scales.chunks_mut(group).zip(&squares) {
        scale.fill(reciprocal_root(squares / elements + one.epsilon) as f32);
    }
}

/// The sum of what `f` makes of each element.
#[inline]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for run in row.chunks(RUN) {
        let mut sums = [0.0; SUMS];
        let (chunks, rest) = run.as_chunks::<SUMS>();
        for chunk in chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += f(x));
        }
        sums.iter_mut().zip(rest).for_each(|(sum, &x)| *sum += f(x));
        let mut half = SUMS / 2;
        while half > 0 {
            for at in 0..half {
                sums[at] += sums[at + half];
            }
            half /= 2;
        }
        total += f64::from(sums[0]);
    }
    total
}

/// Adds to the sum of each group what `f` makes of each element of its channels and the mean of that, of `lanes` channels side by side those from `first`
/// on, as many as there are means.
#[inline]
fn add(
    src: &[f32],
    (lanes, first): (usize, usize),
    means: &[f32],
    group: usize,
    groups: &mut [f64; PIECE],
    f: impl Fn(f32, f32) -> f32,
) {
    for (at, means) in means.chunks(SIDE_BY_SIDE).enumerate() {
        let at = at * SIDE_BY_SIDE;
        let mut totals = [0.0; SIDE_BY_SIDE];
        for pixels in src.chunks(PIXELS * lanes) {
            let mut sums = [0.0; SIDE_BY_SIDE];
            let pixels = pixels.chunks_exact(lanes).map(|pixel| &pixel[first + at..][..means.len()]);
            if let Some(means) = means.first_chunk::<SIDE_BY_SIDE>() {
                for pixel in pixels {
                    let Some(pixel) = pixel.first_chunk::<SIDE_BY_SIDE>() else { continue };
                    let elements = pixel.iter().zip(means);
                    sums.iter_mut().zip(elements).for_each(|(sum, (&x, &mean))| *sum += f(x, mean));
                }
            } else {
                for pixel in pixels {
                    let elements = pixel.iter().zip(means);
                    sums.iter_mut().zip(elements).for_each(|(sum, (&x, &mean))| *sum += f(x, mean));
                }
            }
            totals.iter_mut().zip(&sums).for_each(|(total, &sum)| *total += f64::from(sum));
        }
        for (lane, total) in totals[..means.len()].iter().enumerate() {
            groups[(at + lane) / group] += total;
        }
    }
}

const TWO_POW_54: f64 = 18_014_398_509_481_984.0;
const TWO_POW_108: f64 = TWO_POW_54 * TWO_POW_54;

/// `1 / sqrt(x)` in sums and products alone, by Newton's method.
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
        root *= 1.5 - 0.5 * x * root * root;
    }
    root * scale
}
