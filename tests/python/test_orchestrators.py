"""The examples that docs/orchestrators.md shows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from programs import environment

import intilery
from intilery.testing import Sandbox

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
# Where Prefect and dbt are; the client there is this one.
ORCHESTRATORS = ROOT / ".venv/orchestrators/bin/python"
needs_orchestrators = pytest.mark.skipif(sys.version_info < (3, 10), reason="Prefect and dbt need Python 3.10")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(rate_limit=0) as running:
        yield running


def run(sandbox: Sandbox, folder: Path, *command: str, **more: str) -> str:
    """Runs Python in the orchestrators' environment, with this one's client. Returns what it printed."""
    (folder / "intilery").symlink_to(Path(intilery.__file__).parent)
    environ = environment(sandbox, HOME=str(folder), DO_NOT_TRACK="1", PYTHONPATH=f"{folder}:{EXAMPLES}", **more)
    command = (str(ORCHESTRATORS), *command)
    result = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def wait_until(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


@needs_orchestrators
def test_a_prefect_task_that_fails_goes_on_where_it_was(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("user_id,n\n" + "".join(f"u{n},{n}\n" for n in range(300)) + ",300\n")
    program = """
import prefect_flow
from intilery import Client
prefect_flow.send_orders.retry_delay_seconds = 0
attempts = []
given = Client.send_many
def send_many(client, *arguments, **options):
    attempts.append(given(client, *arguments, limit=200 if not attempts else None, **options))
    if len(attempts) == 1:
        raise OSError("the worker's disk went away")
    return attempts[-1]
Client.send_many = send_many
print("result:", prefect_flow.orders("orders.csv"), len(attempts), attempts[-1].resumed)
"""
    settings = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    told = run(sandbox, tmp_path, "-c", program, **settings)
    assert "result: 300 2 200" in told
    assert "1 rows were not delivered: see orders.csv.rejects.ndjson" in told
    assert sandbox.event_count() == 300


@needs_orchestrators
def test_a_dbt_model_is_sent_with_the_ids_that_it_gives(sandbox: Sandbox, tmp_path: Path) -> None:
    folders = {
        "DBT_TARGET_PATH": str(tmp_path / "target"),
        "DBT_LOG_PATH": str(tmp_path / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    assert "2 of 2 delivered" in run(sandbox, tmp_path, str(EXAMPLES / "dbt_export.py"), **folders)
    raw = [event["rawData"] for event in sandbox.events()]
    assert sorted(event["messageId"] for event in raw) == ["order-1", "order-3"]
    assert {event["timestamp"] for event in raw} == {"2024-07-05T12:00:00.000Z", "2024-07-06T09:30:00.000Z"}
    assert '"revenue":77.00' in "".join(request.body.decode() for request in sandbox.requests())


@pytest.fixture
def topic() -> Iterator[tuple[str, Any]]:
    """The brokers of librdkafka's own mock cluster, and a producer; it lives as long as that."""
    producer = confluent_kafka.Producer({"test.mock.num.brokers": 1})
    brokers = producer.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers), producer


def test_kafkas_offsets_are_committed_after_the_fates_and_a_killed_loop_loses_nothing(
    topic: tuple[str, Any], sandbox: Sandbox
) -> None:
    brokers, producer = topic
    messages = 3_000
    for n in range(messages):
        producer.produce("orders", json.dumps({"user_id": f"u{n % 50}", "event": "Order", "properties": {"n": n}}))
    producer.produce("orders", "no JSON")
    assert producer.flush(10) == 0

    group = confluent_kafka.Consumer({"bootstrap.servers": brokers, "group.id": "intilery"})

    def committed() -> int:
        partitions = group.list_topics("orders", timeout=10).topics["orders"].partitions
        places = group.committed([confluent_kafka.TopicPartition("orders", p) for p in partitions], timeout=10)
        return sum(max(0, place.offset) for place in places)

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, str(EXAMPLES / "kafka_loop.py"), brokers, "orders"]
        return subprocess.Popen(
            command, env=environment(sandbox, INTILERY_DELIVERY="event"), stderr=subprocess.PIPE, text=True
        )

    sandbox.set_faults({"status": 503})
    loop = begin()
    wait_until(lambda: len(sandbox.requests()) >= 3, loop)
    assert committed() == 0, "nothing had its fate"
    sandbox.set_faults()
    wait_until(lambda: sandbox.event_count() > 700, loop)
    loop.kill()
    loop.communicate()
    kept = committed()
    assert kept <= sandbox.event_count()

    loop = begin()
    wait_until(lambda: committed() == messages + 1, loop)
    loop.send_signal(signal.SIGTERM)
    _, err = loop.communicate(timeout=30)
    assert loop.returncode == 0, err
    assert "is no event: JSONDecodeError" in err
    sent = {event["rawData"]["messageId"]: event["rawData"]["properties"]["n"] for event in sandbox.events()}
    assert sorted(sent.values()) == list(range(messages))
    group.close()
