//! From a graph to a network: the nodes in order, each computed, translated or left for the error that it is.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::error::{ImportError, Place, Reason};
use crate::external::External;
use crate::fold;
use crate::graph::{Branch, Graph, Node, describe};
use crate::guarded::{self, Guarded};
use crate::ir::{Network, Role, Step};
use crate::ops::{self, Build, Call, Order, Part, Symbol, Task};
use crate::proto::{TensorProto, ValueInfoProto};
use crate::shapes::Params;
use crate::tensor::{self, Budget, DType, Tensor};
use crate::text::{self, Frame};
use crate::view::{View, Views, default_roles, shape_of};
use crate::{Imported, Options, Port, fuse, names, written_out};

/// What is known of a value of the graph.
#[derive(Clone, Debug)]
enum Known {
    Constant(Rc<Tensor>),
    View(View),
    /// What stands for a value of a dynamic quantization.
    Symbol(Symbol),
    /// Which error it would be to use it.
    Failed(usize),
}

struct Importer<'a, 'g> {
    graph: &'a Graph<'g>,
    external: External,
    build: Build,
    /// Constants that have not been read yet.
    constants: HashMap<usize, &'g TensorProto>,
    known: Vec<Option<Known>>,
    failures: Vec<Option<ImportError>>,
}

/// An input of the graph with its sizes.
struct Given<'g> {
    value: usize,
    info: &'g ValueInfoProto,
    dims: Vec<usize>,
    /// What it always is, if that is given.
    always: Option<Rc<Tensor>>,
}

/// Imports a graph.
pub(crate) fn import(
    graph: &Graph<'_>,
    external: External,
    options: &Options,
    name: &str,
    producer: &str,
) -> Result<Imported, ImportError> {
    let given = inputs(graph, options)?;
    let constants: HashSet<usize> = graph.constants.iter().map(|constant| constant.0).collect();
    let is_constant = |value: &Option<usize>| value.is_some_and(|value| constants.contains(&value));
    // Operators that may go through what comes first, and those whose scale is that of all images.
    let joins = |node: &Node<'_>| match node.op().as_str() {
        "LSTM" | "GRU" | "DynamicQuantizeLinear" | "com.microsoft.DynamicQuantizeLSTM" => true,
        "MatMul" | "Gemm" => !node.inputs.iter().take(2).any(is_constant),
        _ => false,
    };
    // That of all values: of the first input that can have one.
    let first = given.iter().find(|given| given.dims.len() > 1 && given.always.is_none());
    let batch = first.map_or(1, |given| match given.dims[..] {
        [_, images, _] if ops::order(graph, given.value).is_some() => images,
        _ => given.dims[0],
    });
    let first = import_of(graph, external.clone(), options, (name, producer), &given, batch);
    match first {
        // What comes first may be positions that such a layer goes through, or rows of a matrix.
        Err(error) if batch > 1 && graph.nodes.iter().any(joins) => {
            import_of(graph, external, options, (name, producer), &given, 1).map_err(|_| error)
        }
        made => made,
    }
}

/// Imports a graph of so many images.
fn import_of(
    graph: &Graph<'_>,
    external: External,
    options: &Options,
    (name, producer): (&str, &str),
    given: &[Given<'_>],
    batch: usize,
) -> Result<Imported, ImportError> {
    let mut importer = Importer {
        graph,
        external,
        build: Build { net: Network::default(), views: Views::default(), budget: Budget::new(options.limit), batch },
        constants: graph.constants.iter().copied().collect(),
        known: vec![None; graph.names.len()],
        failures: Vec::new(),
    };
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for one in given {
        if let Some(always) = &one.always {
            importer.known[one.value] = Some(Known::Constant(Rc::clone(always)));
        }
    }
    let given: Vec<_> = given.iter().filter(|one| one.always.is_none()).collect();
    for &one in &given {
        let name = if given.len() == 1 {
            "input".to_owned()
        } else {
            let used: Vec<_> = names.iter().map(|(_, name): &(usize, String)| name.clone()).collect();
            names::single(&one.info.name, "x", &used)
        };
        let value =
            importer.input(one).map_err(|reason| ImportError::Input { input: one.info.name.clone(), reason })?;
        ports.push(Port { onnx: one.info.name.clone(), name: name.clone(), shape: one.dims.clone() });
        names.push((value, name));
    }
    for &node in &graph.order {
        importer.node(&graph.nodes[node]);
    }
    let mut outputs = Vec::new();
    let mut shapes = Vec::new();
    for &(value, info) in &graph.outputs {
        let view = importer.output(value, info)?;
        shapes.push(view.dims());
        outputs.push(view.value);
    }
    let Importer { build, known, .. } = importer;
    drop(known);
    let Build { mut net, mut budget, .. } = build;
    fuse::fuse(&mut net, &mut outputs);
    if net.layers.is_empty() {
        return Err(ImportError::Empty);
    }
    refuse_rest(&net)?;
    let mut comments = vec![format!("From ONNX{producer}, version {} of its operators.", graph.opset)];
    let mut say =
        |what: &str, onnx: &str, shape: &[usize]| comments.push(format!("{what} {}: {shape:?}", printable(onnx)));
    ports.iter().for_each(|port| say("Input", &port.onnx, &port.shape));
    graph.outputs.iter().zip(&shapes).for_each(|((_, info), shape)| say("Output", &info.name, shape));
    let frame = Frame { name, comments, inputs: &names, outputs: &outputs };
    let written = text::write(&mut net, &frame, &mut budget)?;
    let ends = graph.outputs.iter().zip(&outputs).zip(shapes).map(|(((_, info), &value), shape)| Port {
        onnx: info.name.clone(),
        name: written.names[value].clone(),
        shape,
    });
    let outputs = ends.collect();
    Ok(Imported { text: written.text, parameters: written.parameters, inputs: ports, outputs })
}

/// Steps that only parts of others may be.
fn refuse_rest(net: &Network) -> Result<(), ImportError> {
    let layer = net.layers.iter().find(|layer| layer.then.contains(&Step::Erf));
    let Some(layer) = layer else { return Ok(()) };
    let node = layer.hints.first().cloned().unwrap_or_default();
    let reason = Reason::No("it is translated only as part of gelu, x / 2 * (1 + erf(x / sqrt(2)))");
    let at = Place { op: "Erf".to_owned(), node: format!("near `{node}`"), inputs: "a value".to_owned() };
    Err(ImportError::Node { at: Box::new(at), reason })
}

/// Letters that a comment may have.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

/// The inputs with their sizes, those that the options give among them.
fn inputs<'g>(graph: &Graph<'g>, options: &Options) -> Result<Vec<Given<'g>>, ImportError> {
    let mut known = Vec::new();
    let mut used = HashSet::new();
    let mut all = Vec::new();
    for &(value, info) in &graph.inputs {
        let refused = |reason| ImportError::Input { input: info.name.clone(), reason };
        let tensor = info.r#type.as_ref().and_then(|all| all.tensor_type.as_ref());
        let tensor = tensor.ok_or_else(|| refused(Reason::No("it is no tensor")))?;
        let dtype = DType::of_onnx(tensor.elem_type).map_err(|name| refused(Reason::Type(name)))?;
        let always = options.values.iter().find(|(name, _)| *name == info.name).map(|&(_, value)| value);
        if always.is_none() && dtype != DType::F32 {
            return Err(refused(match dtype.is_float() {
                true => Reason::Type(dtype.name().to_owned()),
                false => Reason::Valueless { dtype: dtype.name(), key: info.name.clone() },
            }));
        }
        let shape = tensor.shape.as_ref().ok_or_else(|| refused(Reason::No("its sizes are not in the model")))?;
        if shape.dim.len() > 16 {
            return Err(refused(Reason::Axes { expected: "up to five", found: shape.dim.len() }));
        }
        let mut dims = Vec::new();
        for (axis, dim) in shape.dim.iter().enumerate() {
            let place = format!("{}.{axis}", info.name);
            let param = dim.dim_param.as_deref().filter(|name| is_key(name));
            let keys: Vec<&str> = dim.dim_param.as_deref().into_iter().chain([place.as_str()]).collect();
            let mut named = options.sizes.iter().filter(|(key, _)| keys.contains(&key.as_str()));
            let bound = named.next();
            // The same size by both of its names.
            used.extend(
                named.filter(|(_, size)| bound.is_some_and(|(_, first)| first == size)).map(|(key, _)| key.clone()),
            );
            let value = dim.dim_value.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
            let size = match (bound, value) {
                (Some((key, size)), _) if value.is_none() || axis == 0 || value == Some(*size) => {
                    used.insert(key.clone());
                    *size
                }
                (_, Some(size)) => size,
                (_, None) if axis == 0 && shape.dim.len() > 1 => 1,
                (_, None) => {
                    let key = param.unwrap_or(&place).to_owned();
                    return Err(ImportError::Unbound { input: info.name.clone(), axis, key });
                }
            };
            if value.is_none() {
                known.push(param.unwrap_or(&place).to_owned());
            }
            dims.push(size);
        }
        if let Some(number) = always.filter(|&number| !dtype.is_float() && fold::wrapped(number, dtype) != number) {
            let (what, expected) = ("its value", "it has to be a number of the input's type");
            return Err(refused(Reason::Number { what, found: number.to_string(), expected }));
        }
        let always = always.map(|number| {
            tensor::count(&dims).map(|_| Rc::new(Tensor::always(dtype, dims.clone(), number))).ok_or(Reason::Overflow)
        });
        let always = always.transpose().map_err(refused)?;
        all.push(Given { value, info, dims, always });
    }
    let has = |name: &str| graph.inputs.iter().any(|(_, info)| info.name == name);
    if let Some((name, _)) = options.values.iter().find(|(name, _)| !has(name)) {
        let known = graph.inputs.iter().map(|(_, info)| info.name.clone()).collect();
        return Err(ImportError::UnknownValue { name: name.clone(), known });
    }
    match options.sizes.iter().find(|(key, _)| !used.contains(key)) {
        Some((name, _)) => {
            known.dedup();
            Err(ImportError::UnknownSize { name: name.clone(), known })
        }
        None => Ok(all),
    }
}

/// Whether a name of a size can be written in a command.
fn is_key(name: &str) -> bool {
    name.chars().any(|c| c.is_ascii_alphanumeric()) && !name.contains(['=', ',', ' '])
}

/// The branch of an `If` that runs.
fn chosen<'n>(call: &Call<'n, '_>) -> Result<&'n Branch, Reason> {
    let condition = call.params.number(0, "the condition")?.ok_or(Reason::NoInput(0))?;
    let branches = &call.params.node.branches;
    branches.get(usize::from(condition == 0.0)).ok_or(Reason::NoAttribute("then_branch` or `else_branch"))
}

impl<'a, 'g> Importer<'a, 'g> {
    /// An input as a value, in the order of channels that its users want.
    fn input(&mut self, given: &Given<'g>) -> Result<usize, Reason> {
        let dims = &given.dims;
        let rank = dims.len();
        let order = ops::order(self.graph, given.value).filter(|_| rank == 3 && dims[1] == self.build.batch);
        if let Some(order) = order
            && (dims[1] == 1 || dims[0] == 1)
        {
            // Where there is one image, or one of what stands before, that is also the order with images first.
            let roles = match order {
                Order::State if dims[0] > 1 => [Role::Channel, Role::Batch, Role::Space(0)],
                _ => [Role::Space(0), Role::Batch, Role::Channel],
            };
            let shape = shape_of(dims, &roles, self.build.batch, order == Order::Signal);
            ops::checked(&shape)?;
            let value = self.build.net.input(shape.clone());
            self.known[given.value] = Some(Known::View(View::of(value, &shape, &roles)));
            return Ok(value);
        }
        if order.is_some() {
            return Err(Reason::Number {
                what: "the batch, behind positions or directions of recurrent layers",
                found: self.build.batch.to_string(),
                expected: "images come first in a value: it has to be 1 there, or the model has to turn them",
            });
        }
        let mut roles = default_roles(dims, self.build.batch).ok_or_else(|| {
            if rank <= 5 {
                let (first, second) = (format!("{} images", self.build.batch), format!("sizes {dims:?}"));
                Reason::Differ { what: "the batch of the first input and another input", first, second }
            } else {
                Reason::Axes { expected: "up to five", found: rank }
            }
        })?;
        let last = rank > 2 && roles[0] == Role::Batch && self.is_channels_last(given.value, rank);
        if last {
            roles[1..].rotate_left(1);
        }
        let shape = shape_of(dims, &roles, self.build.batch, last);
        ops::checked(&shape)?;
        let value = self.build.net.input(shape.clone());
        self.known[given.value] = Some(Known::View(View::of(value, &shape, &roles)));
        Ok(value)
    }

    /// Whether all that is done with an input, but to single elements, is to bring its last axis in front of the others.
    fn is_channels_last(&self, value: usize, rank: usize) -> bool {
        const SAME: [&str; 8] = ["Identity", "Cast", "Dropout", "Relu", "Add", "Sub", "Mul", "Div"];
        let order: Vec<i64> = [0, rank as i64 - 1].into_iter().chain(1..rank as i64 - 1).collect();
        let (mut stack, mut seen, mut found) = (vec![value], HashSet::new(), false);
        while let Some(value) = stack.pop() {
            if !seen.insert(value) {
                continue;
            }
            if self.graph.outputs.iter().any(|(output, _)| *output == value) {
                return false;
            }
            for &user in &self.graph.users[value] {
                let node = &self.graph.nodes[user];
                match node.op().as_str() {
                    "Transpose" if node.ints("perm") == Some(&order) => found = true,
                    op if SAME.contains(&op) => stack.extend(node.outputs.first().copied().flatten()),
                    _ => return false,
                }
            }
        }
        found
    }

    /// What is known of a value, read if it is a constant of the file.
    fn known(&mut self, value: usize) -> Result<Known, usize> {
        if let Some(proto) = self.constants.remove(&value) {
            let known = match tensor::read(proto, &self.external, &mut self.build.budget) {
                Ok(tensor) => Known::Constant(Rc::new(tensor)),
                Err(reason) => self.failed(ImportError::Tensor { name: proto.name.clone(), reason }),
            };
            self.known[value] = Some(known);
        }
        match &self.known[value] {
            Some(Known::Failed(error)) => Err(*error),
            Some(known) => Ok(known.clone()),
            // Every value is made before it is used.
            None => Err(usize::MAX),
        }
    }

    fn failed(&mut self, error: ImportError) -> Known {
        self.failures.push(Some(error));
        Known::Failed(self.failures.len() - 1)
    }

    /// Computes or translates a node; if that cannot be, it is an error to use what it makes.
    fn node(&mut self, node: &'a Node<'g>) {
        let guarded = self.guarded(node);
        let made_as = guarded.unwrap_or(node);
        let mut params = Params { node: made_as, known: Vec::new() };
        let (mut views, mut symbols) = (Vec::new(), Vec::new());
        for input in &made_as.inputs {
            let (mut tensor, mut view, mut symbol) = (None, None, None);
            match input.map(|value| self.known(value)) {
                None => {}
                Some(Ok(Known::Constant(known))) => tensor = Some(known),
                Some(Ok(Known::View(known))) => view = Some(known),
                Some(Ok(Known::Symbol(known))) => {
                    match known.part() {
                        Some(Part::Constant(part)) => tensor = Some(part),
                        Some(Part::View(part)) => view = Some(part),
                        None => {}
                    }
                    symbol = Some(known);
                }
                Some(Ok(Known::Failed(error)) | Err(error)) => return self.store(node, |_| Known::Failed(error)),
            }
            params.known.push(tensor);
            views.push(view);
            symbols.push(symbol);
        }
        let hints = self.hints(made_as, &views);
        let is_used = |value: usize| {
            !self.graph.users[value].is_empty() || self.graph.outputs.iter().any(|(output, _)| *output == value)
        };
        let used = node.outputs.iter().map(|output| output.is_some_and(is_used)).collect();
        let norm = self.norm(node);
        let mut call = Call { params, views, used, hints, or_zero: guarded.is_some(), norm };
        if node.op() == "If" {
            return match chosen(&call) {
                Ok(branch) => self.branch(node, branch),
                Err(reason) => {
                    let error = self.error(&call, Some(reason));
                    let failed = self.failed(error);
                    self.store(node, |_| failed.clone());
                }
            };
        }
        let made = match symbols.iter().any(Option::is_some) {
            true => self.followed(&mut call, &symbols),
            false => self.made(&mut call),
        };
        match made {
            Ok(made) => {
                let count = made.len();
                let more = (count..node.outputs.len())
                    .map(|output| self.failed(self.error(&call, Some(Reason::Output(output)))))
                    .collect::<Vec<_>>();
                self.store(node, |at| {
                    made.get(at).or_else(|| more.get(at - count)).cloned().unwrap_or(Known::Failed(usize::MAX))
                });
            }
            Err(reason) => {
                let error = self.error(&call, reason);
                let failed = self.failed(error);
                self.store(node, |_| failed.clone());
            }
        }
    }

    /// The quotient that a node makes but for 0 where the divisor is 0.
    fn guarded(&mut self, node: &Node<'g>) -> Option<&'a Node<'g>> {
        let Guarded { node: quotient, divisor, constants } = guarded::guarded(self.graph, node)?;
        let made = match [divisor, node.input(2)?].map(|value| self.known(value)) {
            [Ok(Known::View(_)), Ok(Known::View(made))] => made,
            _ => return None,
        };
        let mut is_zero = |value: usize| match self.known(value) {
            // Of more axes it would add some.
            Ok(Known::Constant(one)) => {
                one.uniform() == Some(0.0) && one.len() == 1 && one.dims.len() <= made.axes.len()
            }
            _ => false,
        };
        constants.into_iter().all(&mut is_zero).then_some(quotient)
    }

    /// The norm that a node is the last of: of what, along which axes, and what is added to the variance.
    fn norm(&mut self, node: &Node<'g>) -> Option<(View, Vec<usize>, f64)> {
        let written_out::Norm { value, means, epsilon, exponent } = written_out::norm(self.graph, node)?;
        let Ok(Known::View(view)) = self.known(value) else { return None };
        let rank = view.axes.len();
        // Of more axes than the value has it would add some.
        let mut number = |value: usize| match self.known(value) {
            Ok(Known::Constant(one)) if one.len() == 1 && one.dims.len() <= rank => one.uniform(),
            _ => None,
        };
        let epsilon = number(epsilon).filter(|epsilon| (0.0..f64::INFINITY).contains(epsilon))?;
        if exponent.is_some_and(|exponent| number(exponent) != Some(2.0)) {
            return None;
        }
        let mut axes_of = |mean: &'a Node<'g>| {
            let mut constant = |value: Option<usize>| match self.known(value?) {
                Ok(Known::Constant(constant)) => Some(constant),
                _ => None,
            };
            let known = mean.inputs.iter().map(|&value| constant(value)).collect();
            let axes = Params { node: mean, known }.axes(1, rank).ok()??;
            (mean.flag("keepdims", true) == Ok(true) && !axes.is_empty()).then_some(axes)
        };
        let axes = axes_of(means[0])?;
        means[1..].iter().all(|mean| axes_of(mean).as_ref() == Some(&axes)).then_some((view, axes, epsilon))
    }

    /// Computes or translates a branch, in place of the node that it is part of.
    fn branch(&mut self, node: &Node<'_>, branch: &Branch) {
        for &at in &branch.nodes {
            self.node(&self.graph.nodes[at]);
        }
        for (at, output) in node.outputs.iter().enumerate() {
            let made = branch.outputs.get(at).map_or(Err(usize::MAX), |&value| self.known(value));
            if let Some(output) = *output {
                self.known[output] = Some(made.unwrap_or_else(Known::Failed));
            }
        }
    }

    fn store(&mut self, node: &Node<'_>, made: impl Fn(usize) -> Known) {
        for (at, output) in node.outputs.iter().enumerate() {
            if let Some(output) = *output {
                self.known[output] = Some(made(at));
            }
        }
    }

    /// What a node makes of what stands for values of a dynamic quantization.
    fn followed(&mut self, call: &mut Call<'_, '_>, symbols: &[Option<Symbol>]) -> Result<Vec<Known>, Option<Reason>> {
        let wrap = match ops::task(call.params.node, symbols)? {
            Task::Is(symbol) => return Ok(vec![Known::Symbol(symbol)]),
            Task::Sums => return Ok(vec![Known::Symbol(ops::sums(&mut self.build, call, symbols)?)]),
            Task::Of(wrap) => wrap,
        };
        let made = self.made(call)?.into_iter().map(|known| match (&wrap, known) {
            (Some(wrap), Known::Constant(tensor)) => Ok(Known::Symbol(wrap.around(Part::Constant(tensor))?)),
            (Some(wrap), Known::View(view)) => Ok(Known::Symbol(wrap.around(Part::View(view))?)),
            (_, known) => Ok(known),
        });
        Ok(made.collect::<Result<_, Reason>>()?)
    }

    /// What a node makes, or why it makes nothing; without a reason if its operator is not known.
    fn made(&mut self, call: &mut Call<'_, '_>) -> Result<Vec<Known>, Option<Reason>> {
        let node = call.params.node;
        let constants =
            |tensors: Vec<Tensor>| tensors.into_iter().map(|tensor| Known::Constant(Rc::new(tensor))).collect();
        if let ("Shape" | "Size", Some(Some(view))) = (node.op().as_str(), call.views.first()) {
            let dims = view.dims();
            let tensor = match node.op().as_str() {
                "Shape" => fold::shape(&call.params, &dims)?,
                _ => Tensor::ints(vec![], vec![dims.iter().product::<usize>() as i64]),
            };
            return Ok(constants(vec![tensor]));
        }
        if call.views.iter().all(Option::is_none) {
            if let Some(value) = node.tensor("value") {
                let tensor = tensor::read(value, &self.external, &mut self.build.budget);
                let tensor = Rc::new(tensor.map_err(|error| Reason::Value(Box::new(error)))?);
                if node.op() == "Constant" {
                    return Ok(vec![Known::Constant(tensor)]);
                }
                // Behind the inputs, where it is looked for.
                call.params.known.push(Some(tensor));
            }
            if let Some(made) = fold::fold(&call.params, &mut self.build.budget)? {
                return Ok(constants(made));
            }
        }
        if node.op() == "DynamicQuantizeLinear" {
            return Ok(ops::quantize(&mut self.build, call)?.into_iter().map(Known::Symbol).collect());
        }
        match ops::translate(&mut self.build, call)? {
            Some(views) => Ok(views.into_iter().map(Known::View).collect()),
            None => Err(None),
        }
    }

    /// The error that it is to use what a node makes.
    fn error(&self, call: &Call<'_, '_>, reason: Option<Reason>) -> ImportError {
        let node = call.params.node;
        let each = node.inputs.iter().enumerate().filter_map(|(at, input)| {
            let name = self.graph.names[(*input)?];
            let dims = match (&call.params.known[at], &call.views[at]) {
                (Some(tensor), _) => format!("{:?}, a constant", tensor.dims),
                (_, Some(view)) => format!("{:?}", view.dims()),
                _ => "?".to_owned(),
            };
            Some(format!("`{name}` {dims}"))
        });
        let inputs: Vec<_> = each.take(8).collect();
        let inputs = if inputs.is_empty() { "nothing".to_owned() } else { inputs.join(", ") };
        let at = Box::new(Place { op: node.op(), node: describe(node.proto), inputs });
        match reason {
            Some(reason) => ImportError::Node { at, reason },
            None => ImportError::Unsupported(at),
        }
    }

    /// Names that the layers of a node could have: of its weights, its own, that of what it makes.
    fn hints(&self, node: &Node<'_>, views: &[Option<View>]) -> Vec<String> {
        let mut hints = Vec::new();
        if matches!(node.op().as_str(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul") {
            let weights = [1, 2].into_iter().filter(|&input| views.get(input).is_some_and(Option::is_none));
            hints.extend(weights.filter_map(|input| node.input(input)).map(|value| self.graph.names[value].to_owned()));
        }
        if matches!(node.op().as_str(), "ConvInteger" | "MatMulInteger") {
            hints.extend(node.input(1).map(|value| self.graph.names[value].to_owned()));
        }
        hints.push(node.proto.name.clone());
        hints.extend(node.proto.output.first().cloned());
        hints
    }

    /// An output, in ONNX's order of memory.
    fn output(&mut self, value: usize, info: &ValueInfoProto) -> Result<View, ImportError> {
        let refused = |reason| ImportError::Output { output: info.name.clone(), reason };
        match self.known(value) {
            Ok(Known::Symbol(_)) => Err(refused(Reason::No(
                "it is whole numbers, a scale or a zero point of a `DynamicQuantizeLinear`, and networks give floats",
            ))),
            Ok(Known::View(view)) => ops::contiguous(&mut self.build, &view).map_err(refused),
            Ok(_) => Err(refused(Reason::No("it is a constant"))),
            Err(error) => match self.failures.get_mut(error).and_then(Option::take) {
                Some(error) => Err(error),
                None => Err(refused(Reason::No("nothing makes it"))),
            },
        }
    }
}
