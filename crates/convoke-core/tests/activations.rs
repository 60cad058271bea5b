//! The epilogues as the tiles compute them, against the reference in f64, over the whole range of each type.

use convoke_core::eval::interp::{self, Buffers};
use convoke_core::eval::{Element, reference};
use convoke_core::pipeline::compile;
use convoke_core::spec::{LayerSpec, Limits};
use convoke_core::target::Target;

/// `then` applied to `xs` by a layer that does nothing else.
fn apply<T: Element>(then: &str, xs: &[T], target: &Target) -> Vec<T> {
    let (dtype, n) = (T::DTYPE.name(), xs.len());
    let text =
        format!("conv1d id {{ input: {dtype}[1, 1, {n}] @ ncl, out_channels: 1, kernel_size: 1, then: {then} }}");
    let spec: LayerSpec = text.parse().expect("a legal layer");
    let compiled = compile(&spec, target, &Limits::default()).expect("it compiles");
    let weights: Vec<T> = (0..64 / T::DTYPE.bytes()).map(|i| T::from_f64(if i == 0 { 1.0 } else { 0.0 })).collect();
    let mut dst = vec![T::default(); n];
    let mut buffers = Buffers { src: xs, weights: &weights, dst: &mut dst, ..Buffers::default() };
    interp::run(&compiled.kernel, 1, &mut buffers).expect("lengths are the kernel's");
    dst
}

/// Points that are dense near zero and reach far out, both signs.
fn points<T: Element>() -> Vec<T> {
    let far = if T::DTYPE.bytes() == 4 { 1e30 } else { 1e200 };
    let mut xs: Vec<f64> = (-4000..=4000).map(|i| f64::from(i) / 100.0).collect();
    xs.extend((0..2000).map(|i| f64::powf(10.0, f64::from(i) / 50.0 - 20.0)).flat_map(|x| [x, -x]));
    xs.extend([0.0, 87.5, 88.5, 700.0, 709.5, 1e4, far].iter().flat_map(|&x| [x, -x]));
    xs.into_iter().filter(|x| x.abs() <= far).map(T::from_f64).collect()
}

/// Largest error in units of `max(|exact|, floor)` times the unit roundoff.
fn worst<T: Element>(then: &str, target: &Target, floor: f64) -> (f64, f64) {
    let xs = points::<T>();
    let spec: LayerSpec = format!(
        "conv1d id {{ input: {}[1, 1, 1] @ ncl, out_channels: 1, kernel_size: 1, then: {then} }}",
        T::DTYPE.name()
    )
    .parse()
    .expect("a legal layer");
    let got = apply(then, &xs, target);
    let errors = xs.iter().zip(&got).map(|(x, got)| {
        let exact = reference::epilogue(spec.then[0], x.to_f64());
        let error = (got.to_f64() - exact).abs() / exact.abs().max(floor) / T::UNIT_ROUNDOFF;
        (error, x.to_f64())
    });
    errors.max_by(|a, b| a.0.total_cmp(&b.0)).expect("there are points")
}

fn check(then: &str, floor: f64, units: f64) {
    for target in [Target::AVX2, Target::SSE] {
        for (dtype, (error, x)) in
            [("f32", worst::<f32>(then, &target, floor)), ("f64", worst::<f64>(then, &target, floor))]
        {
            let name = target.name();
            assert!(error <= units, "{then} in {dtype} on {name}: {error:.1} units at {x}, allowed {units}");
        }
    }
}

#[test]
fn comparisons_are_exact() {
    for then in ["relu", "relu6", "clamp(-1.5, 2.25)"] {
        check(then, f64::MIN_POSITIVE, 0.0);
    }
    check("leaky_relu(0.01)", f64::MIN_POSITIVE, 2.0);
    check("hardswish", 1e-30, 4.0);
}

#[test]
fn curves_stay_near_the_exact_function() {
    // Below these magnitudes the error is absolute: exp saturates there instead of going on to zero.
    check("sigmoid", 1e-30, 8.0);
    check("tanh", 1e-30, 8.0);
    check("silu", 1e-30, 8.0);
    check("gelu", 1e-2, 32.0);
}

#[test]
fn nan_goes_through_and_infinity_saturates() {
    for then in ["relu", "relu6", "clamp(-1, 1)", "leaky_relu(0.1)", "sigmoid", "tanh", "silu", "hardswish", "gelu"] {
        assert!(apply(then, &[f32::NAN], &Target::AVX2)[0].is_nan(), "{then} of NaN in f32");
        assert!(apply(then, &[f64::NAN], &Target::SSE)[0].is_nan(), "{then} of NaN in f64");
    }
    let inf = f32::INFINITY;
    assert_eq!(apply("relu", &[inf, -inf], &Target::AVX2), [inf, 0.0]);
    assert_eq!(apply("tanh", &[inf, -inf], &Target::AVX2), [1.0, -1.0]);
    assert_eq!(apply("sigmoid", &[inf], &Target::AVX2), [1.0]);
    assert_eq!(apply("silu", &[-1e30f32], &Target::AVX2), [0.0]);
}
