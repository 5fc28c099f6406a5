"""What a client says to the log, and of what nobody observes."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import intilery
from intilery import DeliveryError, IntileryError, QueueFullError, ValidationError
from intilery.testing import Sandbox


def test_a_dry_run_checks_everything_and_sends_nothing(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "intilery")
    with sandbox.client(dry_run=True) as client:
        receipt = client.track("u", "E").result(timeout=5)
        with pytest.raises(ValidationError):
            client.track("u", "E", {"x": float("nan")})
        for _ in range(1000):
            client.track("u", "E")
        assert client.flush(timeout=5).remaining == 0
        stats = client.stats()
        with pytest.raises(DeliveryError, match="nothing was sent") as caught:
            client.verify([receipt.message_id])
    assert caught.value.reason == "dry_run"
    assert receipt.delivered
    assert (receipt.status, receipt.attempts, receipt.event_id) == (0, 0, None)
    assert (stats.accepted, stats.delivered, stats.requests, stats.bytes_sent) == (1001, 1001, {}, 0)
    assert sandbox.requests() == []
    assert [(record.levelname, "dry_run is on" in record.message) for record in caplog.records] == [("INFO", True)]


def test_a_dry_run_leaves_a_spool_alone(sandbox: Sandbox, tmp_path: Any) -> None:
    spool: Any = {"spool_path": str(tmp_path / "spool")}
    sandbox.set_faults({"hang": True})
    client = sandbox.client(**spool)
    client.track("u", "Left")
    while not sandbox.requests():  # or the server might take it once there are no faults
        time.sleep(0.001)
    client.close(timeout=0)
    sandbox.set_faults()
    with sandbox.client(**spool, dry_run=True) as client:
        client.track("u", "E")
    assert sandbox.event_count() == 0
    with sandbox.client(**spool):
        pass
    assert [event["rawData"]["event"] for event in sandbox.events()] == ["Left"]


def test_debug_shows_the_traffic_and_never_the_token(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "intilery")
    with sandbox.client(debug=True) as client:
        client.track("u", "E", {"email": "fred@example.com", "token": "sandbox-token", "é": "\x1b[31m"}).result(
            timeout=5
        )
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    request, answer = (record.message for record in caplog.records)
    assert f"POST {sandbox.url}/track/hea/hea/HEA/v1/track, auth-token: [redacted], 1 event, " in request
    assert '"email":"fred@example.com","token":"[redacted]","é":' in request
    assert answer.startswith("request 1: status 200 after ")
    assert "sandbox-token" not in caplog.text
    assert "\x1b" not in caplog.text


def test_without_debug_nothing_of_an_event_is_logged(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "intilery")
    with sandbox.client() as client:
        client.track("u", "E", {"email": "fred@example.com"})
    assert caplog.text == ""


def test_a_servers_words_do_not_stop_the_log(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    # Cut within a character, they once ended the callback thread.
    words = "\x1b[31m" + "é" * 300
    sandbox.set_faults(
        {"status": 400, "body": '{"success":false,"message":"' + words.replace("\x1b", "\\u001b") + '"}'}
    )
    told = threading.Event()
    with sandbox.client() as client:
        client.track("u", "E")
        client.flush(timeout=5)
        client.track("u", "E", on_delivery=lambda _: told.set())
        assert told.wait(5)
    assert "\\x1b[31mé" in caplog.text
    assert "\x1b" not in caplog.text


def test_on_error_gets_what_nobody_observes_and_the_log_does_not(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.set_faults({"status": 400})
    errors: list[IntileryError] = []
    threads: list[threading.Thread] = []

    def told(error: IntileryError) -> None:
        errors.append(error)
        threads.append(threading.current_thread())

    with sandbox.client(on_error=told, delivery="event") as client:
        ids = [client.track(f"user-{number}", "E").message_id for number in range(3)]
        client.track("u", "E", on_delivery=lambda _: None)
        client.track("u", "E").add_done_callback(lambda _: None)
        assert client.track("u", "E").exception(timeout=5) is not None
    assert sorted(error.message_id for error in errors) == sorted(ids)
    assert {type(error) for error in errors} == {DeliveryError}
    assert {thread.name for thread in threads} == {"intilery-callbacks"}
    assert caplog.text == ""


def test_every_kind_of_error_given_to_on_error_says_of_which_event(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 200})
    errors: list[IntileryError] = []
    with sandbox.client(on_error=errors.append, max_queue_bytes=1500, on_invalid="report") as client:
        client.track("u", "E", {"text": "x" * 900})
        full = client.track("u", "E", {"text": "x" * 900}).message_id
        client.track("u", "E", {"x": float("nan")})
    assert [(type(error), error.message_id) for error in errors] == [(QueueFullError, full), (ValidationError, "")]


def test_what_is_left_at_the_end_goes_to_on_error(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 1000})
    errors: list[IntileryError] = []
    client = sandbox.client(on_error=errors.append)
    delivery = client.track("u", "E")
    client.close(timeout=0.05)
    assert [(error.code, error.message_id) for error in errors] == [("closed", delivery.message_id)]


def test_on_error_may_raise_and_may_use_the_client(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    sandbox.set_faults({"status": 400, "times": 1})
    again = threading.Event()

    def told(error: IntileryError) -> None:
        client.track("u", "Again", on_delivery=lambda _: again.set())
        raise RuntimeError("in on_error")

    with sandbox.client(on_error=told) as client:
        client.track("u", "E")
        assert again.wait(5)
    assert "a callback raised" in caplog.text
    assert "in on_error" in caplog.text


def test_on_error_of_an_async_client_runs_in_its_loop(sandbox: Sandbox) -> None:
    sandbox.set_faults({"status": 400})
    threads: list[threading.Thread] = []

    async def main() -> None:
        told = asyncio.Event()

        def on_error(error: IntileryError) -> None:
            threads.append(threading.current_thread())
            told.set()

        async with sandbox.async_client(on_error=on_error) as client:
            client.track("u", "E")
            await asyncio.wait_for(told.wait(), 5)

    asyncio.run(main())
    assert threads == [threading.main_thread()]


def test_debug_and_dry_run_come_from_the_environment_too(sandbox: Sandbox) -> None:
    program = (
        "import logging, intilery\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "with intilery.Client.from_env() as client: client.track('u', 'E')\n"
    )
    environment = {
        **os.environ,
        "INTILERY_CLIENT_ID": "hea",
        "INTILERY_ACCOUNT_ID": "hea",
        "INTILERY_BRAND_ID": "HEA",
        "INTILERY_AUTH_TOKEN": "sandbox-token",
        "INTILERY_ENDPOINT": sandbox.url,
        "INTILERY_DRY_RUN": "1",
        "INTILERY_DEBUG": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    lines = ended.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("INFO:intilery:dry_run is on")
    assert lines[1].startswith(f"DEBUG:intilery:not sent: POST {sandbox.url}/track/")
    assert sandbox.requests() == []
    assert intilery.__version__ in ended.stderr
