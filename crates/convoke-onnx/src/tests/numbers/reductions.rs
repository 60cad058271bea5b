//! One number of many, and what softmax makes with such.

use super::*;

/// Sizes with these ones 1, and what `f` makes of all elements that become one.
pub(super) fn reduced(x: &Tensor, axes: &[usize], f: impl Fn(&[f64]) -> f64) -> Tensor {
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

pub(super) fn mean(taps: &[f64]) -> f64 {
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
