#!/usr/bin/env python3
"""Measures layers of integers beside ONNX Runtime's and oneDNN's, and beside Convoke's own direct sums of f32.

All compute in turns on one core, one thread; times are those of the CPU, medians over all rounds. Outputs are compared with Convoke's.
Writes tables to standard output and results/integers.json. Needs what run.py needs, and runs in the environment that it makes.
"""

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median

import onednn_layer
from environment import HERE
from layers import Layer, resnet50
from onednn_layer import OneDnn
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
    onednn, version = onednn_layer.ways(args.core, "AVX512_CORE_VNNI")
    others = ["ONNX Runtime", *onednn]
    versions = ", ".join([f"ONNX Runtime {VERSION}", *([f"oneDNN {version}"] if onednn else [])])
    print(f"{cpu_model()}, {versions}, 10^9 operations a second\n")
    records = []
    for kind in KINDS:
        over = ["f32", *others]
        print(f"| {' | '.join([kind.name, 'convoke, nchw', 'convoke, nhwc', 'f32, direct', *others, *(f'best / {n}' for n in over)])} |")
        print(f"|---|{'--:|' * (3 + len(others) + len(over))}")
        rows = []
        for layer in layers:
            row = measure(layer, kind, onednn, args)
            best = max(row["nchw"], row["nhwc"])
            row["over"] = {name: best / row[name] for name in over if name in row}
            numbers = [number(row.get(n), 0) for n in ("nchw", "nhwc", "f32", *others)] + [number(row["over"].get(n)) for n in over]
            print(f"| {row['layer']} | {' | '.join(numbers)} |", flush=True)
            rows.append(row)
        means = [number(geometric_mean(row["over"][n] for row in rows) if all(n in row["over"] for row in rows) else None) for n in over]
        print(f"| geometric mean |{' |' * (3 + len(others))} {' | '.join(means)} |\n")
        print(f"Not as Convoke's: {'; '.join(f'{n}, {differences(rows, n)}' for n in others)}.\n", flush=True)
        records += rows
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "integers.json").write_text(json.dumps(records, indent=1) + "\n")


def number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def differences(rows: list[dict], name: str) -> str:
    """Like `0.01 % of the outputs, by 1 at most`."""
    found = [row["differences"][name] for row in rows if name in row["differences"]]
    if not found:
        return "not measured"
    share, most = (max(of) for of in zip(*found))
    return f"up to {100 * share:.3g} % of a layer's outputs, by {most} at most" if most else "nothing"


def measure(layer: Layer, kind: Kind, onednn: dict[str, OneDnn], args: argparse.Namespace) -> dict:
    """10^9 operations a second of each, and how the others' outputs differ."""
    data = arrays(layer, kind)
    ort = ort_model(layer, kind, data)
    samples: dict[str, list[float]] = {name: [] for name in ("nchw", "nhwc", "f32_nchw", "f32_nhwc", "ONNX Runtime")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "layers.conv"
        file.write_text("".join(texts(layer, kind)))
        for way in onednn.values():
            way.prepare(layer, *as_onednn(kind, data), Path(folder))
        for _ in range(args.rounds):
            for name in ("nchw", "nhwc", "f32_nchw", "f32_nhwc"):
                command = [args.convoke, "bench", file, "--layer", name, "--json"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                samples[name].append(json.loads(done.stdout)["run_us"])
            samples["ONNX Runtime"].append(ort.microseconds())
            for way in onednn.values():
                way.take_turn()
        mine = convoke_output(args.convoke, file, data)
        outputs = {"ONNX Runtime": [ort.values[1].numpy()]} | {name: way.outputs(Path(folder)) for name, way in onednn.items()}
    times = {name: median(of) for name, of in samples.items()}
    times["f32"] = min(times.pop("f32_nchw"), times.pop("f32_nhwc"))
    times |= {name: way.microseconds() for name, way in onednn.items() if way.samples}
    off = {name: [np.abs(y.astype(np.int64) - mine) for y in of] for name, of in outputs.items() if of}
    return {"layer": layer.name, "kind": kind.name} | {name: 2e-3 * layer.macs / us for name, us in times.items()} | {
        "differences": {name: (max(float(np.mean(d > 0)) for d in of), max(int(d.max()) for d in of)) for name, of in off.items()},
        "onednn": {name: way.kernels or way.skipped for name, way in onednn.items()}}


def convoke_output(convoke: Path, file: Path, data: dict[str, np.ndarray]) -> np.ndarray:
    """Of the layer `nchw`."""
    files = {name: file.with_name(f"{name}.npy") for name in [*data, "output"]}
    for name, array in data.items():
        np.save(files[name], array)
    given = [word for name in data for word in (f"--{name}", files[name])]
    subprocess.run([convoke, "run", file, "--layer", "nchw", *given, "--output", files["output"]], check=True, stdout=subprocess.DEVNULL)
    return np.load(files["output"])


def texts(layer: Layer, kind: Kind) -> list[str]:
    (h, w), (k, _), (stride, _), ((pad, _), _) = layer.size, layer.kernel, layer.stride, layer.padding
    window = f"out_channels: {layer.out_channels}, kernel_size: {k}, stride: {stride}, padding: {pad}"
    bias = ", bias: true" if kind.operator == "QLinearConv" else ""
    c = layer.in_channels
    return [
        f"conv2d nchw {{ input: u8[1, {c}, {h}, {w}], {window}{bias}, {kind.fields} }}\n",
        f"conv2d nhwc {{ input: u8[1, {h}, {w}, {c}] @ nhwc, {window}{bias}, {kind.fields} }}\n",
        f"conv2d f32_nchw {{ input: f32[1, {c}, {h}, {w}], {window}, bias: true, accuracy: exact }}\n",
        f"conv2d f32_nhwc {{ input: f32[1, {h}, {w}, {c}] @ nhwc, {window}, bias: true, accuracy: exact }}\n",
    ]


def arrays(layer: Layer, kind: Kind) -> dict[str, np.ndarray]:
    """Random input, weights and bias."""
    rng = np.random.default_rng(1)
    least, most, type_ = kind.weights
    data = {"input": rng.integers(0, 256, layer.input_shape, np.uint8), "weights": rng.integers(least, most, layer.weights_shape, type_)}
    if kind.operator == "QLinearConv":
        data["bias"] = rng.integers(-1000, 1000, layer.out_channels, np.int32)
    return data


def ort_model(layer: Layer, kind: Kind, data: dict[str, np.ndarray]) -> Model:
    """The layer as ONNX's node."""
    weights = data["weights"]
    point = np.array(128 if weights.dtype == np.uint8 else 0, weights.dtype)
    one = lambda value, type_=np.float32: np.array(value, type_)
    if kind.operator == "QLinearConv":
        constants = [("x_scale", one(0.02)), ("x_point", one(0, np.uint8)), ("w", weights), ("w_scale", one(0.003)), ("w_point", point),
                     ("y_scale", one(1.3)), ("y_point", one(3, np.uint8)), ("b", data["bias"])]
        output = np.uint8
    else:
        constants = [("w", weights), ("x_point", one(128, np.uint8)), ("w_point", point)]
        output = np.int32
    pads = [lo for lo, _ in layer.padding] + [hi for _, hi in layer.padding]
    node = field(3, "n") + field(4, kind.operator) + window(list(layer.kernel), list(layer.stride), pads)
    node += ints("dilations", list(layer.dilation)) + integer("group", layer.groups)
    return Model(node, constants, data["input"], np.zeros(layer.output_shape, output))


def as_onednn(kind: Kind, data: dict[str, np.ndarray]) -> tuple[dict, dict[str, np.ndarray]]:
    """The layer in oneDNN's words: weights are i8, with their zero point taken off beforehand, and the bias is a real number."""
    weights = data["weights"]
    if weights.dtype == np.uint8:
        weights = (weights.astype(np.int16) - 128).astype(np.int8)
    data = data | {"weights": weights}
    if kind.operator == "ConvInteger":
        return {"src": "u8", "weights": "s8", "dst": "s32", "src_zero": 128}, data
    data["bias"] = (data["bias"] * (0.02 * 0.003)).astype(np.float32)
    return {"src": "u8", "weights": "s8", "dst": "u8", "sum_scale": 0.02 * 0.003, "dst_scale": 1.3, "dst_zero": 3}, data


if __name__ == "__main__":
    main()
