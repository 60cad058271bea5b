//! A kernel to the items of one module: the prelude, its tiles, its nests, and `run`, which does all nests in order.

use super::RustError;
use super::isa::{Instructions, Intrinsics};
use super::names::{Names, contains_ident, ident};
use super::{nest, tile};
use crate::ir::{Kernel, Role};
use crate::target::Isa;
use proc_macro2::TokenStream;
use quote::quote;

/// Items that compute `kernel`; the entry is `unsafe fn run(buffers…, n: isize)`, which takes the kernel's buffers in
/// [`Role::ALL`] order as pointers.
pub(super) fn items(kernel: &Kernel, intrinsics: Intrinsics) -> Result<TokenStream, RustError> {
    if kernel.isa == Isa::Portable && kernel.fma {
        return Err(RustError::PortableFma { kernel: kernel.name.clone() });
    }
    let mut instructions = Instructions::new(kernel, intrinsics);
    let mut names = Names::new();
    let tiles: Vec<_> = kernel
        .tiles
        .iter()
        .enumerate()
        .map(|(i, t)| tile::function(t, &kernel.pointer_storages(i), names.fresh(&t.name), &mut instructions))
        .collect();
    let nests: Vec<_> = kernel
        .nests
        .iter()
        .enumerate()
        .map(|(i, nest)| nest::function(kernel, i, nest, &tiles, &instructions))
        .collect();
    let prelude = instructions.prelude();
    let ceil_div = nest::ceil_div(kernel);

    let calls: TokenStream = nests.iter().map(|n| n.call.clone()).collect();
    let mentioned = |name: &str| contains_ident(calls.clone(), name);
    let mut parameters = Vec::new();
    for (role, storage) in kernel.buffers.iter().map(|b| (b.role, b.storage)) {
        let element = instructions.element_of(storage);
        let name = if mentioned(role.name()) { role.name().to_owned() } else { format!("_{}", role.name()) };
        let name = ident(&name);
        parameters.push(if role.is_written() { quote!(#name: *mut #element) } else { quote!(#name: *const #element) });
    }
    let n = ident(if mentioned("n") { "n" } else { "_n" });
    let attribute = instructions.attribute();
    let tile_code = tiles.iter().map(|t| &t.code);
    let nest_code = nests.iter().map(|n| &n.code);
    Ok(quote! {
        #prelude
        #ceil_div
        #(#tile_code)*
        #(#nest_code)*
        /// Runs every nest.
        ///
        /// # Safety
        /// The buffers have the kernel's lengths for a batch of `n`, and the CPU has the instructions.
        #attribute
        pub(super) unsafe fn run(#(#parameters,)* #n: isize) { #calls }
    })
}

/// The length of the buffer of `role` for one image, and whether it grows with the batch.
pub(super) fn buffer_len(kernel: &Kernel, role: Role) -> Option<(i64, bool)> {
    let len = &kernel.buffers.iter().find(|b| b.role == role)?.len;
    match len.as_constant() {
        Some(constant) => Some((constant, false)),
        None => Some((len.factor(crate::ir::Var::BATCH), true)),
    }
}
