//! Copies of single elements to places that are data: scalar code, in registers that hold nothing between instructions of the tile.

use convoke_core::ir::Address;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::frame::{TEMPORARY, TEMPORARY_2};
use super::tile::Emitter;
use crate::error::JitError;

impl Emitter<'_> {
    pub(super) fn copy_to(
        &mut self,
        (to, count, stride): (Address, u64, i64),
        from: Address,
        at: Address,
    ) -> Result<(), JitError> {
        let (index, last) = (Register::EAX, Register::R11D);
        let place = self.near(at)?;
        self.a.scalar(Instruction::with2(Code::Mov_r32_rm32, index, place));
        self.set(TEMPORARY_2, count as i64 - 1);
        self.a.scalar(Instruction::with2(Code::Cmp_r32_rm32, index, last));
        self.a.scalar(Instruction::with2(Code::Cmova_r32_rm32, index, last));
        let stride = self.in_bytes(to.ptr, stride)?;
        self.multiply(TEMPORARY, TEMPORARY, stride);
        self.a.scalar(Instruction::with2(Code::Add_r64_rm64, TEMPORARY, self.frame.pointer(to.ptr.0)));
        let (load, store, loaded, stored) = match self.storage(to.ptr).bytes() {
            1 => (Code::Movzx_r32_rm8, Code::Mov_rm8_r8, Register::R11D, Register::R11L),
            2 => (Code::Movzx_r32_rm16, Code::Mov_rm16_r16, Register::R11D, Register::R11W),
            4 => (Code::Mov_r32_rm32, Code::Mov_rm32_r32, Register::R11D, Register::R11D),
            _ => (Code::Mov_r64_rm64, Code::Mov_rm64_r64, Register::R11, Register::R11),
        };
        let place = self.near(from)?;
        self.a.scalar(Instruction::with2(load, loaded, place));
        let displacement = self.displacement(to)?;
        let place = MemoryOperand::with_base_displ(TEMPORARY, displacement.into());
        self.a.scalar(Instruction::with2(store, place, stored));
        Ok(())
    }

    /// An element that the instruction itself reaches.
    fn near(&self, at: Address) -> Result<MemoryOperand, JitError> {
        let displacement = self.displacement(at)?;
        Ok(MemoryOperand::with_base_displ(self.frame.pointer(at.ptr.0), displacement.into()))
    }

    /// Bytes from the pointer on, as many as an instruction holds.
    fn displacement(&self, at: Address) -> Result<i32, JitError> {
        let bytes = self.in_bytes(at.ptr, at.offset)?;
        i32::try_from(bytes).map_err(|_| self.too_far(at.offset))
    }
}
