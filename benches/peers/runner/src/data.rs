//! What Convoke's worker does besides: layers read, data made, results compared, the peak of the core.

use std::path::PathBuf;

use convoke::{LayerSpec, native_target};
use convoke_core::spec::Operation;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::npy::Array;
use crate::peak::Peak;
use crate::protocol::Result;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Reads the text of a layer; answers its fields.
    Describe { text: String },
    /// Writes random numbers from -1 to 1.
    Random { path: PathBuf, shape: Vec<usize>, seed: u64 },
    /// Compares two results whose sums have `terms` terms; answers `difference` and `bound`.
    Compare { left: PathBuf, right: PathBuf, terms: usize },
    /// Measures the multiply-add peak of this core; answers `gflops` and `isa`.
    Peak,
}

pub(crate) fn answer(request: Request) -> Result<Value> {
    match request {
        Request::Describe { text } => describe(&text),
        Request::Random { path, shape, seed } => {
            let mut state = seed;
            let data = (0..shape.iter().product()).map(|_| uniform(&mut state)).collect();
            Array { shape, data }.write(&path)?;
            Ok(json!({}))
        }
        Request::Compare { left, right, terms } => {
            let (difference, bound) = compare(&Array::read(&left)?, &Array::read(&right)?, terms)?;
            Ok(json!({ "difference": difference, "bound": bound }))
        }
        Request::Peak => {
            let target = native_target();
            let peak = Peak::new(&target, Clock::of_this_thread());
            Ok(json!({ "gflops": peak.gflops(convoke::DType::F32), "isa": target.name() }))
        }
    }
}

fn describe(text: &str) -> Result<Value> {
    let spec: LayerSpec = text.parse()?;
    if !spec.then.is_empty() || spec.schedule != Default::default() || spec.dtype != convoke::DType::F32 {
        return Err("take `then`, `schedule` and f64 out of the layer: the peers are compared on plain f32".into());
    }
    let batch = spec.fixed_batch().ok_or("write the batch size as a number")?;
    let axes = &spec.spatial[3 - spec.rank..];
    let transposed = spec.operation == Operation::Transposed;
    if transposed && axes.iter().any(|axis| axis.output_padding() > 0) {
        return Err("write the layer without `output_padding`: the peers are compared without".into());
    }
    let each = |of: fn(&convoke_core::spec::SpatialAxis) -> usize| axes.iter().map(of).collect::<Vec<_>>();
    Ok(json!({
        "name": spec.name,
        "batch": batch,
        "in_channels": spec.in_channels,
        "out_channels": spec.out_channels,
        "size": each(|axis| axis.input),
        "kernel": each(|axis| axis.kernel),
        "stride": each(|axis| axis.stride),
        "dilation": each(|axis| axis.dilation),
        "padding": axes.iter().map(|axis| (axis.pad_lo, axis.pad_hi)).collect::<Vec<_>>(),
        "groups": spec.groups,
        "bias": spec.bias,
        "transposed": transposed,
    }))
}

/// The next number of the sequence `SplitMix64`, as one of 2^24 from -1 to 1.
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// The greatest difference as a part of the root mean square of `right`, and what it may be. Rounding errors of a sum
/// of independent terms grow with the root of their number; the factor leaves room for Winograd's.
fn compare(left: &Array, right: &Array, terms: usize) -> Result<(f64, f64)> {
    if left.shape != right.shape {
        return Err(format!("its result has the shape {:?}, not {:?}", left.shape, right.shape).into());
    }
    let squares: f64 = right.data.iter().map(|&x| f64::from(x).powi(2)).sum();
    let size = (squares / right.data.len().max(1) as f64).sqrt().max(f64::from(f32::MIN_POSITIVE));
    let differences = left.data.iter().zip(&right.data).map(|(&l, &r)| (f64::from(l) - f64::from(r)).abs());
    // `f64::max` would lose a NaN.
    let greatest = differences.fold(0.0, |most, x| if x <= most { most } else { x });
    let finite = if greatest.is_finite() { greatest / size } else { f64::MAX };
    Ok((finite, 256.0 * f64::from(f32::EPSILON / 2.0) * ((terms + 1) as f64).sqrt()))
}
