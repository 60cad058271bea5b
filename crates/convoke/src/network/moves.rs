//! Elements to where a [`Move`] says.

use std::sync::{Mutex, PoisonError};

use convoke_core::spec::{Loop, Move};
use convoke_jit::Executor;

/// Loops of fewer elements than this a step are walked in squares, so that what is read in one order and written in another is in the cache both times.
const SQUARE: usize = 16;

/// Elements that are worth sharing with a thread that is awake.
const TO_SHARE: usize = 1 << 13;

/// Pieces of a box that each thread should have, so that one that is late holds the others up less.
const PIECES: usize = 2;

/// Copies the box of each image, on the threads of `executor` where that is worth it. `src` and `dst` come with the elements of an image.
pub(super) fn run<T: Copy + Send + Sync>(
    executor: &dyn Executor,
    one: &Move,
    batch: usize,
    (src, read): (&[T], usize),
    (dst, written): (&mut [T], usize),
) {
    let elements: usize = one.loops.iter().map(|one| one.len).product();
    for n in 0..batch {
        let (from, to) = (n * read + one.from, n * written + one.to);
        if executor.threads() > 1 && elements >= 2 * TO_SHARE {
            share(executor, &one.loops, &src[from..], &mut dst[to..]);
        } else {
            copy(&one.loops, src, from, dst, to);
        }
    }
}

/// Copies a box from the first elements on, in pieces along its outermost extent.
fn share<T: Copy + Send + Sync>(executor: &dyn Executor, loops: &[Loop], src: &[T], dst: &mut [T]) {
    let reach = |loops: &[Loop]| 1 + loops.iter().map(|one| (one.len - 1) * one.to).sum::<usize>();
    let [outer, inner @ ..] = loops else { return copy(loops, src, 0, dst, 0) };
    // Where pieces are written one behind the other.
    if reach(inner) > outer.to {
        return copy(loops, src, 0, dst, 0);
    }
    let len = outer.len.div_ceil(PIECES * executor.threads());
    let pieces = Mutex::new(dst[..reach(loops)].chunks_mut(len * outer.to).zip((0..outer.len).step_by(len)));
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    executor.broadcast(&|| {
        while let Some((dst, first)) = next() {
            let piece = Loop { len: len.min(outer.len - first), ..*outer };
            match *inner {
                [one] => copy(&[piece, one], src, first * outer.from, dst, 0),
                _ => (0..piece.len).for_each(|i| copy(inner, src, (first + i) * outer.from, dst, i * outer.to)),
            }
        }
    });
}

fn copy<T: Copy>(loops: &[Loop], src: &[T], from: usize, dst: &mut [T], to: usize) {
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

#[cfg(test)]
#[path = "moves_tests.rs"]
mod tests;
