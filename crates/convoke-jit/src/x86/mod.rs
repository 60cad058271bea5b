//! Tiles of 256 and 512 bits, which Cranelift has no registers for.
//!
//! | module | what |
//! |---|---|
//! | `isa` | which instruction does what |
//! | `frame` | general registers: pointers, ranges, counters |
//! | `tile` | loops and operations |
//! | `access` | loads and stores of any lanes |
//! | `narrow` | the same for integers of 8 bits; what is done with integers |
//! | `assembler` | instructions to bytes |
//! | `text` | bytes to assembly |

mod access;
mod assembler;
mod frame;
mod halves;
mod isa;
mod narrow;
mod scatter;
mod text;
mod tile;

use convoke_core::ir::{Kernel, Tile};

pub(crate) use text::text;

use crate::error::JitError;

/// The machine code of `tile`, constants behind it; it refers to nothing outside.
pub(crate) fn encode(kernel: &Kernel, tile: &Tile) -> Result<Vec<u8>, JitError> {
    Ok(tile::assemble(kernel, tile, false)?.bytes)
}

#[cfg(test)]
mod tests;
