//! The two oracles: [`mod@reference`] says what a layer means, [`interp`] what the IR means.
//!
//! Where the two differ, lowering is wrong; where a backend differs from the interpreter, that backend is.

mod bound;
mod element;
mod half;
pub mod interp;
mod interpolate;
mod normalize;
mod quantize;
pub mod reference;
mod stored;

pub use bound::bound;
pub use element::Element;
pub use half::{Bf16, F16};
pub use interpolate::Interpolator;
pub(crate) use normalize::Lies;
pub use normalize::{Normalizer, Numbers};
pub use quantize::quantize_dynamic;
pub use stored::{Float, Stored, from_bytes, to_bytes};
