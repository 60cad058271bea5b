//! Runs of deformable layers, which take offsets, and perhaps factors, beside their input.

use super::{Kernel, Packed, Tensors, as_bytes};
use crate::error::Error;
use crate::shape;
use crate::tensor::Tensor;
use convoke_core::eval::Float;

impl Kernel {
    /// As [`Kernel::run`], of a deformable layer: `offset` says how far each tap is moved at each output, `mask` what it is multiplied by.
    ///
    /// Both have the sizes of the output and the layer's layout; `offset` has [`offset_channels`](crate::LayerSpec::offset_channels), for each set
    /// and tap the distance along `h` and then along `w`, and `mask`, which is there if the layer says `mask: true`,
    /// [`mask_channels`](crate::LayerSpec::mask_channels). That is the order of `torchvision.ops.deform_conv2d` and of ONNX's `DeformConv`.
    ///
    /// ```
    /// # use convoke::compile;
    /// let kernel = compile(&"deform_conv2d a { input: f32[1, 1, 2, 2], out_channels: 1, kernel_size: 1 }".parse()?)?;
    /// let packed = kernel.pack(&[1.0f32], None)?;
    /// let mut dst = [0.0f32; 4];
    /// // Half an element to the right, where there is nothing behind the last.
    /// let offset = [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5];
    /// kernel.run_deformable(&packed, &[1.0, 2.0, 3.0, 4.0], &offset, None, &mut dst)?;
    /// assert_eq!(dst, [1.5, 1.0, 3.5, 2.0]);
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Kernel::run`]; if the layer is not deformable, or a mask was given where there is none or the other way round.
    pub fn run_deformable<T: Float>(
        &self,
        packed: &Packed<T>,
        src: &[T],
        offset: &[T],
        mask: Option<&[T]>,
        dst: &mut [T],
    ) -> Result<(), Error> {
        self.run_deformable_threads(self.threads, packed, src, offset, mask, dst)
    }

    /// As [`Kernel::run_deformable`], on `threads` threads.
    ///
    /// # Errors
    /// As [`Kernel::run_deformable`], and if the threads cannot be started.
    pub fn run_deformable_threads<T: Float>(
        &self,
        threads: usize,
        packed: &Packed<T>,
        src: &[T],
        offset: &[T],
        mask: Option<&[T]>,
        dst: &mut [T],
    ) -> Result<(), Error> {
        let (offset, mask) = (Some(as_bytes(offset)), mask.map(as_bytes));
        self.run_idle(threads, packed, Tensors { offset, mask, ..self.tensors(src, dst)? })
    }

    /// As [`Kernel::apply`], of a deformable layer: `offset` is of shape [`shape::offset`], `mask` of shape [`shape::mask`].
    ///
    /// # Errors
    /// If a tensor is not of the layer's shape, and as [`Kernel::run_deformable`].
    pub fn apply_deformable<T: Float>(
        &self,
        packed: &Packed<T>,
        src: &Tensor<T>,
        offset: &Tensor<T>,
        mask: Option<&Tensor<T>>,
    ) -> Result<Tensor<T>, Error> {
        let mut dst = self.output_for(src)?;
        if self.spec.is_deformable() {
            let batch = dst.shape().first().copied().unwrap_or(0);
            self.check_shape("offset", &shape::offset(&self.spec, batch), offset)?;
            if let (true, Some(mask)) = (self.spec.mask, mask) {
                self.check_shape("mask", &shape::mask(&self.spec, batch), mask)?;
            }
        }
        self.run_deformable(packed, src.data(), offset.data(), mask.map(Tensor::data), dst.data_mut())?;
        Ok(dst)
    }

    /// Whether offsets and factors were given where the layer takes them, as many as there are.
    pub(super) fn check_moved(&self, [offset, mask]: [Option<&[u8]>; 2], batch: usize) -> Result<(), Error> {
        let layer = || self.spec.name.clone();
        if offset.is_some() != self.spec.is_deformable() {
            return Err(Error::Deformable { layer: layer(), given: offset.is_some() });
        }
        if mask.is_some() != self.spec.mask {
            return Err(Error::Mask { layer: layer(), given: mask.is_some() });
        }
        let each = [("offset", offset, self.spec.offset_image()), ("mask", mask, self.spec.mask_image())];
        for (what, given, image) in each {
            if let Some(given) = given {
                let given = given.len() / self.spec.dtype.bytes();
                self.check_len(what, batch.saturating_mul(image), given, Some(batch))?;
            }
        }
        Ok(())
    }
}
