//! The simulator's instructions for halves.

use convoke_core::eval::F16;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::{Machine, Vector, low, vector};

/// Whether an instruction for halves may leave lanes out.
pub(crate) fn takes_mask(mnemonic: Mnemonic) -> bool {
    matches!(mnemonic, Mnemonic::Vpmovzxwd | Mnemonic::Vcvtph2ps | Mnemonic::Vcvtps2ph | Mnemonic::Vpmovdw)
}

impl Machine<'_> {
    pub(crate) fn half(&mut self, i: &Instruction) -> Result<(), String> {
        use Mnemonic as M;
        match i.mnemonic() {
            M::Vpmovzxwd => self.widen_words(i, u32::from)?,
            M::Vcvtph2ps => self.widen_words(i, |word| F16::from_bits(word).to_f32().to_bits())?,
            // Rounding as the constant says, to the nearest.
            M::Vcvtps2ph if i.immediate8() == 0 => {
                self.narrow_words(i, |lane| F16::from_f32(f32::from_bits(lane)).to_bits())?;
            }
            M::Vpmovdw => self.narrow_words(i, |lane| lane as u16)?,
            M::Vpbroadcastw => self.broadcast(i, 2)?,
            M::Vpinsrw => self.insert(i, 2, 2 * (i.immediate8() as usize & 7))?,
            M::Vpextrw => self.one(i, 2, 2 * (i.immediate8() as usize & 7))?,
            M::Vpand | M::Vpandd => self.integers(i, |a, b| a & b)?,
            // Words of each 128 bits of the first operand, then of the second.
            M::Vpackusdw => {
                let (a, b) = (self.source(i, 1)?, self.source(i, 2)?);
                let mut value = [0; 64];
                for (n, slot) in value.chunks_exact_mut(2).enumerate() {
                    let from = if n % 8 < 4 { &a } else { &b };
                    let at = n / 8 * 16 + n % 4 * 4;
                    let lane = low(&from[at..at + 4]) as u32 as i32;
                    slot.copy_from_slice(&(lane.clamp(0, 0xffff) as u16).to_le_bytes());
                }
                self.set(i, value)?;
            }
            M::Vpermq if i.op_kind(2) == OpKind::Immediate8 => {
                let a = self.source(i, 1)?;
                let from = |n: usize| 8 * (i.immediate8() as usize >> (2 * (n / 8)) & 3) + n % 8;
                self.set(i, std::array::from_fn(|n| if n < 32 { a[from(n)] } else { 0 }))?;
            }
            _ => return Err("an unknown instruction".to_owned()),
        }
        Ok(())
    }

    /// Words to lanes of 32 bits; those that the mask leaves out are zero, and not read.
    fn widen_words(&mut self, i: &Instruction, f: impl Fn(u16) -> u32) -> Result<(), String> {
        if i.op_mask() != Register::None && !i.zeroing_masking() {
            return Err("lanes that are kept".to_owned());
        }
        let lanes = vector(i.op0_register())?.1 / 4;
        let mut value = [0; 64];
        for lane in 0..lanes {
            if !self.takes(i, lane)? {
                continue;
            }
            let word = match i.op1_kind() {
                OpKind::Memory => low(&self.read(self.address(i)?.wrapping_add(2 * lane as u64), 2)?),
                _ => low(&self.vectors[vector(i.op1_register())?.0][2 * lane..2 * lane + 2]),
            };
            value[4 * lane..4 * lane + 4].copy_from_slice(&f(word as u16).to_le_bytes());
        }
        self.set(i, value)
    }

    /// Lanes of 32 bits to words, in memory or in a register.
    fn narrow_words(&mut self, i: &Instruction, f: impl Fn(u32) -> u16) -> Result<(), String> {
        let (number, width) = vector(i.op1_register())?;
        let from: Vector = self.vectors[number];
        let mut value = [0; 64];
        for lane in 0..width / 4 {
            let word = f(low(&from[4 * lane..4 * lane + 4]) as u32).to_le_bytes();
            if i.op0_kind() != OpKind::Memory {
                value[2 * lane..2 * lane + 2].copy_from_slice(&word);
            } else if self.takes(i, lane)? {
                let at = self.address(i)?.wrapping_add(2 * lane as u64);
                self.memory(at, 2, true)?.copy_from_slice(&word);
            }
        }
        if i.op0_kind() == OpKind::Memory { Ok(()) } else { self.set(i, value) }
    }
}
