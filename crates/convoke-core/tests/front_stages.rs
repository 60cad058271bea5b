//! The text forms of the first two stages, for layers that use every part of the language between them.

use convoke_core::front;
use convoke_core::spec::Limits;

/// Snapshots the syntax tree and the layers of `text`.
fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("stages");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_description(text);
    settings.set_omit_expression(true);
    settings.bind(|| {
        insta::assert_snapshot!(format!("{name}.ast"), front::parse(text).unwrap());
        let layers = front::layers(text, &Limits::default()).unwrap();
        let texts: Vec<_> = layers.iter().map(|layer| layer.to_annotated_text()).collect();
        insta::assert_snapshot!(format!("{name}.spec"), texts.join("\n"));
        let joined = texts.join("\n");
        assert_eq!(front::layers(&joined, &Limits::default()).as_ref(), Ok(&layers));
        assert_eq!(front::format(&joined).as_ref(), Ok(&joined));
    });
}

#[test]
fn first_layer_of_resnet() {
    check(
        "resnet_conv1",
        "\
// The first layer of ResNet-50.
conv2d conv1 {
    input: f32[1, 3, 224, 224] @ nchw,
    out_channels: 64,
    kernel_size: 7x7,
    stride: 2,
    padding: 3,
    bias: true,
    then: relu, // fused
}
",
    );
}

#[test]
fn two_layers_of_a_stack() {
    check(
        "wavenet",
        "\
conv1d dilated {
    input: f64[N, 4000, 32] @ nlc, // time runs along l
    out_channels: 64, kernel_size: 2, dilation: 512, padding: causal, weights: lio, then: [tanh, clamp(-0.5, 1e-3)],
}
conv1d residual { input: f64[N, 4000, 64] @ nlc, out_channels: 32, kernel_size: 1, bias: false }
",
    );
}

#[test]
fn pinned_depthwise_layer() {
    check(
        "depthwise_pinned",
        "\
conv2d dw {
    input: f32[0, 32, 14, 14], out_channels: 64, kernel_size: (3, 5), groups: depthwise, stride: 2x1,
    padding: same_lower, then: [],
    schedule {
        algorithm: direct, vector: ow, tile: 6x2, block: (oh: 4), order: (n, g, oc, oh, oh, ow), parallel: n,
        pack_input: pad, unroll: 4,
    }
}
",
    );
}

#[test]
fn padding_by_side_in_three_dimensions() {
    check(
        "sides_3d",
        "conv3d c { input: f32[2, 3, 16, 112, 112], out_channels: 64, kernel_size: 3, padding: (0, 1, 7..0), dilation: (1, 2, 1) }",
    );
}
