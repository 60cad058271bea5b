//! The cut of a row, checked pixel by pixel against the definition of the window.

use super::*;

fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, pad_lo: usize, pad_hi: usize) -> SpatialAxis {
    let extent = dilation * (kernel - 1) + 1;
    let output = (pad_lo + input + pad_hi - extent) / stride + 1;
    SpatialAxis { input, output, kernel, stride, dilation, pad_lo, pad_hi }
}

/// Whether pixel `ow` has tap `kw`.
fn has_tap(a: &SpatialAxis, ow: usize, kw: usize) -> bool {
    let at = ow * a.stride + kw * a.dilation;
    at >= a.pad_lo && at < a.pad_lo + a.input
}

fn check(a: SpatialAxis, tile: usize, edges: bool) {
    let runs = cut(&a, 0, a.output, tile, edges);
    let mut next = 0;
    for run in &runs {
        assert_eq!(run.start, next, "{a:?}: runs follow each other");
        assert!(run.pixels >= 1 && run.pixels <= tile && run.count >= 1, "{a:?}: {run:?}");
        for t in 0..run.count {
            for p in 0..run.pixels {
                let ow = run.start + t * run.pixels + p;
                for kw in 0..a.kernel {
                    let claimed = match &run.taps {
                        Taps::All => true,
                        Taps::Edge(rows) => rows[kw].contains(&p),
                        Taps::Single => continue,
                    };
                    assert_eq!(claimed, has_tap(&a, ow, kw), "{a:?}: pixel {ow}, tap {kw}, {run:?}");
                }
            }
        }
        assert!(run.taps != Taps::Single || run.pixels == 1);
        next = run.start + run.pixels * run.count;
    }
    assert_eq!(next, a.output, "{a:?}: every pixel is computed");
}

#[test]
fn every_pixel_has_its_taps() {
    for input in [1, 2, 5, 14, 29] {
        for kernel in [1, 2, 3, 7, 20] {
            for (stride, dilation) in [(1, 1), (2, 1), (1, 3), (3, 2)] {
                for (lo, hi) in [(0, 0), (1, 1), (3, 3), (0, 9), (25, 0), (40, 41)] {
                    if lo + input + hi < dilation * (kernel - 1) + 1 {
                        continue;
                    }
                    for tile in [1, 4, 6, 14] {
                        for edges in [false, true] {
                            check(axis(input, kernel, stride, dilation, lo, hi), tile, edges);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn same_padding_of_a_short_row_is_one_edge() {
    let runs = cut(&axis(14, 3, 1, 1, 1, 1), 0, 14, 14, true);
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].taps, Taps::Edge(vec![1..14, 0..14, 0..13]));
}

#[test]
fn long_windows_end_in_single_pixels() {
    let a = axis(4000, 1023, 1, 1, 511, 511);
    let runs = cut(&a, 0, a.output, 24, true);
    let singles: usize = runs.iter().filter(|r| r.taps == Taps::Single).map(|r| r.count).sum();
    assert_eq!(singles, 1022);
    assert!(runs.len() <= 4, "a few loops, not a thousand tiles: {runs:?}");
}
