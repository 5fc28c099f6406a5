"""How much later a program starts that imports the package, and what its first client costs.

    python bench/import_time.py [STARTS] [--json]      # 20 of each kind, in turns

Each start is a process of its own. Told is the time over that of `python -c pass`, of the best starts and of the medians.
"""

from __future__ import annotations

import argparse
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


def start(program: str) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return (time.perf_counter() - started) * 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("starts", type=int, nargs="?", default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    start(PROGRAMS["client"])  # its byte code is written, and its files are read
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(given.starts):
        for name, program in PROGRAMS.items():
            times[name].append(start(program))
    found = {"python_ms": min(times["python"])}
    for name in PROGRAMS:
        if name != "python":
            found[f"{name}_ms"] = min(times[name]) - min(times["python"])
            found[f"{name}_median_ms"] = statistics.median(times[name]) - statistics.median(times["python"])
    found["first_client_ms"] = found["client_ms"] - found["import_client_ms"]
    tell({name: round(value, 2) for name, value in found.items()}, given.json)


if __name__ == "__main__":
    main()
