//! The choice: candidates, each with a plan or the reason why not.

use thiserror::Error;

use super::cost::{Model, Tiling};
use super::winograd::{self, Products};
use super::{Algorithm, Axis, Cost, PackInput, Plan, TileShape, VectorAxis};
use super::{fft, legal, unpool};
use crate::diagnostic::Diagnostic;
use crate::lower::{deformable_column, deformable_cycles};
use crate::span::{Span, Spanned};
use crate::spec::{LayerSpec, Layout, Operation, Schedule};
use crate::target::{Isa, Target};

/// Why there is no plan: the schedule pins something that cannot hold. Without pins there is always a plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the schedule cannot hold: {reason}")]
pub struct PlanError {
    /// What is wrong, with the numbers.
    pub reason: String,
    /// The pin that cannot hold.
    pub span: Span,
}

impl From<PlanError> for Diagnostic {
    fn from(e: PlanError) -> Self {
        Self::at(e.span, "the schedule cannot hold", e.reason)
            .with_help("change this pin, or leave it out and let the planner choose")
    }
}

/// One way to compute a layer, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its vector axis.
    pub vector: VectorAxis,
    /// How it reads the input.
    pub pack_input: PackInput,
    /// The best plan of that kind, or why there is none.
    pub outcome: Result<Plan, Refusal>,
}

/// Why a candidate was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In words.
    pub reason: String,
    /// The pin at fault, if the layer alone would allow the candidate.
    pub pin: Option<Span>,
}

impl Refusal {
    pub(super) fn layer(reason: String) -> Self {
        Self { reason, pin: None }
    }

    pub(super) fn pinned(reason: impl Into<String>, span: Span) -> Self {
        Self { reason: reason.into(), pin: Some(span) }
    }
}

/// What an algorithm that rounds otherwise than a direct sum must at least be worth.
const WORTH: f64 = 1.1;

/// The plan for `spec` on `target`.
///
/// Of all candidates the one of least estimated cost, where algorithms that round otherwise than a direct sum must be a tenth
/// cheaper; where a special algorithm can do what `direct` does, it stands for it.
///
/// # Errors
/// If the layer's schedule pins something that cannot hold.
pub fn choose(spec: &LayerSpec, target: &Target) -> Result<Plan, PlanError> {
    choose_with(spec, target, &mut Products::new())
}

/// As [`choose`], where `known` is kept from other layers for the same target.
pub(super) fn choose_with(spec: &LayerSpec, target: &Target, known: &mut Products) -> Result<Plan, PlanError> {
    cheapest(spec, target, known).ok_or_else(|| fault(spec, target))
}

/// The plan of the candidate that [`choose`] takes. What another candidate stands for, or what cannot be cheaper, is not looked at.
fn cheapest(spec: &LayerSpec, target: &Target, known: &mut Products) -> Option<Plan> {
    let ways: Vec<Way> = ways(spec).collect();
    let mut of = |wanted: &dyn Fn(&Way) -> bool| -> Vec<(Way, Plan)> {
        let all = ways.iter().filter(|way| wanted(way));
        all.filter_map(|&way| Some((way, candidate(spec, target, way, known).ok()?))).collect()
    };
    let is_general = |way: &Way| matches!(way.algorithm, Algorithm::Direct | Algorithm::Direct4);
    // Depthwise weights are packed in a way of their own, which no cost may decide for one target and not for another.
    let is_depthwise = |way: &Way| way.algorithm == Algorithm::Depthwise;
    let mut plans = of(&is_depthwise);
    // Planes with a window of one tap are rows of a matrix product that each have one factor, which has the shorter loops.
    let may_be_rows = spec.layout == Layout::ChannelsFirst && spec.taps() == 1;
    if plans.is_empty() || may_be_rows {
        let mut others = of(&|way| way.algorithm.is_exact() && !is_general(way) && !is_depthwise(way));
        let twins: Vec<Way> = others.iter().map(|other| other.0).collect();
        let is_twin = |a: &Way, b: &Way| a.vector == b.vector && a.pack_input == b.pack_input;
        others.extend(of(&|way| is_general(way) && !twins.iter().any(|twin| is_twin(twin, way))));
        if !others.is_empty() {
            plans = others;
        }
    }
    let mut best: Option<Plan> = None;
    // Of equals the first in the order of candidates.
    plans.sort_by_key(|(way, _)| ways.iter().position(|other| other == way));
    for (_, plan) in plans {
        if best.as_ref().is_none_or(|best| plan.cost.total() < best.cost.total()) {
            best = Some(plan);
        }
    }
    let mut worth = best.as_ref().map_or(f64::INFINITY, |best| best.cost.total());
    // The most promising first, until nothing is that can be worth it.
    let mut others: Vec<(f64, Way)> = Vec::new();
    for &way in ways.iter().filter(|way| !way.algorithm.is_exact()) {
        if legal(spec, target, way).is_ok() {
            others.push((least(spec, target, way), way));
        }
    }
    others.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (least, way) in others {
        if least * WORTH >= worth {
            break;
        }
        if let Ok(plan) = plan(spec, target, way, worth / WORTH, known)
            && plan.cost.total() * WORTH < worth
        {
            worth = plan.cost.total() * WORTH;
            best = Some(plan);
        }
    }
    best
}

/// Why there is no plan.
fn fault(spec: &LayerSpec, target: &Target) -> PlanError {
    let candidates = candidates(spec, target);
    let refusals = || candidates.iter().filter_map(|c| Some((c.algorithm, c.outcome.as_ref().err()?)));
    // What a direct sum could not do either says most, unless a pin names another algorithm.
    let least = |r: &(Algorithm, &Refusal)| (r.1.reason.starts_with(OTHER), !r.0.is_exact());
    let fault = refusals().filter(|r| r.1.pin.is_some()).min_by_key(least);
    let (reason, span) = match fault {
        Some((_, Refusal { reason, pin: Some(span) })) => (reason.clone(), *span),
        _ => (refusals().next().map(|r| r.1.reason.clone()).unwrap_or_default(), Span::default()),
    };
    PlanError { reason, span }
}

/// Opens the reason of a candidate that a pin merely excludes.
const OTHER: &str = "the schedule pins";

/// Every way to compute the layer, in the order in which [`choose`] asks them.
pub fn candidates(spec: &LayerSpec, target: &Target) -> Vec<Candidate> {
    let mut known = Products::new();
    let all = ways(spec).map(|way @ Way { algorithm, vector, pack_input }| Candidate {
        algorithm,
        vector,
        pack_input,
        outcome: candidate(spec, target, way, &mut known),
    });
    all.collect()
}

/// What tells candidates apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    algorithm: Algorithm,
    vector: VectorAxis,
    pack_input: PackInput,
}

fn ways(spec: &LayerSpec) -> impl Iterator<Item = Way> {
    let pinned = spec.schedule.algorithm.as_ref().map(|pin| pin.value);
    // What is for integers, for pooling or for deformable layers alone is not worth a word elsewhere.
    let (pooling, unpooling) = (spec.operation.is_pooling(), spec.takes_indices());
    let can = move |a: &Algorithm| match a {
        Algorithm::Unpool => unpooling,
        Algorithm::Pool => pooling && !unpooling,
        Algorithm::Deformable => spec.is_deformable(),
        _ => !pooling && !spec.is_deformable() && (spec.integers.is_some() || !a.is_by_four()),
    };
    let said = move |a: &Algorithm| can(a) || pinned == Some(*a);
    let axes = VectorAxis::ALL.iter().flat_map(|&vector| PackInput::ALL.iter().map(move |&pack| (vector, pack)));
    let algorithms = Algorithm::ALL.iter().copied().filter(said);
    algorithms
        .flat_map(move |algorithm| axes.clone().map(move |(vector, pack_input)| Way { algorithm, vector, pack_input }))
}

/// The best plan of that way, if there is one.
fn candidate(spec: &LayerSpec, target: &Target, way: Way, known: &mut Products) -> Result<Plan, Refusal> {
    legal(spec, target, way)?;
    plan(spec, target, way, f64::INFINITY, known)
}

/// Whether the layer and its pins allow that way.
fn legal(spec: &LayerSpec, target: &Target, way: Way) -> Result<(), Refusal> {
    let Way { algorithm, vector, pack_input: pack } = way;
    let pins = &spec.schedule;
    legal::algorithm(spec, algorithm, pack).map_err(|reason| blame(&pins.algorithm, algorithm, reason))?;
    legal::instructions(spec, target, algorithm).map_err(|reason| blame(&pins.algorithm, algorithm, reason))?;
    legal::in_place(spec, algorithm, vector, pack).map_err(|reason| blame(&pins.pack_input, pack, reason))?;
    legal::pack_input(spec, pack).map_err(|reason| blame(&pins.pack_input, pack, reason))?;
    excluded("algorithm", &pins.algorithm, algorithm)?;
    legal::vector(algorithm, vector).map_err(|reason| match pins.algorithm {
        Some(_) => blame(&pins.vector, vector, reason),
        None => Refusal::layer(reason),
    })?;
    excluded("vector", &pins.vector, vector)?;
    excluded("pack_input", &pins.pack_input, pack)
}

/// Cycles that any plan of that way takes at least, as far as that is known.
fn least(spec: &LayerSpec, target: &Target, way: Way) -> f64 {
    let Way { algorithm, pack_input: pack, .. } = way;
    match algorithm.winograd() {
        Some(_) => {
            winograd::Search { spec, target, pins: &spec.schedule, algorithm, pack, worth: f64::INFINITY }.least()
        }
        None => 0.0,
    }
}

/// The best plan of a way that is legal, if there is one; if all of them take longer than `worth` cycles, it may be another.
fn plan(spec: &LayerSpec, target: &Target, way: Way, worth: f64, known: &mut Products) -> Result<Plan, Refusal> {
    let Way { algorithm, vector, pack_input: pack } = way;
    let pins = &spec.schedule;
    if algorithm.winograd().is_some() {
        return winograd::Search { spec, target, pins, algorithm, pack, worth }.best(known);
    }
    if algorithm == Algorithm::Unpool {
        return unpool::plan(spec);
    }
    if algorithm == Algorithm::Fft {
        return fft::Search { spec, target, pins, pack }.best();
    }
    let model = Model::new(spec, target, algorithm, vector, pack);
    let search = Search { spec, target, pins, algorithm, vector, pack, model };
    search.best()
}

/// The layer refuses `value`: the fault of the pin if that is what it pins.
fn blame<T: PartialEq>(pin: &Option<Spanned<T>>, value: T, reason: String) -> Refusal {
    match pin {
        Some(pin) if pin.value == value => Refusal::pinned(reason, pin.span),
        _ => Refusal::layer(reason),
    }
}

/// Refuses `value` if something else is pinned.
fn excluded<T: PartialEq + std::fmt::Display>(field: &str, pin: &Option<Spanned<T>>, value: T) -> Result<(), Refusal> {
    match pin {
        Some(pin) if pin.value != value => Err(Refusal::pinned(format!("{OTHER} {field}: {}", pin.value), pin.span)),
        _ => Ok(()),
    }
}

/// The search for tile, blocks and order under one algorithm, vector axis and way of reading the input.
struct Search<'a> {
    spec: &'a LayerSpec,
    target: &'a Target,
    pins: &'a Schedule,
    algorithm: Algorithm,
    vector: VectorAxis,
    pack: PackInput,
    model: Model<'a>,
}

/// Operations of the innermost loop that unrolling aims at.
const WRITTEN_OUT: usize = 40;

/// Iterations of a loop that a few threads can divide evenly enough.
pub(super) const ENOUGH: usize = 8;

pub(super) type Blocks = Vec<(Axis, usize)>;

/// What the schedule says of unrolling.
pub(super) fn pinned_unroll(pins: &Schedule) -> Result<Option<usize>, Refusal> {
    match &pins.unroll {
        Some(pin) if !(1..=legal::MOST_UNROLL).contains(&pin.value) => {
            let reason = format!("unroll is from 1 to {}, and not {}", legal::MOST_UNROLL, pin.value);
            Err(Refusal::pinned(reason, pin.span))
        }
        pin => Ok(pin.as_ref().map(|pin| pin.value)),
    }
}

/// How many of `count` steps of the innermost loop to write out: a divisor of them where one is near.
pub(super) fn unroll(count: usize, tile: TileShape) -> usize {
    // A step of a large tile nearly hides the loop's own instructions, and text costs compile time.
    let step = tile.rows * tile.vectors + tile.rows + tile.vectors;
    let most = (WRITTEN_OUT / step).clamp(2, 8).min(count);
    let divisor = (1..=most).rev().find(|u| count.is_multiple_of(*u)).unwrap_or(1);
    if divisor * 2 > most { divisor } else { most.min(4) }
}

impl Search<'_> {
    fn best(&self) -> Result<Plan, Refusal> {
        let (tile, block, unroll, cost) = self.tile()?;
        let (order, parallel) = self.order(tile, &block)?;
        Ok(Plan {
            algorithm: self.algorithm,
            vector: self.vector,
            tile,
            block,
            order,
            parallel,
            pack_input: self.pack,
            unroll,
            cost,
            why: self.why(tile, &cost),
        })
    }

    /// The tile of least cost, with its cache blocks and unrolling.
    fn tile(&self) -> Result<(TileShape, Blocks, usize, Cost), Refusal> {
        let with_rest = |tile: TileShape, tiling: &Tiling, unroll: usize, compute: f64| {
            let block = self.block(tile, tiling)?;
            let memory = self.model.memory(tiling, block.first().copied());
            let columns = match self.algorithm {
                Algorithm::Deformable => deformable_cycles(self.spec, self.target),
                _ => 0.0,
            };
            Ok((tile, block, unroll, Cost { compute, memory, packing: self.model.packing() + columns }))
        };
        if let Some(pin) = &self.pins.tile {
            let tile = TileShape { rows: pin.value.0, vectors: pin.value.1 };
            legal::tile(self.spec, self.target, self.algorithm, self.vector, tile)
                .map_err(|reason| Refusal::pinned(reason, pin.span))?;
            let (tiling, unroll) = (self.model.tiling(tile), self.unroll(tile)?);
            return with_rest(tile, &tiling, unroll, self.model.compute(&tiling, unroll));
        }
        let mut best: Option<(TileShape, Blocks, usize, Cost)> = None;
        let mut refusal = Refusal::layer(format!("no tile fits the {} registers", self.target.registers));
        let most = self.target.accumulators;
        let fits = |tile| legal::fits(self.spec, self.target, self.algorithm, self.vector, tile).is_ok();
        let mut tiles: Vec<TileShape> = (1..=most)
            .flat_map(|rows| (1..=most / rows).map(move |vectors| TileShape { rows, vectors }))
            .filter(|&tile| !self.too_wide(tile) && !self.masks_spill(tile) && fits(tile))
            .collect();
        // Large ones are mostly cheaper, and behind a cheap one others need no look at what they move.
        tiles.sort_by_key(|tile| std::cmp::Reverse(tile.rows * tile.vectors));
        for tile in tiles {
            let (tiling, unroll) = (self.model.tiling(tile), self.unroll(tile)?);
            let compute = self.model.compute(&tiling, unroll);
            if best.as_ref().is_some_and(|b| compute > b.3.total()) {
                continue;
            }
            // Of equals the one of the fewest rows, and then vectors.
            let is_better = |cost: &Cost, best: &(TileShape, Blocks, usize, Cost)| {
                let order = cost.total().total_cmp(&best.3.total());
                order.then((tile.rows, tile.vectors).cmp(&(best.0.rows, best.0.vectors))).is_lt()
            };
            match with_rest(tile, &tiling, unroll, compute) {
                Ok(plan) if best.as_ref().is_none_or(|b| is_better(&plan.3, b)) => best = Some(plan),
                Ok(_) => {}
                Err(reason) => refusal = reason,
            }
        }
        best.ok_or(refusal)
    }

    /// Tiles that reach past the output have an equal without the excess.
    fn too_wide(&self, tile: TileShape) -> bool {
        let lanes = self.target.lanes(self.spec.dtype.bytes());
        let g = &self.model.geometry;
        let (channels, pixels) = match self.vector {
            VectorAxis::Oc => ((tile.vectors - 1) * lanes, tile.rows - 1),
            VectorAxis::Ow => (tile.rows - 1, (tile.vectors - 1) * lanes),
        };
        channels >= g.oc.max(1) || pixels >= g.spatial[2].output.max(1)
    }

    /// Tiles of one vector that is not full, on AVX2, whose masks are vectors: they need a register, and in a tile without a free
    /// one each load brings them anew.
    fn masks_spill(&self, tile: TileShape) -> bool {
        let lanes = self.target.lanes(self.spec.dtype.bytes());
        let masked = self.vector == VectorAxis::Oc && self.model.geometry.oc < tile.vectors * lanes;
        let fewer = Target { registers: self.target.registers - 1, ..self.target.clone() };
        self.target.isa == Isa::Avx2
            && (masked || self.spec.dst_storage().is_narrow())
            && legal::fits(self.spec, &fewer, self.algorithm, self.vector, tile).is_err()
    }

    /// How many steps of the innermost loop to write out.
    fn unroll(&self, tile: TileShape) -> Result<usize, Refusal> {
        let g = &self.model.geometry;
        let count = if g.ic > 1 { g.src.innermost(g.ic) } else { g.spatial[2].kernel };
        Ok(pinned_unroll(self.pins)?.unwrap_or_else(|| unroll(count, tile)))
    }

    /// Cache blocks: none, or rows or pixels at a time, whichever moves least.
    fn block(&self, tile: TileShape, tiling: &Tiling) -> Result<Blocks, Refusal> {
        let w = &self.model.geometry.spatial[2];
        let lanes = self.target.lanes(self.spec.dtype.bytes());
        let pixels = if self.vector == VectorAxis::Oc { tile.rows } else { tile.vectors * lanes };
        if let (Some(pin), Algorithm::Deformable) = (&self.pins.block, self.algorithm) {
            legal::deformable_block(&pin.value).map_err(|reason| Refusal::pinned(reason, pin.span))?;
            return Ok(pin.value.clone());
        }
        if let Some(pin) = &self.pins.block {
            legal::block(&pin.value, pixels).map_err(|reason| Refusal::pinned(reason, pin.span))?;
            return Ok(pin.value.clone());
        }
        if let Some(order) = &self.pins.order {
            // The order says by naming an axis twice that it is blocked, which only makes sense with a size.
            return legal::order(&order.value, &[])
                .map(|()| Vec::new())
                .map_err(|reason| Refusal::pinned(reason, order.span));
        }
        let oh = self.model.geometry.spatial[1].output;
        if self.algorithm == Algorithm::Deformable {
            // As many rows as stay in the second level beside the weights, if threads have enough blocks.
            let row = deformable_column(self.spec) * self.spec.dtype.bytes();
            let fits =
                |&rows: &usize| rows == 1 || (rows * row <= self.target.l2_bytes / 3 && oh.div_ceil(rows) >= ENOUGH);
            let rows = [8, 4, 2, 1].into_iter().find(fits).filter(|&rows| rows > 1);
            return Ok(rows.map(|rows| (Axis::Oh, rows)).into_iter().collect());
        }
        if self.algorithm.is_by_channel() && self.model.geometry.src.lanes == 1 {
            // Channels are planes of their own, taken one by one; where they are few for threads, in bands of rows.
            let band = Some((Axis::Oh, oh.div_ceil(ENOUGH))).filter(|b| b.1 < oh);
            return Ok(band.filter(|_| tiling.longest_channel_loop() < self.enough()).into_iter().collect());
        }
        let mut options: Vec<Option<(Axis, usize)>> = vec![None];
        // Blocks that are few leave threads without work.
        let sizes = [1, 2, 4, 8, 16, 32].into_iter().filter(|&b| oh.div_ceil(b) >= ENOUGH.min(oh));
        options.extend(sizes.filter(|&b| b < oh).map(|b| Some((Axis::Oh, b))));
        let g = &self.model.geometry;
        let in_parts = self.algorithm.is_by_channel() || g.groups > 1;
        if in_parts && self.vector == VectorAxis::Oc && g.src.lanes > 1 {
            let sizes = [1, 2, 4, 8].map(|tiles| tiles * pixels);
            options.extend(sizes.into_iter().filter(|&b| b < w.output).map(|b| Some((Axis::Ow, b))));
        }
        if oh == 1 {
            let sizes = [2, 4, 8, 16, 32].map(|tiles| tiles * pixels);
            options.extend(sizes.into_iter().filter(|&b| b < w.output).map(|b| Some((Axis::Ow, b))));
        }
        let cycles = options.into_iter().map(|o| (self.model.memory(tiling, o), o));
        let best = cycles.min_by(|a, b| a.0.total_cmp(&b.0)).and_then(|b| b.1);
        Ok(best.into_iter().collect())
    }

    /// The loops, the parallel axis first.
    fn order(&self, tile: TileShape, block: &[(Axis, usize)]) -> Result<(Vec<Axis>, Axis), Refusal> {
        let pinned = self.pins.parallel.as_ref();
        if let Some(pin) = &self.pins.order {
            legal::order(&pin.value, block).map_err(|reason| Refusal::pinned(reason, pin.span))?;
            if self.algorithm == Algorithm::Deformable {
                legal::deformable_order(&pin.value).map_err(|reason| Refusal::pinned(reason, pin.span))?;
            }
            let first = pin.value[0];
            if let Some(p) = pinned.filter(|p| p.value != first) {
                let reason = format!("threads divide the outermost loop, which is {first} and not {}", p.value);
                return Err(Refusal::pinned(reason, p.span));
            }
            return Ok((pin.value.clone(), first));
        }
        if self.algorithm == Algorithm::Deformable {
            return self.deformable_order(block);
        }
        let mut order = match block.first() {
            // Weights stay while the whole image passes.
            None => vec![Axis::G, Axis::Oc, Axis::N, Axis::Od, Axis::Oh, Axis::Ow],
            // A block of the image stays while the weights pass.
            Some((Axis::Oh, _)) => vec![Axis::N, Axis::Od, Axis::Oh, Axis::G, Axis::Oc, Axis::Oh, Axis::Ow],
            Some(_) => vec![Axis::N, Axis::Od, Axis::Oh, Axis::Ow, Axis::G, Axis::Oc, Axis::Ow],
        };
        for &(axis, _) in block.iter().skip(1) {
            order.insert(0, axis);
        }
        let lead = pinned.map_or_else(|| self.lead(tile, &order, block), |p| p.value);
        if let Some(at) = order.iter().position(|&a| a == lead) {
            order.remove(at);
        }
        order.insert(0, lead);
        Ok((order, lead))
    }

    /// The loops of a deformable layer: over images and rows, in either order, and then as a block of the image has them.
    fn deformable_order(&self, block: &[(Axis, usize)]) -> Result<(Vec<Axis>, Axis), Refusal> {
        let rows = block.first().map_or(1, |b| b.1);
        let images = self.spec.fixed_batch().unwrap_or(1);
        let few = self.model.geometry.spatial[1].output.div_ceil(rows) < ENOUGH.min(images);
        let mut outer = if few { [Axis::N, Axis::Oh] } else { [Axis::Oh, Axis::N] };
        if let Some(pin) = &self.pins.parallel {
            if !outer.contains(&pin.value) {
                let reason = format!("threads divide rows or images of a deformable layer, and not {}", pin.value);
                return Err(Refusal::pinned(reason, pin.span));
            }
            if outer[0] != pin.value {
                outer.swap(0, 1);
            }
        }
        let inner = [Axis::G, Axis::Oc, Axis::Od].into_iter().chain(block.iter().map(|b| b.0)).chain([Axis::Ow]);
        Ok((outer.into_iter().chain(inner).collect(), outer[0]))
    }

    /// Iterations that are enough for threads: where the loop over channels passes through memory in order, fewer will do.
    fn enough(&self) -> usize {
        let in_order = self.algorithm.is_by_channel() && self.model.geometry.src.lanes == 1;
        if in_order { ENOUGH / 2 } else { ENOUGH }
    }

    /// The first loop of `order` with enough iterations for a few threads, or else the one with the most.
    ///
    /// Pixels come last of all: dividing a row would read its weights once a part.
    fn lead(&self, tile: TileShape, order: &[Axis], block: &[(Axis, usize)]) -> Axis {
        let g = &self.model.geometry;
        let size = |axis: Axis| block.iter().find(|b| b.0 == axis).map(|b| b.1);
        let iterations = |axis: Axis| match axis {
            Axis::N => self.spec.fixed_batch().unwrap_or(1),
            Axis::G => g.groups,
            Axis::Oc => self.model.tiling(tile).longest_channel_loop(),
            Axis::Od => g.spatial[0].output,
            Axis::Oh => g.spatial[1].output.div_ceil(size(Axis::Oh).unwrap_or(1)),
            Axis::Ow => size(Axis::Ow).map_or(1, |block| g.spatial[2].output / block),
        };
        // Inside a block, what comes after its loop stays inside.
        let outer = block.first().and_then(|b| order.iter().position(|&a| a == b.0)).map_or(order.len(), |at| at + 1);
        let enough = order[..outer].iter().copied().find(|&a| iterations(a) >= self.enough());
        let most = || order.iter().copied().rev().max_by_key(|&a| iterations(a)).filter(|&a| iterations(a) > 1);
        enough.or_else(most).unwrap_or(Axis::Ow)
    }

    fn why(&self, tile: TileShape, cost: &Cost) -> String {
        let how = match self.algorithm {
            Algorithm::Pointwise | Algorithm::Pointwise4 => {
                "the window is a single pixel, so all pixels form one matrix product"
            }
            Algorithm::Depthwise => "every channel has a window of its own",
            Algorithm::Deformable => "what the moved taps see is written for a few rows, which are a convolution then",
            Algorithm::Pool => "every element of a window is taken up once",
            _ => "the sum over the window as it stands",
        };
        let phases: usize = self.spec.spatial.iter().map(|a| a.stride.min(a.output)).product();
        let of_phases = match self.spec.operation {
            Operation::Transposed if phases > 1 => format!("{phases} phases, each with taps of its own; for each "),
            _ if self.spec.adaptive => "kinds of windows, one after the other; for each ".to_owned(),
            _ => String::new(),
        };
        let TileShape { rows, vectors } = tile;
        let percent = 100.0 * self.model.ideal() / cost.total().max(1.0);
        let bound = if cost.memory > cost.compute { "moving data" } else { "the tiles" };
        format!(
            "{of_phases}{how}; {} of {} registers hold sums, and {bound} should allow {percent:.0} % of the multiply-add limit",
            rows * vectors,
            self.target.registers,
        )
    }
}
