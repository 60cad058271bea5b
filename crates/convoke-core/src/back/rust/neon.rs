//! AArch64's Advanced SIMD.

use super::isa::{Helper, Instructions};
use super::names::{contains_ident, ident};
use super::tile::binary_name;
use super::x86::mantissa;
use crate::ir::{BinaryOp, Conversion};
use crate::spec::DType;
use proc_macro2::TokenStream;
use quote::quote;

/// An operation of integers.
fn integers(path: &TokenStream, op: BinaryOp) -> TokenStream {
    let half = |x: TokenStream| quote!(#path::vreinterpretq_s16_f32(#x));
    let whole = |x: TokenStream| quote!(#path::vreinterpretq_s32_f32(#x));
    let (a, b) = (quote!(a), quote!(b));
    let value = match op {
        BinaryOp::Dot => {
            let (a, b) = (half(a), half(b));
            quote! {
                #path::vpaddq_s32(
                    #path::vmull_s16(#path::vget_low_s16(#a), #path::vget_low_s16(#b)),
                    #path::vmull_high_s16(#a, #b),
                )
            }
        }
        BinaryOp::Splice => {
            let (a, b) = (whole(a), whole(b));
            quote!(#path::vorrq_s32(#a, #path::vshlq_n_s32::<8>(#b)))
        }
        BinaryOp::Join => {
            let (a, b) = (whole(a), whole(b));
            quote!(#path::vsliq_n_s32::<16>(#path::vandq_s32(#a, #path::vdupq_n_s32(0xffff)), #b))
        }
        _ => {
            let (a, b) = (whole(a), whole(b));
            quote!(#path::vaddq_s32(#a, #b))
        }
    };
    quote!(#path::vreinterpretq_f32_s32(#value))
}

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
            Helper::Sqrt => Some(of("vsqrtq")),
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
            Helper::Binary(op) if op.is_integer() => {
                let body = integers(&path, op);
                i.function(quote!(fn #name(a: V, b: V) -> V), body)
            }
            Helper::Convert(Conversion::Float) => {
                i.function(quote!(fn #name(a: V) -> V), quote!(#path::vcvtq_f32_s32(#path::vreinterpretq_s32_f32(a))))
            }
            // What is too great becomes the least integer, and not the greatest.
            Helper::Convert(Conversion::Int) => i.function(
                quote!(fn #name(a: V) -> V),
                quote! {
                    let whole = #path::vreinterpretq_f32_s32(#path::vcvtnq_s32_f32(a));
                    let fits = #path::vcgtq_f32(#path::vdupq_n_f32(2147483648.0), a);
                    #path::vbslq_f32(fits, whole, #path::vreinterpretq_f32_s32(#path::vdupq_n_s32(i32::MIN)))
                },
            ),
            // The instructions of that name return a NaN that either operand has.
            Helper::Binary(BinaryOp::Max) => {
                i.function(quote!(fn #name(a: V, b: V) -> V), quote!(#path::#choose(#path::#greater(a, b), a, b)))
            }
            Helper::Binary(BinaryOp::Maximum) => {
                let equal = of("vceqq");
                i.function(
                    quote!(fn #name(a: V, b: V) -> V),
                    quote!(#path::#choose(#path::#equal(a, a), #path::#choose(#path::#greater(a, b), a, b), a)),
                )
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
