//! Why a kernel was not compiled, or not run.

use convoke_core::ir::Role;

/// What compiling or running a kernel can fail with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JitError {
    /// The kernel is for other registers or another processor than this backend can encode here.
    #[error("kernel {kernel} is for {isa}, and this backend encodes only {accepted} here")]
    Isa {
        /// Name of the kernel.
        kernel: String,
        /// What it is for.
        isa: &'static str,
        /// What could be compiled, by name.
        accepted: &'static str,
    },
    /// The processor lacks what the code would need.
    #[error("kernel {kernel} needs the CPU feature {feature}, which this CPU does not have")]
    Feature {
        /// Name of the kernel.
        kernel: String,
        /// The first that is missing.
        feature: &'static str,
    },
    /// More machine code than a program may have.
    #[error("kernel {kernel} takes {bytes} bytes of code, and the limit is {limit}")]
    CodeSize {
        /// Name of the kernel.
        kernel: String,
        /// Bytes it needs.
        bytes: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// A constant of the kernel does not fit the address arithmetic of the machine.
    #[error("in {function}, {elements} elements of {element_bytes} bytes do not fit a 64-bit address")]
    Offset {
        /// Tile or nest.
        function: String,
        /// A distance or factor, in elements.
        elements: i64,
        /// Bytes an element.
        element_bytes: usize,
    },
    /// Cranelift refused the function.
    #[error("Cranelift refused {function}: {reason}")]
    Codegen {
        /// Tile or nest.
        function: String,
        /// What Cranelift says.
        reason: String,
    },
    /// The system gave no executable memory.
    #[error("no executable memory for the {bytes} bytes of kernel {kernel}: {reason}")]
    Memory {
        /// Name of the kernel.
        kernel: String,
        /// Bytes asked for.
        bytes: usize,
        /// What the system says.
        reason: String,
    },
    /// The data are not of the kernel's type.
    #[error("kernel {kernel} computes in {expected}, and the data are {given}")]
    DType {
        /// Name of the kernel.
        kernel: String,
        /// The kernel's element type.
        expected: &'static str,
        /// The data's.
        given: &'static str,
    },
    /// A buffer is not as long as the kernel and the batch size say.
    #[error("{} has {given} elements, and the kernel needs {expected} at batch size {batch}", role.name())]
    Length {
        /// Which buffer.
        role: Role,
        /// Elements it should have; the least for scratch.
        expected: i128,
        /// Elements it has.
        given: usize,
        /// Batch size of the call.
        batch: usize,
    },
    /// There is not a local buffer for each thread.
    #[error("local has {given} elements, and the kernel needs {expected} on {threads} threads")]
    Local {
        /// The least it should have.
        expected: i128,
        /// Elements it has.
        given: usize,
        /// Threads of the executor.
        threads: usize,
    },
}
