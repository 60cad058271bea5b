//! A transposed layer along one axis, as convolutions, and one of adaptive pooling as others.
//!
//! Output `o = stride * q + r` takes tap `k` of input `(o + pad_lo - k * dilation) / stride`, where that is whole. Of one *phase* `r` these
//! taps are equally far apart, and so are their inputs: the phase is a convolution of stride 1 over `q`, whose taps are those
//! of the layer from the last to the first. A phase that no tap reaches, or none that meets the input, is *empty*: its sums are
//! the bias alone. Neighbouring phases that differ in their weights only are a *run*, which the nests loop over.
//!
//! Adaptive windows come again: with `a / b` for `input / output` in lowest terms, window `b * q + r` is window `r`, `a * q` elements on. So
//! phase `r` is pooling with a window of one size and stride `a`.

use crate::spec::{LayerSpec, Operation, SpatialAxis};

/// Phases that follow each other and are the same convolution, with other weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PhaseRun {
    /// The convolution; its outputs are those of one phase. Its input may be less than there is: what no output reads is not part of it.
    pub axis: SpatialAxis,
    /// Which element of the input is its first.
    pub first: usize,
    /// Output of the layer that is the first of its outputs.
    pub output: usize,
    /// Distance of its outputs in those of the layer.
    pub step: usize,
    /// How many phases.
    pub count: usize,
    /// Where its first tap stands among the packed ones, see [`order`].
    pub tap: usize,
    /// Whether there are no taps. The axis has one then, for form's sake.
    pub empty: bool,
}

/// The runs of axis `i`; mostly the axis itself.
pub(crate) fn cut(spec: &LayerSpec, i: usize) -> impl ExactSizeIterator<Item = PhaseRun> + Clone {
    let axis = &spec.spatial[i];
    let several = match spec.operation {
        Operation::Transposed => Some(cut_transposed(axis)),
        _ => spec.adaptive.then(|| cut_adaptive(axis)),
    };
    let one = whole(axis);
    (0..several.as_ref().map_or(1, Vec::len)).map(move |run| several.as_ref().map_or(one, |runs| runs[run]))
}

/// The first of them.
pub(crate) fn first(spec: &LayerSpec, i: usize) -> PhaseRun {
    cut(spec, i).next().unwrap_or_else(|| whole(&spec.spatial[i]))
}

/// The axis as one run. A window of one tap has no distance between taps, whatever the layer says.
fn whole(axis: &SpatialAxis) -> PhaseRun {
    let axis = SpatialAxis { dilation: if axis.kernel == 1 { 1 } else { axis.dilation }, ..*axis };
    PhaseRun { axis, first: 0, output: 0, step: 1, count: 1, tap: 0, empty: false }
}

fn cut_adaptive(axis: &SpatialAxis) -> Vec<PhaseRun> {
    let phases = axis.kinds_of_windows();
    let (stride, output) = (axis.input * phases / axis.output, axis.output / phases);
    let phase = |r: usize| {
        let window = axis.adaptive_window(r);
        let (first, kernel) = (window.start, window.len());
        let input = (output - 1) * stride + kernel;
        let axis = SpatialAxis { input, output, kernel, stride, ..SpatialAxis::UNIT };
        PhaseRun { axis, first, output: r, step: phases, count: 1, tap: 0, empty: false }
    };
    (0..phases).map(phase).collect()
}

fn cut_transposed(axis: &SpatialAxis) -> Vec<PhaseRun> {
    let mut runs: Vec<PhaseRun> = Vec::new();
    let mut tap = 0;
    for (r, taps) in phases(axis).into_iter().enumerate().take(axis.output) {
        let run = phase(axis, r, taps, tap);
        tap += taps.count;
        match runs.last_mut() {
            Some(last) if (last.axis, last.first, last.empty) == (run.axis, run.first, run.empty) => last.count += 1,
            _ => runs.push(run),
        }
    }
    runs
}

/// The layer's tap at each position of the packed weights: phase by phase, each from the last to the first; of a convolution all in
/// order.
pub(crate) fn order(operation: Operation, axis: &SpatialAxis) -> Vec<usize> {
    if operation != Operation::Transposed {
        return (0..axis.kernel).collect();
    }
    let of_phase = |taps: Taps| (0..taps.count).rev().map(move |i| taps.lowest + i * taps.step);
    phases(axis).into_iter().flat_map(of_phase).collect()
}

/// Zeros that a copy of the input needs before and after it, so that no phase is cut.
pub(crate) fn padding(axis: &SpatialAxis) -> (usize, usize) {
    let runs = cut_transposed(axis);
    let most = |side: fn(&PhaseRun) -> usize| runs.iter().filter(|run| !run.empty).map(side).max().unwrap_or(0);
    (most(|run| run.axis.pad_lo), most(|run| run.axis.pad_hi))
}

/// The taps of a phase.
#[derive(Clone, Copy)]
struct Taps {
    lowest: usize,
    /// From one to the next.
    step: usize,
    count: usize,
}

/// The taps of every phase.
fn phases(axis: &SpatialAxis) -> Vec<Taps> {
    let (stride, dilation) = (axis.stride, axis.dilation);
    let step = stride / greatest_common_divisor(stride, dilation);
    let mut phases = vec![Taps { lowest: 0, step, count: 0 }; stride];
    for lowest in 0..step.min(axis.kernel) {
        // Tap k goes to outputs i * stride - pad_lo + k * dilation.
        let r = (lowest * dilation + (stride - axis.pad_lo % stride)) % stride;
        phases[r] = Taps { lowest, step, count: (axis.kernel - lowest).div_ceil(step) };
    }
    phases
}

/// Phase `r` alone.
fn phase(axis: &SpatialAxis, r: usize, taps: Taps, tap: usize) -> PhaseRun {
    let output = (axis.output - r).div_ceil(axis.stride);
    let run = |axis: SpatialAxis, first: usize, step: usize, empty: bool| PhaseRun {
        axis,
        first,
        output: r,
        step,
        count: 1,
        tap,
        empty,
    };
    let empty = || run(SpatialAxis { input: output, output, ..SpatialAxis::UNIT }, 0, axis.stride, true);
    if taps.count == 0 {
        return empty();
    }
    // The input under the last tap at q = 0, which may lie before the first.
    let last = (taps.lowest + (taps.count - 1) * taps.step) * axis.dilation;
    let start = ((r + axis.pad_lo) as i64 - last as i64) / axis.stride as i64;
    let (first, pad_lo) = (start.max(0) as usize, (-start).max(0) as usize);
    let dilation = if taps.count == 1 { 1 } else { axis.dilation * taps.step / axis.stride };
    // Elements from `first` on that some output reads.
    let reach = (output + dilation * (taps.count - 1)).saturating_sub(pad_lo);
    let input = axis.input.saturating_sub(first).min(reach);
    if input == 0 {
        return empty();
    }
    let phase = SpatialAxis { input, output, kernel: taps.count, stride: 1, dilation, pad_lo, pad_hi: reach - input };
    run(phase, first, axis.stride, false)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
#[path = "phases_tests.rs"]
mod tests;
