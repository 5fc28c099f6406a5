"""A Spark job of which a worker process is killed: all must arrive, at the account's rate, each row with one id.

    python bench/spark.py [--rows 1000000] [--rate 10] [--burst 20] [--redis]

The sandbox plays the account, a local cluster of two worker processes with two cores each runs the job, and when 40 %
of the rows have arrived, one worker gets kill -9. Prints what arrived and how often, and what became of the rate.
`--redis` has the tasks share the account's bucket in a redis-server of this command's own; else each gets a quarter of
the rate.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pyspark
from pace import redis
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import intilery.spark
from intilery.testing import Sandbox

TOKEN = "the-token-of-the-bench-of-spark"


@contextlib.contextmanager
def cluster():
    with tempfile.TemporaryDirectory() as folder:
        for entry in Path(pyspark.__file__).parent.iterdir():  # the executors' logs go into Spark's home
            Path(folder, entry.name).symlink_to(entry)
        os.environ.update(
            PYSPARK_PYTHON=sys.executable,
            SPARK_LOCAL_IP="127.0.0.1",
            SPARK_HOME=folder,
            INTILERY_CLIENT_ID="hea",
            INTILERY_ACCOUNT_ID="hea",
            INTILERY_BRAND_ID="HEA",
            INTILERY_AUTH_TOKEN=TOKEN,
        )
        options = {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "16",
            "spark.sql.adaptive.coalescePartitions.enabled": "false",
            "spark.sql.warehouse.dir": f"{folder}/warehouse",
            "spark.log.level": "OFF",
            "spark.ui.showConsoleProgress": "false",
        }
        session = SparkSession.builder.master("local-cluster[2,2,1024]").config(map=options).getOrCreate()
        try:
            intilery.spark.register(session)
            yield session
        finally:
            session.stop()


def executor(session: SparkSession) -> int:
    jvm = session.sparkContext._gateway.proc.pid
    children = " ".join(path.read_text() for path in Path(f"/proc/{jvm}/task").glob("*/children")).split()
    return next(int(pid) for pid in children if b"CoarseGrained" in Path(f"/proc/{pid}/cmdline").read_bytes())


def run(rows: int, rate: float, burst: float, store: str) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox(token=TOKEN, rate_limit=rate, burst=burst) as sandbox,
        cluster() as session,
    ):
        number = F.floor(F.col("id") / 2)  # each row twice, and both must arrive
        frame = (
            session.range(rows)
            .select(
                F.concat(F.lit("user-"), number % 10_000).alias("user_id"),
                F.timestamp_seconds(number + 1_700_000_000).alias("timestamp"),
                number.alias("number"),
            )
            .repartition("user_id")
        )

        def kill() -> None:
            while sandbox.event_count() < rows * 0.4:
                time.sleep(0.01)
            os.kill(executor(session), signal.SIGKILL)
            print(f"killed a worker process when {sandbox.event_count():,} events had arrived", flush=True)

        threading.Thread(target=kill, daemon=True).start()
        options = {"endpoint": sandbox.url, "event": "Counted", "rate_limit": rate, "burst": burst}
        options |= {"delivery": "batch", "max_batch_bytes": 200_000, "report": f"{folder}/report"}
        if store:
            options["rate_limit_store"] = store
        frame.write.format("intilery").options(**options).mode("append").save()
        report = json.loads(Path(folder, "report").read_text())
        text = sandbox._sandbox.events_json()
        stats = sandbox.stats()
        moments = sorted(request.received_ms / 1000 for request in sandbox.requests() if request.status == 200)
    times = Counter(re.findall(r'"properties":\{"number":(\d+)\}.*?"messageId":"([^"]+)"', text))
    assert sum(times.values()) == stats["events"], "an event was not understood"
    whole = Counter(row for row, _ in times)
    seconds = moments[-1] - moments[0]
    granted = burst + rate * seconds
    print(f"{rows:,} rows{', sharing a store' if store else ''}: {len(times):,} message ids arrived")
    print(f"rows whose two equals have an id each: {sum(count == 2 for count in whole.values()) * 2:,}")
    print(f"second copies: {stats['events'] - len(times):,}, all with the ids of the first; report: {report}")
    print(
        f"requests: {stats['requests']}, {len(moments)} taken in {seconds:.1f} s, of {granted:.0f} that the account "
        f"grants in that time ({len(moments) / seconds:.1f} a second; its rate is {rate:g}, its burst {burst:g})"
    )
    assert len(times) == rows == report["delivered"], "not everything arrived once"
    assert set(whole.values()) == {2}, "a row was sent with different ids"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--burst", type=float, default=20)
    parser.add_argument("--redis", action="store_true")
    given = parser.parse_args()
    with redis() if given.redis else contextlib.nullcontext("") as store:
        run(given.rows, given.rate, given.burst, store)


if __name__ == "__main__":
    main()
