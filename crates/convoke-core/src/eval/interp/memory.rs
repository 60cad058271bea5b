//! How the interpreter reads and writes buffers: elements of one type as they are, or bytes by what each buffer holds.

use super::Buffers;
use crate::eval::{Bf16, Element, F16};
use crate::ir::{Kernel, Role};
use crate::spec::Storage;

/// Memory whose elements become lanes.
pub(super) trait Memory<T: Element> {
    /// Elements of a buffer.
    fn len(&self, role: Role) -> usize;
    /// An element as a lane.
    fn read(&self, role: Role, at: usize) -> Option<T>;
    /// Neighbouring elements.
    fn read_all<const L: usize>(&self, role: Role, at: usize) -> Option<[T; L]>;
    /// Writes an element, if it is there and may be written.
    fn write(&mut self, role: Role, at: usize, value: T) -> Option<()>;
    /// Copies an element as it is, between buffers of one type.
    fn copy(&mut self, from: (Role, usize), to: (Role, usize)) -> Option<()> {
        let value = self.read(from.0, from.1)?;
        self.write(to.0, to.1, value)
    }
    /// Fills the local buffer with what no result can come from.
    fn poison_local(&mut self);
}

impl<T: Element> Memory<T> for Buffers<'_, T> {
    fn len(&self, role: Role) -> usize {
        self.get(role).len()
    }

    #[inline]
    fn read(&self, role: Role, at: usize) -> Option<T> {
        self.get(role).get(at).copied()
    }

    #[inline]
    fn read_all<const L: usize>(&self, role: Role, at: usize) -> Option<[T; L]> {
        self.get(role).get(at..)?.first_chunk::<L>().copied()
    }

    #[inline]
    fn write(&mut self, role: Role, at: usize, value: T) -> Option<()> {
        *self.get_mut(role)?.get_mut(at)? = value;
        Some(())
    }

    fn poison_local(&mut self) {
        self.local.fill(T::from_f64(f64::NAN));
    }
}

/// Bytes, and what each buffer holds.
pub(super) struct Bytes<'b, 'm> {
    buffers: &'b mut Buffers<'m, u8>,
    storages: [Storage; Role::ALL.len()],
}

impl<'b, 'm> Bytes<'b, 'm> {
    pub(super) fn new(kernel: &Kernel, buffers: &'b mut Buffers<'m, u8>) -> Self {
        Self { buffers, storages: Role::ALL.map(|role| kernel.storage(role)) }
    }
}

impl<T: Element> Memory<T> for Bytes<'_, '_> {
    fn len(&self, role: Role) -> usize {
        self.buffers.get(role).len() / self.storages[role as usize].bytes()
    }

    fn read(&self, role: Role, at: usize) -> Option<T> {
        let (memory, storage) = (self.buffers.get(role), self.storages[role as usize]);
        let start = at.checked_mul(storage.bytes())?;
        let bytes = memory.get(start..start.checked_add(storage.bytes())?)?;
        Some(T::from_bits(match storage {
            Storage::F64 => u64::from_ne_bytes(bytes.try_into().ok()?),
            Storage::F32 | Storage::I32 => u32::from_ne_bytes(bytes.try_into().ok()?).into(),
            Storage::F16 => F16::from_bits(u16::from_ne_bytes(bytes.try_into().ok()?)).to_f32().bits(),
            Storage::Bf16 => Bf16::from_bits(u16::from_ne_bytes(bytes.try_into().ok()?)).to_f32().bits(),
            Storage::U8 => bytes[0].into(),
            Storage::I8 => u64::from(i32::from(bytes[0] as i8) as u32),
        }))
    }

    fn read_all<const L: usize>(&self, role: Role, at: usize) -> Option<[T; L]> {
        let mut all = [T::default(); L];
        for (i, slot) in all.iter_mut().enumerate() {
            *slot = self.read(role, at.checked_add(i)?)?;
        }
        Some(all)
    }

    fn write(&mut self, role: Role, at: usize, value: T) -> Option<()> {
        let storage = self.storages[role as usize];
        let memory = self.buffers.get_mut(role)?;
        let start = at.checked_mul(storage.bytes())?;
        let bytes = memory.get_mut(start..start.checked_add(storage.bytes())?)?;
        let bits = value.bits();
        match storage {
            Storage::F64 => bytes.copy_from_slice(&bits.to_ne_bytes()),
            Storage::F32 | Storage::I32 => bytes.copy_from_slice(&(bits as u32).to_ne_bytes()),
            Storage::F16 => {
                let half = F16::from_f32(f32::from_bits(bits as u32));
                bytes.copy_from_slice(&half.to_bits().to_ne_bytes());
            }
            Storage::Bf16 => {
                let half = Bf16::from_f32(f32::from_bits(bits as u32));
                bytes.copy_from_slice(&half.to_bits().to_ne_bytes());
            }
            Storage::U8 | Storage::I8 => {
                let (lo, hi) = storage.range();
                bytes[0] = (bits as i32).clamp(lo, hi) as u8;
            }
        }
        Some(())
    }

    fn copy(&mut self, from: (Role, usize), to: (Role, usize)) -> Option<()> {
        let size = self.storages[from.0 as usize].bytes();
        let range = |at: usize| Some(at.checked_mul(size)?..at.checked_add(1)?.checked_mul(size)?);
        let mut element = [0; 8];
        element[..size].copy_from_slice(self.buffers.get(from.0).get(range(from.1)?)?);
        self.buffers.get_mut(to.0)?.get_mut(range(to.1)?)?.copy_from_slice(&element[..size]);
        Some(())
    }

    fn poison_local(&mut self) {
        self.buffers.local.fill(0xff);
    }
}
