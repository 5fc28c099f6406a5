"""Sends tens of thousands of events from each language in each mode to the strict server, and judges what arrived.

One row for each run; ends with an error if anything is off:

    python tests/campaign/run.py                                        # 50,000 events, 20 % faults, nine runs
    python tests/campaign/run.py --events 2000 --modes auto             # short
    python tests/campaign/run.py --faults 0 --rate 100 --burst 500 --events 20000 --modes auto batch   # the real pace
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import page
from harness import SENDERS, StrictServer, judge, start_sender

MODES = ("event", "batch", "auto")
ROW = "{:8} {:6} {:>8} {:>8} {:>9} {:>8} {:>12} {:>8} {:>10} {:>14} {:>9} {:>13}  {}"
HEADING = (
    *("language", "mode", "events", "seconds", "requests", "batches", "answered 429", "faults", "acks lost"),
    *("second copies", "commands", "least settle", "verdict"),
)


def client_options(mode: str, rate: float, burst: float) -> dict[str, object]:
    if not rate:  # in auto a rate at which both ways are used
        rate, burst = (1000, 200) if mode == "auto" else (1_000_000, 1_000_000)
    return {
        "delivery": mode,
        "rate_limit": rate,
        "burst": burst,
        "max_batch_bytes": 10_000,  # small, so that there are enough requests to go wrong, and to be paced
        "flush_at": 20,
        "max_connections": 16,
        "retry_initial": 0.01,
        "retry_max": 1,  # the longest Retry-After that the server asks for
        "max_queue_bytes": 1_000_000_000,
    }


def run(language: str, mode: str, arguments: argparse.Namespace) -> list[object]:
    """One run: prints its row, and what is wrong."""
    events: int = arguments.events
    options = client_options(mode, arguments.rate, arguments.burst)
    server_options: dict[str, Any] = {name: getattr(arguments, name) for name in ("seed", "faults", "rate", "burst")}
    server_options["slow-start"] = arguments.slow_start
    if arguments.kinds:
        server_options["kinds"] = arguments.kinds
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, StrictServer(**server_options) as server:
        ids = Path(folder) / "ids"
        if arguments.spool:
            options["spool_path"] = Path(folder) / "spool"
        users = max(20, min(3000, events // 15))
        with start_sender(language, server.port, options, events=events, users=users, ids=str(ids)) as sender:
            try:
                out, _ = sender.communicate(timeout=arguments.timeout)
            except subprocess.TimeoutExpired:
                out = ""
                print(f"    {language} {mode}: killed after {arguments.timeout:g} s", flush=True)
            finally:
                sender.kill()
        seconds = time.monotonic() - start
        seen = server.report()
        if sender.returncode == 0:
            sent = json.loads(out)
            wrong = judge(events, sent, seen)
            if sorted(ids.read_text().split()) != sorted(seen["ids"]):
                wrong.append("the ids that the sender has receipts for are not those that arrived")
        else:
            ended = f"the sender ended with {sender.returncode}"
            wrong = [ended, f"{len(seen['ids'])} of {events} events had arrived", *seen["examples"]]

    if seen["over_rate"]:
        wrong.append(f"{seen['over_rate']} requests over the account's rate")
    if arguments.faults and not arguments.kinds and not seen["lost"]:
        wrong.append("no acknowledgement was lost: this run shows nothing")
    batches = seen["requests"].get("batch", 0)
    requests = sum(seen["requests"].values())
    if (batches == 0) != (mode == "event") or (mode == "auto" and batches == requests):
        wrong.append(f"{batches} of {requests} requests were batches, in mode {mode}")
    settle = "-" if seen["least_settle"] is None else f"{seen['least_settle'] * 1000:.0f} ms"
    row = [language, mode, events, f"{seconds:.1f}", requests, batches, seen["over_rate"], sum(seen["faults"].values())]
    row += [seen["lost"], seen["copies"] - len(seen["ids"]), seen["commands"], settle, "OFF" if wrong else "ok"]
    print("\n    ".join([ROW.format(*row), *wrong]), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--faults", type=float, default=0.2, help="the share of requests that go wrong")
    parser.add_argument("--kinds", nargs="+", help="only these faults (faults.py names them)")
    parser.add_argument("--rate", type=float, default=0, help="the account's requests a second; 0: no limit")
    parser.add_argument("--burst", type=float, default=500)
    parser.add_argument("--slow-start", type=float, default=0, help="seconds that the first request is on its way")
    parser.add_argument("--spool", action="store_true", help="give the client a spool")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--languages", nargs="+", choices=SENDERS, default=list(SENDERS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one run")
    parser.add_argument("--write", metavar="NAME", help="write the table into docs/proof.md, at this place")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process stays behind

    print(ROW.format(*HEADING), flush=True)
    rows = [run(language, mode, arguments) for language in arguments.languages for mode in arguments.modes]
    said = f"Seed {arguments.seed}, {arguments.faults:.0%} faults. {page.machine()}"
    print(said)
    if any(row[-1] != "ok" for row in rows):
        sys.exit(1)
    if arguments.write:
        page.write(arguments.write, f"{said}\n\n{page.table(HEADING, rows)}")


if __name__ == "__main__":
    main()
