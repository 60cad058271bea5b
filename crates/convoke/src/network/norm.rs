//! Norms, on the threads and with the vectors that there are.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use convoke_core::eval::{Float, Normalizer, Numbers};
use convoke_core::spec::{Norm, TensorShape};
use convoke_jit::Executor;

/// Elements that are worth sharing with a thread that is awake.
const TO_SHARE: usize = 1 << 13;

/// Pieces that each thread should have, so that one that is late holds the others up less.
const PIECES: usize = 2;

/// A norm of elements `T`, whatever it computes in.
pub(super) trait Normalize<T>: Debug + Send + Sync {
    /// Makes all images, on the threads of `executor` where that is worth it.
    fn run(&self, executor: &dyn Executor, src: &[T], dst: &mut [T]);
}

/// The norm of values of that shape, with its weights and bias if it has such.
pub(super) fn new<T: Float>(norm: &Norm, shape: &TensorShape, given: &[Cow<'_, [T]>]) -> Box<dyn Normalize<T>> {
    let lanes = |all: &Cow<'_, [T]>| all.iter().map(|x| x.to_lane()).collect::<Vec<_>>();
    let numbers = match given {
        [weights, biases] => Some([lanes(weights), lanes(biases)]),
        _ => None,
    };
    Box::new(WithNumbers { one: Normalizer::new(norm, shape), numbers })
}

/// A norm with its weights and biases.
#[derive(Debug)]
struct WithNumbers<L> {
    one: Normalizer,
    numbers: Option<[Vec<L>; 2]>,
}

impl<T: Float> Normalize<T> for WithNumbers<T::Lane> {
    fn run(&self, executor: &dyn Executor, src: &[T], dst: &mut [T]) {
        let numbers: Numbers<'_, T::Lane> = self.numbers.as_ref().map(|all| all.each_ref().map(Vec::as_slice));
        let make = |piece: Piece<'_, T>| make(&self.one, numbers, piece);
        let (unit, piece) = (self.one.unit(), self.one.piece());
        let is_shared = executor.threads() > 1 && dst.len() >= 2 * TO_SHARE;
        match (self.one.kept(), is_shared) {
            (0, false) => make(Piece::Rows(src, dst, 0)),
            (0, true) => {
                let rows = (dst.len() / unit).div_ceil(PIECES * executor.threads());
                let parts = dst.chunks_mut(rows * unit).zip(src.chunks(rows * unit)).zip((0..).step_by(rows));
                share(executor, parts.map(|((dst, src), first)| Piece::Rows(src, dst, first)), make);
            }
            (len, false) => {
                let mut kept = vec![T::Lane::default(); len];
                for (at, (dst, src)) in dst.chunks_mut(unit).zip(src.chunks(unit)).enumerate() {
                    let pieces = kept.chunks_mut(piece).enumerate();
                    pieces.for_each(|(i, kept)| make(Piece::Statistics(src, [at, i], kept)));
                    make(Piece::Pixels(src, dst, at, &kept));
                }
            }
            (len, true) => {
                let mut kept = vec![T::Lane::default(); dst.len() / unit * len];
                let units = kept.chunks_mut(len).zip(src.chunks(unit)).enumerate();
                let parts = units.flat_map(|(at, (kept, src))| {
                    let pieces = kept.chunks_mut(piece).enumerate();
                    pieces.map(move |(i, kept)| Piece::Statistics(src, [at, i], kept))
                });
                share(executor, parts, make);
                let pixels = (dst.len() / self.one.row()).div_ceil(PIECES * executor.threads()) * self.one.row();
                let units = dst.chunks_mut(unit).zip(src.chunks(unit)).zip(kept.chunks(len)).enumerate();
                let parts = units.flat_map(|(at, ((dst, src), kept))| {
                    let pixels = dst.chunks_mut(pixels).zip(src.chunks(pixels));
                    pixels.map(move |(dst, src)| Piece::Pixels(src, dst, at, kept))
                });
                share(executor, parts, make);
            }
        }
    }
}

/// Hands out pieces to all threads, until there are none.
fn share<I: Iterator + Send>(executor: &dyn Executor, pieces: I, work: impl Fn(I::Item) + Sync) {
    let pieces = Mutex::new(pieces);
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    executor.broadcast(&|| {
        while let Some(piece) = next() {
            work(piece);
        }
    });
}

/// What a thread does at a time.
enum Piece<'p, T: Float> {
    /// Rows, the first of which has that number.
    Rows(&'p [T], &'p mut [T], usize),
    /// The statistics of a piece of a unit, by their numbers.
    Statistics(&'p [T], [usize; 2], &'p mut [T::Lane]),
    /// Pixels of the unit of that number.
    Pixels(&'p [T], &'p mut [T], usize, &'p [T::Lane]),
}

/// Makes a piece. Compiled for AVX2 too, and so where the machine has it: faster, and the same.
fn make<T: Float>(one: &Normalizer, numbers: Numbers<'_, T::Lane>, piece: Piece<'_, T>) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T: Float>(one: &Normalizer, numbers: Numbers<'_, T::Lane>, piece: Piece<'_, T>) {
            plain(one, numbers, piece);
        }

        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has it.
            return unsafe { with_avx2(one, numbers, piece) };
        }
    }
    plain(one, numbers, piece);
}

#[inline(always)]
fn plain<T: Float>(one: &Normalizer, numbers: Numbers<'_, T::Lane>, piece: Piece<'_, T>) {
    match piece {
        Piece::Rows(src, dst, first) => one.rows(src, dst, first, numbers),
        Piece::Statistics(src, [unit, piece], kept) => {
            one.statistics(src, (unit, piece * (one.piece() / 2)), numbers.map(|all| all[0]), kept);
        }
        Piece::Pixels(src, dst, unit, kept) => one.pixels(src, dst, unit, numbers.map(|all| all[1]), kept),
    }
}

#[cfg(test)]
#[path = "norm_tests.rs"]
mod tests;
