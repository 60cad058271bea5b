//! Plain Rust on arrays, for any CPU. It has no `fma`: `core` cannot fuse. Nor has `core` a square root, so that of whole numbers stands
//! in for it.

use super::isa::{Helper, Instructions};
use super::names::ident;
use super::x86::mantissa;
use crate::ir::{BinaryOp, Conversion};
use crate::spec::DType;
use proc_macro2::{Literal, TokenStream};
use quote::quote;

pub(super) fn prelude(i: &mut Instructions, used: &[Helper]) -> TokenStream {
    let (element, lanes) = (i.element(), Literal::usize_unsuffixed(i.lanes));
    let mut code = quote! {
        /// A vector.
        #[derive(Clone, Copy)]
        struct V([#element; #lanes]);
    };
    for &helper in used {
        let name = i.name(helper);
        let lane_by_lane = |lane: TokenStream| quote!(V(::core::array::from_fn(|i| #lane)));
        code.extend(match helper {
            Helper::Splat => i.function(quote!(fn #name(x: #element) -> V), quote!(V([x; #lanes]))),
            Helper::Load(n) if n == i.lanes => i.function(
                quote!(unsafe fn #name(p: *const #element) -> V),
                quote!(V(unsafe { p.cast::<[#element; #lanes]>().read() })),
            ),
            Helper::Store(n) if n == i.lanes => i.function(
                quote!(unsafe fn #name(p: *mut #element, v: V)),
                quote!(unsafe { p.cast::<[#element; #lanes]>().write(v.0) }),
            ),
            Helper::Binary(op) => {
                let body = lane_by_lane(binary(op));
                i.function(quote!(fn #name(a: V, b: V) -> V), body)
            }
            Helper::Convert(op) => {
                let body = lane_by_lane(convert(op));
                i.function(quote!(fn #name(a: V) -> V), body)
            }
            Helper::Select => {
                let body = lane_by_lane(quote!(if a.0[i] > b.0[i] { c.0[i] } else { e.0[i] }));
                i.function(quote!(fn #name(a: V, b: V, c: V, e: V) -> V), body)
            }
            Helper::Exponent => {
                let by = mantissa(i.dtype);
                let body = lane_by_lane(quote!(#element::from_bits(a.0[i].to_bits() << #by)));
                i.function(quote!(fn #name(a: V) -> V), body)
            }
            Helper::Sqrt => {
                let root = root(i.dtype);
                let body = lane_by_lane(quote!(root(a.0[i])));
                i.function(quote!(fn #name(a: V) -> V), quote!(#root #body))
            }
            _ => i.by_element(helper).unwrap_or_default(),
        });
    }
    code
}

/// The square root of a number, rounded once. The mantissa, times 2 if the exponent is odd, is a whole number; so is its root, with one bit more
/// than a result has. No root lies in the middle of two results, since its square would have more bits than a mantissa.
fn root(dtype: DType) -> TokenStream {
    // The bits of numbers and of squares; of a mantissa without the hidden one; what a subnormal number is taken times, and its root then by.
    let (bits, wide, mantissa, bias, up, down) = match dtype {
        DType::F32 => (quote!(u32), quote!(u64), 23_u32, 127_u32, quote!(16777216.0), quote!(4096.0)),
        DType::F64 => (quote!(u64), quote!(u128), 52, 1023, quote!(18014398509481984.0), quote!(134217728.0)),
    };
    let element = ident(dtype.name());
    let [more, mantissa, bias] = [mantissa + 2, mantissa, bias].map(Literal::u32_unsuffixed);
    quote! {
        fn root(x: #element) -> #element {
            if x.is_nan() {
                return x;
            }
            if x < 0.0 {
                // The NaN that the machine's own roots are.
                let is_x86 = cfg!(any(target_arch = "x86", target_arch = "x86_64"));
                return if is_x86 { -#element::NAN } else { #element::NAN };
            }
            if x == 0.0 || x == #element::INFINITY {
                return x;
            }
            if !x.is_normal() {
                return root(x * #up) / #down;
            }
            let exponent = (x.to_bits() >> #mantissa) as i32 - #bias;
            let whole = x.to_bits() & ((1 << #mantissa) - 1) | 1 << #mantissa;
            let square = #wide::from(whole << (exponent & 1)) << #more;
            let twice = square.isqrt() as #bits;
            let exponent = ((exponent >> 1) + #bias - 1) as #bits;
            #element::from_bits((exponent << #mantissa) + twice.div_ceil(2))
        }
    }
}

/// Lane `i` of `a op b`.
fn binary(op: BinaryOp) -> TokenStream {
    match op {
        BinaryOp::Add => quote!(a.0[i] + b.0[i]),
        BinaryOp::Sub => quote!(a.0[i] - b.0[i]),
        BinaryOp::Mul => quote!(a.0[i] * b.0[i]),
        BinaryOp::Div => quote!(a.0[i] / b.0[i]),
        BinaryOp::Max => quote!(if a.0[i] > b.0[i] { a.0[i] } else { b.0[i] }),
        BinaryOp::Min => quote!(if a.0[i] < b.0[i] { a.0[i] } else { b.0[i] }),
        BinaryOp::Maximum => quote!(if a.0[i] > b.0[i] || a.0[i].is_nan() { a.0[i] } else { b.0[i] }),
        BinaryOp::AddInt => quote!(f32::from_bits(a.0[i].to_bits().wrapping_add(b.0[i].to_bits()))),
        BinaryOp::Dot => quote! {{
            let halves = |x: f32| [i32::from(x.to_bits() as i16), (x.to_bits() as i32) >> 16];
            let ([a0, a1], [b0, b1]) = (halves(a.0[i]), halves(b.0[i]));
            f32::from_bits((a0 * b0).wrapping_add(a1 * b1) as u32)
        }},
        BinaryOp::Splice => quote!(f32::from_bits(a.0[i].to_bits() | b.0[i].to_bits() << 8)),
        // No kernel for any CPU has it.
        BinaryOp::Products => quote!(compile_error!("bytes are multiplied on AVX2 and AVX-512 only")),
        BinaryOp::Join => quote!(f32::from_bits(a.0[i].to_bits() & 0xffff | b.0[i].to_bits() << 16)),
    }
}

/// Lane `i` of `a` as another type. Below 2^23 a sum with that is a whole number.
fn convert(op: Conversion) -> TokenStream {
    match op {
        Conversion::Float => quote!(a.0[i].to_bits() as i32 as f32),
        Conversion::Int => quote! {{
            let x = a.0[i];
            let shift = if x < 0.0 { -8388608.0 } else { 8388608.0 };
            let whole = if x < 8388608.0 && x > -8388608.0 { (x + shift) - shift } else { x };
            let fits = whole >= -2147483648.0 && whole < 2147483648.0;
            f32::from_bits(if fits { whole as i32 as u32 } else { 0x8000_0000 })
        }},
    }
}
