//! One number of many, and what is normalized with such.

use super::*;

/// Sizes with these ones 1, and what `f` makes of all elements that become one.
fn reduced(x: &Tensor, axes: &[usize], f: impl Fn(&[f64]) -> f64) -> Tensor {
    let mut dims = x.dims.clone();
    axes.iter().for_each(|&axis| dims[axis] = 1);
    let all = Tensor::of(&x.dims, |_| 0.0);
    Tensor::of(&dims, |i| {
        let mut taps = Vec::new();
        Tensor::of(&all.dims, |at| {
            if (0..at.len()).all(|axis| axes.contains(&axis) || at[axis] == i[axis]) {
                taps.push(x.at(at));
            }
            0.0
        });
        f(&taps)
    })
}

fn mean(taps: &[f64]) -> f64 {
    taps.iter().sum::<f64>() / taps.len() as f64
}

#[test]
fn along_every_axis() {
    type Formula = fn(&[f64]) -> f64;
    let cases: [(&str, Formula); 7] = [
        ("ReduceMean", mean),
        ("ReduceSum", |taps| taps.iter().sum()),
        ("ReduceSumSquare", |taps| taps.iter().map(|x| x * x).sum()),
        ("ReduceMax", |taps| taps.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        ("ReduceMin", |taps| taps.iter().copied().fold(f64::INFINITY, f64::min)),
        ("ReduceL1", |taps| taps.iter().map(|x| x.abs()).sum()),
        ("ReduceL2", |taps| taps.iter().map(|x| x * x).sum::<f64>().sqrt()),
    ];
    let x = Tensor::some(&[2, 3, 4, 5], 1);
    for axes in [&[1][..], &[2], &[3], &[2, 3], &[1, 2, 3], &[1, 3]] {
        for (op, formula) in cases {
            let given: Vec<_> = axes.iter().map(|&axis| axis as i64).collect();
            let expected = reduced(&x, axes, formula);
            let case = Case::new(&[&x], one(op, &["x", "a"], vec![]), vec![integers("a", &given)]).opset(18);
            case.makes(&expected, &["_pool"]);
            let left = (0..4).filter(|axis| !axes.contains(axis)).map(|axis| x.dims[axis]).collect();
            let flat = Tensor { dims: left, ..expected };
            let flags = vec![int("keepdims", 0)];
            Case::new(&[&x], one(op, &["x", "a"], flags), vec![integers("a", &given)]).opset(18).makes(&flat, &[]);
        }
    }
}

/// Channels and space together, of volumes.
#[test]
fn along_axes_of_volumes() {
    let x = Tensor::some(&[2, 3, 2, 4, 5], 1);
    for axes in [&[1, 2, 3, 4][..], &[1, 2], &[1, 4], &[1, 2, 3], &[2, 3, 4], &[3]] {
        let given: Vec<_> = axes.iter().map(|&axis| axis as i64).collect();
        let expected = reduced(&x, axes, |taps| taps.iter().copied().fold(f64::INFINITY, f64::min));
        let nodes = one("ReduceMin", &["x"], vec![ints("axes", &given)]);
        Case::new(&[&x], nodes, vec![]).makes(&expected, &["max_pool"]);
        let nodes = one("ReduceMean", &["x"], vec![ints("axes", &given), int("keepdims", 0)]);
        let left = (0..5).filter(|axis| !axes.contains(axis)).map(|axis| x.dims[axis]).collect();
        Case::new(&[&x], nodes, vec![]).makes(&Tensor { dims: left, ..reduced(&x, axes, mean) }, &["avg_pool"]);
    }
}

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

#[test]
fn softmax_of_every_axis() {
    let x = Tensor::some(&[2, 3, 4, 5], 1);
    for axis in 1..4 {
        let sums = reduced(&x.map(f64::exp), &[axis], |taps| taps.iter().sum());
        let expected = Tensor::of(&x.dims, |i| {
            let at: Vec<_> = (0..4).map(|other| if other == axis { 0 } else { i[other] }).collect();
            x.at(i).exp() / sums.at(&at)
        });
        Case::new(&[&x], one("Softmax", &["x"], vec![int("axis", axis as i64)]), vec![]).makes(&expected, &["softmax"]);
    }
    // Before version 13 over all from the axis on.
    let sums = reduced(&x.map(f64::exp), &[1, 2, 3], |taps| taps.iter().sum());
    let expected = Tensor::of(&x.dims, |i| x.at(i).exp() / sums.at(&[i[0], 0, 0, 0]));
    Case::new(&[&x], one("Softmax", &["x"], vec![]), vec![]).opset(11).makes(&expected, &["f32[2, 60]"]);
}
