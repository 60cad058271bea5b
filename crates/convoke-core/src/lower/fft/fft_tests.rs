//! Transforms against sums.

use super::passes::{frequency, passes, root, twiddles, twiddles_len};
use super::spectrum::FftPacking;

#[test]
fn roots_are_those_of_one() {
    for n in [1, 2, 4, 8, 64, 1024] {
        for k in 0..2 * n {
            let angle = std::f64::consts::TAU * k as f64 / n as f64;
            let (re, im) = root(k, n);
            assert!((re - angle.cos()).abs() < 1e-14 && (im - angle.sin()).abs() < 1e-14, "{k} of {n}");
        }
    }
}

#[test]
fn every_frequency_has_a_place() {
    for n in [2, 4, 8, 16, 32, 512, 1024] {
        let mut all: Vec<usize> = (0..n).map(|at| frequency(at, n)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..n).collect::<Vec<_>>());
        assert_eq!(passes(n).iter().map(|p| p.radix).product::<usize>(), n);
        assert_eq!(twiddles(n).len(), twiddles_len(n));
    }
}

/// What is packed is the transform of each phase of the filter, that of negative phases included.
#[test]
fn filters_are_transformed_phase_by_phase() {
    for (lanes, rows, taps) in [(4, 8, 13), (8, 2, 7), (2, 32, 33), (4, 4, 2)] {
        let filter: Vec<f64> = (0..taps).map(|i| (i * 7 % 11) as f64 - 4.0).collect();
        let packing = FftPacking { lanes, rows, bytes: 4, taps: [0, 1] };
        let mut all = vec![f64::NAN; packing.filters(1)];
        packing.plan().transform(&filter, |row, at, value| all[row * packing.bin() + at] = value);
        for row in 0..rows {
            for place in 0..2 * lanes - 1 {
                let d = lanes as i64 - 1 - place as i64;
                let (mut re, mut im) = (0.0, 0.0);
                for (i, tap) in filter.iter().enumerate().filter(|(i, _)| (*i as i64 - d) % lanes as i64 == 0) {
                    let q = (i as i64 - d) / lanes as i64;
                    let (c, s) = root((frequency(row, rows) as i64 * q).rem_euclid(rows as i64) as usize, rows);
                    (re, im) = (re + tap * c / rows as f64, im + tap * s / rows as f64);
                }
                let at = row * packing.bin() + place;
                let (found_re, found_im) = (all[at], all[at + 2 * lanes]);
                assert!((found_re - re).abs() < 1e-13 && (found_im - im).abs() < 1e-13, "{lanes} {rows} {row} {place}");
            }
        }
        assert!(all.iter().all(|x| x.is_finite()));
    }
}
