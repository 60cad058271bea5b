//! Memory that a kernel needs while it runs.

use convoke_jit::Element;

/// Scratch memory for [`Kernel::run_in`](crate::Kernel::run_in): it grows as kernels need it and can serve any of them.
#[derive(Debug, Default)]
pub struct Workspace {
    memory: Vec<Line>,
}

/// A cache line, which is more than any element type asks to be aligned to.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f64; 8]);

impl Workspace {
    /// Without memory; the first run takes some.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.memory.len() * size_of::<Line>()
    }

    /// `scratch` elements, and then `local` elements that start on a cache line too; `None` if there is no memory for them.
    pub(crate) fn take<T: Element>(&mut self, scratch: usize, local: usize) -> Option<[&mut [T]; 2]> {
        let per_line = size_of::<Line>() / size_of::<T>();
        let before = scratch.div_ceil(per_line);
        let lines = before.checked_add(local.div_ceil(per_line))?;
        if lines > self.memory.len() {
            self.memory.try_reserve_exact(lines - self.memory.len()).ok()?;
            self.memory.resize(lines, Line([0.0; 8]));
        }
        let (before, behind) = self.memory.split_at_mut(before);
        Some([elements(before).get_mut(..scratch)?, elements(behind).get_mut(..local)?])
    }
}

/// The elements that `lines` hold.
fn elements<T: Element>(lines: &mut [Line]) -> &mut [T] {
    let len = size_of_val(lines) / size_of::<T>();
    // SAFETY: `T` is `f32` or `f64`: every bit pattern is a value, and neither is aligned more than a line. The elements fill
    // the lines, which are initialized without padding and stay borrowed.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<T>(), len) }
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
