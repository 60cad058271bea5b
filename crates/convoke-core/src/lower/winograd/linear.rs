//! Products with a constant matrix as straight-line programs.
//!
//! In goes an exact matrix, out comes a sequence of additions and multiply-adds that shares what rows have in common:
//!
//! - two columns that are equal or opposite in each row (those of the points `p` and `-p` in `A^T`) become the sum and the
//!   difference of two inputs;
//! - two rows that are equal or opposite in each column (those of `p` and `-p` in `B^T`) become an even and an odd part, and
//!   their sum and difference;
//! - combinations that are a multiple of one that there is already take it.
//!
//! A combination starts from its terms with factors 1 and -1, where nothing is rounded but sums. Terms whose factors differ
//! in sign alone are added before they are multiplied; greater factors come later, so that partial sums stay small.

use super::surd::Surd;

/// An operation on values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// `a + b`.
    Add(usize, usize),
    /// `a - b`.
    Sub(usize, usize),
    /// `a * c`.
    Scale(usize, f64),
    /// `a * c + b`.
    MultiplyAdd(usize, f64, usize),
}

impl Step {
    /// The values it uses.
    pub(crate) fn operands(self) -> impl Iterator<Item = usize> {
        let (a, b) = match self {
            Self::Add(a, b) | Self::Sub(a, b) | Self::MultiplyAdd(a, _, b) => (a, Some(b)),
            Self::Scale(a, _) => (a, None),
        };
        std::iter::once(a).chain(b)
    }

    /// What it multiplies by.
    pub(crate) fn constant(self) -> Option<f64> {
        match self {
            Self::Scale(_, c) | Self::MultiplyAdd(_, c, _) => Some(c),
            Self::Add(..) | Self::Sub(..) => None,
        }
    }
}

/// `y = M x`. The inputs are the values `0..inputs`; each step makes the next one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearProgram {
    pub inputs: usize,
    pub steps: Vec<Step>,
    /// The value of each output; it may be an input.
    pub outputs: Vec<usize>,
}

impl LinearProgram {
    /// The product with `matrix`, of which no row is zero.
    pub(crate) fn new(matrix: &[Vec<Surd>]) -> Self {
        debug_assert!(matrix.iter().all(|row| row.iter().any(|c| !c.is_zero())));
        let inputs = matrix.first().map_or(0, Vec::len);
        let mut builder = Builder { inputs, steps: Vec::new(), known: Vec::new() };
        let rows = builder.pair_columns(matrix);
        let outputs = builder.pair_rows(&rows);
        Self { inputs, steps: builder.steps, outputs }
    }

    /// `M x`, for tests.
    #[cfg(test)]
    pub(crate) fn apply(&self, x: &[f64]) -> Vec<f64> {
        let mut values = x[..self.inputs].to_vec();
        for &step in &self.steps {
            values.push(match step {
                Step::Add(a, b) => values[a] + values[b],
                Step::Sub(a, b) => values[a] - values[b],
                Step::Scale(a, c) => values[a] * c,
                Step::MultiplyAdd(a, c, b) => values[a] * c + values[b],
            });
        }
        self.outputs.iter().map(|&value| values[value]).collect()
    }

    /// The different numbers that steps multiply by, in the order of their first use.
    pub(crate) fn constants(&self) -> Vec<f64> {
        distinct(&self.steps)
    }
}

fn distinct(steps: &[Step]) -> Vec<f64> {
    let mut constants = Vec::new();
    for c in steps.iter().filter_map(|step| step.constant()) {
        if !constants.contains(&c) {
            constants.push(c);
        }
    }
    constants
}

/// A sum of values, each times a factor that is not 0; the values rise.
type Combination = Vec<(usize, Surd)>;

/// A program while it grows.
struct Builder {
    inputs: usize,
    steps: Vec<Step>,
    /// Combinations that are values already.
    known: Vec<(Combination, usize)>,
}

impl Builder {
    fn push(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.inputs + self.steps.len() - 1
    }

    /// The rows of `matrix`, with sums and differences of two inputs as new values where that saves steps.
    fn pair_columns(&mut self, matrix: &[Vec<Surd>]) -> Vec<Combination> {
        let mut rows: Vec<Combination> = vec![Vec::new(); matrix.len()];
        let mut paired = vec![false; self.inputs];
        for j in 0..self.inputs {
            if paired[j] {
                continue;
            }
            let Some(k) = (j + 1..self.inputs).find(|&k| !paired[k] && saves(matrix, j, k)) else {
                let single = rows.iter_mut().zip(matrix).filter(|(_, of)| !of[j].is_zero());
                single.for_each(|(row, of)| row.push((j, of[j])));
                continue;
            };
            paired[k] = true;
            for (equal, step) in [(true, Step::Add(j, k)), (false, Step::Sub(j, k))] {
                let uses = |of: &[Surd]| !of[j].is_zero() && (of[j] == of[k]) == equal;
                if matrix.iter().any(|of| uses(of)) {
                    let value = self.push(step);
                    let users = rows.iter_mut().zip(matrix).filter(|(_, of)| uses(of));
                    users.for_each(|(row, of)| row.push((value, of[j])));
                }
            }
        }
        rows.iter_mut().for_each(|row| row.sort_by_key(|term| term.0));
        rows
    }

    /// The values of `rows`.
    fn pair_rows(&mut self, rows: &[Combination]) -> Vec<usize> {
        let mut outputs: Vec<Option<usize>> = vec![None; rows.len()];
        for (r, row) in rows.iter().enumerate() {
            if outputs[r].is_some() {
                continue;
            }
            let partner = (r + 1..rows.len()).find(|&s| outputs[s].is_none() && are_pair(row, &rows[s]));
            if let Some(s) = partner {
                let [sum, difference] = self.sum_and_difference(row, &rows[s]);
                (outputs[r], outputs[s]) = (Some(sum), Some(difference));
            } else {
                outputs[r] = Some(self.exactly(row));
            }
        }
        outputs.into_iter().flatten().collect()
    }

    /// Two rows that are a pair: what they share plus, and minus, the rest of the first.
    fn sum_and_difference(&mut self, row: &Combination, other: &Combination) -> [usize; 2] {
        let (shared, rest): (Vec<_>, Vec<_>) = row.iter().zip(other).partition(|(a, b)| a == b);
        let shared: Combination = shared.into_iter().map(|(a, _)| *a).collect();
        let rest: Combination = rest.into_iter().map(|(a, _)| *a).collect();
        let even = self.exactly(&shared);
        let (factor, odd) = self.up_to_factor(&rest);
        if factor == Surd::ONE {
            return [self.push(Step::Add(even, odd)), self.push(Step::Sub(even, odd))];
        }
        if factor == -Surd::ONE {
            return [self.push(Step::Sub(even, odd)), self.push(Step::Add(even, odd))];
        }
        [factor, -factor].map(|factor| self.push(Step::MultiplyAdd(odd, factor.to_f64(), even)))
    }

    /// The value of `terms`.
    fn exactly(&mut self, terms: &Combination) -> usize {
        if let Some((factor, value)) = self.find(terms) {
            return if factor == Surd::ONE { value } else { self.push(Step::Scale(value, factor.to_f64())) };
        }
        let value = self.sum(groups(terms));
        self.known.push((terms.clone(), value));
        value
    }

    /// A value and the factor that makes it that of `terms`: one of their factors, so that the value starts from a term, and
    /// among those the one that takes the fewest new constants.
    fn up_to_factor(&mut self, terms: &Combination) -> (Surd, usize) {
        if let Some(found) = self.find(terms) {
            return found;
        }
        let used = distinct(&self.steps);
        let new = |factor: Surd| {
            let mut new: Vec<f64> = Vec::new();
            for group in groups(&divided(terms, factor)) {
                let c = group.factor.to_f64();
                if c.abs() != 1.0 && !used.contains(&c) && !new.contains(&c) {
                    new.push(c);
                }
            }
            new.len()
        };
        let Some(factor) = terms.iter().rev().map(|term| term.1).min_by_key(|&factor| new(factor)) else {
            return (Surd::ONE, 0);
        };
        (factor, self.exactly(&divided(terms, factor)))
    }

    /// A value that `terms` are a multiple of, and the factor.
    fn find(&self, terms: &Combination) -> Option<(Surd, usize)> {
        if let [(value, factor)] = terms[..] {
            return Some((factor, value));
        }
        self.known.iter().find_map(|(known, value)| {
            let same = known.len() == terms.len() && known.iter().zip(terms).all(|(a, b)| a.0 == b.0);
            let factor = same.then(|| terms[0].1 * known[0].1.inverse())?;
            known.iter().zip(terms).all(|(a, b)| a.1 * factor == b.1).then_some((factor, *value))
        })
    }

    /// The sum of `groups`, which come in the order in which to add them.
    fn sum(&mut self, groups: Vec<Group>) -> usize {
        let mut sum = None;
        for Group { factor, terms } in groups {
            if factor == Surd::ONE && sum.is_none() {
                sum = Some(self.add_all(&terms));
                continue;
            }
            let value = match terms[..] {
                [(value, _)] => value,
                _ => self.exactly(&terms),
            };
            sum = Some(match sum {
                None => self.push(Step::Scale(value, factor.to_f64())),
                Some(sum) if factor == Surd::ONE => self.push(Step::Add(sum, value)),
                Some(sum) if factor == -Surd::ONE => self.push(Step::Sub(sum, value)),
                Some(sum) => self.push(Step::MultiplyAdd(value, factor.to_f64(), sum)),
            });
        }
        sum.unwrap_or_default()
    }

    /// The sum of `terms`, whose factors are 1, the first's, and -1.
    fn add_all(&mut self, terms: &Combination) -> usize {
        let mut sum = terms[0].0;
        for &(value, factor) in &terms[1..] {
            sum = self.push(if factor == Surd::ONE { Step::Add(sum, value) } else { Step::Sub(sum, value) });
        }
        sum
    }
}

/// Whether columns `j` and `k` are equal or opposite in each row, in more rows than there are sums and differences to make.
fn saves(matrix: &[Vec<Surd>], j: usize, k: usize) -> bool {
    let (mut equal, mut opposite) = (0, 0);
    for row in matrix.iter().filter(|row| !row[j].is_zero() || !row[k].is_zero()) {
        if row[j] == row[k] {
            equal += 1;
        } else if row[j] == -row[k] {
            opposite += 1;
        } else {
            return false;
        }
    }
    equal + opposite > usize::from(equal > 0) + usize::from(opposite > 0)
}

/// Whether two rows have the same terms, some with the same and some with the opposite factor, and are long enough to gain
/// from that.
fn are_pair(a: &Combination, b: &Combination) -> bool {
    let related = |(a, b): (&(usize, Surd), &(usize, Surd))| a.0 == b.0 && (a.1 == b.1 || a.1 == -b.1);
    let equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
    a.len() == b.len() && a.len() > 2 && (1..a.len()).contains(&equal) && a.iter().zip(b).all(related)
}

fn divided(terms: &Combination, factor: Surd) -> Combination {
    let inverse = factor.inverse();
    terms.iter().map(|&(value, c)| (value, c * inverse)).collect()
}

/// Terms that share a factor up to its sign: `factor` times terms with factors 1 and -1, of which the first has 1.
struct Group {
    factor: Surd,
    terms: Combination,
}

/// `terms` by factor: those that need no multiplication first, then the least factor first.
fn groups(terms: &Combination) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for &(value, c) in terms {
        match groups.iter_mut().find(|group| group.factor == c || group.factor == -c) {
            Some(group) => {
                let sign = if group.factor == c { Surd::ONE } else { -Surd::ONE };
                group.terms.push((value, sign));
            }
            None => groups.push(Group { factor: c, terms: vec![(value, Surd::ONE)] }),
        }
    }
    for group in groups.iter_mut().filter(|group| group.factor == -Surd::ONE) {
        // A positive term comes first, if there is one.
        if let Some(at) = group.terms.iter().position(|term| term.1 == -Surd::ONE) {
            group.factor = Surd::ONE;
            group.terms.iter_mut().for_each(|term| term.1 = -term.1);
            group.terms[..=at].rotate_right(1);
        }
    }
    // Terms that are all subtracted need something to be subtracted from.
    let rank = |group: &Group| match group.factor {
        Surd::ONE => 0,
        c if c == -Surd::ONE => 2,
        _ => 1,
    };
    groups.sort_by(|a, b| {
        let by_size = || a.factor.magnitude().compare(b.factor.magnitude());
        (rank(a)).cmp(&rank(b)).then_with(by_size)
    });
    groups
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;
