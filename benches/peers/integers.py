#!/usr/bin/env python3
"""Measures layers of integers beside ONNX Runtime's, and beside Convoke's own direct sums of f32.

Both compute in turns on one core, one thread; times are those of the CPU, medians over all rounds. Writes a table to standard output
and results/integers.json. Needs what run.py needs, and runs in the environment that it makes.
"""

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median

from environment import HERE
from layers import Layer, resnet50
from onnx_file import field, integer, ints
from ort_model import VERSION, Model, window
from run import cpu_model

import numpy as np

ROOT = HERE.parent.parent


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
    print(f"{cpu_model()}, ONNX Runtime {VERSION}, 10^9 operations a second\n")
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
    ort = ort_model(layer, kind)
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


def ort_model(layer: Layer, kind: Kind) -> Model:
    """The layer as ONNX's node, with random numbers."""
    rng = np.random.default_rng(1)
    src = rng.integers(0, 256, layer.input_shape, np.uint8)
    least, most, type_ = kind.weights
    weights = rng.integers(least, most, layer.weights_shape, type_)
    point = np.array(128 if type_ == np.uint8 else 0, type_)
    one = lambda value, type_=np.float32: np.array(value, type_)
    if kind.operator == "QLinearConv":
        constants = [("x_scale", one(0.02)), ("x_point", one(0, np.uint8)), ("w", weights), ("w_scale", one(0.003)), ("w_point", point),
                     ("y_scale", one(1.3)), ("y_point", one(3, np.uint8)), ("b", rng.integers(-1000, 1000, layer.out_channels, np.int32))]
        output = np.uint8
    else:
        constants = [("w", weights), ("x_point", one(128, np.uint8)), ("w_point", point)]
        output = np.int32
    pads = [lo for lo, _ in layer.padding] + [hi for _, hi in layer.padding]
    node = field(3, "n") + field(4, kind.operator) + window(list(layer.kernel), list(layer.stride), pads)
    node += ints("dilations", list(layer.dilation)) + integer("group", layer.groups)
    return Model(node, constants, src, np.zeros(layer.output_shape, output))


if __name__ == "__main__":
    main()
