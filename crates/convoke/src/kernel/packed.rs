//! What a layer takes besides tensors, as its kernels read it, and how it is packed so.

use std::marker::PhantomData;

use convoke_core::eval::{Float, Stored};
use convoke_core::lower::weights::{IntegerParameters, WeightsPacking};
use convoke_core::spec::{Epilogue, PerChannel, Storage};

use super::Kernel;
use crate::error::Error;
use crate::memory::{Memory, as_bytes};
use crate::wide;

/// Weights and bias in the order in which the kernels of a layer read them, whose user has them as `T`; of a layer of integers, that is
/// `i32`. They are lanes of the kernels: of [`F16`](crate::F16) and [`Bf16`](crate::Bf16) `f32`.
#[derive(Clone, Debug)]
pub struct Packed<T> {
    pub(super) layer: String,
    pub(super) packing: WeightsPacking,
    pub(super) weights: Memory,
    /// Bytes of the weights.
    pub(super) len: usize,
    pub(super) bias: Vec<u8>,
    pub(super) of: PhantomData<T>,
}

impl<T> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        let parts = |p: &Self| (p.packing, p.layer.clone());
        parts(self) == parts(other) && self.weights() == other.weights() && self.bias == other.bias
    }
}

impl<T> Packed<T> {
    /// The packed weights, as lanes.
    pub(super) fn lanes_mut<L: Stored>(&mut self) -> Option<&mut [L]> {
        let lines = self.len.div_ceil(Memory::per_line::<u8>());
        self.weights.split::<L>(lines)?.0.get_mut(..self.len / size_of::<L>())
    }

    /// The bytes of the packed weights, in the machine's order; see [`WeightsPacking`].
    pub fn weights(&self) -> &[u8] {
        &self.weights.elements()[..self.len]
    }

    /// The bytes of the bias, one lane an output channel, and as many for each step of the epilogue that takes them; empty without. Of a
    /// layer of integers what is added to the sums, and then the factors that they are multiplied by, if there are any.
    pub fn bias(&self) -> &[u8] {
        &self.bias
    }
}

impl Kernel {
    /// Packs weights, in the layer's weights layout, and the bias, one element an output channel.
    ///
    /// # Errors
    /// If a length or the element type is not the layer's, there is a bias where none belongs or the other way round, or there is no
    /// memory for the packed weights.
    pub fn pack<T: Float>(&self, weights: &[T], bias: Option<&[T]>) -> Result<Packed<T>, Error> {
        self.pack_with(weights, bias, &[])
    }

    /// As [`Kernel::pack`], for a layer whose epilogue has steps that take a number for each output channel: `scale`, `shift` and `prelu`.
    /// `channels` are the numbers of each of them, in the order of the steps.
    ///
    /// ```
    /// # use convoke::compile;
    /// let spec = "conv1d normalized { input: f32[1, 1, 4], out_channels: 2, kernel_size: 2, then: [scale, shift, relu] }";
    /// let kernel = compile(&spec.parse()?)?;
    /// let packed = kernel.pack_with(&[1.0f32; 4], None, &[&[2.0, -1.0], &[0.5, 0.0]])?;
    /// let mut dst = [0.0f32; 6];
    /// kernel.run(&packed, &[1.0, 2.0, 3.0, -9.0], &mut dst)?;
    /// assert_eq!(dst, [6.5, 10.5, 0.0, 0.0, 0.0, 6.0]);
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Kernel::pack`], and if there are more arrays or fewer than such steps.
    pub fn pack_with<T: Float>(
        &self,
        weights: &[T],
        bias: Option<&[T]>,
        channels: &[&[T]],
    ) -> Result<Packed<T>, Error> {
        self.pack_in(&mut Memory::default(), weights, bias, channels)
    }

    /// As [`Kernel::pack_with`], in lines that it takes from `room` if there are enough.
    pub(crate) fn pack_in<T: Float>(
        &self,
        room: &mut Memory,
        weights: &[T],
        bias: Option<&[T]>,
        channels: &[&[T]],
    ) -> Result<Packed<T>, Error> {
        self.check_dtype::<T>()?;
        self.check_len("weights", self.packing.plain_len(), weights.len(), None)?;
        let expected = if self.spec.bias { self.spec.out_channels } else { 0 };
        match bias {
            Some(bias) if self.spec.bias => self.check_len("bias", expected, bias.len(), None)?,
            None if !self.spec.bias => {}
            _ => {
                let given = bias.map_or(0, <[T]>::len);
                return Err(Error::Bias { layer: self.spec.name.clone(), expected, given });
            }
        }
        let steps: Vec<&'static str> = self.spec.channel_steps().map(Epilogue::name).collect();
        if steps.len() != channels.len() {
            return Err(Error::Channels { layer: self.spec.name.clone(), steps, given: channels.len() });
        }
        for (step, numbers) in steps.into_iter().zip(channels) {
            self.check_len(step, self.spec.out_channels, numbers.len(), None)?;
        }
        let rows = [bias.unwrap_or_default()].into_iter().chain(channels.iter().copied());
        let rows: Vec<T::Lane> = rows.flatten().map(|x| x.to_lane()).collect();
        self.packed(room, &rows, |packed| wide::pack(&self.packing, weights, packed))
    }

    /// Packs the parameters of a layer of integers. The weights are of the layer's type, or `i32` of values that it holds.
    ///
    /// ```
    /// # use convoke::{IntegerParameters, compile};
    /// let spec = "conv1d sums { input: u8[1, 1, 4], input_zero_point: 128, out_channels: 1, kernel_size: 2 }";
    /// let kernel = compile(&spec.parse()?)?;
    /// let packed = kernel.pack_integers(&IntegerParameters { weights: &[1i8, -2], bias: &[], zero_points: &[], scales: &[] })?;
    /// let mut dst = [0i32; 3];
    /// kernel.run_integers(&packed, &[128u8, 255, 0, 129], &mut dst)?;
    /// assert_eq!(dst, [-254, 127 + 256, -128 - 2]);
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a length or the type of the weights is not the layer's, a weight or zero point is not of the layer's type, a scale is not above 0 or too large, or
    /// there is no memory for the packed weights.
    pub fn pack_integers<W: Stored>(&self, parameters: &IntegerParameters<'_, W>) -> Result<Packed<i32>, Error> {
        let Some(integers) = &self.spec.integers else {
            return Err(self.wrong_type("weights", Storage::F32, W::STORAGE));
        };
        if W::STORAGE != Storage::I32 {
            self.check_storage::<W>("weights", integers.weights)?;
        }
        if let Some((what, expected, given)) = parameters.wrong_length(&self.spec) {
            self.check_len(what, expected, given, None)?;
        }
        let (least, most) = integers.weights.range();
        let bad_point = parameters.zero_points.iter().find(|point| !(least..=most).contains(*point));
        let factor = |scale: f32| match &integers.output {
            Some(output) if output.weights_scale == PerChannel::Each => {
                output.src_scale as f32 * scale / output.dst_scale as f32
            }
            _ => 1.0,
        };
        let bad_scale = parameters.scales.iter().find(|scale| !(**scale > 0.0 && factor(**scale).is_finite()));
        let fits = |weight: &W| (f64::from(least)..=f64::from(most)).contains(&weight.to_number());
        let bad_weight = parameters.weights.iter().find(|weight| !fits(weight));
        if let Some(distance) = parameters.beyond_reduced(&self.spec, &self.packing) {
            return Err(Error::ReducedRange { layer: self.spec.name.clone(), distance });
        }
        let bad = bad_point.map(|point| ("zero point", f64::from(*point)));
        let bad = bad.or(bad_scale.map(|scale| ("scale", f64::from(*scale))));
        if let Some((what, value)) = bad.or(bad_weight.map(|weight| ("element", weight.to_number()))) {
            return Err(Error::Parameter { layer: self.spec.name.clone(), what, value });
        }
        let (weights, bias) = parameters.pack(&self.spec, &self.packing);
        self.packed(&mut Memory::default(), &bias, |packed| packed.copy_from_slice(&weights))
    }

    /// Lines of memory that packed weights take.
    pub(crate) fn packed_lines(&self) -> usize {
        self.packing.packed_len().div_ceil(Memory::per_line::<u8>() / self.spec.dtype.bytes())
    }

    /// Memory for the packed weights, which `fill` writes: lines of `room`, or others.
    fn packed<T, L: Stored>(
        &self,
        room: &mut Memory,
        bias: &[L],
        fill: impl FnOnce(&mut [L]),
    ) -> Result<Packed<T>, Error> {
        let (elements, lines) = (self.packing.packed_len(), self.packed_lines());
        let refused = || Error::Weights { layer: self.spec.name.clone(), elements };
        let mut weights = room.take(lines).or_else(|| Memory::zeros(lines)).ok_or_else(refused)?;
        let packed = weights.split::<L>(lines).and_then(|(all, _)| all.get_mut(..elements)).ok_or_else(refused)?;
        fill(packed);
        let (len, bias) = (size_of_val(packed), as_bytes(bias).to_vec());
        Ok(Packed { layer: self.spec.name.clone(), packing: self.packing, weights, len, bias, of: PhantomData })
    }

    /// As [`Kernel::pack_with`] of weights alone, in the memory of what has been packed for this kernel before, if there is such.
    pub(crate) fn pack_again<'p, T: Float>(
        &self,
        weights: &[T],
        packed: &'p mut Option<Packed<T>>,
    ) -> Result<&'p Packed<T>, Error> {
        if let Some(again) = packed {
            self.check_len("weights", self.packing.plain_len(), weights.len(), None)?;
            if let Some(room) = again.lanes_mut::<T::Lane>() {
                wide::pack(&self.packing, weights, room);
            }
        } else {
            *packed = Some(self.pack_with(weights, None, &[])?);
        }
        packed.as_ref().ok_or_else(|| Error::Weights { layer: self.spec.name.clone(), elements: 0 })
    }
}
