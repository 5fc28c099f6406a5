"""How programs end. Each test runs a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from intilery.testing import Sandbox


def start(sandbox: Sandbox, program: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "INTILERY_CLIENT_ID": "hea",
        "INTILERY_ACCOUNT_ID": "hea",
        "INTILERY_BRAND_ID": "HEA",
        "INTILERY_AUTH_TOKEN": "sandbox-token",
        "INTILERY_ENDPOINT": sandbox.url,
    }
    prologue = "import os, sys, time, gc\nfrom intilery import *\n"
    return subprocess.Popen(
        [sys.executable, "-c", prologue + textwrap.dedent(program)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(sandbox: Sandbox, program: str) -> subprocess.CompletedProcess[str]:
    process = start(sandbox, program)
    out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_what_is_queued_at_exit_is_sent(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        client = Client.from_env()
        for number in range(3000):
            client.track("u", "E", {"number": number})
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sandbox.event_count() == 3000


def test_an_uncaught_exception_loses_nothing(sandbox: Sandbox) -> None:
    ended = run(sandbox, "client = Client.from_env(); client.track('u', 'E'); raise SystemExit(3)")
    assert ended.returncode == 3
    assert sandbox.event_count() == 1


def test_a_client_that_is_dropped_sends_what_it_holds(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        def work():
            Client.from_env().track("u", "E")
        work()
        gc.collect()
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sandbox.event_count() == 1


def test_exit_waits_no_longer_than_exit_timeout_and_says_what_is_left(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 20_000})
    started = time.monotonic()
    ended = run(sandbox, "client = Client.from_env(exit_timeout=0.3); client.track('u', 'E')")
    assert time.monotonic() - started < 10
    assert ended.returncode == 0
    assert "1 event not delivered when the client was closed" in ended.stderr
    sandbox.set_faults()


def test_ctrl_c_ends_a_wait_at_once(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 20_000})
    process = start(
        sandbox,
        """
        client = Client.from_env(exit_timeout=0.1)
        delivery = client.track("u", "E")
        print("waiting", flush=True)
        delivery.result()
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert time.monotonic() - started < 5
    assert "KeyboardInterrupt" in err
    sandbox.set_faults()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_empty_and_the_parent_keeps_its_events(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        client = Client.from_env()
        for number in range(500):
            client.track("parent", "E")
        child = os.fork()
        if child == 0:
            try:
                client.track("child", "E")
            except ClosedError as error:
                print(error, flush=True)
            with Client.from_env() as own:
                own.track("child", "E").result(timeout=10)
            del client
            gc.collect()
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        client.close()
        assert status == 0, status
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "make a new one here" in ended.stdout
    users = [event["userId"] for event in sandbox.events()]
    assert (users.count("parent"), users.count("child")) == (500, 1)


def test_an_idle_client_uses_no_cpu(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        client = Client.from_env()
        client.track("u", "E").result(timeout=10)
        before = time.process_time()
        time.sleep(1)
        print(time.process_time() - before)
        """,
    )
    assert float(ended.stdout) < 0.02
