"""What is measured: the programs, and which of their figures are held against which goal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable

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
    "loop_node": Subject("node bench/node_loop.mjs"),
    "core": Subject(f"python bench/null_server.py -- {CPP}/bench_core", "", "--quick"),
    "process_cpp": Subject(f"{CPP}/bench_process_cpu", "1000000 5", "200000 2"),
    "peers": Subject("python bench/peers/compare.py", "--rounds 3", "--rounds 1 --events 4000"),
    "wall_python": Subject("python bench/wall.py python", "1000000", "100000 --rounds 2", "200 --rounds 1"),
    "wall_node": Subject("python bench/wall.py node", "1000000", "100000 --rounds 2", "200 --rounds 1"),
    "rows": Subject("python bench/send_many.py", "1000000", "200000 --rounds 1", "1000 --rounds 1"),
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
            if name not in ("intilery", *without) and client.get("arrived_us")
        ]
        return float(min(others) / clients["intilery"]["cpu_us"])

    return ratio


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
    Row("the same, Python", "at most 2x", "wall_python", "process_to_caller_ratio", 2,
        "{value:.2f}x ({process_cpu_us:.2f} us)"),
    Row("the same, Node", "at most 2x", "wall_node", "process_to_caller_ratio", 2,
        "{value:.2f}x ({process_cpu_us:.2f} us)"),
    Row("CPU, against the best Python peer", "40x less", "peers", over_best_peer("python"), 40,
        "{value:.0f}x less", True),
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
    Row("asyncio: 100,000 deliveries, awaited by 1,000 tasks", "at most 3 us each on the loop", "asyncio",
        "in_tasks_await_us", 3, "{value:.2f} us"),
    Row("the same, delay of the loop", "p99 2 ms", "asyncio", "in_tasks_delay_p99_ms", 2, "{value:.2f} ms"),
    Row("the same, by `asyncio.gather`, which makes a task of each", "at most 3 us", "asyncio", "gathered_await_us", 3,
        "{value:.2f} us (asyncio's own futures: {gathered_floor_us:.2f} us)"),
    Row("Node: event-loop delay at 20,000 events/s", "p99 at most 1 ms above idle", "loop_node",
        "delay_p99_above_idle_ms", 1, "{value:.2f} ms"),
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
    Row("growth, 1 to 1,000,000 users", "within 10 %", "growth", "users_process_spread_ratio", 1.1,
        "{value:.2f}x"),
    Row("growth, 1 to 10,000 users in retry", "within 10 %", "growth", "engine_beside_users_in_retry_spread_ratio", 1.1,
        "{value:.2f}x"),
]  # fmt: skip

OTHERS = [
    Row("a tracking plan's check, ten properties", "", "plan", "ratio", math.inf, "{value:.2f}x a `track()` without"),
    Row("use of the account's rate, alone", "", "pace", "used_ratio", math.inf,
        "{value:.1%} of the grants, {refused} answered 429"),
]  # fmt: skip
