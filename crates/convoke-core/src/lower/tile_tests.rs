//! Which tiles ask for the lines that they will write.

use crate::ir;
use crate::lower::lower;
use crate::plan;
use crate::spec::LayerSpec;
use crate::target::Target;

/// Where pixels of the output lie apart, a tile of a long sum asks for all lines that it writes, and for those of the residual.
#[test]
fn long_sums_ask_for_the_lines_of_the_output() {
    let layer = |channels: usize, layout: &str, rest: &str| {
        let shape = if layout == "nhwc" { format!("2, 5, 6, {channels}") } else { format!("2, {channels}, 5, 6") };
        format!("conv2d layer {{ input: f32[{shape}] @ {layout}, out_channels: 64, kernel_size: 1, {rest} }}")
    };
    let residual = "then: residual, schedule { tile: 2x3 }";
    // Bytes in, and bytes or integers of 32 bits out.
    let integers = |channels: usize, output: &str| {
        format!(
            "conv2d layer {{ input: u8[2, 5, 6, 256] @ nhwc, out_channels: {channels}, kernel_size: 1, {output}, schedule {{ vector: oc, tile: 2x3 }} }}"
        )
    };
    let bytes = "input_scale: 0.5, weights_scale: 0.5, output: u8, output_scale: 0.5";
    let cases = [
        // Three vectors of 32 bytes are two lines; of 64 bytes, three.
        (layer(64, "nhwc", residual), &Target::AVX2, 2 * 2, 2 * 2),
        (layer(64, "nhwc", residual), &Target::AVX512, 2 * 3, 2 * 3),
        (layer(64, "nhwc", "schedule { tile: 2x3 }"), &Target::SSE, 2, 0),
        (layer(16, "nhwc", residual), &Target::AVX2, 0, 0),
        (layer(64, "nChw16c", residual), &Target::AVX2, 0, 0),
        (layer(64, "nchw", "then: residual, schedule { vector: oc }"), &Target::AVX2, 0, 0),
        (integers(72, "output: i32"), &Target::AVX2, 2 * 2, 0),
        (integers(72, bytes), &Target::AVX2, 2, 0),
        (integers(64, bytes), &Target::AVX2, 0, 0),
    ];
    for (text, target, dst, residual) in cases {
        let spec: LayerSpec = text.parse().expect("a legal layer");
        let kernel = lower(&spec, &plan::choose(&spec, target).expect("a plan"), target);
        let kernel = ir::verify(kernel).expect("a kernel that is right");
        let tile = kernel.to_string();
        let tile = tile.split("tile ").skip(1).find(|tile| tile.contains("weights[")).expect("a tile");
        let asked = |role: &str| tile.matches(&format!("prefetch {role}[")).count();
        assert_eq!((asked("dst"), asked("residual")), (dst, residual), "{text}\n{tile}");
        let (first, _) = tile.split_once("weights[").expect("a sum");
        assert_eq!(first.matches("prefetch").count(), dst + residual, "before the sum: {tile}");
    }
}
