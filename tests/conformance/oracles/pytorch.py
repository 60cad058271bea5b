"""PyTorch, in f64."""

import warnings
from dataclasses import replace
from functools import partial
from random import Random

import numpy as np
import torch
import torch.nn.functional as F

from engine import Tensors
from language import Layer
from random_layers import Abilities

NAME = "torch"
ABILITIES = Abilities(complex=True, indices=True)

torch.set_num_threads(1)
warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")



def _leaky_relu(x: torch.Tensor, slope: float | torch.Tensor = 0.01) -> torch.Tensor:
    return F.prelu(x, slope.flatten()) if isinstance(slope, torch.Tensor) else F.leaky_relu(x, slope)


STEPS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": _leaky_relu,
    "clamp": torch.clamp,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "log_sigmoid": F.logsigmoid,
    "hard_sigmoid": F.hardsigmoid,
    "mish": F.mish,
    "softmax": lambda x: F.softmax(x, dim=1),
    "abs": torch.abs,
    "neg": torch.neg,
    "add": torch.add,
    "mul": torch.mul,
}
MODES = {"zeros": "constant"}
"""Names of `F.pad` where they are not the language's."""


def fit(_: Random, layer: Layer) -> Layer:
    """Its pooling has equal padding on both sides, half a window at most, and averages and norms without dilation. What it cannot say otherwise is
    padded before, but where sizes are rounded up, padding and input are not the same."""
    if not layer.pooling:
        return layer
    if layer.pooling.output or layer.takes_indices:
        return layer
    if not layer.is_max:
        layer = replace(layer, dilation=())
    if layer.pooling.ceil_mode and not layer.is_norm:
        halves = (min(lo, extent // 2) for (lo, _), extent in zip(layer.sides, layer.extents))
        layer = replace(layer, padding=tuple((half, half) for half in halves))
    # Around an input that is padded before, positions are others.
    own = layer.return_indices and _has_own_padding(layer)
    return replace(layer, pooling=replace(layer.pooling, return_indices=own))


def _has_own_padding(layer: Layer) -> bool:
    axes = zip(layer.sides, layer.kernel, layer.spatial)
    return all(lo == hi <= kernel // 2 and kernel <= size for (lo, hi), kernel, size in axes)


def compute(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.dtype]:
    arrays = (tensors.src, tensors.weights, tensors.bias)
    src, weights, bias = (None if a is None else torch.from_numpy(a.astype(layer.double)) for a in arrays)
    if layer.takes_indices:
        return _unpool(layer, src, torch.from_numpy(tensors.indices)).numpy(), np.dtype(np.float64)
    dst = _pool(layer, src) if layer.pooling else _convolve(layer, src, weights, bias)
    return _then(layer, tensors, dst).numpy(), np.dtype(np.float64)


def indices(layer: Layer, tensors: Tensors) -> np.ndarray:
    """Where the maxima are."""
    src = torch.from_numpy(tensors.src.astype(np.float64))
    if layer.pooling.output:
        return getattr(F, f"adaptive_max_pool{layer.rank}d")(src, layer.pooling.output, return_indices=True)[1].numpy()
    padding, ceil_mode = tuple(lo for lo, _ in layer.sides), layer.pooling.ceil_mode
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[layer.rank - 1]
    return pool(src, layer.kernel, layer.strides, padding, layer.dilations, ceil_mode, return_indices=True)[1].numpy()


def _unpool(layer: Layer, src: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[layer.rank - 1]
    return unpool(src, indices, layer.kernel, layer.strides, tuple(lo for lo, _ in layer.sides), list(layer.output))


def refusal(layer: Layer) -> str | None:
    """What PyTorch says against a layer, in the first line of its message."""
    try:
        if layer.pooling:
            _plain_pool(layer, torch.zeros(layer.src_shape, dtype=torch.float64), layer.pooling.divisor)
            return None
        modules = torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d
        plain = torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d
        # The modules are what checks that groups divide the channels.
        module = (modules if layer.transposed else plain)[layer.rank - 1](
            layer.channels, layer.out_channels, layer.kernel, groups=layer.groups, bias=layer.bias, dtype=torch.float64
        )
        with torch.no_grad():
            _convolve(layer, torch.zeros(layer.src_shape, dtype=torch.float64), module.weight, module.bias)
    except (RuntimeError, ValueError) as error:
        return str(error).splitlines()[0] or type(error).__name__
    return None


def _convolve(layer: Layer, src: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    common = {"stride": layer.strides, "dilation": layer.dilations, "groups": layer.groups}
    if layer.transposed:
        return _transposed(layer, src, weights, bias, common)
    conv = (F.conv1d, F.conv2d, F.conv3d)[layer.rank - 1]
    plain = layer.padding_mode.name == "zeros"
    if plain and layer.padding == "same" and not any(s > 1 for s in layer.strides):
        return conv(src, weights, bias, padding="same", **common)
    if plain and all(lo == hi for lo, hi in layer.sides):
        return conv(src, weights, bias, padding=tuple(lo for lo, _ in layer.sides), **common)
    sides = [side for sides in reversed(layer.sides) for side in sides]
    mode = MODES.get(layer.padding_mode.name, layer.padding_mode.name)
    value = {"value": layer.padding_mode.value} if mode == "constant" else {}
    return conv(F.pad(src, sides, mode, **value), weights, bias, **common)


def _transposed(
    layer: Layer, src: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | None, common: dict[str, object]
) -> torch.Tensor:
    conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[layer.rank - 1]
    # PyTorch has one number for both sides: the rest is cut off.
    padding = tuple(min(sides) for sides in layer.sides)
    dst = conv(src, weights, bias, padding=padding, output_padding=layer.output_paddings, **common)
    for axis, ((lo, hi), size) in enumerate(zip(layer.sides, layer.output), 2):
        dst = dst.narrow(axis, lo - min(lo, hi), size)
    return dst


def _pool(layer: Layer, src: torch.Tensor) -> torch.Tensor:
    """With PyTorch's own padding where it takes that: equal on both sides, half a window at most, and no input smaller than the window."""
    pooling = layer.pooling
    if pooling.output:
        kind = "max" if layer.is_max else "avg"
        return getattr(F, f"adaptive_{kind}_pool{layer.rank}d")(src, pooling.output)
    if layer.is_norm:
        return _norm(layer, src)
    if _has_own_padding(layer):
        return _plain_pool(layer, src, pooling.divisor)
    sides = [side for sides in reversed(layer.sides) for side in sides]
    # In three dimensions `ceil_mode` does not make up for an input that is smaller than the window.
    axes = zip(layer.sides, layer.extents, layer.spatial)
    missing = [max(0, extent - lo - size - hi) for (lo, hi), extent, size in axes]
    beyond = [side for size in reversed(missing) for side in (0, size)]
    fill = -torch.inf if layer.is_max else 0.0
    padded = F.pad(F.pad(src, sides, value=fill), beyond, value=fill)
    valid = replace(layer, padding="valid")
    if layer.is_max or pooling.divisor:
        dst = _plain_pool(valid, padded, pooling.divisor)
    else:
        inside = torch.ones((1, 1, *layer.spatial), dtype=torch.float64)
        counted = F.pad(F.pad(inside, sides, value=float(pooling.count_include_pad)), beyond)
        dst = _plain_pool(valid, padded, 1) / _plain_pool(valid, counted, 1)
    return _that_start_inside(layer, dst)


def _that_start_inside(layer: Layer, dst: torch.Tensor) -> torch.Tensor:
    """With `ceil_mode` a last window that starts in the padding at the end is none."""
    for axis, size in enumerate(layer.output, 2):
        dst = dst.narrow(axis, 0, size)
    return dst


def _norm(layer: Layer, src: torch.Tensor) -> torch.Tensor:
    """PyTorch takes no padding, keeps the signs of odd powers, and counts elements in `ceil_mode`: it is given padding and magnitudes."""
    sides = [(lo, hi + beyond) for (lo, hi), beyond in zip(layer.sides, layer.beyond)]
    padded = F.pad(src, [side for both in reversed(sides) for side in both])
    padded = padded if layer.pooling.p % 2 == 0 else padded.abs()
    if layer.rank == 1:
        dst = F.lp_pool1d(padded, layer.pooling.p, layer.kernel[0], layer.strides[0])
    else:
        dst = (F.lp_pool2d, F.lp_pool3d)[layer.rank - 2](padded, layer.pooling.p, layer.kernel, layer.strides)
    return _that_start_inside(layer, dst)


def _plain_pool(layer: Layer, src: torch.Tensor, divisor: int | None) -> torch.Tensor:
    """With PyTorch's padding."""
    padding, ceil_mode = tuple(lo for lo, _ in layer.sides), layer.pooling.ceil_mode
    if layer.is_max:
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[layer.rank - 1]
        return pool(src, layer.kernel, layer.strides, padding, layer.dilations, ceil_mode)
    counted = ceil_mode, layer.pooling.count_include_pad
    if divisor is None:
        return (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[layer.rank - 1](src, layer.kernel, layer.strides, padding, *counted)
    if layer.rank == 3:
        return F.avg_pool3d(src, layer.kernel, layer.strides, padding, *counted, divisor)
    # In one dimension there is no divisor.
    more = 2 - layer.rank
    kernel, strides = ((1,) * more + values for values in (layer.kernel, layer.strides))
    dst = F.avg_pool2d(src.reshape(*src.shape[:2], *[1] * more, *src.shape[2:]), kernel, strides, (0,) * more + padding, *counted, divisor)
    return dst.squeeze(2) if more else dst


def _then(layer: Layer, tensors: Tensors, x: torch.Tensor) -> torch.Tensor:
    for step in layer.steps(tensors.channels):
        args = (torch.from_numpy(a.astype(layer.double)) if isinstance(a, np.ndarray) else a for a in step.args)
        x = STEPS[step.name](x, *args)
    return x
