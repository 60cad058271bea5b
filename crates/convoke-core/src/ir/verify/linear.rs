//! Least values of affine expressions over loop variables, found by taking the loops away, innermost first.
//!
//! A variable `i` of a loop that is running lies in `max(ceil(x/d), …) .. min(ceil(y/e), …)`, so for each of its bounds
//! `d * i >= x` and `e * i <= y - 1`. To bound `c * i + rest` from below for `c > 0`, the expression is scaled until
//! `d` divides its factor and `i` is replaced by one of its lower bounds; for `c < 0` by an upper one. That keeps what
//! the bound has in common with `rest`: the first row of a window at a border is such a bound. Every choice of a bound
//! gives a true statement and the best counts; there are few, and [`BUDGET`] caps how many are tried.
//!
//! Nothing is rounded on the way, so what is found is exact for the polyhedron that the bounds span, as long as one
//! bound a variable is enough. An overflow counts as no bound.

use crate::ir::verify::{MAX_NEST_DEPTH, MAX_TILE_DEPTH};

/// `N`, the loops of a nest, and the loops of a tile.
pub(super) const SLOTS: usize = 1 + MAX_NEST_DEPTH + MAX_TILE_DEPTH;

/// Substitutions that one question may cost.
const BUDGET: usize = 20_000;

/// `constant + sum of factors[slot] * slot`. Slot 0 is `N`, the others are loops, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Linear {
    pub(super) factors: [i128; SLOTS],
    pub(super) constant: i128,
}

impl Linear {
    pub(super) fn constant(constant: i128) -> Self {
        Self { factors: [0; SLOTS], constant }
    }

    /// `a * self + b * other`, `None` if that overflows.
    pub(super) fn combine(&self, a: i128, other: &Self, b: i128) -> Option<Self> {
        let one = |x: i128, y: i128| match (x, y) {
            (0, 0) => Some(0),
            (x, 0) => x.checked_mul(a),
            (0, y) => y.checked_mul(b),
            _ => x.checked_mul(a)?.checked_add(y.checked_mul(b)?),
        };
        let mut sum = Self::constant(one(self.constant, other.constant)?);
        for slot in 0..SLOTS {
            sum.factors[slot] = one(self.factors[slot], other.factors[slot])?;
        }
        Some(sum)
    }

    pub(super) fn negated(&self) -> Self {
        Self { factors: self.factors.map(|f| -f), constant: -self.constant }
    }

    fn innermost(&self) -> Option<usize> {
        (1..SLOTS).rev().find(|&slot| self.factors[slot] != 0)
    }
}

/// `ceil(numerator / divisor)`.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) numerator: Linear,
    pub(super) divisor: i128,
}

/// The bounds of one running loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    pub(super) lo: Vec<Bound>,
    pub(super) hi: Vec<Bound>,
}

/// The loops around a place, outermost first; loop `i` is slot `i + 1`.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    loops: Vec<Bounds>,
    /// Least `N` for which all loops run, known so far; one for each loop.
    least_batch: Vec<i128>,
}

impl Space {
    pub(super) fn depth(&self) -> usize {
        self.loops.len()
    }

    /// The slot of the next loop that is pushed.
    pub(super) fn next_slot(&self) -> usize {
        self.loops.len() + 1
    }

    pub(super) fn push(&mut self, bounds: Bounds) {
        let mut least = self.batch_at_least();
        for (lo, hi) in bounds.lo.iter().flat_map(|lo| bounds.hi.iter().map(move |hi| (lo, hi))) {
            // lo <= hi - 1: the loop runs.
            let room = hi.numerator.combine(lo.divisor, &lo.numerator, -hi.divisor);
            if let Some(room) = room.filter(|r| r.innermost().is_none() && r.factors[0] > 0) {
                let needed = lo.divisor - room.constant;
                least =
                    least.max(needed.div_euclid(room.factors[0]) + i128::from(needed.rem_euclid(room.factors[0]) != 0));
            }
        }
        self.loops.push(bounds);
        self.least_batch.push(least);
    }

    pub(super) fn pop(&mut self) {
        self.loops.pop();
        self.least_batch.pop();
    }

    fn batch_at_least(&self) -> i128 {
        self.least_batch.last().copied().unwrap_or(0)
    }

    /// The greatest number known not to be above `expr`. The search ends as soon as it has found `enough`.
    pub(super) fn least(&self, expr: &Linear, enough: i128) -> Option<i128> {
        let mut budget = BUDGET;
        self.search(expr, 1, enough, &mut budget)
    }

    /// The least number known not to be below `expr`.
    pub(super) fn greatest(&self, expr: &Linear) -> Option<i128> {
        self.least(&expr.negated(), i128::MAX).map(|n| -n)
    }

    /// Bounds `expr / scale`.
    fn search(&self, expr: &Linear, scale: i128, enough: i128, budget: &mut usize) -> Option<i128> {
        let Some(slot) = expr.innermost() else {
            if expr.factors[0] < 0 {
                return None;
            }
            let least = expr.factors[0].checked_mul(self.batch_at_least())?.checked_add(expr.constant)?;
            return Some(least.div_euclid(scale) + i128::from(least.rem_euclid(scale) != 0));
        };
        let factor = expr.factors[slot];
        let bounds = self.loops.get(slot - 1)?;
        let mut best = None;
        for bound in if factor > 0 { &bounds.lo } else { &bounds.hi } {
            *budget = budget.checked_sub(1)?;
            let Some((next, times)) = substitute(expr, slot, bound) else { continue };
            let Some(scale) = scale.checked_mul(times) else { continue };
            best = best.max(self.search(&next, scale, enough, budget));
            if best >= Some(enough) {
                break;
            }
        }
        best
    }

    /// Whether some loop is known to run nothing, so that what is inside needs no proof.
    pub(super) fn is_empty(&self) -> bool {
        let mut outer = Self::default();
        for bounds in &self.loops {
            for (lo, hi) in bounds.lo.iter().flat_map(|lo| bounds.hi.iter().map(move |hi| (lo, hi))) {
                let excess = lo.numerator.combine(hi.divisor, &hi.numerator, -lo.divisor);
                if excess.and_then(|e| outer.least(&e, 0)) >= Some(0) {
                    return true;
                }
            }
            outer.push(bounds.clone());
        }
        false
    }
}

/// `times * expr` with `slot` replaced by `bound`, and `times`.
fn substitute(expr: &Linear, slot: usize, bound: &Bound) -> Option<(Linear, i128)> {
    let factor = expr.factors[slot];
    let shared = gcd(factor, bound.divisor);
    let times = bound.divisor / shared;
    let mut rest = *expr;
    rest.factors[slot] = 0;
    let mut at = bound.numerator;
    if factor < 0 {
        at.constant = at.constant.checked_sub(1)?;
    }
    Some((rest.combine(times, &at, factor / shared)?, times))
}

pub(super) fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.saturating_abs(), b.saturating_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
