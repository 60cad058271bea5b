//! Elements as the nearest of 256 numbers between the least and the greatest of an image.

/// The greatest of the 256 whole numbers, the least of which is 0.
const LEVELS: f32 = 255.0;

/// Numbers from this on have no bits behind the point, so that what is added to it is rounded to the nearest whole number, of two to the even one.
const LARGE: f32 = 12_582_912.0;

/// Elements that are compared side by side.
const SIDE_BY_SIDE: usize = 16;

/// Makes of each of so many images the numbers nearest to its own.
pub(crate) fn run(src: &[f32], dst: &mut [f32], images: usize) {
    let len = src.len() / images;
    for (src, dst) in src.chunks_exact(len).zip(dst.chunks_exact_mut(len)) {
        image(src, dst);
    }
}

fn image(src: &[f32], dst: &mut [f32]) {
    let (least, most) = range(src);
    let scale = (most - least) / LEVELS;
    let scale = if scale > 0.0 { scale } else { 1.0 };
    let zero = rounded(limited(0.0 - least / scale, 0.0, LEVELS));
    let (low, high) = (0.0 - zero, LEVELS - zero);
    for (to, from) in dst.iter_mut().zip(src) {
        *to = rounded(limited(from / scale, low, high)) * scale;
    }
}

/// The least and the greatest, 0 among both.
fn range(src: &[f32]) -> (f32, f32) {
    let mut least = [0.0_f32; SIDE_BY_SIDE];
    let mut most = least;
    let (chunks, rest) = src.as_chunks::<SIDE_BY_SIDE>();
    for chunk in chunks {
        for (at, &x) in chunk.iter().enumerate() {
            least[at] = if x < least[at] { x } else { least[at] };
            most[at] = if x > most[at] { x } else { most[at] };
        }
    }
    let rest = rest.iter().copied();
    let less = |a: f32, b: f32| if b < a { b } else { a };
    let more = |a: f32, b: f32| if b > a { b } else { a };
    (least.into_iter().chain(rest.clone()).fold(0.0, less), most.into_iter().chain(rest).fold(0.0, more))
}

/// From `low` to `high`, or not a number.
fn limited(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

fn rounded(x: f32) -> f32 {
    (x + LARGE) - LARGE
}
