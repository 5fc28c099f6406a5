"""What a tracking plan adds to the cost of track(), with a typical event of ten properties.

    .venv/bin/python bench/plan_cost.py [rounds] [--json]

Two clients that differ in nothing but the plan take turns. As in track_cost.py, the events go to a sandbox in another
process. Prints the ratio of the best rounds, and the median of the rounds' ratios. The limit is 1.5.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

from common import tell

from intilery import Client

AS_JSON = "--json" in sys.argv
ROUNDS = int(next((word for word in sys.argv[1:] if word.isdigit()), 40))
SLICES = 20
CALLS = 100  # in a slice

ORDER = {
    "order_id": "50314b8e9bcf000000000000",
    "affiliation": "Web Store",
    "total": 27.5,
    "revenue": 25.25,
    "shipping": 3,
    "tax": 2,
    "discount": 2.5,
    "coupon": "summer-24",
    "currency": "GBP",
    "first": True,
}
MONEY = {"type": "number", "minimum": 0, "maximum": 1_000_000, "multipleOf": 0.01}
PLAN: dict[str, Any] = {
    "version": 1,
    "events": {
        "Order Completed": {
            "properties": {
                "type": "object",
                "required": ["order_id", "total", "currency"],
                "properties": {
                    "order_id": {"type": "string", "minLength": 1, "maxLength": 64},
                    "affiliation": {"type": "string", "maxLength": 100},
                    "total": MONEY,
                    "revenue": MONEY,
                    "shipping": MONEY,
                    "tax": MONEY,
                    "discount": MONEY,
                    "coupon": {"type": ["string", "null"], "pattern": "^[a-z0-9-]+$"},
                    "currency": {"type": "string", "enum": ["EUR", "GBP", "USD"]},
                    "first": {"type": "boolean"},
                },
            }
        }
    },
}


def measure(client: Client) -> float:
    """Nanoseconds for each of `CALLS` calls."""
    start = time.perf_counter_ns()
    for _ in range(CALLS):
        client.track("ABC/123", "Order Completed", ORDER)
    return (time.perf_counter_ns() - start) / CALLS


def main() -> None:
    sandbox = subprocess.Popen(
        [sys.executable, "-m", "intilery", "sandbox", "--rate-limit", "0"], stdout=subprocess.PIPE, text=True
    )
    assert sandbox.stdout is not None
    account: dict[str, Any] = {
        "client_id": "hea",
        "account_id": "hea",
        "brand_id": "HEA",
        "auth_token": os.environ.get("INTILERY_AUTH_TOKEN", "sandbox-token"),
        "endpoint": sandbox.stdout.readline().strip(),
        "max_request_bytes": 1_000_000,
    }
    clients = [Client(**account), Client(**account, plan=PLAN, plan_mode="reject")]
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        sums = [0.0, 0.0]
        for _ in range(SLICES):
            for which, client in enumerate(clients):
                sums[which] += measure(client) / SLICES
            for client in clients:
                client.flush()  # outside of the measured time
        for which in (0, 1):
            times[which].append(sums[which])
    failed = sum(client.stats().failed for client in clients)
    for client in clients:
        client.close()
    sandbox.terminate()
    sandbox.communicate()
    if failed:
        raise SystemExit(f"{failed} events failed: the measured time means nothing")
    ratios = [planned / plain for plain, planned in zip(*times)]
    if AS_JSON:
        figures = {"plain_ns": min(times[0]), "planned_ns": min(times[1]), "ratio": min(times[1]) / min(times[0])}
        tell({**figures, "median_ratio": statistics.median(ratios)}, as_json=True)
        return
    for name, values in zip(("without a plan", "with a plan"), times):
        print(f"{name}: min {min(values):.0f} ns, median {statistics.median(values):.0f} ns")
    print(f"ratio: min {min(times[1]) / min(times[0]):.2f}, median of rounds {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
