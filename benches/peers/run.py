#!/usr/bin/env python3
"""Measures Convoke beside other libraries, layer by layer, in one run on one core.

Sets up everything that it needs (README.md says what); needs Python 3.11, cargo and, for oneDNN, g++.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import environment
import onnx_file
import report
from environment import BUILD, HERE, PEERS, progress
from layers import SETS, Layer, sweep
from worker import Worker, WorkerDied

EXAMPLES = """\
examples:
  run.py --set resnet50 --quick                 the layers of ResNet-50, roughly
  run.py --set sweep --seed 7 --peers onednn    200 other layers, beside oneDNN alone
  run.py --layer 'conv2d x { input: f32[1, 64, 56, 56], out_channels: 64, kernel_size: 3, padding: same }'
  run.py --set resnet50 --threads 2             Convoke on two cores beside Convoke on one
"""

MACS_WORTH_THREADS = 50_000_000
"""Layers with less are left out with --threads."""

SLOW_US = 1e6
"""A peer that takes more for a call has one turn, not one a round."""

Record = dict[str, Any]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_argument_group("what")
    what.add_argument("--set", action="append", choices=[*SETS, "sweep"], default=[],
                      help="a set of layers, more than once for several; resnet50 if neither this nor --layer is given")
    what.add_argument("--layer", action="append", default=[], metavar="TEXT", help="one layer, in Convoke's language")
    what.add_argument("--only", metavar="NAMES", help="of the chosen layers, those with these names, comma-separated")
    what.add_argument("--seed", type=int, default=1, help="of the sweep's layers (1)")
    what.add_argument("--count", type=int, default=200, help="how many layers the sweep has (200)")
    usual = [name for name, peer in PEERS.items() if peer.default and name != "convoke"]
    what.add_argument("--peers", metavar="NAMES", default=",".join(usual),
                      help=f"comma-separated, `none` for Convoke alone ({','.join(usual)})")
    unusual = [name for name, peer in PEERS.items() if not peer.default]
    what.add_argument("--with", dest="more", metavar="NAMES", default="",
                      help=f"peers besides these; gigabytes to install ({','.join(unusual)})")
    how = parser.add_argument_group("how")
    how.add_argument("--rounds", type=int, help="how often every peer has its turn (5)")
    how.add_argument("--slice-ms", type=float, help="how long a turn is (60)")
    how.add_argument("--min-calls", type=int, default=5, help="calls of a turn, however long they take (5)")
    how.add_argument("--quick", action="store_true", help="2 rounds of 25 ms, unless told otherwise")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    how.add_argument("--core", type=int, default=cores[-1], help=f"the core that all of them run on ({cores[-1]})")
    how.add_argument("--threads", type=int, default=1, metavar="N",
                     help="Convoke on N threads and cores beside itself on one, no peers")
    where = parser.add_argument_group("where")
    where.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results (results, here)")
    where.add_argument("--name", help="of the files there (the sets' names)")
    where.add_argument("--list", action="store_true", help="print the chosen layers and end")
    where.add_argument("--setup", action="store_true", help="install and build, measure nothing")
    args = parser.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.slice_ms = args.slice_ms or (25 if args.quick else 60)
    names = [] if args.peers == "none" or args.threads > 1 else args.peers.split(",")
    args.peers = ["convoke", *filter(None, [*names, *args.more.split(",")])]
    for unknown in set(args.peers) - set(PEERS):
        parser.error(f"`{unknown}` is no peer; they are {', '.join(PEERS)}")
    if args.core not in cores or args.threads > len(cores):
        parser.error(f"this machine lets us use the cores {cores}")
    args.cores = [args.core, *(core for core in cores if core != args.core)][:args.threads]
    if not args.set and not args.layer:
        args.set = ["resnet50"]
    args.name = args.name or "-".join(args.set or ["layer"]) + ("" if args.threads == 1 else f"-{args.threads}t")
    return args


class Failed(Exception):
    """A worker answered with an error."""


def ask(worker: Worker, op: str, **fields: Any) -> Record:
    answer = worker.ask(op, **fields)
    if "error" in answer:
        raise Failed(answer["error"])
    return answer


TRANSPOSED = {"convoke", "onednn", "ort", "openvino"}
"""The peers that transposed layers are measured with."""


class Measurement:
    """Every variant of every peer on one layer after the other. `results` is complete after each layer."""

    def __init__(self, args: argparse.Namespace, commands: dict[str, list[str]], skipped: dict[str, str],
                 scratch: Path) -> None:
        self.args, self.scratch = args, scratch
        self.helper = Worker(commands["convoke"], args.cores[:1], BUILD / "worker-helper.log")
        self.workers: dict[str, Worker] = {}
        self.options: dict[str, environment.Options] = {}
        for name, command in commands.items():
            for key, options in variants(name, args.threads).items():
                log = BUILD / f"worker-{key.replace(':', '-').replace(' ', '-')}.log"
                log.unlink(missing_ok=True)
                self.workers[key] = Worker(command, args.cores[:options.get("threads", 1)], log)
                self.options[key] = options
        self.results: Record = {
            "command": shlex.join(["python3", "benches/peers/run.py", *sys.argv[1:]]),
            "date": time.strftime("%Y-%m-%d"),
            "cpu": cpu_model(),
            "core": args.core,
            "load": os.getloadavg()[0],
            "threads": args.threads,
            "rounds": args.rounds,
            "slice_ms": args.slice_ms,
            "clock": self.clock,
            "skipped": skipped,
            "versions": {},
            "layers": [],
        }
        self.ask_versions()

    @property
    def clock(self) -> str:
        """That of the CPU stands still while others have the core; of several threads it would be the sum."""
        return "cpu" if self.args.threads == 1 else "wall"

    def ask_versions(self) -> None:
        """Leaves out the peers that do not start."""
        peak = ask(self.helper, "peak")
        self.results["isa"] = peak["isa"]
        for key in list(self.workers):
            name = key.split(":")[0]
            try:
                self.results["versions"][name] = ask(self.workers[key], "hello")["version"]
            except (Failed, WorkerDied) as why:
                self.results["skipped"][name] = str(why)
                progress(f"{key} is skipped: {why}")
                self.workers.pop(key).end()

    def close(self) -> None:
        for worker in [self.helper, *self.workers.values()]:
            worker.end()

    def measure(self, layer: Layer, label: str) -> None:
        """Adds a record of `layer` to the results."""
        record: Record = {"layer": layer.to_json(), "summary": layer.summary(), "text": layer.text(), "peak": [],
                          "peers": {key: {"samples": []} for key in self.workers}}
        files = self.write_data(layer)
        good: dict[str, Record] = {}
        for key, peer in record["peers"].items():
            progress_line(f"{label} preparing {key}")
            if self.attempt(peer, lambda: self.get_ready(key, layer, files, peer, good)):
                good[key] = peer
        for turn in range(self.args.rounds):
            record["peak"].append(round(ask(self.helper, "peak")["gflops"], 2))
            for key, peer in list(good.items()):
                progress_line(f"{label} round {turn + 1} of {self.args.rounds}: {key}")
                if peer["samples"] and min(peer["samples"]) > SLOW_US:
                    continue
                if not self.attempt(peer, lambda: self.take_turn(key, peer)):
                    del good[key]
        for key, peer in record["peers"].items():
            if samples := peer.pop("samples"):
                peer |= {"median_us": statistics.median(samples), "min_us": min(samples), "calls": len(samples)}
                peer["gflops"] = 2e-3 * layer.macs / peer["median_us"]
            self.attempt(peer, lambda: ask(self.workers[key], "clear") if key in good else None)
        self.results["layers"].append(record)

    @staticmethod
    def attempt(peer: Record, step: Any) -> bool:
        """Whether `step` works; if not, `peer` says why."""
        try:
            step()
        except (Failed, WorkerDied) as why:
            peer["error"] = str(why)
        return not {"error", "skip"} & set(peer)

    def get_ready(self, key: str, layer: Layer, files: Record, peer: Record, good: dict[str, Record]) -> None:
        """Makes the kernel, runs it and compares the result with that of the first variant that was good."""
        if layer.transposed and key.split(":")[0].split()[0] not in TRANSPOSED:
            peer["skip"] = "transposed layers are not measured with it"
            return
        options = self.options[key]
        text = layer.text(options.get("layout", "nchw"))
        peer |= ask(self.workers[key], "prepare", layer=layer.to_json(), text=text, options=options, **files)
        if "skip" in peer:
            return
        mine, first = self.scratch / "mine.npy", self.scratch / "first.npy"
        ask(self.workers[key], "output", path=str(mine if good else first))
        if good:
            peer |= ask(self.helper, "compare", left=str(mine), right=str(first), terms=layer.terms)
            if not peer["difference"] <= peer["bound"]:
                raise Failed(f"differs from {next(iter(good))} by {peer['difference']:.1e}; "
                             f"{peer['bound']:.1e} may be (of the root mean square)")

    def take_turn(self, key: str, peer: Record) -> None:
        answer = ask(self.workers[key], "run", ms=self.args.slice_ms, min_calls=self.args.min_calls, clock=self.clock)
        peer["samples"] += answer["samples"]

    def write_data(self, layer: Layer) -> Record:
        """Random input, weights and bias, and the layer as ONNX; the names of the files, as the workers expect them."""
        shapes = {"input": layer.input_shape, "weights": layer.weights_shape}
        if layer.bias:
            shapes["bias"] = [layer.out_channels]
        paths = {name: self.scratch / f"{name}.npy" for name in shapes}
        for seed, (name, shape) in enumerate(shapes.items()):
            ask(self.helper, "random", path=str(paths[name]), shape=shape, seed=seed)
        model = self.scratch / "layer.onnx"
        onnx_file.write(model, layer, paths["weights"], paths.get("bias"))
        return {"bias": None, "model": str(model)} | {name: str(path) for name, path in paths.items()}


def variants(name: str, threads: int) -> dict[str, environment.Options]:
    """What is timed of a peer; with `threads`, each also on as many."""
    keys = PEERS[name].keys()
    if threads == 1:
        return keys
    return {key + suffix: options | {"threads": count}
            for key, options in keys.items() for suffix, count in (("", 1), (f" x{threads}", threads))}


def progress_line(text: str) -> None:
    """Replaces the line before on a terminal; says nothing in a log."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def chosen(args: argparse.Namespace, helper: Worker) -> list[Layer]:
    """The layers that the arguments ask for."""
    found: list[Layer] = []
    for name in args.set:
        found += sweep(args.count, args.seed) if name == "sweep" else SETS[name]()
    for text in args.layer:
        found.append(Layer.from_json(ask(helper, "describe", text=text)))
    if args.only:
        found = [layer for layer in found if layer.name in args.only.split(",")]
    if args.threads > 1:
        found = [layer for layer in found if layer.macs >= MACS_WORTH_THREADS]
    return found


def measure_all(measurement: Measurement, layers: Iterable[Layer], save: Any) -> None:
    layers = list(layers)
    begin = time.monotonic()
    for number, layer in enumerate(layers, 1):
        passed = time.monotonic() - begin
        left = f", {passed / (number - 1) * (len(layers) - number + 1):.0f} s left" if number > 1 else ""
        label = f"layer {number} of {len(layers)}{left}, {layer.summary()}:"
        measurement.measure(layer, label)
        progress_line("")
        progress(f"{number}/{len(layers)}{left}: {report.one_line(measurement.results['layers'][-1])}")
        save(measurement.results)


def main() -> int:
    args = arguments()
    if args.list and not args.layer:
        for layer in chosen(args, None):
            print(layer.text())
        return 0
    commands, skipped = environment.prepare(args.peers)
    if "convoke" not in commands:
        progress("without Convoke's worker there is nothing to compare with")
        return 1
    if args.setup:
        return 0
    with tempfile.TemporaryDirectory(prefix="convoke-peers-") as scratch:
        helper = Worker(commands["convoke"], args.cores[:1], BUILD / "worker-helper.log")
        try:
            layers = chosen(args, helper)
        except Failed as why:
            progress(str(why))
            return 1
        finally:
            helper.end()
        if not layers:
            progress("no layer is left; see --set, --layer and --only")
            return 1
        if args.list:
            print(*(layer.text() for layer in layers), sep="\n")
            return 0
        measurement = Measurement(args, commands, skipped, Path(scratch))
        try:
            measure_all(measurement, layers, lambda results: report.write(args.out, args.name, results))
        except KeyboardInterrupt:
            progress("\ninterrupted; what was measured is written")
            return 130
        finally:
            measurement.close()
    progress(f"wrote {args.out / args.name}.json, .md and .svg")
    print(report.markdown(measurement.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
