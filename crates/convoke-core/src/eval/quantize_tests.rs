use super::quantize_dynamic;
use crate::eval::{F16, Float};

fn quantized<T: Float>(src: &[T]) -> Vec<T> {
    let mut dst = vec![T::default(); src.len()];
    quantize_dynamic(src, &mut dst);
    dst
}

/// ONNX's definition, with whole numbers.
fn by_definition(src: &[f32]) -> Vec<f32> {
    let least = src.iter().copied().fold(0.0, f32::min);
    let most = src.iter().copied().fold(0.0, f32::max);
    let scale = (most - least) / 255.0;
    let zero = (-least / scale).clamp(0.0, 255.0).round_ties_even() as i32;
    let whole = |x: f32| ((x / scale).round_ties_even() as i32 + zero).clamp(0, 255);
    src.iter().map(|&x| (whole(x) - zero) as f32 * scale).collect()
}

#[test]
fn it_is_onnx_definition() {
    let mut state = 1_u32;
    let mut next = |from: f32, to: f32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        from + (to - from) * (state >> 8) as f32 / (1 << 24) as f32
    };
    for len in [1, 2, 15, 16, 17, 100, 1000] {
        for (from, to) in [(-1.0, 1.0), (0.0, 6.0), (-3.0, 0.5), (2.0, 3.0), (-9.0, -8.0), (-1e30, 1e30)] {
            let src: Vec<f32> = (0..len).map(|_| next(from, to)).collect();
            assert_eq!(quantized(&src), by_definition(&src), "{len} from {from} to {to}");
        }
    }
}

#[test]
fn of_two_the_even_one_is_taken() {
    // The scale is 1, and the zero 128.
    let src = [-128.0_f32, 127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5];
    assert_eq!(quantized(&src), [-128.0, 127.0, 0.0, 2.0, 2.0, 0.0, -2.0, -2.0]);
    // The least would be half way between two: rounded to 128, and what is less than that is cut off.
    let src = [-127.5_f32, 127.5, 127.0];
    assert_eq!(quantized(&src), [-128.0, 127.0, 127.0]);
}

#[test]
fn what_is_no_range_is_zeros() {
    assert_eq!(quantized::<f32>(&[]), [0.0; 0]);
    assert_eq!(quantized(&[0.0_f32; 20]), [0.0; 20]);
    // A range of which a 255th is no number any more.
    assert_eq!(quantized(&[1e-45_f32, -1e-45]), [0.0; 2]);
    // One number is the end of the range.
    assert_eq!(quantized(&[5.0_f32; 3]), [5.0; 3]);
    assert_eq!(quantized(&[-5.0_f32]), [-5.0]);
    let zeros = quantized(&[-0.0_f32, 0.0]);
    assert_eq!(zeros.map_bits(), [0, 0]);
}

trait Bits {
    fn map_bits(&self) -> Vec<u32>;
}

impl Bits for Vec<f32> {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|x| x.to_bits()).collect()
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let src: Vec<f32> = (0..20).map(|i| if i % 7 == 3 { f32::NAN } else { i as f32 }).collect();
    let made = quantized(&src);
    for (x, y) in src.iter().zip(&made) {
        assert_eq!(x.is_nan(), y.is_nan());
        assert!(x.is_nan() || (x - y).abs() <= 19.0 / 510.0 + 1e-5, "{x} {y}");
    }
    for end in [f32::INFINITY, f32::NEG_INFINITY] {
        assert!(quantized(&[1.0, end, 0.0]).iter().all(|x| x.is_nan()));
    }
    assert!(quantized(&[f32::MAX, f32::MIN]).iter().all(|x| x.is_nan()));
}

#[test]
fn other_elements_are_rounded_alike() {
    let src = [-1.0_f64, 0.3, 0.7, 1.0];
    let scale = 2.0 / 255.0;
    let expected = src.map(|x: f64| (x / scale).clamp(-128.0, 127.0).round_ties_even() * scale);
    assert_eq!(quantized(&src), expected);
    let halves = [-1.0_f32, 0.3, 0.7, 1.0].map(F16::from_lane);
    let wide = halves.map(F16::to_lane);
    let expected: Vec<F16> = quantized(&wide).into_iter().map(F16::from_lane).collect();
    assert_eq!(quantized(&halves), expected);
}
