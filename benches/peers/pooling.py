#!/usr/bin/env python3
"""Measures layers of pooling beside ONNX Runtime's.

Both compute in turns on one core, one thread; times are those of the CPU, medians over all rounds. Writes a table to standard output
and results/pooling.json. Needs what run.py needs, and runs in the environment that it makes.
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
from onnx_file import field, integer
from ort_model import VERSION, Model, window
from run import cpu_model

import numpy as np

ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Pooling:
    """A square window over a square image."""

    kind: str
    channels: int
    size: int
    kernel: int
    stride: int
    padding: int

    @property
    def name(self) -> str:
        """Like `max 64@112, 3x3 s2`."""
        return f"{self.kind} {self.channels}@{self.size}, {self.kernel}x{self.kernel} s{self.stride}"

    @property
    def output(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def bytes(self) -> int:
        """Of input and output."""
        return 4 * self.channels * (self.size**2 + self.output**2)

    def texts(self) -> str:
        """In both layouts."""
        window = f"kernel_size: {self.kernel}, stride: {self.stride}, padding: {self.padding}"
        window += ", count_include_pad: false" if self.kind == "avg" and self.padding else ""
        shapes = {"nchw": (self.channels, self.size, self.size), "nhwc": (self.size, self.size, self.channels)}
        line = "{}_pool2d {} {{ input: f32[1, {}, {}, {}] @ {}, {} }}\n"
        return "".join(line.format(self.kind, layout, *shape, layout, window) for layout, shape in shapes.items())

    def model(self) -> Model:
        src = np.random.default_rng(1).standard_normal((1, self.channels, self.size, self.size), np.float32)
        dst = np.zeros((1, self.channels, self.output, self.output), np.float32)
        node = field(3, "n") + field(4, "MaxPool" if self.kind == "max" else "AveragePool")
        node += window([self.kernel] * 2, [self.stride] * 2, [self.padding] * 4)
        node += integer("count_include_pad", 0) if self.kind == "avg" else b""
        return Model(node, [], src, dst)


LAYERS = [
    Pooling("max", 64, 112, 2, 2, 0),
    Pooling("max", 64, 112, 3, 2, 1),
    Pooling("avg", 64, 112, 2, 2, 0),
    Pooling("avg", 64, 112, 3, 2, 1),
    Pooling("max", 192, 28, 3, 1, 1),
    Pooling("avg", 192, 35, 3, 1, 1),
    Pooling("max", 512, 20, 5, 1, 2),
    Pooling("avg", 2048, 7, 7, 1, 0),
]
"""Those of ResNet's stem, VGG, Inception, YOLO's pyramid and classifiers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--convoke", type=Path, default=ROOT / "target" / "release" / "convoke", help="the command")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core (the last)")
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.core})
    print(f"{cpu_model()}, ONNX Runtime {VERSION}, 10^9 bytes of input and output a second\n")
    print("| layer | convoke, nchw | convoke, nhwc | ONNX Runtime | nchw / ONNX Runtime | nhwc / ONNX Runtime |")
    print("|---|--:|--:|--:|--:|--:|")
    rows = [measure(layer, args) for layer in LAYERS]
    means = [f"{geometric_mean(row[n] for row in rows):.2f}" for n in ("nchw_over_ort", "nhwc_over_ort")]
    print(f"| geometric mean | | | | {' | '.join(means)} |")
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "pooling.json").write_text(json.dumps(rows, indent=1) + "\n")


def measure(layer: Pooling, args: argparse.Namespace) -> dict:
    """10^9 bytes a second of each, and a row of the table."""
    ort = layer.model()
    samples: dict[str, list[float]] = {"nchw": [], "nhwc": [], "ort": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "layers.conv"
        file.write_text(layer.texts())
        for _ in range(args.rounds):
            for name in ("nchw", "nhwc"):
                command = [args.convoke, "bench", file, "--layer", name, "--json"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                samples[name].append(json.loads(done.stdout)["run_us"])
            samples["ort"].append(ort.microseconds())
    row = {"layer": layer.name} | {name: 1e-3 * layer.bytes / median(times) for name, times in samples.items()}
    row |= {f"{name}_over_ort": row[name] / row["ort"] for name in ("nchw", "nhwc")}
    numbers = [f"{row[n]:.1f}" for n in samples] + [f"{row[n]:.2f}" for n in ("nchw_over_ort", "nhwc_over_ort")]
    print(f"| {layer.name} | {' | '.join(numbers)} |", flush=True)
    return row


if __name__ == "__main__":
    main()
