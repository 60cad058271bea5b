//! The text form of a kernel.
//!
//! ```text
//! kernel   = "kernel" NAME DTYPE ISA ["fma"] ["vnni"] "{" buffer* "vars" NAME ("," NAME)* tile* nest* "}"
//! buffer   = "buffer" ROLE [STORAGE] "[" affine "]"                                elements of the kernel's dtype
//! tile     = "tile" NAME "(" names [";" names] ")" "registers" INT "{" stmt* "}"     pointers; ranges
//! stmt     = "loop" (INT | NAME) [":" step ("," step)*] "{" stmt* "}"
//!          | "store" address "=" REG access
//!          | "scatter" address "count" INT ["stride" INT] "=" address "at" address
//!          | REG "=" op
//! step     = NAME "+=" INT
//! op       = "const" FLOAT
//!          | "load" address access
//!          | ("pairs" | "quads") address access
//!          | "broadcast" address
//!          | "gather" address "at" REG "of" INT
//!          | ("fma" | "dot4") REG "," REG "," REG                                    a * b + c
//!          | ("add" | "sub" | "mul" | "div" | "max" | "min" | "iadd" | "dot" | "join" | "splice" | "products") REG "," REG
//!          | ("float" | "int") REG
//!          | "select" REG ">" REG "," REG "," REG                                   if a > b { c } else { e }
//!          | "exponent" REG
//! address  = NAME "[" INT "]"
//! access   = ["lanes" INT] ["stride" INT] ["repeat" INT]     all lanes of the kernel, one element apart, each once
//! nest     = "nest" NAME "{" for "}"
//! for      = ["parallel"] "for" NAME "in" range "{" (for | call)* "}"
//! call     = "call" NAME "(" [arg ("," arg)*] [";" range ("," range)*] ")"
//! arg      = ROLE "[" affine "]"
//! range    = bounds("max") ".." bounds("min")
//! bounds W = bound | W "(" bound ("," bound)* ")"
//! bound    = affine | "ceil" "(" affine "/" INT ")"
//! affine   = ["-"] term (("+" | "-") term)*                  term = INT | NAME | INT "*" NAME
//! ```
//!
//! Names are identifiers, `REG` is `v0`, `v1`, …, and `INT` may have a sign. A float is what Rust prints, `inf`, `-inf`
//! or `nan(0x7ff8000000000000)`, so that it reads back to the same bits. White space separates and means nothing else.
//! A number that names nothing, as only a kernel that no verifier has seen can hold, prints as `?` and the number.

use std::fmt::{Display, Formatter, Result, Write, from_fn};

use super::{
    Access, Address, Affine, BinaryOp, Call, CeilDiv, Conversion, Extent, Kernel, Loop, Nest, Op, Ptr, Range, Reg,
    Stmt, Tile, TileLoop, TileStmt, Var,
};

impl Kernel {
    /// The text of an instruction of `tile`.
    pub fn op_text(&self, tile: &Tile, op: &Op) -> String {
        from_fn(|f| Printer { kernel: self, f, depth: 0 }.op(tile, op)).to_string()
    }

    /// The text of a loop of `tile`, without its body.
    pub fn loop_text(&self, tile: &Tile, l: &TileLoop) -> String {
        from_fn(|f| Printer { kernel: self, f, depth: 0 }.loop_head(tile, l)).to_string()
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let fma = if self.fma { " fma" } else { "" };
        let vnni = if self.vnni { " vnni" } else { "" };
        writeln!(f, "kernel {} {} {}{fma}{vnni} {{", self.name, self.dtype.name(), self.isa.name())?;
        let mut p = Printer { kernel: self, f, depth: 1 };
        for buffer in &self.buffers {
            p.line(|p| {
                write!(p.f, "buffer {}", buffer.role.name())?;
                if buffer.storage != self.dtype.storage() {
                    write!(p.f, " {}", buffer.storage.name())?;
                }
                p.f.write_char('[')?;
                p.affine(&buffer.len)?;
                p.f.write_char(']')
            })?;
        }
        p.line(|p| write!(p.f, "vars {}", self.vars.join(", ")))?;
        for tile in &self.tiles {
            p.tile(tile)?;
        }
        for nest in &self.nests {
            p.nest(nest)?;
        }
        f.write_str("}\n")
    }
}

impl BinaryOp {
    /// Every operation.
    pub const ALL: [Self; 12] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Max,
        Self::Min,
        Self::Maximum,
        Self::AddInt,
        Self::Dot,
        Self::Join,
        Self::Splice,
        Self::Products,
    ];

    /// Whether it is one of integers.
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::AddInt | Self::Dot | Self::Join | Self::Splice | Self::Products)
    }

    /// As the text form writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
            Self::Max => "max",
            Self::Min => "min",
            Self::Maximum => "maximum",
            Self::AddInt => "iadd",
            Self::Dot => "dot",
            Self::Join => "join",
            Self::Splice => "splice",
            Self::Products => "products",
        }
    }
}

impl Conversion {
    /// Every conversion.
    pub const ALL: [Self; 2] = [Self::Float, Self::Int];

    /// `float` or `int`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Int => "int",
        }
    }
}

impl Display for Reg {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "v{}", self.0)
    }
}

struct Printer<'k, 'f, 'b> {
    kernel: &'k Kernel,
    f: &'f mut Formatter<'b>,
    depth: usize,
}

impl Printer<'_, '_, '_> {
    fn line(&mut self, content: impl FnOnce(&mut Self) -> Result) -> Result {
        for _ in 0..self.depth {
            self.f.write_str("    ")?;
        }
        content(self)?;
        self.f.write_char('\n')
    }

    /// `head {`, what `body` prints, `}`.
    fn block(&mut self, head: impl FnOnce(&mut Self) -> Result, body: impl FnOnce(&mut Self) -> Result) -> Result {
        self.line(|p| {
            head(p)?;
            p.f.write_str(" {")
        })?;
        self.depth += 1;
        body(self)?;
        self.depth -= 1;
        self.line(|p| p.f.write_char('}'))
    }

    fn comma_separated<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T) -> Result) -> Result {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.f.write_str(", ")?;
            }
            each(self, item)?;
        }
        Ok(())
    }

    fn name(&mut self, names: &[String], at: u32) -> Result {
        match names.get(at as usize) {
            Some(name) => self.f.write_str(name),
            None => write!(self.f, "?{at}"),
        }
    }

    fn var(&mut self, var: Var) -> Result {
        self.name(&self.kernel.vars, var.0)
    }

    fn affine(&mut self, affine: &Affine) -> Result {
        for (i, &(var, factor)) in affine.terms.iter().enumerate() {
            self.sign(i == 0, factor)?;
            if factor.unsigned_abs() != 1 {
                write!(self.f, "{}*", factor.unsigned_abs())?;
            }
            self.var(var)?;
        }
        if affine.terms.is_empty() || affine.constant != 0 {
            self.sign(affine.terms.is_empty(), affine.constant)?;
            write!(self.f, "{}", affine.constant.unsigned_abs())?;
        }
        Ok(())
    }

    fn sign(&mut self, first: bool, number: i64) -> Result {
        self.f.write_str(match (first, number < 0) {
            (true, false) => "",
            (true, true) => "-",
            (false, false) => " + ",
            (false, true) => " - ",
        })
    }

    fn range(&mut self, range: &Range) -> Result {
        self.bounds("max", &range.lo)?;
        self.f.write_str("..")?;
        self.bounds("min", &range.hi)
    }

    fn bounds(&mut self, which: &str, bounds: &[CeilDiv]) -> Result {
        if let [bound] = bounds {
            return self.bound(bound);
        }
        write!(self.f, "{which}(")?;
        self.comma_separated(bounds, Self::bound)?;
        self.f.write_char(')')
    }

    fn bound(&mut self, bound: &CeilDiv) -> Result {
        if bound.divisor == 1 {
            return self.affine(&bound.numerator);
        }
        self.f.write_str("ceil(")?;
        self.affine(&bound.numerator)?;
        write!(self.f, " / {})", bound.divisor)
    }

    fn nest(&mut self, nest: &Nest) -> Result {
        self.block(|p| write!(p.f, "nest {}", nest.label), |p| p.repeat(&nest.outer))
    }

    fn repeat(&mut self, l: &Loop) -> Result {
        let head = |p: &mut Self| {
            p.f.write_str(if l.parallel { "parallel for " } else { "for " })?;
            p.var(l.var)?;
            p.f.write_str(" in ")?;
            p.range(&l.range)
        };
        self.block(head, |p| {
            l.body.iter().try_for_each(|stmt| match stmt {
                Stmt::For(inner) => p.repeat(inner),
                Stmt::Call(call) => p.line(|p| p.call(call)),
            })
        })
    }

    fn call(&mut self, call: &Call) -> Result {
        match self.kernel.tiles.get(call.tile) {
            Some(tile) => write!(self.f, "call {}(", tile.name)?,
            None => write!(self.f, "call ?{}(", call.tile)?,
        }
        self.comma_separated(&call.args, |p, arg| {
            write!(p.f, "{}[", arg.role.name())?;
            p.affine(&arg.offset)?;
            p.f.write_char(']')
        })?;
        if !call.ranges.is_empty() {
            self.f.write_str("; ")?;
            self.comma_separated(&call.ranges, Self::range)?;
        }
        self.f.write_char(')')
    }

    fn tile(&mut self, tile: &Tile) -> Result {
        let head = |p: &mut Self| {
            write!(p.f, "tile {}({}", tile.name, tile.pointers.join(", "))?;
            if !tile.ranges.is_empty() {
                write!(p.f, "; {}", tile.ranges.join(", "))?;
            }
            write!(p.f, ") registers {}", tile.registers)
        };
        self.block(head, |p| p.tile_stmts(tile, &tile.body))
    }

    fn tile_stmts(&mut self, tile: &Tile, body: &[TileStmt]) -> Result {
        body.iter().try_for_each(|stmt| match stmt {
            TileStmt::Loop(l) => self.block(|p| p.loop_head(tile, l), |p| p.tile_stmts(tile, &l.body)),
            TileStmt::Op(op) => self.line(|p| p.op(tile, op)),
        })
    }

    fn loop_head(&mut self, tile: &Tile, l: &TileLoop) -> Result {
        self.f.write_str("loop ")?;
        match l.extent {
            Extent::Count(n) => write!(self.f, "{n}")?,
            Extent::Range(range) => self.name(&tile.ranges, range)?,
        }
        if !l.steps.is_empty() {
            self.f.write_str(": ")?;
        }
        self.comma_separated(&l.steps, |p, &(ptr, step)| {
            p.pointer(tile, ptr)?;
            write!(p.f, " += {step}")
        })
    }

    fn op(&mut self, tile: &Tile, op: &Op) -> Result {
        match *op {
            Op::Const { d, value } => {
                write!(self.f, "{d} = const ")?;
                if value.is_nan() { write!(self.f, "nan({:#x})", value.to_bits()) } else { write!(self.f, "{value:?}") }
            }
            Op::Load { d, from } => {
                write!(self.f, "{d} = load ")?;
                self.address(tile, from.at)?;
                self.access(from)
            }
            Op::Pairs { d, from } => {
                write!(self.f, "{d} = pairs ")?;
                self.address(tile, from.at)?;
                self.access(from)
            }
            Op::Quads { d, from } => {
                write!(self.f, "{d} = quads ")?;
                self.address(tile, from.at)?;
                self.access(from)
            }
            Op::Dot4 { d, a, b, c } => write!(self.f, "{d} = dot4 {a}, {b}, {c}"),
            Op::Convert { op, d, a } => write!(self.f, "{d} = {} {a}", op.name()),
            Op::Broadcast { d, from } => {
                write!(self.f, "{d} = broadcast ")?;
                self.address(tile, from)
            }
            Op::Gather { d, a, from, of } => {
                write!(self.f, "{d} = gather ")?;
                self.address(tile, from)?;
                write!(self.f, " at {a} of {of}")
            }
            Op::Fma { d, a, b, c } => write!(self.f, "{d} = fma {a}, {b}, {c}"),
            Op::Binary { op, d, a, b } => write!(self.f, "{d} = {} {a}, {b}", op.name()),
            Op::Select { d, a, b, c, e } => write!(self.f, "{d} = select {a} > {b}, {c}, {e}"),
            Op::Exponent { d, a } => write!(self.f, "{d} = exponent {a}"),
            Op::Sqrt { d, a } => write!(self.f, "{d} = sqrt {a}"),
            Op::Scatter { to, count, stride, from, at } => {
                self.f.write_str("scatter ")?;
                self.address(tile, to)?;
                write!(self.f, " count {count}")?;
                if stride != 1 {
                    write!(self.f, " stride {stride}")?;
                }
                self.f.write_str(" = ")?;
                self.address(tile, from)?;
                self.f.write_str(" at ")?;
                self.address(tile, at)
            }
            Op::Prefetch { at } => {
                self.f.write_str("prefetch ")?;
                self.address(tile, at)
            }
            Op::Store { to, s } => {
                self.f.write_str("store ")?;
                self.address(tile, to.at)?;
                write!(self.f, " = {s}")?;
                self.access(to)
            }
        }
    }

    fn pointer(&mut self, tile: &Tile, ptr: Ptr) -> Result {
        self.name(&tile.pointers, ptr.0)
    }

    fn address(&mut self, tile: &Tile, at: Address) -> Result {
        self.pointer(tile, at.ptr)?;
        write!(self.f, "[{}]", at.offset)
    }

    fn access(&mut self, access: Access) -> Result {
        if access.lanes != self.kernel.lanes() {
            write!(self.f, " lanes {}", access.lanes)?;
        }
        if access.stride != 1 {
            write!(self.f, " stride {}", access.stride)?;
        }
        if access.repeat != 1 {
            write!(self.f, " repeat {}", access.repeat)?;
        }
        Ok(())
    }
}
