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

import pytest
from programs import environment

from intilery.testing import Sandbox

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(rate_limit=0) as running:
        yield running


def start(sandbox: Sandbox, name: str, *arguments: str, folder: Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=environment(sandbox, DO_NOT_TRACK="1", HOME=str(folder), **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(sandbox: Sandbox, name: str, *arguments: str, folder: Path, **more: str) -> str:
    process = start(sandbox, name, *arguments, folder=folder, **more)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    return out


def wait_until(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_prefect_task_that_fails_goes_on_where_it_was(sandbox: Sandbox, tmp_path: Path) -> None:
    pytest.importorskip("prefect")
    (tmp_path / "orders.csv").write_text("user_id,n\n" + "".join(f"u{n},{n}\n" for n in range(300)) + ",300\n")
    # The first attempt is told to run on another token, and is ended by that; the second one goes on.
    program = f"""
import sys
sys.path.insert(0, {str(EXAMPLES)!r})
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
print(prefect_flow.orders("orders.csv"), len(attempts), attempts[-1].resumed)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(sandbox, HOME=str(tmp_path), PREFECT_HOME=str(tmp_path), DO_NOT_TRACK="1"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["300", "2", "200"]
    assert "1 rows were not delivered" in result.stdout + result.stderr
    assert sandbox.event_count() == 300


def test_a_dbt_model_is_sent_with_the_ids_that_it_gives(sandbox: Sandbox, tmp_path: Path) -> None:
    pytest.importorskip("dbt.cli.main")
    for _ in range(2):
        assert "2 of 2 delivered" in run(sandbox, "dbt_export.py", folder=tmp_path, **dbt_folders(tmp_path))
    raw = [event["rawData"] for event in sandbox.events()]
    assert sorted(event["messageId"] for event in raw) == ["order-1", "order-1", "order-3", "order-3"]
    assert {event["timestamp"] for event in raw} == {"2024-07-05T12:00:00.000Z", "2024-07-06T09:30:00.000Z"}
    assert '"revenue":77.00' in "".join(request.body.decode() for request in sandbox.requests())


def dbt_folders(folder: Path) -> dict[str, str]:
    return {
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "WAREHOUSE": str(folder / "warehouse.duckdb"),
    }


@pytest.fixture
def topic() -> Iterator[tuple[str, Any]]:
    """The brokers of librdkafka's own mock cluster, and a producer; it lives as long as that."""
    kafka = pytest.importorskip("confluent_kafka")
    producer = kafka.Producer({"test.mock.num.brokers": 1})
    brokers = producer.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers), producer


def test_kafkas_offsets_are_committed_after_the_fates_and_a_killed_loop_loses_nothing(
    topic: tuple[str, Any], sandbox: Sandbox, tmp_path: Path
) -> None:
    import confluent_kafka as kafka

    brokers, producer = topic
    messages = 3_000
    for n in range(messages):
        producer.produce("orders", json.dumps({"user_id": f"u{n % 50}", "event": "Order", "properties": {"n": n}}))
    producer.produce("orders", "no JSON")
    assert producer.flush(10) == 0

    group = kafka.Consumer({"bootstrap.servers": brokers, "group.id": "intilery"})

    def committed() -> int:
        partitions = group.list_topics("orders", timeout=10).topics["orders"].partitions
        places = group.committed([kafka.TopicPartition("orders", p) for p in partitions], timeout=10)
        return sum(max(0, place.offset) for place in places)

    def begin() -> subprocess.Popen[str]:
        return start(sandbox, "kafka_loop.py", brokers, "orders", folder=tmp_path, INTILERY_DELIVERY="event")

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
