"""docs/monitoring.md, and the examples that it names."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from test_docs import ROOT, run, snippet

from intilery import Stats
from intilery.testing import Sandbox

PAGE = "docs/monitoring.md"
LIST = json.loads((ROOT / "python" / "intilery" / "metrics.json").read_text(encoding="utf-8"))


def table(head: str) -> list[list[str]]:
    """The cells of a table's rows."""
    (rows,) = re.findall(
        rf"^\| {re.escape(head)} .*\n\|[ |-]*\n((?:\|.*\n)+)", (ROOT / PAGE).read_text(encoding="utf-8"), re.MULTILINE
    )
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows.splitlines()]


def test_the_page_has_every_field_of_stats_in_the_three_languages() -> None:
    header = (ROOT / "core" / "include" / "intilery" / "delivery.hpp").read_text(encoding="utf-8")
    types = (ROOT / "node" / "index.d.ts").read_text(encoding="utf-8")
    (struct,) = re.findall(r"^struct Stats \{\n(.*?)^\};", header, re.MULTILINE | re.DOTALL)
    (interface,) = re.findall(r"^export interface Stats \{\n(.*?)^\}", types, re.MULTILINE | re.DOTALL)
    rows = table("Python")
    assert [row[0] for row in rows] == list(Stats._fields)
    assert [row[1] for row in rows] == re.findall(r"^  (\w+):", interface, re.MULTILINE)
    assert [row[2] for row in rows] == re.findall(r"^  [^/;]*?(\w+)(?: = [\w:]+)?;", struct, re.MULTILINE)


def test_the_page_has_every_metric_and_no_other() -> None:
    rows = table("metric")
    for row, metric in zip(rows, LIST):
        name, kind, unit, attribute, field = row
        assert [name, kind, unit, attribute, re.split("`|:", field)[0]] == [
            metric["name"],
            metric["kind"].replace("up_down", "up-down").replace("_", " "),
            metric["unit"],
            metric.get("attribute", ""),
            metric["field"],
        ]
    assert len(rows) == len(LIST)


def prometheus_names() -> dict[str, str]:
    """The type of each name, `_total` left off as the parser does."""
    return {metric["name"].replace(".", "_"): "counter" if metric["kind"] == "counter" else "gauge" for metric in LIST}


def test_the_alert_rules_and_the_cpp_snippet_name_metrics_that_there_are() -> None:
    samples = {name + ("_total" if kind == "counter" else "") for name, kind in prometheus_names().items()}
    for language in ("yaml", "cpp"):
        named = set(re.findall(r"\bintilery_\w+", snippet(language, PAGE)))
        assert named and named <= samples, named - samples


def test_the_python_snippet_exports(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(snippet("python", PAGE))
    exported = json.loads(run(sys.executable, "example.py", cwd=tmp_path))
    (scope,) = exported["resource_metrics"][0]["scope_metrics"]
    values = {metric["name"]: metric["data"]["data_points"] for metric in scope["metrics"]}
    assert values["intilery.events.delivered"][0]["value"] == 1
    assert values["intilery.events.delivered"][0]["attributes"] == {"intilery.brand": "HEA"}


def test_the_node_snippet_exports() -> None:
    out = run("node", "--input-type=module", "-e", snippet("js", PAGE), cwd=ROOT)
    exported = re.findall(r"name: '(intilery[\w.]+)'.*?value: (\d+)", out, re.DOTALL)
    assert ("intilery.events.delivered", "1") in exported


def test_the_cpp_snippet_compiles(tmp_path: Path) -> None:
    (tmp_path / "metrics.cpp").write_text(snippet("cpp", PAGE))
    include = ROOT / "core" / "include"
    run(
        "c++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{include}", "metrics.cpp", cwd=tmp_path
    )


@contextmanager
def example(sandbox: Sandbox, *command: str) -> Iterator[str]:
    """Runs a backend; gives its URL."""
    account = {"CLIENT_ID": "hea", "ACCOUNT_ID": "hea", "BRAND_ID": "HEA", "AUTH_TOKEN": "sandbox-token"}
    environment = {f"INTILERY_{name}": value for name, value in account.items()} | {"INTILERY_ENDPOINT": sandbox.url}
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
            assert process.returncode == 0
            assert ["rejected" in line for line in errors.splitlines()] == [True]  # the log
        finally:
            process.kill()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def scrape(url: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(get(f"{url}/metrics"))}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


@pytest.mark.parametrize(
    "command", [(sys.executable, "examples/prometheus.py"), ("node", "examples/prometheus.mjs")], ids=["python", "node"]
)
def test_the_prometheus_example_serves_the_clients_counters(sandbox: Sandbox, command: tuple[str, str]) -> None:
    sandbox.set_faults({"status": 400, "times": 1})
    with example(sandbox, *command) as url:
        for number in range(3):
            assert get(f"{url}/product/{number}") == "ok\n"
        found = scrape(url)
        while values(found["intilery_events_queued"])[()] > 0:
            found = scrape(url)
    assert {name: family.type for name, family in found.items()} == prometheus_names()
    assert values(found["intilery_events_accepted"]) == {(): 3}
    assert values(found["intilery_events_delivered"]) == {(): 2}
    assert values(found["intilery_events_failed"]) == {("rejected",): 1}
    assert values(found["intilery_requests"]) == {("200",): 2, ("400",): 1}
    assert found["intilery_requests"].samples[0].labels.keys() == {"http_response_status_code"}
    assert values(found["intilery_bytes_sent"])[()] > 0
    assert values(found["intilery_state"]) == {
        ("running",): 1,
        ("paused: auth",): 0,
        ("paused: rate",): 0,
        ("paused: unreachable",): 0,
        ("closed",): 0,
    }
    assert sandbox.event_count() == 2
