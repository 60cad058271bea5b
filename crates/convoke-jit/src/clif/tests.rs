//! The instructions that come out, read back from the text forms.

use convoke_core::spec::{LayerSpec, Limits};
use convoke_core::target::{Isa, Target};
use convoke_core::{ir, pipeline};

use super::{asm_text, clif_text};

fn verified(layer: &str, target: &Target) -> ir::Verified {
    let spec: LayerSpec = layer.parse().unwrap();
    pipeline::compile(&spec, target, &Limits::default()).unwrap().kernel
}

const LAYER: &str = "conv2d layer { input: f32[1, 16, 12, 12] @ nhwc, out_channels: 32, kernel_size: 3, padding: 1,
                     then: relu, schedule { vector: oc } }";

#[test]
#[cfg(target_arch = "x86_64")]
fn tiles_are_fused_and_relu_is_one_instruction() {
    let asm = asm_text(&verified(LAYER, &Target::SSE_FMA)).unwrap();
    let count = |what: &str| asm.matches(what).count();
    assert!(count("vfmadd") > 20, "{asm}");
    assert_eq!((count("vmulps"), count("vaddps"), count("vandps"), count("vblendv")), (0, 0, 0, 0), "{asm}");
    assert!(count("vmaxps") > 0 && count("vmovups") > 0, "{asm}");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn without_fma_nothing_newer_than_sse2_is_used() {
    let asm = asm_text(&verified(LAYER, &Target::SSE)).unwrap();
    let newer = asm.lines().filter(|line| line.trim_start().starts_with('v')).collect::<Vec<_>>();
    assert!(newer.is_empty(), "{newer:?}");
    assert!(asm.contains("mulps") && asm.contains("addps"), "{asm}");
}

#[test]
fn texts_name_every_tile_and_nest() {
    let kernel = verified(LAYER, &crate::native_target());
    let (clif, asm) = (clif_text(&kernel).unwrap(), asm_text(&kernel).unwrap());
    for tile in &kernel.tiles {
        let is_wide = matches!(kernel.isa, Isa::Avx2 | Isa::Avx512);
        let heading =
            if is_wide { format!("; {} is assembled", tile.name) } else { format!("function %{}(", tile.name) };
        assert!(clif.contains(&heading), "{clif}");
        assert!(asm.contains(&format!("{}:\n", tile.name)), "{asm}");
        assert!(asm.matches(&format!("%{}", tile.name)).count() >= 1, "the nest calls it by name:\n{asm}");
    }
    assert!(asm.contains(&format!("{}.{}:\n", kernel.name, kernel.nests[0].label)), "{asm}");
}
