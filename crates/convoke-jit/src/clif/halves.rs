//! Halves in tiles of 128 bits: loaded and stored as integers, converted by operations on those, and by additions and products that are exact
//! or round as the conversion does.
//!
//! The conversions are those of `convoke_core::eval`, on four lanes.

use convoke_core::ir::{Access, Address, Reg};
use convoke_core::spec::Storage;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{ConstantData, InstBuilder, Value, types};

use super::tile::{Emitter, bitcast_flags, memory_flags};
use crate::error::JitError;

/// `2^112`: from the exponents of `f16` to those of `f32`.
const REBIASED: f64 = 5_192_296_858_534_827_628_530_496_329_220_096.0;
/// The least normal number of `f16` and the least that is out of range for certain, as bits of `f32`.
const NORMAL: u32 = (127 - 14) << 23;
const BEYOND: u32 = (127 + 16) << 23;
const INFINITY: u32 = 0x7f80_0000;

impl Emitter<'_> {
    pub(super) fn load_half(&mut self, from: Access) -> Result<Value, JitError> {
        let mut lanes = Vec::with_capacity(from.lanes);
        for lane in 0..from.lanes {
            let distance = self.lane_distance(from, lane)?;
            let (address, offset) = self.address(from.at, distance)?;
            lanes.push(self.builder.ins().uload16(types::I32, memory_flags(), address, offset));
        }
        let value = self.vector_of(&lanes);
        let value = self.builder.ins().bitcast(types::I32X4, bitcast_flags(), value);
        Ok(self.widened(from.at, value))
    }

    pub(super) fn broadcast_half(&mut self, from: Address) -> Result<Value, JitError> {
        let (address, offset) = self.address(from, 0)?;
        let element = self.builder.ins().uload16(types::I32, memory_flags(), address, offset);
        let value = self.builder.ins().splat(types::I32X4, element);
        Ok(self.widened(from, value))
    }

    pub(super) fn store_half(&mut self, to: Access, s: Reg) -> Result<(), JitError> {
        let value = self.register(s);
        let bits = self.builder.ins().bitcast(types::I32X4, bitcast_flags(), value);
        let halves = match self.storages[to.at.ptr.0 as usize] {
            Storage::F16 => self.rounded_f16(bits),
            _ => self.rounded_bf16(value, bits),
        };
        let halves = self.builder.ins().bitcast(types::F32X4, bitcast_flags(), halves);
        for lane in 0..to.lanes {
            let half = self.builder.ins().extractlane(halves, lane as u8);
            let half = self.builder.ins().bitcast(types::I32, bitcast_flags(), half);
            let distance = self.lane_distance(to, lane)?;
            let (address, offset) = self.address(to.at, distance)?;
            self.builder.ins().istore16(memory_flags(), half, address, offset);
        }
        Ok(())
    }

    /// The same bits in every lane.
    fn all(&mut self, bits: u32) -> Value {
        let constant = self.builder.func.dfg.constants.insert(ConstantData::from(bits.to_le_bytes().repeat(4)));
        self.builder.ins().vconst(types::I32X4, constant)
    }

    /// Lanes that hold elements of what is at `at`, as floats.
    fn widened(&mut self, at: Address, halves: Value) -> Value {
        let bits = match self.storages[at.ptr.0 as usize] {
            Storage::F16 => self.widened_f16(halves),
            _ => self.builder.ins().ishl_imm_u(halves, 16),
        };
        self.builder.ins().bitcast(types::F32X4, bitcast_flags(), bits)
    }

    fn widened_f16(&mut self, halves: Value) -> Value {
        let (signs, magnitudes, infinity) = (self.all(0x8000), self.all(0x7fff), self.all(INFINITY));
        let sign = self.builder.ins().band(halves, signs);
        let sign = self.builder.ins().ishl_imm_u(sign, 16);
        let magnitude = self.builder.ins().band(halves, magnitudes);
        let magnitude = self.builder.ins().ishl_imm_u(magnitude, 13);
        let (small, factor) =
            (self.builder.ins().bitcast(types::F32X4, bitcast_flags(), magnitude), self.constant(REBIASED));
        let value = self.builder.ins().fmul(small, factor);
        let value = self.builder.ins().bitcast(types::I32X4, bitcast_flags(), value);
        let greatest = self.all((31 << 23) - 1);
        let special = self.builder.ins().icmp(IntCC::SignedGreaterThan, magnitude, greatest);
        let special = self.builder.ins().band(special, infinity);
        let value = self.builder.ins().bor(value, special);
        self.builder.ins().bor(value, sign)
    }

    fn rounded_f16(&mut self, bits: Value) -> Value {
        let (signs, magnitudes, one) = (self.all(0x8000), self.all(0x7fff_ffff), self.all(1));
        let sign = self.builder.ins().ushr_imm_u(bits, 16);
        let sign = self.builder.ins().band(sign, signs);
        let magnitude = self.builder.ins().band(bits, magnitudes);
        // The last bit of one half is that of subnormal numbers.
        let (half, half_bits) = (self.constant(0.5), self.all(0.5_f32.to_bits()));
        let small = self.builder.ins().bitcast(types::F32X4, bitcast_flags(), magnitude);
        let small = self.builder.ins().fadd(small, half);
        let small = self.builder.ins().bitcast(types::I32X4, bitcast_flags(), small);
        let small = self.builder.ins().isub(small, half_bits);
        let odd = self.builder.ins().ushr_imm_u(magnitude, 13);
        let odd = self.builder.ins().band(odd, one);
        let rebias = self.all(0xfff_u32.wrapping_sub(112 << 23));
        let normal = self.builder.ins().iadd(magnitude, rebias);
        let normal = self.builder.ins().iadd(normal, odd);
        let normal = self.builder.ins().ushr_imm_u(normal, 13);
        let (infinity, nan, infinite) = (self.all(0x7c00), self.all(0x7e00), self.all(INFINITY));
        let is_nan = self.builder.ins().icmp(IntCC::SignedGreaterThan, magnitude, infinite);
        let special = self.builder.ins().bitselect(is_nan, nan, infinity);
        let (least, most) = (self.all(NORMAL), self.all(BEYOND - 1));
        let is_small = self.builder.ins().icmp(IntCC::SignedGreaterThan, least, magnitude);
        let value = self.builder.ins().bitselect(is_small, small, normal);
        let is_special = self.builder.ins().icmp(IntCC::SignedGreaterThan, magnitude, most);
        let value = self.builder.ins().bitselect(is_special, special, value);
        self.builder.ins().bor(value, sign)
    }

    fn rounded_bf16(&mut self, value: Value, bits: Value) -> Value {
        let (one, before, nan) = (self.all(1), self.all(0x7fff), self.all(0x7fc0));
        let odd = self.builder.ins().ushr_imm_u(bits, 16);
        let odd = self.builder.ins().band(odd, one);
        let rounded = self.builder.ins().iadd(bits, before);
        let rounded = self.builder.ins().iadd(rounded, odd);
        let rounded = self.builder.ins().ushr_imm_u(rounded, 16);
        let is_nan = self.builder.ins().fcmp(FloatCC::Unordered, value, value);
        self.builder.ins().bitselect(is_nan, nan, rounded)
    }
}
