//! The rules of nests: what their loops bind, what their calls pass, and then the proofs.

use std::collections::HashSet;

use super::apart::{Apart, Site};
use super::linear::{Bound, Bounds, Linear, Space};
use super::tiles::Footprint;
use super::{MAX_NEST_DEPTH, VerifyError, bounds, check_affine, check_number};
use crate::ir::{Affine, Call, Kernel, Loop, Nest, Range, Role, Stmt, Var};

/// Checks every nest of `kernel`; `tiles` holds what [`super::tiles::check`] gave for each tile.
pub(super) fn check(kernel: &Kernel, tiles: &[Footprint]) -> Result<(), VerifyError> {
    let mut slots = vec![None; kernel.vars.len()];
    slots[0] = Some(0);
    let mut bound = vec![false; kernel.vars.len()];
    bound[0] = true;
    let mut written = HashSet::new();
    for nest in &kernel.nests {
        let (space, sites, writes) = (Space::default(), Vec::new(), HashSet::new());
        let mut checker = Checker { kernel, tiles, nest, slots, bound, space, sites, written: &written, writes };
        checker.repeat(&nest.outer)?;
        if nest.outer.parallel {
            let var = kernel.vars[nest.outer.var.0 as usize].clone();
            Apart { nest: &nest.label, var, range: &nest.outer.range }.check(&checker.sites)?;
        }
        let writes = checker.writes;
        (slots, bound) = (checker.slots, checker.bound);
        written.extend(writes);
    }
    Ok(())
}

struct Checker<'k> {
    kernel: &'k Kernel,
    tiles: &'k [Footprint],
    nest: &'k Nest,
    /// Where each variable is in `space`, if a loop that is open binds it.
    slots: Vec<Option<usize>>,
    /// Which variables some loop has bound.
    bound: Vec<bool>,
    space: Space,
    /// Accesses to written buffers that iterations share, if the nest is parallel.
    sites: Vec<Site>,
    /// What nests before this one store to.
    written: &'k HashSet<Role>,
    /// What this one stores to.
    writes: HashSet<Role>,
}

impl Checker<'_> {
    fn var_name(&self, var: Var) -> Result<&str, VerifyError> {
        let vars = self.kernel.vars.len();
        self.kernel.vars.get(var.0 as usize).map(String::as_str).ok_or(VerifyError::NoVar { var: var.0, vars })
    }

    fn repeat(&mut self, l: &Loop) -> Result<(), VerifyError> {
        let var = self.var_name(l.var)?.to_owned();
        if self.space.depth() >= MAX_NEST_DEPTH {
            let (what, name, depth) = ("nest", self.nest.label.clone(), self.space.depth() + 1);
            return Err(VerifyError::Depth { what, name, depth, limit: MAX_NEST_DEPTH });
        }
        if l.parallel && self.space.depth() > 0 {
            return Err(VerifyError::InnerParallel { var });
        }
        let index = l.var.0 as usize;
        if std::mem::replace(&mut self.bound[index], true) {
            return Err(VerifyError::Rebound { var });
        }
        let bounds = self.bounds(&l.range, &var)?;
        self.slots[index] = Some(self.space.next_slot());
        self.space.push(bounds);
        for stmt in &l.body {
            match stmt {
                Stmt::For(inner) => self.repeat(inner)?,
                Stmt::Call(call) => self.call(call)?,
            }
        }
        self.space.pop();
        self.slots[index] = None;
        Ok(())
    }

    fn bounds(&self, range: &Range, var: &str) -> Result<Bounds, VerifyError> {
        if range.lo.is_empty() || range.hi.is_empty() {
            let (lo, hi) = (range.lo.len(), range.hi.len());
            return Err(VerifyError::EmptyBounds { var: var.to_owned(), lo, hi });
        }
        let side = |side: &[crate::ir::CeilDiv]| -> Result<Vec<Bound>, VerifyError> {
            let each = |bound: &crate::ir::CeilDiv| {
                if bound.divisor < 1 {
                    return Err(VerifyError::Divisor { var: var.to_owned(), divisor: bound.divisor });
                }
                check_number("a divisor", bound.divisor.into())?;
                let numerator = self.linear(&bound.numerator, || format!("the range of `{var}`"))?;
                Ok(Bound { numerator, divisor: bound.divisor.into() })
            };
            side.iter().map(each).collect()
        };
        Ok(Bounds { lo: side(&range.lo)?, hi: side(&range.hi)? })
    }

    fn linear(&self, affine: &Affine, what: impl Fn() -> String) -> Result<Linear, VerifyError> {
        check_affine(affine, &what)?;
        let mut linear = Linear::constant(affine.constant.into());
        for &(var, factor) in &affine.terms {
            let name = self.var_name(var)?;
            let Some(slot) = self.slots[var.0 as usize] else {
                return Err(VerifyError::Unbound { what: what(), var: name.to_owned() });
            };
            linear.factors[slot] = factor.into();
        }
        Ok(linear)
    }

    fn call(&mut self, call: &Call) -> Result<(), VerifyError> {
        let tiles = self.kernel.tiles.len();
        let (Some(tile), Some(footprint)) = (self.kernel.tiles.get(call.tile), self.tiles.get(call.tile)) else {
            return Err(VerifyError::NoTile { nest: self.nest.label.clone(), tile: call.tile, tiles });
        };
        let arity =
            [("argument", tile.pointers.len(), call.args.len()), ("range", tile.ranges.len(), call.ranges.len())];
        for (what, expected, found) in arity {
            if expected != found {
                return Err(VerifyError::Arity { tile: tile.name.clone(), what, expected, found });
            }
        }
        let mut args = Vec::with_capacity(call.args.len());
        for (arg, &expected) in call.args.iter().zip(&footprint.storages) {
            let none = || VerifyError::NoBuffer { tile: tile.name.clone(), role: arg.role };
            let buffer = self.kernel.buffers.iter().find(|b| b.role == arg.role).ok_or_else(none)?;
            if buffer.storage != expected {
                let (tile, role, found) = (tile.name.clone(), arg.role, buffer.storage);
                return Err(VerifyError::PointerStorage { tile, role, expected, found });
            }
            let what = || format!("a call of `{}`", tile.name);
            args.push((arg.role, self.linear(&arg.offset, what)?, self.linear(&buffer.len, what)?));
        }
        let mut ranges = Vec::with_capacity(call.ranges.len());
        for (range, name) in call.ranges.iter().zip(&tile.ranges) {
            ranges.push(self.bounds(range, name)?);
        }
        for group in &footprint.groups {
            let (role, base, len) = &args[group.pointer];
            let (role, pointer) = (*role, || tile.pointers[group.pointer].clone());
            if group.stores && !role.is_written() {
                return Err(VerifyError::ReadOnly { tile: tile.name.clone(), pointer: pointer(), role });
            }
            if group.stores {
                self.writes.insert(role);
            } else if role.is_output() && !self.written.contains(&role) {
                return Err(VerifyError::ReadsOutput { tile: tile.name.clone(), pointer: pointer(), role });
            }
            let place = bounds::enter(&mut self.space, group, base, &ranges);
            bounds::check(&self.space, group, &place, len, || (self.nest.label.clone(), tile.name.clone(), role))?;
            if self.nest.outer.parallel && role.is_written() && role != Role::Local {
                self.sites.push(Site::new(&self.space, group, &place, role));
            }
            for _ in &group.loops {
                self.space.pop();
            }
        }
        Ok(())
    }
}
