//! The analytic cost of a plan: cycles in the tiles, and cycles to bring data near.
//!
//! The model counts what the lowering emits, part by part: multiply-adds against loads against the latency of the
//! accumulators, loop and call overhead, epilogue and stores; and, for each loop order, how often weights and input
//! pass from which cache. It ranks plans of one layer; it does not predict times.

mod cache;
mod copy;
mod count;

use super::{Algorithm, Axis, PackInput, TileShape, VectorAxis};
use crate::lower::weights::WeightsPacking;
use crate::lower::{
    ChannelPart, Geometry, PixelRun, Taps, View, counts_taps, cut_channels, cut_pixels, epilogue_registers, slide,
    slides, slides_alone,
};
use crate::spec::{Half, LayerSpec, PAIR, QUAD};
use crate::target::{LINE_BYTES, Target};
pub(super) use cache::{BANDWIDTH, bandwidth};
use cache::{WAYS, lost};
use count::{rows_read, total_taps};

/// Bytes of a cache line.
const LINE: f64 = LINE_BYTES as f64;
/// Share of the second-level cache that a block of rows may take to stay there beside everything else.
const NEAR: f64 = 0.4;
/// Share of the first-level cache that the data of a tile may take to stay there for the next.
const STAYS: f64 = 0.7;
/// How much dearer lines are that one run brings and others find.
const PARTLY: f64 = 1.3;
/// How much dearer the same is where a few pixels are near, and not rows.
const HALVES: f64 = 1.7;
/// How much slower lines come that do not follow each other.
const SCATTERED: f64 = 2.0;
/// Cycles to wait for a line that another one evicted from the first level.
const STALL: f64 = 2.0;
/// Share of the time to bring lines from the second level that is not hidden, where a tile reads more than the first keeps.
const SOME: f64 = 0.2;
/// Share of the time for loads that is not hidden behind multiply-adds.
const LOADING: f64 = 0.1;
/// Cycles to bring a line back that is to be written.
const EVICTED: f64 = 45.0;
/// Cycles to begin writing where memory was not written before.
const JUMP: f64 = 120.0;
/// Streams of a read that the hardware fetches ahead.
const STREAMS: usize = 32;
/// Cycles to wait for a line from memory that it did not.
const STRAY: f64 = 40.0;
/// Cycles to call a tile and come back.
const CALL: f64 = 12.0;
/// Loads that a vector of every second element counts as: two, a permutation, and what that holds up.
const EVEN: f64 = 5.0;
/// Loads that a vector as long as a line of the cache counts as: it starts anywhere, and so lies in two.
const SPLIT: f64 = 1.9;
/// Loads that bringing a lane of its own counts as.
const LANE: f64 = 1.2;
/// The same where every lane is from a plane of its own: of an input that the second level holds, and of a larger one.
const PLANE: [f64; 2] = [1.4, 2.2];
/// Micro-operations that make lanes of a vector of halves.
const WIDENING: f64 = 1.0;
/// The same of one half that goes to every lane: an `f16`, whose conversion shares the units of the multiply-adds, and a `bf16`.
const WIDENING_ALL: [f64; 2] = [4.8, 2.4];
/// Cycles to round a vector to halves.
const ROUNDING: f64 = 4.0;
/// Micro-operations that a core looks ahead.
const WINDOW: f64 = 200.0;
/// How much longer than the latency the chains of sums of a tile take that has just enough of them.
const LATE: f64 = 1.15;
/// Cycles until the result of a dot product of bytes can be used.
const DOT_LATENCY: f64 = 5.0;
/// Cycles to enter and leave a reduction loop.
const LOOP: f64 = 4.0;
/// Cycles of loop control that one round of the innermost loop adds.
const ROUND: f64 = 0.5;

/// A layer under one algorithm, vector axis and way of reading the input: what all its tiles share.
pub(crate) struct Model<'a> {
    /// What has the most work: the layer, or, of a transposed one, some of its phases.
    pub(crate) geometry: Geometry,
    parts: Vec<Part<'a>>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(
        spec: &'a LayerSpec,
        target: &'a Target,
        algorithm: Algorithm,
        vector: VectorAxis,
        pack_input: PackInput,
    ) -> Self {
        let parts = Geometry::parts(spec, algorithm, pack_input).into_iter();
        let part = |geometry| Part::new(spec, target, algorithm, vector, pack_input, geometry);
        let mut parts: Vec<_> = parts.map(part).collect();
        parts.sort_by(|a, b| b.work().total_cmp(&a.work()));
        Self { geometry: parts[0].geometry.clone(), parts }
    }

    /// How `tile` cuts the output.
    pub(crate) fn tiling(&self, tile: TileShape) -> Tiling {
        Tiling(self.parts.iter().map(|part| part.tiling(tile)).collect())
    }

    /// Cycles in the tiles for one image.
    pub(crate) fn compute(&self, tiling: &Tiling, unroll: usize) -> f64 {
        self.parts.iter().zip(&tiling.0).map(|(part, tiling)| part.compute(tiling, unroll)).sum()
    }

    /// Cycles to bring weights and input to the tiles, for one image, under `block` outputs of `axis` at a time
    /// (`None`: the whole image for each run of channels).
    pub(crate) fn memory(&self, tiling: &Tiling, block: Option<(Axis, usize)>) -> f64 {
        self.parts.iter().zip(&tiling.0).map(|(part, tiling)| part.memory(tiling, block)).sum()
    }

    /// Cycles to copy the input with its padding, for one image.
    pub(crate) fn packing(&self) -> f64 {
        self.parts[0].packing()
    }

    /// Cycles that the multiply-adds alone take.
    pub(crate) fn ideal(&self) -> f64 {
        self.parts[0].ideal()
    }
}

/// Share of the lines of so many planes of `view`, of elements of `bytes`, that evict each other from the first level.
pub(super) fn evicts(target: &Target, view: &View, planes: usize, bytes: usize) -> f64 {
    lost(target.l1_bytes, WAYS[0], view, planes, bytes)
}

/// Runs of channels and of pixels that a tile cuts the output of each part into.
pub(crate) struct Tiling(Vec<PartTiling>);

impl Tiling {
    /// Iterations of the longest loop over channels.
    pub(crate) fn longest_channel_loop(&self) -> usize {
        self.0[0].channels.iter().map(|p| if p.outer > 1 { p.outer } else { p.inner }).max().unwrap_or(1)
    }
}

/// One convolution of those that make up the layer, for as many phases as have it.
struct Part<'a> {
    spec: &'a LayerSpec,
    target: &'a Target,
    algorithm: Algorithm,
    vector: VectorAxis,
    pack_input: PackInput,
    geometry: Geometry,
    packing: WeightsPacking,
    lanes: usize,
    /// How many phases.
    phases: f64,
    /// Taps along `kd` and `kh`, summed over `od` and `oh`.
    slices: f64,
    /// Positions along `od` and `oh`.
    positions: f64,
    /// Shares of the input's lines that do not stay in the first and the second level while a tile reads all its planes.
    lost: [f64; 2],
}

impl<'a> Part<'a> {
    fn new(
        spec: &'a LayerSpec,
        target: &'a Target,
        algorithm: Algorithm,
        vector: VectorAxis,
        pack_input: PackInput,
        geometry: Geometry,
    ) -> Self {
        let [d, h, _] = geometry.spatial;
        let lanes = target.lanes(spec.dtype.bytes());
        let src_bytes = src_bytes(spec, algorithm, pack_input);
        let planes = match (algorithm, vector) {
            (algorithm, VectorAxis::Oc) if algorithm.is_by_channel() => lanes,
            _ => geometry.ic,
        };
        Self {
            spec,
            target,
            algorithm,
            vector,
            pack_input,
            packing: WeightsPacking::new(spec, algorithm),
            lanes,
            phases: geometry.phases.iter().product::<usize>() as f64,
            slices: if geometry.empty { 0.0 } else { total_taps(&d) * total_taps(&h) },
            positions: (d.output * h.output) as f64,
            lost: [(target.l1_bytes, WAYS[0]), (target.l2_bytes, WAYS[1])]
                .map(|(bytes, ways)| lost(bytes, ways, &geometry.src, planes, src_bytes)),
            geometry,
        }
    }

    /// Bytes of an element of what tiles read.
    fn src_bytes(&self) -> usize {
        src_bytes(self.spec, self.algorithm, self.pack_input)
    }

    /// Micro-operations that widen what a load brings.
    fn widening(&self) -> f64 {
        if self.src_bytes() < self.spec.dtype.bytes() { WIDENING } else { 0.0 }
    }

    /// The same of what a broadcast brings.
    fn widening_all(&self) -> f64 {
        match self.spec.half {
            Some(half) if self.src_bytes() < self.spec.dtype.bytes() => WIDENING_ALL[usize::from(half == Half::Bf16)],
            _ => 0.0,
        }
    }

    /// Taps summed over all outputs: what parts are compared by.
    fn work(&self) -> f64 {
        let w = &self.geometry.spatial[2];
        self.phases * (self.slices * (w.kernel * w.output) as f64 + self.positions)
    }

    /// The part's share of the packed weights.
    fn weights(&self) -> f64 {
        if self.geometry.empty { 0.0 } else { self.packing.packed_len() as f64 * (self.taps() * self.phases).min(1.0) }
    }

    /// The share of the window's taps that one phase has.
    fn taps(&self) -> f64 {
        let taps: usize = self.geometry.spatial.iter().map(|a| a.kernel).product();
        taps as f64 / self.spec.taps().max(1) as f64
    }

    /// Elements of the output that the part has.
    fn outputs(&self) -> f64 {
        let pixels: usize = self.geometry.spatial.iter().map(|a| a.output).product();
        (self.spec.dst_channels() * pixels) as f64 * self.phases
    }

    fn along_channels(&self) -> bool {
        self.vector == VectorAxis::Oc
    }

    fn tiling(&self, tile: TileShape) -> PartTiling {
        let along = tile.vectors * self.lanes;
        let (channels, pixels) = if self.along_channels() { (along, tile.rows) } else { (tile.rows, along) };
        let w = &self.geometry.spatial[2];
        PartTiling {
            channels: cut_channels(self.geometry.oc, channels, self.packing.lanes, self.vector),
            pixels: cut_pixels(w, 0, w.output, pixels, self.along_channels() && !counts_taps(self.spec, 2)),
        }
    }

    fn compute(&self, tiling: &PartTiling, unroll: usize) -> f64 {
        let stall = self.stall(tiling);
        let mut cycles = 0.0;
        for part in &tiling.channels {
            for run in &tiling.pixels {
                let calls = (part.outer * part.inner * run.count) as f64;
                let share = run.pixels as f64 / tiling.pixels_of_tile() as f64;
                cycles += calls * (self.tile(part.channels, run, unroll) + self.positions * stall * share);
            }
        }
        cycles * self.geometry.groups as f64 * self.phases
    }

    /// Cycles that a full tile waits for input that the first level did not keep for it.
    ///
    /// Lines that evict each other come again with every tap; those that are merely too many, with the next tile.
    fn stall(&self, tiling: &PartTiling) -> f64 {
        if self.geometry.src.lanes > 1 || self.geometry.empty {
            return 0.0;
        }
        let [d, h, w] = &self.geometry.spatial;
        let bytes = self.src_bytes();
        let lines = ((tiling.pixels_of_tile() - 1) * w.stride * bytes + LINE_BYTES) as f64 / LINE;
        let visits = (self.geometry.ic * d.kernel * h.kernel * w.kernel) as f64 * lines;
        let again = if self.keeps(tiling) { 0.0 } else { SOME * self.tile_src(tiling) / BANDWIDTH[0] };
        (self.lost[0] * visits * STALL).max(again)
    }

    /// Whether weights and input of a tile fit the first level.
    fn keeps(&self, tiling: &PartTiling) -> bool {
        self.run_weights(tiling) + self.tile_src(tiling) <= self.target.l1_bytes as f64 * STAYS
    }

    /// Bytes of the weights of a full run of channels; a run of less than a panel brings its cache lines whole.
    fn run_weights(&self, tiling: &PartTiling) -> f64 {
        let panels = tiling.channels_of_tile().div_ceil(self.packing.lanes);
        (panels * self.packing.panel_len() * self.spec.dtype.bytes()) as f64 * self.taps().min(1.0)
    }

    /// Cycles of the calls for one run of pixels, over all positions along `od` and `oh`.
    fn tile(&self, channels: usize, run: &PixelRun, unroll: usize) -> f64 {
        let (rows, along) = if self.along_channels() { (run.pixels, channels) } else { (channels, run.pixels) };
        let vectors = along.div_ceil(self.lanes);
        let w = &self.geometry.spatial[2];
        let ic = self.geometry.ic as f64;
        let rounds = |steps: f64| steps / unroll as f64 * ROUND;
        let per_slice = match &run.taps {
            Taps::All | Taps::Edge(_) if self.slides(rows, vectors) => self.slide(rows, vectors) + LOOP,
            Taps::Edge(taps) => {
                let step = |r: &std::ops::Range<usize>| ic * self.step(r.len(), vectors) + rounds(ic) + LOOP;
                taps.iter().filter(|r| !r.is_empty()).map(step).sum()
            }
            Taps::All => {
                let steps = ic * w.kernel as f64;
                steps * self.step(rows, vectors) + rounds(steps) + LOOP
            }
            // Single pixels have half of the taps on average.
            Taps::Single => ic * w.kernel as f64 / 2.0 * (self.step(rows, vectors) + ROUND) + 2.0 * LOOP,
        };
        self.slices * per_slice + self.positions * self.call(rows, vectors)
    }

    fn slides(&self, rows: usize, vectors: usize) -> bool {
        let (kind, tile) = ((self.algorithm, self.vector), (rows, vectors));
        slides(self.algorithm, self.vector, &self.geometry.spatial[2])
            || slides_alone(&self.geometry, kind, tile, (self.target.registers, self.target.fma))
    }

    /// Cycles of one row of the window of a sliding tile.
    fn slide(&self, rows: usize, vectors: usize) -> f64 {
        let w = &self.geometry.spatial[2];
        let reads = slide(w, rows).len();
        let (read, load) = match self.algorithm {
            Algorithm::Depthwise => ((reads * vectors) as f64, self.channel_load()),
            _ => (reads as f64, self.target.broadcast_uops as f64),
        };
        let loads = (w.kernel * vectors) as f64 + read * load;
        let taps = w.kernel as f64;
        let sums = (rows * vectors) as f64 * taps;
        self.limit((sums, read * self.widening()), loads, loads, taps * self.latency((sums + loads) / taps))
    }

    /// Cycles that a multiply-add waits for the one before it, where a step of the sum is so many micro-operations: short calls
    /// overlap with those that follow.
    fn latency(&self, step_uops: f64) -> f64 {
        let taps: usize = self.geometry.spatial.iter().map(|a| a.kernel).product();
        let call = step_uops * (self.geometry.ic * taps) as f64 + CALL;
        let latency = match self.spec.lane_channels(self.algorithm) {
            QUAD if self.target.vnni => DOT_LATENCY,
            _ => self.target.fma_latency as f64,
        };
        LATE * latency / (1.0 + WINDOW / call)
    }

    /// Loads that bringing a vector of channels to depthwise counts as.
    fn channel_load(&self) -> f64 {
        let (step, m) = (self.geometry.src.lane_step(), self.geometry.multiplier);
        let src = self.geometry.src.n as usize * self.src_bytes();
        let plane = if src <= self.target.l2_bytes { PLANE[0] } else { PLANE[1] } * self.lanes as f64;
        match m {
            1 if step == 1 => 1.0,
            1 => plane,
            _ if m >= self.lanes => self.target.broadcast_uops as f64,
            // A load and a permutation, or one by one.
            _ if step == 1 && self.lanes * self.spec.dtype.bytes() > 16 => 2.0,
            _ => plane,
        }
    }

    /// Cycles of one tap of one input channel.
    fn step(&self, rows: usize, vectors: usize) -> f64 {
        let sums = (rows * vectors) as f64;
        let t = self.target;
        let pixel = self.geometry.spatial[2].stride as i64 * self.geometry.src.spatial[2];
        let lane = |stride: i64| match stride {
            1 if t.isa.vector_bytes() == LINE_BYTES => SPLIT,
            1 => 1.0,
            2 if t.isa.vector_bytes() > 16 => EVEN,
            _ => LANE * self.lanes as f64,
        };
        let no_broadcasts = match self.algorithm {
            Algorithm::Pool => true,
            algorithm => self.along_channels() && algorithm == Algorithm::Depthwise,
        };
        let broadcasts = if no_broadcasts { 0.0 } else { rows as f64 };
        let vector_loads = match (self.along_channels(), self.algorithm) {
            (true, Algorithm::Pool) => sums * self.channel_load(),
            (true, Algorithm::Depthwise) => vectors as f64 + sums * self.channel_load(),
            (true, _) => vectors as f64,
            (false, _) => vectors as f64 * lane(pixel),
        };
        // Of vectors, those that are not of weights.
        let widening = match (self.along_channels(), self.algorithm) {
            (true, Algorithm::Pool | Algorithm::Depthwise) => sums * self.widening(),
            (true, _) => rows as f64 * self.widening_all(),
            (false, _) => vectors as f64 * self.widening(),
        };
        let loads = vector_loads + broadcasts;
        let load_uops = vector_loads + broadcasts * t.broadcast_uops as f64;
        self.limit((sums, widening), loads, load_uops, self.latency(sums + load_uops))
    }

    /// Cycles for so many multiply-adds, operations that widen, and loads, in which a chain of sums takes `latency`.
    fn limit(&self, (sums, widening): (f64, f64), loads: f64, load_uops: f64, latency: f64) -> f64 {
        let t = self.target;
        // Without fusing, a product and a sum each take a slot.
        // Products of integers are added by an instruction of its own.
        let (slots, added) = match self.spec.lane_channels(self.algorithm) {
            QUAD if t.vnni => (sums, 0.0),
            QUAD => (2.0 * sums, sums),
            PAIR => (sums, sums),
            _ if t.fma => (sums, 0.0),
            _ => (2.0 * sums, 0.0),
        };
        let loading = loads / t.loads_per_cycle as f64;
        let issuing = (slots + added + widening + load_uops) / t.uops_per_cycle as f64;
        // What widens has a unit of its own, and shares those of the multiply-adds.
        let vector = (slots + widening) / (t.fma_per_cycle + 1) as f64;
        let limit = (slots / t.fma_per_cycle as f64).max(vector).max(loading).max(issuing).max(latency);
        limit + LOADING * loading
    }

    /// Cycles of a call besides the sum: start, epilogue, stores.
    fn call(&self, rows: usize, vectors: usize) -> f64 {
        let sums = (rows * vectors) as f64;
        let lane_step =
            if self.along_channels() { self.geometry.dst.lane_step() } else { self.geometry.dst.spatial[2] };
        let store = if lane_step == 1 { 1.0 } else { 1.5 * self.lanes as f64 };
        let epilogue: f64 = self.spec.then.iter().map(|&e| (epilogue_registers(e) as f64).powi(2)).sum();
        // The residual is read as the output is written.
        let store = if self.spec.half.is_some() { store + ROUNDING } else { store };
        let residual = if self.spec.has_residual() { store } else { 0.0 };
        CALL + sums * (0.5 + store + residual + epilogue) + self.evicted(rows, vectors)
    }

    /// Cycles to bring lines of the output again that the tile before wrote a part of.
    fn evicted(&self, rows: usize, vectors: usize) -> f64 {
        let dst = &self.geometry.dst;
        if !self.along_channels() || dst.lanes > 1 {
            return 0.0;
        }
        let (planes, bytes) = ((vectors * self.lanes).min(self.geometry.oc), self.spec.tensor_bytes());
        let lost = lost(self.target.l1_bytes, WAYS[0], dst, planes, bytes);
        lost * (planes * (LINE_BYTES + rows * bytes)) as f64 / LINE * EVICTED
    }

    fn memory(&self, tiling: &PartTiling, block: Option<(Axis, usize)>) -> f64 {
        let bytes = self.spec.dtype.bytes() as f64;
        let src = self.geometry.src.n as f64 * self.src_bytes() as f64;
        let dst = self.outputs() * self.spec.tensor_bytes() as f64 * self.spec.tensors_of_output();
        let weights = self.weights() * bytes;
        let runs = (tiling.channel_runs() * self.geometry.groups) as f64;
        let group_src = src / self.geometry.groups as f64;
        let [d, h, w] = &self.geometry.spatial;
        let blocks = match block {
            None => 1.0,
            Some((Axis::Oh, size)) => (d.output * h.output.div_ceil(size)) as f64,
            Some((_, size)) => (d.output * h.output * w.output.div_ceil(size)) as f64,
        };
        // Rows of the window are read again by the next block.
        let overlap = match block {
            Some((Axis::Oh, size)) => (h.extent() + (size - 1) * h.stride) as f64 / (size * h.stride) as f64,
            Some(_) => (h.extent() as f64 / h.stride as f64).max(1.0),
            None => 1.0,
        };
        let block_src = group_src / blocks * overlap;
        let (full_run, run_weights) = (tiling.channels_of_tile(), self.run_weights(tiling));
        let pixel_tiles = self.positions * tiling.pixels.iter().map(|r| r.count as f64).sum::<f64>();
        let once = ((src * rows_read(&self.geometry.spatial) + dst) * self.scatter(block, block_src, full_run, runs)
            + weights)
            / self.far()
            + self.jumps(block)
            + self.strays(tiling, src);
        let weights_again = (blocks - 1.0) * weights / bandwidth(self.target, weights);
        // What a tile reads does not stay in the first-level cache for the next: all of it comes again each time.
        let tile_src = self.tile_src(tiling);
        let [lost, lost_near] = self.lost;
        let fits = self.keeps(tiling);
        if !fits || lost > 0.0 {
            let src_again = tile_src * if fits { lost } else { 1.0 };
            let near = bandwidth(self.target, block_src.max(self.target.l1_bytes as f64));
            let tile = src_again * ((1.0 - lost_near) / near + lost_near / BANDWIDTH[1]);
            let taken = self.slices / (self.positions * (d.kernel * h.kernel) as f64).max(1.0);
            let tile = tile + if fits { 0.0 } else { taken * run_weights / bandwidth(self.target, run_weights) };
            return once + weights_again + pixel_tiles * runs * tile;
        }
        // A depthwise run reads its own channels; any other reads all of its group's.
        let again = match self.algorithm {
            algorithm if algorithm.is_by_channel() => 0.0,
            _ => (runs / self.geometry.groups as f64 - 1.0).max(0.0),
        };
        once + weights_again + again * src * overlap / bandwidth(self.target, block_src)
    }

    /// Cycles to begin writing each plane of the output anew with every block.
    fn jumps(&self, block: Option<(Axis, usize)>) -> f64 {
        let [_, h, w] = &self.geometry.spatial;
        let dst = &self.geometry.dst;
        let blocks = match block {
            Some((Axis::Oh, size)) => h.output.div_ceil(size),
            Some((_, size)) => h.output * w.output.div_ceil(size),
            None => h.output,
        };
        let far = self.spec.dst_image() * self.spec.tensor_bytes() > self.target.l2_bytes;
        let begun = (dst.planes * self.geometry.spatial[0].output * blocks) as f64 * self.phases;
        if far && dst.lanes == 1 { begun * JUMP } else { 0.0 }
    }

    /// Cycles to fetch `src` from memory where a tile reads of more planes than the hardware follows.
    fn strays(&self, tiling: &PartTiling, src: f64) -> f64 {
        let g = &self.geometry;
        let near = src <= self.target.l3_bytes as f64 * 0.28;
        if near || g.src.lanes > 1 || self.pack_input != PackInput::None || g.ic <= STREAMS {
            return 0.0;
        }
        let span = self.span(tiling) * self.src_bytes() as f64;
        // Vectors of pixels take whole lines, and with them the next.
        let waits = if self.along_channels() { 1.5 } else { 1.0 };
        src * rows_read(&g.spatial) / (span + LINE) * STRAY * waits
    }

    /// Elements of a row of input that a full tile reads.
    fn span(&self, tiling: &PartTiling) -> f64 {
        let w = &self.geometry.spatial[2];
        ((tiling.pixels_of_tile() - 1) * w.stride + w.extent()).min(w.input.max(1)) as f64
    }

    /// Bytes of input that a full tile reads; of whole cache lines, where every channel has its own.
    fn tile_src(&self, tiling: &PartTiling) -> f64 {
        let [d, h, _] = &self.geometry.spatial;
        let span = self.span(tiling);
        let (ic, view) = (self.geometry.ic as f64, &self.geometry.src);
        let bytes = self.src_bytes() as f64;
        let row = match view.lanes {
            // Where the pixels start in a line differs, so that one line more is touched as often as not.
            1 => ic * (span * bytes + LINE - bytes) * PARTLY,
            _ => ic * span * bytes,
        };
        (d.kernel * h.kernel) as f64 * row
    }

    /// How much dearer the first pass over the input is than one through memory in order.
    ///
    /// A group, and a run of depthwise channels, reads a part of every pixel. Where few pixels wait for all channels, memory is passed
    /// through in order. Runs that follow while a block of rows is near find the rest of what its cache lines brought;
    /// otherwise every run fetches lines anew, and those that lie far apart.
    fn scatter(&self, block: Option<(Axis, usize)>, block_src: f64, full_run: usize, runs: f64) -> f64 {
        let view = &self.geometry.src;
        let bytes = self.src_bytes();
        let part = match self.algorithm {
            algorithm if algorithm.is_by_channel() => {
                (full_run * self.spec.in_channels / self.spec.out_channels.max(1) * bytes).max(bytes) as f64
            }
            _ if self.geometry.groups > 1 => (self.geometry.ic * bytes) as f64,
            _ => return 1.0,
        };
        if view.lanes == 1 || runs <= 1.0 {
            return 1.0;
        }
        let parts = if part % LINE == 0.0 { 1.0 } else { (part + LINE) / part }.min(SCATTERED * SCATTERED);
        let near = block_src * self.geometry.groups as f64 <= self.target.l2_bytes as f64 * NEAR;
        match block {
            Some((Axis::Ow, _)) if view.planes == 1 => parts.min(HALVES),
            _ if near => PARTLY * parts.min(PARTLY),
            _ if view.planes > 1 => parts,
            _ => SCATTERED * parts,
        }
    }

    /// Bytes a cycle at which all that a layer touches comes.
    fn far(&self) -> f64 {
        let copy = if self.pack_input == PackInput::None { 0 } else { self.geometry.src.n as usize };
        let tensors = (self.spec.src_image() + self.spec.dst_image()) * self.spec.tensor_bytes();
        let bytes = tensors + (self.packing.packed_len() + copy) * self.spec.dtype.bytes();
        bandwidth(self.target, bytes as f64).min(BANDWIDTH[0])
    }

    fn ideal(&self) -> f64 {
        self.spec.macs_per_image() as f64 / (self.lanes * self.target.fma_per_cycle) as f64
    }
}

/// Bytes of an element of what tiles read: of `src`, or of its copy.
fn src_bytes(spec: &LayerSpec, algorithm: Algorithm, pack_input: PackInput) -> usize {
    if pack_input == PackInput::None { spec.tensor_bytes() * spec.lane_channels(algorithm) } else { spec.dtype.bytes() }
}

/// Runs of channels and of pixels that a tile cuts a part's output into.
struct PartTiling {
    channels: Vec<ChannelPart>,
    pixels: Vec<PixelRun>,
}

impl PartTiling {
    /// Runs of channels of one group.
    fn channel_runs(&self) -> usize {
        self.channels.iter().map(|p| p.outer * p.inner).sum()
    }

    /// Output channels of a full tile.
    fn channels_of_tile(&self) -> usize {
        self.channels.iter().map(|p| p.channels).max().unwrap_or(1).max(1)
    }

    /// Pixels of a full tile.
    fn pixels_of_tile(&self) -> usize {
        self.pixels.iter().map(|r| r.pixels).max().unwrap_or(1).max(1)
    }
}
