use super::*;
use crate::front;
use proptest::prelude::*;

/// The one layer of `text`, which must be legal.
fn layer(text: &str) -> LayerSpec {
    text.parse().unwrap_or_else(|error: SpecTextError| panic!("{error}"))
}

/// Checks `(input, output, pad_lo, pad_hi)` of the last axis.
fn check_row(text: &str, expect: (usize, usize, usize, usize)) {
    let axis = layer(text).spatial[2];
    assert_eq!((axis.input, axis.output, axis.pad_lo, axis.pad_hi), expect, "{text}");
}

#[test]
fn first_layer_of_resnet() {
    let spec = layer(
        "// The first layer of ResNet-50.
        conv2d conv1 {
            input: f32[1, 3, 224, 224] @ nchw,
            out_channels: 64, kernel_size: 7x7, stride: 2, padding: 3, bias: true, then: relu,
        }",
    );
    assert_eq!((spec.rank, spec.in_channels, spec.out_channels, spec.groups), (2, 3, 64, 1));
    assert_eq!(spec.spatial[0], SpatialAxis::UNIT);
    assert_eq!(spec.spatial[1], spec.spatial[2]);
    assert_eq!((spec.spatial[1].output, spec.macs_per_image()), (112, 112 * 112 * 64 * 3 * 49));
    assert_eq!((spec.bias, spec.then.as_slice()), (true, &[Epilogue::Relu][..]));
}

#[test]
fn padding_words_give_the_sizes_of_their_definitions() {
    let row = |rest: &str| format!("conv1d c {{ input: f32[1, 2, 10], out_channels: 1, {rest} }}");
    check_row(&row("kernel_size: 3, padding: same"), (10, 10, 1, 1));
    check_row(&row("kernel_size: 4, padding: same"), (10, 10, 1, 2));
    check_row(&row("kernel_size: 4, padding: same_lower"), (10, 10, 2, 1));
    check_row(&row("kernel_size: 4, stride: 3, padding: same"), (10, 4, 1, 2));
    check_row(&row("kernel_size: 1, stride: 3, padding: same"), (10, 4, 0, 0));
    check_row(&row("kernel_size: 3, dilation: 2, padding: causal"), (10, 10, 4, 0));
    check_row(&row("kernel_size: 3, stride: 4, padding: causal"), (10, 3, 2, 0));
    check_row(&row("kernel_size: 3, padding: valid"), (10, 8, 0, 0));
    check_row(&row("kernel_size: 3, padding: 5..0"), (10, 13, 5, 0));
}

#[test]
fn transposed_layers_have_the_sizes_of_pytorch_and_onnx() {
    let row = |rest: &str| format!("conv_transpose1d c {{ input: f32[1, 2, 10], out_channels: 1, {rest} }}");
    let check = |rest: &str, expect: (usize, usize, usize), output_padding: usize| {
        check_row(&row(rest), (10, expect.0, expect.1, expect.2));
        assert_eq!(layer(&row(rest)).spatial[2].output_padding(), output_padding, "{rest}");
    };
    check("kernel_size: 4, stride: 2, padding: 1", (20, 1, 1), 0);
    check("kernel_size: 3, stride: 2, padding: 1, output_padding: 1", (20, 1, 1), 1);
    check("kernel_size: 3, stride: 2, padding: 1, output_size: 20", (20, 1, 1), 1);
    check("kernel_size: 3, dilation: 4, padding: 2..1, output_padding: 3", (18 + 3 - 3, 2, 1), 3);
    check("kernel_size: 3, padding: 5..6", (1, 5, 6), 0);
    // ONNX's SAME_UPPER and SAME_LOWER, and Keras' `same`.
    check("kernel_size: 5, stride: 2, padding: same", (20, 1, 2), 0);
    check("kernel_size: 5, stride: 2, padding: same_lower", (20, 2, 1), 0);
    check("kernel_size: 1, stride: 3, padding: same", (30, 0, 0), 2);
    check("kernel_size: 4, stride: 3, padding: same, output_padding: 1", (30, 1, 1), 1);
    // ONNX's output_shape.
    check("kernel_size: 4, stride: 3, padding: same_lower, output_size: 28", (28, 2, 1), 0);
    check("kernel_size: 4, stride: 3, padding: same, output_size: 33", (33, 0, 0), 2);
}

#[test]
fn sizes_stand_in_the_order_of_the_layout() {
    let first = layer("conv3d c { input: f64[2, 4, 5, 6, 7] @ ncdhw, out_channels: 8, kernel_size: 1x2x3 }");
    let last = layer("conv3d c { input: f64[2, 5, 6, 7, 4] @ ndhwc, out_channels: 8, kernel_size: (1, 2, 3) }");
    assert_eq!(first.in_channels, 4);
    assert_eq!(LayerSpec { layout: Layout::ChannelsFirst, ..last }, first);
}

#[test]
fn canonical_text_parses_to_an_equal_layer() {
    for text in [
        "conv2d a { input: f32[N, 3, 8, 9], out_channels: 6, kernel_size: 3x5, stride: (2, 1), padding: (1..0, 2), groups: 3,
            bias: true, weights: hwio, then: [silu, clamp(-1, 0.5), leaky_relu], dilation: 1x2,
            schedule { algorithm: direct, vector: oc, tile: 6x2, block: (oh: 4, ow: 84), order: (n, oh, g, oc, oh, ow),
                parallel: oh, pack_input: none, unroll: 4 } }",
        "conv_transpose2d t { input: f32[1, 4, 8, 9], out_channels: 6, kernel_size: 3x5, stride: 3, padding: (1..0, 2), groups: 2,
            output_padding: (2, 0), weights: hwoi, dilation: 1x2 }",
        "conv1d c { input: f32[1, 1, 3] @ ncl, out_channels: 1, kernel_size: 1, then: [elu, celu(0.5), elu(-2), selu, gelu_tanh, mish, softplus,
            softsign, log_sigmoid, hard_sigmoid, abs, neg, add(-1e-3), mul(2)] }",
        "conv1d b { input: f64[0, 9, 3] @ nlc, out_channels: 3, kernel_size: 2, groups: depthwise, weights: lio }",
    ] {
        let spec = layer(text);
        assert_eq!(layer(&spec.to_string()), spec);
    }
}

#[test]
fn every_mistake_is_reported() {
    let text = "conv2d a { input: f33[1, 3, 8, 8], stride: = 2, kernal_size: 3, padding: -1 }
        conv2d a { input: f32[1, 3, 8, 8], out_channels: 64, kernel_size: 9, }";
    let diagnostics = front::layers(text, &Limits::default()).unwrap_err();
    let messages: Vec<_> = diagnostics.iter().map(|d| d.message.as_str()).collect();
    let expect = [
        "the layer `a` has no `out_channels`",
        "there is no element type `f33`",
        "expected a value, found `=`",
        "there is no field `kernal_size`",
        "`padding` may not be -1",
        "two layers are called `a`",
        "the kernel reaches past the padded input",
    ];
    assert_eq!(messages, expect);
}

#[test]
fn suggestions_are_near() {
    let check = |word: &str, expect: Option<&str>| assert_eq!(suggest::nearest(word, &FIELD_NAMES), expect, "{word}");
    check("paddign", Some("padding"));
    check("outchannels", Some("out_channels"));
    check("Kernel_Size", Some("kernel_size"));
    check("strides", Some("stride"));
    check("than", Some("then"));
    check("activation", None);
    check("", None);
}

#[test]
fn limits_are_those_of_the_caller() {
    let text = "conv2d a { input: f32[2, 3, 8, 8], out_channels: 4, kernel_size: 3 }";
    let tight = Limits { tensor_bytes: 2 * 3 * 8 * 8 * 4, macs: 4 * 6 * 6 * 3 * 9, ..Limits::default() };
    assert_eq!(
        front::layers(text, &tight).unwrap_err()[0].message,
        "the tensor of packed weights is larger than the limit"
    );
    let enough = Limits { tensor_bytes: 16 * 3 * 9 * 4, ..tight };
    assert!(front::layers(text, &enough).is_ok());
    let less = Limits { macs: enough.macs - 1, ..enough };
    assert_eq!(front::layers(text, &less).unwrap_err()[0].message, "the work of one image is larger than the limit");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_layers_print_parse_and_stay_in_layout(spec in arbitrary::layer_spec(), schedule in arbitrary::schedule()) {
        let spec = LayerSpec { schedule, ..spec };
        let text = spec.to_string();
        prop_assert_eq!(&text.parse::<LayerSpec>().map_err(|error| TestCaseError::fail(error.to_string()))?, &spec);
        prop_assert_eq!(front::format(&text), Ok(text));
        // A product of complex numbers is four.
        let products = (spec.parts() * spec.parts()) as u64;
        prop_assert!(spec.macs_per_image() * spec.fixed_batch().unwrap_or(3) as u64 <= products * arbitrary::MAX_MACS);
    }
}

#[test]
fn deformable_layers() {
    let spec = layer(
        "deform_conv2d a { input: f32[2, 9, 7, 6] @ nhwc, out_channels: 8, kernel_size: 3x2, stride: 2, offset_groups: 3, mask: true }",
    );
    assert_eq!((spec.offset_channels(), spec.mask_channels()), (36, 18));
    assert_eq!((spec.offset_image(), spec.mask_image()), (36 * 4 * 3, 18 * 4 * 3));
    let plain = layer("conv2d a { input: f32[2, 9, 7, 6], out_channels: 8, kernel_size: 3 }");
    assert_eq!((plain.offset_image(), plain.mask_image(), plain.offset_groups, plain.mask), (0, 0, 1, false));
    let refused = |fields: &str| {
        let text = format!("deform_conv2d a {{ {fields} }}");
        front::layers(&text, &Limits::default()).unwrap_err()[0].clone()
    };
    let found = refused("input: f32[1, 8, 7, 6], out_channels: 8, kernel_size: 3, offset_groups: 3");
    assert_eq!(found.message, "3 offset groups do not divide 8 input channels");
    assert_eq!(found.help.as_deref(), Some("write `offset_groups: 2`"));
    let found = refused("input: f32[1, 1, 4097, 4096], out_channels: 1, kernel_size: 1");
    assert_eq!(found.message, "a channel has 16781312 elements, and a deformable layer takes at most 16777215");
    let found = refused("input: f32[1, 4096, 64, 64] @ nhwc, out_channels: 1, kernel_size: 1");
    assert_eq!(found.message, "an image has 16777216 elements, and a deformable layer takes at most 16777215");
    let found =
        refused("input: f32[1, 1, 4, 4], out_channels: 1, kernel_size: 1, stride: 16777216, padding: (16777212..0, 0)");
    let message = "the height has 16777216 elements with its padding, and a deformable layer takes at most 16777215";
    assert_eq!(found.message, message);
    let found = refused("input: u8[1, 1, 4, 4], out_channels: 1, kernel_size: 1");
    assert_eq!(found.message, "a deformable layer cannot have elements of another type than f32");
}
