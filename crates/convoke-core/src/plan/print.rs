//! A plan as the `schedule { }` block that pins it.

use std::fmt;

use super::Plan;
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
        f.write_str(self.to_schedule().to_string().trim_end())
    }
}
