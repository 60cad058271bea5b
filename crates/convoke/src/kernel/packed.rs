//! What a layer takes besides tensors, as its kernels read it.

use std::marker::PhantomData;

use convoke_core::eval::{Float, Stored};
use convoke_core::lower::weights::WeightsPacking;

use super::Kernel;
use crate::error::Error;
use crate::memory::Memory;
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
