"""Ten minutes of 1,000 events a second from each language, at once, with 20 % faults: memory and handles must be flat.

The first third of the samples is warm-up. Between the second and the last, flat means:

- memory: the median RSS rises by at most 5 % + 4 MB. Less is the allocators' own coming and going; in ten minutes
  200,000 events lie between the two medians, so a leak of 25 (C++) to 40 (Node) bytes an event is over it.
- descriptors: the median rises by at most 2; the sockets, of which faults end one in five, come and go between samples.
- threads: the highest number does not rise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from harness import SENDERS, StrictServer, judge, start_sender

RATE = 1000
OPTIONS: dict[str, object] = {
    # Less than RATE, so that both ways are used.
    "rate_limit": 300,
    "burst": 300,
    "max_connections": 16,
    "retry_initial": 0.05,
    "retry_max": 1,
}
ROW = "{:8} {:>9} {:>9} {:>8} {:>8} {:>8}  {:>20}  {:>11}  {:>9}  {}"
HEADING = ROW.format(
    *("language", "events", "requests", "batches", "faults", "copies", "memory", "descriptors", "threads", "verdict")
)


class Sample(NamedTuple):
    """What a process holds."""

    rss: float
    """Megabytes."""
    descriptors: int
    threads: int


def sample(pid: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    values = {name: int(value) for name, value in re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE)}
    return Sample(values["VmRSS"] / 1024, len(os.listdir(f"/proc/{pid}/fd")), values["Threads"])


def thirds(samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    third = len(samples) // 3
    return samples[third : 2 * third], samples[2 * third :]


def not_flat(samples: list[Sample]) -> list[str]:
    before, after = thirds(samples)
    wrong = []
    if median(s.rss for s in after) > median(s.rss for s in before) * 1.05 + 4:
        wrong.append("memory rises")
    if median(s.descriptors for s in after) > median(s.descriptors for s in before) + 2:
        wrong.append("descriptors rise")
    if max(s.threads for s in after) > max(s.threads for s in before):
        wrong.append("threads rise")
    return wrong


class Soak:
    """One language's sender with a server of its own."""

    def __init__(self, language: str, events: int, seed: int, faults: float) -> None:
        self.language = language
        self.events = events
        self.samples: list[Sample] = []
        self.server = StrictServer(seed=seed, faults=faults)
        self.sender = start_sender(language, self.server.port, OPTIONS, events=events, users=3000, rate=RATE)

    def look(self) -> None:
        if self.sender.poll() is None:
            self.samples.append(sample(self.sender.pid))

    def finish(self) -> list[str]:
        """Waits for the end; prints the row.

        Returns: what is wrong.
        """
        out, _ = self.sender.communicate(timeout=300)
        seen = self.server.report()
        if self.sender.returncode:
            print(f"{self.language}: the sender ended with {self.sender.returncode}", *seen["examples"], sep="\n    ")
            return ["ended"]
        wrong = judge(self.events, json.loads(out), seen) + not_flat(self.samples)
        before, after = thirds(self.samples)
        rss = f"{median(s.rss for s in before):.1f} -> {median(s.rss for s in after):.1f} MB"
        descriptors = f"{median(s.descriptors for s in before):g} -> {median(s.descriptors for s in after):g}"
        threads = f"{max(s.threads for s in before)} -> {max(s.threads for s in after)}"
        copies = seen["copies"] - len(seen["ids"])
        requests, batches = sum(seen["requests"].values()), seen["requests"].get("batch", 0)
        counts = (self.events, requests, batches, sum(seen["faults"].values()), copies)
        print(ROW.format(self.language, *counts, rss, descriptors, threads, "OFF" if wrong else "ok"), flush=True)
        for line in wrong:
            print(f"    {line}", flush=True)
        return wrong

    def stop(self) -> None:
        self.sender.kill()
        self.sender.wait()
        self.server.__exit__(None, None, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="one or two are too short to judge by")
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--languages", nargs="+", choices=SENDERS, default=list(SENDERS))
    parser.add_argument("--every", type=float, default=2, help="seconds between two samples")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process stays behind

    events = int(arguments.minutes * 60 * RATE)
    soaks: list[Soak] = []
    bad = []
    try:
        for language in arguments.languages:
            soaks.append(Soak(language, events, arguments.seed, arguments.faults))
        end = time.monotonic() + arguments.minutes * 60 - arguments.every
        while time.monotonic() < end and all(soak.sender.poll() is None for soak in soaks):
            time.sleep(arguments.every)
            for soak in soaks:
                soak.look()
        print(HEADING)
        bad = [soak.language for soak in soaks if soak.finish()]
    finally:
        for soak in soaks:
            soak.stop()
    print(
        f"seed {arguments.seed}, {arguments.minutes:g} minutes at {RATE} events a second, {arguments.faults:.0%} faults"
    )
    if bad:
        sys.exit("off: " + ", ".join(bad))


if __name__ == "__main__":
    main()
