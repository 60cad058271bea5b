//! The layer as the loops see it: sizes, and the distance in memory of one step along each axis.

use super::deformable;
use super::pack::PackedAxis;
use super::phases::{self, PhaseRun};
use super::weights::PANEL_BYTES;
use crate::ir::Role;
use crate::plan::{Algorithm, PackInput};
use crate::spec::{LayerSpec, Layout, SpatialAxis};

/// A tensor `[n][planes][d][h][w][lanes]`, and the distances of one step along each axis, in elements.
///
/// Channel `c` is lane `c % lanes` of plane `c / lanes`, whatever the layout. Runs of channels that the loops step over
/// start at a plane or lie within one, so that the distance of two of them does not depend on where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Which buffer.
    pub role: Role,
    pub n: i64,
    pub planes: usize,
    /// From one plane to the next.
    pub plane: i64,
    pub lanes: usize,
    /// Along `d`, `h`, `w`.
    pub spatial: [i64; 3],
}

/// Channels that a sum runs over at equal distances, in up to two loops: over planes, and over lanes of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelRun {
    /// First channel.
    pub start: usize,
    /// Outer loop: how often; its step is [`View::plane`].
    pub planes: usize,
    /// Inner loop: how often; its step is 1.
    pub lanes: usize,
}

impl View {
    /// The input as it comes.
    pub(crate) fn of_src(spec: &LayerSpec) -> Self {
        Self::dense(Role::Src, spec, spec.layout, spec.in_channels, spec.spatial.map(|a| a.input))
    }

    /// The output.
    pub(crate) fn of_dst(spec: &LayerSpec) -> Self {
        Self::dense(Role::Dst, spec, spec.layout, spec.out_channels, spec.spatial.map(|a| a.output))
    }

    /// A dense tensor of `channels` and `sizes`.
    fn dense(role: Role, spec: &LayerSpec, layout: Layout, channels: usize, sizes: [usize; 3]) -> Self {
        let lanes = layout.lanes(channels, spec.dtype);
        let planes = channels.div_ceil(lanes);
        let [d, h, w] = sizes.map(|s| s as i64);
        let pixel = lanes as i64;
        let plane = d * h * w * pixel;
        let spatial = [h * w * pixel, w * pixel, pixel];
        Self { role, n: planes as i64 * plane, planes, plane, lanes, spatial }
    }

    /// Where channel `c` is, from channel 0 of the same pixel on.
    pub(crate) fn channel(&self, c: usize) -> i64 {
        (c / self.lanes) as i64 * self.plane + (c % self.lanes) as i64
    }

    /// The distance of neighbours among channels that a vector holds.
    pub(crate) fn lane_step(&self) -> i64 {
        if self.lanes == 1 { self.plane } else { 1 }
    }

    /// Channels `0..channels` in order, as runs.
    pub(crate) fn runs(&self, channels: usize) -> Vec<ChannelRun> {
        let (full, rest) = (channels / self.lanes, channels % self.lanes);
        let mut runs = Vec::new();
        if full > 0 {
            runs.push(ChannelRun { start: 0, planes: full, lanes: self.lanes });
        }
        if rest > 0 {
            runs.push(ChannelRun { start: full * self.lanes, planes: 1, lanes: rest });
        }
        runs
    }

    /// Channels that the innermost loop over `0..channels` runs over.
    pub(crate) fn innermost(&self, channels: usize) -> usize {
        if self.lanes == 1 { channels } else { channels.min(self.lanes) }
    }

    /// Groups of `channels` that lie in one plane, if a plane holds more than one.
    pub(crate) fn groups_together(&self, channels: usize) -> Option<usize> {
        (channels < self.lanes).then(|| self.lanes / channels)
    }
}

/// Where the pointers start, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub src: i64,
    pub weights: i64,
    pub dst: i64,
    /// The element of the input that is the first, along `d`, `h`, `w`.
    pub first: [i64; 3],
}

/// What lowering works from: a convolution, which is the layer or, of a transposed one, the phases that differ in their weights
/// only.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    /// Where the tiles read: `src`, or `scratch` when the input is packed.
    pub src: View,
    pub dst: View,
    /// Sizes along `d`, `h`, `w` as the tiles see them: without padding when the input is packed, and all pixels
    /// along `w` for pointwise, all rows one behind the other for `fft` of a window of several rows.
    pub spatial: [SpatialAxis; 3],
    /// Groups that the `g` loop runs over; 1 for depthwise and pooling, where the channels are the `oc` axis.
    pub groups: usize,
    /// Output channels of each.
    pub oc: usize,
    /// Input channels of each that a sum runs over; 1 for depthwise.
    pub ic: usize,
    /// Input channels that each of these is: several of integers.
    pub lane_channels: usize,
    /// Neighbouring output channels that depthwise computes from each input channel; 1 for everything else.
    pub multiplier: usize,
    /// Taps along `d`, `h`, `w` that packed weights have, those of other phases among them.
    pub window: [usize; 3],
    pub origin: Origin,
    /// How many phases, along `d`, `h`, `w`.
    pub phases: [usize; 3],
    /// From the first output of one phase to that of the next.
    pub phase_dst: [i64; 3],
    /// Whether no tap reaches the outputs, so that there is nothing to sum.
    pub empty: bool,
}

impl Geometry {
    /// The convolutions that make up the layer, or poolings, in the order of their first outputs; one, unless it is transposed or adaptive.
    pub(crate) fn parts(spec: &LayerSpec, algorithm: Algorithm, pack_input: PackInput) -> Vec<Self> {
        let [d, h, w] = [0, 1, 2].map(|i| phases::cut(spec, i));
        let rows = d.flat_map(|d| h.clone().map(move |h| (d, h)));
        let runs = rows.flat_map(|(d, h)| w.clone().map(move |w| [d, h, w]));
        runs.map(|runs| Self::part(spec, algorithm, pack_input, runs)).collect()
    }

    /// The first of them: mostly the layer.
    pub(crate) fn of(spec: &LayerSpec, algorithm: Algorithm, pack_input: PackInput) -> Self {
        Self::part(spec, algorithm, pack_input, [0, 1, 2].map(|i| phases::first(spec, i)))
    }

    fn part(spec: &LayerSpec, algorithm: Algorithm, pack_input: PackInput, runs: [PhaseRun; 3]) -> Self {
        let mut spatial = runs.map(|run| run.axis);
        let mut first = runs.map(|run| run.first);
        let mut sizes = [spec.spatial.map(|a| a.input), spec.spatial.map(|a| a.output)];
        let (mut role, mut layout) = (Role::Src, spec.layout);
        if pack_input != PackInput::None {
            let copy = spec.spatial.map(|a| PackedAxis::of(spec.operation, &a));
            sizes[0] = copy.map(|axis| axis.size);
            for i in 0..3 {
                (first[i], spatial[i]) = copy[i].seen(&runs[i]);
            }
            role = Role::Scratch;
        }
        if pack_input == PackInput::ChannelsLast {
            layout = Layout::ChannelsLast;
        }
        if algorithm.is_pointwise() {
            let pixels = spatial.iter().map(|a| a.input).product();
            let w = SpatialAxis { input: pixels, output: pixels, ..SpatialAxis::UNIT };
            spatial = [SpatialAxis::UNIT, SpatialAxis::UNIT, w];
            sizes = [[1, 1, pixels]; 2];
        }
        if algorithm == Algorithm::Deformable {
            (role, layout) = (Role::Local, Layout::ChannelsFirst);
            (spatial, sizes[0]) = deformable::columns(spec, 1);
        }
        if algorithm == Algorithm::Fft && spatial[1].kernel > 1 {
            spatial = [spatial[0], SpatialAxis::UNIT, rows_in_one(&spatial[1], &spatial[2])];
        }
        // Channels of one element each lie side by side, whatever the layout is called.
        let may_be_pixel = spec.integers.is_none()
            && !spec.return_indices
            && matches!(algorithm, Algorithm::Direct | Algorithm::Pointwise | Algorithm::Depthwise | Algorithm::Pool);
        let as_it_lies = |layout: Layout, sizes: [usize; 3]| match layout {
            Layout::ChannelsFirst if may_be_pixel && sizes == [1; 3] => Layout::ChannelsLast,
            layout => layout,
        };
        // A copy has the channels as the input has them, or last.
        let src_layout = if role == Role::Src { as_it_lies(layout, sizes[0]) } else { layout };
        let dst_layout = as_it_lies(spec.layout, sizes[1]);
        let ic = spec.ic_lanes(algorithm);
        let in_lanes = role == Role::Scratch || spec.lane_channels(algorithm) > 1;
        let channels = if in_lanes { spec.groups * ic } else { spec.in_channels };
        let mut src = View::dense(role, spec, src_layout, channels, sizes[0]);
        let mut dst = View::dense(Role::Dst, spec, dst_layout, spec.out_channels, sizes[1]);
        let by_channel = algorithm.is_by_channel();
        let groups = if by_channel { 1 } else { spec.groups };
        let multiplier = if by_channel { spec.oc_per_group() } else { 1 };

        let empty = runs.iter().any(|run| run.empty);
        if empty {
            // Nothing is read.
            spatial = spatial.map(|a| SpatialAxis { input: a.output, output: a.output, ..SpatialAxis::UNIT });
            src.spatial = [0; 3];
        }
        let window = spec.spatial.map(|a| a.kernel);
        let taps = tap_steps(window, ic * (PANEL_BYTES / spec.dtype.bytes()));
        let (mut origin, phase_dst) = (Origin::default(), dst.spatial);
        for i in 0..3 {
            origin.src += first[i] as i64 * src.spatial[i];
            origin.first[i] = first[i] as i64;
            origin.weights += runs[i].tap as i64 * taps[i];
            origin.dst += runs[i].output as i64 * dst.spatial[i];
            dst.spatial[i] *= runs[i].step as i64;
        }
        let phases = runs.map(|run| run.count);
        let oc = spec.out_channels / groups;
        let lane_channels = spec.lane_channels(algorithm);
        Self { src, dst, spatial, groups, oc, ic, lane_channels, multiplier, window, origin, phases, phase_dst, empty }
    }

    /// Distance in the packed weights of two taps along `d`, `h`, `w`.
    pub(crate) fn tap_steps(&self, panel: usize) -> [i64; 3] {
        tap_steps(self.window, self.ic * panel)
    }
}

/// The rows of an image without padding, one behind the other, as one axis: a window of several rows is one of the first row's taps, those
/// of the next a row further on, and so forth. Of its outputs those are no one's that would be behind a row's last.
fn rows_in_one(h: &SpatialAxis, w: &SpatialAxis) -> SpatialAxis {
    let row = w.input;
    let kernel = (h.extent() - 1) * row + w.extent();
    SpatialAxis { input: h.input * row, output: h.output * row, kernel, ..SpatialAxis::UNIT }
}

/// The same for taps of `len` elements.
fn tap_steps([_, h, w]: [usize; 3], len: usize) -> [i64; 3] {
    [h * w * len, w * len, len].map(|step| step as i64)
}

#[cfg(test)]
#[path = "geometry_tests.rs"]
mod tests;
