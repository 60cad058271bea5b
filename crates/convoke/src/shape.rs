//! Shapes of a layer's tensors, outermost axis first, in the layer's own layouts.

use convoke_core::spec::{LayerSpec, Layout, SpatialAxis, WeightsLayout};

/// Shape of `src` for `batch` images: `[n, c, (d, (h,)) w]`, or with the channels last.
pub fn src(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    tensor(spec, batch, spec.in_channels, |axis| axis.input)
}

/// Shape of `dst` for `batch` images.
pub fn dst(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    tensor(spec, batch, spec.out_channels, |axis| axis.output)
}

/// Shape of the weights as the user gives them: `[oc, ic, (kd, (kh,)) kw]`, or `[(kd, (kh,)) kw, ic, oc]`, with `ic`
/// the channels of one group.
pub fn weights(spec: &LayerSpec) -> Vec<usize> {
    let window = spec.spatial[3 - spec.rank..].iter().map(|axis| axis.kernel);
    match spec.weights_layout {
        WeightsLayout::Oihw => [spec.out_channels, spec.ic_per_group()].into_iter().chain(window).collect(),
        WeightsLayout::Hwio => window.chain([spec.ic_per_group(), spec.out_channels]).collect(),
    }
}

fn tensor(spec: &LayerSpec, batch: usize, channels: usize, size: impl Fn(&SpatialAxis) -> usize) -> Vec<usize> {
    let sizes = spec.spatial[3 - spec.rank..].iter().map(size);
    match spec.layout {
        Layout::ChannelsFirst => [batch, channels].into_iter().chain(sizes).collect(),
        Layout::ChannelsLast => [batch].into_iter().chain(sizes).chain([channels]).collect(),
    }
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
