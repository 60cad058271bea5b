//! Images of other sizes, element by element and from the formulas alone.

use crate::spec::{Align, Interpolation, Rounding, Sampling, Scaling, TensorShape};

/// What a `resize` makes that does more than repeat elements.
pub(super) fn run(one: &Interpolation, [from, to]: [&TensorShape; 2], batch: usize, src: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; batch * to.image()];
    for n in 0..batch {
        for channel in 0..to.channels {
            for pixel in 0..to.pixels() {
                let mut index = vec![0; to.sizes.len()];
                let mut left = pixel;
                for (slot, size) in index.iter_mut().zip(&to.sizes).rev() {
                    (*slot, left) = (left % size, left / size);
                }
                let at = |pixel: usize| src[n * from.image() + from.index(channel, pixel)];
                out[n * to.image() + to.index(channel, pixel)] = value(one, &index, 0, &at);
            }
        }
    }
    out
}

/// The element at an index, of which the axes are still to be placed; `at` is that of a pixel of those before them.
fn value(one: &Interpolation, index: &[usize], pixel: usize, at: &dyn Fn(usize) -> f64) -> f64 {
    let axis = one.axes.len() - index.len();
    let Some((&x, rest)) = index.split_first() else { return at(pixel) };
    let size = &one.axes[axis];
    let next = |i: f64| value(one, rest, pixel * size.from + i as usize, at);
    let last = (size.from - 1) as f64;
    let place = position(one.align, size, x as f64);
    match one.sampling {
        Sampling::Linear => {
            let place = place.clamp(0.0, last);
            let behind = place - place.floor();
            if behind == 0.0 {
                return next(place);
            }
            (1.0 - behind) * next(place.floor()) + behind * next(place.floor() + 1.0)
        }
        Sampling::Nearest(rounding) => {
            let nearest = match rounding {
                Rounding::PreferFloor => (place - 0.5).ceil(),
                Rounding::PreferCeil => (place + 0.5).floor(),
                Rounding::Floor => place.floor(),
                Rounding::Ceil => place.ceil(),
            };
            next(nearest.clamp(0.0, last))
        }
    }
}

fn position(align: Align, size: &Scaling, x: f64) -> f64 {
    let (from, to) = (size.from as f64, size.to as f64);
    let over = |x: f64| size.uneven().map_or(x * from / to, |scale| x / scale);
    match align {
        Align::HalfPixel => over(x + 0.5) - 0.5,
        Align::Symmetric => from / 2.0 + over(x + 0.5 - to / 2.0) - 0.5,
        Align::Corners if size.to == 1 => 0.0,
        Align::Corners => x * (from - 1.0) / (to - 1.0),
        Align::Asymmetric => over(x),
    }
}
