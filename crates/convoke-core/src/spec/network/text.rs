//! A network back to text.

use std::fmt;
use std::str::FromStr;

use super::{NetworkSpec, Node, NodeKind, TensorShape};
use crate::diagnostic::Diagnostic;
use crate::front;
use crate::spec::{Epilogue, LayerSpec, Limits, SpecTextError};

/// `f32[1, 64, 56, 56] @ nchw`.
impl fmt::Display for TensorShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = self.layout.name(self.sizes.len(), self.dtype());
        write!(f, "{}[{}] @ {layout}", self.storage.name(), self.dims().join(", "))
    }
}

/// The canonical text, in which every layer names its input; it reads back to an equal network.
impl fmt::Display for NetworkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network {} {{", self.name)?;
        match self.input_values() {
            [one] if one.name == "input" => writeln!(f, "    input: {},", one.shape)?,
            many => {
                let each: Vec<_> = many.iter().map(|value| format!("{}: {}", value.name, value.shape)).collect();
                writeln!(f, "    inputs: [{}],", each.join(", "))?;
            }
        }
        for node in &self.nodes {
            self.write_node(f, node)?;
        }
        let names: Vec<_> = self.output_values().map(|value| value.name.as_str()).collect();
        match names[..] {
            [one] => writeln!(f, "    output: {one},")?,
            _ => writeln!(f, "    outputs: [{}],", names.join(", "))?,
        }
        writeln!(f, "}}")
    }
}

impl NetworkSpec {
    fn write_node(&self, f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
        let name = |at: usize| self.values[at].name.as_str();
        let mut fields = Vec::new();
        match node.kind {
            NodeKind::Add(_) | NodeKind::Concat => {
                let names: Vec<_> = node.inputs.iter().map(|&at| name(at)).collect();
                fields.push(format!("inputs: [{}],", names.join(", ")));
            }
            _ => fields.push(format!("input: {},", name(node.inputs[0]))),
        }
        if let NodeKind::Slice { start } = node.kind {
            fields.push(format!("channels: {start}..{},", start + self.values[node.output].shape.channels));
        }
        if let Some(spec) = node.kind.spec() {
            let mut spec = spec.clone();
            if matches!(node.kind, NodeKind::Add(_)) {
                spec.then.remove(0);
            }
            fields.extend(self.fields_of(node, &spec));
        }
        writeln!(f, "    {} {} {{", node.kind.name(), node.name)?;
        fields.iter().try_for_each(|field| writeln!(f, "        {field}"))?;
        writeln!(f, "    }}")
    }

    /// The lines of the layer of its own, without its input.
    fn fields_of(&self, node: &Node, spec: &LayerSpec) -> Vec<String> {
        let text = spec.to_string();
        let inner = text.lines().skip(1).take_while(|line| *line != "}").map(|line| line.get(4..).unwrap_or_default());
        let implied = |line: &&str| {
            let one = matches!(node.kind, NodeKind::Linear(_) | NodeKind::Elementwise(_) | NodeKind::Add(_));
            !(line.starts_with("input:") || one && line.starts_with("kernel_size:"))
        };
        let residual = Epilogue::Residual.name();
        let lines = inner.filter(implied).map(|line| match node.inputs.get(1) {
            Some(&more) if line.starts_with("then:") && spec.has_residual() => {
                line.replace(residual, &format!("{residual}({})", self.values[more].name))
            }
            _ => line.to_owned(),
        });
        lines.collect()
    }
}

/// One network.
impl FromStr for NetworkSpec {
    type Err = SpecTextError;

    fn from_str(text: &str) -> Result<Self, SpecTextError> {
        let diagnostics = match front::contents(text, &Limits::default(), &[]) {
            Ok(mut contents) if contents.layers.is_empty() && contents.networks.len() == 1 => {
                return Ok(contents.networks.remove(0));
            }
            Ok(contents) => {
                let (networks, layers) = (contents.networks.len(), contents.layers.len());
                let message = format!("expected exactly one network, found {networks} and {layers} layers");
                vec![Diagnostic { message, labels: vec![], help: None }]
            }
            Err(diagnostics) => diagnostics,
        };
        Err(SpecTextError::new(diagnostics, text))
    }
}
