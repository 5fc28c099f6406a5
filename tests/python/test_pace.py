"""Pace and room: many clients on one account over a real Redis server, and memory that is bounded."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from programs import run

from intilery import QueueFullError
from intilery.testing import Sandbox


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


@contextmanager
def redis(port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(500):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)
            yield server
        finally:
            server.kill()


def test_clients_that_share_a_store_are_never_over_the_rate() -> None:
    port = free_port()
    with redis(port), Sandbox(rate_limit=50, burst=60) as sandbox:
        url = f"redis://127.0.0.1:{port}"
        clients = [sandbox.client(rate_limit_store=url, delivery="event") for _ in range(4)]
        for number in range(30):
            for client in clients:
                client.track(f"user-{number}", "Step")
        for client in clients:
            assert client.close(timeout=20).failed == 0
        assert sandbox.stats()["requests"] == {"200": 120}


def test_a_store_that_goes_away_is_told_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with Sandbox() as sandbox, redis(port) as server:
        with sandbox.client(rate_limit_store=f"redis://:pass-word@127.0.0.1:{port}/2") as client:
            assert client.track("u", "Before").result(timeout=10).delivered
        assert "rate_limit_store cannot be reached" in caplog.text, "this server wants no password, and says so"
        assert "pass-word" not in caplog.text
        caplog.clear()
        with sandbox.client(rate_limit_store=f"redis://127.0.0.1:{port}/2") as client:
            assert client.track("u", "Before").result(timeout=10).delivered
            assert caplog.text == ""
            server.kill()
            server.wait()
            deliveries = [client.track("u", "After") for _ in range(20)]
            assert all(delivery.result(timeout=20).delivered for delivery in deliveries)
        assert "going on by itself with 100 requests a second" in caplog.text


def test_drop_oldest_makes_room_and_reports_each_drop(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 500})
    with sandbox.client(max_queue_bytes=5_000, on_full="drop_oldest", delivery="event", max_connections=1) as client:
        deliveries = [client.track("user", "Step")]
        while client.stats().in_flight == 0:
            time.sleep(0.001)
        deliveries += [client.track(f"user-{number}", "Step", {"text": "x" * 500}) for number in range(11)]
        client.flush(timeout=20)
        errors = [delivery.exception(timeout=20) for delivery in deliveries]
        stats = client.stats()
    dropped = [error for error in errors if error is not None]
    assert errors[0] is None, "it was under way"
    assert errors[-1] is None, "the newest is kept"
    assert all(isinstance(error, QueueFullError) and error.code == "dropped" for error in dropped)
    assert stats.failed_by_reason == {"dropped": len(dropped)}
    assert stats.accepted == 12 == stats.delivered + stats.failed


def test_memory_is_bounded_by_max_queue_bytes() -> None:
    with Sandbox(token="another") as sandbox:  # so that nothing is ever accepted, and all waits
        ended = run(
            sandbox,
            """
            import resource
            client = Client.from_env(max_queue_bytes=30_000_000, exit_timeout=0.1)
            text = "x" * 400
            client.track("u", "Warm", {"text": text})
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for number in range(120_000):  # some 75 MB of events
                client.track(f"user-{number % 1000}", "Step", {"text": text})
            stats = client.stats()
            assert stats.queued_bytes <= 30_000_000, stats
            assert stats.failed_by_reason["queue_full"] > 50_000, stats
            print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
            client.close(timeout=0)
            """,
        )
    assert int(ended.stdout) < 1.4 * 30_000_000
