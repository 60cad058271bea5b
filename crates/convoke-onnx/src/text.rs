//! The network as text, and its parameters.

use std::rc::Rc;

use crate::error::LimitError;
use crate::ir::{
    Cell, Conv, Fill, Layer, Network, Norm, Numbers, Op, Pooling, Recurrent, Role, Shape, Step, Way, Weights, Window,
};
use crate::tensor::{Budget, Data, Elements, Tensor};
use crate::{Parameter, names};
use convoke_core::spec::{Align, Groups, Interpolation, Rounding, Sampling, Scaling};

/// Characters of a line that a layer may have before each of its fields gets one of its own.
const MAX_LINE: usize = 140;

/// A network that is written.
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) parameters: Vec<Parameter>,
    /// The name of every value that is there.
    pub(crate) names: Vec<String>,
}

/// What is written of a network beside its layers.
pub(crate) struct Frame<'a> {
    pub(crate) name: &'a str,
    /// Lines in front.
    pub(crate) comments: Vec<String>,
    /// Values that are given, with their names.
    pub(crate) inputs: &'a [(usize, String)],
    pub(crate) outputs: &'a [usize],
}

/// Writes the network; the layers are taken apart for their weights.
pub(crate) fn write(net: &mut Network, frame: &Frame<'_>, budget: &mut Budget) -> Result<Written, LimitError> {
    let mut value_names = vec![String::new(); net.values.len()];
    for (value, name) in frame.inputs {
        value_names[*value].clone_from(name);
    }
    let taken: Vec<_> = frame.inputs.iter().map(|(_, name)| name.clone()).collect();
    let hints: Vec<_> = net.layers.iter().map(|layer| (layer.hints.clone(), short(layer))).collect();
    for (layer, name) in net.layers.iter().zip(names::names(&hints, &taken)) {
        value_names[layer.output] = name;
    }
    let mut out = String::new();
    for line in &frame.comments {
        out.push_str(&format!("// {line}\n"));
    }
    out.push_str(&format!("network {} {{\n", frame.name));
    match frame.inputs {
        [(value, name)] if name == "input" => out.push_str(&format!("input: {},\n", net.shape(*value))),
        many => {
            let each: Vec<_> = many.iter().map(|(value, name)| format!("{name}: {}", net.shape(*value))).collect();
            out.push_str(&format!("inputs: [{}],\n", each.join(", ")));
        }
    }
    out.push('\n');
    let mut previous = frame.inputs.last().map(|(value, _)| *value);
    for layer in &net.layers {
        out.push_str(&written(net, layer, previous, &value_names));
        previous = Some(layer.output);
    }
    let outputs: Vec<_> = frame.outputs.iter().map(|&value| value_names[value].as_str()).collect();
    match outputs[..] {
        [one] if previous == Some(frame.outputs[0]) && !one.is_empty() => {}
        [one] => out.push_str(&format!("\noutput: {one},\n")),
        _ => out.push_str(&format!("\noutputs: [{}],\n", outputs.join(", "))),
    }
    out.push_str("}\n");
    let mut parameters = Vec::new();
    for layer in std::mem::take(&mut net.layers) {
        let channels = net.values[layer.output].shape.channels;
        numbers_of(layer, channels, &value_names, budget, &mut parameters)?;
    }
    Ok(Written { text: out, parameters, names: value_names })
}

/// What a layer is called that has no name.
fn short(layer: &Layer) -> &'static str {
    match &layer.op {
        Op::Conv(conv) if conv.transposed => "up",
        Op::Conv(_) => "conv",
        Op::Linear(..) => "linear",
        Op::Pool { .. } => "pool",
        Op::Elementwise => layer.then.iter().find_map(main_word).unwrap_or("affine"),
        Op::Add => "sum",
        Op::Mul => "product",
        Op::Matmul(_) => "matmul",
        Op::Concat(_) => "concat",
        Op::Slice { .. } => "slice",
        Op::Pad { .. } => "pad",
        Op::Resize(_) | Op::Interpolate(_) => "resize",
        Op::Lrn { .. } => "lrn",
        Op::Norm(_) => "norm",
        Op::QuantizeDynamic => "quantized",
        Op::Recurrent(recurrent) => cell_name(recurrent),
        Op::Reshape => "reshape",
        Op::Reorder => "reorder",
        Op::Transpose(_) => "transpose",
        Op::Flatten => "flat",
    }
}

/// The word of a step that is more than a factor and a summand.
fn main_word(step: &Step) -> Option<&'static str> {
    match step {
        Step::Affine(..) => None,
        Step::Plain(word) => Some(word),
        Step::LeakyRelu(_) => Some("leaky_relu"),
        Step::Clamp(..) => Some("clamp"),
        Step::Elu(_) => Some("elu"),
        Step::Celu(_) => Some("celu"),
        Step::Prelu(_) => Some("prelu"),
        Step::Erf => Some("erf"),
        Step::Pow(_) => Some("power"),
        Step::Residual(_) => Some("sum"),
        Step::Multiply(_) => Some("product"),
        Step::Softmax => Some("softmax"),
    }
}

/// The line of a layer.
fn written(net: &Network, layer: &Layer, previous: Option<usize>, names: &[String]) -> String {
    let shape = net.shape(layer.output);
    let from = net.shape(layer.inputs[0]);
    let mut fields = Vec::new();
    match layer.op {
        Op::Add | Op::Mul | Op::Matmul(_) | Op::Concat(_) => {
            let inputs: Vec<_> = layer.inputs.iter().map(|&value| names[value].as_str()).collect();
            fields.push(format!("inputs: [{}]", inputs.join(", ")));
        }
        _ if previous == Some(layer.inputs[0]) => {}
        _ => fields.push(format!("input: {}", names[layer.inputs[0]])),
    }
    let axes = from.sizes.len();
    let kind = match &layer.op {
        Op::Conv(conv) => {
            convolution(conv, from, &mut fields);
            format!("conv{}{axes}d", if conv.transposed { "_transpose" } else { "" })
        }
        Op::Linear(weights, out_channels) => {
            fields.push(format!("out_channels: {out_channels}"));
            if weights.bias {
                fields.push("bias: true".to_owned());
            }
            "linear".to_owned()
        }
        Op::Pool { pooling, window, ceil } => {
            pool(*pooling, window.as_ref(), *ceil, &mut fields);
            let word = match pooling {
                Pooling::Max => "max",
                Pooling::Average(_) => "avg",
                Pooling::Norm(_) => "lp",
            };
            format!("{word}_pool{axes}d")
        }
        Op::Elementwise => "elementwise".to_owned(),
        Op::Add => "add".to_owned(),
        Op::Mul => "mul".to_owned(),
        Op::Matmul(is_transposed) => {
            fields.extend(is_transposed.then(|| "transpose_b: true".to_owned()));
            "matmul".to_owned()
        }
        Op::Concat(role) => {
            if *role != Role::Channel {
                let axis = from.order().iter().position(|other| other == role).unwrap_or(0);
                fields.push(format!("axis: {axis}"));
            }
            "concat".to_owned()
        }
        Op::Slice { channels, space } => {
            slice(*channels, space, from, &mut fields);
            "slice".to_owned()
        }
        Op::Pad { padding, fill } => {
            fields.push(format!("padding: {}", paddings(padding)));
            match fill {
                Fill::Number(0.0) | Fill::Mode(_) => {}
                Fill::Number(value) => fields.push(format!("value: {}", number(*value))),
            }
            "pad".to_owned()
        }
        Op::Resize(scale) => {
            fields.push(format!("scale: {}", each(scale)));
            "resize".to_owned()
        }
        Op::Interpolate(one) => {
            interpolation_fields(one, &mut fields);
            "resize".to_owned()
        }
        Op::Lrn { size, alpha, beta, k } => {
            fields.push(format!("size: {size}, alpha: {}, beta: {}, k: {}", number(*alpha), number(*beta), number(*k)));
            "lrn".to_owned()
        }
        Op::Norm(norm) => norm_fields(norm, from, &mut fields),
        Op::QuantizeDynamic => "quantize_dynamic".to_owned(),
        Op::Recurrent(recurrent) => {
            recurrent_fields(recurrent, &layer.inputs[1..], names, &mut fields);
            cell_name(recurrent).to_owned()
        }
        Op::Reshape => {
            fields.push(format!("to: {shape}"));
            "reshape".to_owned()
        }
        Op::Reorder => {
            fields.push(format!("layout: {}", shape.layout_name()));
            "reorder".to_owned()
        }
        Op::Transpose(order) => {
            let order: Vec<_> = order.iter().map(usize::to_string).collect();
            fields.push(format!("axes: ({})", order.join(", ")));
            "transpose".to_owned()
        }
        Op::Flatten => "flatten".to_owned(),
    };
    let then: Vec<_> = layer.then.iter().flat_map(|step| words(step, names)).collect();
    match &then[..] {
        [] => {}
        [one] => fields.push(format!("then: {one}")),
        many => fields.push(format!("then: [{}]", many.join(", "))),
    }
    let name = &names[layer.output];
    let line = match fields.is_empty() {
        true => format!("{kind} {name} {{}}\n"),
        false => format!("{kind} {name} {{ {} }}\n", fields.join(", ")),
    };
    if line.len() <= MAX_LINE { line } else { format!("{kind} {name} {{\n{},\n}}\n", fields.join(",\n")) }
}

fn interpolation_fields(one: &Interpolation, fields: &mut Vec<String>) {
    if one.axes.iter().any(|size| size.uneven().is_some()) {
        // Numbers of `f32`, as the model has them.
        let scale = |size: &Scaling| number(size.scale.unwrap_or(size.to as f64 / size.from as f64));
        fields.push(format!("scale: {}", of_axes(one.axes.iter().map(scale).collect())));
    } else {
        fields.push(format!("to: {}", of_axes(one.axes.iter().map(|size| size.to.to_string()).collect())));
    }
    fields.extend((one.sampling == Sampling::Linear).then(|| "mode: linear".to_owned()));
    fields.extend((one.align != Align::HalfPixel).then(|| format!("align: {}", one.align.name())));
    match one.sampling {
        Sampling::Linear | Sampling::Nearest(Rounding::PreferFloor) => {}
        Sampling::Nearest(rounding) => fields.push(format!("round: {}", rounding.name())),
    }
}

/// What is not said but otherwise, and the word.
fn norm_fields(norm: &Norm, from: &Shape, fields: &mut Vec<String>) -> String {
    let word = match norm.groups {
        Groups::Elements { axis } => {
            fields.extend((axis + 1 != from.memory().len()).then(|| format!("axis: {axis}")));
            "layer_norm"
        }
        Groups::Channels(groups) => {
            fields.push(format!("groups: {groups}"));
            "group_norm"
        }
        Groups::Instance => "instance_norm",
    };
    fields.extend((norm.epsilon as f32 != 1e-5).then(|| format!("epsilon: {}", number(norm.epsilon))));
    fields.extend((!is_affine(norm)).then(|| "affine: false".to_owned()));
    word.to_owned()
}

fn is_affine(norm: &Norm) -> bool {
    (norm.scale.one(), norm.shift.one()) != (Some(1.0), Some(0.0))
}

fn cell_name(recurrent: &Recurrent) -> &'static str {
    match recurrent.cell {
        Cell::Lstm => "lstm",
        Cell::Gru => "gru",
    }
}

fn recurrent_fields(recurrent: &Recurrent, states: &[usize], names: &[String], fields: &mut Vec<String>) {
    fields.push(format!("hidden_size: {}", recurrent.hidden));
    match (recurrent.ways.len(), recurrent.is_reverse) {
        (1, false) => {}
        (1, true) => fields.push("direction: reverse".to_owned()),
        _ => fields.push("direction: bidirectional".to_owned()),
    }
    if recurrent.ways[0].bias.is_some() {
        fields.push("bias: true".to_owned());
    }
    if recurrent.cells {
        fields.push("cells: true".to_owned());
    }
    if recurrent.quantize_hidden {
        fields.push("quantize_hidden: true".to_owned());
    }
    match states {
        [] => {}
        [one] => fields.push(format!("state: {}", names[*one])),
        many => {
            let many: Vec<_> = many.iter().map(|&value| names[value].as_str()).collect();
            fields.push(format!("states: [{}]", many.join(", ")));
        }
    }
}

fn convolution(conv: &Conv, from: &Shape, fields: &mut Vec<String>) {
    let window = &conv.window;
    fields.push(format!("out_channels: {}, kernel_size: {}", conv.out_channels, each(&window.kernel)));
    common(window, fields);
    match conv.fill {
        Fill::Number(0.0) => {}
        Fill::Number(value) => fields.push(format!("padding_mode: constant({})", number(value))),
        Fill::Mode(word) => fields.push(format!("padding_mode: {word}")),
    }
    if conv.output_padding.iter().any(|&n| n > 0) {
        fields.push(format!("output_padding: {}", each(&conv.output_padding)));
    }
    if conv.groups > 1 {
        let is_depthwise = conv.groups == from.channels;
        fields.push(if is_depthwise { "groups: depthwise".to_owned() } else { format!("groups: {}", conv.groups) });
    }
    if conv.weights.bias {
        fields.push("bias: true".to_owned());
    }
}

/// Strides of 1 are left out; of pooling that is said before.
fn common(window: &Window, fields: &mut Vec<String>) {
    if window.stride.iter().any(|&n| n != 1) {
        fields.push(format!("stride: {}", each(&window.stride)));
    }
    if window.padding.iter().any(|&padding| padding != (0, 0)) {
        fields.push(format!("padding: {}", paddings(&window.padding)));
    }
    if window.dilation.iter().any(|&n| n != 1) {
        fields.push(format!("dilation: {}", each(&window.dilation)));
    }
}

fn pool(pooling: Pooling, window: Option<&Window>, ceil: bool, fields: &mut Vec<String>) {
    match window {
        None => fields.push("kernel_size: global".to_owned()),
        Some(window) => {
            fields.push(format!("kernel_size: {}", each(&window.kernel)));
            if window.stride == window.kernel {
                common(&Window { stride: vec![1], ..window.clone() }, fields);
            } else if window.stride.iter().all(|&n| n == 1) {
                fields.push("stride: 1".to_owned());
                common(window, fields);
            } else {
                common(window, fields);
            }
        }
    }
    if ceil {
        fields.push("ceil_mode: true".to_owned());
    }
    match pooling {
        Pooling::Average(false) => fields.push("count_include_pad: false".to_owned()),
        Pooling::Norm(p) if p != 2 => fields.push(format!("p: {p}")),
        _ => {}
    }
}

fn slice(channels: Option<(usize, usize)>, space: &[(usize, usize, usize)], from: &Shape, fields: &mut Vec<String>) {
    if let Some((start, end)) = channels {
        fields.push(format!("channels: {start}..{end}"));
    }
    let words: &[&str] = match space.len() {
        1 => &["length"],
        2 => &["height", "width"],
        _ => &["depth", "height", "width"],
    };
    for (axis, &(start, end, step)) in space.iter().enumerate() {
        if (start, end, step) != (0, from.sizes[axis], 1) {
            fields.push(format!("{}: {start}..{end}", words[axis]));
        }
    }
    let strides: Vec<_> = space.iter().map(|&(_, _, step)| step).collect();
    if strides.iter().any(|&step| step != 1) {
        fields.push(format!("stride: {}", each(&strides)));
    }
}

/// One number for all axes, or one for each.
fn each(numbers: &[usize]) -> String {
    if numbers.iter().all(|n| *n == numbers[0]) {
        return numbers[0].to_string();
    }
    let all: Vec<_> = numbers.iter().map(usize::to_string).collect();
    format!("({})", all.join(", "))
}

/// A value for each axis.
fn of_axes(mut all: Vec<String>) -> String {
    if all.len() == 1 { all.remove(0) } else { format!("({})", all.join(", ")) }
}

fn paddings(all: &[(usize, usize)]) -> String {
    let one =
        |&(lower, upper): &(usize, usize)| if lower == upper { lower.to_string() } else { format!("{lower}..{upper}") };
    if all.len() == 1 || all.iter().all(|padding| *padding == all[0] && padding.0 == padding.1) {
        return one(&all[0]);
    }
    format!("({})", all.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// The shortest text that is the same `f32`.
fn number(x: f64) -> String {
    let x = x as f32;
    let (plain, power) = (format!("{x}"), format!("{x:e}"));
    if plain.len() <= power.len() + 4 { plain } else { power }
}

/// The words of a step, two of one that multiplies and adds.
fn words(step: &Step, names: &[String]) -> Vec<String> {
    let of = |word: &str, x: f64, default: f64| {
        if x as f32 == default as f32 { word.to_owned() } else { format!("{word}({})", number(x)) }
    };
    vec![match step {
        Step::Affine(scale, shift) => {
            if let Some(both) = negated(scale, shift) {
                return both;
            }
            let mut words = Vec::new();
            match single(scale) {
                Some(1.0) => {}
                Some(one) => words.push(format!("mul({})", number(one))),
                None => words.push("scale".to_owned()),
            }
            match single(shift) {
                Some(0.0) => {}
                Some(one) => words.push(format!("add({})", number(one))),
                None => words.push("shift".to_owned()),
            }
            return words;
        }
        Step::Plain(word) => (*word).to_owned(),
        Step::LeakyRelu(slope) => of("leaky_relu", *slope, 0.01),
        Step::Clamp(0.0, 6.0) => "relu6".to_owned(),
        Step::Clamp(lower, upper) => format!("clamp({}, {})", number(*lower), number(*upper)),
        Step::Elu(alpha) => of("elu", *alpha, 1.0),
        Step::Celu(alpha) => of("celu", *alpha, 1.0),
        Step::Prelu(_) => "prelu".to_owned(),
        Step::Erf => "erf".to_owned(),
        Step::Pow(exponent) => format!("pow({})", number(*exponent)),
        Step::Residual(value) => format!("residual({})", names[*value]),
        Step::Multiply(value) => format!("multiply({})", names[*value]),
        Step::Softmax => "softmax".to_owned(),
    }]
}

fn negated(scale: &Numbers, shift: &Numbers) -> Option<Vec<String>> {
    (single(scale) == Some(-1.0) && single(shift) == Some(0.0)).then(|| vec!["neg".to_owned()])
}

/// The one number of all channels, if the text can have it.
fn single(numbers: &Numbers) -> Option<f64> {
    numbers.one().filter(|one| one.is_finite()).map(f64::from)
}

/// The parameters of a layer.
fn numbers_of(
    layer: Layer,
    channels: usize,
    names: &[String],
    budget: &mut Budget,
    out: &mut Vec<Parameter>,
) -> Result<(), LimitError> {
    let name = &names[layer.output];
    match layer.op {
        Op::Conv(conv) => weights(name, conv.weights, (conv.out_channels, conv.groups, conv.transposed), budget, out)?,
        Op::Linear(linear, out_channels) => weights(name, *linear, (out_channels, 1, false), budget, out)?,
        Op::Norm(norm) if is_affine(&norm) => {
            for (what, numbers) in [("weight", &norm.scale), ("bias", &norm.shift)] {
                budget.take(norm.len, 4)?;
                let values = (0..norm.len).map(|at| numbers.at(at) as f32).collect();
                out.push(Parameter { name: format!("{name}.{what}"), shape: vec![norm.len], values });
            }
        }
        Op::Recurrent(recurrent) => {
            for (way, Way { weights, bias }) in recurrent.ways.into_iter().enumerate() {
                let names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
                let suffix = if way == 1 { "_reverse" } else { "" };
                for (what, tensor) in names.into_iter().zip(weights.into_iter().chain(bias.into_iter().flatten())) {
                    let shape = tensor.dims.clone();
                    let values = owned(tensor, budget)?;
                    out.push(Parameter { name: format!("{name}.{what}_l0{suffix}"), shape, values });
                }
            }
        }
        _ => {}
    }
    let mut counts = [0; 3];
    for step in &layer.then {
        let all = match step {
            Step::Affine(scale, shift) => vec![(0, "scale", scale), (1, "shift", shift)],
            Step::Prelu(slopes) => vec![(2, "prelu", slopes)],
            _ => vec![],
        };
        for (kind, word, numbers) in all {
            if kind < 2 && single(numbers).is_some() {
                continue;
            }
            counts[kind] += 1;
            let behind = if counts[kind] == 1 { String::new() } else { format!("_{}", counts[kind]) };
            budget.take(channels, 4)?;
            let values = (0..channels).map(|channel| numbers.at(channel) as f32).collect();
            out.push(Parameter { name: format!("{name}.{word}{behind}"), shape: vec![channels], values });
        }
    }
    Ok(())
}

/// Weights and bias as they are in the end.
fn weights(
    name: &str,
    weights: Weights,
    (out_channels, groups, is_transposed): (usize, usize, bool),
    budget: &mut Budget,
    out: &mut Vec<Parameter>,
) -> Result<(), LimitError> {
    let Weights { tensor, scale, shift, bias } = weights;
    let (shape, len) = (tensor.dims.clone(), tensor.len());
    let values = match (scale.one(), &tensor.elements) {
        (Some(factor), Elements::Float(Data::Splat(one))) => {
            budget.take(len, 4)?;
            vec![one * factor; len]
        }
        (Some(1.0), _) => owned(tensor, budget)?,
        (_, Elements::Float(data)) => {
            budget.take(len, 4)?;
            let (per_group, inner) = (out_channels / groups, len / shape[0]);
            let channel = |at: usize| match is_transposed {
                false => at / inner,
                true => at / inner / (shape[0] / groups) * per_group + at / (inner / per_group) % per_group,
            };
            (0..len).map(|at| (f64::from(data.at(at)) * scale.at(channel(at))) as f32).collect()
        }
        (_, Elements::Int(_)) => Vec::new(),
    };
    out.push(Parameter { name: format!("{name}.weight"), shape, values });
    if bias {
        budget.take(out_channels, 4)?;
        let values = (0..out_channels).map(|channel| shift.at(channel) as f32).collect();
        out.push(Parameter { name: format!("{name}.bias"), shape: vec![out_channels], values });
    }
    Ok(())
}

/// The elements of a tensor, without a copy if nothing else has them.
fn owned(tensor: Rc<Tensor>, budget: &mut Budget) -> Result<Vec<f32>, LimitError> {
    let len = tensor.len();
    let elements = Rc::try_unwrap(tensor).map_or_else(|tensor| tensor.elements.clone(), |tensor| tensor.elements);
    Ok(match elements {
        Elements::Float(Data::Each(all)) => match Rc::try_unwrap(all) {
            Ok(all) => all,
            Err(all) => {
                budget.take(len, 4)?;
                all.to_vec()
            }
        },
        Elements::Float(Data::Splat(one)) => {
            budget.take(len, 4)?;
            vec![one; len]
        }
        Elements::Int(_) => Vec::new(),
    })
}
