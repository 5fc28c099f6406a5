"""A TLS server in front of a sandbox, for the fault matrix in C++, Python and Node.

`python3 tests/tls_server.py KIND PORT` makes a certificate, prints `{"url": …, "ca_file": …}` and hands what it gets to
PORT, until its stdin ends. KIND: `tls` (all is well), `tls_name` (for another name), `tls_expired`, `tls_unknown_ca`
(`ca_file` is another CA's).
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def make_ca(folder: Path, name: str) -> None:
    openssl(
        "req", "-x509", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", folder=folder
    )


def make_certificate(folder: Path, kind: str) -> None:
    host = "elsewhere.example" if kind == "tls_name" else "localhost"
    (folder / "extensions").write_text(f"subjectAltName=DNS:{host}")
    openssl("req", *NEW_KEY, "-subj", f"/CN={host}", "-keyout", "server.key", "-out", "server.csr", folder=folder)
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions"]
    days = "-1" if kind == "tls_expired" else "1"
    openssl("x509", "-req", "-in", "server.csr", *signing, "-days", days, "-out", "server.pem", folder=folder)


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of them is gone


def serve(raw: socket.socket, context: ssl.SSLContext, port: int) -> None:
    try:
        with (
            context.wrap_socket(raw, server_side=True) as client,
            socket.create_connection(("127.0.0.1", port)) as inner,
        ):
            back = threading.Thread(target=pump, args=(inner, client), daemon=True)
            back.start()
            pump(client, inner)
            back.join()
    except OSError:
        pass  # the client did not like the certificate


def accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    while True:
        raw, _ = listener.accept()
        threading.Thread(target=serve, args=(raw, context, port), daemon=True).start()


def main(kind: str, port: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_ca(folder, "ca")
        make_certificate(folder, kind)
        ca_file = folder / "ca.pem"
        if kind == "tls_unknown_ca":
            make_ca(folder, "other")
            ca_file = folder / "other.pem"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        threading.Thread(target=accept, args=(listener, context, port), daemon=True).start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        print(json.dumps({"url": url, "ca_file": str(ca_file)}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
