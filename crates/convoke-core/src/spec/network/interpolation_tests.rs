use super::*;

const ALL: [Sampling; 5] = [
    Sampling::Linear,
    Sampling::Nearest(Rounding::PreferFloor),
    Sampling::Nearest(Rounding::PreferCeil),
    Sampling::Nearest(Rounding::Floor),
    Sampling::Nearest(Rounding::Ceil),
];

fn one(sampling: Sampling, align: Align, size: Scaling) -> Interpolation {
    Interpolation { sampling, align, axes: vec![size] }
}

fn taps(sampling: Sampling, align: Align, size: Scaling) -> Vec<(usize, f64)> {
    one(sampling, align, size).taps(0, DType::F64).map(|tap| (tap.index, tap.weight)).collect()
}

fn sizes(from: usize, to: usize) -> Scaling {
    Scaling { from, to, scale: None }
}

#[test]
fn conventions_say_where_elements_lie() {
    let linear = |align, from, to| taps(Sampling::Linear, align, sizes(from, to));
    let half = [(0, 0.0), (0, 0.25), (0, 0.75), (1, 0.25), (1, 0.75), (2, 0.0)];
    assert_eq!(linear(Align::HalfPixel, 3, 6), half);
    assert_eq!(linear(Align::Symmetric, 3, 6), half);
    assert_eq!(linear(Align::Asymmetric, 3, 6), [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (2, 0.0), (2, 0.0)]);
    assert_eq!(linear(Align::Corners, 3, 5), [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (2, 0.0)]);
    // Fewer, one, and of one.
    assert_eq!(linear(Align::HalfPixel, 8, 2), [(1, 0.5), (5, 0.5)]);
    assert_eq!(linear(Align::HalfPixel, 4, 1), [(1, 0.5)]);
    assert_eq!(linear(Align::Corners, 4, 1), [(0, 0.0)]);
    assert_eq!(linear(Align::Corners, 1, 3), [(0, 0.0); 3]);
    // PyTorch: interpolate(torch.arange(5.), scale_factor=1.3, mode="linear") has 6 elements, at (x + 0.5) / 1.3 - 0.5.
    let size = Scaling::scaled(5, 1.3).unwrap();
    assert_eq!((size.to, size.uneven()), (6, Some(1.3)));
    let third = taps(Sampling::Linear, Align::HalfPixel, size)[2];
    assert_eq!(third, (1, 2.5 / 1.3 - 0.5 - 1.0));
    // The middles of 5 and of 6 elements, 6.5 of which would lie on 5.
    let middle = taps(Sampling::Linear, Align::Symmetric, size);
    assert_eq!(middle[0].0, 0);
    assert!((middle[0].1 - (2.5 - 3.0 / 1.3 + 0.5 / 1.3 - 0.5)).abs() < 1e-15);
}

#[test]
fn the_nearest_of_two_is_the_one_that_is_asked_for() {
    let nearest = |rounding, align, from, to| -> Vec<usize> {
        taps(Sampling::Nearest(rounding), align, sizes(from, to)).iter().map(|tap| tap.0).collect()
    };
    // At -1/6, 0.5, 7/6, 11/6, 2.5 and 19/6.
    assert_eq!(nearest(Rounding::PreferFloor, Align::HalfPixel, 4, 6), [0, 0, 1, 2, 2, 3]);
    assert_eq!(nearest(Rounding::PreferCeil, Align::HalfPixel, 4, 6), [0, 1, 1, 2, 3, 3]);
    assert_eq!(nearest(Rounding::Floor, Align::HalfPixel, 4, 6), [0, 0, 1, 1, 2, 3]);
    assert_eq!(nearest(Rounding::Ceil, Align::HalfPixel, 4, 6), [0, 1, 2, 2, 3, 3]);
    assert_eq!(nearest(Rounding::Floor, Align::Asymmetric, 4, 6), [0, 0, 1, 2, 2, 3]);
    assert_eq!(nearest(Rounding::Floor, Align::Corners, 4, 6), [0, 0, 1, 1, 2, 3]);
    assert_eq!(nearest(Rounding::Floor, Align::Asymmetric, 7, 3), [0, 2, 4]);
    // A quotient of whole numbers is exact: 10 / (20 / 6) is 3.
    assert_eq!(nearest(Rounding::Floor, Align::Asymmetric, 6, 20)[10], 3);
}

#[test]
fn scales_make_the_sizes_that_onnx_runtime_counts() {
    for (from, scale, to, uneven) in [
        (10, 0.7, 7, false),
        (3, 1.0 / 3.0, 1, false),
        (3, 1.666_666_6, 5, false),
        (7, 1.5, 10, true),
        (7, 0.5, 3, true),
        (5, 2.0, 10, false),
    ] {
        let size = Scaling::scaled(from, scale).unwrap();
        assert_eq!((size.to, size.uneven().is_some()), (to, uneven), "{from} * {scale}");
    }
    for scale in [0.0, -1.0, 0.1, f64::NAN, f64::INFINITY, 1e300] {
        assert_eq!(Scaling::scaled(3, scale), None, "{scale}");
    }
}

/// What is said of the sizes alone is what the table says.
#[test]
fn repetitions_are_told_from_the_sizes() {
    let uneven = [(5, 1.3), (4, 1.1), (9, 0.6)].map(|(from, scale)| Scaling::scaled(from, scale).unwrap());
    let plain = (1..=6).flat_map(|from| (1..=20).map(move |to| sizes(from, to)));
    for size in plain.chain(uneven) {
        for (sampling, (_, align)) in ALL.into_iter().flat_map(|sampling| ALIGNS.map(|align| (sampling, align))) {
            let found = one(sampling, align, size).repeats();
            let factor = size.to / size.from;
            let table = taps(sampling, align, size);
            let is_repetition =
                factor * size.from == size.to && table.iter().enumerate().all(|(x, &tap)| tap == (x / factor, 0.0));
            // Of few elements that lie on corners, and of an uneven scale, it may be one too.
            let is_told = found.is_some() || align == Align::Corners || size.uneven().is_some();
            assert!(if is_repetition { is_told } else { found.is_none() }, "{sampling:?} {align:?} {size:?} {table:?}");
            assert!(found.is_none_or(|found| found == [factor]));
            let ends = table.iter().map(|tap| tap.0 + usize::from(tap.1 > 0.0)).max();
            assert!(ends < Some(size.from) && table.is_sorted_by_key(|tap| tap.0), "{table:?}");
        }
    }
}

/// However near an element the place of another is, in `f32` it is no more than one behind.
#[test]
fn weights_are_below_one() {
    let one = one(Sampling::Linear, Align::Asymmetric, Scaling::scaled(21, 1.300_000_000_1).unwrap());
    let tap = |dtype| one.taps(0, dtype).nth(13).unwrap();
    assert_eq!(tap(DType::F32), Tap { index: 10, weight: 0.0 });
    let Tap { index, weight } = tap(DType::F64);
    assert!(index == 9 && weight > 0.999_999 && weight < 1.0, "{weight}");
}
