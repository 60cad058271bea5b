"""OpenVINO on the CPU: one stream, f32, input and output in memory of ours."""

import numpy as np
import openvino as ov
from protocol import Network, Peer, Prepared, Stopwatch, Task

CONFIG = {"NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
          "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}


class Request(Prepared):
    def __init__(self, core: ov.Core, path: str, x: np.ndarray, output_shape: list[int], threads: int = 1) -> None:
        model = core.read_model(path)
        with Stopwatch() as watch:
            compiled = core.compile_model(model, "CPU", CONFIG | {"INFERENCE_NUM_THREADS": threads})
        self.create_us = watch.us
        self.request = compiled.create_infer_request()
        self.source = np.ascontiguousarray(x)
        self.result = np.zeros(output_shape, dtype=np.float32)
        self.request.set_input_tensor(ov.Tensor(self.source, shared_memory=True))
        self.request.set_output_tensor(ov.Tensor(self.result, shared_memory=True))

    def run(self) -> None:
        self.request.infer(share_outputs=True)

    def output(self) -> np.ndarray:
        return self.result


class Library(Peer):
    def __init__(self) -> None:
        self.core = ov.Core()

    def version(self) -> str:
        return ov.__version__.split("-")[0]

    def prepare(self, task: Task) -> Prepared:
        return Request(self.core, task.model, task.input, task.output_shape)

    def load(self, network: Network) -> Prepared:
        return Request(self.core, network.model, network.input, network.output_shape, network.threads)
