"""Real gunicorn and Celery: every event arrives, none twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from programs import LAZY, environment, users

from intilery.testing import Sandbox

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

APP = """
import os, time
from intilery import Client

client = Client.from_env()
client.track("master", "Started")

def app(environ, start_response):
    time.sleep(0.005)  # so that every worker gets its share
    client.track(f"worker-{os.getpid()}", "Request", {"path": environ["PATH_INFO"]})
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_gunicorn_with_preload_loses_nothing(sandbox: Sandbox, tmp_path: Path, worker: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "4", "-k", worker, "-b", "127.0.0.1:0", "app:app"]
    with subprocess.Popen(
        [*command, "--threads", "4" if worker == "gthread" else "1"],
        cwd=tmp_path,
        env=environment(sandbox, **LAZY, XDG_RUNTIME_DIR=str(tmp_path)),
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        seen: list[str] = []
        while not (listening := re.search(r"Listening at: (http://\S+)", "".join(seen))):
            line = server.stderr.readline()
            assert line, "".join(seen)
            seen.append(line)

        def get(number: int) -> str:
            with urllib.request.urlopen(f"{listening.group(1)}/{number}", timeout=10) as answer:
                return str(answer.read().decode())

        answers: Counter[str] = Counter()
        with ThreadPoolExecutor(8) as pool:
            deadline = time.monotonic() + 20
            while len(answers) < 4 and time.monotonic() < deadline:
                answers.update(pool.map(get, range(100)))
        server.send_signal(signal.SIGTERM)
        log = "".join(seen) + server.stderr.read()
        assert server.wait(timeout=20) == 0, log
    assert "Traceback" not in log, log
    assert len(answers) == 4
    assert users(sandbox) == {"master": 1, **{f"worker-{worker}": count for worker, count in answers.items()}}


TASKS = """
import os
from celery import Celery
from intilery import Client

folder = os.environ["TEST_FOLDER"]
app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": f"{folder}/queue", "data_folder_out": f"{folder}/queue", "control_folder": f"{folder}/control",
    "polling_interval": 0.05}
client = Client.from_env()
client.track("master", "Started")

@app.task
def order(number):
    client.track("worker", "Order Completed", {"number": number, "process": os.getpid()})
    with open(f"{folder}/ledger", "a") as ledger:
        ledger.write(f"{number}\\n")
"""


def test_celerys_prefork_pool_loses_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    ledger = tmp_path / "ledger"
    ledger.touch()
    for folder in ("queue", "control"):
        (tmp_path / folder).mkdir()
    env = environment(sandbox, TEST_FOLDER=str(tmp_path), **LAZY)
    tasks = 60
    produce = f"from tasks import order\nfor number in range({tasks}): order.delay(number)"
    subprocess.run([sys.executable, "-c", produce], cwd=tmp_path, env=env, check=True, timeout=30)
    sandbox.clear()  # the producer had a client, too
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", "4"]
    with subprocess.Popen(
        [*command, "--max-tasks-per-child", "10", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        deadline = time.monotonic() + 30
        while len(ledger.read_text().split()) < tasks and worker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)  # a warm shutdown
        log = worker.stdout.read()
        assert worker.wait(timeout=20) == 0, log
    assert "Traceback" not in log, log
    assert users(sandbox) == {"master": 1, "worker": tasks}
    events = [event["rawData"]["properties"] for event in sandbox.events() if event["userId"] == "worker"]
    assert sorted(event["number"] for event in events) == list(range(tasks))
    assert len({event["process"] for event in events}) >= 4
