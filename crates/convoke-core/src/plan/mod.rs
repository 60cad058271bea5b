//! Every performance choice, and nothing else makes one.
//!
//! [`choose`] takes a [`LayerSpec`](crate::spec::LayerSpec) and a [`Target`](crate::target::Target) and answers with a
//! [`Plan`]. It prints as a `schedule { }` block, which parses back to pins that choose the same plan.

mod accuracy;
mod arena;
mod choose;
mod cost;
mod fft;
mod layouts;
mod legal;
mod network;
mod print;
mod recurrent;
#[cfg(test)]
mod tests;
mod unpool;
mod windows;
mod winograd;

pub use accuracy::error_times;
pub use arena::{Arena, Place};
pub use choose::{Candidate, PlanError, Refusal, candidates, choose};
pub use layouts::{Plans, like};
pub use network::{arrange, arrange_planned, pin};
pub use recurrent::StepMemory;

pub use crate::spec::{Algorithm, Axis, PackInput, VectorAxis};

/// How one layer is computed on one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Which output axis the lanes run along.
    pub vector: VectorAxis,
    /// The register tile.
    pub tile: TileShape,
    /// Cache blocks: axis and block size in output elements. A blocked axis stands twice in `order`.
    pub block: Vec<(Axis, usize)>,
    /// Loops, outermost first.
    pub order: Vec<Axis>,
    /// The axis whose iterations may run on different threads: the first of `order`.
    pub parallel: Axis,
    /// Whether the input is copied first.
    pub pack_input: PackInput,
    /// Steps of the innermost reduction loop that are written out.
    pub unroll: usize,
    /// The estimate that the choice rests on.
    pub cost: Cost,
    /// Why this plan, in a sentence.
    pub why: String,
}

/// Accumulators of a register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileShape {
    /// Elements along the axis that is not vectorized: pixels for `vector: oc`, output channels for `vector: ow`.
    pub rows: usize,
    /// Vectors along the vectorized axis.
    pub vectors: usize,
}

/// Cycles of one core for one image, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// In tiles, with tails, edges and latency.
    pub compute: f64,
    /// Moving data from beyond the first-level cache.
    pub memory: f64,
    /// Copying the input.
    pub packing: f64,
}

impl Cost {
    /// Cycles in all: the larger of computing and moving hides most of the other.
    pub fn total(&self) -> f64 {
        let hidden = self.compute.min(self.memory);
        self.compute.max(self.memory) + HIDDEN * hidden + self.packing
    }
}

/// Share of the smaller of computing and moving that shows all the same.
const HIDDEN: f64 = 0.2;
