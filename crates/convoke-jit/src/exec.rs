//! Executable memory: machine code in, entry points out.
//!
//! Memory is written first and made executable afterwards, never both at once. It is freed when its [`Code`] is dropped.

use std::sync::Mutex;

use convoke_core::ir::Kernel;
use cranelift_jit::{BranchProtection, JITBuilder, JITMemoryKind, JITMemoryProvider, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleError, ModuleResult, default_libcall_names};
use memmap2::{Mmap, MmapMut};

use crate::clif::{Unit, Units};
use crate::error::JitError;
use crate::target::has_feature;

/// The entry point of a nest: the buffers in the order of [`Role::ALL`](convoke_core::ir::Role::ALL), then `n, lo, hi`. It runs iterations
/// `lo..hi` of the outermost loop; pointers of buffers that the kernel does not have are not used.
pub(crate) type Entry = unsafe extern "C" fn(
    *const u8,
    *const u8,
    *const u8,
    *const u8,
    *const u8,
    *const u8,
    *const u8,
    *mut u8,
    *mut u8,
    *mut u8,
    *mut u8,
    i64,
    i64,
    i64,
);

/// Code in executable memory.
pub(crate) struct Code {
    /// Taken only when dropped. The lock makes the module `Sync`; nothing takes it while the code runs.
    module: Mutex<Option<JITModule>>,
    entries: Vec<Entry>,
    features: &'static [&'static str],
    bytes: usize,
}

impl Code {
    /// Places `units` and resolves their calls of each other.
    pub(crate) fn load(kernel: &Kernel, units: &Units, limit: usize) -> Result<Self, JitError> {
        let memory_error =
            |bytes: usize, reason: String| JitError::Memory { kernel: kernel.name.clone(), bytes, reason };
        let bytes = units.all.iter().map(|u| u.bytes.len().next_multiple_of(u.align as usize)).sum::<usize>();
        if bytes > limit {
            return Err(JitError::CodeSize { kernel: kernel.name.clone(), bytes, limit });
        }
        let slack = units.all.iter().map(|u| u.align as usize).sum::<usize>();
        let region = Region::new(bytes + slack).map_err(|e| memory_error(bytes, e.to_string()))?;
        let mut builder = JITBuilder::with_isa(units.isa.clone(), default_libcall_names());
        builder.memory_provider(Box::new(region));
        let mut code = Self {
            module: Mutex::new(Some(JITModule::new(builder))),
            entries: Vec::with_capacity(units.nests().len()),
            features: units.features,
            bytes,
        };
        code.define(units).map_err(|reason| memory_error(bytes, reason))?;
        code.check_features(&kernel.name)?;
        Ok(code)
    }

    fn define(&mut self, units: &Units) -> Result<(), String> {
        let module = self.module.get_mut().unwrap_or_else(|e| e.into_inner());
        let Some(module) = module.as_mut() else { return Ok(()) };
        let mut ids: Vec<FuncId> = Vec::with_capacity(units.all.len());
        for Unit { symbol, signature, .. } in &units.all {
            ids.push(module.declare_function(symbol, Linkage::Local, signature).map_err(|e| e.to_string())?);
        }
        for (id, unit) in ids.iter().zip(&units.all) {
            let defined = module.define_function_bytes(*id, unit.align, &unit.bytes, &unit.relocs);
            defined.map_err(|e| e.to_string())?;
        }
        module.finalize_definitions().map_err(|e| e.to_string())?;
        for id in &ids[units.tiles..] {
            let address = module.get_finalized_function(*id);
            // SAFETY: every unit after the tiles is a nest, compiled with the C calling convention of this machine and
            // the parameters of `Entry`; the address is that of its first instruction.
            self.entries.push(unsafe { std::mem::transmute::<*const u8, Entry>(address) });
        }
        Ok(())
    }

    /// One entry point a nest.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of code and constants.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether this CPU can run the code.
    fn check_features(&self, kernel: &str) -> Result<(), JitError> {
        match self.features.iter().find(|f| !has_feature(f)) {
            Some(feature) => Err(JitError::Feature { kernel: kernel.to_owned(), feature }),
            None => Ok(()),
        }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        if let Some(module) = self.module.get_mut().unwrap_or_else(|e| e.into_inner()).take() {
            // SAFETY: entry points are reachable only through this value, and calls borrow it, so none is running and
            // none will be made.
            unsafe { module.free_memory() };
        }
    }
}

/// One piece of memory for all functions of a kernel, so that their calls of each other reach: writable, then executable.
struct Region {
    pages: Pages,
    used: usize,
}

enum Pages {
    Writable(MmapMut),
    /// Kept for its `Drop`, which gives the memory back.
    Executable(#[expect(dead_code)] Mmap),
    Freed,
}

impl Region {
    fn new(bytes: usize) -> std::io::Result<Self> {
        Ok(Self { pages: Pages::Writable(MmapMut::map_anon(bytes.max(1))?), used: 0 })
    }
}

impl JITMemoryProvider for Region {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> std::io::Result<*mut u8> {
        let (Pages::Writable(pages), JITMemoryKind::Executable) = (&mut self.pages, kind) else {
            return Err(std::io::Error::other("only code, and only before it is finished, has a place here"));
        };
        // Pages are aligned for any function, so an aligned distance gives an aligned address.
        let start = self.used.next_multiple_of(align as usize);
        let end = start.saturating_add(size);
        let place =
            pages.get_mut(start..end).ok_or_else(|| std::io::Error::other("the code is longer than was said"))?;
        self.used = end;
        Ok(place.as_mut_ptr())
    }

    unsafe fn free_memory(&mut self) {
        self.pages = Pages::Freed;
    }

    fn finalize(&mut self, _: BranchProtection) -> ModuleResult<()> {
        if let Pages::Writable(pages) = std::mem::replace(&mut self.pages, Pages::Freed) {
            let backend = |e: std::io::Error| ModuleError::Backend(e.into());
            flush_instructions(&pages).map_err(backend)?;
            self.pages = Pages::Executable(pages.make_exec().map_err(backend)?);
        }
        Ok(())
    }
}

/// Makes what was written visible to instruction fetch, on processors that do not do so themselves.
#[cfg(target_arch = "aarch64")]
fn flush_instructions(pages: &MmapMut) -> std::io::Result<()> {
    let failed = |e| std::io::Error::other(format!("{e:?}"));
    // SAFETY: the range is that of a live mapping.
    unsafe { icache::clear_cache(pages.as_ptr().cast(), pages.len()) }.map_err(failed)?;
    icache::pipeline_flush_mt().map_err(failed)
}

#[cfg(not(target_arch = "aarch64"))]
fn flush_instructions(_: &MmapMut) -> std::io::Result<()> {
    Ok(())
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("entries", &self.entries.len()).field("bytes", &self.bytes).finish()
    }
}
