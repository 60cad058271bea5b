//! Bytes and messages of strangers: in the end there is a network or an error.

use prost::Message;

use super::*;

/// A small generator of numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// A model with operators that read numbers of all kinds.
fn reader() -> ModelProto {
    let nodes = vec![
        node("Pad", &["x", "pads", "half"], "a", vec![]),
        node("Slice", &["a", "starts", "ends", "axes", "steps"], "b", vec![]),
        node("Reshape", &["b", "shape"], "c", vec![]),
        node("Transpose", &["c"], "d", vec![ints("perm", &[0, 2, 1, 3, 4])]),
        node("Reshape", &["d", "back"], "e", vec![]),
        node("Resize", &["e", "", "scales"], "f", vec![]),
        node("ConvTranspose", &["f", "w"], "g", vec![ints("strides", &[2, 2]), int("group", 2)]),
        node("Concat", &["g", "g"], "h", vec![int("axis", 1)]),
        node("MaxPool", &["h"], "i", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        node("ReduceMean", &["i"], "j", vec![ints("axes", &[1])]),
        node("Mul", &["i", "j"], "k", vec![]),
        node("Gather", &["k", "axes"], "l", vec![int("axis", 1)]),
        node("Tile", &["l", "steps4"], "m", vec![]),
        node("Flatten", &["m"], "n", vec![]),
        node("Softmax", &["n"], "y", vec![]),
    ];
    let constants = vec![
        integers("pads", &[0, 0, 1, 1, 0, 0, 1, 1]),
        floats("half", &[], &[0.5]),
        integers("starts", &[0, 1]),
        integers("ends", &[99, -1]),
        integers("axes", &[2, 3]),
        integers("steps", &[1, 1]),
        integers("steps4", &[1, 1, 2, 1]),
        integers("shape", &[1, 2, 2, 6, -1]),
        integers("back", &[0, 4, 6, -1]),
        floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0]),
        some("w", &[4, 2, 2, 2]),
    ];
    model(&[("x", &[1, 4, 4, 6])], nodes, constants, &["y"])
}

/// A model that is quantized, and that ends with a branch.
fn quantized() -> ModelProto {
    let bytes = |name: &str, dims: &[i64]| TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: 3,
        int32_data: (0..dims.iter().product::<i64>()).map(|i| (i as i32 * 37 + 11) % 100 - 50).collect(),
        ..TensorProto::default()
    };
    let branch = |name: &str, op: &str| {
        let output = vec![input("t", &[])];
        let graph = GraphProto { node: vec![node(op, &["k"], "t", vec![])], output, ..GraphProto::default() };
        AttributeProto { name: name.to_owned(), g: Some(Box::new(graph)), ..AttributeProto::default() }
    };
    let lstm = ["h", "lw", "lr", "", "", "", "", "", "ls", "lz", "ls", "lz"];
    let nodes = vec![
        NodeProto {
            output: ["q", "s", "z"].map(str::to_owned).to_vec(),
            ..node("DynamicQuantizeLinear", &["x"], "", vec![])
        },
        node("ConvInteger", &["q", "w", "z", "wz"], "i", vec![]),
        node("Mul", &["s", "ws"], "both", vec![]),
        node("Div", &["b", "both"], "d", vec![]),
        node("Floor", &["d"], "r", vec![]),
        node("Cast", &["r"], "c", vec![int("to", 6)]),
        node("Reshape", &["c", "column"], "e", vec![]),
        node("Add", &["i", "e"], "j", vec![]),
        node("Cast", &["j"], "f", vec![int("to", 1)]),
        node("Mul", &["f", "both"], "g", vec![]),
        node("Reshape", &["g", "signal"], "h", vec![]),
        NodeProto { domain: "com.microsoft".to_owned(), ..node("DynamicQuantizeLSTM", &lstm, "k", vec![]) },
        node("If", &["ws"], "y", vec![branch("then_branch", "Relu"), branch("else_branch", "Neg")]),
    ];
    let constants = vec![
        bytes("w", &[2, 4, 1, 1]),
        bytes("wz", &[2]),
        floats("ws", &[], &[0.5]),
        some("b", &[2]),
        integers("column", &[1, -1, 1, 1]),
        integers("signal", &[8, 1, 6]),
        bytes("lw", &[1, 6, 8]),
        bytes("lr", &[1, 2, 8]),
        floats("ls", &[1, 8], &[0.25; 8]),
        bytes("lz", &[1]),
    ];
    model(&[("x", &[1, 4, 4, 6])], nodes, constants, &["y"])
}

/// The model of that number.
fn whole(round: usize) -> ModelProto {
    match round % 3 {
        0 => texts::block(),
        1 => reader(),
        _ => quantized(),
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut read = 0;
    for round in 0..3_000 {
        let mut bytes = whole(round).encode_to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let (from, len) = (random.below(bytes.len()), random.below(16));
                    let piece: Vec<u8> = bytes.iter().skip(from).take(len).copied().collect();
                    bytes.splice(at..at, piece);
                }
            }
        }
        if let Ok(model) = ModelProto::decode(bytes.as_slice()) {
            read += usize::from(try_import(&model).is_ok());
        }
    }
    assert!(read > 100, "only {read} of the mutations are models");
}

const NUMBERS: [i64; 14] = [0, -1, 1, 2, 3, 4, 7, -5, 1 << 16, i32::MAX as i64, 1 << 40, 1 << 62, i64::MIN, i64::MAX];

/// Changes one thing in a model that stays one.
fn mutate(model: &mut ModelProto, random: &mut Random) {
    let Some(graph) = &mut model.graph else { return };
    let names: Vec<_> =
        graph.node.iter().flat_map(|node| node.output.clone().into_iter().chain(node.input.clone())).collect();
    let (node, constant) = (random.below(graph.node.len()), random.below(graph.initializer.len()));
    let (node, constant) = (&mut graph.node[node], &mut graph.initializer[constant]);
    match random.below(12) {
        0 => node.op_type = random.pick(crate::OPERATORS).to_owned(),
        1 if !node.input.is_empty() => {
            let at = random.below(node.input.len());
            node.input[at] = random.pick(&names);
        }
        2 => node.input.truncate(random.below(node.input.len() + 1)),
        3 => node.input.push(random.pick(&names)),
        4 if !constant.dims.is_empty() => {
            let at = random.below(constant.dims.len());
            constant.dims[at] = random.pick(&NUMBERS);
        }
        5 if !constant.int64_data.is_empty() => {
            let at = random.below(constant.int64_data.len());
            constant.int64_data[at] = random.pick(&NUMBERS);
        }
        6 if !constant.float_data.is_empty() => {
            let at = random.below(constant.float_data.len());
            constant.float_data[at] = random.pick(&[0.0, -1.0, f32::NAN, f32::INFINITY, 1e38, 1e-45, 2.5, 7.0]);
        }
        7 => constant.data_type = random.below(25) as i32,
        8 if !node.attribute.is_empty() => {
            let at = random.below(node.attribute.len());
            let attribute = &mut node.attribute[at];
            attribute.i = random.pick(&NUMBERS);
            attribute.f = random.pick(&[0.0, -1.0, f32::NAN, f32::INFINITY, 0.5]);
            let ints = random.below(6);
            attribute.ints = (0..ints).map(|_| random.pick(&NUMBERS)).collect();
        }
        9 => {
            let name = random.pick(&[
                "axis",
                "group",
                "keepdims",
                "ceil_mode",
                "transB",
                "blocksize",
                "auto_pad",
                "mode",
                "axes",
                "pads",
                "size",
            ]);
            let value = random.pick(&NUMBERS);
            let s = random.pick(&["VALID", "SAME_LOWER", "reflect", "linear", "CRD", "?"]);
            node.attribute.push(AttributeProto { i: value, ints: vec![value; random.below(5)], ..word(name, s) });
        }
        10 => {
            let dims = (0..random.below(7)).map(|_| random.pick(&NUMBERS)).collect::<Vec<_>>();
            graph.input[0] = input("x", &dims);
        }
        _ => {
            let mut dims = [1, 4, 4, 6];
            dims[random.below(4)] = random.pick(&NUMBERS);
            graph.input[0] = input("x", &dims);
        }
    }
}

#[test]
fn no_messages_make_it_panic() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    let mut read = 0;
    for model in [reader(), quantized()] {
        assert!(try_import(&model).is_ok(), "{:?}", try_import(&model).map(|imported| imported.text));
    }
    for round in 0..6_000 {
        let mut model = whole(round);
        (0..=random.below(3)).for_each(|_| mutate(&mut model, &mut random));
        read += usize::from(try_import(&model).is_ok());
    }
    assert!(read > 200, "only {read} of the mutations are models");
}
