"""fork() in all its uses. Each test runs a real program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from programs import FORK, LAZY, environment, run, users

from intilery.testing import Sandbox

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def clean(ended: subprocess.CompletedProcess[str]) -> None:
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_forked_childs_copy_starts_empty_and_works_and_the_parent_keeps_its_events(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 100, "times": 4})  # so that the parent's events are still there at the fork
    ended = run(
        sandbox,
        """
        client = Client.from_env(context={"app": "a"}, default=str)
        for number in range(500):
            client.track("parent", "E")
        told = []

        def work():
            assert client.flush() == client.flush(0) == (0, 0, 0)
            delivery = client.track("child", "E", {"odd": object}, on_delivery=told.append)
            assert client.stats().accepted == 1
            assert delivery.result(timeout=10).delivered
            client.track("child", "E")  # sent at exit

        fork(work)
        fork(lambda: None)
        assert client.flush().failed == 0
        client.track("parent", "E")
        fork(work)
        """,
    )
    clean(ended)
    assert users(sandbox) == {"parent": 501, "child": 4}
    assert {event["rawData"]["context"]["app"] for event in sandbox.events()} == {"a"}


def test_a_child_of_a_child_works_too(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        client = Client.from_env()
        client.track("parent", "E")

        def work():
            client.track("child", "E")
            fork(lambda: client.track("grandchild", "E"))

        fork(work)
        """,
    )
    clean(ended)
    assert users(sandbox) == {"parent": 1, "child": 1, "grandchild": 1}


def test_views_of_a_child_send_to_their_brands_whatever_the_spool_knew_of(tmp_path: Path) -> None:
    with Sandbox(brand_ids=["HEA", "HEB", "HEC", "HED"], rate_limit=0) as sandbox:
        left = run(
            sandbox,
            f"""
            client = Client.from_env(spool_path={str(tmp_path)!r}, delivery="batch", flush_interval=600)
            for brand in ("HEB", "HEC"):
                client.brand(brand).track("left", "E")
            os._exit(0)
            """,
        )
        clean(left)
        ended = run(
            sandbox,
            f"""
            client = Client.from_env(spool_path={str(tmp_path)!r})  # knows two brands from the spool already
            views = {{brand: client.brand(brand) for brand in ("HED", "HEC", "HEA")}}
            client.flush()

            def work():
                for brand, view in views.items():
                    assert view.track(brand, "E").result(timeout=10).delivered
                    assert client.brand(brand).track(brand, "E").result(timeout=10).delivered

            fork(work)
            work()
            """,
        )
        clean(ended)
        arrived = Counter((event["brandId"], event["userId"]) for event in sandbox.events())
    assert arrived == {
        ("HEB", "left"): 1,
        ("HEC", "left"): 1,
        ("HED", "HED"): 4,
        ("HEC", "HEC"): 4,
        ("HEA", "HEA"): 4,
    }


def test_under_gevent_closing_the_parents_client_in_a_child_waits_for_nothing(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        import gevent.monkey
        gevent.monkey.patch_all()
        client = Client.from_env()
        client.track("parent", "E").result(timeout=10)

        def work():
            started = time.monotonic()
            assert client.close() == (0, 0, 0)
            assert time.monotonic() - started < 2

        fork(work)
        """,
    )
    clean(ended)


def test_a_parents_delivery_is_not_waited_for_in_the_child(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 500, "times": 1, "user_id": "slow"})
    ended = run(
        sandbox,
        """
        import asyncio
        client = Client.from_env()
        known = client.track("quick", "E")
        known.result(timeout=10)
        unknown = client.track("slow", "E")

        def work():
            assert known.result().delivered
            async def wait():
                await unknown
            for call in (unknown.result, lambda: unknown.add_done_callback(print), lambda: asyncio.run(wait())):
                try:
                    call()
                except ClosedError as error:
                    assert "the process that forked this one" in str(error)
                else:
                    raise AssertionError("waited")

        fork(work)
        assert unknown.result(timeout=10).delivered
        """,
    )
    clean(ended)
    assert users(sandbox) == {"quick": 1, "slow": 1}


def test_a_client_closed_on_one_side_of_a_fork_is_open_on_the_other(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        def refused():
            try:
                client.track("nobody", "E")
            except ClosedError as error:
                assert "the client is closed" in str(error)
            else:
                raise AssertionError("accepted")

        with Client.from_env() as client:
            def work():
                client.close()
                refused()
            fork(work)
            client.track("parent", "E")
            def leave():  # the child leaves the with block, too
                client.__exit__(None, None, None)
            fork(leave)
        fork(refused)
        """,
    )
    clean(ended)
    assert users(sandbox) == {"parent": 1}


def test_an_async_client_works_in_a_forked_childs_own_loop(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        import asyncio, threading
        client = AsyncClient.from_env()
        client.track("parent", "E")

        def work():
            async def main():
                told = []
                tell = lambda receipt: told.append(threading.current_thread())
                assert (await client.track("child", "E", on_delivery=tell)).delivered
                await client.drained()
                await client.close()
                assert told == [threading.main_thread()]
            asyncio.run(main())

        fork(work)
        """,
    )
    clean(ended)
    assert users(sandbox) == {"parent": 1, "child": 1}


def test_a_child_has_the_token_of_the_moment(sandbox: Sandbox) -> None:
    ended = run(
        sandbox,
        """
        client = Client.from_env(auth_token="wrong")
        client.set_auth_token("sandbox-token")
        fork(lambda: client.track("child", "E").result(timeout=10))
        assert "token" not in f"{client!r} {vars(client)}"
        """,
    )
    clean(ended)
    assert users(sandbox) == {"child": 1}


def test_forks_amid_busy_threads_neither_hang_nor_lose_nor_double(sandbox: Sandbox, tmp_path: Path) -> None:
    program = (
        """
import os, sys, threading
from intilery import Client
"""
        + FORK
        + """
client = Client.from_env(rate_limit=1e6, burst=1e6)
stop = threading.Event()
sent = []

def busy():
    count = 0
    while not stop.is_set():
        client.track("parent", "E").done()
        client.stats()
        if count % 50 == 0:
            client.flush(0.01)
        count += 1
    sent.append(count)

threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(10):
    fork(lambda: client.track("child", "E"))
stop.set()
for thread in threads:
    thread.join()
client.close()
print(sum(sent))
"""
    )
    with Sandbox(rate_limit=0) as quick:
        for more in ({}, {"INTILERY_SPOOL_PATH": str(tmp_path)}):
            quick.clear()
            ended = subprocess.run(
                [sys.executable, "-c", program],
                env=environment(quick, **more),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            clean(ended)
            assert users(quick) == {"parent": int(ended.stdout), "child": 10}
    assert list(tmp_path.glob("*.spool")) == []


def test_what_a_child_leaves_by_os_exit_is_in_its_spool_file(sandbox: Sandbox, tmp_path: Path) -> None:
    program = """
import os
from intilery import Client
client = Client.from_env()
client.track("parent", "E").result(timeout=10)
if os.fork() == 0:
    client.set_auth_token("wrong")  # nothing gets through
    client.track("child", "E")
    os._exit(0)
os.wait()
client.close()
Client.from_env().close()
"""
    env = environment(sandbox, INTILERY_SPOOL_PATH=str(tmp_path))
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=60)
    assert users(sandbox) == {"parent": 1, "child": 1}


MULTIPROCESSING = """
import concurrent.futures, multiprocessing, sys
from intilery import Client

client = Client.from_env()  # a spawned child imports this module, and makes its own

def work(number):
    for _ in range(50):
        client.track(f"worker-{number}", "E")

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    client.track("parent", "E")
    children = [context.Process(target=work, args=(number,)) for number in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0, child.exitcode
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(work, [3] * 4))
    with context.Pool(2) as pool:
        pool.map(work, [4] * 4)
        pool.close()
        pool.join()
    client.track("parent", "E")
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_lose_nothing(sandbox: Sandbox, tmp_path: Path, method: str) -> None:
    (tmp_path / "program.py").write_text(MULTIPROCESSING)
    ended = subprocess.run(
        [sys.executable, "program.py", method],
        cwd=tmp_path,
        env=environment(sandbox, **LAZY),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    clean(ended)
    workers = {f"worker-{number}": 50 for number in range(3)}
    assert users(sandbox) == {"parent": 2, **workers, "worker-3": 200, "worker-4": 200}
