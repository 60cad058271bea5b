//! Nests to functions of nested `for` loops, whose bodies call tiles.

use super::isa::Instructions;
use super::names::{Names, ident};
use super::tile::{TileFn, signed};
use crate::ir::{Affine, Call, CeilDiv, Kernel, Loop, Nest, Range, Role, Stmt, Var};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{ToTokens, format_ident, quote};

/// A nest's function and what its calls have to pass.
pub(super) struct NestFn {
    pub(super) code: TokenStream,
    /// The call over the whole of the outermost loop, with buffers and `n` under their own names.
    pub(super) call: TokenStream,
}

/// Writes the function for nest `index` of `kernel`.
pub(super) fn function(kernel: &Kernel, index: usize, nest: &Nest, tiles: &[TileFn], i: &Instructions) -> NestFn {
    let mut names = Names::new();
    let vars: Vec<Ident> = (0..kernel.vars.len())
        .map(|v| if v == Var::BATCH.0 as usize { ident("n") } else { names.fresh(&kernel.vars[v].to_lowercase()) })
        .collect();
    let mut writer = Writer { vars, tiles, roles: Vec::new(), uses_batch: false };
    let body: TokenStream = nest.outer.body.iter().map(|stmt| writer.stmt(stmt)).collect();
    writer.roles.sort();
    let uses_batch = writer.uses_batch;
    let whole = writer.range(&nest.outer.range);

    let name = format_ident!("nest_{index}");
    let (mut parameters, mut arguments) = (Vec::new(), Vec::new());
    for role in &writer.roles {
        let element = i.element_of(kernel.storage(*role));
        let name = ident(role.name());
        parameters.push(if role.is_written() { quote!(#name: *mut #element) } else { quote!(#name: *const #element) });
        arguments.push(quote!(#name));
    }
    if uses_batch {
        parameters.push(quote!(n: isize));
        arguments.push(quote!(n));
    }
    let used = nest.outer.body.iter().any(|stmt| mentions(stmt, nest.outer.var));
    let label = writer.var(nest.outer.var);
    let var = if used { label.to_token_stream() } else { quote!(_) };
    let attribute = i.attribute();
    let doc = format!(
        " Runs `lo..hi` of the nest `{}`; its outermost loop runs over `{label}`.\n\n # Safety\n The buffers have the kernel's lengths, `lo..hi` lies within the loop, and the CPU has the instructions.",
        nest.label
    );
    let code = quote! {
        #[doc = #doc]
        #attribute
        #[allow(clippy::too_many_arguments)]
        unsafe fn #name(#(#parameters,)* lo: isize, hi: isize) {
            for #var in lo..hi { #body }
        }
    };
    let (lo, hi) = whole;
    NestFn { code, call: quote!(unsafe { #name(#(#arguments,)* #lo, #hi) };) }
}

struct Writer<'a> {
    vars: Vec<Ident>,
    tiles: &'a [TileFn],
    /// The buffers that calls take.
    roles: Vec<Role>,
    uses_batch: bool,
}

impl Writer<'_> {
    fn var(&mut self, var: Var) -> Ident {
        self.uses_batch |= var == Var::BATCH;
        self.vars[var.0 as usize].clone()
    }

    fn stmt(&mut self, stmt: &Stmt) -> TokenStream {
        match stmt {
            Stmt::For(l) => self.repeat(l),
            Stmt::Call(call) => self.call(call),
        }
    }

    fn repeat(&mut self, l: &Loop) -> TokenStream {
        if is_empty(&l.range) {
            return TokenStream::new();
        }
        let (lo, hi) = self.range(&l.range);
        let body: TokenStream = l.body.iter().map(|stmt| self.stmt(stmt)).collect();
        let used = l.body.iter().any(|stmt| mentions(stmt, l.var));
        let var = if used { self.var(l.var).into_token_stream() } else { quote!(_) };
        quote!(for #var in #lo..#hi { #body })
    }

    fn call(&mut self, call: &Call) -> TokenStream {
        let tile = &self.tiles[call.tile];
        let mut arguments = Vec::new();
        for (arg, pointer) in call.args.iter().zip(&tile.pointers).filter(|a| a.1.used) {
            if !self.roles.contains(&arg.role) {
                self.roles.push(arg.role);
            }
            let base = ident(arg.role.name());
            let cast = (arg.role.is_written() && !pointer.written).then(|| quote!(.cast_const()));
            let offset = (arg.offset != Affine::default()).then(|| {
                let offset = self.affine(&arg.offset);
                quote!(.wrapping_offset(#offset))
            });
            arguments.push(quote!(#base #offset #cast));
        }
        for (range, _) in call.ranges.iter().zip(&tile.ranges).filter(|r| *r.1) {
            let (lo, hi) = self.range(range);
            arguments.push(quote!(#lo, #hi));
        }
        let name = &tile.name;
        quote!(unsafe { #name(#(#arguments),*) };)
    }

    fn range(&mut self, range: &Range) -> (TokenStream, TokenStream) {
        (self.extreme(&range.lo, true), self.extreme(&range.hi, false))
    }

    /// The greatest or least of `bounds`.
    fn extreme(&mut self, bounds: &[CeilDiv], greatest: bool) -> TokenStream {
        let constants = bounds.iter().filter(|b| b.numerator.terms.is_empty()).map(|b| b.eval(&[]));
        let constant = if greatest { constants.max() } else { constants.min() };
        let of = ident(if greatest { "max" } else { "min" });
        let mut code: Option<TokenStream> = None;
        for bound in bounds.iter().filter(|b| !b.numerator.terms.is_empty()) {
            let value = self.bound(bound);
            code = Some(match code {
                None => value,
                Some(code) => quote!(Ord::#of(#code, #value)),
            });
        }
        match (code, constant) {
            (Some(code), Some(constant)) => {
                let constant = signed(constant);
                quote!(Ord::#of(#code, #constant))
            }
            (Some(code), None) => code,
            (None, constant) => signed(constant.unwrap_or(0)),
        }
    }

    fn bound(&mut self, bound: &CeilDiv) -> TokenStream {
        let numerator = self.affine(&bound.numerator);
        if bound.divisor == 1 {
            return numerator;
        }
        let divisor = signed(bound.divisor);
        quote!(ceil_div(#numerator, #divisor))
    }

    /// Positive terms first, so that nothing starts with a sign if it need not.
    fn affine(&mut self, affine: &Affine) -> TokenStream {
        let mut code = TokenStream::new();
        for &(var, factor) in affine.terms.iter().filter(|t| t.1 > 0) {
            let (term, plus) = (self.term(var, factor), (!code.is_empty()).then(|| quote!(+)));
            code.extend(quote!(#plus #term));
        }
        if affine.constant > 0 || (code.is_empty() && affine.constant != 0) {
            let (term, plus) = (signed(affine.constant), (!code.is_empty()).then(|| quote!(+)));
            code.extend(quote!(#plus #term));
        } else if affine.constant < 0 {
            let term = Literal::u64_unsuffixed(affine.constant.unsigned_abs());
            code.extend(quote!(- #term));
        }
        for &(var, factor) in affine.terms.iter().filter(|t| t.1 < 0) {
            // A factor of i64::MIN cannot be negated; no verified kernel has one.
            let term = self.term(var, factor.saturating_neg());
            code.extend(quote!(- #term));
        }
        if code.is_empty() { quote!(0) } else { code }
    }

    fn term(&mut self, var: Var, factor: i64) -> TokenStream {
        let name = self.var(var);
        if factor == 1 {
            return quote!(#name);
        }
        let factor = signed(factor);
        quote!(#factor * #name)
    }
}

/// Whether nothing is in `range`, whatever its variables are; clippy takes such a loop for a mistake.
fn is_empty(range: &Range) -> bool {
    let constant = |b: &CeilDiv| b.numerator.terms.is_empty().then(|| b.eval(&[]));
    let lo = range.lo.iter().filter_map(constant).max();
    let hi = range.hi.iter().filter_map(constant).min();
    matches!((lo, hi), (Some(lo), Some(hi)) if hi <= lo)
}

/// Whether what is written for `stmt` speaks of `var`.
fn mentions(stmt: &Stmt, var: Var) -> bool {
    let in_affine = |a: &Affine| a.factor(var) != 0;
    let in_range = |r: &Range| r.lo.iter().chain(&r.hi).any(|b| in_affine(&b.numerator));
    match stmt {
        Stmt::For(l) if is_empty(&l.range) => false,
        Stmt::For(l) => in_range(&l.range) || l.body.iter().any(|s| mentions(s, var)),
        Stmt::Call(c) => c.args.iter().any(|a| in_affine(&a.offset)) || c.ranges.iter().any(in_range),
    }
}

/// The definition of `ceil_div`, if `kernel` divides anywhere.
pub(super) fn ceil_div(kernel: &Kernel) -> Option<TokenStream> {
    fn divides(range: &Range) -> bool {
        range.lo.iter().chain(&range.hi).any(|b| b.divisor != 1 && !b.numerator.terms.is_empty())
    }
    fn in_loop(l: &Loop) -> bool {
        divides(&l.range)
            || l.body.iter().any(|stmt| match stmt {
                Stmt::For(l) => in_loop(l),
                Stmt::Call(c) => c.ranges.iter().any(divides),
            })
    }
    kernel.nests.iter().any(|n| in_loop(&n.outer)).then(|| {
        quote! {
            /// The quotient, rounded up.
            const fn ceil_div(a: isize, b: isize) -> isize {
                a.div_euclid(b) + (a.rem_euclid(b) != 0) as isize
            }
        }
    })
}
