//! A layer from a file, and that no lint of the user's crate is in the way; the module needs `core` alone.
#![no_std]
#![deny(missing_docs, unsafe_op_in_unsafe_fn, warnings)]
#![allow(unused_crate_dependencies)]

extern crate std;

mod inner {
    use core as renamed;
    pub(crate) use renamed::primitive::f32 as Element;
}

convoke_macros::conv!(file = "../../../tmp/layers.conv", layer = "second");

fn main() {
    let packed = second::pack(&[3.0], &[1.0]);
    let mut dst: [inner::Element; 4] = [0.0; 4];
    second::run(&[1.0, 2.0, 3.0, 4.0], &packed, &mut dst);
    core::assert_eq!(dst, [4.0, 7.0, 10.0, 13.0]);
}
