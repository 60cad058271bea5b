//! Layers of integers: their tensors, and the ways to compute them.

use crate::compute::{Output, reference_indices};
use crate::random::Random;
use convoke::{IntegerParameters, Kernel, Packed};
use convoke_core::eval::interp::{self, Buffers};
use convoke_core::eval::{from_bytes, reference, to_bytes};
use convoke_core::ir::Role;
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::pipeline::Compiled;
use convoke_core::spec::{LayerSpec, PerChannel, REDUCED, Storage};

/// The tensors of a layer of integers as its user has them.
#[derive(Clone, Debug)]
pub(crate) struct Integers {
    pub(crate) batch: usize,
    pub(crate) src: Vec<i32>,
    pub(crate) weights: Vec<i32>,
    /// Empty if the layer has none.
    pub(crate) bias: Vec<i32>,
    /// Empty unless there is one a channel.
    pub(crate) zero_points: Vec<i32>,
    /// Empty unless there is one a channel.
    pub(crate) scales: Vec<f32>,
}

impl Integers {
    /// Numbers of all that the types hold; `images` where the batch is a name.
    pub(crate) fn random(spec: &LayerSpec, seed: u64, images: usize) -> Self {
        let mut random = Random::for_name(seed, &spec.name);
        let batch = spec.fixed_batch().unwrap_or(images);
        let mut fill = |len: usize, (least, most): (i32, i32)| -> Vec<i32> {
            (0..len).map(|_| random.between(least, most)).collect()
        };
        let (points, scales) = each(spec);
        let (least, most) = spec.weights_storage().range();
        let integers = spec.integers.as_ref();
        // With a reduced range, all weights are near what stands for 0.
        let weights_range = match integers.filter(|integers| integers.reduce_range).map(|i| i.weights_zero_point) {
            None => (least, most),
            Some(PerChannel::One(point)) => (least.max(point - REDUCED), most.min(point + REDUCED - 1)),
            Some(PerChannel::Each) => ((least + most) / 2, (least + most) / 2 + REDUCED - 1),
        };
        let points_range =
            if integers.is_some_and(|i| i.reduce_range) { (weights_range.0, weights_range.0) } else { (least, most) };
        Self {
            batch,
            src: fill(batch * spec.src_image(), spec.src_storage().range()),
            weights: fill(spec.weights_len(), weights_range),
            bias: fill(if spec.bias { spec.out_channels } else { 0 }, (-10_000, 10_000)),
            zero_points: fill(points, points_range),
            scales: fill(scales, (1, 1_000)).into_iter().map(|x| x as f32 / 1e3).collect(),
        }
    }

    pub(crate) fn parameters(&self) -> IntegerParameters<'_, i32> {
        let Self { weights, bias, zero_points, scales, .. } = self;
        IntegerParameters { weights, bias, zero_points, scales }
    }

    /// The input as the kernel reads it.
    pub(crate) fn src_bytes(&self, spec: &LayerSpec) -> Vec<u8> {
        elements_to_bytes(&self.src, spec.src_storage())
    }

    /// Bytes of `dst`.
    pub(crate) fn dst_bytes(&self, spec: &LayerSpec) -> usize {
        self.batch * spec.dst_image() * spec.dst_storage().bytes()
    }

    /// Runs native code.
    pub(crate) fn run_kernel(&self, kernel: &Kernel, threads: usize) -> Result<Output<i32>, String> {
        let packed = self.pack(kernel)?;
        let mut output = self.fresh(kernel.spec());
        self.run(kernel, threads, &packed, &self.src_bytes(kernel.spec()), &mut output)?;
        Ok(elements_of(kernel.spec(), output))
    }

    /// Runs native code, for which `packed` was packed, on the bytes of the input.
    pub(crate) fn run(
        &self,
        kernel: &Kernel,
        threads: usize,
        packed: &Packed<i32>,
        src: &[u8],
        output: &mut Output<u8>,
    ) -> Result<(), String> {
        let Output { dst, indices } = output;
        let ran = match kernel.spec().return_indices {
            true => kernel.run_indices_bytes(threads, packed, src, dst, indices),
            false => kernel.run_bytes(threads, packed, src, dst),
        };
        ran.map_err(|e| e.to_string())
    }

    /// The bytes of the output before anything is written.
    pub(crate) fn fresh(&self, spec: &LayerSpec) -> Output<u8> {
        let Output { indices, .. } = Output::fresh(spec, self.batch, 0_u8);
        Output { dst: vec![0xa5; self.dst_bytes(spec)], indices }
    }

    pub(crate) fn pack(&self, kernel: &Kernel) -> Result<Packed<i32>, String> {
        kernel.pack_integers(&self.parameters()).map_err(|e| e.to_string())
    }

    /// The buffers `weights` and `bias`, packed, as every backend reads them.
    pub(crate) fn packed_bytes(&self, spec: &LayerSpec, lowered: &Compiled) -> [Vec<u8>; 2] {
        let packing = WeightsPacking::of(spec, &lowered.plan, lowered.kernel.lanes());
        let (weights, bias) = self.parameters().pack(spec, &packing);
        [to_bytes(&weights), to_bytes(&bias)]
    }

    /// Runs the interpreter.
    pub(crate) fn interpret(&self, spec: &LayerSpec, lowered: &Compiled) -> Result<Output<i32>, interp::RunError> {
        let [weights, bias] = self.packed_bytes(spec, lowered);
        let mut output = self.fresh(spec);
        self.interpret_packed(spec, lowered, &weights, &bias, &mut output)?;
        Ok(elements_of(spec, output))
    }

    /// [`Integers::interpret`], with the parameters packed already.
    pub(crate) fn interpret_packed(
        &self,
        spec: &LayerSpec,
        lowered: &Compiled,
        weights: &[u8],
        bias: &[u8],
        output: &mut Output<u8>,
    ) -> Result<(), interp::RunError> {
        let [mut scratch, mut local] = [Role::Scratch, Role::Local].map(|role| {
            let buffer = lowered.kernel.buffers.iter().find(|b| b.role == role);
            let bytes = buffer.map_or(0, |b| b.len.eval(&[self.batch as i64]) * b.storage.bytes() as i64);
            vec![0xa5; usize::try_from(bytes).unwrap_or(0)]
        });
        let src = self.src_bytes(spec);
        let (src, scratch, local) = (src.as_slice(), scratch.as_mut_slice(), local.as_mut_slice());
        let (dst, mut indices) = (output.dst.as_mut_slice(), to_bytes(&output.indices));
        let buffers = Buffers { src, weights, bias, dst, indices: &mut indices, scratch, local, ..Buffers::default() };
        interp::run_bytes(&lowered.kernel, self.batch, &mut { buffers })?;
        output.indices.copy_from_slice(&from_bytes(&indices));
        Ok(())
    }

    /// The naive loops.
    pub(crate) fn reference(&self, spec: &LayerSpec) -> Output<i32> {
        let dst = reference::run_integers(spec, self.batch, &self.src, &self.parameters());
        Output { dst, indices: reference_indices(spec, self.batch, &self.src) }
    }
}

/// An output of bytes, in numbers.
pub(crate) fn elements_of(spec: &LayerSpec, output: Output<u8>) -> Output<i32> {
    Output { dst: bytes_to_elements(&output.dst, spec.dst_storage()), indices: output.indices }
}

/// Zero points and scales that are given with the weights.
pub(crate) fn each(spec: &LayerSpec) -> (usize, usize) {
    let Some(integers) = &spec.integers else { return (0, 0) };
    let of = |is: bool| if is { spec.out_channels } else { 0 };
    let scales = integers.output.as_ref().is_some_and(|output| output.weights_scale == PerChannel::Each);
    (of(integers.weights_zero_point == PerChannel::Each), of(scales))
}

pub(crate) fn elements_to_bytes(elements: &[i32], storage: Storage) -> Vec<u8> {
    if storage.is_narrow() { elements.iter().map(|&x| x as u8).collect() } else { to_bytes(elements) }
}

pub(crate) fn bytes_to_elements(bytes: &[u8], storage: Storage) -> Vec<i32> {
    match storage {
        Storage::U8 => bytes.iter().map(|&x| x.into()).collect(),
        Storage::I8 => bytes.iter().map(|&x| (x as i8).into()).collect(),
        _ => from_bytes(bytes),
    }
}
