//! Frames in memory: a block of them, and the last ones of what came before it.

use convoke_core::spec::{Layout, PARTS};
use convoke_jit::Element;

/// How the numbers of a frame are apart: `rows` of frames, each `inner` numbers that lie together.
///
/// `ncl` has a row for each channel of each signal, `nlc` one for each signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frames {
    pub(super) rows: usize,
    pub(super) inner: usize,
}

impl Frames {
    pub(super) fn of(layout: Layout, batch: usize, channels: usize) -> Self {
        match layout {
            Layout::ChannelsLast => Self { rows: batch, inner: channels },
            Layout::ChannelsFirst | Layout::Blocked => Self { rows: batch * channels, inner: 1 },
            Layout::Pairs => Self { rows: batch * channels / PARTS, inner: PARTS },
        }
    }

    /// Elements of a frame.
    pub(super) const fn elements(self) -> usize {
        self.rows * self.inner
    }
}

/// A stretch of each row: that of the first starts at element `at` of `data`, each other `stride` elements behind the one before.
#[derive(Clone, Copy)]
pub(super) struct Rows<D> {
    pub(super) data: D,
    pub(super) at: usize,
    pub(super) stride: usize,
}

/// Copies stretches of `count` elements, one for each of `rows` rows.
pub(super) fn copy_rows<T: Copy>(rows: usize, count: usize, from: Rows<&[T]>, to: Rows<&mut [T]>) {
    match count {
        0 => {}
        // A frame of `ncl` is numbers that lie far apart.
        1 => {
            let from = from.data[from.at..].iter().step_by(from.stride);
            let to = to.data[to.at..].iter_mut().step_by(to.stride);
            to.zip(from).take(rows).for_each(|(to, from)| *to = *from);
        }
        _ => (0..rows).for_each(|row| {
            let (from_at, to_at) = (from.at + row * from.stride, to.at + row * to.stride);
            to.data[to_at..to_at + count].copy_from_slice(&from.data[from_at..from_at + count]);
        }),
    }
}

/// Frames `first..frames` of `data`, which has `frames` of them.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, T> {
    pub(super) data: &'a [T],
    pub(super) first: usize,
    pub(super) frames: usize,
}

impl<'a, T> Block<'a, T> {
    /// Frames that it has.
    pub(super) const fn len(&self) -> usize {
        self.frames - self.first
    }

    /// What of each row begins at frame `from`.
    const fn rows(&self, shape: Frames, from: usize) -> Rows<&'a [T]> {
        Rows { data: self.data, at: (self.first + from) * shape.inner, stride: self.frames * shape.inner }
    }
}

/// The frames that later windows need: a signal's last, at most one less than a window reaches over.
#[derive(Clone, Debug)]
pub(super) struct History<T> {
    shape: Frames,
    /// Rows of `room` frames.
    data: Vec<T>,
    room: usize,
    start: usize,
    len: usize,
}

/// Frames of room beyond twice what is held, so that short histories are not moved at every block.
const SLACK: usize = 64;

impl<T: Element> History<T> {
    /// Without frames, for up to `most`; `None` if there is no memory.
    pub(super) fn new(shape: Frames, most: usize) -> Option<Self> {
        // Twice as much as is held: what stays is moved only after as many frames have come.
        let room = most.checked_mul(2)?.checked_add(SLACK)?;
        Some(Self { shape, data: zeros(shape.elements().checked_mul(room)?)?, room, start: 0, len: 0 })
    }

    /// Frames that it has.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Elements that there is memory for.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.data.capacity()
    }

    pub(super) const fn clear(&mut self) {
        (self.start, self.len) = (0, 0);
    }

    /// Writes `count` frames, from `from` on, of the history with `block` behind it to `to`, which has as many rows.
    pub(super) fn copy(&self, block: &Block<'_, T>, from: usize, count: usize, to: Rows<&mut [T]>) {
        let Frames { rows, inner } = self.shape;
        let held = self.len.saturating_sub(from).min(count);
        let Rows { data, at, stride } = to;
        let old = Rows { data: &self.data[..], at: (self.start + from) * inner, stride: self.room * inner };
        copy_rows(rows, held * inner, old, Rows { data: &mut *data, at, stride });
        if held < count {
            let new = block.rows(self.shape, from + held - self.len);
            copy_rows(rows, (count - held) * inner, new, Rows { data, at: at + held * inner, stride });
        }
    }

    /// The same frames where they lie, if they lie side by side.
    pub(super) fn side_by_side<'a>(&self, block: &Block<'a, T>, from: usize, count: usize) -> Option<&'a [T]> {
        let Frames { rows, inner } = self.shape;
        let at = block.rows(self.shape, from.checked_sub(self.len)?).at;
        (rows == 1).then(|| &block.data[at..at + count * inner])
    }

    /// Takes up `block` and forgets the first `by` frames of all; returns how many of those have yet to come.
    pub(super) fn advance(&mut self, block: &Block<'_, T>, by: usize) -> usize {
        let kept = self.len.saturating_sub(by);
        let by = by - (self.len - kept);
        let passed = by.min(block.len());
        let added = block.len() - passed;
        self.start = if kept == 0 { 0 } else { self.start + self.len - kept };
        if self.start + kept + added > self.room {
            self.move_to_front(kept);
        }
        let Frames { rows, inner } = self.shape;
        let at = (self.start + kept) * inner;
        let to = Rows { data: &mut self.data[..], at, stride: self.room * inner };
        copy_rows(rows, added * inner, block.rows(self.shape, passed), to);
        self.len = kept + added;
        by - passed
    }

    /// Moves the `kept` frames from `start` on to the front of each row.
    fn move_to_front(&mut self, kept: usize) {
        let inner = self.shape.inner;
        for row in 0..self.shape.rows {
            let from = (row * self.room + self.start) * inner;
            self.data.copy_within(from..from + kept * inner, row * self.room * inner);
        }
        self.start = 0;
    }
}

/// `len` zeros; `None` if there is no memory.
pub(super) fn zeros<T: Element>(len: usize) -> Option<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(len).ok()?;
    all.resize(len, T::default());
    Some(all)
}
