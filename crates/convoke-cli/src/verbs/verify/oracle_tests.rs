use super::{Cases, Truth, exact, same_bits};
use crate::compute::reference;
use convoke_core::spec::Algorithm;

const LAYER: &str =
    "conv2d a { input: f32[2, 3, 5, 5], out_channels: 4, kernel_size: 3, bias: true, then: [relu6, gelu] }";

fn cases() -> (Cases<f32>, Truth<f32>) {
    let cases = Cases::new(&LAYER.parse().unwrap(), 1);
    let truth = Truth::new(&cases);
    (cases, truth)
}

#[test]
fn the_reference_passes() {
    let (cases, truth) = cases();
    assert_eq!(truth.check_whole(&cases, Algorithm::Direct, &reference(&cases.exact, &cases.whole).dst), Ok(()));
    let (error, bound) =
        truth.check_random(&cases, Algorithm::Direct, &reference(&cases.spec, &cases.random).dst).unwrap();
    assert!(error <= bound && bound < 1e-3, "{error} {bound}");
}

#[test]
fn one_wrong_output_fails_and_is_named() {
    let (cases, truth) = cases();
    let mut whole = reference(&cases.exact, &cases.whole).dst;
    whole[36] += 1.0;
    let reason = truth.check_whole(&cases, Algorithm::Direct, &whole).unwrap_err();
    assert!(reason.contains("[n 1, oc 0, d 0, h 0, w 0]"), "{reason}");

    for wrong in [0.01, f32::NAN] {
        let mut random = reference(&cases.spec, &cases.random).dst;
        random[17] += wrong;
        let reason = truth.check_random(&cases, Algorithm::Direct, &random).unwrap_err();
        assert!(reason.contains("[n 0, oc 1, d 0, h 2, w 2]"), "{reason}");
    }
    assert!(truth.check_whole(&cases, Algorithm::Direct, &whole[1..]).is_err());
}

#[test]
fn the_last_bit_counts() {
    let (cases, _) = cases();
    let random = reference(&cases.spec, &cases.random);
    assert_eq!(same_bits(&cases.spec, &random, &random), Ok(()));
    let mut other = random.clone();
    other.dst[3] = f32::from_bits(other.dst[3].to_bits() ^ 1);
    assert!(same_bits(&cases.spec, &random, &other).unwrap_err().contains("w 0"));
}

#[test]
fn only_steps_that_round_are_left_out() {
    let spec = LAYER.parse().unwrap();
    assert_eq!(exact(&spec).then, [convoke_core::spec::Epilogue::Relu6]);
}

#[test]
fn data_depend_on_seed_and_name() {
    let data = |text: &str, seed| Cases::<f32>::new(&text.parse().unwrap(), seed).random.src;
    assert_eq!(data(LAYER, 1), data(LAYER, 1));
    assert_ne!(data(LAYER, 1), data(LAYER, 2));
    assert_ne!(data(LAYER, 1), data(&LAYER.replace("conv2d a", "conv2d b"), 1));
}
