//! Values as arrays of the lengths that layers take.
#![allow(dead_code, reason = "not every network needs all of it")]

/// What lies before and behind the value that a layer makes: all that it reads.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    before: &'a [f32],
    behind: &'a [f32],
    /// Where `behind` begins.
    end: usize,
}

impl<'a> Around<'a> {
    /// The elements from `at` on, counted from the arena's first.
    #[inline]
    pub(crate) fn get<const LEN: usize>(self, at: usize) -> &'a [f32; LEN] {
        match at.checked_sub(self.end) {
            Some(at) => part(self.behind, at),
            None => part(self.before, at),
        }
    }
}

/// The value that is made at `at`, and what lies around it.
#[inline]
pub(crate) fn make<const LEN: usize>(arena: &mut [f32], at: usize) -> (Around<'_>, &mut [f32; LEN]) {
    let (before, rest) = arena.split_at_mut(at);
    match rest.split_first_chunk_mut() {
        Some((made, behind)) => (Around { before, behind, end: at + LEN }, made),
        None => outside(),
    }
}

/// The elements from `at` on.
#[inline]
pub(crate) fn part<const LEN: usize>(elements: &[f32], at: usize) -> &[f32; LEN] {
    match elements.get(at..).and_then(<[f32]>::first_chunk) {
        Some(part) => part,
        None => outside(),
    }
}

/// As [`part`], to be written.
#[inline]
pub(crate) fn part_mut<const LEN: usize>(elements: &mut [f32], at: usize) -> &mut [f32; LEN] {
    match elements.get_mut(at..).and_then(<[f32]>::first_chunk_mut) {
        Some(part) => part,
        None => outside(),
    }
}

#[cold]
fn outside() -> ! {
    panic!("a value does not lie in the arena (a defect of Convoke)")
}
