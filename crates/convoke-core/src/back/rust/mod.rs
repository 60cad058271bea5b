//! IR to Rust source.
//!
//! In come verified kernels; out comes a token stream that needs nothing but `core`: a module a version (an instruction
//! set), each with loops as `for`, tiles as `#[target_feature]` functions of `core::arch` intrinsics, and named
//! vectors. [`layer`] puts the versions of one layer behind one checked, typed interface (what `conv!` expands to);
//! [`network_module`] does so with a whole network, whose layers are such modules, and `network_crate` makes a crate of it;
//! [`standalone`] makes a program of any number of kernels that reads and writes raw files (what tests run).
//!
//! Emitted code is proportional to the IR: loops stay loops. It computes exactly what the IR says, so the same bits as
//! the interpreter. It is refused only where Rust has no such instruction without the standard library
//! ([`RustError::PortableFma`]) or where the versions do not belong together.
//!
//! | module | writes |
//! |---|---|
//! | `module` | a layer, all the way from its spec |
//! | `layer`, `dispatch` | the interface: types and `pack`; which version runs |
//! | `integers` | `pack` of a layer of integers |
//! | `network` | a whole network, as a module or as a crate |
//! | `standalone` | a program |
//! | `kernel` | one version |
//! | `nest`, `tile` | functions |
//! | `isa`, `x86`, `neon`, `portable` | what a tile's operations are called |
//! | `live` | which registers are needed where |

mod dispatch;
mod halves;
mod integers;
mod isa;
mod kernel;
mod layer;
mod live;
mod module;
mod names;
mod neon;
mod nest;
mod network;
mod pack;
mod portable;
#[cfg(feature = "pretty")]
mod pretty;
mod standalone;
mod tile;
mod x86;

pub use isa::Intrinsics;
pub use layer::{Detection, Layer, ScratchFrom, Version, layer};
pub use module::{TARGETS, module, suited};
pub use network::{Budget, CrateError, NetworkModule, network_module};
#[cfg(feature = "pretty")]
pub use network::{Crate, Example, network_crate};
#[cfg(feature = "pretty")]
pub use pretty::to_source;
pub use standalone::standalone;

use thiserror::Error;

/// Why kernels have no Rust source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RustError {
    /// Plain Rust without the standard library has no multiply-add that rounds once.
    #[error("kernel `{kernel}` fuses multiply and add, which portable code cannot without the standard library")]
    PortableFma {
        /// The kernel's name.
        kernel: String,
    },
    /// A layer without a version that every CPU runs.
    #[error("layer `{layer}` has no portable kernel")]
    NoPortable {
        /// The layer's name.
        layer: String,
    },
    /// Two versions of a layer are for the same instruction set.
    #[error("layer `{layer}` has two kernels for {version}")]
    SameVersion {
        /// The layer's name.
        layer: String,
        /// Of both.
        version: &'static str,
    },
    /// The versions of a layer read weights in different orders.
    #[error("layer `{layer}` has kernels that need weights packed in different ways")]
    Packings {
        /// The layer's name.
        layer: String,
    },
    /// Scratch that grows with the batch cannot lie on the stack.
    #[error("kernel `{kernel}` needs scratch that grows with the batch, which the stack cannot give")]
    StackScratch {
        /// The kernel's name.
        kernel: String,
    },
    /// A kernel's buffer is not what the layer's types say.
    #[error("kernel `{kernel}` has {found} elements of `{role}`, its layer has {expected}")]
    Length {
        /// The kernel's name.
        kernel: String,
        /// Which buffer.
        role: &'static str,
        /// What the layer needs.
        expected: i64,
        /// What the kernel says.
        found: i64,
    },
}
