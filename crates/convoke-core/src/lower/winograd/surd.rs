//! Exact numbers `a + b sqrt 2` with rational `a` and `b`.
//!
//! They are made from a few constants by a few operations, so that numerators and denominators stay far below the ends
//! of `i128`.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};

/// An element of the field of the rational numbers and `sqrt 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surd {
    rational: Rational,
    /// The factor of `sqrt 2`.
    root: Rational,
}

/// `numerator / denominator` in lowest terms, the denominator positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rational {
    numerator: i128,
    denominator: i128,
}

impl Surd {
    pub(crate) const ZERO: Self = Self { rational: Rational::ZERO, root: Rational::ZERO };
    pub(crate) const ONE: Self = Self::ratio(1, 1);

    /// `numerator / denominator`; the denominator is not 0.
    pub(crate) const fn ratio(numerator: i128, denominator: i128) -> Self {
        Self { rational: Rational::new(numerator, denominator), root: Rational::ZERO }
    }

    /// `numerator / denominator * sqrt 2`.
    pub(crate) const fn root(numerator: i128, denominator: i128) -> Self {
        Self { rational: Rational::ZERO, root: Rational::new(numerator, denominator) }
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// `1 / self`; 0 has no inverse.
    pub(crate) fn inverse(self) -> Self {
        // Of 0 and of rational numbers alone the norm is the square of a rational number.
        let scale = self.norm().inverse();
        Self { rational: self.rational * scale, root: -(self.root * scale) }
    }

    /// `self` without its sign.
    pub(crate) fn magnitude(self) -> Self {
        if self.to_f64() < 0.0 { -self } else { self }
    }

    /// `self` times its conjugate `a - b sqrt 2`.
    fn norm(self) -> Rational {
        let square = self.root * self.root;
        self.rational * self.rational + -(square + square)
    }

    /// Within a few units in the last place, and exact if the number is rational with a short denominator.
    pub(crate) fn to_f64(self) -> f64 {
        let (a, b) = (self.rational.to_f64(), self.root.to_f64());
        // Unequal signs may cancel, equal ones cannot: the conjugate has equal ones.
        if a * b < 0.0 {
            return self.norm().to_f64() / (a - b * std::f64::consts::SQRT_2);
        }
        a + b * std::f64::consts::SQRT_2
    }

    /// Which of the two is greater.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        (self - other).to_f64().total_cmp(&0.0)
    }
}

impl Add for Surd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { rational: self.rational + other.rational, root: self.root + other.root }
    }
}

impl Sub for Surd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Surd {
    type Output = Self;
    fn neg(self) -> Self {
        Self { rational: -self.rational, root: -self.root }
    }
}

impl Mul for Surd {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let roots = self.root * other.root;
        Self {
            rational: self.rational * other.rational + roots + roots,
            root: self.rational * other.root + self.root * other.rational,
        }
    }
}

impl fmt::Display for Surd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rational, self.root) {
            (rational, Rational::ZERO) => write!(f, "{rational}"),
            (Rational::ZERO, root) => write!(f, "{root} sqrt 2"),
            (rational, root) => write!(f, "{rational} + {root} sqrt 2"),
        }
    }
}

impl Rational {
    const ZERO: Self = Self { numerator: 0, denominator: 1 };

    const fn new(numerator: i128, denominator: i128) -> Self {
        let common = greatest_common_divisor(numerator, denominator);
        match if denominator < 0 { -common } else { common } {
            1 => Self { numerator, denominator },
            common => Self { numerator: numerator / common, denominator: denominator / common },
        }
    }

    fn inverse(self) -> Self {
        Self::new(self.denominator, self.numerator)
    }

    fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

impl Add for Rational {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::ZERO, x) | (x, Self::ZERO) => x,
            (Self { numerator: a, denominator: 1 }, Self { numerator: b, denominator: 1 }) => {
                Self { numerator: a + b, denominator: 1 }
            }
            (Self { numerator: a, denominator: p }, Self { numerator: b, denominator: q }) => {
                Self::new(a * q + b * p, p * q)
            }
        }
    }
}

impl Neg for Rational {
    type Output = Self;
    fn neg(self) -> Self {
        Self { numerator: -self.numerator, ..self }
    }
}

impl Mul for Rational {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let numerator = self.numerator * other.numerator;
        match (numerator, self.denominator * other.denominator) {
            (0, _) => Self::ZERO,
            (_, 1) => Self { numerator, denominator: 1 },
            (_, denominator) => Self::new(numerator, denominator),
        }
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            denominator => write!(f, "{}/{denominator}", self.numerator),
        }
    }
}

/// Positive unless both are 0.
const fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        // Short numbers divide much faster.
        let rest = if a >> 64 == 0 && b >> 64 == 0 { (a as u64 % b as u64) as u128 } else { a % b };
        (a, b) = (b, rest);
    }
    a as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_closed() {
        let numbers = [
            Surd::ratio(3, 2),
            Surd::ratio(-4, -6),
            Surd::root(1, 2),
            Surd::root(-3, 4) + Surd::ONE,
            Surd::root(5, 7) - Surd::ratio(9, 4),
        ];
        for a in numbers {
            assert_eq!(a * a.inverse(), Surd::ONE, "{a}");
            assert!((a - a).is_zero());
            for b in numbers {
                assert_eq!(a * b, b * a);
                assert_eq!((a + b) * (a - b), a * a - b * b);
                let close = |exact: f64, found: Surd| assert!((found.to_f64() - exact).abs() < 1e-14, "{found}");
                close(a.to_f64() + b.to_f64(), a + b);
                close(a.to_f64() * b.to_f64(), a * b);
            }
        }
        assert_eq!(Surd::root(1, 2) * Surd::root(1, 2), Surd::ratio(1, 2));
        assert_eq!(numbers[3].to_string(), "1 + -3/4 sqrt 2");
        assert_eq!(Surd::root(1, 2).to_string(), "1/2 sqrt 2");
    }

    #[test]
    fn conversion_does_not_cancel() {
        // Powers of sqrt 2 - 1 are small differences of large numbers; each is the inverse of a sum.
        let small = Surd::root(1, 1) - Surd::ONE;
        let mut power = Surd::ONE;
        for n in 1..30 {
            power = power * small;
            let exact = 1.0 / power.inverse().to_f64();
            assert!((power.to_f64() / exact - 1.0).abs() < 1e-15, "{n}: {power}");
            assert_eq!((-power).to_f64(), -power.to_f64());
            assert_eq!((-power).magnitude(), power);
            assert_eq!(power.compare(Surd::ZERO), Ordering::Greater);
        }
        assert_eq!(Surd::root(1, 2).to_f64(), std::f64::consts::FRAC_1_SQRT_2);
        assert_eq!(Surd::ratio(-21, 4).to_f64(), -5.25);
    }
}
