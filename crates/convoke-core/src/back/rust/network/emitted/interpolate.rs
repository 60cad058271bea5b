//! Images of other sizes, whose elements lie between those of the input.

/// An image is planes of rows, of each of which some channels are side by side.
pub(crate) struct Interpolation {
    pub(crate) planes: usize,
    pub(crate) lanes: usize,
    /// Channels of the last plane; the others are zeros.
    pub(crate) last: usize,
    /// Depth, height and width of the input and of what is made.
    pub(crate) from: [usize; 3],
    pub(crate) to: [usize; 3],
    /// For each index of those an index of the input, and how much of the one behind it.
    pub(crate) taps: [&'static [(u32, f32)]; 3],
}

/// Columns of a row that lie ready at a time, where elements of a channel are side by side.
const COLUMNS: usize = 512;

/// Columns of the input for one of the output, from which on not all of them are made ready.
const SPARSE: usize = 4;

/// Channels of a column that lie ready at a time, where those are side by side.
const CHANNELS: usize = 64;

/// Makes all images.
pub(crate) fn run(one: &Interpolation, src: &[f32], dst: &mut [f32]) {
    let ([depth, height, width], len) = (one.to, one.from[2] * one.lanes);
    for (row, dst) in dst.chunks_exact_mut(width * one.lanes).enumerate() {
        let plane = row / height / depth;
        let (z, y) = (one.taps[0][row / height % depth], one.taps[1][row % height]);
        let of = |z: u32, y: u32| {
            let at = (plane * one.from[0] + z as usize) * one.from[1] + y as usize;
            &src[at * len..(at + 1) * len]
        };
        let upright = match (z.1 == 0.0, y.1 == 0.0) {
            (true, true) => Upright::One(of(z.0, y.0)),
            (false, true) => Upright::Two([of(z.0, y.0), of(z.0 + 1, y.0)], z.1),
            (true, false) => Upright::Two([of(z.0, y.0), of(z.0, y.0 + 1)], y.1),
            (false, false) => {
                let pair = |y: u32| [of(z.0, y), of(z.0 + 1, y)];
                Upright::Four([pair(y.0), pair(y.0 + 1)], [z.1, y.1])
            }
        };
        match one.lanes {
            1 => columns(one, &upright, dst),
            _ => channels(one, &upright, dst),
        }
        if one.last < one.lanes && plane % one.planes == one.planes - 1 {
            dst.chunks_exact_mut(one.lanes).for_each(|column| column[one.last..].fill(0.0));
        }
    }
}

/// A row of one channel.
fn columns(one: &Interpolation, upright: &Upright<'_>, dst: &mut [f32]) {
    let mut ready = [0.0; COLUMNS];
    let (mut taps, mut dst) = (one.taps[2], dst);
    while let Some(&(start, _)) = taps.first() {
        // Indices never fall, and the one behind the last is taken too.
        let count = taps.partition_point(|tap| (tap.0 - start) as usize + 2 <= COLUMNS);
        let (now, later) = taps.split_at(count);
        let (made, rest) = dst.split_at_mut(count);
        let start = start as usize;
        let end = now.last().map_or(start, |tap| tap.0 as usize + 2).min(one.from[2]);
        if end - start > SPARSE * count {
            for (to, &(at, weight)) in made.iter_mut().zip(now) {
                let taken = 1 + usize::from(weight != 0.0);
                upright.write(at as usize, &mut ready[..taken]);
                *to = mixed(ready[0], ready[1], weight);
            }
        } else {
            upright.write(start, &mut ready[..end - start]);
            for (to, &(at, weight)) in made.iter_mut().zip(now) {
                let at = at as usize - start;
                // Where that is nothing of the row, its weight is 0.
                *to = mixed(ready[at], ready[at + 1], weight);
            }
        }
        (taps, dst) = (later, rest);
    }
}

/// A row of several channels.
fn channels(one: &Interpolation, upright: &Upright<'_>, dst: &mut [f32]) {
    for first in (0..one.lanes).step_by(CHANNELS) {
        let count = CHANNELS.min(one.lanes - first);
        // Of columns side by side one is even, the other odd.
        let mut ready = [[0.0; CHANNELS]; 2];
        let mut held = [usize::MAX; 2];
        for (to, &(at, weight)) in dst.chunks_exact_mut(one.lanes).zip(one.taps[2]) {
            let (at, to) = (at as usize, &mut to[first..first + count]);
            let is_alone = weight == 0.0;
            if let (Upright::One(row), true) = (upright, is_alone) {
                to.copy_from_slice(&row[at * one.lanes + first..][..count]);
                continue;
            }
            for column in at..=at + usize::from(!is_alone) {
                if held[column % 2] != column {
                    upright.write(column * one.lanes + first, &mut ready[column % 2][..count]);
                    held[column % 2] = column;
                }
            }
            let (a, b) = (&ready[at % 2][..count], &ready[(at + 1) % 2][..count]);
            if is_alone {
                to.copy_from_slice(a);
            } else {
                to.iter_mut().zip(a).zip(b).for_each(|((to, &a), &b)| *to = between(a, b, weight));
            }
        }
    }
}

/// What a row of the output is made of, before its columns are: one row, two, or two of each of two planes along the depth.
enum Upright<'a> {
    One(&'a [f32]),
    Two([&'a [f32]; 2], f32),
    /// First those of the first height; the weights of the depth and of the height.
    Four([[&'a [f32]; 2]; 2], [f32; 2]),
}

impl Upright<'_> {
    /// Writes the elements from `at` on.
    fn write(&self, at: usize, to: &mut [f32]) {
        let len = to.len();
        match self {
            Self::One(row) => to.copy_from_slice(&row[at..at + len]),
            Self::Two([a, b], weight) => {
                let rows = a[at..at + len].iter().zip(&b[at..at + len]);
                to.iter_mut().zip(rows).for_each(|(to, (&a, &b))| *to = between(a, b, *weight));
            }
            Self::Four([[a, b], [c, d]], [depth, height]) => {
                let first = a[at..at + len].iter().zip(&b[at..at + len]);
                let second = c[at..at + len].iter().zip(&d[at..at + len]);
                for (to, ((&a, &b), (&c, &d))) in to.iter_mut().zip(first.zip(second)) {
                    *to = between(between(a, b, *depth), between(c, d, *depth), *height);
                }
            }
        }
    }
}

fn between(a: f32, b: f32, weight: f32) -> f32 {
    a * (1.0 - weight) + b * weight
}

/// The same, where the weight may be 0: then the second does not count, even if it is no number.
fn mixed(a: f32, b: f32, weight: f32) -> f32 {
    if weight == 0.0 { a } else { between(a, b, weight) }
}
