//! A loop nest to a Cranelift function, the entry point of the nest.

use convoke_core::ir::{Call, Kernel, Loop, Role, Stmt};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{FuncRef, InstBuilder, Value, types};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::FunctionBuilder;

use super::affine::{Base, Index, Scope};
use crate::error::JitError;

/// How many parameters an entry point has: the buffers, the batch size, `lo` and `hi`.
pub(super) const PARAMETERS: usize = Role::ALL.len() + 3;

/// Emits nest `index` of `kernel` into the empty function of `builder`.
pub(super) fn build(
    mut builder: FunctionBuilder<'_>,
    kernel: &Kernel,
    index: usize,
    isa: &dyn TargetIsa,
) -> Result<(), JitError> {
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let parameters: [Value; PARAMETERS] = std::array::from_fn(|at| builder.block_params(entry)[at]);
    let (buffers, rest) = parameters.split_at(Role::ALL.len());
    let (buffers, [batch, lo, hi]) = (std::array::from_fn(|at| buffers[at]), [rest[0], rest[1], rest[2]]);
    let tiles = super::import_tiles(&mut builder, kernel, isa);
    let scope = Scope::new(batch, buffers);
    let bytes = Role::ALL.map(|role| kernel.storage(role).bytes() as i64);
    let mut emitter = Emitter { builder, scope, tiles, bytes };
    let outer = &kernel.nests[index].outer;
    check_offsets(&super::nest_symbol(kernel, index), outer, kernel.dtype.bytes() as i64)?;
    emitter.prepare(&outer.body);
    emitter.counted(outer, lo, hi);
    emitter.builder.ins().return_(&[]);
    emitter.builder.finalize(isa.frontend_config());
    Ok(())
}

struct Emitter<'a> {
    builder: FunctionBuilder<'a>,
    scope: Scope,
    tiles: Vec<FuncRef>,
    /// Of an element of each buffer.
    bytes: [i64; Role::ALL.len()],
}

impl Emitter<'_> {
    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Call(call) => self.call(call),
            Stmt::For(inner) => match self.scope.known_range(&inner.range) {
                Some((lo, hi)) if hi <= lo => {}
                Some((lo, hi)) if lo.checked_add(1) == Some(hi) => self.once(inner, lo),
                _ => {
                    let (lo, hi) = self.scope.range(&mut self.builder, &inner.range);
                    self.counted(inner, lo, hi);
                }
            },
        }
    }

    /// The body for the one value that the variable has.
    fn once(&mut self, l: &Loop, value: i64) {
        self.scope.enter(l.var, Index::Known(value));
        self.prepare(&l.body);
        l.body.iter().for_each(|stmt| self.stmt(stmt));
        self.scope.leave();
    }

    fn counted(&mut self, l: &Loop, lo: Value, hi: Value) {
        let (head, after) = (self.builder.create_block(), self.builder.create_block());
        let var = self.builder.append_block_param(head, types::I64);
        let is_some = self.builder.ins().icmp(IntCC::SignedLessThan, lo, hi);
        self.builder.ins().brif(is_some, head, &[lo.into()], after, &[]);
        self.builder.switch_to_block(head);
        self.scope.enter(l.var, Index::Run(var));
        self.prepare(&l.body);
        l.body.iter().for_each(|stmt| self.stmt(stmt));
        self.scope.leave();
        let next = self.builder.ins().iadd_imm_s(var, 1);
        let is_more = self.builder.ins().icmp(IntCC::SignedLessThan, next, hi);
        self.builder.ins().brif(is_more, head, &[next.into()], after, &[]);
        self.builder.seal_block(head);
        self.builder.seal_block(after);
        self.builder.switch_to_block(after);
    }

    /// Computes here what the calls and loops inside `body` need and what is known already.
    fn prepare(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::For(inner) => {
                    self.scope.prepare_range(&mut self.builder, &inner.range);
                    self.prepare(&inner.body);
                }
                Stmt::Call(call) => {
                    for arg in &call.args {
                        self.scope.prepare(
                            &mut self.builder,
                            Base::Buffer(arg.role),
                            &arg.offset,
                            self.bytes[arg.role as usize],
                        );
                    }
                    for range in &call.ranges {
                        self.scope.prepare_range(&mut self.builder, range);
                    }
                }
            }
        }
    }

    fn call(&mut self, call: &Call) {
        let mut values = Vec::with_capacity(call.args.len() + 2 * call.ranges.len());
        for arg in &call.args {
            let base = Base::Buffer(arg.role);
            values.push(self.scope.value(&mut self.builder, base, &arg.offset, self.bytes[arg.role as usize]));
        }
        for range in &call.ranges {
            let (lo, hi) = self.scope.range(&mut self.builder, range);
            values.extend([lo, hi]);
        }
        self.builder.ins().call(self.tiles[call.tile], &values);
    }
}

/// Refuses offsets that do not fit 64 bits when counted in bytes.
fn check_offsets(symbol: &str, l: &Loop, bytes: i64) -> Result<(), JitError> {
    for stmt in &l.body {
        match stmt {
            Stmt::For(inner) => check_offsets(symbol, inner, bytes)?,
            Stmt::Call(call) => {
                let offsets = call.args.iter().map(|arg| &arg.offset);
                let numbers = offsets.flat_map(|o| o.terms.iter().map(|t| t.1).chain([o.constant]));
                if let Some(elements) = numbers.into_iter().find(|n| n.checked_mul(bytes).is_none()) {
                    let (function, element_bytes) = (symbol.to_owned(), bytes as usize);
                    return Err(JitError::Offset { function, elements, element_bytes });
                }
            }
        }
    }
    Ok(())
}
