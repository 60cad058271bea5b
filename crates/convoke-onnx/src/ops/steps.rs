//! Operators of each element alone, and `Softmax`.

use super::{Build, Call};
use crate::error::Reason;
use crate::ir::{Numbers, Step};
use crate::shapes::axis;
use crate::view::View;

/// The steps that an operator is; `None` if it is none of those.
pub(super) fn steps(call: &Call<'_, '_>, op: &str) -> Result<Option<Vec<Step>>, Reason> {
    let node = call.params.node;
    let affine = |scale: f64, shift: f64| Step::Affine(Numbers::One(scale), Numbers::One(shift));
    Ok(Some(match op {
        "Relu" => vec![Step::Plain("relu")],
        "Sigmoid" => vec![Step::Plain("sigmoid")],
        "Tanh" => vec![Step::Plain("tanh")],
        "Selu" => {
            let (alpha, gamma) = (node.float("alpha", 1.673_263_2), node.float("gamma", 1.050_701));
            if (alpha - 1.673_263_242).abs() > 1e-5 || (gamma - 1.050_700_987).abs() > 1e-5 {
                vec![Step::Elu(alpha), affine(gamma, 0.0)]
            } else {
                vec![Step::Plain("selu")]
            }
        }
        "Softplus" => vec![Step::Plain("softplus")],
        "Softsign" => vec![Step::Plain("softsign")],
        "Mish" => vec![Step::Plain("mish")],
        "Abs" => vec![Step::Plain("abs")],
        "Neg" => vec![affine(-1.0, 0.0)],
        "Erf" => vec![Step::Erf],
        "Sqrt" => vec![Step::Pow(0.5)],
        "Reciprocal" => vec![call.reciprocal()],
        "Log" => vec![Step::Plain("log")],
        "HardSwish" => vec![Step::Plain("hardswish")],
        "HardSigmoid" => {
            let (alpha, beta) = (node.float("alpha", 0.2), node.float("beta", 0.5));
            vec![affine(alpha, beta), Step::Clamp(0.0, 1.0)]
        }
        "LeakyRelu" => vec![Step::LeakyRelu(node.float("alpha", 0.01))],
        "Elu" => vec![Step::Elu(node.float("alpha", 1.0))],
        "Celu" => {
            let alpha = node.float("alpha", 1.0);
            if alpha <= 0.0 {
                return Err(Reason::Attribute { name: "alpha", value: alpha.to_string(), known: "above 0" });
            }
            vec![Step::Celu(alpha)]
        }
        "Gelu" => match node.word("approximate", "none") {
            "none" => vec![Step::Plain("gelu")],
            "tanh" => vec![Step::Plain("gelu_tanh")],
            other => {
                let (name, value) = ("approximate", other.to_owned());
                return Err(Reason::Attribute { name, value, known: "none and tanh" });
            }
        },
        "Clip" => {
            let bound = |name, input, what, default: f64| -> Result<f64, Reason> {
                if node.has(name) {
                    return Ok(node.float(name, 0.0));
                }
                Ok(call.params.number(input, what)?.unwrap_or(default))
            };
            let lower = bound("min", 1, "the lower bound", f64::NEG_INFINITY)?;
            vec![clamp(lower, bound("max", 2, "the upper bound", f64::INFINITY)?)?]
        }
        _ => return Ok(None),
    }))
}

/// Bounds; those that are not there are the largest numbers, which ONNX has as its defaults.
pub(super) fn clamp(lower: f64, upper: f64) -> Result<Step, Reason> {
    let largest = f64::from(f32::MAX);
    let (lower, upper) = (lower.max(-largest), upper.min(largest));
    if lower.is_nan() || upper.is_nan() || lower > upper {
        return Err(Reason::Differ { what: "bounds", first: lower.to_string(), second: upper.to_string() });
    }
    Ok(if lower == 0.0 && upper == largest { Step::Plain("relu") } else { Step::Clamp(lower, upper) })
}

/// `Softmax`: over one axis, or before version 13 over all from one on.
pub(super) fn softmax(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let view = call.view(0)?;
    let dims = view.dims();
    let node = call.params.node;
    let is_old = node.opset < 13;
    let at = axis(node.int("axis", if is_old { 1 } else { -1 }), dims.len())?;
    if !is_old || dims[at + 1..].iter().all(|&size| size == 1) {
        let view = super::binary::with_channels(build, view, at)?;
        return build.steps(&view, vec![Step::Softmax], &call.hints);
    }
    if dims[at..].iter().filter(|&&size| size > 1).count() == 1 {
        let only = (at..dims.len()).find(|&axis| dims[axis] > 1).unwrap_or(at);
        let view = super::binary::with_channels(build, view, only)?;
        return build.steps(&view, vec![Step::Softmax], &call.hints);
    }
    // All axes from that one on as one.
    let mut merged = dims[..at].to_vec();
    merged.push(dims[at..].iter().product());
    let one = super::moves::reshaped(build, view, &merged)?;
    let one = super::binary::with_channels(build, &one, at)?;
    let out = build.steps(&one, vec![Step::Softmax], &call.hints)?;
    super::moves::reshaped(build, &out, &dims)
}
