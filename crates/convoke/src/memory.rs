//! Memory for numbers: it starts on a cache line, and what is large asks for large pages.

use convoke_core::eval::Stored;

/// Bytes from which large pages are asked for: those of x86-64 and most of AArch64.
const LARGE: usize = 2 << 20;

/// Bytes of a cache line, which is more than any element type asks to be aligned to.
const LINE: usize = 64;

/// Words of a cache line.
const WORDS: usize = LINE / size_of::<u64>();

/// Cache lines, zeros at first.
///
/// They are words that begin where a line does: the system gives memory of zeros without writing it, but to who asks for words.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    words: Vec<u64>,
    /// Words before the first line.
    start: usize,
    lines: usize,
}

impl Memory {
    /// Elements that a line holds.
    pub(crate) const fn per_line<T>() -> usize {
        LINE / size_of::<T>()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines * LINE
    }

    /// Grows to at least `lines` lines; `None` if there is no memory for them. What was in it is kept.
    pub(crate) fn grow(&mut self, lines: usize) -> Option<()> {
        // Memory of no lines begins where a line does too.
        if lines <= self.lines && !self.words.is_empty() {
            return Some(());
        }
        let mut grown = Self::zeros(lines)?;
        grown.words_mut()[..self.lines * WORDS].copy_from_slice(self.words());
        *self = grown;
        Some(())
    }

    fn zeros(lines: usize) -> Option<Self> {
        let len = lines.checked_mul(WORDS)?.checked_add(WORDS)?;
        // Whether there is so much is asked first, since memory of zeros comes with no answer but an end.
        Vec::<u64>::new().try_reserve_exact(len).ok()?;
        let words = vec![0_u64; len];
        let start = words.as_ptr().align_offset(LINE).min(WORDS);
        let memory = Self { words, start, lines };
        ask_for_large_pages(memory.words().as_ptr().cast_mut().cast(), memory.bytes());
        Some(memory)
    }

    fn words(&self) -> &[u64] {
        &self.words[self.start..][..self.lines * WORDS]
    }

    fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words[self.start..][..self.lines * WORDS]
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
    fn clone(&self) -> Self {
        let mut copy = Self { words: vec![0; self.lines * WORDS + WORDS], start: 0, lines: self.lines };
        copy.start = copy.words.as_ptr().align_offset(LINE).min(WORDS);
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
