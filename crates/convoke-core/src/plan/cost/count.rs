//! How many taps and rows of the input the windows see.

use crate::spec::SpatialAxis;

/// Share of the input's rows that some window sees.
pub(super) fn rows_read([d, h, _]: &[SpatialAxis; 3]) -> f64 {
    [d, h].into_iter().map(|a| (a.kernel as f64 / a.stride as f64).min(1.0)).product()
}

/// Outputs that [`total_taps`] looks at; of a longer axis it takes samples.
const SAMPLES: usize = 4096;

/// Taps that are not padding, summed over all outputs of the axis.
pub(super) fn total_taps(axis: &SpatialAxis) -> f64 {
    if axis.pad_lo == 0 && axis.pad_hi == 0 {
        return axis.output as f64 * axis.kernel as f64;
    }
    let (pad, input, dilation) = (axis.pad_lo as i64, axis.input as i64, axis.dilation as i64);
    let inside = |o: usize| {
        let first = (o * axis.stride) as i64 - pad;
        let lo = div_ceil((-first).max(0), dilation);
        let hi = div_ceil((input - first).max(0), dilation).min(axis.kernel as i64);
        (hi - lo).max(0) as f64
    };
    let step = axis.output.div_ceil(SAMPLES).max(1);
    let samples = axis.output.div_ceil(step);
    let sum: f64 = (0..samples).map(|i| inside(i * step)).sum();
    sum * axis.output as f64 / samples.max(1) as f64
}

/// `ceil(a / b)`, `b` positive.
fn div_ceil(a: i64, b: i64) -> i64 {
    a.div_euclid(b) + i64::from(a.rem_euclid(b) != 0)
}
