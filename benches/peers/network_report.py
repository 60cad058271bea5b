"""What was measured of networks, as JSON and as Markdown tables.

A ratio is the other's time over Convoke's: below 1 it is a loss, in bold.
"""

import json
import os
from pathlib import Path
from typing import Any

from report import geomean, ratio, table

Record = dict[str, Any]
FLOOR = "nothing"
"""The network that does nothing: it tells what a call takes, and is in no mean."""


def one_line(record: Record) -> str:
    """One network, for the progress on a terminal."""
    parts = [f"{key} {milliseconds(peer['median_us'])} ms" for key, peer in record["peers"].items() if good(peer)]
    bad = [f"{key}: {peer.get('error') or peer.get('skip')}" for key, peer in record["peers"].items() if not good(peer)]
    return "; ".join([record["name"], *parts, *bad])


def good(peer: Record) -> bool:
    return "median_us" in peer and not {"error", "skip"} & set(peer)


def milliseconds(us: float) -> str:
    ms = us / 1e3
    return f"{ms:.0f}" if ms >= 99.5 else f"{ms:.1f}" if ms >= 9.95 else f"{ms:.2f}" if ms >= 0.995 else f"{ms:.4f}"


def markdown(results: Record) -> str:
    networks = results["networks"]
    keys = [key for key in (networks[0]["peers"] if networks else []) if any(good(record["peers"][key]) for record in networks)]
    theirs = [key for key in keys if key != "convoke"]
    head = ["network", "parameters"]
    sizes = [[record["name"], f"{record['parameters']:,}"] for record in networks]
    lines = ["# Networks: Convoke and its peers", "", *about(results), "", "## Milliseconds a run, and the other's over Convoke's", ""]
    rows = [row + [cell(record["peers"][key], lambda peer: milliseconds(peer["median_us"])) for key in keys]
            + [ratio(over(record, key, "median_us")) for key in theirs] for row, record in zip(sizes, networks)]
    counted = [record for record in networks if record["name"] != FLOOR]
    rows.append(["geometric mean", "", *[""] * len(keys), *(mean(counted, key, "median_us") for key in theirs)])
    lines += table([*head, *keys, *(f"{key} / convoke" for key in theirs)], rows)
    if any(record["name"] == FLOOR for record in networks):
        lines += [f"`{FLOOR}` is one ReLU of 16 elements: what a call takes, in Python with the language. It is in no mean.", ""]
    lines += ["## Until it is ready: milliseconds from the files to the first run", ""]
    rows = [row + [cell(record["peers"][key], lambda peer: milliseconds(peer["load_us"])) for key in keys]
            + [ratio(over(record, key, "load_us")) for key in theirs] for row, record in zip(sizes, networks)]
    rows.append(["geometric mean", "", *[""] * len(keys), *(mean(counted, key, "load_us") for key in theirs)])
    lines += table([*head, *keys, *(f"{key} / convoke" for key in theirs)], rows)
    lines += ["## Memory, MiB", "", "The most that the process has had, and in brackets how much more that is than before it loaded the network.", ""]
    rows = [row + [cell(record["peers"][key], memory) for key in keys] for row, record in zip(sizes, networks)]
    lines += table([*head, *keys], rows)
    lines += ["## Differences from ONNX Runtime, of the root mean square of its output", ""]
    rows = [[record["name"], *(cell(record["peers"][key], lambda peer: f"{peer['difference']:.1e}" if "difference" in peer else "–")
                               for key in keys), f"{record['bound']:.1e}"] for record in networks]
    lines += table(["network", *keys, "may be"], rows)
    return "\n".join([*lines, *troubles(results)])


def about(results: Record) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    clock = "time of the CPU" if results["clock"] == "cpu" else "time that passed"
    threads = "one thread" if results["threads"] == 1 else f"{results['threads']} threads"
    cores = ", ".join(map(str, results["cores"]))
    return [f"- {results['cpu']}, {threads}, core {cores}, {results['date']}, load {results['load']:.1f} when it began",
            f"- {versions}",
            f"- batch 1, f32, medians of {results['rounds']} interleaved rounds of {results['slice_ms']:g} ms, {clock}",
            f"- `{results['command']}`"]


def cell(peer: Record, of: Any) -> str:
    return of(peer) if good(peer) else "–"


def memory(peer: Record) -> str:
    return f"{peer['peak_kib'] / 1024:.0f} ({(peer['peak_kib'] - peer['before_kib']) / 1024:.0f})"


def over(record: Record, key: str, what: str) -> float | None:
    mine, peer = record["peers"]["convoke"], record["peers"][key]
    return peer[what] / mine[what] if good(mine) and good(peer) else None


def mean(networks: list[Record], key: str, what: str) -> str:
    found = [value for record in networks if (value := over(record, key, what)) is not None]
    return ratio(geomean(found) if found else None)


def troubles(results: Record) -> list[str]:
    lines = [f"- {name}: not measured, {why}" for name, why in results["skipped"].items()]
    for record in results["networks"]:
        for key, peer in record["peers"].items():
            for kind in ("error", "skip"):
                if kind in peer:
                    lines.append(f"- {key}, {record['name']}: {kind}: {' '.join(peer[kind].split())[:300]}")
    return ["## Without a result", "", *lines, ""] if lines else []


def write(folder: Path, name: str, results: Record) -> None:
    """Writes `name`.json and .md into `folder`, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, text in {"json": json.dumps(results, indent=1) + "\n", "md": markdown(results)}.items():
        temporary = folder / f".{name}.{kind}.{os.getpid()}"
        temporary.write_text(text)
        temporary.replace(folder / f"{name}.{kind}")
