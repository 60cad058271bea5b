//! What stands between a sum and its store: the steps of `then`, one after the other.
//!
//! Steps that take a number for each channel find it in `bias`, in a row of one an output channel for each such step, in order,
//! behind that of the bias itself.

use super::activation;
use super::emit::Emitter;
use crate::ir::{Address, Reg};
use crate::spec::LayerSpec;

/// The outputs that a register holds.
#[derive(Clone, Copy)]
pub(crate) struct Outputs {
    /// Where in `bias` the number of the first output's channel is, in the first row.
    pub channel: Address,
    /// How many channels there are, one after the other; `None` if all outputs are of one.
    pub channels: Option<usize>,
}

/// Replaces `x` by what `then` makes of it; registers from `free` on are its own.
pub(crate) fn emit(e: &mut Emitter, spec: &LayerSpec, x: Reg, free: Reg, outputs: Outputs) {
    let mut row = usize::from(spec.bias);
    for &step in &spec.then {
        if step.is_per_channel() {
            let offset = outputs.channel.offset + (row * spec.out_channels) as i64;
            let at = Address { offset, ..outputs.channel };
            match outputs.channels {
                Some(channels) => e.load(free, at, channels, 1),
                None => e.broadcast(free, at),
            }
            row += 1;
        }
        activation::emit(e, step, x, free);
    }
}
