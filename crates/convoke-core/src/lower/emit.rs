//! Writes tile programs: instructions into nested loops.

use std::collections::HashMap;

use crate::ir::{Access, Address, BinaryOp, Conversion, Extent, Op, Ptr, Reg, TileLoop, TileStmt};
use crate::spec::DType;

/// A tile's body while it is written.
pub(crate) struct Emitter {
    dtype: DType,
    fma: bool,
    /// Statements of the loops that are open, the tile's own first.
    open: Vec<Vec<TileStmt>>,
    registers: u32,
    /// Constants that registers still hold, by their bits.
    held: HashMap<Reg, u64>,
}

impl Emitter {
    pub(crate) fn new(dtype: DType, fma: bool) -> Self {
        Self { dtype, fma, open: vec![Vec::new()], registers: 0, held: HashMap::new() }
    }

    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// The body and how many registers it uses.
    pub(crate) fn finish(mut self) -> (Vec<TileStmt>, usize) {
        (self.open.pop().unwrap_or_default(), self.registers as usize)
    }

    fn push(&mut self, op: Op) {
        if let Some(top) = self.open.last_mut() {
            top.push(TileStmt::Op(op));
        }
    }

    fn define(&mut self, d: Reg) {
        self.held.remove(&d);
        self.registers = self.registers.max(d.0 + 1);
    }

    /// Writes a loop around what `body` writes; a count of 1 needs none.
    pub(crate) fn repeat(&mut self, extent: Extent, steps: &[(Ptr, i64)], body: impl FnOnce(&mut Self)) {
        if extent == Extent::Count(1) {
            return body(self);
        }
        // A loop may run any number of times, so what registers hold on its borders is not known.
        self.held.clear();
        self.open.push(Vec::new());
        body(self);
        self.held.clear();
        let body = self.open.pop().unwrap_or_default();
        let steps = steps.iter().copied().filter(|s| s.1 != 0).collect();
        if let (false, Some(top)) = (body.is_empty(), self.open.last_mut()) {
            top.push(TileStmt::Loop(TileLoop { extent, steps, body }));
        }
    }

    /// `d = value`, unless it still is.
    pub(crate) fn constant(&mut self, d: Reg, value: f64) {
        if self.held.get(&d) != Some(&value.to_bits()) {
            self.define(d);
            self.push(Op::Const { d, value });
            self.held.insert(d, value.to_bits());
        }
    }

    pub(crate) fn load(&mut self, d: Reg, at: Address, lanes: usize, stride: i64) {
        self.load_repeated(d, at, lanes, stride, 1);
    }

    /// A load that puts each element into `repeat` lanes.
    pub(crate) fn load_repeated(&mut self, d: Reg, at: Address, lanes: usize, stride: i64, repeat: usize) {
        self.define(d);
        let repeat = repeat.min(lanes);
        let mut from = Access { at, lanes, stride, repeat };
        // One element has no distance to another.
        if from.elements() == 1 {
            from.stride = 1;
        }
        self.push(Op::Load { d, from });
    }

    pub(crate) fn broadcast(&mut self, d: Reg, from: Address) {
        self.define(d);
        self.push(Op::Broadcast { d, from });
    }

    /// A load of the elements that the integers in `a` say, 0 for those that are not among the first `of`.
    pub(crate) fn gather(&mut self, d: Reg, a: Reg, from: Address, of: u32) {
        self.define(d);
        self.push(Op::Gather { d, a, from, of });
    }

    /// A load of two neighbouring elements into each lane.
    pub(crate) fn pairs(&mut self, d: Reg, at: Address, lanes: usize) {
        self.define(d);
        self.push(Op::Pairs { d, from: Access { at, lanes, stride: 1, repeat: 1 } });
    }

    /// A load of four neighbouring elements into each lane.
    pub(crate) fn quads(&mut self, d: Reg, at: Address, lanes: usize) {
        self.define(d);
        self.push(Op::Quads { d, from: Access { at, lanes, stride: 1, repeat: 1 } });
    }

    pub(crate) fn dot4(&mut self, d: Reg, a: Reg, b: Reg, c: Reg) {
        self.define(d);
        self.push(Op::Dot4 { d, a, b, c });
    }

    pub(crate) fn convert(&mut self, op: Conversion, d: Reg, a: Reg) {
        self.define(d);
        self.push(Op::Convert { op, d, a });
    }

    /// `d = value` as an integer, unless it still is.
    pub(crate) fn integer(&mut self, d: Reg, value: i32) {
        // No constant that is written has the bits of a denormal f64.
        let bits = u64::from(value as u32) + 1;
        if self.held.get(&d) != Some(&bits) {
            self.constant(d, value.into());
            self.convert(Conversion::Int, d, d);
            self.held.insert(d, bits);
        }
    }

    pub(crate) fn prefetch(&mut self, at: Address) {
        self.push(Op::Prefetch { at });
    }

    pub(crate) fn store(&mut self, at: Address, s: Reg, lanes: usize, stride: i64) {
        let stride = if lanes == 1 { 1 } else { stride };
        self.push(Op::Store { to: Access { at, lanes, stride, repeat: 1 }, s });
    }

    /// One of `count` elements from `to` on, `stride` apart, is that at `from`: which one says the number at `at`.
    pub(crate) fn scatter(&mut self, (to, count, stride): (Address, u64, i64), from: Address, at: Address) {
        self.push(Op::Scatter { to, count, stride, from, at });
    }

    pub(crate) fn binary(&mut self, op: BinaryOp, d: Reg, a: Reg, b: Reg) {
        self.define(d);
        self.push(Op::Binary { op, d, a, b });
    }

    /// `d = if a > b { c } else { e }`.
    pub(crate) fn select(&mut self, d: Reg, a: Reg, b: Reg, c: Reg, e: Reg) {
        self.define(d);
        self.push(Op::Select { d, a, b, c, e });
    }

    pub(crate) fn exponent(&mut self, d: Reg, a: Reg) {
        self.define(d);
        self.push(Op::Exponent { d, a });
    }

    pub(crate) fn sqrt(&mut self, d: Reg, a: Reg) {
        self.define(d);
        self.push(Op::Sqrt { d, a });
    }

    /// `d = a * b + c`, fused where the target can; else the product goes through `t`.
    pub(crate) fn multiply_add(&mut self, d: Reg, a: Reg, b: Reg, c: Reg, t: Reg) {
        if self.fma {
            self.define(d);
            self.push(Op::Fma { d, a, b, c });
        } else {
            self.binary(BinaryOp::Mul, t, a, b);
            self.binary(BinaryOp::Add, d, t, c);
        }
    }

    /// `p = p * x + c`.
    pub(crate) fn multiply_add_in_place(&mut self, p: Reg, x: Reg, c: Reg) {
        self.multiply_add(p, p, x, c, p);
    }
}
