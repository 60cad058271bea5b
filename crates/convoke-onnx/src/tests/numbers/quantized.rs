//! `DynamicQuantizeLinear` and what takes its outputs, beside sums of whole numbers.

use super::*;

/// The whole numbers, less their zero point, and the scale: ONNX's definition in `f32`.
fn levels(x: &Tensor) -> (Tensor, f64) {
    let x = x.map(|x| f64::from(x as f32));
    let least = x.values.iter().fold(0.0_f32, |least, &x| least.min(x as f32));
    let most = x.values.iter().fold(0.0_f32, |most, &x| most.max(x as f32));
    let scale = (most - least) / 255.0;
    let zero = (-least / scale).round_ties_even();
    let level = |x: f64| ((x as f32 / scale).round_ties_even() + zero).clamp(0.0, 255.0) - zero;
    (x.map(|x| f64::from(level(x))), f64::from(scale))
}

/// A constant of bytes.
fn bytes(name: &str, dims: &[i64], values: &[i32], is_signed: bool) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: if is_signed { 3 } else { 2 },
        int32_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// Bytes that are no pattern, as a tensor too.
fn some_bytes(dims: &[usize], seed: usize, is_signed: bool) -> (Tensor, Vec<i32>) {
    let tensor = Tensor::some(dims, seed).map(|x| (x * 60.0).round() + if is_signed { 0.0 } else { 100.0 });
    let values = tensor.values.iter().map(|&x| x as i32).collect();
    (tensor, values)
}

/// The node that quantizes `x` into `q`, `s` and `z`.
fn quantize(x: &str) -> NodeProto {
    let output = ["q", "s", "z"].map(str::to_owned).to_vec();
    NodeProto { output, ..node("DynamicQuantizeLinear", &[x], "", vec![]) }
}

/// What is multiplied with the scales behind whole numbers `i`.
fn behind(scale: &'static str) -> Vec<NodeProto> {
    vec![
        node("Mul", &["s", scale], "both", vec![]),
        node("Cast", &["i"], "f", vec![int("to", 1)]),
        node("Mul", &["f", "both"], "y", vec![]),
    ]
}

/// A convolution with a zero point for all weights, or for each output channel; with padding, which is that of zeros.
#[test]
fn convolutions_of_whole_numbers() {
    for (is_signed, each) in [(false, false), (true, true), (true, false)] {
        let x = Tensor::some(&[1, 2, 5, 5], 1);
        let (weights, values) = some_bytes(&[3, 2, 3, 3], 2, is_signed);
        let (zero, zeros) = if each { (vec![3], vec![4, -7, 0]) } else { (vec![], vec![9]) };
        let scales = if each { vec![0.25, 0.5, 0.125] } else { vec![0.25] };
        let (level, scale) = levels(&x);
        let of = |all: &[f64], channel: usize| if each { all[channel] } else { all[0] };
        let zero_of = |channel: usize| of(&zeros.iter().map(|&zero| f64::from(zero)).collect::<Vec<_>>(), channel);
        let expected = Tensor::of(&[1, 3, 5, 5], |at| {
            let mut sum = 0.0;
            for (c, kh, kw) in (0..18).map(|tap| (tap / 9, tap / 3 % 3, tap % 3)) {
                let (h, w) = (at[2] + kh, at[3] + kw);
                if (1..6).contains(&h) && (1..6).contains(&w) {
                    let weight = weights.at(&[at[1], c, kh, kw]) - zero_of(at[1]);
                    sum += level.at(&[0, c, h - 1, w - 1]) * weight;
                }
            }
            sum * scale * of(&scales, at[1])
        });
        let mut nodes =
            vec![quantize("x"), node("ConvInteger", &["q", "w", "z", "wz"], "i", vec![ints("pads", &[1; 4])])];
        nodes.extend(behind("ws"));
        let scale_dims: &[i64] = if each { &[3, 1, 1] } else { &[] };
        let constants = vec![
            bytes("w", &[3, 2, 3, 3], &values, is_signed),
            bytes("wz", &zero, &zeros, is_signed),
            floats("ws", scale_dims, &scales.iter().map(|&x| x as f32).collect::<Vec<_>>()),
        ];
        Case::new(&[&x], nodes, constants).makes(&expected, &["quantize_dynamic quantized {}", "padding: 1"]);
    }
}

/// Rows times a matrix, one scale a column, and a sum behind it: a graph whose rows look like images is one image of rows.
#[test]
fn products_with_matrices_of_whole_numbers() {
    let x = Tensor::some(&[4, 6], 3);
    let (weights, values) = some_bytes(&[6, 3], 4, true);
    let (level, scale) = levels(&x);
    let (scales, bias) = ([0.5, 0.25, 2.0], [1.0, -2.0, 0.5]);
    let expected = Tensor::of(&[4, 3], |at| {
        let sum: f64 = (0..6).map(|k| level.at(&[at[0], k]) * weights.at(&[k, at[1]])).sum();
        sum * scale * scales[at[1]] + bias[at[1]]
    });
    let mut nodes = vec![quantize("x"), node("MatMulInteger", &["q", "w", "z"], "i", vec![])];
    nodes.extend(behind("ws"));
    nodes[4].output = vec!["p".to_owned()];
    nodes.push(node("Add", &["p", "b"], "y", vec![]));
    let constants = vec![
        bytes("w", &[6, 3], &values, true),
        floats("ws", &[3], &scales.map(|x| x as f32)),
        floats("b", &[3], &bias.map(|x| x as f32)),
    ];
    Case::new(&[&x], nodes, constants).makes(&expected, &["quantize_dynamic", "bias: true"]);
}

/// Images whose scale is that of both are rows of one.
#[test]
fn images_of_one_scale_are_rows() {
    let x = Tensor::some(&[2, 3, 5], 12);
    let (weights, values) = some_bytes(&[4, 3, 1], 13, true);
    let (level, scale) = levels(&x);
    let expected = Tensor::of(&[2, 4, 5], |at| {
        (0..3).map(|c| level.at(&[at[0], c, at[2]]) * weights.at(&[at[1], c, 0])).sum::<f64>() * scale * 0.5
    });
    let mut nodes = vec![quantize("x"), node("ConvInteger", &["q", "w", "z"], "i", vec![])];
    nodes.extend(behind("ws"));
    let constants = vec![bytes("w", &[4, 3, 1], &values, true), floats("ws", &[1], &[0.5])];
    Case::new(&[&x], nodes, constants).makes(&expected, &["quantize_dynamic quantized {}"]);
}

/// A bias over the scales, rounded to a whole number, is the bias.
#[test]
fn biases_of_whole_numbers_are_as_they_were() {
    let x = Tensor::some(&[1, 2, 4], 5);
    let (weights, values) = some_bytes(&[2, 2, 1], 6, false);
    let (level, scale) = levels(&x);
    let bias = [0.75, -1.5];
    let expected = Tensor::of(&[1, 2, 4], |at| {
        let weight = |c: usize| weights.at(&[at[1], c, 0]) - 100.0;
        (0..2).map(|c| level.at(&[0, c, at[2]]) * weight(c)).sum::<f64>() * scale * 0.5 + bias[at[1]]
    });
    let mut nodes = vec![
        quantize("x"),
        node("ConvInteger", &["q", "w", "z", "wz"], "c", vec![]),
        node("Mul", &["s", "ws"], "over", vec![]),
        node("Div", &["b", "over"], "d", vec![]),
        node("Floor", &["d"], "r", vec![]),
        node("Cast", &["r"], "bi", vec![int("to", 6)]),
        node("Reshape", &["bi", "shape"], "bs", vec![]),
        node("Add", &["c", "bs"], "i", vec![]),
    ];
    nodes.extend(behind("ws"));
    let constants = vec![
        bytes("w", &[2, 2, 1], &values, false),
        bytes("wz", &[], &[100], false),
        floats("ws", &[], &[0.5]),
        floats("b", &[2], &bias.map(|x| x as f32)),
        integers("shape", &[1, -1, 1]),
    ];
    Case::new(&[&x], nodes, constants).makes(&expected, &["quantize_dynamic", "bias: true"]);
}

/// What the graph's outputs would be of such nodes; the last makes `y`.
fn refused(dims: &[i64], nodes: Vec<NodeProto>) -> String {
    let (_, values) = some_bytes(&[3, 2, 1], 7, true);
    let constants = vec![
        bytes("w", &[3, 2, 1], &values, true),
        TensorProto { data_type: 6, ..bytes("wide", &[3, 2, 1], &values, true) },
        bytes("wz", &[2], &[1, 2], true),
        floats("ws", &[], &[0.5]),
    ];
    let model = model(&[("x", dims)], [vec![quantize("x")], nodes].concat(), constants, &["y"]);
    let error = try_import(&model).map(|imported| imported.text).expect_err("it is refused").to_string();
    error.rsplit("): ").next().unwrap_or_default().to_owned()
}

#[test]
fn other_uses_are_refused() {
    let again = NodeProto {
        output: ["q2", "s2", "z2"].map(str::to_owned).to_vec(),
        ..node("DynamicQuantizeLinear", &["x"], "", vec![])
    };
    let conv = |inputs: &[&str], output: &str| node("ConvInteger", inputs, output, vec![]);
    let sum = || conv(&["q", "w", "z"], "i");
    let all = [
        ("whole numbers", vec![node("Identity", &["q"], "y", vec![])]),
        ("the scale", vec![node("Identity", &["s"], "y", vec![])]),
        ("the scale and a value", vec![node("Add", &["x", "s"], "y", vec![])]),
        ("the zero point and a value", vec![node("Mul", &["x", "z"], "y", vec![])]),
        ("steps of whole numbers", vec![node("Relu", &["q"], "y", vec![])]),
        ("a power of the scale", vec![node("Mul", &["s", "s"], "y", vec![])]),
        ("whole sums and the scale", vec![sum(), node("Mul", &["i", "s"], "y", vec![])]),
        ("whole sums as bytes", vec![sum(), node("Cast", &["i"], "y", vec![int("to", 2)])]),
        ("no zero point", vec![conv(&["q", "w"], "y")]),
        ("a value", vec![conv(&["x", "w", "z"], "y")]),
        ("no symbols", vec![conv(&["x", "w"], "y")]),
        ("another zero point", vec![again.clone(), conv(&["q", "w", "z2"], "y")]),
        ("two scales", vec![again, node("Mul", &["s", "s2"], "y", vec![])]),
        ("weights that are the same", vec![conv(&["q", "q", "z"], "y")]),
        ("wide weights", vec![conv(&["q", "wide", "z"], "y")]),
        ("few zero points", vec![conv(&["q", "w", "z", "wz"], "y")]),
        (
            "rounded sums",
            vec![sum(), node("Cast", &["i"], "f", vec![int("to", 1)]), node("Floor", &["f"], "y", vec![])],
        ),
    ];
    let all = all.map(|(what, nodes)| format!("{what}: {}", refused(&[1, 2, 4], nodes)));
    let images = refused(&[2, 2, 4], vec![node("Identity", &["s"], "y", vec![])]);
    insta::assert_snapshot!(format!("{}\ntwo images: {images}", all.join("\n")));
}

/// The signal is quantized once, and the hidden states at each position.
#[test]
fn lstm_of_whole_numbers() {
    let (positions, channels, hidden) = (4, 3, 2);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    for (direction, ways, each) in [("forward", 1, false), ("bidirectional", 2, true), ("reverse", 1, true)] {
        let x = Tensor::some(&[positions, 1, channels], 8);
        let (w, w_values) = some_bytes(&[ways, channels, 4 * hidden], 9, true);
        let (r, r_values) = some_bytes(&[ways, hidden, 4 * hidden], 10, true);
        let b = Tensor::some(&[ways, 8 * hidden], 11);
        let count = if each { ways * 4 * hidden } else { ways };
        let scales: Vec<f32> = (0..count).map(|i| 0.01 + 0.002 * i as f32).collect();
        let scale_of = |way: usize, g: usize| f64::from(scales[if each { way * 4 * hidden + g } else { way }]);
        let (level, scale) = levels(&x);
        let mut y = Tensor::of(&[positions, ways, 1, hidden], |_| 0.0);
        for way in 0..ways {
            let (mut h, mut c) = (Tensor::of(&[hidden], |_| 0.0), vec![0.0; hidden]);
            for i in 0..positions {
                let t = if direction == "reverse" || way == 1 { positions - 1 - i } else { i };
                let (h_level, h_scale) = if i == 0 { (h.clone(), 1.0) } else { levels(&h) };
                let gate = |g: usize| {
                    let of_x: f64 = (0..channels).map(|k| level.at(&[t, 0, k]) * w.at(&[way, k, g])).sum();
                    let of_h: f64 = (0..hidden).map(|k| h_level.at(&[k]) * r.at(&[way, k, g])).sum();
                    let bias = b.at(&[way, g]) + b.at(&[way, 4 * hidden + g]);
                    (of_x * scale + of_h * h_scale) * scale_of(way, g) + bias
                };
                for (k, c) in c.iter_mut().enumerate() {
                    let [input, output, forget] = [0, 1, 2].map(|at| sigmoid(gate(at * hidden + k)));
                    *c = forget * *c + input * gate(3 * hidden + k).tanh();
                    y.values[(t * ways + way) * hidden + k] = output * c.tanh();
                }
                h.values.copy_from_slice(&y.values[(t * ways + way) * hidden..][..hidden]);
            }
        }
        let inputs = ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"];
        let attributes = vec![word("direction", direction), int("hidden_size", hidden as i64)];
        let lstm =
            NodeProto { domain: "com.microsoft".to_owned(), ..node("DynamicQuantizeLSTM", &inputs, "y", attributes) };
        let sizes = |rows: usize| [ways as i64, rows as i64, 4 * hidden as i64];
        let scale_dims: &[i64] = if each { &[ways as i64, 4 * hidden as i64] } else { &[ways as i64] };
        let zeros = vec![0; count];
        let constants = vec![
            bytes("w", &sizes(channels), &w_values, true),
            bytes("r", &sizes(hidden), &r_values, true),
            b.constant("b"),
            floats("ws", scale_dims, &scales),
            bytes("wz", scale_dims, &zeros, true),
            floats("rs", scale_dims, &scales),
            bytes("rz", scale_dims, &zeros, true),
        ];
        Case::new(&[&x], vec![lstm], constants).makes(&y, &["quantize_dynamic", "quantize_hidden: true"]);
    }
}
