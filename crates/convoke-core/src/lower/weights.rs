//! How weights are laid out for the tiles: `OIhw16o`, panels of 64 bytes of output channels.
//!
//! A panel holds one 64-byte run of output channels of one group (16 of f32, 8 of f64) for every tap and input
//! channel, in the order in which the tiles sum: `[g][panel][kd][kh][kw][ic][lane]`. Lanes past the group's last
//! channel are zero. Neither the instruction set nor the plan changes it, so weights can be packed at build
//! time and live in read-only memory.
//! Where windows are transformed (Winograd's algorithm), a tap is an element of the transformed window: there are more of them, and
//! each is a sum that is made in `f64` and rounded once.
//! Depthwise weights are panels over all groups, `[panel][kd][kh][kw][lane]`; where an input channel has several outputs, these
//! stand side by side.

use super::winograd;
use crate::eval::Element;
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
    /// Elements of a window as it is packed: `kd * kh * kw`, or those of the transformed window.
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
    /// `kd`, `kh`, `kw`.
    pub window: [usize; 3],
    /// Outputs of a tile of Winograd's algorithm, for which axes of three taps are transformed.
    pub winograd: Option<usize>,
}

impl WeightsPacking {
    /// The packing for a layer computed by `algorithm`.
    pub fn new(spec: &LayerSpec, algorithm: Algorithm) -> Self {
        let (taps, ic, oc) = (spec.taps(), spec.ic_per_group(), spec.out_channels);
        let (window, winograd) = (spec.spatial.map(|a| a.kernel), algorithm.winograd());
        let (oc_stride, ic_stride, tap_stride) = match spec.weights_layout {
            WeightsLayout::Oihw => (ic * taps, taps, 1),
            WeightsLayout::Hwio => (1, oc, ic * oc),
        };
        let groups = if algorithm == Algorithm::Depthwise { 1 } else { spec.groups };
        let lanes = PANEL_BYTES / spec.dtype.bytes();
        let taps = winograd.map_or(taps, |m| window.iter().map(|&k| winograd::transformed(k, m)).product());
        Self { groups, oc: oc / groups, taps, ic, lanes, oc_stride, ic_stride, tap_stride, window, winograd }
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
        self.groups * self.oc * self.window.iter().product::<usize>() * self.ic
    }

    /// Packs `plain` into `packed`; the lengths are [`Self::plain_len`] and [`Self::packed_len`].
    ///
    /// # Panics
    /// If a length is another.
    pub fn pack<T: Element>(&self, plain: &[T], packed: &mut [T]) {
        assert_eq!((plain.len(), packed.len()), (self.plain_len(), self.packed_len()));
        let transform = self.winograd.map(|m| &winograd::transforms(m).kernel);
        let mut window = vec![0.0; self.taps];
        for g in 0..self.groups {
            for oc in 0..self.panels() * self.lanes {
                let to = (g * self.panels() + oc / self.lanes) * self.panel_len() + oc % self.lanes;
                for ic in 0..self.ic {
                    let at = |tap: usize| to + (tap * self.ic + ic) * self.lanes;
                    if oc >= self.oc {
                        (0..self.taps).for_each(|tap| packed[at(tap)] = T::default());
                        continue;
                    }
                    let from = (g * self.oc + oc) * self.oc_stride + ic * self.ic_stride;
                    let Some(matrix) = transform else {
                        (0..self.taps).for_each(|tap| packed[at(tap)] = plain[from + tap * self.tap_stride]);
                        continue;
                    };
                    let taps = self.window.iter().product::<usize>();
                    (0..taps).for_each(|tap| window[tap] = plain[from + tap * self.tap_stride].to_f64());
                    winograd::transform_window(matrix, self.window, &mut window);
                    (0..self.taps).for_each(|tap| packed[at(tap)] = T::from_f64(window[tap]));
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
