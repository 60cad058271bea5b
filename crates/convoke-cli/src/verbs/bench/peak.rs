//! The most multiply-adds that one core does, measured: a loop of independent ones, nothing else.

use super::Clock;
use convoke_core::spec::DType;
use convoke_core::target::{Isa, Target};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The peak of one core, for one width of vectors.
pub(super) struct Peak {
    run: fn(u32) -> f32,
    clock: Clock,
    /// Floating-point operations of f32 a step of the loop.
    per_step: f64,
    /// The greatest rate seen, in 10^9 operations of f32 a second.
    best: f64,
}

/// Chains of multiply-adds in the loop: more than two a cycle times four cycles of latency, and few enough for 16 registers.
const CHAINS: usize = 12;
/// Steps of the loop between two looks at the clock.
const STEPS: u32 = 100_000;

impl Peak {
    /// The loop for the vectors of `target`, which this CPU must have, measured for the first time.
    pub(super) fn new(target: &Target, clock: Clock) -> Self {
        let run = loop_for(target);
        let lanes = target.isa.vector_bytes() / DType::F32.bytes();
        let mut peak = Self { run, clock, per_step: (2 * CHAINS * lanes) as f64, best: 0.0 };
        for _ in 0..5 {
            peak.measure();
        }
        peak
    }

    /// Measures again, for a few milliseconds.
    pub(super) fn measure(&mut self) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(4) {
            let steps = || {
                black_box((self.run)(black_box(STEPS)));
                Ok::<(), std::convert::Infallible>(())
            };
            let Ok(time) = self.clock.time(steps);
            self.best = self.best.max(self.per_step * f64::from(STEPS) / time.as_secs_f64() / 1e9);
        }
    }

    /// 10^9 floating-point operations a second; a vector holds half as many f64.
    pub(super) fn gflops(&self, dtype: DType) -> f64 {
        self.best * (DType::F32.bytes() as f64 / dtype.bytes() as f64)
    }
}

fn loop_for(target: &Target) -> fn(u32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    return match (target.isa, target.fma) {
        (Isa::Avx512, _) => |steps| {
            assert!(is_x86_feature_detected!("avx512f"));
            // SAFETY: the CPU has AVX-512.
            unsafe { x86::avx512(steps) }
        },
        (Isa::Avx2, _) => |steps| {
            assert!(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"));
            // SAFETY: the CPU has AVX2 and FMA.
            unsafe { x86::avx2(steps) }
        },
        (_, true) => |steps| {
            assert!(is_x86_feature_detected!("fma"));
            // SAFETY: the CPU has FMA.
            unsafe { x86::fma128(steps) }
        },
        (_, false) => |steps| {
            // SAFETY: every x86-64 CPU has SSE.
            unsafe { x86::sse(steps) }
        },
    };
    #[cfg(target_arch = "aarch64")]
    return match target.isa {
        Isa::Neon => neon::fma128,
        _ => plain,
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = (target, Isa::Portable);
        plain
    }
}

/// [`CHAINS`] accumulators by name, so that no compiler puts an array into memory. They start apart, so that none can
/// take the place of another; the sum of all at the end needs every one.
macro_rules! chains {
    ($steps:ident, $splat:ident, $step:expr, $add:ident) => {{
        let (a, b) = ($splat(black_box(0.999)), $splat(black_box(0.001)));
        let (mut c0, mut c1, mut c2, mut c3) = ($splat(0.0), $splat(0.1), $splat(0.2), $splat(0.3));
        let (mut c4, mut c5, mut c6, mut c7) = ($splat(0.4), $splat(0.5), $splat(0.6), $splat(0.7));
        let (mut c8, mut c9, mut c10, mut c11) = ($splat(0.8), $splat(0.9), $splat(1.0), $splat(1.1));
        for _ in 0..$steps {
            (c0, c1, c2, c3) = ($step(c0, a, b), $step(c1, a, b), $step(c2, a, b), $step(c3, a, b));
            (c4, c5, c6, c7) = ($step(c4, a, b), $step(c5, a, b), $step(c6, a, b), $step(c7, a, b));
            (c8, c9, c10, c11) = ($step(c8, a, b), $step(c9, a, b), $step(c10, a, b), $step(c11, a, b));
        }
        let sums =
            ($add($add(c0, c1), $add(c2, c3)), $add($add(c4, c5), $add(c6, c7)), $add($add(c8, c9), $add(c10, c11)));
        $add($add(sums.0, sums.1), sums.2)
    }};
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::black_box;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(steps: u32) -> f32 {
        let sum = chains!(steps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps);
        _mm512_cvtss_f32(sum)
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(steps: u32) -> f32 {
        let sum = chains!(steps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps);
        _mm256_cvtss_f32(sum)
    }

    #[target_feature(enable = "fma")]
    pub(super) fn fma128(steps: u32) -> f32 {
        let sum = chains!(steps, _mm_set1_ps, _mm_fmadd_ps, _mm_add_ps);
        _mm_cvtss_f32(sum)
    }

    /// Without fused multiply-adds.
    #[target_feature(enable = "sse")]
    pub(super) fn sse(steps: u32) -> f32 {
        let step = |c, a, b| _mm_add_ps(_mm_mul_ps(c, a), b);
        let sum = chains!(steps, _mm_set1_ps, step, _mm_add_ps);
        _mm_cvtss_f32(sum)
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::black_box;
    use std::arch::aarch64::*;

    pub(super) fn fma128(steps: u32) -> f32 {
        let step = |c, a, b| vfmaq_f32(b, c, a);
        let sum = chains!(steps, vdupq_n_f32, step, vaddq_f32);
        vgetq_lane_f32::<0>(sum)
    }
}

/// Four lanes in plain Rust.
#[cfg(not(target_arch = "x86_64"))]
fn plain(steps: u32) -> f32 {
    let splat = |x: f32| [x; 4];
    let step = |c: [f32; 4], a: [f32; 4], b: [f32; 4]| std::array::from_fn(|i| c[i] * a[i] + b[i]);
    let add = |a: [f32; 4], b: [f32; 4]| std::array::from_fn::<f32, 4, _>(|i| a[i] + b[i]);
    let sum = chains!(steps, splat, step, add);
    sum[0]
}
