use super::{Filter, FilterError};
use convoke_core::spec::LayerSpec;

fn weights(filter: &str, layer: &str, rate: Option<u32>) -> Result<Vec<f64>, FilterError> {
    let spec: LayerSpec = layer.parse().unwrap();
    Filter::parse(filter)?.weights(&spec, rate)
}

const GREY: &str = "conv2d a { input: f32[1, 1, 9, 9], out_channels: 1, kernel_size: 3 }";
const FIR: &str = "conv1d a { input: f32[1, 1, 4000], out_channels: 1, kernel_size: 255 }";

#[test]
fn windows_are_the_well_known_ones() {
    assert_eq!(weights("sobel-x", GREY, None).unwrap(), [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0]);
    assert_eq!(weights("mean", GREY, None).unwrap(), [1.0 / 9.0; 9]);
    for (filter, sum) in [("sobel-y", 0.0), ("laplacian", 0.0), ("sharpen", 1.0), ("gaussian", 1.0)] {
        let found: f64 = weights(filter, GREY, None).unwrap().iter().sum();
        assert!((found - sum).abs() < 1e-12, "{filter}: {found}");
    }
}

#[test]
fn channels_are_filtered_apart() {
    let full = "conv2d a { input: f32[1, 2, 9, 9], out_channels: 2, kernel_size: 1 }";
    assert_eq!(weights("mean", full, None).unwrap(), [1.0, 0.0, 0.0, 1.0]);
    let depthwise = "conv2d a { input: f32[1, 9, 9, 2] @ nhwc, out_channels: 2, kernel_size: 1x2, groups: depthwise, weights: hwio }";
    assert_eq!(weights("mean", depthwise, None).unwrap(), [0.5; 4]);
    let one = "conv2d a { input: f32[1, 4, 9, 9], out_channels: 1, kernel_size: 1 }";
    assert_eq!(weights("mean", one, None).unwrap(), [0.25; 4]);
    let three = "conv2d a { input: f32[1, 2, 9, 9], out_channels: 3, kernel_size: 1 }";
    assert_eq!(weights("mean", three, None), Err(FilterError::Channels { inputs: 2, outputs: 3 }));
}

/// How much of a tone of `frequency`, in parts of the sampling rate, comes through.
fn gain(taps: &[f64], frequency: f64) -> f64 {
    let turn = |i: usize| 2.0 * std::f64::consts::PI * frequency * i as f64;
    let (re, im) =
        taps.iter().enumerate().fold((0.0, 0.0), |(re, im), (i, t)| (re + t * turn(i).cos(), im + t * turn(i).sin()));
    f64::hypot(re, im)
}

#[test]
fn a_band_pass_lets_its_band_through() {
    let taps = weights("bandpass:300-3400", FIR, Some(16_000)).unwrap();
    assert_eq!(taps, weights("bandpass:0.01875-0.2125", FIR, None).unwrap());
    for hz in [500.0, 1000.0, 3000.0] {
        assert!((gain(&taps, hz / 16_000.0) - 1.0).abs() < 0.01, "{hz} Hz");
    }
    for hz in [0.0, 100.0, 4000.0, 7000.0] {
        assert!(gain(&taps, hz / 16_000.0) < 0.01, "{hz} Hz");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let check = |filter, layer, rate, text: &str| {
        let error = weights(filter, layer, rate).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    check("sobel", GREY, None, "`sobel` is neither");
    check("bandpass:300", FIR, None, "neither");
    check("sobel-x", FIR, None, "sobel-x has a window of 3x3, and the layer's is 255");
    check("bandpass:1-2", GREY, None, "bandpass has a window of one axis");
    check("bandpass:300-9000", FIR, Some(16_000), "between 0 and 8000 Hz");
    check("bandpass:300-9000", FIR, None, "between 0 and 0.5");
}

#[test]
fn random_depends_on_its_seed_alone() {
    let a = weights("random:7", GREY, None).unwrap();
    assert_eq!(a, weights("random:7", GREY, None).unwrap());
    assert_ne!(a, weights("random:8", GREY, None).unwrap());
    assert!(a.iter().all(|x| x.abs() <= 1.0 / 3.0));
}
