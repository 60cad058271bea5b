//! Recurrent layers: one kernel for all positions of an image, and then a small network, once for each position.

use std::sync::Arc;

use convoke_core::eval::Float;
use convoke_core::plan::StepMemory;
use convoke_core::spec::Recurrent;

use super::layers::{Fetch, Kernels, Layers, Means};
use crate::error::Error;
use crate::kernel::{Kernel, Packed, Tensors};
use crate::memory::{as_bytes, as_bytes_mut};

/// A recurrent layer, with its weights packed.
#[derive(Debug)]
pub(super) struct Recurring<T> {
    layer: Recurrent,
    memory: StepMemory,
    projection: Arc<Kernel>,
    ways: Vec<Way<T>>,
}

/// One way through a signal.
#[derive(Debug)]
struct Way<T> {
    is_reverse: bool,
    packed: Packed<T>,
    step: Layers<T>,
}

impl<T: Float> Recurring<T> {
    /// Compiles the layer called `name`.
    pub(super) fn new(
        layer: &Recurrent,
        name: &str,
        kernels: &mut Kernels<'_>,
        fetch: &mut Fetch<'_, '_, T>,
    ) -> Result<Self, Error> {
        let projection = kernels.kernel(&layer.projection)?;
        let mut ways = Vec::new();
        for (way, &is_reverse) in layer.direction.ways().iter().enumerate() {
            let given = fetch.all(layer.projection_parameters(name, way))?;
            let packed = kernels.pack(&projection, &layer.projection, &given)?;
            fetch.done(given);
            // The step's own names stand for those of the layer, in the same order.
            let own = layer.step.parameters().map(|parameter| parameter.name);
            let names = own.zip(layer.step_parameters(name, way).into_iter().map(|parameter| parameter.name)).collect();
            let mut fetch = Fetch { network: fetch.network, one: &mut *fetch.one, names, rooms: Vec::new() };
            let step = Layers::new(layer.step.clone(), kernels, &mut fetch)?;
            ways.push(Way { is_reverse, packed, step });
        }
        Ok(Self { layer: layer.clone(), memory: StepMemory::of(layer), projection, ways })
    }

    /// Cycles that one image should take, of one core.
    pub(super) fn cycles(&self) -> f64 {
        let positions = self.layer.positions() as f64;
        self.ways.iter().map(|way| self.projection.cycles(1) + positions * way.step.cycles()).sum()
    }

    /// Makes the value of one image, channels last, in a piece of memory as long as [`StepMemory`] says. `states` are those before the first position, for all
    /// ways; zeros if there are none.
    ///
    /// # Errors
    /// If there is no memory for a kernel.
    pub(super) fn run(
        &self,
        src: &[T],
        states: [Option<&[T]>; 2],
        dst: &mut [T],
        room: &mut [T],
        means: &mut Means<'_>,
    ) -> Result<(), Error> {
        let Self { layer, memory, projection, ways } = self;
        let (hidden, gates, positions) = (layer.hidden_size, layer.gates(), layer.positions());
        let count = layer.cell.states();
        let (projected, rest) = room.split_at_mut(memory.states);
        let (around, values) = rest.split_at_mut(memory.values - memory.states);
        for (at, Way { is_reverse, packed, step }) in ways.iter().enumerate() {
            let made = &mut projected[..positions * gates];
            let tensors = Tensors::new(as_bytes(src), as_bytes_mut(made));
            projection.run_fitting(1, means.executor, means.workspace, packed, tensors)?;
            let (mut before, mut behind) = around.split_at_mut(count * memory.state);
            for (state, given) in states.iter().enumerate().take(count) {
                let first = &mut before[state * memory.state..][..hidden];
                match given {
                    Some(given) => first.copy_from_slice(&given[at * hidden..][..hidden]),
                    None => first.fill(T::default()),
                }
            }
            for i in 0..positions {
                let position = if *is_reverse { positions - 1 - i } else { i };
                let x = &projected[position * gates..][..gates];
                {
                    // A GRU has no second state, and its step takes and makes one value less.
                    let second = if count == 2 { memory.state..memory.state + hidden } else { 0..0 };
                    let inputs = [x, &before[..hidden], &before[second.clone()]];
                    let (h, c) = behind.split_at_mut(memory.state);
                    let c = if count == 2 { &mut c[..hidden] } else { c };
                    let mut outputs = [&mut h[..hidden], c];
                    let memory = (&mut *values, &mut [][..]);
                    step.run(1, &inputs[..=count], &mut outputs[..count], memory, means, &mut |_| {})?;
                }
                let here = &mut dst[position * layer.channels()..][..layer.channels()];
                for state in 0..count {
                    if let Some(first) = layer.channel(state, at) {
                        here[first..first + hidden].copy_from_slice(&behind[state * memory.state..][..hidden]);
                    }
                }
                std::mem::swap(&mut before, &mut behind);
            }
        }
        Ok(())
    }
}
