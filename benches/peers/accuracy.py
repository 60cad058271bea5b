#!/usr/bin/env python3
"""Measures the rounding errors of Convoke's algorithms, and those of other libraries beside them.

Writes the tables of docs/accuracy.md, between its two marks. Every result is compared with one that numpy computes in f64 from
the same f32 data. Needs what run.py needs, and runs in the environment that it makes.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import environment
import onnx_file
from environment import BUILD, PEERS, ROOT, Unavailable, convoke_command, progress
from layers import Layer, by, conv
from run import cpu_model
from worker import Worker, WorkerDied

environment.enter("numpy", "ncnn")

import numpy as np

DOCUMENT = ROOT / "docs" / "accuracy.md"
MARKS = ("<!-- measured -->", "<!-- end -->")

DIRECT = "direct"
ALGORITHMS = {
    DIRECT: "accuracy: exact",
    **{f"winograd{m}": f"accuracy: fast, schedule {{ algorithm: winograd{m} }}" for m in range(2, 7)},
}
"""What is measured of Convoke: fields that a layer has besides. The first is what the others are multiples of."""

OTHERS = {"onednn:any": "oneDNN", "ort": "ONNX Runtime", "ncnn": "ncnn"}
"""Of the peers: variants, and what the tables call them."""

ROUNDOFF = 2.0**-24

CHANNELS = (4, 16, 64, 256, 1024)
HARD_CHANNELS = (4, 64, 256)

IMAGES = {1: ((192,), 64), 2: ((24, 24), 64), 3: ((12, 12, 12), 32)}
"""Sizes, which all tiles divide, and output channels, by the number of axes."""


def layer_of(rank: int, channels: int) -> Layer:
    size, outputs = IMAGES[rank]
    return conv("x", (channels, outputs), size, 3, bias=False)


@dataclass(frozen=True)
class Data:
    """Inputs `[c, …]` and weights `[k, c, …]` of a kind."""

    title: str
    make: Callable[[np.random.Generator, Layer], tuple[np.ndarray, np.ndarray]]

    def of(self, layer: Layer, seed: int) -> tuple[np.ndarray, np.ndarray]:
        x, w = self.make(np.random.default_rng([seed, layer.in_channels, layer.rank]), layer)
        return x.astype(np.float32), w.astype(np.float32)


def normal(rng: np.random.Generator, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal(layer.input_shape[1:]), rng.standard_normal(layer.weights_shape)


def shifted(inputs: float, weights: float) -> Callable[[np.random.Generator, Layer], tuple[np.ndarray, np.ndarray]]:
    def make(rng: np.random.Generator, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        x, w = normal(rng, layer)
        return x + inputs, w + weights
    return make


def cancelling(rng: np.random.Generator, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    x, w = normal(rng, layer)
    return x + 100, w - w.mean(axis=tuple(range(2, w.ndim)), keepdims=True)


def rectified(rng: np.random.Generator, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    x, w = normal(rng, layer)
    return np.maximum(x, 0), w


def scaled(per_channel: bool) -> Callable[[np.random.Generator, Layer], tuple[np.ndarray, np.ndarray]]:
    def make(rng: np.random.Generator, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        x, w = normal(rng, layer)
        shape = (layer.in_channels, *(1 for _ in layer.size)) if per_channel else (1, *layer.size)
        return x * 10 ** rng.uniform(-3, 3, shape), w
    return make


NORMAL = Data("N(0, 1)", normal)
HARD = (
    NORMAL,
    Data("inputs after relu: max(N(0, 1), 0)", rectified),
    Data("inputs with a mean: N(100, 1)", shifted(100, 0)),
    Data("the same, and windows that sum to zero", cancelling),
    Data("weights with a mean: N(1, 1)", shifted(0, 1)),
    Data("weights with a mean: N(100, 1)", shifted(0, 100)),
    Data("both with a mean: N(100, 1) and N(1, 1)", shifted(100, 1)),
    Data("each input channel times 10^U(-3, 3)", scaled(True)),
    Data("each input pixel times 10^U(-3, 3)", scaled(False)),
)


def reference(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The convolution with stride 1 and as many zeros around as keep the size, in f64."""
    sizes = x.shape[1:]
    padded = np.pad(x.astype(np.float64), [(0, 0), *((k // 2, k // 2) for k in w.shape[2:])])
    result = np.zeros((w.shape[0], math.prod(sizes)))
    for tap in np.ndindex(*w.shape[2:]):
        part = padded[(slice(None), *(slice(t, t + size) for t, size in zip(tap, sizes)))]
        result += w[(slice(None), slice(None), *tap)].astype(np.float64) @ part.reshape(x.shape[0], -1)
    return result.reshape(w.shape[0], *sizes)


@dataclass(frozen=True)
class Error:
    """Of a whole output, relative."""

    norm: float
    """Norm of the difference over that of the exact output."""
    greatest: float
    """Greatest difference over the root mean square of the exact output."""
    pixel: float
    """The norm for the pixel where it is greatest, over its output channels."""

    @staticmethod
    def between(y: np.ndarray, exact: np.ndarray) -> "Error":
        off = y.astype(np.float64).reshape(exact.shape) - exact
        rms = math.sqrt(np.mean(exact**2))
        pixels = np.linalg.norm(off, axis=0) / np.linalg.norm(exact, axis=0)
        norm = np.linalg.norm(off) / np.linalg.norm(exact)
        return Error(float(norm), float(np.abs(off).max() / rms), float(pixels.max()))


class Convoke:
    """The command, built from this tree."""

    def __init__(self, binary: Path | None, scratch: Path) -> None:
        self.binary, self.scratch = convoke_command(binary), scratch

    def run(self, layer: Layer, fields: str, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        text, files = self.scratch / "x.conv", {name: self.scratch / f"{name}-last.npy" for name in "xwy"}
        text.write_text(layer.text("nhwc").replace(" }", f", {fields} }}"))
        np.save(files["x"], np.ascontiguousarray(np.moveaxis(x, 0, -1)[None]))
        np.save(files["w"], w)
        subprocess.run([self.binary, "run", text, "--input", files["x"], "--weights", files["w"], "--output", files["y"]],
                       check=True, stdout=subprocess.DEVNULL)
        return np.moveaxis(np.load(files["y"])[0], -1, 0)


class Others:
    """The peers, each in its worker. One that cannot be had is left out."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.versions: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        cores = sorted(os.sched_getaffinity(0))[-1:]
        commands, _ = environment.prepare(sorted({key.split(":")[0] for key in OTHERS}))
        for key in OTHERS:
            if command := commands.get(key.split(":")[0]):
                worker = Worker(command, cores, BUILD / f"accuracy-{key.replace(':', '-')}.log")
                self.versions[key] = worker.ask("hello")["version"]
                self.workers[key] = worker

    def run(self, layer: Layer, x: np.ndarray, w: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        files = {name: self.scratch / f"{name}.npy" for name in ("input", "weights", "output")}
        model = self.scratch / "layer.onnx"
        np.save(files["input"], x[None])
        np.save(files["weights"], w)
        onnx_file.write(model, layer, files["weights"], None)
        for key, worker in self.workers.items():
            request = {"layer": layer.to_json(), "text": layer.text(), "bias": None, "model": str(model),
                       "input": str(files["input"]), "weights": str(files["weights"]),
                       "options": PEERS[key.split(":")[0]].keys()[key]}
            try:
                for answer in worker.ask("prepare", **request), worker.ask("output", path=str(files["output"])):
                    if "error" in answer:
                        raise WorkerDied(answer["error"])
                yield key, np.load(files["output"])[0]
            except WorkerDied as why:
                progress(f"{key} on {layer.summary()}: {why}")

    def close(self) -> None:
        for worker in self.workers.values():
            worker.end()


Errors = dict[str, Error]
"""By algorithm, or by peer."""


class Measurement:
    def __init__(self, convoke: Convoke, others: Others, seed: int) -> None:
        self.convoke, self.others, self.seed = convoke, others, seed

    def errors(self, layer: Layer, data: Data, with_others: bool = False) -> Errors:
        progress(f"{layer.summary()}, {data.title}")
        x, w = data.of(layer, self.seed)
        exact = reference(x, w)
        found = {name: Error.between(self.convoke.run(layer, fields, x, w), exact) for name, fields in ALGORITHMS.items()}
        if with_others:
            found |= {key: Error.between(y, exact) for key, y in self.others.run(layer, x, w)}
        return found


def measure_all(measurement: Measurement, fit: bool) -> str:
    """All tables, in Markdown."""
    found = {rank: {c: measurement.errors(layer_of(rank, c), NORMAL, rank == 2) for c in CHANNELS} for rank in IMAGES}
    if fit:
        print_fit(found)
    out = []
    for rank in (2, 1, 3):
        out.append(f"### N(0, 1), {about(rank)}\n\n")
        rows = [([str(c)], errors) for c, errors in found[rank].items()]
        for what in ("norm", "greatest"):
            out.append(f"{TITLES[what]}; in brackets, as a multiple of the direct sum's:\n\n")
            out.append(table(["input channels"], rows, what, "{value} ({times})"))
    out.append(f"### Other data, {about(2)}\n\n")
    rows = [([data.title, str(c)], measurement.errors(layer_of(2, c), data, True)) for data in HARD for c in HARD_CHANNELS]
    for what in ("norm", "pixel"):
        out.append(f"{TITLES[what]}: of the direct sum, and of the others as a multiple of that:\n\n")
        out.append(table(["data", "input channels"], rows, what, "{times}"))
    return "".join(out)


TITLES = {
    "norm": "Norm of the error over that of the output",
    "greatest": "Greatest error over the root mean square of the output",
    "pixel": "The same for each pixel alone, over its output channels, at the pixel where it is greatest",
}


def about(rank: int) -> str:
    size, outputs = IMAGES[rank]
    return f"window {by((3,) * rank)}, image {by(size)}, {outputs} output channels"


def table(head: list[str], rows: list[tuple[list[str], Errors]], what: str, form: str) -> str:
    """One column for each algorithm and peer; `form` has the `value` of an error and how many `times` the direct sum's it is."""
    keys = [key for key in (*ALGORITHMS, *OTHERS) if any(key in errors for _, errors in rows)]

    def cell(errors: Errors, key: str) -> str:
        if key not in errors:
            return "–"
        value, unit = (getattr(errors[k], what) for k in (key, DIRECT))
        return short(value) if key == DIRECT else form.format(value=short(value), times=multiple(value / unit))

    lines = [[*head, *(OTHERS.get(key, key) for key in keys)], ["---", *("--:" for _ in head[1:] + keys)],
             *([*titles, *(cell(errors, key) for key in keys)] for titles, errors in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def short(value: float) -> str:
    """Like `4.2e-7`."""
    return f"{value:.1e}".replace("e-0", "e-")


def multiple(times: float) -> str:
    """Three digits, or two of what is large."""
    if times < 10:
        return f"{times:.2f}"
    return f"{times:.1f}" if times < 100 else f"{float(f'{times:.2g}'):,.0f}"


def print_fit(by_rank: dict[int, dict[int, Errors]]) -> None:
    """The constants of plan/accuracy.rs: least squares of relative deviations; and what they are off by."""
    units = {rank: {c: {k: e.norm / ROUNDOFF for k, e in errors.items()} for c, errors in rows.items()}
             for rank, rows in by_rank.items()}
    sums = [row[DIRECT] / math.sqrt(c * 3**rank) for rank, rows in units.items() for c, row in rows.items()]
    unit = math.exp(np.mean(np.log(sums)))
    print(f"SUM {unit:.3f}, from {min(sums):.3f} to {max(sums):.3f}: {[f'{s:.3f}' for s in sums]}")
    for algorithm in ALGORITHMS:
        for rank, rows in units.items():
            if algorithm == DIRECT:
                continue
            c = np.array(list(rows))
            times = np.array([row[algorithm] / row[DIRECT] for row in rows.values()])
            squared = (times * unit) ** 2 * c * 3**rank
            lines = np.stack([np.ones(len(c)), c], axis=1) / squared[:, None]
            (transforms, channels), *_ = np.linalg.lstsq(lines, np.ones(len(c)), rcond=None)
            model = np.sqrt(np.maximum(transforms, 0) + channels * c) / (unit * np.sqrt(c * 3**rank))
            print(f"{algorithm}, {rank}: {math.sqrt(max(transforms, 0)):.2f} {math.sqrt(channels):.3f};",
                  " ".join(f"{t:.3f}({m / t - 1:+.0%})" for t, m in zip(times, model)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the data (1)")
    parser.add_argument("--convoke", type=Path, metavar="FILE", help="the command to measure, instead of building it")
    parser.add_argument("--fit", action="store_true", help="print the constants of plan/accuracy.rs too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="convoke-accuracy-") as scratch:
        others = Others(Path(scratch))
        try:
            convoke = Convoke(args.convoke, Path(scratch))
            tables = measure_all(Measurement(convoke, others, args.seed), args.fit)
        finally:
            others.close()
    before, rest = DOCUMENT.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    beside = ", ".join(f"{OTHERS[key]} {version}" for key, version in others.versions.items())
    how = f"`python3 benches/peers/accuracy.py`, on {cpu_model()}, beside {beside or 'nothing'}:\n\n"
    DOCUMENT.write_text(f"{before}{MARKS[0]}\n\n{how}{tables}{MARKS[1]}{after}")
    progress(f"wrote {DOCUMENT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
