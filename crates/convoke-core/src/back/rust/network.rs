//! A network to a crate of its own, or to a module of someone else's: no dependencies, no allocation.
//!
//! In comes a network with its parameters, out come the files of a crate: each layer as the module that [`module`](super::module()) makes, layers that
//! are alike once; the weights, packed as those read them, in a file that becomes part of the program; and a function that runs the layers one after
//! the other, in one piece of memory that the caller has. A [`NetworkModule`] is the same as one text. What is computed, and where values lie, is what
//! the run-time network does too: [`arrange`](crate::plan::arrange), then [`Arena`](crate::plan::Arena).
//!
//! Refused are elements that are not `f32`, a batch that is a name, what a module refuses, and what exceeds a budget.

use std::borrow::Cow;

use super::Detection;
use crate::diagnostic::Diagnostic;
use crate::eval::bound;
use crate::lower::weights::WeightsPacking;
use crate::spec::{Limits, NetworkSpec, Storage};
use crate::target::Target;
use plan::{PackedLayer, Plan};
use thiserror::Error;

mod embedded;
#[cfg(feature = "pretty")]
mod files;
mod interpolate;
mod library;
mod norm;
mod plan;
mod recurrent;
mod weights;

pub use embedded::{NetworkModule, network_module};

/// The files of a crate.
#[cfg(feature = "pretty")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crate {
    /// Each with its path in the crate's folder, which has `/` between names.
    pub files: Vec<(String, Vec<u8>)>,
    /// Bytes of all packed weights, which are read only.
    pub weights_bytes: usize,
    /// Bytes of what a run needs beside inputs and outputs: values and scratch.
    pub arena_bytes: usize,
}

/// How much memory a network may take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Of the weights.
    pub weights: Option<usize>,
    /// Of the arena.
    pub arena: Option<usize>,
}

#[cfg(feature = "pretty")]
/// Inputs, and the outputs that belong to them, each in the order of the network.
pub type Example<'a> = (&'a [Vec<f32>], &'a [Vec<f32>]);

/// Why a network has no crate, or no module.
#[derive(Debug, Error)]
pub enum CrateError<E> {
    /// What gives the parameters failed.
    #[error("{0}")]
    Fetch(E),
    /// The elements are of another type.
    #[error("network `{network}` is of {}, and code is written for f32: declare its inputs as f32", storage.name())]
    Type {
        /// The network's name.
        network: String,
        /// The type.
        storage: Storage,
    },
    /// The batch is a name.
    #[error(
        "the batch of network `{network}` is `{batch}`, and code is written for one of a fixed size: give `{batch}` a number"
    )]
    Batch {
        /// The network's name.
        network: String,
        /// The name of its batch.
        batch: String,
    },
    /// A layer has no module.
    #[error("layer `{layer}`: {}", diagnostic.message)]
    Layer {
        /// The layer's name.
        layer: String,
        /// Why.
        diagnostic: Diagnostic,
    },
    /// A kernel needs more scratch for more images.
    #[error(
        "layer `{layer}` needs {elements} elements of scratch for each image, and an arena has one size: give the batch a number"
    )]
    Scratch {
        /// The layer's name.
        layer: String,
        /// For an image.
        elements: i64,
    },
    /// A parameter has the wrong length.
    #[error("the parameter `{name}` has {given} elements, and the network needs {expected}")]
    Parameter {
        /// Its name.
        name: String,
        /// What the network needs.
        expected: usize,
        /// What there is.
        given: usize,
    },
    /// The budget is too small.
    #[error(
        "network `{network}` takes {bytes} bytes for its {what}, and the budget is {limit}: raise it, or make the network smaller"
    )]
    Budget {
        /// The network's name.
        network: String,
        /// Weights or arena.
        what: &'static str,
        /// What it takes.
        bytes: usize,
        /// What it may.
        limit: usize,
    },
    /// There are more or fewer tensors in the example than the network has.
    #[error("the example has {given} {what}, and network `{network}` has {expected}")]
    ExampleCount {
        /// The network's name.
        network: String,
        /// Inputs or outputs.
        what: &'static str,
        /// Of the network.
        expected: usize,
        /// Of the example.
        given: usize,
    },
    /// A tensor of the example is too long or too short.
    #[error("the example has {given} elements of `{value}`, and the network has {expected}")]
    ExampleLength {
        /// The value's name.
        value: String,
        /// Of the network.
        expected: usize,
        /// Of the example.
        given: usize,
    },
    /// A defect of the backend: what it wrote of a layer is not Rust.
    #[cfg(feature = "pretty")]
    #[error("layer `{layer}` has no source (a defect of Convoke): {error}")]
    Source {
        /// The layer's name.
        layer: String,
        /// What is wrong.
        error: syn::Error,
    },
}

/// The crate of `network`: layouts, and whether windows are transformed (Winograd's algorithm; not if the budget is too small for that), are chosen for `target`; each layer has a version for each of `targets`, of which one is
/// [`Target::PORTABLE`]; [`TARGETS`](super::TARGETS) are all that there are. `parameters` gives each parameter by its name. With an
/// example, there is a test that runs it.
///
/// # Errors
/// See [`CrateError`].
#[cfg(feature = "pretty")]
pub fn network_crate<E>(
    network: &NetworkSpec,
    target: &Target,
    targets: &[Target],
    limits: &Limits,
    parameters: &mut dyn FnMut(&str) -> Result<Vec<f32>, E>,
    example: Option<Example<'_>>,
    budget: &Budget,
) -> Result<Crate, CrateError<E>> {
    if let Some(example) = example {
        check_example(network, example)?;
    }
    let plan = within(network, target, targets, limits, Detection::Cpuid, budget)?;
    let weights = weights(&plan, parameters)?;
    Ok(Crate {
        files: files::all(&plan, weights, example, budget)?,
        weights_bytes: plan.weights_bytes,
        arena_bytes: plan.arena_bytes(),
    })
}

#[cfg(feature = "pretty")]
fn check_example<E>(network: &NetworkSpec, (inputs, outputs): Example<'_>) -> Result<(), CrateError<E>> {
    let counts = [("inputs", network.inputs, inputs.len()), ("outputs", network.outputs.len(), outputs.len())];
    for (what, expected, given) in counts {
        if expected != given {
            return Err(CrateError::ExampleCount { network: network.name.clone(), what, expected, given });
        }
    }
    let values = network.input_values().iter().chain(network.output_values());
    for (value, given) in values.zip(inputs.iter().chain(outputs)) {
        let expected = value.shape.image() * network.fixed_batch().unwrap_or(1);
        if expected != given.len() {
            return Err(CrateError::ExampleLength { value: value.name.clone(), expected, given: given.len() });
        }
    }
    Ok(())
}

/// Everything but the numbers, if there is room for that.
fn within<'a, E>(
    network: &'a NetworkSpec,
    target: &Target,
    targets: &[Target],
    limits: &Limits,
    detection: Detection,
    budget: &Budget,
) -> Result<Plan<'a>, CrateError<E>> {
    let mut plan = Plan::of(network, target, (Some(target), targets), limits, detection)?;
    if plan.beyond(budget).is_some() {
        // Transformed windows are larger, and so is what is computed of them.
        plan = Plan::of(network, target, (None, targets), limits, detection)?;
    }
    match plan.beyond(budget) {
        Some((what, bytes, limit)) => Err(CrateError::Budget { network: network.name.clone(), what, bytes, limit }),
        None => Ok(plan),
    }
}

/// The bytes of all layers' `Packed`, each from a multiple of its alignment on.
fn weights<E>(plan: &Plan<'_>, fetch: &mut dyn FnMut(&str) -> Result<Vec<f32>, E>) -> Result<Vec<u8>, CrateError<E>> {
    let mut bytes = vec![0; plan.weights_bytes];
    for PackedLayer { layer, at, parameters, bound: node, has_weights, .. } in &plan.packed {
        let mut given = Vec::new();
        for parameter in parameters {
            let elements = fetch(&parameter.name).map_err(CrateError::Fetch)?;
            if elements.len() != parameter.len {
                let (name, expected, given) = (parameter.name.clone(), parameter.len, elements.len());
                return Err(CrateError::Parameter { name, expected, given });
            }
            given.push(Cow::Owned(elements));
        }
        if let Some(node) = node {
            given = bound(node, given);
        }
        let mut rows = given.iter();
        let plain = if *has_weights { rows.next() } else { None };
        let packing = layer.map(|layer| &plan.layers[layer].packing);
        let mut packed = vec![0.0f32; packing.map_or(0, WeightsPacking::packed_len)];
        if let Some(packing) = packing {
            packing.pack(plain.map_or(&[][..], AsRef::as_ref), &mut packed);
        }
        let numbers = packed.iter().chain(rows.flat_map(|row| row.iter()));
        for (slot, number) in bytes[*at..].chunks_exact_mut(size_of::<f32>()).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
    }
    Ok(bytes)
}
