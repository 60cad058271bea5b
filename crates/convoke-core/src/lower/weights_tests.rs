//! Packed weights against the definition, element by element.

use super::*;
use crate::eval::reference::weights_index;

fn layer(text: &str) -> LayerSpec {
    text.parse().expect("a legal layer")
}

/// Every weight stands where its panel says, and what is left over is zero.
fn check(text: &str, algorithm: Algorithm) {
    let spec = layer(text);
    let packing = WeightsPacking::new(&spec, algorithm);
    let plain: Vec<f32> = (1..=spec.weights_len()).map(|i| i as f32).collect();
    let mut packed = vec![-1.0; packing.packed_len()];
    packing.pack(&plain, &mut packed);
    let (ic, taps, oc_all) = (packing.ic, packing.taps, spec.out_channels);
    let mut used = 0;
    for oc in 0..oc_all {
        let (group, oc_in_group) = (oc / packing.oc, oc % packing.oc);
        let panel = group * packing.panels() + oc_in_group / packing.lanes;
        for tap in 0..taps {
            for i in 0..ic {
                let at = panel * packing.panel_len() + (tap * ic + i) * packing.lanes + oc_in_group % packing.lanes;
                let [_, kh, kw] = spec.spatial.map(|a| a.kernel);
                let [d, h, w] = packing.tap_order();
                let from = weights_index(&spec, oc, i, [d[tap / kw / kh], h[tap / kw % kh], w[tap % kw]]);
                assert_eq!(packed[at], plain[from], "{text}: oc {oc} tap {tap} ic {i}");
                used += 1;
            }
        }
    }
    assert_eq!(packed.iter().filter(|&&w| w == 0.0).count(), packed.len() - used, "{text}: the rest is zero");
}

#[test]
fn every_weight_has_its_place() {
    for weights in ["oihw", "hwio"] {
        let dense = "conv2d l { input: f32[1, 5, 9, 9], out_channels: 37, kernel_size: 2x3, weights: W }";
        check(&dense.replace('W', weights), Algorithm::Direct);
        let grouped = "conv2d l { input: f32[1, 6, 9, 9], out_channels: 51, kernel_size: 3, groups: 3, weights: W }";
        check(&grouped.replace('W', weights), Algorithm::Direct);
        let depthwise =
            "conv2d l { input: f32[1, 21, 9, 9], out_channels: 21, kernel_size: 3, groups: depthwise, weights: W }";
        check(&depthwise.replace('W', weights), Algorithm::Depthwise);
        let twice =
            "conv2d l { input: f32[1, 21, 9, 9], out_channels: 42, kernel_size: 3, groups: depthwise, weights: W }";
        check(&twice.replace('W', weights), Algorithm::Depthwise);
    }
}

#[test]
fn taps_of_a_transposed_layer_stand_phase_by_phase() {
    for weights in ["iohw", "hwoi"] {
        let grouped = "conv_transpose2d l { input: f32[1, 6, 9, 9], out_channels: 51, kernel_size: 3x4, stride: 2, groups: 3, weights: W }";
        check(&grouped.replace('W', weights), Algorithm::Direct);
        let depthwise = "conv_transpose2d l { input: f32[1, 21, 9, 9], out_channels: 21, kernel_size: 3, groups: depthwise, weights: W }";
        check(&depthwise.replace('W', weights), Algorithm::Depthwise);
    }
    let spec =
        layer("conv_transpose1d l { input: f32[1, 1, 9], out_channels: 1, kernel_size: 5, stride: 2, padding: 1 }");
    assert_eq!(WeightsPacking::new(&spec, Algorithm::Direct).tap_order()[2], [3, 1, 4, 2, 0]);
}

#[test]
fn a_panel_is_64_bytes_in_either_type() {
    let spec = layer("conv1d l { input: f64[1, 3, 9], out_channels: 9, kernel_size: 1 }");
    let packing = WeightsPacking::new(&spec, Algorithm::Direct);
    assert_eq!((packing.lanes, packing.panels(), packing.packed_len()), (8, 2, 48));
    assert_eq!((packing.name(DType::F64), packing.name(DType::F32)), ("OIhw8o".to_owned(), "OIhw16o".to_owned()));
}
