//! Memory for numbers: it starts on a cache line, and what is large asks for large pages.

use std::ptr::NonNull;
use std::sync::Arc;

use convoke_core::eval::Stored;

/// Bytes of a cache line, which is more than any element type asks to be aligned to.
const LINE: usize = 64;

/// Words of a cache line.
const WORDS: usize = LINE / size_of::<u64>();

/// What begins where a cache line does.
#[repr(align(64))]
struct Line;

/// Words that the system gave, which pieces of memory share; freed when there is none left.
#[derive(Debug)]
struct Block {
    words: NonNull<u64>,
    len: usize,
    /// Whether the system was asked for pages, and not the allocator for memory.
    is_pages: bool,
}

impl Block {
    /// Zeros; `None` if there is no memory for them.
    fn zeros(len: usize) -> Option<Self> {
        if let Some(words) = pages::map(len.checked_mul(size_of::<u64>())?) {
            return Some(Self { words: words.cast(), len, is_pages: true });
        }
        // Whether there is so much is asked first, since memory of zeros comes with no answer but an end.
        Vec::<u64>::new().try_reserve_exact(len).ok()?;
        let words = Box::into_raw(vec![0_u64; len].into_boxed_slice());
        Some(Self { words: NonNull::new(words.cast())?, len, is_pages: false })
    }
}

// SAFETY: the words of a block are reached through the pieces that they belong to alone, by the rules of borrowing.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        let Self { words, len, is_pages } = *self;
        if is_pages {
            // SAFETY: it was mapped with this length, and no piece of it is left.
            unsafe { pages::unmap(words.cast(), len * size_of::<u64>()) };
        } else {
            // SAFETY: it was made of a box of as many words, and no piece of it is left.
            drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(words.as_ptr(), len)) });
        }
    }
}

/// Cache lines, zeros at first. They may be a piece of a larger one: lines belong to one piece alone.
///
/// They begin where a line does.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// What holds them; none for no lines.
    block: Option<Arc<Block>>,
    /// Words of the block before the first line.
    start: usize,
    lines: usize,
}

impl Memory {
    /// Elements that a line holds.
    pub(crate) const fn per_line<T>() -> usize {
        LINE / size_of::<T>()
    }

    /// Zeros; `None` if there is no memory for them.
    pub(crate) fn zeros(lines: usize) -> Option<Self> {
        let block = Block::zeros(lines.checked_mul(WORDS)?.checked_add(WORDS)?)?;
        let start = block.words.as_ptr().align_offset(LINE).min(WORDS);
        Some(Self { block: Some(Arc::new(block)), start, lines })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines * LINE
    }

    /// Grows to at least `lines` lines; `None` if there is no memory for them. What was in it is kept.
    pub(crate) fn grow(&mut self, lines: usize) -> Option<()> {
        if lines <= self.lines {
            return Some(());
        }
        let mut grown = Self::zeros(lines)?;
        grown.words_mut()[..self.lines * WORDS].copy_from_slice(self.words());
        *self = grown;
        Some(())
    }

    /// Takes the first `lines` lines away, as memory of their own; `None` if there are fewer.
    pub(crate) fn take(&mut self, lines: usize) -> Option<Self> {
        let left = self.lines.checked_sub(lines)?;
        let taken = Self { block: self.block.clone(), start: self.start, lines };
        (self.start, self.lines) = (self.start + lines * WORDS, left);
        Some(taken)
    }

    /// The first word, and how many there are.
    fn span(&self) -> (*mut u64, usize) {
        // Memory of no lines begins where a line does too.
        let first = self.block.as_ref().map_or(NonNull::<Line>::dangling().cast(), |block| block.words);
        (first.as_ptr().wrapping_add(self.start), self.lines * WORDS)
    }

    fn words(&self) -> &[u64] {
        let (first, len) = self.span();
        // SAFETY: those words are in the block, initialized, and of this piece alone, which is borrowed.
        unsafe { std::slice::from_raw_parts(first, len) }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        let (first, len) = self.span();
        // SAFETY: as above, and it is borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }

    /// All elements.
    pub(crate) fn elements<T: Stored>(&self) -> &[T] {
        let words = self.words();
        // SAFETY: `T` is a sealed type of numbers: every bit pattern is a value, and none is aligned more than a word. The elements fill
        // the words, which are initialized and stay borrowed.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<T>(), size_of_val(words) / size_of::<T>()) }
    }

    /// The elements of the first `lines` lines, and those of the others.
    pub(crate) fn split<T: Stored>(&mut self, lines: usize) -> Option<(&mut [T], &mut [T])> {
        let words = self.words_mut();
        let len = size_of_val(words) / size_of::<T>();
        // SAFETY: as above, and the words are borrowed for writing.
        let all = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<T>(), len) };
        all.split_at_mut_checked(lines.checked_mul(Self::per_line::<T>())?)
    }
}

impl Clone for Memory {
    /// A copy, which begins with a line of its own.
    ///
    /// # Panics
    /// If there is no memory for it.
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.lines).expect("there should be memory for a copy");
        copy.words_mut().copy_from_slice(self.words());
        copy
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

/// Pages of the system, large ones, of which far fewer have to be given and looked up while a kernel passes through its weights and scratch.
#[cfg(target_os = "linux")]
mod pages {
    use std::ptr::{NonNull, null_mut};

    /// Bytes of a large page: that of x86-64 and most of AArch64, and from which on they are asked for.
    const LARGE: usize = 2 << 20;

    /// Zeros, if there are enough to be worth it and the system has them.
    pub(super) fn map(bytes: usize) -> Option<NonNull<u8>> {
        if bytes < LARGE {
            return None;
        }
        let len = bytes.checked_next_multiple_of(LARGE)?;
        let (all, access) = (len.checked_add(LARGE)?, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: new pages, wherever the system wants them.
        let first = unsafe { libc::mmap(null_mut(), all, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        if first == libc::MAP_FAILED {
            return None;
        }
        // It begins where a large page does. What is in front of it and behind is given back.
        let before = first.align_offset(LARGE).min(LARGE);
        let start = first.wrapping_byte_add(before);
        // SAFETY: pages that were mapped just now and that nothing has seen. Advice changes none; it is for those that are used by half at least.
        unsafe {
            libc::munmap(first, before);
            libc::munmap(start.wrapping_byte_add(len), LARGE - before);
            libc::madvise(start, (bytes + LARGE / 2) / LARGE * LARGE, libc::MADV_HUGEPAGE);
        }
        NonNull::new(start.cast())
    }

    /// Gives back what [`map`] gave.
    ///
    /// # Safety
    /// It gave it for so many bytes, and nothing uses it any more.
    pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
        // SAFETY: as the caller says.
        unsafe { libc::munmap(start.as_ptr().cast(), bytes.next_multiple_of(LARGE)) };
    }
}

/// Where the allocator is asked for all memory.
#[cfg(not(target_os = "linux"))]
mod pages {
    use std::ptr::NonNull;

    pub(super) fn map(_: usize) -> Option<NonNull<u8>> {
        None
    }

    pub(super) unsafe fn unmap(_: NonNull<u8>, _: usize) {}
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
