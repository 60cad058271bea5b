use super::*;

/// A convolution with its normalization, as every network has them, beside a shortcut.
pub(super) fn block() -> ModelProto {
    let nodes = vec![
        node("Conv", &["x", "net.conv1.weight"], "a", vec![ints("pads", &[1, 1, 1, 1])]),
        node("BatchNormalization", &["a", "scale", "bias", "mean", "var"], "b", vec![]),
        node("Relu", &["b"], "c", vec![]),
        node("Conv", &["c", "net.conv2.weight", "net.conv2.bias"], "d", vec![]),
        node("Add", &["d", "x"], "e", vec![]),
        node("Sigmoid", &["e"], "f", vec![]),
        node("Mul", &["e", "f"], "y", vec![]),
    ];
    let constants = vec![
        some("net.conv1.weight", &[4, 3, 3, 3]),
        some("net.conv2.weight", &[3, 4, 1, 1]),
        some("net.conv2.bias", &[3]),
        floats("scale", &[4], &[1.0, 2.0, 3.0, 4.0]),
        floats("bias", &[4], &[0.5; 4]),
        floats("mean", &[4], &[1.0; 4]),
        floats("var", &[4], &[4.0; 4]),
    ];
    model(&[("x", &[1, 3, 8, 8])], nodes, constants, &["y"])
}

#[test]
fn what_follows_a_convolution_becomes_part_of_it() {
    let imported = imported(&block());
    let expected = "\
// From ONNX, version 13 of its operators.
// Input x: [1, 3, 8, 8]
// Output y: [1, 3, 8, 8]
network tiny {
    input: f32[1, 3, 8, 8] @ nchw,

    conv2d conv1 { out_channels: 4, kernel_size: 3, padding: 1, bias: true, then: relu }
    conv2d conv2 { out_channels: 3, kernel_size: 1, bias: true, then: [residual(input), silu] }
}
";
    assert_eq!(imported.text, expected);
    let names: Vec<_> = imported.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    assert_eq!(names, ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"]);
    // 0.5 - 1 * factor, where the factor is scale / sqrt(4 + 1e-5).
    let bias = &imported.parameters[1].values;
    for (channel, expected) in [0.0, -0.5, -1.0, -1.5].into_iter().enumerate() {
        assert!((bias[channel] - expected).abs() < 1e-5, "{bias:?}");
    }
}

#[test]
fn texts_are_as_one_would_write_them() {
    let named = |name: &str, node: NodeProto| NodeProto { name: name.to_owned(), ..node };
    // A block with a gate, as mobile networks have them, with names of PyTorch.
    let nodes = vec![
        named(
            "/features/0/Conv",
            node("Conv", &["image", "features.0.weight"], "a", vec![ints("strides", &[2, 2]), ints("pads", &[1; 4])]),
        ),
        node("HardSwish", &["a"], "b", vec![]),
        node("Conv", &["b", "features.1.block.0.weight"], "c", vec![int("group", 8), ints("pads", &[1; 4])]),
        node("Relu", &["c"], "d", vec![]),
        named("/features/1/se/GlobalAveragePool", node("GlobalAveragePool", &["d"], "e", vec![])),
        node("Conv", &["e", "features.1.se.fc1.weight", "features.1.se.fc1.bias"], "f", vec![]),
        node("Relu", &["f"], "g", vec![]),
        node("Conv", &["g", "features.1.se.fc2.weight"], "h", vec![]),
        node("HardSigmoid", &["h"], "i", vec![]),
        named("/features/1/se/Mul", node("Mul", &["i", "d"], "j", vec![])),
        node("Conv", &["j", "features.1.block.2.weight"], "k", vec![]),
        node("Add", &["k", "b"], "l", vec![]),
        node("ReduceMean", &["l"], "m", vec![ints("axes", &[2, 3]), int("keepdims", 0)]),
        node("Gemm", &["m", "classifier.weight", "classifier.bias"], "logits", vec![int("transB", 1)]),
    ];
    let constants = vec![
        some("features.0.weight", &[8, 3, 3, 3]),
        some("features.1.block.0.weight", &[8, 1, 3, 3]),
        some("features.1.se.fc1.weight", &[2, 8, 1, 1]),
        some("features.1.se.fc1.bias", &[2]),
        some("features.1.se.fc2.weight", &[8, 2, 1, 1]),
        some("features.1.block.2.weight", &[8, 8, 1, 1]),
        some("classifier.weight", &[10, 8]),
        some("classifier.bias", &[10]),
    ];
    insta::assert_snapshot!(
        "gated",
        imported(&model(&[("image", &[2, 3, 32, 32])], nodes, constants, &["logits"])).text
    );
    // Two inputs whose channels are last, two outputs.
    let last = |from: &str, to: &str| node("Transpose", &[from], to, vec![ints("perm", &[0, 3, 1, 2])]);
    let nodes = vec![
        last("left:0", "a"),
        last("right:0", "b"),
        node("Concat", &["a", "b"], "c", vec![int("axis", 1)]),
        node("Conv", &["c", "w1"], "d", vec![word("auto_pad", "SAME_UPPER")]),
        node("Resize", &["d", "", "twice"], "e", vec![]),
        node("Transpose", &["e"], "large", vec![ints("perm", &[0, 2, 3, 1])]),
        node("Softmax", &["d"], "f", vec![int("axis", 1)]),
        node("Transpose", &["f"], "mask", vec![ints("perm", &[0, 2, 3, 1])]),
    ];
    let constants = vec![some("w1", &[5, 4, 3, 3]), floats("twice", &[4], &[1.0, 1.0, 2.0, 2.0])];
    let inputs: [(&str, &[i64]); 2] = [("left:0", &[1, 9, 9, 3]), ("right:0", &[1, 9, 9, 1])];
    insta::assert_snapshot!("two_of_each", imported(&model(&inputs, nodes, constants, &["large", "mask"])).text);
}

#[test]
fn names_that_are_no_words_become_such() {
    for (name, expected) in [
        ("relu", "relu "),
        ("conv2d", "conv2d "),
        ("fn", "fn1 "),
        ("1", "relu "),
        ("a b/c:0", "c "),
        ("é\n`}", "relu "),
    ] {
        let relu = NodeProto { name: name.to_owned(), ..node("Relu", &["x"], "1", vec![]) };
        let text = imported(&model(&[("x", &[1, 3, 8, 8])], vec![relu], vec![], &["1"])).text;
        assert!(text.contains(&format!("elementwise {expected}")), "{name}: {text}");
    }
}
