#!/usr/bin/env python3
"""Measures whole networks beside other libraries: time, memory, and how long it takes until they are ready.

Each library has a process of its own for each network. All compute in turns on one core, one thread (or on as many cores as `--threads`
says), on the same file of ONNX, which Convoke gets as `convoke import` translates it. Every output is compared with ONNX Runtime's. Writes
results/networks-light.json and .md. Needs what run.py needs, and runs in the environment that it makes.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import environment
import network_report
from environment import BUILD, HERE, MODELS, convoke_command, progress
from run import Failed, ask, cpu_model, progress_line
from worker import Worker, WorkerDied

environment.enter("onnx", MODELS.name)

import network_models

EXAMPLES = """\
examples:
  networks.py                                 six networks that everybody has, one thread
  networks.py --threads 2                     the same on two cores
  networks.py --set tiny --peers ort         tiny ones beside ONNX Runtime alone
  networks.py --only resnet50 --quick         one, roughly
"""

SETS = {
    "light": ("resnet50", "squeezenet", "vgg19", "shufflenet", "densenet121", "inception_v1"),
    "tiny": tuple(network_models.TINY),
}
PEERS = ("convoke", "ort", "openvino", "tract", "burn")
REFERENCE = "ort"
"""Whose output the others are compared with."""
FOLDER = BUILD / "networks"
SECONDS = 600
"""For loading, compiling and the first runs."""

Record = dict[str, Any]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, default="light", help="which networks (%(default)s)")
    parser.add_argument("--only", metavar="NAMES", help="of these, comma-separated")
    parser.add_argument("--peers", metavar="NAMES", default=",".join(PEERS[1:]), help="comma-separated (%(default)s)")
    parser.add_argument("--convoke", type=Path, metavar="FILE", help="the command that imports; built if it is not given")
    parser.add_argument("--rounds", type=int, help="how often each has its turn (7)")
    parser.add_argument("--slice-ms", type=float, help="how long a turn is (1000, of tiny networks 100)")
    parser.add_argument("--min-calls", type=int, default=3, help="calls of a turn, however long they take (%(default)s)")
    parser.add_argument("--loads", type=int, help="how often each loads the network, in a process of its own (3)")
    parser.add_argument("--quick", action="store_true", help="2 rounds and 1 load, unless told otherwise")
    cores = sorted(os.sched_getaffinity(0))
    parser.add_argument("--core", type=int, default=cores[-1], help="the core that all of them run on (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="N threads and cores; wants an idle machine")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results (results, here)")
    parser.add_argument("--setup", action="store_true", help="install, build and write the networks, measure nothing")
    args = parser.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 7)
    args.loads = args.loads or (1 if args.quick else 3)
    args.slice_ms = args.slice_ms or (100 if args.set == "tiny" else 1000)
    args.peers = ["convoke", *(name for name in args.peers.split(",") if name != "convoke")]
    args.networks = [name for name in SETS[args.set] if not args.only or name in args.only.split(",")]
    for unknown in set(args.peers) - set(PEERS):
        parser.error(f"`{unknown}` is not measured with networks; {', '.join(PEERS)} are")
    if not args.networks:
        parser.error(f"--only {args.only}: the networks of this set are {', '.join(SETS[args.set])}")
    if args.core not in cores or not 1 <= args.threads <= len(cores):
        parser.error(f"this machine lets us use the cores {cores}")
    args.cores = [args.core, *(core for core in cores if core != args.core)][:args.threads]
    args.name = f"networks-{args.set}" + ("" if args.threads == 1 else f"-{args.threads}t")
    return args


def written(name: str) -> Record:
    """What is to be known of a network; its files are made unless they are there."""
    known = FOLDER / f"{name}.json"
    sources = [Path(module.__file__) for module in list(sys.modules.values()) if Path(getattr(module, "__file__", None) or "/").stem in SOURCES]
    if not known.exists() or any(source.stat().st_mtime > known.stat().st_mtime for source in sources):
        progress(f"writing {name}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        environment.run([sys.executable, network_models.__file__, name, FOLDER], f"network-{name}")
    return json.loads(known.read_text())


SOURCES = ("network_models", "random_weights", "light_models", "graph_builder")
"""The modules that a network's file depends on."""


def imported(convoke: Path, name: str) -> None:
    """Translates the file for Convoke; each time, since the command may be another."""
    command = [convoke, "import", FOLDER / f"{name}.onnx", "-o", FOLDER / f"{name}.conv", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"convoke import: {done.stderr.strip()}")


class Measurement:
    """One network after the other. `results` is complete after each."""

    def __init__(self, args: argparse.Namespace, commands: dict[str, list[str]], skipped: dict[str, str], convoke: Path) -> None:
        self.args, self.commands, self.convoke = args, commands, convoke
        self.results: Record = {
            "command": shlex.join(["python3", "benches/peers/networks.py", *sys.argv[1:]]),
            "date": time.strftime("%Y-%m-%d"),
            "cpu": cpu_model(),
            "cores": args.cores,
            "load": os.getloadavg()[0],
            "threads": args.threads,
            "rounds": args.rounds,
            "slice_ms": args.slice_ms,
            "clock": "cpu" if args.threads == 1 else "wall",
            "skipped": skipped,
            "versions": {},
            "networks": [],
        }

    def measure(self, name: str) -> None:
        known = written(name)
        record: Record = {"name": name, **known, "peers": {peer: {"samples": []} for peer in self.commands}}
        workers: dict[str, Worker] = {}
        try:
            with tempfile.TemporaryDirectory(prefix="convoke-networks-") as scratch:
                self.get_ready(record, workers, Path(scratch))
            self.take_turns(record, workers)
        finally:
            for worker in workers.values():
                worker.end()
        for peer in record["peers"].values():
            if samples := peer.pop("samples"):
                peer |= {"median_us": statistics.median(samples), "min_us": min(samples), "calls": len(samples)}
        self.results["networks"].append(record)

    def get_ready(self, record: Record, workers: dict[str, Worker], scratch: Path) -> None:
        """Loads the network with each, as often as it has to be, and compares what the last process makes with ONNX Runtime's output."""
        name = record["name"]
        files = {"model": f"{name}.onnx", "conv": f"{name}.conv", "parameters": f"{name}.safetensors", "input": f"{name}.npy"}
        request = {key: str(FOLDER / file) for key, file in files.items()}
        request |= {"output_shape": record["output_shape"], "threads": self.args.threads}
        # The reference comes first.
        for key in sorted(self.commands, key=lambda key: key != REFERENCE):
            peer = record["peers"][key]
            log = BUILD / f"worker-network-{key}.log"
            log.unlink(missing_ok=True)
            worker = workers[key] = Worker(self.commands[key], self.args.cores, log)
            try:
                if key == "convoke":
                    imported(self.convoke, name)
                loads = []
                for number in range(self.args.loads):
                    progress_line(f"{name}: {key} loads, {number + 1} of {self.args.loads}")
                    worker.end()
                    version = ask(worker, "hello")["version"]
                    loads.append(ask(worker, "load", timeout=SECONDS, **request))
                    if "skip" in loads[-1]:
                        break
                self.results["versions"][key] = version
                peer |= loads[-1]
                if "skip" in peer:
                    continue
                peer |= {"load_us": statistics.median(load["load_us"] for load in loads), "loads": loads}
                self.compare(record, peer, worker, scratch, key)
            except (Failed, WorkerDied) as why:
                peer["error"] = str(why)

    @staticmethod
    def compare(record: Record, peer: Record, worker: Worker, scratch: Path, key: str) -> None:
        mine, reference = scratch / f"{key}.npy", scratch / f"{REFERENCE}.npy"
        ask(worker, "output", path=str(mine))
        if key == REFERENCE or not reference.exists():
            return
        peer["difference"] = network_models.difference(mine, reference)
        if not peer["difference"] <= record["bound"]:
            raise Failed(f"differs from ONNX Runtime by {peer['difference']:.1e}; {record['bound']:.1e} may be (of the root mean square)")

    def take_turns(self, record: Record, workers: dict[str, Worker]) -> None:
        for turn in range(self.args.rounds):
            for key, peer in record["peers"].items():
                if {"error", "skip"} & set(peer):
                    continue
                progress_line(f"{record['name']}: round {turn + 1} of {self.args.rounds}: {key}")
                try:
                    answer = ask(workers[key], "run", ms=self.args.slice_ms, min_calls=self.args.min_calls, clock=self.results["clock"])
                    peer["samples"] += answer["samples"]
                except (Failed, WorkerDied) as why:
                    peer["error"] = str(why)


def main() -> int:
    args = arguments()
    commands, skipped = environment.prepare(args.peers)
    if "convoke" not in commands:
        progress("without Convoke's worker there is nothing to compare with")
        return 1
    convoke = convoke_command(args.convoke)
    measurement = Measurement(args, commands, skipped, convoke)
    try:
        for number, name in enumerate(args.networks, 1):
            if args.setup:
                written(name)
                continue
            measurement.measure(name)
            progress_line("")
            progress(f"{number}/{len(args.networks)}: {network_report.one_line(measurement.results['networks'][-1])}")
            network_report.write(args.out, args.name, measurement.results)
    except KeyboardInterrupt:
        progress("\ninterrupted; what was measured is written")
        return 130
    except environment.Unavailable as why:
        progress(str(why))
        return 1
    if not args.setup:
        progress(f"wrote {args.out / args.name}.json and .md")
        print(network_report.markdown(measurement.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
