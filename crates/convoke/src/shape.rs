//! Shapes of a layer's tensors, outermost axis first, in the layer's own layouts.

use convoke_core::spec::{LayerSpec, SpatialAxis, WeightsLayout};

/// Shape of `src` for `batch` images: `[n, c, (d, (h,)) w]`, with the channels last, or `[n, c / 16, (d, (h,)) w, 16]`
/// with the blocks of channels rounded up (8 of `f64`).
pub fn src(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.layout.shape(batch, spec.in_channels, &sizes(spec, |axis| axis.input), spec.dtype)
}

/// Shape of `dst` for `batch` images.
pub fn dst(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.layout.shape(batch, spec.out_channels, &sizes(spec, |axis| axis.output), spec.dtype)
}

/// Shape of `src` as the layer's text has it: another than [`src`] if the layout is blocked.
pub fn declared_src(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.layout.declared_shape(batch, spec.in_channels, &sizes(spec, |axis| axis.input))
}

/// Shape of `dst` as the layer's text would have it.
pub fn declared_dst(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.layout.declared_shape(batch, spec.out_channels, &sizes(spec, |axis| axis.output))
}

/// Shape of the weights as the user gives them: `[oc, ic, (kd, (kh,)) kw]`, or `[(kd, (kh,)) kw, ic, oc]`, with `ic`
/// the channels of one group; transposed `[ic, oc, (kd, (kh,)) kw]` or `[(kd, (kh,)) kw, oc, ic]`, with `oc` those.
pub fn weights(spec: &LayerSpec) -> Vec<usize> {
    let window = spec.spatial[3 - spec.rank..].iter().map(|axis| axis.kernel);
    match spec.weights_layout {
        WeightsLayout::Oihw => [spec.out_channels, spec.ic_per_group()].into_iter().chain(window).collect(),
        WeightsLayout::Hwio => window.chain([spec.ic_per_group(), spec.out_channels]).collect(),
        WeightsLayout::Iohw => [spec.in_channels, spec.oc_per_group()].into_iter().chain(window).collect(),
        WeightsLayout::Hwoi => window.chain([spec.oc_per_group(), spec.in_channels]).collect(),
    }
}

fn sizes(spec: &LayerSpec, size: fn(&SpatialAxis) -> usize) -> Vec<usize> {
    spec.spatial[3 - spec.rank..].iter().map(size).collect()
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
