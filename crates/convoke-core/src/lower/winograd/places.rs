//! Where what lies between the transforms is, and how the matrix products see it.

use super::super::geometry::{Geometry, View};
use super::shape::Shape;
use super::tiles::Transform;
use crate::ir::{Affine, Buffer, Kernel, Role, Var};
use crate::plan::{Axis, Plan};
use crate::spec::{LayerSpec, SpatialAxis};

/// What one part of `local` is a multiple of, so that each starts at a cache line.
const ALIGNED: usize = 16;

/// The matrix products as a layer with a window of one pixel.
pub(super) struct Inner {
    pub spec: LayerSpec,
    pub geometry: Geometry,
}

impl Inner {
    pub(super) fn new(spec: &LayerSpec, geometry: &Geometry, shape: &Shape) -> Self {
        let view = |[tile, element]: [usize; 2]| View {
            role: Role::Local,
            n: 0,
            planes: 1,
            plane: element as i64,
            lanes: tile,
            spatial: [tile as i64; 3],
        };
        let w = SpatialAxis { input: shape.tiles, output: shape.tiles, ..SpatialAxis::UNIT };
        let geometry = Geometry {
            src: view(shape.input),
            dst: view(shape.output),
            spatial: [SpatialAxis::UNIT, SpatialAxis::UNIT, w],
            ic: geometry.ic * shape.parts,
            ..geometry.clone()
        };
        Self { spec: LayerSpec { bias: false, then: Vec::new(), ..spec.clone() }, geometry }
    }
}

/// Where what lies between the transforms is.
pub(super) struct Places {
    /// The buffer of the transformed input, and where in it.
    pub input_role: Role,
    pub input: Affine,
    /// Elements from one iteration of each loop around a block to the next; 0 where they use the same place.
    pub input_steps: Vec<i64>,
    /// In `local`.
    pub output: i64,
    pub spare: [i64; 2],
}

impl Places {
    pub(super) fn new(plan: &Plan, shape: &Shape, transform: &Transform<'_>, kernel: &mut Kernel) -> Self {
        let storage = kernel.dtype.storage();
        let aligned = |elements: usize| elements.next_multiple_of(ALIGNED);
        let spare = aligned(transform.spare_len());
        let output = 2 * spare;
        let mut local = output + aligned(shape.output_len());
        let block = aligned(shape.input_len());
        let mut places = Self {
            input_role: Role::Local,
            input: Affine::constant(local as i64),
            input_steps: vec![0; shape.outer.len()],
            output: output as i64,
            spare: [0, spare as i64],
        };
        if plan.parallel == Axis::Oc {
            // A batch by name is the last factor.
            let mut step = block;
            let mut per_name = false;
            let by_name = |&i: &usize| shape.outer_count(shape.outer[i]).is_none();
            let (named, counted): (Vec<usize>, Vec<usize>) = (0..shape.outer.len()).rev().partition(by_name);
            for i in counted.into_iter().chain(named) {
                places.input_steps[i] = step as i64;
                match shape.outer_count(shape.outer[i]) {
                    Some(n) => step *= n,
                    None => per_name = true,
                }
            }
            let before = kernel.buffers.iter().find(|b| b.role == Role::Scratch).map(|b| b.len.clone());
            let before = before.unwrap_or_default();
            let all = match per_name {
                true => Affine::var(Var::BATCH, step as i64),
                false => Affine::constant(step as i64),
            };
            kernel.buffers.retain(|b| b.role != Role::Scratch);
            kernel.buffers.push(Buffer { role: Role::Scratch, storage, len: before.clone().plus_scaled(&all, 1) });
            (places.input_role, places.input) = (Role::Scratch, before);
        } else {
            local += block;
        }
        kernel.buffers.push(Buffer { role: Role::Local, storage, len: Affine::constant(local as i64) });
        places
    }
}
