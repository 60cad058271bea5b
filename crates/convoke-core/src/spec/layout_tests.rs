//! The one definition of where a channel is, against each layout written out.

use super::*;

#[test]
fn each_layout_written_out() {
    let (channels, pixels) = (21, 6);
    for dtype in [DType::F32, DType::F64] {
        let block = 64 / dtype.bytes();
        for (n, c, p) in (0..2).flat_map(|n| (0..channels).flat_map(move |c| (0..pixels).map(move |p| (n, c, p)))) {
            let index = |layout: Layout| layout.index((channels, pixels), dtype, n, c, p);
            assert_eq!(index(Layout::ChannelsFirst), (n * channels + c) * pixels + p);
            assert_eq!(index(Layout::ChannelsLast), (n * pixels + p) * channels + c);
            let blocks = if dtype == DType::F32 { 2 } else { 3 };
            assert_eq!(index(Layout::Blocked), ((n * blocks + c / block) * pixels + p) * block + c % block);
        }
        assert_eq!(Layout::Blocked.stored_channels(channels, dtype), if dtype == DType::F32 { 32 } else { 24 });
        assert_eq!(Layout::ChannelsFirst.stored_channels(channels, dtype), channels);
        assert_eq!(Layout::ChannelsLast.stored_channels(channels, dtype), channels);
    }
}

#[test]
fn lengths_are_those_of_the_padded_channels_and_work_is_not() {
    let spec: LayerSpec =
        "conv2d l { input: f32[N, 3, 4, 5] @ nChw16c, out_channels: 17, kernel_size: 3x2, padding: (1, 0) }"
            .parse()
            .expect("a legal layer");
    assert_eq!((spec.src_image(), spec.dst_image()), (16 * 20, 32 * 16));
    assert_eq!(spec.macs_per_image(), 17 * 16 * 3 * 6);
    assert_eq!(spec.layout.shape(2, 17, &[4, 4], DType::F32), [2, 2, 4, 4, 16]);
    assert_eq!(spec.layout.declared_shape(2, 17, &[4, 4]), [2, 17, 4, 4]);
}
