"""How programs end. Each test runs a real one."""

from __future__ import annotations

import signal
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from programs import run, start, users

from intilery import Delivery
from intilery.testing import Sandbox


def test_what_is_queued_at_exit_is_sent(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        client = Client.from_env()
        for number in range(3000):
            client.track("u", "E", {"number": number})
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sandbox.event_count() == 3000


def test_an_uncaught_exception_loses_nothing(sandbox: Sandbox) -> None:
    ended = run(sandbox, "client = Client.from_env(); client.track('u', 'E'); raise SystemExit(3)")
    assert ended.returncode == 3
    assert sandbox.event_count() == 1


def test_a_client_that_is_dropped_sends_what_it_holds(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        def work():
            Client.from_env().track("u", "E")
        work()
        gc.collect()
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sandbox.event_count() == 1


def test_exit_waits_no_longer_than_exit_timeout_and_says_what_is_left(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 20_000})
    started = time.monotonic()
    ended = run(sandbox, "client = Client.from_env(exit_timeout=0.3); client.track('u', 'E')")
    assert time.monotonic() - started < 10
    assert ended.returncode == 0
    assert "1 event not delivered when the client was closed" in ended.stderr
    sandbox.set_faults()


@pytest.mark.parametrize("wait", ["delivery.result()", "client.flush()", "client.close()", "client.verify(['id'])"])
def test_ctrl_c_ends_a_wait_at_once(sandbox: Sandbox, wait: str) -> None:
    sandbox.set_faults({"delay_ms": 20_000})
    process = start(
        sandbox,
        f"""
        client = Client.from_env(exit_timeout=0.1)
        delivery = client.track("u", "E")
        print("waiting", flush=True)
        {wait}
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert time.monotonic() - started < 5
    assert "KeyboardInterrupt" in err
    assert "not delivered when the client was closed" in err  # the end of the program says what is left
    assert process.returncode == -signal.SIGINT
    sandbox.set_faults()


def test_ctrl_c_in_a_with_block_still_sends_what_is_queued(sandbox: Sandbox) -> None:
    process = start(
        sandbox,
        """
        with Client.from_env(delivery="batch", flush_interval=600) as client:
            client.track("u", "E")
            print("waiting", flush=True)
            time.sleep(60)
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    assert sandbox.event_count() == 1


@pytest.mark.parametrize("wait", ["client.flush()", "client.close()", "client.track('u', 'E')", "client.drained()"])
@pytest.mark.parametrize("block", ["async with client:", "if True:"])
def test_ctrl_c_ends_an_asyncio_program_at_once(sandbox: Sandbox, wait: str, block: str) -> None:
    sandbox.set_faults({"delay_ms": 20_000})
    process = start(
        sandbox,
        f"""
        import asyncio
        async def main():
            client = AsyncClient.from_env(exit_timeout=0.1)
            {block}
                client.track("u", "E")
                asyncio.get_running_loop().call_later(0.05, lambda: print("waiting", flush=True))
                await {wait}
        asyncio.run(main())
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert time.monotonic() - started < 5
    assert "KeyboardInterrupt" in err
    assert "not delivered when the client was closed" in err  # the end of the program says what is left
    sandbox.set_faults()


def test_a_server_that_makes_sigterm_an_exit_loses_nothing(sandbox: Sandbox) -> None:
    process = start(
        sandbox,
        """
        import signal
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        client = Client.from_env(delivery="batch", flush_interval=600)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                client.track("u", "Request", {"path": self.path})
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            print(server.server_port, flush=True)
            server.serve_forever()
        """,
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    for number in range(50):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}", timeout=10).close()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (0, "")
    assert sandbox.event_count() == 50


def test_daemon_threads_that_still_track_at_the_end_neither_crash_nor_lose_what_was_accepted() -> None:
    with Sandbox(rate_limit=0) as quick:
        ended = run(
            quick,
            """
            import threading
            client = Client.from_env(rate_limit=1e6, burst=1e6, exit_timeout=60)
            counts = [0] * 4

            def work(index):
                try:
                    while True:
                        client.track("u", "E")
                        counts[index] += 1
                        time.sleep(0.0001)  # leaves the processor to the sandbox
                except ClosedError:
                    pass

            for index in range(4):
                threading.Thread(target=work, args=(index,), daemon=True).start()
            while min(counts) < 100:
                time.sleep(0.001)
            at_last.append(lambda: print(sum(counts)))
            """,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert 0 <= quick.event_count() - int(ended.stdout) <= 4  # a thread may have been stopped before it counted


@pytest.mark.parametrize("wait", ["client.track('u', 'E').result()", "client.flush()"])
def test_daemon_threads_that_wait_at_the_end_do_not_crash_the_interpreter(sandbox: Sandbox, wait: str) -> None:
    sandbox.set_faults({"delay_ms": 20_000})
    ended = run(
        sandbox,
        f"""
        import threading
        threading.excepthook = lambda _: None
        client = Client.from_env(exit_timeout=0.1)
        client.track("u", "E")
        waiting = threading.Semaphore(0)

        def work():
            waiting.release()
            while True:
                {wait}

        for _ in range(50):
            threading.Thread(target=work, daemon=True).start()
        for _ in range(50):
            waiting.acquire()
        """,
    )
    assert ended.returncode == 0, ended.stderr
    sandbox.set_faults()


def test_a_thread_that_outlives_main_loses_nothing(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        import threading
        client = Client.from_env()

        def work():
            threading.main_thread().join()
            for _ in range(100):
                client.track("u", "E")

        threading.Thread(target=work).start()
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sandbox.event_count() == 100


def test_a_flush_ends_while_others_track_and_what_they_track_is_not_stuck(sandbox: Sandbox) -> None:
    stop = threading.Event()
    deliveries: list[Delivery] = []
    with sandbox.client(rate_limit=1e6, burst=1e6) as client:

        def work() -> None:
            while not stop.wait(0.001):
                deliveries.append(client.track("u", "E"))

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(10):
            client.track("u", "E")
            assert client.flush(timeout=10).remaining == 0
        stop.set()
        thread.join()
        for delivery in deliveries:
            delivery.result(timeout=10)


def test_a_hundred_clients_come_and_go_without_a_trace(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        def held():
            return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

        with Client.from_env() as client:
            client.track("first", "E")
        before = held()
        clients = [Client.from_env() for _ in range(100)]
        used = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - used < 0.05, "idle clients used CPU"
        for number, client in enumerate(clients):
            client.track(f"user-{number}", "E")
        for client in clients:
            assert client.close() is not None
        while held()[0] > before[0]:
            time.sleep(0.01)  # the system takes a thread away a moment after it was joined
        assert held()[1] <= before[1], (held(), before)
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(users(sandbox)) == 101


def test_a_client_made_in_a_thread_is_used_in_twenty_others(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(1) as maker:
        client = maker.submit(sandbox.client).result()

    def work(number: int) -> None:
        for _ in range(20):
            assert client.track(f"user-{number}", "E").result(timeout=10).delivered

    with client, ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))
    assert users(sandbox) == {f"user-{number}": 20 for number in range(20)}


def test_an_idle_client_uses_no_cpu(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        client = Client.from_env()
        client.track("u", "E").result(timeout=10)
        before = time.process_time()
        time.sleep(1)
        print(time.process_time() - before)
        """,
    )
    assert float(ended.stdout) < 0.02
