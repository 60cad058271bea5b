use super::{Array, Elements, Kind, fit, npy, png, wav, write_whole};
use crate::args::Tone;
use convoke_core::spec::{LayerSpec, Storage};

fn npy_file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn layer(text: &str) -> LayerSpec {
    text.parse().unwrap()
}

fn array(shape: &[usize], kind: Kind) -> Array {
    let data = (0..shape.iter().product()).map(|i: usize| i as f64 / 100.0).collect();
    Array { shape: shape.to_vec(), data, kind }
}

#[test]
fn npy_reads_either_byte_order_and_axis_order() {
    let little: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let big: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|x| x.to_be_bytes()).collect();
    for bytes in [npy_file("<f4", "False", "(2,)", &little), npy_file(">f8", "False", "(2,)", &big)] {
        assert_eq!(npy::read(&bytes).unwrap(), Array { shape: vec![2], data: vec![1.5, -2.0], kind: Kind::Npy });
    }
    let fortran = npy::read(&npy_file("|u1", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6])).unwrap();
    assert_eq!(fortran.data, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn npy_round_trips() {
    for dtype in [Storage::F32, Storage::F64, Storage::F16, Storage::Bf16] {
        for shape in [&[][..], &[3], &[2, 1, 5], &[0, 4]] {
            let array = Array {
                data: (0..shape.iter().product()).map(|i: usize| i as f64 - 0.5).collect(),
                shape: shape.to_vec(),
                kind: Kind::Npy,
            };
            let bytes = npy::write(&array, Elements { storage: dtype, complex: false }).unwrap();
            assert_eq!(npy::read(&bytes).unwrap(), array);
            assert_eq!((bytes.len() - array.data.len() * dtype.bytes()) % 64, 0);
        }
    }
}

#[test]
fn complex_numbers_are_an_axis_of_two() {
    let array = array(&[3, 2, 2], Kind::Npy);
    for storage in [Storage::F32, Storage::F64] {
        let bytes = npy::write(&array, Elements { storage, complex: true }).unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains(&format!("'<c{}'", 2 * storage.bytes())));
        let read = npy::read(&bytes).unwrap();
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-7;
        assert_eq!((read.shape, read.data.len()), (array.shape.clone(), array.data.len()));
        assert!(read.data.iter().zip(&array.data).all(close));
    }
    // Columns first: the parts of a number stay together.
    let parts: Vec<u8> = [1.0f32, -1.0, 3.0, -3.0, 2.0, -2.0, 4.0, -4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let fortran = npy::read(&npy_file("<c8", "True", "(2, 2)", &parts)).unwrap();
    assert_eq!((fortran.shape, fortran.data), (vec![2, 2, 2], vec![1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0]));
}

#[test]
fn damaged_files_are_refused_with_a_reason() {
    let check = |bytes: &[u8], reason: &str| {
        let error = npy::read(bytes).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    };
    check(b"", "does not begin");
    check(b"\x93NUMPY\x09\x00\x00\x00", "version");
    check(b"\x93NUMPY\x01\x00\xff\xff{", "ends within its header");
    check(&npy_file("<c32", "False", "(1,)", &[0; 32]), "`<c32`");
    check(&npy_file("<c8", "False", "(3,)", &[0; 16]), "shape [3] takes 24 bytes, and 16 follow");
    check(&npy_file("<f4", "False", "(3,)", &[0; 8]), "shape [3] takes 12 bytes, and 8 follow");
    check(&npy_file("<f8", "False", "(4294967296, 4294967296, 2)", &[]), "more than can be counted");
    check(&npy_file("<f4", "False", "(-1,)", &[]), "not understood");
    check(&npy_file("<f4", "False", "3", &[0; 12]), "not understood");
    assert!(png::read(b"\x89PNG\r\n\x1a\n").is_err());
    assert!(wav::read(b"RIFF\x00\x00\x00\x00WAVE").is_err());
}

/// Headers that are Python, and that would cost npyz memory, time or a panic.
#[test]
fn npy_headers_claim_no_more_than_there_is() {
    let hostile = [
        "(0x8000000000000000, 4)",
        "(8_000_000_000_000_000_000, 8)",
        "(8000000000000000000+1, 8)",
        "(18446744073709551616,)",
        "(0, 9223372036854775808, 4)",
        "(4, 9223372036854775808, 0)",
        "(1e5,)",
        "(3.0,)",
    ];
    for shape in hostile {
        let error = npy::read(&npy_file("<f4", "False", shape, &[])).unwrap_err().to_string();
        assert!(error.contains("not understood") || error.contains("more than can be counted"), "{shape}: {error}");
    }
    let nested = format!("{}1,{}", "(".repeat(60), ")".repeat(60));
    assert!(npy::read(&npy_file("<f4", "False", &nested, &[])).is_err());
    let long = npy_file("<f4", "False", &format!("({})", "1, ".repeat(10_000)), &[0; 4]);
    assert!(npy::read(&long).unwrap_err().to_string().contains("the most is 10000"));
    let claims_much = b"\x93NUMPY\x02\x00\xff\xff\xff\xff{";
    assert!(npy::read(claims_much).unwrap_err().to_string().contains("ends within its header"));
}

#[test]
fn npy_reads_every_version_and_number() {
    let first = npy_file("<f4", "False", "(1,)", &1.5f32.to_le_bytes());
    for version in [2, 3] {
        let mut bytes = first[..10].to_vec();
        bytes[6] = version;
        bytes.extend([0, 0]);
        bytes.extend(&first[10..]);
        assert_eq!(npy::read(&bytes).unwrap().data, [1.5]);
    }
    let numbers: [(&str, &[u8], f64); 8] = [
        ("|b1", &[1], 1.0),
        ("|i1", &[0xff], -1.0),
        ("|u1", &[0xff], 255.0),
        ("<i2", &[0xfe, 0xff], -2.0),
        (">i2", &[0xff, 0xfe], -2.0),
        (">u2", &[0x01, 0x00], 256.0),
        (">i4", &[0xff, 0xff, 0xff, 0xfd], -3.0),
        ("<u4", &[0xff, 0xff, 0xff, 0xff], 4_294_967_295.0),
    ];
    for (descr, bytes, expected) in numbers {
        assert_eq!(npy::read(&npy_file(descr, "False", "()", bytes)).unwrap().data, [expected], "{descr}");
    }
}

#[test]
fn mutated_npy_headers_never_panic() {
    const LETTERS: &[u8] = b"0123456789(){}[],:'\"<>|=+-_.xeEjJLbBTruFalsfiu8 \\\n\xff";
    let mut random = crate::random::Random::new(11);
    let mut below = |n: usize| ((random.unit() + 1.0) / 2.0 * n as f64) as usize % n;
    let numbers = npy_file("<f4", "False", "(2, 3)", &[0; 24]);
    for _ in 0..2_000 {
        let mut bytes = numbers.clone();
        for _ in 0..=below(4) {
            let at = 10 + below(bytes.len() - 34);
            bytes[at] = LETTERS[below(LETTERS.len())];
        }
        if let Ok(array) = npy::read(&bytes) {
            assert_eq!(array.data.len(), array.shape.iter().product::<usize>());
        }
    }
}

#[test]
fn mutated_files_never_panic() {
    let picture = png::write(&array(&[4, 5, 3], Kind::Png)).unwrap();
    let recording = wav::write(&array(&[9, 2], Kind::Wav { rate: 8000 })).unwrap();
    let numbers = npy::write(&array(&[2, 3], Kind::Npy), Elements { storage: Storage::F32, complex: false }).unwrap();
    let mut random = crate::random::Random::new(7);
    for _ in 0..2_000 {
        for (bytes, read) in [(&picture, png::read as fn(&[u8]) -> _), (&recording, wav::read), (&numbers, npy::read)] {
            let mut bytes = bytes.clone();
            for _ in 0..3 {
                let at = ((random.unit() + 1.0) / 2.0 * bytes.len() as f64) as usize % bytes.len();
                bytes[at] = (random.unit() * 127.0) as i8 as u8;
            }
            if let Ok(array) = read(&bytes) {
                assert_eq!(array.data.len(), array.shape.iter().product::<usize>());
            }
        }
    }
}

#[test]
fn png_keeps_eight_bits_and_reads_sixteen() {
    let levels = Array { shape: vec![1, 4, 1], data: vec![0.0, 1.0, 51.0 / 255.0, 2.0], kind: Kind::Png };
    let read = png::read(&png::write(&levels).unwrap()).unwrap();
    assert_eq!(read.data, [0.0, 1.0, 0.2, 1.0]);

    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(::png::ColorType::GrayscaleAlpha);
    encoder.set_depth(::png::BitDepth::Sixteen);
    encoder.write_header().unwrap().write_image_data(&[0x80, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00]).unwrap();
    let read = png::read(&bytes).unwrap();
    assert_eq!((read.shape, read.data), (vec![1, 2, 2], vec![32768.0 / 65535.0, 1.0, 0.0, 0.0]));
}

#[test]
fn wav_reads_integers_and_round_trips_floats() {
    for bits in [8, 16, 24, 32] {
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 8000,
            bits_per_sample: bits,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        let half = 1i32 << (bits - 2);
        for sample in [half, -half, 0, half / 2] {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        let read = wav::read(&bytes.into_inner()).unwrap();
        assert_eq!(read.data, [0.5, -0.5, 0.0, 0.25], "{bits} bits");
        assert_eq!((read.shape.as_slice(), read.kind), (&[2, 2][..], Kind::Wav { rate: 8000 }));
        let floats = Array { data: vec![1.5, -3.0, 0.0, 0.125], ..read };
        assert_eq!(wav::read(&wav::write(&floats).unwrap()).unwrap(), floats);
    }
}

#[test]
fn channels_come_to_where_the_layout_has_them() {
    let picture = array(&[2, 2, 3], Kind::Png);
    let last = layer("conv2d a { input: f32[1, 2, 2, 3] @ nhwc, out_channels: 3, kernel_size: 1 }");
    assert_eq!(fit::input(&last, &picture).unwrap().data, picture.data);
    let first = layer("conv2d a { input: f32[1, 3, 2, 2] @ nchw, out_channels: 3, kernel_size: 1 }");
    let input = fit::input(&first, &picture).unwrap();
    assert_eq!(input.data[..4], [0.0, 0.03, 0.06, 0.09]);
    let (back, _) = fit::to_picture(&first, 1, &input.data, Tone::Clamp).unwrap();
    assert_eq!(back, picture);

    let grey = layer("conv2d a { input: f32[1, 1, 2, 2], out_channels: 1, kernel_size: 1 }");
    let white = Array { data: vec![1.0; 12], ..picture };
    let input = fit::input(&grey, &white).unwrap();
    assert!(input.data.iter().all(|x| (x - 1.0).abs() < 1e-12));
    assert_eq!(input.note, Some("colours made grey"));
}

#[test]
fn blocks_of_channels_are_put_together_and_taken_apart() {
    let spec = layer("conv2d a { input: f64[N, 9, 2, 3] @ nChw8c, out_channels: 9, kernel_size: 1 }");
    let numbers = Array { data: (0..108).map(f64::from).collect(), ..array(&[2, 9, 2, 3], Kind::Npy) };
    let input = fit::input(&spec, &numbers).unwrap();
    assert_eq!((input.batch, input.data.len()), (2, 2 * 2 * 6 * 8));
    assert_eq!(input.data[8..16], [1.0, 7.0, 13.0, 19.0, 25.0, 31.0, 37.0, 43.0]);
    assert_eq!(input.data[48..57], [48.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 49.0]);
    // Input and output have the same sizes here.
    let result = fit::output(&spec, input.data);
    assert_eq!(fit::array(&spec, 2, &result), numbers);

    let colour = layer("conv2d a { input: f32[1, 3, 2, 2] @ nChw16c, out_channels: 3, kernel_size: 1 }");
    let picture = Array { data: (0..12).map(|i| f64::from(i) / 100.0).collect(), ..array(&[2, 2, 3], Kind::Png) };
    let input = fit::input(&colour, &picture).unwrap();
    assert_eq!((input.data.len(), &input.data[..5]), (64, &[0.0, 0.01, 0.02, 0.0, 0.0][..]));
    let result = fit::output(&colour, input.data);
    assert_eq!(fit::to_picture(&colour, 1, &result, Tone::Clamp).unwrap().0, picture);
}

#[test]
fn sizes_of_one_may_be_left_out() {
    let spec = layer("conv1d a { input: f32[1, 1, 6], out_channels: 1, kernel_size: 1 }");
    assert_eq!(fit::input(&spec, &array(&[6], Kind::Npy)).unwrap().batch, 1);
    let error = fit::input(&spec, &array(&[7], Kind::Npy)).unwrap_err().to_string();
    assert_eq!(error, "the input is 7, and the layer takes 1 x 1 x 6");
    let named = layer("conv1d a { input: f32[N, 2, 6], out_channels: 1, kernel_size: 1 }");
    assert_eq!(fit::input(&named, &array(&[4, 2, 6], Kind::Npy)).unwrap().batch, 4);
    assert_eq!(fit::input(&named, &array(&[2, 6], Kind::Npy)).unwrap().batch, 1);
}

#[test]
fn what_fits_no_layer_is_refused_with_both_sizes() {
    let spec = layer("conv2d a { input: f32[1, 1, 2, 2], out_channels: 2, kernel_size: 1 }");
    let check = |found: Result<fit::Input, fit::FitError>, text: &str| {
        let error = found.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    check(fit::input(&spec, &array(&[3, 2, 1], Kind::Png)), "3 x 2 (rows x columns), and the layer takes 2 x 2");
    check(fit::input(&spec, &array(&[3, 2, 1], Kind::Png)), "`input: f32[1, 1, 3, 2] @ nchw`");
    check(
        fit::input(&spec, &array(&[4, 1], Kind::Wav { rate: 8000 })),
        "a recording fits a conv1d, and the layer is a conv2d",
    );
    let error = fit::to_picture(&spec, 1, &[0.0; 8], Tone::Auto).unwrap_err().to_string();
    assert_eq!(error, "the result is 1 x 2 x 2 x 2, which is no picture; write an .npy file instead");
}

#[test]
fn tones_are_as_documented() {
    let spec = layer("conv2d a { input: f32[1, 1, 1, 2], out_channels: 1, kernel_size: 1 }");
    let check = |values: [f64; 2], tone, expect: [f64; 2]| {
        assert_eq!(fit::to_picture(&spec, 1, &values, tone).unwrap().0.data, expect);
    };
    check([0.25, 1.0], Tone::Auto, [0.25, 1.0]);
    check([-2.0, 1.0], Tone::Auto, [1.0, 0.5]);
    check([-2.0, 2.0], Tone::Stretch, [0.0, 1.0]);
    check([-2.0, 0.5], Tone::Clamp, [0.0, 0.5]);
    check([0.0, 0.0], Tone::Abs, [0.0, 0.0]);
}

#[test]
fn a_file_is_replaced_whole_and_leaves_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    write_whole(&path, b"one").unwrap();
    write_whole(&path, b"two").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(write_whole(&folder.path().join("none/a.txt"), b"").is_err());
}
