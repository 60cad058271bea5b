#!/usr/bin/env python3
"""Measures layers of bf16 and f16 beside Convoke's own direct sums of f32 and, where it has them on this CPU, oneDNN's of halves.

All compute in turns on one core, one thread; times are those of the CPU, medians over all rounds, and of Convoke's layouts the fastest
counts. Errors are those of the output in that layout, against sums in f64 of the same halves. Writes tables to standard output and
results/halves.json. Needs what run.py needs, and runs in the environment that it makes.
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median

import onednn_layer
from accuracy import reference, short
from environment import HERE, LAYOUTS
from layers import Layer, resnet50
from onednn_layer import OneDnn
from run import cpu_model

import numpy as np

ROOT = HERE.parent.parent
LAYERS = ("r04", "r05", "r13")


def to_bf16(x: np.ndarray) -> np.ndarray:
    """The bits, `u2`, of what is nearest, of two the even one; `x` is finite."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


@dataclass(frozen=True)
class Half:
    """A type of 16 bits, and how an array holds it."""

    name: str
    file: str
    """Its type in an .npy for Convoke."""
    narrow: Callable[[np.ndarray], np.ndarray]
    widen: Callable[[np.ndarray], np.ndarray]


HALVES = [
    Half("bf16", "V2", to_bf16, from_bf16),
    Half("f16", "f2", lambda x: x.astype(np.float16), lambda x: x.astype(np.float32)),
]

COLUMNS = {"f32": "f32, direct", "f32-any": "f32, any algorithm", "half": "halves"}
"""What is measured of Convoke: `f32` has `accuracy: exact`, the others what a layer has that says nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--convoke", type=Path, default=ROOT / "target" / "release" / "convoke", help="the command")
    parser.add_argument("--only", default=",".join(LAYERS), help="layers of ResNet-50, with stride 1 (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core (the last)")
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.core})
    layers = [layer for layer in resnet50() if layer.name in args.only.split(",")]
    if any(layer.stride != (1, 1) for layer in layers):
        parser.error("the sums in f64 are for a stride of 1")
    onednn, version = onednn_layer.ways(args.core, "AVX512_CORE_FP16")
    print(f"{cpu_model()}{f', oneDNN {version}' if onednn else ''}, 10^9 operations a second\n")
    records = []
    for half in HALVES:
        rows = [measure(layer, half, onednn, args) for layer in layers]
        print(table(half, rows, list(onednn)), flush=True)
        records += rows
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "halves.json").write_text(json.dumps(records, indent=1) + "\n")


def measure(layer: Layer, half: Half, onednn: dict[str, OneDnn], args: argparse.Namespace) -> dict:
    """10^9 operations a second of each, the algorithms, and the errors."""
    rng = np.random.default_rng(1)
    shapes = {"input": layer.input_shape, "weights": layer.weights_shape, "bias": [layer.out_channels]}
    data = {name: half.narrow(rng.standard_normal(shape)) for name, shape in shapes.items()}
    exact = reference(half.widen(data["input"])[0], half.widen(data["weights"])) + half.widen(data["bias"])[:, None, None]
    exact = exact[None]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for way in onednn.values():
            way.prepare(layer, dict.fromkeys(("src", "weights", "bias", "dst"), half.name), data, scratch)
        samples: dict[str, dict[str, list[float]]] = {name: {layout: [] for layout in LAYOUTS} for name in COLUMNS}
        plans: dict[str, dict[str, str]] = {name: {} for name in COLUMNS}
        for _ in range(args.rounds):
            for layout in LAYOUTS:
                for name, text in texts(layer, layout, half).items():
                    command = [args.convoke, "bench", "-", "--json"]
                    done = json.loads(subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout)
                    samples[name][layout].append(done["run_us"])
                    plans[name][layout] = done["plan"].split("_")[0]
            for way in onednn.values():
                way.take_turn()
        medians = {name: {layout: median(times) for layout, times in of.items()} for name, of in samples.items()}
        fastest = {name: min(of, key=of.get) for name, of in medians.items()}
        times = {name: of[fastest[name]] for name, of in medians.items()}
        times |= {name: way.microseconds() for name, way in onednn.items() if way.samples}
        mine = convoke_output(args.convoke, texts(layer, fastest["half"], half)["half"], fastest["half"], half, data, scratch)
        outputs = {"half": [mine]} | {name: way.outputs(scratch) for name, way in onednn.items() if way.samples}
    errors = {name: max(error(half.widen(y), exact) for y in of) for name, of in outputs.items()}
    return {"layer": layer.summary(), "type": half.name} | {name: 2e-3 * layer.macs / us for name, us in times.items()} | {
        "over": {name: times[name] / times["half"] for name in times if name != "half"},
        "plan": {name: f"{plans[name][layout]}, {layout}" for name, layout in fastest.items()},
        "errors": errors | {"rounding": error(half.widen(half.narrow(exact)), exact)},
        "onednn": {name: way.kernels or way.skipped for name, way in onednn.items()}}


def texts(layer: Layer, layout: str, half: Half) -> dict[str, str]:
    """The layers of `COLUMNS`."""
    text = layer.text(layout)
    return {"f32": text.replace(" }", ", accuracy: exact }"), "f32-any": text, "half": text.replace("input: f32", f"input: {half.name}")}


def convoke_output(convoke: Path, text: str, layout: str, half: Half, data: dict[str, np.ndarray], scratch: Path) -> np.ndarray:
    """`[n, k, h, w]`."""
    files = {name: scratch / f"{name}.npy" for name in [*data, "output"]}
    for name, array in data.items():
        at_end = name == "input" and layout == "nhwc"
        np.save(files[name], np.ascontiguousarray(np.moveaxis(array, 1, -1) if at_end else array).view(half.file))
    given = [word for name in data for word in (f"--{name}", files[name])]
    subprocess.run([convoke, "run", "-", *given, "--output", files["output"]], input=text, text=True, check=True,
                   stdout=subprocess.DEVNULL)
    result = np.load(files["output"]).view(data["input"].dtype)
    return np.moveaxis(result, -1, 1) if layout == "nhwc" else result


def error(y: np.ndarray, exact: np.ndarray) -> float:
    """Norm of the difference over that of the exact output."""
    return float(np.linalg.norm(y.astype(np.float64) - exact) / np.linalg.norm(exact))


def table(half: Half, rows: list[dict], others: list[str]) -> str:
    """In Markdown; what oneDNN has not is named behind it."""
    columns = COLUMNS | {"half": half.name} | {name: f"{name}, {half.name}" for name in others if all(name in row for row in rows)}
    over = [name for name in columns if name != "half"]
    errors = ["half", *(name for name in columns if name in others), "rounding"]
    head = ["layer", *columns.values(), *(f"{half.name} / {columns[n]}" for n in over),
            *(f"error of {(columns | {'rounding': 'one rounding'})[n]}" for n in errors)]
    lines = []
    for row in rows:
        speeds = [f"{row[n]:.0f} ({row['plan'][n]})" if n in row["plan"] else f"{row[n]:.0f}" for n in columns]
        lines.append([row["layer"], *speeds, *(f"{row['over'][n]:.2f}" for n in over), *(short(row["errors"][n]) for n in errors)])
    means = [f"{geometric_mean(row['over'][n] for row in rows):.2f}" for n in over]
    lines.append(["geometric mean", *[""] * len(columns), *means, *[""] * len(errors)])
    text = f"| {' | '.join(head)} |\n|---|{'--:|' * (len(head) - 1)}\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
    for name in others:
        if reasons := sorted({row["onednn"][name] for row in rows if name not in row}):
            text += f"\n{name} has no layer of {half.name} on this CPU: {', '.join(reasons)}.\n"
    return text


if __name__ == "__main__":
    main()
