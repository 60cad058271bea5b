"""ONNX Runtime on a model of one node, timed as `convoke bench` times.

Whoever imports this without ONNX Runtime starts again in the environment that has it, which is made if need be.
"""

import time
from statistics import median

from environment import enter
from onnx_file import field, integer, ints

enter("onnxruntime", "ort")

import numpy as np
import onnxruntime

VERSION = onnxruntime.__version__
TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.int32): 6}
"""ONNX's numbers of them."""


class Model:
    """One node on one thread, input and output bound beforehand."""

    def __init__(self, node: bytes, constants: list[tuple[str, np.ndarray]], src: np.ndarray, dst: np.ndarray) -> None:
        """`node` is the whole message, but for its inputs and its output: `x` and the constants, `y`. `dst` is as long as the result."""
        names = b"".join(field(1, name) for name in ["x", *(name for name, _ in constants)]) + field(2, "y")
        graph = field(1, names + node) + field(2, "g") + b"".join(initializer(*constant) for constant in constants)
        graph += field(11, value("x", src.shape, src.dtype)) + field(12, value("y", dst.shape, dst.dtype))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        self.values = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in (src, dst)]
        self.binding.bind_ortvalue_input("x", self.values[0])
        self.binding.bind_ortvalue_output("y", self.values[1])

    def microseconds(self) -> float:
        """The median of calls for a fifth of a second, as `convoke bench` computes for."""
        self.session.run_with_iobinding(self.binding)
        times, end = [], time.process_time() + 0.2
        while time.process_time() < end:
            begin = time.process_time_ns()
            self.session.run_with_iobinding(self.binding)
            times.append((time.process_time_ns() - begin) / 1e3)
        return median(times)


def window(kernel: list[int], stride: list[int], pads: list[int]) -> bytes:
    """Attributes of a node: `pads` are all the befores and then all the afters."""
    return ints("kernel_shape", kernel) + ints("strides", stride) + ints("pads", pads)


def initializer(name: str, array: np.ndarray) -> bytes:
    dimensions = b"".join(field(1, size) for size in array.shape)
    return field(5, dimensions + field(2, TYPES[array.dtype]) + field(8, name) + field(9, array.tobytes()))


def value(name: str, shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    dimensions = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, TYPES[dtype]) + field(2, dimensions)))
