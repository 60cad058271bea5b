//! Networks of `conv!` against the reference, with the parameters that lie in `tests/networks`.

use convoke_core::eval::{Interpolator, Normalizer, reference};
use convoke_core::front::{self, Contents};
use convoke_core::safetensors::TensorList;
use convoke_core::spec::{Limits, NetworkSpec, NodeKind};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The same layers in the source and as text.
macro_rules! lenet {
    ($($text:tt)*) => {
        convoke_macros::conv!(parameters = "tests/networks/lenet.safetensors", $($text)*);
        const LENET: &str = stringify!($($text)*);
    };
}

lenet! {
    network lenet {
        input: f32[1, 1, 12, 12],
        conv2d c1 { out_channels: 4, kernel_size: 3, padding: 1, bias: true, then: relu }
        max_pool2d s2 { kernel_size: 2 }
        conv2d c3 { out_channels: 6, kernel_size: 3, bias: true, then: relu }
        max_pool2d s4 { kernel_size: 2 }
        flatten features {}
        linear classes { out_channels: 10, bias: true, then: softmax }
    }
}

macro_rules! tones {
    ($($text:tt)*) => {
        convoke_macros::conv!(parameters = "tests/networks/tones.safetensors", $($text)*);
        const TONES: &str = stringify!($($text)*);
    };
}

tones! {
    network tones {
        inputs: [sound: f32[2, 3, 7], before: f32[2, 5, 1]],
        lstm memory { input: sound, hidden_size: 4, direction: bidirectional, bias: true, cells: true }
        conv1d mixed { out_channels: 6, kernel_size: 3, padding: 1, then: relu }
        gru last { hidden_size: 5, state: before }
    }
}

macro_rules! attention {
    ($($text:tt)*) => {
        convoke_macros::conv!($($text)*);
        const ATTENTION: &str = stringify!($($text)*);
    };
}

attention! {
    network attention {
        inputs: [q: f32[2, 3, 5, 4] @ nhwc, k: f32[2, 3, 6, 4] @ nhwc],
        matmul scores { inputs: [q, k], transpose_b: true, then: softmax }
        matmul mixed { inputs: [scores, k], then: residual(q) }
    }
}

macro_rules! decibels {
    ($($text:tt)*) => {
        convoke_macros::conv!($($text)*);
        const DECIBELS: &str = stringify!($($text)*);
    };
}

decibels! {
    network decibels {
        input: f32[2, 5, 7, 3] @ nhwc,
        mul power { inputs: [input, input], then: [add(0.01), log, mul(4.3429)] }
        elementwise below { then: neg }
        max_pool2d least { kernel_size: global }
        add above { inputs: [power, least] }
        max_pool2d most { kernel_size: global }
        elementwise inverse { then: reciprocal_no_nan }
        mul between { inputs: [above, inverse] }
    }
}

macro_rules! resized {
    ($($text:tt)*) => {
        convoke_macros::conv!($($text)*);
        const RESIZED: &str = stringify!($($text)*);
    };
}

resized! {
    network planes { input: f32[2, 3, 5, 7], resize a { to: (9, 40), mode: linear } }
    network pixels { input: f32[2, 5, 7, 3] @ nhwc, resize a { scale: (1.5, 0.6), mode: linear, align: corners } }
    network solid { input: f32[1, 19, 3, 4, 5] @ nCdhw16c, resize a { to: (5, 3, 11), mode: linear, align: asymmetric } }
    network nearest { input: f32[1, 2, 5, 7], resize a { to: (8, 4), round: ceil } }
}

macro_rules! normed {
    ($($text:tt)*) => {
        convoke_macros::conv!($($text)*);
        const NORMED: &str = stringify!($($text)*);
    };
}

normed! {
    network elements { input: f32[2, 5, 70] @ nlc, layer_norm a { axis: 2, affine: false } }
    network planes_of_groups { input: f32[2, 6, 5, 7], group_norm a { groups: 3, affine: false } }
    network pixels_of_groups { input: f32[2, 5, 7, 96] @ nhwc, group_norm a { groups: 2, affine: false } }
    network instances { input: f32[1, 19, 3, 4, 5] @ nCdhw16c, instance_norm a { epsilon: 0.001, affine: false } }
}

convoke_macros::conv!(file = "tests/networks/graph.conv");

/// One of several in a file, and parameters that are named.
mod named {
    convoke_macros::conv!(
        file = "tests/networks/graph.conv",
        layer = "graph",
        parameters = "tests/networks/graph.safetensors",
    );
}

// Without parameters, without layers, and beside a layer.
convoke_macros::conv! {
    network thumbnail {
        input: f32[1, 4, 6, 3] @ nhwc,
        avg_pool2d half { kernel_size: 2 }
        transpose first { axes: (0, 3, 1, 2) }
    }
    network levels { input: f32[2, 5, 7], quantize_dynamic few {} }
    network seen { input: f32[1, 2, 3, 4], flatten all {} }
    conv1d beside { input: f32[1, 1, 4], out_channels: 1, kernel_size: 2 }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks")
}

/// The networks of a text.
fn networks(text: &str) -> Vec<NetworkSpec> {
    let Contents { networks, .. } = front::contents(text, &Limits::default(), &[]).expect(text);
    networks
}

fn numbers(seed: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0).collect()
}

/// What the reference computes of these inputs.
fn expected(network: &NetworkSpec, inputs: &[&[f32]]) -> Vec<Vec<f64>> {
    let wide = |all: &[f32]| all.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let mut parameters = HashMap::new();
    if network.parameters_len() > 0 {
        let file = fs::read(folder().join(&network.name).with_extension("safetensors")).expect("there is a file");
        let (list, data) = TensorList::of_file(&file).expect("it is a list of tensors");
        for name in list.names() {
            let elements = list.elements::<f32>(name, data).expect("they are floats").expect("it is there");
            parameters.insert(name.to_owned(), wide(&elements));
        }
    }
    let inputs: Vec<Vec<f64>> = inputs.iter().map(|input| wide(input)).collect();
    let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    reference::run_network(network, network.fixed_batch().unwrap_or(1), &inputs, |name| &parameters[name])
}

#[track_caller]
fn check(found: &[f32], expected: &[f64]) {
    let greatest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    assert_eq!(found.len(), expected.len());
    for (at, (&found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(found) - expected).abs() <= 1e-5 * greatest, "[{at}] is {found}, and not {expected}");
    }
}

#[test]
fn a_network_in_the_source_is_computed() {
    static ARENA: Mutex<lenet::Arena> = Mutex::new(lenet::Arena::new());
    let network = &networks(LENET)[0];
    let input: Box<lenet::Input> = numbers(1, 144).try_into().expect("it is as long");
    let mut output: lenet::Output = [f32::NAN; 10];
    let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
    lenet::run(&input, &mut arena, &mut output);
    check(&output, &expected(network, &[&input[..]])[0]);
    let first = output;
    lenet::run(&input, &mut arena, &mut output);
    assert_eq!(output, first, "what is left in the arena does not matter");
    assert_eq!((size_of::<lenet::Arena>(), lenet::layers::c1::isa().is_available()), (lenet::ARENA_BYTES, true));
}

#[test]
fn recurrent_layers_are_computed() {
    let network = &networks(TONES)[0];
    let sound: tones::InputSound = numbers(4, 2 * 3 * 7).try_into().expect("it is as long");
    let before: tones::InputBefore = numbers(5, 2 * 5).try_into().expect("it is as long");
    let mut output: tones::Output = [f32::NAN; _];
    tones::run(&sound, &before, &mut tones::Arena::new(), &mut output);
    check(&output, &expected(network, &[&sound, &before])[0]);
}

#[test]
fn products_of_two_values_are_computed() {
    let network = &networks(ATTENTION)[0];
    let q: attention::InputQ = numbers(4, 2 * 3 * 5 * 4).try_into().expect("it is as long");
    let k: attention::InputK = numbers(5, 2 * 3 * 6 * 4).try_into().expect("it is as long");
    let mut output: attention::Output = [f32::NAN; _];
    attention::run(&q, &k, &mut attention::Arena::new(), &mut output);
    check(&output, &expected(network, &[&q, &k])[0]);
    assert_eq!((size_of::<attention::Arena>(), attention::WEIGHTS_BYTES), (attention::ARENA_BYTES, 0));
}

#[test]
fn logarithms_are_computed() {
    let network = &networks(DECIBELS)[0];
    let mut input: decibels::Input = numbers(6, 2 * 5 * 7 * 3).try_into().expect("it is as long");
    // One channel of the second image has the same number everywhere.
    input[105..].iter_mut().step_by(3).for_each(|x| *x = 0.5);
    let mut output: decibels::Output = [f32::NAN; _];
    decibels::run(&input, &mut decibels::Arena::new(), &mut output);
    check(&output, &expected(network, &[&input])[0]);
    assert!(output[105..].iter().step_by(3).all(|&x| x == 0.0));
}

#[test]
fn a_network_of_a_file_is_computed() {
    let network = &networks(&fs::read_to_string(folder().join("graph.conv")).expect("there is a file"))[0];
    let image: Box<graph::InputImage> = numbers(2, 2 * 12 * 16 * 3).try_into().expect("it is as long");
    let more: Box<graph::InputMore> = numbers(3, 2 * 6 * 8 * 8).try_into().expect("it is as long");
    let expected = expected(network, &[&image[..], &more[..]]);
    let mut up: graph::OutputUp = [f32::NAN; _];
    let mut active: graph::OutputActive = [f32::NAN; _];
    let mut sum: graph::OutputSum = [f32::NAN; _];
    let mut classes: graph::OutputClasses = [f32::NAN; _];
    let mut same: graph::OutputImage = [f32::NAN; _];
    let mut big: graph::OutputBig = [f32::NAN; _];
    let mut arena = Box::new(graph::Arena::new());
    graph::run(&image, &more, &mut arena, &mut up, &mut active, &mut sum, &mut classes, &mut same, &mut big);
    let all = [&up[..], &active, &sum, &classes, &same, &big];
    assert_eq!(all.len(), expected.len());
    all.iter().zip(&expected).for_each(|(found, expected)| check(found, expected));
    let (mut again, mut arena) = (up, Box::<named::graph::Arena>::default());
    again.fill(f32::NAN);
    named::graph::run(&image, &more, &mut arena, &mut again, &mut active, &mut sum, &mut classes, &mut same, &mut big);
    assert_eq!(again, up);
    let mut dst = [0.0; 3];
    alone::run(&[1.0, 2.0, 4.0, 8.0], &alone::pack(&[-1.0, 1.0]), &mut dst);
    assert_eq!(dst, [1.0, 2.0, 4.0]);
}

#[test]
fn networks_without_parameters_are_computed() {
    let input: thumbnail::Input = std::array::from_fn(|i| (i % 5) as f32);
    let mut output: thumbnail::Output = [f32::NAN; _];
    thumbnail::run(&input, &mut thumbnail::Arena::new(), &mut output);
    let pixel = |h: usize, w: usize, c: usize| input[(h * 6 + w) * 3 + c];
    for (i, found) in output.iter().enumerate() {
        let (c, h, w) = (i / 6, i / 3 % 2 * 2, i % 3 * 2);
        let sum = pixel(h, w, c) + pixel(h, w + 1, c) + pixel(h + 1, w, c) + pixel(h + 1, w + 1, c);
        assert_eq!(*found, sum / 4.0);
    }
    let (input, mut output) = ([2.5; 24], [0.0; 24]);
    seen::run(&input, &mut seen::Arena::new(), &mut output);
    assert_eq!((output, seen::WEIGHTS_BYTES), (input, 0));
    let mut dst = [0.0; 3];
    beside::run(&[1.0, 2.0, 4.0, 8.0], &beside::pack(&[-1.0, 1.0]), &mut dst);
    assert_eq!(dst, [1.0, 2.0, 4.0]);
}

/// Rounding leaves nothing to other roundings: the bits are those of the reference.
#[test]
fn elements_are_quantized_of_each_image() {
    let network = &networks("network levels { input: f32[2, 5, 7], quantize_dynamic few {} }")[0];
    for (seed, factor) in [(1, 1.0), (2, 0.01), (3, -700.0), (4, 0.0), (5, f32::NAN)] {
        let mut input: levels::Input = numbers(seed, 70).try_into().expect("it is as long");
        input[40..].iter_mut().step_by(3).for_each(|x| *x *= factor);
        let mut output: levels::Output = [7.0; _];
        levels::run(&input, &mut levels::Arena::new(), &mut output);
        let expected = &expected(network, &[&input[..]])[0];
        for (found, &expected) in output.iter().zip(expected) {
            assert!(found.to_bits() == (expected as f32).to_bits() || found.is_nan() && expected.is_nan(), "{factor}");
        }
    }
}

/// The bits are those of the run-time network.
#[test]
fn images_get_other_sizes() {
    macro_rules! check {
        ($name:ident) => {
            let network = networks(RESIZED).into_iter().find(|network| network.name == stringify!($name));
            let network = network.expect("it is there");
            let NodeKind::Interpolate(one) = &network.nodes[0].kind else { panic!("{network}") };
            let mut input: $name::Input = [0.0; _];
            let given = numbers(3, input.len());
            input.copy_from_slice(&given);
            let mut output: $name::Output = [f32::NAN; _];
            $name::run(&input, &mut $name::Arena::new(), &mut output);
            let mut at_run_time = vec![f32::NAN; output.len()];
            Interpolator::new(one, &network.values[1].shape).run(&input, &mut at_run_time, 0);
            assert_eq!(output[..], at_run_time);
            check(&output, &expected(&network, &[&input])[0]);
        };
    }
    check!(planes);
    check!(pixels);
    check!(solid);
    check!(nearest);
}

/// The bits are those of the run-time network.
#[test]
fn groups_are_normalized() {
    macro_rules! check {
        ($name:ident) => {
            let network = networks(NORMED).into_iter().find(|network| network.name == stringify!($name));
            let network = network.expect("it is there");
            let NodeKind::Norm(norm) = &network.nodes[0].kind else { panic!("{network}") };
            let mut input: $name::Input = [0.0; _];
            let given = numbers(3, input.len());
            input.copy_from_slice(&given);
            let mut output: $name::Output = [f32::NAN; _];
            $name::run(&input, &mut $name::Arena::new(), &mut output);
            let one = Normalizer::new(norm, &network.values[1].shape);
            let mut at_run_time = vec![f32::NAN; output.len()];
            if one.kept() == 0 {
                one.rows(&input, &mut at_run_time, 0, None);
            }
            let units = at_run_time.chunks_mut(one.unit()).zip(input.chunks(one.unit())).enumerate();
            for (at, (dst, src)) in units.filter(|_| one.kept() > 0) {
                let mut kept = vec![f32::NAN; one.kept()];
                for (piece, kept) in kept.chunks_mut(one.piece()).enumerate() {
                    one.statistics(src, (at, piece * one.piece() / 2), None, kept);
                }
                one.pixels(src, dst, at, None, &kept);
            }
            assert_eq!(output[..], at_run_time);
            check(&output, &expected(&network, &[&input])[0]);
        };
    }
    check!(elements);
    check!(planes_of_groups);
    check!(pixels_of_groups);
    check!(instances);
}

/// What the files of parameters hold. Some tensors are `BF16`, which keeps their numbers. With `SNAPSHOTS=overwrite` they are written.
#[test]
fn parameters_are_those_of_the_layers() {
    let graph = fs::read_to_string(folder().join("graph.conv")).expect("there is a file");
    for network in [&graph, LENET, TONES].into_iter().flat_map(networks) {
        let (mut entries, mut data) = (Vec::new(), Vec::new());
        for (at, parameter) in network.parameters().enumerate() {
            let (from, is_half) = (data.len(), at % 3 == 2);
            for x in numbers(at, parameter.len) {
                let bytes = (x / 2.0).to_le_bytes();
                data.extend(if is_half { &bytes[2..] } else { &bytes[..] });
            }
            let (name, len, to, dtype) =
                (parameter.name, parameter.len, data.len(), if is_half { "BF16" } else { "F32" });
            entries.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":[{len}],"data_offsets":[{from},{to}]}}"#));
        }
        let list = format!("{{{}}}", entries.join(","));
        let file = [&(list.len() as u64).to_le_bytes()[..], list.as_bytes(), &data].concat();
        let path = folder().join(&network.name).with_extension("safetensors");
        let is_right = || fs::read(&path).is_ok_and(|found| found == file);
        // Other tests read what is there.
        if !is_right() && std::env::var_os("SNAPSHOTS").is_some_and(|what| what == "overwrite") {
            fs::write(&path, &file).expect("it is written");
        }
        assert!(is_right(), "{} has other parameters", path.display());
    }
}
