"""What one track() costs the caller, against orjson.dumps of the same dict, in one run with alternating rounds.

    .venv/bin/python bench/track_cost.py [rounds] [--json]

The events go to a sandbox in another process, so that the client's own thread works as it does in a program. Prints the
ratio of the best rounds, and of the medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Callable

import orjson
from common import ORDER, tell

from intilery import Client

AS_JSON = "--json" in sys.argv
ROUNDS = int(next((word for word in sys.argv[1:] if word.isdigit()), 40))
SLICES = 20
CALLS = 100  # in a slice


def measure(call: Callable[[], object]) -> float:
    """Nanoseconds for each of `CALLS` calls."""
    start = time.perf_counter_ns()
    for _ in range(CALLS):
        call()
    return (time.perf_counter_ns() - start) / CALLS


def main() -> None:
    sandbox = subprocess.Popen(
        [sys.executable, "-m", "intilery", "sandbox", "--rate-limit", "0"], stdout=subprocess.PIPE, text=True
    )
    assert sandbox.stdout is not None
    url = sandbox.stdout.readline().strip()
    client = Client(
        client_id="hea",
        account_id="hea",
        brand_id="HEA",
        auth_token=os.environ.get("INTILERY_AUTH_TOKEN", "sandbox-token"),
        endpoint=url,
        max_request_bytes=1_000_000,
    )
    dumped, tracked = [], []
    for _ in range(ROUNDS):
        # In slices, so that both have the same company: the client's thread and the sandbox work meanwhile.
        round_dumped = round_tracked = 0.0
        for _ in range(SLICES):
            round_dumped += measure(lambda: orjson.dumps(ORDER)) / SLICES
            round_tracked += measure(lambda: client.track("ABC/123", "Order Completed", ORDER)) / SLICES
        dumped.append(round_dumped)
        tracked.append(round_tracked)
        client.flush()  # outside of the measured time: the queue must not fill
    failed = client.stats().failed
    client.close()
    sandbox.terminate()
    sandbox.communicate()
    if failed:
        raise SystemExit(f"{failed} events failed: the measured time means nothing")
    ratios = [track / dump for track, dump in zip(tracked, dumped)]
    if AS_JSON:
        figures = {"track_ns": min(tracked), "dumps_ns": min(dumped), "ratio": min(tracked) / min(dumped)}
        tell({**figures, "median_ratio": statistics.median(ratios)}, as_json=True)
        return
    print(f"a dict of {len(orjson.dumps(ORDER))} bytes, {ROUNDS} rounds of {SLICES * CALLS} calls")
    for name, values in (("orjson.dumps", dumped), ("client.track", tracked)):
        print(f"{name}: min {min(values):.0f} ns, median {statistics.median(values):.0f} ns")
    print(f"ratio: min {min(tracked) / min(dumped):.2f}, median of rounds {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
