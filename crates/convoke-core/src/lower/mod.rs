//! A layer and its plan to loops and tiles. Decides nothing: every choice is in the [`Plan`].
//!
//! The axes are taken in the plan's order. Each expands into one or more *parts* (a loop over full blocks, what is left
//! over; the interior of a row and its ends), and each part moves the tile's pointers and says something about
//! the tile's shape. Behind the last axis stands the call; tiles of equal shape are written once.
//!
//! | module | what |
//! |---|---|
//! | `geometry` | sizes and strides |
//! | `phases` | a transposed layer as convolutions |
//! | `channels`, `pixels` | parts of the axes `oc` and `ow` |
//! | `nests` | the loops |
//! | `tile` | what a tile computes |
//! | `pool` | what a tile of pooling computes |
//! | `deformable` | what stands between the input and the sums of a deformable layer |
//! | `positions` | the same of maxima whose positions are an output too |
//! | `unpool` | the nests of unpooling |
//! | `epilogue`, `activation`, `logarithm` | what becomes of sums |
//! | `pack` | the nest that copies the input |
//! | `pairs` | the same for integers, whose channels become pairs; how sums become outputs |
//! | `softmax` | the nests that make powers and quotients of the channels of a pixel |
//! | `blank` | the nest that fills up the last block of `dst` with zeros |
//! | [`weights`] | the layout of packed weights |

mod activation;
mod blank;
mod channels;
mod deformable;
mod emit;
mod epilogue;
mod fft;
mod geometry;
mod logarithm;
mod nests;
mod norm;
mod pack;
mod pairs;
mod phases;
mod pixels;
mod pool;
mod positions;
mod softmax;
mod tile;
mod unpool;
pub mod weights;
mod winograd;

pub(crate) use activation::registers as epilogue_registers;
pub(crate) use channels::{ChannelPart, cut as cut_channels};
pub(crate) use deformable::{column as deformable_column, cycles as deformable_cycles};
pub(crate) use fft::{
    Image as FftImage, LEAST_REGISTERS as FFT_REGISTERS, Pass as FftPass, Shape as FftShape, points as fft_points,
};
pub(crate) use geometry::{Geometry, View};
pub(crate) use pack::PackedAxis;
pub(crate) use pairs::REQUANTIZE_REGISTERS;
pub(crate) use phases::cut as cut_phases;
pub(crate) use pixels::{PixelRun, Taps, cut as cut_pixels};
pub(crate) use pool::{REGISTERS as POOL_REGISTERS, counts as counts_taps};
pub(crate) use positions::{REGISTERS as POSITION_REGISTERS, table_starts};
pub(crate) use tile::{slide, slides, slides_alone};
pub(crate) use unpool::runs as unpool_runs;
pub(crate) use winograd::{
    LEAST_REGISTERS as WINOGRAD_REGISTERS, MOST_PRODUCTS as WINOGRAD_PRODUCTS, parts as winograd_parts,
    spatial as winograd_axis, steps as winograd_steps, taps as winograd_taps, transforms as winograd_transforms,
};
pub(crate) use winograd::{Shape as WinogradShape, TileAxis};

use crate::ir::{Affine, Buffer, Kernel, Role, Var};
use crate::plan::{Algorithm, Plan, VectorAxis};
use crate::spec::{Batch, LayerSpec, QUAD, Storage};
use crate::target::Target;
use weights::WeightsPacking;

/// Lowers `spec` by `plan` for `target`; `plan` must be one that [`plan::choose`](crate::plan::choose) made for them.
pub fn lower(spec: &LayerSpec, plan: &Plan, target: &Target) -> Kernel {
    let packing = WeightsPacking::of(spec, plan, target.lanes(spec.dtype.bytes()));
    let mut parts = Geometry::parts(spec, plan.algorithm, plan.pack_input);
    if plan.algorithm == Algorithm::Deformable {
        deformable::fit_columns(spec, deformable::rows(plan), &mut parts[0]);
    }
    let geometry = &parts[0];
    let mut kernel = Kernel {
        name: kernel_name(spec, plan, target),
        dtype: spec.dtype,
        isa: target.isa,
        fma: target.fma,
        vnni: target.vnni && spec.lane_channels(plan.algorithm) == QUAD,
        buffers: Vec::new(),
        vars: vec!["N".to_owned()],
        tiles: Vec::new(),
        nests: Vec::new(),
    };
    let per_batch = |elements: i64| match spec.batch {
        Batch::Fixed(n) => Affine::constant(elements * n as i64),
        Batch::Named(_) => Affine::var(Var::BATCH, elements),
    };
    let lanes = if spec.integers.is_some() { Storage::I32 } else { spec.dtype.storage() };
    let mut buffer = |role, storage, len| kernel.buffers.push(Buffer { role, storage, len });
    match spec.lane_channels(plan.algorithm) {
        // Bytes that are read where they are, a lane of them at a time.
        QUAD if geometry.src.role == Role::Src => {
            buffer(Role::Src, Storage::I32, per_batch((spec.src_image() / QUAD) as i64));
        }
        _ => buffer(Role::Src, spec.src_storage(), per_batch(spec.src_image() as i64)),
    }
    if !spec.operation.is_pooling() {
        buffer(Role::Weights, lanes, Affine::constant(packing.packed_len() as i64));
    } else if spec.return_indices {
        buffer(Role::Weights, Storage::I32, Affine::constant(packing.packed_len() as i64));
    }
    if spec.bias_len() > 0 {
        buffer(Role::Bias, lanes, Affine::constant(spec.bias_len() as i64));
    }
    if spec.has_residual() {
        buffer(Role::Residual, spec.dst_storage(), per_batch(spec.dst_image() as i64));
    }
    if spec.is_deformable() {
        buffer(Role::Offset, lanes, per_batch(spec.offset_image() as i64));
    }
    if spec.mask {
        buffer(Role::Mask, lanes, per_batch(spec.mask_image() as i64));
    }
    if spec.takes_indices() {
        buffer(Role::Positions, Storage::I32, per_batch(spec.src_image() as i64));
    }
    buffer(Role::Dst, spec.dst_storage(), per_batch(spec.dst_image() as i64));
    if geometry.src.role == Role::Local {
        buffer(Role::Local, lanes, Affine::constant(geometry.src.n));
    }
    if spec.return_indices {
        buffer(Role::Indices, Storage::I32, per_batch(spec.dst_image() as i64));
    }
    if geometry.src.role == Role::Scratch {
        buffer(Role::Scratch, lanes, per_batch(geometry.src.n));
        pack::nest(spec, geometry, &mut kernel);
    }
    match plan.algorithm {
        Algorithm::Unpool => {
            unpool::compute(spec, plan, &mut kernel);
            return kernel;
        }
        Algorithm::Fft => fft::compute(spec, plan, geometry, &mut kernel),
        a if a.winograd().is_some() => winograd::compute(spec, plan, geometry, &packing, target, &mut kernel),
        _ => parts.iter().for_each(|part| nests::compute(spec, plan, part, &packing, target, &mut kernel)),
    }
    softmax::nests(spec, &mut kernel);
    blank::nests(spec, &mut kernel);
    kernel
}

/// `{algorithm}_{dtype}_{isa}_{tile}`.
fn kernel_name(spec: &LayerSpec, plan: &Plan, target: &Target) -> String {
    let lanes = target.lanes(spec.dtype.bytes());
    let along = plan.tile.vectors * lanes;
    let tile = match plan.vector {
        VectorAxis::Oc => format!("oc{along}x{}", plan.tile.rows),
        VectorAxis::Ow => format!("ow{along}x{}", plan.tile.rows),
    };
    format!("{}_{}_{}_{tile}", plan.algorithm, spec.src_storage().name(), target.isa.name())
}
