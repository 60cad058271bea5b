//! How weights are laid out for the tiles: `OIhw16o`, panels of 64 bytes of output channels.
//!
//! A panel holds one 64-byte run of output channels of one group (16 of f32, 8 of f64) for every tap and input
//! channel, in the order in which the tiles sum: `[g][panel][kd][kh][kw][ic][lane]`. Lanes past the group's last
//! channel are zero. Neither the instruction set nor the plan changes it, so weights can be packed at build
//! time and live in read-only memory.
//! Depthwise weights are panels over all groups, `[panel][kd][kh][kw][lane]`; where an input channel has several outputs, these
//! stand side by side.

use crate::spec::{Algorithm, BLOCK_BYTES, DType, LayerSpec, WeightsLayout};

/// Bytes of output channels that a panel holds for one tap of one input channel.
///
/// A panel's channels are those of a block of a blocked `dst`, so that what lies within the one lies within the other.
pub const PANEL_BYTES: usize = BLOCK_BYTES;

/// Where each packed weight comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightsPacking {
    /// Groups that are packed apart; 1 for depthwise.
    pub groups: usize,
    /// Output channels of each.
    pub oc: usize,
    /// `kd * kh * kw`.
    pub taps: usize,
    /// Input channels of each output.
    pub ic: usize,
    /// Output channels a panel.
    pub lanes: usize,
    /// Distance in the user's weights of two output channels (of all groups).
    pub oc_stride: usize,
    /// Of two input channels.
    pub ic_stride: usize,
    /// Of two taps.
    pub tap_stride: usize,
}

impl WeightsPacking {
    /// The packing for a layer computed by `algorithm`.
    pub fn new(spec: &LayerSpec, algorithm: Algorithm) -> Self {
        let (taps, ic, oc) = (spec.taps(), spec.ic_per_group(), spec.out_channels);
        let (oc_stride, ic_stride, tap_stride) = match spec.weights_layout {
            WeightsLayout::Oihw => (ic * taps, taps, 1),
            WeightsLayout::Hwio => (1, oc, ic * oc),
        };
        let groups = if algorithm == Algorithm::Depthwise { 1 } else { spec.groups };
        let lanes = PANEL_BYTES / spec.dtype.bytes();
        Self { groups, oc: oc / groups, taps, ic, lanes, oc_stride, ic_stride, tap_stride }
    }

    /// Panels a group.
    pub fn panels(&self) -> usize {
        self.oc.div_ceil(self.lanes)
    }

    /// Elements of one panel.
    pub fn panel_len(&self) -> usize {
        self.taps * self.ic * self.lanes
    }

    /// Elements of all packed weights.
    pub fn packed_len(&self) -> usize {
        self.groups * self.panels() * self.panel_len()
    }

    /// Elements of the user's weights.
    pub fn plain_len(&self) -> usize {
        self.groups * self.oc * self.taps * self.ic
    }

    /// Packs `plain` into `packed`; the lengths are [`Self::plain_len`] and [`Self::packed_len`].
    ///
    /// # Panics
    /// If a length is another.
    pub fn pack<T: Copy + Default>(&self, plain: &[T], packed: &mut [T]) {
        assert_eq!((plain.len(), packed.len()), (self.plain_len(), self.packed_len()));
        let mut rows = packed.chunks_exact_mut(self.lanes);
        for g in 0..self.groups {
            for panel in 0..self.panels() {
                let oc0 = panel * self.lanes;
                let used = self.lanes.min(self.oc - oc0);
                for tap in 0..self.taps {
                    for ic in 0..self.ic {
                        let Some(row) = rows.next() else { return };
                        let from = (g * self.oc + oc0) * self.oc_stride + tap * self.tap_stride + ic * self.ic_stride;
                        for (lane, slot) in row.iter_mut().enumerate() {
                            *slot = if lane < used { plain[from + lane * self.oc_stride] } else { T::default() };
                        }
                    }
                }
            }
        }
    }

    /// `OIhw16o`, as oneDNN writes such layouts.
    pub fn name(&self, dtype: DType) -> String {
        format!("OIhw{}o", PANEL_BYTES / dtype.bytes())
    }
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
