"""Proof by reading back: `verify` over the paging limit, `verify_source`, `intilery verify`."""

from __future__ import annotations

import asyncio
import datetime
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from programs import environment

from intilery import ConfigurationError, IntileryError, SourceVerification
from intilery.testing import Sandbox

UTC = datetime.timezone.utc
NOON = datetime.datetime(2024, 7, 5, 12, tzinfo=UTC)
HOUR = datetime.timedelta(hours=1)
CROWD = 10_200  # more than paging reaches, in one second
ARGUMENTS: dict[str, Any] = {"event": "Order", "user_id": "customer", "timestamp": "ordered_at"}
FLAGS = ["--event", "Order", "--user-id", "customer", "--timestamp", "ordered_at"]


pytestmark = [pytest.mark.usefixtures("in_its_own_folder"), pytest.mark.sandbox(rate_limit=0)]


def orders(rows: int, *, seconds: int = 1) -> Path:
    """Rows of 40 customers, in so many different seconds; a bad one, of nobody, at the end."""
    path = Path("orders.csv")
    lines = [f"c{i % 40},2024-07-05T12:00:{i % seconds:02}Z,{i}" for i in range(rows)]
    path.write_text("\n".join(["customer,ordered_at,total", *lines, ",2024-07-05T12:00:00Z,1"]) + "\n")
    return path


def run(sandbox: Sandbox, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "intilery", "verify", *arguments]
    done = subprocess.run(
        command, env=environment(sandbox, INTILERY_RATE_LIMIT="1e6"), capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def test_verify_reads_the_events_of_a_time(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        delivery = client.track("u", "E", timestamp=NOON)
        delivery.result(timeout=5)
        assert client.verify([delivery], start=NOON, end=NOON + HOUR).complete
        assert client.verify([delivery], "u", start=NOON).complete
        late = client.verify([delivery], timeout=0.1, start=NOON + HOUR)
        assert late.missing == [delivery.message_id]
        with pytest.raises(ValueError, match="has no zone"):
            client.verify([delivery], start=datetime.datetime(2024, 7, 5))


def test_a_source_of_more_rows_in_a_second_than_can_be_paged_is_proved(sandbox: Sandbox) -> None:
    path = orders(CROWD)
    states: list[SourceVerification] = []
    with sandbox.client() as client:
        client.send_many(path, **ARGUMENTS, limit=CROWD - 1)  # the last one stays at home
        client.send_many(path, **ARGUMENTS, limit=3)
        found = client.verify_source(path, **ARGUMENTS, timeout=0, progress=states.append)
    assert [row for row, _ in found.missing] == [CROWD]
    assert [row for row, _ in found.duplicate] == [1, 2, 3]
    sent = {event["rawData"]["messageId"] for event in sandbox.events()}
    assert {message_id for _, message_id in found.duplicate} < sent
    assert found[:5] == (CROWD + 1, 1, 0, CROWD, CROWD - 1)
    assert not found.complete
    assert states[-1] == found
    assert not Path("orders.csv.rejects.ndjson.new").exists()


def test_a_source_whose_rows_are_all_there_is_complete(sandbox: Sandbox) -> None:
    rows = [{"user_id": f"u{i % 7}", "timestamp": NOON + HOUR * i, "n": i} for i in range(300)]
    with sandbox.client() as client:
        client.send_many(rows, event="E")
        found = client.verify_source(rows, event="E", timeout=5)
    assert found.complete
    assert (found.rows, found.found, found.missing, found.duplicate) == (300, 300, [], [])


def test_rows_without_a_timestamp_need_to_know_when_they_were_sent(sandbox: Sandbox) -> None:
    rows = [{"user_id": f"u{i}"} for i in range(5)]
    before = datetime.datetime.now(UTC) - HOUR
    with sandbox.client() as client:
        client.send_many(rows, event="E")
        with pytest.raises(ConfigurationError, match="5 rows have no timestamp"):
            client.verify_source(rows, event="E")
        assert client.verify_source(rows, event="E", since=before, timeout=5).complete


def test_rows_with_ids_of_their_own_are_found_by_them(sandbox: Sandbox) -> None:
    rows = [{"user_id": "u", "timestamp": NOON, "message_id": f"order-{i % 3}"} for i in range(4)]
    with sandbox.client() as client:
        client.send_many(rows[:2], event="E")
        found = client.verify_source(rows, event="E", timeout=0)
    assert (found.expected, found.repeated, found.missing) == (3, 1, [(3, "")])


def test_before_send_is_asked_for_the_ids(sandbox: Sandbox) -> None:
    def renamed(message: dict[str, Any]) -> dict[str, Any] | None:
        return None if message["userId"] == "u1" else {**message, "messageId": "x-" + message["userId"]}

    rows = [{"user_id": f"u{i}", "timestamp": NOON} for i in range(3)]
    with sandbox.client(before_send=renamed) as client:
        client.send_many(rows, event="E")
        found = client.verify_source(rows, event="E", timeout=5)
    assert found.complete
    assert (found.rejected, found.found) == (1, 2)


def test_what_the_service_shows_late_is_waited_for() -> None:
    with Sandbox(rate_limit=0, visible_after=0.5) as late, late.client() as client:
        client.send_many([{"user_id": "u", "timestamp": NOON}], event="E")
        assert client.verify_source([{"user_id": "u", "timestamp": NOON}], event="E", timeout=10).complete


def test_on_unknown_check_finds_what_was_not_acknowledged() -> None:
    with Sandbox(rate_limit=0, visible_after=0.1) as late, late.client(on_unknown="check", check_delay=0.3) as client:
        late.set_faults({"lost_ack": True, "times": 1})
        receipt = client.track("u", "E").result(timeout=10)
        assert receipt.read_back
        assert receipt.event_id == late.events()[0]["eventId"]
        assert receipt.attempts == len(late.events()) == client.stats().read_back == 1
        assert not client.track("u", "E").result(timeout=10).read_back


def test_on_unknown_check_sends_twice_what_is_shown_too_late() -> None:
    async def main(late: Sandbox) -> None:
        async with late.async_client(on_unknown="check", check_delay=0.05) as client:
            receipt = await client.track("u", "E")
            assert (receipt.read_back, receipt.attempts) == (False, 2)
            assert [event["rawData"]["messageId"] for event in late.events()] == [receipt.message_id] * 2

    with Sandbox(rate_limit=0, visible_after=60) as late:
        late.set_faults({"lost_ack": True, "times": 1})
        asyncio.run(main(late))


def test_the_command_proves_a_file(sandbox: Sandbox) -> None:
    path = str(orders(500, seconds=10))
    with sandbox.client() as client:
        client.send_many(path, **ARGUMENTS, limit=499)
    code, out, err = run(sandbox, path, *FLAGS, "--timeout", "0")
    assert (code, err) == (1, "")
    assert "499 of 500 are there" in out
    assert "1 missing: row 500" in out
    assert "1 can be no event" in out

    with sandbox.client() as client:
        client.send_many(path, **ARGUMENTS)
    code, out, _ = run(sandbox, path, *FLAGS, "--json", "--limit", "500")
    report = json.loads(out)
    assert (code, report["exit_code"]) == (1, 1), "all of them but one are there twice"
    assert (report["missing"], len(report["duplicate"])) == ([], 499)
    assert report["duplicate"][0]["row"] == 1

    sandbox.clear()
    with sandbox.client() as client:
        client.send_many(path, **ARGUMENTS)
    code, out, err = run(sandbox, path, *FLAGS)
    assert (code, err) == (0, "")
    assert "500 of 500 are there" in out


def test_the_command_says_what_does_not_fit(sandbox: Sandbox) -> None:
    path = str(orders(3))
    code, out, err = run(sandbox, path, "--event", "Order", "--user-id", "custumer")
    assert (code, out) == (2, "")
    assert "did you mean 'customer'" in err or "customer" in err
    code, _, err = run(sandbox, path, "--event", "Order", "--user-id", "customer")
    assert code == 2
    assert "3 rows have no timestamp" in err
    code, _, err = run(sandbox, path, *FLAGS, "--since", "yesterday")
    assert code == 2
    assert "since is no date" in err
    sandbox.set_token("another")
    code, out, _ = run(sandbox, path, *FLAGS, "--json")
    assert (code, json.loads(out)["code"]) == (3, "unauthorised")


def test_ctrl_c_ends_the_command_and_says_how_far_it_was(sandbox: Sandbox) -> None:
    path = str(orders(300, seconds=30))
    with sandbox.client() as client:
        client.send_many(path, **ARGUMENTS, limit=200)
    command = [sys.executable, "-m", "intilery", "verify", path, *FLAGS, "--timeout", "60"]
    running = subprocess.Popen(
        command, env=environment(sandbox), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while not any(request.action == "events" for request in sandbox.requests()) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 130, out + err
    assert "interrupted" in err


def test_a_closed_client_says_so(sandbox: Sandbox) -> None:
    client = sandbox.client()
    client.close()
    with pytest.raises(IntileryError, match="closed"):
        client.verify_source([{"user_id": "u", "timestamp": NOON}], event="E")
