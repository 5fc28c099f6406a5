"""How much later a program starts that imports the package, and what its first client costs.

    python bench/import_time.py [STARTS] [--json]      # 20 of each kind, in turns

Each start is a process of its own. Told is the time over that of `python -c pass`: of the best starts, and of medians.
`_cpu` is processor time, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from common import tell

OPTIONS = 'client_id="hea", account_id="hea", brand_id="HEA", auth_token="bench", endpoint="http://127.0.0.1:9"'
PROGRAMS = {
    "python": "pass",
    "import": "import intilery",
    "import_client": "from intilery import Client",
    "import_asyncio": "import asyncio, intilery",
    "client": f"from intilery import Client; Client({OPTIONS}).close()",
}


def start(program: str) -> tuple[float, float]:
    """Milliseconds, and those of the processor."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", program])
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"failed: {program}")
    return took * 1_000, (used.ru_utime + used.ru_stime) * 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("starts", type=int, nargs="?", default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    start(PROGRAMS["client"])  # its byte code is written, and its files are read
    starts: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(given.starts):
        for name, program in PROGRAMS.items():
            starts[name].append(start(program))
    found: dict[str, float] = {}
    base: dict[str, float] = {}
    for name, times in starts.items():
        wall, cpu = zip(*times)
        figures = {"ms": min(wall), "median_ms": statistics.median(wall), "cpu_ms": min(cpu)}
        base = base or dict.fromkeys(figures, 0)
        found.update({f"{name}_{unit}": value - base[unit] for unit, value in figures.items()})
        if name == "python":
            base = figures
    found["first_client_cpu_ms"] = found["client_cpu_ms"] - found["import_client_cpu_ms"]
    tell({name: round(value, 2) for name, value in found.items()}, given.json)


if __name__ == "__main__":
    main()
