//! A tile to a Cranelift function.
//!
//! Vector registers and pointers become variables of Cranelift's front end, which makes the block parameters of the
//! reduction loops from them. Loops count down and test at their end.

use convoke_core::ir::{Access, Address, BinaryOp, Extent, Kernel, Op, Ptr, Reg, Tile, TileLoop, TileStmt};
use convoke_core::spec::{DType, Storage};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, Variable};

use crate::error::JitError;

/// Emits `tile` into the empty function of `builder`, whose parameters are those of `tile_signature`.
pub(super) fn build(
    mut builder: FunctionBuilder<'_>,
    kernel: &Kernel,
    tile: &Tile,
    isa: &dyn TargetIsa,
) -> Result<(), JitError> {
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let parameters = builder.block_params(entry).to_vec();
    let (addresses, bounds) = parameters.split_at(tile.pointers.len());
    let pointers = addresses.iter().map(|&address| {
        let pointer = builder.declare_var(types::I64);
        builder.def_var(pointer, address);
        pointer
    });
    let pointers = pointers.collect();
    let lanes = Lanes::of(kernel.dtype);
    let registers = (0..tile.registers).map(|_| builder.declare_var(lanes.vector)).collect();
    let ranges = bounds.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let index = kernel.tiles.iter().position(|t| t.name == tile.name).unwrap_or_default();
    let storages = kernel.pointer_storages(index);
    let mut emitter = Emitter { builder, tile, lanes, storages, pointers, registers, ranges };
    emitter.body(&tile.body)?;
    emitter.builder.ins().return_(&[]);
    emitter.builder.finalize(isa.frontend_config());
    Ok(())
}

/// The types of one element format.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    element: Type,
    pub(super) vector: Type,
    /// Integers of the same shape.
    pub(super) bits: Type,
    bytes: usize,
    mantissa: i64,
}

impl Lanes {
    fn of(dtype: DType) -> Self {
        let bytes = dtype.bytes();
        match dtype {
            DType::F32 => Self { element: types::F32, vector: types::F32X4, bits: types::I32X4, bytes, mantissa: 23 },
            DType::F64 => Self { element: types::F64, vector: types::F64X2, bits: types::I64X2, bytes, mantissa: 52 },
        }
    }

    pub(super) fn count(&self) -> usize {
        16 / self.bytes
    }
}

pub(super) struct Emitter<'a> {
    pub(super) builder: FunctionBuilder<'a>,
    tile: &'a Tile,
    pub(super) lanes: Lanes,
    /// What each pointer goes to.
    pub(super) storages: Vec<Storage>,
    pointers: Vec<Variable>,
    registers: Vec<Variable>,
    ranges: Vec<(Value, Value)>,
}

impl Emitter<'_> {
    fn body(&mut self, body: &[TileStmt]) -> Result<(), JitError> {
        for (at, stmt) in body.iter().enumerate() {
            match stmt {
                TileStmt::Loop(inner) => self.tile_loop(inner)?,
                TileStmt::Op(op) => self.op(op, &body[at + 1..])?,
            }
        }
        Ok(())
    }

    fn tile_loop(&mut self, l: &TileLoop) -> Result<(), JitError> {
        match l.extent {
            Extent::Count(0) => Ok(()),
            Extent::Count(1) => self.body(&l.body),
            Extent::Count(count) => {
                let count = i64::try_from(count).map_err(|_| self.too_far(Ptr(0), i64::MAX))?;
                let trips = self.builder.ins().iconst(types::I64, count);
                self.repeat(trips, l)?;
                for &(pointer, step) in &l.steps {
                    let back = step.checked_mul(count).and_then(i64::checked_neg);
                    let back = back.ok_or_else(|| self.too_far(pointer, step))?;
                    self.advance(pointer, back)?;
                }
                Ok(())
            }
            Extent::Range(range) => self.range_loop(range as usize, l),
        }
    }

    /// A loop over `lo..hi`, which may be empty.
    fn range_loop(&mut self, range: usize, l: &TileLoop) -> Result<(), JitError> {
        let (lo, hi) = self.ranges[range];
        let before: Vec<(Ptr, Value)> = l.steps.iter().map(|&(p, _)| (p, self.pointer(p))).collect();
        let (some, after) = (self.builder.create_block(), self.builder.create_block());
        let is_some = self.builder.ins().icmp(IntCC::SignedGreaterThan, hi, lo);
        self.builder.ins().brif(is_some, some, &[], after, &[]);
        self.builder.seal_block(some);
        self.builder.switch_to_block(some);
        for &(pointer, step) in &l.steps {
            let step = self.in_bytes(pointer, step)?;
            let skipped = self.builder.ins().imul_imm_s(lo, step);
            let address = self.pointer(pointer);
            let address = self.builder.ins().iadd(address, skipped);
            self.builder.def_var(self.pointers[pointer.0 as usize], address);
        }
        let trips = self.builder.ins().isub(hi, lo);
        self.repeat(trips, l)?;
        self.builder.ins().jump(after, &[]);
        self.builder.seal_block(after);
        self.builder.switch_to_block(after);
        for (pointer, address) in before {
            self.builder.def_var(self.pointers[pointer.0 as usize], address);
        }
        Ok(())
    }

    /// The loop itself, `trips` times, which is at least once. Pointers end one step past the last.
    fn repeat(&mut self, trips: Value, l: &TileLoop) -> Result<(), JitError> {
        let (head, after) = (self.builder.create_block(), self.builder.create_block());
        let left = self.builder.declare_var(types::I64);
        self.builder.def_var(left, trips);
        self.builder.ins().jump(head, &[]);
        self.builder.switch_to_block(head);
        self.body(&l.body)?;
        for &(pointer, step) in &l.steps {
            self.advance(pointer, step)?;
        }
        let now = self.builder.use_var(left);
        let now = self.builder.ins().iadd_imm_s(now, -1);
        self.builder.def_var(left, now);
        self.builder.ins().brif(now, head, &[], after, &[]);
        self.builder.seal_block(head);
        self.builder.seal_block(after);
        self.builder.switch_to_block(after);
        Ok(())
    }

    fn op(&mut self, op: &Op, rest: &[TileStmt]) -> Result<(), JitError> {
        let (d, value) = match *op {
            Op::Const { d, value } => (d, self.constant(value)),
            Op::Load { d, from } if self.is_narrow(from.at) => (d, self.load_narrow(from)?),
            Op::Load { d, from } if self.is_half(from.at) => (d, self.load_half(from)?),
            Op::Load { d, from } => (d, self.load(from)?),
            Op::Pairs { d, from } => (d, self.pairs_of(from)?),
            Op::Quads { d, from } => (d, self.quads_of(from)?),
            Op::Dot4 { .. } | Op::Binary { op: BinaryOp::Products, .. } => {
                let (function, reason) =
                    (self.tile.name.clone(), "bytes are multiplied by wider tiles only".to_owned());
                return Err(JitError::Codegen { function, reason });
            }
            Op::Convert { op, d, a } => {
                let a = self.register(a);
                (d, self.convert(op, a))
            }
            Op::Broadcast { d, from } if self.is_half(from) => (d, self.broadcast_half(from)?),
            Op::Broadcast { d, from } => {
                let element = self.load_element(self.lanes.element, from, 0)?;
                (d, self.builder.ins().splat(self.lanes.vector, element))
            }
            Op::Gather { d, a, from, of } => (d, self.gather(a, from, of)?),
            Op::Fma { d, a, b, c } => {
                let (a, b) = if uses(rest, a) <= uses(rest, b) { (a, b) } else { (b, a) };
                let (a, b, c) = (self.register(a), self.register(b), self.register(c));
                (d, self.builder.ins().fma(a, b, c))
            }
            Op::Binary { op, d, a, b } => {
                let (a, b) = (self.register(a), self.register(b));
                (d, self.binary(op, a, b))
            }
            Op::Select { d, a, b, c, e } => {
                let (a, b, c, e) = (self.register(a), self.register(b), self.register(c), self.register(e));
                (d, self.if_less(b, a, c, e))
            }
            Op::Exponent { d, a } => {
                let a = self.register(a);
                let bits = self.builder.ins().bitcast(self.lanes.bits, bitcast_flags(), a);
                let bits = self.builder.ins().ishl_imm_u(bits, self.lanes.mantissa);
                (d, self.builder.ins().bitcast(self.lanes.vector, bitcast_flags(), bits))
            }
            Op::Sqrt { d, a } => {
                let a = self.register(a);
                (d, self.builder.ins().sqrt(a))
            }
            Op::Scatter { to, count, stride, from, at } => return self.scatter((to, count, stride), from, at),
            // Cranelift has no such instruction.
            Op::Prefetch { .. } => return Ok(()),
            Op::Store { to, s } if self.is_narrow(to.at) => return self.store_narrow(to, s),
            Op::Store { to, s } if self.is_half(to.at) => return self.store_half(to, s),
            Op::Store { to, s } => return self.store(to, s),
        };
        self.builder.def_var(self.registers[d.0 as usize], value);
        Ok(())
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        match op {
            BinaryOp::Add => self.builder.ins().fadd(a, b),
            BinaryOp::Sub => self.builder.ins().fsub(a, b),
            BinaryOp::Mul => self.builder.ins().fmul(a, b),
            BinaryOp::Div => self.builder.ins().fdiv(a, b),
            BinaryOp::Max => self.if_less(b, a, a, b),
            BinaryOp::Min => self.if_less(a, b, a, b),
            BinaryOp::Maximum => {
                let greatest = self.if_less(b, a, a, b);
                let mask = self.builder.ins().fcmp(FloatCC::Unordered, a, a);
                let mask = self.builder.ins().bitcast(self.lanes.vector, bitcast_flags(), mask);
                self.builder.ins().bitselect(mask, a, greatest)
            }
            BinaryOp::AddInt | BinaryOp::Dot | BinaryOp::Join | BinaryOp::Splice | BinaryOp::Products => {
                self.integers(op, a, b)
            }
        }
    }

    /// `if x < y { then } else { otherwise }`, lane by lane. Cranelift knows x86's `min` and `max` in this form.
    pub(super) fn if_less(&mut self, x: Value, y: Value, then: Value, otherwise: Value) -> Value {
        let mask = self.builder.ins().fcmp(FloatCC::LessThan, x, y);
        let mask = self.builder.ins().bitcast(self.lanes.vector, bitcast_flags(), mask);
        self.builder.ins().bitselect(mask, then, otherwise)
    }

    pub(super) fn constant(&mut self, value: f64) -> Value {
        let bytes = match self.lanes.element {
            types::F32 => (value as f32).to_le_bytes().repeat(4),
            _ => value.to_le_bytes().repeat(2),
        };
        let constant = self.builder.func.dfg.constants.insert(ConstantData::from(bytes));
        self.builder.ins().vconst(self.lanes.vector, constant)
    }

    fn load(&mut self, from: Access) -> Result<Value, JitError> {
        let Lanes { element, vector, .. } = self.lanes;
        if from.lanes == self.lanes.count() && from.stride == 1 && from.repeat == 1 {
            return self.load_element(vector, from.at, 0);
        }
        let pairs = self.pairs(from);
        let mut lane = 1 + usize::from(pairs);
        let mut value = if pairs {
            let two = self.load_element(types::F64, from.at, 0)?;
            let two = self.builder.ins().scalar_to_vector(types::F64X2, two);
            self.builder.ins().bitcast(vector, bitcast_flags(), two)
        } else {
            let first = self.load_element(element, from.at, 0)?;
            if from.lanes == self.lanes.count() {
                // Every other lane is replaced below, so none need be cleared.
                self.builder.ins().splat(vector, first)
            } else {
                self.builder.ins().scalar_to_vector(vector, first)
            }
        };
        while lane < from.lanes {
            let distance = self.lane_distance(from, lane)?;
            let next = self.load_element(element, from.at, distance)?;
            value = self.builder.ins().insertlane(value, next, lane as u8);
            lane += 1;
        }
        Ok(value)
    }

    fn store(&mut self, to: Access, s: Reg) -> Result<(), JitError> {
        let value = self.register(s);
        if to.lanes == self.lanes.count() && to.stride == 1 {
            return self.store_value(value, to.at, 0);
        }
        let pairs = self.pairs(to);
        if pairs {
            let twos = self.builder.ins().bitcast(types::F64X2, bitcast_flags(), value);
            let two = self.builder.ins().extractlane(twos, 0);
            self.store_value(two, to.at, 0)?;
        }
        for lane in if pairs { 2 } else { 0 }..to.lanes {
            let element = self.builder.ins().extractlane(value, lane as u8);
            let distance = self.lane_distance(to, lane)?;
            self.store_value(element, to.at, distance)?;
        }
        Ok(())
    }

    /// Whether the first two lanes are eight contiguous bytes.
    fn pairs(&self, access: Access) -> bool {
        self.lanes.bytes == 4 && access.stride == 1 && access.repeat == 1 && access.lanes >= 2
    }

    pub(super) fn lane_distance(&self, access: Access, lane: usize) -> Result<i64, JitError> {
        let distance = access.stride.checked_mul(access.element_of(lane) as i64);
        distance.ok_or_else(|| self.too_far(access.at.ptr, access.stride))
    }

    fn load_element(&mut self, kind: Type, at: Address, distance: i64) -> Result<Value, JitError> {
        let (address, offset) = self.address(at, distance)?;
        Ok(self.builder.ins().load(kind, memory_flags(), address, offset))
    }

    fn store_value(&mut self, value: Value, at: Address, distance: i64) -> Result<(), JitError> {
        let (address, offset) = self.address(at, distance)?;
        self.builder.ins().store(memory_flags(), value, address, offset);
        Ok(())
    }

    /// The address `distance` elements past `at`, as a base and what an instruction can add to it.
    pub(super) fn address(&mut self, at: Address, distance: i64) -> Result<(Value, i32), JitError> {
        let elements = at.offset.checked_add(distance).ok_or_else(|| self.too_far(at.ptr, at.offset))?;
        let bytes = self.in_bytes(at.ptr, elements)?;
        let base = self.pointer(at.ptr);
        match i32::try_from(bytes) {
            Ok(offset) => Ok((base, offset)),
            Err(_) => Ok((self.builder.ins().iadd_imm_s(base, bytes), 0)),
        }
    }

    fn advance(&mut self, pointer: Ptr, elements: i64) -> Result<(), JitError> {
        let bytes = self.in_bytes(pointer, elements)?;
        let address = self.pointer(pointer);
        let address = self.builder.ins().iadd_imm_s(address, bytes);
        self.builder.def_var(self.pointers[pointer.0 as usize], address);
        Ok(())
    }

    fn pointer(&mut self, pointer: Ptr) -> Value {
        self.builder.use_var(self.pointers[pointer.0 as usize])
    }

    pub(super) fn register(&mut self, register: Reg) -> Value {
        self.builder.use_var(self.registers[register.0 as usize])
    }

    fn is_narrow(&self, at: Address) -> bool {
        self.storages[at.ptr.0 as usize].is_narrow()
    }

    fn is_half(&self, at: Address) -> bool {
        self.storages[at.ptr.0 as usize].is_half()
    }

    pub(super) fn element_bytes(&self, pointer: Ptr) -> usize {
        self.storages.get(pointer.0 as usize).map_or(self.lanes.bytes, |storage| storage.bytes())
    }

    pub(super) fn in_bytes(&self, pointer: Ptr, elements: i64) -> Result<i64, JitError> {
        let bytes = self.element_bytes(pointer) as i64;
        elements.checked_mul(bytes).ok_or_else(|| self.too_far(pointer, elements))
    }

    fn too_far(&self, pointer: Ptr, elements: i64) -> JitError {
        let element_bytes = self.element_bytes(pointer);
        JitError::Offset { function: self.tile.name.clone(), elements, element_bytes }
    }
}

/// Loads and stores need no alignment and are proven to stay inside their buffers.
pub(super) fn memory_flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

pub(super) fn bitcast_flags() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

/// How often `register` is read in `rest` before it is written again. x86's multiply-add overwrites its first factor, so
/// the factor that is done with first goes there and need not be copied.
fn uses(rest: &[TileStmt], register: Reg) -> usize {
    let mut count = 0;
    for stmt in rest {
        let TileStmt::Op(op) = stmt else { return count + 1 };
        let (written, read): (Option<Reg>, [Option<Reg>; 4]) = match *op {
            Op::Const { d, .. }
            | Op::Load { d, .. }
            | Op::Pairs { d, .. }
            | Op::Quads { d, .. }
            | Op::Broadcast { d, .. } => (Some(d), [None; 4]),
            Op::Gather { d, a, .. } => (Some(d), [Some(a), None, None, None]),
            Op::Fma { d, a, b, c } | Op::Dot4 { d, a, b, c } => (Some(d), [Some(a), Some(b), Some(c), None]),
            Op::Binary { d, a, b, .. } => (Some(d), [Some(a), Some(b), None, None]),
            Op::Select { d, a, b, c, e } => (Some(d), [Some(a), Some(b), Some(c), Some(e)]),
            Op::Exponent { d, a } | Op::Sqrt { d, a } | Op::Convert { d, a, .. } => {
                (Some(d), [Some(a), None, None, None])
            }
            Op::Store { s, .. } => (None, [Some(s), None, None, None]),
            Op::Scatter { .. } | Op::Prefetch { .. } => (None, [None; 4]),
        };
        count += read.iter().filter(|r| **r == Some(register)).count();
        if written == Some(register) {
            return count;
        }
    }
    count
}
