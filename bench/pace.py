"""What clients make of an account's rate, over a real minute.

    python bench/pace.py [--seconds 60] [--clients 1] [--redis] [--json]

The sandbox plays the account (100 requests a second, a burst of 500), `--clients` processes have more to send than they
may, one request an event. Prints what the server would have granted and what was used of it, the requests answered 429,
and how the clients shared. `--redis` starts a redis-server of its own on a free port and has the clients share it.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

from common import tell

from intilery import Client
from intilery.testing import Sandbox

RATE, BURST = 100.0, 500.0


def send(url: str, name: str, seconds: float, store: str) -> None:
    """One client: keeps a backlog until the time is over, then says what it got."""
    client = Client(
        client_id="hea",
        account_id="hea",
        brand_id="HEA",
        auth_token="sandbox-token",
        endpoint=url,
        delivery="event",
        rate_limit_store=store,
    )
    sys.stdin.readline()  # all begin together
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        while client.stats().queued < 1_000:
            client.track(f"{name}-{number % 500}", "Step", {"number": number})
            number += 1
        time.sleep(0.05)
    stats = client.stats()
    client.close(timeout=0)
    print(json.dumps({"accepted": stats.requests.get(200, 0), "refused": stats.requests.get(429, 0)}))


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


@contextmanager
def redis():
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen([*command, "--loglevel", "warning"], stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(500):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.kill()


def run(seconds: float, clients: int, store: str, as_json: bool) -> None:
    with Sandbox(rate_limit=RATE, burst=BURST, max_stored_bytes=1_000_000) as sandbox:
        command = [sys.executable, __file__, "--send", sandbox.url, "--seconds", str(seconds), "--store", store]
        senders = [
            subprocess.Popen(
                [*command, "--name", str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for number in range(clients)
        ]
        time.sleep(1)  # until all are up; the bucket is full
        for sender in senders:
            assert sender.stdin is not None
            sender.stdin.write("\n")
            sender.stdin.flush()
        results = [json.loads(sender.communicate()[0]) for sender in senders]
    accepted = sum(result["accepted"] for result in results)
    refused = sum(result["refused"] for result in results)
    granted = BURST + RATE * seconds
    shares = sorted(result["accepted"] * clients / accepted for result in results)
    if as_json:
        figures = {"accepted": accepted, "granted": granted, "refused": refused, "used_ratio": accepted / granted}
        tell({**figures, "least_share_ratio": shares[0], "most_share_ratio": shares[-1]}, as_json=True)
        return
    print(
        f"{clients} clients, {seconds:g} s{', sharing a store' if store else ''}: "
        f"{accepted} of {granted:.0f} requests that the server would have granted ({accepted / granted:.1%}; "
        f"{accepted / (RATE * seconds):.1%} of the rate alone), {refused} answered 429 "
        f"({refused / (accepted + refused):.2%}), shares {shares[0]:.2f} to {shares[-1]:.2f} of an equal one"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--redis", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--store", default="", help=argparse.SUPPRESS)
    parser.add_argument("--send", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        send(given.send, given.name, given.seconds, given.store)
    elif given.redis:
        with redis() as store:
            run(given.seconds, given.clients, store, given.json)
    else:
        run(given.seconds, given.clients, "", given.json)


if __name__ == "__main__":
    main()
