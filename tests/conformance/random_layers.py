"""Random layers with data, the same for the same seed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import numpy as np

import language
from engine import Tensors
from language import PER_CHANNEL, Layer, PaddingMode, Pooling, Step

MOST_MACS = 2_000_000
"""More would take the interpreter too long."""


@dataclass(frozen=True)
class Abilities:
    """What a library can be compared with."""

    f64: bool = True
    empty_batch: bool = True
    bytes: bool = True
    """Of maxima."""
    adaptive: bool = True
    complex: bool = False
    """Whether some convolutions and transposed layers are of complex numbers."""
    only_complex: bool = False
    indices: bool = False
    """Positions of maxima, and unpooling."""
    transposed: bool = True
    padding_modes: bool = True
    non_finite: bool = True
    """Whether a NaN or an infinity in the input reaches the outputs that read it and no other."""
    non_finite_pools: tuple[str, ...] = ("max", "avg", "lp")
    """Kinds of pooling of which this is so."""


def layer(rng: Random, able: Abilities, transposed: bool, modes: bool) -> Layer:
    """A legal layer that `able` is able to compute."""
    while True:
        found = candidate(rng, able, transposed, modes)
        if min(found.output) >= 1 and found.macs <= MOST_MACS and _pads_fit(found):
            return found


def candidate(rng: Random, able: Abilities, transposed: bool, modes: bool) -> Layer:
    """A layer that may be too large, or not legal."""
    rank = rng.choices((1, 2, 3), (3, 5, 2))[0]
    dtype = _dtype(rng, able)
    layout = rng.choices(("first", "last", "blocked"), (4, 4, 0 if dtype in COMPLEX else 2))[0]
    groups, channels, out_channels = _channels(rng, 64 // (8 if dtype == "f64" else 4) if layout == "blocked" else None)
    most = (40, 14, 7)[rank - 1]
    spatial = tuple(rng.randint(1, most) for _ in range(rank))
    kernel = tuple(rng.choice((1, 2, 3, 3, 4, 5, 7)[: (7, 6, 4)[rank - 1]]) for _ in range(rank))
    same = rng.random() < 0.5
    stride, dilation = _steps(rng, rank), _steps(rng, rank)
    # What special algorithms are for: windows of three taps, and long filters.
    if (form := rng.random()) < 0.1:
        kernel, stride, groups = (3,) * rank, (), 1
        channels, out_channels = rng.choice((12, 16, 32)), rng.choice((12, 16, 32))
        spatial = tuple(rng.randint(most // 2, most) for _ in range(rank))
    elif form < 0.15 and rank == 1:
        kernel, stride, spatial, groups = (rng.randint(50, 300),), (), (rng.randint(1000, 3000),), 1
        channels, out_channels, dilation = rng.choice((1, 2)), rng.choice((1, 1, 2)), ()
    found = Layer(
        batch=rng.choices((0 if able.empty_batch else 1, 1, 2, 3), (1, 12, 6, 2))[0],
        channels=channels,
        spatial=spatial,
        out_channels=out_channels,
        kernel=(kernel[0],) * rank if same else kernel,
        transposed=transposed,
        stride=stride,
        dilation=dilation,
        groups=groups,
        bias=rng.random() < 0.5,
        dtype=dtype,
        layout=layout,
        weights_layout="last" if layout == "last" and not transposed and rng.random() < 0.7 else "first",
        named_batch=rng.random() < 0.2,
    )
    found = replace(found, padding=_padding(rng, found, modes))
    if transposed and rng.random() < 0.4:
        # An output size may be any that the stride skips; as a number, what is added may reach the dilation, too.
        sized = rng.random() < 0.5
        most = found.strides if sized else [max(s, d) for s, d in zip(found.strides, found.dilations)]
        found = replace(found, output_padding=tuple(rng.randrange(m) for m in most))
        if sized:
            found = replace(found, output_padding=(), output_size=found.output)
    if modes:
        name = rng.choice(("reflect", "replicate", "circular", "circular" if found.is_complex else "constant"))
        found = replace(found, padding_mode=PaddingMode(name, float(rng.randint(-3, 3)) if name == "constant" else 0.0))
    return found


COMPLEX = ("c64", "c128")


def _dtype(rng: Random, able: Abilities) -> str:
    if able.only_complex or able.complex and rng.random() < 0.1:
        return rng.choice(COMPLEX)
    names = ("f32", "f16", "bf16", "f64") if able.f64 else ("f32", "f16", "bf16")
    return rng.choices(names, (12, 2, 2, 5)[: len(names)])[0]


def pool(rng: Random, able: Abilities, fit: Callable[[Random, Layer], Layer]) -> Layer:
    """A legal layer of pooling, once `fit` has made it one for the library."""
    while True:
        found = fit(rng, _pool_candidate(rng, able))
        if min(found.output) >= 1 and found.macs <= MOST_MACS and found.every_window_has_an_element:
            return found


def _unpool_candidate(rng: Random, common: dict[str, object], kernel: tuple[int, ...]) -> Layer:
    rank = len(kernel)
    stride = () if rng.random() < 0.5 else tuple(rng.choice((1, 2, 2, 3)) for _ in range(rank))
    padding = tuple((rng.randrange(k // 2 + 1),) * 2 for k in kernel)
    found = Layer.pool(Pooling("unpool"), kernel=kernel, stride=stride, padding=padding, **common)
    if rng.random() < 0.4:
        sizes = (size + rng.randrange(-stride + 1, stride) for size, stride in zip(found.unpooled, found.strides))
        found = replace(found, output_size=tuple(max(1, size) for size in sizes))
    return found


def _pool_candidate(rng: Random, able: Abilities) -> Layer:
    rank = rng.choices((1, 2, 3), (2, 6, 2))[0]
    most = (60, 16, 8)[rank - 1]
    spatial = tuple(rng.randint(1, most) for _ in range(rank))
    kernel = tuple(rng.choice((1, 2, 2, 3, 3, 4, 5, 7)) for _ in range(rank))
    pooling = Pooling(rng.choice(("max", "max", "avg", "avg", "lp")), ceil_mode=rng.random() < 0.35)
    if pooling.kind == "lp":
        pooling = replace(pooling, p=rng.choice((1, 2, 2, 3, 4, 5, 6)))
    if pooling.kind == "avg" and (counted := rng.random()) < 0.6:
        inside = counted < 0.4
        pooling = replace(pooling, count_include_pad=not inside, divisor=None if inside else rng.randint(1, 9))
    common = {
        "batch": rng.choices((0 if able.empty_batch else 1, 1, 2, 3), (1, 12, 6, 2))[0],
        "channels": rng.choice((1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 32, 33, 40)),
        "spatial": spatial,
        "dtype": _dtype(rng, replace(able, complex=False)),
        "layout": rng.choices(("first", "last", "blocked"), (4, 4, 2))[0],
        "named_batch": rng.random() < 0.2,
    }
    if able.indices and rng.random() < 0.12:
        return _unpool_candidate(rng, common, kernel)
    if pooling.kind == "max" and able.indices and common["dtype"] != "f64" and rng.random() < 0.5:
        pooling = replace(pooling, return_indices=True)
    if pooling.kind == "max" and able.bytes and rng.random() < 0.2:
        layout = "last" if common["layout"] == "blocked" else common["layout"]
        common |= {"dtype": rng.choice(("u8", "i8")), "layout": layout}
    if pooling.kind != "lp" and able.adaptive and rng.random() < 0.2:
        output = tuple(rng.randint(1, 6) for _ in range(rank))
        found = Layer.adaptive_pool(pooling.kind, output, **common)
        return replace(found, pooling=replace(found.pooling, return_indices=pooling.return_indices))
    if rng.random() < 0.1:
        return Layer.pool(replace(pooling, whole=True), kernel=spatial, **common)
    stride = () if rng.random() < 0.35 else tuple(rng.choice((1, 1, 2, 2, 3, 4)) for _ in range(rank))
    dilation = _steps(rng, rank) if rng.random() < 0.4 else ()
    found = Layer.pool(pooling, kernel=kernel, stride=stride, dilation=dilation, **common)
    return replace(found, padding=_pool_padding(rng, found))


def _pool_padding(rng: Random, found: Layer) -> language.Padding:
    """Mostly half a window at most, as PyTorch has it; else up to where a window would be empty."""
    if (kind := rng.random()) < 0.3:
        return rng.choice(("same", "same", "same_lower", "valid"))
    most = found.extents if kind > 0.8 else [extent // 2 + 1 for extent in found.extents]
    return tuple((rng.randrange(m), rng.randrange(m)) for m in most)


def _channels(rng: Random, block: int | None) -> tuple[int, int, int]:
    """Groups, input channels and output channels. In a layout of blocks, groups are whole blocks or parts of one."""
    sizes = (1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 32, 40)
    kind = rng.random()
    if kind < 0.55:
        return 1, rng.choice(sizes), rng.choice(sizes)
    if kind < 0.8:  # depthwise, perhaps with a multiplier
        groups = rng.choice((2, 3, 4, 8, 16, 20, 32, 33))
        return groups, groups, groups * rng.choices((1, 2, 3), (4, 2, 1) if block is None else (4, 2, 0))[0]
    per = (1, 2, 3, 4, 5, 8, 16) if block is None else tuple(n for n in (1, 2, 4, 8, 16) if n <= block)
    groups = rng.choice((2, 3, 4))
    return groups, groups * rng.choice(per), groups * rng.choice(per)


def _steps(rng: Random, rank: int) -> tuple[int, ...]:
    kind = rng.random()
    if kind < 0.5:
        return ()
    if kind < 0.75:
        return (rng.choice((2, 2, 3)),) * rank
    return tuple(rng.choice((1, 2, 3)) for _ in range(rank))


def _padding(rng: Random, found: Layer, modes: bool) -> language.Padding:
    kind = rng.random()
    if kind < 0.4 and not found.transposed and not modes:
        return rng.choice(("same", "same", "same_lower", "valid", "causal" if found.rank == 1 else "same"))
    sides = tuple((rng.randrange(e + 1), rng.randrange(e + 1)) for e in found.extents)
    return tuple((lo, lo) for lo, _ in sides) if kind < 0.7 else sides


def _pads_fit(found: Layer) -> bool:
    """Whether there are elements to reflect or to repeat, in PyTorch's terms."""
    most = {"reflect": -1, "circular": 0}.get(found.padding_mode.name)
    return most is None or all(max(sides) <= size + most for sides, size in zip(found.sides, found.spatial))


def tensors(rng: Random, able: Abilities, found: Layer, whole: bool) -> Tensors:
    """Data: whole numbers from -4 to 4, one in ten times with a few elements of the input that are not finite, or others from -2 to 2."""
    numbers = np.random.default_rng(rng.getrandbits(64))

    def fill(shape: tuple[int, ...]) -> np.ndarray:
        if found.is_complex:
            parts = [numbers.integers(-4, 5, shape) if whole else numbers.uniform(-2, 2, shape) for _ in range(2)]
            return (parts[0] + 1j * parts[1]).astype(found.numpy)
        if found.numpy.kind != "f":
            return numbers.integers(np.iinfo(found.numpy).min, np.iinfo(found.numpy).max, shape, found.numpy, endpoint=True)
        array = (numbers.integers(-4, 5, shape) if whole else numbers.uniform(-2, 2, shape)).astype(found.numpy)
        return found.widened(found.halved(array)) if found.is_half else array

    src = fill(found.src_shape)
    non_finite = found.takes_indices or found.pooling.kind in able.non_finite_pools if found.pooling else able.non_finite
    if whole and non_finite and found.numpy.kind == "f" and src.size and rng.random() < 0.1:
        for _ in range(rng.randint(1, 3)):
            src.flat[rng.randrange(src.size)] = rng.choice((np.nan, np.inf, -np.inf))
    weights = None if found.pooling else fill(found.weights_shape)
    bias = fill((found.out_channels,)) if found.bias else None
    channels = [fill((found.out_channels,)) for step in found.then if step.name in PER_CHANNEL]
    indices = numbers.integers(0, np.prod(found.output), found.src_shape) if found.takes_indices else None
    return Tensors(src, weights, bias, channels=channels, indices=indices)


def then(rng: Random, whole: bool, found: Layer) -> tuple[Step, ...]:
    """Up to two steps, and seldom a softmax behind them; those that round nothing for whole numbers, or for averages of such, which are fractions."""
    if found.is_complex:
        steps = (Step("neg"), Step("mul", (2.0,)), Step("shift"), Step("mul", (2.0 if whole else -1.7,)))
        return tuple(rng.choice(steps) for _ in range(rng.choices((0, 1, 2), (5, 4, 1))[0]))
    if found.numpy.kind != "f" or found.takes_indices or found.return_indices:
        return ()
    exact = [Step("relu"), Step("relu6"), Step("clamp", (-5.0, 20.0)), Step("abs"), Step("neg"), Step("mul", (2.0,))]
    if not (whole and found.pooling and found.pooling.kind != "max"):
        exact += [Step("add", (-7.0,)), *map(Step, PER_CHANNEL)]
    others = [Step("leaky_relu"), Step("leaky_relu", (0.3,)), Step("clamp", (-0.5, 2.25))]
    others += [Step("elu"), Step("elu", (0.5,)), Step("celu"), Step("celu", (2.5,)), Step("add", (0.3,)), Step("mul", (-1.7,))]
    others += [Step(name) for name in ("sigmoid", "tanh", "silu", "hardswish", "gelu", "gelu_tanh", "selu", "softplus", "softsign")]
    others += [Step(name) for name in ("log_sigmoid", "hard_sigmoid", "mish")]
    steps = tuple(rng.choice(exact if whole else exact + others) for _ in range(rng.choices((0, 1, 2), (5, 4, 1))[0]))
    has_softmax = not whole and not found.is_half and rng.random() < 0.1
    return (*steps, Step("softmax")) if has_softmax else steps
