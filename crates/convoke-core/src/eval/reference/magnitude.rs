//! What the error of an output is measured by.

use super::{
    Position, Tensors, deformable, divisor, each_element, each_product, input_at, pooled, src_index, weight_at,
};
use crate::eval::Element;
use crate::lower::weights::WeightsPacking;
use crate::lower::{TileAxis, winograd_taps, winograd_transforms};
use crate::spec::{Algorithm, LayerSpec, Operation};

/// For every element of `dst`, the magnitude that the error of a kernel is at most a multiple of (see
/// [`error_bound`](super::error_bound)).
///
/// Of a direct sum it is `|bias| +` the sum of `|src * weights|`, where of a deformable layer `|src|` stands for the sum of the magnitudes of the
/// four elements around a tap, times that of its factor; of average pooling the sum of `|src|` over the divisor, of a norm itself,
/// and of what never rounds, the greatest element, 0. Of Winograd's algorithm it is the output's formula with the magnitudes
/// of all factors, those of the matrices too: `|A^T| [(|G| |g|) . (|B^T| |d|)]`. Of `fft` it is `|bias| +` the sum over the input
/// channels of the Euclidean norms of the input's row, or its image with the padding if the window has several rows, times that of the
/// filter: errors of transforms are bounded by norms of blocks, whose elements are some of those, each in at most two.
///
/// # Panics
/// If one of `tensors` is shorter than the layer says.
pub fn magnitudes<T: Element>(
    spec: &LayerSpec,
    algorithm: Algorithm,
    batch: usize,
    tensors: &Tensors<'_, T>,
) -> Vec<f64> {
    let &Tensors { src, weights, bias, .. } = tensors;
    if spec.operation.is_pooling() {
        let positions = (0..batch * spec.dst_image()).map(|index| Position::of(spec, index));
        return positions.map(|at| at.map_or(0.0, |at| mean_magnitude(spec, src, at))).collect();
    }
    let offset = |at: Position| if spec.bias { bias[at.oc].to_f64().abs() } else { 0.0 };
    let positions = (0..batch * spec.dst_image()).map(|index| Position::of(spec, index));
    if algorithm == Algorithm::Fft {
        let norms = Norms::new(spec, batch, src, weights);
        return positions.map(|at| at.map_or(0.0, |at| offset(at) + norms.at(at))).collect();
    }
    let Some(m) = algorithm.winograd() else {
        let sum = |at: Position| {
            let mut sum = offset(at);
            if spec.is_deformable() {
                deformable::each_product(spec, tensors, at, |_, x, w| sum += x * w.to_f64().abs());
                return sum;
            }
            each_product(spec, src, weights, at, |x, w| sum += (x.to_f64() * w.to_f64()).abs());
            sum
        };
        return positions.map(|at| at.map_or(0.0, sum)).collect();
    };
    let sums = Winograd::new(spec, algorithm, m).sums(batch, src, weights);
    let [d, h, w] = spec.spatial.map(|a| a.output);
    let index = |at: Position| (((at.n * spec.out_channels + at.oc) * d + at.at[0]) * h + at.at[1]) * w + at.at[2];
    positions.map(|at| at.map_or(0.0, |at| offset(at) + sums[index(at)])).collect()
}

/// Of pooling.
fn mean_magnitude<T: Element>(spec: &LayerSpec, src: &[T], at: Position) -> f64 {
    match spec.operation {
        Operation::MaxPool | Operation::MaxUnpool => return 0.0,
        Operation::LpPool => return pooled(spec, src, at, |x| x.to_f64()),
        _ => {}
    }
    let mut sum = 0.0;
    each_element(spec, src, at, |x| sum += x.to_f64().abs());
    sum / divisor(spec, at.at) as f64
}

/// Rows along `d`, with the padding, which there is where an image is taken as one row.
fn depths(spec: &LayerSpec) -> usize {
    let d = &spec.spatial[0];
    d.pad_lo + d.input + d.pad_hi
}

/// Euclidean norms of rows and filters.
struct Norms<'a> {
    spec: &'a LayerSpec,
    /// Of each row of `src`, or of each image, in the order `[n][ic][d][h]`.
    rows: Vec<f64>,
    /// How many of them along `h`.
    lines: usize,
    /// Of each filter, in the order `[oc][ic]`.
    filters: Vec<f64>,
}

impl<'a> Norms<'a> {
    fn new<T: Element>(spec: &'a LayerSpec, batch: usize, src: &[T], weights: &[T]) -> Self {
        let [_, h, w] = spec.spatial.map(|a| a.input);
        let norm = |values: &mut dyn Iterator<Item = T>| values.map(|x| x.to_f64().powi(2)).sum::<f64>().sqrt();
        let (image, depths) = (spec.spatial[1].kernel > 1, depths(spec));
        let lines = if image { 1 } else { h };
        let row = |i: usize| {
            let (n, ic, at) = (
                i / lines / depths / spec.in_channels,
                i / lines / depths % spec.in_channels,
                [i / lines % depths, i % lines],
            );
            if !image {
                return norm(&mut (0..w).map(|x| src[src_index(spec, n, ic, [at[0], at[1], x])]));
            }
            let padded = |i: usize| {
                let a = &spec.spatial[i];
                -(a.pad_lo as i64)..(a.input + a.pad_hi) as i64
            };
            let pixels =
                padded(1).flat_map(|y| padded(2).map(move |x| [at[0] as i64 - spec.spatial[0].pad_lo as i64, y, x]));
            norm(&mut pixels.filter_map(|position| input_at(spec, src, n, ic, position)))
        };
        let ic = spec.ic_per_group();
        let window = spec.spatial.map(|a| a.kernel);
        let filter = |i: usize| norm(&mut each(window).map(|tap| weight_at(spec, weights, i / ic, i % ic, tap)));
        Self {
            spec,
            lines,
            rows: (0..batch * spec.in_channels * depths * lines).map(row).collect(),
            filters: (0..spec.out_channels * ic).map(filter).collect(),
        }
    }

    /// Of the sum at an output.
    fn at(&self, at: Position) -> f64 {
        let [d, h, _] = &self.spec.spatial;
        let ic = self.spec.ic_per_group();
        let first = at.oc / self.spec.oc_per_group() * ic;
        let (z, y) = (at.at[0] * d.stride, at.at[1] * h.stride);
        let row = |c: usize| {
            self.rows[((at.n * self.spec.in_channels + first + c) * depths(self.spec) + z) * self.lines
                + y.min(self.lines - 1)]
        };
        // A complex transform holds two blocks, which have some elements in common.
        (0..ic).map(|c| std::f64::consts::SQRT_2 * row(c) * self.filters[at.oc * ic + c]).sum()
    }
}

type Matrix = Vec<Vec<f64>>;

/// Winograd's algorithm with magnitudes for numbers.
struct Winograd<'a> {
    spec: &'a LayerSpec,
    axes: [TileAxis; 3],
    packing: WeightsPacking,
    input: Matrix,
    kernel: Matrix,
    output: Matrix,
}

impl<'a> Winograd<'a> {
    fn new(spec: &'a LayerSpec, algorithm: Algorithm, m: usize) -> Self {
        let transforms = winograd_transforms(m, winograd_taps(spec));
        let magnitude = |row: &[f64]| row.iter().map(|x| x.abs()).collect::<Vec<f64>>();
        Self {
            spec,
            axes: spec.spatial.map(|a| TileAxis::new(&a, m)),
            packing: WeightsPacking::new(spec, algorithm),
            input: transforms.input_matrix.iter().map(|row| magnitude(row)).collect(),
            kernel: transforms.kernel.iter().map(|row| magnitude(row)).collect(),
            output: transforms.output_matrix.iter().map(|row| magnitude(row)).collect(),
        }
    }

    /// `values`, of `sizes`, with `matrix` applied along every axis that is transformed.
    fn transformed(&self, matrix: &Matrix, mut sizes: [usize; 3], mut values: Vec<f64>) -> Vec<f64> {
        for axis in (0..3).filter(|&a| self.axes[a].is_transformed()) {
            let inner: usize = sizes[axis + 1..].iter().product();
            let outer: usize = sizes[..axis].iter().product();
            let mut next = Vec::with_capacity(outer * matrix.len() * inner);
            for o in 0..outer {
                for row in matrix {
                    for i in 0..inner {
                        let line = row.iter().enumerate();
                        next.push(line.map(|(k, c)| c * values[(o * row.len() + k) * inner + i]).sum());
                    }
                }
            }
            sizes[axis] = matrix.len();
            values = next;
        }
        values
    }

    /// The parts of a window.
    fn parts(&self) -> usize {
        self.axes.iter().map(|a| a.parts).product()
    }

    /// The transformed window of each output channel, part and input channel.
    fn windows<T: Element>(&self, weights: &[T]) -> Vec<Vec<f64>> {
        let (parts, ic) = (self.parts(), self.spec.ic_per_group());
        let [_, h, w] = self.spec.spatial.map(|a| a.kernel);
        let window = self.packing.part_window();
        let one = |i: usize| {
            let (oc, part, ic) = (i / ic / parts, i / ic % parts, i % ic);
            let tap = |tap| match self.packing.tap_of_part(part, tap) {
                Some(tap) => {
                    let tap = [tap / w / h, tap / w % h, tap % w];
                    weight_at(self.spec, weights, oc, ic, tap).to_f64().abs()
                }
                None => 0.0,
            };
            let taps = (0..window.iter().product()).map(tap).collect();
            self.transformed(&self.kernel, window, taps)
        };
        (0..self.spec.out_channels * parts * ic).map(one).collect()
    }

    /// The sums, in the order `[n][oc][d][h][w]`.
    fn sums<T: Element>(&self, batch: usize, src: &[T], weights: &[T]) -> Vec<f64> {
        let spec = self.spec;
        let (ic, oc) = (spec.ic_per_group(), spec.out_channels);
        let (parts, windows) = (self.parts(), self.windows(weights));
        let (alpha, m) = (self.axes.map(|a| a.alpha), self.axes.map(|a| a.m));
        let outputs = spec.spatial.map(|a| a.output);
        let mut sums = vec![0.0; batch * oc * outputs.iter().product::<usize>()];
        let tiles = self.axes.map(|a| a.phases * a.tiles);
        for (n, tile) in (0..batch).flat_map(|n| each(tiles).map(move |tile| (n, tile))) {
            let first = [0, 1, 2].map(|a| {
                let axis = &self.axes[a];
                tile[a] / axis.tiles + tile[a] % axis.tiles * axis.advance()
            });
            let inputs: Vec<Vec<f64>> = each(self.axes.map(|a| a.parts))
                .flat_map(|part| (0..spec.in_channels).map(move |channel| (part, channel)))
                .map(|(part, channel)| {
                    let element = |i: [usize; 3]| {
                        let x = input_at(spec, src, n, channel, self.position(first, part, i));
                        x.map_or(0.0, |x| x.to_f64().abs())
                    };
                    self.transformed(&self.input, alpha, each(alpha).map(element).collect())
                })
                .collect();
            for channel in 0..oc {
                let group = channel / spec.oc_per_group() * ic;
                let mut products = vec![0.0; alpha.iter().product()];
                for (part, i) in (0..parts).flat_map(|part| (0..ic).map(move |i| (part, i))) {
                    let window = &windows[(channel * parts + part) * ic + i];
                    let factors = inputs[part * spec.in_channels + group + i].iter().zip(window);
                    products.iter_mut().zip(factors).for_each(|(p, (x, w))| *p += x * w);
                }
                let tile = self.transformed(&self.output, alpha, products);
                for (i, value) in each(m).zip(tile) {
                    let at = [0, 1, 2].map(|a| first[a] + i[a] * self.axes[a].step);
                    if (0..3).all(|a| at[a] < outputs[a]) {
                        let [d, h, w] = at;
                        sums[(((n * oc + channel) * outputs[0] + d) * outputs[1] + h) * outputs[2] + w] = value;
                    }
                }
            }
        }
        sums
    }

    /// Where in the input element `i` of a part of the tile whose first output is `first` lies.
    fn position(&self, first: [usize; 3], part: [usize; 3], i: [usize; 3]) -> [i64; 3] {
        [0, 1, 2].map(|a| {
            let axis = &self.axes[a];
            (first[a] * axis.stride + part[a] + i[a] * axis.input_step) as i64 - axis.pad_lo as i64
        })
    }
}

/// Every index below `sizes`, the last fastest.
fn each(sizes: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [_, h, w] = sizes;
    (0..sizes.iter().product()).map(move |i: usize| [i / w / h, i / w % h, i % w])
}

/// How many roundings lie one behind the other in an output, about: what [`magnitudes`] is multiplied by, in units of roundoff.
pub(super) fn terms(spec: &LayerSpec, algorithm: Algorithm) -> f64 {
    if algorithm == Algorithm::Fft {
        return fft_terms(spec);
    }
    if spec.operation == Operation::LpPool {
        // A root is as many times closer than what it is of; its own steps are few.
        return (spec.taps() + spec.p) as f64 / spec.p as f64 + 4.0;
    }
    // What a moved tap sees is a sum of four products and a product, whose weights are a few roundings off.
    let seeing = if spec.is_deformable() { 12 } else { 0 };
    let Some(m) = algorithm.winograd() else { return (spec.ic_per_group() * spec.taps() + 1 + seeing) as f64 };
    let axes = spec.spatial.map(|a| TileAxis::new(&a, m));
    let transformed = axes.iter().filter(|a| a.is_transformed());
    // A line of a transform is a sum of at most alpha terms with rounded factors, some of them products of two.
    let roundings: usize = transformed.map(|a| 2 * (a.alpha + 4) + 4).sum();
    (spec.ic_per_group() * axes.iter().map(|a| a.parts).product::<usize>() + 1 + roundings) as f64
}

/// A transform of length `2^t` is off by at most `t (1 + 4 (sqrt 2 + 1)) u` of its norm, to the first order and with factors that are rounded
/// once (Higham, section 24.1); there are one before and one after the products. These sum over the phases of a vector, too.
fn fft_terms(spec: &LayerSpec) -> f64 {
    let [_, h, w] = &spec.spatial;
    let most_lanes = 16;
    let row = w.pad_lo + w.input + w.pad_hi;
    let rows = if h.kernel > 1 { (h.pad_lo + h.input + h.pad_hi).saturating_mul(row) } else { 0 };
    let longest = (rows + w.output + w.kernel + most_lanes).max(2 * most_lanes).next_power_of_two();
    let length = f64::from(longest.trailing_zeros());
    2.0 * 11.0 * length + (4 * most_lanes * spec.ic_per_group() + 8) as f64
}
