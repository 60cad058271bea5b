//! A plan as the `schedule { }` block that pins it.

use std::fmt;

use super::{Axis, Plan};
use crate::span::{Span, Spanned};
use crate::spec::Schedule;

impl Plan {
    /// The pins that choose this plan again.
    pub fn to_schedule(&self) -> Schedule {
        fn pin<T>(value: T) -> Option<Spanned<T>> {
            Some(Spanned::new(value, Span::default()))
        }
        Schedule {
            algorithm: pin(self.algorithm),
            vector: pin(self.vector),
            tile: pin((self.tile.rows, self.tile.vectors)),
            block: pin(self.block.clone()).filter(|b| !b.value.is_empty()),
            order: pin(self.order.clone()),
            parallel: pin(self.parallel),
            pack_input: pin(self.pack_input),
            unroll: pin(self.unroll),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "schedule {{")?;
        writeln!(f, "    algorithm: {},", self.algorithm)?;
        writeln!(f, "    vector: {},", self.vector)?;
        writeln!(f, "    tile: {}x{},", self.tile.rows, self.tile.vectors)?;
        if !self.block.is_empty() {
            let blocks: Vec<String> = self.block.iter().map(|(axis, size)| format!("{axis}: {size}")).collect();
            writeln!(f, "    block: ({}),", blocks.join(", "))?;
        }
        let order: Vec<&str> = self.order.iter().map(|&a: &Axis| a.name()).collect();
        writeln!(f, "    order: ({}),", order.join(", "))?;
        writeln!(f, "    parallel: {},", self.parallel)?;
        writeln!(f, "    pack_input: {},", self.pack_input)?;
        writeln!(f, "    unroll: {},", self.unroll)?;
        write!(f, "}}")
    }
}
