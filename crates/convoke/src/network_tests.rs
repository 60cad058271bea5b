use std::collections::HashMap;

use convoke_core::eval::{Bf16, F16, Float, reference};
use convoke_core::spec::{NetworkSpec, Parameter};

use crate::compiler::Compiler;
use crate::error::Error;
use crate::network::Network;

/// Every kind of layer: branches, residuals, parts of channels, several inputs and outputs, a value that is used last by an output.
const GRAPH: &str = "
network graph {
    inputs: [image: f32[N, 12, 16, 3] @ nhwc, more: f32[N, 6, 8, 8] @ nhwc],
    conv2d stem { input: image, out_channels: 8, kernel_size: 3, stride: 2, padding: 1, bias: true }
    conv2d left { out_channels: 8, kernel_size: 1, then: [relu, residual(more)] }
    conv2d right { input: stem, out_channels: 4, kernel_size: 3, padding: same, then: [scale, shift, scale] }
    concat both { inputs: [left, right, stem] }
    slice part { channels: 3..11 }
    add sum { inputs: [part, stem], then: [relu, mul(0.5)] }
    elementwise active { input: both, then: [sigmoid, residual(both)] }
    conv_transpose2d up { input: sum, out_channels: 2, kernel_size: 2, stride: 2 }
    flatten all { input: active }
    linear classes { out_channels: 10, bias: true, then: softmax }
    outputs: [up, active, sum, classes, image, all],
}";

/// Every layer that moves elements, in a layout without blocks; `{C}` stands for the layout's name.
const MOVING: &str = "
network moving {
    input: f32[{N}, 6, 4, 8] @ {C},
    conv2d a { out_channels: 8, kernel_size: 3, padding: 1, weights: oihw }
    resize big { scale: (2, 3) }
    pad edge { padding: (1..2, 0..3), value: 0.5 }
    conv2d b { out_channels: 4, kernel_size: 3, stride: 2, weights: oihw }
    slice some { input: big, channels: 1..5, height: 0..3, stride: (1, 2) }
    slice whole { input: a, channels: 0..4 }
    lrn near { input: a, size: 5, alpha: 0.5, beta: 0.75, k: 2 }
    concat high { inputs: [near, a], axis: 2 }
    concat far { inputs: [near, a, near], axis: 3 }
    transpose turned { input: near, axes: (0, 2, 3, 1) }
    reorder last { input: near, layout: nhwc }
    reorder first { input: last, layout: nchw }
    avg_pool2d pooled { input: a, kernel_size: global }
    conv2d gate { out_channels: {K}, kernel_size: 1, weights: oihw, then: [mul(0.1), sigmoid] }
    mul gated { inputs: [a, gate], then: [relu, residual(near)] }
    add raised { inputs: [gated, pooled] }
    mul square { inputs: [raised, raised], then: pow(0.5) }
    reshape grouped { input: a, to: f32[{N}, 2, 2, {REST}] }
    transpose shuffled { axes: (0, 2, 1, 3) }
    outputs: [b, some, whole, high, far, turned, last, first, raised, square, shuffled, grouped],
}";

/// Recurrent layers: both cells, every direction, with states and without, behind each other; `{X}` stands for a signal of three channels.
const RECURRENT: &str = "
network recurrent {
    inputs: [signal: f32[{N}, {X}, h: f32[{N}, 10], c: f32[{N}, 10]],
    lstm first { input: signal, hidden_size: 5, direction: bidirectional, bias: true, cells: true, states: [h, c] }
    slice hidden { channels: 0..10 }
    gru second { hidden_size: 7, bias: true }
    gru third { input: hidden, hidden_size: 10, direction: reverse, state: h }
    add both { inputs: [hidden, third], then: relu }
    lstm fourth { hidden_size: 20 }
    gru fifth { hidden_size: 16, direction: bidirectional, bias: true }
    slice last { input: first, channels: 10..20, length: {L}..{E} }
    gru sixth { input: signal, hidden_size: 10, state: last }
    outputs: [first, second, third, fourth, fifth, last, both, sixth],
}";

/// Quantization of inputs and of what layers make, in a layout that the planner chooses, of a value that lies in another, and within recurrent layers.
const QUANTIZED: &str = "
network quantized {
    inputs: [image: f32[{N}, 3, 9, 7], signal: f32[{N}, 3, 6], h: f32[{N}, 10], c: f32[{N}, 10]],
    quantize_dynamic few { input: image }
    conv2d sums { out_channels: 24, kernel_size: 3, padding: 1 }
    quantize_dynamic again {}
    conv2d more { out_channels: 24, kernel_size: 3, padding: 1, then: residual(again) }
    flatten all {}
    quantize_dynamic flat {}
    slice part { input: image, channels: 1..2 }
    quantize_dynamic of_part {}
    concat joined { inputs: [of_part, few] }
    quantize_dynamic levels { input: signal }
    lstm memory { hidden_size: 5, direction: bidirectional, bias: true, quantize_hidden: true, states: [h, c] }
    gru next { hidden_size: 4, quantize_hidden: true }
    outputs: [few, again, more, flat, joined, levels, memory, next],
}";

/// Logarithms from the least of each image and channel to the greatest, 0 where these are the same; `{X}` is a shape.
const DECIBELS: &str = "
network decibels {
    input: f32[{N}, {X},
    mul power { inputs: [input, input], then: [add(0.01), log, mul(4.3429)] }
    elementwise below { then: neg }
    max_pool2d least { kernel_size: global, then: neg }
    elementwise floor { then: neg }
    add above { inputs: [power, floor] }
    max_pool2d most { kernel_size: global }
    elementwise inverse { then: reciprocal_no_nan }
    mul between { inputs: [above, inverse] }
    conv2d loud { input: input, out_channels: 21, kernel_size: 3, padding: 1, weights: oihw, bias: true, then: [abs, add(1), log] }
    outputs: [between, least, loud],
}";

fn recurrent(n: &str, layout: &str, length: usize) -> String {
    let signal = if layout == "ncl" { format!("3, {length}]") } else { format!("{length}, 3] @ nlc") };
    let text = RECURRENT.replace("{N}", n).replace("{X}", &signal);
    text.replace("{L}", &(length - 1).to_string()).replace("{E}", &length.to_string())
}

fn moving(n: &str, layout: &str) -> String {
    let text = MOVING.replace("{N}", n).replace("{C}", layout);
    // The axes that are written: channels, height and width, or height, width and channels.
    match layout {
        "nchw" => text.replace("{K}", "8").replace("{REST}", "64"),
        _ => text
            .replace("{K}", "8")
            .replace("{REST}", "48")
            .replace("slice whole { input: a, channels: 0..4 }", "slice whole { input: a, height: 2..4 }"),
    }
}

fn network(text: &str) -> NetworkSpec {
    text.parse().expect(text)
}

struct Numbers(u64);

impl Numbers {
    fn take(&mut self, len: usize) -> Vec<f64> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 40) % 2001) as f64 / 1000.0 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }
}

impl Numbers {
    /// Variances are no less than 0.
    fn of(&mut self, parameter: &Parameter) -> Vec<f64> {
        let all = self.take(parameter.len).into_iter();
        if parameter.name.ends_with("running_var") { all.map(|x| x.abs() + 0.1).collect() } else { all.collect() }
    }
}

/// What comes out of the compiled network and of the reference, on numbers that `T` holds.
fn outputs<T: Float>(spec: &NetworkSpec, threads: usize, batch: usize) -> (Vec<Vec<T>>, Vec<Vec<f64>>) {
    let mut numbers = Numbers(5);
    let rounded = |numbers: Vec<f64>| numbers.into_iter().map(T::from_number).collect::<Vec<T>>();
    let parameters: HashMap<String, Vec<T>> =
        spec.parameters().map(|p| (p.name.clone(), rounded(numbers.of(&p)))).collect();
    let exact: HashMap<&str, Vec<f64>> =
        parameters.iter().map(|(name, p)| (name.as_str(), p.iter().map(|x| x.to_number()).collect())).collect();
    let inputs: Vec<Vec<T>> =
        spec.input_values().iter().map(|value| rounded(numbers.take(batch * value.shape.image()))).collect();
    let network =
        Compiler::new().threads(threads).network(spec, |name| parameters.get(name).map(Vec::as_slice)).unwrap();
    let mut found: Vec<Vec<T>> =
        spec.output_values().map(|value| vec![T::default(); batch * value.shape.image()]).collect();
    let given: Vec<&[T]> = inputs.iter().map(Vec::as_slice).collect();
    // Twice, so that what is left in the arena shows.
    for _ in 0..2 {
        network.run(&given, &mut found.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
    }
    let lanes: Vec<Vec<f64>> = inputs.iter().map(|input| input.iter().map(|x| x.to_number()).collect()).collect();
    let lanes: Vec<&[f64]> = lanes.iter().map(Vec::as_slice).collect();
    let expected = reference::run_network(spec, batch, &lanes, |name| &exact[name]);
    (found, expected)
}

fn check<T: Float>(text: &str, allowed: f64) {
    let spec = network(text);
    for batch in [1, 3] {
        if spec.fixed_batch().is_some_and(|fixed| fixed != batch) {
            continue;
        }
        let (found, expected) = outputs::<T>(&spec, 1, batch);
        for ((found, expected), value) in found.iter().zip(&expected).zip(spec.output_values()) {
            assert_eq!(found.len(), expected.len());
            let size = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
            for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                let off = (found.to_number() - expected).abs();
                assert!(off <= allowed * size, "{} [{i}] is {found}, and should be {expected}\n{spec}", value.name);
            }
        }
        let (again, _) = outputs::<T>(&spec, 2, batch);
        assert!(again == found, "the same on two threads");
    }
}

#[test]
fn layers_one_after_the_other_are_the_network() {
    check::<f32>(GRAPH, 1e-5);
    check::<f64>(&GRAPH.replace("f32", "f64"), 1e-14);
    // Halves have no softmax.
    let halves = GRAPH.replace(", then: softmax", "");
    check::<F16>(&halves.replace("f32", "f16"), 1e-2);
    check::<Bf16>(&halves.replace("f32", "bf16"), 6e-2);
    for layout in ["nchw", "nhwc"] {
        for n in ["1", "3", "N"] {
            check::<f32>(&moving(n, layout), 1e-5);
        }
    }
    check::<f64>(&moving("N", "nchw").replace("f32", "f64"), 1e-14);
    check::<F16>(&moving("N", "nhwc").replace("f32", "f16"), 1e-2);
    // Channels first, and in blocks.
    let first = GRAPH.replace("12, 16, 3] @ nhwc", "3, 12, 16]").replace("6, 8, 8] @ nhwc", "8, 6, 8]");
    check::<f32>(&first, 1e-5);
    let blocked = "
    network blocked {
        input: f32[2, 16, 6, 6] @ nChw16c,
        conv2d a { out_channels: 32, kernel_size: 3, padding: 1 }
        conv2d b { out_channels: 20, kernel_size: 1, input: input }
        concat c { inputs: [input, a, b] }
        slice d { channels: 16..48 }
        add e { inputs: [a, d] }
        slice f { input: c, channels: 48..68 }
        outputs: [c, d, e, f],
    }";
    check::<f32>(blocked, 1e-5);
}

/// Of one image, parts are made where they are joined; those that stand twice, or that are inputs, are copied there.
#[test]
fn parts_are_made_where_they_are_joined() {
    for input in ["f32[1, 16, 5, 7]", "f32[1, 16, 5, 7] @ nChw16c", "f32[1, 5, 7, 16] @ nhwc"] {
        let text = format!(
            "network net {{
                input: {input},
                conv2d a {{ out_channels: 16, kernel_size: 3, padding: 1 }}
                conv2d b {{ out_channels: 19, kernel_size: 1 }}
                concat c {{ inputs: [a, input, a, b] }}
                conv2d d {{ out_channels: 16, kernel_size: 1, then: [residual(a), relu] }}
                concat e {{ inputs: [d, c] }}
                outputs: [e, c, b],
            }}"
        );
        check::<f32>(&text, 1e-5);
    }
}

#[test]
fn recurrent_layers_take_one_position_after_the_other() {
    for layout in ["ncl", "nlc"] {
        for (n, length) in [("1", 6), ("3", 6), ("N", 6), ("N", 1), ("1", 1)] {
            check::<f32>(&recurrent(n, layout, length), 1e-5);
        }
    }
    check::<f64>(&recurrent("N", "ncl", 9).replace("f32", "f64"), 1e-13);
    check::<F16>(&recurrent("3", "nlc", 4).replace("f32", "f16"), 2e-2);
    check::<Bf16>(&recurrent("N", "ncl", 3).replace("f32", "bf16"), 1e-1);
}

/// Attention, in a layout without blocks; `{Q}`, `{K}` and `{V}` are shapes.
const ATTENTION: &str = "
network attention {
    inputs: [q: f32[{N}, {Q}, k: f32[{N}, {K}, v: f32[{N}, {V}],
    elementwise scaled { input: q, then: mul(0.5) }
    matmul scores { inputs: [scaled, k], transpose_b: true }
    elementwise weighted { then: [softmax] }
    matmul mixed { inputs: [weighted, v], then: [residual(q), relu] }
    mul both { inputs: [mixed, q] }
    matmul plain { inputs: [scores, v], then: [mul(0.25), residual(q)] }
    add sum { inputs: [plain, both] }
    matmul squares { inputs: [q, q], transpose_b: true }
    outputs: [scores, mixed, sum, squares],
}";

/// Small whole numbers give the same sums everywhere; `matmul` of values that are inputs, that other layers make, and of one with itself.
#[test]
fn matrices_of_two_values_are_multiplied() {
    for n in ["1", "3", "N"] {
        for (q, k, v) in [
            ("3, 5, 8] @ nhwc", "3, 7, 8] @ nhwc", "3, 7, 8] @ nhwc"),
            ("2, 3, 17, 9] @ ndhwc", "2, 3, 33, 9] @ ndhwc", "2, 3, 33, 9] @ ndhwc"),
            ("6, 4] @ nlc", "1, 4] @ nlc", "1, 4] @ nlc"),
            ("1, 1, 1] @ nhwc", "1, 1, 1] @ nhwc", "1, 1, 1] @ nhwc"),
        ] {
            let text = ATTENTION.replace("{N}", n).replace("{Q}", q).replace("{K}", k).replace("{V}", v);
            check::<f32>(&text, 1e-5);
            check::<f64>(&text.replace("f32", "f64"), 1e-13);
        }
        let first = ATTENTION.replace("[softmax]", "[relu]").replace("{N}", n);
        let first = first.replace("{Q}", "4, 5, 6]").replace("{K}", "4, 3, 6]").replace("{V}", "4, 3, 6]");
        check::<f32>(&first, 1e-5);
        check::<F16>(&first.replace("f32", "f16"), 1e-2);
        check::<Bf16>(&first.replace("f32", "bf16"), 6e-2);
    }
    let spec = network(
        "network exact {
            inputs: [a: f32[2, 3, 9, 21], b: f32[2, 3, 21, 35], c: f32[2, 3, 35, 21]],
            matmul plain { inputs: [a, b] }
            matmul turned { inputs: [a, c], transpose_b: true, then: [residual(plain), relu] }
            outputs: [plain, turned],
        }",
    );
    let whole = |seed: u64, len: usize| Numbers(seed).take(len).iter().map(|x| (x * 8.0).round()).collect::<Vec<f64>>();
    let exact = [whole(1, 2 * 3 * 9 * 21), whole(2, 2 * 3 * 21 * 35), whole(3, 2 * 3 * 21 * 35)];
    let given: Vec<Vec<f32>> = exact.iter().map(|all| all.iter().map(|&x| x as f32).collect()).collect();
    let expected = reference::run_network(&spec, 2, &exact.each_ref().map(Vec::as_slice), |_| &[]);
    for threads in [1, 2] {
        let network: Network<f32> = Compiler::new().threads(threads).network(&spec, |_| None).unwrap();
        let mut found = [vec![f32::NAN; 2 * 3 * 9 * 35], vec![f32::NAN; 2 * 3 * 9 * 35]];
        let [first, second] = &mut found;
        network.run(&given.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut [first, second]).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.iter().zip(expected).all(|(&found, &expected)| f64::from(found) == expected));
        }
    }
}

/// What follows a product alone is a step of it.
#[test]
fn steps_behind_products_are_part_of_them() {
    let text = "network net {
        inputs: [q: f32[2, 5, 8] @ nlc, k: f32[2, 6, 8] @ nlc],
        matmul scores { inputs: [q, k], transpose_b: true }
        elementwise weighted { then: [mul(0.5), softmax] }
        matmul mixed { inputs: [weighted, k] }
        add sum { inputs: [mixed, q], then: relu }
    }";
    check::<f32>(text, 1e-5);
    let network: Network<f32> = Compiler::new().network(&network(text), |_| None).unwrap();
    let names: Vec<_> = network.arranged().nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["scores", "mixed"]);
    let text = network.arranged().to_string();
    assert!(text.contains("then: [mul(0.5), softmax]") && text.contains("then: [residual(q), relu]"), "{text}");
    // A softmax over the channels of `ncl` is not one over columns.
    let first = "network net {
        inputs: [q: f32[2, 5, 8], k: f32[2, 6, 8]],
        matmul scores { inputs: [q, k], transpose_b: true }
        elementwise weighted { then: softmax }
    }";
    check::<f32>(first, 1e-5);
}

/// Matrices that are large enough to be divided between threads.
#[test]
fn large_products_give_the_same_bits_on_two_threads() {
    let text = ATTENTION.replace("{N}", "2").replace("{Q}", "2, 150, 64] @ nhwc").replace("{K}", "2, 170, 64] @ nhwc");
    check::<f32>(&text.replace("{V}", "2, 170, 64] @ nhwc"), 1e-5);
}

#[test]
fn elements_are_quantized_of_each_image() {
    for n in ["1", "3", "N"] {
        // Nothing here is near enough to the middle of two numbers to become the other.
        check::<f32>(&QUANTIZED.replace("{N}", n), 1e-5);
    }
    check::<f64>(&QUANTIZED.replace("{N}", "N").replace("f32", "f64"), 1e-13);
    // Of halves a sum may become the next number.
    check::<F16>(&QUANTIZED.replace("{N}", "3").replace("f32", "f16"), 2e-2);
    check::<Bf16>(&QUANTIZED.replace("{N}", "N").replace("f32", "bf16"), 1e-1);
    // All numbers of a block, those that fill it up, and one.
    for shape in ["f32[2, 20, 3] @ nCw16c", "f32[N, 3, 1] @ nlc", "f32[1, 1]"] {
        let spec = network(&format!("network net {{ input: {shape}, quantize_dynamic a {{}} }}"));
        let batch = spec.fixed_batch().unwrap_or(4);
        let (found, expected) = outputs::<f32>(&spec, 1, batch);
        let bits = |all: &[f32]| all.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let expected: Vec<f32> = expected[0].iter().map(|&x| x as f32).collect();
        assert_eq!(bits(&found[0]), bits(&expected), "{spec}");
    }
}

#[test]
fn logarithms_between_the_least_and_the_greatest() {
    for n in ["1", "3", "N"] {
        for shape in
            ["3, 5, 7]", "5, 7, 3] @ nhwc", "9, 33, 19] @ nhwc", "2, 17, 40]", "16, 5, 7] @ nChw16c", "1, 1, 1]"]
        {
            let text = DECIBELS.replace("{N}", n).replace("{X}", shape);
            check::<f32>(&text, 1e-5);
            if !shape.ends_with("16c") {
                check::<f64>(&text.replace("f32", "f64"), 1e-13);
            }
            check::<F16>(&text.replace("f32", "f16"), 2e-2);
            check::<Bf16>(&text.replace("f32", "bf16"), 1e-1);
        }
    }
}

/// Layers that are large enough to be divided between threads.
#[test]
fn large_recurrent_layers_give_the_same_bits_on_two_threads() {
    check::<f32>(
        "network large { input: f32[2, 12, 100] @ nlc, lstm a { hidden_size: 130, bias: true, direction: bidirectional } gru b { hidden_size: 96 } }",
        2e-5,
    );
}

#[test]
fn parameters_of_recurrent_layers_have_their_own_names() {
    let spec = network("network net { input: f32[1, 2, 5], gru a { hidden_size: 3, bias: true } }");
    let make = |without: &str| {
        let parameters: HashMap<String, Vec<f32>> =
            spec.parameters().filter(|p| p.name != without).map(|p| (p.name, vec![0.5; p.len])).collect();
        Compiler::new().network(&spec, |name| parameters.get(name).map(Vec::as_slice)).map(|_: Network<f32>| ())
    };
    make("").unwrap();
    for (name, len) in [("a.weight_ih_l0", 18), ("a.weight_hh_l0", 27), ("a.bias_ih_l0", 9), ("a.bias_hh_l0", 9)] {
        let expected = format!("network net needs {len} elements for `{name}`, and nothing was given");
        assert_eq!(make(name).unwrap_err().to_string(), expected);
    }
}

#[test]
fn wrong_sizes_are_refused() {
    let spec = network("network net { input: f32[N, 2, 5], conv1d a { out_channels: 1, kernel_size: 2, bias: true } }");
    let parameters: HashMap<&str, Vec<f32>> = [("a.weight", vec![1.0; 4]), ("a.bias", vec![0.0])].into();
    let make = |parameters: &HashMap<&str, Vec<f32>>| -> Result<Network<f32>, Error> {
        Compiler::new().network(&spec, |name| parameters.get(name).map(Vec::as_slice))
    };
    let net = make(&parameters).unwrap();
    let message = |result: Result<(), Error>| result.unwrap_err().to_string();
    let (src, mut dst) = ([0.0; 20], [7.0; 8]);
    assert_eq!(message(net.run(&[], &mut [&mut dst])), "network net has 1 inputs, and 0 were given");
    assert_eq!(message(net.run(&[&src], &mut [])), "network net has 1 outputs, and 0 were given");
    let long = message(net.run(&[&src[..19]], &mut [&mut dst]));
    assert_eq!(long, "`input` has 19 elements, and network net needs 10 for 1 images");
    let short = message(net.run(&[&src], &mut [&mut dst[..7]]));
    assert_eq!(short, "`a` has 7 elements, and network net needs 8 for 2 images");
    assert_eq!(dst, [7.0; 8]);
    net.run(&[&src], &mut [&mut dst]).unwrap();
    assert_eq!(dst, [0.0; 8]);
    net.run(&[&[]], &mut [&mut []]).unwrap();

    let mut fewer = parameters.clone();
    fewer.insert("a.bias", vec![0.0; 3]);
    let wrong = make(&fewer).unwrap_err().to_string();
    assert_eq!(wrong, "network net needs 1 elements for `a.bias`, and 3 were given");
    fewer.remove("a.bias");
    let missing = make(&fewer).unwrap_err().to_string();
    assert_eq!(missing, "network net needs 1 elements for `a.bias`, and nothing was given");
    let other = Compiler::new().network::<f64>(&spec, |_| None).unwrap_err().to_string();
    assert_eq!(other, "network net computes in f32, and the data are f64");
}

#[test]
fn an_input_is_seen_as_something_else() {
    for n in ["1", "3", "N"] {
        let text = format!(
            "network seen {{
                input: f32[{n}, 2, 3, 4],
                flatten all {{}}
                linear scores {{ out_channels: 5, bias: true }}
                reshape wide {{ input: input, to: f32[{n}, 6, 4] }}
                slice part {{ input: input, channels: 1..2 }}
                outputs: [scores, wide, all, part],
            }}"
        );
        check::<f32>(&text, 1e-5);
    }
}

/// Images of other sizes, between layers that have layouts of their own, and of an input.
const RESIZED: &str = "
network resized {
    input: f32[{N}, 6, 5, 7] @ nchw,
    conv2d a { out_channels: 20, kernel_size: 3, padding: 1 }
    resize twice { scale: 2, mode: linear }
    conv2d b { out_channels: 16, kernel_size: 3, padding: 1, then: relu }
    resize down { to: (4, 9), mode: linear, align: corners }
    resize near { input: b, scale: (1.5, 0.6), round: round_prefer_ceil }
    resize old { input: input, to: (11, 7), align: asymmetric, round: floor }
    elementwise behind { input: down, then: [mul(0.5), relu] }
    add both { inputs: [down, behind] }
    outputs: [twice, near, old, both],
}";

#[test]
fn images_get_other_sizes() {
    for n in ["1", "3", "N"] {
        let first = RESIZED.replace("{N}", n);
        check::<f32>(&first, 1e-5);
        check::<f32>(&first.replace("6, 5, 7] @ nchw", "5, 7, 6] @ nhwc"), 1e-5);
        check::<f64>(&first.replace("f32", "f64"), 1e-13);
        check::<F16>(&first.replace("f32", "f16"), 1e-2);
        check::<Bf16>(&first.replace("f32", "bf16"), 6e-2);
    }
    for (input, sizes) in [("f32[N, 3, 9]", "to: 14"), ("f32[N, 3, 2, 3, 4]", "to: (3, 5, 9)")] {
        for align in ["half_pixel", "half_pixel_symmetric", "corners", "asymmetric"] {
            check::<f32>(
                &format!("network net {{ input: {input}, resize a {{ {sizes}, mode: linear, align: {align} }} }}"),
                1e-5,
            );
        }
    }
}

/// Large enough to be divided between threads.
#[test]
fn large_images_give_the_same_bits_on_two_threads() {
    for input in ["f32[2, 40, 30, 50]", "f32[2, 30, 50, 40] @ nhwc", "f32[2, 40, 30, 50] @ nChw16c"] {
        let text = format!("network net {{ input: {input}, resize a {{ to: (41, 77), mode: linear }} }}");
        check::<f32>(&text, 1e-5);
    }
}

/// Norms, between layers that have layouts of their own, and of an input.
const NORMED: &str = "
network normed {
    input: f32[{N}, 12, 5, 7] @ nchw,
    instance_norm each { epsilon: 0.001 }
    conv2d a { out_channels: 48, kernel_size: 3, padding: 1 }
    instance_norm lanes { affine: false }
    conv2d b { out_channels: 32, kernel_size: 3, padding: 1, then: relu }
    group_norm some { groups: 4 }
    conv2d c { out_channels: 30, kernel_size: 3, padding: 1 }
    group_norm odd { groups: 3, affine: false }
    layer_norm rows { epsilon: 1e-6 }
    layer_norm all { axis: 1 }
    add both { inputs: [rows, all], then: relu }
    outputs: [each, lanes, some, odd, both],
}";

#[test]
fn groups_are_normalized() {
    for n in ["1", "3", "N"] {
        let first = NORMED.replace("{N}", n);
        check::<f32>(&first, 3e-5);
        check::<f32>(&first.replace("12, 5, 7] @ nchw", "5, 7, 12] @ nhwc"), 3e-5);
        check::<f64>(&first.replace("f32", "f64"), 1e-12);
        check::<F16>(&first.replace("f32", "f16"), 4e-2);
        check::<Bf16>(&first.replace("f32", "bf16"), 3e-1);
    }
    for input in ["f32[N, 6]", "f32[2, 6, 1]", "f32[N, 1, 6] @ nlc", "f32[N, 6, 3, 4, 5]", "f32[1, 3, 4, 5, 6] @ ndhwc"]
    {
        for layer in ["layer_norm a {}", "layer_norm a { axis: 1 }", "group_norm a { groups: 2 }", "instance_norm a {}"]
        {
            check::<f32>(&format!("network net {{ input: {input}, {layer} }}"), 1e-5);
        }
    }
}

/// Batch norms, in layers and alone.
const BATCH_NORMED: &str = "
network normed {
    input: f32[{N}, 12, 5, 7] @ nchw,
    batch_norm first { epsilon: 0.001, then: relu }
    conv2d a { out_channels: 20, kernel_size: 3, padding: 1, bias: true }
    batch_norm bn { affine: false }
    elementwise active { then: relu }
    conv2d b { out_channels: 20, kernel_size: 1, then: [scale, batch_norm(inside)] }
    add both { inputs: [b, active], then: batch_norm(behind, 0.01) }
    outputs: [first, both],
}";

#[test]
fn batch_norms_are_part_of_layers() {
    for n in ["1", "3", "N"] {
        let first = BATCH_NORMED.replace("{N}", n);
        check::<f32>(&first, 1e-5);
        check::<f32>(&first.replace("12, 5, 7] @ nchw", "5, 7, 12] @ nhwc"), 1e-5);
        check::<f64>(&first.replace("f32", "f64"), 1e-13);
        check::<F16>(&first.replace("f32", "f16"), 3e-2);
        check::<Bf16>(&first.replace("f32", "bf16"), 3e-1);
    }
    let spec = network(&BATCH_NORMED.replace("{N}", "1"));
    let parameters: HashMap<String, Vec<f32>> = spec.parameters().map(|p| (p.name, vec![0.5; p.len])).collect();
    let made: Network<f32> = Compiler::new().network(&spec, |name| parameters.get(name).map(Vec::as_slice)).unwrap();
    let names: Vec<_> =
        made.arranged().nodes.iter().map(|node| node.name.as_str()).filter(|n| !n.contains("_n")).collect();
    assert_eq!(names, ["first", "a", "b"]);
    let error = Compiler::new()
        .network(&spec, |name| parameters.get(name).filter(|_| name != "inside.running_var").map(Vec::as_slice));
    let expected = "network normed needs 20 elements for `inside.running_var`, and nothing was given";
    assert_eq!(error.map(|_: Network<f32>| ()).unwrap_err().to_string(), expected);
}

/// Large enough to be divided between threads.
#[test]
fn large_norms_give_the_same_bits_on_two_threads() {
    for input in ["f32[2, 64, 30, 50]", "f32[2, 30, 50, 64] @ nhwc", "f32[2, 64, 30, 50] @ nChw16c"] {
        for layer in ["group_norm a { groups: 8 }", "instance_norm a {}", "layer_norm a { axis: 3 }"] {
            if !(layer.starts_with("layer") && input.ends_with("16c")) {
                check::<f32>(&format!("network net {{ input: {input}, {layer} }}"), 1e-5);
            }
        }
    }
}

#[test]
fn no_images_give_nothing() {
    let spec = network(&moving("N", "nhwc"));
    let parameters: HashMap<String, Vec<f32>> = spec.parameters().map(|p| (p.name, vec![0.5; p.len])).collect();
    let network = Compiler::new().network(&spec, |name| parameters.get(name).map(Vec::as_slice)).unwrap();
    let mut outputs: Vec<Vec<f32>> = spec.output_values().map(|_| Vec::new()).collect();
    network.run(&[&[]], &mut outputs.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
}
