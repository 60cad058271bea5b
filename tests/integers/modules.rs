//! Modules of random layers, as `conv!` makes them: compiled by rustc, packed by themselves, every version run that this CPU has.

use super::{Case, IN_PLACE};
use convoke_core::back::rust::{Detection, TARGETS, module, to_source};
use convoke_core::eval::{Stored, reference, to_bytes};
use convoke_core::lower::weights::IntegerParameters;
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::{LayerSpec, Limits, Schedule, Storage, VectorAxis, arbitrary};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many layers a program has, and how many programs there are.
const LAYERS: usize = 30;
const PROGRAMS: usize = 2;

#[test]
fn modules_of_random_layers_are_exact() {
    let mut runner = TestRunner::deterministic();
    for number in 0..PROGRAMS {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("integer_modules{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        let (mut modules, mut calls) = (String::new(), String::new());
        for at in 0..LAYERS {
            let mut spec = arbitrary::integer_spec().new_tree(&mut runner).unwrap().current();
            let axis = [None, Some(VectorAxis::Oc), Some(VectorAxis::Ow)][at % 3];
            spec.schedule.vector = axis.map(|axis| Spanned::new(axis, Span::default()));
            if number == 0 && at < IN_PLACE.len() {
                // The planner reads the bytes of those where they are.
                spec = LayerSpec { schedule: Schedule::default(), ..IN_PLACE[at].parse().unwrap() };
            }
            spec.name = format!("layer_{at}");
            let code = module(&spec, &TARGETS, &Limits::default(), Detection::RunTime);
            let source = to_source(code.unwrap_or_else(|e| panic!("{}\n{spec}", e.message))).unwrap();
            calls += &call(&Case::new(&spec, (number * LAYERS + at) as u64), &source, &folder.join(&spec.name));
            modules += &source;
        }
        let source = format!(
            "{modules}\n{SUPPORT}\nfn main() {{ let mut ran = Vec::new();\n{calls}\nprintln!(\"{{ran:?}}\"); }}"
        );
        run(&folder, &source);
    }
}

/// Reads what was written for a layer, packs it, and compares what every version makes of it.
const SUPPORT: &str = r#"
fn array<T: Copy, const N: usize, const B: usize>(bytes: &[u8], from: fn([u8; B]) -> T) -> Box<[T; N]> {
    let elements: Box<[T]> = bytes.as_chunks().0.iter().map(|bytes| from(*bytes)).collect();
    elements.try_into().ok().expect("a file has the length of its array")
}

fn images<T: Copy, const N: usize, const B: usize>(bytes: &[u8], from: fn([u8; B]) -> T) -> Vec<[T; N]> {
    bytes.chunks_exact(N * B).map(|image| *array(image, from)).collect()
}
"#;

/// Compiles and runs a program, whose sums must not overflow where that would be a mistake.
fn run(folder: &Path, source: &str) {
    let (file, binary) = (folder.join("modules.rs"), folder.join("modules"));
    std::fs::write(&file, source).unwrap();
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2024", "-Copt-level=1", "-Coverflow-checks=yes", "-Ccodegen-units=8", "-Awarnings", "-o"])
        .args([&binary, &file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(binary).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ran = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(ran.contains("portable") || ran.contains("sse") || ran.contains("neon"), "{ran}");
    #[cfg(target_arch = "x86_64")]
    assert!(!is_x86_feature_detected!("avx2") || ran.contains("avx2"), "{ran}");
}

/// The statements that check one layer; its numbers lie in files that begin with `files`.
fn call(case: &Case<'_>, source: &str, files: &Path) -> String {
    let spec = case.spec;
    let name = &spec.name;
    let Case { weights, bias, zero_points, scales, .. } = case;
    let parameters = IntegerParameters { weights, bias, zero_points, scales };
    let expected = reference::run_integers(spec, case.batch, &case.src, &parameters);
    let mut code = format!("{{ // {spec}\n").replace('\n', "\n// ") + "\n";
    let mut read = |what: &str, shape: &str, of: Storage, bytes: Vec<u8>| {
        let file = PathBuf::from(format!("{}.{what}", files.display()));
        std::fs::write(&file, bytes).unwrap();
        let reader = if shape == "Vec" { "images" } else { "array" };
        let of_type = match what {
            "src" => "Src",
            "weights" => "Weights",
            "bias" => "Bias",
            "zero_points" => "ZeroPoints",
            "scales" => "Scales",
            _ => "Dst",
        };
        let (file, element) = (file.display(), of.name());
        code += &format!(
            "let {what}: {shape}<{name}::{of_type}> = {reader}(include_bytes!({:?}), {element}::from_ne_bytes);\n",
            file.to_string()
        );
    };
    let shape = if spec.fixed_batch().is_some() { "Box" } else { "Vec" };
    read("src", shape, spec.src_storage(), stored(&case.src, spec.src_storage()));
    read("expected", shape, spec.dst_storage(), stored(&expected, spec.dst_storage()));
    let mut arguments = Vec::new();
    if !spec.operation.is_pooling() {
        read("weights", "Box", spec.weights_storage(), stored(weights, spec.weights_storage()));
        arguments.push("&weights");
    }
    if spec.bias {
        read("bias", "Box", Storage::I32, to_bytes(bias));
        arguments.push("&bias");
    }
    if !zero_points.is_empty() {
        read("zero_points", "Box", spec.weights_storage(), stored(zero_points, spec.weights_storage()));
        arguments.push("&zero_points");
    }
    if !scales.is_empty() {
        read("scales", "Box", Storage::F32, to_bytes(scales));
        arguments.push("&scales");
    }
    code += &checks(spec, source, &arguments.join(", "));
    code + "}\n"
}

/// What of a layer comes behind its numbers.
fn checks(spec: &LayerSpec, source: &str, arguments: &str) -> String {
    let name = &spec.name;
    let packed = if spec.operation.is_pooling() { "" } else { "&packed, " };
    let pack = match packed {
        "" => String::new(),
        // Over what another layer left there.
        _ => format!(
            "let mut packed = Box::new({name}::pack({arguments}));
            unsafe {{ std::ptr::write_bytes(&raw mut *packed, 0xa5, 1) }};
            {name}::pack_into(&mut packed, {arguments});"
        ),
    };
    let fixed = spec.fixed_batch().is_some();
    let poison = |array: &str| match fixed {
        true => format!(
            "Box::new(unsafe {{ std::mem::transmute::<_, {name}::{array}>([0xa5_u8; size_of::<{name}::{array}>()]) }})"
        ),
        false => format!(
            "vec![unsafe {{ std::mem::transmute::<_, {name}::{array}>([0xa5_u8; size_of::<{name}::{array}>()]) }}; src.len()]"
        ),
    };
    let mut more = String::new();
    if source.contains("pub type Scratch") {
        more += &format!(", &mut {}", poison("Scratch"));
    }
    if source.contains("pub type Local") {
        more += &format!(", &mut [0.0; size_of::<{name}::Local>() / 4]");
    }
    format!(
        "{pack}
        for isa in {name}::Isa::ALL {{
            let mut dst = {};
            if {name}::run_with(isa, &src, {packed}&mut dst{more}) {{
                assert!(dst == expected, \"{name} on {{}}\", isa.name());
                if !ran.contains(&isa.name()) {{ ran.push(isa.name()); }}
            }}
        }}\n",
        poison("Dst"),
    )
}

fn stored(elements: &[i32], storage: Storage) -> Vec<u8> {
    fn bytes<S: Stored>(elements: &[i32]) -> Vec<u8> {
        to_bytes(&elements.iter().map(|&x| S::from_number(x.into())).collect::<Vec<S>>())
    }
    match storage {
        Storage::U8 => bytes::<u8>(elements),
        Storage::I8 => bytes::<i8>(elements),
        _ => bytes::<i32>(elements),
    }
}
