"""Random layers against a library: its values, and what it refuses."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from random import Random
from types import ModuleType

import random_layers
from case import Case, Check, Outcome
from engine import Convoke

KINDS = {"conv": 0.6, "padding_mode": 0.15, "transposed": 0.25}
"""Kinds of layers and how many of all are of each."""


def checks(oracle: ModuleType, seed: int, numbers: range) -> Iterator[Check]:
    for number in numbers:
        yield partial(_check, oracle, seed, number)


def _check(oracle: ModuleType, seed: int, number: int, convoke: Convoke) -> Outcome:
    return make(oracle, seed, number).check(convoke)


def make(oracle: ModuleType, seed: int, number: int) -> Case:
    """The layer of this number, and what the library says of it. Nothing depends on the numbers before."""
    rng = Random(f"{seed} {oracle.NAME} {number}")
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    able = oracle.ABILITIES
    layer = random_layers.layer(
        rng, able, transposed=kind == "transposed" and able.transposed, modes=kind == "padding_mode" and able.padding_modes
    )
    if fit := getattr(oracle, "fit", None):
        layer = fit(rng, layer)
    whole = rng.random() < 0.4
    layer = replace(layer, then=random_layers.then(rng, whole), accuracy="exact" if whole or rng.random() < 0.2 else "")
    tensors = random_layers.tensors(rng, able, layer, whole)
    expected, dtype = oracle.compute(layer, tensors)
    name = f"{oracle.NAME}/{number} of seed {seed}"
    return Case(name, layer, tensors, expected, dtype, exact=whole, threads=rng.choice((1, 1, 2, 3)))
