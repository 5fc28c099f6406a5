"""docs/performance.md, made of page.md and the figures: tables, plots, and the machine that they are from."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Callable

from subjects import GOALS, OTHERS, SUBJECTS, Figures, Row, Subject

ROOT = Path(__file__).resolve().parent.parent
Results = dict[str, "Figures | str"]  # a subject's figures, or why there are none

COLUMNS = [  # of the tables of peers: figure, title, decimals
    ("call_us", "call, us", 2),
    ("cpu_us", "CPU to the acknowledgement, us", 2),
    ("arrived_us", "the same for each that arrived", 2),
    ("loop_us", "event loop busy, us", 2),
    ("wall_us", "wall time, us", 2),
    ("queue_bytes", "queued, bytes", 0),
    ("import_ms", "import, ms", 0),
]


def cells(row: Row, results: Results) -> tuple[str, str]:
    """What was measured, and whether that meets the goal."""
    figures = results.get(row.subject, "not measured")
    if isinstance(figures, str):
        return figures, ""
    try:
        number = row.number(figures)
        text = row.show.format(value=number, **figures)
    except KeyError as missing:
        return f"not measured: it does not tell {missing}", ""
    met = number >= row.limit if row.at_least else number <= row.limit
    return text, "yes" if met else "no"


def goal_table(results: Results, arguments: Callable[[Subject], str]) -> list[str]:
    lines = ["| what | goal | measured | met | command |", "| --- | --- | --- | --- | --- |"]
    for row in GOALS:
        subject = SUBJECTS[row.subject]
        measured, met = cells(row, results)
        command = f"{subject.command} {arguments(subject)}".strip()
        lines.append(f"| {row.what} | {row.goal} | {measured} | {met} | `{command}` |")
    return lines


def other_table(results: Results, arguments: Callable[[Subject], str]) -> list[str]:
    lines = ["| what | measured | command |", "| --- | --- | --- |"]
    for row in OTHERS:
        subject = SUBJECTS[row.subject]
        command = f"{subject.command} {arguments(subject)}".strip()
        lines.append(f"| {row.what} | {cells(row, results)[0]} | `{command}` |")
    return lines


def peer_table(clients: dict[str, Figures]) -> list[str]:
    columns = [column for column in COLUMNS if any(column[0] in client for client in clients.values())]
    lines = [
        "| client | " + " | ".join(title for _, title, _ in columns) + " | lost | how |",
        "| --- |" + " ---: |" * (len(columns) + 1) + " --- |",
    ]
    for name, client in clients.items():
        shown = ["-" if client.get(key) is None else f"{client[key]:,.{digits}f}" for key, _, digits in columns]
        label = f"**{name}**" if name == "intilery" else f"{name} {client['version']}"
        lost = f"{client['lost']:,} of {client['events']:,}" if "lost" in client else "-"
        lines.append(f"| {label} | " + " | ".join(shown) + f" | {lost} | {client['remark']} |")
    return lines


def plot(language: str, clients: dict[str, Figures], path: Path) -> None:
    """Bars, logarithmic: ours would not be seen otherwise."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    grey = "#808080"  # to be read on white and on black
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.family": "sans-serif"})
    matplotlib.rcParams.update(dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), grey))
    subjects = [
        ("call_us", "a call, us"),
        ("arrived_us", "CPU for each that arrived, us"),
        ("queue_bytes", "queued, bytes"),
    ]
    if language == "node":
        subjects[0] = ("loop_us", "event loop busy, us")
    names = list(clients)[::-1]
    figure, axes = pyplot.subplots(1, len(subjects), figsize=(9, 0.32 * len(names) + 0.8), sharey=True)
    for axis, (key, title) in zip(axes, subjects):
        values = [clients[name].get(key) or 0 for name in names]
        bars = axis.barh(names, values, color=["#4c8bf5" if name == "intilery" else "#9aa0a6" for name in names])
        labels = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value else "-" for value in values]
        axis.bar_label(bars, labels, padding=3, fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(min(value for value in values if value) / 2, max(values) * 8)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=8, length=0)
        axis.set_xticks([])
        axis.minorticks_off()
        axis.spines[:].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except FileNotFoundError:
        return "not there"
    return ((done.stdout + done.stderr).splitlines() or [""])[0]


def machine() -> list[str]:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.findall(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[0]) / 2**20
    release = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("orjson", "polars", "duckdb"))
    return [
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{release[1] if release else ''}, Linux {platform.release()}.",
        f"Python {platform.python_version()}, Node {first_line('node', '--version')[1:]}, "
        f"{first_line('g++', '--version')}, libcurl {first_line('pkg-config', '--modversion', 'libcurl')}, "
        f"SQLite {first_line('pkg-config', '--modversion', 'sqlite3')}, "
        f"{first_line('/usr/sbin/nginx', '-v').removeprefix('nginx version: ')}, {packages}; "
        f"intilery {first_line('git', 'describe', '--always', '--dirty')}.",
    ]


def page(results: Results, arguments: Callable[[Subject], str], images: Path | None) -> str:
    text = (ROOT / "bench/page.md").read_text()
    parts = {
        "machine": machine(),
        "goals": goal_table(results, arguments),
        "others": other_table(results, arguments),
    }
    peers = results.get("peers", "not measured")
    for language in ("python", "node"):
        if isinstance(peers, str):
            parts[language] = [peers]
            continue
        parts[language] = peer_table(peers[language])
        if images:
            path = images / f"performance-{language}.svg"
            plot(language, peers[language], path)
            parts[language] += ["", f"![The table as bars, logarithmic](images/{path.name})"]
    for name, lines in parts.items():
        text = text.replace(f"<!-- {name} -->", "\n".join(lines))
    return text
