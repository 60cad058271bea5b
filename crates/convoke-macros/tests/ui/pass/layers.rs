//! Layers in several layouts against a plain sum, in every version that this CPU has.
#![deny(warnings)]

use convoke_macros::conv;

conv! {
    // Both layouts of PyTorch; tails in rows and channels.
    conv2d plain {
        input: f32[2, 3, 6, 13] @ nchw,
        out_channels: 18, kernel_size: 3x5, stride: (1, 2), padding: (1, 2), bias: true,
    }
    conv1d keras { input: f64[1, 9, 4] @ nlc, out_channels: 6, kernel_size: 2, weights: lio }
    conv2d each { input: f32[N, 5, 6, 6] @ nchw, out_channels: 5, groups: 5, kernel_size: 3, bias: true, then: relu }
    conv2d copied {
        input: f32[1, 2, 5, 20] @ nchw, out_channels: 4, kernel_size: 3, padding: 1, bias: true,
        schedule { pack_input: pad },
    }
    // Blocks of channels, the last of each filled up: 5 + 11 and 2 x 16 + 3 + 13.
    conv2d normalized { input: f32[1, 4, 6, 3] @ nhwc, out_channels: 5, kernel_size: 3, then: [scale, shift, prelu] }
    conv2d blocked { input: f32[1, 5, 4, 6] @ nChw16c, out_channels: 35, kernel_size: 3, bias: true, then: sigmoid }
    // Small enough for a copy that no one sees.
    conv2d small { input: f32[1, 3, 10, 10] @ nchw, out_channels: 8, kernel_size: 3, padding: 1 }
    // Phases of two taps and of one along h, of two along w; groups of PyTorch's weights.
    conv_transpose2d spread {
        input: f32[1, 4, 5, 6] @ nchw,
        out_channels: 10, kernel_size: 3x4, stride: 2, padding: 1, groups: 2, bias: true,
    }
    deform_conv2d moved { input: f32[N, 1, 2, 2] @ nchw, out_channels: 1, kernel_size: 1, mask: true }
    conv1d added { input: f32[N, 1, 4] @ ncl, out_channels: 1, kernel_size: 2, then: [residual, relu] }
    // Pooling has nothing to pack but what its epilogue takes.
    max_pool2d greatest { input: f32[1, 3, 7, 21] @ nchw, kernel_size: 3, stride: 2, padding: 1 }
    avg_pool2d mean { input: f32[N, 5, 6, 4] @ nhwc, kernel_size: global, then: [scale, shift] }
    lp_pool1d energy { input: f32[1, 1, 6], kernel_size: 2 }
    avg_pool1d shared { input: f32[1, 1, 5], output_size: 2 }
    max_pool2d placed { input: f32[N, 2, 4, 6] @ nchw, kernel_size: 2, return_indices: true }
    max_unpool2d put_back { input: f32[N, 2, 2, 3] @ nchw, kernel_size: 2 }
    // Two of a block of sixteen.
    max_unpool1d blocks { input: f32[1, 2, 1] @ nCw16c, kernel_size: 3 }
    conv1d halves { input: bf16[1, 2, 21] @ ncl, out_channels: 3, kernel_size: 3, bias: true }
    // Integers: sums, bytes with parameters for each channel, and maxima.
    conv2d sums {
        input: u8[1, 5, 6, 9] @ nchw, input_zero_point: 100,
        out_channels: 18, kernel_size: 3, stride: (1, 2), padding: 1, bias: true,
    }
    conv1d bytes {
        input: i8[N, 6, 12] @ nlc, input_scale: 0.5, input_zero_point: -3,
        out_channels: 4, kernel_size: 3, groups: 2,
        weights_type: u8, weights_scale: per_channel, weights_zero_point: per_channel,
        output: i8, output_scale: 64, output_zero_point: 5,
    }
    max_pool1d greatest_bytes { input: i8[1, 1, 4], kernel_size: 3, padding: 1, stride: 1 }
    // The smallest layers: nothing to compute, and one number.
    conv2d nothing { input: f64[0, 7, 9, 5] @ nhwc, out_channels: 3, kernel_size: 3, padding: (4..0, 0..5), then: gelu }
    conv1d number { input: f32[1, 1, 1] @ ncl, out_channels: 1, kernel_size: 1, bias: true }
}

/// The bits of halves; sums are of `f32`, and rounded once.
fn halves_layer() {
    let bits = |x: f32| (x.to_bits() >> 16) as u16;
    let src: halves::Src = std::array::from_fn(|i| bits((i * 7 % 11) as f32 * 8.0 + 1.0));
    let weights: halves::Weights = std::array::from_fn(|i| bits(i as f32 - 4.0));
    let bias: halves::Bias = [bits(0.5), bits(-3.0), bits(1.0)];
    let packed = halves::pack(&weights, &bias);
    for isa in halves::Isa::ALL {
        let mut dst = [0; 3 * 19];
        if !halves::run_with(isa, &src, &packed, &mut dst) {
            continue;
        }
        for (i, &found) in dst.iter().enumerate() {
            let (oc, ow) = (i / 19, i % 19);
            let wide = |x: u16| f32::from_bits(u32::from(x) << 16);
            let taps = (0..6).map(|t| wide(src[t / 3 * 21 + ow + t % 3]) * wide(weights[oc * 6 + t]));
            let sum = (wide(bias[oc]) + taps.sum::<f32>()).to_bits();
            assert_eq!(found, ((sum + 0x7fff + (sum >> 16 & 1)) >> 16) as u16, "{} {i}", isa.name());
        }
    }
}

fn sums_of_bytes() {
    let src: sums::Src = std::array::from_fn(|i| (i * 37) as u8);
    let weights: sums::Weights = std::array::from_fn(|i| (i * 41) as i8);
    let bias: sums::Bias = std::array::from_fn(|c| 1000 * c as i32 - 7);
    let packed = sums::pack(&weights, &bias);
    let mut ran = 0;
    for isa in sums::Isa::ALL {
        let mut dst: sums::Dst = [-1; 18 * 6 * 5];
        if !sums::run_with(isa, &src, &packed, &mut dst) {
            continue;
        }
        ran += 1;
        for (i, &found) in dst.iter().enumerate() {
            let (oc, oh, ow) = (i / 30, i / 5 % 6, i % 5);
            let products = (0..45).map(|t| {
                let (ic, kh, kw) = (t / 9, t / 3 % 3, t % 3);
                let (ih, iw) = ((oh + kh).wrapping_sub(1), (ow * 2 + kw).wrapping_sub(1));
                let is_padding = ih >= 6 || iw >= 9;
                let x = if is_padding { 0 } else { i32::from(src[(ic * 6 + ih) * 9 + iw]) - 100 };
                x * i32::from(weights[oc * 45 + t])
            });
            assert_eq!(found, bias[oc] + products.sum::<i32>(), "{}: {i}", isa.name());
        }
    }
    assert!(ran >= 1);
}

/// Packed at build time.
static BYTES: bytes::Packed = {
    let mut weights = [0; 4 * 6 * 3];
    let mut i = 0;
    while i < weights.len() {
        weights[i] = (i * 29 % 256) as u8;
        i += 1;
    }
    bytes::pack(&weights, &[0, 128, 255, 100], &[0.25, 0.5, 1.0, 0.125])
};

fn bytes_of_bytes() {
    let src: [bytes::Src; 2] = std::array::from_fn(|n| std::array::from_fn(|i| (i * 31 + n * 5) as i8));
    let (points, scales) = ([0, 128, 255, 100], [0.25, 0.5, 1.0, 0.125]);
    for isa in bytes::Isa::ALL {
        let mut dst: [bytes::Dst; 2] = [[0; 4 * 4]; 2];
        let mut scratch = [[0.0; size_of::<bytes::Scratch>() / 4]; 2];
        if !bytes::run_with(isa, &src, &BYTES, &mut dst, &mut scratch) {
            continue;
        }
        for (i, &found) in dst.as_flattened().iter().enumerate() {
            let (n, ow, oc) = (i / 16, i / 4 % 4, i % 4);
            let products = (0..18).map(|t| {
                let (ic, kw) = (t / 3, t % 3);
                let weight = ((oc * 18 + t) * 29 % 256) as i32 - points[oc];
                (i32::from(src[n][(ow + kw) * 12 + oc / 2 * 6 + ic]) + 3) * weight
            });
            let sum = products.sum::<i32>() as f32 * (0.5 * scales[oc] / 64.0);
            let expected = (sum.round_ties_even() as i32 + 5).clamp(-128, 127);
            assert_eq!(i32::from(found), expected, "{}: {i}", isa.name());
        }
    }
    let mut dst = [0; 4];
    greatest_bytes::run(&[-7, -128, 5, -1], &mut dst);
    assert_eq!(dst, [-7, 5, 5, 5]);
}

/// Small integers, so that sums are exact in any order.
fn fill(seed: usize, out: &mut [f32]) {
    for (i, x) in out.iter_mut().enumerate() {
        *x = ((i * 7 + seed) % 11) as f32 - 5.0;
    }
}

/// Each input is spread over its window.
fn spread_layer() {
    let (mut src, mut weights, mut bias) = ([0.0; 4 * 5 * 6], [0.0; 4 * 5 * 12], [0.0; 10]);
    fill(1, &mut src);
    fill(2, &mut weights);
    fill(3, &mut bias);
    let mut expected: spread::Dst = [0.0; 10 * 9 * 12];
    for (i, sum) in expected.iter_mut().enumerate() {
        *sum = bias[i / (9 * 12)];
    }
    for (i, x) in src.iter().enumerate() {
        let (ic, ih, iw) = (i / 30, i / 6 % 5, i % 6);
        for (oc, kh, kw) in (0..5 * 12).map(|t| (t / 12, t / 4 % 3, t % 4)) {
            let (oh, ow) = ((ih * 2 + kh).wrapping_sub(1), (iw * 2 + kw).wrapping_sub(1));
            if oh < 9 && ow < 12 {
                let group = ic / 2;
                expected[((group * 5 + oc) * 9 + oh) * 12 + ow] += x * weights[((ic * 5 + oc) * 3 + kh) * 4 + kw];
            }
        }
    }
    let packed = spread::pack(&weights, &bias);
    for isa in spread::Isa::ALL {
        let mut dst = [f32::NAN; 10 * 9 * 12];
        if spread::run_with(isa, &src, &packed, &mut dst) {
            assert_eq!(dst, expected, "{}", isa.name());
        }
    }
}

fn plain_layer() {
    let (mut src, mut weights, mut bias) = ([0.0; 2 * 3 * 6 * 13], [0.0; 18 * 3 * 15], [0.0; 18]);
    fill(1, &mut src);
    fill(2, &mut weights);
    fill(3, &mut bias);
    let mut expected: plain::Dst = [0.0; 2 * 18 * 6 * 7];
    for (i, sum) in expected.iter_mut().enumerate() {
        let (n, oc, oh, ow) = (i / (18 * 42), i / 42 % 18, i / 7 % 6, i % 7);
        *sum = bias[oc];
        for (ic, kh, kw) in (0..45).map(|t| (t / 15, t / 5 % 3, t % 5)) {
            let (ih, iw) = ((oh + kh).wrapping_sub(1), (ow * 2 + kw).wrapping_sub(2));
            if ih < 6 && iw < 13 {
                *sum += src[((n * 3 + ic) * 6 + ih) * 13 + iw] * weights[((oc * 3 + ic) * 3 + kh) * 5 + kw];
            }
        }
    }
    let packed = plain::pack(&weights, &bias);
    let mut ran = 0;
    for isa in plain::Isa::ALL {
        let mut dst = [f32::NAN; 2 * 18 * 6 * 7];
        if plain::run_with(isa, &src, &packed, &mut dst) {
            assert_eq!(dst, expected, "{}", isa.name());
            ran += 1;
        } else {
            assert!(dst.iter().all(|x| x.is_nan()));
        }
    }
    assert!(ran >= 1 && plain::isa().is_available());
}

static KERAS: keras::Packed = keras::pack(&[0.5; 2 * 4 * 6]);

fn keras_layer() {
    let src: keras::Src = core::array::from_fn(|i| i as f64);
    let mut dst = [0.0; 8 * 6];
    keras::run(&src, &KERAS, &mut dst);
    for (i, x) in dst.iter().enumerate() {
        let first = i / 6 * 4;
        assert_eq!(*x, (first..first + 8).map(|x| x as f64 * 0.5).sum::<f64>());
    }
}

fn named_batch() {
    let mut src = [[0.0; 5 * 36]; 3];
    src.iter_mut().enumerate().for_each(|(n, image)| fill(n, image));
    let mut packed = each::Packed::ZERO;
    each::pack_into(&mut packed, &[1.0; 5 * 9], &[0.5; 5]);
    let mut dst = [[f32::NAN; 5 * 16]; 3];
    each::run(&src, &packed, &mut dst);
    for (n, image) in dst.iter().enumerate() {
        for (i, x) in image.iter().enumerate() {
            let corner = i / 16 * 36 + i / 4 % 4 * 6 + i % 4;
            let sum: f32 = (0..9).map(|t| src[n][corner + t / 3 * 6 + t % 3]).sum();
            assert_eq!(*x, (sum + 0.5).max(0.0));
        }
    }
    each::run(&[], &packed, &mut []);
    let short = std::panic::catch_unwind(|| each::run(&src, &packed, &mut [[0.0; 5 * 16]; 2]));
    assert!(short.is_err());
}

fn scratch() {
    let mut src = [0.0; 2 * 5 * 20];
    fill(4, &mut src);
    let mut weights = [0.0; 4 * 2 * 9];
    weights[4] = 2.0;
    let packed = copied::pack(&weights, &[1.0; 4]);
    let (mut dst, mut scratch) = ([0.0; 4 * 5 * 20], [f32::NAN; size_of::<copied::Scratch>() / 4]);
    copied::run(&src, &packed, &mut dst, &mut scratch);
    assert!((0..100).all(|i| dst[i] == 2.0 * src[i] + 1.0));
    assert!(dst[100..].iter().all(|x| *x == 1.0));
}

fn own_scratch() {
    let mut src = [0.0; 300];
    fill(5, &mut src);
    let mut weights = [0.0; 8 * 27];
    weights[27 * 7 + 9 + 4] = 3.0;
    let packed = small::pack(&weights);
    for isa in small::Isa::ALL {
        let mut dst = [f32::NAN; 800];
        if small::run_with(isa, &src, &packed, &mut dst) {
            assert!((0..100).all(|i| dst[700 + i] == 3.0 * src[100 + i]) && dst[..700].iter().all(|x| *x == 0.0));
        }
    }
}

fn normalized_layer() {
    let channels: normalized::Channels = [-1.0, 0.0, 1.0, 2.0, 3.0];
    // Sums of 0, so that what is left are the steps: 2 * 0 + channel, and half of what is negative.
    let packed = normalized::pack(&[0.0; 5 * 3 * 3 * 3], &[2.0; 5], &channels, &[0.5; 5]);
    let mut dst: normalized::Dst = [f32::NAN; 2 * 4 * 5];
    normalized::run(&[1.0; 4 * 6 * 3], &packed, &mut dst);
    for pixel in dst.chunks_exact(5) {
        assert_eq!(pixel, [-0.5, 0.0, 1.0, 2.0, 3.0]);
    }
}

fn blocked_layer() {
    // What fills up the block of the input is never read.
    let mut src: blocked::Src = [f32::NAN; 16 * 4 * 6];
    let channel = |c: usize, p: usize| ((c * 3 + p * 5) % 7) as f32 - 3.0;
    for (c, p) in (0..5).flat_map(|c| (0..24).map(move |p| (c, p))) {
        src[p * 16 + c] = channel(c, p);
    }
    let mut weights = [0.0; 35 * 5 * 9];
    fill(6, &mut weights);
    let packed = blocked::pack(&weights, &[0.5; 35]);
    for isa in blocked::Isa::ALL {
        let mut dst: blocked::Dst = [f32::NAN; 48 * 2 * 4];
        if !blocked::run_with(isa, &src, &packed, &mut dst) {
            continue;
        }
        for (i, x) in dst.iter().enumerate() {
            let (oc, oh, ow) = (i / 128 * 16 + i % 16, i / 64 % 2, i / 16 % 4);
            if oc >= 35 {
                assert_eq!(x.to_bits(), 0, "{}", isa.name());
                continue;
            }
            let products = (0..45).map(|t| {
                let (ic, kh, kw) = (t / 9, t / 3 % 3, t % 3);
                channel(ic, (oh + kh) * 6 + ow + kw) * weights[oc * 45 + t]
            });
            let sum = products.sum::<f32>() + 0.5;
            assert!((x - 1.0 / (1.0 + (-sum).exp())).abs() < 1e-6, "{}: {i}", isa.name());
        }
    }
}

fn residual() {
    let packed = added::pack(&[1.0, -1.0]);
    let mut dst: [added::Dst; 2] = [[f32::NAN; 3]; 2];
    added::run(&[[4.0, 3.0, 1.0, 1.0], [0.0; 4]], &packed, &[[1.0, 2.0, -3.0], [5.0, -5.0, 0.5]], &mut dst);
    assert_eq!(dst, [[2.0, 4.0, 0.0], [5.0, 0.0, 0.5]]);
    let short = std::panic::catch_unwind(|| added::run(&[[0.0; 4]; 2], &packed, &[[0.0; 3]], &mut [[0.0; 3]; 2]));
    assert!(short.is_err());
}

fn deformable() {
    static PACKED: moved::Packed = moved::pack(&[2.0]);
    let mut dst: [moved::Dst; 2] = [[f32::NAN; 4]; 2];
    let offset = [[0.0, 0.5, 0.0, -1.0, 0.5, 0.0, 0.5, 0.0], [0.0; 8]];
    let mask = [[1.0, 1.0, 0.5, -1.0], [1.0; 4]];
    let mut local: moved::Local = [f32::NAN; _];
    for isa in moved::Isa::ALL {
        let src = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]];
        if moved::run_with(isa, &src, &PACKED, &offset, &mask, &mut dst, &mut local) {
            assert_eq!(dst, [[3.0, 6.0, 3.5, -4.0], [10.0, 12.0, 14.0, 16.0]], "{}", isa.name());
        }
    }
    let short = std::panic::catch_unwind(|| {
        moved::run(&[[0.0; 4]; 2], &PACKED, &[[0.0; 8]], &[[0.0; 4]; 2], &mut [[0.0; 4]; 2], &mut [0.0; _]);
    });
    assert!(short.is_err());
}

fn pooled() {
    let mut src: greatest::Src = [0.0; 3 * 7 * 21];
    fill(9, &mut src);
    for isa in greatest::Isa::ALL {
        let mut dst: greatest::Dst = [f32::NAN; 3 * 4 * 11];
        if !greatest::run_with(isa, &src, &mut dst) {
            continue;
        }
        for (i, x) in dst.iter().enumerate() {
            let (c, oh, ow) = (i / 44, i / 11 % 4, i % 11);
            let rows = (2 * oh).saturating_sub(1)..(2 * oh + 2).min(7);
            let window = rows.flat_map(|h| ((2 * ow).saturating_sub(1)..(2 * ow + 2).min(21)).map(move |w| (h, w)));
            let expected = window.map(|(h, w)| src[(c * 7 + h) * 21 + w]).fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(*x, expected, "{}: {i}", isa.name());
        }
    }
    static PACKED: mean::Packed = mean::pack(&[1.0, 2.0, 3.0, -1.0], &[0.0, 0.0, 0.0, 0.5]);
    let images: [mean::Src; 2] = core::array::from_fn(|n| core::array::from_fn(|i| (i % 4 + n) as f32));
    let mut dst: [mean::Dst; 2] = [[f32::NAN; 4]; 2];
    mean::run(&images, &PACKED, &mut dst);
    assert_eq!(dst, [[0.0, 2.0, 6.0, -2.5], [1.0, 4.0, 9.0, -3.5]]);
    let mut dst = [f32::NAN; 3];
    energy::run(&[3.0, -4.0, 0.0, 2.0, 6.0, 8.0], &mut dst);
    assert_eq!(dst, [5.0, 2.0, 10.0]);
    let mut dst = [f32::NAN; 2];
    shared::run(&[1.0, 2.0, 3.0, 4.0, 5.0], &mut dst);
    assert_eq!(dst, [2.0, 4.0]);
}

/// Maxima say where they are, and go back there.
fn indices() {
    let images: [placed::Src; 2] = core::array::from_fn(|n| core::array::from_fn(|i| ((i * 7 + n * 5) % 11) as f32));
    for isa in placed::Isa::ALL {
        let (mut dst, mut found) = ([[f32::NAN; 12]; 2], [[-1; 12]; 2]);
        if !placed::run_with(isa, &images, &mut dst, &mut found) {
            continue;
        }
        for (n, i) in (0..24).map(|i| (i / 12, i % 12)) {
            let (c, oh, ow) = (i / 6, i / 3 % 2, i % 3);
            let window = [0, 1, 6, 7].map(|tap| (2 * oh * 6 + 2 * ow + tap, images[n][c * 24 + 2 * oh * 6 + 2 * ow + tap]));
            let first = window.iter().fold(window[0], |a, &b| if b.1 > a.1 { b } else { a });
            assert_eq!((found[n][i] as usize, dst[n][i]), first, "{} {n} {i}", isa.name());
        }
        let mut whole = [[f32::NAN; 48]; 2];
        put_back::run(&dst, &found, &mut whole);
        for (n, i) in (0..96).map(|i| (i / 48, i % 48)) {
            let is_there = (0..6).any(|o| found[n][i / 24 * 6 + o] as usize == i % 24);
            assert_eq!(whole[n][i], if is_there { images[n][i] } else { 0.0 }, "{} {n} {i}", isa.name());
        }
        let mut untouched = [[7.0; 48]; 2];
        found[1][11] = 24;
        let beyond = std::panic::catch_unwind(move || {
            put_back::run(&dst, &found, &mut untouched);
        });
        assert!(beyond.is_err());
    }
    let mut places: blocks::Indices = [-1; 16];
    places[..2].copy_from_slice(&[2, 0]);
    let mut dst: blocks::Dst = [f32::NAN; 48];
    blocks::run(&[5.0; 16], &places, &mut dst);
    assert!(dst.iter().enumerate().all(|(i, &x)| x == if [32, 1].contains(&i) { 5.0 } else { 0.0 }));
}

fn smallest() {
    nothing::run(&[], &nothing::pack(&[1.0; 3 * 5 * 9]), &mut []);
    let mut dst = [f32::NAN];
    number::run(&[3.0], &number::pack(&[2.0], &[1.0]), &mut dst);
    assert_eq!(dst, [7.0]);
}

fn main() {
    std::panic::set_hook(Box::new(|info| {
        if !["as many images", "elements of a plane"].iter().any(|known| info.to_string().contains(known)) {
            eprintln!("{info}")
        }
    }));
    plain_layer();
    spread_layer();
    halves_layer();
    sums_of_bytes();
    bytes_of_bytes();
    keras_layer();
    named_batch();
    scratch();
    own_scratch();
    normalized_layer();
    blocked_layer();
    residual();
    deformable();
    pooled();
    indices();
    smallest();
}
