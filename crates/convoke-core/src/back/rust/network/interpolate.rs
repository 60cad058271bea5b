//! Layers that interpolate: their sizes and tables as a constant, and the call of the module that does it.

use std::fmt::{Result, Write};

use super::library::{Taken, WIDTH, Writer, literal};
use crate::eval::Interpolator;
use crate::spec::Node;

impl Writer<'_, '_> {
    /// The statements of a layer that interpolates.
    pub(super) fn interpolate(&mut self, node: &Node, one: &Interpolator, what: &str) -> Result {
        writeln!(self.out, "{what}\n    {{")?;
        self.begin(node, &[Some(node.inputs[0])])?;
        let ([planes, lanes, last], [from, to]) = (one.image(), one.sizes());
        writeln!(self.out, "        let part = interpolate::Interpolation {{")?;
        writeln!(self.out, "            planes: {planes},\n            lanes: {lanes},\n            last: {last},")?;
        writeln!(self.out, "            from: {from:?},\n            to: {to:?},\n            taps: [")?;
        for taps in one.taps() {
            let taps: Vec<String> = taps.iter().map(|tap| format!("({}, {})", tap.0, literal(tap.1 as f32))).collect();
            self.table(&taps)?;
        }
        writeln!(self.out, "            ],\n        }};")?;
        let from = self.source(node.inputs[0], Taken::Whole);
        writeln!(self.out, "        interpolate::run(&part, {from}, made);\n    }}")
    }

    /// Numbers in lines that are full.
    fn table(&mut self, numbers: &[String]) -> Result {
        let indent = "                ";
        let line = format!("{indent}&[{}],", numbers.join(", "));
        if line.len() <= WIDTH {
            return writeln!(self.out, "{line}");
        }
        writeln!(self.out, "{indent}&[")?;
        let mut line = String::new();
        for number in numbers {
            if indent.len() + line.len() + number.len() + 6 > WIDTH {
                writeln!(self.out, "{indent}   {line}")?;
                line.clear();
            }
            line += &format!(" {number},");
        }
        writeln!(self.out, "{indent}   {line}\n{indent}],")
    }
}
