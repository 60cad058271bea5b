//! Norms: how their groups lie, and the call of the module that computes them.

use std::fmt::{Result, Write};

use super::library::{Taken, Writer};
use crate::eval::{Lies, Normalizer};
use crate::spec::Node;

impl Writer<'_, '_> {
    /// The statements of a norm, with the number of its weights and biases if it has such.
    pub(super) fn norm(&mut self, node: &Node, one: &Normalizer, numbers: Option<usize>, what: &str) -> Result {
        writeln!(self.out, "{what}\n    {{")?;
        self.begin(node, &[Some(node.inputs[0])])?;
        let (kind, fields, run) = match one.lies() {
            Lies::Rows { len, run, cycle } => ("Rows", vec![("len", len), ("run", run), ("cycle", cycle)], "rows"),
            Lies::Pixels { planes, pixels, lanes, last, group } => {
                let sizes = [("planes", planes), ("pixels", pixels), ("lanes", lanes), ("last", last)];
                ("Pixels", [&sizes[..], &[("group", group)]].concat(), "pixels")
            }
        };
        let fields: Vec<String> = fields.iter().map(|(name, n)| format!("{name}: {n}")).collect();
        let (fields, epsilon) = (fields.join(", "), one.epsilon());
        writeln!(self.out, "        let part = norm::{kind} {{ {fields}, epsilon: {epsilon:?} }};")?;
        let kept = one.kept();
        if kept > 0 {
            writeln!(self.out, "        let kept = memory::part_mut::<{kept}>(scratch, 0);")?;
        }
        let from = self.source(node.inputs[0], Taken::Whole);
        let kept = if kept > 0 { "kept, " } else { "" };
        let numbers = match numbers {
            Some(packed) => format!("Some(weights::{}())", self.plan.packed[packed].function),
            None => "None".to_owned(),
        };
        writeln!(self.out, "        norm::{run}(&part, {from}, made, {kept}{numbers});\n    }}")
    }
}
