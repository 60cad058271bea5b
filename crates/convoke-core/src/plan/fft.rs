//! The search for a plan of `fft`: how long blocks are, and how many are transformed side by side.

use super::choose::{ENOUGH, Refusal};
use super::cost::{BANDWIDTH, Model, bandwidth};
use super::{Algorithm, Axis, Cost, PackInput, Plan, TileShape, VectorAxis};
use crate::lower::weights::WeightsPacking;
use crate::lower::{FFT_REGISTERS, FftImage, FftPass, FftShape, Geometry, PackedAxis, epilogue_registers, fft_points};
use crate::spec::{LayerSpec, Schedule};
use crate::target::Target;

/// Elements of the longest block.
const MOST_POINTS: usize = 1 << 17;
/// Bytes of the transformed filters, and of the buffers of one iteration, at most.
const MOST_BYTES: usize = 256 << 20;
/// Instructions a cycle in the transforms, up to what the target starts.
const RATE: f64 = 5.0;
/// Instructions of a loop's control.
const LOOP: f64 = 4.0;
/// Cycles to store a row of outputs, besides the epilogue.
const OUTPUT: f64 = 2.0;
/// How much longer a sum over several input channels takes than its instructions, for what it reads from the second level.
const SUMS: f64 = 1.2;
/// Cycles to call a tile and come back.
const CALL: f64 = 15.0;

pub(super) struct Search<'a> {
    pub spec: &'a LayerSpec,
    pub target: &'a Target,
    pub pins: &'a Schedule,
    pub pack: PackInput,
}

impl Search<'_> {
    pub(super) fn best(&self) -> Result<Plan, Refusal> {
        let image = self.spec.spatial[1].kernel > 1;
        let padded = self.spec.spatial.iter().any(|a| PackedAxis::of(self.spec.operation, a).changes());
        let pack = if image && padded { PackInput::Pad } else { PackInput::None };
        if self.pack != pack {
            let reason = match pack {
                PackInput::Pad => "fft takes an image as one row, with its padding written out".to_owned(),
                _ => "fft reads the input itself".to_owned(),
            };
            return Err(match &self.pins.pack_input {
                Some(pin) if self.pins.algorithm.is_some() => Refusal::pinned(reason, pin.span),
                _ => Refusal::layer(reason),
            });
        }
        let registers = self.target.registers;
        if registers < FFT_REGISTERS {
            return Err(Refusal::layer(format!(
                "a transform takes {FFT_REGISTERS} registers, and there are {registers}"
            )));
        }
        if let Some(pin) = self.pins.unroll.as_ref().filter(|pin| pin.value != self.lanes()) {
            let reason = format!("fft writes out the {} steps of a vector, and not {}", self.lanes(), pin.value);
            return Err(Refusal::pinned(reason, pin.span));
        }
        let geometry = Geometry::of(self.spec, Algorithm::Fft, pack);
        let mut best: Option<(FftShape, TileShape, Cost)> = None;
        let mut refusal = Refusal::layer(format!("no block of at most {MOST_POINTS} elements fits"));
        let sizes = if image { self.rows(&geometry)? } else { self.hops(&geometry)? };
        for tile in self.tiles(&geometry)? {
            for &size in &sizes {
                let shape = self.shape(&geometry, tile, size);
                match self.fits(&shape) {
                    Err(reason) => refusal = reason,
                    Ok(()) => {
                        let cost = self.cost(&geometry, &shape);
                        if best.as_ref().is_none_or(|b| cost.total() < b.2.total()) {
                            best = Some((shape, tile, cost));
                        }
                    }
                }
            }
        }
        let (shape, tile, mut cost) = best.ok_or(refusal)?;
        cost.packing = Model::new(self.spec, self.target, Algorithm::Direct, VectorAxis::Ow, self.pack).packing();
        let parallel = self.parallel(&geometry, &shape)?;
        let order = order(parallel, shape.axis());
        if let Some(pin) = self.pins.order.as_ref().filter(|pin| pin.value != order) {
            let names: Vec<_> = order.iter().map(|a| a.name()).collect();
            let reason = format!("the order of fft follows from parallel: ({})", names.join(", "));
            return Err(Refusal::pinned(reason, pin.span));
        }
        let ideal = self.spec.macs_per_image() as f64 / (self.lanes() * self.target.fma_per_cycle) as f64;
        let why = format!(
            "transforms of {} elements give {} outputs each, which should take {:.2} of the time of the multiply-adds",
            shape.points(),
            shape.outputs(),
            cost.total() / ideal.max(1.0),
        );
        Ok(Plan {
            algorithm: Algorithm::Fft,
            vector: VectorAxis::Ow,
            tile,
            block: vec![(shape.axis(), shape.block())],
            order,
            parallel,
            pack_input: pack,
            unroll: self.lanes(),
            cost,
            why,
        })
    }

    fn lanes(&self) -> usize {
        self.target.lanes(self.spec.dtype.bytes())
    }

    fn shape(&self, geometry: &Geometry, tile: TileShape, size: usize) -> FftShape {
        let axis = if self.spec.spatial[1].kernel > 1 { Axis::Oh } else { Axis::Ow };
        FftShape::new(self.spec, geometry, self.lanes(), tile, &[(axis, size)])
    }

    /// Tiles of products to look at: output channels by pairs of blocks.
    fn tiles(&self, geometry: &Geometry) -> Result<Vec<TileShape>, Refusal> {
        if let Some(pin) = &self.pins.tile {
            let tile = TileShape { rows: pin.value.0, vectors: pin.value.1 };
            self.legal(tile).map_err(|reason| Refusal::pinned(reason, pin.span))?;
            return Ok(vec![tile]);
        }
        let most = self.target.accumulators / 4;
        let all = (1..=most).flat_map(|rows| (1..=most / rows).map(move |vectors| TileShape { rows, vectors }));
        Ok(all.filter(|t| t.rows <= geometry.oc && self.legal(*t).is_ok()).collect())
    }

    /// Whether the sums and what is multiplied fit the registers.
    fn legal(&self, tile: TileShape) -> Result<(), String> {
        let TileShape { rows, vectors } = tile;
        let sums = rows.saturating_mul(vectors).saturating_mul(4);
        let besides = rows.saturating_mul(2).saturating_add(2 + usize::from(!self.target.fma));
        let (name, registers, most) = (self.target.name(), self.target.registers, self.target.accumulators);
        if sums == 0 || sums > most || sums.saturating_add(besides) > registers {
            return Err(format!(
                "a tile of {rows} output channels by {vectors} pairs of blocks needs {sums} registers for sums and \
                 {besides} besides, and {name} has {registers} and keeps at most {most} sums"
            ));
        }
        Ok(())
    }

    /// Outputs of a block.
    fn hops(&self, geometry: &Geometry) -> Result<Vec<usize>, Refusal> {
        let (lanes, w) = (self.lanes(), &geometry.spatial[2]);
        let all = w.output.div_ceil(w.dilation).next_multiple_of(lanes);
        if let Some(pin) = &self.pins.block {
            let refuse = |reason: String| Err(Refusal::pinned(reason, pin.span));
            let &[(Axis::Ow, hop)] = &pin.value[..] else {
                return refuse("fft is blocked along ow alone".to_owned());
            };
            if hop == 0 || hop % lanes != 0 {
                return refuse(format!("a block of {hop} outputs is not made of vectors of {lanes}"));
            }
            if hop > all {
                return refuse(format!(
                    "a block of {hop} outputs is longer than a row, which has {all} with its last vector"
                ));
            }
            if fft_points(hop, w.kernel, lanes) > MOST_POINTS {
                return refuse(format!(
                    "a block of {hop} outputs of {} taps is longer than {MOST_POINTS} elements",
                    w.kernel
                ));
            }
            return Ok(vec![hop]);
        }
        let mut hops = Vec::new();
        let mut points = fft_points(lanes, w.kernel, lanes);
        while points <= MOST_POINTS {
            let hop = (points + 1 - w.kernel) / lanes * lanes;
            hops.push(hop.min(all));
            if hop >= all {
                break;
            }
            points *= 2;
        }
        Ok(hops)
    }

    /// Rows of an image that a block gives.
    fn rows(&self, geometry: &Geometry) -> Result<Vec<usize>, Refusal> {
        let (lanes, taps) = (self.lanes(), geometry.spatial[2].kernel);
        let Some(FftImage { pitch, columns, rows, .. }) = FftImage::of(self.spec, geometry) else {
            return Ok(Vec::new());
        };
        let points = |size: usize| fft_points((size - 1).saturating_mul(pitch).saturating_add(columns), taps, lanes);
        if let Some(pin) = &self.pins.block {
            let refuse = |reason: String| Err(Refusal::pinned(reason, pin.span));
            let &[(Axis::Oh, size)] = &pin.value[..] else {
                return refuse("fft of a window of several rows is blocked along oh alone".to_owned());
            };
            if size == 0 || size > rows {
                return refuse(format!("a block of {size} rows is none of 1 to {rows}, and the output has {rows}"));
            }
            if points(size) > MOST_POINTS {
                return refuse(format!(
                    "a block of {size} rows is one of {} elements, and the longest has {MOST_POINTS}",
                    points(size)
                ));
            }
            return Ok(vec![size]);
        }
        let mut sizes = Vec::new();
        let mut length = points(1);
        while length <= MOST_POINTS {
            let size = ((length + 1 - taps - columns) / pitch + 1).min(rows);
            sizes.push(size);
            if size == rows {
                break;
            }
            length *= 2;
        }
        Ok(sizes)
    }

    /// Whether the filters and the buffers are not too large.
    fn fits(&self, shape: &FftShape) -> Result<(), Refusal> {
        let bytes = self.spec.dtype.bytes();
        let filters = self.packing(shape).packed_len().saturating_mul(bytes);
        let local = shape.local().saturating_mul(bytes);
        let of = |what: &str, bytes: usize| {
            let reason = format!("{what} take {} MB, and the limit is {}", bytes >> 20, MOST_BYTES >> 20);
            match (&self.pins.block, &self.pins.tile) {
                (Some(pin), _) => Err(Refusal::pinned(reason, pin.span)),
                _ => Err(Refusal::layer(reason)),
            }
        };
        if filters > MOST_BYTES {
            return of("the transformed filters", filters);
        }
        if local > MOST_BYTES {
            return of("transformed blocks", local);
        }
        Ok(())
    }

    fn packing(&self, shape: &FftShape) -> WeightsPacking {
        WeightsPacking::transformed(self.spec, shape.packing(self.spec.dtype))
    }

    /// The axis that threads divide: the first with enough iterations, or else the one with the most.
    fn parallel(&self, geometry: &Geometry, shape: &FftShape) -> Result<Axis, Refusal> {
        let counts = [
            (Axis::N, self.spec.fixed_batch().unwrap_or(ENOUGH)),
            (Axis::Od, geometry.spatial[0].output),
            (Axis::Oh, geometry.spatial[1].output),
            (Axis::G, geometry.groups),
            (shape.axis(), shape.sets),
        ];
        if let Some(pin) = &self.pins.parallel {
            let divides = |&(axis, n): &(Axis, usize)| axis == pin.value && (n != 1 || axis == shape.axis());
            if !counts.iter().any(divides) {
                let reason = format!(
                    "threads divide images, rows, groups or blocks of {}, of which there are several, and not {}",
                    shape.axis(),
                    pin.value
                );
                return Err(Refusal::pinned(reason, pin.span));
            }
            return Ok(pin.value);
        }
        let enough = counts.iter().find(|c| c.1 >= ENOUGH);
        let most = counts.iter().rev().max_by_key(|c| c.1).filter(|c| c.1 > 1);
        Ok(enough.or(most).map_or(shape.axis(), |c| c.0))
    }

    /// Cycles for one image.
    fn cost(&self, geometry: &Geometry, shape: &FftShape) -> Cost {
        let t = self.target;
        let bytes = self.spec.dtype.bytes() as f64;
        let lanes = shape.lanes as f64;
        let (ic, oc, pairs) = (geometry.ic as f64, geometry.oc as f64, shape.pairs as f64);
        let rows_of_image = (geometry.spatial[0].output * geometry.spatial[1].output) as f64;
        let sets = rows_of_image * (shape.phases * shape.sets * geometry.groups) as f64;
        let rows = shape.rows as f64;
        let rate = RATE.min(t.uops_per_cycle as f64);

        let transform: f64 = shape.passes().iter().map(|pass| self.pass(pass, shape) / rate).sum();
        let strided = |step: i64| if step * shape.step as i64 == 1 { 0.0 } else { 2.0 * lanes };
        let forward = transform + 2.0 * rows * strided(geometry.src.spatial[2]) + CALL;
        let epilogue: f64 = self.spec.then.iter().map(|&e| (epilogue_registers(e) as f64).powi(2)).sum();
        let hop = (shape.hop / shape.lanes) as f64;
        let calls = if shape.image.is_some() {
            2.0 * shape.block() as f64 * (CALL + lanes / 2.0 * (OUTPUT + epilogue))
        } else {
            0.0
        };
        let output = calls + 2.0 * hop * (OUTPUT + epilogue + strided(geometry.dst.spatial[2]));
        let backward = transform + output + 3.0 * CALL;
        // Sets at borders are copied first.
        let border = 1.0 - shape.interior().len() as f64 / shape.sets as f64;
        let copies =
            border * 2.0 * (rows * 2.0 + 4.0 * lanes * 2.0 + 2.0 * CALL + rows * strided(geometry.src.spatial[2]));
        let channels = shape.channels as f64;
        let (products, loads) = (4.0 * channels * pairs, 2.0 * channels + 2.0 * pairs);
        let slots = if t.fma { products } else { 2.0 * products };
        let load_uops = 2.0 * channels + 2.0 * pairs * t.broadcast_uops as f64;
        let step = (slots / t.fma_per_cycle as f64)
            .max(loads / t.loads_per_cycle as f64)
            .max((slots + load_uops) / t.uops_per_cycle as f64)
            .max(t.fma_latency as f64);
        let sum = ic * lanes * step * if ic > 1.0 { SUMS } else { 1.0 };
        let product = rows * (sum + products + t.fma_latency as f64 * 2.0) + CALL;
        let product = product * (oc / channels).ceil();
        let compute = sets * (pairs * (ic * (forward + copies) + oc * backward) + product);

        let filters = self.packing(shape).packed_len() as f64 * bytes / geometry.groups as f64;
        let work = shape.work() as f64 * bytes;
        let local = shape.local() as f64 * bytes;
        let near = bandwidth(t, local + filters.min(t.l2_bytes as f64 * 0.5));
        // Each transform passes over its block once or twice beyond the first level, products over all of them.
        let passes = if shape.parted { 3.0 } else { 1.5 };
        let block = passes * work / near;
        let mut memory = sets * pairs * (ic + oc) * block;
        memory += sets * (filters + ic * pairs * work * ((oc / channels).ceil() - 1.0)) / bandwidth(t, filters + local);
        let tensor = self.spec.tensor_bytes() as f64;
        let read = if self.pack == PackInput::None { tensor } else { bytes };
        let (src, dst) = (geometry.src.n as f64 * read, self.spec.dst_image() as f64 * tensor);
        memory += (src + dst) / BANDWIDTH[1];
        Cost { compute, memory, packing: 0.0 }
    }

    /// Instructions of a pass over a pair of blocks.
    fn pass(&self, pass: &FftPass, shape: &FftShape) -> f64 {
        let t = self.target;
        let butterflies = (shape.rows / pass.radix) as f64;
        let fused = if t.fma { 1.0 } else { 2.0 };
        let factors = if pass.has_twiddles() { 6.0 + 6.0 * fused + 9.0 * t.broadcast_uops as f64 } else { 0.0 };
        let sums = if pass.radix == 2 { 4.0 } else { 16.0 };
        butterflies * (sums + factors + 4.0 * pass.radix as f64 + LOOP)
    }
}

/// The loops as a plan names them, the one that threads divide first.
fn order(parallel: Axis, blocked: Axis) -> Vec<Axis> {
    let mut order = match blocked {
        Axis::Oh => vec![Axis::N, Axis::Od, Axis::G, Axis::Oh, Axis::Oc, Axis::Oh, Axis::Ow],
        _ => vec![Axis::N, Axis::Od, Axis::Oh, Axis::G, Axis::Ow, Axis::Oc, Axis::Ow],
    };
    if let Some(lead) = order.iter().position(|&a| a == parallel) {
        order[..=lead].rotate_right(1);
    }
    order
}
