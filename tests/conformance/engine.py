"""Runs the command `convoke`, as its users do."""

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from language import AWAITED, PER_CHANNEL, Layer

BACKENDS = ("jit", "interp")
SECONDS = 120
"""After this long a call has failed."""


class Refused(Exception):
    """Convoke refused a layer or its data with exit code 1; the text is its message."""

    def unknown(self) -> str | None:
        """The first word that Convoke does not know yet, if that is why."""
        found = re.search(r"there is no ([a-z ]+) `(\w+)`", str(self))
        return f"there is no {found[1]} `{found[2]}`" if found and found[2] in AWAITED else None


class Broken(Exception):
    """Convoke did something that it never may: a crash, another exit code, no result."""


@dataclass
class Tensors:
    """In PyTorch's order."""

    src: np.ndarray
    weights: np.ndarray | None = None
    """None for pooling."""
    bias: np.ndarray | None = None
    zero_points: np.ndarray | None = None
    """Of the weights of a layer of integers, one an output channel, and so are the scales."""
    scales: np.ndarray | None = None
    offset: np.ndarray | None = None
    """How far taps are moved, and their factors, of a deformable layer."""
    mask: np.ndarray | None = None
    channels: list[np.ndarray] = field(default_factory=list)
    """For each step of `then` that takes them, in their order, the numbers of the output channels."""
    indices: np.ndarray | None = None
    """Of unpooling."""


@dataclass(frozen=True)
class Network:
    """What `convoke import` has written, and what it says of the network: each value with the name that it has in ONNX, and its sizes in
    Convoke's language, some of which may be names. Its elements lie in the order of ONNX's array."""

    conv: Path
    parameters: Path
    inputs: list[dict]
    outputs: list[dict]


class Convoke:
    """The command, with a folder for the files that it reads and writes."""

    def __init__(self, command: Path, folder: Path) -> None:
        self.command, self.folder = command, folder

    def check(self, text: str) -> None:
        """Whether `text` is legal; raises `Refused` if not."""
        self._call(["check", "-"], text)

    def write(self, layer: Layer, tensors: Tensors) -> None:
        """The files that `run` takes."""
        (self.folder / "layer.conv").write_text(layer.text())
        _save(layer, self.folder / "src.npy", layer.store(tensors.src).astype(layer.numpy))
        if tensors.weights is not None:
            _save(layer, self.folder / "weights.npy", layer.store_weights(tensors.weights).astype(layer.weights_numpy))
        if tensors.bias is not None:
            _save(layer, self.folder / "bias.npy", tensors.bias.astype(layer.bias_numpy))
        for path, numbers in zip(_channels(self.folder, layer), tensors.channels, strict=True):
            _save(layer, path, numbers.astype(layer.numpy))
        for name, moved in (("offset", tensors.offset), ("mask", tensors.mask)):
            if moved is not None:
                _save(layer, self.folder / f"{name}.npy", layer.store(moved).astype(layer.numpy))
        if tensors.indices is not None:
            np.save(self.folder / "indices.npy", layer.store(tensors.indices))
        if tensors.zero_points is not None:
            np.save(self.folder / "zero_points.npy", tensors.zero_points)
        if tensors.scales is not None:
            np.save(self.folder / "scales.npy", tensors.scales)

    def run(self, layer: Layer, backend: str, threads: int = 1) -> np.ndarray:
        """The output, in PyTorch's order, for what `write` has written."""
        dst = self.folder / f"{backend}.npy"
        dst.unlink(missing_ok=True)
        (self.folder / f"{backend}-indices.npy").unlink(missing_ok=True)
        self._call(run_arguments(self.folder, layer, backend, threads))
        try:
            found = np.load(dst)
            return layer.load(layer.widened(found) if layer.is_half else found)
        except (OSError, ValueError) as error:
            raise Broken(f"convoke run: {error}") from error

    def indices(self, layer: Layer, backend: str) -> np.ndarray:
        """Where the maxima are, in PyTorch's order, after `run`."""
        try:
            return layer.load(np.load(self.folder / f"{backend}-indices.npy"))
        except (OSError, ValueError) as error:
            raise Broken(f"convoke run --indices: {error}") from error

    def import_network(self, model: Path, sizes: dict[str, int] | None = None, values: dict[str, int] | None = None) -> Network:
        """Writes `net.conv` and its parameters; `sizes` are those that have a name in the model, `values` what inputs always are."""
        conv = self.folder / "net.conv"
        given = [word for name, size in (sizes or {}).items() for word in ("--size", f"{name}={size}")]
        given += [word for name, value in (values or {}).items() for word in ("--value", f"{name}={value}")]
        said = self._call(["import", model, "-o", conv, *given, "--json"])
        try:
            said = json.loads(said)
            network = Network(conv, conv.with_suffix(".safetensors"), said["inputs"], said["outputs"])
        except (ValueError, KeyError, TypeError) as error:
            raise Broken(f"convoke import --json: {type(error).__name__}: {error}") from error
        if missing := [path.name for path in (network.conv, network.parameters) if not path.exists()]:
            raise Broken(f"convoke import did not write {' and '.join(missing)}")
        return network

    def run_network(self, network: Network, arrays: dict[str, np.ndarray], threads: int = 1) -> dict[str, np.ndarray]:
        """The outputs by their names in ONNX, for the inputs by theirs."""
        arguments: list[str | Path] = ["run", network.conv, "--parameters", network.parameters]
        for number, value in enumerate(network.inputs):
            path = self.folder / f"input_{number}.npy"
            sizes = [size if isinstance(size, int) else -1 for size in value["shape"]]
            np.save(path, np.ascontiguousarray(arrays[value["onnx"]]).reshape(sizes))
            arguments += ["--input", path]
        paths = [self.folder / f"output_{number}.npy" for number in range(len(network.outputs))]
        for path in paths:
            path.unlink(missing_ok=True)
            arguments += ["--output", path]
        self._call([*arguments, "--threads", str(threads)])
        try:
            return {value["onnx"]: np.load(path) for value, path in zip(network.outputs, paths)}
        except (OSError, ValueError) as error:
            raise Broken(f"convoke run: {error}") from error

    def _call(self, arguments: list[str | Path], stdin: str = "") -> str:
        """What it prints."""
        try:
            done = subprocess.run(
                [self.command, *arguments], input=stdin, capture_output=True, text=True, timeout=SECONDS, encoding="utf-8"
            )
        except subprocess.TimeoutExpired:
            raise Broken(f"convoke {arguments[0]} took more than {SECONDS} s") from None
        if done.returncode == 1 and "error:" in done.stderr:
            raise Refused(done.stderr.strip())
        if done.returncode != 0:
            raise Broken(f"convoke {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def _save(layer: Layer, path: Path, array: np.ndarray) -> None:
    np.save(path, layer.halved(array) if layer.is_half else array)


def run_arguments(folder: Path, layer: Layer, backend: str, threads: int) -> list[str | Path]:
    arguments = ["run", folder / "layer.conv", "--input", folder / "src.npy"]
    arguments += [] if layer.pooling else ["--weights", folder / "weights.npy"]
    arguments += ["--bias", folder / "bias.npy"] if layer.bias else []
    for path in _channels(folder, layer):
        arguments += ["--channels", path]
    arguments += ["--offset", folder / "offset.npy"] if layer.deformable else []
    arguments += ["--mask", folder / "mask.npy"] if layer.deformable and layer.deformable.mask else []
    if layer.takes_indices:
        arguments += ["--indices", folder / "indices.npy"]
    if layer.return_indices:
        arguments += ["--indices", folder / f"{backend}-indices.npy"]
    if layer.integers and layer.integers.weights_zero_point is None:
        arguments += ["--zero-points", folder / "zero_points.npy"]
    if layer.integers and layer.integers.output != "i32" and layer.integers.weights_scale is None:
        arguments += ["--scales", folder / "scales.npy"]
    return [*arguments, "--output", folder / f"{backend}.npy", "--backend", backend, "--threads", str(threads)]


def _channels(folder: Path, layer: Layer) -> list[Path]:
    """A file for each step that takes a number for each channel."""
    steps = [step.name for step in layer.then if step.name in PER_CHANNEL]
    return [folder / f"{name}{number}.npy" for number, name in enumerate(steps)]
