"""What an awaited delivery costs the event loop's thread, and how late the loop runs meanwhile.

    .venv/bin/python bench/asyncio_cost.py [events] [--json]      # 100,000 in each way

Each way of awaiting is told beside its floor: the same program with an awaitable that does nothing but make asyncio's
own future, all of which get their results in groups of 500. What the client adds is the difference, less the bare call.
The time is the CPU time of the loop's thread; the delay that of a 1 ms ticker in the same loop.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import Awaitable, Generator
from typing import Any, Callable

from serving import ORDER, serving

from intilery import AsyncClient

GROUP = 500
SHARE = 1_000  # awaited at a time
Make = Callable[[], Awaitable[object]]


class Bare:
    """An awaitable that asyncio completes at once, and in groups."""

    waiting: list[asyncio.Future[None]] = []  # noqa: RUF012

    def __await__(self) -> Generator[Any, None, None]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if not Bare.waiting:
            loop.call_soon(Bare.finish)
        Bare.waiting.append(future)
        return (yield from future)

    @staticmethod
    def finish() -> None:
        group, Bare.waiting = Bare.waiting[:GROUP], Bare.waiting[GROUP:]
        for future in group:
            future.set_result(None)
        if Bare.waiting:
            asyncio.get_running_loop().call_soon(Bare.finish)


async def in_tasks(make: Make, events: int) -> None:
    """`SHARE` tasks, each of which awaits one delivery after the other: a server's handlers."""

    async def work() -> None:
        for _ in range(events // SHARE):
            await make()

    await asyncio.gather(*(work() for _ in range(SHARE)))


async def gathered(make: Make, events: int) -> None:
    """Ten tasks, each of which gathers a hundred at a time."""

    async def work() -> None:
        for _ in range(events // SHARE):
            await asyncio.gather(*(make() for _ in range(SHARE // 10)))

    await asyncio.gather(*(work() for _ in range(10)))


async def one_by_one(make: Make, events: int) -> None:
    """Many calls first, then each awaited in its turn."""
    for _ in range(events // SHARE):
        for made in [make() for _ in range(SHARE)]:
            await made


async def tick(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - due) * 1_000)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def measure(way: Callable[[Make, int], Awaitable[None]], make: Make, events: int) -> tuple[float, list[float]]:
    """Microseconds of the loop's thread for each event, and how many milliseconds late the ticks were."""
    late: list[float] = []
    gc.collect()
    ticking = asyncio.ensure_future(tick(late))
    await asyncio.sleep(0)
    start = time.thread_time_ns()
    await way(make, events)
    took = time.thread_time_ns() - start
    ticking.cancel()
    return took / events / 1_000, late


async def run(options: dict[str, Any], events: int) -> dict[str, float]:
    found: dict[str, float] = {}
    late: list[float] = []
    ticking = asyncio.ensure_future(tick(late))
    await asyncio.sleep(1)
    ticking.cancel()
    found["idle_delay_p99_ms"] = percentile(late, 0.99)
    async with AsyncClient(**options) as client:

        def call() -> Awaitable[object]:
            return client.track("ABC/123", "Order Completed", ORDER)

        calls = []
        for _ in range(20):
            start = time.thread_time_ns()
            for _ in range(events // 20):
                call()
            calls.append((time.thread_time_ns() - start) / (events // 20) / 1_000)
            await client.flush()
        found["call_us"] = statistics.median(calls)
        for way in (in_tasks, gathered, one_by_one):
            floor, _ = await measure(way, Bare, events)
            took, late = await measure(way, call, events)
            found[f"{way.__name__}_us"] = took
            found[f"{way.__name__}_floor_us"] = floor
            found[f"{way.__name__}_await_us"] = took - found["call_us"]
            found[f"{way.__name__}_delay_p99_ms"] = percentile(late, 0.99)
            found[f"{way.__name__}_delay_max_ms"] = max(late)
        assert client.stats().failed == 0
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with serving() as options:
        found = asyncio.run(run(options, arguments.events))
    if arguments.json:
        print(json.dumps({name: round(value, 3) for name, value in found.items()}))
        return
    print(f"the bare call {found['call_us']:.2f} us; an idle loop's ticks are late by {found['idle_delay_p99_ms']:.2f} ms")
    for way in ("in_tasks", "gathered", "one_by_one"):
        print(
            f"{way:10}: await {found[way + '_await_us']:5.2f} us (floor {found[way + '_floor_us']:.2f}), loop delay "
            f"p99 {found[way + '_delay_p99_ms']:.2f} ms, at most {found[way + '_delay_max_ms']:.1f} ms"
        )


if __name__ == "__main__":
    main()
