//! What is refused, in which words: the operator, the node, what it takes, and what is known instead.

use super::*;

fn x() -> [(&'static str, &'static [i64]); 1] {
    [("x", &[1, 3, 8, 8])]
}

/// A model of one node and constants.
fn one(op: &str, inputs: &[&str], attributes: Vec<AttributeProto>, constants: Vec<TensorProto>) -> ModelProto {
    model(&x(), vec![NodeProto { name: "n1".to_owned(), ..node(op, inputs, "y", attributes) }], constants, &["y"])
}

/// `Where(Equal(compared, with), chosen, a / x)`, with `a` a part of what is given.
fn guarded(compared: &str, with: &str, chosen: &str) -> ModelProto {
    let nodes = vec![
        node("Relu", &["x"], "a", vec![]),
        node("Div", &["a", "x"], "q", vec![]),
        NodeProto { name: "e1".to_owned(), ..node("Equal", &[compared, with], "e", vec![]) },
        NodeProto { name: "n1".to_owned(), ..node("Where", &["e", chosen, "q"], "y", vec![]) },
    ];
    model(&x(), nodes, vec![floats("zero", &[], &[0.0]), floats("one", &[], &[1.0])], &["y"])
}

fn refused(model: &ModelProto) -> String {
    let error = try_import(model).map(|imported| imported.text).expect_err("it is refused").to_string();
    // Of what is known the beginning is enough.
    error.split_inclusive("known are Abs, Add").next().unwrap_or_default().to_owned()
}

#[test]
fn every_refusal_says_what_and_where() {
    let weights = || some("w", &[4, 3, 3, 3]);
    let given = |name: &str, values: &[i64]| vec![integers(name, values)];
    let models = [
        one("Hardmax", &["x"], vec![], vec![]),
        one("Exp", &["x"], vec![], vec![]),
        one("Erf", &["x"], vec![], vec![]),
        one("RNN", &["x", "w"], vec![], vec![weights()]),
        one("Conv", &["x"], vec![], vec![]),
        one("Conv", &["x", "x"], vec![], vec![]),
        one("Conv", &["x", "w"], vec![int("group", 2)], vec![weights()]),
        one("Conv", &["x", "w"], vec![ints("strides", &[0, 1])], vec![weights()]),
        one("Conv", &["x", "w"], vec![ints("pads", &[1, -1, 1, 1])], vec![weights()]),
        one("Conv", &["x", "w"], vec![ints("dilations", &[9, 9])], vec![weights()]),
        one("Conv", &["x", "w"], vec![word("auto_pad", "SAME")], vec![weights()]),
        one("Conv", &["x", "w", "w"], vec![], vec![weights()]),
        one("Conv", &["x", "w"], vec![ints("kernel_shape", &[5, 5])], vec![weights()]),
        one("MaxPool", &["x"], vec![], vec![]),
        one("LpPool", &["x"], vec![ints("kernel_shape", &[2, 2]), int("p", 0)], vec![]),
        one("Resize", &["x", "", "s"], vec![], vec![floats("s", &[4], &[1.0, 1.0, 0.1, 2.0])]),
        one("Resize", &["x", "", "s"], vec![], vec![floats("s", &[3], &[1.0, 1.5, 2.0])]),
        one("Resize", &["x", "", "s"], vec![], vec![floats("s", &[4], &[2.0, 1.0, 2.0, 2.0])]),
        one("Resize", &["x", "", "", "s"], vec![], given("s", &[1, 3, 0, 8])),
        one(
            "Resize",
            &["x", "", "", "s"],
            vec![word("keep_aspect_ratio_policy", "not_larger")],
            given("s", &[1, 3, 5, 8]),
        ),
        one("Resize", &["x", "", "", "s"], vec![int("antialias", 1)], given("s", &[1, 3, 5, 8])),
        one("Resize", &["x", "", "", "s"], vec![int("exclude_outside", 1)], given("s", &[1, 3, 5, 8])),
        one("Resize", &["x", "", "", "s"], vec![word("nearest_mode", "up")], given("s", &[1, 3, 5, 8])),
        one(
            "Resize",
            &["x", "", "", "s"],
            vec![word("coordinate_transformation_mode", "tf_crop_and_resize")],
            given("s", &[1, 3, 5, 8]),
        ),
        one("Resize", &["x", "", "s"], vec![word("mode", "cubic")], vec![floats("s", &[4], &[1.0, 1.0, 2.0, 2.0])]),
        one("Pad", &["x", "p"], vec![word("mode", "other")], given("p", &[0, 0, 1, 1, 0, 0, 1, 1])),
        one("Pad", &["x", "p"], vec![], given("p", &[1, 1])),
        one("Reshape", &["x", "s"], vec![], given("s", &[1, 5, -1])),
        one("Transpose", &["x"], vec![ints("perm", &[0, 1, 2, 2])], vec![]),
        one("Concat", &["x", "c"], vec![int("axis", 1)], vec![some("c", &[1, 2, 8, 8])]),
        model(&[("x", &[2, 3, 8, 8])], vec![node("Concat", &["x", "x"], "y", vec![int("axis", 0)])], vec![], &["y"]),
        one("Add", &["x", "c"], vec![], vec![some("c", &[5])]),
        one("Pow", &["x", "c"], vec![], vec![floats("c", &[], &[0.3])]),
        one("Gemm", &["x", "w"], vec![], vec![some("w", &[8, 8])]),
        one("MatMul", &["x", "w"], vec![], vec![some("w", &[8, 8, 8])]),
        model(
            &x(),
            vec![
                node("Flatten", &["x"], "flat", vec![]),
                NodeProto { name: "n1".to_owned(), ..node("MatMul", &["x", "flat"], "y", vec![]) },
            ],
            vec![],
            &["y"],
        ),
        one("LRN", &["x"], vec![int("size", 4)], vec![]),
        one("Equal", &["x", "c"], vec![], vec![floats("c", &[], &[0.0])]),
        guarded("a", "zero", "zero"),
        guarded("x", "one", "zero"),
        guarded("x", "zero", "one"),
        guarded("x", "zero", "a"),
        one("Softmax", &["x"], vec![int("axis", 7)], vec![]),
        one("Cast", &["x"], vec![int("to", 7)], vec![]),
        one("Slice", &["x", "s", "s"], vec![], given("s", &[2])),
        one("Gather", &["x", "i"], vec![int("axis", 1)], given("i", &[3])),
        one("Add", &["x", "w"], vec![], vec![TensorProto { dims: vec![-4], ..some("w", &[4]) }]),
        one("Add", &["x", "w"], vec![], vec![TensorProto { dims: vec![1 << 62, 4], ..some("w", &[4]) }]),
        one("Add", &["x", "w"], vec![], vec![TensorProto { dims: vec![5], ..some("w", &[4]) }]),
        one("Add", &["x", "w"], vec![], vec![TensorProto { data_type: 8, ..some("w", &[4]) }]),
        one("Add", &["x", "none"], vec![], vec![]),
        one("Identity", &["x"], vec![], vec![]),
        model(&[("x", &[1, 3, -7, 8])], vec![node("Relu", &["x"], "y", vec![])], vec![], &["y"]),
        model(&[("x", &[1, 3, 1 << 40, 8])], vec![node("Relu", &["x"], "y", vec![])], vec![], &["y"]),
        model(&[("x", &[1; 6])], vec![node("Relu", &["x"], "y", vec![])], vec![], &["y"]),
        model(&x(), vec![node("Relu", &["x"], "x", vec![])], vec![], &["x"]),
        model(&x(), vec![node("Relu", &["b"], "a", vec![]), node("Relu", &["a"], "b", vec![])], vec![], &["b"]),
        model(&x(), vec![node("Relu", &["x"], "y", vec![])], vec![], &["z"]),
        model(&x(), vec![node("Relu", &["x"], "y", vec![])], vec![some("c", &[3])], &["y", "c"]),
        ModelProto {
            graph: one("Relu", &["x"], vec![], vec![])
                .graph
                .map(|graph| GraphProto { sparse_initializer: vec!["".into()], ..graph }),
            ..one("Relu", &["x"], vec![], vec![])
        },
        ModelProto { graph: None, ..one("Relu", &["x"], vec![], vec![]) },
        ModelProto { opset_import: vec![], ..one("Relu", &["x"], vec![], vec![]) },
    ];
    let all: Vec<_> = models.iter().map(refused).collect();
    insta::assert_snapshot!(all.join("\n"));
}

/// An operator that goes through a signal of five positions, with hidden states of two numbers.
#[test]
fn recurrent_layers_are_refused_where_they_are_others() {
    let refused = |op: &str, inputs: &[&str], attributes: Vec<AttributeProto>, images: i64| {
        let gates = if op == "LSTM" { 8 } else { 6 };
        let constants = vec![
            some("w", &[1, gates, 3]),
            some("r", &[1, gates, 2]),
            some("p", &[1, 6]),
            integers("short", &[5, 4]),
            some("s", &[1, images, 2]),
            floats("zero", &[1, images, 2], &vec![0.0; 2 * images as usize]),
        ];
        let made = model(&[("x", &[5, images, 3])], vec![node(op, inputs, "y", attributes)], constants, &["y"]);
        let error = try_import(&made).map(|imported| imported.text).expect_err("it is refused").to_string();
        error.rsplit("): ").next().unwrap_or_default().to_owned()
    };
    let words = |words: &[&'static str]| AttributeProto {
        name: "activations".to_owned(),
        strings: words.iter().map(|&word| word.into()).collect(),
        ..AttributeProto::default()
    };
    let (three, states) = (&["x", "w", "r"][..], ["x", "w", "r", "", "", "s", "s"]);
    let all = [
        refused("GRU", three, vec![], 1),
        refused("LSTM", &["x", "w", "r", "", "", "", "", "p"], vec![], 1),
        refused("LSTM", three, vec![int("input_forget", 1)], 1),
        refused("LSTM", three, vec![float("clip", 3.0)], 1),
        refused("LSTM", three, vec![words(&["Sigmoid", "Tanh", "Relu"])], 1),
        refused("LSTM", three, vec![word("direction", "sideways")], 1),
        refused("LSTM", &["x", "w", "r", "", "short"], vec![], 1),
        refused("LSTM", &states, vec![], 1),
        refused("LSTM", &["x", "w", "r", "", "", "zero", "s"], vec![], 1),
        refused("LSTM", &["x", "r", "r"], vec![], 1),
        refused("LSTM", &["x", "w", "r", "r"], vec![], 1),
        refused("LSTM", three, vec![], 2),
    ];
    insta::assert_snapshot!(all.join("\n"));
    for zeros in [&["x", "w", "r", "", "", "zero", "zero"][..], &["x", "w", "r", "", "", "", "zero"]] {
        let constants = vec![some("w", &[1, 8, 3]), some("r", &[1, 8, 2]), floats("zero", &[1, 1, 2], &[0.0; 2])];
        let text =
            imported(&model(&[("x", &[5, 1, 3])], vec![node("LSTM", zeros, "y", vec![])], constants, &["y"])).text;
        assert!(text.contains("{ hidden_size: 2 }"), "{text}");
    }
}

#[test]
fn sizes_are_given_by_name_or_by_place() {
    let model = |dims: &[i64]| model(&[("x", dims)], vec![node("Relu", &["x"], "y", vec![])], vec![], &["y"]);
    let given = |dims: &[i64], sizes: &[(&str, usize)]| {
        let sizes = sizes.iter().map(|&(name, size)| (name.to_owned(), size)).collect();
        import_model(&model(dims), Path::new("."), "tiny", &Options { sizes, ..Options::default() })
            .map(|imported| imported.inputs[0].shape.clone())
            .map_err(|error| error.to_string())
    };
    assert_eq!(given(&[-1, 3, -7, -8], &[("s7", 4), ("x.3", 5)]), Ok(vec![1, 3, 4, 5]));
    assert_eq!(given(&[-1, 3, -7, -7], &[("s7", 4), ("s1", 2)]), Ok(vec![2, 3, 4, 4]));
    assert_eq!(given(&[1, 3, 4, 4], &[("x.0", 6)]), Ok(vec![6, 3, 4, 4]));
    assert_eq!(given(&[1, 3, -7, 4], &[("x.2", 6), ("s7", 6)]), Ok(vec![1, 3, 6, 4]));
    let expected = "there is no size `s9` in the model; it has s1, s7";
    assert_eq!(given(&[-1, 3, 4, -7], &[("s9", 4), ("s7", 3)]), Err(expected.to_owned()));
    let expected = "there is no size `h` in the model; all its sizes are numbers";
    assert_eq!(given(&[1, 3, 4, 4], &[("h", 4)]), Err(expected.to_owned()));
}

#[test]
fn constants_have_a_limit() {
    let large = one("Add", &["x", "s"], vec![], vec![]);
    let filled = node("ConstantOfShape", &["d"], "s", vec![]);
    let mut model = large;
    let graph = model.graph.as_mut().expect("a graph");
    graph.node.insert(0, filled);
    graph.node.insert(1, node("Exp", &["s"], "e", vec![]));
    graph.initializer.push(integers("d", &[1 << 40]));
    // One number everywhere takes no memory, but does not fit either.
    assert!(
        refused(&model).contains("sizes: [1, 3, 8, 8] and [1099511627776] do not fit together"),
        "{}",
        refused(&model)
    );
    let many = one("Add", &["x", "w"], vec![], vec![some("w", &[3, 8, 8])]);
    let few = Options { limit: 100, ..Options::default() };
    let error = import_model(&many, Path::new("."), "tiny", &few).map(|imported| imported.text).unwrap_err();
    assert_eq!(error.to_string(), "the tensor `w`: the constants of the model need 768 bytes, and the limit is 100");
}
