//! What the inputs and attributes of nodes say about sizes, in the forms of all versions of the operators.
//!
//! Constants and values that move are cut, joined and renamed by the same rules, which are here.

use std::rc::Rc;

use crate::error::Reason;
use crate::graph::Node;
use crate::tensor::{Tensor, count};

/// Numbers that a node may be given as sizes, axes or indices.
const MAX_INTS: usize = 1 << 16;

/// Axes that a node may name.
const MAX_AXES: usize = 64;

/// A node and those of its inputs that are constants.
pub(crate) struct Params<'n, 'g> {
    pub(crate) node: &'n Node<'g>,
    /// For each input the constant, if it is one.
    pub(crate) known: Vec<Option<Rc<Tensor>>>,
}

/// What is taken along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) start: usize,
    /// Below 0: backwards.
    pub(crate) step: i64,
    pub(crate) len: usize,
}

impl Params<'_, '_> {
    /// A constant input, if it is given.
    pub(crate) fn constant(&self, input: usize, what: &'static str) -> Result<Option<&Rc<Tensor>>, Reason> {
        if self.node.input(input).is_none() {
            return Ok(None);
        }
        match self.known.get(input) {
            Some(Some(tensor)) => Ok(Some(tensor)),
            _ => Err(Reason::NotConstant { input, what }),
        }
    }

    /// A constant input that has to be given.
    pub(crate) fn needed(&self, input: usize, what: &'static str) -> Result<&Rc<Tensor>, Reason> {
        self.constant(input, what)?.ok_or(Reason::NoInput(input))
    }

    /// The whole numbers of a constant input, if it is given.
    pub(crate) fn ints(&self, input: usize, what: &'static str) -> Result<Option<Vec<i64>>, Reason> {
        let Some(tensor) = self.constant(input, what)? else { return Ok(None) };
        if tensor.len() > MAX_INTS {
            return Err(Reason::Overflow);
        }
        let ints = tensor.to_ints().ok_or_else(|| Reason::Type(tensor.dtype.name().to_owned()))?;
        Ok(Some(ints))
    }

    /// The one number of a constant input, if it is given.
    pub(crate) fn number(&self, input: usize, what: &'static str) -> Result<Option<f64>, Reason> {
        let Some(tensor) = self.constant(input, what)? else { return Ok(None) };
        match tensor.len() {
            1 => Ok(Some(tensor.float(0))),
            n => Err(Reason::Number { what, found: format!("{n} numbers"), expected: "it takes one" }),
        }
    }

    /// Axes as an attribute or, in later versions, an input.
    pub(crate) fn axes(&self, input: usize, rank: usize) -> Result<Option<Vec<usize>>, Reason> {
        let given = match self.node.ints("axes") {
            Some(axes) => Some(axes.to_vec()),
            None => self.ints(input, "the axes")?,
        };
        let Some(given) = few(given)? else { return Ok(None) };
        let mut axes = given.iter().map(|&axis| self::axis(axis, rank)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Reason::No("an axis is named twice"));
        }
        Ok(Some(axes))
    }

    /// The sizes that `Reshape` makes of these.
    pub(crate) fn reshaped(&self, dims: &[usize]) -> Result<Vec<usize>, Reason> {
        let given = match self.node.ints("shape") {
            Some(shape) => Some(shape.to_vec()),
            None => self.ints(1, "the shape")?,
        };
        let given = few(given)?.ok_or(Reason::NoInput(1))?;
        let zeros = self.node.flag("allowzero", false)?;
        let (mut out, mut rest) = (Vec::with_capacity(given.len()), None);
        for (at, &size) in given.iter().enumerate() {
            out.push(match size {
                -1 if rest.is_none() => {
                    rest = Some(at);
                    1
                }
                0 if !zeros => *dims.get(at).ok_or(Reason::NoAxis { axis: at as i64, count: dims.len() })?,
                size => usize::try_from(size).map_err(|_| differ("shapes", dims, &given))?,
            });
        }
        let all = count(dims).ok_or(Reason::Overflow)?;
        let others = count(&out).ok_or(Reason::Overflow)?;
        if let Some(rest) = rest {
            if others == 0 || !all.is_multiple_of(others) {
                return Err(differ("shapes", dims, &given));
            }
            out[rest] = all / others;
        } else if others != all {
            return Err(differ("shapes", dims, &given));
        }
        Ok(out)
    }

    /// The sizes that `Squeeze` leaves.
    pub(crate) fn squeezed(&self, dims: &[usize]) -> Result<Vec<usize>, Reason> {
        let axes = self.axes(1, dims.len())?;
        let mut out = Vec::new();
        for (axis, &size) in dims.iter().enumerate() {
            let gone = axes.as_ref().map_or(size == 1, |axes| axes.contains(&axis));
            if gone && size != 1 {
                return Err(Reason::Number {
                    what: "the size of the axis",
                    found: size.to_string(),
                    expected: "only axes of size 1 can be left out",
                });
            }
            if !gone {
                out.push(size);
            }
        }
        Ok(out)
    }

    /// The sizes that `Unsqueeze` makes.
    pub(crate) fn unsqueezed(&self, dims: &[usize]) -> Result<Vec<usize>, Reason> {
        let given = match self.node.ints("axes") {
            Some(axes) => Some(axes.to_vec()),
            None => self.ints(1, "the axes")?,
        };
        let rank = dims.len() + few(given)?.map_or(0, |axes| axes.len());
        let axes = self.axes(1, rank)?.ok_or(Reason::NoInput(1))?;
        let mut rest = dims.iter().copied();
        Ok((0..rank).map(|axis| if axes.contains(&axis) { 1 } else { rest.next().unwrap_or(1) }).collect())
    }

    /// The sizes that `Flatten` makes.
    pub(crate) fn flattened(&self, dims: &[usize]) -> Result<Vec<usize>, Reason> {
        let at = self.node.int("axis", 1);
        let rank = dims.len();
        let at = if at == rank as i64 { rank } else { axis(at, rank)? };
        Ok(vec![dims[..at].iter().product(), dims[at..].iter().product()])
    }

    /// Which axis each of `Transpose` was.
    pub(crate) fn order(&self, rank: usize) -> Result<Vec<usize>, Reason> {
        let Some(given) = self.node.ints("perm") else { return Ok((0..rank).rev().collect()) };
        let order = given.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted.iter().copied().ne(0..rank) {
            return Err(Reason::Differ {
                what: "axes and `perm`",
                first: rank.to_string(),
                second: format!("{given:?}"),
            });
        }
        Ok(order)
    }

    /// What `Slice` takes along each axis.
    pub(crate) fn cuts(&self, dims: &[usize]) -> Result<Vec<Cut>, Reason> {
        let node = self.node;
        let (starts, ends, axes, steps) = if node.has("starts") {
            let list = |name| few(node.ints(name).map(<[i64]>::to_vec));
            (list("starts")?, list("ends")?, list("axes")?, None)
        } else {
            let list = |input, what| self.ints(input, what).and_then(few);
            (list(1, "the starts")?, list(2, "the ends")?, list(3, "the axes")?, list(4, "the steps")?)
        };
        let (starts, ends) = (starts.ok_or(Reason::NoInput(1))?, ends.ok_or(Reason::NoInput(2))?);
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()].iter().any(|&len| len != starts.len()) {
            return Err(Reason::Differ {
                what: "numbers of starts, ends, axes and steps",
                first: starts.len().to_string(),
                second: format!("{}, {}, {}", ends.len(), axes.len(), steps.len()),
            });
        }
        let mut cuts: Vec<_> = dims.iter().map(|&len| Cut { start: 0, step: 1, len }).collect();
        for (at, &axis) in axes.iter().enumerate() {
            let axis = self::axis(axis, dims.len())?;
            cuts[axis] = cut(dims[axis], starts[at], ends[at], steps[at])?;
        }
        Ok(cuts)
    }

    /// How long the parts of `Split` are.
    pub(crate) fn parts(&self, size: usize, outputs: usize) -> Result<Vec<usize>, Reason> {
        let given = match self.node.ints("split") {
            Some(split) => Some(split.to_vec()),
            None => self.ints(1, "the lengths")?,
        };
        let Some(given) = given else {
            let parts = usize::try_from(self.node.int("num_outputs", outputs as i64)).unwrap_or(0);
            if parts == 0 || parts != outputs || parts > size {
                return Err(differ("parts and outputs", &[parts], &[outputs as i64]));
            }
            let each = size.div_ceil(parts);
            let even = |at: usize| size.saturating_sub(at * each).min(each);
            return Ok((0..parts).map(even).collect());
        };
        let parts = given.iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>();
        let parts = parts.map_err(|_| Reason::Overflow)?;
        let sum = parts.iter().try_fold(0_usize, |sum, &n| sum.checked_add(n));
        if sum != Some(size) || parts.len() != outputs {
            return Err(differ("the size and its parts", &[size], &given));
        }
        Ok(parts)
    }
}

/// Refuses more numbers than there are axes.
fn few(given: Option<Vec<i64>>) -> Result<Option<Vec<i64>>, Reason> {
    match given {
        Some(given) if given.len() > MAX_AXES => Err(Reason::Axes { expected: "fewer", found: given.len() }),
        given => Ok(given),
    }
}

/// One axis of `Slice`, by its rules for numbers below 0 and beyond the end.
fn cut(size: usize, start: i64, end: i64, step: i64) -> Result<Cut, Reason> {
    if step == 0 {
        return Err(Reason::No("a step is 0"));
    }
    let len = size as i128;
    let from_end = |at: i64| if at < 0 { i128::from(at) + len } else { i128::from(at) };
    let (start, end, step_wide) = (from_end(start), from_end(end), i128::from(step));
    let (start, end) =
        if step > 0 { (start.clamp(0, len), end.clamp(0, len)) } else { (start.clamp(0, len - 1), end.clamp(-1, len)) };
    let steps = if size == 0 { 0 } else { (end - start + step_wide - step_wide.signum()) / step_wide };
    Ok(Cut { start: start.max(0) as usize, step, len: steps.max(0) as usize })
}

/// An axis, counted from the end if it is below 0.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Reason> {
    let at = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    at.and_then(|at| usize::try_from(at).ok()).filter(|&at| at < rank).ok_or(Reason::NoAxis { axis, count: rank })
}

/// The sizes of what two tensors make together, one element of either standing for many.
pub(crate) fn broadcast(first: &[usize], second: &[usize]) -> Result<Vec<usize>, Reason> {
    let rank = first.len().max(second.len());
    let size = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let each = (0..rank).map(|axis| match (size(first, axis), size(second, axis)) {
        (a, b) if a == b || b == 1 => Ok(a),
        (1, b) => Ok(b),
        _ => Err(differ_dims("sizes", first, second)),
    });
    each.collect()
}

pub(crate) fn differ(what: &'static str, first: &[usize], second: &[i64]) -> Reason {
    Reason::Differ { what, first: format!("{first:?}"), second: format!("{second:?}") }
}

pub(crate) fn differ_dims(what: &'static str, first: &[usize], second: &[usize]) -> Reason {
    Reason::Differ { what, first: format!("{first:?}"), second: format!("{second:?}") }
}
