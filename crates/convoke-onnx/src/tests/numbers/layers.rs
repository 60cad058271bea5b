//! Convolutions, matrices and pooling, and what becomes part of them.

use super::*;

fn x() -> Tensor {
    Tensor::some(&[1, 4, 6, 7], 1)
}

/// The sums of a convolution in two dimensions whose padding is `f`.
fn sums(
    x: &Tensor,
    w: &Tensor,
    groups: usize,
    (stride, pads): (usize, [usize; 2]),
    f: &dyn Fn(&[isize]) -> f64,
) -> Tensor {
    let (out, per_group, kernel) = (w.dims[0], w.dims[1], w.dims[2]);
    let size = |axis: usize| (x.dims[axis] + pads[0] + pads[1] - kernel) / stride + 1;
    Tensor::of(&[x.dims[0], out, size(2), size(3)], |i| {
        let mut sum = 0.0;
        for c in 0..per_group {
            for (h, w_) in (0..kernel * kernel).map(|at| (at / kernel, at % kernel)) {
                let channel = i[1] / (out / groups) * per_group + c;
                let place = |at: usize, tap: usize| (at * stride + tap) as isize - pads[0] as isize;
                sum += w.at(&[i[1], c, h, w_]) * f(&[i[0] as isize, channel as isize, place(i[2], h), place(i[3], w_)]);
            }
        }
        sum
    })
}

/// An element, or 0 around them.
fn or_zero(x: &Tensor) -> impl Fn(&[isize]) -> f64 {
    move |at| {
        let inside = at.iter().zip(&x.dims).all(|(&at, &size)| (0..size as isize).contains(&at));
        if inside { x.at(&at.iter().map(|&at| at as usize).collect::<Vec<_>>()) } else { 0.0 }
    }
}

/// An element, or that which the index becomes.
fn or_other(x: &Tensor, other: fn(isize, isize) -> isize) -> impl Fn(&[isize]) -> f64 {
    move |at| x.at(&at.iter().zip(&x.dims).map(|(&at, &size)| other(at, size as isize) as usize).collect::<Vec<_>>())
}

#[test]
fn convolutions_take_up_what_is_around_them() {
    let x = x();
    let w = Tensor::some(&[3, 4, 3, 3], 2);
    let bare = |pads: i64| vec![ints("pads", &[pads; 4]), ints("strides", &[2, 2])];
    let plain = sums(&x, &w, 1, (2, [1, 1]), &or_zero(&x));
    Case::new(&[&x], one("Conv", &["x", "w"], bare(1)), vec![w.constant("w")])
        .makes(&plain, &["stride: 2, padding: 1"]);
    let (scale, bias) = ([0.5, -2.0, 1.5], [1.0, 0.25, -1.0]);
    let (mean, variance) = ([0.5, 0.0, -0.5], [1.0, 4.0, 0.25]);
    let all = |name: &str, of: &[f32; 3]| floats(name, &[3], of);
    let nodes = vec![
        node("Conv", &["x", "w"], "c", bare(1)),
        node("BatchNormalization", &["c", "s", "b", "m", "v"], "n", vec![float("epsilon", 0.001)]),
        node("Mul", &["n", "two"], "t", vec![]),
        node("Relu", &["t"], "y", vec![]),
    ];
    let constants = vec![
        w.constant("w"),
        all("s", &scale),
        all("b", &bias),
        all("m", &mean),
        all("v", &variance),
        number("two", 2.0),
    ];
    let normalized = Tensor::of(&plain.dims, |i| {
        let c = i[1];
        let [scale, bias, mean, variance] = [scale[c], bias[c], mean[c], variance[c]].map(f64::from);
        (2.0 * ((plain.at(i) - mean) / (variance + 0.001).sqrt() * scale + bias)).max(0.0)
    });
    Case::new(&[&x], nodes, constants).makes(&normalized, &["bias: true, then: relu }"]);
    type Other = fn(isize, isize) -> isize;
    let modes: [(&'static str, &str, Other); 3] = [
        ("reflect", "reflect", |at, size| if at < 0 { -at } else { (2 * size - 2 - at).min(at) }),
        ("edge", "replicate", |at, size| at.clamp(0, size - 1)),
        ("wrap", "circular", |at, size| at.rem_euclid(size)),
    ];
    for (mode, word_of_ours, other) in modes {
        let pad = node("Pad", &["x", "p"], "p1", vec![word("mode", mode)]);
        let pads = integers("p", &[0, 0, 1, 1, 0, 0, 1, 1]);
        let nodes = vec![pad.clone(), node("Conv", &["p1", "w"], "y", bare(0))];
        let expected = sums(&x, &w, 1, (2, [1, 1]), &or_other(&x, other));
        let field = format!("padding_mode: {word_of_ours}");
        Case::new(&[&x], nodes, vec![w.constant("w"), pads.clone()]).opset(19).makes(&expected, &[&field]);
        // Alone it is a convolution that copies.
        let alone = vec![NodeProto { output: vec!["y".to_owned()], ..pad }];
        let around = or_other(&x, other);
        let expected = Tensor::of(&[1, 4, 8, 9], |i| around(&[0, i[1] as isize, i[2] as isize - 1, i[3] as isize - 1]));
        Case::new(&[&x], alone, vec![pads]).opset(19).makes(&expected, &[&field, "groups: depthwise"]);
    }
}

#[test]
fn sums_and_products_become_steps() {
    let x = x();
    let (v, w) = (Tensor::some(&[4, 4, 1, 1], 2), Tensor::some(&[4, 4, 1, 1], 3));
    let [first, second] = [&v, &w].map(|w| sums(&x, w, 1, (1, [0, 0]), &or_zero(&x)));
    for (op, step) in [("Add", "residual"), ("Mul", "multiply")] {
        let nodes = vec![
            node("Conv", &["x", "v"], "a", vec![]),
            node("Conv", &["x", "w"], "b", vec![]),
            node("Tanh", &["b"], "t", vec![]),
            node(op, &["a", "t"], "j", vec![]),
            node("Relu", &["j"], "y", vec![]),
        ];
        let join = |a: f64, b: f64| if op == "Add" { a + b } else { a * b };
        let expected = Tensor::of(&first.dims, |i| join(first.at(i), second.at(i).tanh()).max(0.0));
        let part = format!("then: [tanh, {step}(conv1), relu]");
        Case::new(&[&x], nodes, vec![v.constant("v"), w.constant("w")]).makes(&expected, &[&part]);
    }
    // A factor for each channel: numbers of channels behind it stay a layer of their own.
    let each = Tensor::some(&[4, 1, 1], 7);
    let nodes = vec![
        node("GlobalAveragePool", &["x"], "g", vec![]),
        node("Mul", &["x", "g"], "m", vec![]),
        node("Add", &["m", "e"], "y", vec![]),
    ];
    let mean = |c: usize| (0..42).map(|at| x.at(&[0, c, at / 7, at % 7])).sum::<f64>() / 42.0;
    let expected = Tensor::of(&x.dims, |i| x.at(i) * mean(i[1]) + each.at(&[i[1], 0, 0]));
    Case::new(&[&x], nodes, vec![each.constant("e")]).makes(&expected, &["mul ", "then: shift"]);
}

#[test]
fn transposed_convolutions() {
    let x = Tensor::some(&[1, 2, 3, 3], 1);
    let w = Tensor::some(&[2, 2, 2, 2], 2);
    let bias = [0.5, -1.0, 2.0, 0.25];
    // Of two groups: each channel makes two.
    let expected = Tensor::of(&[1, 4, 6, 6], |i| {
        let (group, tap) = (i[1] / 2, [i[2] % 2, i[3] % 2]);
        let sum = x.at(&[0, group, i[2] / 2, i[3] / 2]) * w.at(&[group, i[1] % 2, tap[0], tap[1]]);
        3.0 * (sum + f64::from(bias[i[1]]))
    });
    let attributes = vec![ints("strides", &[2, 2]), int("group", 2)];
    let nodes =
        vec![node("ConvTranspose", &["x", "w", "b"], "c", attributes), node("Mul", &["c", "three"], "y", vec![])];
    let constants = vec![w.constant("w"), floats("b", &[4], &bias), number("three", 3.0)];
    Case::new(&[&x], nodes, constants).makes(&expected, &["conv_transpose2d", "groups: depthwise", "bias: true }"]);
}

#[test]
fn matrices() {
    let x = Tensor::some(&[2, 3, 2, 2], 1);
    let (w, b) = (Tensor::some(&[12, 5], 2), Tensor::some(&[5], 3));
    let flat = |i: &[usize], of: &dyn Fn(usize) -> f64| (0..12).map(|k| of(k) * w.at(&[k, i[1]])).sum::<f64>();
    let expected = Tensor::of(&[2, 5], |i| flat(i, &|k| x.values[i[0] * 12 + k]) * 0.5 + 2.0 * b.at(&[i[1]]));
    let gemm = vec![float("alpha", 0.5), float("beta", 2.0)];
    let nodes = vec![node("Flatten", &["x"], "f", vec![]), node("Gemm", &["f", "w", "b"], "y", gemm)];
    let constants = || vec![w.constant("w"), b.constant("b")];
    Case::new(&[&x], nodes, constants()).makes(&expected, &["flatten", "linear", "bias: true }"]);
    // Features in another order: the columns of the matrix go with them, and nothing is moved.
    let nodes = vec![
        node("Transpose", &["x"], "t", vec![ints("perm", &[0, 2, 3, 1])]),
        node("Flatten", &["t"], "f", vec![]),
        node("MatMul", &["f", "w"], "y", vec![]),
    ];
    let expected = Tensor::of(&[2, 5], |i| flat(i, &|k| x.at(&[i[0], k % 3, k / 6, k / 3 % 2])));
    Case::new(&[&x], nodes, constants()).makes(&expected, &["flatten flat {}\n    linear"]);
    // Of rows.
    let rows = Tensor::some(&[1, 6, 12], 4);
    let expected = Tensor::of(&[1, 6, 5], |i| (0..12).map(|k| rows.at(&[0, i[1], k]) * w.at(&[k, i[2]])).sum());
    Case::new(&[&rows], one("MatMul", &["x", "w"], vec![]), constants()).makes(&expected, &["conv1d"]);
    let left = Tensor::some(&[4, 6], 5);
    let expected = Tensor::of(&[1, 4, 12], |i| (0..6).map(|k| left.at(&[i[1], k]) * rows.at(&[0, k, i[2]])).sum());
    Case::new(&[&rows], one("MatMul", &["w", "x"], vec![]), vec![left.constant("w")]).makes(&expected, &["conv1d"]);
}

#[test]
fn pooling() {
    let x = x();
    let window = |i: &[usize], of: &mut dyn FnMut(f64)| {
        for (h, w) in (0..4).map(|at| (i[2] + at / 2, i[3] + at % 2)) {
            if (1..=6).contains(&h) && (1..=7).contains(&w) {
                of(x.at(&[0, i[1], h - 1, w - 1]));
            }
        }
    };
    let all = |made: &dyn Fn(&[f64]) -> f64| {
        Tensor::of(&[1, 4, 7, 8], |i| {
            let mut taps = Vec::new();
            window(i, &mut |tap| taps.push(tap));
            made(&taps)
        })
    };
    let attributes = |more: Option<AttributeProto>| {
        let own = vec![ints("kernel_shape", &[2, 2]), ints("pads", &[1, 1, 1, 1])];
        own.into_iter().chain(more).collect::<Vec<_>>()
    };
    let sum = |taps: &[f64]| taps.iter().sum::<f64>();
    let max = all(&|taps| taps.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    Case::new(&[&x], one("MaxPool", &["x"], attributes(None)), vec![]).makes(&max, &["max_pool2d"]);
    let mean = all(&|taps| sum(taps) / taps.len() as f64);
    Case::new(&[&x], one("AveragePool", &["x"], attributes(None)), vec![]).makes(&mean, &["count_include_pad: false"]);
    let counted = all(&|taps| sum(taps) / 4.0);
    let include = Some(int("count_include_pad", 1));
    Case::new(&[&x], one("AveragePool", &["x"], attributes(include)), vec![]).makes(&counted, &["avg_pool2d"]);
    let norm = all(&|taps| taps.iter().map(|tap| tap.powi(2)).sum::<f64>().sqrt());
    Case::new(&[&x], one("LpPool", &["x"], attributes(None)), vec![]).makes(&norm, &["lp_pool2d"]);
    let near = Tensor::of(&x.dims, |i| {
        let square = |c: usize| if c < 4 { x.at(&[0, c, i[2], i[3]]).powi(2) } else { 0.0 };
        let sum = square(i[1].wrapping_sub(1)) + square(i[1]) + square(i[1] + 1);
        x.at(i) / (2.0 + 0.5 / 3.0 * sum).powf(0.75)
    });
    let lrn = vec![int("size", 3), float("alpha", 0.5), float("bias", 2.0)];
    Case::new(&[&x], one("LRN", &["x"], lrn), vec![]).makes(&near, &["lrn"]);
}
