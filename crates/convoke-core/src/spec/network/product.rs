//! Products of two values: `matmul`.
//!
//! The last two sizes of a value, as they are written, are a matrix whose rows lie one behind the other, and all before them say how many of those there are.
//! The product of two is a `conv1d` whose window is one element: the rows of the first are pixels, its columns input channels, and the columns of
//! the second output channels. So the second is the weights, in one of the two layouts that those may have.

use super::error::{NetworkError, Refusal};
use super::layers::Made;
use super::read::Graph;
use super::{NodeKind, TensorShape};
use crate::front::ast::{self, Field, Layer, ValueKind};
use crate::span::{Span, Spanned};
use crate::spec::{Batch, LayerSpec, Layout, WeightsLayout};

const FIELDS: [&str; 3] = ["inputs", "transpose_b", "then"];

/// Whether the second value of a product has a row for each column of what is made.
pub(super) fn is_transposed(spec: &LayerSpec) -> bool {
    spec.weights_layout == WeightsLayout::Oihw
}

/// The sizes as they are written, but for the batch.
fn written(shape: &TensorShape) -> Vec<usize> {
    shape.layout.declared_shape(0, shape.channels, &shape.sizes)[1..].to_vec()
}

impl Graph<'_> {
    /// `matmul`.
    pub(super) fn matmul(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &FIELDS)?;
        let [(first, first_span), (second, second_span)] = self.sources(layer)?[..] else { return None };
        let (a, b) = (self.shape(first), self.shape(second));
        for (shape, span) in [(&a, first_span), (&b, second_span)] {
            if shape.layout == Layout::Blocked {
                return self.refuse(Refusal::MatmulBlocks, span);
            }
        }
        let transposed = match layer.field("transpose_b") {
            Some(field) => self.reader(layer, 1, |reader| reader.flag("transpose_b", &field.value))?,
            None => false,
        };
        let differ = |what: &'static str| {
            let (first, second) = (a.to_string(), b.to_string());
            NetworkError::Differ { what, first, second, span: second_span }
        };
        let (of_a, of_b) = (written(&a), written(&b));
        if a.layout != b.layout || of_a.len() != of_b.len() {
            return self.report(differ("only values with as many sizes in one layout can be multiplied as matrices"));
        }
        let ([lead_a @ .., rows, inner], [lead_b @ .., b_rows, b_columns]) = (&of_a[..], &of_b[..]) else {
            return None;
        };
        let (b_inner, columns) = if transposed { (b_columns, b_rows) } else { (b_rows, b_columns) };
        if lead_a != lead_b {
            return self
                .report(differ("all sizes but the last two say which matrices are multiplied, and have to be equal"));
        }
        if inner != b_inner {
            return self.report(differ(match transposed {
                false => "the last size of the first value has to be the last but one of the second",
                true => "with `transpose_b` the last sizes of both values have to be equal",
            }));
        }
        let made = {
            let mut sizes = lead_a.to_vec();
            sizes.extend([*rows, *columns]);
            let channels = sizes.remove(a.channel_axis());
            TensorShape { channels, sizes, ..a.clone() }
        };
        let mut alone = layer.clone();
        let more = self.taken_by_steps(&mut alone)?;
        if let Some(more) = more {
            self.same(&made, &self.shape(more), layer.name.span)?;
        }
        alone.fields.retain(|field| field.name.value == "then");
        let weights = if transposed { "oil" } else { "lio" };
        alone.fields.extend([
            field("out_channels", ValueKind::Int(*columns as i128), second_span),
            field("weights", ValueKind::Word(weights.to_owned()), second_span),
        ]);
        let matrix = TensorShape {
            batch: Batch::Fixed(1),
            channels: *inner,
            sizes: vec![*rows],
            layout: Layout::ChannelsLast,
            ..a.clone()
        };
        let spec = self.alone(alone, "conv1d", &matrix, first_span, &["kernel_size"])?;
        if spec.channel_steps().next().is_some() {
            return self.refuse(Refusal::MatmulChannels, layer.name.span);
        }
        if spec.has_softmax() && a.layout != Layout::ChannelsLast {
            return self.refuse(Refusal::MatmulSoftmax, layer.name.span);
        }
        let matrices = lead_a.iter().product();
        let inputs = [first, second].into_iter().chain(more).collect();
        Some((NodeKind::Matmul { spec: Box::new(spec), matrices }, inputs, made))
    }
}

fn field(name: &str, kind: ValueKind, span: Span) -> Field {
    Field { name: Spanned::new(name.to_owned(), span), value: ast::Value { kind, span } }
}

#[cfg(test)]
#[path = "product_tests.rs"]
mod tests;
