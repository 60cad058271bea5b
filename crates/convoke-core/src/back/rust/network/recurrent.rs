//! `src/steps.rs`: recurrent layers, each a module with a function for one way through an image, and one for a step of it.

use std::fmt::{Result, Write};

use super::library::{MANY, Named, Taken, Writer, body, list, moves_in, quantize_in};
use super::plan::{Plan, Recurring, Step};
use crate::spec::{Node, NodeKind, Recurrent};

/// What a step takes and makes, by the names of the arguments.
const INPUTS: [&str; 3] = ["x", "h", "c"];
const OUTPUTS: [&str; 2] = ["hidden", "cell"];

/// The text, if there are such layers.
pub(super) fn text(plan: &Plan<'_>) -> Option<String> {
    let nodes = plan.run.network.nodes.iter().zip(&plan.run.steps);
    let mut modules = String::new();
    for (node, step) in nodes {
        if let (NodeKind::Recurrent(layer), Step::Recurrent(recurring)) = (&node.kind, step) {
            // Writing to a string does not fail.
            let _ = module(&mut modules, plan, node, layer, recurring);
        }
    }
    (!modules.is_empty()).then(|| format!("//! Recurrent layers, position by position.\n{modules}"))
}

fn module(out: &mut String, plan: &Plan<'_>, node: &Node, layer: &Recurrent, recurring: &Recurring) -> Result {
    let step = step(plan, layer, recurring)?;
    writeln!(out, "\n/// The {} `{}`.\npub(crate) mod {} {{", layer.cell.name(), node.name, node.name)?;
    let moves = if moves_in(&step) { "use super::super::moves::{self, Loop, Move};\n" } else { "" };
    let quantize = if quantize_in(&step) { ", quantize" } else { "" };
    let mut inside = format!("{moves}use super::super::{{layers, memory{quantize}}};\n\n");
    way(&mut inside, plan, node, layer, recurring)?;
    inside += &step;
    let indented = inside.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") });
    writeln!(out, "{}}}", indented.collect::<String>())
}

/// The function of one way through an image.
fn way(out: &mut String, plan: &Plan<'_>, node: &Node, layer: &Recurrent, recurring: &Recurring) -> Result {
    let network = &plan.run.network;
    let image = |value: usize| network.values[value].shape.image();
    let (memory, hidden, count) = (&recurring.memory, layer.hidden_size, layer.cell.states());
    let ways = layer.direction.ways().len();
    let projection = &plan.layers[recurring.projection.0];
    let sums = &plan.layers[recurring.sums().0].name;
    let has_states = node.inputs.len() > 1;
    let mut arguments = vec![format!("src: &[f32; {}]", image(node.inputs[0]))];
    arguments.extend(has_states.then(|| format!("states: [&[f32; {}]; {count}]", ways * hidden)));
    arguments.extend([
        format!("(input, sums): (&layers::{}::Packed, &layers::{sums}::Packed)", projection.name),
        "(way, is_reverse): (usize, bool)".to_owned(),
        format!("made: &mut [f32; {}]", image(node.output)),
        format!("room: &mut [f32; {}]", memory.len),
        "[scratch, local]: [&mut [f32]; 2]".to_owned(),
    ]);
    writeln!(out, "/// One way through an image, from the first position to the last or back.")?;
    writeln!(out, "{}", list("", "pub(crate) fn run(", &arguments, ") {"))?;
    writeln!(out, "    let (projected, rest) = room.split_at_mut({});", memory.states)?;
    writeln!(out, "    let (around, values) = rest.split_at_mut({});", memory.values - memory.states)?;
    let mut taken = vec!["src".to_owned(), "input".to_owned(), "memory::part_mut(projected, 0)".to_owned()];
    taken.extend(projection.scratch.then(|| "memory::part_mut(scratch, 0)".to_owned()));
    taken.extend(projection.local.then(|| "memory::part_mut(local, 0)".to_owned()));
    writeln!(out, "{}", list("    ", &format!("layers::{}::run(", projection.name), &taken, ");"))?;
    writeln!(out, "    let (mut before, mut behind) = around.split_at_mut({});", count * memory.state)?;
    if has_states {
        writeln!(
            out,
            "    for (given, state) in states.into_iter().zip(before.chunks_exact_mut({})) {{",
            memory.state
        )?;
        writeln!(out, "        state[..{hidden}].copy_from_slice(&given[way * {hidden}..][..{hidden}]);\n    }}")?;
    } else {
        writeln!(out, "    before.fill(0.0);")?;
    }
    let (positions, gates, channels) = (layer.positions(), layer.gates(), layer.channels());
    writeln!(out, "    for i in 0..{positions} {{")?;
    writeln!(out, "        let position = if is_reverse {{ {} - i }} else {{ i }};", positions - 1)?;
    let mut given = vec![format!("memory::part(projected, position * {gates})")];
    given.extend((0..count).map(|state| format!("memory::part(before, {})", state * memory.state)));
    given.push("sums".to_owned());
    if count == 2 {
        writeln!(out, "        let (hidden, cell) = behind.split_at_mut({});", memory.state)?;
        given.extend(OUTPUTS.map(|name| format!("memory::part_mut({name}, 0)")));
    } else {
        given.push("memory::part_mut(behind, 0)".to_owned());
    }
    given.extend(["values".to_owned(), "[&mut *scratch, &mut *local]".to_owned()]);
    writeln!(out, "{}", list("        ", "step(", &given, ");"))?;
    for state in 0..count {
        if let Some(first) = layer.channel(state, 0) {
            let first = if first == 0 { String::new() } else { format!(" + {first}") };
            let at = format!("position * {channels} + way * {hidden}{first}");
            let from = format!("&behind[{}..][..{hidden}]", state * memory.state);
            writeln!(out, "        made[{at}..][..{hidden}].copy_from_slice({from});")?;
        }
    }
    writeln!(out, "        core::mem::swap(&mut before, &mut behind);\n    }}\n}}\n")
}

/// The function of a step.
fn step(plan: &Plan<'_>, layer: &Recurrent, recurring: &Recurring) -> std::result::Result<String, std::fmt::Error> {
    let (sequence, count) = (&recurring.step, layer.cell.states());
    let named = |name: &str, value: usize| Named {
        kind: String::new(),
        argument: name.to_owned(),
        value: &sequence.network.values[value],
        len: sequence.len(value),
    };
    let inputs: Vec<_> = INPUTS[..=count].iter().enumerate().map(|(value, name)| named(name, value)).collect();
    let outputs: Vec<_> =
        OUTPUTS.iter().zip(&sequence.network.outputs).map(|(name, &value)| named(name, value)).collect();
    let body = body(plan, sequence, &inputs, &outputs, Some("sums"))?;
    let of = |all: &[Named<'_>], kind: &str| -> Vec<String> {
        all.iter().map(|one| format!("{}: &{kind}[f32; {}]", one.argument, one.len)).collect()
    };
    let used = |field: &'static str| if body.contains(&format!("({field}, ")) { field } else { "_" };
    let more = ["values: &mut [f32]".to_owned(), format!("[{}, {}]: [&mut [f32]; 2]", used("scratch"), used("local"))];
    let sums = vec![format!("sums: &layers::{}::Packed", plan.layers[recurring.sums().0].name)];
    let parameters = [of(&inputs, ""), sums, of(&outputs, "mut "), more.to_vec()].concat();
    let mut out = "/// From the numbers of a position and the states before it to the states behind it.\n".to_owned();
    if parameters.len() > MANY {
        writeln!(out, "#[allow(clippy::too_many_arguments)]")?;
    }
    writeln!(out, "{}", list("", "fn step(", &parameters, ") {"))?;
    writeln!(out, "{body}}}")?;
    Ok(out)
}

impl Writer<'_, '_> {
    /// The statements of a recurrent layer: each image, each way.
    pub(super) fn recurrent(&mut self, node: &Node, recurring: &Recurring, what: &str) -> Result {
        let NodeKind::Recurrent(layer) = &node.kind else { return Ok(()) };
        writeln!(self.out, "{what}, position by position\n    {{")?;
        let read: Vec<_> = node.inputs.iter().map(|&value| Some(value)).collect();
        self.begin(node, &read)?;
        let image = self.sequence.image(node.output);
        let (indent, made) = match self.sequence.batch {
            1 => ("        ", "made".to_owned()),
            batch => {
                writeln!(self.out, "        for n in 0..{batch} {{")?;
                ("            ", format!("memory::part_mut(made, n * {image})"))
            }
        };
        let [_, _, scratch, local] = self.plan.arena_parts();
        let work = [("scratch", scratch), ("local", local)];
        let work = work.map(|(name, len)| if len > 0 { format!("&mut {name}[..]") } else { "&mut []".to_owned() });
        let states: Vec<_> = node.inputs[1..].iter().map(|&value| self.source(value, Taken::Channels)).collect();
        for (way, is_reverse) in layer.direction.ways().iter().enumerate() {
            let packed = [recurring.projection.1[way], recurring.sums().1[way]];
            let packed = packed.map(|packed| format!("weights::{}()", self.plan.packed[packed].function));
            let mut arguments = vec![self.source(node.inputs[0], Taken::Image)];
            arguments.extend((!states.is_empty()).then(|| format!("[{}]", states.join(", "))));
            arguments.extend([
                format!("({})", packed.join(", ")),
                format!("({way}, {is_reverse})"),
                made.clone(),
                "memory::part_mut(states, 0)".to_owned(),
                format!("[{}]", work.join(", ")),
            ]);
            writeln!(self.out, "{}", list(indent, &format!("steps::{}::run(", node.name), &arguments, ");"))?;
        }
        if self.sequence.batch != 1 {
            writeln!(self.out, "        }}")?;
        }
        writeln!(self.out, "    }}")
    }
}
