"""An hour of 1,000 events a second in all, from all languages at once, with 20 % faults: what they hold must be flat.

The first quarter is warm-up. Through the samples of the rest goes a line (Theil and Sen's: the median slope of all
pairs, which a few peaks do not move). Flat means that along it, from its begin to its end,

- memory (RSS, and the process's share of it, PSS) rises by at most 2 % + 2 MB: a leak of 3 (C++) to 5 (Node) bytes an
  event would be over that;
- descriptors rise by at most 2; the sockets, of which faults end one in five, come and go between samples;
- the spool's files grow by at most 2 % + 2 MB.

The highest number of threads in the rest's second half is not above that of its first.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple

import page
from harness import SENDERS, StrictServer, judge, start_sender

RATE = 1000
SOAKED = (*SENDERS, "cpp, spool")
BARS = "▁▂▃▄▅▆▇█"


class Sample(NamedTuple):
    """What a process holds."""

    time: float
    """Seconds from the start."""
    rss: float
    """Megabytes, as all that follow."""
    pss: float
    spool: float
    descriptors: int
    threads: int


def sample(start: float, pid: int, spool: Path) -> Sample:
    process = Path(f"/proc/{pid}")
    text = (process / "status").read_text() + (process / "smaps_rollup").read_text()
    values = {name: int(value) for name, value in re.findall(r"^(VmRSS|Pss|Threads):\s+(\d+)", text, re.MULTILINE)}
    on_disk = sum(file.stat().st_size for file in spool.iterdir()) / 1e6
    handles = len(os.listdir(process / "fd"))
    now = time.monotonic() - start
    return Sample(now, values["VmRSS"] / 1024, values["Pss"] / 1024, on_disk, handles, values["Threads"])


class Line(NamedTuple):
    """The robust line through values: where it begins, and how far it rises."""

    level: float
    rise: float


def fit(times: list[float], values: list[float]) -> Line:
    slope = median((b - a) / (t - s) for (s, a), (t, b) in combinations(zip(times, values), 2))
    middle = median(value - slope * at for at, value in zip(times, values))
    return Line(middle + slope * times[0], slope * (times[-1] - times[0]))


class Soak:
    """One language's sender with a server of its own."""

    def __init__(self, name: str, seconds: float, rate: int, seed: int, faults: float, spool: Path) -> None:
        self.name = name
        self.events = int(seconds * rate)
        self.samples: list[Sample] = []
        self.wrong: list[str] = []
        self._spool = spool
        self._start = time.monotonic()
        options: dict[str, object] = {
            # Less than there are events, so that both ways are used.
            "rate_limit": 0.3 * rate,
            "burst": 0.3 * rate,
            "max_connections": 16,
            "retry_initial": 0.05,
            "retry_max": 1,
        }
        if "spool" in name:
            options["spool_path"] = spool
        self.server = StrictServer(seed=seed, faults=faults)
        self.sender = start_sender(
            name.split(",")[0], self.server.port, options, events=self.events, users=3000, rate=rate
        )

    def look(self) -> None:
        if self.sender.poll() is None:
            self.samples.append(sample(self._start, self.sender.pid, self._spool))

    def finish(self) -> list[object]:
        """Waits for the end.

        Returns: the table's row; `wrong` says what is not as it should be.
        """
        out, _ = self.sender.communicate(timeout=600)
        seen = self.server.report()
        if self.sender.returncode:
            self.wrong = [f"the sender ended with {self.sender.returncode}", *seen["examples"]]
            return [self.name, *["-"] * 10, "OFF"]
        self.wrong = judge(self.events, json.loads(out), seen)
        rest = self.samples[len(self.samples) // 4 :]
        times = [s.time for s in rest]
        lines = {name: fit(times, [getattr(s, name) for s in rest]) for name in ("rss", "pss", "descriptors", "spool")}
        for name in ("rss", "pss", "spool"):
            if lines[name].rise > lines[name].level * 0.02 + 2:
                self.wrong.append(f"{name} rises by {lines[name].rise:.1f} MB, from {lines[name].level:.1f}")
        if lines["descriptors"].rise > 2:
            self.wrong.append(f"descriptors rise by {lines['descriptors'].rise:.1f}")
        threads = [max(s.threads for s in half) for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :])]
        if threads[1] > threads[0]:
            self.wrong.append(f"threads rise from {threads[0]} to {threads[1]}")
        requests, batches = sum(seen["requests"].values()), seen["requests"].get("batch", 0)
        counts = (self.events, requests, batches, sum(seen["faults"].values()), seen["copies"] - len(seen["ids"]))
        lost = self.events - len(seen["ids"])
        memory = [f"{lines[name].level:.1f} {lines[name].rise:+.2f}" for name in ("rss", "pss")]
        handles = f"{lines['descriptors'].level:.0f} {lines['descriptors'].rise:+.1f}"
        return [self.name, *counts, lost, *memory, handles, max(threads), "OFF" if self.wrong else "ok"]

    def drawn(self) -> str:
        """The whole run's RSS: the median of each twelfth, and the same as bars from zero."""
        size = max(1, len(self.samples) // 12)
        steps = [median(s.rss for s in self.samples[i : i + size]) for i in range(0, size * 12, size)]
        bars = "".join(BARS[round(step / max(steps) * 7)] for step in steps)
        spool = f"; spool at most {max(s.spool for s in self.samples):.1f} MB" if "spool" in self.name else ""
        return f"{self.name:10}  {bars}  {' '.join(f'{step:.1f}' for step in steps)}{spool}"

    def stop(self) -> None:
        self.sender.kill()
        self.sender.wait()
        self.server.__exit__(None, None, None)


HEADING = (
    *("language", "events", "requests", "batches", "faults", "second copies", "lost", "RSS (MB)", "PSS (MB)"),
    *("descriptors", "threads", "verdict"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600, help="a few minutes are too short to judge by")
    parser.add_argument("--rate", type=int, default=RATE, help="events a second, of all senders together")
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples")
    parser.add_argument("--write", action="store_true", help="write the result into docs/proof.md")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process stays behind

    soaks: list[Soak] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in SOAKED:
                spool = Path(folder, name)
                spool.mkdir()
                rate = arguments.rate // len(SOAKED)
                soaks.append(Soak(name, arguments.seconds, rate, arguments.seed, arguments.faults, spool))
            end = time.monotonic() + arguments.seconds - arguments.every
            while time.monotonic() < end and all(soak.sender.poll() is None for soak in soaks):
                time.sleep(arguments.every)
                for soak in soaks:
                    soak.look()
            rows = [soak.finish() for soak in soaks]
        finally:
            for soak in soaks:
                soak.stop()

    said = (
        f"Seed {arguments.seed}, {arguments.seconds / 60:g} minutes at {arguments.rate} events a second,"
        f" {arguments.faults:.0%} faults. {page.machine()}"
    )
    drawn = "\n".join(soak.drawn() for soak in soaks)
    text = f"{said}\n\n{page.table(HEADING, rows)}\n\n```text\n{drawn}\n```"
    print(text)
    for soak in soaks:
        for line in soak.wrong:
            print(f"{soak.name}: {line}")
    if any(soak.wrong for soak in soaks):
        sys.exit(1)
    if arguments.write:
        page.write("soak", text)


if __name__ == "__main__":
    main()
