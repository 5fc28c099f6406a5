"""Calls a second of 16 Python threads on one client, against one thread.

    python bench/threads.py [EVENTS] [--threads 16] [--rounds 7] [--json]     # 200,000

In alternating rounds, to a null server; told are the best of each, and the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time

from common import ORDER, client, tell
from null_server import null_server


def rate(url: str, events: int, threads: int) -> float:
    with client(url) as sender:

        def work(user: str) -> None:
            start.wait()
            for _ in range(events // threads):
                sender.track(user, "Order Completed", ORDER)

        start = threading.Barrier(threads + 1)
        callers = [threading.Thread(target=work, args=(f"user-{number}",)) for number in range(threads)]
        for caller in callers:
            caller.start()
        start.wait()
        started = time.perf_counter()
        for caller in callers:
            caller.join()
        seconds = time.perf_counter() - started
        sender.flush()
        assert sender.stats().delivered == events // threads * threads
    return events // threads * threads / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=int, nargs="?", default=200_000)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    one, many = [], []
    with null_server() as url:
        for _ in range(given.rounds):
            one.append(rate(url, given.events, 1))
            many.append(rate(url, given.events, given.threads))
    result = {
        "threads": given.threads,
        "one_thread_per_second": max(one),
        "many_threads_per_second": max(many),
        "many_to_one_ratio": statistics.median(together / alone for alone, together in zip(one, many)),
    }
    tell(result, given.json)


if __name__ == "__main__":
    main()
