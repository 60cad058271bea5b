"""ONNX Runtime, in f32: one model a layer, `Pad` where it is not zeros, then `Conv`, `ConvTranspose` or an operator of pooling; the
steps behind them in numpy."""

from dataclasses import replace
from random import Random

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import naive
from engine import Tensors
from language import Layer
from random_layers import Abilities

NAME = "onnxruntime"
ABILITIES = Abilities(f64=False, empty_batch=False, bytes=False, adaptive=False, non_finite_pools=("avg", "lp"))
"""Its maxima start at the least finite number, and pass over a NaN: ONNX does not say what they do with one."""

OPSET, IR = 19, 9
"""The first with `wrap` of `Pad`."""
AUTO_PAD = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}
"""See `_has_word`."""

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = _options.inter_op_num_threads = 1
_options.log_severity_level = 3


def fit(rng: Random, layer: Layer) -> Layer:
    """It wants an output padding that is less than the stride, whatever the dilation; and of pooling, pads that are less than the window
    without its gaps."""
    if layer.pooling:
        return _fit_pool(layer)
    if not layer.transposed:
        return layer
    more = tuple(min(more, stride - 1) for more, stride in zip(layer.output_paddings, layer.strides))
    fitting = replace(layer, output_padding=more, output_size=())
    if min(fitting.output) < 1:
        fitting = replace(fitting, padding="valid")
    return replace(fitting, output_padding=(), output_size=fitting.output) if layer.output_size else fitting


def _fit_pool(layer: Layer) -> Layer:
    """It has no divisor of its own."""
    layer = replace(layer, pooling=replace(layer.pooling, divisor=None))
    if isinstance(layer.padding, str) and all(max(sides) < kernel for sides, kernel in zip(layer.sides, layer.kernel)):
        return layer
    sides = tuple((min(lo, kernel - 1), min(hi, kernel - 1)) for (lo, hi), kernel in zip(layer.sides, layer.kernel))
    return replace(layer, padding=sides)


def compute(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.dtype]:
    arrays = {"x": tensors.src, "w": tensors.weights, "b": tensors.bias}
    feeds = {name: array for name, array in arrays.items() if array is not None}
    session = onnxruntime.InferenceSession(_model(layer, feeds).SerializeToString(), _options, ["CPUExecutionProvider"])
    (sums,) = session.run(["y"], feeds)
    return naive.then(layer.steps(tensors.channels), sums.astype(np.float64)), np.dtype(np.float32)


def _model(layer: Layer, feeds: dict[str, np.ndarray]) -> onnx.ModelProto:
    nodes, constants, source = [], [], "x"
    attributes = {"strides": layer.strides, "dilations": layer.dilations, "kernel_shape": layer.kernel}
    attributes |= {} if layer.pooling else {"group": layer.groups}
    if layer.padding_mode.name != "zeros":
        pads = [0, 0, *(lo for lo, _ in layer.sides), 0, 0, *(hi for _, hi in layer.sides)]
        constants.append(helper.make_tensor("pads", TensorProto.INT64, [len(pads)], pads))
        constants.append(helper.make_tensor("value", TensorProto.FLOAT, [], [layer.padding_mode.value]))
        mode = naive.NUMPY_MODES[layer.padding_mode.name]
        nodes.append(helper.make_node("Pad", ["x", "pads", "value"], ["padded"], mode=mode))
        source = "padded"
    elif layer.padding in AUTO_PAD and _has_word(layer):
        attributes["auto_pad"] = AUTO_PAD[layer.padding]
    else:
        attributes["pads"] = [*(lo for lo, _ in layer.sides), *(hi for _, hi in layer.sides)]
    if layer.transposed:
        attributes["output_padding"] = layer.output_paddings
    operator = "ConvTranspose" if layer.transposed else "Conv"
    if layer.pooling:
        operator, attributes = _pool(layer, attributes)
    nodes.append(helper.make_node(operator, [source, *list(feeds)[1:]], ["y"], **attributes))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feeds.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, layer.dst_shape)]
    graph = helper.make_graph(nodes, "layer", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def _has_word(layer: Layer) -> bool:
    """It refuses `auto_pad` for dilated layers, and for pooling with a stride that leaves elements at the end unseen, where it computes
    padding of less than none. ONNX's `ceil_mode` is for explicit padding."""
    if layer.pooling:
        axes = zip(layer.spatial, layer.output, layer.strides, layer.extents)
        unseen = any((output - 1) * stride + extent < size for size, output, stride, extent in axes)
        if unseen or layer.pooling.ceil_mode:
            return False
    return layer.dilations == (1,) * layer.rank


def _pool(layer: Layer, attributes: dict[str, object]) -> tuple[str, dict[str, object]]:
    pooling = layer.pooling
    name = {"max": "MaxPool", "avg": "AveragePool", "lp": "LpPool"}[pooling.kind]
    norm = {"p": pooling.p} if layer.is_norm else {}
    if pooling.whole:
        return f"Global{name}", norm
    attributes |= {"ceil_mode": int(pooling.ceil_mode)} | norm
    return name, attributes if pooling.kind != "avg" else attributes | {"count_include_pad": int(pooling.count_include_pad)}
