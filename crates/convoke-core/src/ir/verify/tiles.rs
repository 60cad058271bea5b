//! The rules of a tile alone, and what it does to memory.

use super::{MAX_TILE_DEPTH, VerifyError, check_number};
use crate::ir::{Access, Address, BinaryOp, Extent, Kernel, Op, Ptr, Reg, Tile, TileLoop, TileStmt};
use crate::spec::{DType, PAIR, QUAD, Storage};
use crate::target::Isa;

/// The accesses of a tile that differ in their constant distance alone.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Position of the pointer.
    pub(super) pointer: usize,
    pub(super) stores: bool,
    pub(super) lanes: usize,
    pub(super) stride: i64,
    /// The loops around, outermost first: how often, and how far the pointer moves each time.
    pub(super) loops: Vec<(Extent, i64)>,
    /// Which run of the innermost loop's body this is; groups of one place share it.
    place: usize,
    /// The distances, in the order of the program.
    pub(super) offsets: Vec<i64>,
}

/// What a call needs to know of a tile.
#[derive(Clone, Debug)]
pub(super) struct Footprint {
    /// What each pointer goes to.
    pub(super) storages: Vec<Storage>,
    pub(super) groups: Vec<Group>,
}

/// Checks `tile` and collects its accesses.
pub(super) fn check(kernel: &Kernel, index: usize, tile: &Tile) -> Result<Footprint, VerifyError> {
    let limit = registers_of(kernel.isa);
    if tile.registers > limit {
        let (tile, registers) = (tile.name.clone(), tile.registers);
        return Err(VerifyError::Registers { tile, registers, isa: kernel.isa, limit });
    }
    let storages = kernel.pointer_storages(index);
    let mut checker = Checker { kernel, tile, storages, open: Vec::new(), places: 0, dead: false, groups: Vec::new() };
    let mut defined = vec![false; tile.registers];
    checker.block(&tile.body, 0, &mut defined)?;
    Ok(Footprint { storages: checker.storages, groups: checker.groups })
}

/// Whether an instruction set multiplies bytes.
fn has_bytes(isa: Isa) -> bool {
    matches!(isa, Isa::Avx512 | Isa::Avx2)
}

/// Vector registers of an instruction set.
fn registers_of(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 | Isa::Neon => 32,
        Isa::Avx2 | Isa::Sse | Isa::Portable => 16,
    }
}

struct Checker<'k> {
    kernel: &'k Kernel,
    tile: &'k Tile,
    /// What each pointer goes to.
    storages: Vec<Storage>,
    open: Vec<&'k TileLoop>,
    places: usize,
    /// Within a loop that runs zero times; its accesses never happen.
    dead: bool,
    groups: Vec<Group>,
}

impl<'k> Checker<'k> {
    fn name(&self) -> String {
        self.tile.name.clone()
    }

    fn block(&mut self, body: &'k [TileStmt], place: usize, defined: &mut Vec<bool>) -> Result<(), VerifyError> {
        for stmt in body {
            match stmt {
                TileStmt::Loop(l) => self.repeat(l, defined)?,
                TileStmt::Op(op) => self.op(op, place, defined)?,
            }
        }
        Ok(())
    }

    fn repeat(&mut self, l: &'k TileLoop, defined: &mut Vec<bool>) -> Result<(), VerifyError> {
        if self.open.len() >= MAX_TILE_DEPTH {
            let (what, depth) = ("tile", self.open.len() + 1);
            return Err(VerifyError::Depth { what, name: self.name(), depth, limit: MAX_TILE_DEPTH });
        }
        let runs = match l.extent {
            Extent::Count(n) => {
                check_number("a loop's count", n.into())?;
                n > 0
            }
            Extent::Range(range) => {
                self.parameter("range", range, self.tile.ranges.len())?;
                false
            }
        };
        for (i, &(ptr, step)) in l.steps.iter().enumerate() {
            self.pointer(ptr)?;
            check_number("a step", step.into())?;
            if l.steps[..i].iter().any(|s| s.0 == ptr) {
                let pointer = self.tile.pointers[ptr.0 as usize].clone();
                return Err(VerifyError::MovedTwice { tile: self.name(), pointer });
            }
        }
        let outer_dead = self.dead;
        self.dead |= l.extent == Extent::Count(0);
        self.open.push(l);
        self.places += 1;
        let place = self.places;
        if runs {
            self.block(&l.body, place, defined)?;
        } else {
            self.block(&l.body, place, &mut defined.clone())?;
        }
        self.open.pop();
        self.dead = outer_dead;
        Ok(())
    }

    fn op(&mut self, op: &Op, place: usize, defined: &mut [bool]) -> Result<(), VerifyError> {
        let d = match *op {
            Op::Const { d, .. } => d,
            Op::Load { d, from } => {
                self.narrow("repeats", from.at, from.repeat > 1)?;
                self.access(from, false, place)?;
                d
            }
            Op::Pairs { d, from } | Op::Quads { d, from } => {
                self.integers("pairs")?;
                let count = if matches!(op, Op::Pairs { .. }) { PAIR } else { QUAD };
                let is = |s: &Storage| s.is_narrow() && (count == PAIR || *s == Storage::U8);
                let is_narrow = self.storages.get(from.at.ptr.0 as usize).is_some_and(is);
                if !is_narrow || from.stride != 1 || from.repeat != 1 {
                    return Err(VerifyError::Pairs { tile: self.name() });
                }
                if from.lanes == 0 || from.lanes > self.kernel.lanes() {
                    let limit = self.kernel.lanes();
                    return Err(VerifyError::Lanes { tile: self.name(), lanes: from.lanes, limit });
                }
                self.elements(from, count * from.lanes, false, place)?;
                d
            }
            Op::Convert { op, d, a } => {
                self.integers(op.name())?;
                self.uses(&[a], defined)?;
                d
            }
            Op::Broadcast { d, from } => {
                self.narrow("broadcasts", from, true)?;
                self.access(Access { at: from, lanes: 1, stride: 1, repeat: 1 }, false, place)?;
                d
            }
            Op::Gather { d, a, from, of } => {
                self.integers("gather")?;
                self.uses(&[a], defined)?;
                let whole =
                    self.storages.get(from.ptr.0 as usize).is_none_or(|s| s.bytes() == self.kernel.dtype.bytes());
                let why = match (whole, of, d == a) {
                    (false, ..) => "from a buffer of another type than lanes",
                    (_, 0, _) => "of no elements",
                    (_, _, true) => "which its integers are in",
                    _ => "",
                };
                if !why.is_empty() {
                    return Err(VerifyError::Gather { tile: self.name(), register: d.0, why });
                }
                self.elements(Access { at: from, lanes: 1, stride: 1, repeat: 1 }, of as usize, false, place)?;
                d
            }
            Op::Fma { d, a, b, c } => {
                if !self.kernel.fma {
                    return Err(VerifyError::Fma { tile: self.name() });
                }
                self.uses(&[a, b, c], defined)?;
                d
            }
            Op::Dot4 { d, a, b, c } => {
                self.integers("dot4")?;
                if !self.kernel.vnni {
                    return Err(VerifyError::Bytes { tile: self.name(), what: "dot4" });
                }
                self.uses(&[a, b, c], defined)?;
                d
            }
            Op::Binary { op, d, a, b } => {
                if op == BinaryOp::Products && !has_bytes(self.kernel.isa) {
                    return Err(VerifyError::Bytes { tile: self.name(), what: "products" });
                }
                if op.is_integer() {
                    self.integers(BinaryOp::name(op))?;
                }
                self.uses(&[a, b], defined)?;
                d
            }
            Op::Select { d, a, b, c, e } => {
                self.uses(&[a, b, c, e], defined)?;
                d
            }
            Op::Exponent { d, a } | Op::Sqrt { d, a } => {
                self.uses(&[a], defined)?;
                d
            }
            Op::Scatter { to, count, stride, from, at } => return self.scatter((to, count, stride), from, at, place),
            Op::Prefetch { at } => {
                self.pointer(at.ptr)?;
                return check_number("an offset", at.offset.into());
            }
            Op::Store { to, s } => {
                self.uses(&[s], defined)?;
                return self.access(to, true, place);
            }
        };
        match defined.get_mut(d.0 as usize) {
            Some(slot) => *slot = true,
            None => return Err(self.no_register(d)),
        }
        Ok(())
    }

    /// Refuses `what` unless lanes have 32 bits.
    fn integers(&self, what: &'static str) -> Result<(), VerifyError> {
        let ok = self.kernel.dtype == DType::F32;
        if ok { Ok(()) } else { Err(VerifyError::Integers { tile: self.name(), what }) }
    }

    /// Refuses `what` of a narrow buffer, and integers of 32 bits in another kernel than one of `f32`.
    fn narrow(&self, what: &'static str, at: Address, is_what: bool) -> Result<(), VerifyError> {
        match self.storages.get(at.ptr.0 as usize) {
            Some(storage) if storage.is_narrow() && is_what => Err(VerifyError::Narrow { tile: self.name(), what }),
            Some(Storage::I32) if self.kernel.dtype != DType::F32 => {
                Err(VerifyError::Integers { tile: self.name(), what: "a load of them" })
            }
            _ => Ok(()),
        }
    }

    fn no_register(&self, register: Reg) -> VerifyError {
        VerifyError::NoRegister { tile: self.name(), register: register.0, registers: self.tile.registers }
    }

    fn uses(&self, registers: &[Reg], defined: &[bool]) -> Result<(), VerifyError> {
        for &register in registers {
            match defined.get(register.0 as usize) {
                Some(true) => {}
                Some(false) => return Err(VerifyError::Undefined { tile: self.name(), register: register.0 }),
                None => return Err(self.no_register(register)),
            }
        }
        Ok(())
    }

    fn parameter(&self, what: &'static str, index: u32, count: usize) -> Result<(), VerifyError> {
        let ok = (index as usize) < count;
        if ok { Ok(()) } else { Err(VerifyError::NoParameter { tile: self.name(), what, index, count }) }
    }

    fn pointer(&self, ptr: Ptr) -> Result<(), VerifyError> {
        self.parameter("pointer", ptr.0, self.tile.pointers.len())
    }

    fn access(&mut self, access: Access, stores: bool, place: usize) -> Result<(), VerifyError> {
        let Access { at: Address { ptr, offset }, lanes, stride, repeat } = access;
        self.pointer(ptr)?;
        check_number("an offset", offset.into())?;
        check_number("a stride", stride.into())?;
        let limit = self.kernel.lanes();
        if lanes == 0 || lanes > limit {
            return Err(VerifyError::Lanes { tile: self.name(), lanes, limit });
        }
        if stride < 1 {
            return Err(VerifyError::Stride { tile: self.name(), stride });
        }
        if repeat == 0 {
            return Err(VerifyError::Repeat { tile: self.name(), repeat });
        }
        if repeat > 1 && stores {
            return Err(VerifyError::StoreRepeat { tile: self.name(), repeat });
        }
        // What lanes share is accessed once.
        self.elements(access, access.elements(), stores, place)
    }

    /// A store to any of the elements that an index can be of, and two loads.
    fn scatter(
        &mut self,
        (to, count, stride): (Address, u64, i64),
        from: Address,
        at: Address,
        place: usize,
    ) -> Result<(), VerifyError> {
        for pointer in [to.ptr, from.ptr, at.ptr] {
            self.pointer(pointer)?;
        }
        check_number("a stride", stride.into())?;
        if stride < 1 {
            return Err(VerifyError::Stride { tile: self.name(), stride });
        }
        if count == 0 || count > i32::MAX as u64 {
            return Err(VerifyError::ScatterCount { tile: self.name(), count });
        }
        let of = |address: Address| self.storages.get(address.ptr.0 as usize).copied().unwrap_or(Storage::F64);
        if of(to) != of(from) || of(at) != Storage::I32 {
            let [to, from, at] = [of(to), of(from), of(at)].map(Storage::name);
            return Err(VerifyError::ScatterStorage { tile: self.name(), to, from, at });
        }
        let one = |at: Address| Access { at, lanes: 1, stride: 1, repeat: 1 };
        self.elements(one(from), 1, false, place)?;
        self.elements(one(at), 1, false, place)?;
        self.elements(Access { stride, ..one(to) }, count as usize, true, place)
    }

    /// Takes note of an access to `lanes` elements.
    fn elements(&mut self, access: Access, lanes: usize, stores: bool, place: usize) -> Result<(), VerifyError> {
        let Access { at: Address { ptr, offset }, stride, .. } = access;
        self.pointer(ptr)?;
        check_number("an offset", offset.into())?;
        if self.dead {
            return Ok(());
        }
        let pointer = ptr.0 as usize;
        let stride = if lanes == 1 { 1 } else { stride };
        let key = (place, pointer, stores, lanes, stride);
        let same = |g: &&mut Group| (g.place, g.pointer, g.stores, g.lanes, g.stride) == key;
        if let Some(group) = self.groups.iter_mut().find(same) {
            group.offsets.push(offset);
            return Ok(());
        }
        let step = |l: &&TileLoop| l.steps.iter().find(|s| s.0 == ptr).map_or(0, |s| s.1);
        let loops = self.open.iter().map(|l| (l.extent, step(l))).collect();
        self.groups.push(Group { pointer, stores, lanes, stride, loops, place, offsets: vec![offset] });
        Ok(())
    }
}
