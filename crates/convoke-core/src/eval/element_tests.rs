use super::Element;

/// A small generator, so that the cases are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bits32(&mut self) -> f32 {
        f32::from_bits((self.next() >> 32) as u32)
    }
}

fn check(a: f32, b: f32, c: f32) {
    let expect = f32::mul_add(a, b, c);
    let one = Element::mul_add(a, b, c);
    let lanes = f32::mul_add_lanes(&[a; 4], &[b; 4], &[c; 4])[2];
    for got in [one, lanes] {
        let same = got.to_bits() == expect.to_bits() || (got.is_nan() && expect.is_nan());
        assert!(same, "{a:e} * {b:e} + {c:e} = {expect:e}, not {got:e}");
    }
}

#[test]
fn mul_add_rounds_once_on_any_bits() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..1_000_000 {
        check(random.bits32(), random.bits32(), random.bits32());
    }
}

#[test]
fn mul_add_rounds_once_near_ties() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..1_000_000 {
        let (a, b) = (random.bits32(), random.bits32());
        // A sum of the product's size or half a unit in the last place away from it.
        let product = a * b;
        let exponent = (random.next() % 60) as i32 - 30;
        let c = match random.next() % 4 {
            0 => -product,
            1 => product * f32::powi(2.0, exponent),
            2 => f32::from_bits(product.to_bits() & 0xff80_0000) * f32::powi(2.0, exponent),
            _ => f32::from_bits(random.next() as u32 & 0x8000_00ff),
        };
        check(a, b, c);
    }
}

#[test]
fn mul_add_rounds_once_where_two_roundings_differ() {
    let tiny = f32::from_bits(1);
    // 1 + 2^-24 + (something tiny): a tie in f64, above it in truth.
    let (a, c) = (1.0 + f32::EPSILON, f32::EPSILON / 2.0);
    check(c, 1.0, a);
    check(f32::powi(2.0, -70), f32::powi(2.0, -79), tiny);
    check(f32::powi(2.0, -75) * 1.000_000_1, f32::powi(2.0, -75) * 1.000_000_1, tiny);
    check(f32::powi(2.0, -75) * 1.000_000_1, f32::powi(2.0, -75) * 0.999_999_9, tiny);
    check(f32::MAX, 2.0, -f32::MAX);
    check(f32::MAX, 1.0, f32::MAX / 33_554_432.0);
    check(0.0, -1.0, 0.0);
    check(0.0, -1.0, -0.0);
    check(f32::INFINITY, 0.0, 1.0);
    check(f32::INFINITY, 1.0, f32::NEG_INFINITY);
}

#[test]
fn a_sum_in_f64_would_round_twice() {
    // The product is 2^-24 - 2^-54: the sum lies just below a tie, and on it once f64 has rounded.
    let (a, b) = (f32::powi(2.0, -12) * (1.0 + f32::powi(2.0, -15)), f32::powi(2.0, -12) * (1.0 - f32::powi(2.0, -15)));
    let c = 1.0 + f32::EPSILON;
    let twice = (f64::from(a) * f64::from(b) + f64::from(c)) as f32;
    assert_ne!(twice, f32::mul_add(a, b, c));
    check(a, b, c);
}

#[test]
fn exponent_makes_powers_of_two() {
    assert_eq!((12_582_912.0_f32 + 127.0 + 3.0).exponent(), 8.0);
    assert_eq!((6_755_399_441_055_744.0_f64 + 1023.0 - 1.0).exponent(), 0.5);
}
