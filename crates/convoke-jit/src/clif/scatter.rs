//! Copies of single elements to places that are data, in tiles of 128 bits.

use convoke_core::ir::Address;
use cranelift_codegen::ir::{InstBuilder, types};

use super::tile::{Emitter, memory_flags};
use crate::error::JitError;

impl Emitter<'_> {
    pub(super) fn scatter(
        &mut self,
        (to, count, stride): (Address, u64, i64),
        from: Address,
        at: Address,
    ) -> Result<(), JitError> {
        let kind = match self.element_bytes(to.ptr) {
            1 => types::I8,
            2 => types::I16,
            4 => types::I32,
            _ => types::I64,
        };
        let (address, offset) = self.address(at, 0)?;
        let index = self.builder.ins().load(types::I32, memory_flags(), address, offset);
        let last = self.builder.ins().iconst(types::I32, count as i64 - 1);
        let index = self.builder.ins().umin(index, last);
        let index = self.builder.ins().uextend(types::I64, index);
        let stride = self.in_bytes(to.ptr, stride)?;
        let distance = self.builder.ins().imul_imm_s(index, stride);
        let (address, offset) = self.address(from, 0)?;
        let element = self.builder.ins().load(kind, memory_flags(), address, offset);
        let (first, offset) = self.address(to, 0)?;
        let address = self.builder.ins().iadd(first, distance);
        self.builder.ins().store(memory_flags(), element, address, offset);
        Ok(())
    }
}
