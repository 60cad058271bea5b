//! Layers of halves: arrays of their types in, arrays of their types out, and every verb on them.

use super::{convoke, npy, scratch, with_input};
use snapbox::str;

const LAYER: &str =
    "conv1d h { input: $[1, 2, 3], out_channels: 1, kernel_size: 2, bias: true, then: [scale, residual] }";

/// Runs the layer of `name` on files whose elements are `bits` of a number.
#[track_caller]
fn check(name: &str, descr: &str, bits: fn(f32) -> u16, expected: [f32; 2]) {
    let (folder, layer) = scratch("layer.conv");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(&layer, LAYER.replace('$', name)).unwrap();
    let write = |path: &str, shape: &str, numbers: &[f32]| {
        npy(&file(path), descr, shape, &numbers.iter().flat_map(|&x| bits(x).to_le_bytes()).collect::<Vec<_>>());
    };
    write("src.npy", "1, 2, 3", &[1.0, 2.0, 3.0, 1000.0, -1.0, 0.5]);
    write("weights.npy", "1, 2, 2", &[1.0, -1.0, 0.5, 2.0]);
    write("bias.npy", "1,", &[0.25]);
    write("scale.npy", "1,", &[2.0]);
    write("residual.npy", "1, 1, 2", &[0.25, -0.5]);
    for backend in ["jit", "interp", "reference"] {
        let mut command = convoke("run").arg(&layer).args(["--backend", backend, "-o"]).arg(file("dst.npy"));
        for (option, name) in [
            ("--input", "src.npy"),
            ("--weights", "weights.npy"),
            ("--bias", "bias.npy"),
            ("--channels", "scale.npy"),
            ("--residual", "residual.npy"),
        ] {
            command = command.arg(option).arg(file(name));
        }
        command.assert().success();
        let bytes = std::fs::read(file("dst.npy")).unwrap();
        let (head, data) = bytes.split_at(bytes.len() - 4);
        assert!(String::from_utf8_lossy(head).contains(&format!("'{descr}'")), "{backend}");
        let found = [0, 2].map(|at| u16::from_le_bytes([data[at], data[at + 1]]));
        assert_eq!(found, expected.map(bits), "{backend}");
    }
}

// The sums are 2 * (-1 + 500 - 2 + 0.25) + 0.25 = 994.75 and 2 * (-1 - 0.5 + 1 + 0.25) - 0.5 = -1.
#[test]
fn arrays_of_f16_are_numpys() {
    let bits = |x: f32| convoke_core::eval::F16::from_f32(x).to_bits();
    check("f16", "<f2", bits, [995.0, -1.0]);
}

#[test]
fn arrays_of_bf16_are_raw_bits() {
    let bits = |x: f32| convoke_core::eval::Bf16::from_f32(x).to_bits();
    check("bf16", "|V2", bits, [996.0, -1.0]);
}

#[test]
fn layers_of_halves_pass_every_backend() {
    let layers = "conv2d a { input: bf16[1, 9, 9, 20] @ nchw, out_channels: 17, kernel_size: 3, padding: 1, bias: true, then: [residual, silu] }
        conv2d b { input: f16[N, 9, 20, 8] @ nhwc, out_channels: 17, kernel_size: 3, stride: 2, padding: 1 }
        max_pool2d c { input: f16[1, 9, 9, 20] @ nchw, kernel_size: 3 }";
    with_input("verify - --threads 2", layers).success().stdout_eq(str![[r#"
...
9 passed, 0 failed

"#]]);
    with_input("check - --json", layers).success().stdout_eq(str![[r#"
{"file":"<stdin>","layer":"a","backend":null,"status":"ok","dtype":"bf16",[..]
{"file":"<stdin>","layer":"b","backend":null,"status":"ok","dtype":"f16",[..]
{"file":"<stdin>","layer":"c","backend":null,"status":"ok","dtype":"f16",[..]

"#]]);
}
