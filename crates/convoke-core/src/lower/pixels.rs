//! The `ow` axis cut into runs of pixels that one tile computes.
//!
//! Where the window lies inside the row, a tile's taps are the same for every pixel: *interior*. At the row's ends
//! some pixels lack some taps. If the window is short, such a tile is written out tap by tap, each with the pixels that
//! have it (an *edge*); if it is long, the pixels of the ends are computed one by one, each with its own range
//! of taps (*single*).

use crate::spec::SpatialAxis;

/// Longest window along `w` that edges are written out for.
const LONGEST_EDGE_WINDOW: usize = 16;
/// Most edges a row may have before its ends are computed pixel by pixel.
const MOST_EDGES: usize = 4;

/// One or more tiles of equal shape along `ow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PixelRun {
    /// First pixel.
    pub start: usize,
    /// Pixels of one tile.
    pub pixels: usize,
    /// How many tiles, one after the other.
    pub count: usize,
    /// Which taps along `kw` its pixels have.
    pub taps: Taps,
}

/// The taps along `kw` that the pixels of a tile have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Taps {
    /// All of them.
    All,
    /// Tap `kw` only for the pixels in the `kw`-th range.
    Edge(Vec<std::ops::Range<usize>>),
    /// A range that depends on the pixel; the tile has one.
    Single,
}

/// Cuts pixels `from..to` of the row into runs of at most `tile` pixels. `edges` allows [`Taps::Edge`].
pub(crate) fn cut(axis: &SpatialAxis, from: usize, to: usize, tile: usize, edges: bool) -> Vec<PixelRun> {
    let interior = interior(axis);
    if edges && axis.kernel <= LONGEST_EDGE_WINDOW {
        let runs = cut_with_edges(axis, from, to, tile, &interior);
        if runs.iter().filter(|r| r.taps != Taps::All).count() <= MOST_EDGES {
            return runs;
        }
    }
    let lo = interior.start.clamp(from, to);
    let hi = interior.end.clamp(lo, to);
    let mut runs = Vec::new();
    if lo > from {
        runs.push(PixelRun { start: from, pixels: 1, count: lo - from, taps: Taps::Single });
    }
    push_interior(&mut runs, lo, hi, tile);
    if hi < to {
        runs.push(PixelRun { start: hi, pixels: 1, count: to - hi, taps: Taps::Single });
    }
    runs
}

/// The pixels that have every tap; empty ranges start where the right end begins.
pub(crate) fn interior(axis: &SpatialAxis) -> std::ops::Range<usize> {
    let first = axis.pad_lo.div_ceil(axis.stride).min(axis.output);
    // The last pixel with every tap is the greatest with ow * stride + extent <= pad_lo + input.
    let room = (axis.pad_lo + axis.input).checked_sub(axis.extent());
    let end = room.map_or(0, |r| r / axis.stride + 1).min(axis.output);
    first..end.max(first)
}

fn push_interior(runs: &mut Vec<PixelRun>, from: usize, to: usize, tile: usize) {
    let count = (to - from) / tile;
    if count > 0 {
        runs.push(PixelRun { start: from, pixels: tile, count, taps: Taps::All });
    }
    let start = from + count * tile;
    if start < to {
        runs.push(PixelRun { start, pixels: to - start, count: 1, taps: Taps::All });
    }
}

fn cut_with_edges(
    axis: &SpatialAxis,
    from: usize,
    to: usize,
    tile: usize,
    interior: &std::ops::Range<usize>,
) -> Vec<PixelRun> {
    let mut runs: Vec<PixelRun> = Vec::new();
    let mut start = from;
    while start < to {
        let pixels = tile.min(to - start);
        if interior.contains(&start) && start + pixels <= interior.end {
            let count = ((interior.end.min(to) - start) / tile).max(1);
            runs.push(PixelRun { start, pixels, count, taps: Taps::All });
            start += pixels * count;
        } else {
            let taps = (0..axis.kernel).map(|kw| pixels_with_tap(axis, kw, start, pixels)).collect();
            runs.push(PixelRun { start, pixels, count: 1, taps: Taps::Edge(taps) });
            start += pixels;
            if runs.len() > 4 * MOST_EDGES {
                break;
            }
        }
    }
    runs
}

/// Which of the tile's pixels have tap `kw`, counted from the tile's first.
fn pixels_with_tap(axis: &SpatialAxis, kw: usize, start: usize, pixels: usize) -> std::ops::Range<usize> {
    let tap = kw * axis.dilation;
    let first = axis.pad_lo.saturating_sub(tap).div_ceil(axis.stride);
    let end = (axis.pad_lo + axis.input).checked_sub(tap + 1).map_or(0, |r| r / axis.stride + 1);
    let lo = first.clamp(start, start + pixels) - start;
    let hi = end.clamp(start, start + pixels) - start;
    lo..hi.max(lo)
}

#[cfg(test)]
#[path = "pixels_tests.rs"]
mod tests;
