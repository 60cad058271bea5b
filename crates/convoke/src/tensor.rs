//! Numbers with a shape.

use crate::error::Error;

/// A dense array of any rank, the last axis contiguous.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T> Tensor<T> {
    /// `data` as a tensor of `shape`.
    ///
    /// ```
    /// let tensor = convoke::Tensor::new([2, 3], vec![0.0; 6])?;
    /// assert_eq!(tensor.shape(), [2, 3]);
    ///
    /// let error = convoke::Tensor::new([2, 3], vec![0.0; 5]).unwrap_err();
    /// assert_eq!(error.to_string(), "a tensor of shape [2, 3] has 6 elements, and 5 were given");
    /// # Ok::<(), convoke::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the product of the shape is not the number of elements.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<T>) -> Result<Self, Error> {
        let shape = shape.into();
        let expected = elements(&shape)?;
        if expected != data.len() {
            return Err(Error::ShapeLength { shape, expected, given: data.len() });
        }
        Ok(Self { shape, data })
    }

    /// A tensor of `shape` with `value(i)` as its element number `i`.
    ///
    /// # Errors
    /// If the shape has more elements than an address space holds.
    pub fn from_fn(shape: impl Into<Vec<usize>>, value: impl FnMut(usize) -> T) -> Result<Self, Error> {
        let shape = shape.into();
        let data = (0..elements(&shape)?).map(value).collect();
        Ok(Self { shape, data })
    }

    /// A tensor of `shape`, all zeros.
    ///
    /// # Errors
    /// If the shape has more elements than an address space holds.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Result<Self, Error>
    where
        T: Clone + Default,
    {
        let shape = shape.into();
        let data = vec![T::default(); elements(&shape)?];
        Ok(Self { shape, data })
    }

    /// Sizes of the axes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The elements, to change them.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The elements without the shape.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }
}

/// The product of a shape, if an allocation of it could exist at all.
fn elements(shape: &[usize]) -> Result<usize, Error> {
    let product = if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s)) };
    match product {
        Some(n) if isize::try_from(n).is_ok() => Ok(n),
        _ => Err(Error::ShapeOverflow { shape: shape.to_vec() }),
    }
}
