//! Numbers and shapes as people read them.

use convoke::shape;
use convoke_core::spec::{Batch, LayerSpec};

/// `1.18 G`, `9.41 k`, `512`: three digits and a unit.
pub(crate) fn short(n: f64) -> String {
    for (size, unit) in [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if n >= size {
            return format!("{} {unit}", three_digits(n / size));
        }
    }
    format!("{n:.0} ")
}

/// `n` with three digits: `1.23`, `12.3`, `123`.
pub(crate) fn three_digits(n: f64) -> String {
    match n.abs() {
        x if x >= 99.95 => format!("{n:.0}"),
        x if x >= 9.995 => format!("{n:.1}"),
        _ => format!("{n:.2}"),
    }
}

/// A time: `1.23 ms`.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{} s", three_digits(s)),
        s if s >= 1e-3 => format!("{} ms", three_digits(s * 1e3)),
        s => format!("{} µs", three_digits(s * 1e6)),
    }
}

/// `1 x 3 x 224 x 224`.
pub(crate) fn sizes(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

/// `[1, 64, 112, 112]`, the batch by its name if it has one.
fn named(spec: &LayerSpec, of: fn(&LayerSpec, usize) -> Vec<usize>) -> Vec<String> {
    let batch = spec.fixed_batch().unwrap_or(1);
    let mut sizes: Vec<_> = of(spec, batch).iter().map(ToString::to_string).collect();
    if let Batch::Named(name) = &spec.batch {
        sizes[0].clone_from(name);
    }
    sizes
}

/// Sizes of the input, as the language writes them, without the element type.
pub(crate) fn input_sizes(spec: &LayerSpec) -> Vec<String> {
    named(spec, shape::declared_src)
}

/// Sizes of the output.
pub(crate) fn output_sizes(spec: &LayerSpec) -> Vec<String> {
    named(spec, shape::declared_dst)
}

/// `nchw` and its like.
pub(crate) fn layout_name(spec: &LayerSpec) -> &'static str {
    spec.layout.name(spec.rank, spec.dtype)
}
