//! Integers: loads and stores of 8 bits, and what no single instruction does; putting together and taking apart what is of fewer bits than
//! lanes, halves too.
//!
//! A whole vector is loaded and widened by one instruction; of fewer elements, or such at a distance, the bytes are put together first. A
//! store narrows into the scratch register, with saturation, and then writes what there is, byte by byte where it is no whole vector.

use convoke_core::ir::{Access, Reg};
use convoke_core::spec::Storage;
use iced_x86::Code;

use super::assembler::Operand;
use super::tile::{Emitter, Scratch};
use crate::error::JitError;

use Operand::{Imm, Reg as R};

/// Bytes of the register part that single bytes go into.
pub(super) const PART: usize = 16;

impl Emitter<'_> {
    pub(super) fn load_narrow(&mut self, d: Reg, from: Access) -> Result<(), JitError> {
        let (v, number, storage) = (self.v, d.0 as usize, self.storage(from.at.ptr));
        let (code, register) = (v.widen(storage, 32), R(v.register(number)));
        if from.lanes == v.lanes() && from.stride == 1 {
            let at = self.address(from.at, 0)?;
            self.a.vector(code, &[register, at]);
            return Ok(());
        }
        self.gather(number, from, (0, from.lanes))?;
        self.a.vector(code, &[register, R(v.part(number))]);
        Ok(())
    }

    /// What [`Emitter::load_pairs`] does to the scratch register.
    pub(super) fn pairs_scratch(&self, from: &Access) -> Scratch {
        let whole = from.lanes == self.v.lanes();
        if whole || 2 * from.lanes <= PART { Scratch::Free } else { Scratch::Other }
    }

    pub(super) fn load_pairs(&mut self, d: Reg, from: Access) -> Result<(), JitError> {
        let (v, number, storage) = (self.v, d.0 as usize, self.storage(from.at.ptr));
        let (code, register) = (v.widen(storage, 16), R(v.register(number)));
        if from.lanes == v.lanes() {
            let at = self.address(from.at, 0)?;
            self.a.vector(code, &[register, at]);
            return Ok(());
        }
        let bytes = 2 * from.lanes;
        self.gather(number, from, (0, bytes.min(PART)))?;
        if bytes > PART {
            self.hold(Scratch::Other);
            self.gather(self.scratch_register, from, (PART, bytes))?;
            let scratch = R(v.part(self.scratch_register));
            self.a.vector(v.insert_part(), &[register, register, scratch, Imm(1)]);
        }
        // Widening takes half a register: of 512 bits a part of 256, of 256 one of 128.
        let half = if v.bytes() == 64 { R(iced_x86::Register::YMM0 + number as u32) } else { R(v.part(number)) };
        self.a.vector(code, &[register, half]);
        Ok(())
    }

    /// Four bytes a lane are loaded as the lane that they are.
    pub(super) fn quads_scratch(&self, from: &Access) -> Scratch {
        let whole = from.lanes == self.v.lanes();
        if whole || self.v.has_masks() { Scratch::Free } else { Scratch::Mask(from.lanes) }
    }

    pub(super) fn load_quads(&mut self, d: Reg, from: Access) -> Result<(), JitError> {
        let (v, register) = (self.v, R(self.v.register(d.0 as usize)));
        if from.lanes == v.lanes() {
            let at = self.address(from.at, 0)?;
            self.a.vector(v.load(), &[register, at]);
        } else if v.has_masks() {
            let mask = self.mask(from.lanes);
            let at = self.address(from.at, 0)?;
            self.a.masked(v.load(), &[register, at], mask);
        } else {
            self.hold(Scratch::Mask(from.lanes));
            let at = self.address(from.at, 0)?;
            self.a.vector(v.load_masked(), &[register, R(v.register(self.scratch_register)), at]);
        }
        Ok(())
    }

    /// The instruction adds to its place, so a sum that is elsewhere is taken to the scratch register, which no operand is.
    pub(super) fn dot4(&mut self, d: Reg, a: Reg, b: Reg, c: Reg) {
        let v = self.v;
        let r = |reg: Reg| R(v.register(reg.0 as usize));
        if d == c {
            return self.a.vector(v.dot4(), &[r(d), r(a), r(b)]);
        }
        self.hold(Scratch::Other);
        let scratch = R(v.register(self.scratch_register));
        self.a.vector(v.copy(), &[scratch, r(c)]);
        self.a.vector(v.dot4(), &[scratch, r(a), r(b)]);
        self.a.vector(v.copy(), &[r(d), scratch]);
    }

    /// `d = a | b << 8`.
    pub(super) fn splice(&mut self, d: Reg, a: Reg, b: Reg) {
        self.hold(Scratch::Other);
        let v = self.v;
        let r = |reg: Reg| R(v.register(reg.0 as usize));
        let scratch = R(v.register(self.scratch_register));
        self.a.vector(v.shift_left(), &[scratch, r(b), Imm(8)]);
        self.a.vector(v.or(), &[r(d), r(a), scratch]);
    }

    /// Elements `start..end` of an access, of one or two bytes each, as they are, into the lowest bits of a register; zeros above them.
    pub(super) fn gather(&mut self, number: usize, from: Access, (start, end): (usize, usize)) -> Result<(), JitError> {
        let (v, x) = (self.v, R(self.v.part(number)));
        let size = self.storage(from.at.ptr).bytes();
        let (mut first, bytes) = (start, size * (end - start));
        if from.stride == 1 && from.repeat == 1 && bytes >= 4 {
            let at = self.address(from.at, start as i64)?;
            let moved = if bytes >= 8 { 8 } else { 4 };
            let (code, _) = v.load_low(8, number);
            self.a.vector(if moved == 8 { code } else { v.load_one() }, &[x, at]);
            first += moved / size;
        } else {
            self.a.vector(v.xor(), &[R(v.register(number)); 3]);
        }
        let insert = if size == 1 { v.insert_byte() } else { v.insert_word() };
        for element in first..end {
            let at = self.lane_address(from, element)?;
            self.a.vector(insert, &[x, x, at, Imm((element - start) as u8)]);
        }
        Ok(())
    }

    pub(super) fn store_narrow(&mut self, to: Access, s: Reg) -> Result<(), JitError> {
        self.hold(Scratch::Other);
        let (v, storage) = (self.v, self.storage(to.at.ptr));
        let source = R(v.register(s.0 as usize));
        let (scratch, x) = (R(v.register(self.scratch_register)), R(v.part(self.scratch_register)));
        let wide = v.bytes() == 64;
        if wide && storage == Storage::I8 {
            self.a.vector(Code::EVEX_Vpmovsdb_xmmm128_k1z_zmm, &[x, source]);
        } else if wide {
            // The instruction for unsigned results takes unsigned integers.
            self.a.vector(v.xor(), &[scratch; 3]);
            self.a.vector(Code::EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32, &[scratch, scratch, source]);
            self.a.vector(Code::EVEX_Vpmovusdb_xmmm128_k1z_zmm, &[x, scratch]);
        } else {
            let low = R(v.part(s.0 as usize));
            self.a.vector(Code::VEX_Vextracti128_xmmm128_ymm_imm8, &[x, source, Imm(1)]);
            self.a.vector(Code::VEX_Vpackssdw_xmm_xmm_xmmm128, &[x, low, x]);
            let to_bytes = if storage == Storage::U8 {
                Code::VEX_Vpackuswb_xmm_xmm_xmmm128
            } else {
                Code::VEX_Vpacksswb_xmm_xmm_xmmm128
            };
            self.a.vector(to_bytes, &[x, x, x]);
        }
        self.scatter(to, x, (0, to.lanes))
    }

    /// Lanes `start..end` of an access, of one or two bytes each and at most 128 bits, from the lowest bits of `x`.
    pub(super) fn scatter(&mut self, to: Access, x: Operand, (start, end): (usize, usize)) -> Result<(), JitError> {
        let (v, size) = (self.v, self.storage(to.at.ptr).bytes());
        let (mut first, bytes) = (start, size * (end - start));
        let wide = v.bytes() == 64;
        if to.stride == 1 && bytes >= 4 {
            let at = self.address(to.at, start as i64)?;
            let (code, moved) = match (bytes, wide) {
                (PART, false) => (Code::VEX_Vmovups_xmmm128_xmm, PART),
                (PART, true) => (Code::EVEX_Vmovups_xmmm128_k1z_xmm, PART),
                (8.., false) => (Code::VEX_Vmovlps_m64_xmm, 8),
                (8.., true) => (Code::EVEX_Vmovlps_m64_xmm, 8),
                _ => (v.store_one(), 4),
            };
            self.a.vector(code, &[at, x]);
            first += moved / size;
        }
        let extract = if size == 1 { v.extract_byte() } else { v.extract_word() };
        for lane in first..end {
            let at = self.lane_address(to, lane)?;
            self.a.vector(extract, &[at, x, Imm((lane - start) as u8)]);
        }
        Ok(())
    }

    /// `d` is the lower half of each lane of `a`, and above it that of `b`.
    pub(super) fn join(&mut self, d: Reg, a: Reg, b: Reg) {
        self.hold(Scratch::Other);
        let v = self.v;
        let r = |reg: Reg| R(v.register(reg.0 as usize));
        let scratch = R(v.register(self.scratch_register));
        self.a.vector(v.shift_left(), &[scratch, r(b), Imm(16)]);
        if v.bytes() == 64 {
            self.a.vector(v.shift_left(), &[r(d), r(a), Imm(16)]);
            self.a.vector(Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8, &[r(d), r(d), Imm(16)]);
            self.a.vector(Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32, &[r(d), r(d), scratch]);
        } else {
            // Of each two words the first from the last operand.
            self.a.vector(Code::VEX_Vpblendw_ymm_ymm_ymmm256_imm8, &[r(d), scratch, r(a), Imm(0x55)]);
        }
    }
}
