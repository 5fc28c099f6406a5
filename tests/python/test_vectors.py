"""Runs tests/vectors (see its README) through the public client into the sandbox."""

from __future__ import annotations

import collections
import datetime
import decimal
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import intilery
from intilery.testing import Sandbox

OTHERS = ("faults", "reading")  # have tests of their own
FILES = [path for path in sorted((Path(__file__).parents[1] / "vectors").glob("*.json")) if path.stem not in OTHERS]

# The arguments' names on the wire and in Python. A name that is the last part of a path keeps the wire's form.
NAMES = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "messageId": "message_id",
    "assetId": "asset_id",
    "journeyId": "journey_id",
    "stepId": "step_id",
}


class Pairs(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, entries: list[tuple[str, Any]]) -> None:
        self._entries = collections.OrderedDict(entries)

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def special(given: dict[str, Any]) -> Any:
    kind = given["$"]
    if kind in ("nan", "infinity", "-infinity"):
        return float(kind)
    if kind == "integer":
        return int(given["text"])
    if kind == "decimal":
        return decimal.Decimal(given["text"])
    if kind == "double":
        return float(given["text"])
    if kind == "instant":
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        return epoch + datetime.timedelta(milliseconds=given["ms"])
    if kind == "naive":
        return datetime.datetime.fromisoformat(given["text"])
    if kind == "map":
        return Pairs([(key, value_of(value)) for key, value in given["entries"]])
    if kind == "cycle":
        cycle: dict[str, Any] = {}
        cycle["self"] = cycle
        return cycle
    if kind == "nested":
        nested: list[Any] = []
        for _ in range(given["levels"] - 1):
            nested = [nested]
        return nested
    if kind == "text":
        return given["repeat"] * given["times"]
    return {
        "set": {1},
        "bytes": b"x",
        "function": lambda: None,
        "int_key": {1: "x"},
        "surrogate": "\ud800",
    }[kind]


def value_of(given: Any) -> Any:
    if isinstance(given, dict):
        if "$" in given:
            return special(given)
        return {key: value_of(value) for key, value in given.items()}
    if isinstance(given, list):
        return [value_of(value) for value in given]
    return given


def cases(path: Path) -> list[dict[str, Any]]:
    # Numbers as Python reads them: ints stay exact.
    loaded: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [case for case in loaded if "python" in case.get("languages", ["python"])]


@pytest.mark.parametrize("before_send", [None, lambda message: message], ids=["", "before_send"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_vectors_hold_and_a_before_send_that_changes_nothing_changes_nothing(path: Path, before_send: Any) -> None:
    wrong = []
    clients: dict[str, intilery.Client] = {}
    with Sandbox(rate_limit=0, max_request_bytes=100_000_000) as sandbox:
        for case in cases(path):
            options = value_of(case.get("options", {}))
            key = json.dumps(case.get("options", {}))
            if key not in clients:
                clients[key] = sandbox.client(delivery="event", before_send=before_send, **options)
            if told := mismatch(case, clients[key], sandbox):
                wrong.append(f"{case['name']}: {told}")
        for client in clients.values():
            client.close()
    assert not wrong, "\n".join(wrong)


def wire_of(body: str) -> str:
    """A row's request body as rows/ndjson.json writes it."""
    body = re.sub(r',"sentAt":"[^"]{24}"}$', "}", body)
    return body.replace("intilery-python", "{library}").replace(f'"{intilery.__version__}"', '"{version}"')


ROWS = json.loads((Path(__file__).parents[1] / "vectors" / "rows" / "ndjson.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case["name"])
def test_the_lines_of_a_file_become_the_events_that_every_language_makes(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_bytes(case["text"].encode())
    with Sandbox(rate_limit=0) as sandbox:
        with sandbox.client(delivery="event") as client:
            sent = client.send_many(path, **case["options"])
        wire = [wire_of(request.body.decode()) for request in sandbox.requests()]
    if "{now}" in case["wire"][0]:
        wire = [re.sub(r'"timestamp":"[^"]{24}"', '"timestamp":"{now}"', body) for body in wire]
    assert sorted(wire) == case["wire"]
    lines = sent.rejects.read_text(encoding="utf-8").splitlines() if sent.rejects else []
    rejects = [{name: json.loads(line)[name] for name in ("row", "code", "path")} for line in lines]
    assert rejects == case.get("rejects", [])


def mismatch(case: dict[str, Any], client: intilery.Client, sandbox: Sandbox) -> str | None:
    arguments = {NAMES.get(name, name): value_of(value) for name, value in case["args"].items()}
    try:
        delivery = getattr(client, case["call"])(**arguments)
    except intilery.ValidationError as error:
        expected = case.get("error")
        got = {"code": error.code, "path": error.path}
        return None if got == expected else f"{got} ({error}) instead of {expected or case['wire']}"
    delivery.result(timeout=10)
    body = sandbox.requests()[-1].body.decode()
    sandbox.clear()
    if "wire" not in case:
        return f"was accepted as {body}"
    wire = case["wire"].replace("{library}", "intilery-python").replace("{version}", intilery.__version__)
    if ',"sentAt":' not in wire:  # else it is the caller's own
        body = re.sub(r',"sentAt":"[^"]{24}"}$', "}", body)
    return None if body == wire else f"\n  {body}\ninstead of\n  {wire}"
