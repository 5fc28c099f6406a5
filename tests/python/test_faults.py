"""Runs tests/vectors/faults.json (its README says how) through the public client into the sandbox."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from intilery import Client, Delivery, DeliveryError
from intilery.testing import Sandbox

TESTS = Path(__file__).parents[1]
MATRIX = json.loads((TESTS / "vectors" / "faults.json").read_text(encoding="utf-8"))
CASES = {f"{row['name']}_{case}": (row, case) for row in MATRIX["rows"] for case in ("once", "always") if case in row}


def peak_memory() -> int:
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return int(peak[1]) * 1000


def test_an_endless_answer_takes_neither_memory_nor_time(sandbox: Sandbox) -> None:
    sandbox.set_faults({"oversized": 10_000_000_000})
    with sandbox.client(max_retries=3, retry_initial=0.001) as client:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = peak_memory()
        with pytest.raises(DeliveryError, match="gave up after 4 attempts"):
            client.track("u", "E").result(timeout=10)
        assert peak_memory() - before < 30_000_000


# In namespaces of its own, whose only name server never answers.
SILENCE = """
import fcntl, socket, struct, time
from intilery import Client

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(server, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS: the loopback is up
server.bind(("127.0.0.53", 53))
client = Client(client_id="hea", account_id="hea", brand_id="HEA", auth_token="t", endpoint="https://intilery.invalid")
client.track("u", "E")
server.recv(1)
began = time.monotonic()
client.close(timeout=0.1)
print(time.monotonic() - began)
"""


def test_a_silent_name_server_does_not_hold_up_the_end(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    mount = f'mount --bind {tmp_path / "resolv.conf"} /etc/resolv.conf && exec "$0" -c "$1"'
    namespaces = ["unshare", "--map-root-user", "--mount", "--net"]
    if subprocess.run([*namespaces, "sh", "-c", mount, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("namespaces are not allowed here")
    out = subprocess.run([*namespaces, "sh", "-c", mount, sys.executable, SILENCE], check=True, stdout=subprocess.PIPE)
    assert float(out.stdout) < 2


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Future[list[str]]]]:
    """All cases at once: most of them wait."""
    pool = ThreadPoolExecutor(8)
    yield {name: pool.submit(mismatches, *case) for name, case in CASES.items()}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", CASES)
def test_fault(name: str, running: dict[str, Future[list[str]]]) -> None:
    assert running[name].result() == []


def mismatches(row: dict[str, Any], case: str) -> list[str]:
    """What is not as the row says."""
    expected = {**MATRIX[case], **row[case]}
    options = {**MATRIX["options"], **row.get("options", {}), **expected.get("options", {})}
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(rate_limit=0, max_request_bytes=10_000_000))
        elsewhere = stack.enter_context(Sandbox())
        options.update(set_up(row.get("setup", ""), sandbox, stack))
        sandbox.set_faults(*rules(row.get("fault"), case, expected.get("for"), elsewhere.url))
        client = stack.enter_context(sandbox.client(**options))
        unlucky = client.track("unlucky", "E", {"filler": "x" * row.get("bytes", 0)})
        neighbour = client.page("lucky", {"path": "/"})
        wrong = ledger(client, accepted=2)
        if "close" in expected:
            client.close(timeout=expected["close"])
        fate, neighbours_fate = fate_of(unlucky), fate_of(neighbour)
        client.close(timeout=10)
        wrong += ledger(client, accepted=2, queued=0)
        if elsewhere.requests():
            wrong.append("the redirect was followed")
        if "fault" not in row and "error" in expected and sandbox.requests():
            wrong.append("a request was sent")
        ids = [event["rawData"]["messageId"] for event in sandbox.events()]
        moments = [request.received_ms for request in sandbox.requests() if b'"unlucky"' in request.body]

    for member in ("error", "reason", "arrived", "status"):
        if fate.get(member) != (wanted := expected.get(member) if "error" in expected else None):
            wrong.append(f"{member} is {fate.get(member)}, not {wanted}: {fate}")
    wrong += not_within("attempts", fate["attempts"], expected["attempts"])
    wrong += not_within("copies", ids.count(unlucky.message_id), expected["stored"])
    if "pause" in expected:
        wrong += not_within("seconds between the attempts", (moments[1] - moments[0]) / 1000, expected["pause"])
    shares = expected.get("neighbour") == "shares"
    if neighbours_fate.get("reason") != (fate.get("reason") if shares else None):
        wrong.append(f"the neighbour: {neighbours_fate}")
    return wrong


def rules(fault: dict[str, Any] | None, case: str, scope: str | None, elsewhere: str) -> list[dict[str, Any]]:
    if fault is None:
        return []
    places = {"{target}": elsewhere, "{in 2 s}": formatdate(time.time() + 2, usegmt=True)}
    headers = {name: places.get(value, value) for name, value in fault.get("headers", {}).items()}
    rule = {**fault, "headers": headers}
    if case == "once":
        rule["times"] = 1
    if scope != "everyone":
        rule["user_id"] = "unlucky"
    return [rule]


def set_up(kind: str, sandbox: Sandbox, stack: ExitStack) -> dict[str, str]:
    """The options that lead a client into trouble."""
    if kind == "dns":
        return {"endpoint": "https://intilery.invalid"}
    if kind == "refused":
        return {"endpoint": "http://127.0.0.1:1"}  # nobody's, unlike a free port, which other tests may get
    if kind == "tls_none":
        return {"endpoint": sandbox.url.replace("http:", "https:")}
    if kind.startswith("tls"):
        command = [sys.executable, str(TESTS / "tls_server.py"), kind, str(sandbox.port)]
        server = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        return {"endpoint": told["url"], "ca_file": told["ca_file"]}
    assert kind in ("", "redirect")
    return {}


def fate_of(delivery: Delivery) -> dict[str, Any]:
    try:
        return {"attempts": delivery.result(timeout=20).attempts}
    except DeliveryError as error:
        assert error.message_id == delivery.message_id
        members = {name: getattr(error, name) for name in ("reason", "arrived", "status", "attempts", "body")}
        return {"error": type(error).__name__, "message": str(error), **members}


def ledger(client: Client, accepted: int, queued: int | None = None) -> list[str]:
    stats = client.stats()
    holds = stats.accepted == accepted == stats.delivered + stats.failed + stats.queued
    return [] if holds and queued in (None, stats.queued) else [f"the ledger does not hold: {stats}"]


def not_within(what: str, value: float, bounds: list[float]) -> list[str]:
    return [] if bounds[0] <= value <= bounds[1] else [f"{what}: {value}, not within {bounds}"]
