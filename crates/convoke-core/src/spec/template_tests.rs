use super::*;

fn template(text: &str) -> LayerTemplate {
    text.parse().unwrap_or_else(|error: SpecTextError| panic!("{error}"))
}

#[track_caller]
fn refuses<T: fmt::Debug, E: fmt::Display>(result: Result<T, E>, message: &str) {
    assert_eq!(result.map_err(|error| error.to_string()).expect_err("this is refused"), message);
}

const IMAGE: &str = "conv2d image { input: f32[N, 3, H, W], out_channels: 8, kernel_size: 5x3, stride: 2 }";
const SQUARE: &str = "conv2d square { input: f32[1, S, S, 8] @ nhwc, out_channels: 8, kernel_size: 3, padding: same }";

/// Texts with names, and numbers for them.
const TEXTS: [(&str, &[(&str, usize)]); 12] = [
    (IMAGE, &[("H", 31), ("W", 4)]),
    (SQUARE, &[("S", 7)]),
    ("conv1d a { input: f64[2, 4, L], out_channels: 2, kernel_size: 3, padding: causal }", &[("L", 1)]),
    ("conv1d a { input: f32[L, L, 4] @ nlc, out_channels: 2, kernel_size: 3 }", &[("L", 5)]),
    ("conv3d a { input: f32[N, 4, D, 9, W], out_channels: 2, kernel_size: 3 }", &[("D", 3), ("W", 8)]),
    (
        "conv3d a { input: f32[0, D, H, W, 3] @ ndhwc, out_channels: 2, kernel_size: 1 }",
        &[("D", 3), ("H", 1), ("W", 8)],
    ),
    ("conv2d a { input: f32[N, 24, H, 6] @ nChw16c, out_channels: 16, kernel_size: 3 }", &[("H", 9)]),
    ("conv2d a { input: f64[2, 12, 6, W] @ nChw8c, out_channels: 16, kernel_size: 3 }", &[("W", 9)]),
    (
        "conv_transpose2d a { input: f32[N, 2, H, W], out_channels: 4, kernel_size: 3, stride: 2 }",
        &[("H", 2), ("W", 3)],
    ),
    ("max_pool2d a { input: f32[N, 2, H, W], kernel_size: global }", &[("H", 2), ("W", 3)]),
    ("conv2d a { input: u8[1, 2, H, W], out_channels: 4, kernel_size: 3, padding: 1 }", &[("H", 2), ("W", 3)]),
    ("conv2d a { input: f32[N, 2, 6, 7], out_channels: 4, kernel_size: 3 }", &[]),
];

#[test]
fn a_bound_template_is_the_layer_with_its_numbers_written_out() {
    for (text, numbers) in TEXTS {
        let template = template(text);
        let mut written = text.to_owned();
        for (name, number) in numbers {
            for (before, after) in [("[", ","), (" ", ","), (" ", "]")] {
                written = written.replace(&format!("{before}{name}{after}"), &format!("{before}{number}{after}"));
            }
        }
        let expected: LayerSpec = written.parse().unwrap_or_else(|error: SpecTextError| panic!("{error}"));
        let names: Vec<_> = numbers.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!((template.names(), template.name()), (&names[..], expected.name.as_str()));
        assert_eq!(template.bind(numbers), Ok(expected.clone()), "{text}");

        let batch = expected.fixed_batch().unwrap_or(3);
        let sizes: Vec<_> = expected.spatial[3 - expected.rank..].iter().map(|axis| axis.input).collect();
        let shape = expected.layout.shape(batch, expected.in_channels, &sizes, expected.dtype);
        assert_eq!(template.sizes_of(&shape), template.sizes(numbers), "{text}");
    }
}

#[test]
fn the_order_of_numbers_means_nothing() {
    let template = template(IMAGE);
    assert_eq!(template.sizes(&[("W", 9), ("H", 5)]), Ok(Sizes(vec![5, 9])));
    assert_eq!(template.bind(&[("W", 9), ("H", 5)]), template.bind(&[("H", 5), ("W", 9)]));
}

#[test]
fn names_are_given_one_number_each() {
    let template = template(IMAGE);
    refuses(template.bind(&[("W", 9)]), "layer image needs a number for `H`");
    refuses(template.bind(&[]), "layer image needs a number for `H`");
    let twice = [("H", 9), ("W", 9), ("H", 8)];
    refuses(template.bind(&twice), "`H` of layer image is one size, and was given as 9 and as 8");
    refuses(template.bind(&[("H", 9), ("h", 9)]), "layer image has no spatial size `h`: they are H, W");
    refuses(template.bind(&[("H", 9), ("W", 9), ("N", 1)]), "layer image has no spatial size `N`: they are H, W");
    let known = self::template("conv1d a { input: f32[N, 1, 9], out_channels: 1, kernel_size: 3 }");
    refuses(known.bind(&[("N", 9)]), "layer a has no spatial size `N`: all of them are numbers");
    let other = known.sizes(&[]).unwrap();
    refuses(template.with(&other, &Limits::default()), "layer image has 2 names of sizes, and 0 numbers were given");
}

#[test]
fn shapes_that_do_not_fit_are_refused_with_both() {
    let image = template(IMAGE);
    for shape in [&[1, 4, 9, 9][..], &[1, 3, 9], &[1, 3, 9, 9, 1], &[]] {
        refuses(image.sizes_of(shape), &format!("src is of shape {shape:?}, and layer image takes [N, 3, H, W]"));
    }
    let square = template(SQUARE);
    refuses(square.sizes_of(&[2, 9, 9, 8]), "src is of shape [2, 9, 9, 8], and layer square takes [1, S, S, 8]");
    refuses(square.sizes_of(&[1, 9, 7, 8]), "`S` of layer square is one size, and was given as 9 and as 7");
    let blocked = template("conv2d b { input: f32[N, 24, H, W] @ nChw16c, out_channels: 1, kernel_size: 1 }");
    refuses(blocked.sizes_of(&[1, 24, 9, 9]), "src is of shape [1, 24, 9, 9], and layer b takes [N, 2, H, W, 16]");
}

#[test]
fn numbers_that_make_a_layer_illegal_are_refused_where_they_stand() {
    let image = template(IMAGE);
    let expected = "\
layer image is not legal with H = 4, W = 2
error: the kernel reaches past the padded input
  1:70: height: input 4 + padding 0 + 0 = 4, and dilation 1 x (5 - 1) + 1 = 5 is larger
  help: raise padding to at least 1, or lower kernel_size to at most 4
error: the kernel reaches past the padded input
  1:72: width: input 2 + padding 0 + 0 = 2, and dilation 1 x (3 - 1) + 1 = 3 is larger
  help: raise padding to at least 1, or lower kernel_size to at most 2";
    refuses(image.bind(&[("H", 4), ("W", 2)]), expected);
    let expected = "\
layer image is not legal with H = 0, W = 9
error: height `H` may not be 0
  1:33: at least 1
  help: write a number from 1 to 2147483647";
    refuses(image.bind(&[("H", 0), ("W", 9)]), expected);
    let most = image.bind(&[("H", usize::MAX), ("W", 1 << 31)]).unwrap_err().to_string();
    assert!(most.contains("height `H` may not be 18446744073709551615"), "{most}");
    assert!(most.contains("width `W` may not be 2147483648"), "{most}");
    let large = image.bind(&[("H", 1 << 20), ("W", 1 << 20)]).unwrap_err().to_string();
    assert!(large.contains("the input is larger than the limit"), "{large}");
    let small = Limits { macs: 1000, ..Limits::default() };
    let work = image.with(&Sizes(vec![9, 9]), &small).unwrap_err().to_string();
    assert!(work.contains("the limit is 1000 multiply-accumulates"), "{work}");
}

#[test]
fn mistakes_that_no_number_mends_are_refused_at_once() {
    refuses(
        "conv2d a { input: f64[N, 3, H, W], out_channels: 7, kernel_size: 0, groups: 2, then: mul(1e300) }"
            .parse::<LayerTemplate>(),
        "\
error: `kernel_size` may not be 0
  1:66: at least 1
  help: write a number from 1 to 2147483647
error: 2 groups do not divide 3 input channels
  1:77: 3 = 2 x 1 + 1
  1:26: 3 input channels
  help: write `groups: 1`, the largest number up to 2 that divides both channel counts, or use 2 or 4 input channels
error: 2 groups do not divide 7 out_channels
  1:77: 7 = 2 x 3 + 1
  1:50: 7 out_channels
  help: write `groups: 1`, the largest number up to 2 that divides both channel counts, or use 6 or 8 out_channels",
    );
    refuses(
        "conv1d a { input: f32[N, C, loop], out_channels: 7, kernel_size: 1 }".parse::<LayerTemplate>(),
        "\
error: the number of channels may not be a name
  1:26: a name
  help: only the batch and the sizes of the axes can be names; write a number here
error: `loop` cannot be a name
  1:29: Rust keeps this word for itself
  help: choose another name, such as `loop_1`",
    );
    refuses(
        "".parse::<LayerTemplate>(),
        "error: expected exactly one layer, found 0\n  help: split the text at its layers, or compile it as a file",
    );
}
