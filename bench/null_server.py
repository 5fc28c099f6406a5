"""A service that takes everything and keeps nothing: nginx on a free port of loopback, answering 200 once it has read a
request. What the clients are measured against.

    python bench/null_server.py [--bodies FILE]     # prints its URL, and serves until standard input ends
    python bench/null_server.py -- COMMAND …        # for a command, which finds the URL in INTILERY_BENCH_ENDPOINT

`--bodies` writes each request's query and body down, one a line, so that what arrived can be counted (`arrived`).
"""

from __future__ import annotations

import argparse
import base64
import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote_to_bytes

# Answers what every client takes for a success: Intilery's, Mixpanel's (`status`) and Amplitude's (`code`).
CONFIG = """
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 4096; }}
http {{
  log_format body '$args $request_body';
  access_log {log};
  default_type application/json;
  client_max_body_size 0;
  client_body_buffer_size 8m;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      echo_read_request_body;
      echo -n '{{"success":true,"eventId":"00000000-0000-7000-8000-000000000000","status":1,"code":200}}';
    }}
  }}
}}
"""


@contextmanager
def null_server(bodies: Path | None = None) -> Iterator[str]:
    """Its URL. `INTILERY_BENCH_ENDPOINT` names one that runs already; then none is started."""
    running = os.environ.get("INTILERY_BENCH_ENDPOINT")
    if running and bodies is None:
        yield running
        return
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        raise SystemExit("nginx is missing: packaging/system-packages bench")
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = f"{bodies} body" if bodies else "off"
        Path(folder, "conf").write_text(CONFIG.format(folder=folder, port=port, log=log))
        command = [nginx, "-e", f"{folder}/errors", "-p", folder, "-c", f"{folder}/conf"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as server:
            try:
                while True:
                    with socket.socket() as probe:
                        if probe.connect_ex(("127.0.0.1", port)) == 0:
                            break
                    if server.poll() is not None:
                        raise SystemExit(f"nginx did not start: {Path(folder, 'errors').read_text()}")
                    time.sleep(0.01)
                yield f"http://127.0.0.1:{port}"
            finally:
                server.send_signal(signal.SIGQUIT)  # it writes down what it has answered before it ends
                try:
                    server.wait(5)
                except subprocess.TimeoutExpired:
                    server.kill()


@contextmanager
def silent_server() -> Iterator[str]:
    """The URL of a server that takes connections and never answers, so that all that is sent to it stays queued."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def arrived(bodies: Path, mark: bytes) -> int:
    """How often `mark` stands in what came, plain, compressed, or in a form's field, in base64 or not."""
    count = 0
    with bodies.open("rb") as lines:
        for line in lines:
            query, body = line[:-1].decode("unicode_escape").encode("latin-1").split(b" ", 1)
            if body.startswith(b"\x1f\x8b"):
                body = gzip.decompress(body)
            for form in (query, body):
                if b"data=" in form[:64]:
                    body = unquote_to_bytes(form.split(b"data=")[1].split(b"&")[0])
                    if body[:1] not in b"[{":
                        body = base64.b64decode(body)
            count += body.count(mark)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    with null_server(given.bodies) as url:
        if given.command:
            command = given.command[given.command[0] == "--" :]
            sys.exit(subprocess.run(command, env={**os.environ, "INTILERY_BENCH_ENDPOINT": url}).returncode)
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
