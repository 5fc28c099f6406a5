"""Rows a second, peak memory, and the caller's cost beside polars writing the same table as NDJSON.

python bench/send_many.py [ROWS]     # 500,000; each measurement in a process of its own
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

QUERY = """SELECT 'user-' || (range * 7919 % 100000) AS user_id,
  (['Order Completed', 'Product Viewed', 'Cart Updated'])[1 + range % 3] AS event,
  TIMESTAMPTZ '2024-01-01 00:00:00+00' + INTERVAL (range) SECOND AS timestamp,
  {{'id': range, 'sku': 'SKU-' || (range % 5000), 'price': ((range % 10000) / 100)::DECIMAL(9, 2)}} AS product,
  range % 7 AS quantity, 'A title of a page, number ' || range AS title, range % 2 = 0 AS member
FROM range({rows})"""


def report(what: str, rows: int, seconds: float, cpu: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{what:30} {rows / seconds:>12,.0f} rows/s {cpu * 1e6 / rows:6.2f} us of CPU a row {peak:6,} MB", flush=True)


def make(path: Path, rows: int) -> None:
    import duckdb

    duckdb.sql(f"COPY ({QUERY.format(rows=rows)}) TO '{path}'")


def polars(path: Path, rows: int) -> None:
    import polars as pl

    started, cpu = time.perf_counter(), time.process_time()
    pl.read_parquet(path).write_ndjson(path.with_suffix(".ndjson"))
    report("polars, Parquet to NDJSON", rows, time.perf_counter() - started, time.process_time() - cpu)


def send(path: Path, rows: int, dry_run: bool) -> None:
    from intilery import Client
    from intilery.testing import Sandbox

    options = {"client_id": "hea", "account_id": "hea", "brand_id": "HEA", "auth_token": "sandbox-token"}
    if dry_run:
        with Client(**options, dry_run=True) as client:
            started, cpu = time.perf_counter(), time.process_time()
            own = time.thread_time()
            sent = client.send_many(path)
            print(f"of it, on the caller's thread: {(time.thread_time() - own) * 1e6 / rows:.2f} us a row")
    else:  # the sandbox's own time and memory are in the figures
        with Sandbox(rate_limit=0, max_stored_bytes=1_000_000) as sandbox, sandbox.client() as client:
            started, cpu = time.perf_counter(), time.process_time()
            sent = client.send_many(path)
    assert sent.delivered == rows, sent
    what = "send_many, nothing sent" if dry_run else "send_many, with its sandbox"
    report(what, rows, time.perf_counter() - started, time.process_time() - cpu)


def main() -> None:
    if len(sys.argv) > 2:
        name, path, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
        if name == "make":
            make(path, rows)
        elif name == "polars":
            polars(path, rows)
        else:
            send(path, rows, dry_run=name == "dry")
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    with tempfile.TemporaryDirectory() as folder:
        for name in ("make", "polars", "dry", "send"):
            subprocess.run([sys.executable, __file__, name, f"{folder}/rows.parquet", str(rows)], check=True)


if __name__ == "__main__":
    main()
