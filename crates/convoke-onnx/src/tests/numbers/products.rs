//! Products of two values, and what attention has around them.

use super::*;

/// `a` times `b` along their last two axes, whose axes in front are equal.
fn product(a: &Tensor, b: &Tensor) -> Tensor {
    let rank = a.dims.len();
    let mut dims = a.dims.clone();
    dims[rank - 1] = b.dims[rank - 1];
    Tensor::of(&dims, |i| {
        let with = |at: usize, value: usize| {
            let mut index = i.to_vec();
            index[at] = value;
            index
        };
        (0..a.dims[rank - 1]).map(|k| a.at(&with(rank - 1, k)) * b.at(&with(rank - 2, k))).sum()
    })
}

fn transposed(x: &Tensor, perm: &[usize]) -> Tensor {
    let dims: Vec<_> = perm.iter().map(|&axis| x.dims[axis]).collect();
    Tensor::of(&dims, |i| {
        let mut index = vec![0; i.len()];
        perm.iter().zip(i).for_each(|(&axis, &at)| index[axis] = at);
        x.at(&index)
    })
}

#[test]
fn two_values_are_multiplied_as_matrices() {
    for lead in [&[1][..], &[2], &[1, 3], &[2, 3], &[1, 2, 3], &[2, 2, 3]] {
        let dims = |two: [usize; 2]| [lead, &two].concat();
        for (m, k, n) in [(4, 5, 3), (1, 3, 1), (2, 1, 2)] {
            let (x, z) = (Tensor::some(&dims([m, k]), 1), Tensor::some(&dims([k, n]), 2));
            Case::new(&[&x, &z], one("MatMul", &["x", "z"], vec![]), vec![]).makes(&product(&x, &z), &["matmul"]);
            // The other way round, which moves nothing.
            let turned = Tensor::some(&dims([n, k]), 3);
            let rank = lead.len() + 2;
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 2, rank - 1);
            let order: Vec<i64> = perm.iter().map(|&axis| axis as i64).collect();
            let nodes = vec![
                node("Transpose", &["z"], "t", vec![ints("perm", &order)]),
                node("MatMul", &["x", "t"], "y", vec![]),
            ];
            let parts: &[&str] = if k > 1 { &["transpose_b: true"] } else { &[] };
            Case::new(&[&x, &turned], nodes, vec![]).makes(&product(&x, &transposed(&turned, &perm)), parts);
        }
    }
}

#[test]
fn one_matrix_stands_for_all() {
    let (x, z) = (Tensor::some(&[1, 3, 4, 5], 1), Tensor::some(&[1, 1, 5, 2], 2));
    let repeated = |z: &Tensor, n: usize| Tensor::of(&[1, n, z.dims[2], z.dims[3]], |i| z.at(&[0, 0, i[2], i[3]]));
    let expected = product(&x, &repeated(&z, 3));
    Case::new(&[&x, &z], one("MatMul", &["x", "z"], vec![]), vec![]).makes(&expected, &["matmul"]);
    let flat = Tensor { dims: vec![5, 2], ..z };
    Case::new(&[&x, &flat], one("MatMul", &["x", "z"], vec![]), vec![]).makes(&expected, &["matmul"]);
    let (x, z) = (Tensor::some(&[2, 1, 4, 5], 1), Tensor::some(&[2, 3, 5, 2], 2));
    let all = Tensor::of(&[2, 3, 4, 5], |i| x.at(&[i[0], 0, i[2], i[3]]));
    Case::new(&[&x, &z], one("MatMul", &["x", "z"], vec![]), vec![]).makes(&product(&all, &z), &["matmul"]);
}

#[test]
fn gemm_takes_two_values() {
    let (x, z) = (Tensor::some(&[5, 4], 1), Tensor::some(&[3, 5], 2));
    let bias = Tensor::some(&[3], 3);
    let plain = product(&transposed(&x, &[1, 0]), &transposed(&z, &[1, 0]));
    let expected = Tensor::of(&[4, 3], |i| 0.5 * plain.at(i) + 2.0 * bias.at(&[i[1]]));
    let attributes = vec![int("transA", 1), int("transB", 1), float("alpha", 0.5), float("beta", 2.0)];
    Case::new(&[&x, &z], one("Gemm", &["x", "z", "b"], attributes), vec![bias.constant("b")])
        .makes(&expected, &["matmul"]);
}

/// Queries, keys and values of several heads from one tensor, as exporters write it; of one image and of two.
#[test]
fn attention_is_made_of_slices_and_products() {
    for batch in [1, 2] {
        let (length, heads, size) = (5, 2, 3);
        let x = Tensor::some(&[batch, length, 3 * heads * size], 1);
        let part = |which: usize| {
            Tensor::of(&[batch, heads, length, size], |i| {
                x.at(&[i[0], i[2], which * heads * size + i[1] * size + i[3]])
            })
        };
        let scores = product(&part(0), &transposed(&part(1), &[0, 1, 3, 2])).map(|x| x / 2.0);
        let powers = scores.map(f64::exp);
        let weights = Tensor::of(&scores.dims, |i| {
            powers.at(i) / (0..length).map(|at| powers.at(&[i[0], i[1], i[2], at])).sum::<f64>()
        });
        let mixed = product(&weights, &part(2));
        let expected =
            Tensor::of(&[batch, length, heads * size], |i| mixed.at(&[i[0], i[2] / size, i[1], i[2] % size]));
        let each = [batch, length, 3, heads, size].map(|size| size as i64);
        let whole = [batch, length, heads * size].map(|size| size as i64);
        let mut nodes = vec![
            node("Reshape", &["x", "each"], "r", vec![]),
            node("Transpose", &["r"], "t", vec![ints("perm", &[2, 0, 3, 1, 4])]),
        ];
        for (name, start, end) in [("q", "zero", "one"), ("k", "one", "two"), ("v", "two", "three")] {
            nodes.push(node("Slice", &["t", start, end, "zero"], &format!("{name}_part"), vec![]));
            nodes.push(node("Squeeze", &[&format!("{name}_part"), "zero"], name, vec![]));
        }
        nodes.extend([
            node("Transpose", &["k"], "kt", vec![ints("perm", &[0, 1, 3, 2])]),
            node("MatMul", &["q", "kt"], "s", vec![]),
            node("Mul", &["s", "half"], "scaled", vec![]),
            node("Softmax", &["scaled"], "w", vec![int("axis", 3)]),
            node("MatMul", &["w", "v"], "m", vec![]),
            node("Transpose", &["m"], "mt", vec![ints("perm", &[0, 2, 1, 3])]),
            node("Reshape", &["mt", "whole"], "y", vec![]),
        ]);
        let mut constants = vec![integers("each", &each), integers("whole", &whole), floats("half", &[], &[0.5])];
        constants.extend(["zero", "one", "two", "three"].iter().zip(0..).map(|(name, n)| integers(name, &[n])));
        Case::new(&[&x], nodes, constants)
            .makes(&expected, &["height: 0..1", "transpose_b: true, then: [mul(0.5), softmax]"]);
    }
}

/// Parts of axes that are factors of others, with steps and of several at once.
#[test]
fn parts_of_factors_move_nothing_else() {
    for batch in [1, 2] {
        let x = Tensor::some(&[batch, 4, 30], 1);
        let sizes = [batch, 4, 5, 3, 2].map(|size| size as i64);
        let nodes = vec![
            node("Reshape", &["x", "sizes"], "r", vec![]),
            node("Transpose", &["r"], "t", vec![ints("perm", &[0, 3, 1, 4, 2])]),
            node("Slice", &["t", "starts", "ends", "axes", "steps"], "y", vec![]),
        ];
        let constants = || {
            vec![
                integers("sizes", &sizes),
                integers("starts", &[1, 0]),
                integers("ends", &[3, 5]),
                integers("axes", &[1, 4]),
                integers("steps", &[1, 2]),
            ]
        };
        let expected = Tensor::of(&[batch, 2, 4, 2, 3], |i| x.at(&[i[0], i[2], 2 * i[4] * 6 + (i[1] + 1) * 2 + i[3]]));
        Case::new(&[&x], nodes, constants()).makes(&expected, &["slice"]);
    }
}
