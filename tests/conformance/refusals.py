"""Layers that are wrong: Convoke refuses them with exit code 1 and both numbers that do not fit, and PyTorch refuses them too.

And the other way round: layers at the edge of what is legal, which Convoke and PyTorch must judge alike.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from random import Random
from types import ModuleType

import random_layers
from case import Check, Outcome
from engine import Broken, Convoke, Refused
from language import Layer, PaddingMode
from random_layers import Abilities

Wrong = tuple[Layer, set[int]]
"""A layer, and the numbers that its error has to name."""


def checks(seed: int, numbers: range, torch: ModuleType | None) -> Iterator[Check]:
    """Wrong layers; `torch` is the oracle if it is there."""
    for number in numbers:
        yield partial(_refused, seed, number, torch)


def edge_checks(seed: int, numbers: range, torch: ModuleType) -> Iterator[Check]:
    for number in numbers:
        yield partial(_judged_alike, seed, number, torch)


def _refused(seed: int, number: int, torch: ModuleType | None, convoke: Convoke) -> Outcome:
    rng = Random(f"{seed} wrong {number}")
    kind = list(WRONG)[number % len(WRONG)]
    name = f"refusals/{kind} {number} of seed {seed}"
    layer, numbers = WRONG[kind](rng)
    if torch and not torch.refusal(layer):
        return Outcome(name, "failed", f"PyTorch takes it\n{layer.text()}")
    try:
        convoke.check(layer.text())
    except Broken as broken:
        return Outcome(name, "failed", f"{broken}\n{layer.text()}")
    except Refused as refused:
        if word := refused.unknown():
            return Outcome(name, "skipped", f"refused by convoke: {word}")
        missing = numbers - said(str(refused))
        if missing:
            return Outcome(name, "failed", f"the error does not name {', '.join(map(str, sorted(missing)))}\n{refused}")
        return Outcome(name)
    return Outcome(name, "failed", f"convoke takes it\n{layer.text()}")


def _judged_alike(seed: int, number: int, torch: ModuleType, convoke: Convoke) -> Outcome:
    name = f"edge/{number} of seed {seed}"
    layer = _edge(Random(f"{seed} edge {number}"))
    theirs = torch.refusal(layer)
    try:
        convoke.check(layer.text())
        ours = None
    except Refused as refused:
        if word := refused.unknown():
            return Outcome(name, "skipped", f"refused by convoke: {word}")
        ours = str(refused)
    except Broken as broken:
        return Outcome(name, "failed", f"{broken}\n{layer.text()}")
    if (ours is None) == (theirs is None):
        return Outcome(name)
    says = [f"{who} {f'refuses it: {what}' if what else 'takes it'}" for who, what in (("PyTorch", theirs), ("convoke", ours))]
    return Outcome(name, "failed", "\n".join([*says, layer.text()]))


def said(error: str) -> set[int]:
    """The whole numbers in an error, but for the lines that quote the layer, its position, and the help."""
    text = []
    for line in error.splitlines():
        if re.match(r"\s*(-->|= help)", line):
            continue
        # Under a quoted line stand marks and what is said of them.
        quoted = re.match(r"\s*\d+ \|", line)
        text.append("" if quoted else line)
    return set(map(int, re.findall(r"\d+", " ".join(text))))


def _edge(rng: Random) -> Layer:
    """A small layer that may be legal or not; only what PyTorch has too."""
    kind = rng.random()
    layer = random_layers.candidate(rng, Abilities(), transposed=kind < 0.3, modes=kind > 0.7)
    size = tuple(rng.randint(1, 6) for _ in layer.spatial)
    layer = replace(layer, spatial=size, layout="first", weights_layout="first", batch=1, padding="valid", output_size=())
    layer = replace(layer, padding=tuple((side, side) for side in (rng.randrange(5) for _ in size)))
    if rng.random() < 0.3:
        layer = replace(layer, groups=rng.randint(1, 4), channels=rng.randint(1, 6), out_channels=rng.randint(1, 6))
    if layer.transposed:
        layer = replace(layer, output_padding=tuple(rng.randrange(3) for _ in size))
    return layer


def _kernel_past_input(rng: Random) -> Wrong:
    layer = _legal(rng)
    axis = rng.randrange(layer.rank)
    lo, hi = layer.sides[axis]
    padded = lo + layer.spatial[axis] + hi
    kernel = padded // layer.dilations[axis] + 2
    layer = replace(layer, padding=layer.sides, kernel=_put(layer.kernel, axis, kernel))
    return layer, {padded, layer.extents[axis]}


def _groups_of_input(rng: Random) -> Wrong:
    groups = rng.randint(2, 7)
    channels = groups * rng.randint(0, 4) + rng.randint(1, groups - 1)
    layer = replace(_legal(rng), groups=groups, channels=channels, out_channels=groups * 2)
    return layer, {groups, channels}


def _groups_of_output(rng: Random) -> Wrong:
    groups = rng.randint(2, 7)
    out_channels = groups * rng.randint(0, 4) + rng.randint(1, groups - 1)
    layer = replace(_legal(rng), groups=groups, channels=groups * 2, out_channels=out_channels)
    return layer, {groups, out_channels}


def _reflected_too_far(rng: Random) -> Wrong:
    return _padded_too_far(rng, "reflect", 0)


def _wrapped_too_far(rng: Random) -> Wrong:
    return _padded_too_far(rng, "circular", 1)


def _padded_too_far(rng: Random, mode: str, more: int) -> Wrong:
    layer = _legal(rng)
    axis = rng.randrange(layer.rank)
    side = layer.spatial[axis] + more + rng.randrange(3)
    sides = (side, 0) if rng.random() < 0.5 else (0, side)
    layer = replace(layer, padding=_put(((0, 0),) * layer.rank, axis, sides), padding_mode=PaddingMode(mode))
    return replace(layer, kernel=(1,) * layer.rank), {side, layer.spatial[axis]}


def _output_padding_too_large(rng: Random) -> Wrong:
    layer = replace(_legal(rng, transposed=True), output_size=())
    axis = rng.randrange(layer.rank)
    most = max(layer.strides[axis], layer.dilations[axis])
    more = most + rng.randrange(3)
    return replace(layer, output_padding=_put((0,) * layer.rank, axis, more)), {most, more}


def _no_stride(rng: Random) -> Wrong:
    layer = _legal(rng)
    return replace(layer, stride=_put(layer.strides, rng.randrange(layer.rank), 0), padding="valid"), {0}


def _legal(rng: Random, transposed: bool = False) -> Layer:
    layer = random_layers.layer(rng, Abilities(empty_batch=False), transposed=transposed, modes=False)
    return replace(layer, layout="first", weights_layout="first", groups=1)


def _put(values: tuple, axis: int, value: object) -> tuple:
    return (*values[:axis], value, *values[axis + 1 :])


WRONG = {
    "the kernel past the padded input": _kernel_past_input,
    "groups that do not divide the input channels": _groups_of_input,
    "groups that do not divide the output channels": _groups_of_output,
    "reflected padding as large as the input": _reflected_too_far,
    "circular padding larger than the input": _wrapped_too_far,
    "output padding as large as stride and dilation": _output_padding_too_large,
    "a stride of none": _no_stride,
}
