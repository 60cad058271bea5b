"""A convolution or pooling in numpy, in f64: how large the terms of each sum are, which is what rounding errors are measured by.

It sums over the taps of the window, one after the other. The oracles are the libraries; this only says how far they and Convoke may be
apart, and the unit tests hold it to them.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from engine import Tensors
from language import HALVES, Layer, PaddingMode, Step, shared_out

NUMPY_MODES = {"zeros": "constant", "constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def sums(layer: Layer, src: np.ndarray, weights: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    """The output before `then`. Pooling has neither weights nor bias."""
    if layer.pooling:
        return _pooled(layer, src.astype(np.float64))
    src, weights = src.astype(layer.double), weights.astype(layer.double)
    groups, (batch, channels, *_) = layer.groups, src.shape
    dst = (_transposed if layer.transposed else _windows)(
        layer, src.reshape(batch, groups, channels // groups, *layer.spatial), weights.reshape(groups, -1, *weights.shape[1:])
    )
    dst = dst.reshape(layer.dst_shape)
    return dst if bias is None else dst + bias.astype(layer.double).reshape(-1, *[1] * layer.rank)


def deformed(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.ndarray]:
    """The output of a deformable layer before `then`, and the magnitudes of its terms, where that of what a tap sees is that of the four
    elements around it, whose weights are rounded."""
    (batch, channels), (oh, ow), taps = tensors.src.shape[:2], layer.output, list(product(*map(range, layer.kernel)))
    sets = layer.deformable.offset_groups
    offset = tensors.offset.reshape(batch, sets, len(taps), 2, oh, ow)
    mask = np.ones((batch, sets, len(taps), oh, ow)) if tensors.mask is None else tensors.mask.reshape(batch, sets, len(taps), oh, ow)
    # With a row and a column of zeros around the image.
    image = np.pad(tensors.src.astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)])
    weights = tensors.weights.astype(np.float64).reshape(layer.groups, -1, *tensors.weights.shape[1:])
    sums, magnitudes = np.zeros((2, batch, layer.groups, weights.shape[1], oh, ow))
    for number, tap in enumerate(taps):
        seen, around = np.zeros((2, batch, channels, oh, ow))
        for n, c in product(range(batch), range(channels)):
            at = n, c * sets // channels, number
            plain = [np.arange(size) * s + t * d - lo for size, s, t, d, (lo, _) in
                     zip((oh, ow), layer.strides, tap, layer.dilations, layer.sides)]
            # A position is a number of the layer's type.
            y = (plain[0][:, None] + offset[*at, 0]).astype(layer.numpy).astype(np.float64)
            x = (plain[1][None, :] + offset[*at, 1]).astype(layer.numpy).astype(np.float64)
            for dy, dx in product((0, 1), repeat=2):
                row, column = np.floor(y) + dy, np.floor(x) + dx
                element = image[n, c][
                    np.clip(row, -1, layer.spatial[0]).astype(int) + 1, np.clip(column, -1, layer.spatial[1]).astype(int) + 1
                ]
                seen[n, c] += (1 - abs(y - row)) * (1 - abs(x - column)) * element
                around[n, c] += abs(element)
            seen[n, c] *= mask[at]
            around[n, c] *= abs(mask[at])
        by_group = batch, layer.groups, channels // layer.groups, oh, ow
        sums += np.einsum("ngi...,goi->ngo...", seen.reshape(by_group), weights[..., *tap])
        magnitudes += np.einsum("ngi...,goi->ngo...", around.reshape(by_group), abs(weights[..., *tap]))
    sums, magnitudes = sums.reshape(layer.dst_shape), magnitudes.reshape(layer.dst_shape)
    if tensors.bias is None:
        return sums, magnitudes
    bias = tensors.bias.astype(np.float64).reshape(-1, 1, 1)
    return sums + bias, magnitudes + abs(bias)


def _windows(layer: Layer, src: np.ndarray, weights: np.ndarray) -> np.ndarray:
    src = pad(src, layer.sides, layer.padding_mode)
    dst = np.zeros((*src.shape[:2], weights.shape[1], *layer.output), src.dtype)
    for tap, seen in _taps(layer, src):
        dst += np.einsum("ngi...,goi->ngo...", seen, weights[..., *tap])
    return dst


def _taps(layer: Layer, padded: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Each tap of the window, and what every output sees through it."""
    for tap in product(*map(range, layer.kernel)):
        axes = zip(tap, layer.strides, layer.dilations, layer.output)
        yield tap, padded[..., *(slice(t * d, t * d + (size - 1) * s + 1, s) for t, s, d, size in axes)]


def _pooled(layer: Layer, src: np.ndarray) -> np.ndarray:
    """The greatest element of each window, which is NaN if one is; the norm; or the sum over what it is divided by."""
    if layer.pooling.output:
        return _shared_out(layer, src)
    if layer.is_norm:
        src = abs(src) ** layer.pooling.p
    sides = tuple((lo, hi + beyond) for (lo, hi), beyond in zip(layer.sides, layer.beyond))
    least = -math.inf if layer.is_max else 0.0
    dst = np.full(layer.dst_shape, least)
    with np.errstate(invalid="ignore"):
        for _, seen in _taps(layer, pad(src, sides, PaddingMode("constant", least))):
            dst = np.maximum(dst, seen) if layer.is_max else dst + seen
    if layer.is_norm:
        return dst ** (1 / layer.pooling.p)
    return dst if layer.is_max else dst / divisors(layer)


def _shared_out(layer: Layer, src: np.ndarray) -> np.ndarray:
    dst = np.zeros(layer.dst_shape)
    axes = [list(enumerate(shared_out(size, count))) for size, count in zip(layer.spatial, layer.output)]
    over = tuple(range(2, 2 + layer.rank))
    with np.errstate(invalid="ignore"):
        for windows in product(*axes):
            seen = src[:, :, *(slice(window.start, window.stop) for _, window in windows)]
            dst[:, :, *(at for at, _ in windows)] = seen.max(over) if layer.is_max else seen.mean(over)
    return dst


def divisors(layer: Layer) -> np.ndarray | int:
    """What average pooling divides the sum of each window by."""
    pooling = layer.pooling
    if pooling.divisor:
        return pooling.divisor
    counted = pad(np.ones(layer.spatial), layer.sides, PaddingMode("constant", float(pooling.count_include_pad)))
    counted = pad(counted, tuple((0, beyond) for beyond in layer.beyond), PaddingMode())
    return sum(seen for _, seen in _taps(layer, counted))


def _transposed(layer: Layer, src: np.ndarray, weights: np.ndarray) -> np.ndarray:
    spans = [(size - 1) * s for size, s in zip(layer.spatial, layer.strides)]
    axes = zip(spans, layer.extents, layer.output_paddings)
    dst = np.zeros((*src.shape[:2], weights.shape[2], *(span + extent + more for span, extent, more in axes)), src.dtype)
    for tap in product(*map(range, layer.kernel)):
        axes = zip(tap, layer.strides, layer.dilations, spans)
        hit = tuple(slice(t * d, t * d + span + 1, s) for t, s, d, span in axes)
        dst[..., *hit] += np.einsum("ngi...,gio->ngo...", src, weights[..., *tap])
    return dst[..., *(slice(lo, lo + size) for (lo, _), size in zip(layer.sides, layer.output))]


def pad(src: np.ndarray, sides: tuple[tuple[int, int], ...], mode: PaddingMode) -> np.ndarray:
    """The last axes, one for each of `sides`, with their padding."""
    width = [(0, 0)] * (src.ndim - len(sides)) + list(sides)
    more = {"constant_values": mode.value} if mode.name == "constant" else {}
    return np.pad(src, width, NUMPY_MODES[mode.name], **more)


def magnitudes(layer: Layer, src: np.ndarray, weights: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    """The sums of the terms' absolute values; of the greatest elements and of norms, these."""
    if layer.pooling:
        return abs(_pooled(layer, (src if layer.is_max else abs(src)).astype(np.float64)))
    mode = PaddingMode(layer.padding_mode.name, abs(layer.padding_mode.value))
    real = replace(layer, padding_mode=mode, dtype="f64" if layer.is_complex else layer.dtype)
    return sums(real, abs(src), abs(weights), None if bias is None else abs(bias))


def _elu(x: np.ndarray, alpha: float = 1.0, divisor: float = 1.0) -> np.ndarray:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0) / divisor), x)


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - np.max(x, axis=1, keepdims=True))
    return powers / np.sum(powers, axis=1, keepdims=True)


_erf = np.vectorize(math.erf, otypes=[np.float64])

STEPS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x, slope=0.01: np.where(x < 0, slope * x, x),
    "clamp": lambda x, lo, hi: np.clip(x, lo, hi),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "elu": _elu,
    "selu": lambda x: 1.0507009873554805 * _elu(x, 1.6732632423543773),
    "celu": lambda x, alpha=1.0: _elu(x, alpha, alpha),
    "softplus": lambda x: np.where(x > 20, x, np.logaddexp(x, 0)),
    "softsign": lambda x: x / (1 + abs(x)),
    "log_sigmoid": lambda x: -np.logaddexp(-x, 0),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "abs": np.abs,
    "neg": np.negative,
    "add": np.add,
    "mul": np.multiply,
    "softmax": _softmax,
}
"""Each step of `then`."""

LIPSCHITZ = {"sigmoid": 0.25, "silu": 1.1, "hardswish": 1.5, "gelu": 1.13, "gelu_tanh": 1.13, "selu": 1.76, "mish": 1.09}
"""How much a step may stretch an error, where that is not 1 and does not follow from its argument."""


def stretch(step: Step) -> float | np.ndarray:
    if step.name in ("leaky_relu", "elu") and step.args:
        return np.maximum(1.0, abs(step.args[0]))
    return abs(step.args[0]) if step.name == "mul" else LIPSCHITZ.get(step.name, 1.0)


def then(steps: Iterable[Step], x: np.ndarray) -> np.ndarray:
    """Of `Layer.steps`."""
    with np.errstate(over="ignore", invalid="ignore"):
        for step in steps:
            x = STEPS[step.name](x, *step.args)
    return x


def _softmax_error(layer: Layer, error: np.ndarray, size: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Of both libraries: a power is off by the factor `exp` of what its argument is off by, and so is the sum of the channels' powers."""
    unit = np.finfo(layer.numpy).eps / 2
    off = np.max(2 * error + 4 * unit * size, axis=1, keepdims=True, initial=0.0)
    with np.errstate(over="ignore"):
        factor = np.expm1(2 * off + 2 * unit * (layer.out_channels + 40))
    return expected * factor + 4 * np.exp(np.log(np.finfo(layer.numpy).smallest_normal) + 1)


def gamma(terms: int, dtype: np.dtype) -> float:
    """What a sum of so many rounded products may be off by, over the sum of their magnitudes (Higham, section 3.1)."""
    unit = np.finfo(dtype).eps / 2
    return terms * unit / (1 - terms * unit)


DEFAULT_ACCURACY = 4
"""The `accuracy` of a layer that has none: how many times the error of a direct sum an algorithm may have."""


def bound(
    layer: Layer, steps: Iterable[Step], expected: np.ndarray, magnitudes: np.ndarray, oracle: np.dtype
) -> np.ndarray:
    """How far Convoke's output may be from that of a library that sums in `oracle`'s type.

    `gamma(roundings)` times the sum of magnitudes for each of the two. Unless the layer is `exact`, Convoke may use an algorithm whose
    outputs share their rounding errors with others nearby, so its part counts `DEFAULT_ACCURACY` times, of the largest such sum.
    Each step of `then` stretches the error, and adds a few roundings of its own, of its result and of its input.
    """
    unit = np.finfo(layer.numpy).eps / 2
    own = magnitudes
    if layer.has_accuracy and layer.accuracy != "exact":
        own = DEFAULT_ACCURACY * np.max(magnitudes, initial=0.0)
    error = gamma(layer.roundings, layer.numpy) * own + gamma(layer.roundings, oracle) * magnitudes
    size = magnitudes
    for step in steps:
        if step.name == "softmax":
            error, size = _softmax_error(layer, error, size, expected), np.ones_like(size)
            continue
        error = stretch(step) * error + 8 * unit * (size + error) + 32 * unit * abs(expected)
        # How large a step's result may be, roughly: that of its input, 1 of a sigmoid, or a bound of `clamp`.
        size = np.maximum(1.0, stretch(step)) * size + max([1.0, *(np.max(abs(arg), initial=0.0) for arg in step.args)])
    error = error + unit * abs(expected) + np.finfo(layer.numpy).smallest_normal
    if layer.is_half:
        share, least = HALVES[layer.dtype]
        error = error + np.maximum(share * (abs(expected) + error), least)
    return error
