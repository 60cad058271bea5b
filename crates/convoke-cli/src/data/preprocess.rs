//! A picture to what a network takes: the steps of `preprocess`.

use super::{Array, Kind};
use convoke_core::spec::Preprocess;

/// The picture after all steps: rows, columns, channels.
pub(crate) fn apply(steps: &[Preprocess], picture: Array) -> Result<Array, String> {
    steps.iter().try_fold(picture, step)
}

fn step(picture: Array, step: &Preprocess) -> Result<Array, String> {
    let [height, width, channels] = [picture.shape[0], picture.shape[1], picture.shape[2]];
    let each = |change: &dyn Fn(usize, f64) -> f64| {
        let data = picture.data.iter().enumerate().map(|(i, &x)| change(i % channels, x)).collect();
        Ok(Array { data, ..picture.clone() })
    };
    match step {
        Preprocess::ResizeShorter(n) => {
            let shorter = height.min(width);
            // As torchvision, which cuts what is no whole pixel.
            let longer = |side: usize| if side == shorter { *n } else { n * side / shorter };
            Ok(resized(&picture, [longer(height), longer(width)]))
        }
        Preprocess::Resize(h, w) => Ok(resized(&picture, [*h, *w])),
        Preprocess::Crop(h, w) if *h > height || *w > width => {
            Err(format!("`{step}` is larger than the picture, which has {height} x {width} pixels by then"))
        }
        Preprocess::Crop(h, w) => {
            // As torchvision, which rounds half a pixel to an even number.
            let half = |room: usize| (room as f64 / 2.0).round_ties_even() as usize;
            let (top, left) = (half(height - h), half(width - w));
            let row = |y: usize| &picture.data[((top + y) * width + left) * channels..][..w * channels];
            Ok(Array { shape: vec![*h, *w, channels], data: (0..*h).flat_map(row).copied().collect(), kind: Kind::Png })
        }
        Preprocess::Bgr => {
            let pixels = picture.data.chunks_exact(channels);
            Ok(Array { data: pixels.flat_map(|pixel| pixel.iter().rev()).copied().collect(), ..picture.clone() })
        }
        Preprocess::Mul(factor) => each(&|_, x| x * factor),
        Preprocess::Mean(mean) => each(&|channel, x| x - mean[channel]),
        Preprocess::Std(std) => each(&|channel, x| x / std[channel]),
    }
}

/// The picture with other numbers of rows and columns: along each axis a mean of the pixels around, which weigh the less the farther they are, as
/// Pillow's and torchvision's bilinear resizing with antialiasing has them.
fn resized(picture: &Array, [rows, columns]: [usize; 2]) -> Array {
    let [height, width, channels] = [picture.shape[0], picture.shape[1], picture.shape[2]];
    let across = along(&picture.data, (height, width, channels), columns);
    let data = along(&across, (1, height, columns * channels), rows);
    Array { shape: vec![rows, columns, channels], data, kind: Kind::Png }
}

/// `[outer][from][inner]` to `[outer][to][inner]`.
fn along(data: &[f64], (outer, from, inner): (usize, usize, usize), to: usize) -> Vec<f64> {
    if from == to {
        return data.to_vec();
    }
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let mut out = vec![0.0; outer * to * inner];
    for at in 0..to {
        let middle = (at as f64 + 0.5) * scale;
        let first = (middle - support + 0.5).max(0.0) as usize;
        let last = ((middle + support + 0.5) as usize).min(from);
        let weights: Vec<f64> =
            (first..last).map(|i| (1.0 - ((i as f64 + 0.5 - middle) / support).abs()).max(0.0)).collect();
        let sum: f64 = weights.iter().sum();
        for block in 0..outer {
            let line = &mut out[(block * to + at) * inner..][..inner];
            for (i, weight) in (first..last).zip(&weights) {
                let source = &data[(block * from + i) * inner..][..inner];
                line.iter_mut().zip(source).for_each(|(x, y)| *x += y * weight / sum);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(shape: [usize; 3], data: &[f64]) -> Array {
        Array { shape: shape.to_vec(), data: data.to_vec(), kind: Kind::Png }
    }

    #[test]
    fn resizing_is_that_of_pillow() {
        // Image.fromarray(numpy.float32([[0, 1, 2, 3, 4, 5]])).resize((3, 1), Image.BILINEAR), and to (4, 1) of [0, 8].
        let smaller = resized(&picture([1, 6, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), [1, 3]);
        let expected = [0.714_285_7, 2.5, 4.285_714_3];
        assert!(smaller.data.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{smaller:?}");
        let larger = resized(&picture([1, 2, 1], &[0.0, 8.0]), [1, 4]);
        assert_eq!(larger.data, [0.0, 2.0, 6.0, 8.0]);
    }

    #[test]
    fn steps_follow_each_other() {
        let steps = [
            Preprocess::ResizeShorter(2),
            Preprocess::Crop(2, 2),
            Preprocess::Bgr,
            Preprocess::Mul(2.0),
            Preprocess::Mean(vec![1.0, 0.0]),
            Preprocess::Std(vec![1.0, 4.0]),
        ];
        let data: Vec<f64> = (0..12).map(f64::from).collect();
        let found = apply(&steps, picture([2, 3, 2], &data)).unwrap();
        // One column is cut on the right.
        assert_eq!((found.shape, found.data), (vec![2, 2, 2], vec![1.0, 0.0, 5.0, 1.0, 13.0, 3.0, 17.0, 4.0]));
        let small = apply(&[Preprocess::Crop(3, 2)], picture([2, 3, 2], &data)).unwrap_err();
        assert_eq!(small, "`crop(3, 2)` is larger than the picture, which has 2 x 3 pixels by then");
    }
}
