//! What `conv!` accepts, run; and what it refuses, with the error at the user's own token.

use std::path::Path;

#[test]
fn conv_expands_or_explains() {
    // The cases' package lies two folders below the build's `tests`, so this folder is `../../../tmp` to them.
    for name in ["layers.conv", "broken.conv"] {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::copy(Path::new("tests/ui").join(name), to).expect("the file is copied");
    }
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
