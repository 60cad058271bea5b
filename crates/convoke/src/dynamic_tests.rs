use super::*;
use crate::{Element, Error, compile, shape};
use convoke_core::spec::{Algorithm, LayerSpec};
use std::sync::Barrier;

#[track_caller]
fn fails<T: fmt::Debug>(result: Result<T, Error>, message: &str) {
    let found = result.unwrap_err().to_string();
    assert!(found.starts_with(message), "{found}");
}

fn dynamic(text: &str, capacity: usize) -> Dynamic {
    Compiler::new().threads(2).dynamic(text.parse().unwrap(), capacity)
}

/// Numbers without a pattern, between -0.5 and 0.5.
fn numbers<T: Element>(len: usize, seed: usize) -> Vec<T> {
    let number = |i: usize| ((i + seed).wrapping_mul(0x9E37_79B9) >> 7) % 1009;
    (0..len).map(|i| T::from_number(number(i) as f64 / 1009.0 - 0.5)).collect()
}

/// `text` with `numbers` written in the place of its names.
fn written(text: &str, numbers: &[(&str, usize)]) -> String {
    numbers.iter().fold(text.to_owned(), |text, (name, number)| text.replace(&format!("${name}"), &number.to_string()))
}

/// Checks that a layer whose names are written `$H` gives for each of `all` the bits that it gives with the numbers in their place.
fn check<T: Element>(text: &str, all: &[&[(&str, usize)]]) {
    let dynamic = dynamic(&text.replace('$', ""), 2);
    let mut weights: Option<Weights<T>> = None;
    for (at, sizes) in all.iter().enumerate() {
        let spec: LayerSpec = written(text, sizes).parse().unwrap();
        let kernel = compile(&spec).unwrap();
        let plain = numbers::<T>(spec.weights_len(), 1);
        let bias = spec.bias.then(|| numbers::<T>(spec.out_channels, 2));
        let rows: Vec<Vec<T>> = spec.channel_steps().map(|_| numbers(spec.out_channels, 3)).collect();
        let rows: Vec<&[T]> = rows.iter().map(Vec::as_slice).collect();
        let packed = kernel.pack_with(&plain, bias.as_deref(), &rows).unwrap();
        let weights = weights.get_or_insert_with(|| dynamic.pack_with(plain, bias.as_deref(), &rows));
        for batch in spec.fixed_batch().map_or(vec![0, 1, 3], |batch| vec![batch]) {
            let elements: usize = shape::src(&spec, batch).iter().product();
            let src = Tensor::new(shape::src(&spec, batch), numbers::<T>(elements, at)).unwrap();
            let expected = kernel.apply(&packed, &src).unwrap();
            let found = dynamic.apply(weights, &src).unwrap();
            assert_eq!(found.shape(), expected.shape(), "{spec}");
            assert!(found == expected, "other numbers at batch size {batch}: {spec}");
            let mut dst = vec![T::default(); expected.data().len()];
            dynamic.run(weights, sizes, src.data(), &mut dst).unwrap();
            assert!(dst == expected.data(), "{spec}");
        }
        assert_eq!(dynamic.kernel(sizes).unwrap().spec(), &spec);
    }
    assert!(dynamic.kept() <= 2);
}

const SQUARES: [&[(&str, usize)]; 5] = [
    &[("H", 5), ("W", 5)],
    &[("H", 5), ("W", 64)],
    &[("H", 33), ("W", 6)],
    &[("W", 17), ("H", 30)],
    &[("H", 5), ("W", 5)],
];

#[test]
fn images_have_the_bits_of_layers_with_their_sizes() {
    for (layer, layout) in [
        (
            "f32[N, 3, $H, $W]",
            "out_channels: 20, kernel_size: 5x3, stride: 2, padding: (1..2, 0), bias: true, then: [scale, prelu]",
        ),
        ("f32[N, $H, $W, 24] @ nhwc", "out_channels: 16, kernel_size: 3, padding: 1, weights: hwio, then: silu"),
        ("f32[2, 24, $H, $W] @ nChw16c", "out_channels: 40, kernel_size: 3, dilation: 2"),
        ("f32[N, 32, $H, $W]", "out_channels: 32, kernel_size: 3, groups: depthwise, padding: same, stride: 2"),
        ("f32[N, 6, $H, $W]", "out_channels: 9, kernel_size: 2, groups: 3, padding: 2, padding_mode: reflect"),
        ("f32[N, 64, $H, $W]", "out_channels: 64, kernel_size: 3, padding: same, accuracy: fast"),
    ] {
        check::<f32>(&format!("conv2d layer {{ input: {layer}, {layout} }}"), &SQUARES);
    }
    check::<f64>(
        "conv2d layer { input: f64[N, 3, $H, $W], out_channels: 10, kernel_size: 3, then: mul(1e300) }",
        &SQUARES,
    );
    let up = "input: f32[N, 8, $H, $W], out_channels: 12, kernel_size: 3x4, stride: 2, padding: 1, bias: true";
    check::<f32>(&format!("conv_transpose2d layer {{ {up} }}"), &SQUARES);
    check::<f32>("max_pool2d layer { input: f32[N, 8, $H, $W], kernel_size: 3, stride: 2, ceil_mode: true }", &SQUARES);
    check::<f32>("avg_pool2d layer { input: f32[N, $H, $W, 8] @ nhwc, kernel_size: global }", &SQUARES);
}

#[test]
fn rows_and_volumes_have_the_bits_of_layers_with_their_sizes() {
    let lengths: [&[(&str, usize)]; 5] = [&[("L", 9)], &[("L", 40)], &[("L", 3000)], &[("L", 257)], &[("L", 9)]];
    check::<f32>("conv1d layer { input: f32[N, 4, $L], out_channels: 6, kernel_size: 9, padding: causal }", &lengths);
    check::<f32>("conv1d layer { input: f32[N, $L, 4] @ nlc, out_channels: 6, kernel_size: 3, dilation: 3 }", &lengths);
    let long = "input: f32[N, 2, $L], out_channels: 3, kernel_size: 129, padding: same, accuracy: fast";
    check::<f32>(&format!("conv1d layer {{ {long} }}"), &lengths);
    let boxes: [&[(&str, usize)]; 3] =
        [&[("D", 3), ("H", 4), ("W", 9)], &[("D", 1), ("H", 12), ("W", 2)], &[("D", 7), ("H", 1), ("W", 1)]];
    check::<f32>("conv3d layer { input: f32[N, 3, $D, $H, $W], out_channels: 5, kernel_size: 3, padding: 1 }", &boxes);
    check::<f32>("conv3d layer { input: f32[N, $D, $H, $W, 4] @ ndhwc, out_channels: 8, kernel_size: 1 }", &boxes);
    let cubes: [&[(&str, usize)]; 3] = [&[("S", 3)], &[("S", 8)], &[("S", 5)]];
    check::<f32>("conv3d layer { input: f32[N, 3, $S, 4, $S], out_channels: 5, kernel_size: 2x3x2 }", &cubes);
    // The batch is one of the sizes.
    check::<f32>("conv1d layer { input: f32[$S, 3, $S], out_channels: 5, kernel_size: 3 }", &cubes);
}

#[test]
fn integers_are_summed_for_any_size() {
    let text = "conv2d layer { input: u8[N, 3, $H, $W], input_zero_point: 7, out_channels: 4, kernel_size: 3, padding: 1, bias: true }";
    let dynamic = dynamic(&text.replace('$', ""), 4);
    let integers = |len: usize, seed: usize| (0..len).map(move |i| ((i + seed) * 7919) >> 3);
    let weights: Vec<i8> = integers(4 * 27, 1).map(|i| i as i8).collect();
    let parameters = IntegerParameters { weights: &weights, bias: &[1, -2, 3, -4], zero_points: &[], scales: &[] };
    let packed = dynamic.pack_integers(&parameters);
    for sizes in SQUARES {
        let kernel = compile(&written(text, sizes).parse().unwrap()).unwrap();
        let src: Vec<u8> = integers(2 * kernel.spec().src_image(), 5).map(|i| i as u8).collect();
        let mut expected = vec![0i32; 2 * kernel.spec().dst_image()];
        kernel.run_integers(&kernel.pack_integers(&parameters).unwrap(), &src, &mut expected).unwrap();
        let mut dst = vec![0i32; expected.len()];
        dynamic.run_integers(&packed, sizes, &src, &mut dst).unwrap();
        assert!(dst == expected, "{sizes:?}");
    }
}

const LAYER: &str = "conv2d layer { input: f32[N, 2, H, W], out_channels: 3, kernel_size: 3, bias: true }";

#[test]
fn as_many_kernels_are_kept_as_were_asked_for() {
    let dynamic = dynamic(LAYER, 2);
    let steps = [(5, 1), (6, 2), (5, 2), (7, 3), (5, 3), (6, 4), (7, 5)];
    for (width, compilations) in steps {
        dynamic.kernel(&[("W", width), ("H", 9)]).unwrap();
        assert_eq!((dynamic.compilations(), dynamic.kept() <= 2), (compilations, true), "at width {width}");
    }
    let held = dynamic.kernel(&[("H", 3), ("W", 3)]).unwrap();
    let again = dynamic.kernel(&[("H", 3), ("W", 3)]).unwrap();
    assert!(Arc::ptr_eq(&held, &again));
    for width in 4..8 {
        dynamic.kernel(&[("H", 3), ("W", width)]).unwrap();
    }
    // What is not kept any more still runs.
    assert_eq!(Arc::strong_count(&held), 2);
    let packed = held.pack(&numbers::<f32>(54, 0), Some(&[1.0; 3])).unwrap();
    held.run(&packed, &[0.0; 18], &mut [0.0; 3]).unwrap();
}

#[test]
fn sizes_that_make_no_layer_change_nothing() {
    let dynamic = dynamic(LAYER, 2);
    let kept = dynamic.kernel(&[("H", 9), ("W", 9)]).unwrap();
    let weights = dynamic.pack(numbers::<f32>(54, 0), Some(&[0.0; 3]));
    let past = "layer layer is not legal with H = 2, W = 9\nerror: the kernel reaches past the padded input";
    fails(dynamic.kernel(&[("H", 2), ("W", 9)]), past);
    fails(dynamic.apply(&weights, &Tensor::zeros([1, 2, 2, 9]).unwrap()), past);
    let zero = "layer layer is not legal with H = 9, W = 0\nerror: width `W` may not be 0";
    fails(dynamic.kernel(&[("H", 9), ("W", 0)]), zero);
    fails(dynamic.apply(&weights, &Tensor::zeros([1, 2, 9, 0]).unwrap()), zero);
    fails(dynamic.kernel(&[("H", 9)]), "layer layer needs a number for `W`");
    fails(dynamic.kernel(&[("H", 9), ("W", 9), ("D", 9)]), "layer layer has no spatial size `D`: they are H, W");
    fails(
        dynamic.kernel(&[("H", 9), ("W", 9), ("W", 9)]),
        "`W` of layer layer is one size, and was given as 9 and as 9",
    );
    let other = Tensor::zeros([1, 3, 8, 8]).unwrap();
    fails(dynamic.apply(&weights, &other), "src is of shape [1, 3, 8, 8], and layer layer takes [N, 2, H, W]");
    let few = "src has 161 elements, which is no multiple of the 162 of one image of layer layer";
    fails(dynamic.run(&weights, &[("H", 9), ("W", 9)], &[0.0; 161], &mut [0.0; 147]), few);
    assert_eq!((dynamic.compilations(), dynamic.kept()), (1, 1));
    assert!(Arc::ptr_eq(&kept, &dynamic.kernel(&[("H", 9), ("W", 9)]).unwrap()));
}

#[test]
fn limits_and_pins_are_those_of_each_size() {
    let limits = crate::Limits { macs: 5000, ..crate::Limits::default() };
    let small = Compiler::new().limits(limits).dynamic(LAYER.parse().unwrap(), 4);
    small.kernel(&[("H", 9), ("W", 9)]).unwrap();
    fails(
        small.kernel(&[("H", 20), ("W", 20)]),
        "layer layer is not legal with H = 20, W = 20\nerror: the work of one image",
    );
    let pinned = dynamic(
        "conv1d layer { input: f32[N, 1, W], out_channels: 1, kernel_size: 3, schedule { algorithm: direct, vector: ow } }",
        4,
    );
    for width in [3, 50] {
        assert_eq!(pinned.kernel(&[("W", width)]).unwrap().plan().algorithm, Algorithm::Direct);
    }
}

#[test]
fn wrong_weights_are_refused_where_they_run() {
    let layer = dynamic(LAYER, 2);
    let src = Tensor::zeros([1, 2, 4, 4]).unwrap();
    let short = layer.pack(numbers::<f32>(53, 0), Some(&[0.0; 3]));
    fails(layer.apply(&short, &src), "weights has 53 elements, and layer layer needs 54");
    assert_eq!(short.kept(), 0);
    let unbiased = layer.pack(numbers::<f32>(54, 0), None);
    fails(layer.apply(&unbiased, &src), "layer layer has a bias of 3 elements, and none was given");
    let wide = layer.pack(numbers::<f64>(54, 0), Some(&[0.0; 3]));
    fails(
        layer.apply(&wide, &Tensor::zeros([1, 2, 4, 4]).unwrap()),
        "layer layer computes in f32, and the data are f64",
    );
    let other = dynamic("conv2d other { input: f32[N, 2, H, W], out_channels: 3, kernel_size: 3, bias: true }", 2);
    let theirs = other.pack(numbers::<f32>(54, 0), Some(&[0.0; 3]));
    fails(layer.apply(&theirs, &src), "the weights were given to layer other, and the text of layer layer is another");
    // The same text is the same layer.
    let twin = dynamic(LAYER, 2).pack(numbers::<f32>(54, 0), Some(&[0.0; 3]));
    layer.apply(&twin, &src).unwrap();
}

#[test]
fn weights_are_packed_once_for_kernels_that_read_them_alike() {
    for text in [
        LAYER,
        "conv_transpose2d up { input: f32[N, 2, H, W], out_channels: 3, kernel_size: 3, stride: 2, bias: true }",
    ] {
        let dynamic = dynamic(&text.replace("bias: true", "bias: true, accuracy: exact"), 8);
        let weights = dynamic.pack(numbers::<f32>(54, 0), Some(&[0.0; 3]));
        let packed = |height: usize| {
            let kernel = dynamic.kernel(&[("H", height), ("W", 40)]).unwrap();
            dynamic.packed(&weights, &kernel).unwrap()
        };
        let first = packed(3);
        for height in [4, 19, 100] {
            assert!(Arc::ptr_eq(&first, &packed(height)), "{text} of height {height}");
        }
        assert_eq!(weights.kept(), 1);
    }
}

#[test]
fn weights_are_packed_again_for_algorithms_that_read_them_otherwise() {
    let dynamic = dynamic(
        "conv1d a { input: f32[N, 2, L], out_channels: 3, kernel_size: 129, padding: same, accuracy: fast }",
        2,
    );
    let weights = dynamic.pack(numbers::<f32>(2 * 3 * 129, 0), None);
    for (length, algorithm, kept) in [(9, Algorithm::Direct, 1), (9000, Algorithm::Fft, 2), (9, Algorithm::Direct, 2)] {
        assert_eq!(dynamic.kernel(&[("L", length)]).unwrap().plan().algorithm, algorithm);
        dynamic.apply(&weights, &Tensor::zeros([1, 2, length]).unwrap()).unwrap();
        assert_eq!(weights.kept(), kept);
    }
}

#[test]
fn threads_share_kernels() {
    const THREADS: usize = 8;
    let dynamic = dynamic(LAYER, 16);
    let weights = dynamic.pack(numbers::<f32>(54, 0), Some(&[0.5; 3]));
    let widths = [3, 9, 17, 32, 64, 100];
    let src = |width: usize| Tensor::new([2, 2, 7, width], numbers::<f32>(28 * width, width)).unwrap();
    let expected: Vec<_> = widths.map(|width| self::dynamic(LAYER, 1).apply(&weights, &src(width)).unwrap()).into();
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (dynamic, weights, src, expected, start) = (&dynamic, &weights, &src, &expected, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..60 {
                    let at = (round + thread / 2) % widths.len();
                    assert!(dynamic.apply(weights, &src(widths[at])).unwrap() == expected[at], "width {}", widths[at]);
                }
            });
        }
    });
    assert_eq!((dynamic.compilations(), dynamic.kept()), (widths.len() as u64, widths.len()));
}

#[test]
fn threads_that_push_each_other_out_compute_the_same() {
    let dynamic = dynamic(LAYER, 1);
    let weights = dynamic.pack(numbers::<f32>(54, 0), Some(&[0.5; 3]));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (dynamic, weights) = (&dynamic, &weights);
            scope.spawn(move || {
                for width in (3..9).chain(3..9).map(|width| width + thread % 2) {
                    let dst = dynamic.apply(weights, &Tensor::zeros([1, 2, 3, width]).unwrap()).unwrap();
                    assert_eq!((dst.shape(), dst.data()), (&[1, 3, 1, width - 2][..], &vec![0.5; 3 * (width - 2)][..]));
                }
            });
        }
    });
    assert_eq!(dynamic.kept(), 1);
}

#[test]
fn residuals_have_the_size_of_the_result() {
    let dynamic = dynamic("conv2d a { input: f32[1, 1, H, W], out_channels: 1, kernel_size: 1, then: residual }", 2);
    let weights = dynamic.pack(vec![2.0f32], None);
    for (h, w) in [(2, 3), (5, 9)] {
        let src = Tensor::from_fn([1, 1, h, w], |i| i as f32).unwrap();
        let residual = Tensor::from_fn([1, 1, h, w], |i| 100.0 - i as f32).unwrap();
        let expected: Vec<f32> = (0..h * w).map(|i| 100.0 + i as f32).collect();
        assert_eq!(dynamic.apply_residual(&weights, &src, &residual).unwrap().data(), expected);
        let mut dst = vec![f32::NAN; h * w];
        dynamic.run_residual(&weights, &[("H", h), ("W", w)], src.data(), residual.data(), &mut dst).unwrap();
        assert_eq!(dst, expected);
        fails(dynamic.apply(&weights, &src), "layer a adds a residual");
    }
}
