"""A client's counters as OpenTelemetry metrics."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any, Union

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Metric, Sum

import intilery
from intilery import Client, Stats
from intilery.otel import instrument
from intilery.testing import Sandbox

LIST = json.loads(Path(intilery.__file__).with_name("metrics.json").read_text("utf-8"))
Points = dict[frozenset[tuple[str, Any]], Union[int, float]]


class Readable(Client):
    """Remembers what it told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told: list[Stats] = []

    def stats(self) -> Stats:
        self.told.append(super().stats())
        return self.told[-1]


class Metrics:
    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def collect(self) -> dict[str, Metric]:
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        found = [metric for scope in scopes for metric in scope.metrics]
        assert len({metric.name for metric in found}) == len(found)
        return {metric.name: metric for metric in found}

    def points(self) -> dict[str, Points]:
        return {name: found for name, metric in self.collect().items() if (found := points(metric))}


def points(metric: Metric) -> Points:
    assert isinstance(metric.data, (Sum, Gauge))
    return {frozenset((point.attributes or {}).items()): point.value for point in metric.data.data_points}


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics()
    yield made
    made.provider.shutdown()


def of(value: float, **attributes: str) -> Points:
    return {frozenset(attributes.items()): value}


def readable(sandbox: Sandbox) -> Readable:
    return Readable(**sandbox._client_options({}))


def test_all_metrics_of_the_list_are_exported_with_the_values_of_one_reading(
    sandbox: Sandbox, metrics: Metrics
) -> None:
    sandbox.set_faults({"status": 400, "user_id": "bad"}, {"status": 503, "times": 1})
    with readable(sandbox) as client:
        instrument(client, meter_provider=metrics.provider, attributes={"brand": "HEA"})
        client.track("good", "Login")
        client.track("bad", "Login")
        client.flush(timeout=10)
        found = metrics.collect()
        (stats,) = client.told
    assert (stats.delivered, stats.failed_by_reason, stats.retried > 0) == (1, {"rejected": 1}, True)
    assert {200, 400, 503} <= set(stats.requests)
    assert list(found) == [metric["name"] for metric in LIST]
    for metric in LIST:
        exported = found[metric["name"]]
        assert (exported.unit, exported.description) == (metric["unit"], metric["description"])
        if metric["kind"] == "gauge":
            assert isinstance(exported.data, Gauge)
        else:
            assert isinstance(exported.data, Sum)
            assert exported.data.is_monotonic == (metric["kind"] == "counter")
        value = getattr(stats, metric["field"])
        if metric["field"] == "state":
            states = ["running", "paused: auth", "paused: rate", "paused: unreachable", "closed"]
            value = {state: int(state == value) for state in states}
        if "attribute" in metric:
            expected = {frozenset({"brand": "HEA", metric["attribute"]: part}.items()): value[part] for part in value}
        else:
            expected = of(value, brand="HEA")
        assert points(exported) == expected, metric["name"]


def test_each_collection_reads_the_client_once(sandbox: Sandbox) -> None:
    one, other = InMemoryMetricReader(), InMemoryMetricReader()
    provider = MeterProvider([one, other])
    with readable(sandbox) as client:
        instrument(client, meter_provider=provider)
        for reader in (one, one, other, one, other):
            reader.get_metrics_data()
        assert len(client.told) == 5
    provider.shutdown()


def test_a_closed_client_is_observed_until_stop(sandbox: Sandbox, metrics: Metrics) -> None:
    with sandbox.client() as client:
        watch = instrument(client, meter_provider=metrics.provider)
        client.track("u", "Login")
    found = metrics.points()
    assert found["intilery.events.delivered"] == of(1)
    assert found["intilery.state"][frozenset({("state", "closed")})] == 1
    watch.stop()
    watch.stop()
    assert metrics.points() == {}
    instrument(client, meter_provider=metrics.provider)
    assert metrics.points()["intilery.events.delivered"] == of(1)


def test_a_client_is_not_kept_alive(sandbox: Sandbox, metrics: Metrics) -> None:
    client = sandbox.client()
    instrument(client, meter_provider=metrics.provider)
    assert metrics.points()["intilery.events.accepted"] == of(0)
    client.close()
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    assert metrics.points() == {}


def test_attributes_tell_clients_apart_and_the_same_ones_add_up(sandbox: Sandbox, metrics: Metrics) -> None:
    clients = [sandbox.client() for _ in range(3)]
    for client, name in zip(clients, ("a", "b", "b")):
        instrument(client, meter_provider=metrics.provider, attributes={"name": name})
        client.track("u", "Login").result(timeout=10)
    found = metrics.points()
    assert found["intilery.events.delivered"] == of(1, name="a") | of(2, name="b")
    assert found["intilery.state"][frozenset({("name", "b"), ("state", "running")})] == 2
    for client in clients:
        client.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_exports_nothing_of_its_parents_client(
    sandbox: Sandbox, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    with sandbox.client() as client:
        instrument(client, meter_provider=metrics.provider)
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if metrics.points() == {} and caplog.records == [] else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
        assert status == 0
        assert len(metrics.points()) > 0


def run(program: str) -> str:
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def test_the_global_meter_provider_may_be_set_after_instrument() -> None:
    out = run(
        """
from intilery.otel import instrument
from intilery.testing import Sandbox
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
with Sandbox() as sandbox, sandbox.client() as one, sandbox.client() as two, sandbox.client() as three:
    instrument(one)
    metrics.set_meter_provider(MeterProvider([reader]))
    instrument(two)
    instrument(three, meter_provider=metrics.get_meter_provider())
    for client in (one, two, three):
        client.track("u", "Login").result(timeout=10)
    for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics:
        print(metric.name, [point.value for point in metric.data.data_points])
"""
    )
    assert "intilery.events.accepted [3]\n" in out
    assert len(out.splitlines()) == len(LIST) - 1  # nothing has failed, so no reason is there


def test_without_opentelemetry_the_import_says_what_to_install() -> None:
    out = run(
        """
import sys
sys.modules["opentelemetry"] = None
import intilery
try:
    import intilery.otel
except ImportError as error:
    print(error)
"""
    )
    assert "pip install intilery[otel]" in out
    assert any("opentelemetry-api" in line and "otel" in line.split(";")[1] for line in requires("intilery") or [])
