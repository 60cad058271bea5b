//! Epilogues that take numbers of channels.

use super::{convoke, npy, npy_values, scratch};
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
