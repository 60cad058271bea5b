//! How weights are laid out for the tiles: `OIhw16o`, panels of 64 bytes of output channels.
//!
//! A panel holds one 64-byte run of output channels of one group (16 of f32, 8 of f64) for every tap and input
//! channel, in the order in which the tiles sum: `[g][panel][kd][kh][kw][ic][lane]`. Lanes past the group's last
//! channel are zero. Neither the instruction set nor the plan changes it, so weights can be packed at build
//! time and live in read-only memory.
//! Of a transposed layer the taps along each axis stand phase by phase, see [`WeightsPacking::tap_order`].
//! Where windows are transformed (Winograd's algorithm), a tap is an element of the transformed window: there are more of them, and
//! each is a sum that is made in `f64` and rounded once.
//! For `fft`, which has a layout of its own, see [`FftPacking`].
//! Depthwise weights are panels over all groups, `[panel][kd][kh][kw][lane]`; where an input channel has several outputs, these
//! stand side by side.

pub use super::fft::FftPacking;
use super::{Geometry, fft, phases, winograd};
use crate::eval::Element;
use crate::plan::Plan;
use crate::spec::{Algorithm, BLOCK_BYTES, DType, LayerSpec, Operation, SpatialAxis, WeightsLayout};

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
    /// Distance in the user's weights of two groups.
    pub group_stride: usize,
    /// Of two output channels of a group.
    pub oc_stride: usize,
    /// Of two input channels.
    pub ic_stride: usize,
    /// Of two taps.
    pub tap_stride: usize,
    /// `kd`, `kh`, `kw`.
    pub window: [usize; 3],
    /// The axes of a transposed layer, which say in what order its taps are packed.
    pub transposed: Option<[SpatialAxis; 3]>,
    /// Outputs of a tile of Winograd's algorithm, for which axes of three taps are transformed.
    pub winograd: Option<usize>,
    /// How filters are transformed for `fft`.
    pub fft: Option<FftPacking>,
}

impl WeightsPacking {
    /// The packing for a layer computed by `plan` with vectors of `lanes`.
    pub fn of(spec: &LayerSpec, plan: &Plan, lanes: usize) -> Self {
        if plan.algorithm != Algorithm::Fft {
            return Self::new(spec, plan.algorithm);
        }
        let geometry = Geometry::of(spec, plan.algorithm, plan.pack_input);
        let shape = fft::Shape::new(spec, &geometry, lanes, plan.tile, &plan.block);
        Self::transformed(spec, shape.packing(spec.dtype))
    }

    /// The packing for `fft`.
    pub(crate) fn transformed(spec: &LayerSpec, fft: FftPacking) -> Self {
        Self { fft: Some(fft), ..Self::new(spec, Algorithm::Fft) }
    }

    /// The packing for a layer computed by `algorithm`, which is not `fft`: there a plan has to say how, see [`Self::of`].
    pub fn new(spec: &LayerSpec, algorithm: Algorithm) -> Self {
        let (taps, ic, oc) = (spec.taps(), spec.ic_per_group(), spec.out_channels);
        let (window, winograd) = (spec.spatial.map(|a| a.kernel), algorithm.winograd());
        let group_oc = spec.oc_per_group();
        let (mut group_stride, mut oc_stride, ic_stride, tap_stride) = match spec.weights_layout {
            WeightsLayout::Oihw => (group_oc * ic * taps, ic * taps, taps, 1),
            WeightsLayout::Hwio => (group_oc, 1, oc, ic * oc),
            WeightsLayout::Iohw => (ic * group_oc * taps, taps, group_oc * taps, 1),
            WeightsLayout::Hwoi => (ic, spec.in_channels, 1, group_oc * spec.in_channels),
        };
        let groups = if algorithm == Algorithm::Depthwise { 1 } else { spec.groups };
        if groups < spec.groups {
            // The channels of all groups are as far apart as the groups, or, where these have several, as those of one.
            oc_stride = group_stride / group_oc;
            group_stride = oc * oc_stride;
        }
        let lanes = PANEL_BYTES / spec.dtype.bytes();
        let taps = winograd.map_or(taps, |m| window.iter().map(|&k| winograd::transformed(k, m)).product());
        let oc = oc / groups;
        let transposed = (spec.operation == Operation::Transposed).then_some(spec.spatial);
        Self {
            groups,
            oc,
            taps,
            ic,
            lanes,
            group_stride,
            oc_stride,
            ic_stride,
            tap_stride,
            window,
            transposed,
            winograd,
            fft: None,
        }
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
        if let Some(fft) = self.fft {
            return fft.twiddles() + self.groups * self.oc * fft.filters(self.ic);
        }
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
        if let Some(fft) = self.fft {
            return self.pack_filters(fft, plain, packed);
        }
        if let Some(m) = self.winograd {
            return self.pack_transformed(&winograd::transforms(m).kernel, plain, packed);
        }
        let order = self.tap_order();
        let [_, kh, kw] = self.window;
        let tap_at = |at: usize| (order[0][at / kw / kh] * kh + order[1][at / kw % kh]) * kw + order[2][at % kw];
        let taps: Vec<usize> = (0..self.taps).map(tap_at).collect();
        let mut rows = packed.chunks_exact_mut(self.lanes);
        for (g, panel) in (0..self.groups).flat_map(|g| (0..self.panels()).map(move |panel| (g, panel))) {
            let oc0 = panel * self.lanes;
            let used = self.lanes.min(self.oc - oc0);
            for (tap, ic) in taps.iter().flat_map(|tap| (0..self.ic).map(move |ic| (tap, ic))) {
                let Some(row) = rows.next() else { return };
                let from = g * self.group_stride + oc0 * self.oc_stride + tap * self.tap_stride + ic * self.ic_stride;
                for (lane, slot) in row.iter_mut().enumerate() {
                    *slot = if lane < used { plain[from + lane * self.oc_stride] } else { T::default() };
                }
            }
        }
    }

    /// Which tap stands at each position along `kd`, `kh`, `kw`.
    ///
    /// The taps of a transposed layer are those of its phases, one phase after the other, each from the last tap to the first: that
    /// is the order in which they meet the input. Those of any other layer stand as they are.
    pub fn tap_order(&self) -> [Vec<usize>; 3] {
        match self.transposed {
            Some(axes) => axes.map(|axis| phases::order(Operation::Transposed, &axis)),
            None => self.window.map(|kernel| (0..kernel).collect()),
        }
    }

    /// The windows of a panel's channels side by side, so that each line of the packed weights is written at once.
    fn pack_transformed<T: Element>(&self, matrix: &[[f64; winograd::TAPS]], plain: &[T], packed: &mut [T]) {
        let taps: usize = self.window.iter().product();
        let mut windows = [vec![0.0; self.taps * self.lanes], vec![0.0; self.taps * self.lanes]];
        let mut panels = packed.chunks_exact_mut(self.panel_len());
        for (g, panel) in (0..self.groups).flat_map(|g| (0..self.panels()).map(move |panel| (g, panel))) {
            let Some(to) = panels.next() else { return };
            let oc0 = panel * self.lanes;
            let used = self.lanes.min(self.oc - oc0);
            for ic in 0..self.ic {
                let from = g * self.group_stride + oc0 * self.oc_stride + ic * self.ic_stride;
                for (tap, lane) in (0..taps).flat_map(|tap| (0..self.lanes).map(move |lane| (tap, lane))) {
                    let weight = if lane < used {
                        plain[from + lane * self.oc_stride + tap * self.tap_stride]
                    } else {
                        T::default()
                    };
                    windows[0][tap * self.lanes + lane] = weight.to_f64();
                }
                winograd::transform_windows(matrix, self.window, self.lanes, &mut windows);
                for (tap, line) in windows[0].chunks_exact(self.lanes).enumerate() {
                    let at = (tap * self.ic + ic) * self.lanes;
                    to[at..at + self.lanes].iter_mut().zip(line).for_each(|(slot, &x)| *slot = T::from_f64(x));
                }
            }
        }
    }

    /// The tables of roots, then the transformed filters.
    fn pack_filters<T: Element>(&self, fft: FftPacking, plain: &[T], packed: &mut [T]) {
        fft.pack_twiddles(|i, value| packed[i] = T::from_f64(value));
        let [_, kh, kw] = self.window;
        let place = |tap: usize| tap / kw * fft.taps[0] + tap % kw * fft.taps[1];
        let (bin, mut filters) = (fft.bin(), fft.plan());
        let mut taps = vec![0.0; place((kh * kw).saturating_sub(1)) + 1];
        for oc in 0..self.groups * self.oc {
            for ic in 0..self.ic {
                let from = oc / self.oc * self.group_stride + oc % self.oc * self.oc_stride + ic * self.ic_stride;
                (0..self.taps).for_each(|tap| taps[place(tap)] = plain[from + tap * self.tap_stride].to_f64());
                let to = fft.twiddles() + oc * fft.filters(self.ic) + ic * bin;
                filters.transform(&taps, |row, at, value| packed[to + row * self.ic * bin + at] = T::from_f64(value));
            }
        }
    }

    /// `OIhw16o`, as oneDNN writes such layouts; of transformed filters, how they are.
    pub fn name(&self, dtype: DType) -> String {
        if let Some(FftPacking { lanes, rows, .. }) = self.fft {
            return format!("transforms of {lanes} phases of {rows} elements");
        }
        format!("OIhw{}o", PANEL_BYTES / dtype.bytes())
    }
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
