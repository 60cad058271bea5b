#!/usr/bin/env python3
"""Holds Convoke to PyTorch, Keras (as JAX) and ONNX: values on every backend, and what is refused.

Sets up everything that it needs in `.venv` beside it (README.md says what); needs Python 3.11 or 3.12, and cargo.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import unittest
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import environment

EXAMPLES = """\
examples:
  run.py                               ONNX's backend tests, ONNX Runtime, JAX, and what is refused
  run.py --with torch                  PyTorch too: 1.3 GB
  run.py --only onnx/node              one group; onnx for all three
  run.py --only networks               ONNX files that are imported: right ones and wrong ones
  run.py --only jax --case 17          one random layer; its files are kept if it fails
  run.py --seed 5 --count jax=2000     other layers, and more of them
"""

CHUNK = 25
"""Cases that a process takes at once; of those that take seconds, one."""


@dataclass
class Group:
    """Cases that are counted together."""

    name: str
    needs: tuple[str, ...]
    """Packages."""
    cases: int
    statuses: Counter[str] = field(default_factory=Counter)
    skips: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The names of those that were skipped, by the reason."""
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, case: str, status: str, reason: str, count: int = 1) -> None:
        self.statuses[status] += count
        if status == "skipped":
            self.skips[reason].append(case)
        if status == "failed":
            self.failures.append((case, reason))


def groups(counts: dict[str, int]) -> list[Group]:
    """In the order in which they are shown. Of the random ones, `counts` has how many."""
    onnx = [Group(f"onnx/{folder}", ("numpy", "onnx"), cases) for folder, cases in ONNX.items()]
    needs = {"onnxruntime": ("numpy", "onnx", "onnxruntime"), "jax": ("numpy", "jax"), "torch": ("numpy", "torch")}
    needs |= {"integers": ("numpy", "onnx", "onnxruntime"), "complex": ("numpy",), "deformable": ("numpy",)}
    needs |= {"refusals": ("numpy",), "edge": ("numpy", "torch")}
    needs |= dict.fromkeys([name for name in COUNTS | NETWORKS if name.startswith("networks/")], needs["onnxruntime"])
    needs["networks/models"] += ("models",)
    return onnx + [Group(name, needs[name], cases) for name, cases in (counts | NETWORKS).items()]


ONNX = {"node": 85, "pytorch-converted": 48, "pytorch-operator": 3}
"""Cases in each of ONNX's folders, in version 1.17.0."""

COUNTS = {
    "onnxruntime": 1250, "integers": 300, "complex": 150, "deformable": 200, "jax": 625, "torch": 3750, "refusals": 360, "edge": 500,
    "networks/random": 100, "networks/quantized": 60, "networks/mutated": 2000
}
"""Random cases of each group."""

NETWORKS = {"networks/light": 9, "networks/weights": 9, "networks/models": 17}
"""Those that are given. Each takes seconds."""


def checks(group: str, seed: int, numbers: range, torch: bool) -> Iterator[Callable]:
    """The cases of a group with these numbers. Imports what needs packages."""
    import oracles

    kind, _, folder = group.partition("/")
    if kind == "onnx":
        return iter(list(importlib.import_module("onnx_suite").checks(folder))[numbers.start : numbers.stop])
    pytorch = oracles.load("torch") if torch and kind in ("torch", "refusals", "edge") else None
    if group == "networks/mutated":
        return importlib.import_module("mutations").checks(seed, numbers)
    if kind == "networks":
        return importlib.import_module("network_suite").checks(folder, seed, numbers)
    if kind == "integers":
        return importlib.import_module("integer_suite").checks(seed, numbers)
    if kind == "deformable":
        return importlib.import_module("deformable_suite").checks(seed, numbers)
    if kind == "refusals":
        return importlib.import_module("refusals").checks(seed, numbers, pytorch)
    if kind == "edge":
        return importlib.import_module("refusals").edge_checks(seed, numbers, pytorch)
    return importlib.import_module("random_suite").checks(pytorch or oracles.load(kind), seed, numbers)


def work(command: Path, group: str, seed: int, numbers: range, torch: bool) -> list[tuple[str, str, str]]:
    """Runs some cases of a group: name, status and reason of each."""
    from engine import Convoke

    with tempfile.TemporaryDirectory() as folder:
        outcomes = []
        for number, check in enumerate(checks(group, seed, numbers, torch)):
            own = _fresh(Path(folder) / str(number))
            try:
                outcome = check(Convoke(command, own))
                outcomes.append((outcome.case, outcome.status, outcome.reason))
            except Exception as error:
                where = f"{group} {numbers.start + number} of seed {seed}"
                outcomes.append((where, "failed", f"the suite itself failed: {type(error).__name__}: {error}"))
            shutil.rmtree(own)
        return outcomes


def _fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


def unit_tests() -> Group:
    """The tests of the suite itself; those of an oracle only if its package is there."""
    group = Group("unit tests", ("numpy",), 0)
    suite = unittest.defaultTestLoader.discover(str(environment.HERE), "test_*.py")
    result = unittest.TestResult()
    suite.run(result)
    for test, trace in result.failures + result.errors:
        group.add(test.id(), "failed", trace)
    for test, reason in result.skipped:
        group.add(test.id(), "skipped", reason)
    group.statuses["passed"] = result.testsRun - len(group.failures) - group.statuses["skipped"]
    return group


def main() -> int:
    arguments = parse()
    packages = (*environment.DEFAULT, *arguments.packages)
    outside = environment.enter(packages)
    missing = {p: environment.unavailable(p) if p in packages else "not asked for, see --with" for p in environment.PACKAGES}
    if outside:
        missing = dict.fromkeys(missing, outside)
    for package in packages:
        if missing[package]:
            print(f"{package} could not be installed: {missing[package]}", file=sys.stderr)
    report = Report(arguments.json)
    if missing["numpy"]:
        for group in groups(arguments.counts):
            report.skip(group, f"numpy is not there: {missing['numpy']}")
        return report.finish()

    command = arguments.convoke or environment.convoke()
    start = time.monotonic()
    shutil.rmtree(environment.HERE / ".failed", ignore_errors=True)
    if not arguments.only:
        report.show(unit_tests(), start)
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        for group in groups(arguments.counts):
            if arguments.only and not _chosen(group, arguments.only):
                continue
            if absent := [p for p in group.needs if missing[p]]:
                report.skip(group, f"{absent[0]} is not there: {missing[absent[0]]}")
                continue
            start = time.monotonic()
            one = arguments.case
            numbers = range(one, one + 1) if one is not None else range(group.cases)
            size = 1 if group.name in NETWORKS else CHUNK
            chunks = [numbers[at : at + size] for at in range(0, len(numbers), size)]
            jobs = [pool.submit(work, command, group.name, arguments.seed, chunk, not missing["torch"]) for chunk in chunks]
            for job in as_completed(jobs):
                for outcome in job.result():
                    group.add(*outcome)
            report.show(group, start)
    return report.finish()


class Report:
    """Prints what became of the groups: a line each, or an object a case."""

    def __init__(self, as_json: bool) -> None:
        self.json, self.total = as_json, Counter()

    def show(self, group: Group, start: float) -> None:
        self.total += group.statuses
        seconds = time.monotonic() - start
        counts = {status: group.statuses[status] for status in ("passed", "failed", "skipped")}
        if self.json:
            for case, reason in group.failures:
                self._object(group=group.name, case=case, status="failed", reason=reason)
            for reason, cases in group.skips.items():
                self._object(group=group.name, cases=cases, status="skipped", reason=reason)
            self._object(group=group.name, **counts, seconds=round(seconds, 1))
            return
        print(f"{group.name:24} {', '.join(f'{n:4} {status}' for status, n in counts.items())} {seconds:7.1f} s", flush=True)
        for reason, cases in sorted(group.skips.items()):
            names = [case.removeprefix(f"{group.name.removeprefix('onnx/')}/") for case in sorted(cases)]
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES and not group.name.startswith("onnx/") else ""
            shown = names[:MOST_NAMES] if more else names
            print(f"  skipped, {reason}: {len(names)}: {', '.join(shown)}{more}")
        for case, reason in group.failures:
            print(f"  FAILED {case}: {reason}".replace("\n", "\n    "))

    def skip(self, group: Group, reason: str) -> None:
        """All cases of a group at once."""
        group.statuses["skipped"] = group.cases
        self.total["skipped"] += group.cases
        if self.json:
            self._object(group=group.name, status="skipped", reason=reason, skipped=group.cases)
        else:
            print(f"{group.name:24} {group.cases} skipped, {reason}")

    def finish(self) -> int:
        """The last line; the exit code."""
        passed, failed, skipped = (self.total[status] for status in ("passed", "failed", "skipped"))
        if self.json:
            self._object(passed=passed, failed=failed, skipped=skipped)
        else:
            print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
        return 1 if failed else 0

    def _object(self, **fields: object) -> None:
        print(json.dumps(fields), flush=True)


MOST_NAMES = 3
"""Names of random cases that are shown of those that were skipped for one reason."""


def _chosen(group: Group, only: str) -> bool:
    return only in (group.name, group.name.partition("/")[0])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    extra = [p for p in environment.PACKAGES if p not in environment.DEFAULT]
    large = "a package that is large; `models` are networks of other packages"
    parser.add_argument("--with", dest="packages", action="append", default=[], choices=extra, help=large)
    parser.add_argument("--convoke", type=Path, metavar="FILE", help="the command; built if it is not given")
    parser.add_argument("--only", metavar="GROUP", help="only this group, or those of this folder")
    parser.add_argument("--case", type=int, metavar="N", help="only the case of this number")
    parser.add_argument("--seed", type=int, default=1, help="of the random cases")
    parser.add_argument("--count", action="append", default=[], metavar="GROUP=N", help="how many random cases a group has")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--json", action="store_true", help="an object a line")
    arguments = parser.parse_args()
    arguments.counts = dict(COUNTS)
    for text in arguments.count:
        name, _, number = text.partition("=")
        if name not in COUNTS or not number.isdecimal():
            parser.error(f"--count {text}: a group is one of {', '.join(COUNTS)}, as in jax=100")
        arguments.counts[name] = int(number)
    if arguments.convoke:
        arguments.convoke = arguments.convoke.resolve()
        if not arguments.convoke.exists():
            parser.error(f"{arguments.convoke} is not there")
    if arguments.only and not any(_chosen(g, arguments.only) for g in groups(arguments.counts)):
        parser.error(f"there is no group {arguments.only}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
