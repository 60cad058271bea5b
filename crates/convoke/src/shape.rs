//! Shapes of a layer's tensors, outermost axis first, in the layer's own layouts. Complex numbers are a last axis of 2, the real part first.

use convoke_core::spec::{LayerSpec, PARTS, SpatialAxis, WeightsLayout};

/// Shape of `src` for `batch` images: `[n, c, (d, (h,)) w]`, with the channels last, or `[n, c / 16, (d, (h,)) w, 16]`
/// with the blocks of channels rounded up (8 of `f64`).
pub fn src(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.shape(batch, spec.in_channels, &sizes(spec, |axis| axis.input))
}

/// Shape of `dst` for `batch` images.
pub fn dst(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.shape(batch, spec.out_channels, &sizes(spec, |axis| axis.output))
}

/// Shape of the offsets of a deformable layer for `batch` images: that of the output with
/// [`offset_channels`](LayerSpec::offset_channels).
pub fn offset(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.shape(batch, spec.offset_channels(), &sizes(spec, |axis| axis.output))
}

/// Shape of the factors of taps of a deformable layer, with [`mask_channels`](LayerSpec::mask_channels).
pub fn mask(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.shape(batch, spec.mask_channels(), &sizes(spec, |axis| axis.output))
}

/// Shape of `src` as the layer's text has it: another than [`src`] if the layout is blocked.
pub fn declared_src(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.declared_shape(batch, spec.in_channels, &sizes(spec, |axis| axis.input))
}

/// Shape of `dst` as the layer's text would have it.
pub fn declared_dst(spec: &LayerSpec, batch: usize) -> Vec<usize> {
    spec.declared_shape(batch, spec.out_channels, &sizes(spec, |axis| axis.output))
}

/// Shape of the weights as the user gives them: `[oc, ic, (kd, (kh,)) kw]`, or `[(kd, (kh,)) kw, ic, oc]`, with `ic`
/// the channels of one group; transposed `[ic, oc, (kd, (kh,)) kw]` or `[(kd, (kh,)) kw, oc, ic]`, with `oc` those.
pub fn weights(spec: &LayerSpec) -> Vec<usize> {
    let window = spec.spatial[3 - spec.rank..].iter().map(|axis| axis.kernel);
    let parts = spec.parts();
    let [ic, oc] = [spec.in_channels / parts, spec.out_channels / parts];
    let [group_ic, group_oc] = [ic / spec.groups, oc / spec.groups];
    let numbers: Vec<usize> = match spec.weights_layout {
        WeightsLayout::Oihw => [oc, group_ic].into_iter().chain(window).collect(),
        WeightsLayout::Hwio => window.chain([group_ic, oc]).collect(),
        WeightsLayout::Iohw => [ic, group_oc].into_iter().chain(window).collect(),
        WeightsLayout::Hwoi => window.chain([group_oc, ic]).collect(),
    };
    numbers.into_iter().chain(spec.complex.then_some(PARTS)).collect()
}

fn sizes(spec: &LayerSpec, size: fn(&SpatialAxis) -> usize) -> Vec<usize> {
    spec.spatial[3 - spec.rank..].iter().map(size).collect()
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
