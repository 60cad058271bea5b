"""Random ONNX graphs of small convolutional networks: what exporters write, in all layouts, with branches, gates and shuffles.

A graph follows from its generator of random numbers alone. Its weights are random and leave all values of order one (`random_weights`).
"""

from collections.abc import Callable
from random import Random

import numpy as np
from onnx import ModelProto

import random_weights
from graph_builder import Builder

MOST_ELEMENTS = 30_000
"""Of a value; what would make more is left out."""


def make(rng: Random) -> ModelProto:
    build = Builder(rng, rng.choice((11, 13, 13, 17, 18, 21)))
    rank = rng.choices((1, 2, 3), (3, 8, 1))[0]
    spatial = [rng.randint(*((16, 60), (6, 20), (4, 8))[rank - 1]) for _ in range(rank)]
    batch, channels = rng.choice((1, 1, 2, 3)), rng.choice((1, 2, 3, 4, 8, 16))
    last = rng.random() < 0.25
    sizes = (batch, *spatial, channels) if last else (batch, channels, *spatial)
    x = build.input(*sizes)
    x = build.add("Transpose", x, perm=[0, rank + 1, *range(1, rank + 1)]) if last else x
    if rng.random() < 0.15:
        x = build.add("Add", x, build.input(*build.shape(x)))
    x = _convolution(build, x)
    others = []
    for _ in range(rng.randint(2, 8)):
        x = rng.choices(list(STEPS), list(STEPS.values()))[0](build, x)
        if rng.random() < 0.05:
            others.append(x)
    head = rng.random()
    if head < 0.6:
        x = _classifier(build, x)
    elif head < 0.7:
        x = build.add("Softmax", x, axis=1) if build.opset >= 13 else build.add("Sigmoid", x)
    elif head < 0.85:
        x = build.add("Transpose", x, perm=[0, *range(2, rank + 2), 1])
    outputs = [x, *(other for other in others if other != x)]
    return build.model(outputs, rng.getrandbits(32))


Step = Callable[[Builder, str], str]


def _convolution(build: Builder, x: str) -> str:
    rng, (_, channels, *spatial) = build.rng, build.shape(x)
    groups = rng.choice([1, 1, *(g for g in (2, 4, channels) if channels % g == 0)])
    made = groups * rng.choice((1, 1, 2)) if groups == channels > 1 else groups * max(1, rng.randint(1, 24) // groups)
    dilations = [rng.choice((1, 1, 1, 2)) for _ in spatial]
    kernel = [rng.choice((1, 3, 3, 5, 2, 4)) for _ in spatial]
    kernel = [k if (k - 1) * d + 1 <= size else 1 for k, d, size in zip(kernel, dilations, spatial)]
    attributes: dict[str, object] = {"kernel_shape": kernel, "strides": [rng.choice((1, 1, 1, 2)) for _ in spatial]}
    attributes |= {"group": groups} if groups > 1 or rng.random() < 0.5 else {}
    if rng.random() < 0.15:
        attributes["auto_pad"] = rng.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
    else:
        attributes["pads"] = _pads(rng, kernel)
        attributes["dilations"] = dilations
    bias = [build.weights(made)] if rng.random() < 0.6 else []
    return build.add("Conv", x, build.weights(made, channels // groups, *kernel), *bias, **attributes)


def _pads(rng: Random, kernel: list[int]) -> list[int]:
    """At the beginnings, and then at the ends: mostly half of the window."""
    if rng.random() < 0.7:
        return [k // 2 for k in kernel] * 2
    return [rng.randrange(k) for k in kernel * 2]


def _transposed(build: Builder, x: str) -> str:
    rng, (_, channels, *spatial) = build.rng, build.shape(x)
    groups = rng.choice([1, 1, *(g for g in (2,) if channels % g == 0)])
    strides = [rng.choice((1, 2, 2)) for _ in spatial]
    kernel = [rng.choice((2, 3, 4)) for _ in spatial]
    if 16 * np.prod([size * s for size, s in zip(spatial, strides)]) > MOST_ELEMENTS:
        return x
    pads = [rng.choice((0, 0, 1)) for _ in kernel * 2]
    pads = [pad if size > 1 else 0 for pad, size in zip(pads, spatial * 2)]
    more = [rng.randrange(s) for s in strides]
    made, bias = rng.choice((1, 2, 3, 4)), rng.random() < 0.5
    operands = [x, build.weights(channels, made, *kernel), *([build.weights(made * groups)] if bias else [])]
    return build.add("ConvTranspose", *operands, kernel_shape=kernel, strides=strides, pads=pads, output_padding=more, group=groups)


def _normalization(build: Builder, x: str) -> str:
    channels = build.shape(x)[1]
    return build.add("BatchNormalization", x, *(build.weights(channels) for _ in range(4)), epsilon=build.rng.choice((1e-5, 1e-3)))


def _own_statistics(build: Builder, x: str) -> str:
    """By means and deviations of what comes: of channels, of groups of them, or of the last axis or two, also as exporters write that out."""
    rng, (_, channels, *spatial) = build.rng, build.shape(x)
    epsilon = rng.choice((1e-5, 1e-3, 0.1))
    kind = rng.choice(("instance", "group", "layer", "layer", "written", "written"))
    if kind == "instance" and np.prod(spatial) >= FEWEST:
        return build.add("InstanceNormalization", x, build.weights(channels), build.weights(channels), epsilon=epsilon)
    groups = [n for n in range(1, channels + 1) if channels % n == 0 and channels // n * np.prod(spatial) >= FEWEST]
    if kind == "group" and build.opset >= 21 and groups:
        numbers = [build.weights(channels), build.weights(channels)]
        return build.add("GroupNormalization", x, *numbers, num_groups=rng.choice(groups), epsilon=epsilon)
    rank = len(spatial) + 2
    turned = rng.random() < 0.5
    x = build.add("Transpose", x, perm=[0, *range(2, rank), 1]) if turned else x
    sizes = build.shape(x)
    first = rng.choice([rank - 1, rank - 1, *range(1, rank)]) if kind == "layer" else rank - 1
    if np.prod(sizes[first:]) >= FEWEST:
        if kind == "written":
            x = _written_out(build, x, epsilon)
        elif build.opset >= 17:
            bias = [build.weights(*sizes[first:])] if rng.random() < 0.7 else []
            axis = rng.choice((first, first - rank))
            x = build.add("LayerNormalization", x, build.weights(*sizes[first:]), *bias, axis=axis, epsilon=epsilon)
    return build.add("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)]) if turned else x


FEWEST = 8
"""Elements whose variance is taken: of fewer it may be next to nothing, and all that is left are roundings."""


def _written_out(build: Builder, x: str, epsilon: float) -> str:
    rng = build.rng

    def mean(of: str) -> str:
        if build.opset >= 18:
            return build.add("ReduceMean", of, build.sizes(-1), keepdims=1)
        return build.add("ReduceMean", of, axes=[-1], keepdims=1)

    def difference() -> str:
        return build.add("Sub", x, mean(x))

    d = difference()
    again = difference() if rng.random() < 0.3 else d
    squares = build.add("Pow", again, build.numbers(2.0)) if rng.random() < 0.6 else build.add("Mul", again, again)
    root = build.add("Sqrt", build.add("Add", *rng.sample((mean(squares), build.numbers(epsilon)), 2)))
    made = build.add("Div", d, root) if rng.random() < 0.7 else build.add("Mul", *rng.sample((d, build.add("Reciprocal", root)), 2))
    if rng.random() < 0.8:
        made = build.add("Mul", *rng.sample((made, build.weights(build.shape(x)[-1])), 2))
        made = build.add("Add", *rng.sample((made, build.weights(build.shape(x)[-1])), 2))
    return made


def _pool(build: Builder, x: str) -> str:
    rng, (_, _, *spatial) = build.rng, build.shape(x)
    kernel = [min(rng.choice((2, 2, 3, 3, 4)), size) for size in spatial]
    strides = [rng.choice((1, 2, 2, 3)) for _ in spatial]
    attributes: dict[str, object] = {"kernel_shape": kernel, "strides": strides}
    if rng.random() < 0.4:
        attributes["pads"] = [rng.choice((0, k // 2)) for k in kernel * 2]
    elif rng.random() < 0.3 and all(s <= k for s, k in zip(strides, kernel)):
        # Elsewhere a last window may have no element, and ONNX Runtime's shapes are not those that it makes.
        attributes["ceil_mode"] = 1
    if rng.random() < 0.5:
        return build.add("MaxPool", x, **attributes)
    # What `ceil_mode` counts is a matter of versions.
    whole = {"count_include_pad": rng.randrange(2)} if "ceil_mode" not in attributes else {}
    return build.add("AveragePool", x, **attributes, **whole)


def _activation(build: Builder, x: str) -> str:
    rng = build.rng
    kind = rng.choice(("Relu", "Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu", "Selu", "Celu", "Softplus",
                       "Softsign", "PRelu", "Silu", "Gelu", "Mish", "Abs", "Neg"))
    if kind == "Celu" and build.opset < 12:
        kind = "Elu"
    if kind == "Clip":
        low = rng.choice((0.0, -1.0))
        return build.add("Clip", x, build.numbers(low), build.numbers(rng.choice((1.0, 6.0))))
    if kind == "PRelu":
        channels, rank = build.shape(x)[1], len(build.shape(x)) - 2
        return build.add("PRelu", x, build.weights(channels, *[1] * rank))
    if kind == "Silu":
        return build.add("Mul", x, build.add("Sigmoid", x))
    if kind == "Gelu":
        error = build.add("Erf", build.add("Div", x, build.numbers(2**0.5)))
        return build.add("Mul", build.add("Mul", x, build.add("Add", error, build.numbers(1.0))), build.numbers(0.5))
    if kind == "Mish":
        return build.add("Mul", x, build.add("Tanh", build.add("Softplus", x)))
    if kind == "HardSwish" and build.opset < 14:
        clipped = build.add("Clip", build.add("Add", x, build.numbers(3.0)), build.numbers(0.0), build.numbers(6.0))
        return build.add("Div", build.add("Mul", x, clipped), build.numbers(6.0))
    attributes = {"LeakyRelu": {"alpha": 0.1}, "HardSigmoid": {"alpha": 0.25, "beta": 0.4}, "Elu": {"alpha": 0.7}, "Celu": {"alpha": 1.5}}
    return build.add(kind, x, **attributes.get(kind, {}))


def _logarithm(build: Builder, x: str) -> str:
    """Of what is positive."""
    positive = build.add("Mul", x, x) if build.rng.random() < 0.5 else build.add("Abs", x)
    return build.add("Log", build.add("Add", positive, build.numbers(build.rng.choice((0.25, 1.0)))))


def _between(build: Builder, x: str) -> str:
    """From the least element to the greatest, of an image or of some of its axes; as TensorFlow has it, 0 where all are the same."""
    rng, shape = build.rng, build.shape(x)
    some = sorted(rng.sample(range(1, len(shape)), rng.randint(1, len(shape) - 1)))
    axes = some if rng.random() < 0.5 else list(range(1, len(shape)))
    # What has three axes of space and one channel for several is refused.
    axes = [axis for axis in axes if axis > 1] if len(shape) == 5 else axes
    kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
    if np.prod([size for axis, size in enumerate(shape) if axis in axes]) < 8:
        # The greatest of few may be about the least.
        return x

    def extreme(operator: str, value: str) -> str:
        keepdims = rng.randrange(2)
        given = ([build.sizes(*axes)], {}) if build.opset >= 18 else ([], {"axes": axes})
        made = build.add(operator, value, *given[0], **given[1], keepdims=keepdims)
        return made if keepdims else build.add("Reshape", made, build.sizes(*kept))

    above = build.add("Sub", x, extreme("ReduceMin", x))
    size = extreme("ReduceMax", above)
    quotient = build.add("Div", above, size)
    if rng.random() < 0.5:
        return quotient
    zero = build.numbers(0.0)
    return build.add("Where", build.add("Equal", *rng.sample((size, zero), 2)), zero, quotient)


def _scaled(build: Builder, x: str) -> str:
    """By a number, or by one a channel; and the same for a sum."""
    channels, rank = build.shape(x)[1], len(build.shape(x)) - 2
    shape = build.rng.choice(((), (channels, *[1] * rank), (1, channels, *[1] * rank)))
    first, second = build.rng.choice((("Mul", "Add"), ("Add", "Mul"), ("Add", "Relu"), ("Div", "Add"), ("Sub", "Mul")))
    for operator in (first, second):
        x = build.add(operator, x, *([build.weights(*shape)] if operator != "Relu" else []))
    return x


def _same_size(build: Builder, x: str, made: int) -> str:
    """A convolution that keeps the sizes of the image."""
    _, channels, *spatial = build.shape(x)
    side = build.rng.choice((1, 3))
    weights = build.weights(made, channels, *[side] * len(spatial))
    bias = [build.weights(made)] if build.rng.random() < 0.5 else []
    return build.add("Conv", x, weights, *bias, pads=[side // 2] * (2 * len(spatial)))


def _residual(build: Builder, x: str) -> str:
    branch = x
    for _ in range(build.rng.randint(1, 2)):
        branch = _same_size(build, build.add("Relu", branch) if build.rng.random() < 0.5 else branch, build.shape(x)[1])
        branch = _normalization(build, branch) if build.rng.random() < 0.4 else branch
    summed = build.add(build.rng.choice(("Add", "Add", "Sum")), *build.rng.sample((x, branch), 2))
    return build.add("Relu", summed) if build.rng.random() < 0.6 else summed


def _branches(build: Builder, x: str) -> str:
    """Joined in their channels, or one behind the other."""
    parts = [_same_size(build, x, build.rng.randint(1, 8)) for _ in range(build.rng.randint(1, 3))]
    parts = [build.add("Relu", part) if build.rng.random() < 0.5 else part for part in parts]
    if build.rng.random() < 0.4:
        parts.append(x)
    if build.rng.random() < 0.2:
        same = _same_size(build, x, build.shape(parts[0])[1])
        return build.add("Concat", parts[0], same, axis=2)
    return build.add("Concat", *parts, axis=1)


def _slice(build: Builder, x: str) -> str:
    """Of channels, of an axis, or of all."""
    rng, shape = build.rng, build.shape(x)
    axes = sorted(rng.sample(range(1, len(shape)), rng.randint(1, len(shape) - 1)))
    starts = [rng.randrange(max(1, shape[axis] // 3)) for axis in axes]
    ends = [rng.choice((shape[axis], 2**31 - 1, max(start + 1, shape[axis] - 1))) for axis, start in zip(axes, starts)]
    steps = [1 if axis == 1 else rng.choice((1, 1, 2)) for axis in axes]
    if rng.random() < 0.2:
        starts[0], ends[0] = starts[0] - shape[axes[0]], 2**31 - 1
    return build.add("Slice", x, build.sizes(*starts), build.sizes(*ends), build.sizes(*axes), build.sizes(*steps))


def _pad(build: Builder, x: str) -> str:
    rank = len(build.shape(x)) - 2
    sides = [build.rng.choice((0, 1, 1, 2)) for _ in range(2 * rank)]
    pads = build.sizes(0, 0, *sides[:rank], 0, 0, *sides[rank:])
    value = [build.numbers(build.rng.choice((0.0, 0.5)))] if build.rng.random() < 0.5 else []
    return build.add("Pad", x, pads, *value)


def _shuffle(build: Builder, x: str) -> str:
    """ShuffleNet's: the channels of groups take turns."""
    batch, channels, *spatial = build.shape(x)
    groups = next((g for g in (4, 3, 2) if channels % g == 0), 1)
    split = build.add("Reshape", x, build.sizes(batch, groups, channels // groups, *spatial))
    turned = build.add("Transpose", split, perm=[0, 2, 1, *range(3, 3 + len(spatial))])
    return build.add("Reshape", turned, build.sizes(build.rng.choice((batch, -1)), channels, *spatial))


def _resize(build: Builder, x: str) -> str:
    rng, (_, channels, *spatial) = build.rng, build.shape(x)
    if rng.random() < 0.4:
        return _repeated(build, x)
    sizes = [rng.choice((size, 2 * size, max(1, size // 2), rng.randint(1, 2 * size + 1))) for size in spatial]
    if channels * np.prod(sizes) > MOST_ELEMENTS or max(sizes) > MOST_POSITIONS:
        return x
    attributes = {"coordinate_transformation_mode": rng.choice(COORDINATES)}
    none = build.numbers([]) if build.opset < 13 else ""
    if rng.random() < 0.7 or not _is_exact(spatial, sizes):
        attributes["mode"] = "linear"
        if rng.random() < 0.3 and sizes != spatial:
            # Products that are no whole numbers, and so far from them that rounding does not matter. Of the same sizes ONNX Runtime copies
            # the image, whatever the scales are.
            scales = [(to + 0.25) / size for size, to in zip(spatial, sizes)]
            return build.add("Resize", x, none, build.numbers([1, 1, *scales]), **attributes)
    else:
        attributes |= {"mode": "nearest", "nearest_mode": rng.choice(ROUNDINGS)}
    return build.add("Resize", x, none, none, build.sizes(*build.shape(x)[:2], *sizes), **attributes)


COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
MOST_POSITIONS = 256
"""Along an axis: ONNX Runtime rounds them to floats, which are the farther apart the greater they are."""
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def _is_exact(sizes: list[int], made: list[int]) -> bool:
    """Whether the scales are numbers of a float: others are rounded, and then the nearest of two elements may be the other."""
    return all((to / size * 16).is_integer() for size, to in zip(sizes, made))


def _repeated(build: Builder, x: str) -> str:
    rng, (_, channels, *spatial) = build.rng, build.shape(x)
    scales = [rng.choice((1, 2, 2, 3)) for _ in spatial]
    if channels * np.prod([size * scale for size, scale in zip(spatial, scales)]) > MOST_ELEMENTS:
        return x
    exported = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    region = build.numbers([]) if build.opset < 13 else ""
    return build.add("Resize", x, region, build.numbers([1, 1, *scales]), mode="nearest", **(exported if rng.random() < 0.7 else {}))


def _gate(build: Builder, x: str) -> str:
    """Squeeze-and-excitation: a factor for each channel of an image; or one for each element."""
    rng, (_, channels, *spatial) = build.rng, build.shape(x)
    if rng.random() < 0.3:
        return build.add("Mul", x, build.add("Sigmoid", _same_size(build, x, channels)))
    mean = _mean(build, x) if rng.random() < 0.5 else build.add("GlobalAveragePool", x)
    fewer, ones = max(1, channels // 2), [1] * len(spatial)
    inner = build.add("Relu", build.add("Conv", mean, build.weights(fewer, channels, *ones), build.weights(fewer)))
    outer = build.add("Conv", inner, build.weights(channels, fewer, *ones), build.weights(channels))
    return build.add("Mul", *rng.sample((x, build.add(rng.choice(("Sigmoid", "HardSigmoid")), outer)), 2))


def _mean(build: Builder, x: str, keepdims: int = 1) -> str:
    axes = list(range(2, len(build.shape(x))))
    if build.opset >= 18:
        return build.add("ReduceMean", x, build.sizes(*axes), keepdims=keepdims)
    return build.add("ReduceMean", x, axes=axes, keepdims=keepdims)


def _neighbours(build: Builder, x: str) -> str:
    if len(build.shape(x)) != 4:
        return x
    return build.add("LRN", x, size=build.rng.choice((3, 5)), alpha=0.1, beta=0.75, bias=1.0)


def _recurrent(build: Builder, x: str) -> str:
    """The last axis as positions, all others as channels, and the states of all positions or behind the last; several of those together."""
    rng, (batch, channels, *spatial, length) = build.rng, build.shape(x)
    flat = build.add("Reshape", x, build.sizes(batch, -1, length)) if spatial else x
    operator, hidden = rng.choice(("LSTM", "GRU")), rng.randint(1, 12)
    gates = random_weights.RECURRENT[operator]
    direction = rng.choice(("forward", "reverse", "bidirectional"))
    ways = 2 if direction == "bidirectional" else 1
    signal = build.add("Transpose", flat, perm=[2, 0, 1])
    weights = [build.weights(ways, gates * hidden, build.shape(signal)[2]), build.weights(ways, gates * hidden, hidden)]
    bias = build.weights(ways, 2 * gates * hidden) if rng.random() < 0.7 else ""
    states = _states(build, x, 2 if operator == "LSTM" else 1, (ways, batch, hidden))
    attributes = {"linear_before_reset": 1} if operator == "GRU" else {}
    count = rng.randint(1, 3 if operator == "LSTM" else 2)
    made = build.add_many(count, operator, signal, *weights, bias, "", *states, hidden_size=hidden, direction=direction, **attributes)
    whole = build.add("Reshape", build.add("Transpose", made[0], perm=[0, 2, 1, 3]), build.sizes(length, batch, ways * hidden))
    whole = build.add("Transpose", whole, perm=[1, 2, 0])
    parts = [build.add("Reshape", build.add("Transpose", one, perm=[1, 0, 2]), build.sizes(batch, ways * hidden, 1)) for one in made[1:]]
    if parts and rng.random() < 0.3:
        whole = parts.pop()
    for part in parts:
        whole = build.add(rng.choice(("Add", "Mul")), whole, part)
    return build.add("Reshape", whole, build.sizes(batch, ways * hidden, *(1 for _ in spatial), -1)) if spatial else whole


def _states(build: Builder, x: str, count: int, shape: tuple[int, int, int]) -> list[str]:
    """States before the first position: none, zeros, inputs, or what layers make."""
    rng, (ways, batch, hidden) = build.rng, shape
    kind = rng.choice(("none", "zeros", "inputs", "layers"))
    if kind == "zeros":
        zeros = build.constant(np.zeros(shape, np.float32))
        build.fixed.add(zeros)
        return [zeros] * count
    if kind == "inputs" and (ways == 1 or batch == 1):
        return [build.input(*shape) for _ in range(count)]
    if kind == "layers":
        mean = build.add("Flatten", build.add("GlobalAveragePool", x), axis=1)
        made = [build.add("Tanh", _linear(build, mean, ways * hidden)) for _ in range(count)]
        return [build.add("Transpose", build.add("Reshape", one, build.sizes(batch, ways, hidden)), perm=[1, 0, 2]) for one in made]
    return []


def _attention(build: Builder, x: str) -> str:
    """Pixels that look at each other, with several heads, and what they were before."""
    rng, (batch, channels, *spatial) = build.rng, build.shape(x)
    length = int(np.prod(spatial))
    if length > 120:
        return x
    heads, size = rng.choice((1, 2, 3, 4)), rng.randint(1, 9)
    flat = build.add("Transpose", build.add("Reshape", x, build.sizes(batch, channels, -1)), perm=[0, 2, 1])
    way = rng.choice((_heads_together, _heads_apart, _heads_in_the_batch) if batch == 1 else (_heads_together, _heads_apart))
    q, k, v = way(build, flat, heads, size)
    factor = build.numbers(size**-0.5)
    q = build.add("Mul", q, factor) if (before := rng.random() < 0.5) else q
    scores = build.add("MatMul", q, k)
    scores = scores if before else build.add("Mul", scores, factor)
    scores = build.add("Add", scores, build.weights(length, length)) if rng.random() < 0.2 else scores
    made = build.add("MatMul", build.add("Softmax", scores, axis=len(build.shape(scores)) - 1), v)
    made = build.add("Transpose", made, perm=[0, 2, 1, 3] if len(build.shape(made)) == 4 else [1, 0, 2])
    made = build.add("Reshape", made, build.sizes(batch, length, heads * size))
    made = build.add("MatMul", made, build.weights(heads * size, channels))
    if rng.random() < 0.5:
        return build.add("Add", x, build.add("Reshape", build.add("Transpose", made, perm=[0, 2, 1]), build.sizes(batch, channels, *spatial)))
    made = build.add("Transpose", build.add("Add", made, flat), perm=[0, 2, 1])
    return build.add("Reshape", made, build.sizes(batch, channels, *spatial))


def _heads_together(build: Builder, flat: str, heads: int, size: int) -> tuple[str, str, str]:
    """One layer for all three, taken apart behind it."""
    rng, (batch, length, channels) = build.rng, build.shape(flat)
    made = build.add("MatMul", flat, build.weights(channels, 3 * heads * size))
    made = build.add("Add", made, build.weights(3 * heads * size)) if rng.random() < 0.5 else made
    made = build.add("Transpose", build.add("Reshape", made, build.sizes(batch, length, 3, heads, size)), perm=[2, 0, 3, 1, 4])
    if rng.random() < 0.4:
        parts = [build.add("Gather", made, build.constant(np.array(at, np.int64)), axis=0) for at in range(3)]
    else:
        parts = [build.add("Slice", made, build.sizes(at), build.sizes(at + 1), build.sizes(0)) for at in range(3)]
        parts = [build.add("Reshape", part, build.sizes(batch, heads, length, size)) for part in parts]
    q, k, v = parts
    return q, build.add("Transpose", k, perm=[0, 1, 3, 2]), v


def _heads_apart(build: Builder, flat: str, heads: int, size: int) -> tuple[str, str, str]:
    """A layer for each of the three; keys with their sizes turned in one step."""
    batch, length, channels = build.shape(flat)
    made = [build.add("MatMul", flat, build.weights(channels, heads * size)) for _ in range(3)]
    made = [build.add("Reshape", one, build.sizes(batch, length, heads, size)) for one in made]
    q, k, v = (build.add("Transpose", one, perm=perm) for one, perm in zip(made, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])))
    return q, k, v


def _heads_in_the_batch(build: Builder, flat: str, heads: int, size: int) -> tuple[str, str, str]:
    """Of one image, as PyTorch's `MultiheadAttention` has it: heads come first."""
    _, length, channels = build.shape(flat)
    made = [build.add("MatMul", flat, build.weights(channels, heads * size)) for _ in range(3)]
    made = [build.add("Reshape", one, build.sizes(length, heads, size)) for one in made]
    q, k, v = (build.add("Transpose", one, perm=perm) for one, perm in zip(made, ([1, 0, 2], [1, 2, 0], [1, 0, 2])))
    return q, k, v


def _classifier(build: Builder, x: str) -> str:
    """Features as a row, and one or two layers of them."""
    rng, shape = build.rng, build.shape(x)
    way = rng.choice(("flatten", "mean", "pool")) if np.prod(shape[1:]) <= 2000 else "pool"
    if way == "mean":
        x = _mean(build, x, keepdims=0)
    else:
        x = build.add(rng.choice(("GlobalAveragePool", "GlobalMaxPool")), x) if way == "pool" else x
        x = build.add("Flatten", x, axis=1) if rng.random() < 0.5 else build.add("Reshape", x, build.sizes(shape[0], -1))
    for _ in range(rng.randint(1, 2)):
        x = _linear(build, x, rng.randint(2, 20))
        x = build.add(rng.choice(("Relu", "Tanh")), x) if rng.random() < 0.5 else x
    return build.add("Softmax", x, axis=rng.choice((1, -1))) if rng.random() < 0.5 else x


def _linear(build: Builder, x: str, made: int) -> str:
    rng, channels = build.rng, build.shape(x)[1]
    if rng.random() < 0.3:
        x = build.add("MatMul", x, build.weights(channels, made))
        return build.add("Add", x, build.weights(made)) if rng.random() < 0.7 else x
    turned = rng.randrange(2)
    weights = build.weights(*((made, channels) if turned else (channels, made)))
    return build.add("Gemm", x, weights, build.weights(made), transB=turned)


STEPS: dict[Step, int] = {
    _convolution: 6, _activation: 6, _normalization: 3, _own_statistics: 2, _pool: 2, _residual: 3, _branches: 2, _gate: 2, _scaled: 2, _slice: 1, _pad: 1,
    _shuffle: 1, _resize: 1, _transposed: 2, _neighbours: 1, _recurrent: 1, _attention: 1, _logarithm: 1, _between: 1
}
"""What a network is made of, and how often."""
