//! Deformable layers, which take offsets and factors beside their input.

use super::{convoke, npy, npy_values, scratch, with_input};
use snapbox::str;

#[test]
fn offsets_come_from_files_and_every_backend_gives_the_same() {
    let (folder, layer) = scratch("layer.conv");
    let file = |name: &str| folder.path().join(name);
    let text = "deform_conv2d moved { input: f32[1, 1, 2, 2], out_channels: 1, kernel_size: 1, mask: true }";
    std::fs::write(&layer, text).unwrap();
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    npy(&file("src.npy"), "<f4", "1, 1, 2, 2", &floats(&[1.0, 2.0, 3.0, 4.0]));
    npy(&file("weights.npy"), "<f4", "1, 1, 1, 1", &floats(&[2.0]));
    npy(&file("offset.npy"), "<f4", "1, 2, 2, 2", &floats(&[0.0, 0.5, 0.0, -1.0, 0.5, 0.0, 0.5, 0.0]));
    npy(&file("mask.npy"), "<f4", "1, 1, 2, 2", &floats(&[1.0, 1.0, 0.5, -1.0]));
    let run = |backend: &str, further: &[&str]| {
        let mut command = convoke("run").arg(&layer).args(["--backend", backend, "-o"]).arg(file("dst.npy"));
        command = command.arg("--input").arg(file("src.npy")).arg("--weights").arg(file("weights.npy"));
        for name in further {
            command = command.arg(format!("--{name}")).arg(file(&format!("{name}.npy")));
        }
        command.assert()
    };
    for backend in ["jit", "interp", "reference"] {
        run(backend, &["offset", "mask"]).success();
        assert_eq!(npy_values(&file("dst.npy")), [3.0, 6.0, 3.5, -4.0], "{backend}");
    }
    run("jit", &["mask"]).code(2).stderr_eq(str![[r#"
error: layer moved is deformable; name the file of its offsets with --offset

"#]]);
    run("jit", &["offset"]).code(2).stderr_eq(str![[r#"
error: layer moved has `mask: true`; name the file with --mask

"#]]);
    std::fs::write(&layer, text.replace(", mask: true", "")).unwrap();
    run("jit", &["offset", "mask"]).code(2).stderr_eq(str![[r#"
error: layer moved has no `mask: true`, and --mask was given

"#]]);
    npy(&file("offset.npy"), "<f4", "1, 1, 2, 2", &floats(&[0.0; 4]));
    run("jit", &["offset"]).failure().stderr_eq(str![[r#"
error: [..]offset.npy: the offsets are 1 x 1 x 2 x 2, and the layer takes 1 x 2 x 2 x 2

"#]]);
    std::fs::write(&layer, "conv2d plain { input: f32[1, 1, 2, 2], out_channels: 1, kernel_size: 1 }").unwrap();
    run("jit", &["offset"]).code(2).stderr_eq(str![[r#"
error: layer plain is not deformable, and --offset was given

"#]]);
}

#[test]
fn every_backend_verifies() {
    let layers = "deform_conv2d a { input: f32[1, 5, 9, 9] @ nhwc, out_channels: 8, kernel_size: 3, padding: 1, mask: true, then: silu }
        deform_conv2d b { input: f32[N, 4, 6, 21], out_channels: 17, kernel_size: 3x1, stride: 2, offset_groups: 2, bias: true }";
    with_input("verify - --backend all", layers).success();
    with_input("bench - --backend jit", layers).success();
}
