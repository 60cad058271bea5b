//! Norms of what a run computes itself: `layer_norm`, `group_norm` and `instance_norm`.
//!
//! Each makes of a group of elements those of mean 0 and variance 1, times a weight and plus a bias. They differ in what a group is, and in which elements share
//! a weight: of `layer_norm` a group is all that the last sizes count, as they are written, with a weight for each of its elements; of the others it is some
//! channels of an image, with a weight for each channel.

use super::error::{NetworkError, Refusal};
use super::layers::Made;
use super::read::Graph;
use super::{NodeKind, Parameter, TensorShape};
use crate::front::ast::{Layer, ValueKind};
use crate::span::Spanned;
use crate::spec::Layout;

/// What is added to a variance where a layer does not say, as PyTorch does.
pub(super) const EPSILON: f64 = 1e-5;

/// `layer_norm`, `group_norm` or `instance_norm`: PyTorch's `LayerNorm`, `GroupNorm` and `InstanceNorm`.
///
/// Of a group, `mean` is the sum of all elements over their number, `variance` the sum of the squares of what they differ from `mean`, over their number too. An
/// element becomes `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// What is a group.
    pub groups: Groups,
    /// What is added to the variance, from 0 on.
    pub epsilon: f64,
    /// Weights, and as many numbers of the bias; 0 without them.
    pub weights: usize,
}

/// Which elements of an image are normalized together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// All that the size at `axis` and those behind it count, as they are written, the batch 0: elements side by side, each with a weight of its own.
    Elements {
        /// The first of those sizes, from 1 on.
        axis: usize,
    },
    /// Channels side by side, in so many groups of as many channels, each with all its elements.
    Channels(usize),
    /// Each channel.
    Instance,
}

impl Norm {
    /// The word of the language.
    pub fn name(&self) -> &'static str {
        match self.groups {
            Groups::Elements { .. } => "layer_norm",
            Groups::Channels(_) => "group_norm",
            Groups::Instance => "instance_norm",
        }
    }

    /// Channels of a group, where groups are of channels.
    pub fn channels(&self, shape: &TensorShape) -> Option<usize> {
        match self.groups {
            Groups::Elements { .. } => None,
            Groups::Channels(groups) => Some(shape.channels / groups),
            Groups::Instance => Some(1),
        }
    }

    /// Whether it can be computed of values in that layout: a group of channels in blocks lies within one.
    pub(crate) fn takes(&self, shape: &TensorShape, layout: Layout) -> bool {
        match layout {
            Layout::Blocked => {
                self.channels(shape).is_some_and(|channels| shape.dtype().block().is_multiple_of(channels))
            }
            Layout::ChannelsFirst | Layout::ChannelsLast | Layout::Pairs => true,
        }
    }

    /// Weight and bias.
    pub(super) fn parameters(&self, layer: &str) -> Vec<Parameter> {
        let names = if self.weights > 0 { &["weight", "bias"][..] } else { &[] };
        names.iter().map(|name| Parameter { name: format!("{layer}.{name}"), len: self.weights }).collect()
    }

    /// The lines of the text, without the input.
    pub(super) fn fields(&self) -> Vec<String> {
        let mut fields = match self.groups {
            Groups::Elements { axis } => vec![format!("axis: {axis},")],
            Groups::Channels(groups) => vec![format!("groups: {groups},")],
            Groups::Instance => Vec::new(),
        };
        fields.push(format!("epsilon: {:?},", self.epsilon));
        fields.extend((self.weights == 0).then(|| "affine: false,".to_owned()));
        fields
    }
}

impl Graph<'_> {
    /// `layer_norm`.
    pub(super) fn layer_norm(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "axis", "epsilon", "affine"])?;
        let (from, span) = self.source(layer)?;
        let shape = self.shape(from);
        if shape.layout == Layout::Blocked {
            return self.refuse(Refusal::LayerNormBlocks, span);
        }
        let written = &shape.layout.declared_shape(0, shape.channels, &shape.sizes)[1..];
        let axis = match layer.field("axis") {
            None => written.len(),
            Some(field) => match field.value.kind {
                ValueKind::Int(n) if (1..=written.len() as i128).contains(&n) => n as usize,
                ValueKind::Int(axis) => {
                    let (sizes, span) = (written.len() + 1, field.value.span);
                    return self.report(NetworkError::Axis { axis, sizes, span });
                }
                _ => {
                    self.form("axis", "the number of a size, as in `axis: 3`", &field.value);
                    return None;
                }
            },
        };
        let weights = written[axis - 1..].iter().product();
        self.norm(layer, from, Groups::Elements { axis }, weights)
    }

    /// `group_norm`.
    pub(super) fn group_norm(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "groups", "epsilon", "affine"])?;
        let (from, _) = self.source(layer)?;
        let channels = self.shape(from).channels;
        let Some(field) = layer.field("groups") else {
            let (field, example, kind) = ("groups", "32", "group_norm");
            return self.report(NetworkError::MissingHere { field, example, kind, layer: layer.name.clone() });
        };
        let groups = self.reader(layer, 1, |reader| reader.count("groups", &field.value, 1))?;
        if !channels.is_multiple_of(groups.value) {
            return self.refuse(Refusal::NormGroups { groups: groups.value, channels }, groups.span);
        }
        self.norm(layer, from, Groups::Channels(groups.value), channels)
    }

    /// `instance_norm`.
    pub(super) fn instance_norm(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "epsilon", "affine"])?;
        let (from, _) = self.source(layer)?;
        let channels = self.shape(from).channels;
        self.norm(layer, from, Groups::Instance, channels)
    }

    fn norm(&mut self, layer: &Layer, from: usize, groups: Groups, weights: usize) -> Option<Made> {
        let (epsilon, is_affine) = (self.epsilon(layer)?, self.affine(layer)?);
        let shape = self.shape(from);
        let norm = Norm { groups, epsilon, weights: if is_affine { weights } else { 0 } };
        if !norm.takes(&shape, shape.layout) {
            let (channels, block) = (norm.channels(&shape).unwrap_or_default(), shape.dtype().block());
            let span = layer.field("input").map_or(layer.name.span, |field| field.value.span);
            return self.refuse(Refusal::NormBlocks { channels, block }, span);
        }
        Some((NodeKind::Norm(norm), vec![from], shape))
    }

    /// What is added to variances.
    pub(super) fn epsilon(&mut self, layer: &Layer) -> Option<f64> {
        let Some(field) = layer.field("epsilon") else { return Some(EPSILON) };
        let epsilon = match field.value.kind {
            ValueKind::Int(n) => Spanned::new(n as f64, field.value.span),
            ValueKind::Float(x) => Spanned::new(x, field.value.span),
            _ => {
                self.form("epsilon", "a number, as in `epsilon: 1e-5`", &field.value);
                return None;
            }
        };
        if !(0.0..f64::INFINITY).contains(&epsilon.value) {
            return self.refuse(Refusal::Epsilon { epsilon: epsilon.value }, epsilon.span);
        }
        Some(epsilon.value)
    }

    /// Whether there are weights and a bias.
    pub(super) fn affine(&mut self, layer: &Layer) -> Option<bool> {
        match layer.field("affine") {
            Some(field) => self.reader(layer, 1, |reader| reader.flag("affine", &field.value)),
            None => Some(true),
        }
    }
}

#[cfg(test)]
#[path = "norm_tests.rs"]
mod tests;
