"""ONNX Runtime: one session per model, input and output bound beforehand, NCHW outside and its own layouts inside."""

import numpy as np
import onnxruntime as ort
from protocol import Network, Peer, Prepared, Stopwatch, Task


class Session(Prepared):
    def __init__(self, model: str, x: np.ndarray, output_shape: list[int], threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        with Stopwatch() as watch:
            self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.create_us = watch.us
        self.result = np.zeros(output_shape, dtype=np.float32)
        self.binding = self.session.io_binding()
        self.x = ort.OrtValue.ortvalue_from_numpy(x)
        self.y = ort.OrtValue.ortvalue_from_numpy(self.result)
        self.binding.bind_ortvalue_input(self.session.get_inputs()[0].name, self.x)
        self.binding.bind_ortvalue_output(self.session.get_outputs()[0].name, self.y)

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def output(self) -> np.ndarray:
        return self.y.numpy()


class Library(Peer):
    def version(self) -> str:
        return ort.__version__

    def prepare(self, task: Task) -> Prepared:
        return Session(task.model, task.input, task.output_shape)

    def load(self, network: Network) -> Prepared:
        return Session(network.model, network.input, network.output_shape, network.threads)
