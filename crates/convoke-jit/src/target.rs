//! What the CPU at hand is: detection, so that the compiler core need not do any.

use convoke_core::target::{Isa, Target};

/// The widest instruction set of this machine, with the sizes of its caches where the system tells them.
pub fn native_target() -> Target {
    with_native_caches(widest())
}

/// `target` with the cache sizes of this machine, where the system tells them.
pub fn with_native_caches(target: Target) -> Target {
    caches::read(target)
}

#[cfg(target_arch = "x86_64")]
fn widest() -> Target {
    let has = |features: &[&str]| features.iter().all(|f| has_feature(f));
    if has(AVX512_VNNI_FEATURES) {
        Target::AVX512_VNNI
    } else if has(AVX512_FEATURES) {
        Target::AVX512
    } else if has(AVX2_VNNI_FEATURES) {
        Target::AVX2_VNNI
    } else if has(AVX2_FEATURES) {
        Target::AVX2
    } else if has(FMA_FEATURES) {
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

/// Why this machine cannot run code for `target`; nothing if it can.
pub fn why_not_runnable(target: &Target) -> Option<String> {
    if !is_encoded(target.isa, target.fma) {
        return Some("it is for another processor than this one".to_owned());
    }
    let missing = features(target.isa, target.fma, target.vnni).iter().find(|f| !has_feature(f))?;
    Some(format!("this CPU does not have {missing}"))
}

/// Whether code for an instruction set can be made here.
pub(crate) fn is_encoded(isa: Isa, fma: bool) -> bool {
    match isa {
        Isa::Avx512 | Isa::Avx2 | Isa::Sse => cfg!(target_arch = "x86_64"),
        Isa::Neon => cfg!(target_arch = "aarch64"),
        Isa::Portable => !fma || cfg!(target_arch = "aarch64"),
    }
}

/// What tiles need of the CPU, as Rust spells it.
pub(crate) fn features(isa: Isa, fma: bool, vnni: bool) -> &'static [&'static str] {
    match (isa, fma) {
        (Isa::Avx512, _) if vnni => AVX512_VNNI_FEATURES,
        (Isa::Avx2, _) if vnni => AVX2_VNNI_FEATURES,
        (Isa::Avx512, _) => AVX512_FEATURES,
        (Isa::Avx2, true) => AVX2_FEATURES,
        (Isa::Avx2, false) => &["sse3", "ssse3", "sse4.1", "sse4.2", "avx", "avx2", "f16c"],
        (Isa::Sse, true) => FMA_FEATURES,
        _ => &[],
    }
}

/// FMA itself, and the encodings that come with it.
const FMA_FEATURES: &[&str] = &["sse3", "ssse3", "sse4.1", "sse4.2", "avx", "fma"];
const AVX2_FEATURES: &[&str] = &["sse3", "ssse3", "sse4.1", "sse4.2", "avx", "avx2", "fma", "f16c"];
const AVX2_VNNI_FEATURES: &[&str] = &["sse3", "ssse3", "sse4.1", "sse4.2", "avx", "avx2", "fma", "f16c", "avxvnni"];
const AVX512_VNNI_FEATURES: &[&str] = &[
    "sse3",
    "ssse3",
    "sse4.1",
    "sse4.2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512vl",
    "avx512bw",
    "avx512dq",
    "avx512vnni",
];
const AVX512_FEATURES: &[&str] =
    &["sse3", "ssse3", "sse4.1", "sse4.2", "avx", "avx2", "fma", "avx512f", "avx512vl", "avx512bw", "avx512dq"];

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
            "f16c" => has!("f16c"),
            "avx512f" => has!("avx512f"),
            "avx512vl" => has!("avx512vl"),
            "avx512bw" => has!("avx512bw"),
            "avx512dq" => has!("avx512dq"),
            "avx512vnni" => has!("avx512vnni"),
            "avxvnni" => has!("avxvnni"),
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

    /// What one core may count on of a last level: it is many cores', and in a network what other layers touch passes through it.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub(super) fn count_on(bytes: usize) -> usize {
        bytes.min(16 << 20)
    }

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
                ("3", _) => target.l3_bytes = count_on(bytes),
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
    fn a_machine_has_what_its_target_needs() {
        let target = native_target();
        let layer = "conv1d x { input: f32[1, 1, 4], out_channels: 1, kernel_size: 1 }";
        let spec = layer.parse().unwrap();
        let kernel = convoke_core::pipeline::compile(&spec, &target, &Default::default()).unwrap().kernel;
        assert!(features(kernel.isa, kernel.fma, kernel.vnni).iter().all(|f| has_feature(f)));
    }

    #[test]
    fn what_cannot_run_is_said() {
        assert_eq!(why_not_runnable(&native_target()), None);
        assert_eq!(why_not_runnable(&Target::PORTABLE), None);
        let other = if cfg!(target_arch = "x86_64") { Target::NEON } else { Target::SSE };
        assert_eq!(why_not_runnable(&other).unwrap(), "it is for another processor than this one");
    }

    #[test]
    fn sizes_as_the_system_writes_them() {
        assert_eq!(caches::parse_size("32K\n"), Some(32 << 10));
        assert_eq!(caches::parse_size("16M"), Some(16 << 20));
        assert_eq!(caches::parse_size("300M").map(caches::count_on), Some(16 << 20));
        assert_eq!(caches::parse_size("8M").map(caches::count_on), Some(8 << 20));
        assert_eq!(caches::parse_size("512"), Some(512));
        assert_eq!(caches::parse_size("K"), None);
        assert_eq!(caches::parse_size("0K"), None);
        assert_eq!(caches::parse_size(""), None);
    }
}
