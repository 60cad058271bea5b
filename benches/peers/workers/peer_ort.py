"""ONNX Runtime: one session per layer, input and output bound beforehand, NCHW outside and its own layouts inside."""

import numpy as np
import onnxruntime as ort
from protocol import Peer, Prepared, Stopwatch, Task


class Session(Prepared):
    def __init__(self, task: Task) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        with Stopwatch() as watch:
            self.session = ort.InferenceSession(task.model, options, providers=["CPUExecutionProvider"])
        self.create_us = watch.us
        self.result = np.zeros(task.output_shape, dtype=np.float32)
        self.binding = self.session.io_binding()
        self.x = ort.OrtValue.ortvalue_from_numpy(task.input)
        self.y = ort.OrtValue.ortvalue_from_numpy(self.result)
        self.binding.bind_ortvalue_input("x", self.x)
        self.binding.bind_ortvalue_output("y", self.y)

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def output(self) -> np.ndarray:
        return self.y.numpy()


class Library(Peer):
    def version(self) -> str:
        return ort.__version__

    def prepare(self, task: Task) -> Prepared:
        return Session(task)
