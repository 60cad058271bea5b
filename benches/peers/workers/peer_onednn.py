"""oneDNN through `onednn.cpp`. The argument is the compiled library.

Option `format`: of input and output, "any" (the library's choice), "nchw" or "nhwc".
Option `elements`: fields of `Elements` that differ from those of a layer of f32. Arrays of bf16 are their bits, `u2`.
"""

import ctypes

import numpy as np
from protocol import Peer, Prepared, Skip, Task

NUMBER = ctypes.c_int64
PLACES = NUMBER * 3


class Sizes(ctypes.Structure):
    """`struct Layer` of onednn.cpp."""

    _fields_ = [(name, NUMBER) for name in ("rank", "batch", "in_channels", "out_channels", "groups", "transposed")]
    _fields_ += [(name, PLACES) for name in ("size", "kernel", "stride", "pad_lo", "pad_hi", "dilation", "output")]

    def __init__(self, layer: dict) -> None:
        sides = zip(*layer["padding"])
        layer = layer | dict(zip(("pad_lo", "pad_hi"), sides))
        values = {name: PLACES(*layer[name]) if kind is PLACES else layer[name] for name, kind in self._fields_}
        super().__init__(**values)


class Elements(ctypes.Structure):
    """`struct Elements` of onednn.cpp."""

    _fields_ = [(name, ctypes.c_char_p) for name in ("src", "weights", "bias", "dst")]
    _fields_ += [(name, ctypes.c_float) for name in ("sum_scale", "dst_scale")]
    _fields_ += [(name, ctypes.c_int32) for name in ("src_zero", "dst_zero")]

    def __init__(self, fields: dict) -> None:
        every = {"src": "f32", "weights": "f32", "bias": "f32", "dst": "f32"} | fields
        super().__init__(**{name: value.encode() if isinstance(value, str) else value for name, value in every.items()})


TYPES = {"f32": np.float32, "bf16": np.uint16, "f16": np.float16, "u8": np.uint8, "s8": np.int8, "s32": np.int32}


class Library(Peer):
    def __init__(self, path: str) -> None:
        self.native = ctypes.CDLL(path)
        for name, result in {"conv_message": ctypes.c_char_p, "conv_version": ctypes.c_char_p,
                             "conv_create": ctypes.c_void_p, "conv_implementation": ctypes.c_char_p,
                             "conv_time": ctypes.c_double, "conv_output": ctypes.c_int, "conv_free": None}.items():
            getattr(self.native, name).restype = result

    def version(self) -> str:
        return self.native.conv_version().decode()

    def prepare(self, task: Task) -> Prepared:
        return Convolution(self.native, task)


class Convolution(Prepared):
    def __init__(self, library: ctypes.CDLL, task: Task) -> None:
        self.native, self.handle, self.shape = library, None, task.output_shape
        create_us = ctypes.c_double()
        elements = Elements(task.options.get("elements", {}))
        arrays = {"src": task.input, "weights": task.weights, "bias": task.bias}
        for name, array in arrays.items():
            wanted = np.dtype(TYPES[getattr(elements, name).decode()])
            if array is not None and array.dtype != wanted:
                raise TypeError(f"{name} is of {array.dtype}, not {wanted}")
        self.type = TYPES[elements.dst.decode()]
        self.handle = library.conv_create(ctypes.byref(Sizes(task.layer)), ctypes.byref(elements),
                                          task.options["format"].encode(), pointer(task.input), pointer(task.weights),
                                          None if task.bias is None else pointer(task.bias), ctypes.byref(create_us))
        if self.handle is None:
            message = library.conv_message().decode()
            raise Skip(message) if message == "unimplemented" else RuntimeError(message)
        self.handle = ctypes.c_void_p(self.handle)
        self.create_us = create_us.value
        self.kernel = library.conv_implementation(self.handle).decode()

    def run(self) -> None:
        self.time(1, "cpu")

    def time(self, calls: int, clock: str) -> float:
        us = self.native.conv_time(self.handle, calls, ctypes.c_bool(clock == "cpu"))
        if us < 0:
            raise RuntimeError(self.native.conv_message().decode())
        return us

    def output(self) -> np.ndarray:
        result = np.empty(self.shape, self.type)
        if self.native.conv_output(self.handle, pointer(result)) != 0:
            raise RuntimeError(self.native.conv_message().decode())
        return result

    def __del__(self) -> None:
        if self.handle:
            self.native.conv_free(self.handle)


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
