//! Executable memory: machine code in, entry points out.
//!
//! Memory is written first and made executable afterwards, never both at once. It is freed when its [`Code`] is dropped.

use std::sync::Mutex;

use convoke_core::ir::Kernel;
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};

use crate::clif::{Unit, Units};
use crate::error::JitError;
use crate::target::has_feature;

/// The entry point of a nest: `src, weights, bias, dst, scratch, n, lo, hi`. It runs iterations `lo..hi` of the
/// outermost loop; pointers of buffers that the kernel does not have are not used.
pub(crate) type Entry = unsafe extern "C" fn(*const u8, *const u8, *const u8, *mut u8, *mut u8, i64, i64, i64);

/// Bytes of the largest page that a system has by default. What is reserved and not used takes no memory.
const LARGEST_PAGE: usize = 64 << 10;

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
        let memory_error = |bytes: usize, reason: String| JitError::Memory { kernel: kernel.name.clone(), bytes, reason };
        let bytes = units.all.iter().map(|u| u.bytes.len().next_multiple_of(u.align as usize)).sum::<usize>();
        if bytes > limit {
            return Err(JitError::CodeSize { kernel: kernel.name.clone(), bytes, limit });
        }
        // The arena takes whole pages for each function that does not fit what it has.
        let reserve = units.all.iter().map(|u| (u.bytes.len() + u.align as usize).next_multiple_of(LARGEST_PAGE)).sum();
        let arena = ArenaMemoryProvider::new_with_size(reserve).map_err(|e| memory_error(bytes, e.to_string()))?;
        let mut builder = JITBuilder::with_isa(units.isa.clone(), default_libcall_names());
        builder.memory_provider(Box::new(arena));
        let mut code = Self {
            module: Mutex::new(Some(JITModule::new(builder))),
            entries: Vec::with_capacity(units.nests().len()),
            features: units.features,
            bytes,
        };
        code.define(units).map_err(|e| memory_error(bytes, e.to_string()))?;
        code.check_features(&kernel.name)?;
        Ok(code)
    }

    fn define(&mut self, units: &Units) -> Result<(), cranelift_module::ModuleError> {
        let module = self.module.get_mut().unwrap_or_else(|e| e.into_inner());
        let Some(module) = module.as_mut() else { return Ok(()) };
        let mut ids: Vec<FuncId> = Vec::with_capacity(units.all.len());
        for Unit { symbol, signature, .. } in &units.all {
            ids.push(module.declare_function(symbol, Linkage::Local, signature)?);
        }
        for (id, unit) in ids.iter().zip(&units.all) {
            module.define_function_bytes(*id, unit.align, &unit.bytes, &unit.relocs)?;
        }
        module.finalize_definitions()?;
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
    pub(crate) fn check_features(&self, kernel: &str) -> Result<(), JitError> {
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

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("entries", &self.entries.len()).field("bytes", &self.bytes).finish()
    }
}
