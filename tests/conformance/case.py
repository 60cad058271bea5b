"""One comparison: a layer with its data and what a library says of it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import naive
from engine import BACKENDS, Broken, Convoke, Refused, Tensors
from language import Layer

FAILED = Path(__file__).resolve().parent / ".failed"
"""Where the files of what failed are kept."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case: `passed`, `failed` or `skipped`."""

    case: str
    status: str = "passed"
    reason: str = ""


@dataclass
class Case:
    name: str
    layer: Layer
    tensors: Tensors
    expected: np.ndarray
    """From the library, in PyTorch's order."""
    oracle: np.dtype
    """What type the library sums in."""
    magnitudes: np.ndarray | None = None
    """Of the sums, if the tensors do not tell."""
    exact: bool = False
    """Whether nothing is rounded, every number being small and whole, or only selected; an average is, once."""
    threads: int = 1
    indices: np.ndarray | None = None
    """Where the maxima are, if the layer says so."""

    def check(self, convoke: Convoke) -> Outcome:
        """Runs the layer on every backend."""
        convoke.write(self.layer, self.tensors)
        try:
            results = {backend: convoke.run(self.layer, backend, self.threads) for backend in BACKENDS}
            indices = {backend: convoke.indices(self.layer, backend) for backend in BACKENDS} if self.layer.return_indices else {}
        except Refused as refused:
            if word := refused.unknown():
                return Outcome(self.name, "skipped", f"refused by convoke: {word}")
            return self._failed(convoke, f"convoke refuses it\n{refused}")
        except Broken as broken:
            return self._failed(convoke, str(broken))
        for backend, dst in results.items():
            if why := self._wrong(dst):
                return self._failed(convoke, f"{backend}: {why}")
        for backend, found in indices.items():
            if why := self._misplaced(found):
                return self._failed(convoke, f"{backend}: {why}")
        # Of a NaN, sign and payload are left to the CPU.
        first, *others = (_bytes(dst) for dst in results.values())
        if any(other != first for other in others):
            return self._failed(convoke, f"{' and '.join(results)} do not give the same bits")
        return Outcome(self.name)

    def _wrong(self, dst: np.ndarray) -> str | None:
        double = self.layer.double
        expected = self.expected.astype(double)
        dtype = self.layer.output_numpy
        if dst.dtype != dtype or dst.shape != expected.shape:
            return f"the result is {dst.dtype} {list(dst.shape)}, expected {dtype} {list(expected.shape)}"
        if self.exact and dtype.kind == "f":
            # An average of small whole numbers is rounded once.
            rounded = expected.astype(dtype)
            rounded = self.layer.widened(self.layer.halved(rounded)) if self.layer.is_half else rounded
            expected = rounded.astype(np.float64)
        with np.errstate(invalid="ignore"):
            off = abs(dst.astype(double) - expected)
        if self.exact or self.layer.integers:
            allowed = np.zeros_like(off)
        else:
            tensors = self.tensors
            magnitudes = self.magnitudes
            if magnitudes is None:
                magnitudes = naive.magnitudes(self.layer, tensors.src, tensors.weights, tensors.bias)
            allowed = naive.bound(self.layer, self.layer.steps(tensors.channels), expected, magnitudes, self.oracle)
        # A NaN is never within a bound, but it may be what is expected, as infinity may.
        same = (dst == expected) | (np.isnan(dst) & np.isnan(expected))
        bad = np.argwhere(~(same | (off <= allowed)))
        if not len(bad):
            return None
        at = tuple(map(int, bad[0]))
        numbers = f"{dst[at]!s}, expected {expected[at]!s}, {off[at]:.3g} off; allowed is {allowed[at]:.3g}"
        return f"{len(bad)} of {off.size} values are wrong, the first at {list(at)}: {numbers}"

    def _misplaced(self, found: np.ndarray) -> str | None:
        if found.dtype != np.int32 or found.shape != self.indices.shape:
            return f"the indices are {found.dtype} {list(found.shape)}, expected int32 {list(self.indices.shape)}"
        bad = np.argwhere(found != self.indices)
        if not len(bad):
            return None
        at = tuple(map(int, bad[0]))
        return f"{len(bad)} of {found.size} indices are wrong, the first at {list(at)}: {found[at]}, expected {self.indices[at]}"

    def _failed(self, convoke: Convoke, why: str) -> Outcome:
        folder = FAILED / self.name.replace("/", "-").replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(convoke.folder, folder)
        np.save(folder / "expected.npy", self.layer.store(self.expected))
        return Outcome(self.name, "failed", f"{why}\n{self.layer.text()}its files are in {folder.parent.name}/{folder.name}")


def _bytes(dst: np.ndarray) -> bytes:
    """Every NaN as the same one."""
    return (np.where(np.isnan(dst), dst.dtype.type(np.nan), dst) if dst.dtype.kind == "f" else dst).tobytes()


Check = Callable[[Convoke], Outcome]
"""A case, or anything else that ends in an outcome."""
