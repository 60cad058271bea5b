//! A layer and networks from files, and that no lint of the user's crate is in the way; the modules need `core` alone.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs, unsafe_op_in_unsafe_fn, warnings)]
#![allow(unused_crate_dependencies)]

extern crate std;

mod inner {
    use core as renamed;
    pub(crate) use renamed::primitive::f32 as Element;
}

convoke_macros::conv!(file = "../../../tmp/layers.conv", layer = "second");
convoke_macros::conv!(file = "../../../tmp/networks.conv", layer = "greatest");
mod weighted {
    convoke_macros::conv!(
        parameters = "../../../tmp/few.safetensors",
        network Scored {
            input: f32[2, 1, 2],
            conv1d scores { out_channels: 1, kernel_size: 2, then: relu }
            pad Edge { padding: 1 }
        }
    );
}

fn main() {
    let packed = second::pack(&[3.0], &[1.0]);
    let mut dst: [inner::Element; 4] = [0.0; 4];
    second::run(&[1.0, 2.0, 3.0, 4.0], &packed, &mut dst);
    core::assert_eq!(dst, [4.0, 7.0, 10.0, 13.0]);
    let mut output: greatest::Output = [0.0; 4];
    greatest::run(&[1.0, 2.0, 4.0, 3.0, 5.0, 5.0, 0.0, 1.0], &mut greatest::Arena::new(), &mut output);
    core::assert_eq!(output, [2.0, 4.0, 5.0, 1.0]);
    let mut output = [1.0; 6];
    weighted::Scored::run(&[1.0; 4], &mut weighted::Scored::Arena::new(), &mut output);
    core::assert_eq!(output, [0.0; 6]);
}
