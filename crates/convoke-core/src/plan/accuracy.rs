//! What error an algorithm has, and whether a layer allows it.
//!
//! The error of a sum of `k` products, one after the other, grows with the root of `k`: each rounding is a random step as long as the sum
//! so far. Winograd's algorithm rounds in its transforms too, which does not depend on the number of input channels, and in sums over
//! input channels alone, which are larger than the output that they make. How much larger follows from the matrices. The other constants
//! are fitted to errors measured on data of a normal distribution; `docs/accuracy.md` has them, and says how they are measured.

use super::Algorithm;
use crate::lower::{winograd_parts, winograd_taps, winograd_transforms};
use crate::spec::{Accuracy, LayerSpec, SpatialAxis};

/// Relative error of a sum of `k` products, in units of roundoff, over the root of `k`.
const SUM: f64 = 0.29;

/// Squares of errors of `fft`, in units of roundoff: of a halving of its transforms, and of a sum over one channel.
const FFT: [f64; 2] = [0.5, 0.65];

/// What the root of the sum of products is too small by, along each axis.
const MARGIN: f64 = 1.04;

/// How much larger than the output the sums of Winograd's algorithm are along an axis, which makes their roundings as much larger: in
/// the root mean square, for elements and weights of a normal distribution.
///
/// An output is the sum of products times elements of `A^T`, and a product is of a row of `G` times the window and a row of `B^T` times
/// the input; with independent numbers, squares add up. Where a stride makes parts, theirs do too, and taps that there are not count not.
fn growth(m: usize, taps: usize, axis: &SpatialAxis) -> f64 {
    let transforms = winograd_transforms(m, taps);
    let squares = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>();
    let parts = winograd_parts(axis.kernel, axis.stride)[0];
    let products = transforms.kernel.iter().zip(&transforms.input_matrix).enumerate();
    let sums = products.map(|(i, (window, input))| {
        let of_parts: f64 = (0..parts).map(|q| squares(&window[..(axis.kernel - q).div_ceil(parts)])).sum();
        transforms.output_matrix.iter().map(|row| row[i] * row[i]).sum::<f64>() * squares(input) * of_parts
    });
    MARGIN * (sums.sum::<f64>() / (m * axis.kernel) as f64).sqrt()
}

/// Of Winograd's algorithm with tiles of `m` outputs.
fn winograd(spec: &LayerSpec, m: usize) -> f64 {
    let transformed = spec.spatial.iter().filter(|a| a.kernel > 1);
    let (growth, parts) = transformed.fold((1.0, 1), |(all, parts), axis| {
        let [of_axis, _] = winograd_parts(axis.kernel, axis.stride);
        (all * growth(m, winograd_taps(spec), axis), parts * of_axis)
    });
    // The transforms round about as much as one step of a sum of size 1.
    growth * (1.0 + SUM * SUM * (spec.ic_per_group() * parts) as f64).sqrt()
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
///
/// # Panics
/// May, of Winograd's algorithm, if it does not take the layer's window or stride; a plan of it is one that does.
pub fn error_times(spec: &LayerSpec, algorithm: Algorithm) -> f64 {
    if algorithm == Algorithm::Fft {
        return fft(spec);
    }
    let Some(m) = algorithm.winograd() else { return 1.0 };
    let direct = SUM * ((spec.ic_per_group() * spec.taps()) as f64).sqrt();
    winograd(spec, m) / direct.max(SUM)
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
