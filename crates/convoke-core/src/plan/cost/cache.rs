//! What stays in which cache, and how fast the rest comes.

use crate::lower::View;
use crate::target::{LINE_BYTES, Target};

/// Bytes a cycle from the second-level cache, the last-level cache, and memory.
pub(in crate::plan) const BANDWIDTH: [f64; 3] = [24.0, 12.0, 5.0];

/// Ways of the first and of the second level where they have eight; of the first fewer, as a tile reads much else beside.
pub(super) const WAYS: [usize; 2] = [6, 8];
/// Planes beyond which no level keeps a line of each.
const MANY_PLANES: usize = 1 << 14;

/// Share of `planes` lines, one of each plane, that do not stay beside each other in a cache of `bytes` that has `ways`.
///
/// Lines whose distance is a multiple of a large power of two fall into few sets, each of which holds as many as there are ways.
pub(super) fn lost(bytes: usize, ways: usize, view: &View, planes: usize, element: usize) -> f64 {
    let planes = planes.min(MANY_PLANES);
    if view.lanes > 1 || planes <= ways {
        return 0.0;
    }
    let step = view.plane as usize * element;
    // Sets are a power of two; what is beyond one are further ways.
    let lines = (bytes / LINE_BYTES).max(8);
    let count = 1 << (lines / 8).ilog2();
    let ways = ways * lines / (8 * count);
    let mut sets = vec![0_usize; count];
    (0..planes).for_each(|plane| sets[plane * step / LINE_BYTES % count] += 1);
    sets.iter().filter(|&&lines| lines > ways).sum::<usize>() as f64 / planes as f64
}

/// Bytes a cycle at which `bytes` that were used before come back; endless from the first level.
pub(in crate::plan) fn bandwidth(t: &Target, bytes: f64) -> f64 {
    let fits = |cache: usize, share: f64| bytes <= cache as f64 * share;
    if fits(t.l1_bytes, 0.5) {
        f64::INFINITY
    } else if fits(t.l2_bytes, 0.9) {
        BANDWIDTH[0]
    } else if fits(t.l3_bytes, 0.7) {
        BANDWIDTH[1]
    } else {
        BANDWIDTH[2]
    }
}
