"""Runs tests/vectors (see its README) through the public client into the sandbox."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from vector_calls import call, value_of

import intilery
from intilery.testing import Sandbox

OTHERS = ("faults", "reading")  # have tests of their own
FILES = [path for path in sorted((Path(__file__).parents[1] / "vectors").glob("*.json")) if path.stem not in OTHERS]


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
    try:
        delivery = call(client, case)
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
