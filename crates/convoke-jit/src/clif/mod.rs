//! A kernel to machine code, function by function.
//!
//! In comes a verified kernel; out come `Units`: the bytes of every tile and then of every nest, with the calls still to
//! be resolved. Nests are always Cranelift's, and so are tiles of 128 bits; wider ones are the `x86` encoder's. Kernels
//! that none of them takes are refused.

mod affine;
mod halves;
mod integers;
mod nest;
mod scatter;
mod tile;

use std::fmt::Write as _;

use convoke_core::ir::{Kernel, Tile, Verified};
use convoke_core::target::Isa;
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{
    AbiParam, ExternalName, FuncRef, Function, Signature, UserExternalName, UserFuncName, types,
};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, ModuleReloc, ModuleRelocTarget};

use crate::error::JitError;
use crate::target::{features, is_encoded};
#[cfg(target_arch = "x86_64")]
use crate::x86 as wide;

/// Machine code of a whole kernel.
pub(crate) struct Units {
    pub(crate) isa: OwnedTargetIsa,
    /// What the CPU must have, as Rust spells it.
    pub(crate) features: &'static [&'static str],
    /// Tiles, then nests; a call refers to a unit by its position here.
    pub(crate) all: Vec<Unit>,
    /// How many of them are tiles.
    pub(crate) tiles: usize,
}

impl Units {
    pub(crate) fn nests(&self) -> &[Unit] {
        &self.all[self.tiles..]
    }
}

/// Machine code of one function.
pub(crate) struct Unit {
    pub(crate) symbol: String,
    pub(crate) signature: Signature,
    pub(crate) align: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) relocs: Vec<ModuleReloc>,
}

/// Compiles every tile and every nest.
pub(crate) fn compile(kernel: &Kernel) -> Result<Units, JitError> {
    let backend = Backend::for_kernel(kernel)?;
    let mut all = Vec::with_capacity(kernel.tiles.len() + kernel.nests.len());
    let mut cranelift = Cranelift::new(&backend);
    for (index, tile) in kernel.tiles.iter().enumerate() {
        all.push(cranelift.tile(kernel, tile, index)?);
    }
    for index in 0..kernel.nests.len() {
        all.push(cranelift.nest(kernel, index)?);
    }
    Ok(Units { isa: backend.isa, features: backend.features, all, tiles: kernel.tiles.len() })
}

/// The Cranelift functions of a kernel as text, tiles first, each under its symbol.
///
/// # Errors
/// As [`Program::compile`](crate::Program::compile), but needs no feature of the CPU.
pub fn clif_text(kernel: &Verified) -> Result<String, JitError> {
    each_named_function(kernel, no_clif, |_, _, context| Ok(context.func.display().to_string()))
}

/// The machine code of a kernel as assembly, tiles first, each under its symbol.
///
/// # Errors
/// As [`clif_text`].
pub fn asm_text(kernel: &Verified) -> Result<String, JitError> {
    each_named_function(kernel, wide::text, |isa, symbol, context| {
        context.set_disasm(true);
        if let Err(e) = context.compile(isa, &mut ControlPlane::default()) {
            return Err(codegen_error(symbol, format!("{:?}", e.inner)));
        }
        let vcode = context.compiled_code().and_then(|c| c.vcode.clone()).unwrap_or_default();
        Ok(format!("{symbol}:\n{vcode}"))
    })
}

/// Processor, settings and features for one kernel.
struct Backend {
    isa: OwnedTargetIsa,
    features: &'static [&'static str],
}

impl Backend {
    /// The features that are used depend on the kernel alone, never on the CPU, so its text is the same everywhere.
    fn for_kernel(kernel: &Kernel) -> Result<Self, JitError> {
        let accepted = if cfg!(target_arch = "x86_64") {
            "avx512, avx2, sse and portable"
        } else if cfg!(target_arch = "aarch64") {
            "neon and portable"
        } else {
            "portable"
        };
        if !is_encoded(kernel.isa, kernel.fma) {
            return Err(JitError::Isa { kernel: kernel.name.clone(), isa: kernel.isa.name(), accepted });
        }
        let features = features(kernel.isa, kernel.fma, kernel.vnni);
        let isa = build_isa(features, is_wide(kernel)).map_err(|reason| codegen_error(&kernel.name, reason))?;
        Ok(Self { isa, features })
    }
}

/// What Cranelift compiles for. Nests alone have so few values that its quick allocator of registers will do.
fn build_isa(features: &[&str], only_nests: bool) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let verifier = if cfg!(debug_assertions) { "true" } else { "false" };
    let allocator = if only_nests { "single_pass" } else { "backtracking" };
    // Instructions come in the order that the registers were counted for; an optimizer that moves them would spill.
    for (name, value) in [
        ("opt_level", "none"),
        ("is_pic", "false"),
        ("unwind_info", "false"),
        ("enable_verifier", verifier),
        ("regalloc_algorithm", allocator),
    ] {
        flags.set(name, value).map_err(|e| e.to_string())?;
    }
    let mut builder = cranelift_native::builder_with_options(false).map_err(str::to_owned)?;
    // Cranelift does not know all of AVX-512, nor what converts halves, and makes nothing that would use it.
    for feature in features.iter().filter(|f| !f.starts_with("avx512") && !["avxvnni", "f16c"].contains(f)) {
        let setting = format!("has_{}", feature.replace("sse4.", "sse4"));
        builder.enable(&setting).map_err(|e| e.to_string())?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| e.to_string())
}

/// Parameters of a tile: addresses, then `lo, hi` of each range. On x86-64 the convention is System V's on every system.
fn tile_signature(isa: &dyn TargetIsa, tile: &Tile) -> Signature {
    let convention = if cfg!(target_arch = "x86_64") { CallConv::SystemV } else { isa.default_call_conv() };
    let mut signature = Signature::new(convention);
    signature.params = vec![AbiParam::new(types::I64); tile.pointers.len() + 2 * tile.ranges.len()];
    signature
}

/// Cranelift, with memory that it reuses from function to function.
struct Cranelift<'a> {
    backend: &'a Backend,
    context: Context,
    frontend: FunctionBuilderContext,
}

impl<'a> Cranelift<'a> {
    fn new(backend: &'a Backend) -> Self {
        Self { backend, context: Context::new(), frontend: FunctionBuilderContext::new() }
    }

    /// The code of `tile`, which is unit number `index`. A tile is called with the addresses of its pointers and then
    /// `lo, hi` of each of its ranges, by the convention of [`tile_signature`]; it returns nothing.
    fn tile(&mut self, kernel: &Kernel, tile: &Tile, index: usize) -> Result<Unit, JitError> {
        if is_wide(kernel) {
            let (symbol, signature) = (tile.name.clone(), tile_signature(&*self.backend.isa, tile));
            let bytes = wide::encode(kernel, tile)?;
            return Ok(Unit { symbol, signature, align: FUNCTION_ALIGN, bytes, relocs: Vec::new() });
        }
        self.build_tile(kernel, tile)?;
        self.finish(tile.name.clone(), index)
    }

    fn nest(&mut self, kernel: &Kernel, index: usize) -> Result<Unit, JitError> {
        self.build_nest(kernel, index)?;
        self.finish(nest_symbol(kernel, index), kernel.tiles.len() + index)
    }

    fn build_tile(&mut self, kernel: &Kernel, tile: &Tile) -> Result<(), JitError> {
        let isa = &*self.backend.isa;
        self.context.clear();
        self.context.func.signature = tile_signature(isa, tile);
        let builder = FunctionBuilder::new(&mut self.context.func, &mut self.frontend);
        tile::build(builder, kernel, tile, isa)
    }

    fn build_nest(&mut self, kernel: &Kernel, index: usize) -> Result<(), JitError> {
        let isa = &*self.backend.isa;
        self.context.clear();
        let mut signature = Signature::new(isa.default_call_conv());
        signature.params = vec![AbiParam::new(types::I64); nest::PARAMETERS];
        self.context.func.signature = signature;
        let builder = FunctionBuilder::new(&mut self.context.func, &mut self.frontend);
        nest::build(builder, kernel, index, isa)
    }

    /// Machine code of the function that was built last.
    fn finish(&mut self, symbol: String, index: usize) -> Result<Unit, JitError> {
        let isa = &*self.backend.isa;
        if let Err(e) = self.context.compile(isa, &mut ControlPlane::default()) {
            return Err(codegen_error(&symbol, format!("{:?}", e.inner)));
        }
        let Some(compiled) = self.context.compiled_code() else {
            return Err(codegen_error(&symbol, "no code came out".to_owned()));
        };
        let id = FuncId::from_u32(u32::try_from(index).unwrap_or(u32::MAX));
        let relocs = compiled.buffer.relocs().iter();
        let relocs: Vec<_> = relocs.map(|r| ModuleReloc::from_mach_reloc(r, &self.context.func, id)).collect();
        // Nothing outside the kernel may be called: a library function would not have the bits of the IR.
        if let Some(reloc) = relocs.iter().find(|r| !matches!(r.name, ModuleRelocTarget::User { .. })) {
            return Err(codegen_error(&symbol, format!("it calls {}", reloc.name)));
        }
        let align = u64::from(compiled.buffer.alignment).max(FUNCTION_ALIGN);
        let (signature, bytes) = (self.context.func.signature.clone(), compiled.code_buffer().to_vec());
        Ok(Unit { symbol, signature, align, bytes, relocs })
    }
}

/// Functions start on a cache line of their own.
const FUNCTION_ALIGN: u64 = 64;

/// Imports the tiles of a kernel into the function that calls them.
fn import_tiles(builder: &mut FunctionBuilder<'_>, kernel: &Kernel, isa: &dyn TargetIsa) -> Vec<FuncRef> {
    let tiles = kernel.tiles.iter().zip(0..);
    tiles
        .map(|(tile, index)| {
            let signature = builder.import_signature(tile_signature(isa, tile));
            let name = builder.func.declare_imported_user_function(UserExternalName::new(0, index));
            builder.import_function(cranelift_codegen::ir::ExtFuncData {
                name: ExternalName::user(name),
                signature,
                colocated: true,
                patchable: false,
            })
        })
        .collect()
}

/// `{kernel}.{label}`, with the nest's number where labels repeat. No tile has a dot in its name.
fn nest_symbol(kernel: &Kernel, index: usize) -> String {
    let label = &kernel.nests[index].label;
    let repeats = kernel.nests.iter().filter(|n| n.label == *label).count() > 1;
    if repeats { format!("{}.{label}{index}", kernel.name) } else { format!("{}.{label}", kernel.name) }
}

/// Builds each function, gives it and what it calls their symbols, and joins what `text` makes of them.
fn each_named_function(
    kernel: &Kernel,
    wide_text: impl Fn(&Kernel, &Tile) -> Result<String, JitError>,
    text: impl Fn(&dyn TargetIsa, &str, &mut Context) -> Result<String, JitError>,
) -> Result<String, JitError> {
    let backend = Backend::for_kernel(kernel)?;
    let mut cranelift = Cranelift::new(&backend);
    let mut out = String::new();
    for index in 0..kernel.tiles.len() + kernel.nests.len() {
        let separator = if index == 0 { "" } else { "\n" };
        let symbol = match kernel.tiles.get(index) {
            Some(tile) if is_wide(kernel) => {
                let _ = writeln!(out, "{separator}{}", wide_text(kernel, tile)?.trim_end());
                continue;
            }
            Some(tile) => {
                cranelift.build_tile(kernel, tile)?;
                tile.name.clone()
            }
            None => {
                let nest = index - kernel.tiles.len();
                cranelift.build_nest(kernel, nest)?;
                nest_symbol(kernel, nest)
            }
        };
        name_symbols(&mut cranelift.context.func, kernel, &symbol);
        let piece = text(&*backend.isa, &symbol, &mut cranelift.context)?;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{separator}{}", piece.trim_end());
    }
    Ok(out)
}

/// What stands in the place of a wide tile among Cranelift's functions.
fn no_clif(_: &Kernel, tile: &Tile) -> Result<String, JitError> {
    Ok(format!("; {} is assembled without Cranelift: see the asm", tile.name))
}

/// Whether tiles are wider than Cranelift's registers.
fn is_wide(kernel: &Kernel) -> bool {
    matches!(kernel.isa, Isa::Avx2 | Isa::Avx512)
}

/// Puts symbols where Cranelift has numbers; for text only.
fn name_symbols(function: &mut Function, kernel: &Kernel, symbol: &str) {
    function.name = UserFuncName::testcase(symbol);
    for (tile, (_, external)) in kernel.tiles.iter().zip(function.dfg.ext_funcs.iter_mut()) {
        external.name = ExternalName::testcase(&tile.name);
    }
}

fn codegen_error(function: &str, reason: String) -> JitError {
    JitError::Codegen { function: function.to_owned(), reason }
}

#[cfg(test)]
mod tests;
