//! Operators that move elements, on values of every order.

use super::*;

fn x() -> Tensor {
    Tensor::some(&[2, 4, 6, 5], 1)
}

fn sizes(name: &str, values: &[i64]) -> Vec<TensorProto> {
    vec![integers(name, values)]
}

#[test]
fn transpositions_and_reshapes_of_any_kind() {
    let x = x();
    for order in [[0, 1, 3, 2], [0, 2, 1, 3], [0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1], [0, 1, 2, 3]] {
        let dims: Vec<_> = order.iter().map(|&axis| x.dims[axis]).collect();
        let expected = Tensor::of(&dims, |i| {
            let mut from = [0; 4];
            order.iter().zip(i).for_each(|(&axis, &at)| from[axis] = at);
            x.at(&from)
        });
        let perm = ints("perm", &order.map(|axis| axis as i64));
        // Behind a step, so that there is a layer.
        let nodes = vec![node("Neg", &["x"], "n", vec![]), node("Transpose", &["n"], "y", vec![perm])];
        Case::new(&[&x], nodes, vec![]).makes(&expected.map(|x| -x), &[]);
    }
    let shuffled = vec![
        node("Reshape", &["x", "apart"], "a", vec![]),
        node("Transpose", &["a"], "t", vec![ints("perm", &[0, 2, 1, 3, 4])]),
        node("Reshape", &["t", "back"], "y", vec![]),
    ];
    let constants = vec![integers("apart", &[2, 2, 2, 6, 5]), integers("back", &[0, 4, -1, 5])];
    let expected = Tensor::of(&x.dims, |i| x.at(&[i[0], i[1] % 2 * 2 + i[1] / 2, i[2], i[3]]));
    Case::new(&[&x], shuffled, constants).makes(&expected, &["axes: (0, 2, 1, 3)"]);
    let depth = Tensor::some(&[2, 8, 2, 3], 2);
    for (mode, channel) in [("DCR", [2, 4]), ("CRD", [1, 2])] {
        let attributes = vec![int("blocksize", 2), word("mode", mode)];
        let expected = Tensor::of(&[2, 2, 4, 6], |i| {
            let own = if mode == "DCR" { i[1] } else { i[1] * 4 };
            depth.at(&[i[0], own + i[3] % 2 * channel[0] + i[2] % 2 * channel[1], i[2] / 2, i[3] / 2])
        });
        Case::new(&[&depth], one("DepthToSpace", &["x"], attributes), vec![]).makes(&expected, &["transpose"]);
    }
    let expected = Tensor::of(&[2, 16, 3, 2], |i| {
        let (block, channel) = (i[1] / 4, i[1] % 4);
        Tensor::at(&Tensor::some(&[2, 4, 6, 4], 3), &[i[0], channel, i[2] * 2 + block / 2, i[3] * 2 + block % 2])
    });
    let wide = Tensor::some(&[2, 4, 6, 4], 3);
    Case::new(&[&wide], one("SpaceToDepth", &["x"], vec![int("blocksize", 2)]), vec![]).makes(&expected, &[]);
}

#[test]
fn parts_of_every_axis() {
    let x = x();
    // Axis, start, end, step, and the indices that are taken.
    let cases: [(usize, [i64; 3], &[usize]); 7] = [
        (1, [1, 3, 1], &[1, 2]),
        (1, [0, 99, 2], &[0, 2]),
        (1, [-1, -99, -1], &[3, 2, 1, 0]),
        (2, [1, i64::MAX, 2], &[1, 3, 5]),
        (2, [-3, -1, 1], &[3, 4]),
        (3, [4, 0, -2], &[4, 2]),
        (3, [2, 3, 1], &[2]),
    ];
    for (axis, [start, end, step], taken) in cases {
        let mut dims = x.dims.clone();
        dims[axis] = taken.len();
        let expected = Tensor::of(&dims, |i| {
            let mut from = i.to_vec();
            from[axis] = taken[i[axis]];
            x.at(&from)
        });
        let constants =
            [("s", start), ("e", end), ("a", axis as i64), ("p", step)].map(|(name, value)| integers(name, &[value]));
        let nodes = one("Slice", &["x", "s", "e", "a", "p"], vec![]);
        Case::new(&[&x], nodes, constants.to_vec()).makes(&expected, &["slice"]);
        // The same by indices.
        let indices: Vec<_> = taken.iter().map(|&at| at as i64).collect();
        let nodes = one("Gather", &["x", "g"], vec![int("axis", axis as i64)]);
        Case::new(&[&x], nodes, sizes("g", &indices)).makes(&expected, &["slice"]);
    }
    let scalar = TensorProto { dims: vec![], ..integers("g", &[-2]) };
    let expected = Tensor::of(&[2, 6, 5], |i| x.at(&[i[0], 2, i[1], i[2]]));
    Case::new(&[&x], one("Gather", &["x", "g"], vec![int("axis", 1)]), vec![scalar]).makes(&expected, &[]);
    let split = NodeProto {
        output: vec!["first".to_owned(), "second".to_owned()],
        ..node("Split", &["x", "s"], "", vec![int("axis", 1)])
    };
    let turned = vec![split, node("Concat", &["second", "first"], "y", vec![int("axis", 1)])];
    let expected = Tensor::of(&x.dims, |i| x.at(&[i[0], (i[1] + 1) % 4, i[2], i[3]]));
    Case::new(&[&x], turned, sizes("s", &[1, 3])).makes(&expected, &["channels: 0..1", "channels: 1..4", "concat"]);
}

#[test]
fn joined_along_every_axis() {
    let x = x();
    for axis in 1..4 {
        let mut dims = x.dims.clone();
        dims[axis] = 3;
        let z = Tensor::some(&dims, 5);
        dims[axis] = 3 + x.dims[axis];
        let expected = Tensor::of(&dims, |i| {
            let mut from = i.to_vec();
            if i[axis] < 3 {
                return z.at(&from);
            }
            from[axis] -= 3;
            x.at(&from)
        });
        // What is empty is nothing.
        let mut none: Vec<_> = x.dims.iter().map(|&size| size as i64).collect();
        none[axis] = 0;
        let nodes = one("Concat", &["e", "z", "x"], vec![int("axis", axis as i64)]);
        Case::new(&[&x, &z], nodes, vec![floats("e", &none, &[])]).makes(&expected, &["concat"]);
        let mut repeats = [1; 4];
        repeats[axis] = 2;
        dims[axis] = 2 * x.dims[axis];
        let expected = Tensor::of(&dims, |i| {
            let mut from = i.to_vec();
            from[axis] %= x.dims[axis];
            x.at(&from)
        });
        Case::new(&[&x], one("Tile", &["x", "r"], vec![]), sizes("r", &repeats)).makes(&expected, &["concat"]);
    }
}

/// Of one image the first axis is no batch that could be joined or not.
#[test]
fn joined_along_a_first_axis_of_one_element() {
    for dims in [&[1, 3, 4][..], &[1, 1, 5], &[1, 2, 3, 2], &[1, 4]] {
        let (x, z) = (Tensor::some(dims, 20), Tensor::some(dims, 21));
        let all = Tensor::of(&[&[3], &dims[1..]].concat(), |i| {
            let from = if i[0] == 1 { &z } else { &x };
            from.at(&[&[0], &i[1..]].concat())
        });
        let nodes = one("Concat", &["x", "z", "x"], vec![int("axis", 0)]);
        Case::new(&[&x, &z], nodes, vec![]).makes(&all, &["concat"]);
    }
}

#[test]
fn padded_and_repeated() {
    let x = x();
    for (axis, channels) in [(1, true), (2, false), (3, false)] {
        let mut pads = [0; 8];
        (pads[axis], pads[axis + 4]) = (2, 1);
        let mut dims = x.dims.clone();
        dims[axis] += 3;
        let expected = Tensor::of(&dims, |i| {
            let mut from = i.to_vec();
            match i[axis].checked_sub(2).filter(|&at| at < x.dims[axis]) {
                Some(at) => {
                    from[axis] = at;
                    x.at(&from)
                }
                None => 0.5,
            }
        });
        let constants = vec![integers("p", &pads), number("v", 0.5)];
        let part = if channels { "@ ncdhw" } else { "pad pad" };
        Case::new(&[&x], one("Pad", &["x", "p", "v"], vec![]), constants).makes(&expected, &[part]);
    }
    let expected = Tensor::of(&[2, 4, 12, 15], |i| x.at(&[i[0], i[1], i[2] / 2, i[3] / 3]));
    let scales = floats("s", &[4], &[1.0, 1.0, 2.0, 3.0]);
    let by_scale = |attributes: Vec<AttributeProto>| one("Resize", &["x", "", "s"], attributes);
    Case::new(&[&x], by_scale(vec![]), vec![scales.clone()]).makes(&expected, &["scale: (2, 3)"]);
    let floor = vec![word("coordinate_transformation_mode", "asymmetric"), word("nearest_mode", "floor")];
    Case::new(&[&x], by_scale(floor.clone()), vec![scales]).makes(&expected, &["scale: (2, 3)"]);
    let wanted = sizes("w", &[2, 4, 12, 15]);
    Case::new(&[&x], one("Resize", &["x", "", "", "w"], floor), wanted).makes(&expected, &["scale: (2, 3)"]);
    let one_each = Tensor::some(&[2, 4, 1, 1], 3);
    let expected = Tensor::of(&[2, 4, 3, 2], |i| one_each.at(&[i[0], i[1], 0, 0]));
    Case::new(&[&one_each], one("Expand", &["x", "e"], vec![]), sizes("e", &[4, 3, 2])).makes(&expected, &["resize"]);
}
