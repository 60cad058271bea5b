//! Convolution by the fast Fourier transform, overlap-save, along `w`; of a window of several rows along all rows of the image, one behind
//! the other.
//!
//! A row is cut into blocks of `points` inputs, which overlap by `kw - 1` and give `hop` outputs each. The elements of a block are
//! rows of a vector's lanes: row `i` holds elements `i * lanes` and on, and lane `j` of all rows is one *phase*. Each phase is
//! transformed on its own, so that a transform has no shuffle, and loads and stores are contiguous. For each frequency the
//! phases of the result are sums over the phases of the input: lane `i` is `sum over j of X_j W_{j - i}`, where `W_d` is
//! the transform of the filter's taps `d, d + lanes, d + 2 lanes, …`. That makes `lanes` complex products of one, but transforms that are
//! shorter by as much, and takes the place of gathering a vector's lanes from as many blocks.
//!
//! Two blocks, side by side, are the real and the imaginary part of one complex block. A filter is real, so that the parts of the
//! result are those of the two blocks.
//!
//! An image whose padding is written out is one long row, and a window of several rows one long filter, with zeros between its rows of taps.
//! The outputs at the end of each row are nobody's, because there the window goes round into the next row: they are not stored. A block
//! is some rows of outputs.
//!
//! The forward transform decimates in frequency, and leaves its frequencies in the order of reversed digits; the filters are
//! transformed into that order, and the inverse decimates in time from it. No pass reorders.
//!
//! Packed weights begin with the twiddle factors. Then, for each output channel, frequency and input channel, come
//! `W_d` for `d = lanes - 1, …, 1 - lanes` and a zero: the real parts, then the imaginary ones.
//!
//! Van Loan, "Computational Frameworks for the Fast Fourier Transform", 1992.
//!
//! | module | what |
//! |---|---|
//! | `shape` | blocks, and where everything is |
//! | `passes` | the passes of a transform |
//! | `spectrum` | filters, transformed |
//! | `butterfly`, `tiles` | the transforms, products and copies |
//! | `nests` | the loops |

mod butterfly;
mod nests;
mod passes;
mod shape;
mod spectrum;
mod tiles;

pub(crate) use nests::compute;
pub(crate) use passes::Pass;
pub(crate) use shape::{Image, Shape, points};
pub use spectrum::FftPacking;

/// Registers that a butterfly takes: eight of data, two free ones, a factor's three, and one for a product that is not fused.
pub(crate) const LEAST_REGISTERS: usize = 14;

#[cfg(test)]
#[path = "fft_tests.rs"]
mod tests;
