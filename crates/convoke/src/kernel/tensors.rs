//! The tensors of a run, as bytes.

/// What a run reads beside what is packed, and what it writes, in the machine's order.
pub(crate) struct Tensors<'a> {
    pub(crate) src: &'a [u8],
    pub(crate) residual: Option<&'a [u8]>,
    /// Of a deformable layer.
    pub(crate) offset: Option<&'a [u8]>,
    pub(crate) mask: Option<&'a [u8]>,
    /// Of unpooling.
    pub(crate) positions: Option<&'a [i32]>,
    pub(crate) dst: &'a mut [u8],
    /// Of maxima.
    pub(crate) indices: Option<&'a mut [u8]>,
}

impl<'a> Tensors<'a> {
    /// Of most layers.
    pub(crate) fn new(src: &'a [u8], dst: &'a mut [u8]) -> Self {
        Self { src, residual: None, offset: None, mask: None, positions: None, dst, indices: None }
    }
}
