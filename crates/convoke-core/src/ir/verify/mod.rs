//! What a kernel must be before a backend sees it.
//!
//! In goes a [`Kernel`], out comes a [`Verified`] one or the first rule that it breaks:
//!
//! 1. Names are Rust identifiers; variables, tiles, buffers are unique, and so are a tile's pointers and ranges together.
//! 2. Buffers come in the order of [`Role::ALL`]; a length speaks of `N` alone, with no negative part, and that of `local` is
//!    a number.
//! 3. Every number is at most 2^40 in magnitude; affines are in normal form; divisors are at least 1.
//! 4. A loop binds a variable that no other loop binds, never `N`, and its range speaks of outer variables only. Nests
//!    are at most [`MAX_NEST_DEPTH`] loops deep, tiles at most [`MAX_TILE_DEPTH`]. Only a nest's outermost loop is parallel.
//! 5. A call names a tile and passes one argument a pointer and one range a range, into buffers that exist.
//! 6. A tile stores to `dst`, `indices`, `scratch` and `local` only, and loads from `dst` or `indices` only in nests behind one that
//!    stores there.
//! 7. A tile uses no more registers than the instruction set has, and each is defined before it is used on every
//!    path: what a loop defines counts after it only if the loop runs a constant number of times, at least once.
//! 8. Accesses touch 1 to all lanes, at least one element apart. `fma` only where the kernel has it.
//! 9. Every access lies within its buffer, for every batch size from 0.
//! 10. Iterations of a parallel loop neither write what another writes nor use what another writes. `local` does not
//!     count: each has its own.
//! 11. Bytes are multiplied on AVX2 and AVX-512 only, by one instruction only where the kernel has it. Only kernels of f32 have integers, and buffers of another type than their own. All calls of a tile pass the same types.
//!     A gather is from a buffer of lanes, of at least one element, and not into the register that its integers are in.
//!     Integers that are converted are neither broadcast nor repeated; pairs are of such, and contiguous. A scatter is between buffers of one
//!     type, at places of `i32`; only that reads `positions` in kernels of f64.
//!
//! Rules 9 and 10 are proofs, not samples, so they refuse some kernels that would be fine. `bounds` and `apart` say how
//! they are made. Whether every element of `dst` is written is not checked, nor whether one of
//! `local` or `scratch` is written before it is read.

mod apart;
mod bounds;
mod linear;
mod nests;
mod tiles;

use std::collections::HashSet;

use thiserror::Error;

use super::{Affine, Kernel, Role, Var, Verified};
use crate::spec::{DType, Storage};
use crate::target::Isa;

/// Most loops of a nest, one inside the other.
pub const MAX_NEST_DEPTH: usize = 16;
/// Most loops of a tile, one inside the other.
pub const MAX_TILE_DEPTH: usize = 7;
/// Greatest magnitude of any number in a kernel.
pub const MAX_NUMBER: u64 = 1 << 40;

/// The rule that a kernel breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum VerifyError {
    #[error("{what} `{name}` is not an identifier")]
    Name { what: &'static str, name: String },
    #[error("there are two {what}s called `{name}`")]
    Duplicate { what: &'static str, name: String },
    #[error("the first variable must be the batch size, the kernel has no variables")]
    NoBatch,
    #[error("buffer `{}` comes after `{}`, the order is src, weights, bias, residual, offset, mask, positions, dst, indices, scratch, local", second.name(), first.name())]
    BufferOrder { first: Role, second: Role },
    #[error("the length of `{}` must be made of `N` and numbers that are not negative", role.name())]
    BufferLength { role: Role },
    #[error("the length of `local` must be a number, it grows by {each} elements an image")]
    LocalLength { each: i64 },
    #[error("{what} is {number}, numbers go up to {MAX_NUMBER}")]
    Number { what: &'static str, number: i128 },
    #[error("an affine in {what} is not in normal form: variables in order, each once, no factor 0")]
    Affine { what: String },
    #[error("a bound of `{var}` divides by {divisor}, the least divisor is 1")]
    Divisor { var: String, divisor: i64 },
    #[error("the range of `{var}` has {lo} lower and {hi} upper bounds, it needs one of each")]
    EmptyBounds { var: String, lo: usize, hi: usize },
    #[error("variable {var} is used, the kernel has {vars}")]
    NoVar { var: u32, vars: usize },
    #[error("{what} uses variable `{var}`, which no loop around it binds")]
    Unbound { what: String, var: String },
    #[error("a loop binds variable `{var}`, which another loop or the kernel binds")]
    Rebound { var: String },
    #[error("the loop over `{var}` is parallel, only the outermost of a nest may be")]
    InnerParallel { var: String },
    #[error("{what} `{name}` has loops {depth} deep, the limit is {limit}")]
    Depth { what: &'static str, name: String, depth: usize, limit: usize },
    #[error("a call in nest `{nest}` names tile {tile}, the kernel has {tiles}")]
    NoTile { nest: String, tile: usize, tiles: usize },
    #[error("a call of `{tile}` passes {found} {what}s, the tile has {expected}")]
    Arity { tile: String, what: &'static str, expected: usize, found: usize },
    #[error("a call of `{tile}` passes `{}`, which the kernel does not list", role.name())]
    NoBuffer { tile: String, role: Role },
    #[error("tile `{tile}` stores to `{pointer}`, for which a call passes `{}`, which is read only", role.name())]
    ReadOnly { tile: String, pointer: String, role: Role },
    #[error("tile `{tile}` loads from `{pointer}`, for which a call passes `{}`, which no nest before has written", role.name())]
    ReadsOutput { tile: String, pointer: String, role: Role },
    #[error("tile `{tile}` uses {registers} registers, {} has {limit}", isa.name())]
    Registers { tile: String, registers: usize, isa: Isa, limit: usize },
    #[error("tile `{tile}` uses register v{register}, it has {registers}")]
    NoRegister { tile: String, register: u32, registers: usize },
    #[error("tile `{tile}` uses register v{register} before it is defined on every path")]
    Undefined { tile: String, register: u32 },
    #[error("tile `{tile}` uses {what} {index}, it has {count}")]
    NoParameter { tile: String, what: &'static str, index: u32, count: usize },
    #[error("a loop of tile `{tile}` moves pointer `{pointer}` twice")]
    MovedTwice { tile: String, pointer: String },
    #[error("an access of tile `{tile}` has {lanes} lanes, a register has {limit}")]
    Lanes { tile: String, lanes: usize, limit: usize },
    #[error("an access of tile `{tile}` has stride {stride}, the least is 1")]
    Stride { tile: String, stride: i64 },
    #[error("an access of tile `{tile}` has repeat {repeat}, the least is 1")]
    Repeat { tile: String, repeat: usize },
    #[error("a store of tile `{tile}` has repeat {repeat}, and only loads can")]
    StoreRepeat { tile: String, repeat: usize },
    #[error("tile `{tile}` has `{what}`, and only kernels of f32 have integers")]
    Integers { tile: String, what: &'static str },
    #[error("tile `{tile}` has `{what}`, which the kernel's instructions have not")]
    Bytes { tile: String, what: &'static str },
    #[error("tile `{tile}` {what} integers of a type that is converted")]
    Narrow { tile: String, what: &'static str },
    #[error("tile `{tile}` loads pairs that are no neighbouring elements of u8 or i8")]
    Pairs { tile: String },
    #[error("tile `{tile}` gathers into v{register}, {why}")]
    Gather { tile: String, register: u32, why: &'static str },
    #[error("tile `{tile}` is called with `{}` of {}, and elsewhere with {}", role.name(), found.name(), expected.name())]
    PointerStorage { tile: String, role: Role, expected: Storage, found: Storage },
    #[error("a scatter of tile `{tile}` is to {count} elements, they are from 1 to {}", i32::MAX)]
    ScatterCount { tile: String, count: u64 },
    #[error(
        "a scatter of tile `{tile}` is from {from} to {to} at {at}, and the first two are the same type, the last i32"
    )]
    ScatterStorage { tile: String, to: &'static str, from: &'static str, at: &'static str },
    #[error("there is no vnni for {}", isa.name())]
    Vnni { isa: Isa },
    #[error("`{}` holds {}, which a kernel of {} cannot", role.name(), storage.name(), dtype.name())]
    BufferStorage { role: Role, storage: Storage, dtype: DType },
    #[error("tile `{tile}` has a fused multiply-add, the kernel says that it has none")]
    Fma { tile: String },
    #[error("nest `{nest}`: tile `{tile}` may reach element {} of `{}`, the first is 0", number(*element), role.name())]
    Below { nest: String, tile: String, role: Role, element: Option<i128> },
    #[error("nest `{nest}`: tile `{tile}` may reach element {} past the last of `{}`", number(*past), role.name())]
    Above { nest: String, tile: String, role: Role, past: Option<i128> },
    #[error(
        "nest `{nest}` is parallel over `{var}`, but its iterations are not known to keep apart in `{}`: {why}",
        role.name()
    )]
    Together { nest: String, var: String, role: Role, why: String },
}

fn number(n: Option<i128>) -> String {
    n.map_or_else(|| "(no bound is known)".to_owned(), |n| n.to_string())
}

/// Proves that `kernel` keeps the rules.
///
/// # Errors
/// The first rule that it breaks or cannot be shown to keep.
pub fn verify(kernel: Kernel) -> Result<Verified, VerifyError> {
    check_names(&kernel)?;
    check_buffers(&kernel)?;
    let tiles = kernel
        .tiles
        .iter()
        .enumerate()
        .map(|(i, tile)| tiles::check(&kernel, i, tile))
        .collect::<Result<Vec<_>, _>>()?;
    nests::check(&kernel, &tiles)?;
    Ok(Verified(kernel))
}

fn check_names(kernel: &Kernel) -> Result<(), VerifyError> {
    check_name("kernel", &kernel.name)?;
    unique("variable", kernel.vars.iter())?;
    unique("tile", kernel.tiles.iter().map(|t| &t.name))?;
    for tile in &kernel.tiles {
        unique("parameter", tile.pointers.iter().chain(&tile.ranges))?;
    }
    for nest in &kernel.nests {
        check_name("nest", &nest.label)?;
    }
    if kernel.vars.is_empty() { Err(VerifyError::NoBatch) } else { Ok(()) }
}

fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), VerifyError> {
    let mut seen = HashSet::new();
    for name in names {
        check_name(what, name)?;
        if !seen.insert(name) {
            return Err(VerifyError::Duplicate { what, name: name.clone() });
        }
    }
    Ok(())
}

/// Words of Rust that are no identifiers.
const KEYWORDS: &str = " abstract as async await become box break const continue crate do dyn else enum extern false \
    final fn for gen if impl in let loop macro match mod move mut override priv pub ref return self Self static struct \
    super trait true try type typeof unsafe unsized use virtual where while yield _ ";

fn check_name(what: &'static str, name: &str) -> Result<(), VerifyError> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let identifier = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
    if !identifier || KEYWORDS.contains(&format!(" {name} ")) {
        return Err(VerifyError::Name { what, name: name.to_owned() });
    }
    Ok(())
}

fn check_buffers(kernel: &Kernel) -> Result<(), VerifyError> {
    if kernel.vnni && !matches!(kernel.isa, Isa::Avx512 | Isa::Avx2) {
        return Err(VerifyError::Vnni { isa: kernel.isa });
    }
    for pair in kernel.buffers.windows(2) {
        let (first, second) = (pair[0].role, pair[1].role);
        if first == second {
            return Err(VerifyError::Duplicate { what: "buffer", name: first.name().to_owned() });
        }
        if first > second {
            return Err(VerifyError::BufferOrder { first, second });
        }
    }
    for buffer in &kernel.buffers {
        let (storage, dtype) = (buffer.storage, kernel.dtype);
        // Positions are no lanes.
        let is_index = buffer.role == Role::Positions && storage == Storage::I32;
        if storage != dtype.storage() && !is_index && (dtype != DType::F32 || storage == Storage::F64) {
            return Err(VerifyError::BufferStorage { role: buffer.role, storage, dtype });
        }
        let ok = |&(var, factor): &(Var, i64)| var == Var::BATCH && factor >= 0;
        if buffer.len.constant < 0 || !buffer.len.terms.iter().all(ok) {
            return Err(VerifyError::BufferLength { role: buffer.role });
        }
        check_affine(&buffer.len, || format!("the length of `{}`", buffer.role.name()))?;
        if buffer.role == Role::Local && buffer.len.as_constant().is_none() {
            return Err(VerifyError::LocalLength { each: buffer.len.factor(Var::BATCH) });
        }
    }
    Ok(())
}

fn check_number(what: &'static str, number: i128) -> Result<(), VerifyError> {
    if number.unsigned_abs() > u128::from(MAX_NUMBER) { Err(VerifyError::Number { what, number }) } else { Ok(()) }
}

fn check_affine(affine: &Affine, what: impl Fn() -> String) -> Result<(), VerifyError> {
    check_number("a constant", affine.constant.into())?;
    for &(_, factor) in &affine.terms {
        check_number("a factor", factor.into())?;
    }
    let sorted = affine.terms.windows(2).all(|w| w[0].0 < w[1].0);
    let nonzero = affine.terms.iter().all(|t| t.1 != 0);
    if sorted && nonzero { Ok(()) } else { Err(VerifyError::Affine { what: what() }) }
}

#[cfg(test)]
mod tests;
