//! What a recurrent layer computes: its step, once for each position.

use super::{layer_of_one, run_values};
use crate::spec::{NetworkSpec, Node, Parameter, Recurrent, TensorShape};

/// The value that it makes.
pub(super) fn run<'p>(
    network: &NetworkSpec,
    node: &Node,
    recurrent: &Recurrent,
    batch: usize,
    values: &[Vec<f64>],
    parameters: &dyn Fn(&str) -> &'p [f64],
) -> Vec<f64> {
    let shape = |value: usize| &network.values[value].shape;
    let (from, to) = (shape(node.inputs[0]), shape(node.output));
    let mut out = vec![0.0; batch * to.image()];
    for (n, dst) in out.chunks_mut(to.image()).enumerate() {
        let image = |value: usize| &values[value][n * shape(value).image()..][..shape(value).image()];
        for way in 0..recurrent.direction.ways().len() {
            // Those of all ways are channels of one element, which lie side by side in every layout.
            let state = |state: usize| match node.inputs.get(1 + state) {
                Some(&value) => image(value)[way * recurrent.hidden_size..][..recurrent.hidden_size].to_vec(),
                None => vec![0.0; recurrent.hidden_size],
            };
            let states = (0..recurrent.cell.states()).map(state).collect();
            let given = Given { src: image(node.inputs[0]), from, states, name: &node.name, way };
            one_way(recurrent, given, parameters, (dst, to));
        }
    }
    out
}

/// What one way through an image takes.
struct Given<'a> {
    src: &'a [f64],
    from: &'a TensorShape,
    /// Those before the first position.
    states: Vec<Vec<f64>>,
    name: &'a str,
    way: usize,
}

fn one_way<'p>(
    recurrent: &Recurrent,
    Given { src, from, mut states, name, way }: Given<'_>,
    parameters: &dyn Fn(&str) -> &'p [f64],
    (dst, to): (&mut [f64], &TensorShape),
) {
    let all = |given: Vec<Parameter>| -> Vec<&'p [f64]> { given.iter().map(|one| parameters(&one.name)).collect() };
    let projection = all(recurrent.projection_parameters(name, way));
    let projected = layer_of_one(&recurrent.projection, src, &projection);
    let gates = TensorShape { channels: recurrent.gates(), ..from.clone() };
    let names: Vec<String> = recurrent.step.parameters().map(|one| one.name).collect();
    let hidden = all(recurrent.step_parameters(name, way));
    let of_step = |name: &str| names.iter().position(|other| other == name).map_or(&[][..], |at| hidden[at]);
    for i in 0..recurrent.positions() {
        let at = if recurrent.direction.ways()[way] { recurrent.positions() - 1 - i } else { i };
        let x = (0..gates.channels).map(|channel| projected[gates.index(channel, at)]).collect();
        let inputs = std::iter::once(x).chain(states).collect();
        states = run_values(&recurrent.step, 1, inputs, &of_step);
        for (state, numbers) in states.iter().enumerate() {
            let Some(first) = recurrent.channel(state, way) else { continue };
            numbers.iter().enumerate().for_each(|(channel, x)| dst[to.index(first + channel, at)] = *x);
        }
    }
}
