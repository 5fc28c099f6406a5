"""What users have for their own tests: expectations, clients in memory, and pytest's fixtures."""

from __future__ import annotations

import _thread
import asyncio
import datetime
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest

from intilery import AuthError, ConfigurationError, DeliveryError, ValidationError
from intilery.testing import AsyncMemoryClient, MemoryClient, Sandbox


def test_an_expectation_waits_for_its_event_and_returns_it(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 120})
    with sandbox.client() as client:
        delivery = client.track("ABC/123", "Order Completed", {"revenue": 30.5, "items": [{"sku": "a", "n": 1}]})
        event = sandbox.expect(
            "Order Completed", user_id="ABC/123", properties={"revenue": Decimal("30.5"), "items": [{"sku": "a"}]}
        )
        assert event["eventId"] == delivery.result(timeout=5).event_id


def test_expected_values_become_what_they_become_in_events(sandbox: Sandbox) -> None:
    when = datetime.datetime(2024, 7, 5, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    with sandbox.client() as client:
        client.identify("u", {"born": when.date(), "seen": when})
        client.send_email("u", "asset-7", {"code": "1234"})
        client.page(anonymous_id="a-1", properties={"path": "/"}, context={"locale": "en"})
    sandbox.expect("identify", traits={"born": when.date(), "seen": when})
    sandbox.expect("send_email", user_id="u", brand_id="HEA", fields={"assetId": "asset-7", "code": "1234"})
    sandbox.expect(action="page", anonymous_id="a-1", context={"locale": "en"})
    assert len(sandbox.matching(user_id="u")) == 2
    assert len(sandbox.matching()) == 3
    with pytest.raises(ValidationError, match="NaN"):
        sandbox.expect("E", properties={"x": float("nan")})


def test_a_missed_expectation_says_what_arrived_and_what_the_nearest_lacks(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        client.track("ABC/123", "Login")
        client.track("ABC/123", "Order Completed", {"revenue": 30})
    with pytest.raises(AssertionError) as caught:
        sandbox.expect("Order Completed", properties={"revenue": 30.5, "currency": "GBP"}, timeout=0.12)
    assert str(caught.value) == (
        'no event arrived that matches {"event":"Order Completed","properties":{"currency":"GBP","revenue":30.5}}\n'
        "2 events arrived:\n"
        '  1. track "Login" of "ABC/123"\n'
        '  2. track "Order Completed" of "ABC/123" {"revenue":30}\n'
        "the nearest is 2:\n"
        '  properties.currency: expected "GBP", but it is not there (there are revenue)\n'
        "  properties.revenue: expected 30.5, arrived 30"
    )


def test_a_missed_expectation_tells_of_requests_that_the_server_refused(sandbox: Sandbox) -> None:
    sandbox.set_token("another")
    client = sandbox.client()
    client.track("u", "Login")
    until = time.monotonic() + 5
    while not sandbox.requests() and time.monotonic() < until:
        time.sleep(0.01)
    with pytest.raises(AssertionError, match=r"(?s)no event arrived at all.*track: 403 .*Token Not Authorised"):
        sandbox.expect("Login", timeout=0)
    client.close(timeout=0)


def test_ctrl_c_ends_the_wait_for_an_event(sandbox: Sandbox) -> None:
    timer = threading.Timer(0.1, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        sandbox.expect("Login", timeout=30)
    timer.join()


def test_an_event_that_must_not_arrive_is_shown(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        client.track("u", "Login")
    sandbox.expect_none("Logout")
    sandbox.expect_none("Login", user_id="v")
    with pytest.raises(AssertionError, match=r'(?s)no event should match .*, but 1 event does:\n  1. track "Login"'):
        sandbox.expect_none("Login")


def test_a_misspelt_member_is_no_expectation(sandbox: Sandbox) -> None:
    with pytest.raises(TypeError, match=r"'user_ids'.*did you mean \"user_id\""):
        sandbox.expect("Login", user_ids="u")  # type: ignore[call-arg]


def test_a_client_in_memory_delivers_into_a_list() -> None:
    with MemoryClient() as client:
        receipt = client.track("ABC/123", "Login", {"n": 10**30}).result(timeout=5)
        (message,) = client.sent
        assert message == {
            "action": "track",
            "userId": "ABC/123",
            "event": "Login",
            "properties": {"n": 10**30},
            "context": message["context"],
            "timestamp": message["timestamp"],
            "messageId": receipt.message_id,
            "sentAt": message["sentAt"],
        }
        client.brand("HEB").page("u")
        assert client.expect("page", brand_id="HEB")["action"] == "page"
        client.expect_none("Logout")
        with pytest.raises(AssertionError, match=r'event: expected "Logout", arrived "Login"'):
            client.expect("Logout", user_id="ABC/123")
        assert len(client.matching("Login")) == 1
        client.clear()
        assert client.sent == []


def test_a_client_in_memory_checks_events_as_always() -> None:
    with MemoryClient(brand_id="HEB") as client, pytest.raises(ValidationError) as caught:
        client.track("u", "Login", {"x": float("nan")})
    assert caught.value.path == "properties.x"
    with pytest.raises(ConfigurationError, match="flush_at"):
        MemoryClient(flush_att=1)  # type: ignore[call-arg]


def test_a_client_in_memory_gets_the_answers_that_a_test_wants() -> None:
    with MemoryClient() as client:
        client.answer(400, times=1, body='{"success": false, "message": "no such shop"}')
        with pytest.raises(DeliveryError, match="no such shop"):
            client.track("u", "Login").result(timeout=5)
        client.answer(503, times=2)
        assert client.track("u", "Login").result(timeout=5).attempts == 3
        client.answer(0, times=1)
        assert client.track("u", "Login").result(timeout=5).attempts == 2
        with pytest.raises(ValueError, match="from 200 to 599"):
            client.answer(42)
        client.answer(403)
        refused = client.track("u", "Login")
        with pytest.raises(AssertionError, match="track: 403"):
            client.expect("Login", user_id="v", timeout=0.2)
        client.close(timeout=0)
    assert isinstance(refused.exception(timeout=5), (AuthError, DeliveryError))


def test_a_client_in_memory_never_sends_whatever_the_environment_says(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    with MemoryClient.from_env() as client:
        client.track("u", "Login")
        client.expect("Login")
    assert sandbox.requests() == []


def test_a_client_in_memory_for_asyncio_is_awaited() -> None:
    async def main() -> None:
        async with AsyncMemoryClient() as client:
            await client.track("u", "Login")
            client.track("u", "Viewed")
            assert (await client.expect("Viewed"))["userId"] == "u"
            await client.expect_none("Logout")
            with pytest.raises(AssertionError, match="2 events arrived"):
                await client.expect("Logout")

    asyncio.run(main())


PROJECT = """
import os, subprocess, sys
import pytest

def test_nothing_is_loaded_for_tests_that_ask_for_nothing():
    assert not [name for name in sys.modules if name.split(".")[0] == "intilery"]

def test_a_client(intilery_client, intilery_sandbox):
    intilery_client.track("u", "Login", {"n": 1})
    intilery_sandbox.expect("Login", properties={"n": 1})

def test_each_test_has_a_sandbox_of_its_own(intilery_sandbox):
    assert intilery_sandbox.events() == []
    assert intilery_sandbox.client().stats().rate_left > 100_000

@pytest.mark.intilery_sandbox(profile="guide", brand_ids=["HEB"])
def test_a_sandbox_as_the_marker_says(intilery_environment):
    assert intilery_environment["INTILERY_BRAND_ID"] == "HEB"

def test_a_program_of_its_own(intilery_environment, intilery_sandbox):
    program = "from intilery import Client\\nwith Client.from_env() as c: c.track('u', 'Login')"
    subprocess.run([sys.executable, "-c", program], check=True)
    intilery_sandbox.expect("Login", user_id="u")

def test_in_memory(intilery_memory_client):
    intilery_memory_client.track("u", "Login")
    intilery_memory_client.expect("Login")

def test_a_fault_that_stays_does_not_hold_up_the_end(intilery_client, intilery_sandbox):
    intilery_sandbox.set_faults({"status": 503})
    intilery_client.track("u", "Login")

def test_that_fails(intilery_client, intilery_sandbox):
    intilery_client.track("u", "Login").result(timeout=5)
    intilery_sandbox.expect("Logout", timeout=0)  # the line
"""


def test_the_fixtures_serve_a_project_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(PROJECT)
    command = [sys.executable, "-W", "error", "-m", "pytest", "--strict-markers", "-p", "no:cacheprovider", "-q"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "1 failed, 7 passed" in ended.stdout, ended.stdout + ended.stderr
    assert '>       intilery_sandbox.expect("Logout", timeout=0)  # the line' in ended.stdout
    assert 'E       AssertionError: no event arrived that matches {"event":"Logout"}' in ended.stdout
    assert 'E         event: expected "Logout", arrived "Login"' in ended.stdout
    assert "testing.py" not in ended.stdout  # no frame of ours


def test_the_fixtures_are_listed_with_what_they_are_for(tmp_path: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--fixtures", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    for name in ("intilery_sandbox", "intilery_environment", "intilery_client", "intilery_memory_client"):
        assert f"\n{name} -- " in listed
