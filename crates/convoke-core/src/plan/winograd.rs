//! The search for a plan of Winograd's algorithm: a register tile for the matrix products, and blocks that stay in cache.

use std::collections::HashMap;

use super::choose::{Blocks, ENOUGH, Refusal, pinned_unroll, unroll};
use super::cost::{BANDWIDTH, Model, bandwidth, evicts};
use super::legal;
use super::{Algorithm, Axis, Cost, PackInput, Plan, TileShape, VectorAxis};
use crate::ir::Role;
use crate::lower::weights::WeightsPacking;
use crate::lower::{Geometry, View, WINOGRAD_REGISTERS, WinogradShape, winograd_steps, winograd_taps};
use crate::spec::{
    Batch, DType, Divisor, LayerSpec, Layout, Operation, PaddingMode, Schedule, SpatialAxis, WeightsLayout,
};
use crate::target::{LINE_BYTES, Target};

/// Tiles that a block may have.
const MOST_TILES: usize = 1024;
/// Blocks of the image for which all blocks of channels are looked at.
const CLOSER: usize = 3;
/// Vectors of the widest tile to look at.
const WIDEST: usize = 4;
/// Instructions a cycle in the transforms.
const TRANSFORM_RATE: f64 = 2.6;
/// Instructions' worth of moving a lane of its own.
const STRIDED: f64 = 3.1;
/// How much dearer that is where tiles are one element wide, so that a line of the cache is for as many tiles as it has elements.
const COLUMN: f64 = 1.8;
/// How much dearer it is, besides, where the lines of a tile's planes evict each other.
const CONFLICT: f64 = 2.0;
/// Cycles a lane that a line of a large output waits: it is written in pieces, between those of as many planes as there are lanes.
const FAR_LINE: f64 = 4.0;
/// How much dearer everything is where a stride makes parts: windows have few taps for the channels that they then have.
const PARTS: f64 = 1.4;
/// Instructions that a line costs besides its loads, stores and steps.
const LINE: f64 = 5.0;
/// Share of the time for weights from beyond the second level that products wait: each panel serves few tiles.
const WAITING: f64 = 0.6;
/// Share of the second-level cache that a block's transformed data may take to be found there again.
const NEAR: f64 = 0.8;

pub(super) struct Search<'a> {
    pub spec: &'a LayerSpec,
    pub target: &'a Target,
    pub pins: &'a Schedule,
    pub algorithm: Algorithm,
    pub pack: PackInput,
    /// Cycles from which on a plan is not wanted.
    pub worth: f64,
}

/// The parts of a plan that the search decides.
#[derive(Clone)]
struct Found {
    tile: TileShape,
    block: Vec<(Axis, usize)>,
    parallel: Axis,
    unroll: usize,
    cost: Cost,
}

/// What decides how products are best summed on a target.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Product {
    tiles: usize,
    /// Input channels of all parts.
    ic: usize,
    /// Output channels of a group, and those that are computed together.
    oc: [usize; 2],
    dtype: DType,
    weights_layout: WeightsLayout,
}

/// The tile and unrolling of least cycles for each, or why there is none. They are the same for all layouts of a layer.
pub(super) type Products = HashMap<Product, Result<(TileShape, usize, f64), Refusal>>;

impl Search<'_> {
    /// The best plan; `known` are products on the same target.
    pub(super) fn best(&self, known: &mut Products) -> Result<Plan, Refusal> {
        if self.target.registers < WINOGRAD_REGISTERS {
            let registers = self.target.registers;
            return Err(Refusal::layer(format!(
                "the transforms take {WINOGRAD_REGISTERS} registers, and there are {registers}"
            )));
        }
        let geometry = Geometry::of(self.spec, self.algorithm, self.pack);
        let packing = Model::new(self.spec, self.target, self.algorithm, VectorAxis::Oc, self.pack).packing();
        let worth = self.worth - packing;
        // What is pinned holds for this layer alone.
        let mut pinned = Products::new();
        let products = match self.pins {
            Schedule { tile: None, unroll: None, .. } => known,
            _ => &mut pinned,
        };
        // The first of each kind of block says which kinds are worth a closer look.
        let kinds = self.blocks(&geometry)?;
        let mut refusal = Refusal::layer("no block of tiles fits".to_owned());
        let mut found: Vec<(usize, Found)> = Vec::new();
        let total = |found: &Found| found.cost.total();
        for (kind, options) in kinds.iter().enumerate() {
            let Some((block, parallel)) = options.first() else { continue };
            // What is not among the cheapest of them need not be known.
            let bound = found.get(CLOSER - 1).map_or(f64::INFINITY, |last| total(&last.1));
            match self.found(&geometry, block, *parallel, bound, products) {
                Ok(first) => found.push((kind, first)),
                Err(reason) => refusal = reason,
            }
            found.sort_by(|a, b| total(&a.1).total_cmp(&total(&b.1)));
            found.truncate(CLOSER);
        }
        let mut best: Option<Found> = found.first().map(|first| first.1.clone());
        for (kind, _) in found {
            for (block, parallel) in kinds[kind].iter().skip(1) {
                let bound = best.as_ref().map_or(worth, total);
                if let Ok(other) = self.found(&geometry, block, *parallel, bound, products)
                    && total(&other) < bound
                {
                    best = Some(other);
                }
            }
        }
        let Found { tile, block, parallel, unroll, mut cost } = best.ok_or(refusal)?;
        cost.packing = packing;
        let order = order(&block, parallel);
        let m = self.algorithm.winograd().unwrap_or(2);
        let rank = self.spec.spatial.iter().filter(|a| a.kernel == 3).count() as i32;
        let saved = (3.0 * m as f64 / (m + 2) as f64).powi(rank);
        let why = format!(
            "{saved:.2} times fewer products, summed in tiles of {}x{} sums, and the transforms should leave {:.2} times",
            tile.rows,
            tile.vectors,
            self.ideal() / cost.total().max(1.0),
        );
        Ok(Plan {
            algorithm: self.algorithm,
            vector: VectorAxis::Oc,
            tile,
            block,
            order,
            parallel,
            pack_input: self.pack,
            unroll,
            cost,
            why,
        })
    }

    /// Cycles that any plan takes at least: the products as fast as can be, and the transforms.
    pub(super) fn least(&self) -> f64 {
        let geometry = Geometry::of(self.spec, self.algorithm, self.pack);
        let m = self.algorithm.winograd().unwrap_or(2);
        let whole = WinogradShape::new(self.spec, &geometry, m, &[], Axis::N);
        let images = self.spec.fixed_batch().unwrap_or(1).max(1) as f64;
        let packing = Model::new(self.spec, self.target, self.algorithm, VectorAxis::Oc, self.pack).packing();
        let product = self.least_product(&geometry, &whole);
        packing + self.compute(&geometry, &whole, product) / images
    }

    /// Cycles of the products of one element of a block's tiles, as fast as can be.
    fn least_product(&self, geometry: &Geometry, shape: &WinogradShape) -> f64 {
        let sums = (shape.tiles * geometry.ic * shape.parts * geometry.oc) as f64;
        sums / (self.lanes() * self.target.fma_per_cycle) as f64
    }

    /// Cycles of the multiply-adds of a direct sum.
    fn ideal(&self) -> f64 {
        self.spec.macs_per_image() as f64 / (self.lanes() * self.target.fma_per_cycle) as f64
    }

    /// Blocks to look at, each with the axis that threads divide, those of one block of the image together.
    fn blocks(&self, geometry: &Geometry) -> Result<Vec<Vec<(Blocks, Axis)>>, Refusal> {
        let m = self.algorithm.winograd().unwrap_or(2);
        let shape = |block: &[(Axis, usize)]| WinogradShape::new(self.spec, geometry, m, block, Axis::N);
        let panel = WeightsPacking::new(self.spec, self.algorithm).lanes;
        if let Some(pin) = &self.pins.block {
            legal::winograd_block(self.spec, geometry, m, &pin.value, panel)
                .map_err(|reason| Refusal::pinned(reason, pin.span))?;
            let parallel = match &self.pins.parallel {
                Some(parallel) => {
                    self.divides(geometry, &pin.value, parallel.value)
                        .map_err(|reason| Refusal::pinned(reason, parallel.span))?;
                    parallel.value
                }
                None => self.lead(geometry, &pin.value),
            };
            return self.in_order(vec![vec![(pin.value.clone(), parallel)]]);
        }
        let mut images: Vec<Option<(Axis, usize)>> = Vec::new();
        let whole = shape(&[]);
        if whole.tiles <= MOST_TILES {
            images.push(None);
        }
        if let Batch::Fixed(n) = self.spec.batch {
            images.extend([1, 2, 4, 8, 16, 32].into_iter().filter(|&b| b < n).map(|b| Some((Axis::N, b))));
        }
        for (a, axis) in [Axis::Od, Axis::Oh, Axis::Ow].into_iter().enumerate() {
            let tiles = whole.axes[a].tiles;
            let sizes = [1, 2, 3, 4, 6, 8, 12, 16, 24, 48, 96].into_iter().filter(|&b| b < tiles);
            images.extend(sizes.map(|b| Some((axis, b * whole.axes[a].m))));
        }
        let near = self.target.l2_bytes as f64 * NEAR / self.spec.dtype.bytes() as f64;
        let weights = WeightsPacking::new(self.spec, self.algorithm).packed_len();
        let (mut kinds, mut refusal) = (Vec::new(), None);
        for image in images {
            let block: Vec<_> = image.into_iter().collect();
            let cut = shape(&block);
            // Far too large for a cache, unless weights are so many that what counts is how often they pass.
            let large = cut.input_len() as f64 > 2.0 * near && cut.tiles > 32;
            if cut.tiles > MOST_TILES || (large && cut.input_len() > weights) {
                continue;
            }
            let mut found = Vec::new();
            let lead = self.lead(geometry, &block);
            for size in channel_blocks(geometry.oc, panel) {
                let mut block = block.clone();
                if size < geometry.oc {
                    block.push((Axis::Oc, size));
                }
                let cut = shape(&block);
                let bytes = |elements: usize| elements.saturating_mul(self.spec.dtype.bytes());
                let each = bytes(cut.input_len().saturating_add(cut.output_len()));
                let blocks = cut.outer.iter().map(|&o| cut.outer_count(o).unwrap_or(1));
                let all = blocks.fold(bytes(cut.input_len()), usize::saturating_mul);
                if each > legal::MOST_TRANSFORMED {
                    continue;
                }
                // Blocks of channels that are few leave threads without work.
                let enough = geometry.oc.div_ceil(size) >= (ENOUGH / 2).min(geometry.oc.div_ceil(panel))
                    && all <= legal::MOST_TRANSFORMED;
                if lead == Axis::Oc && !enough && self.pins.parallel.is_none() {
                    continue;
                }
                if let Some(pin) = &self.pins.parallel {
                    match self.divides(geometry, &block, pin.value) {
                        Ok(()) => found.push((block, pin.value)),
                        Err(reason) => refusal = Some(Refusal::pinned(reason, pin.span)),
                    }
                    continue;
                }
                found.push((block.clone(), lead));
                if lead != Axis::Oc && enough {
                    found.push((block, Axis::Oc));
                }
            }
            kinds.push(found);
        }
        match refusal {
            Some(refusal) if kinds.iter().all(Vec::is_empty) => Err(refusal),
            _ => self.in_order(kinds),
        }
    }

    /// Those of `kinds` whose loops are in the order that is pinned.
    fn in_order(&self, mut kinds: Vec<Vec<(Blocks, Axis)>>) -> Result<Vec<Vec<(Blocks, Axis)>>, Refusal> {
        let Some(pin) = &self.pins.order else { return Ok(kinds) };
        let orders: Vec<Vec<Axis>> = kinds.iter().flatten().map(|(block, parallel)| order(block, *parallel)).collect();
        kinds.iter_mut().for_each(|kind| kind.retain(|(block, parallel)| order(block, *parallel) == pin.value));
        if kinds.iter().any(|kind| !kind.is_empty()) {
            return Ok(kinds);
        }
        let names: Vec<_> = orders.first().into_iter().flatten().map(|a| a.name()).collect();
        let names = names.join(", ");
        let reason = format!("the order of Winograd's algorithm follows from block and parallel: ({names})");
        Err(Refusal::pinned(reason, pin.span))
    }

    /// Whether threads can divide `parallel`: the output channels, or a loop around blocks.
    fn divides(&self, geometry: &Geometry, block: &[(Axis, usize)], parallel: Axis) -> Result<(), String> {
        let m = self.algorithm.winograd().unwrap_or(2);
        let shape = WinogradShape::new(self.spec, geometry, m, block, parallel);
        let rows = geometry.spatial[0].output * geometry.spatial[1].output;
        if parallel == Axis::Ow && rows > 1 {
            return Err("threads divide rows or the output channels where there are rows, and not ow".to_owned());
        }
        if parallel == Axis::Oc || shape.divided {
            return Ok(());
        }
        Err(format!(
            "threads divide the output channels or a loop around blocks of tiles, and {parallel} is neither here"
        ))
    }

    /// The axis with enough blocks for threads, or else the output channels.
    fn lead(&self, geometry: &Geometry, block: &[(Axis, usize)]) -> Axis {
        let m = self.algorithm.winograd().unwrap_or(2);
        let shape = WinogradShape::new(self.spec, geometry, m, block, Axis::N);
        let axes = shape.outer.iter().filter_map(|&o| Some((shape.along(o)?, shape.outer_count(o).unwrap_or(ENOUGH))));
        let rows = geometry.spatial[0].output * geometry.spatial[1].output;
        let axes = axes.filter(|a| a.0 != Axis::Ow || rows <= 1);
        // The first of those with the most.
        axes.min_by_key(|a| std::cmp::Reverse(a.1.min(ENOUGH))).filter(|a| a.1 > 1).map_or(Axis::Oc, |a| a.0)
    }

    /// The best tile for a block, and what all of it costs; refused if that is more than `bound`.
    fn found(
        &self,
        geometry: &Geometry,
        block: &Blocks,
        parallel: Axis,
        bound: f64,
        products: &mut Products,
    ) -> Result<Found, Refusal> {
        let m = self.algorithm.winograd().unwrap_or(2);
        let shape = WinogradShape::new(self.spec, geometry, m, block, parallel);
        let least = self.least_product(geometry, &shape);
        if self.cost(geometry, &shape, None, least, parallel).total() > bound {
            return Err(Refusal::layer("other blocks are cheaper".to_owned()));
        }
        let product =
            products.entry(self.kind_of_product(geometry, &shape)).or_insert_with(|| self.product(geometry, &shape));
        let (tile, unroll, product) = product.clone()?;
        let cost = self.cost(geometry, &shape, Some(tile), product, parallel);
        Ok(Found { tile, block: block.clone(), parallel, unroll, cost })
    }

    fn lanes(&self) -> usize {
        self.target.lanes(self.spec.dtype.bytes())
    }

    fn kind_of_product(&self, geometry: &Geometry, shape: &WinogradShape) -> Product {
        let (tiles, ic, oc) = (shape.tiles, geometry.ic * shape.parts, [geometry.oc, shape.channels]);
        Product { tiles, ic, oc, dtype: self.spec.dtype, weights_layout: self.spec.weights_layout }
    }

    /// The best tile for the products of a block for all output channels.
    fn product(&self, geometry: &Geometry, shape: &WinogradShape) -> Result<(TileShape, usize, f64), Refusal> {
        let inner = self.inner(geometry, shape, shape.channels);
        let model_of = |inner| Model::new(inner, self.target, Algorithm::Pointwise, VectorAxis::Oc, PackInput::None);
        let model = model_of(&inner);
        // What full blocks of channels leave over.
        let (full, rest) = (geometry.oc / shape.channels, geometry.oc % shape.channels);
        let inner_rest = self.inner(geometry, shape, rest.max(1));
        let model_rest = (rest > 0).then(|| model_of(&inner_rest));
        let pinned_unroll = pinned_unroll(self.pins)?;
        let mut best: Option<(TileShape, usize, f64)> = None;
        let mut look = |tile: TileShape| {
            let unroll = pinned_unroll.unwrap_or_else(|| unroll(geometry.ic * shape.parts, tile));
            let rest = model_rest.as_ref().map_or(0.0, |m| m.compute(&m.tiling(tile), unroll));
            let compute = full as f64 * model.compute(&model.tiling(tile), unroll) + rest;
            if best.is_none_or(|b| compute < b.2) {
                best = Some((tile, unroll, compute));
            }
        };
        if let Some(pin) = &self.pins.tile {
            let tile = TileShape { rows: pin.value.0, vectors: pin.value.1 };
            legal::tile(&inner, self.target, Algorithm::Pointwise, VectorAxis::Oc, tile)
                .map_err(|reason| Refusal::pinned(reason, pin.span))?;
            look(tile);
        } else {
            for vectors in 1..=WIDEST.min(shape.channels.div_ceil(self.lanes())) {
                let most = (self.target.accumulators / vectors).min(shape.tiles);
                let even = shape.tiles.div_ceil(shape.tiles.div_ceil(most.max(1)));
                for rows in [most, even] {
                    let tile = TileShape { rows, vectors };
                    if legal::fits(&inner, self.target, Algorithm::Pointwise, VectorAxis::Oc, tile).is_ok() {
                        look(tile);
                    }
                }
            }
        }
        best.ok_or_else(|| Refusal::layer(format!("no tile fits the {} registers", self.target.registers)))
    }

    /// The product for one element of the tiles and `channels` output channels, as a layer.
    fn inner(&self, geometry: &Geometry, shape: &WinogradShape, channels: usize) -> LayerSpec {
        let w = SpatialAxis { input: shape.tiles, output: shape.tiles, ..SpatialAxis::UNIT };
        LayerSpec {
            name: String::new(),
            operation: Operation::Convolution,
            divisor: Divisor::Padded,
            adaptive: false,
            p: 2,
            return_indices: false,
            rank: 1,
            batch: Batch::Fixed(1),
            in_channels: geometry.ic * shape.parts,
            out_channels: channels,
            groups: 1,
            offset_groups: 1,
            mask: false,
            layout: Layout::ChannelsLast,
            spatial: [SpatialAxis::UNIT, SpatialAxis::UNIT, w],
            padding_mode: PaddingMode::Zeros,
            bias: false,
            then: Vec::new(),
            schedule: Schedule::default(),
            dtype: self.spec.dtype,
            half: None,
            integers: None,
            complex: false,
            weights_layout: self.spec.weights_layout,
            accuracy: self.spec.accuracy,
        }
    }

    /// Cycles of a block: its products, which take so many for one element of the tiles, and its transforms.
    fn compute(&self, geometry: &Geometry, shape: &WinogradShape, product: f64) -> f64 {
        let lanes = self.lanes();
        let (groups, elements, tiles) = (geometry.groups as f64, shape.elements as f64, shape.tiles as f64);
        let vectors = |channels: usize| channels.div_ceil(lanes) as f64;
        let (m, registers) = (self.algorithm.winograd().unwrap_or(2), self.target.registers);
        let [forward, back] = winograd_steps(m, winograd_taps(self.spec), registers);
        // Lines of a tile: along each axis, as many as there are elements along the others.
        let (mut lines, mut lines_back, mut left) = ([0.0, 0.0], [0.0, 0.0], elements);
        for a in shape.transformed() {
            let axis = shape.axes[a];
            lines = [lines[0] + elements / axis.alpha as f64, axis.alpha as f64];
            let others = left / axis.alpha as f64;
            lines_back = [lines_back[0] + others, (axis.alpha + axis.m) as f64];
            left = others * axis.m as f64;
        }
        let column = if shape.axes[2].alpha == 1 { COLUMN } else { 1.0 };
        // Of all channels.
        let strided = |view: &View, channels: usize| match view.lanes {
            1 if lanes > 1 => {
                let conflict = 1.0 + CONFLICT * evicts(self.target, view, lanes, self.spec.dtype.bytes());
                STRIDED * channels as f64 * elements * column * conflict
            }
            _ => 0.0,
        };
        let channels = [self.spec.in_channels, self.spec.out_channels];
        let input = lines[0] * (2.0 * lines[1] + forward as f64 + LINE) * vectors(channels[0])
            + strided(&geometry.src, channels[0]);
        let epilogue = 2.0 + self.spec.then.len() as f64;
        let output = (lines_back[0] * (lines_back[1] + back as f64 + LINE) + left * (2.0 + epilogue))
            * vectors(channels[1])
            + strided(&geometry.dst, channels[1]) * left / elements;
        let transforms = tiles * (input * shape.parts as f64 + output);
        let dearer = if shape.parts > 1 { PARTS } else { 1.0 };
        dearer * (elements * groups * product + transforms / TRANSFORM_RATE)
    }

    /// Cycles for one image, if products take so many; without what a tile of them reads again if that is `None`.
    fn cost(
        &self,
        geometry: &Geometry,
        shape: &WinogradShape,
        tile: Option<TileShape>,
        product: f64,
        parallel: Axis,
    ) -> Cost {
        let bytes = self.spec.dtype.bytes() as f64;
        let lanes = self.lanes();
        let (groups, elements, tiles) = (geometry.groups as f64, shape.elements as f64, shape.tiles as f64);
        let images = self.spec.fixed_batch().unwrap_or(1).max(1) as f64;
        let blocks: f64 = shape.outer.iter().map(|&o| shape.outer_count(o).unwrap_or(1).max(1) as f64).product::<f64>();
        let blocks = (blocks / images).max(1.0 / images);
        let compute = blocks * self.compute(geometry, shape, product);

        let weights = WeightsPacking::new(self.spec, self.algorithm).packed_len() as f64 * bytes;
        let (input, output) = (shape.input_len() as f64 * bytes, shape.output_len() as f64 * bytes);
        let all_input = if parallel == Axis::Oc { input * blocks * images } else { input };
        let channel_blocks = (geometry.oc.div_ceil(shape.channels.max(1))) as f64;
        let bandwidth = |bytes: f64| bandwidth(self.target, bytes);
        let near = bandwidth(all_input + output);
        let far = bandwidth(weights + all_input + output);
        // Weights pass once a block; what a block reads of its input passes once a block of channels.
        let passes = if parallel == Axis::Oc && weights / channel_blocks + input < self.target.l2_bytes as f64 {
            1.0 / (blocks * images)
        } else {
            1.0
        };
        let stream = blocks * weights * passes / far;
        let compute = compute + if weights > self.target.l2_bytes as f64 { stream * WAITING } else { 0.0 };
        let mut memory = stream;
        memory += blocks * input * (1.0 + channel_blocks) / near;
        memory += blocks * 2.0 * output * groups * channel_blocks / bandwidth(output);
        // A run's weights for one element, and the rows that a tile reads: whether they stay in the first level.
        if let Some(tile) = tile {
            let run = (tile.vectors * lanes) as f64;
            let ic = geometry.ic * shape.parts;
            let (panel, rows) = (ic as f64 * run * bytes, (tile.rows * ic) as f64 * bytes);
            if panel + rows > self.target.l1_bytes as f64 * 0.8 {
                let calls = (tiles / tile.rows as f64).ceil() * (geometry.oc as f64 / run).ceil() * groups * elements;
                memory += blocks * calls * (panel + rows) / bandwidth(self.target.l2_bytes as f64 * 0.5);
            }
        }
        let (src, outputs) = (geometry.src.n as f64, self.spec.dst_image() as f64);
        let tensor = self.spec.tensor_bytes() as f64;
        let src = src * if geometry.src.role == Role::Src { tensor } else { bytes };
        let outputs = outputs * tensor;
        let dst = outputs * self.spec.tensors_of_output();
        memory += (src + dst) / BANDWIDTH[1];
        let scattered = geometry.dst.lanes == 1 && dst > self.target.l2_bytes as f64;
        let compute = compute + if scattered { dst / LINE_BYTES as f64 * FAR_LINE * lanes as f64 } else { 0.0 };
        Cost { compute, memory, packing: 0.0 }
    }
}

/// Sizes of blocks of output channels: all of them, or some panels.
fn channel_blocks(oc: usize, panel: usize) -> Vec<usize> {
    let mut sizes = vec![oc];
    sizes.extend([1, 2, 3, 4, 6, 8].map(|panels| panels * panel).into_iter().filter(|&s| s < oc));
    sizes
}

/// The loops as a plan names them: around the blocks, then the output channels, then inside.
fn order(block: &[(Axis, usize)], parallel: Axis) -> Vec<Axis> {
    let blocked = |axis: Axis| block.iter().any(|b| b.0 == axis);
    let image = [Axis::N, Axis::Od, Axis::Oh, Axis::Ow];
    let at = image.iter().position(|&a| blocked(a)).unwrap_or(0);
    let mut order: Vec<Axis> = image[..at].to_vec();
    order.extend(image.iter().copied().filter(|&a| blocked(a)));
    order.push(Axis::G);
    order.push(Axis::Oc);
    order.extend(&image[at..]);
    if blocked(Axis::Oc) {
        order.push(Axis::Oc);
    }
    if let Some(lead) = order.iter().position(|&a| a == parallel) {
        let first = order.remove(lead);
        order.insert(0, first);
    }
    order
}
