"""Intilery as a place that Spark writes to, in batches and streams. docs/spark.md.

intilery.spark.register(spark)
df.write.format("intilery").option("event", "Order Completed").mode("append").save()
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _native
from ._client import Client
from ._errors import AuthError, ConfigurationError, DeliveryError
from ._send_many import Run
from ._sources import RUN_OPTIONS, Plan, merge, refuse, resolve

try:
    from pyspark import TaskContext
    from pyspark.sql.datasource import (
        DataSource,
        DataSourceArrowWriter,
        DataSourceStreamArrowWriter,
        WriterCommitMessage,
    )
except ImportError as error:
    raise ImportError(
        "intilery.spark needs PySpark from 4.1 on; to install it: pip install 'intilery[spark]'"
    ) from error

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

_log = logging.getLogger("intilery.spark")

_NOT_OF_SPARK = {"sql", "format", "delimiter"}
_MAPPING = [field.name for field in fields(Plan) if field.name not in _NOT_OF_SPARK]
_OWN = ["mapping", "on_invalid", "rejects", "report", "concurrency", "auth_token_file"]
# A task waits for the fates of all its rows, so it needs no spool, and its queue is never too full.
_CONNECTION = {
    option["name"]: option
    for option in _native.option_list()
    if option["name"] not in _OWN and not option["name"].startswith(("spool_", "on_full", "block_"))
}
_KNOWN = {name.replace("_", ""): name for name in [*_MAPPING, *_OWN, *_CONNECTION]}


def register(spark: SparkSession) -> None:
    """Makes `format("intilery")` known to the session, with the number of tasks that it can run at the same time."""
    found = _cores(spark.sparkContext.getConf().get)
    known = type("IntileryDataSource", (IntileryDataSource,), {"concurrency": found})
    spark.dataSource.register(known)


def _cores(conf: Any) -> int | None:
    """How many tasks run at the same time, where the configuration says so. (The executors may not be there yet.)"""
    master = conf("spark.master", "")
    local = re.fullmatch(r"local(?:\[(\d+|\*)(?:,\s*\d+)?\])?", master)
    cluster = re.fullmatch(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,\s*\d+\s*\]", master)
    if local is not None:
        cores = (os.cpu_count() or 1) if local[1] == "*" else int(local[1] or 1)
    elif cluster is not None:
        cores = int(cluster[1]) * int(cluster[2])
    elif conf("spark.cores.max"):
        cores = int(conf("spark.cores.max"))
    else:
        dynamic = conf("spark.dynamicAllocation.enabled") == "true"
        executors = conf("spark.dynamicAllocation.maxExecutors" if dynamic else "spark.executor.instances")
        each = conf("spark.executor.cores")
        if not executors or not each:
            return None
        cores = int(executors) * int(each)
    return max(1, cores // int(conf("spark.task.cpus", "1")))


class IntileryDataSource(DataSource):
    """`format("intilery")`: see `register`."""

    concurrency: int | None = None

    @classmethod
    def name(cls) -> str:
        return "intilery"

    def writer(self, schema: StructType, overwrite: bool) -> _BatchWriter:
        if overwrite:
            raise refuse("mode", "invalid_value", 'what Intilery has cannot be overwritten: use mode("append")')
        return _BatchWriter(_Job.made(self.options, schema, self.concurrency))

    def streamWriter(self, schema: StructType, overwrite: bool) -> _StreamWriter:
        if overwrite:
            raise refuse("mode", "invalid_value", 'each batch of outputMode("complete") has all rows: use "append"')
        options = {name: value for name, value in self.options.items() if name.lower() != "checkpointlocation"}
        return _StreamWriter(_Job.made(options, schema, self.concurrency))


@dataclass(frozen=True)
class _Job:
    """What all tasks have in common; checked on the driver, before any of them."""

    plan: Plan
    connection: dict[str, Any]
    concurrency: int | None
    auth_token_file: str | None
    rejects: str | None
    report: str | None
    run: str

    @classmethod
    def made(cls, options: Mapping[str, str], schema: StructType, concurrency: int | None) -> _Job:
        given: dict[str, str] = {}
        for written, value in options.items():
            name = _KNOWN.get(written.replace("_", "").lower())
            if name is None:
                near = _native.did_you_mean(written, list(_KNOWN.values()))
                raise refuse(written, "unknown_option", f'format("intilery") has no option {written!r}{near}')
            if name == "auth_token" or ("@" in value and _CONNECTION.get(name, {}).get("secret")):
                raise refuse(
                    name,
                    "invalid_value",
                    f"{name} is a secret, and Spark keeps the options of a job in plans and logs: set "
                    f"INTILERY_{name.upper()} for the executors" + (", or auth_token_file" * (name == "auth_token")),
                )
            if name in given:
                raise refuse(name, "invalid_value", f"{name} is given twice")
            given[name] = value
        mapping: dict[str, Any] = {name: value for name, value in given.items() if name in _MAPPING}
        for name in {"properties", "exclude"} & mapping.keys():
            mapping[name] = [column.strip() for column in mapping[name].split(",")]
        merged = merge({**mapping, "mapping": given.get("mapping")})
        for name in RUN_OPTIONS:
            if name in merged:
                raise refuse("mapping", "invalid_value", f"for Spark, {name} is no part of the mapping")
        plan = Plan.made(merged)
        for name in _NOT_OF_SPARK:
            if getattr(plan, name) is not None:
                raise refuse(name, "invalid_value", f"{name} is not for Spark, which makes the rows itself")
        resolve(plan, schema.names)
        for name in {"rejects", "report"} & given.keys():
            if "://" in given[name]:
                raise refuse(name, "invalid_value", f"{name} must be a path, not an address")
        on_invalid = "reject" if "rejects" in given else "stop"
        if given.get("on_invalid", on_invalid) != on_invalid:
            raise refuse(
                "on_invalid", "invalid_value", 'on_invalid is "reject" with rejects, a folder, and "stop" without'
            )
        if "concurrency" in given:
            concurrency = _whole("concurrency", given["concurrency"])
        connection = {name: _value(name, given[name]) for name in _CONNECTION if name in given}
        missing = {name: "-" for name, option in _CONNECTION.items() if option["default"] == "required"}
        Client(**{**missing, **connection, "dry_run": True}).close()  # refuses what makes no sense
        return cls(
            plan=plan,
            connection=connection,
            concurrency=concurrency,
            auth_token_file=given.get("auth_token_file"),
            rejects=given.get("rejects"),
            report=given.get("report"),
            run=uuid.uuid4().hex,
        )

    # On an executor.

    def client(self) -> Client:
        """This process's: its bucket outlives the task, or else each task would begin with a burst of its own."""
        global _open
        options = dict(self.connection)
        if self.auth_token_file is not None:
            options["auth_token"] = Path(self.auth_token_file).read_text(encoding="utf-8").strip()
        if not (options.get("rate_limit_store") or os.environ.get("INTILERY_RATE_LIMIT_STORE")):
            if self.concurrency is None:
                raise refuse(
                    "concurrency",
                    "required",
                    "the account's rate must be shared among the tasks: give rate_limit_store, or concurrency, the "
                    "number of tasks that run at the same time",
                )
            for name, least in (("rate_limit", 0.01), ("burst", 1.0)):
                default = os.environ.get(f"INTILERY_{name.upper()}") or _CONNECTION[name]["default"]
                options[name] = max(least, float(options.get(name, default)) / self.concurrency)
        if _open is not None and _open[0] != options:
            _open[1].close(timeout=0)
            _open = None
        if _open is None:
            _open = options, Client.from_env(**options)
        return _open[1]

    def send(self, batches: Iterator[pa.RecordBatch], stream: str, prefix: str) -> TaskReport:
        """Sends a partition's rows, and returns when all have their fates."""
        global _open
        import pyarrow

        task = TaskContext.get()
        assert task is not None
        partition = task.partitionId()
        first = next(batches, None)
        if first is None:
            return TaskReport(partition=partition)
        source = pyarrow.RecordBatchReader.from_batches(first.schema, itertools.chain([first], batches))
        source_id = f"{self.plan.source_id or stream}/{prefix}{partition}"
        client = self.client()
        before = client.stats().failed_by_reason
        with tempfile.TemporaryDirectory(prefix="intilery-") as folder:
            rejects = Path(folder) / f"{prefix}part-{partition:05}-{self.run}.ndjson"
            try:
                run = Run(
                    client,
                    source,
                    {
                        **asdict(self.plan),
                        "source_id": source_id,
                        "on_invalid": "stop" if self.rejects is None else "reject",
                        "rejects": rejects,
                    },
                    ordered=False,
                )
                try:
                    for _ in run.steps():
                        self._check(client, before)
                finally:
                    run.close()
                self._check(client, before)
            except BaseException:
                # What is still queued would be sent beside the next attempt.
                client.close(timeout=0)
                _open = None
                raise
            sent = run.sent()
            if sent.rejects is not None:
                assert self.rejects is not None
                os.makedirs(self.rejects, exist_ok=True)
                written = Path(self.rejects) / rejects.name
                copy = written.with_name(f".{written.name}.{task.taskAttemptId()}")
                shutil.copy(rejects, copy)  # with its mode
                os.replace(copy, written)
        return TaskReport(
            partition=partition,
            rows=sent.rows,
            delivered=sent.delivered,
            rejected=sent.rejected,
            failed=sent.failed,
            resent=sent.resent,
            seconds=round(sent.seconds, 3),
            rejects=rejects.name if sent.rejects is not None else None,
        )

    def _check(self, client: Client, before: Mapping[str, int]) -> None:
        """Ends the task, for Spark to try again, where events fail for another reason than what they hold."""
        stats = client.stats()
        if stats.state == "paused: auth":
            raise AuthError(
                "the service refuses the token (403): check INTILERY_AUTH_TOKEN, or auth_token_file, on the executors",
                code="unauthorised",
            )
        for reason, count in stats.failed_by_reason.items():
            if count > before.get(reason, 0) and (self.rejects is None or reason not in ("rejected", "too_large")):
                raise DeliveryError(
                    f"{count - before.get(reason, 0)} events were not delivered ({reason})", code=reason
                )

    # On the driver again.

    def finish(self, messages: Sequence[WriterCommitMessage | None], outcome: str, batch: int | None) -> None:
        """Logs the sum of the tasks' reports, and appends it to the report file."""
        tasks = [message for message in messages if isinstance(message, TaskReport)]
        summed = {
            name: sum(getattr(task, name) for task in tasks)
            for name in ("rows", "delivered", "rejected", "failed", "resent")
        }
        report = {
            "outcome": outcome,
            **({} if batch is None else {"batch": batch}),
            **summed,
            "tasks": len(tasks),
            "unreported_tasks": len(messages) - len(tasks),
            "rejects": [task.rejects for task in tasks if task.rejects is not None],
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        bad = summed["rejected"] + summed["failed"] > 0 or outcome != "committed"
        _log.log(logging.WARNING if bad else logging.INFO, "%s", json.dumps(report))
        if self.report is not None:
            with open(self.report, "a", encoding="utf-8") as file:
                file.write(json.dumps(report) + "\n")


_open: tuple[dict[str, Any], Client] | None = None


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise refuse(name, "invalid_value", f"{name} must be a whole number from 1 on, not {text!r}")
    return int(text)


def _value(name: str, text: str) -> Any:
    """An option of the client, of which Spark has the text."""
    kind = _CONNECTION[name]["type"]
    if kind in ("text", "choice"):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text  # the client says what it should have been
    return value


@dataclass(frozen=True)
class TaskReport(WriterCommitMessage):
    """What became of one partition's rows."""

    partition: int
    rows: int = 0
    delivered: int = 0
    rejected: int = 0
    failed: int = 0
    resent: int = 0
    seconds: float = 0.0
    rejects: str | None = None


class _BatchWriter(DataSourceArrowWriter):
    def __init__(self, job: _Job) -> None:
        self._job = job

    def write(self, iterator: Iterator[pa.RecordBatch]) -> TaskReport:
        return self._job.send(iterator, "", "")

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        self._job.finish(messages, "committed", None)

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        self._job.finish(messages, "aborted", None)


class _StreamWriter(DataSourceStreamArrowWriter):
    def __init__(self, job: _Job) -> None:
        self._job = job

    def write(self, iterator: Iterator[pa.RecordBatch]) -> TaskReport:
        task = TaskContext.get()
        assert task is not None
        query, batch = (task.getLocalProperty(name) for name in ("sql.streaming.queryId", "streaming.sql.batchId"))
        if query is None or batch is None:
            raise ConfigurationError("Spark does not say which batch this is", code="required", option="batchId")
        return self._job.send(iterator, query, f"batch-{batch}-")

    def commit(self, messages: list[WriterCommitMessage | None], batchId: int) -> None:
        self._job.finish(messages, "committed", batchId)

    def abort(self, messages: list[WriterCommitMessage | None], batchId: int) -> None:
        self._job.finish(messages, "aborted", batchId)
