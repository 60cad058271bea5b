//! Every stage of `filetests/*.conv` as text, compared with a snapshot; and every text that is a language reads back.
//!
//! Run with `INSTA_UPDATE=always` to write the snapshots anew; look at the difference before you commit it.

use convoke_core::back::rust::{self, Detection};
use convoke_core::ir::Kernel;
use convoke_core::pipeline::compile;
use convoke_core::spec::{LayerSpec, Limits};
use convoke_core::target::Target;
use convoke_core::{front, plan};
use insta::{assert_snapshot, glob, with_settings};
use std::fs;
use std::path::Path;

/// What plan and IR are printed for.
const TARGETS: [Target; 2] = [Target::AVX512, Target::SSE_FMA];

fn check(path: &Path) {
    let source = fs::read_to_string(path).expect("the file can be read");
    let tree = front::parse(&source).expect("the file parses");
    let mut layers = front::layers(&source, &Limits::default()).expect("the file is legal");
    let spec = layers.pop().expect("the file has a layer");
    assert!(layers.is_empty(), "one layer a file");

    assert_snapshot!("ast", tree.to_string());
    let text = spec.to_annotated_text();
    assert_snapshot!("spec", text);
    assert_eq!(text.parse::<LayerSpec>().expect("the text of a spec is legal"), spec);
    for target in &TARGETS {
        let compiled = compile(&spec, target, &Limits::default()).expect("the layer compiles");
        let schedule = compiled.plan.to_string();
        assert_snapshot!(format!("plan.{}", target.isa.name()), schedule);
        let pinned = LayerSpec { schedule: compiled.plan.to_schedule(), ..spec.clone() };
        let again = plan::choose(&pinned, target).expect("a printed plan holds");
        assert_eq!(again.to_string(), schedule);

        let ir = compiled.kernel.to_string();
        assert_snapshot!(format!("ir.{}", target.isa.name()), ir);
        assert_eq!(ir.parse::<Kernel>().expect("printed IR reads back"), *compiled.kernel);

        if *target == Target::SSE_FMA && cfg!(target_arch = "x86_64") {
            assert_snapshot!("clif", convoke_jit::clif::clif_text(&compiled.kernel).expect("the JIT takes it"));
        }
    }
    let targets = [Target::AVX2, Target::PORTABLE];
    match rust::module(&spec, &targets, &Limits::default(), Detection::RunTime) {
        Ok(module) => assert_snapshot!("rust", rust::to_source(module).expect("emitted code parses")),
        // Some algorithms have no module; that is said.
        Err(refused) => assert_snapshot!("rust", refused.message),
    }
}

#[test]
fn every_stage_of_every_file() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        glob!("filetests/*.conv", |path| {
            let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
            with_settings!({ snapshot_suffix => name, snapshot_path => "filetests/snapshots" }, { check(path) });
        });
    });
}
