//! A network back to text.

use std::fmt;
use std::str::FromStr;

use super::{BatchNorm, NetworkSpec, Node, NodeKind, Sampling, TensorShape, product};
use crate::diagnostic::Diagnostic;
use crate::front;
use crate::spec::fields::axis_names;
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
        if !self.preprocess.is_empty() {
            let steps: Vec<_> = self.preprocess.iter().map(ToString::to_string).collect();
            writeln!(f, "    preprocess: [{}],", steps.join(", "))?;
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
            NodeKind::Add(_) | NodeKind::Mul(_) | NodeKind::Matmul { .. } => {
                fields.push(format!("inputs: [{}, {}],", name(node.inputs[0]), name(node.inputs[1])));
            }
            NodeKind::Concat { .. } => {
                let names: Vec<_> = node.inputs.iter().map(|&at| name(at)).collect();
                fields.push(format!("inputs: [{}],", names.join(", ")));
            }
            _ => fields.push(format!("input: {},", name(node.inputs[0]))),
        }
        match (&node.kind, node.kind.spec()) {
            (NodeKind::Lrn { spec, alpha }, _) => fields.extend(lrn_fields(spec, *alpha)),
            (NodeKind::Norm(norm), _) => fields.extend(norm.fields()),
            (NodeKind::Recurrent(recurrent), _) => {
                let states: Vec<_> = node.inputs[1..].iter().map(|&at| name(at)).collect();
                fields.extend(recurrent.fields(&states));
            }
            (NodeKind::BatchNorm(_), Some(spec)) => {
                fields.extend(node.norms.first().map(BatchNorm::fields).unwrap_or_default());
                fields.extend(self.fields_of(node, spec, 2));
            }
            (NodeKind::Add(_) | NodeKind::Mul(_), Some(spec)) => fields.extend(self.fields_of(node, spec, 1)),
            (NodeKind::Matmul { .. }, Some(spec)) => {
                fields.extend(product::is_transposed(spec).then(|| "transpose_b: true,".to_owned()));
                fields.extend(self.fields_of(node, spec, 0).into_iter().filter(|line| line.starts_with("then:")));
            }
            (_, Some(spec)) => fields.extend(self.fields_of(node, spec, 0)),
            _ => fields.extend(self.moving_fields(node)),
        }
        writeln!(f, "    {} {} {{", node.kind.name(), node.name)?;
        fields.iter().try_for_each(|field| writeln!(f, "        {field}"))?;
        writeln!(f, "    }}")
    }

    /// The lines of the layer of its own, without its input and without so many steps that come first.
    fn fields_of(&self, node: &Node, spec: &LayerSpec, first: usize) -> Vec<String> {
        let text = spec.to_string();
        let inner = text.lines().skip(1).take_while(|line| *line != "}").map(|line| line.get(4..).unwrap_or_default());
        let implied = |line: &&str| {
            let one = !matches!(node.kind, NodeKind::Layer(_));
            !(line.starts_with("input:") || one && line.starts_with("kernel_size:"))
        };
        let mut steps = Vec::new();
        for (at, step) in spec.then.iter().enumerate().skip(first) {
            let of_norm = node.norms.iter().find(|norm| norm.step <= at && at < norm.step + 2);
            match (of_norm, node.residual().filter(|_| step.takes_tensor())) {
                (Some(norm), _) => steps.extend((norm.step == at).then(|| norm.to_string())),
                (_, Some(more)) => steps.push(format!("{}({})", step.name(), self.values[more].name)),
                (_, None) => steps.push(step.to_string()),
            }
        }
        let then = match &steps[..] {
            [] => None,
            [one] => Some(format!("then: {one},")),
            many => Some(format!("then: [{}],", many.join(", "))),
        };
        let line = |line: &str| if line.starts_with("then:") { then.clone() } else { Some(line.to_owned()) };
        inner.filter(implied).filter_map(line).collect()
    }

    /// The lines of a layer that moves elements, without its inputs.
    fn moving_fields(&self, node: &Node) -> Vec<String> {
        let (from, to) = (&self.values[node.inputs[0]].shape, &self.values[node.output].shape);
        let rank = to.sizes.len();
        // A list of the spatial axes' numbers.
        let spatial = |of: &dyn Fn(usize) -> String| {
            let all: Vec<_> = (0..rank).map(of).collect();
            if rank == 1 { all[0].clone() } else { format!("({})", all.join(", ")) }
        };
        match &node.kind {
            NodeKind::Concat { axis } if *axis != to.channel_axis() => vec![format!("axis: {},", axis + 1)],
            NodeKind::Slice { from: taken } => {
                let first = taken[to.channel_axis()].0;
                let mut fields = vec![format!("channels: {first}..{},", first + to.channels)];
                for (at, name) in axis_names(rank)[3 - rank..].iter().enumerate() {
                    let (first, step) = taken[to.axis_of(at)];
                    // Up to the last that is taken.
                    fields.push(format!("{name}: {first}..{},", first + (to.sizes[at] - 1) * step + 1));
                }
                if taken.iter().any(|&(_, step)| step != 1) {
                    fields.push(format!("stride: {},", spatial(&|at| taken[to.axis_of(at)].1.to_string())));
                }
                fields
            }
            NodeKind::Pad { before, value } => {
                let sides = |at: usize| {
                    let lo = before[to.axis_of(at)];
                    format!("{lo}..{}", to.sizes[at] - from.sizes[at] - lo)
                };
                vec![format!("padding: {},", spatial(&sides)), format!("value: {value:?},")]
            }
            NodeKind::Transpose { axes } => {
                let axes: Vec<_> = axes.iter().map(usize::to_string).collect();
                vec![format!("axes: ({}),", axes.join(", "))]
            }
            NodeKind::Reorder => vec![format!("layout: {},", to.layout.name(rank, to.dtype()))],
            NodeKind::Resize { scale } => {
                vec![format!("scale: {},", spatial(&|at| scale[to.axis_of(at)].to_string()))]
            }
            NodeKind::Interpolate(one) => {
                let sizes = match one.axes.iter().map(|size| size.scale).collect::<Option<Vec<f64>>>() {
                    Some(scales) => format!("scale: {},", spatial(&|at| format!("{:?}", scales[at]))),
                    None => format!("to: {},", spatial(&|at| one.axes[at].to.to_string())),
                };
                let align = format!("align: {},", one.align.name());
                match one.sampling {
                    Sampling::Linear => vec![sizes, "mode: linear,".to_owned(), align],
                    Sampling::Nearest(rounding) => {
                        vec![sizes, "mode: nearest,".to_owned(), align, format!("round: {},", rounding.name())]
                    }
                }
            }
            NodeKind::Reshape => vec![format!("to: {to},")],
            _ => Vec::new(),
        }
    }
}

/// The lines of a `lrn`, from the layer that it is.
fn lrn_fields(spec: &LayerSpec, alpha: f64) -> Vec<String> {
    let size = spec.taps();
    let [_, _, Epilogue::Add { constant }, Epilogue::Pow { exponent }, ..] = spec.then[..] else {
        return Vec::new();
    };
    let beta = -exponent;
    vec![
        format!("size: {size},"),
        format!("alpha: {alpha:?},"),
        format!("beta: {beta:?},"),
        format!("k: {constant:?},"),
    ]
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
