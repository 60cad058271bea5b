//! What the CPU at hand is: detection, so that the compiler core need not do any.

use convoke_core::target::{Isa, Target};

/// The best target that this backend can encode on this machine: tiles of 128 bits, with FMA where the CPU has it.
pub fn native_target() -> Target {
    let host = host_target();
    let base = match host.isa {
        Isa::Avx512 | Isa::Avx2 | Isa::Sse if has_fma() => Target::SSE_FMA,
        Isa::Avx512 | Isa::Avx2 | Isa::Sse => Target::SSE,
        Isa::Neon => Target::NEON,
        Isa::Portable => Target::PORTABLE,
    };
    with_caches_of(base, &host)
}

/// The widest instruction set of this machine, with the sizes of its caches where the system tells them.
pub fn host_target() -> Target {
    caches::read(widest())
}

/// `target` with the cache sizes of `host`.
fn with_caches_of(target: Target, host: &Target) -> Target {
    Target { l1_bytes: host.l1_bytes, l2_bytes: host.l2_bytes, l3_bytes: host.l3_bytes, ..target }
}

#[cfg(target_arch = "x86_64")]
fn widest() -> Target {
    let avx512 = ["avx512f", "avx512vl", "avx512bw", "avx512dq"];
    if has_fma() && avx512.iter().all(|f| has_feature(f)) {
        Target::AVX512
    } else if has_fma() && has_feature("avx2") {
        Target::AVX2
    } else if has_fma() {
        Target::SSE_FMA
    } else {
        Target::SSE
    }
}

#[cfg(target_arch = "aarch64")]
fn widest() -> Target {
    Target::NEON
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn widest() -> Target {
    Target::PORTABLE
}

#[cfg(target_arch = "x86_64")]
fn has_fma() -> bool {
    FMA_FEATURES.iter().all(|f| has_feature(f))
}

#[cfg(not(target_arch = "x86_64"))]
fn has_fma() -> bool {
    false
}

/// What tiles with fused multiply-adds use on x86-64: FMA itself, and the encodings that come with it.
#[cfg(target_arch = "x86_64")]
pub(crate) const FMA_FEATURES: &[&str] = &["sse3", "ssse3", "sse4.1", "sse4.2", "avx", "fma"];
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const FMA_FEATURES: &[&str] = &[];

/// Whether this CPU has the feature of that name, as Rust spells it; false for a name that is not listed here.
pub(crate) fn has_feature(name: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        match name {
            "sse3" => has!("sse3"),
            "ssse3" => has!("ssse3"),
            "sse4.1" => has!("sse4.1"),
            "sse4.2" => has!("sse4.2"),
            "avx" => has!("avx"),
            "avx2" => has!("avx2"),
            "fma" => has!("fma"),
            "avx512f" => has!("avx512f"),
            "avx512vl" => has!("avx512vl"),
            "avx512bw" => has!("avx512bw"),
            "avx512dq" => has!("avx512dq"),
            _ => false,
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = name;
        false
    }
}

/// Cache sizes. A system that does not tell them leaves the target's own.
mod caches {
    use super::Target;

    #[cfg(target_os = "linux")]
    pub(super) fn read(mut target: Target) -> Target {
        let file = |index: usize, name: &str| {
            std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}")).ok()
        };
        for index in 0..8 {
            let (Some(level), Some(kind), Some(size)) =
                (file(index, "level"), file(index, "type"), file(index, "size"))
            else {
                break;
            };
            let Some(bytes) = parse_size(&size) else { continue };
            match (level.trim(), kind.trim()) {
                ("1", "Data") => target.l1_bytes = bytes,
                ("2", _) => target.l2_bytes = bytes,
                ("3", _) => target.l3_bytes = bytes,
                _ => {}
            }
        }
        target
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn read(target: Target) -> Target {
        target
    }

    /// `32K`, `1M` or plain bytes.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub(super) fn parse_size(text: &str) -> Option<usize> {
        let text = text.trim();
        let (digits, factor) = match text.as_bytes().last()? {
            b'K' => (&text[..text.len() - 1], 1 << 10),
            b'M' => (&text[..text.len() - 1], 1 << 20),
            _ => (text, 1),
        };
        digits.parse::<usize>().ok()?.checked_mul(factor).filter(|&bytes| bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_is_128_bits_and_agrees_with_the_host() {
        let (native, host) = (native_target(), host_target());
        assert_eq!(native.isa.vector_bytes(), 16);
        assert_eq!((native.l1_bytes, native.l2_bytes), (host.l1_bytes, host.l2_bytes));
        assert!(host.isa.vector_bytes() >= native.isa.vector_bytes());
    }

    #[test]
    fn sizes_as_the_system_writes_them() {
        assert_eq!(caches::parse_size("32K\n"), Some(32 << 10));
        assert_eq!(caches::parse_size("16M"), Some(16 << 20));
        assert_eq!(caches::parse_size("512"), Some(512));
        assert_eq!(caches::parse_size("K"), None);
        assert_eq!(caches::parse_size("0K"), None);
        assert_eq!(caches::parse_size(""), None);
    }
}
