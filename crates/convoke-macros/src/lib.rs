//! `conv!`: convolution layers and whole networks, compiled into your program.
//!
//! In come layers and networks in Convoke's language, as tokens or as a file's name; out comes a module for each. Everything that the
//! compiler refuses is an error at the token that it is about. Use it through the crate `convoke`.

mod arguments;
mod expand;
mod networks;
mod parameters;
mod report;
mod source;
mod text;

use proc_macro::TokenStream;

/// Compiles convolution layers and networks of them into modules.
///
/// ```
/// convoke_macros::conv! {
///     conv2d edges { input: f32[1, 1, 4, 4] @ nchw, out_channels: 1, kernel_size: 3, padding: 1, bias: false }
/// }
///
/// static PACKED: edges::Packed = edges::pack(&[0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0]);
///
/// let src = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
/// let mut dst = [0.0; 16];
/// edges::run(&src, &PACKED, &mut dst);
/// assert_eq!(dst[..8], [0.0, 1.0, 0.0, 0.0, 1.0, -4.0, 1.0, 0.0]);
/// ```
///
/// `conv!(file = "specs/net.conv", layer = "stem")` takes the layer or network from a file, whose path is relative to the package;
/// without `layer`, all that is in the file.
///
/// # The module of a layer
/// - `Src`, `Weights`, `Bias` (if the layer has one), `Dst`: arrays of exactly the layer's sizes, in the layouts that the
///   layer names. With a named batch, as in `f32[N, 3, 32, 32]`, `Src` and `Dst` are one image.
/// - `pack(&Weights, &Bias) -> Packed`, a `const fn`, and `pack_into(&mut Packed, &Weights, &Bias)`; without a bias, neither
///   takes one. What there is one of for each output channel follows: `&Channels` for each such step of `then`, and of a layer of
///   integers `&ZeroPoints` (of the weights' type) and `&Scales` (`f32`), where it says `per_channel`.
/// - `run(&Src, &Packed, &mut Dst)`; with a named batch it takes slices. A deformable layer has a type `Offset` and perhaps one `Mask`, and
///   `run` takes a `&Offset` and a `&Mask` before `dst`. If the schedule pins a
///   `pack_input` other than `none`, there is a type `Scratch`, and `run` takes a `&mut Scratch` behind `dst`; so it is where the layer is
///   one of integers, or its padding is not zeros, and the copy of the input that it needs is larger than 16 KiB or the batch a name. If some version
///   needs space for one step of its outermost loop, there is a type `Local`, and `run` takes a `&mut Local` behind all,
///   for any number of images.
/// - `isa()`, which version `run` takes; `Isa::ALL`, `Isa::is_available` and `run_with(Isa, …)`, to take another.
///
/// # The module of a network
///
/// ```
/// convoke_macros::conv! {
///     network louder {
///         input: f32[1, 1, 6],
///         max_pool1d peaks { kernel_size: 2, stride: 2 }
///         elementwise doubled { then: mul(2) }
///     }
/// }
///
/// let mut arena = louder::Arena::new();
/// let mut output: louder::Output = [0.0; 3];
/// louder::run(&[1.0, 3.0, -2.0, -1.0, 0.5, 0.0], &mut arena, &mut output);
/// assert_eq!(output, [6.0, -2.0, 1.0]);
/// ```
///
/// Parameters come from a file that the library safetensors wrote, or `savez` of NumPy: `conv!(file = "net.conv", parameters = "net.safetensors")`, where that is the default,
/// or `conv!(parameters = "net.safetensors", network net { … })`. They have PyTorch's names, and are packed when the macro is expanded.
///
/// - `Input`, `Output`: arrays of exactly the sizes, for all images. Several have their names behind that: `InputImage`.
/// - `Arena`, the memory of a run, for the caller to keep where it likes: `Arena::new` is a `const fn`, so that it may be a `static` in a lock.
/// - `run(&Input, &mut Arena, &mut Output)`, with all inputs before the arena and all outputs behind it.
/// - `WEIGHTS_BYTES`, `ARENA_BYTES`; `layers`, the modules of the layers, and `weights`, what each of those takes.
///
/// It is what `convoke emit --crate --target avx2` writes. Elements are `f32`, and the batch is a number. Packed weights have at most 16 MiB, since they are a
/// string in the source: of larger networks that command makes a crate.
///
/// # Both
///
/// Emitted code needs `core` alone. With the feature `std` it asks the CPU which of its versions it can run; without,
/// it uses the target features that the program is compiled with.
///
/// A pin of a `schedule { }` that does not hold on some instruction sets counts on those where it holds; one that holds on
/// none is an error.
#[proc_macro]
pub fn conv(input: TokenStream) -> TokenStream {
    arguments::parse(input).and_then(|arguments| expand::modules(&arguments)).unwrap_or_else(|refusal| refusal)
}
