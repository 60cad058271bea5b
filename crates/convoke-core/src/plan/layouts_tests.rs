use std::collections::HashMap;

use super::*;
use crate::eval::reference::run_network;
use crate::front;
use crate::plan::{arrange, pin};
use crate::spec::Limits;

fn network(text: &str) -> NetworkSpec {
    match front::contents(text, &Limits::default(), &[]) {
        Ok(mut contents) => contents.networks.remove(0),
        Err(refused) => panic!("{refused:#?}\n{text}"),
    }
}

/// Channels that fill blocks and that do not, groups, every kind of layer that may have another layout, and those that may not; `{C}` stands for the
/// layout of the input, `{HEIGHT}` for the number of its axis.
const EVERY: &str = "
network every {
    input: f32[2, {SIZES}] @ {C},
    conv2d stem { out_channels: 32, kernel_size: 3, padding: (0..1, 1), bias: true, weights: oihw }
    conv2d odd { out_channels: 10, kernel_size: 1, weights: oihw, then: scale }
    elementwise active { then: [relu, mul(0.5)] }
    conv2d apart { input: stem, out_channels: 32, kernel_size: 3, padding: 1, groups: 32, weights: oihw }
    conv2d halves { out_channels: 32, kernel_size: 3, padding: 1, groups: 2, weights: oihw, then: clamp(-1, 1) }
    avg_pool2d pooled { kernel_size: global }
    conv2d gate { out_channels: 32, kernel_size: 1, bias: true, weights: oihw }
    elementwise opened { then: hard_sigmoid }
    mul gated { inputs: [halves, opened] }
    add sum { inputs: [gated, stem], then: relu }
    concat wide { inputs: [sum, apart] }
    concat mixed { inputs: [active, sum] }
    concat tall { inputs: [sum, apart], axis: {HEIGHT} }
    slice block { input: wide, channels: 16..48 }
    slice ragged { input: mixed, channels: 5..31, height: 1..4, stride: (2, 1) }
    pad edge { input: block, padding: (1, 0..2) }
    pad filled { input: active, padding: 1, value: 0.25 }
    resize large { input: edge, scale: (2, 1) }
    resize smooth { to: (9, 7), mode: linear, align: corners }
    max_pool2d small { kernel_size: 2, padding: 1 }
    conv_transpose2d up { out_channels: 6, kernel_size: 3, stride: 2, weights: iohw }
    lrn near { input: ragged, size: 3, alpha: 0.5 }
    transpose turned { axes: (0, 2, 3, 1) }
    reorder other { input: sum, layout: {OTHER} }
    conv2d behind { out_channels: 16, kernel_size: 1, weights: oihw }
    conv2d beside { input: other, out_channels: 16, kernel_size: 1, weights: oihw }
    add pair { inputs: [behind, beside], then: [relu, mul(0.5)] }
    flatten all { input: small }
    linear classes { out_channels: 5, then: softmax }
    outputs: [classes, up, turned, pair, tall, filled, mixed],
}";

fn every(layout: &str) -> NetworkSpec {
    let (sizes, height, other) = match layout {
        "nchw" => ("3, 5, 6", "2", "nhwc"),
        _ => ("5, 6, 3", "1", "nchw"),
    };
    let text = [("{SIZES}", sizes), ("{C}", layout), ("{HEIGHT}", height), ("{OTHER}", other)];
    network(&text.into_iter().fold(EVERY.to_owned(), |text, (from, to)| text.replace(from, to)))
}

/// Numbers that look random, the same for the same name.
fn numbers(name: &str, len: usize) -> Vec<f64> {
    let seed = name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let each = |i: u64| (seed.wrapping_add(i)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    (0..len as u64).map(|i| each(i) as f64 / f64::from(1 << 23) - 1.0).collect()
}

fn outputs(network: &NetworkSpec) -> Vec<Vec<f64>> {
    let parameters: HashMap<String, Vec<f64>> =
        network.parameters().map(|p| (p.name.clone(), numbers(&p.name, p.len))).collect();
    let input: Vec<f32> = numbers("input", 2 * network.values[0].shape.image()).iter().map(|&x| x as f32).collect();
    run_network(network, 2, &[&input], |name| &parameters[name])
}

fn check(original: &NetworkSpec, changed: &NetworkSpec, what: &str) {
    for (i, (expected, found)) in outputs(original).iter().zip(&outputs(changed)).enumerate() {
        assert_eq!(expected.len(), found.len(), "{what}: output {i}\n{changed}");
        let far = expected.iter().zip(found).position(|(a, b)| (a - b).abs() > 1e-9);
        assert_eq!(far, None, "{what}: output {i}\n{changed}");
    }
    assert_eq!(&network(&changed.to_string()), changed, "{what}");
    let places = |network: &NetworkSpec| {
        let given = network.input_values().iter().chain(network.output_values());
        given.map(|value| value.shape.clone()).collect::<Vec<_>>()
    };
    assert_eq!(places(original), places(changed), "{what}");
    let names = |network: &NetworkSpec| network.parameters().collect::<Vec<_>>();
    assert_eq!(names(original), names(changed), "{what}");
}

#[test]
fn any_layouts_compute_the_same() {
    for layout in ["nchw", "nhwc"] {
        let original = every(layout);
        let prices = Prices::of(&original, &Target::AVX2, Plans::new());
        for pick in LAYOUTS {
            let start = prices.start(|options| options.iter().find(|option| option.0 == pick));
            assert!(start.contains(&pick));
            check(&original, &rewrite(&original, &start), &format!("{layout}, {pick:?}"));
            // One layer after the other.
            let improved = prices.improve(start.clone());
            assert!(prices.total(&improved) <= prices.total(&start));
            check(&original, &rewrite(&original, &improved), &format!("{layout}, {pick:?}, improved"));
        }
        for shift in 0..3 {
            let mixed: Vec<Layout> =
                prices.options.iter().enumerate().map(|(at, o)| o[(at + shift) % o.len()].0).collect();
            check(&original, &rewrite(&original, &mixed), &format!("{layout}, mixed by {shift}"));
        }
    }
}

#[test]
fn arranged_networks_compute_the_same() {
    for target in [Target::AVX2, Target::AVX512, Target::SSE, Target::PORTABLE] {
        for layout in ["nchw", "nhwc"] {
            let original = every(layout);
            let arranged = arrange(&original, &target);
            check(&original, &arranged, &format!("{layout} for {}", target.name()));
            // What stands alone is part of the layer before it, under that layer's name, and a sum of the later of its two.
            let names: Vec<&str> = arranged.nodes.iter().map(|node| node.name.as_str()).collect();
            assert!(
                names.contains(&"beside") && ["active", "opened", "pair"].iter().all(|name| !names.contains(name)),
                "{arranged}"
            );
        }
    }
}

#[test]
fn what_costs_nothing_to_change_is_changed() {
    // Planes of many channels are slow; they are moved at the edges and nowhere else.
    let layers: String = (0..6)
        .map(|i| format!("conv2d c{i} {{ out_channels: 64, kernel_size: 3, padding: 1, then: relu }}\n"))
        .collect();
    let plain = network(&format!("network plain {{ input: f32[1, 64, 28, 28], {layers} }}"));
    let arranged = arrange(&plain, &Target::AVX2);
    let reorders = arranged.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Reorder)).count();
    assert_eq!(reorders, 2, "{arranged}");
    assert_eq!(arranged.nodes.len(), 8);
}

#[test]
fn a_flattened_image_stays_as_it_is() {
    let layers = |more: &str| {
        format!(
            "network flat {{ input: f32[2, 1, 12, 10],
            conv2d stem {{ out_channels: 16, kernel_size: 3, padding: 1, weights: oihw }}
            max_pool2d small {{ kernel_size: 2 }}
            flatten all {{}}
            linear hidden {{ out_channels: 20, bias: true, then: [scale, relu] }}
            {more} }}"
        )
    };
    let linear = |arranged: &NetworkSpec, name: &str| {
        let node = arranged.nodes.iter().find(|node| node.name == name);
        node.unwrap_or_else(|| panic!("no {name}: {arranged}")).kind.name()
    };
    let moves = |arranged: &NetworkSpec| {
        let shape = |value: usize| &arranged.values[value].shape;
        let reorders = arranged.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Reorder));
        reorders.filter(|node| shape(node.output).pixels() > 1 && shape(node.output).channels > 1).count()
    };
    // One output, two, also in front of what takes it as a list; and the flattened image itself is wanted.
    for (more, kind, expected) in [
        ("", "conv2d", 0),
        ("linear classes { out_channels: 3, then: softmax }", "conv2d", 0),
        ("linear classes { out_channels: 3 } outputs: [classes, hidden]", "conv2d", 0),
        ("linear classes { input: all, out_channels: 3 } outputs: [classes, hidden]", "linear", 1),
        ("outputs: [hidden, all]", "linear", 1),
    ] {
        let original = network(&layers(more));
        for target in [Target::AVX2, Target::SSE] {
            let arranged = arrange(&original, &target);
            check(&original, &arranged, more);
            assert_eq!(linear(&arranged, "hidden"), kind, "{arranged}");
            assert_eq!(moves(&arranged), expected, "{arranged}");
            // What is printed is planned so again.
            let pinned = pin(&original, &target).to_string();
            assert_eq!(pin(&network(&pinned), &target).to_string(), pinned);
        }
    }
    let wide = network(&layers("").replace("out_channels: 20", "out_channels: 300"));
    assert_eq!(linear(&arrange(&wide, &Target::AVX2), "hidden"), "linear");
}
