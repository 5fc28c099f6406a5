"""Rows a second of `send_many`, of a frame in memory and of the same as Parquet, beside polars' `write_ndjson`.

    python bench/send_many.py [ROWS] [--rounds 3] [--json]     # 500,000 rows

Each measurement is in a process of its own, in turns; told is the best of each. A dry run checks and serialises every
row; what is sent goes to a server that takes everything (null_server.py).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import client, tell
from null_server import null_server

QUERY = """SELECT 'user-' || (range * 7919 % 100000) AS user_id,
  (['Order Completed', 'Product Viewed', 'Cart Updated'])[1 + range % 3] AS event,
  TIMESTAMPTZ '2024-01-01 00:00:00+00' + INTERVAL (range) SECOND AS timestamp,
  {{'id': range, 'sku': 'SKU-' || (range % 5000), 'price': ((range % 10000) / 100)::DECIMAL(9, 2)}} AS product,
  range % 7 AS quantity, 'A title of a page, number ' || range AS title, range % 2 = 0 AS member
FROM range({rows})"""


KINDS = ("polars", "polars_parquet", "arrow", "parquet", "sent")


def measure(kind: str, path: Path, rows: int, url: str) -> None:
    import duckdb  # noqa: F401  # to import it is no row's cost
    import polars as pl

    frame = None if "parquet" in kind else pl.read_parquet(path)
    requests = 0
    if kind.startswith("polars"):
        started, cpu, own = time.perf_counter(), time.process_time(), time.thread_time()
        (pl.read_parquet(path) if frame is None else frame).write_ndjson(path.with_suffix(".ndjson"))
        times = (time.perf_counter() - started, time.process_time() - cpu, time.thread_time() - own)
    else:
        with client(url, dry_run=kind != "sent", max_queue_bytes=64_000_000) as sender:
            started, cpu, own = time.perf_counter(), time.process_time(), time.thread_time()
            sent = sender.send_many(path if frame is None else frame)
            times = (time.perf_counter() - started, time.process_time() - cpu, time.thread_time() - own)
            requests = sum(sender.stats().requests.values())
        assert sent.delivered == rows, sent
    wall, cpu, own = (seconds * 1e6 / rows for seconds in times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"us": wall, "cpu_us": cpu, "caller_us": own, "peak_bytes": peak, "requests": requests}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="?", default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("KIND", "PATH", "URL"), help="one measurement, here")
    given = parser.parse_args()
    if given.measure:
        kind, path, url = given.measure
        measure(kind, Path(path), given.rows, url)
        return
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, null_server() as url:
        path = f"{folder}/rows.parquet"
        # Not here: the processes that measure must begin with no more memory than they need.
        query = f"COPY ({QUERY.format(rows=given.rows)}) TO '{path}'"
        make = f"import duckdb; duckdb.sql({query!r})"
        subprocess.run([sys.executable, "-c", make], check=True, stdout=subprocess.DEVNULL)
        for _ in range(given.rounds):
            for kind in KINDS:
                command = [sys.executable, __file__, str(given.rows), "--measure", kind, path, url]
                run = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                best[kind] = {name: min(value, best.get(kind, run)[name]) for name, value in run.items()}
    result: dict[str, float] = {"rows": given.rows}
    for kind in KINDS:
        result[f"{kind}_per_second"] = 1e6 / best[kind]["us"]
        result.update((f"{kind}_{name}", best[kind][name]) for name in ("us", "cpu_us"))
    for kind in ("arrow", "parquet", "sent"):
        result.update((f"{kind}_{name}", best[kind][name]) for name in ("caller_us", "peak_bytes"))
    result["sent_requests"] = best["sent"]["requests"]
    result["arrow_to_polars_ratio"] = best["arrow"]["us"] / best["polars"]["us"]
    result["parquet_to_polars_ratio"] = best["parquet"]["us"] / best["polars_parquet"]["us"]
    tell(result, given.json)


if __name__ == "__main__":
    main()
