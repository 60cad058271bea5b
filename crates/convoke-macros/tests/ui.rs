//! What `conv!` accepts, run; and what it refuses, with the error at the user's own token.

#[test]
fn conv_expands_or_explains() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
