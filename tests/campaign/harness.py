"""Starts the strict server and the senders, each a process of its own, and judges what they say afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SENDERS: dict[str, list[str]] = {
    "python": [sys.executable, str(HERE / "sender.py")],
    # V8 doubles its young generation as time goes by. Kept small, memory tells of the client.
    "node": ["node", "--max-semi-space-size=2", str(HERE / "sender.mjs")],
    "cpp": [str(ROOT / "build/cmake/tests/core/intilery_campaign_sender")],
}


class StrictServer:
    """The strict server, until the `with` ends; `report()` stops it and says what it saw."""

    def __init__(self, **options: str | float | list[str]) -> None:
        self._command = [sys.executable, str(HERE / "strict_server.py")]
        for name, value in options.items():
            self._command += [f"--{name}", *(value if isinstance(value, list) else [str(value)])]
        self.port = 0
        self.start()

    def start(self) -> None:
        """Starts it, again if it was killed: on the same port."""
        command = [*self._command, "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """Ends it with SIGKILL. Only with a journal does it know afterwards what it was sent."""
        self._process.kill()
        self._process.communicate()

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def report(self) -> dict[str, Any]:
        out, _ = self._process.communicate(timeout=60)
        report: dict[str, Any] = json.loads(out)
        return report

    def __enter__(self) -> StrictServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.__exit__(kind, error, trace)


def client_environment(port: int, options: dict[str, object]) -> dict[str, str]:
    """The environment of a program whose client has these options."""
    settings = {
        "client_id": "hea",
        "account_id": "hea",
        "brand_id": "HEA",
        "auth_token": "strict-token",
        "endpoint": f"http://127.0.0.1:{port}",
        **options,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INTILERY_")}
    environment.update((f"INTILERY_{name.upper()}", str(value)) for name, value in settings.items())
    return environment


def start_sender(
    language: str, port: int, options: dict[str, object], *, events: int, users: int, rate: int = 0, ids: str = "-"
) -> subprocess.Popen[str]:
    """Starts a sender whose client has these options."""
    command = [*SENDERS[language], str(events), str(users), str(rate), ids]
    return subprocess.Popen(command, env=client_environment(port, options), stdout=subprocess.PIPE, text=True)


def judge(events: int, sent: dict[str, Any], seen: dict[str, Any]) -> list[str]:
    """What is wrong between a sender's own account and the server's: nothing, if all is well."""
    wrong = [f"{count} x {kind}" for kind, count in seen["violations"].items()]
    wrong += seen["examples"]
    if len(seen["ids"]) != events:
        wrong.append(f"{len(seen['ids'])} of {events} events arrived")
    if seen["copies"] - events != seen["lost"]:
        wrong.append(f"{seen['lost']} acknowledgements were lost, and {seen['copies'] - events} events came again")
    if sent["accepted"] != sent["delivered"] + sent["failed"] + sent["queued"]:
        wrong.append(f"accepted is not delivered + failed + queued: {sent}")
    if sent["delivered"] != events or sent["receipts"] != {"delivered": events, "failed": 0}:
        wrong.append(f"the sender does not say that all {events} were delivered: {sent}")
    # libcurl itself may begin again what broke before its body left; the server has read no more than the head of it.
    counted, begun = sum(sent["requests"].values()), sum(seen["requests"].values())
    if not begun - seen["unread"] <= counted <= begun:
        wrong.append(f"the sender counted {counted} requests, the server {begun}, {seen['unread']} of them unread")
    return wrong
