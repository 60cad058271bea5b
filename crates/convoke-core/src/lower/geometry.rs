//! The layer as the loops see it: sizes, and the distance in memory of one step along each axis.

use super::pack::PackedAxis;
use crate::ir::Role;
use crate::plan::{Algorithm, PackInput, Plan};
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

/// What lowering works from.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    /// Where the tiles read: `src`, or `scratch` when the input is packed.
    pub src: View,
    pub dst: View,
    /// Sizes along `d`, `h`, `w` as the tiles see them: without padding when the input is packed, and all pixels
    /// along `w` for pointwise.
    pub spatial: [SpatialAxis; 3],
    /// Groups that the `g` loop runs over; 1 for depthwise, where the channels are the `oc` axis.
    pub groups: usize,
    /// Output channels of each.
    pub oc: usize,
    /// Input channels of each that a sum runs over; 1 for depthwise.
    pub ic: usize,
    /// Neighbouring output channels that depthwise computes from each input channel; 1 for everything else.
    pub multiplier: usize,
}

impl Geometry {
    pub(crate) fn new(spec: &LayerSpec, plan: &Plan) -> Self {
        Self::of(spec, plan.algorithm, plan.pack_input)
    }

    /// The same from the parts of a plan that it depends on.
    pub(crate) fn of(spec: &LayerSpec, algorithm: Algorithm, pack_input: PackInput) -> Self {
        let mut spatial = spec.spatial.map(dense_if_single);
        let (mut role, mut layout) = (Role::Src, spec.layout);
        if pack_input != PackInput::None {
            spatial = spatial.map(|a| PackedAxis::of(&a).seen(&a));
            role = Role::Scratch;
        }
        if pack_input == PackInput::ChannelsLast {
            layout = Layout::ChannelsLast;
        }
        if algorithm == Algorithm::Pointwise {
            let pixels = spatial.iter().map(|a| a.input).product();
            let w = SpatialAxis { input: pixels, output: pixels, ..SpatialAxis::UNIT };
            spatial = [SpatialAxis::UNIT, SpatialAxis::UNIT, w];
        }
        let src = View::dense(role, spec, layout, spec.in_channels, spatial.map(|a| a.input));
        let dst = View::dense(Role::Dst, spec, spec.layout, spec.out_channels, spatial.map(|a| a.output));
        let depthwise = algorithm == Algorithm::Depthwise;
        let groups = if depthwise { 1 } else { spec.groups };
        let multiplier = if depthwise { spec.oc_per_group() } else { 1 };
        Self { src, dst, spatial, groups, oc: spec.out_channels / groups, ic: spec.ic_per_group(), multiplier }
    }
}

/// A window of one tap has no distance between taps, whatever the layer says.
fn dense_if_single(axis: SpatialAxis) -> SpatialAxis {
    SpatialAxis { dilation: if axis.kernel == 1 { 1 } else { axis.dilation }, ..axis }
}

#[cfg(test)]
#[path = "geometry_tests.rs"]
mod tests;
