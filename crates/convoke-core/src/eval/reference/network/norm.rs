//! Norms, element by element and from the formula alone.

use std::collections::HashMap;

use crate::spec::{Groups, Norm, TensorShape};

/// What a norm makes, of weights and a bias if it has such.
pub(super) fn run(norm: &Norm, shape: &TensorShape, batch: usize, src: &[f64], given: &[&[f64]]) -> Vec<f64> {
    let mut out = vec![0.0; batch * shape.image()];
    // Where the elements of each group are, and the numbers of their weights.
    let mut groups: HashMap<usize, Vec<(usize, usize)>> = HashMap::new();
    for n in 0..batch {
        for channel in 0..shape.channels {
            for pixel in 0..shape.pixels() {
                let at = n * shape.image() + shape.index(channel, pixel);
                let (group, weight) = match norm.groups {
                    Groups::Elements { axis } => {
                        let written = shape.layout.declared_shape(0, shape.channels, &shape.sizes);
                        let len: usize = written[axis..].iter().product();
                        (at / len, at % len)
                    }
                    Groups::Channels(groups) => (n * groups + channel / (shape.channels / groups), channel),
                    Groups::Instance => (n * shape.channels + channel, channel),
                };
                groups.entry(group).or_default().push((at, weight));
            }
        }
    }
    for all in groups.values() {
        let count = all.len() as f64;
        let mean = all.iter().map(|&(at, _)| src[at]).sum::<f64>() / count;
        let variance = all.iter().map(|&(at, _)| (src[at] - mean).powi(2)).sum::<f64>() / count;
        for &(at, weight) in all {
            let x = (src[at] - mean) / (variance + norm.epsilon).sqrt();
            out[at] = match *given {
                [weights, biases] => x * weights[weight] + biases[weight],
                _ => x,
            };
        }
    }
    out
}
