"""The campaign in short (`make campaign` is the long form), and that its strict server would see what is wrong."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from contract import Breach, read
from harness import StrictServer
from soak import fit
from trouble import FAKETIME, SCENARIOS, Run, Scenario, clock_jumps

CAMPAIGN = Path(__file__).parents[1] / "campaign"
NOW = "2026-01-31T12:00:00.000Z"


@pytest.mark.parametrize("language", ["python", "node", "cpp"])
def test_events_arrive_in_order_and_again_only_where_an_acknowledgement_was_lost(language: str) -> None:
    arguments = ["--events", "2000", "--modes", "auto", "--languages", language, "--seed", "5", "--timeout", "60"]
    ended = subprocess.run(
        [sys.executable, CAMPAIGN / "run.py", *arguments], capture_output=True, text=True, timeout=90, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_under_real_trouble_nothing_is_lost(scenario: Scenario) -> None:
    if scenario.play is clock_jumps and not FAKETIME:
        pytest.skip("no libfaketime (packaging/system-packages campaign)")
    ended = subprocess.run(
        [sys.executable, CAMPAIGN / "trouble.py", "--short", "--seed", "3", "--scenarios", scenario.name],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_judge_sees_what_is_lost_and_what_is_untrue(tmp_path: Path) -> None:
    run = Run(SCENARIOS[0], "cpp", tmp_path, seed=1, short=True)
    run.accepted = {"arrived", "failed", "gone", "denied"}
    run.delivered = {"arrived", "never"}
    run.failed = {"failed": "expired unknown", "denied": "rejected no"}
    ids = ["arrived", "denied", "refused"]
    seen = {"ids": ids, "copies": 4, "violations": {"out of order": 1}, "examples": ["out of order: u"]}
    assert run.judge(seen) == [2, 1, 1]
    told = "\n".join(run.wrong)
    assert "lost: ['gone']" in told
    assert "never is said to be delivered" in told
    assert "denied is said not to have arrived" in told
    assert "1 events arrived whose calls did not return" in told
    assert "out of order: u" in told


def test_a_soak_fits_a_line_that_peaks_do_not_move() -> None:
    times = [float(second) for second in range(100)]
    values = [50 + 0.1 * second + (30 if second % 10 == 0 else 0) for second in times]
    level, rise = fit(times, values)
    assert level == pytest.approx(50, abs=0.1)
    assert rise == pytest.approx(9.9, abs=0.1)


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


def test_a_strict_server_that_was_killed_goes_on_from_its_journal(tmp_path: Path) -> None:
    with StrictServer(journal=str(tmp_path / "journal")) as server:
        for life in range(2):
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
                caller = Caller(server, connection)
                for number in (2 * life, 2 * life + 1, *([0, 1] if life else [])):
                    assert caller.post("track", track(number)) == 200
                if life == 0:
                    server.kill()
                    server.start()
        report = server.report()
    # The last answer before the kill may never have arrived, so that its event may come again; the one before it not.
    assert report["ids"] == ["m-0", "m-1", "m-2", "m-3"]
    assert report["examples"] == ["a second copy without need: m-0 (the first: acknowledged)"]


@pytest.mark.parametrize(
    ("kind", "stored", "becomes"),
    [
        ("dribbled", 1, 200),
        ("stalled", 1, socket.timeout),
        ("closed in the body", 1, http.client.IncompleteRead),
        ("reset in the body", 0, ConnectionResetError),
    ],
)
def test_the_strict_server_answers_as_badly_as_it_was_told(kind: str, stored: int, becomes: Any) -> None:
    with StrictServer(faults=1, kinds=[kind]) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=3 if becomes == 200 else 0.3)
        with closing(connection):
            caller = Caller(server, connection)
            if becomes == 200:
                assert caller.post("track", track(0)) == becomes
            else:
                with pytest.raises(becomes):
                    caller.post("track", track(0))
            assert server.report()["copies"] == stored


def test_the_strict_server_sees_a_resend_before_retry_after() -> None:
    with strict_server(faults=1, kinds=["429 wait"]) as caller:
        assert [caller.post("track", track(0)) for _ in range(2)] == [429, 429]
        assert caller.violations() == {"sent again before Retry-After allows": 1}
