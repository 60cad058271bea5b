convoke_macros::conv! {
    conv1d short { input: f32[1, 1, 8] @ ncl, out_channels: 2, kernel_size: 3, bias: true }
}

fn main() {
    let packed = short::pack(&[0.0; 6], &[0.0; 3]);
    let mut dst = [0.0; 12];
    short::run(&[0.0; 9], &packed, &mut dst);
    short::run(&[0.0; 8], &packed, &mut [0.0; 11]);
}
