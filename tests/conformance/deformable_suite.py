"""Random deformable layers against the sums in numpy (`naive.deformed`), and against ONNX Runtime where it has the operator."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from random import Random

import numpy as np

import naive
import random_layers
from case import Case, Check, Outcome
from engine import Convoke, Tensors
from language import Deformable, Layer
from random_layers import Abilities

ABLE = Abilities(f64=False, non_finite=False)


def checks(seed: int, numbers: range) -> Iterator[Check]:
    for number in numbers:
        yield partial(_check, seed, number)


def _check(seed: int, number: int, convoke: Convoke) -> Outcome:
    return make(seed, number).check(convoke)


def make(seed: int, number: int) -> Case:
    """The layer of this number, and its output. Nothing depends on the numbers before."""
    rng = Random(f"{seed} deformable {number}")
    layer = _layer(rng)
    whole = rng.random() < 0.4
    layer = replace(layer, then=random_layers.then(rng, whole, layer), accuracy="exact" if whole else "")
    tensors = _moved(rng, layer, random_layers.tensors(rng, ABLE, layer, whole), whole)
    sums, magnitudes = naive.deformed(layer, tensors)
    expected = naive.then(layer.steps(tensors.channels), sums)
    name = f"deformable/{number} of seed {seed}"
    # What a tap half way between elements sees is a quarter of a whole number, and so are sums.
    return Case(name, layer, tensors, expected, np.dtype(np.float64), magnitudes, exact=whole, threads=rng.choice((1, 1, 2, 3)))


def _layer(rng: Random) -> Layer:
    while True:
        found = random_layers.layer(rng, ABLE, transposed=False, modes=False)
        if found.rank == 2:
            sets = rng.choice([n for n in range(1, found.channels + 1) if found.channels % n == 0])
            layout = "first" if found.layout == "blocked" else found.layout
            return replace(found, dtype="f32", layout=layout, deformable=Deformable(sets, rng.random() < 0.6))


def _moved(rng: Random, layer: Layer, tensors: Tensors, whole: bool) -> Tensors:
    """With offsets that are halves, for whole numbers, or any up to some elements beyond the borders."""
    numbers = np.random.default_rng(rng.getrandbits(64))
    most = max(layer.spatial) // 2 + 2
    shape = layer.offset_shape
    offset = numbers.integers(-2 * most, 2 * most + 1, shape) / 2 if whole else numbers.uniform(-most, most, shape)
    mask = None
    if layer.deformable.mask:
        mask = numbers.integers(-2, 3, layer.mask_shape) if whole else numbers.uniform(-1, 1, layer.mask_shape)
        mask = mask.astype(np.float32)
    return replace(tensors, offset=offset.astype(np.float32), mask=mask)
