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


def serve() -> None:
    """A service of the fastest kind, in a process of its own, until its standard input ends."""
    from intilery.testing import Sandbox

    with Sandbox(rate_limit=0, max_stored_bytes=1_000_000) as sandbox:
        print(sandbox.url, flush=True)
        sys.stdin.read()
        print(sandbox.event_count())


def send(path: Path, rows: int, dry_run: bool) -> None:
    from intilery import Client

    options = {"client_id": "hea", "account_id": "hea", "brand_id": "HEA", "auth_token": "sandbox-token"}
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with Client(**options, endpoint=url, delivery="batch", dry_run=dry_run) as client:
            started, cpu, own = time.perf_counter(), time.process_time(), time.thread_time()
            sent = client.send_many(path)
            seconds, cpu, own = time.perf_counter() - started, time.process_time() - cpu, time.thread_time() - own
            requests = sum(client.stats().requests.values())
        count = int(server.communicate()[0])
    assert sent.delivered == rows, sent
    assert count == (0 if dry_run else rows), count
    report("send_many, nothing sent" if dry_run else f"send_many, {requests:,} batches", rows, seconds, cpu)
    print(f"  of it on the caller's thread {own * 1e6 / rows:.2f} us a row")


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        serve()
        return
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
