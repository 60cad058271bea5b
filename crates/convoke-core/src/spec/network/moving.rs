//! The layers of a network that move elements, or see them as something else.

use super::error::{NetworkError, Refusal};
use super::layers::Made;
use super::read::Graph;
use super::{NodeKind, TensorShape};
use crate::front::ast::{self, Field, Layer, ValueKind};
use crate::span::Span;
use crate::spec::fields::{Reader, axis_names};
use crate::spec::sizes::Padding;
use crate::spec::{Layout, Operation};

impl Graph<'_> {
    pub(super) fn concat(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["inputs", "axis"])?;
        let sources = self.sources(layer)?;
        let mut shape = self.shape(sources[0].0);
        let axis = match layer.field("axis") {
            None => shape.channel_axis(),
            Some(field) => match field.value.kind {
                ValueKind::Int(n) if (1..=shape.sizes.len() as i128 + 1).contains(&n) => n as usize - 1,
                ValueKind::Int(axis) => {
                    let (sizes, span) = (shape.sizes.len() + 2, field.value.span);
                    return self.report(NetworkError::Axis { axis, sizes, span });
                }
                _ => {
                    self.form("axis", "the number of a size, as in `axis: 1`", &field.value);
                    return None;
                }
            },
        };
        let is_channels = axis == shape.channel_axis();
        let block = shape.layout.lanes(1, shape.dtype());
        for (i, &(at, span)) in sources.iter().enumerate() {
            let other = self.shape(at);
            if i > 0 {
                let mut like = shape.clone();
                *like.size_mut(axis) = other.axes().get(axis).copied().unwrap_or_default();
                if like != other {
                    let (first, second) = (shape.to_string(), other.to_string());
                    let what = if is_channels {
                        "only tensors that differ in their channels alone can be joined"
                    } else {
                        "only tensors that differ along that axis alone can be joined"
                    };
                    return self.report(NetworkError::Differ { what, first, second, span });
                }
                *shape.size_mut(axis) += other.axes()[axis];
            }
            let cuts = is_channels && i + 1 < sources.len() && !other.channels.is_multiple_of(block);
            if cuts && other.layout == Layout::Blocked {
                return self.refuse(Refusal::Blocks, span);
            }
        }
        Some((NodeKind::Concat { axis }, sources.into_iter().map(|source| source.0).collect(), shape))
    }

    pub(super) fn slice(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "channels", "depth", "height", "width", "length", "stride"])?;
        let (source, _) = self.source(layer)?;
        let mut shape = self.shape(source);
        let rank = shape.sizes.len();
        let names = &axis_names(rank)[3 - rank..];
        let cuts = |field: &&Field| field.name.value == "channels" || names.contains(&field.name.value.as_str());
        if !layer.fields.iter().any(|field| cuts(&field)) {
            return self.report(NetworkError::NoRange { layer: layer.name.clone() });
        }
        let steps = match layer.field("stride") {
            None => [1; 3],
            Some(field) => {
                self.reader(layer, rank, |reader| reader.sizes("stride", &field.value, 1))?.map(|step| step.value)
            }
        };
        let mut from = vec![(0, 1); rank + 1];
        let block = shape.layout.lanes(1, shape.dtype());
        for field in layer.fields.iter().filter(|field| !["input", "stride"].contains(&field.name.value.as_str())) {
            let Some(at) = names.iter().position(|name| *name == field.name.value) else {
                if field.name.value != "channels" {
                    let (name, span) = (field.name.value.clone(), field.name.span);
                    let shape = self.shape(source).to_string();
                    return self.report(NetworkError::NoSuchAxis { name, shape, span });
                }
                let channels = shape.channels;
                let (start, end) = self.range("channels", &field.value, channels)?;
                let is_whole = |channel: usize| channel.is_multiple_of(block) || channel == channels;
                if shape.layout == Layout::Blocked && !(is_whole(start) && is_whole(end)) {
                    return self.refuse(Refusal::Blocks, field.value.span);
                }
                from[shape.channel_axis()].0 = start;
                shape.channels = end - start;
                continue;
            };
            let axis = shape.axis_of(at);
            let (start, end) = self.range(names[at], &field.value, shape.sizes[at])?;
            from[axis].0 = start;
            shape.sizes[at] = end - start;
        }
        for at in 0..rank {
            let (axis, step) = (shape.axis_of(at), steps[3 - rank + at]);
            from[axis].1 = step;
            shape.sizes[at] = shape.sizes[at].div_ceil(step);
        }
        Some((NodeKind::Slice { from }, vec![source], shape))
    }

    /// `a..b`, within so many.
    fn range(&mut self, field: &'static str, value: &ast::Value, size: usize) -> Option<(usize, usize)> {
        let number =
            |value: &ast::Value| if let ValueKind::Int(n) = value.kind { usize::try_from(n).ok() } else { None };
        let (start, end) = match &value.kind {
            ValueKind::Range(lo, hi) => (number(lo), number(hi)),
            _ => (None, None),
        };
        let (Some(start), Some(end)) = (start, end) else {
            self.form(field, "a range such as `0..16`", value);
            return None;
        };
        if start >= end || end > size {
            return self.report(NetworkError::Slice { what: field, start, end, size, span: value.span });
        }
        Some((start, end))
    }

    pub(super) fn pad(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "padding", "value"])?;
        let (source, span) = self.source(layer)?;
        let mut shape = self.shape(source);
        let rank = shape.sizes.len();
        let Some(padding) = layer.field("padding") else {
            let (field, example, kind) = ("padding", "1", "pad");
            return self.report(NetworkError::MissingHere { field, example, kind, layer: layer.name.clone() });
        };
        let sides = self.reader(layer, rank, |reader| reader.padding(&padding.value))?;
        let value = match layer.field("value").map(|field| &field.value) {
            None => 0.0,
            Some(ast::Value { kind: ValueKind::Int(n), .. }) => *n as f64,
            Some(ast::Value { kind: ValueKind::Float(x), .. }) => *x,
            Some(other) => {
                self.form("value", "a number", other);
                return None;
            }
        };
        if shape.layout == Layout::Blocked && value != 0.0 {
            return self.refuse(Refusal::Blocks, span);
        }
        let mut before = vec![0; rank + 1];
        for (at, side) in sides[3 - rank..].iter().enumerate() {
            let Padding::Sides(lo, hi) = *side else {
                self.form("padding", "numbers, or pairs lo..hi", &padding.value);
                return None;
            };
            before[shape.axis_of(at)] = lo;
            shape.sizes[at] += lo + hi;
        }
        Some((NodeKind::Pad { before, value }, vec![source], shape))
    }

    pub(super) fn transpose(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "axes"])?;
        let (source, span) = self.source(layer)?;
        let mut shape = self.shape(source);
        if shape.layout == Layout::Blocked {
            return self.refuse(Refusal::Blocks, span);
        }
        let count = shape.sizes.len() + 2;
        let Some(field) = layer.field("axes") else {
            let (field, example, kind) = ("axes", "(0, 2, 1, 3)", "transpose");
            return self.report(NetworkError::MissingHere { field, example, kind, layer: layer.name.clone() });
        };
        let items = if let ValueKind::Tuple(items) = &field.value.kind { items.as_slice() } else { &[] };
        let axes: Vec<usize> = items
            .iter()
            .filter_map(|item| if let ValueKind::Int(n) = item.kind { usize::try_from(n).ok() } else { None })
            .collect();
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        if axes.len() != items.len() || !sorted.into_iter().eq(0..count) || axes[0] != 0 {
            return self.report(NetworkError::Axes { sizes: count, span: field.value.span });
        }
        let sizes = shape.axes();
        for (axis, &from) in axes[1..].iter().enumerate() {
            *shape.size_mut(axis) = sizes[from - 1];
        }
        Some((NodeKind::Transpose { axes }, vec![source], shape))
    }

    pub(super) fn reorder(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "layout"])?;
        let (source, _) = self.source(layer)?;
        let shape = self.shape(source);
        let Some(field) = layer.field("layout") else {
            let (field, example, kind) = ("layout", "nhwc", "reorder");
            return self.report(NetworkError::MissingHere { field, example, kind, layer: layer.name.clone() });
        };
        let known = [Layout::ChannelsFirst, Layout::ChannelsLast, Layout::Blocked];
        let name = |layout: &Layout| layout.name(shape.sizes.len(), shape.dtype());
        let is_named = |layout: &Layout| matches!(&field.value.kind, ValueKind::Word(word) if word == name(layout));
        match known.into_iter().find(is_named) {
            Some(layout) if layout != Layout::Blocked || shape.storage.bytes() == shape.dtype().bytes() => {
                Some((NodeKind::Reorder, vec![source], TensorShape { layout, ..shape }))
            }
            Some(_) => self.refuse(Refusal::HalfBlocks, field.value.span),
            None => {
                let known = known.iter().map(|layout| name(layout).to_owned()).collect();
                self.report(NetworkError::Layout { known, span: field.value.span })
            }
        }
    }

    pub(super) fn flatten(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input"])?;
        let (from, span) = self.source(layer)?;
        Some((NodeKind::Flatten, vec![from], self.flat(self.shape(from), span)?))
    }

    pub(super) fn reshape(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "to"])?;
        let (source, span) = self.source(layer)?;
        let from = self.shape(source);
        let Some(field) = layer.field("to") else {
            let (field, example, kind) = ("to", "f32[1, 64, 7, 7]", "reshape");
            return self.report(NetworkError::MissingHere { field, example, kind, layer: layer.name.clone() });
        };
        let to = self.tensor_type(&field.value)?;
        if from.layout == Layout::Blocked || to.layout == Layout::Blocked {
            return self.refuse(Refusal::Blocks, span);
        }
        let unlike = (&to.storage, &to.batch) != (&from.storage, &from.batch);
        if unlike || to.bytes() != from.bytes() {
            let (first, second) = (from.to_string(), to.to_string());
            let what = "only a tensor of the same elements, type and batch can be seen as another";
            return self.report(NetworkError::Differ { what, first, second, span: field.value.span });
        }
        Some((NodeKind::Reshape, vec![source], to))
    }

    /// All elements of an image as channels.
    pub(super) fn flat(&mut self, shape: TensorShape, span: Span) -> Option<TensorShape> {
        // Blocks are in no order that another layout has, and what fills up the last is no channel.
        let whole = shape.pixels() == 1 && shape.channels.is_multiple_of(shape.dtype().block());
        if shape.layout == Layout::Blocked && !whole {
            return self.refuse(Refusal::Blocks, span);
        }
        let channels = shape.channels * shape.pixels();
        Some(TensorShape { channels, sizes: vec![1], layout: Layout::ChannelsFirst, ..shape })
    }

    /// Reads what a field says as a pooling layer of so many axes would.
    pub(super) fn reader<T>(
        &mut self,
        layer: &Layer,
        rank: usize,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut errors = Vec::new();
        let (operation, kind) = (Operation::MaxPool, self.kind(layer));
        let mut reader = Reader { operation, rank, kind, names: self.sizes, errors: &mut errors };
        let value = read(&mut reader);
        self.spec_errors(&errors);
        value.filter(|_| errors.is_empty())
    }
}

impl TensorShape {
    /// Which of [`axes`](Self::axes) is that of the spatial axis `at`.
    pub(super) fn axis_of(&self, at: usize) -> usize {
        if self.layout == Layout::ChannelsLast { at } else { at + 1 }
    }

    /// The size that stands at one of [`axes`](Self::axes).
    fn size_mut(&mut self, axis: usize) -> &mut usize {
        if axis == self.channel_axis() {
            return &mut self.channels;
        }
        let first = self.axis_of(0);
        &mut self.sizes[axis - first]
    }
}
