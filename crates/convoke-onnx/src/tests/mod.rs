//! Tiny models, made here message by message.

mod branches;
mod files;
mod hostile;
mod numbers;
mod refusals;
mod texts;

use std::path::Path;

use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::{ImportError, Imported, Options, import_model};

/// A model of version 13 of the operators, whose inputs and outputs are of `f32`.
fn model(
    inputs: &[(&str, &[i64])],
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    outputs: &[&str],
) -> ModelProto {
    let graph = GraphProto {
        node: nodes,
        initializer: constants,
        input: inputs.iter().map(|(name, dims)| input(name, dims)).collect(),
        output: outputs.iter().map(|name| input(name, &[])).collect(),
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 13 }];
    ModelProto { ir_version: 8, graph: Some(graph), opset_import, ..ModelProto::default() }
}

/// An input; a size below 0 is one that is not known.
fn input(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|&size| DimensionProto {
            dim_value: (size >= 0).then_some(size),
            dim_param: (size < 0).then(|| format!("s{}", size.unsigned_abs())),
        })
        .collect();
    let tensor = TensorTypeProto { elem_type: 1, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: attributes,
        ..NodeProto::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.to_owned(), ints: ints.to_vec(), ..AttributeProto::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i, ..AttributeProto::default() }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), f, ..AttributeProto::default() }
}

fn word(name: &str, s: &'static str) -> AttributeProto {
    AttributeProto { name: name.to_owned(), s: s.into(), ..AttributeProto::default() }
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: 7,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// So many numbers, none like its neighbours.
fn some(name: &str, dims: &[i64]) -> TensorProto {
    let len = dims.iter().product::<i64>();
    let values: Vec<_> = (0..len).map(|i| ((i * 7 + 3) % 11) as f32 * 0.25 - 1.0).collect();
    floats(name, dims, &values)
}

fn try_import(model: &ModelProto) -> Result<Imported, ImportError> {
    import_model(model, Path::new("."), "tiny", &Options { limit: 1 << 24, ..Options::default() })
}

fn imported(model: &ModelProto) -> Imported {
    try_import(model).unwrap_or_else(|error| panic!("{error}"))
}
