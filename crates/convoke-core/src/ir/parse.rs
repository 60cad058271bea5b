//! Reads the text form that [`super::print`] writes; its grammar is there.
//!
//! In comes text, out comes the [`Kernel`] or the first place that is not grammar, with its line, its column and what was
//! expected there. Names are resolved, nothing else is checked: that is for [`verify`](super::verify()).
//!
//! The text is cut into tokens first. Nesting is bounded, so that no text can exhaust the stack.

mod lex;
mod tile;

use std::str::FromStr;

use thiserror::Error;

use super::{Affine, Arg, Buffer, Call, CeilDiv, Kernel, Loop, Nest, Range, Role, Stmt, Var};
use crate::spec::{DType, Storage};
use crate::target::Isa;
use lex::{Token, Tokens};

/// Where a text is no kernel.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}:{column}: expected {expected}, found {found}")]
pub struct ParseKernelError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What would have been right.
    pub expected: String,
    /// What is there.
    pub found: String,
}

type Parse<T> = Result<T, ParseKernelError>;

/// Most blocks, one inside the other.
const MAX_NESTING: usize = 64;

impl FromStr for Kernel {
    type Err = ParseKernelError;

    fn from_str(text: &str) -> Parse<Self> {
        let mut tokens = Tokens::new(text)?;
        let kernel = kernel(&mut tokens)?;
        tokens.end()?;
        Ok(kernel)
    }
}

const DTYPES: [DType; 2] = [DType::F32, DType::F64];
const ISAS: [Isa; 5] = [Isa::Avx512, Isa::Avx2, Isa::Sse, Isa::Neon, Isa::Portable];

fn kernel(t: &mut Tokens<'_>) -> Parse<Kernel> {
    t.word("kernel")?;
    let name = t.name("the name of the kernel")?;
    let dtype = one_of(t, &DTYPES, DType::name)?;
    let isa = one_of(t, &ISAS, Isa::name)?;
    let fma = t.take_word("fma");
    let vnni = t.take_word("vnni");
    let empty = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (buffers, vars, tiles, nests) = empty;
    let mut kernel = Kernel { name, dtype, isa, fma, vnni, buffers, vars, tiles, nests };
    t.open(MAX_NESTING)?;
    // Lengths name variables that are listed after them.
    let mut lengths = Vec::new();
    while t.take_word("buffer") {
        let role = role(t)?;
        let storage = Storage::ALL.into_iter().find(|storage| t.take_word(storage.name()));
        lengths.push((role, storage.unwrap_or(dtype.storage()), t.position()));
        t.skip_brackets()?;
    }
    t.word("vars")?;
    kernel.vars = t.names("a variable")?;
    let end = t.position();
    for (role, storage, at) in lengths {
        t.go_to(at);
        kernel.buffers.push(Buffer { role, storage, len: bracketed(t, &kernel.vars)? });
    }
    t.go_to(end);
    while t.take_word("tile") {
        let tile = tile::tile(t, kernel.lanes())?;
        kernel.tiles.push(tile);
    }
    while t.take_word("nest") {
        let label = t.name("the label of a nest")?;
        t.open(MAX_NESTING)?;
        let outer = repeat(t, &kernel)?;
        t.close()?;
        kernel.nests.push(Nest { label, outer });
    }
    t.close()?;
    Ok(kernel)
}

fn one_of<T: Copy>(t: &mut Tokens<'_>, all: &[T], name: impl Fn(T) -> &'static str) -> Parse<T> {
    match all.iter().find(|&&x| t.take_word(name(x))) {
        Some(&x) => Ok(x),
        None => Err(t.expected(&all.iter().map(|&x| name(x)).collect::<Vec<_>>().join(", "))),
    }
}

fn role(t: &mut Tokens<'_>) -> Parse<Role> {
    one_of(t, &Role::ALL, Role::name)
}

fn bracketed(t: &mut Tokens<'_>, vars: &[String]) -> Parse<Affine> {
    t.symbol("[")?;
    let affine = affine(t, vars)?;
    t.symbol("]")?;
    Ok(affine)
}

fn repeat(t: &mut Tokens<'_>, kernel: &Kernel) -> Parse<Loop> {
    let parallel = t.take_word("parallel");
    t.word("for")?;
    let var = variable(t, &kernel.vars)?;
    t.word("in")?;
    let range = range(t, &kernel.vars)?;
    t.open(MAX_NESTING)?;
    let mut body = Vec::new();
    while !t.is_symbol("}") {
        body.push(if t.take_word("call") {
            Stmt::Call(call(t, kernel)?)
        } else if t.is_word("for") || t.is_word("parallel") {
            Stmt::For(repeat(t, kernel)?)
        } else {
            return Err(t.expected("`for`, `call` or `}`"));
        });
    }
    t.close()?;
    Ok(Loop { var, range, parallel, body })
}

fn call(t: &mut Tokens<'_>, kernel: &Kernel) -> Parse<Call> {
    let tile = t.one_of_names("the name of a tile", |name| kernel.tiles.iter().position(|tile| tile.name == name))?;
    let mut call = Call { tile, args: Vec::new(), ranges: Vec::new() };
    t.symbol("(")?;
    if !t.is_symbol(")") && !t.is_symbol(";") {
        loop {
            let role = role(t)?;
            call.args.push(Arg { role, offset: bracketed(t, &kernel.vars)? });
            if !t.take_symbol(",") {
                break;
            }
        }
    }
    if t.take_symbol(";") {
        loop {
            call.ranges.push(range(t, &kernel.vars)?);
            if !t.take_symbol(",") {
                break;
            }
        }
    }
    t.symbol(")")?;
    Ok(call)
}

fn range(t: &mut Tokens<'_>, vars: &[String]) -> Parse<Range> {
    let lo = bounds(t, "max", vars)?;
    t.symbol("..")?;
    let hi = bounds(t, "min", vars)?;
    Ok(Range { lo, hi })
}

fn bounds(t: &mut Tokens<'_>, which: &str, vars: &[String]) -> Parse<Vec<CeilDiv>> {
    if !t.take_function(which) {
        return Ok(vec![bound(t, vars)?]);
    }
    let mut bounds = Vec::new();
    while !t.is_symbol(")") {
        bounds.push(bound(t, vars)?);
        if !t.take_symbol(",") {
            break;
        }
    }
    t.symbol(")")?;
    Ok(bounds)
}

fn bound(t: &mut Tokens<'_>, vars: &[String]) -> Parse<CeilDiv> {
    if !t.take_function("ceil") {
        return Ok(CeilDiv::whole(affine(t, vars)?));
    }
    let numerator = affine(t, vars)?;
    t.symbol("/")?;
    let divisor = t.integer("a divisor")?;
    t.symbol(")")?;
    Ok(CeilDiv { numerator, divisor })
}

/// Terms are added up, so what is read is in normal form.
fn affine(t: &mut Tokens<'_>, vars: &[String]) -> Parse<Affine> {
    let mut sum: Vec<(Var, i64)> = Vec::new();
    let mut constant = 0_i64;
    let mut negative = t.take_symbol("-");
    loop {
        let at = t.position();
        let (var, number) = match t.take_number() {
            Some(digits) => {
                let number = t.signed(at, negative, digits)?;
                (t.take_symbol("*").then(|| variable(t, vars)).transpose()?, number)
            }
            None => (Some(variable(t, vars)?), if negative { -1 } else { 1 }),
        };
        let slot = match var {
            None => &mut constant,
            Some(var) => {
                let at = sum.binary_search_by_key(&var, |term| term.0).unwrap_or_else(|at| {
                    sum.insert(at, (var, 0));
                    at
                });
                &mut sum[at].1
            }
        };
        *slot = slot.checked_add(number).ok_or_else(|| t.expected_at(at, "a sum of at most 2^63 - 1"))?;
        match () {
            () if t.take_symbol("+") => negative = false,
            () if t.take_symbol("-") => negative = true,
            () => break,
        }
    }
    sum.retain(|term| term.1 != 0);
    Ok(Affine { terms: sum, constant })
}

fn variable(t: &mut Tokens<'_>, vars: &[String]) -> Parse<Var> {
    let position = |name: &str| vars.iter().position(|v| v == name);
    Ok(Var(t.one_of_names("a variable of the kernel", position)? as u32))
}

/// What a token is called in a message.
fn describe(token: Option<&Token<'_>>) -> String {
    token.map_or_else(|| "the end of the text".to_owned(), |t| format!("`{}`", t.text))
}

#[cfg(test)]
mod tests;
