//! The nests that fill up the last block of `dst`, and of what else there is of its shape: zeros in the lanes past its last channel.
//!
//! The tiles store the channels that there are, and an epilogue may turn a sum of 0 into something else, so the rest is
//! written here. Parallel over rows; one tile call writes the lanes of one row.

use super::emit::Emitter;
use crate::ir::{Address, Affine, Arg, Call, Extent, Kernel, Loop, Nest, Ptr, Range, Reg, Role, Stmt, Tile, Var};
use crate::spec::{Batch, LayerSpec};

const DST: Ptr = Ptr(0);

/// Appends the nests, if there are such lanes.
pub(crate) fn nests(spec: &LayerSpec, kernel: &mut Kernel) {
    nest(spec, kernel, Role::Dst, "blank");
    if spec.return_indices {
        nest(spec, kernel, Role::Indices, "blank_indices");
    }
}

fn nest(spec: &LayerSpec, kernel: &mut Kernel, role: Role, label: &str) {
    let lanes = spec.layout.lanes(spec.out_channels, spec.dtype);
    let used = spec.out_channels % lanes;
    if used == 0 {
        return;
    }
    let [rows, pixels] = {
        let [d, h, w] = spec.spatial.map(|a| a.output);
        [d * h, w]
    };
    let row = (pixels * lanes) as i64;
    // The lanes of the first pixel of the last plane.
    let first = spec.dst_image() as i64 - rows as i64 * row + used as i64;
    kernel.tiles.push(row_tile(spec, kernel, label, pixels, lanes - used));
    let mut var = |name: &str| {
        kernel.vars.push(format!("{name}_{label}"));
        Var(kernel.vars.len() as u32 - 1)
    };
    let (oh, n) = (var("oh"), var("n"));
    let offset = Affine::constant(first).plus(oh, row).plus(n, spec.dst_image() as i64);
    let call = Call { tile: kernel.tiles.len() - 1, args: vec![Arg { role, offset }], ranges: Vec::new() };
    let batch = match spec.batch {
        Batch::Fixed(n) => Affine::constant(n as i64),
        Batch::Named(_) => Affine::var(Var::BATCH, 1),
    };
    let images =
        Loop { var: n, range: Range::of(Affine::constant(0), batch), parallel: false, body: vec![Stmt::Call(call)] };
    let outer = Loop { var: oh, range: Range::count(rows as i64), parallel: true, body: vec![Stmt::For(images)] };
    kernel.nests.push(Nest { label: label.to_owned(), outer });
}

/// Zeros to `count` neighbours at each of `pixels`.
fn row_tile(spec: &LayerSpec, kernel: &Kernel, label: &str, pixels: usize, count: usize) -> Tile {
    let mut e = Emitter::new(spec.dtype, kernel.fma);
    e.constant(Reg(0), 0.0);
    let step = spec.layout.lanes(spec.out_channels, spec.dtype) as i64;
    e.repeat(Extent::Count(pixels as u64), &[(DST, step)], |e| {
        for from in (0..count).step_by(kernel.lanes()) {
            let at = Address { ptr: DST, offset: from as i64 };
            e.store(at, Reg(0), kernel.lanes().min(count - from), 1);
        }
    });
    let (body, registers) = e.finish();
    let name = format!("{}_{label}", kernel.name);
    Tile { name, pointers: vec!["dst".to_owned()], ranges: Vec::new(), registers, body }
}
