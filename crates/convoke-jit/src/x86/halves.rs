//! Halves: loads that widen them, stores that round.
//!
//! `f16` has instructions for both (F16C, AVX-512). `bf16` is the upper half of a lane: widening is a shift, rounding an addition of
//! integers. AVX-512's own instruction for that takes subnormal numbers for zeros, so it is not used.

use convoke_core::ir::{Access, Address, Reg};
use convoke_core::spec::Storage;
use iced_x86::Code;

use super::assembler::Operand;
use super::narrow::PART;
use super::tile::{COMPARED, Emitter, Scratch, UNORDERED};
use crate::error::JitError;

use Operand::{Imm, Reg as R};

/// Halves in 128 bits.
const WORDS: usize = PART / 2;
/// A NaN that rounding leaves one: nothing is carried out of its lower half.
const NAN: u32 = 0xffff_0000;

impl Emitter<'_> {
    /// What [`Emitter::load_half`] does to the scratch register.
    pub(super) fn half_scratch(&self, from: &Access) -> Scratch {
        let gathered = from.stride != 1 || from.repeat > 1;
        if gathered && from.lanes > WORDS { Scratch::Other } else { Scratch::Free }
    }

    pub(super) fn load_half(&mut self, d: Reg, from: Access) -> Result<(), JitError> {
        let (v, number, storage) = (self.v, d.0 as usize, self.storage(from.at.ptr));
        let (code, register) = (v.widen_half(storage), R(v.register(number)));
        let contiguous = from.stride == 1 && from.repeat == 1;
        if contiguous && from.lanes == v.lanes() {
            let at = self.address(from.at, 0)?;
            self.a.vector(code, &[register, at]);
        } else if contiguous && v.has_masks() {
            let mask = self.mask(from.lanes);
            let at = self.address(from.at, 0)?;
            self.a.masked(code, &[register, at], mask);
        } else {
            self.gather(number, from, (0, from.lanes.min(WORDS)))?;
            if from.lanes > WORDS {
                self.hold(Scratch::Other);
                self.gather(self.scratch_register, from, (WORDS, from.lanes))?;
                let scratch = R(v.part(self.scratch_register));
                self.a.vector(v.insert_part(), &[register, register, scratch, Imm(1)]);
            }
            self.a.vector(code, &[register, R(v.half_register(number))]);
        }
        self.shift_up(storage, register);
        Ok(())
    }

    pub(super) fn broadcast_half(&mut self, d: Reg, from: Address) -> Result<(), JitError> {
        let (v, storage) = (self.v, self.storage(from.ptr));
        let (register, half) = (R(v.register(d.0 as usize)), R(v.half_register(d.0 as usize)));
        let at = self.address(from, 0)?;
        let code = v.broadcast_half(storage);
        if storage == Storage::F16 {
            self.a.vector(code, &[half, at]);
            self.a.vector(v.widen_half(storage), &[register, half]);
        } else {
            self.a.vector(code, &[register, at]);
        }
        self.shift_up(storage, register);
        Ok(())
    }

    /// Of `bf16`, which are the upper halves of floats.
    fn shift_up(&mut self, storage: Storage, register: Operand) {
        if storage == Storage::Bf16 {
            self.a.vector(self.v.shift_left(), &[register, register, Imm(16)]);
        }
    }

    pub(super) fn store_half(&mut self, to: Access, s: Reg) -> Result<(), JitError> {
        self.hold(Scratch::Other);
        let (v, storage) = (self.v, self.storage(to.at.ptr));
        let (register, number) = (R(v.register(s.0 as usize)), self.scratch_register);
        let (x, half) = (R(v.part(number)), R(v.half_register(number)));
        if storage == Storage::Bf16 {
            self.round_to_bf16(s);
        }
        // The instruction that makes halves of lanes, to memory or to a register.
        let (code, from, rounding) = match (storage, v.has_masks()) {
            (Storage::F16, _) => (Some(v.to_f16()), register, Some(Imm(0))),
            (_, true) => (Some(Code::EVEX_Vpmovdw_ymmm256_k1z_zmm), R(v.register(number)), None),
            // The words are together already.
            (_, false) => (None, x, None),
        };
        let operands = |to: Operand| [to, from].into_iter().chain(rounding).collect::<Vec<_>>();
        match code {
            Some(code) if to.stride == 1 && to.lanes == v.lanes() => {
                let at = self.address(to.at, 0)?;
                self.a.vector(code, &operands(at));
                return Ok(());
            }
            Some(code) if to.stride == 1 && v.has_masks() => {
                let mask = self.mask(to.lanes);
                let at = self.address(to.at, 0)?;
                self.a.masked(code, &operands(at), mask);
                return Ok(());
            }
            Some(code) => self.a.vector(code, &operands(half)),
            None => {}
        }
        self.scatter(to, x, (0, to.lanes.min(WORDS)))?;
        if to.lanes > WORDS {
            self.a.vector(v.extract_part(), &[x, R(v.register(number)), Imm(1)]);
            self.scatter(to, x, (WORDS, to.lanes))?;
        }
        Ok(())
    }

    /// The lanes of `s` rounded to `bf16`, in the lower halves of the scratch register's; with AVX2 in its lowest 128 bits. A NaN in `s`
    /// becomes another one, that rounding does not carry out of.
    fn round_to_bf16(&mut self, s: Reg) {
        let v = self.v;
        let (s, t) = (R(v.register(s.0 as usize)), R(v.register(self.scratch_register)));
        let mut all = |bits: u32| self.a.constant(&bits.to_le_bytes().repeat(v.lanes()));
        let (one, before) = (all(1), all(0x7fff));
        if v.has_masks() {
            let nan = all(NAN);
            self.a.vector(v.compare(), &[R(COMPARED), s, s, Imm(UNORDERED)]);
            self.a.vector(v.load(), &[s, nan]);
            self.a.mask_last(COMPARED);
        } else {
            self.a.vector(v.compare(), &[t, s, s, Imm(UNORDERED)]);
            self.a.vector(v.or(), &[s, s, t]);
            self.a.vector(v.shift_right(), &[t, t, Imm(16)]);
            self.a.vector(v.xor(), &[s, s, t]);
        }
        self.a.vector(v.shift_right(), &[t, s, Imm(16)]);
        self.a.vector(v.and(), &[t, t, one]);
        self.a.vector(v.add_integers(), &[t, t, before]);
        self.a.vector(v.add_integers(), &[t, t, s]);
        self.a.vector(v.shift_right(), &[t, t, Imm(16)]);
        if !v.has_masks() {
            // Of each 128 bits the words, twice; then those of both in the lowest.
            self.a.vector(Code::VEX_Vpackusdw_ymm_ymm_ymmm256, &[t, t, t]);
            self.a.vector(Code::VEX_Vpermq_ymm_ymmm256_imm8, &[t, t, Imm(0b10_00)]);
        }
    }
}
