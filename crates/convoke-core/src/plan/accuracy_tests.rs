//! The estimate against what `benches/peers/accuracy.py` measures.

use super::*;

const CHANNELS: [usize; 5] = [4, 16, 64, 256, 1024];

/// Measured multiples of a direct sum's error, for each of [`CHANNELS`].
#[rustfmt::skip]
const MEASURED: [(Algorithm, usize, [f64; 5]); 15] = [
    (Algorithm::Winograd2, 1, [1.28, 0.90, 0.78, 0.76, 0.76]),
    (Algorithm::Winograd2, 2, [1.09, 0.71, 0.63, 0.59, 0.58]),
    (Algorithm::Winograd2, 3, [0.90, 0.60, 0.50, 0.46, 0.46]),
    (Algorithm::Winograd3, 1, [1.73, 1.16, 0.99, 0.96, 0.95]),
    (Algorithm::Winograd3, 2, [1.80, 1.18, 1.01, 0.94, 0.91]),
    (Algorithm::Winograd3, 3, [1.84, 1.23, 1.02, 0.92, 0.92]),
    (Algorithm::Winograd4, 1, [2.42, 1.70, 1.36, 1.33, 1.31]),
    (Algorithm::Winograd4, 2, [3.36, 2.21, 1.94, 1.80, 1.75]),
    (Algorithm::Winograd4, 3, [4.70, 3.28, 2.70, 2.52, 2.47]),
    (Algorithm::Winograd5, 1, [3.65, 2.48, 1.93, 1.83, 1.82]),
    (Algorithm::Winograd5, 2, [6.41, 4.10, 3.55, 3.24, 3.18]),
    (Algorithm::Winograd5, 3, [10.6, 7.38, 6.20, 5.67, 5.61]),
    (Algorithm::Winograd6, 1, [5.28, 3.59, 2.86, 2.70, 2.67]),
    (Algorithm::Winograd6, 2, [13.79, 9.09, 8.01, 7.43, 7.11]),
    (Algorithm::Winograd6, 3, [41.56, 28.11, 22.99, 20.78, 20.79]),
];

fn layer(axes: usize, channels: usize) -> LayerSpec {
    let sizes = ["24, ", "24, 24, ", "12, 12, 12, "][axes - 1];
    let layout = ["nlc", "nhwc", "ndhwc"][axes - 1];
    let input = format!("f32[1, {sizes}{channels}] @ {layout}");
    let text = format!("conv{axes}d x {{ input: {input}, out_channels: 64, kernel_size: 3, padding: 1 }}");
    text.parse().expect("a legal layer")
}

#[test]
fn estimates_are_near_what_is_measured() {
    for (algorithm, axes, measured) in MEASURED {
        for (channels, measured) in CHANNELS.into_iter().zip(measured) {
            let estimate = error_times(&layer(axes, channels), algorithm);
            let off = estimate / measured - 1.0;
            assert!(
                (-0.05..0.25).contains(&off),
                "{algorithm} along {axes} axes, {channels} channels: {estimate} is not {measured}"
            );
        }
    }
}

/// What is measured above the default is not allowed.
#[test]
fn the_default_keeps_to_what_is_measured() {
    for (algorithm, axes, measured) in MEASURED {
        for (channels, measured) in CHANNELS.into_iter().zip(measured) {
            let allowed = allows(&layer(axes, channels), algorithm);
            assert_eq!(
                allowed.is_ok(),
                measured <= 4.0,
                "{algorithm} along {axes} axes, {channels} channels: {allowed:?}"
            );
        }
    }
}
