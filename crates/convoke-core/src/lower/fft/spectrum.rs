//! Filters, transformed in `f64` and rounded once.

use super::passes::{frequency, root, twiddles, twiddles_len};
use crate::lower::weights::PANEL_BYTES;

/// How weights are packed for blocks of so many rows of so many lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FftPacking {
    /// Elements of a row, the phases of a filter.
    pub lanes: usize,
    /// Rows of a block: the length of a transform.
    pub rows: usize,
    /// Bytes of an element.
    pub bytes: usize,
    /// Distance in the filter of taps that are neighbours along `h` and along `w`.
    pub taps: [usize; 2],
}

impl FftPacking {
    /// Elements of the twiddle factors, filled up to a whole cache line.
    pub fn twiddles(&self) -> usize {
        twiddles_len(self.rows).next_multiple_of(PANEL_BYTES / self.bytes)
    }

    /// Elements of a filter's transform for one frequency.
    pub fn bin(&self) -> usize {
        4 * self.lanes
    }

    /// Elements of the transformed filters of an output channel that sums over `ic` input channels.
    pub fn filters(&self, ic: usize) -> usize {
        self.rows * ic * self.bin()
    }

    /// Calls `put` with each element of the twiddle factors.
    pub(crate) fn pack_twiddles(&self, mut put: impl FnMut(usize, f64)) {
        let all = twiddles(self.rows);
        (0..self.twiddles()).for_each(|i| put(i, all.get(i).copied().unwrap_or(0.0)));
    }

    /// What all filters share.
    pub(crate) fn plan(&self) -> FilterTransform {
        let (lanes, rows) = (self.lanes, self.rows);
        FilterTransform {
            lanes,
            roots: (0..rows).map(|k| root(k, rows)).collect(),
            frequencies: (0..rows).map(|at| frequency(at, rows)).collect(),
            reversed: (0..rows).map(|i| reversed(i, rows)).collect(),
            phases: vec![vec![(0.0, 0.0); rows]; lanes],
        }
    }
}

/// Transforms filters one after the other.
pub(crate) struct FilterTransform {
    lanes: usize,
    /// `exp(2 pi i k / rows)`.
    roots: Vec<(f64, f64)>,
    /// The frequency of each row.
    frequencies: Vec<usize>,
    /// Each index with its bits in reverse.
    reversed: Vec<usize>,
    /// Space for the transform of each phase.
    phases: Vec<Vec<(f64, f64)>>,
}

impl FilterTransform {
    /// Calls `put` with each element of the transform of `taps`, by row and place in [`FftPacking::bin`].
    pub(crate) fn transform(&mut self, taps: &[f64], mut put: impl FnMut(usize, usize, f64)) {
        let (lanes, rows) = (self.lanes, self.roots.len());
        for (d, phase) in self.phases.iter_mut().enumerate() {
            phase.fill((0.0, 0.0));
            let taps = taps.iter().skip(d).step_by(lanes).enumerate();
            taps.for_each(|(q, tap)| phase[self.reversed[q]] = (tap / rows as f64, 0.0));
            transform(phase, &self.roots);
        }
        for (row, &at) in self.frequencies.iter().enumerate() {
            for place in 0..2 * lanes {
                // Phase `lanes - 1 - place`; a negative one starts a row later.
                let (re, im) = match (lanes - 1).checked_sub(place) {
                    Some(d) => self.phases[d][at],
                    None if place == 2 * lanes - 1 => (0.0, 0.0),
                    None => times(self.phases[2 * lanes - 1 - place][at], self.roots[at]),
                };
                put(row, place, re);
                put(row, 2 * lanes + place, im);
            }
        }
    }
}

fn times((a, b): (f64, f64), (c, d): (f64, f64)) -> (f64, f64) {
    (a * c - b * d, a * d + b * c)
}

/// `i` with the bits of an index below `n`, a power of two, in reverse.
fn reversed(i: usize, n: usize) -> usize {
    let bits = n.trailing_zeros();
    if bits == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - bits) }
}

/// `X_f = sum over q of x_q exp(+2 pi i f q / n)`, the sign of a correlation, in place. Element `q` comes at its place with its bits in
/// reverse.
fn transform(values: &mut [(f64, f64)], roots: &[(f64, f64)]) {
    let n = values.len();
    let mut half = 1;
    while half < n {
        for block in values.chunks_exact_mut(2 * half) {
            let (even, odd) = block.split_at_mut(half);
            for (f, (e, o)) in even.iter_mut().zip(odd).enumerate() {
                let turned = times(*o, roots[f * (n / 2 / half)]);
                (*e, *o) = ((e.0 + turned.0, e.1 + turned.1), (e.0 - turned.0, e.1 - turned.1));
            }
        }
        half *= 2;
    }
}
