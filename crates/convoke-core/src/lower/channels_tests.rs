//! The cut of the channels, checked channel by channel.

use super::*;

#[test]
fn every_channel_once_and_within_its_panels() {
    for panel in [8, 16] {
        for oc in 1..70 {
            for run in [1, 2, 4, 8, 16, 32, 48].into_iter().filter(|r| r % panel == 0 || panel % r == 0) {
                let mut seen = vec![0; oc];
                for part in cut(oc, run, panel) {
                    for o in 0..part.outer {
                        for i in 0..part.inner {
                            let first = part.start + o * part.outer_step + i * part.channels;
                            let last = first + part.channels - 1;
                            seen[first..=last].iter_mut().for_each(|s| *s += 1);
                            let aligned = first % panel == 0;
                            assert!(aligned || first / panel == last / panel, "oc {oc} run {run}: {first}..={last}");
                        }
                    }
                }
                assert!(seen.iter().all(|&s| s == 1), "oc {oc} run {run} panel {panel}: {seen:?}");
            }
        }
    }
}
