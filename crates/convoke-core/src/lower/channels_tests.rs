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

/// Parts by inputs have the same channels, and their loops step evenly through the input channels.
fn check_inputs(oc: usize, run: usize, panel: usize, vector: VectorAxis, multiplier: usize) {
    let mut seen = vec![0; oc];
    for whole in cut(oc, run, panel, vector) {
        for part in whole.by_inputs(multiplier) {
            let shared = (multiplier / part.channels).clamp(1, part.inner);
            assert!(part.inner.is_multiple_of(shared), "{part:?}");
            for o in 0..part.outer {
                for i in 0..part.inner {
                    let first = part.start + o * part.outer_step + i * part.channels;
                    seen[first..first + part.channels].iter_mut().for_each(|s| *s += 1);
                    let stepped = part.start / multiplier
                        + o * (part.outer_step / multiplier)
                        + i / shared * (part.channels * shared / multiplier);
                    assert_eq!(first / multiplier, stepped, "oc {oc} run {run} multiplier {multiplier}: {part:?}");
                }
            }
        }
    }
    assert!(seen.iter().all(|&s| s == 1), "oc {oc} run {run} multiplier {multiplier}: {seen:?}");
}

#[test]
fn input_channels_are_at_even_distances() {
    for multiplier in [1_usize, 2, 4, 8, 16] {
        for groups in 1..40 {
            let oc = groups * multiplier;
            let rows = (1..=multiplier).filter(|&rows| multiplier.is_multiple_of(rows));
            rows.for_each(|rows| check_inputs(oc, rows, 16, VectorAxis::Ow, multiplier));
            for lanes in [2, 4, 8, 16] {
                (1..=6).for_each(|vectors| check_inputs(oc, vectors * lanes, 16, VectorAxis::Oc, multiplier));
            }
        }
    }
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
