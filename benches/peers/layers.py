"""Convolution layers: what one is, and the sets that are measured.

Shapes are written outermost axis first: an input is `[n, c, (d, (h,)) w]`, weights `[k, c / groups, (kd, (kh,)) kw]`, of transposed
layers `[c, k / groups, (kd, (kh,)) kw]`.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

SPATIAL = {1: "l", 2: "hw", 3: "dhw"}


@dataclass(frozen=True)
class Layer:
    """One convolution in f32. The tuples have one element per spatial axis; all sizes are in elements."""

    name: str
    batch: int
    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    """Zeros before and after."""
    dilation: tuple[int, ...]
    groups: int = 1
    bias: bool = True
    transposed: bool = False
    """Each input is spread over a window of the output; `padding` is what is taken off it."""

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def output(self) -> tuple[int, ...]:
        axes = zip(self.size, self.kernel, self.stride, self.padding, self.dilation)
        if self.transposed:
            return tuple((size - 1) * stride + dilation * (kernel - 1) + 1 - lo - hi
                         for size, kernel, stride, (lo, hi), dilation in axes)
        return tuple((size + lo + hi - dilation * (kernel - 1) - 1) // stride + 1
                     for size, kernel, stride, (lo, hi), dilation in axes)

    @property
    def input_shape(self) -> list[int]:
        return [self.batch, self.in_channels, *self.size]

    @property
    def weights_shape(self) -> list[int]:
        if self.transposed:
            return [self.in_channels, self.out_channels // self.groups, *self.kernel]
        return [self.out_channels, self.in_channels // self.groups, *self.kernel]

    @property
    def output_shape(self) -> list[int]:
        return [self.batch, self.out_channels, *self.output]

    @property
    def terms(self) -> int:
        """Products in the sum of one output element; transposed at most."""
        return self.in_channels // self.groups * math.prod(self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those with padding counted too."""
        windows = math.prod(self.size if self.transposed else self.output)
        return self.batch * self.out_channels * windows * self.terms

    def text(self, layout: str = "nchw") -> str:
        """The layer as Convoke reads it, on one line. `layout` is named as for 2-D: `nhwc` stands for `nlc` in 1-D."""
        axes = SPATIAL[self.rank]
        layout = layout.replace("hw", axes)
        at_end = layout.startswith(f"n{axes}")
        shape = [self.batch, *self.size, self.in_channels] if at_end else self.input_shape
        fields = [f"input: f32{shape} @ {layout}", f"out_channels: {self.out_channels}",
                  f"kernel_size: {numbers(self.kernel)}"]
        if any(stride != 1 for stride in self.stride):
            fields.append(f"stride: {numbers(self.stride)}")
        if any(lo or hi for lo, hi in self.padding):
            sides = tuple(str(lo) if lo == hi else f"{lo}..{hi}" for lo, hi in self.padding)
            fields.append(f"padding: {numbers(sides)}")
        if any(dilation != 1 for dilation in self.dilation):
            fields.append(f"dilation: {numbers(self.dilation)}")
        if self.groups != 1:
            fields.append(f"groups: {self.groups}")
        if self.bias:
            fields.append("bias: true")
        kind = "conv_transpose" if self.transposed else "conv"
        return f"{kind}{self.rank}d {self.name} {{ {', '.join(fields)} }}"

    def summary(self) -> str:
        """Like `r04 64>64 56x56 3x3 s2 g64`, for tables; a batch of 1 and what is 1 are left out."""
        parts = [self.name, *(["transposed"] if self.transposed else []), f"{self.in_channels}>{self.out_channels}", by(self.size), by(self.kernel)]
        for letter, values in ("s", self.stride), ("dil", self.dilation):
            if any(value != 1 for value in values):
                parts.append(letter + by(values if len(set(values)) > 1 else values[:1]))
        if self.groups != 1:
            parts.append("dw" if self.groups == self.in_channels == self.out_channels else f"g{self.groups}")
        if self.batch != 1:
            parts.append(f"n{self.batch}")
        return " ".join(parts)

    def with_name(self, name: str) -> "Layer":
        return replace(self, name=name)

    def to_json(self) -> dict:
        return asdict(self) | {"rank": self.rank, "output": self.output, "terms": self.terms, "macs": self.macs}

    @staticmethod
    def from_json(fields: dict) -> "Layer":
        """From what Convoke tells of a layer that it has read."""
        fields = fields | {name: tuple(fields[name]) for name in ("size", "kernel", "stride", "dilation")}
        return Layer(**fields | {"padding": tuple((lo, hi) for lo, hi in fields["padding"])})


def by(values: tuple[int, ...]) -> str:
    """Like `3x5`."""
    return "x".join(map(str, values))


def numbers(values: tuple) -> str:
    """Like `(3, 5)`, or `3` if all are the same."""
    return str(values[0]) if len(set(values)) == 1 else f"({', '.join(map(str, values))})"


def conv(name: str, channels: tuple[int, int], size: tuple[int, ...] | int, kernel: tuple[int, ...] | int, *,
         stride: int = 1, dilation: int = 1, groups: int = 1, batch: int = 1, padded: bool = True,
         bias: bool = True) -> Layer:
    """A layer padded so that a stride of 1 keeps the size, or not at all; a number stands for a square in 2-D."""
    size = (size, size) if isinstance(size, int) else size
    kernel = (kernel,) * len(size) if isinstance(kernel, int) else kernel
    around = tuple((dilation * (k - 1) // 2 if padded else 0,) * 2 for k in kernel)
    every = (1,) * len(size)
    return Layer(name, batch, *channels, size, kernel, tuple(stride * one for one in every), around,
                 tuple(dilation * one for one in every), groups, bias)


RESNET50 = [(3, 64, 224, 7, 2), (64, 256, 56, 1, 1), (64, 64, 56, 1, 1), (64, 64, 56, 3, 1), (256, 64, 56, 1, 1),
            (256, 512, 56, 1, 2), (256, 128, 56, 1, 2), (128, 128, 28, 3, 1), (128, 512, 28, 1, 1),
            (512, 128, 28, 1, 1), (512, 1024, 28, 1, 2), (512, 256, 28, 1, 2), (256, 256, 14, 3, 1),
            (256, 1024, 14, 1, 1), (1024, 256, 14, 1, 1), (1024, 2048, 14, 1, 2), (1024, 512, 14, 1, 2),
            (512, 512, 7, 3, 1), (512, 2048, 7, 1, 1), (2048, 512, 7, 1, 1)]


def resnet50(batch: int = 1) -> list[Layer]:
    """The different convolutions of ResNet-50 (version 1: the stride is in the first 1x1 of a block)."""
    return [conv(f"r{i:02}", (c, k), size, kernel, stride=stride, batch=batch)
            for i, (c, k, size, kernel, stride) in enumerate(RESNET50, 1)]


def vgg19() -> list[Layer]:
    """The different convolutions of VGG-19, all of them 3x3."""
    sizes = [(3, 64, 224), (64, 64, 224), (64, 128, 112), (128, 128, 112), (128, 256, 56), (256, 256, 56),
             (256, 512, 28), (512, 512, 28), (512, 512, 14)]
    return [conv(f"v{i:02}", (c, k), size, 3) for i, (c, k, size) in enumerate(sizes, 1)]


def depthwise() -> list[Layer]:
    """Depthwise 3x3 of MobileNet's sizes."""
    sizes = [(96, 112), (144, 56), (192, 28), (384, 14), (576, 14), (960, 7)]
    return [conv(f"dw{c}s{stride}", (c, c), size, 3, stride=stride, groups=c)
            for stride in (1, 2) for c, size in sizes]


def conv1d() -> list[Layer]:
    """A long filter, the stem of Whisper, blocks of WaveNet."""
    return [conv("fir", (1, 1), (160_000,), 1023), conv("whisper", (80, 512), (3000,), 3),
            *(conv(f"wavenet{d}", (512, 512), (3000,), 3, dilation=d) for d in (1, 2, 4, 8))]


def first() -> list[Layer]:
    """First layers: one, three and four channels."""
    kinds = [("digits", 1, 32, 28, 5, 1), ("grey", 1, 64, 224, 7, 2), ("stem3", 3, 32, 224, 3, 2),
             ("vgg", 3, 64, 224, 3, 1), ("patch16", 3, 768, 224, 16, 16), ("alexnet", 3, 96, 227, 11, 4),
             ("rgba", 4, 32, 224, 3, 1), ("stem4", 4, 64, 224, 7, 2)]
    return [conv(name, (c, k), size, kernel, stride=stride, padded=kernel % 2 == 1)
            for name, c, k, size, kernel, stride in kinds]


def transposed() -> list[Layer]:
    """A decoder, layers of DCGAN, U-Net, HiFi-GAN and V-Net."""
    kinds = [("decoder", 256, 128, (28, 28), 4, 2), ("dcgan1", 512, 256, (4, 4), 4, 2), ("dcgan2", 256, 128, (8, 8), 4, 2),
             ("dcgan3", 128, 64, (16, 16), 4, 2), ("dcgan4", 64, 3, (32, 32), 4, 2), ("unet1", 1024, 512, (28, 28), 2, 2),
             ("unet4", 128, 64, (196, 196), 2, 2), ("hifigan1", 512, 256, (32,), 16, 8), ("hifigan4", 64, 32, (4096,), 4, 2),
             ("vnet", 64, 32, (16, 32, 32), 2, 2)]
    layers = [conv(name, (c, k), size, kernel, stride=stride, padded=False) for name, c, k, size, kernel, stride in kinds]
    # So that the output is `stride` times as large.
    return [replace(layer, transposed=True, padding=(((layer.kernel[0] - layer.stride[0]) // 2,) * 2,) * layer.rank)
            for layer in layers]


SETS: dict[str, Callable[[], list[Layer]]] = {
    "resnet50": resnet50,
    "resnet50-b16": lambda: resnet50(16),
    "vgg19": vgg19,
    "depthwise": depthwise,
    "conv1d": conv1d,
    "conv3d": lambda: [conv("c3d", (64, 64), (16, 56, 56), 3)],
    "dilation": lambda: [conv(f"dil{d}", (256, 256), 28, 3, dilation=d) for d in (1, 2, 4, 8)],
    "first": first,
    "transposed": transposed,
}
"""Every set by its name; `sweep` has arguments of its own."""

SWEEP_MACS = (200_000, 2_000_000_000)
"""The least and the most multiply-accumulates of a layer of the sweep."""

SWEEP_SIZES = [7, 8, 13, 14, 16, 19, 27, 28, 32, 35, 56, 64, 71, 80, 112, 147, 160, 224]
"""Of its images."""


def sweep(count: int = 200, seed: int = 1) -> list[Layer]:
    """`count` different layers as networks have them, odd sizes among them; the same for the same `seed`."""
    found: dict[Layer, None] = {}
    for layer in candidates(random.Random(seed)):
        least, most = SWEEP_MACS
        if least <= layer.macs <= most:
            found[layer] = None
        if len(found) == count:
            break
    return [layer.with_name(f"s{i:03}") for i, layer in enumerate(found)]


def candidates(rng: random.Random) -> Iterator[Layer]:
    """Layers without end, each legal, of any amount of work."""
    while True:
        size = rng.choice([*SWEEP_SIZES, rng.randint(7, 224)])
        kernel = rng.choices([1, 2, 3, 4, 5, 7, 9, 11], [30, 2, 40, 3, 10, 8, 3, 4])[0]
        kernels = rng.choices([(kernel, kernel), (1, kernel), (kernel, 1)], [14, 1, 1])[0]
        stride = rng.choices([1, 2, 3, 4], [65, 30, 2, 3])[0]
        dilation = rng.choices([1, 2, 3, 4], [85, 9, 2, 4])[0] if max(kernels) > 1 else 1
        inputs, outputs = channels(rng), channels(rng)
        groups = 1
        kind = rng.choices(["dense", "depthwise", "grouped", "first"], [65, 17, 10, 8])[0]
        if kind == "depthwise":
            groups, outputs = inputs, inputs * rng.choices([1, 2], [9, 1])[0]
        elif kind == "grouped":
            groups = rng.choice([2, 3, 4, 8, 32])
            inputs, outputs = -(-inputs // groups) * groups, -(-outputs // groups) * groups
        elif kind == "first":
            inputs = rng.choice([1, 2, 3, 4])
        padded = rng.random() < 0.8
        size = (size, size if rng.random() < 0.8 else rng.randint(7, 224))
        layer = conv("x", (inputs, outputs), size, kernels, stride=stride, dilation=dilation, groups=groups,
                     padded=padded, bias=rng.random() < 0.8)
        if max(inputs, outputs) <= 1024 and min(layer.output) > 0:
            yield layer


def channels(rng: random.Random) -> int:
    """From 1 to 1024: mostly multiples of 16, some of 8, some odd; small ones as often as large ones."""
    about = 2 ** rng.uniform(0, 10)
    step = rng.choices([16, 8, 1], [5, 2, 3])[0]
    return min(1024, max(step, round(about / step) * step))
