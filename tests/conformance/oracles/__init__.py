"""Libraries that know what a layer computes. Each module has

- `NAME`, and `ABILITIES`: which layers it can be given;
- `compute(layer, tensors)`: the output in PyTorch's order, after `then`, and the type in which the sum was computed;
- perhaps `fit(rng, layer)`, which makes a layer one that the library has a word for;
- perhaps `refusal(layer)`, which tells why the library refuses a layer, or None.
"""

import importlib
import os
import sys
from types import ModuleType

MODULES = {"torch": "pytorch", "jax": "jax_lax", "onnxruntime": "onnx_runtime", "complex": "numpy_sums"}
"""The module of each package, and of what numpy is asked for."""


def load(package: str) -> ModuleType:
    if package == "torch":
        # What stands in for the libraries of CUDA has no symbols: none may be looked up before it is called.
        sys.setdlopenflags(os.RTLD_LAZY)
    return importlib.import_module(f"oracles.{MODULES[package]}")
