//! Well-formed layers with huge numbers, through every stage up to machine code: each ends soon, in a kernel within the
//! limits or in a diagnostic. Nothing is run, and nothing of a tensor's size is allocated.

use convoke_core::diagnostic::Diagnostic;
use convoke_core::front;
use convoke_core::ir::Role;
use convoke_core::pipeline::{CompileError, compile};
use convoke_core::spec::{Batch, Limits};
use convoke_core::target::Target;
use convoke_jit::{JitError, Program, native_target};
use peak_alloc::PeakAlloc;
use std::time::{Duration, Instant};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Megabytes that the test may hold at once: far below the tensors that its layers speak of.
const MEGABYTES: f32 = 16.0;

const LAYERS: usize = 40_000;
/// Of the layers that compile, how many go through the JIT: one in this many.
const JIT_EVERY: usize = 8;
const TARGETS: [Target; 3] = [Target::AVX512, Target::AVX2, Target::PORTABLE];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn one_of<'a, T: ?Sized>(&mut self, values: &[&'a T]) -> &'a T {
        values[(self.next() % values.len() as u64) as usize]
    }

    /// Mostly small, at times on either side of a power of two, seldom beyond 64 bits.
    fn number(&mut self) -> String {
        match self.next() % 60 {
            0 => "0".to_owned(),
            1..=36 => (1 + self.next() % 9).to_string(),
            37..=46 => (1 + self.next() % 300).to_string(),
            47..=58 => {
                let power = 1_u128 << (8 + self.next() % 26);
                (power + u128::from(self.next() % 3) - 1).to_string()
            }
            _ => self.one_of(&["9223372036854775807", "18446744073709551616", "4294967295", "2147483647"]).to_owned(),
        }
    }

    fn layer(&mut self) -> String {
        let rank = 1 + (self.next() % 3) as usize;
        let layouts = [["ncl", "nlc"], ["nchw", "nhwc"], ["ncdhw", "ndhwc"]][rank - 1];
        let layout = self.one_of(&layouts);
        let batch = if self.next().is_multiple_of(4) { "N".to_owned() } else { self.number() };
        let sizes: Vec<String> = (0..=rank).map(|_| self.number()).collect();
        let dtype = self.one_of(&["f32", "f64"]);
        let mut text = format!("conv{rank}d huge {{ input: {dtype}[{batch}, {}] @ {layout}", sizes.join(", "));
        text += &format!(", out_channels: {}, kernel_size: {}", self.number(), self.number());
        text += self.one_of(&["", "", "", ", groups: depthwise", ", groups: 2"]);
        for field in ["stride", "dilation", "padding"] {
            if self.next().is_multiple_of(3) {
                text += &format!(", {field}: {}", self.number());
            }
        }
        text += self.one_of(&["", ", then: gelu", ", bias: true, then: [relu, tanh]"]);
        if self.next().is_multiple_of(4) {
            let (rows, vectors, block) = (self.number(), self.number(), self.number());
            let pins = self.one_of(&["tile: RxV", "block: (oh: B)", "block: (ow: B)", "unroll: R", "pack_input: pad"]);
            let pins = pins.replace('R', &rows).replace('V', &vectors).replace('B', &block);
            text += &format!(", schedule {{ {pins} }}");
        }
        text + " }"
    }
}

/// Bytes of the largest buffer for a batch that is fixed, or of one image.
fn largest(compiled: &convoke_core::pipeline::Compiled, batch: &Batch) -> i64 {
    let images = if matches!(batch, Batch::Named(_)) { 1 } else { 0 };
    let bytes = compiled.kernel.dtype.bytes() as i64;
    let buffers = compiled.kernel.buffers.iter().filter(|b| b.role != Role::Bias);
    buffers.map(|b| b.len.eval(&[images]) * bytes).max().unwrap_or(0)
}

#[test]
fn huge_layers_end_in_a_kernel_or_a_diagnostic() {
    let limits = Limits::default();
    let mut r = Random(20);
    let (mut legal, mut compiled_count, mut refused) = (0, 0, 0);
    for _ in 0..LAYERS {
        let text = r.layer();
        let start = Instant::now();
        match front::layers(&text, &limits) {
            Err(diagnostics) => {
                assert!(!diagnostics.is_empty(), "{text}");
                refused += 1;
            }
            Ok(layers) => {
                legal += 1;
                for target in &TARGETS {
                    match compile(&layers[0], target, &limits) {
                        Ok(compiled) => {
                            let bytes = largest(&compiled, &layers[0].batch);
                            assert!(bytes as u64 <= limits.tensor_bytes, "{bytes} bytes: {text}");
                            compiled_count += 1;
                        }
                        Err(CompileError::Verify(e)) => panic!("{e}: {} for {text}", target.name()),
                        Err(e) => assert!(!Diagnostic::from(e).message.is_empty(), "{text}"),
                    }
                }
                if legal % JIT_EVERY == 0
                    && let Ok(compiled) = compile(&layers[0], &native_target(), &limits)
                {
                    match Program::compile(&compiled.kernel) {
                        Ok(program) => assert!(program.code_bytes() > 0, "{text}"),
                        Err(e @ (JitError::Offset { .. } | JitError::CodeSize { .. })) => drop(e),
                        Err(e) => panic!("{e}: {text}"),
                    }
                }
            }
        }
        let spent = start.elapsed();
        assert!(spent < Duration::from_secs(5), "{spent:?}: {text}");
    }
    let peak = MEMORY.peak_usage_as_mb();
    assert!(peak < MEGABYTES, "{peak} MB");
    // The generator is of use only while a fair part of what it makes is legal.
    assert!(
        legal > LAYERS / 10 && compiled_count > legal && refused > LAYERS / 20,
        "{legal} {compiled_count} {refused}"
    );
}
