"""oneDNN on a layer of integers or halves, timed as `convoke bench` times.

Whoever imports this without numpy starts again in an environment that has it, which is made if need be.
"""

from pathlib import Path
from statistics import median
from typing import Any

from environment import BUILD, enter, prepare, progress
from layers import Layer
from worker import Worker, WorkerDied

enter("numpy", "ort")

import numpy as np

FORMATS = ("any", "nhwc")
"""Of input and output: the library's choice, and channels last. The weights are as the library likes them."""


class OneDnn:
    """One layer, ready in both formats; the faster counts."""

    def __init__(self, command: list[str], core: int, log: str) -> None:
        self.workers = {name: Worker(command, [core], BUILD / f"worker-{log}-{name}.log") for name in FORMATS}
        self.samples: dict[str, list[float]] = {}
        self.kernels: dict[str, str] = {}
        self.skipped = ""
        """Why no format is ready."""

    def prepare(self, layer: Layer, elements: dict[str, Any], arrays: dict[str, np.ndarray], scratch: Path) -> None:
        """`elements` are those of peer_onednn.py; `arrays` the input, the weights and the bias, as oneDNN sees them."""
        self.samples, self.kernels, self.skipped = {}, {}, ""
        files = {name: scratch / f"onednn-{name}.npy" for name in arrays}
        for name, array in arrays.items():
            np.save(files[name], array)
        request = {"layer": layer.to_json(), "model": "", "bias": None} | {name: str(file) for name, file in files.items()}
        for name, worker in self.workers.items():
            answer = ask(worker, "prepare", **request, options={"format": name, "elements": elements})
            self.skipped = answer.get("skip", "")
            if not self.skipped:
                self.samples[name], self.kernels[name] = [], answer["kernel"]

    def take_turn(self) -> None:
        """A fifth of a second in each format, as `convoke bench` computes for."""
        for name, samples in self.samples.items():
            samples.append(median(ask(self.workers[name], "run", ms=200, min_calls=3, clock="cpu")["samples"]))

    def microseconds(self) -> float:
        return min(median(samples) for samples in self.samples.values())

    def outputs(self, scratch: Path) -> list[np.ndarray]:
        """In each format, `[n, k, h, w]`."""
        file, found = scratch / "onednn-output.npy", []
        for name in self.samples:
            ask(self.workers[name], "output", path=str(file))
            found.append(np.load(file))
        return found


def ask(worker: Worker, op: str, **fields: Any) -> dict[str, Any]:
    answer = worker.ask(op, **fields)
    if "error" in answer:
        raise WorkerDied(answer["error"])
    return answer


def ways(core: int, without_amx: str) -> tuple[dict[str, OneDnn], str]:
    """oneDNN as it comes and, where the CPU has AMX, kept to the instruction set `without_amx`; and its version.

    None where it cannot be had, which is said.
    """
    commands, _ = prepare(["onednn"])
    if not commands:
        return {}, ""
    found = {"oneDNN": OneDnn(commands["onednn"], core, "onednn")}
    try:
        version = ask(found["oneDNN"].workers["any"], "hello")["version"]
    except WorkerDied as why:
        progress(f"onednn is skipped: {why}")
        return {}, ""
    if " amx_tile" in Path("/proc/cpuinfo").read_text():
        limited = ["env", f"ONEDNN_MAX_CPU_ISA={without_amx}", *commands["onednn"]]
        found["oneDNN, no AMX"] = OneDnn(limited, core, "onednn-no-amx")
    return found, version
