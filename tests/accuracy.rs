//! The errors of whatever a layer's `accuracy` allows by default, as multiples of the error of the direct sum on the same data.
//!
//! Both are compared with a sum in f64, in the Euclidean norm of the whole output. `docs/accuracy.md` says what the multiples
//! may be for which data. What fails is printed as a `.conv` text.

use convoke_core::eval::reference::{self, Tensors};
use convoke_core::ir::Role;
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::pipeline::{self, Compiled};
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::{Accuracy, Algorithm, LayerSpec, Limits};
use convoke_jit::{Buffers, Program, Serial, native_target};

/// What the errors of these layers may be above the documented multiples: their outputs are few, so the figures scatter.
const SLACK: f64 = 1.1;

/// Input channels of one, two and three axes. The fewest of each are about the fewest for which an algorithm is allowed.
const CHANNELS: [&[usize]; 3] = [&[2, 4, 13, 48, 160], &[3, 8, 32, 70], &[4, 8, 19]];

/// Windows, with the axes that are transformed.
const WINDOWS: [(&str, usize); 9] = [
    ("3", 1),
    ("7", 1),
    ("3x3", 2),
    ("1x3", 2),
    ("2x2", 2),
    ("5x5", 2),
    ("7x7, stride: 2", 2),
    ("3x3, stride: 2", 2),
    ("3x3x3", 3),
];

#[test]
fn normal_numbers_keep_to_the_default() {
    each_layer(Data::Normal, 4.0);
}

#[test]
fn large_means_of_inputs_keep_to_the_default() {
    each_layer(Data::Inputs, 4.0);
    each_layer(Data::Both, 4.0);
}

#[test]
fn numbers_after_relu_may_have_five_quarters_of_it() {
    each_layer(Data::Rectified, 5.0);
}

#[test]
fn large_means_of_weights_may_have_twice_as_much() {
    each_layer(Data::Weights, 8.0);
}

#[test]
fn mixed_magnitudes_of_pixels_keep_to_the_default_in_the_norm() {
    each_layer(Data::ScaledPixels, 4.0);
}

/// Of few channels, one is then about all that counts.
#[test]
fn mixed_magnitudes_of_channels_may_have_five_quarters_of_it() {
    each_layer(Data::ScaledChannels, 5.0);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Data {
    /// N(0, 1), as everything that is not said to be otherwise.
    Normal,
    /// Inputs max(N(0, 1), 0).
    Rectified,
    /// Inputs N(100, 1).
    Inputs,
    /// Weights N(100, 1).
    Weights,
    /// Inputs N(100, 1), weights N(1, 1).
    Both,
    /// Each input channel times 10^U(-3, 3).
    ScaledChannels,
    /// Each input pixel times 10^U(-3, 3).
    ScaledPixels,
}

/// Checks the layers with every algorithm that they allow, and with the one that they choose.
fn each_layer(data: Data, most: f64) {
    let mut numbers = Numbers(0x5eed);
    let mut checked = 0;
    for (window, rank) in WINDOWS {
        for &channels in CHANNELS[rank - 1] {
            let spec = layer(window, rank, channels, &mut numbers);
            let case = Case::new(&spec, data, &mut numbers);
            let direct = LayerSpec { accuracy: Accuracy::Exact, ..spec.clone() };
            let (_, unit) = case.error(&direct).expect("direct sums take every layer");
            let winograd = Algorithm::ALL.iter().copied().filter(|a| a.winograd().is_some());
            for pin in [None].into_iter().chain(winograd.map(Some)) {
                let mut spec = spec.clone();
                spec.schedule.algorithm = pin.map(|algorithm| Spanned::new(algorithm, Span::default()));
                let Some((algorithm, error)) = case.error(&spec) else { continue };
                checked += usize::from(!algorithm.is_exact());
                let times = error / unit;
                assert!(
                    times <= most * SLACK,
                    "{algorithm} is off by {error:e}, which is {times:.2} times the {unit:e} of the direct sum, of {data:?}:\n{spec}"
                );
            }
        }
    }
    assert!(checked > 20, "only {checked} were allowed");
}

fn layer(window: &str, rank: usize, channels: usize, numbers: &mut Numbers) -> LayerSpec {
    let (layout, least) = [("nlc", 90), ("nhwc", 14), ("ndhwc", 8)][rank - 1];
    let sizes: String = (0..rank).map(|_| format!("{}, ", least + numbers.below(5))).collect();
    let outputs = 12 + numbers.below(9);
    let text = format!(
        "conv{rank}d x {{ input: f32[1, {sizes}{channels}] @ {layout}, out_channels: {outputs}, kernel_size: {window}, padding: same }}"
    );
    text.parse().expect("a legal layer")
}

/// A layer's data, and its output in f64.
struct Case {
    src: Vec<f32>,
    weights: Vec<f32>,
    exact: Vec<f64>,
}

impl Case {
    fn new(spec: &LayerSpec, data: Data, numbers: &mut Numbers) -> Self {
        let [mut src, mut weights] = [spec.src_image(), spec.weights_len()].map(|len| numbers.normal(len));
        match data {
            Data::Normal => {}
            Data::Rectified => src.iter_mut().for_each(|x| *x = x.max(0.0)),
            Data::Inputs => src.iter_mut().for_each(|x| *x += 100.0),
            Data::Weights => weights.iter_mut().for_each(|w| *w += 100.0),
            Data::Both => {
                src.iter_mut().for_each(|x| *x += 100.0);
                weights.iter_mut().for_each(|w| *w += 1.0);
            }
            Data::ScaledChannels => {
                let scales: Vec<f64> = (0..spec.in_channels).map(|_| numbers.scale()).collect();
                src.iter_mut().zip(scales.iter().cycle()).for_each(|(x, scale)| *x *= scale);
            }
            Data::ScaledPixels => src.chunks_mut(spec.in_channels).for_each(|pixel| {
                let scale = numbers.scale();
                pixel.iter_mut().for_each(|x| *x *= scale);
            }),
        }
        let [src, weights] = [src, weights].map(|all| all.into_iter().map(|x| x as f32).collect::<Vec<f32>>());
        let tensors = Tensors { src: &src, weights: &weights, ..Tensors::default() };
        let at = |index| reference::Position::of(spec, index).expect("nhwc has no blocks to fill up");
        let exact = (0..spec.dst_image()).map(|i| reference::output_at::<f32, f64>(spec, &tensors, at(i)));
        let exact = exact.collect();
        Self { src, weights, exact }
    }

    /// The algorithm that `spec` chooses and its relative error; `None` if it allows none.
    fn error(&self, spec: &LayerSpec) -> Option<(Algorithm, f64)> {
        let Compiled { plan, kernel } = pipeline::compile(spec, &native_target(), &Limits::default()).ok()?;
        let packing = WeightsPacking::new(spec, plan.algorithm);
        let mut packed = vec![0.0; packing.packed_len()];
        packing.pack(&self.weights, &mut packed);
        let program = Program::compile(&kernel).expect("what is verified compiles");
        let mut dst = vec![f32::NAN; self.exact.len()];
        let mut scratch = vec![f32::NAN; program.len(Role::Scratch, 1) as usize];
        let mut local = vec![f32::NAN; program.local_len(1) as usize];
        let buffers = Buffers {
            src: &self.src,
            weights: &packed,
            dst: &mut dst,
            scratch: &mut scratch,
            local: &mut local,
            ..Buffers::default()
        };
        program.run(1, buffers, &Serial).expect("the buffers fit");
        let square = |x: f64| x * x;
        let off: f64 = dst.iter().zip(&self.exact).map(|(&y, exact)| square(f64::from(y) - exact)).sum();
        let size: f64 = self.exact.iter().copied().map(square).sum();
        Some((plan.algorithm, (off / size).sqrt()))
    }
}

/// Random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    /// Between 0 and 1, neither included.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 32) as f64 + 0.5) / f64::from(1 << 16).powi(2)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.uniform() * end as f64) as usize
    }

    /// 10^U(-3, 3).
    fn scale(&mut self) -> f64 {
        10.0_f64.powf(6.0 * self.uniform() - 3.0)
    }

    /// N(0, 1), by Box and Muller.
    fn normal(&mut self, len: usize) -> Vec<f64> {
        let one = |_| (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos();
        (0..len).map(one).collect()
    }
}
