//! A program that runs kernels on raw files: for tests and for `convoke verify --backend rust`.
//!
//! The program is called as `program INDEX N DIR [REPEAT]`: it reads the elements of `src`, `weights`, `bias` and so on (those that kernel
//! `INDEX` has; weights packed) from the files of these names in `DIR`, in the machine's byte order, runs the kernel for a batch of
//! `N` and writes `dst` there, and `indices`. With `REPEAT` it runs that often and prints the median time in nanoseconds.
//! It ends with 0; with 2 and a message if a file is missing or has another length; with 3 if the CPU lacks the
//! kernel's instructions. The output starts as NaN, so that an element that no one writes shows.

use super::isa::{Intrinsics, features_of, stored_as};
use super::names::ident;
use super::{RustError, kernel};
use crate::ir::{Affine, Kernel, Var, Verified};
use crate::target::Isa;
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

/// The program's source: a crate root that needs nothing but the standard library.
///
/// # Errors
/// If a kernel has no Rust source.
pub fn standalone(kernels: &[&Verified], intrinsics: &Intrinsics) -> Result<TokenStream, RustError> {
    let mut modules = TokenStream::new();
    let mut arms = TokenStream::new();
    for (index, k) in kernels.iter().enumerate() {
        let items = kernel::items(k, intrinsics.clone())?;
        let module = format_ident!("kernel_{index}");
        let cfg = cfg(k.isa, intrinsics);
        modules.extend(quote!(#cfg mod #module { #items }));
        let index = Literal::usize_unsuffixed(index);
        let body = arm(k, &module, intrinsics);
        arms.extend(quote!(#cfg #index => { #body }));
    }
    let support = support();
    Ok(quote! {
        #![allow(dead_code, clippy::approx_constant, clippy::excessive_precision)]
        #modules
        #support
        fn run(index: usize, n: usize, dir: &Path, repeat: u32) -> Result<(), Failure> {
            match index {
                #arms
                _ => return Err(Failure::Input(format!("there is no kernel {index} for this machine"))),
            }
            Ok(())
        }
    })
}

/// Leaves out what another architecture's compiler could not read.
fn cfg(isa: Isa, intrinsics: &Intrinsics) -> Option<TokenStream> {
    let arch = match isa {
        Isa::Avx512 | Isa::Avx2 | Isa::Sse => "x86_64",
        Isa::Neon => "aarch64",
        Isa::Portable => return None,
    };
    (*intrinsics == Intrinsics::Core).then(|| quote!(#[cfg(target_arch = #arch)]))
}

/// Reads, runs and writes one kernel.
fn arm(k: &Kernel, module: &proc_macro2::Ident, intrinsics: &Intrinsics) -> TokenStream {
    let mut code = TokenStream::new();
    if *intrinsics == Intrinsics::Core {
        let detect = ident(if k.isa == Isa::Neon { "is_aarch64_feature_detected" } else { "is_x86_feature_detected" });
        for feature in features_of(k) {
            code.extend(quote! {
                if !std::arch::#detect!(#feature) {
                    return Err(Failure::Cpu(#feature));
                }
            });
        }
    }
    let mut arguments = Vec::new();
    for buffer in &k.buffers {
        let (name, text) = (ident(buffer.role.name()), buffer.role.name());
        let len = length(&buffer.len);
        let element = ident(stored_as(buffer.storage, k.dtype));
        // All bits of a half are a NaN.
        let is_integer = !element.to_string().starts_with('f');
        let poison = if is_integer { quote!(#element::MAX) } else { quote!(#element::NAN) };
        if buffer.role.is_written() {
            code.extend(quote!(let mut #name = vec![#poison; #len];));
            arguments.push(quote!(#name.as_mut_ptr()));
        } else {
            code.extend(quote!(let #name = read(&dir.join(#text), #len, #element::from_ne_bytes)?;));
            arguments.push(quote!(#name.as_ptr()));
        }
    }
    let write = k.buffers.iter().filter(|b| b.role.is_output()).map(|b| {
        let (name, text) = (ident(b.role.name()), b.role.name());
        quote! {
            let bytes: Vec<u8> = #name.iter().flat_map(|x| x.to_ne_bytes()).collect();
            write(&dir.join(#text), &bytes)?;
        }
    });
    quote! {
        #code
        // The lengths are the kernel's, and the CPU has its instructions.
        timed(repeat, || unsafe { #module::run(#(#arguments,)* n as isize) });
        #(#write)*
    }
}

/// A buffer's length as an expression of `n: usize`.
fn length(len: &Affine) -> TokenStream {
    let factor = Literal::i64_unsuffixed(len.factor(Var::BATCH).max(0));
    let constant = Literal::i64_unsuffixed(len.constant.max(0));
    match (len.terms.is_empty(), len.constant) {
        (true, _) => quote!(#constant),
        (false, 0) => quote!(#factor * n),
        (false, _) => quote!(#factor * n + #constant),
    }
}

/// What every program has: `main`, files, time.
fn support() -> TokenStream {
    quote! {
        use std::path::Path;

        enum Failure {
            Input(String),
            Cpu(&'static str),
        }

        fn main() -> std::process::ExitCode {
            let arguments: Vec<String> = std::env::args().skip(1).collect();
            let (index, n, repeat) = match arguments.as_slice() {
                [index, n, _] => (index.parse(), n.parse(), Ok(1)),
                [index, n, _, repeat] => (index.parse(), n.parse(), repeat.parse()),
                _ => {
                    eprintln!("usage: program INDEX N DIR [REPEAT]");
                    return 2.into();
                }
            };
            let (Ok(index), Ok(n), Ok(repeat)) = (index, n, repeat) else {
                eprintln!("INDEX, N and REPEAT are numbers");
                return 2.into();
            };
            match run(index, n, Path::new(&arguments[2]), repeat) {
                Ok(()) => 0.into(),
                Err(Failure::Input(message)) => {
                    eprintln!("{message}");
                    2.into()
                }
                Err(Failure::Cpu(feature)) => {
                    eprintln!("this CPU has no {feature}");
                    3.into()
                }
            }
        }

        fn read<T, const B: usize>(path: &Path, len: usize, from: fn([u8; B]) -> T) -> Result<Vec<T>, Failure> {
            let bytes = std::fs::read(path).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?;
            if bytes.len() != len * B {
                let (found, path) = (bytes.len(), path.display());
                return Err(Failure::Input(format!("{path}: {} bytes are needed, there are {found}", len * B)));
            }
            Ok(bytes.as_chunks().0.iter().map(|bytes| from(*bytes)).collect())
        }

        fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
            std::fs::write(path, bytes).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))
        }

        fn timed(repeat: u32, mut f: impl FnMut()) {
            let times = (0..repeat).map(|_| {
                let start = std::time::Instant::now();
                f();
                start.elapsed().as_nanos()
            });
            let mut times: Vec<u128> = times.collect();
            times.sort_unstable();
            if repeat > 1 {
                println!("{}", times[times.len() / 2]);
            }
        }
    }
}
