"""The campaign in short (`make campaign` is the long form), and that its strict server would see what is wrong."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from contract import Breach, read
from harness import StrictServer

CAMPAIGN = Path(__file__).parents[1] / "campaign"
NOW = "2026-01-31T12:00:00.000Z"


@pytest.mark.parametrize("language", ["python", "node", "cpp"])
def test_events_arrive_in_order_and_again_only_where_an_acknowledgement_was_lost(language: str) -> None:
    arguments = ["--events", "2000", "--modes", "auto", "--languages", language, "--seed", "5", "--timeout", "60"]
    ended = subprocess.run(
        [sys.executable, CAMPAIGN / "run.py", *arguments], capture_output=True, text=True, timeout=90, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


class Caller:
    """Sends by hand to a strict server."""

    def __init__(self, server: StrictServer, connection: http.client.HTTPConnection) -> None:
        self._server = server
        self._connection = connection

    def post(self, action: str, body: Any, token: str = "strict-token") -> int:
        headers = {"content-type": "application/json", "auth-token": token}
        self._connection.request("POST", f"/track/hea/hea/HEA/v1/{action}", json.dumps(body), headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def violations(self) -> dict[str, int]:
        found: dict[str, int] = self._server.report()["violations"]
        return found


@contextmanager
def strict_server(**options: Any) -> Iterator[Caller]:
    with StrictServer(**options) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        with closing(connection):
            yield Caller(server, connection)


@pytest.fixture
def caller() -> Iterator[Caller]:
    with strict_server() as running:
        yield running


def numbered(number: int) -> dict[str, Any]:
    return {"n": number, "mark": f"u/{number}/é😀"}


def track(number: int, **fields: Any) -> dict[str, Any]:
    event = {"userId": "u", "event": "Step", "timestamp": NOW, "messageId": f"m-{number}"}
    return {**event, "properties": numbered(number), **fields}


IDENTIFY = {"userId": "u", "event": "identify", "timestamp": NOW, "messageId": "i", "traits": numbered(0)}


def test_the_strict_server_has_nothing_against_a_good_sequence(caller: Caller) -> None:
    page = {"anonymousId": "u", "event": "page", "timestamp": NOW, "messageId": "p", "properties": numbered(3)}
    assert caller.post("identify", IDENTIFY) == 200
    assert caller.post("batch", {"batch": [track(1), track(2)], "context": {"locale": "en"}}) == 200
    assert caller.post("page", page) == 200
    assert caller.violations() == {}


@pytest.mark.parametrize(
    ("requests", "violation"),
    [
        ([("track", track(0)), ("track", track(0))], "a second copy without need"),
        ([("batch", {"batch": [track(0), track(0)]})], "a second copy without need"),
        ([("track", track(0)), ("track", track(0, event="Other"))], "a second copy with other content"),
        ([("track", track(1)), ("track", track(0))], "out of order"),
        ([("track", track(0, properties={"n": 0, "mark": "cut"}))], "other content than was sent"),
        ([("track", track(0, event="send_sms", assetId="a"))], "a command before its user's identify was acknowledged"),
        (
            [("batch", {"batch": [IDENTIFY, track(1, event="send_sms", assetId="a")]})],
            "a command before its user's identify was acknowledged",
        ),
        (
            [("identify", IDENTIFY), ("track", track(1, event="send_sms", assetId="a"))],
            "a command too soon after identify",
        ),
    ],
)
def test_the_strict_server_sees_what_should_not_arrive(
    caller: Caller, requests: list[tuple[str, Any]], violation: str
) -> None:
    for action, body in requests:
        assert caller.post(action, body) == 200
    assert violation in caller.violations()


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("track", track(0, userId="")),
        ("track", track(0, event=None)),
        ("track", track(0, timestamp="2026-01-31T12:00:00Z")),
        ("track", track(0, timestamp="2026-02-30T12:00:00.000Z")),
        ("track", track(0, colour="red")),
        ("track", track(0, event="SEND_EMAIL")),
        ("track", track(0, event="start_journey")),
        ("track", track(0, context={"colour": "red"})),
        ("track", track(0, properties={"half": "\ud800"})),
        ("track", track(0, properties={"x": float("nan")})),
        ("identify", {**IDENTIFY, "traits": None}),
        ("identify", {**IDENTIFY, "userId": None, "anonymousId": "a"}),
        ("page", track(0)),
        ("batch", {"batch": []}),
        ("batch", {"batch": [track(0), track(1, event=None)]}),
        ("batch", {"batch": [track(0, properties={"note": "x" * 32_000})]}),
    ],
)
def test_a_body_that_breaks_the_contract_is_a_breach(action: str, body: Any) -> None:
    with pytest.raises(Breach):
        read(action, json.dumps(body).encode())


def test_the_strict_server_refuses_with_the_contracts_statuses() -> None:
    with strict_server(rate=0.001, burst=6) as caller:
        assert caller.post("track", track(0, userId="")) == 400
        assert caller.post("track", track(0), token="wrong") == 403
        assert caller.post("tracks", track(0)) == 404
        assert caller.post("track", track(0, properties={"note": "x" * 6_000_000})) == 413
        assert [caller.post("track", track(number)) for number in range(3)] == [200, 200, 429]
        assert caller.violations() == {f"contract ({status})": 1 for status in (400, 403, 404, 413)}


def test_the_strict_server_sees_a_resend_before_retry_after() -> None:
    with strict_server(faults=1, kinds=["429 wait"]) as caller:
        assert [caller.post("track", track(0)) for _ in range(2)] == [429, 429]
        assert caller.violations() == {"sent again before Retry-After allows": 1}
