//! The memory that a kernel runs on.

use crate::ir::Role;

/// The memory of one run, in elements. What a kernel does not list may be empty.
#[derive(Debug, Default)]
pub struct Buffers<'a, T> {
    /// The input, `n` images.
    pub src: &'a [T],
    /// The packed weights.
    pub weights: &'a [T],
    /// One element an output channel, and as many for each step of the epilogue that takes them.
    pub bias: &'a [T],
    /// What is added to the output, `n` images.
    pub residual: &'a [T],
    /// How far taps are moved, `n` images.
    pub offset: &'a [T],
    /// The factors of taps, `n` images.
    pub mask: &'a [T],
    /// Where each element of the input goes, `n` images.
    pub positions: &'a [T],
    /// The output, `n` images.
    pub dst: &'a mut [T],
    /// Where each element of the output is in the input, `n` images.
    pub indices: &'a mut [T],
    /// Space between nests.
    pub scratch: &'a mut [T],
    /// Space of one iteration of an outermost loop.
    pub local: &'a mut [T],
}

impl<T> Buffers<'_, T> {
    /// The memory of `role`.
    pub fn get(&self, role: Role) -> &[T] {
        match role {
            Role::Src => self.src,
            Role::Weights => self.weights,
            Role::Bias => self.bias,
            Role::Residual => self.residual,
            Role::Offset => self.offset,
            Role::Mask => self.mask,
            Role::Positions => self.positions,
            Role::Dst => self.dst,
            Role::Indices => self.indices,
            Role::Scratch => self.scratch,
            Role::Local => self.local,
        }
    }

    pub(super) fn get_mut(&mut self, role: Role) -> Option<&mut [T]> {
        match role {
            Role::Src | Role::Weights | Role::Bias | Role::Residual | Role::Offset | Role::Mask | Role::Positions => {
                None
            }
            Role::Dst => Some(self.dst),
            Role::Indices => Some(self.indices),
            Role::Scratch => Some(self.scratch),
            Role::Local => Some(self.local),
        }
    }
}
