//! The epilogues as the tiles compute them, against the reference in f64, over the whole range of each type.

use convoke_core::eval::interp::{self, Buffers};
use convoke_core::eval::{Element, reference};
use convoke_core::pipeline::compile;
use convoke_core::spec::{Epilogue, LayerSpec, Limits, SELU_ALPHA, SELU_SCALE};
use convoke_core::target::Target;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// `then` applied to `xs` by a layer that does nothing else. Its bias is -0.0, the one number that changes no other.
fn apply<T: Element>(then: &str, xs: &[T], target: &Target) -> Vec<T> {
    let (dtype, n) = (T::DTYPE.name(), xs.len());
    let text = format!(
        "conv1d id {{ input: {dtype}[1, 1, {n}] @ ncl, out_channels: 1, kernel_size: 1, bias: true, then: {then} }}"
    );
    let spec: LayerSpec = text.parse().expect("a legal layer");
    let compiled = compile(&spec, target, &Limits::default()).expect("it compiles");
    let weights: Vec<T> = (0..64 / T::DTYPE.bytes()).map(|i| T::from_f64(if i == 0 { 1.0 } else { 0.0 })).collect();
    let bias = [T::from_f64(-0.0)];
    let mut dst = vec![T::default(); n];
    let mut buffers = Buffers { src: xs, weights: &weights, bias: &bias, dst: &mut dst, ..Buffers::default() };
    interp::run(&compiled.kernel, 1, &mut buffers).expect("lengths are the kernel's");
    dst
}

/// Points that are dense near zero and reach far out, both signs: also denormals, both zeros, and around the steps of the functions.
fn points<T: Element>() -> Vec<T> {
    let (denormal, far) = if T::DTYPE.bytes() == 4 { (1e-45, 1e30) } else { (5e-324, 1e200) };
    let mut xs: Vec<f64> = (-4000..=4000).map(|i| f64::from(i) / 100.0).collect();
    xs.extend((0..2000).map(|i| f64::powf(10.0, f64::from(i) / 50.0 - 20.0)).flat_map(|x| [x, -x]));
    xs.extend([0.0, 87.5, 88.5, 700.0, 709.5, 1e4, far].iter().flat_map(|&x| [x, -x]));
    xs.extend((0..30).map(|i| denormal * f64::powi(2.0, i)).flat_map(|x| [x, -x]));
    xs.extend((0..2000).map(|i| 0.2 + f64::from(i) * 0.9e-3).flat_map(|x| [x, -x]));
    xs.into_iter().filter(|x| x.abs() <= far).map(T::from_f64).collect()
}

fn step(then: &str) -> Epilogue {
    let text = format!("conv1d id {{ input: f64[1, 1, 1] @ ncl, out_channels: 1, kernel_size: 1, then: {then} }}");
    text.parse::<LayerSpec>().expect("a legal layer").then[0]
}

/// The result that is furthest from the f64 formula: by how many units of roundoff of `max(|exact|, floor)`, and for which input. What
/// is below the least normal number, or that times the input or alpha, does not count.
fn worst<T: Element>(then: &str, target: &Target, floor: f64) -> (f64, f64) {
    let least = if T::DTYPE.bytes() == 4 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
    let xs = points::<T>();
    let (step, got) = (step(then), apply(then, &xs, target));
    let errors = xs.iter().zip(&got).map(|(x, got)| {
        let x = x.to_f64();
        let exact = reference::epilogue(step, x);
        let error = (got.to_f64() - exact).abs();
        let alpha = if let Epilogue::Celu { alpha } = step { alpha } else { 0.0 };
        let lost = if floor > 0.0 { least * x.abs().max(1.0).max(alpha) } else { 0.0 };
        // What is more than any number is infinite.
        let is_same = got.to_f64() == T::from_f64(exact).to_f64() || got.to_f64().is_nan() && exact.is_nan();
        let units = if is_same || error <= lost { 0.0 } else { error / exact.abs().max(floor) / T::UNIT_ROUNDOFF };
        (units, x)
    });
    errors.max_by(|a, b| a.0.total_cmp(&b.0)).expect("there are points")
}

/// Every epilogue, and the bound that the documentation of `Epilogue` states: so many units of roundoff of the result, or of `floor`
/// if that is more. A floor of 0 leaves nothing out, denormals neither.
const BOUNDS: [(&str, f64, f64); 30] = [
    ("relu", 0.0, 0.0),
    ("relu6", 0.0, 0.0),
    ("clamp(-1.5, 2.25)", 0.0, 0.0),
    ("abs", 0.0, 0.0),
    ("neg", 0.0, 0.0),
    ("add(-0.75)", 0.0, 1.0),
    ("mul(-2.5)", 1e-300, 1.0),
    ("leaky_relu(0.01)", 1e-300, 2.0),
    ("hardswish", 1e-300, 8.0),
    ("hard_sigmoid", 0.0, 8.0),
    ("softsign", 0.0, 8.0),
    ("sigmoid", 1e-300, 8.0),
    ("log_sigmoid", 1e-300, 8.0),
    ("tanh", 1e-300, 8.0),
    ("silu", 1e-300, 8.0),
    ("mish", 1e-300, 8.0),
    ("softplus", 1e-300, 8.0),
    ("elu", 1e-300, 8.0),
    ("elu(-1.7)", 1e-300, 8.0),
    ("elu(1e-3)", 1e-300, 8.0),
    ("selu", 1e-300, 8.0),
    ("celu", 1e-300, 8.0),
    ("celu(0.3)", 1e-300, 8.0),
    ("celu(50)", 1e-300, 8.0),
    ("celu(1e30)", 1e-300, 8.0),
    ("celu(1e-44)", 1e-300, 8.0),
    ("log", 0.0, 2.0),
    ("reciprocal_no_nan", 1e-300, 1.0),
    ("gelu", 1e-2, 48.0),
    ("gelu_tanh", 1e-2, 32.0),
];

#[test]
fn every_epilogue_stays_within_its_bound() {
    for (then, floor, units) in BOUNDS {
        for target in [Target::AVX2, Target::SSE] {
            let both = [("f32", worst::<f32>(then, &target, floor)), ("f64", worst::<f64>(then, &target, floor))];
            for (dtype, (error, x)) in both {
                let name = target.name();
                assert!(error <= units, "{then} in {dtype} on {name}: {error:.1} units at {x:e}, allowed {units}");
            }
        }
    }
}

/// Numbers of all sizes and many near 1, whose logarithm is small: the bound counts there too.
#[test]
fn logarithms_of_all_sizes_stay_within_their_bound() {
    fn check<T: Element>(xs: impl Iterator<Item = T>) {
        let xs: Vec<T> = xs.collect();
        for target in [Target::AVX2, Target::SSE] {
            for (x, got) in xs.iter().zip(apply("log", &xs, &target)) {
                let (x, exact) = (x.to_f64(), x.to_f64().ln());
                let error = (got.to_f64() - exact).abs();
                assert!(
                    error <= 2.0 * T::UNIT_ROUNDOFF * exact.abs(),
                    "log({x:e}) is {exact:e}, and not {:e}",
                    got.to_f64()
                );
            }
        }
    }
    let largest = f32::MAX.to_bits();
    check((1..=largest).step_by(99_991).chain([largest]).map(f32::from_bits));
    check((0x3f00_0000..=0x3fff_ffff).step_by(997).chain(0x3f7f_ff00..0x3f80_0100).map(f32::from_bits));
    let largest = f64::MAX.to_bits();
    check((1..=largest).step_by(499_999_999_999_999).chain([largest]).map(f64::from_bits));
    let one = 1.0_f64.to_bits();
    check((-9999..9999).map(|i| f64::from_bits(one.wrapping_add_signed(i * (1 << 38)))));
    check((-99..99).map(|i| f64::from_bits(one.wrapping_add_signed(i))));
}

/// What PyTorch gives for infinity, minus infinity and -0.0.
const SPECIAL: [(&str, [f64; 3]); 24] = [
    ("relu", [INF, 0.0, -0.0]),
    ("relu6", [6.0, 0.0, -0.0]),
    ("clamp(-1, 1)", [1.0, -1.0, -0.0]),
    ("leaky_relu(0.5)", [INF, -INF, -0.0]),
    ("sigmoid", [1.0, 0.0, 0.5]),
    ("tanh", [1.0, -1.0, -0.0]),
    ("silu", [INF, NAN, -0.0]),
    ("hardswish", [INF, NAN, -0.0]),
    ("gelu", [INF, NAN, -0.0]),
    ("gelu_tanh", [INF, NAN, -0.0]),
    ("elu(2)", [INF, -2.0, -0.0]),
    ("selu", [INF, -SELU_SCALE * SELU_ALPHA, -0.0]),
    ("celu(2)", [INF, -2.0, -0.0]),
    ("softplus", [INF, 0.0, std::f64::consts::LN_2]),
    ("softsign", [NAN, NAN, -0.0]),
    ("log_sigmoid", [0.0, -INF, -std::f64::consts::LN_2]),
    ("hard_sigmoid", [1.0, 0.0, 0.5]),
    ("mish", [INF, NAN, -0.0]),
    ("abs", [INF, INF, 0.0]),
    ("neg", [-INF, INF, 0.0]),
    ("add(-1)", [INF, -INF, -1.0]),
    ("mul(-2)", [-INF, INF, 0.0]),
    ("log", [INF, NAN, -INF]),
    ("reciprocal_no_nan", [0.0, -0.0, -0.0]),
];

#[test]
fn what_is_not_finite_and_minus_zero() {
    fn check<T: Element>(then: &str, expect: [f64; 3], target: &Target) {
        let got = apply(then, &[NAN, INF, -INF, -0.0].map(T::from_f64), target);
        for (got, expect) in got.iter().zip([NAN].iter().chain(&expect)) {
            let got = got.to_f64();
            let near = (got - expect).abs() <= 8.0 * T::UNIT_ROUNDOFF * expect.abs()
                && got.is_sign_negative() == expect.is_sign_negative();
            assert!(
                got == *expect && *expect != 0.0 || near || got.is_nan() && expect.is_nan(),
                "{then}: {got} instead of {expect}"
            );
        }
    }
    for (then, expect) in SPECIAL {
        for target in [Target::AVX2, Target::SSE] {
            check::<f32>(then, expect, &target);
            check::<f64>(then, expect, &target);
        }
    }
}
