//! Iterations of a parallel loop keep apart.
//!
//! For each buffer that the nest writes, `local` aside, every element that iteration `p` touches, loads included, has to
//! tell `p`. All its accesses have the same factor `c` of `p`. For some `Q`, terms whose factor is a multiple of it are
//! *high*, the others and `p`'s own are *low*. An element modulo `Q` is then its low part, up to a multiple of `Q` in the
//! constant. If
//!
//! - all low parts lie in one interval shorter than `Q` (any, if nothing is high), and
//! - all low parts without `c * p` lie in one interval no longer than `|c|`,
//!
//! then the element tells the low part, and that tells `p`. What is tried for `Q`: the factors, their greatest common
//! divisors from some size on, the distances of stores, these rounded to multiples of `c`, what they have in common with those
//! divisors, and parts of the factors, as the rows of a phase of a transposed layer are several apart.
//!
//! For rows of an `nchw` image, `c` is a row's length, channels are high and pixels of a row are low.

use super::VerifyError;
use super::linear::{Linear, SLOTS, Space, gcd};
use super::tiles::Group;
use crate::ir::{Range, Role};

/// The slot of a nest's outermost loop.
const OUTER: usize = 1;

/// Accesses to a written buffer that iterations share, which differ in their constant alone, and the loops around them.
#[derive(Clone, Debug)]
pub(super) struct Site {
    role: Role,
    stores: bool,
    space: Space,
    element: Linear,
    lanes: usize,
    stride: i128,
    offsets: Vec<i128>,
}

impl Site {
    pub(super) fn new(space: &Space, group: &Group, element: &Linear, role: Role) -> Self {
        let mut offsets: Vec<i128> = group.offsets.iter().map(|&o| o.into()).collect();
        offsets.sort_unstable();
        offsets.dedup();
        let stride = group.stride.into();
        Self {
            role,
            stores: group.stores,
            space: space.clone(),
            element: *element,
            lanes: group.lanes,
            stride,
            offsets,
        }
    }

    fn factor(&self) -> i128 {
        self.element.factors[OUTER]
    }

    /// Factors other than that of the parallel variable, the lanes' among them.
    fn others(&self) -> impl Iterator<Item = i128> {
        let lanes = (self.lanes > 1).then_some(self.stride);
        self.element
            .factors
            .into_iter()
            .enumerate()
            .filter(|&(slot, f)| slot != OUTER && f != 0)
            .map(|f| f.1)
            .chain(lanes)
    }
}

/// A parallel nest.
pub(super) struct Apart<'a> {
    pub(super) nest: &'a str,
    pub(super) var: String,
    pub(super) range: &'a Range,
}

impl Apart<'_> {
    pub(super) fn check(&self, sites: &[Site]) -> Result<(), VerifyError> {
        if self.runs_at_most_once() {
            return Ok(());
        }
        for role in Role::ALL {
            let of_role: Vec<&Site> = sites.iter().filter(|s| s.role == role && !s.space.is_empty()).collect();
            if of_role.iter().any(|s| s.stores) {
                self.check_role(role, &of_role)?;
            }
        }
        Ok(())
    }

    /// Some upper bound is a constant that leaves room for one iteration above some lower one.
    fn runs_at_most_once(&self) -> bool {
        let value = |bound: &crate::ir::CeilDiv| bound.numerator.as_constant().map(|_| bound.eval(&[]));
        let lo = self.range.lo.iter().filter_map(value).max();
        let hi = self.range.hi.iter().filter_map(value).min();
        matches!((lo, hi), (Some(lo), Some(hi)) if hi.saturating_sub(lo) <= 1)
    }

    fn check_role(&self, role: Role, sites: &[&Site]) -> Result<(), VerifyError> {
        let together =
            |why: String| VerifyError::Together { nest: self.nest.to_owned(), var: self.var.clone(), role, why };
        let factors: Vec<i128> = sites.iter().map(|s| s.factor()).collect();
        let c = factors[0];
        if let Some(other) = factors.iter().find(|&&f| f != c) {
            return Err(together(format!("it moves one access by {c} elements and another by {other}")));
        }
        if c == 0 {
            return Err(together("it does not move its accesses".to_owned()));
        }
        let spreads = moduli(sites, c).into_iter().flat_map(|q| [q / 2, 0].map(|back| spread(sites, c, q, back)));
        if spreads.flatten().any(|s| s.keeps_apart(c)) {
            return Ok(());
        }
        let found = spread(sites, c, 0, 0).map_or_else(|| "any number of".to_owned(), |s| (s.low + 1).to_string());
        Err(together(format!("it moves its accesses by {c} elements, and one iteration spans {found}")))
    }
}

/// Into how many parts a factor is cut.
const MOST_PARTS: i128 = 8;

/// What may serve as `Q`, the likeliest first; 0 stands for no high terms.
fn moduli(sites: &[&Site], c: i128) -> Vec<i128> {
    let mut factors: Vec<i128> = sites.iter().flat_map(|s| s.others()).map(i128::abs).collect();
    let first = sites.first().map_or(0, |s| s.element.constant + s.offsets[0]);
    let constants = sites.iter().flat_map(|s| s.offsets.iter().map(|o| s.element.constant + o - first));
    let c = c.abs();
    // The first store of a plane may be of other lanes of a pixel than the first of all.
    let rounded = |d: i128| [d, d - d % c, d - d % c + c];
    let mut distances: Vec<i128> = constants.flat_map(|d| rounded(d.abs())).filter(|d| *d >= c).collect();
    for list in [&mut factors, &mut distances] {
        list.sort_unstable();
        list.dedup();
    }
    factors.retain(|f| *f >= c);
    let from = |i: usize| factors[i..].iter().fold(0, |q, &f| gcd(q, f));
    let divisors: Vec<i128> = (0..factors.len()).map(from).collect();
    // Stores of pixels that are not neighbours may lie apart by no factor and no divisor of all.
    let shared = divisors.iter().flat_map(|&q| distances.iter().map(move |&d| gcd(q, d)));
    let mut shared: Vec<i128> = shared.filter(|q| *q >= c).collect();
    shared.sort_unstable();
    shared.dedup();
    let part = |f: i128| (2..=MOST_PARTS).filter(move |k| f % k == 0).map(move |k| f / k);
    let parts = factors.iter().flat_map(|&f| part(f)).filter(|q| *q >= c).collect();
    [vec![0], divisors, factors, distances, shared, parts].concat()
}

/// How far low parts lie from one another.
struct Spread {
    /// What high factors are multiples of, 0 if there are none.
    q: i128,
    /// Greatest less least low part without the parallel variable's own.
    low: i128,
    /// Greatest less least low part.
    all: i128,
}

impl Spread {
    fn keeps_apart(&self, c: i128) -> bool {
        self.low < c.abs() && (self.q == 0 || self.all < self.q)
    }
}

/// Measures the spread modulo `q`, of low parts from `back` before the first on.
fn spread(sites: &[&Site], c: i128, q: i128, back: i128) -> Option<Spread> {
    let is_low = |f: i128| q == 0 || f % q != 0;
    let mut reference = None;
    let (mut low, mut all) = (Interval::default(), Interval::default());
    for site in sites {
        let mut rest = Linear::constant(site.element.constant);
        for slot in 0..SLOTS {
            if slot != OUTER && is_low(site.element.factors[slot]) {
                rest.factors[slot] = site.element.factors[slot];
            }
        }
        let lanes = if is_low(site.stride) { (site.lanes as i128 - 1) * site.stride } else { 0 };
        let mut with = rest;
        with.factors[OUTER] = c;
        let of = |l: &Linear| Some((site.space.least(l, i128::MAX)?, site.space.greatest(l)?.checked_add(lanes)?));
        let rest = of(&rest)?;
        // With nothing high the low parts may reach any length, even one that depends on the batch.
        let with = if q == 0 { rest } else { of(&with)? };
        for &offset in &site.offsets {
            let at = rest.0 + offset;
            let to = *reference.get_or_insert(at);
            let shift = if q == 0 { 0 } else { (at - to + back).div_euclid(q) * q };
            low.add(rest, offset - shift);
            all.add(with, offset - shift);
        }
    }
    Some(Spread { q, low: low.length(), all: all.length() })
}

/// The least interval around what was added.
#[derive(Default)]
struct Interval(Option<(i128, i128)>);

impl Interval {
    fn add(&mut self, (from, to): (i128, i128), by: i128) {
        let (from, to) = (from + by, to + by);
        self.0 = Some(self.0.map_or((from, to), |i| (i.0.min(from), i.1.max(to))));
    }

    fn length(&self) -> i128 {
        self.0.map_or(0, |i| i.1 - i.0)
    }
}
