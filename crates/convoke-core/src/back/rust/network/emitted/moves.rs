//! Elements from where a layer finds them to where they belong.

/// A box of elements of one image.
pub(crate) struct Move {
    /// The first element read, and the first written.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Its extents, outermost first.
    pub(crate) loops: &'static [Loop],
}

/// One extent of a box.
#[derive(Clone, Copy)]
pub(crate) struct Loop {
    /// How many.
    pub(crate) len: usize,
    /// Elements from one to the next where they are read, and where they are written.
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// Loops of fewer elements than this a step are walked in squares, so that what is read in one order and written in another is in the cache both times.
const SQUARE: usize = 16;

/// Copies the box of each image, which takes `read` elements of `src` and `written` of `dst`.
pub(crate) fn run(one: &Move, src: &[f32], read: usize, dst: &mut [f32], written: usize, images: usize) {
    for n in 0..images {
        copy(one.loops, src, n * read + one.from, dst, n * written + one.to);
    }
}

fn copy(loops: &[Loop], src: &[f32], from: usize, dst: &mut [f32], to: usize) {
    match *loops {
        [] => dst[to] = src[from],
        [Loop { len, from: 1, to: 1 }] => dst[to..to + len].copy_from_slice(&src[from..from + len]),
        [Loop { len, from: 0, to: 1 }] => dst[to..to + len].fill(src[from]),
        [one] => (0..one.len).for_each(|i| dst[to + i * one.to] = src[from + i * one.from]),
        [outer, inner] if inner.from > 1 && outer.from < inner.from => {
            for first in (0..outer.len).step_by(SQUARE) {
                let rows = SQUARE.min(outer.len - first);
                for start in (0..inner.len).step_by(SQUARE) {
                    let columns = Loop { len: SQUARE.min(inner.len - start), ..inner };
                    for i in first..first + rows {
                        let (read, written) = (i * outer.from + start * inner.from, i * outer.to + start * inner.to);
                        copy(&[columns], src, from + read, dst, to + written);
                    }
                }
            }
        }
        [outer, ref inner @ ..] => {
            for i in 0..outer.len {
                copy(inner, src, from + i * outer.from, dst, to + i * outer.to);
            }
        }
    }
}
