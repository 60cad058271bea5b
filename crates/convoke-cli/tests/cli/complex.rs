//! Layers of complex numbers: arrays of them in, arrays of them out, and every verb on them.

use super::{convoke, npy, scratch, with_input};
use snapbox::str;

fn parts(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn arrays_are_of_complex_numbers() {
    let (folder, layer) = scratch("layer.conv");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(
        &layer,
        "conv1d c { input: c64[1, 1, 3], out_channels: 1, kernel_size: 2, bias: true, then: shift }",
    )
    .unwrap();
    npy(&file("src.npy"), "<c8", "1, 1, 3", &parts(&[1.0, 2.0, 3.0, -1.0, 0.0, 1.0]));
    npy(&file("weights.npy"), "<c8", "1, 1, 2", &parts(&[1.0, 1.0, 2.0, 0.0]));
    npy(&file("bias.npy"), "<c8", "1,", &parts(&[0.5, -0.5]));
    // As numbers with a last axis of 2.
    npy(&file("shift.npy"), "<f4", "1, 2", &parts(&[100.0, 200.0]));
    for backend in ["jit", "interp", "reference"] {
        let mut command = convoke("run").arg(&layer).args(["--backend", backend, "-o"]).arg(file("dst.npy"));
        for (option, name) in
            [("--input", "src.npy"), ("--weights", "weights.npy"), ("--bias", "bias.npy"), ("--channels", "shift.npy")]
        {
            command = command.arg(option).arg(file(name));
        }
        command.assert().success();
        let bytes = std::fs::read(file("dst.npy")).unwrap();
        let (head, data) = bytes.split_at(bytes.len() - 16);
        let head = String::from_utf8_lossy(head);
        assert!(head.contains("'<c8'") && head.contains("(1, 1, 2"), "{backend}: {head}");
        // (1 + 2i)(1 + i) + 2 (3 - i) = 5 + i, and (3 - i)(1 + i) + 2 i = 4 + 4i.
        assert_eq!(data, parts(&[105.5, 200.5, 104.5, 203.5]), "{backend}");
    }
}

#[test]
fn arrays_of_another_shape_are_refused() {
    let (folder, layer) = scratch("layer.conv");
    let src = folder.path().join("src.npy");
    std::fs::write(&layer, "conv1d c { input: c64[1, 2, 2], out_channels: 1, kernel_size: 2 }").unwrap();
    npy(&src, "<f4", "1, 2, 2", &parts(&[0.0; 4]));
    convoke("run").arg(&layer).arg("--input").arg(&src).assert().code(1).stderr_eq(str![[r#"
error: [..]src.npy: the input is 1 x 2 x 2, and the layer takes 1 x 2 x 2 x 2
...
"#]]);
}

#[test]
fn layers_pass_every_backend() {
    let layers = "conv2d a { input: c64[2, 3, 9, 20] @ nchw, out_channels: 5, kernel_size: 3, stride: 2, padding: 1, bias: true, then: [residual, neg] }
        conv1d b { input: c128[N, 20, 8] @ nlc, out_channels: 6, groups: 2, kernel_size: 3, weights: lio, padding: same, padding_mode: reflect }
        conv_transpose2d c { input: c64[1, 9, 9, 4] @ nhwc, out_channels: 3, kernel_size: 3, stride: 2 }";
    with_input("verify - --threads 2", layers).success().stdout_eq(str![[r#"
...
9 passed, 0 failed

"#]]);
    with_input("check - --json", layers).success().stdout_eq(str![[r#"
{"file":"<stdin>","layer":"a","backend":null,"status":"ok","dtype":"c64",[..]
{"file":"<stdin>","layer":"b","backend":null,"status":"ok","dtype":"c128",[..]
{"file":"<stdin>","layer":"c","backend":null,"status":"ok","dtype":"c64",[..]

"#]]);
}
