//! `LSTM` and `GRU`.
//!
//! ONNX's axes are the positions, the ways, the batch and the hidden numbers, and its gates stand in another order than the language's: the rows of weights and
//! biases are moved. What a layer makes has all ways among its channels; the views say where each is.

use std::collections::HashSet;
use std::rc::Rc;

use super::{Build, Call, quantized};
use crate::error::Reason;
use crate::fold::{expanded, transpose};
use crate::graph::Graph;
use crate::ir::{Cell, Op, Recurrent, Role, Shape, Way};
use crate::shapes::differ_dims;
use crate::tensor::{Budget, Elements, Tensor};
use crate::view::{Factor, View};

/// What an input of the graph with three axes is, if recurrent layers alone take it and say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Positions, images, channels.
    Signal,
    /// Ways, images, hidden numbers.
    State,
}

/// The order of the axes of a value that only such layers take, or operators that keep it.
pub(crate) fn order(graph: &Graph<'_>, value: usize) -> Option<Order> {
    let (mut stack, mut seen, mut found) = (vec![value], HashSet::new(), None);
    while let Some(value) = stack.pop() {
        if !seen.insert(value) {
            continue;
        }
        if graph.outputs.iter().any(|(output, _)| *output == value) {
            return None;
        }
        for &user in &graph.users[value] {
            let node = &graph.nodes[user];
            let order = match node.op().as_str() {
                "LSTM" | "GRU" | "com.microsoft.DynamicQuantizeLSTM" if node.int("layout", 0) == 0 => {
                    match node.inputs.iter().position(|&x| x == Some(value)) {
                        Some(0) => Order::Signal,
                        Some(5 | 6) => Order::State,
                        _ => return None,
                    }
                }
                "Identity" | "Cast" | "Dropout" | "Relu" => {
                    stack.extend(node.outputs.first().copied().flatten());
                    continue;
                }
                _ => return None,
            };
            if found.is_some_and(|other| other != order) {
                return None;
            }
            found = Some(order);
        }
    }
    found
}

/// What an operator is in the language.
struct Kind {
    cell: Cell,
    /// For each gate of the language, which it is of ONNX's.
    gates: &'static [usize],
    /// The functions of one way.
    activations: &'static [&'static str],
}

/// Input, output, forget and cell gate there; input, forget, cell and output gate here.
const LSTM: Kind = Kind { cell: Cell::Lstm, gates: &[0, 2, 3, 1], activations: &["Sigmoid", "Tanh", "Tanh"] };

/// Update, reset and new there; reset, update and new here.
const GRU: Kind = Kind { cell: Cell::Gru, gates: &[1, 0, 2], activations: &["Sigmoid", "Tanh"] };

/// Sizes of a call.
struct Sizes {
    positions: usize,
    batch: usize,
    channels: usize,
    ways: usize,
    hidden: usize,
}

/// Weights of the input and of the hidden state, for each way a matrix `[gates][columns]`.
type Matrices = [Rc<Tensor>; 2];

pub(super) fn lstm(build: &mut Build, call: &Call<'_, '_>) -> Result<Vec<View>, Reason> {
    plain_lstm(call)?;
    recurrent(build, call, &LSTM, given(call)?, None)
}

/// ONNX Runtime's `DynamicQuantizeLSTM`: the signal is quantized as a whole, and the hidden state at each position.
pub(super) fn lstm_quantized(build: &mut Build, call: &Call<'_, '_>) -> Result<Vec<View>, Reason> {
    plain_lstm(call)?;
    let signal = quantized::quantized(build, call, call.view(0)?)?;
    let mut matrix = |input: usize, scale: usize| -> Result<Rc<Tensor>, Reason> {
        let weights = call.params.needed(input, "the weights")?;
        let scale = call.params.needed(scale, "the scales of the weights")?;
        let zero = call.params.constant(scale_zero(input), "the zero points of the weights")?;
        matrices(weights, zero.map(Rc::as_ref), scale, &mut build.budget).map(Rc::new)
    };
    let weights = [matrix(1, 8)?, matrix(2, 10)?];
    recurrent(build, call, &LSTM, weights, Some(signal))
}

/// The input of the zero points of weights.
fn scale_zero(weights: usize) -> usize {
    if weights == 1 { 9 } else { 11 }
}

/// Matrices `[columns][gates]` of whole numbers for each way, with a scale and a zero point for each way or each gate's number, as `[gates][columns]`.
fn matrices(weights: &Tensor, zero: Option<&Tensor>, scale: &Tensor, budget: &mut Budget) -> Result<Tensor, Reason> {
    let &[ways, columns, gates] = &weights.dims[..] else {
        return Err(Reason::Axes { expected: "3 of weights", found: weights.dims.len() });
    };
    // One axis of all numbers that may have a scale of their own.
    let turned = transpose(weights, &[0, 2, 1], budget)?;
    let rows = ways.checked_mul(gates).ok_or(Reason::Overflow)?;
    let mut each = |numbers: &Tensor| match numbers.len() {
        len if len == ways => {
            let dims = vec![ways, 1];
            expanded(&Tensor { dims, ..numbers.clone() }, vec![ways, gates], budget)
        }
        len if len == rows => Ok(numbers.clone()),
        _ => Err(differ_dims("weights and their zero points or scales", &weights.dims, &numbers.dims)),
    };
    let (zero, scale) = (zero.map(&mut each).transpose()?, each(scale)?);
    let flat = Tensor { dims: vec![rows, columns], ..turned };
    let floats = quantized::floats(&flat, zero.as_ref(), Some(&scale), 0, budget)?;
    Ok(Tensor { dims: vec![ways, gates, columns], ..floats })
}

/// The weights that are given as they are.
fn given(call: &Call<'_, '_>) -> Result<Matrices, Reason> {
    let input = call.params.needed(1, "the weights of the input")?;
    let state = call.params.needed(2, "the weights of the hidden state")?;
    Ok([Rc::clone(input), Rc::clone(state)])
}

/// Refuses what no LSTM of the language does.
fn plain_lstm(call: &Call<'_, '_>) -> Result<(), Reason> {
    if call.params.node.input(7).is_some() {
        return Err(Reason::No("it has peepholes, inputs of gates that are cell states, which layers have not"));
    }
    if call.params.node.flag("input_forget", false)? {
        return Err(Reason::Attribute { name: "input_forget", value: "1".to_owned(), known: "0" });
    }
    Ok(())
}

pub(super) fn gru(build: &mut Build, call: &Call<'_, '_>) -> Result<Vec<View>, Reason> {
    if !call.params.node.flag("linear_before_reset", false)? {
        let value = "0, the reset gate before the sum over the hidden state".to_owned();
        return Err(Reason::Attribute { name: "linear_before_reset", value, known: "1 (as PyTorch exports it)" });
    }
    recurrent(build, call, &GRU, given(call)?, None)
}

/// A layer with these weights; `quantized` is the signal if it is not the first input, and hidden states are quantized then too.
fn recurrent(
    build: &mut Build,
    call: &Call<'_, '_>,
    kind: &Kind,
    weights: Matrices,
    quantized: Option<View>,
) -> Result<Vec<View>, Reason> {
    let node = call.params.node;
    let ways = match node.word("direction", "forward") {
        "forward" | "reverse" => 1,
        "bidirectional" => 2,
        other => {
            let known = "forward, reverse and bidirectional";
            return Err(Reason::Attribute { name: "direction", value: other.to_owned(), known });
        }
    };
    let is_reverse = node.word("direction", "forward") == "reverse";
    if node.has("clip") {
        return Err(Reason::No("it has the attribute `clip`, and sums of gates are not cut off in layers"));
    }
    activations(call, kind, ways)?;
    let is_batch_first = node.flag("layout", false)?;
    let quantize_hidden = quantized.is_some();
    let view = &quantized.map_or_else(|| call.view(0).cloned(), Ok)?;
    if view.axes.len() != 3 {
        return Err(Reason::Axes { expected: "3", found: view.axes.len() });
    }
    // Images, positions, channels.
    let view = if is_batch_first { view.clone() } else { view.transposed(&[1, 0, 2]) };
    let dims = view.dims();
    let &[_, _, hidden] = &weights[1].dims[..] else {
        return Err(Reason::Axes { expected: "3 of weights", found: weights[1].dims.len() });
    };
    let sizes = Sizes { positions: dims[1], batch: dims[0], channels: dims[2], ways, hidden };
    whole(call, &sizes)?;
    if sizes.batch != build.batch {
        return Err(Reason::Number {
            what: "the batch",
            found: sizes.batch.to_string(),
            expected: "it has to be that of the first input",
        });
    }
    let each = weights_of(build, call, kind, &sizes, &weights)?;
    let input = build.value(&view, &[Role::Batch, Role::Space(0), Role::Channel])?;
    let mut inputs = vec![input];
    inputs.extend(states(build, call, kind, &sizes, is_batch_first)?);
    let has_cells = call.used.get(2).copied().unwrap_or(false);
    let all = ways * hidden;
    let last = build.net.shape(input).last;
    let channels = if has_cells { 2 * all } else { all };
    let shape = Shape { batch: build.batch, channels, sizes: vec![sizes.positions], last };
    let layer = Recurrent { cell: kind.cell, hidden, is_reverse, cells: has_cells, quantize_hidden, ways: each };
    let value = build.push(Op::Recurrent(Box::new(layer)), inputs, vec![], shape, &call.hints)?;
    let made = Made { value, sizes, is_reverse };
    let count = if kind.cell == Cell::Lstm { 3 } else { 2 };
    let mut views = vec![made.whole(build, call)?];
    for output in 1..count {
        // Where nothing takes it, it is not made; what stands in its place is as large, and is left out with the rest.
        let first = if output == 2 && has_cells { all } else { 0 };
        views.push(made.last(build, call, first)?);
    }
    for (output, view) in views.iter_mut().enumerate().filter(|_| is_batch_first) {
        // The images come first.
        *view = view.transposed(if output == 0 { &[2, 0, 1, 3] } else { &[1, 0, 2] });
    }
    Ok(views)
}

/// Refuses functions that are not those of the paper.
fn activations(call: &Call<'_, '_>, kind: &Kind, ways: usize) -> Result<(), Reason> {
    let given = call.params.node.words("activations");
    let known = kind.activations.iter().cycle().take(ways * kind.activations.len());
    let is_known = given.len() == ways * kind.activations.len()
        && given.iter().zip(known).all(|(given, known)| given.eq_ignore_ascii_case(known));
    if given.is_empty() || is_known {
        return Ok(());
    }
    let known = if kind.cell == Cell::Lstm { "Sigmoid, Tanh, Tanh for each way" } else { "Sigmoid, Tanh for each way" };
    Err(Reason::Attribute { name: "activations", value: given.join(", "), known })
}

/// Refuses signals that end before the others.
fn whole(call: &Call<'_, '_>, sizes: &Sizes) -> Result<(), Reason> {
    let Some(lengths) = call.params.ints(4, "the lengths")? else { return Ok(()) };
    let shorter = lengths.iter().find(|&&len| usize::try_from(len) != Ok(sizes.positions));
    match shorter {
        Some(len) => Err(Reason::Differ {
            what: "the length of a signal, which layers take whole, and the positions of the input",
            first: len.to_string(),
            second: sizes.positions.to_string(),
        }),
        None => Ok(()),
    }
}

/// Weights and biases of each way, with the gates in the language's order.
fn weights_of(
    build: &mut Build,
    call: &Call<'_, '_>,
    kind: &Kind,
    sizes: &Sizes,
    [input, state]: &Matrices,
) -> Result<Vec<Way>, Reason> {
    let &Sizes { channels, ways, hidden, .. } = sizes;
    let gates = kind.gates.len();
    let rows = gates.checked_mul(hidden).ok_or(Reason::Overflow)?;
    let bias = call.params.constant(3, "the biases")?;
    let both = rows.checked_mul(2).ok_or(Reason::Overflow)?;
    let wanted = [Some((input, vec![ways, rows, channels])), Some((state, vec![ways, rows, hidden]))];
    let wanted = wanted.into_iter().chain([bias.map(|bias| (bias, vec![ways, both]))]);
    for (tensor, dims) in wanted.flatten() {
        if tensor.dims != dims {
            return Err(differ_dims("weights or biases and those of the other sizes", &tensor.dims, &dims));
        }
    }
    // A matrix of so many columns, whose first row is that.
    let mut part = |tensor: &Rc<Tensor>, first: usize, columns: usize| -> Result<Rc<Tensor>, Reason> {
        let Some(data) = tensor.data() else { return Err(Reason::Type(tensor.dtype.name().to_owned())) };
        let row = |at: usize| (first + kind.gates[at / hidden] * hidden + at % hidden) * columns;
        let from = (0..rows).flat_map(|at| row(at)..row(at) + columns);
        let data = data.moved(rows * columns, from, &mut build.budget)?;
        let dims = if tensor.dims.len() == 3 { vec![rows, columns] } else { vec![rows] };
        Ok(Rc::new(Tensor { dtype: tensor.dtype, dims, elements: Elements::Float(data) }))
    };
    let mut each = Vec::new();
    for way in 0..ways {
        let weights = [part(input, way * rows, channels)?, part(state, way * rows, hidden)?];
        let bias = match bias {
            Some(bias) => Some([part(bias, way * both, 1)?, part(bias, way * both + rows, 1)?]),
            None => None,
        };
        each.push(Way { weights, bias });
    }
    Ok(each)
}

/// The values of the states before the first position; none if those are zeros.
fn states(
    build: &mut Build,
    call: &Call<'_, '_>,
    kind: &Kind,
    sizes: &Sizes,
    is_batch_first: bool,
) -> Result<Vec<usize>, Reason> {
    let inputs = if kind.cell == Cell::Lstm { 5..7 } else { 5..6 };
    let is_zero = |input: &usize| match call.params.known.get(*input) {
        Some(Some(tensor)) => tensor.uniform() == Some(0.0),
        _ => call.params.node.input(*input).is_none(),
    };
    if inputs.clone().all(|input| is_zero(&input)) {
        return Ok(Vec::new());
    }
    let mut values = Vec::new();
    for input in inputs {
        if is_zero(&input) || call.params.known.get(input).is_some_and(Option::is_some) {
            return Err(Reason::No(
                "of its states before the first position one is a constant; known are zeros for all, and values of the network for all",
            ));
        }
        let view = call.view(input)?;
        let dims = view.dims();
        let &Sizes { batch, ways, hidden, .. } = sizes;
        let wanted = if is_batch_first { [batch, ways, hidden] } else { [ways, batch, hidden] };
        if dims != wanted {
            return Err(differ_dims("a state and the layer's sizes", &dims, &wanted));
        }
        let view = if is_batch_first { view.clone() } else { view.transposed(&[1, 0, 2]) };
        let flat = super::moves::reshaped(build, &view, &[batch, ways * hidden])?;
        values.push(build.value(&flat, &[Role::Batch, Role::Channel])?);
    }
    Ok(values)
}

/// What a layer makes.
struct Made {
    value: usize,
    sizes: Sizes,
    is_reverse: bool,
}

impl Made {
    /// The hidden states of all positions: positions, ways, images, hidden numbers.
    fn whole(&self, build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
        let all = self.sizes.ways * self.sizes.hidden;
        let value = self.cut(build, call, (0, all), (0, self.sizes.positions))?;
        Ok(self.view(build, value))
    }

    /// The states behind the last position of each way, from that channel on: ways, images, hidden numbers.
    fn last(&self, build: &mut Build, call: &Call<'_, '_>, first: usize) -> Result<View, Reason> {
        let &Sizes { positions, ways, hidden, .. } = &self.sizes;
        let end = |at: usize| (at, at + 1);
        let mut parts = Vec::new();
        for way in 0..ways {
            let at = if self.is_reverse || way == 1 { 0 } else { positions - 1 };
            parts.push(self.cut(build, call, (first + way * hidden, first + (way + 1) * hidden), end(at))?);
        }
        let value = match parts[..] {
            [one] => one,
            _ => {
                let shape = Shape { channels: ways * hidden, ..build.net.shape(parts[0]).clone() };
                build.push(Op::Concat(Role::Channel), parts, vec![], shape, &call.hints)?
            }
        };
        let mut view = self.view(build, value);
        view.axes.remove(0);
        Ok(view)
    }

    /// These channels and positions.
    fn cut(
        &self,
        build: &mut Build,
        call: &Call<'_, '_>,
        (first, end): (usize, usize),
        (start, stop): (usize, usize),
    ) -> Result<usize, Reason> {
        let own = build.net.shape(self.value).clone();
        let shape = Shape { channels: end - first, sizes: vec![stop - start], ..own.clone() };
        if shape == own {
            return Ok(self.value);
        }
        let channels = (shape.channels < own.channels).then_some((first, end));
        build.push(Op::Slice { channels, space: vec![(start, stop, 1)] }, vec![self.value], vec![], shape, &call.hints)
    }

    /// A value with the axes positions, ways, images, hidden numbers: the ways are parts of the channels.
    fn view(&self, build: &Build, value: usize) -> View {
        let shape = build.net.shape(value);
        let axis = |role: Role| View::of(value, shape, &[role]).axes.remove(0);
        let &Sizes { ways, hidden, .. } = &self.sizes;
        let factor = |size: usize, stride: usize| if size == 1 { vec![] } else { vec![Factor { size, stride }] };
        let stride = shape.stride(Role::Channel);
        let axes = vec![axis(Role::Space(0)), factor(ways, hidden * stride), axis(Role::Batch), factor(hidden, stride)];
        View { value, axes }
    }
}
