//! Norms by statistics of the training: the layer `batch_norm`, and the step `batch_norm(name)` that it becomes of the layer before it.
//!
//! Either is two steps, `scale` and `shift`, whose numbers follow from the parameters when those are bound ([`bound`](crate::eval::bound)): so it is planned, put
//! into the layer before it and computed as those are.

use std::fmt;

use super::error::Refusal;
use super::layers::{Made, max_pool};
use super::norm::EPSILON;
use super::read::Graph;
use super::{NodeKind, Parameter, TensorShape};
use crate::front::ast::{self, Layer, ValueKind};
use crate::span::Spanned;
use crate::spec::Epilogue;

/// The word of the layer and of the step.
const WORD: &str = "batch_norm";

/// The two steps.
const STEPS: [Epilogue; 2] = [Epilogue::Scale, Epilogue::Shift];

/// Whose numbers two steps of a layer have, `scale` and `shift`: PyTorch's `BatchNorm`, in evaluation.
///
/// Of each channel, `x` becomes `(x - running_mean) / sqrt(running_var + epsilon) * weight + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// What its parameters are called after.
    pub name: String,
    /// Which of the layer's steps is the first of both.
    pub step: usize,
    /// What is added to the variance, from 0 on.
    pub epsilon: f64,
    /// Whether there are weights and a bias.
    pub affine: bool,
}

impl BatchNorm {
    /// Weight and bias if there are such, mean and variance.
    pub(super) fn parameters(&self, channels: usize) -> impl Iterator<Item = Parameter> {
        let names = ["weight", "bias", "running_mean", "running_var"].into_iter().skip(if self.affine { 0 } else { 2 });
        names.map(move |name| Parameter { name: format!("{}.{name}", self.name), len: channels })
    }

    /// The lines of the layer's text, without the input and steps.
    pub(super) fn fields(&self) -> Vec<String> {
        let mut fields = vec![format!("epsilon: {:?},", self.epsilon)];
        fields.extend((!self.affine).then(|| "affine: false,".to_owned()));
        fields
    }
}

/// The step: `batch_norm(name, 1e-5)`.
impl fmt::Display for BatchNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let behind = if self.affine { "" } else { ", false" };
        write!(f, "{WORD}({}, {:?}{behind})", self.name, self.epsilon)
    }
}

impl Graph<'_> {
    /// `batch_norm`.
    pub(super) fn batch_norm(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "epsilon", "affine", "then"])?;
        let (from, span) = self.source(layer)?;
        let (epsilon, affine) = (self.epsilon(layer)?, self.affine(layer)?);
        let mut alone = layer.clone();
        alone.fields.retain(|field| field.name.value == "then");
        let shape = self.shape(from);
        let (mut spec, more) = self.compute(&alone, max_pool(&shape), &shape, span, &["kernel_size"])?;
        spec.then.splice(0..0, STEPS);
        self.norms.iter_mut().for_each(|norm| norm.step += STEPS.len());
        self.norms.insert(0, BatchNorm { name: layer.name.value.clone(), step: 0, epsilon, affine });
        let made = TensorShape::of_dst(&spec);
        Some((NodeKind::BatchNorm(spec), [from].into_iter().chain(more).collect(), made))
    }

    /// Puts the two steps in place of each step `batch_norm(name)`: those that there are.
    pub(super) fn norms_of_steps(&mut self, layer: &mut Layer) -> Option<Vec<BatchNorm>> {
        let Some(then) = layer.fields.iter_mut().find(|field| field.name.value == "then") else {
            return Some(Vec::new());
        };
        let steps = match &then.value.kind {
            ValueKind::List(steps) => steps.as_slice(),
            _ => std::slice::from_ref(&then.value),
        };
        let (mut norms, mut changed) = (Vec::new(), Vec::new());
        for step in steps {
            let arguments = match &step.kind {
                ValueKind::Word(word) if word == WORD => &[][..],
                ValueKind::Call(name, arguments) if name.value == WORD => arguments,
                _ => {
                    changed.push(step.clone());
                    continue;
                }
            };
            let Some((name, epsilon, affine)) = parts(arguments) else {
                return self.refuse(Refusal::BatchNormStep, step.span);
            };
            if !(0.0..f64::INFINITY).contains(&epsilon) {
                return self.refuse(Refusal::Epsilon { epsilon }, step.span);
            }
            self.norm_name(&name)?;
            norms.push(BatchNorm { name: name.value, step: changed.len(), epsilon, affine });
            let word = |step: Epilogue| ValueKind::Word(step.name().to_owned());
            changed.extend(STEPS.map(|own| ast::Value { kind: word(own), span: step.span }));
        }
        if !norms.is_empty() {
            then.value.kind = ValueKind::List(changed);
        }
        Some(norms)
    }
}

/// Name, `epsilon`, and whether there are weights.
fn parts(arguments: &[ast::Value]) -> Option<(Spanned<String>, f64, bool)> {
    let (name, rest) = arguments.split_first()?;
    let ValueKind::Word(word) = &name.kind else { return None };
    let name = Spanned::new(word.clone(), name.span);
    let number = |value: &ast::Value| match value.kind {
        ValueKind::Int(n) => Some(n as f64),
        ValueKind::Float(x) => Some(x),
        _ => None,
    };
    match rest {
        [] => Some((name, EPSILON, true)),
        [epsilon] => Some((name, number(epsilon)?, true)),
        [epsilon, affine] => match &affine.kind {
            ValueKind::Word(word) if word == "true" || word == "false" => {
                Some((name, number(epsilon)?, word == "true"))
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
#[path = "batch_norm_tests.rs"]
mod tests;
