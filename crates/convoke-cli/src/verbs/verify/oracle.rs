//! What the result has to be, and how far a backend's may be away from it.

use crate::compute::{Output, Tensors, each_output, random_indices, reference, reference_indices};
use crate::random::Random;
use convoke::{Element, Float};
use convoke_core::eval::reference::{Position, output_at, outputs_and_bounds};
use convoke_core::spec::{Algorithm, LayerSpec};

/// Images of a layer whose batch is a name.
pub(super) const NAMED_BATCH: usize = 3;
/// The greatest whole number in the data, either sign.
const MOST: u64 = 4;

/// A layer and its two sets of data.
pub(super) struct Cases<T> {
    pub(super) spec: LayerSpec,
    /// The layer without those steps of its epilogue that round.
    pub(super) exact: LayerSpec,
    pub(super) whole: Tensors<T>,
    pub(super) random: Tensors<T>,
}

impl<T: Float> Cases<T> {
    /// The data depend on the seed and the layer's name alone.
    pub(super) fn new(spec: &LayerSpec, seed: u64) -> Self {
        let batch = spec.fixed_batch().unwrap_or(NAMED_BATCH);
        let mut random = Random::for_name(seed, &spec.name);
        let exact = exact(spec);
        let (src, weights) = (batch * spec.src_image(), spec.weights_len());
        let whole = Tensors {
            batch,
            src: random.wholes(src, MOST),
            weights: random.wholes(weights, MOST),
            bias: random.wholes(exact.bias_len(), MOST),
            residual: Vec::new(),
            // Halves, so that taps are also between elements, where sums are exact all the same.
            offset: random.wholes::<T>(batch * spec.offset_image(), MOST).into_iter().map(halved).collect(),
            mask: random.wholes(batch * spec.mask_image(), MOST),
            indices: random_indices(spec, batch, &mut random),
        };
        let random = Tensors {
            batch,
            src: random.units(src),
            weights: random.units(weights),
            bias: random.units(spec.bias_len()),
            residual: random.units(if spec.has_residual() { batch * spec.dst_image() } else { 0 }),
            offset: random.units(batch * spec.offset_image()),
            mask: random.units(batch * spec.mask_image()),
            indices: random_indices(spec, batch, &mut random),
        };
        Self { spec: spec.clone(), exact, whole, random }
    }
}

fn halved<T: Float>(x: T) -> T {
    T::from_number(x.to_number() / 2.0)
}

/// `spec` without the steps of its epilogue that round.
pub(super) fn exact(spec: &LayerSpec) -> LayerSpec {
    let mut spec = spec.clone();
    spec.then.retain(|step| step.is_exact());
    spec
}

/// What the reference says.
pub(super) struct Truth<T> {
    whole: Vec<T>,
    /// The exact sums of the random numbers, before the epilogue; of unpooling the output.
    sums: Vec<f64>,
}

impl<T: Float> Truth<T> {
    pub(super) fn new(cases: &Cases<T>) -> Self {
        let whole = reference(&cases.exact, &cases.whole).dst;
        if cases.spec.takes_indices() {
            let moved = reference(&cases.spec, &cases.random).dst;
            return Self { whole, sums: moved.into_iter().map(T::to_number).collect() };
        }
        let plain = LayerSpec { then: Vec::new(), ..cases.spec.clone() };
        let lanes = cases.random.lanes();
        let tensors = lanes.as_reference();
        let sum = |position| output_at::<T::Lane, f64>(&plain, &tensors, position);
        Self { whole, sums: each_output(&plain, cases.random.batch, sum) }
    }

    /// Whether `found`, which `algorithm` computed, is exactly the result on whole numbers; if it is not exact, whether it is close
    /// enough.
    pub(super) fn check_whole(&self, cases: &Cases<T>, algorithm: Algorithm, found: &[T]) -> Result<(), String> {
        check_len(self.whole.len(), found.len())?;
        if !cases.spec.is_exact(algorithm) {
            // Where the epilogue does not round, what it makes of the exact sum is what the reference says.
            let plain = LayerSpec { then: Vec::new(), ..cases.exact.clone() };
            let lanes = cases.whole.lanes();
            let tensors = lanes.as_reference();
            let sum = |position| output_at::<T::Lane, f64>(&plain, &tensors, position);
            let sums = each_output(&plain, cases.whole.batch, sum);
            return within(&cases.exact, algorithm, &cases.whole, sums.into_iter(), found, "whole").map(|_| ());
        }
        match self.whole.iter().zip(found).position(|(expected, found)| expected != found) {
            None => Ok(()),
            Some(at) => {
                let (expected, found, place) = (self.whole[at], found[at], place(&cases.spec, at));
                Err(format!("on whole numbers, the output {place} is {found}, and the reference says {expected}"))
            }
        }
    }

    /// Whether `found`, which `algorithm` computed, is close enough to the result on random numbers; the error that comes closest to
    /// its bound, and that bound.
    pub(super) fn check_random(
        &self,
        cases: &Cases<T>,
        algorithm: Algorithm,
        found: &[T],
    ) -> Result<(f64, f64), String> {
        check_len(self.sums.len(), found.len())?;
        within(&cases.spec, algorithm, &cases.random, self.sums.iter().copied(), found, "random")
    }
}

/// Whether `found` is as close to the result as `algorithm` has to come; `sums` are exact. The error that comes closest to its bound,
/// and that bound.
fn within<T: Float>(
    spec: &LayerSpec,
    algorithm: Algorithm,
    tensors: &Tensors<T>,
    sums: impl Iterator<Item = f64>,
    found: &[T],
    numbers: &str,
) -> Result<(f64, f64), String> {
    let lanes = tensors.lanes();
    let given = lanes.as_reference();
    let outputs = outputs_and_bounds::<T::Lane>(spec, algorithm, tensors.batch, &given, sums);
    let mut worst = (0.0, 0.0, 0.0);
    for (at, ((expected, bound), found)) in outputs.into_iter().zip(found).enumerate() {
        let bound = bound + T::rounding(expected.abs() + bound);
        let found = found.to_number();
        let error = (found - expected).abs();
        // A NaN is right where the formula has one, as the logarithm of what is negative, and where anything is.
        let is_nan = found.is_nan() && (expected.is_nan() || bound == f64::INFINITY);
        let within = error <= bound || is_nan;
        if !within {
            let place = place(spec, at);
            return Err(format!(
                "on {numbers} numbers, the output {place} is {found:e}, and the reference says {expected:e}: {error:.2e} away, where {bound:.2e} is allowed"
            ));
        }
        let share = error / bound.max(f64::MIN_POSITIVE);
        if share >= worst.0 {
            worst = (share, error, bound);
        }
    }
    Ok((worst.1, worst.2))
}

/// Whether a layer of integers came out as the reference says.
pub(super) fn check_integers(spec: &LayerSpec, expected: &[i32], found: &[i32]) -> Result<(), String> {
    check_len(expected.len(), found.len())?;
    match expected.iter().zip(found).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(at) => {
            let (expected, found, place) = (expected[at], found[at], place(spec, at));
            Err(format!("the output {place} is {found}, and the reference says {expected}"))
        }
    }
}

/// Whether the maxima are where the reference says.
pub(super) fn check_indices<T: Float>(spec: &LayerSpec, tensors: &Tensors<T>, found: &[i32]) -> Result<(), String> {
    same_indices(spec, &reference_indices(spec, tensors.batch, &tensors.src), found)
}

/// Whether indices are those that are expected.
pub(super) fn same_indices(spec: &LayerSpec, expected: &[i32], found: &[i32]) -> Result<(), String> {
    check_len(expected.len(), found.len())?;
    match expected.iter().zip(found).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(at) => {
            let (expected, found, place) = (expected[at], found[at], place(spec, at));
            Err(format!("the index {place} is {found}, and the reference says {expected}"))
        }
    }
}

fn check_len(expected: usize, found: usize) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("there are {found} outputs, and not {expected}")) }
}

/// Whether two results are the same bits; where they first are not.
pub(super) fn same_bits<T: Float>(spec: &LayerSpec, expected: &Output<T>, found: &Output<T>) -> Result<(), String> {
    same_indices(spec, &expected.indices, &found.indices)?;
    let (expected, found) = (&expected.dst, &found.dst);
    match expected.iter().zip(found).position(|(a, b)| a.to_lane().bits() != b.to_lane().bits()) {
        None => Ok(()),
        Some(at) => {
            let (a, b) = (expected[at], found[at]);
            Err(format!(
                "at {}: {a:e} is {:#x}, {b:e} is {:#x}",
                place(spec, at),
                a.to_lane().bits(),
                b.to_lane().bits(),
                a = a.to_number(),
                b = b.to_number()
            ))
        }
    }
}

/// `[n 0, oc 3, d 0, h 5, w 7]`.
fn place(spec: &LayerSpec, index: usize) -> String {
    let Some(Position { n, oc, at: [d, h, w] }) = Position::of(spec, index) else {
        return format!("[element {index}, past the last channel]");
    };
    format!("[n {n}, oc {oc}, d {d}, h {h}, w {w}]")
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
