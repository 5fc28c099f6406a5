"""Spark as it is: a driver, two workers with an executor each, four tasks at a time."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyspark
import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from test_docs import snippet
from test_pace import free_port, redis

import intilery.spark
from intilery.spark import _cores
from intilery.testing import Sandbox

TOKEN = "the-token-of-the-tests-of-spark"
DAY = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
ENVIRONMENT = {
    "PYSPARK_PYTHON": sys.executable,
    "SPARK_LOCAL_IP": "127.0.0.1",
    "INTILERY_CLIENT_ID": "hea",
    "INTILERY_ACCOUNT_ID": "hea",
    "INTILERY_BRAND_ID": "HEA",
}
pytestmark = pytest.mark.filterwarnings("ignore")  # PySpark's


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="module")
def spark(folder: Path) -> Iterator[SparkSession]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, "SPARK_HOME": str(folder / "home")}.items():
            patch.setenv(name, value)
        (folder / "events").mkdir()
        (folder / "home").mkdir()  # where the executors' logs go
        for entry in Path(pyspark.__file__).parent.iterdir():
            (folder / "home" / entry.name).symlink_to(entry)
        options = {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executorEnv.INTILERY_AUTH_TOKEN": TOKEN,
            "spark.ui.enabled": "false",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.compress": "false",
            "spark.eventLog.dir": (folder / "events").as_uri(),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "4",
            "spark.log.level": "OFF",
            "spark.ui.showConsoleProgress": "false",
            # Quick to start rather than to run.
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        }
        builder: Any = SparkSession.builder
        session = builder.master("local-cluster[2,2,1024]").config(map=options).getOrCreate()
        try:
            intilery.spark.register(session)
            yield session
        finally:
            gateway = session.sparkContext._gateway
            session.stop()
            gateway.shutdown()
            gateway.proc.stdin.close()  # the JVM ends by that
            gateway.proc.wait(timeout=60)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(token=TOKEN) as running:
        yield running


def save(frame: DataFrame, sandbox: Sandbox, **options: object) -> None:
    given = {"endpoint": sandbox.url, "event": "Order", **options}
    frame.write.format("intilery").options(**given).mode("append").save()  # type: ignore[arg-type]


def orders(spark: SparkSession, rows: int, partitions: int = 4) -> DataFrame:
    """Of a hundred users, at certain moments; each row twice."""
    number = F.floor(F.col("id") / 2)
    return spark.range(rows, numPartitions=partitions).select(
        F.concat(F.lit("u"), number % 100).alias("user_id"),
        F.timestamp_seconds(number + 1_700_000_000).alias("timestamp"),
        number.alias("number"),
    )


def raw(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [event["rawData"] for event in sandbox.events()]


def ids(sandbox: Sandbox) -> list[str]:
    return sorted(event["messageId"] for event in raw(sandbox))


def report(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_row_becomes_the_event_that_send_many_makes_of_it(
    spark: SparkSession, sandbox: Sandbox, tmp_path: Path
) -> None:
    rows = [
        Row(who=f"u{n}", at=DAY, total=decimal.Decimal("77.00"), lines=[Row(sku="s", n=n)], note=None, left="x")
        for n in range(10)
    ]
    schema = (
        "who string, at timestamp, total decimal(9,2), lines array<struct<sku string, n int>>, note string, left string"
    )
    frame = spark.createDataFrame(rows, schema)
    save(frame, sandbox, userId="who", TIMESTAMP="at", exclude="left", report=tmp_path / "report")
    arrived = raw(sandbox)
    assert sorted(event["userId"] for event in arrived) == sorted(f"u{n}" for n in range(10))
    one = next(event for event in arrived if event["userId"] == "u7")
    assert one["timestamp"] == "2024-01-01T00:00:00.000Z"
    assert one["properties"] == {"total": 77.0, "lines": [{"sku": "s", "n": 7}], "note": None}
    assert '"total":77.00,' in "".join(request.body.decode() for request in sandbox.requests())
    (told,) = report(tmp_path / "report")
    assert (told["outcome"], told["rows"], told["delivered"], told["tasks"]) == ("committed", 10, 10, 4)
    assert [told[name] for name in ("rejected", "failed", "unreported_tasks", "rejects")] == [0, 0, 0, []]


def test_the_same_data_sent_again_has_the_same_ids_in_whatever_order_its_rows_come(
    spark: SparkSession, sandbox: Sandbox
) -> None:
    frame = orders(spark, 1_000).repartition(4, "user_id")
    save(frame.sortWithinPartitions("number"), sandbox)
    first = ids(sandbox)
    sandbox.clear()
    save(frame.sortWithinPartitions(F.desc("number")), sandbox)
    assert ids(sandbox) == first
    assert len(set(first)) == 1_000  # equal rows, too, have ids of their own
    sandbox.clear()
    save(frame, sandbox, source_id="another")
    assert set(ids(sandbox)).isdisjoint(first)


def executors(spark: SparkSession) -> list[int]:
    """The processes that run tasks."""
    jvm = spark.sparkContext._gateway.proc.pid  # type: ignore[union-attr]
    children = " ".join(path.read_text() for path in Path(f"/proc/{jvm}/task").glob("*/children")).split()
    return [int(pid) for pid in children if b"CoarseGrained" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_with_one_of_two_executors_killed_all_arrives_at_the_accounts_rate_and_what_is_sent_again_has_its_id(
    spark: SparkSession, tmp_path: Path
) -> None:
    frame = orders(spark, 4_000).repartition(4, "user_id")
    with Sandbox(token=TOKEN, rate_limit=30, burst=8) as sandbox:

        def kill() -> None:
            while sandbox.event_count() < 1_000:
                time.sleep(0.01)
            os.kill(executors(spark)[0], signal.SIGKILL)

        killing = threading.Thread(target=kill, daemon=True)
        killing.start()
        pace = {"rate_limit": 30, "burst": 8, "delivery": "batch", "max_batch_bytes": 8_000}
        save(frame, sandbox, **pace, report=tmp_path / "report")
        killing.join(timeout=10)
        events = raw(sandbox)
        stats = sandbox.stats()
    times = Counter(event["messageId"] for event in events)
    assert len(times) == 4_000
    assert max(times.values()) > 1  # else nothing was under way
    content = {(event["messageId"], event["properties"]["number"]) for event in events}
    assert len(content) == 4_000
    assert set(Counter(number for _, number in content).values()) == {2}
    assert stats["requests"].get("429", 0) <= 2  # new processes begin with a share of the burst
    (told,) = report(tmp_path / "report")
    assert (told["rows"], told["delivered"], told["outcome"]) == (4_000, 4_000, "committed")


def test_the_rate_is_shared_by_a_store_or_by_a_number_and_one_of_them_must_be_there(
    spark: SparkSession, sandbox: Sandbox
) -> None:
    port = free_port()
    spark.dataSource.register(intilery.spark.IntileryDataSource)  # without the session's number
    try:
        with pytest.raises(Exception, match="give rate_limit_store, or concurrency"):
            save(orders(spark, 10, 1), sandbox)
        assert sandbox.requests() == []
        save(orders(spark, 10, 1), sandbox, concurrency=4)
        with redis(port):
            save(orders(spark, 200), sandbox, rate_limit_store=f"redis://127.0.0.1:{port}", delivery="event")
    finally:
        intilery.spark.register(spark)
    assert sandbox.event_count() == 210
    assert set(sandbox.stats()["requests"]) == {"200"}


def test_a_batch_of_a_stream_that_is_played_again_has_the_same_ids(
    spark: SparkSession, sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        lines = [json.dumps({"user_id": f"u{n}", "day": number}) for n in range(50)]
        (tmp_path / "in" / f"{number}.json").write_text("\n".join(lines))
        os.utime(tmp_path / "in" / f"{number}.json", (number, number))  # the older one comes first

    def run() -> None:
        stream = spark.readStream.schema("user_id string, day int").option("maxFilesPerTrigger", 1)
        options = {"endpoint": sandbox.url, "event": "Seen", "report": str(tmp_path / "report")}
        query = (
            stream.json(str(tmp_path / "in"))
            .writeStream.format("intilery")
            .options(**options)
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        assert query.awaitTermination(60)

    run()
    assert len(set(ids(sandbox))) == 100
    for path in (tmp_path / "checkpoint" / "commits").glob("*1*"):
        path.unlink()  # as if the driver had died before it
    run()
    times = Counter((event["properties"]["day"], event["messageId"]) for event in raw(sandbox))
    assert Counter((day, count) for (day, _), count in times.items()) == {(0, 1): 50, (1, 2): 50}
    assert [(told["batch"], told["delivered"]) for told in report(tmp_path / "report")] == [(0, 50), (1, 50), (1, 50)]


def test_bad_rows_go_to_the_folder_of_rejects_and_all_others_arrive(
    spark: SparkSession, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.set_faults({"user_id": "u3", "status": 400})
    frame = spark.createDataFrame([Row(user_id=f"u{n}" if n % 5 else None, n=n) for n in range(20)]).coalesce(2)
    save(frame, sandbox, rejects=tmp_path / "rejects", report=tmp_path / "report", delivery="event")
    assert sandbox.event_count() == 15
    (told,) = report(tmp_path / "report")
    assert [told[name] for name in ("rows", "delivered", "rejected", "failed")] == [20, 15, 4, 1]
    assert sorted(path.name for path in (tmp_path / "rejects").iterdir()) == told["rejects"]
    lines = [line for name in told["rejects"] for line in report(tmp_path / "rejects" / name)]
    assert sorted(line["values"]["n"] for line in lines if line["code"] == "required") == [0, 5, 10, 15]
    assert [line["values"]["userId"] for line in lines if line["code"] == "rejected"] == ["u3"]


def test_without_such_a_folder_a_bad_row_fails_the_job_and_the_report_says_what_arrived(
    spark: SparkSession, sandbox: Sandbox, tmp_path: Path
) -> None:
    frame = spark.createDataFrame([Row(user_id="u1"), Row(user_id=None)], "user_id string").coalesce(1)
    with pytest.raises(Exception, match="row 2: userId is required"):
        save(frame, sandbox, report=tmp_path / "report")
    assert sandbox.event_count() >= 1
    (told,) = report(tmp_path / "report")
    assert (told["outcome"], told["tasks"], told["unreported_tasks"]) == ("aborted", 0, 1)


def test_a_refused_token_fails_the_job_at_once(spark: SparkSession, sandbox: Sandbox) -> None:
    sandbox.set_token("a new one")
    with pytest.raises(Exception, match="the service refuses the token"):
        save(orders(spark, 10, 1), sandbox)


def test_the_token_may_stand_in_a_file(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another-token\n")
    with Sandbox(token="another-token") as sandbox:
        save(orders(spark, 10, 1), sandbox, auth_token_file=tmp_path / "token")
        assert sandbox.event_count() == 10


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"user_id": "usr_id"}, r"no column 'usr_id'; did you mean \"user_id\""),
        ({"evnt": "x"}, r"no option 'evnt'; did you mean \"event\""),
        ({"auth_token": "s3cret"}, "auth_token is a secret.*INTILERY_AUTH_TOKEN.*auth_token_file"),
        ({"rate_limit_store": "redis://:s3cret@127.0.0.1"}, "rate_limit_store is a secret"),
        ({"userId": "user_id", "user_id": "user_id"}, "user_id is given twice"),
        ({"rate_limit": "fast"}, "rate_limit must be a number"),
        ({"concurrency": "0"}, "concurrency must be a whole number"),
        ({"on_invalid": "reject"}, "on_invalid is"),
        ({"rejects": "s3://bucket/rejects"}, "rejects must be a path"),
        ({"sql": "SELECT 1"}, "no option 'sql'"),
        ({"mapping": "{folder}/mapping.json"}, "sql is not for Spark"),
    ],
)
def test_a_mistake_in_the_options_is_told_before_anything_is_sent(
    spark: SparkSession, sandbox: Sandbox, tmp_path: Path, options: dict[str, str], told: str
) -> None:
    (tmp_path / "mapping.json").write_text('{"sql": "SELECT 1"}')
    given = {name: value.replace("{folder}", str(tmp_path)) for name, value in options.items()}
    with pytest.raises(Exception, match=told) as raised:
        save(orders(spark, 10, 1), sandbox, **given)
    assert "s3cret" not in str(raised.value)
    assert sandbox.requests() == []


def test_what_intilery_has_cannot_be_overwritten(spark: SparkSession, sandbox: Sandbox) -> None:
    with pytest.raises(Exception, match="cannot be overwritten"):
        orders(spark, 10, 1).write.format("intilery").option("event", "Order").mode("overwrite").save()


@pytest.mark.parametrize(
    ("conf", "tasks"),
    [
        ({"spark.master": "local[3]"}, 3),
        ({"spark.master": "local[*, 4]"}, os.cpu_count()),
        ({"spark.master": "local-cluster[2,3,1024]", "spark.task.cpus": "2"}, 3),
        ({"spark.master": "spark://h:7077", "spark.cores.max": "12"}, 12),
        ({"spark.master": "yarn", "spark.executor.instances": "5", "spark.executor.cores": "4"}, 20),
        ({"spark.master": "k8s://h", "spark.executor.instances": "5"}, None),
        (
            {
                "spark.master": "yarn",
                "spark.executor.instances": "1",
                "spark.executor.cores": "4",
                "spark.dynamicAllocation.enabled": "true",
                "spark.dynamicAllocation.maxExecutors": "10",
            },
            40,
        ),
    ],
)
def test_the_number_of_tasks_at_a_time_comes_from_the_configuration(conf: dict[str, str], tasks: int | None) -> None:
    assert _cores(conf.get) == tasks


def test_the_snippet_of_the_page_runs(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    program = snippet("python", "docs/spark.md").replace("Sandbox()", f"Sandbox(token={TOKEN!r})")
    program = program.replace("report.ndjson", str(tmp_path / "report.ndjson"))  # the JVM began in another folder
    exec(program, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "['o-1', 'o-2']"
    told, shown = json.loads(lines[1]), json.loads(snippet("json", "docs/spark.md"))
    assert {**told, "at": "", "tasks": 2} == {**shown, "at": ""}


def test_no_log_plan_or_event_of_spark_holds_the_token(spark: SparkSession, sandbox: Sandbox, folder: Path) -> None:
    save(orders(spark, 10, 1), sandbox)
    written = [path for part in ("events", "home/work") for path in (folder / part).rglob("*") if path.is_file()]
    texts = {path: path.read_bytes() for path in written if path.suffix not in (".jar", ".crc")}
    assert any(b"SparkListenerTaskEnd" in text for text in texts.values())
    assert any(path.name == "stderr" for path in texts)
    for path, text in texts.items():
        for secret in (TOKEN, "another-token", "s3cret"):
            assert secret.encode() not in text, path
