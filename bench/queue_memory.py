"""What an event costs in memory while it waits, against its bytes on the wire.

    python bench/queue_memory.py [EVENTS] [--json]     # 1,000,000

The events go to a server that takes connections and never answers, so that all of them stay; told is how much the
process has grown, for each, and what the same loop took without anything that comes back: the calls alone.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from common import ORDER, client, tell
from null_server import silent_server

from intilery.testing import Sandbox


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wire_bytes() -> float:
    """What one event is in a batch."""
    with Sandbox(rate_limit=0) as sandbox, client(sandbox.url) as sender:
        for _ in range(100):
            sender.track("ABC/123456", "Order Completed", ORDER)
        sender.flush()
        return sender.stats().bytes_sent / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    wire = wire_bytes()
    with silent_server() as url:
        sender = client(url)
        sender.track("ABC/123456", "Order Completed", ORDER)
        before, started = resident(), time.perf_counter()
        for _ in range(given.events):
            sender.track("ABC/123456", "Order Completed", ORDER)
        seconds = time.perf_counter() - started
        queued = (resident() - before) / given.events
        assert sender.stats().queued == given.events + 1
        sender.close(timeout=0)
    result = {
        "events": given.events,
        "wire_bytes": wire,
        "queued_bytes": queued,
        "goal_bytes": wire * 1.25 + 64,
        "queued_to_wire_ratio": queued / wire,
        "call_ns": seconds * 1e9 / given.events,
    }
    tell(result, given.json)


if __name__ == "__main__":
    main()
