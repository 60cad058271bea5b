//! The spatial axes: what the fields say of each, with padding and output size in numbers.

use super::error::SpecError;
use super::fields::{Reader, axis_names};
use super::sizes::{self, MAX_SIZE, Padding};
use super::{Operation, SpatialAxis};
use crate::span::Spanned;

/// The largest stride of a transposed layer, whose phases are planned one by one.
const MAX_PHASES: usize = 4096;

/// What the fields say, for `d h w`.
pub(super) struct Steps {
    pub(super) input: [usize; 3],
    pub(super) kernel: [Spanned<usize>; 3],
    pub(super) stride: [Spanned<usize>; 3],
    pub(super) dilation: [Spanned<usize>; 3],
    pub(super) padding: [Padding; 3],
    pub(super) output_padding: [Spanned<usize>; 3],
    pub(super) output_size: Option<[Spanned<usize>; 3]>,
    pub(super) ceil_mode: bool,
}

/// The axes with their padding and output sizes.
pub(super) fn read(reader: &mut Reader<'_>, steps: &Steps) -> Option<[SpatialAxis; 3]> {
    let mut axes = [SpatialAxis::UNIT; 3];
    let mut legal = true;
    let shared = steps.output_size.filter(|_| is_adaptive(reader.operation, steps));
    for (at, slot) in axes.iter_mut().enumerate().skip(3 - reader.rank) {
        if let Some(outputs) = shared {
            *slot = SpatialAxis::adaptive(steps.input[at], outputs[at].value);
            continue;
        }
        let axis = match reader.operation {
            Operation::Transposed => transposed(reader, steps, at),
            Operation::MaxUnpool => unpooled(reader, steps, at),
            _ => convolution(reader, steps, at),
        };
        match axis {
            Some(axis) => *slot = axis,
            None => legal = false,
        }
    }
    legal.then_some(axes)
}

/// Whether pooling shares its input out to windows of several sizes. Of one size they are windows like any others.
pub(super) fn is_adaptive(operation: Operation, steps: &Steps) -> bool {
    let uneven = |outputs: [Spanned<usize>; 3]| (0..3).any(|at| !steps.input[at].is_multiple_of(outputs[at].value));
    operation.is_pooling() && operation != Operation::MaxUnpool && steps.output_size.is_some_and(uneven)
}

/// The axis without padding and output; nothing if the window is too large for any.
fn bare(reader: &mut Reader<'_>, steps: &Steps, at: usize) -> Option<SpatialAxis> {
    let (kernel, dilation) = (steps.kernel[at], steps.dilation[at].value);
    let extent = i128::try_from(dilation).ok()? * i128::try_from(kernel.value - 1).ok()? + 1;
    if extent > i128::from(MAX_SIZE) {
        let name = axis_names(reader.rank)[at];
        let kernel_size = kernel.value;
        let what = format!("the extent of the kernel's {name}, dilation {dilation} x ({kernel_size} - 1) + 1,");
        reader.whole(&what, extent, kernel.span, 1);
        return None;
    }
    let (input, stride) = (steps.input[at], steps.stride[at].value);
    Some(SpatialAxis { input, output: 0, kernel: kernel.value, stride, dilation, pad_lo: 0, pad_hi: 0 })
}

fn convolution(reader: &mut Reader<'_>, steps: &Steps, at: usize) -> Option<SpatialAxis> {
    let mut axis = bare(reader, steps, at)?;
    (axis.pad_lo, axis.pad_hi) = sizes::resolve(steps.padding[at], &axis);
    let output = if steps.ceil_mode { sizes::output_rounded_up(&axis) } else { sizes::output(&axis) };
    if let Some(output) = output {
        axis.output = output;
        if reader.operation.is_pooling() && sizes::misses_input(&axis) {
            let (axis, size, span) = (axis_names(reader.rank)[at], axis, steps.kernel[at].span);
            return reader.report(SpecError::EmptyWindow { axis, size, span });
        }
        return Some(axis);
    }
    let span = steps.kernel[at].span;
    // One number for every axis is wrong once.
    let same_as = |other: usize| {
        let said = |at: usize| (steps.input[at], steps.stride[at].value, steps.dilation[at].value, steps.padding[at]);
        steps.kernel[other].span == span && said(other) == said(at)
    };
    if at > 3 - reader.rank && same_as(at - 1) {
        return None;
    }
    reader.report(SpecError::KernelTooLarge { axis: axis_names(reader.rank)[at], size: axis, span })
}

/// Windows undo those of pooling; the output is what these give, or less than a stride more or less, as given.
fn unpooled(reader: &mut Reader<'_>, steps: &Steps, at: usize) -> Option<SpatialAxis> {
    let mut axis = bare(reader, steps, at)?;
    if let Padding::Sides(lo, hi) = steps.padding[at] {
        (axis.pad_lo, axis.pad_hi) = (lo, hi);
    }
    let (name, span) = (axis_names(reader.rank)[at], steps.kernel[at].span);
    let plain = sizes::unpooled(&axis);
    let (least, most) = (plain - axis.stride as i64 + 1, plain + axis.stride as i64 - 1);
    let output = match steps.output_size.map(|sizes| sizes[at]) {
        Some(size) if !(least..=most).contains(&(size.value as i64)) => {
            let (found, span) = (size.value, size.span);
            return reader.report(SpecError::UnpooledSize { axis: name, size: axis, found, least, most, span });
        }
        Some(size) => size.value as i64,
        None => plain,
    };
    if output < 1 {
        return reader.report(SpecError::NothingUnpooled { axis: name, size: axis, span });
    }
    axis.output = reader.whole(&format!("the output's {name}"), output.into(), span, 1)?;
    Some(axis)
}

fn transposed(reader: &mut Reader<'_>, steps: &Steps, at: usize) -> Option<SpatialAxis> {
    let mut axis = bare(reader, steps, at)?;
    let name = axis_names(reader.rank)[at];
    let (stride, output_padding) = (steps.stride[at], steps.output_padding[at]);
    if stride.value > MAX_PHASES {
        let (what, value, most) = (format!("the stride of a {}", reader.kind), stride.value as i128, MAX_PHASES as u64);
        return reader.report(SpecError::Range { what, value, least: 1, most, span: stride.span });
    }
    let spread = (axis.input - 1) * axis.stride + axis.extent();
    let given = steps.output_size.map(|sizes| sizes[at]);
    let size = given.map(|size| size.value);
    let extra = output_padding.value;
    (axis.pad_lo, axis.pad_hi) = match steps.padding[at] {
        Padding::Sides(lo, hi) => (lo, hi),
        padding => {
            let total = (spread + extra).saturating_sub(size.unwrap_or(axis.input * axis.stride));
            if padding == Padding::SameLower { (total - total / 2, total / 2) } else { (total / 2, total - total / 2) }
        }
    };
    let (pads, is_same) = (axis.pad_lo + axis.pad_hi, !matches!(steps.padding[at], Padding::Sides(..)));
    let least = spread.saturating_sub(pads);
    let output = match size {
        Some(size) if size < least || size + pads >= spread + axis.stride => {
            let (found, span) = (size, given.map_or(output_padding.span, |size| size.span));
            let most = (spread + axis.stride - 1).saturating_sub(pads);
            if most > 0 {
                let (least, size) = (least.max(1), axis);
                return reader.report(SpecError::OutputSize { axis: name, size, found, least, most, span });
            }
            0
        }
        Some(size) => size,
        None if is_same => axis.input * axis.stride,
        None => (spread + extra).saturating_sub(pads),
    };
    if output == 0 {
        let span = steps.kernel[at].span;
        return reader.report(SpecError::NoOutput { axis: name, size: axis, output_padding: extra, span });
    }
    let what = format!("the output's {name}");
    axis.output = reader.whole(&what, output as i128, steps.kernel[at].span, 1)?;
    if axis.output_padding() >= axis.stride.max(axis.dilation) {
        return reader.report(SpecError::OutputPadding { axis: name, size: axis, span: output_padding.span });
    }
    Some(axis)
}
