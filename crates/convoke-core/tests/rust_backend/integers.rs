//! Layers of integers: random ones in every version, and what their modules pack.

use crate::interface::rustc;
use crate::machine::{self, Case, Program, layers};
use crate::model;
use convoke_core::back::rust::{Detection, Intrinsics, TARGETS, module, to_source};
use convoke_core::lower::weights::{IntegerParameters, WeightsPacking};
use convoke_core::spec::arbitrary::integer_spec;
use convoke_core::spec::{Algorithm, Limits, PerChannel};
use convoke_core::target::Target;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::path::Path;
use std::process::Command;

/// Layers that no one thought of, a part of them an instruction set, those that this CPU lacks on models.
#[test]
fn random_integers_run_as_the_interpreter() {
    let mut runner = TestRunner::deterministic();
    let mut here = vec![Target::PORTABLE];
    if cfg!(target_arch = "x86_64") {
        here.push(Target::SSE);
    }
    if machine::has_avx2_and_fma() {
        here.extend([Target::AVX2, Target::SSE_FMA]);
    }
    for (name, targets, intrinsics, model) in [
        ("random_integers", here, Intrinsics::Core, ""),
        ("random_integers_neon", vec![Target::NEON], model(), include_str!("neon_model.rs")),
        ("random_integers_avx512", vec![Target::AVX512, Target::AVX512_VNNI], model(), include_str!("avx512_model.rs")),
    ] {
        let cases: Vec<Case> = (0..60)
            .map(|i| {
                let spec = integer_spec().new_tree(&mut runner).expect("a layer").current();
                Case::new(&spec, &targets[i % targets.len()])
            })
            .collect();
        let program = Program::compile(name, &cases, &intrinsics, model, false);
        cases.iter().enumerate().for_each(|(index, case)| case.check(index, &program));
    }
}

#[test]
fn text_of_a_module() {
    let spec = &layers(
        "conv1d steps { input: u8[1, 5, 6] @ nlc, input_zero_point: 9, out_channels: 4, groups: 2, kernel_size: 3, bias: true,
            reduce_range: true, input_scale: 0.5, weights_scale: per_channel, weights_zero_point: per_channel,
            output: u8, output_scale: 2, output_zero_point: 7 }",
    )[0];
    let code = module(spec, &[Target::AVX512_VNNI, Target::PORTABLE], &Limits::default(), Detection::RunTime);
    insta::assert_snapshot!(to_source(code.expect("it has a module")).expect("emitted code is items"));
}

/// The emitted `pack` against the routine that it repeats, for both orders of weights.
#[test]
fn emitted_packing_is_that_of_the_compiler() {
    let text = "
        conv2d grouped { input: u8[1, 14, 3, 3] @ nchw, input_zero_point: 130, out_channels: 38, groups: 2, kernel_size: 2, bias: true }
        conv2d keras { input: u8[1, 3, 5, 3] @ nhwc, input_zero_point: 3, out_channels: 11, kernel_size: (2, 3), weights: hwio, reduce_range: true }
        conv1d signed { input: i8[1, 5, 4], input_zero_point: -5, out_channels: 20, kernel_size: 3, weights_zero_point: -7 }
        conv1d unsigned { input: u8[1, 6, 4], out_channels: 7, kernel_size: 3, bias: true, weights_type: u8, weights_zero_point: 128,
            input_scale: 0.1, weights_scale: 0.3, output: u8, output_scale: 0.7 }
        conv1d each { input: u8[1, 10, 4], input_zero_point: 1, out_channels: 20, groups: 5, kernel_size: 3, bias: true, weights_zero_point: per_channel,
            reduce_range: true, input_scale: 0.1, weights_scale: per_channel, output: i8, output_scale: 0.3 }
        conv1d one { input: i8[1, 1, 1], out_channels: 1, kernel_size: 1 }";
    let (mut program, mut calls) = (String::new(), String::new());
    for spec in layers(text) {
        let code = module(&spec, &TARGETS, &Limits::default(), Detection::CompileTime).expect("it has a module");
        let source = to_source(code).expect("emitted code is items");
        let integers = spec.integers.as_ref().expect("it has integers");
        let (oc, name) = (spec.out_channels, &spec.name);
        let weights: Vec<i32> = (0..spec.weights_len() as i32).map(|i| i * 37 % 101 - 50).collect();
        let unsigned = integers.weights.range().0 == 0;
        let weights: Vec<i32> = weights.into_iter().map(|w| if unsigned { w + 128 } else { w }).collect();
        let each = |is: bool, of: fn(i32) -> i32| if is { (0..oc as i32).map(of).collect() } else { Vec::new() };
        let bias: Vec<i32> = each(spec.bias, |c| 1_000_000 * (c - 3));
        let zero_points = each(integers.weights_zero_point == PerChannel::Each, |c| c % 7 - 3);
        let scaled = integers.output.as_ref().is_some_and(|output| output.weights_scale == PerChannel::Each);
        let scales: Vec<f32> = each(scaled, |c| c + 1).into_iter().map(|c| c as f32 / 7.0).collect();
        let parameters =
            IntegerParameters { weights: &weights, bias: &bias, zero_points: &zero_points, scales: &scales };
        let by_four = source.contains("quads:");
        assert_eq!(by_four, integers.src.range().0 == 0 && integers.has_signed_weights(), "{name}");
        let [pairs, quads] = [Algorithm::Direct, Algorithm::Direct4].map(|algorithm| {
            let packing = WeightsPacking::new(&spec, algorithm);
            assert_eq!(parameters.beyond_reduced(&spec, &packing), None);
            parameters.pack(&spec, &packing)
        });
        let mut packed = pairs.0;
        if by_four {
            packed.extend(quads.0);
        }
        packed.extend(pairs.1);
        let arrays =
            [format!("&{weights:?}"), format!("&{bias:?}"), format!("&{zero_points:?}"), format!("&{scales:?}")];
        let arguments: Vec<String> = arrays.into_iter().filter(|array| array != "&[]").collect();
        calls += &format!(
            "static {name}: {name}::Packed = {name}::pack({});
            let elements = unsafe {{ core::slice::from_raw_parts((&raw const {name}).cast::<i32>(), {}) }};
            assert_eq!(elements, {packed:?}, {name:?});
            assert_eq!(size_of::<{name}::Packed>() % 64, 0);\n",
            arguments.join(", "),
            packed.len()
        );
        program += &source;
    }
    // What cannot be packed is said where the program packs.
    calls += "
        let panics = |pack: fn()| std::panic::catch_unwind(pack).is_err();
        assert!(panics(|| drop(keras::pack(&[64; 11 * 18]))));
        assert!(!panics(|| drop(keras::pack(&[-64; 11 * 18]))));
        let pack = |scale: f32| each::pack(&[0; 120], &[0; 20], &[0; 20], &[scale; 20]);
        assert_eq!(std::panic::catch_unwind(|| drop(pack(1.0))).is_ok(), true);
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(std::panic::catch_unwind(|| drop(pack(scale))).is_err());
        }\n";
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, binary) = (dir.join("integer_packing.rs"), dir.join("integer_packing"));
    let program = program + "#[allow(non_upper_case_globals)] fn main() {\n" + &calls + "}\n";
    std::fs::write(&file, program).expect("the source is written");
    rustc(&["--edition=2024", "-o"], &[&binary, &file]);
    let output = Command::new(binary).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
