//! Deformable layers: products of weights and what lies between the elements of the input.

use super::{Position, Tensors, index, src_index, weights_index};
use crate::eval::Element;
use crate::spec::LayerSpec;

/// Calls `f` with what each tap sees, the magnitude that its error is measured by, and the weight, in the order of the sum.
///
/// A tap's position is that of a convolution's and its offset, rounded to `T`. It sees the four elements around it, each weighed by how near it
/// is along both axes, where those that are not there are 0, times the tap's factor. Weights are off by a few roundings of 1, so that the
/// magnitude is that of the elements.
pub(super) fn each_product<T: Element>(
    spec: &LayerSpec,
    tensors: &Tensors<'_, T>,
    position: Position,
    mut f: impl FnMut(f64, f64, T),
) {
    let [_, h, w] = spec.spatial;
    let group = position.oc / spec.oc_per_group();
    let set_channels = spec.in_channels / spec.offset_groups;
    let sizes = spec.spatial.map(|a| a.output);
    for tap in (0..h.kernel * w.kernel).map(|t| [0, t / w.kernel, t % w.kernel]) {
        for ic in 0..spec.ic_per_group() {
            let channel = group * spec.ic_per_group() + ic;
            let moved = (channel / set_channels * h.kernel + tap[1]) * w.kernel + tap[2];
            let given = |tensor: &[T], channels: usize, channel: usize| {
                tensor[index(spec, channels, sizes, Position { oc: channel, ..position })].to_f64()
            };
            let at = [1, 2].map(|i| {
                let axis = &spec.spatial[i];
                let plain = (position.at[i] * axis.stride + tap[i] * axis.dilation) as f64 - axis.pad_lo as f64;
                let offset = given(tensors.offset, spec.offset_channels(), 2 * moved + i - 1);
                T::from_f64(plain + offset).to_f64()
            });
            let element = |[y, x]: [usize; 2]| tensors.src[src_index(spec, position.n, channel, [0, y, x])].to_f64();
            let (sample, magnitude) = between(at, [h.input, w.input], element);
            let factor = if spec.mask { given(tensors.mask, spec.mask_channels(), moved) } else { 1.0 };
            let weight = tensors.weights[weights_index(spec, position.oc, ic, tap)];
            f(sample * factor, magnitude * factor.abs(), weight);
        }
    }
}

/// What is at `position` in an image of `sizes`, bilinearly, and the sum of the magnitudes of the elements around it.
fn between(position: [f64; 2], sizes: [usize; 2], element: impl Fn([usize; 2]) -> f64) -> (f64, f64) {
    if position.iter().any(|p| p.is_nan()) {
        return (f64::NAN, f64::NAN);
    }
    let (mut sample, mut magnitude) = (0.0, 0.0);
    for corner in [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] {
        let at = [0, 1].map(|i| position[i].floor() + corner[i]);
        if [0, 1].into_iter().all(|i| at[i] >= 0.0 && at[i] < sizes[i] as f64) {
            let x = element(at.map(|at| at as usize));
            sample += (1.0 - (position[0] - at[0]).abs()) * (1.0 - (position[1] - at[1]).abs()) * x;
            magnitude += x.abs();
        }
    }
    (sample, magnitude)
}
