//! The module that `conv!` expands to: its text, and what rustc and clippy say of it.

use crate::machine::{Random, layers};
use crate::{HALVES, INDICES, INTEGERS, LAYERS, local};
use convoke_core::back::rust::{Detection, Layer, RustError, ScratchFrom, TARGETS, Version, layer, module, to_source};
use convoke_core::eval::{Bf16, F16};
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::pipeline::{Compiled, compile};
use convoke_core::spec::{Accuracy, Half, LayerSpec, Limits};
use convoke_core::target::Target;
use std::path::Path;
use std::process::Command;

fn source(spec: &LayerSpec, targets: &[Target], detection: Detection) -> Result<String, RustError> {
    // As `module` does.
    let accuracy = if spec.schedule.algorithm.is_some() { spec.accuracy } else { Accuracy::Exact };
    let spec = &LayerSpec { accuracy, ..spec.clone() };
    let compiled: Vec<_> =
        targets.iter().map(|t| compile(spec, t, &Limits::default()).expect("the layer compiles")).collect();
    let version = |c: Compiled| Version { packing: WeightsPacking::new(spec, c.plan.algorithm), kernel: c.kernel };
    let versions: Vec<Version> = compiled.into_iter().map(version).collect();
    let code = layer(&Layer { spec, versions: &versions, detection, scratch: from(spec) })?;
    Ok(to_source(code).expect("emitted code is items"))
}

pub(crate) fn from(spec: &LayerSpec) -> ScratchFrom {
    if spec.fixed_batch().is_some() { ScratchFrom::Stack } else { ScratchFrom::Argument }
}

/// Compiles without a complaint.
#[track_caller]
pub(crate) fn rustc(options: &[&str], files: &[&Path]) {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let output = Command::new(rustc).args(options).args(files).output().expect("rustc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn text_of_a_module() {
    let spec = &layers(
        "conv2d stem { input: f32[1, 2, 4, 9] @ nchw, out_channels: 5, kernel_size: 3, padding: 1, bias: true, then: relu }",
    )[0];
    let targets = [Target::AVX512, Target::NEON, Target::PORTABLE];
    insta::assert_snapshot!(source(spec, &targets, Detection::RunTime).expect("it has source"));
}

#[test]
fn text_of_a_module_for_any_batch() {
    let spec = &layers("conv1d head { input: f64[N, 6, 3] @ nlc, out_channels: 3, kernel_size: 1, then: silu }")[0];
    let targets = [Target::PORTABLE, Target::SSE, Target::AVX2];
    insta::assert_snapshot!(source(spec, &targets, Detection::CompileTime).expect("it has source"));
}

#[test]
fn versions_that_do_not_belong_together_are_refused() {
    let spec = &layers("conv1d head { input: f32[1, 6, 3] @ ncl, out_channels: 3, kernel_size: 1 }")[0];
    let refused =
        |targets: &[Target]| source(spec, targets, Detection::RunTime).expect_err("it is refused").to_string();
    assert_eq!(refused(&[Target::AVX2]), "layer `head` has no portable kernel");
    assert_eq!(refused(&[Target::SSE, Target::SSE_FMA, Target::PORTABLE]), "layer `head` has two kernels for sse");
    let fused = Target { fma: true, ..Target::PORTABLE };
    assert!(
        refused(&[fused]).ends_with("fuses multiply and add, which portable code cannot without the standard library")
    );
    let mut other = spec.clone();
    other.out_channels = 4;
    let kernel = compile(&other, &Target::PORTABLE, &Limits::default()).expect("the layer compiles").kernel;
    let packing = WeightsPacking::new(spec, convoke_core::spec::Algorithm::Pointwise);
    let refused = |versions: &[Version]| {
        let mixed = Layer { spec, versions, detection: Detection::RunTime, scratch: ScratchFrom::Argument };
        layer(&mixed).expect_err("versions that do not fit are refused")
    };
    let error = refused(&[Version { kernel, packing }]);
    assert_eq!(error.to_string(), "kernel `pointwise_f32_portable_ow4x4` has 12 elements of `dst`, its layer has 9");
    let of = |target: &Target, packing: WeightsPacking| {
        let kernel = compile(spec, target, &Limits::default()).expect("the layer compiles").kernel;
        Version { kernel, packing }
    };
    let turned = WeightsPacking { oc_stride: packing.ic_stride, ic_stride: packing.oc_stride, ..packing };
    let error = refused(&[of(&Target::AVX2, packing), of(&Target::PORTABLE, turned)]);
    assert_eq!(error.to_string(), "layer `head` has kernels that need weights packed in different ways");
}

/// Every layer of the tests in one library, without the standard library, under clippy's default lints.
#[test]
fn modules_pass_clippy_without_std() {
    let targets = [Target::AVX512, Target::AVX2, Target::NEON, Target::SSE, Target::PORTABLE];
    let mut text = "//! Layers.\n#![no_std]\n#![deny(missing_docs)]\n".to_owned();
    let float_indices = layers(INDICES).into_iter().filter(|spec| spec.integers.is_none());
    for spec in layers(LAYERS).into_iter().chain(layers(HALVES)).chain(float_indices) {
        text += &source(&spec, &targets, Detection::CompileTime).expect("it has source");
    }
    for spec in layers(INTEGERS) {
        let code = module(&spec, &TARGETS, &Limits::default(), Detection::CompileTime).expect("it has a module");
        text += &to_source(code).expect("emitted code is items");
    }
    text += &local::modules(Detection::CompileTime);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = dir.join("modules.rs");
    std::fs::write(&file, text).expect("the source is written");
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().expect("rustc runs").stdout;
    let driver = Path::new(String::from_utf8_lossy(&sysroot).trim()).join("bin/clippy-driver");
    let output = Command::new(driver)
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "-Dwarnings", "--out-dir"])
        .args([dir, &file])
        .output()
        .expect("clippy runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The emitted `pack` against the routine that it repeats.
#[test]
fn emitted_packing_is_that_of_the_compiler() {
    let text = "
        conv2d grouped { input: f32[1, 6, 3, 3] @ nchw, out_channels: 38, groups: 2, kernel_size: 2, bias: true }
        conv2d keras { input: f64[1, 3, 3, 5] @ nhwc, out_channels: 11, kernel_size: (2, 3), weights: hwio, bias: true }
        conv1d normalized { input: f32[1, 5, 4] @ ncl, out_channels: 20, kernel_size: 3, then: [scale, shift, prelu] }
        conv1d slopes { input: f64[1, 5, 4] @ ncl, out_channels: 7, kernel_size: 3, bias: true, then: [prelu, scale, prelu] }
        avg_pool1d mean { input: f32[1, 5, 4] @ ncl, kernel_size: 3, then: [scale, shift] }
        conv1d each { input: f32[1, 5, 4] @ ncl, out_channels: 20, groups: 5, kernel_size: 3, bias: true }
        conv1d line { input: f64[1, 9, 5] @ nlc, out_channels: 20, bias: true, kernel_size: 3, accuracy: fast, schedule { algorithm: winograd6 } }
        conv2d plane { input: f32[1, 9, 9, 6] @ nhwc, out_channels: 38, groups: 2, bias: true, kernel_size: 3, weights: hwio, schedule { algorithm: winograd2 } }
        conv2d column { input: f32[1, 9, 4, 2] @ nhwc, out_channels: 3, bias: true, kernel_size: (3, 1), accuracy: fast, schedule { algorithm: winograd4 } }
        conv3d volume { input: f32[1, 5, 5, 5, 2] @ ndhwc, out_channels: 3, bias: true, kernel_size: 3, accuracy: fast, schedule { algorithm: winograd4 } }
        conv2d halves { input: bf16[1, 6, 3, 3] @ nchw, out_channels: 38, groups: 2, kernel_size: 2, bias: true }
        conv2d half_plane { input: f16[1, 5, 9, 6] @ nhwc, out_channels: 11, bias: true, kernel_size: 3, then: scale, schedule { algorithm: winograd2 } }";
    let (mut program, mut calls) = (String::new(), String::new());
    for spec in layers(text) {
        program += &source(&spec, &[Target::PORTABLE], Detection::CompileTime).expect("it has source");
        let algorithm = compile(&spec, &Target::PORTABLE, &Limits::default()).expect("it compiles").plan.algorithm;
        let packing = WeightsPacking::new(&spec, algorithm);
        let mut random = Random(7);
        let number = |x: f64| match spec.half {
            None => (x * 1e6).round(),
            Some(Half::F16) => F16::from_f64(x).into(),
            Some(Half::Bf16) => Bf16::from_f64(x).into(),
        };
        let plain: Vec<f64> = (0..packing.plain_len()).map(|_| number(random.next())).collect();
        let mut packed = vec![0.0; packing.packed_len()];
        packing.pack(&plain, &mut packed);
        let (name, oc, element) = (&spec.name, spec.out_channels, spec.dtype.name());
        let rows: Vec<Vec<f64>> =
            (0..spec.bias_len() / oc).map(|row| (0..oc).map(|c| (row * oc + c) as f64).collect()).collect();
        let weights = (!plain.is_empty()).then_some(&plain);
        let array = |row: &Vec<f64>| match spec.half {
            None => format!("&{row:?}"),
            Some(Half::F16) => format!("&{:?}", row.iter().map(|&x| F16::from_f64(x).to_bits()).collect::<Vec<_>>()),
            Some(Half::Bf16) => format!("&{:?}", row.iter().map(|&x| Bf16::from_f64(x).to_bits()).collect::<Vec<_>>()),
        };
        let arguments: Vec<String> = weights.into_iter().chain(&rows).map(array).collect();
        let arguments = arguments.join(", ");
        packed.extend(rows.into_iter().flatten());
        calls += &format!(
            "static {name}: {name}::Packed = {name}::pack({arguments});
            let elements = unsafe {{ core::slice::from_raw_parts((&raw const {name}).cast::<{element}>(), {}) }};
            assert_eq!(elements, {packed:?}, {name:?});
            assert_eq!(size_of::<{name}::Packed>() % 64, 0);\n",
            packed.len()
        );
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, binary) = (dir.join("packing.rs"), dir.join("packing"));
    let program = program + "#[allow(non_upper_case_globals)] fn main() {\n" + &calls + "}\n";
    std::fs::write(&file, program).expect("the source is written");
    rustc(&["--edition=2024", "-o"], &[&binary, &file]);
    let output = Command::new(binary).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
