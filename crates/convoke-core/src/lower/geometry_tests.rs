//! Views against the one definition of where a channel is, and their runs channel by channel.

use super::*;
use crate::spec::{Algorithm, DType, Layout};

fn views(channels: usize) -> Vec<(LayerSpec, View)> {
    let layouts = [Layout::ChannelsFirst, Layout::ChannelsLast, Layout::Blocked];
    let of = |(layout, dtype)| {
        let text = format!("conv2d l {{ input: f32[1, {channels}, 4, 5], out_channels: 1, kernel_size: 1x2 }}");
        let spec = LayerSpec { layout, dtype, ..text.parse().expect("a legal layer") };
        let view = Geometry::of(&spec, Algorithm::Direct, PackInput::None).src;
        (spec, view)
    };
    layouts.into_iter().flat_map(|l| [(l, DType::F32), (l, DType::F64)]).map(of).collect()
}

#[test]
fn a_view_is_where_the_layout_says() {
    for (spec, view) in [1, 7, 16, 40].into_iter().flat_map(views) {
        assert_eq!(view.n, spec.src_image() as i64, "{spec}");
        for (n, c, h, w) in (0..40).flat_map(|i| [(0, i % spec.in_channels, i % 4, i % 5), (1, 0, i % 4, i % 5)]) {
            let index = spec.layout.index((spec.in_channels, 20), spec.dtype, n, c, h * 5 + w);
            let [_, row, pixel] = view.spatial;
            let at = n as i64 * view.n + view.channel(c) + h as i64 * row + w as i64 * pixel;
            assert_eq!(at, index as i64, "{spec}");
        }
    }
}

#[test]
fn runs_are_the_channels_in_order() {
    for (spec, view) in [1, 7, 16, 40].into_iter().flat_map(views) {
        for channels in 1..=spec.in_channels {
            let mut at = Vec::new();
            for run in view.runs(channels) {
                let (start, planes, lanes) = (view.channel(run.start), run.planes as i64, run.lanes as i64);
                at.extend((0..planes).flat_map(|p| (0..lanes).map(move |l| start + p * view.plane + l)));
            }
            let expected: Vec<i64> = (0..channels).map(|c| view.channel(c)).collect();
            assert_eq!(at, expected, "{channels} of {spec}");
        }
    }
}
