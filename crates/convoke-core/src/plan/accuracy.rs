//! What error an algorithm has, and whether a layer allows it.
//!
//! The error of a sum of `k` products, one after the other, grows with the root of `k`: each rounding is a random step as long as the sum
//! so far. Winograd's algorithm rounds in its transforms too, which does not depend on the number of input channels, and in sums over
//! input channels alone, which the transform of the output makes larger. All are fitted to errors measured on data of a normal
//! distribution; `docs/accuracy.md` has them, and says how they are measured.

use super::Algorithm;
use crate::spec::{Accuracy, LayerSpec};

/// Relative error of a sum of `k` products, in units of roundoff, over the root of `k`.
const SUM: f64 = 0.29;

/// Squares of errors of `fft`, in units of roundoff: of a halving of its transforms, and of a sum over one channel.
const FFT: [f64; 2] = [0.5, 0.65];

/// Errors of F(m, 3) along one, two and three axes, in units of roundoff: of the transforms, and of a sum over one channel. All are a
/// little larger than what fits best, so that what just is allowed keeps to it.
const fn winograd(m: usize, axes: usize) -> (f64, f64) {
    match (m, axes) {
        (2, 1) => (1.1, 0.39),
        (2, 2) => (1.65, 0.52),
        (2, _) => (2.5, 0.71),
        (4, 1) => (2.2, 0.68),
        (4, 2) => (5.2, 1.6),
        (4, _) => (12.8, 3.9),
        (5, 1) => (3.1, 0.97),
        (5, 2) => (10.0, 3.1),
        (5, _) => (30.0, 9.7),
        (_, 1) => (4.9, 1.4),
        (_, 2) => (21.0, 6.5),
        (_, _) => (115.0, 33.0),
    }
}

/// The same of `fft`.
fn fft(spec: &LayerSpec) -> f64 {
    let (channels, taps) = (spec.ic_per_group() as f64, spec.taps() as f64);
    // Blocks are a few times as long as windows, and those of several rows a row longer for each.
    let [_, h, w] = &spec.spatial;
    let length = taps.max((h.kernel - 1) as f64 * (w.pad_lo + w.input + w.pad_hi) as f64);
    let [transforms, sum] = FFT;
    let error = (transforms * (4.0 * length).log2() + sum * channels).sqrt();
    error / (SUM * (channels * taps).sqrt()).max(SUM)
}

/// How many times the error of a direct sum `algorithm` has for the layer, about: in the Euclidean norm, for inputs and weights of a
/// normal distribution around zero.
pub fn error_times(spec: &LayerSpec, algorithm: Algorithm) -> f64 {
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
        Accuracy::Times(most) => match error_times(spec, algorithm) {
            times if times <= most => Ok(()),
            times => Err(format!(
                "the error of {algorithm} is about {times:.1} times that of a direct sum, and the layer allows {most} (`accuracy`)"
            )),
        },
    }
}

#[cfg(test)]
#[path = "accuracy_tests.rs"]
mod tests;
