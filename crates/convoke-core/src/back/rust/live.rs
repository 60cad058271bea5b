//! Which registers a tile still needs where: so that the emitted code declares each value where it is made, assigns
//! only what a loop carries on, and leaves out what nobody reads.

use crate::ir::{Op, Reg, TileLoop, TileStmt};

/// Registers, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RegSet(Vec<bool>);

impl RegSet {
    pub(super) fn contains(&self, reg: Reg) -> bool {
        self.0.get(reg.0 as usize).copied().unwrap_or(false)
    }

    pub(super) fn insert(&mut self, reg: Reg) {
        let at = reg.0 as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, false);
        }
        self.0[at] = true;
    }

    pub(super) fn remove(&mut self, reg: Reg) {
        if let Some(slot) = self.0.get_mut(reg.0 as usize) {
            *slot = false;
        }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        other.iter().for_each(|reg| self.insert(reg));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Reg> + '_ {
        self.0.iter().enumerate().filter(|slot| *slot.1).map(|slot| Reg(slot.0 as u32))
    }
}

/// The register that `op` sets.
pub(super) fn defines(op: &Op) -> Option<Reg> {
    match *op {
        Op::Const { d, .. }
        | Op::Load { d, .. }
        | Op::Pairs { d, .. }
        | Op::Quads { d, .. }
        | Op::Dot4 { d, .. }
        | Op::Broadcast { d, .. }
        | Op::Gather { d, .. }
        | Op::Fma { d, .. }
        | Op::Binary { d, .. }
        | Op::Select { d, .. }
        | Op::Exponent { d, .. }
        | Op::Sqrt { d, .. }
        | Op::Convert { d, .. } => Some(d),
        Op::Store { .. } | Op::Scatter { .. } | Op::Prefetch { .. } => None,
    }
}

/// The registers that `op` reads.
pub(super) fn reads(op: &Op) -> impl Iterator<Item = Reg> {
    let regs = match *op {
        Op::Const { .. } | Op::Load { .. } | Op::Pairs { .. } | Op::Quads { .. } | Op::Broadcast { .. } => [None; 4],
        Op::Scatter { .. } | Op::Prefetch { .. } => [None; 4],
        Op::Fma { a, b, c, .. } | Op::Dot4 { a, b, c, .. } => [Some(a), Some(b), Some(c), None],
        Op::Binary { a, b, .. } => [Some(a), Some(b), None, None],
        Op::Select { a, b, c, e, .. } => [Some(a), Some(b), Some(c), Some(e)],
        Op::Exponent { a, .. } | Op::Sqrt { a, .. } | Op::Convert { a, .. } | Op::Gather { a, .. } => {
            [Some(a), None, None, None]
        }
        Op::Store { s, .. } => [Some(s), None, None, None],
    };
    regs.into_iter().flatten()
}

/// The registers needed before `stmts`, if `after` are needed behind them.
pub(super) fn before(stmts: &[TileStmt], after: &RegSet) -> RegSet {
    stmts.iter().rev().fold(after.clone(), |live, stmt| before_stmt(stmt, live))
}

/// For every statement, the registers needed behind it.
pub(super) fn behind_each(stmts: &[TileStmt], after: &RegSet) -> Vec<RegSet> {
    let mut live = after.clone();
    let mut behind = Vec::with_capacity(stmts.len());
    for stmt in stmts.iter().rev() {
        behind.push(live.clone());
        live = before_stmt(stmt, live);
    }
    behind.reverse();
    behind
}

/// The registers whose values enter the body of `l` or leave it: a loop may run no times at all.
pub(super) fn carried(l: &TileLoop, after: &RegSet) -> RegSet {
    let mut live = after.clone();
    loop {
        let mut next = before(&l.body, &live);
        next.extend(&live);
        if next == live {
            return live;
        }
        live = next;
    }
}

/// The registers that `stmts` set, those of inner loops too.
pub(super) fn defined(stmts: &[TileStmt], set: &mut RegSet) {
    for stmt in stmts {
        match stmt {
            TileStmt::Op(op) => defines(op).into_iter().for_each(|d| set.insert(d)),
            TileStmt::Loop(l) => defined(&l.body, set),
        }
    }
}

fn before_stmt(stmt: &TileStmt, mut live: RegSet) -> RegSet {
    match stmt {
        TileStmt::Op(op) => {
            match defines(op) {
                Some(d) if !live.contains(d) => return live,
                Some(d) => live.remove(d),
                None => {}
            }
            reads(op).for_each(|r| live.insert(r));
            live
        }
        TileStmt::Loop(l) => carried(l, &live),
    }
}
