//! What a deformable layer may not be.
//!
//! Positions of taps are numbers of `f32`, so that the elements of what they are in have to be few enough to count with those.

use super::error::SpecError;
use super::fields::Reader;
use super::{Epilogue, LayerSpec, Layout, Operation, Storage};
use crate::span::{Span, Spanned};

/// How far whole numbers of `f32` go without gaps.
const MOST_POSITIONS: usize = 1 << 24;

/// Whether there are layers of that operation with so many axes.
pub(super) const fn has_rank(operation: Operation, rank: usize) -> bool {
    !matches!(operation, Operation::Deformable) || rank == 2
}

/// Every kind of layer.
pub(super) fn kinds_of_layers() -> Vec<&'static str> {
    let of = |operation: Operation| {
        (1..=3).filter(move |&rank| has_rank(operation, rank)).map(move |rank| operation.kinds()[rank - 1])
    };
    Operation::ALL.into_iter().flat_map(of).collect()
}

/// The refusal of a kind with another number of axes.
pub(super) fn other_rank(kind: &Spanned<String>) -> SpecError {
    let what = if kind.value.ends_with("1d") { "one axis" } else { "three axes" };
    let help = "write `deform_conv2d`; a row is an image of height 1";
    SpecError::NotDeformable { what, label: "only `deform_conv2d` is there".to_owned(), help, span: kind.span }
}

/// Reports what a deformable layer cannot have; `span` gives where a field is.
pub(super) fn check(reader: &mut Reader<'_>, spec: &LayerSpec, span: impl Fn(&str) -> Span) -> Option<()> {
    if !spec.is_deformable() {
        return Some(());
    }
    let before = reader.errors.len();
    let mut refuse = |what: &'static str, label: String, help: &'static str, field: &str| {
        reader.errors.push(SpecError::NotDeformable { what, label, help, span: span(field) });
    };
    let storage = spec.src_storage();
    if storage != Storage::F32 {
        let label = format!("the input is {}", storage.name());
        refuse("elements of another type than f32", label, "write `f32`", "input");
    }
    if spec.layout == Layout::Blocked {
        let label = format!("`{}`", spec.layout.name(spec.rank, spec.dtype));
        refuse("a blocked layout", label, "write `nchw` or `nhwc`", "input");
    }
    if let Some(step) = spec.then.iter().find(|step| step.takes_tensor()) {
        let help = "leave it out, and join the tensors behind the layer";
        let what = if *step == Epilogue::Residual { "the step `residual`" } else { "the step `multiply`" };
        refuse(what, "a tensor beside the offsets".to_owned(), help, "then");
    }
    if !spec.in_channels.is_multiple_of(spec.offset_groups) {
        let (offset_groups, channels) = (spec.offset_groups, spec.in_channels);
        reader.errors.push(SpecError::OffsetGroups { offset_groups, channels, span: span("offset_groups") });
    }
    for (what, axis) in ["the height", "the width"].into_iter().zip(&spec.spatial[1..]) {
        check_positions(
            reader,
            (what, "elements with its padding"),
            axis.pad_lo + axis.input + axis.pad_hi,
            span("padding"),
        );
    }
    let plane = spec.spatial[1].input * spec.spatial[2].input;
    match spec.layout {
        Layout::ChannelsLast => {
            check_positions(reader, ("an image", "elements"), plane.saturating_mul(spec.in_channels), span("input"));
        }
        _ => check_positions(reader, ("a channel", "elements"), plane, span("input")),
    }
    (reader.errors.len() == before).then_some(())
}

fn check_positions(reader: &mut Reader<'_>, (what, unit): (&'static str, &'static str), found: usize, span: Span) {
    if found >= MOST_POSITIONS {
        reader.errors.push(SpecError::BeyondPositions { what, unit, found, most: MOST_POSITIONS - 1, span });
    }
}
