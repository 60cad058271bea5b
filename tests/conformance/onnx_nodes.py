"""How ONNX maps to Convoke's language: one node, with its attributes and the arrays that it reads, becomes a layer and its tensors.

`OPERATORS` is the table: an operator has a function and the attributes that it understands. Whatever else a node has is refused by name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine import Tensors
from language import Deformable, Integers, Layer, Padding, Pooling

Attributes = dict[str, Any]
Arrays = Sequence[np.ndarray | None]


class Unsupported(Exception):
    """Something that the language cannot say; the text names it."""


@dataclass
class Translation:
    layer: Layer
    tensors: Tensors
    bias_magnitude: np.ndarray | None = None
    """What the bias was computed from, in absolute values, if it is not given."""
    positions: Callable[[np.ndarray], np.ndarray] | None = None
    """Of ONNX's second output, positions in planes."""


def translate(operator: str, attributes: Attributes, arrays: Arrays, outputs: int = 1) -> Translation:
    """The layer of a node with so many outputs. An input that is left out is None, or not there at the end."""
    if operator not in OPERATORS:
        raise Unsupported(f"{operator}: not an operator of convolution or pooling")
    function, known = OPERATORS[operator]
    if operator == "Col2Im":
        # The others are sizes.
        arrays = [arrays[0], *(tuple(map(int, sizes)) for sizes in arrays[1:3])]
    types = DTYPES | {"ConvInteger": INTEGERS, "QLinearConv": INTEGERS, "MaxPool": BYTES, "MaxUnpool": PLACES}.get(operator, {})
    for name in attributes:
        if name not in known:
            raise Unsupported(f"{operator}: the attribute `{name}` is not understood")
    for array in arrays:
        if isinstance(array, np.ndarray) and array.dtype not in types:
            raise Unsupported(f"{operator}: elements of type {array.dtype}, the language has {', '.join(types.values())}")
    translation = function(attributes, [*arrays, *[None] * 8])
    return with_indices(translation, attributes) if outputs > 1 and operator == "MaxPool" else translation


DTYPES = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
BYTES = {np.dtype(np.uint8): "u8", np.dtype(np.int8): "i8"}
INTEGERS = BYTES | {np.dtype(np.int32): "i32"}
PLACES = {np.dtype(np.int64): "i64"}
"""Of indices, beside numbers."""


def conv(attributes: Attributes, arrays: Arrays) -> Translation:
    """`X [n, c, …]`, `W [m, c / group, …]`, `B [m]`: the orders of PyTorch, and the language's default."""
    src, weights, bias = arrays[0], arrays[1], arrays[2]
    layer = Layer(
        **_input(src),
        **_window(attributes, weights),
        out_channels=weights.shape[0],
        padding=_padding(attributes, weights.ndim - 2),
        bias=bias is not None,
    )
    return Translation(layer, Tensors(src, weights, bias))


def deform_conv(attributes: Attributes, arrays: Arrays) -> Translation:
    """`X`, `W`, `offset`, `B` and `mask`, with channels of the last in the language's order."""
    src, weights, offset, bias, mask = arrays[:5]
    layer = Layer(
        **_input(src),
        **_window(attributes, weights),
        out_channels=weights.shape[0],
        padding=_padding(attributes, weights.ndim - 2),
        bias=bias is not None,
        deformable=Deformable(attributes.get("offset_group", 1), mask is not None),
    )
    if layer.rank != 2:
        raise Unsupported(f"DeformConv: {layer.rank} spatial axes, the language has those of 2")
    if src.dtype != np.float32:
        raise Unsupported(f"DeformConv: elements of type {src.dtype}, the language has those of f32")
    return Translation(layer, Tensors(src, weights, bias, offset=offset, mask=mask))


def conv_integer(attributes: Attributes, arrays: Arrays) -> Translation:
    """`x`, `w`, and what stands for 0 in each: the output is the sums."""
    src, weights, zero_point, weights_zero_point = arrays[:4]
    point, points = _per_channel(weights_zero_point, 0, int)
    integers = Integers(INTEGERS[weights.dtype], _one(zero_point, 0, int), point)
    return Translation(_integers(attributes, src, weights, integers), Tensors(src, weights, None, points))


def qlinear_conv(attributes: Attributes, arrays: Arrays) -> Translation:
    """`x`, `w` and `y`, the first and the last with a scale and a zero point for all, `w` perhaps with those of each output channel."""
    src, scale, zero_point, weights, weights_scale, weights_zero_point, output_scale, output_zero_point, bias = arrays[:9]
    point, points = _per_channel(weights_zero_point, 0, int)
    factor, factors = _per_channel(weights_scale, 1, float)
    integers = Integers(
        INTEGERS[weights.dtype],
        _one(zero_point, 0, int),
        point,
        "u8" if output_zero_point is None else INTEGERS[output_zero_point.dtype],
        _one(scale, 1, float),
        factor,
        _one(output_scale, 1, float),
        _one(output_zero_point, 0, int),
    )
    layer = replace(_integers(attributes, src, weights, integers), bias=bias is not None)
    return Translation(layer, Tensors(src, weights, bias, points, factors))


def _integers(attributes: Attributes, src: np.ndarray, weights: np.ndarray, integers: Integers) -> Layer:
    padding = _padding(attributes, weights.ndim - 2)
    dtype = {"dtype": INTEGERS[src.dtype]}
    return Layer(
        **_input(src) | dtype, **_window(attributes, weights), out_channels=weights.shape[0], padding=padding, integers=integers
    )


def _one(array: np.ndarray | None, default: float, kind: type) -> Any:
    return kind(default) if array is None else kind(array.reshape(()))


def _per_channel(array: np.ndarray | None, default: float, kind: type) -> tuple[Any, np.ndarray | None]:
    """One number, or none and one an output channel."""
    if array is None or array.size == 1:
        return _one(array, default, kind), None
    return None, array


def conv_transpose(attributes: Attributes, arrays: Arrays) -> Translation:
    """`W [c, m / group, …]`. `output_shape` and `auto_pad` make the padding, where PyTorch takes the padding as given."""
    src, weights, bias = arrays[0], arrays[1], arrays[2]
    window = _window(attributes, weights)
    plain = Layer(
        **_input(src),
        **window,
        out_channels=weights.shape[1] * window["groups"],
        transposed=True,
        output_padding=tuple(attributes.get("output_padding", ())),
        bias=bias is not None,
    )
    auto, shape = _auto_pad(attributes), tuple(attributes.get("output_shape", ()))
    if auto in ("SAME_UPPER", "SAME_LOWER") and not shape:
        shape = tuple(size * stride for size, stride in zip(plain.spatial, plain.strides))
    if not shape:
        layer = {"padding": _padding(attributes, plain.rank)}
    else:
        # With images and channels in front in some models.
        layer = _padding_of_output(plain, shape[-plain.rank :], auto)
    return Translation(replace(plain, **layer), Tensors(src, weights, bias))


def _padding_of_output(layer: Layer, shape: tuple[int, ...], auto: str) -> dict[str, Any]:
    """The fields that make the output of an unpadded transposed layer as large as `shape`."""
    totals = [size - wanted for size, wanted in zip(layer.output, shape)]
    if any(total < 0 for total in totals):
        if any(total > 0 for total in totals):
            raise Unsupported(f"ConvTranspose: output_shape {list(shape)} pads some axes and cuts others of {list(layer.output)}")
        return {"output_padding": (), "output_size": shape}
    lower = [total // 2 if auto == "SAME_UPPER" else total - total // 2 for total in totals]
    return {"padding": tuple((lo, total - lo) for lo, total in zip(lower, totals))}


def max_pool(attributes: Attributes, arrays: Arrays) -> Translation:
    return _pool(attributes, arrays[0], Pooling("max"))


def with_indices(translation: Translation, attributes: Attributes) -> Translation:
    """The second output counts from the first element of the tensor on, or within planes column by column."""
    layer = translation.layer
    order = "F" if attributes.get("storage_order", 0) else "C"

    def positions(indices: np.ndarray) -> np.ndarray:
        axes = np.unravel_index(_in_planes(indices, layer.spatial), layer.spatial, order)
        return np.ravel_multi_index(axes, layer.spatial)

    pooling = replace(layer.pooling, return_indices=True)
    return replace(translation, layer=replace(layer, pooling=pooling), positions=positions)


def _in_planes(indices: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Without where the planes are, of which there is one for each image and channel."""
    batch, channels, *spatial = indices.shape
    planes = np.arange(batch * channels).reshape(batch, channels, *[1] * len(spatial))
    return indices - planes * int(np.prod(sizes))


def max_unpool(attributes: Attributes, arrays: Arrays) -> Translation:
    """`strides` is 1 where it is not given. Indices are of the output as it is without `output_shape`."""
    src, indices, shape = arrays[:3]
    kernel, rank = tuple(attributes["kernel_shape"]), src.ndim - 2
    strides = tuple(attributes.get("strides", (1,) * rank))
    plain = Layer.pool(Pooling("unpool"), **_input(src), kernel=kernel, stride=strides, padding=_padding(attributes, rank))
    layer = plain if shape is None else replace(plain, output_size=tuple(map(int, shape[-rank:])))
    axes = np.unravel_index(_in_planes(indices, plain.unpooled), plain.unpooled)
    return Translation(layer, Tensors(src, indices=np.ravel_multi_index(axes, layer.output)))


def average_pool(attributes: Attributes, arrays: Arrays) -> Translation:
    return _pool(attributes, arrays[0], Pooling("avg", count_include_pad=bool(attributes.get("count_include_pad", 0))))


def lp_pool(attributes: Attributes, arrays: Arrays) -> Translation:
    return _pool(attributes, arrays[0], Pooling("lp", p=attributes.get("p", 2)))


def global_lp_pool(attributes: Attributes, arrays: Arrays) -> Translation:
    return _global_pool(arrays[0], Pooling("lp", p=attributes.get("p", 2), whole=True))


def global_max_pool(_: Attributes, arrays: Arrays) -> Translation:
    return _global_pool(arrays[0], Pooling("max", whole=True))


def global_average_pool(_: Attributes, arrays: Arrays) -> Translation:
    return _global_pool(arrays[0], Pooling("avg", whole=True))


def _pool(attributes: Attributes, src: np.ndarray, pooling: Pooling) -> Translation:
    """`strides` is 1 where it is not given. With `auto_pad`, `ceil_mode` changes nothing: its formulas round up to the same sizes."""
    kernel, rank = tuple(attributes["kernel_shape"]), src.ndim - 2
    ceil_mode = bool(attributes.get("ceil_mode", 0)) and _auto_pad(attributes) == "NOTSET"
    layer = Layer.pool(
        replace(pooling, ceil_mode=ceil_mode),
        **_input(src),
        kernel=kernel,
        stride=tuple(attributes.get("strides", (1,) * rank)),
        dilation=tuple(attributes.get("dilations", ())),
        padding=_padding(attributes, rank),
    )
    if not layer.every_window_has_an_element:
        raise Unsupported(f"padding {list(layer.sides)} that leaves a window of {list(kernel)} taps without an element")
    return Translation(layer, Tensors(src))


def _global_pool(src: np.ndarray, pooling: Pooling) -> Translation:
    fields = _input(src)
    return Translation(Layer.pool(pooling, **fields, kernel=fields["spatial"]), Tensors(src))


def col_to_im(attributes: Attributes, arrays: Sequence[Any]) -> Translation:
    """Every column is added to the image where its block is: a transposed layer with a group a channel, whose inputs each have one tap."""
    columns, image, block = arrays[:3]
    rank, taps = len(image), int(np.prod(block))
    pads, one = attributes.get("pads", [0] * 2 * rank), (1,) * rank
    padding = tuple(zip(pads[:rank], pads[rank:]))
    stride, dilation = (tuple(attributes.get(name, one)) for name in ("strides", "dilations"))
    channels = columns.shape[1] // taps
    extents = [d * (k - 1) + 1 for k, d in zip(block, dilation)]
    axes = zip(image, padding, extents, stride)
    blocks = tuple((size + lo + hi - extent) // step + 1 for size, (lo, hi), extent, step in axes)
    layer = Layer(
        **_input(columns.reshape(columns.shape[0], columns.shape[1], *blocks)),
        out_channels=channels,
        kernel=block,
        transposed=True,
        stride=stride,
        dilation=dilation,
        padding=padding,
        output_size=image,
        groups=channels,
    )
    weights = np.tile(np.eye(taps, dtype=columns.dtype), (channels, 1)).reshape(channels * taps, 1, *block)
    return Translation(layer, Tensors(columns.reshape(layer.src_shape), weights))


def batch_normalization(attributes: Attributes, arrays: Arrays) -> Translation:
    """`(x - mean) / sqrt(var + epsilon) * scale + b` for each channel: a depthwise layer with a window of one tap and a bias."""
    if attributes.get("training_mode", 0) or not attributes.get("is_test", 1):
        raise Unsupported("BatchNormalization: training_mode, the language is for inference")
    src, *parameters = arrays[:5]
    scale, shift, mean, variance = (p.astype(np.float64) for p in parameters)
    factor = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    rank = src.ndim - 2
    if rank < 1:
        raise Unsupported("BatchNormalization: an input without spatial axes")
    channels = src.shape[1]
    layer = Layer(**_input(src), out_channels=channels, kernel=(1,) * rank, groups=channels, bias=True)
    weights = factor.astype(src.dtype).reshape(channels, 1, *[1] * rank)
    bias = (shift - mean * factor).astype(src.dtype)
    return Translation(layer, Tensors(src, weights, bias), abs(shift) + abs(mean * factor))


def _input(src: np.ndarray) -> dict[str, Any]:
    batch, channels, *spatial = src.shape
    if not 1 <= len(spatial) <= 3:
        raise Unsupported(f"{len(spatial)} spatial axes, the language has 1 to 3")
    return {"batch": batch, "channels": channels, "spatial": tuple(spatial), "dtype": (DTYPES | BYTES).get(src.dtype, "f32")}


def _window(attributes: Attributes, weights: np.ndarray) -> dict[str, Any]:
    kernel = weights.shape[2:]
    if tuple(attributes.get("kernel_shape", kernel)) != tuple(kernel):
        raise Unsupported(f"kernel_shape {attributes['kernel_shape']} with weights {list(weights.shape)}")
    return {
        "kernel": kernel,
        "stride": tuple(attributes.get("strides", ())),
        "dilation": tuple(attributes.get("dilations", ())),
        "groups": attributes.get("group", 1),
    }


def _auto_pad(attributes: Attributes) -> str:
    auto = attributes.get("auto_pad", b"NOTSET")
    return auto.decode() if isinstance(auto, bytes) else auto


def _padding(attributes: Attributes, rank: int) -> Padding:
    """`auto_pad` as a word, or `pads`, which are all the befores and then all the afters."""
    auto = _auto_pad(attributes)
    words = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
    if auto in words:
        return words[auto]
    if auto != "NOTSET":
        raise Unsupported(f"auto_pad {auto}")
    pads = attributes.get("pads", [0] * 2 * rank)
    return tuple(zip(pads[:rank], pads[rank:]))


_CONV = frozenset("auto_pad dilations group kernel_shape pads strides".split())
_POOL = frozenset("auto_pad ceil_mode dilations kernel_shape pads strides".split())

OPERATORS: dict[str, tuple[Callable[[Attributes, Arrays], Translation], frozenset[str]]] = {
    "Conv": (conv, _CONV),
    "ConvInteger": (conv_integer, _CONV),
    "QLinearConv": (qlinear_conv, _CONV),
    "DeformConv": (deform_conv, _CONV - {"auto_pad"} | {"offset_group"}),
    "ConvTranspose": (conv_transpose, _CONV | {"output_padding", "output_shape"}),
    "Col2Im": (col_to_im, frozenset("dilations pads strides".split())),
    "MaxPool": (max_pool, _POOL | {"storage_order"}),
    "MaxUnpool": (max_unpool, frozenset("kernel_shape pads strides".split())),
    "AveragePool": (average_pool, _POOL | {"count_include_pad"}),
    "LpPool": (lp_pool, _POOL | {"p"}),
    "GlobalLpPool": (global_lp_pool, frozenset({"p"})),
    "GlobalMaxPool": (global_max_pool, frozenset()),
    "GlobalAveragePool": (global_average_pool, frozenset()),
    # `is_test`, `spatial` and `momentum` are those of older versions and of training.
    "BatchNormalization": (batch_normalization, frozenset("epsilon is_test momentum training_mode".split())),
}
