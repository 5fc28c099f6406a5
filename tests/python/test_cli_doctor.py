"""`intilery doctor` and `diagnose()`. What each check finds is tested in tests/core/diagnose_test.cpp."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from programs import environment

import intilery
from intilery.testing import Sandbox

COMMAND = [sys.executable, "-m", "intilery", "doctor"]


def doctor(sandbox: Sandbox, *arguments: str, **more: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(sandbox, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_well_client_is_told_so_without_an_event(sandbox: Sandbox) -> None:
    code, out, err = doctor(sandbox)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "A client would deliver."
    assert sandbox.event_count() == 0
    assert "sandbox-token" not in out
    assert "\x1b" not in out


def test_a_refused_token_is_a_failed_check_with_advice(sandbox: Sandbox) -> None:
    code, out, _ = doctor(sandbox, INTILERY_AUTH_TOKEN="s3cret", INTILERY_CLIENT_ID="HEA")
    assert code == 1
    assert "failed   token" in out
    assert "-> auth_token, client_id (HEA), account_id (hea) and brand_id (HEA) must fit each other" in out
    assert out.splitlines()[-1] == "1 check failed: a client would not deliver, or not as its options ask."
    assert "s3cret" not in out


def test_programs_get_json(sandbox: Sandbox) -> None:
    code, out, _ = doctor(sandbox, "--json")
    report = json.loads(out)
    assert (code, report["ok"], len(report["checks"])) == (0, True, 12)
    assert set(report["checks"][0]) == {"name", "result", "message", "advice"}
    code, out, _ = doctor(sandbox, "--json", INTILERY_FLUSH_AT="many")
    assert (code, json.loads(out)["code"]) == (2, "wrong_type")


def test_a_flag_goes_over_the_environment(sandbox: Sandbox) -> None:
    code, out, _ = doctor(sandbox, "--endpoint", "http://127.0.0.1:1")
    assert code == 1
    assert "failed   connection" in out


def test_diagnose_gives_named_results(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(sandbox).items():
        monkeypatch.setenv(name, value)
    checks = {check.name: check for check in intilery.diagnose()}
    assert checks["token"].result == "ok"
    assert {check.name for check in intilery.diagnose(auth_token="wrong") if check.result == "failed"} == {"token"}
    with pytest.raises(intilery.ConfigurationError, match="did you mean"):
        intilery.diagnose(endpiont="x")  # type: ignore[call-arg]


@contextlib.contextmanager
def server(get: tuple[int, str], post: int) -> Iterator[str]:
    """A server that answers every GET and every POST alike. Its answers have a date, as those of most servers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(*get)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.answer(post, "{}")

        def answer(self, status: int, body: str) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("get", "post", "result", "message"),
    [
        ((200, "[]"), 400, "ok", "may read"),
        ((200, "<html>Log in</html>"), 200, "failed", "something else than Intilery"),
        ((403, "{}"), 400, "warning", "may send, but not read back"),
        ((403, "{}"), 404, "failed", "refused (status 403)"),
        ((404, "{}"), 400, "ok", "has no reading back"),
        ((404, "{}"), 404, "warning", "cannot be seen"),
        ((404, "{}"), 403, "failed", "refused (status 403)"),
        ((429, "{}"), 429, "warning", "the account's rate is used up"),
        ((302, ""), 302, "failed", "redirect"),
        ((503, '{"message": "down"}'), 503, "failed", "in trouble (status 503: down)"),
    ],
)
def test_what_the_service_answers_tells_of_the_token(
    get: tuple[int, str], post: int, result: str, message: str
) -> None:
    with server(get, post) as url:
        checks = intilery.diagnose(client_id="hea", account_id="hea", brand_id="HEA", auth_token="t", endpoint=url)
    found = {check.name: check for check in checks}
    assert (found["token"].result, message in found["token"].message) == (result, True), found["token"]
    assert found["clock"].result == "ok"


def test_few_open_files_are_a_warning(sandbox: Sandbox) -> None:
    ended = subprocess.run(
        ["bash", "-c", 'ulimit -n 60; exec "$@"', "bash", *COMMAND, "--json"],
        env=environment(sandbox),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = {check["name"]: check for check in json.loads(ended.stdout)["checks"]}
    assert (found["open_files"]["result"], "ulimit -n" in found["open_files"]["advice"]) == ("warning", True)


def test_ctrl_c_ends_it_soon(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            COMMAND,
            env=environment(sandbox, INTILERY_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        silent.settimeout(30)
        peer, _ = silent.accept()  # so it waits for the answer now
        with peer:
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_it_wants_none(sandbox: Sandbox, more: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    environ = {**environment(sandbox, TERM="xterm-256color", COLUMNS="80"), **more}
    if not more:
        environ.pop("NO_COLOR", None)
    process = subprocess.Popen(COMMAND, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = b""
    while True:
        try:
            screen += os.read(ours, 65536)
        except OSError:  # the last of it was read
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert (b"\x1b[32m" in screen) is coloured
