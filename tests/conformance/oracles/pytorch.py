"""PyTorch, in f64."""

import warnings
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from engine import Tensors
from language import Layer, Step
from random_layers import Abilities

NAME = "torch"
ABILITIES = Abilities()

torch.set_num_threads(1)
warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")

STEPS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
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
    "abs": torch.abs,
    "neg": torch.neg,
    "add": torch.add,
    "mul": torch.mul,
}
MODES = {"zeros": "constant"}
"""Names of `F.pad` where they are not the language's."""


def compute(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.dtype]:
    src, weights = (torch.from_numpy(a.astype(np.float64)) for a in (tensors.src, tensors.weights))
    bias = None if tensors.bias is None else torch.from_numpy(tensors.bias.astype(np.float64))
    return _then(layer.then, _convolve(layer, src, weights, bias)).numpy(), np.dtype(np.float64)


def refusal(layer: Layer) -> str | None:
    """What PyTorch says against a layer, in the first line of its message."""
    try:
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


def _then(steps: tuple[Step, ...], x: torch.Tensor) -> torch.Tensor:
    for step in steps:
        x = STEPS[step.name](x, *step.args)
    return x
