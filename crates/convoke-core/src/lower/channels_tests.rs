//! The cut of the channels, checked channel by channel.

use super::*;

fn check(oc: usize, run: usize, panel: usize, vector: VectorAxis) {
    let mut seen = vec![0; oc];
    for part in cut(oc, run, panel, vector) {
        for o in 0..part.outer {
            for i in 0..part.inner {
                let first = part.start + o * part.outer_step + i * part.channels;
                let last = first + part.channels - 1;
                seen[first..=last].iter_mut().for_each(|s| *s += 1);
                let within = first / panel == last / panel;
                assert!(within || first % panel == part.phase, "oc {oc} run {run}: {first}..={last} in {part:?}");
            }
        }
    }
    assert!(seen.iter().all(|&s| s == 1), "oc {oc} run {run} panel {panel}: {seen:?}");
}

#[test]
fn every_channel_once_and_where_the_tile_expects_it() {
    for panel in [8, 16] {
        for oc in 1..110 {
            (1..=panel).for_each(|rows| check(oc, rows, panel, VectorAxis::Ow));
            for lanes in [2, 4, 8, 16].into_iter().filter(|&lanes| lanes <= panel) {
                (1..=6).for_each(|vectors| check(oc, vectors * lanes, panel, VectorAxis::Oc));
            }
        }
    }
}
