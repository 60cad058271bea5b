"""Random weights for an ONNX graph, with which all values stay of order one, as in a network that has been trained.

The graph is computed node by node with ONNX Runtime. The weights of a layer are normal and then divided by the root mean square of what the
layer makes of its input; a normalization gets, roughly, the mean and the variance of its input. Needs numpy, onnx and ONNX Runtime, and nothing
else of this suite: benches/peers takes its weights from here too.
"""

from collections.abc import Collection, Iterator
from math import prod, sqrt

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

IR = 8
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose second input may be weights, and the third a bias."""
WHOLE = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM")
"""Operators whose weights are whole numbers."""
RECURRENT = {"LSTM": 4, "GRU": 3}
"""Operators with weights of the input and of the hidden state, and how many gates they have."""
NAMING = ("Unsqueeze", "Reshape", "Squeeze", "Identity")
"""Operators that hand on their first input as it is."""

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = _options.inter_op_num_threads = 1
_options.log_severity_level = 3


def session(model: ModelProto | str) -> onnxruntime.InferenceSession:
    """On one thread; of a model or of the path of one."""
    source = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, _options, ["CPUExecutionProvider"])


def inputs(model: ModelProto) -> dict[str, list[int | str]]:
    """The sizes of those inputs that no initializer gives; a size may be a name."""
    given = {tensor.name for tensor in model.graph.initializer}
    sizes = lambda value: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
    return {value.name: sizes(value) for value in model.graph.input if value.name not in given}


def fill_constants(model: ModelProto) -> None:
    """Makes initializers of all nodes `ConstantOfShape` whose shape is one, and leaves only what has to be given among the inputs."""
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    constants = [node for node in graph.node if node.op_type == "ConstantOfShape" and node.input[0] in known]
    for node in constants:
        value = next((numpy_helper.to_array(a.t) for a in node.attribute), np.zeros(1, np.float32))
        array = np.full(numpy_helper.to_array(known[node.input[0]]), value.reshape(-1)[0], value.dtype)
        graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for name, tensor in known.items():
        if name not in used:
            graph.initializer.remove(tensor)
    for value in [value for value in graph.input if value.name in known]:
        graph.input.remove(value)
    model.ir_version = IR


def draw(model: ModelProto, seed: int, kept: Collection[str] = ()) -> None:
    """Replaces all initializers of floating point but those named in `kept` by random numbers. No size of an input may be a name."""
    rng = np.random.default_rng(seed)
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    parameters = [name for name, array in values.items() if array.dtype == np.float32 and name not in kept]
    consumers: dict[str, list[tuple[NodeProto, int]]] = {}
    for node in graph.node:
        for at, name in enumerate(node.input):
            consumers.setdefault(name, []).append((node, at))
    for name in parameters:
        values[name] = _plain(rng, _role(name, consumers), values[name].shape)
    for name, sizes in inputs(model).items():
        values[name] = rng.standard_normal(sizes, np.float32)
    for node in graph.node:
        weights = _origin(node.input[1], graph) if node.op_type in WEIGHTED else ""
        if weights in parameters:
            size = _size_without_bias(model, node, values)
            for name in {weights, node.input[1]}:
                values[name] = values[name] / size
        if node.op_type == "BatchNormalization":
            _, _, _, mean, variance = node.input
            values[mean], values[variance] = _moments(rng, values[node.input[0]])
        values.update(zip(node.output, run_node(model, node, values)))
    names = [tensor.name for tensor in graph.initializer]
    del graph.initializer[:]
    for name in names:
        graph.initializer.append(numpy_helper.from_array(values.pop(name), name))


def roundings(model: ModelProto) -> int:
    """How many products are summed for one element of each layer with weights, all layers together: what the error of a network grows with."""
    nodes = list(_nodes(model.graph))
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    shapes |= {node.output[0]: list(a.t.dims) for node in nodes if node.op_type == "Constant" for a in node.attribute}
    return sum(_terms(node, shapes.get(node.input[1], [1])) + 1 for node in nodes if node.op_type in (*WEIGHTED, *RECURRENT, *WHOLE))


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Those of its first branches too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.name == "then_branch":
                yield from _nodes(attribute.g)


def bound(model: ModelProto, factor: float) -> float:
    """How far two outputs of a network may be apart, of their root mean square: `factor` u √n, where u is the unit roundoff and n is
    `roundings`. Errors of independent roundings grow with the root of how many there are."""
    return factor * 2.0**-24 * sqrt(roundings(model))


def difference(left: np.ndarray, right: np.ndarray, least: float = 0.0) -> float:
    """The greatest difference, over the root mean square of `right` or over `least`; infinite, if one of the two is not finite."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    if not right.size:
        return 0.0
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return np.inf
    most = np.max(abs(left - right))
    size = max(least, sqrt(np.mean(right**2)))
    return float(most / size) if size else float(np.inf if most else 0.0)


def spread(left: np.ndarray, right: np.ndarray, least: float = 0.0) -> float:
    """The root mean square of the differences, over that of `right` or over `least`; infinite, if one of the two is not finite."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return np.inf
    off, size = (sqrt(np.mean(values**2)) if values.size else 0.0 for values in (left - right, right))
    size = max(least, size)
    return off / size if size else float(np.inf if off else 0.0)


def _terms(node: NodeProto, weights: list[int]) -> int:
    if node.op_type in ("Conv", "ConvInteger"):
        return prod(weights[1:])
    if node.op_type == "ConvTranspose":
        return weights[0] * prod(weights[2:])
    if node.op_type in RECURRENT:
        return weights[-1] + weights[-2] // RECURRENT[node.op_type] if len(weights) > 1 else 1
    if node.op_type == "DynamicQuantizeLSTM":
        return weights[-2] + weights[-1] // RECURRENT["LSTM"] if len(weights) > 1 else 1
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return weights[-1] if transposed else prod(weights[-2:-1])


def _role(name: str, consumers: dict[str, list[tuple[NodeProto, int]]]) -> tuple[str, int]:
    """The operator that takes a parameter and as which of its inputs."""
    node, at = next(iter(consumers.get(name, [])), (None, 0))
    if node is None:
        return "", 0
    return _role(node.output[0], consumers) if node.op_type in NAMING else (node.op_type, at)


def _plain(rng: np.random.Generator, role: tuple[str, int], shape: tuple[int, ...]) -> np.ndarray:
    """A parameter that does not depend on its layer's input."""
    match role:
        case (operator, 1) if operator.endswith("Normalization"):
            return np.asarray(rng.uniform(0.5, 1.5, shape), np.float32)
        case ("Mul" | "Div", _):
            return np.asarray(rng.uniform(0.5, 1.5, shape), np.float32)
        case ("PRelu", 1):
            return np.asarray(rng.uniform(0.0, 0.5, shape), np.float32)
        case (operator, 1) if operator in WEIGHTED:
            return rng.standard_normal(shape, np.float32)
        case _:
            return np.asarray(0.3 * rng.standard_normal(shape, np.float32))


def _origin(name: str, graph: GraphProto) -> str:
    """The parameter that a value is, perhaps in another shape."""
    maker = next((node for node in graph.node if name in node.output), None)
    return _origin(maker.input[0], graph) if maker is not None and maker.op_type in NAMING else name


def _size_without_bias(model: ModelProto, node: NodeProto, values: dict[str, np.ndarray]) -> np.float32:
    """The root mean square of what a layer with weights makes; 1 if that is nothing."""
    without_bias = {name: np.zeros_like(values[name]) for name in node.input[2:] if name}
    made = run_node(model, node, values | without_bias)[0]
    return np.float32(sqrt(np.mean(np.square(made, dtype=np.float64))) if made.any() else 1.0)


def _moments(rng: np.random.Generator, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the variance of each channel, but not quite."""
    over = (0, *range(2, x.ndim))
    mean, variance = np.mean(x, over, np.float64), np.var(x, over, np.float64)
    mean += 0.1 * rng.standard_normal(mean.shape)
    variance = variance * rng.uniform(0.8, 1.25, variance.shape) + 0.1 * np.mean(variance) + 0.01
    return mean.astype(np.float32), variance.astype(np.float32)


def run_node(model: ModelProto, node: NodeProto, values: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of one node."""
    feeds = {name: values[name] for name in node.input if name}
    typed = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()]
    # Without a type or shape ONNX Runtime finds them itself.
    made = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    alone = helper.make_model(helper.make_graph([node], "node", typed, made), opset_imports=model.opset_import, ir_version=IR)
    return session(alone).run(None, feeds)

