//! The intermediate representation: loops whose leaves call tiles.
//!
//! A [`Kernel`] has two levels. **Nests** are `for` loops with affine bounds; their leaves call **tiles** with
//! one offset a pointer. A [`Tile`] is a vector program over named registers: straight code and reduction
//! loops that move its pointers.
//!
//! # What it means
//! - Sizes and offsets count *elements* of the buffer that they speak of.
//! - Lanes have the bits of the kernel's dtype. A buffer holds elements of a [`Storage`] of its own: those of the kernel's dtype and
//!   `i32` are a lane's bits; `u8` and `i8` become the integer of 32 bits of the same value when they are loaded, and the nearest value
//!   that the type holds is stored of such an integer. `f16` and `bf16` become the `f32` of the same value, and the nearest is stored of
//!   that: of two the even one, subnormal numbers as they are, infinity for what is too great, a NaN for a NaN.
//! - Nests run one after the other; each may use what the ones before it wrote.
//! - `local` belongs to one iteration of a nest's outermost loop: what is in it when an iteration starts means nothing, so
//!   none sees what another left there. Iterations that run at the same time have one each.
//! - A tile is called with an offset a pointer and `lo..hi` a range. A tile loop over range `r` with step `s` for
//!   pointer `p` runs its body for `i = lo, …, hi - 1` with `p` moved by `i * s` (so the offset passed by
//!   the call is that of `i = 0`, which may lie outside the buffer). A constant loop counts from 0. When a loop
//!   ends its pointers are where they were before it. `hi <= lo` runs nothing.
//! - Every operation works on all lanes. `load` with `lanes` fewer than the kernel's fills the rest with 0; `store`
//!   with fewer leaves the rest of memory alone. `stride` is the distance of two lanes in memory; a `load` with `repeat r`
//!   puts each element into `r` lanes, one after the other.
//! - `fma` rounds once; `mul`, `add`, `sub` and `div` round each; `max a, b` is `if a > b { a } else { b }` and
//!   `min a, b` is `if a < b { a } else { b }` (so a NaN in `b` goes through); `maximum a, b` is `max a, b` where `a` is a number, and
//!   `a` where it is a NaN (so a NaN in either goes through); `select a, b, c, d` is `if a > b { c } else { d }`.
//! - Integers of 32 bits, in kernels of `f32`: `iadd a, b` wraps; `dot a, b` takes each lane as two integers of 16 bits and is the sum
//!   of the two products; `join a, b` is the lower 16 bits of `a` and, above them, those of `b`; `pairs` loads two neighbouring elements
//!   of `u8` or `i8` into each lane, as integers of 16 bits, `quads` four of `u8` as they are; `splice a, b` is `a | b << 8`. Of four bytes a
//!   lane, those of the first operand from 0 to 255, those of the second from -128 to 127, `products a, b` is the sums of the first two and of
//!   the last two products, as integers of 16 bits that saturate, and `dot4 a, b, c` all four products and `c`; `float a` is the nearest `f32`, `int a` the nearest integer, of
//!   two the even one, and -2^31 for what is none.
//! - `gather` loads into each lane the element that is as far from an address as the integer in that lane of a register says; 0 for an
//!   integer below 0, or of `of` and more, so that nothing outside of so many elements is touched. In kernels of `f32`, from
//!   buffers of lanes.
//! - `scatter to count n stride s = from at p` copies one element, as it is: from `from` to the element `s * min(p, n - 1)` past `to`, where
//!   `p` is the integer of 32 bits at that place, taken without a sign; so one that is negative is too great.
//! - `prefetch` asks for the cache line of an element, which need not be in its buffer: it reads nothing and never faults. A backend
//!   may leave it out.
//! - `sqrt a` rounds once, and is a NaN below zero.
//! - `exponent a` shifts the bits of each lane left by the width of the mantissa (23 or 52).
//! - Nothing flushes denormals; nothing may reorder a sum. Which NaN an operation gives, its sign and payload, is left to the machine.

mod parse;
mod print;
mod verify;

pub use parse::ParseKernelError;
pub use verify::{MAX_NEST_DEPTH, MAX_NUMBER, MAX_TILE_DEPTH, VerifyError, verify};

use crate::spec::{DType, Storage};
use crate::target::Isa;

/// One layer, ready for a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// `{algorithm}_{dtype}_{isa}_{tile}`, like `direct_f32_avx512_oc32x14`.
    pub name: String,
    /// What a lane of a register is.
    pub dtype: DType,
    /// Instruction set the tiles are written for; says how many lanes a register has.
    pub isa: Isa,
    /// Whether the tiles contain fused multiply-adds.
    pub fma: bool,
    /// Whether the tiles contain dot products of bytes that are one instruction.
    pub vnni: bool,
    /// The buffers, in the order in which an entry point takes them.
    pub buffers: Vec<Buffer>,
    /// Names of the index variables; [`Var`] counts into this. Variable 0 is the batch size `N`.
    pub vars: Vec<String>,
    /// The tiles that nests call.
    pub tiles: Vec<Tile>,
    /// Loop nests, run in this order.
    pub nests: Vec<Nest>,
}

impl Kernel {
    /// Elements a vector register.
    pub fn lanes(&self) -> usize {
        self.isa.vector_bytes() / self.dtype.bytes()
    }

    /// What the elements of `role` are; the kernel's dtype if it has no such buffer.
    pub fn storage(&self, role: Role) -> Storage {
        self.buffers.iter().find(|b| b.role == role).map_or(self.dtype.storage(), |b| b.storage)
    }

    /// Whether every buffer holds lanes as they are in registers.
    pub fn is_uniform(&self) -> bool {
        self.buffers.iter().all(|b| b.storage == self.dtype.storage())
    }

    /// What the elements are that each pointer of tile number `tile` goes to: those of the buffers that the first call passes.
    pub fn pointer_storages(&self, tile: usize) -> Vec<Storage> {
        fn first(body: &[Stmt], tile: usize) -> Option<&Call> {
            body.iter().find_map(|stmt| match stmt {
                Stmt::For(l) => first(&l.body, tile),
                Stmt::Call(call) => (call.tile == tile).then_some(call),
            })
        }
        match self.nests.iter().find_map(|nest| first(&nest.outer.body, tile)) {
            Some(call) => call.args.iter().map(|arg| self.storage(arg.role)).collect(),
            None => vec![self.dtype.storage(); self.tiles.get(tile).map_or(0, |tile| tile.pointers.len())],
        }
    }
}

/// Memory that a kernel reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Which one.
    pub role: Role,
    /// What an element is.
    pub storage: Storage,
    /// Elements, as a function of the batch size ([`Var::BATCH`]) alone; of `local`, a number.
    pub len: Affine,
}

/// What a buffer is for; a kernel has at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The input; read only.
    Src,
    /// The packed weights; read only.
    Weights,
    /// The bias, and whatever else there is one of for each output channel; read only.
    Bias,
    /// What is added to the output, as long as it; read only.
    Residual,
    /// How far each tap of a deformable layer is moved, at each output; read only.
    Offset,
    /// The factor of each tap of a deformable layer, at each output; read only.
    Mask,
    /// Where in its plane of the output each element of the input goes; read only.
    Positions,
    /// The output; every element is written, and read only by nests behind one that writes it.
    Dst,
    /// Where in its plane of the input each element of the output is; the same.
    Indices,
    /// Space between nests; its contents on entry mean nothing.
    Scratch,
    /// Space of one iteration of a nest's outermost loop; its contents when an iteration starts mean nothing.
    Local,
}

impl Role {
    /// Every role, in the order of an entry point's arguments.
    pub const ALL: [Self; 11] = [
        Self::Src,
        Self::Weights,
        Self::Bias,
        Self::Residual,
        Self::Offset,
        Self::Mask,
        Self::Positions,
        Self::Dst,
        Self::Indices,
        Self::Scratch,
        Self::Local,
    ];

    /// `src`, `weights`, `bias`, `residual`, `offset`, `mask`, `positions`, `dst`, `indices`, `scratch` or `local`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Src => "src",
            Self::Weights => "weights",
            Self::Bias => "bias",
            Self::Residual => "residual",
            Self::Offset => "offset",
            Self::Mask => "mask",
            Self::Positions => "positions",
            Self::Dst => "dst",
            Self::Indices => "indices",
            Self::Scratch => "scratch",
            Self::Local => "local",
        }
    }

    /// Whether a kernel may store to it.
    pub const fn is_written(self) -> bool {
        matches!(self, Self::Dst | Self::Indices | Self::Scratch | Self::Local)
    }

    /// Whether it is an output: every element is written, and read only by nests behind one that writes it.
    pub const fn is_output(self) -> bool {
        matches!(self, Self::Dst | Self::Indices)
    }
}

/// An index variable: a position in [`Kernel::vars`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Var(pub u32);

impl Var {
    /// The batch size, an argument of every entry point.
    pub const BATCH: Self = Self(0);
}

/// `constant + sum of factor * var`. Terms are sorted by variable, each once, no factor is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affine {
    /// The variables and their factors.
    pub terms: Vec<(Var, i64)>,
    /// What does not vary.
    pub constant: i64,
}

impl Affine {
    /// A number.
    pub const fn constant(constant: i64) -> Self {
        Self { terms: Vec::new(), constant }
    }

    /// `factor * var`.
    pub fn var(var: Var, factor: i64) -> Self {
        Self::default().plus(var, factor)
    }

    /// `self + factor * var`.
    #[must_use]
    pub fn plus(mut self, var: Var, factor: i64) -> Self {
        match self.terms.binary_search_by_key(&var, |t| t.0) {
            Ok(at) => {
                self.terms[at].1 += factor;
                if self.terms[at].1 == 0 {
                    self.terms.remove(at);
                }
            }
            Err(at) if factor != 0 => self.terms.insert(at, (var, factor)),
            Err(_) => {}
        }
        self
    }

    /// `self + constant`.
    #[must_use]
    pub fn offset(mut self, constant: i64) -> Self {
        self.constant += constant;
        self
    }

    /// `self + factor * other`.
    #[must_use]
    pub fn plus_scaled(mut self, other: &Self, factor: i64) -> Self {
        for &(var, f) in &other.terms {
            self = self.plus(var, f * factor);
        }
        self.offset(other.constant * factor)
    }

    /// The factor of `var`, 0 if it does not occur.
    pub fn factor(&self, var: Var) -> i64 {
        self.terms.binary_search_by_key(&var, |t| t.0).map_or(0, |at| self.terms[at].1)
    }

    /// The number, if nothing varies.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The value under `values`, indexed by variable.
    pub fn eval(&self, values: &[i64]) -> i64 {
        self.terms.iter().fold(self.constant, |sum, &(v, f)| sum + f * values[v.0 as usize])
    }
}

/// One bound of a loop: `ceil(numerator / divisor)`, the divisor at least 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CeilDiv {
    /// Divided.
    pub numerator: Affine,
    /// By this.
    pub divisor: i64,
}

impl CeilDiv {
    /// `affine` itself.
    pub fn whole(affine: Affine) -> Self {
        Self { numerator: affine, divisor: 1 }
    }

    /// A number.
    pub fn constant(value: i64) -> Self {
        Self::whole(Affine::constant(value))
    }

    /// The value under `values`.
    pub fn eval(&self, values: &[i64]) -> i64 {
        let n = self.numerator.eval(values);
        n.div_euclid(self.divisor) + i64::from(n.rem_euclid(self.divisor) != 0)
    }
}

/// The half-open interval from the greatest of `lo` to the least of `hi`; empty when `hi <= lo`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// At least one; the greatest counts.
    pub lo: Vec<CeilDiv>,
    /// At least one; the least counts.
    pub hi: Vec<CeilDiv>,
}

impl Range {
    /// `0..n`.
    pub fn count(n: i64) -> Self {
        Self { lo: vec![CeilDiv::constant(0)], hi: vec![CeilDiv::constant(n)] }
    }

    /// `lo..hi`.
    pub fn of(lo: Affine, hi: Affine) -> Self {
        Self { lo: vec![CeilDiv::whole(lo)], hi: vec![CeilDiv::whole(hi)] }
    }

    /// The bounds under `values`.
    pub fn eval(&self, values: &[i64]) -> std::ops::Range<i64> {
        let lo = self.lo.iter().map(|b| b.eval(values)).max().unwrap_or(0);
        let hi = self.hi.iter().map(|b| b.eval(values)).min().unwrap_or(0);
        lo..hi
    }
}

/// A loop nest. Its outermost loop is what an entry point takes a part of: `lo` and `hi` are arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Nest {
    /// What it is for: `pad`, `compute`.
    pub label: String,
    /// The outermost loop.
    pub outer: Loop,
}

/// `for var in range { body }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// Bound in `body` and nowhere else.
    pub var: Var,
    /// From where to where; speaks of outer variables only.
    pub range: Range,
    /// Iterations write apart, so they may run in any order and at the same time. Only on a nest's outermost loop.
    pub parallel: bool,
    /// What is done for each.
    pub body: Vec<Stmt>,
}

/// A statement of a nest.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// An inner loop.
    For(Loop),
    /// Run a tile.
    Call(Call),
}

/// A call of a tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Position in [`Kernel::tiles`].
    pub tile: usize,
    /// One a pointer of the tile.
    pub args: Vec<Arg>,
    /// One a range of the tile.
    pub ranges: Vec<Range>,
}

/// Where a tile's pointer starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// Into which buffer.
    pub role: Role,
    /// At which element; with the tile's ranges at 0, so it may lie outside.
    pub offset: Affine,
}

/// A vector program.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Unique in the kernel; a symbol, a Rust identifier.
    pub name: String,
    /// Names of the pointers; [`Ptr`] counts into this.
    pub pointers: Vec<String>,
    /// Names of the ranges that the call passes; [`Extent::Range`] counts into this.
    pub ranges: Vec<String>,
    /// How many registers it uses; [`Reg`] is below this.
    pub registers: usize,
    /// The program.
    pub body: Vec<TileStmt>,
}

/// A pointer of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ptr(pub u32);

/// A vector register of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(pub u32);

/// A statement of a tile.
#[derive(Clone, Debug, PartialEq)]
pub enum TileStmt {
    /// A reduction loop.
    Loop(TileLoop),
    /// An instruction.
    Op(Op),
}

/// A loop inside a tile.
#[derive(Clone, Debug, PartialEq)]
pub struct TileLoop {
    /// How often.
    pub extent: Extent,
    /// How far pointers move each time, in elements. A pointer that is not named stays.
    pub steps: Vec<(Ptr, i64)>,
    /// What is done.
    pub body: Vec<TileStmt>,
}

/// How often a tile's loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// `0..n`.
    Count(u64),
    /// The range of that number, passed by the call.
    Range(u32),
}

/// An element in memory: a pointer and a constant distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// From here
    pub ptr: Ptr,
    /// this many elements on.
    pub offset: i64,
}

/// Which elements a vector load or store touches: lane `i < lanes` is the element at `address + i / repeat * stride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Lane 0.
    pub at: Address,
    /// How many, from 1 to the kernel's lanes.
    pub lanes: usize,
    /// Distance of two elements; 1 is contiguous.
    pub stride: i64,
    /// Lanes that each element goes to; 1 for a store.
    pub repeat: usize,
}

impl Access {
    /// Elements in memory.
    pub fn elements(&self) -> usize {
        self.lanes.div_ceil(self.repeat.max(1))
    }

    /// Which of them lane `lane` is.
    pub fn element_of(&self, lane: usize) -> usize {
        lane / self.repeat.max(1)
    }
}

/// An instruction of a tile. See the [module](self) for what each means.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the operands' letters are those of each instruction's formula")]
pub enum Op {
    /// `d = value` in every lane; a zero is a constant like any other.
    Const { d: Reg, value: f64 },
    /// `d =` memory.
    Load { d: Reg, from: Access },
    /// `d =` in each lane two neighbouring elements, as integers of 16 bits.
    Pairs { d: Reg, from: Access },
    /// `d =` in each lane four neighbouring elements, as they are.
    Quads { d: Reg, from: Access },
    /// `d =` one element, in every lane.
    Broadcast { d: Reg, from: Address },
    /// `d =` the element as far from the address as the integer in `a` says, or 0 if that is not one of `0..of`.
    Gather { d: Reg, a: Reg, from: Address, of: u32 },
    /// `d = a * b + c`, rounded once.
    Fma { d: Reg, a: Reg, b: Reg, c: Reg },
    /// `d =` the sum of four products of bytes, and `c`.
    Dot4 { d: Reg, a: Reg, b: Reg, c: Reg },
    /// `d = a op b`.
    Binary { op: BinaryOp, d: Reg, a: Reg, b: Reg },
    /// `d = if a > b { c } else { e }`.
    Select { d: Reg, a: Reg, b: Reg, c: Reg, e: Reg },
    /// `d =` the bits of `a` shifted left by the width of the mantissa.
    Exponent { d: Reg, a: Reg },
    /// `d =` the square root of `a`.
    Sqrt { d: Reg, a: Reg },
    /// `d =` the number in `a` as another type.
    Convert { op: Conversion, d: Reg, a: Reg },
    /// The memory at an address is wanted soon.
    Prefetch { at: Address },
    /// Memory `= s`.
    Store { to: Access, s: Reg },
    /// One of the `count` elements from `to` on, which are `stride` apart, `=` the element at `from`: that of the number at `at`.
    Scatter { to: Address, count: u64, stride: i64, from: Address, at: Address },
}

/// An operation of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// `if a > b { a } else { b }`.
    Max,
    /// `if a < b { a } else { b }`.
    Min,
    /// `if a > b or a is a NaN { a } else { b }`.
    Maximum,
    /// The sum of two integers, which wraps.
    AddInt,
    /// The sum of the products of two pairs of integers of 16 bits.
    Dot,
    /// Two integers of 16 bits.
    Join,
    /// `a | b << 8`.
    Splice,
    /// Two sums of two products of bytes, as integers of 16 bits.
    Products,
}

/// From one type of lanes to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conversion {
    /// An integer to the nearest float.
    Float,
    /// A float to the nearest integer.
    Int,
}

/// A kernel that [`verify`](crate::ir) has accepted; what a backend compiles or refuses, and never panics on.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified(Kernel);

impl std::ops::Deref for Verified {
    type Target = Kernel;
    fn deref(&self) -> &Kernel {
        &self.0
    }
}
