//! Layers of integers: arrays of their types in, arrays of their types out.

use super::{convoke, npy, scratch};
use snapbox::str;

const LAYER: &str = "conv1d q { input: u8[1, 2, 3], input_scale: 0.5, input_zero_point: 10, out_channels: 2, kernel_size: 2, bias: true,
    weights_scale: per_channel, weights_zero_point: per_channel, output: i8, output_scale: 2, output_zero_point: -3 }";

#[test]
fn parameters_come_from_files_and_every_backend_gives_the_same() {
    let (folder, layer) = scratch("layer.conv");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(&layer, LAYER).unwrap();
    npy(&file("src.npy"), "|u1", "1, 2, 3", &[10, 11, 12, 20, 0, 255]);
    npy(&file("weights.npy"), "|i1", "2, 2, 2", &[1, 2, 3, 4, 255, 254, 127, 128]);
    npy(&file("bias.npy"), "<i4", "2,", &[100, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    npy(&file("zero.npy"), "|i1", "2,", &[0, 1]);
    npy(&file("scales.npy"), "<f4", "2,", &[0.25_f32.to_le_bytes(), 1.0_f32.to_le_bytes()].concat());
    let run = |backend: &str, arguments: &[(&str, &str)]| {
        let mut command = convoke("run");
        command = command.arg(&layer).args(["--backend", backend, "-o"]).arg(file("dst.npy"));
        for (option, name) in arguments {
            command = command.arg(option).arg(file(name));
        }
        command.assert()
    };
    let all = [
        ("--input", "src.npy"),
        ("--weights", "weights.npy"),
        ("--bias", "bias.npy"),
        ("--zero-points", "zero.npy"),
        ("--scales", "scales.npy"),
    ];
    for backend in ["jit", "interp", "reference"] {
        run(backend, &all).success();
        let bytes = std::fs::read(file("dst.npy")).unwrap();
        let array = npyz::NpyFile::new(bytes.as_slice()).unwrap();
        assert_eq!(array.shape(), [1, 2, 2]);
        // Sums 92 and 1055 times 1/16; 2546 and -32874 times 1/4, which are beyond the type.
        assert_eq!(array.into_vec::<i8>().unwrap(), [3, 63, 127, -128], "{backend}");
    }
    run("jit", &all[..4]).code(2).stderr_eq(str![[r#"
error: layer q needs --scales: it has `weights_scale: per_channel`

"#]]);
    npy(&file("src.npy"), "<f4", "1, 2, 3", &[0.5_f32; 6].map(f32::to_le_bytes).concat());
    run("jit", &all).code(1).stderr_eq(str![[r#"
error: [..]src.npy: it has 0.5, and u8 holds whole numbers from 0 to 255

"#]]);
}

#[test]
fn options_of_integers_are_refused_elsewhere() {
    convoke("run specs/edges.conv --input specs/data/camera.png --scales none.npy").assert().code(2).stderr_eq(str![[
        r#"
error: --scales is for layers of integers, and specs/edges.conv:edges is none

"#
    ]]);
}
