//! Layers of integers, as plainly as they can be said.

use super::{Position, each_position, element_at, input_position, src_index, weights_index};
use crate::eval::Stored;
use crate::lower::weights::IntegerParameters;
use crate::spec::{Integers, LayerSpec, PerChannel};

/// `dst` of a layer of integers for `batch` images; the least `i32` for every element of another layer.
///
/// # Panics
/// If `src` or a parameter is shorter than the layer says.
pub fn run<S: Stored, W: Stored>(
    spec: &LayerSpec,
    batch: usize,
    src: &[S],
    parameters: &IntegerParameters<'_, W>,
) -> Vec<i32> {
    let Some(integers) = &spec.integers else { return vec![i32::MIN; batch * spec.dst_image()] };
    let at = |index| Position::of(spec, index).map_or(0, |at| output_at(spec, integers, src, parameters, at));
    (0..batch * spec.dst_image()).map(at).collect()
}

fn output_at<S: Stored, W: Stored>(
    spec: &LayerSpec,
    integers: &Integers,
    src: &[S],
    parameters: &IntegerParameters<'_, W>,
    position: Position,
) -> i32 {
    if spec.operation.is_pooling() {
        let mut greatest = i32::MIN;
        each_position(spec, position, |at| {
            greatest = greatest.max(src[src_index(spec, position.n, position.oc, at)].to_number() as i32);
        });
        return greatest;
    }
    let group = position.oc / spec.oc_per_group();
    let weights_zero_point = match integers.weights_zero_point {
        PerChannel::One(point) => point,
        PerChannel::Each => parameters.zero_points[position.oc],
    };
    let mut sum = if spec.bias { parameters.bias[position.oc] } else { 0 };
    let [kd, kh, kw] = spec.spatial.map(|a| a.kernel);
    for tap in (0..kd * kh * kw).map(|t| [t / kw / kh, t / kw % kh, t % kw]) {
        let at = input_position(spec, position.at, tap).and_then(|at| element_at(spec, at));
        let Some(at) = at else { continue };
        for ic in 0..spec.ic_per_group() {
            let channel = group * spec.ic_per_group() + ic;
            let x = src[src_index(spec, position.n, channel, at)].to_number() as i32;
            let w = parameters.weights[weights_index(spec, position.oc, ic, tap)].to_number() as i32;
            sum = sum.wrapping_add((x - integers.src_zero_point) * (w - weights_zero_point));
        }
    }
    let Some(output) = &integers.output else { return sum };
    let weights_scale = match output.weights_scale {
        PerChannel::One(scale) => scale as f32,
        PerChannel::Each => parameters.scales[position.oc],
    };
    let scaled = sum as f32 * (output.src_scale as f32 * weights_scale / output.dst_scale as f32);
    let (least, most) = output.dst.range();
    (f64::from(scaled).round_ties_even() as i64 + i64::from(output.zero_point)).clamp(least.into(), most.into()) as i32
}
