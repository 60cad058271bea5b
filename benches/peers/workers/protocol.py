"""What a worker in Python is made of."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Task:
    """A layer to get ready: its sizes, its data and what is asked of the peer.

    `layer` is `Layer.to_json()`; `input` is `[n, c, …]`, `weights` `[k, c / groups, …]`, `bias` `[k]` or None.
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


@dataclass
class Network:
    """A network to get ready, and its input."""

    model: str
    """As an ONNX file, of one input and one output."""
    input: np.ndarray
    output_shape: list[int]
    threads: int


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

    def load(self, network: Network) -> Prepared:
        """Whole networks, where they are measured."""
        raise Skip("whole networks are not measured with it")


CLOCKS = {"cpu": time.process_time_ns, "wall": time.perf_counter_ns}
"""`cpu` is the time that all threads of this process compute: it stands still while others have the core."""


class Stopwatch:
    """`with Stopwatch() as watch: …` leaves the time that passed in `watch.us`."""

    us: float

    def __enter__(self) -> "Stopwatch":
        self.begin = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.us = (time.perf_counter() - self.begin) * 1e6
