//! Elements from where a layer finds them to where they belong.

/// A box of elements of one image.
pub(crate) struct Move {
    /// The first element read, and the first written.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Its extents, outermost first.
    pub(crate) loops: &'static [Loop],
}

/// One extent of a box: how many, and elements from one to the next where they are read, and where they are written.
#[derive(Clone, Copy)]
pub(crate) struct Loop(pub(crate) usize, pub(crate) usize, pub(crate) usize);

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
        [Loop(len, 1, 1)] => dst[to..to + len].copy_from_slice(&src[from..from + len]),
        [Loop(len, 0, 1)] => dst[to..to + len].fill(src[from]),
        [Loop(len, read, written)] => (0..len).for_each(|i| dst[to + i * written] = src[from + i * read]),
        [outer, inner] if inner.1 > 1 && outer.1 < inner.1 => {
            for first in (0..outer.0).step_by(SQUARE) {
                let rows = SQUARE.min(outer.0 - first);
                for start in (0..inner.0).step_by(SQUARE) {
                    let columns = Loop(SQUARE.min(inner.0 - start), inner.1, inner.2);
                    for i in first..first + rows {
                        let (read, written) = (i * outer.1 + start * inner.1, i * outer.2 + start * inner.2);
                        copy(&[columns], src, from + read, dst, to + written);
                    }
                }
            }
        }
        [Loop(len, read, written), ref inner @ ..] => {
            for i in 0..len {
                copy(inner, src, from + i * read, dst, to + i * written);
            }
        }
    }
}
