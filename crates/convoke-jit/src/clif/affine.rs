//! Affine values at the loop level where they are first known.
//!
//! A nest asks for addresses and bounds in its innermost loops. [`Scope`] keeps what was computed at each level, so that
//! an inner loop only adds what its own variable contributes. Variables whose value is known count as constants.

use std::collections::HashMap;

use convoke_core::ir::{Affine, CeilDiv, Range, Role, Var};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;

/// The value of an index variable.
#[derive(Clone, Copy)]
pub(super) enum Index {
    /// Known when compiling.
    Known(i64),
    /// Known when running.
    Run(Value),
}

/// What an affine sum starts from.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Base {
    /// Zero: an index. Counted in elements.
    Zero,
    /// The address of a buffer. Counted in bytes.
    Buffer(Role),
}

/// A sum without its constant: base and terms, terms of outer loops first.
type Sum = (Base, Vec<(Var, i64)>);

/// A bound without the bounds that are known.
type Bounds = (bool, Vec<CeilDiv>);

/// Values of variables and sums that are known where code is being emitted.
pub(super) struct Scope {
    /// The variables of the loops around, outermost first, the batch size before them.
    variables: Vec<(Var, Index)>,
    buffers: [Value; Role::ALL.len()],
    sums: HashMap<Sum, Value>,
    bounds: HashMap<Bounds, Value>,
    /// What each level added to `sums` and `bounds`, so that leaving it takes that away.
    added: Vec<(Vec<Sum>, Vec<Bounds>)>,
}

impl Scope {
    pub(super) fn new(batch: Value, buffers: [Value; Role::ALL.len()]) -> Self {
        let variables = vec![(Var::BATCH, Index::Run(batch))];
        let added = vec![(Vec::new(), Vec::new())];
        Self { variables, buffers, sums: HashMap::new(), bounds: HashMap::new(), added }
    }

    /// Enters the loop of `var`.
    pub(super) fn enter(&mut self, var: Var, index: Index) {
        self.variables.push((var, index));
        self.added.push((Vec::new(), Vec::new()));
    }

    /// Leaves the innermost loop; values that were computed in it are no longer known.
    pub(super) fn leave(&mut self) {
        self.variables.pop();
        if let Some((sums, bounds)) = self.added.pop() {
            self.sums.retain(|sum, _| !sums.contains(sum));
            self.bounds.retain(|bound, _| !bounds.contains(bound));
        }
    }

    /// The terms whose variables are bound here and not known, outermost first, each times `scale`; the rest of what is
    /// known; and whether terms remain that are not bound yet.
    fn split(&self, affine: &Affine, scale: i64) -> (Vec<(Var, i64)>, i64, bool) {
        let (mut terms, mut constant, mut found) = (Vec::new(), affine.constant.wrapping_mul(scale), 0);
        for &(var, index) in &self.variables {
            let factor = affine.factor(var).wrapping_mul(scale);
            if factor == 0 {
                continue;
            }
            found += 1;
            match index {
                Index::Known(value) => constant = constant.wrapping_add(factor.wrapping_mul(value)),
                Index::Run(_) => terms.push((var, factor)),
            }
        }
        (terms, constant, found < affine.terms.len())
    }

    /// Computes the part of `base + affine * scale` that is known here, for inner loops to build on.
    pub(super) fn prepare(&mut self, builder: &mut FunctionBuilder<'_>, base: Base, affine: &Affine, scale: i64) {
        let (terms, ..) = self.split(affine, scale);
        if !terms.is_empty() {
            self.sum(builder, base, &terms);
        }
    }

    /// `base + affine * scale`; every variable must be bound.
    pub(super) fn value(
        &mut self,
        builder: &mut FunctionBuilder<'_>,
        base: Base,
        affine: &Affine,
        scale: i64,
    ) -> Value {
        let (terms, constant, _) = self.split(affine, scale);
        if terms.is_empty() && base == Base::Zero {
            return builder.ins().iconst(types::I64, constant);
        }
        let sum = self.sum(builder, base, &terms);
        if constant == 0 { sum } else { builder.ins().iadd_imm_s(sum, constant) }
    }

    /// The number, if it is known when compiling.
    fn known(&self, affine: &Affine) -> Option<i64> {
        let (terms, constant, open) = self.split(affine, 1);
        (terms.is_empty() && !open).then_some(constant)
    }

    fn sum(&mut self, builder: &mut FunctionBuilder<'_>, base: Base, terms: &[(Var, i64)]) -> Value {
        let Some((&(var, factor), outer)) = terms.split_last() else {
            return match base {
                Base::Zero => builder.ins().iconst(types::I64, 0),
                Base::Buffer(role) => self.buffers[role as usize],
            };
        };
        let key = (base, terms.to_vec());
        if let Some(&value) = self.sums.get(&key) {
            return value;
        }
        let index = self.variables.iter().rev().find_map(|&(v, index)| match index {
            Index::Run(value) if v == var => Some(value),
            _ => None,
        });
        // `split` leaves only variables that are bound and not known.
        let Some(index) = index else { return self.sum(builder, base, outer) };
        let product = if factor == 1 { index } else { builder.ins().imul_imm_s(index, factor) };
        let value = if outer.is_empty() && base == Base::Zero {
            product
        } else {
            let outer = self.sum(builder, base, outer);
            builder.ins().iadd(outer, product)
        };
        if let Some((sums, _)) = self.added.last_mut() {
            sums.push(key.clone());
        }
        self.sums.insert(key, value);
        value
    }

    /// Computes the bounds of `range` if all that they speak of is bound here.
    pub(super) fn prepare_range(&mut self, builder: &mut FunctionBuilder<'_>, range: &Range) {
        for (is_hi, bounds) in [(false, &range.lo), (true, &range.hi)] {
            if bounds.iter().all(|b| !self.split(&b.numerator, 1).2) {
                self.bound(builder, bounds, is_hi);
            }
        }
    }

    /// `lo` and `hi` of `range`.
    pub(super) fn range(&mut self, builder: &mut FunctionBuilder<'_>, range: &Range) -> (Value, Value) {
        (self.bound(builder, &range.lo, false), self.bound(builder, &range.hi, true))
    }

    /// `lo` and `hi` of `range`, if they are known when compiling.
    pub(super) fn known_range(&self, range: &Range) -> Option<(i64, i64)> {
        let value = |b: &CeilDiv| Some(ceil_div(self.known(&b.numerator)?, b.divisor));
        let lo = range.lo.iter().map(value).collect::<Option<Vec<_>>>()?;
        let hi = range.hi.iter().map(value).collect::<Option<Vec<_>>>()?;
        Some((lo.into_iter().max()?, hi.into_iter().min()?))
    }

    /// The least (`is_hi`) or the greatest of `bounds`.
    fn bound(&mut self, builder: &mut FunctionBuilder<'_>, bounds: &[CeilDiv], is_hi: bool) -> Value {
        let (mut known, mut open) = (None::<i64>, Vec::new());
        for bound in bounds {
            match self.known(&bound.numerator) {
                Some(n) => {
                    let value = ceil_div(n, bound.divisor);
                    known = Some(known.map_or(value, |k| if is_hi { k.min(value) } else { k.max(value) }));
                }
                None => open.push(bound.clone()),
            }
        }
        if open.is_empty() {
            return builder.ins().iconst(types::I64, known.unwrap_or(0));
        }
        let key = (is_hi, bounds.to_vec());
        if let Some(&value) = self.bounds.get(&key) {
            return value;
        }
        let mut result = known.map(|k| builder.ins().iconst(types::I64, k));
        for CeilDiv { numerator, divisor } in &open {
            let value = self.value(builder, Base::Zero, numerator, 1);
            let value = emit_ceil_div(builder, value, *divisor);
            result = Some(match result {
                None => value,
                Some(other) if is_hi => builder.ins().smin(other, value),
                Some(other) => builder.ins().smax(other, value),
            });
        }
        let Some(result) = result else { return builder.ins().iconst(types::I64, 0) };
        if let Some((_, added)) = self.added.last_mut() {
            added.push(key.clone());
        }
        self.bounds.insert(key, result);
        result
    }
}

fn ceil_div(n: i64, divisor: i64) -> i64 {
    n.div_euclid(divisor) + i64::from(n.rem_euclid(divisor) != 0)
}

/// `ceil(n / divisor)` for any sign of `n`.
fn emit_ceil_div(builder: &mut FunctionBuilder<'_>, n: Value, divisor: i64) -> Value {
    if divisor == 1 {
        return n;
    }
    let n = builder.ins().iadd_imm_s(n, divisor - 1);
    if let Some(shift) = (divisor as u64).is_power_of_two().then(|| divisor.trailing_zeros()) {
        return builder.ins().sshr_imm_u(n, i64::from(shift));
    }
    // Division rounds towards zero; below zero that is one too many unless it is exact.
    let divisor = builder.ins().iconst(types::I64, divisor);
    let quotient = builder.ins().sdiv(n, divisor);
    let product = builder.ins().imul(quotient, divisor);
    let remainder = builder.ins().isub(n, product);
    let borrow = builder.ins().sshr_imm_u(remainder, 63);
    builder.ins().iadd(quotient, borrow)
}
