use super::*;
use crate::eval::{Bf16, F16, reference};
use crate::spec::{NetworkSpec, NodeKind};

/// What a network of one `resize` makes of whole numbers, against the reference. Channels that fill up a block are no numbers in the input.
#[track_caller]
fn check<T: Float>(input: &str, fields: &str, allowed: f64) {
    let text = format!("network net {{ input: {input}, resize a {{ {fields} }} }}");
    let net: NetworkSpec = text.parse().expect(&text);
    let NodeKind::Interpolate(one) = &net.nodes[0].kind else { panic!("{text}") };
    let (from, to) = (&net.values[0].shape, &net.values[1].shape);
    let batch = net.fixed_batch().unwrap();
    let mut src = vec![T::from_number(f64::NAN); batch * from.image()];
    for (at, channel, pixel) in places(batch, from) {
        src[at] = T::from_number(((channel * 7 + pixel * 5 + at / from.image() * 3) % 17) as f64 - 8.0);
    }
    let made = Interpolator::new(one, to);
    let mut dst = vec![T::from_number(77.0); batch * to.image()];
    assert_eq!((made.rows() * made.row(), dst.len() % made.row()), (to.image(), 0));
    // Rows in two pieces, as threads make them.
    let half = dst.len() / made.row() / 2;
    let (first, second) = dst.split_at_mut(half * made.row());
    made.run(&src, second, half);
    made.run(&src, first, 0);
    let lanes: Vec<f64> = src.iter().map(|x| x.to_number()).collect();
    let expected = reference::run_network(&net, batch, &[&lanes], |_| &[]);
    for (at, (found, expected)) in dst.iter().zip(&expected[0]).enumerate() {
        assert!((found.to_number() - expected).abs() <= allowed, "[{at}] is {found}, and not {expected}\n{text}");
    }
}

/// Where the elements of all images are, with their channels and pixels.
fn places(batch: usize, shape: &TensorShape) -> Vec<(usize, usize, usize)> {
    let all = (0..batch).flat_map(|n| (0..shape.channels).map(move |channel| (n, channel)));
    let all = all.flat_map(|(n, channel)| (0..shape.pixels()).map(move |pixel| (n, channel, pixel)));
    all.map(|(n, channel, pixel)| (n * shape.image() + shape.index(channel, pixel), channel, pixel)).collect()
}

const CONVENTIONS: [&str; 4] = ["half_pixel", "half_pixel_symmetric", "corners", "asymmetric"];

#[test]
fn every_layout_and_convention_is_the_reference() {
    for layout in ["2, 19, 4, 5] @ nchw", "2, 4, 5, 19] @ nhwc", "2, 19, 4, 5] @ nChw16c", "2, 32, 4, 5] @ nChw16c"] {
        for sizes in ["to: (7, 11)", "to: (3, 2)", "to: (4, 11)", "to: (9, 5)", "to: (1, 1)", "scale: (1.6, 0.7)"] {
            for align in CONVENTIONS {
                check::<f32>(&format!("f32[{layout}"), &format!("{sizes}, mode: linear, align: {align}"), 4e-6);
                for round in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] {
                    check::<f32>(&format!("f32[{layout}"), &format!("{sizes}, align: {align}, round: {round}"), 0.0);
                }
            }
        }
    }
}

#[test]
fn every_rank_and_type_is_the_reference() {
    for align in CONVENTIONS {
        let linear = |sizes: &str| format!("{sizes}, mode: linear, align: {align}");
        check::<f32>("f32[2, 3, 9]", &linear("to: 20"), 4e-6);
        check::<f32>("f32[2, 9, 3] @ nlc", &linear("to: 4"), 4e-6);
        for sizes in ["to: (5, 7, 3)", "to: (2, 7, 5)", "to: (3, 4, 9)", "to: (6, 4, 5)", "scale: (1.7, 1.3, 1.1)"] {
            check::<f32>("f32[2, 3, 3, 4, 5]", &linear(sizes), 4e-6);
            check::<f32>("f32[1, 3, 4, 5, 130] @ ndhwc", &linear(sizes), 4e-6);
            check::<f64>("f64[1, 9, 3, 4, 5] @ nCdhw8c", &linear(sizes), 1e-14);
        }
        // Rounded once.
        check::<F16>("f16[2, 3, 4, 5]", &linear("to: (7, 11)"), 4e-3);
        check::<Bf16>("bf16[2, 4, 5, 3] @ nhwc", &linear("to: (7, 11)"), 4e-2);
    }
    check::<F16>("f16[2, 3, 4, 5]", "to: (7, 11)", 0.0);
}

/// Rows that are longer than what lies ready, of the input or of what is made, and columns far apart.
#[test]
fn long_rows_are_made_in_pieces() {
    for (from, to) in [(1300, 2600), (700, 5000), (3000, 400), (2000, 1999), (5000, 7)] {
        for fields in ["mode: linear", "mode: linear, align: corners", "align: asymmetric, round: ceil"] {
            check::<f64>(&format!("f64[1, 2, 2, {from}]"), &format!("to: (3, {to}), {fields}"), 1e-10);
        }
    }
}

/// What is taken alone is what it was, whatever lies beside it.
#[test]
fn elements_that_are_met_stay_as_they_are() {
    let net: NetworkSpec =
        "network net { input: f32[1, 1, 1, 3], resize a { to: (1, 5), mode: linear, align: corners } }"
            .parse()
            .unwrap();
    let NodeKind::Interpolate(one) = &net.nodes[0].kind else { panic!("{net}") };
    let mut dst = [0.0; 5];
    Interpolator::new(one, &net.values[1].shape).run(&[1.0, f32::INFINITY, 2.0], &mut dst, 0);
    assert_eq!(dst, [1.0, f32::INFINITY, f32::INFINITY, f32::INFINITY, 2.0]);
    let equal = [f32::NEG_INFINITY; 3];
    Interpolator::new(one, &net.values[1].shape).run(&equal, &mut dst, 0);
    assert_eq!(dst, [f32::NEG_INFINITY; 5]);
}
