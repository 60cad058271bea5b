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
fn what_cannot_be_is_said() {
    let message = |model: &ModelProto| try_import(model).unwrap_err().to_string();
    let one = |op: &str| model(&[("x", &[1, 3, 8, 8])], vec![node(op, &["x"], "y", vec![])], vec![], &["y"]);
    let unknown = message(&one("Hardmax"));
    assert!(unknown.starts_with("there is no translation of the operator Hardmax (the node that makes `y`, which takes `x` [1, 3, 8, 8]); known are Abs, Add,"), "{unknown}");
    let size = model(&[("x", &[1, 3, -7, 8])], vec![node("Relu", &["x"], "y", vec![])], vec![], &["y"]);
    assert_eq!(
        message(&size),
        "the size of axis 2 of the input `x` is not in the model: give it, such as `--size s7=224`"
    );
}
