//! What error an algorithm has, and whether a layer allows it.
//!
//! The error of a sum of `k` products, one after the other, grows with the root of `k`: each rounding is a random step as long as the sum
//! so far. Winograd's algorithm rounds in its transforms too, which does not depend on the number of input channels, and in sums over
//! input channels alone, which the transform of the output makes larger. Both are fitted to errors measured on data of a normal
//! distribution; `docs/accuracy.md` has them.

use super::Algorithm;
use crate::spec::{Accuracy, LayerSpec};

/// Relative error of a sum of `k` products, in units of roundoff, over the root of `k`.
const SUM: f64 = 0.29;

/// Squares of errors of `fft`, in units of roundoff: of a halving of its transforms, and of a sum over one channel.
const FFT: [f64; 2] = [0.5, 0.65];

/// Errors of F(m, 3) along one, two and three axes, in units of roundoff: of the transforms, and of a sum over one channel.
const fn winograd(m: usize, axes: usize) -> (f64, f64) {
    match (m, axes) {
        (2, 1) => (1.0, 0.4),
        (2, 2) => (1.5, 0.5),
        (2, _) => (2.0, 0.6),
        (4, 1) => (2.0, 0.7),
        (4, 2) => (4.0, 1.4),
        (4, _) => (8.0, 3.0),
        (_, 1) => (4.0, 2.0),
        (_, 2) => (20.0, 6.0),
        (_, _) => (80.0, 24.0),
    }
}

/// The same of `fft`.
fn fft(spec: &LayerSpec) -> f64 {
    let (channels, taps) = (spec.ic_per_group() as f64, spec.taps() as f64);
    // Blocks are a few times as long as windows.
    let [transforms, sum] = FFT;
    let error = (transforms * (4.0 * taps).log2() + sum * channels).sqrt();
    error / (SUM * (channels * taps).sqrt()).max(SUM)
}

/// How many times the error of a direct sum `algorithm` has for the layer, about.
pub(crate) fn times(spec: &LayerSpec, algorithm: Algorithm) -> f64 {
    if algorithm == Algorithm::Fft {
        return fft(spec);
    }
    let Some(m) = algorithm.winograd() else { return 1.0 };
    let axes = spec.spatial.iter().filter(|a| a.kernel > 1).count();
    let (transforms, sum) = winograd(m, axes);
    let channels = spec.ic_per_group() as f64;
    let direct = SUM * (channels * spec.taps() as f64).sqrt();
    (transforms * transforms + sum * sum * channels).sqrt() / direct.max(SUM)
}

/// Whether the layer allows the error of `algorithm`; if not, why.
pub(crate) fn allows(spec: &LayerSpec, algorithm: Algorithm) -> Result<(), String> {
    if algorithm.is_exact() {
        return Ok(());
    }
    match spec.accuracy {
        Accuracy::Fast => Ok(()),
        Accuracy::Exact => {
            Err(format!("{algorithm} rounds otherwise than a direct sum, and the layer says `accuracy: exact`"))
        }
        Accuracy::Times(most) => match times(spec, algorithm) {
            times if times <= most => Ok(()),
            times => Err(format!(
                "the error of {algorithm} is about {times:.1} times that of a direct sum, and the layer allows {most} (`accuracy`)"
            )),
        },
    }
}
