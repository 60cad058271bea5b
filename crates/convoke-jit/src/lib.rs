//! Convoke's run-time backend: a verified kernel to executable memory, through Cranelift.
//!
//! In comes a [`Verified`](convoke_core::ir::Verified) kernel, out goes a [`Program`]: native code that owns its memory.
//! Every tile becomes a function of its own, every nest an entry point that calls tiles with pointers and ranges;
//! [`clif`] makes the bytes and `exec` places them. Tiles are 128 bits wide; kernels for wider registers, and for other
//! processors than this one, are refused.
//!
//! Verification proves that a kernel stays inside its buffers; [`Program::run`] checks that the buffers are as long as
//! the kernel says. Together they make running generated code safe.

pub mod clif;
mod error;
mod exec;
mod program;
mod target;

pub use convoke_core::eval::Element;
pub use convoke_core::eval::interp::Buffers;
pub use error::JitError;
pub use program::{Executor, Program, Serial};
pub use target::{host_target, native_target};
