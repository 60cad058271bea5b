
/// The NEON intrinsics that the backend uses, lane by lane as Arm's reference defines them.
#[allow(dead_code, non_camel_case_types)]
mod model {
    macro_rules! model {
        ($V:ident, $T:ty, $U:ident, $B:ty, $S:ident, $L:literal; $dup:ident $load:ident $store:ident $fma:ident $sqrt:ident $gt:ident $eq:ident
            $bsl:ident $to_bits:ident $from_bits:ident $shl:ident; $($name:ident $op:tt)*) => {
            #[derive(Clone, Copy)]
            pub struct $V([$T; $L]);
            #[derive(Clone, Copy)]
            pub struct $U([$B; $L]);
            #[derive(Clone, Copy)]
            pub struct $S([$B; $L]);

            pub fn $dup(x: $T) -> $V {
                $V([x; $L])
            }
            pub unsafe fn $load(p: *const $T) -> $V {
                $V(std::array::from_fn(|i| unsafe { *p.wrapping_add(i) }))
            }
            pub unsafe fn $store(p: *mut $T, v: $V) {
                for i in 0..$L {
                    unsafe { *p.wrapping_add(i) = v.0[i] };
                }
            }
            /// `a + b * c`: the addend comes first.
            pub fn $fma(a: $V, b: $V, c: $V) -> $V {
                $V(std::array::from_fn(|i| b.0[i].mul_add(c.0[i], a.0[i])))
            }
            pub fn $sqrt(a: $V) -> $V {
                $V(a.0.map(<$T>::sqrt))
            }
            pub fn $gt(a: $V, b: $V) -> $U {
                $U(std::array::from_fn(|i| if a.0[i] > b.0[i] { <$B>::MAX } else { 0 }))
            }
            pub fn $eq(a: $V, b: $V) -> $U {
                $U(std::array::from_fn(|i| if a.0[i] == b.0[i] { <$B>::MAX } else { 0 }))
            }
            pub fn $bsl(mask: $U, a: $V, b: $V) -> $V {
                $V(std::array::from_fn(|i| {
                    <$T>::from_bits(mask.0[i] & a.0[i].to_bits() | !mask.0[i] & b.0[i].to_bits())
                }))
            }
            pub fn $to_bits(a: $V) -> $S {
                $S(a.0.map(<$T>::to_bits))
            }
            pub fn $from_bits(a: $S) -> $V {
                $V(a.0.map(<$T>::from_bits))
            }
            pub fn $shl<const N: i32>(a: $S) -> $S {
                $S(a.0.map(|x| x << N))
            }
            $(pub fn $name(a: $V, b: $V) -> $V {
                $V(std::array::from_fn(|i| a.0[i] $op b.0[i]))
            })*
        };
    }

    model!(float32x4_t, f32, uint32x4_t, u32, int32x4_t, 4; vdupq_n_f32 vld1q_f32 vst1q_f32 vfmaq_f32 vsqrtq_f32 vcgtq_f32 vceqq_f32 vbslq_f32
        vreinterpretq_s32_f32 vreinterpretq_f32_s32 vshlq_n_s32; vaddq_f32 + vsubq_f32 - vmulq_f32 * vdivq_f32 /);
    model!(float64x2_t, f64, uint64x2_t, u64, int64x2_t, 2; vdupq_n_f64 vld1q_f64 vst1q_f64 vfmaq_f64 vsqrtq_f64 vcgtq_f64 vceqq_f64 vbslq_f64
        vreinterpretq_s64_f64 vreinterpretq_f64_s64 vshlq_n_s64; vaddq_f64 + vsubq_f64 - vmulq_f64 * vdivq_f64 /);

    #[derive(Clone, Copy)]
    pub struct int16x8_t([i16; 8]);
    #[derive(Clone, Copy)]
    pub struct int16x4_t([i16; 4]);

    fn both(a: int32x4_t, b: int32x4_t, f: impl Fn(u32, u32) -> u32) -> int32x4_t {
        int32x4_t(std::array::from_fn(|i| f(a.0[i], b.0[i])))
    }
    pub fn vreinterpretq_s16_f32(a: float32x4_t) -> int16x8_t {
        int16x8_t(std::array::from_fn(|i| (a.0[i / 2].to_bits() >> (i % 2 * 16)) as i16))
    }
    pub fn vget_low_s16(a: int16x8_t) -> int16x4_t {
        int16x4_t(std::array::from_fn(|i| a.0[i]))
    }
    pub fn vmull_s16(a: int16x4_t, b: int16x4_t) -> int32x4_t {
        int32x4_t(std::array::from_fn(|i| (i32::from(a.0[i]) * i32::from(b.0[i])) as u32))
    }
    pub fn vmull_high_s16(a: int16x8_t, b: int16x8_t) -> int32x4_t {
        int32x4_t(std::array::from_fn(|i| (i32::from(a.0[i + 4]) * i32::from(b.0[i + 4])) as u32))
    }
    pub fn vpaddq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        let all = [a.0, b.0].concat();
        int32x4_t(std::array::from_fn(|i| all[2 * i].wrapping_add(all[2 * i + 1])))
    }
    pub fn vaddq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        both(a, b, u32::wrapping_add)
    }
    pub fn vandq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        both(a, b, |a, b| a & b)
    }
    pub fn vdupq_n_s32(x: i32) -> int32x4_t {
        int32x4_t([x as u32; 4])
    }
    /// `b` shifted left into `a`, whose lower bits stay.
    pub fn vsliq_n_s32<const N: i32>(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        both(a, b, |a, b| b << N | a & ((1 << N) - 1))
    }
    pub fn vcvtq_f32_s32(a: int32x4_t) -> float32x4_t {
        float32x4_t(a.0.map(|x| x as i32 as f32))
    }
    /// To the nearest, of two the even one; with saturation, and a NaN to 0.
    pub fn vcvtnq_s32_f32(a: float32x4_t) -> int32x4_t {
        int32x4_t(a.0.map(|x| x.round_ties_even() as i32 as u32))
    }
}
