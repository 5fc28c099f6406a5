"""Runs what bench/ measures, and writes the tables of docs/performance.md from it.

    python bench/run.py            # all of it, into docs/performance.md: `make bench`, under 20 minutes
    python bench/run.py --quick    # two minutes, less exact, to the terminal and build/bench/quick.md: `make bench-quick`
    python bench/run.py --smoke    # whether each program of ours runs and tells what the tables need; measures nothing

A subject is a program that is run by its command and ends with one line of JSON. A row of a table takes figures from
that line; what could not be run says so in its row.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/bench"
CPP = "build/bench/cpp"
Figures = dict[str, Any]


@dataclass
class Subject:
    """A program: what it is called with, for the whole, quickly, and to see that it runs at all."""

    command: str
    whole: str = ""
    quick: str = ""
    smoke: str | None = None  # None: it needs what CI does not build


SUBJECTS = {
    "call_python": Subject("python bench/track_cost.py", "100", "10", "1"),
    "call_node": Subject("node --expose-gc bench/track_cost.mjs", "100", "10", "1"),
    "loop_node": Subject("node bench/node_loop.mjs", "", "", ""),
    "core": Subject(f"python bench/null_server.py -- {CPP}/bench_core", "", "--quick"),
    "process_cpp": Subject(f"{CPP}/bench_process_cpu", "1000000 5", "200000 2"),
    "peers": Subject("python bench/peers/compare.py", "--rounds 3", "--rounds 1 --events 4000"),
    "wall_python": Subject("python bench/wall.py python", "1000000", "100000 --rounds 2", "200 --rounds 1"),
    "wall_node": Subject("python bench/wall.py node", "1000000", "100000 --rounds 2", "200 --rounds 1"),
    "rows": Subject("python bench/send_many.py", "1000000", "200000"),
    "event_mode": Subject(f"{CPP}/bench_event_mode", "", "20000 2"),
    "memory": Subject("python bench/queue_memory.py", "1000000", "200000", "1000"),
    "handles": Subject("python bench/handles.py", "", "20000", "1000"),
    "asyncio": Subject("python bench/asyncio_cost.py", "100000", "20000", "1000"),
    "threads_cpp": Subject(f"{CPP}/bench_threads", "", "100000 2"),
    "threads_python": Subject("python bench/threads.py", "200000", "50000 --rounds 2", "160 --rounds 1"),
    "spool": Subject(f"{CPP}/bench_spool", "", "--quick"),
    "import_python": Subject("python bench/import_time.py", "20", "5", "1"),
    "require_node": Subject("node bench/require_time.mjs", "20", "5", "1"),
    "sizes": Subject("python bench/sizes.py"),
    "growth": Subject(f"{CPP}/bench_growth", "", "10000 1"),
    "plan": Subject("python bench/plan_cost.py", "40", "4", "1"),
    "pace": Subject("python bench/pace.py", "--seconds 30", "--seconds 2", "--seconds 0.2"),
}


@dataclass
class Row:
    """A goal: which figure of which subject, and the bound that it is held against."""

    what: str
    goal: str
    subject: str
    value: str | Callable[[Figures], float]
    limit: float
    show: str  # a format, with the figures' names and `value`
    at_least: bool = False

    def number(self, figures: Figures) -> float:
        return float(self.value(figures) if callable(self.value) else figures[self.value])


def over_best_peer(language: str, without: tuple[str, ...] = ()) -> Callable[[Figures], float]:
    """How many times what ours costs the cheapest of the others does, for an event that arrives."""

    def ratio(figures: Figures) -> float:
        clients = figures[language]
        others = [
            client["arrived_us"]
            for name, client in clients.items()
            if name not in ("intilery", *without) and client["arrived_us"]
        ]
        return float(min(others) / clients["intilery"]["cpu_us"])

    return ratio


def of_ours(language: str, over: str, under: str) -> Callable[[Figures], float]:
    return lambda figures: float(figures[language]["intilery"][over] / figures[language]["intilery"][under])


GOALS = [
    Row("Python `track()`, cost to the caller", "at most 1.2x `orjson.dumps`", "call_python", "ratio", 1.2,
        "{value:.2f}x ({track_ns:.0f} ns against {dumps_ns:.0f} ns)"),
    Row("Node `track()`, cost to the caller", "at most 1.2x `JSON.stringify`", "call_node", "ratio", 1.2,
        "{value:.2f}x ({track_ns:.0f} ns against {stringify_ns:.0f} ns)"),
    Row("Node, event loop blocked per event, 20,000 calls", "at most 1.5x `JSON.stringify`", "loop_node",
        "blocked_ratio", 1.5, "{value:.2f}x"),
    Row("C++ `track()` with RawJson", "under 0.5 us", "core", "track_raw_ns", 500, "{value:.0f} ns"),
    Row("C++ `track()` with nlohmann::json", "at most 1.2x `dump()`", "core", "track_json_to_dump_ratio", 1.2,
        "{value:.2f}x ({track_json_ns:.0f} ns against {dump_ns:.0f} ns)"),
    Row("CPU of the whole process, to the acknowledgement, C++", "at most 2x the caller's part", "process_cpp",
        "process_to_caller_ratio", 2, "{value:.2f}x ({process_cpu_per_event_ns:.0f} ns)"),
    Row("the same, Python", "at most 2x the call", "peers", of_ours("python", "cpu_us", "call_us"), 2,
        "{value:.2f}x ({python[intilery][cpu_us]:.2f} us)"),
    Row("the same, Node", "at most 2x the call", "peers", of_ours("node", "cpu_us", "call_us"), 2,
        "{value:.2f}x ({node[intilery][cpu_us]:.2f} us)"),
    Row("CPU, against the best Python peer", "40x less", "peers", over_best_peer("python"), 40, "{value:.0f}x less", True),
    Row("CPU, against the best Node peer that takes events one by one", "25x less", "peers",
        over_best_peer("node", ("mixpanel track_batch",)), 25, "{value:.0f}x less", True),
    Row("wall time of 1,000,000 events, Python", "at most 1.3x the calling loop", "wall_python", "wall_to_loop_ratio",
        1.3, "{value:.2f}x ({wall_us:.2f} us an event)"),
    Row("the same, Node", "at most 1.3x", "wall_node", "wall_to_loop_ratio", 1.3,
        "{value:.2f}x ({wall_us:.2f} us an event)"),
    Row("the same, C++", "at most 1.3x", "process_cpp", "wall_to_loop_ratio", 1.3,
        "{value:.2f}x ({wall_per_event_ns:.0f} ns an event)"),
    Row("`send_many` from Arrow", "1,000,000 events/s", "rows", "arrow_per_second", 1e6, "{value:,.0f}/s", True),
    Row("the same, against polars' `write_ndjson`", "at most 2x", "rows", "arrow_to_polars_ratio", 2, "{value:.2f}x"),
    Row("`event` mode, loopback, 32 connections", "at least 0.9x a bare libcurl multi loop", "event_mode",
        "client_to_libcurl_ratio", 0.9, "{value:.2f}x ({client_per_second:,.0f}/s against {libcurl_per_second:,.0f}/s)",
        True),
    Row("memory for each queued event, 1,000,000 events", "at most 1.25x its wire bytes + 64", "memory",
        lambda figures: figures["queued_bytes"] / figures["goal_bytes"], 1,
        "{queued_bytes:.0f} bytes, for {wire_bytes:.0f} on the wire (goal: {goal_bytes:.0f})"),
    Row("a `Delivery` that is dropped, Python", "costs nothing", "handles", "dropped_to_bare_ratio", 1.03,
        "{value:.2f}x a call"),
    Row("asyncio: 100,000 awaited deliveries", "at most 3 us each on the loop", "asyncio", "gathered_await_us", 3,
        "{value:.2f} us"),
    Row("the same, delay of the loop", "p99 2 ms", "asyncio", "gathered_delay_p99_ms", 2, "{value:.2f} ms"),
    Row("Node: event-loop delay at 20,000 events/s", "p99 at most 1 ms above idle", "loop_node", "delay_p99_above_idle_ms",
        1, "{value:.2f} ms"),
    Row("64 threads (C++) on one client", "no less in total than one", "threads_cpp", "many_to_one_calls_ratio", 1,
        "{value:.2f}x ({many_threads_calls_per_second:,.0f}/s)", True),
    Row("16 threads (Python) on one client", "no less in total than one", "threads_python", "many_to_one_ratio", 1,
        "{value:.2f}x ({many_threads_per_second:,.0f}/s)", True),
    Row("spool `process`", "adds at most 4 us", "spool", "process_adds_us", 4, "{value:.2f} us"),
    Row("the same, p99.9 of a call", "under 1 ms", "spool", "process_p999_us", 1000, "{value:.0f} us"),
    Row("spool `power`, 32 threads", "at least 8x one thread's rate", "spool", "power_32_to_1_ratio", 8, "{value:.1f}x",
        True),
    Row("`import intilery`", "25 ms", "import_python", "import_ms", 25, "{value:.1f} ms"),
    Row("`require('intilery')`", "8 ms", "require_node", "require_ms", 8, "{value:.1f} ms"),
    Row("wheel", "under 6 MB", "sizes", "wheel_bytes", 6e6, "{value:,.0f} bytes"),
    Row("npm package installed", "under 6 MB", "sizes", "npm_bytes", 6e6, "{value:,.0f} bytes"),
    Row("growth, 1,000 to 10,000,000 events", "cost flat within 10 %", "growth", "events_process_spread_ratio", 1.1,
        "{value:.2f}x between least and most"),
    Row("growth, 1 to 1,000,000 users", "within 10 %", "growth", "engine_batch_mode_users_spread_ratio", 1.1,
        "{value:.2f}x"),
    Row("growth, 1 to 10,000 users in retry", "within 10 %", "growth", "engine_users_in_retry_spread_ratio", 1.1,
        "{value:.2f}x"),
]  # fmt: skip

OTHERS = [
    Row("a tracking plan's check, ten properties", "", "plan", "ratio", math.inf, "{value:.2f}x a `track()` without"),
    Row("use of the account's rate, alone", "", "pace", "used_ratio", math.inf,
        "{value:.1%} of the grants, {refused} answered 429"),
]  # fmt: skip

COLUMNS = [  # of the tables of peers: figure, title, decimals
    ("call_us", "call, us", 2),
    ("cpu_us", "CPU to the acknowledgement, us", 2),
    ("arrived_us", "the same for each that arrived", 2),
    ("loop_us", "event loop busy, us", 2),
    ("wall_us", "wall time, us", 2),
    ("queue_bytes", "queued, bytes", 0),
    ("import_ms", "import, ms", 0),
]


def program_of(command: str) -> Path:
    words = shlex.split(command)
    words = words[words.index("--") + 1 :] if "--" in words else words
    return ROOT / next(word for word in words if "/" in word)


@contextmanager
def sandbox() -> Iterator[str]:
    """A server that every machine has which built the clients; for --smoke."""
    command = [sys.executable, "-m", "intilery", "sandbox", "--rate-limit", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def run(name: str, subject: Subject, arguments: str, environment: dict[str, str]) -> Figures | str:
    """The figures, or why there are none."""
    if not program_of(subject.command).exists():
        return "not measured: there is no program"
    words = shlex.split(f"{subject.command} {arguments} --json")
    if words[0] == "python":
        words[0] = sys.executable
    started = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    try:
        figures = json.loads(done.stdout.splitlines()[-1])
        assert isinstance(figures, dict)
        return figures
    except (ValueError, IndexError, AssertionError):
        print(f"{name}: {' '.join(words)}: status {done.returncode}\n{done.stderr[-2000:]}", file=sys.stderr)
        return f"not measured: it ended with status {done.returncode}"


def cells(row: Row, results: dict[str, Figures | str]) -> tuple[str, str]:
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


def goal_table(results: dict[str, Figures | str], arguments: Callable[[Subject], str]) -> list[str]:
    lines = ["| what | goal | measured | met | command |", "| --- | --- | --- | --- | --- |"]
    for row in GOALS:
        subject = SUBJECTS[row.subject]
        measured, met = cells(row, results)
        command = f"{subject.command} {arguments(subject)}".strip()
        lines.append(f"| {row.what} | {row.goal} | {measured} | {met} | `{command}` |")
    return lines


def other_table(results: dict[str, Figures | str], arguments: Callable[[Subject], str]) -> list[str]:
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
        lost = f"{client['lost']:,} of {client['events']:,}"
        lines.append(f"| {label} | " + " | ".join(shown) + f" | {lost} | {client['remark']} |")
    return lines


def plot(language: str, clients: dict[str, Figures], path: Path) -> None:
    """Bars for what a table says; the logarithm, since ours would not be seen otherwise."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    grey = "#808080"  # to be read on white and on black
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.family": "sans-serif"})
    matplotlib.rcParams.update({key: grey for key in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")})
    subjects = [("call_us", "a call, us"), ("arrived_us", "CPU for each that arrived, us"), ("queue_bytes", "queued, bytes")]
    if language == "node":
        subjects[0] = ("loop_us", "event loop busy, us")
    names = list(clients)[::-1]
    figure, axes = pyplot.subplots(1, len(subjects), figsize=(9, 0.32 * len(names) + 0.8), sharey=True)
    for axis, (key, title) in zip(axes, subjects):
        values = [clients[name].get(key) or 0 for name in names]
        bars = axis.barh(names, values, color=["#4c8bf5" if name == "intilery" else "#9aa0a6" for name in names])
        axis.bar_label(bars, [f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" if value else "-" for value in values],
                       padding=3, fontsize=8)  # fmt: skip
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
    code = "import importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in ('orjson', 'polars', 'duckdb')))"
    return [
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{release[1] if release else ''}, Linux {platform.release()}.",
        f"Python {platform.python_version()}, Node {first_line('node', '--version')[1:]}, "
        f"{first_line('g++', '--version')}, libcurl {first_line('pkg-config', '--modversion', 'libcurl')}, "
        f"SQLite {first_line('pkg-config', '--modversion', 'sqlite3')}, "
        f"{first_line('/usr/sbin/nginx', '-v').removeprefix('nginx version: ')}, {first_line(sys.executable, '-c', code)}; "
        f"intilery {first_line('git', 'describe', '--always', '--dirty')}.",
    ]


def page(results: dict[str, Figures | str], arguments: Callable[[Subject], str], images: Path | None) -> str:
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
            parts[language] += ["", f"![What the table says, as bars](images/{path.name})"]
    for name, lines in parts.items():
        text = text.replace(f"<!-- {name} -->", "\n".join(lines))
    return text


def smoke() -> int:
    """Whether each program that a built checkout can run tells what the tables need."""
    wrong = 0
    with sandbox() as url:
        environment = {**os.environ, "INTILERY_BENCH_ENDPOINT": url}
        for name, subject in SUBJECTS.items():
            if subject.smoke is None or not program_of(subject.command).exists():
                continue
            results = {name: run(name, subject, subject.smoke, environment)}
            for row in GOALS + OTHERS:
                if row.subject == name and (said := cells(row, results)[0]).startswith("not measured"):
                    print(f"{name}: {row.what}: {said}")
                    wrong += 1
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--quick", action="store_true")
    way.add_argument("--smoke", action="store_true")
    parser.add_argument("--only", nargs="*", help=f"of {', '.join(SUBJECTS)}; to the terminal")
    given = parser.parse_args()
    if given.smoke:
        return smoke()
    started = time.monotonic()
    results: dict[str, Figures | str] = {}

    def arguments(subject: Subject) -> str:
        return subject.quick if given.quick else subject.whole

    for name, subject in SUBJECTS.items():
        if given.only is None or name in given.only:
            results[name] = run(name, subject, arguments(subject), dict(os.environ))
    FOLDER.mkdir(parents=True, exist_ok=True)
    whole = not given.quick and given.only is None
    (FOLDER / ("figures.json" if whole else "quick.json")).write_text(json.dumps(results, indent=1))
    text = page(results, arguments, ROOT / "docs/images" if whole else None)
    if whole:
        (ROOT / "docs/performance.md").write_text(text)
    else:
        (FOLDER / "quick.md").write_text(text)
        print(text)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
