"""The backend tests that the `onnx` wheel ships as files: those whose model has one operator of convolution, pooling or normalization."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import naive
import onnx_nodes
from case import Case, Check, Outcome
from engine import Convoke
from onnx_nodes import Unsupported

FOLDERS = ("node", "pytorch-converted", "pytorch-operator")
ROOT = Path(onnx.__file__).parent / "backend" / "test" / "data"

WHOLE_WINDOWS = {"node/averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True"}
"""Tests of averages whose data is wrong: it counts what `ceil_mode` lets a window reach past the padding, which ONNX Runtime and PyTorch do
not. It is taken times the taps of a window, over those that count."""

Value = np.ndarray | None


def checks(folder: str) -> Iterator[Check]:
    """A check a data set of each model in the folder that is for this suite."""
    for path in sorted((ROOT / folder).iterdir()):
        model = onnx.load(path / "model.onnx") if (path / "model.onnx").exists() else None
        operators = [node.op_type for node in model.graph.node] if model else []
        if len([o for o in operators if o in onnx_nodes.OPERATORS]) != 1:
            continue
        for data in sorted(path.glob("test_data_set_*")):
            name = f"{folder}/{path.name.removeprefix('test_')}"
            yield partial(_check, name if data.name.endswith("_0") else f"{name}/{data.name[14:]}", model.graph, data)


def _check(name: str, graph: onnx.GraphProto, data: Path, convoke: Convoke) -> Outcome:
    try:
        case = _case(name, graph, data)
    except Unsupported as reason:
        return Outcome(name, "skipped", f"refused by the translator: {reason}")
    return case.check(convoke)


def _case(name: str, graph: onnx.GraphProto, data: Path) -> Case:
    values: dict[str, Value] = {"": None, **{t.name: numpy_helper.to_array(t) for t in graph.initializer}}
    inputs = _read(data, "input")
    names = [i.name for i in graph.input]
    # Older models name their initializers among the inputs, and the data has no files for those.
    values.update(zip(names if len(inputs) == len(names) else [n for n in names if n not in values], inputs))
    expected, *others = _read(data, "output")

    at = next(i for i, node in enumerate(graph.node) if node.op_type not in SHAPES)
    for node in graph.node[:at]:
        values[node.output[0]] = _reshaped(node, values)
    node = graph.node[at]
    outputs = len([output for output in node.output if output])
    translation = onnx_nodes.translate(node.op_type, _attributes(node), [values[i] for i in node.input], outputs)
    if outputs > 1 and not translation.positions:
        raise Unsupported(f"{node.op_type}: a second output, `{onnx.defs.get_schema(node.op_type).outputs[1].name}`")
    layer, tensors = translation.layer, translation.tensors
    # What follows only renames axes.
    expected, oracle = expected.reshape(layer.dst_shape), expected.dtype
    if name in WHOLE_WINDOWS:
        expected = expected * float(np.prod(layer.kernel)) / naive.divisors(layer)

    magnitudes = None
    if translation.bias_magnitude is not None:
        magnitudes = naive.magnitudes(layer, tensors.src, tensors.weights, translation.bias_magnitude)
    if layer.deformable:
        magnitudes = naive.deformed(layer, tensors)[1]
    exact = layer.is_max or layer.takes_indices or layer.keeps_wholes and all(
        a is None or _small_and_whole(a)
        for a in (tensors.src, tensors.weights, tensors.bias, tensors.offset, tensors.mask, None if layer.pooling else expected)
    )
    layer = replace(layer, accuracy="exact") if exact and layer.has_accuracy else layer
    indices = translation.positions(others[0]) if translation.positions else None
    return Case(name, layer, tensors, expected, oracle, magnitudes, exact, indices=indices)


def _read(data: Path, what: str) -> list[np.ndarray]:
    count = len(list(data.glob(f"{what}_*.pb")))
    return [numpy_helper.to_array(onnx.load_tensor(data / f"{what}_{i}.pb")) for i in range(count)]


def _attributes(node: onnx.NodeProto) -> onnx_nodes.Attributes:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _small_and_whole(array: np.ndarray) -> bool:
    return bool(np.all(abs(array) < 1 << 16) and np.all(array == np.rint(array)))


def _reshaped(node: onnx.NodeProto, values: dict[str, Value]) -> np.ndarray:
    attributes = _attributes(node)
    axes = attributes.get("axes", values[node.input[1]] if len(node.input) > 1 else None)
    return SHAPES[node.op_type](values[node.input[0]], tuple(map(int, axes)))


SHAPES: dict[str, Callable[[np.ndarray, tuple[int, ...]], np.ndarray]] = {"Unsqueeze": np.expand_dims, "Squeeze": np.squeeze}
"""Operators that rename axes; they may stand around the one that is tested."""
