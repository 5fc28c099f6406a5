from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from programs import environment

from intilery import Client
from intilery.testing import Sandbox

MOMENT = datetime(2024, 7, 5, 11, tzinfo=timezone.utc)
HOSTILE = "\x1b]0;owned\x07\x9b31m\u202e\r\n\tend"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(rate_limit=0) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with sandbox.client() as client:
        yield client


def start(sandbox: Sandbox, *arguments: str, **more: str) -> subprocess.Popen[str]:
    # In a shell's background, as tests may run, SIGINT is ignored.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from intilery.__main__ import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment(sandbox, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(sandbox: Sandbox, *arguments: str, **more: str) -> tuple[int, str, str]:
    process = start(sandbox, *arguments, **more)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def send(client: Client, count: int, first: int = 0) -> None:
    for i in range(first, first + count):
        client.track("ABC/123", "Order Completed", {"i": i}, timestamp=MOMENT + timedelta(milliseconds=i))
    assert client.flush(timeout=10).remaining == 0


def test_events_are_listed_for_people_and_for_programs(sandbox: Sandbox, client: Client) -> None:
    send(client, 150)
    client.track("other", "Login", timestamp=MOMENT - timedelta(hours=1)).result(timeout=5)
    code, out, err = run(sandbox, "events", "list")
    lines = out.splitlines()
    assert (code, len(lines), err) == (0, 100, "")
    assert lines[0].split("\t") == ["2024-07-05T11:00:00.149Z", "Order Completed", "ABC/123", '{"i": 149}']
    code, out, _ = run(sandbox, "events", "list", "--all", "--json", "--oldest-first", "--exclude", "Login")
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, [event["rawData"]["properties"]["i"] for event in events]) == (0, list(range(150)))
    (stored,) = [event for event in sandbox.events() if event["rawData"].get("properties") == {"i": 7}]
    assert events[7] == stored
    chosen = ["--user-id", "ABC/123", "--start", "2024-07-05T11:00:00.010Z", "--end", "2024-07-05T12:00:00.012+01:00"]
    _, out, _ = run(sandbox, "events", "list", *chosen)
    assert [line.split("\t")[3] for line in out.splitlines()] == ['{"i": 12}', '{"i": 11}', '{"i": 10}']
    _, out, _ = run(sandbox, "events", "list", "--include", "Login", "--include", "Logout")
    assert [line.split("\t")[1] for line in out.splitlines()] == ["Login"]


def test_in_a_terminal_a_line_fits_and_nothing_escapes(sandbox: Sandbox, client: Client) -> None:
    client.track(HOSTILE, HOSTILE, {HOSTILE: HOSTILE, "long": "x" * 500}).result(timeout=5)
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "intilery", "events", "list"],
        env=environment(sandbox, COLUMNS="120"),
        stdout=side,
        stderr=side,
    )
    os.close(side)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
    os.close(terminal)
    assert process.wait(timeout=30) == 0
    head, line = shown.decode().split("\r\n")[:2]
    assert head.split() == ["TIME", "EVENT", "USER", "DATA"]
    assert len(line) <= 120
    assert line.isprintable()
    assert "\\x1b]0;owned\\x07" in line


def test_what_goes_through_a_pipe_is_safe_too(sandbox: Sandbox, client: Client) -> None:
    client.identify(HOSTILE, {HOSTILE: HOSTILE, "email": "fred@example.com"}).result(timeout=5)
    for command in (["events", "list"], ["profile", "get", "--email", "fred@example.com"]):
        for form in ([], ["--json"]):
            code, out, _ = run(sandbox, *command, *form)
            assert code == 0
            assert out.replace("\n", "").replace("\t", "").isprintable(), (command, form)
            assert "\u202e" not in out


def test_tail_shows_each_event_once_until_ctrl_c(sandbox: Sandbox, client: Client) -> None:
    send(client, 130)
    process = start(sandbox, "events", "tail", "-n", "3", "--interval", "0.1", "--json")
    assert process.stdout is not None
    shown = [json.loads(process.stdout.readline()) for _ in range(3)]
    for first in (130, 380):
        send(client, 250, first=first)
        shown += [json.loads(process.stdout.readline()) for _ in range(250)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, ""), err
    numbers = [event["rawData"]["properties"]["i"] for event in shown]
    assert numbers[:3] == [127, 128, 129]
    assert sorted(numbers) == list(range(127, 630))


def test_a_profile_is_shown_by_each_key(sandbox: Sandbox, client: Client) -> None:
    traits = {"email": "fred@example.com", "age": 40}
    client.identify("ABC/123", traits).result(timeout=5)
    code, out, _ = run(sandbox, "profile", "get", "ABC/123", "--json")
    profile = json.loads(out)
    assert (code, profile["userId"], profile["traits"]) == (0, "ABC/123", traits)
    for key in (["--email", "fred@example.com"], ["--id", profile["id"]]):
        assert json.loads(run(sandbox, "profile", "get", *key, "--json")[1])["id"] == profile["id"]
    code, out, _ = run(sandbox, "profile", "get", "ABC/123")
    assert (code, out.splitlines()[:2]) == (0, ["user ABC/123", "traits"])
    assert "  age                   40" in out.splitlines()


def test_the_exit_codes_are_as_documented(sandbox: Sandbox, client: Client) -> None:
    code, out, err = run(sandbox, "profile", "get", "nobody")
    assert (code, out, err) == (1, "", "intilery profile get: the service knows nobody by that\n")
    code, _, err = run(sandbox, "profile", "get", "a", "--email", "b")
    assert (code, "must not both be given" in err) == (2, True)
    code, _, err = run(sandbox, "profile", "get", "", "--json")
    assert code == 2
    code, _, err = run(sandbox, "events", "list", "--start", "yesterday")
    assert (code, err.startswith("intilery events list: start is not an ISO-8601 moment")) == (2, True)
    code, out, _ = run(sandbox, "events", "list", "--json", INTILERY_AUTH_TOKEN="wrong")
    assert (code, json.loads(out)["exit_code"]) == (3, 3)
    code, _, err = run(sandbox, "events", "list", INTILERY_BRAND_ID="")
    assert (code, "brand_id" in err) == (2, True)


def test_whoever_reads_may_stop_at_any_line(sandbox: Sandbox, client: Client) -> None:
    send(client, 2_000)
    process = start(sandbox, "events", "list", "--all", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 0


def test_ctrl_c_ends_a_list_that_waits_for_the_accounts_pace(sandbox: Sandbox, client: Client) -> None:
    send(client, 150)
    process = start(sandbox, "events", "list", "--all", "--json", INTILERY_RATE_LIMIT="0.01", INTILERY_BURST="1")
    assert process.stdout is not None
    process.stdout.readline()  # the first page is there, the second is minutes away
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
