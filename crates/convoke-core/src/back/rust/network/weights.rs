//! The weights in the program, and where in them those of each layer are.

use super::plan::{PackedLayer, Plan};

/// The text, in which `bytes` is an expression of a reference to all of them, and `way_out` what to do about another order of bytes.
pub(super) fn text(plan: &Plan<'_>, bytes: &str, way_out: &str) -> String {
    let uses = if plan.packed.iter().any(|one| one.layer.is_some()) { "\nuse super::layers;\n" } else { "" };
    let mut out = format!(
        "//! The weights, packed as the layers read them.
{uses}
#[cfg(target_endian = \"big\")]
compile_error!(\"the weights are little-endian, and this machine is not{way_out}\");

mod bytes {{
    #[repr(C, align(64))]
    struct Aligned([u8; super::super::WEIGHTS_BYTES]);

    static WEIGHTS: Aligned = Aligned(*{bytes});

    /// The `T` that begins at byte `AT`.
    ///
    /// # Safety
    /// Any bytes are a `T`.
    pub(super) const unsafe fn part<T, const AT: usize>() -> &'static T {{
        const {{
            assert!(align_of::<T>() <= align_of::<Aligned>() && AT.is_multiple_of(align_of::<T>()));
            assert!(AT + size_of::<T>() <= super::super::WEIGHTS_BYTES);
        }}
        // SAFETY: from `AT` on there are as many bytes as `T` has, aligned for it and never written; that they are one, the caller says.
        unsafe {{ &*(&raw const WEIGHTS).cast::<u8>().add(AT).cast::<T>() }}
    }}
}}
",
    );
    for PackedLayer { function, node, layer, at, parameters, .. } in &plan.packed {
        let Some(layer) = layer else {
            let len = parameters[0].len;
            out += &format!(
                "
/// Weights and biases of `{node}`.
pub const fn {function}() -> [&'static [f32]; 2] {{
    // SAFETY: arrays are `f32` from end to end.
    let [weights, biases] = unsafe {{ bytes::part::<[[f32; {len}]; 2], {at}>() }};
    [weights, biases]
}}
"
            );
            continue;
        };
        out += &format!(
            "
/// Of `{node}`.
pub const fn {function}() -> &'static layers::{0}::Packed {{
    // SAFETY: `Packed` is `f32` from end to end, but for what aligns it.
    unsafe {{ bytes::part::<layers::{0}::Packed, {at}>() }}
}}
",
            plan.layers[*layer].name
        );
    }
    out
}
