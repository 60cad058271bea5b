//! Recurrent layers: `lstm` and `gru`.
//!
//! One is two things that the compiler has already. The *projection*, a `conv1d` whose window is one element, brings the input to the numbers of all
//! gates, at every position of the signal at once. The *step* is a network of its own, of one image: it takes such numbers of one position and
//! the state behind the position before, and makes the state behind this one. Whoever runs the layer runs the projection once for each direction, and the
//! step once for each position.

use std::fmt::Write;

use super::error::{NetworkError, Refusal};
use super::layers::Made;
use super::read::Graph;
use super::{NetworkSpec, Node, NodeKind, Parameter, TensorShape};
use crate::front;
use crate::front::ast::{self, Layer, ValueKind};
use crate::span::{Span, Spanned};
use crate::spec::error::SpecError;
use crate::spec::sizes::MAX_SIZE;
use crate::spec::{Batch, LayerSpec, Layout, Limits};

const LSTM_FIELDS: [&str; 7] = ["input", "hidden_size", "direction", "bias", "cells", "quantize_hidden", "states"];
const GRU_FIELDS: [&str; 6] = ["input", "hidden_size", "direction", "bias", "quantize_hidden", "state"];

/// A layer that takes the positions of a signal one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// What a step computes.
    pub cell: Cell,
    /// Which way it goes.
    pub direction: Direction,
    /// Channels that it makes in each direction.
    pub hidden_size: usize,
    /// Whether there are biases, two of them as in PyTorch: of the projection, and of the sums over the hidden state.
    pub bias: bool,
    /// Whether the cell states of an LSTM stand behind the hidden ones.
    pub cells: bool,
    /// Whether sums over the hidden state take it as `quantize_dynamic` makes it, at each position.
    pub quantize_hidden: bool,
    /// The numbers of all gates, of all positions of one image in one direction.
    pub projection: LayerSpec,
    /// From the numbers of a position `x`, the hidden state `h` and the cell state `c` of an LSTM to the next states.
    pub step: NetworkSpec,
}

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with a forget gate. Gates in PyTorch's order: input, forget, cell, output.
    Lstm,
    /// Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, as cuDNN and PyTorch have it: the reset gate
    /// multiplies behind the sum over the hidden state. Gates in PyTorch's order: reset, update, new.
    Gru,
}

/// Which way a recurrent layer goes through a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first position to the last.
    Forward,
    /// From the last to the first.
    Reverse,
    /// Both, each for itself; the channels of the way back stand behind the others.
    Bidirectional,
}

impl Cell {
    /// The word of the language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lstm => "lstm",
            Self::Gru => "gru",
        }
    }

    /// Gates, each with a number for each of the hidden ones.
    pub fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// Values that go from one step to the next: the hidden state, and the cell state of an LSTM.
    pub fn states(self) -> usize {
        match self {
            Self::Lstm => 2,
            Self::Gru => 1,
        }
    }
}

impl Direction {
    /// All, with their words.
    pub(super) const NAMES: [(&'static str, Self); 3] =
        [("forward", Self::Forward), ("reverse", Self::Reverse), ("bidirectional", Self::Bidirectional)];

    /// The word of the language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
            Self::Bidirectional => "bidirectional",
        }
    }

    /// How many ways there are, and for each whether it begins with the last position.
    pub fn ways(self) -> &'static [bool] {
        match self {
            Self::Forward => &[false],
            Self::Reverse => &[true],
            Self::Bidirectional => &[false, true],
        }
    }
}

impl Recurrent {
    /// The layer of a signal of that shape.
    ///
    /// # Errors
    /// The message of a limit that its projection or its step exceeds.
    fn of(
        shape: &TensorShape,
        (cell, direction, hidden_size): (Cell, Direction, usize),
        [bias, cells, quantize_hidden]: [bool; 3],
        limits: &Limits,
    ) -> Result<Self, String> {
        let first = |diagnostics: Vec<crate::diagnostic::Diagnostic>| {
            diagnostics.into_iter().next().map_or_else(String::new, |one| one.message)
        };
        let gates = cell.gates() * hidden_size;
        let input = TensorShape { batch: Batch::Fixed(1), ..shape.clone() };
        let text =
            format!("conv1d projection {{ input: {input}, out_channels: {gates}, kernel_size: 1, bias: {bias} }}");
        let projection = front::layers(&text, limits).map_err(first)?.remove(0);
        let text = step_text(cell, shape.storage.name(), hidden_size, (bias, quantize_hidden));
        let step = front::contents(&text, limits, &[]).map_err(first)?.networks.remove(0);
        Ok(Self { cell, direction, hidden_size, bias, cells, quantize_hidden, projection, step })
    }

    /// Numbers of all gates at one position.
    pub fn gates(&self) -> usize {
        self.cell.gates() * self.hidden_size
    }

    /// Positions of the signal.
    pub fn positions(&self) -> usize {
        self.projection.spatial[2].output
    }

    /// Channels that it makes: for each direction the hidden states, and behind those of all directions the cell states, if they are asked for.
    pub fn channels(&self) -> usize {
        self.direction.ways().len() * self.hidden_size * if self.cells { 2 } else { 1 }
    }

    /// The first channel of a state, 0 the hidden and 1 the cell state, of that way; `None` if it is not among the channels.
    pub fn channel(&self, state: usize, way: usize) -> Option<usize> {
        let ways = self.direction.ways().len();
        (state == 0 || self.cells).then_some((state * ways + way) * self.hidden_size)
    }

    /// What the layer called `name` takes for the projection of one way: weights, and a bias if there is one.
    pub fn projection_parameters(&self, name: &str, way: usize) -> Vec<Parameter> {
        let weight = self.parameter(name, "weight_ih", way, self.projection.weights_len());
        let bias = self.bias.then(|| self.parameter(name, "bias_ih", way, self.gates()));
        std::iter::once(weight).chain(bias).collect()
    }

    /// What the layer called `name` takes for the sums over the hidden state of one way, in the order of the step's parameters.
    pub fn step_parameters(&self, name: &str, way: usize) -> Vec<Parameter> {
        let weight = self.parameter(name, "weight_hh", way, self.gates() * self.hidden_size);
        let bias = self.bias.then(|| self.parameter(name, "bias_hh", way, self.gates()));
        std::iter::once(weight).chain(bias).collect()
    }

    fn parameter(&self, name: &str, what: &str, way: usize, len: usize) -> Parameter {
        // That of one way alone has PyTorch's names of a way forward.
        let suffix = if way == 1 { "_reverse" } else { "" };
        Parameter { name: format!("{name}.{what}_l0{suffix}"), len }
    }

    /// All that the layer called `name` takes, in PyTorch's order.
    pub(super) fn parameters(&self, name: &str) -> Vec<Parameter> {
        let of_way = |way: usize| {
            let (input, hidden) = (self.projection_parameters(name, way), self.step_parameters(name, way));
            input.into_iter().zip(hidden).flat_map(|(input, hidden)| [input, hidden])
        };
        (0..self.direction.ways().len()).flat_map(of_way).collect()
    }

    /// Multiply-accumulates of one image.
    pub fn macs_per_image(&self) -> u64 {
        let steps = self.step.macs_per_image().saturating_mul(self.positions() as u64);
        self.projection.macs_per_image().saturating_add(steps).saturating_mul(self.direction.ways().len() as u64)
    }

    /// Floating-point operations of one image.
    pub fn operations_per_image(&self) -> u64 {
        let step = self.step.nodes.iter().map(Node::operations_per_image).sum::<u64>();
        let steps = step.saturating_mul(self.positions() as u64);
        self.projection.operations_per_image().saturating_add(steps).saturating_mul(self.direction.ways().len() as u64)
    }

    /// The lines of the text, without the input; `states` are the names of those before the first position.
    pub(super) fn fields(&self, states: &[&str]) -> Vec<String> {
        let mut fields = vec![format!("hidden_size: {},", self.hidden_size)];
        if self.direction != Direction::Forward {
            fields.push(format!("direction: {},", self.direction.name()));
        }
        fields.extend(self.bias.then(|| "bias: true,".to_owned()));
        fields.extend(self.cells.then(|| "cells: true,".to_owned()));
        fields.extend(self.quantize_hidden.then(|| "quantize_hidden: true,".to_owned()));
        match states {
            [] => {}
            [one] => fields.push(format!("state: {one},")),
            many => fields.push(format!("states: [{}],", many.join(", "))),
        }
        fields
    }
}

/// The network of a step.
fn step_text(cell: Cell, storage: &str, hidden: usize, (bias, quantize_hidden): (bool, bool)) -> String {
    let gates = cell.gates() * hidden;
    let states = ["h", "c"].into_iter().take(cell.states());
    let mut text = format!("network step {{\n    inputs: [x: {storage}[1, {gates}]");
    for state in states {
        let _ = write!(text, ", {state}: {storage}[1, {hidden}]");
    }
    let gate = |at: usize| format!("{}..{}", at * hidden, (at + 1) * hidden);
    text += "],\n";
    let h = if quantize_hidden {
        text += "    quantize_dynamic quantized { input: h }\n";
        "quantized"
    } else {
        "h"
    };
    text += &match cell {
        Cell::Lstm => format!(
            "    linear gates {{ input: {h}, out_channels: {gates}, bias: {bias}, then: residual(x) }}
    slice input_gate {{ input: gates, channels: {} }}
    elementwise opened {{ then: sigmoid }}
    slice forget_gate {{ input: gates, channels: {} }}
    elementwise kept {{ then: [sigmoid, multiply(c)] }}
    slice cell_gate {{ input: gates, channels: {} }}
    elementwise added {{ then: [tanh, multiply(opened)] }}
    add cell {{ inputs: [kept, added] }}
    elementwise active {{ then: tanh }}
    slice output_gate {{ input: gates, channels: {} }}
    elementwise hidden {{ then: [sigmoid, multiply(active)] }}
    outputs: [hidden, cell],
",
            gate(0),
            gate(1),
            gate(2),
            gate(3)
        ),
        Cell::Gru => format!(
            "    linear sums {{ input: {h}, out_channels: {gates}, bias: {bias} }}
    slice sums_of_gates {{ input: sums, channels: 0..{both} }}
    slice x_of_gates {{ input: x, channels: 0..{both} }}
    add gates {{ inputs: [sums_of_gates, x_of_gates], then: sigmoid }}
    slice reset {{ input: gates, channels: {} }}
    slice update {{ input: gates, channels: {} }}
    slice sums_of_new {{ input: sums, channels: {} }}
    slice x_of_new {{ input: x, channels: {} }}
    mul known {{ inputs: [sums_of_new, reset] }}
    add new {{ inputs: [known, x_of_new], then: tanh }}
    elementwise difference {{ then: [neg, residual(h)] }}
    mul kept {{ inputs: [difference, update] }}
    add hidden {{ inputs: [kept, new] }}
    output: hidden,
",
            gate(0),
            gate(1),
            gate(2),
            gate(2),
            both = 2 * hidden,
        ),
    };
    text + "}"
}

impl Node {
    /// Multiply-accumulates of one image, taps of pooling, steps of elements.
    pub fn macs_per_image(&self) -> u64 {
        match &self.kind {
            NodeKind::Recurrent(recurrent) => recurrent.macs_per_image(),
            NodeKind::Matmul { spec, matrices } => spec.macs_per_image().saturating_mul(*matrices as u64),
            kind => kind.spec().map_or(0, LayerSpec::macs_per_image),
        }
    }

    /// Floating-point operations of one image.
    pub fn operations_per_image(&self) -> u64 {
        match &self.kind {
            NodeKind::Recurrent(recurrent) => recurrent.operations_per_image(),
            NodeKind::Matmul { spec, matrices } => spec.operations_per_image().saturating_mul(*matrices as u64),
            kind => kind.spec().map_or(0, LayerSpec::operations_per_image),
        }
    }
}

impl Graph<'_> {
    /// `lstm` and `gru`.
    pub(super) fn recurrent(&mut self, layer: &Layer, cell: Cell) -> Option<Made> {
        match cell {
            Cell::Lstm => self.only(layer, &LSTM_FIELDS)?,
            Cell::Gru => self.only(layer, &GRU_FIELDS)?,
        }
        let (from, span) = self.source(layer)?;
        let shape = self.shape(from);
        if shape.sizes.len() != 1 {
            return self.refuse(Refusal::Sequence { kind: cell.name(), axes: shape.sizes.len() }, span);
        }
        if shape.layout == Layout::Blocked {
            return self.refuse(Refusal::Blocks, span);
        }
        let Some(hidden) = layer.field("hidden_size") else {
            let (field, example, kind) = ("hidden_size", "64", cell.name());
            return self.report(NetworkError::MissingHere { field, example, kind, layer: layer.name.clone() });
        };
        let at = hidden.value.span;
        let hidden_size = self.reader(layer, 1, |reader| {
            let size = reader.count("hidden_size", &hidden.value, 1)?.value;
            // All gates are counted by one size.
            let most = MAX_SIZE / cell.gates() as u64;
            if size as u64 <= most {
                return Some(size);
            }
            let (what, value) = ("`hidden_size`".to_owned(), size as i128);
            reader.report(SpecError::Range { what, value, least: 1, most, span: at })
        })?;
        let direction = match layer.field("direction") {
            None => Direction::Forward,
            Some(field) => {
                let known = &Direction::NAMES;
                self.reader(layer, 1, |reader| reader.choice("direction", "direction", &field.value, known))?.value
            }
        };
        let mut flags = [false; 3];
        for (flag, name) in flags.iter_mut().zip(["bias", "cells", "quantize_hidden"]) {
            if let Some(field) = layer.field(name) {
                *flag = self.reader(layer, 1, |reader| reader.flag(name, &field.value))?;
            }
        }
        let made = Recurrent::of(&shape, (cell, direction, hidden_size), flags, self.limits);
        let recurrent = match made {
            Ok(recurrent) => recurrent,
            Err(what) => return self.report(NetworkError::Recurrent { kind: cell.name(), what, span: at }),
        };
        let channels = recurrent.direction.ways().len() * hidden_size;
        let states = self.states(layer, cell, &TensorShape { channels, sizes: vec![1], ..shape.clone() })?;
        let shape = TensorShape { channels: recurrent.channels(), ..shape };
        let inputs = std::iter::once(from).chain(states).collect();
        Some((NodeKind::Recurrent(Box::new(recurrent)), inputs, shape))
    }

    /// The values that stand for the states before the first position, if there are such.
    fn states(&mut self, layer: &Layer, cell: Cell, shape: &TensorShape) -> Option<Vec<usize>> {
        let (name, expected) = match cell {
            Cell::Lstm => ("states", "two values in brackets, of the hidden and the cell state"),
            Cell::Gru => ("state", "the name of a value"),
        };
        let Some(field) = layer.field(name) else { return Some(Vec::new()) };
        let items = match (&field.value.kind, cell) {
            (ValueKind::List(items), Cell::Lstm) if items.len() == 2 => items.as_slice(),
            (ValueKind::List(items), Cell::Lstm) => {
                let (kind, found, span) = (cell.name(), items.len(), field.value.span);
                return self.report(NetworkError::Count { kind, expected: "two", found, span });
            }
            (_, Cell::Lstm) => {
                self.form(name, expected, &field.value);
                return None;
            }
            (_, Cell::Gru) => std::slice::from_ref(&field.value),
        };
        items.iter().map(|item| self.state(name, expected, item, shape)).collect()
    }

    fn state(&mut self, field: &str, expected: &'static str, item: &ast::Value, shape: &TensorShape) -> Option<usize> {
        let ValueKind::Word(word) = &item.kind else {
            self.form(field, expected, item);
            return None;
        };
        let at = self.named(&Spanned::new(word.clone(), item.span))?;
        self.is_state(&self.shape(at), shape, item.span)?;
        Some(at)
    }

    /// Refuses what has not one element for each hidden number of each direction. How those lie is the same in every layout.
    fn is_state(&mut self, found: &TensorShape, wanted: &TensorShape, span: Span) -> Option<()> {
        let like = TensorShape { sizes: found.sizes.clone(), layout: found.layout, ..wanted.clone() };
        if like == *found && found.pixels() == 1 {
            return Some(());
        }
        let what = "a state has `hidden_size` channels of one element for each direction";
        let (first, second) = (wanted.to_string(), found.to_string());
        self.report(NetworkError::Differ { what, first, second, span })
    }
}

#[cfg(test)]
#[path = "recurrent_tests.rs"]
mod tests;
