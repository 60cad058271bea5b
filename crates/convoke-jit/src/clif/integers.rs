//! Integers in tiles of 128 bits.
//!
//! Loads and stores of 8 bits go lane by lane, through floats of the same bits: those are put into and taken out of vectors by
//! instructions that every x86-64 has.

use convoke_core::ir::{Access, Address, BinaryOp, Conversion, Reg};
use convoke_core::spec::Storage;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::tile::{Emitter, bitcast_flags, memory_flags};
use crate::error::JitError;

impl Emitter<'_> {
    pub(super) fn load_narrow(&mut self, from: Access) -> Result<Value, JitError> {
        let lanes = (0..from.lanes).map(|lane| {
            let distance = self.lane_distance(from, lane)?;
            self.load_byte(from.at, distance)
        });
        let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
        Ok(self.vector_of(&lanes))
    }

    pub(super) fn pairs_of(&mut self, from: Access) -> Result<Value, JitError> {
        let mut lanes = Vec::with_capacity(from.lanes);
        for lane in 0..from.lanes as i64 {
            let low = self.load_byte(from.at, 2 * lane)?;
            let high = self.load_byte(from.at, 2 * lane + 1)?;
            let low = self.builder.ins().band_imm_u(low, 0xffff);
            let high = self.builder.ins().ishl_imm_u(high, 16);
            lanes.push(self.builder.ins().bor(low, high));
        }
        Ok(self.vector_of(&lanes))
    }

    /// Four bytes a lane are its bits.
    pub(super) fn quads_of(&mut self, from: Access) -> Result<Value, JitError> {
        let mut lanes = Vec::with_capacity(from.lanes);
        for lane in 0..from.lanes as i64 {
            let (address, offset) = self.address(from.at, 4 * lane)?;
            lanes.push(self.builder.ins().load(types::I32, memory_flags(), address, offset));
        }
        Ok(self.vector_of(&lanes))
    }

    /// An element a lane. For one that is not among the first `of`, the first is loaded and left out.
    pub(super) fn gather(&mut self, a: Reg, from: Address, of: u32) -> Result<Value, JitError> {
        let a = self.register(a);
        let (base, offset) = self.address(from, 0)?;
        let zero = self.builder.ins().iconst(types::I32, 0);
        let mut lanes = Vec::with_capacity(self.lanes.count());
        for lane in 0..self.lanes.count() {
            let at = self.builder.ins().extractlane(a, lane as u8);
            let at = self.builder.ins().bitcast(types::I32, bitcast_flags(), at);
            let of = self.builder.ins().iconst(types::I32, i64::from(of));
            let is_there = self.builder.ins().icmp(IntCC::UnsignedLessThan, at, of);
            let at = self.builder.ins().select(is_there, at, zero);
            let at = self.builder.ins().uextend(types::I64, at);
            let distance = self.builder.ins().ishl_imm_u(at, 2);
            let address = self.builder.ins().iadd(base, distance);
            let element = self.builder.ins().load(types::I32, memory_flags(), address, offset);
            lanes.push(self.builder.ins().select(is_there, element, zero));
        }
        Ok(self.vector_of(&lanes))
    }

    /// One integer of 8 bits, as one of 32.
    fn load_byte(&mut self, at: Address, distance: i64) -> Result<Value, JitError> {
        let (address, offset) = self.address(at, distance)?;
        let unsigned = self.storages[at.ptr.0 as usize] == Storage::U8;
        Ok(match unsigned {
            true => self.builder.ins().uload8(types::I32, memory_flags(), address, offset),
            false => self.builder.ins().sload8(types::I32, memory_flags(), address, offset),
        })
    }

    /// Integers as lanes; zeros behind them.
    pub(super) fn vector_of(&mut self, lanes: &[Value]) -> Value {
        let mut value = self.constant(0.0);
        for (lane, &integer) in lanes.iter().enumerate() {
            let float = self.builder.ins().bitcast(types::F32, bitcast_flags(), integer);
            value = self.builder.ins().insertlane(value, float, lane as u8);
        }
        value
    }

    pub(super) fn store_narrow(&mut self, to: Access, s: Reg) -> Result<(), JitError> {
        let value = self.register(s);
        let (least, most) = self.storages[to.at.ptr.0 as usize].range();
        for lane in 0..to.lanes {
            let float = self.builder.ins().extractlane(value, lane as u8);
            let integer = self.builder.ins().bitcast(types::I32, bitcast_flags(), float);
            let [least, most] = [least, most].map(|bound| self.builder.ins().iconst(types::I32, i64::from(bound)));
            let integer = self.builder.ins().smax(integer, least);
            let integer = self.builder.ins().smin(integer, most);
            let distance = self.lane_distance(to, lane)?;
            let (address, offset) = self.address(to.at, distance)?;
            self.builder.ins().istore8(memory_flags(), integer, address, offset);
        }
        Ok(())
    }

    pub(super) fn integers(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let cast = |e: &mut Self, kind, x| e.builder.ins().bitcast(kind, bitcast_flags(), x);
        let value = match op {
            BinaryOp::Dot => {
                let (a, b) = (cast(self, types::I16X8, a), cast(self, types::I16X8, b));
                let (a0, b0) = (self.builder.ins().swiden_low(a), self.builder.ins().swiden_low(b));
                let (a1, b1) = (self.builder.ins().swiden_high(a), self.builder.ins().swiden_high(b));
                let low = self.builder.ins().imul(a0, b0);
                let high = self.builder.ins().imul(a1, b1);
                self.builder.ins().iadd_pairwise(low, high)
            }
            BinaryOp::Join => {
                let (a, b) = (cast(self, types::I32X4, a), cast(self, types::I32X4, b));
                let low = self.builder.ins().ishl_imm_u(a, 16);
                let low = self.builder.ins().ushr_imm_u(low, 16);
                let high = self.builder.ins().ishl_imm_u(b, 16);
                self.builder.ins().bor(low, high)
            }
            BinaryOp::Splice => {
                let (a, b) = (cast(self, types::I32X4, a), cast(self, types::I32X4, b));
                let high = self.builder.ins().ishl_imm_u(b, 8);
                self.builder.ins().bor(a, high)
            }
            _ => {
                let (a, b) = (cast(self, types::I32X4, a), cast(self, types::I32X4, b));
                self.builder.ins().iadd(a, b)
            }
        };
        cast(self, self.lanes.vector, value)
    }

    pub(super) fn convert(&mut self, op: Conversion, a: Value) -> Value {
        let bits = self.lanes.bits;
        if op == Conversion::Float {
            let integer = self.builder.ins().bitcast(bits, bitcast_flags(), a);
            return self.builder.ins().fcvt_from_sint(types::F32X4, integer);
        }
        // Below 2^23, a sum with that is a whole number.
        let (zero, large) = (self.constant(0.0), self.constant(8_388_608.0));
        let (least, beyond) = (self.constant(-8_388_608.0), self.constant(2_147_483_648.0));
        let shift = self.if_less(a, zero, least, large);
        let sum = self.builder.ins().fadd(a, shift);
        let whole = self.builder.ins().fsub(sum, shift);
        let whole = self.if_less(a, large, whole, a);
        let whole = self.if_less(least, a, whole, a);
        let integer = self.builder.ins().fcvt_to_sint_sat(bits, whole);
        let value = self.builder.ins().bitcast(types::F32X4, bitcast_flags(), integer);
        let fits = self.builder.ins().fcmp(FloatCC::LessThan, whole, beyond);
        let fits = self.builder.ins().bitcast(types::F32X4, bitcast_flags(), fits);
        // The least integer has the bits of -0.0.
        let none = self.constant(-0.0);
        self.builder.ins().bitselect(fits, value, none)
    }
}
