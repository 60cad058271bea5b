//! Runs any verified kernel: this is the meaning of the IR, in Rust.
//!
//! In come a [`Verified`] kernel, the batch size and the buffers; the outputs are written in place. Buffers of another
//! length or element type are refused. Every access is checked again, so that a kernel that the verifier should have
//! refused ends in [`RunError::OutOfBounds`]. An iteration of an outermost loop finds NaN in `local`, so that a kernel that
//! uses what another left there shows.
//!
//! Nothing is compiled: registers are arrays of as many lanes as the kernel's, and each statement is one match.

use std::ops::Range;

use thiserror::Error;

use super::Element;
use crate::ir::{
    Access, Address, Affine, BinaryOp, Buffer, Call, CeilDiv, Extent, Kernel, Loop, Nest, Op, Reg, Role, Stmt, Tile,
    TileLoop, TileStmt, Verified,
};
use crate::spec::DType;
pub use buffers::Buffers;
use lanes::{binary, binary_int, convert, dot4};
use memory::{Bytes, Memory};

mod buffers;
mod lanes;
mod memory;

/// Why a kernel did not run, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// The buffers hold another type.
    #[error("kernel `{kernel}` computes {expected}, the buffers hold {found}", expected = expected.name(), found = found.name())]
    DType {
        /// The kernel's name.
        kernel: String,
        /// Its element type.
        expected: DType,
        /// The buffers' type.
        found: DType,
    },
    /// A buffer holds elements of another type than the kernel computes in.
    #[error("`{}` of kernel `{kernel}` holds {holds}, so its buffers are given as bytes", role.name())]
    Storage {
        /// The kernel's name.
        kernel: String,
        /// Which buffer.
        role: Role,
        /// What it holds.
        holds: &'static str,
    },
    /// A buffer has another length.
    #[error("`{name}` must have {expected} elements for a batch of {batch}, it has {found}", name = role.name())]
    Length {
        /// Which buffer.
        role: Role,
        /// The batch size of this run.
        batch: usize,
        /// What the kernel needs.
        expected: i128,
        /// What was given.
        found: usize,
    },
    /// There is no such nest.
    #[error("kernel `{kernel}` has {nests} nests, there is no nest {nest}")]
    NoNest {
        /// The kernel's name.
        kernel: String,
        /// How many it has.
        nests: usize,
        /// Which was asked for.
        nest: usize,
    },
    /// A part of a nest reaches past its outermost loop.
    #[error("nest {nest} runs from {start} to {end}, which {lo}..{hi} is no part of")]
    Part {
        /// Which nest.
        nest: usize,
        /// Where its outermost loop starts.
        start: i64,
        /// One past where it ends.
        end: i64,
        /// The part's first.
        lo: i64,
        /// One past the part's last.
        hi: i64,
    },
    /// An access lies outside its buffer.
    #[error("tile `{tile}` reaches elements {from} to {to} of `{name}`, which has {len}", name = role.name())]
    OutOfBounds {
        /// The tile's name.
        tile: String,
        /// Which buffer.
        role: Role,
        /// Least element touched.
        from: i64,
        /// Greatest element touched.
        to: i64,
        /// Elements of the buffer.
        len: usize,
    },
    /// Something that the verifier refuses: an index without a meaning, or an overflow.
    #[error("kernel `{kernel}` is not well formed: {what}")]
    Malformed {
        /// The kernel's name.
        kernel: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Runs every nest of `kernel` on `batch` images.
///
/// # Errors
/// If the element type or the length of a buffer is another than the kernel's.
pub fn run<T: Element>(kernel: &Verified, batch: usize, buffers: &mut Buffers<'_, T>) -> Result<(), RunError> {
    run_kernel(kernel, batch, buffers)
}

/// As [`run`], for kernels whose buffers hold elements of several types: all are bytes, in the machine's order.
///
/// # Errors
/// If the length of a buffer is another than the kernel's.
pub fn run_bytes(kernel: &Verified, batch: usize, buffers: &mut Buffers<'_, u8>) -> Result<(), RunError> {
    let lengths = |kernel: &Kernel| check_lengths(kernel, batch, |b| buffers.get(b.role).len(), |b| b.storage.bytes());
    lengths(kernel)?;
    let mut memory = Bytes::new(kernel, buffers);
    for nest in &kernel.nests {
        let (values, outer) = outer_of(kernel, nest, batch)?;
        match kernel.dtype {
            DType::F32 => run_part::<f32, _>(kernel, nest, outer, values, &mut memory)?,
            DType::F64 => run_part::<f64, _>(kernel, nest, outer, values, &mut memory)?,
        }
    }
    Ok(())
}

/// The range of the outermost loop of nest `nest` for `batch` images: what threads divide.
///
/// # Errors
/// If there is no such nest.
pub fn outer_range(kernel: &Verified, nest: usize, batch: usize) -> Result<Range<i64>, RunError> {
    let found = nest_of(kernel, nest)?;
    Ok(outer_of(kernel, found, batch)?.1)
}

/// Runs `lo..hi` of the outermost loop of nest `nest`; iterations of a parallel loop may be run in any order.
///
/// # Errors
/// As [`run`], and if `lo..hi` is no part of [`outer_range`] or there is no such nest.
pub fn run_nest<T: Element>(
    kernel: &Verified,
    nest: usize,
    part: Range<i64>,
    batch: usize,
    buffers: &mut Buffers<'_, T>,
) -> Result<(), RunError> {
    check_buffers(kernel, batch, buffers)?;
    let found = nest_of(kernel, nest)?;
    let (values, outer) = outer_of(kernel, found, batch)?;
    if part.start < part.end && (part.start < outer.start || part.end > outer.end) {
        let (lo, hi) = (part.start, part.end);
        return Err(RunError::Part { nest, start: outer.start, end: outer.end, lo, hi });
    }
    run_part(kernel, found, part, values, buffers)
}

/// [`run`] without the proof.
pub(crate) fn run_kernel<T: Element>(
    kernel: &Kernel,
    batch: usize,
    buffers: &mut Buffers<'_, T>,
) -> Result<(), RunError> {
    check_buffers(kernel, batch, buffers)?;
    for nest in &kernel.nests {
        let (values, outer) = outer_of(kernel, nest, batch)?;
        run_part(kernel, nest, outer, values, buffers)?;
    }
    Ok(())
}

fn malformed(kernel: &Kernel, what: &'static str) -> RunError {
    RunError::Malformed { kernel: kernel.name.clone(), what }
}

fn check_buffers<T: Element>(kernel: &Kernel, batch: usize, buffers: &Buffers<'_, T>) -> Result<(), RunError> {
    if kernel.dtype != T::DTYPE {
        return Err(RunError::DType { kernel: kernel.name.clone(), expected: kernel.dtype, found: T::DTYPE });
    }
    if let Some(buffer) = kernel.buffers.iter().find(|b| b.storage != T::DTYPE.storage()) {
        let kernel = kernel.name.clone();
        return Err(RunError::Storage { kernel, role: buffer.role, holds: buffer.storage.name() });
    }
    check_lengths(kernel, batch, |b| buffers.get(b.role).len(), |_| 1)
}

/// Whether every buffer is as long as the kernel says, in units of which an element has `unit`.
fn check_lengths(
    kernel: &Kernel,
    batch: usize,
    found: impl Fn(&Buffer) -> usize,
    unit: impl Fn(&Buffer) -> usize,
) -> Result<(), RunError> {
    for buffer in &kernel.buffers {
        let per_image = buffer.len.terms.iter().map(|t| i128::from(t.1)).sum::<i128>();
        let expected = per_image * batch as i128 + i128::from(buffer.len.constant);
        let (found, unit) = (found(buffer), unit(buffer));
        if i128::try_from(found) != Ok(expected * unit as i128) {
            return Err(RunError::Length { role: buffer.role, batch, expected, found: found / unit });
        }
    }
    Ok(())
}

fn nest_of(kernel: &Kernel, nest: usize) -> Result<&Nest, RunError> {
    let none = || RunError::NoNest { kernel: kernel.name.clone(), nests: kernel.nests.len(), nest };
    kernel.nests.get(nest).ok_or_else(none)
}

/// The variables' first values, and the range of the outermost loop.
fn outer_of(kernel: &Kernel, nest: &Nest, batch: usize) -> Result<(Vec<i64>, Range<i64>), RunError> {
    let mut values = vec![0; kernel.vars.len().max(1)];
    values[0] = i64::try_from(batch).map_err(|_| malformed(kernel, "the batch size does not fit"))?;
    let outer = eval_range(&nest.outer.range, &values).ok_or_else(|| malformed(kernel, "a range overflows"))?;
    Ok((values, outer))
}

fn eval(affine: &Affine, values: &[i64]) -> Option<i64> {
    affine.terms.iter().try_fold(affine.constant, |sum, &(var, factor)| {
        sum.checked_add(factor.checked_mul(*values.get(var.0 as usize)?)?)
    })
}

fn eval_bound(bound: &CeilDiv, values: &[i64]) -> Option<i64> {
    let n = eval(&bound.numerator, values)?;
    let down = n.checked_div_euclid(bound.divisor)?;
    Some(down + i64::from(n.checked_rem_euclid(bound.divisor)? != 0))
}

fn eval_range(range: &crate::ir::Range, values: &[i64]) -> Option<Range<i64>> {
    let mut lo = i64::MIN;
    for bound in &range.lo {
        lo = lo.max(eval_bound(bound, values)?);
    }
    let mut hi = i64::MAX;
    for bound in &range.hi {
        hi = hi.min(eval_bound(bound, values)?);
    }
    (!range.lo.is_empty() && !range.hi.is_empty()).then_some(lo..hi)
}

fn run_part<T: Element, M: Memory<T>>(
    kernel: &Kernel,
    nest: &Nest,
    part: Range<i64>,
    values: Vec<i64>,
    buffers: &mut M,
) -> Result<(), RunError> {
    let outer = &nest.outer;
    let done = match kernel.lanes() {
        2 => Machine::<T, M, 2>::new(kernel, values, buffers).outermost(outer, part),
        4 => Machine::<T, M, 4>::new(kernel, values, buffers).outermost(outer, part),
        8 => Machine::<T, M, 8>::new(kernel, values, buffers).outermost(outer, part),
        16 => Machine::<T, M, 16>::new(kernel, values, buffers).outermost(outer, part),
        _ => return Err(malformed(kernel, "the number of lanes")),
    };
    done.map_err(|fault| *fault)
}

fn uses_local(l: &Loop) -> bool {
    l.body.iter().any(|stmt| match stmt {
        Stmt::For(inner) => uses_local(inner),
        Stmt::Call(call) => call.args.iter().any(|arg| arg.role == Role::Local),
    })
}

/// Behind a pointer, so that what every instruction returns is small.
type Fault = Box<RunError>;

/// The state of a run: variables, memory, and the registers and pointers of the tile that is called.
struct Machine<'k, 'b, T, M, const L: usize> {
    kernel: &'k Kernel,
    values: Vec<i64>,
    buffers: &'b mut M,
    registers: Vec<[T; L]>,
    pointers: Vec<(Role, i64)>,
    ranges: Vec<Range<i64>>,
}

impl<'k, 'b, T: Element, M: Memory<T>, const L: usize> Machine<'k, 'b, T, M, L> {
    fn new(kernel: &'k Kernel, values: Vec<i64>, buffers: &'b mut M) -> Self {
        Self { kernel, values, buffers, registers: Vec::new(), pointers: Vec::new(), ranges: Vec::new() }
    }

    /// Runs iterations `part` of a nest's outermost loop.
    fn outermost(&mut self, outer: &'k Loop, part: Range<i64>) -> Result<(), Fault> {
        if !uses_local(outer) {
            return self.repeat(outer, part);
        }
        for i in part {
            self.buffers.poison_local();
            self.repeat(outer, i..i + 1)?;
        }
        Ok(())
    }

    fn repeat(&mut self, l: &'k Loop, range: Range<i64>) -> Result<(), Fault> {
        let var = l.var.0 as usize;
        if var >= self.values.len() {
            return Err(self.malformed("a variable without a name"));
        }
        for i in range {
            self.values[var] = i;
            for stmt in &l.body {
                match stmt {
                    Stmt::For(inner) => {
                        let range = eval_range(&inner.range, &self.values).ok_or_else(|| self.overflow())?;
                        self.repeat(inner, range)?;
                    }
                    Stmt::Call(call) => self.call(call)?,
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn malformed(&self, what: &'static str) -> Fault {
        Box::new(malformed(self.kernel, what))
    }

    #[cold]
    fn overflow(&self) -> Fault {
        self.malformed("an index overflows")
    }

    fn call(&mut self, call: &'k Call) -> Result<(), Fault> {
        let tile = self.kernel.tiles.get(call.tile).ok_or_else(|| self.malformed("a call of no tile"))?;
        if call.args.len() != tile.pointers.len() || call.ranges.len() != tile.ranges.len() {
            return Err(self.malformed("a call with too few or too many arguments"));
        }
        self.pointers.clear();
        for arg in &call.args {
            let at = eval(&arg.offset, &self.values).ok_or_else(|| self.overflow())?;
            self.pointers.push((arg.role, at));
        }
        self.ranges.clear();
        for range in &call.ranges {
            let range = eval_range(range, &self.values).ok_or_else(|| self.overflow())?;
            self.ranges.push(range);
        }
        self.registers.clear();
        self.registers.resize(tile.registers, [T::default(); L]);
        self.block(tile, &tile.body)
    }

    fn block(&mut self, tile: &'k Tile, body: &'k [TileStmt]) -> Result<(), Fault> {
        for stmt in body {
            match stmt {
                TileStmt::Op(op) => self.op(tile, op)?,
                TileStmt::Loop(l) => self.reduce(tile, l)?,
            }
        }
        Ok(())
    }

    fn reduce(&mut self, tile: &'k Tile, l: &'k TileLoop) -> Result<(), Fault> {
        let range = match l.extent {
            Extent::Count(n) => 0..i64::try_from(n).map_err(|_| self.overflow())?,
            Extent::Range(r) => {
                self.ranges.get(r as usize).cloned().ok_or_else(|| self.malformed("a range without a name"))?
            }
        };
        if range.is_empty() {
            return Ok(());
        }
        let count = range.end.checked_sub(range.start).ok_or_else(|| self.overflow())?;
        self.advance(&l.steps, range.start)?;
        for _ in range.clone() {
            self.block(tile, &l.body)?;
            self.advance(&l.steps, 1)?;
        }
        self.advance(&l.steps, -count)?;
        self.advance(&l.steps, -range.start)
    }

    fn advance(&mut self, steps: &[(crate::ir::Ptr, i64)], times: i64) -> Result<(), Fault> {
        for &(ptr, step) in steps {
            let moved = self.pointers.get_mut(ptr.0 as usize).and_then(|p| {
                p.1 = p.1.checked_add(step.checked_mul(times)?)?;
                Some(())
            });
            if moved.is_none() {
                return Err(self.overflow());
            }
        }
        Ok(())
    }

    #[inline]
    fn op(&mut self, tile: &Tile, op: &Op) -> Result<(), Fault> {
        let missing = || self.malformed("a register past the last");
        let reg = |r: Reg| self.registers.get(r.0 as usize).ok_or_else(missing);
        let (d, value) = match *op {
            Op::Const { d, value } => (d, [T::from_f64(value); L]),
            Op::Load { d, from } => (d, self.load(tile, from)?),
            Op::Pairs { d, from } => (d, self.several::<2>(tile, from, BinaryOp::Join)?),
            Op::Quads { d, from } => (d, self.several::<4>(tile, from, BinaryOp::Splice)?),
            Op::Dot4 { d, a, b, c } => {
                let (a, b, c) = (reg(a)?, reg(b)?, reg(c)?);
                (d, std::array::from_fn(|i| dot4(a[i], b[i], c[i])))
            }
            Op::Convert { op, d, a } => (d, reg(a)?.map(|a| convert(op, a))),
            Op::Broadcast { d, from } => (d, [self.element(tile, from)?; L]),
            Op::Gather { d, a, from, of } => {
                let at = *reg(a)?;
                (d, self.gather(tile, from, &at, of)?)
            }
            Op::Fma { d, a, b, c } => (d, T::mul_add_lanes(reg(a)?, reg(b)?, reg(c)?)),
            Op::Binary { op, d, a, b } => (d, binary(op, reg(a)?, reg(b)?)),
            Op::Select { d, a, b, c, e } => {
                let (a, b, c, e) = (reg(a)?, reg(b)?, reg(c)?, reg(e)?);
                (d, std::array::from_fn(|i| if a[i] > b[i] { c[i] } else { e[i] }))
            }
            Op::Exponent { d, a } => (d, reg(a)?.map(T::exponent)),
            Op::Sqrt { d, a } => (d, reg(a)?.map(T::sqrt)),
            Op::Prefetch { .. } => return Ok(()),
            Op::Scatter { to, count, stride, from, at } => {
                return self.scatter(tile, (to, count, stride), from, at);
            }
            Op::Store { to, s } => {
                let value = *reg(s)?;
                return self.store(tile, to, value);
            }
        };
        match self.registers.get_mut(d.0 as usize) {
            Some(slot) => *slot = value,
            None => return Err(self.malformed("a register past the last")),
        }
        Ok(())
    }

    fn address(&self, at: Address) -> Option<(Role, i64)> {
        let &(role, base) = self.pointers.get(at.ptr.0 as usize)?;
        Some((role, base.checked_add(at.offset)?))
    }

    fn element(&self, tile: &Tile, at: Address) -> Result<T, Fault> {
        let (role, index) = self.address(at).ok_or_else(|| self.overflow())?;
        match usize::try_from(index).ok().and_then(|i| self.buffers.read(role, i)) {
            Some(value) => Ok(value),
            None => Err(outside(tile, role, index, 1, 1, self.buffers.len(role))),
        }
    }

    fn load(&self, tile: &Tile, from: Access) -> Result<[T; L], Fault> {
        let (role, index) = self.address(from.at).ok_or_else(|| self.overflow())?;
        if from.lanes == L && from.stride == 1 && from.repeat == 1 {
            let all = usize::try_from(index).ok().and_then(|i| self.buffers.read_all::<L>(role, i));
            return all.ok_or_else(|| outside(tile, role, index, L, 1, self.buffers.len(role)));
        }
        let mut value = [T::default(); L];
        for (lane, slot) in value.iter_mut().enumerate().take(from.lanes) {
            let found = lane_at(index, from.element_of(lane), from.stride).and_then(|i| self.buffers.read(role, i));
            let len = || self.buffers.len(role);
            *slot = found.ok_or_else(|| outside(tile, role, index, from.elements(), from.stride, len()))?;
        }
        Ok(value)
    }

    /// An element a lane, 0 for those that are not among the first `of`.
    fn gather(&self, tile: &Tile, from: Address, at: &[T; L], of: u32) -> Result<[T; L], Fault> {
        let (role, index) = self.address(from).ok_or_else(|| self.overflow())?;
        let mut value = [T::default(); L];
        for (slot, at) in value.iter_mut().zip(at) {
            let distance = at.bits() as u32;
            if distance < of {
                let found = lane_at(index, 1, distance.into()).and_then(|i| self.buffers.read(role, i));
                *slot = found.ok_or_else(|| outside(tile, role, index, of as usize, 1, self.buffers.len(role)))?;
            }
        }
        Ok(value)
    }

    /// `N` elements a lane: two integers of 16 bits, or four bytes.
    fn several<const N: usize>(&self, tile: &Tile, from: Access, op: BinaryOp) -> Result<[T; L], Fault> {
        let (role, index) = self.address(from.at).ok_or_else(|| self.overflow())?;
        let mut value = [T::default(); L];
        for (lane, slot) in value.iter_mut().enumerate().take(from.lanes) {
            for i in (0..N).rev() {
                let found = lane_at(index, N * lane + i, 1).and_then(|i| self.buffers.read(role, i));
                let len = || self.buffers.len(role);
                let element = found.ok_or_else(|| outside(tile, role, index, N * from.lanes, 1, len()))?;
                *slot = binary_int(op, element, *slot);
            }
        }
        Ok(value)
    }

    fn scatter(
        &mut self,
        tile: &Tile,
        (to, count, stride): (Address, u64, i64),
        from: Address,
        at: Address,
    ) -> Result<(), Fault> {
        let index = self.element(tile, at)?.bits() & u64::from(u32::MAX);
        let index = index.min(count.saturating_sub(1)) as usize;
        let (from_role, from) = self.address(from).ok_or_else(|| self.overflow())?;
        let (role, first) = self.address(to).ok_or_else(|| self.overflow())?;
        if !role.is_written() {
            return Err(self.malformed("a scatter to memory that is read only"));
        }
        let lens = (self.buffers.len(from_role), self.buffers.len(role));
        let Some(from_at) = usize::try_from(from).ok().filter(|at| *at < lens.0) else {
            return Err(outside(tile, from_role, from, 1, 1, lens.0));
        };
        let copied = lane_at(first, index, stride).and_then(|at| self.buffers.copy((from_role, from_at), (role, at)));
        copied.ok_or_else(|| outside(tile, role, first, index + 1, stride, lens.1))
    }

    fn store(&mut self, tile: &Tile, to: Access, value: [T; L]) -> Result<(), Fault> {
        let (role, index) = self.address(to.at).ok_or_else(|| self.overflow())?;
        if !role.is_written() {
            return Err(self.malformed("a store to memory that is read only"));
        }
        let len = self.buffers.len(role);
        for (lane, &value) in value.iter().enumerate().take(to.lanes) {
            let found = lane_at(index, lane, to.stride).and_then(|i| self.buffers.write(role, i, value));
            found.ok_or_else(|| outside(tile, role, index, to.lanes, to.stride, len))?;
        }
        Ok(())
    }
}

fn lane_at(index: i64, lane: usize, stride: i64) -> Option<usize> {
    let lane = i64::try_from(lane).ok()?;
    usize::try_from(index.checked_add(stride.checked_mul(lane)?)?).ok()
}

#[cold]
fn outside(tile: &Tile, role: Role, index: i64, lanes: usize, stride: i64, len: usize) -> Fault {
    let last = index.saturating_add(stride.saturating_mul(lanes as i64 - 1));
    Box::new(RunError::OutOfBounds { tile: tile.name.clone(), role, from: index.min(last), to: index.max(last), len })
}

#[cfg(test)]
#[path = "interp_tests.rs"]
mod tests;
