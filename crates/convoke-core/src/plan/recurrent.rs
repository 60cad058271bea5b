//! The memory in which a recurrent layer works, for one image and one way at a time.

use super::Arena;
use crate::spec::{BLOCK_BYTES, Recurrent};

/// What lies where, in elements: from the first on the numbers of all gates, position behind position; then the states before a step, and those
/// behind it; then the values of the step's own network. Each begins with a cache line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepMemory {
    /// The first state. As many as the cell has are before the step, and as many behind it.
    pub states: usize,
    /// From one state to the next.
    pub state: usize,
    /// The first of the step's values.
    pub values: usize,
    /// Where those lie.
    pub arena: Arena,
    /// Elements of all.
    pub len: usize,
}

impl StepMemory {
    /// Plans it.
    pub fn of(recurrent: &Recurrent) -> Self {
        let line = BLOCK_BYTES / recurrent.step.storage().bytes();
        let arena = Arena::of(&recurrent.step);
        let states = (recurrent.positions() * recurrent.gates()).next_multiple_of(line);
        let state = recurrent.hidden_size.next_multiple_of(line);
        let values = states + 2 * recurrent.cell.states() * state;
        let len = values + arena.len;
        Self { states, state, values, arena, len }
    }
}
