from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from intilery.testing import Sandbox

GOOD = {"userId": "u", "event": "E", "timestamp": "2019-11-18T13:30:11.444Z"}
PATH = "/track/hea/hea/HEA/v1/"


def post(
    sandbox: Sandbox, action: str, body: object, *, token: str = "sandbox-token", path: str = PATH
) -> tuple[int, object]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        sandbox.url + path + action, data, {"content-type": "application/json", "auth-token": token}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_good_event_gets_an_event_id(sandbox: Sandbox) -> None:
    status, answer = post(sandbox, "track", GOOD)
    assert status == 200
    assert isinstance(answer, dict)
    assert answer["success"] is True
    assert answer["eventId"] == sandbox.events()[0]["eventId"]


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("track", {**GOOD, "userId": ""}, 400),
        ("track", {key: value for key, value in GOOD.items() if key != "event"}, 400),
        ("track", b"{", 400),
        ("track", [], 400),
        ("identify", {**GOOD, "event": "identify"}, 400),
        ("nothing", GOOD, 404),
    ],
)
def test_what_breaks_the_contract_is_refused(sandbox: Sandbox, action: str, body: object, status: int) -> None:
    got, answer = post(sandbox, action, body)
    assert got == status
    assert isinstance(answer, dict)
    assert sandbox.event_count() == 0


def test_a_wrong_token_or_address_is_refused(sandbox: Sandbox) -> None:
    assert post(sandbox, "track", GOOD, token="wrong")[0] == 403
    assert post(sandbox, "track", GOOD, path="/track/hea/hea/OTHER/v1/")[0] == 403


def test_the_rate_and_the_size_are_limited() -> None:
    with Sandbox(rate_limit=1, burst=2, max_request_bytes=1000) as sandbox:
        assert post(sandbox, "track", {**GOOD, "properties": {"x": "y" * 1000}})[0] == 413
        assert [post(sandbox, "track", GOOD)[0] for _ in range(3)][-1] == 429


def test_the_guide_profile_has_no_batch_and_no_screen() -> None:
    with Sandbox(profile="guide") as sandbox:
        assert post(sandbox, "batch", {"batch": [GOOD]})[0] == 404
        with sandbox.client() as client:
            deliveries = [client.track("u", "E", {"n": n}) for n in range(600)]
            assert all(delivery.result(timeout=20).route == "event" for delivery in deliveries)
        assert [event["rawData"]["properties"]["n"] for event in sandbox.events()] == list(range(600))


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"sttus": 503}, "sttus"),
        ({"status": 99}, "status"),
        ({"drip_ms": -1}, "drip_ms"),
        ({"content_length": -1}, "content_length"),
        ({"truncate": "half"}, "truncate"),
        ({"oversized": 1.5}, "oversized"),
        ({"hang": False}, "hang"),
        ({"close": "reset"}, 'close must be "before", "during", "reset_before"'),
        ({"close": "before", "hang": True}, "hang does not go with another"),
        ({"close": "reset_before", "user_id": "u"}, "user_id cannot be known"),
        ({"times": 1}, "has no effect"),
    ],
)
def test_a_wrong_fault_is_named(sandbox: Sandbox, fault: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"rule 0,? ?{named}"):
        sandbox.set_faults(fault)


def test_a_reset_ends_its_request_alone(sandbox: Sandbox) -> None:
    sandbox.set_faults({"close": "reset_during", "times": 1})
    with pytest.raises(ConnectionResetError):
        post(sandbox, "track", GOOD)
    assert post(sandbox, "track", GOOD)[0] == 200
    assert [(request.status, request.body == b"") for request in sandbox.requests()] == [(0, True), (200, False)]


def test_the_command_prints_its_url_first_and_ends_on_a_signal() -> None:
    environment = {**os.environ, "INTILERY_AUTH_TOKEN": "from-the-environment"}
    process = subprocess.Popen(
        [sys.executable, "-m", "intilery", "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    request = urllib.request.Request(
        url + PATH + "track",
        json.dumps(GOOD).encode(),
        {"content-type": "application/json", "auth-token": "from-the-environment"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0
    process.stdout.close()


def test_the_command_explains_a_wrong_option() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "intilery", "sandbox", "--prot", "1"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "--prot" in ended.stderr


def test_a_bound_on_what_is_stored_bounds_the_memory() -> None:
    program = """
import os
from intilery.testing import Sandbox
def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
with Sandbox(rate_limit=0, max_stored_bytes=1_000_000) as sandbox, sandbox.client(delivery="batch") as client:
    def send(begin):
        client.send_many(({"user_id": f"u{n}", "text": "x" * 300} for n in range(begin, begin + 40_000)), event="E")
    send(0)
    before = memory()
    send(40_000)
    print(sandbox.event_count(), len(sandbox.events()), len(sandbox.requests()), memory() - before)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    count, kept, requests, grown = map(int, result.stdout.split())
    assert count == 80_000
    assert 500 < kept < 2_000
    assert requests < 10
    assert grown < 12_000_000, "40,000 events and their profiles take tens of MB"
