//! Positions within planes, as maxima give them and unpooling takes them: PyTorch's `return_indices`, the second output of ONNX's
//! `MaxPool`.

use super::error::{IndicesOf, SpecError};
use super::fields::Reader;
use super::{DType, LayerSpec, Operation, SpatialAxis};
use crate::span::Span;

impl LayerSpec {
    /// Whether a run takes indices: that of unpooling does, and that of maxima [gives](Self::return_indices) them.
    pub fn takes_indices(&self) -> bool {
        self.operation == Operation::MaxUnpool
    }

    /// Elements of the plane of a channel that indices count: of the input of maxima, and of the output of unpooling.
    pub fn indexed_plane(&self) -> usize {
        let size = |axis: &SpatialAxis| if self.takes_indices() { axis.output } else { axis.input };
        self.spatial.iter().map(size).product()
    }
}

/// Reports what a layer with indices cannot have.
pub(super) fn check(reader: &mut Reader<'_>, spec: &LayerSpec, span: impl Fn(&str) -> Span) -> Option<()> {
    if !spec.return_indices && !spec.takes_indices() {
        return Some(());
    }
    let before = reader.errors.len();
    if spec.return_indices && spec.dtype == DType::F64 {
        reader.errors.push(SpecError::Indices { what: IndicesOf::F64, span: span("return_indices") });
    }
    if !spec.then.is_empty() {
        reader.errors.push(SpecError::Indices { what: IndicesOf::Steps, span: span("then") });
    }
    let size = |axis: &SpatialAxis| if spec.takes_indices() { axis.output } else { axis.input };
    let elements = spec.spatial.iter().fold(1_u64, |all, axis| all.saturating_mul(size(axis) as u64));
    if elements > i32::MAX as u64 {
        reader.errors.push(SpecError::Indices {
            what: IndicesOf::Plane { elements },
            span: span(if spec.takes_indices() { "output_size" } else { "input" }),
        });
    }
    (reader.errors.len() == before).then_some(())
}
