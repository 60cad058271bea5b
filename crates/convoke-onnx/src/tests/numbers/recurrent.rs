//! `LSTM` and `GRU`, beside the equations of ONNX.

use super::*;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A layer, and what it takes: the signal as positions, images, channels.
struct Layer {
    op: &'static str,
    direction: &'static str,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Option<Tensor>,
    h: Option<Tensor>,
    c: Option<Tensor>,
}

impl Layer {
    fn new(op: &'static str, direction: &'static str, [positions, images, channels, hidden]: [usize; 4]) -> Self {
        let (ways, gates) =
            (if direction == "bidirectional" { 2 } else { 1 }, if op == "LSTM" { 4 * hidden } else { 3 * hidden });
        Self {
            op,
            direction,
            x: Tensor::some(&[positions, images, channels], 1),
            w: Tensor::some(&[ways, gates, channels], 2),
            r: Tensor::some(&[ways, gates, hidden], 3),
            b: Some(Tensor::some(&[ways, 2 * gates], 4)),
            h: Some(Tensor::some(&[ways, images, hidden], 5)),
            c: (op == "LSTM").then(|| Tensor::some(&[ways, images, hidden], 6)),
        }
    }

    /// `Y`, `Y_h` and `Y_c`.
    fn expected(&self) -> [Tensor; 3] {
        let ([positions, images, channels], [ways, gates, hidden]) =
            ([self.x.dims[0], self.x.dims[1], self.x.dims[2]], [self.r.dims[0], self.r.dims[1], self.r.dims[2]]);
        let state = |given: &Option<Tensor>, i: &[usize]| given.as_ref().map_or(0.0, |given| given.at(i));
        let zeros = |dims: &[usize]| Tensor::of(dims, |_| 0.0);
        let mut made =
            [zeros(&[positions, ways, images, hidden]), zeros(&[ways, images, hidden]), zeros(&[ways, images, hidden])];
        for way in 0..ways {
            for n in 0..images {
                let mut h: Vec<f64> = (0..hidden).map(|k| state(&self.h, &[way, n, k])).collect();
                let mut c: Vec<f64> = (0..hidden).map(|k| state(&self.c, &[way, n, k])).collect();
                for i in 0..positions {
                    let t = if self.direction == "reverse" || way == 1 { positions - 1 - i } else { i };
                    let of_x = |g: usize| {
                        let sum: f64 = (0..channels).map(|k| self.w.at(&[way, g, k]) * self.x.at(&[t, n, k])).sum();
                        sum + state(&self.b, &[way, g])
                    };
                    let of_h = |g: usize| {
                        let sum: f64 = (0..hidden).map(|k| self.r.at(&[way, g, k]) * h[k]).sum();
                        sum + state(&self.b, &[way, gates + g])
                    };
                    let gate = |g: usize, k: usize| of_x(g * hidden + k) + of_h(g * hidden + k);
                    let next: Vec<(f64, f64)> = (0..hidden)
                        .map(|k| match self.op {
                            "LSTM" => {
                                let (input, output, forget) =
                                    (sigmoid(gate(0, k)), sigmoid(gate(1, k)), sigmoid(gate(2, k)));
                                let cell = forget * c[k] + input * gate(3, k).tanh();
                                (output * cell.tanh(), cell)
                            }
                            _ => {
                                let (update, reset) = (sigmoid(gate(0, k)), sigmoid(gate(1, k)));
                                let new = (of_x(2 * hidden + k) + reset * of_h(2 * hidden + k)).tanh();
                                ((1.0 - update) * new + update * h[k], 0.0)
                            }
                        })
                        .collect();
                    (h, c) = next.into_iter().unzip();
                    made[0].values[((t * ways + way) * images + n) * hidden..][..hidden].copy_from_slice(&h);
                }
                for (output, state) in [(1, &h), (2, &c)] {
                    made[output].values[(way * images + n) * hidden..][..hidden].copy_from_slice(state);
                }
            }
        }
        made
    }

    /// The node, whose output of that number is called so.
    fn node(&self, x: &str, states: [&str; 2], output: usize, name: &str) -> NodeProto {
        let mut inputs = vec![x, "w", "r", if self.b.is_some() { "b" } else { "" }, "", states[0]];
        let mut attributes = vec![word("direction", self.direction), int("hidden_size", self.r.dims[2] as i64)];
        match self.op {
            "LSTM" => inputs.push(states[1]),
            _ => attributes.push(int("linear_before_reset", 1)),
        }
        let mut outputs = vec![String::new(); output];
        outputs.push(name.to_owned());
        NodeProto { output: outputs, ..node(self.op, &inputs, "", attributes) }
    }

    fn constants(&self) -> Vec<TensorProto> {
        let bias = self.b.as_ref().map(|b| b.constant("b"));
        [self.w.constant("w"), self.r.constant("r")].into_iter().chain(bias).collect()
    }
}

fn turned(x: &Tensor, order: &[usize]) -> Tensor {
    let dims: Vec<_> = order.iter().map(|&axis| x.dims[axis]).collect();
    Tensor::of(&dims, |i| {
        let mut from = vec![0; i.len()];
        order.iter().zip(i).for_each(|(&axis, &at)| from[axis] = at);
        x.at(&from)
    })
}

const DIRECTIONS: [&str; 3] = ["forward", "reverse", "bidirectional"];

/// One image, the positions first: as an input and as outputs.
#[test]
fn one_image_with_the_positions_first() {
    for (op, direction) in ["LSTM", "GRU"].into_iter().flat_map(|op| DIRECTIONS.map(|direction| (op, direction))) {
        for positions in [1, 4] {
            let layer = Layer { h: None, c: None, ..Layer::new(op, direction, [positions, 1, 3, 2]) };
            let expected = layer.expected();
            for (output, expected) in expected.iter().enumerate().take(if op == "LSTM" { 3 } else { 2 }) {
                let node = layer.node("x", ["", ""], output, "y");
                let word = if output == 2 { "cells: true" } else { "hidden_size: 2" };
                Case::new(&[&layer.x], vec![node], layer.constants()).makes(expected, &["bias: true", word]);
            }
            let bare = Layer { b: None, ..layer };
            let node = bare.node("x", ["", ""], 0, "y");
            Case::new(&[&bare.x], vec![node], bare.constants()).makes(&bare.expected()[0], &["hidden_size: 2"]);
        }
    }
}

/// Several images, which come first, as exporters have them: turned before the layer and behind it.
#[test]
fn several_images_are_turned() {
    for (op, direction) in ["LSTM", "GRU"].into_iter().flat_map(|op| DIRECTIONS.map(|direction| (op, direction))) {
        let layer = Layer { h: None, c: None, ..Layer::new(op, direction, [4, 3, 2, 5]) };
        let x = turned(&layer.x, &[1, 0, 2]);
        let before = node("Transpose", &["x"], "t", vec![ints("perm", &[1, 0, 2])]);
        let [y, last, _] = layer.expected();
        let behind = node("Transpose", &["m"], "q", vec![ints("perm", &[2, 0, 1, 3])]);
        let flat = node("Reshape", &["q", "s"], "y", vec![]);
        let whole = turned(&y, &[2, 0, 1, 3]);
        let whole = Tensor { dims: vec![3, 4, whole.values.len() / 12], ..whole };
        let mut constants = layer.constants();
        constants.push(integers("s", &[0, 0, -1]));
        let nodes = vec![before.clone(), layer.node("t", ["", ""], 0, "m"), behind, flat];
        Case::new(&[&x], nodes, constants).makes(&whole, &["hidden_size: 5"]);
        let behind = node("Transpose", &["m"], "y", vec![ints("perm", &[1, 0, 2])]);
        let nodes = vec![before, layer.node("t", ["", ""], 1, "m"), behind];
        Case::new(&[&x], nodes, layer.constants()).makes(&turned(&last, &[1, 0, 2]), &["hidden_size: 5"]);
        // The images first says `layout`.
        let mut first = layer.node("x", ["", ""], 1, "y");
        first.attribute.push(int("layout", 1));
        Case::new(&[&x], vec![first], layer.constants()).makes(&turned(&last, &[1, 0, 2]), &["hidden_size: 5"]);
    }
}

/// States before the first position: inputs, zeros, and what another layer ends with.
#[test]
fn states_are_values() {
    for (direction, images) in [("forward", 1), ("bidirectional", 1), ("reverse", 3)] {
        let layer = Layer { b: None, ..Layer::new("GRU", direction, [4, images, 3, 2]) };
        let state = layer.h.clone().expect("it has a state");
        let (x, before) = if images == 1 {
            (layer.x.clone(), vec![node("Identity", &["x"], "t", vec![])])
        } else {
            (turned(&layer.x, &[1, 0, 2]), vec![node("Transpose", &["x"], "t", vec![ints("perm", &[1, 0, 2])])])
        };
        let [_, last, _] = layer.expected();
        let behind = node("Transpose", &["m"], "y", vec![ints("perm", &[1, 0, 2])]);
        let nodes = [before, vec![layer.node("t", ["z", ""], 1, "m"), behind]].concat();
        Case::new(&[&x, &state], nodes, layer.constants()).makes(&turned(&last, &[1, 0, 2]), &["state: "]);
    }
    // One layer begins where another of the same weights ended.
    let layer = Layer { h: None, c: None, ..Layer::new("LSTM", "bidirectional", [3, 1, 2, 4]) };
    let [_, h, c] = layer.expected();
    let again = Layer { h: Some(h), c: Some(c), ..Layer::new("LSTM", "bidirectional", [3, 1, 2, 4]) };
    let mut first = layer.node("x", ["zero", "zero"], 2, "c");
    first.output = ["", "h", "c"].map(str::to_owned).to_vec();
    let nodes = vec![first, layer.node("x", ["h", "c"], 0, "y")];
    let mut constants = layer.constants();
    constants.push(floats("zero", &[2, 1, 4], &[0.0; 8]));
    Case::new(&[&layer.x], nodes, constants).makes(&again.expected()[0], &["states: [", "cells: true"]);
}

/// Windows of a signal as if they were images, which are positions of the layer behind.
#[test]
fn what_comes_first_may_be_positions() {
    let (x, kernel) = (Tensor::some(&[4, 7], 8), Tensor::some(&[3, 1, 7], 9));
    let features = Tensor::of(&[4, 1, 3], |i| (0..7).map(|k| kernel.at(&[i[2], 0, k]) * x.at(&[i[0], k])).sum());
    let layer = Layer { x: features, h: None, c: None, ..Layer::new("LSTM", "forward", [4, 1, 3, 2]) };
    let nodes = vec![
        node("Unsqueeze", &["x", "one"], "u", vec![]),
        node("Conv", &["u", "k"], "f", vec![]),
        node("Transpose", &["f"], "t", vec![ints("perm", &[0, 2, 1])]),
        layer.node("t", ["", ""], 0, "y"),
    ];
    let mut constants = layer.constants();
    constants.extend([integers("one", &[1]), kernel.constant("k")]);
    Case::new(&[&x], nodes, constants).makes(&layer.expected()[0], &["kernel_size: (1, 7)"]);
}
