"""`intilery spool …`, as programs of their own beside living and dead clients."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import environment
from programs import start as start_program

from intilery.testing import Sandbox

LEAVE = """
client = Client.from_env(auth_token="wrong", spool_path="spool", exit_timeout=0.001)
client.track("u1", "Secret", {"card": "4111"})
client.track("u2", "Secret")
"""


pytestmark = [pytest.mark.usefixtures("in_its_own_folder"), pytest.mark.sandbox(rate_limit=0)]


def spool(sandbox: Sandbox, *arguments: str, given: str = "") -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "intilery", "spool", *arguments],
        env=environment(sandbox),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def status(sandbox: Sandbox) -> dict[str, Any]:
    code, out, err = spool(sandbox, "status", "spool", "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def leave(sandbox: Sandbox) -> None:
    """Two events of a client that was killed."""
    process = start_program(sandbox, LEAVE + "\nos.kill(os.getpid(), signal.SIGKILL)")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def bury(sandbox: Sandbox, *users: str) -> None:
    sandbox.set_faults({"status": 400})
    with sandbox.client(spool_path="spool") as client:
        for user in users:
            client.track(user, "Secret", {"card": "4111"}, message_id=f"id-{user}").exception(timeout=20)  # in order
    sandbox.set_faults()
    sandbox.clear()


@contextlib.contextmanager
def neighbour_of(sandbox: Sandbox) -> Iterator[subprocess.Popen[str]]:
    """A living client with two events that wait."""
    process = start_program(sandbox, LEAVE + "\nprint('ready', flush=True)\nsignal.pause()")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_status_tells_of_the_living_the_dead_and_the_failed_and_shows_no_content(sandbox: Sandbox) -> None:
    bury(sandbox, "a", "b")
    with neighbour_of(sandbox) as neighbour:
        leave(sandbox)
        Path("spool", "x.spool.damaged").write_bytes(b"broken")
        code, out, err = spool(sandbox, "status", "spool")
        assert neighbour.poll() is None
    assert (code, err) == (0, "")
    assert out.startswith("spool: 4 events wait, ")
    assert f"\nhea/hea/HEA at {sandbox.url}:\n" in out
    assert re.search(rf"^  2 .* pid {neighbour.pid} ", out, re.MULTILINE)
    assert re.search(r"^  2 .* gone ", out, re.MULTILINE)
    assert re.search(r"^  2 +rejected$", out, re.MULTILINE)
    assert "x.spool.damaged" in out
    assert "the next client of its account takes over" in out
    assert "4111" not in out


def test_retried_letters_go_with_the_next_client(sandbox: Sandbox) -> None:
    bury(sandbox, "a", "b", "c")
    assert spool(sandbox, "retry", "spool", "--user-id", "a")[1].startswith("1 event waits again")
    code, out, _ = spool(sandbox, "retry", "spool", "--reason", "rejected", "--json")
    assert (code, json.loads(out)) == (0, {"retried": 2, "unknown_account": 0})
    sandbox.client(spool_path="spool").close(timeout=20)
    assert sorted(event["rawData"]["messageId"] for event in sandbox.events()) == ["id-a", "id-b", "id-c"]


def test_export_gives_lines_of_json_to_a_private_file_or_the_output(sandbox: Sandbox) -> None:
    bury(sandbox, "a", "b")
    leave(sandbox)
    assert spool(sandbox, "export", "spool", "--output", "letters.ndjson", "--message-id", "id-b")[0] == 0
    (line,) = Path("letters.ndjson").read_text().splitlines()
    letter = json.loads(line)
    assert (letter["event"]["userId"], letter["brand"], letter["reason"]) == ("b", "HEA", "rejected")
    assert Path("letters.ndjson").stat().st_mode & 0o777 == 0o600
    code, out, _ = spool(sandbox, "export", "spool", "--waiting")
    users = [json.loads(line)["event"]["userId"] for line in out.splitlines()]
    assert (code, users) == (0, ["u1", "u2", "a", "b"])
    code, _, err = spool(sandbox, "export", "spool", "--waiting", "--reason", "rejected")
    assert (code, err.count("--waiting is for all")) == (2, 1)


def test_purge_asks_and_leaves_what_waits_and_what_a_living_client_has(sandbox: Sandbox) -> None:
    bury(sandbox, "a")
    with neighbour_of(sandbox) as neighbour:
        leave(sandbox)
        code, _, err = spool(sandbox, "purge", "spool")
        assert (code, err) == (2, "intilery spool purge: nobody is here to be asked: give --yes\n")
        assert spool(sandbox, "purge", "spool", "--yes")[:2] == (0, "deleted: 1 dead letter\n")
        assert sum(file["events"] for file in status(sandbox)["files"]) == 4
        code, out, err = spool(sandbox, "purge", "spool", "--yes", "--waiting")
        assert (code, out) == (1, "deleted: 0 dead letters, 2 events that waited\n")
        assert f"process {neighbour.pid} has " in err
        (file,) = status(sandbox)["files"]
        assert (file["pid"], file["events"]) == (neighbour.pid, 2)


def test_a_folder_that_is_not_there_is_told_in_words_and_in_json(sandbox: Sandbox) -> None:
    assert spool(sandbox, "status", "nowhere") == (
        2,
        "",
        "intilery spool status: nowhere is no folder: No such file or directory\n",
    )
    code, out, _ = spool(sandbox, "retry", "nowhere", "--json")
    assert (code, json.loads(out)["code"]) == (2, "spool_unusable")


def test_the_folder_may_come_from_the_environment(sandbox: Sandbox) -> None:
    bury(sandbox, "a")
    ended = subprocess.run(
        [sys.executable, "-m", "intilery", "spool", "status"],
        env={**os.environ, "INTILERY_SPOOL_PATH": "spool"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "1 dead letter," in ended.stdout
