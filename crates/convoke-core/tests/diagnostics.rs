//! Every text in `diagnostics/` is refused; what the user sees is the snapshot next to it.

use convoke_core::diagnostic::{Diagnostic, render};
use convoke_core::front;
use convoke_core::spec::{LayerSpec, Limits};
use std::path::Path;

#[test]
fn diagnostics_look_like_their_snapshots() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conv"));
    paths.sort();
    assert!(paths.len() >= 36, "only {} texts", paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let diagnostics = front::layers(&text, &Limits::default()).expect_err(name);
        let rendered = render(&diagnostics, &text, &format!("{name}.conv"), false);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("diagnostics");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, rendered));
    }
}

#[test]
fn colour_only_adds_escapes() {
    let text = "conv2d a { input: f32[1, 3, 8, 8], out_channels: 4, kernel_size: 9, strude: 2 }";
    let diagnostics = front::layers(text, &Limits::default()).unwrap_err();
    let (plain, styled) = (render(&diagnostics, text, "a.conv", false), render(&diagnostics, text, "a.conv", true));
    assert!(styled.contains("\u{1b}[1m") && !plain.contains('\u{1b}'));
    let mut stripped = String::new();
    for part in styled.split('\u{1b}') {
        stripped.push_str(part.strip_prefix('[').and_then(|p| p.split_once('m')).map_or(part, |(_, rest)| rest));
    }
    assert_eq!(stripped, plain);
}

#[test]
fn a_text_that_is_not_one_layer_says_so() {
    let error = "".parse::<LayerSpec>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: expected exactly one layer, found 0\n  help: split the text at its layers, or compile it as a file"
    );
    let error = "conv2d a {\n  kernel_size: 0,\n}".parse::<LayerSpec>().unwrap_err();
    let expect = "\
error: the layer `a` has no `input`
  1:8: `input` has no default
  help: add `input: f32[1, 3, 224, 224],`
error: the layer `a` has no `out_channels`
  1:8: `out_channels` has no default
  help: add `out_channels: 64,`
error: `kernel_size` may not be 0
  2:16: at least 1
  help: write a number from 1 to 2147483647";
    assert_eq!(error.to_string(), expect);
}

#[test]
fn mistakes_past_the_hundredth_are_counted() {
    let text = "conv2d a { nothing: 1 }\n".repeat(200);
    let diagnostics: Vec<Diagnostic> = front::layers(&text, &Limits::default()).unwrap_err();
    assert_eq!(diagnostics.len(), 101);
    // Each layer lacks three fields and has one too many; all but the first share its name.
    assert_eq!(diagnostics[100].message, "899 more mistakes");
}
