"""MNN on the CPU in f32: the ONNX file converted, one session of one thread. Copies in and out are not timed."""

import importlib.metadata
import tempfile
from pathlib import Path

import MNN
import numpy as np
from _tools import mnnconvert
from protocol import Peer, Prepared, Stopwatch, Task

CONFIG = {"backend": "CPU", "numThread": 1, "precision": "high"}


class Session(Prepared):
    def __init__(self, task: Task) -> None:
        with tempfile.TemporaryDirectory(prefix="convoke-mnn-") as folder:
            model = str(Path(folder, "layer.mnn"))
            mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", task.model, "--MNNModel", model, "--bizCode", "x"])
            with Stopwatch() as watch:
                self.net = MNN.Interpreter(model)
                self.session = self.net.createSession(CONFIG)
        self.create_us = watch.us
        self.shape = task.output_shape
        x = self.net.getSessionInput(self.session, "x")
        self.net.resizeTensor(x, tuple(task.input.shape))
        self.net.resizeSession(self.session)
        x.copyFrom(host(task.input))

    def run(self) -> None:
        self.net.runSession(self.session)

    def output(self) -> np.ndarray:
        result = host(np.zeros(self.shape, dtype=np.float32))
        self.net.getSessionOutput(self.session, "y").copyToHostTensor(result)
        return np.array(result.getNumpyData()).reshape(self.shape)


def host(array: np.ndarray) -> MNN.Tensor:
    """A tensor in PyTorch's order."""
    return MNN.Tensor(array.shape, MNN.Halide_Type_Float, array, MNN.Tensor_DimensionType_Caffe)


class Library(Peer):
    def version(self) -> str:
        return importlib.metadata.version("MNN")

    def prepare(self, task: Task) -> Prepared:
        return Session(task)
