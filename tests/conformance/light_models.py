"""The nine networks that the `onnx` wheel ships without their weights, each a constant: AlexNet to DenseNet, of 224 x 224 pixels.

As a command it writes one with random weights, which is how benches/peers has its networks: `light_models.py NAME FILE`.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

import random_weights

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19", "zfnet512"
)


def path(name: str) -> Path:
    return FOLDER / f"light_{name}.onnx"


def stored(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The input of ONNX's own test (`Runner.generate_dummy_data`) and the output that the wheel has for it."""
    (sizes,) = random_weights.inputs(onnx.load(path(name))).values()
    count = np.prod(sizes)
    output = onnx.load_tensor(FOLDER / f"light_{name}_output_0.pb")
    return (np.arange(count).reshape(sizes) / count).astype(np.float32), numpy_helper.to_array(output)


def with_random_weights(name: str, seed: int = 1) -> ModelProto:
    model = onnx.load(path(name))
    random_weights.fill_constants(model)
    random_weights.draw(model, seed)
    return model


if __name__ == "__main__":
    onnx.save(with_random_weights(sys.argv[1]), sys.argv[2])
