//! The plan for unpooling: elements are moved one by one, so that all there is to choose is what threads divide.

use super::choose::{ENOUGH, Refusal, pinned_unroll};
use super::{Algorithm, Axis, Cost, PackInput, Plan, TileShape, VectorAxis};
use crate::lower::unpool_runs;
use crate::span::Spanned;
use crate::spec::LayerSpec;

/// Cycles to move an element.
const MOVE: f64 = 3.0;
/// Bytes a cycle that zeros take.
const ZEROS: f64 = 16.0;

/// The plan, if the pins of `spec` allow it.
pub(super) fn plan(spec: &LayerSpec) -> Result<Plan, Refusal> {
    let pins = &spec.schedule;
    let one = |pin: &Option<Spanned<(usize, usize)>>| match pin {
        Some(pin) if pin.value != (1, 1) => {
            let (rows, vectors) = pin.value;
            let reason = format!("unpooling moves elements one by one, in a tile of 1x1 and not of {rows}x{vectors}");
            Err(Refusal::pinned(reason, pin.span))
        }
        _ => Ok(()),
    };
    one(&pins.tile)?;
    if let Some(pin) = pins.block.as_ref().filter(|pin| !pin.value.is_empty()) {
        return Err(Refusal::pinned("unpooling has no blocks: planes are taken whole".to_owned(), pin.span));
    }
    if let (Some(pin), Some(unroll)) = (&pins.unroll, pinned_unroll(pins)?.filter(|unroll| *unroll != 1)) {
        let reason = format!("unpooling moves one element a step, and not {unroll}");
        return Err(Refusal::pinned(reason, pin.span));
    }
    let parallel = match &pins.parallel {
        Some(pin) if !matches!(pin.value, Axis::N | Axis::Oc) => {
            let reason = format!("threads divide the planes of unpooling, along n or oc and not along {}", pin.value);
            return Err(Refusal::pinned(reason, pin.span));
        }
        Some(pin) => pin.value,
        None => match pins.order.as_ref().and_then(|pin| pin.value.first()) {
            Some(&first) if matches!(first, Axis::N | Axis::Oc) => first,
            _ => widest(spec),
        },
    };
    let order = order(parallel);
    match &pins.order {
        Some(pin) if pin.value != order => {
            let names: Vec<_> = order.iter().map(Axis::to_string).collect();
            let reason = format!("the order of unpooling over {parallel} is ({})", names.join(", "));
            Err(Refusal::pinned(reason, pin.span))
        }
        _ => Ok(Plan {
            algorithm: Algorithm::Unpool,
            vector: VectorAxis::Ow,
            tile: TileShape { rows: 1, vectors: 1 },
            block: Vec::new(),
            order,
            parallel,
            pack_input: PackInput::None,
            unroll: 1,
            cost: cost(spec),
            why: "every element goes where its index says, one after the other".to_owned(),
        }),
    }
}

/// The axis with enough iterations for threads, the channels if they have: images are as far apart as memory allows.
fn widest(spec: &LayerSpec) -> Axis {
    let channels = unpool_runs(spec).iter().map(|run| run.count).max().unwrap_or(1);
    let images = spec.fixed_batch().unwrap_or(1);
    if channels >= ENOUGH.min(images) { Axis::Oc } else { Axis::N }
}

fn order(parallel: Axis) -> Vec<Axis> {
    let other = if parallel == Axis::N { Axis::Oc } else { Axis::N };
    vec![parallel, other, Axis::G, Axis::Od, Axis::Oh, Axis::Ow]
}

fn cost(spec: &LayerSpec) -> Cost {
    let moves = spec.macs_per_image() as f64 * MOVE;
    let zeros = (spec.dst_image() * spec.tensor_bytes()) as f64 / ZEROS;
    Cost { compute: moves, memory: zeros, packing: 0.0 }
}
