
/// The AVX-512 intrinsics that the backend uses, lane by lane as Intel's guide defines them.
#[allow(dead_code, non_camel_case_types)]
mod model {
    pub const _CMP_GT_OQ: i32 = 30;
    pub const _CMP_UNORD_Q: i32 = 3;

    #[derive(Clone, Copy)]
    pub struct __m512(pub [f32; 16]);
    #[derive(Clone, Copy)]
    pub struct __m512d(pub [f64; 8]);
    #[derive(Clone, Copy)]
    pub struct __m512i(pub [u64; 8]);

    macro_rules! lanewise {
        ($V:ident, $T:ty, $L:literal, $M:ty; $($name:ident |$a:ident, $b:ident| $body:expr;)*) => {$(
            pub fn $name(a: $V, b: $V) -> $V {
                let mut out = a;
                for i in 0..$L {
                    let ($a, $b) = (a.0[i], b.0[i]);
                    out.0[i] = $body;
                }
                out
            }
        )*};
    }

    macro_rules! memory {
        ($V:ident, $T:ty, $L:literal, $M:ty, $set1:ident, $loadu:ident, $storeu:ident, $maskz_loadu:ident, $mask_storeu:ident,
            $fmadd:ident, $blend:ident, $cmp:ident) => {
            pub fn $set1(x: $T) -> $V {
                $V([x; $L])
            }
            pub unsafe fn $loadu(p: *const $T) -> $V {
                unsafe { $maskz_loadu(<$M>::MAX, p) }
            }
            pub unsafe fn $storeu(p: *mut $T, v: $V) {
                unsafe { $mask_storeu(p, <$M>::MAX, v) }
            }
            pub unsafe fn $maskz_loadu(k: $M, p: *const $T) -> $V {
                let mut out = $V([0.0; $L]);
                for i in 0..$L {
                    if k >> i & 1 == 1 {
                        out.0[i] = unsafe { *p.wrapping_add(i) };
                    }
                }
                out
            }
            pub unsafe fn $mask_storeu(p: *mut $T, k: $M, v: $V) {
                for i in 0..$L {
                    if k >> i & 1 == 1 {
                        unsafe { *p.wrapping_add(i) = v.0[i] };
                    }
                }
            }
            pub fn $fmadd(a: $V, b: $V, c: $V) -> $V {
                let mut out = c;
                for i in 0..$L {
                    out.0[i] = a.0[i].mul_add(b.0[i], c.0[i]);
                }
                out
            }
            pub fn $blend(k: $M, a: $V, b: $V) -> $V {
                let mut out = a;
                for i in 0..$L {
                    if k >> i & 1 == 1 {
                        out.0[i] = b.0[i];
                    }
                }
                out
            }
            pub fn $cmp<const OP: i32>(a: $V, b: $V) -> $M {
                let holds: fn($T, $T) -> bool = match OP {
                    _CMP_GT_OQ => |a, b| a > b,
                    _CMP_UNORD_Q => |a, b| a.is_nan() || b.is_nan(),
                    _ => panic!("an unknown predicate"),
                };
                (0..$L).map(|i| if holds(a.0[i], b.0[i]) { 1 << i } else { 0 }).sum()
            }
        };
    }

    memory!(__m512, f32, 16, u16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_maskz_loadu_ps,
        _mm512_mask_storeu_ps, _mm512_fmadd_ps, _mm512_mask_blend_ps, _mm512_cmp_ps_mask);
    memory!(__m512d, f64, 8, u8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_maskz_loadu_pd,
        _mm512_mask_storeu_pd, _mm512_fmadd_pd, _mm512_mask_blend_pd, _mm512_cmp_pd_mask);

    lanewise! { __m512, f32, 16, u16;
        _mm512_add_ps |a, b| a + b;
        _mm512_sub_ps |a, b| a - b;
        _mm512_mul_ps |a, b| a * b;
        _mm512_div_ps |a, b| a / b;
        _mm512_max_ps |a, b| if a > b { a } else { b };
        _mm512_min_ps |a, b| if a < b { a } else { b };
    }
    lanewise! { __m512d, f64, 8, u8;
        _mm512_add_pd |a, b| a + b;
        _mm512_sub_pd |a, b| a - b;
        _mm512_mul_pd |a, b| a * b;
        _mm512_div_pd |a, b| a / b;
        _mm512_max_pd |a, b| if a > b { a } else { b };
        _mm512_min_pd |a, b| if a < b { a } else { b };
    }

    pub fn _mm512_sqrt_ps(a: __m512) -> __m512 {
        __m512(a.0.map(f32::sqrt))
    }
    pub fn _mm512_sqrt_pd(a: __m512d) -> __m512d {
        __m512d(a.0.map(f64::sqrt))
    }
    pub fn _mm512_castps_si512(a: __m512) -> __m512i {
        __m512i(std::array::from_fn(|i| a.0[2 * i].to_bits() as u64 | (a.0[2 * i + 1].to_bits() as u64) << 32))
    }
    pub fn _mm512_castsi512_ps(a: __m512i) -> __m512 {
        __m512(std::array::from_fn(|i| f32::from_bits((a.0[i / 2] >> (i % 2 * 32)) as u32)))
    }
    pub fn _mm512_castpd_si512(a: __m512d) -> __m512i {
        __m512i(a.0.map(f64::to_bits))
    }
    pub fn _mm512_castsi512_pd(a: __m512i) -> __m512d {
        __m512d(a.0.map(f64::from_bits))
    }
    pub fn _mm512_slli_epi32<const IMM: u32>(a: __m512i) -> __m512i {
        __m512i(a.0.map(|x| ((x as u32) << IMM) as u64 | ((((x >> 32) as u32) << IMM) as u64) << 32))
    }
    pub fn _mm512_slli_epi64<const IMM: u32>(a: __m512i) -> __m512i {
        __m512i(a.0.map(|x| x << IMM))
    }
    #[rustfmt::skip]
    #[allow(clippy::too_many_arguments)]
    pub fn _mm512_setr_ps(
        a: f32, b: f32, c: f32, d: f32, e: f32, f: f32, g: f32, h: f32,
        i: f32, j: f32, k: f32, l: f32, m: f32, n: f32, o: f32, p: f32,
    ) -> __m512 {
        __m512([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
    #[rustfmt::skip]
    #[allow(clippy::too_many_arguments)]
    pub fn _mm512_setr_epi32(
        a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32,
        i: i32, j: i32, k: i32, l: i32, m: i32, n: i32, o: i32, p: i32,
    ) -> __m512i {
        let pair = |low: i32, high: i32| low as u32 as u64 | (high as u32 as u64) << 32;
        __m512i([pair(a, b), pair(c, d), pair(e, f), pair(g, h), pair(i, j), pair(k, l), pair(m, n), pair(o, p)])
    }
    #[allow(clippy::too_many_arguments)]
    pub fn _mm512_setr_epi64(a: i64, b: i64, c: i64, d: i64, e: i64, f: i64, g: i64, h: i64) -> __m512i {
        __m512i([a, b, c, d, e, f, g, h].map(|x| x as u64))
    }
    pub fn _mm512_permutexvar_ps(idx: __m512i, a: __m512) -> __m512 {
        __m512(std::array::from_fn(|i| a.0[(idx.0[i / 2] >> (i % 2 * 32)) as usize % 16]))
    }
    pub fn _mm512_permutexvar_pd(idx: __m512i, a: __m512d) -> __m512d {
        __m512d(idx.0.map(|i| a.0[i as usize % 8]))
    }
    #[allow(clippy::too_many_arguments)]
    pub fn _mm512_setr_pd(a: f64, b: f64, c: f64, d: f64, e: f64, f: f64, g: f64, h: f64) -> __m512d {
        __m512d([a, b, c, d, e, f, g, h])
    }

    #[derive(Clone, Copy)]
    pub struct __m128i(pub [u8; 16]);
    #[derive(Clone, Copy)]
    pub struct __m256i(pub [u8; 32]);

    pub unsafe fn _mm_loadu_si128(p: *const __m128i) -> __m128i {
        unsafe { p.read_unaligned() }
    }
    pub unsafe fn _mm256_loadu_si256(p: *const __m256i) -> __m256i {
        unsafe { p.read_unaligned() }
    }

    fn lanes(a: __m512i) -> [i32; 16] {
        std::array::from_fn(|i| (a.0[i / 2] >> (i % 2 * 32)) as i32)
    }
    fn of_lanes(a: [i32; 16]) -> __m512i {
        __m512i(std::array::from_fn(|i| a[2 * i] as u32 as u64 | (a[2 * i + 1] as u32 as u64) << 32))
    }
    fn both(a: __m512i, b: __m512i, f: impl Fn(i32, i32) -> i32) -> __m512i {
        let (a, b) = (lanes(a), lanes(b));
        of_lanes(std::array::from_fn(|i| f(a[i], b[i])))
    }
    fn halves(low: i32, high: i32) -> i32 {
        low & 0xffff | high << 16
    }
    fn products(a: i32, b: i32) -> [i32; 4] {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        std::array::from_fn(|i| i32::from(a[i]) * i32::from(b[i] as i8))
    }

    fn words(a: __m256i) -> [u16; 16] {
        std::array::from_fn(|i| u16::from_le_bytes([a.0[2 * i], a.0[2 * i + 1]]))
    }
    fn of_words(a: [u16; 16]) -> __m256i {
        __m256i(std::array::from_fn(|i| a[i / 2].to_le_bytes()[i % 2]))
    }
    pub unsafe fn _mm256_storeu_si256(p: *mut __m256i, a: __m256i) {
        unsafe { p.write_unaligned(a) }
    }
    pub unsafe fn _mm256_maskz_loadu_epi16(k: u16, p: *const i16) -> __m256i {
        of_words(std::array::from_fn(|i| if k >> i & 1 == 1 { unsafe { *p.wrapping_add(i) as u16 } } else { 0 }))
    }
    pub unsafe fn _mm256_mask_storeu_epi16(p: *mut i16, k: u16, a: __m256i) {
        for (i, word) in words(a).into_iter().enumerate().filter(|(i, _)| k >> i & 1 == 1) {
            unsafe { *p.wrapping_add(i) = word as i16 };
        }
    }
    pub fn _mm512_cvtepu16_epi32(a: __m256i) -> __m512i {
        of_lanes(words(a).map(i32::from))
    }
    pub fn _mm512_cvtepi32_epi16(a: __m512i) -> __m256i {
        of_words(lanes(a).map(|x| x as u16))
    }
    pub fn _mm512_srli_epi32<const IMM: u32>(a: __m512i) -> __m512i {
        of_lanes(lanes(a).map(|x| (x as u32 >> IMM) as i32))
    }
    pub fn _mm512_mask_blend_epi32(k: u16, a: __m512i, b: __m512i) -> __m512i {
        let (a, b) = (lanes(a), lanes(b));
        of_lanes(std::array::from_fn(|i| if k >> i & 1 == 1 { b[i] } else { a[i] }))
    }
    pub fn _mm512_cvtph_ps(a: __m256i) -> __m512 {
        __m512(words(a).map(|x| {
            let (exponent, mantissa) = (i32::from(x >> 10 & 31), f64::from(x & 0x3ff));
            let magnitude = match exponent {
                0 => mantissa * 2_f64.powi(-24),
                31 if mantissa == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + mantissa) * 2_f64.powi(exponent - 25),
            };
            (if x >> 15 == 1 { -magnitude } else { magnitude }) as f32
        }))
    }
    /// Rounding to the nearest, of two to the even one.
    pub fn _mm512_cvtps_ph<const ROUNDING: i32>(a: __m512) -> __m256i {
        assert_eq!(ROUNDING, 0);
        of_words(a.0.map(|x| {
            let sign = (x.to_bits() >> 16 & 0x8000) as u16;
            if x.is_nan() {
                return sign | 0x7e00;
            }
            let exponent = ((x.to_bits() >> 23 & 255) as i32 - 127).clamp(-14, 16);
            let mantissa = (f64::from(x.abs()) * 2_f64.powi(10 - exponent)).round_ties_even();
            sign | ((f64::from(exponent + 14) * 1024.0 + mantissa).min(31_744.0) as u16)
        }))
    }

    pub fn _mm512_cvtepu8_epi32(a: __m128i) -> __m512i {
        of_lanes(a.0.map(i32::from))
    }
    pub fn _mm512_cvtepi8_epi32(a: __m128i) -> __m512i {
        of_lanes(a.0.map(|x| i32::from(x as i8)))
    }
    pub fn _mm512_cvtepu8_epi16(a: __m256i) -> __m512i {
        of_lanes(std::array::from_fn(|i| halves(a.0[2 * i].into(), a.0[2 * i + 1].into())))
    }
    pub fn _mm512_cvtepi8_epi16(a: __m256i) -> __m512i {
        of_lanes(std::array::from_fn(|i| halves((a.0[2 * i] as i8).into(), (a.0[2 * i + 1] as i8).into())))
    }
    pub fn _mm512_cvtepi32_ps(a: __m512i) -> __m512 {
        __m512(lanes(a).map(|x| x as f32))
    }
    pub fn _mm512_cvtps_epi32(a: __m512) -> __m512i {
        of_lanes(a.0.map(|x| {
            let whole = f64::from(x).round_ties_even();
            if (-2_147_483_648.0..2_147_483_648.0).contains(&whole) { whole as i32 } else { i32::MIN }
        }))
    }
    pub fn _mm512_set1_epi32(x: i32) -> __m512i {
        of_lanes([x; 16])
    }
    pub fn _mm512_and_si512(a: __m512i, b: __m512i) -> __m512i {
        both(a, b, |a, b| a & b)
    }
    pub fn _mm512_or_si512(a: __m512i, b: __m512i) -> __m512i {
        both(a, b, |a, b| a | b)
    }
    pub fn _mm512_add_epi32(a: __m512i, b: __m512i) -> __m512i {
        both(a, b, i32::wrapping_add)
    }
    pub fn _mm512_madd_epi16(a: __m512i, b: __m512i) -> __m512i {
        let product = |a: i32, b: i32| i32::from(a as i16) * i32::from(b as i16);
        both(a, b, |a, b| product(a, b).wrapping_add(product(a >> 16, b >> 16)))
    }
    pub fn _mm512_maddubs_epi16(a: __m512i, b: __m512i) -> __m512i {
        both(a, b, |a, b| {
            let p = products(a, b);
            halves((p[0] + p[1]).clamp(-32768, 32767), (p[2] + p[3]).clamp(-32768, 32767))
        })
    }
    /// `src + a . b`: the addend comes first.
    pub fn _mm512_dpbusd_epi32(src: __m512i, a: __m512i, b: __m512i) -> __m512i {
        both(src, both(a, b, |a, b| products(a, b).iter().sum()), i32::wrapping_add)
    }
}
