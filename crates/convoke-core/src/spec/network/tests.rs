use super::*;
use crate::diagnostic::Diagnostic;
use crate::front;
use crate::spec::Limits;

fn networks(text: &str) -> Result<Vec<NetworkSpec>, Vec<Diagnostic>> {
    front::contents(text, &Limits::default(), &[("H", 24), ("W", 32)]).map(|contents| contents.networks)
}

fn network(text: &str) -> NetworkSpec {
    match networks(text) {
        Ok(mut all) if all.len() == 1 => all.remove(0),
        other => panic!("{other:#?}\n{text}"),
    }
}

fn refused(text: &str) -> String {
    networks(text).expect_err(text)[0].message.clone()
}

const LENET: &str = "
network lenet {
    input: f32[N, 1, 28, 28],
    conv2d c1 { out_channels: 6, kernel_size: 5, padding: 2, bias: true, then: relu }
    avg_pool2d s2 { kernel_size: 2 }
    conv2d c3 { out_channels: 16, kernel_size: 5, bias: true, then: relu }
    avg_pool2d s4 { kernel_size: 2 }
    flatten features { }
    linear f5 { out_channels: 120, bias: true, then: relu }
    linear f6 { out_channels: 84, bias: true, then: relu }
    linear classes { out_channels: 10, bias: true, then: softmax }
}";

/// Branches, residuals, parts of channels, several inputs and outputs, every kind of layer.
const GRAPH: &str = "
network graph {
    inputs: [image: f32[2, H, W, 3] @ nhwc, more: f32[2, 12, 16, 8] @ nhwc],
    conv2d stem { input: image, out_channels: 8, kernel_size: 3, stride: 2, padding: 1 }
    conv2d left { out_channels: 8, kernel_size: 1, then: [relu, residual(more)] }
    conv2d right { input: stem, out_channels: 4, kernel_size: 3, padding: same, then: [scale, shift] }
    concat both { inputs: [left, right, stem] }
    slice part { channels: 3..11 }
    add sum { inputs: [part, stem], then: [relu, mul(0.5)] }
    elementwise active { input: both, then: [sigmoid, residual(both)] }
    conv_transpose2d up { input: sum, out_channels: 2, kernel_size: 2, stride: 2 }
    outputs: [up, active, sum],
}";

/// What moves elements, and what joins two values.
const MOVING: &str = "
network moving {
    input: f32[N, 6, 4, 8] @ nhwc,
    preprocess: [resize(8), crop(6, 4), mul(255), mean(0.5), std(1, 2, 3, 4, 5, 6, 7, 8)],
    resize big { scale: (2, 3) }
    pad edge { padding: (1..2, 0..3), value: 0.5 }
    slice some { input: big, channels: 1..5, height: 0..4, width: 1..12, stride: (1, 2) }
    lrn near { input: input, size: 5, alpha: 0.0001, k: 2 }
    concat high { inputs: [near, input], axis: 1 }
    transpose turned { input: near, axes: (0, 2, 3, 1) }
    reorder first { input: near, layout: nchw }
    avg_pool2d pooled { input: input, kernel_size: global }
    mul gated { inputs: [input, pooled], then: [relu, residual(near)] }
    quantize_dynamic levels { input: gated }
    add raised { inputs: [gated, pooled], then: pow(0.5) }
    conv2d weighed { out_channels: 8, kernel_size: 1, then: multiply(raised) }
    reshape grouped { input: first, to: f32[N, 2, 4, 24] }
    resize smooth { input: big, to: (5, H), mode: linear }
    resize wide { input: big, scale: (1.3, 2), mode: linear, align: half_pixel_symmetric }
    resize other { input: big, to: 7x9, align: asymmetric, round: floor }
    outputs: [edge, some, high, turned, weighed, grouped, levels],
}";

#[test]
fn sizes_follow_from_the_input() {
    let net = network(LENET);
    let shapes: Vec<_> = net.values.iter().map(|value| format!("{} {}", value.name, value.shape)).collect();
    let expected = [
        "input f32[N, 1, 28, 28] @ nchw",
        "c1 f32[N, 6, 28, 28] @ nchw",
        "s2 f32[N, 6, 14, 14] @ nchw",
        "c3 f32[N, 16, 10, 10] @ nchw",
        "s4 f32[N, 16, 5, 5] @ nchw",
        "features f32[N, 400, 1] @ ncl",
        "f5 f32[N, 120, 1] @ ncl",
        "f6 f32[N, 84, 1] @ ncl",
        "classes f32[N, 10, 1] @ ncl",
    ];
    assert_eq!(shapes, expected);
    assert_eq!(net.parameters_len(), 156 + 2_416 + 48_120 + 10_164 + 850);
    assert_eq!((net.inputs, net.outputs.as_slice()), (1, &[8][..]));
}

#[test]
fn values_are_named() {
    let net = network(GRAPH);
    let inputs: Vec<_> = net.nodes.iter().map(|node| node.inputs.as_slice()).collect();
    let expected: [&[usize]; 8] = [&[0], &[2, 1], &[2], &[3, 4, 2], &[5], &[6, 2], &[5, 5], &[7]];
    assert_eq!(inputs, expected);
    assert_eq!(net.outputs, [9, 8, 7]);
    assert_eq!(net.values[5].shape.to_string(), "f32[2, 12, 16, 20] @ nhwc");
    assert_eq!(net.values[6].shape.to_string(), "f32[2, 12, 16, 8] @ nhwc");
}

#[test]
fn a_text_reads_back() {
    for text in [LENET, GRAPH, MOVING] {
        let net = network(text);
        assert_eq!(network(&net.to_string()), net, "{net}");
    }
    insta::assert_snapshot!(network(GRAPH).to_string());
}

/// The sizes, and the fields as they are written back.
#[test]
fn images_get_other_sizes() {
    for (layer, shape, fields) in [
        ("scale: 2", "[2, 3, 8, 10]", "scale: (2, 2),"),
        ("to: (8, 10)", "[2, 3, 8, 10]", "scale: (2, 2),"),
        ("scale: (2.0, 3.0), align: asymmetric, round: floor", "[2, 3, 8, 15]", "scale: (2, 3),"),
        ("to: (4, 5), mode: linear, align: corners", "[2, 3, 4, 5]", "scale: (1, 1),"),
        ("scale: 2, mode: linear", "[2, 3, 8, 10]", "to: (8, 10), mode: linear, align: half_pixel,"),
        (
            "scale: (0.5, 2), mode: linear, align: corners",
            "[2, 3, 2, 10]",
            "to: (2, 10), mode: linear, align: corners,",
        ),
        ("scale: 0.7, mode: linear", "[2, 3, 2, 3]", "scale: (0.7, 0.7), mode: linear, align: half_pixel,"),
        (
            "scale: (2, 1.5)",
            "[2, 3, 8, 7]",
            "scale: (2.0, 1.5), mode: nearest, align: half_pixel, round: round_prefer_floor,",
        ),
        ("to: 6x1, round: ceil", "[2, 3, 6, 1]", "to: (6, 1), mode: nearest, align: half_pixel, round: ceil,"),
        (
            "scale: 2, align: corners",
            "[2, 3, 8, 10]",
            "to: (8, 10), mode: nearest, align: corners, round: round_prefer_floor,",
        ),
    ] {
        let net = network(&format!("network net {{ input: f32[2, 3, 4, 5], resize a {{ {layer} }} }}"));
        assert_eq!(net.values[1].shape.to_string(), format!("f32{shape} @ nchw"), "{layer}");
        let text = net.to_string();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        assert_eq!(lines[4..lines.len() - 3].join(" "), fields, "{layer}");
        assert_eq!(network(&text), net, "{layer}");
    }
    let net = network("network net { input: f16[1, 5, 6, 7, 3] @ ndhwc, resize a { to: (2, 12, 8), mode: linear } }");
    assert_eq!(net.values[1].shape.to_string(), "f16[1, 2, 12, 8, 3] @ ndhwc");
    let net = network("network net { input: f32[1, 3, 10], resize a { to: 7, mode: linear } }");
    assert_eq!(network(&net.to_string()), net);
}

#[test]
fn what_does_not_fit_is_refused() {
    let net = |body: &str| format!("network net {{ input: f32[1, 3, 8, 8], {body} }}");
    let stem = "conv2d a { out_channels: 4, kernel_size: 3 }";
    for (body, message) in [
        ("conv2d a { input: b, out_channels: 4, kernel_size: 3 }", "there is no value `b`"),
        (
            "conv2d a { input: b, out_channels: 4, kernel_size: 3 } conv2d b { out_channels: 4, kernel_size: 3 }",
            "there is no value `b`",
        ),
        ("conv2d a { out_channels: 4, kernel_size: 9 }", "the kernel reaches past the padded input"),
        ("conv1d a { out_channels: 4, kernel_size: 3 }", "the layout `nchw` is not for conv1d"),
        ("conv2d input { out_channels: 4, kernel_size: 3 }", "the name `input` is taken"),
        ("conv2d fn { out_channels: 4, kernel_size: 3 }", "`fn` cannot be a name"),
        (
            "conv2d a { input: f32[1, 3, 8, 8], out_channels: 4, kernel_size: 3 }",
            "a layer of a network takes a value, and this is a type",
        ),
        (
            "conv2d a { out_channels: 3, kernel_size: 1, then: residual }",
            "`residual` does not say which value it takes",
        ),
        (
            "conv2d a { out_channels: 4, kernel_size: 1, then: residual(input) }",
            "only tensors of one type can be added or multiplied: one is f32[1, 4, 8, 8] @ nchw, the other f32[1, 3, 8, 8] @ nchw",
        ),
        (
            "conv2d a { out_channels: 4, kernel_size: 3 } concat b { inputs: [a, input] }",
            "only tensors that differ in their channels alone can be joined: one is f32[1, 4, 6, 6] @ nchw, the other f32[1, 3, 8, 8] @ nchw",
        ),
        ("concat a { inputs: [input] }", "`concat` takes two or more values, here are 1"),
        ("add a { inputs: [input, input, input] }", "`add` takes two values, here are 3"),
        ("slice a { }", "slice `a` does not say what it takes"),
        ("slice a { channels: 2..4 }", "channels 2..4 of 3"),
        ("slice a { channels: 2 }", "`channels` takes a range such as `0..16`, not a number"),
        ("slice a { channels: 0..2, length: 0..3 }", "a value f32[1, 3, 8, 8] @ nchw has no length"),
        ("slice a { height: 4..9 }", "height 4..9 of 8"),
        ("slice a { height: 4..6, stride: (1, 2, 3) }", "a slice has 2 axes, here are 3"),
        ("pad a { }", "pad `a` has no `padding`"),
        ("pad a { padding: same }", "`padding` takes numbers, or pairs lo..hi, not a word"),
        ("pad a { padding: 1, value: x }", "`value` takes a number, not a word"),
        ("transpose a { axes: (0, 1, 2) }", "`axes` does not name each of 4 sizes once, the batch first"),
        ("transpose a { axes: (1, 0, 2, 3) }", "`axes` does not name each of 4 sizes once, the batch first"),
        ("transpose a { }", "transpose `a` has no `axes`"),
        ("reorder a { layout: nlc }", "the value has no such layout"),
        ("reorder a { }", "reorder `a` has no `layout`"),
        ("resize a { }", "resize `a` has no `scale`"),
        ("resize a { scale: 0 }", "`scale` may not be 0"),
        ("resize a { scale: 2, to: (8, 8) }", "`resize` takes a `scale` or the sizes `to` which it scales, not both"),
        ("resize a { scale: (1.5, 2, 2) }", "`scale` takes one number or 2, here are 3"),
        ("resize a { scale: (1.5, x) }", "`scale` takes numbers, not a word"),
        ("resize a { scale: 0.1 }", "`scale` makes of 8 elements from 1 to 2147483647, and 0.1 does not"),
        ("resize a { scale: -1.5 }", "`scale` makes of 8 elements from 1 to 2147483647, and -1.5 does not"),
        ("resize a { scale: (2, 1e30) }", "`scale` makes of 8 elements from 1 to 2147483647, and 1e30 does not"),
        ("resize a { to: (0, 8) }", "`to` may not be 0"),
        ("resize a { to: (4, 4, 4) }", "a resize has 2 axes, here are 3"),
        ("resize a { to: 2000000000 }", "the value has 48000000000000000000 bytes, and the limit is 8589934592"),
        ("resize a { to: 9, mode: cubic }", "there is no mode `cubic`"),
        ("resize a { to: 9, align: center }", "there is no align `center`"),
        ("resize a { to: 9, round: up }", "there is no round `up`"),
        (
            "resize a { to: 9, mode: linear, round: floor }",
            "`round` says which element is the nearest, and `mode: linear` takes both",
        ),
        ("resize a { to: 9, antialias: true }", "resize `a` has no field `antialias`"),
        ("resize a { scale: 1000000 }", "the value has 768000000000000 bytes, and the limit is 8589934592"),
        ("reshape a { }", "reshape `a` has no `to`"),
        (
            "reshape a { to: f32[1, 200] }",
            "only a tensor of the same elements, type and batch can be seen as another: one is f32[1, 3, 8, 8] @ nchw, the other f32[1, 200, 1] @ ncl",
        ),
        (
            "reshape a { to: f32[3, 64] }",
            "only a tensor of the same elements, type and batch can be seen as another: one is f32[1, 3, 8, 8] @ nchw, the other f32[3, 64, 1] @ ncl",
        ),
        ("concat a { inputs: [input, input], axis: 0 }", "there is no size 0 among 4"),
        (
            "concat a { inputs: [input, input], axis: height }",
            "`axis` takes the number of a size, as in `axis: 1`, not a word",
        ),
        (
            "conv2d a { out_channels: 4, kernel_size: 1 } concat b { inputs: [a, input], axis: 2 }",
            "only tensors that differ along that axis alone can be joined: one is f32[1, 4, 8, 8] @ nchw, the other f32[1, 3, 8, 8] @ nchw",
        ),
        ("lrn a { }", "`size` is a whole number of neighbouring channels from 1 on, not 0"),
        ("lrn a { size: 5, beta: 0.7 }", "the exponent of `pow` may not be -0.7"),
        ("lrn a { size: 5, alpha: x }", "`alpha` takes a number, not a word"),
        ("quantize_dynamic a { levels: 16 }", "quantize_dynamic `a` has no field `levels`"),
        ("quantize_dynamic a { then: relu }", "quantize_dynamic `a` has no field `then`"),
        ("quantize_dynamic a { input: b }", "there is no value `b`"),
        ("quantize_dynamic a { input: f32[1, 8] }", "a layer of a network takes a value, and this is a type"),
        ("mul a { inputs: [input] }", "`mul` takes two values, here are 1"),
        (
            "mul a { inputs: [input, input], then: residual(input) }",
            "the steps behind two values take none of their own",
        ),
        (
            "conv2d a { out_channels: 3, kernel_size: 1, then: multiply }",
            "`multiply` does not say which value it takes",
        ),
        (
            "conv2d a { out_channels: 3, kernel_size: 1, then: [residual(input), multiply(input)] }",
            "`then` takes 2 tensors",
        ),
        ("linear a { out_channels: 4 }", "`linear` takes one element a channel, here are 64"),
        ("flatten b { } linear a { out_channels: 4, kernel_size: 1 }", "linear `a` has no field `kernel_size`"),
        ("flatten a { axis: 1 }", "flatten `a` has no field `axis`"),
        ("dense a { out_channels: 4 }", "there is no kind of layer `dense`"),
        ("max_pool2d a { kernel_size: 2, return_indices: true }", "networks have no such layer yet"),
        ("preprocess: crop(9, 8), flatten a { }", "the steps end with 9 x 8 pixels, and the input has 8 x 8"),
        (
            "preprocess: [mean(1, 2)], flatten a { }",
            "`mean` takes a number for each of 3 channels, or one, and here are 2",
        ),
        ("preprocess: [std(1, 0, 1)], flatten a { }", "`std` divides, and one of its numbers is 0"),
        ("preprocess: [crop(0)], flatten a { }", "`crop` takes one or two sizes from 1 to 65535"),
        ("preprocess: [bgr(1)], flatten a { }", "`bgr` takes no numbers"),
        ("preprocess: [mul(x)], flatten a { }", "`mul` takes numbers"),
        (
            "preprocess: [blur], flatten a { }",
            "there is no step `blur`; there are `resize(256)`, `resize(224, 224)`, `crop(224)`, `bgr`, `mul(255)`, `mean(0.5)` and `std(0.5)`",
        ),
        ("", "network `net` has no layers"),
        (&format!("stride: 2, {stem}"), "a network has no field `stride`"),
        (&format!("{stem} output: c"), "there is no value `c`"),
        (&format!("{stem} output: a, outputs: [a]"), "`outputs` stands twice"),
    ] {
        let found = refused(&net(body));
        assert_eq!(found, message, "{body}");
    }
    assert_eq!(refused("network net { conv2d a { out_channels: 4, kernel_size: 3 } }"), "network `net` has no `input`");
    assert_eq!(
        refused("network net { input: f32[3], conv2d a { out_channels: 4, kernel_size: 3 } }"),
        "a value of a network has 2 to 5 sizes, here are 1"
    );
    assert_eq!(refused("network { input: f32[1, 3, 8, 8] }"), "the network has no name");
    assert_eq!(
        refused(&format!("network net {{ input: f32[1, 3, 8, 8] {stem} }}")),
        "expected `,` after the value of `input`"
    );
    assert_eq!(refused(&format!("network net {{ input: f32[1, 3, 8, 8], {stem}")), "the `{` is never closed");
    let one = "network net { input: f32[1, 3, 8, 8], conv2d a { out_channels: 4, kernel_size: 3 } }";
    assert_eq!(refused(&format!("{one} {one}")), "the name `net` is taken");
    let layer = "conv1d net { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 }";
    assert_eq!(refused(&format!("{layer} {one}")), "the name `net` is taken");
    let large = "network net { input: f32[1, 100000, 100000, 3] @ nhwc, slice a { channels: 0..1 } }";
    assert_eq!(refused(large), "the value has 120000000000 bytes, and the limit is 8589934592");
    assert_eq!(
        refused("network net { input: u8[1, 3, 8, 8], max_pool2d a { kernel_size: 2 } }"),
        "networks of integers are not there yet"
    );
    let two = "network net { inputs: [a: f32[1, 3, 8, 8], b: f64[1, 3, 8, 8]], add c { inputs: [a, b] } }";
    assert_eq!(refused(two), "the inputs of a network have one type and one batch");
    let block = "network net { input: f32[1, 24, 8, 8] @ nChw16c, slice a { channels: 0..8 } }";
    assert_eq!(refused(block), "channels in blocks cannot be cut or joined between two blocks' borders");
}

#[test]
fn layers_alone_are_no_networks() {
    let diagnostics = front::layers(LENET, &Limits::default()).unwrap_err();
    assert_eq!(diagnostics[0].message, "a network stands among layers");
}
