//! Loads of elements that lie anywhere.

use convoke_core::ir::{Verified, verify};
use convoke_core::target::Isa;

/// Elements that integers say, some of which are not there, into the last of so many registers.
pub(crate) fn gathers(isa: Isa, registers: usize) -> Verified {
    let (lanes, last) = (isa.vector_bytes() / 4, registers - 1);
    let kernel = format!(
        "kernel gathers f32 {} {{ buffer src[50] buffer weights[{lanes}] buffer dst[{lanes}] vars N, i
        tile gathers(src, weights, dst) registers {registers} {{
            v0 = load weights[0] v0 = int v0 v{last} = gather src[3] at v0 of 40 store dst[0] = v{last}
        }}
        nest compute {{ for i in 0..1 {{ call gathers(src[0], weights[0], dst[0]) }} }} }}",
        isa.name()
    );
    verify(kernel.parse().unwrap()).unwrap()
}

/// Indices of [`gathers`], and numbers to gather.
pub(crate) fn gathered(at: usize) -> f64 {
    [0.0, -1.0, 39.0, 40.0, 17.0, 1e9, f64::NAN, -3e9, 7.0, 38.6, 40.4, -0.4, 5.0, 2e10, 22.0, 9.0][at % 16]
}
