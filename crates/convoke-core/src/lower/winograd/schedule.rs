//! Straight-line programs in registers.
//!
//! In go a program and how many registers there are; out comes an order of its loads, steps and stores with a register for
//! each value. An input is loaded at its first use, an output stored as soon as there is one, and a register is free when
//! its value has no more uses. Some constants stay in registers of their own (*resident*); others are set before their use,
//! in a register that is free then. Steps and their rounding are the same for any number of registers.

use std::collections::HashMap;

use super::linear::{LinearProgram, Step};
use crate::ir::{BinaryOp, Reg};
use crate::lower::emit::Emitter;

/// Registers that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    pub first: u32,
    pub count: usize,
}

/// A program laid out in registers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    /// Constants that a prologue sets.
    resident: Vec<(Reg, f64)>,
    body: Vec<Instruction>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Instruction {
    Load {
        d: Reg,
        input: usize,
    },
    Constant {
        d: Reg,
        value: f64,
    },
    Binary {
        op: BinaryOp,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    /// `d = a * b + c`; `t` is for the product where the target cannot fuse.
    MultiplyAdd {
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
        t: Reg,
    },
    Store {
        output: usize,
        s: Reg,
    },
}

impl Schedule {
    /// `program` in `registers`; `fma` says whether a multiply-add is one instruction. `None` if the registers are too few
    /// for the values that are alive at one time.
    ///
    /// Of all numbers of resident constants, the one is taken that sets the fewest in the body.
    pub(crate) fn new(program: &LinearProgram, registers: Registers, fma: bool) -> Option<Self> {
        let constants = by_uses(program);
        let orders = [frugal_order(program), (0..program.steps.len()).collect()];
        let mut best: Option<(usize, Self)> = None;
        for resident in (0..=constants.len().min(registers.count)).rev() {
            for order in &orders {
                let found = Allocation::new(program, registers, fma, &constants[..resident]).run(order);
                if let Some((set, schedule)) = found
                    && best.as_ref().is_none_or(|best| set < best.0)
                {
                    best = Some((set, schedule));
                }
            }
            if best.as_ref().is_some_and(|best| best.0 == 0) {
                break;
            }
        }
        best.map(|best| best.1)
    }

    /// Sets the resident constants.
    pub(crate) fn prologue(&self, e: &mut Emitter) {
        for &(d, value) in &self.resident {
            e.constant(d, value);
        }
    }

    /// The program, once; nothing between it and the prologue may write the resident constants' registers. `load` is called
    /// once for each input and `store` once for each output. A load may come after a store, so what is stored must not be
    /// loaded.
    pub(crate) fn body(
        &self,
        e: &mut Emitter,
        load: &mut dyn FnMut(&mut Emitter, usize, Reg),
        store: &mut dyn FnMut(&mut Emitter, usize, Reg),
    ) {
        for &instruction in &self.body {
            match instruction {
                Instruction::Load { d, input } => load(e, input, d),
                Instruction::Constant { d, value } => e.constant(d, value),
                Instruction::Binary { op, d, a, b } => e.binary(op, d, a, b),
                Instruction::MultiplyAdd { d, a, b, c, t } => e.multiply_add(d, a, b, c, t),
                Instruction::Store { output, s } => store(e, output, s),
            }
        }
    }
}

/// The constants of `program`, those with the most uses first.
fn by_uses(program: &LinearProgram) -> Vec<f64> {
    let uses = |c: f64| program.steps.iter().filter(|step| step.constant() == Some(c)).count();
    let mut constants = program.constants();
    constants.sort_by_key(|&c| std::cmp::Reverse(uses(c)));
    constants
}

/// How often steps use each value.
fn uses(program: &LinearProgram) -> Vec<usize> {
    let mut uses = vec![0; program.inputs + program.steps.len()];
    program.steps.iter().flat_map(|step| step.operands()).for_each(|value| uses[value] += 1);
    uses
}

/// An order of the steps that takes, of those whose operands there are, the one after which the fewest values are alive.
fn frugal_order(program: &LinearProgram) -> Vec<usize> {
    let mut uses = uses(program);
    let mut alive = vec![false; uses.len()];
    let mut left: Vec<usize> = (0..program.steps.len()).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let growth = |&step: &usize| {
            let mut growth = i32::from(uses[program.inputs + step] > 0);
            for value in program.steps[step].operands() {
                let ready = value < program.inputs || order.contains(&(value - program.inputs));
                if !ready {
                    return i32::MAX;
                }
                growth += i32::from(!alive[value]) - i32::from(uses[value] == 1);
            }
            growth
        };
        let Some(at) = (0..left.len()).min_by_key(|&at| growth(&left[at])) else { break };
        let step = left.remove(at);
        for value in program.steps[step].operands() {
            uses[value] -= 1;
            alive[value] = true;
        }
        alive[program.inputs + step] = true;
        order.push(step);
    }
    order
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Nothing,
    /// A value or a product: not free.
    Value,
    /// A constant that is no longer needed: free, but may spare another one.
    Constant(f64),
}

/// Registers while the program is laid out.
struct Allocation<'a> {
    program: &'a LinearProgram,
    first: u32,
    fma: bool,
    resident: HashMap<u64, Reg>,
    held: Vec<Held>,
    /// Where each value is.
    at: Vec<Option<usize>>,
    /// Uses that are to come.
    uses: Vec<usize>,
    body: Vec<Instruction>,
    /// Constants that the body sets.
    set: usize,
}

impl<'a> Allocation<'a> {
    /// The last of `registers` hold `resident`.
    fn new(program: &'a LinearProgram, registers: Registers, fma: bool, resident: &[f64]) -> Self {
        let free = registers.count - resident.len();
        let reg = |i: usize| Reg(registers.first + (free + i) as u32);
        let uses = uses(program);
        Self {
            program,
            first: registers.first,
            fma,
            resident: resident.iter().enumerate().map(|(i, c)| (c.to_bits(), reg(i))).collect(),
            held: vec![Held::Nothing; free],
            at: vec![None; uses.len()],
            uses,
            body: Vec::new(),
            set: 0,
        }
    }

    /// How many constants the body sets, and the schedule; `None` if registers run out.
    fn run(mut self, order: &[usize]) -> Option<(usize, Schedule)> {
        for (i, &step) in order.iter().enumerate() {
            self.step(step, &order[i + 1..])?;
        }
        for input in 0..self.program.inputs {
            if self.at[input].is_none() && self.program.outputs.contains(&input) {
                let at = self.load(input, &[])?;
                self.held[at] = Held::Nothing;
            }
        }
        let mut resident: Vec<_> = self.resident.iter().map(|(&bits, &reg)| (reg, f64::from_bits(bits))).collect();
        resident.sort_by_key(|r| r.0);
        Some((self.set, Schedule { resident, body: self.body }))
    }

    fn reg(&self, at: usize) -> Reg {
        Reg(self.first + at as u32)
    }

    /// A free register, rather one that holds no constant, or one whose constant is used last; `later` are the steps to come.
    fn take(&mut self, later: &[usize]) -> Option<usize> {
        let next = |c: f64| later.iter().position(|&step| self.program.steps[step].constant() == Some(c));
        let rank = |at: &usize| match self.held[*at] {
            Held::Constant(c) => next(c).map_or(later.len(), |next| next),
            Held::Nothing | Held::Value => usize::MAX,
        };
        let free = (0..self.held.len()).filter(|&at| self.held[at] != Held::Value);
        // The first of equals.
        let at = free.rev().max_by_key(rank)?;
        self.held[at] = Held::Value;
        Some(at)
    }

    /// Loads an input, and stores it if it is an output.
    fn load(&mut self, input: usize, later: &[usize]) -> Option<usize> {
        let at = self.take(later)?;
        self.body.push(Instruction::Load { d: self.reg(at), input });
        self.at[input] = Some(at);
        self.store(input, at);
        Some(at)
    }

    fn store(&mut self, value: usize, at: usize) {
        let s = self.reg(at);
        let outputs = self.program.outputs.iter().enumerate().filter(|(_, of)| **of == value);
        self.body.extend(outputs.map(|(output, _)| Instruction::Store { output, s }));
    }

    /// The register of an operand.
    fn operand(&mut self, value: usize, later: &[usize]) -> Option<usize> {
        match self.at[value] {
            Some(at) => Some(at),
            None => self.load(value, later),
        }
    }

    /// The register of a constant, and where it is if it is not resident.
    fn constant(&mut self, value: f64, later: &[usize]) -> Option<(Reg, Option<usize>)> {
        if let Some(&reg) = self.resident.get(&value.to_bits()) {
            return Some((reg, None));
        }
        let at = match self.held.iter().position(|&held| held == Held::Constant(value)) {
            Some(at) => {
                self.held[at] = Held::Value;
                at
            }
            None => {
                self.set += 1;
                self.take(later)?
            }
        };
        let d = self.reg(at);
        self.body.push(Instruction::Constant { d, value });
        Some((d, Some(at)))
    }

    /// Uses `value` once; whether that was the last time.
    fn dies(&mut self, value: usize) -> bool {
        self.uses[value] -= 1;
        self.uses[value] == 0
    }

    fn step(&mut self, step: usize, later: &[usize]) -> Option<()> {
        let d = match self.program.steps[step] {
            Step::Add(a, b) => self.binary(BinaryOp::Add, a, b, later)?,
            Step::Sub(a, b) => self.binary(BinaryOp::Sub, a, b, later)?,
            Step::Scale(a, c) => self.scale(a, c, later)?,
            Step::MultiplyAdd(a, c, b) => self.multiply_add(a, c, b, later)?,
        };
        let value = self.program.inputs + step;
        self.at[value] = Some(d);
        self.store(value, d);
        if self.uses[value] == 0 {
            self.held[d] = Held::Nothing;
        }
        Some(())
    }

    fn binary(&mut self, op: BinaryOp, a: usize, b: usize, later: &[usize]) -> Option<usize> {
        let (at_a, at_b) = (self.operand(a, later)?, self.operand(b, later)?);
        let (a_dies, b_dies) = (self.dies(a), self.dies(b));
        let d = match (a_dies, b_dies) {
            (true, _) => at_a,
            (_, true) => at_b,
            _ => self.take(later)?,
        };
        self.release(at_b, b_dies && at_b != d);
        self.body.push(Instruction::Binary { op, d: self.reg(d), a: self.reg(at_a), b: self.reg(at_b) });
        Some(d)
    }

    fn scale(&mut self, a: usize, c: f64, later: &[usize]) -> Option<usize> {
        let at_a = self.operand(a, later)?;
        let (constant, transient) = self.constant(c, later)?;
        let d = if self.dies(a) { at_a } else { self.take(later).or(transient)? };
        self.body.push(Instruction::Binary { op: BinaryOp::Mul, d: self.reg(d), a: self.reg(at_a), b: constant });
        self.forget(c, transient, d);
        Some(d)
    }

    /// `a * c + b`. The product needs a register that is not `b`'s if the target does not fuse.
    fn multiply_add(&mut self, a: usize, c: f64, b: usize, later: &[usize]) -> Option<usize> {
        let (at_a, at_b) = (self.operand(a, later)?, self.operand(b, later)?);
        let (constant, transient) = self.constant(c, later)?;
        let (a_dies, b_dies) = (self.dies(a), self.dies(b));
        let (d, t) = match (a_dies, b_dies) {
            (_, true) if self.fma => (at_b, at_b),
            (true, _) => (at_a, at_a),
            _ => {
                let t = self.take(later).or(transient)?;
                (t, t)
            }
        };
        self.release(at_a, a_dies && at_a != d);
        self.release(at_b, b_dies && at_b != d);
        let [d_reg, a, c_reg, t] = [d, at_a, at_b, t].map(|at| self.reg(at));
        self.body.push(Instruction::MultiplyAdd { d: d_reg, a, b: constant, c: c_reg, t });
        self.forget(c, transient, d);
        Some(d)
    }

    fn release(&mut self, at: usize, dead: bool) {
        if dead {
            self.held[at] = Held::Nothing;
        }
    }

    /// A constant that is not resident is free after its use, unless the result is in its register.
    fn forget(&mut self, c: f64, transient: Option<usize>, d: usize) {
        if let Some(at) = transient.filter(|&at| at != d) {
            self.held[at] = Held::Constant(c);
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
