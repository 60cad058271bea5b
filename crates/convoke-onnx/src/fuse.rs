//! Layers put together: what follows a layer becomes its weights, its steps or its padding.
//!
//! One pass in the order of the layers. A layer takes up what follows it if nothing else takes its value. Numbers for channels become part of the weights of
//! a convolution right in front of them, in `f64`; `x * sigmoid(x)` and its like become the one step that they are; a sum becomes a step of the layer that
//! makes one of its parts. In the end every layer is behind those that it takes values of.

use std::rc::Rc;

use crate::ir::{Conv, Fill, Network, Numbers, Op, Step, Weights, Window};
use crate::tensor::{DType, Data, Elements, Tensor};
use convoke_core::spec::Groups;

/// Puts layers together, and leaves out those that no output needs. The outputs are named anew.
pub(crate) fn fuse(net: &mut Network, outputs: &mut [usize]) {
    let mut fuser = Fuser { alias: (0..net.values.len()).collect(), uses: vec![0; net.values.len()], net };
    fuser.count(outputs);
    for at in 0..fuser.net.layers.len() {
        if fuser.uses[fuser.net.layers[at].output] > 0 {
            fuser.layer(at);
        }
    }
    outputs.iter_mut().for_each(|output| *output = fuser.alias[*output]);
    copies(net);
    let order = order(net, outputs);
    let mut layers: Vec<_> = std::mem::take(&mut net.layers).into_iter().map(Some).collect();
    net.values.iter_mut().for_each(|value| value.layer = None);
    for at in order {
        if let Some(layer) = layers[at].take() {
            net.values[layer.output].layer = Some(net.layers.len());
            net.layers.push(layer);
        }
    }
}

/// Makes what is filled with copies of elements the padding of convolutions that do nothing else: only those have such padding.
fn copies(net: &mut Network) {
    for layer in &mut net.layers {
        let Op::Pad { padding, fill: fill @ Fill::Mode(_) } = &layer.op else { continue };
        let (channels, rank) = (net.values[layer.output].shape.channels, padding.len());
        let ones = || vec![1; rank];
        let window = Window { kernel: ones(), stride: ones(), dilation: ones(), padding: padding.clone() };
        let dims = [channels, 1].into_iter().chain(ones()).collect();
        let tensor = Tensor { dtype: DType::F32, dims, elements: Elements::Float(Data::Splat(1.0)) };
        layer.op = Op::Conv(Box::new(Conv {
            transposed: false,
            out_channels: channels,
            groups: channels,
            window,
            output_padding: vec![0; rank],
            fill: *fill,
            weights: Weights {
                tensor: Rc::new(tensor),
                scale: Numbers::One(1.0),
                shift: Numbers::One(0.0),
                bias: false,
            },
        }));
    }
}

/// The values that a layer takes.
pub(crate) fn taken(layer: &crate::ir::Layer) -> impl Iterator<Item = usize> {
    layer.inputs.iter().copied().chain(layer.then.iter().filter_map(Step::taken))
}

/// The layers that outputs need, each behind those whose values it takes.
fn order(net: &Network, outputs: &[usize]) -> Vec<usize> {
    let mut needed = vec![false; net.layers.len()];
    let mut stack: Vec<_> = outputs.iter().filter_map(|&output| net.values[output].layer).collect();
    while let Some(at) = stack.pop() {
        if !std::mem::replace(&mut needed[at], true) {
            stack.extend(taken(&net.layers[at]).filter_map(|value| net.values[value].layer));
        }
    }
    // Depth first from each, the stack in place of calls: a layer is put down when it is seen again.
    let (mut order, mut state) = (Vec::new(), vec![0_u8; net.layers.len()]);
    for first in (0..net.layers.len()).filter(|&at| needed[at]) {
        let mut stack = vec![first];
        while let Some(&at) = stack.last() {
            if state[at] == 0 {
                state[at] = 1;
                let before: Vec<_> = taken(&net.layers[at]).filter_map(|value| net.values[value].layer).collect();
                stack.extend(before.into_iter().rev().filter(|&before| state[before] == 0));
            } else {
                stack.pop();
                if state[at] == 1 {
                    state[at] = 2;
                    order.push(at);
                }
            }
        }
    }
    order
}

struct Fuser<'n> {
    net: &'n mut Network,
    /// The value that each is now.
    alias: Vec<usize>,
    /// How many layers and outputs take each value.
    uses: Vec<usize>,
}

impl Fuser<'_> {
    /// Counts what is taken by layers that outputs need.
    fn count(&mut self, outputs: &[usize]) {
        for &output in outputs {
            self.uses[output] += 1;
        }
        for layer in self.net.layers.iter().rev() {
            if self.uses[layer.output] > 0 {
                taken(layer).for_each(|value| self.uses[value] += 1);
            }
        }
    }

    fn layer(&mut self, at: usize) {
        let alias = &self.alias;
        self.net.layers[at].inputs.iter_mut().for_each(|input| *input = alias[*input]);
        match self.net.layers[at].op {
            Op::Mul => self.gate(at),
            Op::Elementwise => {}
            Op::Add => return self.joined(at, Step::Residual),
            Op::Conv(_) => return self.padding(at),
            Op::Slice { .. } => return self.slice(at),
            _ => return,
        }
        match self.net.layers[at].op {
            Op::Mul => self.joined(at, Step::Multiply),
            _ => self.steps(at),
        }
    }

    /// The layer that makes a value, if nothing else than one layer takes it.
    fn only_producer(&self, value: usize) -> Option<usize> {
        self.net.values[value].layer.filter(|_| self.uses[value] == 1)
    }

    /// Whether a sum or product is of a value and one with one element a channel, behind which no steps take numbers of channels.
    fn is_by_channel(&self, at: usize) -> bool {
        let layer = &self.net.layers[at];
        match (&layer.op, &layer.inputs[..]) {
            (Op::Add | Op::Mul, &[first, second]) => self.net.shape(first) != self.net.shape(second),
            _ => false,
        }
    }

    /// Lets a layer stand for another, whose value is then its.
    fn replace(&mut self, at: usize, value: usize) {
        let output = self.net.layers[at].output;
        self.alias[output] = value;
        self.uses[value] = self.uses[value] + self.uses[output] - 1;
        self.uses[output] = 0;
    }

    /// Steps become those of the layer in front.
    fn steps(&mut self, at: usize) {
        let mut steps = Vec::new();
        std::mem::take(&mut self.net.layers[at].then).into_iter().for_each(|step| push(&mut steps, step));
        let input = self.net.layers[at].inputs[0];
        if steps.is_empty() {
            return self.replace(at, input);
        }
        self.fold_into_norm(input, &mut steps);
        if steps.is_empty() {
            return self.replace(at, input);
        }
        let before = self.only_producer(input).filter(|&before| {
            let layer = &self.net.layers[before];
            let has_erf = steps.contains(&Step::Erf) || layer.then.contains(&Step::Erf);
            let is_per_channel = steps.iter().any(Step::is_per_channel);
            let takes_none = self.is_by_channel(before) || matches!(layer.op, Op::Matmul(_));
            let fits = (!has_erf || layer.op == Op::Elementwise) && !(is_per_channel && takes_none);
            layer.op.has_steps() && !layer.then.contains(&Step::Softmax) && fits
        });
        let Some(before) = before else {
            self.net.layers[at].then = steps;
            return;
        };
        let layer = &mut self.net.layers[before];
        for step in steps {
            match (&mut layer.op, step) {
                (Op::Conv(conv), Step::Affine(scale, shift)) if layer.then.is_empty() => {
                    fold(&mut conv.weights, &scale, &shift);
                }
                (Op::Linear(weights, _), Step::Affine(scale, shift)) if layer.then.is_empty() => {
                    fold(weights, &scale, &shift);
                }
                (_, step) => push(&mut layer.then, step),
            }
        }
        self.replace(at, input);
    }

    /// The first of these steps becomes part of the numbers of a norm in front of it, if those are of the same elements.
    fn fold_into_norm(&mut self, input: usize, steps: &mut Vec<Step>) {
        let Some(before) = self.only_producer(input) else { return };
        let shape = self.net.shape(input).clone();
        let (Op::Norm(norm), Some(Step::Affine(scale, shift))) = (&mut self.net.layers[before].op, steps.first())
        else {
            return;
        };
        let of_channels = match norm.groups {
            Groups::Elements { axis } => shape.last && axis + 1 == shape.memory().len(),
            Groups::Channels(_) | Groups::Instance => true,
        };
        if of_channels || matches!((scale, shift), (Numbers::One(_), Numbers::One(_))) {
            norm.shift = norm.shift.zip(scale, |x, y| x * y).zip(shift, |x, y| x + y);
            norm.scale = norm.scale.zip(scale, |x, y| x * y);
            steps.remove(0);
        }
    }

    /// A product of a value and steps of it becomes one step.
    fn gate(&mut self, at: usize) {
        let [first, second] = self.net.layers[at].inputs[..] else { return };
        if first == second {
            self.uses[first] -= 1;
            let layer = &mut self.net.layers[at];
            (layer.op, layer.inputs, layer.then) = (Op::Elementwise, vec![first], vec![Step::Pow(2.0)]);
            return;
        }
        for (value, gate) in [(first, second), (second, first)] {
            let Some(layer) = self.only_producer(gate).filter(|&layer| self.net.layers[layer].op == Op::Elementwise)
            else {
                continue;
            };
            let source = self.net.layers[layer].inputs[0];
            let then = &self.net.layers[layer].then;
            if source == value
                && let Some((steps, again)) = product(then, source)
            {
                self.uses[source] -= 1 + again;
                self.uses[gate] = 0;
                let layer = &mut self.net.layers[at];
                (layer.op, layer.inputs, layer.then) = (Op::Elementwise, vec![source], steps);
                return;
            }
            // The value may be multiplied with a number before.
            let Some(scaled) = self.only_producer(value).filter(|&scaled| {
                let layer = &self.net.layers[scaled];
                layer.op == Op::Elementwise && layer.inputs[0] == source
            }) else {
                continue;
            };
            let [Step::Affine(factor, shift)] = &self.net.layers[scaled].then[..] else { continue };
            if shift.one() != Some(0.0) {
                continue;
            }
            if let Some((mut steps, again)) = product(then, source) {
                steps.push(Step::Affine(factor.clone(), Numbers::One(0.0)));
                self.uses[source] -= 1 + again;
                (self.uses[gate], self.uses[value]) = (0, 0);
                let layer = &mut self.net.layers[at];
                (layer.op, layer.inputs, layer.then) = (Op::Elementwise, vec![source], steps);
                return;
            }
        }
    }

    /// A sum or product becomes a step of the layer that makes one part, the one that is made last.
    fn joined(&mut self, at: usize, step: fn(usize) -> Step) {
        let [first, second] = self.net.layers[at].inputs[..] else { return };
        if self.net.shape(first) != self.net.shape(second) {
            return;
        }
        let takes = |value: usize| {
            self.only_producer(value).filter(|&layer| {
                let layer = &self.net.layers[layer];
                let is_bad = |step: &Step| step.taken().is_some() || matches!(step, Step::Softmax | Step::Erf);
                let is_pair = matches!(layer.op, Op::Add | Op::Mul);
                layer.op.has_steps() && !layer.then.iter().any(is_bad) && !is_pair
            })
        };
        let (part, other) = match (takes(first), takes(second)) {
            (Some(a), Some(b)) if a > b => (first, second),
            (Some(_), None) => (first, second),
            (_, Some(_)) => (second, first),
            (None, None) => return,
        };
        if let Some(layer) = self.net.values[part].layer {
            self.net.layers[layer].then.push(step(other));
            self.replace(at, part);
        }
    }

    /// What lies around the input becomes the padding of a convolution.
    fn padding(&mut self, at: usize) {
        let input = self.net.layers[at].inputs[0];
        let Some(before) = self.only_producer(input) else { return };
        let Op::Pad { padding, fill } = &self.net.layers[before].op else { return };
        let (padding, fill, source) = (padding.clone(), *fill, self.net.layers[before].inputs[0]);
        let Op::Conv(conv) = &mut self.net.layers[at].op else { return };
        let is_padded = conv.window.padding.iter().any(|&padding| padding != (0, 0));
        if conv.transposed || is_padded && fill != conv.fill || is_padded && fill != Fill::Number(0.0) {
            return;
        }
        conv.fill = fill;
        for (own, more) in conv.window.padding.iter_mut().zip(padding) {
            *own = (own.0 + more.0, own.1 + more.1);
        }
        self.net.layers[at].inputs[0] = source;
        self.uses[input] = 0;
    }

    /// A part of a part is a part.
    fn slice(&mut self, at: usize) {
        let input = self.net.layers[at].inputs[0];
        let Some(before) = self.net.values[input].layer else { return };
        let Op::Slice { channels: outer_channels, space: outer } = self.net.layers[before].op.clone() else { return };
        let source = self.net.layers[before].inputs[0];
        let Op::Slice { channels, space } = &mut self.net.layers[at].op else { return };
        if let Some((start, _)) = outer_channels {
            *channels =
                Some(channels.map_or_else(|| outer_channels.unwrap_or_default(), |(lo, hi)| (lo + start, hi + start)));
        }
        for (inner, outer) in space.iter_mut().zip(outer) {
            let last = outer.0 + (inner.1 - 1) * outer.2;
            *inner = (outer.0 + inner.0 * outer.2, last + 1, inner.2 * outer.2);
        }
        self.net.layers[at].inputs[0] = source;
        self.uses[source] += 1;
        self.uses[input] -= 1;
        if self.uses[input] == 0 {
            self.uses[source] -= 1;
        }
    }
}

/// Weights whose sums are multiplied with the first and added to the second.
fn fold(weights: &mut Weights, scale: &Numbers, shift: &Numbers) {
    weights.scale = weights.scale.zip(scale, |x, y| x * y);
    weights.shift = weights.shift.zip(scale, |x, y| x * y).zip(shift, |x, y| x + y);
    weights.bias |= weights.shift.one() != Some(0.0);
}

/// Whether two numbers are the same `f32`, or nearly.
fn is(x: f64, y: f64) -> bool {
    (x - y).abs() <= 1e-6 * y.abs().max(f64::from(f32::MIN_POSITIVE))
}

/// The factor and the summand of an affine step that has one of each.
fn scalars(step: &Step) -> Option<(f64, f64)> {
    match step {
        Step::Affine(scale, shift) => Some((f64::from(scale.one()?), f64::from(shift.one()?))),
        _ => None,
    }
}

/// Adds a step to others; with those before it it may become another.
fn push(steps: &mut Vec<Step>, step: Step) {
    match (steps.last_mut(), &step) {
        (Some(Step::Affine(scale, shift)), Step::Affine(more, plus)) => {
            *shift = shift.zip(more, |x, y| x * y).zip(plus, |x, y| x + y);
            *scale = scale.zip(more, |x, y| x * y);
        }
        (Some(Step::Pow(exponent)), Step::Pow(-1.0)) => *exponent = -*exponent,
        _ => steps.push(step),
    }
    let last = steps.last().and_then(scalars).map(|(scale, shift)| (scale as f32, shift as f32));
    if last == Some((1.0, 0.0)) {
        steps.pop();
    }
    let known = match &steps[..] {
        [.., first, Step::Clamp(0.0, 6.0), last] => {
            let inner = scalars(first).is_some_and(|(scale, shift)| is(scale, 1.0) && is(shift, 3.0));
            let outer = scalars(last).is_some_and(|(scale, shift)| is(scale, 1.0 / 6.0) && shift == 0.0);
            if inner && outer { 3 } else { 0 }
        }
        [.., first, Step::Clamp(0.0, 1.0)] => {
            let fits = scalars(first).is_some_and(|(scale, shift)| is(scale, 1.0 / 6.0) && is(shift, 0.5));
            if fits { 2 } else { 0 }
        }
        _ => 0,
    };
    if known > 0 {
        steps.truncate(steps.len() - known);
        steps.push(Step::Plain("hard_sigmoid"));
    }
}

/// The steps that `x` times these steps of `x` are, if they are some, and how often the steps take `x` again.
fn product(steps: &[Step], x: usize) -> Option<(Vec<Step>, usize)> {
    let times = |word: &'static str, factor: f64| {
        let mut steps = vec![Step::Plain(word)];
        push(&mut steps, Step::Affine(Numbers::One(factor), Numbers::One(0.0)));
        Some((steps, 0))
    };
    match steps {
        [Step::Plain("sigmoid")] => times("silu", 1.0),
        [Step::Pow(exponent)] if (1.0..=3.0).contains(exponent) => Some((vec![Step::Pow(exponent + 1.0)], 0)),
        [Step::Plain("hard_sigmoid")] => times("hardswish", 1.0),
        [Step::Plain("softplus"), Step::Plain("tanh")] => times("mish", 1.0),
        [first, Step::Clamp(0.0, 6.0)] => {
            let (scale, shift) = scalars(first)?;
            if is(scale, 1.0) && is(shift, 3.0) { times("hardswish", 6.0) } else { None }
        }
        [first, Step::Erf, last] => {
            let ((inner, zero), (outer, plus)) = (scalars(first)?, scalars(last)?);
            let fits = is(inner, std::f64::consts::FRAC_1_SQRT_2) && zero == 0.0 && is(outer, plus) && plus != 0.0;
            if fits { times("gelu", 2.0 * outer) } else { None }
        }
        // Of `tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))`.
        [Step::Pow(3.0), cube, Step::Residual(same), inner, Step::Plain("tanh"), last] if *same == x => {
            let ((cube, none), (inner, zero), (outer, plus)) = (scalars(cube)?, scalars(inner)?, scalars(last)?);
            let root = (2.0 / std::f64::consts::PI).sqrt();
            let fits = is(cube, 0.044_715) && none == 0.0 && is(inner, root) && zero == 0.0;
            if !(fits && is(outer, plus) && plus != 0.0) {
                return None;
            }
            times("gelu_tanh", 2.0 * outer).map(|(steps, _)| (steps, 1))
        }
        _ => None,
    }
}
