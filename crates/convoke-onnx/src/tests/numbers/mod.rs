//! What networks compute, by the reference of Convoke, beside what ONNX says.

mod elements;
mod layers;
mod moves;
mod norms;
mod products;
mod quantized;
mod recurrent;
mod reductions;
mod resizes;

use std::collections::HashMap;

use convoke_core::eval::reference::run_network;
use convoke_core::spec::NetworkSpec;

use super::*;

/// A tensor as ONNX has it.
#[derive(Clone, Debug, PartialEq)]
struct Tensor {
    dims: Vec<usize>,
    values: Vec<f64>,
}

impl Tensor {
    /// Of what `f` says is at each index.
    fn of(dims: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Self {
        let mut index = vec![0; dims.len()];
        let values = (0..dims.iter().product()).map(|_| {
            let value = f(&index);
            for axis in (0..dims.len()).rev() {
                index[axis] += 1;
                if index[axis] < dims[axis] {
                    break;
                }
                index[axis] = 0;
            }
            value
        });
        Self { values: values.collect(), dims: dims.to_vec() }
    }

    /// Numbers that are no pattern.
    fn some(dims: &[usize], seed: usize) -> Self {
        let mut at = seed;
        Self::of(dims, |_| {
            at += 1;
            ((at * 37 + at * at * 11) % 101) as f64 / 32.0 - 1.5
        })
    }

    fn at(&self, index: &[usize]) -> f64 {
        let flat = index.iter().zip(&self.dims).fold(0, |flat, (at, size)| {
            assert!(at < size, "{index:?} of {:?}", self.dims);
            flat * size + at
        });
        self.values[flat]
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { values: self.values.iter().map(|&x| f(x)).collect(), ..self.clone() }
    }

    fn constant(&self, name: &str) -> TensorProto {
        let dims: Vec<_> = self.dims.iter().map(|&size| size as i64).collect();
        floats(name, &dims, &self.values.iter().map(|&x| x as f32).collect::<Vec<_>>())
    }
}

/// A model of inputs `x`, `z` and outputs `y`, and what it computes.
struct Case {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    inputs: Vec<Tensor>,
    opset: i64,
}

impl Case {
    fn new(inputs: &[&Tensor], nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Self {
        Self { nodes, constants, inputs: inputs.iter().map(|&input| input.clone()).collect(), opset: 17 }
    }

    fn opset(self, opset: i64) -> Self {
        Self { opset, ..self }
    }

    fn imported(&self) -> Imported {
        let names = ["x", "z"];
        let dims: Vec<Vec<i64>> =
            self.inputs.iter().map(|input| input.dims.iter().map(|&size| size as i64).collect()).collect();
        let inputs: Vec<_> = names.iter().zip(&dims).map(|(&name, dims)| (name, dims.as_slice())).collect();
        let mut model = model(&inputs, self.nodes.clone(), self.constants.clone(), &["y"]);
        model.opset_import[0].version = self.opset;
        imported(&model)
    }

    /// The text of the network.
    fn text(&self) -> String {
        self.imported().text
    }

    /// Holds the network to `expected`, and its text to what it has to contain.
    fn makes(&self, expected: &Tensor, parts: &[&str]) {
        self.near(expected, parts, 0.0);
    }

    /// The same, of numbers that are as far off.
    fn near(&self, expected: &Tensor, parts: &[&str], allowed: f64) {
        let imported = self.imported();
        let text = &imported.text;
        let network: NetworkSpec = text.parse().unwrap_or_else(|error| panic!("{error}"));
        let parameters: HashMap<_, Vec<f64>> = imported
            .parameters
            .iter()
            .map(|parameter| (parameter.name.as_str(), parameter.values.iter().map(|&x| f64::from(x)).collect()))
            .collect();
        let wanted: Vec<_> = network.parameters().map(|parameter| (parameter.name, parameter.len)).collect();
        let made: Vec<_> =
            imported.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.values.len())).collect();
        assert_eq!(made, wanted, "{text}");
        let sources: Vec<_> = self.inputs.iter().map(|input| input.values.as_slice()).collect();
        let batch = network.fixed_batch().expect("a number of images");
        let found = run_network(&network, batch, &sources, |name| &parameters[name]).remove(0);
        assert_eq!(imported.outputs[0].shape, expected.dims, "{text}");
        assert_eq!(found.len(), expected.values.len(), "{text}");
        for (at, (found, expected)) in found.iter().zip(&expected.values).enumerate() {
            let off = (found - expected).abs();
            assert!(off <= allowed + 2e-6 * expected.abs().max(1.0), "{found} at {at}, expected {expected}\n{text}");
        }
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in\n{text}");
        }
    }
}

/// One node of `x` and constants `a`, `b` and so on.
fn one(op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Vec<NodeProto> {
    vec![node(op, inputs, "y", attributes)]
}

fn number(name: &str, value: f32) -> TensorProto {
    floats(name, &[], &[value])
}
