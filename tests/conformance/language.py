"""A layer as this suite has it, and its text in Convoke's language.

Arrays are in PyTorch's order everywhere in the suite, `[n, c, (d, (h,)) w]` and `[out, in / groups, …]` (`[in, out / groups, …]`
if transposed); `store`, `store_weights` and `load` go to and from the order that the layer's text declares.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

AWAITED: frozenset[str] = frozenset()
"""Words that the suite writes and that Convoke may not know yet: a layer that it refuses with "there is no … `word`" is skipped. Any
other refusal is a failure. Once Convoke knows a word, it is to be taken out."""

LAYOUTS = {
    "first": ("ncl", "nchw", "ncdhw"),
    "last": ("nlc", "nhwc", "ndhwc"),
    "blocked": ("nCw{}c", "nChw{}c", "nCdhw{}c"),
}
WEIGHTS_LAYOUTS = {"first": ("oil", "oihw", "oidhw"), "last": ("lio", "hwio", "dhwio")}


PER_CHANNEL = {"scale": "mul", "shift": "add", "prelu": "leaky_relu"}
"""Steps of `then` that take a number for each output channel, and the steps that take the same for all."""


@dataclass(frozen=True)
class Step:
    """A step of `then`, such as `clamp` with its two arguments."""

    name: str
    args: tuple[float | np.ndarray, ...] = ()

    def text(self) -> str:
        return f"{self.name}({', '.join(map(number, self.args))})" if self.args else self.name


@dataclass(frozen=True)
class PaddingMode:
    """What stands in the padding; `value` is for `constant` alone."""

    name: str = "zeros"
    value: float = 0.0

    def text(self) -> str:
        return f"constant({number(self.value)})" if self.name == "constant" else self.name


@dataclass(frozen=True)
class Integers:
    """What a layer of integers says besides. A zero point or scale of the weights that is None is one an output channel."""

    weights: str = "i8"
    zero_point: int = 0
    weights_zero_point: int | None = 0
    output: str = "i32"
    scale: float = 0.0
    """This and the following are for an output of 8 bits."""
    weights_scale: float | None = 0.0
    output_scale: float = 0.0
    output_zero_point: int = 0

    def lines(self) -> list[str]:
        lines = [f"weights_type: {self.weights}", f"output: {self.output}"]
        lines += [f"input_zero_point: {self.zero_point}"]
        lines += [f"weights_zero_point: {'per_channel' if self.weights_zero_point is None else self.weights_zero_point}"]
        if self.output != "i32":
            weights_scale = "per_channel" if self.weights_scale is None else number(self.weights_scale)
            lines += [f"input_scale: {number(self.scale)}", f"weights_scale: {weights_scale}"]
            lines += [f"output_scale: {number(self.output_scale)}", f"output_zero_point: {self.output_zero_point}"]
        return lines


@dataclass(frozen=True)
class Pooling:
    """What a layer of pooling says besides."""

    kind: str
    """`max`, `avg` or `lp`; or `unpool`, which puts elements back where maxima were."""
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor: int | None = None
    p: int = 2
    """Of `lp`."""
    output: tuple[int, ...] = ()
    """If there is one, the input is shared out to so many windows; `Layer.kernel` is the longest."""
    return_indices: bool = False
    """Of `max`."""
    whole: bool = False
    """Whether the window is written as `global`; it is as large as the input."""

    def lines(self) -> list[str]:
        lines = ["ceil_mode: true"] if self.ceil_mode else []
        lines += [] if self.count_include_pad else ["count_include_pad: false"]
        lines += [] if self.divisor is None else [f"divisor: {self.divisor}"]
        lines += ["return_indices: true"] if self.return_indices else []
        return lines + ([] if self.p == 2 else [f"p: {self.p}"])


@dataclass(frozen=True)
class Deformable:
    """What a deformable layer says besides."""

    offset_groups: int = 1
    mask: bool = False

    def lines(self) -> list[str]:
        lines = [] if self.offset_groups == 1 else [f"offset_groups: {self.offset_groups}"]
        return lines + (["mask: true"] if self.mask else [])


Padding = str | tuple[tuple[int, int], ...]
"""`same`, `same_lower`, `valid` or `causal`, or the sides of every axis."""


@dataclass(frozen=True)
class Layer:
    """One convolution, or pooling (`Layer.pool`). Tuples have an element an axis, the last axis last."""

    batch: int
    channels: int
    spatial: tuple[int, ...]
    out_channels: int
    kernel: tuple[int, ...]
    transposed: bool = False
    stride: tuple[int, ...] = ()
    """1 everywhere if empty, of pooling as `kernel`; `dilation` is 1."""
    dilation: tuple[int, ...] = ()
    padding: Padding = "valid"
    padding_mode: PaddingMode = field(default_factory=PaddingMode)
    output_padding: tuple[int, ...] = ()
    """0 everywhere if empty."""
    output_size: tuple[int, ...] = ()
    """Not given if empty; as `output_padding`, for transposed layers, and for unpooling."""
    groups: int = 1
    bias: bool = False
    then: tuple[Step, ...] = ()
    dtype: str = "f32"
    layout: str = "first"
    weights_layout: str = "first"
    accuracy: str = ""
    """The default if empty."""
    named_batch: bool = False
    integers: Integers | None = None
    """For an input of `u8` or `i8`."""
    pooling: Pooling | None = None
    deformable: Deformable | None = None

    @classmethod
    def pool(
        cls, pooling: Pooling, batch: int, channels: int, spatial: tuple[int, ...], kernel: tuple[int, ...], **more: object
    ) -> "Layer":
        """A layer of pooling: as a depthwise one, but without weights."""
        return cls(batch, channels, spatial, channels, kernel, groups=channels, pooling=pooling, **more)

    @classmethod
    def adaptive_pool(cls, kind: str, output: tuple[int, ...], spatial: tuple[int, ...], **more: object) -> "Layer":
        """A layer of pooling whose windows share the input."""
        axes = [[len(window) for window in shared_out(size, count)] for size, count in zip(spatial, output)]
        return cls.pool(Pooling(kind, output=output), spatial=spatial, kernel=tuple(map(max, axes)), **more)

    @property
    def rank(self) -> int:
        return len(self.spatial)

    @property
    def strides(self) -> tuple[int, ...]:
        return self.stride or self._stride

    @property
    def _stride(self) -> tuple[int, ...]:
        """Where none is given."""
        return self.kernel if self.pooling else (1,) * self.rank

    @property
    def dilations(self) -> tuple[int, ...]:
        return self.dilation or (1,) * self.rank

    @property
    def extents(self) -> tuple[int, ...]:
        """How far the window reaches, with its gaps."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations))

    @property
    def src_shape(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *self.spatial)

    @property
    def weights_shape(self) -> tuple[int, ...]:
        if self.transposed:
            return (self.channels, self.out_channels // self.groups, *self.kernel)
        return (self.out_channels, self.channels // self.groups, *self.kernel)

    @property
    def offset_shape(self) -> tuple[int, ...]:
        """Of a deformable layer."""
        return (self.batch, 2 * self.deformable.offset_groups * math.prod(self.kernel), *self.output)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        return (self.batch, self.deformable.offset_groups * math.prod(self.kernel), *self.output)

    @property
    def dst_shape(self) -> tuple[int, ...]:
        return (self.batch, self.out_channels, *self.output)

    @property
    def sides(self) -> tuple[tuple[int, int], ...]:
        """The padding in numbers, before and after each axis, with the formulas of TensorFlow and Keras for the words."""
        if self.padding == "valid":
            return ((0, 0),) * self.rank
        if self.padding == "causal":
            return tuple((extent - 1, 0) for extent in self.extents)
        if isinstance(self.padding, str):
            sides = []
            for size, stride, extent in zip(self.spatial, self.strides, self.extents):
                total = max(0, (-(-size // stride) - 1) * stride + extent - size)
                less, more = total // 2, total - total // 2
                sides.append((less, more) if self.padding == "same" else (more, less))
            return tuple(sides)
        return self.padding

    @property
    def output_paddings(self) -> tuple[int, ...]:
        if self.output_size:
            return tuple(size - least for size, least in zip(self.output_size, self._transposed_least()))
        return self.output_padding or (0,) * self.rank

    @property
    def output(self) -> tuple[int, ...]:
        """Output sizes; less than 1 if PyTorch would refuse the layer for that."""
        if self.transposed:
            return tuple(least + more for least, more in zip(self._transposed_least(), self.output_paddings))
        if self.pooling and self.pooling.output:
            return self.pooling.output
        axes = zip(self.spatial, self.sides, self.extents, self.strides)
        if self.takes_indices:
            return self.output_size or self.unpooled
        if self.pooling and self.pooling.ceil_mode:
            return tuple(_rounded_up(*axis) for axis in axes)
        return tuple((lo + size + hi - extent) // stride + 1 for size, (lo, hi), extent, stride in axes)

    @property
    def beyond(self) -> tuple[int, ...]:
        """How far `ceil_mode` lets the last window of each axis reach past the padding."""
        if self.pooling and self.pooling.output:
            return (0,) * self.rank
        axes = zip(self.spatial, self.sides, self.extents, self.strides, self.output)
        return tuple(
            max(0, (output - 1) * stride + extent - (lo + size + hi)) for size, (lo, hi), extent, stride, output in axes
        )

    @property
    def every_window_has_an_element(self) -> bool:
        """Whether no window lies in the padding alone, or steps over the input."""
        axes = zip(self.spatial, self.sides, self.kernel, self.strides, self.dilations, self.output)
        return bool(self.pooling and self.pooling.output) or self.takes_indices or all(
            any(lo <= o * stride + tap * dilation < lo + size for tap in range(kernel))
            for size, (lo, _), kernel, stride, dilation, output in axes
            for o in range(output)
        )

    def _transposed_least(self) -> tuple[int, ...]:
        axes = zip(self.spatial, self.sides, self.extents, self.strides)
        return tuple((size - 1) * stride + extent - lo - hi for size, (lo, hi), extent, stride in axes)

    @property
    def unpooled(self) -> tuple[int, ...]:
        """The output of unpooling that has no `output_size`."""
        return tuple((size - 1) * stride + kernel - lo - hi for size, (lo, hi), kernel, stride in zip(self.spatial, self.sides, self.kernel, self.strides))

    @property
    def takes_indices(self) -> bool:
        return self.pooling is not None and self.pooling.kind == "unpool"

    @property
    def return_indices(self) -> bool:
        return self.pooling is not None and self.pooling.return_indices

    @property
    def is_max(self) -> bool:
        return self.pooling is not None and self.pooling.kind == "max"

    @property
    def is_norm(self) -> bool:
        return self.pooling is not None and self.pooling.kind == "lp"

    @property
    def keeps_wholes(self) -> bool:
        """Whether what it makes of small whole numbers is rounded once at most, by every library. Roots are not; and PyTorch divides by the
        window and multiplies again for a norm, and divides by one axis after the other what is shared out."""
        return not self.is_norm and not (self.pooling and self.pooling.kind == "avg" and self.pooling.output)

    @property
    def has_accuracy(self) -> bool:
        """Whether the layer may say how it is to be computed."""
        return not self.integers and not self.pooling

    @property
    def roundings(self) -> int:
        """How often an output is rounded, at most: products of a sum, its bias and a few; of an average, sums and the division; of a norm its
        powers and its root."""
        if self.is_max or self.takes_indices:
            return 0
        if self.is_norm:
            return int(np.prod(self.kernel)) + self.pooling.p + 8
        # What a moved tap sees is a few roundings off.
        more = 12 if self.deformable else 0
        terms = self.channels // self.groups * int(np.prod(self.kernel)) + (1 if self.pooling else 3 + more)
        # Both parts of a product are sums of two, and the error of a complex number is up to the root of 2 of that of a part.
        return 3 * terms if self.is_complex else terms

    def steps(self, channels: Sequence[np.ndarray], axis: int = 1) -> Iterator[Step]:
        """`then` with the numbers of `channels`, an array for each step that takes one, along `axis` of the output."""
        arrays = iter(channels)
        shape = [1] * (self.rank + 2)
        shape[axis] = -1
        for step in self.then:
            yield Step(PER_CHANNEL[step.name], (next(arrays).reshape(shape),)) if step.name in PER_CHANNEL else step

    @property
    def macs(self) -> int:
        pixels = self.spatial if self.transposed else self.output
        return self.batch * max(self.channels, 1) * (self.out_channels // self.groups) * int(np.prod(self.kernel + pixels))

    @property
    def block(self) -> int:
        """Channels of a block of a blocked layout: 64 bytes."""
        return 64 // self.numpy.itemsize

    @property
    def is_half(self) -> bool:
        return self.dtype in HALVES

    @property
    def is_complex(self) -> bool:
        return self.numpy.kind == "c"

    @property
    def double(self) -> np.dtype:
        """What libraries compute in: f64, or complex numbers of such."""
        return np.dtype(np.complex128 if self.is_complex else np.float64)

    @property
    def numpy(self) -> np.dtype:
        """Of the input; halves are computed with as f32."""
        return NUMPY[self.dtype]

    @property
    def weights_numpy(self) -> np.dtype:
        return NUMPY[self.integers.weights] if self.integers else self.numpy

    @property
    def bias_numpy(self) -> np.dtype:
        return NUMPY["i32"] if self.integers else self.numpy

    @property
    def output_numpy(self) -> np.dtype:
        return NUMPY[self.integers.output] if self.integers else self.numpy

    def text(self, name: str = "layer") -> str:
        """The layer in Convoke's language, with the fields that have no default or another value."""
        lines = [f"input: {self._input()}"]
        if not self.pooling:
            lines.append(f"out_channels: {self.out_channels}")
        if self.pooling and self.pooling.output:
            lines.append(f"output_size: {per_axis(self.pooling.output)}")
        else:
            lines.append(f"kernel_size: {'global' if self.pooling and self.pooling.whole else per_axis(self.kernel)}")
        if self.strides != self._stride:
            lines.append(f"stride: {per_axis(self.strides)}")
        if isinstance(self.padding, str):
            lines += [f"padding: {self.padding}"] if self.padding != "valid" else []
        elif any(side for sides in self.padding for side in sides):
            lines.append(f"padding: {per_axis([str(lo) if lo == hi else f'{lo}..{hi}' for lo, hi in self.padding])}")
        if self.padding_mode != PaddingMode():
            lines.append(f"padding_mode: {self.padding_mode.text()}")
        if any(self.output_padding):
            lines.append(f"output_padding: {per_axis(self.output_padding)}")
        if self.output_size:
            lines.append(f"output_size: {per_axis(self.output_size)}")
        if any(d != 1 for d in self.dilations):
            lines.append(f"dilation: {per_axis(self.dilations)}")
        if self.pooling:
            lines += self.pooling.lines()
        elif self.groups != 1:
            lines.append(f"groups: {'depthwise' if self.groups == self.channels else self.groups}")
        if self.deformable:
            lines += self.deformable.lines()
        if self.bias:
            lines.append("bias: true")
        if self.weights_layout != "first":
            lines.append(f"weights: {WEIGHTS_LAYOUTS[self.weights_layout][self.rank - 1]}")
        if self.integers:
            lines += self.integers.lines()
        if self.then:
            steps = ", ".join(step.text() for step in self.then)
            lines.append(f"then: {steps}" if len(self.then) == 1 else f"then: [{steps}]")
        if self.accuracy:
            lines.append(f"accuracy: {self.accuracy}")
        plain = f"{self.pooling.kind}_pool" if self.pooling else "deform_conv" if self.deformable else "conv"
        plain = "max_unpool" if self.takes_indices else plain
        kind = f"{'conv_transpose' if self.transposed else plain}{self.rank}d"
        return f"{kind} {name} {{\n" + "".join(f"    {line},\n" for line in lines) + "}\n"

    def _input(self) -> str:
        batch = "N" if self.named_batch else str(self.batch)
        sizes = [str(self.channels), *map(str, self.spatial)]
        if self.layout == "last":
            sizes = sizes[1:] + sizes[:1]
        layout = LAYOUTS[self.layout][self.rank - 1].format(self.block)
        return f"{self.dtype}[{', '.join([batch, *sizes])}] @ {layout}"

    def store(self, image: np.ndarray) -> np.ndarray:
        """An input or an output in the order of the layer's text; blocks are for the command to make."""
        return np.moveaxis(image, 1, -1) if self.layout == "last" else image

    def store_weights(self, weights: np.ndarray) -> np.ndarray:
        return np.moveaxis(weights, (1, 0), (-2, -1)) if self.weights_layout == "last" else weights

    def load(self, image: np.ndarray) -> np.ndarray:
        return np.moveaxis(image, -1, 1) if self.layout == "last" else image

    def halved(self, array: np.ndarray) -> np.ndarray:
        """Elements of a layer of halves as its files have them: NumPy's f16, or the raw bits of bf16, rounded to the nearest."""
        single = array.astype(np.float32)
        if self.dtype == "f16":
            with np.errstate(over="ignore"):
                return single.astype(np.float16)
        bits = np.ascontiguousarray(single).view(np.uint32)
        rounded = np.where(np.isnan(single), 0x7FC0, (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
        return rounded.astype(np.uint16).view("V2")

    def widened(self, array: np.ndarray) -> np.ndarray:
        """The same numbers as f32."""
        if self.dtype == "f16":
            return array.astype(np.float32)
        return (np.ascontiguousarray(array).view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def shared_out(size: int, count: int) -> list[range]:
    """The windows of an axis of adaptive pooling, as PyTorch has them."""
    return [range(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _rounded_up(size: int, sides: tuple[int, int], extent: int, stride: int) -> int:
    """The windows of an axis in `ceil_mode`: the last may reach past the padding, if it starts in the input or before it."""
    output = -(-(sum(sides) + size - extent) // stride) + 1
    return output - 1 if (output - 1) * stride >= sides[0] + size else output


NUMPY = {name: np.dtype(t) for name, t in
         {"f32": np.float32, "f16": np.float32, "bf16": np.float32, "f64": np.float64, "i32": np.int32, "u8": np.uint8, "i8": np.int8,
          "c64": np.complex64, "c128": np.complex128}.items()}


HALVES = {"f16": (2.0**-11, 2.0**-25), "bf16": (2.0**-8, 2.0**-134)}
"""The most that rounding to one changes a number: its share, and that of a subnormal one."""


def per_axis(values: Iterable[int | str]) -> str:
    """One value if all are equal, else `(3, 5)`."""
    values = list(map(str, values))
    return values[0] if len(set(values)) == 1 else f"({', '.join(values)})"


def number(value: float) -> str:
    """A number as the language writes it."""
    return str(int(value)) if value == int(value) else repr(float(value))
