//! `Resize` and `Upsample`: what ONNX Runtime 1.32 makes of an image of 3 by 5.

use super::*;

fn x() -> Tensor {
    let values = [3, -1, 4, 1, -5, 9, 2, -6, 5, 3, -5, 8, 9, 7, -9];
    Tensor { dims: vec![1, 1, 3, 5], values: values.map(f64::from).to_vec() }
}

/// The last two sizes, or the scales of those.
#[derive(Clone, Copy)]
enum To {
    Sizes(i64, i64),
    Scales(f32, f32),
}

#[track_caller]
fn check(attributes: &[(&'static str, &'static str)], to: To, (dims, values): ([usize; 2], &[f64]), parts: &[&str]) {
    let attributes = attributes.iter().map(|&(name, value)| word(name, value)).collect();
    let (inputs, constant) = match to {
        To::Sizes(h, w) => (&["x", "", "", "a"][..], integers("a", &[1, 1, h, w])),
        To::Scales(h, w) => (&["x", "", "a"][..], floats("a", &[4], &[1.0, 1.0, h, w])),
    };
    let expected = Tensor { dims: vec![1, 1, dims[0], dims[1]], values: values.to_vec() };
    // Numbers are given with five digits behind the point.
    let rounded = expected.values.iter().all(|x| x.fract() == 0.0);
    let nodes = one("Resize", inputs, attributes);
    Case::new(&[&x()], nodes, vec![constant]).near(&expected, parts, if rounded { 0.0 } else { 1e-5 });
}

const COORDINATES: &str = "coordinate_transformation_mode";

#[test]
fn linear_in_every_convention() {
    let sizes = To::Sizes(2, 7);
    let scales = To::Scales(1.5, 0.7);
    let column = To::Sizes(4, 1);
    let half = [4.5, 1.78571, 0.25, 1.5, 1.85714, -0.14286, -3.0, -1.5, 3.07143, 6.14286, 5.25, 6.14286, 1.14286, -6.0];
    let scaled =
        [2.14286, 2.21429, 0.57143, 4.82143, -0.46429, 2.71429, 5.88095, -1.17857, 5.02381, -0.59524, 6.67857, 5.69048];
    let one = |mode: &'static str, to: To, expected: ([usize; 2], &[f64]), parts: &[&str]| {
        check(&[("mode", "linear"), (COORDINATES, mode)], to, expected, parts);
    };
    one("half_pixel", sizes, ([2, 7], &half), &["{ to: (2, 7), mode: linear }"]);
    one("half_pixel", scales, ([4, 3], &scaled), &["{ scale: (1.5, 0.7), mode: linear }"]);
    one("half_pixel", column, ([4, 1], &[4.0, -2.25, -0.375, 9.0]), &[]);
    one("pytorch_half_pixel", sizes, ([2, 7], &half), &["{ to: (2, 7), mode: linear }"]);
    one("pytorch_half_pixel", scales, ([4, 3], &scaled), &[]);
    one("pytorch_half_pixel", column, ([4, 1], &[3.0, 6.75, 3.75, -5.0]), &["to: (4, 5)", "to: (4, 1)"]);
    one("half_pixel_symmetric", sizes, ([2, 7], &half), &[]);
    let symmetric = [0.71429, 4.0, -1.57143, 3.57143, -2.66667, 2.23809, 4.14286, -1.0, 2.80952, 2.42857, 9.0, 0.14286];
    one("half_pixel_symmetric", scales, ([4, 3], &symmetric), &["align: half_pixel_symmetric"]);
    let corners = [3.0, 0.33333, 0.66667, 4.0, 2.0, -1.0, -5.0, -5.0, 3.66667, 8.33333, 9.0, 7.66667, 1.66667, -9.0];
    one("align_corners", sizes, ([2, 7], &corners), &["align: corners"]);
    let corners = [3.0, 4.0, -5.0, 7.0, -2.66667, 0.33333, 4.33333, -1.0, -1.0, -5.0, 9.0, -9.0];
    one("align_corners", scales, ([4, 3], &corners), &[]);
    one("align_corners", column, ([4, 1], &[3.0, 7.0, 4.33333, -5.0]), &[]);
    let first =
        [3.0, 0.14286, 1.14286, 3.57143, 1.42857, -2.42857, -5.0, 2.0, 4.14286, 3.5, 2.14286, 5.35714, 0.85714, -3.0];
    one("asymmetric", sizes, ([2, 7], &first), &["align: asymmetric"]);
    let first = [3.0, 1.14286, 1.42857, 7.0, -0.57143, 2.76191, 4.33333, 1.85714, 4.71429, -5.0, 8.42857, 7.28571];
    one("asymmetric", scales, ([4, 3], &first), &[]);
    one("asymmetric", column, ([4, 1], &[3.0, 7.5, 2.0, -5.0]), &[]);
}

/// Coordinates and rounding, what the image becomes, and that.
type Nearest = (&'static str, &'static str, To, [usize; 2], &'static [i32]);

#[test]
fn the_nearest_in_every_convention() {
    let all: [Nearest; 16] = [
        ("half_pixel", "round_prefer_floor", To::Scales(1.5, 0.7), [4, 3], &[3, 4, 1, 3, 4, 1, 9, -6, 5, -5, 9, 7]),
        ("half_pixel", "round_prefer_ceil", To::Scales(1.5, 0.7), [4, 3], &[3, 4, 1, 9, -6, 5, 9, -6, 5, -5, 9, 7]),
        ("half_pixel", "floor", To::Scales(1.5, 0.7), [4, 3], &[3, -1, 1, 3, -1, 1, 9, 2, 5, 9, 2, 5]),
        ("half_pixel", "ceil", To::Scales(1.5, 0.7), [4, 3], &[-1, 4, -5, 2, -6, 3, 8, 9, -9, 8, 9, -9]),
        ("half_pixel", "ceil", To::Sizes(2, 7), [2, 7], &[9, 2, -6, -6, 5, 3, 3, -5, 8, 9, 9, 7, -9, -9]),
        ("half_pixel", "round_prefer_floor", To::Sizes(4, 1), [4, 1], &[4, -6, -6, 9]),
        ("pytorch_half_pixel", "ceil", To::Sizes(4, 1), [4, 1], &[3, 9, -5, -5]),
        ("pytorch_half_pixel", "floor", To::Sizes(4, 1), [4, 1], &[3, 3, 9, -5]),
        ("half_pixel_symmetric", "floor", To::Scales(1.5, 0.7), [4, 3], &[3, 4, 1, 3, 4, 1, 9, -6, 5, -5, 9, 7]),
        ("half_pixel_symmetric", "ceil", To::Scales(1.5, 0.7), [4, 3], &[-1, 4, -5, 2, -6, 3, 8, 9, -9, 8, 9, -9]),
        ("align_corners", "floor", To::Sizes(2, 7), [2, 7], &[3, 3, -1, 4, 4, 1, -5, -5, -5, 8, 9, 9, 7, -9]),
        ("align_corners", "ceil", To::Scales(1.5, 0.7), [4, 3], &[3, 4, -5, 9, -6, 3, -5, 9, -9, -5, 9, -9]),
        ("asymmetric", "round_prefer_floor", To::Sizes(2, 7), [2, 7], &[3, -1, -1, 4, 1, -5, -5, 9, 2, 2, -6, 5, 3, 3]),
        (
            "asymmetric",
            "round_prefer_ceil",
            To::Sizes(2, 7),
            [2, 7],
            &[3, -1, -1, 4, 1, -5, -5, -5, 8, 8, 9, 7, -9, -9],
        ),
        ("asymmetric", "floor", To::Scales(1.5, 0.7), [4, 3], &[3, -1, 4, 3, -1, 4, 9, 2, -6, -5, 8, 9]),
        ("asymmetric", "ceil", To::Sizes(4, 1), [4, 1], &[3, 9, -5, -5]),
    ];
    for (coordinates, rounding, to, dims, values) in all {
        let values: Vec<_> = values.iter().copied().map(f64::from).collect();
        check(&[(COORDINATES, coordinates), ("nearest_mode", rounding)], to, (dims, &values), &["resize"]);
    }
    // What ONNX had before opset 13.
    let old = [(COORDINATES, "tf_half_pixel_for_nn"), ("nearest_mode", "floor")];
    let columns = [0, 0, 1, 2, 2, 3, 4, 4];
    let expected = Tensor::of(&[4, 8], |i| x().at(&[0, 0, [0, 1, 1, 2][i[0]], columns[i[1]]]));
    check(&old, To::Sizes(4, 8), ([4, 8], &expected.values), &["round: round_prefer_ceil"]);
}

/// Two axes that are named, and the operators from before there were words for conventions.
#[test]
fn operators_of_old_and_of_new() {
    let mut nodes = one("Resize", &["x", "", "", "a"], vec![ints("axes", &[-1, 2]), word("mode", "linear")]);
    let expected = Tensor { dims: vec![1, 1, 4, 1], values: vec![4.0, -2.25, -0.375, 9.0] };
    Case::new(&[&x()], nodes, vec![integers("a", &[1, 4])]).opset(18).makes(&expected, &["to: (4, 1)"]);
    let linear = Tensor { dims: vec![1, 1, 1, 7], values: vec![3.0, 1.0 / 3.0, 2.0 / 3.0, 4.0, 2.0, -1.0, -5.0] };
    let scales = |h: f32, w: f32| vec![floats("a", &[4], &[1.0, 1.0, h, w])];
    nodes = one("Resize", &["x", "a"], vec![word("mode", "linear")]);
    Case::new(&[&x()], nodes, scales(0.5, 1.5)).opset(10).makes(&linear, &["align: asymmetric"]);
    let nearest = Tensor { dims: vec![1, 1, 1, 7], values: vec![3.0, 3.0, -1.0, 4.0, 4.0, 1.0, -5.0] };
    nodes = one("Resize", &["x", "a"], vec![]);
    Case::new(&[&x()], nodes, scales(0.5, 1.5)).opset(10).makes(&nearest, &["resize"]);
    let upsampled = Tensor::of(&[1, 1, 6, 7], |i| x().at(&[0, 0, i[2] / 2, i[3] * 2 / 3]));
    nodes = one("Upsample", &["x", "a"], vec![]);
    Case::new(&[&x()], nodes, scales(2.0, 1.5)).opset(9).makes(&upsampled, &["round: floor"]);
    let rows = Tensor::of(&[1, 1, 6, 7], |i| {
        let row = Tensor { dims: vec![7], values: ROWS[i[2] / 2].to_vec() };
        let next = Tensor { dims: vec![7], values: ROWS[(i[2] / 2 + 1).min(2)].to_vec() };
        if i[2] % 2 == 0 { row.at(&[i[3]]) } else { (row.at(&[i[3]]) + next.at(&[i[3]])) / 2.0 }
    });
    nodes = one("Upsample", &["x", "a"], vec![word("mode", "linear")]);
    Case::new(&[&x()], nodes, scales(2.0, 1.5)).opset(9).makes(&rows, &["mode: linear, align: asymmetric"]);
}

/// The rows of the image at steps of two thirds.
const ROWS: [[f64; 7]; 3] = [
    [3.0, 1.0 / 3.0, 2.0 / 3.0, 4.0, 2.0, -1.0, -5.0],
    [9.0, 13.0 / 3.0, -2.0 / 3.0, -6.0, 4.0 / 3.0, 13.0 / 3.0, 3.0],
    [-5.0, 11.0 / 3.0, 25.0 / 3.0, 9.0, 23.0 / 3.0, 5.0 / 3.0, -9.0],
];
