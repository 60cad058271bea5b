//! The layer as the loops see it: sizes, and the distance in memory of one step along each axis.

use crate::ir::Role;
use crate::plan::{Algorithm, PackInput, Plan};
use crate::spec::{LayerSpec, Layout, SpatialAxis};

/// Distances of one step along each axis of a tensor, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Which buffer.
    pub role: Role,
    pub n: i64,
    pub c: i64,
    /// Along `d`, `h`, `w`.
    pub spatial: [i64; 3],
}

impl View {
    /// A dense tensor of `channels` and `sizes`.
    fn dense(role: Role, layout: Layout, channels: usize, sizes: [usize; 3]) -> Self {
        let [d, h, w] = sizes.map(|s| s as i64);
        let channels = channels as i64;
        let n = channels * d * h * w;
        match layout {
            Layout::ChannelsFirst => Self { role, n, c: d * h * w, spatial: [h * w, w, 1] },
            Layout::ChannelsLast => Self { role, n, c: 1, spatial: [h * w * channels, w * channels, channels] },
        }
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
}

impl Geometry {
    pub(crate) fn new(spec: &LayerSpec, plan: &Plan) -> Self {
        Self::of(spec, plan.algorithm, plan.pack_input)
    }

    /// The same from the parts of a plan that it depends on.
    pub(crate) fn of(spec: &LayerSpec, algorithm: Algorithm, pack_input: PackInput) -> Self {
        let mut spatial = spec.spatial.map(dense_if_single);
        let mut role = Role::Src;
        if pack_input == PackInput::Pad {
            spatial = spatial.map(padded);
            role = Role::Scratch;
        }
        if algorithm == Algorithm::Pointwise {
            let pixels = spatial.iter().map(|a| a.input).product();
            let w = SpatialAxis { input: pixels, output: pixels, ..SpatialAxis::UNIT };
            spatial = [SpatialAxis::UNIT, SpatialAxis::UNIT, w];
        }
        let src = View::dense(role, spec.layout, spec.in_channels, spatial.map(|a| a.input));
        let dst = View::dense(Role::Dst, spec.layout, spec.out_channels, spatial.map(|a| a.output));
        let depthwise = algorithm == Algorithm::Depthwise;
        let groups = if depthwise { 1 } else { spec.groups };
        Self { src, dst, spatial, groups, oc: spec.out_channels / groups, ic: spec.ic_per_group() }
    }
}

/// A window of one tap has no distance between taps, whatever the layer says.
fn dense_if_single(axis: SpatialAxis) -> SpatialAxis {
    SpatialAxis { dilation: if axis.kernel == 1 { 1 } else { axis.dilation }, ..axis }
}

/// The axis with its padding written out.
fn padded(axis: SpatialAxis) -> SpatialAxis {
    SpatialAxis { input: axis.pad_lo + axis.input + axis.pad_hi, pad_lo: 0, pad_hi: 0, ..axis }
}
