convoke_macros::conv! {
    conv1d reduced { input: u8[1, 1, 4], out_channels: 1, kernel_size: 2, reduce_range: true }
}

// Refused while the program is built.
static BEYOND: reduced::Packed = reduced::pack(&[-64, 64]);

fn main() {
    reduced::run(&[0; 4], &BEYOND, &mut [0; 3]);
}
