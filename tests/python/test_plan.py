"""Tracking plans from Python, and the command `intilery plan`. tests/vectors/plan.json has the rules."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import environment

import intilery
from intilery import _native, _plans
from intilery.testing import Sandbox

ROOT = Path(__file__).parents[2]
ACCOUNT: dict[str, Any] = {"client_id": "c", "account_id": "a", "brand_id": "B", "auth_token": "t", "dry_run": True}
PLAN = """\
version: 1
events:
  Order Completed:
    properties:
      required: [total]
      properties:
        total: {type: number, minimum: 0}
        currency: {enum: [GBP, EUR]}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def test_a_rejected_event_says_all_that_is_wrong_and_none_of_what_it_holds(plan: Path) -> None:
    with intilery.Client(**ACCOUNT, plan=plan, plan_mode="reject") as client:
        with pytest.raises(intilery.ValidationError) as caught:
            client.track("u", "Order Completed", {"currency": "secret"})
        error = pickle.loads(pickle.dumps(caught.value))
        assert (error.code, error.path) == ("enum", "properties.currency")
        assert [(each.code, each.path, each.rule) for each in error.errors] == [
            ("enum", "properties.currency", "/events/Order Completed/properties/properties/currency/enum"),
            ("required", "properties.total", "/events/Order Completed/properties/required/0"),
        ]
        assert str(error) == (
            "properties.currency is none of the 2 values that the plan allows (and 1 more: see errors)"
        )
        with pytest.raises(intilery.ValidationError) as caught:
            client.track("", "x")
        assert caught.value.errors == []


def test_warn_sends_counts_and_logs_once(plan: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox() as sandbox:
        client = sandbox.client(plan=plan)
        for _ in range(3):
            client.track("u", "Order Completed", {"total": -1})
        client.track("u", "Order Complete")
        client.close()
        assert len(sandbox.events()) == 4
        assert client.stats().plan_violations == {
            "Order Completed: /events/Order Completed/properties/properties/total/minimum": 3,
            "Order Complete: unplanned_event": 1,
        }
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "properties.total must be at least 0" in line] == [
        'the event "Order Completed" breaks the plan (it is sent; this is told once): '
        "properties.total must be at least 0"
    ]
    assert any(
        line.endswith('event "Order Complete" is not in the plan; did you mean "Order Completed"?') for line in lines
    )


def test_on_invalid_report_makes_a_failed_delivery_of_it(plan: Path) -> None:
    with intilery.Client(**ACCOUNT, plan=plan, plan_mode="reject", on_invalid="report") as client:
        with pytest.raises(intilery.ValidationError) as caught:
            client.track("u", "Order Completed").result(timeout=10)
        assert [each.code for each in caught.value.errors] == ["required"]
        assert client.stats().failed_by_reason == {"required": 1}


def test_send_many_rejects_the_rows_that_break_the_plan(plan: Path, tmp_path: Path) -> None:
    rows = [{"user_id": "u", "total": 1}, {"user_id": "u", "total": -1}, {"user_id": "u", "total": 2.5}]
    rejects = tmp_path / "rejects.ndjson"
    with intilery.Client(**ACCOUNT, plan=plan, plan_mode="reject") as client:
        sent = client.send_many(rows, event="Order Completed", rejects=rejects)
    assert (sent.delivered, sent.rejected) == (2, 1)
    (line,) = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert "minimum" in json.dumps(line) and "properties.total" in json.dumps(line)


def test_before_send_is_checked_afterwards(plan: Path) -> None:
    def repair(message: dict[str, Any]) -> dict[str, Any]:
        return {**message, "properties": {"total": 1}}

    with intilery.Client(**ACCOUNT, plan=plan, plan_mode="reject", before_send=repair) as client:
        client.track("u", "Order Completed", {"total": "x"}).result(timeout=10)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("nowhere.yaml", "unreadable"),
        ("", "invalid_value"),
        (1, "wrong_type"),
        ({"version": 2}, "unknown_version"),
        ({"version": 1, "traits": {"type": "text"}}, "unknown_type"),
        ({"version": 1, "traits": {"pattern": "("}}, "invalid_pattern"),
        ({"version": 1, "traits": {"additionalProperties": False}}, "unknown_keyword"),
        ({"version": 1, "traits": {"$ref": "#/traits"}}, "reference_loop"),
        ({"version": 1, "traits": {"$ref": "#/$defs/X"}}, "unresolved_reference"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_when_the_client_is_made(given: Any, code: str) -> None:
    with pytest.raises(intilery.ConfigurationError) as caught:
        intilery.Client(**ACCOUNT, plan=given)
    assert (caught.value.option, caught.value.code) == ("plan", code)


def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN.replace("number", "nmber"))
    with pytest.raises(intilery.ConfigurationError, match='did you mean "number"') as caught:
        intilery.Client(**ACCOUNT, plan=path)
    assert str(caught.value).startswith(
        f'plan: {path}:7: /events/Order Completed/properties/properties/total/type "nmber" is no type'
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_moved_keeps_the_plan(plan: Path) -> None:
    program = f"""
import os, intilery
os.chdir({str(plan.parent)!r})
client = intilery.Client(**{ACCOUNT!r}, plan="plan.yaml", plan_mode="reject")
if os.fork() == 0:
    os.chdir("/")
    try:
        client.track("u", "Order Completed")
    except intilery.ValidationError as error:
        print(error.code, flush=True)
    client.close()
    os._exit(0)
os.wait()
client.close()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "required\n"


# The command.


def intilery_plan(
    *arguments: object, text: str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "intilery", "plan", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=text, env=env, timeout=60, check=False)


def lines_of(ended: subprocess.CompletedProcess[str]) -> list[Any]:
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_lint_has_nothing_to_say_of_a_good_plan(plan: Path) -> None:
    ended = intilery_plan("lint", plan)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_lint_tells_what_is_hardly_meant_and_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN.replace("Order Completed", "order_completed"))
    ended = intilery_plan("lint", path)
    assert ended.returncode == 1
    assert ended.stdout.startswith(f"{path}:4: /events/order_completed should be in Title Case")
    path.write_text(PLAN.replace("minimum", "minimun"))
    ended = intilery_plan("lint", path, "--json")
    assert ended.returncode == 2
    (problem,) = lines_of(ended)
    assert (problem["code"], problem["line"], problem["fatal"]) == ("unknown_keyword", 7, True)


def test_test_says_of_each_event_whether_it_fits(plan: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    messages: list[Any] = [
        {"action": "track", "userId": "u", "event": "Order Completed", "properties": {"total": 1}},
        {"action": "track", "userId": "u", "event": "Order Completed", "properties": {"total": -1, "currency": 1}},
        {"eventId": "e", "rawData": {"action": "track", "userId": "u", "event": "Nothing"}},
        [],
    ]
    events.write_text("".join(json.dumps(message) + "\n" for message in messages) + "\n{\n")
    ended = intilery_plan("test", plan, events, "--json")
    assert ended.returncode == 1, ended.stderr
    found = lines_of(ended)
    assert [(each["line"], each["valid"]) for each in found] == [
        (1, True),
        (2, False),
        (3, False),
        (4, False),
        (6, False),
    ]
    assert [[(error["code"], error["path"]) for error in each["errors"]] for each in found] == [
        [],
        [("minimum", "properties.total"), ("enum", "properties.currency")],
        [("unplanned_event", "event")],
        [("wrong_type", "")],
        [("invalid_json", "")],
    ]
    assert found[1]["errors"][0]["message"] == "properties.total must be at least 0"
    assert intilery_plan("test", plan, "-", text=json.dumps(messages[0])).returncode == 0
    assert intilery_plan("test", plan, tmp_path / "nowhere").returncode == 2
    assert intilery_plan("test", tmp_path / "nowhere", events).returncode == 2


def test_infer_makes_a_plan_that_the_events_fit(tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    messages: list[Any] = [
        {"action": "track", "userId": "u", "event": "Order Completed", "properties": {"total": 1, "note": None}},
        {
            "action": "track",
            "userId": "u",
            "event": "Order Completed",
            "properties": {"total": 1.5, "lines": [{"sku": "a"}]},
        },
        {"action": "track", "userId": "u", "event": "send_email", "assetId": "a"},
        {"action": "page", "userId": "u", "properties": {"path": "/"}},
        {"action": "identify", "userId": "u", "traits": {"email": "a@b"}},
    ]
    events.write_text("".join(json.dumps(message) + "\n" for message in messages))
    for name in ("plan.yaml", "plan.json"):
        path = tmp_path / name
        assert intilery_plan("infer", events, "--output", path).returncode == 0
        document, problems = _plans.read(str(path))
        assert document is not None and problems == []
        assert document["events"]["Order Completed"]["properties"] == {
            "type": "object",
            "required": ["total"],
            "properties": {
                "total": {"type": "number"},
                "note": {"type": "null"},
                "lines": {
                    "type": "array",
                    "items": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}},
                },
            },
        }
        assert list(document["events"]) == ["Order Completed", "page"]
        assert intilery_plan("test", path, events).returncode == 0
    assert intilery_plan("infer", "-", text="{}\n").returncode == 2


def test_infer_reads_the_account_back(tmp_path: Path) -> None:
    def infer(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        return intilery_plan("infer", *arguments, env=environment(sandbox, **env))

    with Sandbox(rate_limit=0) as sandbox:
        with sandbox.client() as client:
            client.identify("u", {"email": "a@b"}, timestamp="2024-01-01T00:00:00Z")
            client.track("u", "Login", {"method": "email", "age": 3}, timestamp="2024-01-02T00:00:00Z")
            client.track("u", "Login", {"method": "email"}, timestamp="2024-01-03T00:00:00Z")
            client.send_email("u", "asset")
            assert client.flush(timeout=10).failed == 0
        path = tmp_path / "plan.json"
        assert infer("--from-account", "--output", path).returncode == 0
        login = {"type": "object", "properties": {"age": {"type": "integer"}, "method": {"type": "string"}}}
        plan = json.loads(path.read_text())
        assert plan == {
            "version": 1,
            "events": {"Login": {"properties": {**login, "required": ["method"]}}},
            "traits": {"type": "object", "required": ["email"], "properties": {"email": {"type": "string"}}},
        }
        assert infer("--from-account", "--since", "2024-01-03T00:00:00Z", "--output", path).returncode == 0
        assert list(json.loads(path.read_text())["events"]["Login"]["properties"]["properties"]) == ["method"]
        assert infer("--from-account", "--limit", 2, "--output", path).returncode == 0
        assert "traits" not in json.loads(path.read_text())
        assert infer("--from-account", "--since", "yesterday").returncode == 2
        for makes_no_sense in (("--from-account", "x"), (), ("x", "--limit", 2)):
            assert infer(*makes_no_sense).returncode == 2
        assert infer("--from-account", INTILERY_AUTH_TOKEN="wrong").returncode == 3


def test_diff_tells_what_breaks(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(PLAN)
    new.write_text(PLAN)
    assert intilery_plan("diff", old, new).returncode == 0
    changes = {
        "minimum: 0": ("minimum: -1", False),
        "number": ("integer", True),
        "[GBP, EUR]": ("[GBP, EUR, USD]", False),
        "[GBP, EUR]}": ("[GBP]}", True),
        "required: [total]": ("required: [total, currency]", True),
        "Order Completed": ("Order Paid", True),
    }
    for before, (after, breaking) in changes.items():
        new.write_text(PLAN.replace(before, after))
        ended = intilery_plan("diff", old, new, "--json")
        assert (ended.returncode, any(each["breaking"] for each in lines_of(ended))) == (int(breaking), breaking), after
    new.write_text("version: 1\nevents: []\n")
    ended = intilery_plan("diff", old, new)
    assert (ended.returncode, ended.stderr) == (2, f"{new}:2: /events must be an object, not an array (wrong_type)\n")


def test_send_takes_a_plan(plan: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("user_id,total\nu,1\nu,-1\n")
    command = [sys.executable, "-m", "intilery", "send", str(rows), "--event", "Order Completed", "--plan", str(plan),
               "--dry-run", "--client-id", "c", "--account-id", "a", "--brand-id", "B"]  # fmt: skip
    environment = {**os.environ, "INTILERY_AUTH_TOKEN": "t"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "properties.total" in (tmp_path / "rows.csv.invalid.ndjson").read_text()


def test_the_page_on_plans_shows_what_happens(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "plans.md").read_text(encoding="utf-8")
    blocks = {block.split("\n", 1)[0]: block.split("\n", 1)[1] for block in page.split("```")[1::2]}
    (tmp_path / "plan.yaml").write_text(blocks["yaml"])
    program = blocks["python"].replace("…", "t")
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == blocks[""]
    assert intilery_plan("lint", tmp_path / "plan.yaml").stdout == ""


def test_the_page_on_errors_has_every_code_of_a_plan() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "core" / "src" / "plan").glob("*.cpp"))
    codes = set(re.findall(r"(?:problem|tell|fail)\([^\"\n]*\"([a-z_]+)\"", sources))
    codes |= set(re.findall(r"Problem\{true, \"([a-z_]+)\"", sources))
    codes |= set(re.findall(r"report\(rules, [^,]+,\s*\"([a-z_]+)\"", sources))
    assert len(codes) > 25
    assert [code for code in codes if f"`{code}`" not in page] == []
    assert _native.read_plan("nowhere")[0] is None
