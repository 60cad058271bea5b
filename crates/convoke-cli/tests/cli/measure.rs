//! `verify` and `bench`.

use super::{convoke, scratch, with_input};
use snapbox::str;

#[test]
fn verify_counts_checks_and_agrees_on_every_backend() {
    convoke("verify specs/didactic.conv specs/lenet.conv").assert().success().stdout_eq(str![[r#"
specs/didactic.conv:moving_average: interp jit rust ok, error [..] of [..], [..]
specs/didactic.conv:moving_average_2d: interp jit rust ok, error [..] of [..], [..]
specs/didactic.conv:moving_average_causal: interp jit rust ok, error [..] of [..], [..]
specs/lenet.conv:c1: interp jit rust ok, error [..] of [..], [..]
specs/lenet.conv:c3: interp jit rust ok, error [..] of [..], [..]
15 passed, 0 failed

"#]]);
}

/// What is pinned for native code may take a register more than the Rust compiler leaves.
#[test]
fn verify_takes_plans_that_are_pinned() {
    let plan = convoke("plan specs/resnet50.conv --layer r04").assert().success();
    let plan = String::from_utf8(plan.get_output().stdout.clone()).unwrap();
    let layer = "conv2d r04 { input: f32[1, 14, 14, 64] @ nhwc, out_channels: 64, kernel_size: 3, padding: 1,";
    let text = format!("{layer}\n{plan} }}");
    let result = with_input("verify - --layer r04", &text).success();
    assert!(String::from_utf8_lossy(&result.get_output().stdout).ends_with("3 passed, 0 failed\n"));
    with_input("bench - --layer r04 --backend rust", &text).success();
}

#[test]
fn verify_writes_json() {
    convoke("verify specs/didactic.conv --layer moving_average --backend jit --seed 3 --json").assert().success().stdout_eq(str![[r#"
{"file":"specs/didactic.conv","layer":"moving_average","backend":"jit","status":"passed","max_error":[..],"bound":[..],"seed":3}

"#]]);
}

#[test]
fn what_runs_here_can_be_chosen() {
    let image = "--input specs/data/camera.png --weights sobel-x";
    for words in [
        "verify specs/didactic.conv --layer moving_average",
        "bench specs/didactic.conv --layer moving_average",
        &format!("run specs/edges.conv {image}"),
    ] {
        let other = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
        convoke(&format!("{words} --target {other}"))
            .assert()
            .code(2)
            .stdout_eq("")
            .stderr_eq(format!("error: code for {other} cannot run here: it is for another processor than this one\n"));
        convoke(&format!("{words} --target vax")).assert().code(2).stdout_eq("");
    }
    convoke("verify specs/didactic.conv --backend jit --target portable").assert().success().stdout_eq(str![[r#"
specs/didactic.conv:moving_average: jit ok, error [..] of [..], [..]
specs/didactic.conv:moving_average_2d: jit ok, error [..] of [..], [..]
specs/didactic.conv:moving_average_causal: jit ok, error [..] of [..], [..]
3 passed, 0 failed

"#]]);
    for backend in ["jit", "interp"] {
        let words = format!("run specs/edges.conv {image} --backend {backend} --target portable");
        let ran = convoke(&words).assert().success();
        assert!(String::from_utf8_lossy(&ran.get_output().stdout).contains("_portable_"));
    }
    let measured = convoke("bench specs/didactic.conv --layer moving_average --target portable --json");
    let measured = measured.assert().success();
    assert!(String::from_utf8_lossy(&measured.get_output().stdout).contains("_portable_"));
}

#[test]
fn verify_takes_layers_of_any_size() {
    let layers = "
        conv2d empty { input: f32[0, 3, 8, 8], out_channels: 2, kernel_size: 3, bias: true }
        conv1d wide { input: f64[2, 3, 5], out_channels: 5, kernel_size: 2, padding: (4..6), stride: 3, then: [gelu, clamp(-1, 1)] }
        conv3d odd { input: f32[1, 2, 3, 4, 6] @ ndhwc, out_channels: 12, kernel_size: 1x2x3, groups: depthwise, dilation: 2, padding: 2, then: leaky_relu(0.1) }
    ";
    let result = with_input("verify - --backend interp", layers).success();
    let text = String::from_utf8(result.get_output().stdout.clone()).unwrap();
    assert!(text.ends_with("3 passed, 0 failed\n"), "{text}");
    let result = with_input("verify - --backend jit --threads 3", layers).success();
    let text = String::from_utf8(result.get_output().stdout.clone()).unwrap();
    assert!(text.ends_with("3 passed, 0 failed\n"), "{text}");
}

#[test]
fn verify_packs_for_the_plan_that_runs() {
    // Without its epilogue, as whole numbers are computed, the layer has another algorithm.
    let result = convoke("verify specs/activations.conv --layer encodec_unit").assert().success();
    let text = String::from_utf8(result.get_output().stdout.clone()).unwrap();
    assert!(text.ends_with("3 passed, 0 failed\n"), "{text}");
}

#[test]
fn bench_prints_a_table() {
    convoke("bench specs/lenet.conv").assert().success().stdout_eq(str![[r#"
[..], 1 thread[..] time; [..] peak of one core at [..] bits: [..] GFLOP/s of f32

layer              plan                            GFLOP/s  % peak    GB/s  compile µs   pack µs      run µs
c1                 direct_f32_[..]
c3                 direct_f32_[..]
geomean            [..]

"#]]);
}

#[test]
fn bench_writes_json() {
    for backend in ["jit", "interp", "rust"] {
        let words = format!("bench specs/lenet.conv --layer c1 --backend {backend} --json");
        let result = convoke(&words).assert().success();
        let text = String::from_utf8(result.get_output().stdout.clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["backend"], backend);
        assert_eq!(line["status"], "ok");
        let alone = backend != "rust" && cfg!(target_os = "linux");
        assert_eq!(line["clock"], if alone { "cpu" } else { "wall" });
        for field in ["gflops", "percent_of_peak", "pack_us", "run_us", "threads"] {
            assert!(line[field].as_f64().is_some_and(|x| x > 0.0), "{field} in {text}");
        }
        assert!(line["plan"].as_str().is_some_and(|plan| plan.starts_with("direct_f32_")), "{text}");
        assert!(line["file"].is_string() && line["layer"] == "c1", "{text}");
    }
}

/// Ctrl-C while emitted source is compiled or run leaves no folder behind.
#[cfg(unix)]
#[test]
fn an_interrupt_removes_what_is_unfinished() {
    use std::time::{Duration, Instant};
    let (_folder, path) = scratch("work");
    std::fs::create_dir(&path).unwrap();
    let is_ours = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().starts_with("convoke-");
    let entries = || std::fs::read_dir(&path).unwrap().flatten().filter(is_ours).count();
    let mut child = std::process::Command::new(snapbox::cmd::cargo_bin!("convoke"))
        .args(["verify", "specs/resnet50.conv", "--backend", "rust"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .env("TMPDIR", &path)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while entries() == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "no folder appeared");
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{status}");
    assert_eq!(entries(), 0, "the folder is removed");
}
