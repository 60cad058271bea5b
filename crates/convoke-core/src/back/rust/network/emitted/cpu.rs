//! What the CPU has, asked without the standard library.
#![allow(dead_code, reason = "not every network has versions for all of it")]

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::sync::atomic::{AtomicU32, Ordering};

pub(crate) const SSE2: u32 = 1;
pub(crate) const FMA: u32 = 1 << 1;
pub(crate) const F16C: u32 = 1 << 2;
pub(crate) const AVX2: u32 = 1 << 3;
pub(crate) const AVXVNNI: u32 = 1 << 4;
pub(crate) const AVX512F: u32 = 1 << 5;
pub(crate) const AVX512DQ: u32 = 1 << 6;
pub(crate) const AVX512BW: u32 = 1 << 7;
pub(crate) const AVX512VL: u32 = 1 << 8;
pub(crate) const AVX512VNNI: u32 = 1 << 9;
/// The CPU has been asked.
const ASKED: u32 = 1 << 31;

/// What every CPU has that this is compiled for.
const GIVEN: u32 = if cfg!(target_feature = "sse2") { SSE2 } else { 0 }
    | if cfg!(target_feature = "fma") { FMA } else { 0 }
    | if cfg!(target_feature = "f16c") { F16C } else { 0 }
    | if cfg!(target_feature = "avx2") { AVX2 } else { 0 }
    | if cfg!(target_feature = "avxvnni") { AVXVNNI } else { 0 }
    | if cfg!(target_feature = "avx512f") { AVX512F } else { 0 }
    | if cfg!(target_feature = "avx512dq") { AVX512DQ } else { 0 }
    | if cfg!(target_feature = "avx512bw") { AVX512BW } else { 0 }
    | if cfg!(target_feature = "avx512vl") { AVX512VL } else { 0 }
    | if cfg!(target_feature = "avx512vnni") { AVX512VNNI } else { 0 };

static FOUND: AtomicU32 = AtomicU32::new(0);

/// Whether the CPU has all of `wanted`, and the operating system keeps the registers for it.
#[inline]
pub(crate) fn has(wanted: u32) -> bool {
    if GIVEN & wanted == wanted {
        return true;
    }
    let mut found = FOUND.load(Ordering::Relaxed);
    if found == 0 {
        found = ask() | GIVEN | ASKED;
        FOUND.store(found, Ordering::Relaxed);
    }
    found & wanted == wanted
}

/// Asks the CPU. In an enclave it may not be asked.
#[cold]
#[allow(unused_unsafe, reason = "older compilers call `__cpuid` unsafe")]
fn ask() -> u32 {
    if cfg!(target_env = "sgx") {
        return 0;
    }
    // SAFETY: every CPU of x86-64 has the instruction.
    let leaf = |leaf: u32, part: u32| unsafe { __cpuid_count(leaf, part) };
    // SAFETY: as above.
    let last = unsafe { __cpuid(0) }.eax;
    let basic = leaf(1, 0);
    let bit = |register: u32, bit: u32, what: u32| if register >> bit & 1 == 1 { what } else { 0 };
    let mut found = bit(basic.edx, 26, SSE2);
    // XSAVE, and that the operating system uses it.
    const SAVED: u32 = 1 << 26 | 1 << 27;
    if basic.ecx & SAVED != SAVED {
        return found;
    }
    // SAFETY: the CPU has XSAVE, and the operating system has turned it on.
    let states = unsafe { saved_states() };
    const YMM: u64 = 0b110;
    const ZMM: u64 = 0b1110_0000;
    if states & YMM != YMM {
        return found;
    }
    found |= bit(basic.ecx, 12, FMA) | bit(basic.ecx, 29, F16C);
    if last < 7 {
        return found;
    }
    let more = leaf(7, 0);
    found |= bit(more.ebx, 5, AVX2);
    if more.eax >= 1 {
        found |= bit(leaf(7, 1).eax, 4, AVXVNNI);
    }
    if states & ZMM == ZMM {
        found |= bit(more.ebx, 16, AVX512F) | bit(more.ebx, 17, AVX512DQ) | bit(more.ebx, 30, AVX512BW);
        found |= bit(more.ebx, 31, AVX512VL) | bit(more.ecx, 11, AVX512VNNI);
    }
    found
}

/// Which registers the operating system keeps.
///
/// # Safety
/// The CPU has XSAVE, and the operating system uses it.
#[target_feature(enable = "xsave")]
unsafe fn saved_states() -> u64 {
    // SAFETY: register 0 is there where XSAVE is.
    unsafe { _xgetbv(0) }
}
