//! A tile to instructions.
//!
//! A register of the tile is the machine's register of the same number; the last that the tile leaves is the encoder's own.
//! Loops count down and test at their end.

use std::collections::BTreeSet;

use convoke_core::ir::{Access, BinaryOp, Extent, Kernel, Op, Ptr, Reg, Tile, TileLoop, TileStmt};
use convoke_core::spec::Storage;
use iced_x86::{Code, Instruction, Register};

use super::assembler::{Assembler, Code64, Operand, memory};
use super::frame::{Frame, TEMPORARY, TEMPORARY_2};
use super::isa::Vectors;
use crate::error::JitError;

use Operand::{Imm, Reg as R};

/// What the scratch register holds, or what an instruction wants it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scratch {
    /// Nothing is asked of it.
    Free,
    /// A mask of that many lanes.
    Mask(usize),
    /// The indices of every second element of two vectors, the second of which ends with the last of that many lanes.
    EverySecond(usize),
    /// The indices of elements that go to that many lanes each.
    Repeated(usize),
    /// Something that will not be asked for again.
    Other,
}

impl Scratch {
    /// What two uses together ask for.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Free, x) | (x, Self::Free) => x,
            (a, b) if a == b => a,
            _ => Self::Other,
        }
    }
}

/// Mask registers that hold a number of lanes through the whole tile.
const KEPT_MASKS: usize = 5;
/// The mask register that a comparison fills.
pub(super) const COMPARED: Register = Register::K7;

pub(super) struct Emitter<'a> {
    pub(super) a: Assembler,
    pub(super) v: Vectors,
    pub(super) frame: Frame,
    pub(super) scratch: Scratch,
    /// The register that no instruction of the tile uses; where a tile uses all, one that this instruction does not use,
    /// kept on the stack meanwhile.
    pub(super) scratch_register: usize,
    /// Numbers of lanes that mask registers hold, from the first on.
    pub(super) masks: Vec<usize>,
    /// Whether the tile uses all registers.
    borrows: bool,
    /// What each pointer goes to.
    storages: Vec<Storage>,
    kernel: &'a Kernel,
    tile: &'a Tile,
}

/// Assembles `tile`, `annotated` with what each instruction is for.
pub(super) fn assemble(kernel: &Kernel, tile: &Tile, annotated: bool) -> Result<Code64, JitError> {
    let refuse = |reason: String| JitError::Codegen { function: tile.name.clone(), reason };
    let index = kernel.tiles.iter().position(|t| t.name == tile.name).unwrap_or_default();
    let v = Vectors::new(kernel.isa, kernel.dtype);
    if tile.registers > v.registers() {
        let (wanted, most) = (tile.registers, v.registers());
        return Err(refuse(format!("it uses {wanted} registers, and at most {most} fit")));
    }
    let borrows = tile.registers == v.registers();
    let frame = Frame::of(tile, if borrows { v.bytes() } else { 0 }).map_err(refuse)?;
    let a = Assembler::new(annotated);
    let mut emitter = Emitter {
        a,
        v,
        frame,
        scratch: Scratch::Other,
        scratch_register: v.registers() - 1,
        borrows,
        masks: Vec::new(),
        storages: kernel.pointer_storages(index),
        kernel,
        tile,
    };
    for line in emitter.frame.describe(tile) {
        emitter.a.note(|| line);
    }
    emitter.frame.enter(&mut emitter.a);
    emitter.fill_masks();
    emitter.body(&tile.body, 0)?;
    emitter.a.note(|| "return".to_owned());
    emitter.frame.leave(&mut emitter.a);
    emitter.a.vector(Code::VEX_Vzeroupper, &[]);
    emitter.a.scalar(Ok(Instruction::with(Code::Retnq)));
    emitter.a.finish().map_err(refuse)
}

impl Emitter<'_> {
    fn fill_masks(&mut self) {
        if !self.v.has_masks() {
            return;
        }
        let mut lanes = BTreeSet::new();
        partial_lanes(&self.tile.body, self.v.lanes(), &mut lanes);
        self.masks = lanes.into_iter().take(KEPT_MASKS).collect();
        for at in 0..self.masks.len() {
            self.fill_mask(Register::K1 + at as u32, self.masks[at]);
        }
    }

    fn body(&mut self, body: &[TileStmt], depth: usize) -> Result<(), JitError> {
        for stmt in body {
            match stmt {
                TileStmt::Op(op) => {
                    let (kernel, tile) = (self.kernel, self.tile);
                    self.a.note(|| kernel.op_text(tile, op));
                    if self.borrows && self.op_scratch(op) != Scratch::Free {
                        self.borrowing(op)?;
                    } else {
                        self.op(op)?;
                    }
                }
                TileStmt::Loop(inner) => self.tile_loop(inner, depth)?,
            }
        }
        Ok(())
    }

    fn tile_loop(&mut self, l: &TileLoop, depth: usize) -> Result<(), JitError> {
        match l.extent {
            Extent::Count(0) => return Ok(()),
            // Its pointers would be moved only to come back.
            Extent::Count(1) => return self.body(&l.body, depth),
            Extent::Count(_) | Extent::Range(_) => {}
        }
        // A constant that the whole loop wants of the scratch register is put there before it.
        let scratch_use = self.scratch_use(&l.body);
        match scratch_use {
            Scratch::Free => {}
            constant if constant != Scratch::Other && !self.borrows => self.hold(constant),
            _ => self.scratch = Scratch::Other,
        }
        let counter = self.frame.counter(depth);
        let (head, after) = (self.a.new_label(), self.a.new_label());
        let (kernel, tile) = (self.kernel, self.tile);
        self.a.note(|| kernel.loop_text(tile, l));
        match l.extent {
            Extent::Count(n) => self.set(counter, n as i64),
            Extent::Range(range) => {
                self.frame.read_range(&mut self.a, TEMPORARY, range, 0);
                self.frame.read_range(&mut self.a, counter, range, 1);
                self.a.scalar(Instruction::with2(Code::Sub_r64_rm64, counter, TEMPORARY));
                self.a.jump(Code::Jle_rel32_64, after);
                for &(pointer, step) in &l.steps {
                    // What the first iteration is ahead of iteration 0; the temporary still holds `lo`.
                    let step = self.in_bytes(pointer, step)?;
                    self.multiply(TEMPORARY_2, TEMPORARY, step);
                    let pointer = self.frame.pointer(pointer.0);
                    self.a.scalar(Instruction::with2(Code::Add_r64_rm64, pointer, TEMPORARY_2));
                }
            }
        }
        self.a.bind(head);
        self.body(&l.body, depth + 1)?;
        self.a.note(String::new);
        for &(pointer, step) in &l.steps {
            let step = self.in_bytes(pointer, step)?;
            self.add(self.frame.pointer(pointer.0), step);
        }
        self.a.scalar(Instruction::with1(Code::Dec_rm64, counter));
        self.a.jump(Code::Jne_rel32_64, head);
        // Pointers go back to where they were.
        match l.extent {
            Extent::Count(n) => {
                for &(pointer, step) in &l.steps {
                    let all = i64::try_from(n).ok().and_then(|n| step.checked_mul(n));
                    let all = self.in_bytes(pointer, all.ok_or_else(|| self.too_far(step))?)?;
                    self.add(self.frame.pointer(pointer.0), -all);
                }
            }
            Extent::Range(range) if !l.steps.is_empty() => {
                self.frame.read_range(&mut self.a, TEMPORARY, range, 1);
                for &(pointer, step) in &l.steps {
                    let step = self.in_bytes(pointer, step)?;
                    self.multiply(TEMPORARY_2, TEMPORARY, step);
                    let pointer = self.frame.pointer(pointer.0);
                    self.a.scalar(Instruction::with2(Code::Sub_r64_rm64, pointer, TEMPORARY_2));
                }
            }
            Extent::Range(_) => {}
        }
        if scratch_use == Scratch::Other {
            // Whether the loop ran is not known.
            self.scratch = Scratch::Other;
        }
        self.a.bind(after);
        Ok(())
    }

    /// What the instructions of `body` ask of the scratch register.
    fn scratch_use(&self, body: &[TileStmt]) -> Scratch {
        let of = |stmt: &TileStmt| match stmt {
            TileStmt::Loop(l) => self.scratch_use(&l.body),
            TileStmt::Op(op) => self.op_scratch(op),
        };
        body.iter().map(of).fold(Scratch::Free, Scratch::and)
    }

    fn op_scratch(&self, op: &Op) -> Scratch {
        match op {
            Op::Load { from, .. } => self.load_scratch(from),
            Op::Pairs { from, .. } => self.pairs_scratch(from),
            Op::Store { to, .. } => self.store_scratch(to),
            Op::Quads { from, .. } => self.quads_scratch(from),
            // The mask, which the instruction clears.
            Op::Gather { .. } if !self.v.has_masks() => Scratch::Other,
            // A product and a sum are two instructions where the sum is not their place.
            Op::Dot4 { d, c, .. } if d != c => Scratch::Other,
            Op::Binary { op: BinaryOp::Join | BinaryOp::Splice, .. } => Scratch::Other,
            Op::Binary { op: BinaryOp::Maximum, d, a, .. } if !self.v.has_masks() || d == a => Scratch::Other,
            Op::Select { .. } if !self.v.has_masks() => Scratch::Other,
            _ => Scratch::Free,
        }
    }

    /// An instruction that needs a scratch register where the tile leaves none.
    fn borrowing(&mut self, op: &Op) -> Result<(), JitError> {
        let used: [Reg; 5] = match *op {
            Op::Load { d, .. } | Op::Pairs { d, .. } | Op::Quads { d, .. } => [d; 5],
            Op::Dot4 { d, a, b, c } => [d, a, b, c, d],
            Op::Binary { d, a, b, .. } => [d, a, b, d, d],
            Op::Gather { d, a, .. } => [d, a, d, d, d],
            Op::Store { s, .. } => [s; 5],
            Op::Select { d, a, b, c, e } => [d, a, b, c, e],
            // No other instruction asks for one.
            _ => return self.op(op),
        };
        let free = (0..self.v.registers()).rev().find(|&r| used.iter().all(|u| u.0 as usize != r));
        self.scratch_register = free.unwrap_or_default();
        let (slot, register) = (memory(Register::RSP, 0), R(self.v.register(self.scratch_register)));
        self.a.vector(self.v.store(), &[slot, register]);
        self.scratch = Scratch::Other;
        self.op(op)?;
        self.scratch = Scratch::Other;
        self.a.vector(self.v.load(), &[register, slot]);
        Ok(())
    }

    fn op(&mut self, op: &Op) -> Result<(), JitError> {
        let v = self.v;
        let r = |reg: Reg| R(v.register(reg.0 as usize));
        match *op {
            Op::Const { d, value } => self.constant(d, value),
            Op::Load { d, from } => self.load(d, from)?,
            Op::Broadcast { d, from } if self.storage(from.ptr).is_half() => self.broadcast_half(d, from)?,
            Op::Broadcast { d, from } => {
                let at = self.address(from, 0)?;
                self.a.vector(v.broadcast(), &[r(d), at]);
            }
            Op::Fma { d, a, b, c } => {
                if d == c {
                    self.a.vector(v.fma231(), &[r(d), r(a), r(b)]);
                } else if d == a {
                    self.a.vector(v.fma213(), &[r(d), r(b), r(c)]);
                } else if d == b {
                    self.a.vector(v.fma213(), &[r(d), r(a), r(c)]);
                } else {
                    self.a.vector(v.copy(), &[r(d), r(c)]);
                    self.a.vector(v.fma231(), &[r(d), r(a), r(b)]);
                }
            }
            Op::Gather { d, a, from, of } => self.load_gathered(d, a, from, of)?,
            Op::Pairs { d, from } => self.load_pairs(d, from)?,
            Op::Convert { op, d, a } => self.a.vector(v.convert(op), &[r(d), r(a)]),
            Op::Quads { d, from } => self.load_quads(d, from)?,
            Op::Dot4 { d, a, b, c } => self.dot4(d, a, b, c),
            Op::Binary { op: BinaryOp::Join, d, a, b } => self.join(d, a, b),
            Op::Binary { op: BinaryOp::Splice, d, a, b } => self.splice(d, a, b),
            Op::Binary { op: BinaryOp::Maximum, d, a, b } => self.maximum(d, a, b),
            Op::Binary { op, d, a, b } => self.a.vector(v.binary(op), &[r(d), r(a), r(b)]),
            Op::Select { d, a, b, c, e } => {
                let greater = Imm(GREATER);
                if v.has_masks() {
                    self.a.vector(v.compare(), &[R(COMPARED), r(a), r(b), greater]);
                    self.a.vector(v.blend(), &[r(d), r(e), r(c)]);
                    self.a.mask_last(COMPARED);
                } else {
                    self.hold(Scratch::Other);
                    let mask = R(v.register(self.scratch_register));
                    self.a.vector(v.compare(), &[mask, r(a), r(b), greater]);
                    self.a.vector(v.blend(), &[r(d), r(e), r(c), mask]);
                }
            }
            Op::Exponent { d, a } => {
                let by = if v.element_bytes() == 4 { 23 } else { 52 };
                self.a.vector(v.shift_left(), &[r(d), r(a), Imm(by)]);
            }
            Op::Sqrt { d, a } => self.a.vector(v.sqrt(), &[r(d), r(a)]),
            Op::Scatter { to, count, stride, from, at } => self.copy_to((to, count, stride), from, at)?,
            Op::Prefetch { at } => {
                let at = self.address(at, 0)?;
                self.a.vector(Code::Prefetcht0_m8, &[at]);
            }
            Op::Store { to, s } => self.store(to, s)?,
        }
        Ok(())
    }

    /// The instruction `max` gives `b` where `a` is no number.
    fn maximum(&mut self, d: Reg, a: Reg, b: Reg) {
        let v = self.v;
        let [to, a_, b_] = [d, a, b].map(|reg| R(v.register(reg.0 as usize)));
        if !v.has_masks() || d == a {
            self.hold(Scratch::Other);
        }
        let scratch = R(v.register(self.scratch_register));
        if v.has_masks() {
            self.a.vector(v.compare(), &[R(COMPARED), a_, a_, Imm(UNORDERED)]);
            let greatest = if d == a { scratch } else { to };
            self.a.vector(v.binary(BinaryOp::Max), &[greatest, a_, b_]);
            self.a.vector(v.blend(), &[to, greatest, a_]);
            self.a.mask_last(COMPARED);
        } else {
            // All bits set is a NaN.
            self.a.vector(v.compare(), &[scratch, a_, a_, Imm(UNORDERED)]);
            self.a.vector(v.binary(BinaryOp::Max), &[to, a_, b_]);
            self.a.vector(v.or(), &[to, to, scratch]);
        }
    }

    fn constant(&mut self, d: Reg, value: f64) {
        let register = R(self.v.register(d.0 as usize));
        if value.to_bits() == 0 {
            return self.a.vector(self.v.xor(), &[register, register, register]);
        }
        let single = (value as f32).to_le_bytes();
        let double = value.to_le_bytes();
        let at = self.a.constant(if self.v.element_bytes() == 4 { &single } else { &double });
        self.a.vector(self.v.broadcast(), &[register, at]);
    }

    pub(super) fn set(&mut self, register: Register, value: i64) {
        self.a.scalar(match u32::try_from(value) {
            // Writing the lower half clears the upper one.
            Ok(value) => {
                let half = Register::EAX + (register as u32 - Register::RAX as u32);
                Instruction::with2(Code::Mov_r32_imm32, half, value)
            }
            Err(_) => Instruction::with2(Code::Mov_r64_imm64, register, value),
        });
    }

    fn add(&mut self, register: Register, value: i64) {
        match i32::try_from(value) {
            Ok(0) => {}
            Ok(value) if (-128..128).contains(&value) => {
                self.a.scalar(Instruction::with2(Code::Add_rm64_imm8, register, value));
            }
            Ok(value) => self.a.scalar(Instruction::with2(Code::Add_rm64_imm32, register, value)),
            Err(_) => {
                self.set(TEMPORARY_2, value);
                self.a.scalar(Instruction::with2(Code::Add_r64_rm64, register, TEMPORARY_2));
            }
        }
    }

    /// `d = a * value`.
    pub(super) fn multiply(&mut self, d: Register, a: Register, value: i64) {
        match i32::try_from(value) {
            Ok(value) => self.a.scalar(Instruction::with3(Code::Imul_r64_rm64_imm32, d, a, value)),
            Err(_) => {
                self.set(d, value);
                self.a.scalar(Instruction::with2(Code::Imul_r64_rm64, d, a));
            }
        }
    }

    pub(super) fn storage(&self, pointer: Ptr) -> Storage {
        self.storages[pointer.0 as usize]
    }

    /// `elements` of what `pointer` goes to.
    pub(super) fn in_bytes(&self, pointer: Ptr, elements: i64) -> Result<i64, JitError> {
        elements.checked_mul(self.storage(pointer).bytes() as i64).ok_or_else(|| self.too_far(elements))
    }

    pub(super) fn too_far(&self, elements: i64) -> JitError {
        JitError::Offset { function: self.tile.name.clone(), elements, element_bytes: self.v.element_bytes() }
    }
}

/// The comparison `a > b`, false if either is not a number, without signalling.
const GREATER: u8 = 0x1e;
/// Whether either is not a number, without signalling.
pub(super) const UNORDERED: u8 = 3;

/// The numbers of lanes, less than `all`, of contiguous loads and stores, and of loads of every second element.
fn partial_lanes(body: &[TileStmt], all: usize, found: &mut BTreeSet<usize>) {
    for stmt in body {
        match stmt {
            TileStmt::Loop(l) => partial_lanes(&l.body, all, found),
            TileStmt::Op(
                Op::Load { from: access, .. } | Op::Quads { from: access, .. } | Op::Store { to: access, .. },
            ) if access.stride == 1 && access.repeat == 1 && access.lanes < all => {
                found.insert(access.lanes);
            }
            TileStmt::Op(Op::Load { from: Access { lanes, stride: 2, repeat: 1, .. }, .. }) if *lanes < all => {
                found.extend([*lanes, 2 * lanes - 1].into_iter().filter(|&n| n < all));
            }
            TileStmt::Op(_) => {}
        }
    }
}
