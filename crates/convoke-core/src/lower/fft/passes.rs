//! The passes of a transform: of radix 4, and one of radix 2 at the end where the length asks for it.

/// Elements of a twiddle factor in memory: its real part, its imaginary part, and that negated.
pub(crate) const TWIDDLE: usize = 3;

/// One pass: transforms of length `len`, as many as there are in all, become `radix` times as many of a `radix`th of the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub len: usize,
    pub radix: usize,
    /// Where its twiddle factors start, three for each column; those of the last pass are all 1 and not there.
    pub twiddles: usize,
}

impl Pass {
    /// Distance of a butterfly's elements, and how many butterflies a transform has.
    pub(crate) fn columns(&self) -> usize {
        self.len / self.radix
    }

    pub(crate) fn has_twiddles(&self) -> bool {
        self.len > self.radix
    }
}

/// The passes of a transform of `len`, a power of two, in the order of the forward transform.
pub(crate) fn passes(len: usize) -> Vec<Pass> {
    let (mut passes, mut left, mut twiddles) = (Vec::new(), len, 0);
    while left > 1 {
        let radix = if left == 2 { 2 } else { 4 };
        let pass = Pass { len: left, radix, twiddles };
        if pass.has_twiddles() {
            twiddles += pass.columns() * 3 * TWIDDLE;
        }
        passes.push(pass);
        left /= radix;
    }
    passes
}

/// Elements of all twiddle factors.
pub(crate) fn twiddles_len(len: usize) -> usize {
    passes(len).iter().filter(|p| p.has_twiddles()).map(|p| p.columns() * 3 * TWIDDLE).sum()
}

/// All twiddle factors, `exp(-2 pi i r c / len)` for `r = 1, 2, 3` of column `c`.
pub(crate) fn twiddles(len: usize) -> Vec<f64> {
    let mut all = Vec::with_capacity(twiddles_len(len));
    for pass in passes(len).iter().filter(|p| p.has_twiddles()) {
        for column in 0..pass.columns() {
            for r in 1..4 {
                let (re, im) = root(r * column, pass.len);
                all.extend([re, -im, im]);
            }
        }
    }
    all
}

/// `exp(2 pi i k / n)`, by an angle of at most an eighth of a turn.
pub(crate) fn root(k: usize, n: usize) -> (f64, f64) {
    // The nearest quarter, and what is left from there, in quarters.
    let quarter = (4 * (k % n) + n / 2) / n;
    let rest = 4.0 * (k % n) as f64 - (quarter * n) as f64;
    let (sin, cos) = (std::f64::consts::FRAC_PI_2 * rest / n as f64).sin_cos();
    match quarter % 4 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

/// The frequency that position `at` holds after the forward transform.
pub(crate) fn frequency(at: usize, len: usize) -> usize {
    let (mut frequency, mut place, mut at) = (0, 1, at);
    for pass in passes(len) {
        frequency += at / pass.columns() * place;
        at %= pass.columns();
        place *= pass.radix;
    }
    frequency
}
