//! SSE2, AVX2 and AVX-512: nearly every operation is one intrinsic, so most of the prelude is `use … as …`.

use super::halves;
use super::isa::{Helper, Instructions};
use super::names::{contains_ident, ident};
use super::tile::binary_name;
use crate::ir::{BinaryOp, Conversion};
use crate::spec::{DType, Storage};
use crate::target::Isa;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

/// `_mm`, `_mm256` or `_mm512`.
fn width(isa: Isa) -> &'static str {
    match isa {
        Isa::Avx512 => "_mm512",
        Isa::Avx2 => "_mm256",
        _ => "_mm",
    }
}

/// `ps` or `pd`.
fn suffix(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "ps",
        DType::F64 => "pd",
    }
}

/// The intrinsic that does `operation` on the version's vectors: `_mm256_add_ps`.
pub(super) fn intrinsic(i: &Instructions, operation: &str) -> Ident {
    ident(&format!("{}_{operation}_{}", width(i.isa), suffix(i.dtype)))
}

pub(super) fn prelude(i: &mut Instructions, used: &[Helper]) -> TokenStream {
    let bits = i.isa.vector_bytes() * 8;
    let v = ident(&format!("__m{bits}{}", if i.dtype == DType::F64 { "d" } else { "" }));
    let path = i.path();
    let mut code = TokenStream::new();
    for &helper in used {
        let direct = match helper {
            Helper::Splat => Some("set1"),
            Helper::Load(n) if n == i.lanes => Some("loadu"),
            Helper::Store(n) if n == i.lanes => Some("storeu"),
            Helper::Fma => Some("fmadd"),
            Helper::Sqrt => Some("sqrt"),
            Helper::Binary(op) if !op.is_integer() && op != BinaryOp::Maximum => Some(binary_name(op)),
            _ => None,
        };
        code.extend(match direct {
            Some(operation) => {
                let (intrinsic, name) = (intrinsic(i, operation), i.name(helper));
                quote!(use #path::#intrinsic as #name;)
            }
            None => function(i, helper),
        });
    }
    // Tiles infer the type; only functions name it.
    let vector = contains_ident(code.clone(), "V").then(|| quote!(use #path::#v as V;));
    quote!(#vector #code)
}

fn function(i: &mut Instructions, helper: Helper) -> TokenStream {
    let (name, element, path) = (i.name(helper), i.element(), i.path());
    let storage_name = match helper {
        Helper::LoadNarrow { storage, .. } | Helper::Pairs(storage, _) => i.element_of(storage),
        _ => element.clone(),
    };
    match helper {
        Helper::Load(lanes) if i.isa != Isa::Sse => {
            let body = match i.isa {
                Isa::Avx512 => {
                    let (load, mask) = (intrinsic(i, "maskz_loadu"), mask_bits(lanes));
                    quote!(#path::#load(#mask, p))
                }
                _ => {
                    let (load, mask) = (intrinsic(i, "maskload"), mask_vector(i, lanes));
                    quote!(#path::#load(p, #mask))
                }
            };
            i.function(quote!(unsafe fn #name(p: *const #element) -> V), quote!(unsafe { #body }))
        }
        // AVX2's masked stores take long on many processors. The Rust compiler makes few stores of those of elements.
        Helper::Store(lanes) if i.isa == Isa::Avx512 => {
            let (store, mask) = (intrinsic(i, "mask_storeu"), mask_bits(lanes));
            let body = quote!(#path::#store(p, #mask, v));
            i.function(quote!(unsafe fn #name(p: *mut #element, v: V)), quote!(unsafe { #body }))
        }
        Helper::LoadRepeated { lanes, repeat, strided: false } if lanes == i.lanes && lanes.is_multiple_of(repeat) => {
            match repeated(i, repeat) {
                Some(body) => i.function(quote!(unsafe fn #name(p: *const #element) -> V), quote!(unsafe { #body })),
                None => i.by_element(helper).unwrap_or_default(),
            }
        }
        Helper::Binary(BinaryOp::Maximum) => {
            let body = maximum(i);
            i.function(quote!(fn #name(a: V, b: V) -> V), body)
        }
        Helper::Binary(op) => {
            let body = integers(i, op);
            i.function(quote!(fn #name(a: V, b: V) -> V), body)
        }
        Helper::Dot4 => {
            let (to_bits, from_bits) = (to_bits(i), from_bits(i));
            let dot = ident(if i.isa == Isa::Avx512 { "_mm512_dpbusd_epi32" } else { "_mm256_dpbusd_avx_epi32" });
            let [a, b, c] = [quote!(a), quote!(b), quote!(c)].map(|x| quote!(#path::#to_bits(#x)));
            let body = quote!(#path::#from_bits(#path::#dot(#c, #a, #b)));
            i.function(quote!(fn #name(a: V, b: V, c: V) -> V), body)
        }
        Helper::Convert(op) => {
            let (width, to_bits, from_bits) = (width(i.isa), to_bits(i), from_bits(i));
            let body = match op {
                Conversion::Float => {
                    let convert = ident(&format!("{width}_cvtepi32_ps"));
                    quote!(#path::#convert(#path::#to_bits(a)))
                }
                Conversion::Int => {
                    let convert = ident(&format!("{width}_cvtps_epi32"));
                    quote!(#path::#from_bits(#path::#convert(a)))
                }
            };
            i.function(quote!(fn #name(a: V) -> V), body)
        }
        Helper::LoadNarrow { storage, lanes, strided: false } if lanes == i.lanes && i.isa != Isa::Sse => {
            let body = widened(i, storage, 32, lanes);
            i.function(quote!(unsafe fn #name(p: *const #storage_name) -> V), quote!(unsafe { #body }))
        }
        Helper::Quads(lanes) if lanes == i.lanes => {
            let load = intrinsic(i, "loadu");
            i.function(quote!(unsafe fn #name(p: *const u8) -> V), quote!(unsafe { #path::#load(p.cast()) }))
        }
        Helper::Pairs(storage, lanes) if lanes == i.lanes && i.isa != Isa::Sse => {
            let body = widened(i, storage, 16, 2 * lanes);
            i.function(quote!(unsafe fn #name(p: *const #storage_name) -> V), quote!(unsafe { #body }))
        }
        Helper::LoadHalf { storage, lanes, repeat: 1, strided: false } if halves::is_loaded_whole(i, lanes) => {
            let body = halves::load(i, storage, lanes);
            i.function(quote!(unsafe fn #name(p: *const u16) -> V), quote!(unsafe { #body }))
        }
        Helper::StoreHalf { storage, lanes, strided: false } if halves::is_loaded_whole(i, lanes) => {
            let body = halves::store(i, storage, lanes);
            i.function(quote!(unsafe fn #name(p: *mut u16, v: V)), quote!(unsafe { #body }))
        }
        Helper::Select => {
            let body = select(i);
            i.function(quote!(fn #name(a: V, b: V, c: V, e: V) -> V), body)
        }
        Helper::Exponent => {
            let (width, lane, s) = (width(i.isa), i.dtype.bytes() * 8, suffix(i.dtype));
            let bits = i.isa.vector_bytes() * 8;
            let cast = |from: &str, to: &str| ident(&format!("{width}_cast{from}_{to}"));
            let integer = format!("si{bits}");
            let (to_bits, from_bits) = (cast(s, &integer), cast(&integer, s));
            let shift = ident(&format!("{width}_slli_epi{lane}"));
            let by = mantissa(i.dtype);
            let body = quote!(#path::#from_bits(#path::#shift::<#by>(#path::#to_bits(a))));
            i.function(quote!(fn #name(a: V) -> V), body)
        }
        _ => i.by_element(helper).unwrap_or_default(),
    }
}

/// The intrinsic that takes a vector of floats for one of integers.
pub(super) fn to_bits(i: &Instructions) -> Ident {
    ident(&format!("{}_cast{}_si{}", width(i.isa), suffix(i.dtype), 8 * i.isa.vector_bytes()))
}

/// The other way round.
pub(super) fn from_bits(i: &Instructions) -> Ident {
    ident(&format!("{}_castsi{}_{}", width(i.isa), 8 * i.isa.vector_bytes(), suffix(i.dtype)))
}

/// An operation of integers.
fn integers(i: &Instructions, op: BinaryOp) -> TokenStream {
    let (path, width, to_bits, from_bits) = (i.path(), width(i.isa), to_bits(i), from_bits(i));
    let of = |operation: &str| ident(&format!("{width}_{operation}"));
    let (a, b) = (quote!(#path::#to_bits(a)), quote!(#path::#to_bits(b)));
    let value = match op {
        BinaryOp::Dot => {
            let dot = of("madd_epi16");
            quote!(#path::#dot(#a, #b))
        }
        BinaryOp::Products => {
            let products = of("maddubs_epi16");
            quote!(#path::#products(#a, #b))
        }
        BinaryOp::Splice => {
            let (or, shift) = (of(&format!("or_si{}", i.isa.vector_bytes() * 8)), of("slli_epi32"));
            quote!(#path::#or(#a, #path::#shift::<8>(#b)))
        }
        BinaryOp::Join => {
            let bits = i.isa.vector_bytes() * 8;
            let (and, or) = (of(&format!("and_si{bits}")), of(&format!("or_si{bits}")));
            let (set, shift) = (of("set1_epi32"), of("slli_epi32"));
            quote!(#path::#or(#path::#and(#a, #path::#set(0xffff)), #path::#shift::<16>(#b)))
        }
        _ => {
            let add = of("add_epi32");
            quote!(#path::#add(#a, #b))
        }
    };
    quote!(#path::#from_bits(#value))
}

/// A load of `count` contiguous integers of 8 bits, each to one of `bits`, which fill the register.
fn widened(i: &Instructions, storage: Storage, bits: usize, count: usize) -> TokenStream {
    let (path, from_bits) = (i.path(), from_bits(i));
    let sign = if storage == Storage::U8 { "epu8" } else { "epi8" };
    let convert = ident(&format!("{}_cvt{sign}_epi{bits}", width(i.isa)));
    let load = ident(match count {
        8 => "_mm_loadl_epi64",
        16 => "_mm_loadu_si128",
        _ => "_mm256_loadu_si256",
    });
    quote!(#path::#from_bits(#path::#convert(#path::#load(p.cast()))))
}

/// The width of the mantissa in bits.
pub(super) fn mantissa(dtype: DType) -> Literal {
    Literal::u32_unsuffixed(if dtype == DType::F32 { 23 } else { 52 })
}

/// `if a > b { c } else { e }`; a comparison with a NaN is false.
fn select(i: &Instructions) -> TokenStream {
    let path = i.path();
    let of = |operation: &str| intrinsic(i, operation);
    match i.isa {
        Isa::Avx512 => {
            let compare = ident(&format!("_mm512_cmp_{}_mask", suffix(i.dtype)));
            let blend = of("mask_blend");
            quote!(#path::#blend(#path::#compare::<{ #path::_CMP_GT_OQ }>(a, b), e, c))
        }
        Isa::Avx2 => {
            let (compare, blend) = (of("cmp"), of("blendv"));
            quote!(#path::#blend(e, c, #path::#compare::<{ #path::_CMP_GT_OQ }>(a, b)))
        }
        _ => {
            let (compare, and, and_not, or) = (of("cmpgt"), of("and"), of("andnot"), of("or"));
            quote! {
                let greater = #path::#compare(a, b);
                #path::#or(#path::#and(greater, c), #path::#and_not(greater, e))
            }
        }
    }
}

/// The greater of `a` and `b`, where the intrinsic `max` gives `b` if `a` is no number. All bits set is a NaN.
fn maximum(i: &Instructions) -> TokenStream {
    let path = i.path();
    let of = |operation: &str| intrinsic(i, operation);
    let (max, or) = (of("max"), of("or"));
    match i.isa {
        Isa::Avx512 => {
            let compare = ident(&format!("_mm512_cmp_{}_mask", suffix(i.dtype)));
            let blend = of("mask_blend");
            quote!(#path::#blend(#path::#compare::<{ #path::_CMP_UNORD_Q }>(a, a), #path::#max(a, b), a))
        }
        Isa::Avx2 => {
            let compare = of("cmp");
            quote!(#path::#or(#path::#compare::<{ #path::_CMP_UNORD_Q }>(a, a), #path::#max(a, b)))
        }
        _ => {
            let compare = of("cmpunord");
            quote!(#path::#or(#path::#compare(a, a), #path::#max(a, b)))
        }
    }
}

/// A load of elements that each go to `repeat` lanes, which fill the register: what there is, then a permutation.
fn repeated(i: &Instructions, repeat: usize) -> Option<TokenStream> {
    let (path, bits, elements) = (i.path(), i.dtype.bytes() * 8, i.lanes / repeat);
    let indices = (0..i.lanes).map(|lane| Literal::usize_unsuffixed(lane / repeat));
    match (i.isa, i.dtype) {
        (Isa::Avx512, _) => {
            let (load, mask) = (intrinsic(i, "maskz_loadu"), mask_bits(elements));
            let (permute, set) = (intrinsic(i, "permutexvar"), ident(&format!("_mm512_setr_epi{bits}")));
            Some(quote!(#path::#permute(#path::#set(#(#indices),*), #path::#load(#mask, p))))
        }
        (Isa::Avx2, DType::F32) => {
            let mask = mask_vector(i, elements);
            let indices = quote!(#path::_mm256_setr_epi32(#(#indices),*));
            Some(quote!(#path::_mm256_permutevar8x32_ps(#path::_mm256_maskload_ps(p, #mask), #indices)))
        }
        (Isa::Avx2, DType::F64) if repeat == 2 => {
            let mask = mask_vector(i, elements);
            Some(quote!(#path::_mm256_permute4x64_pd::<0b01_01_00_00>(#path::_mm256_maskload_pd(p, #mask))))
        }
        _ => None,
    }
}

/// A mask with the lowest `lanes` bits set.
pub(super) fn mask_bits(lanes: usize) -> Literal {
    Literal::u32_unsuffixed(1_u32.checked_shl(lanes as u32).unwrap_or(0).wrapping_sub(1))
}

/// A mask whose first `lanes` lanes are all ones.
fn mask_vector(i: &Instructions, lanes: usize) -> TokenStream {
    let (path, bits) = (i.path(), i.dtype.bytes() * 8);
    let set = ident(&format!("_mm256_setr_epi{bits}{}", if bits == 64 { "x" } else { "" }));
    let lanes = (0..i.lanes).map(|lane| if lane < lanes { quote!(-1) } else { quote!(0) });
    quote!(#path::#set(#(#lanes),*))
}
