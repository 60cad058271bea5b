//! What `conv!` accepts, run; and what it refuses, with the error at the user's own token.

use std::path::Path;

#[test]
fn conv_expands_or_explains() {
    // The cases' package lies two folders below the build's `tests`, so this folder is `../../../tmp` to them.
    for name in ["layers.conv", "broken.conv", "networks.conv"] {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::copy(Path::new("tests/ui").join(name), to).expect("the file is copied");
    }
    // An element too few, no floats, and enough.
    let list = concat!(
        r#"{"a.weight":{"dtype":"F32","shape":[31],"data_offsets":[0,124]},"#,
        r#""b.weight":{"dtype":"I32","shape":[2,4],"data_offsets":[124,156]},"#,
        r#""scores.weight":{"dtype":"F32","shape":[2],"data_offsets":[156,164]}}"#,
    );
    let file = [&(list.len() as u64).to_le_bytes()[..], list.as_bytes(), &[0; 164]].concat();
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("few.safetensors"), file).expect("it is written");
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
