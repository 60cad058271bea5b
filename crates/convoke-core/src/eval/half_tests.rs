use super::{Bf16, F16};

/// Every element there is, in the order of their numbers, from zero to infinity.
fn magnitudes(infinity: u16) -> impl Iterator<Item = u16> {
    0..=infinity
}

/// Each number becomes itself, each middle of two neighbours the even one, and what is next to a middle the nearer one.
fn check(infinity: u16, to: fn(u16) -> f32, from: fn(f32) -> u16, from_wide: fn(f64) -> u16) {
    for bits in magnitudes(infinity) {
        let value = to(bits);
        assert_eq!((from(value), from(-value)), (bits, bits | 0x8000), "{value:e}");
        assert_eq!(from_wide(value.into()), bits);
        if bits == infinity {
            continue;
        }
        // Beyond the greatest number the next one would be as far as the one before.
        let next =
            if bits + 1 == infinity { 2.0 * f64::from(value) - f64::from(to(bits - 1)) } else { to(bits + 1).into() };
        let middle = (f64::from(value) + next) / 2.0;
        let even = bits + (bits & 1);
        assert_eq!(from_wide(middle), even, "{middle:e}");
        assert_eq!(from_wide(-middle), even | 0x8000);
        assert_eq!(from_wide(middle * (1.0 + f64::EPSILON)), bits + 1);
        assert_eq!(from_wide(middle * (1.0 - f64::EPSILON)), bits);
        let single = middle as f32;
        assert_eq!(f64::from(single), middle, "a middle is an f32");
        assert_eq!(from(single), even, "{middle:e}");
        let (above, below) = (f32::from_bits(single.to_bits() + 1), f32::from_bits(single.to_bits() - 1));
        assert_eq!((from(below), from(above)), (bits, bits + 1), "{middle:e}");
    }
}

#[test]
fn rounds_to_the_nearest() {
    let f16 = (|bits| F16::from_bits(bits).to_f32(), |x| F16::from_f32(x).to_bits(), |x| F16::from_f64(x).to_bits());
    check(0x7c00, f16.0, f16.1, f16.2);
    let bf16 =
        (|bits| Bf16::from_bits(bits).to_f32(), |x| Bf16::from_f32(x).to_bits(), |x| Bf16::from_f64(x).to_bits());
    check(0x7f80, bf16.0, bf16.1, bf16.2);
}

#[test]
fn what_is_no_number_stays_none() {
    for bits in [0x7f80_0001, 0x7fff_ffff, 0xff80_0001_u32, 0xffff_ffff, 0x7fc0_0000] {
        let value = f32::from_bits(bits);
        assert!(F16::from_f32(value).to_f32().is_nan() && Bf16::from_f32(value).to_f32().is_nan(), "{bits:#x}");
    }
    for bits in (0x7c01..=0x7fff).chain(0xfc01..=0xffff) {
        assert!(F16::from_bits(bits).to_f32().is_nan());
    }
    assert_eq!(F16::from_f32(65_519.0), F16::from_f32(65_504.0));
    assert_eq!((F16::from_f32(65_520.0).to_f32(), F16::from_f32(-1e30).to_f32()), (f32::INFINITY, f32::NEG_INFINITY));
    assert_eq!(
        (Bf16::from_f32(f32::MAX).to_f32(), Bf16::from_f64(-1e300).to_f32()),
        (f32::INFINITY, f32::NEG_INFINITY)
    );
    assert_eq!(F16::from_f64(1e-300).to_bits(), 0);
    assert_eq!(F16::from_f64(-1e-300).to_bits(), 0x8000);
}
