//! Operators of elements, and what they are together.

use super::*;

fn x() -> Tensor {
    Tensor::some(&[1, 3, 4, 5], 1)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The error function, by its series.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..60 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn operators_of_one_value() {
    type Formula = fn(f64) -> f64;
    let cases: Vec<(&str, Vec<AttributeProto>, &str, Formula)> = vec![
        ("Relu", vec![], "relu", |x| x.max(0.0)),
        ("LeakyRelu", vec![float("alpha", 0.25)], "leaky_relu(0.25)", |x| if x > 0.0 { x } else { 0.25 * x }),
        ("Sigmoid", vec![], "sigmoid", sigmoid),
        ("Tanh", vec![], "tanh", f64::tanh),
        ("HardSigmoid", vec![], "[mul(0.2), add(0.5), clamp(0, 1)]", |x| (0.2 * x + 0.5).clamp(0.0, 1.0)),
        ("HardSwish", vec![], "hardswish", |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        ("Elu", vec![float("alpha", 0.5)], "elu(0.5)", |x| if x > 0.0 { x } else { 0.5 * x.exp_m1() }),
        ("Celu", vec![float("alpha", 2.0)], "celu(2)", |x| if x > 0.0 { x } else { 2.0 * (x / 2.0).exp_m1() }),
        ("Selu", vec![], "selu", |x| 1.050_700_987 * if x > 0.0 { x } else { 1.673_263_242 * x.exp_m1() }),
        ("Softplus", vec![], "softplus", |x| x.exp().ln_1p()),
        ("Softsign", vec![], "softsign", |x| x / (1.0 + x.abs())),
        ("Mish", vec![], "mish", |x| x * x.exp().ln_1p().tanh()),
        ("Abs", vec![], "abs", f64::abs),
        ("Neg", vec![], "neg", |x| -x),
        ("Gelu", vec![], "gelu", |x| x / 2.0 * (1.0 + erf(x / 2.0_f64.sqrt()))),
        ("Gelu", vec![word("approximate", "tanh")], "gelu_tanh", |x| {
            x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
        }),
    ];
    for (op, attributes, step, formula) in cases {
        let case = Case::new(&[&x()], one(op, &["x"], attributes), vec![]).opset(20);
        case.makes(&x().map(formula), &[&format!("then: {step} }}")]);
    }
    let positive = x().map(|x| x.abs() + 0.25);
    Case::new(&[&positive], one("Sqrt", &["x"], vec![]), vec![]).makes(&positive.map(f64::sqrt), &["then: pow(0.5)"]);
    Case::new(&[&positive], one("Reciprocal", &["x"], vec![]), vec![])
        .makes(&positive.map(|x| 1.0 / x), &["then: pow(-1)"]);
    Case::new(&[&positive], one("Log", &["x"], vec![]), vec![]).makes(&positive.map(f64::ln), &["then: log "]);
}

#[test]
fn operators_of_a_value_and_numbers() {
    let x = x();
    let each = Tensor::some(&[3, 1, 1], 5);
    let by_channel = |f: fn(f64, f64) -> f64| Tensor::of(&x.dims, |i| f(x.at(i), each.at(&[i[1], 0, 0])));
    type Formula = fn(f64, f64) -> f64;
    let cases: [(&str, [&str; 2], Formula, &str); 8] = [
        ("Add", ["x", "a"], |x, a| x + a, "shift"),
        ("Sub", ["x", "a"], |x, a| x - a, "shift"),
        ("Sub", ["a", "x"], |x, a| a - x, "[mul(-1), shift]"),
        ("Mul", ["a", "x"], |x, a| x * a, "scale"),
        ("Div", ["x", "a"], |x, a| x / a, "scale"),
        ("PRelu", ["x", "a"], |x, a| if x > 0.0 { x } else { a * x }, "prelu"),
        ("Add", ["x", "x"], |x, _| x + x, "residual"),
        ("Mul", ["x", "x"], |x, _| x * x, "pow(2)"),
    ];
    for (op, inputs, formula, step) in cases {
        let parts: &[&str] = if step == "residual" { &["add "] } else { &[&format!("then: {step} }}")] };
        Case::new(&[&x], one(op, &inputs, vec![]), vec![each.constant("a")]).makes(&by_channel(formula), parts);
    }
    // All elements of an image are channels where the numbers are others everywhere.
    let map = Tensor::some(&[1, 1, 4, 5], 9);
    let sum = Tensor::of(&x.dims, |i| x.at(i) + map.at(&[0, 0, i[2], i[3]]));
    Case::new(&[&x], one("Add", &["x", "a"], vec![]), vec![map.constant("a")]).makes(&sum, &["flatten", "shift"]);
    // Along another axis than the channels.
    let columns = Tensor::some(&[5], 3);
    let product = Tensor::of(&x.dims, |i| x.at(i) * columns.at(&[i[3]]));
    Case::new(&[&x], one("Mul", &["x", "a"], vec![]), vec![columns.constant("a")]).makes(&product, &["nhwc", "scale"]);
    let x = x.map(|x| if x == 0.0 { 0.5 } else { x });
    for exponent in [3.0, 2.0, -2.0] {
        let powers = x.map(|x| x.powf(f64::from(exponent)));
        let case = Case::new(&[&x], one("Pow", &["x", "a"], vec![]), vec![number("a", exponent)]);
        case.makes(&powers, &[&format!("pow({exponent})")]);
    }
    let bounds = vec![number("a", -0.5), number("b", 0.75)];
    Case::new(&[&x], one("Clip", &["x", "a", "b"], vec![]), bounds).makes(&x.map(|x| x.clamp(-0.5, 0.75)), &["clamp("]);
    Case::new(&[&x], one("Max", &["x", "a"], vec![]), vec![number("a", 0.5)]).makes(&x.map(|x| x.max(0.5)), &[]);
    Case::new(&[&x], one("Min", &["a", "x"], vec![]), vec![number("a", 0.5)]).makes(&x.map(|x| x.min(0.5)), &[]);
}

#[test]
fn operators_of_two_values() {
    let (x, z) = (x(), Tensor::some(&[1, 3, 4, 5], 8).map(|z| z.abs() + 0.5));
    type Formula = fn(f64, f64) -> f64;
    let cases: [(&str, Formula); 6] = [
        ("Add", |x, z| x + z),
        ("Sum", |x, z| x + z),
        ("Sub", |x, z| x - z),
        ("Mul", |x, z| x * z),
        ("Div", |x, z| x / z),
        ("Mean", |x, z| (x + z) / 2.0),
    ];
    for (op, formula) in cases {
        let expected = Tensor::of(&x.dims, |i| formula(x.at(i), z.at(i)));
        Case::new(&[&x, &z], one(op, &["x", "z"], vec![]), vec![]).makes(&expected, &[]);
    }
    // One that stands for more elements than it has: of a channel, of a pixel, of a row.
    for dims in [[1, 3, 1, 1], [1, 1, 4, 5], [1, 1, 1, 5], [1, 3, 4, 1]] {
        let z = Tensor::some(&dims, 4);
        let pick = |i: &[usize]| z.at(&i.iter().zip(&dims).map(|(&at, &size)| at % size).collect::<Vec<_>>());
        let expected = Tensor::of(&x.dims, |i| x.at(i) * pick(i));
        Case::new(&[&x, &z], one("Mul", &["x", "z"], vec![]), vec![]).makes(&expected, &["mul "]);
        Case::new(&[&z, &x], one("Mul", &["x", "z"], vec![]), vec![]).makes(&expected, &["mul "]);
    }
    // Each for more.
    let (x, z) = (Tensor::some(&[2, 3, 4, 1], 1), Tensor::some(&[2, 3, 1, 5], 2));
    let expected = Tensor::of(&[2, 3, 4, 5], |i| x.at(&[i[0], i[1], i[2], 0]) + z.at(&[i[0], i[1], 0, i[3]]));
    Case::new(&[&x, &z], one("Add", &["x", "z"], vec![]), vec![]).makes(&expected, &["resize", "add "]);
}

/// What TensorFlow's `div_no_nan` is exported as.
#[test]
fn quotients_are_0_where_the_divisor_is() {
    let x = x();
    for (dims, axes) in [(vec![1, 3, 4, 5], vec![]), (vec![1, 3, 1, 1], vec![2, 3]), (vec![1, 1, 1, 1], vec![1, 2, 3])]
    {
        for zeros in [false, true] {
            let z = Tensor::of(&dims, |i| if zeros || i[1] == 1 { 0.0 } else { 0.25 - i.iter().sum::<usize>() as f64 });
            let expected = Tensor::of(&x.dims, |i| {
                let at: Vec<_> = (0..4).map(|axis| if axes.contains(&axis) { 0 } else { i[axis] }).collect();
                if z.at(&at) == 0.0 { 0.0 } else { x.at(i) / z.at(&at) }
            });
            for (equal, chosen) in [(["z", "zero"], "zero"), (["zero", "z"], "z")] {
                let nodes = vec![
                    node("Equal", &equal, "e", vec![]),
                    node("Div", &["x", "z"], "q", vec![]),
                    node("Where", &["e", chosen, "q"], "y", vec![]),
                ];
                Case::new(&[&x, &z], nodes, vec![number("zero", 0.0)]).makes(&expected, &["reciprocal_no_nan", "mul"]);
            }
        }
    }
    let z = Tensor::of(&[1, 3, 4, 5], |i| (i[2] + i[3]) as f64);
    let expected = z.map(|z| if z == 0.0 { 0.0 } else { 1.0 / z });
    let nodes = vec![
        node("Reciprocal", &["x"], "r", vec![]),
        node("Equal", &["x", "zero"], "e", vec![]),
        node("Where", &["e", "zero", "r"], "y", vec![]),
    ];
    Case::new(&[&z], nodes, vec![floats("zero", &[1], &[0.0])]).makes(&expected, &["then: reciprocal_no_nan }"]);
    // A constant over a value.
    let nodes = vec![
        node("Div", &["two", "x"], "q", vec![]),
        node("Equal", &["x", "zero"], "e", vec![]),
        node("Where", &["e", "zero", "q"], "y", vec![]),
    ];
    let constants = vec![floats("zero", &[1], &[0.0]), number("two", 2.0)];
    Case::new(&[&z], nodes, constants).makes(&expected.map(|x| 2.0 * x), &["then: [reciprocal_no_nan, mul(2)] }"]);
}

/// The decibels of a spectrum as TensorFlow has them, from the least of an image to its greatest, of channels first and last.
#[test]
fn logarithms_between_0_and_1() {
    let x = Tensor::some(&[2, 4, 5], 1);
    let decibels = x.map(|x| 10.0 * (x * x + 1e-10).ln() * std::f64::consts::LOG10_E);
    let expected = Tensor::of(&x.dims, |i| {
        let image = &decibels.values[20 * i[0]..][..20];
        let least = image.iter().copied().fold(f64::INFINITY, f64::min);
        let most = image.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (decibels.at(i) - least) / (most - least)
    });
    for constant in [false, true] {
        let x = if constant { x.map(|_| 0.5) } else { x.clone() };
        let expected = if constant { expected.map(|_| 0.0) } else { expected.clone() };
        for keepdims in [0, 1] {
            let flags = || vec![int("keepdims", keepdims), ints("axes", &[1, 2])];
            let nodes = vec![
                node("Mul", &["x", "x"], "power", vec![]),
                node("Add", &["power", "small"], "more", vec![]),
                node("Log", &["more"], "log", vec![]),
                node("Mul", &["log", "factor"], "decibels", vec![]),
                node("ReduceMin", &["decibels"], "least", flags()),
                node("Reshape", &["least", "shape"], "floor", vec![]),
                node("Sub", &["decibels", "floor"], "above", vec![]),
                node("ReduceMax", &["above"], "most", flags()),
                node("Reshape", &["most", "shape"], "range", vec![]),
                node("Div", &["above", "range"], "quotient", vec![]),
                node("Equal", &["range", "zero"], "flat", vec![]),
                node("Where", &["flat", "zero", "quotient"], "y", vec![]),
            ];
            let constants = vec![
                number("small", 1e-10),
                number("factor", 10.0 * std::f32::consts::LOG10_E),
                number("zero", 0.0),
                integers("shape", &[2, 1, 1]),
            ];
            Case::new(&[&x], nodes, constants).makes(&expected, &["log", "max_pool2d", "reciprocal_no_nan"]);
        }
    }
}

#[test]
fn gates_are_one_step() {
    let x = x();
    type Gate = (&'static str, Vec<NodeProto>, Vec<TensorProto>, fn(f64) -> f64);
    let formulas: [Gate; 5] = [
        ("silu", vec![node("Sigmoid", &["x"], "s", vec![]), node("Mul", &["s", "x"], "y", vec![])], vec![], |x| {
            x * sigmoid(x)
        }),
        (
            "mish",
            vec![
                node("Softplus", &["x"], "p", vec![]),
                node("Tanh", &["p"], "t", vec![]),
                node("Mul", &["x", "t"], "y", vec![]),
            ],
            vec![],
            |x| x * x.exp().ln_1p().tanh(),
        ),
        (
            "hardswish",
            vec![
                node("Add", &["x", "three"], "a", vec![]),
                node("Clip", &["a", "zero", "six"], "c", vec![]),
                node("Mul", &["x", "c"], "m", vec![]),
                node("Div", &["m", "six"], "y", vec![]),
            ],
            vec![number("three", 3.0), number("zero", 0.0), number("six", 6.0)],
            |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        ),
        (
            "gelu",
            vec![
                node("Div", &["x", "root"], "r", vec![]),
                node("Erf", &["r"], "e", vec![]),
                node("Add", &["e", "one"], "p", vec![]),
                node("Mul", &["x", "p"], "m", vec![]),
                node("Mul", &["m", "half"], "y", vec![]),
            ],
            vec![number("root", std::f32::consts::SQRT_2), number("one", 1.0), number("half", 0.5)],
            |x| x / 2.0 * (1.0 + erf(x / 2.0_f64.sqrt())),
        ),
        (
            "gelu_tanh",
            vec![
                node("Pow", &["x", "three"], "c", vec![]),
                node("Mul", &["c", "k"], "ck", vec![]),
                node("Add", &["x", "ck"], "i", vec![]),
                node("Mul", &["i", "root"], "ri", vec![]),
                node("Tanh", &["ri"], "t", vec![]),
                node("Add", &["t", "one"], "p", vec![]),
                node("Mul", &["x", "half"], "h", vec![]),
                node("Mul", &["h", "p"], "y", vec![]),
            ],
            vec![
                number("three", 3.0),
                number("k", 0.044_715),
                number("root", 0.797_884_6),
                number("one", 1.0),
                number("half", 0.5),
            ],
            |x| x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh()),
        ),
    ];
    for (step, nodes, constants, formula) in formulas {
        Case::new(&[&x], nodes, constants).makes(&x.map(formula), &[&format!("{{ then: {step} }}")]);
    }
    // What is like a gate and is none: of another value.
    let z = Tensor::some(&x.dims, 6);
    let nodes = vec![node("Sigmoid", &["z"], "s", vec![]), node("Mul", &["x", "s"], "y", vec![])];
    let expected = Tensor::of(&x.dims, |i| x.at(i) * sigmoid(z.at(i)));
    Case::new(&[&x, &z], nodes, vec![]).makes(&expected, &["then: [sigmoid, multiply(x)]"]);
}
