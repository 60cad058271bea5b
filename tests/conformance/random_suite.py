"""Random layers against a library: its values, and what it refuses."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from random import Random
from types import ModuleType

import random_layers
from case import Case, Check, Outcome
from engine import Convoke
from language import Layer

KINDS = {"conv": 0.48, "padding_mode": 0.12, "transposed": 0.2, "pooling": 0.2}
"""Kinds of layers and how many of all are of each."""


def checks(oracle: ModuleType, seed: int, numbers: range) -> Iterator[Check]:
    for number in numbers:
        yield partial(_check, oracle, seed, number)


def _check(oracle: ModuleType, seed: int, number: int, convoke: Convoke) -> Outcome:
    return make(oracle, seed, number).check(convoke)


def make(oracle: ModuleType, seed: int, number: int) -> Case:
    """The layer of this number, and what the library says of it. Nothing depends on the numbers before."""
    rng = Random(f"{seed} {oracle.NAME} {number}")
    layer = _layer(rng, oracle, rng.choices(list(KINDS), list(KINDS.values()))[0])
    able, whole = oracle.ABILITIES, rng.random() < 0.4
    accuracy = "exact" if layer.has_accuracy and (whole or rng.random() < 0.2) else ""
    layer = replace(layer, then=random_layers.then(rng, whole, layer), accuracy=accuracy)
    tensors = random_layers.tensors(rng, able, layer, whole)
    expected, dtype = oracle.compute(layer, tensors)
    name = f"{oracle.NAME}/{number} of seed {seed}"
    exact = whole and layer.keeps_wholes or layer.takes_indices or layer.is_max and not layer.then
    case = Case(name, layer, tensors, expected, dtype, exact=exact, threads=rng.choice((1, 1, 2, 3)))
    return replace(case, indices=oracle.indices(layer, tensors)) if layer.return_indices else case


def _layer(rng: Random, oracle: ModuleType, kind: str) -> Layer:
    able, fit = oracle.ABILITIES, getattr(oracle, "fit", lambda _, layer: layer)
    if kind == "pooling" and not able.only_complex:
        return random_layers.pool(rng, able, fit)
    transposed, modes = kind == "transposed" and able.transposed, kind == "padding_mode" and able.padding_modes
    return fit(rng, random_layers.layer(rng, able, transposed, modes))
