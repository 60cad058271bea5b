//! A short number for a text, the same everywhere and for ever.

/// FNV-1a of 64 bits. Two texts may share it.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
