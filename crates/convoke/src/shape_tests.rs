use super::*;
use crate::Tensor;
use convoke_core::spec::Operation;

#[track_caller]
fn check(text: &str, expected: [&[usize]; 3]) {
    let spec: LayerSpec = text.parse().unwrap();
    assert_eq!([src(&spec, 2), weights(&spec), dst(&spec, 2)], expected);
    let keras = if spec.operation == Operation::Transposed { WeightsLayout::Hwoi } else { WeightsLayout::Hwio };
    let transposed = LayerSpec { weights_layout: keras, ..spec.clone() };
    let (window, channels) = (&expected[1][2..], [expected[1][1], expected[1][0]]);
    assert_eq!(weights(&transposed), [window, &channels].concat());
}

#[test]
fn every_rank_and_layout() {
    check(
        "conv1d a { input: f32[N, 4, 9] @ ncl, out_channels: 6, kernel_size: 3, groups: 2 }",
        [&[2, 4, 9], &[6, 2, 3], &[2, 6, 7]],
    );
    check(
        "conv2d b { input: f32[2, 5, 9, 3] @ nhwc, out_channels: 7, kernel_size: (1, 2), stride: 2 }",
        [&[2, 5, 9, 3], &[7, 3, 1, 2], &[2, 3, 4, 7]],
    );
    check(
        "conv3d c { input: f32[2, 3, 4, 5, 6] @ ncdhw, out_channels: 8, kernel_size: 2 }",
        [&[2, 3, 4, 5, 6], &[8, 3, 2, 2, 2], &[2, 8, 3, 4, 5]],
    );
    check(
        "conv_transpose2d d { input: f32[2, 6, 4, 5], out_channels: 9, kernel_size: 2x3, stride: 2, groups: 3 }",
        [&[2, 6, 4, 5], &[6, 3, 2, 3], &[2, 9, 8, 11]],
    );
}

#[test]
fn blocks_of_channels_are_an_axis_of_memory() {
    check(
        "conv2d a { input: f32[2, 20, 9, 8] @ nChw16c, out_channels: 7, kernel_size: 3 }",
        [&[2, 2, 9, 8, 16], &[7, 20, 3, 3], &[2, 1, 7, 6, 16]],
    );
    let spec: LayerSpec = "conv1d b { input: f64[N, 9, 8] @ nCw8c, out_channels: 7, kernel_size: 3 }".parse().unwrap();
    assert_eq!([src(&spec, 1), dst(&spec, 1)], [[1, 2, 8, 8], [1, 1, 6, 8]]);
    assert_eq!([declared_src(&spec, 1), declared_dst(&spec, 1)], [[1, 9, 8], [1, 7, 6]]);
}

#[test]
fn shapes_that_overflow_are_errors() {
    let huge = [usize::MAX, 2];
    let message = format!("a tensor of shape {huge:?} has more than {} elements", isize::MAX);
    assert_eq!(Tensor::<f32>::zeros(huge).unwrap_err().to_string(), message);
    assert_eq!(Tensor::new(huge, vec![0.0f32]).unwrap_err().to_string(), message);
    assert_eq!(Tensor::<f32>::zeros([usize::MAX, 0]).unwrap().data(), [0.0f32; 0]);
}
