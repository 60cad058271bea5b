//! Which instruction does what, for each register width and element type.

use convoke_core::ir::{BinaryOp, Conversion};
use convoke_core::spec::{DType, Storage};
use convoke_core::target::Isa;
use iced_x86::{Code, Register};

/// Registers of 256 bits with VEX encodings, or of 512 with EVEX ones, and the type of their lanes.
#[derive(Clone, Copy)]
pub(super) struct Vectors {
    wide: bool,
    double: bool,
}

/// Picks by width and element type: AVX2 single, AVX2 double, AVX-512 single, AVX-512 double.
macro_rules! pick {
    ($v:expr, $single:ident, $double:ident, $wide_single:ident, $wide_double:ident) => {
        match ($v.wide, $v.double) {
            (false, false) => Code::$single,
            (false, true) => Code::$double,
            (true, false) => Code::$wide_single,
            (true, true) => Code::$wide_double,
        }
    };
}

impl Vectors {
    pub(super) fn new(isa: Isa, dtype: DType) -> Self {
        Self { wide: isa == Isa::Avx512, double: dtype == DType::F64 }
    }

    /// Whether lanes are masked by mask registers.
    pub(super) fn has_masks(self) -> bool {
        self.wide
    }

    pub(super) fn element_bytes(self) -> usize {
        if self.double { 8 } else { 4 }
    }

    /// Bytes a register.
    pub(super) fn bytes(self) -> usize {
        if self.wide { 64 } else { 32 }
    }

    pub(super) fn lanes(self) -> usize {
        self.bytes() / self.element_bytes()
    }

    /// Lanes of 128 bits, the unit in which lanes are put together one by one.
    pub(super) fn part_lanes(self) -> usize {
        16 / self.element_bytes()
    }

    /// Registers that there are.
    pub(super) fn registers(self) -> usize {
        if self.wide { 32 } else { 16 }
    }

    pub(super) fn register(self, number: usize) -> Register {
        (if self.wide { Register::ZMM0 } else { Register::YMM0 }) + number as u32
    }

    /// The lowest 128 bits of the same register.
    pub(super) fn part(self, number: usize) -> Register {
        Register::XMM0 + number as u32
    }

    pub(super) fn load(self) -> Code {
        pick!(
            self,
            VEX_Vmovups_ymm_ymmm256,
            VEX_Vmovupd_ymm_ymmm256,
            EVEX_Vmovups_zmm_k1z_zmmm512,
            EVEX_Vmovupd_zmm_k1z_zmmm512
        )
    }

    pub(super) fn store(self) -> Code {
        pick!(
            self,
            VEX_Vmovups_ymmm256_ymm,
            VEX_Vmovupd_ymmm256_ymm,
            EVEX_Vmovups_zmmm512_k1z_zmm,
            EVEX_Vmovupd_zmmm512_k1z_zmm
        )
    }

    /// Register to register.
    pub(super) fn copy(self) -> Code {
        pick!(
            self,
            VEX_Vmovaps_ymm_ymmm256,
            VEX_Vmovapd_ymm_ymmm256,
            EVEX_Vmovaps_zmm_k1z_zmmm512,
            EVEX_Vmovapd_zmm_k1z_zmmm512
        )
    }

    pub(super) fn broadcast(self) -> Code {
        pick!(
            self,
            VEX_Vbroadcastss_ymm_m32,
            VEX_Vbroadcastsd_ymm_m64,
            EVEX_Vbroadcastss_zmm_k1z_xmmm32,
            EVEX_Vbroadcastsd_zmm_k1z_xmmm64
        )
    }

    /// `d = d xor d`, for zeros.
    pub(super) fn xor(self) -> Code {
        pick!(
            self,
            VEX_Vxorps_ymm_ymm_ymmm256,
            VEX_Vxorpd_ymm_ymm_ymmm256,
            EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32,
            EVEX_Vpxorq_zmm_k1z_zmm_zmmm512b64
        )
    }

    /// `d = a * b + d`.
    pub(super) fn fma231(self) -> Code {
        pick!(
            self,
            VEX_Vfmadd231ps_ymm_ymm_ymmm256,
            VEX_Vfmadd231pd_ymm_ymm_ymmm256,
            EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
            EVEX_Vfmadd231pd_zmm_k1z_zmm_zmmm512b64_er
        )
    }

    /// `d = a * d + b`.
    pub(super) fn fma213(self) -> Code {
        pick!(
            self,
            VEX_Vfmadd213ps_ymm_ymm_ymmm256,
            VEX_Vfmadd213pd_ymm_ymm_ymmm256,
            EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
            EVEX_Vfmadd213pd_zmm_k1z_zmm_zmmm512b64_er
        )
    }

    pub(super) fn binary(self, op: BinaryOp) -> Code {
        match op {
            BinaryOp::Add => pick!(
                self,
                VEX_Vaddps_ymm_ymm_ymmm256,
                VEX_Vaddpd_ymm_ymm_ymmm256,
                EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
                EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er
            ),
            BinaryOp::Sub => pick!(
                self,
                VEX_Vsubps_ymm_ymm_ymmm256,
                VEX_Vsubpd_ymm_ymm_ymmm256,
                EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
                EVEX_Vsubpd_zmm_k1z_zmm_zmmm512b64_er
            ),
            BinaryOp::Mul => pick!(
                self,
                VEX_Vmulps_ymm_ymm_ymmm256,
                VEX_Vmulpd_ymm_ymm_ymmm256,
                EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
                EVEX_Vmulpd_zmm_k1z_zmm_zmmm512b64_er
            ),
            BinaryOp::Div => pick!(
                self,
                VEX_Vdivps_ymm_ymm_ymmm256,
                VEX_Vdivpd_ymm_ymm_ymmm256,
                EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
                EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er
            ),
            // The rest is done by a comparison.
            BinaryOp::Max | BinaryOp::Maximum => pick!(
                self,
                VEX_Vmaxps_ymm_ymm_ymmm256,
                VEX_Vmaxpd_ymm_ymm_ymmm256,
                EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
                EVEX_Vmaxpd_zmm_k1z_zmm_zmmm512b64_sae
            ),
            BinaryOp::Min => pick!(
                self,
                VEX_Vminps_ymm_ymm_ymmm256,
                VEX_Vminpd_ymm_ymm_ymmm256,
                EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
                EVEX_Vminpd_zmm_k1z_zmm_zmmm512b64_sae
            ),
            BinaryOp::Products if self.wide => Code::EVEX_Vpmaddubsw_zmm_k1z_zmm_zmmm512,
            BinaryOp::Products => Code::VEX_Vpmaddubsw_ymm_ymm_ymmm256,
            BinaryOp::AddInt | BinaryOp::Join | BinaryOp::Splice if self.wide => {
                Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32
            }
            // Two integers are joined by several instructions.
            BinaryOp::AddInt | BinaryOp::Join | BinaryOp::Splice => Code::VEX_Vpaddd_ymm_ymm_ymmm256,
            BinaryOp::Dot if self.wide => Code::EVEX_Vpmaddwd_zmm_k1z_zmm_zmmm512,
            BinaryOp::Dot => Code::VEX_Vpmaddwd_ymm_ymm_ymmm256,
        }
    }

    pub(super) fn sqrt(self) -> Code {
        pick!(
            self,
            VEX_Vsqrtps_ymm_ymmm256,
            VEX_Vsqrtpd_ymm_ymmm256,
            EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er,
            EVEX_Vsqrtpd_zmm_k1z_zmmm512b64_er
        )
    }

    /// `d = four products of bytes of a and b, and d`.
    pub(super) fn dot4(self) -> Code {
        if self.wide { Code::EVEX_Vpdpbusd_zmm_k1z_zmm_zmmm512b32 } else { Code::VEX_Vpdpbusd_ymm_ymm_ymmm256 }
    }

    pub(super) fn convert(self, op: Conversion) -> Code {
        match (op, self.wide) {
            (Conversion::Float, false) => Code::VEX_Vcvtdq2ps_ymm_ymmm256,
            (Conversion::Float, true) => Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er,
            (Conversion::Int, false) => Code::VEX_Vcvtps2dq_ymm_ymmm256,
            (Conversion::Int, true) => Code::EVEX_Vcvtps2dq_zmm_k1z_zmmm512b32_er,
        }
    }

    /// Integers of 8 bits, from memory or the lowest bits of a register, to one of 32 or 16 bits.
    pub(super) fn widen(self, storage: Storage, bits: usize) -> Code {
        match (storage == Storage::U8, bits, self.wide) {
            (true, 32, false) => Code::VEX_Vpmovzxbd_ymm_xmmm64,
            (false, 32, false) => Code::VEX_Vpmovsxbd_ymm_xmmm64,
            (true, _, false) => Code::VEX_Vpmovzxbw_ymm_xmmm128,
            (false, _, false) => Code::VEX_Vpmovsxbw_ymm_xmmm128,
            (true, 32, true) => Code::EVEX_Vpmovzxbd_zmm_k1z_xmmm128,
            (false, 32, true) => Code::EVEX_Vpmovsxbd_zmm_k1z_xmmm128,
            (true, _, true) => Code::EVEX_Vpmovzxbw_zmm_k1z_ymmm256,
            (false, _, true) => Code::EVEX_Vpmovsxbw_zmm_k1z_ymmm256,
        }
    }

    /// Halves, from memory or the lowest bits of a register, to floats; of `bf16` to integers, whose upper halves they are to become.
    pub(super) fn widen_half(self, storage: Storage) -> Code {
        match (storage == Storage::F16, self.wide) {
            (true, false) => Code::VEX_Vcvtph2ps_ymm_xmmm128,
            (true, true) => Code::EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae,
            (false, false) => Code::VEX_Vpmovzxwd_ymm_xmmm128,
            (false, true) => Code::EVEX_Vpmovzxwd_zmm_k1z_ymmm256,
        }
    }

    /// Floats to the nearest halves, as the immediate 0 says, in memory or in a register of half the width.
    pub(super) fn to_f16(self) -> Code {
        if self.wide { Code::EVEX_Vcvtps2ph_ymmm256_k1z_zmm_imm8_sae } else { Code::VEX_Vcvtps2ph_xmmm128_ymm_imm8 }
    }

    /// The register that as many halves fill as a whole one has lanes.
    pub(super) fn half_register(self, number: usize) -> Register {
        (if self.wide { Register::YMM0 } else { Register::XMM0 }) + number as u32
    }

    /// One word from memory to every word of a register; of `f16` of one of half the width.
    pub(super) fn broadcast_half(self, storage: Storage) -> Code {
        match (storage == Storage::F16, self.wide) {
            (true, false) => Code::VEX_Vpbroadcastw_xmm_xmmm16,
            (false, false) => Code::VEX_Vpbroadcastw_ymm_xmmm16,
            (true, true) => Code::EVEX_Vpbroadcastw_ymm_k1z_xmmm16,
            (false, true) => Code::EVEX_Vpbroadcastw_zmm_k1z_xmmm16,
        }
    }

    /// One word from memory to a place among 128 bits.
    pub(super) fn insert_word(self) -> Code {
        if self.wide { Code::EVEX_Vpinsrw_xmm_xmm_r32m16_imm8 } else { Code::VEX_Vpinsrw_xmm_xmm_r32m16_imm8 }
    }

    /// One word of 128 bits to memory.
    pub(super) fn extract_word(self) -> Code {
        if self.wide { Code::EVEX_Vpextrw_r32m16_xmm_imm8 } else { Code::VEX_Vpextrw_r32m16_xmm_imm8 }
    }

    pub(super) fn add_integers(self) -> Code {
        self.binary(BinaryOp::AddInt)
    }

    pub(super) fn and(self) -> Code {
        if self.wide { Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32 } else { Code::VEX_Vpand_ymm_ymm_ymmm256 }
    }

    pub(super) fn shift_right(self) -> Code {
        if self.wide { Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8 } else { Code::VEX_Vpsrld_ymm_ymm_imm8 }
    }

    /// One byte from memory to a place among 128 bits.
    pub(super) fn insert_byte(self) -> Code {
        if self.wide { Code::EVEX_Vpinsrb_xmm_xmm_r32m8_imm8 } else { Code::VEX_Vpinsrb_xmm_xmm_r32m8_imm8 }
    }

    /// One byte of 128 bits to memory.
    pub(super) fn extract_byte(self) -> Code {
        if self.wide { Code::EVEX_Vpextrb_r32m8_xmm_imm8 } else { Code::VEX_Vpextrb_r32m8_xmm_imm8 }
    }

    /// All ones, or a mask bit, where the predicate holds.
    pub(super) fn compare(self) -> Code {
        pick!(
            self,
            VEX_Vcmpps_ymm_ymm_ymmm256_imm8,
            VEX_Vcmppd_ymm_ymm_ymmm256_imm8,
            EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae,
            EVEX_Vcmppd_kr_k1_zmm_zmmm512b64_imm8_sae
        )
    }

    /// The third operand where the mask is set, else the second.
    pub(super) fn blend(self) -> Code {
        pick!(
            self,
            VEX_Vblendvps_ymm_ymm_ymmm256_ymm,
            VEX_Vblendvpd_ymm_ymm_ymmm256_ymm,
            EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32,
            EVEX_Vblendmpd_zmm_k1z_zmm_zmmm512b64
        )
    }

    /// The bits that either has.
    pub(super) fn or(self) -> Code {
        if self.wide { Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32 } else { Code::VEX_Vpor_ymm_ymm_ymmm256 }
    }

    pub(super) fn shift_left(self) -> Code {
        pick!(
            self,
            VEX_Vpslld_ymm_ymm_imm8,
            VEX_Vpsllq_ymm_ymm_imm8,
            EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8,
            EVEX_Vpsllq_zmm_k1z_zmmm512b64_imm8
        )
    }

    /// Loads the lanes whose mask, a vector, is set. AVX2 only.
    pub(super) fn load_masked(self) -> Code {
        if self.double { Code::VEX_Vmaskmovpd_ymm_ymm_m256 } else { Code::VEX_Vmaskmovps_ymm_ymm_m256 }
    }

    /// One element to lane 0, the rest zero.
    pub(super) fn load_one(self) -> Code {
        pick!(self, VEX_Vmovss_xmm_m32, VEX_Vmovsd_xmm_m64, EVEX_Vmovss_xmm_k1z_m32, EVEX_Vmovsd_xmm_k1z_m64)
    }

    pub(super) fn store_one(self) -> Code {
        pick!(self, VEX_Vmovss_m32_xmm, VEX_Vmovsd_m64_xmm, EVEX_Vmovss_m32_k1_xmm, EVEX_Vmovsd_m64_k1_xmm)
    }

    /// One element from memory to a lane of 128 bits; for doubles to the upper one.
    pub(super) fn insert(self) -> Code {
        pick!(
            self,
            VEX_Vinsertps_xmm_xmm_xmmm32_imm8,
            VEX_Vmovhpd_xmm_xmm_m64,
            EVEX_Vinsertps_xmm_xmm_xmmm32_imm8,
            EVEX_Vmovhpd_xmm_xmm_m64
        )
    }

    /// One lane of 128 bits to memory; for doubles the upper one.
    pub(super) fn extract(self) -> Code {
        pick!(
            self,
            VEX_Vextractps_rm32_xmm_imm8,
            VEX_Vmovhpd_m64_xmm,
            EVEX_Vextractps_rm32_xmm_imm8,
            EVEX_Vmovhpd_m64_xmm
        )
    }

    /// 128 bits into a register of full width.
    pub(super) fn insert_part(self) -> Code {
        if self.wide {
            Code::EVEX_Vinsertf32x4_zmm_k1z_zmm_xmmm128_imm8
        } else {
            Code::VEX_Vinsertf128_ymm_ymm_xmmm128_imm8
        }
    }

    /// 128 bits out of a register of full width.
    pub(super) fn extract_part(self) -> Code {
        if self.wide { Code::EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8 } else { Code::VEX_Vextractf128_xmmm128_ymm_imm8 }
    }

    /// The lowest 128 bits to memory. AVX2 only.
    pub(super) fn store_part(self) -> Code {
        if self.double { Code::VEX_Vmovupd_xmmm128_xmm } else { Code::VEX_Vmovups_xmmm128_xmm }
    }

    /// Any lanes of the first operand and the third, by the second. AVX-512 only.
    pub(super) fn permute_two(self) -> Code {
        if self.double {
            Code::EVEX_Vpermt2pd_zmm_k1z_zmm_zmmm512b64
        } else {
            Code::EVEX_Vpermt2ps_zmm_k1z_zmm_zmmm512b32
        }
    }

    /// Whether lanes move to other places by a constant in the instruction, and not by indices in a register.
    pub(super) fn permutes_by_constant(self) -> bool {
        self.double && !self.wide
    }

    /// Any lanes of the third operand, by the second. Not for doubles with AVX2.
    pub(super) fn permute(self) -> Code {
        match (self.wide, self.double) {
            (false, _) => Code::VEX_Vpermps_ymm_ymm_ymmm256,
            (true, false) => Code::EVEX_Vpermps_zmm_k1z_zmm_zmmm512b32,
            (true, true) => Code::EVEX_Vpermpd_zmm_k1z_zmm_zmmm512b64,
        }
    }

    /// A load of 8, 16 or 32 bytes into the lowest bits of a register, and that part of it; 32 with AVX-512 only.
    pub(super) fn load_low(self, bytes: usize, number: usize) -> (Code, Register) {
        let part = self.part(number);
        match (self.wide, bytes) {
            (false, 8) => (Code::VEX_Vmovsd_xmm_m64, part),
            (false, _) => (Code::VEX_Vmovups_xmm_xmmm128, part),
            (true, 8) => (Code::EVEX_Vmovsd_xmm_k1z_m64, part),
            (true, 16) => (Code::EVEX_Vmovups_xmm_k1z_xmmm128, part),
            (true, _) => (Code::EVEX_Vmovups_ymm_k1z_ymmm256, Register::YMM0 + number as u32),
        }
    }

    /// Lanes of two operands within each 128 bits. AVX2 only.
    pub(super) fn shuffle(self) -> Code {
        if self.double { Code::VEX_Vshufpd_ymm_ymm_ymmm256_imm8 } else { Code::VEX_Vshufps_ymm_ymm_ymmm256_imm8 }
    }
}
