"""What is done with a `Delivery`, and what that costs: dropped, kept, asked for its result, called back.

    python bench/handles.py [EVENTS] [--json]      # 100,000 of each kind, in ten rounds in turns

To a null server. `_ns` is the time of the calling thread's processor for each event, best round; `result_ns` that of
`result()` once the fate is known. `process_us` is that of all threads, from the call until the fate, callbacks
included.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from typing import Any, Callable

from common import ORDER, client, tell
from null_server import null_server

from intilery import Client, Delivery, Receipt

ROUNDS = 10
Way = Callable[[Client, int], object]


def bare(sender: Client, events: int) -> None:
    for _ in range(events):
        sender.track("ABC/123", "Order Completed", ORDER)


def dropped(sender: Client, events: int) -> None:
    for _ in range(events):
        delivery = sender.track("ABC/123", "Order Completed", ORDER)
        del delivery


def kept(sender: Client, events: int) -> list[Delivery]:
    return [sender.track("ABC/123", "Order Completed", ORDER) for _ in range(events)]


def called_back(sender: Client, events: int) -> None:
    for _ in range(events):
        sender.track("ABC/123", "Order Completed", ORDER, on_delivery=ignore)


def ignore(_: Receipt) -> None:
    pass


def measure(sender: Client, way: Way, events: int) -> tuple[float, float, object]:
    """Nanoseconds of the caller, microseconds of the process."""
    started, process = time.thread_time_ns(), time.process_time_ns()
    made = way(sender, events)
    caller = (time.thread_time_ns() - started) / events
    sender.flush()
    return caller, (time.process_time_ns() - process) / events / 1_000, made


def figures(url: str, events: int) -> Iterator[tuple[str, float]]:
    ways: tuple[Way, ...] = (bare, dropped, kept, called_back)
    caller: dict[Any, list[float]] = {way: [] for way in ways}
    process: dict[Any, list[float]] = {way: [] for way in ways}
    results = []
    with client(url) as sender:
        for _ in range(ROUNDS):
            for way in ways:
                own, whole, made = measure(sender, way, events)
                caller[way].append(own)
                process[way].append(whole)
                if isinstance(made, list):
                    started = time.thread_time_ns()
                    for delivery in made:
                        delivery.result()
                    results.append((time.thread_time_ns() - started) / events)
        assert sender.stats().failed == 0
        for way in ways:
            yield f"{way.__name__}_ns", min(caller[way])
            yield f"{way.__name__}_process_us", min(process[way])
        yield "result_ns", min(results)
        yield "dropped_to_bare_ratio", min(caller[dropped]) / min(caller[bare])
        before = resident()
        made = kept(sender, 10 * events)
        sender.flush()
        yield "kept_bytes", (resident() - before) / len(made)


def resident() -> int:
    with open("/proc/self/statm") as sizes:
        return int(sizes.read().split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=int, nargs="?", default=100_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with null_server() as url:
        tell({name: round(value, 3) for name, value in figures(url, max(1, given.events // ROUNDS))}, given.json)


if __name__ == "__main__":
    main()
