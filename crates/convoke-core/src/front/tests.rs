use super::*;
use crate::spec::arbitrary::{layer_spec, schedule};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Checks the canonical layout of `text`, and that it is canonical.
fn check_format(text: &str, expect: &str) {
    let formatted = format(text).unwrap_or_else(|d| panic!("{}", crate::diagnostic::plain(&d, text)));
    assert_eq!(formatted, expect);
    assert_eq!(format(&formatted).as_deref(), Ok(expect));
}

/// Checks how a text that does not fit the grammar is refused: each message with the text it points at.
fn check_mistakes(text: &str, expect: &[(&str, &str)]) {
    let diagnostics = parse(text).unwrap_err();
    let found: Vec<_> = diagnostics.iter().map(|d| (d.message.as_str(), &text[d.labels[0].span.range()])).collect();
    assert_eq!(found, expect);
}

#[test]
fn format_puts_a_field_on_a_line_and_keeps_comments() {
    check_format(
        "// head\n\n\n/* kind */conv2d  a{input:f32[1,3,8,8,]@nchw,// sizes\n\n\n // own line\n out_channels:4/*four*/,kernel_size:(3,5)\n
        // last\n} conv1d b{stride:1_0 , /* x */ padding : -1..2, schedule{tile:6x2,block:(oh:4,ow:84)},/* y */}// end\n// next\nconv3d c{}",
        "\
// head

/* kind */ conv2d a {
    input: f32[1, 3, 8, 8] @ nchw, // sizes

    // own line
    out_channels: 4, /*four*/
    kernel_size: (3, 5),

    // last
}

conv1d b {
    stride: 1_0, /* x */
    padding: -1..2,
    schedule {
        tile: 6x2,
        block: (oh: 4, ow: 84),
    } /* y */
} // end

// next
conv3d c {}
",
    );
}

#[test]
fn format_keeps_one_line_layers_of_networks() {
    check_format(
        "network net{input:f32[1,3,8,8],\n\n\nconv2d a{out_channels:4,kernel_size:3,schedule{algorithm:direct,},} // first\n\
         flatten b{}\nlinear c{\nout_channels:2}\n linear d { out_channels: 2, // why\n } output:c}\nconv2d alone { input: f32[1, 3, 8, 8] }",
        "\
network net {
    input: f32[1, 3, 8, 8],

    conv2d a { out_channels: 4, kernel_size: 3, schedule { algorithm: direct } } // first
    flatten b {}
    linear c {
        out_channels: 2,
    }
    linear d {
        out_channels: 2, // why
    }
    output: c,
}

conv2d alone {
    input: f32[1, 3, 8, 8],
}
",
    );
}

#[test]
fn format_breaks_a_field_only_for_comments() {
    check_format(
        "conv1d // kind\n a /* name */ { then: [ // steps\n relu, // first\n /* second */ tanh ] // done\n , bias: true }",
        "\
conv1d // kind
    a /* name */ {
    then: [// steps
        relu, // first
        /* second */ tanh], // done
    bias: true,
}
",
    );
    check_format("", "");
    check_format("\u{feff}// only\r\n", "// only\n");
}

#[test]
fn the_parser_goes_on_after_a_mistake() {
    check_mistakes(
        "conv2d a {\n    input: f32[1, 3, 8, 8,\n    stride: 2\n    padding: 3,\n    bias true,\n    kernel_size: 3x,\n}\nconv2d {\n}\nconv2d b {\n  groups: 2,",
        &[
            ("the `[` is never closed", "["),
            ("expected `,` after the value of `stride`", "2"),
            ("expected `:` and a value, found `true`", "true"),
            ("`3x` is not a number", "3x"),
            ("the layer has no name", "conv2d"),
            ("the `{` is never closed", "{"),
        ],
    );
}

/// What stands in a text: its tokens and comments, without commas.
fn pieces(text: &str) -> Vec<&str> {
    lexer::tokens(text).0.iter().map(|token| token.text).filter(|text| *text != ",").collect()
}

/// Something to put between two tokens.
fn gap() -> impl Strategy<Value = &'static str> {
    let comments = [
        " // line\n",
        "// line\r\n\n",
        "/* block */",
        " /* two\n  lines */ ",
        "\n\n// own\n",
        "\n/**/",
        "/* /* nested */ */\n",
    ];
    prop_oneof![6 => Just(" "), 2 => select(&["\n", "\n\n\n", "\t"][..]), 2 => select(comments.to_vec())]
}

proptest! {
    #[test]
    fn formatting_moves_tokens_and_settles(
        specs in vec(layer_spec(), 1..4),
        schedule in schedule(),
        gaps in vec(gap(), 1..300),
    ) {
        let text: String = specs.into_iter().map(|spec| LayerSpec { schedule: schedule.clone(), ..spec }.to_string()).collect();
        let (tokens, _) = lexer::tokens(&text);
        let spread: String = tokens.iter().zip(gaps.iter().cycle()).flat_map(|(token, gap)| [*gap, token.text]).collect();
        check_lexes_as_rust(&spread);
        let formatted = format(&spread).unwrap();
        prop_assert_eq!(pieces(&formatted), pieces(&spread));
        prop_assert_eq!(format(&formatted), Ok(formatted));
    }
}

/// The tokens of `text` as Rust cuts them.
fn rust_tokens(text: &str) -> Vec<String> {
    fn flatten(stream: TokenStream, out: &mut Vec<String>) {
        for tree in stream {
            let TokenTree::Group(group) = tree else {
                out.push(tree.to_string());
                continue;
            };
            let (open, close) = match group.delimiter() {
                Delimiter::Brace => ("{", "}"),
                Delimiter::Bracket => ("[", "]"),
                Delimiter::Parenthesis => ("(", ")"),
                Delimiter::None => ("", ""),
            };
            out.push(open.to_owned());
            flatten(group.stream(), out);
            out.push(close.to_owned());
        }
    }
    let mut out = Vec::new();
    flatten(text.parse().unwrap_or_else(|_| panic!("Rust does not lex {text}")), &mut out);
    out
}

/// Checks that `text` is cut here as Rust cuts it; `..` is two characters to Rust.
fn check_lexes_as_rust(text: &str) {
    let (tokens, errors) = lexer::tokens(text);
    assert_eq!(errors, [], "{text}");
    let is_token = |kind| !matches!(kind, lexer::Kind::LineComment | lexer::Kind::BlockComment | lexer::Kind::End);
    let ours: Vec<_> = tokens.iter().filter(|token| is_token(token.kind)).map(|token| token.text).collect();
    assert_eq!(ours.join(" ").replace("..", ". ."), rust_tokens(text).join(" "), "{text}");
}

#[test]
fn texts_lex_as_rust() {
    for text in [
        "1..2 0..-2 1. ..2 1.5..2 1.e5 1.0e5",
        "7x7 3x5x5 1_000x2 7x 0x7 0x7 2e3x4 64u32 1.5f32 1_ 1__0.0_1",
        "1e-3 1E+5 1e5x 2_e7 - 1 -1e-1",
        "a _ _a a1 f32[N, 3] @ nchw // x\n /* /* */ */ b",
        "conv2d a { then: [relu, clamp(-1, 1.5)], schedule { block: (oh: 4) } }",
        "1.foo 1.. 1._a ! = ; & | < > ? ^ % $ + *",
    ] {
        check_lexes_as_rust(text);
    }
}
