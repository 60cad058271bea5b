//! Where maxima are, and where unpooling puts them.

use super::{Position, dst_index, each_position, src_index};
use crate::eval::Stored;
use crate::spec::LayerSpec;

/// The positions of the maxima of `batch` images, one for each element of `dst`: `(d * ih + h) * iw + w` in the plane of its channel. Of equal
/// elements that of the first, of NaNs that of the last; 0 for what fills up a block of channels.
///
/// # Panics
/// If `src` is shorter than the layer says.
pub fn run<T: Stored>(spec: &LayerSpec, batch: usize, src: &[T]) -> Vec<i32> {
    let [_, height, width] = spec.spatial.map(|axis| axis.input);
    let index = |position: Position| {
        let mut greatest: Option<(f64, usize)> = None;
        each_position(spec, position, |at| {
            let x = src[src_index(spec, position.n, position.oc, at)].to_number();
            if x.is_nan() || greatest.is_none_or(|(other, _)| x > other) {
                greatest = Some((x, (at[0] * height + at[1]) * width + at[2]));
            }
        });
        greatest.map_or(0, |(_, at)| at as i32)
    };
    (0..batch * spec.dst_image()).map(|at| Position::of(spec, at).map_or(0, index)).collect()
}

/// The output of unpooling for `batch` images: `T::default()` but where an element of `src` goes, of whose indices each is less than
/// [`indexed_plane`](LayerSpec::indexed_plane). Of several for one place the last in the order of the plane counts.
///
/// # Panics
/// If `src` or `indices` is shorter than the layer says, or an index is of no element.
pub fn run_unpool<T: Stored>(spec: &LayerSpec, batch: usize, src: &[T], indices: &[i32]) -> Vec<T> {
    let mut dst = vec![T::default(); batch * spec.dst_image()];
    let [_, height, width] = spec.spatial.map(|axis| axis.output);
    let [depth, rows, pixels] = spec.spatial.map(|axis| axis.input);
    for (n, oc) in (0..batch).flat_map(|n| (0..spec.in_channels).map(move |c| (n, c))) {
        for at in (0..depth * rows * pixels).map(|i| [i / pixels / rows, i / pixels % rows, i % pixels]) {
            let from = src_index(spec, n, oc, at);
            let to = indices[from] as usize;
            let at = [to / width / height, to / width % height, to % width];
            dst[dst_index(spec, Position { n, oc, at })] = src[from];
        }
    }
    dst
}
