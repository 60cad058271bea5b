//! The positions that stand behind packed weights.

use crate::lower::weights::WeightsPacking;
use crate::spec::{Algorithm, LayerSpec};

#[test]
fn positions_without_offsets_stand_behind_the_panels() {
    let text = "deform_conv2d a { input: f32[1, 2, 4, 7], out_channels: 3, kernel_size: 2x3, stride: 1x2, padding: (1..0, 2), dilation: 2x1 }";
    let spec: LayerSpec = text.parse().unwrap();
    let packing = WeightsPacking::new(&spec, Algorithm::Deformable);
    let [down, across] = packing.positions_at();
    assert_eq!((down, across, packing.packed_len()), (6 * 2 * 16, 6 * 2 * 16 + 2 * 3, across + 3 * 5));
    let mut packed = vec![f32::NAN; packing.packed_len()];
    packing.pack(&[1.0_f32; 36], &mut packed);
    assert_eq!(packed[down..across], [-1.0, 0.0, 1.0, 1.0, 2.0, 3.0]);
    assert_eq!(packed[across..][..10], [-2.0, 0.0, 2.0, 4.0, 6.0, -1.0, 1.0, 3.0, 5.0, 7.0]);
}
