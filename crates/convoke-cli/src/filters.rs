//! Weights of well-known filters by name, fitted to a layer's shape.
//!
//! A filter is one window. Where a layer has several channels, each output channel filters the input channel of the same
//! number; a single output channel filters the mean of its inputs. As in every convolution layer the window is not flipped.

use crate::random::Random;
use convoke_core::eval::reference::weights_index;
use convoke_core::spec::LayerSpec;
use std::f64::consts::PI;

/// A filter that has a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Filter {
    /// Differences from left to right.
    SobelX,
    /// Differences from top to bottom.
    SobelY,
    /// The four neighbours less four times the pixel.
    Laplacian,
    /// The pixel less its Laplacian.
    Sharpen,
    /// A bell whose standard deviation is a quarter of the window, along each axis; the sum is 1.
    Gaussian,
    /// Every tap weighs the same; the sum is 1.
    Mean,
    /// A windowed sinc (Hamming) that lets a band through, in Hz or in parts of the sampling rate.
    BandPass { low: f64, high: f64 },
    /// Numbers from -1 to 1 over the square root of how many are summed.
    Random { seed: u64 },
}

/// Why a name gives no weights.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum FilterError {
    #[error(
        "`{0}` is neither an .npy file nor a filter; filters are sobel-x, sobel-y, laplacian, sharpen, gaussian, mean, bandpass:LOW-HIGH, random and random:SEED"
    )]
    Unknown(String),
    #[error("{filter} has a window of {expected}, and the layer's is {found}")]
    Window { filter: String, expected: &'static str, found: String },
    #[error(
        "a filter by name takes as many output channels as inputs, or one; the layer takes {inputs} a group to {outputs}"
    )]
    Channels { inputs: usize, outputs: usize },
    #[error("a filter by name has real weights, and the layer is one of complex numbers")]
    Complex,
    #[error(
        "the band {low} to {high} has to lie between 0 and {most}{unit}, half of the sampling rate, low before high"
    )]
    Band { low: f64, high: f64, most: f64, unit: &'static str },
}

impl Filter {
    /// The name of what weights are if nothing is said.
    pub(crate) const DEFAULT: &'static str = "random";

    /// The filter that `text` names.
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        let unknown = || FilterError::Unknown(text.to_owned());
        let (name, argument) = text.split_once(':').map_or((text, None), |(n, a)| (n, Some(a)));
        Ok(match (name, argument) {
            ("sobel-x", None) => Self::SobelX,
            ("sobel-y", None) => Self::SobelY,
            ("laplacian", None) => Self::Laplacian,
            ("sharpen", None) => Self::Sharpen,
            ("gaussian", None) => Self::Gaussian,
            ("mean", None) => Self::Mean,
            (Self::DEFAULT, None) => Self::Random { seed: 1 },
            ("random", Some(seed)) => Self::Random { seed: seed.parse().map_err(|_| unknown())? },
            ("bandpass", Some(band)) => {
                let (low, high) = band.split_once('-').ok_or_else(unknown)?;
                Self::BandPass { low: low.parse().map_err(|_| unknown())?, high: high.parse().map_err(|_| unknown())? }
            }
            _ => return Err(unknown()),
        })
    }

    /// The weights for `spec`, in its weights layout; `rate` is the sampling rate in Hz, if it is known.
    pub(crate) fn weights(self, spec: &LayerSpec, rate: Option<u32>) -> Result<Vec<f64>, FilterError> {
        if let Self::Random { seed } = self {
            let mut random = Random::new(seed);
            let scale = 1.0 / ((spec.ic_per_group() * spec.taps()) as f64).sqrt();
            return Ok((0..spec.weights_len()).map(|_| random.unit() * scale).collect());
        }
        if spec.complex {
            return Err(FilterError::Complex);
        }
        let window = self.window(spec, rate)?;
        let (inputs, outputs) = (spec.ic_per_group(), spec.oc_per_group());
        if inputs != outputs && inputs != 1 && outputs != 1 {
            return Err(FilterError::Channels { inputs, outputs });
        }
        let mut weights = vec![0.0; spec.weights_len()];
        let [_, kh, kw] = spec.spatial.map(|a| a.kernel);
        for oc in 0..spec.out_channels {
            for ic in 0..inputs {
                let share =
                    if outputs == 1 { 1.0 / inputs as f64 } else { f64::from(inputs == 1 || oc % outputs == ic) };
                for (tap, weight) in window.iter().enumerate() {
                    let at = [tap / kw / kh, tap / kw % kh, tap % kw];
                    weights[weights_index(spec, oc, ic, at)] = weight * share;
                }
            }
        }
        Ok(weights)
    }

    /// The filter's window in the order `kd kh kw`.
    fn window(self, spec: &LayerSpec, rate: Option<u32>) -> Result<Vec<f64>, FilterError> {
        let kernel = spec.spatial.map(|a| a.kernel);
        let three = |values: [i32; 9]| {
            if spec.rank == 2 && kernel == [1, 3, 3] {
                return Ok(values.map(f64::from).to_vec());
            }
            Err(self.refuse_window(spec, "3x3"))
        };
        match self {
            Self::SobelX => three([-1, 0, 1, -2, 0, 2, -1, 0, 1]),
            Self::SobelY => three([-1, -2, -1, 0, 0, 0, 1, 2, 1]),
            Self::Laplacian => three([0, 1, 0, 1, -4, 1, 0, 1, 0]),
            Self::Sharpen => three([0, -1, 0, -1, 5, -1, 0, -1, 0]),
            Self::Mean => Ok(vec![1.0 / spec.taps() as f64; spec.taps()]),
            Self::Gaussian => {
                let [d, h, w] = kernel.map(bell);
                Ok(d.iter()
                    .flat_map(|d| h.iter().map(move |h| d * h))
                    .flat_map(|a| w.iter().map(move |w| a * w))
                    .collect())
            }
            Self::BandPass { low, high } if spec.rank == 1 => {
                let rate = rate.map(f64::from);
                let most = rate.unwrap_or(1.0) / 2.0;
                if !(0.0 <= low && low < high && high <= most) {
                    return Err(FilterError::Band { low, high, most, unit: if rate.is_some() { " Hz" } else { "" } });
                }
                Ok(band_pass(kernel[2], low / (2.0 * most), high / (2.0 * most)))
            }
            Self::BandPass { .. } => Err(self.refuse_window(spec, "one axis, as a conv1d has it")),
            Self::Random { .. } => Ok(Vec::new()),
        }
    }

    fn refuse_window(self, spec: &LayerSpec, expected: &'static str) -> FilterError {
        let filter = match self {
            Self::SobelX => "sobel-x",
            Self::SobelY => "sobel-y",
            Self::Laplacian => "laplacian",
            Self::Sharpen => "sharpen",
            _ => "bandpass",
        };
        let found: Vec<_> = spec.spatial[3 - spec.rank..].iter().map(|a| a.kernel.to_string()).collect();
        FilterError::Window { filter: filter.to_owned(), expected, found: found.join("x") }
    }
}

/// A bell over `size` taps whose sum is 1.
fn bell(size: usize) -> Vec<f64> {
    let sigma = size as f64 / 4.0;
    let middle = (size as f64 - 1.0) / 2.0;
    let row: Vec<f64> = (0..size).map(|i| (-(i as f64 - middle).powi(2) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = row.iter().sum();
    row.iter().map(|x| x / sum).collect()
}

/// `low` and `high` in parts of the sampling rate.
fn band_pass(taps: usize, low: f64, high: f64) -> Vec<f64> {
    let middle = (taps as f64 - 1.0) / 2.0;
    let low_pass = |cut: f64, n: f64| if n == 0.0 { 2.0 * cut } else { (2.0 * PI * cut * n).sin() / (PI * n) };
    (0..taps)
        .map(|i| {
            let n = i as f64 - middle;
            let turn = if taps > 1 { 2.0 * PI * i as f64 / (taps as f64 - 1.0) } else { PI };
            (0.54 - 0.46 * turn.cos()) * (low_pass(high, n) - low_pass(low, n))
        })
        .collect()
}

#[cfg(test)]
#[path = "filters_tests.rs"]
mod tests;
