"""The networks that `networks.py` measures, as ONNX files with random weights; and how far their outputs may be apart.

As a command, `network_models.py NAME FOLDER` writes `NAME.onnx`, an input as `NAME.npy`, and what is to be known of them as `NAME.json`. That
takes gigabytes for a moment, which is why it is a process of its own. What it has of tests/conformance needs numpy, onnx and ONNX Runtime.
"""

import json
import sys
from collections.abc import Callable
from math import prod
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import ModelProto

from environment import HERE

sys.path.append(str(HERE.parent.parent / "tests" / "conformance"))

import light_models
import random_weights
from graph_builder import Builder

FACTOR = 256
"""Of `random_weights.bound`."""


def write(name: str, folder: Path) -> None:
    """The description comes last: where it is, the rest is whole."""
    model = TINY[name]() if name in TINY else light_models.with_random_weights(name)
    (sizes,) = random_weights.inputs(model).values()
    x = np.random.default_rng(2).standard_normal(sizes, np.float32)
    (source,), (output,) = random_weights.inputs(model), model.graph.output
    parameters = sum(prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    onnx.save(model, folder / f"{name}.onnx")
    np.save(folder / f"{name}.npy", x)
    shape = [dimension.dim_value for dimension in output.type.tensor_type.shape.dim]
    known = {"input": source, "input_shape": sizes, "output": output.name, "output_shape": shape, "parameters": parameters,
             "bound": random_weights.bound(model, FACTOR)}
    (folder / f"{name}.json").write_text(json.dumps(known))


def difference(left: Path, right: Path) -> float:
    """The greatest difference of two outputs, over the root mean square of the second."""
    left, right = np.load(left), np.load(right)
    return random_weights.difference(left.reshape(right.shape), right)


class Tiny(Builder):
    """A network of one branch: each layer takes what the one before makes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(Random(1), 13)
        self.last = self.input(*sizes)

    def then(self, operator: str, *constants: str, **attributes: object) -> "Tiny":
        self.last = self.add(operator, self.last, *constants, **attributes)
        return self

    def conv(self, channels: int, side: int, stride: int = 1, groups: int = 1) -> "Tiny":
        """With zeros around the image, bias and ReLU."""
        _, given, *spatial = self.shape(self.last)
        weights, bias = self.weights(channels, given // groups, *[side] * len(spatial)), self.weights(channels)
        pads, strides = [side // 2] * (2 * len(spatial)), [stride] * len(spatial)
        return self.then("Conv", weights, bias, pads=pads, strides=strides, group=groups).then("Relu")

    def separable(self, channels: int, side: int, stride: int = 1) -> "Tiny":
        given = self.shape(self.last)[1]
        return self.conv(given, side, stride, groups=given).conv(channels, 1)

    def pool(self) -> "Tiny":
        sides = [2] * (len(self.shape(self.last)) - 2)
        return self.then("MaxPool", kernel_shape=sides, strides=sides)

    def linear(self, channels: int) -> "Tiny":
        return self.then("Gemm", self.weights(channels, self.shape(self.last)[1]), self.weights(channels), transB=1)

    def classify(self, classes: int) -> ModelProto:
        return self.linear(classes).then("Softmax", axis=1).model([self.last], 1)


def sensor() -> ModelProto:
    """Movements from three accelerations."""
    return Tiny(1, 3, 128).conv(10, 5).pool().conv(16, 5).pool().then("GlobalAveragePool").then("Flatten").classify(6)


def perceptron() -> ModelProto:
    """Convolutions of one tap, and layers of all elements."""
    return Tiny(1, 16, 16).conv(32, 1).conv(16, 1).then("Flatten").linear(24).then("Relu").classify(8)


def digits() -> ModelProto:
    """MNIST's."""
    return Tiny(1, 1, 28, 28).conv(8, 3).pool().conv(16, 3).pool().then("Flatten").classify(10)


def keywords() -> ModelProto:
    """Words from 40 coefficients of 101 moments."""
    net = Tiny(1, 40, 101).conv(64, 3)
    for stride in (2, 1, 2, 1):
        net = net.separable(64, 9, stride)
    return net.then("GlobalAveragePool").then("Flatten").classify(12)


def pictures() -> ModelProto:
    """CIFAR's, with separable layers as in MobileNet."""
    net = Tiny(1, 3, 32, 32).conv(16, 3)
    for channels, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        net = net.separable(channels, 3, stride)
    return net.then("GlobalAveragePool").then("Flatten").classify(10)


def nothing() -> ModelProto:
    """What a call takes."""
    net = Tiny(1, 1, 16).then("Relu")
    return net.model([net.last], 1)


TINY: dict[str, Callable[[], ModelProto]] = {made.__name__: made for made in (nothing, sensor, perceptron, digits, keywords, pictures)}

if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
