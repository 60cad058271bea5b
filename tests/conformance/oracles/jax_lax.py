"""JAX, in f64: `lax.conv_general_dilated`, `lax.conv_transpose` and `lax.reduce_window`, which Keras' layers are made of, in the layer's
own layouts."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import TypeVar

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false")

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import naive
from engine import Tensors
from language import Layer, Step
from random_layers import Abilities

NAME = "jax"
ABILITIES = Abilities(adaptive=False, non_finite=False)
"""XLA multiplies what belongs to other groups by 0 and adds it; pooling has none."""

jax.config.update("jax_enable_x64", True)

STEPS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "clamp": jnp.clip,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "hardswish": jax.nn.hard_swish,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    # PyTorch's threshold.
    "softplus": lambda x: jnp.where(x > 20, x, jax.nn.softplus(x)),
    "softsign": jax.nn.soft_sign,
    "log_sigmoid": jax.nn.log_sigmoid,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "mish": jax.nn.mish,
    "abs": jnp.abs,
    "neg": jnp.negative,
    "add": jnp.add,
    "mul": jnp.multiply,
}


WORDS = {"same": "SAME", "same_lower": "SAME_LOWER", "valid": "VALID"}
T = TypeVar("T")


def fit(rng: Random, layer: Layer) -> Layer:
    """Keras' transposed layers take `same` or `valid`, no groups, and make their own output padding."""
    if not layer.transposed:
        return layer
    axes = zip(layer.extents, layer.strides)
    sides, more = zip(*(keras_transposed(extent, stride, rng.random() < 0.5) for extent, stride in axes))
    channels = layer.channels // layer.groups, layer.out_channels // layer.groups
    fields = {"channels": channels[0], "out_channels": channels[1], "groups": 1, "output_size": ()}
    return replace(layer, padding=sides, output_padding=more, **fields)


def keras_transposed(extent: int, stride: int, same: bool) -> tuple[tuple[int, int], int]:
    """The padding and the output padding of one axis of a transposed layer: an output of `input * stride` for `same`, else all of it."""
    cut = max(0, extent - stride) if same else 0
    return (cut // 2, cut - cut // 2), max(0, stride - extent)


def compute(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.dtype]:
    if layer.pooling:
        # An argument, and no broadcast one: XLA multiplies by the inverse of a divisor that is the same for several numbers.
        divisor, function = layer.pooling.divisor, _pool
        counted = np.ones(layer.src_shape) if divisor is None else np.full(layer.dst_shape, divisor)
        arrays = [layer.store(tensors.src), layer.store(counted)]
    else:
        bias = np.zeros(layer.out_channels) if tensors.bias is None else tensors.bias
        arrays, function = [layer.store(tensors.src), layer.store_weights(tensors.weights), bias], _sums
    channels = -1 if layer.layout == "last" else 1
    steps = list(layer.steps(tensors.channels, axis=channels))
    # Compiled whole, which takes a third of the time that its parts take.
    dst = jax.jit(partial(_layer, layer, function, steps, channels))(*(a.astype(np.float64) for a in arrays))
    return layer.load(np.asarray(dst)), np.dtype(np.float64)


def _layer(
    layer: Layer, function: Callable[..., jax.Array], steps: list[Step], channels: int, *arrays: jax.Array
) -> jax.Array:
    dst = function(layer, *arrays)
    for step in steps:
        dst = jax.nn.softmax(dst, axis=channels) if step.name == "softmax" else STEPS[step.name](dst, *step.args)
    return dst


def _sums(layer: Layer, src: jax.Array, weights: jax.Array, bias: jax.Array) -> jax.Array:
    dst = (_transposed if layer.transposed else _convolve)(layer, src, weights)
    return dst + (bias if layer.layout == "last" else bias.reshape(-1, *[1] * layer.rank))


def _pool(layer: Layer, src: jax.Array, counted: jax.Array) -> jax.Array:
    """`counted` is the divisor of each output, or a 1 for each element of the input: Keras divides by the sum of those in the window."""
    pooling, last = layer.pooling, layer.layout == "last"

    def window(image: jax.Array, initial: float, reduce: Callable, padding: str | Sequence[tuple[int, int]]) -> jax.Array:
        sizes, strides, dilations = (_around(values, 1, last) for values in (layer.kernel, layer.strides, layer.dilations))
        padding = padding if isinstance(padding, str) else _around(padding, (0, 0), last)
        return lax.reduce_window(image, initial, reduce, sizes, strides, padding, window_dilation=dilations)

    beyond = [(0, more) for more in layer.beyond]
    padding = WORDS.get(layer.padding) if isinstance(layer.padding, str) and not pooling.ceil_mode else None
    padding = padding or [(lo, hi + more) for (lo, hi), (_, more) in zip(layer.sides, beyond)]
    if layer.is_max:
        return window(src, -jnp.inf, lax.max, padding)
    if layer.is_norm:
        return window(abs(src) ** pooling.p, 0.0, lax.add, padding) ** (1 / pooling.p)
    if pooling.divisor is None and pooling.count_include_pad:
        counted = window(jnp.pad(counted, _around(layer.sides, (0, 0), last), constant_values=1), 0.0, lax.add, beyond)
    elif pooling.divisor is None:
        counted = window(counted, 0.0, lax.add, padding)
    return window(src, 0.0, lax.add, padding) / counted


def _around(values: Iterable[T], other: T, last: bool) -> tuple[T, ...]:
    """Of every axis, with `other` for images and channels."""
    return (other, *values, other) if last else (other, other, *values)


def _convolve(layer: Layer, src: jax.Array, weights: jax.Array) -> jax.Array:
    padding = WORDS.get(layer.padding) if isinstance(layer.padding, str) else None
    padding = padding or layer.sides
    if layer.padding_mode.name != "zeros":
        width = _around(layer.sides, (0, 0), layer.layout == "last")
        mode = layer.padding_mode
        value = {"constant_values": mode.value} if mode.name == "constant" else {}
        src = jnp.pad(src, width, naive.NUMPY_MODES[mode.name], **value)
        padding = "VALID"
    return lax.conv_general_dilated(
        src, weights, layer.strides, padding, None, layer.dilations, _dimensions(layer), layer.groups
    )


def _transposed(layer: Layer, src: jax.Array, weights: jax.Array) -> jax.Array:
    """JAX counts the padding of the input with its gaps, so what is not cut off."""
    axes = zip(layer.extents, layer.sides, layer.output_paddings)
    padding = [(extent - 1 - lo, extent - 1 - hi + more) for extent, (lo, hi), more in axes]
    return lax.conv_transpose(
        src, weights, layer.strides, padding, layer.dilations, _dimensions(layer), transpose_kernel=True
    )


def _dimensions(layer: Layer) -> tuple[str, str, str]:
    axes = "DHW"[3 - layer.rank :]
    image = f"N{axes}C" if layer.layout == "last" else f"NC{axes}"
    # With `transpose_kernel` the letters are those of the layer whose gradient this is; there, too, the input comes first in memory.
    return image, f"{axes}IO" if layer.weights_layout == "last" else f"OI{axes}", image
