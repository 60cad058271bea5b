"""What was measured, as JSON, as Markdown tables and as a plot.

A rate is 2 * multiply-accumulates / median time, those with padding counted too: what skips them, or Winograd, may be
above the peak. A ratio is Convoke's fastest layout over the other: below 1 it is a loss, in bold.
"""

import json
import math
import os
import textwrap
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

Record = dict[str, Any]

MANY = 40
"""With more layers than this the plot has no names, and the tables stay in the file."""


def rates(record: Record, *, ours: bool) -> dict[str, float]:
    """GFLOP/s by variant, of Convoke's or of the peers'; only what computed, and the right thing."""
    return {key: peer["gflops"] for key, peer in record["peers"].items()
            if "gflops" in peer and "error" not in peer and key.startswith("convoke") == ours}


def best(found: dict[str, float]) -> tuple[str, float] | None:
    return max(found.items(), key=lambda item: item[1], default=None)


def ratios(record: Record, threads: int) -> dict[str, float]:
    """Convoke's fastest layout over each peer; with `threads`, each layout on as many over itself on one."""
    ours, theirs = rates(record, ours=True), rates(record, ours=False)
    if threads > 1:
        return {key: ours[f"{key} x{threads}"] / rate for key, rate in ours.items() if f"{key} x{threads}" in ours}
    mine = best(ours)
    return {key: mine[1] / rate for key, rate in theirs.items()} if mine else {}


def title(threads: int) -> str:
    return "Convoke's fastest over each" if threads == 1 else f"Convoke on {threads} threads over one"


def geomean(values: Iterable[float]) -> float:
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def peak(record: Record) -> float:
    return max(record["peak"])


def one_line(record: Record) -> str:
    """One layer, for the progress on a terminal."""
    parts = [record["summary"]]
    if mine := best(rates(record, ours=True)):
        parts.append(f"{mine[0]} {mine[1]:.1f} GFLOP/s, {mine[1] / peak(record):.0%} of peak")
        if theirs := best(rates(record, ours=False)):
            parts.append(f"{mine[1] / theirs[1]:.2f} of {theirs[0]} with {theirs[1]:.1f}")
    bad = [key for key, peer in record["peers"].items() if "error" in peer]
    return "; ".join(parts + [f"errors: {', '.join(bad)}"] * bool(bad))


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return [lines[0], f"|---{'|--:' * (len(head) - 1)}|", *lines[1:], ""]


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}" if value >= 99.5 else f"{value:.1f}"


def ratio(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"**{value:.2f}**" if value < 1 else f"{value:.2f}"


def markdown(results: Record, *, whole: bool | None = None) -> str:
    """The tables. `whole`: those with a row per layer too; without it, if the layers are not too many."""
    layers, threads = results["layers"], results["threads"]
    every = [key for key in (layers[0]["peers"] if layers else []) if any("gflops" in r["peers"][key] for r in layers)]
    lines = ["# Convoke and its peers", "", *about(results), ""]
    theirs = [key for key in every if any(key in ratios(record, threads) for record in layers)]
    lines += summary(layers, theirs, threads)
    if whole or whole is None and len(layers) <= MANY:
        rows = []
        for record in layers:
            known, top = rates(record, ours=True) | rates(record, ours=False), peak(record)
            mine = best(rates(record, ours=True))
            rows.append([record["summary"], f"{mine[1] / top:.0%}" if mine else "–", number(top),
                         *(number(known.get(key)) for key in every)])
        lines += ["## GFLOP/s", "", *table(["layer", "ours of peak", "peak", *every], rows)]
        rows = [[record["summary"], *(ratio(ratios(record, threads).get(key)) for key in theirs)] for record in layers]
        lines += [f"## {title(threads)}", "", *table(["layer", *theirs], rows)]
        rows = [[record["summary"], *(number(record["peers"][key].get("create_us")) for key in every)]
                for record in layers]
        lines += ["## Making the kernel, µs", "", *table(["layer", *every], rows)]
    return "\n".join([*lines, *troubles(results)])


def about(results: Record) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    clock = "time of the CPU" if results["clock"] == "cpu" else "time that passed"
    threads = "one thread" if results["threads"] == 1 else f"one thread and {results['threads']}"
    return [f"- {results['cpu']} ({results['isa']}), {threads}, core {results['core']}, {results['date']}, "
            f"load {results['load']:.1f} when it began",
            f"- {versions}",
            f"- medians of {results['rounds']} interleaved rounds of {results['slice_ms']:g} ms, {clock}",
            f"- `{results['command']}`"]


def summary(layers: list[Record], theirs: list[str], threads: int) -> list[str]:
    """Geometric means, wins and losses against each peer, and where Convoke is worst."""
    rows = []
    for key in theirs:
        found = [ratios(record, threads)[key] for record in layers if key in ratios(record, threads)]
        rows.append([key, ratio(geomean(found)), ratio(min(found)), ratio(max(found)), str(sum(x < 1 for x in found)),
                     str(len(found))])
    lines = [f"## {title(threads)}: all layers", "",
             *table(["peer", "geometric mean", "least", "greatest", "losses", "layers"], rows)]
    worst = sorted(((min(ratios(record, threads).values()), record) for record in layers if ratios(record, threads)),
                   key=lambda item: item[0])[:10]
    if len(layers) > 10 and threads == 1:
        rows = [[f"`{record['text']}`", ratio(least), best(rates(record, ours=False))[0]] for least, record in worst]
        lines += ["## The ten worst", "", *table(["layer", "ratio", "fastest peer"], rows)]
    return lines


def troubles(results: Record) -> list[str]:
    """Peers and layers without a result, each reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in results["layers"]:
        for key, peer in record["peers"].items():
            for kind in ("error", "skip"):
                if kind in peer:
                    reason = " ".join(peer[kind].split())[:200]
                    reasons.setdefault((key, f"{kind}: {reason}"), []).append(record["layer"]["name"])
    lines = [f"- {name}: not measured, {why}" for name, why in results["skipped"].items()]
    for (key, reason), names in reasons.items():
        which = ", ".join(names) if len(names) <= 8 else f"{len(names)} layers"
        lines.append(f"- {key}, {which}: {reason}")
    return ["## Without a result", "", *lines, ""] if lines else []


ROW, LABEL, WIDTH, TOP = 16, 250, 860, 56


def svg(results: Record) -> str:
    """Bars from 1, on a scale of powers of two: the mean ratio to each peer, then each layer's to its fastest peer."""
    layers, threads = results["layers"], results["threads"]
    means: dict[str, list[float]] = {}
    single: list[tuple[str, float, str]] = []
    for record in layers:
        found = ratios(record, threads)
        for key, value in found.items():
            means.setdefault(key, []).append(value)
        if found:
            key = min(found, key=lambda key: found[key])
            single.append((record["summary"], found[key], key))
    many = len(single) > MANY
    if many:
        single.sort(key=lambda item: item[1])
    bars = [(f"mean, {key}", geomean(found), "") for key, found in means.items()]
    reach = max([1.0, *(abs(math.log2(value)) for _, value, _ in bars + single)])
    middle, half = LABEL + (WIDTH - LABEL - 130) / 2, (WIDTH - LABEL - 130) / 2

    def place(value: float) -> float:
        return middle + half * math.log2(value) / reach

    parts: list[str] = []
    y = TOP
    for rows, height in ((bars, ROW), (single, 4 if many else ROW)):
        if rows is single and threads == 1:
            parts.append(f'<text x="{LABEL - 8}" y="{y}" text-anchor="end" fill="#666">each over its fastest peer</text>')
            y += 8
        for label, value, note in rows:
            left, right = sorted((place(1), place(value)))
            colour = "#2a9d5c" if value >= 1 else "#c8443c"
            parts.append(f'<rect x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="{height - height // 4}" '
                         f'fill="{colour}"/>')
            if height == ROW:
                parts.append(f'<text x="{LABEL - 8}" y="{y + 11}" text-anchor="end">{escape(label)}</text>')
                parts.append(f'<text x="{WIDTH - 124}" y="{y + 11}">{value:.2f} {escape(note)}</text>')
            y += height
        y += ROW
    lines = []
    for power in range(-math.floor(reach), math.floor(reach) + 1):
        x = place(2.0 ** power)
        shade = "#333" if power == 0 else "#ccc"
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{y - ROW}" stroke="{shade}"/>')
        lines.append(f'<text x="{x:.1f}" y="{TOP - 10}" text-anchor="middle">{2.0 ** power:g}</text>')
    foot = [results["cpu"] + f" ({results['isa']}), " + results["date"],
            ", ".join(f"{name} {version}" for name, version in results["versions"].items()), results["command"]]
    foot = [part for line in foot for part in textwrap.wrap(line, 140)]
    text = "".join(f'<text x="8" y="{y + 4 + 14 * i}" fill="#666">{escape(line)}</text>' for i, line in enumerate(foot))
    height = y + 16 + 14 * len(foot)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
            f'<text x="8" y="22" font-size="15">{title(threads)}</text>'
            f'{"".join(lines)}{"".join(parts)}{text}</svg>\n')


def write(folder: Path, name: str, results: Record) -> None:
    """Writes `name`.json, .md and .svg into `folder`, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"json": json.dumps(results, indent=1) + "\n", "md": markdown(results, whole=True), "svg": svg(results)}
    for kind, text in texts.items():
        temporary = folder / f".{name}.{kind}.{os.getpid()}"
        temporary.write_text(text)
        temporary.replace(folder / f"{name}.{kind}")
