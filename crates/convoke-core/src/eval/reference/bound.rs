//! How far a kernel's output may lie from the exact one.
//!
//! A sum of `k + 1` terms made of rounded products, in any order, is off by at most `gamma(k + 1)` times the sum of the
//! terms' magnitudes, `gamma(k) = k u / (1 - k u)` with `u` the unit roundoff (Higham, "Accuracy and Stability of
//! Numerical Algorithms", 2nd ed., section 3.1; fusing only takes roundings away). Transforms are such sums too, one behind the
//! other. An epilogue step stretches that by
//! at most its Lipschitz constant and adds its own error, which is stated as relative to the result, or to the input
//! where the two cancel.

use super::softmax::softmax_bounds;
use super::{Epilogue, LayerSpec, Position, Tensors, epilogue, magnitude, magnitudes, steps_at};
use crate::eval::Element;
use crate::spec::{Algorithm, Operation, SELU_ALPHA, SELU_SCALE, SOFTPLUS_THRESHOLD};

/// Each output, and most that it may differ from that if it is computed in `T`. `sums` are the exact sums, before the epilogue, one for each element of
/// `dst`; for one that fills up a block of channels both numbers are 0.
///
/// # Panics
/// If one of `tensors` is shorter than the layer says.
pub fn outputs_and_bounds<T: Element>(
    spec: &LayerSpec,
    algorithm: Algorithm,
    batch: usize,
    tensors: &Tensors<'_, T>,
    sums: impl Iterator<Item = f64>,
) -> Vec<(f64, f64)> {
    let magnitudes = magnitudes(spec, algorithm, batch, tensors);
    let each = sums.zip(magnitudes).enumerate().map(|(at, (sum, magnitude))| {
        let Some(position) = Position::of(spec, at) else { return (0.0, 0.0) };
        let steps = || steps_at(spec, tensors, position);
        let value = steps().fold(sum, |x, step| epilogue(step, x));
        (value, error_bound::<T>(spec, algorithm, steps(), sum, magnitude))
    });
    let (mut values, mut bounds): (Vec<_>, Vec<_>) = each.unzip();
    softmax_bounds::<T>(spec, batch, &mut values, &mut bounds);
    values.into_iter().zip(bounds).collect()
}

/// Most that an output computed in `T` may differ from `exact`, the output before rounding computed in a type with
/// enough bits. `sum` is its exact sum before the epilogue, which is `steps` (see [`steps_at`]), and `magnitude` what
/// [`magnitudes`] gives for it.
pub fn error_bound<T: Element>(
    spec: &LayerSpec,
    algorithm: Algorithm,
    steps: impl Iterator<Item = Epilogue>,
    sum: f64,
    magnitude: f64,
) -> f64 {
    let u = T::UNIT_ROUNDOFF;
    let terms = magnitude::terms(spec, algorithm);
    let gamma = terms * u / (1.0 - terms * u);
    // What falls below the least normal number loses at most half its last bit at each step.
    let tiny = if u > 1e-10 { f64::from(f32::from_bits(1)) } else { f64::from_bits(1) };
    let mut value = sum;
    let mut error = gamma * magnitude + terms * tiny + underflow(spec, sum, tiny);
    for step in steps {
        let (lipschitz, relative, absolute) = quality(step, (value, error));
        let next = epilogue(step, value);
        // The input itself is off by `error`, so its part of the step's own error is measured at the worse end.
        let size = relative * (next.abs() + lipschitz * error) + absolute * (value.abs() + error);
        error = lipschitz * error + u * size + 8.0 * tiny + saturation::<T>(step, value, error);
        value = next;
    }
    // The exact output is itself rounded when it is compared, and was summed in f64.
    error + u * value.abs() + f64::EPSILON * terms * magnitude
}

/// What a norm loses where powers are subnormal numbers: the root of a sum that is off by `all` is off by at most the root of that, nor by more
/// than its slope says.
fn underflow(spec: &LayerSpec, norm: f64, tiny: f64) -> f64 {
    if spec.operation != Operation::LpPool {
        return 0.0;
    }
    let (p, all) = (spec.p as f64, (spec.taps() * spec.p) as f64 * tiny);
    all.powf(1.0 / p).min(2.0 * all / (p * norm.powf(p - 1.0)))
}

/// Of a step whose input is a value that is off by `error` at most: Lipschitz constant; own error in units of roundoff, relative to the result, and relative to the input.
fn quality(step: Epilogue, (value, error): (f64, f64)) -> (f64, f64, f64) {
    match step {
        Epilogue::Relu | Epilogue::Relu6 | Epilogue::Clamp { .. } => (1.0, 1.0, 0.0),
        Epilogue::LeakyRelu { slope } => (slope.abs().max(1.0), 2.0, 0.0),
        Epilogue::Sigmoid => (0.25, 16.0, 0.0),
        Epilogue::Tanh => (1.0, 16.0, 0.0),
        // The derivative of x * sigmoid(x) stays below 1.1.
        Epilogue::Silu => (1.1, 16.0, 0.0),
        // |x| / 3 + 1/2 at |x| = 3.
        Epilogue::HardSwish => (1.5, 8.0, 1.0),
        // The derivative of gelu stays below 1.13. exp(-a^2) turns an error of a^2 into a relative one of the small tail.
        Epilogue::Gelu | Epilogue::GeluTanh => (1.13, 32.0, 8.0),
        Epilogue::Elu { alpha } => (alpha.abs().max(1.0), 16.0, 0.0),
        Epilogue::Selu => (SELU_SCALE * SELU_ALPHA, 16.0, 0.0),
        Epilogue::Celu { .. } | Epilogue::Softplus | Epilogue::LogSigmoid => (1.0, 16.0, 0.0),
        Epilogue::Softsign => (1.0, 8.0, 0.0),
        Epilogue::HardSigmoid => (1.0 / 6.0, 8.0, 0.0),
        // The derivative of mish stays below 1.09.
        Epilogue::Mish => (1.09, 16.0, 0.0),
        Epilogue::Abs | Epilogue::Neg => (1.0, 1.0, 0.0),
        // The constant is rounded too, and is no more than the result and the input together.
        Epilogue::Add { .. } => (1.0, 2.0, 1.0),
        Epilogue::Mul { factor } => (factor.abs(), 2.0, 0.0),
        Epilogue::Pow { exponent } => {
            let steepest = if exponent < 1.0 { (value.abs() - error).max(0.0) } else { value.abs() + error };
            (exponent.abs() * steepest.powf(exponent - 1.0), 16.0, 0.0)
        }
        Epilogue::Log => (1.0 / (value.abs() - error).max(0.0), 4.0, 0.0),
        Epilogue::ReciprocalNoNan => ((value.abs() - error).max(0.0).powi(-2), 2.0, 0.0),
        Epilogue::Scale | Epilogue::Shift | Epilogue::PRelu => (f64::INFINITY, 0.0, 0.0),
        Epilogue::Residual | Epilogue::Multiply | Epilogue::Softmax => (f64::INFINITY, 0.0, 0.0),
    }
}

/// What is lost where `exp` saturates near the ends of the normal range instead of going on to 0 or infinity, and where `softplus` has its
/// step: `log(1 + exp(-20))`.
fn saturation<T: Element>(step: Epilogue, value: f64, error: f64) -> f64 {
    let least = if T::UNIT_ROUNDOFF > 1e-10 { (-87.0_f64).exp() } else { (-708.0_f64).exp() };
    match step {
        Epilogue::Softplus if (value - SOFTPLUS_THRESHOLD).abs() <= error => 2.1e-9,
        Epilogue::Sigmoid | Epilogue::Softplus | Epilogue::LogSigmoid => 2.0 * least,
        // The quotient by a large alpha may fall below the normal numbers.
        Epilogue::Celu { alpha } => alpha * least * T::UNIT_ROUNDOFF,
        Epilogue::Silu | Epilogue::Gelu | Epilogue::GeluTanh | Epilogue::Mish => 2.0 * least * (value.abs() + error),
        _ => 0.0,
    }
}
