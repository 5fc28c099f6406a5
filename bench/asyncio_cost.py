"""What an awaited delivery costs the event loop's thread, and how late the loop runs meanwhile.

    python bench/asyncio_cost.py [EVENTS] [--json]      # 100,000 in each way

To a null server. Each way of awaiting stands beside its floor: the same program with an awaitable that does nothing but
make asyncio's own future, all of which get their results in groups of 100. The time is the CPU time of the loop's
thread without the call's own; the delay that of a 1 ms ticker in the same loop.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Generator
from typing import Any, Callable

from common import ORDER, tell
from null_server import null_server

from intilery import AsyncClient

GROUP = 100
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
    """A thousand calls, then each awaited in its turn. Has no floor: most have their fates by then."""
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


async def run(url: str, events: int) -> dict[str, float]:
    found: dict[str, float] = {}
    late: list[float] = []
    ticking = asyncio.ensure_future(tick(late))
    await asyncio.sleep(1)
    ticking.cancel()
    found["idle_delay_p99_ms"] = percentile(late, 0.99)
    async with AsyncClient(
        client_id="hea",
        account_id="hea",
        brand_id="HEA",
        auth_token="sandbox-token",
        endpoint=url,
        delivery="batch",
        rate_limit=100_000,
        max_queue_bytes=1_000_000_000,
    ) as client:

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
            name = way.__name__
            if way is not one_by_one:
                found[f"{name}_floor_us"], late = await measure(way, Bare, events)
                found[f"{name}_floor_delay_p99_ms"] = percentile(late, 0.99)
            took, late = await measure(way, call, events)
            found[f"{name}_await_us"] = took - found["call_us"]
            found[f"{name}_delay_p99_ms"] = percentile(late, 0.99)
            found[f"{name}_delay_max_ms"] = max(late)
        assert client.stats().failed == 0
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=int, nargs="?", default=100_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with null_server() as url:
        tell(asyncio.run(run(url, max(given.events, SHARE))), given.json)


if __name__ == "__main__":
    main()
