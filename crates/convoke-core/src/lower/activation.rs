//! Epilogues as sequences of tile instructions.
//!
//! Nothing here calls a math library: every function is a fixed sequence of additions, multiplications and
//! comparisons, so that every backend computes the same bits. `exp`, `tanh` and `erf` are the approximations of
//! the Cephes library (Moshier), `expm1` and `log1p` reduce their argument and sum a Taylor series; their relative error
//! stays within a few units in the last place of the dtype.
//! `NaN` goes through every epilogue. `relu(-0.0)` is `-0.0`.

use super::emit::Emitter;
use super::logarithm;
use crate::ir::{BinaryOp, Reg};
use crate::spec::{DType, Epilogue, GELU_TANH, POW_STEP, SELU_ALPHA, SELU_SCALE, SOFTPLUS_THRESHOLD};

/// Most registers besides the value's own that `epilogue` uses.
pub(crate) fn registers(epilogue: Epilogue) -> usize {
    match epilogue {
        Epilogue::Relu | Epilogue::Relu6 | Epilogue::Clamp { .. } | Epilogue::HardSigmoid => 1,
        Epilogue::Abs | Epilogue::Neg | Epilogue::Add { .. } | Epilogue::Mul { .. } => 1,
        Epilogue::Scale | Epilogue::Shift | Epilogue::Residual | Epilogue::Multiply => 1,
        Epilogue::Pow { .. } | Epilogue::ReciprocalNoNan => 2,
        Epilogue::Log => logarithm::REGISTERS,
        Epilogue::LeakyRelu { .. } | Epilogue::PRelu | Epilogue::HardSwish | Epilogue::Softsign => 2,
        Epilogue::Sigmoid | Epilogue::Silu | Epilogue::GeluTanh | Epilogue::Mish => 4,
        Epilogue::Elu { .. } | Epilogue::Selu | Epilogue::Celu { .. } => 4,
        Epilogue::Softplus | Epilogue::LogSigmoid => 4,
        Epilogue::Tanh => 5,
        Epilogue::Gelu => 7,
        // Has tiles of its own.
        Epilogue::Softmax => 0,
    }
}

/// Replaces `x` by the epilogue of `x`; registers from `free` on are its own. Of a step that takes a number for each channel, or an
/// element for each output, that is in `free`.
pub(crate) fn emit(e: &mut Emitter, epilogue: Epilogue, x: Reg, free: Reg) {
    let t = |i: u32| Reg(free.0 + i);
    match epilogue {
        Epilogue::Relu => clamp_below(e, x, 0.0, t(0)),
        Epilogue::Relu6 => clamp(e, x, 0.0, 6.0, t(0)),
        Epilogue::Clamp { lo, hi } => clamp(e, x, lo, hi, t(0)),
        Epilogue::LeakyRelu { slope } => {
            e.constant(t(0), slope);
            leaky(e, x, t(0), t(1));
        }
        Epilogue::HardSwish => {
            e.constant(t(0), 3.0);
            e.binary(BinaryOp::Add, t(1), x, t(0));
            clamp(e, t(1), 0.0, 6.0, t(0));
            e.binary(BinaryOp::Mul, x, x, t(1));
            e.constant(t(0), 6.0);
            e.binary(BinaryOp::Div, x, x, t(0));
        }
        Epilogue::Sigmoid => {
            logistic_denominator(e, x, t(0), t(1));
            e.constant(t(1), 1.0);
            e.binary(BinaryOp::Div, x, t(1), t(0));
        }
        Epilogue::Silu => {
            logistic_denominator(e, x, t(0), t(1));
            e.binary(BinaryOp::Div, x, x, t(0));
        }
        Epilogue::Tanh => tanh(e, x, t(0)),
        Epilogue::Gelu => gelu(e, x, t(0)),
        Epilogue::GeluTanh => {
            // (1 + tanh(v / 2)) / 2 = 1 / (1 + exp(-v)), with v = x (GELU_TANH[1] + GELU_TANH[0] x^2).
            e.binary(BinaryOp::Mul, t(0), x, x);
            e.constant(t(1), -GELU_TANH[0]);
            e.constant(t(2), -GELU_TANH[1]);
            e.multiply_add_in_place(t(0), t(1), t(2));
            e.binary(BinaryOp::Mul, t(0), t(0), x);
            exp(e, t(0), t(1));
            e.constant(t(1), 1.0);
            e.binary(BinaryOp::Add, t(0), t(0), t(1));
            e.binary(BinaryOp::Div, x, x, t(0));
        }
        Epilogue::Elu { alpha } => elu(e, x, None, alpha, t(0)),
        Epilogue::Celu { alpha } => elu(e, x, Some(alpha), alpha, t(0)),
        Epilogue::Selu => {
            elu(e, x, None, SELU_ALPHA, t(0));
            scale(e, x, SELU_SCALE, t(0));
        }
        Epilogue::Softplus => {
            log1p_exp_of_minus_absolute(e, t(0), x, t(1));
            e.constant(t(1), 0.0);
            e.binary(BinaryOp::Max, t(1), t(1), x);
            e.binary(BinaryOp::Add, t(0), t(0), t(1));
            e.constant(t(1), SOFTPLUS_THRESHOLD);
            e.select(x, x, t(1), x, t(0));
        }
        Epilogue::LogSigmoid => {
            log1p_exp_of_minus_absolute(e, t(0), x, t(1));
            e.constant(t(1), 0.0);
            e.binary(BinaryOp::Min, x, t(1), x);
            e.binary(BinaryOp::Sub, x, x, t(0));
        }
        Epilogue::Softsign => {
            absolute(e, t(0), x, t(1));
            e.constant(t(1), 1.0);
            e.binary(BinaryOp::Add, t(0), t(0), t(1));
            e.binary(BinaryOp::Div, x, x, t(0));
        }
        Epilogue::HardSigmoid => {
            e.constant(t(0), 3.0);
            e.binary(BinaryOp::Add, x, x, t(0));
            clamp(e, x, 0.0, 6.0, t(0));
            e.constant(t(0), 6.0);
            e.binary(BinaryOp::Div, x, x, t(0));
        }
        Epilogue::Mish => mish(e, x, t(0)),
        Epilogue::Abs => absolute(e, x, x, t(0)),
        Epilogue::Neg => scale(e, x, -1.0, t(0)),
        Epilogue::Add { constant } => {
            e.constant(t(0), constant);
            e.binary(BinaryOp::Add, x, x, t(0));
        }
        Epilogue::Mul { factor } => scale(e, x, factor, t(0)),
        Epilogue::Pow { exponent } => pow(e, x, exponent, (t(0), t(1))),
        Epilogue::Log => logarithm::log(e, x, t(0)),
        Epilogue::ReciprocalNoNan => reciprocal_no_nan(e, x, (t(0), t(1))),
        Epilogue::Scale | Epilogue::Multiply => e.binary(BinaryOp::Mul, x, x, t(0)),
        Epilogue::Shift | Epilogue::Residual => e.binary(BinaryOp::Add, x, x, t(0)),
        Epilogue::PRelu => leaky(e, x, t(0), t(1)),
        Epilogue::Softmax => {}
    }
}

/// Replaces `x` by itself if it is positive, else by `slope` times it; `slope` is lost.
fn leaky(e: &mut Emitter, x: Reg, slope: Reg, t: Reg) {
    e.binary(BinaryOp::Mul, t, x, slope);
    e.constant(slope, 0.0);
    e.select(x, x, slope, x, t);
}

/// Replaces `x` by a power of it: the product of as many `x` as the exponent has ones, of its root and of the root of that, or one over it.
fn pow(e: &mut Emitter, x: Reg, exponent: f64, (power, root): (Reg, Reg)) {
    let quarters = (exponent.abs() / POW_STEP) as u32;
    let (whole, half, quarter) = (quarters / 4, quarters & 2 > 0, quarters & 1 > 0);
    let mut product = None;
    let mut multiply = |e: &mut Emitter, factor: Reg| {
        if let Some(so_far) = product {
            e.binary(BinaryOp::Mul, power, so_far, factor);
        }
        product = Some(if product.is_some() { power } else { factor });
    };
    (0..whole).for_each(|_| multiply(e, x));
    if half || quarter {
        e.sqrt(root, x);
    }
    if half {
        multiply(e, root);
    }
    if quarter {
        let of_root = if half && whole == 0 { x } else { root };
        e.sqrt(of_root, root);
        multiply(e, of_root);
    }
    let product = product.unwrap_or(x);
    let one = if product == power { root } else { power };
    e.constant(one, 1.0);
    let op = if exponent > 0.0 { BinaryOp::Mul } else { BinaryOp::Div };
    e.binary(op, x, one, product);
}

/// `x = 1 / x`, and 0 stays as it is.
fn reciprocal_no_nan(e: &mut Emitter, x: Reg, (y, t): (Reg, Reg)) {
    e.constant(t, 1.0);
    e.binary(BinaryOp::Div, y, t, x);
    e.constant(t, 0.0);
    // Neither 0 nor NaN is less or more.
    e.select(x, t, x, y, x);
    e.select(x, x, t, y, x);
}

fn scale(e: &mut Emitter, x: Reg, factor: f64, t: Reg) {
    e.constant(t, factor);
    e.binary(BinaryOp::Mul, x, x, t);
}

fn clamp_below(e: &mut Emitter, x: Reg, lo: f64, t: Reg) {
    e.constant(t, lo);
    e.binary(BinaryOp::Max, x, t, x);
}

fn clamp(e: &mut Emitter, x: Reg, lo: f64, hi: f64, t: Reg) {
    clamp_below(e, x, lo, t);
    e.constant(t, hi);
    e.binary(BinaryOp::Min, x, t, x);
}

/// `d = 1 + exp(-x)`; uses `free` and the next two.
fn logistic_denominator(e: &mut Emitter, x: Reg, d: Reg, free: Reg) {
    e.constant(d, 0.0);
    e.binary(BinaryOp::Sub, d, d, x);
    exp(e, d, free);
    e.constant(free, 1.0);
    e.binary(BinaryOp::Add, d, d, free);
}

/// `x = exp(x)`, 0 below the least normal number and infinity above half the greatest; uses `free` and the next two.
///
/// `exp(x) = 2^n exp(r)` with `n` the nearest integer to `x / ln 2` and `r` reduced in two steps. Adding `1.5 * 2^m`,
/// `m` the width of the mantissa, leaves `n` in the low bits, where [`Op::Exponent`](crate::ir::Op::Exponent) picks it up. The clamp lets `n` reach the
/// exponents of 0 and of infinity, and no further.
pub(crate) fn exp(e: &mut Emitter, x: Reg, free: Reg) {
    let (n, p, t) = (free, Reg(free.0 + 1), Reg(free.0 + 2));
    reduce(e, x, n, p, t);
    polynomial(e, p, x, &exp_coefficients(e.dtype(), 0), t);
    power_of_two(e, n, t);
    e.binary(BinaryOp::Mul, x, p, n);
}

/// `x = exp(x) - 1`, for `x <= 0`; uses `free` and the next two.
///
/// With the `n` and `r` of [`exp`] it is `2^n (exp(r) - 1) + (2^n - 1)`: nothing cancels, since `n` is 0 near 0.
fn expm1(e: &mut Emitter, x: Reg, free: Reg) {
    let (n, p, t) = (free, Reg(free.0 + 1), Reg(free.0 + 2));
    reduce(e, x, n, p, t);
    polynomial(e, p, x, &exp_coefficients(e.dtype(), 1), t);
    e.binary(BinaryOp::Mul, p, p, x);
    power_of_two(e, n, t);
    e.constant(t, 1.0);
    e.binary(BinaryOp::Sub, t, n, t);
    e.multiply_add(x, p, n, t, p);
}

/// Taylor coefficients `1/k!` from the highest `k` down to `least`; on `|r| <= ln 2 / 2` the first term left out is below half a
/// unit in the last place.
fn exp_coefficients(dtype: DType, least: u32) -> Vec<f64> {
    let degree = if dtype == DType::F32 { 7 } else { 13 };
    let factorial = |k: u32| (1..=k).map(f64::from).product::<f64>();
    (least..=degree).rev().map(|k| 1.0 / factorial(k)).collect()
}

/// Adding this leaves the nearest integer in the low bits of the mantissa.
pub(super) fn magic(dtype: DType) -> f64 {
    1.5 * f64::powi(2.0, if dtype == DType::F32 { 23 } else { 52 })
}

/// `n` and `r` of [`exp`], `r` in the place of `x`.
fn reduce(e: &mut Emitter, x: Reg, n: Reg, p: Reg, t: Reg) {
    let (hi, lo, ln2_hi, ln2_lo) = match e.dtype() {
        DType::F32 => (89.0, -88.1, 0.693359375, -2.12194440e-4),
        DType::F64 => (709.9, -709.3, 6.93145751953125e-1, 1.428_606_820_309_417_3e-6),
    };
    clamp(e, x, lo, hi, t);
    e.constant(t, std::f64::consts::LOG2_E);
    e.binary(BinaryOp::Mul, n, x, t);
    e.constant(t, magic(e.dtype()));
    e.binary(BinaryOp::Add, n, n, t);
    e.binary(BinaryOp::Sub, n, n, t);
    e.constant(t, -ln2_hi);
    e.multiply_add(x, n, t, x, p);
    e.constant(t, -ln2_lo);
    e.multiply_add(x, n, t, x, p);
}

/// `n = 2^n`.
fn power_of_two(e: &mut Emitter, n: Reg, t: Reg) {
    let bias = if e.dtype() == DType::F32 { 127.0 } else { 1023.0 };
    e.constant(t, magic(e.dtype()) + bias);
    e.binary(BinaryOp::Add, n, n, t);
    e.exponent(n, n);
}

/// `u = log(1 + u)`, for `u` from 0 to 1; uses `free` and the next two.
///
/// `log(1 + u) = 2 atanh(y / 2)` with `y = u / (1 + u / 2)`, a series in `y^2 <= 4/9`. The first term left out is below half a
/// unit in the last place.
fn log1p(e: &mut Emitter, u: Reg, free: Reg) {
    let (z, p, t) = (free, Reg(free.0 + 1), Reg(free.0 + 2));
    e.constant(t, 0.5);
    e.constant(p, 1.0);
    e.multiply_add(z, u, t, p, z);
    e.binary(BinaryOp::Div, u, u, z);
    e.binary(BinaryOp::Mul, z, u, u);
    let degree = if e.dtype() == DType::F32 { 7 } else { 16 };
    let series: Vec<f64> = (0..=degree).rev().map(|k| f64::powi(0.25, k) / f64::from(2 * k + 1)).collect();
    polynomial(e, p, z, &series, t);
    e.binary(BinaryOp::Mul, u, u, p);
}

/// `d = log(1 + exp(-|x|))`, which is what `softplus(x)` has above `max(x, 0)`; uses `free` and the next two. `x` is kept.
fn log1p_exp_of_minus_absolute(e: &mut Emitter, d: Reg, x: Reg, free: Reg) {
    e.constant(d, 0.0);
    e.binary(BinaryOp::Sub, d, d, x);
    e.binary(BinaryOp::Min, d, d, x);
    exp(e, d, free);
    log1p(e, d, free);
}

/// `x = alpha * (exp(x / divisor) - 1)` where `x < 0`, without a divisor if that is 1; uses `free` and the next three.
fn elu(e: &mut Emitter, x: Reg, divisor: Option<f64>, alpha: f64, free: Reg) {
    let t = |i: u32| Reg(free.0 + i);
    let (y, zero) = (t(0), t(1));
    e.constant(zero, 0.0);
    e.binary(BinaryOp::Min, y, zero, x);
    if let Some(divisor) = divisor {
        e.constant(t(1), divisor);
        e.binary(BinaryOp::Div, y, y, t(1));
    }
    expm1(e, y, t(1));
    scale(e, y, alpha, t(1));
    e.constant(zero, 0.0);
    e.select(x, zero, x, y, x);
}

/// `x = x * tanh(log(1 + exp(x)))`; uses `free` and the next three.
///
/// With `w = exp(x)` the second factor is `n / (n + 2)`, `n = w (w + 2)`, which is 1 to the last bit past 20.
fn mish(e: &mut Emitter, x: Reg, free: Reg) {
    let t = |i: u32| Reg(free.0 + i);
    let (n, two, sum) = (t(0), t(1), t(2));
    e.constant(n, 20.0);
    e.binary(BinaryOp::Min, n, n, x);
    exp(e, n, t(1));
    e.constant(two, 2.0);
    e.binary(BinaryOp::Add, sum, n, two);
    e.binary(BinaryOp::Mul, n, n, sum);
    e.binary(BinaryOp::Add, sum, n, two);
    e.binary(BinaryOp::Div, n, n, sum);
    e.binary(BinaryOp::Mul, x, x, n);
}

/// `x = tanh(x)`; uses `free` and the next four.
///
/// Below 0.625 an odd rational function of `x`, above it `1 - 2 / (exp(2 |x|) + 1)` with the sign of `x`.
fn tanh(e: &mut Emitter, x: Reg, free: Reg) {
    let t = |i: u32| Reg(free.0 + i);
    let (large, small) = (t(0), t(1));
    absolute(e, large, x, t(2));
    e.binary(BinaryOp::Add, large, large, large);
    exp(e, large, t(2));
    e.constant(t(2), 1.0);
    e.binary(BinaryOp::Add, large, large, t(2));
    e.constant(t(3), 2.0);
    e.binary(BinaryOp::Div, large, t(3), large);
    e.binary(BinaryOp::Sub, large, t(2), large);
    with_sign_of(e, large, x, t(2));
    // small = x * (1 + z * p(z) / q(z)), z = x * x; a product keeps the sign of zero
    let (z, s, q) = (t(2), t(3), t(4));
    e.binary(BinaryOp::Mul, z, x, x);
    let numerator = [-9.643_991_794_250_523e-1, -9.928_772_310_019_185e1, -1.614_687_684_417_084_5e3];
    let denominator = [1.0, 1.128_116_784_916_329_3e2, 2.235_488_390_601_004_5e3, 4.844_063_053_251_255e3];
    polynomial(e, small, z, &numerator, s);
    polynomial(e, q, z, &denominator, s);
    e.binary(BinaryOp::Div, small, small, q);
    e.binary(BinaryOp::Mul, small, small, z);
    e.constant(s, 1.0);
    e.binary(BinaryOp::Add, small, small, s);
    e.binary(BinaryOp::Mul, small, small, x);
    absolute(e, z, x, s);
    e.constant(s, 0.625);
    e.select(x, z, s, large, small);
}

/// `x = x / 2 * (1 + erf(x / sqrt 2))`; uses `free` and the next six.
///
/// With `a = x / sqrt 2`, `1 + erf(a)` is a rational function of `a` below 1, and comes from
/// `erfc(|a|) = exp(-a^2) p(|a|) / q(|a|)` above.
fn gelu(e: &mut Emitter, x: Reg, free: Reg) {
    let t = |i: u32| Reg(free.0 + i);
    let (a, small, tail, v, u, w) = (t(0), t(1), t(2), t(3), t(4), t(5));
    e.constant(u, std::f64::consts::FRAC_1_SQRT_2);
    e.binary(BinaryOp::Mul, a, x, u);
    e.binary(BinaryOp::Mul, u, a, a);
    polynomial(e, small, u, &ERF_P, w);
    polynomial(e, v, u, &ERF_Q, w);
    e.binary(BinaryOp::Div, small, small, v);
    e.constant(v, 1.0);
    e.multiply_add(small, small, a, v, w);
    absolute(e, v, a, w);
    // Past this the result is 0 or x to the last bit, and the square stays finite.
    e.constant(w, if e.dtype() == DType::F32 { 9.4 } else { 26.7 });
    e.binary(BinaryOp::Min, v, w, v);
    e.binary(BinaryOp::Mul, tail, v, v);
    e.constant(u, 0.0);
    e.binary(BinaryOp::Sub, tail, u, tail);
    exp(e, tail, u);
    polynomial(e, u, v, &ERFC_P, w);
    e.binary(BinaryOp::Mul, tail, tail, u);
    polynomial(e, u, v, &ERFC_Q, w);
    e.binary(BinaryOp::Div, tail, tail, u);
    // 1 + erf(a) is erfc(|a|) for a < 0 and 2 - erfc(|a|) for a > 0.
    e.constant(u, 2.0);
    e.binary(BinaryOp::Sub, u, u, tail);
    e.constant(w, 0.0);
    e.select(tail, a, w, u, tail);
    e.constant(w, 1.0);
    e.select(small, v, w, tail, small);
    e.constant(w, 0.5);
    e.binary(BinaryOp::Mul, x, x, w);
    e.binary(BinaryOp::Mul, x, x, small);
}

/// `erf(x) = x p(x^2) / q(x^2)` for `|x| < 1`, highest power first (Cephes `ndtr.c`).
const ERF_P: [f64; 5] = [
    9.604_973_739_870_516,
    9.002_601_972_038_427e1,
    2.232_005_345_946_843e3,
    7.003_325_141_128_051e3,
    5.559_230_130_103_949e4,
];
const ERF_Q: [f64; 6] = [
    1.0,
    3.356_171_416_475_031e1,
    5.213_579_497_801_527e2,
    4.594_323_829_709_801e3,
    2.262_900_006_138_909_5e4,
    4.926_739_426_086_359e4,
];
/// `erfc(x) = exp(-x^2) p(x) / q(x)` for `1 <= x < 8`; past 8 the product is below any sum it is added to.
const ERFC_P: [f64; 9] = [
    2.461_969_814_735_305e-10,
    5.641_895_648_310_689e-1,
    7.463_210_564_422_699,
    4.863_719_709_856_814e1,
    1.965_208_329_560_771e2,
    5.264_451_949_954_773e2,
    9.345_285_271_719_576e2,
    1.027_551_886_895_157_2e3,
    5.575_353_353_693_994e2,
];
const ERFC_Q: [f64; 9] = [
    1.0,
    1.322_819_511_547_449_9e1,
    8.670_721_408_859_897e1,
    3.549_377_788_878_199e2,
    9.757_085_017_432_055e2,
    1.823_909_166_879_097_3e3,
    2.246_337_608_187_109_7e3,
    1.656_663_091_941_613_4e3,
    5.575_353_408_177_277e2,
];

/// `d = |x|`, NaN stays NaN and -0.0 becomes 0.0; `d` may be `x`.
pub(super) fn absolute(e: &mut Emitter, d: Reg, x: Reg, t: Reg) {
    e.constant(t, 0.0);
    e.binary(BinaryOp::Sub, t, t, x);
    e.binary(BinaryOp::Max, d, x, t);
}

/// `d = -d` where `x < 0`.
fn with_sign_of(e: &mut Emitter, d: Reg, x: Reg, t: Reg) {
    let negative = Reg(t.0 + 1);
    e.constant(t, 0.0);
    e.binary(BinaryOp::Sub, negative, t, d);
    e.select(d, t, x, negative, d);
}

/// `d =` the polynomial in `z`, highest coefficient first.
pub(super) fn polynomial(e: &mut Emitter, d: Reg, z: Reg, coefficients: &[f64], t: Reg) {
    e.constant(d, coefficients[0]);
    for &c in &coefficients[1..] {
        e.constant(t, c);
        e.multiply_add_in_place(d, z, t);
    }
}
