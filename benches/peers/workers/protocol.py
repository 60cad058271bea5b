"""What every worker in Python shares: requests and answers, one JSON object a line, and how times are taken.

`runner/src/protocol.rs` is the same in Rust. A worker serves one peer, with one layer at a time:

    {"op": "hello"}                                                 -> {"version"}
    {"op": "prepare", "layer", "input", "weights", "options", …}    -> {"create_us", "kernel"} or {"skip": reason}
    {"op": "run", "ms", "min_calls", "clock"}                       -> {"samples": [microseconds a call]}
    {"op": "output", "path"}                                        -> {}
    {"op": "clear"}                                                 -> {}

Anything that goes wrong is answered with {"error": text}.
"""

import json
import math
import os
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Task:
    """A layer to get ready: its sizes, its data and what is asked of the peer.

    `layer` is `Layer.to_json()`; `input` is `[n, c, …]`, `weights` are `[k, c / groups, …]`, `bias` is `[k]` or None.
    """

    layer: dict[str, Any]
    model: str
    """The layer as an ONNX file, from `x` to `y`."""
    input: np.ndarray
    weights: np.ndarray
    bias: np.ndarray | None
    options: dict[str, Any]

    @property
    def output_shape(self) -> list[int]:
        return [self.layer["batch"], self.layer["out_channels"], *self.layer["output"]]


class Skip(Exception):
    """The layer is beyond what the peer can do: no failure."""


class Prepared(ABC):
    """A kernel with its data. Making one sets `create_us`, the time of making the kernel alone."""

    create_us: float
    kernel: str | None = None
    """What the peer calls it."""

    @abstractmethod
    def run(self) -> None:
        """Computes once; this is what is timed."""

    @abstractmethod
    def output(self) -> np.ndarray:
        """The result of the last run, `[n, k, …]`."""

    def time(self, calls: int, clock: str) -> float:
        """Microseconds a call."""
        now = CLOCKS[clock]
        run = self.run
        begin = now()
        for _ in range(calls):
            run()
        return (now() - begin) / calls / 1e3


class Peer(ABC):
    """A library that computes convolutions."""

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def prepare(self, task: Task) -> Prepared: ...


CLOCKS = {"cpu": time.process_time_ns, "wall": time.perf_counter_ns}
"""`cpu` is the time that all threads of this process compute: it stands still while others have the core."""

LEAST_US = 50.0
"""Short calls are timed together until they take this long."""

PATIENCE = 20
"""A slice ends after this many times its length, however few calls there were."""


def samples(ready: Prepared, ms: float, min_calls: int, clock: str) -> list[float]:
    """Microseconds a call, one element a sample. The first call warms up and is not timed."""
    begin = time.perf_counter()
    ready.run()
    calls = max(1, math.ceil(LEAST_US / max(ready.time(1, clock), 0.01)))
    found: list[float] = []
    while True:
        passed = (time.perf_counter() - begin) * 1e3
        if found and (passed >= ms and len(found) * calls >= min_calls or passed >= PATIENCE * ms):
            return found
        found.append(ready.time(calls, clock))


class Stopwatch:
    """`with Stopwatch() as watch: …` leaves the time that passed in `watch.us`."""

    us: float

    def __enter__(self) -> "Stopwatch":
        self.begin = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.us = (time.perf_counter() - self.begin) * 1e6


def serve(peer: Peer) -> None:
    """Answers requests until the input ends. What a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ready: Prepared | None = None
    for line in sys.stdin:
        try:
            match json.loads(line):
                case {"op": "hello"}:
                    answer = {"version": peer.version()}
                case {"op": "prepare", **request}:
                    ready = None
                    ready = peer.prepare(task(request))
                    ready.run()
                    answer = {"create_us": ready.create_us, "kernel": ready.kernel}
                case {"op": "run", "ms": ms, "min_calls": min_calls, "clock": clock}:
                    answer = {"samples": samples(ready, ms, min_calls, clock)}
                case {"op": "output", "path": path}:
                    np.save(path, np.ascontiguousarray(ready.output(), dtype=np.float32))
                    answer = {}
                case {"op": "clear"}:
                    ready = None
                    answer = {}
                case other:
                    answer = {"error": f"not a request: {other}"}
        except Skip as skip:
            answer = {"skip": str(skip)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def task(request: dict[str, Any]) -> Task:
    bias = np.load(request["bias"]) if request["bias"] else None
    return Task(request["layer"], request["model"], np.load(request["input"]), np.load(request["weights"]), bias,
                request["options"])
