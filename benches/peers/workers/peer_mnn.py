"""MNN on the CPU in f32, one thread: the ONNX file converted, run as a module.

Option `winograd_memory`: how large Winograd's tiles may be, from 0 to 3, which is MNN's default. At 3 results are
rougher than f32 by two orders of magnitude, and the comparison refuses them; at 1 they are not.
"""

import importlib.metadata
import tempfile
from pathlib import Path

import MNN
import numpy as np
from _tools import mnnconvert
from MNN import expr, nn
from protocol import Peer, Prepared, Stopwatch, Task

CONFIG = {"backend": "CPU", "numThread": 1, "precision": "high"}
WINOGRAD_MEMORY_LEVEL = 3
"""MNN's `Interpreter::HintMode`."""


class Module(Prepared):
    def __init__(self, task: Task) -> None:
        with tempfile.TemporaryDirectory(prefix="convoke-mnn-") as folder:
            model = str(Path(folder, "layer.mnn"))
            mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", task.model, "--MNNModel", model, "--bizCode", "x"])
            with Stopwatch() as watch:
                self.runtime = nn.create_runtime_manager((CONFIG,))
                self.runtime.set_hint(WINOGRAD_MEMORY_LEVEL, task.options["winograd_memory"])
                self.module = nn.load_module_from_file(model, ["x"], ["y"], runtime_manager=self.runtime)
        self.create_us = watch.us
        self.shape = task.output_shape
        self.x = expr.const(task.input, task.input.shape, expr.NCHW)

    def run(self) -> None:
        self.y = self.module.forward(self.x)

    def output(self) -> np.ndarray:
        return np.array(self.y.read(), dtype=np.float32).reshape(self.shape)


class Library(Peer):
    def version(self) -> str:
        return importlib.metadata.version("MNN")

    def prepare(self, task: Task) -> Prepared:
        return Module(task)
