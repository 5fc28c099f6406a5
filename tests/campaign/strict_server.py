"""A strict server of the event API, written from the contract alone, which keeps a ledger of what it is sent.

It prints its port, serves until its standard input ends, and then prints what it saw as one line of JSON:

    python tests/campaign/strict_server.py --seed 1 --faults 0.2 --rate 100 --burst 500

The standard library only, and nothing of the project: what it accepts, it accepts because the contract says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import struct
import sys
import time
import uuid
from collections import Counter
from http import HTTPStatus
from itertools import count
from typing import Any, NamedTuple

from contract import ACTIONS, Breach, Message, read
from faults import Fault, Script
from ledger import Ledger

MAX_HEAD_BYTES = 16_384


class Bucket:
    """The account's token bucket; a rate of 0 lets everything through."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._tokens, self._last = rate, burst, burst, time.monotonic()

    def take(self, now: float) -> bool:
        if self._rate == 0:
            return True
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Head(NamedTuple):
    """A request line with the headers that matter."""

    method: str
    path: str
    headers: dict[str, str]
    length: int
    fault: Fault | None


class Journal:
    """What was stored and answered, on disk before the answer is written: what the next server goes on from."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 (open as long as the server lives)

    def replay(self, ledger: Ledger) -> None:
        """Tells what the servers before this one did."""
        last: dict[int, list[Message]] = {}
        self._file.seek(0)
        whole = 0
        with open(self._file.fileno(), "rb", closefd=False) as file:
            while line := file.readline():
                if not line.endswith(b"\n"):
                    break
                record = json.loads(line)
                body = file.read(record.get("size", 0))
                if len(body) < record.get("size", 0):
                    break
                whole += len(line) + len(body)
                if "action" in record:
                    messages = last[record["connection"]] = read(record["action"], body)
                    ledger.stored(messages)
                elif "connection" in record:
                    ledger.answered(last[record["connection"]], True, record["time"])
                else:  # a server ended, and the last answer on each of its connections may have been lost with it
                    for messages in last.values():
                        ledger.answered(messages, False, record["time"])
                    last.clear()
        self._file.truncate(whole)  # a server killed while it wrote had stored nothing of that, nor answered
        self._write({"time": time.monotonic()})
        for messages in last.values():
            ledger.answered(messages, False, time.monotonic())

    def stored(self, connection: int, action: str, body: bytes) -> None:
        self._write({"connection": connection, "action": action, "size": len(body)}, body)

    def answered(self, connection: int, now: float) -> None:
        self._write({"connection": connection, "time": now})

    def _write(self, record: dict[str, Any], body: bytes = b"") -> None:
        self._file.write(json.dumps(record).encode() + b"\n" + body)


class Server:
    """What all connections share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.prefix = f"/track/{options.client_id}/{options.account_id}/{options.brand_id}/v1/"
        self.script = Script(options.seed, options.faults, options.kinds)
        self.bucket = Bucket(options.rate, options.burst)
        self.ledger = Ledger(options.gaps)
        self.journal = Journal(options.journal) if options.journal else None
        if self.journal:
            self.journal.replay(self.ledger)
        self.connections = count()
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.slow_start = options.slow_start
        self.unread = 0
        self.over_rate = 0

    def refusal(self, head: Head) -> tuple[int, str] | None:
        """What is wrong with a request before its body is looked at."""
        action = head.path[len(self.prefix) :] if head.path.startswith(self.prefix) else None
        if head.method != "POST":
            return 405, f"{head.method} instead of POST"
        if action not in (*ACTIONS, "batch"):
            return 404, "an address that the contract does not know"
        if head.headers.get("auth-token") != self.options.token:
            return 403, "no token, or a wrong one"
        if head.length > self.options.max_request_bytes:
            return 413, f"{head.length} bytes in one request"
        if head.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return 400, "content-type must be application/json"
        if "content-encoding" in head.headers:
            return 400, "a content-encoding"
        return None

    def report(self) -> dict[str, Any]:
        ledger = self.ledger
        return {
            "requests": dict(self.requests),
            "faults": dict(self.faults),
            "unread": self.unread,
            "over_rate": self.over_rate,
            "copies": ledger.copies,
            "lost": ledger.lost,
            "commands": ledger.commands,
            "least_settle": ledger.least_settle,
            "violations": dict(ledger.violations),
            "examples": ledger.examples,
            "timestamps": ledger.timestamps,
            "ids": ledger.ids,
        }


class Connection(asyncio.Protocol):
    """One connection: HTTP/1.1 with keep-alive, one request at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._number = next(server.connections)
        self._buffer = bytearray()
        self._head: Head | None = None
        self._answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def _advance(self) -> None:
        while not self._answering and not self._transport.is_closing():
            if self._head is None:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0 and len(self._buffer) <= MAX_HEAD_BYTES:
                    return
                try:
                    self._head = self._read_head(bytes(self._buffer[: max(end, 0)]))
                except ValueError as error:
                    self._server.ledger.violation("HTTP", str(error))
                    self._answer(400)
                    self._transport.close()
                    return
                del self._buffer[: end + 4]
                fault = self._head.fault
                if fault and fault.unread and fault.kind != "reset in the body":
                    self._refuse_unread(fault)
                    return
                if self._head.headers.get("expect", "").lower() == "100-continue":
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self._buffer and self._head.fault and self._head.fault.unread:
                self._refuse_unread(self._head.fault)
            if len(self._buffer) < self._head.length or self._transport.is_closing():
                return
            head, body = self._head, bytes(self._buffer[: self._head.length])
            del self._buffer[: head.length]
            self._head = None
            self._serve(head, body)

    def _refuse_unread(self, fault: Fault) -> None:
        self._server.unread += 1
        self._end(fault)

    def _read_head(self, text: bytes) -> Head:
        lines = text.decode("ascii").split("\r\n")
        method, path, version = lines[0].split(" ")
        if version != "HTTP/1.1":
            raise ValueError("not HTTP/1.1")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip() or name.lower() in headers:
                raise ValueError("a header that is none, or twice")
            headers[name.lower()] = value.strip()
        if "host" not in headers or "content-length" not in headers or "transfer-encoding" in headers:
            raise ValueError("no Host, or no Content-Length")
        length = headers["content-length"]
        if not length.isdigit():
            raise ValueError("Content-Length is no number")
        server = self._server
        server.requests[path.rpartition("/")[2]] += 1
        fault = server.script.next()
        if fault:
            server.faults[fault.kind] += 1
        return Head(method, path, headers, int(length), fault)

    def _serve(self, head: Head, body: bytes) -> None:
        server, fault = self._server, head.fault
        time.sleep(server.slow_start)
        server.slow_start = 0
        now = time.monotonic()
        within_rate = server.bucket.take(now)
        refusal = server.refusal(head)
        messages: list[Message] = []
        if refusal is None:
            try:
                messages = read(head.path.rpartition("/")[2], body)
            except Breach as breach:
                refusal = 400, str(breach)
        if refusal:
            status, reason = refusal
            server.ledger.violation(f"contract ({status})", reason)
            self._answer(status, json.dumps({"success": False, "message": reason}).encode())
            return
        server.ledger.arrived(messages, now)
        if not within_rate:
            server.over_rate += 1
            self._answer(429)
            return
        if fault is None or fault.stored:
            server.ledger.stored(messages)
            if server.journal:
                server.journal.stored(self._number, head.path.rpartition("/")[2], body)
        if fault is None:
            self._accept(messages)
        elif not fault.stored:
            if fault.retry_after is not None:
                server.ledger.turned_away(messages, now + fault.retry_after)
            self._end(fault)
        elif fault.kind == "delay":
            self._answering = True
            asyncio.get_running_loop().call_later(server.script.delay(), self._accept_late, messages)
        elif fault.kind == "dribbled":
            self._answering = True
            answer = self._whole_answer(200, b'{"success":true}')
            self._dribble(answer, server.script.delay() / 10, messages)
        else:
            server.ledger.answered(messages, False, now)
            self._end(fault)

    def _accept(self, messages: list[Message], answer: bytes = b"") -> None:
        whole = not self._transport.is_closing()
        now = time.monotonic()
        # Before the write: whatever the client does upon the answer, it does later.
        self._server.ledger.answered(messages, whole, now)
        if whole:
            if self._server.journal:
                self._server.journal.answered(self._number, now)
            event_id = str(uuid.uuid4()).encode()
            self._transport.write(answer or self._whole_answer(200, b'{"success":true,"eventId":"%s"}' % event_id))

    def _accept_late(self, messages: list[Message], answer: bytes = b"") -> None:
        self._answering = False
        self._accept(messages, answer)
        self._advance()

    def _dribble(self, answer: bytes, pause: float, messages: list[Message]) -> None:
        """Writes an answer byte by byte; the last one makes it whole."""
        if len(answer) == 1 or self._transport.is_closing():
            self._accept_late(messages, answer)
            return
        self._transport.write(answer[:1])
        asyncio.get_running_loop().call_later(pause, self._dribble, answer[1:], pause, messages)

    def _answer(self, status: int, body: bytes = b"{}", length: int | None = None, more: str = "") -> None:
        self._transport.write(self._whole_answer(status, body, length, more))

    def _whole_answer(self, status: int, body: bytes, length: int | None = None, more: str = "") -> bytes:
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body) if length is None else length}\r\n{more}\r\n"
        )
        return head.encode() + body

    def _end(self, fault: Fault) -> None:
        """Plays a fault; all but those with a whole answer end the connection."""
        if fault.kind == "not JSON":
            self._answer(200, b"<html>welcome</html>")
            return
        if fault.status not in (0, 200):
            self._answer(
                fault.status, more="" if fault.retry_after is None else f"retry-after: {fault.retry_after}\r\n"
            )
            return
        if fault.kind == "closed in the head":
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-le")
        elif fault.kind in ("closed in the body", "stalled"):
            self._answer(200, b'{"success":true,', length=66)
            if fault.kind == "stalled":
                self._answering = True
                return
        elif fault.kind == "garbage":
            self._transport.write(b"\x16\x03\x01\x02\x00\x01 not HTTP at all\r\n\r\n")
        if fault.reset:
            with contextlib.suppress(OSError):
                self._transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            self._transport.abort()
        else:
            self._transport.close()


async def serve(options: argparse.Namespace) -> None:
    server = Server(options)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", options.port, backlog=1024)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    listener.close()
    print(json.dumps(server.report()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=float, default=0.0, help="the share of requests that go wrong")
    parser.add_argument("--kinds", nargs="*", default=[], help="only these faults (faults.py names them)")
    parser.add_argument("--rate", type=float, default=0, help="requests a second; 0: no limit")
    parser.add_argument("--burst", type=float, default=500)
    parser.add_argument("--slow-start", type=float, default=0, help="seconds that the first request is on its way")
    parser.add_argument("--max-request-bytes", type=int, default=6_000_000)
    parser.add_argument("--client-id", default="hea")
    parser.add_argument("--account-id", default="hea")
    parser.add_argument("--brand-id", default="HEA")
    parser.add_argument("--token", default="strict-token")
    parser.add_argument("--journal", default="", help="a file from which another server goes on if this one is killed")
    parser.add_argument("--gaps", action="store_true", help="a user's running numbers may have gaps")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
