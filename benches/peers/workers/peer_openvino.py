"""OpenVINO on the CPU: one stream, one thread, f32, input and output in memory of ours."""

import numpy as np
import openvino as ov
from protocol import Peer, Prepared, Stopwatch, Task

CONFIG = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
          "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}


class Request(Prepared):
    def __init__(self, core: ov.Core, task: Task) -> None:
        model = core.read_model(task.model)
        with Stopwatch() as watch:
            compiled = core.compile_model(model, "CPU", CONFIG)
        self.create_us = watch.us
        self.request = compiled.create_infer_request()
        self.source = np.ascontiguousarray(task.input)
        self.result = np.zeros(task.output_shape, dtype=np.float32)
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
        return Request(self.core, task)
