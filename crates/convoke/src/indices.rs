//! Runs of layers with indices: positions within planes.

use convoke_core::eval::{Float, Stored};
use convoke_core::spec::Layout;

use crate::error::Error;
use crate::kernel::{Kernel, Packed, Tensors};
use crate::memory::as_bytes_mut;

impl Kernel {
    /// As [`Kernel::run`] or [`Kernel::run_integers`], for maxima with `return_indices: true`: `indices` is of the shape of `dst`, and gets
    /// for each of its elements where in the input that is, `(d * ih + h) * iw + w` in the plane of its channel. It is what PyTorch's
    /// `MaxPoolNd(return_indices=True)` gives; ONNX's `MaxPool` adds where the plane is in the input.
    ///
    /// ```
    /// # use convoke::compile;
    /// let spec = "max_pool1d greatest { input: f32[1, 2, 4], kernel_size: 2, return_indices: true }";
    /// let kernel = compile(&spec.parse()?)?;
    /// let packed = kernel.pack::<f32>(&[], None)?;
    /// let (mut dst, mut indices) = ([0.0f32; 4], [0; 4]);
    /// kernel.run_indices(&packed, &[1.0, 3.0, 5.0, 2.0, 7.0, 7.0, 0.0, 9.0], &mut dst, &mut indices)?;
    /// assert_eq!((dst, indices), ([3.0, 5.0, 7.0, 9.0], [1, 2, 0, 3]));
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Kernel::run`], and if the layer has no indices.
    pub fn run_indices<P, T: Stored>(
        &self,
        packed: &Packed<P>,
        src: &[T],
        dst: &mut [T],
        indices: &mut [i32],
    ) -> Result<(), Error> {
        self.run_indices_threads(self.threads(), packed, src, dst, indices)
    }

    /// As [`Kernel::run_indices`], on `threads` threads.
    ///
    /// # Errors
    /// As [`Kernel::run_indices`], and if the threads cannot be started.
    pub fn run_indices_threads<P, T: Stored>(
        &self,
        threads: usize,
        packed: &Packed<P>,
        src: &[T],
        dst: &mut [T],
        indices: &mut [i32],
    ) -> Result<(), Error> {
        let tensors = Tensors { indices: Some(as_bytes_mut(indices)), ..self.tensors(src, dst)? };
        self.run_idle(threads, packed, tensors)
    }

    /// As [`Kernel::run_indices_threads`], for who knows the types only when running: `src` and `dst` are bytes, in the machine's order.
    ///
    /// # Errors
    /// As [`Kernel::run_indices_threads`].
    pub fn run_indices_bytes<P>(
        &self,
        threads: usize,
        packed: &Packed<P>,
        src: &[u8],
        dst: &mut [u8],
        indices: &mut [i32],
    ) -> Result<(), Error> {
        let indices = Some(as_bytes_mut(indices));
        self.run_idle(threads, packed, Tensors { indices, ..Tensors::new(src, dst) })
    }

    /// As [`Kernel::run`], for unpooling: each element of `src` goes to the place in its plane of `dst` that `indices`, of the shape of
    /// `src`, has for it, `(d * oh + h) * ow + w`; the rest is zero. Of several for one place the last in the plane counts, on any number of
    /// threads. It is PyTorch's `MaxUnpoolNd`, and takes what [`Kernel::run_indices`] gives.
    ///
    /// ```
    /// # use convoke::compile;
    /// let kernel = compile(&"max_unpool1d back { input: f32[1, 1, 2], kernel_size: 2 }".parse()?)?;
    /// let packed = kernel.pack::<f32>(&[], None)?;
    /// let mut dst = [1.0f32; 4];
    /// kernel.run_unpool(&packed, &[3.0, 5.0], &[1, 2], &mut dst)?;
    /// assert_eq!(dst, [0.0, 3.0, 5.0, 0.0]);
    /// assert!(kernel.run_unpool(&packed, &[3.0, 5.0], &[1, 4], &mut dst).is_err());
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Kernel::run`], if the layer is no unpooling, and if an index is of no element of a plane. `dst` is unchanged then.
    pub fn run_unpool<T: Float>(
        &self,
        packed: &Packed<T>,
        src: &[T],
        indices: &[i32],
        dst: &mut [T],
    ) -> Result<(), Error> {
        self.run_unpool_threads(self.threads(), packed, src, indices, dst)
    }

    /// As [`Kernel::run_unpool`], on `threads` threads.
    ///
    /// # Errors
    /// As [`Kernel::run_unpool`], and if the threads cannot be started.
    pub fn run_unpool_threads<T: Float>(
        &self,
        threads: usize,
        packed: &Packed<T>,
        src: &[T],
        indices: &[i32],
        dst: &mut [T],
    ) -> Result<(), Error> {
        let tensors = Tensors { positions: Some(indices), ..self.tensors(src, dst)? };
        self.run_idle(threads, packed, tensors)
    }

    /// Whether indices are taken and given where the layer has some.
    pub(crate) fn check_indices(&self, takes: bool, gives: bool) -> Result<(), Error> {
        let reason = match (self.spec().takes_indices(), self.spec().return_indices) {
            (true, _) if !takes => "is unpooling, so it takes `run_unpool`",
            (false, _) if takes => "is no unpooling, so it takes no indices",
            (_, true) if !gives => "has `return_indices: true`, so it takes `run_indices`",
            (_, false) if gives => "has no `return_indices: true`, so it has no indices to give",
            _ => return Ok(()),
        };
        Err(Error::Indices { layer: self.spec().name.clone(), reason })
    }

    /// Whether every index is of an element of a plane. Those of what fills up a block of channels mean nothing.
    pub(crate) fn check_positions(&self, positions: &[i32]) -> Result<(), Error> {
        let plane = self.spec().indexed_plane();
        let is_beyond = |index: i32| index as u32 >= plane as u32;
        if !positions.iter().fold(false, |any, &index| any | is_beyond(index)) {
            return Ok(());
        }
        let beyond = positions.iter().copied().enumerate().find(|&(at, index)| is_beyond(index) && self.is_read(at));
        match beyond {
            Some((at, index)) => Err(Error::Index { layer: self.spec().name.clone(), index, at, plane }),
            None => Ok(()),
        }
    }

    /// Whether element `at` of `src` belongs to a channel that there is.
    fn is_read(&self, at: usize) -> bool {
        let spec = self.spec();
        let (stored, pixels) = (spec.src_channels(), spec.src_image() / spec.src_channels());
        let lanes = if spec.layout == Layout::Blocked { spec.dtype.block() } else { 1 };
        stored == spec.in_channels || at / (pixels * lanes) % (stored / lanes) * lanes + at % lanes < spec.in_channels
    }
}

#[cfg(test)]
#[path = "indices_tests.rs"]
mod tests;
