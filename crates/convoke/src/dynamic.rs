//! A layer whose sizes are known only when its tensors come: compiled for each size on demand, and kept.
//!
//! A [`Dynamic`] takes a [`LayerTemplate`], the text of a layer with names for spatial sizes, and makes a [`Kernel`] for every set of
//! numbers that is asked for: the very kernel that the text makes with the numbers in it. A bounded number of kernels is kept, and any
//! threads may share them. [`Weights`] are given once, whatever the sizes, and packed once for each order in which kernels read
//! them. Sizes for which the layer is not legal are refused, with the place in the text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use convoke_core::eval::{Float, Stored};
use convoke_core::lower::weights::{IntegerParameters, WeightsPacking};
use convoke_core::spec::{LayerTemplate, Sizes};

use crate::cache::Cache;
use crate::compiler::Compiler;
use crate::error::Error;
use crate::kernel::{Kernel, Packed};
use crate::tensor::Tensor;

/// One layer for any size, made by [`Compiler::dynamic`].
///
/// ```
/// use convoke::{Compiler, Tensor};
///
/// let layer = "conv2d mean { input: f32[N, 1, H, W], out_channels: 1, kernel_size: 2, stride: 2 }";
/// let mean = Compiler::new().dynamic(layer.parse()?, 16); // keeps the kernels of 16 sizes
/// let weights = mean.pack([0.25f32; 4], None); // once
///
/// let small = mean.apply(&weights, &Tensor::new([1, 1, 2, 4], vec![1.0, 3.0, 5.0, 7.0, 2.0, 2.0, 4.0, 4.0])?)?;
/// assert_eq!((small.shape(), small.data()), (&[1, 1, 1, 2][..], &[2.0, 5.0][..]));
/// let large = mean.apply(&weights, &Tensor::zeros([3, 1, 224, 160])?)?;
/// assert_eq!(large.shape(), [3, 1, 112, 80]);
///
/// let error = mean.kernel(&[("H", 1), ("W", 4)]).unwrap_err().to_string();
/// assert!(error.starts_with("layer mean is not legal with H = 1, W = 4\nerror: the kernel reaches past the padded input"));
/// # Ok::<(), convoke::Error>(())
/// ```
#[derive(Debug)]
pub struct Dynamic {
    template: Arc<LayerTemplate>,
    compiler: Compiler,
    kernels: Cache<Sizes, Kernel>,
    compilations: AtomicU64,
}

impl Dynamic {
    pub(crate) fn new(template: LayerTemplate, compiler: Compiler, capacity: usize) -> Self {
        let template = Arc::new(template);
        Self { template, compiler, kernels: Cache::new(capacity), compilations: AtomicU64::new(0) }
    }

    /// The layer.
    pub fn template(&self) -> &LayerTemplate {
        &self.template
    }

    /// Of how many sizes kernels are kept at most.
    pub fn capacity(&self) -> usize {
        self.kernels.capacity()
    }

    /// Of how many sizes kernels are kept now.
    pub fn kept(&self) -> usize {
        self.kernels.len()
    }

    /// How many kernels have been compiled so far.
    pub fn compilations(&self) -> u64 {
        self.compilations.load(Ordering::Relaxed)
    }

    /// The kernel for these sizes, one number for each of [`LayerTemplate::names`]; compiled if it is not there. It stays alive as
    /// long as somebody has it.
    ///
    /// # Errors
    /// If a name has no number, has two, or is none of the layer's; if the layer is not legal with them; and as
    /// [`Compiler::compile`]. What is kept stays as it is then.
    pub fn kernel(&self, sizes: &[(&str, usize)]) -> Result<Arc<Kernel>, Error> {
        self.kernel_of(&self.template.sizes(sizes)?)
    }

    fn kernel_of(&self, sizes: &Sizes) -> Result<Arc<Kernel>, Error> {
        self.kernels.get(sizes, || {
            let kernel = self.compiler.compile_bound(&self.template, sizes)?;
            self.compilations.fetch_add(1, Ordering::Relaxed);
            Ok(kernel)
        })
    }

    /// Takes weights, in the layer's weights layout, and the bias, one element an output channel, for kernels of any size.
    ///
    /// Lengths are checked, and weights packed, when a kernel is first run with them.
    pub fn pack<T: Float>(&self, weights: impl Into<Arc<[T]>>, bias: Option<&[T]>) -> Weights<T> {
        self.pack_with(weights, bias, &[])
    }

    /// As [`Dynamic::pack`], with a number for each output channel for the steps of the epilogue that take them, as
    /// [`Kernel::pack_with`].
    pub fn pack_with<T: Float>(
        &self,
        weights: impl Into<Arc<[T]>>,
        bias: Option<&[T]>,
        channels: &[&[T]],
    ) -> Weights<T> {
        let (weights, bias) = (weights.into(), bias.map(<[T]>::to_vec));
        let channels: Vec<Vec<T>> = channels.iter().map(|numbers| numbers.to_vec()).collect();
        self.weights(move |kernel| {
            let channels: Vec<&[T]> = channels.iter().map(Vec::as_slice).collect();
            kernel.pack_with(&weights, bias.as_deref(), &channels)
        })
    }

    /// As [`Dynamic::pack`], for a layer of integers, as [`Kernel::pack_integers`].
    pub fn pack_integers<W: Stored>(&self, parameters: &IntegerParameters<'_, W>) -> Weights<i32> {
        let (weights, bias) = (parameters.weights.to_vec(), parameters.bias.to_vec());
        let (zero_points, scales) = (parameters.zero_points.to_vec(), parameters.scales.to_vec());
        self.weights(move |kernel| {
            let (weights, bias) = (weights.as_slice(), bias.as_slice());
            let (zero_points, scales) = (zero_points.as_slice(), scales.as_slice());
            kernel.pack_integers(&IntegerParameters { weights, bias, zero_points, scales })
        })
    }

    fn weights<P>(&self, pack: impl Fn(&Kernel) -> Result<Packed<P>, Error> + Send + Sync + 'static) -> Weights<P> {
        Weights { template: self.template.clone(), pack: Box::new(pack), packed: Cache::new(self.capacity()) }
    }

    /// Computes a new tensor from `src`, whose shape says the sizes.
    ///
    /// # Errors
    /// If `src` has sizes that the layer does not take, and as [`Dynamic::run`].
    pub fn apply<T: Float>(&self, weights: &Weights<T>, src: &Tensor<T>) -> Result<Tensor<T>, Error> {
        let kernel = self.kernel_of(&self.template.sizes_of(src.shape())?)?;
        kernel.apply(&*self.packed(weights, &kernel)?, src)
    }

    /// Computes `dst` from `src`, both of these sizes and in the layer's layout.
    ///
    /// # Errors
    /// As [`Dynamic::kernel`] and [`Dynamic::packed`], and as [`Kernel::run`]. `dst` is unchanged then.
    pub fn run<T: Float>(
        &self,
        weights: &Weights<T>,
        sizes: &[(&str, usize)],
        src: &[T],
        dst: &mut [T],
    ) -> Result<(), Error> {
        let kernel = self.kernel(sizes)?;
        kernel.run(&*self.packed(weights, &kernel)?, src, dst)
    }

    /// As [`Dynamic::apply`], for a layer whose epilogue has the step `residual`: `residual` has the shape of the result.
    ///
    /// # Errors
    /// As [`Dynamic::apply`], and as [`Kernel::apply_residual`].
    pub fn apply_residual<T: Float>(
        &self,
        weights: &Weights<T>,
        src: &Tensor<T>,
        residual: &Tensor<T>,
    ) -> Result<Tensor<T>, Error> {
        let kernel = self.kernel_of(&self.template.sizes_of(src.shape())?)?;
        kernel.apply_residual(&*self.packed(weights, &kernel)?, src, residual)
    }

    /// As [`Dynamic::run`], for a layer whose epilogue has the step `residual`: `residual` has the shape of `dst`.
    ///
    /// # Errors
    /// As [`Dynamic::run`], and as [`Kernel::run_residual`].
    pub fn run_residual<T: Float>(
        &self,
        weights: &Weights<T>,
        sizes: &[(&str, usize)],
        src: &[T],
        residual: &[T],
        dst: &mut [T],
    ) -> Result<(), Error> {
        let kernel = self.kernel(sizes)?;
        kernel.run_residual(&*self.packed(weights, &kernel)?, src, residual, dst)
    }

    /// As [`Dynamic::apply`], of a deformable layer.
    ///
    /// # Errors
    /// As [`Dynamic::apply`], and as [`Kernel::apply_deformable`].
    pub fn apply_deformable<T: Float>(
        &self,
        weights: &Weights<T>,
        src: &Tensor<T>,
        offset: &Tensor<T>,
        mask: Option<&Tensor<T>>,
    ) -> Result<Tensor<T>, Error> {
        let kernel = self.kernel_of(&self.template.sizes_of(src.shape())?)?;
        kernel.apply_deformable(&*self.packed(weights, &kernel)?, src, offset, mask)
    }

    /// As [`Dynamic::run`], of a deformable layer.
    ///
    /// # Errors
    /// As [`Dynamic::run`], and as [`Kernel::run_deformable`].
    pub fn run_deformable<T: Float>(
        &self,
        weights: &Weights<T>,
        sizes: &[(&str, usize)],
        src: &[T],
        offset: &[T],
        mask: Option<&[T]>,
        dst: &mut [T],
    ) -> Result<(), Error> {
        let kernel = self.kernel(sizes)?;
        kernel.run_deformable(&*self.packed(weights, &kernel)?, src, offset, mask, dst)
    }

    /// As [`Dynamic::run`], of a layer of integers: `S` is the type of `src`, and `D` that of `dst`.
    ///
    /// # Errors
    /// As [`Dynamic::run`].
    pub fn run_integers<S: Stored, D: Stored>(
        &self,
        weights: &Weights<i32>,
        sizes: &[(&str, usize)],
        src: &[S],
        dst: &mut [D],
    ) -> Result<(), Error> {
        let kernel = self.kernel(sizes)?;
        kernel.run_integers(&*self.packed(weights, &kernel)?, src, dst)
    }

    /// `weights` in the order in which `kernel`, one of this layer's, reads them: for who runs a kernel that [`Dynamic::kernel`] gave.
    ///
    /// # Errors
    /// If the weights were given to a layer of another text, and as [`Kernel::pack_with`] or [`Kernel::pack_integers`].
    pub fn packed<P: Stored>(&self, weights: &Weights<P>, kernel: &Kernel) -> Result<Arc<Packed<P>>, Error> {
        if !Arc::ptr_eq(&weights.template, &self.template) && weights.template != self.template {
            let (layer, given_to) = (self.template.name().to_owned(), weights.template.name().to_owned());
            return Err(Error::OtherText { layer, given_to });
        }
        weights.packed.get(kernel.packing(), || (weights.pack)(kernel))
    }
}

/// Packs parameters, which it owns, for a kernel.
type Pack<P> = dyn Fn(&Kernel) -> Result<Packed<P>, Error> + Send + Sync;

/// The parameters of a [`Dynamic`] layer: as they were given, and as the kernels that have run with them read them.
///
/// Kernels of different sizes mostly read them in the same order, which depends on the algorithm. As many orders are kept as the layer
/// keeps kernels.
pub struct Weights<P> {
    /// The layer that they were given to.
    template: Arc<LayerTemplate>,
    pack: Box<Pack<P>>,
    packed: Cache<WeightsPacking, Packed<P>>,
}

impl<P> Weights<P> {
    /// In how many orders they are packed now.
    pub fn kept(&self) -> usize {
        self.packed.len()
    }
}

impl<P> fmt::Debug for Weights<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("layer", &self.template.name())
            .field("packed", &self.packed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "dynamic_tests.rs"]
mod tests;
