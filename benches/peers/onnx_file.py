"""A layer as an ONNX model: the few messages of its protocol buffers that one convolution needs, written by hand.

Field numbers are those of onnx.proto3. The model maps `x` [n, c, …] to `y` [n, k, …].
"""

import struct
from pathlib import Path

from layers import Layer

FLOAT, INTS, INT = 1, 7, 2
"""TensorProto.FLOAT, AttributeProto.INTS and INT."""


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number: int, value: int | str | bytes) -> bytes:
    """A whole number, or what has a length: a text or another message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def ints(name: str, values: list[int]) -> bytes:
    return field(5, field(1, name) + b"".join(field(8, value) for value in values) + field(20, INTS))


def integer(name: str, value: int) -> bytes:
    return field(5, field(1, name) + field(3, value) + field(20, INT))


def value_info(name: str, shape: list[int]) -> bytes:
    dimensions = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dimensions)))


def initializer(name: str, array: Path) -> bytes:
    """From an .npy file of f32."""
    raw = array.read_bytes()
    (length,) = struct.unpack_from("<H", raw, 8)
    header = raw[10:10 + length].decode()
    shape = [int(size) for size in header.split("(")[1].split(")")[0].split(",") if size.strip()]
    dimensions = b"".join(field(1, size) for size in shape)
    return field(5, dimensions + field(2, FLOAT) + field(8, name) + field(9, raw[10 + length:]))


def write(path: Path, layer: Layer, weights: Path, bias: Path | None) -> None:
    """Writes `layer` with its `weights` [k, c / groups, …], transposed [c, k / groups, …], and its `bias` [k], both .npy files."""
    names = ["x", "w"] + (["b"] if bias else [])
    padding = [lo for lo, _ in layer.padding] + [hi for _, hi in layer.padding]
    node = b"".join(field(1, name) for name in names) + field(2, "y") + field(3, layer.name) + field(4, "ConvTranspose" if layer.transposed else "Conv")
    node += ints("kernel_shape", list(layer.kernel)) + ints("strides", list(layer.stride)) + ints("pads", padding)
    node += ints("dilations", list(layer.dilation)) + integer("group", layer.groups)
    graph = field(1, node) + field(2, layer.name) + initializer("w", weights)
    if bias:
        graph += initializer("b", bias)
    graph += field(11, value_info("x", layer.input_shape)) + field(12, value_info("y", layer.output_shape))
    opset = field(1, "") + field(2, 13)
    path.write_bytes(field(1, 8) + field(2, "convoke") + field(7, graph) + field(8, opset))
