//! A convolution compiler: describe a layer in a few lines, get code made for exactly that layer.
//!
//! At run time, a layer is text that is compiled to native code:
//!
//! ```
//! # #[cfg(feature = "jit")] {
//! let spec = "conv2d edges { input: f32[1, 1, 5, 5], out_channels: 1, kernel_size: 3, padding: 1 }";
//! let kernel = convoke::compile(&spec.parse()?)?;
//!
//! let laplace = [0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0];
//! let packed = kernel.pack::<f32>(&laplace, None)?; // once
//!
//! let mut src = [0.0; 25];
//! src[12] = 1.0;
//! let mut dst = [0.0; 25];
//! kernel.run(&packed, &src, &mut dst)?; // many times
//! assert_eq!(dst[6..9], [0.0, 1.0, 0.0]);
//! assert_eq!(dst[11..14], [1.0, -4.0, 1.0]);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! At build time, a layer is a module, whose arrays are as long as the layer says. This one is of integers, `u8` times `i8`:
//!
//! ```
//! convoke::conv! {
//!     conv1d sums { input: u8[1, 1, 4], input_zero_point: 128, out_channels: 1, kernel_size: 2, bias: true }
//! }
//!
//! static PACKED: sums::Packed = sums::pack(&[1, -2], &[1000]); // or once, when the program starts
//!
//! let mut dst = [0_i32; 3];
//! sums::run(&[128, 255, 0, 129], &PACKED, &mut dst);
//! assert_eq!(dst, [1000 - 254, 1000 + 127 + 256, 1000 - 128 - 2]);
//! ```
//!
//! So is a network, whose weights are part of the program. This one has none; [`conv!`] says how parameters come from a file:
//!
//! ```
//! convoke::conv! {
//!     network louder {
//!         input: f32[1, 1, 6],
//!         max_pool1d peaks { kernel_size: 2, stride: 2 }
//!         elementwise doubled { then: mul(2) }
//!     }
//! }
//!
//! let mut arena = louder::Arena::new(); // or a static, in a lock
//! let mut output: louder::Output = [0.0; 3];
//! louder::run(&[1.0, 3.0, -2.0, -1.0, 0.5, 0.0], &mut arena, &mut output);
//! assert_eq!(output, [6.0, -2.0, 1.0]);
//! ```
//!
//! # Features
//! - `jit` (default): compiling at run time, and everything but the macro. Without it the crate is `no_std` and has
//!   [`conv!`] alone, with nothing to build for the program itself.
//! - `macros` (default): [`conv!`]. A program that compiles at run time alone builds faster without it.
//! - `std` (default): code that [`conv!`] emits asks the CPU for its instructions when it runs. Without it that code is `no_std`
//!   and uses what the compiler was told that every CPU has.
#![cfg_attr(not(feature = "jit"), no_std)]

#[cfg(feature = "jit")]
mod cache;
#[cfg(feature = "jit")]
mod compiler;
#[cfg(feature = "jit")]
mod dynamic;
#[cfg(feature = "jit")]
mod error;
#[cfg(feature = "jit")]
mod indices;
#[cfg(feature = "jit")]
mod kernel;
#[cfg(feature = "jit")]
mod memory;
#[cfg(feature = "jit")]
mod network;
#[cfg(feature = "jit")]
mod parameters;
#[cfg(feature = "jit")]
pub mod shape;
#[cfg(feature = "jit")]
pub mod stream;
#[cfg(feature = "jit")]
mod tensor;
#[cfg(feature = "jit")]
mod threads;
#[cfg(feature = "jit")]
mod wide;
#[cfg(feature = "jit")]
mod workspace;

#[cfg(feature = "jit")]
pub use compiler::{Compiler, compile};
#[cfg(feature = "jit")]
pub use convoke_core::eval::{Bf16, F16, Float, Stored};
#[cfg(feature = "jit")]
pub use convoke_core::lower::weights::IntegerParameters;
#[cfg(feature = "jit")]
pub use convoke_core::spec::{BindError, DType, LayerSpec, LayerTemplate, Limits, NetworkSpec, Storage};
#[cfg(feature = "jit")]
pub use convoke_jit::{Element, native_target, with_native_caches};
#[cfg(feature = "macros")]
pub use convoke_macros::conv;
#[cfg(feature = "jit")]
pub use dynamic::{Dynamic, Weights};
#[cfg(feature = "jit")]
pub use error::Error;
#[cfg(feature = "jit")]
pub use kernel::{Kernel, Packed};
#[cfg(feature = "jit")]
pub use network::Network;
#[cfg(feature = "jit")]
pub use parameters::Parameters;
#[cfg(feature = "jit")]
pub use stream::{NotStreamed, Stream};
#[cfg(feature = "jit")]
pub use tensor::Tensor;
#[cfg(feature = "jit")]
pub use workspace::Workspace;

/// The examples of README.md are tests.
#[cfg(all(doctest, feature = "jit"))]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

/// So are those of docs/halves.md.
#[cfg(all(doctest, feature = "jit"))]
#[doc = include_str!("../../../docs/halves.md")]
pub struct Halves;

/// So are those of docs/quantised.md.
#[cfg(all(doctest, feature = "jit"))]
#[doc = include_str!("../../../docs/quantised.md")]
pub struct Quantised;

/// So are those of docs/networks.md.
#[cfg(all(doctest, feature = "jit"))]
#[doc = include_str!("../../../docs/networks.md")]
pub struct Networks;

/// So are those of docs/streaming.md.
#[cfg(all(doctest, feature = "jit"))]
#[doc = include_str!("../../../docs/streaming.md")]
pub struct Streaming;
