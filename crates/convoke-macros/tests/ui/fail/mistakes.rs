use convoke_macros::conv;

// Syntax and meaning, all reported, each at its token.
conv! {
    conv2d syntax { input: f32[1, 3, 8, 8] @ nchw, out_channels: , kernel_size: 3 }
    conv2d meaning {
        input: f32[1, 3, 8, 8] @ nchw,
        out_channels: 64,
        kernel_size: 9x9,
        strides: 2,
    }
    conv4d rank { input: f32[1, 3, 8] @ ncl }
}

conv! {
    conv2d pinned {
        input: f32[1, 3, 8, 8], out_channels: 8, kernel_size: 3,
        schedule { algorithm: pointwise },
    }
}

fn main() {}
