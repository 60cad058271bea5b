//! The Rust backend as a program: emitted once for all kernels of a command, compiled by `rustc`, run on files.

use crate::compute::{Output, Tensors};
use crate::failure::Failure;
use crate::interrupt::Unfinished;
use convoke::Float;
use convoke_core::back::rust::{self, Intrinsics};
use convoke_core::eval::{from_bytes, to_bytes};
use convoke_core::ir::{Role, Verified};
use convoke_core::spec::LayerSpec;
use std::path::PathBuf;
use std::process::{self, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A compiled program; its files are deleted with it.
#[derive(Debug)]
pub(crate) struct Program {
    /// Until the folder is gone, an interrupt removes it.
    _unfinished: Unfinished,
    folder: TempDir,
    binary: PathBuf,
    /// How long `rustc` took.
    pub(crate) compiled: Duration,
}

impl Program {
    /// Emits and compiles `kernels`; a kernel is called by its position here.
    pub(crate) fn compile(kernels: &[&Verified]) -> Result<Self, Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::Input(format!("the Rust backend: {e}"));
        let tokens = rust::standalone(kernels, &Intrinsics::Core).map_err(|e| failed(&e))?;
        let folder = tempfile::Builder::new().prefix("convoke-").tempdir().map_err(|e| failed(&e))?;
        let unfinished = Unfinished::new(folder.path());
        let (source, binary) = (folder.path().join("kernels.rs"), folder.path().join("kernels"));
        std::fs::write(&source, tokens.to_string()).map_err(|e| failed(&e))?;
        let start = Instant::now();
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition", "2024", "-C", "opt-level=3", "-o"]).arg(&binary).arg(&source);
        let output = rustc.output().map_err(|e| failed(&format!("rustc could not be run: {e}")))?;
        if !output.status.success() {
            return Err(failed(&format!("rustc refused the emitted source:\n{}", text(&output))));
        }
        Ok(Self { binary, compiled: start.elapsed(), folder, _unfinished: unfinished })
    }

    /// Writes what a kernel reads to files; `weights` are packed.
    pub(crate) fn prepare<T: Float>(&self, tensors: &Tensors<T>, weights: &[T::Lane]) -> Result<(), String> {
        self.write(Role::Residual, &to_bytes(&tensors.residual))?;
        self.write(Role::Offset, &to_bytes(&tensors.offset))?;
        self.write(Role::Mask, &to_bytes(&tensors.mask))?;
        self.write(Role::Positions, &to_bytes(&tensors.indices))?;
        let bias: Vec<T::Lane> = tensors.bias.iter().map(|x| x.to_lane()).collect();
        self.prepare_bytes(&to_bytes(&tensors.src), &to_bytes(weights), &to_bytes(&bias))
    }

    /// The same, with the machine's bytes of what each buffer holds.
    pub(crate) fn prepare_bytes(&self, src: &[u8], weights: &[u8], bias: &[u8]) -> Result<(), String> {
        self.write(Role::Src, src)?;
        self.write(Role::Weights, weights)?;
        self.write(Role::Bias, bias)
    }

    fn write(&self, role: Role, data: &[u8]) -> Result<(), String> {
        std::fs::write(self.folder.path().join(role.name()), data).map_err(|e| e.to_string())
    }

    /// Runs kernel `index` on the files and reads its output.
    pub(crate) fn run<T: Float>(&self, spec: &LayerSpec, index: usize, batch: usize) -> Result<Output<T>, String> {
        let Output { dst, indices } = self.run_bytes(spec, index, batch)?;
        Ok(Output { dst: from_bytes(&dst), indices })
    }

    /// The same, as bytes.
    pub(crate) fn run_bytes(&self, spec: &LayerSpec, index: usize, batch: usize) -> Result<Output<u8>, String> {
        self.call(index, batch, 1)?;
        let read = |role: Role| std::fs::read(self.folder.path().join(role.name())).map_err(|e| e.to_string());
        let indices = if spec.return_indices { from_bytes(&read(Role::Indices)?) } else { Vec::new() };
        Ok(Output { dst: read(Role::Dst)?, indices })
    }

    /// Runs kernel `index` that often and gives its time for one run, as the program measures it.
    pub(crate) fn time(&self, index: usize, batch: usize, repeat: u32) -> Result<Duration, String> {
        let output = self.call(index, batch, repeat.max(2))?;
        let nanoseconds = output.trim().parse().map_err(|_| format!("the program printed `{output}`, not a time"))?;
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn call(&self, index: usize, batch: usize, repeat: u32) -> Result<String, String> {
        let mut command = Command::new(&self.binary);
        command.args([index.to_string(), batch.to_string()]).arg(self.folder.path()).arg(repeat.to_string());
        let output = command.output().map_err(|e| format!("the compiled program could not be run: {e}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("the compiled program ended with {}: {}", output.status, text(&output).trim()))
    }
}

/// What a program had to say, the beginning of it.
fn text(output: &process::Output) -> String {
    const MOST: usize = 4_000;
    String::from_utf8_lossy(&output.stderr).chars().take(MOST).collect()
}
