//! Numbers that look random and are the same for the same seed, everywhere.

use crate::hash::hash;
use convoke_core::eval::Float;

/// The generator SplitMix64 (Steele, Lea, Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another generator, for something that has a name.
    pub(crate) fn for_name(seed: u64, name: &str) -> Self {
        Self(seed ^ hash(name))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From -1 to 1, a multiple of 2^-52.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// A whole number from `-most` to `most`.
    fn whole(&mut self, most: u64) -> f64 {
        (self.next() % (2 * most + 1)) as f64 - most as f64
    }

    /// A whole number.
    pub(crate) fn between(&mut self, least: i32, most: i32) -> i32 {
        let count = (i64::from(most) - i64::from(least) + 1) as u64;
        (i64::from(least) + (self.next() % count) as i64) as i32
    }

    /// `len` numbers from -1 to 1.
    pub(crate) fn units<T: Float>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| T::from_number(self.unit())).collect()
    }

    /// `len` whole numbers from `-most` to `most`.
    pub(crate) fn wholes<T: Float>(&mut self, len: usize, most: u64) -> Vec<T> {
        (0..len).map(|_| T::from_number(self.whole(most))).collect()
    }
}
