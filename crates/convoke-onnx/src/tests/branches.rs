//! Branches, and inputs that always are one number.

use super::*;

fn graph(name: &str, nodes: Vec<NodeProto>, constants: Vec<TensorProto>, outputs: &[&str]) -> AttributeProto {
    let output = outputs.iter().map(|name| input(name, &[])).collect();
    let graph = GraphProto { node: nodes, initializer: constants, output, ..GraphProto::default() };
    AttributeProto { name: name.to_owned(), g: Some(Box::new(graph)), r#type: 5, ..AttributeProto::default() }
}

/// A node whose branches make one value each, of one node each.
fn choice(condition: &str, output: &str, then: NodeProto, otherwise: NodeProto) -> NodeProto {
    let branch = |name: &str, node: NodeProto| {
        let made = node.output[0].clone();
        graph(name, vec![node], vec![], &[&made])
    };
    node("If", &[condition], output, vec![branch("then_branch", then), branch("else_branch", otherwise)])
}

/// The steps of the network, and nothing else.
fn steps(model: &ModelProto, values: &[(&str, i64)]) -> Result<Vec<String>, String> {
    let values = values.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let options = Options { limit: 1 << 24, values, ..Options::default() };
    let imported = import_model(model, Path::new("."), "tiny", &options).map_err(|error| error.to_string())?;
    let lines = imported.text.lines().filter_map(|line| line.split("then: ").nth(1));
    Ok(lines.map(|line| line.trim_end_matches(" }").to_owned()).collect())
}

const X: (&str, &[i64]) = ("x", &[1, 3, 4]);

/// An input that is no float, which is last.
fn with_input(mut model: ModelProto, name: &str, dtype: i32, dims: &[i64]) -> ModelProto {
    let mut more = input(name, dims);
    if let Some(tensor) = more.r#type.as_mut().and_then(|all| all.tensor_type.as_mut()) {
        tensor.elem_type = dtype;
    }
    if let Some(graph) = &mut model.graph {
        graph.input.push(more);
    }
    model
}

#[test]
fn a_branch_is_chosen_when_the_file_is_read() {
    let (yes, no) = (node("Relu", &["x"], "a", vec![]), node("Sigmoid", &["x"], "a", vec![]));
    for (number, step) in [(1, "relu"), (0, "sigmoid"), (7, "relu")] {
        let condition = TensorProto { data_type: 9, int32_data: vec![number], ..TensorProto::default() };
        let condition = TensorProto { name: "c".to_owned(), ..condition };
        let nodes = vec![choice("c", "y", yes.clone(), no.clone())];
        assert_eq!(steps(&model(&[X], nodes, vec![condition], &["y"]), &[]), Ok(vec![step.to_owned()]));
    }
    // Of sizes, and within another, which takes what is around it and has constants of its own.
    let inner = choice("is_three", "b", node("Tanh", &["h"], "z", vec![]), node("Abs", &["h"], "z", vec![]));
    let outer = graph(
        "then_branch",
        vec![node("Mul", &["x", "two"], "h", vec![]), inner],
        vec![floats("two", &[], &[2.0])],
        &["b", "x"],
    );
    let other = graph("else_branch", vec![node("Softplus", &["x"], "h", vec![])], vec![], &["h", "h"]);
    let mut both = node("If", &["is_three"], "p", vec![outer, other]);
    both.output.push("q".to_owned());
    let nodes = vec![
        node("Shape", &["x"], "sizes", vec![]),
        node("Gather", &["sizes", "one"], "channels", vec![]),
        node("Equal", &["channels", "three"], "is_three", vec![]),
        both,
        node("Add", &["p", "q"], "y", vec![]),
    ];
    let constants = vec![integers("one", &[1]), integers("three", &[3])];
    let made = steps(&model(&[X], nodes, constants, &["y"]), &[]);
    assert_eq!(made, Ok(vec!["[mul(2), tanh, residual(input)]".to_owned()]));
}

#[test]
fn inputs_may_always_be_one_number() {
    let nodes = vec![
        node("Equal", &["rate", "known"], "is_known", vec![]),
        choice("is_known", "y", node("Relu", &["x"], "a", vec![]), node("Sigmoid", &["x"], "a", vec![])),
    ];
    let given = with_input(model(&[X], nodes, vec![integers("known", &[16_000])], &["y"]), "rate", 7, &[]);
    assert_eq!(steps(&given, &[("rate", 16_000)]), Ok(vec!["relu".to_owned()]));
    assert_eq!(steps(&given, &[("rate", 8_000)]), Ok(vec!["sigmoid".to_owned()]));
    assert_eq!(
        steps(&given, &[]).unwrap_err(),
        "the input `rate`: its elements are of type int64, and networks take float32: give it a number that it always is, such as `--value rate=1`"
    );
    assert_eq!(
        steps(&given, &[("rate", 1), ("speed", 2)]).unwrap_err(),
        "there is no input `speed` in the model; it has x, rate"
    );
    let small = with_input(model(&[X], vec![node("Relu", &["x"], "y", vec![])], vec![], &["y"]), "n", 3, &[2]);
    assert_eq!(steps(&small, &[("n", -128)]), Ok(vec!["relu".to_owned()]));
    assert_eq!(
        steps(&small, &[("n", 300)]).unwrap_err(),
        "the input `n`: its value is 300; it has to be a number of the input's type"
    );
    // Of floats too.
    let scaled = model(&[X, ("s", &[1])], vec![node("Mul", &["x", "s"], "y", vec![])], vec![], &["y"]);
    assert_eq!(steps(&scaled, &[("s", 3)]), Ok(vec!["mul(3)".to_owned()]));
}

#[test]
fn what_is_chosen_by_values_is_refused() {
    let (yes, no) = (node("Relu", &["x"], "a", vec![]), node("Sigmoid", &["x"], "b", vec![]));
    let refused = |nodes: Vec<NodeProto>| steps(&model(&[X], nodes, vec![some("c", &[1])], &["y"]), &[]).unwrap_err();
    let found = refused(vec![choice("x", "y", yes.clone(), no.clone())]);
    assert!(found.ends_with("input 0, the condition, has to be a constant"), "{found}");
    let found = refused(vec![node("If", &["c"], "y", vec![graph("then_branch", vec![yes.clone()], vec![], &["a"])])]);
    assert!(found.ends_with("the attribute `then_branch` or `else_branch` is missing"), "{found}");
    // What is within a branch is not known around it, nor in the other.
    let found = refused(vec![choice("c", "z", yes.clone(), no.clone()), node("Neg", &["a"], "y", vec![])]);
    assert!(found.contains("`a`"), "{found}");
    let found = refused(vec![choice("c", "y", yes.clone(), node("Neg", &["a"], "b", vec![]))]);
    assert!(found.contains("`a`"), "{found}");
    let found = refused(vec![choice("c", "y", yes.clone(), NodeProto { output: vec!["x".to_owned()], ..no.clone() })]);
    assert!(found.contains("`x`"), "{found}");
    let empty = [("then_branch", &["x"][..]), ("else_branch", &[])].map(|(name, all)| graph(name, vec![], vec![], all));
    assert_eq!(
        steps(&model(&[X], vec![node("If", &["c"], "y", empty.to_vec())], vec![some("c", &[1])], &["y"]), &[])
            .unwrap_err(),
        "nothing is computed: every output is an input or a constant"
    );
    // One within the other, as many as there may be and one more.
    let nested = |count: usize| {
        (1..count).fold(choice("c", "n0", yes.clone(), no.clone()), |inner, at| {
            choice("c", &format!("n{at}"), inner, no.clone())
        })
    };
    let named = |node: NodeProto| NodeProto { output: vec!["y".to_owned()], ..node };
    assert_eq!(
        steps(&model(&[X], vec![named(nested(16))], vec![some("c", &[1])], &["y"]), &[]),
        Ok(vec!["relu".to_owned()])
    );
    let found = refused(vec![named(nested(17))]);
    assert!(found.ends_with("is a branch within 16 others, and no more are read"), "{found}");
    assert!(refused(vec![named(nested(60))]).contains("no more are read"));
}
