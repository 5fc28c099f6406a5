from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter

import pytest

from intilery import DeliveryError, Receipt
from intilery.testing import Sandbox


class Turns:
    """Counts the turns of the running loop."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.count += 1
        self._loop.call_soon(self._turn)


def test_deliveries_are_awaited(sandbox: Sandbox) -> None:
    async def main() -> None:
        async with sandbox.async_client() as client:
            receipt = await client.track("u", "Login")
            assert receipt.delivered
            client.track("u", "Viewed")  # not awaited
            receipts = await asyncio.gather(*(client.track("u", "E") for _ in range(50)))
            assert all(receipt.delivered for receipt in receipts)
            assert (await client.flush(timeout=5)).remaining == 0
            assert (await client.verify([receipt.message_id], "u")).complete

    asyncio.run(main())
    assert sandbox.event_count() == 52


def test_a_failure_is_raised_by_await(sandbox: Sandbox) -> None:
    sandbox.set_faults({"status": 400})

    async def main() -> None:
        async with sandbox.async_client() as client:
            with pytest.raises(DeliveryError):
                await client.track("u", "E")

    asyncio.run(main())


def test_the_event_loop_is_never_blocked(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 300})

    async def main() -> int:
        turns = 0
        async with sandbox.async_client() as client:
            client.track("u", "E")
            closing = asyncio.ensure_future(client.flush())
            while not closing.done():
                await asyncio.sleep(0.01)
                turns += 1
        return turns

    assert asyncio.run(main()) > 10


def test_callbacks_run_in_the_event_loop(sandbox: Sandbox) -> None:
    threads: list[threading.Thread] = []

    async def main() -> None:
        async with sandbox.async_client() as client:
            await client.track("u", "E", on_delivery=lambda _: threads.append(threading.current_thread()))

    asyncio.run(main())
    assert threads == [threading.main_thread()]


def test_a_cancelled_wait_does_not_cancel_the_delivery(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 200, "times": 1})

    async def main() -> None:
        async with sandbox.async_client() as client:
            delivery = client.track("u", "E")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_receipt(delivery), 0.05)
            assert (await delivery).delivered

    async def _receipt(delivery: object) -> object:
        return await delivery  # type: ignore[misc]

    asyncio.run(main())


def test_a_sync_clients_delivery_can_be_awaited_too(sandbox: Sandbox) -> None:
    async def main() -> None:
        with sandbox.client() as client:
            assert (await client.track("u", "E")).delivered

    asyncio.run(main())


def test_drained_waits_until_no_event_is_without_a_fate_without_a_thread(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 200, "times": 1})

    async def main() -> None:
        async with sandbox.async_client() as client:
            await client.drained()  # nothing waits
            delivery = client.track("u", "E")
            threads = threading.active_count()
            waits = [asyncio.ensure_future(client.drained()) for _ in range(20)]
            cancelled = asyncio.ensure_future(client.drained())
            await asyncio.sleep(0)
            cancelled.cancel()
            assert threading.active_count() == threads
            assert not any(wait.done() for wait in waits)
            await asyncio.gather(*waits)
            assert delivery.done()
            for _ in range(20):
                client.track("u", "E")
                await client.drained()
                assert client.stats().queued == 0
            late = client.track("u", "E")
            waiting = asyncio.ensure_future(client.drained())
            await asyncio.sleep(0)
        await waiting  # closing gives every event its fate
        assert late.done()

    asyncio.run(main())
    assert sandbox.event_count() == 22


def test_flush_and_close_use_no_thread_when_nothing_waits(sandbox: Sandbox) -> None:
    async def main() -> list[str]:
        told: list[str] = []
        client = sandbox.async_client()
        assert await client.flush() == (0, 0, 0)
        client.track("u", "E", on_delivery=lambda _: told.append("delivered"))
        await client.drained()

        def refuse(*_: object) -> None:
            raise AssertionError("a thread was used")

        asyncio.get_running_loop().run_in_executor = refuse  # type: ignore[method-assign, assignment]
        assert await client.flush() == (0, 0, 0)
        assert await client.close() == (0, 0, 0)
        return told

    assert asyncio.run(main()) == ["delivered"]


def test_a_cancelled_flush_loses_nothing(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 200, "times": 1})

    async def main() -> None:
        async with sandbox.async_client() as client:
            client.track("u", "E")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.flush(), 0.05)

    asyncio.run(main())
    assert sandbox.event_count() == 1


def test_a_batchs_receipts_wake_the_loop_once_and_come_in_slices(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> tuple[int, Counter[int]]:
        wakes = 0
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(*args: object) -> asyncio.Handle:
            nonlocal wakes
            wakes += 1
            return wake(*args)  # type: ignore[arg-type]

        async with sandbox.async_client(delivery="batch", flush_at=1_000, flush_interval=60) as client:
            monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
            turns = Turns()
            finished: Counter[int] = Counter()

            async def wait() -> None:
                assert (await client.track("u", "E")).route == "batch"
                finished[turns.count] += 1

            await asyncio.gather(*(wait() for _ in range(1_000)))
            return wakes, finished

    wakes, finished = asyncio.run(main())
    assert wakes == 1
    assert sum(finished.values()) == 1_000
    assert max(finished.values()) <= 100


def test_callbacks_that_take_their_time_leave_the_loop_its_turns(sandbox: Sandbox) -> None:
    async def main() -> list[int]:
        told: list[int] = []
        async with sandbox.async_client(delivery="batch", flush_at=10, flush_interval=60) as client:
            turns = Turns()

            def slow(_: Receipt) -> None:
                told.append(turns.count)
                time.sleep(0.002)

            for _ in range(10):
                client.track("u", "E", on_delivery=slow)
            await client.flush()
        return told  # closing waits for callbacks

    told = asyncio.run(main())
    assert len(told) == len(set(told)) == 10


def test_a_closed_loop_leaves_nothing_behind_and_the_next_one_works(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 200, "times": 1})
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def given_up() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        for _ in range(3):
            task = asyncio.ensure_future(_receipt())
        await asyncio.sleep(0)
        assert not task.done()

    async def _receipt() -> Receipt:
        return await client.track("u", "E")

    with sandbox.client() as client:
        asyncio.run(given_up())
        assert client.flush(timeout=10).remaining == 0
        assert asyncio.run(_receipt()).delivered
        gc.collect()
        assert loops[0]() is None


def test_the_package_brings_no_asyncio_along() -> None:
    seldom = {"asyncio", "logging", "json", "datetime", "decimal", "dataclasses", "pathlib", "uuid"}
    code = f"import sys; before = set(sys.modules); import intilery; print(({seldom} & set(sys.modules)) - before)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
