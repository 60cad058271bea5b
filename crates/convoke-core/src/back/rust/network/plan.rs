//! What a crate or module does, and with what: everything but the numbers.

use std::collections::{HashMap, HashSet};

use super::{Budget, CrateError};
use crate::back::rust::module::{self, File};
use crate::back::rust::{Detection, layer};
use crate::eval::{Interpolator, Normalizer};
use crate::lower::weights::WeightsPacking;
use crate::plan::{Arena, StepMemory, arrange};
use crate::spec::{
    BLOCK_BYTES, Batch, DType, LayerSpec, Limits, Moves, NetworkSpec, Node, NodeKind, Parameter, Recurrent, Storage,
};
use crate::target::Target;
use proc_macro2::TokenStream;

/// What is written.
pub(super) struct Plan<'a> {
    /// As the user has it.
    pub(super) network: &'a NetworkSpec,
    pub(super) run: Sequence,
    /// Names of what each layer has a version for.
    pub(super) versions: Vec<&'static str>,
    pub(super) layers: Vec<LayerFile>,
    pub(super) packed: Vec<PackedLayer>,
    pub(super) weights_bytes: usize,
    /// Elements that all layers share.
    scratch: usize,
    local: usize,
}

/// Layers one after the other: those of the network, or of a step of a recurrent layer.
pub(super) struct Sequence {
    /// As it is computed.
    pub(super) network: NetworkSpec,
    pub(super) arena: Arena,
    pub(super) batch: usize,
    /// For each node.
    pub(super) steps: Vec<Step>,
}

/// A module, and what it wants.
pub(super) struct LayerFile {
    pub(super) name: String,
    pub(super) code: TokenStream,
    pub(super) packing: WeightsPacking,
    pub(super) has_packed: bool,
    pub(super) scratch: bool,
    pub(super) local: bool,
    /// Whether its weights are a value, which a run packs in the arena.
    pub(super) is_packed_in_runs: bool,
}

/// Weights, bias and numbers of channels as a layer reads them.
pub(super) struct PackedLayer {
    /// The function that gives them.
    pub(super) function: String,
    /// The name of the node.
    pub(super) node: String,
    /// The layer, by its number; none where the parameters are read as they are, one behind the other.
    pub(super) layer: Option<usize>,
    /// The first byte.
    pub(super) at: usize,
    pub(super) parameters: Vec<Parameter>,
    /// The node, if not all of its numbers are parameters.
    pub(super) bound: Option<Node>,
    /// Whether the first of those are weights.
    pub(super) has_weights: bool,
}

/// How a node's value is made.
pub(super) enum Step {
    /// It lies in the value that the layer takes.
    View,
    /// Elements are moved.
    Moves(Moves),
    /// Elements are quantized, of each image for itself.
    Quantize,
    /// Groups of elements are normalized, with the number of the weights and biases if there are such.
    Norm(Normalizer, Option<usize>),
    /// Elements are interpolated.
    Interpolate(Interpolator),
    /// A layer, by its number, and its packed weights if it has any: one of them for each way where it is part of a step.
    Layer(usize, Vec<usize>),
    /// A layer that runs for each image, whose numbers of channels are another value.
    ByChannel(usize),
    /// A layer that runs for each of so many matrices, of all images, whose weights are another value.
    Matmul(usize, usize),
    /// Positions are taken one after the other.
    Recurrent(Box<Recurring>),
}

/// A recurrent layer.
pub(super) struct Recurring {
    /// The layer of all positions, by its number, and its packed weights for each way.
    pub(super) projection: (usize, Vec<usize>),
    pub(super) step: Sequence,
    pub(super) memory: StepMemory,
}

impl Recurring {
    /// The layer of the step that has weights, by its number, and those for each way.
    pub(super) fn sums(&self) -> (usize, &[usize]) {
        let with_weights = |step: &'_ Step| matches!(step, Step::Layer(_, packed) if !packed.is_empty());
        match self.step.steps.iter().find(|step| with_weights(step)) {
            Some(Step::Layer(layer, packed)) => (*layer, packed),
            _ => (0, &[]),
        }
    }
}

impl<'a> Plan<'a> {
    /// The plan. `target` is for layouts; of the others the first, if there is one, says whether windows are transformed.
    pub(super) fn of<E>(
        network: &'a NetworkSpec,
        target: &Target,
        targets: (Option<&Target>, &[Target]),
        limits: &Limits,
        detection: Detection,
    ) -> Result<Self, CrateError<E>> {
        let name = || network.name.clone();
        if network.storage() != Storage::F32 {
            return Err(CrateError::Type { network: name(), storage: network.storage() });
        }
        let batch = match network.values.first().map(|value| &value.shape.batch) {
            Some(Batch::Named(batch)) => return Err(CrateError::Batch { network: name(), batch: batch.clone() }),
            Some(Batch::Fixed(n)) => *n,
            None => 1,
        };
        let arranged = arrange(network, target);
        let mut planner = Planner {
            targets,
            limits,
            detection,
            layers: Vec::new(),
            known: HashMap::new(),
            files: HashSet::new(),
            functions: arranged.nodes.iter().map(|node| node.name.to_lowercase()).collect(),
            packed: Vec::new(),
            weights_bytes: 0,
            scratch: 0,
            local: 0,
        };
        let run = planner.sequence(arranged, batch, None)?;
        // Those are for integers.
        let versions = targets.1.iter().filter(|target| !target.vnni).map(Target::name).collect();
        let Planner { layers, packed, weights_bytes, scratch, local, .. } = planner;
        Ok(Self { network, run, versions, layers, packed, weights_bytes, scratch, local })
    }

    /// Elements of the values, of what recurrent layers work in, the scratch and the local memory, each of whole cache lines.
    pub(super) fn arena_parts(&self) -> [usize; 4] {
        let line = BLOCK_BYTES / DType::F32.bytes();
        let Sequence { arena, batch, .. } = &self.run;
        [arena.len * batch, arena.scratch, self.scratch, self.local].map(|len| len.next_multiple_of(line))
    }

    /// What takes more than it may, with both numbers.
    pub(super) fn beyond(&self, budget: &Budget) -> Option<(&'static str, usize, usize)> {
        let all = [("weights", self.weights_bytes, budget.weights), ("arena", self.arena_bytes(), budget.arena)];
        all.into_iter().find_map(|(what, bytes, limit)| Some((what, bytes, limit.filter(|&limit| bytes > limit)?)))
    }

    /// The layers whose weights are values, and the bytes of those, packed.
    pub(super) fn packed_in_runs(&self) -> impl Iterator<Item = (&str, usize)> {
        let layers = self.layers.iter().filter(|layer| layer.is_packed_in_runs);
        layers.map(|layer| {
            let bytes = layer.packing.packed_len() * DType::F32.bytes();
            (layer.name.as_str(), bytes.next_multiple_of(BLOCK_BYTES))
        })
    }

    pub(super) fn arena_bytes(&self) -> usize {
        let packed: usize = self.packed_in_runs().map(|(_, bytes)| bytes).sum();
        self.arena_parts().iter().sum::<usize>() * DType::F32.bytes() + packed
    }
}

impl Sequence {
    /// Elements of a value, of all images.
    pub(super) fn len(&self, value: usize) -> usize {
        self.image(value) * self.batch
    }

    /// Elements of one image of a value.
    pub(super) fn image(&self, value: usize) -> usize {
        self.network.values[value].shape.image()
    }
}

/// Collects what a crate has.
struct Planner<'p> {
    targets: (Option<&'p Target>, &'p [Target]),
    limits: &'p Limits,
    detection: Detection,
    layers: Vec<LayerFile>,
    /// Layers by their text, without their names.
    known: HashMap<String, usize>,
    /// Names of files, and of functions that give weights.
    files: HashSet<String>,
    functions: HashSet<String>,
    packed: Vec<PackedLayer>,
    weights_bytes: usize,
    scratch: usize,
    local: usize,
}

impl Planner<'_> {
    /// The layers of a network, or of the step of a recurrent one and its name.
    fn sequence<E>(
        &mut self,
        network: NetworkSpec,
        batch: usize,
        of: Option<(&Recurrent, &str)>,
    ) -> Result<Sequence, CrateError<E>> {
        let arena = Arena::of(&network);
        let mut steps = Vec::new();
        for (at, node) in network.nodes.iter().enumerate() {
            if let NodeKind::Recurrent(recurrent) = &node.kind {
                steps.push(Step::Recurrent(Box::new(self.recurrent(node, recurrent)?)));
                continue;
            }
            if node.kind == NodeKind::QuantizeDynamic {
                steps.push(Step::Quantize);
                continue;
            }
            if let NodeKind::Norm(norm) = &node.kind {
                let one = Normalizer::new(norm, &network.values[node.output].shape);
                self.scratch = self.scratch.max(one.kept());
                let numbers = (norm.weights > 0).then(|| self.add(node.name.clone(), &node.name, node.parameters()));
                steps.push(Step::Norm(one, numbers));
                continue;
            }
            if let NodeKind::Interpolate(one) = &node.kind {
                steps.push(Step::Interpolate(Interpolator::new(one, &network.values[node.output].shape)));
                continue;
            }
            let Some(spec) = node.kind.spec() else {
                let moves = network.moves(node).filter(|_| !arena.views[at]);
                steps.push(moves.map_or(Step::View, Step::Moves));
                continue;
            };
            let name = of.map_or_else(|| node.name.clone(), |(_, name)| format!("{name}_{}", node.name));
            let layer = self.layer(&name, spec)?;
            if let NodeKind::Matmul { matrices, .. } = node.kind {
                self.layers[layer].is_packed_in_runs = true;
                steps.push(Step::Matmul(layer, matrices * batch));
                continue;
            }
            steps.push(match of {
                _ if node.kind.is_by_channel() => Step::ByChannel(layer),
                _ if !self.layers[layer].has_packed => Step::Layer(layer, Vec::new()),
                None => {
                    let packed = self.pack(node.name.clone(), &name, layer, spec, node.parameters());
                    self.packed[packed].bound = (!node.norms.is_empty()).then(|| node.clone());
                    Step::Layer(layer, vec![packed])
                }
                Some((recurrent, name)) => {
                    let parameters = |way: usize| recurrent.step_parameters(name, way);
                    Step::Layer(layer, self.pack_ways(recurrent, (name, "hidden"), layer, spec, parameters))
                }
            });
        }
        Ok(Sequence { network, arena, batch, steps })
    }

    fn recurrent<E>(&mut self, node: &Node, recurrent: &Recurrent) -> Result<Recurring, CrateError<E>> {
        let (name, spec) = (node.name.as_str(), &recurrent.projection);
        let layer = self.layer(&format!("{name}_{}", spec.name), spec)?;
        let parameters = |way: usize| recurrent.projection_parameters(name, way);
        let packed = self.pack_ways(recurrent, (name, "input"), layer, spec, parameters);
        let step = self.sequence(recurrent.step.clone(), 1, Some((recurrent, name)))?;
        Ok(Recurring { projection: (layer, packed), step, memory: StepMemory::of(recurrent) })
    }

    /// The number of a layer, which is that of another like it.
    fn layer<E>(&mut self, name: &str, spec: &LayerSpec) -> Result<usize, CrateError<E>> {
        let text = LayerSpec { name: String::from("like"), ..spec.clone() }.to_string();
        if let Some(&layer) = self.known.get(&text) {
            return Ok(layer);
        }
        let spec = LayerSpec { name: file_name(name, &mut self.files), ..spec.clone() };
        let (file, needs) = layer_file(name, &spec, self.targets, self.limits, self.detection)?;
        (self.scratch, self.local) = (needs.0.max(self.scratch), needs.1.max(self.local));
        self.layers.push(file);
        self.known.insert(text, self.layers.len() - 1);
        Ok(self.layers.len() - 1)
    }

    /// The number of a layer's packed weights.
    fn pack(
        &mut self,
        function: String,
        node: &str,
        layer: usize,
        spec: &LayerSpec,
        parameters: Vec<Parameter>,
    ) -> usize {
        let (at, has_weights) = (self.weights_bytes, spec.weights_len() > 0);
        let elements = self.layers[layer].packing.packed_len() + spec.bias_len();
        self.weights_bytes += (elements * size_of::<f32>()).next_multiple_of(BLOCK_BYTES);
        let (node, layer) = (node.to_owned(), Some(layer));
        self.packed.push(PackedLayer { function, node, layer, at, parameters, bound: None, has_weights });
        self.packed.len() - 1
    }

    /// The number of parameters that are read as they are.
    fn add(&mut self, function: String, node: &str, parameters: Vec<Parameter>) -> usize {
        let at = self.weights_bytes;
        let elements: usize = parameters.iter().map(|parameter| parameter.len).sum();
        self.weights_bytes += (elements * size_of::<f32>()).next_multiple_of(BLOCK_BYTES);
        let (node, layer, has_weights) = (node.to_owned(), None, false);
        self.packed.push(PackedLayer { function, node, layer, at, parameters, bound: None, has_weights });
        self.packed.len() - 1
    }

    /// The numbers of packed weights for each way of a recurrent layer.
    fn pack_ways(
        &mut self,
        recurrent: &Recurrent,
        (name, what): (&str, &str),
        layer: usize,
        spec: &LayerSpec,
        parameters: impl Fn(usize) -> Vec<Parameter>,
    ) -> Vec<usize> {
        let mut of_way = |way: usize| {
            let suffix = if way == 1 { "_reverse" } else { "" };
            let function = file_name(&format!("{name}_{what}{suffix}"), &mut self.functions);
            self.pack(function, name, layer, spec, parameters(way))
        };
        (0..recurrent.direction.ways().len()).map(&mut of_way).collect()
    }
}

/// A name for a file that no other has, on disks too on which `A` is `a`.
fn file_name(name: &str, taken: &mut HashSet<String>) -> String {
    let mut name = name.to_owned();
    while !taken.insert(name.to_lowercase()) {
        name.push('_');
    }
    name
}

/// The file of a layer, and how many elements of scratch and of local memory it needs.
fn layer_file<E>(
    node: &str,
    spec: &LayerSpec,
    (target, targets): (Option<&Target>, &[Target]),
    limits: &Limits,
    detection: Detection,
) -> Result<(LayerFile, (usize, usize)), CrateError<E>> {
    let name = || node.to_owned();
    let File { code, packing, scratch, local } = module::file(spec, target, targets, limits, detection)
        .map_err(|diagnostic| CrateError::Layer { layer: name(), diagnostic })?;
    if let Some((elements, true)) = scratch {
        return Err(CrateError::Scratch { layer: name(), elements });
    }
    let elements = |len: Option<i64>| len.and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
    let needs = (elements(scratch.map(|len| len.0)), elements(local));
    let (scratch, local) = (scratch.is_some(), local.is_some());
    let has_packed = layer::has_packed(spec);
    let name = spec.name.clone();
    Ok((LayerFile { name, code, packing, has_packed, scratch, local, is_packed_in_runs: false }, needs))
}
