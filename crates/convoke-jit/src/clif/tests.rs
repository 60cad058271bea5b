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
                     then: relu, accuracy: exact, schedule { vector: oc } }";

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

#[test]
#[cfg(target_arch = "x86_64")]
fn wide_tiles_stand_beside_what_they_were_made_from() {
    for (target, register) in [(Target::AVX2, "ymm"), (Target::AVX512, "zmm")] {
        let kernel = verified(LAYER, &target);
        let asm = asm_text(&kernel).unwrap();
        for tile in &kernel.tiles {
            let (_, rest) = asm.split_once(&format!("{}:\n", tile.name)).unwrap();
            let text = rest.split("\n\n").next().unwrap();
            assert!(text.contains(&format!("vfmadd231ps {register}")), "{text}");
            let mut ops = Vec::new();
            collect(&tile.body, &mut ops);
            for op in ops {
                let comment = format!("; {}\n", kernel.op_text(tile, op));
                assert!(text.contains(&comment), "{comment} is not in\n{text}");
            }
            for body in loops(text) {
                assert!(!body.contains("rsp") && !body.contains("push") && !body.contains("pop"), "{body}");
            }
        }
        assert_eq!(asm.contains("zmm"), register == "zmm", "{asm}");
    }
}

#[cfg(target_arch = "x86_64")]
fn collect<'a>(body: &'a [ir::TileStmt], ops: &mut Vec<&'a ir::Op>) {
    for stmt in body {
        match stmt {
            ir::TileStmt::Op(op) => ops.push(op),
            ir::TileStmt::Loop(l) => collect(&l.body, ops),
        }
    }
}

/// What stands between an innermost loop's label and the jump back to it.
#[cfg(target_arch = "x86_64")]
fn loops(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("jne .l") {
        let label = text[at + "jne ".len()..].lines().next().unwrap().split(' ').next().unwrap();
        let start = text.find(&format!("\n{label}:\n")).unwrap();
        let body = &text[start..at];
        if !body.contains("jne ") {
            found.push(body);
        }
    }
    assert!(!found.is_empty(), "{text}");
    found
}
