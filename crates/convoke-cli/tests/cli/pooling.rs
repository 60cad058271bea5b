//! Layers without weights.

use super::{convoke, npy, npy_values, scratch, with_input};
use snapbox::str;

#[test]
fn pooling_runs_without_weights_on_every_backend() {
    let (folder, layer) = scratch("layer.conv");
    let file = |name: &str| folder.path().join(name);
    let text = "avg_pool1d a { input: f32[1, 1, 5], kernel_size: 3, stride: 2, padding: 1, count_include_pad: false, then: [shift] }";
    std::fs::write(&layer, text).unwrap();
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    npy(&file("src.npy"), "<f4", "1, 1, 5", &floats(&[1.0, 2.0, 3.0, -5.0, 1.0]));
    npy(&file("shift.npy"), "<f4", "1,", &floats(&[0.5]));
    let run = |backend: &str, more: &[&str]| {
        let command = convoke("run").arg(&layer).args(["--backend", backend, "-o"]).arg(file("dst.npy"));
        let command = command.arg("--input").arg(file("src.npy")).arg("--channels").arg(file("shift.npy"));
        command.args(more).assert()
    };
    for backend in ["jit", "interp", "reference"] {
        run(backend, &[]).success();
        assert_eq!(npy_values(&file("dst.npy")), [2.0, 0.5, -1.5], "{backend}");
    }
    run("jit", &["--weights", "mean"]).code(2).stderr_eq(str![[r#"
error: layer a is an avg_pool1d and has no weights

"#]]);
}

#[test]
fn pooling_is_verified_on_every_backend() {
    let layers = "max_pool2d a { input: f32[2, 7, 9, 9] @ nhwc, kernel_size: 3, stride: 2, ceil_mode: true, then: [scale, relu] }
        avg_pool2d b { input: f64[N, 3, 9, 21], kernel_size: 2, then: sigmoid }
        lp_pool2d c { input: f32[1, 9, 8, 8] @ nhwc, kernel_size: 3, stride: 2, padding: 1, p: 3 }
        avg_pool2d d { input: f32[1, 5, 9, 8], output_size: (4, 3) }
        max_pool2d e { input: u8[N, 9, 9, 8] @ nhwc, kernel_size: 3, stride: 2, padding: 1 }
        max_pool2d f { input: f32[2, 7, 9, 9], kernel_size: 3, stride: 2, padding: 1, return_indices: true }
        max_pool2d g { input: i8[2, 9, 9, 7] @ nhwc, kernel_size: 3, stride: 2, padding: 1, return_indices: true }
        max_unpool2d h { input: f16[N, 5, 5, 7] @ nhwc, kernel_size: 2 }";
    let result = with_input("verify -", layers).success();
    let text = String::from_utf8(result.get_output().stdout.clone()).unwrap();
    assert!(text.ends_with("24 passed, 0 failed\n"), "{text}");
}

#[test]
fn maxima_of_bytes_are_bytes() {
    let (folder, layer) = scratch("layer.conv");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(&layer, "max_pool1d a { input: i8[1, 1, 4], kernel_size: 3, stride: 1, padding: 1 }").unwrap();
    npy(&file("src.npy"), "|i1", "1, 1, 4", &[-128_i8 as u8, -7_i8 as u8, 3, -1_i8 as u8]);
    for backend in ["jit", "interp", "reference"] {
        let command = convoke("run").arg(&layer).args(["--backend", backend, "-o"]).arg(file("dst.npy"));
        command.arg("--input").arg(file("src.npy")).assert().success();
        let written = std::fs::read(file("dst.npy")).unwrap();
        assert!(written.ends_with(&[-7_i8 as u8, 3, 3, 3]), "{backend}: {written:?}");
    }
}

#[test]
fn pooling_is_measured_in_bytes() {
    let result =
        with_input("bench - --json", "max_pool2d a { input: f32[1, 16, 8, 8] @ nhwc, kernel_size: 2 }").success();
    let line: serde_json::Value = serde_json::from_slice(&result.get_output().stdout).unwrap();
    assert!(line["percent_of_peak"].is_null() && line["gb_per_s"].as_f64().is_some_and(|x| x > 0.0), "{line}");
}

#[test]
fn maxima_go_where_they_come_from() {
    let (folder, layers) = scratch("layers.conv");
    let file = |name: &str| folder.path().join(name);
    let text = "max_pool1d there { input: f32[1, 2, 4], kernel_size: 2, return_indices: true }
        max_unpool1d back { input: f32[1, 2, 2], kernel_size: 2 }";
    std::fs::write(&layers, text).unwrap();
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let longs = |values: &[i64]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    npy(&file("src.npy"), "<f4", "1, 2, 4", &floats(&[1.0, 3.0, 5.0, 2.0, 7.0, 7.0, 0.0, 9.0]));
    let run = |layer: &str, backend: &str, input: &str, indices: &str| {
        let command = convoke("run").arg(&layers).args(["--layer", layer, "--backend", backend]);
        let command = command.arg("--input").arg(file(input)).arg("--indices").arg(file(indices));
        command.arg("-o").arg(file("dst.npy")).assert()
    };
    for backend in ["jit", "interp", "reference"] {
        run("there", backend, "src.npy", "at.npy").success();
        assert_eq!(npy_values(&file("dst.npy")), [3.0, 5.0, 7.0, 9.0], "{backend}");
        let written = std::fs::read(file("at.npy")).unwrap();
        assert!(written.ends_with(&[1, 2, 0, 3].map(i32::to_le_bytes).concat()), "{backend}: {written:?}");
        std::fs::rename(file("dst.npy"), file("greatest.npy")).unwrap();
        run("back", backend, "greatest.npy", "at.npy").success();
        assert_eq!(npy_values(&file("dst.npy")), [0.0, 3.0, 5.0, 0.0, 7.0, 0.0, 0.0, 9.0], "{backend}");
        npy(&file("long.npy"), "<i8", "1, 2, 2", &longs(&[3, 3, 0, 1]));
        run("back", backend, "greatest.npy", "long.npy").success();
        assert_eq!(npy_values(&file("dst.npy")), [0.0, 0.0, 0.0, 5.0, 7.0, 9.0, 0.0, 0.0], "{backend}");
    }
    npy(&file("long.npy"), "<i8", "1, 2, 2", &longs(&[3, 4, 0, 1]));
    let refused = run("back", "jit", "greatest.npy", "long.npy").code(1);
    let text = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(text.contains("it has the index 4, and a plane of the output has 4 elements"), "{text}");
    let command = convoke("run").arg(&layers).args(["--layer", "back"]).arg("--input").arg(file("greatest.npy"));
    command.assert().code(2).stderr_eq(str![[r#"
error: layer back is unpooling; name the file of its indices with --indices

"#]]);
}
