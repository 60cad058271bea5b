//! Crates of whole networks: built by cargo, and run against the reference. Modules of them: checked by clippy.

use convoke_core::back::rust::{Budget, Crate, CrateError, Detection, TARGETS, network_crate, network_module};
use convoke_core::eval::reference;
use convoke_core::spec::{Limits, NetworkSpec, Parameter};
use convoke_core::target::Target;
use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(target_arch = "x86_64")]
#[path = "../src/back/rust/network/emitted/cpu.rs"]
mod cpu;

const LENET: &str = "
network lenet {
    input: f32[1, 1, 28, 28],
    conv2d c1 { out_channels: 6, kernel_size: 5, padding: 2, bias: true, then: relu }
    max_pool2d s2 { kernel_size: 2 }
    conv2d c3 { out_channels: 16, kernel_size: 5, bias: true, then: relu }
    max_pool2d s4 { kernel_size: 2 }
    flatten features { }
    linear f5 { out_channels: 120, bias: true, then: relu }
    linear f6 { out_channels: 84, bias: true, then: relu }
    linear classes { out_channels: 10, bias: true, then: softmax }
}";

/// Branches, residuals, parts of channels, two inputs, outputs that are inputs, scratch, transformed windows, layers that are alike, capitals.
const GRAPH: &str = "
network graph {
    inputs: [image: f32[{N}, 12, 16, 3] @ nhwc, more: f32[{N}, 6, 8, 8] @ nhwc],
    conv2d stem { input: image, out_channels: 8, kernel_size: 3, stride: 2, padding: 1, bias: true, schedule { pack_input: pad } }
    conv2d left { out_channels: 8, kernel_size: 1, then: [relu, residual(more)] }
    conv2d right { input: stem, out_channels: 4, kernel_size: 3, padding: same, then: [scale, shift, scale] }
    concat both { inputs: [left, right, stem] }
    slice part { channels: 3..11 }
    add sum { inputs: [part, stem], then: [relu, mul(0.5)] }
    elementwise active { input: both, then: [sigmoid, residual(both)] }
    conv_transpose2d up { input: sum, out_channels: 2, kernel_size: 2, stride: 2 }
    conv2d Twin { input: sum, out_channels: 8, kernel_size: 3, padding: 1, accuracy: fast, schedule { algorithm: winograd2 } }
    conv2d twin { out_channels: 8, kernel_size: 3, padding: 1, accuracy: fast, schedule { algorithm: winograd2 } }
    avg_pool2d pooled { kernel_size: global }
    mul gated { inputs: [twin, pooled], then: relu }
    add bytes { inputs: [gated, pooled] }
    flatten all { input: active }
    linear classes { out_channels: 10, bias: true, then: softmax }
    outputs: [up, active, sum, classes, image, all, gated, bytes],
}";

/// Every layer that moves elements.
const MOVING: &str = "
network moving {
    input: f32[{N}, 6, 4, 8] @ nchw,
    conv2d a { out_channels: 8, kernel_size: 3, padding: 1 }
    resize big { scale: (2, 3) }
    pad edge { padding: (1..2, 0..3), value: 0.5 }
    conv2d b { out_channels: 4, kernel_size: 3, stride: 2 }
    slice some { input: big, channels: 1..5, height: 0..3, stride: (1, 2) }
    slice whole { input: a, channels: 0..4 }
    lrn near { input: a, size: 5, alpha: 0.5, beta: 0.75, k: 2 }
    concat high { inputs: [near, a], axis: 2 }
    concat far { inputs: [near, a, near], axis: 3 }
    concat twice { inputs: [b, b] }
    transpose turned { input: near, axes: (0, 2, 3, 1) }
    reorder last { input: near, layout: nhwc }
    reorder first { input: last, layout: nchw }
    mul square { inputs: [a, a], then: pow(0.5) }
    reshape grouped { input: a, to: f32[{N}, 2, 2, 64] }
    transpose shuffled { axes: (0, 2, 1, 3) }
    outputs: [b, some, whole, high, far, twice, turned, last, first, square, shuffled, grouped],
}";

/// Recurrent layers: both cells, every direction, with states and without, of an input and of what layers make, and names that others have.
const RECURRENT: &str = "
network recurrent {
    inputs: [signal: f32[{N}, 3, 6], h: f32[{N}, 10], c: f32[{N}, 10]],
    lstm memory { input: signal, hidden_size: 5, direction: bidirectional, bias: true, cells: true, states: [h, c] }
    slice hidden { channels: 0..10 }
    gru layers { hidden_size: 7, bias: true }
    gru memory_hidden { input: hidden, hidden_size: 10, direction: reverse, state: h }
    add memory_step { inputs: [hidden, memory_hidden], then: relu }
    lstm Again { hidden_size: 20 }
    slice last { input: memory, channels: 10..20, length: 5..6 }
    gru single { input: last, hidden_size: 10, state: last }
    outputs: [memory, layers, memory_hidden, Again, memory_step, single],
}";

/// Attention with two heads, of inputs and of what layers make, and a product of matrices of one element.
const ATTENTION: &str = "
network attention {
    inputs: [q: f32[{N}, 2, 7, 8] @ nhwc, k: f32[{N}, 2, 9, 8] @ nhwc, one: f32[{N}, 1, 1]],
    conv2d values { input: k, out_channels: 12, kernel_size: 1 }
    elementwise keys { input: k, then: mul(0.5) }
    matmul scores { inputs: [q, keys], transpose_b: true, then: softmax }
    matmul mixed { inputs: [scores, values] }
    matmul squares { inputs: [mixed, mixed], transpose_b: true, then: relu }
    matmul again { inputs: [squares, q], then: residual(q) }
    matmul number { inputs: [one, one] }
    outputs: [mixed, again, number],
}";

/// Quantization of an input, of what layers make, and in the steps of a recurrent layer; a layer has the name of the module that does it.
const QUANTIZED: &str = "
network quantized {
    inputs: [image: f32[{N}, 3, 5, 7], signal: f32[{N}, 3, 6]],
    quantize_dynamic few { input: image }
    conv2d quantize { out_channels: 16, kernel_size: 3, padding: 1 }
    quantize_dynamic again {}
    conv2d more { out_channels: 16, kernel_size: 3, padding: 1, then: residual(again) }
    lstm memory { input: signal, hidden_size: 5, direction: bidirectional, bias: true, quantize_hidden: true }
    outputs: [few, again, more, memory],
}";

/// Logarithms from the least of each image and channel to the greatest, 0 where these are the same.
const DECIBELS: &str = "
network decibels {
    input: f32[{N}, 3, 5, 7],
    mul power { inputs: [input, input], then: [add(0.01), log, mul(4.3429)] }
    elementwise below { then: neg }
    max_pool2d least { kernel_size: global, then: neg }
    elementwise floor { then: neg }
    add above { inputs: [power, floor] }
    max_pool2d most { kernel_size: global }
    elementwise inverse { then: reciprocal_no_nan }
    mul between { inputs: [above, inverse] }
    conv2d loud { input: input, out_channels: 21, kernel_size: 3, padding: 1, bias: true, then: [abs, add(0.1), log] }
    outputs: [between, least, loud],
}";

/// Images of other sizes: of an input and of what layers make, of channels side by side and apart, and rows whose tables take several lines.
const RESIZED: &str = "
network resized {
    inputs: [image: f32[{N}, 3, 5, 7], volume: f32[{N}, 3, 4, 5, 20] @ ndhwc, signal: f32[{N}, 2, 40]],
    resize near { input: image, scale: (1.5, 0.6), align: asymmetric, round: floor }
    conv2d interpolate { input: image, out_channels: 24, kernel_size: 3, padding: 1 }
    resize up { scale: 2, mode: linear }
    conv2d more { out_channels: 24, kernel_size: 3, padding: 1 }
    resize down { to: (4, 9), mode: linear, align: corners }
    resize solid { input: volume, to: (5, 3, 9), mode: linear }
    resize long { input: signal, to: 90, mode: linear, align: half_pixel_symmetric }
    outputs: [near, up, down, solid, long],
}";

/// Norms of elements side by side and apart, with weights and without.
const NORMED: &str = "
network normed {
    inputs: [image: f32[{N}, 12, 5, 7], tokens: f32[{N}, 9, 20] @ nlc, pixels: f32[{N}, 5, 7, 96] @ nhwc],
    instance_norm each { input: image }
    conv2d norm { out_channels: 24, kernel_size: 3, padding: 1 }
    group_norm some { groups: 6, epsilon: 0.001 }
    conv2d more { out_channels: 24, kernel_size: 3, padding: 1 }
    layer_norm rows { input: tokens, epsilon: 1e-6 }
    layer_norm all { axis: 1, affine: false }
    group_norm apart { input: pixels, groups: 2 }
    instance_norm plain { affine: false }
    conv2d last { out_channels: 16, kernel_size: 1, bias: true, then: [scale, batch_norm(bn, 0.01)] }
    batch_norm fused { then: relu }
    batch_norm first { input: pixels, affine: false }
    outputs: [more, all, apart, fused, first],
}";

/// A network, and numbers for all that it takes.
struct Case {
    network: NetworkSpec,
    parameters: HashMap<String, Vec<f32>>,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

impl Case {
    fn new(text: &str) -> Self {
        let network: NetworkSpec = text.parse().expect(text);
        let batch = network.fixed_batch().unwrap_or(1);
        let mut state = 5u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) % 2001) as f32 / 1000.0 - 1.0
        };
        let mut take = |len: usize| (0..len).map(|_| next()).collect::<Vec<f32>>();
        // Sums of many would leave a softmax with one output that is not 0.
        let scale = |p: &Parameter| if p.len > 500 { 0.1 } else { 1.0 };
        let parameters: HashMap<_, _> = network
            .parameters()
            .map(|p| {
                let is_variance = p.name.ends_with("running_var");
                let number = |x: f32| if is_variance { x.abs() } else { x * scale(&p) };
                (p.name.clone(), take(p.len).into_iter().map(number).collect::<Vec<f32>>())
            })
            .collect();
        let inputs: Vec<_> = network.input_values().iter().map(|value| take(batch * value.shape.image())).collect();
        let exact: HashMap<&str, Vec<f64>> =
            parameters.iter().map(|(name, p)| (name.as_str(), p.iter().map(|&x| x.into()).collect())).collect();
        let lanes: Vec<Vec<f64>> = inputs.iter().map(|input| input.iter().map(|&x| x.into()).collect()).collect();
        let lanes: Vec<&[f64]> = lanes.iter().map(Vec::as_slice).collect();
        let outputs = reference::run_network(&network, batch, &lanes, |name| &exact[name]);
        let outputs = outputs.into_iter().map(|output| output.into_iter().map(|x| x as f32).collect()).collect();
        Self { network, parameters, inputs, outputs }
    }

    fn emit(&self, targets: &[Target], budget: &Budget) -> Result<Crate, CrateError<Infallible>> {
        let mut parameters = |name: &str| Ok(self.parameters[name].clone());
        let (limits, example) = (Limits::default(), Some((&self.inputs[..], &self.outputs[..])));
        network_crate(&self.network, &Target::AVX2, targets, &limits, &mut parameters, example, budget)
    }
}

/// Writes the files in a folder of that name.
fn written(name: &str, files: &[(String, Vec<u8>)]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crates").join(name);
    for (path, bytes) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("there is a folder");
        std::fs::write(path, bytes).expect("the file is written");
    }
    dir
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && !text[1].contains("warning"), "{}\n{}", text[0], text[1]);
}

/// Builds the crate and runs its tests.
#[track_caller]
fn test(name: &str, mut made: Crate) {
    let manifest = made.files.iter_mut().find(|file| file.0 == "Cargo.toml").expect("there is a manifest");
    // The folder is within that of another workspace.
    manifest.1.extend(b"\n[workspace]\n");
    let dir = written(name, &made.files);
    let target = dir.parent().expect("it is in a folder").join("target");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--offline", "--release", "--quiet"]).current_dir(&dir).env("CARGO_TARGET_DIR", target);
    run(command.env_remove("RUSTFLAGS"));
}

fn text<'a>(made: &'a Crate, path: &str) -> &'a str {
    let file = made.files.iter().find(|file| file.0 == path).unwrap_or_else(|| panic!("there is no {path}"));
    std::str::from_utf8(&file.1).expect("it is text")
}

#[test]
fn a_small_network_is_a_crate() {
    let case = Case::new(LENET);
    let budget = Budget { weights: Some(300_000), arena: Some(30_000) };
    let mut made = case.emit(&TARGETS, &budget).expect("it has a crate");
    insta::assert_snapshot!("lenet_lib", text(&made, "src/lib.rs"));
    insta::assert_snapshot!("lenet_readme", text(&made, "README.md"));
    // The weights are the bytes that the modules' own packing makes.
    let (mut plain, mut checks) = (Vec::new(), String::new());
    for layer in ["c1", "c3", "f5", "f6", "classes"] {
        let mut lens = [0; 2];
        for (what, len) in ["weight", "bias"].iter().zip(&mut lens) {
            let numbers = &case.parameters[&format!("{layer}.{what}")];
            *len = numbers.len();
            plain.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
        }
        checks += &format!("check!({layer}, numbers, {}, {});\n", lens[0], lens[1]);
    }
    made.files.push(("tests/plain.bin".to_owned(), plain));
    made.files.push(("tests/packing.rs".to_owned(), PACKING.replace("CHECKS", &checks).into_bytes()));
    test("lenet", made);
}

/// Packs plain weights, and compares with those that are stored.
const PACKING: &str = "
macro_rules! check {
    ($layer:ident, $numbers:ident, $weights:literal, $bias:literal) => {
        let (weights, rest) = $numbers.split_at($weights);
        let (bias, $numbers) = rest.split_at($bias);
        let mut packed = Box::new(lenet::layers::$layer::Packed::ZERO);
        let pack = lenet::layers::$layer::pack_into;
        pack(&mut packed, weights.try_into().unwrap(), bias.try_into().unwrap());
        assert_eq!(format!(\"{packed:?}\"), format!(\"{:?}\", lenet::weights::$layer()));
    };
}

#[test]
fn weights_are_as_the_modules_pack_them() {
    let numbers: Vec<f32> =
        include_bytes!(\"plain.bin\").chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let numbers = &numbers[..];
    CHECKS
    assert!(numbers.is_empty());
}
";

#[test]
fn a_graph_is_a_crate() {
    for (name, n) in [("graph", "1"), ("graph_of_two", "2")] {
        let case = Case::new(&GRAPH.replace("{N}", n));
        let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
        let layers: Vec<&str> = made.files.iter().filter_map(|f| f.0.strip_prefix("src/layers/")).collect();
        assert!(layers.contains(&"Twin.rs") && !layers.iter().any(|name| name.starts_with("twin")), "{layers:?}");
        test(name, made);
    }
}

#[test]
fn what_moves_is_a_crate() {
    for (name, n) in [("moving", "1"), ("moving_three", "3")] {
        let case = Case::new(&MOVING.replace("{N}", n));
        let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
        test(name, made);
    }
}

#[test]
fn recurrent_layers_are_a_crate() {
    for (name, n) in [("recurrent", "1"), ("recurrent_two", "2")] {
        let case = Case::new(&RECURRENT.replace("{N}", n));
        let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
        test(name, made);
    }
    let case = Case::new("network net { input: f32[1, 3, 9], gru memory { hidden_size: 4, bias: true } }");
    let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
    insta::assert_snapshot!("gru_steps", text(&made, "src/steps.rs"));
}

#[test]
fn products_of_values_are_a_crate() {
    for (name, n) in [("attention", "1"), ("attention_three", "3")] {
        let case = Case::new(&ATTENTION.replace("{N}", n));
        let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
        test(name, made);
    }
    let case = Case::new("network net { inputs: [a: f32[1, 4, 3], b: f32[1, 3, 2]], matmul c { inputs: [a, b] } }");
    let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
    insta::assert_snapshot!("matmul_lib", text(&made, "src/lib.rs"));
}

#[test]
fn logarithms_are_a_crate() {
    for (name, n) in [("decibels", "1"), ("decibels_two", "2")] {
        let case = Case::new(&DECIBELS.replace("{N}", n));
        let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
        test(name, made);
    }
}

#[test]
fn what_is_quantized_is_a_crate() {
    for (name, n) in [("quantized", "1"), ("quantized_two", "2")] {
        let case = Case::new(&QUANTIZED.replace("{N}", n));
        let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
        assert!(made.files.iter().any(|file| file.0 == "src/quantize.rs"));
        test(name, made);
    }
    let alone = "network net { input: f32[1, 3, 6], gru a { hidden_size: 4, quantize_hidden: true } }";
    test("quantized_steps", Case::new(alone).emit(&[Target::PORTABLE], &Budget::default()).expect("it has a crate"));
    let case = Case::new("network net { input: f32[1, 1, 9], conv1d quantize { out_channels: 1, kernel_size: 2 } }");
    let made = case.emit(&[Target::PORTABLE], &Budget::default()).expect("it has a crate");
    assert!(!made.files.iter().any(|file| file.0 == "src/quantize.rs"));
}

#[test]
fn images_of_other_sizes_are_a_crate() {
    for (name, n) in [("resized", "1"), ("resized_two", "2")] {
        let case = Case::new(&RESIZED.replace("{N}", n));
        let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
        assert!(made.files.iter().any(|file| file.0 == "src/interpolate.rs"));
        test(name, made);
    }
    let case = Case::new("network net { input: f32[1, 2, 3, 2], resize a { to: (2, 20), mode: linear } }");
    let made = case.emit(&[Target::PORTABLE], &Budget::default()).expect("it has a crate");
    insta::assert_snapshot!("resize_lib", text(&made, "src/lib.rs"));
    let case = Case::new("network net { input: f32[1, 1, 9], conv1d interpolate { out_channels: 1, kernel_size: 2 } }");
    let made = case.emit(&[Target::PORTABLE], &Budget::default()).expect("it has a crate");
    assert!(!made.files.iter().any(|file| file.0 == "src/interpolate.rs"));
}

#[test]
fn norms_are_a_crate() {
    for (name, n) in [("normed", "1"), ("normed_two", "2")] {
        let case = Case::new(&NORMED.replace("{N}", n));
        let made = case.emit(&[Target::AVX2, Target::PORTABLE], &Budget::default()).expect("it has a crate");
        assert!(made.files.iter().any(|file| file.0 == "src/norm.rs"));
        test(name, made);
    }
    let case = Case::new("network net { input: f32[1, 2, 3] @ nlc, instance_norm a {} layer_norm b {} }");
    let made = case.emit(&[Target::PORTABLE], &Budget::default()).expect("it has a crate");
    insta::assert_snapshot!("norm_lib", text(&made, "src/lib.rs"));
    test("normed_alone", made);
    let case = Case::new("network net { input: f32[1, 1, 9], conv1d norm { out_channels: 1, kernel_size: 2 } }");
    let made = case.emit(&[Target::PORTABLE], &Budget::default()).expect("it has a crate");
    assert!(!made.files.iter().any(|file| file.0 == "src/norm.rs"));
}

/// Under clippy's default lints: a network of everything, one of recurrent layers, one of attention, one that quantizes, one that resizes, one of norms, one of norms alone, one whose outputs are its input, and one that only joins what is joined where it is made.
#[test]
fn crates_pass_clippy() {
    let graph = GRAPH.replace("{N}", "2");
    let view = "network graph { input: f32[1, 2, 3, 4], flatten all { } }";
    let joined = "network graph { input: f32[1, 2, 3, 4], max_pool2d a { input: input, kernel_size: 2 }
        avg_pool2d b { input: input, kernel_size: 2 } concat both { inputs: [a, b] } }";
    let renamed = |text: &str, name: &str| text.replace("{N}", "2").replace(name, "network graph");
    let (recurrent, quantized) = (renamed(RECURRENT, "network recurrent"), renamed(QUANTIZED, "network quantized"));
    let attention = renamed(ATTENTION, "network attention");
    let resized = renamed(RESIZED, "network resized");
    let normed = renamed(NORMED, "network normed");
    let only_normed = "network graph { input: f32[1, 2, 3] @ nlc, layer_norm b {} }";
    for (name, text) in [
        ("clippy", &graph[..]),
        ("clippy_view", view),
        ("clippy_joined", joined),
        ("clippy_recurrent", &recurrent),
        ("clippy_attention", &attention),
        ("clippy_quantized", &quantized),
        ("clippy_resized", &resized),
        ("clippy_normed", &normed),
        ("clippy_only_normed", only_normed),
    ] {
        let made = Case::new(text).emit(&TARGETS, &Budget::default()).expect("it has a crate");
        clippy(&written(name, &made.files), "src/lib.rs");
    }
}

/// As a file too, where its lints are not those of a macro.
#[test]
fn modules_pass_clippy() {
    let (graph, recurrent) = (Case::new(&GRAPH.replace("{N}", "2")), Case::new(&RECURRENT.replace("{N}", "2")));
    let attention = Case::new(&ATTENTION.replace("{N}", "2"));
    let quantized = Case::new(&QUANTIZED.replace("{N}", "2"));
    let resized = Case::new(&RESIZED.replace("{N}", "2"));
    let normed = Case::new(&NORMED.replace("{N}", "2"));
    let (limits, budget) = (Limits::default(), Budget::default());
    let each = [
        ("module", &graph, Detection::RunTime),
        ("module_no_std", &graph, Detection::CompileTime),
        ("module_recurrent", &recurrent, Detection::RunTime),
        ("module_attention", &attention, Detection::RunTime),
        ("module_quantized", &quantized, Detection::RunTime),
        ("module_resized", &resized, Detection::RunTime),
        ("module_normed", &normed, Detection::RunTime),
    ];
    for (name, case, detection) in each {
        let mut parameters = |name: &str| Ok::<_, Infallible>(case.parameters[name].clone());
        let (network, target) = (&case.network, &Target::AVX2);
        let made = network_module(network, target, &TARGETS, &limits, detection, &mut parameters, &budget);
        let made = made.expect("it has a module");
        let like = case.emit(&TARGETS, &budget).expect("it has a crate");
        assert_eq!((made.weights_bytes, made.arena_bytes), (like.weights_bytes, like.arena_bytes));
        let file = ("module.rs".to_owned(), format!("//! A network.\n{}", made.code).into_bytes());
        clippy(&written(name, &[file]), "module.rs");
    }
}

/// Checks a crate with that root.
#[track_caller]
fn clippy(dir: &Path, root: &str) {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().expect("rustc runs").stdout;
    let driver = Path::new(String::from_utf8_lossy(&sysroot).trim()).join("bin/clippy-driver");
    let mut command = Command::new(&driver);
    command.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--crate-name=graph"]);
    command.args(["-Dwarnings", "-Dmissing_docs"]);
    run(command.arg("--out-dir").args([dir, &dir.join(root)]));
}

#[test]
fn budgets_and_what_does_not_fit_are_refused() {
    let case = Case::new(LENET);
    let refused = |budget: Budget| case.emit(&TARGETS, &budget).expect_err("it is refused").to_string();
    let made = case.emit(&TARGETS, &Budget::default()).expect("it has a crate");
    let (weights, arena) = (made.weights_bytes, made.arena_bytes);
    let expected = format!(
        "network `lenet` takes {weights} bytes for its weights, and the budget is 1000: raise it, or make the network smaller"
    );
    assert_eq!(refused(Budget { weights: Some(1000), arena: None }), expected);
    let expected = format!(
        "network `lenet` takes {arena} bytes for its arena, and the budget is {}: raise it, or make the network smaller",
        arena - 1
    );
    assert_eq!(refused(Budget { weights: Some(weights), arena: Some(arena - 1) }), expected);
    let refused = |text: &str, len: usize, outputs: &[Vec<f32>]| {
        let network: NetworkSpec = text.parse().expect(text);
        let mut parameters = |name: &str| if len == 0 { Err(format!("no {name}")) } else { Ok(vec![1.0; len]) };
        let inputs = [vec![0.0; 16]];
        let example = (!outputs.is_empty()).then_some((&inputs[..], outputs));
        let targets = [Target::PORTABLE];
        network_crate(&network, &targets[0], &targets, &Limits::default(), &mut parameters, example, &Budget::default())
            .expect_err("it is refused")
            .to_string()
    };
    let net = |input: &str| format!("network net {{ input: {input}, linear a {{ out_channels: 4 }} }}");
    let expected = "the batch of network `net` is `N`, and code is written for one of a fixed size: give `N` a number";
    assert_eq!(refused(&net("f32[N, 16]"), 64, &[]), expected);
    let expected = "network `net` is of f64, and code is written for f32: declare its inputs as f32";
    assert_eq!(refused(&net("f64[1, 16]"), 64, &[]), expected);
    let net = net("f32[1, 16]");
    let expected = "the parameter `a.weight` has 63 elements, and the network needs 64";
    assert_eq!(refused(&net, 63, &[]), expected);
    assert_eq!(refused(&net, 0, &[]), "no a.weight");
    let expected = "the example has 2 outputs, and network `net` has 1";
    assert_eq!(refused(&net, 64, &[vec![], vec![]]), expected);
    let expected = "the example has 3 elements of `a`, and the network has 4";
    assert_eq!(refused(&net, 64, &[vec![0.0; 3]]), expected);
}

#[test]
fn windows_are_transformed_where_there_is_room() {
    let case = Case::new(
        "network net { input: f32[1, 64, 28, 28], conv2d a { out_channels: 64, kernel_size: 3, padding: 1 } }",
    );
    let weights = |budget: Budget| {
        let made = case.emit(&[Target::AVX2, Target::PORTABLE], &budget).expect("it has a crate");
        (made.weights_bytes / size_of::<f32>(), text(&made, "src/layers/a.rs").contains("winograd"))
    };
    let (plain, transformed) = (64 * 64 * 9, 64 * 64 * 36);
    assert_eq!(weights(Budget::default()), (transformed, true));
    assert_eq!(weights(Budget { weights: Some(plain * size_of::<f32>()), arena: None }), (plain, false));
}

/// What the crates ask the CPU, beside what the standard library asks.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_cpu_answers_as_it_does_to_std() {
    macro_rules! same {
        ($($constant:ident $feature:tt)*) => {
            $(assert_eq!(cpu::has(cpu::$constant), is_x86_feature_detected!($feature), $feature);)*
        };
    }
    same! { SSE2 "sse2" FMA "fma" F16C "f16c" AVX2 "avx2" AVXVNNI "avxvnni" AVX512F "avx512f" }
    same! { AVX512DQ "avx512dq" AVX512BW "avx512bw" AVX512VL "avx512vl" AVX512VNNI "avx512vnni" }
    assert!(!cpu::has(1 << 30), "there is no such thing");
}
