//! What the simulator's instructions do with the lanes of vectors.

use iced_x86::{Instruction, OpKind, Register};

use super::{Lane, Machine, Vector, low, mask, vector};

impl Machine<'_> {
    /// Load, store or copy: all at once, or the lanes that the mask takes, each by itself.
    pub(crate) fn copy(&mut self, i: &Instruction, bytes: usize) -> Result<(), String> {
        let to_memory = i.op0_kind() == OpKind::Memory;
        let (number, width) = vector(i.op_register(u32::from(to_memory)))?;
        let bytes = if i.op_mask() == Register::None { width } else { bytes };
        let mut value = if to_memory || i.zeroing_masking() { [0; 64] } else { self.vectors[number] };
        for lane in 0..width / bytes {
            if !self.takes(i, lane)? {
                continue;
            }
            let at = lane * bytes;
            if to_memory {
                let piece = self.vectors[number];
                let address = self.address(i)?.wrapping_add(at as u64);
                self.memory(address, bytes, true)?.copy_from_slice(&piece[at..at + bytes]);
            } else if i.op1_kind() == OpKind::Memory {
                let piece = self.read(self.address(i)?.wrapping_add(at as u64), bytes)?;
                value[at..at + bytes].copy_from_slice(&piece[..bytes]);
            } else {
                let from = self.source(i, 1)?;
                value[at..at + bytes].copy_from_slice(&from[at..at + bytes]);
            }
        }
        if to_memory { Ok(()) } else { self.set(i, value) }
    }

    /// Any lanes of the third operand, by indices in the second.
    pub(crate) fn permute(&mut self, i: &Instruction, bytes: usize) -> Result<(), String> {
        let (indices, from) = (self.source(i, 1)?, self.source(i, 2)?);
        let lanes = vector(i.op0_register())?.1 / bytes;
        let index = |n: usize| indices[n / bytes * bytes] as usize % lanes * bytes + n % bytes;
        self.set(i, std::array::from_fn(|n| from[index(n)]))
    }

    pub(crate) fn broadcast(&mut self, i: &Instruction, bytes: usize) -> Result<(), String> {
        let element = self.read(self.address(i)?, bytes)?;
        self.set(i, std::array::from_fn(|n| element[n % bytes]))
    }

    pub(crate) fn unary<T: Lane>(&mut self, i: &Instruction, f: impl Fn(T) -> T) -> Result<(), String> {
        let mut d = self.source(i, 1)?;
        for lane in d.chunks_exact_mut(T::BYTES) {
            let value = f(T::from_bytes(lane)).bits().to_le_bytes();
            lane.copy_from_slice(&value[..T::BYTES]);
        }
        self.set(i, d)
    }

    pub(crate) fn binary<T: Lane>(&mut self, i: &Instruction, f: impl Fn(T, T) -> T) -> Result<(), String> {
        self.ternary::<T>(i, |_, a, b| f(a, b))
    }

    pub(crate) fn ternary<T: Lane>(&mut self, i: &Instruction, f: impl Fn(T, T, T) -> T) -> Result<(), String> {
        let mut d = self.source(i, 0)?;
        let (a, b) = (self.source(i, 1)?, self.source(i, 2)?);
        let width = vector(i.op0_register())?.1;
        for lane in (0..width).step_by(T::BYTES) {
            let of = |v: &Vector| T::from_bytes(&v[lane..lane + T::BYTES]);
            let value = f(of(&d), of(&a), of(&b)).bits().to_le_bytes();
            d[lane..lane + T::BYTES].copy_from_slice(&value[..T::BYTES]);
        }
        self.set(i, d)
    }

    /// Greater, or unordered, quietly: the predicates that are asked for.
    pub(crate) fn compare<T: Lane>(&mut self, i: &Instruction) -> Result<(), String> {
        let holds: fn(T, T) -> bool = match i.immediate8() {
            0x1e => |a, b| a > b,
            3 => |a, b| a.partial_cmp(&b).is_none(),
            _ => return Err("an unknown predicate".to_owned()),
        };
        let to_mask = i.op0_register().is_k();
        let (a, b) = (self.vectors[vector(i.op1_register())?.0], self.vectors[vector(i.op2_register())?.0]);
        let width = vector(i.op1_register())?.1;
        let (mut all, mut bits) = ([0; 64], 0);
        for lane in 0..width / T::BYTES {
            let bytes = lane * T::BYTES..(lane + 1) * T::BYTES;
            if holds(T::from_bytes(&a[bytes.clone()]), T::from_bytes(&b[bytes.clone()])) {
                all[bytes].fill(0xff);
                bits |= 1 << lane;
            }
        }
        if to_mask {
            self.masks[mask(i.op0_register())?] = bits;
            return Ok(());
        }
        self.set(i, all)
    }

    pub(crate) fn blend_by_vector(&mut self, i: &Instruction, bytes: usize) -> Result<(), String> {
        let (a, b, mask) = (self.source(i, 1)?, self.source(i, 2)?, self.source(i, 3)?);
        let is_second = |n: usize| mask[n / bytes * bytes + bytes - 1] >> 7 == 1;
        self.set(i, std::array::from_fn(|n| if is_second(n) { b[n] } else { a[n] }))
    }

    pub(crate) fn blend_by_mask(&mut self, i: &Instruction, bytes: usize) -> Result<(), String> {
        if i.zeroing_masking() {
            return Err("lanes that become zero".to_owned());
        }
        let (mut value, b) = (self.source(i, 1)?, self.source(i, 2)?);
        for n in 0..64 {
            if self.takes(i, n / bytes)? {
                value[n] = b[n];
            }
        }
        self.set(i, value)
    }

    /// Lanes of 32 bits of two operands.
    pub(crate) fn integers(&mut self, i: &Instruction, f: impl Fn(i32, i32) -> i32) -> Result<(), String> {
        let (mut a, b) = (self.source(i, 1)?, self.source(i, 2)?);
        for (a, b) in a.chunks_exact_mut(4).zip(b.chunks_exact(4)) {
            a.copy_from_slice(&f(low(a) as i32, low(b) as i32).to_le_bytes());
        }
        self.set(i, a)
    }

    /// Lanes of 32 bits of one operand.
    pub(crate) fn each_integer(&mut self, i: &Instruction, f: impl Fn(i32) -> i32) -> Result<(), String> {
        let mut a = self.source(i, 1)?;
        for lane in a.chunks_exact_mut(4) {
            lane.copy_from_slice(&f(low(lane) as i32).to_le_bytes());
        }
        self.set(i, a)
    }

    /// Bytes to lanes of so many bytes.
    pub(crate) fn widen(&mut self, i: &Instruction, bytes: usize, f: impl Fn(u8) -> i32) -> Result<(), String> {
        let lanes = vector(i.op0_register())?.1 / bytes;
        let from = match i.op1_kind() {
            OpKind::Memory => self.read(self.address(i)?, lanes)?,
            _ => self.vectors[vector(i.op1_register())?.0],
        };
        let mut value = [0; 64];
        for (lane, slot) in value.chunks_exact_mut(bytes).enumerate().take(lanes) {
            slot.copy_from_slice(&f(from[lane]).to_le_bytes()[..bytes]);
        }
        self.set(i, value)
    }

    /// Lanes of 128 bits of two operands, side by side, in half as many bytes, within `bounds`.
    pub(crate) fn narrow(&mut self, i: &Instruction, bytes: usize, (least, most): (i64, i64)) -> Result<(), String> {
        let (a, b) = (self.source(i, 1)?, self.source(i, 2)?);
        let mut value = [0; 64];
        let both = [&a[..16], &b[..16]].concat();
        for (lane, slot) in both.chunks_exact(bytes).zip(value.chunks_exact_mut(bytes / 2)) {
            let shift = 64 - 8 * bytes;
            let number = (low(lane) as i64) << shift >> shift;
            slot.copy_from_slice(&number.clamp(least, most).to_le_bytes()[..bytes / 2]);
        }
        self.set(i, value)
    }

    /// Lanes of 512 bits to bytes.
    pub(crate) fn narrow_lanes(&mut self, i: &Instruction, f: impl Fn(i32) -> u8) -> Result<(), String> {
        let from = self.source(i, 1)?;
        let lane = |n: usize| low(&from[4 * n..4 * n + 4]) as i32;
        self.set(i, std::array::from_fn(|n| if n < 16 { f(lane(n)) } else { 0 }))
    }

    pub(crate) fn shift(&mut self, i: &Instruction, bytes: usize) -> Result<(), String> {
        let mut value = self.source(i, 1)?;
        for lane in value.chunks_exact_mut(bytes) {
            let shifted = low(lane) << i.immediate8();
            lane.copy_from_slice(&shifted.to_le_bytes()[..bytes]);
        }
        self.set(i, value)
    }

    pub(crate) fn load_by_vector(&mut self, i: &Instruction, bytes: usize) -> Result<(), String> {
        let mask = self.vectors[vector(i.op1_register())?.0];
        let (at, mut value) = (self.address(i)?, [0; 64]);
        for lane in (0..32).step_by(bytes).filter(|lane| mask[lane + bytes - 1] >> 7 == 1) {
            let element = self.read(at.wrapping_add(lane as u64), bytes)?;
            value[lane..lane + bytes].copy_from_slice(&element[..bytes]);
        }
        self.set(i, value)
    }

    /// Bytes from `first` on to memory, or bytes of memory to a register that is zero elsewhere.
    pub(crate) fn one(&mut self, i: &Instruction, bytes: usize, first: usize) -> Result<(), String> {
        let at = self.address(i)?;
        if i.op0_kind() == OpKind::Memory {
            let value = self.vectors[vector(i.op1_register())?.0];
            self.memory(at, bytes, true)?.copy_from_slice(&value[first..first + bytes]);
            return Ok(());
        }
        let value = self.read(at, bytes)?;
        self.set(i, value)
    }

    /// Bytes of memory into a copy of a register, from `first` on.
    pub(crate) fn insert(&mut self, i: &Instruction, bytes: usize, first: usize) -> Result<(), String> {
        let mut value = self.source(i, 1)?;
        let element = self.read(self.address(i)?, bytes)?;
        value[first..first + bytes].copy_from_slice(&element[..bytes]);
        self.set(i, value)
    }

    pub(crate) fn permute_two(&mut self, i: &Instruction, bytes: usize) -> Result<(), String> {
        let (first, indices, second) = (self.source(i, 0)?, self.source(i, 1)?, self.source(i, 2)?);
        let lanes = vector(i.op0_register())?.1 / bytes;
        let mut value = [0; 64];
        for (lane, slot) in value.chunks_exact_mut(bytes).enumerate().take(lanes) {
            if !self.takes(i, lane)? {
                continue;
            }
            let index = low(&indices[lane * bytes..][..bytes]) as usize % (2 * lanes);
            let table = if index < lanes { &first } else { &second };
            slot.copy_from_slice(&table[index % lanes * bytes..][..bytes]);
        }
        self.set(i, value)
    }

    /// In each 128 bits, the lower half of the result is chosen from the first operand, the upper one from the second.
    pub(crate) fn shuffle(&mut self, i: &Instruction, bytes: usize) -> Result<(), String> {
        let (a, b) = (self.source(i, 1)?, self.source(i, 2)?);
        let choice = i.immediate8() as usize;
        let mut value = [0; 64];
        for (lane, slot) in value.chunks_exact_mut(bytes).enumerate() {
            let in_part = lane % (16 / bytes);
            // Four lanes are chosen by two bits each, the same in every part; two lanes by one bit, each its own.
            let chosen = if bytes == 4 { choice >> (2 * in_part) & 3 } else { choice >> lane & 1 };
            let from = if in_part * bytes < 8 { &a } else { &b };
            let at = lane * bytes / 16 * 16 + chosen * bytes;
            slot.copy_from_slice(&from[at..at + bytes]);
        }
        self.set(i, value)
    }
}
