"""What docs/security.md claims: real sockets, real TLS, real processes. The core's own part is in security_test.cpp."""

from __future__ import annotations

import ast
import contextlib
import gzip
import importlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from programs import environment, start

from intilery import AuthError, Client, ConfigurationError, DeliveryError
from intilery.testing import Sandbox

ROOT = Path(__file__).parents[2]
TOKEN = "t0p/secret+token"
ACCOUNT = {"client_id": "hea", "account_id": "hea", "brand_id": "HEA"}
HOSTILE = "\x1b]0;owned\x07\u202e\r\nend"

pytestmark = pytest.mark.sandbox(rate_limit=0)


def names_of_all_tests() -> set[str]:
    names = set()
    for path in (ROOT / "tests" / "python").glob("test_*.py"):
        names |= {f"{path.name}::{name}" for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.M)}
    for path in (ROOT / "tests" / "core").glob("*_test.cpp"):
        names |= {
            f"{path.name}::{group}.{name}"
            for group, name in re.findall(r"^TEST\w*\((\w+), (\w+)\)", path.read_text(), re.M)
        }
    for path in (ROOT / "tests" / "node").glob("*.test.mjs"):
        names |= {f"{path.name}::{name}" for name in re.findall(r"^\s*test\(\s*'(.+?)'", path.read_text(), re.M)}
    return names


def test_every_claim_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("\n## Claims\n")[2]
    claims = re.findall(r"^\| (?!claim \||---)(.+?) \| (.+?) \|$", text, re.M)
    assert len(claims) > 40
    there = names_of_all_tests()
    for claim, tests in claims:
        named = re.findall(r"`([^`]+)`", tests)
        assert named, f"no test holds: {claim}"
        for name in named:
            assert name in there, f"{name} is no test; it is to hold: {claim}"


@contextlib.contextmanager
def server(answer: Callable[[socket.socket, bytes], None]) -> Iterator[tuple[int, list[bytes]]]:
    """Reads what a connection begins with, up to an empty line or 500 bytes of no text, and lets `answer` go on."""
    heads: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            head = b""
            while b"\r\n\r\n" not in head and not (head[:1] == b"\x16" and len(head) >= 200):
                more = connection.recv(65536)
                if not more:
                    break
                head += more
            heads.append(head)
            answer(connection, head)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1], heads
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def close(_connection: socket.socket, _head: bytes) -> None:
    pass


def failure(**options: Any) -> str:
    """All that a client that cannot deliver shows of it."""
    given: dict[str, Any] = {**ACCOUNT, "auth_token": TOKEN, "max_retries": 0, "delivery_timeout": 5, **options}
    with Client(**given) as client:
        error = client.track("u", "E").exception(timeout=20)
        assert error is not None
        return str(error) + repr(error) + str(getattr(error, "body", "")) + repr(client) + str(client.stats())


# The token.


@pytest.mark.parametrize("status", [200, 400, 403, 404, 413, 500, 503])
def test_a_token_that_the_server_repeats_is_hidden(
    sandbox: Sandbox, status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.set_token(TOKEN)
    message = f"{TOKEN} is no good, {TOKEN.replace('/', '%2F')} neither"
    sandbox.set_faults({"status": status, "body": {"success": False, "message": message, "again": TOKEN}})
    caplog.set_level(logging.DEBUG, "intilery")
    options: dict[str, Any] = {"auth_token": TOKEN, "max_retries": 0, "spool_path": str(tmp_path / "spool")}
    with sandbox.client(**options, debug=True) as client:
        delivery = client.track("u", "E")
        client.flush(timeout=1 if status == 403 else 10)
        client.close(timeout=0)
        error = delivery.exception(timeout=5)
    assert error is not None
    shown = f"{error}{error!r}{getattr(error, 'body', '')}{caplog.text}"
    assert "[redacted] is no good, [redacted] neither" in shown or status in (404, 500, 503)
    assert "secret" not in shown
    for file in (tmp_path / "spool").iterdir():
        assert b"secret" not in file.read_bytes()


@pytest.mark.parametrize("status", [400, 403])
def test_a_token_that_the_server_repeats_while_reading_is_hidden(sandbox: Sandbox, status: int) -> None:
    sandbox.set_faults({"action": "profiles", "status": status, "body": {"message": f"{TOKEN} is no good"}})
    with sandbox.client(auth_token=TOKEN) as client, pytest.raises((DeliveryError, AuthError)) as caught:
        list(client.events("u", timeout=10))
    assert "[redacted] is no good" in str(caught.value)
    assert "secret" not in f"{caught.value!r}{getattr(caught.value, 'body', '')}"


def test_the_token_is_in_no_file(sandbox: Sandbox, tmp_path: Path) -> None:
    code = f"""
    client = Client.from_env(auth_token={TOKEN!r}, spool_path={str(tmp_path / "spool")!r})
    client.send_many(
        [{{"user_id": "u", "event": "E", "n": n}} for n in range(3)] + [{{"event": "no user"}}],
        source_id="s", rejects={str(tmp_path / "rejects")!r}, checkpoint={str(tmp_path / "checkpoint")!r},
    )
    client.track("u", "Left")
    os.kill(os.getpid(), signal.SIGKILL)
    """
    sandbox.set_token(TOKEN)
    sandbox.set_faults({"status": 400, "after": 1})
    process = start(sandbox, code, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, out + err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"rejects", "checkpoint", "dead_letters.sqlite"} <= {path.name for path in files}
    for path in files:
        assert b"secret" not in path.read_bytes(), path
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_command_takes_the_token_as_an_argument() -> None:
    from typer.main import get_command

    from intilery._cli import app

    def flags(command: Any) -> Iterator[str]:
        for parameter in command.params:
            yield from parameter.opts
        for inner in getattr(command, "commands", {}).values():
            yield from flags(inner)

    found = list(flags(get_command(app)))
    assert "--brand-id" in found
    assert not [flag for flag in found if "token" in flag]


def test_the_token_is_not_in_the_process_list(sandbox: Sandbox) -> None:
    ask = """
    client = Client.from_env()
    client.track("u", "E").result(10)
    with open("/proc/self/cmdline", "rb") as line, open("/proc/self/comm", "rb") as name:
        shown = line.read() + name.read()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm", "rb") as name:
            shown += name.read()
    assert b"sandbox-token" not in shown
    """
    # By a file, for the program's own text would be in its command line.
    process = subprocess.run(
        [sys.executable, "-"], input="import os\nfrom intilery import Client\n" + textwrap.dedent(ask),
        env=environment(sandbox), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr


def test_the_sandbox_keeps_no_token(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        client.track("u", "E").result(timeout=10)
    assert "sandbox-token" not in str(sandbox.requests())
    for path in ("live", "requests/0"):
        with urllib.request.urlopen(f"{sandbox.url}/sandbox/{path}", timeout=10) as answer:
            assert b"sandbox-token" not in answer.read()


def test_a_file_called_env_is_not_read(sandbox: Sandbox, tmp_path: Path) -> None:
    for name in (".env", ".intilery", "intilery.yaml", ".netrc"):
        (tmp_path / name).write_text("INTILERY_AUTH_TOKEN=sandbox-token\nmachine 127.0.0.1 login a password b\n")
    given = environment(sandbox, HOME=str(tmp_path))
    given.pop("INTILERY_AUTH_TOKEN")
    code = "from intilery import Client; Client.from_env()"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert "ConfigurationError: auth_token is required" in ended.stderr


# TLS.


@contextlib.contextmanager
def tls_server(kind: str, port: int) -> Iterator[tuple[str, str]]:
    """Its address and the file of its authority's certificate: tests/tls_server.py."""
    command = [sys.executable, str(ROOT / "tests" / "tls_server.py"), kind, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield told["url"], told["ca_file"]
        process.stdin.close()


def offered(hello: bytes) -> list[int]:
    """The versions in a ClientHello's extension `supported_versions`."""
    at = hello.index(b"\x00\x2b", 43)
    size = hello[at + 4]
    return [int.from_bytes(hello[at + 5 + i : at + 7 + i], "big") for i in range(0, size, 2)]


def test_nothing_older_than_tls_1_2_is_offered() -> None:
    with server(close) as (port, heads):
        failure(endpoint=f"https://localhost:{port}")
    assert offered(heads[0]) == [0x0304, 0x0303]


@pytest.mark.parametrize("kind", ["tls_name", "tls_expired", "tls_unknown_ca"])
def test_a_certificate_of_another_name_time_or_authority_ends_before_the_request(sandbox: Sandbox, kind: str) -> None:
    with tls_server(kind, sandbox.port) as (url, ca_file):
        shown = failure(endpoint=url, ca_file=ca_file)
    assert f"trusted is what {ca_file} vouches for" in shown
    assert sandbox.requests() == []


def test_certificates_are_found_where_the_environment_says(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_server("tls", sandbox.port) as (url, ca_file), tls_server("tls", sandbox.port) as (_, other):
        (tmp_path / "ca.pem").write_text(Path(ca_file).read_text())
        subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        assert "issuer" in failure(endpoint=url)
        monkeypatch.setenv("SSL_CERT_FILE", ca_file)
        with sandbox.client(endpoint=url) as client:
            assert client.track("u", "E").result(timeout=10).delivered
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        assert "missing (SSL_CERT_FILE)" in failure(endpoint=url)
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        with sandbox.client(endpoint=url) as client:
            assert client.track("u", "E").result(timeout=10).delivered
        assert "issuer" in failure(endpoint=url, ca_file=other), "a ca_file is trusted alone"


BARE = """
import sys
sys.modules["certifi"] = None
from intilery import Client
client = Client.from_env(max_retries=0)
print(client.track("u", "E").exception(timeout=20))
client.close(0)
"""


def bare(program: list[str], env: dict[str, str], *, put: str = "true") -> str:
    """Runs a program where no distribution's certificates are but those that the command `put` puts there."""
    places = ["/etc/ssl", "/etc/pki", "/usr/local/share/certs", "/usr/lib/ssl"]
    hide = " && ".join(f"mount -t tmpfs none {place}" for place in places if Path(place).is_dir())
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", f'{hide} && {put} && exec "$@"', "sh", *program]
    if shutil.which("unshare") is None or subprocess.run([*command[:7], "true"], capture_output=True).returncode != 0:
        pytest.skip("no file system can be hidden here")
    env = {name: value for name, value in env.items() if not name.startswith("SSL_CERT_")}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_ca_file_is_trusted_alone_and_not_beside_the_distributions(sandbox: Sandbox, tmp_path: Path) -> None:
    with tls_server("tls", sandbox.port) as (url, ca_file), tls_server("tls", sandbox.port) as (_, other):
        shutil.copy(ca_file, tmp_path / "ca.pem")
        subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
        put = f"mkdir -p /etc/ssl/certs && cp -a {tmp_path}/* /etc/ssl/certs"
        env = {**environment(sandbox), "INTILERY_ENDPOINT": url}
        assert bare([sys.executable, "-c", BARE], env, put=put) == "None\n", "by the distribution's it is trusted"
        assert f"trusted is what {other}" in bare(
            [sys.executable, "-c", BARE], {**env, "INTILERY_CA_FILE": other}, put=put
        )


def test_without_any_certificates_the_error_says_where_they_were_looked_for(sandbox: Sandbox) -> None:
    with tls_server("tls", sandbox.port) as (url, _):
        said = bare([sys.executable, "-c", BARE], {**environment(sandbox), "INTILERY_ENDPOINT": url})
    assert "no certificates to trust were found" in said
    assert "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem" in said
    assert "set ca_file" in said


def test_without_a_systems_certificates_python_takes_certifis(sandbox: Sandbox, tmp_path: Path) -> None:
    with tls_server("tls", sandbox.port) as (url, ca_file):
        shutil.copy(ca_file, tmp_path / "ca.pem")
        (tmp_path / "certifi.py").write_text(
            f"def contents():\n    with open({str(tmp_path / 'ca.pem')!r}) as file:\n        return file.read()\n"
        )
        env = {**environment(sandbox), "INTILERY_ENDPOINT": url, "PYTHONPATH": str(tmp_path)}
        program = BARE.replace('sys.modules["certifi"] = None\n', "").replace("exception(", "result(")
        assert "status=200" in bare([sys.executable, "-c", program], env)


def test_without_a_systems_certificates_node_takes_its_own(sandbox: Sandbox) -> None:
    program = """
    const { Client } = require('./node/index.cjs')
    const client = Client.fromEnv({ maxRetries: 0 })
    client.track({ userId: 'u', event: 'E' }).catch((error) => console.log(error.message)).then(() => client.close())
    """
    with tls_server("tls", sandbox.port) as (url, _):
        said = bare(["node", "-e", program], {**environment(sandbox), "INTILERY_ENDPOINT": url})
    assert "trusted is what the language's own certificates vouches for" in said


# What an option or an id may hold.


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("auth_token", "a\r\nx-evil: 1"),
        ("auth_token", "a\nb"),
        ("user_agent", "a\r\nx-evil: 1"),
        ("client_id", "a/../b"),
        ("account_id", ".."),
        ("brand_id", "HEA?x=1"),
        ("brand_id", "HEA#x"),
        ("brand_id", "H\r\nA"),
        ("endpoint", "https://user:password@tracking.intilery.com"),
        ("endpoint", "https://tracking.intilery.com/?x=1"),
        ("endpoint", "https://tracking.intilery.com/#x"),
        ("endpoint", "https://tracking.intilery.com/\r\nx-evil: 1"),
        ("endpoint", "file:///etc/passwd"),
        ("endpoint", "gopher://127.0.0.1"),
    ],
)
def test_no_option_can_add_a_header_or_change_the_path(option: str, value: str) -> None:
    given: dict[str, Any] = {**ACCOUNT, "auth_token": TOKEN, option: value}
    with pytest.raises(ConfigurationError) as caught:
        Client(**given)
    assert caught.value.option == option
    assert "evil" not in str(caught.value)
    assert "password" not in str(caught.value).replace("a password", "")


def test_an_id_in_an_address_is_one_part_of_it(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        client.profile("../../../evil?x=1#y\r\nx-evil: 1")
        client.brand("OTHER")
        with pytest.raises(ConfigurationError):
            client.brand("../evil")
        with pytest.raises(ConfigurationError):
            client.set_auth_token("a\r\nx-evil: 1")
    paths = [request.path for request in sandbox.requests()]
    assert paths
    for path in paths:
        assert re.fullmatch(
            r"/track/hea/hea/HEA/v1/profiles/userId:\.\.%2F\.\.%2F\.\.%2Fevil%3Fx%3D1%23y%0D%0Ax-evil%3A%201/\w+", path
        )
    assert all("x-evil" not in request.headers for request in sandbox.requests())


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "127.evil.com",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "10.0.0.1",
        "0.0.0.0",
        "[::2]",
        "127.1@e.com",
    ],
)
def test_plain_http_leaves_this_machine_only_if_allowed(host: str) -> None:
    given: dict[str, Any] = {**ACCOUNT, "auth_token": TOKEN, "endpoint": f"http://{host}"}
    with pytest.raises(ConfigurationError):
        Client(**given)
    if "@" not in host:
        Client(**given, allow_insecure_http=True, exit_timeout=0).close(timeout=0)


# Proxies.


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:pa55word@127.0.0.1:99999",
        "ftp://user:pa55word@127.0.0.1",
        "user:pa55word@[::1",
        "http://u:pa55word@127.0.0.1:1",
    ],
)
@pytest.mark.parametrize("from_environment", [False, True])
def test_a_proxys_password_is_in_no_error(proxy: str, from_environment: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"endpoint": "https://intilery.invalid"}
    if from_environment:
        monkeypatch.setenv("https_proxy", proxy)
    else:
        options["proxy"] = proxy
    assert "pa55word" not in failure(**options)


def test_a_proxy_sees_neither_the_token_nor_the_event() -> None:
    def refuse(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 502 no\r\ncontent-length: 0\r\n\r\n")

    with server(refuse) as (port, heads):
        failure(endpoint="https://intilery.invalid", proxy=f"http://user:pa55word@127.0.0.1:{port}")
    assert heads[0].startswith(b"CONNECT intilery.invalid:443 HTTP/1.1\r\n")
    assert b"auth-token" not in heads[0]
    assert b"secret" not in heads[0]


# Hostile answers.


def test_an_endless_header_ends_the_request() -> None:
    sent = 0

    def endless(connection: socket.socket, _head: bytes) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(100_000):
            line = b"x-%d: " % number + b"x" * 1000 + b"\r\n"
            connection.sendall(line)
            sent += len(line)

    with server(endless) as (port, _):
        shown = failure(endpoint=f"http://127.0.0.1:{port}")
    assert "header" in shown
    assert sent < 20_000_000  # what lies in the sockets' buffers


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate"])
def test_nothing_is_unpacked(coding: str) -> None:
    packed = gzip.compress(b'{"success": true}')

    def answer(connection: socket.socket, _head: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {len(packed)}\r\n\r\n"
        connection.sendall(head.encode() + packed)

    with server(answer) as (port, heads):
        shown = failure(endpoint=f"http://127.0.0.1:{port}")
    assert "without the API's" in shown, "a packed answer is none"
    assert b"accept-encoding" not in heads[0].lower()


# What others wrote, on a terminal.


def test_names_in_a_foreign_spool_are_safe_for_a_terminal(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / f"{HOSTILE}.spool").write_text("no database")
    (tmp_path / f"{HOSTILE}.spool.damaged").write_text("no database")
    ended = subprocess.run(
        [sys.executable, "-m", "intilery", "spool", "status", str(tmp_path)],
        env=environment(sandbox), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    lines = ended.stdout.decode().splitlines()
    assert len([line for line in lines if "\\x1b]0;owned" in line]) == 2
    assert all(line.isprintable() for line in lines)


def test_what_a_plan_is_called_is_safe_for_a_terminal(sandbox: Sandbox, tmp_path: Path) -> None:
    properties = {"properties": {HOSTILE: {"type": "integer"}, "a": {HOSTILE: 1, "type": HOSTILE}}}
    plans = []
    for name, events in (("old", {HOSTILE: {"properties": properties}}), ("new", {"Other": {}})):
        plans.append(tmp_path / f"{name}.json")
        plans[-1].write_text(json.dumps({"version": 1, "events": events}))
    good = tmp_path / "good.json"
    good.write_text(
        json.dumps({"version": 1, "events": {HOSTILE: {"properties": {"properties": {HOSTILE: {"type": "integer"}}}}}})
    )
    event = tmp_path / "events.ndjson"
    event.write_text(
        json.dumps({"action": "track", "userId": "u", "event": HOSTILE, "properties": {HOSTILE: "x"}}) + "\n"
    )
    for arguments in (
        ["lint", str(plans[0])],
        ["diff", str(good), str(plans[1])],
        ["test", str(good), str(event)],
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "intilery", "plan", *arguments],
            env=environment(sandbox), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        shown = (ended.stdout + ended.stderr).decode()
        assert "owned" in shown, arguments
        assert all(line.isprintable() for line in shown.splitlines()), (arguments, shown)


def test_keys_of_an_event_in_a_log_are_safe_for_a_terminal(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    plan = {"version": 1, "events": {"E": {"properties": {"properties": {HOSTILE: {"type": "integer"}}}}}}
    with sandbox.client(on_invalid="report", plan=plan) as client:
        client.track("u", "E", {HOSTILE: float("nan")})
        client.track("u", "E", {HOSTILE: "no integer"})
        client.send({"action": "track", "userId": "u", "event": "E", HOSTILE: 1})
        client.flush(timeout=10)
    messages = [record.getMessage() for record in caplog.records]
    assert len([message for message in messages if "owned" in message]) == 3
    assert all(message.isprintable() for message in messages), messages


# The sandbox.


def ask(sandbox: Sandbox, path: str, host: str) -> int:
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nauth-token: sandbox-token\r\n\r\n".encode())
        return int(connection.recv(100).split()[1])


def test_a_name_made_to_point_at_the_sandbox_reads_nothing(sandbox: Sandbox) -> None:
    events = "/track/hea/hea/HEA/v1/events"
    for host in ("localhost", f"localhost:{sandbox.port}", f"127.0.0.1:{sandbox.port}", "127.0.0.1:8080"):
        assert ask(sandbox, events, host) == 200
    for host in (f"evil.example:{sandbox.port}", f"127.0.0.1.evil.example:{sandbox.port}", "evil.example"):
        assert ask(sandbox, events, host) == 421
        assert ask(sandbox, "/", host) == 421
    assert len(sandbox.requests()) == 4, "a misled request meets no fault and leaves no trace"


def test_the_sandbox_is_bound_to_loopback_unless_told(sandbox: Sandbox) -> None:
    bound = subprocess.run(["ss", "-Hltn", f"sport = :{sandbox.port}"], capture_output=True, text=True, check=True)
    assert bound.stdout.split()[3] == f"127.0.0.1:{sandbox.port}"


# Files.


def test_the_spools_folder_is_the_users_own(sandbox: Sandbox, tmp_path: Path) -> None:
    with sandbox.client(spool_path=str(tmp_path / "new" / "spool")):
        assert (tmp_path / "new" / "spool").stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("in_its_own_folder")
def test_files_with_customers_data_are_private_whatever_lay_there(sandbox: Sandbox) -> None:
    victim = Path("victim")
    victim.write_text("mine")
    Path("rejects.new").symlink_to(victim)
    before = os.umask(0)
    try:
        with sandbox.client() as client:
            rows: list[dict[str, Any]] = [{"user_id": "u", "event": "E"}, {"user_id": "", "event": "E"}]
            client.send_many(rows, source_id="s", rejects="rejects", checkpoint="checkpoint")
        with Sandbox(store="store.db"):
            pass
    finally:
        os.umask(before)
    assert victim.read_text() == "mine"
    for name in ("rejects", "checkpoint", "store.db"):
        assert Path(name).stat().st_mode & 0o777 == 0o600, name


def test_no_text_from_outside_is_run() -> None:
    forbidden = {"eval", "exec", "compile", "__import__", "pickle", "marshal", "shelve", "dill", "cloudpickle"}
    for path in (ROOT / "python").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in forbidden, f"{path}:{node.lineno}: {name}"
                assert name not in ("os.system", "os.popen", "yaml.load", "yaml.unsafe_load"), f"{path}:{node.lineno}"
                shell = [keyword for keyword in node.keywords if keyword.arg == "shell"]
                assert not shell, f"{path}:{node.lineno}: shell"
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not forbidden & {module.split(".")[0] for module in modules}, f"{path}:{node.lineno}"
    for path in [*(ROOT / "node").rglob("*.cjs"), *(ROOT / "node").rglob("*.mjs")]:
        assert not re.search(r"\beval\(|new Function\(|node:vm|execSync\(|shell: true", path.read_text()), path


# What is shipped.


def test_the_bill_of_materials_has_all_that_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "packaging")
    bill_of_materials = importlib.import_module("bill_of_materials")
    target = tmp_path / "bom.json"
    bill_of_materials.main(str(target))
    parts = {each["name"]: each["version"] for each in json.loads(target.read_text())["components"]}
    assert {"libcurl", "SQLite", "RE2", "cpp-httplib", "pybind11", "node-addon-api", "uplot", "duckdb"} <= parts.keys()
    assert all(parts.values())
    linked = bill_of_materials.linked()
    assert any("libre2" in library for libraries in linked.values() for library in libraries)
    forgotten = bill_of_materials.unnamed(linked, parts.keys() - {"RE2"})
    assert any("libre2.so" in line and "NOTICE.md does not name" in line for line in forgotten)
