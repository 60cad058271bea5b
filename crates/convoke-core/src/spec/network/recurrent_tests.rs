use super::{Cell, Direction, Recurrent};
use crate::eval::reference::run_network;
use crate::front;
use crate::spec::{Limits, NetworkSpec, NodeKind};

fn networks(text: &str) -> Result<NetworkSpec, String> {
    let contents = front::contents(text, &Limits::default(), &[]);
    contents.map(|mut contents| contents.networks.remove(0)).map_err(|all| all[0].message.clone())
}

fn network(text: &str) -> NetworkSpec {
    networks(text).unwrap_or_else(|message| panic!("{message}\n{text}"))
}

fn recurrent(network: &NetworkSpec, node: usize) -> &Recurrent {
    match &network.nodes[node].kind {
        NodeKind::Recurrent(recurrent) => recurrent,
        other => panic!("{other:?}"),
    }
}

/// Both cells, in every direction, with and without states and biases.
const BOTH: &str = "
network both {
    inputs: [signal: f32[2, 5, 6], h: f32[2, 6], c: f32[2, 6]],
    lstm first { input: signal, hidden_size: 3, direction: bidirectional, bias: true, cells: true, states: [h, c] }
    slice hidden { channels: 0..6 }
    gru second { hidden_size: 4 }
    gru third { hidden_size: 6, direction: reverse, bias: true, state: h }
    output: third,
}";

#[test]
fn sizes_and_parameters_follow_from_the_input() {
    let net = network(BOTH);
    let shapes: Vec<_> = net.values.iter().map(|value| value.shape.to_string()).collect();
    let expected = [
        "f32[2, 5, 6] @ ncl",
        "f32[2, 6, 1] @ ncl",
        "f32[2, 6, 1] @ ncl",
        "f32[2, 12, 6] @ ncl",
        "f32[2, 6, 6] @ ncl",
        "f32[2, 4, 6] @ ncl",
        "f32[2, 6, 6] @ ncl",
    ];
    assert_eq!(shapes, expected);
    assert_eq!(net.nodes[0].inputs, [0, 1, 2]);
    let names: Vec<_> = net.parameters().map(|p| format!("{} {}", p.name, p.len)).collect();
    let expected = [
        "first.weight_ih_l0 60",
        "first.weight_hh_l0 36",
        "first.bias_ih_l0 12",
        "first.bias_hh_l0 12",
        "first.weight_ih_l0_reverse 60",
        "first.weight_hh_l0_reverse 36",
        "first.bias_ih_l0_reverse 12",
        "first.bias_hh_l0_reverse 12",
        "second.weight_ih_l0 72",
        "second.weight_hh_l0 48",
        "third.weight_ih_l0 72",
        "third.weight_hh_l0 108",
        "third.bias_ih_l0 18",
        "third.bias_hh_l0 18",
    ];
    assert_eq!(names, expected);
    let first = recurrent(&net, 0);
    assert_eq!((first.cell, first.direction, first.channels()), (Cell::Lstm, Direction::Bidirectional, 12));
    assert_eq!([first.channel(0, 1), first.channel(1, 0), first.channel(1, 1)], [Some(3), Some(6), Some(9)]);
    // Of each way, the products with the weights, and at each position six layers of three steps or products.
    let steps = first.step.macs_per_image() - 36;
    assert_eq!(net.nodes[0].macs_per_image(), 2 * 6 * (60 + 36 + steps));
    assert_eq!(recurrent(&net, 1 + 1).channel(1, 0), None);
}

#[test]
fn a_text_reads_back() {
    let net = network(BOTH);
    assert_eq!(network(&net.to_string()), net, "{net}");
    let last = network(&BOTH.replace("f32[2, 5, 6]", "f32[2, 6, 5] @ nlc").replace("f32", "f64"));
    assert_eq!(network(&last.to_string()), last, "{last}");
    insta::assert_snapshot!(format!("{net}{}{}", recurrent(&net, 0).step, recurrent(&net, 3).step));
}

#[test]
fn quantized_hidden_states_are_a_layer_of_the_step() {
    let quantized = BOTH.replace("hidden_size: 3,", "hidden_size: 3, quantize_hidden: true,");
    let quantized = quantized.replace("direction: reverse, bias", "direction: reverse, quantize_hidden: true, bias");
    let net = network(&quantized);
    assert_eq!(network(&net.to_string()), net, "{net}");
    for node in [0, 3] {
        let plain = recurrent(&network(BOTH), node).step.to_string();
        let step = recurrent(&net, node).step.to_string();
        let [layer, source] = ["    quantize_dynamic quantized {\n        input: h,\n    }\n", "input: quantized"];
        assert_eq!(step.replacen(layer, "", 1).replacen(source, "input: h", 1), plain, "{step}");
        assert_ne!(step, plain);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let net = |body: &str| {
        let inputs = "[x: f32[1, 3, 8], h: f32[1, 4], g: f32[1, 5], l: f32[1, 4, 2], image: f32[1, 3, 8, 8]]";
        networks(&format!("network net {{ inputs: {inputs}, {body} }}")).expect_err(body)
    };
    for (body, message) in [
        ("lstm a { hidden_size: 4 }", "`lstm` runs along one axis, here are 2"),
        ("gru a { input: image, hidden_size: 4 }", "`gru` runs along one axis, here are 2"),
        ("lstm a { input: x }", "lstm `a` has no `hidden_size`"),
        ("gru a { input: x, hidden_size: 0 }", "`hidden_size` may not be 0"),
        ("gru a { input: x, hidden_size: b }", "`hidden_size` takes one whole number, not `b`"),
        ("lstm a { input: x, hidden_size: 4, out_channels: 4 }", "lstm `a` has no field `out_channels`"),
        ("lstm a { input: x, hidden_size: 4, state: h }", "lstm `a` has no field `state`"),
        ("gru a { input: x, hidden_size: 4, cells: true }", "gru `a` has no field `cells`"),
        ("gru a { input: x, hidden_size: 4, bias: 1 }", "`bias` takes true or false, not 1"),
        ("lstm a { input: x, hidden_size: 4, quantize_hidden: 256 }", "`quantize_hidden` takes true or false, not 256"),
        ("gru a { input: x, hidden_size: 4, state: [h] }", "`state` takes the name of a value, not a list in brackets"),
        ("gru a { input: x, hidden_size: 4, state: b }", "there is no value `b`"),
        (
            "lstm a { input: x, hidden_size: 4, states: h }",
            "`states` takes two values in brackets, of the hidden and the cell state, not a word",
        ),
        ("lstm a { input: x, hidden_size: 4, states: [h] }", "`lstm` takes two values, here are 1"),
        (
            "lstm a { input: x, hidden_size: 4, states: [h, g] }",
            "a state has `hidden_size` channels of one element for each direction: one is f32[1, 4, 1] @ ncl, the other f32[1, 5, 1] @ ncl",
        ),
        (
            "gru a { input: x, hidden_size: 4, direction: bidirectional, state: h }",
            "a state has `hidden_size` channels of one element for each direction: one is f32[1, 8, 1] @ ncl, the other f32[1, 4, 1] @ ncl",
        ),
        (
            "gru a { input: x, hidden_size: 4, state: l }",
            "a state has `hidden_size` channels of one element for each direction: one is f32[1, 4, 1] @ ncl, the other f32[1, 4, 2] @ ncl",
        ),
        ("lstm a { input: x, hidden_size: 2000000000 }", "`hidden_size` may not be 2000000000"),
        ("gru a { input: x, hidden_size: 50000 }", ""),
        ("lstm a { input: x, hidden_size: 500000000 }", ""),
    ] {
        let found = net(body);
        if message.is_empty() {
            assert!(found.contains("cannot be of that size") && found.contains("limit"), "{found}");
        } else {
            assert_eq!(found, message, "{body}");
        }
    }
    let blocked = "network net { input: f32[1, 16, 8] @ nCw16c, gru a { hidden_size: 16 } }";
    assert!(networks(blocked).expect_err("it is refused").contains("channels in blocks"));
    let text = "network net { input: f32[1, 16, 8], gru a { hidden_size: 16, direction: up } }";
    let diagnostics = front::contents(text, &Limits::default(), &[]).expect_err("it is refused");
    let span = diagnostics[0].labels[0].span;
    assert_eq!(&text[span.start..span.end], "up");
}

/// Numbers between -1 and 1.
fn numbers(len: usize, seed: usize) -> Vec<f64> {
    (0..len).map(|i| ((i * 37 + seed * 101 + 11) % 199) as f64 / 99.0 - 1.0).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A row of sums: `bias + weights * x`.
fn sums(weights: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    let row = |(row, bias): (&[f64], &f64)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias;
    weights.chunks(x.len()).zip(bias).map(row).collect()
}

/// The formulas of PyTorch's documentation, of one way: the hidden and the cell state behind each position.
fn by_hand(cell: Cell, x: &[Vec<f64>], p: &[Vec<f64>], mut h: Vec<f64>, mut c: Vec<f64>) -> Vec<(Vec<f64>, Vec<f64>)> {
    let (size, mut out) = (h.len(), Vec::new());
    for x in x {
        let (i, s) = (sums(&p[0], &p[2], x), sums(&p[1], &p[3], &h));
        let gate = |at: usize, k: usize| i[at * size + k] + s[at * size + k];
        for k in 0..size {
            match cell {
                Cell::Lstm => {
                    c[k] = sigmoid(gate(1, k)) * c[k] + sigmoid(gate(0, k)) * gate(2, k).tanh();
                    h[k] = sigmoid(gate(3, k)) * c[k].tanh();
                }
                Cell::Gru => {
                    let (r, z) = (sigmoid(gate(0, k)), sigmoid(gate(1, k)));
                    let n = (i[2 * size + k] + r * s[2 * size + k]).tanh();
                    h[k] = (1.0 - z) * n + z * h[k];
                }
            }
        }
        out.push((h.clone(), c.clone()));
    }
    out
}

/// The reference against the formulas: both layouts, all directions, two images, a signal of one position.
#[test]
fn the_values_are_those_of_the_formulas() {
    let (channels, hidden) = (3, 4);
    for cell in [Cell::Lstm, Cell::Gru] {
        for (direction, length) in [("forward", 5), ("reverse", 5), ("bidirectional", 4), ("bidirectional", 1)] {
            for layout in ["ncl", "nlc"] {
                let ways = if direction == "bidirectional" { 2 } else { 1 };
                let input = match layout {
                    "ncl" => format!("f64[N, {channels}, {length}]"),
                    _ => format!("f64[N, {length}, {channels}] @ nlc"),
                };
                let (state, more) = match cell {
                    Cell::Lstm => ("states: [h, c]", "cells: true,"),
                    Cell::Gru => ("state: h", ""),
                };
                let text = format!(
                    "network net {{ inputs: [x: {input}, h: f64[N, {0}], c: f64[N, {0}]],
                    {1} a {{ input: x, hidden_size: {hidden}, direction: {direction}, bias: true, {more} {state} }} }}",
                    ways * hidden,
                    cell.name(),
                );
                let net = network(&text);
                let parameters: Vec<(String, Vec<f64>)> =
                    net.parameters().enumerate().map(|(i, p)| (p.name, numbers(p.len, i))).collect();
                let find = |name: &str| &parameters.iter().find(|p| p.0 == name).expect(name).1[..];
                let batch = 2;
                let (x, h, c) = (
                    numbers(batch * channels * length, 50),
                    numbers(batch * ways * hidden, 51),
                    numbers(batch * ways * hidden, 52),
                );
                let found = run_network(&net, batch, &[&x, &h, &c], find).remove(0);
                let shape = &net.values[net.outputs[0]].shape;
                for n in 0..batch {
                    let from = &net.values[0].shape;
                    let at = |position: usize| -> Vec<f64> {
                        (0..channels).map(|ch| x[n * from.image() + from.index(ch, position)]).collect()
                    };
                    for way in 0..ways {
                        let mut order: Vec<usize> = (0..length).collect();
                        if direction == "reverse" || way == 1 {
                            order.reverse();
                        }
                        let signal: Vec<_> = order.iter().map(|&position| at(position)).collect();
                        let p: Vec<Vec<f64>> = parameters[4 * way..4 * way + 4].iter().map(|p| p.1.clone()).collect();
                        let state = |all: &[f64]| all[(n * ways + way) * hidden..][..hidden].to_vec();
                        let expected = by_hand(cell, &signal, &p, state(&h), state(&c));
                        for (&position, (h, c)) in order.iter().zip(&expected) {
                            let element = |ch: usize| found[n * shape.image() + shape.index(ch, position)];
                            for k in 0..hidden {
                                assert!((element(way * hidden + k) - h[k]).abs() < 1e-14, "{text}");
                                let cells = (ways + way) * hidden + k;
                                assert!(cell == Cell::Gru || (element(cells) - c[k]).abs() < 1e-14, "{text}");
                            }
                        }
                    }
                }
            }
        }
    }
}
