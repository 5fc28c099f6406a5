"""The examples for frameworks: real servers, real requests; what is queued arrives at the server's end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from programs import LAZY, environment, users

from intilery.testing import Sandbox

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "frameworks"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@contextmanager
def serving(sandbox: Sandbox, tmp_path: Path, *module: str) -> Iterator[str]:
    """Runs a server until the block's end, when SIGTERM must make it end well; gives its address."""
    with subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=EXAMPLES,
        env=environment(sandbox, **LAZY, XDG_RUNTIME_DIR=str(tmp_path), PYTHONDONTWRITEBYTECODE="1"),
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        seen: list[str] = []
        try:
            while not (found := re.search(r"(?:Listening at:|running on) (http://[\w.:]+)", "".join(seen))):
                line = server.stderr.readline()
                assert line, "".join(seen)
                seen.append(line)
            yield found.group(1)
        finally:
            server.send_signal(signal.SIGTERM)
            log = "".join(seen) + server.stderr.read()
        assert server.wait(timeout=20) in (0, -signal.SIGTERM), log  # uvicorn ends by the signal, in the end
        assert "Traceback" not in log, log


def order(url: str, user_id: str, total: float) -> tuple[int, Any]:
    body = json.dumps({"user_id": user_id, "total": total}).encode()
    request = urllib.request.Request(f"{url}/orders", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as answer:
        with answer:
            return answer.code, json.load(answer)


GUNICORN = ("gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:0")


@pytest.mark.parametrize(
    "server",
    [
        ("uvicorn", "--port", "0", "fastapi_app:app"),
        (*GUNICORN, "django_app:application"),
        (*GUNICORN, "flask_app:app"),
    ],
    ids=["fastapi", "django", "flask"],
)
def test_orders_become_events_by_the_servers_end(sandbox: Sandbox, tmp_path: Path, server: tuple[str, ...]) -> None:
    with serving(sandbox, tmp_path, *server) as url:
        for number in range(6):
            assert order(url, f"user-{number}", 30.5) == (200, {"accepted": True})
        assert sandbox.event_count() == 0  # no answer waited for it
    assert users(sandbox) == {f"user-{number}": 1 for number in range(6)}
    assert {event["rawData"]["properties"]["total"] for event in sandbox.events()} == {30.5}


def test_djangos_rolled_back_transaction_sends_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    with serving(sandbox, tmp_path, *GUNICORN, "django_app:application") as url:
        assert order(url, "u", -1) == (422, {"accepted": False})
    assert sandbox.event_count() == 0


def test_a_celery_task_that_runs_twice_is_one_event(sandbox: Sandbox, tmp_path: Path) -> None:
    for folder in ("queue", "control"):
        (tmp_path / folder).mkdir()
    (tmp_path / "celeryconfig.py").write_text(
        "broker_url = 'filesystem://'\n"
        f"broker_transport_options = {{'data_folder_in': '{tmp_path}/queue', 'data_folder_out': '{tmp_path}/queue',"
        f" 'control_folder': '{tmp_path}/control', 'polling_interval': 0.05}}\n"
    )
    env = environment(
        sandbox, **LAZY, PYTHONPATH=os.pathsep.join([str(tmp_path), str(EXAMPLES)]), PYTHONDONTWRITEBYTECODE="1"
    )
    produce = "from celery_tasks import complete_order\nfor order in (1, 2, 2): complete_order.delay(order, 'u', 30.5)"
    subprocess.run([sys.executable, "-c", produce], cwd=tmp_path, env=env, check=True, timeout=30)
    command = [sys.executable, "-m", "celery", "--app", "celery_tasks", "worker", "--concurrency", "2"]
    with subprocess.Popen(
        [*command, "--without-gossip", "--without-mingle", "--loglevel", "INFO"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        seen: list[str] = []
        while sum("succeeded in" in line for line in seen) < 3:
            line = worker.stdout.readline()
            assert line, "".join(seen)
            seen.append(line)
        worker.send_signal(signal.SIGTERM)  # a warm shutdown
        log = "".join(seen) + worker.stdout.read()
        assert worker.wait(timeout=20) == 0, log
    ids = [event["rawData"]["messageId"] for event in sandbox.events()]
    assert sorted(ids) == ["order-1", "order-2", "order-2"], log


LAMBDA = """
import os, sys, time
from lambda_handler import handler

class Context:
    def get_remaining_time_in_millis(self): return float(sys.argv[1])

started = time.monotonic()
assert handler({"user_id": "u", "total": 30.5}, Context()) == {"statusCode": 200}
print(time.monotonic() - started, flush=True)
os._exit(0)  # as hard as a freeze
"""


def call_lambda(sandbox: Sandbox, milliseconds_left: int) -> float:
    env = environment(sandbox, **LAZY, PYTHONPATH=str(EXAMPLES), PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-c", LAMBDA, str(milliseconds_left)]
    return float(subprocess.run(command, env=env, capture_output=True, check=True, timeout=30).stdout)


def test_a_lambda_has_sent_when_it_returns(sandbox: Sandbox) -> None:
    call_lambda(sandbox, 3000)
    assert users(sandbox) == {"u": 1}


def test_a_lambda_returns_in_time_when_the_server_hangs(sandbox: Sandbox) -> None:
    sandbox.set_faults({"hang": True})
    assert 0.15 < call_lambda(sandbox, 400) < 5
