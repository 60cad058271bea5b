"""ncnn on the CPU in f32. Option `winograd`: whether it may use Winograd's algorithm; it does as shipped.

It knows no batch: images are computed one after the other.
"""

import importlib.metadata
import tempfile
from pathlib import Path

import ncnn
import numpy as np
from protocol import Peer, Prepared, Stopwatch, Task

KINDS = {1: ("Convolution1D", "ConvolutionDepthWise1D"), 2: ("Convolution", "ConvolutionDepthWise"),
         3: ("Convolution3D", "ConvolutionDepthWise3D")}
"""Layers of 1, 2 and 3 spatial axes, without and with groups."""

KERNEL, DILATION, STRIDE = (1, 11, 21), (2, 12, 22), (3, 13, 23)
PADDING = ((4, 15), (14, 16), (24, 17))
"""Numbers of the parameters, for w, h, d."""


def param(task: Task) -> str:
    """The network as ncnn's text format has it."""
    layer = task.layer
    fields = {0: layer["out_channels"], 5: int(task.bias is not None), 6: task.weights.size}
    for name, numbers in ("kernel", KERNEL), ("dilation", DILATION), ("stride", STRIDE):
        fields |= dict(zip(numbers, reversed(layer[name])))
    for numbers, sides in zip(PADDING, reversed(layer["padding"])):
        fields |= dict(zip(numbers, sides))
    grouped = layer["groups"] != 1
    if grouped:
        fields[7] = layer["groups"]
    kind = KINDS[layer["rank"]][grouped]
    settings = " ".join(f"{number}={value}" for number, value in fields.items())
    return f"7767517\n2 2\nInput input 0 1 x\n{kind} conv 1 1 x y {settings}\n"


class Net(Prepared):
    def __init__(self, task: Task) -> None:
        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads = 1
        options.use_winograd_convolution = task.options["winograd"]
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        with tempfile.TemporaryDirectory(prefix="convoke-ncnn-") as folder:
            text, weights = Path(folder, "layer.param"), Path(folder, "layer.bin")
            text.write_text(param(task))
            # A zero says that the weights are f32.
            bias = b"" if task.bias is None else task.bias.tobytes()
            weights.write_bytes(bytes(4) + task.weights.tobytes() + bias)
            with Stopwatch() as watch:
                failed = self.net.load_param(str(text)) or self.net.load_model(str(weights))
        if failed:
            raise RuntimeError(f"the network does not load: {param(task)}")
        self.create_us = watch.us
        self.images = [ncnn.Mat(np.ascontiguousarray(image)).clone() for image in task.input]
        self.results: list[ncnn.Mat] = []
        self.shape = task.output_shape

    def run(self) -> None:
        self.results.clear()
        for image in self.images:
            extractor = self.net.create_extractor()
            extractor.input("x", image)
            failed, result = extractor.extract("y")
            if failed:
                raise RuntimeError(f"ncnn's extract returns {failed}")
            self.results.append(result)

    def output(self) -> np.ndarray:
        return np.stack([np.array(result) for result in self.results]).reshape(self.shape)


class Library(Peer):
    def version(self) -> str:
        return importlib.metadata.version("ncnn")

    def prepare(self, task: Task) -> Prepared:
        return Net(task)
