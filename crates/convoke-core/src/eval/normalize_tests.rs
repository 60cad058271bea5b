use super::*;
use crate::eval::{Bf16, F16, reference};
use crate::spec::{NetworkSpec, NodeKind};

/// What a network of one norm makes of whole numbers about a mean, against the reference. Channels that fill up a block are no numbers in the input.
#[track_caller]
fn check<T: Float>(input: &str, layer: &str, allowed: f64) {
    let text = format!("network net {{ input: {input}, {layer} }}");
    let net: NetworkSpec = text.parse().expect(&text);
    let NodeKind::Norm(norm) = &net.nodes[0].kind else { panic!("{text}") };
    let shape = &net.values[1].shape;
    let batch = net.fixed_batch().unwrap();
    let mut src = vec![T::from_number(f64::NAN); batch * shape.image()];
    for n in 0..batch {
        for channel in 0..shape.channels {
            for pixel in 0..shape.pixels() {
                let x = (channel * 7 + pixel * 5 + n * 3 + channel * pixel) % 17;
                src[n * shape.image() + shape.index(channel, pixel)] = T::from_number(x as f64 - 4.0);
            }
        }
    }
    let numbers =
        |at: usize| -> Vec<f64> { (0..norm.weights).map(|i| ((i * 5 + at) % 9) as f64 / 4.0 - 1.0).collect() };
    let given = [numbers(0), numbers(3)];
    let lanes = given.each_ref().map(|all| all.iter().map(|&x| T::Lane::from_f64(x)).collect::<Vec<_>>());
    let weights = (norm.weights > 0).then(|| lanes.each_ref().map(Vec::as_slice));
    let made = Normalizer::new(norm, shape);
    let mut dst = vec![T::from_number(77.0); batch * shape.image()];
    let unit = made.unit();
    assert_eq!(dst.len() % unit, 0);
    if made.kept() == 0 {
        // In two pieces, as threads make them.
        let half = dst.len() / unit / 2 * unit;
        made.rows(&src[half..], &mut dst[half..], half / unit, weights);
        made.rows(&src[..half], &mut dst[..half], 0, weights);
    } else {
        for (at, (dst, src)) in dst.chunks_mut(unit).zip(src.chunks(unit)).enumerate() {
            let mut kept = vec![T::Lane::from_f64(f64::NAN); made.kept()];
            for (piece, kept) in kept.chunks_mut(made.piece()).enumerate() {
                made.statistics(src, (at, piece * made.piece() / 2), weights.map(|all| all[0]), kept);
            }
            let half = unit / made.row() / 2 * made.row();
            made.pixels(&src[half..], &mut dst[half..], at, weights.map(|all| all[1]), &kept);
            made.pixels(&src[..half], &mut dst[..half], at, weights.map(|all| all[1]), &kept);
        }
    }
    let src: Vec<f64> = src.iter().map(|x| x.to_number()).collect();
    let expected =
        reference::run_network(
            &net,
            batch,
            &[&src],
            |name| {
                if name.ends_with("weight") { &given[0] } else { &given[1] }
            },
        );
    for (at, (found, expected)) in dst.iter().zip(&expected[0]).enumerate() {
        assert!((found.to_number() - expected).abs() <= allowed, "[{at}] is {found}, and not {expected}\n{text}");
    }
}

#[test]
fn every_layout_and_norm_is_the_reference() {
    let all = ["1, 1, 1, 1", "2, 1, 4, 5", "2, 12, 1, 1", "2, 12, 4, 5", "1, 36, 3, 5", "2, 240, 5, 3", "1, 4, 70, 80"];
    for sizes in all {
        let [n, c, h, w]: [usize; 4] = std::array::from_fn(|at| sizes.split(", ").nth(at).unwrap().parse().unwrap());
        for input in [format!("{sizes}] @ nchw"), format!("{n}, {h}, {w}, {c}] @ nhwc"), format!("{sizes}] @ nChw16c")]
        {
            for fields in ["", "affine: false", "epsilon: 0.5"] {
                let blocked = input.contains("16c");
                check::<f32>(&format!("f32[{input}"), &format!("instance_norm a {{ {fields} }}"), 6e-6);
                for groups in [1, 2, 3, 4, 6, 12, 36].into_iter().filter(|&groups| c % groups == 0) {
                    if !blocked || 16 % (c / groups) == 0 {
                        let layer = format!("group_norm a {{ groups: {groups}, {fields} }}");
                        check::<f32>(&format!("f32[{input}"), &layer, 6e-6);
                    }
                }
                for axis in (1..=3).filter(|_| !blocked) {
                    check::<f32>(&format!("f32[{input}"), &format!("layer_norm a {{ axis: {axis}, {fields} }}"), 6e-6);
                }
            }
        }
    }
}

#[test]
fn every_rank_and_type_is_the_reference() {
    for layer in ["layer_norm a {}", "layer_norm a { axis: 1 }", "group_norm a { groups: 2 }", "instance_norm a {}"] {
        check::<f32>("f32[3, 8]", layer, 4e-6);
        check::<f32>("f32[2, 8, 131]", layer, 4e-6);
        check::<f32>("f32[2, 131, 8] @ nlc", layer, 4e-6);
        check::<f32>("f32[2, 6, 3, 4, 5]", layer, 4e-6);
        check::<f64>("f64[1, 3, 4, 5, 130] @ ndhwc", layer, 1e-13);
        check::<f64>("f64[1, 6, 3, 4, 5]", layer, 1e-13);
        // Rounded once.
        check::<F16>("f16[2, 6, 4, 5]", layer, 4e-3);
        check::<Bf16>("bf16[2, 4, 5, 6] @ nhwc", layer, 3e-2);
    }
    check::<f64>("f64[1, 16, 3, 4, 5] @ nCdhw8c", "group_norm a { groups: 4 }", 1e-13);
}

/// A mean that is a thousand times what elements differ from it, of many elements.
#[test]
fn many_elements_about_a_large_mean_stay_apart() {
    for (input, layer) in [
        ("1, 1, 512, 512]", "instance_norm a { affine: false }"),
        ("1, 512, 512, 1] @ nhwc", "instance_norm a { affine: false }"),
    ] {
        let net: NetworkSpec = format!("network net {{ input: f32[{input}, {layer} }}").parse().unwrap();
        let NodeKind::Norm(norm) = &net.nodes[0].kind else { panic!("{net}") };
        let made = Normalizer::new(norm, &net.values[1].shape);
        let src: Vec<f32> = (0..512 * 512).map(|i| if i % 2 == 0 { 999.0 } else { 1001.0 }).collect();
        let mut dst = vec![0.0; src.len()];
        if made.kept() == 0 {
            made.rows(&src, &mut dst, 0, None);
        } else {
            let mut kept = vec![0.0; made.kept()];
            made.statistics(&src, (0, 0), None, &mut kept);
            made.pixels(&src, &mut dst, 0, None, &kept);
        }
        assert!(dst.iter().all(|x| (x.abs() - 1.0).abs() < 1e-5), "{:?}", &dst[..2]);
    }
}

#[test]
fn roots_are_those_of_numbers_of_any_size() {
    for x in [1.0, 2.0, 1e-5, 3.7e300, f64::MAX, f64::MIN_POSITIVE, 1e-310, 5e-324, 4.0, 0.1] {
        let (found, expected) = (reciprocal_root(x), 1.0 / x.sqrt());
        assert!((found / expected - 1.0).abs() < 4.0 * f64::EPSILON, "{x}: {found} and not {expected}");
    }
    assert_eq!((reciprocal_root(0.0), reciprocal_root(f64::INFINITY)), (f64::INFINITY, 0.0));
    assert!(reciprocal_root(f64::NAN).is_nan());
}
