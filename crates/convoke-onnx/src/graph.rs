//! The graph of a file with its names resolved.
//!
//! In comes a [`GraphProto`], out comes a [`Graph`] in which values are numbers, every one of them made once and before it is used.

use std::collections::{HashMap, HashSet};

use crate::error::{ImportError, Reason};
use crate::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// The newest version of the operators that is known.
pub(crate) const NEWEST_OPSET: i64 = 23;

/// Branches within branches.
const MAX_DEPTH: usize = 16;

/// A graph of nodes and values.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    /// The version of its operators.
    pub(crate) opset: i64,
    /// Values that are constants of the file.
    pub(crate) constants: Vec<(usize, &'a TensorProto)>,
    /// Values that are given.
    pub(crate) inputs: Vec<(usize, &'a ValueInfoProto)>,
    /// Values that are wanted.
    pub(crate) outputs: Vec<(usize, &'a ValueInfoProto)>,
    /// The operators, those of branches among them.
    pub(crate) nodes: Vec<Node<'a>>,
    /// Those of the graph itself, in order.
    pub(crate) order: Vec<usize>,
    /// What each value is called.
    pub(crate) names: Vec<&'a str>,
    /// For each value the nodes that take it.
    pub(crate) users: Vec<Vec<usize>>,
    /// For each value the node that makes it, if one does.
    pub(crate) maker: Vec<Option<usize>>,
}

/// One use of an operator.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) proto: &'a NodeProto,
    /// Values; none for an input that is left out.
    pub(crate) inputs: Vec<Option<usize>>,
    /// Values; none for an output that has no name.
    pub(crate) outputs: Vec<Option<usize>>,
    /// The version of the operators.
    pub(crate) opset: i64,
    /// Of `If` the graph for a condition that holds, and the other.
    pub(crate) branches: Vec<Branch>,
}

/// A graph that is part of a node.
#[derive(Debug)]
pub(crate) struct Branch {
    /// Its operators, in order.
    pub(crate) nodes: Vec<usize>,
    /// What it makes.
    pub(crate) outputs: Vec<usize>,
}

impl<'a> Graph<'a> {
    pub(crate) fn read(model: &'a ModelProto) -> Result<Self, ImportError> {
        let proto = model.graph.as_ref().ok_or(ImportError::NoGraph)?;
        let own = model.opset_import.iter().filter(|set| is_own(&set.domain));
        let opset = own.map(|set| set.version).max().unwrap_or(0);
        if !(7..=NEWEST_OPSET).contains(&opset) {
            return Err(ImportError::Opset { found: opset, newest: NEWEST_OPSET });
        }
        let mut reader =
            Reader { places: HashMap::new(), makers: vec![], names: vec![], constants: vec![], nodes: vec![], opset };
        reader.constants(proto)?;
        let (mut inputs, mut given) = (Vec::new(), HashSet::new());
        for input in &proto.input {
            // Old files list constants among the inputs.
            if !given.insert(input.name.as_str()) || !reader.places.contains_key(input.name.as_str()) {
                inputs.push((reader.make(&input.name, "the inputs")?, input));
            }
        }
        let order = reader.nodes(proto, 0)?;
        let outputs = reader.outputs(proto, "the graph")?.into_iter().zip(&proto.output).collect();
        let Reader { names, constants, nodes, .. } = reader;
        let (mut users, mut maker) = (vec![Vec::new(); names.len()], vec![None; names.len()]);
        for (at, node) in nodes.iter().enumerate() {
            let made = node.branches.iter().flat_map(|branch| &branch.outputs);
            node.inputs.iter().flatten().chain(made).for_each(|&value| users[value].push(at));
            node.outputs.iter().flatten().for_each(|&value| maker[value] = Some(at));
        }
        Ok(Self { opset, constants, inputs, outputs, nodes, order, names, users, maker })
    }
}

/// What a graph has, while it is read.
struct Reader<'a> {
    /// The values that there are by their names: in a branch those around it too.
    places: HashMap<&'a str, usize>,
    makers: Vec<String>,
    names: Vec<&'a str>,
    constants: Vec<(usize, &'a TensorProto)>,
    nodes: Vec<Node<'a>>,
    opset: i64,
}

impl<'a> Reader<'a> {
    fn constants(&mut self, proto: &'a GraphProto) -> Result<(), ImportError> {
        if !proto.sparse_initializer.is_empty() {
            return Err(ImportError::Sparse(proto.sparse_initializer.len()));
        }
        for tensor in &proto.initializer {
            let value = self.make(&tensor.name, "a constant")?;
            self.constants.push((value, tensor));
        }
        Ok(())
    }

    /// The numbers of a graph's nodes, which is so many branches deep.
    fn nodes(&mut self, proto: &'a GraphProto, depth: usize) -> Result<Vec<usize>, ImportError> {
        let mut order = Vec::with_capacity(proto.node.len());
        for node in &proto.node {
            let inputs = node.input.iter().map(|name| self.take(name, node, proto)).collect::<Result<_, _>>()?;
            let branches = self.branches(node, depth)?;
            let outputs = node.output.iter().map(|name| match name.as_str() {
                "" => Ok(None),
                name => self.make(name, &describe(node)).map(Some),
            });
            let outputs = outputs.collect::<Result<_, _>>()?;
            order.push(self.nodes.len());
            self.nodes.push(Node { proto: node, inputs, outputs, opset: self.opset, branches });
        }
        Ok(order)
    }

    /// Both graphs of an `If`; nothing of other nodes.
    fn branches(&mut self, node: &'a NodeProto, depth: usize) -> Result<Vec<Branch>, ImportError> {
        if node.op_type != "If" || !is_own(&node.domain) {
            return Ok(Vec::new());
        }
        if depth == MAX_DEPTH {
            return Err(ImportError::Deep { node: describe(node), limit: MAX_DEPTH });
        }
        let graph = |name: &str| node.attribute.iter().find(|one| one.name == name).and_then(|one| one.g.as_deref());
        let (Some(first), Some(second)) = (graph("then_branch"), graph("else_branch")) else { return Ok(Vec::new()) };
        [first, second].into_iter().map(|proto| self.branch(proto, node, depth + 1)).collect()
    }

    /// A branch, whose names nobody knows behind it.
    fn branch(&mut self, proto: &'a GraphProto, node: &NodeProto, depth: usize) -> Result<Branch, ImportError> {
        let first = self.names.len();
        self.constants(proto)?;
        let nodes = self.nodes(proto, depth)?;
        let outputs = self.outputs(proto, &describe(node))?;
        for name in &self.names[first..] {
            self.places.remove(name);
        }
        Ok(Branch { nodes, outputs })
    }

    fn outputs(&self, proto: &GraphProto, of: &str) -> Result<Vec<usize>, ImportError> {
        let place = |output: &ValueInfoProto| {
            let (node, name) = (of.to_owned(), output.name.clone());
            let at = self.places.get(output.name.as_str()).copied();
            at.ok_or(ImportError::Missing { node, name, later: false })
        };
        proto.output.iter().map(place).collect()
    }

    fn make(&mut self, name: &'a str, maker: &str) -> Result<usize, ImportError> {
        let at = self.names.len();
        if let Some(first) = self.places.insert(name, at) {
            let (name, first, second) = (name.to_owned(), self.makers[first].clone(), maker.to_owned());
            return Err(ImportError::Duplicate { name, first, second });
        }
        self.makers.push(maker.to_owned());
        self.names.push(name);
        Ok(at)
    }

    fn take(&self, name: &str, node: &NodeProto, graph: &GraphProto) -> Result<Option<usize>, ImportError> {
        if name.is_empty() {
            return Ok(None);
        }
        let at = self.places.get(name).copied();
        at.map(Some).ok_or_else(|| {
            let later = graph.node.iter().any(|other| other.output.iter().any(|output| output == name));
            ImportError::Missing { node: describe(node), name: name.to_owned(), later }
        })
    }
}

fn is_own(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// The node as messages call it: its name, or what it makes.
pub(crate) fn describe(node: &NodeProto) -> String {
    if !node.name.is_empty() {
        return format!("node `{}`", node.name);
    }
    match node.output.iter().find(|name| !name.is_empty()) {
        Some(output) => format!("the node that makes `{output}`"),
        None => format!("a node of {}", node.op_type),
    }
}

impl<'a> Node<'a> {
    /// The operator; of another set than ONNX's own with its domain.
    pub(crate) fn op(&self) -> String {
        let NodeProto { op_type, domain, .. } = self.proto;
        if is_own(domain) { op_type.clone() } else { format!("{domain}.{op_type}") }
    }

    fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f64 {
        f64::from(self.attribute(name).map_or(default, |attribute| attribute.f))
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(crate) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.attribute(name).map(|attribute| attribute.floats.as_slice())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.attribute(name).and_then(|attribute| attribute.t.as_ref())
    }

    /// A word; what is no UTF-8 is none that is known.
    pub(crate) fn word(&self, name: &str, default: &'static str) -> &'a str {
        self.attribute(name).map_or(default, |attribute| std::str::from_utf8(&attribute.s).unwrap_or("?"))
    }

    /// Words; what is no UTF-8 is none that is known.
    pub(crate) fn words(&self, name: &str) -> Vec<&'a str> {
        let given = self.attribute(name).map_or(&[][..], |attribute| attribute.strings.as_slice());
        given.iter().map(|word| std::str::from_utf8(word).unwrap_or("?")).collect()
    }

    /// A whole number that says yes or no.
    pub(crate) fn flag(&self, name: &'static str, default: bool) -> Result<bool, Reason> {
        match self.int(name, i64::from(default)) {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Reason::Attribute { name, value: other.to_string(), known: "0 and 1" }),
        }
    }

    pub(crate) fn input(&self, at: usize) -> Option<usize> {
        self.inputs.get(at).copied().flatten()
    }
}
