//! A compiled kernel that can be run.
//!
//! Lengths and element type are checked here, on every call, before control goes to generated code; that the CPU has what the code needs, when it is
//! loaded.

use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};

use convoke_core::eval::Element;
use convoke_core::eval::interp::Buffers;
use convoke_core::ir::{Affine, Buffer, Kernel, Role, Var, Verified};
use convoke_core::spec::{DType, Storage};

use crate::clif;
use crate::error::JitError;
use crate::exec::{Code, Entry};

/// Native code of one kernel. It owns the memory that the code is in and gives it back when dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    dtype: DType,
    buffers: Vec<Buffer>,
    /// How long they are.
    lens: Vec<Len>,
    /// Elements of one thread's local buffer.
    local: i64,
    nests: Vec<NestInfo>,
    code: Code,
}

/// What running a nest needs, apart from its code.
#[derive(Debug)]
struct NestInfo {
    range: Bounds,
    parallel: bool,
}

/// What the outermost loop of a nest runs over.
#[derive(Debug)]
enum Bounds {
    /// The same for any batch.
    Fixed(Range<i64>),
    /// It depends on the batch.
    OfBatch(convoke_core::ir::Range),
}

impl Bounds {
    fn of(range: &convoke_core::ir::Range) -> Self {
        let is_fixed = range.lo.iter().chain(&range.hi).all(|bound| bound.numerator.as_constant().is_some());
        if is_fixed { Self::Fixed(range.eval(&[])) } else { Self::OfBatch(range.clone()) }
    }

    fn at(&self, batch: i64) -> Range<i64> {
        match self {
            Self::Fixed(range) => range.clone(),
            Self::OfBatch(range) => range.eval(&[batch]),
        }
    }
}

/// The length of a buffer, in elements: it depends on the batch alone.
#[derive(Clone, Copy, Debug)]
struct Len {
    of_batch: i64,
    constant: i64,
}

impl Len {
    fn of(len: &Affine) -> Self {
        Self { of_batch: len.factor(Var::BATCH), constant: len.constant }
    }

    /// It cannot overflow: one product of 64 bits, and a sum.
    fn at(self, batch: usize) -> i128 {
        i128::from(self.of_batch) * batch as i128 + i128::from(self.constant)
    }
}

impl Program {
    /// Bytes of machine code that one program may have.
    pub const CODE_LIMIT: usize = 8 << 20;

    /// Compiles `kernel` for this machine.
    ///
    /// # Errors
    /// If its tiles are not for this processor, if the CPU lacks a feature that it needs, if it
    /// takes more than [`Program::CODE_LIMIT`] bytes, or if the system gives no executable memory.
    pub fn compile(kernel: &Verified) -> Result<Self, JitError> {
        Self::compile_kernel(kernel)
    }

    pub(crate) fn compile_kernel(kernel: &Kernel) -> Result<Self, JitError> {
        let units = clif::compile(kernel)?;
        let code = Code::load(kernel, &units, Self::CODE_LIMIT)?;
        let nests = kernel.nests.iter();
        let nests = nests.map(|n| NestInfo { range: Bounds::of(&n.outer.range), parallel: n.outer.parallel }).collect();
        let (name, dtype, buffers) = (kernel.name.clone(), kernel.dtype, kernel.buffers.clone());
        let lens = buffers.iter().map(|buffer| Len::of(&buffer.len)).collect();
        let local = buffers.iter().find(|buffer| buffer.role == Role::Local).map_or(0, |buffer| buffer.len.constant);
        Ok(Self { name, dtype, buffers, lens, local, nests, code })
    }

    /// The kernel's name, like `direct_f32_sse_oc8x6`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Element type of every buffer.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Bytes of machine code, constants included.
    pub fn code_bytes(&self) -> usize {
        self.code.bytes()
    }

    /// Elements of `role` at a batch size, of `local` what one thread has; 0 if the kernel has no such buffer.
    pub fn len(&self, role: Role, batch: usize) -> i128 {
        self.buffers.iter().position(|b| b.role == role).map_or(0, |at| self.lens[at].at(batch))
    }

    /// Elements of [`Buffers::local`] that a run on `threads` threads needs: one local buffer a thread, each a whole number of
    /// cache lines behind the first. 0 if the kernel has none.
    pub fn local_len(&self, threads: usize) -> i128 {
        let more = (threads as i128 - 1).max(0);
        more * i128::from(self.local_stride()) + i128::from(self.local)
    }

    /// Elements from one thread's local buffer to the next one's.
    fn local_stride(&self) -> i64 {
        let line = (LINE / self.dtype.bytes()) as i64;
        // No length in a verified kernel is near the greatest number.
        self.local.saturating_add(line - 1) / line * line
    }

    /// Computes a batch of `batch` images.
    ///
    /// Nests run one after the other; what a parallel nest does is handed out to the threads of `executor` in pieces.
    /// The result does not depend on how. A buffer that the kernel does not have may be of any length.
    ///
    /// # Errors
    /// If `T` is not the kernel's element type, or a buffer does not have the length that the kernel needs at that
    /// batch size and [`Program::local_len`] says for the executor's threads; scratch and local may be longer. Nothing is
    /// written then.
    pub fn run<T: Element>(
        &self,
        batch: usize,
        buffers: Buffers<'_, T>,
        executor: &dyn Executor,
    ) -> Result<(), JitError> {
        // Asked once: it says how many local buffers there are.
        let threads = executor.threads().max(1);
        self.check_type::<T>()?;
        self.check(batch, threads, &buffers, |_| 1)?;
        self.run_checked(batch, threads, buffers, executor)
    }

    /// As [`Program::run`], for kernels whose buffers hold elements of several types: all are bytes, of any alignment, in the
    /// machine's order.
    ///
    /// # Errors
    /// As [`Program::run`], but any element type will do.
    pub fn run_bytes(&self, batch: usize, buffers: Buffers<'_, u8>, executor: &dyn Executor) -> Result<(), JitError> {
        let threads = executor.threads().max(1);
        self.check(batch, threads, &buffers, |storage| storage.bytes())?;
        self.run_checked(batch, threads, buffers, executor)
    }

    fn run_checked<T>(
        &self,
        batch: usize,
        threads: usize,
        buffers: Buffers<'_, T>,
        executor: &dyn Executor,
    ) -> Result<(), JitError> {
        let Ok(n) = i64::try_from(batch) else {
            // Only kernels whose buffers are empty pass the check with such a batch.
            return Ok(());
        };
        if buffers.dst.is_empty() {
            return Ok(());
        }
        let pointers = Pointers {
            src: buffers.src.as_ptr().cast(),
            weights: buffers.weights.as_ptr().cast(),
            bias: buffers.bias.as_ptr().cast(),
            residual: buffers.residual.as_ptr().cast(),
            offset: buffers.offset.as_ptr().cast(),
            mask: buffers.mask.as_ptr().cast(),
            positions: buffers.positions.as_ptr().cast(),
            dst: buffers.dst.as_mut_ptr().cast(),
            indices: buffers.indices.as_mut_ptr().cast(),
            scratch: buffers.scratch.as_mut_ptr().cast(),
            local: buffers.local.as_mut_ptr().cast(),
        };
        let local_bytes = self.local_stride() as usize * self.dtype.bytes();
        for (info, &entry) in self.nests.iter().zip(self.code.entries()) {
            let range = info.range.at(n);
            let run = |slot: usize, part: Range<i64>| {
                let pointers = pointers.with_local(slot * local_bytes);
                // SAFETY: the entry is code of this program, which `self` keeps alive. The kernel was verified, so for
                // buffers of the lengths checked above it stays inside them: `slot` is less than `threads`, for which
                // `local` was checked. The CPU has the features that the code needs, or it would not have been loaded. `part` lies in `range`, and pieces
                // that run at the same time are disjoint parts of a parallel loop, whose iterations write apart but for
                // `local`; of that they have different slots. No other reference to `dst`, `indices`, `scratch` or `local` exists.
                unsafe { pointers.call(entry, n, part) }
            };
            if info.parallel { share(range, threads, executor, &run) } else { run(0, range) }
        }
        Ok(())
    }

    fn check_type<T: Element>(&self) -> Result<(), JitError> {
        let other = self.buffers.iter().map(|b| b.storage).find(|storage| *storage != T::DTYPE.storage());
        match other {
            Some(storage) => {
                let (expected, given) = (storage.name(), T::DTYPE.name());
                Err(JitError::DType { kernel: self.name.clone(), expected, given })
            }
            None if T::DTYPE != self.dtype => {
                let (expected, given) = (self.dtype.name(), T::DTYPE.name());
                Err(JitError::DType { kernel: self.name.clone(), expected, given })
            }
            None => Ok(()),
        }
    }

    /// Whether the buffers are long enough, of whose units an element has `unit`.
    fn check<T>(
        &self,
        batch: usize,
        threads: usize,
        buffers: &Buffers<'_, T>,
        unit: impl Fn(Storage) -> usize,
    ) -> Result<(), JitError> {
        for (buffer, len) in self.buffers.iter().zip(&self.lens).filter(|(buffer, _)| buffer.role != Role::Local) {
            let (role, unit) = (buffer.role, unit(buffer.storage));
            let (needed, given) = (len.at(batch), buffers.get(role).len());
            let units = usize::try_from(needed).ok().and_then(|needed| needed.checked_mul(unit));
            if !units.is_some_and(|units| if role == Role::Scratch { given >= units } else { given == units }) {
                let (expected, given) = (needed, given / unit);
                return Err(JitError::Length { role, expected, given, batch });
            }
        }
        let unit = unit(self.dtype.storage()) as i128;
        let (expected, given) = (self.local_len(threads).saturating_mul(unit), buffers.local.len());
        if (given as i128) < expected {
            return Err(JitError::Local { expected, given, threads });
        }
        Ok(())
    }
}

/// Hands `range` out in pieces, each exactly once, to whoever `executor` lets ask, and does what is left over itself.
///
/// `run` gets a slot besides, less than `threads`, that no other call of it has at the same time.
fn share(range: Range<i64>, threads: usize, executor: &dyn Executor, run: &(dyn Fn(usize, Range<i64>) + Sync)) {
    let count = range.end.saturating_sub(range.start);
    let threads = i64::try_from(threads).unwrap_or(i64::MAX).min(count);
    if threads <= 1 {
        return if count > 0 {
            run(0, range)
        };
    }
    let pieces = threads.saturating_mul(PIECES_PER_THREAD).min(count);
    let workers = AtomicI64::new(0);
    let (size, longer) = (count / pieces, count % pieces);
    // Each thread has pieces side by side, so that it often finds near what it made of the same part before.
    let groups = threads.min(GROUPS as i64);
    let first_of = |group: i64| pieces * group / groups;
    let taken: [Taken; GROUPS] = Default::default();
    let work = |slot: usize| {
        for i in 0..groups {
            let group = (slot as i64 + i) % groups;
            loop {
                let piece = first_of(group) + taken[group as usize].0.fetch_add(1, Ordering::Relaxed);
                if piece >= first_of(group + 1) {
                    break;
                }
                let lo = range.start + piece * size + piece.min(longer);
                run(slot, lo..lo + size + i64::from(piece < longer));
            }
        }
    };
    executor.broadcast(&|| {
        let slot = workers.fetch_add(1, Ordering::Relaxed);
        // Who comes when all slots are taken has no local buffer, and is more than the executor said.
        if slot < threads {
            work(slot as usize);
        }
    });
    // Every call has ended, so the first slot is free again.
    work(0);
}

/// Groups of pieces; threads beyond so many have one together.
const GROUPS: usize = 16;

/// How many pieces of a group are taken, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Taken(AtomicI64);

/// More pieces than threads, so that a thread that is late holds the others up less.
const PIECES_PER_THREAD: i64 = 4;

/// Bytes of a cache line; threads' local buffers share none, if the first starts on one.
const LINE: usize = 64;

/// Addresses of the buffers, as entry points take them.
#[derive(Clone, Copy)]
struct Pointers {
    src: *const u8,
    weights: *const u8,
    bias: *const u8,
    residual: *const u8,
    offset: *const u8,
    mask: *const u8,
    positions: *const u8,
    dst: *mut u8,
    indices: *mut u8,
    scratch: *mut u8,
    local: *mut u8,
}

// SAFETY: threads that share the pointers only pass them to an entry point; `Program::run` says why that is sound.
unsafe impl Sync for Pointers {}

impl Pointers {
    /// The same with the local buffer that lies `bytes` behind the first.
    fn with_local(self, bytes: usize) -> Self {
        Self { local: self.local.wrapping_add(bytes), ..self }
    }

    /// # Safety
    /// `entry` must be alive, the pointers must be to buffers of the kernel's lengths at batch size `n`, and no one else
    /// may write what the iterations `part` read or write, nor use `local`.
    unsafe fn call(&self, entry: Entry, n: i64, part: Range<i64>) {
        // SAFETY: what the caller promises is what an entry point asks for.
        unsafe {
            entry(
                self.src,
                self.weights,
                self.bias,
                self.residual,
                self.offset,
                self.mask,
                self.positions,
                self.dst,
                self.indices,
                self.scratch,
                self.local,
                n,
                part.start,
                part.end,
            )
        }
    }
}

/// Who runs the parallel loops: a thread pool, or nobody.
///
/// Results are right whatever an implementation does; one that calls `work` less often only wastes threads, and one that
/// calls it more often gains nothing.
pub trait Executor: Sync {
    /// On how many threads [`Executor::broadcast`] runs.
    fn threads(&self) -> usize;

    /// Calls `work` on each thread once, and returns when every call has ended.
    fn broadcast(&self, work: &(dyn Fn() + Sync));
}

/// Everything on the thread that calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Executor for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn broadcast(&self, work: &(dyn Fn() + Sync)) {
        work();
    }
}

#[cfg(test)]
mod tests;
