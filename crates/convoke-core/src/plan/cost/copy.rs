//! What copying the input before the sums costs.

use super::{CALL, EVEN, Part, WIDENING, rows_read};
use crate::lower::{PackedAxis, View};
use crate::plan::PackInput;

/// Cycles to move an element that has no neighbour at one end.
const SCATTERING: f64 = 1.3;
/// Cycles to start the copy of a pixel.
const PIXEL: f64 = 3.0;

impl Part<'_> {
    /// Cycles to copy the input with its padding, for one image.
    pub(super) fn packing(&self) -> f64 {
        if self.pack_input == PackInput::None {
            return 0.0;
        }
        let [d, h, w] = self.spec.spatial.map(|a| PackedAxis::of(self.spec.operation, &a));
        let (src, copy) = (View::of_src(self.spec), &self.geometry.src);
        let elements = copy.n as f64;
        let per_element = match (src.lanes == copy.lanes, src.lanes) {
            // Whole vectors: a zero, a load and a store.
            (true, _) if w.step == 1 => 3.0 / self.lanes as f64,
            // Vectors of every second pixel.
            (true, 1) if w.step == 2 && self.target.isa.vector_bytes() > 16 => EVEN / self.lanes as f64,
            // Vectors of pixels, gathered or scattered.
            (_, 1) => SCATTERING,
            // Pixels, each some vectors.
            _ => 3.0 / self.lanes as f64 + PIXEL / src.lanes as f64,
        };
        let rows = (d.size * h.size * if src.lanes == copy.lanes { copy.planes } else { 1 }) as f64;
        let bytes = elements * self.spec.dtype.bytes() as f64;
        let read = (self.spec.src_image() * self.spec.tensor_bytes()) as f64;
        let read = read * rows_read(&self.spec.spatial);
        let widening = if self.spec.half.is_some() { WIDENING / self.lanes as f64 } else { 0.0 };
        elements * (per_element + widening) + rows * CALL * 0.5 + read / self.far() + 1.5 * bytes / self.far()
    }
}
