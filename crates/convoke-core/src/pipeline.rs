//! From a legal layer to a verified kernel: plan, lower, check the size of the code, verify.

use thiserror::Error;

use crate::diagnostic::Diagnostic;
use crate::ir::{self, Affine, Role, TileStmt, Verified, VerifyError};
use crate::lower::lower;
use crate::plan::{self, Plan, PlanError};
use crate::spec::{LayerSpec, Limits};
use crate::target::Target;

/// A layer ready for a backend, with the plan it was lowered by.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// Every performance choice.
    pub plan: Plan,
    /// Loops and tiles.
    pub kernel: Verified,
}

/// Why a legal layer has no kernel.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CompileError {
    /// A pin of the schedule cannot hold.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The tiles would be too long.
    #[error("the layer needs {ops} tile instructions, and the limit is {limit}")]
    TooMuchCode {
        /// Instructions of all tiles.
        ops: usize,
        /// [`Limits::code_ops`].
        limit: usize,
    },
    /// The packed input, or what one thread has for itself, would be too large.
    #[error("the layer needs {bytes} bytes of scratch, and the limit is {limit}")]
    TooMuchScratch {
        /// Bytes of scratch, for a named batch of one image, and of one local buffer.
        bytes: u64,
        /// [`Limits::tensor_bytes`].
        limit: u64,
    },
    /// A defect of the lowering: it wrote IR that the verifier refuses.
    #[error("the lowering wrote a kernel that does not verify (a defect of Convoke): {0}")]
    Verify(#[from] VerifyError),
}

impl From<CompileError> for Diagnostic {
    fn from(e: CompileError) -> Self {
        let message = e.to_string();
        let help = match e {
            CompileError::Plan(e) => return e.into(),
            CompileError::TooMuchCode { .. } => "pin a smaller `tile` or `unroll`, or raise the limit",
            CompileError::TooMuchScratch { .. } => "pin `pack_input: none`, or raise the limit",
            CompileError::Verify(_) => "please report this layer",
        };
        Self { message, labels: Vec::new(), help: Some(help.to_owned()) }
    }
}

/// Compiles `spec` for `target`.
///
/// # Errors
/// If the schedule pins what cannot hold, or the kernel would exceed `limits`.
pub fn compile(spec: &LayerSpec, target: &Target, limits: &Limits) -> Result<Compiled, CompileError> {
    compile_plan(spec, plan::choose(spec, target)?, target, limits)
}

/// Compiles `spec` for `target` as `plan` says, which is one that was chosen for both.
///
/// # Errors
/// If the kernel would exceed `limits`.
pub fn compile_plan(spec: &LayerSpec, plan: Plan, target: &Target, limits: &Limits) -> Result<Compiled, CompileError> {
    let kernel = lower(spec, &plan, target);
    let ops = kernel.tiles.iter().map(|t| count_ops(&t.body)).sum();
    if ops > limits.code_ops {
        return Err(CompileError::TooMuchCode { ops, limit: limits.code_ops });
    }
    let scratch = kernel.buffers.iter().filter(|b| matches!(b.role, Role::Scratch | Role::Local));
    let elements = scratch.map(|b| elements(&b.len)).fold(0, u64::saturating_add);
    let bytes = elements.saturating_mul(spec.dtype.bytes() as u64);
    if bytes > limits.tensor_bytes {
        return Err(CompileError::TooMuchScratch { bytes, limit: limits.tensor_bytes });
    }
    Ok(Compiled { plan, kernel: ir::verify(kernel)? })
}

/// Elements of a buffer, for a named batch of one image.
fn elements(len: &Affine) -> u64 {
    len.eval(&[1]).max(0).unsigned_abs()
}

fn count_ops(body: &[TileStmt]) -> usize {
    let ops = |s: &TileStmt| match s {
        TileStmt::Op(_) => 1,
        TileStmt::Loop(l) => count_ops(&l.body),
    };
    body.iter().map(ops).sum()
}
