"""The workers in Python: `serve.py PEER ARGUMENTS` answers requests, one JSON object a line, until its input ends.

`runner/src/protocol.rs` is the same in Rust. A worker has one layer or network at a time:

    {"op": "hello"}                                                 -> {"version"}
    {"op": "prepare", "layer", "input", "weights", "options", …}    -> {"create_us", "kernel"} or {"skip": reason}
    {"op": "load", "model", "input", "output_shape", "threads", …}  -> {"load_us", "before_kib", "peak_kib", "resident_kib"} or {"skip": reason}
    {"op": "run", "ms", "min_calls", "clock"}                       -> {"samples": [microseconds a call]}
    {"op": "output", "path"}                                        -> {}
    {"op": "clear"}                                                 -> {}

Anything that goes wrong is answered with {"error": text}.
"""

import importlib
import json
import math
import os
import sys
import time
from typing import Any

import memory
import numpy as np
from protocol import Network, Peer, Prepared, Skip, Stopwatch, Task

LEAST_US = 50.0
"""Short calls are timed together until they take this long."""

FIRST_RUNS = 5
"""Of a network, before its memory is read."""

PATIENCE = 20
"""A slice ends after this many times its length, however few calls there were."""


def samples(ready: Prepared, ms: float, min_calls: int, clock: str) -> list[float]:
    """Microseconds a call, one element a sample. The first call warms up; only one that lasts too long counts."""
    begin = time.perf_counter()

    def passed() -> float:
        return (time.perf_counter() - begin) * 1e3

    first = ready.time(1, clock)
    if passed() >= PATIENCE * ms:
        return [first]
    calls = max(1, math.ceil(LEAST_US / max(ready.time(1, clock), 0.01)))
    found: list[float] = []
    while not found or passed() < PATIENCE * ms and (passed() < ms or len(found) * calls < min_calls):
        found.append(ready.time(calls, clock))
    return found


def main() -> None:
    # What a library prints, some of them when they are imported, must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer: Peer = importlib.import_module(f"peer_{sys.argv[1]}").Library(*sys.argv[2:])
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
                case {"op": "load", **request}:
                    ready = None
                    ready, answer = load(peer, request)
                case {"op": "run", "ms": ms, "min_calls": min_calls, "clock": clock}:
                    answer = {"samples": samples(ready, ms, min_calls, clock)}
                case {"op": "output", "path": path}:
                    np.save(path, np.ascontiguousarray(ready.output()))
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


def load(peer: Peer, request: dict[str, Any]) -> tuple[Prepared, dict[str, Any]]:
    """Gets a network ready and runs it; how long the first took, and how much memory there was before, at most and at the end."""
    network = Network(request["model"], np.load(request["input"]), request["output_shape"], request["threads"])
    before = memory.reset()
    with Stopwatch() as watch:
        ready = peer.load(network)
    for _ in range(FIRST_RUNS):
        ready.run()
    return ready, {"load_us": watch.us, "before_kib": before, "peak_kib": memory.most(), "resident_kib": memory.now()}


def task(request: dict[str, Any]) -> Task:
    bias = np.load(request["bias"]) if request["bias"] else None
    return Task(request["layer"], request["model"], np.load(request["input"]), np.load(request["weights"]), bias,
                request["options"])


if __name__ == "__main__":
    main()
