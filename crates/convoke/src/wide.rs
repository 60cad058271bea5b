//! Loops of the library itself, with the vectors of the machine that they run on.

use convoke_core::eval::Float;
use convoke_core::lower::weights::WeightsPacking;

/// As [`WeightsPacking::pack`], compiled for AVX2 too, and so where the machine has it: faster, and the same.
pub(crate) fn pack<T: Float>(packing: &WeightsPacking, plain: &[T], packed: &mut [T::Lane]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T: Float>(packing: &WeightsPacking, plain: &[T], packed: &mut [T::Lane]) {
            packing.pack(plain, packed);
        }

        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has it.
            return unsafe { with_avx2(packing, plain, packed) };
        }
    }
    packing.pack(plain, packed);
}
