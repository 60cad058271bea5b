//! A tile to a function: registers to `let` bindings, loops to `for`, addresses to pointers that step along.
//!
//! A value that stays within one run of statements is a `let` of its own; only what a loop carries on is `let mut` and
//! assigned. The compiler then sees straight-line vector code with named accumulators and keeps them in registers.

use super::isa::{Helper, Instructions};
use super::live::{self, RegSet};
use super::names::{Names, ident};
use crate::ir::{Access, Address, BinaryOp, Extent, Op, Ptr, Reg, Tile, TileLoop, TileStmt};
use crate::spec::Storage;
use crate::target::Isa;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

/// A tile's function and what its calls have to pass.
pub(super) struct TileFn {
    pub(super) name: Ident,
    pub(super) pointers: Vec<Pointer>,
    /// Whether each of the tile's ranges is used.
    pub(super) ranges: Vec<bool>,
    pub(super) code: TokenStream,
}

/// How a tile uses one of its pointers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointer {
    /// Whether it is used at all; if not, the function does not take it.
    pub(super) used: bool,
    /// Whether the tile stores through it.
    pub(super) written: bool,
}

/// Writes the function for `tile`, whose pointers go to elements of `storages`; `instructions` takes note of what it needs.
pub(super) fn function(tile: &Tile, storages: &[Storage], name: Ident, instructions: &mut Instructions) -> TileFn {
    let mut names = Names::of_tile();
    let pointer_names: Vec<Ident> = tile.pointers.iter().map(|p| names.fresh(p)).collect();
    let bounds: Vec<[Ident; 2]> =
        tile.ranges.iter().map(|r| ["lo", "hi"].map(|end| names.fresh(&format!("{r}_{end}")))).collect();
    let mut pointers = vec![Pointer::default(); tile.pointers.len()];
    let mut ranges = vec![false; tile.ranges.len()];
    uses(&tile.body, &mut pointers, &mut ranges);

    let none = RegSet::default();
    let mut writer = Writer { instructions, pointers: &pointer_names, storages, written: &pointers, bounds: &bounds };
    let mut carried = live::before(&tile.body, &none);
    let mut body = TokenStream::new();
    for reg in carried.iter() {
        let (v, splat) = (register(reg), writer.instructions.name(Helper::Splat));
        body.extend(quote!(let mut #v = #splat(0.0);));
    }
    writer.body(&tile.body, &none, &mut carried, &mut body);

    let mut parameters = Vec::new();
    for ((name, pointer), &storage) in pointer_names.iter().zip(&pointers).zip(storages).filter(|p| p.0.1.used) {
        let element = instructions.element_of(storage);
        parameters.push(if pointer.written { quote!(#name: *mut #element) } else { quote!(#name: *const #element) });
    }
    for ([lo, hi], _) in bounds.iter().zip(&ranges).filter(|r| *r.1) {
        parameters.push(quote!(#lo: isize, #hi: isize));
    }
    let attribute = instructions.attribute();
    let doc = format!(
        " Computes one `{name}`.\n\n # Safety\n Every element that it reaches from its pointers lies within their buffers, and the CPU has the instructions."
    );
    let code = quote! {
        #[doc = #doc]
        #attribute
        #[inline(never)]
        #[allow(clippy::too_many_arguments)]
        unsafe fn #name(#(#parameters),*) {
            unsafe { #body }
        }
    };
    TileFn { name, pointers, ranges, code }
}

fn uses(stmts: &[TileStmt], pointers: &mut [Pointer], ranges: &mut [bool]) {
    let mut mark = |at: Address, written: bool| {
        if let Some(p) = pointers.get_mut(at.ptr.0 as usize) {
            *p = Pointer { used: true, written: p.written || written };
        }
    };
    for stmt in stmts {
        match stmt {
            TileStmt::Op(Op::Load { from, .. } | Op::Pairs { from, .. } | Op::Quads { from, .. }) => {
                mark(from.at, false)
            }
            TileStmt::Op(Op::Broadcast { from, .. } | Op::Gather { from, .. }) => mark(*from, false),
            TileStmt::Op(Op::Prefetch { at }) => mark(*at, false),
            TileStmt::Op(Op::Store { to, .. }) => mark(to.at, true),
            TileStmt::Op(Op::Scatter { to, from, at, .. }) => {
                mark(*to, true);
                mark(*from, false);
                mark(*at, false);
            }
            TileStmt::Op(_) | TileStmt::Loop(_) => {}
        }
    }
    for stmt in stmts {
        if let TileStmt::Loop(l) = stmt {
            if let Extent::Range(r) = l.extent
                && let Some(slot) = ranges.get_mut(r as usize)
            {
                *slot = true;
            }
            uses(&l.body, pointers, ranges);
        }
    }
}

fn register(reg: Reg) -> Ident {
    ident(&format!("v{}", reg.0))
}

/// What `count` elements further means for a pointer.
fn moved(pointer: &Ident, count: i64) -> TokenStream {
    let by = Literal::u64_unsuffixed(count.unsigned_abs());
    match count {
        0 => quote!(#pointer),
        1.. => quote!(#pointer.wrapping_add(#by)),
        _ => quote!(#pointer.wrapping_sub(#by)),
    }
}

struct Writer<'a> {
    instructions: &'a mut Instructions,
    pointers: &'a [Ident],
    storages: &'a [Storage],
    written: &'a [Pointer],
    bounds: &'a [[Ident; 2]],
}

impl Writer<'_> {
    /// Writes `stmts`. `after` is needed behind them; `declared` are the variables that an assignment reaches.
    fn body(&mut self, stmts: &[TileStmt], after: &RegSet, declared: &mut RegSet, out: &mut TokenStream) {
        let behind = live::behind_each(stmts, after);
        // What an inner loop sets and somebody reads later has to be a variable here.
        let mut variables = RegSet::default();
        for (stmt, live) in stmts.iter().zip(&behind) {
            if let TileStmt::Loop(l) = stmt {
                let (carried, mut set) = (live::carried(l, live), RegSet::default());
                live::defined(&l.body, &mut set);
                set.iter().filter(|r| carried.contains(*r)).for_each(|r| variables.insert(r));
            }
        }
        for (stmt, live) in stmts.iter().zip(&behind) {
            match stmt {
                TileStmt::Loop(l) => self.repeat(l, live, declared, out),
                TileStmt::Op(op) => {
                    let code = self.op(op);
                    match live::defines(op) {
                        None => out.extend(quote!(#code;)),
                        Some(d) if !live.contains(d) => {}
                        Some(d) => {
                            let v = register(d);
                            if declared.contains(d) {
                                out.extend(quote!(#v = #code;));
                            } else if variables.contains(d) {
                                declared.insert(d);
                                out.extend(quote!(let mut #v = #code;));
                            } else {
                                out.extend(quote!(let #v = #code;));
                            }
                        }
                    }
                }
            }
        }
    }

    fn repeat(&mut self, l: &TileLoop, after: &RegSet, declared: &RegSet, out: &mut TokenStream) {
        let carried = live::carried(l, after);
        let mut inner = RegSet::default();
        carried.iter().filter(|r| declared.contains(*r)).for_each(|r| inner.insert(r));
        let mut body = TokenStream::new();
        self.body(&l.body, &carried, &mut inner, &mut body);

        let mut used = vec![Pointer::default(); self.pointers.len()];
        uses(&l.body, &mut used, &mut vec![false; self.bounds.len()]);
        let steps: Vec<(Ptr, i64)> =
            l.steps.iter().copied().filter(|s| s.1 != 0 && used[s.0.0 as usize].used).collect();
        let mut start = TokenStream::new();
        let mut step = TokenStream::new();
        for &(ptr, by) in &steps {
            let p = &self.pointers[ptr.0 as usize];
            let next = moved(p, by);
            step.extend(quote!(#p = #next;));
            match l.extent {
                Extent::Count(_) => start.extend(quote!(let mut #p = #p;)),
                Extent::Range(r) => {
                    let lo = &self.bounds[r as usize][0];
                    let distance = match by {
                        1 => quote!(#lo),
                        _ => {
                            let by = signed(by);
                            quote!(#lo * #by)
                        }
                    };
                    start.extend(quote!(let mut #p = #p.wrapping_offset(#distance);));
                }
            }
        }
        let range = match l.extent {
            Extent::Count(n) => {
                // Without a suffix the counter is an i32.
                let n = if n > i32::MAX as u64 { Literal::u64_suffixed(n) } else { Literal::u64_unsuffixed(n) };
                quote!(0..#n)
            }
            Extent::Range(r) => {
                let [lo, hi] = &self.bounds[r as usize];
                quote!(#lo..#hi)
            }
        };
        let reload = self.reload(l);
        let repeat = quote!(for _ in #range { #body #step #reload });
        out.extend(if steps.is_empty() { repeat } else { quote!({ #start #repeat }) });
    }

    /// Behind a step of a sum: the Rust compiler writes short loops out, and an element that several taps meet would stay in a register
    /// from the first to the last, which sums then have to leave. Loading it again costs nothing.
    fn reload(&mut self, l: &TileLoop) -> Option<TokenStream> {
        let is_inner = !l.body.iter().any(|stmt| matches!(stmt, TileStmt::Loop(_)));
        let sums = l.body.iter().any(|stmt| matches!(stmt, TileStmt::Op(Op::Fma { .. })));
        let is_x86 = matches!(self.instructions.isa, Isa::Sse | Isa::Avx2 | Isa::Avx512);
        (is_x86 && is_inner && sums).then(|| {
            let reload = self.instructions.name(Helper::Reload);
            quote!(#reload();)
        })
    }

    fn op(&mut self, op: &Op) -> TokenStream {
        match *op {
            Op::Const { value, .. } => {
                let (splat, value) = (self.instructions.name(Helper::Splat), self.instructions.number(value));
                quote!(#splat(#value))
            }
            Op::Load { from, .. } => self.access(from, None),
            Op::Broadcast { from, .. } if self.storages[from.ptr.0 as usize].is_half() => {
                let widen = self.instructions.name(Helper::Widen(self.storages[from.ptr.0 as usize]));
                let (splat, from) = (self.instructions.name(Helper::Splat), self.address(from, false));
                quote!(#splat(#widen(*#from)))
            }
            // Lanes of bytes that the user has lie anywhere.
            Op::Broadcast { from, .. } if self.storages[from.ptr.0 as usize] == Storage::I32 => {
                let (splat, from) = (self.instructions.name(Helper::Splat), self.address(from, false));
                quote!(#splat(#from.read_unaligned()))
            }
            Op::Broadcast { from, .. } => {
                let (splat, from) = (self.instructions.name(Helper::Splat), self.address(from, false));
                quote!(#splat(*#from))
            }
            Op::Gather { a, from, of, .. } => {
                let (name, from, a) = (self.instructions.name(Helper::Gather), self.address(from, false), register(a));
                let of = Literal::u32_unsuffixed(of);
                quote!(#name::<#of>(#from, #a))
            }
            Op::Fma { a, b, c, .. } => self.call(Helper::Fma, &[a, b, c]),
            Op::Binary { op, a, b, .. } => self.call(Helper::Binary(op), &[a, b]),
            Op::Select { a, b, c, e, .. } => self.call(Helper::Select, &[a, b, c, e]),
            Op::Exponent { a, .. } => self.call(Helper::Exponent, &[a]),
            Op::Sqrt { a, .. } => self.call(Helper::Sqrt, &[a]),
            Op::Convert { op, a, .. } => self.call(Helper::Convert(op), &[a]),
            Op::Dot4 { a, b, c, .. } => self.call(Helper::Dot4, &[a, b, c]),
            Op::Pairs { from, .. } | Op::Quads { from, .. } => {
                let helper = match op {
                    Op::Quads { .. } => Helper::Quads(from.lanes),
                    _ => Helper::Pairs(self.storages[from.at.ptr.0 as usize], from.lanes),
                };
                let (name, address) = (self.instructions.name(helper), self.address(from.at, false));
                quote!(#name(#address))
            }
            Op::Scatter { to, count, stride, from, at } => {
                let (to, from, at) = (self.address(to, true), self.address(from, false), self.address(at, false));
                let last = Literal::u64_unsuffixed(count.saturating_sub(1));
                let index = quote!((*#at.cast::<u32>()).min(#last) as isize);
                let distance = match stride {
                    1 => index,
                    _ => {
                        let stride = signed(stride);
                        quote!(#index * #stride)
                    }
                };
                quote!(*#to.wrapping_offset(#distance) = *#from)
            }
            Op::Prefetch { at } => {
                let (name, at) = (self.instructions.name(Helper::Prefetch), self.address(at, false));
                quote!(#name(#at))
            }
            Op::Store { to, s } => self.access(to, Some(s)),
        }
    }

    fn call(&mut self, helper: Helper, operands: &[Reg]) -> TokenStream {
        let name = self.instructions.name(helper);
        let operands = operands.iter().map(|r| register(*r));
        quote!(#name(#(#operands),*))
    }

    /// A load, or a store of `value`.
    fn access(&mut self, access: Access, value: Option<Reg>) -> TokenStream {
        let strided = access.stride != 1 && access.elements() > 1;
        let storage = self.storages[access.at.ptr.0 as usize];
        let helper = match (value, strided) {
            (None, _) if storage.is_narrow() => Helper::LoadNarrow { storage, lanes: access.lanes, strided },
            (Some(_), _) if storage.is_narrow() => Helper::StoreNarrow { storage, lanes: access.lanes, strided },
            (None, _) if storage.is_half() => {
                self.instructions.name(Helper::Widen(storage));
                Helper::LoadHalf { storage, lanes: access.lanes, repeat: access.repeat, strided }
            }
            (Some(_), _) if storage.is_half() => {
                self.instructions.name(Helper::Round(storage));
                Helper::StoreHalf { storage, lanes: access.lanes, strided }
            }
            (None, _) if access.repeat > 1 => {
                Helper::LoadRepeated { lanes: access.lanes, repeat: access.repeat, strided }
            }
            (None, false) => Helper::Load(access.lanes),
            (None, true) => Helper::LoadStrided(access.lanes),
            (Some(_), false) => Helper::Store(access.lanes),
            (Some(_), true) => Helper::StoreStrided(access.lanes),
        };
        let name = self.instructions.name(helper);
        let address = self.address(access.at, value.is_some());
        let stride = signed(access.stride);
        let stride = strided.then(|| quote!(::<#stride>));
        let value = value.map(register).map(|v| quote!(, #v));
        quote!(#name #stride (#address #value))
    }

    fn address(&self, at: Address, write: bool) -> TokenStream {
        let moved = moved(&self.pointers[at.ptr.0 as usize], at.offset);
        let cast = self.written[at.ptr.0 as usize].written && !write;
        if cast { quote!(#moved.cast_const()) } else { moved }
    }
}

/// A number with its sign.
pub(super) fn signed(value: i64) -> TokenStream {
    let magnitude = Literal::u64_unsuffixed(value.unsigned_abs());
    if value < 0 { quote!(-#magnitude) } else { quote!(#magnitude) }
}

/// The operations that have a name of their own in emitted code.
pub(super) const fn binary_name(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "add",
        BinaryOp::Sub => "sub",
        BinaryOp::Mul => "mul",
        BinaryOp::Div => "div",
        BinaryOp::Max => "max",
        BinaryOp::Min => "min",
        BinaryOp::Maximum => "maximum",
        BinaryOp::AddInt => "add_int",
        BinaryOp::Dot => "dot",
        BinaryOp::Join => "join",
        BinaryOp::Splice => "splice",
        BinaryOp::Products => "products",
    }
}
