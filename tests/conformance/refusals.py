"""Layers that are wrong: Convoke refuses them with exit code 1 and both numbers that do not fit, or the field that does not belong there,
and PyTorch refuses them too, if it can be given them.

And the other way round: layers at the edge of what is legal, which Convoke and PyTorch must judge alike.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from types import ModuleType

import random_layers
from case import Check, Outcome
from engine import Broken, Convoke, Refused
from language import Layer, PaddingMode, Pooling
from random_layers import Abilities


@dataclass(frozen=True)
class Wrong:
    layer: Layer
    numbers: set[int]
    """That its error has to name."""
    field: str = ""
    """One with a value that is written besides, of a kind of layer that does not have it: the error has to name it."""

    def text(self) -> str:
        return self.layer.text().replace("\n}", f"\n    {self.field},\n}}") if self.field else self.layer.text()

    def unsaid(self, error: str) -> list[str]:
        """What the error should name and does not."""
        name = f"`{self.field.partition(':')[0]}`"
        return [*map(str, sorted(self.numbers - said(error))), *([name] if self.field and name not in error else [])]


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
    wrong = WRONG[kind](rng)
    if torch and not wrong.field and not torch.refusal(wrong.layer):
        return Outcome(name, "failed", f"PyTorch takes it\n{wrong.text()}")
    try:
        convoke.check(wrong.text())
    except Broken as broken:
        return Outcome(name, "failed", f"{broken}\n{wrong.text()}")
    except Refused as refused:
        if word := refused.unknown():
            return Outcome(name, "skipped", f"refused by convoke: {word}")
        if unsaid := wrong.unsaid(str(refused)):
            return Outcome(name, "failed", f"the error does not name {', '.join(unsaid)}\n{refused}")
        return Outcome(name)
    return Outcome(name, "failed", f"convoke takes it\n{wrong.text()}")


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
    return Wrong(layer, {padded, layer.extents[axis]})


def _groups_of_input(rng: Random) -> Wrong:
    groups = rng.randint(2, 7)
    channels = groups * rng.randint(0, 4) + rng.randint(1, groups - 1)
    layer = replace(_legal(rng), groups=groups, channels=channels, out_channels=groups * 2)
    return Wrong(layer, {groups, channels})


def _groups_of_output(rng: Random) -> Wrong:
    groups = rng.randint(2, 7)
    out_channels = groups * rng.randint(0, 4) + rng.randint(1, groups - 1)
    layer = replace(_legal(rng), groups=groups, channels=groups * 2, out_channels=out_channels)
    return Wrong(layer, {groups, out_channels})


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
    return Wrong(replace(layer, kernel=(1,) * layer.rank), {side, layer.spatial[axis]})


def _output_padding_too_large(rng: Random) -> Wrong:
    layer = replace(_legal(rng, transposed=True), output_size=())
    axis = rng.randrange(layer.rank)
    most = max(layer.strides[axis], layer.dilations[axis])
    more = most + rng.randrange(3)
    return Wrong(replace(layer, output_padding=_put((0,) * layer.rank, axis, more)), {most, more})


def _no_stride(rng: Random) -> Wrong:
    layer = _legal(rng)
    return Wrong(replace(layer, stride=_put(layer.strides, rng.randrange(layer.rank), 0), padding="valid"), {0})


def _pool_past_input(rng: Random) -> Wrong:
    layer = _legal_pool(rng)
    axis = rng.randrange(layer.rank)
    side, kernel = rng.randrange(3), layer.spatial[axis] + 5 + rng.randrange(3)
    padding = _put(((0, 0),) * layer.rank, axis, (side, side))
    # No dilation: an average of PyTorch's has none.
    layer = replace(layer, kernel=_put((1,) * layer.rank, axis, kernel), stride=(1,) * layer.rank, dilation=(), padding=padding)
    return Wrong(layer, {layer.spatial[axis] + 2 * side, kernel})


def _window_in_padding(rng: Random) -> Wrong:
    layer = _legal_pool(rng)
    axis = rng.randrange(layer.rank)
    kernel = rng.randint(1, 4)
    side = kernel + rng.randrange(3)
    padding = _put(((0, 0),) * layer.rank, axis, (side, side))
    layer = replace(layer, kernel=_put((1,) * layer.rank, axis, kernel), stride=(1,) * layer.rank, dilation=(), padding=padding)
    return Wrong(layer, {layer.spatial[axis], side, kernel})


def _no_divisor(rng: Random) -> Wrong:
    layer = _legal_pool(rng, Pooling("avg", divisor=0))
    return Wrong(replace(layer, kernel=(1,) * layer.rank, dilation=(), padding="valid"), {0, 1})


def _field_of_weights(rng: Random) -> Wrong:
    layer = _legal_pool(rng)
    fields = (f"out_channels: {layer.channels}", f"groups: {layer.channels}", "bias: true", "weights: hwio", "accuracy: exact")
    return Wrong(layer, set(), rng.choice(fields))


def _field_of_averages(rng: Random) -> Wrong:
    return Wrong(_legal_pool(rng, Pooling("max")), set(), rng.choice(("count_include_pad: false", "divisor: 4")))


def _legal(rng: Random, transposed: bool = False) -> Layer:
    layer = random_layers.layer(rng, Abilities(empty_batch=False), transposed=transposed, modes=False)
    return replace(layer, layout="first", weights_layout="first", groups=1)


def _legal_pool(rng: Random, pooling: Pooling | None = None) -> Layer:
    layer = random_layers.pool(rng, Abilities(empty_batch=False, bytes=False), lambda _, layer: layer)
    plain = Pooling(layer.pooling.kind)
    return replace(layer, layout="first", pooling=pooling or plain)


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
    "a window of pooling past the padded input": _pool_past_input,
    "a window of pooling in the padding": _window_in_padding,
    "a divisor of none": _no_divisor,
    "pooling with a field of weights": _field_of_weights,
    "a maximum with a field of averages": _field_of_averages,
}
