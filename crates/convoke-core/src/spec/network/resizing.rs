//! The layer `resize`: sizes and conventions, and whether it does more than repeat elements.

use super::error::{NetworkError, Refusal};
use super::interpolation::{ALIGNS, ROUNDINGS};
use super::layers::Made;
use super::read::Graph;
use super::{Align, Interpolation, NodeKind, Rounding, Sampling, Scaling};
use crate::front::ast::{self, Layer, ValueKind};
use crate::spec::sizes::MAX_SIZE;

impl Graph<'_> {
    pub(super) fn resize(&mut self, layer: &Layer) -> Option<Made> {
        self.only(layer, &["input", "scale", "to", "mode", "align", "round"])?;
        let (source, _) = self.source(layer)?;
        let mut shape = self.shape(source);
        let rank = shape.sizes.len();
        let axes = match (layer.field("scale"), layer.field("to")) {
            (Some(_), Some(to)) => return self.refuse(Refusal::ScaleAndSize, to.name.span),
            (Some(scale), None) => self.scaled(layer, &scale.value, &shape.sizes)?,
            (None, Some(to)) => {
                let value = self.numbered(&to.value);
                let sizes = self.reader(layer, rank, |reader| reader.sizes("to", &value, 1))?;
                let sizes = shape.sizes.iter().zip(&sizes[3 - rank..]);
                sizes.map(|(&from, to)| Scaling { from, to: to.value, scale: None }).collect()
            }
            (None, None) => {
                let (field, example, kind) = ("scale", "2", "resize");
                return self.report(NetworkError::MissingHere { field, example, kind, layer: layer.name.clone() });
            }
        };
        let modes = [("nearest", false), ("linear", true)];
        let is_linear = self.word(layer, "mode", &modes)?.unwrap_or(false);
        let align = self.word(layer, "align", &ALIGNS)?.unwrap_or(Align::HalfPixel);
        let rounding = self.word(layer, "round", &ROUNDINGS)?;
        let sampling = match (is_linear, layer.field("round")) {
            (true, Some(round)) => return self.refuse(Refusal::RoundOfLinear, round.name.span),
            (true, None) => Sampling::Linear,
            (false, _) => Sampling::Nearest(rounding.unwrap_or(Rounding::PreferFloor)),
        };
        shape.sizes = axes.iter().map(|size| size.to).collect();
        let interpolation = Interpolation { sampling, align, axes };
        let kind = match interpolation.repeats() {
            None => NodeKind::Interpolate(Box::new(interpolation)),
            Some(repeats) => {
                let mut scale = vec![1; rank + 1];
                repeats.iter().enumerate().for_each(|(at, &repeats)| scale[shape.axis_of(at)] = repeats);
                NodeKind::Resize { scale }
            }
        };
        Some((kind, vec![source], shape))
    }

    /// Sizes, of which some may be names that stand for numbers.
    fn numbered(&self, value: &ast::Value) -> ast::Value {
        let number = |value: &ast::Value| match &value.kind {
            ValueKind::Word(word) => {
                let number = self.sizes.number(word).map(|n| ValueKind::Int(n as i128));
                ast::Value { kind: number.unwrap_or_else(|| value.kind.clone()), span: value.span }
            }
            _ => value.clone(),
        };
        match &value.kind {
            ValueKind::Tuple(items) => {
                ast::Value { kind: ValueKind::Tuple(items.iter().map(number).collect()), span: value.span }
            }
            _ => number(value),
        }
    }

    /// What `scale` makes of the sizes: whole numbers, or others.
    fn scaled(&mut self, layer: &Layer, value: &ast::Value, sizes: &[usize]) -> Option<Vec<Scaling>> {
        let rank = sizes.len();
        let items = if let ValueKind::Tuple(items) = &value.kind { items } else { std::slice::from_ref(value) };
        if !items.iter().any(|item| matches!(item.kind, ValueKind::Float(_))) {
            let factors = self.reader(layer, rank, |reader| reader.sizes("scale", value, 1))?;
            let sizes = sizes.iter().zip(&factors[3 - rank..]);
            let size = |(&from, factor): (&usize, &crate::span::Spanned<usize>)| Scaling {
                from,
                to: from.saturating_mul(factor.value),
                scale: None,
            };
            return Some(sizes.map(size).collect());
        }
        if items.len() != rank && items.len() != 1 {
            let (found, expected) = (items.len(), rank);
            return self.refuse(Refusal::Scales { found, expected }, value.span);
        }
        let mut axes = Vec::new();
        for (at, &from) in sizes.iter().enumerate() {
            let item = items.get(at).unwrap_or(&items[0]);
            let scale = match item.kind {
                ValueKind::Float(x) => x,
                ValueKind::Int(n) => n as f64,
                _ => {
                    self.form("scale", "numbers", item);
                    return None;
                }
            };
            match Scaling::scaled(from, scale) {
                Some(size) if size.to as u64 <= MAX_SIZE => axes.push(size),
                _ => return self.refuse(Refusal::Scale { scale, from }, item.span),
            }
        }
        if axes.iter().all(|size| size.uneven().is_none()) {
            axes.iter_mut().for_each(|size| size.scale = None);
        }
        Some(axes)
    }

    /// A field that takes one of a few words, if it is there.
    fn word<T: Copy>(&mut self, layer: &Layer, name: &'static str, known: &[(&'static str, T)]) -> Option<Option<T>> {
        let Some(field) = layer.field(name) else { return Some(None) };
        let choice = self.reader(layer, 1, |reader| reader.choice(name, name, &field.value, known))?;
        Some(Some(choice.value))
    }
}
