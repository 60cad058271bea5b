//! Compiles emitted programs and compares what they compute with the interpreter.

use convoke_core::back::rust::{Intrinsics, standalone};
use convoke_core::eval::interp::{self, Buffers};
use convoke_core::eval::{Bf16, Element, F16, Stored};
use convoke_core::front;
use convoke_core::ir::{Role, Verified};
use convoke_core::pipeline::compile;
use convoke_core::spec::{Accuracy, DType, LayerSpec, Limits, Storage};
use convoke_core::target::Target;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The batch size of layers that leave it open.
const BATCH: usize = 2;

pub(crate) fn layers(text: &str) -> Vec<LayerSpec> {
    front::layers(text, &Limits::default()).expect("the layers are legal")
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2_and_fma() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn has_avx2_and_fma() -> bool {
    false
}

/// A layer's kernel for one target.
pub(crate) struct Case {
    label: String,
    batch: usize,
    kernel: Verified,
}

impl Case {
    pub(crate) fn new(spec: &LayerSpec, target: &Target) -> Self {
        // As `conv!` does.
        let accuracy = if spec.schedule.algorithm.is_some() { spec.accuracy } else { Accuracy::Exact };
        let spec = &LayerSpec { accuracy, ..spec.clone() };
        let label = format!("{spec}\non {}", target.name());
        let compiled = compile(spec, target, &Limits::default()).unwrap_or_else(|e| panic!("{label}: {e}"));
        Self { label, batch: spec.fixed_batch().unwrap_or(BATCH), kernel: compiled.kernel }
    }

    pub(crate) fn of_kernel(kernel: Verified, batch: usize) -> Self {
        Self { label: format!("{} for {batch} images", kernel.name), batch, kernel }
    }

    /// Runs kernel `index` of `program`, which is this one, on random data.
    #[track_caller]
    pub(crate) fn check(&self, index: usize, program: &Program) {
        if !self.kernel.is_uniform() {
            return self.check_bytes(index, program);
        }
        match self.kernel.dtype {
            DType::F32 => self.check_typed::<f32, 4>(index, program, |x| x as f32, f32::to_ne_bytes),
            DType::F64 => self.check_typed::<f64, 8>(index, program, |x| x, f64::to_ne_bytes),
        }
    }

    /// A kernel whose buffers have types of their own, on any bytes, but for factors that are no numbers.
    #[track_caller]
    fn check_bytes(&self, index: usize, program: &Program) {
        let dir = program.binary.with_extension(format!("case{index}"));
        std::fs::create_dir_all(&dir).expect("a directory for the case");
        let mut random = Random(index as u64 + 1);
        let mut buffer = |role: Role| -> Vec<u8> {
            let buffer = self.kernel.buffers.iter().find(|b| b.role == role);
            let len = buffer.map_or(0, |b| b.len.eval(&[self.batch as i64]) as usize * b.storage.bytes());
            // Beside halves, floats of middling size.
            let is_float = self.kernel.storage(Role::Src).is_half() && matches!(role, Role::Weights | Role::Bias);
            let byte = |at: usize| {
                let byte = ((random.next() + 1.0) * 128.0) as u8;
                match at % 4 {
                    3 if is_float => byte & 0x80 | 0x3f,
                    3 if role == Role::Bias => byte & 0x3f,
                    _ => byte,
                }
            };
            (0..len).map(byte).collect()
        };
        let [src, weights, bias, residual, offset, mask, positions, mut dst, mut indices, mut scratch, mut local] =
            Role::ALL.map(&mut buffer);
        let read = [&src, &weights, &bias, &residual, &offset, &mask, &positions];
        for (role, bytes) in Role::ALL.iter().zip(read) {
            std::fs::write(dir.join(role.name()), bytes).expect("inputs are written");
        }
        program.run(index, self.batch, &dir);
        let found = std::fs::read(dir.join("dst")).expect("the program has written dst");
        let mut buffers = Buffers {
            src: &src,
            weights: &weights,
            bias: &bias,
            residual: &residual,
            offset: &offset,
            mask: &mask,
            positions: &positions,
            dst: &mut dst,
            indices: &mut indices,
            scratch: &mut scratch,
            local: &mut local,
        };
        interp::run_bytes(&self.kernel, self.batch, &mut buffers).expect("the interpreter runs");
        let storage = self.kernel.storage(Role::Dst);
        let is_nan = |bytes: &[u8]| match storage {
            Storage::F16 => F16::from_bytes(bytes).to_f32().is_nan(),
            Storage::Bf16 => Bf16::from_bytes(bytes).to_f32().is_nan(),
            Storage::F32 => f32::from_bytes(bytes).is_nan(),
            _ => false,
        };
        let elements = found.chunks_exact(storage.bytes()).zip(dst.chunks_exact(storage.bytes()));
        let wrong = elements.into_iter().position(|(a, b)| a != b && !(is_nan(a) && is_nan(b)));
        assert_eq!((found.len(), wrong), (dst.len(), None), "{}\n{}", self.label, program.source.display());
        if !indices.is_empty() {
            let found = std::fs::read(dir.join("indices")).expect("the program has written indices");
            assert!(found == indices, "{}: indices\n{}", self.label, program.source.display());
        }
        std::fs::remove_dir_all(&dir).expect("the case's directory is removed");
    }

    #[track_caller]
    fn check_typed<T: Element, const B: usize>(
        &self,
        index: usize,
        program: &Program,
        from: fn(f64) -> T,
        bytes: fn(T) -> [u8; B],
    ) {
        let dir = program.binary.with_extension(format!("case{index}"));
        std::fs::create_dir_all(&dir).expect("a directory for the case");
        let mut random = Random(index as u64 + 1);
        let mut buffer = |role: Role| -> Vec<T> {
            let buffer = self.kernel.buffers.iter().find(|b| b.role == role);
            let len = buffer.map_or(0, |b| b.len.eval(&[self.batch as i64]) as usize);
            (0..len).map(|_| from(if role.is_written() { f64::NAN } else { random.next() })).collect()
        };
        let [src, weights, bias, residual, offset, mask, _, mut dst, _, mut scratch, mut local] =
            Role::ALL.map(&mut buffer);
        let to_bytes = |elements: &[T]| elements.iter().flat_map(|x| bytes(*x)).collect::<Vec<u8>>();
        let read = [&src, &weights, &bias, &residual, &offset, &mask];
        for (role, elements) in Role::ALL.iter().zip(read) {
            std::fs::write(dir.join(role.name()), to_bytes(elements)).expect("inputs are written");
        }
        program.run(index, self.batch, &dir);
        let found = std::fs::read(dir.join("dst")).expect("the program has written dst");

        let mut buffers = Buffers {
            src: &src,
            weights: &weights,
            bias: &bias,
            residual: &residual,
            offset: &offset,
            mask: &mask,
            dst: &mut dst,
            scratch: &mut scratch,
            local: &mut local,
            ..Buffers::default()
        };
        interp::run(&self.kernel, self.batch, &mut buffers).expect("the interpreter runs");
        let expected = to_bytes(&dst);
        assert_eq!(found.len(), expected.len(), "{}", self.label);
        let wrong: Vec<usize> = (0..dst.len()).filter(|i| found[i * B..][..B] != expected[i * B..][..B]).collect();
        assert!(
            wrong.is_empty(),
            "{}: {} of {} elements differ, the first at {}\n{}",
            self.label,
            wrong.len(),
            dst.len(),
            wrong[0],
            program.source.display()
        );
        std::fs::remove_dir_all(&dir).expect("the case's directory is removed");
    }
}

/// A compiled program.
pub(crate) struct Program {
    source: PathBuf,
    binary: PathBuf,
}

impl Program {
    /// Compiles the kernels of `cases`; `model` is the source of what `intrinsics` names.
    #[track_caller]
    pub(crate) fn compile(name: &str, cases: &[Case], intrinsics: &Intrinsics, model: &str, optimize: bool) -> Self {
        let kernels: Vec<&Verified> = cases.iter().map(|case| &case.kernel).collect();
        let code = standalone(&kernels, intrinsics).unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = convoke_core::back::rust::to_source(code).unwrap_or_else(|e| panic!("{name}: {e}"));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = Self { source: dir.join(format!("{name}.rs")), binary: dir.join(name) };
        std::fs::write(&program.source, text + model).expect("the source is written");
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .arg(format!("-Copt-level={}", u8::from(optimize)))
            .args(["--edition=2024", "-Ccodegen-units=8", "-Dwarnings", "-o"])
            .args([&program.binary, &program.source])
            .output()
            .expect("rustc runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    }

    #[track_caller]
    fn run(&self, index: usize, batch: usize, dir: &Path) {
        let output = Command::new(&self.binary)
            .args([index.to_string(), batch.to_string()])
            .arg(dir)
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Numbers in `-1..1`.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u64 << 30) as f64 - 1.0
    }
}
