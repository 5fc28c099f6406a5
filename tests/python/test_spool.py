"""The spool: what a killed process was told is accepted arrives all the same.

A process is killed a few times here; `make campaign` does it 1,000 times.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from intilery import Client, SpoolError
from intilery.testing import Sandbox

KILLS = 3
ACCOUNT: dict[str, Any] = {"client_id": "hea", "account_id": "hea", "brand_id": "HEA"}

SENDER = """
import os, sys, time
from intilery import Client
first = int(sys.argv[1])
ledger = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
with Client.from_env(rate_limit=1e6, burst=1e6) as client:
    for number in range(first, first + 100_000):
        client.track(f"user-{number % 7}", "Step", {"number": number})
        os.write(ledger, b"%d\\n" % number)
        if number % 20 == 0:
            time.sleep(0.001)  # so that it is killed while sending and acknowledging, too
"""


def environment(sandbox: Sandbox, spool: Path) -> dict[str, str]:
    return {
        **os.environ,
        **{f"INTILERY_{name.upper()}": value for name, value in ACCOUNT.items()},
        "INTILERY_AUTH_TOKEN": "sandbox-token",
        "INTILERY_ENDPOINT": sandbox.url,
        "INTILERY_SPOOL_PATH": str(spool),
    }


def test_every_event_whose_call_returned_arrives_after_kill_9(tmp_path: Path) -> None:
    chance = random.Random(7)
    ledger = tmp_path / "ledger"
    ledger.touch()
    spool = tmp_path / "spool"
    with Sandbox(rate_limit=0) as sandbox:
        first = 0
        for _ in range(KILLS):
            command = [sys.executable, "-c", SENDER, str(first), str(ledger)]
            with subprocess.Popen(command, env=environment(sandbox, spool)) as sender:
                before = ledger.stat().st_size
                while ledger.stat().st_size == before and sender.poll() is None:
                    time.sleep(0.001)
                time.sleep(chance.uniform(0, 0.05))
                sender.kill()
            numbers = ledger.read_text().split()
            first = int(numbers[-1]) + 10  # the next call may have been accepted without the ledger knowing
        accepted = {int(number) for number in ledger.read_text().split()}

        with Client(**ACCOUNT, auth_token="sandbox-token", endpoint=sandbox.url, spool_path=str(spool)) as client:
            assert client.flush(60).remaining == 0
        arrived: dict[int, str] = {}
        last: dict[str, int] = {}
        for event in sandbox.events():
            number, message_id = event["rawData"]["properties"]["number"], event["rawData"]["messageId"]
            if number in arrived:
                assert arrived[number] == message_id, "a second copy must have the same message id"
                continue
            arrived[number] = message_id
            user = event["userId"]
            assert last.get(user, -1) < number, "out of order"
            last[user] = number
        assert accepted <= arrived.keys()
        assert len(arrived) <= len(accepted) + KILLS
        assert list(spool.glob("*.spool")) == []


def test_a_spool_that_cannot_be_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="spool_path") as caught:
        Client(**ACCOUNT, auth_token="t", spool_path=str(tmp_path / "file"))
    assert caught.value.code == "spool_unusable"


def test_a_full_spool_refuses_at_the_call(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        client = sandbox.client(
            auth_token="wrong", spool_path=str(tmp_path), spool_max_bytes=100_000, exit_timeout=0.01
        )
        with pytest.raises(SpoolError, match="not accepted") as caught:
            for _ in range(1000):
                client.track("u", "Step", {"text": "x" * 1000})
        assert caught.value.code == "spool_full"
        left = client.close(timeout=0.01).remaining
        with sandbox.client(spool_path=str(tmp_path)) as following:
            assert following.flush(10).remaining == 0
        assert len(sandbox.events()) == left > 0


FULL_DISK = """
import os, signal, sys
from pathlib import Path
from intilery import Client, SpoolError
ballast = Path(os.environ["INTILERY_SPOOL_PATH"]) / "ballast"
ballast.write_bytes(b"x" * 2_000_000)
client = Client.from_env(auth_token="wrong")
number = 0
with open(sys.argv[1], "w") as ledger:
    for _ in range(2):
        refused = 0
        while refused < 50:
            try:
                client.track("u", "Step", {"number": number, "text": "x" * 1000})
                print(number, file=ledger)
            except SpoolError as error:
                assert error.code == "spool_full", error
                refused += 1
            number += 1
        print("room", file=ledger)
        ballast.unlink(missing_ok=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
REST = """
import sys
from intilery import Client
sys.exit(Client.from_env().close(30).remaining)
"""


def test_a_full_file_system_loses_nothing_that_was_accepted_and_once_it_has_room_goes_on(tmp_path: Path) -> None:
    spool, ledger = tmp_path / "spool", tmp_path / "ledger"
    spool.mkdir()
    mount = 'mount -t tmpfs -o size=4m none "$1" || exit 77; "$2" -c "$3" "$4"; test $? = 137 && "$2" -c "$5"'
    arguments = [str(spool), sys.executable, FULL_DISK, str(ledger), REST]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    with Sandbox(rate_limit=0) as sandbox:
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", *arguments]
        result = subprocess.run(command, env=environment(sandbox, spool), timeout=60, capture_output=True, text=True)
        if not ledger.exists():
            pytest.skip(f"no file system can be mounted here: {result.stderr}")
        assert result.returncode == 0, result.stderr
        before, after, _ = ledger.read_text().split("room")
        assert len(before.split()) > 20
        assert len(after.split()) > 20
        arrived = [str(event["rawData"]["properties"]["number"]) for event in sandbox.events()]
        assert arrived == before.split() + after.split()


def test_a_forked_child_leaves_its_parents_spool_alone(tmp_path: Path) -> None:
    program = """
import os, sys
from intilery import Client
client = Client.from_env()
for _ in range(20):  # the parent's threads write and acknowledge meanwhile
    for number in range(100):
        client.track("u", "Step", {"number": number})
    child = os.fork()
    if child == 0:
        with Client.from_env() as own:
            own.track("child", "Step")
        os._exit(0)
    os.waitpid(child, 0)
sys.exit(client.close(timeout=20).remaining)
"""
    with Sandbox(rate_limit=0) as sandbox:
        subprocess.run([sys.executable, "-c", program], env=environment(sandbox, tmp_path), check=True, timeout=60)
        ids = [event["rawData"]["messageId"] for event in sandbox.events()]
        assert len(ids) == len(set(ids)) == 20 * 101
    assert list(tmp_path.glob("*.spool")) == []
