use crate::{Error, compile};

fn kernel(fields: &str) -> crate::Kernel {
    compile(&format!("max_pool2d pool {{ {fields} }}").parse().unwrap()).unwrap()
}

#[test]
fn ties_and_what_is_no_number() {
    let kernel = kernel("input: f32[1, 1, 2, 6], kernel_size: 2, return_indices: true");
    let packed = kernel.pack::<f32>(&[], None).unwrap();
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let src = [1.0, 1.0, nan, 2.0, -inf, -inf, 1.0, 1.0, 5.0, nan, -inf, -inf];
    let (mut dst, mut indices) = ([0.0; 3], [-1; 3]);
    kernel.run_indices(&packed, &src, &mut dst, &mut indices).unwrap();
    assert_eq!(indices, [0, 9, 4]);
    assert!(dst[0] == 1.0 && dst[1].is_nan() && dst[2] == -inf);
}

#[test]
fn bytes_have_indices_too() {
    let kernel = kernel("input: u8[2, 1, 2, 2], kernel_size: 2, return_indices: true");
    let none = crate::IntegerParameters::<i32> { weights: &[], bias: &[], zero_points: &[], scales: &[] };
    let packed = kernel.pack_integers(&none).unwrap();
    let (mut dst, mut indices) = ([0u8; 2], [-1; 2]);
    kernel.run_indices(&packed, &[0u8, 3, 255, 255, 9, 8, 7, 9], &mut dst, &mut indices).unwrap();
    assert_eq!((dst, indices), ([255, 9], [2, 0]));
}

#[test]
fn indices_have_to_be_where_the_layer_has_some() {
    let (with, without) = (
        kernel("input: f32[1, 1, 2, 2], kernel_size: 2, return_indices: true"),
        kernel("input: f32[1, 1, 2, 2], kernel_size: 2"),
    );
    let [packed, plain] = [&with, &without].map(|kernel| kernel.pack::<f32>(&[], None).unwrap());
    let (src, mut dst) = ([1.0f32; 4], [0.0f32]);
    let error = with.run(&packed, &src, &mut dst).unwrap_err();
    assert!(matches!(error, Error::Indices { reason, .. } if reason.contains("run_indices")), "{error}");
    let error = without.run_indices(&plain, &src, &mut dst, &mut [0]).unwrap_err();
    assert!(matches!(error, Error::Indices { reason, .. } if reason.contains("has no")), "{error}");
    let error = with.run_indices(&packed, &src, &mut dst, &mut [0; 2]).unwrap_err();
    assert!(error.to_string().contains("indices has 2 elements, and layer pool needs 1"), "{error}");
    assert_eq!(dst, [0.0]);
}

fn unpooling(fields: &str) -> crate::Kernel {
    compile(&format!("max_unpool2d back {{ {fields} }}").parse().unwrap()).unwrap()
}

#[test]
fn the_last_of_several_for_one_place_counts() {
    let kernel = unpooling("input: f32[1, 3, 1, 4], kernel_size: 2, output_size: (2, 7)");
    let packed = kernel.pack::<f32>(&[], None).unwrap();
    let src: Vec<f32> = (1..=12).map(|x| x as f32).collect();
    let indices = [13, 0, 13, 0, 5, 5, 5, 5, 3, 2, 1, 0];
    for threads in [1, 2, 3] {
        let mut dst = vec![-1.0; 42];
        kernel.run_unpool_threads(threads, &packed, &src, &indices, &mut dst).unwrap();
        let mut expected = vec![0.0; 42];
        for (at, value) in [(13, 3.0), (0, 4.0), (14 + 5, 8.0), (28 + 3, 9.0), (30, 10.0), (29, 11.0), (28, 12.0)] {
            expected[at] = value;
        }
        assert_eq!(dst, expected, "{threads} threads");
    }
}

#[test]
fn an_index_of_no_element_is_an_error() {
    for layout in ["nchw", "nhwc"] {
        let sizes = if layout == "nchw" { "1, 2, 1, 2" } else { "1, 1, 2, 2" };
        let kernel = unpooling(&format!("input: f32[{sizes}] @ {layout}, kernel_size: 2"));
        let packed = kernel.pack::<f32>(&[], None).unwrap();
        for bad in [8, -1, i32::MIN, i32::MAX] {
            let mut dst = [7.0f32; 16];
            let error = kernel.run_unpool(&packed, &[1.0; 4], &[0, 1, bad, 7], &mut dst).unwrap_err();
            assert!(matches!(error, Error::Index { index, at: 2, plane: 8, .. } if index == bad), "{error}");
            assert_eq!(dst, [7.0; 16]);
        }
    }
}

#[test]
fn what_fills_up_a_block_has_no_index() {
    let kernel = unpooling("input: f32[1, 3, 1, 1] @ nChw16c, kernel_size: 1x2");
    let packed = kernel.pack::<f32>(&[], None).unwrap();
    let mut indices = [-1; 16];
    indices[..3].copy_from_slice(&[0, 1, 1]);
    let mut dst = [-1.0f32; 32];
    kernel.run_unpool(&packed, &[5.0; 16], &indices, &mut dst).unwrap();
    let expected: Vec<f32> = (0..32).map(|i| if [0, 17, 18].contains(&i) { 5.0 } else { 0.0 }).collect();
    assert_eq!(dst[..], expected);
    indices[2] = 2;
    assert!(kernel.run_unpool(&packed, &[5.0; 16], &indices, &mut dst).is_err());
}

#[test]
fn unpooling_takes_indices() {
    let (kernel, pool) =
        (unpooling("input: f64[1, 1, 1, 1], kernel_size: 2"), kernel("input: f32[1, 1, 2, 2], kernel_size: 2"));
    let packed = kernel.pack::<f64>(&[], None).unwrap();
    let mut dst = [1.0f64; 4];
    let error = kernel.run(&packed, &[1.0], &mut dst).unwrap_err();
    assert!(error.to_string().contains("so it takes `run_unpool`"), "{error}");
    let error = kernel.run_unpool(&packed, &[1.0], &[0, 0], &mut dst).unwrap_err();
    assert!(error.to_string().contains("indices has 2 elements, and layer back needs 1"), "{error}");
    let packed = pool.pack::<f32>(&[], None).unwrap();
    let error = pool.run_unpool(&packed, &[1.0; 4], &[0; 4], &mut [0.0]).unwrap_err();
    assert!(error.to_string().contains("is no unpooling"), "{error}");
    assert_eq!(dst, [1.0; 4]);
}
