//! Output sizes, and whether a layer keeps to the limits.

use super::error::SpecError;
use super::fields::axis_names;
use super::{Algorithm, LayerSpec, Layout, Limits, Operation, SpatialAxis, WeightsLayout};
use crate::lower::cut_phases;
use crate::lower::weights::PANEL_BYTES;
use crate::span::Span;

/// The largest number that any size, step or padding may be: products of two fit in 64 bits with room to spare.
pub(super) const MAX_SIZE: u64 = i32::MAX as u64;

/// What `padding` says of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// Zeros before and after.
    Sides(usize, usize),
    /// Output size `ceil(input / stride)`; an odd zero goes after.
    Same,
    /// The same; an odd zero goes before.
    SameLower,
    /// All zeros before: no output sees an input after it.
    Causal,
}

/// The padding in numbers, `(pad_lo, pad_hi)`; the sizes are at most [`MAX_SIZE`] and at least 1.
pub(super) fn resolve(padding: Padding, axis: &SpatialAxis) -> (usize, usize) {
    let extent = axis.extent();
    let total = ((axis.input.div_ceil(axis.stride) - 1) * axis.stride + extent).saturating_sub(axis.input);
    match padding {
        Padding::Sides(lo, hi) => (lo, hi),
        Padding::Same => (total / 2, total - total / 2),
        Padding::SameLower => (total - total / 2, total / 2),
        Padding::Causal => (extent - 1, 0),
    }
}

/// Most bytes that the input would have with its padding, so that every offset into it is a number the IR takes.
const PADDED_BYTES: u64 = 4 * crate::ir::MAX_NUMBER;

/// Most convolutions that a transposed layer may be made of, each of them phases that differ in their weights only.
const MOST_PARTS: usize = 256;

/// The output size; nothing if the window does not fit in the padded input.
pub(super) fn output(axis: &SpatialAxis) -> Option<usize> {
    let room = (axis.pad_lo + axis.input + axis.pad_hi).checked_sub(axis.extent())?;
    Some(room / axis.stride + 1)
}

/// The output size of pooling with `ceil_mode`, as PyTorch counts it: a last window may reach past the padding, if it starts in the input
/// or before it.
pub(super) fn output_rounded_up(axis: &SpatialAxis) -> Option<usize> {
    let room = (axis.pad_lo + axis.input + axis.pad_hi + axis.stride - 1).checked_sub(axis.extent())?;
    let output = room / axis.stride + 1;
    let starts_behind = (output - 1) * axis.stride >= axis.input + axis.pad_lo;
    Some(if starts_behind { output - 1 } else { output })
}

/// The output size of unpooling that says none, as PyTorch counts it: `(input - 1) * stride - pad_lo - pad_hi + kernel`, which may be less
/// than 1.
pub(super) fn unpooled(axis: &SpatialAxis) -> i64 {
    (axis.input as i64 - 1) * axis.stride as i64 + axis.kernel as i64 - (axis.pad_lo + axis.pad_hi) as i64
}

/// Windows that start before the input and are looked at one by one where their taps may step over all of it.
const MOST_LOOKED_AT: usize = 4096;

/// Whether a window has no tap in the input: where the last one starts behind it, the first ends before it, or taps step over all of it.
/// Where very many may do that, they are taken to.
pub(super) fn misses_input(axis: &SpatialAxis) -> bool {
    let last = axis.output.max(1) - 1;
    let behind = last * axis.stride >= axis.pad_lo + axis.input;
    if axis.output == 0 || behind || axis.pad_lo >= axis.extent() {
        return true;
    }
    let early = axis.pad_lo.div_ceil(axis.stride).min(axis.output);
    let misses = |window: usize| {
        let before = axis.pad_lo - window * axis.stride;
        before.next_multiple_of(axis.dilation) - before >= axis.input
    };
    axis.dilation > axis.input && (early > MOST_LOOKED_AT || (0..early).any(misses))
}

/// Where to point at when a tensor is too large.
pub(super) struct Spans {
    pub(super) input: Span,
    pub(super) out_channels: Span,
    pub(super) kernel_size: Span,
    pub(super) stride: Span,
    pub(super) padding: Span,
}

/// Checks every product that a later stage forms, first one that fails.
pub(super) fn check_limits(spec: &LayerSpec, limits: &Limits, spans: &Spans) -> Result<(), SpecError> {
    let axes = |names: [&'static str; 3], get: fn(&SpatialAxis) -> usize| {
        let values = spec.spatial.iter().map(move |axis| get(axis) as u64);
        names.into_iter().zip(values).skip(3 - spec.rank).collect::<Vec<_>>()
    };
    let bytes = ("bytes", spec.dtype.bytes() as u64);
    let batch = spec.fixed_batch().map(|n| ("batch", n as u64));
    let tensor = |what, parts: Vec<(&'static str, u64)>, limit: u64, span| {
        // A batch of none still has images whose elements are counted.
        let factors: Vec<_> = parts
            .into_iter()
            .chain([bytes])
            .map(|(name, v)| (name, if name == "batch" { v.max(1) } else { v }))
            .collect();
        product(what, "bytes", factors, limit.min(isize::MAX as u64), span)
    };
    let with_batch = |channels: (&'static str, u64), rest: Vec<_>| {
        batch.into_iter().chain([channels]).chain(rest).collect::<Vec<_>>()
    };

    let stored = |plain: (&'static str, usize), stored: usize, filled: &'static str| {
        (if stored == plain.1 { plain.0 } else { filled }, stored as u64)
    };
    let in_channels =
        stored(("channels", spec.in_channels), spec.src_channels(), "channels with those that fill up the last block");
    let src = with_batch(in_channels, axes(axis_names(spec.rank), |a| a.input));
    tensor("the input", src, limits.tensor_bytes, spans.input)?;

    let taps = axes(["kernel depth", "kernel height", "kernel width"], |a| a.kernel);
    let ic = [("input channels of a group", spec.ic_per_group() as u64)];
    let oc = [("output channels", spec.out_channels as u64)];
    let packed = [("output channels with the panels' tails", packed_channels(spec))];
    for (what, oc) in [("the tensor of weights", oc), ("the tensor of packed weights", packed)] {
        if !spec.operation.is_pooling() {
            let factors = oc.into_iter().chain(ic).chain(taps.clone()).collect();
            tensor(what, factors, limits.tensor_bytes, spans.kernel_size)?;
        }
    }

    let out = axes(["output depth", "output height", "output width"], |a| a.output);
    let out_channels = stored(
        ("output channels", spec.out_channels),
        spec.dst_channels(),
        "output channels with those that fill up the last block",
    );
    let dst = with_batch(out_channels, out.clone());
    tensor("the output", dst, limits.tensor_bytes, spans.out_channels)?;
    if spec.is_deformable() {
        let channels = [("offset groups", spec.offset_groups as u64), ("offsets a tap", 2)];
        let offsets = batch.into_iter().chain(channels).chain(taps.clone()).chain(out.clone()).collect();
        tensor("the tensor of offsets", offsets, limits.tensor_bytes, spans.kernel_size)?;
    }

    let padded: fn(&SpatialAxis) -> usize = match spec.operation {
        Operation::Convolution | Operation::Deformable => |a| a.pad_lo + a.input + a.pad_hi,
        // The last window may reach past the padding.
        Operation::MaxPool | Operation::AvgPool | Operation::LpPool => {
            |a| (a.pad_lo + a.input + a.pad_hi).max((a.output - 1) * a.stride + a.extent())
        }
        // As many as a phase's window can reach past either end.
        Operation::MaxUnpool => |a| a.input,
        Operation::Transposed => |a| a.input + 2 * ((a.extent() + a.output_padding()) / a.stride + 1),
    };
    let padded = axes(["padded depth", "padded height", "padded width"], padded);
    tensor("the padded input", with_batch(in_channels, padded), PADDED_BYTES, spans.padding)?;

    // As many as `phases` cuts an adaptive axis into, which may be very many.
    let parts: Vec<usize> = match spec.adaptive {
        true => spec.spatial.iter().map(SpatialAxis::kinds_of_windows).collect(),
        false => (0..3).map(|i| cut_phases(spec, i).len()).collect(),
    };
    let count = parts.iter().fold(1_usize, |all, parts| all.saturating_mul(*parts));
    if count > MOST_PARTS {
        let parts = parts[3 - spec.rank..].to_vec();
        return Err(SpecError::Parts { kind: spec.kind(), parts, count, most: MOST_PARTS, span: spans.stride });
    }

    let windows = match spec.operation {
        Operation::Transposed | Operation::MaxUnpool => {
            axes(["input depth", "input height", "input width"], |a| a.input)
        }
        _ => out,
    };
    let taps = if spec.operation == Operation::MaxUnpool { Vec::new() } else { taps };
    let macs = oc.into_iter().chain(windows).chain(ic).chain(taps).collect();
    let unit = if spec.operation.is_pooling() { "taps" } else { "multiply-accumulates" };
    product("the work of one image", unit, macs, limits.macs, spans.out_channels)
}

/// Whether the algorithm `depthwise` takes the layer; if not, why.
///
/// The rule may not depend on the target, because the layout of packed weights depends on it.
pub(crate) fn depthwise(spec: &LayerSpec) -> Result<(), String> {
    let (ic, oc, groups) = (spec.ic_per_group(), spec.oc_per_group(), spec.groups);
    if groups == 1 || ic != 1 || oc == 0 {
        return Err(format!(
            "depthwise needs several groups of one input channel, and there are {groups} groups of {ic} and {oc}"
        ));
    }
    let panel = PANEL_BYTES / spec.dtype.bytes();
    if !panel.is_multiple_of(oc) {
        return Err(format!(
            "depthwise needs a number of output channels a group that divides the {panel} of a panel of the weights, and \
             there are {oc}"
        ));
    }
    if oc > 1 && spec.weights_layout == WeightsLayout::Hwoi {
        return Err(format!(
            "depthwise needs weights whose output channels are equally far apart, and in `{}` the {oc} of a group are not as \
             the groups are",
            spec.weights_layout.name(spec.rank)
        ));
    }
    if oc > 1 && spec.layout == Layout::Blocked {
        return Err(format!(
            "depthwise in a blocked layout needs one output channel a group, and there are {oc}: input and output \
             channels are in blocks of different numbers"
        ));
    }
    Ok(())
}

/// Output channels of the packed weights: of each group rounded up to whole panels, unless groups share panels.
fn packed_channels(spec: &LayerSpec) -> u64 {
    let lanes = (PANEL_BYTES / spec.dtype.bytes()) as u64;
    let (groups, oc) = (spec.groups as u64, spec.oc_per_group() as u64);
    // Integers have no panels that groups share.
    let depthwise = depthwise(spec).is_ok() && spec.integers.is_none();
    let pinned = spec.schedule.algorithm.as_ref().map(|a| a.value);
    if depthwise && pinned.is_none_or(|a| a == Algorithm::Depthwise) {
        (spec.out_channels as u64).next_multiple_of(lanes)
    } else {
        groups * oc.next_multiple_of(lanes)
    }
}

fn product(
    what: &'static str,
    unit: &'static str,
    factors: Vec<(&'static str, u64)>,
    limit: u64,
    span: Span,
) -> Result<(), SpecError> {
    let product = factors.iter().try_fold(1_u64, |all, (_, factor)| all.checked_mul(*factor));
    if product.is_some_and(|p| p <= limit) {
        Ok(())
    } else {
        Err(SpecError::TooMuch { what, unit, factors, product, limit, span })
    }
}
