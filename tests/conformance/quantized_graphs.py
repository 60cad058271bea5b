"""Random ONNX graphs as `onnxruntime.quantization.quantize_dynamic` writes them: bytes with a scale that the input has, and sums of whole numbers.

A graph follows from its generator of random numbers alone. Its first output is behind one quantization, of an input, whose levels every
implementation computes alike; the second behind more of them.
"""

from math import sqrt
from random import Random

import numpy as np
from onnx import ModelProto, helper

from graph_builder import Builder

SPREAD = 40
"""Standard deviation of weights that are bytes without a sign."""
SIGNED, MOST = 20, 63
"""Standard deviation, and greatest magnitude, of those with one: with eight bits ONNX Runtime's sums of pairs are cut off at 16 bits where the CPU has no VNNI."""


def make(rng: Random) -> ModelProto:
    build = Builder(rng, rng.choice((11, 13, 17)))
    build.bare.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    outputs = rng.choices((_image, _rows, _signal), (5, 2, 2))[0](build)
    return build.model(outputs, rng.getrandbits(32))


def _image(build: Builder) -> list[str]:
    rng = build.rng
    x = build.input(1, rng.choice((1, 3, 8, 16)), rng.randint(6, 20), rng.randint(6, 20))
    first = _convolution(build, x, is_first=True)
    x = first
    for _ in range(rng.randint(1, 3)):
        x = build.add(*rng.choice((("Relu", x), ("Sigmoid", x), ("Tanh", x), ("Mul", x, build.add("Sigmoid", x)))))
        x = _convolution(build, x)
    if rng.random() < 0.5:
        x = build.add("Flatten", build.add("GlobalAveragePool", x), axis=1)
        x = _product(build, x)
    return [first, x]


def _rows(build: Builder) -> list[str]:
    x = build.input(build.rng.choice((1, 4, 7)), build.rng.randint(3, 40))
    first = _product(build, x, is_first=True)
    return [first, _product(build, build.add("Relu", first))]


def _signal(build: Builder) -> list[str]:
    rng = build.rng
    x = build.input(rng.randint(2, 12), 1, rng.randint(2, 16))
    hidden, direction = rng.randint(2, 12), rng.choice(("forward", "reverse", "bidirectional"))
    ways = 2 if direction == "bidirectional" else 1
    each = rng.random() < 0.5
    operands = []
    for columns in (build.shape(x)[2], hidden):
        weights = rng_of(rng).normal(0, SIGNED, (ways, columns, 4 * hidden)).round().clip(-MOST, MOST).astype(np.int8)
        shape = (ways, 4 * hidden) if each else (ways,)
        scale = rng_of(rng).uniform(0.5, 1.5, shape) / (SIGNED * sqrt(columns))
        operands.append((weights, scale.astype(np.float32), np.zeros(shape, np.int8)))
    (w, *w_numbers), (r, *r_numbers) = operands
    bias = build.weights(ways, 8 * hidden) if rng.random() < 0.7 else ""
    more = [_kept(build, array) for array in (*w_numbers, *r_numbers)]
    inputs = [x, build.constant(w), build.constant(r), bias, "", "", "", "", *more]
    lstm = build.add("DynamicQuantizeLSTM", *inputs, hidden_size=hidden, direction=direction, domain="com.microsoft")
    flat = build.add("Reshape", build.add("Transpose", lstm, perm=[0, 2, 1, 3]), build.sizes(-1, ways * hidden))
    return [_product(build, build.add("Reshape", x, build.sizes(-1, build.shape(x)[2])), is_first=True), _product(build, flat)]


def _convolution(build: Builder, x: str, is_first: bool = False) -> str:
    rng, (_, channels, *spatial) = build.rng, build.shape(x)
    groups = rng.choice([1, 1, 1, *(g for g in (2, channels) if channels % g == 0)])
    made, side = groups * rng.randint(1, max(1, 24 // groups)), rng.choice((1, 3))
    weights, numbers = _weights(rng, (made, channels // groups, side, side), channels // groups * side * side, (made, 1, 1))
    bias = rng_of(rng).normal(0, 0.3, made).astype(np.float32) if rng.random() < 0.6 else None
    attributes = {"group": groups, "pads": [side // 2] * 4, "strides": [rng.choice((1, 1, 2)) for _ in spatial]}
    return _dequantized(build, "ConvInteger", x, weights, numbers, bias, (1, made, 1, 1), attributes, is_first)


def _product(build: Builder, x: str, is_first: bool = False) -> str:
    rng, (*_, rows) = build.rng, build.shape(x)
    columns = rng.randint(1, 20)
    weights, numbers = _weights(rng, (rows, columns), rows, (columns,))
    bias = rng_of(rng).normal(0, 0.3, columns).astype(np.float32) if rng.random() < 0.6 else None
    return _dequantized(build, "MatMulInteger", x, weights, numbers, bias, (columns,), {}, is_first)


def _weights(rng: Random, shape: tuple[int, ...], terms: int, each: tuple[int, ...]) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Weights, and their scale and zero point: one for all, or a scale for each channel."""
    one = rng.random() < 0.6
    is_signed = not one or rng.random() < 0.3
    spread = SIGNED if is_signed else SPREAD
    scale = np.float32(rng_of(rng).uniform(0.5, 1.5, () if one else each) / (spread * sqrt(terms)))
    normal = rng_of(rng).normal(0, spread, shape).round()
    if is_signed:
        return normal.clip(-MOST, MOST).astype(np.int8), (scale, np.int8(0))
    zero = rng.randint(90, 160)
    return (normal + zero).clip(0, 255).astype(np.uint8), (scale, np.uint8(zero))


def _dequantized(
    build: Builder,
    operator: str,
    x: str,
    weights: np.ndarray,
    numbers: tuple[np.ndarray, np.ndarray],
    bias: np.ndarray | None,
    shape: tuple[int, ...],
    attributes: dict[str, object],
    is_first: bool,
) -> str:
    """The bias is added to whole numbers, rounded to one, as older versions have it but not in the first, or in the end."""
    levels, scale, zero = build.add_many(3, "DynamicQuantizeLinear", x)
    weight_scale = _kept(build, numbers[0])
    sums = build.add(operator, levels, build.constant(weights), zero, build.constant(np.asarray(numbers[1])), **attributes)
    is_old = bias is not None and not is_first and numbers[0].ndim == 0 and build.rng.random() < 0.5
    if is_old:
        over = build.add("Div", _kept(build, bias), build.add("Mul", scale, weight_scale))
        whole = build.add("Cast", build.add("Floor", over), to=6)
        sums = build.add("Add", sums, build.add("Reshape", whole, build.sizes(*(size if size > 1 else 1 for size in shape))))
    y = build.add("Mul", build.add("Cast", sums, to=1), build.add("Mul", scale, weight_scale))
    return y if bias is None or is_old else build.add("Add", y, _kept(build, bias.reshape(shape)))


def _kept(build: Builder, array: np.ndarray) -> str:
    """A constant whose values matter."""
    name = build.constant(np.asarray(array))
    build.fixed.add(name)
    return name


def rng_of(rng: Random) -> np.random.Generator:
    return np.random.default_rng(rng.getrandbits(32))
