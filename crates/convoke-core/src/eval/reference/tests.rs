use super::{Position, Tensors, epilogue, erf, erfc, error_bound, magnitudes, output_at, run};
use crate::spec::{
    Accuracy, Algorithm, Batch, DType, Divisor, Epilogue, LayerSpec, Layout, Operation, PaddingMode, Schedule,
    SpatialAxis, WeightsLayout,
};

fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, (pad_lo, pad_hi): (usize, usize)) -> SpatialAxis {
    let output = (pad_lo + input + pad_hi - dilation * (kernel - 1) - 1) / stride + 1;
    SpatialAxis { input, output, kernel, stride, dilation, pad_lo, pad_hi }
}

fn layer(in_channels: usize, out_channels: usize, spatial: [SpatialAxis; 3]) -> LayerSpec {
    LayerSpec {
        name: "layer".to_owned(),
        operation: Operation::Convolution,
        rank: 3,
        dtype: DType::F64,
        half: None,
        integers: None,
        complex: false,
        batch: Batch::Fixed(1),
        in_channels,
        out_channels,
        groups: 1,
        offset_groups: 1,
        mask: false,
        layout: Layout::ChannelsFirst,
        weights_layout: WeightsLayout::Oihw,
        spatial,
        padding_mode: PaddingMode::Zeros,
        divisor: Divisor::Padded,
        adaptive: false,
        p: 2,
        return_indices: false,
        bias: false,
        then: Vec::new(),
        accuracy: Accuracy::default(),
        schedule: Schedule::default(),
    }
}

fn row(ic: usize, oc: usize, w: SpatialAxis) -> LayerSpec {
    layer(ic, oc, [SpatialAxis::UNIT, SpatialAxis::UNIT, w])
}

fn check(spec: &LayerSpec, src: &[f64], weights: &[f64], bias: &[f64], expect: &[f64]) {
    let batch = src.len() / spec.src_image();
    let tensors = Tensors { src, weights, bias, ..Tensors::default() };
    assert_eq!(run::<f64, f64>(spec, batch, &tensors), expect);
}

const COUNT: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];

#[test]
fn rows_by_hand() {
    let one = |w| row(1, 1, w);
    check(&one(axis(5, 1, 1, 1, (0, 0))), &COUNT, &[1.0], &[], &COUNT);
    check(&one(axis(5, 3, 1, 1, (1, 1))), &COUNT, &[1.0, 10.0, 100.0], &[], &[210.0, 321.0, 432.0, 543.0, 54.0]);
    // A tap to the left shifts to the right.
    check(&one(axis(5, 3, 1, 1, (2, 0))), &COUNT, &[1.0, 0.0, 0.0], &[], &[0.0, 0.0, 1.0, 2.0, 3.0]);
    check(&one(axis(5, 2, 2, 1, (1, 0))), &COUNT, &[1.0, 10.0], &[], &[10.0, 32.0, 54.0]);
    check(&one(axis(5, 3, 1, 2, (0, 0))), &COUNT, &[1.0, 10.0, 100.0], &[], &[531.0]);
    // More padding than kernel.
    check(&one(axis(1, 2, 1, 1, (3, 2))), &[7.0], &[1.0, 10.0], &[], &[0.0, 0.0, 70.0, 7.0, 0.0]);
}

#[test]
fn an_impulse_gives_the_window_reversed() {
    let spec = row(1, 1, axis(5, 3, 1, 1, (1, 1)));
    check(&spec, &[0.0, 0.0, 1.0, 0.0, 0.0], &[2.0, 3.0, 5.0], &[], &[0.0, 5.0, 3.0, 2.0, 0.0]);
}

#[test]
fn channels_groups_and_bias() {
    let mut spec = row(2, 2, axis(2, 1, 1, 1, (0, 0)));
    let src = [1.0, 2.0, 10.0, 20.0];
    check(&spec, &src, &[1.0, 2.0, 3.0, 4.0], &[], &[21.0, 42.0, 43.0, 86.0]);
    spec.weights_layout = WeightsLayout::Hwio;
    check(&spec, &src, &[1.0, 3.0, 2.0, 4.0], &[], &[21.0, 42.0, 43.0, 86.0]);
    spec.layout = Layout::ChannelsLast;
    check(&spec, &[1.0, 10.0, 2.0, 20.0], &[1.0, 3.0, 2.0, 4.0], &[], &[21.0, 43.0, 42.0, 86.0]);
    spec.bias = true;
    check(&spec, &[1.0, 10.0, 2.0, 20.0], &[1.0, 3.0, 2.0, 4.0], &[0.5, -1.0], &[21.5, 42.0, 42.5, 85.0]);
    spec.groups = 2;
    spec.layout = Layout::ChannelsFirst;
    check(&spec, &src, &[3.0, 4.0], &[0.0, 100.0], &[3.0, 6.0, 140.0, 180.0]);
}

#[test]
fn two_images_are_computed_apart() {
    let spec = row(1, 1, axis(2, 2, 1, 1, (1, 0)));
    check(&spec, &[1.0, 2.0, 3.0, 4.0], &[1.0, 10.0], &[], &[10.0, 21.0, 30.0, 43.0]);
    check(&spec, &[], &[1.0, 10.0], &[], &[]);
}

#[test]
fn a_plane_by_hand_and_every_axis_alike() {
    let w = axis(3, 2, 1, 1, (0, 0));
    let plane = layer(1, 1, [SpatialAxis::UNIT, w, w]);
    let src: Vec<f64> = (1..10).map(f64::from).collect();
    check(&plane, &src, &[1.0, 10.0, 100.0, 1000.0], &[], &[5421.0, 6532.0, 8754.0, 9865.0]);
    // One axis computes the same wherever it is.
    let w = axis(5, 3, 2, 1, (1, 1));
    let expect = [210.0, 432.0, 54.0];
    for i in 0..3 {
        let mut spatial = [SpatialAxis::UNIT; 3];
        spatial[i] = w;
        check(&layer(1, 1, spatial), &COUNT, &[1.0, 10.0, 100.0], &[], &expect);
    }
}

#[test]
fn magnitudes_add_up_and_bound_the_error() {
    let mut spec = row(1, 1, axis(3, 3, 1, 1, (0, 0)));
    spec.bias = true;
    let (src, weights, bias) = ([1.0_f32, -2.0, 3.0], [2.0_f32, 3.0, -1.0], [-4.0_f32]);
    let tensors = Tensors { src: &src, weights: &weights, bias: &bias, ..Tensors::default() };
    let at = Position::of(&spec, 0).expect("the first output is one");
    assert_eq!(output_at::<f32, f64>(&spec, &tensors, at), -11.0);
    assert_eq!(magnitudes(&spec, Algorithm::Direct, 1, &tensors)[0], 15.0);
    let u = f64::from(f32::EPSILON) / 2.0;
    let bound = error_bound::<f32>(&spec, Algorithm::Direct, [].into_iter(), -11.0, 15.0);
    assert!(bound > 4.0 * u * 15.0 && bound < 6.0 * u * 15.0, "{bound:e}");
}

#[test]
fn f32_sums_stay_within_the_bound_and_a_wrong_one_does_not() {
    let spec = row(1, 1, axis(500, 500, 1, 1, (0, 0)));
    let noise = |seed: u32| -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..500).map(next).collect()
    };
    let (src, weights) = (noise(1), noise(2));
    let at = Position::of(&spec, 0).expect("the first output is one");
    let tensors = Tensors { src: &src, weights: &weights, ..Tensors::default() };
    let exact: f64 = output_at(&spec, &tensors, at);
    let single: f32 = output_at(&spec, &tensors, at);
    let magnitude = magnitudes(&spec, Algorithm::Direct, 1, &tensors)[0];
    let bound = error_bound::<f32>(&spec, Algorithm::Direct, [].into_iter(), exact, magnitude);
    assert!((f64::from(single) - exact).abs() <= bound);
    let mut other = src.clone();
    other[17] += 0.05;
    let wrong: f64 = output_at(&spec, &Tensors { src: &other, ..tensors }, at);
    assert!((wrong - exact).abs() > bound, "{bound:e}");
}

#[test]
fn epilogues() {
    let check = |step: Epilogue, x: f64, expect: f64| {
        let got = epilogue(step, x);
        let is_near = got == expect || (got - expect).abs() <= 1e-15 * expect.abs().max(1e-3);
        assert!(is_near, "{step:?} of {x} is {got}, not {expect}");
    };
    check(Epilogue::Relu, -2.0, 0.0);
    check(Epilogue::Relu6, 7.0, 6.0);
    check(Epilogue::LeakyRelu { slope: 0.1 }, -2.0, -0.2);
    check(Epilogue::Clamp { lo: -1.0, hi: 2.0 }, -3.0, -1.0);
    check(Epilogue::Sigmoid, 0.0, 0.5);
    check(Epilogue::Sigmoid, 1.0, 0.731_058_578_630_004_9);
    check(Epilogue::Tanh, 1.0, 0.761_594_155_955_764_9);
    check(Epilogue::Silu, 1.0, 0.731_058_578_630_004_9);
    check(Epilogue::HardSwish, 1.0, 4.0 / 6.0);
    check(Epilogue::HardSwish, -4.0, 0.0);
    check(Epilogue::Gelu, 1.0, 0.841_344_746_068_542_9);
    check(Epilogue::Gelu, -1.0, -0.158_655_253_931_457_05);
    check(Epilogue::GeluTanh, 1.0, 0.841_191_990_608_276_8);
    check(Epilogue::Elu { alpha: 0.5 }, -1.0, -0.316_060_279_414_278_83);
    check(Epilogue::Elu { alpha: 0.5 }, 3.0, 3.0);
    check(Epilogue::Selu, -1.0, -1.111_330_737_812_562_8);
    check(Epilogue::Selu, 2.0, 2.101_401_974_710_961);
    check(Epilogue::Celu { alpha: 2.0 }, -1.0, -0.786_938_680_574_733_2);
    check(Epilogue::Softplus, 1.0, 1.313_261_687_518_222_8);
    check(Epilogue::Softplus, 20.5, 20.5);
    check(Epilogue::Softsign, -3.0, -0.75);
    check(Epilogue::LogSigmoid, 1.0, -0.313_261_687_518_222_8);
    check(Epilogue::HardSigmoid, 1.0, 4.0 / 6.0);
    check(Epilogue::Mish, 1.0, 0.865_098_388_267_310_2);
    check(Epilogue::Mish, -1.0, -0.303_401_461_374_108_95);
    check(Epilogue::Abs, -2.0, 2.0);
    check(Epilogue::Neg, -2.0, 2.0);
    check(Epilogue::Add { constant: -0.5 }, 2.0, 1.5);
    check(Epilogue::Mul { factor: -0.5 }, 2.0, -1.0);
    check(Epilogue::Log, 1.0, 0.0);
    check(Epilogue::Log, 2.0, std::f64::consts::LN_2);
    check(Epilogue::Log, 0.0, f64::NEG_INFINITY);
    check(Epilogue::ReciprocalNoNan, -4.0, -0.25);
    check(Epilogue::ReciprocalNoNan, 0.0, 0.0);
    let all = [
        Epilogue::Relu,
        Epilogue::Relu6,
        Epilogue::Sigmoid,
        Epilogue::Tanh,
        Epilogue::Silu,
        Epilogue::HardSwish,
        Epilogue::Gelu,
        Epilogue::GeluTanh,
        Epilogue::Elu { alpha: 1.0 },
        Epilogue::Selu,
        Epilogue::Celu { alpha: 1.0 },
        Epilogue::Softplus,
        Epilogue::Softsign,
        Epilogue::LogSigmoid,
        Epilogue::HardSigmoid,
        Epilogue::Mish,
        Epilogue::Abs,
        Epilogue::Neg,
        Epilogue::Add { constant: 1.0 },
        Epilogue::Mul { factor: 2.0 },
        Epilogue::Log,
        Epilogue::ReciprocalNoNan,
    ];
    assert!(all.iter().all(|&step| epilogue(step, f64::NAN).is_nan()));
    assert!(epilogue(Epilogue::Relu, -0.0).is_sign_negative());
}

#[test]
fn error_function() {
    // Abramowitz and Stegun, table 7.1, and well-known values of erfc.
    let erf_values = [
        (0.1, 0.112_462_916_018_284_9),
        (0.5, 0.520_499_877_813_046_5),
        (1.0, 0.842_700_792_949_714_9),
        (1.9, 0.992_790_429_235_257_5),
        (2.0, 0.995_322_265_018_952_7),
        (3.0, 0.999_977_909_503_001_4),
    ];
    for (x, expect) in erf_values {
        assert!((erf(x) - expect).abs() <= 4.0 * f64::EPSILON, "erf({x}) = {}", erf(x));
        assert_eq!(erf(-x), -erf(x));
    }
    for (x, expect) in
        [(1.0, 0.157_299_207_050_285_13), (2.0, 4.677_734_981_047_266e-3), (5.0, 1.537_459_794_428_035e-12)]
    {
        assert!((erfc(x) / expect - 1.0).abs() <= 1e-14, "erfc({x}) = {}", erfc(x));
    }
    assert!((erfc(-1.0) - 1.842_700_792_949_715).abs() <= 4.0 * f64::EPSILON);
    assert_eq!(erfc(40.0), 0.0);
    assert_eq!(erf(f64::INFINITY), 1.0);
    assert!(erf(f64::NAN).is_nan() && erfc(f64::NAN).is_nan());
    // The two ways agree where they meet.
    for x in [1.0, 1.2, 1.5, 1.9999, 2.0001] {
        assert!((erf(x) + erfc(x) - 1.0).abs() <= 4.0 * f64::EPSILON, "{x}");
    }
}

/// `[1, 2, 3]` spread by a stride of 2 through taps 1, 10, 100, by hand.
#[test]
fn a_transposed_row_is_spread_over_its_output() {
    let transposed = |(pad_lo, pad_hi): (usize, usize), output| {
        let w = SpatialAxis { input: 3, output, kernel: 3, stride: 2, dilation: 1, pad_lo, pad_hi };
        LayerSpec { operation: Operation::Transposed, weights_layout: WeightsLayout::Iohw, ..row(1, 1, w) }
    };
    let (src, weights) = (&COUNT[..3], &[1.0, 10.0, 100.0]);
    check(&transposed((0, 0), 7), src, weights, &[], &[1.0, 10.0, 102.0, 20.0, 203.0, 30.0, 300.0]);
    check(&transposed((1, 2), 4), src, weights, &[], &[10.0, 102.0, 20.0, 203.0]);
    // With output_padding 1.
    check(&transposed((0, 0), 8), src, weights, &[], &[1.0, 10.0, 102.0, 20.0, 203.0, 30.0, 300.0, 0.0]);
}

/// Two inputs to one output of each of two groups: the weights' first axis counts all inputs.
#[test]
fn groups_of_a_transposed_layer_have_weights_of_their_own() {
    let w = SpatialAxis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_lo: 0, pad_hi: 0 };
    let spec = LayerSpec { operation: Operation::Transposed, groups: 2, ..row(4, 2, w) };
    for weights_layout in [WeightsLayout::Iohw, WeightsLayout::Hwoi] {
        let spec = LayerSpec { weights_layout, ..spec.clone() };
        check(&spec, &COUNT[..4], &[1.0, 10.0, 100.0, 1000.0], &[], &[21.0, 4300.0]);
    }
}

fn pooled(operation: Operation, divisor: Divisor, w: SpatialAxis, src: &[f64], expect: &[f64]) {
    let spec = LayerSpec { operation, divisor, ..row(1, 1, w) };
    let found = run::<f64, f64>(&spec, 1, &Tensors { src, ..Tensors::default() });
    assert!(found.iter().zip(expect).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{found:?}, and not {expect:?}");
    assert_eq!(found.len(), expect.len());
}

/// What PyTorch's `MaxPool1d` and `AvgPool1d` give.
#[test]
fn pooling_by_hand() {
    use Operation::{AvgPool, MaxPool};
    let window = |pads| axis(5, 3, 2, 1, pads);
    pooled(MaxPool, Divisor::Padded, window((1, 1)), &COUNT.map(|x| -x), &[-1.0, -2.0, -4.0]);
    pooled(AvgPool, Divisor::Padded, window((1, 1)), &COUNT, &[1.0, 3.0, 3.0]);
    pooled(AvgPool, Divisor::Inside, window((1, 1)), &COUNT, &[1.5, 3.0, 4.5]);
    pooled(AvgPool, Divisor::Number(2), window((1, 1)), &COUNT, &[1.5, 4.5, 4.5]);
    // With `ceil_mode` the last window reaches past the padding, where nothing counts.
    let further = SpatialAxis { output: 3, ..axis(6, 3, 2, 1, (0, 0)) };
    let six = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    pooled(AvgPool, Divisor::Padded, further, &six, &[2.0, 4.0, 5.5]);
    let further = SpatialAxis { output: 3, ..axis(5, 4, 2, 1, (1, 1)) };
    pooled(AvgPool, Divisor::Padded, further, &COUNT, &[1.5, 3.5, 3.0]);
    pooled(AvgPool, Divisor::Inside, further, &COUNT, &[2.0, 3.5, 4.5]);
    pooled(MaxPool, Divisor::Padded, further, &COUNT, &[3.0, 5.0, 5.0]);
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let special = [-inf, -inf, nan, inf, -inf];
    pooled(MaxPool, Divisor::Padded, axis(5, 2, 1, 1, (0, 0)), &special, &[-inf, nan, nan, inf]);
}

/// What PyTorch's `AdaptiveAvgPool1d` and `AdaptiveMaxPool1d` give.
#[test]
fn inputs_are_shared_out() {
    let shared = |operation, output, expect: &[f64]| {
        let spec = LayerSpec { operation, adaptive: true, ..row(1, 1, SpatialAxis::adaptive(5, output)) };
        assert_eq!(run::<f64, f64>(&spec, 1, &Tensors { src: &COUNT, ..Tensors::default() }), expect);
    };
    shared(Operation::AvgPool, 2, &[2.0, 4.0]);
    shared(Operation::AvgPool, 3, &[1.5, 3.0, 4.5]);
    shared(Operation::MaxPool, 4, &[2.0, 3.0, 4.0, 5.0]);
    shared(Operation::AvgPool, 7, &[1.0, 1.5, 2.5, 3.0, 3.5, 4.5, 5.0]);
}

/// What ONNX's `LpPool` gives.
#[test]
fn norms_by_hand() {
    let norms = |p, src: &[f64], expect: &[f64]| {
        let spec = LayerSpec { operation: Operation::LpPool, p, ..row(1, 1, axis(5, 3, 2, 1, (1, 1))) };
        assert_eq!(run::<f64, f64>(&spec, 1, &Tensors { src, ..Tensors::default() }), expect);
    };
    norms(1, &[-1.0, 2.0, 3.0, -4.0, 5.0], &[3.0, 9.0, 9.0]);
    norms(2, &[-3.0, 4.0, -4.0, 2.0, 0.0], &[5.0, 6.0, 2.0]);
    norms(3, &[-3.0, 0.0, -3.0, -4.0, -5.0], &[3.0, 91.0_f64.cbrt(), 189.0_f64.cbrt()]);
    norms(4, &[-3.0, 0.0, 0.0, 0.0, -2.0], &[3.0, 0.0, 2.0]);
}

#[test]
fn a_residual_is_taken_where_the_output_is() {
    for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
        let mut spec = LayerSpec { batch: Batch::Fixed(2), layout, ..row(1, 2, axis(2, 1, 1, 1, (0, 0))) };
        spec.then = vec![Epilogue::Mul { factor: 1.0 }, Epilogue::Residual];
        let residual: Vec<f64> = (1..=8).map(|i| f64::from(i) * 100.0).collect();
        let tensors =
            Tensors { src: &[1.0, 3.0, 5.0, 7.0], weights: &[1.0, 2.0], residual: &residual, ..Tensors::default() };
        let sums = run::<f64, f64>(&LayerSpec { then: Vec::new(), ..spec.clone() }, 2, &tensors);
        let added: Vec<f64> = sums.iter().zip(&residual).map(|(sum, x)| sum + x).collect();
        assert_eq!(run::<f64, f64>(&spec, 2, &tensors), added);
    }
}

fn deformable(text: &str) -> LayerSpec {
    text.parse().unwrap()
}

/// ONNX's test `basic_deform_conv_without_padding`.
#[test]
fn moved_taps_are_between_elements() {
    let spec = deformable("deform_conv2d a { input: f32[1, 1, 3, 3], out_channels: 1, kernel_size: 2 }");
    let src: Vec<f32> = (0..9).map(|i| i as f32).collect();
    let mut offset = [0.0_f32; 32];
    (offset[0], offset[5 * 4 + 1]) = (0.5, -0.1);
    let tensors = Tensors { src: &src, weights: &[1.0; 4], offset: &offset, ..Tensors::default() };
    let found = run::<f32, f32>(&spec, 1, &tensors);
    assert!(found.iter().zip([9.5, 11.9, 20.0, 24.0]).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
    let mask: Vec<f32> = (0..16).map(|i| if i / 4 == 3 { 2.0 } else { 0.0 }).collect();
    let spec = deformable("deform_conv2d a { input: f32[1, 1, 3, 3], out_channels: 1, kernel_size: 2, mask: true }");
    assert_eq!(run::<f32, f32>(&spec, 1, &Tensors { mask: &mask, ..tensors }), [8.0, 10.0, 14.0, 16.0]);
}

#[test]
fn taps_that_are_moved_out_of_the_image_see_what_there_is() {
    let spec =
        deformable("deform_conv2d a { input: f32[1, 2, 1, 2], out_channels: 1, kernel_size: 1, offset_groups: 2 }");
    let see = |offset: [f32; 8]| {
        let tensors =
            Tensors { src: &[1.0, 2.0, 10.0, 20.0], weights: &[1.0; 2], offset: &offset, ..Tensors::default() };
        run::<f32, f32>(&spec, 1, &tensors)
    };
    assert_eq!(see([0.0; 8]), [11.0, 22.0]);
    // Of each set the offsets along the height of both outputs, then along the width.
    assert_eq!(see([0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0]), [12.0, 21.0]);
    assert_eq!(see([0.0, 0.0, 0.0, 0.0, 0.5, -0.5, -0.5, 0.5]), [1.0 + 2.5, 2.0 + 5.0]);
    assert_eq!(see([-1.0, 1.0, 0.0, 0.0, -1e9, 0.0, 0.0, f32::INFINITY]), [0.0; 2]);
    let found = see([f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert!(found[0].is_nan() && found[1] == 22.0);
}
