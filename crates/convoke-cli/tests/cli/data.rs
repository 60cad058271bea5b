//! `run` on the pictures, the recording and the numbers in specs/data.

use super::{convoke, npy_values, scratch};
use snapbox::str;

#[test]
fn edges_of_the_photograph() {
    let (_folder, path) = scratch("edges.png");
    convoke("run specs/edges.conv --input specs/data/camera.png --weights sobel-x -o")
        .arg(&path)
        .assert()
        .success()
        .stdout_eq(str![[r#"
edges: specs/data/camera.png, weights sobel-x
direct_f32_[..]: compiled in [..], run in [..] on 1 thread, [..]FLOP/s
result [1, 1, 512, 512]: from -3.3725 to 3.7176, mean 0.0017
wrote [..]edges.png: white is the greatest absolute value

"#]]);
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height, info.color_type), (512, 512, png::ColorType::Grayscale));
    assert_eq!(pixels.iter().max(), Some(&255));
}

#[test]
fn weights_by_name_and_from_a_file_are_the_same() {
    let (folder, by_name) = scratch("name.npy");
    let from_file = folder.path().join("file.npy");
    for (weights, path) in [("sobel-x", &by_name), ("specs/data/sobel_x.npy", &from_file)] {
        let command = format!("run specs/edges.conv --input specs/data/camera.png --weights {weights} -o");
        convoke(&command).arg(path).assert().success();
    }
    assert_eq!(std::fs::read(by_name).unwrap(), std::fs::read(from_file).unwrap());
}

#[test]
fn backends_agree_on_the_colour_photograph() {
    let (folder, _) = scratch("");
    let run = |backend: &str, threads: &str| {
        let path = folder.path().join(format!("{backend}{threads}.npy"));
        let command = format!(
            "run specs/photo.conv --layer half_size --input specs/data/chelsea.png --weights gaussian --backend {backend} --threads {threads} -o"
        );
        convoke(&command).arg(&path).assert().success();
        npy_values(&path)
    };
    let jit = run("jit", "1");
    assert_eq!(jit.len(), 150 * 226 * 3);
    assert_eq!(jit, run("jit", "2"));
    assert_eq!(jit, run("interp", "1"));
    let reference = run("reference", "1");
    assert!(jit.iter().zip(&reference).all(|(a, b)| (a - b).abs() < 1e-5));
}

/// The energy of a recording's samples.
fn energy(path: &std::path::Path) -> f64 {
    let mut reader = hound::WavReader::open(path).unwrap();
    assert_eq!((reader.len(), reader.spec().sample_rate), (113_600, 16_000));
    reader.samples::<f32>().map(|s| f64::from(s.unwrap()).powi(2)).sum()
}

#[test]
fn the_recording_through_two_bands() {
    let (folder, telephone) = scratch("telephone.wav");
    let rest = folder.path().join("rest.wav");
    for (band, path) in [("300-3400", &telephone), ("6000-8000", &rest)] {
        let command =
            format!("run specs/fir.conv --layer speech --input specs/data/speech.wav --weights bandpass:{band} -o");
        convoke(&command).arg(path).assert().success();
    }
    // Speech has its energy where a telephone line lets it through.
    assert!(energy(&telephone) > 100.0 * energy(&rest), "{} {}", energy(&telephone), energy(&rest));
}

#[test]
fn conv1d_and_conv2d_on_the_same_data() {
    let (folder, line) = scratch("line.npy");
    let row = folder.path().join("row.npy");
    convoke("run specs/didactic.conv --layer moving_average --input specs/data/twelve.npy --weights mean -o")
        .arg(&line)
        .assert()
        .success();
    convoke("run specs/didactic.conv --layer moving_average_2d --input specs/data/twelve_row.npy --weights mean -o")
        .arg(&row)
        .assert()
        .success();
    assert_eq!(npy_values(&line), [3.75, 4.75, 5.5, 5.25, 4.25, 3.5, 3.75, 4.75, 5.5]);
    assert_eq!(npy_values(&line), npy_values(&row));
}

#[test]
fn without_an_output_the_result_is_shown() {
    let picture = convoke("run specs/edges.conv --input specs/data/camera.png --weights gaussian").assert().success();
    let text = String::from_utf8(picture.get_output().stdout.clone()).unwrap();
    assert!(text.lines().count() > 30 && text.contains('@') && text.contains('.'), "{text}");
    convoke(
        "run specs/didactic.conv --layer moving_average --input specs/data/twelve.npy --weights mean --backend interp",
    )
    .assert()
    .success()
    .stdout_eq(str![[r#"
moving_average: specs/data/twelve.npy, weights mean
direct_f32_[..]: interpreted in [..]
result [1, 1, 9]: from 3.5000 to 5.5000, mean 4.5556
3.7500 4.7500 5.5000 5.2500 4.2500 3.5000 3.7500 4.7500 5.5000

"#]]);
}

#[test]
fn what_does_not_fit_ends_with_1_and_both_sizes() {
    let check = |words: &str, expected: snapbox::data::Inline| {
        convoke(words).assert().code(1).stderr_eq(expected);
    };
    check(
        "run specs/edges.conv --input specs/data/chelsea.png",
        str![[r#"
error: specs/data/chelsea.png: the picture is 300 x 451 (rows x columns), and the layer takes 512 x 512; write `input: f32[1, 1, 300, 451] @ nchw` in the layer, or give it another picture

"#]],
    );
    check(
        "run specs/edges.conv --input specs/data/speech.wav",
        str![[r#"
error: specs/data/speech.wav: a recording fits a conv1d, and the layer is a conv2d

"#]],
    );
    check(
        "run specs/edges.conv --input specs/data/make.py",
        str![[r#"
error: specs/data/make.py: the name must end with .npy, .png or .wav

"#]],
    );
    check(
        "run specs/edges.conv --input specs/data/none.png",
        str![[r#"
error: specs/data/none.png: No such file or directory (os error 2)

"#]],
    );
    check(
        "run specs/edges.conv --input specs/data/camera.png --weights specs/data/none.npy",
        str![[r#"
error: specs/data/none.npy: No such file or directory (os error 2)

"#]],
    );
    check(
        "run specs/none.conv --input specs/data/camera.png",
        str![[r#"
error: specs/none.conv: No such file or directory (os error 2)

"#]],
    );
    check(
        "run specs/edges.conv --input specs/data/camera.png --weights specs/data/twelve.npy",
        str![[r#"
error: specs/data/twelve.npy: the weights are 1 x 1 x 12, and the layer takes 1 x 1 x 3 x 3

"#]],
    );
    check(
        "run specs/edges.conv --input specs/data/camera.png --bias specs/data/twelve.npy",
        str![[r#"
error: specs/data/twelve.npy: layer edges has no bias; write `bias: true` in it

"#]],
    );
    check(
        "run specs/fir.conv --layer speech --input specs/data/speech.wav --weights sobel-x",
        str![[r#"
error: layer speech: sobel-x has a window of 3x3, and the layer's is 1023

"#]],
    );
}
