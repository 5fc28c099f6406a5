"""Programs for Segment's Python client, on Segment's and on ours."""

from __future__ import annotations

import http.server
import importlib
import inspect
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from intilery import ConfigurationError, DeliveryError, ValidationError
from intilery.compat import segment
from intilery.testing import Sandbox

PROGRAMS = Path(__file__).parents[1] / "compat"
CALLS = json.loads((PROGRAMS / "calls.json").read_text())
KEYS = json.loads((PROGRAMS / "keys.json").read_text())
KEY = "hea/hea/HEA:sandbox-token"
Message = dict[str, Any]
peer = importlib.import_module("segment.analytics")  # so that mypy does not look for its types


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("INTILERY_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(segment, "_warned", set())


@pytest.fixture
def segments_messages() -> Iterator[tuple[str, list[Message]]]:
    """The address of a server that takes Segment's batches, and what came in them."""
    messages: list[Message] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["batch"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"success": true}')

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", messages
        server.shutdown()
        thread.join()


def run(program: str, folder: Path, **environment: str) -> list[str]:
    """The lines that it printed."""
    (folder / "program.py").write_text(program)
    ended = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def of_segment(message: Message) -> Message:
    """A message of Segment's as Intilery is to have it."""
    kept = {name: value for name, value in message.items() if value is not None}
    action, category = kept.pop("type"), kept.pop("category", None)
    kept.pop("integrations")
    for name, value in (("category", category), ("name", kept.pop("name", None) if action == "page" else None)):
        if value is not None:
            kept["properties"] = {**kept["properties"], name: value}
    return comparable({**kept, "action": action})


def comparable(message: Message) -> Message:
    """Without what two runs cannot have in common; times in one form."""
    kept = dict(message)
    if kept["action"] != "track":
        kept.pop("event", None)
    kept["context"] = {name: value for name, value in kept["context"].items() if name != "library"}
    if not kept["messageId"].startswith("order-"):
        del kept["messageId"]
    if not kept["timestamp"].startswith("2024-"):
        del kept["timestamp"]
    kept.pop("sentAt", None)

    def one_form(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: one_form(member) for name, member in value.items()}
        if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
            return datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(timezone.utc).isoformat()
        return value

    one: Message = one_form(kept)
    return one


def ordered(messages: list[Message]) -> list[Message]:
    return sorted(messages, key=lambda message: json.dumps(message, sort_keys=True))


@pytest.mark.parametrize("name", ["signup.py", "orders.py"])
def test_a_program_for_segments_client_runs_with_the_import_and_key_changed(
    sandbox: Sandbox, tmp_path: Path, name: str, segments_messages: tuple[str, list[Message]]
) -> None:
    program = (PROGRAMS / name).read_text()
    ours, changed = re.subn(r"\bsegment\.analytics\b", "intilery.compat.segment", program)
    assert changed == 1  # the import

    host, theirs = segments_messages
    said = run(program, tmp_path, SEGMENT_WRITE_KEY="a-segment-key", SEGMENT_HOST=host)
    assert run(ours, tmp_path, SEGMENT_WRITE_KEY=KEY, INTILERY_ENDPOINT=sandbox.url) == said

    arrived = [comparable(event["rawData"]) for event in sandbox.events()]
    assert len(arrived) in (7, 120)
    assert ordered(arrived) == ordered([of_segment(message) for message in theirs])


METHODS = ["identify", "track", "page", "screen", "alias", "flush", "join", "shutdown"]


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_the_arguments_are_segments_in_segments_order(name: str) -> None:
    theirs = list(inspect.signature(getattr(peer.Client, name)).parameters)
    assert list(inspect.signature(getattr(segment.Client, name)).parameters)[: len(theirs)] == theirs


def test_the_module_has_what_segments_has_and_the_page_tells_of_every_option() -> None:
    mine = set(vars(segment))
    theirs = {name for name, value in vars(peer).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert theirs - mine == set()
    page = (PROGRAMS.parents[1] / "docs" / "migration.md").read_text()
    options = [name for name in inspect.signature(peer.Client).parameters if not name.startswith("oauth_")]
    assert [name for name in options if f"`{name}" not in page] == ["write_key"]


@pytest.mark.parametrize("vector", CALLS, ids=lambda vector: f"{vector['call']}-{len(str(vector))}")
def test_each_call_sends_what_is_written_for_both_languages(sandbox: Sandbox, vector: Message) -> None:
    arguments = {re.sub("([A-Z])", r"_\1", name).lower(): value for name, value in vector["arguments"].items()}
    client = segment.Client(KEY, host=sandbox.url)
    call = getattr(client, vector["call"])
    if "refused" in vector:
        with pytest.raises(ValidationError) as raised:
            call(**arguments)
        assert raised.value.code == vector["refused"]
        client.join()
        assert sandbox.event_count() == 0
        return
    accepted, message = call(**arguments)
    client.join()
    assert accepted
    (event,) = sandbox.events()
    sent = event["rawData"]
    assert message["messageId"] == sent["messageId"]
    wanted = vector["sends"]
    context = {name: value for name, value in sent["context"].items() if name != "library"}
    for name in {"timestamp", "sentAt", "context", "messageId", "event"} - wanted.keys():
        sent.pop(name, None)
    if "context" in wanted:
        sent["context"] = context
    assert sent == wanted


@pytest.mark.parametrize("vector", KEYS["keys"], ids=lambda vector: str(vector["key"]))
def test_a_key_says_who_is_sending(monkeypatch: pytest.MonkeyPatch, vector: Message) -> None:
    env = {"CLIENT_ID": "env", "ACCOUNT_ID": "env", "BRAND_ID": "ENV", "AUTH_TOKEN": "env-token"}
    for name, value in env.items():
        monkeypatch.setenv(f"INTILERY_{name}", value)
    client, account, brand = vector["path"].split("/")[2:5]
    with Sandbox(client_id=client, account_id=account, brand_ids=[brand], token=vector["token"]) as sandbox:
        monkeypatch.setenv("INTILERY_ENDPOINT", sandbox.url)
        analytics = segment.Client(vector["key"])
        analytics.track("u", "E")
        analytics.shutdown()
        (request,) = sandbox.requests()
        assert (request.path, request.status) == (vector["path"], 200)


@pytest.mark.parametrize(
    "key", ["s3cret-segment-key", "hea/HEA:s3cret", "//:s3cret", "hea/hea/HEA:", "", "a/b/C:s3cret\n"]
)
def test_a_key_that_says_too_little_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        segment.Client(key)
    assert raised.value.option in ("write_key", "auth_token")
    assert "s3cret" not in f"{raised.value} {raised.value!r} {raised.value.__cause__}"


def test_segments_own_hosts_are_ignored_and_others_are_the_endpoint(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INTILERY_ENDPOINT", sandbox.url)
    for host in KEYS["segments_own_hosts"]:
        client = segment.Client(KEY, host)
        client.track("u", "E", {"host": host})
        client.shutdown()
    assert sandbox.event_count() == len(KEYS["segments_own_hosts"])
    assert len(caplog.messages) == 1
    assert "host is ignored" in caplog.text
    assert [host for host in KEYS["other_hosts"] if segment._SEGMENTS_OWN.search(host)] == []


def test_options_without_a_meaning_warn_once_and_say_why(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        client = segment.Client(KEY, sandbox.url, gzip=True, thread=2, oauth_scope="x", max_queue_size=5)
        client.track("u", "E", integrations={"All": False})
        client.shutdown()
    assert sorted(line.split(": ")[1] for line in caplog.messages) == [
        "gzip is ignored",
        "integrations are ignored",
        "max_queue_size is ignored",
        "oauth_scope is ignored",
        "thread is ignored",
    ]


def test_options_with_a_counterpart_work_and_unknown_ones_are_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigurationError, match="request_timeout"):
        segment.Client(KEY, sandbox.url, timeout=-1)
    with pytest.raises(ConfigurationError, match="flush_at"):
        segment.Client(KEY, sandbox.url, upload_size=0)
    with pytest.raises(ConfigurationError, match="uplod_size"):
        segment.Client(KEY, sandbox.url, uplod_size=5)
    sandbox.set_faults({"status": 503})
    failed: list[str] = []
    client = segment.Client(
        KEY, sandbox.url, max_retries=1, retry_initial=0.001, on_error=lambda error, _: failed.append(error.code)
    )
    client.track("u", "E")
    client.flush()
    client.shutdown()
    assert failed == ["retries_exhausted"]
    assert [request.status for request in sandbox.requests()] == [503, 503]


def test_proxies_are_chosen_by_the_endpoints_scheme(sandbox: Sandbox) -> None:
    proxies = {"http": sandbox.url, "https": "http://127.0.0.1:1"}
    client = segment.Client(KEY, "http://127.0.0.1:9", proxies=proxies, delivery_timeout=5)
    client.track("u", "E")
    client.shutdown()
    (request,) = sandbox.requests()
    assert request.path.startswith("http://127.0.0.1:9/")


def test_a_failed_event_is_told_with_its_message(sandbox: Sandbox) -> None:
    sandbox.set_faults({"status": 400})
    told: list[tuple[Exception, list[Message]]] = []
    client = segment.Client(KEY, sandbox.url, on_error=lambda error, batch: told.append((error, batch)))
    _, message = client.track("u", "E")
    client.shutdown()
    ((error, batch),) = told
    assert isinstance(error, DeliveryError)
    assert batch == [message]


def test_in_sync_mode_a_call_waits_and_raises(sandbox: Sandbox) -> None:
    client = segment.Client(KEY, sandbox.url, sync_mode=True)
    client.track("u", "E")
    assert sandbox.event_count() == 1
    sandbox.set_faults({"status": 400})
    with pytest.raises(DeliveryError):
        client.track("u", "E")
    client.shutdown()


def test_without_send_nothing_is_sent(sandbox: Sandbox) -> None:
    client = segment.Client(KEY, sandbox.url, send=False)
    assert client.track("u", "E")[0]
    client.shutdown()
    assert sandbox.requests() == []


def test_what_does_not_fit_or_comes_too_late_is_not_accepted_and_says_so(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.set_faults({"hang": True})
    told: list[str] = []
    client = segment.Client(
        KEY, sandbox.url, max_queue_bytes=1000, on_error=lambda error, _: told.append(error.code), request_timeout=60
    )
    accepted = [client.track("u", "E", {"text": "x" * 500})[0] for _ in range(3)]
    assert accepted == [True, False, False]
    assert told == ["queue_full"] * 2
    client._client.close(timeout=0)
    client.on_error = None
    assert client.track("u", "E")[0] is False
    assert "not accepted (closed)" in caplog.text


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_the_call_is_read_as_segments_client_reads_it(sandbox: Sandbox) -> None:
    now = datetime.now()
    utc = timezone.utc
    moments = [
        (datetime(2024, 7, 5, 11), datetime(2024, 7, 5, 11, tzinfo=utc)),
        (datetime(2024, 7, 5, 11, tzinfo=timezone(timedelta(hours=2))), datetime(2024, 7, 5, 9, tzinfo=utc)),
        (now, now.astimezone()),
    ]
    client = segment.Client(KEY, sandbox.url)
    for given, _ in moments:
        client.track(1, "E", {"set": {1}, "bytes": b"text"}, timestamp=given)
    with pytest.raises(ValidationError, match="object, which has no JSON form"):
        client.track("u", "E", {"odd": object()})
    client.shutdown()
    sent = [event["rawData"] for event in sandbox.events()]
    for message, (_, wanted) in zip(sent, moments):
        arrived = datetime.fromisoformat(message["timestamp"].replace("Z", "+00:00"))
        assert abs(arrived - wanted) < timedelta(milliseconds=1)
        assert (message["userId"], message["properties"]) == ("1", {"set": [1], "bytes": "text"})


def test_the_environment_may_forbid_anonymous_events(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTILERY_ALLOW_ANONYMOUS", "false")
    client = segment.Client(KEY, sandbox.url)
    with pytest.raises(ValidationError, match="allow_anonymous"):
        client.track(anonymous_id="a", event="E")
    client.shutdown()


def test_debug_shows_the_log_to_the_handler(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("intilery"), Handler()
    level = logger.level
    try:
        client = segment.Client(KEY, sandbox.url, debug=True, log_handler=handler)
        client.track("u", "E")
        client.shutdown()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert any("POST" in line for line in lines)
    assert not any("sandbox-token" in line for line in lines)
