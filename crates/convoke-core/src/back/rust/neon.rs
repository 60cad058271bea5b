//! AArch64's Advanced SIMD.

use super::isa::{Helper, Instructions};
use super::names::{contains_ident, ident};
use super::tile::binary_name;
use super::x86::mantissa;
use crate::ir::BinaryOp;
use crate::spec::DType;
use proc_macro2::TokenStream;
use quote::quote;

pub(super) fn prelude(i: &mut Instructions, used: &[Helper]) -> TokenStream {
    let path = i.path();
    let t = i.dtype.name();
    let (v, bits) = match i.dtype {
        DType::F32 => (ident("float32x4_t"), "s32"),
        DType::F64 => (ident("float64x2_t"), "s64"),
    };
    let of = |operation: &str| ident(&format!("{operation}_{t}"));
    let mut code = TokenStream::new();
    for &helper in used {
        let name = i.name(helper);
        let direct = match helper {
            Helper::Splat => Some(of("vdupq_n")),
            Helper::Load(n) if n == i.lanes => Some(of("vld1q")),
            Helper::Store(n) if n == i.lanes => Some(of("vst1q")),
            Helper::Binary(op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div)) => {
                Some(of(&format!("v{}q", binary_name(op))))
            }
            _ => None,
        };
        if let Some(intrinsic) = direct {
            code.extend(quote!(use #path::#intrinsic as #name;));
            continue;
        }
        let (greater, choose) = (of("vcgtq"), of("vbslq"));
        code.extend(match helper {
            Helper::Fma => {
                let fma = of("vfmaq");
                i.function(quote!(fn #name(a: V, b: V, c: V) -> V), quote!(#path::#fma(c, a, b)))
            }
            // The instructions of that name return a NaN that either operand has.
            Helper::Binary(BinaryOp::Max) => {
                i.function(quote!(fn #name(a: V, b: V) -> V), quote!(#path::#choose(#path::#greater(a, b), a, b)))
            }
            Helper::Binary(_) => {
                i.function(quote!(fn #name(a: V, b: V) -> V), quote!(#path::#choose(#path::#greater(b, a), a, b)))
            }
            Helper::Select => i.function(
                quote!(fn #name(a: V, b: V, c: V, e: V) -> V),
                quote!(#path::#choose(#path::#greater(a, b), c, e)),
            ),
            Helper::Exponent => {
                let to_bits = ident(&format!("vreinterpretq_{bits}_{t}"));
                let from_bits = ident(&format!("vreinterpretq_{t}_{bits}"));
                let shift = ident(&format!("vshlq_n_{bits}"));
                let by = mantissa(i.dtype);
                let body = quote!(#path::#from_bits(#path::#shift::<#by>(#path::#to_bits(a))));
                i.function(quote!(fn #name(a: V) -> V), body)
            }
            _ => i.by_element(helper).unwrap_or_default(),
        });
    }
    // Tiles infer the type; only functions name it.
    let vector = contains_ident(code.clone(), "V").then(|| quote!(use #path::#v as V;));
    quote!(#vector #code)
}
