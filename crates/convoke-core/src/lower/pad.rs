//! The nest that copies the input to `scratch` with its padding written out.

use super::emit::Emitter;
use super::geometry::Geometry;
use crate::ir::{
    Address, Affine, Arg, Call, CeilDiv, Extent, Kernel, Loop, Nest, Ptr, Range, Reg, Role, Stmt, Tile, Var,
};
use crate::spec::{Batch, LayerSpec};

const SRC: Ptr = Ptr(0);
const DST: Ptr = Ptr(1);
/// Vectors that one iteration of a copy moves.
const UNROLL: usize = 4;

/// A loop of the nest: how often, and the steps of `src` and `scratch`.
struct Level {
    name: &'static str,
    count: Affine,
    src: i64,
    scratch: i64,
    /// Zeros before the data along this axis, and the data's size: `None` where there is no padding.
    padding: Option<(i64, i64)>,
}

/// Appends the nest. One tile call writes one padded row.
pub(crate) fn nest(spec: &LayerSpec, geometry: &Geometry, kernel: &mut Kernel) {
    let [d, h, w] = spec.spatial;
    let per_pixel = geometry.src.lanes as i64;
    let row = w.input as i64 * per_pixel;
    let padded_row = (w.pad_lo + w.input + w.pad_hi) as i64 * per_pixel;
    let slice = row * h.input as i64;
    let padded_slice = padded_row * (h.pad_lo + h.input + h.pad_hi) as i64;
    let batch = match spec.batch {
        Batch::Fixed(n) => Affine::constant(n as i64),
        Batch::Named(_) => Affine::var(Var::BATCH, 1),
    };
    let n = Level { name: "n", count: batch, src: spec.src_image() as i64, scratch: geometry.src.n, padding: None };
    let padded = |name, axis: &crate::spec::SpatialAxis, src, scratch| Level {
        name,
        count: Affine::constant((axis.pad_lo + axis.input + axis.pad_hi) as i64),
        src,
        scratch,
        padding: Some((axis.pad_lo as i64, axis.input as i64)),
    };
    let planes = Level {
        name: "c",
        count: Affine::constant(geometry.src.planes as i64),
        src: slice * d.input as i64,
        scratch: geometry.src.plane,
        padding: None,
    };
    let levels = vec![n, planes, padded("id", &d, slice, padded_slice), padded("ih", &h, row, padded_row)];
    // An axis of one element needs no loop, unless it is the only one left or has padding to tell apart.
    let last = levels.len() - 1;
    let mut kept: Vec<Level> = Vec::new();
    for (i, level) in levels.into_iter().enumerate() {
        if level.count.as_constant() != Some(1) || (i == last && kept.is_empty()) {
            kept.push(level);
        }
    }
    let lead = w.pad_lo as i64 * per_pixel;
    let steps: Vec<i64> = kept.iter().filter(|l| l.padding.is_some()).map(|l| l.src).collect();
    let ranges: Vec<String> = kept.iter().filter(|l| l.padding.is_some()).map(|l| l.name.to_owned()).collect();
    let tile = copy_tile(kernel, spec, &steps, ranges, (lead, row, padded_row));
    kernel.tiles.push(tile);
    let outer = build(kernel, &kept);
    kernel.nests.push(Nest { label: "pad".to_owned(), outer });
}

/// Writes a row: zeros first, then the data over them if the row has any.
fn copy_tile(
    kernel: &Kernel,
    spec: &LayerSpec,
    steps: &[i64],
    ranges: Vec<String>,
    (lead, row, padded_row): (i64, i64, i64),
) -> Tile {
    let mut e = Emitter::new(spec.dtype, kernel.fma);
    let lanes = kernel.lanes();
    e.constant(Reg(0), 0.0);
    stream(&mut e, lanes, padded_row, |e, offset, lanes| {
        e.store(Address { ptr: DST, offset }, Reg(0), lanes, 1);
    });
    data(&mut e, steps, 0, &mut |e| {
        stream(e, lanes, row, |e, offset, lanes| {
            e.load(Reg(0), Address { ptr: SRC, offset }, lanes, 1);
            e.store(Address { ptr: DST, offset: lead + offset }, Reg(0), lanes, 1);
        });
    });
    let (body, registers) = e.finish();
    let pointers = vec!["src".to_owned(), "scratch".to_owned()];
    Tile { name: format!("{}_pad", kernel.name), pointers, ranges, registers, body }
}

/// Loops that run once where the row holds data and not at all where it is padding.
fn data(e: &mut Emitter, steps: &[i64], range: u32, body: &mut dyn FnMut(&mut Emitter)) {
    match steps.split_first() {
        None => body(e),
        Some((&step, rest)) => {
            e.repeat(Extent::Range(range), &[(SRC, step)], |e| data(e, rest, range + 1, body));
        }
    }
}

/// Calls `at` for every vector of `len` elements, in a loop of [`UNROLL`] vectors where there are enough.
fn stream(e: &mut Emitter, lanes: usize, len: i64, mut at: impl FnMut(&mut Emitter, i64, usize)) {
    let lanes_i = lanes as i64;
    let round = lanes_i * UNROLL as i64;
    let rounds = len / round;
    if rounds > 0 {
        e.repeat(Extent::Count(rounds as u64), &[(SRC, round), (DST, round)], |e| {
            for i in 0..UNROLL as i64 {
                at(e, i * lanes_i, lanes);
            }
        });
    }
    let mut offset = rounds * round;
    while offset < len {
        let n = lanes_i.min(len - offset);
        at(e, offset, n as usize);
        offset += n;
    }
}

/// The loops of `levels` around the call.
fn build(kernel: &mut Kernel, levels: &[Level]) -> Loop {
    let mut src = Affine::constant(0);
    let mut scratch = Affine::constant(0);
    let mut ranges = Vec::new();
    let mut vars = Vec::new();
    for level in levels {
        kernel.vars.push(format!("{}_pad", level.name));
        let var = Var(kernel.vars.len() as u32 - 1);
        vars.push(var);
        src = src.plus(var, level.src);
        scratch = scratch.plus(var, level.scratch);
        if let Some((pad, size)) = level.padding {
            // The one iteration i = 0 lies in the range where 0 <= var - pad < size; counting the source from there
            // on keeps the offset within the buffer for every i of the range.
            src = src.offset(-pad * level.src);
            let before = Affine::var(var, -1).offset(pad);
            let behind = Affine::var(var, -1).offset(pad + size);
            ranges.push(Range {
                lo: vec![CeilDiv::constant(0), CeilDiv::whole(before)],
                hi: vec![CeilDiv::constant(1), CeilDiv::whole(behind)],
            });
        }
    }
    let args = vec![Arg { role: Role::Src, offset: src }, Arg { role: Role::Scratch, offset: scratch }];
    let call = Call { tile: kernel.tiles.len() - 1, args, ranges };
    let mut nested = vec![Stmt::Call(call)];
    for (level, &var) in levels.iter().zip(&vars).skip(1).rev() {
        let range = Range::of(Affine::constant(0), level.count.clone());
        nested = vec![Stmt::For(Loop { var, range, parallel: false, body: nested })];
    }
    let range = Range::of(Affine::constant(0), levels[0].count.clone());
    Loop { var: vars[0], range, parallel: true, body: nested }
}
