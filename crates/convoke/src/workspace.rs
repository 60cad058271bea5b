//! Memory that a kernel needs while it runs.

use convoke_jit::Element;

/// Scratch memory for [`Kernel::run_in`](crate::Kernel::run_in): it grows as kernels need it and can serve any of them.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Of the widest element type, so that it is aligned for each.
    memory: Vec<f64>,
}

impl Workspace {
    /// Without memory; the first run takes some.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.memory.len() * size_of::<f64>()
    }

    /// `elements` elements; `None` if there is no memory for them.
    pub(crate) fn take<T: Element>(&mut self, elements: usize) -> Option<&mut [T]> {
        let words = elements.checked_mul(size_of::<T>())?.div_ceil(size_of::<f64>());
        if words > self.memory.len() {
            self.memory.try_reserve_exact(words - self.memory.len()).ok()?;
            self.memory.resize(words, 0.0);
        }
        let memory = self.memory.as_mut_ptr().cast::<T>();
        // SAFETY: `T` is `f32` or `f64`: every bit pattern is a value, and neither is aligned more than `f64`. The memory
        // has at least `elements * size_of::<T>()` bytes, all initialized, and stays borrowed.
        Some(unsafe { std::slice::from_raw_parts_mut(memory, elements) })
    }
}
