//! Kernels with a local buffer, made by hand: in a program, and behind the interface of a layer.

use crate::interface::{from, rustc};
use crate::machine::{Case, layers};
use convoke_core::back::rust::{Detection, Layer, Version, layer, to_source};
use convoke_core::ir::{Kernel, Verified, verify};
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::pipeline::compile;
use convoke_core::spec::{Algorithm, LayerSpec, Limits};
use convoke_core::target::{Isa, Target};
use std::path::Path;
use std::process::Command;

/// A layer of which an image is 64 elements on either side.
const LAYER: &str = "conv1d shifted { input: f32[2, 4, 16] @ ncl, out_channels: 4, kernel_size: 1 }";

/// Not what [`LAYER`] computes, but of its sizes: doubles each image in `local`, shifts it there five times by one, and stores it.
pub(crate) fn shifted(isa: Isa, batch: Option<usize>) -> Verified {
    let lanes = isa.vector_bytes() / 4;
    let (vectors, local) = (64 / lanes, 64 + lanes);
    let (images, len) = batch.map_or(("N".to_owned(), "64*N".to_owned()), |n| (n.to_string(), (64 * n).to_string()));
    let text = format!(
        "kernel shifted_{isa} f32 {isa} {{
            buffer src[{len}] buffer weights[64] buffer dst[{len}] buffer local[{local}]
            vars N, p, i, r, j, k
            tile double(src, local) registers 1 {{ v0 = load src[0] v0 = add v0, v0 store local[0] = v0 }}
            tile edge(local) registers 1 {{ v0 = const 0.5 store local[0] = v0 }}
            tile turn(local) registers 1 {{ v0 = load local[1] store local[0] = v0 }}
            tile take(local, dst) registers 1 {{ v0 = load local[0] store dst[0] = v0 }}
            nest shift {{
                parallel for p in 0..{images} {{
                    for i in 0..{vectors} {{ call double(src[64*p + {lanes}*i], local[{lanes}*i]) }}
                    call edge(local[64])
                    for r in 0..5 {{ for j in 0..{vectors} {{ call turn(local[{lanes}*j]) }} }}
                    for k in 0..{vectors} {{ call take(local[{lanes}*k], dst[64*p + {lanes}*k]) }}
                }}
            }}
        }}",
        isa = isa.name(),
    );
    let kernel: Kernel = text.parse().unwrap_or_else(|e| panic!("{e} in\n{text}"));
    verify(kernel).unwrap_or_else(|e| panic!("{e} in\n{text}"))
}

/// The kernels of [`shifted`] for `isa`.
pub(crate) fn cases(isa: Isa) -> Vec<Case> {
    [Some(2), Some(0), Some(1), None].map(|batch| Case::of_kernel(shifted(isa, batch), batch.unwrap_or(3))).into()
}

/// The module of `spec` with `versions`.
fn module(spec: &LayerSpec, versions: &[Verified], detection: Detection) -> String {
    let packing = WeightsPacking::new(spec, Algorithm::Pointwise);
    let versions: Vec<Version> = versions.iter().map(|kernel| Version { kernel: kernel.clone(), packing }).collect();
    let code = layer(&Layer { spec, versions: &versions, detection, scratch: from(spec) });
    to_source(code.expect("it has source")).expect("emitted code is items")
}

/// Modules called `fixed` and `named`, with a local buffer in every version, and `seldom`, with one where this test is not run.
pub(crate) fn modules(detection: Detection) -> String {
    let mut spec = layers(LAYER).remove(0);
    let isas = [Isa::Avx2, Isa::Sse, Isa::Portable];
    spec.name = "fixed".to_owned();
    let mut text = module(&spec, &isas.map(|isa| shifted(isa, Some(2))), detection);
    spec.name = "seldom".to_owned();
    let foreign = if cfg!(target_arch = "aarch64") { Isa::Sse } else { Isa::Neon };
    let plain = compile(&spec, &Target::PORTABLE, &Limits::default()).expect("it compiles").kernel;
    text += &module(&spec, &[shifted(foreign, Some(2)), plain], detection);
    let mut spec = layers(&LAYER.replace("[2,", "[N,")).remove(0);
    spec.name = "named".to_owned();
    text + &module(&spec, &isas.map(|isa| shifted(isa, None)), detection)
}

#[test]
fn a_layer_takes_its_local_buffer_as_an_argument() {
    let main = "
        fn check(src: &[f32], dst: &[f32]) {
            for (i, x) in dst.iter().enumerate() {
                let end = (i / 64 + 1) * 64;
                assert_eq!(*x, if i + 5 < end { 2.0 * src[i + 5] } else { 0.5 }, \"{i}\");
            }
        }
        fn main() {
            let src: [f32; 192] = std::array::from_fn(|i| (i * 37 % 101) as f32);
            let (fixed_src, images) = (src.first_chunk().unwrap(), src.as_chunks().0);
            let fixed_packed = fixed::pack(&[0.0; 16]);
            let mut local: fixed::Local = [f32::NAN; 72];
            for isa in fixed::Isa::ALL {
                let mut dst = [0.0; 128];
                if fixed::run_with(isa, fixed_src, &fixed_packed, &mut dst, &mut local) {
                    check(&src, &dst);
                }
            }
            let mut dst = [0.0; 128];
            fixed::run(fixed_src, &fixed_packed, &mut dst, &mut local);
            check(&src, &dst);
            let mut dst = [[0.0; 64]; 3];
            named::run(images, &named::pack(&[0.0; 16]), &mut dst, &mut local);
            check(&src, dst.as_flattened());
            let mut identity = [0.0; 16];
            (0..4).for_each(|i| identity[5 * i] = 1.0);
            let mut dst = [0.0; 128];
            seldom::run(fixed_src, &seldom::pack(&identity), &mut dst, &mut [0.0; 68]);
            assert_eq!(dst, *fixed_src);
        }";
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, binary) = (dir.join("local_modules.rs"), dir.join("local_modules"));
    std::fs::write(&file, modules(Detection::RunTime) + main).expect("the source is written");
    rustc(&["--edition=2024", "-Dwarnings", "-o"], &[&binary, &file]);
    let output = Command::new(binary).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
