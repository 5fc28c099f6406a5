"""Programs of their own that send to a sandbox, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

from intilery.testing import Sandbox

FORK = """
def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except Exception:
            import traceback
            traceback.print_exc()
            os._exit(1)
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
"""

PROLOGUE = (
    """
import atexit, gc, os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
at_last = []  # called after the clients are closed
atexit.register(lambda: [call() for call in at_last])
from intilery import *
"""
    + FORK
)


def environment(sandbox: Sandbox, **more: str) -> dict[str, str]:
    """The environment of a program whose `Client.from_env()` sends to the sandbox."""
    return {
        **os.environ,
        "INTILERY_CLIENT_ID": "hea",
        "INTILERY_ACCOUNT_ID": "hea",
        "INTILERY_BRAND_ID": "HEA",
        "INTILERY_AUTH_TOKEN": "sandbox-token",
        "INTILERY_ENDPOINT": sandbox.url,
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # newer Pythons warn of every fork beside threads
        **more,
    }


# Events leave only when somebody flushes: what arrives after all was seen to by the client at the program's end.
LAZY = {"INTILERY_DELIVERY": "batch", "INTILERY_FLUSH_INTERVAL": "600"}


def start(sandbox: Sandbox, program: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + textwrap.dedent(program)],
        env=environment(sandbox),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(sandbox: Sandbox, program: str) -> subprocess.CompletedProcess[str]:
    process = start(sandbox, program)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def users(sandbox: Sandbox) -> dict[str, int]:
    """How many events of each user arrived, none of them twice."""
    ids = set()
    counts: dict[str, int] = {}
    for event in sandbox.events():
        assert event["rawData"]["messageId"] not in ids, "an event arrived twice"
        ids.add(event["rawData"]["messageId"])
        counts[event["userId"]] = counts.get(event["userId"], 0) + 1
    return counts
