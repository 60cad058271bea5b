"""Random nodes of `ConvInteger` and `QLinearConv`, computed by ONNX Runtime and translated as ONNX's tests are: all have to be equal.

Where the weights are `i8`, they are from -64 to 63. ONNX Runtime multiplies such by instructions that add two products in 16 bits with
saturation, where the CPU has no others, and is wrong for larger ones.
"""

from collections.abc import Iterator
from functools import partial
from random import Random

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import onnx_nodes
from case import Case, Check, Outcome
from engine import Convoke

OPSET, IR = 13, 7


def checks(seed: int, numbers: range) -> Iterator[Check]:
    for number in numbers:
        yield partial(_check, seed, number)


def _check(seed: int, number: int, convoke: Convoke) -> Outcome:
    return make(seed, number).check(convoke)


def make(seed: int, number: int) -> Case:
    rng = Random(f"{seed} integers {number}")
    data = np.random.default_rng(rng.getrandbits(64))
    src, weights, attributes = _window(rng, data)
    operator = rng.choice(("ConvInteger", "QLinearConv"))
    if operator == "ConvInteger":
        src = src.astype(np.uint8)
        arrays = {"x": src, "w": weights, "x_zero_point": _point(rng, src.dtype), "w_zero_point": _point(rng, weights.dtype)}
        output = np.int32
    else:
        if weights.dtype == np.uint8:
            src = src.astype(np.uint8)
        output = src.dtype
        # The sums of a few hundred products.
        scale, output_scale = rng.uniform(0.001, 0.1), rng.uniform(0.5, 8)
        size = rng.choice((1, len(weights)))
        scales = data.uniform(0.001, 0.1, size).astype(np.float32).reshape(() if size == 1 else size)
        arrays = {
            "x": src,
            "x_scale": np.array(scale, np.float32),
            "x_zero_point": _point(rng, src.dtype),
            "w": weights,
            "w_scale": scales,
            "w_zero_point": _point(rng, weights.dtype) if weights.dtype == np.uint8 else np.array(0, np.int8),
            "y_scale": np.array(scale * output_scale, np.float32),
            "y_zero_point": _point(rng, np.dtype(output)),
        }
        if rng.random() < 0.6:
            arrays["b"] = data.integers(-20_000, 20_000, len(weights), dtype=np.int32)
    expected = _expected(operator, attributes, arrays, output)
    translation = onnx_nodes.translate(operator, attributes, list(arrays.values()))
    layer, name = translation.layer, f"integers/{number} of seed {seed}"
    return Case(name, layer, translation.tensors, expected, expected.dtype, threads=rng.choice((1, 1, 2)))


def _window(rng: Random, data: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict]:
    """Any input and weights whose window fits, and the attributes."""
    rank = rng.choices((1, 2, 3), (2, 6, 1))[0]
    groups = rng.choice((1, 1, 1, 2, 3))
    ic, oc = rng.choice((1, 2, 3, 4, 5, 8, 16, 17)), rng.choice((1, 2, 3, 5, 8, 16, 33, 40))
    if rng.random() < 0.15:
        groups, ic, oc = rng.choice((4, 7, 16, 24)), 1, rng.choice((1, 1, 2))
    kernel = [rng.choice((1, 1, 2, 3, 3, 5)) for _ in range(rank)]
    strides, dilations = ([rng.choice((1, 1, 1, 2, 3)) for _ in range(rank)] for _ in range(2))
    spatial = [d * (k - 1) + 1 + rng.randrange((30, 12, 6)[rank - 1]) for k, d in zip(kernel, dilations)]
    pads = [rng.randrange(3) for _ in range(2 * rank)]
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": groups, "pads": pads}
    type_ = rng.choice((np.uint8, np.int8))
    src = data.integers(*((0, 256) if type_ == np.uint8 else (-128, 128)), (rng.choice((1, 1, 2)), groups * ic, *spatial), type_)
    unsigned = rng.random() < 0.5
    least, most, type_ = (0, 256, np.uint8) if unsigned else (-64, 64, np.int8)
    return src, data.integers(least, most, (groups * oc, ic, *kernel), type_), attributes


def _point(rng: Random, dtype: np.dtype) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.array(rng.choice((0, rng.randint(info.min, info.max))), dtype)


_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = _options.inter_op_num_threads = 1
_options.log_severity_level = 3


def _expected(operator: str, attributes: dict, arrays: dict[str, np.ndarray], output: type) -> np.ndarray:
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items() if name != "x"]
    src = arrays["x"]
    type_ = helper.np_dtype_to_tensor_dtype(src.dtype)
    inputs = [helper.make_tensor_value_info("x", type_, src.shape)]
    outputs = [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(output)), None)]
    node = helper.make_node(operator, list(arrays), ["y"], **attributes)
    graph = helper.make_graph([node], "layer", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    session = onnxruntime.InferenceSession(model.SerializeToString(), _options, ["CPUExecutionProvider"])
    return session.run(["y"], {"x": src})[0]
