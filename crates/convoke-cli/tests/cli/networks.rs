//! Networks on the command line.

use super::{convoke, npy, scratch, with_input};
use convoke_onnx::proto::{
    DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use prost::Message as _;
use snapbox::str;

const NET: &str = "
conv1d alone { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 }
network net {
    input: f32[N, 3, H, 8],
    conv2d stem { out_channels: 4, kernel_size: 3, padding: 1, then: [scale, shift, relu] }
    max_pool2d half { kernel_size: 2 }
    concat both { inputs: [half, half] }
    flatten all {}
    linear scores { out_channels: 10, bias: true, then: softmax }
    outputs: [scores, half],
}
";

/// Of recurrent layers alone, none of which is a layer of its own.
const RECURRENT: &str = "network net {
    inputs: [signal: f32[2, 16, 10], h: f32[2, 8]],
    lstm memory { input: signal, hidden_size: 4, direction: bidirectional, bias: true, cells: true }
    gru next { hidden_size: 8, state: h }
}
";

#[test]
fn check_prints_recurrent_layers() {
    with_input("check -", RECURRENT).success().stdout_eq(str![[r#"
network net: f32[2, 16, 10] @ ncl and f32[2, 8, 1] @ ncl -> f32[2, 8, 10] @ ncl
  memory  lstm  [2, 16, 10]  13.8 k MACs  704 parameters
  next    gru   [2, 8, 10]   12.6 k MACs  576 parameters
  in all: 13.2 k MACs an image, 1.28 k parameters of 5.12 kB, 960 B an image between layers, 1.34 kB within recurrent ones

"#]]);
    with_input("check - --layer net_memory", RECURRENT).code(2).stderr_eq(str![[r#"
error: there is no layer `net_memory`; there are none that stand alone

"#]]);
    with_input("fmt -", RECURRENT).success().stdout_eq(RECURRENT);
}

#[test]
fn explain_prints_a_network_as_it_is_computed() {
    with_input("explain - --target avx2 --layer net --size H=6", NET).success().stdout_eq(str![[r#"
<stdin>:net on avx2: 5 layers for 5
  stem    conv2d      f32[N, 4, 6, 8] @ nchw  direct, vector ow, input copied, tile 4x1   1.08 k cycles  57.0 %,  30 % of peak
  half    max_pool2d  f32[N, 4, 3, 4] @ nchw  pool, vector ow, tile 1x1                      410 cycles  21.6 %,   3 % of peak
  both    concat      f32[N, 8, 3, 4] @ nchw  moves 384 B
  all     flatten     f32[N, 96, 1] @ ncl     in the same memory
  scores  linear      f32[N, 10, 1] @ ncl     pointwise, vector oc, tile 1x2                 408 cycles  21.5 %,  15 % of peak
  in all: 1.90 k cycles an image, of which multiply-adds alone would take 396 (20.8 %)
  memory: 960 B an image between layers, 4.34 kB of parameters

"#]]);
    with_input("explain - --target avx2", RECURRENT).success().stdout_eq(str![[r#"
<stdin>:net on avx2: 4 layers for 2
  signal_nlc  reorder  f32[2, 10, 16] @ nlc  moves 640 B
  memory      lstm     f32[2, 10, 16] @ nlc  pointwise, vector oc, tile 5x2, and 11 layers a position   5.58 k cycles  66.1 %,   8 % of peak
  next        gru      f32[2, 10, 8] @ nlc   pointwise, vector oc, tile 4x3, and 13 layers a position   2.86 k cycles  33.9 %,  14 % of peak
  next_ncl    reorder  f32[2, 8, 10] @ ncl   moves 320 B
  in all: 8.44 k cycles an image, of which multiply-adds alone would take 825 (9.78 %)
  memory: 1.28 kB an image between layers, 5.12 kB of parameters

"#]]);
    // A layer alone is explained as any other, and so are all that are no network's.
    for (options, part) in [("--layer net_scores", "Chosen: pointwise"), ("", "<stdin>:alone on avx2\n\nChosen: ")] {
        let all = with_input(&format!("explain - --target avx2 --size H=6 {options}"), NET).success();
        let text = String::from_utf8(all.get_output().stdout.clone()).unwrap();
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

#[test]
fn plan_prints_a_network_that_is_planned_so_again() {
    let plan = |text: &str, options: &str| {
        let plan = with_input(&format!("plan - --target avx2 {options}"), text).success();
        String::from_utf8(plan.get_output().stdout.clone()).unwrap()
    };
    let first = plan(NET, "--size H=6 --layer net");
    assert!(first.contains("schedule {"), "{first}");
    assert_eq!(plan(&first, ""), first);
    let whole = plan(NET, "--size H=6");
    assert!(whole.starts_with("// <stdin>:alone on avx2\nschedule {") && whole.ends_with(&first), "{whole}");
    // A pin that cannot hold is shown.
    let pinned = NET.replace("padding: 1,", "padding: 1, schedule { algorithm: pointwise },");
    with_input("explain - --target avx2 --size H=6", &pinned).code(1);
    with_input("plan - --target avx2 --size H=6", &pinned).code(1).stderr_eq(str![[r#"
error: the schedule cannot hold
 --> <stdin>:5:86
  |
5 |     conv2d stem { out_channels: 4, kernel_size: 3, padding: 1, schedule { algorithm: pointwise }, then: [scale, shift, relu] }
  |                                                                                      ^^^^^^^^^ pointwise needs a window of 1, and along h it is 3
  |
  = help: change this pin, or leave it out and let the planner choose

"#]]);
}

#[test]
fn check_prints_the_layers_of_a_network() {
    with_input("check - --size H=6", NET).success().stdout_eq(str![[r#"
alone  f32[1, 1, 9] @ ncl -> [1, 1, 7]  21 MACs  3 parameters

network net: f32[N, 3, 6, 8] @ nchw -> f32[N, 10, 1] @ ncl and f32[N, 4, 3, 4] @ nchw
  stem    conv2d      [N, 4, 6, 8]  5.18 k MACs  116 parameters
  half    max_pool2d  [N, 4, 3, 4]     192 MACs    0 parameters
  both    concat      [N, 8, 3, 4]       0 MACs    0 parameters
  all     flatten     [N, 96, 1]         0 MACs    0 parameters
  scores  linear      [N, 10, 1]       960 MACs  970 parameters
  in all: 6.34 k MACs an image, 1.09 k parameters of 4.34 kB, 960 B an image between layers

"#]]);
    with_input("check - --size H=6 --json", NET).success().stdout_eq(str![[r#"
{"file":"<stdin>","layer":"alone","backend":null,"status":"ok","dtype":"f32","layout":"ncl","input":["1","1","9"],"output":["1","1","7"],"macs":21,"parameters":3}
{"file":"<stdin>","network":"net","layer":"stem","backend":null,"status":"ok","dtype":"f32","layout":"nchw","input":["N","3","6","8"],"output":["N","4","6","8"],"macs":5184,"parameters":116}
{"file":"<stdin>","network":"net","layer":"half","backend":null,"status":"ok","dtype":"f32","layout":"nchw","input":["N","4","6","8"],"output":["N","4","3","4"],"macs":192,"parameters":0}
{"file":"<stdin>","network":"net","layer":"scores","backend":null,"status":"ok","dtype":"f32","layout":"ncl","input":["N","96","1"],"output":["N","10","1"],"macs":960,"parameters":970}
{"file":"<stdin>","network":"net","layer":null,"backend":null,"status":"ok","dtype":"f32","macs":6336,"parameters":1086}

"#]]);
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let net = "network net {\n    input: f32[1, 3, 8, 8],\n    conv2d stem { out_channels: 4, kernel_size: 9 }\n    add sum { inputs: [stem, input] }\n}\n";
    with_input("check -", net).code(1).stderr_eq(str![[r#"
...
error: the kernel reaches past the padded input
...
"#]]);
    let net = net.replace("kernel_size: 9", "kernel_size: 3");
    with_input("check -", &net).code(1).stderr_eq(str![[r#"
error: only tensors of one type can be added or multiplied: one is f32[1, 4, 6, 6] @ nchw, the other f32[1, 3, 8, 8] @ nchw
 --> <stdin>:4:30
  |
4 |     add sum { inputs: [stem, input] }
  |                              ^^^^^ these do not fit together

"#]]);
}

#[test]
fn layers_of_networks_are_layers() {
    let verify = |words: &str| with_input(words, NET);
    verify("verify - --size H=6 --backend interp").success().stdout_eq(str![[r#"
<stdin>:alone: interp ok[..]
<stdin>:net_stem: interp ok[..]
<stdin>:net_half: interp ok[..]
<stdin>:net_scores: interp ok[..]
4 passed, 0 failed

"#]]);
    verify("plan - --size H=6 --layer net_scores").success();
    verify("plan - --size H=6 --layer scores").code(2);
    verify("check -").code(1);
    convoke("verify specs/networks.conv --backend interp --layer lenet_c1").assert().success();
    convoke("fmt --check specs/networks.conv examples/faces/faces.conv").assert().success();
    convoke("check examples/faces/faces.conv").assert().success();
}

/// A file of tensors of f32, each with its name and shape.
fn safetensors(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let (mut header, mut data) = (Vec::new(), Vec::new());
    for (name, shape, elements) in tensors {
        let from = data.len();
        data.extend(elements.iter().flat_map(|x| x.to_le_bytes()));
        header.push(format!(
            "\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{from},{}]}}",
            data.len()
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

#[test]
fn a_network_runs_on_a_file() {
    let (folder, net) = scratch("net.conv");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(
        &net,
        "network net { input: f32[N, 2], linear a { out_channels: 2, bias: true, then: relu } elementwise b { then: residual(a) } }",
    )
    .unwrap();
    let numbers = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    npy(&file("x.npy"), "<f4", "2, 2, 1", &numbers(&[1.0, 2.0, -3.0, 4.0]));
    let weight: &[f32] = &[1.0, 1.0, 0.5, 0.0];
    std::fs::write(file("p.safetensors"), safetensors(&[("a.weight", &[2, 2], weight), ("a.bias", &[2], &[0.5, 0.0])]))
        .unwrap();
    let array = |shape: &str, elements: &[f32]| {
        let path = file("array.npy");
        npy(&path, "<f4", shape, &numbers(elements));
        std::fs::read(path).unwrap()
    };
    let arrays = [("a.weight.npy", array("2, 2", weight)), ("a.bias.npy", array("2,", &[0.5, 0.0]))];
    std::fs::write(file("p.npz"), archive(&arrays)).unwrap();
    std::fs::write(file("few.safetensors"), safetensors(&[("a.weight", &[2, 2], weight)])).unwrap();
    std::fs::write(file("cut.safetensors"), &safetensors(&[("a.weight", &[2, 2], weight)])[..40]).unwrap();
    let run = |words: &str, parameters: &str| {
        let mut command = convoke("run").arg(&net).arg("--input").arg(file("x.npy"));
        if !parameters.is_empty() {
            command = command.arg("--parameters").arg(file(parameters));
        }
        command.args(words.split_whitespace()).assert()
    };
    for (backend, parameters) in [("jit", "p.safetensors"), ("reference", "p.npz"), ("jit", "p.npz")] {
        run(&format!("--backend {backend}"), parameters).success().stdout_eq(str![[r#"
net: [..]x.npy
[..]
result [N, 2, 1]: from 0.0000 to 7.0000, mean 2.7500
7.0000 1.0000 3.0000 0.0000

"#]]);
    }
    run("", "").code(2).stderr_eq(str![[r#"
error: network net: name the file of its parameters with --parameters; there is no [..]net.safetensors
...
"#]]);
    run("--bias none.npy", "p.safetensors").code(2);
    run("--backend interp", "p.safetensors").code(2);
    run("", "few.safetensors").code(1).stderr_eq(str![[r#"
error: [..]few.safetensors: network net needs 2 elements for `a.bias`, and nothing was given

"#]]);
    run("", "cut.safetensors").code(1).stderr_eq(str![[r#"
error: [..]cut.safetensors: its list of tensors should have 65 bytes, and the file has 40

"#]]);
}

/// An archive of files that are not compressed, as NumPy's `savez` writes arrays; sums of what is in them are left out.
fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let (from, len) = ((archive.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        let lens = [&len[..], &len, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        archive.extend([&b"PK\x03\x04"[..], &[0; 14], &lens, name.as_bytes(), bytes].concat());
        directory.extend([&b"PK\x01\x02"[..], &[0; 16], &lens, &[0; 10], &from, name.as_bytes()].concat());
    }
    let (from, len) = ((archive.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    let count = (files.len() as u16).to_le_bytes();
    archive.extend([&directory[..], b"PK\x05\x06", &[0; 4], &count, &count, &len, &from, &[0; 2]].concat());
    archive
}

/// A model of one value to another, of `f32`.
fn model(nodes: Vec<NodeProto>, input: &[i64], constants: &[(&str, &[i64], &[f32])]) -> Vec<u8> {
    let dim = |&size: &i64| DimensionProto { dim_value: (size > 0).then_some(size), ..Default::default() };
    let shape = TensorShapeProto { dim: input.iter().map(dim).collect() };
    let value = |name: &str, shape: Option<TensorShapeProto>| ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(TensorTypeProto { elem_type: 1, shape }) }),
    };
    let constant = |&(name, dims, data): &(&str, &[i64], &[f32])| TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data: data.to_vec(),
        ..Default::default()
    };
    let graph = GraphProto {
        node: nodes,
        name: "net".to_owned(),
        initializer: constants.iter().map(constant).collect(),
        input: vec![value("x", Some(shape))],
        output: vec![value("y", None)],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 13, ..Default::default() };
    let model = ModelProto { ir_version: 8, graph: Some(graph), opset_import: vec![opset], ..Default::default() };
    model.encode_to_vec()
}

fn node(operator: &str, input: &[&str], output: &str) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto { op_type: operator.to_owned(), input: names(input), output: names(&[output]), ..Default::default() }
}

#[test]
fn a_model_becomes_a_network_that_runs() {
    let (folder, onnx) = scratch("two.onnx");
    let file = |name: &str| folder.path().join(name);
    let nodes = vec![node("Conv", &["x", "w"], "a"), node("Relu", &["a"], "y")];
    let weights: (&str, &[i64], &[f32]) = ("w", &[2, 1, 2], &[1.0, 1.0, -1.0, 1.0]);
    std::fs::write(&onnx, model(nodes, &[0, 1, 3], &[weights])).unwrap();
    let import = |words: &str| {
        convoke("import").arg(&onnx).arg("-o").arg(file("two.conv")).args(words.split_whitespace()).assert()
    };
    import("").success().stdout_eq(str![[r#"
input x [1, 1, 3], called input
output y [1, 2, 2][..]
wrote [..]two.conv
wrote [..]two.safetensors: 1 parameters, 4 elements

"#]]);
    import("--json").success().stdout_eq(str![[r#"
{"conv":"[..]two.conv","parameters":"[..]two.safetensors","inputs":[{"onnx":"x","name":"[..]","shape":[1,1,3]}],"outputs":[{"onnx":"y","name":"[..]","shape":[1,2,2]}]}

"#]]);
    npy(&file("x.npy"), "<f4", "1, 1, 3", &[1.0f32, 4.0, 2.0].map(f32::to_le_bytes).concat());
    convoke("run").arg(file("two.conv")).arg("-i").arg(file("x.npy")).assert().success().stdout_eq(str![[r#"
two: [..]x.npy
compiled and packed in [..]
result [1, 2, 2]: from 0.0000 to 6.0000, mean 3.5000
5.0000 6.0000 3.0000 0.0000

"#]]);
    convoke("run").arg(file("two.conv")).arg("-i").arg(file("x.npy")).arg("--profile").assert().success().stdout_eq(
        str![[r#"
...
  in all [..]
...
"#]],
    );
    // As a crate, once into each folder.
    let emit = |words: &str| {
        convoke("emit").arg(file("two.conv")).arg("--crate").arg(file("two")).args(words.split_whitespace()).assert()
    };
    emit("--budget weights=16").code(1).stderr_eq(str![[r#"
error: network `two`[..]weights[..]

"#]]);
    assert!(!file("two").exists());
    emit("--budget weights=1k,arena=1k").success().stdout_eq(str![[r#"
wrote [..]two: [..] files, [..]B of weights, [..]B for a run

"#]]);
    assert!(file("two/Cargo.toml").exists() && file("two/tests/stored.rs").exists());
    emit("").code(1).stderr_eq(str![[r#"
error: [..]two: there is something in it; name a new folder

"#]]);
    emit("--budget code=1").code(2);
}

#[test]
fn a_model_of_constant_inputs_has_nothing_to_compute() {
    let (folder, onnx) = scratch("times.onnx");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(&onnx, model(vec![node("Mul", &["x", "x"], "y")], &[1, 1, 3], &[])).unwrap();
    // Nothing is left to be computed then.
    let assert = convoke("import").arg(&onnx).arg("-o").arg(file("times.conv")).args(["--value", "x=3"]).assert();
    assert.code(1).stderr_eq(str![[r#"
error: [..]times.onnx: the output `y`: it is a constant

"#]]);
}

#[test]
fn quantization_has_a_row_and_a_time() {
    let (folder, net) = scratch("net.conv");
    std::fs::write(&net, "network net { input: f32[1, 3, 2], quantize_dynamic few {} }").unwrap();
    convoke("check").arg(&net).assert().success().stdout_eq(str![[r#"
network net: f32[1, 3, 2] @ ncl -> f32[1, 3, 2] @ ncl
  few  quantize_dynamic  [1, 3, 2]  0 MACs  0 parameters
  in all: 0 MACs an image, 0 parameters of [..]B, [..]B an image between layers

"#]]);
    let x = folder.path().join("x.npy");
    npy(&x, "<f4", "1, 3, 2", &[-128.0f32, 127.0, 0.5, 1.5, -2.5, 3.25].map(f32::to_le_bytes).concat());
    convoke("run").arg(&net).arg("-i").arg(&x).arg("--profile").assert().success().stdout_eq(str![[r#"
...
  few [..]
...
"#]]);
}

#[test]
fn what_cannot_be_imported_leaves_nothing() {
    let (folder, onnx) = scratch("bad.onnx");
    let import = |bytes: &[u8], words: &str| {
        std::fs::write(&onnx, bytes).unwrap();
        let conv = folder.path().join("bad.conv");
        let assert = convoke("import").arg(&onnx).arg("-o").arg(&conv).args(words.split_whitespace()).assert();
        assert!(!conv.exists() && !conv.with_extension("safetensors").exists());
        assert
    };
    import(b"no model", "").code(1);
    let loops = model(vec![node("Loop", &["x"], "y")], &[1, 1, 3], &[]);
    import(&loops, "").code(1).stderr_eq(str![[r#"
error: [..]bad.onnx: there is no translation of the operator Loop (the node that makes `y`, which takes `x` [1, 1, 3]); known are Abs, Add,[..]

"#]]);
    import(&loops, "--value rate=16000").code(1).stderr_eq(str![[r#"
error: [..]bad.onnx: there is no input `rate` in the model; it has x

"#]]);
    import(&loops, "--value rate=fast").code(2).stderr_eq(str![[r#"
error: invalid value 'rate=fast' for '--value <INPUT=NUMBER>': a value is the name of an input and a whole number, such as sr=16000
...
"#]]);
    let open = model(vec![node("Relu", &["x"], "y")], &[1, 1, 0], &[]);
    import(&open, "").code(1).stderr_eq(str![[r#"
error: [..]bad.onnx: the size of axis 2 of the input `x` is not in the model: give it, such as `--size x.2=224`

"#]]);
    convoke("import bad.onnx -o net.txt").assert().code(2);
}

#[test]
fn the_greatest_channels_are_named() {
    let (folder, net) = scratch("net.conv");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(&net, "network net { input: f32[N, 3], elementwise a { then: mul(2) } }").unwrap();
    npy(&file("x.npy"), "<f4", "1, 3", &[1.0f32, 3.0, 2.0].map(f32::to_le_bytes).concat());
    std::fs::write(file("labels.txt"), "cat\ndog\nbird\n").unwrap();
    std::fs::write(file("few.txt"), "cat\n").unwrap();
    let run = |labels: &str| {
        let command = convoke("run").arg(&net).arg("-i").arg(file("x.npy")).args(["--top", "2"]);
        command.arg("--labels").arg(file(labels)).assert()
    };
    run("labels.txt").success().stdout_eq(str![[r#"
...
    6.0000  dog
    4.0000  bird

"#]]);
    run("few.txt").code(1).stderr_eq(str![[r#"
error: there are 1 labels, and the output has 3 channels

"#]]);
    let twice = ["-i", "x.npy", "-i", "x.npy"];
    convoke("run").arg(&net).args(twice).assert().code(2).stderr_eq(str![[r#"
error: network net: it has 1 input, and --input is given 2 times

"#]]);
}
