//! Tiles of the text form.

use super::lex::Tokens;
use super::{MAX_NESTING, Parse};
use crate::ir::{Access, Address, BinaryOp, Conversion, Extent, Op, Ptr, Reg, Tile, TileLoop, TileStmt};

/// What comes after `tile`; `lanes` is what an access has that does not say.
pub(super) fn tile(t: &mut Tokens<'_>, lanes: usize) -> Parse<Tile> {
    let name = t.name("the name of a tile")?;
    t.symbol("(")?;
    let pointers = if t.is_symbol(")") || t.is_symbol(";") { Vec::new() } else { t.names("a pointer")? };
    let ranges = if t.take_symbol(";") { t.names("a range")? } else { Vec::new() };
    t.symbol(")")?;
    t.word("registers")?;
    let what = "a number of registers";
    let at = t.position();
    let registers = t.unsigned(what)?.try_into().map_err(|_| t.expected_at(at, what))?;
    let mut tile = Tile { name, pointers, ranges, registers, body: Vec::new() };
    tile.body = block(t, &tile, lanes)?;
    Ok(tile)
}

fn block(t: &mut Tokens<'_>, tile: &Tile, lanes: usize) -> Parse<Vec<TileStmt>> {
    t.open(MAX_NESTING)?;
    let mut body = Vec::new();
    while !t.is_symbol("}") {
        body.push(if t.take_word("loop") {
            TileStmt::Loop(repeat(t, tile, lanes)?)
        } else if t.take_word("store") {
            let at = address(t, tile)?;
            t.symbol("=")?;
            let s = register(t)?;
            TileStmt::Op(Op::Store { to: access(t, at, lanes)?, s })
        } else if t.take_word("prefetch") {
            TileStmt::Op(Op::Prefetch { at: address(t, tile)? })
        } else if t.take_word("scatter") {
            TileStmt::Op(scatter(t, tile)?)
        } else {
            TileStmt::Op(definition(t, tile, lanes)?)
        });
    }
    t.close()?;
    Ok(body)
}

fn scatter(t: &mut Tokens<'_>, tile: &Tile) -> Parse<Op> {
    let to = address(t, tile)?;
    t.word("count")?;
    let what = "a number of elements";
    let count = t.unsigned(what)?;
    let stride = if t.take_word("stride") { t.integer("a stride")? } else { 1 };
    t.symbol("=")?;
    let from = address(t, tile)?;
    t.word("at")?;
    Ok(Op::Scatter { to, count, stride, from, at: address(t, tile)? })
}

fn repeat(t: &mut Tokens<'_>, tile: &Tile, lanes: usize) -> Parse<TileLoop> {
    let at = t.position();
    let extent = match t.take_number() {
        Some(n) => Extent::Count(n.parse().map_err(|_| t.expected_at(at, "a whole number of 64 bits"))?),
        None => {
            let range = |name: &str| tile.ranges.iter().position(|r| r == name);
            Extent::Range(t.one_of_names("a count or a range of the tile", range)? as u32)
        }
    };
    let mut steps = Vec::new();
    if t.take_symbol(":") {
        loop {
            let ptr = pointer(t, tile)?;
            t.symbol("+=")?;
            steps.push((ptr, t.integer("a step")?));
            if !t.take_symbol(",") {
                break;
            }
        }
    }
    Ok(TileLoop { extent, steps, body: block(t, tile, lanes)? })
}

fn definition(t: &mut Tokens<'_>, tile: &Tile, lanes: usize) -> Parse<Op> {
    let d = match try_register(t) {
        Some(d) => d,
        None => return Err(t.expected("a register, `store`, `scatter`, `loop` or `}`")),
    };
    t.symbol("=")?;
    if t.take_word("const") {
        return Ok(Op::Const { d, value: t.float()? });
    }
    if t.take_word("load") {
        let at = address(t, tile)?;
        return Ok(Op::Load { d, from: access(t, at, lanes)? });
    }
    if t.take_word("pairs") {
        let at = address(t, tile)?;
        return Ok(Op::Pairs { d, from: access(t, at, lanes)? });
    }
    if t.take_word("quads") {
        let at = address(t, tile)?;
        return Ok(Op::Quads { d, from: access(t, at, lanes)? });
    }
    if let Some(op) = Conversion::ALL.into_iter().find(|op| t.take_word(op.name())) {
        return Ok(Op::Convert { op, d, a: register(t)? });
    }
    if t.take_word("broadcast") {
        return Ok(Op::Broadcast { d, from: address(t, tile)? });
    }
    if t.take_word("gather") {
        let from = address(t, tile)?;
        t.word("at")?;
        let a = register(t)?;
        t.word("of")?;
        let what = "a number of elements";
        let at = t.position();
        let of = t.unsigned(what)?.try_into().map_err(|_| t.expected_at(at, what))?;
        return Ok(Op::Gather { d, a, from, of });
    }
    for (word, is_fma) in [("fma", true), ("dot4", false)] {
        if t.take_word(word) {
            let a = register(t)?;
            t.symbol(",")?;
            let b = register(t)?;
            t.symbol(",")?;
            let c = register(t)?;
            return Ok(if is_fma { Op::Fma { d, a, b, c } } else { Op::Dot4 { d, a, b, c } });
        }
    }
    if t.take_word("select") {
        let a = register(t)?;
        t.symbol(">")?;
        let b = register(t)?;
        t.symbol(",")?;
        let c = register(t)?;
        t.symbol(",")?;
        return Ok(Op::Select { d, a, b, c, e: register(t)? });
    }
    if t.take_word("exponent") {
        return Ok(Op::Exponent { d, a: register(t)? });
    }
    if t.take_word("sqrt") {
        return Ok(Op::Sqrt { d, a: register(t)? });
    }
    if let Some(op) = BinaryOp::ALL.into_iter().find(|op| t.take_word(op.name())) {
        let a = register(t)?;
        t.symbol(",")?;
        return Ok(Op::Binary { op, d, a, b: register(t)? });
    }
    Err(t.expected(
        "const, load, pairs, quads, broadcast, gather, fma, dot4, select, exponent, sqrt, float, int, add, sub, mul, div, max, min, maximum, iadd, dot, join, splice, \
         products",
    ))
}

fn try_register(t: &mut Tokens<'_>) -> Option<Reg> {
    let number = |name: &str| {
        let digits = name.strip_prefix('v')?;
        let plain = digits == "0" || !digits.starts_with('0');
        digits.parse().ok().filter(|_| plain)
    };
    t.one_of_names("", number).ok().map(Reg)
}

fn register(t: &mut Tokens<'_>) -> Parse<Reg> {
    try_register(t).ok_or_else(|| t.expected("a register like v0"))
}

fn pointer(t: &mut Tokens<'_>, tile: &Tile) -> Parse<Ptr> {
    let position = |name: &str| tile.pointers.iter().position(|p| p == name);
    Ok(Ptr(t.one_of_names("a pointer of the tile", position)? as u32))
}

fn address(t: &mut Tokens<'_>, tile: &Tile) -> Parse<Address> {
    let ptr = pointer(t, tile)?;
    t.symbol("[")?;
    let offset = t.integer("an offset")?;
    t.symbol("]")?;
    Ok(Address { ptr, offset })
}

fn access(t: &mut Tokens<'_>, at: Address, lanes: usize) -> Parse<Access> {
    let mut access = Access { at, lanes, stride: 1, repeat: 1 };
    if t.take_word("lanes") {
        let at = t.position();
        let what = "a number of lanes";
        access.lanes = t.unsigned(what)?.try_into().map_err(|_| t.expected_at(at, what))?;
    }
    if t.take_word("stride") {
        access.stride = t.integer("a stride")?;
    }
    if t.take_word("repeat") {
        let at = t.position();
        let what = "a number of lanes for each element";
        access.repeat = t.unsigned(what)?.try_into().map_err(|_| t.expected_at(at, what))?;
    }
    Ok(access)
}
