//! The numbers of a layer's steps that follow from its parameters.

use std::borrow::Cow;

use super::Float;
use crate::spec::{BatchNorm, Node};

/// What the kernel of a layer takes, of its [parameters](Node::parameters) in their order: in place of those of a [`BatchNorm`] what it multiplies with and what it
/// adds, `weight / sqrt(running_var + epsilon)` and `bias - running_mean` times that, computed in `f64`.
pub fn bound<'p, T: Float>(node: &Node, given: Vec<Cow<'p, [T]>>) -> Vec<Cow<'p, [T]>> {
    let Some(spec) = node.kind.spec().filter(|_| !node.norms.is_empty()) else { return given };
    let mut given = given.into_iter();
    let before = usize::from(spec.weights_len() > 0) + usize::from(spec.bias);
    let mut all: Vec<_> = given.by_ref().take(before).collect();
    let mut left = 0;
    for (at, _) in spec.then.iter().enumerate().filter(|(_, step)| step.is_per_channel()) {
        if let Some(norm) = node.norms.iter().find(|norm| norm.step == at) {
            let count = if norm.affine { 4 } else { 2 };
            let parameters: Vec<_> = given.by_ref().take(count).collect();
            all.extend(factors(norm, &parameters).map(Cow::Owned));
            left = 1;
        } else if left > 0 {
            // What is added is there already.
            left = 0;
        } else {
            all.extend(given.next());
        }
    }
    all
}

/// What is multiplied with, and what is added.
fn factors<T: Float>(norm: &BatchNorm, parameters: &[Cow<'_, [T]>]) -> [Vec<T>; 2] {
    let (affine, [means, variances]) = match parameters {
        [weights, biases, means, variances] => (Some([weights, biases]), [means, variances]),
        [means, variances] => (None, [means, variances]),
        _ => return [Vec::new(), Vec::new()],
    };
    let both = means.iter().zip(variances.iter()).enumerate().map(|(at, (mean, variance))| {
        let [weight, bias] = affine.map_or([1.0, 0.0], |all| all.map(|all| all[at].to_number()));
        let factor = weight / (variance.to_number() + norm.epsilon).sqrt();
        (T::from_number(factor), T::from_number(bias - mean.to_number() * factor))
    });
    let (factors, shifts) = both.unzip();
    [factors, shifts]
}
