use super::{Name, Report, print};
use crate::args::{Cli, Verb};
use crate::source::{Selected, Text};
use clap::Parser as _;
use convoke_core::spec::LayerSpec;

const LAYER: &str = "conv2d a { input: f64[N, 4, 9, 8] @ nhwc, out_channels: 6, kernel_size: 3x1, groups: 2, padding: (0, 1), bias: true, then: [relu, clamp(-1, 0.5)] }";

/// What is printed of a layer that the backend jit fails, and the layer.
fn failed(words: &str) -> (String, LayerSpec) {
    let Verb::Verify(args) = Cli::parse_from(words.split(' ')).verb else { panic!("no verify") };
    let spec: LayerSpec = LAYER.parse().unwrap();
    let text = Text { name: "net.conv".to_owned(), text: LAYER.to_owned() };
    let report = |backend, reason| Report { backend, reason, error: None };
    let reports = [report(Name::Interp, None), report(Name::Jit, Some("there are 3 outputs, and not 4".to_owned()))];
    let mut out = Vec::new();
    print(&args, Selected { text: &text, spec: &spec, of_network: false }, &reports, 0.5, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), spec)
}

#[test]
fn a_failure_prints_what_reproduces_it() {
    let (text, spec) = failed("convoke verify net.conv --target sse --seed 7 --threads 3");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "net.conv:a: interp ok, 500 ms");
    assert_eq!(lines[1], "net.conv:a: jit FAILED: there are 3 outputs, and not 4");
    assert!(lines[2].ends_with("convoke verify - --backend all --target sse --seed 7 --threads 3"), "{text}");
    assert_eq!(lines[3..].join("\n").parse::<LayerSpec>().unwrap(), spec);
}

#[test]
fn a_failure_in_json_has_the_layer() {
    let (text, spec) = failed("convoke verify net.conv --json");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0].get("spec"), None);
    assert_eq!(
        (&lines[1]["status"], &lines[1]["reason"]),
        (&"failed".into(), &"there are 3 outputs, and not 4".into())
    );
    assert_eq!(lines[1]["spec"].as_str().unwrap().parse::<LayerSpec>().unwrap(), spec);
}
