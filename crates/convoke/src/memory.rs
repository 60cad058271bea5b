//! Memory for numbers: it starts on a cache line, and what is large asks for large pages.

use convoke_core::eval::Stored;

/// Bytes from which large pages are asked for: those of x86-64 and most of AArch64.
const LARGE: usize = 2 << 20;

/// A cache line, which is more than any element type asks to be aligned to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
struct Line([f64; 8]);

/// Cache lines, zeros at first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Vec<Line>);

impl Memory {
    /// Elements that a line holds.
    pub(crate) const fn per_line<T>() -> usize {
        size_of::<Line>() / size_of::<T>()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.0[..])
    }

    /// Grows to at least `lines` lines; `None` if there is no memory for them.
    pub(crate) fn grow(&mut self, lines: usize) -> Option<()> {
        let more = lines.saturating_sub(self.0.len());
        if more > 0 {
            self.0.try_reserve_exact(more).ok()?;
            ask_for_large_pages(self.0.as_mut_ptr().cast(), self.0.capacity() * size_of::<Line>());
            self.0.resize(lines, Line([0.0; 8]));
        }
        Some(())
    }

    /// All elements.
    pub(crate) fn elements<T: Stored>(&self) -> &[T] {
        let len = self.bytes() / size_of::<T>();
        // SAFETY: `T` is a sealed type of numbers: every bit pattern is a value, and none is aligned more than a line. The elements fill
        // the lines, which are initialized without padding and stay borrowed.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<T>(), len) }
    }

    /// The elements of the first `lines` lines, and those of the others.
    pub(crate) fn split<T: Stored>(&mut self, lines: usize) -> Option<(&mut [T], &mut [T])> {
        let len = self.bytes() / size_of::<T>();
        // SAFETY: as above, and the lines are borrowed for writing.
        let all = unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast::<T>(), len) };
        all.split_at_mut_checked(lines.checked_mul(Self::per_line::<T>())?)
    }
}

/// Numbers as bytes.
pub(crate) fn as_bytes<T: Stored>(elements: &[T]) -> &[u8] {
    // SAFETY: `T` is a sealed type of numbers, whose bytes are all initialized, and which stay borrowed.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// Numbers as bytes, to be written.
pub(crate) fn as_bytes_mut<T: Stored>(elements: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and whatever bytes are written are a value.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), size_of_val(elements)) }
}

/// Asks the system to put `bytes` bytes from `start` on into large pages, of which far fewer have to be looked up while a kernel
/// passes through its weights and scratch. Whether it does changes no result.
#[cfg(target_os = "linux")]
fn ask_for_large_pages(start: *mut u8, bytes: usize) {
    const PAGE: usize = 4096;
    if bytes < LARGE {
        return;
    }
    let skipped = start.align_offset(PAGE);
    let whole = bytes.saturating_sub(skipped) / PAGE * PAGE;
    // SAFETY: the pages lie within memory that the caller owns, and the advice changes none of it.
    unsafe { libc::madvise(start.wrapping_add(skipped).cast(), whole, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_large_pages(_: *mut u8, _: usize) {}
