//! What is chosen, what a pin may say, and the words for what it may not.

use proptest::prelude::*;

use super::cost::{Model, evicts};
use super::{Algorithm, Candidate, PackInput, Plan, VectorAxis, candidates, choose};
use crate::front;
use crate::spec::arbitrary::layer_spec;
use crate::spec::{LayerSpec, Layout, Limits};
use crate::target::Target;

const SAME: &str = "conv2d l { input: f32[1, 56, 56, 64] @ nhwc, out_channels: 64, kernel_size: 3, padding: 1 }";
const POINT: &str = "conv2d l { input: f32[1, 256, 14, 14] @ nchw, out_channels: 1024, kernel_size: 1 }";
const DEPTHWISE: &str =
    "conv2d l { input: f32[1, 112, 112, 96] @ nhwc, out_channels: 96, kernel_size: 3, padding: 1, groups: depthwise }";
const THRICE: &str =
    "conv2d l { input: f32[1, 16, 16, 16] @ nhwc, out_channels: 48, kernel_size: 3, groups: depthwise }";
const FIR: &str = "conv1d l { input: f32[1, 1, 160000] @ ncl, out_channels: 1, kernel_size: 1023, padding: 511 }";

fn layer(text: &str) -> LayerSpec {
    text.parse().expect("a legal layer")
}

/// `text` with direct sums alone.
fn exact(text: &str) -> String {
    text.replace(" }", ", accuracy: exact }")
}

/// `text` with `pins` in its schedule.
fn pinned(text: &str, pins: &str) -> LayerSpec {
    layer(&text.replace(" }", &format!(", schedule {{ {pins} }} }}")))
}

fn chosen(text: &str, target: &Target, algorithm: Algorithm, vector: VectorAxis, name: &str) {
    let plan = choose(&layer(text), target).expect("without pins there is a plan");
    assert_eq!((plan.algorithm, plan.vector), (algorithm, vector), "{name}: {plan}");
    assert_eq!(plan.parallel, plan.order[0], "{name}");
    let sums = plan.tile.rows * plan.tile.vectors;
    assert!(sums <= target.accumulators, "{name}: {sums} sums");
}

#[test]
fn each_kind_of_layer_has_its_algorithm() {
    for target in [Target::AVX512, Target::AVX2, Target::SSE, Target::SSE_FMA, Target::NEON, Target::PORTABLE] {
        let name = target.name();
        chosen(SAME, &target, Algorithm::Winograd4, VectorAxis::Oc, name);
        chosen(&exact(SAME), &target, Algorithm::Direct, VectorAxis::Oc, name);
        chosen(DEPTHWISE, &target, Algorithm::Depthwise, VectorAxis::Oc, name);
        chosen(&FIR.replace(" }", ", accuracy: exact }"), &target, Algorithm::Direct, VectorAxis::Ow, name);
        let point = choose(&layer(POINT), &target).expect("without pins there is a plan");
        assert_eq!(point.algorithm, Algorithm::Pointwise, "{name}");
    }
}

/// Windows of one tap are a matrix product too, whose weights are packed in another way: which, follows from the layer alone.
#[test]
fn channels_of_their_own_are_packed_alike_at_every_size() {
    for target in [Target::AVX512, Target::AVX2, Target::SSE, Target::SSE_FMA, Target::NEON, Target::PORTABLE] {
        for (pixels, kernel) in [1, 3, 16, 500].into_iter().flat_map(|p| [(p, 1), (p, p.min(3))]) {
            for (input, twice) in
                [(format!("f32[1, 4, {pixels}] @ ncl"), 8), (format!("f64[3, {pixels}, 36] @ nlc"), 72)]
            {
                let text = format!(
                    "conv1d l {{ input: {input}, out_channels: {twice}, groups: depthwise, kernel_size: {kernel} }}"
                );
                let plan = choose(&layer(&exact(&text)), &target).expect("without pins there is a plan");
                let rows = kernel == 1 && twice == 8;
                assert_eq!(plan.algorithm != Algorithm::Depthwise, rows, "{text} on {}", target.name());
            }
        }
    }
}

#[test]
fn sums_fill_the_registers_of_wide_targets() {
    for target in [Target::AVX512, Target::AVX2] {
        let tile = choose(&layer(&exact(SAME)), &target).expect("without pins there is a plan").tile;
        assert_eq!(tile.rows * tile.vectors, target.accumulators, "{}: {tile:?}", target.name());
    }
}

#[test]
fn every_candidate_has_a_plan_or_a_reason() {
    let all = candidates(&layer(SAME), &Target::AVX2);
    // Those for integers, pooling or deformable layers alone are not among them.
    let is_for_others =
        |a: &Algorithm| a.is_by_four() || matches!(a, Algorithm::Pool | Algorithm::Unpool | Algorithm::Deformable);
    let algorithms = Algorithm::ALL.iter().filter(|algorithm| !is_for_others(algorithm)).count();
    assert_eq!(all.len(), algorithms * VectorAxis::ALL.len() * PackInput::ALL.len());
    for c in &all {
        match &c.outcome {
            Ok(plan) => {
                assert_eq!((plan.algorithm, plan.vector, plan.pack_input), (c.algorithm, c.vector, c.pack_input))
            }
            Err(refusal) => assert!(!refusal.reason.is_empty() && refusal.pin.is_none(), "{refusal:?}"),
        }
    }
    let best = choose(&layer(SAME), &Target::AVX2).expect("without pins there is a plan");
    let direct = all.iter().filter(|c| c.algorithm == Algorithm::Direct).filter_map(|c| c.outcome.as_ref().ok());
    assert!(direct.into_iter().all(|plan| plan.cost.total() >= best.cost.total()));
}

#[test]
fn long_filters_are_transformed() {
    for target in [Target::AVX512, Target::AVX2, Target::SSE, Target::SSE_FMA, Target::NEON, Target::PORTABLE] {
        let name = target.name();
        chosen(FIR, &target, Algorithm::Fft, VectorAxis::Ow, name);
        let short = FIR.replace("1023", "9").replace("511", "4");
        chosen(&short, &target, Algorithm::Direct, VectorAxis::Ow, name);
    }
}

#[test]
fn pins_of_fft_say_why() {
    let fft = |pins: &str| format!("algorithm: fft, {pins}");
    refused(
        &FIR.replace("511", "511, stride: 2"),
        "algorithm: fft",
        "fft",
        "needs stride 1 along w, and there it is 2",
    );
    let volume = "conv3d v { input: f32[1, 4, 9, 40, 40], out_channels: 4, kernel_size: 3, padding: 1 }";
    refused(volume, "algorithm: fft", "fft", "along d it has 3 taps");
    refused(SAME, &fft("block: (oh: 57)"), "(oh: 57)", "the output has");
    refused(SAME, &fft("block: (ow: 8)"), "(ow: 8)", "blocked along oh alone");
    refused(FIR, &fft("block: (ow: 100)"), "(ow: 100)", "100 outputs is not made of vectors of 8");
    refused(FIR, &fft("block: (ow: 160008)"), "(ow: 160008)", "longer than a row, which has 160000");
    refused(FIR, &fft("block: (ow: 150000)"), "(ow: 150000)", "1023 taps is longer than 131072 elements");
    refused(FIR, &fft("block: (oh: 8)"), "(oh: 8)", "blocked along ow alone");
    refused(FIR, &fft("tile: 2x2"), "2x2", "needs 16 registers for sums and 6 besides");
    refused(FIR, &fft("unroll: 3"), "3", "writes out the 8 steps of a vector, and not 3");
    refused(FIR, &fft("parallel: oc"), "oc", "and not oc");
    let exact = FIR.replace("511", "511, accuracy: exact");
    refused(&exact, "algorithm: fft", "fft", "accuracy: exact");
}

/// The pin at fault and the reason, for a schedule that cannot hold.
fn refused(text: &str, pins: &str, at: &str, reason: &str) {
    let spec = pinned(text, pins);
    let source = text.replace(" }", &format!(", schedule {{ {pins} }} }}"));
    let error = choose(&spec, &Target::AVX2).expect_err("the pin cannot hold");
    assert_eq!(&source[error.span.range()], at, "{error}");
    assert!(error.reason.contains(reason), "{error}");
}

#[test]
fn pins_that_cannot_hold_say_why() {
    refused(SAME, "algorithm: pointwise", "pointwise", "needs a window of 1, and along h it is 3");
    refused(SAME, "algorithm: depthwise", "depthwise", "there are 1 groups of 64 and 64");
    refused(THRICE, "algorithm: depthwise", "depthwise", "divides the 16 of a panel of the weights, and there are 3");
    let twice = THRICE.replace("48", "32");
    refused(&twice, "vector: ow, algorithm: depthwise, tile: 4x1", "4x1", "at a time, so a divisor of 2");
    let blocked = twice.replace("nhwc", "nChw16c");
    refused(&blocked, "algorithm: depthwise", "depthwise", "needs one output channel a group, and there are 2");
    refused(POINT, "pack_input: pad", "pad", "no padding to write out");
    refused(SAME, "tile: 7x2", "7x2", "needs 14 registers for sums, and avx2 keeps at most 12");
    refused(SAME, "vector: ow, tile: 17x1", "17x1", "17 output channels at a time, and a panel of the weights has 16");
    refused(SAME, "unroll: 17", "17", "from 1 to 16, and not 17");
    refused(SAME, "block: (oc: 4)", "(oc: 4)", "only oh and ow can be blocked, not oc");
    refused(SAME, "order: (n, oc, od, oh, ow)", "(n, oc, od, oh, ow)", "must name g 1 time(s), and names it 0");
    refused(SAME, "order: (n, g, oc, od, oh, ow), parallel: oh", "oh", "the outermost loop, which is n and not oh");
}

#[test]
fn pins_of_winograds_algorithm_that_cannot_hold_say_why() {
    let pinned = |pins: &str| format!("algorithm: winograd4, {pins}");
    let refused = |text: &str, pins: &str, at: &str, reason: &str| refused(text, &pinned(pins), at, reason);
    refused(SAME, "vector: ow", "ow", "run along the channels");
    refused(SAME, "block: (oh: 6)", "(oh: 6)", "no multiple of a tile's 4");
    refused(SAME, "block: (oh: 4, ow: 4)", "(oh: 4, ow: 4)", "blocked along one axis, and not along oh and ow");
    refused(SAME, "block: (oc: 24)", "(oc: 24)", "no multiple of a panel's 16");
    refused(SAME, "block: (oh: 4), parallel: g", "g", "the output channels or a loop around blocks of tiles");
    refused(
        SAME,
        "order: (n, g, oc, od, oh, ow), block: (oh: 4)",
        "(n, g, oc, od, oh, ow)",
        "follows from block and parallel",
    );
    let with = |fields: &str| SAME.replace("padding: 1", fields);
    refused(&with("stride: 3"), "unroll: 1", "winograd4", "along h 3 is not longer than 3");
    refused(&with("stride: 2, dilation: 2"), "unroll: 1", "winograd4", "along h they are 2 and 2");
    refused(&with("stride: 2, groups: 2"), "unroll: 1", "winograd4", "one group with a stride, and here are 2");
    refused(&with("stride: 2x1"), "unroll: 1", "winograd4", "along h there are 2 a stride, along w 3");
    let wide = SAME.replace("kernel_size: 3", "kernel_size: 6, accuracy: fast");
    refused(&wide, "unroll: 1", "winograd4", "F(4, 6) along h has more than 8 products");
    refused(POINT, "unroll: 1", "winograd4", "a window of several taps along some axis");
    refused(DEPTHWISE, "unroll: 1", "winograd4", "a window of its own");
    refused(&exact(SAME), "unroll: 1", "winograd4", "says `accuracy: exact`");
    let rough = SAME.replace(" }", ", accuracy: 1.5 }");
    refused(&rough, "unroll: 1", "winograd4", "times that of a direct sum, and the layer allows 1.5");
}

#[test]
fn accuracy_decides_what_may_be_chosen() {
    let best = |accuracy: &str| {
        let text = SAME.replace(" }", &format!(", accuracy: {accuracy} }}"));
        choose(&layer(&text), &Target::AVX2).expect("without pins there is a plan").algorithm
    };
    assert_eq!(best("exact"), Algorithm::Direct);
    assert_eq!(best("1"), Algorithm::Winograd2);
    assert_eq!(best("4"), Algorithm::Winograd4);
    assert_ne!(best("fast"), Algorithm::Direct);
}

#[test]
fn pins_that_hold_are_kept() {
    let pins = "algorithm: direct, vector: oc, tile: 4x2, block: (oh: 7), order: (oh, n, g, oc, od, oh, ow), unroll: 2";
    let plan = choose(&pinned(POINT, pins), &Target::AVX2).expect("the pins hold");
    assert_eq!(plan.algorithm, Algorithm::Direct);
    assert_eq!((plan.tile.rows, plan.tile.vectors, plan.unroll), (4, 2, 2));
    assert_eq!(plan.block.len(), 1);
    assert_eq!(plan.order.len(), 7);
}

/// A first level of 48 KiB has the 64 sets of one of 32 KiB, and twelve ways instead of eight.
#[test]
fn planes_a_power_of_two_apart_evict_each_other() {
    let share = |height: usize, l1_bytes: usize, planes: usize| {
        let spec = layer(&format!("conv2d l {{ input: f32[1, 16, {height}, 32], out_channels: 4, kernel_size: 1 }}"));
        let target = Target { l1_bytes, ..Target::AVX512 };
        let model = Model::new(&spec, &target, Algorithm::Direct, VectorAxis::Oc, PackInput::None);
        evicts(&target, &model.geometry.src, planes, 4)
    };
    // Planes of 4096 bytes, all lines of which fall into one set.
    assert_eq!([6, 7, 16].map(|planes| share(32, 32 << 10, planes)), [0.0, 1.0, 1.0]);
    assert_eq!([9, 10, 16].map(|planes| share(32, 48 << 10, planes)), [0.0, 1.0, 1.0]);
    // Of 2048 bytes: two sets.
    assert_eq!([12, 16].map(|planes| share(16, 32 << 10, planes)), [0.0, 1.0]);
    assert_eq!([12, 16].map(|planes| share(16, 48 << 10, planes)), [0.0, 0.0]);
    assert_eq!(share(31, 48 << 10, 16), 0.0);
}

/// What [`choose`] says that it takes, with every candidate looked at.
fn cheapest(candidates: &[Candidate], spec: &LayerSpec) -> Option<Plan> {
    let is_depthwise = |c: &Candidate| c.algorithm == Algorithm::Depthwise;
    let is_general = |c: &Candidate| matches!(c.algorithm, Algorithm::Direct | Algorithm::Direct4);
    let exact = |c: &&Candidate| c.algorithm.is_exact() && c.outcome.is_ok();
    let any = |wanted: bool| candidates.iter().filter(exact).any(|c| is_depthwise(c) == wanted);
    let rows = spec.layout == Layout::ChannelsFirst && spec.taps() == 1 && any(false);
    let by_channel = any(true) && !rows;
    let twin = |a: &Candidate, b: &Candidate| (a.vector, a.pack_input) == (b.vector, b.pack_input);
    let stands = |c: &Candidate| {
        let of_kind = |o: &Candidate| is_depthwise(o) == by_channel;
        let better = |o: &&Candidate| !is_general(o) && of_kind(o) && twin(o, c);
        !c.algorithm.is_exact() || of_kind(c) && !(is_general(c) && candidates.iter().filter(exact).any(|o| better(&o)))
    };
    let plans = candidates.iter().filter(|c| stands(c)).filter_map(|c| c.outcome.as_ref().ok());
    plans.min_by(|a, b| price(a).total_cmp(&price(b))).cloned()
}

/// Algorithms that round otherwise must be a tenth cheaper.
fn price(plan: &Plan) -> f64 {
    plan.cost.total() * if plan.algorithm.is_exact() { 1.0 } else { 1.1 }
}

fn check_choice(spec: &LayerSpec, target: &Target) {
    let expected = cheapest(&candidates(spec, target), spec).expect("without pins there is a plan");
    let found = choose(spec, target).expect("without pins there is a plan");
    let (least, price) = (price(&expected), price(&found));
    assert!((price - least).abs() <= 1e-9 * least, "{}\n{spec}\n{found}\n{expected}", target.name());
    if expected.algorithm.is_exact() {
        assert_eq!(found, expected, "{}\n{spec}", target.name());
    }
}

#[test]
fn what_is_not_looked_at_is_not_cheaper() {
    let specs = [include_str!("../../../../specs/resnet50.conv"), include_str!("../../../../specs/quantised.conv")];
    for text in specs {
        for spec in front::layers(text, &Limits::default()).expect("the file is legal") {
            [Target::AVX512_VNNI, Target::AVX2, Target::SSE].iter().for_each(|target| check_choice(&spec, target));
        }
    }
    for text in [SAME, POINT, DEPTHWISE, THRICE, FIR] {
        for target in [Target::AVX512, Target::AVX2, Target::NEON, Target::PORTABLE] {
            check_choice(&layer(text), &target);
        }
    }
}

proptest! {
    #[test]
    fn of_any_layer_neither(spec in layer_spec()) {
        check_choice(&spec, &Target::AVX2);
        check_choice(&spec, &Target::AVX512);
    }
}
