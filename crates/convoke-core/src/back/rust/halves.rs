//! Halves in emitted code: `u16` in memory, `f32` in lanes. The conversions are those of `eval`.

use super::isa::{Helper, Instructions};
use super::x86::{from_bits, mask_bits, to_bits};
use crate::spec::Storage;
use crate::target::Isa;
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// The function of one element that `helper` is, [`Helper::Widen`] or [`Helper::Round`].
pub(super) fn scalar(i: &Instructions, helper: Helper, name: &Ident, storage: Storage) -> TokenStream {
    match helper {
        Helper::Widen(_) => i.function(quote!(fn #name(x: u16) -> f32), widened(storage)),
        _ => i.function(quote!(fn #name(x: f32) -> u16), rounded(storage)),
    }
}

/// Of the bits `x` of a half the same `f32`.
pub(super) fn widened(storage: Storage) -> TokenStream {
    if storage == Storage::Bf16 {
        return quote!(f32::from_bits((x as u32) << 16));
    }
    // 2^112 brings the exponents of f16 to those of f32; exactly, for subnormal numbers too.
    quote! {
        let (sign, magnitude) = ((x as u32 & 0x8000) << 16, (x as u32 & 0x7fff) << 13);
        let number = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
        let bits = if x & 0x7c00 == 0x7c00 { magnitude | 0x7f80_0000 } else { number };
        f32::from_bits(sign | bits)
    }
}

/// Of the `f32` `x` the bits of the nearest half.
fn rounded(storage: Storage) -> TokenStream {
    if storage == Storage::Bf16 {
        return quote! {
            let bits = x.to_bits();
            if x.is_nan() { 0x7fc0 } else { ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16 }
        };
    }
    quote! {
        let (sign, magnitude) = (x.to_bits() >> 16 & 0x8000, x.to_bits() & 0x7fff_ffff);
        let bits = if magnitude > 0x7f80_0000 {
            0x7e00
        } else if magnitude >= 0x4780_0000 {
            0x7c00
        } else if magnitude < 0x3880_0000 {
            // The last bit of one half is that of subnormal numbers.
            (f32::from_bits(magnitude) + 0.5).to_bits() - 0x3f00_0000
        } else {
            (magnitude - 0x3800_0000 + 0xfff + (magnitude >> 13 & 1)) >> 13
        };
        (sign | bits) as u16
    }
}

/// Whether so many contiguous halves are brought by one instruction, and taken away by one.
pub(super) fn is_loaded_whole(i: &Instructions, lanes: usize) -> bool {
    i.isa == Isa::Avx512 || i.isa == Isa::Avx2 && lanes == i.lanes
}

/// A load of the contiguous halves at `p`, as lanes.
pub(super) fn load(i: &Instructions, storage: Storage, lanes: usize) -> TokenStream {
    let (path, from_bits, mask) = (i.path(), from_bits(i), mask_bits(lanes));
    let wide = i.isa == Isa::Avx512;
    let halves = match (wide, lanes == i.lanes) {
        (true, true) => quote!(#path::_mm256_loadu_si256(p.cast())),
        (true, false) => quote!(#path::_mm256_maskz_loadu_epi16(#mask, p.cast())),
        (false, _) => quote!(#path::_mm_loadu_si128(p.cast())),
    };
    match (storage, wide) {
        (Storage::F16, true) => quote!(#path::_mm512_cvtph_ps(#halves)),
        (Storage::F16, false) => quote!(#path::_mm256_cvtph_ps(#halves)),
        (_, true) => quote!(#path::#from_bits(#path::_mm512_slli_epi32::<16>(#path::_mm512_cvtepu16_epi32(#halves)))),
        (_, false) => quote!(#path::#from_bits(#path::_mm256_slli_epi32::<16>(#path::_mm256_cvtepu16_epi32(#halves)))),
    }
}

/// A store of the lanes of `v` as contiguous halves at `p`.
pub(super) fn store(i: &Instructions, storage: Storage, lanes: usize) -> TokenStream {
    let (path, to_bits, mask) = (i.path(), to_bits(i), mask_bits(lanes));
    let halves = match (storage, i.isa) {
        (Storage::F16, Isa::Avx512) => quote!(let halves = #path::_mm512_cvtps_ph::<0>(v);),
        (Storage::F16, _) => quote!(let halves = #path::_mm256_cvtps_ph::<0>(v);),
        (_, Isa::Avx512) => quote! {
            let (bits, one) = (#path::#to_bits(v), #path::_mm512_set1_epi32(1));
            let odd = #path::_mm512_and_si512(#path::_mm512_srli_epi32::<16>(bits), one);
            let sum = #path::_mm512_add_epi32(#path::_mm512_add_epi32(bits, #path::_mm512_set1_epi32(0x7fff)), odd);
            let nan = #path::_mm512_cmp_ps_mask::<{ #path::_CMP_UNORD_Q }>(v, v);
            let rounded = #path::_mm512_srli_epi32::<16>(sum);
            let rounded = #path::_mm512_mask_blend_epi32(nan, rounded, #path::_mm512_set1_epi32(0x7fc0));
            let halves = #path::_mm512_cvtepi32_epi16(rounded);
        },
        _ => quote! {
            let (bits, one) = (#path::#to_bits(v), #path::_mm256_set1_epi32(1));
            let odd = #path::_mm256_and_si256(#path::_mm256_srli_epi32::<16>(bits), one);
            let sum = #path::_mm256_add_epi32(#path::_mm256_add_epi32(bits, #path::_mm256_set1_epi32(0x7fff)), odd);
            let nan = #path::_mm256_castps_si256(#path::_mm256_cmp_ps::<{ #path::_CMP_UNORD_Q }>(v, v));
            let rounded = #path::_mm256_srli_epi32::<16>(sum);
            let rounded = #path::_mm256_blendv_epi8(rounded, #path::_mm256_set1_epi32(0x7fc0), nan);
            let words = #path::_mm256_permute4x64_epi64::<0b10_00>(#path::_mm256_packus_epi32(rounded, rounded));
            let halves = #path::_mm256_castsi256_si128(words);
        },
    };
    let store = match (i.isa, lanes == i.lanes) {
        (Isa::Avx512, true) => quote!(#path::_mm256_storeu_si256(p.cast(), halves)),
        (Isa::Avx512, false) => quote!(#path::_mm256_mask_storeu_epi16(p.cast(), #mask, halves)),
        _ => quote!(#path::_mm_storeu_si128(p.cast(), halves)),
    };
    quote!(#halves #store)
}
