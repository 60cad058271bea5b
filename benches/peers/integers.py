#!/usr/bin/env python3
"""Measures layers of integers beside ONNX Runtime's, and beside Convoke's own direct sums of f32.

Both compute in turns on one core, one thread; times are those of the CPU, medians over all rounds. Writes a table to standard output
and results/integers.json. Needs what run.py needs, and runs in the environment that it makes.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median

import environment
from environment import HERE, PEERS
from layers import Layer, resnet50
from onnx_file import field, integer, ints
from run import cpu_model

if importlib.util.find_spec("onnxruntime") is None:
    python = environment.install(PEERS["ort"])
    if Path(sys.prefix) == python.parent.parent:
        sys.exit(f"{python} has no onnxruntime; remove {python.parent.parent} and start again")
    os.execv(python, [str(python), *sys.argv])

import numpy as np
import onnxruntime

ROOT = HERE.parent.parent
TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.int32): 6}
"""ONNX's numbers of them."""


@dataclass(frozen=True)
class Kind:
    """A layer in Convoke's language and as a node."""

    name: str
    operator: str
    fields: str
    """What the language says besides."""
    weights: tuple[int, int, type]
    """From, up to and without, and the type."""


REQUANTIZED = "input_scale: 0.02, weights_scale: 0.003, output: u8, output_scale: 1.3, output_zero_point: 3"
KINDS = [
    Kind("QLinearConv u8 x i8, reduced range", "QLinearConv", f"{REQUANTIZED}, reduce_range: true", (-64, 64, np.int8)),
    Kind("QLinearConv u8 x i8", "QLinearConv", REQUANTIZED, (-128, 128, np.int8)),
    Kind("QLinearConv u8 x u8", "QLinearConv", f"{REQUANTIZED}, weights_type: u8, weights_zero_point: 128", (0, 256, np.uint8)),
    Kind("ConvInteger u8 x i8", "ConvInteger", "input_zero_point: 128", (-128, 128, np.int8)),
    Kind("ConvInteger u8 x u8", "ConvInteger", "input_zero_point: 128, weights_type: u8, weights_zero_point: 128", (0, 256, np.uint8)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--convoke", type=Path, default=ROOT / "target" / "release" / "convoke", help="the command")
    parser.add_argument("--only", default="r04,r05,r08,r13,r14", help="layers of ResNet-50 (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core (the last)")
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.core})
    layers = [layer for layer in resnet50() if layer.name in args.only.split(",")]
    print(f"{cpu_model()}, ONNX Runtime {onnxruntime.__version__}, 10^9 operations a second\n")
    records = []
    for kind in KINDS:
        print(f"| {kind.name} | convoke, nchw | convoke, nhwc | f32, direct | ONNX Runtime | best / f32 | best / ONNX Runtime |")
        print("|---|--:|--:|--:|--:|--:|--:|")
        rows = [measure(layer, kind, args) for layer in layers]
        for row in rows:
            best = max(row["nchw"], row["nhwc"])
            row |= {"over_f32": best / row["f32"], "over_ort": best / row["ort"]}
            numbers = [f"{row[n]:.0f}" for n in ("nchw", "nhwc", "f32", "ort")] + [f"{row[n]:.2f}" for n in ("over_f32", "over_ort")]
            print(f"| {row['layer']} | {' | '.join(numbers)} |", flush=True)
        means = [f"{geometric_mean(row[n] for row in rows):.2f}" for n in ("over_f32", "over_ort")]
        print(f"| geometric mean | | | | | {' | '.join(means)} |\n")
        records += rows
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "integers.json").write_text(json.dumps(records, indent=1) + "\n")


def measure(layer: Layer, kind: Kind, args: argparse.Namespace) -> dict:
    """10^9 operations a second of each."""
    ort = Ort(layer, kind)
    samples: dict[str, list[float]] = {"nchw": [], "nhwc": [], "f32": [], "ort": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "layers.conv"
        file.write_text("".join(texts(layer, kind)))
        for _ in range(args.rounds):
            for name in ("nchw", "nhwc", "f32"):
                command = [args.convoke, "bench", file, "--layer", name, "--json"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                samples[name].append(json.loads(done.stdout)["run_us"])
            samples["ort"].append(ort.microseconds())
    return {"layer": layer.name, "kind": kind.name} | {name: 2e-3 * layer.macs / median(times) for name, times in samples.items()}


def texts(layer: Layer, kind: Kind) -> list[str]:
    (h, w), (k, _), (stride, _), ((pad, _), _) = layer.size, layer.kernel, layer.stride, layer.padding
    window = f"out_channels: {layer.out_channels}, kernel_size: {k}, stride: {stride}, padding: {pad}"
    bias = ", bias: true" if kind.operator == "QLinearConv" else ""
    c = layer.in_channels
    return [
        f"conv2d nchw {{ input: u8[1, {c}, {h}, {w}], {window}{bias}, {kind.fields} }}\n",
        f"conv2d nhwc {{ input: u8[1, {h}, {w}, {c}] @ nhwc, {window}{bias}, {kind.fields} }}\n",
        f"conv2d f32 {{ input: f32[1, {c}, {h}, {w}], {window}, bias: true, accuracy: exact }}\n",
    ]


class Ort:
    """ONNX Runtime, input and output bound beforehand."""

    def __init__(self, layer: Layer, kind: Kind) -> None:
        rng = np.random.default_rng(1)
        src = rng.integers(0, 256, layer.input_shape, np.uint8)
        least, most, type_ = kind.weights
        weights = rng.integers(least, most, layer.weights_shape, type_)
        point = np.array(128 if type_ == np.uint8 else 0, type_)
        one = lambda value, type_=np.float32: np.array(value, type_)
        if kind.operator == "QLinearConv":
            constants = [("x_scale", one(0.02)), ("x_point", one(0, np.uint8)), ("w", weights), ("w_scale", one(0.003)), ("w_point", point),
                         ("y_scale", one(1.3)), ("y_point", one(3, np.uint8)), ("b", rng.integers(-1000, 1000, layer.out_channels, np.int32))]
            output = np.dtype(np.uint8)
        else:
            constants = [("w", weights), ("x_point", one(128, np.uint8)), ("w_point", point)]
            output = np.dtype(np.int32)
        pads = [lo for lo, _ in layer.padding] + [hi for _, hi in layer.padding]
        node = b"".join(field(1, name) for name in ["x", *(name for name, _ in constants)]) + field(2, "y") + field(3, "n")
        node += field(4, kind.operator) + ints("kernel_shape", list(layer.kernel)) + ints("strides", list(layer.stride))
        node += ints("pads", pads) + ints("dilations", list(layer.dilation)) + integer("group", layer.groups)
        graph = field(1, node) + field(2, "g") + b"".join(initializer(*constant) for constant in constants)
        graph += field(11, value("x", src.shape, src.dtype)) + field(12, value("y", layer.output_shape, output))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        self.values = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in (src, np.zeros(layer.output_shape, output))]
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


def initializer(name: str, array: np.ndarray) -> bytes:
    dimensions = b"".join(field(1, size) for size in array.shape)
    return field(5, dimensions + field(2, TYPES[array.dtype]) + field(8, name) + field(9, array.tobytes()))


def value(name: str, shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    dimensions = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, TYPES[dtype]) + field(2, dimensions)))


if __name__ == "__main__":
    main()
