//! The ways to compute a layer, behind functions of one shape: plain weights in, output out.

use crate::failure::Failure;
use crate::random::Random;
use crate::source::Selected;
use convoke::{Compiler, Element, Float, Kernel, Packed};
use convoke_core::back::rust::suited;
use convoke_core::eval::interp::{self, Buffers};
use convoke_core::eval::reference::{self, Position};
use convoke_core::eval::{Stored, from_bytes, to_bytes};
use convoke_core::ir::Role;
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::pipeline::{self, Compiled};
use convoke_core::plan;
use convoke_core::spec::{LayerSpec, Limits, Schedule};
use convoke_core::target::Target;
use rayon::prelude::*;

/// A layer's tensors as its user has them.
#[derive(Clone, Debug)]
pub(crate) struct Tensors<T> {
    pub(crate) batch: usize,
    pub(crate) src: Vec<T>,
    pub(crate) weights: Vec<T>,
    /// The bias, if the layer has one, and the numbers of channels for the epilogue.
    pub(crate) bias: Vec<T>,
    /// What the epilogue adds, if it does.
    pub(crate) residual: Vec<T>,
    /// How far taps are moved, and their factors, if the layer is deformable.
    pub(crate) offset: Vec<T>,
    pub(crate) mask: Vec<T>,
    /// Where unpooling puts each element.
    pub(crate) indices: Vec<i32>,
}

/// What a layer gives.
#[derive(Clone, Debug)]
pub(crate) struct Output<T> {
    pub(crate) dst: Vec<T>,
    /// Where maxima are; empty where the layer does not say.
    pub(crate) indices: Vec<i32>,
}

impl<T: Copy> Output<T> {
    /// Of `batch` images, before anything is written.
    pub(crate) fn fresh(spec: &LayerSpec, batch: usize, element: T) -> Self {
        let len = batch * spec.dst_image();
        Self { dst: vec![element; len], indices: vec![-1; if spec.return_indices { len } else { 0 }] }
    }
}

impl<T: Element> Tensors<T> {
    /// As the reference takes them.
    pub(crate) fn as_reference(&self) -> reference::Tensors<'_, T> {
        let Self { src, weights, bias, residual, offset, mask, .. } = self;
        reference::Tensors { src, weights, bias, residual, offset, mask }
    }
}

impl<T: Float> Tensors<T> {
    /// The same numbers as lanes hold them.
    pub(crate) fn lanes(&self) -> Tensors<T::Lane> {
        let lanes = |elements: &[T]| elements.iter().map(|x| x.to_lane()).collect();
        let all = [&self.src, &self.weights, &self.bias, &self.residual, &self.offset, &self.mask];
        let [src, weights, bias, residual, offset, mask] = all.map(|t| lanes(t));
        Tensors { batch: self.batch, src, weights, bias, residual, offset, mask, indices: self.indices.clone() }
    }

    /// Runs `kernel`, for which `packed` was packed.
    pub(crate) fn run(
        &self,
        kernel: &Kernel,
        threads: usize,
        packed: &Packed<T>,
        output: &mut Output<T>,
    ) -> Result<(), String> {
        let (spec, Output { dst, indices }) = (kernel.spec(), output);
        let ran = match spec.has_residual() {
            _ if spec.is_deformable() => {
                let mask = spec.mask.then_some(&self.mask[..]);
                kernel.run_deformable_threads(threads, packed, &self.src, &self.offset, mask, dst)
            }
            _ if spec.takes_indices() => kernel.run_unpool_threads(threads, packed, &self.src, &self.indices, dst),
            _ if spec.return_indices => kernel.run_indices_threads(threads, packed, &self.src, dst, indices),
            true => kernel.run_residual_threads(threads, packed, &self.src, &self.residual, dst),
            false => kernel.run_threads(threads, packed, &self.src, dst),
        };
        ran.map_err(|e| e.to_string())
    }

    /// Packs what belongs to the layer and not to its input.
    pub(crate) fn pack(&self, kernel: &Kernel) -> Result<Packed<T>, String> {
        let spec = kernel.spec();
        let (bias, channels) = self.bias.split_at(if spec.bias { spec.out_channels } else { 0 });
        let channels: Vec<&[T]> = channels.chunks_exact(spec.out_channels).collect();
        kernel.pack_with(&self.weights, spec.bias.then_some(bias), &channels).map_err(|e| e.to_string())
    }
}

/// Plans, lowers and verifies `spec`, which is the layer or made from it.
pub(crate) fn lower_layer(layer: Selected<'_>, spec: &LayerSpec, target: &Target) -> Result<Compiled, Failure> {
    pipeline::compile(spec, target, &Limits::default()).map_err(|e| layer.refuse(e.into()))
}

/// As [`lower_layer`], for the emitted Rust: on a target as its compiler serves it, which leaves fewer registers. Pins that hold on
/// `target` but not there are left out, but for the algorithm, as `conv!` leaves them out.
pub(crate) fn lower_for_rust(layer: Selected<'_>, spec: &LayerSpec, target: &Target) -> Result<Compiled, Failure> {
    let fewer = suited(target);
    if plan::choose(spec, &fewer).is_err() && plan::choose(spec, target).is_ok() {
        let schedule = Schedule { algorithm: spec.schedule.algorithm, ..Schedule::default() };
        return lower_layer(layer, &LayerSpec { schedule, ..spec.clone() }, &fewer);
    }
    lower_layer(layer, spec, &fewer)
}

/// Native code for `spec`, which is the layer or made from it.
pub(crate) fn compile(layer: Selected<'_>, spec: &LayerSpec, compiler: &Compiler) -> Result<Kernel, Failure> {
    compiler.compile(spec).map_err(|e| match e {
        convoke::Error::Compile { source, .. } => layer.refuse(source.into()),
        e => Failure::layer(&layer.name(), e),
    })
}

/// Runs native code.
pub(crate) fn run_kernel<T: Float>(kernel: &Kernel, threads: usize, tensors: &Tensors<T>) -> Result<Output<T>, String> {
    let packed = tensors.pack(kernel)?;
    let mut output = Output::fresh(kernel.spec(), tensors.batch, T::default());
    tensors.run(kernel, threads, &packed, &mut output)?;
    Ok(output)
}

/// Packs weights as every backend reads them.
pub(crate) fn pack<T: Float>(spec: &LayerSpec, lowered: &Compiled, weights: &[T]) -> Vec<T::Lane> {
    let packing = WeightsPacking::of(spec, &lowered.plan, lowered.kernel.lanes());
    let mut packed = vec![T::Lane::default(); packing.packed_len()];
    packing.pack(weights, &mut packed);
    packed
}

/// Runs the interpreter. What no one writes stays NaN.
pub(crate) fn interpret<T: Float>(
    spec: &LayerSpec,
    lowered: &Compiled,
    tensors: &Tensors<T>,
) -> Result<Output<T>, interp::RunError> {
    let weights = pack(spec, lowered, &tensors.weights);
    let mut output = Output::fresh(spec, tensors.batch, T::from_number(f64::NAN));
    interpret_packed(lowered, tensors, &weights, &mut output)?;
    Ok(output)
}

/// [`interpret`], with the weights packed already.
pub(crate) fn interpret_packed<T: Float>(
    lowered: &Compiled,
    tensors: &Tensors<T>,
    weights: &[T::Lane],
    output: &mut Output<T>,
) -> Result<(), interp::RunError> {
    let Output { dst, indices } = output;
    let batch = tensors.batch as i64;
    let [mut scratch, mut local] = [Role::Scratch, Role::Local].map(|role| {
        let len = lowered.kernel.buffers.iter().find(|b| b.role == role).map_or(0, |b| b.len.eval(&[batch]));
        vec![T::Lane::from_f64(f64::NAN); usize::try_from(len).unwrap_or(0)]
    });
    let lanes = tensors.lanes();
    if lowered.kernel.is_uniform() {
        let Tensors { src, bias, residual, offset, mask, .. } = &lanes;
        let mut found: Vec<T::Lane> = dst.iter().map(|x| x.to_lane()).collect();
        let (scratch, local) = (&mut scratch, &mut local);
        let dst_lanes = &mut found;
        let mut buffers = Buffers {
            src,
            weights,
            bias,
            residual,
            offset,
            mask,
            dst: dst_lanes,
            scratch,
            local,
            ..Buffers::default()
        };
        interp::run(&lowered.kernel, tensors.batch, &mut buffers)?;
        dst.iter_mut().zip(found).for_each(|(slot, lane)| *slot = T::from_lane(lane));
        return Ok(());
    }
    let (src, residual, mut found) = (to_bytes(&tensors.src), to_bytes(&tensors.residual), to_bytes(dst));
    let [weights, bias, mut scratch, mut local] = [weights, &lanes.bias, &scratch, &local].map(to_bytes);
    let (src, residual, weights, bias) = (&src[..], &residual[..], &weights[..], &bias[..]);
    let (scratch, local) = (&mut scratch[..], &mut local[..]);
    let (positions, mut found_indices) = (to_bytes(&tensors.indices), to_bytes(indices));
    let mut buffers = Buffers {
        src,
        weights,
        bias,
        residual,
        positions: &positions,
        dst: &mut found,
        indices: &mut found_indices,
        scratch,
        local,
        ..Buffers::default()
    };
    interp::run_bytes(&lowered.kernel, tensors.batch, &mut buffers)?;
    dst.copy_from_slice(&from_bytes(&found));
    indices.copy_from_slice(&from_bytes(&found_indices));
    Ok(())
}

/// The naive loops, summed in `f64`, with the outputs divided among all cores.
pub(crate) fn reference<T: Float>(spec: &LayerSpec, tensors: &Tensors<T>) -> Output<T> {
    if spec.takes_indices() {
        let dst = reference::run_unpool(spec, tensors.batch, &tensors.src, &tensors.indices);
        return Output { dst, indices: Vec::new() };
    }
    let lanes = tensors.lanes();
    let given = lanes.as_reference();
    let mut values = each_output(spec, tensors.batch, |at| reference::output_at::<T::Lane, f64>(spec, &given, at));
    reference::softmax(spec, tensors.batch, &mut values);
    Output {
        dst: values.into_iter().map(T::from_number).collect(),
        indices: reference_indices(spec, tensors.batch, &tensors.src),
    }
}

/// Any places, for unpooling of so many images.
pub(crate) fn random_indices(spec: &LayerSpec, batch: usize, random: &mut Random) -> Vec<i32> {
    let last = spec.indexed_plane() as i32 - 1;
    let len = if spec.takes_indices() { batch * spec.src_image() } else { 0 };
    (0..len).map(|_| random.between(0, last)).collect()
}

/// Where the maxima are of a layer that says so.
pub(crate) fn reference_indices<T: Stored>(spec: &LayerSpec, batch: usize, src: &[T]) -> Vec<i32> {
    if spec.return_indices { reference::run_indices(spec, batch, src) } else { Vec::new() }
}

/// `f` of every output, in the order of `dst`; zero for what fills up the last block of channels.
pub(crate) fn each_output<R: Send + Default>(
    spec: &LayerSpec,
    batch: usize,
    f: impl Fn(Position) -> R + Sync,
) -> Vec<R> {
    let at = |index| Position::of(spec, index).map_or_else(R::default, &f);
    (0..batch * spec.dst_image()).into_par_iter().map(at).collect()
}
