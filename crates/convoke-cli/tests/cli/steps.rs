//! Epilogues that take numbers of channels, or a tensor.

use super::{convoke, npy, npy_values, scratch, with_input};
use snapbox::str;

const LAYER: &str =
    "conv1d normalized { input: f32[1, 1, 3], out_channels: 2, kernel_size: 2, bias: true, then: [scale, prelu] }";

#[test]
fn numbers_of_channels_come_from_files_and_every_backend_gives_the_same() {
    let (folder, layer) = scratch("layer.conv");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(&layer, LAYER).unwrap();
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    npy(&file("src.npy"), "<f4", "1, 1, 3", &floats(&[1.0, 2.0, 4.0]));
    npy(&file("weights.npy"), "<f4", "2, 1, 2", &floats(&[1.0, 1.0, 0.0, -1.0]));
    npy(&file("bias.npy"), "<f4", "2,", &floats(&[0.5, -1.0]));
    npy(&file("scale.npy"), "<f4", "2,", &floats(&[2.0, 3.0]));
    npy(&file("slopes.npy"), "<f4", "2,", &floats(&[7.0, 0.5]));
    let run = |backend: &str, channels: &[&str]| {
        let mut command = convoke("run").arg(&layer).args(["--backend", backend, "-o"]).arg(file("dst.npy"));
        for (option, name) in [("--input", "src.npy"), ("--weights", "weights.npy"), ("--bias", "bias.npy")] {
            command = command.arg(option).arg(file(name));
        }
        for name in channels {
            command = command.arg("--channels").arg(file(name));
        }
        command.assert()
    };
    for backend in ["jit", "interp", "reference"] {
        run(backend, &["scale.npy", "slopes.npy"]).success();
        assert_eq!(npy_values(&file("dst.npy")), [7.0, 13.0, -4.5, -7.5], "{backend}");
    }
    run("jit", &["scale.npy"]).code(2).stderr_eq(str![[r#"
error: layer normalized takes --channels FILE 2 times (for scale, prelu), and was given it 1 times

"#]]);
    run("jit", &["scale.npy", "src.npy"]).failure().stderr_eq(str![[r#"
error: [..]src.npy: the numbers of channels are 1 x 1 x 3, and the layer takes 2

"#]]);
}

#[test]
fn residuals_come_from_files_and_every_backend_gives_the_same() {
    let (folder, layer) = scratch("layer.conv");
    let file = |name: &str| folder.path().join(name);
    // A block of channels, so that the file is another order than memory.
    let text = "conv1d block { input: f32[1, 1, 3] @ nCw16c, out_channels: 2, kernel_size: 2, then: [residual, relu] }";
    std::fs::write(&layer, text).unwrap();
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    npy(&file("src.npy"), "<f4", "1, 1, 3", &floats(&[1.0, 2.0, 4.0]));
    npy(&file("weights.npy"), "<f4", "2, 1, 2", &floats(&[1.0, 1.0, 0.0, -1.0]));
    npy(&file("residual.npy"), "<f4", "1, 2, 2", &floats(&[-5.0, 1.0, 10.0, 20.0]));
    let run = |backend: &str, residual: Option<&str>| {
        let mut command = convoke("run").arg(&layer).args(["--backend", backend, "-o"]).arg(file("dst.npy"));
        command = command.arg("--input").arg(file("src.npy")).arg("--weights").arg(file("weights.npy"));
        if let Some(name) = residual {
            command = command.arg("--residual").arg(file(name));
        }
        command.assert()
    };
    for backend in ["jit", "interp", "reference"] {
        run(backend, Some("residual.npy")).success();
        assert_eq!(npy_values(&file("dst.npy")), [0.0, 7.0, 8.0, 16.0], "{backend}");
    }
    run("jit", None).code(2).stderr_eq(str![[r#"
error: layer block adds a residual; name its file with --residual

"#]]);
    run("jit", Some("src.npy")).failure().stderr_eq(str![[r#"
error: [..]src.npy: the residual is 1 x 1 x 3, and the layer takes 1 x 2 x 2

"#]]);
    std::fs::write(&layer, text.replace("residual, ", "")).unwrap();
    run("jit", Some("residual.npy")).code(2).stderr_eq(str![[r#"
error: layer block has no step `residual` in `then`, and --residual was given

"#]]);
    let layers = "conv2d a { input: f32[1, 5, 9, 9] @ nhwc, out_channels: 8, kernel_size: 3, padding: 1, then: [scale, residual, relu] }
        conv2d b { input: f64[N, 3, 9, 21], out_channels: 4, kernel_size: 1, then: [sigmoid, residual] }";
    let result = with_input("verify -", layers).success();
    let text = String::from_utf8(result.get_output().stdout.clone()).unwrap();
    assert!(text.ends_with("6 passed, 0 failed\n"), "{text}");
}
