//! Loads of elements that lie anywhere, and the masks that they take.

use iced_x86::{Instruction, OpKind};

use super::{Machine, general, low, mask, vector};

impl Machine<'_> {
    /// Which integers from 0 on are less, to a mask.
    pub(crate) fn compare_integers(&mut self, i: &Instruction) -> Result<(), String> {
        let a = self.vectors[vector(i.op1_register())?.0];
        let b = match i.op_kind(2) {
            OpKind::Memory => self.read(self.address(i)?, 64)?,
            _ => self.vectors[vector(i.op2_register())?.0],
        };
        let less = |n: &usize| low(&a[4 * n..4 * n + 4]) < low(&b[4 * n..4 * n + 4]);
        self.masks[mask(i.op0_register())?] = (0..16).filter(less).fold(0, |bits, n| bits | 1 << n);
        Ok(())
    }

    /// Elements as far from the base as integers say, where the mask, a vector or a mask register, takes them; it is cleared.
    pub(crate) fn gather(&mut self, i: &Instruction) -> Result<(), String> {
        let (to, width) = vector(i.op0_register())?;
        let index = vector(i.memory_index())?.0;
        let by_vector = i.op_count() == 3;
        let by = if by_vector { vector(i.op2_register())?.0 } else { to };
        if to == index || (by_vector && (by == to || by == index)) || i.memory_index_scale() != 4 {
            return Err("registers that are not apart, or another scale".to_owned());
        }
        let base = self.general[general(i.memory_base())?].wrapping_add(i.memory_displacement64());
        let (mut value, indices, taken) = (self.vectors[to], self.vectors[index], self.vectors[by]);
        for lane in 0..width / 4 {
            let takes = if by_vector { taken[4 * lane + 3] >> 7 == 1 } else { self.takes(i, lane)? };
            if takes {
                let distance = i64::from(low(&indices[4 * lane..4 * lane + 4]) as i32) * 4;
                let element = self.read(base.wrapping_add(distance as u64), 4)?;
                value[4 * lane..4 * lane + 4].copy_from_slice(&element[..4]);
            }
        }
        match by_vector {
            true => self.vectors[by] = [0; 64],
            false => self.masks[mask(i.op_mask())?] = 0,
        }
        self.set(i, value)
    }
}
