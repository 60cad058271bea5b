//! What is normalized by means and deviations of its own.

use super::reductions::{mean, reduced};
use super::*;

#[test]
fn normalizations() {
    let x = Tensor::some(&[2, 4, 3, 5], 1);
    let normal_by = |axes: &[usize], x: &Tensor, epsilon: f64| {
        let means = reduced(x, axes, mean);
        let deviations = reduced(x, axes, |taps| {
            let mean = mean(taps);
            (taps.iter().map(|tap| (tap - mean).powi(2)).sum::<f64>() / taps.len() as f64 + epsilon).sqrt()
        });
        Tensor::of(&x.dims, |i| {
            let at: Vec<_> = (0..i.len()).map(|axis| if axes.contains(&axis) { 0 } else { i[axis] }).collect();
            (x.at(i) - means.at(&at)) / deviations.at(&at)
        })
    };
    let normal = |axes: &[usize], x: &Tensor| normal_by(axes, x, 1e-5);
    let (s, b) = (Tensor::some(&[4], 2), Tensor::some(&[4], 3));
    let constants = vec![s.constant("s"), b.constant("b")];
    let affine = |x: &Tensor| Tensor::of(&x.dims, |i| x.at(i) * s.at(&[i[1]]) + b.at(&[i[1]]));
    let nodes = one("InstanceNormalization", &["x", "s", "b"], vec![]);
    Case::new(&[&x], nodes, constants.clone()).makes(&affine(&normal(&[2, 3], &x)), &["instance_norm"]);
    let nodes = one("GroupNormalization", &["x", "s", "b"], vec![int("num_groups", 2)]);
    let grouped = normal(&[2], &Tensor { dims: vec![2, 2, 30], ..x.clone() });
    let expected = affine(&Tensor { dims: x.dims.clone(), ..grouped });
    Case::new(&[&x], nodes, constants.clone()).opset(21).makes(&expected, &["group_norm", "groups: 2"]);
    // Over the last axis, and with channels last over the channels.
    let last = Tensor { dims: vec![2, 3, 5, 4], ..x };
    let nodes = one("LayerNormalization", &["x", "s", "b"], vec![]);
    let of_last = normal(&[3], &last);
    let expected = Tensor::of(&last.dims, |i| of_last.at(i) * s.at(&[i[3]]) + b.at(&[i[3]]));
    Case::new(&[&last], nodes, constants).makes(&expected, &["layer_norm"]);
    // Over several, of which each element has its own factor; and over channels that lie apart.
    let nodes = one("LayerNormalization", &["x", "s"], vec![int("axis", 2), float("epsilon", 0.5)]);
    let s = Tensor::some(&[5, 4], 4);
    let of_two = normal_by(&[2, 3], &last, 0.5);
    let expected = Tensor::of(&last.dims, |i| of_two.at(i) * s.at(&[i[2], i[3]]));
    Case::new(&[&last], nodes, vec![s.constant("s")]).makes(&expected, &["layer_norm", "axis: 2", "epsilon: 0.5"]);
    let first = Tensor::some(&[2, 4, 3, 5], 1);
    let s = Tensor::some(&[4], 2);
    let turned = vec![
        node("Transpose", &["x"], "t", vec![ints("perm", &[0, 2, 3, 1])]),
        node("LayerNormalization", &["t", "s"], "n", vec![]),
        node("Transpose", &["n"], "y", vec![ints("perm", &[0, 3, 1, 2])]),
    ];
    let of_channels = normal(&[1], &first);
    let expected = Tensor::of(&first.dims, |i| of_channels.at(i) * s.at(&[i[1]]));
    Case::new(&[&first], turned, vec![s.constant("s")]).makes(&expected, &["layer_norm", "reorder"]);
    // Numbers of groups, as before version 21.
    let (s, b) = (Tensor::some(&[2], 2), Tensor::some(&[2], 3));
    let grouped = normal(&[2], &Tensor { dims: vec![2, 2, 30], ..first.clone() });
    let expected = Tensor { dims: first.dims.clone(), ..grouped };
    let expected = Tensor::of(&first.dims, |i| expected.at(i) * s.at(&[i[1] / 2]) + b.at(&[i[1] / 2]));
    let nodes = one("GroupNormalization", &["x", "s", "b"], vec![int("num_groups", 2)]);
    Case::new(&[&first], nodes, vec![s.constant("s"), b.constant("b")]).opset(18).makes(&expected, &["group_norm"]);
}

/// `m` with the difference from it, what is below the root, and the quotient, as exporters write them.
fn written_out(axes: &[i64], (squares, again, reciprocal): (&str, bool, bool)) -> Vec<NodeProto> {
    let mean = |x: &str, made: &str| node("ReduceMean", &[x], made, vec![ints("axes", axes), int("keepdims", 1)]);
    let mut nodes = vec![mean("x", "m"), node("Sub", &["x", "m"], "d", vec![])];
    if again {
        nodes.extend([mean("x", "m2"), node("Sub", &["x", "m2"], "d2", vec![])]);
    }
    let d = if again { "d2" } else { "d" };
    nodes.push(node(squares, if squares == "Pow" { [d, "two"] } else { [d, d] }.as_slice(), "s", vec![]));
    nodes.extend([mean("s", "v"), node("Add", &["v", "e"], "w", vec![]), node("Sqrt", &["w"], "r", vec![])]);
    if reciprocal {
        nodes.extend([node("Reciprocal", &["r"], "i", vec![]), node("Mul", &["d", "i"], "n", vec![])]);
    } else {
        nodes.push(node("Div", &["d", "r"], "n", vec![]));
    }
    nodes.extend([node("Mul", &["n", "f"], "t", vec![]), node("Add", &["t", "b"], "y", vec![])]);
    nodes
}

#[test]
fn what_exporters_write_out_is_a_layer() {
    // Means of 2.5, variances of 1.25.
    let x = Tensor { dims: vec![2, 1, 4], values: vec![1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0] };
    let constants =
        vec![number("two", 2.0), number("e", 5.0), floats("f", &[4], &[1.0, 2.0, 0.5, -1.0]), number("b", 0.25)];
    let values = vec![-0.35, -0.15, 0.35, -0.35, 0.85, 0.65, 0.15, 0.85];
    let expected = Tensor { dims: x.dims.clone(), values };
    for how in [("Pow", false, false), ("Mul", false, false), ("Pow", true, false), ("Mul", false, true)] {
        let case = Case::new(&[&x], written_out(&[-1], how), constants.clone());
        let case = case.opset(13);
        case.makes(&expected, &["layer_norm", "epsilon: 5"]);
        let text = case.text();
        assert!(!text.contains("pool") && !text.contains("then"), "{text}");
    }
}

/// Along channels that lie apart, and along an image.
#[test]
fn along_any_axes() {
    let x = Tensor::some(&[2, 4, 3, 5], 1);
    let f = Tensor::some(&[4, 1, 1], 2);
    let constants = vec![number("two", 2.0), number("e", 0.5), f.constant("f"), number("b", 0.25)];
    for axes in [&[1][..], &[2, 3], &[1, 2, 3]] {
        let means = reduced(&x, axes, mean);
        let variances = reduced(&x, axes, |taps| {
            let mean = mean(taps);
            taps.iter().map(|tap| (tap - mean).powi(2)).sum::<f64>() / taps.len() as f64
        });
        let expected = Tensor::of(&x.dims, |i| {
            let at: Vec<_> = (0..i.len()).map(|axis| if axes.contains(&axis) { 0 } else { i[axis] }).collect();
            (x.at(i) - means.at(&at)) / (variances.at(&at) + 0.5).sqrt() * f.at(&[i[1], 0, 0]) + 0.25
        });
        let given: Vec<_> = axes.iter().map(|&axis| axis as i64).collect();
        let nodes = written_out(&given, ("Pow", false, false));
        Case::new(&[&x], nodes, constants.clone()).opset(13).makes(&expected, &["layer_norm"]);
    }
}

/// Of other powers and axes it is what it was: averages, powers and products.
#[test]
fn what_is_nearly_a_norm_is_none() {
    let x = Tensor::some(&[2, 4, 3, 5], 1);
    let constants = |power: f32| vec![number("two", power), number("e", 0.5), number("f", 2.0), number("b", 0.25)];
    let mut nodes = written_out(&[3], ("Pow", false, false));
    let text = Case::new(&[&x], nodes.clone(), constants(4.0)).opset(13).text();
    assert!(!text.contains("layer_norm"), "{text}");
    nodes[0] = node("ReduceMean", &["x"], "m", vec![ints("axes", &[2, 3])]);
    let text = Case::new(&[&x], nodes, constants(2.0)).opset(13).text();
    assert!(!text.contains("layer_norm"), "{text}");
}
