//! Vector loads and stores of any number of lanes at any distance.
//!
//! Whole contiguous vectors are one instruction. With AVX-512 fewer lanes are masked. With AVX2 fewer lanes are loaded by
//! a mask in a vector register, but stored in pieces of 128, 64 and 32 bits, because masked stores take dozens of
//! cycles on some processors. Lanes with a distance are put together one by one, 128 bits at a time; a distance of two,
//! which a stride of two along a row asks for, is two loads and a permutation: with AVX2 of whole vectors, with AVX-512 of
//! any that are more than 128 bits. Contiguous elements that each go to several lanes are one load and a permutation.

use convoke_core::ir::{Access, Address, Reg};
use iced_x86::{Code, Instruction, Register};

use super::assembler::{Operand, memory};
use super::frame::TEMPORARY;
use super::tile::{COMPARED, Emitter, Scratch};
use crate::error::JitError;

use Operand::{Imm, Reg as R};

/// The predicate of a comparison of integers.
const LESS: u8 = 1;

/// How a load or a store is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Whole,
    /// Contiguous lanes that fill the lowest 32, 64 or 128 bits.
    Lowest,
    Masked,
    EverySecond,
    /// Elements that fill the lowest 64, 128 or 256 bits, each into several lanes.
    Repeated,
    OneByOne,
}

impl Emitter<'_> {
    fn load_way(&self, from: &Access) -> Way {
        let (lanes, bytes) = (self.v.lanes(), from.lanes * self.v.element_bytes());
        if from.repeat > 1 {
            let elements = from.elements();
            let even = from.lanes == lanes && elements * from.repeat == lanes && elements > 1;
            let low = elements.is_power_of_two() && from.stride == 1;
            return if even && low { Way::Repeated } else { Way::OneByOne };
        }
        match from.stride {
            1 if from.lanes == lanes => Way::Whole,
            1 if !self.v.has_masks() && matches!(bytes, 4 | 8 | 16) => Way::Lowest,
            1 => Way::Masked,
            2 if from.lanes == lanes => Way::EverySecond,
            // Lanes that fill 128 bits are as soon put together.
            2 if self.v.has_masks() && from.lanes > self.v.part_lanes() => Way::EverySecond,
            _ => Way::OneByOne,
        }
    }

    /// What a load does to the scratch register.
    pub(super) fn load_scratch(&self, from: &Access) -> Scratch {
        if self.storage(from.at.ptr).is_narrow() {
            return Scratch::Free;
        }
        if self.storage(from.at.ptr).is_half() {
            return self.half_scratch(from);
        }
        match self.load_way(from) {
            Way::Whole | Way::Lowest => Scratch::Free,
            Way::Masked if self.v.has_masks() => Scratch::Free,
            Way::Masked => Scratch::Mask(from.lanes),
            Way::EverySecond if self.v.has_masks() => Scratch::EverySecond(self.spread(from.lanes)),
            Way::EverySecond => Scratch::Other,
            Way::Repeated if self.v.permutes_by_constant() => Scratch::Free,
            Way::Repeated => Scratch::Repeated(from.repeat),
            Way::OneByOne if from.lanes <= self.v.part_lanes() => Scratch::Free,
            Way::OneByOne => Scratch::Other,
        }
    }

    /// What a store does to the scratch register.
    pub(super) fn store_scratch(&self, to: &Access) -> Scratch {
        if self.storage(to.at.ptr).is_narrow() || self.storage(to.at.ptr).is_half() {
            return Scratch::Other;
        }
        let is_whole = to.stride == 1 && (to.lanes == self.v.lanes() || self.v.has_masks());
        if is_whole || to.lanes <= self.v.part_lanes() { Scratch::Free } else { Scratch::Other }
    }

    pub(super) fn load(&mut self, d: Reg, from: Access) -> Result<(), JitError> {
        if self.storage(from.at.ptr).is_narrow() {
            return self.load_narrow(d, from);
        }
        if self.storage(from.at.ptr).is_half() {
            return self.load_half(d, from);
        }
        let (v, number) = (self.v, d.0 as usize);
        let register = R(v.register(number));
        match self.load_way(&from) {
            Way::Whole => {
                let at = self.address(from.at, 0)?;
                self.a.vector(v.load(), &[register, at]);
            }
            Way::Lowest => {
                let at = self.address(from.at, 0)?;
                let code = match from.lanes * v.element_bytes() {
                    4 => Code::VEX_Vmovss_xmm_m32,
                    8 => Code::VEX_Vmovsd_xmm_m64,
                    _ => Code::VEX_Vmovups_xmm_xmmm128,
                };
                self.a.vector(code, &[R(v.part(number)), at]);
            }
            Way::Masked if v.has_masks() => {
                let mask = self.mask(from.lanes);
                let at = self.address(from.at, 0)?;
                self.a.masked(v.load(), &[register, at], mask);
            }
            Way::Masked => {
                self.hold(Scratch::Mask(from.lanes));
                let at = self.address(from.at, 0)?;
                self.a.vector(v.load_masked(), &[register, R(v.register(self.scratch_register)), at]);
            }
            Way::EverySecond => self.load_every_second(number, from)?,
            Way::Repeated => self.load_repeated(number, from)?,
            Way::OneByOne => self.load_one_by_one(number, from)?,
        }
        Ok(())
    }

    fn load_repeated(&mut self, d: usize, from: Access) -> Result<(), JitError> {
        let v = self.v;
        let register = R(v.register(d));
        if !v.permutes_by_constant() {
            self.hold(Scratch::Repeated(from.repeat));
        }
        let at = self.address(from.at, 0)?;
        let (code, low) = v.load_low(from.elements() * v.element_bytes(), d);
        self.a.vector(code, &[R(low), at]);
        if v.permutes_by_constant() {
            self.a.vector(Code::VEX_Vpermpd_ymm_ymmm256_imm8, &[register, register, Imm(0b01_01_00_00)]);
        } else {
            self.a.vector(v.permute(), &[register, R(v.register(self.scratch_register)), register]);
        }
        Ok(())
    }

    /// Elements that the integers in `a` say; 0 for those that are not among the first `of`.
    ///
    /// With AVX2 the mask is a vector whose signs count. Less `of`, an integer from 0 on is below 0 if it is below `of`.
    pub(super) fn load_gathered(&mut self, d: Reg, a: Reg, from: Address, of: u32) -> Result<(), JitError> {
        let v = self.v;
        let [to, index] = [d, a].map(|reg| v.register(reg.0 as usize));
        let all = |lane: u32| lane.to_le_bytes().repeat(v.lanes());
        if v.has_masks() {
            let of = self.a.constant(&all(of));
            self.a.vector(Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8, &[R(COMPARED), R(index), of, Imm(LESS)]);
        } else {
            self.hold(Scratch::Other);
            let mask = R(v.register(self.scratch_register));
            let less = self.a.constant(&all(of.wrapping_neg()));
            self.a.vector(v.add_integers(), &[mask, R(index), less]);
            self.a.vector(Code::VEX_Vpandn_ymm_ymm_ymmm256, &[mask, R(index), mask]);
        }
        self.a.vector(v.xor(), &[R(to), R(to), R(to)]);
        let Operand::Mem(mut at) = self.address(from, 0)? else { return Ok(()) };
        (at.index, at.scale) = (index, v.element_bytes() as u32);
        if v.has_masks() {
            self.a.vector(Code::EVEX_Vgatherdps_zmm_k1_vm32z, &[R(to), Operand::Mem(at)]);
            self.a.mask_last(COMPARED);
        } else {
            let mask = R(v.register(self.scratch_register));
            self.a.vector(Code::VEX_Vgatherdps_ymm_vm32y_ymm, &[R(to), Operand::Mem(at), mask]);
        }
        Ok(())
    }

    /// Lanes of a load of every second element whose permutation suits one of `lanes`: one load has all of less than half of them.
    fn spread(&self, lanes: usize) -> usize {
        if 2 * lanes > self.v.lanes() { lanes } else { self.v.lanes() }
    }

    /// The second of the two loads ends with the last lane, so that nothing past it is touched.
    fn load_every_second(&mut self, d: usize, from: Access) -> Result<(), JitError> {
        let v = self.v;
        let (register, scratch) = (R(v.register(d)), R(v.register(self.scratch_register)));
        let between = 2 * from.lanes - 1;
        if v.has_masks() {
            self.hold(Scratch::EverySecond(self.spread(from.lanes)));
            // Masks come before addresses, whose register filling one may overwrite.
            let one = between < v.lanes();
            if one {
                let mask = self.mask(between);
                let at = self.address(from.at, 0)?;
                self.a.masked(v.load(), &[register, at], mask);
            } else {
                let at = self.address(from.at, 0)?;
                self.a.vector(v.load(), &[register, at]);
            }
            let mask = (from.lanes < v.lanes()).then(|| self.mask(from.lanes));
            let second = if one { register } else { self.address(from.at, (between - v.lanes()) as i64)? };
            self.a.vector(v.permute_two(), &[register, scratch, second]);
            if let Some(mask) = mask {
                self.a.zero_others(mask);
            }
            return Ok(());
        }
        let upper = v.lanes() as i64 - 1;
        self.hold(Scratch::Other);
        let at = self.address(from.at, 0)?;
        self.a.vector(v.load(), &[scratch, at]);
        let at = self.address(from.at, upper)?;
        // Of each 128 bits: the even lanes of the first load, the odd ones of the second; then the quarters in order.
        let lanes = if v.element_bytes() == 4 { 0b11_01_10_00 } else { 0b1010 };
        self.a.vector(v.shuffle(), &[register, scratch, at, Imm(lanes)]);
        self.a.vector(Code::VEX_Vpermpd_ymm_ymmm256_imm8, &[register, register, Imm(0b11_01_10_00)]);
        Ok(())
    }

    fn load_one_by_one(&mut self, d: usize, from: Access) -> Result<(), JitError> {
        let v = self.v;
        let part_lanes = v.part_lanes();
        for first in (0..from.lanes).step_by(part_lanes) {
            let target = if first == 0 { d } else { self.scratch_register };
            if first > 0 {
                self.hold(Scratch::Other);
            }
            let x = R(v.part(target));
            for lane in first..from.lanes.min(first + part_lanes) {
                let at = self.lane_address(from, lane)?;
                match lane - first {
                    0 => self.a.vector(v.load_one(), &[x, at]),
                    _ if part_lanes == 2 => self.a.vector(v.insert(), &[x, x, at]),
                    n => self.a.vector(v.insert(), &[x, x, at, Imm((n as u8) << 4)]),
                }
            }
            if first > 0 {
                let register = R(v.register(d));
                self.a.vector(v.insert_part(), &[register, register, x, Imm((first / part_lanes) as u8)]);
            }
        }
        Ok(())
    }

    pub(super) fn store(&mut self, to: Access, s: Reg) -> Result<(), JitError> {
        if self.storage(to.at.ptr).is_narrow() {
            return self.store_narrow(to, s);
        }
        if self.storage(to.at.ptr).is_half() {
            return self.store_half(to, s);
        }
        let (v, number) = (self.v, s.0 as usize);
        let register = R(v.register(number));
        if to.stride != 1 {
            return self.store_one_by_one(to, number);
        }
        if to.lanes == v.lanes() {
            let at = self.address(to.at, 0)?;
            self.a.vector(v.store(), &[at, register]);
        } else if v.has_masks() {
            let mask = self.mask(to.lanes);
            let at = self.address(to.at, 0)?;
            self.a.masked(v.store(), &[at, register], mask);
        } else {
            self.store_pieces(to, number)?;
        }
        Ok(())
    }

    fn store_pieces(&mut self, to: Access, s: usize) -> Result<(), JitError> {
        let v = self.v;
        let (mut x, mut first) = (R(v.part(s)), 0);
        if to.lanes >= v.part_lanes() {
            let at = self.address(to.at, 0)?;
            self.a.vector(v.store_part(), &[at, x]);
            first = v.part_lanes();
            if first == to.lanes {
                return Ok(());
            }
            x = self.part_of(s, 1);
        }
        let mut rest = to.lanes - first;
        let mut lane = 0;
        if v.element_bytes() == 4 && rest >= 2 {
            let at = self.address(to.at, first as i64)?;
            self.a.vector(Code::VEX_Vmovlps_m64_xmm, &[at, x]);
            (rest, lane) = (rest - 2, 2);
        }
        if rest > 0 {
            let at = self.address(to.at, (first + lane) as i64)?;
            self.store_lane(at, x, lane);
        }
        Ok(())
    }

    fn store_one_by_one(&mut self, to: Access, s: usize) -> Result<(), JitError> {
        let part_lanes = self.v.part_lanes();
        for first in (0..to.lanes).step_by(part_lanes) {
            let x = self.part_of(s, first / part_lanes);
            for lane in first..to.lanes.min(first + part_lanes) {
                let at = self.lane_address(to, lane)?;
                self.store_lane(at, x, lane - first);
            }
        }
        Ok(())
    }

    /// The 128 bits of that number, copied to the scratch register unless they are the lowest.
    fn part_of(&mut self, s: usize, part: usize) -> Operand {
        let v = self.v;
        if part == 0 {
            return R(v.part(s));
        }
        self.hold(Scratch::Other);
        let x = R(v.part(self.scratch_register));
        self.a.vector(v.extract_part(), &[x, R(v.register(s)), Imm(part as u8)]);
        x
    }

    fn store_lane(&mut self, at: Operand, x: Operand, lane: usize) {
        let v = self.v;
        match lane {
            0 => self.a.vector(v.store_one(), &[at, x]),
            _ if v.part_lanes() == 2 => self.a.vector(v.extract(), &[at, x]),
            n => self.a.vector(v.extract(), &[at, x, Imm(n as u8)]),
        }
    }

    pub(super) fn lane_address(&mut self, access: Access, lane: usize) -> Result<Operand, JitError> {
        let distance =
            access.stride.checked_mul(access.element_of(lane) as i64).ok_or_else(|| self.too_far(access.stride))?;
        self.address(access.at, distance)
    }

    /// The operand for the element `distance` past `at`; good for the next instruction only.
    pub(super) fn address(&mut self, at: Address, distance: i64) -> Result<Operand, JitError> {
        let elements = at.offset.checked_add(distance).ok_or_else(|| self.too_far(at.offset))?;
        let bytes = self.in_bytes(at.ptr, elements)?;
        let base = self.frame.pointer(at.ptr.0);
        Ok(match i32::try_from(bytes) {
            Ok(displacement) => memory(base, displacement),
            Err(_) => {
                self.a.scalar(Instruction::with2(Code::Mov_r64_imm64, TEMPORARY, bytes));
                self.a.scalar(Instruction::with2(Code::Add_r64_rm64, TEMPORARY, base));
                memory(TEMPORARY, 0)
            }
        })
    }

    /// The mask register with the lowest `lanes` bits set. The tile's entry fills one for each number of lanes; where
    /// there are more numbers than registers, the last is filled again for each use, which overwrites the temporary: a
    /// far address must come after.
    pub(super) fn mask(&mut self, lanes: usize) -> Register {
        if let Some(at) = self.masks.iter().position(|&n| n == lanes) {
            return Register::K1 + at as u32;
        }
        let mask = Register::K6;
        self.fill_mask(mask, lanes);
        mask
    }

    pub(super) fn fill_mask(&mut self, mask: Register, lanes: usize) {
        let bits = (1_u32 << lanes) - 1;
        self.a.scalar(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, bits));
        self.a.scalar(Instruction::with2(Code::VEX_Kmovw_kr_r32, mask, Register::EAX));
    }

    /// Has the scratch register hold a constant, or notes that it holds something else from here on.
    pub(super) fn hold(&mut self, what: Scratch) {
        if self.scratch == what && what != Scratch::Other {
            return;
        }
        self.scratch = what;
        let v = self.v;
        let bits = |lane: u64| {
            if v.element_bytes() == 4 { (lane as u32).to_le_bytes().to_vec() } else { lane.to_le_bytes().to_vec() }
        };
        let lanes = v.lanes() as u64;
        let constant: Vec<u8> = match what {
            Scratch::Free | Scratch::Other => return,
            Scratch::Mask(n) => (0..lanes).flat_map(|lane| bits(if lane < n as u64 { u64::MAX } else { 0 })).collect(),
            // Lane i is element 2 i: of the first load, or of the second, which ends with the last of `n`.
            Scratch::EverySecond(n) => (0..lanes)
                .flat_map(|lane| bits(if 2 * lane < lanes { 2 * lane } else { 2 * (lanes + lane - n as u64) + 1 }))
                .collect(),
            Scratch::Repeated(n) => (0..lanes).flat_map(|lane| bits(lane / n as u64)).collect(),
        };
        let at = self.a.constant(&constant);
        self.a.vector(v.load(), &[R(v.register(self.scratch_register)), at]);
    }
}
