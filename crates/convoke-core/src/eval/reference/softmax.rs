//! The step over all channels of a pixel.

use super::{Position, dst_index};
use crate::eval::Element;
use crate::spec::LayerSpec;

/// Replaces what the steps before a layer's softmax make of each output, `batch * spec.dst_image()` of them, by the softmax over the channels of
/// its pixel. Nothing, if the layer has none.
pub fn softmax(spec: &LayerSpec, batch: usize, values: &mut [f64]) {
    each_pixel(spec, batch, |places| {
        let exact = quotients(places.iter().map(|&at| values[at]));
        for (&at, quotient) in places.iter().zip(exact) {
            values[at] = quotient;
        }
    });
}

/// The same of `values` that are off by at most `bounds`; what comes out in `T` is off by at most what `bounds` are then.
///
/// A power is off by the factor `exp` of what its argument is off by, and so is the sum of them; that is positive, so that adding up `c` of
/// them rounds to `(c - 1) u` at most. An argument is the distance from the greatest, rounded.
pub(super) fn softmax_bounds<T: Element>(spec: &LayerSpec, batch: usize, values: &mut [f64], bounds: &mut [f64]) {
    let u = T::UNIT_ROUNDOFF;
    let least = if u > 1e-10 { (-87.0_f64).exp() } else { (-708.0_f64).exp() };
    each_pixel(spec, batch, |places| {
        let exact = quotients(places.iter().map(|&at| values[at]));
        let most = |all: &[f64]| places.iter().map(|&at| all[at]).fold(f64::NEG_INFINITY, f64::max);
        let (greatest, off) = (most(values), most(bounds));
        let argument = |at: usize| u * (greatest - values[at] + 2.0 * off);
        let of_sum: f64 = places.iter().zip(&exact).map(|(&at, share)| share * argument(at)).sum();
        let rounded = (places.len() as f64 + 40.0) * u;
        let factors: Vec<f64> =
            places.iter().map(|&at| (2.0 * off + argument(at) + of_sum + rounded).exp_m1()).collect();
        for ((&at, quotient), factor) in places.iter().zip(exact).zip(factors) {
            values[at] = quotient;
            // Below the normal numbers a power is 0.
            bounds[at] = quotient * factor + 2.0 * least;
        }
    });
}

/// Calls `f` with where in `dst` the channels of each pixel are, if the layer has a softmax.
fn each_pixel(spec: &LayerSpec, batch: usize, mut f: impl FnMut(&[usize])) {
    if !spec.has_softmax() {
        return;
    }
    let [depth, height, width] = spec.spatial.map(|a| a.output);
    for pixel in 0..batch * depth * height * width {
        let (rest, w) = (pixel / width, pixel % width);
        let (rest, h) = (rest / height, rest % height);
        let (n, at) = (rest / depth, [rest % depth, h, w]);
        let places: Vec<_> = (0..spec.out_channels).map(|oc| dst_index(spec, Position { n, oc, at })).collect();
        f(&places);
    }
}

fn quotients(values: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let greatest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = values.map(|x| (x - greatest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
