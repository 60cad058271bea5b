//! Memory that a kernel needs while it runs.

use crate::memory::Memory;

/// Scratch memory for [`Kernel::run_in`](crate::Kernel::run_in): it grows as kernels need it and can serve any of them.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    memory: Memory,
}

impl Workspace {
    /// Without memory; the first run takes some.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// `scratch` bytes, and then `local` bytes that start on a cache line too; `None` if there is no memory for them.
    pub(crate) fn take(&mut self, scratch: usize, local: usize) -> Option<[&mut [u8]; 2]> {
        let per_line = Memory::per_line::<u8>();
        let before = scratch.div_ceil(per_line);
        self.memory.grow(before.checked_add(local.div_ceil(per_line))?)?;
        let (before, behind) = self.memory.split(before)?;
        Some([before.get_mut(..scratch)?, behind.get_mut(..local)?])
    }
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
