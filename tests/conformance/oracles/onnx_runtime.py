"""ONNX Runtime, in f32: one model a layer, `Pad` where it is not zeros, then `Conv` or `ConvTranspose`; the steps behind them in numpy."""

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
ABILITIES = Abilities(f64=False, empty_batch=False)

OPSET, IR = 19, 9
"""The first with `wrap` of `Pad`."""
AUTO_PAD = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}
"""Which it refuses for dilated layers."""

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = _options.inter_op_num_threads = 1
_options.log_severity_level = 3


def fit(rng: Random, layer: Layer) -> Layer:
    """It wants an output padding that is less than the stride, whatever the dilation."""
    if not layer.transposed:
        return layer
    more = tuple(min(more, stride - 1) for more, stride in zip(layer.output_paddings, layer.strides))
    fitting = replace(layer, output_padding=more, output_size=())
    if min(fitting.output) < 1:
        fitting = replace(fitting, padding="valid")
    return replace(fitting, output_padding=(), output_size=fitting.output) if layer.output_size else fitting


def compute(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.dtype]:
    feeds = {"x": tensors.src, "w": tensors.weights, **({} if tensors.bias is None else {"b": tensors.bias})}
    session = onnxruntime.InferenceSession(_model(layer, feeds).SerializeToString(), _options, ["CPUExecutionProvider"])
    (sums,) = session.run(["y"], feeds)
    return naive.then(layer.then, sums.astype(np.float64)), np.dtype(np.float32)


def _model(layer: Layer, feeds: dict[str, np.ndarray]) -> onnx.ModelProto:
    nodes, constants, source = [], [], "x"
    attributes = {"strides": layer.strides, "dilations": layer.dilations, "group": layer.groups, "kernel_shape": layer.kernel}
    if layer.padding_mode.name != "zeros":
        pads = [0, 0, *(lo for lo, _ in layer.sides), 0, 0, *(hi for _, hi in layer.sides)]
        constants.append(helper.make_tensor("pads", TensorProto.INT64, [len(pads)], pads))
        constants.append(helper.make_tensor("value", TensorProto.FLOAT, [], [layer.padding_mode.value]))
        mode = naive.NUMPY_MODES[layer.padding_mode.name]
        nodes.append(helper.make_node("Pad", ["x", "pads", "value"], ["padded"], mode=mode))
        source = "padded"
    elif layer.padding in AUTO_PAD and layer.dilations == (1,) * layer.rank:
        attributes["auto_pad"] = AUTO_PAD[layer.padding]
    else:
        attributes["pads"] = [*(lo for lo, _ in layer.sides), *(hi for _, hi in layer.sides)]
    if layer.transposed:
        attributes["output_padding"] = layer.output_paddings
    operator = "ConvTranspose" if layer.transposed else "Conv"
    nodes.append(helper.make_node(operator, [source, *list(feeds)[1:]], ["y"], **attributes))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feeds.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, layer.dst_shape)]
    graph = helper.make_graph(nodes, "layer", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
