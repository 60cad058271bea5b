//! A compiled layer: weights are packed once, batches are run many times.

use std::sync::{Arc, Mutex, PoisonError};

use convoke_core::eval::{Float, Stored};
use convoke_core::ir::{Role, Verified};
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::plan::Plan;
use convoke_core::spec::{LayerSpec, Storage};
use convoke_core::target::Target;
use convoke_jit::{Buffers, Executor, Program, Serial};

use crate::error::Error;
use crate::memory::{as_bytes, as_bytes_mut};
use crate::shape;
use crate::tensor::Tensor;
use crate::threads::Pools;
use crate::workspace::Workspace;

mod deformable;
mod packed;
mod tensors;

pub use packed::Packed;
pub(crate) use tensors::Tensors;

/// Native code for one layer. It owns the code, and any number of threads may run it at the same time.
#[derive(Debug)]
pub struct Kernel {
    spec: LayerSpec,
    plan: Plan,
    target: Target,
    ir: Verified,
    program: Program,
    packing: WeightsPacking,
    threads: usize,
    pools: Arc<Pools>,
    /// Scratch and local buffers of runs that have ended.
    idle: Mutex<Vec<Workspace>>,
}

/// Cycles, as they are estimated, that are worth waking another thread for.
pub(crate) const CYCLES_TO_WAKE: f64 = 32768.0;
/// Cycles that are worth sharing with a thread that is awake.
const CYCLES_TO_SHARE: f64 = 8192.0;

impl Kernel {
    pub(crate) fn new(
        spec: LayerSpec,
        plan: Plan,
        target: Target,
        ir: Verified,
        program: Program,
        threads: usize,
        pools: Arc<Pools>,
    ) -> Self {
        let packing = WeightsPacking::of(&spec, &plan, ir.lanes());
        Self { spec, plan, target, ir, program, packing, threads, pools, idle: Mutex::default() }
    }

    /// The layer.
    pub fn spec(&self) -> &LayerSpec {
        &self.spec
    }

    /// How it is computed, and why.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What it was planned for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The code before it became machine code; the interpreter runs the same.
    pub fn ir(&self) -> &Verified {
        &self.ir
    }

    /// The order in which it reads weights.
    pub(crate) fn packing(&self) -> &WeightsPacking {
        &self.packing
    }

    /// The kernel's name, like `direct_f32_sse_oc8x6`.
    pub fn name(&self) -> &str {
        self.program.name()
    }

    /// Bytes of machine code.
    pub fn code_bytes(&self) -> usize {
        self.program.code_bytes()
    }

    /// On how many threads [`Kernel::run`] runs.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The same kernel on `threads` threads; 0 counts as 1. A layer too small to be worth it runs on one all the same,
    /// and the result never depends on the number.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Computes `dst` from `src`, both in the layer's layout. Where the batch size is a name, `src` says how many images.
    ///
    /// # Errors
    /// If a length or the element type is not the layer's, if `packed` is another layer's, or if there is no memory for
    /// scratch. `dst` is unchanged then.
    pub fn run<T: Float>(&self, packed: &Packed<T>, src: &[T], dst: &mut [T]) -> Result<(), Error> {
        self.run_threads(self.threads, packed, src, dst)
    }

    /// As [`Kernel::run`], on `threads` threads.
    ///
    /// # Errors
    /// As [`Kernel::run`], and if the threads cannot be started.
    pub fn run_threads<T: Float>(
        &self,
        threads: usize,
        packed: &Packed<T>,
        src: &[T],
        dst: &mut [T],
    ) -> Result<(), Error> {
        self.check_dtype::<T>()?;
        self.run_idle(threads, packed, self.tensors(src, dst)?)
    }

    /// As [`Kernel::run`], for a layer whose epilogue has the step `residual`, which adds a tensor of the shape of `dst`.
    ///
    /// ```
    /// # use convoke::compile;
    /// let kernel = compile(&"conv1d block { input: f32[1, 1, 4], out_channels: 1, kernel_size: 2, then: [residual, relu] }".parse()?)?;
    /// let packed = kernel.pack(&[1.0f32, 1.0], None)?;
    /// let mut dst = [0.0f32; 3];
    /// kernel.run_residual(&packed, &[1.0, 2.0, 3.0, 4.0], &[0.5, -9.0, 0.0], &mut dst)?;
    /// assert_eq!(dst, [3.5, 0.0, 7.0]);
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Kernel::run`], and if the epilogue has no such step.
    pub fn run_residual<T: Float>(
        &self,
        packed: &Packed<T>,
        src: &[T],
        residual: &[T],
        dst: &mut [T],
    ) -> Result<(), Error> {
        self.run_residual_threads(self.threads, packed, src, residual, dst)
    }

    /// As [`Kernel::run_residual`], on `threads` threads.
    ///
    /// # Errors
    /// As [`Kernel::run_residual`], and if the threads cannot be started.
    pub fn run_residual_threads<T: Float>(
        &self,
        threads: usize,
        packed: &Packed<T>,
        src: &[T],
        residual: &[T],
        dst: &mut [T],
    ) -> Result<(), Error> {
        self.check_dtype::<T>()?;
        let tensors = Tensors { residual: Some(as_bytes(residual)), ..self.tensors(src, dst)? };
        self.run_idle(threads, packed, tensors)
    }

    /// As [`Kernel::run`], of a layer of integers: `S` is the type of `src`, and `D` that of `dst`.
    ///
    /// # Errors
    /// As [`Kernel::run`].
    pub fn run_integers<S: Stored, D: Stored>(
        &self,
        packed: &Packed<i32>,
        src: &[S],
        dst: &mut [D],
    ) -> Result<(), Error> {
        self.run_integers_threads(self.threads, packed, src, dst)
    }

    /// As [`Kernel::run_integers`], on `threads` threads.
    ///
    /// # Errors
    /// As [`Kernel::run_threads`].
    pub fn run_integers_threads<S: Stored, D: Stored>(
        &self,
        threads: usize,
        packed: &Packed<i32>,
        src: &[S],
        dst: &mut [D],
    ) -> Result<(), Error> {
        if self.spec.integers.is_none() {
            return Err(self.wrong_type("src", self.spec.src_storage(), S::STORAGE));
        }
        self.run_idle(threads, packed, self.tensors(src, dst)?)
    }

    /// As [`Kernel::run`] or [`Kernel::run_integers`] on `threads` threads, for who knows the types only when running: `src` and `dst`
    /// are bytes, in the machine's order.
    ///
    /// # Errors
    /// As [`Kernel::run_threads`].
    pub fn run_bytes<P: Stored>(
        &self,
        threads: usize,
        packed: &Packed<P>,
        src: &[u8],
        dst: &mut [u8],
    ) -> Result<(), Error> {
        self.run_idle(threads, packed, Tensors::new(src, dst))
    }

    /// Runs with scratch memory of a run that has ended.
    pub(crate) fn run_idle<P>(&self, threads: usize, packed: &Packed<P>, tensors: Tensors<'_>) -> Result<(), Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = idle().pop().unwrap_or_default();
        let result = self.run_with(threads, &mut workspace, packed, tensors);
        if workspace.bytes() > 0 {
            idle().push(workspace);
        }
        result
    }

    /// As [`Kernel::run`], with scratch memory that the caller keeps.
    ///
    /// # Errors
    /// As [`Kernel::run`].
    pub fn run_in<T: Float>(
        &self,
        workspace: &mut Workspace,
        packed: &Packed<T>,
        src: &[T],
        dst: &mut [T],
    ) -> Result<(), Error> {
        self.check_dtype::<T>()?;
        self.run_with(self.threads, workspace, packed, self.tensors(src, dst)?)
    }

    /// As [`Kernel::run_residual`], with scratch memory that the caller keeps.
    ///
    /// # Errors
    /// As [`Kernel::run_residual`].
    pub fn run_residual_in<T: Float>(
        &self,
        workspace: &mut Workspace,
        packed: &Packed<T>,
        src: &[T],
        residual: &[T],
        dst: &mut [T],
    ) -> Result<(), Error> {
        self.check_dtype::<T>()?;
        let tensors = Tensors { residual: Some(as_bytes(residual)), ..self.tensors(src, dst)? };
        self.run_with(self.threads, workspace, packed, tensors)
    }

    /// Computes a new tensor from `src`.
    ///
    /// ```
    /// # use convoke::{Tensor, compile};
    /// let kernel = compile(&"conv1d sum { input: f32[N, 2, 4], out_channels: 1, kernel_size: 2 }".parse()?)?;
    /// let packed = kernel.pack(&[1.0f32; 4], None)?;
    /// let src = Tensor::from_fn([3, 2, 4], |i| i as f32)?;
    /// let dst = kernel.apply(&packed, &src)?;
    /// assert_eq!(dst.shape(), [3, 1, 3]);
    /// assert_eq!(dst.data()[0], 0.0 + 1.0 + 4.0 + 5.0);
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `src` is not of the layer's shape, and as [`Kernel::run`].
    pub fn apply<T: Float>(&self, packed: &Packed<T>, src: &Tensor<T>) -> Result<Tensor<T>, Error> {
        let mut dst = self.output_for(src)?;
        self.run(packed, src.data(), dst.data_mut())?;
        Ok(dst)
    }

    /// As [`Kernel::apply`], for a layer whose epilogue has the step `residual`: `residual` has the shape of the result.
    ///
    /// # Errors
    /// If `src` or `residual` is not of the layer's shape, and as [`Kernel::run_residual`].
    pub fn apply_residual<T: Float>(
        &self,
        packed: &Packed<T>,
        src: &Tensor<T>,
        residual: &Tensor<T>,
    ) -> Result<Tensor<T>, Error> {
        let mut dst = self.output_for(src)?;
        self.check_shape("residual", dst.shape(), residual)?;
        self.run_residual(packed, src.data(), residual.data(), dst.data_mut())?;
        Ok(dst)
    }

    /// Zeros of the shape of the output for `src`, if that is of the layer's shape.
    fn output_for<T: Float>(&self, src: &Tensor<T>) -> Result<Tensor<T>, Error> {
        let batch = self.spec.fixed_batch().unwrap_or_else(|| src.shape().first().copied().unwrap_or(0));
        self.check_shape("src", &shape::src(&self.spec, batch), src)?;
        Tensor::zeros(shape::dst(&self.spec, batch))
    }

    fn check_shape<T: Float>(&self, what: &'static str, expected: &[usize], tensor: &Tensor<T>) -> Result<(), Error> {
        if tensor.shape() == expected {
            return Ok(());
        }
        let (expected, given) = (expected.to_vec(), tensor.shape().to_vec());
        Err(Error::Shape { layer: self.spec.name.clone(), what, expected, given })
    }

    /// Input and output, if they are of the layer's types.
    pub(crate) fn tensors<'a, S: Stored, D: Stored>(
        &self,
        src: &'a [S],
        dst: &'a mut [D],
    ) -> Result<Tensors<'a>, Error> {
        self.check_storage::<S>("src", self.spec.src_storage())?;
        self.check_storage::<D>("dst", self.spec.dst_storage())?;
        Ok(Tensors::new(as_bytes(src), as_bytes_mut(dst)))
    }

    fn run_with<P>(
        &self,
        threads: usize,
        workspace: &mut Workspace,
        packed: &Packed<P>,
        tensors: Tensors<'_>,
    ) -> Result<(), Error> {
        let images = match self.spec.fixed_batch() {
            Some(batch) => batch,
            None => tensors.dst.len() / (self.spec.dst_image() * self.spec.dst_storage().bytes()).max(1),
        };
        let is_worth_it = self.cycles(images) >= 2.0 * CYCLES_TO_WAKE;
        let run = |executor: &dyn Executor| self.run_on(executor, workspace, packed, tensors);
        self.pools.team(if is_worth_it { threads } else { 1 }, run)?
    }

    /// Cycles that so many images should take, of one core.
    pub(crate) fn cycles(&self, images: usize) -> f64 {
        self.plan.cost.total() * images as f64
    }

    /// Runs with `executor` sharing out loops, if that is worth it.
    pub(crate) fn run_on<P>(
        &self,
        executor: &dyn Executor,
        workspace: &mut Workspace,
        packed: &Packed<P>,
        tensors: Tensors<'_>,
    ) -> Result<(), Error> {
        self.check_packed(packed)?;
        let Tensors { src, residual, offset, mask, positions, dst, indices } = tensors;
        if residual.is_some() != self.spec.has_residual() {
            return Err(Error::Residual { layer: self.spec.name.clone(), given: residual.is_some() });
        }
        let elements = |bytes: usize, storage: Storage| bytes.div_ceil(storage.bytes());
        let (src_len, dst_len) =
            (elements(src.len(), self.spec.src_storage()), elements(dst.len(), self.spec.dst_storage()));
        let batch = self.batch(src_len, dst_len)?;
        let images = |image: usize| batch.saturating_mul(image);
        self.check_len("src", images(self.spec.src_image()), src_len, Some(batch))?;
        self.check_len("dst", images(self.spec.dst_image()), dst_len, Some(batch))?;
        if let Some(residual) = residual {
            let given = elements(residual.len(), self.spec.dst_storage());
            self.check_len("residual", images(self.spec.dst_image()), given, Some(batch))?;
        }
        self.check_moved([offset, mask], batch)?;
        self.check_indices(positions.is_some(), indices.is_some())?;
        if let Some(positions) = positions {
            self.check_len("indices", images(self.spec.src_image()), positions.len(), Some(batch))?;
            self.check_positions(positions)?;
        }
        if let Some(indices) = &indices {
            let given = elements(indices.len(), Storage::I32);
            self.check_len("indices", images(self.spec.dst_image()), given, Some(batch))?;
        }
        let tensors = Tensors { src, residual, offset, mask, positions, dst, indices };
        self.run_fitting(batch, executor, workspace, packed, tensors)
    }

    /// As [`Kernel::run_on`], of tensors whose lengths are right for so many images, and of what this kernel has packed.
    ///
    /// # Errors
    /// If there is no memory for scratch. What does not fit is refused all the same, in the words of generated code.
    pub(crate) fn run_fitting<P>(
        &self,
        batch: usize,
        executor: &dyn Executor,
        workspace: &mut Workspace,
        packed: &Packed<P>,
        tensors: Tensors<'_>,
    ) -> Result<(), Error> {
        let Tensors { src, residual, offset, mask, positions, dst, indices } = tensors;
        let executor = if self.cycles(batch) < 2.0 * CYCLES_TO_SHARE { &Serial } else { executor };
        let elements = |len: i128| usize::try_from(len).unwrap_or(usize::MAX);
        let lane = self.spec.dtype.bytes();
        let scratch = elements(self.program.len(Role::Scratch, batch));
        let local = elements(self.program.local_len(executor.threads()));
        let bytes = [scratch, local].map(|len| len.saturating_mul(lane));
        let [scratch, local] = workspace.take(bytes[0], bytes[1]).ok_or_else(|| Error::Scratch {
            layer: self.spec.name.clone(),
            elements: scratch.saturating_add(local),
            batch,
        })?;
        let (weights, bias) = (packed.weights(), packed.bias());
        let [residual, offset, mask] = [residual, offset, mask].map(Option::unwrap_or_default);
        let (positions, indices) = (as_bytes(positions.unwrap_or_default()), indices.unwrap_or_default());
        let buffers = Buffers { src, weights, bias, residual, offset, mask, positions, dst, indices, scratch, local };
        Ok(self.program.run_bytes(batch, buffers, executor)?)
    }

    /// The batch size: the layer's, or as many images as there are.
    fn batch(&self, src: usize, dst: usize) -> Result<usize, Error> {
        if let Some(batch) = self.spec.fixed_batch() {
            return Ok(batch);
        }
        match (self.spec.src_image(), self.spec.dst_image()) {
            (0, 0) => Ok(0),
            (0, image) => Ok(dst / image),
            (image, _) if src.is_multiple_of(image) => Ok(src / image),
            (image, _) => Err(Error::Batch { layer: self.spec.name.clone(), given: src, image }),
        }
    }

    fn check_storage<T: Stored>(&self, what: &'static str, expected: Storage) -> Result<(), Error> {
        if T::STORAGE == expected { Ok(()) } else { Err(self.wrong_type(what, expected, T::STORAGE)) }
    }

    fn wrong_type(&self, what: &'static str, expected: Storage, given: Storage) -> Error {
        let (expected, given) = (expected.name(), given.name());
        Error::Storage { layer: self.spec.name.clone(), what, expected, given }
    }

    fn check_dtype<T: Float>(&self) -> Result<(), Error> {
        let expected = self.spec.src_storage();
        if T::STORAGE == expected {
            return Ok(());
        }
        let (expected, given) = (expected.name(), T::STORAGE.name());
        Err(Error::DType { layer: self.spec.name.clone(), expected, given })
    }

    fn check_len(&self, what: &'static str, expected: usize, given: usize, batch: Option<usize>) -> Result<(), Error> {
        if expected == given {
            return Ok(());
        }
        Err(Error::Length { layer: self.spec.name.clone(), what, expected, given, batch })
    }

    fn check_packed<T>(&self, packed: &Packed<T>) -> Result<(), Error> {
        let (bias, given) = (self.spec.bias_len(), packed.bias.len() / self.spec.dtype.bytes());
        if packed.packing == self.packing && given == bias {
            return Ok(());
        }
        let describe = |packing: &WeightsPacking, bias: usize| {
            let WeightsPacking { groups, oc, taps, ic, .. } = packing;
            format!("{groups} groups of {oc} x {ic} channels x {taps} taps and {bias} biases")
        };
        Err(Error::Packed {
            layer: self.spec.name.clone(),
            packed_for: packed.layer.clone(),
            expected: describe(&self.packing, bias),
            given: describe(&packed.packing, given),
        })
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
