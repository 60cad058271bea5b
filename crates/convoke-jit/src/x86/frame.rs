//! General registers of a tile: where its pointers, ranges and loop counters are.
//!
//! A tile is called by the System V convention. Pointers stay in the registers that they come in; ranges stay where they
//! come, registers or stack; counters take what is free, those first that a function need not restore.

use convoke_core::ir::{Extent, Tile, TileStmt};
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::assembler::Assembler;

/// The convention's registers for arguments, in order.
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];
/// For counters, after the arguments' registers that are free.
const FREE: Register = Register::R10;
const SAVED: [Register; 6] = [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];
/// Never hold anything from one instruction of the tile to the next.
pub(super) const TEMPORARY: Register = Register::RAX;
pub(super) const TEMPORARY_2: Register = Register::R11;

/// One end of a range.
#[derive(Clone, Copy)]
enum Place {
    Register(Register),
    /// The stack argument of that number.
    Stack(usize),
}

/// Where things are.
pub(super) struct Frame {
    pointers: Vec<Register>,
    ranges: Vec<(Place, Place)>,
    /// One a depth of loops.
    counters: Vec<Register>,
    /// Registers of the caller's that are used.
    saved: usize,
    /// Bytes on the stack, at its top, to keep a vector register in.
    slot: i32,
}

impl Frame {
    /// Lays out the frame of `tile`, or says what does not fit.
    pub(super) fn of(tile: &Tile, slot: usize) -> Result<Self, String> {
        if tile.pointers.len() > ARGUMENTS.len() {
            return Err(format!("{} pointers, and at most {} fit", tile.pointers.len(), ARGUMENTS.len()));
        }
        let place = |argument: usize| match ARGUMENTS.get(argument) {
            Some(&register) => Place::Register(register),
            None => Place::Stack(argument - ARGUMENTS.len()),
        };
        let pointers = tile.pointers.len();
        let ranges = (0..tile.ranges.len()).map(|r| (place(pointers + 2 * r), place(pointers + 2 * r + 1))).collect();
        let taken = (pointers + 2 * tile.ranges.len()).min(ARGUMENTS.len());
        let caller_saved = ARGUMENTS[taken..].iter().rev().copied().chain([FREE]);
        let depth = depth(&tile.body);
        let counters: Vec<_> = caller_saved.chain(SAVED).take(depth).collect();
        if counters.len() < depth {
            return Err(format!("loops nest {depth} deep, and at most {} fit", counters.len()));
        }
        let saved = counters.iter().filter(|c| SAVED.contains(c)).count();
        Ok(Self { pointers: ARGUMENTS[..pointers].to_vec(), ranges, counters, saved, slot: slot as i32 })
    }

    pub(super) fn pointer(&self, number: u32) -> Register {
        self.pointers[number as usize]
    }

    pub(super) fn counter(&self, depth: usize) -> Register {
        self.counters[depth]
    }

    pub(super) fn enter(&self, a: &mut Assembler) {
        for &register in &SAVED[..self.saved] {
            a.scalar(Instruction::with1(Code::Push_r64, register));
        }
        if self.slot > 0 {
            a.scalar(Instruction::with2(Code::Sub_rm64_imm32, Register::RSP, self.slot));
        }
    }

    pub(super) fn leave(&self, a: &mut Assembler) {
        if self.slot > 0 {
            a.scalar(Instruction::with2(Code::Add_rm64_imm32, Register::RSP, self.slot));
        }
        for &register in SAVED[..self.saved].iter().rev() {
            a.scalar(Instruction::with1(Code::Pop_r64, register));
        }
    }

    /// `d =` the lower (0) or upper (1) end of a range.
    pub(super) fn read_range(&self, a: &mut Assembler, d: Register, range: u32, end: usize) {
        let (lo, hi) = self.ranges[range as usize];
        a.scalar(match if end == 0 { lo } else { hi } {
            Place::Register(register) => Instruction::with2(Code::Mov_r64_rm64, d, register),
            Place::Stack(number) => {
                // What was pushed and the return address lie below the arguments.
                let above = i64::from(self.slot) + 8 * (self.saved + 1 + number) as i64;
                Instruction::with2(Code::Mov_r64_rm64, d, MemoryOperand::with_base_displ(Register::RSP, above))
            }
        });
    }

    /// Which register holds what, for a person.
    pub(super) fn describe(&self, tile: &Tile) -> Vec<String> {
        let name = |r: Register| format!("{r:?}").to_lowercase();
        let pointers = tile.pointers.iter().zip(&self.pointers).map(|(n, &r)| format!("{} = {n}", name(r)));
        let end = |p: Place| match p {
            Place::Register(r) => name(r),
            Place::Stack(number) => format!("stack argument {number}"),
        };
        let ranges = tile.ranges.iter().zip(&self.ranges);
        let ranges = ranges.map(|(n, &(lo, hi))| format!("{}, {} = range {n}", end(lo), end(hi)));
        pointers.chain(ranges).collect()
    }
}

/// How deep loops that count nest in `body`.
fn depth(body: &[TileStmt]) -> usize {
    let of = |s: &TileStmt| match s {
        TileStmt::Loop(l) => depth(&l.body) + usize::from(l.extent != Extent::Count(1)),
        TileStmt::Op(_) => 0,
    };
    body.iter().map(of).max().unwrap_or(0)
}
