//! `src/lib.rs`, and what a module has of it: types, sizes, and the function that runs all layers.

use std::collections::HashSet;
use std::fmt::Write;

use super::Budget;
use super::plan::{Plan, Sequence, Step};
use crate::plan::Place;
use crate::spec::{Loop, Moves, NetworkValue, Node};

/// Names of an input or output: that of its type and of the argument.
pub(super) struct Named<'a> {
    pub(super) kind: String,
    pub(super) argument: String,
    pub(super) value: &'a NetworkValue,
    /// Elements of all images.
    pub(super) len: usize,
}

/// Arguments that clippy lets pass.
pub(super) const MANY: usize = 7;

/// What is in front of a step's statements.
const INDENT: &str = "        ";

/// Columns of a line.
pub(super) const WIDTH: usize = 120;

/// `items` between `open` and `close`: a line each where one line is too short for them.
pub(super) fn list(indent: &str, open: &str, items: &[String], close: &str) -> String {
    let line = format!("{indent}{open}{}{close}", items.join(", "));
    if line.len() <= WIDTH {
        return line;
    }
    let each: String = items.iter().map(|one| format!("{indent}    {one},\n")).collect();
    format!("{indent}{}\n{each}{indent}{}", open.trim_end(), close.trim_start())
}

/// The inputs and the outputs. One alone is called `Input` or `Output`, several have the names of their values behind that.
pub(super) fn named<'a>(plan: &Plan<'a>) -> [Vec<Named<'a>>; 2] {
    let mut taken = HashSet::new();
    let mut all = |what: &str, values: Vec<&'a NetworkValue>| -> Vec<Named<'a>> {
        let is_one = values.len() == 1;
        let named = values.into_iter().map(|value| {
            let name = if is_one { what.to_owned() } else { format!("{what}_{}", value.name) };
            let (mut kind, mut argument) = (camel_case(&name), name);
            while !taken.insert(kind.clone()) || !taken.insert(argument.clone()) {
                kind.push('2');
                argument.push_str("_2");
            }
            Named { kind, argument, value, len: value.shape.image() * plan.run.batch }
        });
        named.collect()
    };
    [all("input", plan.network.input_values().iter().collect()), all("output", plan.network.output_values().collect())]
}

fn camel_case(name: &str) -> String {
    let words = name.split('_').filter(|word| !word.is_empty());
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    words.map(word).collect()
}

/// What the module `layers` is.
pub(super) const LAYERS: &str = "The layers, each alone. Those that are alike but for their weights are one.";

/// What it is.
pub(super) fn docs(plan: &Plan<'_>) -> String {
    format!(
        "//! The network `{}`, compiled by Convoke: [`run`] computes its outputs from its inputs.
//!
//! Nothing is allocated: weights are part of the program, and all else lies in an [`Arena`].
",
        plan.network.name
    )
}

/// The attribute that names of layers need which are no names of modules and functions elsewhere.
pub(super) fn capitals(plan: &Plan<'_>) -> Option<&'static str> {
    let has_capitals = |name: &str| name.contains(|c: char| c.is_ascii_uppercase());
    let mut names = [&plan.network.name].into_iter().chain(plan.run.network.values.iter().map(|value| &value.name));
    let allow = "#![allow(non_snake_case, reason = \"layers have the names that the network gives them\")]";
    names.any(|name| has_capitals(name)).then_some(allow)
}

/// A table of all that takes memory.
pub(super) fn sizes(plan: &Plan<'_>) -> String {
    let [inputs, outputs] = &named(plan);
    let rows: String = [("input", inputs), ("output", outputs)]
        .into_iter()
        .flat_map(|(what, all)| all.iter().map(move |one| (what, one)))
        .map(|(what, Named { kind, value, len, .. })| {
            format!("| `{kind}` | {what} `{}` | `{}` | {} |\n", value.name, value.shape, len * size_of::<f32>())
        })
        .collect();
    format!(
        "| | | elements | bytes |
|---|---|---|---|
{rows}| `WEIGHTS_BYTES` | weights, packed, read only | | {} |
| `ARENA_BYTES` | memory of a run | | {} |
",
        plan.weights_bytes,
        plan.arena_bytes(),
    )
}

/// The text of the file. `steps` are the recurrent layers, if there are such.
#[cfg(feature = "pretty")]
pub(super) fn text(plan: &Plan<'_>, budget: &Budget, steps: Option<&str>) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, plan, budget, steps);
    out
}

/// The items, and whether they use the module `moves`.
pub(super) fn items(plan: &Plan<'_>, budget: &Budget) -> (String, bool) {
    let named = named(plan);
    let mut out = String::new();
    let body = body(plan, &plan.run, &named[0], &named[1], None).unwrap_or_default();
    let _ = write_items(&mut out, plan, budget, &named, &body);
    (out, moves_in(&body))
}

/// Whether a text uses the module `moves`.
pub(super) fn moves_in(text: &str) -> bool {
    text.contains("moves::run(")
}

/// Whether a text uses the module `quantize`.
pub(super) fn quantize_in(text: &str) -> bool {
    text.contains(" quantize::run(")
}

/// Whether a text uses the module `interpolate`.
pub(super) fn interpolate_in(text: &str) -> bool {
    text.contains(" interpolate::run(")
}

/// Whether a text uses the module `norm`.
pub(super) fn norm_in(text: &str) -> bool {
    text.contains(" norm::rows(") || text.contains(" norm::pixels(")
}

#[cfg(feature = "pretty")]
fn write(out: &mut String, plan: &Plan<'_>, budget: &Budget, steps: Option<&str>) -> std::fmt::Result {
    let (items, has_moves) = items(plan, budget);
    let has_weights = plan.weights_bytes > 0;
    write!(out, "{}", docs(plan))?;
    writeln!(out, "#![no_std]")?;
    if let Some(allow) = capitals(plan) {
        writeln!(out, "{allow}")?;
    }
    writeln!(out, "\n#[cfg(target_arch = \"x86_64\")]\nmod cpu;")?;
    if interpolate_in(&items) {
        writeln!(out, "mod interpolate;")?;
    }
    writeln!(out, "pub mod layers;\nmod memory;")?;
    if has_moves || steps.is_some_and(moves_in) {
        writeln!(out, "mod moves;")?;
    }
    if norm_in(&items) {
        writeln!(out, "mod norm;")?;
    }
    if quantize_in(&items) || steps.is_some_and(quantize_in) {
        writeln!(out, "mod quantize;")?;
    }
    if steps.is_some() {
        writeln!(out, "mod steps;")?;
    }
    if has_weights {
        writeln!(out, "pub mod weights;")?;
    }
    if has_moves {
        writeln!(out, "\nuse moves::{{Loop, Move}};")?;
    }
    write!(out, "\n{items}")
}

fn write_items(
    out: &mut String,
    plan: &Plan<'_>,
    budget: &Budget,
    named: &[Vec<Named<'_>>; 2],
    body: &str,
) -> std::fmt::Result {
    let [inputs, outputs] = named;
    for (what, all) in [("input", inputs), ("output", outputs)] {
        for Named { kind, value, len, .. } in all {
            writeln!(out, "/// The {what} `{}`: `{}`.\npub type {kind} = [f32; {len}];", value.name, value.shape)?;
        }
    }
    writeln!(out, "\n/// Bytes of the weights.\npub const WEIGHTS_BYTES: usize = {};", plan.weights_bytes)?;
    writeln!(out, "/// Bytes of an [`Arena`].\npub const ARENA_BYTES: usize = size_of::<Arena>();")?;
    writeln!(out, "const _: () = assert!(ARENA_BYTES == {});", plan.arena_bytes())?;
    for (constant, limit) in [("WEIGHTS_BYTES", budget.weights), ("ARENA_BYTES", budget.arena)] {
        if let Some(limit) = limit {
            let message = format!("the budget of {constant} is {limit}");
            writeln!(out, "const _: () = assert!({constant} <= {limit}, \"{message}\");")?;
        }
    }
    arena(out, plan)?;
    let of = |all: &[Named<'_>], kind: &str| -> Vec<String> {
        all.iter().map(|one| format!("{}: &{kind}{}", one.argument, one.kind)).collect()
    };
    let parameters = [of(inputs, ""), vec!["arena: &mut Arena".to_owned()], of(outputs, "mut ")].concat();
    writeln!(out, "\n/// Computes the outputs from the inputs. What is in the arena before does not matter.")?;
    if parameters.len() > MANY {
        writeln!(out, "#[allow(clippy::too_many_arguments)]")?;
    }
    writeln!(out, "{}", list("", "pub fn run(", &parameters, ") {"))?;
    match used(plan, body) {
        none if none.is_empty() => writeln!(out, "    let _ = &arena.values;")?,
        fields => writeln!(out, "    let Arena {{ {} }} = arena;", fields.join(", "))?,
    }
    writeln!(out, "{body}}}")
}

/// The statements of a function: each layer, then the outputs. `packed` are the weights of all layers that have such, where they are an argument.
pub(super) fn body(
    plan: &Plan<'_>,
    sequence: &Sequence,
    inputs: &[Named<'_>],
    outputs: &[Named<'_>],
    packed: Option<&str>,
) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let mut writer = Writer { out: &mut out, plan, sequence, inputs, packed };
    for (node, step) in sequence.network.nodes.iter().zip(&sequence.steps) {
        writer.step(node, step)?;
    }
    for (named, &value) in outputs.iter().zip(&sequence.network.outputs) {
        let from = match sequence.arena.places[value] {
            Place::Arena(offset) => format!("memory::part::<{}>(values, {})", named.len, offset * sequence.batch),
            Place::Input(..) => writer.source(value, Taken::Whole),
        };
        writeln!(writer.out, "    {}.copy_from_slice({from});", named.argument)?;
    }
    Ok(out)
}

/// The parts of the arena that the statements use.
fn used(plan: &Plan<'_>, body: &str) -> Vec<String> {
    let is_used =
        |field: &String| [format!("({field}, "), format!("{field}[..]")].iter().any(|part| body.contains(part));
    let parts = fields(plan).into_iter().map(|part| part.name);
    parts.filter(|name| name.starts_with(PACKED) || is_used(name)).collect()
}

/// A part of the arena.
struct Part {
    name: String,
    kind: String,
    zeros: String,
    what: String,
}

/// The parts of the arena that there are.
fn fields(plan: &Plan<'_>) -> Vec<Part> {
    let [values, states, scratch, local] = plan.arena_parts();
    let fields = [
        ("values", values, "What layers make, two in one place where they are not needed at the same time."),
        ("states", states, "What recurrent layers work in, one after the other."),
        ("scratch", scratch, "What a layer writes for itself, such as a copy of its input."),
        ("local", local, "What a layer writes for itself while it makes a part of its output."),
    ];
    let fields = fields.into_iter().filter(|field| field.0 == "values" || field.1 > 0);
    let fields = fields.map(|(name, len, what)| Part {
        name: name.to_owned(),
        kind: format!("[f32; {len}]"),
        zeros: format!("[0.0; {len}]"),
        what: what.to_owned(),
    });
    let packed = plan.packed_in_runs().map(|(layer, _)| Part {
        name: packed_field(layer),
        kind: format!("layers::{layer}::Packed"),
        zeros: format!("layers::{layer}::Packed::ZERO"),
        what: format!("What layers like `{layer}` multiply with, packed: it is a value."),
    });
    fields.chain(packed).collect()
}

/// What names of parts with packed weights begin with.
const PACKED: &str = "packed_";

/// The part of the arena for the weights of a layer that are a value.
fn packed_field(layer: &str) -> String {
    format!("{PACKED}{layer}")
}

fn arena(out: &mut String, plan: &Plan<'_>) -> std::fmt::Result {
    writeln!(out, "\n/// The memory of a run. As a `static` in a lock it takes neither stack nor heap.")?;
    writeln!(out, "#[repr(C, align(64))]\npub struct Arena {{")?;
    for Part { name, kind, what, .. } in fields(plan) {
        writeln!(out, "    /// {what}\n    {name}: {kind},")?;
    }
    let zeros: Vec<String> = fields(plan).iter().map(|part| format!("{}: {}", part.name, part.zeros)).collect();
    let new =
        "    /// An arena, which any number of runs may use one after the other.\n    pub const fn new() -> Self {";
    writeln!(out, "}}\n\nimpl Arena {{\n{new}\n        Self {{ {} }}\n    }}\n}}", zeros.join(", "))?;
    writeln!(out, "\nimpl Default for Arena {{\n    fn default() -> Self {{\n        Self::new()\n    }}\n}}")
}

/// `x` as Rust writes it.
pub(super) fn literal(x: f32) -> String {
    if x.is_finite() { format!("{x:?}") } else { format!("f32::from_bits({:#x})", x.to_bits()) }
}

/// `n * step`.
fn number_times(step: usize) -> String {
    if step == 1 { "n".to_owned() } else { format!("n * {step}") }
}

/// How much of a value is read.
#[derive(Clone, Copy)]
pub(super) enum Taken {
    /// All images.
    Whole,
    /// An image, whose number is `n`.
    Image,
    /// The channels of an image of one element.
    Channels,
    /// A matrix of so many elements, whose number is `n`, among all of that number.
    Matrix(usize, usize),
}

pub(super) struct Writer<'o, 'a> {
    pub(super) out: &'o mut String,
    pub(super) plan: &'o Plan<'a>,
    pub(super) sequence: &'o Sequence,
    inputs: &'o [Named<'a>],
    packed: Option<&'o str>,
}

impl Writer<'_, '_> {
    /// First element of a value in the arena or in its input, of all images.
    pub(super) fn start(&self, value: usize) -> usize {
        let (Place::Arena(offset) | Place::Input(_, offset)) = self.sequence.arena.places[value];
        offset * self.sequence.batch
    }

    /// An expression of an array that a layer reads while another is made.
    pub(super) fn source(&self, value: usize, taken: Taken) -> String {
        let shape = &self.sequence.network.values[value].shape;
        let (image, start) = (shape.image(), self.start(value));
        let len = match taken {
            Taken::Whole => self.sequence.len(value),
            Taken::Image => image,
            // In any layout they come first.
            Taken::Channels => shape.channels,
            Taken::Matrix(len, _) => len,
        };
        let (step, count) = match taken {
            Taken::Whole => (image, 1),
            Taken::Image | Taken::Channels => (image, self.sequence.batch),
            Taken::Matrix(len, count) => (len, count),
        };
        let at = match (count, start) {
            (1, _) => start.to_string(),
            (_, 0) => number_times(step),
            _ => format!("{start} + {}", number_times(step)),
        };
        match self.sequence.arena.places[value] {
            Place::Arena(_) => format!("around.get::<{len}>({at})"),
            Place::Input(input, _) => {
                let Named { argument, len: all, .. } = &self.inputs[input];
                match start == 0 && len == *all {
                    true => argument.clone(),
                    false => format!("memory::part::<{len}>({argument}, {at})"),
                }
            }
        }
    }

    fn in_arena(&self, value: usize) -> bool {
        matches!(self.sequence.arena.places[value], Place::Arena(_))
    }

    fn step(&mut self, node: &Node, step: &Step) -> std::fmt::Result {
        let (kind, shape) = (node.kind.name(), &self.sequence.network.values[node.output].shape);
        let what = format!("    // {kind} {}: {shape}", node.name);
        match step {
            Step::View => writeln!(self.out, "{what}, where it is"),
            Step::Layer(layer, packed) => {
                writeln!(self.out, "{what}\n    {{")?;
                self.begin(node, &[node.inputs.first().copied(), node.residual()])?;
                let packed = match (self.packed, packed.first()) {
                    (Some(argument), _) => argument.to_owned(),
                    (None, Some(&packed)) => format!("weights::{}()", self.plan.packed[packed].function),
                    (None, None) => String::new(),
                };
                self.call(node, *layer, &packed, "made", Taken::Whole, "        ")?;
                writeln!(self.out, "    }}")
            }
            Step::ByChannel(layer) => self.by_channel(node, *layer, &what),
            Step::Matmul(layer, count) => self.matmul(node, *layer, *count, &what),
            Step::Moves(moves) => self.moves(node, moves, &what),
            Step::Quantize => {
                writeln!(self.out, "{what}\n    {{")?;
                self.begin(node, &[Some(node.inputs[0])])?;
                let from = self.source(node.inputs[0], Taken::Whole);
                writeln!(self.out, "        quantize::run({from}, made, {});", self.sequence.batch)?;
                writeln!(self.out, "    }}")
            }
            Step::Norm(one, numbers) => self.norm(node, one, *numbers, &what),
            Step::Interpolate(one) => self.interpolate(node, one, &what),
            Step::Recurrent(recurring) => self.recurrent(node, recurring, &what),
        }
    }

    /// The place where the value is made, and what is around it if any of `read` lies there.
    pub(super) fn begin(&mut self, node: &Node, read: &[Option<usize>]) -> std::fmt::Result {
        let reads = read.iter().flatten().any(|&value| self.in_arena(value));
        let around = if reads { "around" } else { "_" };
        writeln!(
            self.out,
            "        let ({around}, made) = memory::make::<{}>(values, {});",
            self.sequence.len(node.output),
            self.start(node.output)
        )
    }

    /// Runs a layer.
    fn call(
        &mut self,
        node: &Node,
        layer: usize,
        packed: &str,
        made: &str,
        taken: Taken,
        indent: &str,
    ) -> std::fmt::Result {
        let layer = &self.plan.layers[layer];
        let mut arguments = vec![self.source(node.inputs[0], taken)];
        arguments.extend(layer.has_packed.then(|| packed.to_owned()));
        arguments.extend(node.residual().map(|value| self.source(value, taken)));
        arguments.push(made.to_owned());
        arguments.extend(layer.scratch.then(|| "memory::part_mut(scratch, 0)".to_owned()));
        arguments.extend(layer.local.then(|| "memory::part_mut(local, 0)".to_owned()));
        let run = format!("layers::{}::run(", layer.name);
        writeln!(self.out, "{}", list(indent, &run, &arguments, ");"))
    }

    fn by_channel(&mut self, node: &Node, layer: usize, what: &str) -> std::fmt::Result {
        writeln!(self.out, "{what}, for each image\n    {{")?;
        self.begin(node, &[Some(node.inputs[0]), Some(node.inputs[1]), node.residual()])?;
        let pack = format!("layers::{}::pack", self.plan.layers[layer].name);
        let numbers = self.source(node.inputs[1], Taken::Channels);
        if self.sequence.batch == 1 {
            writeln!(self.out, "        let packed = {pack}({numbers});")?;
            self.call(node, layer, "&packed", "made", Taken::Image, "        ")?;
        } else {
            let image = self.sequence.network.values[node.output].shape.image();
            writeln!(self.out, "        for n in 0..{} {{", self.sequence.batch)?;
            writeln!(self.out, "            let packed = {pack}({numbers});")?;
            let made = format!("memory::part_mut(made, n * {image})");
            self.call(node, layer, "&packed", &made, Taken::Image, "            ")?;
            writeln!(self.out, "        }}")?;
        }
        writeln!(self.out, "    }}")
    }

    /// A layer for each of `count` matrices, whose weights are packed where the arena has room for them.
    fn matmul(&mut self, node: &Node, layer: usize, count: usize, what: &str) -> std::fmt::Result {
        writeln!(self.out, "{what}, each matrix\n    {{")?;
        let read: Vec<_> = node.inputs.iter().map(|&value| Some(value)).collect();
        self.begin(node, &read)?;
        let layer = &self.plan.layers[layer];
        let (name, packed) = (&layer.name, packed_field(&layer.name));
        let matrix = |value: usize| self.source(value, Taken::Matrix(self.sequence.len(value) / count, count));
        let len = self.sequence.len(node.output) / count;
        let mut arguments = vec![matrix(node.inputs[0]), packed.clone()];
        arguments.extend(node.residual().map(matrix));
        arguments.push(if count == 1 {
            "made".to_owned()
        } else {
            format!("memory::part_mut(made, {})", number_times(len))
        });
        arguments.extend(layer.scratch.then(|| "memory::part_mut(scratch, 0)".to_owned()));
        arguments.extend(layer.local.then(|| "memory::part_mut(local, 0)".to_owned()));
        let weights = matrix(node.inputs[1]);
        let indent = if count == 1 { "        " } else { "            " };
        if count != 1 {
            writeln!(self.out, "        for n in 0..{count} {{")?;
        }
        writeln!(self.out, "{}", list(indent, &format!("layers::{name}::pack_into("), &[packed, weights], ");"))?;
        writeln!(self.out, "{}", list(indent, &format!("layers::{name}::run("), &arguments, ");"))?;
        if count != 1 {
            writeln!(self.out, "        }}")?;
        }
        writeln!(self.out, "    }}")
    }

    fn moves(&mut self, node: &Node, Moves { fill, moves }: &Moves, what: &str) -> std::fmt::Result {
        let (own, batch) = (self.start(node.output), self.sequence.batch);
        let image = |value: usize| self.sequence.network.values[value].shape.image();
        let mut calls = Vec::new();
        let mut read = Vec::new();
        for one in moves {
            let value = node.inputs[one.input];
            if self.is_within(value, node.output) {
                // A part of one image, that has been made here: where it belongs, or it stands twice.
                let from = self.start(value) - own;
                let end = from + self.sequence.len(value);
                calls.extend((from != one.to).then(|| format!("{INDENT}made.copy_within({from}..{end}, {});", one.to)));
                continue;
            }
            read.push(Some(value));
            let loops = one.loops.iter().map(|Loop { len, from, to }| format!("Loop({len}, {from}, {to})"));
            let loops = loops.collect::<Vec<_>>().join(", ");
            let fields = [format!("from: {}", one.from), format!("to: {}", one.to), format!("loops: &[{loops}]")];
            calls.push(list(INDENT, "let part = Move { ", &fields, " };"));
            let (from, sizes) = (self.source(value, Taken::Whole), (image(value), image(node.output)));
            calls.push(format!("{INDENT}moves::run(&part, {from}, {}, made, {}, {batch});", sizes.0, sizes.1));
        }
        if let Some(fill) = fill {
            calls.insert(0, format!("{INDENT}made.fill({});", literal(*fill as f32)));
        }
        if calls.is_empty() {
            return writeln!(self.out, "{what}, where its parts are");
        }
        writeln!(self.out, "{what}\n    {{")?;
        self.begin(node, &read)?;
        calls.iter().try_for_each(|call| writeln!(self.out, "{call}"))?;
        writeln!(self.out, "    }}")
    }

    /// Whether a value lies within the one that is made.
    fn is_within(&self, value: usize, made: usize) -> bool {
        let range = |value: usize| self.start(value)..self.start(value) + self.sequence.len(value);
        let (part, whole) = (range(value), range(made));
        self.in_arena(value) && whole.start <= part.start && part.end <= whole.end
    }
}
