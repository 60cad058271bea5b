//! Convoke's run-time backend: a verified kernel to executable memory.
//!
//! In comes a [`Verified`](convoke_core::ir::Verified) kernel, out goes a [`Program`]: native code that owns its memory.
//! Every tile becomes a function of its own, every nest an entry point that calls tiles with pointers and ranges;
//! [`clif`] makes the bytes, with `x86` for the tiles of AVX2 and AVX-512, and `exec` places them. Kernels for other
//! processors than this one are refused.
//!
//! Verification proves that a kernel stays inside its buffers; [`Program::run`] checks that the buffers are as long as
//! the kernel says. Together they make running generated code safe.

pub mod clif;
mod error;
mod exec;
#[cfg(test)]
mod handmade;
mod program;
mod target;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use convoke_core::eval::Element;
pub use convoke_core::eval::interp::Buffers;
pub use error::JitError;
pub use program::{Executor, Program, Serial};
pub use target::{native_target, why_not_runnable, with_native_caches};
