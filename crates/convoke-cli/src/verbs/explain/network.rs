//! A network as it is computed: a line a layer, with its plan and what that should cost.

use super::title;
use crate::failure::Failure;
use crate::numbers::{short, three_digits};
use crate::source::Text;
use convoke_core::plan::{self, Arena, Place, Plans};
use convoke_core::spec::{LayerSpec, NetworkSpec, Node, NodeKind, Recurrent, Sampling};
use convoke_core::target::Target;
use std::io::Write;

/// A layer's line.
struct Row {
    cells: [String; 4],
    /// Estimated cycles of one core for one image; none where elements are moved or seen as something else.
    cycles: Option<f64>,
    /// What its multiply-adds alone would take.
    ideal: f64,
}

pub(super) fn write(text: &Text, network: &NetworkSpec, target: &Target, out: &mut dyn Write) -> Result<(), Failure> {
    super::super::plan::check_pins(text, network, target)?;
    let (arranged, plans) = plan::arrange_planned(network, target);
    let arena = Arena::of(&arranged);
    let (layers, written) = (arranged.nodes.len(), network.nodes.len());
    writeln!(out, "{}:{} on {}: {layers} layers for {written}", text.name, network.name, target.name())?;
    let of = |(at, node): (usize, &Node)| {
        row(&arranged, node, (!arena.views[at]).then(|| moved(&arranged, node, &arena)), &plans, target)
    };
    let rows: Vec<_> = arranged.nodes.iter().enumerate().map(of).collect();
    let total: f64 = rows.iter().filter_map(|row| row.cycles).sum();
    let widths = [0, 1, 2, 3].map(|i| rows.iter().map(|row| row.cells[i].chars().count()).max().unwrap_or(0));
    for Row { cells: [name, kind, made, how], cycles, ideal } in &rows {
        let [a, b, c, d] = widths;
        let line = format!("  {name:a$}  {kind:b$}  {made:c$}  {how:d$}");
        match cycles {
            None => writeln!(out, "{}", line.trim_end())?,
            Some(cycles) => {
                let [share, busy] = [cycles / total.max(1.0), ideal / cycles.max(1.0)].map(|part| 100.0 * part);
                writeln!(out, "{line}  {:>7} cycles {share:5.1} %, {busy:3.0} % of peak", short(*cycles).trim_end())?;
            }
        }
    }
    let ideal: f64 = rows.iter().map(|row| row.ideal).sum();
    let share = three_digits(100.0 * ideal / total.max(1.0));
    let bytes = |elements: usize| short((elements * network.storage().bytes()) as f64);
    let (total, ideal) = (short(total), short(ideal));
    let (total, ideal) = (total.trim_end(), ideal.trim_end());
    writeln!(out, "  in all: {total} cycles an image, of which multiply-adds alone would take {ideal} ({share} %)")?;
    writeln!(
        out,
        "  memory: {}B an image between layers, {}B of parameters",
        bytes(arena.len),
        bytes(arranged.parameters_len())
    )?;
    let is_left = |node: &&Node| arranged.nodes.iter().all(|other| other.name != node.name);
    let joined: Vec<_> = network.nodes.iter().filter(is_left).map(|node| node.name.as_str()).collect();
    if !joined.is_empty() {
        writeln!(out, "  part of the layers before them: {}", joined.join(", "))?;
    }
    Ok(())
}

/// Elements of an image that the layer moves: not those that were made where they belong.
fn moved(network: &NetworkSpec, node: &Node, arena: &Arena) -> usize {
    let all = network.moves(node).map_or_else(Vec::new, |moves| moves.moves);
    let is_there = |value: usize, to: usize| match (arena.places[value], arena.places[node.output]) {
        (Place::Arena(at), Place::Arena(own)) => at == own + to,
        _ => false,
    };
    let moved = all.iter().filter(|one| !is_there(node.inputs[one.input], one.to));
    moved.map(|one| one.loops.iter().map(|along| along.len).product::<usize>()).sum()
}

/// `moved` are the elements of a layer that moves such.
fn row(network: &NetworkSpec, node: &Node, moved: Option<usize>, plans: &Plans, target: &Target) -> Row {
    let shape = &network.values[node.output].shape;
    let ideal = |macs: u64| macs as f64 / (target.lanes(network.storage().bytes()) * target.fma_per_cycle) as f64;
    let (how, cycles) = match (&node.kind, node.kind.spec()) {
        (NodeKind::Recurrent(recurrent), _) => {
            let (how, cycles) = positions(recurrent, plans, target);
            (how, Some(cycles))
        }
        (NodeKind::Matmul { spec, matrices }, _) => {
            let (how, cycles) = planned(spec, plans, target);
            (format!("{how}, {matrices} times"), Some(*matrices as f64 * cycles))
        }
        (_, Some(spec)) => {
            let (how, cycles) = planned(spec, plans, target);
            (how, Some(cycles))
        }
        (NodeKind::Interpolate(one), _) => {
            let how = if one.sampling == Sampling::Linear { "linear" } else { "nearest" };
            (format!("{how}, makes {}B", short((shape.image() * network.storage().bytes()) as f64)), None)
        }
        (NodeKind::Norm(_), _) => {
            (format!("reads {}B three times", short((shape.image() * network.storage().bytes()) as f64)), None)
        }
        _ => match moved {
            None | Some(0) => ("in the same memory".to_owned(), None),
            Some(moved) => (format!("moves {}B", short((moved * network.storage().bytes()) as f64)), None),
        },
    };
    let kind = node.kind.name().to_owned();
    Row { cells: [node.name.clone(), kind, shape.to_string(), how], cycles, ideal: ideal(node.macs_per_image()) }
}

/// A layer's plan, and its cycles for an image.
fn planned(spec: &LayerSpec, plans: &Plans, target: &Target) -> (String, f64) {
    let plan = plans.get(&plan::like(spec)).cloned().map_or_else(|| plan::choose(spec, target), Ok);
    plan.map_or_else(|e| (e.to_string(), 0.0), |plan| (title(&plan), plan.cost.total()))
}

/// How the sums over the input are made, for all positions, and what those of all positions take.
fn positions(recurrent: &Recurrent, plans: &Plans, target: &Target) -> (String, f64) {
    let (how, first) = planned(&recurrent.projection, plans, target);
    let step: f64 = recurrent.step.layers().map(|spec| planned(spec, plans, target).1).sum();
    let (ways, positions) = (recurrent.direction.ways().len() as f64, recurrent.positions() as f64);
    let layers = recurrent.step.nodes.len();
    (format!("{how}, and {layers} layers a position"), ways * (first + positions * step))
}
