//! The machine a plan is made for: plain data, no detection. Who runs the code detects.

/// Bytes of a cache line.
pub(crate) const LINE_BYTES: usize = 64;

/// Instruction set of the tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// x86-64 with AVX-512 F, VL, BW and DQ.
    Avx512,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64's 128-bit registers: SSE2, and FMA where [`Target::fma`] says so.
    Sse,
    /// AArch64's Advanced SIMD.
    Neon,
    /// No intrinsics: 128-bit vectors as arrays, for any CPU.
    Portable,
}

impl Isa {
    /// As names of kernels and the command line write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Sse => "sse",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// Bytes a vector register.
    pub const fn vector_bytes(self) -> usize {
        match self {
            Self::Avx512 => 64,
            Self::Avx2 => 32,
            Self::Sse | Self::Neon | Self::Portable => 16,
        }
    }
}

/// Everything about a machine that a plan depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Instruction set of the tiles.
    pub isa: Isa,
    /// Whether a product and a sum are one instruction with one rounding.
    pub fma: bool,
    /// Whether a dot product of four bytes and a sum are one instruction: AVX-512 VNNI, AVX-VNNI.
    pub vnni: bool,
    /// Vector registers that a tile may use; the compiler behind a backend keeps the rest.
    pub registers: usize,
    /// Most of them that hold sums: more would not stay in registers through a loop.
    pub accumulators: usize,
    /// Micro-operations of a broadcast from memory.
    pub broadcast_uops: usize,
    /// Micro-operations that start each cycle.
    pub uops_per_cycle: usize,
    /// Multiply-adds that start each cycle.
    pub fma_per_cycle: usize,
    /// Cycles until the result of a multiply-add can be used.
    pub fma_latency: usize,
    /// Vector loads that start each cycle.
    pub loads_per_cycle: usize,
    /// Bytes of the first-level data cache.
    pub l1_bytes: usize,
    /// Bytes of the second-level cache.
    pub l2_bytes: usize,
    /// Bytes of the last-level cache that one core may count on.
    pub l3_bytes: usize,
}

impl Target {
    /// A current server core with AVX-512.
    pub const AVX512: Self = Self {
        isa: Isa::Avx512,
        fma: true,
        vnni: false,
        registers: 31,
        accumulators: 28,
        broadcast_uops: 1,
        uops_per_cycle: 6,
        fma_per_cycle: 2,
        fma_latency: 4,
        loads_per_cycle: 2,
        l1_bytes: 32 << 10,
        l2_bytes: 1 << 20,
        l3_bytes: 16 << 20,
    };

    /// A core with AVX2 and FMA.
    pub const AVX2: Self =
        Self { isa: Isa::Avx2, registers: 16, accumulators: 12, l2_bytes: 512 << 10, ..Self::AVX512 };

    /// AVX-512 with VNNI.
    pub const AVX512_VNNI: Self = Self { vnni: true, ..Self::AVX512 };
    /// AVX2 with AVX-VNNI.
    pub const AVX2_VNNI: Self = Self { vnni: true, ..Self::AVX2 };
    /// x86-64 as it was first: SSE2, no FMA. Its instructions overwrite an operand, and a broadcast is two of them.
    pub const SSE: Self = Self {
        isa: Isa::Sse,
        fma: false,
        registers: 14,
        accumulators: 8,
        broadcast_uops: 2,
        uops_per_cycle: 4,
        l2_bytes: 512 << 10,
        ..Self::AVX512
    };

    /// 128-bit vectors on a core that has FMA but not AVX2. The run-time backend's multiply-add overwrites a factor, which takes
    /// copies.
    pub const SSE_FMA: Self = Self { fma: true, ..Self::SSE };

    /// AArch64.
    pub const NEON: Self = Self { isa: Isa::Neon, l1_bytes: 64 << 10, ..Self::AVX512 };

    /// Any CPU.
    pub const PORTABLE: Self = Self { isa: Isa::Portable, fma: false, ..Self::SSE };

    /// `avx512+vnni`, `avx512`, `avx2+vnni`, `avx2`, `sse`, `sse+fma`, `neon` or `portable`.
    pub const fn name(&self) -> &'static str {
        match (self.isa, self.fma) {
            (Isa::Sse, true) => "sse+fma",
            (Isa::Avx512, _) if self.vnni => "avx512+vnni",
            (Isa::Avx2, _) if self.vnni => "avx2+vnni",
            (isa, _) => isa.name(),
        }
    }

    /// The target of that name, as [`Target::name`] gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::AVX512_VNNI,
            Self::AVX512,
            Self::AVX2_VNNI,
            Self::AVX2,
            Self::SSE,
            Self::SSE_FMA,
            Self::NEON,
            Self::PORTABLE,
        ];
        all.into_iter().find(|t| t.name() == name)
    }

    /// Elements of `bytes` bytes that one vector holds.
    pub const fn lanes(&self, bytes: usize) -> usize {
        self.isa.vector_bytes() / bytes
    }
}
