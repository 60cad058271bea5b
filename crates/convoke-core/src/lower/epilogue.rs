//! What stands between a sum and its store: the steps of `then`, one after the other.
//!
//! Steps that take a number for each channel find it in `bias`, in a row of one an output channel for each such step, in order,
//! behind that of the bias itself. The residual is read as `dst` is written. A softmax has nests of its own ([`softmax`](super::softmax)).

use super::activation;
use super::emit::Emitter;
use crate::ir::{Address, Affine, Arg, Ptr, Reg, Role};
use crate::spec::LayerSpec;

/// The pointers that a tile's epilogue takes, behind the tile's own, each with its name.
pub(crate) fn pointers(spec: &LayerSpec) -> Vec<&'static str> {
    let bias = (spec.bias_len() > 0).then_some("bias");
    bias.into_iter().chain(spec.has_residual().then_some("residual")).collect()
}

/// Which pointer the residual is, in a tile whose epilogue's first is `bias`.
pub(crate) fn residual(spec: &LayerSpec, bias: Ptr) -> Ptr {
    Ptr(bias.0 + u32::from(spec.bias_len() > 0))
}

/// What a call passes for [`pointers`]: where in `bias` the first channel is, and where in `dst` the first output.
pub(crate) fn arguments(spec: &LayerSpec, channel: Affine, dst: Affine) -> Vec<Arg> {
    let bias = (spec.bias_len() > 0).then_some(Arg { role: Role::Bias, offset: channel });
    bias.into_iter().chain(spec.has_residual().then_some(Arg { role: Role::Residual, offset: dst })).collect()
}

/// The outputs that a register holds.
#[derive(Clone, Copy)]
pub(crate) struct Outputs {
    /// Where in `bias` the number of the first output's channel is, in the first row.
    pub channel: Address,
    /// How many channels there are, one after the other; `None` if all outputs are of one.
    pub channels: Option<usize>,
    /// Where in `residual` the first output is; the others are where they are in `dst`.
    pub residual: Address,
    /// How many outputs.
    pub lanes: usize,
    /// Their distance in `dst`.
    pub lane_step: i64,
}

/// Replaces `x` by what `then` makes of it; registers from `free` on are its own.
pub(crate) fn emit(e: &mut Emitter, spec: &LayerSpec, x: Reg, free: Reg, outputs: Outputs) {
    let mut row = usize::from(spec.bias);
    for &step in spec.then.iter().filter(|step| step.is_elementwise()) {
        if step.is_per_channel() {
            let offset = outputs.channel.offset + (row * spec.out_channels) as i64;
            let at = Address { offset, ..outputs.channel };
            match outputs.channels {
                Some(channels) => e.load(free, at, channels, 1),
                None => e.broadcast(free, at),
            }
            row += 1;
        }
        if step.takes_tensor() {
            e.load(free, outputs.residual, outputs.lanes, outputs.lane_step);
        }
        activation::emit(e, step, x, free);
    }
}
