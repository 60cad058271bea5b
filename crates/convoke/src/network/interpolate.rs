//! Images of other sizes, on the threads and with the vectors that there are.

use std::sync::{Mutex, PoisonError};

use convoke_core::eval::{Float, Interpolator};
use convoke_jit::Executor;

/// Elements that are worth sharing with a thread that is awake.
const TO_SHARE: usize = 1 << 13;

/// Pieces that each thread should have, so that one that is late holds the others up less.
const PIECES: usize = 2;

/// Makes all images, on the threads of `executor` where that is worth it: each makes rows.
pub(super) fn run<T: Float>(executor: &dyn Executor, one: &Interpolator, src: &[T], dst: &mut [T]) {
    let rows = dst.len() / one.row();
    if executor.threads() < 2 || dst.len() < 2 * TO_SHARE || rows < 2 {
        return some(one, src, dst, 0);
    }
    let len = rows.div_ceil(PIECES * executor.threads());
    let pieces = Mutex::new(dst.chunks_mut(len * one.row()).zip((0..rows).step_by(len)));
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    executor.broadcast(&|| {
        while let Some((dst, first)) = next() {
            some(one, src, dst, first);
        }
    });
}

/// Makes rows from the first on. Compiled for AVX2 too, and so where the machine has it: faster, and the same.
fn some<T: Float>(one: &Interpolator, src: &[T], dst: &mut [T], first: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T: Float>(one: &Interpolator, src: &[T], dst: &mut [T], first: usize) {
            one.run(src, dst, first);
        }

        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has it.
            return unsafe { with_avx2(one, src, dst, first) };
        }
    }
    one.run(src, dst, first);
}

#[cfg(test)]
#[path = "interpolate_tests.rs"]
mod tests;
