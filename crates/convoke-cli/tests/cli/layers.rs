//! Verbs that only look at layers: check, plan, explain, emit, fmt, completions; and wrong usage.

use super::{convoke, scratch, with_input};
use snapbox::str;

const SMALL: &str = "conv1d a { input: f32[N, 2, 9], out_channels: 3, kernel_size: 3, bias: true }\n";

#[test]
fn check_prints_a_line_a_layer() {
    convoke("check specs/inception.conv").assert().success().stdout_eq(str![[r#"
row     f32[1, 128, 17, 17] @ nchw -> [1, 128, 17, 17]  33.1 M MACs  115 k parameters
column  f32[1, 128, 17, 17] @ nchw -> [1, 192, 17, 17]  49.7 M MACs  172 k parameters

"#]]);
    with_input("check - --json", SMALL).success().stdout_eq(str![[r#"
{"file":"<stdin>","layer":"a","backend":null,"status":"ok","dtype":"f32","layout":"ncl","input":["N","2","9"],"output":["N","3","7"],"macs":126,"parameters":21}

"#]]);
}

#[test]
fn check_takes_every_file_that_is_shipped() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs");
    let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
    let files: Vec<_> = files.filter(|p| p.extension().is_some_and(|e| e == "conv")).collect();
    assert!(files.len() >= 14, "{files:?}");
    convoke("check").args(&files).assert().success();
    convoke("fmt --check").args(&files).assert().success();
}

const NAMED: &str = "conv2d image { input: f32[N, 3, H, W], out_channels: 8, kernel_size: 3, stride: 2 }
conv1d row { input: f32[1, W, 2] @ nlc, out_channels: 4, kernel_size: 5 }
";

#[test]
fn names_of_sizes_have_the_numbers_that_they_are_given() {
    let expected = str![[r#"
image  f32[N, 3, 17, 9] @ nchw -> [N, 8, 8, 4]  6.91 k MACs  216 parameters
row    f32[1, 9, 2] @ nlc      -> [1, 5, 4]        200 MACs   40 parameters

"#]];
    with_input("check - --size H=17,W=9", NAMED).success().stdout_eq(expected.clone());
    with_input("check - --size W=9 --size H=17", NAMED).success().stdout_eq(expected);
    with_input("check - --layer image --size W=9,H=17,N=0 --json", NAMED).success().stdout_eq(str![[r#"
{"file":"<stdin>","layer":"image","backend":null,"status":"ok","dtype":"f32","layout":"nchw","input":["0","3","17","9"],"output":["0","8","8","4"],"macs":0,"parameters":216}

"#]]);
    with_input("emit - --stage spec --layer row --size H=17,W=9", NAMED).success().stdout_eq(str![[r#"
conv1d row {
    input: f32[1, 9, 2] @ nlc,
    out_channels: 4,
    kernel_size: 5,
}

"#]]);
    with_input("verify - --backend jit --size H=17,W=9", NAMED).success();
}

#[test]
fn names_and_numbers_that_do_not_fit_are_refused() {
    with_input("check - --layer row --size H=9,W=4", NAMED).code(1).stdout_eq("").stderr_eq(str![[r#"
error: the kernel reaches past the padded input
 --> <stdin>:2:71
  |
2 | conv1d row { input: f32[1, W, 2] @ nlc, out_channels: 4, kernel_size: 5 }
  |                                                                       ^ length: input 4 + padding 0 + 0 = 4, and dilation 1 x (5 - 1) + 1 = 5 is larger
  |
  = help: raise padding to at least 1, or lower kernel_size to at most 4

"#]]);
    with_input("check - --size H=0,W=9", NAMED).code(1).stdout_eq("").stderr_eq(str![[r#"
error: height `H` may not be 0
 --> <stdin>:1:33
  |
1 | conv2d image { input: f32[N, 3, H, W], out_channels: 8, kernel_size: 3, stride: 2 }
  |                                 ^ at least 1
  |
  = help: write a number from 1 to 2147483647

"#]]);
    with_input("check - --size W=9", NAMED).code(1).stdout_eq("").stderr_eq(str![[r#"
error: height may not be a name
 --> <stdin>:1:33
  |
1 | conv2d image { input: f32[N, 3, H, W], out_channels: 8, kernel_size: 3, stride: 2 }
  |                                 ^ a name
  |
  = help: write a number here, or say what it stands for: with `--size` of the command, or with `Dynamic` at run time

"#]]);
    for json in ["", " --json"] {
        with_input(&format!("check - --size H=9,W=9,D=9{json}"), NAMED).code(2).stderr_eq(str![[r#"
error: no layer has a size `D`, which --size gives a number

"#]]);
        with_input(&format!("check - --size H=9,W=9,H=8{json}"), NAMED).code(2).stderr_eq(str![[r#"
error: --size gives `H` twice, as 9 and as 8

"#]]);
    }
    with_input("check - --size H=9,W", NAMED).code(2).stderr_eq(str![[r#"
error: invalid value 'W' for '--size <NAME=NUMBER>': a size is a name and a whole number, such as H=480

For more information, try '--help'.

"#]]);
    convoke("tune net.conv --write --size H=9").assert().code(2).stdout_eq("");
}

#[test]
fn check_reports_every_mistake_and_ends_with_1() {
    let text = "conv2d a {\n    input: f32[1, 3, 8, 8],\n    out_channel: 4,\n    kernel_size: 0,\n}\n";
    with_input("check -", text).code(1).stdout_eq("").stderr_eq(str![[r#"
error: there is no field `out_channel`
 --> <stdin>:3:5
  |
3 |     out_channel: 4,
  |     ^^^^^^^^^^^ did you mean `out_channels`?
  |
  = help: known are input, input_scale, input_zero_point, out_channels, kernel_size, stride, padding, padding_mode, dilation, groups, bias, weights, weights_type, weights_scale, weights_zero_point, reduce_range, output, output_scale, output_zero_point, then, accuracy, schedule

error: `kernel_size` may not be 0
 --> <stdin>:4:18
  |
4 |     kernel_size: 0,
  |                  ^ at least 1
  |
  = help: write a number from 1 to 2147483647

"#]]);
    let json = with_input("check - --json", text).code(1).stderr_eq("");
    let lines = String::from_utf8(json.get_output().stdout.clone()).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.lines().all(|l| l.contains(r#""status":"invalid""#)), "{lines}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    convoke("check specs/none.conv").assert().code(1).stdout_eq("").stderr_eq(str![[r#"
error: specs/none.conv: No such file or directory (os error 2)

"#]]);
    with_input("check -", "// nothing\n").code(1).stderr_eq(str![[r#"
error: there is no layer in what was given

"#]]);
}

#[test]
fn wrong_usage_ends_with_2() {
    convoke("frobnicate").assert().code(2);
    convoke("check").assert().code(2);
    convoke("plan specs/edges.conv --target vax").assert().code(2).stderr_eq(str![[r#"
error: there is no target `vax`; there are native, avx512+vnni, avx512, avx2+vnni, avx2, sse, sse+fma, neon and portable

"#]]);
    for stage in ["ast", "ir", "rust"] {
        convoke("emit specs/edges.conv --target vax --stage").arg(stage).assert().code(2);
    }
    convoke("plan specs/inception.conv --layer ro").assert().code(2).stderr_eq(str![[r#"
error: there is no layer `ro`; there are row, column

"#]]);
    convoke("run specs/photo.conv --input specs/data/chelsea.png").assert().code(2).stderr_eq(str![[r#"
error: this takes one layer, and there are 3: say which with --layer, blur, sharpen, half_size

"#]]);
    convoke("run specs/edges.conv --input specs/data/camera.png -o edges.jpeg").assert().code(2).stderr_eq(str![[r#"
error: edges.jpeg: the name must end with .npy, .png or .wav

"#]]);
    convoke("bench specs/edges.conv --backend rust --threads 2").assert().code(2);
}

#[test]
fn every_help_has_examples() {
    for verb in ["", "check", "plan", "explain", "emit", "run", "verify", "bench", "tune", "fmt", "completions"] {
        let help = convoke(verb).arg("--help").assert().success();
        let text = String::from_utf8(help.get_output().stdout.clone()).unwrap();
        assert!(text.contains("Examples:\n  convoke") || text.contains("Examples:\n  echo"), "{verb}: {text}");
    }
}

#[test]
fn a_plan_can_be_pasted_back() {
    let plan = convoke("plan specs/resnet50.conv --layer r04 --target avx512").assert().success();
    let plan = String::from_utf8(plan.get_output().stdout.clone()).unwrap();
    let layer = "conv2d r04 { input: f32[1, 56, 56, 64] @ nhwc, out_channels: 64, kernel_size: 3, padding: 1, bias: true, then: relu,";
    let again = with_input("plan - --target avx512", &format!("{layer}\n{plan} }}")).success();
    let again = String::from_utf8(again.get_output().stdout.clone()).unwrap();
    let without_title = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(without_title(&plan), without_title(&again));
    assert!(plan.contains("schedule {"), "{plan}");
}

#[test]
fn a_pin_that_cannot_hold_is_shown_in_the_source() {
    let text = "conv2d a {\n    input: f32[1, 8, 8, 8],\n    out_channels: 8,\n    kernel_size: 3,\n    schedule { algorithm: pointwise },\n}\n";
    with_input("plan - --target avx2", text).code(1).stdout_eq("").stderr_eq(str![[r#"
error: the schedule cannot hold
 --> <stdin>:5:27
  |
5 |     schedule { algorithm: pointwise },
  |                           ^^^^^^^^^ pointwise needs a window of 1, and along h it is 3
  |
  = help: change this pin, or leave it out and let the planner choose

"#]]);
}

#[test]
fn explain_says_why_and_why_not() {
    let text = convoke("explain specs/resnet50.conv --layer r04 --target avx2").assert().success();
    let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
    for part in
        ["Chosen: winograd4", "Estimated cycles", "pointwise needs a window of 1", "% more", "OIhw16o", "same bits"]
    {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

#[test]
fn explain_says_what_error_to_expect() {
    let layer = "conv2d l { input: f32[1, 56, 56, 64] @ nhwc, out_channels: 64, kernel_size: 3, padding: 1";
    let explained = |fields: &str| {
        let result = with_input("explain - --target avx2", &format!("{layer}{fields} }}")).success();
        String::from_utf8(result.get_output().stdout.clone()).unwrap()
    };
    for (fields, error) in [
        ("", "about 2.0 times that of a direct sum; the layer allows 4 "),
        (
            ", accuracy: fast, schedule { algorithm: winograd6 }",
            "about 8.1 times that of a direct sum; the layer allows any ",
        ),
    ] {
        let text = explained(fields);
        for part in [error, "Weights for winograd", "are transformed and packed", "The result of winograd"] {
            assert!(text.contains(part), "no `{part}` in {text}");
        }
    }
    let text = explained(", accuracy: exact");
    assert!(!text.contains("Estimated error"), "{text}");
    assert!(text.contains("Weights for direct are packed as OIhw16o"), "{text}");
}

#[test]
fn emit_prints_every_stage() {
    let stages = [
        ("ast", "(layer"),
        ("spec", "conv2d edges {"),
        ("plan", "schedule {"),
        ("ir", "kernel direct_f32_"),
        ("rust", "pub mod edges {"),
        ("clif", "function "),
        ("asm", ":\n"),
    ];
    for (stage, part) in stages {
        let text = convoke("emit specs/edges.conv --stage").arg(stage).assert().success();
        let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
        assert!(text.contains(part), "no `{part}` in {stage}: {text}");
    }
    let (_folder, path) = scratch("edges.rs");
    convoke("emit specs/edges.conv --stage rust -o").arg(&path).assert().success().stdout_eq("");
    assert!(std::fs::read_to_string(path).unwrap().contains("pub mod edges {"));
}

#[test]
fn emit_takes_a_target_where_the_stage_has_it() {
    let text = convoke("emit specs/edges.conv --stage rust --target avx2").assert().success();
    let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
    assert!(text.contains("_mm256_") && !text.contains("_mm512_"), "{text}");
    let target = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
    for stage in ["asm", "clif"] {
        let words = format!("emit specs/edges.conv --stage {stage} --target {target}");
        let refused = convoke(&words).assert().code(2).stdout_eq("");
        let text = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(text.contains(&format!("not {target}; leave --target out, or take --stage rust")), "{text}");
    }
}

#[test]
fn fmt_rewrites_checks_and_filters() {
    let odd = "conv1d a{input:f32[1,1,9],out_channels:1,kernel_size:3}";
    let even = "conv1d a {\n    input: f32[1, 1, 9],\n    out_channels: 1,\n    kernel_size: 3,\n}\n";
    with_input("fmt -", odd).success().stdout_eq(even);
    let (_folder, path) = scratch("a.conv");
    std::fs::write(&path, odd).unwrap();
    convoke("fmt --check").arg(&path).assert().code(1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), odd);
    convoke("fmt").arg(&path).assert().success().stdout_eq("");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), even);
    convoke("fmt --check").arg(&path).assert().success().stdout_eq("");
    with_input("fmt -", "conv1d {").code(1).stdout_eq("");
}

#[test]
fn completions_are_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = convoke("completions").arg(shell).assert().success();
        let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
        assert!(text.contains("convoke") && text.contains("verify"), "{text}");
    }
}

/// A reader that takes one line and goes: no panic, no message, exit code 0.
#[cfg(unix)]
#[test]
fn a_closed_pipe_ends_quietly() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut child = Command::new(snapbox::cmd::cargo_bin!("convoke"))
        .args(["emit", "--stage", "rust", "specs/resnet50.conv"])
        .current_dir(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    assert!(!line.is_empty());
}
