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
//! Behind the panels of a deformable layer stand the positions of its taps without offsets.
//! Depthwise weights are panels over all groups, `[panel][kd][kh][kw][lane]`; where an input channel has several outputs, these
//! stand side by side. Pooling has none; where maxima have positions as an output, tables of those stand in their place.

pub use super::fft::FftPacking;
use super::{Geometry, fft, phases, positions, winograd};
use crate::eval::{Element, Float, Stored};
use crate::plan::Plan;
use crate::spec::{
    Algorithm, BLOCK_BYTES, DType, Integers, LayerSpec, Operation, PARTS, PerChannel, REDUCED, SpatialAxis,
    WeightsLayout,
};

/// Bytes of output channels that a panel holds for one tap of one input channel.
///
/// A panel's channels are those of a block of a blocked `dst`, so that what lies within the one lies within the other.
pub const PANEL_BYTES: usize = BLOCK_BYTES;

/// Input channels that are packed before the next output channel is: as many as a panel of `f32` has lanes.
const SQUARE: usize = 16;

/// Where each packed weight comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightsPacking {
    /// Groups that are packed apart; 1 for depthwise.
    pub groups: usize,
    /// Output channels of each.
    pub oc: usize,
    /// Elements of a window as it is packed: `kd * kh * kw`, or those of the transformed window.
    pub taps: usize,
    /// Lanes that the input channels of each output take: as many as there are, or half for integers; once for each part of a window
    /// (Winograd's algorithm).
    pub ic: usize,
    /// Input channels of each output as the user has them.
    pub plain_ic: usize,
    /// Input channels that a lane holds, as integers of 16 bits or of 8.
    pub per_lane: usize,
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
    /// The axes of a transposed layer, which say in what order its taps are packed. The sizes of its tensors do not, and are left out.
    pub transposed: Option<[SpatialAxis; 3]>,
    /// Outputs of a tile of Winograd's algorithm, for which axes of several taps are transformed.
    pub winograd: Option<usize>,
    /// Parts that taps along each axis fall into for that, by their place modulo the stride; 1 for other algorithms.
    pub parts: [usize; 3],
    /// How filters are transformed for `fft`.
    pub fft: Option<FftPacking>,
    /// Of complex weights, the distances of two groups, output channels, input channels and taps, in complex numbers. Everything else is
    /// said of the weights of real numbers that these stand for.
    pub complex: Option<[usize; 4]>,
    /// The axes of a deformable layer, whose positions without offsets stand behind the weights: for each `kh` those of all `oh`, then for each
    /// `kw` those of all `ow`.
    pub positions: Option<[SpatialAxis; 2]>,
    /// Sizes of the input whose positions are packed, where maxima have them as an output; 0 for all else.
    pub tables: [usize; 3],
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
        // Pooling has no weights, as if no input channel had any.
        let ic = if spec.operation.is_pooling() { 0 } else { spec.ic_per_group() };
        let (taps, oc) = (spec.taps(), spec.out_channels);
        let (window, winograd) = (spec.spatial.map(|a| a.kernel), algorithm.winograd());
        let group_oc = spec.oc_per_group();
        let [mut group_stride, mut oc_stride, ic_stride, tap_stride] =
            strides(spec.weights_layout, spec.groups, group_oc, ic, taps);
        let complex = spec.complex.then(|| {
            // The numbers, of which each stands for some weights of the layer of real ones.
            strides(spec.weights_layout, spec.groups, group_oc / PARTS, ic / PARTS, taps)
        });
        let groups = if algorithm.is_by_channel() { 1 } else { spec.groups };
        if groups < spec.groups {
            // The channels of all groups are as far apart as the groups, or, where these have several, as those of one.
            oc_stride = group_stride / group_oc;
            group_stride = oc * oc_stride;
        }
        let lanes = PANEL_BYTES / spec.dtype.bytes();
        let [parts, part_taps] = match winograd {
            Some(_) => {
                let axes = spec.spatial.map(|a| winograd::parts(a.kernel, a.stride));
                [axes.map(|a| a[0]), axes.map(|a| a[1])]
            }
            None => [[1; 3], window],
        };
        let taps = winograd.map_or(taps, |m| part_taps.iter().map(|&taps| winograd::transformed(taps, m)).product());
        let ic_lanes = if ic == 0 { 0 } else { spec.ic_lanes(algorithm) * parts.iter().product::<usize>() };
        let oc = oc / groups;
        let unsized_axis = |axis: SpatialAxis| SpatialAxis { input: 1, output: 1, pad_hi: 0, ..axis };
        let transposed = (spec.operation == Operation::Transposed).then(|| spec.spatial.map(unsized_axis));
        Self {
            groups,
            oc,
            taps,
            ic: ic_lanes,
            plain_ic: ic,
            per_lane: spec.lane_channels(algorithm),
            lanes,
            group_stride,
            oc_stride,
            ic_stride,
            tap_stride,
            window,
            transposed,
            winograd,
            parts,
            fft: None,
            complex,
            positions: spec.is_deformable().then(|| [spec.spatial[1], spec.spatial[2]]),
            tables: if spec.return_indices { spec.spatial.map(|a| a.input) } else { [0; 3] },
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
        if self.tables != [0; 3] {
            return positions::table_starts(self.tables)[3];
        }
        self.panels_len() + self.positions.iter().flatten().map(|a| a.kernel * a.output).sum::<usize>()
    }

    /// Elements of all panels.
    fn panels_len(&self) -> usize {
        self.groups * self.panels() * self.panel_len()
    }

    /// Where the positions along `h` and along `w` stand.
    pub(crate) fn positions_at(&self) -> [usize; 2] {
        let down = self.panels_len();
        [down, down + self.positions.map_or(0, |[h, _]| h.kernel * h.output)]
    }

    /// The positions, in order.
    fn each_position(&self) -> impl Iterator<Item = f64> {
        let of = |a: SpatialAxis| {
            let at = move |k: usize, o: usize| (o * a.stride + k * a.dilation) as f64 - a.pad_lo as f64;
            (0..a.kernel).flat_map(move |k| (0..a.output).map(move |o| at(k, o)))
        };
        self.positions.into_iter().flatten().flat_map(of)
    }

    /// Elements of the user's weights.
    pub fn plain_len(&self) -> usize {
        self.real_len() / if self.complex.is_some() { PARTS } else { 1 }
    }

    /// Elements of the weights of real numbers.
    fn real_len(&self) -> usize {
        self.groups * self.oc * self.window.iter().product::<usize>() * self.plain_ic
    }

    /// The weights of real numbers that complex ones stand for.
    fn real<T: Float>(&self, complex: &[T], [group, oc_stride, ic_stride, tap_stride]: [usize; 4]) -> Vec<T> {
        let mut real = vec![T::from_number(0.0); self.real_len()];
        let taps: usize = self.window.iter().product();
        for (g, oc) in (0..self.groups).flat_map(|g| (0..self.oc).map(move |oc| (g, oc))) {
            for (ic, tap) in (0..self.plain_ic).flat_map(|ic| (0..taps).map(move |tap| (ic, tap))) {
                let at = g * group + oc / PARTS * oc_stride + ic / PARTS * ic_stride + tap * tap_stride;
                // Both parts of an output have both of the input.
                let from = at * PARTS + (oc + ic) % PARTS;
                let turned = oc % PARTS < ic % PARTS;
                let to = g * self.group_stride + oc * self.oc_stride + ic * self.ic_stride + tap * self.tap_stride;
                real[to] = if turned { T::from_number(-complex[from].to_number()) } else { complex[from] };
            }
        }
        real
    }

    /// Packs `plain` into `packed`, as lanes; the lengths are [`Self::plain_len`] and [`Self::packed_len`].
    ///
    /// It is inlined, for the vectors of who calls it.
    ///
    /// # Panics
    /// If a length is another.
    #[inline(always)]
    pub fn pack<T: Float>(&self, plain: &[T], packed: &mut [T::Lane]) {
        assert_eq!((plain.len(), packed.len()), (self.plain_len(), self.packed_len()));
        if self.tables != [0; 3] {
            let tables = positions::tables(self.tables).into_iter();
            return packed.iter_mut().zip(tables).for_each(|(slot, at)| *slot = T::Lane::from_bits(at as u64));
        }
        let real = self.complex.map(|strides| self.real(plain, strides));
        let plain = real.as_deref().unwrap_or(plain);
        if let Some(fft) = self.fft {
            return self.pack_filters(fft, plain, packed);
        }
        if let Some(m) = self.winograd {
            let taps = self.part_window().into_iter().fold(1, usize::max);
            let matrix = &winograd::transforms(m, taps).kernel;
            return match self.lanes {
                SQUARE => self.pack_transformed::<T, SQUARE>(matrix, plain, packed),
                _ => self.pack_transformed::<T, { SQUARE / 2 }>(matrix, plain, packed),
            };
        }
        let (packed, positions) = packed.split_at_mut(self.panels_len());
        positions.iter_mut().zip(self.each_position()).for_each(|(slot, at)| *slot = T::Lane::from_f64(at));
        let taps = self.taps_in_order();
        let mut panels = packed.chunks_exact_mut(self.panel_len().max(1));
        for (g, panel) in (0..self.groups).flat_map(|g| (0..self.panels()).map(move |panel| (g, panel))) {
            let Some(to) = panels.next() else { return };
            let (oc0, used) = (panel * self.lanes, self.lanes.min(self.oc - panel * self.lanes));
            // A lane after the other, each for some input channels: what the user has side by side is read so, and what is written stays in the cache.
            for first in (0..self.ic).step_by(SQUARE) {
                let some = first..self.ic.min(first + SQUARE);
                let from = g * self.group_stride + oc0 * self.oc_stride + some.start * self.ic_stride;
                if self.ic_stride == 1 && (used, some.len()) == (SQUARE, SQUARE) {
                    for (at, tap) in taps.iter().enumerate() {
                        let (lines, _) = to[(at * self.ic + some.start) * SQUARE..].as_chunks_mut::<SQUARE>();
                        turn(&plain[from + tap * self.tap_stride..], self.oc_stride, lines);
                    }
                    continue;
                }
                for lane in 0..self.lanes {
                    for (at, tap) in taps.iter().enumerate() {
                        let lines = &mut to[(at * self.ic + some.start) * self.lanes..][..some.len() * self.lanes];
                        let lines = lines.chunks_exact_mut(self.lanes);
                        if lane >= used {
                            lines.for_each(|line| line[lane] = T::Lane::default());
                            continue;
                        }
                        let weights = &plain[from + lane * self.oc_stride + tap * self.tap_stride..];
                        lines.enumerate().for_each(|(ic, line)| line[lane] = weights[ic * self.ic_stride].to_lane());
                    }
                }
            }
        }
    }

    /// The tap that stands at each position.
    fn taps_in_order(&self) -> Vec<usize> {
        let order = self.tap_order();
        let [_, kh, kw] = self.window;
        let tap_at = |at: usize| (order[0][at / kw / kh] * kh + order[1][at / kw % kh]) * kw + order[2][at % kw];
        (0..self.taps).map(tap_at).collect()
    }

    /// Packs integers: `weight` gives the weight at a place among the user's weights, of an output channel (of all groups), less what
    /// stands for 0. Two input channels make a lane, as integers of 16 bits, or four as integers of 8; those that are missing are 0.
    ///
    /// # Panics
    /// If `packed` is not of [`Self::packed_len`].
    pub fn pack_integers(&self, weight: impl Fn(usize, usize) -> i32, packed: &mut [i32]) {
        assert_eq!(packed.len(), self.packed_len());
        let taps = self.taps_in_order();
        let mut slots = packed.iter_mut();
        for (g, panel) in (0..self.groups).flat_map(|g| (0..self.panels()).map(move |panel| (g, panel))) {
            for (tap, lane) in taps.iter().flat_map(|tap| (0..self.ic).map(move |lane| (tap, lane))) {
                for (oc, slot) in (panel * self.lanes..(panel + 1) * self.lanes).zip(&mut slots) {
                    let weight = |ic: usize| {
                        let at = g * self.group_stride + oc * self.oc_stride + tap * self.tap_stride;
                        let there = oc < self.oc && ic < self.plain_ic;
                        if there { weight(at + ic * self.ic_stride, g * self.oc + oc) } else { 0 }
                    };
                    let bits = 32 / self.per_lane;
                    let part = |i: usize| {
                        (weight(self.per_lane * lane + i) as u32) << (32 - bits) >> (32 - bits) << (bits * i)
                    };
                    *slot = (0..self.per_lane).fold(0, |all, i| all | part(i)) as i32;
                }
            }
        }
    }

    /// The sum of all weights of each output channel, which `weight` gives as for [`Self::pack_integers`].
    pub fn sums(&self, weight: impl Fn(usize, usize) -> i32) -> Vec<i32> {
        let mut sums = vec![0_i32; self.groups * self.oc];
        self.each(|at, channel| sums[channel] = sums[channel].wrapping_add(weight(at, channel)));
        sums
    }

    /// Calls `f` with the place of each of the user's weights and its output channel, of all groups.
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        for channel in 0..self.groups * self.oc {
            let at = channel / self.oc * self.group_stride + channel % self.oc * self.oc_stride;
            for (tap, ic) in (0..self.taps).flat_map(|tap| (0..self.plain_ic).map(move |ic| (tap, ic))) {
                f(at + tap * self.tap_stride + ic * self.ic_stride, channel);
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

    /// Taps of a part of the window along `d`, `h`, `w`.
    pub fn part_window(&self) -> [usize; 3] {
        [0, 1, 2].map(|a| self.window[a].div_ceil(self.parts[a]))
    }

    /// Which tap of the window tap `tap` of part `part` is; `None` where the part has one less, which is zero.
    pub fn tap_of_part(&self, part: usize, tap: usize) -> Option<usize> {
        let place = |i: usize, [_, h, w]: [usize; 3]| [i / w / h, i / w % h, i % w];
        let (part, tap) = (place(part, self.parts), place(tap, self.part_window()));
        let at = [0, 1, 2].map(|a| tap[a] * self.parts[a] + part[a]);
        let [_, h, w] = self.window;
        (0..3).all(|a| at[a] < self.window[a]).then(|| (at[0] * h + at[1]) * w + at[2])
    }

    /// The windows of a panel's channels side by side, so that each line of the packed weights is written at once.
    #[inline(always)]
    fn pack_transformed<T: Float, const LANES: usize>(&self, matrix: &[Vec<f64>], plain: &[T], packed: &mut [T::Lane]) {
        assert_eq!(self.lanes, LANES);
        let window = self.part_window();
        let taps: usize = window.iter().product();
        // Where the taps of each part are, from the first of its window on.
        let sources: Vec<Option<usize>> = (0..self.ic / self.plain_ic.max(1))
            .flat_map(|part| (0..taps).map(move |tap| Some(self.tap_of_part(part, tap)? * self.tap_stride)))
            .collect();
        let side_by_side = self.parts == [1; 3] && self.tap_stride == 1;
        let mut windows = [vec![[0.0; LANES]; self.taps], vec![[0.0; LANES]; self.taps]];
        let (packed, _) = packed.as_chunks_mut::<LANES>();
        let mut panels = packed.chunks_exact_mut(self.taps * self.ic);
        for (g, panel) in (0..self.groups).flat_map(|g| (0..self.panels()).map(move |panel| (g, panel))) {
            let Some(to) = panels.next() else { return };
            let oc0 = panel * LANES;
            let used = LANES.min(self.oc - oc0);
            for ic in 0..self.ic {
                let (part, channel) = (ic / self.plain_ic, ic % self.plain_ic);
                let from = g * self.group_stride + oc0 * self.oc_stride + channel * self.ic_stride;
                let sources = &sources[part * taps..][..taps];
                windows[0][..taps].fill([0.0; LANES]);
                for lane in 0..used {
                    let weights = &plain[from + lane * self.oc_stride..];
                    let lines = windows[0].iter_mut();
                    if side_by_side {
                        lines.zip(&weights[..taps]).for_each(|(line, weight)| line[lane] = weight.to_number());
                        continue;
                    }
                    for (line, source) in lines.zip(sources) {
                        line[lane] = source.map_or(0.0, |source| weights[source].to_number());
                    }
                }
                winograd::transform_windows(matrix, window, &mut windows);
                for (line, slots) in windows[0].iter().zip(to.chunks_exact_mut(self.ic)) {
                    slots[ic] = line.map(T::Lane::from_f64);
                }
            }
        }
    }

    /// The tables of roots, then the transformed filters.
    fn pack_filters<T: Float>(&self, fft: FftPacking, plain: &[T], packed: &mut [T::Lane]) {
        fft.pack_twiddles(|i, value| packed[i] = T::Lane::from_f64(value));
        let [_, kh, kw] = self.window;
        let place = |tap: usize| tap / kw * fft.taps[0] + tap % kw * fft.taps[1];
        let (bin, mut filters) = (fft.bin(), fft.plan());
        let mut taps = vec![0.0; place((kh * kw).saturating_sub(1)) + 1];
        for oc in 0..self.groups * self.oc {
            for ic in 0..self.ic {
                let from = oc / self.oc * self.group_stride + oc % self.oc * self.oc_stride + ic * self.ic_stride;
                (0..self.taps).for_each(|tap| taps[place(tap)] = plain[from + tap * self.tap_stride].to_number());
                let to = fft.twiddles() + oc * fft.filters(self.ic) + ic * bin;
                filters.transform(&taps, |row, at, value| {
                    packed[to + row * self.ic * bin + at] = T::Lane::from_f64(value)
                });
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

/// Packs a square of weights, of which those of each lane lie side by side, and those of the next so far behind.
#[inline(always)]
fn turn<T: Float>(weights: &[T], oc_stride: usize, lines: &mut [[T::Lane; SQUARE]]) {
    let lanes: [&[T; SQUARE]; SQUARE] = std::array::from_fn(|lane| {
        let (of_lane, _) = weights[lane * oc_stride..].as_chunks();
        &of_lane[0]
    });
    for (ic, line) in lines.iter_mut().take(SQUARE).enumerate() {
        *line = lanes.map(|of_lane| of_lane[ic].to_lane());
    }
}

/// The distances in the user's weights of two groups, output channels and input channels of each, and taps.
fn strides(layout: WeightsLayout, groups: usize, oc: usize, ic: usize, taps: usize) -> [usize; 4] {
    match layout {
        WeightsLayout::Oihw => [oc * ic * taps, ic * taps, taps, 1],
        WeightsLayout::Hwio => [oc, 1, groups * oc, ic * groups * oc],
        WeightsLayout::Iohw => [ic * oc * taps, taps, oc * taps, 1],
        WeightsLayout::Hwoi => [ic, groups * ic, 1, oc * groups * ic],
    }
}

/// The parameters of a layer of integers as its user has them.
#[derive(Clone, Copy, Debug)]
pub struct IntegerParameters<'a, W> {
    /// The weights, in the layer's weights layout.
    pub weights: &'a [W],
    /// One element an output channel; empty without.
    pub bias: &'a [i32],
    /// The weights that stand for 0, one an output channel; empty if the layer says it.
    pub zero_points: &'a [i32],
    /// What a step of the weights stands for, one an output channel; empty if the layer says it.
    pub scales: &'a [f32],
}

impl<W: Stored> IntegerParameters<'_, W> {
    /// The first length that is not what `spec` needs: what it is of, what it should be, and what it is.
    pub fn wrong_length(&self, spec: &LayerSpec) -> Option<(&'static str, usize, usize)> {
        let integers = spec.integers.as_ref();
        let each = |is: bool| if is { spec.out_channels } else { 0 };
        let points = integers.is_some_and(|i| i.weights_zero_point == PerChannel::Each);
        let scales = integers.and_then(|i| i.output.as_ref()).is_some_and(|o| o.weights_scale == PerChannel::Each);
        let lengths = [
            ("weights", spec.weights_len(), self.weights.len()),
            ("bias", each(spec.bias), self.bias.len()),
            ("zero points", each(points), self.zero_points.len()),
            ("scales", each(scales), self.scales.len()),
        ];
        lengths.into_iter().find(|(_, expected, found)| expected != found)
    }

    /// A weight less what stands for 0 that a layer of [reduced range](crate::spec::Integers::reduce_range) cannot have.
    ///
    /// # Panics
    /// If a length is [wrong](Self::wrong_length).
    pub fn beyond_reduced(&self, spec: &LayerSpec, packing: &WeightsPacking) -> Option<i32> {
        let integers = spec.integers.as_ref().filter(|integers| integers.reduce_range)?;
        let mut found = None;
        packing.each(|at, channel| {
            let distance = self.weights[at].to_number() as i32 - self.zero_point(integers, channel);
            if !(-REDUCED..REDUCED).contains(&distance) {
                found = Some(distance);
            }
        });
        found
    }

    fn zero_point(&self, integers: &Integers, channel: usize) -> i32 {
        match integers.weights_zero_point {
            PerChannel::One(point) => point,
            PerChannel::Each => self.zero_points[channel],
        }
    }

    /// The buffers `weights` and `bias`, as bits of lanes.
    ///
    /// What the zero points add to a sum, padding included, is the same for every output of a channel: `-src_zero_point` for each
    /// weight (less its own zero point), which is a part of the channel's constant.
    ///
    /// # Panics
    /// If a length is [wrong](Self::wrong_length).
    pub fn pack(&self, spec: &LayerSpec, packing: &WeightsPacking) -> (Vec<i32>, Vec<i32>) {
        assert_eq!(self.wrong_length(spec), None);
        let integers = spec.integers.as_ref().filter(|_| !spec.operation.is_pooling());
        let Some(integers) = integers else { return (positions::tables(packing.tables), Vec::new()) };
        let weight =
            |at: usize, channel: usize| self.weights[at].to_number() as i32 - self.zero_point(integers, channel);
        let mut packed = vec![0; packing.packed_len()];
        packing.pack_integers(weight, &mut packed);
        let sums = packing.sums(weight).into_iter().enumerate();
        let mut bias: Vec<i32> = sums
            .map(|(channel, sum)| {
                let bias = self.bias.get(channel).copied().unwrap_or(0);
                bias.wrapping_sub(sum.wrapping_mul(integers.src_zero_point))
            })
            .collect();
        if let Some(output) = &integers.output {
            let factor = |channel: usize| {
                let weights = match output.weights_scale {
                    PerChannel::One(scale) => scale as f32,
                    PerChannel::Each => self.scales[channel],
                };
                output.src_scale as f32 * weights / output.dst_scale as f32
            };
            bias.extend((0..spec.out_channels).map(|channel| factor(channel).to_bits() as i32));
        }
        (packed, bias)
    }
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
